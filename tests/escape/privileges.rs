//! What holds for every process inside, also for one that was started again and again: no capability, no way to gain
//! one, the filter.

use serde_json::Value;

use crate::support::each_caller;

fn check(how: &Value) {
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(how[set], "0000000000000000", "{set}: {how}");
    }
    assert_eq!((&how["NoNewPrivs"], &how["Seccomp"]), (&"1".into(), &"2".into()), "{how}");
    assert_eq!(how["Uid"], "1000\t1000\t1000\t1000", "{how}");
    assert_eq!(how["Gid"], "1000\t1000\t1000\t1000", "{how}");
}

#[test]
fn nobody_has_a_privilege() {
    each_caller(|caller| {
        let report = caller.sandbox().attack(&["status", "status-after-exec"]);
        check(report.worked("status"));
        check(report.worked("status-after-exec"));
    });
}

#[test]
fn without_the_walls_it_shows() {
    each_caller(|caller| {
        let open = caller.without("seccomp").attack(&["status"]);
        assert_eq!(open.worked("status")["Seccomp"], "0");
        let open = caller.without("privileges").attack(&["status"]);
        let how = open.worked("status");
        assert_eq!(how["NoNewPrivs"], "0", "{how}");
        // Root keeps its capabilities over a new program, an ordinary user keeps none but in its own namespace.
        assert_eq!(how["CapEff"] != "0000000000000000", caller.is_root(), "{how}");
    });
}

/// As root, a sandbox is a host user of its own, and each sandbox another.
#[test]
fn each_sandbox_is_a_user_of_its_own() {
    let caller = crate::support::Caller::root();
    let mut seen = Vec::new();
    for _ in 0..2 {
        let report = caller.sandbox().attack(&["read=/proc/self/uid_map"]);
        let map = report.worked("read=/proc/self/uid_map").as_str().expect("a map").to_owned();
        let words: Vec<u64> = map.split_whitespace().map(|w| w.parse().expect("a number")).collect();
        // One user inside, who is not root outside.
        assert_eq!((words.len(), words[0], words[2]), (3, 1000, 1), "{map}");
        assert!(words[1] > 65_535, "{map}");
        seen.push(words[1]);
    }
}
