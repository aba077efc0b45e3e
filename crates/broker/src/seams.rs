//! What the application does for the broker: asks people, keeps what was decided, and knows what is asked about itself.

use futures_util::future::BoxFuture;
use model::{ApprovalId, AuditEntry, Failure, Timestamp};
use serde_json::Value;

use crate::{CallFailure, Caller, Tool};

/// A person's yes to exactly one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The confirmation. It serves as the key that keeps an effect outside from happening twice.
    pub id: ApprovalId,
    /// The hash of session, tool and arguments that was answered.
    pub hash: String,
}

/// What a person is asked.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// Who wants it.
    pub caller: &'a Caller,
    /// The call's name.
    pub correlation: &'a str,
    /// What would be called.
    pub tool: &'a Tool,
    /// With what, validated.
    pub arguments: &'a Value,
    /// SHA-256 over session, tool and arguments, in hexadecimal.
    pub hash: &'a str,
}

/// What came of asking.
#[derive(Debug, Clone, PartialEq)]
pub enum Answered {
    /// A person said yes. The grant is not used yet.
    Approved(Grant),
    /// Nobody is asked: the agent's owner left calls like this to it. Of effect for the daemon's own tools alone.
    Left,
    /// A person said no, perhaps with a word for the agent.
    Denied(Option<String>),
    /// Nobody answered in time.
    Expired,
    /// This very call was made before, and this is what came of it.
    Made(Result<Value, CallFailure>),
    /// This very call was begun before and what came of it is not known: it must not be made again.
    Unknown,
}

/// Who asks people, and keeps what they said.
pub trait Confirm: Send + Sync {
    /// Asks a person and waits for the answer; finds what was answered when the very same call (session, correlation, hash) comes
    /// again after a restart. Calls `waiting` with the confirmation as soon as somebody is asked.
    fn ask<'a>(&'a self, ask: Ask<'a>, waiting: &'a (dyn Fn(&ApprovalId) + Send + Sync)) -> BoxFuture<'a, Result<Answered, Failure>>;

    /// Uses a grant up: durable before this returns. A grant that was used, or whose hash differs, is refused.
    fn begin<'a>(&'a self, grant: &'a Grant) -> BoxFuture<'a, Result<(), Failure>>;

    /// Keeps what came of a call whose grant was used: durable before this returns.
    fn finish<'a>(&'a self, grant: &'a Grant, outcome: &'a Result<Value, CallFailure>) -> BoxFuture<'a, Result<(), Failure>>;
}

/// Who keeps what was decided.
pub trait Audit: Send + Sync {
    /// Keeps an entry soon. Waits only when too many wait already; never loses one while the daemon lives.
    fn note(&self, entry: AuditEntry) -> BoxFuture<'_, ()>;

    /// Keeps an entry: durable before this returns.
    fn note_now(&self, entry: AuditEntry) -> BoxFuture<'_, Result<(), Failure>>;
}

/// Which of a session's own decisions are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Only those of this call.
    pub correlation: Option<String>,
    /// Only those with this outcome.
    pub outcome: Option<String>,
    /// At most this many, the newest.
    pub last: usize,
}

/// What an agent may know about itself.
pub trait Diagnostics: Send + Sync {
    /// The newest decisions about calls of the caller's own session, oldest first. Never another session's.
    fn recent<'a>(&'a self, caller: &'a Caller, wanted: &'a Wanted) -> BoxFuture<'a, Result<Vec<AuditEntry>, Failure>>;

    /// When the caller's session began.
    fn began<'a>(&'a self, caller: &'a Caller) -> BoxFuture<'a, Option<Timestamp>>;
}

/// How a plugin is, for those who may call its tools.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// The plugin.
    pub plugin: String,
    /// What is wrong with it, in one word; `None` when nothing is.
    pub category: Option<String>,
    /// Groups that may know of it; `None` for all.
    pub groups: Option<std::collections::BTreeSet<String>>,
}
