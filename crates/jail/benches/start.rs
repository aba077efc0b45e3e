//! How long a sandbox takes from nothing to gone, with `true` run in it: every layer, and every limit.
//!
//! Run as root, with a static probe as the real guest is:
//! `RUSTFLAGS=-Ctarget-feature=+crt-static cargo bench -p lazaret-jail --target x86_64-unknown-linux-gnu [-- COUNT]`.

use std::time::{Duration, Instant};

use lazaret_jail as jail;

#[path = "../tests/it/support.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod support;

fn main() {
    let count = std::env::args().skip(1).find_map(|a| a.parse().ok()).unwrap_or(200);
    let driver = jail::cgroup::Driver::detect("bench");
    let limits = jail::cgroup::GroupLimits { memory_bytes: Some(1 << 30), cpu_millis: Some(1000), pids: Some(256) };
    let mut case = support::Case::new(false);
    print("layer on disk", count, || {
        case.fresh_layer();
        run(&case);
    });
    print("of that, its directories", count, || case.fresh_layer());
    case.spec.root.upper = jail::Upper::Tmpfs { bytes: 64 << 20 };
    print("layer in memory", count, || run(&case));
    print("of that, groups", count, || {
        let group = driver.create("bench", &limits).expect("groups");
        group.remove().expect("removed");
    });
    print("both: all layers and limits", count, || {
        let group = driver.create("bench", &limits).expect("groups");
        case.spec.cgroup = Some(group.join());
        run(&case);
        group.remove().expect("removed");
    });
    case.spec.cgroup = None;
    case.spec.walls.seccomp = false;
    print("in memory without seccomp", count, || run(&case));
    case.spec.walls.landlock = false;
    print("and without landlock", count, || run(&case));
    case.spec.walls.proc = false;
    print("and with all of /proc", count, || run(&case));
    case.spec.walls.network = false;
    print("and without network", count, || run(&case));
    let mut rootless = support::Case::new(true);
    rootless.spec.root.upper = jail::Upper::Tmpfs { bytes: 64 << 20 };
    print("rootless, layer in memory", count, || run(&rootless));
}

fn run(case: &support::Case) {
    let outcome = case.run(&["true"]);
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
}

#[expect(clippy::print_stdout, reason = "it is what a measurement is for")]
fn print(name: &str, count: u32, mut work: impl FnMut()) {
    let mut times: Vec<Duration> = (0..count + 10)
        .map(|_| {
            let begin = Instant::now();
            work();
            begin.elapsed()
        })
        .skip(10)
        .collect();
    times.sort_unstable();
    let at = |share: usize| times[(times.len() - 1) * share / 100].as_secs_f64() * 1000.0;
    println!("{name:28} min {:.2} ms  median {:.2}  p99 {:.2}", at(0), at(50), at(99));
}
