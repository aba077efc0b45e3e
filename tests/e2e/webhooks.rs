//! The ends of jobs, told to an address on loopback that the owner allowed.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Lab, PATIENCE};

/// What a receiver was sent.
pub(crate) struct Letter {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Letter {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let is = |line: &&str| line.split_once(':').is_some_and(|(n, _)| n.eq_ignore_ascii_case(name));
        self.head.lines().find(is).and_then(|line| line.split_once(':')).map(|(_, value)| value.trim())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }
}

/// Takes webhooks and answers each with the next of its answers, the last one again and again.
pub(crate) struct Mailbox {
    pub(crate) url: String,
    letters: Receiver<Letter>,
}

impl Mailbox {
    pub(crate) fn new(answers: &'static [&'static str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let url = format!("http://{}/in?from=lazaret", listener.local_addr().expect("an address"));
        let (tell, letters) = channel();
        std::thread::spawn(move || {
            let mut n = 0;
            loop {
                let Ok((stream, _)) = listener.accept() else { return };
                let answer = answers.get(n).or_else(|| answers.last()).expect("an answer");
                // A connection on which nothing was asked takes no answer.
                let Some(letter) = take(stream, answer) else { continue };
                n += 1;
                if tell.send(letter).is_err() {
                    return;
                }
            }
        });
        Self { url, letters }
    }

    /// The next letter.
    #[track_caller]
    pub(crate) fn next(&self) -> Letter {
        self.letters.recv_timeout(PATIENCE).expect("a webhook")
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.letters.try_recv().is_err()
    }
}

fn take(mut stream: TcpStream, answer: &str) -> Option<Letter> {
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let mut all = Vec::new();
    let mut buffer = [0; 65536];
    loop {
        let end = all.windows(4).position(|w| w == b"\r\n\r\n");
        if let Some(end) = end {
            let head = String::from_utf8(all[..end].to_vec()).ok()?;
            let length = head.lines().find_map(|l| l.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse::<usize>().ok())?;
            if all.len() >= end + 4 + length {
                let body = all[end + 4..end + 4 + length].to_vec();
                let answer =
                    format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\nlocation: http://127.0.0.1:1/\r\nconnection: close\r\n\r\n");
                stream.write_all(answer.as_bytes()).ok()?;
                return Some(Letter { head, body });
            }
        }
        match stream.read(&mut buffer) {
            Ok(n) if n > 0 => all.extend_from_slice(&buffer[..n]),
            _ => return None,
        }
    }
}

/// A home that may send to loopback.
fn lab() -> Lab {
    let lab = Lab::new();
    lab.run(&["config", "set", "webhooks.private_ok", "[\"127.0.0.1\"]"]).succeeds();
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    lab
}

fn job(lab: &Lab, url: &str, more: Value) -> String {
    let mut form = json!({ "agent_id": "hook", "prompt": "hello", "webhook_url": url });
    for (name, value) in more.as_object().into_iter().flatten() {
        form[name] = value.clone();
    }
    lab.ask("POST", "/v1/jobs", form).is(202)["id"].as_str().expect("a job").to_owned()
}

/// The delivery of a job, once it stands so.
#[track_caller]
fn delivery(lab: &Lab, job: &str, status: &str) -> Value {
    let end = std::time::Instant::now() + PATIENCE;
    loop {
        let page = lab.ask("GET", &format!("/v1/webhooks?job={job}"), Value::Null).is(200);
        let first = &page["items"][0];
        if first["status"] == status && (status != "pending" || !first["error"].is_null()) {
            return first.clone();
        }
        assert!(std::time::Instant::now() < end, "{page}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn is_signed(letter: &Letter, secret: &str) -> bool {
    let Some(given) = letter.field("x-lazaret-signature") else { return false };
    let seconds = given.strip_prefix("t=").and_then(|rest| rest.split_once(',')).and_then(|(t, _)| t.parse().ok()).expect("a time");
    given == app::signature(secret, seconds, &letter.body)
}

#[test]
fn the_end_of_a_job_is_told_whole_and_signed() {
    let (lab, mailbox) = (lab(), Mailbox::new(&["200 OK"]));
    let set = lab.run(&["--json", "webhook", "secret"]).succeeds();
    let secret = serde_json::from_str::<Value>(&set.out).expect("JSON")["secret"].as_str().expect("a secret").to_owned();
    assert!(secret.starts_with("whsec_"));
    let id = job(&lab, &mailbox.url, Value::Null);
    let letter = mailbox.next();
    assert!(letter.head.starts_with("POST /in?from=lazaret HTTP/1.1"), "{}", letter.head);
    assert!(is_signed(&letter, &secret), "{}", letter.head);
    let body = letter.json();
    assert_eq!((&body["id"], &body["event"], &body["status"]), (&json!(id), &json!("job.completed"), &json!("completed")), "{body}");
    assert!(body["text"].is_string() && body["delivery"] == letter.field("x-lazaret-delivery").expect("a delivery"), "{body}");
    let sent = delivery(&lab, &id, "sent");
    assert_eq!((&sent["tries"], &sent["response"]), (&json!(1), &json!(200)));
    // What was sent is shown as it was; the secret is nowhere.
    let shown = lab.run(&["--json", "webhook", "show", sent["id"].as_str().expect("an identity")]).succeeds();
    let shown: Value = serde_json::from_str(&shown.out).expect("JSON");
    assert_eq!(shown["body"], body);
    let database = std::fs::read(lab.home().join("lazaret.db")).expect("the database");
    assert!(!database.windows(secret.len()).any(|w| w == secret.as_bytes()));
    // A job's own secret goes before the tenant's.
    job(&lab, &mailbox.url, json!({ "webhook_secret": "whsec-fake-of-this-job" }));
    let letter = mailbox.next();
    assert!(is_signed(&letter, "whsec-fake-of-this-job") && !is_signed(&letter, &secret), "{}", letter.head);
    lab.run(&["webhook", "secret", "--remove"]).succeeds();
    job(&lab, &mailbox.url, Value::Null);
    assert_eq!(mailbox.next().field("x-lazaret-signature"), None);
}

#[test]
fn what_is_given_up_is_seen_and_sent_again() {
    let (lab, mailbox) = (lab(), Mailbox::new(&["410 Gone", "302 Found", "200 OK"]));
    let id = job(&lab, &mailbox.url, Value::Null);
    let first = mailbox.next();
    let dead = delivery(&lab, &id, "dead");
    assert_eq!((&dead["tries"], &dead["response"]), (&json!(1), &json!(410)));
    let listed = lab.run(&["webhook", "list", "--status", "dead"]).succeeds();
    assert!(listed.out.contains(dead["id"].as_str().expect("an identity")), "{}", listed.out);
    // Its job stays until it is settled, and a redirect is no success and leads nowhere.
    lab.run(&["webhook", "resend", dead["id"].as_str().expect("an identity")]).succeeds();
    let second = mailbox.next();
    assert_eq!((second.field("x-lazaret-delivery"), &second.body), (first.field("x-lazaret-delivery"), &first.body));
    let pending = delivery(&lab, &id, "pending");
    assert!(pending["error"].as_str().expect("why").contains("redirects are not followed"), "{pending}");
    assert!(pending["next"].as_u64() > pending["tried"].as_u64(), "{pending}");
    lab.ask("POST", &format!("/v1/webhooks/{}/resend", pending["id"].as_str().expect("an identity")), Value::Null).refused(409, "CONFLICT");
    assert!(mailbox.is_empty());
}

#[test]
fn nothing_is_sent_inside() {
    let lab = Lab::new();
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    let mailbox = Mailbox::new(&["200 OK"]);
    for url in
        [mailbox.url.as_str(), "http://169.254.169.254/latest/meta-data/", "http://10.0.0.1/", "http://0.0.0.0/", "https://192.168.1.1/x"]
    {
        let form = json!({ "agent_id": "hook", "prompt": "hello", "webhook_url": url });
        let refused = lab.ask("POST", "/v1/jobs", form);
        assert_eq!(refused.status, 403, "{url}");
    }
    for url in
        ["ftp://example.com/", "http://user:pw@example.com/", "http://2130706433/", "http://[::1]/", "http://exa mple.com/", "example.com"]
    {
        let form = json!({ "agent_id": "hook", "prompt": "hello", "webhook_url": url });
        let status = lab.ask("POST", "/v1/jobs", form).status;
        assert!(matches!(status, 400 | 422), "{url}: {status}");
    }
    // A name that leads inside is found out when it is sent to, and given up at once.
    let port = mailbox.url.split(':').nth(2).and_then(|rest| rest.split('/').next()).expect("a port");
    let id = job(&lab, &format!("http://localhost:{port}/"), Value::Null);
    let dead = delivery(&lab, &id, "dead");
    assert!(dead["error"].as_str().expect("why").contains("loopback"), "{dead}");
    assert!(mailbox.is_empty(), "something was sent");
}
