//! The folder of a run: everything in it is written whole or not at all, so that a run that dies goes on where it stood.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use model::{Code, Event, Failure, SessionId};
use rustix::fs::{FlockOperation, flock};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::fail;
use super::plan::Plan;
use crate::home::{Home, random_hex};

/// Where runs are kept, in the home.
const DIR: &str = "evals";
/// What the identity of a run begins with.
const PREFIX: &str = "evr_";
/// The longest file of a run that is read.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// A run on disk.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) dir: PathBuf,
    pub(super) plan: Plan,
    /// Held as long as somebody works on the run.
    _lock: Option<File>,
}

/// A cell that was begun: which session works on it. Written before anything is asked of that session.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Begun {
    pub(super) session: SessionId,
    /// What the files were that must stay as they are, by the path in the check.
    pub(super) before: BTreeMap<String, String>,
}

/// What came of a cell.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Outcome {
    pub(super) key: String,
    pub(super) verdict: Verdict,
    /// Why, where it is no pass.
    pub(super) why: String,
    /// The stable code of an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) code: Option<String>,
    /// Who answered; `rehearsal` is a script, `tape` a record.
    pub(super) provider: String,
    pub(super) checks: Vec<Checked>,
    pub(super) cost_usd: f64,
    pub(super) judge_cost_usd: f64,
    pub(super) duration_ms: u64,
    pub(super) rounds: u32,
    pub(super) tokens: u64,
    /// The agent's last words, cut.
    pub(super) answer: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) session: Option<SessionId>,
}

/// How a cell ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    /// All checks hold.
    Pass,
    /// One does not, or the turn did not come to its end.
    Fail,
    /// It says nothing about the agent: the machine, the tape or the judge failed.
    Error,
}

impl Verdict {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Fail => "fail",
            Verdict::Error => "error",
        }
    }
}

/// What came of a check.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Checked {
    pub(super) name: String,
    pub(super) passed: bool,
    /// What was seen, cut.
    pub(super) seen: String,
}

impl Kept {
    /// Begins a run: its plan is on disk when this returns.
    pub(super) fn begin(home: &Home, plan: Plan) -> Result<Self, Failure> {
        let dir = root(home)?.join(&plan.id);
        for dir in [dir.clone(), dir.join("begun"), dir.join("done"), dir.join("transcripts"), dir.join("tmp"), dir.join("boxes")] {
            DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(|e| fail::run(&dir, e))?;
        }
        let lock = lock(&dir)?;
        put(&dir.join("plan.json"), &plan)?;
        model::crash::point("eval:planned");
        Ok(Self { dir, plan, _lock: Some(lock) })
    }

    /// Takes up a run that nobody works on.
    pub(super) fn resume(home: &Home, id: &str) -> Result<Self, Failure> {
        let mut kept = Self::open(home, id)?;
        kept._lock = Some(lock(&kept.dir)?);
        Ok(kept)
    }

    /// A run, to look at.
    pub(super) fn open(home: &Home, id: &str) -> Result<Self, Failure> {
        let id = if id == "last" { ids(home)?.pop().ok_or_else(|| missing("last"))? } else { id.to_owned() };
        if !is_id(&id) {
            return Err(missing(&id));
        }
        let dir = root(home)?.join(&id);
        let plan: Plan = get(&dir.join("plan.json"))?.ok_or_else(|| missing(&id))?;
        Ok(Self { dir, plan, _lock: None })
    }

    /// Whether somebody works on it.
    pub(super) fn is_held(&self) -> bool {
        File::open(&self.dir).is_ok_and(|dir| flock(&dir, FlockOperation::NonBlockingLockShared).is_err())
    }

    /// Forgets it.
    pub(super) fn remove(self) -> Result<(), Failure> {
        let held = lock(&self.dir)?;
        std::fs::remove_dir_all(&self.dir).map_err(|e| fail::run(&self.dir, e))?;
        drop(held);
        Ok(())
    }

    pub(super) fn begun(&self, key: &str) -> Result<Option<Begun>, Failure> {
        get(&self.dir.join("begun").join(format!("{key}.json")))
    }

    pub(super) fn put_begun(&self, key: &str, begun: &Begun) -> Result<(), Failure> {
        put(&self.dir.join("begun").join(format!("{key}.json")), begun)
    }

    /// Forgets that a cell was begun.
    pub(super) fn drop_begun(&self, key: &str) {
        let _ = std::fs::remove_file(self.dir.join("begun").join(format!("{key}.json")));
    }

    pub(super) fn outcome(&self, key: &str) -> Result<Option<Outcome>, Failure> {
        get(&self.dir.join("done").join(format!("{key}.json")))
    }

    pub(super) fn put_outcome(&self, outcome: &Outcome) -> Result<(), Failure> {
        put(&self.dir.join("done").join(format!("{}.json", outcome.key)), outcome)
    }

    /// What came of the cells that are over, in the plan's order.
    pub(super) fn outcomes(&self) -> Result<Vec<Outcome>, Failure> {
        self.plan.cells.iter().filter_map(|cell| self.outcome(&cell.key).transpose()).collect()
    }

    pub(super) fn put_transcript(&self, key: &str, events: &[Event]) -> Result<(), Failure> {
        let mut text = String::new();
        for event in events {
            text.push_str(&serde_json::to_string(event).map_err(|e| crate::client::internal(&e.to_string()))?);
            text.push('\n');
        }
        write(&self.transcript(key), text.as_bytes())
    }

    /// Where the transcript of a cell is.
    pub(super) fn transcript(&self, key: &str) -> PathBuf {
        self.dir.join("transcripts").join(format!("{key}.jsonl"))
    }

    /// A file for what is only needed for a moment.
    pub(super) fn scratch(&self, name: &str) -> PathBuf {
        self.dir.join("tmp").join(name)
    }

    /// Notes a sandbox, so that a later process removes it when this one dies.
    pub(super) fn note_box(&self, id: &str) -> Result<(), Failure> {
        write(&self.dir.join("boxes").join(id), b"")
    }

    pub(super) fn drop_box(&self, id: &str) {
        let _ = std::fs::remove_file(self.dir.join("boxes").join(id));
    }

    /// The sandboxes that were noted.
    pub(super) fn boxes(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir.join("boxes")).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).filter(|name| name.starts_with("sbx_")).collect()
    }
}

/// All runs, the oldest first.
pub(super) fn ids(home: &Home) -> Result<Vec<String>, Failure> {
    let entries = std::fs::read_dir(root(home)?).into_iter().flatten().flatten();
    let mut ids: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).filter(|name| is_id(name)).collect();
    ids.sort();
    Ok(ids)
}

/// A name that sorts by time.
pub(super) fn fresh_id() -> Result<String, Failure> {
    Ok(format!("{PREFIX}{:011x}{}", app::now().0, random_hex::<4>()?))
}

fn is_id(text: &str) -> bool {
    text.strip_prefix(PREFIX).is_some_and(|rest| rest.len() == 19 && rest.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn missing(id: &str) -> Failure {
    Failure::new(Code::NotFound, format!("there is no run `{}`", id.escape_debug())).hint("`lazaret eval list` names them")
}

fn root(home: &Home) -> Result<PathBuf, Failure> {
    let root = home.path().join(DIR);
    DirBuilder::new().recursive(true).mode(0o700).create(&root).map_err(|e| fail::run(&root, e))?;
    Ok(root)
}

fn lock(dir: &Path) -> Result<File, Failure> {
    let held = File::open(dir).map_err(|e| fail::run(dir, e))?;
    match flock(&held, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(held),
        Err(_) => Err(Failure::new(Code::Conflict, "another process works on this run").hint("wait until it is over")),
    }
}

fn put(path: &Path, value: &impl Serialize) -> Result<(), Failure> {
    let bytes = serde_json::to_vec(value).map_err(|e| crate::client::internal(&e.to_string()))?;
    write(path, &bytes)
}

/// Writes a file whole: it is there with all of it after a power failure, or not at all.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let io = |e: std::io::Error| fail::run(path, e);
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("file");
    let here = Path::new(".");
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(here);
    let fresh = dir.join(format!(".{name}-{}", random_hex::<4>()?));
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh);
    let written = made.and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()));
    let moved = written.and_then(|()| std::fs::rename(&fresh, path)).and_then(|()| File::open(dir)?.sync_all());
    if moved.is_err() {
        let _ = std::fs::remove_file(&fresh);
    }
    moved.map_err(io)
}

fn get<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Failure> {
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(|e| fail::run(path, e))?,
    };
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(|e| fail::run(path, e))?;
    serde_json::from_slice(&bytes).map(Some).map_err(|e| fail::run(path, e))
}
