//! The events of a job as they come, from before it begins to its end.

use model::{Event, Failure, SessionId};
use store::{JobRow, StoreError};

use super::desk::JobWatch;
use super::of::JobsOf;
use crate::App;
use crate::follow::Follow;

impl JobsOf<'_> {
    /// A page of the log of the job's last try; empty before it begins.
    ///
    /// # Errors
    /// There is none of this identity.
    pub async fn events(&self, id: &str, after: u64, limit: usize) -> Result<Vec<Event>, Failure> {
        let row = self.row(id).await?;
        let Some(session) = &row.session else { return Ok(Vec::new()) };
        match self.app.store().events(session, after, limit).await {
            // Its name is known before it is made.
            Err(StoreError::NotFound { .. }) => Ok(Vec::new()),
            events => events.map_err(|e| e.failure()),
        }
    }

    /// The log as it grows, from before the job begins until it is over. A further try has a log of its own, which is
    /// given from its beginning.
    ///
    /// # Errors
    /// There is none of this identity.
    pub async fn follow(&self, id: &str, after: u64) -> Result<JobFollow, Failure> {
        let watch = self.app.desk_of_jobs().watch(id);
        self.row(id).await?;
        Ok(JobFollow { app: self.app.clone(), id: id.to_owned(), after, watch, follow: None })
    }
}

/// Reads a job's log and waits for more.
pub struct JobFollow {
    app: App,
    id: String,
    after: u64,
    watch: JobWatch,
    /// The log of the try that is under way.
    follow: Option<Follow>,
}

impl JobFollow {
    /// The next events, or `None` when the job is over and all was told, or it is gone. It may be dropped and called again.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn next(&mut self) -> Result<Option<Vec<Event>>, Failure> {
        loop {
            // Marked as seen before the read: what changes during it wakes the next round.
            self.watch.seen();
            let row = match self.app.store().job(&self.id).await {
                Ok(row) => row,
                Err(StoreError::NotFound { .. }) => return Ok(None),
                Err(error) => return Err(error.failure()),
            };
            self.turn_to(&row).await;
            if row.state.is_final() {
                return self.rest(row.session.as_ref()).await;
            }
            tokio::select! {
                () = self.watch.changed() => {}
                more = more(&mut self.follow) => {
                    match more? {
                        Some(events) => {
                            self.after = events.last().map_or(self.after, |e| e.seq);
                            return Ok(Some(events));
                        }
                        None => return Ok(None),
                    }
                }
                () = self.app.cancel().cancelled() => return Ok(None),
            }
        }
    }

    /// Follows the session that the job has now.
    async fn turn_to(&mut self, row: &JobRow) {
        let known = self.follow.as_ref().map(|follow| &follow.session);
        if known == row.session.as_ref() {
            return;
        }
        if known.is_some() {
            self.after = 0;
            self.follow = None;
        }
        if let Some(session) = &row.session
            && self.app.store().session(session).await.is_ok()
        {
            let watcher = self.app.watcher(session, self.after);
            let changes = watcher.seq.subscribe();
            let store = self.app.store().clone();
            self.follow =
                Some(Follow { store, session: session.clone(), after: self.after, watcher, changes, stalled: None, _attached: None });
        }
    }

    /// What is left of the log of a job that is over.
    async fn rest(&mut self, session: Option<&SessionId>) -> Result<Option<Vec<Event>>, Failure> {
        let Some(session) = session else { return Ok(None) };
        match self.app.store().events(session, self.after, store::EVENTS_PAGE_MAX).await {
            Ok(page) => {
                self.after = page.last().map_or(self.after, |e| e.seq);
                Ok(Some(page).filter(|page| !page.is_empty()))
            }
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.failure()),
        }
    }
}

/// What comes next in a session that is followed; nothing ever where there is none.
async fn more(follow: &mut Option<Follow>) -> Result<Option<Vec<Event>>, Failure> {
    match follow {
        Some(follow) => follow.next().await,
        None => std::future::pending().await,
    }
}
