//! Resend's API and webhooks, as its public documentation describes them: one domain that sends and receives.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::party::{Party, SentFile, Standing, each, fresh};
use super::signed::{Posted, date, hmac_sha256_base64, now_s};
use super::{Call, Kept, Reply, Web};

/// The API key.
pub const KEY: &str = "re_test";
/// A key that may only send.
pub const SENDING_KEY: &str = "re_sending";
/// The webhook's signing secret.
pub const SECRET: &str = "whsec_c2VjcmV0LW9mLXRlc3RzLXRoYXQtaXMtbG9uZw==";
/// The account's address.
pub const ADDRESS: &str = "agent@acme.example";
/// The server that receives its mail.
pub const SERVER: &str = "mx.acme.example";

#[derive(Default)]
struct State {
    sent: Vec<Value>,
    keys: HashMap<String, (Value, usize)>,
    received: Vec<(Value, String)>,
}

/// The platform.
pub struct Resend {
    /// Its server.
    pub web: Web,
    state: Kept<State>,
}

impl Resend {
    /// Starts it.
    #[must_use]
    pub fn start() -> Self {
        let (web, state) = Web::keeping(State::default(), answer);
        Self { web, state }
    }

    /// What is configured to reach it.
    #[must_use]
    pub fn config(&self) -> Value {
        json!({"from": format!("Lazaret <{ADDRESS}>"), "authserv": SERVER, "base_url": self.web.url(), "files_url": self.web.url()})
    }

    /// The mails that it sent.
    #[must_use]
    pub fn sent(&self) -> Vec<Value> {
        self.state.lock().sent.clone()
    }

    /// A mail comes, with these headers at its top and more fields of the API's: the signed request that tells it.
    #[must_use]
    pub fn receive(&self, top: &str, from: &str, message_id: &str, more: &Value) -> Posted {
        let mut state = self.state.lock();
        let id = format!("mail{}", state.received.len());
        let mut about = json!({
            "object": "email", "id": id, "from": from, "to": [ADDRESS], "cc": [], "bcc": [], "subject": "A question", "text": "hi", "created_at": date(0),
            "message_id": message_id, "attachments": [],
        });
        let mut headers = String::new();
        for (key, value) in more.as_object().into_iter().flatten() {
            match key.strip_prefix("header ") {
                Some(name) => headers.push_str(&format!("{name}: {}\r\n", value.as_str().unwrap_or_default())),
                None => about[key] = value.clone(),
            }
        }
        let raw = format!(
            "Received: from x by {SERVER}\r\n{top}\r\nReceived: by x\r\n{headers}From: {from}\r\nMessage-ID: {message_id}\r\nSubject: A question\r\n\r\nhi\r\n"
        );
        state.received.push((about, raw));
        Self::event(
            &json!({"type": "email.received", "created_at": date(0), "data": {"email_id": id, "from": from, "to": [ADDRESS]}}),
            now_s(),
            SECRET,
        )
    }

    /// A request with an event, signed with a secret at some time.
    ///
    /// # Panics
    /// The secret is none.
    #[must_use]
    pub fn event(event: &Value, at_s: i64, secret: &str) -> Posted {
        let body = event.to_string();
        let key = STANDARD.decode(secret.trim_start_matches("whsec_")).expect("base64");
        let signature = hmac_sha256_base64(&key, format!("msg_1.{at_s}.{body}").as_bytes());
        let both = format!("v1,{} v1,{signature}", STANDARD.encode([0; 32]));
        Posted::new(body).with("svix-id", "msg_1").with("svix-timestamp", &at_s.to_string()).with("svix-signature", &both)
    }
}

fn answer(state: &mut State, call: &Call) -> Reply {
    let said = |status: u16, name: &str| Reply::json(status, &json!({"statusCode": status, "name": name, "message": "for a person"}));
    let url = format!("http://{}", call.header("host").unwrap_or_default());
    let pieces: Vec<&str> = call.path().trim_matches('/').split('/').collect();
    let found = |id: &str| state.received.iter().find(|(about, _)| about["id"] == *id);
    match pieces.as_slice() {
        // Signed addresses: they need no key, and one that comes along has gone too far.
        ["raw", id] if call.bearer().is_none() => {
            return found(id).map_or_else(|| Reply::status(404), |(_, raw)| Reply::status(200).body(raw.clone()));
        }
        ["file", "att1"] if call.bearer().is_none() => return Reply::status(200).body("attachment"),
        _ => {}
    }
    match call.bearer() {
        Some(KEY) => {}
        Some(SENDING_KEY) if pieces == ["emails"] => {}
        Some(SENDING_KEY) => return said(401, "restricted_api_key"),
        Some(_) => return said(403, "invalid_api_key"),
        None => return said(401, "missing_api_key"),
    }
    match (call.method.as_str(), pieces.as_slice()) {
        ("GET", ["domains"]) => Reply::json(200, &json!({"data": [{"name": "acme.example"}]})),
        ("POST", ["emails"]) => {
            let body = call.json();
            let key = call.header("idempotency-key").unwrap_or_default().to_owned();
            match state.keys.get(&key) {
                Some((known, n)) if *known == body => return Reply::json(200, &json!({"id": format!("sent{n}")})),
                Some(_) => return said(409, "invalid_idempotent_request"),
                None => {}
            }
            let fine = body["from"].as_str().is_some_and(|from| from.contains("@acme.example"))
                && body["to"].as_array().is_some_and(|to| !to.is_empty());
            let files = body["attachments"]
                .as_array()
                .into_iter()
                .flatten()
                .all(|file| STANDARD.decode(file["content"].as_str().unwrap_or("*")).is_ok());
            if !fine
                || !files
                || !body["subject"].is_string()
                || !(body["text"].is_string() || body["html"].is_string())
                || body["subject"].as_str().unwrap_or_default().contains('\n')
            {
                return said(422, "validation_error");
            }
            let n = state.sent.len();
            state.sent.push(body.clone());
            if !key.is_empty() {
                state.keys.insert(key, (body, n));
            }
            Reply::json(200, &json!({"id": format!("sent{n}")}))
        }
        ("GET", ["emails", "receiving", id]) => match found(id) {
            Some((about, _)) => {
                let mut about = about.clone();
                if about["raw"].is_null() {
                    about["raw"] = json!({"download_url": format!("{url}/raw/{id}?signature=x"), "expires_at": date(3_600)});
                }
                Reply::json(200, &about)
            }
            None => said(404, "not_found"),
        },
        ("GET", ["emails", "receiving", _, "attachments", "att1"]) => {
            Reply::json(200, &json!({"id": "att1", "download_url": format!("{url}/file/att1")}))
        }
        _ => said(404, "not_found"),
    }
}

impl Resend {
    fn mail(&self, text: &str, files: &Value) -> Posted {
        let proof = format!("Authentication-Results: {SERVER};\r\n spf=pass smtp.mailfrom=example.org; dmarc=pass header.from=example.org");
        // Answers to what began under this name, all of them.
        let more = json!({"text": text, "attachments": files, "header References": "<root@example.org>"});
        self.receive(&proof, "Ann <ann@example.org>", &format!("<{}@example.org>", fresh()), &more)
    }
}

impl Party for Resend {
    fn network(&self) -> &'static str {
        "resend"
    }

    fn config(&self) -> Value {
        Self::config(self)
    }

    fn credentials(&self) -> Vec<(&'static str, String)> {
        vec![("api_key", KEY.to_owned()), ("webhook_secret", SECRET.to_owned())]
    }

    fn writes(&self, text: &str) -> Option<Posted> {
        Some(self.mail(text, &json!([])))
    }

    fn sends(&self, text: &str) -> Option<SentFile> {
        let file = json!([{"id": "att1", "filename": "a.txt", "content_type": "text/plain", "content_disposition": "attachment"}]);
        Some(SentFile { posted: Some(self.mail(text, &file)), bytes: b"attachment" })
    }

    fn standing(&self) -> Vec<Standing> {
        let stands = |(n, sent): (usize, Value)| Standing {
            files: each(&sent["attachments"], "/content").into_iter().filter_map(|data| STANDARD.decode(data).ok()).collect(),
            ..Standing::text(format!("sent{n}"), &sent["text"])
        };
        self.sent().into_iter().enumerate().map(stands).collect()
    }
}
