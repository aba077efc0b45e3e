//! Handing a mail to a server for sending.

use super::lines::{Lines, MailError, SILENCE, Safety, Server, plain, said};
use crate::http::{Http, HttpError};

/// Lines that one answer may have.
const LINES_MAX: usize = 64;
/// What the server is told as our name: it learns nothing of the machine.
const GREETING: &str = "EHLO [127.0.0.1]";

struct Smtp {
    lines: Lines,
}

/// Sends a mail to one recipient. After [`HttpError::Broken`] the server may have taken it.
pub(super) async fn send(
    http: &Http,
    server: &Server,
    user: &str,
    secret: &str,
    from: &str,
    to: &str,
    mail: &str,
) -> Result<(), MailError> {
    let unsent = |error: HttpError| match error {
        // Nothing that counts was said yet.
        HttpError::Broken(why) => HttpError::Unreachable { host: server.host.clone(), port: server.port, why },
        other => other,
    };
    let early = |error: MailError| match error {
        MailError::Net(error) => MailError::Net(unsent(error)),
        other => other,
    };
    let mut smtp = Smtp::begin(http, server, user, secret).await.map_err(early)?;
    smtp.command(&format!("MAIL FROM:<{from}>"), &[250], "take mail from this address").await.map_err(early)?;
    smtp.command(&format!("RCPT TO:<{to}>"), &[250, 251], "take mail for this recipient").await.map_err(early)?;
    smtp.command("DATA", &[354], "take the mail").await.map_err(early)?;
    smtp.lines.write(stuffed(mail).as_bytes()).await?;
    smtp.expect(&[250], "take the mail").await?;
    let _ = smtp.lines.write(b"QUIT\r\n").await;
    Ok(())
}

impl Smtp {
    async fn begin(http: &Http, server: &Server, user: &str, secret: &str) -> Result<Self, MailError> {
        let mut smtp = Self { lines: Lines::open(http, server).await? };
        smtp.expect(&[220], "greet").await?;
        smtp.command(GREETING, &[250], "greet").await?;
        if server.safety == Safety::Starttls {
            smtp.command("STARTTLS", &[220], "begin TLS").await?;
            smtp.lines = smtp.lines.secure(http).await?;
            smtp.command(GREETING, &[250], "greet").await?;
        }
        match smtp.command(&format!("AUTH PLAIN {}", plain(user, secret)), &[235], "log in").await {
            Err(MailError::Refused { said, passing: false, .. }) => Err(MailError::Credential(said)),
            other => other.map(|()| smtp),
        }
    }

    async fn command(&mut self, command: &str, codes: &[u16], what: &'static str) -> Result<(), MailError> {
        self.lines.write(format!("{command}\r\n").as_bytes()).await?;
        self.expect(codes, what).await
    }

    async fn expect(&mut self, codes: &[u16], what: &'static str) -> Result<(), MailError> {
        for _ in 0..LINES_MAX {
            let line = self.lines.line(SILENCE).await?;
            let Some(code) = line.get(..3).and_then(|code| code.parse::<u16>().ok()) else {
                return Err(self.lines.broken("the server does not speak SMTP").into());
            };
            if line.as_bytes().get(3) == Some(&b'-') {
                continue;
            }
            let passing = (400..500).contains(&code);
            return if codes.contains(&code) { Ok(()) } else { Err(MailError::Refused { what, said: said(&line), passing }) };
        }
        Err(self.lines.broken("the server's answer does not end").into())
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
