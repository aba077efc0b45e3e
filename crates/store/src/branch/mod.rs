//! Agents that work on branches of repositories.

mod change;
mod comment;
mod queue;
mod repo;
mod row;

pub use change::{BranchHome, BranchMerged, BranchPatch, NewBranch};
pub use comment::{BRANCH_COMMENT_CHARS_MAX, BRANCH_COMMENTS_MAX, BranchComment, NewBranchComment};
pub use queue::{MERGE_QUEUES_KEPT_MAX, MERGE_QUEUES_OPEN_MAX, MergeQueueRow, NewMergeQueue};
pub use repo::{BRANCH_REPOS_MAX, BranchRepo, BranchRepoHome, BranchRepoPatch};
pub use row::{BRANCHES_MAX, BranchFilter, BranchRow, BranchTurn};
