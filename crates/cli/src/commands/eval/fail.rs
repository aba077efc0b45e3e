//! What goes wrong with suites and runs.

use std::path::Path;

use model::{Code, Failure};

/// A suite, or what it names, cannot be used.
pub(super) fn suite(at: &str, why: impl std::fmt::Display) -> Failure {
    Failure::new(Code::Usage, format!("the suite cannot be used: {at}: {why}")).field("SUITE")
}

/// A file of a run cannot be read or written.
pub(super) fn run(path: &Path, why: impl std::fmt::Display) -> Failure {
    Failure::new(Code::PathUnusable, format!("the file {} of the run cannot be used: {why}", path.display()))
}
