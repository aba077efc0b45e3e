//! Sessions: making, finding, changing, ending.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};

use model::{Code, EgressRule, Failure, Limits, Money, SessionId, TreeId};
use sandbox::{HostMount, TarStream};
use store::{NewSession, SessionFilter, SessionRow};
use tokio::io::{AsyncRead, ReadBuf};

use crate::turn::HOME;
use crate::{
    AgentForm, App, Caller, DEFAULT_AGENT, ImageRef, Parent, ProgramSource, QuestionView, SessionForm, SessionPatch, SessionQuery,
    SessionSpec, SessionState, SessionView, Tape,
};

/// The sessions of an [`App`], as one caller sees them.
pub struct SessionsOf<'a> {
    pub(crate) app: &'a App,
    pub(crate) caller: Caller,
}

/// Refuses limits with which no sandbox can be made.
pub(crate) fn check_limits(limits: &Limits) -> Result<(), Failure> {
    if limits.is_enough() {
        return Ok(());
    }
    let why = "a limit is too small: memory from 8m, disk from 1m, cpus and pids above 0";
    Err(Failure::new(Code::Usage, why).field("limits"))
}

/// Where the work of `run` begins.
const WORKSPACE: &str = "/workspace";
/// Entries in a page when nothing else is asked for.
const PAGE: usize = 50;
/// The highest priority.
const PRIORITY_MAX: u8 = 9;

impl SessionsOf<'_> {
    /// Makes a session.
    ///
    /// # Errors
    /// The agent, engine, model, env or key is missing, or the form is wrong; nothing is made then.
    pub async fn create(&self, form: SessionForm, mounts: Vec<HostMount>) -> Result<SessionView, Failure> {
        let (spec, parts, is_fallback) = self.spec_of(form).await?;
        let id = self.make_as(spec, parts, mounts).await?;
        self.view(&id, is_fallback).await
    }

    /// The session that each try of a job makes, and the name of its agent.
    pub(crate) async fn job_spec(&self, form: SessionForm) -> Result<(SessionSpec, String), Failure> {
        let (spec, parts, _) = self.spec_of(form).await?;
        Ok((spec, parts.agent))
    }

    /// The session of a branch agent, on a tree that the caller made; nothing is stored yet. Says besides whether the
    /// rehearsal answers because there is no key.
    pub(crate) async fn branch_session(&self, form: SessionForm, id: &SessionId, tree: TreeId) -> Result<(NewSession, bool), Failure> {
        let (spec, parts, is_fallback) = self.spec_of(form).await?;
        let row = NewSession {
            agent: parts.agent,
            tenant: self.caller.makes_for().to_owned(),
            tree: Some(tree),
            title: parts.title,
            labels: parts.labels,
            priority: parts.priority,
            ..new_row(id, &spec)?
        };
        Ok((row, is_fallback))
    }

    /// What a form means.
    async fn spec_of(&self, form: SessionForm) -> Result<(SessionSpec, Parts, bool), Failure> {
        let settings = self.app.settings();
        let agent = self.app.agents().show(form.agent.as_deref().unwrap_or(DEFAULT_AGENT)).await?;
        let engine = form.engine.as_deref().or(agent.engine.as_deref());
        // An agent's model is one of its engine's.
        let model = form.model.as_deref().or_else(|| agent.model.as_deref().filter(|_| form.engine.is_none()));
        let name = crate::choose::engine_name(engine, settings.engine.as_deref());
        let engine_text = match form.job.as_ref().and_then(|job| job.engine_text.clone()) {
            Some(text) => Some(text),
            None => self.app.described_engine(&self.caller, name).await?,
        };
        let found = crate::spec::found_engine(name, engine_text.as_deref())?;
        let providers = self.app.providers();
        let chosen = match crate::choose::choose_for((name, &found), engine, model, &providers) {
            // Nobody is asked: a tape answers.
            Err(failure) if failure.code == Code::KeyMissing && form.tape == Tape::Replay => {
                let all = providers.into_iter().map(|(name, it)| (name, crate::choose::Provider { is_usable: true, ..it })).collect();
                crate::choose::choose_for((name, &found), engine, model, &all)?
            }
            chosen => chosen?,
        };
        // Those of the agent stand in for its own engine's provider.
        let usual = if form.engine.is_none() { agent.fallback.as_slice() } else { &[] };
        let fallback = crate::choose::fallback_for(form.fallback.as_deref().unwrap_or(usual), &chosen, &self.app.providers())?;
        let program = match (&form.program, &found) {
            (Some(path), _) => ProgramSource::At { path: path.clone() },
            (None, engines::Found::Custom(custom)) if custom.is_installed() => self.app.installs().source_of(found.installed())?,
            (None, engines::Found::Custom(custom)) if engine_text.is_some() => ProgramSource::At { path: custom.program_path().path },
            (None, _) => self.app.installs().source_of(&chosen.engine)?,
        };
        if let Some(slug) = &form.env {
            // Seen by this caller, or it does not exist.
            self.app.envs_of(&self.caller).show(slug).await?;
        }
        if form.priority.is_some_and(|p| p > PRIORITY_MAX) {
            return Err(Failure::new(Code::Usage, format!("the priority is from 0 to {PRIORITY_MAX}")).field("priority"));
        }
        self.app.open_mounts(&form.mounts)?;
        let mut egress = agent.egress.clone();
        egress.extend(form.egress);
        if form.ask {
            // Whatever its agent has: it looks, and reaches nothing.
            egress.clear();
        }
        check_egress(&egress, &settings.egress_max)?;
        let secrets = if form.ask { Vec::new() } else { self.secrets(&agent, form.secrets)? };
        let spec = SessionSpec {
            engine: chosen.engine,
            program,
            model: chosen.model,
            provider: chosen.provider,
            fallback,
            limits: self.limits(form.limits.or(agent.limits), &settings.limits)?,
            image: form.image.unwrap_or(ImageRef::Host { usr_local: false }),
            env: form.variables,
            egress,
            secrets,
            budget: self.budget(form.budget, settings.budget)?,
            tape: form.tape,
            foreground: form.foreground,
            workdir: workdir(form.workdir.as_deref(), form.subdir.as_deref())?,
            exclusive: form.exclusive,
            named_mounts: form.mounts,
            engine_text,
            job: form.job,
            branch: form.branch,
            ask: form.ask,
            aside: None,
            mounts: form.opened,
        };
        let parts = Parts {
            agent: agent.name,
            env: form.env,
            title: form.title.unwrap_or_default(),
            labels: form.labels,
            priority: form.priority.unwrap_or(store::PRIORITY_DEFAULT),
        };
        Ok((spec, parts, chosen.is_fallback))
    }

    /// The bound secrets of the agent, where it is lent to the tenant, and of the session. Those of the owner are the owner's to give.
    fn secrets(&self, agent: &AgentForm, asked: Vec<String>) -> Result<Vec<String>, Failure> {
        if !asked.is_empty() && self.caller.tenant.is_some() {
            return Err(Failure::new(Code::Forbidden, "only the owner gives bound secrets to a session")
                .hint("let the owner give them to the agent")
                .field("secrets"));
        }
        let of_agent: &[String] = if agent.is_lent(self.caller.makes_for()) { &agent.secrets } else { &[] };
        let mut names: Vec<String> = of_agent.iter().cloned().chain(asked).collect();
        names.sort();
        names.dedup();
        self.app.check_bound(&names)?;
        Ok(names)
    }

    /// The budget that was asked for, by the same rule.
    fn budget(&self, asked: Option<Money>, configured: Option<Money>) -> Result<Option<Money>, Failure> {
        match (asked, configured) {
            (Some(asked), Some(most)) if asked > most && self.caller.tenant.is_some() => {
                Err(Failure::new(Code::Forbidden, "the budget is above the configured one").field("budget"))
            }
            (asked, configured) => Ok(asked.or(configured)),
        }
    }

    /// The limits that were asked for. A tenant may ask for less than the configured ones, not for more.
    fn limits(&self, asked: Option<Limits>, configured: &Limits) -> Result<Limits, Failure> {
        let Some(asked) = asked else { return Ok(*configured) };
        check_limits(&asked)?;
        let over = [
            ("memory", asked.memory_bytes > configured.memory_bytes),
            ("cpus", asked.cpu_millis > configured.cpu_millis),
            ("pids", asked.pids > configured.pids),
            ("disk", asked.disk_bytes > configured.disk_bytes),
            ("timeout", asked.time > configured.time),
        ];
        match over.iter().find(|(_, is_over)| *is_over && self.caller.tenant.is_some()) {
            Some((name, _)) => Err(Failure::new(Code::Forbidden, format!("the limit {name} is above the configured one"))
                .hint("ask for less, or let the owner raise [limits] in the configuration")
                .field("limits")),
            None => Ok(asked),
        }
    }

    /// What a session is.
    ///
    /// # Errors
    /// There is none of this identity.
    pub async fn show(&self, id: &str) -> Result<SessionView, Failure> {
        let row = self.row(id).await?;
        self.view_of(row, false).await
    }

    /// A page of sessions, the youngest first.
    ///
    /// # Errors
    /// The cursor or a filter is malformed.
    pub async fn list(&self, query: SessionQuery) -> Result<store::Page<SessionView>, Failure> {
        let usage = |field: &str, why: &str| Failure::new(Code::Usage, why).field(field);
        let label = query.label.as_deref().map(|l| l.split_once('=').ok_or_else(|| usage("label", "a label is asked for as KEY=VALUE")));
        let filter = SessionFilter {
            tenant: self.caller.tenant.clone(),
            env: query.env,
            agent: query.agent,
            label: label.transpose()?.map(|(k, v)| (k.to_owned(), v.to_owned())),
            archived: Some(query.archived),
            forked: None,
        };
        let after = query.after.as_deref().map(|a| a.parse().map_err(|_| usage("after", "this is no cursor of an earlier page")));
        let limit = query.limit.unwrap_or(PAGE).clamp(1, store::LIST_MAX);
        let page = self.app.store().list_sessions(&filter, after.transpose()?, limit).await.map_err(|e| e.failure())?;
        let mut items = Vec::with_capacity(page.items.len());
        for row in page.items {
            items.push(self.view_of(row, false).await?);
        }
        Ok(store::Page { items, next: page.next })
    }

    /// Changes title or labels, or archives: an archived session keeps its files and loses its sandbox.
    ///
    /// # Errors
    /// There is none of this identity, or a turn is not over.
    pub async fn update(&self, id: &str, patch: SessionPatch) -> Result<SessionView, Failure> {
        let id = self.row(id).await?.id;
        let row = self.app.store().update_session(&id, patch.title, patch.labels, patch.archived, crate::now());
        let row = row.await.map_err(|e| e.failure())?;
        model::crash::point("session:updated");
        if patch.archived == Some(true) {
            self.app.let_go(&id).await;
        }
        self.view_of(row, false).await
    }

    /// Says that nobody needs the sandbox any more: it is removed as soon as nothing runs in it.
    ///
    /// # Errors
    /// There is none of this identity.
    pub async fn release(&self, id: &str) -> Result<(), Failure> {
        let id = self.row(id).await?.id;
        self.app.let_go(&id).await;
        Ok(())
    }

    /// Cancels and forgets a session: its log, its files, its sandbox. The files of an env stay.
    ///
    /// # Errors
    /// There is none of this identity, or something of it could not be removed.
    pub async fn remove(&self, id: &str) -> Result<(), Failure> {
        let row = self.row(id).await?;
        self.cancel(id).await?;
        self.app.let_go(&row.id).await;
        let mut trees: Vec<TreeId> =
            self.app.store().checkpoints(&row.id).await.map_err(|e| e.failure())?.into_iter().map(|c| c.tree).collect();
        trees.extend(row.tree);
        self.app.store().delete_session(&row.id).await.map_err(|e| e.failure())?;
        model::crash::point("session:deleted");
        self.app.end_followers(&row.id);
        self.app.sandboxes().remove_trees(&trees).await.map_err(|e| e.failure())?;
        remove_dir(&self.app.session_dir(&row.id))
    }

    /// A file or tree of the session as a tar stream.
    ///
    /// # Errors
    /// There is no such session or path.
    pub async fn get(&self, id: &str, path: &str) -> Result<FilesOut, Failure> {
        let live = self.app.hold(&self.row(id).await?.id).await?;
        let sandbox = self.app.sandbox_of(&live).await?;
        let tar = sandbox.get(path).await.map_err(|e| e.failure())?;
        Ok(FilesOut { tar, _carry: live.carry() })
    }

    /// Unpacks a tar stream in the session's files.
    ///
    /// # Errors
    /// There is no such session, or the guest could not unpack.
    pub async fn put(&self, id: &str, path: &str, tar: impl AsyncRead + Send + Unpin) -> Result<(), Failure> {
        let live = self.app.hold(&self.row(id).await?.id).await?;
        let sandbox = self.app.sandbox_of(&live).await?;
        let _carry = live.carry();
        drop(live);
        sandbox.put(path, tar).await.map(drop).map_err(|e| e.failure())
    }

    /// The session's tape.
    ///
    /// # Errors
    /// Nothing was recorded.
    pub async fn tape_out(&self, id: &str) -> Result<tokio::fs::File, Failure> {
        let row = self.row(id).await?;
        let path = self.app.tape_path(&row.id, row.turns);
        tokio::fs::File::open(path).await.map_err(|_| {
            Failure::new(Code::NotFound, "nothing was recorded in this session").hint("record with `lazaret run --record TAPE`")
        })
    }

    /// Gives the session a tape to answer from, before its first turn.
    ///
    /// # Errors
    /// The session does not replay, has run already, or the tape is too large.
    pub async fn tape_in(&self, id: &str, tape: impl AsyncRead + Send + Unpin) -> Result<(), Failure> {
        let row = self.row(id).await?;
        if read_spec(&row)?.tape != Tape::Replay || row.turns > 0 {
            return Err(Failure::new(Code::Conflict, "this session does not wait for a tape"));
        }
        crate::replay::save(&self.app.tape_path(&row.id, 1), tape).await
    }

    /// Makes a private session of this specification.
    pub(crate) async fn make(&self, spec: SessionSpec, mounts: Vec<HostMount>) -> Result<SessionId, Failure> {
        self.make_as(spec, Parts::default(), mounts).await
    }

    /// Makes a session: its directory, its row, its runner.
    async fn make_as(&self, spec: SessionSpec, parts: Parts, mounts: Vec<HostMount>) -> Result<SessionId, Failure> {
        let id = SessionId::from_bits(crate::clock::fresh_bits());
        let row = NewSession {
            agent: parts.agent,
            tenant: self.caller.makes_for().to_owned(),
            tree: parts.env.is_none().then(|| TreeId::from_bits(crate::clock::fresh_bits())),
            env: parts.env,
            title: parts.title,
            labels: parts.labels,
            priority: parts.priority,
            ..self.app.row_of(&id, &spec)?
        };
        let dir = self.app.session_dir(&id);
        if let Err(error) = self.app.store().create_session(row).await {
            let _ = std::fs::remove_dir_all(&dir);
            return Err(error.failure());
        }
        model::crash::point("session:created");
        self.app.bring(&id, Some(mounts), None).await?;
        Ok(id)
    }

    /// The row of a session that this caller sees.
    pub(crate) async fn row(&self, id: &str) -> Result<SessionRow, Failure> {
        let id: SessionId = id.parse().map_err(|e: model::IdError| Failure::new(Code::NotFound, e.to_string()).field("session"))?;
        let row = self.app.store().session(&id).await.map_err(|e| e.failure())?;
        if self.caller.sees(&row.tenant) {
            return Ok(row);
        }
        Err(store::StoreError::NotFound { what: "session", id: id.to_string() }.failure())
    }

    pub(crate) async fn view(&self, id: &SessionId, is_fallback: bool) -> Result<SessionView, Failure> {
        let row = self.app.store().session(id).await.map_err(|e| e.failure())?;
        self.view_of(row, is_fallback).await
    }

    async fn view_of(&self, row: SessionRow, is_fallback: bool) -> Result<SessionView, Failure> {
        let spec = read_spec(&row)?;
        let open = self.app.store().open_turns(&row.id).await.map_err(|e| e.failure())?;
        let state = match open.first().map(|turn| turn.state) {
            None if row.archived.is_some() => SessionState::Archived,
            None => SessionState::Idle,
            Some(model::TurnState::Waiting) => SessionState::Waiting,
            Some(model::TurnState::Queued) => SessionState::Queued,
            Some(_) => SessionState::Running,
        };
        let questions = match state {
            SessionState::Waiting => self.app.store().open_questions(&row.id).await.map_err(|e| e.failure())?,
            _ => Vec::new(),
        };
        let question = |q: store::QuestionRow| QuestionView { id: q.id, text: q.text, options: q.options, asked: q.asked };
        Ok(SessionView {
            terminal: self.app.terminal_view(&row.id),
            id: row.id,
            title: row.title,
            agent: row.agent,
            engine: row.engine,
            model: row.model,
            provider: row.provider,
            is_fallback,
            env: row.env,
            labels: row.labels,
            state,
            mounts: spec.mounts,
            workdir: spec.workdir,
            turns: row.turns,
            head: row.head,
            last_seq: row.last_seq,
            parent: row.parent.map(|(session, turn)| Parent { session, turn }),
            questions: questions.into_iter().map(question).collect(),
            created: row.created,
            updated: row.updated,
        })
    }
}

/// Files of a session as a tar stream; the sandbox that they come from stays as long as this lives.
pub struct FilesOut {
    tar: TarStream,
    _carry: crate::live::Carry,
}

impl AsyncRead for FilesOut {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.tar).poll_read(cx, into)
    }
}

/// What a session has besides its specification.
struct Parts {
    agent: String,
    env: Option<String>,
    title: String,
    labels: BTreeMap<String, String>,
    priority: u8,
}

impl Default for Parts {
    fn default() -> Self {
        Self {
            agent: DEFAULT_AGENT.to_owned(),
            env: None,
            title: String::new(),
            labels: BTreeMap::new(),
            priority: store::PRIORITY_DEFAULT,
        }
    }
}

/// The row of a session of this specification, otherwise at its defaults.
pub(crate) fn new_row(id: &SessionId, spec: &SessionSpec) -> Result<NewSession, Failure> {
    let value = serde_json::to_value(spec).map_err(|e| Failure::new(Code::Internal, e.to_string()))?;
    let model = spec.model.clone().unwrap_or_default();
    Ok(NewSession::new(id.clone(), spec.engine.clone(), model, spec.provider.clone(), value, crate::now()))
}

impl App {
    pub(crate) fn session_dir(&self, id: &SessionId) -> PathBuf {
        self.home().join("turns").join(id.as_str())
    }

    /// The tape of a session's turn of this place.
    pub(crate) fn tape_path(&self, id: &SessionId, turn: u64) -> PathBuf {
        self.session_dir(id).join(format!("tape-{turn}.jsonl"))
    }
}

/// Where turns begin: one of two directories, or one of the session's own below the home.
pub(crate) fn workdir(workdir: Option<&str>, subdir: Option<&str>) -> Result<String, Failure> {
    let wrong = |field: &str, why: &str| Failure::new(Code::Usage, why).field(field);
    match (workdir, subdir) {
        (None, None) => Ok(HOME.to_owned()),
        (Some(dir), None) if dir == HOME || dir == WORKSPACE => Ok(dir.to_owned()),
        (Some(_), None) => Err(wrong("workdir", "turns begin in /workspace or /home/sandbox; for another directory use subdir")),
        (Some(_), Some(_)) => Err(wrong("subdir", "a directory of its own lies below /home/sandbox: leave out workdir")),
        (None, Some(dir)) => {
            let plain = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains(['\0', '\n']);
            if dir.len() > SUBDIR_BYTES_MAX || !dir.split('/').all(plain) {
                return Err(wrong("subdir", "a directory of its own is a plain relative path, without `.` and `..`"));
            }
            Ok(format!("{HOME}/{dir}"))
        }
    }
}

/// The longest directory of its own.
const SUBDIR_BYTES_MAX: usize = 512;

/// Refuses what the configuration does not grant.
pub(crate) fn check_egress(rules: &[EgressRule], max: &[EgressRule]) -> Result<(), Failure> {
    for rule in rules {
        if !max.iter().any(|granted| granted.covers(rule)) {
            return Err(Failure::new(Code::EgressDenied, format!("{rule} is not within egress.max"))
                .hint(format!("add \"{rule}\" to egress.max in the configuration"))
                .field("egress"));
        }
    }
    Ok(())
}

pub(crate) fn read_spec(row: &SessionRow) -> Result<SessionSpec, Failure> {
    serde_json::from_value(row.spec.clone())
        .map_err(|e| Failure::new(Code::StoreUnusable, format!("session {} cannot be read: {e}", row.id)))
}

pub(crate) fn make_dir(dir: &std::path::Path) -> Result<(), Failure> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|e| {
        Failure::new(Code::HomeUnsafe, format!("the session's directory cannot be made: {e}")).hint("free some space in the home")
    })
}

fn remove_dir(dir: &std::path::Path) -> Result<(), Failure> {
    match std::fs::remove_dir_all(dir) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(Failure::new(Code::Internal, format!("the session's directory cannot be removed: {e}")))
        }
        _ => Ok(()),
    }
}
