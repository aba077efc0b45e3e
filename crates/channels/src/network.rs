//! What a network is to the frame: a name, what it needs, and an account of it that listens and delivers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wire::chat::{Abilities, About, Address, Attachment, Chat, Credential, Delivery, Failing, Health, Who};

use crate::backoff::Backoff;
use crate::calls::trouble;
use crate::http::{Http, HttpError};
use crate::link::Link;
use crate::note::Steps;
use crate::sink::Sink;
use crate::surroundings::{CredentialError, Credentials};

/// A chat network.
pub(crate) trait Network: Sync {
    /// Its name, what it needs, and whether its platform sends requests.
    fn about(&self) -> About;

    /// Reads configuration and credentials of an account. Nothing is dialled yet.
    ///
    /// # Errors
    /// Either cannot be used.
    fn open(&self, setup: Setup) -> Result<Arc<dyn Account>, OpenError>;
}

/// One account of a network.
pub(crate) trait Account: Send + Sync {
    /// Connects, says [`Link::ready`], and reports what happens until [`Setup::cancel`]; connects again as often as it must.
    /// A network that only takes webhooks checks its credential here and returns.
    fn listen(self: Arc<Self>) -> BoxFuture<'static, ()>;

    /// Has the effects of a delivery, each as a step of `steps`. What it becomes is in the steps.
    ///
    /// # Errors
    /// The platform did not take it, or nobody knows.
    fn deliver<'a>(&'a self, delivery: &'a Delivery, files: &'a [File], steps: &'a Steps) -> BoxFuture<'a, Result<(), DeliverError>>;

    /// Looks at a request that came for the account: checks its signature, reports what it tells, waits for the
    /// acknowledgement, and only then answers.
    fn webhook(&self, _request: Hook) -> BoxFuture<'_, Answer> {
        Box::pin(async { Answer::status(404) })
    }

    /// Brings a file that a message named into `sink`.
    ///
    /// # Errors
    /// It cannot be had, for a person.
    fn fetch<'a>(&'a self, _file: &'a str, _sink: &'a mut Sink) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async { Err("the network has no files".to_owned()) })
    }

    /// The direct chat with somebody.
    ///
    /// # Errors
    /// There is none, for a person.
    fn open_dm<'a>(&'a self, _handle: &'a str) -> BoxFuture<'a, Result<Chat, String>> {
        Box::pin(async { Err("nobody can be written to first on this network".to_owned()) })
    }

    /// Shows that somebody writes, or no longer. What goes wrong is of no weight.
    fn typing<'a>(&'a self, _to: &'a Address, _on: bool) -> BoxFuture<'a, ()> {
        Box::pin(async {})
    }
}

/// What an account is made of.
pub(crate) struct Setup {
    /// The name of the account.
    pub(crate) account: String,
    /// What the owner configured.
    pub(crate) config: Map<String, Value>,
    /// Where to go on: what came with the last report that the host acknowledged, or where listening began while there is none.
    pub(crate) cursor: Option<String>,
    /// The credentials.
    pub(crate) credentials: Credentials,
    /// A directory that outlives the process; the files `note` and `began` in it are the frame's.
    pub(crate) state: std::path::PathBuf,
    /// The way out.
    pub(crate) http: Http,
    /// The way to the host.
    pub(crate) link: Link,
    /// Whoever starts a task starts it here.
    pub(crate) tasks: TaskTracker,
    /// The end of listening.
    pub(crate) cancel: CancellationToken,
}

impl Setup {
    /// The configuration in the form that the network takes; use `deny_unknown_fields`.
    ///
    /// # Errors
    /// It is none, with the key's name.
    pub(crate) fn config<T: DeserializeOwned>(&self) -> Result<T, OpenError> {
        let mut config = self.config.clone();
        // What else the account may reach is between its owner and the host.
        config.remove(HOSTS);
        read(&config).map_err(|why| match culprit::<T>(&config, &why) {
            Some(key) => OpenError::of(key, why),
            None => OpenError::Config(why),
        })
    }
}

impl Setup {
    /// Keeps where listening begins without a cursor, before the account is ready: while the host acknowledges nothing, the next
    /// process goes on there. It is on the disk when this returns.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn began(&self, place: &str) -> Result<(), DeliverError> {
        let kept = crate::began::keep(&self.state, place);
        kept.map_err(|e| DeliverError::new(Failing::Passing, format!("where listening began cannot be kept: {e}")))
    }

    /// Asks the platform who the account is until it says so, and tells the host: all that a network does to listen to which the platform
    /// posts what happens.
    pub(crate) async fn introduce<F>(&self, abilities: Abilities, who: impl Fn() -> F + Send + Sync)
    where
        F: Future<Output = Result<Who, DeliverError>> + Send,
    {
        let mut backoff = Backoff::default();
        loop {
            let error = match who().await {
                Ok(me) => return self.link.ready(me, abilities).await,
                Err(error) => error,
            };
            if !backoff.pause(&trouble(error), &self.link, &self.cancel).await {
                return;
            }
        }
    }
}

/// An account as its platform names it.
pub(crate) fn account(id: &str) -> Who {
    Who { id: id.to_owned(), name: String::new(), bot: true }
}

/// What a network needs: its hosts, and its credentials with what each is and whether it cannot do without.
pub(crate) fn needs(network: &str, description: &str, hosts: &[&str], credentials: &[(&str, &str, bool)]) -> About {
    let credential = |(key, description, required): &(&str, &str, bool)| Credential {
        key: (*key).to_owned(),
        description: (*description).to_owned(),
        required: *required,
    };
    About {
        network: network.to_owned(),
        description: description.to_owned(),
        hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
        credentials: credentials.iter().map(credential).collect(),
        ..About::default()
    }
}

/// The key under which the owner grants further hosts; it is the host's own.
const HOSTS: &str = "hosts";

fn read<T: DeserializeOwned>(config: &Map<String, Value>) -> Result<T, String> {
    serde_json::from_value(Value::Object(config.clone())).map_err(|e| e.to_string())
}

/// The key without which something else would be wrong, or nothing. What is missing or not known is named by `why` itself.
fn culprit<'a, T: DeserializeOwned>(config: &'a Map<String, Value>, why: &str) -> Option<&'a str> {
    let is_it = |key: &&String| {
        let mut rest = config.clone();
        rest.remove(*key);
        !why.contains(&format!("`{key}`")) && read::<T>(&rest).err().is_none_or(|other| other != *why)
    };
    config.keys().find(is_it).map(String::as_str)
}

/// Why an account cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// The configuration is wrong; the words name the key.
    #[error("the configuration of the account is wrong: {0}")]
    Config(String),
    /// The files of an earlier time cannot be used.
    #[error("{0}")]
    State(String),
    /// A credential is not there, or none.
    #[error(transparent)]
    Credential(#[from] CredentialError),
}

impl OpenError {
    /// A key of the configuration whose value cannot be used, and why.
    pub(crate) fn of(key: &str, why: impl std::fmt::Display) -> Self {
        Self::Config(format!("`{key}`: {why}"))
    }

    /// How the account is with it.
    pub(crate) fn health(&self) -> Health {
        match self {
            Self::Config(_) => Health::Configuration,
            Self::State(_) => Health::Connecting,
            Self::Credential(_) => Health::Credential,
        }
    }
}

/// A file that a delivery sends.
#[derive(Debug, Clone)]
pub(crate) struct File {
    /// What the host says about it. The name is one plain piece of a path.
    pub(crate) about: Attachment,
    /// What it has in it.
    pub(crate) bytes: Bytes,
}

impl File {
    /// A name that is never empty.
    pub(crate) fn name(&self) -> &str {
        if self.about.name.is_empty() { "file" } else { &self.about.name }
    }

    /// What it is, in the form of a media type.
    pub(crate) fn mime(&self) -> &str {
        if self.about.mime.is_empty() { "application/octet-stream" } else { &self.about.mime }
    }
}

/// Why a delivery was not taken.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub(crate) struct DeliverError {
    /// Whether it is worth another try, and whether it may have had its effect.
    pub(crate) why: Failing,
    /// For a person.
    pub(crate) message: String,
    /// When to try again at the earliest.
    pub(crate) after: Option<Duration>,
}

impl DeliverError {
    /// One without a time.
    pub(crate) fn new(why: Failing, message: impl Into<String>) -> Self {
        Self { why, message: message.into(), after: None }
    }

    /// It will never work.
    pub(crate) fn never(message: impl Into<String>) -> Self {
        Self::new(Failing::Final, message)
    }

    /// Says when to try again.
    pub(crate) fn after(mut self, after: Option<Duration>) -> Self {
        self.after = after;
        self
    }
}

impl From<HttpError> for DeliverError {
    fn from(error: HttpError) -> Self {
        let why = match &error {
            // A host that is not granted stays so until the owner acts; the form of a request does not mend itself.
            HttpError::Denied { .. } | HttpError::Form(_) => Failing::Final,
            _ if error.may_have_arrived() => Failing::Unknown,
            _ => Failing::Passing,
        };
        Self::new(why, error.to_string())
    }
}

/// A request that came for the account.
#[derive(Debug, Clone)]
pub(crate) struct Hook {
    /// `GET` or `POST`.
    pub(crate) method: String,
    /// What stands behind the account's own path, without the query.
    pub(crate) path: String,
    /// The query, undecoded, without its mark.
    pub(crate) query: String,
    /// Names in lower case, in the order they came.
    pub(crate) headers: Vec<(String, String)>,
    /// The body as it came.
    pub(crate) body: Bytes,
}

impl Hook {
    /// A header that came exactly once: one that came twice says two things.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
        match (found.next(), found.next()) {
            (Some(value), None) => Some(value),
            _ => None,
        }
    }

    /// A value of the query, decoded.
    pub(crate) fn query(&self, key: &str) -> Option<String> {
        let pair = self.query.split('&').find_map(|pair| pair.split_once('=').filter(|(name, _)| *name == key));
        pair.and_then(|(_, value)| crate::http::decode(value))
    }
}

/// The answer to a webhook.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    /// An HTTP status.
    pub(crate) status: u16,
    /// Headers.
    pub(crate) headers: Vec<(String, String)>,
    /// The body.
    pub(crate) body: Bytes,
}

impl Answer {
    /// Nothing but a status.
    pub(crate) fn status(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    /// A body that is JSON.
    pub(crate) fn json(value: &Value) -> Self {
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        Self { status: 200, headers, body: value.to_string().into() }
    }

    /// A body that is plain text.
    pub(crate) fn text(body: impl Into<Bytes>) -> Self {
        let headers = vec![("content-type".to_owned(), "text/plain; charset=utf-8".to_owned())];
        Self { status: 200, headers, body: body.into() }
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only whether it can be read is of interest")]
    struct Config {
        name: String,
        #[serde(default)]
        poll_s: u64,
    }

    #[test]
    fn what_is_wrong_with_a_configuration_is_told_with_its_key() {
        for (config, key) in [
            (json!({"name": "a", "poll_s": "often"}), "`poll_s`"),
            (json!({"name": 7, "poll_s": 1}), "`name`"),
            (json!({"poll_s": 1}), "`name`"),
            (json!({"name": "a", "pol_s": 1}), "`pol_s`"),
        ] {
            let config = config.as_object().unwrap();
            let why = read::<Config>(config).unwrap_err();
            let told = culprit::<Config>(config, &why).map_or_else(|| why.clone(), |key| OpenError::of(key, &why).to_string());
            assert!(told.contains(key), "{told}");
        }
        let good = json!({"name": "a"});
        assert!(read::<Config>(good.as_object().unwrap()).is_ok());
    }
}
