//! The part of IMAP that reading new mail needs.

use std::time::Duration;

use super::lines::{Lines, MailError, SILENCE, Safety, Server, plain, said};
use crate::http::{Http, HttpError};

/// The largest mail that is read, in bytes.
pub(super) const MAIL_BYTES_MAX: usize = 40 << 20;
/// Answers that one command may bring.
const ANSWERS_MAX: usize = 100_000;
/// How long news are waited for at a stretch; servers end a longer silence.
const IDLE: Duration = Duration::from_secs(9 * 60);

/// A connection on which the owner is logged in.
pub(super) struct Imap {
    lines: Lines,
    tag: u32,
    /// Whether the server tells of new mail by itself.
    idles: bool,
    /// Whether it told of some since the last search began: also in the midst of another answer.
    news: bool,
}

/// A folder that was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Opened {
    pub(super) validity: u32,
    pub(super) next: u32,
}

/// An answer: its text, and what came as bytes.
#[derive(Debug, Default)]
struct Answer {
    text: String,
    literal: Option<Vec<u8>>,
}

impl Imap {
    pub(super) async fn open(http: &Http, server: &Server, user: &str, secret: &str) -> Result<Self, MailError> {
        let mut imap = Self { lines: Lines::open(http, server).await?, tag: 0, idles: false, news: false };
        let greeting = imap.lines.line(SILENCE).await?;
        if !greeting.starts_with("* OK") {
            return Err(MailError::Refused { what: "greet", said: said(&greeting), passing: true });
        }
        if server.safety == Safety::Starttls {
            imap.command("STARTTLS", "begin TLS").await?;
            imap.lines = imap.lines.secure(http).await?;
        }
        let tag = imap.next_tag();
        imap.lines.write(format!("{tag} AUTHENTICATE PLAIN\r\n").as_bytes()).await?;
        loop {
            let line = imap.lines.line(SILENCE).await?;
            if line.starts_with('+') {
                imap.lines.write(format!("{}\r\n", plain(user, secret)).as_bytes()).await?;
            } else if let Some(end) = line.strip_prefix(&format!("{tag} ")) {
                if end.starts_with("OK") {
                    break;
                }
                return Err(MailError::Credential(said(end)));
            }
        }
        let able = imap.command("CAPABILITY", "say what it can").await?;
        imap.idles = able.iter().any(|a| a.text.split(' ').any(|word| word.eq_ignore_ascii_case("IDLE")));
        Ok(imap)
    }

    fn next_tag(&mut self) -> String {
        self.tag += 1;
        format!("a{}", self.tag)
    }

    async fn command(&mut self, command: &str, what: &'static str) -> Result<Vec<Answer>, MailError> {
        let tag = self.next_tag();
        self.lines.write(format!("{tag} {command}\r\n").as_bytes()).await?;
        let mut answers = Vec::new();
        while answers.len() < ANSWERS_MAX {
            let answer = self.answer().await?;
            if let Some(end) = answer.text.strip_prefix(&format!("{tag} ")) {
                return if end.starts_with("OK") { Ok(answers) } else { Err(MailError::Refused { what, said: said(end), passing: false }) };
            }
            self.news |= answer.text.ends_with(" EXISTS");
            answers.push(answer);
        }
        Err(self.lines.broken("the server does not come to an end").into())
    }

    async fn answer(&mut self) -> Result<Answer, HttpError> {
        let mut answer = Answer::default();
        loop {
            let line = self.lines.line(SILENCE).await?;
            let length = line.strip_suffix('}').and_then(|l| l.rsplit_once('{')).and_then(|(_, n)| n.parse::<usize>().ok());
            answer.text.push_str(&line);
            let Some(length) = length else { return Ok(answer) };
            if length > MAIL_BYTES_MAX || answer.literal.is_some() {
                return Err(self.lines.broken("the server sends too much"));
            }
            answer.literal = Some(self.lines.bytes(length).await?);
        }
    }

    /// Opens a folder for reading alone: nothing in it is marked.
    pub(super) async fn examine(&mut self, folder: &str) -> Result<Opened, MailError> {
        let answers = self.command(&format!("EXAMINE {}", quoted(folder)), "open the folder").await?;
        let number = |key: &str| {
            let found = answers.iter().find_map(|a| a.text.split_once(key).map(|(_, rest)| rest));
            found.and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next()).and_then(|n| n.parse().ok())
        };
        match (number("[UIDVALIDITY "), number("[UIDNEXT ")) {
            (Some(validity), Some(next)) => Ok(Opened { validity, next }),
            _ => Err(MailError::Refused { what: "number its mails", said: String::new(), passing: false }),
        }
    }

    /// The uids from `first` on, in rising order.
    pub(super) async fn since(&mut self, first: u32) -> Result<Vec<u32>, MailError> {
        self.news = false;
        // A range with a star holds the last mail also where it is an older one.
        let answers = self.command(&format!("UID SEARCH UID {first}:*"), "search").await?;
        let lists = answers.iter().filter_map(|a| a.text.strip_prefix("* SEARCH"));
        let mut uids: Vec<u32> = lists.flat_map(str::split_whitespace).filter_map(|n| n.parse().ok()).filter(|uid| *uid >= first).collect();
        uids.sort_unstable();
        uids.dedup();
        Ok(uids)
    }

    /// The uids of mails with a message id.
    pub(super) async fn with_id(&mut self, id: &str) -> Result<Vec<u32>, MailError> {
        let answers = self.command(&format!("UID SEARCH HEADER Message-ID {}", quoted(id)), "search").await?;
        let lists = answers.iter().filter_map(|a| a.text.strip_prefix("* SEARCH"));
        Ok(lists.flat_map(str::split_whitespace).filter_map(|n| n.parse().ok()).collect())
    }

    /// A mail, or nothing where it is gone or too large.
    pub(super) async fn mail(&mut self, uid: u32) -> Result<Option<Vec<u8>>, MailError> {
        let answers = self.command(&format!("UID FETCH {uid} (RFC822.SIZE)"), "say how large a mail is").await?;
        let size = answers.iter().find_map(|a| a.text.split_once("RFC822.SIZE ")).map(|(_, rest)| rest);
        let size = size.and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next()).and_then(|n| n.parse::<usize>().ok());
        if size.is_none_or(|size| size > MAIL_BYTES_MAX) {
            return Ok(None);
        }
        let answers = self.command(&format!("UID FETCH {uid} (BODY.PEEK[])"), "give a mail").await?;
        Ok(answers.into_iter().find_map(|a| a.literal))
    }

    /// Waits until something came, or for some time: a server that forgets to tell is looked at all the same.
    pub(super) async fn wait(&mut self, poll: Duration) -> Result<(), MailError> {
        if self.news {
            return Ok(());
        }
        if !self.idles {
            tokio::time::sleep(poll).await;
            return self.command("NOOP", "go on").await.map(drop);
        }
        let tag = self.next_tag();
        self.lines.write(format!("{tag} IDLE\r\n").as_bytes()).await?;
        let end = tokio::time::Instant::now() + IDLE.min(poll);
        while tokio::time::Instant::now() < end {
            match tokio::time::timeout_at(end, self.lines.line(IDLE + SILENCE)).await {
                Err(_) => break,
                Ok(line) if line.as_ref().is_ok_and(|line| line.ends_with(" EXISTS")) => break,
                Ok(line) => drop(line?),
            }
        }
        self.lines.write(b"DONE\r\n").await?;
        for _ in 0..ANSWERS_MAX {
            if self.lines.line(SILENCE).await?.starts_with(&format!("{tag} ")) {
                return Ok(());
            }
        }
        Err(self.lines.broken("the server does not come to an end").into())
    }
}

/// A word between quotes. What cannot stand there is left out.
fn quoted(text: &str) -> String {
    let text: String = text.chars().filter(|c| c.is_ascii() && !c.is_ascii_control()).collect();
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
