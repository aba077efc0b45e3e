//! What the gateway needs from others: keys, a durable ledger, and somebody to tell.

use futures_util::future::BoxFuture;
use model::{Code, Money, SandboxId, SessionId, TurnId, Usage};
use zeroize::Zeroizing;

use crate::BudgetKey;

/// The host's secrets.
pub trait Keys: Send + Sync {
    /// The key or token of a provider, or `None` when there is none. Asked once per call, so a rotated key counts at once.
    fn key(&self, provider: &str) -> Option<Zeroizing<String>>;
}

/// One call to a model, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The sandbox that asked.
    pub sandbox: SandboxId,
    /// Its session.
    pub session: SessionId,
    /// Its turn.
    pub turn: TurnId,
    /// The provider that answered.
    pub provider: String,
    /// The model that was asked for, cut to 128 bytes.
    pub model: String,
    /// What the provider counted; zero when it counted nothing.
    pub usage: Usage,
    /// What it cost: by usage, or the whole reservation when a paid call ended without a count.
    pub cost: Money,
    /// How the cost is known.
    pub basis: Basis,
    /// The status that the caller saw.
    pub status: u16,
    /// Why it failed, where it did.
    pub code: Option<Code>,
    /// For people, where it failed. Holds no secret.
    pub message: String,
    /// Who is asked instead, where the caller does not hear of the failure.
    pub instead: Option<String>,
    /// From the request to the end of its answer.
    pub took: std::time::Duration,
}

/// How a cost is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// From the provider's count and the price list.
    Counted,
    /// The provider did not count, so the reservation stands.
    Reserved,
    /// The price is not known; the cost is nothing.
    Unpriced,
    /// Nothing was charged: a refusal, a script, a tape or a free call.
    Free,
}

/// The durable side of budgets and calls. The application implements it on its store.
///
/// Every method answers only after what it did is durable. A failure closes the gateway for calls until a later
/// attempt succeeds.
pub trait Ledger: Send + Sync {
    /// Draws up to `want` from the budget, never beyond `limit` in all, and answers what was drawn (zero when nothing
    /// is left). What was drawn and not given back counts as spent, also after a crash.
    fn draw<'a>(&'a self, key: &'a BudgetKey, limit: Money, want: Money) -> BoxFuture<'a, Result<Money, LedgerError>>;

    /// Returns what was drawn and not spent.
    fn give_back<'a>(&'a self, key: &'a BudgetKey, unspent: Money) -> BoxFuture<'a, Result<(), LedgerError>>;

    /// Keeps calls, in one commit.
    fn record<'a>(&'a self, calls: &'a [Call]) -> BoxFuture<'a, Result<(), LedgerError>>;
}

/// Why the ledger did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[error("write the ledger")]
pub struct LedgerError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Somebody who is told of each call, for `usage` and `error` events.
pub trait Observer: Send + Sync {
    /// Called once per call, when it has ended. Must not block.
    fn called(&self, call: &Call);
}

/// Nobody.
impl Observer for () {
    fn called(&self, _call: &Call) {}
}
