//! Webex's REST API and webhooks, as its public documentation describes them: one bot.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::party::{Party, SentFile, Standing, each, fresh};
use super::signed::{Posted, date, hmac_sha1_hex};
use super::{Call, Kept, Reply, Web};

/// The bot's token.
pub const TOKEN: &str = "webex-token-of-tests";
/// The webhooks' secret.
pub const SECRET: &str = "webex-secret-of-tests";
/// The bot's id.
pub const ME: &str = "PERSON-ME";

#[derive(Default)]
struct State {
    messages: Vec<Value>,
    actions: Vec<Value>,
}

/// The platform.
pub struct Webex {
    /// Its server.
    pub web: Web,
    state: Kept<State>,
}

impl Webex {
    /// Starts it.
    #[must_use]
    pub fn start() -> Self {
        let (web, state) = Web::keeping(State::default(), answer);
        Self { web, state }
    }

    /// The messages that stand there, those of others too.
    #[must_use]
    pub fn messages(&self) -> Vec<Value> {
        self.state.lock().messages.clone()
    }

    /// Somebody writes: the signed request that tells it.
    #[must_use]
    pub fn write(&self, person: &str, id: &str, more: &Value) -> Posted {
        let mut message = json!({
            "id": id, "roomId": "ROOM", "roomType": "group", "personId": person, "personEmail": "ann@example.com", "text": "hi", "created": date(0),
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            message[key] = value.clone();
        }
        let posted = Self::event("messages", "created", &json!({"id": id, "roomId": "ROOM", "personId": person}));
        let mut state = self.state.lock();
        state.messages.retain(|known| known["id"] != *id);
        state.messages.push(message);
        posted
    }

    /// Somebody presses a button: the signed request that tells it.
    #[must_use]
    pub fn press(&self, person: &str, message: &str, value: &str) -> Posted {
        let mut state = self.state.lock();
        let id = format!("ACTION{}", state.actions.len());
        let room =
            state.messages.iter().find(|known| known["id"] == message).map_or_else(|| json!("ROOM"), |known| known["roomId"].clone());
        let action = json!({"id": id, "type": "submit", "messageId": message, "roomId": room, "personId": person, "inputs": {"lazaret": value}, "created": date(0)});
        state.actions.push(action);
        Self::event("attachmentActions", "created", &json!({"id": id, "personId": person, "roomId": room, "messageId": message}))
    }

    /// A signed request with any event.
    #[must_use]
    pub fn event(resource: &str, event: &str, data: &Value) -> Posted {
        let body = json!({"id": "HOOK", "resource": resource, "event": event, "actorId": data["personId"], "orgId": "ORG", "data": data})
            .to_string();
        let signature = hmac_sha1_hex(SECRET, body.as_bytes());
        Posted::new(body).with("x-spark-signature", &signature)
    }
}

fn answer(state: &mut State, call: &Call) -> Reply {
    let said = |status: u16, message: &str| Reply::json(status, &json!({"message": message, "trackingId": "T"}));
    if call.bearer() != Some(TOKEN) {
        return said(401, "The request requires a valid access token set in the Authorization request header.");
    }
    let pieces: Vec<&str> = call.path().trim_matches('/').split('/').skip(1).collect();
    let found = |list: &[Value], id: &str| {
        list.iter()
            .find(|known| known["id"] == *id)
            .map_or_else(|| said(404, "The requested resource could not be found."), |known| Reply::json(200, known))
    };
    match (call.method.as_str(), pieces.as_slice()) {
        ("GET", ["people", "me"]) => Reply::json(200, &json!({"id": ME, "displayName": "Lazaret", "type": "bot"})),
        ("GET", ["rooms", "ROOM"]) => Reply::json(200, &json!({"id": "ROOM", "type": "group"})),
        ("GET", ["rooms", "DIRECT"]) => Reply::json(200, &json!({"id": "DIRECT", "type": "direct"})),
        ("GET", ["messages", "direct"]) => Reply::json(200, &json!({"items": [{"roomId": "DIRECT"}]})),
        ("GET", ["messages", id]) => found(&state.messages, id),
        ("GET", ["attachment", "actions", id]) => found(&state.actions, id),
        ("GET", ["contents", "FILE1"]) => {
            Reply::status(200).header("content-disposition", "attachment; filename=\"a.txt\"").body("content")
        }
        ("GET", ["contents", "SCANNED"]) => Reply::status(423).header("retry-after", "5"),
        ("POST", ["messages"]) => {
            let mut message = call.json();
            for (name, file, bytes) in call.parts() {
                if file.is_some() {
                    message["bytes"] = json!(STANDARD.encode(&bytes));
                }
                message[name] = file.map_or_else(|| json!(String::from_utf8_lossy(&bytes)), |file| json!([file]));
            }
            let text = message["markdown"].as_str().unwrap_or_default();
            if message["roomId"] != "ROOM" && message["roomId"] != "DIRECT" {
                return said(404, "Could not find a room with provided ID.");
            }
            if text.len() > 7_439 || (text.is_empty() && message["files"].is_null()) {
                return said(400, "Message length limited to 7439 bytes");
            }
            message["id"] = json!(format!("SENT{}", fresh()));
            message["personId"] = json!(ME);
            state.messages.push(message.clone());
            Reply::json(200, &message)
        }
        ("DELETE", ["messages", id]) => {
            let before = state.messages.len();
            state.messages.retain(|known| known["id"] != **id || known["personId"] != ME);
            if state.messages.len() < before { Reply::status(204) } else { said(404, "The requested resource could not be found.") }
        }
        ("PUT", ["messages", id]) => match state.messages.iter_mut().find(|known| known["id"] == **id && known["personId"] == ME) {
            Some(message) if message["attachments"].is_null() && message["files"].is_null() => {
                message["markdown"] = call.json()["markdown"].clone();
                Reply::json(200, message)
            }
            Some(_) => said(400, "Messages with files or cards cannot be edited"),
            None => said(404, "The requested resource could not be found."),
        },
        _ => said(404, "The requested resource could not be found."),
    }
}

impl Party for Webex {
    fn network(&self) -> &'static str {
        "webex"
    }

    fn config(&self) -> Value {
        json!({"base_url": self.web.url()})
    }

    fn credentials(&self) -> Vec<(&'static str, String)> {
        vec![("token", TOKEN.to_owned()), ("webhook_secret", SECRET.to_owned())]
    }

    fn writes(&self, text: &str) -> Option<Posted> {
        Some(self.write("ANN", &format!("M{}", fresh()), &json!({"text": text, "mentionedPeople": [ME]})))
    }

    fn sends(&self, text: &str) -> Option<SentFile> {
        let more = json!({"text": text, "mentionedPeople": [ME], "files": ["https://webexapis.com/v1/contents/FILE1"]});
        Some(SentFile { posted: Some(self.write("ANN", &format!("M{}", fresh()), &more)), bytes: b"content" })
    }

    fn presses(&self, below: &Standing, value: &str) -> Option<Posted> {
        Some(self.press("ANN", &below.id, value))
    }

    fn standing(&self) -> Vec<Standing> {
        let stands = |message: Value| Standing {
            buttons: each(&message["attachments"][0]["content"]["actions"], "/data/lazaret"),
            files: message["bytes"].as_str().and_then(|data| STANDARD.decode(data).ok()).into_iter().collect(),
            ..Standing::text(message["id"].as_str().unwrap_or_default(), &message["markdown"])
        };
        self.messages().into_iter().filter(|message| message["personId"] == ME).map(stands).collect()
    }
}
