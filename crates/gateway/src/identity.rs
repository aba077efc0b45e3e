//! Who asks. Made by the host from the door that the caller stands at, never from the request.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use model::{Money, SandboxId, SessionId, TurnId};

use crate::tape;

/// Whoever is behind one door.
#[derive(Clone)]
pub struct Identity {
    /// The sandbox that the door belongs to.
    pub sandbox: SandboxId,
    /// The session that runs in it.
    pub session: SessionId,
    /// The turn that the calls are counted to.
    pub turn: TurnId,
    /// The provider that answers: a name of the configuration, or `rehearsal`.
    pub provider: String,
    /// The model that is put in where a request names `default` or none.
    pub model: Option<String>,
    /// Who is asked in turn when that provider does not answer. Those that do not speak the API of a call are passed over.
    pub fallback: Vec<Fallback>,
    /// The only models that may be called, compared in canonical form; empty allows every model.
    pub models: Vec<String>,
    /// The budgets that each call draws from. All of them must cover it.
    pub budgets: Vec<Budget>,
    /// Whether calls are recorded, or answered from a tape.
    pub tape: Option<TapeMode>,
    /// Whether the script answers instead of the provider, over the same wire.
    pub rehearsal: bool,
    /// Who may let a call wait when a budget does not cover it; without one it is refused at once.
    pub patience: Option<Arc<dyn Patience>>,
    /// Who counts how often the turn asks its model; without one nobody does.
    pub rounds: Option<Arc<dyn Rounds>>,
}

/// A provider that is asked when the one before does not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fallback {
    /// The provider: a name of the configuration.
    pub provider: String,
    /// The model that is asked for there, whatever the request names; `None` leaves it.
    pub model: Option<String>,
}

/// Counts the calls of one turn before they leave, so that none is made that may not be.
pub trait Rounds: Send + Sync {
    /// One more call is to be made. What is counted here outlives the daemon.
    ///
    /// # Errors
    /// There were as many as there may be, or the count cannot be kept: the call is not made.
    fn take(&self) -> Result<(), RoundsError>;
    /// A call that was counted came to nothing.
    fn give_back(&self);
}

/// Why a call is one too many.
#[derive(Debug, thiserror::Error)]
pub enum RoundsError {
    /// There were as many as there may be.
    #[error("ask the model more than {0} times in one turn")]
    Over(u32),
    /// It is not known how many there were.
    #[error("keep count of the calls of this turn")]
    Unkept(#[source] std::io::Error),
}

/// Decides over calls that a budget does not cover.
pub trait Patience: Send + Sync {
    /// A call may cost up to `worst`, which the budget `key` does not cover. Waits until it may; whether the call is to be tried
    /// once more. Dropped when the caller goes.
    fn exceeded<'a>(&'a self, key: &'a BudgetKey, worst: Money) -> BoxFuture<'a, bool>;
}

/// The name of a budget in the ledger, for example `session:ses_...` or `day:2026-11-21`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BudgetKey(pub String);

/// One budget and its limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    /// Its name in the ledger.
    pub key: BudgetKey,
    /// The most that may ever be drawn from it.
    pub limit: Money,
}

/// What a tape is used for.
#[derive(Clone)]
pub enum TapeMode {
    /// Every exchange is written to it.
    Record(Arc<tape::Writer>),
    /// Every request is answered from it, without a network.
    Replay(Arc<tape::Reader>),
}
