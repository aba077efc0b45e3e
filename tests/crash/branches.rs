//! A daemon that dies over an agent on a branch: no commit is lost, none comes twice, and the user's repository is whole.

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::scene::{Running, daemon, dies, is_up, up_or_over};
use crate::support::{Lab, comes};
use crate::world;

macro_rules! points {
    ($($test:ident: $point:literal, $scene:ident;)*) => {
        /// Every point that is tried here.
        pub(crate) const TRIED: &[&str] = &[$($point),*];
        $(#[test] fn $test() { $scene($point); })*
    };
}

points! {
    mirror_filled: "branch:mirror-filled", spawned;
    base_frozen: "branch:base-frozen", spawned;
    cloned: "branch:cloned", spawned;
    made: "branch:made", spawned;
    asked: "branch:asked", spawned;
    packed: "branch:packed", spawned;
    received: "branch:received", spawned;
    checked: "branch:checked", spawned;
    objects_home: "branch:objects-home", spawned;
    home: "branch:home", spawned;
    noted: "branch:noted", spawned;
    store_create_before: "store.branch-create.before", spawned;
    store_create_after: "store.branch-create.after", spawned;
    store_home_before: "store.branch-home.before", spawned;
    store_home_after: "store.branch-home.after", spawned;
    merge_given: "branch:merge-given", merged;
    merge_files: "branch:merge-files", merged;
    merge_done: "branch:merged", merged;
    repos_noted: "branch:repos-noted", spawned_in_two;
    merge_noted: "branch:merge-noted", merged_in_two;
    merge_next: "branch:merge-next", merged_in_two;
    store_update_before: "store.branch-update.before", merged;
    store_update_after: "store.branch-update.after", merged;
    review_asked: "branch:review-asked", reviewed;
    store_comment_before: "store.branch-comment.before", reviewed;
    store_comment_after: "store.branch-comment.after", reviewed;
    store_comment_before_of_the_sending: "store.branch-comment.before@2", reviewed;
    queue_made: "queue:made", queued;
    queue_passed: "queue:passed", queued;
    queue_given: "branch:merge-given", queued;
    queue_files: "branch:merge-files", queued;
    queue_moved: "queue:moved", queued;
    queue_moved_of_the_second: "queue:moved@2", queued;
    queue_noted: "queue:noted", queued;
    queue_asked: "queue:asked", resolved;
    queue_passed_in_two: "queue:passed", queued_in_two;
    queue_merge_next: "branch:merge-next", queued_in_two;
    queue_moved_in_two: "queue:moved", queued_in_two;
    store_queue_before: "store.merge-queue.before", queued;
    store_queue_after: "store.merge-queue.after", queued;
    store_queue_before_of_the_passing: "store.merge-queue.before@2", queued;
    store_queue_before_of_the_end: "store.merge-queue.before@6", queued;
    tree_noted: "branch:tree-noted", worktree;
    forgotten: "branch:forgotten", cleaned;
    store_delete_before: "store.branch-delete.before", cleaned;
    store_delete_after: "store.branch-delete.after", cleaned;
}

/// The branch that is worked on.
const BRANCH: &str = "feat/x";

pub(crate) struct Project {
    dir: PathBuf,
}

impl Project {
    pub(crate) fn new(lab: &Lab) -> Self {
        Self::called(lab, "project")
    }

    fn called(lab: &Lab, name: &str) -> Self {
        let project = Self { dir: lab.path(name) };
        std::fs::create_dir(&project.dir).expect("make");
        project.git(&["init", "--quiet", "--initial-branch=main", "."]);
        std::fs::write(project.dir.join("a.txt"), "a\n").expect("write");
        project.git(&["add", "."]);
        project.git(&["commit", "--quiet", "-m", "first"]);
        project
    }

    #[track_caller]
    pub(crate) fn git(&self, args: &[&str]) -> String {
        let mut git = Command::new("git");
        git.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", "/nonexistent").env("GIT_CONFIG_NOSYSTEM", "1");
        for name in ["GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"] {
            git.env(name, "user");
        }
        let out = git.current_dir(&self.dir).args(args).output().expect("run git");
        assert!(out.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).trim_end().to_owned()
    }

    pub(crate) fn repo(&self) -> &str {
        self.dir.to_str().expect("utf-8")
    }

    /// What the branch has beyond main, and that the repository is whole.
    #[track_caller]
    fn subjects(&self) -> String {
        self.git(&["fsck", "--strict", "--no-dangling"]);
        self.git(&["log", "--reverse", "--format=%s", &format!("main..{BRANCH}")])
    }
}

/// A task that commits a file of this name.
fn task(name: &str) -> String {
    let command = format!("echo {name} >> {name}.txt; git add -A; git commit -q -m {name}");
    format!("do it\ncall bash {}", json!({ "command": command }))
}

fn spawn(project: &Project, name: &str) -> Vec<String> {
    ["spawn", "--repo", project.repo(), "--branch", BRANCH, "--task", &task(name), "--wait", "--json"].map(str::to_owned).into()
}

fn run(lab: &Lab, args: &[String]) -> crate::support::Ran {
    lab.run(&args.iter().map(String::as_str).collect::<Vec<_>>())
}

#[track_caller]
fn status(lab: &Lab, project: &Project) -> Value {
    lab.run(&["agents", "status", "--json", "--repo", project.repo(), "--branch", BRANCH]).succeeds().events().remove(0)
}

/// The client stays and the next daemon takes the work up: one turn, one commit, at home.
fn spawned(point: &str) {
    let lab = Lab::new();
    let project = Project::new(&lab);
    let mut first = daemon(&lab, Some(point));
    let args = spawn(&project, "one");
    let mut client = Running::start(&lab, &args.iter().map(String::as_str).collect::<Vec<_>>());
    dies(&mut first, point);
    up_or_over(&lab, &mut client, point);
    client.ends(point).succeeds();
    let agent = status(&lab, &project);
    assert_eq!((&agent["state"], &agent["turns"], &agent["commits"]), (&json!("done"), &json!(1), &json!(1)), "{point}: {agent}");
    assert_eq!(project.subjects(), "one", "{point}");
    // It can be gone on with.
    run(&lab, &spawn(&project, "two")).succeeds();
    assert_eq!(project.subjects(), "one\ntwo", "{point}");
    assert_eq!(status(&lab, &project)["turns"], json!(2), "{point}");
    world::ends(&lab, point);
}

/// Commits the same in the first repository and in the one beside it.
fn spawn_in_two(project: &Project, lib: &Project, name: &str) -> Vec<String> {
    let commit = format!("echo {name} >> {name}.txt; git add -A; git commit -q -m {name}");
    let task = format!("do it\ncall bash {}", json!({ "command": format!("{commit}; cd ~/repos/lib; {commit}") }));
    let args = ["spawn", "--repo", project.repo(), "--repo", lib.repo(), "--branch", BRANCH, "--task", &task, "--wait", "--json"];
    args.map(str::to_owned).into()
}

/// The same over two repositories: each has the commit once.
fn spawned_in_two(point: &str) {
    let lab = Lab::new();
    let (project, lib) = (Project::new(&lab), Project::called(&lab, "lib"));
    let mut first = daemon(&lab, Some(point));
    let args = spawn_in_two(&project, &lib, "one");
    let mut client = Running::start(&lab, &args.iter().map(String::as_str).collect::<Vec<_>>());
    dies(&mut first, point);
    up_or_over(&lab, &mut client, point);
    client.ends(point).succeeds();
    let agent = status(&lab, &project);
    assert_eq!((&agent["commits"], &agent["also"][0]["commits"]), (&json!(1), &json!(1)), "{point}: {agent}");
    assert_eq!((project.subjects(), lib.subjects()), ("one".to_owned(), "one".to_owned()), "{point}");
    world::ends(&lab, point);
}

/// A merge into two repositories that was begun is ended by the next daemon, asked by nobody.
fn merged_in_two(point: &str) {
    let lab = Lab::new();
    let (project, lib) = (Project::new(&lab), Project::called(&lab, "lib"));
    run(&lab, &spawn_in_two(&project, &lib, "one")).succeeds();
    lab.run(&["stop", "--grace", "0s"]).succeeds();
    assert!(!is_up(&lab), "{point}");
    again(&lab, point, &["agents", "merge", "--repo", project.repo(), BRANCH, "--yes"]);
    assert!(comes(|| status(&lab, &project)["merged_into"] == json!("main")), "{point}: {}", status(&lab, &project));
    for repo in [&project, &lib] {
        assert_eq!(repo.git(&["rev-parse", "main"]), repo.git(&["rev-parse", BRANCH]), "{point}");
        assert_eq!(repo.git(&["status", "--porcelain"]), "", "{point}");
        assert_eq!(std::fs::read_to_string(repo.dir.join("one.txt")).expect("merged"), "one\n", "{point}");
    }
    let agent = status(&lab, &lib);
    assert_eq!((&agent["also"][0]["merged_into"], &agent["note"]), (&json!("main"), &Value::Null), "{point}: {agent}");
    world::ends(&lab, point);
}

/// An agent that is over, with no daemon.
fn over(lab: &Lab, project: &Project, point: &str) {
    run(lab, &spawn(project, "one")).succeeds();
    lab.run(&["stop", "--grace", "0s"]).succeeds();
    assert!(!is_up(lab), "{point}");
}

/// Does something over the daemon's death, and again with the next one.
fn again(lab: &Lab, point: &str, args: &[&str]) -> i32 {
    let mut first = daemon(lab, Some(point));
    let status = lab.run(args).status;
    dies(&mut first, point);
    status
}

fn merged(point: &str) {
    let lab = Lab::new();
    let project = Project::new(&lab);
    over(&lab, &project, point);
    let args = ["agents", "merge", "--repo", project.repo(), BRANCH, "--yes"];
    again(&lab, point, &args);
    lab.run(&args).succeeds();
    assert_eq!(project.git(&["rev-parse", "main"]), project.git(&["rev-parse", BRANCH]), "{point}");
    assert_eq!(project.git(&["status", "--porcelain"]), "", "{point}");
    assert_eq!(std::fs::read_to_string(project.dir.join("one.txt")).expect("merged"), "one\n", "{point}");
    assert_eq!(project.subjects(), "", "{point}");
    world::ends(&lab, point);
}

/// An agent on another branch, whose work is over.
fn beside(lab: &Lab, project: &Project, branch: &str, task: &str) {
    lab.run(&["spawn", "--repo", project.repo(), "--branch", branch, "--task", task, "--wait"]).succeeds();
}

/// A queue goes on with the next daemon where the last one died: each commit is there once, in a line.
fn queued(point: &str) {
    let lab = Lab::new();
    let project = Project::new(&lab);
    beside(&lab, &project, "feat/y", &task("two"));
    over(&lab, &project, point);
    let mut first = daemon(&lab, Some(point));
    let args = ["agents", "merge", "--repo", project.repo(), BRANCH, "feat/y", "--queue", "--check", "test -f a.txt", "--yes"];
    let mut client = Running::start(&lab, &args);
    dies(&mut first, point);
    up_or_over(&lab, &mut client, point);
    client.ends(point).succeeds();
    assert_eq!(project.git(&["log", "--format=%s", "main"]), "two\none\nfirst", "{point}");
    assert_eq!(project.git(&["log", "--merges", "--format=%s", "main"]), "", "{point}");
    assert_eq!(project.git(&["status", "--porcelain"]), "", "{point}");
    let queues = lab.run(&["agents", "queue", "--json", "--repo", project.repo()]).succeeds().events();
    assert_eq!((queues.len(), &queues[0]["state"]), (1, &json!("done")), "{point}: {queues:?}");
    for branch in [BRANCH, "feat/y"] {
        lab.run(&["agents", "clean", "--repo", project.repo(), "--delete-branch", branch]).succeeds();
    }
    world::ends(&lab, point);
}

/// The same with an agent of two repositories: what is merged in one is merged in the other.
fn queued_in_two(point: &str) {
    let lab = Lab::new();
    let (project, lib) = (Project::new(&lab), Project::called(&lab, "lib"));
    run(&lab, &spawn_in_two(&project, &lib, "one")).succeeds();
    lab.run(&["stop", "--grace", "0s"]).succeeds();
    assert!(!is_up(&lab), "{point}");
    std::fs::write(lib.dir.join("b.txt"), "b\n").expect("write");
    lib.git(&["add", "."]);
    lib.git(&["commit", "--quiet", "-m", "user"]);
    let mut first = daemon(&lab, Some(point));
    let check = "test -f one.txt && cd /home/sandbox/repos/lib && test -f one.txt && test -f b.txt";
    let mut client = Running::start(&lab, &["agents", "merge", "--repo", project.repo(), BRANCH, "--queue", "--check", check, "--yes"]);
    dies(&mut first, point);
    up_or_over(&lab, &mut client, point);
    client.ends(point).succeeds();
    assert_eq!(project.git(&["log", "--format=%s", "main"]), "one\nfirst", "{point}");
    assert_eq!(lib.git(&["log", "--format=%s", "main"]), "one\nuser\nfirst", "{point}");
    for repo in [&project, &lib] {
        assert_eq!(repo.git(&["status", "--porcelain"]), "", "{point}");
    }
    let agent = status(&lab, &lib);
    assert_eq!((&agent["also"][0]["merged_into"], &agent["note"]), (&json!("main"), &Value::Null), "{point}: {agent}");
    world::ends(&lab, point);
}

/// An agent is asked to resolve its conflict once, however often the daemon dies over it.
fn resolved(point: &str) {
    let lab = Lab::new();
    let project = Project::new(&lab);
    beside(&lab, &project, "feat/y", &task("one").replace("echo one", "echo other"));
    over(&lab, &project, point);
    let mut first = daemon(&lab, Some(point));
    let args = ["agents", "merge", "--repo", project.repo(), BRANCH, "feat/y", "--queue", "--resolve", "--check", "true", "--yes"];
    let mut client = Running::start(&lab, &args);
    dies(&mut first, point);
    up_or_over(&lab, &mut client, point);
    // The rehearsal commits something and resolves nothing, so in the end it is told.
    client.ends(point).ends_with(5);
    let agent = lab.run(&["agents", "status", "--json", "--repo", project.repo(), "feat/y"]).succeeds().events().remove(0);
    assert!(agent["turns"] == json!(2) || agent["turns"] == json!(3), "{point}: {agent}");
    assert_eq!(project.git(&["log", "--format=%s", "main"]), "one\nfirst", "{point}");
    world::ends(&lab, point);
}

/// A working tree that was noted and not made is made the next time, and goes with its agent.
fn worktree(point: &str) {
    let lab = Lab::new();
    let project = Project::new(&lab);
    over(&lab, &project, point);
    let at = lab.path("tree");
    let args = ["agents", "worktree", "--repo", project.repo(), BRANCH, "--at", at.to_str().expect("utf-8")];
    again(&lab, point, &args);
    lab.run(&args).succeeds();
    assert_eq!(std::fs::read_to_string(at.join("one.txt")).expect("checked out"), "one\n", "{point}");
    lab.run(&["agents", "clean", "--repo", project.repo(), BRANCH]).succeeds();
    assert!(!at.exists(), "{point}");
    world::ends(&lab, point);
}

fn reviewed(point: &str) {
    let lab = Lab::new();
    let project = Project::new(&lab);
    over(&lab, &project, point);
    let args = ["agents", "review", "--repo", project.repo(), BRANCH, "--comment", ".", &task("two"), "--send", "--wait"];
    let done = again(&lab, point, &args);
    let comments = || {
        let seen = lab.run(&["agents", "review", "--repo", project.repo(), BRANCH, "--json"]).succeeds().events().remove(0);
        seen["comments"].as_array().cloned().unwrap_or_default()
    };
    if comments().is_empty() {
        lab.run(&args).succeeds();
    } else if done != 0 {
        // What was kept is sent, unless it was: then there is nothing left to send.
        let ran = lab.run(&["agents", "review", "--repo", project.repo(), BRANCH, "--send", "--wait"]);
        assert!(ran.status == 0 || ran.err.contains("[CONFLICT]"), "{point}: {}", ran.err);
        lab.run(&["agents", "wait", "--repo", project.repo(), BRANCH]).succeeds();
    }
    assert_eq!(comments().len(), 1, "{point}");
    assert_eq!(project.subjects(), "one\ntwo", "{point}: the comment was sent once");
    world::ends(&lab, point);
}

fn cleaned(point: &str) {
    let lab = Lab::new();
    let project = Project::new(&lab);
    over(&lab, &project, point);
    let args = ["agents", "clean", "--repo", project.repo(), BRANCH];
    again(&lab, point, &args);
    let ran = lab.run(&args);
    assert!(ran.status == 0 || ran.err.contains("[NOT_FOUND]"), "{point}: {}", ran.err);
    assert_eq!(lab.run(&["agents", "list", "--all", "--json"]).succeeds().out, "", "{point}");
    assert_eq!(project.subjects(), "one", "{point}: the branch stays");
    world::ends(&lab, point);
}
