//! Telegram, by the Bot API: long polls or webhooks in, methods out.
//!
//! An update is confirmed to Telegram by asking for the ones after it, so that is done only when the host has it for good. There
//! is no idempotency key and no way to read a chat: what may have been sent is sent again with a mark.

mod update;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Value, json};
use wire::chat::{Abilities, About, Act, Address, Button, Chat, Delivery, Failing, Who};
use zeroize::Zeroizing;

use crate::backoff::{Backoff, Trouble};
use crate::calls::{marked, trouble};
use crate::http::{Ask, Base, Multipart, encode, refused, seconds};
use crate::link::Gone;
use crate::network::{Account, Answer, DeliverError, File, Hook, Network, OpenError, Setup, needs};
use crate::note::Steps;
use crate::sink::Sink;
use crate::surroundings::CredentialError;
use crate::text::{html_for_telegram, plain, split, utf16};

/// Characters of a message, in units of UTF-16.
const TEXT_MAX: usize = 4096;
/// The largest file that a bot may send, in bytes.
const FILE_BYTES_MAX: u64 = 50 << 20;
/// The largest picture that is sent as one; a larger one is sent as a file.
const PHOTO_BYTES_MAX: usize = 10 << 20;
/// Buttons of one message.
const BUTTONS_MAX: usize = 100;
/// The longest poll, in seconds.
const POLL_S_MAX: u64 = 50;
/// Messages per minute of a group, as Telegram documents.
const PER_MINUTE: u32 = 20;
/// What is asked for.
const UPDATES: &[&str] = &["message", "edited_message", "callback_query", "message_reaction", "my_chat_member"];

/// The network.
pub(crate) struct Telegram;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    base_url: String,
    mode: Mode,
    /// The address that Telegram is told to send updates to, in mode `webhook`. Without it somebody else tells Telegram.
    webhook_url: Option<String>,
    poll_s: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    Poll,
    Webhook,
}

impl Default for Config {
    fn default() -> Self {
        Self { base_url: "https://api.telegram.org".to_owned(), mode: Mode::Poll, webhook_url: None, poll_s: POLL_S_MAX }
    }
}

impl Network for Telegram {
    fn about(&self) -> About {
        About {
            webhooks: true,
            ..needs(
                "telegram",
                "Telegram, as a bot",
                &["api.telegram.org"],
                &[
                    ("token", "the token of the bot, from @BotFather", true),
                    ("webhook_secret", "a secret of 1 to 256 letters and digits that Telegram sends along, for mode = \"webhook\"", false),
                ],
            )
        }
    }

    fn open(&self, setup: Setup) -> Result<Arc<dyn Account>, OpenError> {
        let config: Config = setup.config()?;
        let base = Base::named("base_url", &config.base_url)?;
        let token = setup.credentials.line("token")?;
        // It stands in the path of every request.
        if !token.bytes().all(|b| b.is_ascii_alphanumeric() || b":_-".contains(&b)) {
            return Err(CredentialError::Bad("token".to_owned(), "it is not a token of a bot").into());
        }
        let secret = setup.credentials.optional("webhook_secret")?;
        if config.mode == Mode::Webhook && secret.is_none() {
            return Err(CredentialError::Missing("webhook_secret".to_owned()).into());
        }
        Ok(Arc::new(Bot { base, token, secret, config, setup, me: Mutex::new(None) }))
    }
}

struct Bot {
    base: Base,
    token: Zeroizing<String>,
    secret: Option<Zeroizing<String>>,
    config: Config,
    setup: Setup,
    /// The bot itself, once Telegram said who it is. Never held across an await.
    me: Mutex<Option<update::Me>>,
}

impl Account for Bot {
    fn listen(self: Arc<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let mut backoff = Backoff::default();
            let mut offset = self.setup.cursor.as_deref().and_then(|cursor| cursor.parse::<i64>().ok());
            loop {
                let outcome = tokio::select! {
                    biased;
                    () = self.setup.cancel.cancelled() => return,
                    outcome = self.connected(&mut offset, &mut backoff) => outcome,
                };
                let Err(trouble) = outcome else { return };
                if !backoff.pause(&trouble, &self.setup.link, &self.setup.cancel).await {
                    return;
                }
            }
        })
    }

    fn deliver<'a>(&'a self, delivery: &'a Delivery, files: &'a [File], steps: &'a Steps) -> BoxFuture<'a, Result<(), DeliverError>> {
        Box::pin(async move {
            match &delivery.act {
                Act::Send { text, reply_to, buttons, .. } => {
                    self.send(&delivery.to, text, files, reply_to.as_deref(), buttons, steps).await
                }
                Act::Edit { message, text, buttons } => self.edit(&delivery.to, message, text, buttons, steps).await,
                Act::React { message, emoji } => {
                    let reaction = if emoji.is_empty() { json!([]) } else { json!([{"type": "emoji", "emoji": emoji}]) };
                    let body = json!({"chat_id": delivery.to.chat, "message_id": number(message)?, "reaction": reaction});
                    steps.once("react", |_| async { self.call("setMessageReaction", &body).await.map(|_| String::new()) }).await.map(drop)
                }
            }
        })
    }

    fn webhook(&self, request: Hook) -> BoxFuture<'_, Answer> {
        Box::pin(async move {
            let (Mode::Webhook, "POST", Some(secret)) = (self.config.mode, request.method.as_str(), &self.secret) else {
                return Answer::status(404);
            };
            let given = request.header("x-telegram-bot-api-secret-token");
            if !given.is_some_and(|given| crate::sign::is_same(given, secret)) {
                return Answer::status(401);
            }
            let Ok(body) = serde_json::from_slice::<Value>(&request.body) else { return Answer::status(400) };
            // Without knowing itself the bot cannot tell what is meant for it; Telegram comes again.
            let Some(me) = self.me() else { return Answer::status(503) };
            match self.take(&body, &me, true).await {
                Ok(_) => Answer::status(200),
                Err(Gone) => Answer::status(503),
            }
        })
    }

    fn fetch<'a>(&'a self, file: &'a str, sink: &'a mut Sink) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            let found = self.call("getFile", &json!({"file_id": file})).await.map_err(|e| e.to_string())?;
            let path = found["file_path"].as_str().ok_or("Telegram names no place for the file")?;
            let path: Vec<String> = path.split('/').map(encode).collect();
            let url = self.base.at(&format!("/file/bot{}/{}", self.token.as_str(), path.join("/"))).map_err(|e| e.to_string())?;
            self.setup.http.send(Ask::get(url)).await.map_err(|e| e.to_string())?.into_sink(sink).await
        })
    }

    fn open_dm<'a>(&'a self, handle: &'a str) -> BoxFuture<'a, Result<Chat, String>> {
        Box::pin(async move {
            // The chat with somebody has their id; it is there once they wrote to the bot.
            let found = self.call("getChat", &json!({"chat_id": handle})).await.map_err(|e| e.to_string())?;
            update::chat(&found).filter(|chat| !chat.group).ok_or_else(|| "this is nobody that can be written to".to_owned())
        })
    }

    fn typing<'a>(&'a self, to: &'a Address, on: bool) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            // It ends by itself after some seconds.
            if on {
                let mut body = json!({"chat_id": to.chat, "action": "typing"});
                in_thread(&mut body, to);
                let _ = self.call("sendChatAction", &body).await;
            }
        })
    }
}

impl Bot {
    fn me(&self) -> Option<update::Me> {
        self.me.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says who it is and listens. Returns without trouble when there is nothing more to do.
    async fn connected(&self, offset: &mut Option<i64>, backoff: &mut Backoff) -> Result<(), Trouble> {
        let found = self.call("getMe", &json!({})).await.map_err(|error| match error.why {
            // A token of the wrong form names no place at all.
            Failing::Final => Trouble::Credential(error.message),
            _ => trouble(error),
        })?;
        let me = update::me(&found).ok_or_else(|| Trouble::passing("Telegram does not say who the bot is"))?;
        *self.me.lock().unwrap_or_else(PoisonError::into_inner) = Some(me.clone());
        match self.config.mode {
            Mode::Poll => drop(self.call("deleteWebhook", &json!({})).await.map_err(trouble)?),
            Mode::Webhook => self.set_webhook().await.map_err(trouble)?,
        }
        let who = Who { id: me.id.clone(), name: me.username.clone(), bot: true };
        self.setup.link.ready(who, abilities()).await;
        if self.config.mode == Mode::Webhook {
            return Ok(());
        }
        loop {
            let poll_s = self.config.poll_s.min(POLL_S_MAX);
            let mut body = json!({"timeout": poll_s, "allowed_updates": UPDATES});
            if let Some(offset) = *offset {
                body["offset"] = json!(offset);
            }
            let found =
                self.call_within("getUpdates", &body, Duration::from_secs(poll_s + 20)).await.map_err(|refused| trouble(refused.error))?;
            backoff.well();
            self.setup.link.ready(Who { id: me.id.clone(), name: me.username.clone(), bot: true }, abilities()).await;
            let mut last = None;
            for body in found.as_array().map(Vec::as_slice).unwrap_or_default() {
                match self.take(body, &me, false).await {
                    Ok(seq) => last = seq.or(last),
                    Err(Gone) => return Ok(()),
                }
                if let Some(id) = body["update_id"].as_i64() {
                    *offset = (*offset).max(Some(id.saturating_add(1)));
                }
            }
            // Asking for what comes after them tells Telegram to forget these.
            if let Some(last) = last
                && self.setup.link.acked(last).await.is_err()
            {
                return Ok(());
            }
        }
    }

    async fn set_webhook(&self) -> Result<(), DeliverError> {
        let (Some(url), Some(secret)) = (&self.config.webhook_url, &self.secret) else { return Ok(()) };
        self.call("setWebhook", &json!({"url": url, "secret_token": secret.as_str(), "allowed_updates": UPDATES})).await.map(drop)
    }

    /// Reports an update. With `wait` it returns when the host has it for good.
    async fn take(&self, body: &Value, me: &update::Me, wait: bool) -> Result<Option<u64>, Gone> {
        let Some(heard) = update::heard(body, me) else { return Ok(None) };
        let cursor = body["update_id"].as_i64().map(|id| id.saturating_add(1).to_string());
        let seq = self.setup.link.report(heard, cursor).await?;
        if wait {
            self.setup.link.acked(seq).await?;
        }
        // The button stops to turn; that nobody hears of it changes nothing.
        if let Some(id) = body["callback_query"]["id"].as_str() {
            let _ = self.call("answerCallbackQuery", &json!({"callback_query_id": id})).await;
        }
        Ok(Some(seq))
    }

    async fn send(
        &self,
        to: &Address,
        text: &str,
        files: &[File],
        reply_to: Option<&str>,
        buttons: &[Button],
        steps: &Steps,
    ) -> Result<(), DeliverError> {
        let pieces = if text.trim().is_empty() { Vec::new() } else { split(text, TEXT_MAX - 32, utf16) };
        if pieces.is_empty() && files.is_empty() {
            return Err(DeliverError::never("there is nothing to send"));
        }
        let keyboard = keyboard(buttons)?;
        let reply = reply_to.map(number).transpose()?;
        for (n, piece) in pieces.iter().enumerate() {
            let mut body = json!({"chat_id": to.chat, "link_preview_options": {"is_disabled": true}});
            in_thread(&mut body, to);
            if let (0, Some(message)) = (n, reply) {
                body["reply_parameters"] = json!({"message_id": message, "allow_sending_without_reply": true});
            }
            if n + 1 == pieces.len() && !buttons.is_empty() {
                body["reply_markup"] = keyboard.clone();
            }
            steps.once(&format!("text {n}"), |attempt| self.text("sendMessage", body, marked(piece, attempt.doubtful))).await?;
        }
        for (n, file) in files.iter().enumerate() {
            steps.once(&format!("file {n}"), |attempt| self.file(to, file, attempt.doubtful)).await?;
        }
        Ok(())
    }

    async fn edit(&self, to: &Address, message: &str, text: &str, buttons: &[Button], steps: &Steps) -> Result<(), DeliverError> {
        if text.chars().map(utf16).sum::<usize>() > TEXT_MAX {
            return Err(DeliverError::never("the text is longer than a message of Telegram's"));
        }
        let body = json!({
            "chat_id": to.chat, "message_id": number(message)?, "link_preview_options": {"is_disabled": true}, "reply_markup": keyboard(buttons)?,
        });
        let edited = |_| async {
            match self.text("editMessageText", body, text.to_owned()).await {
                Err(error) if error.message.contains("message is not modified") => Ok(message.to_owned()),
                other => other,
            }
        };
        steps.once("edit", edited).await.map(drop)
    }

    /// A method that makes a message of text.
    async fn text(&self, method: &str, mut body: Value, text: String) -> Result<String, DeliverError> {
        body["text"] = json!(html_for_telegram(&text));
        body["parse_mode"] = json!("HTML");
        let mut found = self.call(method, &body).await;
        // Better without marks than not at all.
        if found.as_ref().is_err_and(|e| e.why == Failing::Final && e.message.contains("can't parse entities")) {
            body["text"] = json!(plain(&text));
            body["parse_mode"] = json!("");
            found = self.call(method, &body).await;
        }
        message_id(&found?)
    }

    async fn file(&self, to: &Address, file: &File, doubtful: bool) -> Result<String, DeliverError> {
        if file.bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(DeliverError::never("the file is larger than a bot may send"));
        }
        let photo = matches!(file.mime(), "image/jpeg" | "image/png") && file.bytes.len() <= PHOTO_BYTES_MAX;
        let caption = marked("", doubtful);
        let form = |name: &str| {
            let mut form = Multipart::new().field("chat_id", &to.chat);
            if let Some(thread) = &to.thread {
                form = form.field("message_thread_id", thread);
            }
            if !caption.is_empty() {
                form = form.field("caption", caption.trim());
            }
            form.file(name, file)
        };
        let patience = Duration::from_secs(120);
        if photo {
            match self.ask("sendPhoto", |ask| ask.multipart(form("photo")).patience(patience)).await {
                // A picture of strange proportions is one that is sent as a file.
                Err(error) if error.why == Failing::Final && error.message.contains("PHOTO_") => {}
                other => return message_id(&other?),
            }
        }
        message_id(&self.ask("sendDocument", |ask| ask.multipart(form("document")).patience(patience)).await?)
    }

    async fn call(&self, method: &str, body: &Value) -> Result<Value, DeliverError> {
        match self.call_within(method, body, Duration::from_secs(30)).await {
            Err(Refused { error, moved: Some(chat) }) => {
                // A group that became a larger one goes on under another id; the old one never works again.
                let mut body = body.clone();
                if body["chat_id"].is_null() || body["chat_id"] == json!(chat) {
                    return Err(error);
                }
                body["chat_id"] = json!(chat);
                Ok(self.call_within(method, &body, Duration::from_secs(30)).await?)
            }
            other => Ok(other?),
        }
    }

    async fn call_within(&self, method: &str, body: &Value, patience: Duration) -> Result<Value, Refused> {
        self.ask_or_moved(method, |ask| ask.json(body).patience(patience)).await
    }

    async fn ask(&self, method: &str, make: impl FnOnce(Ask) -> Ask) -> Result<Value, DeliverError> {
        Ok(self.ask_or_moved(method, make).await?)
    }

    async fn ask_or_moved(&self, method: &str, make: impl FnOnce(Ask) -> Ask) -> Result<Value, Refused> {
        let plain = |error: DeliverError| Refused { error, moved: None };
        let url = self.base.at(&format!("/bot{}/{method}", self.token.as_str())).map_err(|e| plain(e.into()))?;
        let ask = make(Ask::new(http::Method::POST, url));
        let reply = self.setup.http.send(ask).await.map_err(|e| plain(e.into()))?;
        let (status, after) = (reply.status, reply.retry_after());
        let mut body = reply.json().await.map_err(|e| plain(e.into()))?;
        if status.is_success() && body["ok"] == json!(true) {
            return Ok(body["result"].take());
        }
        let parameters = &body["parameters"];
        let after = parameters["retry_after"].as_f64().and_then(|s| seconds(&s.to_string())).or(after);
        let said = body["description"].as_str().unwrap_or("");
        let error = if status.is_success() {
            DeliverError::new(Failing::Unknown, "the answer is none of Telegram's")
        } else {
            refused(status, after, said)
        };
        Err(Refused { error, moved: parameters["migrate_to_chat_id"].as_i64().map(|chat| chat.to_string()) })
    }
}

/// What Telegram did not do, and where the chat went if it went away.
struct Refused {
    error: DeliverError,
    moved: Option<String>,
}

impl From<Refused> for DeliverError {
    fn from(refused: Refused) -> Self {
        refused.error
    }
}

fn abilities() -> Abilities {
    Abilities {
        text_max: 4000,
        file_max: FILE_BYTES_MAX,
        threads: true,
        edit: true,
        react: true,
        buttons: true,
        typing: true,
        open_dm: true,
        per_minute: PER_MINUTE,
        ..Abilities::default()
    }
}

fn in_thread(body: &mut Value, to: &Address) {
    if let Some(thread) = to.thread.as_deref().and_then(|thread| thread.parse::<i64>().ok()) {
        body["message_thread_id"] = json!(thread);
    }
}

fn number(message: &str) -> Result<i64, DeliverError> {
    message.parse().map_err(|_| DeliverError::never("this is no id of a message of Telegram's"))
}

fn message_id(found: &Value) -> Result<String, DeliverError> {
    // Editing a message that was sent in the name of somebody else's answers `true`.
    let id = found["message_id"].as_i64().map(|id| id.to_string());
    id.ok_or_else(|| DeliverError::new(Failing::Unknown, "Telegram does not say which message it became"))
}

fn keyboard(buttons: &[Button]) -> Result<Value, DeliverError> {
    if buttons.len() > BUTTONS_MAX || buttons.iter().any(|b| b.value.is_empty() || b.value.len() > 64 || b.label.is_empty()) {
        return Err(DeliverError::never("there are too many buttons, or one is empty or has a value that is too long"));
    }
    let rows: Vec<Value> = buttons.iter().map(|b| json!([{"text": b.label, "callback_data": b.value}])).collect();
    Ok(json!({"inline_keyboard": rows}))
}
