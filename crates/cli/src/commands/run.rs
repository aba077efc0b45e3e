//! `lazaret run`: one task, from the prompt to the result.

use app::{MessageForm, SessionView, Tape};
use http::Method;
use model::{Code, Failure, Outcome, ResultEvent};
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};

use super::begin::{Desk, again};
use super::follow::{Follow, ask};
use super::repo::put_clones;
use super::screen::Form;
use super::{Context, sandbox, text};
use crate::args;
use crate::client::{Client, Ticket, collect, full, internal};
use crate::config::Config;
use crate::exit::Done;
use crate::home::{Home, random_hex};
use crate::places;

pub(super) async fn run(context: &Context, flags: args::Run) -> Done {
    if flags.is_interactive() {
        return super::interactive::run(context, flags).await;
    }
    let prompt = text::prompt(flags.prompt.as_deref().unwrap_or_default())?;
    let home = Home::open(&context.env.home)?;
    let config = Config::load(home.path())?;
    let client = Client::new(&home, context.may_start);
    let mut interrupted = signal(SignalKind::interrupt()).map_err(|e| internal(&e.to_string()))?;
    let mut ended = signal(SignalKind::terminate()).map_err(|e| internal(&e.to_string()))?;
    let desk = Desk { context, home: &home, config: &config, client: &client };
    let work = Work { desk, flags: &flags };
    // Until the turn is accepted, an interrupt has nothing to cancel: dropping the work ends it.
    let (session, _ticket) = tokio::select! {
        made = work.session() => made?,
        _ = interrupted.recv() => return Ok(130),
        _ = ended.recv() => return Ok(130),
    };
    let path = format!("/v1/sessions/{}", session.id);
    // It stays attached to the end: a session without anybody gives its sandbox up.
    let mut attached = Follow::new(&client, &session, Form::of(context.json));
    let done = {
        let follow = work.turn(&mut attached, &path, &prompt);
        tokio::pin!(follow);
        let mut asked = false;
        loop {
            tokio::select! {
                done = &mut follow => break done,
                _ = interrupted.recv(), if !asked => asked = true,
                _ = ended.recv(), if !asked => asked = true,
            }
            if asked {
                let end = async {
                    let _ = client.json::<Value>(Method::POST, &format!("{path}/cancel"), None).await;
                    (&mut follow).await
                };
                break tokio::time::timeout(CANCEL_WAIT, end).await.unwrap_or_else(|_| Err(Failure::new(Code::Cancelled, "cancelled")));
            }
        }
    };
    let after = work.afterwards(&path, done.is_ok()).await;
    let result = done?;
    after?;
    Ok(exit_status(&result))
}

/// How long a cancelled turn may take to say so.
const CANCEL_WAIT: std::time::Duration = std::time::Duration::from_millis(1800);
/// How long giving back a session may take when its turn came to no end.
const END_WAIT: std::time::Duration = std::time::Duration::from_secs(5);

pub(super) struct Work<'a> {
    pub(super) desk: Desk<'a>,
    pub(super) flags: &'a args::Run,
}

impl Work<'_> {
    /// Makes the session, or makes it ready again, with everything that it needs before its turn.
    pub(super) async fn session(&self) -> Result<(SessionView, Option<Ticket>), Failure> {
        if let Some(id) = &self.flags.resume {
            if self.flags.begin.agent.is_some() || places::split_env(&self.flags.begin.places.env)?.0.is_some() {
                return Err(Failure::new(Code::Usage, "a session keeps its agent and env").hint("leave out --agent and --env"));
            }
            return self.desk.resume(id, "--resume").await;
        }
        let (mut form, fds) = self.desk.form(&self.flags.begin)?;
        // The files of an env are those of its home.
        let is_in_workspace = form.env.is_none() || !self.flags.repo.is_empty() || self.flags.begin.places.workspace.is_some();
        form.workdir = is_in_workspace.then(|| "/workspace".to_owned());
        // Who loses a terminal comes back to it.
        form.foreground = !self.flags.is_interactive();
        form.tape = match (&self.flags.record, &self.flags.replay) {
            (Some(_), _) => Tape::Record,
            (_, Some(_)) => Tape::Replay,
            _ => Tape::Off,
        };
        let (session, ticket) = self.desk.make(&form, &fds).await?;
        let path = format!("/v1/sessions/{}", session.id);
        let prepared = self.prepare(&path).await;
        if let Err(failure) = prepared {
            let _ = self.desk.client.json::<Value>(Method::DELETE, &path, None).await;
            return Err(failure);
        }
        self.desk.warn_of_rehearsal(&session);
        Ok((session, ticket))
    }

    /// Files and tape, before the turn.
    async fn prepare(&self, path: &str) -> Result<(), Failure> {
        if let Some(tape) = &self.flags.replay {
            let fail = |e: std::io::Error| Failure::new(Code::TapeInvalid, format!("the tape {} cannot be read: {e}", tape.display()));
            let bytes = std::fs::read(tape).map_err(fail)?;
            let response = self.desk.client.send(Method::PUT, &format!("{path}/tape"), "application/octet-stream", full(bytes)).await?;
            collect(response).await?;
        }
        put_clones(self.desk.context, self.desk.client, self.desk.home, &self.flags.repo, &format!("{path}/files?path=")).await
    }

    /// Asks, and shows what happens until the result.
    async fn turn(&self, follow: &mut Follow<'_>, path: &str, prompt: &str) -> Result<ResultEvent, Failure> {
        // Attached before the turn is accepted: from its first moment somebody waits for it.
        follow.attach().await?;
        let key = random_hex::<16>()?;
        let form = MessageForm { text: prompt.to_owned(), ..MessageForm::default() };
        follow.expect(ask(self.desk.client, path, &form, &key).await?);
        follow.result_with_approvals().await
    }

    /// What is to be taken home, and the end of what is not kept.
    pub(super) async fn afterwards(&self, path: &str, has_result: bool) -> Result<(), Failure> {
        let taken = async {
            if let Some(dir) = &self.flags.out {
                sandbox::download(self.desk.client, &format!("{path}/files?path=/workspace"), dir, 1).await?;
            }
            if let Some(file) = &self.flags.record {
                let response = self.desk.client.send(Method::GET, &format!("{path}/tape"), "application/json", full(Vec::new())).await?;
                let bytes = collect(response).await?;
                std::fs::write(file, bytes)
                    .map_err(|e| Failure::new(Code::PathUnusable, format!("the tape {} cannot be written: {e}", file.display())))?;
            }
            Ok(())
        };
        let taken = if has_result { taken.await } else { Ok(()) };
        let end = again(|| self.end(path));
        let end = if has_result {
            end.await
        } else {
            // What went wrong may be in the way of this as well; a session that nobody waits for is ended by the daemon.
            tokio::time::timeout(END_WAIT, end).await.unwrap_or(Ok(()))
        };
        taken?;
        match end {
            // A daemon that died over it had done it.
            Err(failure) if failure.code == Code::NotFound => Ok(()),
            end => end,
        }
    }

    /// Gives back what the session holds: its sandbox, or all of it when it is not kept.
    async fn end(&self, path: &str) -> Result<(), Failure> {
        let (method, path) = if self.flags.no_keep { (Method::DELETE, path.to_owned()) } else { (Method::POST, format!("{path}/release")) };
        self.desk.client.json::<Value>(method, &path, None).await.map(drop)
    }
}

/// The exit status of a command that waited for this result.
pub(super) fn exit_status(result: &ResultEvent) -> u8 {
    match (result.status, result.code) {
        (Outcome::Completed, _) => 0,
        (_, Some(code)) => code.exit_status(),
        (status, None) => status.exit_status(),
    }
}
