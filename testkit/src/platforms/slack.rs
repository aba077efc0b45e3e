//! Slack's Web API, Socket Mode and signed requests, after their public documentation.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::Message;

use super::party::{Party, SentFile, Standing, each, nothing};
use super::signed::{Posted, hmac_sha256_hex, now_s};
use super::{Call, Reply, Socket, Web};

/// The bot's token.
const TOKEN: &str = "xoxb-emulated";
/// The app's token.
const APP_TOKEN: &str = "xapp-emulated";

/// A message as a channel shows it.
#[derive(Debug, Clone)]
pub struct Shown {
    /// The channel.
    pub channel: String,
    /// Its id.
    pub ts: String,
    /// What was asked for.
    pub asked: Value,
    /// The name and the bytes of the file.
    pub file: Option<(String, Vec<u8>)>,
}

#[derive(Default)]
struct State {
    last: u64,
    /// Envelopes that were not acknowledged.
    open: Vec<Value>,
    acked: usize,
    shown: Vec<Shown>,
    uploads: BTreeMap<String, (String, Vec<u8>)>,
    files: BTreeMap<String, Vec<u8>>,
    reactions: Vec<Value>,
    /// Whether connections are asked to come anew.
    disconnect: bool,
    url: String,
}

/// The emulator.
pub struct Slack {
    /// The server, for its faults and calls.
    pub web: Web,
    state: Arc<Mutex<State>>,
    news: Arc<Notify>,
}

fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for Slack {
    fn default() -> Self {
        Self::start()
    }
}

impl Slack {
    /// The bot's credential.
    pub const TOKEN: &'static str = TOKEN;
    /// The app's credential.
    pub const APP_TOKEN: &'static str = APP_TOKEN;

    /// Starts it with the channel C1, the direct chat D1 with U1, and the bot UBOT.
    #[must_use]
    pub fn start() -> Self {
        let (state, news) = (Arc::<Mutex<State>>::default(), Arc::<Notify>::default());
        let (served, woken) = (Arc::clone(&state), Arc::clone(&news));
        let web = Web::start(move |call| answer(call, Arc::clone(&served), Arc::clone(&woken)));
        lock(&state).url = web.url();
        Self { web, state, news }
    }

    /// U1 writes: the message with these fields besides. Its id.
    pub fn says(&self, channel: &str, text: &str, fields: &Value) -> String {
        let ts = next(&mut lock(&self.state));
        let kind = if channel.starts_with('D') { "im" } else { "channel" };
        let mut event = json!({"type": "message", "channel": channel, "channel_type": kind, "user": "U1", "text": text, "ts": ts});
        for (key, value) in fields.as_object().into_iter().flatten() {
            event[key] = value.clone();
        }
        self.happens("events_api", json!({"type": "event_callback", "event_id": format!("Ev{ts}"), "event": event}));
        ts
    }

    /// Something happens: an envelope that is told until it is acknowledged.
    pub fn happens(&self, kind: &str, payload: Value) {
        let mut state = lock(&self.state);
        let id = format!("envelope-{}", next(&mut state));
        state.open.push(json!({"envelope_id": id, "type": kind, "payload": payload}));
        drop(state);
        self.news.notify_waiters();
    }

    /// Asks whoever is connected to connect anew.
    pub fn disconnect(&self) {
        lock(&self.state).disconnect = true;
        self.news.notify_waiters();
    }

    /// A file that a message may name.
    pub fn holds(&self, id: &str, bytes: &[u8]) {
        lock(&self.state).files.insert(id.to_owned(), bytes.to_vec());
    }

    /// What the channels show of the bot's.
    #[must_use]
    pub fn shown(&self) -> Vec<Shown> {
        lock(&self.state).shown.clone()
    }

    /// How many envelopes were acknowledged, and how many not.
    #[must_use]
    pub fn envelopes(&self) -> (usize, usize) {
        let state = lock(&self.state);
        (state.acked, state.open.len())
    }

    /// Waits until so many envelopes were acknowledged.
    ///
    /// # Panics
    /// They are not.
    pub fn wait_acked(&self, wanted: usize) {
        let begun = std::time::Instant::now();
        while self.envelopes().0 < wanted {
            assert!(begun.elapsed().as_secs() < 300, "{:?} of {wanted} envelopes were acknowledged", self.envelopes());
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    /// The reactions that were given.
    #[must_use]
    pub fn reactions(&self) -> Vec<Value> {
        lock(&self.state).reactions.clone()
    }
}

fn next(state: &mut State) -> String {
    state.last += 1;
    format!("17000000{:02}.{:06}", state.last / 100, state.last)
}

fn no(error: &str) -> Reply {
    Reply::json(200, &json!({"ok": false, "error": error}))
}

fn yes(mut fields: Value) -> Reply {
    fields["ok"] = json!(true);
    Reply::json(200, &fields)
}

async fn answer(call: Call, state: Arc<Mutex<State>>, news: Arc<Notify>) -> Reply {
    if call.header("upgrade").is_some() {
        return Reply::socket(move |socket| serve(socket, state, news));
    }
    let method = call.path().trim_start_matches('/').to_owned();
    let mut asked = call.json();
    if asked.is_null() {
        asked = call.form().into_iter().map(|(key, value)| (key, json!(value))).collect();
    }
    let mut state = lock(&state);
    if let Some(id) = method.strip_prefix("upload/") {
        let Some(upload) = state.uploads.get_mut(id) else { return Reply::status(404) };
        upload.1 = call.body.to_vec();
        return Reply::status(200);
    }
    let wanted = if method == "apps.connections.open" { APP_TOKEN } else { TOKEN };
    if call.bearer() != Some(wanted) {
        return if method.starts_with("files/") { Reply::status(302) } else { no("invalid_auth") };
    }
    if let Some(id) = method.strip_prefix("files/") {
        return state.files.get(id).cloned().map_or_else(|| Reply::status(404), |bytes| Reply::status(200).body(bytes));
    }
    let field = |name: &str| asked[name].as_str().unwrap_or_default().to_owned();
    let channel = if asked["channel"].is_string() { field("channel") } else { field("channel_id") };
    let needs_channel = [
        "chat.postMessage", "chat.update", "conversations.history", "conversations.replies", "reactions.add",
        "files.completeUploadExternal",
    ];
    if needs_channel.contains(&method.as_str()) && !["C1", "D1"].contains(&channel.as_str()) {
        return no("channel_not_found");
    }
    match method.as_str() {
        "auth.test" => yes(json!({"user_id": "UBOT", "bot_id": "BBOT", "user": "harbour"})),
        "apps.connections.open" => yes(json!({"url": state.url.replace("http://", "ws://") + "/link"})),
        "conversations.open" if field("users") == "U1" => yes(json!({"channel": {"id": "D1"}})),
        "conversations.open" => no("user_not_found"),
        "chat.postMessage" | "chat.update" => post(&method, &channel, &asked, &mut state),
        "conversations.history" | "conversations.replies" => {
            let thread = field("ts");
            let is_in = |s: &&Shown| s.channel == channel && (method.ends_with("history") || s.asked["thread_ts"] == thread.as_str());
            let with = asked["include_all_metadata"] == "true";
            let show = |s: &Shown| json!({"ts": s.ts, "text": s.asked["text"], "metadata": if with { s.asked["metadata"].clone() } else { Value::Null }});
            yes(json!({"messages": state.shown.iter().filter(is_in).rev().map(show).collect::<Vec<_>>()}))
        }
        "reactions.add" => {
            if state.reactions.contains(&asked) {
                return no("already_reacted");
            }
            state.reactions.push(asked);
            yes(json!({}))
        }
        "files.getUploadURLExternal" => {
            let id = format!("F{}", next(&mut state).replace('.', ""));
            state.uploads.insert(id.clone(), (field("filename"), Vec::new()));
            let url = format!("{}/upload/{id}", state.url);
            if field("length").parse::<u64>().unwrap_or(0) == 0 {
                no("invalid_arguments")
            } else {
                yes(json!({"file_id": id, "upload_url": url}))
            }
        }
        "files.completeUploadExternal" => {
            let id = asked["files"][0]["id"].as_str().unwrap_or_default().to_owned();
            let Some(file) = state.uploads.remove(&id).filter(|(_, bytes)| !bytes.is_empty()) else { return no("file_not_found") };
            let ts = next(&mut state);
            state.shown.push(Shown { channel, ts, asked, file: Some(file) });
            yes(json!({"files": [{"id": id}]}))
        }
        "files.info" => {
            let id = field("file");
            if !state.files.contains_key(&id) {
                return no("file_not_found");
            }
            let url = if id == "Fevil" { "https://evil.test/x".to_owned() } else { format!("{}/files/{id}", state.url) };
            yes(json!({"file": {"id": id, "url_private_download": url}}))
        }
        _ => no("unknown_method"),
    }
}

fn post(method: &str, channel: &str, asked: &Value, state: &mut State) -> Reply {
    let blocks = asked["blocks"].as_array().map(Vec::as_slice).unwrap_or_default();
    let section = blocks.first().and_then(|b| b["text"]["text"].as_str()).unwrap_or_default();
    if asked["text"].as_str().unwrap_or_default().is_empty() {
        return no("no_text");
    }
    if section.chars().count() > 3000 || section.is_empty() {
        return no("invalid_blocks");
    }
    if method == "chat.update" {
        let Some(shown) = state.shown.iter_mut().find(|s| s.channel == channel && asked["ts"] == s.ts.as_str()) else {
            return no("message_not_found");
        };
        shown.asked = asked.clone();
        return yes(json!({"ts": shown.ts}));
    }
    let ts = next(state);
    state.shown.push(Shown { channel: channel.to_owned(), ts: ts.clone(), asked: asked.clone(), file: None });
    yes(json!({"ts": ts, "channel": channel}))
}

/// One connection of Socket Mode: all that is not acknowledged, from the oldest on.
async fn serve(mut socket: Socket, state: Arc<Mutex<State>>, news: Arc<Notify>) {
    let _ = socket.send(Message::text(json!({"type": "hello", "num_connections": 1}).to_string())).await;
    let mut told: Vec<Value> = Vec::new();
    loop {
        let woken = news.notified();
        tokio::pin!(woken);
        woken.as_mut().enable();
        let (open, disconnect) = {
            let mut state = lock(&state);
            (state.open.clone(), std::mem::take(&mut state.disconnect))
        };
        if disconnect {
            let _ = socket.send(Message::text(json!({"type": "disconnect", "reason": "refresh_requested"}).to_string())).await;
            return;
        }
        for envelope in open {
            if !told.contains(&envelope["envelope_id"]) {
                told.push(envelope["envelope_id"].clone());
                let _ = socket.send(Message::text(envelope.to_string())).await;
            }
        }
        tokio::select! {
            () = &mut woken => {}
            said = socket.next() => {
                let Some(Ok(said)) = said else { return };
                let Message::Text(said) = said else { continue };
                let said: Value = serde_json::from_str(&said).unwrap_or_default();
                let mut state = lock(&state);
                let before = state.open.len();
                state.open.retain(|envelope| envelope["envelope_id"] != said["envelope_id"]);
                state.acked += before - state.open.len();
            }
        }
    }
}

impl Party for Slack {
    fn network(&self) -> &'static str {
        "slack"
    }

    fn config(&self) -> Value {
        json!({"base_url": self.web.url()})
    }

    fn credentials(&self) -> Vec<(&'static str, String)> {
        vec![("token", TOKEN.to_owned()), ("app_token", APP_TOKEN.to_owned())]
    }

    fn writes(&self, text: &str) -> Option<Posted> {
        self.says("D1", text, &nothing());
        None
    }

    fn sends(&self, text: &str) -> Option<SentFile> {
        self.holds("F1", b"attachment");
        let file = json!([{"id": "F1", "name": "a.txt", "mimetype": "text/plain", "size": 10}]);
        self.says("D1", text, &json!({"subtype": "file_share", "files": file}));
        Some(SentFile { posted: None, bytes: b"attachment" })
    }

    fn presses(&self, below: &Standing, value: &str) -> Option<Posted> {
        let action = json!([{"value": value, "action_ts": format!("{}.5", super::party::fresh())}]);
        let press = json!({"type": "block_actions", "user": {"id": "U1", "name": "ann"}, "channel": {"id": "D1"}, "message": {"ts": below.id},
            "actions": action});
        self.happens("interactive", press);
        None
    }

    fn standing(&self) -> Vec<Standing> {
        let stands = |shown: Shown| Standing {
            buttons: shown.asked["blocks"].as_array().into_iter().flatten().flat_map(|block| each(&block["elements"], "/value")).collect(),
            files: shown.file.into_iter().map(|(_, bytes)| bytes).collect(),
            ..Standing::text(shown.ts, &shown.asked["text"])
        };
        self.shown().into_iter().map(stands).collect()
    }
}

/// The same, which posts what happens, signed, and is connected to by nobody.
pub struct Evented(pub Slack);

impl Evented {
    /// What it signs with.
    const SECRET: &'static str = "signing-secret";

    /// What happened last, as a request: events as JSON, what is pressed as a form.
    fn posted(&self) -> Option<Posted> {
        let envelope = lock(&self.0.state).open.pop()?;
        let payload = envelope["payload"].to_string();
        let (kind, body) = if envelope["type"] == "interactive" {
            let escaped: String = payload.bytes().map(|byte| format!("%{byte:02X}")).collect();
            ("application/x-www-form-urlencoded", format!("payload={escaped}"))
        } else {
            ("application/json", payload)
        };
        let at = now_s();
        let tag = hmac_sha256_hex(Self::SECRET, format!("v0:{at}:{body}").as_bytes());
        let posted = Posted::new(body).with("content-type", kind).with("x-slack-request-timestamp", &at.to_string());
        Some(posted.with("x-slack-signature", &format!("v0={tag}")))
    }
}

impl Party for Evented {
    fn network(&self) -> &'static str {
        self.0.network()
    }

    fn config(&self) -> Value {
        json!({"base_url": self.0.web.url(), "mode": "webhook"})
    }

    fn credentials(&self) -> Vec<(&'static str, String)> {
        vec![("token", TOKEN.to_owned()), ("signing_secret", Self::SECRET.to_owned())]
    }

    fn writes(&self, text: &str) -> Option<Posted> {
        self.0.writes(text);
        self.posted()
    }

    fn sends(&self, text: &str) -> Option<SentFile> {
        let sent = self.0.sends(text)?;
        Some(SentFile { posted: self.posted(), ..sent })
    }

    fn presses(&self, below: &Standing, value: &str) -> Option<Posted> {
        self.0.presses(below, value);
        self.posted()
    }

    fn standing(&self) -> Vec<Standing> {
        self.0.standing()
    }
}
