//! Microsoft Teams by Bot Framework: signed activities in, the connector's REST API out.

mod files;
mod heard;

use std::sync::{Arc, Weak};

use futures_util::future::BoxFuture;
use http::{Method, Uri};
use serde::Deserialize;
use serde_json::{Value, json};
use wire::chat::{Abilities, About, Act, Address, Button, Chat, Delivery, Failing};
use zeroize::Zeroizing;

use crate::calls::{Recent, Token, call, marked};
use crate::clock::now_ms;
use crate::http::{Ask, Base, encode};
use crate::jwt::{Rules, bearer};
use crate::keys::{Keys, KeysError, Place};
use crate::network::{Account, Answer, DeliverError, File, Hook, Network, OpenError, Setup, account, needs};
use crate::note::{Attempt, Steps};
use crate::reading::{id, path_id};
use crate::sink::Sink;

/// Who signs what Bot Framework posts.
const ISSUER: &str = "https://api.botframework.com";
/// Characters of a message: Teams takes 28 KB of it with everything around.
const TEXT_MAX: u32 = 6_000;
/// Buttons of one row of a card.
const ROW_MAX: usize = 6;
/// Bot Framework repeats an activity for minutes; what is older than this is a replay.
const AGE_MS_MAX: i64 = 60 * 60 * 1_000;
/// Chats whose connector is remembered.
const CHATS_MAX: usize = 10_000;

/// The network.
pub(crate) struct Teams;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// The app's id.
    app_id: String,
    /// The directory in which the app lives.
    tenant: String,
    /// The connector for chats that have not spoken since the start; activities name their own, of the same server.
    #[serde(default = "base_url")]
    base_url: String,
    #[serde(default = "login_url")]
    login_url: String,
    #[serde(default = "openid_url")]
    openid_url: String,
}

fn base_url() -> String {
    "https://smba.trafficmanager.net/teams".to_owned()
}

fn login_url() -> String {
    "https://login.microsoftonline.com".to_owned()
}

fn openid_url() -> String {
    "https://login.botframework.com/v1/.well-known/openidconfiguration".to_owned()
}

impl Network for Teams {
    fn about(&self) -> About {
        About {
            addresses: ["login_url", "openid_url"].map(str::to_owned).to_vec(),
            webhooks: true,
            ..needs(
                "teams",
                "Microsoft Teams by Bot Framework",
                &["smba.trafficmanager.net:443", "login.microsoftonline.com:443", "login.botframework.com:443"],
                &[("app_password", "a client secret of the app", true)],
            )
        }
    }

    fn open(&self, setup: Setup) -> Result<Arc<dyn Account>, OpenError> {
        let config: Config = setup.config()?;
        let bad = |key: &str| OpenError::Config(format!("`{key}` is none"));
        for (key, value) in [("app_id", &config.app_id), ("tenant", &config.tenant)] {
            path_id(value).ok_or_else(|| bad(key))?;
        }
        setup.credentials.line("app_password")?;
        let base = Base::named("base_url", &config.base_url)?;
        let login = Base::named("login_url", &config.login_url)?;
        let openid: Uri = config.openid_url.parse().map_err(|_| bad("openid_url"))?;
        Ok(Arc::new_cyclic(|this| Bot {
            this: this.clone(),
            offered: files::Offered::default(),
            base,
            login,
            keys: Keys::new(setup.http.clone(), Place::OpenId(openid)),
            token: Token::default(),
            connectors: Recent::new(CHATS_MAX),
            app: config.app_id,
            tenant: config.tenant,
            setup,
        }))
    }
}

/// One app.
struct Bot {
    /// Itself, for what goes on after a request was answered.
    this: Weak<Bot>,
    setup: Setup,
    base: Base,
    login: Base,
    keys: Keys,
    token: Token,
    /// The connector of each chat.
    connectors: Recent<Base>,
    /// Files that wait for a person.
    offered: files::Offered,
    app: String,
    tenant: String,
}

impl Account for Bot {
    fn listen(self: Arc<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            self.setup.introduce(abilities(), || async { self.bearer().await.map(|_| account(&format!("28:{}", self.app))) }).await;
        })
    }

    fn deliver<'a>(&'a self, delivery: &'a Delivery, files: &'a [File], steps: &'a Steps) -> BoxFuture<'a, Result<(), DeliverError>> {
        Box::pin(async move {
            let place = conversation(&delivery.to);
            match &delivery.act {
                Act::Send { text, reply_to, buttons, .. } => {
                    for file in files {
                        files::may_offer(file, &delivery.to.chat)?;
                    }
                    if !text.trim().is_empty() || !buttons.is_empty() {
                        let send = |attempt: Attempt| {
                            let activity = said(&marked(text, attempt.doubtful), buttons);
                            self.write(Method::POST, &delivery.to.chat, &place, reply_to.as_deref(), activity)
                        };
                        steps.once("text", send).await?;
                    }
                    for (n, file) in files.iter().enumerate() {
                        let send = |attempt: Attempt| async move {
                            let (key, chat) = (attempt.key(43), &delivery.to.chat);
                            let shown = files::shown(file, chat, &key)?;
                            if shown["content"].is_object() {
                                self.offered.put(&key, chat, file);
                            }
                            let activity = json!({"type": "message", "attachments": [shown]});
                            self.write(Method::POST, chat, &conversation(&delivery.to), reply_to.as_deref(), activity).await
                        };
                        steps.once(&format!("file{n}"), send).await?;
                    }
                    Ok(())
                }
                // The same text once more changes nothing.
                Act::Edit { message, text, buttons } => {
                    let mut activity = said(text, buttons);
                    activity["id"] = json!(message);
                    let write = |_| async {
                        self.write(Method::PUT, &delivery.to.chat, &place, Some(message), activity).await.map(|_| message.clone())
                    };
                    steps.once("edit", write).await.map(drop)
                }
                Act::React { .. } => Err(DeliverError::never("Teams lets no bot react to messages")),
            }
        })
    }

    fn webhook(&self, request: Hook) -> BoxFuture<'_, Answer> {
        Box::pin(async move {
            let Some(token) = bearer(request.header("authorization")) else { return Answer::status(401) };
            let rules = Rules { issuers: &[ISSUER], audience: &self.app };
            let (claims, endorsed) = match self.keys.check(token, &rules).await {
                Ok(checked) => checked,
                Err(KeysError::Token(_)) => return Answer::status(403),
                Err(KeysError::Fetch(_)) => return Answer::status(503),
            };
            let Ok(activity) = serde_json::from_slice::<Value>(&request.body) else { return Answer::status(400) };
            let Some(service) = self.service(&activity, &claims, &endorsed) else { return Answer::status(403) };
            if let Some(answer) = files::answer(&activity, &self.base) {
                self.on_answer(answer, &activity);
                return Answer::json(&json!({}));
            }
            for heard in heard::read(&activity, &self.app) {
                // A token signs no body: what is old came from somebody who kept it. What comes twice is told twice; the host
                // knows it by its id, and may not have had it the first time.
                if heard.at_ms.abs_diff(now_ms()) > AGE_MS_MAX.unsigned_abs() {
                    return Answer::status(403);
                }
                self.connectors.put(&heard.chat.id, service.clone());
                if self.setup.link.tell(heard, None).await.is_err() {
                    return Answer::status(503);
                }
            }
            Answer::status(200)
        })
    }

    fn fetch<'a>(&'a self, file: &'a str, sink: &'a mut Sink) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            let url: Uri = file.parse().map_err(|_| "the file has no address")?;
            let ask = if self.base.is_origin_of(&url) {
                // Pictures of a chat lie at the connector, which wants to know who asks.
                Ask::get(url).bearer(&self.bearer().await.map_err(|e| e.to_string())?)
            } else if files::is_storage(&url) {
                Ask::get(url)
            } else {
                return Err("the file does not lie where Teams keeps files".to_owned());
            };
            self.setup.http.send(ask).await.map_err(|e| e.to_string())?.into_sink(sink).await
        })
    }

    fn open_dm<'a>(&'a self, handle: &'a str) -> BoxFuture<'a, Result<Chat, String>> {
        Box::pin(async move {
            let body = json!({
                "isGroup": false, "bot": {"id": format!("28:{}", self.app)}, "members": [{"id": handle}], "tenantId": self.tenant,
                "channelData": {"tenant": {"id": self.tenant}},
            });
            let url = self.base.at("/v3/conversations").map_err(|e| e.to_string())?;
            let answer = self.ask(Ask::post(url, &body)).await.map_err(|e| e.to_string())?;
            let id = id(&answer["id"]).ok_or("Teams named no chat")?;
            Ok(Chat { id, name: String::new(), group: false })
        })
    }

    fn typing<'a>(&'a self, to: &'a Address, on: bool) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            if on {
                let _ = self.write(Method::POST, &to.chat, &conversation(to), None, json!({"type": "typing"})).await;
            }
        })
    }
}

fn abilities() -> Abilities {
    Abilities {
        text_max: TEXT_MAX,
        file_max: files::FILE_BYTES_MAX,
        threads: true,
        edit: true,
        buttons: true,
        typing: true,
        open_dm: true,
        per_minute: 60,
        ..Abilities::default()
    }
}

impl Bot {
    /// The connector that an activity names: one that its token names too, of the server that is configured.
    fn service(&self, activity: &Value, claims: &Value, endorsed: &[String]) -> Option<Base> {
        let url = activity["serviceUrl"].as_str()?;
        let claimed = claims["serviceurl"].as_str().or_else(|| claims["serviceUrl"].as_str())?;
        let channel = activity["channelId"].as_str()?;
        let service = Base::parse(url).ok()?;
        let tenant = id(&activity["channelData"]["tenant"]["id"]).or_else(|| id(&activity["conversation"]["tenantId"]));
        let fine = claimed.trim_end_matches('/') == url.trim_end_matches('/')
            && channel == "msteams"
            && endorsed.iter().any(|endorsed| endorsed == channel)
            && self.base.is_origin_of(&service.at("/").ok()?)
            // An app that lives in one directory hears that directory only.
            && tenant.is_none_or(|tenant| tenant == self.tenant);
        fine.then_some(service)
    }

    /// Somebody wants a file that was offered, or does not.
    fn on_answer(&self, answer: files::Answer, activity: &Value) {
        let chat = id(&activity["conversation"]["id"]).unwrap_or_default();
        let Some(file) = self.offered.take(&answer.key, &chat) else { return };
        if let (Some((url, info)), Some(this)) = (answer.place, self.this.upgrade()) {
            // Teams waits a few seconds for the answer, less than a file may take.
            let cancel = self.setup.cancel.clone();
            self.setup.tasks.spawn(async move {
                tokio::select! {
                    () = cancel.cancelled() => {}
                    () = this.bring(&file, url, &info, &chat) => {}
                }
            });
        }
    }

    async fn bring(&self, file: &File, url: Uri, info: &Value, chat: &str) {
        let brought = async { call(&self.setup.http, files::bring(file, url)).await?.ok(|_| "the file".to_owned()) };
        let activity = match brought.await {
            Ok(_) => files::brought(file, info),
            Err(error) => {
                self.setup.link.log(&format!("a file that somebody wanted could not be brought: {error}")).await;
                json!({"type": "message", "text": "The file could not be brought."})
            }
        };
        if let Err(error) = self.write(Method::POST, chat, chat, None, activity).await {
            self.setup.link.log(&format!("a file that was brought could not be shown: {error}")).await;
        }
    }

    async fn write(
        &self,
        method: Method,
        chat: &str,
        conversation: &str,
        about: Option<&str>,
        activity: Value,
    ) -> Result<String, DeliverError> {
        let base = self.connectors.get(chat).unwrap_or_else(|| self.base.clone());
        let below = about.map(|about| format!("/{}", encode(about))).unwrap_or_default();
        let url = base.at(&format!("/v3/conversations/{}/activities{below}", encode(conversation)))?;
        let mut activity = activity;
        activity["from"] = json!({"id": format!("28:{}", self.app)});
        activity["conversation"] = json!({"id": conversation});
        if let Some(about) = about.filter(|_| method == Method::POST) {
            activity["replyToId"] = json!(about);
        }
        let wants = activity["type"] == "message" && method == Method::POST;
        let answer = self.ask(Ask::new(method, url).json(&activity)).await?;
        match id(&answer["id"]) {
            Some(id) => Ok(id),
            None if wants => Err(DeliverError::new(Failing::Unknown, "Teams named no message")),
            None => Ok(String::new()),
        }
    }

    /// Asks with the bot's token; one that is no longer taken is drawn anew, once.
    async fn ask(&self, ask: Ask) -> Result<Value, DeliverError> {
        let token = self.bearer().await?;
        let called = call(&self.setup.http, ask.bearer(&token)).await?;
        if called.status == http::StatusCode::UNAUTHORIZED {
            self.token.forget().await;
            // The next try draws a token; if none is to be had, that says so.
            return Err(DeliverError::new(Failing::Passing, "Teams did not take the token; a new one will be drawn"));
        }
        called.ok(|body| body["error"]["message"].as_str().unwrap_or_default().to_owned())
    }

    async fn bearer(&self) -> Result<Zeroizing<String>, DeliverError> {
        let draw = || async {
            let secret = self.setup.credentials.line("app_password").map_err(|e| DeliverError::new(Failing::Credential, e.to_string()))?;
            let url = self.login.at(&format!("/{}/oauth2/v2.0/token", encode(&self.tenant)))?;
            let form = [
                ("grant_type", "client_credentials"),
                ("client_id", &self.app),
                ("client_secret", &secret),
                ("scope", "https://api.botframework.com/.default"),
            ];
            let called = call(&self.setup.http, Ask::new(Method::POST, url).form(&form)).await?;
            if matches!(called.body["error"].as_str(), Some("invalid_client" | "unauthorized_client" | "invalid_grant")) {
                return Err(DeliverError::new(Failing::Credential, "Microsoft does not take the app's password"));
            }
            let body = called.ok(|body| body["error"].as_str().unwrap_or_default().to_owned())?;
            let token = body["access_token"].as_str().ok_or_else(|| DeliverError::new(Failing::Passing, "Microsoft gave no token"))?;
            Ok((Zeroizing::new(token.to_owned()), body["expires_in"].as_i64().unwrap_or(0)))
        };
        self.token.get(now_ms(), draw).await
    }
}

/// The conversation, with its thread.
fn conversation(to: &Address) -> String {
    match &to.thread {
        Some(thread) => format!("{};messageid={thread}", to.chat),
        None => to.chat.clone(),
    }
}

/// A text with its buttons.
fn said(text: &str, buttons: &[Button]) -> Value {
    if buttons.is_empty() {
        return json!({"type": "message", "textFormat": "markdown", "text": text});
    }
    let action = |button: &Button| json!({"type": "Action.Submit", "title": button.label, "data": {"lazaret": button.value}});
    let mut body = vec![json!({"type": "TextBlock", "text": text, "wrap": true})];
    body.extend(buttons.chunks(ROW_MAX).map(|row| json!({"type": "ActionSet", "actions": row.iter().map(action).collect::<Vec<_>>()})));
    let card = json!({
        "type": "AdaptiveCard", "$schema": "http://adaptivecards.io/schemas/adaptive-card.json", "version": "1.4", "body": body,
    });
    json!({"type": "message", "attachments": [{"contentType": "application/vnd.microsoft.card.adaptive", "content": card}]})
}

/// Reads anything, for the test of that.
#[cfg(test)]
pub(crate) fn hostile(value: &Value) -> usize {
    heard::read(value, "app").len()
}
