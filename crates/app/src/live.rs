//! A session that is in memory because it works, or did a moment ago.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::{EventKind, Failure, SessionId, TurnId};
use sandbox::{HostMount, Sandbox};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::house::Housed;
use crate::process::Process;
use crate::waits::Waits;
use crate::{App, SessionSpec};

/// How long foreground work goes on when nobody is attached any more: a client that was killed must be without work two seconds later.
pub(crate) const DETACH_GRACE: Duration = Duration::from_secs(1);
/// How long it goes on when nobody has come back yet to a daemon that has just started. A client that has lost its daemon is back within a few
/// milliseconds, but on a machine that is busy just then.
const RETURN_GRACE: Duration = Duration::from_secs(4);
/// Model calls of a turn whose events wait to be logged. Beyond it the gateway drops the event; the ledger has the row.
const CALLS_WAITING_MAX: usize = 1024;

/// How long a session stays in memory for somebody who opened its host directories again and has asked nothing yet.
const MOUNTS_WAIT: Duration = Duration::from_secs(10);
/// Cancelled turns that are remembered. Those that were over by themselves in the same moment are among them.
const CANCELLED_MAX: usize = 64;

/// A session in memory.
pub(crate) struct Live {
    pub(crate) id: SessionId,
    pub(crate) spec: SessionSpec,
    /// The sandbox, while there is one. Held over its start, so that two never start.
    pub(crate) sandbox: tokio::sync::Mutex<Option<Housed>>,
    /// The engine's process between turns.
    pub(crate) process: tokio::sync::Mutex<Option<Process>>,
    /// Whether something was started in the sandbox that may still run.
    pub(crate) is_used: AtomicBool,
    /// Whether the sandbox shows standing instructions, which can then change.
    pub(crate) has_instructions: AtomicBool,
    /// Held while a turn is worked on, and by whoever changes what a turn works on.
    pub(crate) gate: tokio::sync::Mutex<()>,
    /// A question was answered.
    pub(crate) answered: Notify,
    /// Calls that wait for a person.
    pub(crate) waits: Arc<Waits>,
    /// Host directories for the next sandbox, and when they were opened.
    mounts: Mutex<(Vec<HostMount>, Option<Instant>)>,
    /// A turn was accepted, or something was said to the runner.
    pub(crate) wake: Notify,
    turn: Mutex<AtWork>,
    /// Why its turn stands where it stands: the store takes nothing.
    stalled: Mutex<Option<Failure>>,
    /// Nobody needs the sandbox any more.
    pub(crate) released: Notify,
    /// Files that go in or out of its sandbox just now.
    carried: AtomicUsize,
    /// Those who hold it in memory.
    holds: watch::Sender<usize>,
    presence: Arc<Presence>,
    /// Events of model calls, from the gateway to the runner.
    pub(crate) calls: mpsc::Sender<EventKind>,
    pub(crate) calls_out: tokio::sync::Mutex<mpsc::Receiver<EventKind>>,
    /// Ends the runner, with the daemon.
    pub(crate) cancel: CancellationToken,
    /// The session is out of memory.
    pub(crate) gone: CancellationToken,
    /// Since when clients can come.
    opened: watch::Receiver<Option<Instant>>,
}

/// What a session's runner is at.
#[derive(Default)]
struct AtWork {
    /// The turn that it works on, and what ends that.
    now: Option<(TurnId, CancellationToken)>,
    /// Turns that are cancelled and not over. One that nobody works on just then ends when somebody does.
    cancelled: VecDeque<TurnId>,
}

impl AtWork {
    fn begin(&mut self, turn: &TurnId) -> CancellationToken {
        let token = CancellationToken::new();
        if self.cancelled.contains(turn) {
            token.cancel();
        }
        self.now = Some((turn.clone(), token.clone()));
        token
    }

    fn end(&mut self, is_over: bool) {
        if let Some((turn, _)) = self.now.take().filter(|_| is_over) {
            self.cancelled.retain(|cancelled| *cancelled != turn);
        }
    }

    fn cancel(&mut self, turn: TurnId) {
        if let Some((now, token)) = &self.now
            && *now == turn
        {
            token.cancel();
        }
        self.cancelled.push_back(turn);
        if self.cancelled.len() > CANCELLED_MAX {
            self.cancelled.pop_front();
        }
    }
}

/// Who waits for a session's work. It outlives the session's stay in memory: whoever attached while it was on its way out is still
/// there when it comes back.
pub(crate) struct Presence {
    attached: AtomicUsize,
    changed: Notify,
    /// When the last one left, or the session came into memory.
    alone_since: Mutex<Instant>,
}

impl Presence {
    pub(crate) fn new() -> Self {
        Self { attached: AtomicUsize::new(0), changed: Notify::new(), alone_since: Mutex::new(Instant::now()) }
    }

    /// The session came into memory.
    pub(crate) fn begin(&self) {
        *lock(&self.alone_since) = Instant::now();
    }
}

impl Live {
    pub(crate) fn new(
        id: SessionId,
        spec: SessionSpec,
        mounts: Vec<HostMount>,
        adopted: Option<Sandbox>,
        presence: Arc<Presence>,
        app: &App,
    ) -> Self {
        let (calls, calls_out) = mpsc::channel(CALLS_WAITING_MAX);
        Self {
            id,
            spec,
            is_used: AtomicBool::new(adopted.is_some()),
            sandbox: tokio::sync::Mutex::new(adopted.map(|sandbox| Housed { sandbox, tree: None })),
            process: tokio::sync::Mutex::default(),
            has_instructions: AtomicBool::new(false),
            gate: tokio::sync::Mutex::default(),
            answered: Notify::new(),
            waits: Arc::default(),
            mounts: Mutex::new((mounts, None)),
            wake: Notify::new(),
            turn: Mutex::default(),
            stalled: Mutex::default(),
            released: Notify::new(),
            carried: AtomicUsize::new(0),
            holds: watch::Sender::new(0),
            presence,
            calls,
            calls_out: tokio::sync::Mutex::new(calls_out),
            cancel: app.cancel().child_token(),
            gone: CancellationToken::new(),
            opened: app.opened_at(),
        }
    }

    /// The mounts for a sandbox that starts now.
    pub(crate) fn take_mounts(&self) -> Vec<HostMount> {
        std::mem::take(&mut *lock(&self.mounts)).0
    }

    pub(crate) fn give_mounts(&self, mounts: Vec<HostMount>) {
        let opened = (!mounts.is_empty()).then(Instant::now);
        *lock(&self.mounts) = (mounts, opened);
    }

    /// Until when whoever opened its host directories is about to ask something. They would be lost with a session that left memory.
    pub(crate) fn expected_until(&self) -> Option<Instant> {
        let until = lock(&self.mounts).1? + MOUNTS_WAIT;
        (until > Instant::now()).then_some(until)
    }

    /// They have asked.
    pub(crate) fn expect_nobody(&self) {
        lock(&self.mounts).1 = None;
    }

    /// A turn begins, or is taken up: the token that ends it.
    pub(crate) fn begin_turn(&self, turn: &TurnId) -> CancellationToken {
        lock(&self.turn).begin(turn)
    }

    /// Nobody works on the turn any more, which is over or was left where it stood.
    pub(crate) fn end_turn(&self, is_over: bool) {
        lock(&self.turn).end(is_over);
    }

    /// Why its turn cannot go on, if it cannot.
    pub(crate) fn stalled(&self) -> Option<Failure> {
        lock(&self.stalled).clone()
    }

    pub(crate) fn set_stalled(&self, why: Option<Failure>) {
        *lock(&self.stalled) = why;
    }

    /// Whether a turn runs.
    pub(crate) fn is_at_work(&self) -> bool {
        lock(&self.turn).now.is_some()
    }

    /// Ends the turn that is worked on, if one is.
    pub(crate) fn cancel_now(&self) {
        if let Some((_, token)) = &lock(&self.turn).now {
            token.cancel();
        }
    }

    /// Ends a turn that is not over: now, or when it is taken up.
    pub(crate) fn cancel_turn(&self, turn: TurnId) {
        lock(&self.turn).cancel(turn);
    }

    /// Counts somebody as attached as long as the answer lives.
    pub(crate) fn attach(&self) -> Attachment {
        self.presence.attached.fetch_add(1, Ordering::SeqCst);
        self.presence.changed.notify_waiters();
        Attachment(Arc::clone(&self.presence))
    }

    /// Keeps it in memory as long as the answer lives. The registry does this, under its lock.
    pub(crate) fn hold(self: &Arc<Self>) -> Hold {
        self.holds.send_modify(|holds| *holds += 1);
        Hold(Arc::clone(self))
    }

    /// Whether files go in or out: then its sandbox does not end for having nothing to do.
    pub(crate) fn carries(&self) -> bool {
        self.carried.load(Ordering::SeqCst) > 0
    }

    pub(crate) fn is_held(&self) -> bool {
        *self.holds.borrow() > 0
    }

    /// Returns when nobody holds it.
    pub(crate) async fn unheld(&self) {
        // The sender is here, so the wait cannot fail.
        let _ = self.holds.subscribe().wait_for(|holds| *holds == 0).await;
    }

    /// Returns when somebody waits for the work, or nobody need.
    pub(crate) async fn attended(&self) {
        loop {
            let changed = self.presence.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if !self.spec.foreground || self.presence.attached.load(Ordering::SeqCst) > 0 {
                return;
            }
            changed.await;
        }
    }

    /// Returns when foreground work has been without anybody for the grace time; never for other work.
    pub(crate) async fn abandoned(&self) {
        if !self.spec.foreground {
            std::future::pending::<()>().await;
        }
        let mut opened = self.opened.clone();
        let Ok(Some(opened)) = opened.wait_for(Option::is_some).await.map(|at| *at) else { return };
        loop {
            let changed = self.presence.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.presence.attached.load(Ordering::SeqCst) > 0 {
                changed.await;
                continue;
            }
            // Counted from when the last one left, however often it is asked.
            let left = *lock(&self.presence.alone_since);
            let end = if opened > left { opened + RETURN_GRACE } else { left + DETACH_GRACE };
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep_until(end) => return,
            }
        }
    }
}

/// Somebody who waits for a session's work.
pub(crate) struct Attachment(Arc<Presence>);

impl Drop for Attachment {
    fn drop(&mut self) {
        *lock(&self.0.alone_since) = Instant::now();
        self.0.attached.fetch_sub(1, Ordering::SeqCst);
        self.0.changed.notify_waiters();
    }
}

/// A session that stays in memory as long as this lives: what is given to its runner, or done to it, meets the session and not
/// one that has just ended.
pub(crate) struct Hold(Arc<Live>);

impl std::ops::Deref for Hold {
    type Target = Live;

    fn deref(&self) -> &Live {
        &self.0
    }
}

impl Hold {
    /// Files go in or out as long as the answer lives. Unlike a hold it keeps nobody from ending the session: a client that stands still
    /// in the middle is not waited for.
    pub(crate) fn carry(&self) -> Carry {
        self.0.carried.fetch_add(1, Ordering::SeqCst);
        Carry(Arc::clone(&self.0))
    }
}

/// Files that go in or out of a session's sandbox.
pub(crate) struct Carry(Arc<Live>);

impl Drop for Carry {
    fn drop(&mut self) {
        self.0.carried.fetch_sub(1, Ordering::SeqCst);
        self.0.wake.notify_one();
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.holds.send_modify(|holds| *holds -= 1);
    }
}

/// The lock is held for single operations that cannot panic, so a poisoned one is whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cancelled_turn_ends_whenever_it_is_worked_on() {
        let [first, second, third] = [1, 2, 3].map(TurnId::from_bits);
        let mut at_work = AtWork::default();
        // Before anybody has taken it up, and again when it was left where it stood.
        at_work.cancel(first.clone());
        assert!(at_work.begin(&first).is_cancelled());
        at_work.end(false);
        assert!(at_work.begin(&first).is_cancelled());
        at_work.end(true);
        assert!(at_work.cancelled.is_empty());
        // While it is worked on; another one is not meant.
        let token = at_work.begin(&second);
        at_work.cancel(third.clone());
        assert!(!token.is_cancelled());
        at_work.cancel(second);
        assert!(token.is_cancelled());
        at_work.end(true);
        assert!(at_work.begin(&third).is_cancelled());
        (0..1_000).for_each(|n| at_work.cancel(TurnId::from_bits(n)));
        assert_eq!(at_work.cancelled.len(), CANCELLED_MAX);
    }
}
