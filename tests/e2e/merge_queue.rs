//! Merge queues, as a user meets them: a line of commits, a report where it ends, and a conflict that its agent resolves.

use serde_json::json;
use testkit::model_server::{Rule, Say, Script};

use crate::branches::{Project, commits, spawn, status};
use crate::support::Lab;

fn queue(lab: &Lab, project: &Project, more: &[&str]) -> crate::support::Ran {
    let mut args = vec!["agents", "merge", "--repo", project.repo(), "--queue", "--yes"];
    args.extend(more);
    lab.run(&args)
}

#[test]
fn a_queue_makes_a_line_and_tells_what_stands_in_its_way() {
    let lab = Lab::new();
    let project = Project::new(&lab, "project");
    spawn(&lab, &project, "one", &commits("one.txt", "1", "one"), &[]).succeeds();
    spawn(&lab, &project, "two", &commits("two.txt", "2", "two"), &[]).succeeds();
    spawn(&lab, &project, "left", &commits("README.md", "left", "left"), &[]).succeeds();
    spawn(&lab, &project, "right", &commits("README.md", "right", "right"), &[]).succeeds();
    queue(&lab, &project, &["one"]).fails("USAGE", 2);
    // A commit that was looked at is no longer where the branch is, or is named for one branch of two.
    let seen = project.git(&["rev-parse", "main"]);
    let ran = queue(&lab, &project, &["one", "--check", "true", "--expect", &seen]).ends_with(1);
    assert!(ran.err.contains(&format!("no longer at {seen}")), "{}", ran.err);
    queue(&lab, &project, &["one", "two", "--check", "true", "--expect", &seen]).fails("USAGE", 2);
    queue(&lab, &project, &["one", "--check", "true", "--resolve", "--expect", &seen]).fails("USAGE", 2);
    assert_eq!(project.git(&["rev-parse", "main"]), seen);
    let ran = queue(&lab, &project, &["one", "two", "left", "right", "--check", "test -f one.txt"]).ends_with(5);
    assert!(ran.out.contains("left is merged into main") && ran.out.contains("right conflicts with main"), "{}", ran.out);
    assert!(ran.err.contains("(`right`) does not fit on main") && ran.err.contains("--resume"), "{}", ran.err);
    assert_eq!(project.git(&["log", "--format=%s|%an", "main"]), "left|Uma User\ntwo|Uma User\none|Uma User\nfirst|Uma User");
    assert_eq!(project.git(&["status", "--porcelain"]), "");
    // What went in as other commits is merged all the same.
    assert_eq!(status(&lab, &project, "two")["merged_into"], json!("main"));
    lab.run(&["agents", "clean", "--repo", project.repo(), "two", "--delete-branch"]).succeeds();
    let queues = lab.run(&["agents", "queue", "--repo", project.repo(), "--json"]).succeeds().events();
    let places = queues[0]["places"].as_array().expect("places");
    assert_eq!((&queues[0]["state"], &places[3]["state"]), (&json!("stopped"), &json!("conflict")), "{queues:?}");
    assert_eq!(places[3]["conflicts"][0]["path"], json!("README.md"));
    // Mended by hand on the target, it goes on where it stopped.
    project.write("README.md", "one\ntwo\nthree\n");
    project.git(&["commit", "-q", "-a", "-m", "back"]);
    let id = queues[0]["id"].as_str().expect("an identity");
    let ran = lab.run(&["agents", "queue", id, "--resume"]).succeeds();
    assert!(ran.out.contains("right is merged into main"), "{}", ran.out);
    assert_eq!(std::fs::read_to_string(project.dir.join("README.md")).expect("there"), "right");
    lab.run(&["agents", "queue", id, "--resume"]).fails("CONFLICT", 1);
    lab.run(&["agents", "queue", "mrq_00000000000000000000000000000000"]).fails("NOT_FOUND", 2);
}

#[test]
fn an_agent_resolves_its_own_conflict_and_is_checked_again() {
    let lab = Lab::new();
    let project = Project::new(&lab, "project");
    spawn(&lab, &project, "left", &commits("README.md", "left", "left"), &[]).succeeds();
    let merge = "git merge -q $(cat .git/wanted) || true; printf both > README.md; git add -A; git commit -q -m resolved";
    let first = "printf right > README.md; git add -A; git commit -q -m right";
    let rule = |contains: &str, shell: &str| Rule {
        contains: contains.to_owned(),
        say: vec![Say::Shell(shell.to_owned()), Say::Text("done".to_owned())],
    };
    lab.run(&["agents", "merge", "--repo", project.repo(), "left", "--yes"]).succeeds();
    let merge = merge.replace("$(cat .git/wanted)", &project.git(&["rev-parse", "main"]));
    let rules = vec![rule("does not merge with", &merge), rule("change the readme", first)];
    let server = lab.model(Script { rules, ..Script::default() });
    lab.connect("anthropic", &server);
    // It begins where the other one began.
    spawn(&lab, &project, "right", "change the readme", &["--from", "main~1"]).succeeds();
    let check = "grep -q both README.md";
    let ran = queue(&lab, &project, &["right", "--into", "main", "--check", check, "--resolve"]).succeeds();
    assert!(ran.out.contains("right is merged into main"), "{}", ran.out);
    assert_eq!(project.git(&["log", "--merges", "--format=%s", "main"]), "", "a line");
    assert_eq!(std::fs::read_to_string(project.dir.join("README.md")).expect("there"), "both");
    assert_eq!(status(&lab, &project, "right")["turns"], json!(2));
}
