//! Mail: a mailbox on a real server of IMAP and SMTP, and one person who writes to it.

use std::io::{BufRead as _, BufReader, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::party::{Party, SentFile, Standing, fresh};
use super::signed::Posted;
use crate::servers::Mail;

/// A mailbox on a real server of IMAP and SMTP, and Ann who writes to it.
pub struct Mailbox {
    mail: Mail,
    _directory: tempfile::TempDir,
}

impl Mailbox {
    /// Starts its server.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
        let (certificate, key) = (directory.path().join("cert.pem"), directory.path().join("key.pem"));
        std::fs::write(&certificate, made.cert.pem()).expect("write");
        std::fs::write(&key, made.signing_key.serialize_pem()).expect("write");
        Self { mail: Mail::start(directory.path(), &certificate, &key), _directory: directory }
    }

    /// A mail arrives as its server puts it there.
    fn arrives(&self, more: &str, body: &str) {
        let n = fresh();
        let heads = "Authentication-Results: mx.mail.test; dmarc=pass header.from=b.test\nFrom: Ann <ann@b.test>\nSubject: boats";
        let mail = format!("{heads}\nMessage-ID: <{n}@b.test>\nReferences: <root@b.test>{more}\n\n{body}\n").replace('\n', "\r\n");
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", self.mail.port("imap"))).expect("a server");
        let mut lines = BufReader::new(stream.try_clone().expect("clone"));
        let steps = [
            (String::new(), "* OK"),
            (format!("a LOGIN owner \"{}\"\r\n", Mail::SECRET), "a OK"),
            (format!("b APPEND INBOX {{{}}}\r\n", mail.len()), "+"),
            (format!("{mail}\r\n"), "b OK"),
        ];
        for (say, wanted) in steps {
            stream.write_all(say.as_bytes()).expect("write");
            let mut line = String::new();
            while !line.starts_with(wanted) {
                line.clear();
                assert!(lines.read_line(&mut line).expect("read") > 0, "no {wanted}");
            }
        }
    }
}

impl Party for Mailbox {
    fn network(&self) -> &'static str {
        "email"
    }

    fn config(&self) -> Value {
        let at = |service: &str| format!("127.0.0.1:{}", self.mail.port(service));
        json!({ "address": "owner@mail.test", "user": "owner", "imap": at("imap"), "imap_tls": "none", "smtp": at("smtp"), "smtp_tls": "none",
            "allow": ["ann@b.test"], "vouches": "mx.mail.test", "poll_s": 1 })
    }

    fn credentials(&self) -> Vec<(&'static str, String)> {
        vec![("password", Mail::SECRET.to_owned())]
    }

    fn writes(&self, text: &str) -> Option<Posted> {
        self.arrives("", text);
        None
    }

    fn sends(&self, text: &str) -> Option<SentFile> {
        let file = "Content-Type: text/plain\nContent-Disposition: attachment; filename=\"a.txt\"\n\nattachment";
        let body = format!("--x\nContent-Type: text/plain\n\n{text}\n--x\n{file}\n--x--");
        self.arrives("\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=x", &body);
        Some(SentFile { posted: None, bytes: b"attachment" })
    }

    fn standing(&self) -> Vec<Standing> {
        self.mail.sent().into_iter().enumerate().map(|(n, mail)| read_mail(&n.to_string(), &mail["data"])).collect()
    }
}

/// A mail of text and files: its parts are in base64.
fn read_mail(id: &str, mail: &Value) -> Standing {
    let mail = mail.as_str().unwrap_or_default().replace("\r\n", "\n");
    let (heads, body) = mail.split_once("\n\n").unwrap_or_default();
    let Some((_, rest)) = heads.split_once("boundary=\"") else {
        return Standing::text(id, &json!(String::from_utf8_lossy(&decoded(body))));
    };
    let boundary = format!("--{}", rest.split('"').next().unwrap_or_default());
    let parts: Vec<(&str, &str)> = body.split(&boundary).filter_map(|part| part.split_once("\n\n")).collect();
    let is_file = |heads: &str| heads.contains("attachment");
    let text: String =
        parts.iter().filter(|(heads, _)| !is_file(heads)).map(|(_, body)| String::from_utf8_lossy(&decoded(body)).into_owned()).collect();
    let files = parts.iter().filter(|(heads, _)| is_file(heads)).map(|(_, body)| decoded(body)).collect();
    Standing { files, ..Standing::text(id, &json!(text)) }
}

fn decoded(body: &str) -> Vec<u8> {
    let bytes = STANDARD.decode(body.split_whitespace().collect::<String>());
    bytes.unwrap_or_else(|_| body.as_bytes().to_vec())
}
