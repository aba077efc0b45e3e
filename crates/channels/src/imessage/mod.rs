//! iMessage through a BlueBubbles server on a Mac of the owner's. What it posts to webhooks nobody signs: a request only wakes
//! the account, and every message is fetched from the server with the password.

mod heard;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::{Method, Uri};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Notify;
use wire::chat::{Abilities, About, Act, Address, CHAT_FILE_BYTES_MAX, Chat, Delivery, Failing, Who};
use zeroize::Zeroizing;

use crate::backoff::Backoff;
use crate::calls::{call, marked, trouble};
use crate::http::{Ask, Base, Multipart, encode};
use crate::network::{Account, Answer, DeliverError, File, Hook, Network, OpenError, Setup, needs};
use crate::note::{Attempt, Steps};
use crate::reading::path_id;
use crate::sign::is_same;
use crate::sink::Sink;

/// Characters of a message.
const TEXT_MAX: u32 = 10_000;
/// Messages of one page.
const PAGE: usize = 200;
/// The server answers when the Mac has sent a message, or has given up on it.
const PATIENCE: Duration = Duration::from_secs(120);
/// When to try again with what the server still has under way.
const LATER: Duration = Duration::from_secs(30);

/// The network.
pub(crate) struct IMessage;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// The server.
    base_url: String,
    /// How often new messages are asked for when no request wakes the account, in seconds.
    #[serde(default = "poll_s")]
    poll_s: u64,
    /// Whether the server has its private API: without it nothing can be edited, answered or reacted to.
    #[serde(default)]
    private_api: bool,
}

fn poll_s() -> u64 {
    5
}

impl Network for IMessage {
    fn about(&self) -> About {
        About {
            webhooks: true,
            ..needs(
                "imessage",
                "iMessage by a BlueBubbles server",
                &[],
                &[
                    ("password", "the server's password", true),
                    ("webhook_secret", "words that the server's webhook brings as `secret=` in its address", false),
                ],
            )
        }
    }

    fn open(&self, setup: Setup) -> Result<Arc<dyn Account>, OpenError> {
        let config: Config = setup.config()?;
        setup.credentials.line("password")?;
        Ok(Arc::new(Mac {
            base: Base::named("base_url", &config.base_url)?,
            secret: setup.credentials.optional("webhook_secret")?,
            row: AtomicI64::new(setup.cursor.as_deref().and_then(|row| row.parse().ok()).unwrap_or(-1)),
            poll: Duration::from_secs(config.poll_s.clamp(1, 300)),
            private_api: config.private_api,
            wake: Notify::new(),
            setup,
        }))
    }
}

/// One server.
struct Mac {
    setup: Setup,
    base: Base,
    secret: Option<Zeroizing<String>>,
    /// The last row of the Mac's messages that was read; -1 before the first start.
    row: AtomicI64,
    poll: Duration,
    private_api: bool,
    wake: Notify,
}

impl Account for Mac {
    fn listen(self: Arc<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let mut backoff = Backoff::default();
            loop {
                match self.read().await {
                    Ok(()) => {
                        backoff.well();
                        self.setup.link.ready(Who { id: "me".to_owned(), name: String::new(), bot: true }, self.abilities()).await;
                        tokio::select! {
                            () = self.setup.cancel.cancelled() => return,
                            () = self.wake.notified() => {}
                            () = tokio::time::sleep(self.poll) => {}
                        }
                    }
                    Err(error) => {
                        if !backoff.pause(&trouble(error), &self.setup.link, &self.setup.cancel).await {
                            return;
                        }
                    }
                }
            }
        })
    }

    fn deliver<'a>(&'a self, delivery: &'a Delivery, files: &'a [File], steps: &'a Steps) -> BoxFuture<'a, Result<(), DeliverError>> {
        Box::pin(async move {
            let chat = &delivery.to.chat;
            match &delivery.act {
                Act::Send { text, reply_to, .. } => {
                    if !text.trim().is_empty() {
                        let send = |attempt: Attempt| async move {
                            let shown = marked(&crate::text::plain(text), attempt.doubtful);
                            let mut body =
                                json!({"chatGuid": chat, "tempGuid": attempt.key(43), "message": shown, "method": self.method()});
                            if let Some(answered) = reply_to.as_deref().filter(|_| self.private_api) {
                                body["selectedMessageGuid"] = json!(answered);
                            }
                            let url = self.at("message/text").await?;
                            sent(self.ask(Ask::post(url, &body).patience(PATIENCE)).await?)
                        };
                        steps.once("text", send).await?;
                    }
                    for (n, file) in files.iter().enumerate() {
                        let send = |attempt: Attempt| async move {
                            let key = attempt.key(43);
                            let form = Multipart::new().field("chatGuid", chat).field("tempGuid", &key).field("name", file.name());
                            let form = form.field("method", self.method()).file("attachment", file);
                            let url = self.at("message/attachment").await?;
                            sent(self.ask(Ask::new(Method::POST, url).multipart(form).patience(PATIENCE)).await?)
                        };
                        steps.once(&format!("file{n}"), send).await?;
                    }
                    Ok(())
                }
                _ if !self.private_api => Err(DeliverError::never("the server has no private API: it can neither edit nor react")),
                Act::Edit { message, text, .. } => {
                    let guid = path_id(message).ok_or_else(|| DeliverError::never("that is no id of a message"))?;
                    let shown = crate::text::plain(text);
                    let body =
                        json!({"editedMessage": shown, "backwardsCompatibilityMessage": format!("Edited to: {shown}"), "partIndex": 0});
                    let edit = |_| async {
                        self.ask(Ask::post(self.at(&format!("message/{guid}/edit")).await?, &body)).await.map(|_| message.clone())
                    };
                    steps.once("edit", edit).await.map(drop)
                }
                Act::React { message, emoji } => {
                    let reaction = heard::reaction(emoji)
                        .ok_or_else(|| DeliverError::never("iMessage's server knows six reactions, and not this one"))?;
                    let body = json!({"chatGuid": chat, "selectedMessageGuid": message, "reaction": reaction, "partIndex": 0});
                    let react = |_| async { self.ask(Ask::post(self.at("message/react").await?, &body)).await.map(|_| String::new()) };
                    steps.once("react", react).await.map(drop)
                }
            }
        })
    }

    fn webhook(&self, request: Hook) -> BoxFuture<'_, Answer> {
        Box::pin(async move {
            let given = request.query("secret").unwrap_or_default();
            if !self.secret.as_ref().is_some_and(|secret| is_same(secret, &given)) {
                return Answer::status(401);
            }
            let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
            let guid = body["data"]["guid"].as_str().and_then(path_id);
            if let ("updated-message", Some(guid)) = (body["type"].as_str().unwrap_or_default(), guid) {
                // Nothing that it says is believed but which message to look at.
                let Ok(message) = self.message(guid).await else { return Answer::status(503) };
                if let Some(heard) = heard::read(&message, true)
                    && self.setup.link.tell(heard, None).await.is_err()
                {
                    return Answer::status(503);
                }
            }
            self.wake.notify_one();
            Answer::status(200)
        })
    }

    fn fetch<'a>(&'a self, file: &'a str, sink: &'a mut Sink) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            let file = path_id(file).ok_or("the file has no id")?;
            let url = self.at(&format!("attachment/{file}/download")).await.map_err(|e| e.to_string())?;
            self.setup.http.send(Ask::get(url)).await.map_err(|e| e.to_string())?.into_sink(sink).await
        })
    }

    fn open_dm<'a>(&'a self, handle: &'a str) -> BoxFuture<'a, Result<Chat, String>> {
        let chat = Chat { id: format!("iMessage;-;{handle}"), name: String::new(), group: false };
        Box::pin(async move {
            if path_id(handle).is_some() { Ok(chat) } else { Err("a person on iMessage is a number or an address".to_owned()) }
        })
    }

    fn typing<'a>(&'a self, to: &'a Address, on: bool) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            if let (true, Ok(url)) = (self.private_api, self.at(&format!("chat/{}/typing", encode(&to.chat))).await) {
                let _ = self.ask(Ask::new(if on { Method::POST } else { Method::DELETE }, url)).await;
            }
        })
    }
}

impl Mac {
    fn abilities(&self) -> Abilities {
        Abilities {
            text_max: TEXT_MAX,
            file_max: CHAT_FILE_BYTES_MAX,
            edit: self.private_api,
            react: self.private_api,
            typing: self.private_api,
            open_dm: true,
            per_minute: 20,
            ..Abilities::default()
        }
    }

    fn method(&self) -> &'static str {
        if self.private_api { "private-api" } else { "apple-script" }
    }

    /// Reads what came since the last time, in the order of the Mac's rows.
    async fn read(&self) -> Result<(), DeliverError> {
        if self.row.load(Ordering::SeqCst) < 0 {
            // The first start begins with what comes from now on, not with years of messages.
            let newest = self.query(&json!({"limit": 1, "sort": "DESC"})).await?;
            let row = newest.first().and_then(|message| message["originalROWID"].as_i64()).unwrap_or(0);
            self.setup.began(&row.to_string())?;
            self.row.store(row, Ordering::SeqCst);
        }
        loop {
            let after = self.row.load(Ordering::SeqCst);
            let mut page = self.rows("message.ROWID > :row", &json!({"row": after})).await?;
            let more = page.len() >= PAGE;
            let top = after + PAGE as i64;
            if more {
                // The server orders by date: a full page may lack a row that is lower than another in it. As many rows as a page
                // has are whole, though, and there are more than those.
                page = self.rows("message.ROWID > :row AND message.ROWID <= :top", &json!({"row": after, "top": top})).await?;
            }
            page.retain(|message| message["originalROWID"].as_i64().is_some_and(|row| row > after));
            page.sort_by_key(|message| message["originalROWID"].as_i64());
            for message in page {
                let row = message["originalROWID"].as_i64().unwrap_or(after);
                if let Some(heard) = heard::read(&message, false)
                    && self.setup.link.report(heard, Some(row.to_string())).await.is_err()
                {
                    return Ok(());
                }
                self.row.store(row, Ordering::SeqCst);
            }
            if !more || self.setup.cancel.is_cancelled() {
                return Ok(());
            }
            self.row.store(top, Ordering::SeqCst);
        }
    }

    async fn rows(&self, statement: &str, args: &Value) -> Result<Vec<Value>, DeliverError> {
        let wanted = [json!({"statement": statement, "args": args})];
        self.query(&json!({"limit": PAGE, "offset": 0, "sort": "ASC", "with": ["chat", "attachment", "handle"], "where": wanted})).await
    }

    async fn query(&self, body: &Value) -> Result<Vec<Value>, DeliverError> {
        let answer = self.ask(Ask::post(self.at("message/query").await?, body)).await?;
        Ok(answer["data"].as_array().cloned().unwrap_or_default())
    }

    async fn message(&self, guid: &str) -> Result<Value, DeliverError> {
        let mut url = self.at(&format!("message/{guid}")).await?.to_string();
        url.push_str("&with=chats,attachments");
        let url = url.parse().map_err(|_| DeliverError::never("an address cannot be written"))?;
        Ok(self.ask(Ask::get(url)).await?["data"].clone())
    }

    /// An address of the API: the server wants its password there.
    async fn at(&self, path: &str) -> Result<Uri, DeliverError> {
        let password = self.setup.credentials.line("password").map_err(|e| DeliverError::new(Failing::Credential, e.to_string()))?;
        Ok(self.base.at(&format!("/api/v1/{path}?password={}", encode(&password)))?)
    }

    async fn ask(&self, ask: Ask) -> Result<Value, DeliverError> {
        let called = call(&self.setup.http, ask).await?;
        let words = called.body["error"]["message"].as_str().or_else(|| called.body["message"].as_str()).unwrap_or_default().to_owned();
        match called.status.as_u16() {
            // The Mac took it and may have sent it.
            500 if !called.body.is_null() => {
                Err(DeliverError::new(Failing::Unknown, format!("the Mac says: {}", crate::reading::clip_chars(&words, 300))))
            }
            400 if words.contains("already queued") => Err(DeliverError::new(Failing::Passing, words).after(Some(LATER))),
            403 => Err(DeliverError::new(Failing::Credential, "the server does not take the password")),
            _ => called.ok(|_| words),
        }
    }
}

fn sent(answer: Value) -> Result<String, DeliverError> {
    crate::reading::id(&answer["data"]["guid"]).ok_or_else(|| DeliverError::new(Failing::Unknown, "the server named no message"))
}

/// Reads anything, for the test of that.
#[cfg(test)]
pub(crate) fn hostile(value: &Value) -> bool {
    heard::read(value, false).is_some() | heard::read(value, true).is_some()
}
