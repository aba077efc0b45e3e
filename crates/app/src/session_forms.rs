//! What sessions are asked and how they are shown.

use std::collections::BTreeMap;

use model::{EgressRule, Limits, Money, QuestionId, SessionId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{BranchPart, ImageRef, JobPart, MountForm, MountNote, Parent, Tape};

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
    /// Who is asked in turn when its provider does not answer: `PROVIDER` or `PROVIDER/MODEL`; the agent's when left out.
    pub fallback: Option<Vec<String>>,
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
    /// Bound secrets that it may use besides its agent's, by name.
    pub secrets: Vec<String>,
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
    /// What a job asks besides: the host's to say.
    #[serde(skip)]
    pub job: Option<JobPart>,
    /// The branch that it works on: the host's to say.
    #[serde(skip)]
    pub branch: Option<BranchPart>,
    /// Whether it is there for a question about the install: the host's to say.
    #[serde(skip)]
    pub ask: bool,
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
#[serde(deny_unknown_fields, default)]
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
    /// Its terminal, while one is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminal: Option<crate::TerminalView>,
    /// When it was made.
    pub created: Timestamp,
    /// When something last happened in it.
    pub updated: Timestamp,
}

/// Something that a person is asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
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
