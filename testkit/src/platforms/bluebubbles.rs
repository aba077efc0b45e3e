//! A BlueBubbles server, after its published source: messages by row, sending by text and by file, tapbacks, edits, files.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::party::{Party, SentFile, Standing};
use super::signed::{Posted, now_s};
use super::{Call, Kept, Reply, Web};

/// The server's password.
pub const PASSWORD: &str = "p&ss wörd";
/// A chat of two.
pub const CHAT: &str = "iMessage;-;+15550002";

#[derive(Default)]
struct State {
    messages: Vec<Value>,
    acts: Vec<Value>,
}

/// The server.
pub struct BlueBubbles {
    /// Its server.
    pub web: Web,
    state: Kept<State>,
}

impl BlueBubbles {
    /// Starts it.
    #[must_use]
    pub fn start() -> Self {
        let (web, state) = Web::keeping(State::default(), answer);
        Self { web, state }
    }

    /// Somebody writes: the message's id.
    pub fn write(&self, address: &str, more: &Value) -> String {
        let mut state = self.state.lock();
        let guid = format!("GUID-{}", state.messages.len() + 1);
        let mut message =
            json!({"guid": guid, "text": "hi", "handle": {"address": address}, "isFromMe": false, "chats": [{"guid": CHAT, "style": 45}]});
        for (key, value) in more.as_object().into_iter().flatten() {
            message[key] = value.clone();
        }
        push(&mut state, message);
        guid
    }

    /// Somebody changes a message; the server posts that to webhooks, with `secret` in the address.
    #[must_use]
    pub fn edit(&self, guid: &str, text: &str, secret: &str) -> Posted {
        let mut state = self.state.lock();
        for message in state.messages.iter_mut().filter(|message| message["guid"] == guid) {
            message["text"] = json!(text);
            message["dateEdited"] = json!(now_s() * 1_000);
        }
        Self::hook("updated-message", &json!({"guid": guid, "text": "a lie", "isFromMe": false}), secret)
    }

    /// A request to a webhook: nobody signs it.
    #[must_use]
    pub fn hook(kind: &str, data: &Value, secret: &str) -> Posted {
        let mut posted = Posted::new(json!({"type": kind, "data": data}).to_string());
        posted.path = format!("?secret={secret}");
        posted
    }

    /// The texts that the account sent.
    #[must_use]
    pub fn sent(&self) -> Vec<String> {
        let own = |message: &&Value| message["isFromMe"] == true;
        self.state.lock().messages.iter().filter(own).map(|message| message["text"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Edits and tapbacks of the account.
    #[must_use]
    pub fn acts(&self) -> Vec<Value> {
        self.state.lock().acts.clone()
    }
}

fn push(state: &mut State, mut message: Value) {
    message["originalROWID"] = json!(state.messages.len() + 1);
    if message["dateCreated"].is_null() {
        message["dateCreated"] = json!(now_s() * 1_000);
    }
    message["itemType"] = json!(0);
    state.messages.push(message);
}

fn answer(state: &mut State, call: &Call) -> Reply {
    let failed = |status: u16, message: &str| {
        Reply::json(status, &json!({"status": status, "message": "x", "error": {"type": "x", "message": message}}))
    };
    let fine = |data: Value| Reply::json(200, &json!({"status": 200, "message": "Success", "data": data}));
    if !call.query().iter().any(|(key, value)| key == "password" && value == PASSWORD) {
        return failed(401, "Unauthorized");
    }
    let body = call.json();
    let pieces: Vec<&str> = call.path().trim_start_matches("/api/v1/").split('/').collect();
    match (call.method.as_str(), pieces.as_slice()) {
        ("POST", ["message", "query"]) => {
            let bound = |name: &str| body["where"][0]["args"][name].as_i64();
            let statement = body["where"][0]["statement"].as_str().unwrap_or("");
            let (after, top) = match statement {
                "" => (0, i64::MAX),
                "message.ROWID > :row" => (bound("row").unwrap_or(0), i64::MAX),
                "message.ROWID > :row AND message.ROWID <= :top" => (bound("row").unwrap_or(0), bound("top").unwrap_or(0)),
                _ => return failed(400, "bad where"),
            };
            let in_it = |message: &&Value| message["originalROWID"].as_i64().is_some_and(|row| row > after && row <= top);
            let mut found: Vec<Value> = state.messages.iter().filter(in_it).cloned().collect();
            // By date, which is not always the order of rows.
            found.sort_by_key(|message| message["dateCreated"].as_i64());
            if body["sort"] == "DESC" {
                found.reverse();
            }
            found.truncate(usize::try_from(body["limit"].as_u64().unwrap_or(100)).unwrap_or(100).min(1_000));
            fine(json!(found))
        }
        ("POST", ["message", "text"]) => {
            let (chat, text) = (body["chatGuid"].as_str().unwrap_or_default(), body["message"].as_str().unwrap_or_default());
            if text.is_empty() || body["tempGuid"].as_str().unwrap_or_default().is_empty() || !chat.contains(';') {
                return failed(400, "A 'message' is required");
            }
            let guid = format!("GUID-{}", state.messages.len() + 1);
            push(
                state,
                json!({"guid": guid, "text": text, "isFromMe": true, "chats": [{"guid": chat}], "threadOriginatorGuid": body["selectedMessageGuid"]}),
            );
            fine(json!({"guid": guid}))
        }
        ("POST", ["message", "attachment"]) => {
            let parts = call.parts();
            let has = |name: &str| parts.iter().any(|(known, _, bytes)| known == name && !bytes.is_empty());
            if !has("chatGuid") || !has("tempGuid") || !has("name") || !has("attachment") {
                return failed(400, "Attachment not provided or was empty!");
            }
            let guid = format!("GUID-{}", state.messages.len() + 1);
            let bytes = parts.iter().find(|(known, _, _)| known == "attachment").map(|(_, _, bytes)| STANDARD.encode(bytes));
            push(state, json!({"guid": guid, "text": "[file]", "bytes": bytes, "isFromMe": true, "chats": [{"guid": CHAT}]}));
            fine(json!({"guid": guid}))
        }
        ("POST", ["message", "react"]) => {
            if !["love", "like", "dislike", "laugh", "emphasize", "question"].contains(&body["reaction"].as_str().unwrap_or_default()) {
                return failed(400, "The reaction must be one of");
            }
            state.acts.push(body);
            fine(json!({"guid": "GUID-R"}))
        }
        ("POST", ["message", guid, "edit"]) => {
            if !state.messages.iter().any(|message| message["guid"] == **guid && message["isFromMe"] == true)
                || !body["backwardsCompatibilityMessage"].is_string()
            {
                return failed(400, "The message cannot be edited");
            }
            if let Some(message) = state.messages.iter_mut().find(|message| message["guid"] == **guid) {
                message["text"] = body["editedMessage"].clone();
            }
            state.acts.push(body);
            fine(json!({"guid": guid}))
        }
        ("GET", ["message", guid]) => state
            .messages
            .iter()
            .find(|message| message["guid"] == **guid)
            .map_or_else(|| failed(404, "Message does not exist!"), |message| fine(message.clone())),
        ("GET", ["attachment", "at_1", "download"]) => Reply::status(200).body("attachment"),
        ("POST" | "DELETE", ["chat", _, "typing"]) => fine(Value::Null),
        _ => failed(404, "no such route"),
    }
}

/// Who writes, in a conversation.
const ANN: &str = "+15550002";

impl Party for BlueBubbles {
    fn network(&self) -> &'static str {
        "imessage"
    }

    fn config(&self) -> Value {
        json!({"base_url": self.web.url(), "poll_s": 1, "private_api": true})
    }

    fn credentials(&self) -> Vec<(&'static str, String)> {
        vec![("password", PASSWORD.to_owned())]
    }

    fn writes(&self, text: &str) -> Option<Posted> {
        self.write(ANN, &json!({"text": text}));
        None
    }

    fn sends(&self, text: &str) -> Option<SentFile> {
        let file = json!([{"guid": "at_1", "transferName": "a.txt", "mimeType": "text/plain", "totalBytes": 10}]);
        self.write(ANN, &json!({"text": text, "attachments": file}));
        Some(SentFile { posted: None, bytes: b"attachment" })
    }

    fn standing(&self) -> Vec<Standing> {
        let state = self.state.lock();
        let own = state.messages.iter().filter(|message| message["isFromMe"] == true);
        own.map(|message| Standing {
            files: message["bytes"].as_str().and_then(|data| STANDARD.decode(data).ok()).into_iter().collect(),
            ..Standing::text(message["guid"].as_str().unwrap_or_default(), &message["text"])
        })
        .collect()
    }

    fn was_seen_writing(&self) -> bool {
        !self.web.calls("/typing").is_empty()
    }
}
