//! The secrets of this install, as commands see them.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use model::{Code, Failure, Timestamp};
use sanitize::Sanitizer;
use store::{SecretEntry, Secrets};
use zeroize::Zeroizing;

use crate::live::lock;
use crate::plugins::Touched;

/// Values by name.
type KeyValues = HashMap<String, Zeroizing<String>>;
/// Values by agent and name.
type OwnValues = HashMap<(String, String), Zeroizing<String>>;

/// Stored secrets: names for everybody who may ask, values for the gateway alone.
#[derive(Clone)]
pub struct SecretBook {
    secrets: Arc<Secrets>,
    /// The provider keys: asked for on every model call, so they are at hand. Held for single map operations.
    keys: Arc<Mutex<KeyValues>>,
    /// Those that one agent has for itself, by agent and name. Held for single map operations.
    own: Arc<Mutex<OwnValues>>,
    /// Values that were replaced or removed, the oldest first: what has seen them may still say them. Held for single operations.
    retired: Arc<Mutex<Vec<Retired>>>,
    /// Held while a value changes, here or by being read again.
    changing: Arc<tokio::sync::Mutex<()>>,
    /// When each was last used, as far as that is not kept yet: by name and scope. Held for single map operations.
    used: Arc<Mutex<HashMap<(String, String), Timestamp>>>,
    /// Takes all of them out of texts. Made anew with each change.
    sanitizer: Arc<RwLock<Arc<Sanitizer>>>,
    /// The door to tools, which hears of each new sanitizer.
    broker: Arc<OnceLock<broker::Broker>>,
    /// Hears which plugins' credentials have changed.
    touched: Arc<Touched>,
}

/// The scope of secrets that belong to no agent and no plugin.
const SCOPE: &str = "install";
/// What the scope of a secret begins with that one agent has for itself.
const AGENT_SCOPE: &str = "agent:";
/// The scope of values that were replaced or removed.
const RETIRED_SCOPE: &str = "retired";
/// How long such a value is still taken out of what agents say, in milliseconds: 90 days.
const RETIRED_TTL_MS: u64 = 90 * 24 * 60 * 60 * 1000;
/// Such values of one secret, and of all: beyond it the oldest goes.
const RETIRED_OF_ONE_MAX: usize = 16;
const RETIRED_MAX: usize = 1000;
/// How much of a secret's name stands in that of its retired values.
const RETIRED_NAME_BYTES_MAX: usize = 100;

/// A value that was replaced or removed.
struct Retired {
    /// Under which it is kept: digits, a colon and the beginning of the secret's name.
    key: String,
    at: Timestamp,
    value: Zeroizing<String>,
}

impl Retired {
    fn is_of(&self, name: &str) -> bool {
        self.key.split_once(':').is_some_and(|(_, of)| of == beginning(name))
    }
}

/// As much of a name as is kept with a retired value. Names are ASCII.
fn beginning(name: &str) -> &str {
    name.get(..RETIRED_NAME_BYTES_MAX).unwrap_or(name)
}

/// All that is at hand of what is stored.
struct Values {
    keys: KeyValues,
    own: OwnValues,
    /// The oldest first.
    retired: Vec<Retired>,
}

impl Values {
    async fn read(secrets: &Secrets) -> Result<Self, Failure> {
        let (mut keys, mut own, mut retired) = (HashMap::new(), HashMap::new(), Vec::new());
        for entry in secrets.list().await.map_err(|e| e.failure())? {
            let agent = entry.scope.strip_prefix(AGENT_SCOPE);
            if entry.scope != SCOPE && entry.scope != RETIRED_SCOPE && agent.is_none() {
                continue;
            }
            let value = match secrets.get(&entry.name, &entry.scope).await {
                // Another daemon removed it a moment ago.
                Err(store::SecretsError::NotFound { .. }) => continue,
                value => value.map_err(|e| e.failure())?,
            };
            match agent {
                Some(agent) => drop(own.insert((agent.to_owned(), entry.name), value)),
                None if entry.scope == SCOPE => drop(keys.insert(entry.name, value)),
                None => retired.push(Retired { key: entry.name, at: entry.updated, value }),
            }
        }
        retired.sort_by_key(|old| old.at);
        Ok(Self { keys, own, retired })
    }
}

/// The secrets as one agent has them: its own before those of the install.
pub(crate) struct AgentKeys {
    book: SecretBook,
    agent: String,
}

impl gateway::Keys for AgentKeys {
    fn key(&self, name: &str) -> Option<Zeroizing<String>> {
        self.book.value_of(name, &self.agent)
    }
}

impl SecretBook {
    /// Reads every secret of the install once.
    ///
    /// # Errors
    /// A value cannot be read: the master key is another one, or a row was changed.
    pub(crate) async fn open(secrets: Arc<Secrets>, touched: Arc<Touched>) -> Result<Self, Failure> {
        let Values { keys, own, retired } = Values::read(&secrets).await?;
        let book = Self {
            secrets,
            keys: Arc::new(Mutex::new(keys)),
            own: Arc::new(Mutex::new(own)),
            retired: Arc::new(Mutex::new(retired)),
            changing: Arc::default(),
            used: Arc::default(),
            sanitizer: Arc::default(),
            broker: Arc::default(),
            touched,
        };
        book.forget_retired().await?;
        book.renew();
        Ok(book)
    }

    /// Reads every secret again: another daemon has changed some. What was in force stays when they cannot be read.
    ///
    /// # Errors
    /// As [`SecretBook::open`].
    pub(crate) async fn read_again(&self) -> Result<(), Failure> {
        let _changing = self.changing.lock().await;
        let Values { keys, own, retired } = Values::read(&self.secrets).await?;
        // Whoever replaced a value has kept the one before among these.
        *lock(&self.retired) = retired;
        *lock(&self.own) = own;
        let before = std::mem::replace(&mut *lock(&self.keys), keys);
        self.renew();
        let keys = lock(&self.keys);
        let names: BTreeSet<&String> = before.keys().chain(keys.keys()).filter(|name| before.get(*name) != keys.get(*name)).collect();
        names.into_iter().for_each(|name| self.touched.secret(name));
        Ok(())
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

    /// The value that an agent's doors use: its own, else that of the install.
    pub(crate) fn value_of(&self, name: &str, agent: &str) -> Option<Zeroizing<String>> {
        let own = lock(&self.own).get(&(agent.to_owned(), name.to_owned())).cloned();
        let scope = if own.is_some() { format!("{AGENT_SCOPE}{agent}") } else { SCOPE.to_owned() };
        let value = own.or_else(|| self.value(name))?;
        self.mark_used(name, scope);
        Some(value)
    }

    /// The secrets as one agent has them.
    pub(crate) fn of_agent(&self, agent: &str) -> AgentKeys {
        AgentKeys { book: self.clone(), agent: agent.to_owned() }
    }

    /// Every value that an agent may have seen under this name: those that are in force, and those that were.
    pub(crate) fn seen_values(&self, name: &str, agent: &str) -> Vec<Zeroizing<String>> {
        let mut all: Vec<Zeroizing<String>> =
            lock(&self.retired).iter().filter(|old| old.is_of(name)).map(|old| old.value.clone()).collect();
        all.extend(self.value(name));
        all.extend(lock(&self.own).get(&(agent.to_owned(), name.to_owned())).cloned());
        all
    }

    fn mark_used(&self, name: &str, scope: String) {
        lock(&self.used).insert((name.to_owned(), scope), crate::now());
    }

    /// Keeps when secrets were used since the last time.
    ///
    /// # Errors
    /// The store cannot be written.
    pub(crate) async fn keep_used(&self) -> Result<(), Failure> {
        let used = std::mem::take(&mut *lock(&self.used));
        if used.is_empty() {
            return Ok(());
        }
        let uses = used.into_iter().map(|((name, scope), at)| (name, scope, at)).collect();
        self.secrets.note_used(uses).await.map_err(|e| e.failure())
    }

    /// Keeps a value that is in force no longer, sealed, so that it goes on being taken out of texts. Before it is replaced: a
    /// kill in between leaves it known twice, never not at all.
    async fn retire(&self, name: &str, value: Zeroizing<String>) -> Result<(), Failure> {
        if crate::auth::is_record(name) || lock(&self.retired).iter().any(|old| old.is_of(name) && old.value == value) {
            return Ok(());
        }
        let key = format!("{:032x}:{}", crate::clock::fresh_bits(), beginning(name));
        let at = crate::now();
        self.secrets.set(&key, RETIRED_SCOPE, value.clone(), at).await.map_err(|e| e.failure())?;
        lock(&self.retired).push(Retired { key, at, value });
        self.forget_retired().await
    }

    /// Forgets retired values that are too old or too many.
    async fn forget_retired(&self) -> Result<(), Failure> {
        let oldest = crate::now().0.saturating_sub(RETIRED_TTL_MS);
        let gone: Vec<Retired> = {
            let mut all = lock(&self.retired);
            let over = all.len().saturating_sub(RETIRED_MAX);
            let mut of_one: HashMap<String, usize> = HashMap::new();
            let mut keep = vec![true; all.len()];
            for (at, old) in all.iter().enumerate().rev() {
                let count = of_one.entry(old.key.split_once(':').map_or("", |(_, name)| name).to_owned()).or_default();
                *count += 1;
                keep[at] = *count <= RETIRED_OF_ONE_MAX && at >= over && old.at.0 >= oldest;
            }
            let mut keep = keep.into_iter();
            all.extract_if(.., |_| !keep.next().unwrap_or(true)).collect()
        };
        for old in gone {
            match self.secrets.remove(&old.key, RETIRED_SCOPE).await {
                // Another daemon was quicker.
                Ok(()) | Err(store::SecretsError::NotFound { .. }) => {}
                Err(error) => return Err(error.failure()),
            }
        }
        Ok(())
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
        let mut values: Vec<Zeroizing<String>> = lock(&self.keys).values().cloned().collect();
        values.extend(lock(&self.own).values().cloned());
        values.extend(lock(&self.retired).iter().map(|old| old.value.clone()));
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
        let own = [crate::egress::SCOPE, crate::bound::SCOPE, crate::exposed::SCOPE, crate::webhooks::SCOPE, RETIRED_SCOPE];
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
        let _changing = self.changing.lock().await;
        if let Some(old) = self.value(name).filter(|old| *old != value) {
            self.retire(name, old).await?;
        }
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
        let _changing = self.changing.lock().await;
        if let Some(old) = self.value(name) {
            self.retire(name, old).await?;
        }
        self.secrets.remove(name, SCOPE).await.map_err(|e| e.failure())?;
        lock(&self.keys).remove(name);
        self.changed(name);
        Ok(())
    }

    /// Stores a value that one agent has for itself: its doors use it instead of the install's.
    ///
    /// # Errors
    /// As [`SecretBook::set`]; the value cannot stand in a header.
    pub(crate) async fn set_of(&self, name: &str, agent: &str, value: Zeroizing<String>) -> Result<(), Failure> {
        let value = Zeroizing::new(value.trim().to_owned());
        gateway::egress::check_value(&value).map_err(|e| Failure::new(Code::Usage, e.to_string()).field("value"))?;
        let (key, scope) = ((agent.to_owned(), name.to_owned()), format!("{AGENT_SCOPE}{agent}"));
        let _changing = self.changing.lock().await;
        let old = lock(&self.own).get(&key).cloned();
        if let Some(old) = old.filter(|old| *old != value) {
            self.retire(name, old).await?;
        }
        self.secrets.set(name, &scope, value.clone(), crate::now()).await.map_err(|e| e.failure())?;
        lock(&self.own).insert(key, value);
        self.changed(name);
        Ok(())
    }

    /// Forgets a value that one agent has for itself.
    ///
    /// # Errors
    /// There is none, or the store cannot be written.
    pub(crate) async fn remove_of(&self, name: &str, agent: &str) -> Result<(), Failure> {
        let key = (agent.to_owned(), name.to_owned());
        let _changing = self.changing.lock().await;
        let old = lock(&self.own).get(&key).cloned();
        if let Some(old) = old {
            self.retire(name, old).await?;
        }
        self.secrets.remove(name, &format!("{AGENT_SCOPE}{agent}")).await.map_err(|e| e.failure())?;
        lock(&self.own).remove(&key);
        self.changed(name);
        Ok(())
    }
}

impl gateway::Keys for SecretBook {
    fn key(&self, provider: &str) -> Option<Zeroizing<String>> {
        let key = self.value(provider)?;
        self.mark_used(provider, SCOPE.to_owned());
        Some(key)
    }
}
