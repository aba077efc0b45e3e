//! Webhooks: the end of a job, told to an address that the job named.
//!
//! What is owed is a row, written with the end itself. One task sends it: signed, to an address that is checked again each time, with
//! more and more time between the tries, for a day. After that it is dead: shown, and sent again when somebody asks.

mod body;
mod of;
mod sender;
mod sign;

pub use of::{WebhookQuery, WebhookSecretForm, WebhookSecretView, WebhookView, WebhooksOf};
pub use sign::{SIGNATURE_HEADER, signature};

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gateway::egress::{Address, Courier, Egress};
use model::{Code, Failure};
use tokio::sync::{Notify, Semaphore};

use crate::live::lock;
use crate::{App, Caller};

/// Deliveries that are tried at once.
const SENDING_MAX: usize = 32;
/// How long a try takes at most, when the configuration does not say.
pub const WEBHOOK_TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
/// The shortest and the longest time that can be configured for a try.
pub const WEBHOOK_TIMEOUT_RANGE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// How long settled deliveries are kept when the configuration does not say.
const KEEP_DEFAULT: Duration = Duration::from_secs(30 * 86_400);

/// What the configuration says of webhooks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookSettings {
    /// How long one try may take.
    pub timeout: Duration,
    /// Private or reserved addresses that may be sent to all the same.
    pub private_ok: Vec<IpAddr>,
    /// How long settled deliveries are kept.
    pub keep: Duration,
}

impl Default for WebhookSettings {
    fn default() -> Self {
        Self { timeout: WEBHOOK_TIMEOUT_DEFAULT, private_ok: Vec::new(), keep: KEEP_DEFAULT }
    }
}

/// What sends them.
pub(crate) struct Desk {
    /// Something is owed, or a place is free.
    wake: Notify,
    places: Arc<Semaphore>,
    /// The hosts that are being sent to, once for each delivery: at most [`SENDING_MAX`].
    busy: Mutex<Vec<String>>,
    /// What connections are made with, and the file of further roots that it was made for.
    courier: Mutex<Option<(Option<PathBuf>, Arc<Courier>)>>,
}

impl Default for Desk {
    fn default() -> Self {
        Self { wake: Notify::new(), places: Arc::new(Semaphore::new(SENDING_MAX)), busy: Mutex::default(), courier: Mutex::default() }
    }
}

impl Desk {
    pub(crate) fn courier(&self, extra_roots: Option<PathBuf>) -> Arc<Courier> {
        let mut held = lock(&self.courier);
        match &*held {
            Some((roots, courier)) if *roots == extra_roots => Arc::clone(courier),
            _ => {
                let made = Arc::new(Courier::new(Egress::default(), extra_roots.clone()));
                *held = Some((extra_roots, Arc::clone(&made)));
                made
            }
        }
    }
}

impl App {
    /// Says that a job is over, or that a webhook has become owed; called after the commit that wrote it.
    pub fn wake_webhooks(&self) {
        self.wake_tasks();
        self.desk().wake.notify_one();
    }

    /// Whether an address can be sent to, as far as that can be told without asking for its name.
    ///
    /// # Errors
    /// What is wrong with it, for the field `webhook_url`.
    pub fn check_webhook_url(&self, url: &str) -> Result<(), Failure> {
        let address = Address::parse(url).map_err(|e| Failure::new(Code::Usage, format!("webhook_url: {e}")).field("webhook_url"))?;
        match address.refused(&self.settings().webhooks.private_ok) {
            None => Ok(()),
            Some(range) => {
                let host = address.host();
                Err(Failure::new(Code::EgressDenied, format!("webhooks are not sent to {host}: the address is {range}"))
                    .hint(format!("add \"{host}\" to `private_ok` under [webhooks] in the configuration"))
                    .field("webhook_url"))
            }
        }
    }

    /// Seals what the webhooks of one job are signed with.
    ///
    /// # Errors
    /// It is empty or longer than 256 bytes.
    pub fn seal_webhook_secret(&self, secret: &str) -> Result<String, Failure> {
        of::check_secret(secret, "webhook_secret")?;
        self.secrets().vault().seal(PURPOSE, secret).map_err(|e| e.failure())
    }

    /// The webhooks that this caller sees.
    #[must_use]
    pub fn webhooks_of(&self, caller: &Caller) -> WebhooksOf<'_> {
        WebhooksOf { app: self, caller: caller.clone() }
    }
}

/// What the secrets of single jobs are sealed for.
const PURPOSE: &str = "webhook of a job";
/// Where the tenants' own secrets stand, by the tenants' names.
pub(crate) const SCOPE: &str = "webhooks";
