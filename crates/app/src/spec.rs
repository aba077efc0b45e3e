//! What a session is made of, as it is asked for and as it is kept.

use std::path::PathBuf;

use model::{Code, EgressRule, Failure, Limits, Money};
use serde::{Deserialize, Serialize};

use crate::{BranchPart, JobPart, MountForm};

/// Everything about a session that outlives its sandbox. Kept with the session's row.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionSpec {
    /// The engine: a name, or `program:/path` inside.
    pub engine: String,
    /// Where the engine's program comes from.
    pub program: ProgramSource,
    /// The model, as its provider names it.
    pub model: Option<String>,
    /// The provider, or `rehearsal`.
    pub provider: String,
    /// Who is asked in turn when that one does not answer: `PROVIDER` or `PROVIDER/MODEL`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fallback: Vec<String>,
    /// What its sandbox may use; `time` is for each turn.
    pub limits: Limits,
    /// The root file system.
    pub image: ImageRef,
    /// Variables for the engine, besides those that it needs.
    pub env: Vec<(String, String)>,
    /// Hosts that may be reached.
    pub egress: Vec<EgressRule>,
    /// Bound secrets that it may use, by name: it gets their placeholders.
    #[serde(default)]
    pub secrets: Vec<String>,
    /// The most that all its turns may cost together.
    pub budget: Option<Money>,
    /// Where its model calls go to or come from, besides the provider.
    pub tape: Tape,
    /// Whether work is cancelled when nobody is attached.
    pub foreground: bool,
    /// Where turns begin.
    #[serde(default = "workspace")]
    pub workdir: String,
    /// Whether no other session of the env may work while a turn of this one runs.
    #[serde(default)]
    pub exclusive: bool,
    /// Host directories by name, below the configured roots.
    #[serde(default)]
    pub named_mounts: Vec<MountForm>,
    /// What a job asks besides, where one made it.
    #[serde(default)]
    pub job: Option<JobPart>,
    /// The branch that it works on, where it is the session of a branch agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<BranchPart>,
    /// Whether it is there for a question about the install: it looks, and does nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ask: bool,
    /// The description of an engine that is not built in, as it was when the session was made.
    #[serde(default)]
    pub engine_text: Option<String>,
    /// The hash of what is too long for the row and lies in the session's directory: `job` and `engine_text` are bare then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) aside: Option<String>,
    /// Host directories, for the next `--resume`; never opened by these names on somebody else's behalf.
    pub mounts: Vec<MountNote>,
}

impl SessionSpec {
    /// Its engine.
    pub(crate) fn found_engine(&self) -> Result<engines::Found, Failure> {
        found_engine(&self.engine, self.engine_text.as_deref())
    }
}

/// The engine of this name, by its description where it has one.
pub(crate) fn found_engine(name: &str, text: Option<&str>) -> Result<engines::Found, Failure> {
    match text {
        None => engines::find(name),
        Some(text) => {
            let custom = engines::Custom::parse(text).map_err(|e| Failure::new(Code::EngineMissing, format!("failed to {e}")))?;
            Ok(engines::Found::Custom(Box::new(custom)))
        }
    }
}

fn workspace() -> String {
    "/workspace".to_owned()
}

/// Where an engine's program comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ProgramSource {
    /// The guest program itself (`mini`).
    Guest,
    /// The pinned version in the home.
    Installed,
    /// A program that the user named: its path inside, where a mount shows it.
    At {
        /// The path inside.
        path: String,
    },
}

/// A root file system by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ImageRef {
    /// The machine's own /usr.
    Host {
        /// With /usr/local.
        usr_local: bool,
    },
    /// An unpacked tree.
    Tree(PathBuf),
}

impl From<ImageRef> for sandbox::Image {
    fn from(image: ImageRef) -> Self {
        match image {
            ImageRef::Host { usr_local } => sandbox::Image::Host { usr_local },
            ImageRef::Tree(path) => sandbox::Image::Tree(path),
        }
    }
}

/// Whether model calls are recorded or answered from a record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Tape {
    /// Neither.
    #[default]
    Off,
    /// Every exchange is appended to `tape.jsonl` of the session.
    Record,
    /// Every call is answered from `tape.jsonl` of the session.
    Replay,
}

/// A mounted host directory, for people and for the next turn's caller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MountNote {
    /// Where it was on the host, absolute.
    pub host: PathBuf,
    /// Where it is inside.
    pub target: PathBuf,
    /// Whether nothing inside can write to it.
    pub read_only: bool,
}
