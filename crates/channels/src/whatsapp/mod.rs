//! WhatsApp by the Cloud API: requests of the platform in, the Graph API out. Nothing can be edited or looked up there, and
//! a person who has not written for 24 hours takes templates only.

mod heard;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;
use wire::chat::{Abilities, About, Act, Address, Button, CHAT_FILE_BYTES_MAX, Chat, Delivery, Failing, Who};
use zeroize::Zeroizing;

use crate::calls::{Called, Recent, call, marked};
use crate::clock::now_ms;
use crate::http::{Ask, Base, Http, Multipart, encode};
use crate::marks::WHATSAPP;
use crate::network::{Account, Answer, DeliverError, File, Hook, Network, OpenError, Setup, account, needs};
use crate::note::Steps;
use crate::reading::{clip_chars, path_id};
use crate::sign::{is_hmac_sha256_hex, is_same};
use crate::sink::Sink;
use heard::Status;

/// Characters of a text message.
const TEXT_MAX: u32 = 4_096;
/// Characters of a text with buttons.
const BUTTON_TEXT_MAX: usize = 1_024;
/// Buttons below a text; more become a list.
const BUTTONS_MAX: usize = 3;
/// Rows of a list.
const ROWS_MAX: usize = 10;
/// Characters of a button, and of a row.
const LABEL_MAX: (usize, usize) = (20, 24);
/// Room for the mark of what may come twice.
const MARK_CHARS: usize = 32;
/// The largest picture, in bytes; a larger one is sent as a document.
const IMAGE_BYTES_MAX: usize = 5 << 20;
/// The largest sound or film, in bytes; a larger one is sent as a document.
const MEDIA_BYTES_MAX: usize = 16 << 20;
/// Meta repeats a request for seven days; what is older is a replay.
const AGE_MS_MAX: i64 = 8 * 24 * 60 * 60 * 1_000;
/// Messages and chats that are remembered.
const RECENT_MAX: usize = 2_000;

/// The network.
pub(crate) struct WhatsApp;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// The id of the number, as the app's page shows it.
    phone_number_id: String,
    #[serde(default = "base_url")]
    base_url: String,
    #[serde(default = "api_version")]
    api_version: String,
    /// How long a message's first status is waited for, once one was ever seen. What the platform takes and then cannot deliver
    /// it says only there.
    #[serde(default = "status_wait_s")]
    status_wait_s: u64,
}

fn base_url() -> String {
    "https://graph.facebook.com".to_owned()
}

fn api_version() -> String {
    "v23.0".to_owned()
}

fn status_wait_s() -> u64 {
    5
}

impl Network for WhatsApp {
    fn about(&self) -> About {
        About {
            webhooks: true,
            ..needs(
                "whatsapp",
                "WhatsApp by Meta's Cloud API",
                &["graph.facebook.com:443", "lookaside.fbsbx.com:443"],
                &[
                    ("access_token", "the token of a system user with whatsapp_business_messaging", true),
                    ("app_secret", "the app's secret, with which Meta signs its requests", true),
                    ("verify_token", "the words that were entered where the webhook was set up", true),
                ],
            )
        }
    }

    fn open(&self, setup: Setup) -> Result<Arc<dyn Account>, OpenError> {
        let config: Config = setup.config()?;
        let number = path_id(&config.phone_number_id).ok_or_else(|| OpenError::Config("`phone_number_id` is none".to_owned()))?.to_owned();
        let version = path_id(&config.api_version).ok_or_else(|| OpenError::Config("`api_version` is none".to_owned()))?.to_owned();
        setup.credentials.line("access_token")?;
        Ok(Arc::new(Numbered {
            base: Base::named("base_url", &config.base_url)?,
            version,
            number,
            app_secret: setup.credentials.line("app_secret")?,
            verify_token: setup.credentials.line("verify_token")?,
            statuses: Recent::new(RECENT_MAX),
            changed: watch::Sender::new(0),
            last: Recent::new(RECENT_MAX),
            status_wait: Duration::from_secs(config.status_wait_s.min(60)),
            setup,
        }))
    }
}

/// One number.
struct Numbered {
    setup: Setup,
    base: Base,
    version: String,
    number: String,
    app_secret: Zeroizing<String>,
    verify_token: Zeroizing<String>,
    /// What became of messages of ours, by their ids.
    statuses: Recent<Status>,
    /// Counts what came into `statuses`.
    changed: watch::Sender<u64>,
    /// The last message of each chat: what shows that somebody writes has to name it.
    last: Recent<String>,
    status_wait: Duration,
}

impl Account for Numbered {
    fn listen(self: Arc<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let who = || async {
                let about = self.get(&format!("{}?fields=verified_name,display_phone_number", self.number)).await?;
                let name = about["verified_name"].as_str().or_else(|| about["display_phone_number"].as_str()).unwrap_or_default();
                Ok(Who { name: name.to_owned(), ..account(&self.number) })
            };
            self.setup.introduce(abilities(), who).await;
        })
    }

    fn deliver<'a>(&'a self, delivery: &'a Delivery, files: &'a [File], steps: &'a Steps) -> BoxFuture<'a, Result<(), DeliverError>> {
        Box::pin(async move {
            let to = &delivery.to.chat;
            match &delivery.act {
                Act::Send { text, reply_to, buttons, .. } => {
                    if buttons.len() > ROWS_MAX {
                        return Err(DeliverError::never("WhatsApp shows at most ten buttons"));
                    }
                    // Below a text that is too long for buttons they stand alone: nothing that is confirmed is cut.
                    let apart = !buttons.is_empty() && WHATSAPP.of(text).chars().count() > BUTTON_TEXT_MAX - MARK_CHARS;
                    if apart {
                        let send = |attempt: crate::note::Attempt| {
                            self.send(to, reply_to.as_deref(), said(&marked(text, attempt.doubtful), &[]), attempt.key(40))
                        };
                        steps.once("long", send).await?;
                    }
                    let text = if apart { "⬆️" } else { text.as_str() };
                    if !text.trim().is_empty() || !buttons.is_empty() {
                        let send = |attempt: crate::note::Attempt| {
                            self.send(to, reply_to.as_deref(), said(&marked(text, attempt.doubtful), buttons), attempt.key(40))
                        };
                        steps.once("text", send).await?;
                    }
                    for (n, file) in files.iter().enumerate() {
                        let send = |attempt: crate::note::Attempt| async move {
                            let media = self.upload(file).await?;
                            self.send(to, reply_to.as_deref(), media, attempt.key(40)).await
                        };
                        steps.once(&format!("file{n}"), send).await?;
                    }
                    Ok(())
                }
                Act::React { message, emoji } => {
                    let body = json!({"type": "reaction", "reaction": {"message_id": message, "emoji": emoji}});
                    // The same reaction once more changes nothing.
                    steps
                        .once("react", |attempt| async move { self.send(to, None, body, attempt.key(40)).await.map(|_| String::new()) })
                        .await
                        .map(drop)
                }
                Act::Edit { .. } => Err(DeliverError::never("WhatsApp's Cloud API edits no messages")),
            }
        })
    }

    fn webhook(&self, request: Hook) -> BoxFuture<'_, Answer> {
        Box::pin(async move {
            if request.method == "GET" {
                return self.challenge(&request);
            }
            let signature = request.header("x-hub-signature-256").and_then(|header| header.strip_prefix("sha256="));
            if !signature.is_some_and(|hex| is_hmac_sha256_hex(self.app_secret.as_bytes(), &[&request.body], hex)) {
                return Answer::status(401);
            }
            let Ok(body) = serde_json::from_slice::<Value>(&request.body) else { return Answer::status(400) };
            let news = heard::read(&body, &self.number);
            for status in news.statuses {
                self.on_status(status).await;
            }
            let now = now_ms();
            for heard in news.heard {
                if heard.at_ms.abs_diff(now) > AGE_MS_MAX.unsigned_abs() {
                    self.setup.link.log("a message that is older than a platform repeats was left out").await;
                    continue;
                }
                self.last.put(&heard.chat.id, heard.id.clone());
                if self.setup.link.tell(heard, None).await.is_err() {
                    return Answer::status(503);
                }
            }
            Answer::status(200)
        })
    }

    fn fetch<'a>(&'a self, file: &'a str, sink: &'a mut Sink) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            let media = path_id(file).ok_or("the file has no id")?;
            let about = self.get(&format!("{media}?phone_number_id={}", self.number)).await.map_err(|e| e.to_string())?;
            let url: http::Uri =
                about["url"].as_str().and_then(|url| url.parse().ok()).ok_or("the platform gave no address of the file")?;
            // The token goes where the platform's files are and nowhere else.
            let known = url.scheme_str() == Some("https") && url.host() == Some("lookaside.fbsbx.com") || self.base.is_origin_of(&url);
            if !known {
                return Err("the platform's address of the file is not one of its own".to_owned());
            }
            let token = self.setup.credentials.line("access_token").map_err(|e| e.to_string())?;
            let reply = self.http().send(Ask::get(url).bearer(&token)).await.map_err(|e| e.to_string())?;
            reply.into_sink(sink).await
        })
    }

    fn open_dm<'a>(&'a self, handle: &'a str) -> BoxFuture<'a, Result<Chat, String>> {
        let digits = handle.trim_start_matches('+');
        let fine = !digits.is_empty() && digits.len() <= 20 && digits.bytes().all(|b| b.is_ascii_digit());
        let chat = Chat { id: digits.to_owned(), name: String::new(), group: false };
        Box::pin(async move { if fine { Ok(chat) } else { Err("a person on WhatsApp is a number of digits".to_owned()) } })
    }

    fn typing<'a>(&'a self, to: &'a Address, on: bool) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            // It ends by itself after 25 seconds or with the answer.
            if let (true, Some(last)) = (on, self.last.get(&to.chat)) {
                let body =
                    json!({"messaging_product": "whatsapp", "status": "read", "message_id": last, "typing_indicator": {"type": "text"}});
                let _ = self.post("messages", &body).await;
            }
        })
    }
}

fn abilities() -> Abilities {
    Abilities {
        text_max: TEXT_MAX,
        file_max: CHAT_FILE_BYTES_MAX,
        react: true,
        buttons: true,
        typing: true,
        open_dm: true,
        per_minute: 10,
        ..Abilities::default()
    }
}

impl Numbered {
    fn http(&self) -> &Http {
        &self.setup.http
    }

    /// Meta asks once whether the address is ours.
    fn challenge(&self, request: &Hook) -> Answer {
        let asked = |key: &str| request.query(key).unwrap_or_default();
        let subscribe = asked("hub.mode") == "subscribe" && is_same(&asked("hub.verify_token"), &self.verify_token);
        match request.query("hub.challenge") {
            Some(challenge) if subscribe && challenge.len() <= 256 => Answer::text(challenge),
            _ => Answer::status(403),
        }
    }

    async fn on_status(&self, status: Status) {
        if let Some((code, words)) = &status.error {
            self.setup.link.log(&format!("WhatsApp could not deliver a message: {code} {words}")).await;
        }
        // `sent` may come after `failed`: what failed stays so.
        if self.statuses.get(&status.message).is_none_or(|known| known.error.is_none()) {
            self.statuses.put(&status.message.clone(), status);
        }
        self.changed.send_modify(|count| *count += 1);
    }

    /// Sends a message, and waits a while for whether it could be delivered.
    async fn send(&self, to: &str, reply_to: Option<&str>, mut body: Value, key: String) -> Result<String, DeliverError> {
        body["messaging_product"] = json!("whatsapp");
        // Groups have ids with letters in them, people are numbers.
        body["recipient_type"] = json!(if to.bytes().all(|b| b.is_ascii_digit()) { "individual" } else { "group" });
        body["to"] = json!(to);
        body["biz_opaque_callback_data"] = json!(key);
        if let Some(message) = reply_to {
            body["context"] = json!({"message_id": message});
        }
        let seen = *self.changed.borrow() > 0;
        let answer = self.post("messages", &body).await?;
        let message = answer["messages"][0]["id"]
            .as_str()
            .ok_or_else(|| DeliverError::new(Failing::Unknown, "WhatsApp named no message"))?
            .to_owned();
        let status = if seen { self.status_of(&message).await } else { None };
        match status.and_then(|status| status.error) {
            Some((code, words)) => Err(meaning(code, StatusCode::BAD_REQUEST, None, &words)),
            None => Ok(message),
        }
    }

    /// The first status of a message, when it comes soon.
    async fn status_of(&self, message: &str) -> Option<Status> {
        let mut changed = self.changed.subscribe();
        let wait = async {
            loop {
                if let Some(status) = self.statuses.get(message) {
                    return Some(status);
                }
                changed.changed().await.ok()?;
            }
        };
        tokio::time::timeout(self.status_wait, wait).await.ok().flatten()
    }

    async fn upload(&self, file: &File) -> Result<Value, DeliverError> {
        let form = Multipart::new().field("messaging_product", "whatsapp").field("type", file.mime()).file("file", file);
        let answer = self.ask(Ask::new(http::Method::POST, self.at(&format!("{}/media", self.number))?).multipart(form)).await?;
        let id = answer["id"].as_str().ok_or_else(|| DeliverError::new(Failing::Passing, "WhatsApp named no file"))?;
        let kind = match file.mime() {
            "image/jpeg" | "image/png" if file.bytes.len() <= IMAGE_BYTES_MAX => "image",
            "video/mp4" | "video/3gpp" if file.bytes.len() <= MEDIA_BYTES_MAX => "video",
            "audio/aac" | "audio/amr" | "audio/mpeg" | "audio/mp4" | "audio/ogg" if file.bytes.len() <= MEDIA_BYTES_MAX => "audio",
            _ => "document",
        };
        let mut media = json!({"id": id});
        if kind == "document" {
            media["filename"] = json!(file.name());
        }
        Ok(json!({"type": kind, kind: media}))
    }

    fn at(&self, path: &str) -> Result<http::Uri, DeliverError> {
        Ok(self.base.at(&format!("/{}/{path}", encode(&self.version)))?)
    }

    async fn get(&self, path: &str) -> Result<Value, DeliverError> {
        self.ask(Ask::get(self.at(path)?)).await
    }

    async fn post(&self, path: &str, body: &Value) -> Result<Value, DeliverError> {
        self.ask(Ask::post(self.at(&format!("{}/{path}", self.number))?, body)).await
    }

    async fn ask(&self, ask: Ask) -> Result<Value, DeliverError> {
        let token = self.setup.credentials.line("access_token").map_err(|e| DeliverError::new(Failing::Credential, e.to_string()))?;
        let Called { status, after, body, .. } = call(self.http(), ask.bearer(&token)).await?;
        if status.is_success() {
            return Ok(body);
        }
        let error = &body["error"];
        let words = error["error_data"]["details"].as_str().or_else(|| error["message"].as_str()).unwrap_or_default();
        Err(meaning(error["code"].as_i64().unwrap_or(-1), status, after, words))
    }
}

/// A text with its buttons.
fn said(text: &str, buttons: &[Button]) -> Value {
    let text = WHATSAPP.of(text);
    if buttons.is_empty() {
        return json!({"type": "text", "text": {"body": text, "preview_url": false}});
    }
    let shown = clip_chars(if text.trim().is_empty() { "…" } else { &text }, BUTTON_TEXT_MAX);
    let (kind, action) = if buttons.len() <= BUTTONS_MAX {
        let reply =
            |button: &Button| json!({"type": "reply", "reply": {"id": button.value, "title": clip_chars(&button.label, LABEL_MAX.0)}});
        ("button", json!({"buttons": buttons.iter().map(reply).collect::<Vec<_>>()}))
    } else {
        let row = |button: &Button| json!({"id": button.value, "title": clip_chars(&button.label, LABEL_MAX.1)});
        (
            "list",
            json!({"button": "Choose", "sections": [{"title": "Choose", "rows": buttons.iter().take(ROWS_MAX).map(row).collect::<Vec<_>>()}]}),
        )
    };
    json!({"type": "interactive", "interactive": {"type": kind, "body": {"text": shown}, "action": action}})
}

/// What a code of the Graph API means for a delivery.
fn meaning(code: i64, status: StatusCode, after: Option<Duration>, words: &str) -> DeliverError {
    let why = match code {
        0 | 102 | 190 => Failing::Credential,
        4 | 80_007 | 130_429 | 131_048 | 131_056 => Failing::Rate,
        1 | 2 | 131_000 | 131_016 | 131_057 | 133_004 => Failing::Passing,
        131_047 => {
            return DeliverError::never(
                "the person has not written for 24 hours: WhatsApp takes only templates for them until they write again",
            );
        }
        _ => return crate::http::refused(status, after, words),
    };
    DeliverError::new(why, format!("WhatsApp answered {code}: {}", clip_chars(words, 300))).after(after)
}

/// Reads anything, for the test of that.
#[cfg(test)]
pub(crate) fn hostile(value: &Value) -> usize {
    heard::read(value, "7").heard.len()
}
