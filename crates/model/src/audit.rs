//! What is kept of every decision.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Code, SessionId, Timestamp, TurnId};

/// What kind of decision it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AuditKind {
    /// A tool call through the broker.
    Tool,
    /// A model call through the gateway.
    Model,
    /// A connection or request through the egress proxy.
    Egress,
    /// A confirmation that was asked for or answered.
    Confirmation,
    /// What the owner changed: plugins, credentials, tokens, policy.
    Admin,
}

impl AuditKind {
    /// Every kind.
    pub const ALL: [AuditKind; 5] = [AuditKind::Tool, AuditKind::Model, AuditKind::Egress, AuditKind::Confirmation, AuditKind::Admin];

    /// The word in the store and in answers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            AuditKind::Tool => "tool",
            AuditKind::Model => "model",
            AuditKind::Egress => "egress",
            AuditKind::Confirmation => "confirmation",
            AuditKind::Admin => "admin",
        }
    }
}

/// One decision, before it has its place in the chain. Holds no secret: whoever makes one has sanitized it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct AuditEntry {
    /// When it was made.
    pub time: Timestamp,
    /// What kind it is.
    pub kind: AuditKind,
    /// The session whose sandbox asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// The turn that ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<TurnId>,
    /// Who: `agent:NAME`, `owner`, `token:ID`, `plugin:NAME`.
    pub actor: String,
    /// What about: `tool.invoke.NAME`, `HOST:PORT`, a model, a verb.
    pub topic: String,
    /// The call's own name, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation: Option<String>,
    /// The broker's stage that decided, 1 to 6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<u8>,
    /// `routed`, `rejected`, `sanitized`, `error`, `allowed`, `denied`, `asked`, `approved`, `expired`, `changed`.
    pub outcome: String,
    /// Why not, where it was refused or failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Code>,
    /// Particulars: hash of the arguments, fields that were redacted, bytes, cost.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub detail: Value,
}
