//! What is kept of one request: one row for each, and for what can have an effect one more before it happens.

use model::{AuditEntry, AuditKind, Code, Timestamp};
use serde_json::{Map, Value, json};
use tokio::time::Instant;
use wire::Origin;

use crate::refusal::shown;
use crate::stages::envelope::{CORRELATION_BYTES_MAX, Sealed, TOPIC_BYTES_MAX};
use crate::{Caller, Tool};

/// What is known of a request so far.
#[derive(Debug)]
pub(crate) struct Trace {
    /// The envelope's identity.
    pub(crate) id: String,
    pub(crate) time: Timestamp,
    pub(crate) began: Instant,
    pub(crate) correlation: String,
    topic: String,
    arguments: Option<String>,
    plugin: String,
    /// Whose words the answer holds.
    pub(crate) origin: Option<Origin>,
}

impl Trace {
    pub(crate) fn new(id: String, time: Timestamp) -> Self {
        let (correlation, topic, plugin) = (String::new(), String::new(), String::new());
        Self { id, time, began: Instant::now(), correlation, topic, arguments: None, plugin, origin: None }
    }

    /// The message was read.
    pub(crate) fn read(&mut self, sealed: &Sealed) {
        self.correlation.clone_from(&sealed.envelope.correlation);
        self.topic = shown(&sealed.envelope.topic, TOPIC_BYTES_MAX);
        self.arguments = Some(sealed.arguments_hash());
    }

    /// The tool was found.
    pub(crate) fn found(&mut self, tool: &Tool) {
        tool.plugin.clone_into(&mut self.plugin);
        let origin = || Origin { tool: tool.name.clone(), plugin: tool.plugin.clone(), untrusted: true };
        self.origin = (!tool.is_intrinsic()).then(origin);
    }

    /// A row of the audit.
    pub(crate) fn entry(
        &self,
        caller: &Caller,
        outcome: &str,
        stage: Option<u8>,
        code: Option<Code>,
        more: Map<String, Value>,
    ) -> AuditEntry {
        let took = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        let mut detail = Map::from_iter([("id".to_owned(), json!(self.id)), ("micros".to_owned(), json!(took))]);
        if let Some(hash) = &self.arguments {
            detail.insert("arguments_sha256".to_owned(), json!(hash));
        }
        if !self.plugin.is_empty() {
            detail.insert("plugin".to_owned(), json!(self.plugin));
        }
        if let Some(sandbox) = &caller.sandbox {
            detail.insert("source".to_owned(), json!(sandbox));
        }
        if let Some(asker) = &caller.asker {
            detail.insert("asker".to_owned(), json!(asker.actor()));
            detail.insert("standing".to_owned(), json!(asker.standing.as_str()));
        }
        detail.extend(more);
        debug_assert!(self.correlation.len() <= CORRELATION_BYTES_MAX);
        AuditEntry {
            time: self.time,
            kind: AuditKind::Tool,
            session: caller.session.clone(),
            turn: caller.turn.clone(),
            actor: caller.actor(),
            topic: self.topic.clone(),
            correlation: (!self.correlation.is_empty()).then(|| self.correlation.clone()),
            stage,
            outcome: outcome.to_owned(),
            code,
            detail: Value::Object(detail),
        }
    }
}
