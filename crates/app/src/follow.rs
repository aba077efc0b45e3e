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
    pub(crate) _attached: Option<Attachment>,
}

impl Follow {
    /// The next events, or `None` when the session is gone.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn next(&mut self) -> Result<Option<Vec<Event>>, Failure> {
        loop {
            // Marked as seen before the read: what is written during it wakes the next round.
            self.changes.borrow_and_update();
            let events = self.store.events(&self.session, self.after, PIECE_EVENTS_MAX).await.map_err(|e| e.failure())?;
            if let Some(last) = events.last() {
                self.after = last.seq;
                return Ok(Some(events));
            }
            tokio::select! {
                () = self.watcher.gone.cancelled() => return Ok(None),
                changed = self.changes.changed() => if changed.is_err() {
                    return Ok(None);
                },
            }
        }
    }
}
