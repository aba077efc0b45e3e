//! Google Chat as an app: signed interaction events in, the REST API with a service account out. An app may neither react nor
//! upload files.

mod heard;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::{Method, Uri};
use serde::Deserialize;
use serde_json::{Value, json};
use wire::chat::{Abilities, About, Act, Button, Chat, Delivery, Failing};
use zeroize::Zeroizing;

use crate::calls::{Token, call};
use crate::clock::now_ms;
use crate::http::{Ask, Base, encode};
use crate::jwt::{PrivateKey, Rules, bearer};
use crate::keys::{Keys, KeysError, Place};
use crate::marks::GOOGLE;
use crate::network::{Account, Answer, DeliverError, File, Hook, Network, OpenError, Setup, account, needs};
use crate::note::{Attempt, Steps};
use crate::reading::{id, name, path_id};
use crate::sink::Sink;

/// Who signs for an app whose audience is its project's number, and who for one whose audience is its address.
const ISSUERS: (&str, &str) = ("chat@system.gserviceaccount.com", "https://accounts.google.com");
/// What the account may do: act as the app.
const SCOPE: &str = "https://www.googleapis.com/auth/chat.bot";
/// Characters of a message: Google takes 32,000 bytes of text and cards together.
const TEXT_MAX: u32 = 7_000;
/// Google repeats no event; what is older than this is a replay.
const AGE_MS_MAX: i64 = 60 * 60 * 1_000;

/// The network.
pub(crate) struct GoogleChat;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// The authentication audience as the app's page shows it: the project's number or the address of the endpoint.
    audience: String,
    #[serde(default = "base_url")]
    base_url: String,
    #[serde(default = "token_url")]
    token_url: String,
    /// Where Google publishes the keys that sign events.
    #[serde(default)]
    keys_url: Option<String>,
}

fn base_url() -> String {
    "https://chat.googleapis.com".to_owned()
}

fn token_url() -> String {
    "https://oauth2.googleapis.com/token".to_owned()
}

/// What is read of a service account's key file. Its addresses are not: they would say where the proof is sent.
#[derive(Deserialize)]
struct KeyFile {
    client_email: String,
    private_key: String,
}

impl Network for GoogleChat {
    fn about(&self) -> About {
        About {
            addresses: ["token_url", "keys_url"].map(str::to_owned).to_vec(),
            webhooks: true,
            ..needs(
                "googlechat",
                "Google Chat as an app with an HTTP endpoint",
                &["chat.googleapis.com:443", "oauth2.googleapis.com:443", "www.googleapis.com:443"],
                &[("service_account", "the key file (JSON) of the app's service account", true)],
            )
        }
    }

    fn open(&self, setup: Setup) -> Result<Arc<dyn Account>, OpenError> {
        let config: Config = setup.config()?;
        let by_number = !config.audience.is_empty() && config.audience.bytes().all(|b| b.is_ascii_digit());
        let published = match &config.keys_url {
            Some(url) => url.clone(),
            None if by_number => format!("https://www.googleapis.com/service_accounts/v1/jwk/{}", ISSUERS.0),
            None => "https://www.googleapis.com/oauth2/v3/certs".to_owned(),
        };
        let address = |key: &str, url: &str| url.parse::<Uri>().map_err(|_| OpenError::Config(format!("`{key}` is none")));
        Ok(Arc::new(App {
            base: Base::named("base_url", &config.base_url)?,
            token_url: address("token_url", &config.token_url)?,
            keys: Keys::new(setup.http.clone(), Place::Keys(address("keys_url", &published)?)),
            audience: config.audience,
            by_number,
            token: Token::default(),
            setup,
        }))
    }
}

/// One app.
struct App {
    setup: Setup,
    base: Base,
    token_url: Uri,
    keys: Keys,
    audience: String,
    /// Whether the audience is the project's number.
    by_number: bool,
    token: Token,
}

impl Account for App {
    fn listen(self: Arc<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            self.setup.introduce(abilities(), || async { self.bearer().await.map(|_| account("users/app")) }).await;
        })
    }

    fn deliver<'a>(&'a self, delivery: &'a Delivery, files: &'a [File], steps: &'a Steps) -> BoxFuture<'a, Result<(), DeliverError>> {
        Box::pin(async move {
            let space = resource(&delivery.to.chat, &["spaces"])?;
            match &delivery.act {
                Act::Send { text, buttons, .. } => {
                    if !files.is_empty() {
                        return Err(DeliverError::never("Google lets no app upload files"));
                    }
                    let mut body = said(text, buttons);
                    let mut more = String::new();
                    if let Some(thread) = &delivery.to.thread {
                        body["thread"] = json!({"name": resource(thread, &["spaces", "threads"])?});
                        more = "&messageReplyOption=REPLY_MESSAGE_FALLBACK_TO_NEW_THREAD".to_owned();
                    }
                    // The same request id gives the message that it made, and makes no second one.
                    let send = |attempt: Attempt| async move {
                        let url = self.base.at(&format!("/v1/{space}/messages?requestId={}{more}", attempt.key(43)))?;
                        let answer = self.ask(Ask::post(url, &body)).await?;
                        id(&answer["name"]).ok_or_else(|| DeliverError::new(Failing::Unknown, "Google named no message"))
                    };
                    steps.once("text", send).await.map(drop)
                }
                Act::Edit { message, text, buttons } => {
                    let url = self.base.at(&format!("/v1/{}?updateMask=text,cardsV2", resource(message, &["spaces", "messages"])?))?;
                    let mut body = said(text, buttons);
                    if body["cardsV2"].is_null() {
                        body["cardsV2"] = json!([]);
                    }
                    let patch = |_| async { self.ask(Ask::new(Method::PATCH, url).json(&body)).await.map(|_| message.clone()) };
                    steps.once("edit", patch).await.map(drop)
                }
                Act::React { .. } => Err(DeliverError::never("Google lets no app react to messages")),
            }
        })
    }

    fn webhook(&self, request: Hook) -> BoxFuture<'_, Answer> {
        Box::pin(async move {
            let Some(token) = bearer(request.header("authorization")) else { return Answer::status(401) };
            let issuer = if self.by_number { ISSUERS.0 } else { ISSUERS.1 };
            let rules = Rules { issuers: &[issuer], audience: &self.audience };
            let claims = match self.keys.check(token, &rules).await {
                Ok((claims, _)) => claims,
                Err(KeysError::Token(_)) => return Answer::status(401),
                Err(KeysError::Fetch(_)) => return Answer::status(503),
            };
            // Google signs tokens of everybody with the same keys: this one has to be Chat's.
            let chats = claims["email"] == ISSUERS.0 && claims["email_verified"] == true;
            if !(self.by_number || chats) {
                return Answer::status(401);
            }
            let Ok(event) = serde_json::from_slice::<Value>(&request.body) else { return Answer::status(400) };
            if let Some(heard) = heard::read(&event) {
                // A token signs no body: what is old came from somebody who kept it.
                if heard.at_ms.abs_diff(now_ms()) > AGE_MS_MAX.unsigned_abs() {
                    return Answer::status(403);
                }
                if self.setup.link.tell(heard, None).await.is_err() {
                    return Answer::status(503);
                }
            }
            Answer::json(&json!({}))
        })
    }

    fn fetch<'a>(&'a self, file: &'a str, sink: &'a mut Sink) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            // A resource name of media may have slashes and more in it; as one piece of a path it leads nowhere else.
            let url = self.base.at(&format!("/v1/media/{}?alt=media", encode(file))).map_err(|e| e.to_string())?;
            let token = self.bearer().await.map_err(|e| e.to_string())?;
            self.setup.http.send(Ask::get(url).bearer(&token)).await.map_err(|e| e.to_string())?.into_sink(sink).await
        })
    }

    fn open_dm<'a>(&'a self, handle: &'a str) -> BoxFuture<'a, Result<Chat, String>> {
        Box::pin(async move {
            let person = resource(handle, &["users"]).map_err(|e| e.to_string())?;
            let url = self.base.at(&format!("/v1/spaces:findDirectMessage?name={}", encode(&person))).map_err(|e| e.to_string())?;
            let space = self.ask(Ask::get(url)).await.map_err(|e| e.to_string())?;
            let id = id(&space["name"]).ok_or("Google named no chat")?;
            Ok(Chat { id, name: name(&space["displayName"]), group: false })
        })
    }
}

fn abilities() -> Abilities {
    Abilities {
        text_max: TEXT_MAX,
        threads: true,
        edit: true,
        buttons: true,
        open_dm: true,
        idempotent: true,
        per_minute: 60,
        ..Abilities::default()
    }
}

impl App {
    async fn ask(&self, ask: Ask) -> Result<Value, DeliverError> {
        let token = self.bearer().await?;
        let called = call(&self.setup.http, ask.bearer(&token)).await?;
        if called.status == http::StatusCode::UNAUTHORIZED {
            self.token.forget().await;
            return Err(DeliverError::new(Failing::Passing, "Google did not take the token; a new one will be drawn"));
        }
        called.ok(|body| body["error"]["message"].as_str().unwrap_or_default().to_owned())
    }

    async fn bearer(&self) -> Result<Zeroizing<String>, DeliverError> {
        let credential = |why: String| DeliverError::new(Failing::Credential, why);
        let draw = || async {
            let text = self.setup.credentials.text("service_account").map_err(|e| credential(e.to_string()))?;
            let file: KeyFile = serde_json::from_str(&text)
                .map_err(|_| credential("the credential `service_account` is no key file of Google's".to_owned()))?;
            let pem = Zeroizing::new(file.private_key);
            let key = PrivateKey::read(&pem).map_err(|e| credential(model::chain(&e)))?;
            let aud = self.token_url.to_string();
            let proof = key.sign(json!({"iss": file.client_email, "scope": SCOPE, "aud": aud}), now_ms() / 1_000);
            let proof = proof.map_err(|e| credential(e.to_string()))?;
            let form = [("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"), ("assertion", proof.as_str())];
            let called = call(&self.setup.http, Ask::new(Method::POST, self.token_url.clone()).form(&form)).await?;
            if matches!(called.body["error"].as_str(), Some("invalid_grant" | "invalid_client" | "unauthorized_client")) {
                return Err(credential("Google does not take the service account's key".to_owned()));
            }
            let body = called.ok(|body| body["error"].as_str().unwrap_or_default().to_owned())?;
            let token = body["access_token"].as_str().ok_or_else(|| DeliverError::new(Failing::Passing, "Google gave no token"))?;
            Ok((Zeroizing::new(token.to_owned()), body["expires_in"].as_i64().unwrap_or(0)))
        };
        self.token.get(now_ms(), draw).await
    }
}

/// A resource's name of the form `spaces/X/messages/Y`, for the kinds that are given: no other becomes a path.
fn resource(text: &str, kinds: &[&str]) -> Result<String, DeliverError> {
    let pieces: Vec<&str> = text.split('/').collect();
    let fine =
        pieces.len() == 2 * kinds.len() && pieces.chunks(2).zip(kinds).all(|(pair, kind)| pair[0] == *kind && path_id(pair[1]).is_some());
    if fine { Ok(text.to_owned()) } else { Err(DeliverError::never("that is no name of Google Chat's")) }
}

/// A text with its buttons.
fn said(text: &str, buttons: &[Button]) -> Value {
    // A model may not call everybody in a room.
    let text = GOOGLE.of(text).replace("<users/", "<\u{200B}users/");
    if buttons.is_empty() {
        return json!({"text": text});
    }
    let button = |button: &Button| {
        let action = json!({"function": heard::PRESSED, "parameters": [{"key": "value", "value": button.value}]});
        json!({"text": button.label, "onClick": {"action": action}})
    };
    let widget = json!({"buttonList": {"buttons": buttons.iter().map(button).collect::<Vec<_>>()}});
    json!({"text": text, "cardsV2": [{"cardId": "lazaret", "card": {"sections": [{"widgets": [widget]}]}}]})
}

/// Reads anything, for the test of that.
#[cfg(test)]
pub(crate) fn hostile(value: &Value) -> bool {
    heard::read(value).is_some()
}
