//! Networks that only a linked device speaks: a program of the owner's holds the device, and this speaks to it over a small HTTP
//! API of Lazaret's own (docs/guide/channel-bridge.md). Events carry a cursor, messages an idempotency key, so that a kill on
//! either side loses nothing and repeats nothing that the bridge can help. A question for what comes after an event lets the bridge
//! forget it, so it is asked only when the host has it for good.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::{HeaderName, Method};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Mutex as AsyncMutex;
use wire::chat::{Abilities, About, Act, Address, Button, Chat, Delivery, Failing, Heard, Who};

use crate::backoff::Backoff;
use crate::calls::{call, marked, trouble};
use crate::http::{Ask, Base, encode};
use crate::link::Gone;
use crate::network::{Account, DeliverError, File, Network, OpenError, Setup, needs};
use crate::note::{Attempt, Steps};
use crate::reading::{clip_chars, id};
use crate::sink::Sink;

/// How long the bridge holds a question for events open, in seconds.
const WAIT_S: u64 = 25;
/// How long its answer may take.
const PATIENCE: Duration = Duration::from_secs(40);
/// The longest cursor, in bytes.
const CURSOR_BYTES_MAX: usize = 1_024;

/// A network behind a bridge.
pub(crate) struct Bridge {
    name: &'static str,
    description: &'static str,
}

/// WhatsApp by a linked device.
pub(crate) const WHATSAPP: Bridge =
    Bridge { name: "whatsapp-bridge", description: "WhatsApp as a linked device, by a bridge of the owner's" };
/// WeChat by a personal account.
pub(crate) const WECHAT: Bridge = Bridge { name: "wechat-bridge", description: "WeChat as a person, by a bridge of the owner's" };

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// The bridge.
    base_url: String,
}

impl Network for Bridge {
    fn about(&self) -> About {
        needs(self.name, self.description, &[], &[("token", "the bridge's token", true)])
    }

    fn open(&self, setup: Setup) -> Result<Arc<dyn Account>, OpenError> {
        let config: Config = setup.config()?;
        setup.credentials.line("token")?;
        let base = Base::named("base_url", &config.base_url)?;
        Ok(Arc::new(Device { place: AsyncMutex::new((setup.cursor.clone(), 0)), base, setup }))
    }
}

/// One linked device.
struct Device {
    setup: Setup,
    base: Base,
    /// The last event that was heard, and the number of the last report. Only the listener takes it.
    place: AsyncMutex<(Option<String>, u64)>,
}

impl Account for Device {
    fn listen(self: Arc<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let mut backoff = Backoff::default();
            loop {
                let ended = tokio::select! {
                    () = self.setup.cancel.cancelled() => return,
                    ended = self.connected(&mut backoff) => ended,
                };
                let Err(error) = ended else { return };
                if !backoff.pause(&trouble(error), &self.setup.link, &self.setup.cancel).await {
                    return;
                }
            }
        })
    }

    fn deliver<'a>(&'a self, delivery: &'a Delivery, files: &'a [File], steps: &'a Steps) -> BoxFuture<'a, Result<(), DeliverError>> {
        Box::pin(async move {
            let Address { chat, thread } = &delivery.to;
            match &delivery.act {
                Act::Send { text, reply_to, buttons, .. } => {
                    let send = |attempt: Attempt| async move {
                        let mut brought = Vec::with_capacity(files.len());
                        for file in files {
                            brought.push(json!({"id": self.upload(file).await?, "name": file.name(), "mime": file.mime()}));
                        }
                        let mut body = json!({"chat": chat, "thread": thread, "text": text, "reply_to": reply_to, "buttons": shown(buttons), "files": brought});
                        let path = if attempt.doubtful { "/v1/messages?again=1" } else { "/v1/messages" };
                        // A bridge whose network takes no key says so, and is sent what may be there twice, marked.
                        let answer = match self.post(path, &body, Some(&attempt)).await {
                            Err(error) if attempt.doubtful && error.message.contains("not_idempotent") => {
                                body["text"] = json!(marked(text, true));
                                self.post("/v1/messages", &body, Some(&attempt)).await?
                            }
                            answer => answer?,
                        };
                        id(&answer["id"]).ok_or_else(|| DeliverError::new(Failing::Unknown, "the bridge named no message"))
                    };
                    steps.once("text", send).await.map(drop)
                }
                Act::Edit { message, text, buttons } => {
                    let body = json!({"chat": chat, "text": text, "buttons": shown(buttons)});
                    let url = self.base.at(&format!("/v1/messages/{}", encode(message)))?;
                    let edit = |_| async { self.ask(Ask::new(Method::PUT, url).json(&body)).await.map(|_| message.clone()) };
                    steps.once("edit", edit).await.map(drop)
                }
                Act::React { message, emoji } => {
                    let body = json!({"chat": chat, "message": message, "emoji": emoji});
                    let react =
                        |attempt: Attempt| async move { self.post("/v1/reactions", &body, Some(&attempt)).await.map(|_| String::new()) };
                    steps.once("react", react).await.map(drop)
                }
            }
        })
    }

    fn fetch<'a>(&'a self, file: &'a str, sink: &'a mut Sink) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            let url = self.base.at(&format!("/v1/files/{}", encode(file))).map_err(|e| e.to_string())?;
            let token = self.setup.credentials.line("token").map_err(|e| e.to_string())?;
            self.setup.http.send(Ask::get(url).bearer(&token)).await.map_err(|e| e.to_string())?.into_sink(sink).await
        })
    }

    fn open_dm<'a>(&'a self, handle: &'a str) -> BoxFuture<'a, Result<Chat, String>> {
        Box::pin(async move {
            let found = self.post("/v1/chats", &json!({"handle": handle}), None).await.map_err(|e| e.to_string())?;
            serde_json::from_value(found).map_err(|_| "the bridge's chat is none".to_owned())
        })
    }

    fn typing<'a>(&'a self, to: &'a Address, on: bool) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let _ = self.post("/v1/typing", &json!({"chat": to.chat, "thread": to.thread, "on": on}), None).await;
        })
    }
}

impl Device {
    /// Asks who it is, and then for events until that fails; without an error where the host takes no more.
    async fn connected(&self, backoff: &mut Backoff) -> Result<(), DeliverError> {
        let odd = |what: &str| DeliverError::new(Failing::Passing, format!("the bridge's {what} is of no form that is known"));
        let about = self.ask(Ask::get(self.base.at("/v1/account")?)).await?;
        let me: Who = serde_json::from_value(about["me"].clone()).map_err(|_| odd("account"))?;
        let abilities: Abilities = serde_json::from_value(about["abilities"].clone()).map_err(|_| odd("list of abilities"))?;
        let mut place = self.place.lock().await;
        let (cursor, last) = &mut *place;
        // The bridge keeps what happens from the first question on: that one is answered at once, and only then is the account ready.
        let mut wait_s = 0;
        loop {
            if self.setup.link.acked(*last).await.is_err() {
                return Ok(());
            }
            let after = cursor.as_deref().map(|cursor| format!("&after={}", encode(cursor))).unwrap_or_default();
            let ask = Ask::get(self.base.at(&format!("/v1/events?wait={wait_s}{after}"))?).patience(PATIENCE);
            let mut answer = self.ask(ask).await?;
            backoff.well();
            let events = answer["events"].as_array_mut().map(std::mem::take).ok_or_else(|| odd("answer"))?;
            self.setup.link.ready(me.clone(), abilities.clone()).await;
            wait_s = WAIT_S;
            for mut event in events {
                let next = event["cursor"].as_str().filter(|next| next.len() <= CURSOR_BYTES_MAX).ok_or_else(|| odd("cursor"))?.to_owned();
                match serde_json::from_value::<Heard>(event["event"].take()) {
                    // What the account did itself is no news.
                    Ok(heard) if heard.sender.id == me.id => {}
                    Ok(heard) => match self.setup.link.report(heard, Some(next.clone())).await {
                        Ok(seq) => *last = seq,
                        Err(Gone) => return Ok(()),
                    },
                    Err(_) => self.setup.link.log("an event of the bridge's was of no form that is known; it was left out").await,
                }
                *cursor = Some(next);
            }
        }
    }

    /// Brings a file: its id at the bridge. Nobody sees it until a message names it.
    async fn upload(&self, file: &File) -> Result<String, DeliverError> {
        let url = self.base.at(&format!("/v1/files?name={}", encode(file.name())))?;
        let answer = self.ask(Ask::new(Method::POST, url).body(file.mime(), file.bytes.clone())).await?;
        id(&answer["id"]).ok_or_else(|| DeliverError::new(Failing::Passing, "the bridge named no file"))
    }

    async fn post(&self, path: &str, body: &Value, attempt: Option<&Attempt>) -> Result<Value, DeliverError> {
        let mut ask = Ask::post(self.base.at(path)?, body);
        if let Some(attempt) = attempt {
            ask = ask.header(HeaderName::from_static("idempotency-key"), &attempt.key(43));
        }
        self.ask(ask).await
    }

    async fn ask(&self, ask: Ask) -> Result<Value, DeliverError> {
        let token = self.setup.credentials.line("token").map_err(|e| DeliverError::new(Failing::Credential, e.to_string()))?;
        let called = call(&self.setup.http, ask.bearer(&token)).await?;
        let error = &called.body["error"];
        let words = clip_chars(error["message"].as_str().unwrap_or_default(), 300);
        match error["code"].as_str() {
            Some("not_linked") => Err(DeliverError::new(Failing::Credential, format!("the bridge is not linked to an account: {words}"))),
            Some(code) if !called.status.is_success() => {
                let said = format!("{code} {words}");
                called.ok(|_| said)
            }
            _ => called.ok(|_| String::new()),
        }
    }
}

fn shown(buttons: &[Button]) -> Value {
    buttons.iter().map(|button| json!({"label": button.label, "value": button.value})).collect()
}
