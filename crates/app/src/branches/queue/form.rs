//! How merge queues are asked for, kept and shown.

use model::{BranchId, Code, Failure, MergeQueueId, PlaceState, QueueState, Timestamp, TurnId};
use serde::{Deserialize, Serialize};
use store::MergeQueueRow;

use super::super::forms::CheckView;

/// A merge queue to make.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct QueueForm {
    /// The agents whose branches are merged, in this order.
    pub agents: Vec<BranchId>,
    /// Into this branch; the one that the first was taken from when left out.
    pub into: Option<String>,
    /// The command that must succeed on each result; the one that each agent was spawned with when left out.
    pub check: Option<String>,
    /// The commits that were looked at, one for each agent in their order: at a branch that is elsewhere by then the queue stops. Any
    /// commit when left out; not together with `resolve`, which makes other commits. Of several repositories as `expect` of a merge.
    pub expect: Vec<String>,
    /// Whether a conflict is given to its agent, as its next turn, before the queue stops at it.
    pub resolve: bool,
}

/// Which merge queues to list.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct QueueQuery {
    /// Those of this repository.
    pub repo: Option<String>,
    /// How many; 100 when left out.
    pub limit: Option<usize>,
}

/// One file on which a branch and what is there do not agree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct QueueConflict {
    /// The file.
    pub path: String,
    /// What git says of it.
    pub message: String,
}

/// Where one branch of a merge queue stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct QueuePlace {
    /// The agent.
    pub agent: BranchId,
    /// Its branch.
    pub branch: String,
    /// Where it stands.
    pub state: PlaceState,
    /// The command that must succeed on the result.
    pub command: String,
    /// The only commit of the branch that may be taken, where one was named.
    pub expect: Option<String>,
    /// The commit of the branch that was taken.
    pub tip: Option<String>,
    /// The commit that the target was at.
    pub before: Option<String>,
    /// The commit that the target was moved to, or is to be.
    pub commit: Option<String>,
    /// Files that conflict.
    pub conflicts: Vec<QueueConflict>,
    /// The check on the result.
    pub check: Option<CheckView>,
    /// What was in the way, and what can be done about it.
    pub note: Option<String>,
    /// The turn in which the agent resolves its conflict.
    pub turn: Option<TurnId>,
    /// How often the agent was asked to.
    pub resolves: u32,
}

impl QueuePlace {
    /// One that waits.
    pub(super) fn new(agent: BranchId, branch: String) -> Self {
        Self {
            agent,
            branch,
            state: PlaceState::Waiting,
            command: String::new(),
            expect: None,
            tip: None,
            before: None,
            commit: None,
            conflicts: Vec::new(),
            check: None,
            note: None,
            turn: None,
            resolves: 0,
        }
    }
}

/// A merge queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct QueueView {
    /// Its identity.
    pub id: MergeQueueId,
    /// The repository.
    pub repo: String,
    /// The branch that is merged into.
    pub into: String,
    /// Where it stands.
    pub state: QueueState,
    /// Its branches, in their order.
    pub places: Vec<QueuePlace>,
    /// When it was made.
    pub created: Timestamp,
    /// When it last changed.
    pub changed: Timestamp,
}

/// What is kept of the form.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct QueueOptions {
    pub(super) resolve: bool,
}

pub(super) fn kept(form: &QueueForm) -> Result<serde_json::Value, Failure> {
    serde_json::to_value(QueueOptions { resolve: form.resolve }).map_err(|e| Failure::new(Code::Internal, e.to_string()))
}

pub(super) fn options(row: &MergeQueueRow) -> QueueOptions {
    serde_json::from_value(row.options.clone()).unwrap_or_default()
}

pub(super) fn value(places: &[QueuePlace]) -> Result<serde_json::Value, Failure> {
    serde_json::to_value(places).map_err(|e| Failure::new(Code::Internal, e.to_string()))
}

pub(super) fn places(row: &MergeQueueRow) -> Result<Vec<QueuePlace>, Failure> {
    let unreadable = |_| Failure::new(Code::StoreUnusable, "where the branches of a merge queue stand cannot be read");
    serde_json::from_value(row.places.clone()).map_err(unreadable)
}

pub(super) fn view(row: MergeQueueRow) -> Result<QueueView, Failure> {
    let places = places(&row)?;
    let MergeQueueRow { id, repo, target, state, created, changed, .. } = row;
    Ok(QueueView { id, repo, into: target, state, places, created, changed })
}
