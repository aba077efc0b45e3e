//! Forgetting jobs: after their time, beyond their number, and what nothing names any more.

use std::time::{Duration, SystemTime};

use model::{Code, Failure, Timestamp};
use store::StoreError;

use crate::{App, Caller, now};

/// Jobs that are forgotten in one go.
const AT_ONCE: usize = 200;
/// How old a file without a row must be before it is removed: one whose row is just being written is younger.
const GRACE: Duration = Duration::from_secs(3600);

impl App {
    /// Forgets old jobs now and then, until the end.
    pub(super) async fn forget_old_jobs(&self) {
        loop {
            if let Err(failure) = self.sweep_jobs().await {
                tracing::warn!(%failure, "old jobs were not forgotten");
            }
            let every = self.settings().jobs.cleanup;
            tokio::select! {
                () = self.cancel().cancelled() => return,
                () = tokio::time::sleep(every) => {}
            }
        }
    }

    async fn sweep_jobs(&self) -> Result<(), Failure> {
        let settings = self.settings();
        let ttl = u64::try_from(settings.jobs.ttl.as_millis()).unwrap_or(u64::MAX);
        let before = Timestamp(now().0.saturating_sub(ttl));
        loop {
            let old = self.store().old_jobs(before, settings.jobs.keep, AT_ONCE).await.map_err(|e| e.failure())?;
            let mut gone = 0;
            for job in &old {
                if self.cancel().is_cancelled() {
                    return Ok(());
                }
                match self.forget_job(&job.id).await {
                    Ok(()) => gone += 1,
                    Err(failure) => tracing::warn!(job = job.id, %failure, "an old job was not forgotten"),
                }
            }
            if gone == 0 {
                break;
            }
        }
        self.sweep_blobs().await
    }

    /// Forgets a job that is over, with its sessions.
    pub(super) async fn forget_job(&self, id: &str) -> Result<(), Failure> {
        for session in self.store().job_sessions(id).await.map_err(|e| e.failure())? {
            // Its files may just have been looked at for artifacts.
            let tree = self.store().session(&session).await.ok().and_then(|row| row.tree);
            if let Some(tree) = tree {
                self.close_look(&tree).await;
            }
            match self.sessions_of(&Caller::OWNER).remove(session.as_str()).await {
                Err(failure) if failure.code != Code::NotFound => return Err(failure),
                _ => {}
            }
        }
        model::crash::point("job:sessions-forgotten");
        match self.store().delete_job(id).await {
            Ok(()) | Err(StoreError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.failure()),
        }
    }

    /// Removes files that no job names.
    async fn sweep_blobs(&self) -> Result<(), Failure> {
        if self.store().is_shared() {
            let grace = u64::try_from(GRACE.as_millis()).unwrap_or(u64::MAX);
            while self.store().sweep_shelf(Timestamp(now().0.saturating_sub(grace))).await.map_err(|e| e.failure())? > 0 {}
        }
        let unkept = |e: &dyn std::error::Error| super::desk::unkept(e);
        let internal = |e: tokio::task::JoinError| Failure::new(Code::Internal, e.to_string());
        let blobs = self.desk_of_jobs().blobs.clone();
        let look = blobs.clone();
        let old =
            tokio::task::spawn_blocking(move || look.old(GRACE, SystemTime::now())).await.map_err(internal)?.map_err(|e| unkept(&e))?;
        if old.is_empty() {
            return Ok(());
        }
        let unused = self.store().unused_blobs(old).await.map_err(|e| e.failure())?;
        let removed = tokio::task::spawn_blocking(move || unused.iter().try_for_each(|hash| blobs.remove(hash, GRACE, SystemTime::now())));
        removed.await.map_err(internal)?.map_err(|e| unkept(&e))
    }
}
