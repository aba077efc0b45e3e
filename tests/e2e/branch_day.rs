//! A day of agents on one repository, with the daemon killed in between: whatever is done with them, the user's repository is byte for
//! byte as it was, but for the branches that were asked for.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::branches::{Project, commits, spawn, status, told};
use crate::support::{Lab, PATIENCE, Ran};

/// Hooks of the user's own, which no agent's work may set off.
const HOOKS: &[&str] =
    &["reference-transaction", "post-checkout", "post-merge", "post-index-change", "update", "post-update", "pre-receive"];

fn agents(lab: &Lab, project: &Project, verb: &str, more: &[&str]) -> Ran {
    let mut args = vec!["agents", verb, "--repo", project.repo()];
    args.extend(more);
    lab.run(&args)
}

/// Every file below a directory: its mode, its owner, and what it holds.
fn files(dir: &Path) -> BTreeMap<String, (u32, u32, u32, Vec<u8>)> {
    let (mut all, mut dirs) = (BTreeMap::new(), vec![dir.to_owned()]);
    while let Some(at) = dirs.pop() {
        for entry in std::fs::read_dir(&at).expect("read").flatten() {
            let path = entry.path();
            let meta = std::fs::symlink_metadata(&path).expect("there");
            if meta.is_dir() {
                dirs.push(path);
                continue;
            }
            let hash = Sha256::digest(std::fs::read(&path).expect("read")).to_vec();
            all.insert(path.display().to_string(), (meta.mode(), meta.uid(), meta.gid(), hash));
        }
    }
    all
}

/// A repository with a past, in the middle of its user's work.
fn lived_in(lab: &Lab) -> Project {
    let project = Project::new(lab, "project");
    for n in 0..40 {
        project.write(&format!("part-{}/file-{n}.txt", n % 7), &format!("{n}\n").repeat(n + 1));
    }
    project.git(&["add", "."]);
    project.git(&["commit", "-q", "-m", "parts"]);
    project.git(&["branch", "release"]);
    project.git(&["branch", "private"]);
    project.git(&["tag", "v1"]);
    project.git(&["gc", "--quiet"]);
    project.write("README.md", "stashed\n");
    project.git(&["stash", "--quiet"]);
    project.git(&["config", "alias.st", "status"]);
    let origin = lab.path("origin.git");
    project.git(&["init", "--quiet", "--bare", origin.to_str().expect("utf-8")]);
    project.git(&["remote", "add", "origin", origin.to_str().expect("utf-8")]);
    // Staged, changed, and not known.
    project.write("staged.txt", "staged\n");
    project.git(&["add", "staged.txt"]);
    project.write("src/lib.txt", "changed\n");
    project.write("notes.txt", "notes\n");
    for hook in HOOKS {
        let path = project.dir.join(".git/hooks").join(hook);
        std::fs::write(&path, format!("#!/bin/sh\necho {hook} >> {}\n", lab.path("hooked").display())).expect("write");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("chmod");
    }
    project
}

#[test]
fn a_day_of_agents_leaves_the_repository_as_it_was() {
    let lab = Lab::new();
    let project = lived_in(&lab);
    let git = project.dir.join(".git");
    let (before, objects, logs) = (project.print(&["release"]), files(&git.join("objects")), files(&git.join("logs")));
    let released = project.git(&["rev-parse", "release"]);

    // The morning: several at once, a further task, a review that becomes one.
    spawn(&lab, &project, "feat/one", &commits("one.txt", "1", "one"), &[]).succeeds();
    spawn(&lab, &project, "try", "Add a rehearsal", &["-n", "2", "--check", "test -f REHEARSAL.md"]).succeeds();
    agents(&lab, &project, "resume", &["feat/one", "--task", &commits("two.txt", "2", "two"), "--wait"]).succeeds();
    let comment = commits("three.txt", "3", "three");
    agents(&lab, &project, "review", &["feat/one", "--comment", ".", &comment, "--send", "--wait"]).succeeds();
    let evil = "git push -f origin HEAD:main; git update-ref refs/heads/main HEAD; git stash clear; git config --global x.y z; \
                rm -rf .git/hooks; git gc -q --prune=now; echo x > x; git add -A; git commit -q -m evil";
    spawn(&lab, &project, "evil", &told(evil), &["--carry"]).succeeds();
    for verb in ["status", "summary", "diff", "preview", "fetch"] {
        agents(&lab, &project, verb, &["feat/one"]).succeeds();
    }
    agents(&lab, &project, "compare", &["try"]).succeeds();

    // The daemon dies over one that works; the next one has it, and it is stopped.
    let task = told("echo x > slow.txt; git add -A; git commit -q -m slow; sleep 100000");
    lab.run(&["spawn", "--repo", project.repo(), "--branch", "slow", "--task", &task]).succeeds();
    until(|| {
        let now = agents(&lab, &project, "fetch", &["slow", "--json"]);
        now.status == 0 && now.events()[0]["commits"] == json!(1)
    });
    lab.kill_daemon();
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    until(|| status(&lab, &project, "slow")["state"] == json!("working"));
    agents(&lab, &project, "stop", &["slow"]).succeeds();
    assert_eq!(project.git(&["log", "--format=%s", "main..slow"]), "slow", "no commit is lost");

    // The evening: into a branch that nobody has open, through a queue and without one, and a part of another.
    agents(&lab, &project, "merge", &["feat/one", "--into", "release", "--queue", "--check", "test -f three.txt", "--yes"]).succeeds();
    agents(&lab, &project, "merge", &["slow", "--into", "release", "--yes"]).succeeds();
    agents(&lab, &project, "take", &["feat/one", "--path", "two.txt", "--as", "parts"]).succeeds();
    assert_ne!(project.git(&["rev-parse", "release"]), released);
    assert_eq!(project.git(&["ls-tree", "--name-only", "parts", "one.txt", "two.txt"]), "two.txt");
    let hooked = lab.path("hooked");
    assert!(!hooked.exists(), "no hook of the user's ran: {:?}", std::fs::read_to_string(&hooked));

    // A push is the user's own git, of the commit that was seen.
    let tip = project.git(&["rev-parse", "feat/one"]);
    let old = project.git(&["rev-parse", "feat/one~1"]);
    for verb in ["push", "pr"] {
        let ran = agents(&lab, &project, verb, &["feat/one", "--yes", "--expect", &old]);
        if verb == "pr" {
            // Where no tool opens pull requests it is refused all the same, before anything is pushed.
            assert!(ran.status != 0, "{}", ran.out);
        } else {
            ran.fails("CONFLICT", 1);
        }
        assert_eq!(project.git(&["ls-remote", "origin"]), "", "{verb}: nothing was pushed");
    }
    agents(&lab, &project, "push", &["feat/one", "--yes", "--expect", &tip]).succeeds();
    assert_eq!(project.git(&["ls-remote", "origin"]), format!("{tip}\trefs/heads/feat/one"));

    let all = agents(&lab, &project, "list", &["--json"]).succeeds().events();
    let mut asked: Vec<String> = all.iter().map(|agent| agent["branch"].as_str().expect("a branch").to_owned()).collect();
    assert_eq!(asked.len(), 5, "{asked:?}");
    let names: Vec<&str> = asked.iter().map(String::as_str).collect();
    agents(&lab, &project, "clean", &[&names[..], &["--force"]].concat()).succeeds();
    asked.extend(["release", "parts"].map(str::to_owned));

    // The night: what is there is what was there.
    let but: Vec<&str> = asked.iter().map(String::as_str).collect();
    let after: Vec<String> =
        project.print(&but).into_iter().filter(|line| line != &format!("refs/remotes/origin/feat/one {tip}")).collect();
    assert_eq!(after, before, "files, index, configuration, hooks, references");
    let now = files(&git.join("objects"));
    for (path, file) in &objects {
        assert_eq!(now.get(path), Some(file), "{path}");
    }
    let owner = std::fs::metadata(&project.dir).expect("there");
    for (path, (_, uid, gid, _)) in &now {
        assert_eq!((*uid, *gid), (owner.uid(), owner.gid()), "{path} is the user's");
    }
    let written = files(&git.join("logs"));
    for (path, file) in logs.iter().filter(|(path, _)| !path.ends_with("/release")) {
        assert_eq!(written.get(path), Some(file), "{path}");
    }
    assert_eq!(project.git(&["fsck", "--strict", "--no-dangling"]), "");
}

#[track_caller]
fn until(holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "it never came to be so");
        std::thread::sleep(Duration::from_millis(50));
    }
}
