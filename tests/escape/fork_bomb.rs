//! Processes without end.

use std::time::Instant;

use crate::support::{PATIENCE, each_caller};

/// Without root the kernel counts the threads of the sandbox's user, and lets a few more in than the number says.
const OWN: u64 = 4;

#[test]
fn a_flood_of_processes_meets_its_limit() {
    each_caller(|caller| {
        let report = caller.sandbox().option("--pids").option("64").attack(&["fork-bomb=4000"]);
        let how = report.worked("fork-bomb=4000");
        assert_eq!(how["errno"], "EAGAIN", "{how}");
        assert!(how["count"].as_u64().is_some_and(|count| count <= 64 + OWN), "{how}");
    });
}

#[test]
fn a_higher_limit_allows_more() {
    each_caller(|caller| {
        let report = caller.sandbox().option("--pids").option("400").attack(&["fork-bomb=200"]);
        assert_eq!(report.worked("fork-bomb=200")["count"], 200);
    });
}

/// While one sandbox floods, the host starts processes and a second sandbox runs.
#[test]
fn host_and_neighbour_stay_responsive() {
    each_caller(|caller| {
        std::thread::scope(|scope| {
            let bomb = scope.spawn(|| {
                let script = "b() { b | b & }; b 2>/dev/null; sleep 1";
                caller.sandbox().option("--pids").option("64").option("--timeout").option("3s").run(&["/bin/sh", "-c", script])
            });
            let began = Instant::now();
            let report = caller.sandbox().attack(&["fork-bomb=10"]);
            assert_eq!(report.worked("fork-bomb=10")["count"], 10);
            assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
            drop(bomb.join());
        });
    });
}
