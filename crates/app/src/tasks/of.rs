//! Tasks as people see and change them.

use model::{Code, Failure, IdError, TaskId, TaskRunId};
use store::{NewTask, Page, StoreError, TaskChange, TaskRow};

use super::forms::{TaskAction, TaskForm, TaskQuery, TaskRunView, TaskView};
use super::schedule::Schedule;
use crate::clock::fresh_bits;
use crate::{App, Caller, now};

/// Entries of a page when nothing is said, and at most.
const PAGE: (usize, usize) = (50, 200);
/// Failures that stop a task: the usual number, and the largest.
pub(crate) const FAILURES: (u32, u32) = (10, 1000);
/// The zone when none is named.
const ZONE_DEFAULT: &str = "UTC";

/// The tasks that a caller sees.
pub struct TasksOf<'a> {
    pub(crate) app: &'a App,
    pub(crate) caller: Caller,
}

impl TasksOf<'_> {
    /// Makes a task.
    ///
    /// # Errors
    /// A field is wrong, or the name is taken.
    pub async fn create(&self, form: TaskForm) -> Result<TaskView, Failure> {
        let wrong = |field: &str, why: &str| Failure::new(Code::Usage, why.to_owned()).field(field);
        let zone = form.zone.unwrap_or_else(|| ZONE_DEFAULT.to_owned());
        let schedule = Schedule::parse(&form.cron, &zone)?;
        let (usual, most) = FAILURES;
        let failures_max = form.failures_max.unwrap_or(usual);
        if !(1..=most).contains(&failures_max) {
            return Err(wrong("failures_max", "failures that stop a task are from 1 to 1000"));
        }
        if form.name.starts_with(TaskId::PREFIX) {
            return Err(wrong("name", "this name looks like the identity of a task"));
        }
        let action = self.checked(form.action).await?;
        let at = now();
        let due = schedule.next(at).ok_or_else(|| wrong("cron", "this time never comes"))?;
        let new = NewTask {
            id: TaskId::from_bits(fresh_bits()),
            tenant: self.caller.makes_for().to_owned(),
            name: form.name,
            cron: form.cron.trim().to_owned(),
            zone,
            misfire: form.misfire.as_str().to_owned(),
            overlap: form.overlap.as_str().to_owned(),
            action: serde_json::to_value(&action).map_err(|e| wrong("action", &e.to_string()))?,
            failures_max,
            is_owners: self.caller.tenant.is_none(),
            due: Some(due),
            now: at,
        };
        let row = self.app.store().create_task(new).await.map_err(|e| e.failure())?;
        self.app.wake_tasks();
        Ok(row.into())
    }

    /// What is wrong with an action is said when it is given, not when it is due.
    pub(crate) async fn checked(&self, action: TaskAction) -> Result<TaskAction, Failure> {
        match action {
            TaskAction::Job(mut form) => {
                crate::check_job(&mut form)?;
                if form.webhook_secret.is_some() {
                    return Err(Failure::new(Code::Usage, "a task keeps no secret in its job: its webhooks are signed with the tenant's")
                        .hint("`lazaret webhook secret`")
                        .field("webhook_secret"));
                }
                if let Some(url) = &form.webhook_url {
                    self.app.check_webhook_url(url)?;
                }
                Ok(TaskAction::Job(form))
            }
            TaskAction::Message(message) => {
                if message.text.trim().is_empty() || message.text.contains('\0') {
                    return Err(Failure::new(Code::PromptInvalid, "the text is empty or holds a NUL").field("text"));
                }
                let sessions = self.app.sessions_of(&self.caller);
                let mut speaks = message.agent.clone().unwrap_or_else(|| crate::DEFAULT_AGENT.to_owned());
                if let Some(session) = &message.session {
                    speaks = sessions.show(session.as_str()).await?.agent;
                }
                if message.to.len() > store::ABOUT_PLACES_MAX {
                    let why = format!("an answer goes to at most {} places", store::ABOUT_PLACES_MAX);
                    return Err(Failure::new(Code::Usage, why).field("to"));
                }
                for name in &message.to {
                    self.app.delivery().target(self.caller.makes_for(), &speaks, name, String::new(), None).await?;
                }
                if message.gate.as_ref().is_some_and(|gate| gate.len() > store::GATE_BYTES_MAX || gate.contains('\0')) {
                    let why = format!("a gate is a script of at most {} bytes", store::GATE_BYTES_MAX);
                    return Err(Failure::new(Code::Usage, why).field("gate"));
                }
                if let Some(agent) = &message.agent {
                    self.app.agents().show(agent).await?;
                }
                if let Some(env) = &message.env {
                    self.app.envs_of(&self.caller).show(env).await?;
                }
                Ok(TaskAction::Message(message))
            }
        }
    }

    /// A page of tasks, the oldest first.
    ///
    /// # Errors
    /// The cursor or limit is none.
    pub async fn list(&self, query: TaskQuery) -> Result<Page<TaskView>, Failure> {
        let (after, limit) = page_of::<TaskId>(&query)?;
        let page = self.app.store().list_tasks(self.caller.tenant.clone(), after, limit).await.map_err(|e| e.failure())?;
        Ok(Page { items: page.items.into_iter().map(TaskView::from).collect(), next: page.next })
    }

    /// One task, by its identity or its name.
    ///
    /// # Errors
    /// There is none.
    pub async fn show(&self, task: &str) -> Result<TaskView, Failure> {
        self.row(task).await.map(TaskView::from)
    }

    /// Lets it not be due until it goes on. What it began goes on.
    ///
    /// # Errors
    /// There is none.
    pub async fn pause(&self, task: &str) -> Result<TaskView, Failure> {
        let id = self.row(task).await?.id;
        self.app.store().change_task(&id, TaskChange::Pause, now()).await.map(TaskView::from).map_err(|e| e.failure())
    }

    /// Lets it be due again, from now on: what came meanwhile is not done.
    ///
    /// # Errors
    /// There is none.
    pub async fn resume(&self, task: &str) -> Result<TaskView, Failure> {
        let row = self.row(task).await?;
        let at = now();
        let due = Schedule::parse(&row.cron, &row.zone)?.next(at);
        let row = self.app.store().change_task(&row.id, TaskChange::Resume(due), at).await.map_err(|e| e.failure())?;
        self.app.wake_tasks();
        Ok(row.into())
    }

    /// Does it now, beside its schedule, also while it is paused.
    ///
    /// # Errors
    /// There is none, or too many of its runs wait.
    pub async fn run(&self, task: &str) -> Result<TaskRunView, Failure> {
        let id = self.row(task).await?.id;
        let run = self.app.store().ask_run(&id, TaskRunId::from_bits(fresh_bits()), now()).await.map_err(|e| e.failure())?;
        self.app.wake_tasks();
        Ok(run.into())
    }

    /// A page of its log, the youngest first.
    ///
    /// # Errors
    /// There is none, or the cursor or limit is none.
    pub async fn log(&self, task: &str, query: TaskQuery) -> Result<Page<TaskRunView>, Failure> {
        let id = self.row(task).await?.id;
        let (after, limit) = page_of::<TaskRunId>(&query)?;
        let page = self.app.store().list_runs(&id, after, limit).await.map_err(|e| e.failure())?;
        Ok(Page { items: page.items.into_iter().map(TaskRunView::from).collect(), next: page.next })
    }

    /// Forgets it and its log. What it began goes on.
    ///
    /// # Errors
    /// There is none.
    pub async fn remove(&self, task: &str) -> Result<TaskView, Failure> {
        let row = self.row(task).await?;
        self.app.store().remove_task(&row.id).await.map_err(|e| e.failure())?;
        Ok(row.into())
    }

    async fn row(&self, task: &str) -> Result<TaskRow, Failure> {
        let found = match task.parse::<TaskId>() {
            Ok(id) => self.app.store().task(&id).await,
            Err(_) => self.app.store().task_named(self.caller.makes_for(), task).await,
        };
        let row = found.map_err(|e| e.failure())?;
        if self.caller.sees(&row.tenant) {
            return Ok(row);
        }
        Err(StoreError::NotFound { what: "task", id: task.to_owned() }.failure())
    }
}

fn page_of<T: std::str::FromStr<Err = IdError>>(query: &TaskQuery) -> Result<(Option<T>, usize), Failure> {
    let wrong = |field: &str, why: &str| Failure::new(Code::Usage, why).field(field);
    let after = query.after.as_deref().map(str::parse).transpose();
    let (usual, most) = PAGE;
    let limit = query.limit.unwrap_or(usual);
    if !(1..=most).contains(&limit) {
        return Err(wrong("limit", "a page has 1 to 200 entries"));
    }
    Ok((after.map_err(|_: IdError| wrong("after", "this is no cursor of an earlier page"))?, limit))
}
