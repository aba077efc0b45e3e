//! Jobs: one prompt, one turn in a session of its own, one result.
//!
//! A job is a row in the store's queue before it is acknowledged. A dispatcher claims it under a lease with a fencing
//! number, makes its session and turn under names that the row already holds, and the turn's end is the job's end. See
//! [decision 5](../../../docs/decisions/0005-jobs.md).

mod check;
mod desk;
mod dispatch;
mod follow;
mod forms;
mod glob;
mod hook_note;
mod hooks;
mod keep;
mod leave;
mod of;
mod part;
mod resolve;
mod settings;
mod shelf;
mod source;
mod staging;
mod view;
mod work;

pub use check::{JOB_FILES_BYTES_MAX, JOB_FILES_MAX, check as check_job, check_job_path};
pub use follow::JobFollow;
pub use forms::{Artifact, Hooks, JobFile, JobForm, JobQuery, JobState, JobView, OutputFormat, ResolvedJob};
pub use of::JobsOf;
pub use part::{JobPart, JobRepo};
pub use settings::{JOBS_QUEUED_MAX, JobSettings};
pub use staging::{ComingFile, JobFiles, JobStaging};

pub(crate) use desk::JobDesk;
pub(crate) use hooks::Ran;
use of::Stored;
pub(crate) use resolve::{DEFAULT_PROFILE, resolve};
pub(crate) use source::is_address;
