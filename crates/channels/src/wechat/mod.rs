//! WeChat for an official account: requests of the platform in, customer service messages out. A person takes five of them, for
//! 48 hours after they wrote. The platform names no message that it took, so none can be edited or answered.

mod crypt;
mod heard;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::{Method, Uri};
use serde::Deserialize;
use serde_json::{Value, json};
use wire::chat::{Abilities, About, Act, Address, Button, Delivery, Failing};
use zeroize::Zeroizing;

use crate::calls::{Recent, Token, call, marked};
use crate::clock::now_ms;
use crate::http::{Ask, Base, Multipart, encode};
use crate::network::{Account, Answer, DeliverError, File, Hook, Network, OpenError, Setup, account, needs};
use crate::note::{Attempt, Steps};
use crate::sign::{hex, is_recent};
use crate::sink::Sink;
use crate::surroundings::CredentialError;
use crypt::{Crypt, is_signed};
use heard::Fields;

/// Characters of a message: 2,048 bytes of three each.
const TEXT_MAX: u32 = 600;
/// Bytes of a message.
const TEXT_BYTES_MAX: usize = 2_048;
/// The largest picture or film, and the largest sound, in bytes.
const MEDIA_BYTES_MAX: (usize, usize) = (10 << 20, 2 << 20);
/// Signatures that are remembered in the plain mode.
const SIGNATURES_MAX: usize = 50_000;
/// How long to wait after the quota of a minute, and of a day, is used up.
const LATER: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(3_600));

/// The network.
pub(crate) struct WeChat;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    app_id: String,
    /// Whether messages come unencrypted. Their signature says nothing of their text then: whoever sees one request can send
    /// another text with it within minutes.
    #[serde(default)]
    plain: bool,
    #[serde(default = "base_url")]
    base_url: String,
}

fn base_url() -> String {
    "https://api.weixin.qq.com".to_owned()
}

impl Network for WeChat {
    fn about(&self) -> About {
        About {
            webhooks: true,
            ..needs(
                "wechat",
                "WeChat as an official account",
                &["api.weixin.qq.com:443"],
                &[
                    ("app_secret", "the account's AppSecret", true),
                    ("token", "the token of the server's configuration", true),
                    ("encoding_key", "the EncodingAESKey of the server's configuration", false),
                ],
            )
        }
    }

    fn open(&self, setup: Setup) -> Result<Arc<dyn Account>, OpenError> {
        let config: Config = setup.config()?;
        setup.credentials.line("app_secret")?;
        let crypt = match config.plain {
            true => None,
            false => {
                let key = setup.credentials.line("encoding_key")?;
                Some(
                    Crypt::new(&key, &config.app_id)
                        .map_err(|_| CredentialError::Bad("encoding_key".to_owned(), "it is not 43 characters of base64"))?,
                )
            }
        };
        Ok(Arc::new(Official {
            base: Base::named("base_url", &config.base_url)?,
            verify: setup.credentials.line("token")?,
            app: config.app_id,
            crypt,
            bodies: Recent::new(SIGNATURES_MAX),
            token: Token::default(),
            setup,
        }))
    }
}

/// One official account.
struct Official {
    setup: Setup,
    base: Base,
    verify: Zeroizing<String>,
    app: String,
    /// `None` in the plain mode.
    crypt: Option<Crypt>,
    /// The body that each signature came with, in the plain mode.
    bodies: Recent<String>,
    token: Token,
}

impl Account for Official {
    fn listen(self: Arc<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            self.setup.introduce(abilities(), || async { self.token().await.map(|_| account(&self.app)) }).await;
        })
    }

    fn deliver<'a>(&'a self, delivery: &'a Delivery, files: &'a [File], steps: &'a Steps) -> BoxFuture<'a, Result<(), DeliverError>> {
        Box::pin(async move {
            let Act::Send { text, buttons, .. } = &delivery.act else {
                return Err(DeliverError::never("WeChat can neither edit messages nor react to them"));
            };
            let to = &delivery.to.chat;
            for file in files {
                kind(file)?;
            }
            if !text.trim().is_empty() || !buttons.is_empty() {
                let send = |attempt: Attempt| async move {
                    self.send(to, said(&marked(text, attempt.doubtful), buttons)?).await?;
                    // The platform gives no id; this one is the delivery's.
                    Ok(attempt.key(43))
                };
                steps.once("text", send).await?;
            }
            for (n, file) in files.iter().enumerate() {
                let send = |attempt: Attempt| async move {
                    let kind = kind(file)?;
                    let media = self.upload(file, kind).await?;
                    self.send(to, json!({"msgtype": kind, kind: {"media_id": media}})).await?;
                    Ok(attempt.key(43))
                };
                steps.once(&format!("file{n}"), send).await?;
            }
            Ok(())
        })
    }

    fn webhook(&self, request: Hook) -> BoxFuture<'_, Answer> {
        Box::pin(async move {
            let xml = match self.open(&request) {
                Ok(Opened::Challenge(answer)) => return Answer::text(answer),
                Ok(Opened::Message(xml)) => xml,
                Err(status) => return Answer::status(status),
            };
            let heard = Fields::read(&xml).as_ref().and_then(heard::read);
            match heard {
                // What is no message of a form that is known is taken: the platform would only repeat it.
                None => Answer::text("success"),
                Some(heard) => match self.setup.link.tell(heard, None).await {
                    Ok(()) => Answer::text("success"),
                    Err(_) => Answer::status(503),
                },
            }
        })
    }

    fn fetch<'a>(&'a self, file: &'a str, sink: &'a mut Sink) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            let url = self.at("media/get", &format!("&media_id={}", encode(file))).await.map_err(|e| e.to_string())?;
            let reply = self.setup.http.send(Ask::get(url)).await.map_err(|e| e.to_string())?;
            // An error comes as a success in JSON.
            if reply.header("content-type").is_some_and(|kind| kind.contains("json") || kind.starts_with("text/plain")) {
                return Err("WeChat has no such file".to_owned());
            }
            reply.into_sink(sink).await
        })
    }

    fn typing<'a>(&'a self, to: &'a Address, on: bool) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let command = if on { "Typing" } else { "CancelTyping" };
            let _ = self.post("message/custom/typing", &json!({"touser": to.chat, "command": command})).await;
        })
    }
}

fn abilities() -> Abilities {
    Abilities {
        text_max: TEXT_MAX,
        file_max: MEDIA_BYTES_MAX.0 as u64,
        buttons: true,
        typing: true,
        per_minute: 20,
        ..Abilities::default()
    }
}

/// What a request is, once its signature was checked.
enum Opened {
    /// The platform asks whether the address is ours; it wants this back.
    Challenge(String),
    /// A message in XML.
    Message(String),
}

impl Official {
    /// Checks a request's signature and time, and opens what is encrypted. Else the status to answer with.
    fn open(&self, request: &Hook) -> Result<Opened, u16> {
        let asked = |key: &str| request.query(key).ok_or(401_u16);
        let (timestamp, nonce) = (asked("timestamp")?, asked("nonce")?);
        let recent = timestamp.parse::<i64>().is_ok_and(|at| is_recent(at.saturating_mul(1_000), now_ms()));
        if !recent {
            return Err(401);
        }
        let plain = |signature: &str| is_signed(&mut [&self.verify, &timestamp, &nonce], signature);
        if request.method == "GET" {
            let signature = asked("signature")?;
            let echo = asked("echostr")?;
            return if plain(&signature) && echo.len() <= 256 { Ok(Opened::Challenge(echo)) } else { Err(401) };
        }
        let body = std::str::from_utf8(&request.body).map_err(|_| 400_u16)?;
        let Some(crypt) = &self.crypt else {
            let signature = asked("signature")?;
            // The signature says nothing of the body: it is good for one.
            let hash = hex(ring::digest::digest(&ring::digest::SHA256, &request.body).as_ref());
            if !plain(&signature) || self.bodies.get(&signature).is_some_and(|known| known != hash) {
                return Err(401);
            }
            self.bodies.put(&signature, hash);
            return Ok(Opened::Message(body.to_owned()));
        };
        let signature = asked("msg_signature")?;
        let fields = Fields::read(body).ok_or(400_u16)?;
        let sealed = fields.get("Encrypt").ok_or(400_u16)?;
        if !is_signed(&mut [&self.verify, &timestamp, &nonce, sealed], &signature) {
            return Err(401);
        }
        let opened = crypt.open(sealed).map_err(|_| 401_u16)?;
        String::from_utf8(opened).map(Opened::Message).map_err(|_| 400)
    }

    async fn send(&self, to: &str, mut body: Value) -> Result<(), DeliverError> {
        body["touser"] = json!(to);
        self.post("message/custom/send", &body).await.map(drop)
    }

    async fn upload(&self, file: &File, kind: &str) -> Result<String, DeliverError> {
        let url = self.at("media/upload", &format!("&type={kind}")).await?;
        let answer = self.ask(Ask::new(Method::POST, url).multipart(Multipart::new().file("media", file))).await?;
        answer["media_id"].as_str().map(str::to_owned).ok_or_else(|| DeliverError::new(Failing::Passing, "WeChat named no file"))
    }

    async fn post(&self, path: &str, body: &Value) -> Result<Value, DeliverError> {
        self.ask(Ask::post(self.at(path, "").await?, body)).await
    }

    /// An address of the API: it wants its token there.
    async fn at(&self, path: &str, more: &str) -> Result<Uri, DeliverError> {
        Ok(self.base.at(&format!("/cgi-bin/{path}?access_token={}{more}", encode(&self.token().await?)))?)
    }

    async fn ask(&self, ask: Ask) -> Result<Value, DeliverError> {
        let body = call(&self.setup.http, ask).await?.ok(|body| body["errmsg"].as_str().unwrap_or_default().to_owned())?;
        let code = body["errcode"].as_i64().unwrap_or(0);
        if matches!(code, 40_001 | 40_014 | 42_001) {
            self.token.forget().await;
        }
        refused(code, body["errmsg"].as_str().unwrap_or_default()).map_or(Ok(body), Err)
    }

    async fn token(&self) -> Result<Zeroizing<String>, DeliverError> {
        let draw = || async {
            let secret = self.setup.credentials.line("app_secret").map_err(|e| DeliverError::new(Failing::Credential, e.to_string()))?;
            // The stable token leaves those of other programs of the account alone.
            let url = self.base.at("/cgi-bin/stable_token")?;
            let asked = json!({"grant_type": "client_credential", "appid": self.app, "secret": *secret});
            let body = call(&self.setup.http, Ask::post(url, &asked)).await?.ok(|_| String::new())?;
            match body["errcode"].as_i64().unwrap_or(0) {
                0 => {}
                40_001 | 40_013 | 40_125 | 40_164 | 41_002 | 41_004 => {
                    return Err(DeliverError::new(Failing::Credential, "WeChat does not take the AppSecret, or not from this address"));
                }
                code => {
                    return Err(refused(code, "no token").unwrap_or_else(|| DeliverError::new(Failing::Passing, "WeChat gave no token")));
                }
            }
            let token = body["access_token"].as_str().ok_or_else(|| DeliverError::new(Failing::Passing, "WeChat gave no token"))?;
            Ok((Zeroizing::new(token.to_owned()), body["expires_in"].as_i64().unwrap_or(0)))
        };
        self.token.get(now_ms(), draw).await
    }
}

/// What a code means. `None` for success.
fn refused(code: i64, words: &str) -> Option<DeliverError> {
    let error = match code {
        0 => return None,
        -1 | 40_001 | 40_014 | 42_001 => DeliverError::new(Failing::Passing, format!("WeChat answered {code}")),
        45_011 => DeliverError::new(Failing::Rate, "WeChat was asked too often").after(Some(LATER.0)),
        45_009 => DeliverError::new(Failing::Rate, "the account's quota of today is used up").after(Some(LATER.1)),
        45_015 => DeliverError::never("the person has not written for 48 hours: WeChat takes nothing for them until they write again"),
        45_047 => DeliverError::never("WeChat takes five messages for a person until they write again"),
        _ => DeliverError::never(format!("WeChat answered {code}: {}", crate::reading::clip_chars(words, 300))),
    };
    Some(error)
}

/// A text with its buttons.
fn said(text: &str, buttons: &[Button]) -> Result<Value, DeliverError> {
    let text = crate::text::plain(text);
    if text.len() > TEXT_BYTES_MAX {
        return Err(DeliverError::never("the text has more bytes than WeChat takes"));
    }
    if buttons.is_empty() {
        return Ok(json!({"msgtype": "text", "text": {"content": text}}));
    }
    let list: Vec<Value> = buttons.iter().map(|button| json!({"id": button.value, "content": button.label})).collect();
    Ok(json!({"msgtype": "msgmenu", "msgmenu": {"head_content": text, "list": list, "tail_content": ""}}))
}

/// What a file is sent as: customer service takes pictures, sounds and films.
fn kind(file: &File) -> Result<&'static str, DeliverError> {
    match file.mime() {
        "image/jpeg" | "image/png" | "image/gif" if file.bytes.len() <= MEDIA_BYTES_MAX.0 => Ok("image"),
        "audio/amr" | "audio/mpeg" if file.bytes.len() <= MEDIA_BYTES_MAX.1 => Ok("voice"),
        "video/mp4" if file.bytes.len() <= MEDIA_BYTES_MAX.0 => Ok("video"),
        _ => {
            Err(DeliverError::never("WeChat takes pictures of up to 10 MB, sounds (AMR, MP3) of up to 2 MB and films (MP4) of up to 10 MB"))
        }
    }
}

/// Reads anything, for the test of that.
#[cfg(test)]
pub(crate) fn hostile(text: &str) -> bool {
    let crypt = Crypt::new("abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG", "wx");
    Fields::read(text).as_ref().and_then(heard::read).is_some() | crypt.is_ok_and(|crypt| crypt.open(text).is_ok())
}
