//! The part of IMAP that reading and filing mail needs.

use super::lines::{Lines, plain, xoauth2};
use super::{Account, Safety};
use crate::net::{Net, NetError};
use crate::text::one_line;
use crate::tool::ToolError;

/// The largest piece that a server may send at once, in bytes.
const LITERAL_BYTES_MAX: usize = 8 << 20;
/// The most that one command may bring, in bytes.
const ANSWER_BYTES_MAX: usize = 24 << 20;
/// Answers that one command may bring.
const ANSWERS_MAX: usize = 100_000;
/// Mails that one search may find; the newest are kept.
const FOUND_MAX: usize = 1_000_000;

/// A connection on which the owner is logged in.
pub(super) struct Imap {
    lines: Lines,
    tag: u32,
}

/// A piece of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Word {
    /// Written here, as it is.
    Raw(String),
    /// Text of others, which cannot end the command.
    Text(String),
}

/// One answer of a server that is no end of a command: its text, with the literals cut out.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) text: String,
    pub(super) literals: Vec<Vec<u8>>,
}

impl Word {
    pub(super) fn raw(text: impl Into<String>) -> Self {
        Self::Raw(text.into())
    }

    /// Refuses control characters, which no search and no folder needs.
    pub(super) fn text(text: &str) -> Result<Self, ToolError> {
        if text.chars().any(char::is_control) {
            return Err(ToolError::Arguments("there are control characters in the text".to_owned()));
        }
        Ok(Self::Text(text.to_owned()))
    }

    /// A folder, in the spelling that IMAP has for other scripts.
    pub(super) fn folder(name: &str) -> Result<Self, ToolError> {
        Self::text(name).map(|_| Self::Text(modified_utf7(name)))
    }
}

impl Imap {
    /// Connects and logs in.
    pub(super) async fn open(net: &Net, account: &Account, secret: &str) -> Result<Self, ToolError> {
        let server = &account.imap;
        let stream = match server.tls {
            Safety::Immediate => net.dial_tls(&server.host, server.port).await?,
            Safety::Starttls | Safety::Clear => net.dial(&server.host, server.port).await?,
        };
        let mut imap = Self { lines: Lines::new(stream, &server.host), tag: 0 };
        let greeting = imap.lines.line().await?;
        if !greeting.starts_with("* OK") {
            return Err(ToolError::Remote(format!("the mail server does not greet: {}", said(&greeting))));
        }
        if server.tls == Safety::Starttls {
            imap.command(&[Word::raw("STARTTLS")]).await?;
            let secured = net.secure(&server.host, imap.lines.into_stream()).await?;
            imap.lines = Lines::new(secured, &server.host);
        }
        imap.log_in(account, secret).await?;
        Ok(imap)
    }

    async fn log_in(&mut self, account: &Account, secret: &str) -> Result<(), ToolError> {
        let (mechanism, answer) = match account.xoauth2 {
            true => ("XOAUTH2", xoauth2(&account.user, secret)),
            false => ("PLAIN", plain(&account.user, secret)),
        };
        let able = self.command(&[Word::raw("CAPABILITY")]).await?;
        let named = |c: &str| able.iter().any(|a| a.text.split(' ').any(|w| w.eq_ignore_ascii_case(c)));
        if !account.xoauth2 && !named("AUTH=PLAIN") {
            let words = [Word::raw("LOGIN"), Word::text(&account.user)?, Word::text(secret)?];
            return self.command(&words).await.map(drop).map_err(|e| refused(e, "password"));
        }
        let tag = self.next_tag();
        self.lines.write(format!("{tag} AUTHENTICATE {mechanism}\r\n").as_bytes()).await?;
        let mut answered = false;
        loop {
            let line = self.lines.line().await?;
            if line.starts_with('+') {
                // A second question is the server's word on why it says no.
                let reply = if answered { "\r\n".to_owned() } else { format!("{answer}\r\n") };
                answered = true;
                self.lines.write(reply.as_bytes()).await?;
            } else if let Some(end) = line.strip_prefix(&format!("{tag} ")) {
                let ok = end.get(..2).is_some_and(|word| word.eq_ignore_ascii_case("OK"));
                let what = if account.xoauth2 { "token" } else { "password" };
                return if ok { Ok(()) } else { Err(refused(ToolError::Remote(said(end)), what)) };
            }
        }
    }

    fn next_tag(&mut self) -> String {
        self.tag += 1;
        format!("a{}", self.tag)
    }

    /// Carries a command out and gives what came before its end. Anything but OK is an error.
    pub(super) async fn command(&mut self, words: &[Word]) -> Result<Vec<Answer>, ToolError> {
        let tag = self.next_tag();
        let mut line = tag.clone();
        for word in words {
            line.push(' ');
            match word {
                Word::Raw(text) => line.push_str(text),
                Word::Text(text) if text.is_ascii() && text.len() < 512 => {
                    line.push_str(&format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")));
                }
                Word::Text(text) => {
                    line.push_str(&format!("{{{}}}\r\n", text.len()));
                    self.lines.write(line.as_bytes()).await?;
                    self.go_ahead().await?;
                    line = text.clone();
                }
            }
        }
        line.push_str("\r\n");
        self.lines.write(line.as_bytes()).await?;
        self.answers(&tag).await
    }

    /// Sends a mail as the last word of a command.
    pub(super) async fn command_with(&mut self, words: &[Word], mail: &str) -> Result<Vec<Answer>, ToolError> {
        let mut words = words.to_vec();
        words.push(Word::Raw(format!("{{{}}}\r\n", mail.len())));
        let tag = self.next_tag();
        let mut line = tag.clone();
        for word in &words {
            match word {
                Word::Raw(text) => line = line + " " + text,
                Word::Text(text) => line = line + " \"" + &text.replace('\\', "\\\\").replace('"', "\\\"") + "\"",
            }
        }
        self.lines.write(line.as_bytes()).await?;
        self.go_ahead().await?;
        self.lines.write(format!("{mail}\r\n").as_bytes()).await?;
        self.answers(&tag).await
    }

    /// Waits for the server to want the rest.
    async fn go_ahead(&mut self) -> Result<(), ToolError> {
        for _ in 0..ANSWERS_MAX {
            let line = self.lines.line().await?;
            if line.starts_with('+') {
                return Ok(());
            }
            if !line.starts_with("* ") {
                return Err(ToolError::Remote(said(&line)));
            }
        }
        Err(self.lines.broken("the server does not come to an end").into())
    }

    async fn answers(&mut self, tag: &str) -> Result<Vec<Answer>, ToolError> {
        let (mut answers, mut bytes) = (Vec::new(), 0);
        while answers.len() < ANSWERS_MAX {
            let answer = self.answer(&mut bytes).await?;
            if let Some(end) = answer.text.strip_prefix(tag).and_then(|rest| rest.strip_prefix(' ')) {
                let ok = end.get(..2).is_some_and(|word| word.eq_ignore_ascii_case("OK"));
                return if ok { Ok(answers) } else { Err(ToolError::Remote(said(end))) };
            }
            answers.push(answer);
        }
        Err(self.lines.broken("the server does not come to an end").into())
    }

    /// One answer: a line, and as long as it ends with a literal, that and the next line.
    async fn answer(&mut self, total: &mut usize) -> Result<Answer, NetError> {
        let mut answer = Answer::default();
        loop {
            let line = self.lines.line().await?;
            *total += line.len();
            let length = line.strip_suffix('}').and_then(|l| l.rsplit_once('{')).and_then(|(_, n)| n.parse::<usize>().ok());
            answer.text.push_str(&line);
            let Some(length) = length else { return Ok(answer) };
            *total += length;
            if length > LITERAL_BYTES_MAX || *total > ANSWER_BYTES_MAX {
                return Err(self.lines.broken("the server sends too much"));
            }
            answer.literals.push(self.lines.bytes(length).await?);
        }
    }

    /// Opens a folder for reading alone: nothing in it is marked.
    pub(super) async fn examine(&mut self, folder: &str) -> Result<(), ToolError> {
        let opened = self.command(&[Word::raw("EXAMINE"), Word::folder(folder)?]).await;
        opened.map(drop).map_err(|error| match error {
            ToolError::Remote(why) => ToolError::NotFound(format!("the folder `{folder}` cannot be opened: {why}")),
            other => other,
        })
    }

    /// The uids that a search finds, in rising order.
    pub(super) async fn search(&mut self, words: &[Word]) -> Result<Vec<u32>, ToolError> {
        let answers = self.command(words).await?;
        let lists = answers.iter().filter_map(|a| a.text.strip_prefix("* SEARCH"));
        let mut uids: Vec<u32> = lists.flat_map(str::split_whitespace).filter_map(|n| n.parse().ok()).take(FOUND_MAX).collect();
        uids.sort_unstable();
        Ok(uids)
    }

    /// Says goodbye; what comes of it is of no interest.
    pub(super) async fn close(mut self) {
        let _ = self.command(&[Word::raw("LOGOUT")]).await;
    }
}

/// What a server said, for people.
fn said(line: &str) -> String {
    one_line(line).chars().take(300).collect()
}

fn refused(error: ToolError, what: &str) -> ToolError {
    match error {
        ToolError::Remote(why) => ToolError::Remote(format!("the mail server does not take the {what}: {why}")),
        other => other,
    }
}

/// A folder's name as IMAP writes it: ASCII, and the rest as UTF-16 in a kind of base64 between `&` and `-`.
fn modified_utf7(name: &str) -> String {
    use base64::Engine;
    let (mut out, mut strange) = (String::new(), Vec::new());
    let flush = |strange: &mut Vec<u8>, out: &mut String| {
        if !strange.is_empty() {
            let encoded = base64::engine::general_purpose::STANDARD_NO_PAD.encode(&*strange);
            out.push_str(&format!("&{}-", encoded.replace('/', ",")));
            strange.clear();
        }
    };
    for c in name.chars() {
        if (' '..='~').contains(&c) {
            flush(&mut strange, &mut out);
            out.push(c);
            if c == '&' {
                out.push('-');
            }
        } else {
            let mut units = [0; 2];
            strange.extend(c.encode_utf16(&mut units).iter().flat_map(|unit| unit.to_be_bytes()));
        }
    }
    flush(&mut strange, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_and_words() {
        for (name, expect) in [("INBOX", "INBOX"), ("A&B", "A&-B"), ("Entwürfe", "Entw&APw-rfe"), ("日本", "&ZeVnLA-")] {
            assert_eq!(modified_utf7(name), expect);
        }
        assert!(Word::text("a\r\nA2 LOGOUT").is_err());
        assert!(Word::folder("a\0").is_err());
    }
}
