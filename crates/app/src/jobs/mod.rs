//! Jobs: one prompt, one turn in a session of its own, one result.
//!
//! A job is a row in the store's queue before it is acknowledged. A dispatcher claims it under a lease with a fencing
//! number, makes its session and turn under names that the row already holds, and the turn's end is the job's end. See
//! [decision 5](../../../docs/decisions/0005-jobs.md).

mod check;
mod forms;
mod resolve;

pub use check::{JOB_FILES_BYTES_MAX, JOB_FILES_MAX, check as check_job, check_job_path};
pub use forms::{Artifact, Hooks, JobFile, JobForm, JobQuery, JobState, JobView, OutputFormat, ResolvedJob};
pub(crate) use resolve::resolve;
