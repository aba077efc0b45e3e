//! The broker: one handle over the catalogue, the stages and what they keep.

use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use model::{ApprovalId, Code};
use sanitize::Sanitizer;
use serde_json::Value;
use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;

use crate::{Audit, Caller, Catalogue, Confirm};

/// How often one session may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Calls in a minute, in the long run.
    pub per_minute: u32,
    /// Calls at once after a rest.
    pub burst: u32,
}

impl Default for Rate {
    fn default() -> Self {
        Self { per_minute: 600, burst: 100 }
    }
}

/// The door to tools. A cheap handle.
#[derive(Clone)]
pub struct Broker {
    parts: Arc<Parts>,
}

struct Parts {
    catalogue: RwLock<Arc<Catalogue>>,
    sanitizer: RwLock<Arc<Sanitizer>>,
    confirm: Arc<dyn Confirm>,
    audit: Arc<dyn Audit>,
}

impl Broker {
    /// A broker that knows no tool yet.
    #[must_use]
    pub fn new(confirm: Arc<dyn Confirm>, audit: Arc<dyn Audit>) -> Self {
        Self { parts: Arc::new(Parts { catalogue: RwLock::default(), sanitizer: RwLock::default(), confirm, audit }) }
    }

    /// From now on these tools can be called. Calls under way keep theirs.
    pub fn set_catalogue(&self, catalogue: Catalogue) {
        *self.parts.catalogue.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(catalogue);
    }

    /// The tools that can be called.
    #[must_use]
    pub fn catalogue(&self) -> Arc<Catalogue> {
        Arc::clone(&self.parts.catalogue.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What takes credentials out of answers now, for whoever keeps what agents say.
    #[must_use]
    pub fn sanitizer(&self) -> Arc<Sanitizer> {
        Arc::clone(&self.parts.sanitizer.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on these credentials are taken out of every answer.
    pub fn set_sanitizer(&self, sanitizer: Arc<Sanitizer>) {
        *self.parts.sanitizer.write().unwrap_or_else(PoisonError::into_inner) = sanitizer;
    }

    /// Carries one request through all stages. `waiting` is told when a person is asked.
    pub async fn call(&self, caller: &Arc<Caller>, request: &[u8], waiting: &(dyn Fn(&ApprovalId) + Send + Sync)) -> wire::Answer {
        let _ = (caller, request, waiting, &self.parts.confirm, &self.parts.audit);
        let error = wire::ErrorBody {
            code: Code::UnknownTool.to_string(),
            message: "there is no such tool".to_owned(),
            retriable: false,
            stage: Some(2),
            field: None,
            retry_after: None,
        };
        wire::Answer { correlation: String::new(), result: Value::Null, error: Some(error) }
    }

    /// Serves a connection from a sandbox until it ends. `read` came already after the door line. Calls run at once.
    pub async fn serve(&self, stream: UnixStream, read: Bytes, caller: Arc<Caller>, cancel: CancellationToken) {
        let _ = (stream, read, caller, cancel);
    }
}
