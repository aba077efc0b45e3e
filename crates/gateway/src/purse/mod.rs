//! Budgets: what a call may cost at most is set aside before it leaves.
//!
//! Each budget draws slabs from the ledger, durable before they are used, and calls reserve from the slab in memory. What was
//! drawn and never given back counts as spent, so a crash can only make a budget poorer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use model::Money;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::{Budget, BudgetKey, Ledger, LedgerError};

/// A budget is drawn in about this many slabs, so that small calls do not each wait for the disk.
const SLABS_PER_LIMIT: u64 = 16;
/// After the ledger had nothing left, it is asked again no sooner than this.
const DRY_RETRY: Duration = Duration::from_secs(1);

/// Every budget that a turn under way draws from.
pub(crate) struct Purse {
    ledger: Arc<dyn Ledger>,
    tasks: TaskTracker,
    /// Held for map operations only.
    accounts: Mutex<HashMap<BudgetKey, Arc<Account>>>,
}

/// Why nothing was set aside.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PurseError {
    /// The budget does not cover the call.
    #[error("reserve {worst} from budget `{}` of which {left} is left", .key.0)]
    Exceeded { key: BudgetKey, worst: Money, left: Money },
    /// The ledger does not answer; nothing may be spent.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

struct Account {
    key: BudgetKey,
    /// Held for a few additions, never across an await.
    sums: Mutex<Sums>,
    /// Held while the ledger is asked, so that one draw serves all who wait.
    drawing: Arc<tokio::sync::Mutex<()>>,
    freed: Notify,
}

#[derive(Default)]
struct Sums {
    /// Drawn, and neither reserved nor spent.
    free: Money,
    /// Set aside for calls under way.
    reserved: Money,
    /// Spent beyond what was drawn, when a reply cost more than its reservation.
    debt: Money,
    /// Turns that use this budget.
    users: usize,
    /// Until when the ledger is known to have nothing left under this limit.
    dry: Option<(Money, Instant)>,
}

impl Account {
    fn sums(&self) -> std::sync::MutexGuard<'_, Sums> {
        // A poisoned sum would only be one that a panic left between two additions of the same few lines.
        self.sums.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes from what is free, if that is enough.
    fn try_take(&self, worst: Money) -> bool {
        let mut sums = self.sums();
        let enough = sums.debt == Money::ZERO && sums.free >= worst;
        if enough {
            sums.free = sums.free.minus(worst);
            sums.reserved = sums.reserved.plus(worst);
        }
        enough
    }

    async fn take(self: &Arc<Self>, purse: &Purse, limit: Money, worst: Money, until: Instant) -> Result<(), PurseError> {
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            if self.try_take(worst) {
                return Ok(());
            }
            {
                let one = Arc::clone(&self.drawing).lock_owned().await;
                if self.try_take(worst) {
                    return Ok(());
                }
                // To the end, also when this call is given up: what the ledger gave is there for the next one.
                let (account, ledger) = (Arc::clone(self), Arc::clone(&purse.ledger));
                let drawing = purse.tasks.spawn(async move {
                    let drawn = account.draw(&*ledger, limit, worst).await;
                    drop(one);
                    drawn
                });
                drawing.await.unwrap_or_else(|error| Err(LedgerError(error.into())))?;
            }
            if self.try_take(worst) {
                return Ok(());
            }
            let (left, reserved) = {
                let sums = self.sums();
                (sums.free, sums.reserved)
            };
            // Calls under way hold their worst case and will give most of it back: wait for them if that can help.
            let exceeded = || PurseError::Exceeded { key: self.key.clone(), worst, left };
            if reserved == Money::ZERO || left.plus(reserved) < worst {
                return Err(exceeded());
            }
            tokio::time::timeout_at(until, freed).await.map_err(|_| exceeded())?;
        }
    }

    /// Draws a slab that covers `worst`, as far as the ledger has it.
    async fn draw(&self, ledger: &dyn Ledger, limit: Money, worst: Money) -> Result<(), LedgerError> {
        let want = {
            let sums = self.sums();
            if sums.dry.is_some_and(|(at, until)| at == limit && Instant::now() < until) {
                return Ok(());
            }
            let missing = worst.plus(sums.debt).minus(sums.free);
            missing.max(Money(limit.0 / SLABS_PER_LIMIT))
        };
        let drawn = ledger.draw(&self.key, limit, want).await?.min(want);
        let mut sums = self.sums();
        let pays = sums.debt.min(drawn);
        sums.debt = sums.debt.minus(pays);
        sums.free = sums.free.plus(drawn.minus(pays));
        sums.dry = (drawn < want).then(|| (limit, Instant::now() + DRY_RETRY));
        Ok(())
    }

    fn settle(&self, reserved: Money, cost: Money) {
        let mut sums = self.sums();
        sums.reserved = sums.reserved.minus(reserved);
        let more = cost.minus(reserved);
        sums.free = sums.free.plus(reserved.minus(cost));
        let paid = sums.free.min(more);
        sums.free = sums.free.minus(paid);
        sums.debt = sums.debt.plus(more.minus(paid));
        drop(sums);
        self.freed.notify_waiters();
    }
}

/// What was set aside for one call. Dropped without [`Reservation::settle`], all of it is spent; while it is still being set aside,
/// nothing, as no call has left.
pub(crate) struct Reservation {
    worst: Money,
    dropped: Money,
    accounts: Vec<Arc<Account>>,
}

impl Reservation {
    /// The amount.
    pub(crate) fn worst(&self) -> Money {
        self.worst
    }

    /// Ends it with what the call really cost.
    pub(crate) fn settle(mut self, cost: Money) {
        for account in self.accounts.drain(..) {
            account.settle(self.worst, cost);
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        for account in self.accounts.drain(..) {
            account.settle(self.worst, self.dropped);
        }
    }
}

impl Purse {
    pub(crate) fn new(ledger: Arc<dyn Ledger>, tasks: TaskTracker) -> Self {
        Self { ledger, tasks, accounts: Mutex::new(HashMap::new()) }
    }

    fn accounts(&self) -> std::sync::MutexGuard<'_, HashMap<BudgetKey, Arc<Account>>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets that the ledger had nothing left: somebody may have raised the limit.
    pub(crate) fn look_again(&self, key: &BudgetKey) {
        let account = self.accounts().get(key).cloned();
        if let Some(account) = account {
            account.sums().dry = None;
        }
    }

    /// Says that a turn uses these budgets, until [`Purse::leave`].
    pub(crate) fn enter(&self, budgets: &[Budget]) {
        let mut accounts = self.accounts();
        for budget in budgets {
            let fresh =
                || Arc::new(Account { key: budget.key.clone(), sums: Mutex::default(), drawing: Arc::default(), freed: Notify::new() });
            accounts.entry(budget.key.clone()).or_insert_with(fresh).sums().users += 1;
        }
    }

    /// Sets `worst` aside in each of the budgets, or in none. A turn that has not entered finds no budget and is refused.
    pub(crate) async fn reserve(&self, budgets: &[Budget], worst: Money, wait: Duration) -> Result<Reservation, PurseError> {
        let until = Instant::now() + wait;
        let mut ordered: Vec<&Budget> = budgets.iter().collect();
        // One order for all, so that two calls never wait for each other.
        ordered.sort_by(|a, b| a.key.cmp(&b.key));
        ordered.dedup_by(|a, b| a.key == b.key && a.limit >= b.limit);
        let mut held = Reservation { worst, dropped: Money::ZERO, accounts: Vec::with_capacity(ordered.len()) };
        for budget in ordered {
            let account = self.accounts().get(&budget.key).cloned();
            let none = || PurseError::Exceeded { key: budget.key.clone(), worst, left: Money::ZERO };
            let result = match account {
                Some(account) => account.take(self, budget.limit, worst, until).await.map(|()| account),
                None => Err(none()),
            };
            match result {
                Ok(account) => held.accounts.push(account),
                Err(error) => {
                    held.settle(Money::ZERO);
                    return Err(error);
                }
            }
        }
        held.dropped = worst;
        Ok(held)
    }

    /// Ends a turn's use. Budgets that nobody uses any more give back what is left.
    pub(crate) async fn leave(&self, budgets: &[Budget]) {
        for budget in budgets {
            let last = {
                let mut accounts = self.accounts();
                let Some(account) = accounts.get(&budget.key).cloned() else { continue };
                let users = {
                    let mut sums = account.sums();
                    sums.users = sums.users.saturating_sub(1);
                    sums.users
                };
                if users > 0 {
                    continue;
                }
                accounts.remove(&budget.key);
                account
            };
            // What is being drawn for a call that was given up comes first.
            let _one = last.drawing.lock().await;
            let (free, debt) = {
                let mut sums = last.sums();
                (std::mem::take(&mut sums.free), std::mem::take(&mut sums.debt))
            };
            // A failure here leaves the slab counted as spent, which is the safe side.
            if free > Money::ZERO {
                let _ = self.ledger.give_back(&last.key, free).await;
            }
            if debt > Money::ZERO {
                let _ = self.ledger.draw(&last.key, budget.limit, debt).await;
            }
        }
    }
}

#[cfg(test)]
mod tests;
