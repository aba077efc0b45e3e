//! Building a mail from checked parts.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::Account;
use super::address::Address;
use crate::clock::Moment;
use crate::tool::{ToolError, effect_name};

/// Recipients of one mail.
const RECIPIENTS_MAX: usize = 100;
/// The longest line of a head, as senders keep it.
const LINE_CHARS: usize = 76;
/// The longest line of a body that goes out as it is.
const BODY_LINE_BYTES: usize = 900;
/// Bytes in one encoded word of a head.
const WORD_BYTES: usize = 42;

/// A mail as an agent asks for it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mail {
    to: Vec<String>,
    #[serde(default)]
    cc: Vec<String>,
    #[serde(default)]
    bcc: Vec<String>,
    subject: String,
    body: String,
    in_reply_to: Option<String>,
}

/// A mail as it goes out.
#[derive(Debug)]
pub(super) struct Composed {
    /// Its message id, with angle brackets.
    pub(super) id: String,
    pub(super) recipients: Vec<String>,
    head: String,
    bcc: Option<String>,
    body: String,
}

impl Mail {
    /// Builds it. `key` names it: the same key gives the same message id.
    pub(super) fn compose(&self, account: &Account, key: Option<&str>, now: Moment) -> Result<Composed, ToolError> {
        let read = |all: &[String]| -> Result<Vec<Address>, ToolError> {
            all.iter().map(|text| Address::parse(text).map_err(|e| ToolError::Arguments(e.to_string()))).collect()
        };
        let (to, cc, bcc) = (read(&self.to)?, read(&self.cc)?, read(&self.bcc)?);
        let everybody: Vec<&Address> = to.iter().chain(&cc).chain(&bcc).collect();
        if to.is_empty() || everybody.len() > RECIPIENTS_MAX {
            return Err(ToolError::Arguments(format!("a mail goes to 1 to {RECIPIENTS_MAX} addresses")));
        }
        if let Some(rules) = &account.recipients
            && let Some(other) = everybody.iter().find(|a| !a.is_among(rules))
        {
            let why = format!("{} is not among the recipients that the owner lists under [plugins.email]", other.mailbox());
            return Err(ToolError::Arguments(why));
        }
        if self.subject.chars().any(|c| c.is_control() || crate::text::is_deceptive(c)) {
            return Err(ToolError::Arguments("a subject has no line ends and other control characters".to_owned()));
        }
        let id = format!("<lazaret.{}@{}>", name_of(key)?, account.address.domain());
        let mut head = vec![format!("From: {}", account.address.head()), list("To", &to)];
        if !cc.is_empty() {
            head.push(list("Cc", &cc));
        }
        head.push(format!("Subject: {}", subject(&self.subject)));
        head.push(format!("Date: {}", now.rfc5322()));
        head.push(format!("Message-ID: {id}"));
        if let Some(answered) = self.in_reply_to.as_deref().filter(|id| !id.is_empty()) {
            let answered = message_id(answered)?;
            head.extend([format!("In-Reply-To: {answered}"), format!("References: {answered}")]);
        }
        let (encoding, body) = body(&self.body);
        head.extend([
            "MIME-Version: 1.0".to_owned(),
            "Content-Type: text/plain; charset=utf-8".to_owned(),
            format!("Content-Transfer-Encoding: {encoding}"),
        ]);
        let mut recipients: Vec<String> = everybody.iter().map(|a| a.mailbox().to_owned()).collect();
        recipients.sort();
        recipients.dedup();
        let bcc = (!bcc.is_empty()).then(|| list("Bcc", &bcc));
        Ok(Composed { id, recipients, head: head.join("\r\n"), bcc, body })
    }
}

impl Composed {
    /// What recipients get.
    pub(super) fn text(&self) -> String {
        format!("{}\r\n\r\n{}", self.head, self.body)
    }

    /// What the owner's own folders keep: it names those whom the others do not see.
    pub(super) fn with_bcc(&self) -> String {
        match &self.bcc {
            None => self.text(),
            Some(bcc) => format!("{}\r\n{bcc}\r\n\r\n{}", self.head, self.body),
        }
    }
}

fn name_of(key: Option<&str>) -> Result<String, ToolError> {
    if let Some(key) = key {
        return Ok(effect_name(key));
    }
    let mut bytes = [0u8; 16];
    getrandom::fill(&mut bytes).map_err(|_| ToolError::Remote("the system gives no random numbers".to_owned()))?;
    Ok(bytes.iter().fold(String::new(), |name, byte| name + &format!("{byte:02x}")))
}

/// A message id that can stand in a head.
fn message_id(text: &str) -> Result<String, ToolError> {
    let inside = text.trim().trim_start_matches('<').trim_end_matches('>');
    let plain = inside.contains('@') && inside.len() <= 500 && inside.bytes().all(|b| b.is_ascii_graphic() && !b"<>\"()\\,;".contains(&b));
    if plain { Ok(format!("<{inside}>")) } else { Err(ToolError::Arguments("`in_reply_to` is not a message id".to_owned())) }
}

/// A head of addresses, one on each line.
fn list(name: &str, all: &[Address]) -> String {
    let all: Vec<String> = all.iter().map(Address::head).collect();
    format!("{name}: {}", all.join(",\r\n "))
}

fn subject(text: &str) -> String {
    let plain = text.is_ascii() && text.len() <= LINE_CHARS * 8 && !text.contains("=?");
    if !plain {
        return encoded_words(text);
    }
    // Folded at spaces, which belong to the line that they begin.
    let (mut folded, mut line) = (String::new(), "Subject: ".len());
    for (n, word) in text.split(' ').enumerate() {
        if n > 0 {
            let fold = line + word.len() >= LINE_CHARS && !word.is_empty();
            folded.push_str(if fold { "\r\n " } else { " " });
            line = if fold { 1 } else { line + 1 };
        }
        folded.push_str(word);
        line += word.len();
    }
    folded
}

/// Text of any script in the form that heads take.
pub(super) fn encoded_words(text: &str) -> String {
    let (mut words, mut piece) = (Vec::new(), String::new());
    let close = |piece: &str| format!("=?UTF-8?B?{}?=", STANDARD.encode(piece));
    for c in text.chars() {
        if piece.len() + c.len_utf8() > WORD_BYTES {
            words.push(close(&piece));
            piece.clear();
        }
        piece.push(c);
    }
    if !piece.is_empty() {
        words.push(close(&piece));
    }
    words.join("\r\n ")
}

/// The encoding of a body and the body in it, with line ends as mail has them.
fn body(text: &str) -> (&'static str, String) {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let as_is = |line: &str| line.len() <= BODY_LINE_BYTES && line.bytes().all(|b| b == b'\t' || (b' '..=b'~').contains(&b));
    let end = if text.ends_with('\n') { "" } else { "\n" };
    if text.split('\n').all(as_is) {
        return ("7bit", format!("{text}{end}").replace('\n', "\r\n"));
    }
    let lines: Vec<String> = format!("{text}{end}").split('\n').map(quoted_printable).collect();
    ("quoted-printable", lines.join("\r\n"))
}

fn quoted_printable(line: &str) -> String {
    let (mut out, mut length) = (String::new(), 0);
    let last = line.len().saturating_sub(1);
    for (at, byte) in line.bytes().enumerate() {
        let plain = (b'!'..=b'~').contains(&byte) && byte != b'=' || ((byte == b' ' || byte == b'\t') && at != last);
        let piece = if plain { char::from(byte).to_string() } else { format!("={byte:02X}") };
        if length + piece.len() > LINE_CHARS - 1 {
            out.push_str("=\r\n");
            length = 0;
        }
        length += piece.len();
        out.push_str(&piece);
    }
    out
}

#[cfg(test)]
mod tests {
    use mail_parser::MessageParser;
    use serde_json::{Value, json};

    use super::super::{Email, Safety, Server};
    use super::*;
    use crate::surroundings::Surroundings;

    fn account() -> Account {
        let server = Server { host: "mail.test".to_owned(), port: 993, tls: Safety::Immediate };
        Account {
            address: Address::parse("Owner <owner@example.com>").unwrap(),
            user: "owner".to_owned(),
            xoauth2: false,
            imap: server.clone(),
            smtp: server,
            drafts: None,
            sent: None,
            recipients: None,
        }
    }

    fn mail(value: Value) -> Mail {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn what_is_built_is_what_was_asked() {
        let subject = format!("Grüße {}", "und ein langer Betreff ".repeat(5).trim());
        let body = "Hello,\n.\n.dot\nÄ long line: ".to_owned() + &"x y ".repeat(400) + "\nend ";
        let asked = mail(json!({
            "to": ["Änn <ann@b.test>", "bob@b.test"], "cc": ["c@b.test"], "bcc": ["hidden@b.test"], "subject": subject, "body": body,
            "in_reply_to": "1@b.test",
        }));
        let made = asked.compose(&account(), Some("key1"), Moment(1_772_359_200)).unwrap();
        assert_eq!(made.recipients, ["ann@b.test", "bob@b.test", "c@b.test", "hidden@b.test"]);
        assert!(!made.text().contains("hidden@") && made.with_bcc().contains("hidden@"));
        assert!(made.text().split("\r\n").all(|line| line.len() <= 998 && !line.contains(['\r', '\n'])), "bare line ends");
        let text = made.text();
        let read = MessageParser::default().parse(text.as_bytes()).unwrap();
        assert_eq!(read.subject(), Some(subject.as_str()));
        assert_eq!(read.body_text(0).unwrap().replace("\r\n", "\n"), body + "\n");
        assert_eq!(read.to().unwrap().first().unwrap().name(), Some("Änn"));
        assert_eq!(read.in_reply_to().as_text(), Some("1@b.test"));
        assert_eq!(format!("<{}>", read.message_id().unwrap()), made.id);
        assert_eq!(asked.compose(&account(), Some("key1"), Moment(0)).unwrap().id, made.id);
        assert_ne!(asked.compose(&account(), None, Moment(0)).unwrap().id, made.id);
    }

    #[test]
    fn nothing_adds_a_head() {
        let good = json!({"to": ["a@b.test"], "subject": "s", "body": "b"});
        assert!(mail(good.clone()).compose(&account(), None, Moment(0)).is_ok());
        for (key, value) in [
            ("subject", json!("s\r\nBcc: evil@b.test")),
            ("subject", json!("s\nX: y")),
            ("subject", json!("s\u{0}")),
            ("subject", json!("invoice\u{202e}fdp.exe")),
            ("to", json!(["a@b.test\r\nBcc: evil@b.test"])),
            ("to", json!([])),
            ("cc", json!(["a@b.test, evil@b.test"])),
            ("bcc", json!(["x"])),
            ("in_reply_to", json!("<a@b>\r\nBcc: evil@b.test")),
            ("in_reply_to", json!("no id")),
        ] {
            let mut asked = good.clone();
            asked[key] = value.clone();
            assert!(mail(asked).compose(&account(), None, Moment(0)).is_err(), "{key}: {value}");
        }
        let only = Account { recipients: Some(vec!["@b.test".to_owned()]), ..account() };
        assert!(mail(good.clone()).compose(&only, None, Moment(0)).is_ok());
        let mut asked = good;
        asked["bcc"] = json!(["x@elsewhere.test"]);
        assert!(mail(asked).compose(&only, None, Moment(0)).is_err());
    }

    #[test]
    fn a_password_never_goes_out_in_the_clear() {
        let open = |imap: &str, tls: &str| {
            let config = json!({"address": "a@b.test", "imap": imap, "smtp": "mail.test:465", "imap_tls": tls});
            let around = Surroundings { config, ..Surroundings::read(&|_| None).unwrap() };
            Email::open(around).map(|email| email.account.imap.tls)
        };
        assert_eq!(open("127.0.0.1:1143", "none").unwrap(), Safety::Clear);
        assert_eq!(open("mail.test:143", "starttls").unwrap(), Safety::Starttls);
        assert!(open("mail.test:143", "none").is_err());
        assert!(open("mail.test\r\n:143", "tls").is_err());
    }
}
