//! More memory than was granted.

use crate::support::{Caller, each_caller};

/// As root the limit is required; without root it is preferred, and where it cannot be had the level says so.
#[test]
fn memory_beyond_the_limit_ends_the_process() {
    let caller = Caller::root();
    let report = caller.sandbox().option("--memory").option("64m").attack(&["memory=200"]);
    assert_eq!(report.denied("memory=200"), "SIGKILL");
}

#[test]
fn memory_within_the_limit_is_there() {
    each_caller(|caller| {
        let report = caller.sandbox().option("--memory").option("256m").attack(&["memory=100"]);
        assert_eq!(report.worked("memory=100"), 100);
    });
}

/// Temporary files are memory: their file systems are sized, and count against the same limit.
#[test]
fn temporary_files_are_bounded() {
    each_caller(|caller| {
        for place in ["/tmp", "/dev/shm"] {
            let attack = format!("fill={place}:1500");
            let report = caller.sandbox().option("--memory").option("2g").attack(&[&attack]);
            let how = report.worked(&attack);
            assert_eq!(how["errno"], "ENOSPC", "{how}");
        }
    });
}
