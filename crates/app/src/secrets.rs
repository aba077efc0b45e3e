//! The secrets of this install, as commands see them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use model::{Code, Failure};
use sanitize::Sanitizer;
use store::{SecretEntry, Secrets};
use zeroize::Zeroizing;

use crate::live::lock;
use crate::plugins::Touched;

/// Stored secrets: names for everybody who may ask, values for the gateway alone.
#[derive(Clone)]
pub struct SecretBook {
    secrets: Arc<Secrets>,
    /// The provider keys: asked for on every model call, so they are at hand. Held for single map operations.
    keys: Arc<Mutex<HashMap<String, Zeroizing<String>>>>,
    /// Takes all of them out of texts. Made anew with each change.
    sanitizer: Arc<RwLock<Arc<Sanitizer>>>,
    /// The door to tools, which hears of each new sanitizer.
    broker: Arc<OnceLock<broker::Broker>>,
    /// Hears which plugins' credentials have changed.
    touched: Arc<Touched>,
}

/// The scope of secrets that belong to no agent and no plugin.
const SCOPE: &str = "install";

impl SecretBook {
    /// Reads every secret of the install once.
    ///
    /// # Errors
    /// A value cannot be read: the master key is another one, or a row was changed.
    pub(crate) async fn open(secrets: Arc<Secrets>, touched: Arc<Touched>) -> Result<Self, Failure> {
        let mut keys = HashMap::new();
        for entry in secrets.list().await.map_err(|e| e.failure())? {
            if entry.scope == SCOPE {
                let value = secrets.get(&entry.name, SCOPE).await.map_err(|e| e.failure())?;
                keys.insert(entry.name, value);
            }
        }
        let book = Self { secrets, keys: Arc::new(Mutex::new(keys)), sanitizer: Arc::default(), broker: Arc::default(), touched };
        book.renew();
        Ok(book)
    }

    /// From now on this broker takes the values out of its answers, as they are at each moment.
    pub(crate) fn watched_by(&self, broker: &broker::Broker) {
        let broker = self.broker.get_or_init(|| broker.clone());
        broker.set_sanitizer(self.sanitizer());
    }

    /// The secrets themselves, for what keeps some of its own under another scope or beside what they belong to.
    pub(crate) fn vault(&self) -> &Secrets {
        &self.secrets
    }

    /// Takes every value that is stored out of texts, and whatever looks like a credential.
    pub(crate) fn sanitizer(&self) -> Arc<Sanitizer> {
        Arc::clone(&self.sanitizer.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The text without credentials.
    pub(crate) fn clean(&self, text: String) -> String {
        self.sanitizer().text(&text).unwrap_or(text)
    }

    /// A value, for who is allowed to hold it.
    pub(crate) fn value(&self, name: &str) -> Option<Zeroizing<String>> {
        lock(&self.keys).get(name).cloned()
    }

    /// The agents that have a credential of a plugin for themselves.
    pub(crate) fn agents_of(&self, plugin: &str) -> Vec<String> {
        let prefix = format!("plugin.{plugin}.");
        let agent = |name: &String| name.strip_prefix(&prefix)?.split_once('@').map(|(_, agent)| agent.to_owned());
        let mut agents: Vec<String> = lock(&self.keys).keys().filter_map(agent).collect();
        agents.sort();
        agents.dedup();
        agents
    }

    fn renew(&self) {
        let values: Vec<Zeroizing<String>> = lock(&self.keys).values().cloned().collect();
        let sanitizer = Arc::new(Sanitizer::new(values.iter().map(|value| value.as_str())));
        *self.sanitizer.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&sanitizer);
        if let Some(broker) = self.broker.get() {
            broker.set_sanitizer(sanitizer);
        }
    }

    /// A value has changed, or is gone.
    fn changed(&self, name: &str) {
        self.renew();
        self.touched.secret(name);
    }

    /// Names, scopes and times.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn list(&self) -> Result<Vec<SecretEntry>, Failure> {
        let mut all = self.secrets.list().await.map_err(|e| e.failure())?;
        // What the egress proxy keeps beside them is its own affair.
        let own = [crate::egress::SCOPE, crate::bound::SCOPE, crate::exposed::SCOPE, crate::webhooks::SCOPE];
        all.retain(|entry| !own.contains(&entry.scope.as_str()));
        Ok(all)
    }

    /// Stores a value.
    ///
    /// # Errors
    /// The name or value is malformed, or the store cannot be written.
    pub async fn set(&self, name: &str, value: Zeroizing<String>) -> Result<(), Failure> {
        if value.trim().is_empty() {
            return Err(Failure::new(Code::Usage, "the value is empty").field("value"));
        }
        let value = Zeroizing::new(value.trim().to_owned());
        self.secrets.set(name, SCOPE, value.clone(), crate::now()).await.map_err(|e| e.failure())?;
        lock(&self.keys).insert(name.to_owned(), value);
        self.changed(name);
        Ok(())
    }

    /// Forgets a secret.
    ///
    /// # Errors
    /// There is none of this name, or the store cannot be written.
    pub async fn remove(&self, name: &str) -> Result<(), Failure> {
        self.secrets.remove(name, SCOPE).await.map_err(|e| e.failure())?;
        lock(&self.keys).remove(name);
        self.changed(name);
        Ok(())
    }
}

impl gateway::Keys for SecretBook {
    fn key(&self, provider: &str) -> Option<Zeroizing<String>> {
        lock(&self.keys).get(provider).cloned()
    }
}
