//! The whole job as an ordinary user of the machine.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::{Ran, comes};

/// A user that exists as long as the test.
struct User {
    name: String,
    id: u32,
    dir: PathBuf,
}

impl User {
    fn new() -> Self {
        assert!(rustix::process::geteuid().is_root(), "this test makes a user, and needs root for that");
        let name = format!("lz-e2e-{}", std::process::id());
        let dir = std::env::temp_dir().join(format!("lazaret-e2e-home-{}", std::process::id()));
        let useradd = || {
            let mut command = Command::new("useradd");
            command.args(["--no-create-home", "--shell", "/bin/sh", "--home-dir"]).arg(&dir).arg(&name).output().expect("useradd")
        };
        // Somebody else may change the list of users just now.
        let mut added = useradd();
        assert!(
            comes(|| added.status.success() || {
                added = useradd();
                added.status.success()
            }),
            "{added:?}"
        );
        let passwd = std::fs::read_to_string("/etc/passwd").expect("the users");
        let line = passwd.lines().find(|l| l.starts_with(&format!("{name}:"))).expect("the user is listed").to_owned();
        let id = line.split(':').nth(2).and_then(|id| id.parse().ok()).expect("a number");
        std::fs::create_dir(&dir).expect("make a home");
        let user = Self { name, id, dir };
        // A build directory may be closed to others.
        std::fs::copy(env!("CARGO_BIN_EXE_lazaret"), user.dir.join("lazaret")).expect("copy");
        user.own(&user.dir);
        user.own(&user.dir.join("lazaret"));
        user
    }

    fn own(&self, path: &Path) {
        std::os::unix::fs::chown(path, Some(self.id), Some(self.id)).expect("chown");
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(self.dir.join("lazaret"));
        command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", &self.dir).current_dir(&self.dir).args(args);
        command.stdin(Stdio::null()).uid(self.id).gid(self.id);
        command
    }

    fn run(&self, args: &[&str]) -> Ran {
        Ran::of(self.command(args), None)
    }

    fn processes(&self) -> Vec<String> {
        use std::os::unix::fs::MetadataExt;
        let mine = |pid: &std::fs::DirEntry| std::fs::metadata(pid.path()).is_ok_and(|m| m.uid() == self.id);
        let all = std::fs::read_dir("/proc").expect("read /proc").flatten().filter(mine);
        // What has ended and only waits to be reaped has no command line any more.
        all.map(|pid| std::fs::read_to_string(pid.path().join("cmdline")).unwrap_or_default()).filter(|line| !line.is_empty()).collect()
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let _ = self.command(&["stop", "--grace", "0s"]).output();
        let removed = std::fs::remove_dir_all(&self.dir);
        let userdel = || Command::new("userdel").arg(&self.name).output().is_ok_and(|gone| gone.status.success());
        if std::thread::panicking() {
            userdel();
            return;
        }
        removed.expect("remove the home");
        // A user goes when the last process is reaped, and when nobody else changes the list of users.
        assert!(comes(userdel), "the user stays");
    }
}

#[test]
fn an_ordinary_user_runs_the_whole_job() {
    let user = User::new();
    let ran = user.run(&["run", "--json", "count the boats"]).succeeds();
    let events = ran.events();
    assert!(events.iter().any(|e| e["type"] == "tool_result"), "{}", ran.out);
    let result = ran.result();
    assert_eq!(result["status"], "completed");
    let level = &result["level"];
    assert_eq!(level["mode"], "rootless", "{level}");
    let lines = level["lines"].as_array().expect("lines");
    let missing: Vec<_> = lines.iter().filter(|l| l["holds"] == false).collect();
    assert!(missing.iter().all(|l| l["how"].as_str().is_some_and(|how| !how.is_empty())), "what is missing says why: {level}");
    for name in ["user", "pid", "mount", "network", "seccomp"] {
        assert!(lines.iter().any(|l| l["name"] == name && l["holds"] == true), "no {name} in {level}");
    }
    // What root alone can set is named as missing, and nothing else is.
    let names: Vec<&str> = missing.iter().filter_map(|l| l["name"].as_str()).collect();
    assert!(!names.is_empty() && names.iter().all(|n| ["memory", "cpu", "disk", "cgroup", "uids", "tasks"].contains(n)), "{names:?}");

    let session = result["session"].as_str().expect("a session").to_owned();
    user.run(&["run", "--resume", &session, "and again"]).succeeds();
    let work = user.dir.join("work");
    std::fs::create_dir(&work).expect("make");
    user.own(&work);
    user.run(&["run", "--workspace", work.to_str().expect("utf-8"), "in a directory"]).succeeds();
    let words = user.run(&["run", "hello to people"]).succeeds();
    assert!(words.err.contains("without"), "the terminal says what is missing too: {}", words.err);
    user.run(&["sandbox", "run", "--", "sh", "-c", "test $(id -u) = 1000"]).succeeds();
    user.run(&["sandbox", "run", "--timeout", "1s", "--", "sleep", "30"]).fails("TIMEOUT", 4);
    user.run(&["stop", "--grace", "0s"]).succeeds();
    assert!(comes(|| user.processes().is_empty()), "of the user's runs on: {:?}", user.processes());
}
