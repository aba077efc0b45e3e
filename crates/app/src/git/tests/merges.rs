//! Merges, tried and made.

use super::merge::{MergeOrder, Outcome, Side, merge, try_merge};
use super::preview::preview;
use super::*;

fn author() -> merge::Person {
    ("Una <x>\n".to_owned(), "una@example.org".to_owned())
}

/// A repository with `main` and branches that change it.
async fn scene(branches: &[(&str, &[(&str, &str)])]) -> (Lab, Vec<Side>) {
    let lab = Lab::new().await;
    lab.commit("repo", &[("a", "1\n2\n3\n4\n5\n6\n7\n8\n9\n"), ("b", "one\n"), ("dir/x", "x\n")], "first");
    let mut sides = Vec::new();
    for (name, files) in branches {
        lab.plain("repo", &["checkout", "-q", "-b", name, "main"]);
        let commit = lab.commit("repo", files, name);
        sides.push(Side { name: (*name).to_owned(), commit });
        lab.plain("repo", &["checkout", "-q", "main"]);
    }
    (lab, sides)
}

/// Each branch with the kind of its outcome.
fn kinds(list: &[(String, Outcome)]) -> Vec<String> {
    let kind = |outcome: &Outcome| match outcome {
        Outcome::Already => "already",
        Outcome::Forward => "forward",
        Outcome::Clean(_) => "clean",
        Outcome::Conflict(_) => "conflict",
    };
    list.iter().map(|(name, outcome)| format!("{name} {}", kind(outcome))).collect()
}

async fn into_main(lab: &Lab, branch: &Side) -> Result<merge::Merged, GitError> {
    let repo = lab.repo().await;
    let mirror = lab.mirror(&repo).await;
    let by = author();
    let order = MergeOrder { repo: &repo, mirror: &mirror, into: "main", branch, author: &by, message: None, always_commit: false };
    merge(order).await
}

#[tokio::test]
async fn branches_merge_one_after_the_other_and_the_files_come_along() {
    let (lab, sides) =
        scene(&[("one", &[("a", "1!\n2\n3\n4\n5\n6\n7\n8\n9\n")]), ("two", &[("a", "1\n2\n3\n4\n5\n6\n7\n8\n9!\n"), ("new", "n\n")])])
            .await;
    let first = into_main(&lab, &sides[0]).await.expect("merged");
    assert_eq!(first.after, sides[0].commit, "it went forward");
    let second = into_main(&lab, &sides[1]).await.expect("merged");
    assert_eq!(second.before, first.after);
    assert_eq!(fs::read_to_string(lab.path("repo/a")).expect("read"), "1!\n2\n3\n4\n5\n6\n7\n8\n9!\n");
    assert!(lab.path("repo/new").exists());
    assert_eq!(lab.plain("repo", &["status", "--porcelain"]), "");
    assert_eq!(
        lab.plain("repo", &["log", "-1", "--format=%an|%ae|%s|%P"]),
        format!("Una x|una@example.org|Merge branch 'two' into main|{} {}", first.after, sides[1].commit)
    );
    let again = into_main(&lab, &sides[1]).await.expect("merged");
    assert_eq!((again.before, again.updated.len()), (again.after, 0), "once more is nothing");
    lab.plain("repo", &["fsck", "--strict"]);
}

#[tokio::test]
async fn a_conflict_changes_nothing_and_names_the_files() {
    let (lab, sides) = scene(&[("one", &[("b", "1\n")]), ("two", &[("b", "2\n")])]).await;
    into_main(&lab, &sides[0]).await.expect("merged");
    let before = (lab.seen("repo"), lab.plain("repo", &["count-objects", "-v"]));
    let merged = into_main(&lab, &sides[1]).await;
    assert!(
        matches!(&merged, Err(GitError::Conflict { branch, into, files }) if branch == "two" && into == "main" && files == &["b"]),
        "{merged:?}"
    );
    assert_eq!((lab.seen("repo"), lab.plain("repo", &["count-objects", "-v"])), before);
    assert_eq!(merged.expect_err("a conflict").failure().code.exit_status(), 5);
}

#[tokio::test]
async fn what_is_not_committed_is_never_touched() {
    let (lab, sides) = scene(&[("one", &[("b", "merged\n"), ("new", "merged\n"), ("deep/er", "merged\n")])]).await;
    let refused = async |what: &str| {
        let before = lab.seen("repo");
        let merged = into_main(&lab, &sides[0]).await;
        assert!(matches!(merged, Err(GitError::InTheWay(_))), "{what}: {merged:?}");
        let mut after = lab.seen("repo");
        after.retain(|path, _| before.contains_key(path));
        assert_eq!(after, before, "{what}");
    };
    lab.write("repo/b", "of the user\n");
    refused("a changed file").await;
    lab.plain("repo", &["add", "b"]);
    refused("a staged file").await;
    lab.plain("repo", &["reset", "-q", "--hard"]);
    lab.write("repo/new", "of the user\n");
    refused("a file that git does not know").await;
    lab.write("repo/.git/info/exclude", "new\n");
    refused("an ignored file").await;
    fs::remove_file(lab.path("repo/new")).expect("remove");
    lab.write("repo/deep", "a file where a directory is to be\n");
    let merged = into_main(&lab, &sides[0]).await;
    assert!(merged.is_err(), "{merged:?}");
    fs::remove_file(lab.path("repo/deep")).expect("remove");
    // A removed file that the merge does not touch stays removed, a changed one changed.
    lab.write("repo/a", "of the user\n");
    fs::remove_file(lab.path("repo/dir/x")).expect("remove");
    into_main(&lab, &sides[0]).await.expect("merged");
    assert_eq!(lab.plain("repo", &["status", "--porcelain"]), " M a\n D dir/x".trim_start_matches('\n'));
    assert_eq!(fs::read_to_string(lab.path("repo/deep/er")).expect("read"), "merged\n");
}

#[tokio::test]
async fn a_target_that_nobody_has_open_moves_alone() {
    let (lab, sides) = scene(&[("one", &[("b", "merged\n")])]).await;
    lab.plain("repo", &["checkout", "-q", "--detach"]);
    let before = lab.untouched(&["refs/heads/main", "logs/refs/heads/main"]);
    let merged = into_main(&lab, &sides[0]).await.expect("merged");
    assert_eq!((merged.updated.len(), lab.oid("repo", "main")), (0, merged.after));
    assert_eq!(lab.untouched(&["refs/heads/main", "logs/refs/heads/main"]), before);
    // Open in another working tree of the repository.
    let linked = lab.path("linked");
    lab.plain("repo", &["branch", "-f", "main", "main~1"]);
    lab.plain("repo", &["worktree", "add", "-q", linked.to_str().expect("text"), "main"]);
    let merged = into_main(&lab, &sides[0]).await.expect("merged");
    assert_eq!(merged.updated, [fs::canonicalize(&linked).expect("a path")]);
    assert_eq!(fs::read_to_string(lab.path("linked/b")).expect("read"), "merged\n");
    assert_eq!(lab.plain("linked", &["status", "--porcelain"]), "");
}

#[tokio::test]
async fn a_merge_that_was_cut_short_is_taken_up() {
    let (lab, sides) = scene(&[("one", &[("b", "merged\n")])]).await;
    let repo = lab.repo().await;
    let main = lab.oid("repo", "main");
    // Killed after the files, before the branch.
    target::update(&repo, &main, &sides[0].commit).await.expect("updated");
    let merged = into_main(&lab, &sides[0]).await.expect("merged");
    assert_eq!((merged.after, lab.plain("repo", &["status", "--porcelain"])), (sides[0].commit.clone(), String::new()));
}

#[tokio::test]
async fn a_preview_knows_every_clash_and_leaves_nothing() {
    let (lab, sides) = scene(&[
        ("one", &[("b", "1\n")]),
        ("two", &[("b", "2\n")]),
        ("three", &[("a", "1\n2\n3\n4\n5\n6\n7\n8\n9!\n")]),
        ("four", &[("d", "four\n")]),
    ])
    .await;
    lab.plain("repo", &["checkout", "-q", "-b", "five", "main"]);
    lab.plain("repo", &["rm", "-q", "-r", "dir"]);
    let five = lab.commit("repo", &[("dir", "now a file\n")], "five");
    lab.plain("repo", &["checkout", "-q", "-b", "six", "main"]);
    let six = lab.commit("repo", &[("dir/x", "changed\n")], "six");
    lab.plain("repo", &["checkout", "-q", "main"]);
    let main = lab.commit("repo", &[("c", "main goes on\n")], "second");
    let mut sides = sides;
    sides.push(Side { name: "five".into(), commit: five });
    sides.push(Side { name: "six".into(), commit: six });
    sides.push(Side { name: "old".into(), commit: lab.oid("repo", "main~1") });
    let repo = lab.repo().await;
    let mirror = lab.mirror(&repo).await;
    let before = (lab.seen("repo"), lab.seen("mirrors"));
    let shown = preview(&mirror, &Side { name: "main".into(), commit: main.clone() }, &sides).await.expect("a preview");
    assert_eq!((lab.seen("repo"), lab.seen("mirrors")), before, "nothing is left of it");
    assert_eq!(kinds(&shown.alone), ["one clean", "two clean", "three clean", "four clean", "five clean", "six clean", "old already"]);
    assert_eq!(
        kinds(&shown.in_order),
        ["one clean", "two conflict", "three clean", "four clean", "five clean", "six conflict", "old already"]
    );
    let pairs: Vec<(&str, &str)> = shown.pairs.iter().map(|(one, other, _)| (one.as_str(), other.as_str())).collect();
    assert_eq!(pairs, [("one", "two"), ("five", "six")]);
    let said = &shown.pairs[0].2[0];
    assert!(said.path == "b" && said.message.contains("CONFLICT"), "{said:?}");
    assert!(matches!(try_merge(&mirror, &main, &sides[2].commit, None).await.expect("merged"), Outcome::Clean(_)));
}

#[tokio::test]
async fn a_preview_in_order_knows_what_came_with_an_earlier_branch() {
    let (lab, mut sides) = scene(&[("one", &[("b", "1\n")]), ("two", &[("d", "two\n")])]).await;
    // Has `one` whole, and something of its own.
    lab.plain("repo", &["checkout", "-q", "-b", "more", "one"]);
    let more = lab.commit("repo", &[("e", "more\n")], "more");
    // Changes the same as `one`, in another commit.
    lab.plain("repo", &["checkout", "-q", "-b", "same", "main"]);
    let same = lab.commit("repo", &[("b", "1\n")], "the same once more");
    lab.plain("repo", &["checkout", "-q", "main"]);
    let one = sides.remove(0);
    for (name, commit) in [("more", more), ("one", one.commit), ("same", same)] {
        sides.push(Side { name: name.to_owned(), commit });
    }
    let repo = lab.repo().await;
    let mirror = lab.mirror(&repo).await;
    let into = |commit| Side { name: "main".into(), commit };
    let seen = preview(&mirror, &into(lab.oid("repo", "main")), &sides).await.expect("a preview");
    assert_eq!(kinds(&seen.alone), ["two forward", "more forward", "one forward", "same forward"]);
    assert_eq!(kinds(&seen.in_order), ["two forward", "more clean", "one already", "same clean"]);
    assert_eq!(seen.pairs, []);
    // Two best commits in common: what both sides took from each other.
    lab.plain("repo", &["checkout", "-q", "-b", "left", "one"]);
    lab.plain("repo", &["merge", "-q", "--no-edit", "two"]);
    lab.plain("repo", &["checkout", "-q", "-b", "right", "two"]);
    lab.plain("repo", &["merge", "-q", "--no-edit", "one"]);
    let right = lab.commit("repo", &[("d", "right\n")], "right");
    lab.plain("repo", &["checkout", "-q", "left"]);
    let left = lab.commit("repo", &[("d", "left\n")], "left");
    lab.plain("repo", &["checkout", "-q", "main"]);
    let mirror = lab.mirror(&repo).await;
    let sides = [Side { name: "right".into(), commit: right }];
    let seen = preview(&mirror, &into(left), &sides).await.expect("a preview");
    assert_eq!((kinds(&seen.alone), kinds(&seen.in_order)), (vec!["right conflict".to_owned()], vec!["right conflict".to_owned()]));
}
