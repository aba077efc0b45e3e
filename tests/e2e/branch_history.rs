//! Going back and going other ways with an agent of several repositories: all of its clones go along, and nothing of its user's moves.

use std::time::UNIX_EPOCH;

use serde_json::json;

use crate::branches::{Project, commits, spawn, status, told};
use crate::support::{Lab, of_type};

/// Where the second repository lies inside.
const LIB: &str = "/home/sandbox/repos/lib";

/// Commits a file of this name in both repositories.
fn in_both(name: &str) -> String {
    told(&format!("for at in /workspace {LIB}; do cd $at; echo {name} > {name}.txt; git add -A; git commit -q -m {name}; done"))
}

/// Prints the commits and the files of both.
fn look() -> String {
    told(&format!("for at in /workspace {LIB}; do cd $at; echo \"$at: $(git log --format=%s | tr '\\n' ' '); $(ls | tr '\\n' ' ')\"; done"))
}

/// Everything of the user's, but what lies beside their branches.
fn prints(projects: [&Project; 2]) -> [Vec<String>; 2] {
    projects.map(|project| project.print(&[]).into_iter().filter(|line| !line.starts_with("refs/lazaret/")).collect())
}

fn commit(project: &Project, name: &str) -> String {
    project.git(&["rev-parse", name])
}

fn resume(lab: &Lab, project: &Project, task: &str) {
    lab.run(&["agents", "resume", "both", "--repo", project.repo(), "--task", task, "--wait"]).succeeds();
}

/// What the last command of a session printed.
#[track_caller]
fn printed(lab: &Lab, session: &str) -> String {
    let events = lab.run(&["session", "events", "--json", session]).succeeds().events();
    of_type(&events, "tool_result").last().expect("a command ran")["output"].to_string()
}

/// The mirrors that the home keeps.
fn mirrors(lab: &Lab) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(lab.home().join("mirrors")).expect("read").flatten().map(|entry| entry.path());
    entries.filter(|path| path.extension().is_none() && path.join("HEAD").is_file()).collect()
}

/// A next daemon, long after any agent was begun; a new agent of another repository lets it look at what nobody needs any more.
fn long_after(lab: &Lab, other: &Project, branch: &str) {
    for mirror in mirrors(lab) {
        // The list says when the last clone was made; where there is none, the mirror does.
        for path in [mirror.with_extension("bases"), mirror] {
            if let Ok(file) = std::fs::File::open(path) {
                file.set_modified(UNIX_EPOCH).expect("set");
            }
        }
    }
    lab.run(&["stop", "--grace", "0s"]).succeeds();
    spawn(lab, other, branch, &commits("x", "x", "x"), &[]).succeeds();
}

#[test]
fn an_undo_and_a_fork_take_every_repository_along() {
    let lab = Lab::new();
    let (app, lib) = (Project::new(&lab, "app"), Project::new(&lab, "lib"));
    let both = [&app, &lib];
    spawn(&lab, &app, "both", &in_both("one"), &["--repo", lib.repo()]).succeeds();
    let one = both.map(|project| commit(project, "both"));
    resume(&lab, &app, &in_both("two"));
    let two = both.map(|project| commit(project, "both"));
    let session = status(&lab, &app, "both")["session"].as_str().expect("a session").to_owned();
    let before = prints(both);

    // Back, and on from there in both: what was taken back stays where it is, the new work lies beside it.
    lab.run(&["session", "undo", &session]).succeeds();
    assert_eq!(prints(both), before, "going back moves nothing");
    resume(&lab, &app, &in_both("three"));
    assert_eq!(prints(both), before);
    for (project, one) in both.into_iter().zip(&one) {
        assert_eq!(&commit(project, "refs/lazaret/both^"), one);
        assert_eq!(project.git(&["ls-tree", "--name-only", "refs/lazaret/both", "one.txt", "two.txt", "three.txt"]), "one.txt\nthree.txt");
    }
    let agent = status(&lab, &app, "both");
    assert_eq!((&agent["ref"], &agent["also"][0]["ref"]), (&json!("refs/lazaret/both"), &json!("refs/lazaret/both")), "{agent}");
    assert!(agent["note"].as_str().is_some_and(|note| note.contains("went back behind it")), "{agent}");
    // Forward again: the branches go on where they stood.
    lab.run(&["session", "undo", &session, "--to", "2"]).succeeds();
    resume(&lab, &app, &in_both("four"));
    assert_eq!(both.map(|project| commit(project, "both^")), two);
    assert_eq!(status(&lab, &app, "both")["also"][0]["ref"], json!("refs/heads/both"));

    // A copy has both as they were then, and what it does stays with it.
    let before = [app.print(&[]), lib.print(&[])];
    let ran = lab.run(&["session", "fork", &session, "--at", "1", "--prompt", &look(), "--json"]).succeeds();
    let fork = ran.events()[0]["session"].as_str().expect("a session").to_owned();
    let seen = printed(&lab, &fork);
    for place in ["/workspace", LIB] {
        assert!(seen.contains(&format!("{place}: one first ; README.md one.txt src")), "{seen}");
    }
    lab.run(&["session", "send", "--wait", &fork, &in_both("own")]).succeeds();
    assert_eq!([app.print(&[]), lib.print(&[])], before, "nothing of a copy comes home");

    // It goes on when the agent is put away, as long as it is wanted.
    lab.run(&["agents", "clean", "both", "--repo", app.repo(), "--force"]).succeeds();
    let other = Project::new(&lab, "other");
    long_after(&lab, &other, "first");
    assert_eq!(mirrors(&lab).len(), 3);
    lab.run(&["session", "send", "--wait", &fork, &look()]).succeeds();
    let seen = printed(&lab, &fork);
    for place in ["/workspace", LIB] {
        assert!(seen.contains(&format!("{place}: own one first ; README.md one.txt own.txt src")), "{seen}");
    }
    lab.run(&["session", "delete", &fork]).succeeds();
    long_after(&lab, &other, "second");
    assert_eq!(mirrors(&lab).len(), 1, "the control: what nobody needs goes");
}
