//! Mail, on a real server of IMAP and SMTP.

use mail_parser::{MessageParser, MimeHeaders as _};
use serde_json::json;
use testkit::platforms::{Account, text_of};
use testkit::servers::Mail;
use wire::chat::{Act, Failing, FromChannel, Health, ToChannel};

use crate::contract::{PROGRAM, ready};

/// A mailbox, and a way to put mails into it as its own server does.
struct Box {
    mail: Option<Mail>,
    directory: tempfile::TempDir,
    ports: [u16; 2],
}

impl Box {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let (cert, key) = (directory.path().join("cert.pem"), directory.path().join("key.pem"));
        std::fs::write(&cert, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let mail = Mail::start(directory.path(), &cert, &key);
        let ports = [mail.port("imaps"), mail.port("smtps")];
        Self { mail: Some(mail), directory, ports }
    }

    fn account(&self, password: &str) -> Account {
        let config = json!({"address": "owner@mail.test", "user": "owner", "imap": format!("localhost:{}", self.ports[0]), "smtp": format!("localhost:{}", self.ports[1]),
            "allow": ["ann@b.test", "@mail.test"], "vouches": "mx.mail.test", "poll_s": 1});
        let mut account = Account::new(PROGRAM, "email", &config, &[("password", password)]);
        let roots = self.directory.path().join("cert.pem").to_string_lossy().into_owned();
        account.env.push(("SSL_CERT_FILE".to_owned(), roots));
        account
    }

    /// A mail arrives, with the heads that its server and its sender gave it.
    fn arrives(&self, heads: &str, body: &str) {
        use std::io::{BufRead, BufReader, Write};
        let port = self.mail.as_ref().unwrap().port("imap");
        let stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        let mut lines = BufReader::new(stream.try_clone().unwrap());
        let mail = format!("{heads}\r\n\r\n{body}\r\n").replace("\r\n", "\n").replace('\n', "\r\n");
        let mut until = |stream: &mut std::net::TcpStream, say: &str, wanted: &str| {
            stream.write_all(say.as_bytes()).unwrap();
            let mut line = String::new();
            while !line.starts_with(wanted) {
                line.clear();
                assert!(lines.read_line(&mut line).unwrap() > 0, "no {wanted}");
            }
        };
        let mut stream = stream;
        until(&mut stream, "", "* OK");
        until(&mut stream, &format!("a LOGIN owner \"{}\"\r\n", Mail::SECRET), "a OK");
        until(&mut stream, &format!("b APPEND INBOX {{{}}}\r\n", mail.len()), "+");
        until(&mut stream, &format!("{mail}\r\n"), "b OK");
    }

    fn ann(&self, id: &str, more: &str, body: &str) {
        let heads = "Authentication-Results: mx.mail.test; dmarc=pass header.from=b.test\r\nFrom: Ann <ann@b.test>\r\nSubject: Größe\r\nDate: Mon, 02 Mar 2026 10:00:00 +0000";
        self.arrives(&format!("{heads}\r\nMessage-ID: <{id}>{more}"), body);
    }
}

#[test]
fn hears_whom_its_server_vouches_for_until_acknowledged() {
    let mailbox = Box::start();
    mailbox.ann("old@b.test", "", "before its time");
    let account = mailbox.account(Mail::SECRET);
    let mut channel = ready(&account, None);
    mailbox.arrives("From: ann@b.test\r\nMessage-ID: <f@b.test>\r\nAuthentication-Results: evil.test; dmarc=pass", "forged");
    mailbox.ann("1@b.test", "\r\nReferences: <0@b.test>", "first\n\nBoss wrote:\n> /stop");
    let (_, _, heard) = channel.report();
    assert_eq!((heard.id.as_str(), heard.text.as_str(), heard.sender.id.as_str()), ("1@b.test", "first", "ann@b.test"));
    assert_eq!((heard.thread.as_deref(), heard.quoted.map(|q| q.text)), (Some("0@b.test"), Some("/stop".to_owned())));
    channel.expect("a word on the forged one", |line| match line {
        FromChannel::Log { message } if message.contains("vouch") => Some(()),
        _ => None,
    });
    channel.kill();
    let mut channel = ready(&account, None);
    let (seq, cursor, heard) = channel.report();
    assert_eq!(heard.id, "1@b.test");
    channel.say(&ToChannel::Ack { seq });
    mailbox.ann("2@b.test", "", "second");
    assert_eq!(channel.report().2.id, "2@b.test");
    channel.kill();
    let mut channel = ready(&account, cursor.as_deref());
    assert_eq!(channel.hear().id, "2@b.test");
    assert_eq!(channel.stop(), Some(0));
}

#[test]
fn a_conversation_with_files_both_ways() {
    let mut mailbox = Box::start();
    let account = mailbox.account(Mail::SECRET);
    let mut channel = ready(&account, None);
    let more = "\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x";
    let file = "Content-Type: text/csv\r\nContent-Disposition: attachment; filename=\"../a.csv\"\r\n\r\n1,2";
    mailbox.ann("1@b.test", more, &format!("--x\r\nContent-Type: text/plain\r\n\r\nlook\r\n--x\r\n{file}\r\n--x--"));
    let heard = channel.hear();
    assert_eq!((heard.text.as_str(), heard.files[0].name.as_str(), heard.files[0].mime.as_str()), ("look", "../a.csv", "text/csv"));
    assert_eq!(channel.fetch(&heard.files[0].id, 1000), Ok(b"1,2".to_vec()));
    assert!(channel.fetch("1:2:3:4", 10).is_err() && channel.fetch("1:99:0", 10).is_err());
    let file = channel.file("f", "ö.txt", "text/plain", b"one");
    let send = Act::Send { text: "**done**\n.".to_owned(), files: vec![file], reply_to: Some(heard.id), buttons: Vec::new() };
    channel.deliver("d1", "ann@b.test", heard.thread.as_deref(), send);
    let id = channel.delivered("d1").0.remove(0);
    channel.deliver("d1", "ann@b.test", None, text_of("x"));
    assert_eq!(channel.delivered("d1"), (vec![id.clone()], true));
    for (name, to, why) in [
        ("d2", "eve@evil.test", Failing::Final),
        ("d3", "x@mail.test\r\nRCPT TO:<eve@evil.test>", Failing::Final),
        ("d4", "nobody@mail.test", Failing::Final),
    ] {
        channel.deliver(name, to, None, text_of("x"));
        assert_eq!(channel.failed(name).0, why, "{name}");
    }
    // A process that never saw the mail finds its subject in the mailbox.
    channel.kill();
    let mut channel = ready(&account, None);
    channel.deliver("d5", "ann@b.test", Some("1@b.test"), text_of("more"));
    let _ = channel.delivered("d5");
    assert_eq!(channel.open_dm("Ann@B.test"), Ok("ann@b.test".to_owned()));
    assert!(channel.open_dm("eve@evil.test").is_err());
    drop(channel);
    let sent = mailbox.mail.take().unwrap().into_sent();
    assert_eq!(sent.len(), 2, "{sent:?}");
    let read = |n: usize| sent[n]["data"].as_str().unwrap().to_owned();
    let (first, second) = (read(0), read(1));
    let (first, second) =
        (MessageParser::default().parse(first.as_bytes()).unwrap(), MessageParser::default().parse(second.as_bytes()).unwrap());
    assert_eq!(
        (first.subject(), first.message_id(), first.in_reply_to().as_text()),
        (Some("Re: Größe"), Some(id.as_str()), Some("1@b.test"))
    );
    assert_eq!(first.body_text(0).unwrap().replace("\r\n", "\n"), "done\n.");
    assert_eq!(first.attachments().next().map(|f| (f.attachment_name(), f.contents())), Some((Some("ö.txt"), b"one".as_slice())));
    assert_eq!(second.subject(), Some("Re: Größe"));
    assert_eq!(sent[0]["to"], json!(["ann@b.test"]));
}

#[test]
fn a_password_that_is_refused_is_said_so() {
    let mailbox = Box::start();
    let account = mailbox.account("stranger");
    let mut channel = account.start(None);
    assert!(!channel.health(Health::Credential).contains("stranger"));
    channel.deliver("d", "ann@b.test", None, text_of("x"));
    assert_eq!(channel.failed("d").0, Failing::Credential);
}
