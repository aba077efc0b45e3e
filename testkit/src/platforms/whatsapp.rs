//! WhatsApp's Cloud API, as its public documentation describes it: the Graph API of one number, and the webhooks of its app.
//! What leaves the window of 24 hours is taken and then reported as failed, as there.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::party::{Party, SentFile, Standing, each, fresh};
use super::signed::{Posted, hmac_sha256_hex, now_s};
use super::{Call, Kept, Reply, Web};

/// The id of the number.
pub const NUMBER: &str = "1060700";
/// The token that the API takes.
pub const TOKEN: &str = "EAAG-test-token";
/// What requests are signed with.
pub const SECRET: &str = "app-secret-of-tests";

#[derive(Default)]
struct State {
    sent: Vec<Value>,
    media: Vec<(String, Vec<u8>)>,
    /// Who wrote within 24 hours.
    open: HashSet<String>,
    statuses: Vec<Value>,
}

/// The platform.
pub struct WhatsApp {
    /// Its server.
    pub web: Web,
    state: Kept<State>,
}

impl WhatsApp {
    /// Starts it; the people of `open` wrote within 24 hours.
    #[must_use]
    pub fn start(open: &[&str]) -> Self {
        let open = open.iter().map(|person| (*person).to_owned()).collect();
        let (web, state) = Web::keeping(State { open, ..State::default() }, answer);
        Self { web, state }
    }

    /// The messages that it took, as they were sent.
    #[must_use]
    pub fn sent(&self) -> Vec<Value> {
        self.state.lock().sent.clone()
    }

    /// Files that were brought.
    #[must_use]
    pub fn media(&self) -> Vec<(String, Vec<u8>)> {
        self.state.lock().media.clone()
    }

    /// Puts a file where a message can name it: its id.
    #[must_use]
    pub fn put(&self, name: &str, bytes: &[u8]) -> String {
        let mut state = self.state.lock();
        state.media.push((name.to_owned(), bytes.to_owned()));
        format!("media{}", state.media.len())
    }

    /// A signed request with a message of somebody's.
    #[must_use]
    pub fn message(&self, from: &str, id: &str, more: &Value) -> Posted {
        let mut message = json!({"from": from, "id": id, "timestamp": now_s().to_string()});
        for (key, value) in more.as_object().into_iter().flatten() {
            message[key] = value.clone();
        }
        let contacts = json!([{"wa_id": from, "profile": {"name": "Ann"}}]);
        Self::change(NUMBER, &json!({"contacts": contacts, "messages": [message]}))
    }

    /// A signed request with the statuses that came to be since the last one.
    #[must_use]
    pub fn statuses(&self) -> Posted {
        let statuses = std::mem::take(&mut self.state.lock().statuses);
        Self::change(NUMBER, &json!({"statuses": statuses}))
    }

    /// A signed request with a change of a number.
    #[must_use]
    pub fn change(number: &str, value: &Value) -> Posted {
        let mut value = value.clone();
        value["messaging_product"] = json!("whatsapp");
        value["metadata"] = json!({"display_phone_number": "15550001", "phone_number_id": number});
        let body =
            json!({"object": "whatsapp_business_account", "entry": [{"id": "77", "changes": [{"field": "messages", "value": value}]}]})
                .to_string();
        let signature = format!("sha256={}", hmac_sha256_hex(SECRET, body.as_bytes()));
        Posted::new(body).with("x-hub-signature-256", &signature).with("content-type", "application/json")
    }
}

fn error(status: u16, code: i64, message: &str) -> Reply {
    Reply::json(status, &json!({"error": {"message": message, "type": "OAuthException", "code": code, "fbtrace_id": "x"}}))
}

fn answer(state: &mut State, call: &Call) -> Reply {
    let url = format!("http://{}", call.header("host").unwrap_or_default());
    if call.bearer() != Some(TOKEN) {
        return error(401, 190, "Invalid OAuth access token");
    }
    let pieces: Vec<&str> = call.path().trim_matches('/').split('/').collect();
    match (call.method.as_str(), pieces.as_slice()) {
        ("GET", ["v23.0", NUMBER]) => {
            Reply::json(200, &json!({"verified_name": "Lazaret", "display_phone_number": "+1 555 0001", "id": NUMBER}))
        }
        ("POST", ["v23.0", NUMBER, "messages"]) => message(state, &call.json()),
        ("POST", ["v23.0", NUMBER, "media"]) => {
            let parts = call.parts();
            let product = parts.iter().any(|(name, _, value)| name == "messaging_product" && value == b"whatsapp");
            match parts.into_iter().find(|(name, _, _)| name == "file") {
                Some((_, Some(name), bytes)) if product && !bytes.is_empty() => {
                    state.media.push((name, bytes));
                    Reply::json(200, &json!({"id": format!("media{}", state.media.len())}))
                }
                _ => error(400, 100, "(#100) The parameter file is required"),
            }
        }
        ("GET", ["v23.0", media]) if file(state, media).is_some() => {
            Reply::json(200, &json!({"id": media, "url": format!("{url}/files/{media}"), "mime_type": "x/y"}))
        }
        ("GET", ["files", media]) => file(state, media).map_or_else(|| Reply::status(404), |bytes| Reply::status(200).body(bytes)),
        _ => error(400, 100, "Unsupported request"),
    }
}

fn file(state: &State, id: &str) -> Option<Vec<u8>> {
    let at: usize = id.strip_prefix("media")?.parse().ok()?;
    state.media.get(at.checked_sub(1)?).map(|(_, bytes)| bytes.clone())
}

fn message(state: &mut State, body: &Value) -> Reply {
    if body["status"] == "read" {
        return Reply::json(200, &json!({"success": true}));
    }
    let to = body["to"].as_str().unwrap_or_default();
    if body["messaging_product"] != "whatsapp"
        || body["recipient_type"] != "individual"
        || !to.bytes().all(|b| b.is_ascii_digit())
        || to.len() < 5
    {
        return error(400, 100, "(#100) Invalid parameter");
    }
    let length = |text: &Value, max: usize| text.as_str().is_some_and(|text| !text.is_empty() && text.chars().count() <= max);
    let fine = match body["type"].as_str().unwrap_or_default() {
        "text" => length(&body["text"]["body"], 4_096),
        "interactive" => interactive(&body["interactive"], &length),
        "reaction" => body["reaction"]["message_id"].is_string(),
        kind @ ("image" | "document" | "audio" | "video") => body[kind]["id"].as_str().is_some_and(|id| file(state, id).is_some()),
        _ => false,
    };
    if !fine {
        return error(400, 100, "(#100) Invalid parameter");
    }
    state.sent.push(body.clone());
    let id = format!("wamid.{}", state.sent.len());
    let mut status = json!({"id": id, "recipient_id": to, "timestamp": now_s().to_string(), "status": "sent"});
    if !state.open.contains(to) {
        status["status"] = json!("failed");
        status["errors"] =
            json!([{"code": 131_047, "title": "Re-engagement message", "error_data": {"details": "more than 24 hours have passed"}}]);
    }
    state.statuses.push(status);
    Reply::json(200, &json!({"messaging_product": "whatsapp", "contacts": [{"input": to, "wa_id": to}], "messages": [{"id": id}]}))
}

fn interactive(body: &Value, length: &dyn Fn(&Value, usize) -> bool) -> bool {
    let each = |list: &Value, max: usize, take: &dyn Fn(&Value) -> bool| {
        list.as_array().is_some_and(|list| (1..=max).contains(&list.len()) && list.iter().all(take))
    };
    let action = &body["action"];
    let shown = length(&body["body"]["text"], 1_024);
    shown
        && match body["type"].as_str() {
            Some("button") => {
                each(&action["buttons"], 3, &|button| length(&button["reply"]["title"], 20) && length(&button["reply"]["id"], 256))
            }
            Some("list") => {
                length(&action["button"], 20)
                    && each(&action["sections"][0]["rows"], 10, &|row| length(&row["title"], 24) && length(&row["id"], 200))
            }
            _ => false,
        }
}

/// Who writes, in a conversation.
const ANN: &str = "491500001";

impl Party for WhatsApp {
    fn network(&self) -> &'static str {
        "whatsapp"
    }

    fn config(&self) -> Value {
        json!({"phone_number_id": NUMBER, "base_url": self.web.url()})
    }

    fn credentials(&self) -> Vec<(&'static str, String)> {
        [("access_token", TOKEN), ("app_secret", SECRET), ("verify_token", "verify me")].map(|(key, value)| (key, value.to_owned())).into()
    }

    fn writes(&self, text: &str) -> Option<Posted> {
        self.state.lock().open.insert(ANN.to_owned());
        Some(self.message(ANN, &format!("wamid.in{}", fresh()), &json!({"type": "text", "text": {"body": text}})))
    }

    fn sends(&self, text: &str) -> Option<SentFile> {
        let id = self.put("a.txt", b"attachment");
        let document = json!({"id": id, "filename": "a.txt", "mime_type": "text/plain", "caption": text});
        let posted = self.message(ANN, &format!("wamid.in{}", fresh()), &json!({"type": "document", "document": document}));
        Some(SentFile { posted: Some(posted), bytes: b"attachment" })
    }

    fn presses(&self, below: &Standing, value: &str) -> Option<Posted> {
        let reply = json!({"type": "button_reply", "button_reply": {"id": value, "title": "x"}});
        let more = json!({"type": "interactive", "interactive": reply, "context": {"id": below.id}});
        Some(self.message(ANN, &format!("wamid.in{}", fresh()), &more))
    }

    fn standing(&self) -> Vec<Standing> {
        let state = self.state.lock();
        let stands = |(n, sent): (usize, &Value)| {
            let card = &sent["interactive"];
            let text = [&sent["text"]["body"], &card["body"]["text"]].into_iter().find(|text| text.is_string()).unwrap_or(&Value::Null);
            let kind = sent["type"].as_str().unwrap_or_default();
            let mut buttons = each(&card["action"]["buttons"], "/reply/id");
            buttons.extend(each(&card["action"]["sections"][0]["rows"], "/id"));
            let files = sent[kind]["id"].as_str().and_then(|id| file(&state, id)).into_iter().collect();
            Standing { buttons, files, ..Standing::text(format!("wamid.{}", n + 1), text) }
        };
        state.sent.iter().enumerate().map(stands).collect()
    }

    fn was_seen_writing(&self) -> bool {
        self.web.calls("/messages").iter().any(|call| call.json()["typing_indicator"].is_object())
    }
}
