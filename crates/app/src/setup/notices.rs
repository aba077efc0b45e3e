//! What an owner should do something about, each with what does it.

use model::{Failure, Timestamp};
use serde::{Deserialize, Serialize};
use store::{OutFilter, TaskState};

use crate::{App, Caller, TaskQuery, now};

/// How long something may be owed before it is told of, in milliseconds.
const OWED_MS: u64 = 600_000;
/// Deliveries, tasks and people that are counted.
const COUNTED_MAX: usize = 200;

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Notice {
    /// What it is about: `channel`, `outbox`, `dead`, `login`, `task`, `admission` or `approval`.
    pub about: String,
    /// What is so.
    pub detail: String,
    /// What to do about it.
    pub fix: String,
}

impl Notice {
    pub(crate) fn new(about: &str, detail: String, fix: impl Into<String>) -> Self {
        Self { about: about.to_owned(), detail, fix: fix.into() }
    }
}

impl App {
    /// What this caller should do something about.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn notices(&self, caller: &Caller) -> Result<Vec<Notice>, Failure> {
        let mut notices = self.of_channels(caller).await?;
        notices.extend(self.of_deliveries(caller).await?);
        notices.extend(self.of_tasks(caller).await?);
        if caller.tenant.is_none() {
            notices.extend(self.login_notices().await);
        }
        let asking = self.store().list_admissions(caller.tenant.clone(), Some("pending".to_owned())).await.map_err(|e| e.failure())?;
        if !asking.is_empty() {
            let detail = format!("{} ask to be let in", many(asking.len(), "person", "people"));
            notices.push(Notice::new("admission", detail, "lazaret people admissions, then lazaret people admit ID"));
        }
        Ok(notices)
    }

    async fn of_channels(&self, caller: &Caller) -> Result<Vec<Notice>, Failure> {
        let mut notices = Vec::new();
        for channel in self.channels_of(caller).list().await? {
            let name = &channel.name;
            let message = if channel.message.is_empty() { String::new() } else { format!(": {}", channel.message) };
            match channel.health.as_str() {
                "credential" => notices.push(Notice::new(
                    "login",
                    format!("the platform does not accept the credential of {name}{message}"),
                    format!("lazaret channel set {name} --credential -"),
                )),
                "configuration" => notices.push(Notice::new(
                    "channel",
                    format!("what {name} is told is wrong{message}"),
                    format!("lazaret channel set {name} --config KEY=VALUE"),
                )),
                "down" => notices.push(Notice::new(
                    "channel",
                    format!("the program of {name} ended {} and begins again{message}", many(channel.restarts as usize, "time", "times")),
                    format!("lazaret channel show {name}"),
                )),
                _ => {}
            }
        }
        Ok(notices)
    }

    async fn of_deliveries(&self, caller: &Caller) -> Result<Vec<Notice>, Failure> {
        let mut notices = Vec::new();
        let filter = |state: &str| OutFilter { tenant: caller.tenant.clone(), state: Some(state.to_owned()), ..OutFilter::default() };
        let dead = self.store().list_out(filter("dead"), None, COUNTED_MAX).await.map_err(|e| e.failure())?.items;
        if let Some(last) = dead.first() {
            let why = last.error.as_deref().unwrap_or("no reason was told");
            let detail = format!("{} could not be delivered; the last on {}: {why}", many(dead.len(), "answer", "answers"), last.channel);
            let fix = format!("lazaret channel deliveries --state dead, then lazaret channel resend {}", last.id);
            notices.push(Notice::new("dead", detail, fix));
        }
        let waiting = self.store().list_out(filter("waiting"), None, COUNTED_MAX).await.map_err(|e| e.failure())?.items;
        let since = Timestamp(now().0.saturating_sub(OWED_MS));
        let late: Vec<_> = waiting.iter().filter(|row| row.created.0 < since.0).collect();
        if let Some(oldest) = late.last() {
            let detail = format!(
                "{} owed for more than ten minutes; the oldest on {}",
                many(late.len(), "answer is", "answers are"),
                oldest.channel
            );
            notices.push(Notice::new(
                "outbox",
                detail,
                format!("lazaret channel show {}; an account that is off: lazaret channel on NAME", oldest.channel),
            ));
        }
        Ok(notices)
    }

    async fn of_tasks(&self, caller: &Caller) -> Result<Vec<Notice>, Failure> {
        let page = self.tasks_of(caller).list(TaskQuery { limit: Some(COUNTED_MAX), ..TaskQuery::default() }).await?;
        let quoted = |name: &str| name.replace('\'', "");
        let notices = page.items.into_iter().filter_map(|task| {
            let why = task.note.as_deref().map(|note| format!(" ({note})")).unwrap_or_default();
            let fix = format!("lazaret why '{0}', then lazaret task resume '{0}'", quoted(&task.name));
            if task.status == TaskState::Broken.as_str() {
                let detail = format!("the task {} stopped after {} failures{why}", task.name, task.failures);
                return Some(Notice::new("task", detail, fix));
            }
            if task.status == TaskState::Paused.as_str() {
                return Some(Notice::new(
                    "task",
                    format!("the task {} is paused{why}", task.name),
                    format!("lazaret task resume '{}'", quoted(&task.name)),
                ));
            }
            None
        });
        Ok(notices.collect())
    }
}

/// A number with its word.
fn many(n: usize, one: &str, more: &str) -> String {
    match n {
        1 => format!("1 {one}"),
        n if n >= COUNTED_MAX => format!("{COUNTED_MAX} or more {more}"),
        n => format!("{n} {more}"),
    }
}
