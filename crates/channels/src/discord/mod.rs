//! Discord, by its gateway in and its REST interface out, version 10.
//!
//! The gateway says again what was missed when a session is resumed, also by a new process: the cursor holds session and
//! sequence, and before there is one a file does. Where a session is gone, the channels that spoke before are read from the last
//! message on that the host has.
//! Messages carry a nonce that Discord enforces, so a second try within minutes becomes no second message.

mod event;
mod gateway;
mod rest;

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Value, json};
use wire::chat::{Abilities, About, Act, Address, Button, Chat, Delivery};

use crate::calls::Recent;
use crate::http::{Base, encode};
use crate::network::{Account, DeliverError, File, Network, OpenError, Setup, needs};
use crate::note::Steps;
use crate::sink::Sink;
use crate::text::{characters, split};
use rest::{Rest, snowflake};

/// Characters of a message.
const TEXT_MAX: usize = 2000;
/// The largest file that is sent, in bytes: what any server takes.
const FILE_BYTES_MAX: u64 = 10 << 20;
/// Files of one message.
const FILES_MAX: usize = 10;
/// Buttons in a row, and rows.
const ROW_MAX: usize = 5;
/// Channels whose kind is remembered.
const PLACES_MAX: usize = 4096;

/// Hosts of the platform. A session is resumed at one of the gateways of the last three; at another it is resumed through the first.
const HOSTS: [&str; 6] = [
    "discord.com", "cdn.discordapp.com", "gateway.discord.gg", "gateway-us-east1-b.discord.gg", "gateway-us-east1-c.discord.gg",
    "gateway-us-east1-d.discord.gg",
];

/// The network.
pub(crate) struct Discord;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    base_url: String,
    /// Where the gateway is; without it Discord is asked.
    gateway_url: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self { base_url: "https://discord.com/api/v10".to_owned(), gateway_url: None }
    }
}

impl Network for Discord {
    fn about(&self) -> About {
        About {
            addresses: ["gateway_url"].map(str::to_owned).to_vec(),
            ..needs(
                "discord",
                "Discord, as a bot",
                &HOSTS,
                &[("token", "the token of the bot, from the developer portal; its message content intent must be on", true)],
            )
        }
    }

    fn open(&self, setup: Setup) -> Result<Arc<dyn Account>, OpenError> {
        let config: Config = setup.config()?;
        let base = Base::named("base_url", &config.base_url)?;
        let gateway = config.gateway_url.as_deref().map(|url| Base::named("gateway_url", url)).transpose()?;
        let rest = Rest::new(base, setup.http.clone(), setup.credentials.line("token")?);
        let place = gateway::Place::read(setup.cursor.as_deref());
        Ok(Arc::new(Bot { rest, gateway, setup, places: Recent::new(PLACES_MAX), place: Mutex::new(place) }))
    }
}

struct Bot {
    rest: Rest,
    gateway: Option<Base>,
    setup: Setup,
    /// What is known of channels.
    places: Recent<Place>,
    /// Where the gateway is to go on. Never held across an await.
    place: Mutex<gateway::Place>,
}

/// What a channel is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    /// The channel that a thread is in.
    parent: Option<String>,
    name: String,
}

impl Account for Bot {
    fn listen(self: Arc<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move { self.stay_connected().await })
    }

    fn deliver<'a>(&'a self, delivery: &'a Delivery, files: &'a [File], steps: &'a Steps) -> BoxFuture<'a, Result<(), DeliverError>> {
        Box::pin(async move {
            let channel = channel(&delivery.to)?;
            match &delivery.act {
                Act::Send { text, reply_to, buttons, .. } => self.send(channel, text, files, reply_to.as_deref(), buttons, steps).await,
                Act::Edit { message, text, buttons } => {
                    let body = json!({"content": text, "allowed_mentions": {"parse": []}, "components": components(buttons)?});
                    let path = format!("/channels/{channel}/messages/{}", snowflake(message)?);
                    let edit = |_| async { self.rest.call(http::Method::PATCH, &path, Some(&body)).await.map(|_| message.clone()) };
                    steps.once("edit", edit).await.map(drop)
                }
                Act::React { message, emoji } => {
                    let path = format!("/channels/{channel}/messages/{}/reactions/{}/@me", snowflake(message)?, encode(emoji));
                    let react = |_| async { self.rest.call(http::Method::PUT, &path, None).await.map(|_| String::new()) };
                    steps.once("react", react).await.map(drop)
                }
            }
        })
    }

    fn fetch<'a>(&'a self, file: &'a str, sink: &'a mut Sink) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            // Addresses of files end; the message has a fresh one.
            let mut parts = file.split('/').map(|part| snowflake(part).map_err(|e| e.to_string()));
            let (Some(channel), Some(message), Some(file), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
                return Err("this is no file of Discord's".to_owned());
            };
            let (path, file) = (format!("/channels/{}/messages/{}", channel?, message?), file?);
            let found = self.rest.call(http::Method::GET, &path, None).await.map_err(|e| e.to_string())?;
            let files = found["attachments"].as_array().map(Vec::as_slice).unwrap_or_default();
            let url = files.iter().find(|f| f["id"] == file).and_then(|f| f["url"].as_str()).ok_or("the message has no such file")?;
            self.rest.download(url, sink).await
        })
    }

    fn open_dm<'a>(&'a self, handle: &'a str) -> BoxFuture<'a, Result<Chat, String>> {
        Box::pin(async move {
            let body = json!({"recipient_id": snowflake(handle).map_err(|e| e.to_string())?});
            let found = self.rest.call(http::Method::POST, "/users/@me/channels", Some(&body)).await.map_err(|e| e.to_string())?;
            let id = crate::reading::id(&found["id"]).ok_or("Discord names no chat")?;
            Ok(Chat { id, name: crate::reading::name(&found["recipients"][0]["username"]), group: false })
        })
    }

    fn typing<'a>(&'a self, to: &'a Address, on: bool) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            if let (true, Ok(channel)) = (on, channel(to)) {
                let _ = self.rest.call(http::Method::POST, &format!("/channels/{channel}/typing"), None).await;
            }
        })
    }
}

impl Bot {
    async fn send(
        &self,
        channel: &str,
        text: &str,
        files: &[File],
        reply_to: Option<&str>,
        buttons: &[Button],
        steps: &Steps,
    ) -> Result<(), DeliverError> {
        let pieces = if text.trim().is_empty() { Vec::new() } else { split(text, TEXT_MAX, characters) };
        if pieces.is_empty() && files.is_empty() {
            return Err(DeliverError::never("there is nothing to send"));
        }
        if files.iter().any(|file| file.bytes.len() as u64 > FILE_BYTES_MAX) {
            return Err(DeliverError::never("the file is larger than Discord takes"));
        }
        let (components, path) = (components(buttons)?, format!("/channels/{channel}/messages"));
        let reply = reply_to.map(snowflake).transpose()?;
        for (n, piece) in pieces.iter().enumerate() {
            let mut body = json!({"content": piece});
            if let (0, Some(message)) = (n, reply) {
                body["message_reference"] = json!({"message_id": message, "fail_if_not_exists": false});
            }
            if n + 1 == pieces.len() && !buttons.is_empty() {
                body["components"] = components.clone();
            }
            steps.once(&format!("text {n}"), |attempt| self.rest.create(&path, body, attempt, &[])).await?;
        }
        for (n, files) in files.chunks(FILES_MAX).enumerate() {
            steps.once(&format!("files {n}"), |attempt| self.rest.create(&path, json!({}), attempt, files)).await?;
        }
        Ok(())
    }

    /// Chat and thread of a channel.
    async fn place(&self, channel: &str) -> Place {
        if let Some(place) = self.places.get(channel) {
            return place;
        }
        let nowhere = Place { parent: None, name: String::new() };
        let Ok(id) = snowflake(channel) else { return nowhere };
        match self.rest.call(http::Method::GET, &format!("/channels/{id}"), None).await {
            Ok(found) => {
                self.keep_place(&found);
                self.places.get(channel).unwrap_or(nowhere)
            }
            // Nothing is kept: it is asked for again the next time.
            Err(_) => nowhere,
        }
    }

    /// Remembers what a channel is.
    fn keep_place(&self, found: &Value) {
        let Some(id) = crate::reading::id(&found["id"]) else { return };
        let is_thread = matches!(found["type"].as_u64(), Some(10..=12));
        let parent = if is_thread { crate::reading::id(&found["parent_id"]) } else { None };
        self.places.put(&id, Place { parent, name: crate::reading::name(&found["name"]) });
    }

    fn cursor(&self) -> std::sync::MutexGuard<'_, gateway::Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A thread is a channel of its own.
fn channel(to: &Address) -> Result<&str, DeliverError> {
    snowflake(to.thread.as_deref().unwrap_or(&to.chat))
}

fn components(buttons: &[Button]) -> Result<Value, DeliverError> {
    if buttons.len() > ROW_MAX * ROW_MAX || buttons.iter().any(|b| b.value.is_empty() || b.value.len() > 100 || b.label.is_empty()) {
        return Err(DeliverError::never("there are too many buttons, or one is empty or has a value that is too long"));
    }
    let button = |b: &Button| json!({"type": 2, "style": 2, "label": crate::reading::clip_chars(&b.label, 80), "custom_id": b.value});
    let rows: Vec<Value> =
        buttons.chunks(ROW_MAX).map(|row| json!({"type": 1, "components": row.iter().map(button).collect::<Vec<_>>()})).collect();
    Ok(json!(rows))
}

fn abilities() -> Abilities {
    Abilities {
        text_max: 2000,
        file_max: FILE_BYTES_MAX,
        threads: true,
        edit: true,
        react: true,
        buttons: true,
        typing: true,
        open_dm: true,
        idempotent: true,
        per_minute: 60,
    }
}
