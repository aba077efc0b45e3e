//! What turns have used, and the rows on their way to the ledger.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use model::{Money, TurnId, Usage};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::{Budget, Call, Ledger, Observer};

/// Rows of one commit.
const GROUP_MAX: usize = 512;
/// Pauses between attempts to write, doubling from the first to the last.
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_LAST: Duration = Duration::from_secs(5);
/// How long the end of a turn waits for its calls and rows.
const FINISH_WAIT: Duration = Duration::from_secs(30);

/// The totals of one turn.
pub(crate) struct Turn {
    /// Held for a few additions.
    totals: Mutex<(Usage, Money)>,
    /// Calls under way, plus rows that are not durable.
    open: AtomicUsize,
    in_flight: AtomicUsize,
    settled: Notify,
    /// The budgets that it entered.
    pub(crate) budgets: Vec<Budget>,
}

impl Turn {
    pub(crate) fn totals(&self) -> (Usage, Money) {
        *self.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, usage: Usage, cost: Money) {
        let mut totals = self.totals.lock().unwrap_or_else(PoisonError::into_inner);
        *totals = (totals.0.plus(usage), totals.1.plus(cost));
    }

    fn done(&self) {
        if self.open.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.settled.notify_waiters();
        }
    }

    /// Waits until nothing is open any more, for a limited time.
    async fn rest(&self) {
        let quiet = async {
            loop {
                let settled = self.settled.notified();
                tokio::pin!(settled);
                settled.as_mut().enable();
                if self.open.load(Ordering::SeqCst) == 0 {
                    return;
                }
                settled.await;
            }
        };
        // What is still open after this long is settled when it ends; the budget then counts its reservation as spent.
        let _ = tokio::time::timeout(FINISH_WAIT, quiet).await;
    }
}

struct Row {
    call: Call,
    turn: Arc<Turn>,
}

/// Room for one row, held from before a call leaves until it has ended, so that no call goes unrecorded.
pub(crate) struct Entry {
    room: Option<mpsc::OwnedPermit<Row>>,
    turn: Arc<Turn>,
    observer: Arc<dyn Observer>,
}

impl Entry {
    /// Ends the call.
    pub(crate) fn close(mut self, call: Call) {
        self.observer.called(&call);
        self.turn.add(call.usage, call.cost);
        if let Some(room) = self.room.take() {
            self.turn.open.fetch_add(1, Ordering::SeqCst);
            room.send(Row { call, turn: self.turn.clone() });
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.turn.in_flight.fetch_sub(1, Ordering::SeqCst);
        self.turn.done();
    }
}

/// Why no call can be made now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closed {
    /// The ledger fails, or is too slow for the calls that come.
    Ledger,
    /// Too many calls of one turn at once.
    TurnBusy,
    /// Too many turns.
    Turns,
}

/// All turns and the queue to the ledger.
pub(crate) struct Books {
    /// Held for map operations only.
    turns: Mutex<HashMap<TurnId, Arc<Turn>>>,
    turns_max: usize,
    in_flight_max: usize,
    rows: mpsc::Sender<Row>,
    healthy: Arc<AtomicBool>,
    observer: Arc<dyn Observer>,
}

impl Books {
    /// Starts the writer on `tasks`; it ends when `cancel` fires and what waits is written.
    pub(crate) fn open(
        limits: &crate::Limits,
        ledger: Arc<dyn Ledger>,
        observer: Arc<dyn Observer>,
        tasks: &TaskTracker,
        cancel: CancellationToken,
    ) -> Self {
        let (rows, queue) = mpsc::channel(limits.ledger_rows.max(1));
        let healthy = Arc::new(AtomicBool::new(true));
        tasks.spawn(write(ledger, queue, healthy.clone(), cancel));
        Self { turns: Mutex::default(), turns_max: limits.turns, in_flight_max: limits.in_flight_per_turn, rows, healthy, observer }
    }

    fn turns(&self) -> std::sync::MutexGuard<'_, HashMap<TurnId, Arc<Turn>>> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The turn, made at its first call; then `enter` runs before anybody else can see it.
    fn turn(&self, id: &TurnId, budgets: &[Budget], enter: impl FnOnce()) -> Result<Arc<Turn>, Closed> {
        let mut turns = self.turns();
        if let Some(turn) = turns.get(id) {
            return Ok(turn.clone());
        }
        if turns.len() >= self.turns_max {
            return Err(Closed::Turns);
        }
        let turn = Arc::new(Turn {
            totals: Mutex::default(),
            open: AtomicUsize::new(0),
            in_flight: AtomicUsize::new(0),
            settled: Notify::new(),
            budgets: budgets.to_vec(),
        });
        enter();
        turns.insert(id.clone(), turn.clone());
        Ok(turn)
    }

    /// Opens an entry for one call. `enter` runs when it is the turn's first.
    pub(crate) fn entry(&self, id: &TurnId, budgets: &[Budget], enter: impl FnOnce()) -> Result<Entry, Closed> {
        if !self.healthy.load(Ordering::Acquire) {
            return Err(Closed::Ledger);
        }
        let room = self.rows.clone().try_reserve_owned().map_err(|_| Closed::Ledger)?;
        let turn = self.turn(id, budgets, enter)?;
        turn.open.fetch_add(1, Ordering::SeqCst);
        let others = turn.in_flight.fetch_add(1, Ordering::SeqCst);
        let entry = Entry { room: Some(room), turn, observer: self.observer.clone() };
        if others >= self.in_flight_max { Err(Closed::TurnBusy) } else { Ok(entry) }
    }

    pub(crate) fn totals(&self, id: &TurnId) -> (Usage, Money) {
        self.turns().get(id).map(|turn| turn.totals()).unwrap_or_default()
    }

    /// Whether no turn uses it.
    pub(crate) fn is_empty(&self) -> bool {
        self.turns().is_empty()
    }

    /// Waits for a turn's calls and rows, then forgets it.
    pub(crate) async fn finish(&self, id: &TurnId) -> Option<Arc<Turn>> {
        let turn = self.turns().get(id).cloned()?;
        turn.rest().await;
        self.turns().remove(id)
    }
}

/// Commits rows in groups: whatever waits, in one go. A failure closes the books until an attempt succeeds.
async fn write(ledger: Arc<dyn Ledger>, mut queue: mpsc::Receiver<Row>, healthy: Arc<AtomicBool>, cancel: CancellationToken) {
    let mut group = Vec::with_capacity(GROUP_MAX);
    loop {
        tokio::select! {
            biased;
            count = queue.recv_many(&mut group, GROUP_MAX) => if count == 0 { return },
            () = cancel.cancelled() => {
                healthy.store(false, Ordering::Release);
                queue.close();
                if queue.recv_many(&mut group, GROUP_MAX).await == 0 {
                    return;
                }
            }
        }
        let (calls, turns): (Vec<Call>, Vec<Arc<Turn>>) = group.drain(..).map(|row| (row.call, row.turn)).unzip();
        let mut pause = RETRY_FIRST;
        while ledger.record(&calls).await.is_err() {
            healthy.store(false, Ordering::Release);
            if cancel.is_cancelled() {
                return;
            }
            tokio::select! {
                () = cancel.cancelled() => (),
                () = tokio::time::sleep(pause) => (),
            }
            pause = (pause * 2).min(RETRY_LAST);
        }
        if !cancel.is_cancelled() {
            healthy.store(true, Ordering::Release);
        }
        for turn in turns {
            turn.done();
        }
    }
}
