//! The commands of chats, each with the right that it needs.

use model::{Code, Failure, SessionId, TurnId};
use serde_json::json;
use store::{NewTurn, UsageRow};

use super::host::{ANSWERS, Asking, COMMANDS};
use crate::router::is_admin;
use crate::{ForkForm, TaskQuery, TaskView, UndoForm, now};

/// Tasks that are shown at once.
const TASKS_SHOWN: usize = 30;
/// Tasks among which one is looked for by its name.
const TASKS_SEEN: usize = 200;

/// Runs a command and gives what is said about it.
pub(super) async fn run(asking: &Asking<'_>, command: &str) -> Result<String, Failure> {
    let rest = asking.note["rest"].as_str().unwrap_or_default();
    let agent = asking.note["agent"].as_str().unwrap_or_default().to_owned();
    if !ANSWERS.contains(&command) {
        asking.must_be_known(&agent)?;
    }
    let session = asking.note["session"].as_str().and_then(|id| id.parse::<SessionId>().ok());
    let doing = Doing { asking, agent, session };
    match command {
        "help" => Ok(help()),
        "status" => doing.status().await,
        "stop" => doing.stop().await,
        "clear" => doing.clear().await,
        "compact" => doing.compact().await,
        "cost" => doing.cost().await,
        "undo" => doing.undo().await,
        "fork" => doing.fork().await,
        "agent" => doing.agent().await,
        "tasks" => doing.tasks(rest).await,
        "why" => doing.why(rest).await,
        "approve" => asking.answer_code(rest, true).await,
        "deny" => asking.answer_code(rest, false).await,
        "admit" => match rest.split_once(char::is_whitespace) {
            Some((id, "yes")) => asking.answer_admission(id, true).await,
            Some((id, "no")) => asking.answer_admission(id, false).await,
            _ => Err(Failure::new(Code::Usage, "/admit ID yes, or /admit ID no")),
        },
        _ => Err(Failure::new(Code::NotFound, "there is no such command")),
    }
}

fn help() -> String {
    COMMANDS.iter().map(|(name, what)| format!("/{name}: {what}")).collect::<Vec<_>>().join("\n")
}

struct Doing<'a> {
    asking: &'a Asking<'a>,
    agent: String,
    session: Option<SessionId>,
}

impl Doing<'_> {
    fn session(&self) -> Result<&SessionId, Failure> {
        self.session.as_ref().ok_or_else(|| Failure::new(Code::NotFound, "nothing was asked here yet"))
    }

    /// Refuses what concerns a conversation that others have a part in, unless they answer for the agent.
    async fn must_be_theirs(&self) -> Result<(), Failure> {
        let chat = self.asking.app.store().chat_named(&self.asking.row.channel, &self.asking.row.chat).await.map_err(|e| e.failure())?;
        let keys = match &self.session {
            Some(session) => self.asking.app.store().keys_of(session).await.map_err(|e| e.failure())?,
            None => Vec::new(),
        };
        let is_shared = chat.is_none_or(|chat| chat.is_group) || keys.iter().any(|key| key.chat.is_empty());
        if is_shared { self.asking.must_be_admin(&self.agent) } else { Ok(()) }
    }

    async fn status(&self) -> Result<String, Failure> {
        let Ok(session) = self.session() else { return Ok(format!("{} hears this chat. Nothing was asked yet.", self.agent)) };
        let view = self.asking.app.sessions_of(&self.asking.caller()).show(session.as_str()).await?;
        let state = serde_json::to_value(view.state).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default();
        let model = if view.model.is_empty() { "its own choice of model" } else { &view.model };
        Ok(format!("{} with {} ({model}): {state}, {} turns.\nSession {session}", view.agent, view.engine, view.turns))
    }

    async fn stop(&self) -> Result<String, Failure> {
        let session = self.session()?;
        let store = self.asking.app.store();
        let open = store.open_turns(session).await.map_err(|e| e.failure())?;
        if open.is_empty() {
            return Ok("Nothing runs.".to_owned());
        }
        for turn in &open {
            let asker = store.asker(&turn.id).await.map_err(|e| e.failure())?;
            let is_own = asker.is_some_and(|asker| self.asking.is_who_asked(&asker));
            if !is_own {
                self.asking.must_be_admin(&self.agent)?;
            }
        }
        self.asking.app.sessions_of(&self.asking.caller()).cancel(session.as_str()).await?;
        Ok("Stopped.".to_owned())
    }

    async fn clear(&self) -> Result<String, Failure> {
        let session = self.session()?;
        self.must_be_theirs().await?;
        self.asking.app.store().leave_session(session).await.map_err(|e| e.failure())?;
        self.asking.app.sessions_of(&self.asking.caller()).cancel(session.as_str()).await?;
        Ok("A new conversation begins with the next message.".to_owned())
    }

    /// Engines that know the command sum up by themselves; the answer comes as that of any turn.
    async fn compact(&self) -> Result<String, Failure> {
        let session = self.session()?;
        self.must_be_theirs().await?;
        let app = self.asking.app;
        let view = app.sessions_of(&self.asking.caller()).show(session.as_str()).await?;
        if view.engine != "claude-code" {
            return Ok(format!("{} sums up by itself when it has to.", view.engine));
        }
        if view.head == 0 {
            return Ok("There is nothing to sum up yet.".to_owned());
        }
        let key = format!("compact:{}", self.asking.row.id);
        let turn = TurnId::from_bits(crate::clock::fresh_bits());
        let asker = Some(Box::new(self.asking.asker(&turn)));
        let new = NewTurn { key: Some(key), asker, ..NewTurn::new(turn, session.clone(), "/compact", now()) };
        app.store().accept_turn(new).await.map_err(|e| e.failure())?;
        app.bring(session, None, None).await?.wake.notify_one();
        Ok("The conversation is summed up before anything else.".to_owned())
    }

    async fn cost(&self) -> Result<String, Failure> {
        let session = self.session()?;
        let rows: Option<UsageRow> = self.asking.app.store().session_usage(session).await.map_err(|e| e.failure())?;
        let dollars: f64 = rows.iter().map(|row| row.cost.as_usd()).sum();
        let calls: u64 = rows.iter().map(|row| row.calls).sum();
        Ok(format!("${dollars:.4} in {calls} model calls."))
    }

    /// Goes back to before the last turn. What that is was noted first, so that a daemon that dies over it takes back one turn only.
    async fn undo(&self) -> Result<String, Failure> {
        let session = self.session()?;
        self.must_be_theirs().await?;
        let app = self.asking.app;
        let row = app.store().session(session).await.map_err(|e| e.failure())?;
        let to = match self.asking.note["undo_to"].as_u64() {
            Some(to) => to,
            None => {
                let head = app.store().turns(session, row.head.saturating_sub(1), 1).await.map_err(|e| e.failure())?;
                let to = head.first().filter(|turn| turn.n == row.head).map(|turn| turn.parent);
                let to = to.ok_or_else(|| Failure::new(Code::CheckpointMissing, "there is nothing to take back"))?;
                let mut note = self.asking.note.clone();
                note["undo_to"] = json!(to);
                app.store().note_inbound(&self.asking.row.id, note).await.map_err(|e| e.failure())?;
                to
            }
        };
        model::crash::point("host:undo-noted");
        if row.head != to {
            app.sessions_of(&self.asking.caller()).undo(session.as_str(), UndoForm { to: Some(to), ..UndoForm::default() }).await?;
        }
        Ok("The last turn is taken back, with its files.".to_owned())
    }

    async fn fork(&self) -> Result<String, Failure> {
        let session = self.session()?;
        self.asking.must_be_admin(&self.agent)?;
        let made = self.asking.app.sessions_of(&self.asking.caller()).fork(session.as_str(), ForkForm::default()).await?;
        let ids: Vec<String> = made.iter().map(|view| view.id.to_string()).collect();
        Ok(format!("Forked: lazaret chat {}", ids.join(" ")))
    }

    async fn agent(&self) -> Result<String, Failure> {
        let agent = self.asking.app.agents().show(&self.agent).await?;
        let trigger = agent.trigger.as_deref().unwrap_or(model::TRIGGER);
        let word = |text: &Option<String>| text.clone().unwrap_or_else(|| "as configured".to_owned());
        Ok(format!("{}, called {trigger}. Engine: {}. Model: {}.", agent.name, word(&agent.engine), word(&agent.model)))
    }

    /// The tasks that whoever asks may see: the tenant's for who looks after that, the agent's for who answers for it, else their own.
    async fn tasks_seen(&self) -> Result<Vec<TaskView>, Failure> {
        let asking = self.asking;
        if asking.person.is_some_and(|person| matches!(person.role.as_deref(), Some("admin" | "owner"))) {
            let query = TaskQuery { limit: Some(TASKS_SEEN), ..TaskQuery::default() };
            return Ok(asking.app.tasks_of(&asking.caller()).list(query).await?.items);
        }
        let all = asking.app.store().tasks_of_agent(asking.tenant, &self.agent).await.map_err(|e| e.failure())?;
        let answers = asking.person.is_some_and(|person| is_admin(person, &self.agent));
        let user = asking.person.map(|person| &person.user);
        let is_own = |origin: &store::Origin| match (&origin.user, user) {
            (Some(maker), Some(user)) => maker == user,
            _ => origin.channel == asking.row.channel && origin.handle == asking.row.sender,
        };
        Ok(all.into_iter().filter(|(_, place)| answers || is_own(&place.origin)).map(|(row, _)| row.into()).collect())
    }

    async fn tasks(&self, rest: &str) -> Result<String, Failure> {
        let seen = self.tasks_seen().await?;
        if rest.is_empty() {
            let live = seen.iter().filter(|task| task.status != "over").take(TASKS_SHOWN);
            let line = |task: &TaskView| format!("{}: {}, {} ({})", task.name, task.status, task.cron, task.zone);
            let lines: Vec<String> = live.map(line).collect();
            return Ok(if lines.is_empty() { "There are no tasks.".to_owned() } else { lines.join("\n") });
        }
        let usage = || Failure::new(Code::Usage, "/tasks, or /tasks pause|resume|run NAME");
        let (verb, name) = rest.split_once(char::is_whitespace).ok_or_else(usage)?;
        let found = seen.iter().find(|task| task.name == name.trim() || task.id.as_str() == name.trim());
        let id = found.ok_or_else(|| Failure::new(Code::NotFound, "there is no such task here"))?.id.as_str();
        let tasks = self.asking.app.tasks_of(&self.asking.caller());
        let view = match verb {
            "pause" => tasks.pause(id).await?,
            "resume" => tasks.resume(id).await?,
            "run" => return tasks.run(id).await.map(|_| "It is due now.".to_owned()),
            _ => return Err(usage()),
        };
        let detail = json!({ "id": view.id, "status": view.status });
        self.asking.app.audit_change(&self.asking.actor(), "task.change", detail).await?;
        Ok(format!("{}: {}", view.name, view.status))
    }

    async fn why(&self, rest: &str) -> Result<String, Failure> {
        let app = self.asking.app;
        if !rest.is_empty() {
            self.asking.must_be_admin(&self.agent)?;
            return Ok(app.why_of(&self.asking.caller(), rest).await?.text());
        }
        let last = app.store().last_heard(&self.asking.row.channel, &self.asking.row.chat, 20).await.map_err(|e| e.failure())?;
        let before = last.iter().find(|row| row.id < self.asking.row.id && row.sender == self.asking.row.sender);
        let Some(before) = before else { return Ok("Nothing was heard of you here before.".to_owned()) };
        Ok(app.why_of(&self.asking.caller(), before.id.as_str()).await?.text())
    }
}
