//! What is asked for when a task is due.

use std::collections::BTreeMap;

use model::{ChatPolicy, Code, Failure, SessionId, TaskRunId, Timestamp, TurnId, TurnState, escaped};
use serde::Deserialize as _;
use store::{Origin, OutPlace, StoreError, TaskPlaceRow, TaskRow, TaskRunRow, TurnAbout};

use super::forms::{TaskAction, TaskMessage};
use crate::due::wait_for_store;
use crate::router::permits;
use crate::{App, Caller, JobForm, MessageForm, SessionForm, SessionQuery, now};

/// How often work is asked for that could not be asked for.
const TRIES_MAX: u32 = 5;
/// How long is waited after the first of these times, in milliseconds; twice as long after each further one.
const AGAIN_MS: u64 = 5_000;
/// The label of what a task makes: the run that made it.
const LABEL: &str = "task-run";

/// What a run made.
enum Made {
    Job(String),
    Turn(TurnId),
}

impl App {
    /// Asks for the work of a run that has begun.
    pub(super) fn begin_work(&self, run: TaskRunRow, task: TaskRow) {
        let app = self.clone();
        self.spawn(async move {
            let cancel = app.cancel().clone();
            tokio::select! {
                // The next daemon asks again, under the same key.
                () = cancel.cancelled() => {}
                () = app.work(&run, &task) => {}
            }
        });
    }

    async fn work(&self, run: &TaskRunRow, task: &TaskRow) {
        let made = Box::pin(self.ask_for(run, task)).await;
        model::crash::point("task:made");
        if let Err(failure) = &made {
            tracing::warn!(task = %task.id, run = %run.id, %failure, "a task could not be done");
        }
        // A run of which nothing is noted would stand as begun until the daemon's next start, and its task with it.
        while let Err(error) = self.keep_made(run, &made).await {
            wait_for_store("tasks", &error).await;
        }
        while let Err(error) = self.end_if_over(&run.id).await {
            wait_for_store("tasks", &error).await;
        }
        self.wake_tasks();
    }

    /// Notes what a run made, or that it is to be tried again, or has failed.
    async fn keep_made(&self, run: &TaskRunRow, made: &Result<Made, Failure>) -> Result<(), StoreError> {
        match made {
            Ok(Made::Job(job)) => self.store().run_made(&run.id, Some(job.clone()), None).await,
            Ok(Made::Turn(turn)) => self.store().run_made(&run.id, None, Some(turn.clone())).await,
            Err(failure) if failure.code.is_retriable() && run.tries < TRIES_MAX => {
                let wake = Timestamp(now().0.saturating_add(AGAIN_MS << run.tries.min(TRIES_MAX)));
                self.store().put_run_back(&run.id, wake, failure.message.clone()).await
            }
            Err(failure) => self.store().end_task_run(&run.id, false, Some(failure.message.clone()), now()).await,
        }
    }

    /// Ends a run whose work is over: a quick job may have ended before it was noted whose it is.
    async fn end_if_over(&self, run: &TaskRunId) -> Result<(), StoreError> {
        let Some(run) = self.store().task_run(run).await? else { return Ok(()) };
        let Some((is_well, note)) = self.end_of_work(&run).await else { return Ok(()) };
        self.store().end_task_run(&run.id, is_well, note, now()).await
    }

    async fn ask_for(&self, run: &TaskRunRow, task: &TaskRow) -> Result<Made, Failure> {
        let caller = if task.is_owners { Caller::OWNER } else { self.caller_of(&task.tenant) };
        let unreadable = |e: serde_json::Error| Failure::new(Code::StoreUnusable, format!("what the task does cannot be read: {e}"));
        match TaskAction::deserialize(&task.action).map_err(unreadable)? {
            TaskAction::Job(form) => self.ask_job(run, task, &caller, *form).await,
            TaskAction::Message(message) => self.ask_turn(run, task, &caller, message).await,
        }
    }

    fn caller_of(&self, tenant: &str) -> Caller {
        Caller { tenant: Some(tenant.to_owned()) }
    }

    async fn ask_job(&self, run: &TaskRunRow, task: &TaskRow, caller: &Caller, mut form: JobForm) -> Result<Made, Failure> {
        form.labels.insert("task".to_owned(), task.id.to_string());
        form.labels.insert(LABEL.to_owned(), run.id.to_string());
        let job = self.jobs_of(caller).create(form, Some(key_of(run))).await?;
        Ok(Made::Job(job.id))
    }

    async fn ask_turn(&self, run: &TaskRunRow, task: &TaskRow, caller: &Caller, message: TaskMessage) -> Result<Made, Failure> {
        let place = self.store().task_place(&task.id).await.map_err(|e| e.failure())?;
        let about = self.about_task(task, place.as_ref(), &message).await?;
        let sessions = self.sessions_of(caller);
        let session = match (&message.session, &run.session) {
            (Some(session), _) | (None, Some(session)) => session.clone(),
            (None, None) => self.session_for(run, task, caller, &message).await?,
        };
        self.store().run_has_session(&run.id, &session).await.map_err(|e| e.failure())?;
        let text = if place.is_some() { prompt_of(run, task, &message.text) } else { message.text };
        let form = MessageForm { text, ..MessageForm::default() };
        let turn = sessions.message_about(session.as_str(), form, Some(key_of(run)), about).await?;
        if place.is_some_and(|place| !place.origin.channel.is_empty()) {
            self.show_typing(&turn, &session);
        }
        Ok(Made::Turn(turn))
    }

    /// For whom the turn of a task acts, where its answer goes, and what decides whether it is worth an engine: as it is now, when it is due.
    async fn about_task(&self, task: &TaskRow, place: Option<&TaskPlaceRow>, message: &TaskMessage) -> Result<TurnAbout, Failure> {
        let agent = match (&message.agent, &message.session) {
            (Some(agent), _) => agent.clone(),
            // What may be sent where is a matter of who speaks there.
            (None, Some(session)) => self.store().session(session).await.map_err(|e| e.failure())?.agent,
            (None, None) => crate::DEFAULT_AGENT.to_owned(),
        };
        let agent = agent.as_str();
        let origin = place.map(|place| place.origin.clone()).filter(|origin| !origin.channel.is_empty());
        if let Some(origin) = &origin {
            self.must_be_heard(task, agent, origin).await?;
        }
        let mut places = Vec::new();
        for name in &message.to {
            let target = self.delivery().target(&task.tenant, agent, name, String::new(), None).await?;
            places.push(OutPlace { channel: target.channel, chat: target.chat, thread: target.thread });
        }
        Ok(TurnAbout { origin, places, gate: message.gate.clone(), mail: None })
    }

    /// Stops a task whose maker may not ask the agent for anything any more.
    async fn must_be_heard(&self, task: &TaskRow, agent: &str, origin: &Origin) -> Result<(), Failure> {
        let store = self.store();
        let person = store.person(&task.tenant, &origin.channel, &origin.handle).await.map_err(|e| e.failure())?;
        let chat = store.chat_named(&origin.channel, &origin.chat).await.map_err(|e| e.failure())?;
        let is_same = person.as_ref().map(|person| &person.user) == origin.user.as_ref();
        let is_known = is_same && person.as_ref().is_some_and(|person| permits(person, agent));
        let is_public = chat.is_some_and(|chat| chat.policy == ChatPolicy::Public && chat.denied.is_none());
        if is_known || (is_public && origin.user.is_none()) {
            return Ok(());
        }
        let note = format!("whoever made it may not ask {agent} for anything any more");
        store.stop_task(&task.id, note.clone(), now()).await.map_err(|e| e.failure())?;
        self.wake_channel(&origin.channel);
        Err(Failure::new(Code::Forbidden, note))
    }

    /// The session of a run: the one that an earlier daemon made for it, or a new one.
    async fn session_for(&self, run: &TaskRunRow, task: &TaskRow, caller: &Caller, message: &TaskMessage) -> Result<SessionId, Failure> {
        let sessions = self.sessions_of(caller);
        if run.tries > 1 || run.begun.is_some_and(|begun| begun.0 + AGAIN_MS < now().0) {
            let query = SessionQuery { label: Some(format!("{LABEL}={}", run.id)), limit: Some(1), ..SessionQuery::default() };
            if let Some(found) = sessions.list(query).await?.items.into_iter().next() {
                return Ok(found.id);
            }
        }
        let labels = BTreeMap::from([("task".to_owned(), task.id.to_string()), (LABEL.to_owned(), run.id.to_string())]);
        let form = SessionForm {
            agent: message.agent.clone(),
            env: message.env.clone(),
            title: Some(task.name.clone()),
            labels,
            ..SessionForm::default()
        };
        Ok(sessions.create(form, Vec::new()).await?.id)
    }

    /// How the work of a run ended, if it is over or gone.
    pub(super) async fn end_of_work(&self, run: &TaskRunRow) -> Option<(bool, Option<String>)> {
        let gone = |what: &str| Some((false, Some(format!("the {what} is gone"))));
        if let Some(job) = &run.job {
            return match self.store().job(job).await {
                Ok(row) => row.finished.map(|_| (row.state.as_str() == "completed", row.error)),
                Err(store::StoreError::NotFound { .. }) => gone("job"),
                Err(_) => None,
            };
        }
        let turn = run.turn.as_ref()?;
        match self.store().turn(turn).await {
            Ok(row) => row.ended.map(|_| (row.state == TurnState::Done, row.code.map(|code| code.to_string()))),
            Err(store::StoreError::NotFound { .. }) => gone("turn"),
            Err(_) => None,
        }
    }
}

/// What an agent is asked when a task that it was given is due.
fn prompt_of(run: &TaskRunRow, task: &TaskRow, text: &str) -> String {
    let (name, zone) = (escaped(&task.name), escaped(&task.zone));
    let due = crate::agent_tools::shown(run.due, &task.zone);
    let how = if run.by_hand { " asked=\"by hand\"" } else { "" };
    format!("<task id=\"{}\" name=\"{name}\" zone=\"{zone}\" due=\"{due}\"{how}>\n{}\n</task>\n", task.id, escaped(text))
}

/// What the work of a run is asked for under: the same however often it is asked.
fn key_of(run: &TaskRunRow) -> String {
    let hand = if run.by_hand { ":hand" } else { "" };
    format!("task:{}:{}{hand}", run.task, run.due.0)
}
