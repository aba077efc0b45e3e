//! The sessions that are in memory, and those who follow one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use model::{Code, Failure, SandboxId, SessionId};
use sandbox::{HostMount, Sandbox};
use store::SessionRow;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::App;
use crate::follow::Watcher;
use crate::live::{Hold, Live, Presence, lock};
use crate::sessions::read_spec;

/// Sessions in memory at once; each holds a runner, and perhaps a turn that waits or a sandbox. Idle ones are not here.
const LIVE_MAX: usize = 16_384;
/// How often a waiting shutdown looks again.
const DRAIN_STEP: Duration = Duration::from_millis(50);
/// How long cancelled turns may take to say how they ended. What does not is told by the next daemon.
const CANCELLED_END: Duration = Duration::from_secs(20);

/// The sessions in memory, by identity. Locks are held for single map operations.
#[derive(Default)]
pub(crate) struct Registry {
    live: Mutex<HashMap<SessionId, Arc<Live>>>,
    present: Mutex<HashMap<SessionId, Weak<Presence>>>,
    followed: Mutex<HashMap<SessionId, Weak<Watcher>>>,
}

impl App {
    /// The session in memory; brought there when it is not. `adopted` is its sandbox of an earlier daemon.
    pub(crate) async fn bring(
        &self,
        id: &SessionId,
        mounts: Option<Vec<HostMount>>,
        adopted: Option<Sandbox>,
    ) -> Result<Arc<Live>, Failure> {
        if let Some(live) = self.live(id) {
            return Ok(live);
        }
        let row = self.store().session(id).await.map_err(|e| e.failure())?;
        self.check_here(id).await?;
        self.begin(&row, mounts.unwrap_or_default(), adopted)
    }

    /// Brings a session into memory and starts its runner, unless another call was quicker.
    pub(crate) fn begin(&self, row: &SessionRow, mounts: Vec<HostMount>, adopted: Option<Sandbox>) -> Result<Arc<Live>, Failure> {
        let spec = self.whole(&row.id, read_spec(row)?)?;
        let live = {
            let mut all = lock(&self.registry().live);
            if let Some(live) = all.get(&row.id) {
                return Ok(Arc::clone(live));
            }
            if all.len() >= LIVE_MAX {
                return Err(Failure::new(Code::Busy, format!("{LIVE_MAX} sessions are at work")));
            }
            let live = Arc::new(Live::new(row.id.clone(), spec, mounts, adopted, self.presence(&row.id, all.len()), self));
            all.insert(row.id.clone(), Arc::clone(&live));
            live
        };
        let (app, runner) = (self.clone(), Arc::clone(&live));
        self.spawn(async move { crate::runner::run_session(app, runner).await });
        Ok(live)
    }

    /// The same, and it stays there as long as the answer lives. Whoever accepts a turn, or changes what a turn works on, holds the
    /// session meanwhile: its runner may be on its way out.
    pub(crate) async fn hold(&self, id: &SessionId) -> Result<Hold, Failure> {
        loop {
            let live = self.bring(id, None, None).await?;
            let all = lock(&self.registry().live);
            if all.get(id).is_some_and(|now| Arc::ptr_eq(now, &live)) {
                return Ok(live.hold());
            }
        }
    }

    /// Who waits for a session's work, as it begins to be in memory with `live` others.
    fn presence(&self, id: &SessionId, live: usize) -> Arc<Presence> {
        let mut all = lock(&self.registry().present);
        // Most of those in memory are known here; what is beyond is of sessions that are not.
        if all.len() > 2 * (live + 1) {
            all.retain(|_, presence| presence.strong_count() > 0);
        }
        let presence = all.get(id).and_then(Weak::upgrade).unwrap_or_else(|| Arc::new(Presence::new()));
        presence.begin();
        all.insert(id.clone(), Arc::downgrade(&presence));
        presence
    }

    pub(crate) fn live(&self, id: &SessionId) -> Option<Arc<Live>> {
        lock(&self.registry().live).get(id).cloned()
    }

    pub(crate) fn live_sessions(&self) -> Vec<Arc<Live>> {
        lock(&self.registry().live).values().cloned().collect()
    }

    /// Takes a session out of memory, unless somebody holds it or is about to ask it something; with the daemon's end in any case. Returns whether it is out.
    pub(crate) fn forget(&self, live: &Live) -> bool {
        let mut all = lock(&self.registry().live);
        if (live.is_held() || live.expected_until().is_some()) && !live.cancel.is_cancelled() {
            return false;
        }
        all.remove(&live.id);
        drop(all);
        live.gone.cancel();
        true
    }

    /// Gives up the sandbox of a session once nothing runs in it, and waits until that is done.
    pub(crate) async fn let_go(&self, id: &SessionId) {
        let Some(live) = self.live(id) else { return };
        live.released.notify_one();
        live.gone.cancelled().await;
    }

    /// Where followers of a session learn of new events.
    pub(crate) fn watcher(&self, id: &SessionId, last_seq: u64) -> Arc<Watcher> {
        let mut all = lock(&self.registry().followed);
        if let Some(watcher) = all.get(id).and_then(Weak::upgrade) {
            return watcher;
        }
        all.retain(|_, watcher| watcher.strong_count() > 0);
        let watcher =
            Arc::new(Watcher { seq: watch::Sender::new(last_seq), gone: CancellationToken::new(), stalled: watch::Sender::new(None) });
        all.insert(id.clone(), Arc::downgrade(&watcher));
        watcher
    }

    fn followed(&self, id: &SessionId) -> Option<Arc<Watcher>> {
        lock(&self.registry().followed).get(id).and_then(Weak::upgrade)
    }

    /// Tells followers of new events.
    pub(crate) fn publish(&self, id: &SessionId, events: &[model::Event]) {
        self.branch_news(id);
        // The end of a turn, and a question, may owe a chat something.
        if events.iter().any(|event| matches!(event.kind, model::EventKind::Result(_) | model::EventKind::Question { .. })) {
            self.wake_channels();
        }
        if let (Some(watcher), Some(last)) = (self.followed(id), events.last()) {
            watcher.seq.send_if_modified(|seq| std::mem::replace(seq, (*seq).max(last.seq)) < last.seq);
        }
    }

    /// Tells followers that a session's turn cannot go on, or that it does again.
    pub(crate) fn tell_stalled(&self, live: &Live, why: Option<&model::Failure>) {
        live.set_stalled(why.cloned());
        if let Some(watcher) = self.followed(&live.id) {
            watcher.stalled.send_if_modified(|now| {
                let is_other = *now != why.cloned();
                *now = why.cloned();
                is_other
            });
        }
    }

    /// Lets the followers of a session look at its log again: another daemon wrote to it.
    pub(crate) fn wake_followers(&self, id: &SessionId) {
        self.branch_news(id);
        if let Some(watcher) = self.followed(id) {
            watcher.seq.send_modify(|_| {});
        }
    }

    /// The same of all sessions.
    pub(crate) fn wake_all_followers(&self) {
        self.branch_news_of_all();
        let all: Vec<_> = lock(&self.registry().followed).values().filter_map(Weak::upgrade).collect();
        all.iter().for_each(|watcher| watcher.seq.send_modify(|_| {}));
    }

    /// Tells followers that the session was deleted.
    pub(crate) fn end_followers(&self, id: &SessionId) {
        self.branch_news(id);
        if let Some(watcher) = self.followed(id) {
            watcher.gone.cancel();
        }
    }

    /// The sandboxes of turns that wait for a person.
    pub(crate) async fn waiting_sandboxes(&self) -> Vec<SandboxId> {
        let mut waiting = Vec::new();
        for live in self.live_sessions().into_iter().filter(|l| l.is_at_work() && l.waits.stands()) {
            if let Some(housed) = live.sandbox.lock().await.as_ref() {
                waiting.push(housed.sandbox.id().clone());
            }
        }
        waiting
    }

    /// Lets running work come to its end until `deadline`, then cancels it.
    pub(crate) async fn drain(&self, deadline: Instant) {
        // What waits for a person is left to the next daemon.
        let at_work = || self.live_sessions().into_iter().filter(|l| l.is_at_work() && !l.waits.stands()).collect::<Vec<_>>();
        while Instant::now() < deadline && !at_work().is_empty() {
            tokio::time::sleep(DRAIN_STEP).await;
        }
        for live in at_work() {
            live.cancel_now();
        }
        let end = Instant::now() + CANCELLED_END;
        while Instant::now() < end && !at_work().is_empty() {
            tokio::time::sleep(DRAIN_STEP).await;
        }
    }
}
