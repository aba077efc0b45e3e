//! Jobs: the durable queue, and what jobs leave.
//!
//! A job is accepted with one write, claimed under a lease with a fencing number, and ended once. Who goes next is
//! decided here: higher priority first; among equals the tenant, and then the `agent_id`, that was served longest ago;
//! then age. What is long lies beside the database, in a [`Blobs`] store.

mod accept;
mod blob;
mod claim;
mod end;
mod list;
mod queue;
mod row;
mod session;
mod shelf;
mod sweep;

pub use accept::{AcceptedJob, JOB_FORM_BYTES_MAX, NewJob, Webhook};
pub use blob::{BLOB_INLINE_BYTES, BlobError, Blobs, GrowingBlob, JobBlob, JobBody, StagedBlob};
pub use claim::{JobCaps, JobLease, JobNames};
pub use end::{EndedJob, JobEnd, JobWork};
pub use list::{JobCounts, JobFilter};
pub use row::{JobDetail, JobRow};
pub use session::JobTry;
pub use shelf::SHELF_PIECE_BYTES;
pub use sweep::SweptJob;
