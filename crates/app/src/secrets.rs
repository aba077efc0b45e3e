//! The secrets of this install, as commands see them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use model::{Code, Failure};
use store::{SecretEntry, Secrets};
use zeroize::Zeroizing;

use crate::live::lock;

/// Stored secrets: names for everybody who may ask, values for the gateway alone.
#[derive(Clone)]
pub struct SecretBook {
    secrets: Arc<Secrets>,
    /// The provider keys: asked for on every model call, so they are at hand. Held for single map operations.
    keys: Arc<Mutex<HashMap<String, Zeroizing<String>>>>,
}

/// The scope of secrets that belong to no agent and no plugin.
const SCOPE: &str = "install";

impl SecretBook {
    /// Reads every secret of the install once.
    ///
    /// # Errors
    /// A value cannot be read: the master key is another one, or a row was changed.
    pub(crate) async fn open(secrets: Arc<Secrets>) -> Result<Self, Failure> {
        let mut keys = HashMap::new();
        for entry in secrets.list().await.map_err(|e| e.failure())? {
            if entry.scope == SCOPE {
                let value = secrets.get(&entry.name, SCOPE).await.map_err(|e| e.failure())?;
                keys.insert(entry.name, value);
            }
        }
        Ok(Self { secrets, keys: Arc::new(Mutex::new(keys)) })
    }

    /// Names, scopes and times.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn list(&self) -> Result<Vec<SecretEntry>, Failure> {
        self.secrets.list().await.map_err(|e| e.failure())
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
        Ok(())
    }

    /// Forgets a secret.
    ///
    /// # Errors
    /// There is none of this name, or the store cannot be written.
    pub async fn remove(&self, name: &str) -> Result<(), Failure> {
        lock(&self.keys).remove(name);
        self.secrets.remove(name, SCOPE).await.map_err(|e| e.failure())
    }
}

impl gateway::Keys for SecretBook {
    fn key(&self, provider: &str) -> Option<Zeroizing<String>> {
        lock(&self.keys).get(provider).cloned()
    }
}
