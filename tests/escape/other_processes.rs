//! Processes of the host and of other sandboxes: not seen, not signalled, not traced.

use std::process::{Child, Command};

use crate::support::{Caller, each_caller, within};

#[test]
fn only_the_sandboxs_processes_are_seen() {
    each_caller(|caller| {
        let own = std::process::id();
        let (read, kill) = (format!("read=/proc/{own}/cmdline"), format!("signal={own}"));
        let report = caller.sandbox().attack(&["processes", &read, &kill]);
        let seen = report.worked("processes").as_object().expect("processes").clone();
        // The first process, the probe, and the child that attacks.
        assert!(seen.len() <= 4 && seen.keys().all(|pid| pid.len() < 4), "{seen:?}");
        assert_eq!((report.denied(&read), report.denied(&kill)), ("ENOENT", "ESRCH"));
    });
}

#[test]
fn without_the_wall_the_host_is_seen() {
    each_caller(|caller| {
        let own = std::process::id();
        let report = caller.without("pids,proc,landlock").attack(&["processes"]);
        assert!(report.worked("processes").as_object().expect("processes").contains_key(&own.to_string()), "{report:?}");
    });
}

#[test]
fn the_first_process_cannot_be_killed_or_traced() {
    each_caller(|caller| {
        let attacks = ["signal-init", "ptrace-init", "read-init-memory", "getfd-init"];
        caller.sandbox().attack(&attacks).all_denied(&attacks, "EPERM");
    });
}

/// Two sandboxes of one caller at once: each sees itself alone.
#[test]
fn a_neighbour_is_not_seen() {
    each_caller(|caller| {
        let mark = format!("neighbour-{}-{}", caller.uid, std::process::id());
        let dir = caller.dir("meet");
        let given = format!("{}:/home/sandbox/meet:rw", dir.display());
        let first = caller.sandbox().option("--mount").option(&given);
        std::thread::scope(|scope| {
            let script = format!(": {mark}; touch /home/sandbox/meet/up; while [ ! -e /home/sandbox/meet/done ]; do sleep 0.05; done");
            let neighbour = scope.spawn(move || first.run(&["/bin/sh", "-c", &script]));
            assert!(within(crate::support::PATIENCE, || dir.join("up").exists()), "the neighbour did not start");
            let report = caller.sandbox().attack(&["processes"]);
            std::fs::write(dir.join("done"), "").expect("let the neighbour end");
            assert!(neighbour.join().expect("a run").status.success());
            assert!(!report.worked("processes").to_string().contains(&mark), "{report:?}");
        });
    });
}

/// A process of the same caller on the host, which the kernel would let the caller's processes kill.
struct Bystander(Child);

impl Bystander {
    fn start(caller: &Caller) -> Self {
        let mut command = Command::new("/bin/sleep");
        command.arg("600");
        caller.dress(&mut command);
        Self(command.spawn().expect("start a bystander"))
    }

    fn is_alive(&mut self) -> bool {
        self.0.try_wait().expect("look at the bystander").is_none()
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn killing_everything_kills_only_the_sandbox() {
    each_caller(|caller| {
        let mut bystander = Bystander::start(caller);
        let output = caller.sandbox().run(&["/bin/sh", "-c", "sleep 1000 & kill -KILL -1; kill -KILL $$"]);
        assert_eq!(output.status.code(), Some(128 + 9), "{output:?}");
        assert!(bystander.is_alive());
    });
}

/// With the walls gone, the bystander can be signalled: by root whoever it is, by a user when it is his own.
#[test]
fn without_the_walls_a_bystander_can_be_signalled() {
    each_caller(|caller| {
        let bystander = Bystander::start(caller);
        let attack = format!("signal={}", bystander.0.id());
        assert_eq!(caller.sandbox().attack(&[&attack]).denied(&attack), "ESRCH");
        // The scope of landlock is a second wall.
        assert_eq!(caller.without("pids,proc,privileges").attack(&[&attack]).denied(&attack), "EPERM");
        caller.without("pids,proc,privileges,landlock").attack(&[&attack]).worked(&attack);
    });
}
