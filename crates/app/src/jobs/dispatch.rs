//! Who gives jobs to those who work on them: woken by what is accepted, what ends, and the time.

use std::time::Duration;

use model::{Failure, SessionId, Timestamp, TurnId};
use store::{JobCaps, JobEnd, JobLease, JobNames, JobRow, StoreError};
use tracing::Instrument as _;

use super::work;
use crate::{App, now};

/// How long jobs are held without saying so again.
const LEASE: Duration = Duration::from_secs(30);
/// How often that is said.
const RENEW: Duration = Duration::from_secs(10);
/// How often a daemon may end over a job that does not move before the job has failed.
pub(super) const POISON_TRIES_MAX: u32 = 5;
/// How long the dispatcher waits when the store does not answer.
const TROUBLE: Duration = Duration::from_secs(1);
/// The name under which a daemon that is the only one works on jobs.
const REPLICA: &str = "local";

impl App {
    /// Takes up the jobs of the daemon before, and gives out further ones until the end.
    pub(crate) async fn open_jobs(&self) -> Result<(), Failure> {
        let (taken, poisoned) = self.store().take_jobs(lease(self), POISON_TRIES_MAX, now()).await.map_err(|e| e.failure())?;
        model::crash::point("job:taken");
        for job in &poisoned {
            tracing::error!(job = job.id, "a job is given up: the daemon ended over it again and again");
            self.job_changed(job);
        }
        for session in self.store().stray_job_sessions().await.map_err(|e| e.failure())? {
            if let Err(failure) = self.cancel_session(&session).await {
                tracing::warn!(%session, %failure, "the work on a job that is over cannot be ended");
            }
        }
        for job in taken {
            self.begin_job(job);
        }
        let app = self.clone();
        self.spawn(async move { app.dispatch().await });
        let app = self.clone();
        self.spawn(async move { app.forget_old_jobs().await });
        Ok(())
    }

    /// Says that a job has changed, after the commit that changed it.
    pub(crate) fn job_changed(&self, job: &JobRow) {
        if job.state.is_final() {
            self.desk_of_jobs().ended(job);
        } else {
            self.desk_of_jobs().changed(&job.id);
        }
        self.job_seen(job);
        if job.state.is_final() && job.webhook_url.is_some() {
            self.wake_webhooks();
        }
    }

    async fn dispatch(&self) {
        let mut renewed = tokio::time::Instant::now();
        while !self.cancel().is_cancelled() {
            if renewed.elapsed() >= RENEW {
                renewed = tokio::time::Instant::now();
                self.renew_jobs().await;
            }
            let next = match self.give_out().await {
                Ok(next) => next,
                Err(failure) => {
                    tracing::error!(%failure, "jobs cannot be given out");
                    Some(Timestamp(now().0 + u64::try_from(TROUBLE.as_millis()).unwrap_or(0)))
                }
            };
            let due = async {
                match next {
                    Some(at) => crate::clock::wait_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.cancel().cancelled() => return,
                () = self.desk_of_jobs().wake.notified() => {}
                () = due => {}
                () = tokio::time::sleep_until(renewed + RENEW) => {}
            }
        }
    }

    /// Says that this daemon still works on its jobs, and takes those of daemons that are gone.
    async fn renew_jobs(&self) {
        if self.desk_of_jobs().working() > 0
            && let Err(error) = self.store().renew_jobs(lease(self)).await
        {
            tracing::warn!(error = model::chain(&error), "jobs cannot be held on to");
        }
        match self.store().lapse_jobs(now()).await {
            Ok(lost) => lost.iter().for_each(|job| self.job_changed(job)),
            Err(error) => tracing::warn!(error = model::chain(&error), "jobs of other daemons cannot be looked at"),
        }
    }

    /// Gives out jobs for the places that are free; says when the next delayed one may begin.
    async fn give_out(&self) -> Result<Option<Timestamp>, Failure> {
        let settings = &self.settings().jobs;
        let desk = self.desk_of_jobs();
        let free = settings.running_max.saturating_sub(desk.working());
        if free == 0 || desk.is_closed() {
            // Woken when a place is free.
            return Ok(None);
        }
        let names = (0..free).map(|_| JobNames {
            session: SessionId::from_bits(crate::clock::fresh_bits()),
            turn: TurnId::from_bits(crate::clock::fresh_bits()),
        });
        let caps = JobCaps { tenant: settings.tenant_running_max as u64, agent_id: settings.agent_running_max as u64 };
        let claimed = self.store().claim_jobs(lease(self), names.collect(), caps, now()).await.map_err(|e| e.failure())?;
        model::crash::point("job:claimed");
        for job in claimed {
            self.begin_job(job);
        }
        self.store().next_job().await.map_err(|e| e.failure())
    }

    /// Works on a job that this daemon has claimed.
    fn begin_job(&self, job: JobRow) {
        let Some(cancel) = self.desk_of_jobs().begin(&job, self.cancel()) else { return };
        let app = self.clone();
        self.spawn(async move {
            app.desk_of_jobs().changed(&job.id);
            let id = job.id.clone();
            // A job keeps the daemon up.
            let _busy = app.busy();
            if let Err(failure) =
                Box::pin(work::work(&app, job.clone(), &cancel)).instrument(tracing::info_span!("job", job = %job.id)).await
            {
                app.give_up_job(&job, &failure).await;
            }
            // Its next try was claimed while this one was put away.
            if let Some(next) = app.desk_of_jobs().end(&id) {
                app.begin_job(next);
            }
        });
    }

    /// Ends a job whose work came to nothing, however long the store takes nothing: a job that is held and that nobody works on would
    /// never end. One that somebody else has now, or stopped, is left alone.
    async fn give_up_job(&self, job: &JobRow, failure: &Failure) {
        while !self.cancel().is_cancelled() {
            let end = JobEnd::failed(job, failure.code, failure.message.clone(), now());
            match self.store().finish_job(end).await {
                Ok(row) => {
                    tracing::warn!(job = job.id, %failure, "a job failed before its turn");
                    return self.job_changed(&row);
                }
                Err(StoreError::Conflict(_) | StoreError::NotFound { .. }) => {
                    tracing::debug!(job = job.id, %failure, "somebody else has the job, or stopped it");
                    return;
                }
                Err(error) => tracing::warn!(job = job.id, error = model::chain(&error), "a job cannot be ended"),
            }
            tokio::select! {
                () = self.cancel().cancelled() => {}
                () = tokio::time::sleep(TROUBLE) => {}
            }
        }
    }
}

fn lease(app: &App) -> JobLease {
    let until = now().0 + u64::try_from(LEASE.as_millis()).unwrap_or(u64::MAX);
    JobLease { replica: app.store().replica().unwrap_or(REPLICA).to_owned(), until: Timestamp(until) }
}
