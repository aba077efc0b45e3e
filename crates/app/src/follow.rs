//! A session's events as they come.

use std::sync::Arc;

use model::{Event, Failure, SessionId};
use store::Store;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::live::Attachment;

/// Where the followers of a session learn that there is more. It lives as long as one of them does, whether the session
/// itself is in memory or not.
pub(crate) struct Watcher {
    pub(crate) seq: watch::Sender<u64>,
    /// The session was deleted.
    pub(crate) gone: CancellationToken,
    /// Why its turn stands where it stands, while nothing can be written to its log.
    pub(crate) stalled: watch::Sender<Option<Failure>>,
}

/// Events in one piece of a stream.
const PIECE_EVENTS_MAX: usize = 500;

/// Reads a session's log and waits for more. While an attached one lives, the session's work goes on.
pub struct Follow {
    pub(crate) store: Store,
    pub(crate) session: SessionId,
    pub(crate) after: u64,
    pub(crate) watcher: Arc<Watcher>,
    pub(crate) changes: watch::Receiver<u64>,
    /// For those who want to hear that a turn stands; others wait until it goes on.
    pub(crate) stalled: Option<watch::Receiver<Option<Failure>>>,
    pub(crate) _attached: Option<Attachment>,
}

impl Follow {
    /// The next events, or `None` when the session is gone.
    ///
    /// # Errors
    /// The store cannot be read; or it cannot be written, so that the session's turn cannot even be said to have failed.
    pub async fn next(&mut self) -> Result<Option<Vec<Event>>, Failure> {
        loop {
            // Marked as seen before the read: what is written during it wakes the next round.
            self.changes.borrow_and_update();
            let events = self.store.events(&self.session, self.after, PIECE_EVENTS_MAX).await.map_err(|e| e.failure())?;
            if let Some(last) = events.last() {
                self.after = last.seq;
                return Ok(Some(events));
            }
            if let Some(failure) = self.stalled.as_mut().and_then(|stalled| stalled.borrow_and_update().clone()) {
                return Err(failure);
            }
            tokio::select! {
                () = changed(self.stalled.as_mut()) => {}
                () = self.watcher.gone.cancelled() => return Ok(None),
                changed = self.changes.changed() => if changed.is_err() {
                    return Ok(None);
                },
            }
        }
    }
}

/// Returns when there is something new to be heard.
async fn changed(stalled: Option<&mut watch::Receiver<Option<Failure>>>) {
    let changed = match stalled {
        Some(stalled) => stalled.changed().await,
        None => std::future::pending().await,
    };
    if changed.is_err() {
        std::future::pending::<()>().await;
    }
}
