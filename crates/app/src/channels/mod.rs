//! Accounts of chat networks: each is a program in a sandbox of its own, kept running while it is switched on.
//!
//! Start at `keeper.rs` (what keeps a program running), `talk.rs` (one connection with it) and `hear.rs` (what becomes of a report).

mod commands;
mod fetch;
mod forms;
mod hear;
mod heard;
mod hooks;
pub(crate) mod host;
mod keeper;
mod launch;
mod of;
mod people;
mod talk;
mod web;
mod why;

pub use forms::{
    AdmissionView, ChannelForm, ChannelPatch, ChannelView, ChatForm, ChatPatch, ChatQuery, ChatView, DestinationForm, DestinationView,
    HandleForm, HandleView, OutQuery, OutView, PairForm, PairingView, RoleForm, RoleView, WiringForm, WiringView,
};
pub use heard::{HeardQuery, HeardView};
pub use hooks::{HOOK_BODY_BYTES_MAX, HookAnswer, HookRequest};
pub use of::{ChannelsOf, ChatsOf};
pub use people::PeopleOf;
pub use web::{
    Ground, Speaker, WebChat, WebEditForm, WebFile, WebMessage, WebMessageForm, WebMessageQuery, WebMessages, WebOf, WebPlaceQuery,
    WebPressForm, WebSaid,
};
pub use why::{WhyStep, WhyView};

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use wire::chat::{Address, Health};

use crate::live::lock;
use crate::router::Patterns;

/// Orders to one channel that wait; a further one is refused.
const ORDERS_MAX: usize = 64;
/// How long what was said and sent is kept when the configuration does not say.
const KEEP_DEFAULT: Duration = Duration::from_secs(90 * 86_400);
/// Digits of a code.
pub(crate) const CODE_DIGITS: usize = 8;

/// What is told of a channel whose program has not said anything yet.
const IT_CONNECTS: &str = "it connects";

/// What the configuration says of channels.
#[derive(Debug, Clone)]
pub struct ChannelSettings {
    /// The program of the networks that ship; the one beside this program when left out.
    pub program: Option<PathBuf>,
    /// The zone in which agents are told times.
    pub zone: jiff::tz::TimeZone,
    /// How long what was said and sent is kept.
    pub keep: Duration,
}

impl Default for ChannelSettings {
    fn default() -> Self {
        Self { program: None, zone: jiff::tz::TimeZone::UTC, keep: KEEP_DEFAULT }
    }
}

impl ChannelSettings {
    /// The zone of a name.
    ///
    /// # Errors
    /// There is none.
    pub fn zone_of(name: &str) -> Result<jiff::tz::TimeZone, String> {
        jiff::tz::TimeZone::get(name).map_err(|_| format!("there is no time zone `{}`", name.escape_debug()))
    }
}

/// The channels that are kept running. Held for single map operations.
#[derive(Default)]
pub(crate) struct Board {
    desks: Mutex<HashMap<String, Arc<Desk>>>,
    pub(crate) patterns: Arc<Patterns>,
    /// Held while channels are added, changed, switched or removed.
    pub(crate) changing: tokio::sync::Mutex<()>,
    hosting: host::Hosting,
    /// What pages and terminals wait for.
    web: web::Hub,
}

impl Board {
    /// The desk of a channel that is kept running.
    pub(crate) fn desk(&self, name: &str) -> Option<Arc<Desk>> {
        lock(&self.desks).get(name).cloned()
    }

    fn put(&self, name: &str, desk: Arc<Desk>) {
        lock(&self.desks).insert(name.to_owned(), desk);
    }

    fn take(&self, name: &str) -> Option<Arc<Desk>> {
        lock(&self.desks).remove(name)
    }

    fn all(&self) -> Vec<Arc<Desk>> {
        lock(&self.desks).values().cloned().collect()
    }

    /// Whether any channel is kept running.
    pub(crate) fn is_busy(&self) -> bool {
        !lock(&self.desks).is_empty()
    }

    /// Whether a channel is kept running that hears of something while nobody asks this daemon anything.
    pub(crate) fn is_listening(&self) -> bool {
        lock(&self.desks).keys().any(|name| !web::is_own(name))
    }
}

/// One channel that is kept running.
pub(crate) struct Desk {
    name: String,
    /// Something is owed.
    wake: Notify,
    /// The way to its program, while that runs.
    orders: Mutex<Option<mpsc::Sender<Order>>>,
    state: Mutex<DeskState>,
    /// Ends it.
    cancel: CancellationToken,
    /// It has ended.
    gone: CancellationToken,
}

/// How a channel is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct DeskState {
    health: Option<Health>,
    message: String,
    restarts: u32,
}

impl Desk {
    fn new(name: &str, daemon: &CancellationToken) -> Self {
        Self {
            name: name.to_owned(),
            wake: Notify::new(),
            orders: Mutex::default(),
            state: Mutex::new(DeskState { health: None, message: "it begins".to_owned(), restarts: 0 }),
            cancel: daemon.child_token(),
            gone: CancellationToken::new(),
        }
    }

    fn order(&self, order: Order) -> Result<(), NotTaken> {
        let orders = lock(&self.orders).clone().ok_or(NotTaken)?;
        orders.try_send(order).map_err(|_| NotTaken)
    }

    /// Whether a person must act before it can go on.
    fn waits_for_a_person(&self) -> bool {
        matches!(lock(&self.state).health, Some(Health::Credential | Health::Configuration))
    }

    fn tell(&self, health: Option<Health>, message: impl Into<String>) {
        let mut state = lock(&self.state);
        (state.health, state.message) = (health, message.into());
    }
}

/// The channel does not run, or has too much to do.
struct NotTaken;

/// What a channel's program is asked beside its deliveries.
enum Order {
    /// A request came for it.
    Webhook(HookRequest, oneshot::Sender<HookAnswer>),
    /// Bring a file; its pieces come this way.
    Fetch { id: String, max: u64, pieces: mpsc::Sender<Result<(Vec<u8>, bool), String>> },
    /// Find the direct chat with somebody.
    OpenDm { handle: String, answer: oneshot::Sender<Result<wire::chat::Chat, String>> },
    /// Show that somebody writes.
    Typing { to: Address, on: bool },
}

/// The digits of a text that has the form of a code and nothing else.
pub(crate) fn code_of(text: &str) -> Option<String> {
    if text.len() > 64 {
        return None;
    }
    // In a group the account may have to be named.
    let words = text.split_whitespace().filter(|word| !word.starts_with('@'));
    let digits: String = words.flat_map(str::chars).filter(|c| *c != '-').collect();
    (digits.len() == CODE_DIGITS && digits.bytes().all(|b| b.is_ascii_digit())).then_some(digits)
}

/// What is kept of a code.
pub(crate) fn code_hash(code: &str) -> String {
    let hash = Sha256::new().chain_update("lazaret pairing\0").chain_update(code).finalize();
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_digits_and_nothing_else() {
        for (text, expect) in [
            ("12345678", Some("12345678")),
            (" 1234-5678\n", Some("12345678")),
            ("@andy 1234 5678", Some("12345678")),
            ("1234567", None),
            ("123456789", None),
            ("call 12345678", None),
            ("١٢٣٤٥٦٧٨", None),
            ("", None),
        ] {
            assert_eq!(code_of(text).as_deref(), expect, "{text:?}");
        }
        assert_ne!(code_hash("12345678"), code_hash("12345679"));
    }
}
