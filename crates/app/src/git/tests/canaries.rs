//! Whatever a repository is set up to run, our git does not run it; the same repository under a plain git does.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

/// Hooks that a plain git runs for what is done here.
const HOOKS: &[&str] = &["reference-transaction", "post-index-change", "post-checkout", "post-merge", "pre-merge-commit", "pre-commit"];

/// A repository in which everything that can be is a trap.
async fn trapped() -> Lab {
    let lab = Lab::new().await;
    lab.commit("repo", &[("a.txt", "one\n"), (".gitattributes", "*.txt filter=trap diff=trap merge=trap\n")], "first");
    for hook in HOOKS {
        lab.trap(&format!("hook-{hook}"));
        let text = format!("#!/bin/sh\ntouch {}\nexit 0\n", lab.path(&format!("fired-hook-{hook}")).display());
        lab.write(&format!("repo/.git/hooks/{hook}"), text);
        let path = lab.path(&format!("repo/.git/hooks/{hook}"));
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("chmod");
    }
    let mut included = String::new();
    for (section, key, name) in [
        ("core", "fsmonitor", "fsmonitor"),
        ("core", "pager", "pager"),
        ("core", "editor", "editor"),
        ("core", "sshCommand", "ssh"),
        ("core", "askPass", "askpass"),
        ("core", "alternateRefsCommand", "alternates"),
        ("diff", "external", "external"),
        ("filter \"trap\"", "clean", "clean"),
        ("filter \"trap\"", "smudge", "smudge"),
        ("diff \"trap\"", "textconv", "textconv"),
        ("diff \"trap\"", "command", "command"),
        ("merge \"trap\"", "driver", "driver"),
        ("credential", "helper", "credential"),
        ("gpg", "program", "gpg"),
        ("sequence", "editor", "sequence"),
    ] {
        included.push_str(&format!("[{section}]\n\t{key} = {}\n", lab.trap(name)));
    }
    included.push_str("[commit]\n\tgpgSign = true\n[log]\n\tshowSignature = true\n[filter \"trap\"]\n\trequired = true\n");
    lab.write("repo/.git/included", included);
    lab.plain("repo", &["config", "include.path", "included"]);
    lab
}

#[tokio::test]
async fn nothing_that_a_repository_configures_is_started_and_a_plain_git_starts_it() {
    let lab = trapped().await;
    lab.fired();
    // The control: what a user does by hand sets them off.
    lab.write("repo/a.txt", "two\n");
    lab.try_plain("repo", &["status"]);
    lab.try_plain("repo", &["diff"]);
    lab.try_plain("repo", &["log", "-p", "--textconv"]);
    lab.try_plain("repo", &["branch", "side"]);
    lab.try_plain("repo", &["checkout", "--", "a.txt"]);
    let fired = lab.fired();
    for name in ["fsmonitor", "command", "textconv", "clean", "smudge", "hook-reference-transaction", "hook-post-index-change"] {
        assert!(fired.iter().any(|f| f == name), "the trap {name} works: {fired:?}");
    }

    lab.write("repo/a.txt", "three\n");
    lab.write("repo/new.txt", "new\n");
    let before = lab.untouched(&[]);
    let repo = lab.repo().await;
    let base = repo.commit("HEAD").await.expect("a commit");
    repo.refs(&["refs/"]).await.expect("refs");
    repo.user().await.expect("a configuration");
    repo.checked_out().await.expect("trees");
    let mirror = lab.mirror(&repo).await;
    let carried = carry(&repo, &lab.mirrors(), true, &[]).await.expect("files");
    assert_eq!(carried.files, 2, "the changed one and the new one");
    // The clone is made where no trap is known; its commits come home.
    lab.clone("agent", &mirror, "work", &base);
    lab.commit("agent", &[("b.md", "of the agent\n")], "more");
    lab.fired();
    let settled = lab.home("agent", "work", &base).await.expect("home");
    assert_eq!((settled.name.as_str(), settled.aside), ("refs/heads/work", None));
    assert_eq!(lab.fired(), Vec::<String>::new(), "nothing was started");
    assert_eq!(lab.untouched(&["refs/heads/work"]), before, "nothing else was touched");

    // The target is checked out: its files come along, and still nothing starts.
    let mirror = lab.mirror(&repo).await;
    let side = merge::Side { name: "work".into(), commit: repo.commit("work").await.expect("a branch") };
    let author = ("Una".to_owned(), "una@example.org".to_owned());
    let order = merge::MergeOrder {
        repo: &repo,
        mirror: &mirror,
        into: "main",
        branch: &side,
        author: &author,
        message: None,
        always_commit: true,
    };
    merge::merge(order).await.expect("merged");
    assert!(lab.path("repo/b.md").exists());
    assert_eq!(fs::read_to_string(lab.path("repo/a.txt")).expect("read"), "three\n", "what was not committed is as it was");
    let here = read::changes(&mirror, &base, &side.commit).await.expect("changes");
    assert_eq!(here.len(), 1);
    assert_eq!(lab.fired(), Vec::<String>::new(), "nothing was started");
}

#[tokio::test]
async fn files_that_pass_through_a_filter_are_left_to_the_users_own_git() {
    let lab = trapped().await;
    let repo = lab.repo().await;
    let mirror = lab.mirror(&repo).await;
    let base = repo.commit("HEAD").await.expect("a commit");
    lab.clone("agent", &mirror, "work", &base);
    lab.commit("agent", &[("c.txt", "filtered\n")], "more");
    lab.home("agent", "work", &base).await.expect("home");
    lab.fired();
    let mirror = lab.mirror(&repo).await;
    let side = merge::Side { name: "work".into(), commit: repo.commit("work").await.expect("a branch") };
    let before = lab.untouched(&[]);
    let moved = merge::advance(&repo, &mirror, "main", &base, &side.commit).await;
    assert!(matches!(&moved, Err(GitError::Repo { why, .. }) if why.contains("filter `trap`")), "{moved:?}");
    assert_eq!(lab.untouched(&[]), before);
    assert_eq!(lab.fired(), Vec::<String>::new());
}

#[tokio::test]
async fn a_branch_cannot_choose_a_filter_for_a_merge_by_bringing_attributes() {
    let lab = Lab::new().await;
    let base = lab.commit("repo", &[("a.txt", "one\n")], "first");
    lab.plain("repo", &["config", "filter.trap.smudge", &lab.trap("smudge")]);
    let repo = lab.repo().await;
    let mirror = lab.mirror(&repo).await;
    lab.clone("agent", &mirror, "work", &base);
    lab.commit("agent", &[(".gitattributes", "* filter=trap\n"), ("x", "x\n")], "attributes");
    lab.home("agent", "work", &base).await.expect("home");
    let mirror = lab.mirror(&repo).await;
    let tip = repo.commit("work").await.expect("a branch");
    let moved = merge::advance(&repo, &mirror, "main", &base, &tip).await;
    assert!(matches!(&moved, Err(GitError::Repo { .. })), "{moved:?}");
    assert_eq!(lab.fired(), Vec::<String>::new());
    // The control: a plain merge of the same branch sets the trap off.
    lab.plain("repo", &["merge", "-q", "--ff-only", "work"]);
    assert_eq!(lab.fired(), ["smudge"]);
}
