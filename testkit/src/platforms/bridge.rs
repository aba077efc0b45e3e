//! A bridge to a linked device, as docs/guide/channel-bridge.md describes it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use super::party::{Party, SentFile, Standing, each};
use super::signed::Posted;
use super::{Call, Reply, Web};

/// The bridge's token.
pub const TOKEN: &str = "bridge-token-of-tests";
/// How often a waiting question looks for events.
const LOOK: Duration = Duration::from_millis(10);

#[derive(Default)]
struct State {
    linked: bool,
    /// Whether it keeps the keys of messages.
    keys: bool,
    events: Vec<Value>,
    /// How many events it forgot; nothing before the first question.
    forgot: Option<usize>,
    sent: Vec<Value>,
    known: HashMap<String, usize>,
    files: Vec<Vec<u8>>,
    acts: Vec<Value>,
}

/// The bridge.
pub struct Bridge {
    /// Its server.
    pub web: Web,
    state: Arc<Mutex<State>>,
}

impl Bridge {
    /// Starts it; `keys` says whether it knows a message again by its key.
    #[must_use]
    pub fn start(keys: bool) -> Self {
        let state = Arc::new(Mutex::new(State { linked: true, keys, ..State::default() }));
        let served = Arc::clone(&state);
        let web = Web::start(move |call| {
            let served = Arc::clone(&served);
            async move {
                // A question for events waits a little for the first, if it is to.
                let looks = if call.target.contains("wait=0") { 1 } else { 20 };
                for _ in 0..looks {
                    let reply = answer(&mut served.lock().unwrap_or_else(PoisonError::into_inner), &call);
                    match reply {
                        Some(reply) => return reply,
                        None => tokio::time::sleep(LOOK).await,
                    }
                }
                Reply::json(200, &json!({"events": []}))
            }
        });
        Self { web, state }
    }

    /// Something happens: any value, for bridges can err.
    pub fn event(&self, event: &Value) {
        let mut state = self.lock();
        let cursor = format!("at {}", state.events.len() + 1);
        state.events.push(json!({"cursor": cursor, "event": event}));
    }

    /// Somebody writes.
    pub fn write(&self, person: &str, text: &str) {
        let n = self.lock().events.len();
        self.event(&json!({
            "kind": "message", "id": format!("in{n}"), "chat": {"id": person, "group": false}, "sender": {"id": person}, "text": text, "at_ms": 1,
        }));
    }

    /// Links the device or lets it go.
    pub fn link(&self, linked: bool) {
        self.lock().linked = linked;
    }

    /// The messages that it sent.
    #[must_use]
    pub fn sent(&self) -> Vec<Value> {
        self.lock().sent.clone()
    }

    /// Edits and reactions.
    #[must_use]
    pub fn acts(&self) -> Vec<Value> {
        self.lock().acts.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn answer(state: &mut State, call: &Call) -> Option<Reply> {
    let failed = |status: u16, code: &str| Some(Reply::json(status, &json!({"error": {"code": code, "message": "for a person"}})));
    if call.bearer() != Some(TOKEN) {
        return failed(401, "unauthorized");
    }
    if !state.linked {
        return failed(503, "not_linked");
    }
    let body = call.json();
    let query = call.query();
    let value = |key: &str| query.iter().find(|(k, _)| k == key).map(|(_, v)| v.clone());
    let pieces: Vec<&str> = call.path().trim_start_matches("/v1/").split('/').collect();
    let fine = |value: Value| Some(Reply::json(200, &value));
    match (call.method.as_str(), pieces.as_slice()) {
        ("GET", ["account"]) => {
            let abilities = json!({"text_max": 4_000, "file_max": 1_000_000, "edit": true, "react": true, "open_dm": true, "per_minute": 20, "idempotent": state.keys});
            fine(json!({"me": {"id": "me", "name": "Lazaret", "bot": true}, "abilities": abilities}))
        }
        ("GET", ["events"]) => {
            let after = value("after").and_then(|after| after.strip_prefix("at ").and_then(|n| n.parse::<usize>().ok()));
            // It keeps what happens from the first question on, until a question names it or something newer.
            let all = state.events.len();
            let from = after.unwrap_or(0).max(state.forgot.unwrap_or(all)).min(all);
            state.forgot = Some(from);
            let events = &state.events[from..];
            if events.is_empty() { None } else { fine(json!({"events": events.iter().take(100).collect::<Vec<_>>()})) }
        }
        ("POST", ["messages"]) => {
            let key = call.header("idempotency-key")?.to_owned();
            if body["chat"] == "nobody" {
                return failed(422, "no_such_chat");
            }
            match (state.keys, state.known.get(&key), value("again")) {
                (true, Some(known), _) => return fine(json!({"id": format!("out{known}")})),
                (false, _, Some(_)) => return failed(409, "not_idempotent"),
                _ => {}
            }
            state.sent.push(body);
            state.known.insert(key, state.sent.len());
            fine(json!({"id": format!("out{}", state.sent.len())}))
        }
        ("PUT", ["messages", id]) => {
            let mut body = body;
            body["id"] = json!(id);
            state.acts.push(body);
            fine(json!({"id": id}))
        }
        ("POST", ["reactions"]) => {
            state.acts.push(body);
            fine(json!({}))
        }
        ("POST", ["typing"]) => fine(json!({})),
        ("POST", ["chats"]) if body["handle"] == "ann" => fine(json!({"id": "chat of ann", "name": "Ann", "group": false})),
        ("POST", ["files"]) if value("name").is_some() => {
            state.files.push(call.body.to_vec());
            fine(json!({"id": format!("file{}", state.files.len() - 1)}))
        }
        ("GET", ["files", id]) => match id.strip_prefix("file").and_then(|n| n.parse::<usize>().ok()).and_then(|n| state.files.get(n)) {
            Some(bytes) => Some(Reply::status(200).body(bytes.clone())),
            None => failed(404, "no_such_file"),
        },
        _ => failed(404, "no_such_route"),
    }
}

/// A bridge of one of the networks that have them.
pub struct Linked(pub &'static str, pub Bridge);

impl Party for Linked {
    fn network(&self) -> &'static str {
        self.0
    }

    fn config(&self) -> Value {
        json!({"base_url": self.1.web.url()})
    }

    fn credentials(&self) -> Vec<(&'static str, String)> {
        vec![("token", TOKEN.to_owned())]
    }

    fn writes(&self, text: &str) -> Option<Posted> {
        self.1.write("ann", text);
        None
    }

    fn sends(&self, text: &str) -> Option<SentFile> {
        let mut state = self.1.lock();
        state.files.push(b"attachment".to_vec());
        let (n, file) = (state.events.len(), state.files.len() - 1);
        drop(state);
        let file = json!([{"id": format!("file{file}"), "name": "a.txt", "mime": "text/plain", "size": 10}]);
        self.1.event(&json!({"kind": "message", "id": format!("in{n}"), "chat": {"id": "ann", "group": false}, "sender": {"id": "ann"},
            "text": text, "at_ms": 1, "files": file}));
        Some(SentFile { posted: None, bytes: b"attachment" })
    }

    fn standing(&self) -> Vec<Standing> {
        let state = self.1.lock();
        let stands = |(n, sent): (usize, &Value)| {
            let id = format!("out{}", n + 1);
            let now = state.acts.iter().rev().find(|act| act["id"] == id.as_str()).unwrap_or(sent);
            let held = |id: String| id.strip_prefix("file").and_then(|n| state.files.get(n.parse::<usize>().ok()?).cloned());
            let files = each(&sent["files"], "/id").into_iter().filter_map(held).collect();
            Standing { buttons: each(&now["buttons"], "/value"), files, ..Standing::text(id, &now["text"]) }
        };
        state.sent.iter().enumerate().map(stands).collect()
    }
}
