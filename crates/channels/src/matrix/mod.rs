//! Matrix, by the client-server interface: sync in, transactions out. Rooms that are encrypted end to end are not read.
//!
//! The cursor is the token of a sync; it moves on with the last report of that sync, so that a kill in between reads all of it
//! again. Sends carry a transaction id, which makes a second try no second event.

mod api;
mod event;
mod sync;

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use wire::chat::{Abilities, About, Act, Address, Chat, Delivery, Failing};

use crate::calls::Recent;
use crate::http::{Base, encode};
use crate::network::{Account, DeliverError, File, Network, OpenError, Setup, needs};
use crate::note::{Attempt, Steps};
use crate::reading;
use crate::sink::Sink;
use crate::text::{html_for_matrix, plain, split};
use api::Api;

/// Bytes of a text: an event has at most 64 KiB, and the text stands in it twice, once with tags.
const TEXT_BYTES_MAX: usize = 12 << 10;
/// The largest file that is sent, in bytes.
const FILE_BYTES_MAX: u64 = 50 << 20;
/// Rooms whose members are counted.
const ROOMS_MAX: usize = 4096;
/// How long somebody is shown writing, in milliseconds.
const TYPING_MS: u32 = 20_000;

/// The network.
pub(crate) struct Matrix;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// The homeserver.
    base_url: String,
    /// Whether rooms are joined that somebody invites the account to.
    #[serde(default = "yes")]
    join: bool,
    /// How long a sync waits for news, in seconds.
    #[serde(default = "wait_s")]
    wait_s: u64,
}

fn yes() -> bool {
    true
}

fn wait_s() -> u64 {
    30
}

impl Network for Matrix {
    fn about(&self) -> About {
        needs(
            "matrix",
            "Matrix, as a user of any homeserver; base_url is the homeserver's",
            &[],
            &[("token", "an access token of the user", true)],
        )
    }

    fn open(&self, setup: Setup) -> Result<Arc<dyn Account>, OpenError> {
        let config: Config = setup.config()?;
        let base = Base::named("base_url", &config.base_url)?;
        let api = Api::new(base, setup.http.clone(), setup.credentials.line("token")?);
        Ok(Arc::new(User { api, config, setup, me: Mutex::new(String::new()), members: Recent::new(ROOMS_MAX) }))
    }
}

struct User {
    api: Api,
    config: Config,
    setup: Setup,
    /// The user's id, once the homeserver said it. Never held across an await.
    me: Mutex<String>,
    /// Whether more than two people are in a room; asked for again when somebody comes or goes.
    members: Recent<Option<bool>>,
}

impl Account for User {
    fn listen(self: Arc<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move { self.stay_in_sync().await })
    }

    fn deliver<'a>(&'a self, delivery: &'a Delivery, files: &'a [File], steps: &'a Steps) -> BoxFuture<'a, Result<(), DeliverError>> {
        Box::pin(async move {
            let to = &delivery.to;
            match &delivery.act {
                Act::Send { text, reply_to, .. } => self.send(to, text, files, reply_to.as_deref(), steps).await,
                Act::Edit { message, text, .. } => {
                    if text.len() > TEXT_BYTES_MAX {
                        return Err(DeliverError::never("the text is longer than an event of Matrix may be"));
                    }
                    let edited = words(text);
                    let mut content = edited.clone();
                    content["body"] = json!(format!("* {}", plain(text)));
                    content["m.new_content"] = edited;
                    content["m.relates_to"] = json!({"rel_type": "m.replace", "event_id": message});
                    let edit = |attempt| async { self.event(to, "m.room.message", &content, attempt).await.map(|_| message.clone()) };
                    steps.once("edit", edit).await.map(drop)
                }
                Act::React { message, emoji } => {
                    let content = json!({"m.relates_to": {"rel_type": "m.annotation", "event_id": message, "key": emoji}});
                    let react = |attempt| async { self.event(to, "m.reaction", &content, attempt).await.map(|_| String::new()) };
                    steps.once("react", react).await.map(drop)
                }
            }
        })
    }

    fn fetch<'a>(&'a self, file: &'a str, sink: &'a mut Sink) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            let (server, id) = file.strip_prefix("mxc://").and_then(|rest| rest.split_once('/')).ok_or("this is no file of Matrix")?;
            let path = format!("{}/{}", encode(server), encode(id));
            let reply = self.api.get(&format!("/_matrix/client/v1/media/download/{path}")).await.map_err(|e| e.to_string())?;
            if reply.status.is_success() {
                return reply.into_sink(sink).await;
            }
            // Homeservers of before 2024 have them here.
            let reply = self.api.get(&format!("/_matrix/media/v3/download/{path}")).await.map_err(|e| e.to_string())?;
            reply.into_sink(sink).await
        })
    }

    fn open_dm<'a>(&'a self, handle: &'a str) -> BoxFuture<'a, Result<Chat, String>> {
        Box::pin(async move { self.direct(handle).await.map_err(|e| e.to_string()) })
    }

    fn typing<'a>(&'a self, to: &'a Address, on: bool) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let body = if on { json!({"typing": true, "timeout": TYPING_MS}) } else { json!({"typing": false}) };
            let path = format!("/_matrix/client/v3/rooms/{}/typing/{}", encode(&to.chat), encode(&self.me()));
            let _ = self.api.call(Method::PUT, &path, Some(&body)).await;
        })
    }
}

impl User {
    fn me(&self) -> String {
        self.me.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn send(&self, to: &Address, text: &str, files: &[File], reply_to: Option<&str>, steps: &Steps) -> Result<(), DeliverError> {
        let pieces = if text.trim().is_empty() { Vec::new() } else { split(text, TEXT_BYTES_MAX, char::len_utf8) };
        if pieces.is_empty() && files.is_empty() {
            return Err(DeliverError::never("there is nothing to send"));
        }
        for (n, piece) in pieces.iter().enumerate() {
            let mut content = words(piece);
            relate(&mut content, to, reply_to.filter(|_| n == 0));
            steps.once(&format!("text {n}"), |attempt| self.event(to, "m.room.message", &content, attempt)).await?;
        }
        for (n, file) in files.iter().enumerate() {
            if file.bytes.len() as u64 > FILE_BYTES_MAX {
                return Err(DeliverError::never("the file is larger than is sent"));
            }
            let show = |attempt| async {
                // Nobody sees a file that no event names.
                let uri = self.api.upload(file).await.map_err(|e| DeliverError { why: passing(e.why), ..e })?;
                let kind = match file.mime().split('/').next() {
                    Some("image") => "m.image",
                    Some("audio") => "m.audio",
                    Some("video") => "m.video",
                    _ => "m.file",
                };
                let info = json!({"mimetype": file.mime(), "size": file.bytes.len()});
                let mut content =
                    json!({"msgtype": kind, "body": file.name(), "filename": file.name(), "url": uri, "info": info, "m.mentions": {}});
                relate(&mut content, to, None);
                self.event(to, "m.room.message", &content, attempt).await
            };
            steps.once(&format!("file {n}"), show).await?;
        }
        Ok(())
    }

    /// Makes an event once: a homeserver forgets transactions after a while, so a doubtful one is looked up first.
    async fn event(&self, to: &Address, kind: &str, content: &Value, attempt: Attempt) -> Result<String, DeliverError> {
        let transaction = attempt.key(43);
        let room = encode(&to.chat);
        if attempt.doubtful {
            let found = self.api.call(Method::GET, &format!("/_matrix/client/v3/rooms/{room}/messages?dir=b&limit=100"), None).await;
            let found = found.map_err(|e| DeliverError { why: if e.why == Failing::Final { e.why } else { Failing::Unknown }, ..e })?;
            let events = found["chunk"].as_array().map(Vec::as_slice).unwrap_or_default();
            if let Some(known) = events.iter().find(|event| event["unsigned"]["transaction_id"] == transaction.as_str()) {
                return reading::id(&known["event_id"]).ok_or_else(|| DeliverError::new(Failing::Unknown, "an event has no id"));
            }
        }
        let path = format!("/_matrix/client/v3/rooms/{room}/send/{kind}/{transaction}");
        let made = self.api.call(Method::PUT, &path, Some(content)).await?;
        reading::id(&made["event_id"])
            .ok_or_else(|| DeliverError::new(Failing::Unknown, "the homeserver does not say which event it became"))
    }

    /// The room that is somebody's direct one, made where there is none.
    async fn direct(&self, handle: &str) -> Result<Chat, DeliverError> {
        if !handle.starts_with('@') || !handle.contains(':') {
            return Err(DeliverError::never("this is no id of a user of Matrix"));
        }
        let path = format!("/_matrix/client/v3/user/{}/account_data/m.direct", encode(&self.me()));
        let mut known = match self.api.call(Method::GET, &path, None).await {
            Ok(known) if known.is_object() => known,
            Ok(_) => json!({}),
            Err(error) if error.why == Failing::Final => json!({}),
            Err(error) => return Err(error),
        };
        let joined = self.api.call(Method::GET, "/_matrix/client/v3/joined_rooms", None).await?;
        let rooms = known[handle].as_array().cloned().unwrap_or_default();
        let is_in = |room: &&Value| joined["joined_rooms"].as_array().is_some_and(|all| all.contains(room));
        if let Some(id) = rooms.iter().rev().find(is_in).and_then(reading::id) {
            return Ok(Chat { id, name: String::new(), group: false });
        }
        let body = json!({"is_direct": true, "invite": [handle], "preset": "trusted_private_chat"});
        let made = self.api.call(Method::POST, "/_matrix/client/v3/createRoom", Some(&body)).await?;
        let id = reading::id(&made["room_id"]).ok_or_else(|| DeliverError::never("the homeserver names no room"))?;
        known[handle] = json!(rooms.into_iter().chain([json!(id)]).collect::<Vec<_>>());
        self.api.call(Method::PUT, &path, Some(&known)).await?;
        Ok(Chat { id, name: String::new(), group: false })
    }
}

/// What went wrong with what nobody sees is never in doubt.
fn passing(why: Failing) -> Failing {
    if why == Failing::Unknown { Failing::Passing } else { why }
}

fn words(text: &str) -> Value {
    json!({"msgtype": "m.text", "body": plain(text), "format": "org.matrix.custom.html", "formatted_body": html_for_matrix(text), "m.mentions": {}})
}

/// Puts an event into a thread, and says what it answers.
fn relate(content: &mut Value, to: &Address, reply_to: Option<&str>) {
    match (&to.thread, reply_to) {
        (Some(root), reply) => {
            let before = reply.unwrap_or(root);
            content["m.relates_to"] = json!({"rel_type": "m.thread", "event_id": root, "is_falling_back": reply.is_none(), "m.in_reply_to": {"event_id": before}});
        }
        (None, Some(reply)) => content["m.relates_to"] = json!({"m.in_reply_to": {"event_id": reply}}),
        (None, None) => {}
    }
}

fn abilities() -> Abilities {
    Abilities {
        text_max: 8000,
        file_max: FILE_BYTES_MAX,
        threads: true,
        edit: true,
        react: true,
        typing: true,
        open_dm: true,
        idempotent: true,
        per_minute: 60,
        ..Abilities::default()
    }
}
