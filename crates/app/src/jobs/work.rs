//! One job under its claim: from its session's making to its end.
//!
//! Every step can be taken again by a daemon that comes after a crash: the session and the turn have names that the row
//! holds, and the log of the session says how far the turn has come.

use std::collections::BTreeSet;
use std::time::Duration;

use model::{Code, EventKind, Failure, Money, Outcome, ResultEvent, SessionId, TreeId, TurnId, Usage};
use store::{JobEnd, JobRow, JobTry, JobWork, NewSession, NewTurn};
use tokio_util::sync::CancellationToken;

use super::leave::{self, Left};
use super::of::Stored;
use super::view;
use super::{JobForm, OutputFormat};
use crate::follow::Follow;
use crate::{App, now};

/// The shortest time before a job is tried again.
const BACK_OFF_MIN: Duration = Duration::from_secs(1);
/// The longest.
const BACK_OFF_MAX: Duration = Duration::from_secs(60);
/// Characters of a schema's complaints that the engine is told.
const COMPLAINT_CHARS_MAX: usize = 4000;
/// The key of the turn that does the work, and of the one that mends its result.
const KEYS: [&str; 2] = ["job", "job-mend"];

/// A job that is worked on.
struct Working<'a> {
    app: &'a App,
    job: JobRow,
    form: JobForm,
    stored: Stored,
    session: SessionId,
    turn: TurnId,
}

/// How one turn of a job ended.
struct Turned {
    result: ResultEvent,
    /// What went wrong, in words.
    error: Option<String>,
}

/// Works on a job until it is over, waits for another try, or is somebody else's.
pub(super) async fn work(app: &App, job: JobRow, cancel: &CancellationToken) -> Result<(), Failure> {
    let detail = app.store().job_detail(&job.id).await.map_err(|e| e.failure())?;
    let unread = |e| Failure::new(Code::StoreUnusable, format!("a job cannot be read: {e}"));
    let form: JobForm = serde_json::from_value(detail.form).map_err(unread)?;
    let stored = Stored::read(&detail.resolved)?;
    app.traces().remember(&job, stored.traceparent.as_deref());
    let (Some(session), Some(turn)) = (job.session.clone(), job.turn.clone()) else {
        return Err(Failure::new(Code::StoreUnusable, "a job that runs has no session"));
    };
    let working = Working { app, job, form, stored, session, turn };
    if working.form.dry_run {
        return working.rehearse().await;
    }
    let done = tokio::select! {
        done = working.run() => done,
        // It was stopped, or the daemon ends: the next one goes on.
        () = cancel.cancelled() => Ok(()),
    };
    if let Some(member) = app.pool().take_given(&working.session)
        && let Err(error) = member.sandbox.stop().await
    {
        // Its tree is the session's.
        tracing::warn!(job = working.job.id, error = model::chain(&error), "a sandbox was not removed whole");
    }
    if !app.cancel().is_cancelled() {
        // Nobody needs the sandbox any more; the session stays.
        app.let_go(&working.session).await;
        working.settle().await;
    }
    done
}

impl Working<'_> {
    fn held(&self) -> JobWork {
        JobWork { id: self.job.id.clone(), fence: self.job.fence }
    }

    /// Everything but the work: the result is the command line.
    async fn rehearse(&self) -> Result<(), Failure> {
        let prompt = self.app.store().job_prompt(&self.job.id).await.map_err(|e| e.failure())?;
        let text = self.app.command_line(&self.stored.spec, &prompt)?;
        let left = leave::text(self.app, &text, self.limit()).await?;
        let mut end = self.end(left, Usage::default(), Money::ZERO);
        end.has_session = false;
        self.finish(end).await
    }

    async fn run(&self) -> Result<(), Failure> {
        let mut turn = self.begin().await?;
        // There is a log to follow now.
        self.app.desk_of_jobs().changed(&self.job.id);
        let mut turned = self.follow(&turn).await?;
        let (mut usage, mut cost) = (turned.result.usage, of_usd(turned.result.cost_usd));
        if turned.result.status == Outcome::Completed
            && let Some(complaint) = self.complaint(&turned.result.text)
        {
            let text = format!(
                "The result does not fit the schema that was asked for:\n{complaint}\n\nAnswer again with the whole result, as JSON that \
                 fits, and nothing else."
            );
            turn = self.ask(TurnId::from_bits(crate::clock::fresh_bits()), text, KEYS[1]).await?;
            turned = self.follow(&turn).await?;
            (usage, cost) = (usage.plus(turned.result.usage), cost.plus(of_usd(turned.result.cost_usd)));
        }
        let (usage, cost) = (self.job.usage.plus(usage), self.job.cost.plus(cost));
        match turned.result.status {
            Outcome::Completed => self.complete(&turned.result.text, usage, cost).await,
            Outcome::Cancelled => self.cancelled(usage, cost).await,
            Outcome::Failed | Outcome::Timeout => self.failed(turned, usage, cost).await,
        }
    }

    /// The session of this try, made and asked when it is not there yet.
    async fn begin(&self) -> Result<TurnId, Failure> {
        let (app, spec) = (self.app, &self.stored.spec);
        let prompt = app.store().job_prompt(&self.job.id).await.map_err(|e| e.failure())?;
        let member = match self.stored.env {
            // One that was taken up has a session, or may have one.
            None if !self.was_taken_up() => app.claim_member(spec, &self.stored.agent, &self.job.tenant).await,
            _ => None,
        };
        let fresh = || TreeId::from_bits(crate::clock::fresh_bits());
        let session = NewSession {
            agent: self.stored.agent.clone(),
            tenant: self.job.tenant.clone(),
            tree: self.stored.env.is_none().then(|| member.as_ref().map_or_else(fresh, |member| member.tree().clone())),
            env: self.stored.env.clone(),
            title: format!("job {}", self.job.id),
            labels: self.job.labels.clone(),
            priority: self.job.priority,
            ..app.row_of(&self.session, spec)?
        };
        // What nobody has used is empty: that is kept by a name alone.
        let beginning = app.settings().sessions.checkpoints && session.tree.is_some();
        let begins = JobTry {
            work: self.held(),
            session,
            beginning: beginning.then(fresh),
            turn: self.new_turn(self.turn.clone(), prompt, KEYS[0]),
        };
        // Before the session is there: whoever takes its turn up then finds it, and so does whoever ends this work in the middle.
        if let Some(member) = member {
            app.pool().give(self.session.clone(), member);
        }
        let asked = match app.store().begin_job(begins).await {
            Ok(asked) => asked.turn,
            Err(error) => {
                if let Some(member) = app.pool().take_given(&self.session) {
                    app.discard(member).await;
                }
                return Err(error.failure());
            }
        };
        model::crash::point("job:asked");
        app.bring(&self.session, None, None).await?.wake.notify_one();
        Ok(asked)
    }

    fn new_turn(&self, turn: TurnId, prompt: String, key: &str) -> NewTurn {
        NewTurn { key: Some(key.to_owned()), priority: self.job.priority, ..NewTurn::new(turn, self.session.clone(), prompt, now()) }
    }

    /// Asks the session once more; a turn that was asked before is the same again.
    async fn ask(&self, turn: TurnId, prompt: String, key: &str) -> Result<TurnId, Failure> {
        let accepted = self.app.store().accept_turn(self.new_turn(turn, prompt, key)).await.map_err(|e| e.failure())?;
        self.app.bring(&self.session, None, None).await?.wake.notify_one();
        Ok(accepted.turn)
    }

    /// Follows a turn to its end.
    async fn follow(&self, turn: &TurnId) -> Result<Turned, Failure> {
        let watcher = self.app.watcher(&self.session, 0);
        let changes = watcher.seq.subscribe();
        let store = self.app.store().clone();
        let mut follow = Follow { store, session: self.session.clone(), after: 0, watcher, changes, stalled: None, _attached: None };
        let (mut error, mut is_started, mut is_waiting) = (None, self.job.started.is_some(), false);
        let mut approvals = BTreeSet::new();
        while let Some(events) = follow.next().await? {
            for event in events.into_iter().filter(|e| e.turn == *turn) {
                // An engine may tell of its call after the call has asked: only its answer ends what waits for a person.
                if let EventKind::Approval { id, status, .. } = &event.kind {
                    if status == "pending" {
                        approvals.insert(id.clone())
                    } else {
                        approvals.remove(id)
                    };
                }
                let waits = match &event.kind {
                    _ if !approvals.is_empty() => true,
                    EventKind::Question { .. } => true,
                    // What goes on beside a question says nothing of it.
                    EventKind::Usage { .. } | EventKind::Notice { .. } => is_waiting,
                    _ => false,
                };
                if waits != is_waiting {
                    is_waiting = waits;
                    self.mark(waits).await?;
                }
                match event.kind {
                    EventKind::Start { .. } if !is_started => {
                        is_started = true;
                        let row = self.app.store().start_job(self.held(), event.time).await.map_err(|e| e.failure())?;
                        self.app.job_changed(&row);
                    }
                    EventKind::Error { message, .. } => error = Some(message),
                    EventKind::Result(result) => return Ok(Turned { result, error }),
                    _ => {}
                }
            }
        }
        Err(Failure::new(Code::NotFound, "the session of this job was removed while it worked"))
    }

    async fn mark(&self, is_waiting: bool) -> Result<(), Failure> {
        let row = self.app.store().mark_job_waiting(self.held(), is_waiting).await.map_err(|e| e.failure())?;
        self.app.job_changed(&row);
        Ok(())
    }

    /// Why a result does not fit, where a form was asked for.
    fn complaint(&self, text: &str) -> Option<String> {
        let schema = self.form.output_schema.as_ref()?;
        let Some(value) = view::json_of(text) else { return Some("it is not JSON".to_owned()) };
        let problem = broker::fits_schema(schema, &value).err()?;
        Some(problem.chars().take(COMPLAINT_CHARS_MAX).collect())
    }

    async fn complete(&self, text: &str, usage: Usage, cost: Money) -> Result<(), Failure> {
        if let Some(complaint) = self.complaint(text) {
            let left = leave::text(self.app, text, self.limit()).await?;
            let mut end = self.end(left, usage, cost);
            let message = format!("the result does not fit the schema, also after one more turn: {complaint}");
            (end.is_good, end.exit_code, end.code, end.error) = (false, 1, Some(Code::OutputInvalid), Some(message));
            return self.finish(end).await;
        }
        match self.gather(text).await {
            Ok(left) => self.finish(self.end(left, usage, cost)).await,
            Err(failure) => {
                let mut end = JobEnd::failed(&self.job, failure.code, failure.message, now());
                (end.usage, end.cost) = (usage, cost);
                self.finish(end).await
            }
        }
    }

    /// All that a good job leaves.
    async fn gather(&self, text: &str) -> Result<Left, Failure> {
        let mut left = leave::text(self.app, text, self.limit()).await?;
        if self.stored.resolved.output_format == OutputFormat::StreamJson {
            left.extend(leave::log(self.app, &self.session, self.limit()).await?);
        }
        left.extend(leave::artifacts(self.app, &self.session, &self.form.artifacts, self.limit()).await?);
        Ok(left)
    }

    /// Somebody stopped the turn, or the daemon's end did: then another daemon begins anew.
    async fn cancelled(&self, usage: Usage, cost: Money) -> Result<(), Failure> {
        if self.app.desk_of_jobs().is_closed() || self.was_taken_up() {
            let why = "the daemon ended".to_owned();
            return self.again(now(), Code::SandboxFailed, why, usage, cost).await;
        }
        let ended = self.app.store().cancel_job(&self.job.id, now()).await.map_err(|e| e.failure())?;
        self.app.job_changed(&ended.row);
        Ok(())
    }

    /// Whether a daemon before this one began the try.
    fn was_taken_up(&self) -> bool {
        self.job.deaths > 0
    }

    async fn failed(&self, turned: Turned, usage: Usage, cost: Money) -> Result<(), Failure> {
        let code = match turned.result.status {
            Outcome::Timeout => Code::Timeout,
            _ => turned.result.code.unwrap_or(Code::EngineFailed),
        };
        let error = turned.error.unwrap_or_else(|| code.meaning().to_owned());
        if is_nobodys_fault(code) && self.job.tries <= self.job.retries_max {
            let at = now().0.saturating_add(back_off(self.job.tries));
            return self.again(model::Timestamp(at), code, error, usage, cost).await;
        }
        let left = leave::text(self.app, &turned.result.text, self.limit()).await.unwrap_or_default();
        let mut end = self.end(left, usage, cost);
        (end.is_good, end.exit_code, end.code, end.error) = (false, 1, Some(code), Some(error));
        self.finish(end).await
    }

    async fn again(&self, at: model::Timestamp, code: Code, why: String, usage: Usage, cost: Money) -> Result<(), Failure> {
        let row = self.app.store().retry_job(self.held(), at, code, why, (usage, cost)).await.map_err(|e| e.failure())?;
        model::crash::point("job:again");
        self.app.job_changed(&row);
        Ok(())
    }

    fn limit(&self) -> u64 {
        self.app.settings().jobs.result_max
    }

    /// A good end.
    fn end(&self, left: Left, usage: Usage, cost: Money) -> JobEnd {
        JobEnd {
            work: self.held(),
            is_good: true,
            exit_code: 0,
            code: None,
            error: None,
            usage,
            cost,
            blobs: left,
            has_session: true,
            now: now(),
        }
    }

    async fn finish(&self, end: JobEnd) -> Result<(), Failure> {
        model::crash::point("job:before-end");
        let row = self.app.store().finish_job(end).await.map_err(|e| e.failure())?;
        model::crash::point("job:ended");
        self.app.job_changed(&row);
        Ok(())
    }

    /// Notes what a job that was stopped had used.
    async fn settle(&self) {
        let row = self.app.store().job(&self.job.id).await;
        if !row.is_ok_and(|row| row.state == model::JobState::Cancelled) {
            return;
        }
        let used = match self.app.store().turn_usage(&self.session, &self.turn).await {
            Ok(Some(used)) => (self.job.usage.plus(used.usage), self.job.cost.plus(used.cost)),
            _ => return,
        };
        if let Err(error) = self.app.store().settle_job(&self.job.id, used.0, used.1).await {
            tracing::warn!(job = self.job.id, error = model::chain(&error), "what a stopped job had used is not noted");
        }
    }
}

/// Whether another try may end better although nothing is changed.
fn is_nobodys_fault(code: Code) -> bool {
    matches!(code, Code::SandboxFailed | Code::HostLost | Code::ProviderDown | Code::ProviderLimited | Code::StreamCut | Code::Busy)
}

/// Milliseconds before the try after this one: doubling, and not the same for everybody.
fn back_off(tries: u32) -> u64 {
    let doubled = BACK_OFF_MIN.saturating_mul(1 << tries.saturating_sub(1).min(10)).min(BACK_OFF_MAX);
    let most = u64::try_from(doubled.as_millis()).unwrap_or(u64::MAX);
    let chance = u64::try_from(crate::clock::fresh_bits() & 0xffff).unwrap_or(0);
    most / 2 + most / 2 * chance / 0xffff
}

fn of_usd(usd: f64) -> Money {
    Money::from_usd(usd).unwrap_or(Money::ZERO)
}

impl App {
    /// What would be started for a prompt, as a shell would be told.
    fn command_line(&self, spec: &crate::SessionSpec, prompt: &str) -> Result<String, Failure> {
        let argv = crate::turn::argv_of(self, spec, prompt)?;
        Ok(argv.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "))
    }
}

/// A word as a shell reads it back.
fn quoted(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./:=,@%+".contains(&b);
    if !word.is_empty() && word.bytes().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_before_another_try_doubles_up_to_a_minute() {
        for (tries, most) in [(1, 1000), (2, 2000), (3, 4000), (7, 60_000), (100, 60_000)] {
            let took = back_off(tries);
            assert!((most / 2..=most).contains(&took), "{tries}: {took}");
        }
    }

    #[test]
    fn words_are_quoted_for_a_shell() {
        assert_eq!(quoted("--model=a/b"), "--model=a/b");
        assert_eq!(quoted("it's"), "'it'\\''s'");
        assert_eq!(quoted(""), "''");
    }
}
