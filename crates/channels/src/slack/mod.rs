//! Slack, by Socket Mode or the Events API in, and the Web API out.
//!
//! Slack tells an event again until its envelope or request is acknowledged, which is done when the host has it for good. Slack
//! takes no idempotency key: each message carries its step in its metadata, and a step in doubt is looked up there.

mod api;
mod event;
mod socket;

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Value, json};
use wire::chat::{Abilities, About, Act, Address, Button, Chat, Delivery, Failing, Who};
use zeroize::Zeroizing;

use crate::backoff::{Backoff, Trouble};
use crate::calls::trouble;
use crate::clock::now_ms;
use crate::http::{Base, decode};
use crate::link::Gone;
use crate::network::{Account, Answer, DeliverError, File, Hook, Network, OpenError, Setup, needs};
use crate::note::Steps;
use crate::sink::Sink;
use crate::text::{mrkdwn, split};
use crate::{reading, sign};
use api::Api;

/// Characters of a text: what a section of blocks takes.
const TEXT_MAX: usize = 3000;
/// The largest file that is sent, in bytes.
const FILE_BYTES_MAX: u64 = 50 << 20;
/// Buttons below a message.
const BUTTONS_MAX: usize = 25;
/// The version of the signature.
const SIGNED: &str = "v0";

/// The network.
pub(crate) struct Slack;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    base_url: String,
    mode: Mode,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    /// Socket Mode: Slack is connected to.
    Socket,
    /// The Events API: Slack sends requests.
    Webhook,
}

impl Default for Config {
    fn default() -> Self {
        Self { base_url: "https://slack.com/api".to_owned(), mode: Mode::Socket }
    }
}

impl Network for Slack {
    fn about(&self) -> About {
        About {
            webhooks: true,
            ..needs(
                "slack",
                "Slack, as an app",
                &["slack.com", "files.slack.com", "wss-primary.slack.com", "wss-backup.slack.com"],
                &[
                    ("token", "the bot token of the app, xoxb-...", true),
                    ("app_token", "the app-level token, xapp-..., for mode = \"socket\"", false),
                    ("signing_secret", "the signing secret of the app, for mode = \"webhook\"", false),
                ],
            )
        }
    }

    fn open(&self, setup: Setup) -> Result<Arc<dyn Account>, OpenError> {
        let config: Config = setup.config()?;
        let base = Base::named("base_url", &config.base_url)?;
        let api = Api::new(base, setup.http.clone(), setup.credentials.line("token")?);
        let (app_token, secret) = match config.mode {
            Mode::Socket => (Some(setup.credentials.line("app_token")?), None),
            Mode::Webhook => (None, Some(setup.credentials.line("signing_secret")?)),
        };
        Ok(Arc::new(App { api, mode: config.mode, app_token, secret, setup, me: Mutex::new(None) }))
    }
}

struct App {
    api: Api,
    mode: Mode,
    app_token: Option<Zeroizing<String>>,
    secret: Option<Zeroizing<String>>,
    setup: Setup,
    /// The app itself, once Slack said who it is. Never held across an await.
    me: Mutex<Option<event::Me>>,
}

impl Account for App {
    fn listen(self: Arc<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let mut backoff = Backoff::default();
            loop {
                let outcome = tokio::select! {
                    biased;
                    () = self.setup.cancel.cancelled() => return,
                    outcome = self.connected(&mut backoff) => outcome,
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
                Act::Send { text, buttons, .. } => self.send(&delivery.to, text, files, buttons, steps).await,
                Act::Edit { message, text, buttons } => {
                    let mut body = self.message(&delivery.to.chat, text, buttons)?;
                    body["ts"] = json!(message);
                    let edit = |_| async { self.api.call("chat.update", &body).await.map(|_| message.clone()) };
                    steps.once("edit", edit).await.map(drop)
                }
                Act::React { message, emoji } => {
                    let name = event::name_of(emoji).ok_or_else(|| DeliverError::never("Slack has no name for this emoji"))?;
                    let body = json!({"channel": delivery.to.chat, "timestamp": message, "name": name});
                    let react = |_| async {
                        match self.api.call("reactions.add", &body).await {
                            Err(error) if error.message.contains("already_reacted") => Ok(String::new()),
                            other => other.map(|_| String::new()),
                        }
                    };
                    steps.once("react", react).await.map(drop)
                }
            }
        })
    }

    fn webhook(&self, request: Hook) -> BoxFuture<'_, Answer> {
        Box::pin(async move {
            let (Mode::Webhook, "POST", Some(secret)) = (self.mode, request.method.as_str(), &self.secret) else {
                return Answer::status(404);
            };
            if !is_signed(&request, secret.as_bytes(), now_ms()) {
                return Answer::status(401);
            }
            match self.take_request(&request).await {
                Ok(answer) => answer,
                Err(Gone) => Answer::status(503),
            }
        })
    }

    fn fetch<'a>(&'a self, file: &'a str, sink: &'a mut Sink) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move { self.api.download(file, sink).await })
    }

    fn open_dm<'a>(&'a self, handle: &'a str) -> BoxFuture<'a, Result<Chat, String>> {
        Box::pin(async move {
            let found = self.api.call("conversations.open", &json!({"users": handle})).await.map_err(|e| e.to_string())?;
            let id = reading::id(&found["channel"]["id"]).ok_or("Slack names no chat")?;
            Ok(Chat { id, name: String::new(), group: false })
        })
    }
}

impl App {
    fn me(&self) -> Option<event::Me> {
        self.me.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn connected(&self, backoff: &mut Backoff) -> Result<(), Trouble> {
        let found = self.api.call("auth.test", &json!({})).await.map_err(trouble)?;
        let me = event::me(&found).ok_or_else(|| Trouble::passing("Slack does not say who the app is"))?;
        let who = Who { id: me.user.clone(), name: reading::name(&found["user"]), bot: true };
        *self.me.lock().unwrap_or_else(PoisonError::into_inner) = Some(me.clone());
        let Some(app_token) = &self.app_token else {
            self.setup.link.ready(who, abilities()).await;
            return Ok(());
        };
        self.socket(app_token, &me, who, backoff).await
    }

    /// Reports what an event tells, when it is something.
    async fn report(&self, payload: &Value, kind: &str, me: &event::Me) -> Result<Option<u64>, Gone> {
        let heard = match kind {
            "events_api" => event::heard(payload, me),
            "interactive" => event::pressed(payload),
            _ => None,
        };
        match heard {
            Some(heard) => self.setup.link.report(heard, None).await.map(Some),
            None => Ok(None),
        }
    }

    async fn take_request(&self, request: &Hook) -> Result<Answer, Gone> {
        let form = request.header("content-type").is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
        let body = if form {
            // What people press comes as a form with one field.
            let text = String::from_utf8_lossy(&request.body);
            let field = text.split('&').find_map(|pair| pair.strip_prefix("payload=")).and_then(decode);
            field.and_then(|field| serde_json::from_str(&field).ok())
        } else {
            serde_json::from_slice::<Value>(&request.body).ok()
        };
        let Some(body) = body else { return Ok(Answer::status(400)) };
        if body["type"] == "url_verification" {
            return Ok(Answer::text(reading::text(&body["challenge"])));
        }
        let Some(me) = self.me() else { return Ok(Answer::status(503)) };
        if let Some(seq) = self.report(&body, if form { "interactive" } else { "events_api" }, &me).await? {
            self.setup.link.acked(seq).await?;
        }
        Ok(Answer::status(200))
    }

    async fn send(&self, to: &Address, text: &str, files: &[File], buttons: &[Button], steps: &Steps) -> Result<(), DeliverError> {
        let pieces = if text.trim().is_empty() { Vec::new() } else { split(text, TEXT_MAX - 100, escaped) };
        if pieces.is_empty() && files.is_empty() {
            return Err(DeliverError::never("there is nothing to send"));
        }
        // An answer to a message that is in no thread stays where it is asked for: a reply there would begin a thread.
        let thread = to.thread.as_deref();
        for (n, piece) in pieces.iter().enumerate() {
            let last = n + 1 == pieces.len();
            let mut body = self.message(&to.chat, piece, if last { buttons } else { &[] })?;
            if let Some(thread) = thread {
                body["thread_ts"] = json!(thread);
            }
            let post = |attempt: crate::note::Attempt| async move {
                let key = attempt.key(43);
                if attempt.doubtful
                    && let Some(found) = self.api.find(&to.chat, thread, &key).await?
                {
                    return Ok(found);
                }
                body["metadata"] = json!({"event_type": api::STEP, "event_payload": {"key": key}});
                let posted = self.api.call("chat.postMessage", &body).await?;
                reading::id(&posted["ts"]).ok_or_else(|| DeliverError::new(Failing::Unknown, "Slack does not say which message it became"))
            };
            steps.once(&format!("text {n}"), post).await?;
        }
        for (n, file) in files.iter().enumerate() {
            if file.bytes.len() as u64 > FILE_BYTES_MAX {
                return Err(DeliverError::never("the file is larger than is sent"));
            }
            steps.once(&format!("file {n}"), |attempt| self.api.upload(&to.chat, thread, file, attempt.doubtful)).await?;
        }
        Ok(())
    }

    /// A message with buttons, in Slack's form.
    fn message(&self, chat: &str, text: &str, buttons: &[Button]) -> Result<Value, DeliverError> {
        if buttons.len() > BUTTONS_MAX || buttons.iter().any(|b| b.value.is_empty() || b.label.is_empty()) {
            return Err(DeliverError::never("there are too many buttons, or one is empty"));
        }
        let written = mrkdwn(text);
        if written.chars().count() > TEXT_MAX {
            return Err(DeliverError::never("the text is longer than a message of Slack's"));
        }
        let mut blocks = vec![json!({"type": "section", "text": {"type": "mrkdwn", "text": written, "verbatim": true}})];
        let button = |(n, b): (usize, &Button)| {
            json!({"type": "button", "action_id": format!("b{n}"), "value": b.value,
                "text": {"type": "plain_text", "text": reading::clip_chars(&b.label, 75)}})
        };
        if !buttons.is_empty() {
            blocks.push(json!({"type": "actions", "elements": buttons.iter().enumerate().map(button).collect::<Vec<_>>()}));
        }
        Ok(json!({"channel": chat, "text": written, "blocks": blocks, "unfurl_links": false, "unfurl_media": false}))
    }
}

/// What a character becomes in Slack's form.
fn escaped(c: char) -> usize {
    match c {
        '&' => 5,
        '<' | '>' => 4,
        _ => 1,
    }
}

fn abilities() -> Abilities {
    Abilities {
        text_max: u32::try_from(TEXT_MAX - 200).unwrap_or(0),
        file_max: FILE_BYTES_MAX,
        threads: true,
        edit: true,
        react: true,
        buttons: true,
        // An app is not shown writing.
        open_dm: true,
        idempotent: true,
        per_minute: 60,
        ..Abilities::default()
    }
}

/// Whether a request is Slack's own and of now: the HMAC of version, time and body under the signing secret.
fn is_signed(request: &Hook, secret: &[u8], now_ms: i64) -> bool {
    let (Some(at), Some(signature)) = (request.header("x-slack-request-timestamp"), request.header("x-slack-signature")) else {
        return false;
    };
    let is_recent = at.parse::<i64>().ok().and_then(|at| at.checked_mul(1000)).is_some_and(|at| sign::is_recent(at, now_ms));
    let hex = signature.strip_prefix("v0=").unwrap_or_default();
    let head = format!("{SIGNED}:{at}:");
    is_recent && sign::is_hmac_sha256_hex(secret, &[head.as_bytes(), &request.body], hex)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_slacks_own_and_of_now() {
        // The example of Slack's documentation.
        let secret = b"8f742231b10e8888abcd99yyyzzz85a5";
        let body = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
        let signature = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503";
        let at = 1_531_420_618;
        let request = |at: &str, signature: &str, body: &str| Hook {
            method: "POST".to_owned(),
            path: String::new(),
            query: String::new(),
            headers: vec![("x-slack-request-timestamp".to_owned(), at.to_owned()), ("x-slack-signature".to_owned(), signature.to_owned())],
            body: body.to_owned().into(),
        };
        let now = at * 1000 + 1;
        assert!(is_signed(&request("1531420618", signature, body), secret, now));
        assert!(!is_signed(&request("1531420618", signature, body), secret, now + sign::WINDOW_MS));
        assert!(!is_signed(&request("1531420618", signature, &(body.to_owned() + "&")), secret, now));
        assert!(!is_signed(&request("1531420619", signature, body), secret, now));
        assert!(!is_signed(&request("1531420618", &signature[3..], body), secret, now));
        assert!(!is_signed(&request("1531420618", signature, body), b"other", now));
        assert!(!is_signed(&request("9223372036854775807", signature, body), secret, now));
        let mut twice = request("1531420618", signature, body);
        twice.headers.push(("x-slack-signature".to_owned(), "v0=00".to_owned()));
        assert!(!is_signed(&twice, secret, now));
    }
}
