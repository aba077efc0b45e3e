//! How a session begins, or is made ready again.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::Path;

use app::{MountNote, SessionForm, SessionView};
use bytes::Bytes;
use http::Method;
use model::{Code, Failure, Money};
use serde_json::json;

use super::follow::RECONNECT_STEP;
use super::{Context, own_engine, sandbox};
use crate::args;
use crate::client::{Client, Ticket, collect, full, internal};
use crate::config::Config;
use crate::home::Home;
use crate::{out, places};

/// Where a program that the user brought is seen inside.
const OWN_ENGINE_DIR: &str = "/opt/lazaret/engines/own";
/// How often is tried what a dying daemon may have left undone.
const ATTEMPTS_MAX: usize = 4;

/// What sessions are begun with.
pub(super) struct Desk<'a> {
    pub(super) context: &'a Context,
    pub(super) home: &'a Home,
    pub(super) config: &'a Config,
    pub(super) client: &'a Client,
}

impl Desk<'_> {
    /// What flags ask for, as a form and the descriptors beside it.
    pub(super) fn form(&self, flags: &args::Begin) -> Result<(SessionForm, Vec<OwnedFd>), Failure> {
        let (env, variables) = places::split_env(&flags.places.env)?;
        let asked = args::Places { env: variables, ..flags.places.clone() };
        let mut places = places::places(&asked, self.config, &self.context.env)?;
        let (engine, program) = self.engine(flags.engine.as_deref(), &mut places)?;
        let (notes, fds) = sandbox::split(places.mounts)?;
        let budget = flags.budget_usd.as_deref().map(str::parse::<Money>).transpose();
        let form = SessionForm {
            agent: flags.agent.clone(),
            engine,
            program,
            model: flags.model.clone(),
            env,
            subdir: flags.subdir.clone(),
            exclusive: flags.exclusive,
            title: flags.title.clone(),
            labels: labels(&flags.labels)?,
            limits: places::limits_if_any(&flags.limits, self.config)?,
            image: Some(sandbox::image_ref(places.image)),
            variables: places.env,
            workdir: flags.places.workspace.as_ref().map(|_| "/workspace".to_owned()),
            egress: places.allow,
            secrets: flags.secrets.clone(),
            budget: budget.map_err(|e| Failure::new(Code::Usage, e.to_string()).field("--budget-usd"))?,
            opened: notes,
            ..SessionForm::default()
        };
        Ok((form, fds))
    }

    /// Makes a session.
    pub(super) async fn make(&self, form: &SessionForm, fds: &[OwnedFd]) -> Result<(SessionView, Option<Ticket>), Failure> {
        // Whether or not a daemon that died over it made the session, nobody has asked anything of that one.
        let made = again(async || {
            let ticket = if fds.is_empty() { None } else { Some(self.client.hand_over(fds).await?) };
            let mut body = serde_json::to_value(form).map_err(|e| internal(&e.to_string()))?;
            body["ticket"] = json!(ticket.as_ref().map(|t| &t.name));
            Ok((self.client.json(Method::POST, "/v1/sessions", Some(&body)).await?, ticket))
        });
        made.await
    }

    /// Says that a script answers, where one does.
    pub(super) fn warn_of_rehearsal(&self, session: &SessionView) {
        if session.is_fallback && !self.context.json {
            out::note("no provider key is stored: this is a rehearsal, answered by a script and not by a model");
            out::note("to use a model: lazaret secret set anthropic -");
        }
    }

    /// Makes a session ready for further turns, with its host directories opened by this caller again.
    pub(super) async fn resume(&self, id: &str, flag: &str) -> Result<(SessionView, Option<Ticket>), Failure> {
        let path = format!("/v1/sessions/{}", sandbox::plain(id)?);
        let session: SessionView = self.client.json(Method::GET, &path, None).await?;
        let mut fds = Vec::new();
        for MountNote { host, target, read_only } in &session.mounts {
            fds.push(places::open(host, target, *read_only, &self.context.env, flag)?.fd);
        }
        let ticket = if fds.is_empty() { None } else { Some(self.client.hand_over(&fds).await?) };
        let body = json!({ "mounts": session.mounts, "ticket": ticket.as_ref().map(|t| &t.name) });
        let session = self.client.json(Method::POST, &format!("{path}/resume"), Some(&body)).await?;
        Ok((session, ticket))
    }

    /// The engine that is asked for. One by path is shown to the sandbox with its directory.
    fn engine(&self, engine: Option<&str>, places: &mut places::Places) -> Result<(Option<String>, Option<String>), Failure> {
        let Some(engine) = engine else { return Ok((None, None)) };
        let Some(own) = own_engine::brought(engine, OWN_ENGINE_DIR)? else { return Ok((Some(engine.to_owned()), None)) };
        if let Some(root) = &own.root {
            places.mounts.push(places::open(root, Path::new(OWN_ENGINE_DIR), true, &self.context.env, "--engine")?);
        }
        Ok((Some(own.name), Some(own.program)))
    }
}

/// Does it again when the daemon died over it, with the next one.
pub(super) async fn again<T>(attempt: impl AsyncFn() -> Result<T, Failure>) -> Result<T, Failure> {
    for _ in 1..ATTEMPTS_MAX {
        match attempt().await {
            Err(failure) if failure.code == Code::DaemonMissing => tokio::time::sleep(RECONNECT_STEP).await,
            done => return done,
        }
    }
    attempt().await
}

/// Says something that is accepted once, however often it has to be said: the key makes a repetition harmless.
pub(super) async fn accepted_once(client: &Client, path: &str, key: &str, body: Vec<u8>) -> Result<Bytes, Failure> {
    // Not by a closure: who waits for this may be moved to another thread.
    for _ in 1..ATTEMPTS_MAX {
        match said(client, path, key, body.clone()).await {
            Err(failure) if failure.code == Code::DaemonMissing => tokio::time::sleep(RECONNECT_STEP).await,
            done => return done,
        }
    }
    said(client, path, key, body).await
}

/// Says it with its key.
async fn said(client: &Client, path: &str, key: &str, body: Vec<u8>) -> Result<Bytes, Failure> {
    let request = http::Request::builder()
        .method(Method::POST)
        .uri(path)
        .header("host", "lazaret")
        .header("content-type", "application/json")
        .header("idempotency-key", key)
        .body(full(body))
        .map_err(|e| internal(&e.to_string()))?;
    collect(client.connection().await?.send_request(request).await?).await
}

/// `KEY=VALUE`, each key once.
fn labels(texts: &[String]) -> Result<BTreeMap<String, String>, Failure> {
    let mut labels = BTreeMap::new();
    for text in texts {
        let pair = text.split_once('=').filter(|(key, _)| !key.is_empty());
        let (key, value) =
            pair.ok_or_else(|| Failure::new(Code::Usage, format!("--label: `{}` is not KEY=VALUE", text.escape_debug())).field("--label"))?;
        labels.insert(key.to_owned(), value.to_owned());
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_pairs() {
        let texts = |texts: &[&str]| texts.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
        let made = labels(&texts(&["a=1", "b=x=y", "c="])).expect("pairs");
        assert_eq!(made.into_iter().map(|(k, v)| format!("{k}:{v}")).collect::<Vec<_>>(), ["a:1", "b:x=y", "c:"]);
        assert!(labels(&texts(&["a"])).is_err() && labels(&texts(&["=1"])).is_err());
    }
}
