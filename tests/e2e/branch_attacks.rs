//! What can be tried with git at a repository and at whoever looks at a branch. Each attack stands beside a control, in which the wall is
//! away and a plain git of the host is used in its place: there the canary fires.
//!
//! | attack | shown by |
//! |---|---|
//! | hooks, configuration, attributes, filters | `escape::git_planted::nothing_that_an_agent_plants_runs_on_the_host` |
//! | gitfiles, `commondir`, alternates, links | `escape::git_planted::a_repository_that_points_elsewhere_leads_nowhere` |
//! | forged trees and paths | `escape::git_forged::no_forged_tree_comes_home` |
//! | hostile `.gitmodules` | `escape::git_forged::no_submodule_that_would_run_something_comes_home` |
//! | replaced objects | [`a_replaced_commit_deceives_nobody`] |
//! | a repository in a subdirectory | [`a_repository_in_a_directory_of_the_branch_is_not_entered`] |
//! | other agents' branches, forced pushes | `escape::git_others::an_agent_changes_nothing_but_its_own_branch` |
//! | `worktrees/*`, `gc`, `prune`, reflogs | [`what_an_agent_throws_away_is_its_own`] |
//! | names with `-`, `..`, other cases | [`refs_that_an_agent_forges_stay_where_they_are`], `branches::names_and_subjects_of_any_kind_are_shown_as_they_are` |
//! | bombs of objects | `escape::git_forged::bombs_do_not_come_home` |
//! | thousands of refs | [`refs_that_an_agent_forges_stay_where_they_are`] |
//! | a diff that hides | [`a_diff_hides_nothing_that_a_plain_git_would_hide`] |
//! | merging while the agent writes | [`what_still_works_is_neither_merged_nor_put_away`] |
//! | putting away what is not saved | [`what_still_works_is_neither_merged_nor_put_away`] |

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::branches::{Project, spawn, status, told};
use crate::support::{Lab, PATIENCE, Ran};

/// Refs that a flood is made of.
const REFS: usize = 3_000;

fn agents(lab: &Lab, project: &Project, verb: &str, more: &[&str]) -> Ran {
    let mut args = vec!["agents", verb, "--repo", project.repo()];
    args.extend(more);
    lab.run(&args)
}

/// The control: a clone on the host in which the same script runs, and in which a plain git is used.
struct Control {
    dir: PathBuf,
}

impl Control {
    #[track_caller]
    fn new(lab: &Lab, project: &Project) -> Self {
        let control = Self { dir: lab.path("control") };
        std::fs::create_dir(&control.dir).expect("make");
        control.sh(&format!(
            "git clone -q '{}' . && git config user.name x && git config user.email x@example.org && git checkout -q -b evil",
            project.repo()
        ));
        control
    }

    /// What a script prints.
    #[track_caller]
    fn sh(&self, script: &str) -> String {
        let mut shell = Command::new("/bin/sh");
        shell.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", "/nonexistent").env("GIT_CONFIG_NOSYSTEM", "1");
        let out = shell.current_dir(&self.dir).args(["-ec", script]).output().expect("a shell");
        assert!(out.status.success(), "{script}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).into_owned()
    }
}

#[test]
fn a_diff_hides_nothing_that_a_plain_git_would_hide() {
    let lab = Lab::new();
    let project = Project::new(&lab, "project");
    let plant = "printf 'hidden.txt -diff\\n' > .gitattributes; echo 'the hidden line' > hidden.txt; \
                 printf 'if admin { // \\342\\200\\256 nimda\\n' > turned.txt; printf '\\033]2;owned\\007\\n' > title.txt; \
                 git add -A; git commit -q -m planted";
    spawn(&lab, &project, "evil", &told(plant), &[]).succeeds();
    let seen = agents(&lab, &project, "diff", &["evil"]).succeeds().out;
    assert!(seen.contains("+the hidden line"), "{seen}");
    assert!(!seen.contains('\u{202e}') && !seen.contains('\u{1b}'), "{seen:?}");
    let told = agents(&lab, &project, "diff", &["evil", "--json"]).succeeds().events().remove(0);
    let flags = |path: &str| {
        let files = told["files"].as_array().expect("files").iter().find(|file| file["path"] == path).cloned();
        files.map(|file| file["flags"].clone()).unwrap_or_default()
    };
    assert_eq!(
        (flags("turned.txt"), flags("title.txt"), flags(".gitattributes")),
        (json!(["bidi"]), json!(["control"]), json!(["attributes"])),
        "{told}"
    );
    // The control.
    let control = Control::new(&lab, &project);
    let seen = control.sh(&format!("{plant}; git diff HEAD~1 HEAD"));
    assert!(!seen.contains("the hidden line") && seen.contains('\u{202e}') && seen.contains('\u{1b}'), "{seen:?}");
}

#[test]
fn a_repository_in_a_directory_of_the_branch_is_not_entered() {
    let lab = Lab::new();
    let project = Project::new(&lab, "project");
    let fired = lab.path("fired");
    let plant = format!(
        "mkdir -p tools/objects tools/refs; touch tools/objects/keep tools/refs/keep; printf 'ref: refs/heads/main\\n' > tools/HEAD; \
         printf '[core]\\n\\trepositoryformatversion = 0\\n\\tbare = false\\n\\tworktree = .\\n\\tfsmonitor = touch {}; false\\n' > tools/config; \
         git init -q nested; printf '[core]\\n\\tfsmonitor = touch {0}; false\\n' >> nested/.git/config; \
         git add tools; git commit -q -m planted",
        fired.display()
    );
    spawn(&lab, &project, "evil", &told(&plant), &[]).succeeds();
    for verb in ["status", "summary", "diff", "preview", "review"] {
        agents(&lab, &project, verb, &["evil"]).succeeds();
    }
    agents(&lab, &project, "check", &["evil", "--run", "test -f tools/config"]).succeeds();
    agents(&lab, &project, "merge", &["evil", "--yes"]).succeeds();
    assert!(project.dir.join("tools/config").exists(), "it is merged, as files");
    agents(&lab, &project, "clean", &["evil", "--force"]).succeeds();
    assert!(!fired.exists(), "nothing of it ran on the host");
    // The control: a plain git that is used in that directory.
    for inner in ["tools", "nested"] {
        let control = Control { dir: if inner == "tools" { project.dir.clone() } else { lab.path("beside") } };
        if inner == "nested" {
            std::fs::create_dir(&control.dir).expect("make");
            control.sh(&format!(
                "git init -q nested; printf '[core]\\n\\tfsmonitor = touch {}; false\\n' >> nested/.git/config",
                fired.display()
            ));
        }
        control.sh(&format!("git -C {inner} status"));
        assert!(fired.exists(), "{inner} is a trap where nothing stops it");
        std::fs::remove_file(&fired).expect("remove");
    }
}

#[test]
fn a_replaced_commit_deceives_nobody() {
    let lab = Lab::new();
    let project = Project::new(&lab, "project");
    let plant = "base=$(git rev-parse HEAD); echo shown > shown.txt; git add -A; git commit -q -m shown; good=$(git rev-parse HEAD); \
                 echo hidden > hidden.txt; git add -A; git commit -q -m hidden; git replace -f $(git rev-parse HEAD) $good; \
                 git replace -f $base $good; true";
    let before = project.print(&["evil"]);
    spawn(&lab, &project, "evil", &told(plant), &[]).succeeds();
    let diff = agents(&lab, &project, "diff", &["evil"]).succeeds().out;
    assert!(diff.contains("+hidden"), "what is there is shown: {diff}");
    assert_eq!(project.git(&["for-each-ref", "refs/replace"]), "");
    assert_eq!(project.print(&["evil"]), before);
    assert_eq!(project.git(&["show", "evil:hidden.txt"]), "hidden");
    // The control: a plain git in such a clone shows another tree than the commit has.
    let control = Control::new(&lab, &project);
    let seen = control.sh(&format!("git reset -q --hard origin/main; {plant}; git ls-tree --name-only HEAD"));
    assert!(seen.contains("shown.txt") && !seen.contains("hidden.txt"), "{seen}");
}

#[test]
fn refs_that_an_agent_forges_stay_where_they_are() {
    let lab = Lab::new();
    let project = Project::new(&lab, "project");
    let plant = format!(
        "echo x > x; git add -A; git commit -q -m x; o=$(git rev-parse HEAD); \
         {{ echo '# pack-refs with: peeled fully-peeled sorted '; {{ for n in $(seq {REFS}); do echo \"$o refs/heads/many/$n\"; done; \
         echo \"$o refs/heads/-evil\"; echo \"$o refs/heads/Main\"; echo \"$o refs/tags/v1\"; }} | LC_ALL=C sort -k2; }} > .git/packed-refs; \
         git update-ref refs/heads/main HEAD 2>/dev/null; true"
    );
    project.git(&["tag", "v1"]);
    let before = project.git(&["for-each-ref"]);
    spawn(&lab, &project, "evil", &told(&plant), &[]).succeeds();
    agents(&lab, &project, "fetch", &["evil"]).succeeds();
    let now = project.git(&["for-each-ref"]);
    let new: Vec<&str> = now.lines().filter(|line| !before.contains(line)).collect();
    assert!(matches!(new[..], [one] if one.ends_with("refs/heads/evil")), "the branch and nothing else: {new:?}");
    assert_eq!(project.git(&["fsck", "--no-dangling"]), "");
    // The control: a plain fetch from such a clone takes all of it.
    let control = Control::new(&lab, &project);
    control.sh(&plant);
    let taken = control.sh("git init -q --bare taken; git -C taken fetch -q ../ '+refs/*:refs/*'; git -C taken for-each-ref");
    assert!(taken.lines().count() > REFS && taken.contains("refs/heads/-evil") && taken.contains("refs/heads/Main"), "{taken:.300}");
}

#[test]
fn what_an_agent_throws_away_is_its_own() {
    let lab = Lab::new();
    let project = Project::new(&lab, "project");
    project.write("README.md", "stashed\n");
    project.git(&["stash", "--quiet"]);
    let tree = lab.path("tree");
    project.git(&["worktree", "add", "--quiet", "-b", "mine", tree.to_str().expect("utf-8")]);
    // To a git inside, the tree is not there: it looks as if it could be pruned.
    std::fs::rename(&tree, lab.path("moved")).expect("move");
    let plant = "git stash clear; git reflog expire --expire=now --all; git worktree prune; rm -rf .git/worktrees; git gc -q --prune=now; \
                 git branch -D mine 2>/dev/null; git tag -d v1 2>/dev/null; true";
    let before = project.print(&["evil"]);
    let commit = "echo x > x; git add -A; git commit -q -m x";
    spawn(&lab, &project, "evil", &told(&format!("{plant}; {commit}")), &[]).succeeds();
    assert_eq!(project.print(&["evil"]), before);
    assert_eq!(project.git(&["stash", "list"]).lines().count(), 1);
    assert!(project.dir.join(".git/worktrees/tree").exists());
    assert_eq!(status(&lab, &project, "evil")["commits"], json!(1));
    assert_eq!(project.git(&["fsck", "--no-dangling"]), "");
    // The control: with the repository's own directory at hand, the same script throws it away.
    let copy = lab.path("copy");
    let copied = Command::new("cp").arg("-a").args([&project.dir, &copy]).status().expect("cp");
    assert!(copied.success());
    let control = Control { dir: copy };
    control.sh(&format!("set +e; {plant}"));
    assert_eq!(control.sh("git stash list; git branch --list mine"), "");
    assert!(!control.dir.join(".git/worktrees").exists());
}

#[test]
fn what_still_works_is_neither_merged_nor_put_away() {
    let lab = Lab::new();
    let project = Project::new(&lab, "project");
    let task = told("echo x > x; git add -A; git commit -q -m before; echo y > open.txt; sleep 100000");
    lab.run(&["spawn", "--repo", project.repo(), "--branch", "slow", "--task", &task]).succeeds();
    let began = Instant::now();
    loop {
        let now = agents(&lab, &project, "fetch", &["slow", "--json"]);
        if now.status == 0 && now.events()[0]["commits"] == json!(1) && now.events()[0]["untracked"] == json!(1) {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{} {}", now.out, now.err);
        std::thread::sleep(Duration::from_millis(50));
    }
    let main = project.git(&["rev-parse", "main"]);
    agents(&lab, &project, "merge", &["slow", "--yes"]).fails("CONFLICT", 1);
    agents(&lab, &project, "clean", &["slow", "--force"]).fails("CONFLICT", 1);
    assert_eq!(project.git(&["rev-parse", "main"]), main);
    agents(&lab, &project, "stop", &["slow"]).succeeds();
    // The controls: what is over is merged, and what may be lost is lost.
    agents(&lab, &project, "clean", &["slow"]).fails("WORK_UNSAVED", 1);
    agents(&lab, &project, "merge", &["slow", "--yes"]).succeeds();
    assert_ne!(project.git(&["rev-parse", "main"]), main);
    let id = status(&lab, &project, "slow")["session"].as_str().expect("a session").to_owned();
    agents(&lab, &project, "clean", &["slow", "--force"]).succeeds();
    lab.run(&["session", "show", &id]).fails("NOT_FOUND", 2);
}
