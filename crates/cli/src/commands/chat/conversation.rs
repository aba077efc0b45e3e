//! One session that is talked in: turns, questions, going back and other ways on.

use std::time::Duration;

use app::{ApprovalView, Decision, EnvForm, ForkForm, MessageFile, MessageForm, SessionView, UndoForm};
use futures_util::FutureExt;
use http::Method;
use model::{Code, Failure, ResultEvent};
use serde_json::Value;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::args;
use crate::client::{Ticket, internal};
use crate::commands::begin::{Desk, again};
use crate::commands::follow::{Asked, Follow, Pause, ask};
use crate::commands::screen::Form;
use crate::commands::{approvals, env, fork, session};
use crate::home::random_hex;
use crate::{out, places};

/// How long a cancelled turn may take to say so.
const CANCEL_WAIT: Duration = Duration::from_secs(60);

/// A session that is talked in.
pub(super) struct Conversation<'a> {
    pub(super) desk: Desk<'a>,
    pub(super) session: SessionView,
    follow: Follow<'a>,
    form: Form,
    interrupt: Signal,
    ticket: Option<Ticket>,
    is_new: bool,
    asked: u64,
    /// Whether a turn that was asked for here is not over.
    is_at_work: bool,
}

/// How waiting for a turn ended.
pub(super) enum Step {
    /// The turn is over. The second is whether it was interrupted here.
    Over(Box<ResultEvent>, bool),
    /// A person must answer first.
    Asked(Asked),
    /// A call wants a person's yes.
    Approval(String),
}

impl<'a> Conversation<'a> {
    /// Begins a session, or takes one up.
    pub(super) async fn open(desk: Desk<'a>, flags: &args::Chat, form: Form) -> Result<Self, Failure> {
        let interrupt = signal(SignalKind::interrupt()).map_err(|e| internal(&e.to_string()))?;
        let (session, ticket, is_new) = match &flags.session {
            Some(id) => {
                refuse_what_is_settled(&flags.begin)?;
                let (session, ticket) = desk.resume(id, "--session").await?;
                (session, ticket, false)
            }
            None => {
                let (form, fds) = desk.form(&flags.begin)?;
                let (session, ticket) = desk.make(&form, &fds).await?;
                (session, ticket, true)
            }
        };
        desk.warn_of_rehearsal(&session);
        let follow = Follow::new(desk.client, &session, form);
        Ok(Self { desk, session, follow, form, interrupt, ticket, is_new, asked: 0, is_at_work: false })
    }

    /// Waits until somebody presses Ctrl-C.
    pub(super) async fn interrupted(&mut self) {
        self.interrupt.recv().await;
    }

    /// Asks for a turn.
    pub(super) async fn say(&mut self, text: String, files: Vec<MessageFile>) -> Result<(), Failure> {
        // An interrupt of something earlier is none of this turn.
        while self.interrupt.recv().now_or_never().flatten().is_some() {}
        if !self.session.mounts.is_empty() {
            // A daemon that has started since knows nothing of the directories that were opened for the one before it.
            let (_, ticket) = again(async || self.desk.resume(self.session.id.as_str(), "--session").await).await?;
            self.ticket = ticket;
        }
        again_attach(&mut self.follow).await?;
        let key = random_hex::<16>()?;
        let form = MessageForm { text, files, ..MessageForm::default() };
        let turn = ask(self.desk.client, &session::path(self.session.id.as_str())?, &form, &key).await?;
        self.follow.expect(turn);
        self.asked += 1;
        self.is_at_work = true;
        Ok(())
    }

    /// Waits until the turn is over or asks something. An interrupt cancels it; a second one stops the waiting.
    pub(super) async fn wait(&mut self) -> Result<Step, Failure> {
        let path = session::path(self.session.id.as_str())?;
        let cancelled = || Failure::new(Code::Cancelled, "cancelled");
        let (mut pause, is_interrupted) = {
            let follow = self.follow.pause();
            tokio::pin!(follow);
            tokio::select! {
                pause = &mut follow => (pause?, false),
                _ = self.interrupt.recv() => {
                    let cancel = async {
                        let _: Value = self.desk.client.json(Method::POST, &format!("{path}/cancel"), None).await?;
                        (&mut follow).await
                    };
                    tokio::select! {
                        pause = tokio::time::timeout(CANCEL_WAIT, cancel) => (pause.map_err(|_| cancelled())??, true),
                        _ = self.interrupt.recv() => return Err(cancelled()),
                    }
                }
            }
        };
        while is_interrupted && !matches!(pause, Pause::Over(_)) {
            // It asked just before it was cancelled; its end comes next.
            pause = tokio::time::timeout(CANCEL_WAIT, self.follow.pause()).await.map_err(|_| cancelled())??;
        }
        Ok(match pause {
            Pause::Asked(asked) => Step::Asked(asked),
            Pause::Approval(id) => Step::Approval(id),
            Pause::Over(result) => {
                self.follow.detach();
                self.is_at_work = false;
                Step::Over(Box::new(result), is_interrupted)
            }
        })
    }

    /// Answers what the turn asks.
    pub(super) async fn answer(&self, asked: &Asked, text: &str) -> Result<(), Failure> {
        let text = chosen(asked, text);
        let id = self.session.id.as_str();
        match again(async || session::answer(self.desk.client, id, Some(asked.id.as_str()), text.clone()).await).await {
            // Somebody else was quicker.
            Err(failure) if failure.code == Code::Conflict => {
                out::note(&crate::exit::clean(&failure.message));
                Ok(())
            }
            done => done,
        }
    }

    /// A confirmation, while it waits for an answer.
    pub(super) async fn approval(&self, id: &str) -> Result<Option<ApprovalView>, Failure> {
        let view = again(async || approvals::view(self.desk.client, id).await).await?;
        Ok(Some(view).filter(|view| view.status == "pending"))
    }

    /// The confirmations of this session that wait already, for one who joins.
    pub(super) async fn open_approvals(&self) -> Result<Vec<ApprovalView>, Failure> {
        approvals::pending(self.desk.client, self.session.id.as_str()).await
    }

    /// Answers a confirmation.
    pub(super) async fn decide(&self, seen: &ApprovalView, decision: Decision) -> Result<(), Failure> {
        approvals::say(again(async || approvals::decide(self.desk.client, seen, decision, None).await).await)
    }

    /// Cancels what runs.
    pub(super) async fn cancel(&self) -> Result<(), Failure> {
        let path = session::path(self.session.id.as_str())?;
        let _: Value = self.desk.client.json(Method::POST, &format!("{path}/cancel"), None).await?;
        Ok(())
    }

    /// What a person is asked already, for one who joins.
    pub(super) fn open_questions(&self) -> Vec<Asked> {
        let asked = |q: &app::QuestionView| {
            out::note(&crate::exit::clean(&format!("? {}", q.text)));
            for (n, option) in q.options.iter().enumerate() {
                out::note(&crate::exit::clean(&format!("  {}. {option}", n + 1)));
            }
            Asked { id: q.id.clone(), options: q.options.clone() }
        };
        self.session.questions.iter().map(asked).collect()
    }

    /// Goes back.
    pub(super) async fn undo(&mut self, form: UndoForm) -> Result<(), Failure> {
        self.session = session::undo(self.desk.client, self.session.id.as_str(), &form).await?;
        self.follow = Follow::new(self.desk.client, &self.session, self.form);
        out::note(&session::stands(&self.session));
        Ok(())
    }

    /// Goes on in a copy.
    pub(super) async fn fork(&mut self) -> Result<(), Failure> {
        let made = fork::make(self.desk.client, self.session.id.as_str(), &ForkForm::default()).await?;
        let fork = made.into_iter().next().ok_or_else(|| internal("the daemon made no fork"))?;
        out::note(&format!("{} stays as it is; going on in {}", self.session.id, fork.id));
        self.session = fork;
        self.follow = Follow::new(self.desk.client, &self.session, self.form);
        Ok(())
    }

    /// Shows what a turn changed.
    pub(super) async fn diff(&self, turn: Option<u64>, path: Option<&str>) -> Result<(), Failure> {
        let id = self.session.id.as_str();
        let turn = match turn {
            Some(turn) => turn,
            None => self.view().await?.head,
        };
        session::show_diff(false, self.desk.client, id, turn, path).await
    }

    /// Makes an env of the session's files.
    pub(super) async fn save_env(&mut self, name: String) -> Result<(), Failure> {
        let form = EnvForm { name, session_id: Some(self.session.id.to_string()), ..EnvForm::default() };
        let made = env::make(self.desk.context, self.desk.client, "/v1/envs", &form).await?;
        out::note(&format!("the session goes on in the env {0}; others join it with: lazaret env join {0}", made.slug));
        self.session = self.view().await?;
        Ok(())
    }

    pub(super) async fn view(&self) -> Result<SessionView, Failure> {
        self.desk.client.json(Method::GET, &session::path(self.session.id.as_str())?, None).await
    }

    /// Ends the conversation; the session stays, unless nothing was said in it.
    pub(super) async fn close(mut self) {
        self.follow.detach();
        let Ok(path) = session::path(self.session.id.as_str()) else { return };
        // A daemon that is gone holds nothing.
        let is_up = self.desk.client.is_up().await;
        if is_up && self.is_new && self.asked == 0 {
            let _: Result<Value, Failure> = self.desk.client.json(Method::DELETE, &path, None).await;
            return;
        }
        // Nobody here needs its sandbox any more; it wakes again with its files. One at work is given back when it is done.
        if is_up && !self.is_at_work {
            let _: Result<Value, Failure> = self.desk.client.json(Method::POST, &format!("{path}/release"), None).await;
        }
        if self.form != Form::Json {
            out::note(&format!("to go on: lazaret chat --session {}", self.session.id));
        }
    }
}

/// Opens the stream of events, with the next daemon when one has just died.
async fn again_attach(follow: &mut Follow<'_>) -> Result<(), Failure> {
    let mut last = follow.attach().await;
    if last.as_ref().is_err_and(|failure| failure.code == Code::DaemonMissing) {
        tokio::time::sleep(crate::commands::follow::RECONNECT_STEP).await;
        last = follow.attach().await;
    }
    last
}

/// An answer as the question wants it: the number of an option stands for the option.
fn chosen(asked: &Asked, text: &str) -> String {
    let text = text.trim();
    let option = text.parse::<usize>().ok().and_then(|n| asked.options.get(n.checked_sub(1)?));
    option.cloned().unwrap_or_else(|| text.to_owned())
}

/// The flags of a new conversation that were given.
pub(super) fn given(flags: &args::Begin) -> Vec<&'static str> {
    let args::Begin { engine, model, agent, subdir, exclusive, title, labels, budget_usd, places, limits, secrets } = flags;
    let args::Limits { memory, cpus, pids, disk, timeout } = limits;
    let all = [
        ("--engine", engine.is_some()),
        ("--model", model.is_some()),
        ("--agent", agent.is_some()),
        ("--subdir", subdir.is_some()),
        ("--exclusive", *exclusive),
        ("--title", title.is_some()),
        ("--label", !labels.is_empty()),
        ("--budget-usd", budget_usd.is_some()),
        ("--env", !places.env.is_empty()),
        ("--workspace", places.workspace.is_some()),
        ("--mount", !places.mounts.is_empty()),
        ("--allow", !places.allow.is_empty()),
        ("--secret", !secrets.is_empty()),
        ("--image", places.image != args::Places::IMAGE_DEFAULT),
        ("limits", memory.is_some() || cpus.is_some() || pids.is_some() || disk.is_some() || timeout.is_some()),
    ];
    all.into_iter().filter_map(|(flag, is_given)| is_given.then_some(flag)).collect()
}

/// A session that is there keeps what it was made with.
fn refuse_what_is_settled(flags: &args::Begin) -> Result<(), Failure> {
    match given(flags).first() {
        Some(flag) => Err(places::usage(flag, "a session that is there keeps what it was made with").hint(format!("leave out {flag}"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_stands_for_an_option() {
        let id = model::QuestionId::from_bits(1);
        let asked = Asked { id: id.clone(), options: vec!["red".to_owned(), "blue".to_owned()] };
        for (text, expect) in [("1", "red"), (" 2 ", "blue"), ("blue", "blue"), ("3", "3"), ("0", "0")] {
            assert_eq!(chosen(&asked, text), expect, "{text}");
        }
        assert_eq!(chosen(&Asked { id, options: Vec::new() }, "1"), "1");
    }
}
