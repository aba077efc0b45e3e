//! WeChat's API for official accounts, with its signed and encrypted requests, as the public documentation describes them.

use std::collections::HashMap;

use aes::Aes256;
use aes::cipher::{Array, BlockCipherEncrypt, KeyInit};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::party::{Party, SentFile, Standing, each, fresh};
use super::signed::{Posted, now_s, sha1_hex};
use super::{Call, Kept, Reply, Web};

/// The account's id.
pub const APP: &str = "wx0001";
/// Its secret.
pub const SECRET: &str = "wechat-secret-of-tests";
/// The token that signs.
pub const VERIFY: &str = "verify-token";
/// The key that encrypts: 43 characters of base64.
pub const ENCODING_KEY: &str = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG";
const TOKEN: &str = "access-token";
/// Messages that a person takes until they write again.
const MESSAGES_MAX: u32 = 5;

#[derive(Default)]
struct State {
    sent: Vec<Value>,
    media: Vec<Vec<u8>>,
    /// How many messages each person still takes.
    left: HashMap<String, u32>,
}

/// The platform.
pub struct WeChat {
    /// Its server.
    pub web: Web,
    state: Kept<State>,
}

impl WeChat {
    /// Starts it.
    #[must_use]
    pub fn start() -> Self {
        let (web, state) = Web::keeping(State::default(), answer);
        Self { web, state }
    }

    /// The messages that it took.
    #[must_use]
    pub fn sent(&self) -> Vec<Value> {
        self.state.lock().sent.clone()
    }

    /// Somebody wrote: they take so many messages.
    pub fn wrote(&self, person: &str, messages: u32) {
        self.state.lock().left.insert(person.to_owned(), messages);
    }

    /// Somebody writes a text: an encrypted request.
    #[must_use]
    pub fn text(&self, person: &str, id: u64, text: &str) -> Posted {
        self.wrote(person, MESSAGES_MAX);
        Self::sealed(
            &Self::xml(person, &format!("<MsgType><![CDATA[text]]></MsgType><Content><![CDATA[{text}]]></Content><MsgId>{id}</MsgId>")),
            APP,
            now_s(),
        )
    }

    /// The document of a message.
    #[must_use]
    pub fn xml(person: &str, more: &str) -> String {
        format!(
            "<xml><ToUserName><![CDATA[gh_1]]></ToUserName><FromUserName><![CDATA[{person}]]></FromUserName><CreateTime>{}</CreateTime>{more}</xml>",
            now_s()
        )
    }

    /// An encrypted and signed request, for some app, at some time.
    ///
    /// # Panics
    /// The message is too long.
    #[must_use]
    pub fn sealed(xml: &str, app: &str, at_s: i64) -> Posted {
        let mut bytes = b"0123456789abcdef".to_vec();
        bytes.extend_from_slice(&u32::try_from(xml.len()).expect("a short message").to_be_bytes());
        bytes.extend_from_slice(xml.as_bytes());
        bytes.extend_from_slice(app.as_bytes());
        let pad = 32 - bytes.len() % 32;
        bytes.extend(std::iter::repeat_n(u8::try_from(pad).expect("at most 32"), pad));
        let text = STANDARD.encode(encrypt(bytes));
        let mut signed = [VERIFY.to_owned(), at_s.to_string(), "nonce1".to_owned(), text.clone()];
        signed.sort();
        let mut posted = Posted::new(format!("<xml><ToUserName><![CDATA[gh_1]]></ToUserName><Encrypt><![CDATA[{text}]]></Encrypt></xml>"));
        posted.path = format!("?signature=x&timestamp={at_s}&nonce=nonce1&encrypt_type=aes&msg_signature={}", sha1_hex(&signed.concat()));
        posted
    }

    /// A request in the plain mode.
    #[must_use]
    pub fn plain(xml: &str, at_s: i64) -> Posted {
        let mut signed = [VERIFY.to_owned(), at_s.to_string(), "nonce1".to_owned()];
        signed.sort();
        let mut posted = Posted::new(xml);
        posted.path = format!("?signature={}&timestamp={at_s}&nonce=nonce1", sha1_hex(&signed.concat()));
        posted
    }
}

fn encrypt(mut bytes: Vec<u8>) -> Vec<u8> {
    // 43 characters are 32 bytes and two bits that are left over.
    let config = base64::engine::GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(base64::engine::DecodePaddingMode::Indifferent);
    let key = base64::engine::GeneralPurpose::new(&base64::alphabet::STANDARD, config).decode(ENCODING_KEY).expect("base64");
    let cipher = Aes256::new_from_slice(&key).expect("32 bytes");
    let mut before: [u8; 16] = key[..16].try_into().expect("16 bytes");
    for block in bytes.chunks_exact_mut(16) {
        let mut whole = Array::from(before);
        for (to, from) in whole.iter_mut().zip(block.iter()) {
            *to ^= from;
        }
        cipher.encrypt_block(&mut whole);
        block.copy_from_slice(&whole);
        before = block.try_into().expect("16 bytes");
    }
    bytes
}

fn answer(state: &mut State, call: &Call) -> Reply {
    let code = |code: i64, words: &str| Reply::json(200, &json!({"errcode": code, "errmsg": words}));
    let body = call.json();
    if call.path() == "/cgi-bin/stable_token" {
        let fine = body["grant_type"] == "client_credential" && body["appid"] == APP && body["secret"] == SECRET;
        return if fine {
            Reply::json(200, &json!({"access_token": TOKEN, "expires_in": 7_200}))
        } else {
            code(40_125, "invalid appsecret")
        };
    }
    let query = call.query();
    let value = |key: &str| query.iter().find(|(k, _)| k == key).map(|(_, v)| v.clone()).unwrap_or_default();
    if value("access_token") != TOKEN {
        return code(40_001, "invalid credential, access_token is invalid or not latest");
    }
    match (call.method.as_str(), call.path()) {
        ("POST", "/cgi-bin/message/custom/typing") => code(0, "ok"),
        ("POST", "/cgi-bin/message/custom/send") => {
            let Some(left) = state.left.get_mut(body["touser"].as_str().unwrap_or_default()) else {
                return code(45_015, "response out of time limit or subscription is canceled");
            };
            if *left == 0 {
                return code(45_047, "out of response count limit");
            }
            let fine = match body["msgtype"].as_str().unwrap_or_default() {
                "text" => body["text"]["content"].as_str().is_some_and(|text| !text.is_empty() && text.len() <= 2_048),
                "msgmenu" => body["msgmenu"]["list"].as_array().is_some_and(|list| !list.is_empty()),
                kind => body[kind]["media_id"]
                    .as_str()
                    .is_some_and(|id| id.strip_prefix('m').and_then(|n| n.parse::<usize>().ok()).is_some_and(|n| n < state.media.len())),
            };
            if !fine {
                return code(40_007, "invalid media_id");
            }
            *left -= 1;
            state.sent.push(body);
            code(0, "ok")
        }
        ("POST", "/cgi-bin/media/upload") if ["image", "voice", "video"].contains(&value("type").as_str()) => {
            let Some((_, _, bytes)) = call.parts().into_iter().find(|(name, file, _)| name == "media" && file.is_some()) else {
                return code(41_005, "media data missing");
            };
            state.media.push(bytes);
            Reply::json(200, &json!({"type": value("type"), "media_id": format!("m{}", state.media.len() - 1)}))
        }
        ("GET", "/cgi-bin/media/get") => {
            match value("media_id").strip_prefix('m').and_then(|n| n.parse::<usize>().ok()).and_then(|n| state.media.get(n)) {
                Some(bytes) => Reply::status(200).header("content-type", "image/jpeg").body(bytes.clone()),
                None => code(40_007, "invalid media_id"),
            }
        }
        _ => code(40_066, "invalid url"),
    }
}

impl WeChat {
    fn tells(&self, more: &str) -> Posted {
        self.wrote("ann", MESSAGES_MAX);
        Self::sealed(&Self::xml("ann", &format!("{more}<MsgId>{}</MsgId>", fresh())), APP, now_s())
    }
}

impl Party for WeChat {
    fn network(&self) -> &'static str {
        "wechat"
    }

    fn config(&self) -> Value {
        json!({"app_id": APP, "base_url": self.web.url()})
    }

    fn credentials(&self) -> Vec<(&'static str, String)> {
        [("app_secret", SECRET), ("token", VERIFY), ("encoding_key", ENCODING_KEY)].map(|(key, value)| (key, value.to_owned())).into()
    }

    fn writes(&self, text: &str) -> Option<Posted> {
        Some(self.text("ann", fresh(), text))
    }

    fn sends(&self, _text: &str) -> Option<SentFile> {
        let mut state = self.state.lock();
        state.media.push(b"attachment".to_vec());
        let id = state.media.len() - 1;
        drop(state);
        // A picture comes without words.
        let posted = self.tells(&format!("<MsgType><![CDATA[image]]></MsgType><MediaId><![CDATA[m{id}]]></MediaId>"));
        Some(SentFile { posted: Some(posted), bytes: b"attachment" })
    }

    fn presses(&self, _below: &Standing, value: &str) -> Option<Posted> {
        let press = format!("<MsgType>text</MsgType><Content>x</Content><bizmsgmenuid>{value}</bizmsgmenuid>");
        Some(self.tells(&press))
    }

    fn standing(&self) -> Vec<Standing> {
        let state = self.state.lock();
        let stands = |(n, sent): (usize, &Value)| {
            let menu = &sent["msgmenu"];
            let text = if menu.is_object() { &menu["head_content"] } else { &sent["text"]["content"] };
            let kind = sent["msgtype"].as_str().unwrap_or_default();
            let at = sent[kind]["media_id"].as_str().and_then(|id| id.strip_prefix('m')).and_then(|n| n.parse::<usize>().ok());
            let files = at.and_then(|at| state.media.get(at).cloned()).into_iter().collect();
            Standing { buttons: each(&menu["list"], "/id"), files, ..Standing::text(n.to_string(), text) }
        };
        state.sent.iter().enumerate().map(stands).collect()
    }

    fn was_seen_writing(&self) -> bool {
        !self.web.calls("/custom/typing").is_empty()
    }
}
