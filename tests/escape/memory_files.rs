//! Programs that run from memory: a memory file is not executable unless its maker says so, and whatever runs has the
//! same walls.

use crate::support::{Caller, each_caller};

/// Without root the setting is the administrator's, so only root's sandboxes have it.
#[test]
fn memory_files_are_not_executable_by_default() {
    let caller = Caller::root();
    assert_eq!(caller.sandbox().attack(&["memfd-exec"]).denied("memfd-exec"), "EACCES");
}

/// A program that says so may still be run from memory, as just-in-time tools do; it gains nothing.
#[test]
fn what_runs_from_memory_has_the_same_walls() {
    each_caller(|caller| {
        let report = caller.sandbox().attack(&["memfd-status"]);
        let how = report.worked("memfd-status");
        assert_eq!((&how["NoNewPrivs"], &how["Seccomp"]), (&"1".into(), &"2".into()), "{how}");
    });
}
