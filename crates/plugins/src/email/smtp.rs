//! Handing a mail to a server for sending.

use super::compose::Composed;
use super::lines::{Lines, plain, xoauth2};
use super::{Account, Safety};
use crate::net::{Net, NetError};
use crate::text::one_line;
use crate::tool::{ToolError, after_effect};

/// Lines that one answer may have.
const LINES_MAX: usize = 64;
/// What the server is told as our name: it learns nothing of the machine.
const GREETING: &str = "EHLO [127.0.0.1]";

/// An answer: its number and its lines.
struct Answer {
    code: u16,
    lines: Vec<String>,
}

struct Smtp {
    lines: Lines,
}

/// Sends a mail to all of its recipients or to none. An error of the kind "not known" tells that the server may have taken it.
pub(super) async fn send(net: &Net, account: &Account, secret: &str, mail: &Composed) -> Result<(), ToolError> {
    let server = &account.smtp;
    let stream = match server.tls {
        Safety::Immediate => net.dial_tls(&server.host, server.port).await?,
        Safety::Starttls | Safety::Clear => net.dial(&server.host, server.port).await?,
    };
    let mut smtp = Smtp { lines: Lines::new(stream, &server.host) };
    smtp.expect(220, "greet").await?;
    let mut able = smtp.command(GREETING, 250, "greet").await?;
    if server.tls == Safety::Starttls {
        smtp.command("STARTTLS", 220, "begin TLS").await?;
        let secured = net.secure(&server.host, smtp.lines.into_stream()).await?;
        smtp = Smtp { lines: Lines::new(secured, &server.host) };
        able = smtp.command(GREETING, 250, "greet").await?;
    }
    smtp.log_in(account, secret, &able).await?;
    smtp.command(&format!("MAIL FROM:<{}>", account.address.mailbox()), 250, "take mail from this address").await?;
    for recipient in &mail.recipients {
        let answer = smtp.ask(&format!("RCPT TO:<{recipient}>")).await?;
        // Nothing has been sent to anybody yet.
        if !matches!(answer.code, 250 | 251) {
            return Err(answer.refused(&format!("take mail for {recipient}; nothing was sent")));
        }
    }
    smtp.command("DATA", 354, "take the mail").await?;
    smtp.lines.write(stuffed(&mail.text()).as_bytes()).await.map_err(after_effect)?;
    let answer = smtp.answer().await.map_err(after_effect)?;
    if answer.code != 250 {
        return Err(answer.refused("take the mail"));
    }
    let _ = smtp.ask("QUIT").await;
    Ok(())
}

impl Smtp {
    async fn answer(&mut self) -> Result<Answer, NetError> {
        let mut lines = Vec::new();
        while lines.len() < LINES_MAX {
            let line = self.lines.line().await?;
            let code = line.get(..3).and_then(|code| code.parse().ok());
            let Some(code) = code else { return Err(self.lines.broken("the server does not speak SMTP")) };
            let last = line.as_bytes().get(3) != Some(&b'-');
            lines.push(line.get(4..).unwrap_or("").to_owned());
            if last {
                return Ok(Answer { code, lines });
            }
        }
        Err(self.lines.broken("the server's answer does not end"))
    }

    async fn ask(&mut self, command: &str) -> Result<Answer, NetError> {
        self.lines.write(format!("{command}\r\n").as_bytes()).await?;
        self.answer().await
    }

    async fn expect(&mut self, code: u16, what: &str) -> Result<Answer, ToolError> {
        let answer = self.answer().await?;
        if answer.code == code { Ok(answer) } else { Err(answer.refused(what)) }
    }

    async fn command(&mut self, command: &str, code: u16, what: &str) -> Result<Answer, ToolError> {
        self.lines.write(format!("{command}\r\n").as_bytes()).await?;
        self.expect(code, what).await
    }

    async fn log_in(&mut self, account: &Account, secret: &str, able: &Answer) -> Result<(), ToolError> {
        let mechanisms: Vec<String> = able
            .lines
            .iter()
            .filter_map(|line| line.to_ascii_uppercase().strip_prefix("AUTH ").map(str::to_owned))
            .flat_map(|line| line.split(' ').map(str::to_owned).collect::<Vec<_>>())
            .collect();
        let knows = |name: &str| mechanisms.iter().any(|m| m == name);
        let answer = if account.xoauth2 {
            self.ask(&format!("AUTH XOAUTH2 {}", xoauth2(&account.user, secret))).await?
        } else if knows("PLAIN") {
            self.ask(&format!("AUTH PLAIN {}", plain(&account.user, secret))).await?
        } else if knows("LOGIN") {
            use base64::Engine;
            let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
            self.command("AUTH LOGIN", 334, "let the owner log in").await?;
            self.command(&encode(&account.user), 334, "let the owner log in").await?;
            self.ask(&encode(secret)).await?
        } else {
            return Err(ToolError::Remote("the mail server offers no way to log in that is known here".to_owned()));
        };
        if answer.code == 235 { Ok(()) } else { Err(answer.refused("take the owner's name and password")) }
    }
}

impl Answer {
    fn refused(&self, what: &str) -> ToolError {
        let said: String = one_line(&self.lines.join(" ")).chars().take(300).collect();
        ToolError::Remote(format!("the mail server does not {what}: {} {said}", self.code))
    }
}

/// The mail with its end: a line that begins with a dot gets another, so that none of them ends the mail.
fn stuffed(mail: &str) -> String {
    let lines: Vec<String> =
        mail.split("\r\n").map(|line| if line.starts_with('.') { format!(".{line}") } else { line.to_owned() }).collect();
    let text = lines.join("\r\n");
    let end = if text.ends_with("\r\n") { ".\r\n" } else { "\r\n.\r\n" };
    text + end
}

#[cfg(test)]
mod tests {
    use super::stuffed;

    #[test]
    fn no_line_ends_the_mail() {
        assert_eq!(stuffed("a\r\n.\r\n..b\r\n"), "a\r\n..\r\n...b\r\n.\r\n");
        assert_eq!(stuffed("a"), "a\r\n.\r\n");
    }
}
