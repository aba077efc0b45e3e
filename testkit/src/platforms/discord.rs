//! Discord's gateway and REST interface, version 10, after their public documentation.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use super::party::{Party, SentFile, Standing, each, nothing};
use super::signed::Posted;
use super::{Call, Reply, Socket, Web};

/// The bot's token.
const TOKEN: &str = "emulated.discord-token";
/// The bot's id.
const BOT: &str = "1000";

/// A message as a channel shows it.
#[derive(Debug, Clone)]
pub struct Shown {
    /// The channel.
    pub channel: String,
    /// Its id.
    pub id: String,
    /// What was asked for.
    pub asked: Value,
    /// Names and bytes of the files.
    pub files: Vec<(String, Vec<u8>)>,
}

#[derive(Default)]
struct State {
    channels: BTreeMap<String, Value>,
    last: u64,
    session: u64,
    events: Vec<Value>,
    history: Vec<Value>,
    shown: Vec<Shown>,
    reactions: Vec<String>,
    pressed: Vec<String>,
    typing: usize,
    beats: usize,
    identified: usize,
    resumed: usize,
    heartbeat_ms: u64,
    files: BTreeMap<String, Vec<u8>>,
    /// What every connection is to do next.
    order: Option<Order>,
    deaf: bool,
}

/// What the gateway does to its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// It asks to connect anew.
    Reconnect,
    /// It closes with a code.
    Close(u16),
    /// The session is gone, and with it what was not said yet.
    Invalid,
}

/// The emulator.
pub struct Discord {
    /// The server, for its faults and calls.
    pub web: Web,
    state: Arc<Mutex<State>>,
    news: Arc<Notify>,
}

fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for Discord {
    fn default() -> Self {
        Self::start()
    }
}

impl Discord {
    /// The credential that it takes.
    pub const TOKEN: &'static str = TOKEN;

    /// Starts it with a direct chat 500 with Ann (9), a channel 600 of server 700, and a thread 601 in it.
    #[must_use]
    pub fn start() -> Self {
        let (state, news) = (Arc::<Mutex<State>>::default(), Arc::<Notify>::default());
        {
            let mut state = lock(&state);
            (state.heartbeat_ms, state.last) = (30_000, 100_000);
            state.channels.insert("500".to_owned(), json!({"id": "500", "type": 1, "recipients": [{"id": "9", "username": "ann"}]}));
            state.channels.insert("600".to_owned(), json!({"id": "600", "type": 0, "guild_id": "700", "name": "quay"}));
            state
                .channels
                .insert("601".to_owned(), json!({"id": "601", "type": 11, "guild_id": "700", "name": "crane", "parent_id": "600"}));
        }
        let (served, woken) = (Arc::clone(&state), Arc::clone(&news));
        let web = Web::start(move |call| answer(call, Arc::clone(&served), Arc::clone(&woken)));
        Self { web, state, news }
    }

    /// The address of the gateway.
    #[must_use]
    pub fn gateway(&self) -> String {
        self.web.url().replace("http://", "ws://")
    }

    /// Ann writes: the message with these fields besides. Its id.
    pub fn says(&self, channel: &str, text: &str, fields: &Value) -> String {
        let mut state = lock(&self.state);
        state.last += 1;
        let id = state.last.to_string();
        let mut message = json!({"id": id, "channel_id": channel, "type": 0, "content": text, "timestamp": "2026-03-01T10:00:00Z",
            "author": {"id": "9", "username": "ann", "global_name": "Ann"}, "mentions": [], "attachments": []});
        for (key, value) in fields.as_object().into_iter().flatten() {
            message[key] = value.clone();
        }
        state.history.push(message.clone());
        if let Some(guild) = state.channels[channel]["guild_id"].as_str() {
            message["guild_id"] = json!(guild);
        }
        drop(state);
        self.happens("MESSAGE_CREATE", message);
        id
    }

    /// Something else happens.
    pub fn happens(&self, kind: &str, body: Value) {
        let mut state = lock(&self.state);
        let seq = state.events.len() + 1;
        state.events.push(json!({"op": 0, "t": kind, "s": seq, "d": body}));
        drop(state);
        self.news.notify_waiters();
    }

    /// A file of a message, as its address names it.
    pub fn holds(&self, name: &str, bytes: &[u8]) {
        lock(&self.state).files.insert(name.to_owned(), bytes.to_vec());
    }

    /// Does something to whoever is connected.
    pub fn order(&self, order: Order) {
        let mut state = lock(&self.state);
        if order == Order::Invalid {
            state.session += 1;
            state.events.clear();
        }
        state.order = Some(order);
        drop(state);
        self.news.notify_waiters();
    }

    /// Sets how often heartbeats are wanted, and whether they are answered.
    pub fn heartbeats(&self, every_ms: u64, answered: bool) {
        let mut state = lock(&self.state);
        (state.heartbeat_ms, state.deaf) = (every_ms, !answered);
    }

    /// Heartbeats, identifications and resumptions so far.
    #[must_use]
    pub fn counts(&self) -> (usize, usize, usize) {
        let state = lock(&self.state);
        (state.beats, state.identified, state.resumed)
    }

    /// What the channels show of the bot's.
    #[must_use]
    pub fn shown(&self) -> Vec<Shown> {
        lock(&self.state).shown.clone()
    }

    /// Reactions as their addresses, presses that were answered, how often it was seen writing.
    #[must_use]
    pub fn done(&self) -> (Vec<String>, Vec<String>, usize) {
        let state = lock(&self.state);
        (state.reactions.clone(), state.pressed.clone(), state.typing)
    }
}

fn no(status: u16, code: u32, message: &str) -> Reply {
    Reply::json(status, &json!({"code": code, "message": message}))
}

async fn answer(call: Call, state: Arc<Mutex<State>>, news: Arc<Notify>) -> Reply {
    if call.header("upgrade").is_some() {
        return Reply::socket(move |socket| serve(socket, state, news));
    }
    let path = call.path().to_owned();
    if let Some(name) = path.strip_prefix("/files/") {
        assert!(call.header("authorization").is_none(), "the token went where files are");
        return lock(&state).files.get(name).cloned().map_or_else(|| Reply::status(404), |bytes| Reply::status(200).body(bytes));
    }
    if call.header("authorization") != Some(&format!("Bot {TOKEN}")) && !path.starts_with("/interactions/") {
        return no(401, 0, "401: Unauthorized");
    }
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let mut state = lock(&state);
    let channel = parts.get(1).copied().unwrap_or_default().to_owned();
    match (call.method.as_str(), parts.as_slice()) {
        ("GET", ["users", "@me"]) => Reply::json(200, &json!({"id": BOT, "username": "harbour", "bot": true})),
        ("POST", ["users", "@me", "channels"]) => match call.json()["recipient_id"].as_str() {
            Some("9") => Reply::json(200, &state.channels["500"]),
            _ => no(400, 50033, "Invalid Recipient(s)"),
        },
        ("POST", ["interactions", id, _, "callback"]) => {
            state.pressed.push((*id).to_owned());
            Reply::status(204)
        }
        (_, ["channels", ..]) if !state.channels.contains_key(&channel) => no(404, 10003, "Unknown Channel"),
        ("GET", ["channels", _]) => Reply::json(200, &state.channels[&channel]),
        ("POST", ["channels", _, "typing"]) => {
            state.typing += 1;
            Reply::status(204)
        }
        ("GET", ["channels", _, "messages"]) => {
            let after = call.query().into_iter().find(|(key, _)| key == "after").and_then(|(_, v)| v.parse::<u64>().ok()).unwrap_or(0);
            let later =
                |m: &&Value| m["channel_id"] == channel.as_str() && m["id"].as_str().and_then(|id| id.parse::<u64>().ok()) > Some(after);
            let mut found: Vec<Value> = state.history.iter().filter(later).take(100).cloned().collect();
            found.reverse();
            Reply::json(200, &json!(found))
        }
        ("GET", ["channels", _, "messages", id]) => {
            let found = state.history.iter().find(|m| m["id"] == *id && m["channel_id"] == channel.as_str());
            found.map_or_else(|| no(404, 10008, "Unknown Message"), |message| Reply::json(200, message))
        }
        ("POST", ["channels", _, "messages"]) => create(&call, &channel, &mut state),
        ("PATCH", ["channels", _, "messages", id]) => {
            let Some(shown) = state.shown.iter_mut().find(|s| s.id == *id) else { return no(404, 10008, "Unknown Message") };
            shown.asked = call.json();
            Reply::json(200, &json!({"id": id}))
        }
        ("PUT", ["channels", _, "messages", _, "reactions", emoji, "@me"]) => {
            if emoji.bytes().all(|b| b.is_ascii_alphanumeric()) {
                return no(400, 10014, "Unknown Emoji");
            }
            state.reactions.push(path.clone());
            Reply::status(204)
        }
        _ => no(404, 0, "404: Not Found"),
    }
}

fn create(call: &Call, channel: &str, state: &mut State) -> Reply {
    let mut asked = call.json();
    let mut files = Vec::new();
    for (name, filename, bytes) in call.parts() {
        match filename {
            Some(filename) => files.push((filename, bytes)),
            None if name == "payload_json" => asked = serde_json::from_slice(&bytes).unwrap_or_default(),
            None => {}
        }
    }
    let content = asked["content"].as_str().unwrap_or_default();
    if content.is_empty() && files.is_empty() {
        return no(400, 50006, "Cannot send an empty message");
    }
    let nonce = asked["nonce"].as_str().unwrap_or_default();
    if content.chars().count() > 2000 || nonce.len() > 25 || files.len() > 10 {
        return no(400, 50035, "Invalid Form Body");
    }
    if asked["enforce_nonce"] == true
        && let Some(known) = state.shown.iter().find(|s| s.channel == channel && s.asked["nonce"] == nonce)
    {
        return Reply::json(200, &json!({"id": known.id}));
    }
    state.last += 1;
    let id = state.last.to_string();
    state.history.push(
        json!({"id": id, "channel_id": channel, "type": 0, "content": content, "author": {"id": BOT, "username": "harbour", "bot": true}}),
    );
    state.shown.push(Shown { channel: channel.to_owned(), id: id.clone(), asked, files });
    Reply::json(200, &json!({"id": id}))
}

/// One connection to the gateway.
async fn serve(mut socket: Socket, state: Arc<Mutex<State>>, news: Arc<Notify>) {
    let hello = json!({"op": 10, "d": {"heartbeat_interval": lock(&state).heartbeat_ms}});
    let _ = socket.send(Message::text(hello.to_string())).await;
    // The number of the event that this connection was told last; none before it said who it is.
    let mut told: Option<usize> = None;
    loop {
        let woken = news.notified();
        tokio::pin!(woken);
        woken.as_mut().enable();
        if let Some(from) = told {
            let (events, order) = {
                let mut state = lock(&state);
                let order = state.order.take();
                (state.events.get(from..).map(<[Value]>::to_vec).unwrap_or_default(), order)
            };
            if let Some(order) = order {
                let line = match order {
                    Order::Reconnect => Message::text(json!({"op": 7, "d": null}).to_string()),
                    Order::Invalid => Message::text(json!({"op": 9, "d": false}).to_string()),
                    Order::Close(code) => Message::Close(Some(CloseFrame { code: code.into(), reason: "".into() })),
                };
                let _ = socket.send(line).await;
                return;
            }
            told = Some(from + events.len());
            for event in events {
                let _ = socket.send(Message::text(event.to_string())).await;
            }
        }
        tokio::select! {
            () = &mut woken => {}
            said = socket.next() => {
                let Some(Ok(said)) = said else { return };
                let Message::Text(said) = said else { continue };
                let answers = hear(&serde_json::from_str(&said).unwrap_or_default(), &mut told, &state);
                for answer in answers {
                    if socket.send(answer).await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}

fn hear(said: &Value, told: &mut Option<usize>, state: &Mutex<State>) -> Vec<Message> {
    let close = |code: u16| vec![Message::Close(Some(CloseFrame { code: code.into(), reason: "".into() }))];
    let text = |value: Value| Message::text(value.to_string());
    let mut state = lock(state);
    match said["op"].as_u64() {
        Some(1) => {
            state.beats += 1;
            if state.deaf { Vec::new() } else { vec![text(json!({"op": 11}))] }
        }
        Some(2) if said["d"]["token"] != TOKEN => close(4004),
        Some(2) => {
            if said["d"]["intents"].as_u64().unwrap_or(0) & (1 << 15) == 0 {
                return close(4014);
            }
            state.identified += 1;
            let session = format!("session-{}", state.session);
            let seq = state.events.len() + 1;
            let ready = json!({"op": 0, "t": "READY", "s": seq, "d": {"session_id": session, "resume_gateway_url": "", "user": {"id": BOT, "username": "harbour"}}});
            // What happened before is no longer told.
            state.events.push(ready);
            *told = Some(seq - 1);
            Vec::new()
        }
        Some(6) if said["d"]["token"] != TOKEN => close(4004),
        Some(6) => {
            let seq = usize::try_from(said["d"]["seq"].as_u64().unwrap_or(0)).unwrap_or(0);
            if said["d"]["session_id"] != format!("session-{}", state.session) || seq > state.events.len() {
                return vec![text(json!({"op": 9, "d": false}))];
            }
            state.resumed += 1;
            let last = state.events.len() + 1;
            state.events.push(json!({"op": 0, "t": "RESUMED", "s": last, "d": {}}));
            *told = Some(seq);
            Vec::new()
        }
        _ => close(4001),
    }
}

impl Party for Discord {
    fn network(&self) -> &'static str {
        "discord"
    }

    fn config(&self) -> Value {
        json!({"base_url": self.web.url(), "gateway_url": self.gateway()})
    }

    fn credentials(&self) -> Vec<(&'static str, String)> {
        vec![("token", TOKEN.to_owned())]
    }

    fn writes(&self, text: &str) -> Option<Posted> {
        self.says("500", text, &nothing());
        None
    }

    fn sends(&self, text: &str) -> Option<SentFile> {
        self.holds("doc", b"attachment");
        let url = format!("{}/files/doc", self.web.url());
        let file = json!([{"id": "31", "filename": "a.txt", "content_type": "text/plain", "size": 10, "url": url}]);
        self.says("500", text, &json!({"attachments": file}));
        Some(SentFile { posted: None, bytes: b"attachment" })
    }

    fn presses(&self, below: &Standing, value: &str) -> Option<Posted> {
        let press = json!({"id": format!("9{}", below.id), "token": "tok", "type": 3, "channel_id": "500",
            "user": {"id": "9", "username": "ann"}, "message": {"id": below.id}, "data": {"custom_id": value}});
        self.happens("INTERACTION_CREATE", press);
        None
    }

    fn standing(&self) -> Vec<Standing> {
        let stands = |shown: Shown| Standing {
            buttons: shown.asked["components"]
                .as_array()
                .into_iter()
                .flatten()
                .flat_map(|row| each(&row["components"], "/custom_id"))
                .collect(),
            files: shown.files.into_iter().map(|(_, bytes)| bytes).collect(),
            ..Standing::text(shown.id, &shown.asked["content"])
        };
        self.shown().into_iter().map(stands).collect()
    }

    fn was_seen_writing(&self) -> bool {
        self.done().2 > 0
    }
}
