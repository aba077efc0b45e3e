//! The runner of one session: takes its turns in order, each when there is a place for it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use model::{Failure, SessionId, TurnEvent, TurnState};
use sandbox::Piece;
use store::{EngineBase, Record, TurnRow};
use tracing::Instrument as _;

use crate::house::Ground;
use crate::live::Live;
use crate::places::{Most, Need, Place};
use crate::process::Process;
use crate::turn::{Ready, Running, Start};
use crate::{App, now};

/// Works on a session until it has nothing to do for the idle time, or nobody needs it; then takes it out of memory.
pub(crate) async fn run_session(app: App, live: Arc<Live>) {
    let mut has_worked = false;
    while !live.cancel.is_cancelled() {
        match next_turn(&app, &live.id).await {
            Ok(Some(turn)) => {
                has_worked = true;
                run_turn(&app, &live, turn).await;
            }
            Ok(None) => {
                let settings = app.settings();
                let has_process = live.process.lock().await.is_some();
                // Files go in or out; whoever carries them wakes this at their end.
                let carries = live.carries();
                tokio::select! {
                    () = live.cancel.cancelled() => break,
                    // Whoever waited for the work was killed. Before the first turn nobody is attached yet.
                    () = live.abandoned(), if has_worked && !carries => if !live.carries() { break },
                    () = live.wake.notified() => {}
                    () = live.released.notified() => break,
                    () = tokio::time::sleep(settings.sessions.engine_idle), if has_process => *live.process.lock().await = None,
                    () = tokio::time::sleep(settings.sandbox_idle) => if !live.carries() { break },
                }
            }
            Err(failure) => {
                tracing::error!(session = %live.id, %failure, "the inbox cannot be read");
                app.tell_stalled(&live, Some(&failure));
                break;
            }
        }
    }
    // The daemon's own end removes the sandboxes, or leaves them for the next one.
    loop {
        if !live.cancel.is_cancelled() {
            app.close_sandbox(&live).await;
        }
        if app.forget(&live) {
            break;
        }
        // Whoever holds it may just now accept a turn, or start a sandbox.
        tokio::select! {
            () = live.unheld() => {}
            () = live.cancel.cancelled() => {}
        }
        if let Some(until) = live.expected_until() {
            tokio::select! {
                () = live.wake.notified() => {}
                () = tokio::time::sleep_until(until) => {}
                () = live.cancel.cancelled() => {}
            }
            if matches!(next_turn(&app, &live.id).await, Ok(Some(_))) {
                live.expect_nobody();
            }
        }
    }
    // A turn that was accepted while the session was on its way out is taken up by a new runner.
    if !live.cancel.is_cancelled()
        && matches!(next_turn(&app, &live.id).await, Ok(Some(_)))
        && let Ok(row) = app.store().session(&live.id).await
        && let Err(failure) = app.begin(&row, live.take_mounts(), None)
    {
        tracing::error!(session = %live.id, %failure, "a turn waits for the daemon's next start");
    }
}

async fn next_turn(app: &App, id: &SessionId) -> Result<Option<TurnRow>, Failure> {
    Ok(app.store().open_turns(id).await.map_err(|e| e.failure())?.into_iter().next())
}

async fn run_turn(app: &App, live: &Arc<Live>, turn: TurnRow) {
    let cancel = live.begin_turn(&turn.id);
    let done = {
        // Undo, fork and archive wait for it, or are told that work goes on.
        let _gate = live.gate.lock().await;
        let span = tracing::info_span!("turn", session = %live.id, turn = %turn.id, job = tracing::field::Empty);
        if let Some(job) = &live.spec.job {
            span.record("job", &job.id);
        }
        span.in_scope(|| tracing::debug!("a turn is worked on"));
        Box::pin(work(app, live, turn.clone(), cancel)).instrument(span).await
    };
    live.end_turn(done.is_ok());
    app.tell_stalled(live, done.as_ref().err());
    if let Err(failure) = done {
        tracing::error!(session = %live.id, turn = %turn.id, %failure, "a turn was left where it stood");
        // Without the store nothing can be said; a moment later it may be back.
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// What a session's turn needs to run.
pub(crate) fn need(ground: &Ground, live: &Live, priority: u8) -> Need {
    Need {
        tenant: ground.row.tenant.clone(),
        agent: ground.row.agent.clone(),
        priority,
        env: ground.row.env.clone().map(|slug| (slug, live.spec.exclusive)),
    }
}

impl App {
    /// Waits for a place, as long as the turn is wanted.
    pub(crate) async fn place(&self, live: &Live, need: Need, cancel: &tokio_util::sync::CancellationToken) -> Option<Place> {
        let mut most = Most::from(&self.settings().sessions);
        most.tenant = self.running_max(&need.tenant).await;
        tokio::select! {
            place = self.places().take(need, most) => place,
            () = cancel.cancelled() => None,
            () = live.cancel.cancelled() => None,
            () = live.abandoned() => None,
        }
    }
}

/// Brings a turn from wherever it stands to its result.
async fn work(app: &App, live: &Arc<Live>, turn: TurnRow, cancel: tokio_util::sync::CancellationToken) -> Result<(), Failure> {
    let store = app.store();
    let mut turn = turn;
    if turn.state == TurnState::Leased {
        // Its runner is gone and its engine never started: it waits again.
        let record = Record::new(turn.id.clone(), turn.fence, Vec::new(), now()).change(TurnEvent::Release);
        store.record(record).await.map_err(|e| e.failure())?;
        turn.state = TurnState::Queued;
    }
    let ground = match app.ground(&live.id).await {
        Ok(ground) => ground,
        Err(failure) if failure.code != model::Code::StoreUnusable => return refuse(app, live, &turn, &failure).await,
        Err(failure) => return Err(failure),
    };
    let asker = app.asker_of_turn(&turn.id, &ground.agent).await?;
    let share = match crate::askers::admitted(asker.as_ref(), &ground.agent.name) {
        Ok(share) => share,
        // What runs already is refused call by call.
        Err(_) if turn.state != TurnState::Queued => crate::askers::Share::Guest,
        Err(failure) => return refuse(app, live, &turn, &failure).await,
    };
    let ground = ground.for_share(share);
    let place = match turn.state {
        // It waits for a person and takes a place when it goes on.
        TurnState::Waiting => None,
        _ => {
            let place = app.place(live, need(&ground, live, turn.priority), &cancel).await;
            if place.is_none() && live.cancel.is_cancelled() {
                // The daemon ends; the turn waits for the next one.
                return Ok(());
            }
            place
        }
    };
    let prompt = store.prompt(&turn.id).await.map_err(|e| e.failure())?;
    let ready = match Ready::of(app, live, &ground, &prompt) {
        // A terminal begins with a process of its own.
        Ok(mut ready) => {
            ready.is_live &= crate::terminals::form_of(&turn).is_none();
            ready
        }
        Err(failure) => return refuse(app, live, &turn, &failure).await,
    };
    let mut engine_session = ground.row.engine_session.clone();
    let mut process = None;
    if turn.state == TurnState::Queued {
        app.keep_beginning(&live.id, &ground).await?;
        app.part(live, &turn, &ground.agent, share).await?;
        app.leave_robbed(live).await;
        process = usable(live, &ready, &ground).await;
    }
    let base = process.as_ref().map(|p| EngineBase { lease: p.lease, spool: p.read });
    if turn.state == TurnState::Queued {
        let lease = match store.lease_turn(&turn.id, base, now()).await {
            Ok(lease) => lease,
            // It was cancelled, or the session ended, while it waited for its place.
            Err(store::StoreError::Transition { .. } | store::StoreError::NotFound { .. }) => return Ok(()),
            Err(error) => return Err(error.failure()),
        };
        model::crash::point("turn:leased");
        turn.fence = lease.fence;
        turn.spool = lease.spool;
        turn.spool_base = lease.spool;
        turn.engine_lease = lease.engine_lease;
        turn.parent = lease.parent;
        engine_session = lease.engine_session;
    }
    let start = Start { turn, ground, asker, place, ready, prompt, cancel };
    // An empty one stands for a conversation that the engine does not know any more.
    let engine_session = engine_session.filter(|id| !id.is_empty());
    Box::pin(Running::new(app, live, start).run(process, engine_session)).await
}

/// The engine's process of the turn before, if it is still what would be started now.
async fn usable(live: &Live, ready: &Ready, ground: &Ground) -> Option<Process> {
    let mut process = live.process.lock().await.take()?;
    let held = live.sandbox.lock().await;
    let housed = held.as_ref()?;
    let same = housed.sandbox.id() == &process.sandbox && housed.tree.as_ref() == Some(&ground.tree) && housed.sandbox.summary().alive;
    if !ready.is_live || process.kind != ready.kind || !same {
        return None;
    }
    // What it said between the turns belongs to none.
    while let Some(said) = process.output.next().now_or_never() {
        match said {
            Ok(Some(piece)) if !matches!(piece.piece, Piece::Exited(_)) => {
                process.read = piece.number;
                process.control.ack(piece.number);
            }
            _ => return None,
        }
    }
    Some(process)
}

/// Ends a turn that cannot be begun.
async fn refuse(app: &App, live: &Live, turn: &TurnRow, failure: &Failure) -> Result<(), Failure> {
    let record = crate::stops::ended_unrun(turn, TurnEvent::Fail, failure.code, &failure.message);
    let events = app.store().record(record).await.map_err(|e| e.failure())?;
    app.publish(&live.id, &events);
    Ok(())
}
