//! Telegram's Bot API, after its public documentation: updates by long poll, methods, files.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Notify;

use super::party::{Party, SentFile, Standing, each, nothing};
use super::signed::Posted;
use super::{Call, Reply, Web};

/// The bot's token.
const TOKEN: &str = "123456:emulated-token_A";
/// The bot's id.
const BOT: i64 = 123_456;
/// Tags that a text in HTML may have.
const TAGS: &[&str] = &["b", "i", "s", "u", "code", "pre", "a", "blockquote"];

/// A message as the chat shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    /// The chat.
    pub chat: i64,
    /// Its number in the chat.
    pub id: i64,
    /// The text, as it came.
    pub text: String,
    /// What was asked for.
    pub asked: Value,
    /// The name and the bytes of the file, where it has one.
    pub file: Option<(String, Vec<u8>)>,
}

#[derive(Default)]
struct State {
    /// Chats that the bot is in.
    chats: BTreeMap<i64, Value>,
    updates: Vec<Value>,
    last_update: i64,
    last_message: i64,
    shown: Vec<Shown>,
    files: BTreeMap<String, Vec<u8>>,
    reactions: Vec<(i64, String)>,
    answered: Vec<String>,
    webhook: Option<Value>,
    typing: usize,
    /// Updates are given out newest first, and each twice.
    unruly: bool,
}

/// The emulator.
pub struct Telegram {
    /// The server, for its faults and calls.
    pub web: Web,
    state: Arc<Mutex<State>>,
    news: Arc<Notify>,
}

fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for Telegram {
    fn default() -> Self {
        Self::start()
    }
}

impl Telegram {
    /// The credential that it takes.
    pub const TOKEN: &'static str = TOKEN;

    /// Starts it, with a private chat 9 of Ann's and a group -5.
    #[must_use]
    pub fn start() -> Self {
        let (state, news) = (Arc::<Mutex<State>>::default(), Arc::<Notify>::default());
        {
            let mut state = lock(&state);
            state.chats.insert(9, json!({"id": 9, "type": "private", "first_name": "Ann"}));
            state.chats.insert(-5, json!({"id": -5, "type": "supergroup", "title": "Quay"}));
        }
        let (served, woken) = (Arc::clone(&state), Arc::clone(&news));
        let web = Web::start(move |call| answer(call, Arc::clone(&served), Arc::clone(&woken)));
        Self { web, state, news }
    }

    /// Somebody writes: the message with these fields besides. Its number in the chat.
    pub fn says(&self, chat: i64, text: &str, fields: &Value) -> i64 {
        let mut state = lock(&self.state);
        state.last_message += 1;
        let id = state.last_message;
        let mut message = json!({"message_id": id, "date": 1_700_000_000, "chat": state.chats[&chat], "text": text,
            "from": {"id": 9, "is_bot": false, "first_name": "Ann"}});
        for (key, value) in fields.as_object().into_iter().flatten() {
            message[key] = value.clone();
        }
        drop(state);
        self.happens("message", message);
        id
    }

    /// An update of some kind.
    pub fn happens(&self, kind: &str, body: Value) {
        let mut state = lock(&self.state);
        state.last_update += 1;
        let mut update = json!({"update_id": state.last_update});
        update[kind] = body;
        state.updates.push(update);
        drop(state);
        self.news.notify_waiters();
    }

    /// A file that a message may name.
    pub fn holds(&self, id: &str, bytes: &[u8]) {
        lock(&self.state).files.insert(id.to_owned(), bytes.to_vec());
    }

    /// From now on updates come twice and newest first.
    pub fn is_unruly(&self) {
        lock(&self.state).unruly = true;
    }

    /// What the chats show of the bot's.
    #[must_use]
    pub fn shown(&self) -> Vec<Shown> {
        lock(&self.state).shown.clone()
    }

    /// The reactions that the bot gave: message and emoji.
    #[must_use]
    pub fn reactions(&self) -> Vec<(i64, String)> {
        lock(&self.state).reactions.clone()
    }

    /// The presses of buttons that were answered.
    #[must_use]
    pub fn answered(&self) -> Vec<String> {
        lock(&self.state).answered.clone()
    }

    /// How often the bot was seen writing.
    #[must_use]
    pub fn typing(&self) -> usize {
        lock(&self.state).typing
    }

    /// The webhook that was set.
    #[must_use]
    pub fn webhook(&self) -> Option<Value> {
        lock(&self.state).webhook.clone()
    }

    /// Updates that were not confirmed.
    #[must_use]
    pub fn unconfirmed(&self) -> usize {
        lock(&self.state).updates.len()
    }
}

fn no(status: u16, description: &str) -> Reply {
    Reply::json(status, &json!({"ok": false, "error_code": status, "description": description}))
}

fn yes(result: &Value) -> Reply {
    Reply::json(200, &json!({"ok": true, "result": result}))
}

async fn answer(call: Call, state: Arc<Mutex<State>>, news: Arc<Notify>) -> Reply {
    if let Some(path) = call.path().strip_prefix("/file/bot") {
        let path = path.strip_prefix(TOKEN).and_then(|path| path.strip_prefix("/documents/"));
        let found = path.and_then(|id| lock(&state).files.get(id).cloned());
        return found.map_or_else(|| no(404, "Not Found"), |bytes| Reply::status(200).body(bytes));
    }
    let Some((token, method)) = call.path().strip_prefix("/bot").and_then(|path| path.split_once('/')) else {
        return no(404, "Not Found");
    };
    if token != TOKEN {
        return if token.contains(':') { no(401, "Unauthorized") } else { no(404, "Not Found") };
    }
    let mut body = call.json();
    let mut file = None;
    for (name, filename, bytes) in call.parts() {
        match filename {
            Some(filename) => file = Some((filename, bytes)),
            None => body[&name] = json!(String::from_utf8_lossy(&bytes)),
        }
    }
    match method {
        "getMe" => yes(&json!({"id": BOT, "is_bot": true, "first_name": "Harbour", "username": "harbour_bot"})),
        "getUpdates" => updates(&body, &state, &news).await,
        "setWebhook" => {
            lock(&state).webhook = Some(body);
            yes(&json!(true))
        }
        "deleteWebhook" => {
            lock(&state).webhook = None;
            yes(&json!(true))
        }
        "answerCallbackQuery" => {
            lock(&state).answered.push(body["callback_query_id"].as_str().unwrap_or_default().to_owned());
            yes(&json!(true))
        }
        "getFile" => {
            let id = body["file_id"].as_str().unwrap_or_default();
            if !lock(&state).files.contains_key(id) {
                return no(400, "Bad Request: invalid file_id");
            }
            yes(&json!({"file_id": id, "file_path": format!("documents/{id}")}))
        }
        _ => in_chat(method, &body, file, &mut lock(&state)),
    }
}

async fn updates(body: &Value, state: &Mutex<State>, news: &Notify) -> Reply {
    let wait = Duration::from_secs(body["timeout"].as_u64().unwrap_or(0));
    let ended = tokio::time::sleep(wait);
    tokio::pin!(ended);
    loop {
        let woken = news.notified();
        tokio::pin!(woken);
        // From here on nothing that happens is missed.
        woken.as_mut().enable();
        {
            let mut state = lock(state);
            if state.webhook.is_some() {
                return no(
                    409,
                    "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first",
                );
            }
            if let Some(offset) = body["offset"].as_i64() {
                state.updates.retain(|update| update["update_id"].as_i64() >= Some(offset));
            }
            if !state.updates.is_empty() {
                let mut given: Vec<Value> = state.updates.iter().take(100).cloned().collect();
                if state.unruly {
                    given.extend(given.clone());
                    given.reverse();
                }
                return yes(&json!(given));
            }
        }
        tokio::select! {
            () = &mut woken => (),
            () = &mut ended => return yes(&json!([])),
        }
    }
}

fn in_chat(method: &str, body: &Value, file: Option<(String, Vec<u8>)>, state: &mut State) -> Reply {
    let chat = body["chat_id"].as_i64().or_else(|| body["chat_id"].as_str().and_then(|id| id.parse().ok()));
    let Some((chat, about)) = chat.and_then(|chat| state.chats.get(&chat).map(|about| (chat, about.clone()))) else {
        return no(400, "Bad Request: chat not found");
    };
    let about_message = body["message_id"].as_i64();
    match method {
        "getChat" => yes(&about),
        "sendChatAction" => {
            state.typing += 1;
            yes(&json!(true))
        }
        "sendMessage" | "editMessageText" => {
            let text = body["text"].as_str().unwrap_or_default().to_owned();
            if let Some(refused) = bad_text(&text, body) {
                return refused;
            }
            if method == "editMessageText" {
                let Some(shown) = state.shown.iter_mut().find(|s| s.chat == chat && Some(s.id) == about_message) else {
                    return no(400, "Bad Request: message to edit not found");
                };
                if shown.text == text && shown.asked["reply_markup"] == body["reply_markup"] {
                    return no(400, "Bad Request: message is not modified");
                }
                (shown.text, shown.asked) = (text, body.clone());
                return yes(&json!({"message_id": shown.id, "chat": about, "date": 1}));
            }
            yes(&show(state, chat, &about, text, body, None))
        }
        "sendDocument" | "sendPhoto" => {
            let Some(file) = file.filter(|(_, bytes)| !bytes.is_empty()) else { return no(400, "Bad Request: file must be non-empty") };
            if method == "sendPhoto" && file.1.len() < 10 {
                return no(400, "Bad Request: PHOTO_INVALID_DIMENSIONS");
            }
            let caption = body["caption"].as_str().unwrap_or_default().to_owned();
            yes(&show(state, chat, &about, caption, body, Some(file)))
        }
        "setMessageReaction" => {
            let emoji = body["reaction"][0]["emoji"].as_str().unwrap_or_default().to_owned();
            if !emoji.is_empty() && emoji.is_ascii() {
                return no(400, "Bad Request: REACTION_INVALID");
            }
            state.reactions.push((about_message.unwrap_or(0), emoji));
            yes(&json!(true))
        }
        _ => no(404, "Not Found"),
    }
}

fn show(state: &mut State, chat: i64, about: &Value, text: String, asked: &Value, file: Option<(String, Vec<u8>)>) -> Value {
    state.last_message += 1;
    let id = state.last_message;
    state.shown.push(Shown { chat, id, text, asked: asked.clone(), file });
    json!({"message_id": id, "chat": about, "date": 1})
}

/// What is wrong with a text, as far as the documentation says it.
fn bad_text(text: &str, body: &Value) -> Option<Reply> {
    if text.is_empty() {
        return Some(no(400, "Bad Request: message text is empty"));
    }
    let buttons = body["reply_markup"]["inline_keyboard"].as_array().into_iter().flatten().filter_map(Value::as_array).flatten();
    if buttons.clone().any(|b| !(1..=64).contains(&b["callback_data"].as_str().unwrap_or_default().len())) {
        return Some(no(400, "Bad Request: BUTTON_DATA_INVALID"));
    }
    let mut visible = text.to_owned();
    if body["parse_mode"] == "HTML" {
        let mut open: Vec<&str> = Vec::new();
        for tag in text.split('<').skip(1) {
            let name = tag.split(['>', ' ']).next().unwrap_or_default();
            let matched = match name.strip_prefix('/') {
                Some(name) => open.pop() == Some(name),
                None => {
                    open.push(name);
                    TAGS.contains(&name)
                }
            };
            if !matched {
                return Some(no(400, "Bad Request: can't parse entities: Unsupported start tag"));
            }
        }
        visible = text.split('<').map(|piece| piece.split_once('>').map_or(piece, |(_, rest)| rest)).collect();
        for (entity, plain) in [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&amp;", "&")] {
            visible = visible.replace(entity, plain);
        }
    }
    (visible.encode_utf16().count() > 4096).then(|| no(400, "Bad Request: message is too long"))
}

impl Party for Telegram {
    fn network(&self) -> &'static str {
        "telegram"
    }

    fn config(&self) -> Value {
        json!({"base_url": self.web.url(), "poll_s": 5})
    }

    fn credentials(&self) -> Vec<(&'static str, String)> {
        vec![("token", TOKEN.to_owned())]
    }

    fn writes(&self, text: &str) -> Option<Posted> {
        self.says(9, text, &nothing());
        None
    }

    fn sends(&self, text: &str) -> Option<SentFile> {
        self.holds("doc", b"attachment");
        let document = json!({"file_id": "doc", "file_name": "a.txt", "mime_type": "text/plain", "file_size": 10});
        self.says(9, "", &json!({"text": null, "caption": text, "document": document}));
        Some(SentFile { posted: None, bytes: b"attachment" })
    }

    fn presses(&self, below: &Standing, value: &str) -> Option<Posted> {
        let chat = lock(&self.state).chats[&9].clone();
        let message = json!({"message_id": below.id.parse::<i64>().unwrap_or(0), "chat": chat});
        let from = json!({"id": 9, "is_bot": false, "first_name": "Ann"});
        self.happens("callback_query", json!({"id": format!("press {}", below.id), "from": from, "data": value, "message": message}));
        None
    }

    fn standing(&self) -> Vec<Standing> {
        let stands = |shown: Shown| Standing {
            id: shown.id.to_string(),
            text: shown.text,
            buttons: shown.asked["reply_markup"]["inline_keyboard"]
                .as_array()
                .into_iter()
                .flatten()
                .flat_map(|row| each(row, "/callback_data"))
                .collect(),
            files: shown.file.into_iter().map(|(_, bytes)| bytes).collect(),
        };
        self.shown().into_iter().map(stands).collect()
    }

    fn was_seen_writing(&self) -> bool {
        self.typing() > 0
    }
}

/// The same, which posts what happens and is asked by nobody.
pub struct Hooked(pub Telegram);

impl Hooked {
    /// The secret that it sends along.
    const SECRET: &'static str = "hook-secret";

    /// What happened last, as a request.
    fn posted(&self) -> Option<Posted> {
        let update = lock(&self.0.state).updates.pop()?;
        Some(Posted::new(update.to_string()).with("content-type", "application/json").with("x-telegram-bot-api-secret-token", Self::SECRET))
    }
}

impl Party for Hooked {
    fn network(&self) -> &'static str {
        self.0.network()
    }

    fn config(&self) -> Value {
        json!({"base_url": self.0.web.url(), "mode": "webhook", "webhook_url": "https://hooks.example.org/hooks/account"})
    }

    fn credentials(&self) -> Vec<(&'static str, String)> {
        vec![("token", TOKEN.to_owned()), ("webhook_secret", Self::SECRET.to_owned())]
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

    fn was_seen_writing(&self) -> bool {
        self.0.was_seen_writing()
    }
}
