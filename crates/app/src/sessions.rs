//! Sessions: making, asking, watching, ending.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use model::{Code, EgressRule, Failure, Limits, Money, PROMPT_BYTES_MAX, QuestionId, SessionId, Timestamp, TurnEvent, TurnId};
use sandbox::{HostMount, Sandbox, TarStream};
use serde::{Deserialize, Serialize};
use store::{NewSession, NewTurn, SessionRow, StoreError};
use tokio::io::AsyncRead;
use tokio::time::Instant;

use crate::follow::Follow;
use crate::live::{Live, lock};
use crate::{App, Caller, ImageRef, MountForm, MountNote, Parent, ProgramSource, SessionSpec, Tape};

/// The sessions in memory, by identity.
#[derive(Default)]
pub(crate) struct Sessions {
    live: Mutex<HashMap<SessionId, Arc<Live>>>,
}

/// The sessions of an [`App`], as one caller sees them.
pub struct SessionsOf<'a> {
    pub(crate) app: &'a App,
    pub(crate) caller: Caller,
}

/// A session to make.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct SessionForm {
    /// Who it is with; `default` when left out.
    pub agent: Option<String>,
    /// The engine; the agent's, else the configured one when left out.
    pub engine: Option<String>,
    /// Where a program lies inside that the user brought; for engines by path.
    pub program: Option<String>,
    /// The model.
    pub model: Option<String>,
    /// The env that it works in; a private tree when left out.
    pub env: Option<String>,
    /// A directory of its own below /home/sandbox to work in, made when missing.
    pub subdir: Option<String>,
    /// Whether no other session of the env may work while a turn of this one runs.
    pub exclusive: bool,
    /// For people.
    pub title: Option<String>,
    /// The user's own words, for finding it again.
    pub labels: BTreeMap<String, String>,
    /// From 0 to 9; a higher one goes first. 5 when left out.
    pub priority: Option<u8>,
    /// What its sandbox may use; the agent's, else the configured limits when left out.
    pub limits: Option<Limits>,
    /// The root file system; the machine's own /usr when left out.
    pub image: Option<ImageRef>,
    /// Where turns begin: `/workspace`, or `/home/sandbox` when left out.
    pub workdir: Option<String>,
    /// Variables for the engine.
    pub variables: Vec<(String, String)>,
    /// Hosts that may be reached.
    pub egress: Vec<EgressRule>,
    /// The most that it may cost.
    pub budget: Option<Money>,
    /// Recording or replay.
    pub tape: Tape,
    /// Whether work is cancelled when nobody is attached.
    pub foreground: bool,
    /// Host directories by name, below the configured roots.
    pub mounts: Vec<MountForm>,
    /// Host directories whose descriptors come beside the form.
    pub opened: Vec<MountNote>,
}

/// What changes in a session.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SessionPatch {
    /// For people.
    pub title: Option<String>,
    /// The user's own words; they replace those before.
    pub labels: Option<BTreeMap<String, String>>,
    /// An archived session keeps its files and takes no turns.
    pub archived: Option<bool>,
}

/// Which sessions to list.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct SessionQuery {
    /// Those in this env.
    pub env: Option<String>,
    /// Those with this agent.
    pub agent: Option<String>,
    /// Those with this label: `KEY=VALUE`.
    pub label: Option<String>,
    /// Archived ones, or the others when left out.
    pub archived: bool,
    /// The cursor of an earlier page.
    pub after: Option<String>,
    /// Entries in a page; 50 when left out.
    pub limit: Option<usize>,
}

/// Where a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SessionState {
    /// Nothing is asked of it.
    Idle,
    /// A turn waits for a place.
    Queued,
    /// A turn runs.
    Running,
    /// A turn waits for a person.
    Waiting,
    /// It keeps its files and takes no turns.
    Archived,
}

/// A session as it is shown.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SessionView {
    /// Its identity.
    pub id: SessionId,
    /// For people; may be empty.
    pub title: String,
    /// Who it is with.
    pub agent: String,
    /// The engine.
    pub engine: String,
    /// The model; empty for the engine's own choice.
    pub model: String,
    /// The provider.
    pub provider: String,
    /// Whether the rehearsal answers because there is no key.
    pub is_fallback: bool,
    /// The env that it works in.
    pub env: Option<String>,
    /// The user's own words.
    pub labels: BTreeMap<String, String>,
    /// Where it stands.
    pub state: SessionState,
    /// Host directories whose descriptors its owner hands over.
    pub mounts: Vec<MountNote>,
    /// Where turns begin.
    pub workdir: String,
    /// Turns so far.
    pub turns: u64,
    /// The turn whose end is the present state; 0 at the beginning.
    pub head: u64,
    /// The number of its last event.
    pub last_seq: u64,
    /// Where it was forked from.
    pub parent: Option<Parent>,
    /// What a person is asked just now.
    pub questions: Vec<QuestionView>,
    /// When it was made.
    pub created: Timestamp,
    /// When something last happened in it.
    pub updated: Timestamp,
}

/// Something that a person is asked.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
pub struct QuestionView {
    /// What an answer must name.
    pub id: QuestionId,
    /// The question.
    pub text: String,
    /// Answers that are offered; empty for any text.
    pub options: Vec<String>,
    /// When it was asked.
    pub asked: Timestamp,
}

/// A turn to ask.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MessageForm {
    /// What is asked.
    pub text: String,
    /// Files that are put into the working directory first.
    pub files: Vec<MessageFile>,
    /// From 0 to 9; the session's when left out.
    pub priority: Option<u8>,
}

/// A file that comes with a message: `upload/<name>` of the working directory.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MessageFile {
    /// A plain name.
    pub name: String,
    /// Its bytes, in base64.
    pub data: String,
}

/// An answer to a question.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AnswerForm {
    /// Which question; the only open one when left out.
    #[serde(default)]
    pub question: Option<QuestionId>,
    /// The answer.
    pub text: String,
}

/// Sessions in memory at once; each holds a runner and perhaps a sandbox.
const LIVE_MAX: usize = 4096;
/// How often a waiting shutdown looks again.
const DRAIN_STEP: Duration = Duration::from_millis(50);

impl SessionsOf<'_> {
    /// Makes a session.
    ///
    /// # Errors
    /// The engine, model or key is missing, or the form is wrong; nothing is made then.
    pub async fn create(&self, form: SessionForm, mounts: Vec<HostMount>) -> Result<SessionView, Failure> {
        let settings = self.app.settings();
        let chosen = crate::choose(form.engine.as_deref(), form.model.as_deref(), settings.engine.as_deref(), &self.app.providers())?;
        let program = match &form.program {
            Some(path) => ProgramSource::At { path: path.clone() },
            None => self.app.installs().source_of(&chosen.engine)?,
        };
        let spec = SessionSpec {
            engine: chosen.engine,
            program,
            model: chosen.model,
            provider: chosen.provider,
            limits: form.limits.unwrap_or(settings.limits),
            image: form.image.unwrap_or(ImageRef::Host { usr_local: false }),
            env: form.variables,
            egress: form.egress,
            budget: form.budget.or(settings.budget),
            tape: form.tape,
            foreground: form.foreground,
            mounts: form.opened,
        };
        let id = self.make(spec, mounts).await?;
        self.view(&id, chosen.is_fallback).await
    }

    /// What a session is.
    ///
    /// # Errors
    /// There is none of this identity.
    pub async fn show(&self, id: &str) -> Result<SessionView, Failure> {
        self.view(&parse(id)?, false).await
    }

    /// Makes a session ready for a further turn, with its host directories opened by the caller again.
    ///
    /// # Errors
    /// There is none of this identity, or it works just now with other directories.
    pub async fn resume(&self, id: &str, notes: Vec<MountNote>, mounts: Vec<HostMount>) -> Result<SessionView, Failure> {
        let id = parse(id)?;
        let row = self.app.store().session(&id).await.map_err(|e| e.failure())?;
        let spec = read_spec(&row)?;
        if spec.mounts != notes {
            return Err(Failure::new(Code::Conflict, "the session was made with other host directories").field("mounts"));
        }
        let live = self.app.bring(&id, None, None).await?;
        live.give_mounts(mounts);
        self.view(&id, false).await
    }

    /// Accepts a turn: when this returns, it is durable.
    ///
    /// # Errors
    /// The prompt is malformed, there is no such session, or its inbox is full.
    pub async fn message(&self, id: &str, form: MessageForm, key: Option<String>) -> Result<TurnId, Failure> {
        let text = form.text;
        check_prompt(&text)?;
        let id = parse(id)?;
        let live = self.app.bring(&id, None, None).await?;
        let turn = NewTurn {
            id: TurnId::from_bits(crate::clock::fresh_bits()),
            session: id,
            prompt: text,
            spec: serde_json::Value::Null,
            key,
            now: crate::now(),
        };
        let accepted = self.app.store().accept_turn(turn).await.map_err(|e| e.failure())?;
        model::crash::point("turn:accepted");
        live.wake.notify_one();
        Ok(accepted.turn)
    }

    /// A page of sessions, the youngest first.
    ///
    /// # Errors
    /// The cursor or a filter is malformed.
    pub async fn list(&self, _query: SessionQuery) -> Result<store::Page<SessionView>, Failure> {
        let _ = &self.caller;
        Err(crate::unbuilt())
    }

    /// Changes title or labels, or archives: an archived session keeps its files and loses its sandbox.
    ///
    /// # Errors
    /// There is none of this identity, or a turn is not over.
    pub async fn update(&self, _id: &str, _patch: SessionPatch) -> Result<SessionView, Failure> {
        Err(crate::unbuilt())
    }

    /// Answers what a turn asks.
    ///
    /// # Errors
    /// Nothing is asked, it was answered already, or the answer is none of those offered.
    pub async fn answer(&self, _id: &str, _form: AnswerForm) -> Result<(), Failure> {
        Err(crate::unbuilt())
    }

    /// Asks while a turn runs: it is taken up before all that waits. Refused when nothing runs.
    ///
    /// # Errors
    /// Nothing runs (`NOT_FOUND`), the text is malformed, or the inbox is full (`BUSY`).
    pub async fn inject(&self, _id: &str, _text: String) -> Result<TurnId, Failure> {
        Err(crate::unbuilt())
    }

    /// A page of the log.
    ///
    /// # Errors
    /// There is none of this identity.
    pub async fn events(&self, id: &str, after: u64, limit: usize) -> Result<Vec<model::Event>, Failure> {
        self.app.store().events(&parse(id)?, after, limit).await.map_err(|e| e.failure())
    }

    /// The log as it grows. With `attach`, foreground work goes on as long as the answer lives.
    ///
    /// # Errors
    /// There is none of this identity.
    pub async fn follow(&self, id: &str, after: u64, attach: bool) -> Result<Follow, Failure> {
        let id = parse(id)?;
        let live = self.app.bring(&id, None, None).await?;
        let attached = attach.then(|| live.attach());
        Ok(Follow {
            store: self.app.store().clone(),
            session: id,
            after,
            changes: live.seq.subscribe(),
            gone: live.gone.clone(),
            _attached: attached,
        })
    }

    /// Cancels what runs and what waits.
    ///
    /// # Errors
    /// There is none of this identity.
    pub async fn cancel(&self, id: &str) -> Result<(), Failure> {
        let id = parse(id)?;
        self.app.store().session(&id).await.map_err(|e| e.failure())?;
        for turn in self.app.open_turns(&id).await? {
            if turn.state == model::TurnState::Queued {
                let record = crate::turn::ended_unrun(&turn, TurnEvent::Cancel, Code::Cancelled, "cancelled before it ran");
                match self.app.store().record(record).await {
                    Ok(events) => self.app.publish(&id, &events),
                    // It was leased in between, and is cancelled below.
                    Err(StoreError::Conflict(_) | StoreError::StaleFence { .. } | StoreError::Transition { .. }) => {}
                    Err(error) => return Err(error.failure()),
                }
            }
        }
        if let Some(live) = self.app.live(&id) {
            live.cancel_turn();
        }
        Ok(())
    }

    /// Says that nobody needs the sandbox any more: it is removed as soon as nothing runs in it.
    ///
    /// # Errors
    /// There is none of this identity.
    pub async fn release(&self, id: &str) -> Result<(), Failure> {
        let id = parse(id)?;
        if let Some(live) = self.app.live(&id) {
            live.released.notify_one();
            self.app.wait_gone(&id).await;
        }
        Ok(())
    }

    /// Cancels and forgets a session: its log, its files, its sandbox.
    ///
    /// # Errors
    /// There is none of this identity, or something of it could not be removed.
    pub async fn remove(&self, id: &str) -> Result<(), Failure> {
        self.cancel(id).await?;
        self.release(id).await?;
        let id = parse(id)?;
        self.app.store().delete_session(&id).await.map_err(|e| e.failure())?;
        model::crash::point("session:deleted");
        self.app.sandboxes().remove_tree(id.as_str()).await.map_err(|e| e.failure())?;
        remove_dir(&self.app.session_dir(&id))
    }

    /// A file or tree of the session as a tar stream.
    ///
    /// # Errors
    /// There is no such session or path.
    pub async fn get(&self, id: &str, path: &str) -> Result<TarStream, Failure> {
        let live = self.app.bring(&parse(id)?, None, None).await?;
        let sandbox = self.app.sandbox_of(&live).await?;
        sandbox.get(path).await.map_err(|e| e.failure())
    }

    /// Unpacks a tar stream in the session's files.
    ///
    /// # Errors
    /// There is no such session, or the guest could not unpack.
    pub async fn put(&self, id: &str, path: &str, tar: impl AsyncRead + Send + Unpin) -> Result<(), Failure> {
        let live = self.app.bring(&parse(id)?, None, None).await?;
        let sandbox = self.app.sandbox_of(&live).await?;
        sandbox.put(path, tar).await.map(drop).map_err(|e| e.failure())
    }

    /// The session's tape.
    ///
    /// # Errors
    /// Nothing was recorded.
    pub async fn tape_out(&self, id: &str) -> Result<tokio::fs::File, Failure> {
        let id = parse(id)?;
        let turns = self.app.store().session(&id).await.map_err(|e| e.failure())?.turns;
        let path = self.app.tape_path(&id, turns);
        tokio::fs::File::open(path).await.map_err(|_| {
            Failure::new(Code::NotFound, "nothing was recorded in this session").hint("record with `lazaret run --record TAPE`")
        })
    }

    /// Gives the session a tape to answer from, before its first turn.
    ///
    /// # Errors
    /// The session does not replay, has run already, or the tape is too large.
    pub async fn tape_in(&self, id: &str, tape: impl AsyncRead + Send + Unpin) -> Result<(), Failure> {
        let id = parse(id)?;
        let row = self.app.store().session(&id).await.map_err(|e| e.failure())?;
        if read_spec(&row)?.tape != Tape::Replay || row.turns > 0 {
            return Err(Failure::new(Code::Conflict, "this session does not wait for a tape"));
        }
        crate::replay::save(&self.app.tape_path(&id, 1), tape).await
    }

    /// Makes a session of this specification: its directory, its row, its runner.
    pub(crate) async fn make(&self, spec: SessionSpec, mounts: Vec<HostMount>) -> Result<SessionId, Failure> {
        let id = SessionId::from_bits(crate::clock::fresh_bits());
        let row = NewSession {
            id: id.clone(),
            engine: spec.engine.clone(),
            model: spec.model.clone().unwrap_or_default(),
            provider: spec.provider.clone(),
            labels: BTreeMap::new(),
            spec: serde_json::to_value(&spec).map_err(|e| Failure::new(Code::Internal, e.to_string()))?,
            now: crate::now(),
        };
        let dir = self.app.session_dir(&id);
        make_dir(&dir)?;
        if let Err(error) = self.app.store().create_session(row).await {
            let _ = std::fs::remove_dir(&dir);
            return Err(error.failure());
        }
        model::crash::point("session:created");
        self.app.bring(&id, Some(mounts), None).await?;
        Ok(id)
    }

    pub(crate) async fn view(&self, id: &SessionId, is_fallback: bool) -> Result<SessionView, Failure> {
        let row = self.app.store().session(id).await.map_err(|e| e.failure())?;
        let spec = read_spec(&row)?;
        Ok(SessionView {
            id: row.id,
            title: String::new(),
            agent: crate::DEFAULT_AGENT.to_owned(),
            engine: row.engine,
            model: row.model,
            provider: row.provider,
            is_fallback,
            env: None,
            labels: row.labels,
            state: SessionState::Idle,
            mounts: spec.mounts,
            workdir: "/workspace".to_owned(),
            turns: row.turns,
            head: row.turns,
            last_seq: row.last_seq,
            parent: None,
            questions: Vec::new(),
            created: row.created,
            updated: row.updated,
        })
    }
}

impl App {
    /// The session in memory; brought there when it is not. `adopted` is its sandbox of an earlier daemon.
    pub(crate) async fn bring(
        &self,
        id: &SessionId,
        mounts: Option<Vec<HostMount>>,
        adopted: Option<Sandbox>,
    ) -> Result<Arc<Live>, Failure> {
        if let Some(live) = self.live(id) {
            return Ok(live);
        }
        let row = self.store().session(id).await.map_err(|e| e.failure())?;
        self.begin(&row, mounts.unwrap_or_default(), adopted)
    }

    /// Brings a session into memory and starts its runner, unless another call was quicker.
    pub(crate) fn begin(&self, row: &SessionRow, mounts: Vec<HostMount>, adopted: Option<Sandbox>) -> Result<Arc<Live>, Failure> {
        let spec = read_spec(row)?;
        let live = {
            let mut all = lock(&self.registry().live);
            if let Some(live) = all.get(&row.id) {
                return Ok(Arc::clone(live));
            }
            if all.len() >= LIVE_MAX {
                return Err(Failure::new(Code::Busy, format!("{LIVE_MAX} sessions are at work")));
            }
            let live = Arc::new(Live::new(row.id.clone(), spec, row.last_seq, mounts, adopted, self));
            all.insert(row.id.clone(), Arc::clone(&live));
            live
        };
        let (app, runner) = (self.clone(), Arc::clone(&live));
        self.spawn(async move { crate::turn::run_session(app, runner).await });
        Ok(live)
    }

    pub(crate) fn live(&self, id: &SessionId) -> Option<Arc<Live>> {
        lock(&self.registry().live).get(id).cloned()
    }

    pub(crate) fn live_sessions(&self) -> Vec<Arc<Live>> {
        lock(&self.registry().live).values().cloned().collect()
    }

    /// Takes a session out of memory; its followers see the end.
    pub(crate) fn forget(&self, id: &SessionId) {
        if let Some(live) = lock(&self.registry().live).remove(id) {
            live.gone.cancel();
        }
    }

    /// Waits until a session is out of memory.
    async fn wait_gone(&self, id: &SessionId) {
        let Some(gone) = self.live(id).map(|live| live.gone.clone()) else { return };
        gone.cancelled().await;
    }

    /// Tells followers of new events.
    pub(crate) fn publish(&self, id: &SessionId, events: &[model::Event]) {
        if let (Some(live), Some(last)) = (self.live(id), events.last()) {
            live.seq.send_if_modified(|seq| std::mem::replace(seq, (*seq).max(last.seq)) < last.seq);
        }
    }

    pub(crate) async fn open_turns(&self, id: &SessionId) -> Result<Vec<store::TurnRow>, Failure> {
        let all = self.store().unfinished_turns().await.map_err(|e| e.failure())?;
        Ok(all.into_iter().filter(|t| t.session == *id).collect())
    }

    /// Lets running work come to its end until `deadline`, then cancels it.
    pub(crate) async fn drain(&self, deadline: Instant) {
        let at_work = || self.live_sessions().into_iter().filter(|l| l.is_at_work()).collect::<Vec<_>>();
        while Instant::now() < deadline && !at_work().is_empty() {
            tokio::time::sleep(DRAIN_STEP).await;
        }
        for live in at_work() {
            live.cancel_turn();
        }
        let end = Instant::now() + Duration::from_secs(2);
        while Instant::now() < end && !at_work().is_empty() {
            tokio::time::sleep(DRAIN_STEP).await;
        }
    }

    pub(crate) fn session_dir(&self, id: &SessionId) -> PathBuf {
        self.home().join("turns").join(id.as_str())
    }

    /// The tape of a session's turn of this place.
    pub(crate) fn tape_path(&self, id: &SessionId, turn: u64) -> PathBuf {
        self.session_dir(id).join(format!("tape-{turn}.jsonl"))
    }
}

pub(crate) fn read_spec(row: &SessionRow) -> Result<SessionSpec, Failure> {
    serde_json::from_value(row.spec.clone())
        .map_err(|e| Failure::new(Code::StoreUnusable, format!("session {} cannot be read: {e}", row.id)))
}

fn parse(id: &str) -> Result<SessionId, Failure> {
    id.parse().map_err(|e: model::IdError| Failure::new(Code::NotFound, e.to_string()).field("session"))
}

/// A prompt that can be asked: not empty, not too long, without NUL.
fn check_prompt(text: &str) -> Result<(), Failure> {
    let why = if text.trim().is_empty() {
        "the prompt is empty".to_owned()
    } else if text.len() > PROMPT_BYTES_MAX {
        format!("the prompt has {} bytes; at most {PROMPT_BYTES_MAX} are taken", text.len())
    } else if text.contains('\0') {
        "the prompt holds a NUL".to_owned()
    } else {
        return Ok(());
    };
    Err(Failure::new(Code::PromptInvalid, why).field("prompt"))
}

fn make_dir(dir: &std::path::Path) -> Result<(), Failure> {
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
