//! Control groups: v1 for real, v2 against a tree that stands in.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::jail::cgroup::{CgroupError, Driver, Group, GroupLimits};
use crate::support::Case;

/// Groups that are gone when the test ends, however it ends.
struct Held(Group);

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.0.kill_all();
        let _ = self.0.remove();
    }
}

fn driver() -> Driver {
    let driver = Driver::detect("it");
    for name in ["memory", "cpu", "pids"] {
        assert!(driver.has(name), "this test needs the {name} controller (as root, with /sys/fs/cgroup mounted)");
    }
    driver
}

fn sandbox(name: &str, limits: GroupLimits) -> (Case, Held) {
    let group = Held(driver().create(&format!("{name}-{}", std::process::id()), &limits).expect("groups"));
    let mut case = Case::new(false);
    case.spec.cgroup = Some(group.0.join());
    (case, group)
}

#[test]
fn memory_bites_the_command_and_not_the_guest() {
    let (case, group) = sandbox("memory", GroupLimits { memory_bytes: Some(32 << 20), ..GroupLimits::default() });
    let script = "python3 -c 'x=bytearray(200<<20); print(len(x))' >/dev/null 2>&1; echo $?";
    assert_eq!(case.sh(script).ok(), "137");
    let stats = group.0.stats();
    assert!(stats.oom_kills >= 1 && stats.memory_peak_bytes <= 32 << 20, "{stats:?}");
    let (case, _group) = sandbox("memory-wide", GroupLimits { memory_bytes: Some(1 << 30), ..GroupLimits::default() });
    assert_eq!(case.sh(script).ok(), "0", "it fits without the limit");
}

#[test]
fn processes_are_counted() {
    let (case, group) = sandbox("pids", GroupLimits { pids: Some(10), ..GroupLimits::default() });
    assert_eq!(case.sh("cut -d: -f3 /proc/self/cgroup | sort -u").ok(), "/\n/commands", "no name of the host's");
    case.fresh_layer();
    let script = "for i in $(seq 20); do sleep 1000 & done 2>/dev/null; echo no";
    let out = case.sh(&format!("({script}) 2>&1; kill -9 -1"));
    assert!(out.out.contains("fork") || group.0.stats().pids_refused > 0, "{out:?} {:?}", group.0.stats());
    assert!(group.0.stats().pids_peak <= 10);
}

#[test]
fn processor_time_is_shared() {
    let (case, _group) = sandbox("cpu", GroupLimits { cpu_millis: Some(100), ..GroupLimits::default() });
    // Half a second of work at a tenth of a processor takes about five.
    let script = "python3 -c 'import time; e=time.process_time()+0.2\nwhile time.process_time()<e: pass\nprint(time.monotonic())'";
    let begin = std::time::Instant::now();
    assert_eq!(case.sh(script).status, Some(0));
    assert!(begin.elapsed() > Duration::from_secs(1), "{:?}", begin.elapsed());
}

#[test]
fn everything_is_killed_and_gone() {
    // Above what it starts: a shell that cannot fork any more ends by itself.
    let (case, group) = sandbox("kill", GroupLimits { pids: Some(64), ..GroupLimits::default() });
    std::thread::scope(|scope| {
        // Forks as fast as it can, in sessions of its own, deaf to what can be ignored.
        let script = "trap '' TERM HUP INT; f() { setsid sh -c 'trap \"\" TERM; sleep 1000' & }; \
                      i=0; while [ $i -lt 20 ]; do f; i=$((i+1)); done; wait";
        let running = scope.spawn(|| case.sh(script));
        while group.0.stats().pids < 20 {
            assert!(!running.is_finished(), "it ended before it had started them all");
            std::thread::yield_now();
        }
        group.0.kill_commands().expect("killed");
        let outcome = running.join().expect("ended");
        // The killing forbids to fork first, and a shell that is at it ends by itself then.
        let is_killed = outcome.status == Some(137) || (outcome.status == Some(2) && outcome.err.contains("Cannot fork"));
        assert!(is_killed, "the guest lived on to tell: {outcome:?}");
    });
    group.0.kill_all().expect("killed");
    group.0.remove().expect("removed");
    group.0.remove().expect("twice is once");
}

#[test]
fn groups_are_found_again() {
    let driver = driver();
    let name = format!("left-{}", std::process::id());
    driver.create(&name, &GroupLimits { pids: Some(5), memory_bytes: Some(1 << 20), cpu_millis: Some(1) }).expect("made");
    assert!(driver.list().contains(&name));
    driver.open(&name).expect("found").remove().expect("removed");
    assert!(driver.open(&name).is_none() && !driver.list().contains(&name));
    for bad in ["", "..", "a/b", ".x", "a\0"] {
        assert!(matches!(driver.create(bad, &GroupLimits::default()), Err(CgroupError::Name)), "{bad:?}");
    }
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn v2_files_are_written_as_the_kernel_wants_them() {
    let dir = tempfile::tempdir().expect("directory");
    let root = dir.path();
    fs::write(root.join("cgroup.controllers"), "cpuset cpu io memory pids\n").expect("file");
    fs::write(root.join("cgroup.subtree_control"), "").expect("file");
    let driver = Driver::at(root, "", "x");
    assert_eq!((driver.version(), driver.has("memory"), driver.has("cpu"), driver.has("pids")), ("v2", true, true, true));
    let group = driver.create("a", &GroupLimits { memory_bytes: Some(4096), cpu_millis: Some(1500), pids: Some(7) }).expect("made");
    let group_path = root.join("lazaret-x.a");
    for path in [root.to_owned(), group_path.clone()] {
        assert_eq!(text(&path.join("cgroup.subtree_control")), "+pids +memory +cpu");
    }
    let commands = group_path.join("commands");
    for (file, expect) in
        [("memory.max", "4096"), ("memory.swap.max", "0"), ("memory.oom.group", "1"), ("pids.max", "7"), ("cpu.max", "150000 100000")]
    {
        assert_eq!(text(&commands.join(file)), expect, "{file}");
    }
    let join = group.join();
    assert_eq!(join.guest, [group_path.join("guest/cgroup.procs")], "no process beside groups with limits");
    assert_eq!(join.commands, [commands.join("cgroup.procs")]);
    for (file, value) in [
        ("memory.current", "10"),
        ("memory.peak", "20"),
        ("memory.events", "low 0\noom 2\noom_kill 1\n"),
        ("cpu.stat", "usage_usec 3000\n"),
    ] {
        fs::write(commands.join(file), value).expect("file");
    }
    let stats = group.stats();
    assert_eq!((stats.memory_bytes, stats.memory_peak_bytes, stats.oom_kills, stats.cpu), (10, 20, 1, Duration::from_millis(3)));
    fs::write(commands.join("cgroup.kill"), "0").expect("file");
    group.kill_commands().expect("nobody is there");
    assert_eq!(text(&commands.join("cgroup.kill")), "1");
    assert_eq!(text(&commands.join("pids.max")), "7", "commands may start again");
    assert_eq!(driver.list(), ["a"]);
    assert!(Driver::at(root, "", "other").list().is_empty(), "another installation's are not its own");
}

#[test]
fn v2_below_a_group_that_was_handed_over() {
    let dir = tempfile::tempdir().expect("directory");
    let root = dir.path();
    fs::write(root.join("cgroup.controllers"), "cpu memory pids\n").expect("file");
    let own = "user.slice/user@1.service/app.slice";
    fs::create_dir_all(root.join(own)).expect("directories");
    let handed = root.join("user.slice/user@1.service");
    fs::write(handed.join("cgroup.controllers"), "memory pids\n").expect("file");
    fs::write(handed.join("cgroup.subtree_control"), "").expect("file");
    let driver = Driver::at(root, own, "x");
    assert!(driver.has("memory") && driver.has("pids") && !driver.has("cpu"));
    let limits = GroupLimits { cpu_millis: Some(1), ..GroupLimits::default() };
    assert!(matches!(driver.create("a", &limits), Err(CgroupError::Controller { controller: "cpu" })));
    driver.create("a", &GroupLimits { pids: Some(1), ..GroupLimits::default() }).expect("made");
    assert!(handed.join("lazaret-x.a/commands").is_dir());
}

#[test]
fn nothing_is_claimed_where_nothing_can_be_had() {
    let dir = tempfile::tempdir().expect("directory");
    let driver = Driver::at(dir.path(), "", "x");
    assert!(!driver.has("memory") && driver.list().is_empty() && driver.open("a").is_none());
    let limits = GroupLimits { memory_bytes: Some(1), ..GroupLimits::default() };
    assert!(matches!(driver.create("a", &limits), Err(CgroupError::Controller { controller: "memory" })));
}
