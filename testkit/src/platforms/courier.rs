//! Somebody's own program behind the network `webhook`: it posts signed requests, and takes signed answers once each by their key.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::party::{Party, SentFile, Standing, each, fresh, over};
use super::signed::{Posted, hmac_sha256_hex, now_s};
use super::{Call, Kept, Reply, Web};

/// What both sides sign with.
pub const SECRET: &str = "a secret of two programs";

/// The program.
pub struct Courier {
    /// Its server.
    pub web: Web,
    taken: Kept<Vec<Value>>,
}

impl Courier {
    /// Starts it.
    #[must_use]
    pub fn start() -> Self {
        let (web, taken) = Web::keeping(Vec::new(), answer);
        Self { web, taken }
    }

    /// A request with a message, signed at some time.
    #[must_use]
    pub fn message(body: &Value, at_s: i64) -> Posted {
        let body = body.to_string();
        let tag = tag(&at_s.to_string(), body.as_bytes());
        Posted::new(body).with("x-lazaret-signature", &tag)
    }

    fn says(text: &str, more: &Value) -> Posted {
        let message = json!({"id": fresh().to_string(), "chat": "ann", "sender": {"id": "ann", "name": "Ann"}, "text": text});
        Self::message(&over(message, more), now_s())
    }
}

fn tag(at: &str, body: &[u8]) -> String {
    format!("t={at},v1={}", hmac_sha256_hex(SECRET, &[at.as_bytes(), b".", body].concat()))
}

fn answer(taken: &mut Vec<Value>, call: &Call) -> Reply {
    let given = call.header("x-lazaret-signature").unwrap_or_default();
    let at = given.trim_start_matches("t=").split(',').next().unwrap_or_default();
    let signed = if call.method == "GET" { call.target.as_bytes() } else { call.body.as_ref() };
    if given != tag(at, signed) {
        return Reply::status(401);
    }
    if call.method == "GET" {
        return Reply::status(200).body("attachment");
    }
    let asked = call.json();
    if !taken.iter().any(|known| known["id"] == asked["id"]) {
        taken.push(asked.clone());
    }
    let at = taken.iter().position(|known| known["id"] == asked["id"]).unwrap_or_default();
    Reply::json(200, &json!({"id": format!("m{at}")}))
}

impl Party for Courier {
    fn network(&self) -> &'static str {
        "webhook"
    }

    fn config(&self) -> Value {
        json!({"base_url": format!("{}/answers", self.web.url())})
    }

    fn credentials(&self) -> Vec<(&'static str, String)> {
        vec![("secret", SECRET.to_owned())]
    }

    fn writes(&self, text: &str) -> Option<Posted> {
        Some(Self::says(text, &json!({})))
    }

    fn sends(&self, text: &str) -> Option<SentFile> {
        let file = json!([{"url": format!("{}/files/a.txt", self.web.url()), "name": "a.txt"}]);
        Some(SentFile { posted: Some(Self::says(text, &json!({"files": file}))), bytes: b"attachment" })
    }

    fn presses(&self, below: &Standing, value: &str) -> Option<Posted> {
        Some(Self::says("", &json!({"kind": "button", "about": below.id, "value": value})))
    }

    fn standing(&self) -> Vec<Standing> {
        let taken = self.taken.lock();
        let mut all: Vec<Standing> = Vec::new();
        for (n, one) in taken.iter().enumerate() {
            let stands = Standing {
                buttons: each(&one["buttons"], "/value"),
                files: each(&one["files"], "/data").into_iter().filter_map(|data| STANDARD.decode(data).ok()).collect(),
                ..Standing::text(format!("m{n}"), &one["text"])
            };
            match all.iter_mut().find(|known| one["do"] == "edit" && one["message"] == known.id.as_str()) {
                Some(known) => (known.text, known.buttons) = (stands.text, stands.buttons),
                None => all.push(stands),
            }
        }
        all
    }
}
