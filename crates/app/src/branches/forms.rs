//! What branch agents are asked and how they are shown.

use std::collections::BTreeMap;
use std::path::PathBuf;

use model::{BranchId, BranchState, Code, EgressRule, Limits, Money, Outcome, SessionId, Timestamp, TurnId};
use serde::{Deserialize, Serialize};

/// Where the program of an agent is seen inside that the user brought, with what lies beside it. Its name is that of the mount.
pub const OWN_ENGINE_DIR: &str = "/home/sandbox/own-engine";

/// Where the clones of the repositories beside the first one lie inside.
pub const BESIDE_DIR: &str = crate::git::BESIDE_AT;

/// How much of the repository's past an agent sees.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BranchHistory {
    /// All of it: other branches too.
    #[default]
    All,
    /// What the commit that it begins at reaches, and nothing else.
    Branch,
}

/// Whose name commits carry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BranchAuthor {
    /// The name.
    pub name: String,
    /// The address.
    pub email: String,
}

/// A repository that an agent works on beside its first one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AlsoRepo {
    /// What it is called: its clone lies at `/home/sandbox/repos/NAME`. Letters, digits and `-_.`, the first one no dot.
    pub name: String,
    /// The repository, named as the first one is. Its descriptor comes after those before it.
    pub repo: PathBuf,
}

/// Agents to begin, or one to go on with.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct SpawnForm {
    /// The repository: an absolute path. Through the owner's socket its descriptor comes beside the form; else it lies below a
    /// directory that the configuration lists.
    pub repo: PathBuf,
    /// Repositories beside it: in each a clone of its own has the same branch, begun at what is checked out there.
    pub also: Vec<AlsoRepo>,
    /// The branch; any name that git takes.
    pub branch: String,
    /// What to do.
    pub task: String,
    /// Where the branch begins: a branch, tag or commit; what is checked out when left out.
    pub from: Option<String>,
    /// What kind of task it is; found out from branch and task when left out.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Kinds of tasks besides those of the home and those that ship: their texts, by name.
    pub types: BTreeMap<String, String>,
    /// How many agents do the same, each on a branch `BRANCH-1` and so on; one on `BRANCH` itself when left out.
    pub n: Option<usize>,
    /// Who does it; `default` when left out.
    pub agent: Option<String>,
    /// The engine.
    pub engine: Option<String>,
    /// Where a program lies inside that the user brought; for engines by path.
    pub program: Option<String>,
    /// The directory of this machine that holds that program, absolute and without links: seen read-only at
    /// `/home/sandbox/own-engine`. Taken over the owner's socket only.
    pub engine_dir: Option<PathBuf>,
    /// The model.
    pub model: Option<String>,
    /// How much of the past it sees.
    pub history: BranchHistory,
    /// Directories that are checked out, with the files beside and above them; all when left out. The agent may add others.
    pub sparse: Vec<String>,
    /// Whether uncommitted and untracked files of the repository are carried in.
    pub carry: bool,
    /// Ignored files that are carried in all the same, for example `.env`: paths in the repository.
    pub files: Vec<String>,
    /// Whether what is left uncommitted after a turn becomes a last commit.
    pub commit: bool,
    /// A command whose success says that the work is good; run in a sandbox without doors.
    pub check: Option<String>,
    /// Whose name commits carry.
    pub author: Option<BranchAuthor>,
    /// Hosts that may be reached.
    pub egress: Vec<EgressRule>,
    /// Bound secrets that it may use besides its agent's, by name.
    pub secrets: Vec<String>,
    /// The most that it may cost.
    pub budget: Option<Money>,
    /// What its sandbox may use.
    pub limits: Option<Limits>,
    /// From 0 to 9; a higher one goes first. 5 when left out.
    pub priority: Option<u8>,
    /// The user's own words, for finding it again.
    pub labels: BTreeMap<String, String>,
}

/// Agents that were begun, or gone on with.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Spawned {
    /// One for each branch.
    pub items: Vec<SpawnedOne>,
    /// Those of several that could not begin; the others go on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<NotSpawned>,
    /// Whether the type was found out and not said.
    pub inferred: bool,
    /// Whether the rehearsal answers because there is no key.
    pub is_fallback: bool,
    /// What the user should know.
    pub notes: Vec<String>,
}

/// One of several agents that could not begin.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
pub struct NotSpawned {
    /// Its branch.
    pub branch: String,
    /// Why.
    pub code: Code,
    /// For people.
    pub message: String,
}

/// One agent that was begun, or gone on with.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SpawnedOne {
    /// The agent.
    pub agent: BranchView,
    /// The turn that was asked.
    pub turn: TurnId,
    /// Whether there was none on this branch before.
    pub is_new: bool,
}

/// Which branch agents to list.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BranchQuery {
    /// Those of this repository.
    pub repo: Option<String>,
    /// The one on this branch.
    pub branch: Option<String>,
    /// Those that were asked for the same.
    pub batch: Option<String>,
    /// The cursor of an earlier page.
    pub after: Option<String>,
    /// Entries in a page; 100 when left out.
    pub limit: Option<usize>,
}

/// What a check said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct CheckView {
    /// The command.
    pub command: String,
    /// Whether it ended well.
    pub passed: bool,
    /// Its exit status; `None` when it did not end in time.
    pub status: Option<i32>,
    /// The end of what it printed.
    pub output: String,
    /// The commit that it was run on.
    pub commit: String,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// When it ended.
    pub at: Timestamp,
}

/// How much a branch changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ChangeSize {
    /// Files.
    pub files: u64,
    /// Lines that come.
    pub added: u64,
    /// Lines that go.
    pub removed: u64,
}

/// What a reader decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct VerdictView {
    /// `approved` or `rejected`.
    pub verdict: String,
    /// The commit that was read.
    pub commit: String,
    /// When.
    pub at: Timestamp,
}

/// Where a branch agent stands in a repository beside its first one.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
pub struct BranchRepoView {
    /// What it is called.
    pub name: String,
    /// The repository.
    pub repo: String,
    /// The commit that the branch began at.
    pub base: String,
    /// The branch that it is merged into unless another is named.
    pub target: Option<String>,
    /// The commit that came home last.
    pub tip: Option<String>,
    /// The reference of the repository that has it.
    #[serde(rename = "ref")]
    pub reference: Option<String>,
    /// Why it is elsewhere than it was wanted, or did not come.
    pub note: Option<String>,
    /// Commits since the base.
    pub commits: u64,
    /// Changed files that are not committed.
    pub dirty: u64,
    /// Files that git does not know.
    pub untracked: u64,
    /// How much was changed.
    pub size: Option<ChangeSize>,
    /// The branch that it was merged into, where the last commit was.
    pub merged_into: Option<String>,
}

/// A branch agent as it is shown.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
pub struct BranchView {
    /// Its identity.
    pub id: BranchId,
    /// The repository.
    pub repo: String,
    /// The branch.
    pub branch: String,
    /// Where it stands.
    pub state: BranchState,
    /// Who or what it waits for.
    pub waiting_for: Option<String>,
    /// What kind of task it is.
    #[serde(rename = "type")]
    pub kind: String,
    /// The beginning of the first task.
    pub task: String,
    /// What several agents share that were asked for the same.
    pub batch: Option<String>,
    /// The commit that it began at.
    pub base: String,
    /// The branch that it is merged into unless another is named.
    pub target: Option<String>,
    /// The session of the agent.
    pub session: SessionId,
    /// The turn that counts.
    pub turn: Option<TurnId>,
    /// How that ended.
    pub outcome: Option<Outcome>,
    /// Why it failed.
    pub code: Option<Code>,
    /// The engine.
    pub engine: String,
    /// The model.
    pub model: String,
    /// The provider.
    pub provider: String,
    /// Turns so far.
    pub turns: u64,
    /// The commit that came home last.
    pub tip: Option<String>,
    /// The reference of the repository that has it.
    #[serde(rename = "ref")]
    pub reference: Option<String>,
    /// Whether the work of every turn that is over came home.
    pub is_home: bool,
    /// Why it is elsewhere than it was wanted, or did not come.
    pub note: Option<String>,
    /// Commits since the base.
    pub commits: u64,
    /// Changed files that are not committed.
    pub dirty: u64,
    /// Files that git does not know.
    pub untracked: u64,
    /// How much was changed.
    pub size: Option<ChangeSize>,
    /// The last check.
    pub check: Option<CheckView>,
    /// What a reader decided.
    pub verdict: Option<VerdictView>,
    /// The branch that it was merged into, where the last commit of all of its repositories was.
    pub merged_into: Option<String>,
    /// The repositories beside the first one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<BranchRepoView>,
    /// What its model calls cost so far, in US dollars.
    pub cost_usd: f64,
    /// How long its last turn took, or takes, in milliseconds.
    pub duration_ms: u64,
    /// When it was made.
    pub created: Timestamp,
    /// When something last happened.
    pub updated: Timestamp,
}

/// What is kept of the form with the row.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Options {
    pub(crate) history: BranchHistory,
    pub(crate) check: Option<String>,
    pub(crate) author: Option<BranchAuthor>,
    /// The request that made it.
    pub(crate) key: Option<String>,
    /// Where its program lies on the host, for one that the user brought.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) engine_dir: Option<PathBuf>,
    /// Working trees that were made for the user.
    pub(crate) worktrees: Vec<std::path::PathBuf>,
}

/// A kind of task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct BranchType {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: String,
}

/// Asks an agent for a further turn.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ResumeForm {
    /// What to do now; it goes on with its task when left out.
    pub text: Option<String>,
}

/// One file that a branch changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct FileChange {
    /// Its path in the repository; bytes that are no text as `\xNN`.
    pub path: String,
    /// The path before, where it was moved.
    pub from: Option<String>,
    /// `added`, `removed`, `changed`, `moved`, `copied` or `type`.
    pub change: String,
    /// Lines that come; `None` where there are no lines.
    pub added: Option<u64>,
    /// Lines that go.
    pub removed: Option<u64>,
    /// What a reader would not see, or should look at twice: `bidi`, `invisible`, `binary`, `generated`, `mode`, `symlink`,
    /// `submodule`, `attributes`, `hooks`, `ci`, `long lines`, `whitespace`.
    pub flags: Vec<String>,
}

/// One commit of a branch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct CommitView {
    /// Its name.
    pub id: String,
    /// Its first line.
    pub subject: String,
    /// Who wrote it.
    pub author: String,
    /// When, in milliseconds since 1970.
    pub time: Timestamp,
}

/// What a branch changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct BranchDiff {
    /// The commit that it is compared with.
    pub base: String,
    /// The commit that is read.
    pub tip: String,
    /// Its commits, the youngest first.
    pub commits: Vec<CommitView>,
    /// The files.
    pub files: Vec<FileChange>,
    /// All together.
    pub size: ChangeSize,
    /// Whether there is more than is listed.
    pub truncated: bool,
}

/// A comment on an agent's work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct CommentView {
    /// Its number, from 1.
    pub n: u64,
    /// The file; `None` for the whole.
    pub path: Option<String>,
    /// The line in it.
    pub line: Option<u64>,
    /// What is said.
    pub text: String,
    /// The turn that it was sent with.
    pub turn: Option<TurnId>,
    /// When it was made.
    pub created: Timestamp,
}

/// A comment to make.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CommentForm {
    /// The file; the whole when left out.
    pub path: Option<String>,
    /// The line in it, from 1.
    pub line: Option<u64>,
    /// What is said.
    pub text: String,
}

/// A check to run.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CheckOrder {
    /// The command; the one that the agent was spawned with when left out.
    pub command: Option<String>,
}

/// A verdict to give.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VerdictForm {
    /// `approved` or `rejected`.
    pub verdict: String,
}

/// A merge to make.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MergeForm {
    /// Into this branch; the one that the agent's was taken from when left out.
    pub into: Option<String>,
    /// Only say what would come of it.
    pub dry_run: bool,
    /// The commit that was looked at: refused when the branch has come further since. Of an agent of several repositories it is that of
    /// the first one, and `,NAME=COMMIT` behind it for each of the others holds these too.
    pub expect: Option<String>,
}

/// What came of a merge, or would.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct MergeView {
    /// The branch that was merged.
    pub branch: String,
    /// Into which.
    pub into: String,
    /// `merged`, `current` when there was nothing to merge, `ready` when only asked, or `conflict`.
    pub result: String,
    /// The commit that the target is at.
    pub commit: Option<String>,
    /// Files that conflict.
    pub conflicts: Vec<String>,
    /// How much comes in.
    pub size: Option<ChangeSize>,
    /// The repositories beside the first one, where there are such. The result is that of all together: nothing is merged anywhere
    /// while one conflicts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<MergeInRepo>,
}

/// What came of a merge in a repository beside the first one, or would.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct MergeInRepo {
    /// What it is called.
    pub name: String,
    /// Into which branch.
    pub into: String,
    /// `merged`, `current`, `ready` or `conflict`.
    pub result: String,
    /// The commit that the target is at.
    pub commit: Option<String>,
    /// Files that conflict.
    pub conflicts: Vec<String>,
    /// How much comes in.
    pub size: Option<ChangeSize>,
}

/// Branches to look at together.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PreviewForm {
    /// The agents.
    pub agents: Vec<BranchId>,
    /// Into this branch; the one that the first was taken from when left out.
    pub into: Option<String>,
}

/// What would conflict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PreviewView {
    /// The branch that they would be merged into.
    pub into: String,
    /// Each alone, in the order that was asked for.
    pub alone: Vec<MergeView>,
    /// Each after those before it that merge.
    pub in_order: Vec<MergeView>,
    /// Pairs that conflict with each other.
    pub pairs: Vec<PreviewPair>,
}

/// Two branches that conflict with each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PreviewPair {
    /// One.
    pub one: String,
    /// The other.
    pub other: String,
    /// The files.
    pub files: Vec<String>,
}

/// How to forget an agent.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CleanForm {
    /// Also when unmerged, uncommitted or untracked work is lost.
    pub force: bool,
    /// Remove the branch from the repository too.
    pub delete_branch: bool,
    /// Only say what would be done.
    pub dry_run: bool,
}

/// What was forgotten, or would be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct CleanView {
    /// The branch.
    pub branch: String,
    /// What would be lost; empty when all of it is elsewhere.
    pub loses: Vec<String>,
    /// Bytes that its files take, where that is known.
    pub bytes: Option<u64>,
    /// Whether it is forgotten now.
    pub done: bool,
}
