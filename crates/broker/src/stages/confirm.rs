//! Stage 5: a person says yes, where one is needed. This module alone makes an [`Approved`].

use std::sync::Arc;

use model::{ApprovalId, Code, Failure, Risk};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::envelope::{Sealed, hex};
use crate::refusal::{Refusal, shown};
use crate::{Answered, Ask, CallFailure, Caller, Confirm, Grant, Tool};

/// The stage's number.
pub(crate) const STAGE: u8 = 5;
/// Characters of a person's word that the agent is told.
const NOTE_CHARS_MAX: usize = 500;

/// A call that may be made: its tool is of low risk, or a person said yes to exactly this. Stage 5 alone makes it.
///
/// Whoever is given one can look at it:
/// ```
/// fn look(call: &lazaret_broker::Approved) -> &serde_json::Value {
///     call.arguments()
/// }
/// ```
/// but nobody outside can make one, not even of another:
/// ```compile_fail,E0451
/// fn forge(call: lazaret_broker::Approved) -> lazaret_broker::Approved {
///     lazaret_broker::Approved { grant: None, ..call }
/// }
/// ```
#[derive(Debug)]
pub struct Approved {
    caller: Arc<Caller>,
    tool: Arc<Tool>,
    correlation: String,
    arguments: Value,
    grant: Option<Grant>,
}

impl Approved {
    /// Who asked.
    #[must_use]
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// What is called.
    #[must_use]
    pub fn tool(&self) -> &Tool {
        &self.tool
    }

    /// The call's name, unique in its session.
    #[must_use]
    pub fn correlation(&self) -> &str {
        &self.correlation
    }

    /// The validated arguments.
    #[must_use]
    pub fn arguments(&self) -> &Value {
        &self.arguments
    }

    /// The person's yes; `None` for a tool of low risk.
    #[must_use]
    pub fn grant(&self) -> Option<&Grant> {
        self.grant.as_ref()
    }
}

/// Who may be asked, and what is known already.
pub(crate) struct Asking<'a> {
    pub(crate) confirm: &'a dyn Confirm,
    /// Told when a person is asked.
    pub(crate) waiting: &'a (dyn Fn(&ApprovalId) + Send + Sync),
    /// The owner said yes with the request itself. Of no effect for anybody else.
    pub(crate) is_consented: bool,
}

/// What comes of this stage when it does not refuse.
#[derive(Debug)]
pub(crate) enum Passed {
    /// The call may be made.
    Go(Approved),
    /// It was made before; this came of it.
    Made(Result<Value, CallFailure>),
}

/// Asks for a yes where the tool's risk needs one.
pub(crate) async fn ask(asking: Asking<'_>, caller: &Arc<Caller>, tool: &Arc<Tool>, sealed: Sealed) -> Result<Passed, Refusal> {
    let hash = hash(caller, tool, &sealed.canonical);
    let envelope = sealed.envelope;
    let (correlation, arguments) = (envelope.correlation, envelope.payload.arguments);
    let mut grant = None;
    if tool.handler.asks() || tool.risk != Risk::Low && !(asking.is_consented && caller.is_owner()) {
        let ask = Ask { caller, correlation: &correlation, tool, arguments: &arguments, hash: &hash };
        grant = match asking.confirm.ask(ask, asking.waiting).await.map_err(|failure| of_failure(&failure))? {
            Answered::Approved(given) if given.hash == hash => Some(given),
            Answered::Left if tool.plugin.is_empty() => None,
            Answered::Left => return Err(refuse(Code::ConfirmationDenied, "nobody confirmed the call")),
            Answered::Approved(_) => return Err(refuse(Code::ConfirmationDenied, "what was confirmed is another call")),
            Answered::Denied(note) => return Err(denied(note.as_deref())),
            Answered::Expired => return Err(refuse(Code::ConfirmationTimeout, "nobody confirmed the call in time")),
            Answered::Made(outcome) => return Ok(Passed::Made(outcome)),
            Answered::Unknown => {
                let message = "the call was begun before and its outcome is unknown; it is not made again";
                return Err(refuse(Code::HandlerError, message));
            }
        };
    }
    Ok(Passed::Go(Approved { caller: Arc::clone(caller), tool: Arc::clone(tool), correlation, arguments, grant }))
}

/// What a confirmation could not do, as the agent sees it. A code that is not of the stages is kept from it.
pub(crate) fn of_failure(failure: &Failure) -> Refusal {
    match failure.code {
        Code::RateLimited => refuse(Code::RateLimited, shown(&failure.message, NOTE_CHARS_MAX)).retry_after(60),
        Code::ConfirmationDenied | Code::ConfirmationTimeout | Code::Conflict => {
            refuse(failure.code, shown(&failure.message, NOTE_CHARS_MAX))
        }
        code => {
            tracing::error!(%code, message = failure.message, "failed to have a call confirmed");
            refuse(Code::HandlerError, "the host could not have the call confirmed; it was not made")
        }
    }
}

fn denied(note: Option<&str>) -> Refusal {
    let message = match note {
        Some(note) => format!("a person refused the call: {}", shown(note, NOTE_CHARS_MAX)),
        None => "a person refused the call".to_owned(),
    };
    refuse(Code::ConfirmationDenied, message)
}

fn refuse(code: Code, message: impl Into<String>) -> Refusal {
    Refusal::new(STAGE, code, message)
}

/// What a yes is bound to. Each part is preceded by its length, so that no two calls have the same bytes.
fn hash(caller: &Caller, tool: &Tool, arguments: &[u8]) -> String {
    let mut hasher = Sha256::new();
    for part in [caller.key().as_bytes(), tool.plugin.as_bytes(), tool.name.as_bytes(), arguments] {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hex(&hasher.finalize())
}
