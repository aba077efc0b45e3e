//! Webex: signed webhooks in that only name what happened, and the REST API, where it is fetched and answered.

mod heard;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use wire::chat::{Abilities, About, Act, Button, Chat, Delivery, Failing, Who};
use zeroize::Zeroizing;

use crate::calls::{call, marked};
use crate::clock::now_ms;
use crate::http::{Ask, Base, Multipart, encode};
use crate::network::{Account, Answer, DeliverError, File, Hook, Network, OpenError, Setup, needs};
use crate::note::{Attempt, Steps};
use crate::reading::{id, path_id};
use crate::sign::is_hmac_sha1_hex;
use crate::sink::Sink;
use heard::Event;

/// Bytes of a message.
const TEXT_BYTES_MAX: usize = 7_439;
/// Characters of a message: as many of three bytes as fit.
const TEXT_MAX: u32 = 2_400;
/// What is older came from somebody who kept it: Webex gives up on a request within minutes.
const AGE_MS_MAX: i64 = 24 * 60 * 60 * 1_000;

/// The network.
pub(crate) struct Webex;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    #[serde(default = "base_url")]
    base_url: String,
}

fn base_url() -> String {
    "https://webexapis.com".to_owned()
}

impl Network for Webex {
    fn about(&self) -> About {
        About {
            webhooks: true,
            ..needs(
                "webex",
                "Webex as a bot",
                &["webexapis.com:443"],
                &[("token", "the bot's token", true), ("webhook_secret", "the secret that the webhooks were made with", true)],
            )
        }
    }

    fn open(&self, setup: Setup) -> Result<Arc<dyn Account>, OpenError> {
        let config: Config = setup.config()?;
        setup.credentials.line("token")?;
        Ok(Arc::new(Bot {
            base: Base::named("base_url", &config.base_url)?,
            secret: setup.credentials.line("webhook_secret")?,
            me: OnceCell::new(),
            setup,
        }))
    }
}

/// One bot.
struct Bot {
    setup: Setup,
    base: Base,
    secret: Zeroizing<String>,
    /// Who it is, once that is known.
    me: OnceCell<Who>,
}

impl Account for Bot {
    fn listen(self: Arc<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            self.setup.introduce(abilities(), || async { self.me().await.cloned() }).await;
        })
    }

    fn deliver<'a>(&'a self, delivery: &'a Delivery, files: &'a [File], steps: &'a Steps) -> BoxFuture<'a, Result<(), DeliverError>> {
        Box::pin(async move {
            let room = &delivery.to.chat;
            match &delivery.act {
                Act::Send { text, reply_to, buttons, .. } => {
                    // A thread is named by its first message, and so is what is answered.
                    let parent = delivery.to.thread.as_deref().or(reply_to.as_deref());
                    let mut body = json!({"roomId": room});
                    if let Some(parent) = parent {
                        body["parentId"] = json!(parent);
                    }
                    if !text.trim().is_empty() || !buttons.is_empty() {
                        let mut first = body.clone();
                        let send = |attempt: Attempt| async move {
                            first["markdown"] = json!(fits(&marked(text, attempt.doubtful))?);
                            if !buttons.is_empty() {
                                first["attachments"] = json!([card(text, buttons)]);
                            }
                            self.message(Ask::post(self.base.at("/v1/messages")?, &first)).await
                        };
                        steps.once("text", send).await?;
                    }
                    for (n, file) in files.iter().enumerate() {
                        let send = |_| async {
                            let mut form = Multipart::new().field("roomId", room);
                            if let Some(parent) = parent {
                                form = form.field("parentId", parent);
                            }
                            let ask = Ask::new(Method::POST, self.base.at("/v1/messages")?).multipart(form.file("files", file));
                            self.message(ask).await
                        };
                        steps.once(&format!("file{n}"), send).await?;
                    }
                    Ok(())
                }
                Act::Edit { message, text, buttons } => {
                    if !buttons.is_empty() {
                        return Err(DeliverError::never("Webex edits only messages of plain text"));
                    }
                    let body = json!({"roomId": room, "markdown": fits(text)?});
                    let url = self.base.at(&format!("/v1/messages/{}", encode(message)))?;
                    let put = |_| async { self.ask(Ask::new(Method::PUT, url.clone()).json(&body)).await.map(|_| message.clone()) };
                    match steps.once("edit", put).await {
                        // A card stays as it is: what it becomes is said below it, and then it goes.
                        Err(error) if error.why == Failing::Final => {
                            let send = |attempt: Attempt| async move {
                                let mut body = json!({"roomId": room, "markdown": fits(&marked(text, attempt.doubtful))?});
                                if let Some(parent) = &delivery.to.thread {
                                    body["parentId"] = json!(parent);
                                }
                                self.message(Ask::post(self.base.at("/v1/messages")?, &body)).await
                            };
                            steps.once("instead", send).await?;
                            let delete = |_| async { self.ask(Ask::new(Method::DELETE, url)).await.map(|_| String::new()) };
                            steps.once("gone", delete).await.map(drop)
                        }
                        other => other.map(drop),
                    }
                }
                Act::React { .. } => Err(DeliverError::never("Webex lets no bot react to messages")),
            }
        })
    }

    fn webhook(&self, request: Hook) -> BoxFuture<'_, Answer> {
        Box::pin(async move {
            let signed =
                request.header("x-spark-signature").is_some_and(|hex| is_hmac_sha1_hex(self.secret.as_bytes(), &[&request.body], hex));
            if !signed {
                return Answer::status(401);
            }
            let Ok(body) = serde_json::from_slice::<Value>(&request.body) else { return Answer::status(400) };
            match self.hear(&body).await {
                Ok(()) => Answer::status(200),
                // Whatever it named is not for this account, or no longer there.
                Err(error) if error.why == Failing::Final => Answer::status(200),
                Err(_) => Answer::status(503),
            }
        })
    }

    fn fetch<'a>(&'a self, file: &'a str, sink: &'a mut Sink) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            let file = path_id(file).ok_or("the file has no id")?;
            let url = self.base.at(&format!("/v1/contents/{file}")).map_err(|e| e.to_string())?;
            let token = self.setup.credentials.line("token").map_err(|e| e.to_string())?;
            let reply = self.setup.http.send(Ask::get(url).bearer(&token)).await.map_err(|e| e.to_string())?;
            match reply.status.as_u16() {
                423 => Err("Webex still looks for malware in the file; try again soon".to_owned()),
                410 | 428 => Err("Webex says that the file is not safe".to_owned()),
                _ => reply.into_sink(sink).await,
            }
        })
    }

    fn open_dm<'a>(&'a self, handle: &'a str) -> BoxFuture<'a, Result<Chat, String>> {
        // A room of two comes to be with its first message; Webex has no way to ask for it before.
        Box::pin(async move {
            let person = path_id(handle).ok_or("that is no id of a person")?;
            let url = self.base.at(&format!("/v1/messages/direct?personId={}&max=1", encode(person))).map_err(|e| e.to_string())?;
            let found = self.ask(Ask::get(url)).await.map_err(|e| e.to_string())?;
            let id = id(&found["items"][0]["roomId"]).ok_or("the person has not written yet")?;
            Ok(Chat { id, name: String::new(), group: false })
        })
    }
}

fn abilities() -> Abilities {
    Abilities {
        text_max: TEXT_MAX,
        file_max: wire::chat::CHAT_FILE_BYTES_MAX,
        threads: true,
        edit: true,
        buttons: true,
        open_dm: true,
        per_minute: 60,
        ..Abilities::default()
    }
}

impl Bot {
    /// Fetches what a webhook named, and reports it.
    async fn hear(&self, body: &Value) -> Result<(), DeliverError> {
        let me = &self.me().await?.id;
        let heard = match heard::event(body, me) {
            None => return Ok(()),
            Some(Event::Message(message)) => heard::message(&self.get(&format!("/v1/messages/{message}")).await?, me, false),
            Some(Event::Edited(message)) => heard::message(&self.get(&format!("/v1/messages/{message}")).await?, me, true),
            Some(Event::Action(action)) => {
                let action = self.get(&format!("/v1/attachment/actions/{action}")).await?;
                let room = path_id(action["roomId"].as_str().unwrap_or_default())
                    .ok_or_else(|| DeliverError::never("an action has no room"))?
                    .to_owned();
                let room = self.get(&format!("/v1/rooms/{room}")).await?;
                heard::action(&action, room["type"] == "direct")
            }
            Some(Event::Member(heard)) => Some(*heard),
        };
        let Some(heard) = heard else { return Ok(()) };
        if heard.at_ms.abs_diff(now_ms()) > AGE_MS_MAX.unsigned_abs() {
            self.setup.link.log("a request about something old was left out").await;
            return Ok(());
        }
        self.setup.link.tell(heard, None).await.map_err(|gone| DeliverError::new(Failing::Passing, gone.to_string()))
    }

    async fn me(&self) -> Result<&Who, DeliverError> {
        let ask = || async {
            let me = self.get("/v1/people/me").await?;
            let id = id(&me["id"]).ok_or_else(|| DeliverError::new(Failing::Passing, "Webex did not say who the bot is"))?;
            Ok(Who { id, name: crate::reading::name(&me["displayName"]), bot: true })
        };
        self.me.get_or_try_init(ask).await
    }

    async fn message(&self, ask: Ask) -> Result<String, DeliverError> {
        let answer = self.ask(ask).await?;
        id(&answer["id"]).ok_or_else(|| DeliverError::new(Failing::Unknown, "Webex named no message"))
    }

    async fn get(&self, path: &str) -> Result<Value, DeliverError> {
        self.ask(Ask::get(self.base.at(path)?)).await
    }

    async fn ask(&self, ask: Ask) -> Result<Value, DeliverError> {
        let token = self.setup.credentials.line("token").map_err(|e| DeliverError::new(Failing::Credential, e.to_string()))?;
        call(&self.setup.http, ask.bearer(&token)).await?.ok(|body| body["message"].as_str().unwrap_or_default().to_owned())
    }
}

/// A text that Webex takes.
fn fits(text: &str) -> Result<String, DeliverError> {
    // A model may not call everybody in a room, nor one of them.
    let text = text.replace("<@", "<\u{200B}@");
    if text.len() > TEXT_BYTES_MAX { Err(DeliverError::never("the text has more bytes than Webex takes")) } else { Ok(text) }
}

fn card(text: &str, buttons: &[Button]) -> Value {
    let action = |button: &Button| json!({"type": "Action.Submit", "title": button.label, "data": {"lazaret": button.value}});
    json!({
        "contentType": "application/vnd.microsoft.card.adaptive",
        "content": {
            "type": "AdaptiveCard", "$schema": "http://adaptivecards.io/schemas/adaptive-card.json", "version": "1.3",
            "body": [{"type": "TextBlock", "text": text, "wrap": true}], "actions": buttons.iter().map(action).collect::<Vec<_>>(),
        },
    })
}

/// Reads anything, for the test of that.
#[cfg(test)]
pub(crate) fn hostile(value: &Value) -> bool {
    heard::event(value, "me").is_some() | heard::message(value, "me", true).is_some() | heard::action(value, false).is_some()
}
