//! More disk than was granted.

use crate::support::{Caller, each_caller};

#[test]
fn files_beyond_the_limit_are_refused() {
    let caller = Caller::root();
    for place in ["/workspace", "/home/sandbox"] {
        let attack = format!("fill={place}:200");
        let report = caller.sandbox().option("--disk").option("48m").attack(&[&attack]);
        let how = report.worked(&attack);
        assert!(how["errno"] == "ENOSPC" || how["errno"] == "EDQUOT", "{how}");
        assert!(how["count"].as_u64().is_some_and(|count| count <= 48), "{how}");
    }
}

#[test]
fn within_the_limit_there_is_room() {
    each_caller(|caller| {
        let report = caller.sandbox().option("--disk").option("256m").attack(&["fill=/workspace:64"]);
        assert_eq!(report.worked("fill=/workspace:64")["count"], 64);
    });
}
