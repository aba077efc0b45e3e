//! A network of anybody's own: signed requests in, signed requests out.
//!
//! A message comes as a request whose header `X-Lazaret-Signature` proves who sent it: `t=SECONDS,v1=HEX`, where HEX is the
//! HMAC-SHA256 of the seconds of the Unix epoch, a dot and the body, under the account's secret. It is the form in which the
//! ends of jobs are told. Answers go out in the same form, with the delivery's own `Idempotency-Key`.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::BoxFuture;
use http::header::HeaderName;
use http::{Method, Uri};
use serde::Deserialize;
use serde_json::{Value, json};
use wire::chat::{Abilities, About, Act, Attachment, Chat, Delivery, Heard, HeardKind, Quoted, Who};
use zeroize::Zeroizing;

use crate::clock::now_ms;
use crate::http::{Ask, Base, refused};
use crate::network::{Account, Answer, DeliverError, File, Hook, Network, OpenError, Setup, needs};
use crate::note::Steps;
use crate::reading;
use crate::sign::{self, First, Seen};
use crate::sink::Sink;
use crate::surroundings::CredentialError;

/// Characters of a message that goes out.
const TEXT_MAX: u32 = 32_000;
/// The largest file that goes out, in bytes: it travels inside the request.
const FILE_BYTES_MAX: u64 = 10 << 20;
/// The shortest secret, in bytes.
const SECRET_BYTES_MIN: usize = 16;
/// The signature of a request.
const SIGNATURE: &str = "x-lazaret-signature";

/// The network.
pub(crate) struct Webhook;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Where answers go. Without one nothing can be sent.
    base_url: Option<String>,
}

impl Network for Webhook {
    fn about(&self) -> About {
        About {
            webhooks: true,
            ..needs(
                "webhook",
                "Programs of your own, by signed requests; base_url is where answers go",
                &[],
                &[("secret", "a secret of at least 16 bytes that both sides sign with", true)],
            )
        }
    }

    fn open(&self, setup: Setup) -> Result<Arc<dyn Account>, OpenError> {
        let config: Config = setup.config()?;
        let base = config.base_url.as_deref().map(|url| Base::named("base_url", url)).transpose()?;
        let secret = setup.credentials.line("secret")?;
        if secret.len() < SECRET_BYTES_MIN {
            return Err(CredentialError::Bad("secret".to_owned(), "it has fewer than 16 bytes").into());
        }
        Ok(Arc::new(Peer { base, secret, setup, seen: Seen::default(), under_way: Mutex::default() }))
    }
}

struct Peer {
    base: Option<Base>,
    secret: Zeroizing<String>,
    setup: Setup,
    /// Signatures whose message the host has, or is about to have.
    seen: Seen,
    /// Those that the host does not have yet. Never held across an await.
    under_way: Mutex<HashSet<String>>,
}

/// A message as a peer sends it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    id: String,
    chat: String,
    #[serde(default)]
    chat_name: String,
    #[serde(default)]
    group: bool,
    thread: Option<String>,
    sender: Sender,
    #[serde(default)]
    text: String,
    mention: Option<bool>,
    #[serde(default = "message")]
    kind: HeardKind,
    about: Option<String>,
    value: Option<String>,
    quoted: Option<Quoted>,
    #[serde(default)]
    files: Vec<Linked>,
    at_ms: Option<i64>,
}

fn message() -> HeardKind {
    HeardKind::Message
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sender {
    id: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    bot: bool,
}

/// A file that the peer's own server has.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Linked {
    url: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    mime: String,
    size: Option<u64>,
}

impl From<Said> for Heard {
    fn from(said: Said) -> Self {
        let file = |file: Linked| Attachment { id: file.url, name: file.name, mime: file.mime, size: file.size };
        Self {
            kind: said.kind,
            id: said.id,
            mention: said.mention.unwrap_or(!said.group),
            chat: Chat { id: said.chat, name: said.chat_name, group: said.group },
            thread: said.thread,
            sender: Who { id: said.sender.id, name: said.sender.name, bot: said.sender.bot },
            text: said.text,
            quoted: said.quoted,
            about: said.about,
            value: said.value,
            files: said.files.into_iter().map(file).collect(),
            at_ms: said.at_ms.unwrap_or_else(now_ms),
        }
    }
}

impl Account for Peer {
    fn listen(self: Arc<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let me = Who { id: self.setup.account.clone(), name: self.setup.account.clone(), bot: true };
            self.setup.link.ready(me, abilities()).await;
        })
    }

    fn deliver<'a>(&'a self, delivery: &'a Delivery, files: &'a [File], steps: &'a Steps) -> BoxFuture<'a, Result<(), DeliverError>> {
        Box::pin(async move {
            let base = self.base.as_ref().ok_or_else(|| DeliverError::never("the account has no base_url, so nothing can be sent"))?;
            if files.iter().map(|file| file.bytes.len() as u64).sum::<u64>() > FILE_BYTES_MAX {
                return Err(DeliverError::never("the files are larger than one request takes"));
            }
            let mut body = json!({"chat": delivery.to.chat, "thread": delivery.to.thread});
            let shown: Vec<Value> =
                files.iter().map(|f| json!({"name": f.name(), "mime": f.mime(), "data": STANDARD.encode(&f.bytes)})).collect();
            let kept = match &delivery.act {
                Act::Send { text, reply_to, buttons, .. } => {
                    merge(&mut body, json!({"do": "send", "text": text, "reply_to": reply_to, "buttons": buttons, "files": shown}));
                    None
                }
                Act::Edit { message, text, buttons } => {
                    merge(&mut body, json!({"do": "edit", "message": message, "text": text, "buttons": buttons}));
                    Some(message.clone())
                }
                Act::React { message, emoji } => {
                    merge(&mut body, json!({"do": "react", "message": message, "emoji": emoji}));
                    Some(String::new())
                }
            };
            let post = |attempt: crate::note::Attempt| async move {
                let key = attempt.key(43);
                merge(&mut body, json!({"id": key}));
                let found = self.post(base, &key, &body).await?;
                Ok(kept.unwrap_or_else(|| reading::id(&found["id"]).unwrap_or(key)))
            };
            steps.once("post", post).await.map(drop)
        })
    }

    fn webhook(&self, request: Hook) -> BoxFuture<'_, Answer> {
        Box::pin(async move {
            if request.method != "POST" {
                return Answer::status(405);
            }
            if !matches!(request.path.as_str(), "" | "/") {
                return Answer::status(404);
            }
            let now = now_ms();
            let Some(signature) = signed(&request, self.secret.as_bytes(), now) else { return Answer::status(401) };
            let said = match serde_json::from_slice::<Said>(&request.body) {
                Ok(said) => said,
                Err(error) => return Answer { status: 400, ..Answer::text(format!("{error}\n")) },
            };
            match self.seen.first(&signature, now) {
                First::Yes => {}
                // The first of them is not answered yet; this one is no proof that the host has it.
                First::No if self.lock().contains(&signature) => return Answer::status(409),
                First::No => return Answer::json(&json!({"status": "known"})),
                First::Full => return Answer::status(503),
            }
            self.lock().insert(signature.clone());
            let mut telling = Telling { peer: self, signature, is_taken: false };
            telling.is_taken = self.setup.link.tell(said.into(), None).await.is_ok();
            if telling.is_taken { Answer::json(&json!({"status": "taken"})) } else { Answer::status(503) }
        })
    }

    fn fetch<'a>(&'a self, file: &'a str, sink: &'a mut Sink) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            let url: Uri = file.parse().map_err(|_| "the file has no usable address")?;
            if !self.base.as_ref().is_some_and(|base| base.is_origin_of(&url)) {
                return Err("the file lies elsewhere than answers go".to_owned());
            }
            let path = url.path_and_query().map_or("/", |path| path.as_str()).to_owned();
            let ask = self.sign(Ask::new(Method::GET, url), path.as_bytes());
            self.setup.http.send(ask).await.map_err(|e| e.to_string())?.into_sink(sink).await
        })
    }
}

/// A request that the host does not have yet. Where it does not come to have it, also because nobody waits any more, the same request may
/// come again.
struct Telling<'a> {
    peer: &'a Peer,
    signature: String,
    is_taken: bool,
}

impl Drop for Telling<'_> {
    fn drop(&mut self) {
        if !self.is_taken {
            self.peer.seen.forget(&self.signature);
        }
        self.peer.lock().remove(&self.signature);
    }
}

impl Peer {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn post(&self, base: &Base, key: &str, body: &Value) -> Result<Value, DeliverError> {
        let text = body.to_string();
        let ask = Ask::new(Method::POST, base.at("")?).header(HeaderName::from_static("idempotency-key"), key);
        let ask = self.sign(ask, text.as_bytes()).body("application/json", text);
        let reply = self.setup.http.send(ask).await?;
        let (status, after) = (reply.status, reply.retry_after());
        if !status.is_success() {
            return Err(refused(status, after, ""));
        }
        // What stands in the answer is the peer's own affair.
        Ok(reply.json().await.unwrap_or_default())
    }

    fn sign(&self, ask: Ask, body: &[u8]) -> Ask {
        let at = (now_ms() / 1000).to_string();
        let tag = sign::hex(&sign::hmac_sha256(self.secret.as_bytes(), &[at.as_bytes(), b".", body]));
        ask.header(HeaderName::from_static(SIGNATURE), &format!("t={at},v1={tag}"))
    }
}

fn merge(into: &mut Value, more: Value) {
    if let (Some(into), Value::Object(more)) = (into.as_object_mut(), more) {
        into.extend(more);
    }
}

/// The signature of a request that is the peer's own and of now.
fn signed(request: &Hook, secret: &[u8], now_ms: i64) -> Option<String> {
    let (at, signature) = request.header(SIGNATURE)?.strip_prefix("t=")?.split_once(',')?;
    let recent = at.parse::<i64>().ok()?.checked_mul(1000).is_some_and(|at| sign::is_recent(at, now_ms));
    let hex = signature.strip_prefix("v1=")?.to_ascii_lowercase();
    (recent && sign::is_hmac_sha256_hex(secret, &[at.as_bytes(), b".", &request.body], &hex)).then_some(hex)
}

fn abilities() -> Abilities {
    Abilities {
        text_max: TEXT_MAX,
        file_max: FILE_BYTES_MAX,
        threads: true,
        edit: true,
        react: true,
        buttons: true,
        idempotent: true,
        per_minute: 600,
        ..Abilities::default()
    }
}
