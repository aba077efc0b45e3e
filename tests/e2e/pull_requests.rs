//! Pull requests: of the commit that was looked at, after the user's yes, through the GitHub plugin, and each of them once.

use std::path::PathBuf;

use serde_json::json;
use testkit::platforms::github::{GitHub, TOKEN};

use crate::branches::{Project, commits, spawn, status, told};
use crate::support::{Lab, Ran};
use crate::typed::Typed;

/// A user's repository whose remote is at GitHub; what is pushed there lies in a directory.
fn at_github(lab: &Lab, github: &GitHub, name: &str) -> (Project, PathBuf) {
    let project = Project::new(lab, name);
    let bare = lab.path(&format!("{name}.git"));
    let path = bare.to_str().expect("utf-8");
    project.git(&["init", "--quiet", "--bare", path]);
    project.git(&["remote", "add", "origin", &format!("https://github.com/acme/{name}.git")]);
    project.git(&["remote", "set-url", "--push", "origin", path]);
    project.git(&["push", "--quiet", "origin", "main"]);
    github.holds(name, &bare);
    (project, bare)
}

/// The branches that were pushed.
fn pushed(project: &Project, bare: &std::path::Path) -> String {
    project.git(&["ls-remote", "--heads", bare.to_str().expect("utf-8"), "refs/heads/feat/*"])
}

fn pr(lab: &Lab, project: &Project, branch: &str, more: &[&str]) -> Ran {
    lab.run(&[&["agents", "pr", branch, "--repo", project.repo()], more].concat())
}

fn resume(lab: &Lab, project: &Project, branch: &str, task: &str) {
    lab.run(&["agents", "resume", branch, "--repo", project.repo(), "--task", task, "--wait"]).succeeds();
}

#[test]
fn a_pull_request_is_opened_once_of_what_was_seen_and_after_a_yes() {
    let lab = Lab::new();
    let github = GitHub::start();
    let (shop, bare) = at_github(&lab, &github, "shop");
    spawn(&lab, &shop, "feat/one", &commits("one.txt", "1", "Add one"), &[]).succeeds();
    let seen = shop.git(&["rev-parse", "feat/one"]);
    // Where nothing opens pull requests nothing is pushed either.
    pr(&lab, &shop, "feat/one", &["--yes"]).fails("UNKNOWN_TOOL", 2);
    assert_eq!(pushed(&shop, &bare), "");

    lab.run(&["stop", "--grace", "0s"]).succeeds();
    lab.run(&["config", "set", "egress.private_ok", "[\"127.0.0.1\"]"]).succeeds();
    lab.run(&["config", "set", "plugins.github.base_url", &github.web.url()]).succeeds();
    lab.run(&["config", "set", "plugins.github.hosts", &json!([github.web.address().to_string()]).to_string()]).succeeds();
    lab.run_with(&["secret", "set", "plugin.github.token", "-"], TOKEN.as_bytes()).succeeds();
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    lab.plugin_is_ready("github");

    // Nobody is there to say yes; what was looked at is no longer what it is; somebody says no.
    pr(&lab, &shop, "feat/one", &[]).fails("USAGE", 2);
    resume(&lab, &shop, "feat/one", &commits("two.txt", "2", "Add two"));
    let ran = pr(&lab, &shop, "feat/one", &["--yes", "--expect", &seen]).fails("CONFLICT", 1);
    assert!(ran.err.contains(&format!("no longer at {seen}")), "{}", ran.err);
    let words = ["agents", "pr", "feat/one", "--repo", shop.repo()];
    let mut typed = Typed::start(&lab, &words);
    typed.expect("push feat/one to origin?");
    typed.line("n");
    assert_eq!(typed.ends(), 130);
    assert_eq!((pushed(&shop, &bare).as_str(), github.web.calls("/pulls").len()), ("", 0));
    // A yes to the push is none to the pull request, which is shown whole.
    let mut typed = Typed::start(&lab, &words);
    typed.expect("push feat/one to origin?");
    typed.line("y");
    typed.expect("\"title\": \"Add two\"");
    typed.expect("call it?");
    typed.line("n");
    assert_ne!(typed.ends(), 0);
    let tip = shop.git(&["rev-parse", "feat/one"]);
    assert_eq!(pushed(&shop, &bare), format!("{tip}\trefs/heads/feat/one"));
    assert_eq!((github.pulls().len(), github.web.calls("/pulls").len()), (0, 0));
    let mut typed = Typed::start(&lab, &words);
    typed.expect("push feat/one to origin?");
    typed.line("y");
    typed.expect("call it?");
    typed.line("y");
    typed.expect("https://github.test/acme/shop/pull/1");
    assert_eq!(typed.ends(), 0);
    let pulls = github.pulls();
    let pull = &pulls[0];
    assert_eq!((pulls.len(), &pull["base"]["ref"], &pull["base"]["repo"]["full_name"]), (1, &json!("main"), &json!("acme/shop")));
    assert_eq!((&pull["head"]["ref"], &pull["head"]["sha"], &pull["title"]), (&json!("feat/one"), &json!(tip), &json!("Add two")));
    assert!(pull["body"].as_str().is_some_and(|body| body.starts_with("do it\n")), "{pull}");
    // There is one, however often it is asked for.
    let ran = pr(&lab, &shop, "feat/one", &["--yes", "--expect", &tip]);
    assert!(ran.status != 0 && ran.err.contains("A pull request already exists for acme:feat/one"), "{} {}", ran.status, ran.err);
    assert_eq!(github.pulls(), pulls);
    of_several(&lab, &github, (&shop, &bare));
}

/// Of an agent of several repositories one is opened in each of them that is named.
fn of_several(lab: &Lab, github: &GitHub, (shop, bare): (&Project, &PathBuf)) {
    let (lib, bare_lib) = at_github(lab, github, "lib");
    lib.git(&["push", "--quiet", "origin", "main:next"]);
    let in_lib = "cd /home/sandbox/repos/lib; echo x > x; git add x; git commit -q -m 'Add x'";
    spawn(lab, shop, "feat/both", &told(in_lib), &["--repo", lib.repo()]).succeeds();
    let before = github.pulls().len();
    let ran = lab.run(&["agents", "pr", "feat/both", "--yes"]).fails("USAGE", 2);
    assert!(ran.err.contains("say which with --repo"), "{}", ran.err);
    assert!(pr(lab, shop, "feat/both", &["--yes"]).fails("CONFLICT", 1).err.contains("committed nothing"));
    let first = status(lab, shop, "feat/both")["tip"].as_str().expect("a commit").to_owned();
    pr(lab, &lib, "feat/both", &["--yes", "--expect", &first]).fails("CONFLICT", 1);
    assert_eq!((pushed(&lib, &bare_lib).as_str(), github.pulls().len()), ("", before));
    let tip = lib.git(&["rev-parse", "feat/both"]);
    let more = ["--yes", "--expect", &tip, "--into", "next", "--title", "X, at last", "--body", "As asked."];
    pr(lab, &lib, "feat/both", &more).succeeds();
    let pulls = github.pulls();
    let pull = &pulls[before];
    assert_eq!((pulls.len(), &pull["base"]["ref"], &pull["base"]["repo"]["full_name"]), (before + 1, &json!("next"), &json!("acme/lib")));
    assert_eq!((&pull["head"]["sha"], &pull["title"]), (&json!(tip), &json!("X, at last")));
    assert!(pull["body"].as_str().is_some_and(|body| body.starts_with("As asked.")), "{pull}");
    assert!(!pushed(shop, bare).contains("both"), "the other repository was left alone");
}
