//! Branches put on top of other commits.

use super::merge::{Person, Side};
use super::rebase::{COMMITS_MAX, Rebased, rebase};
use super::*;

fn by() -> Person {
    ("Mara".to_owned(), "mara@example.org".to_owned())
}

async fn on_main(lab: &Lab, name: &str) -> Result<Rebased, GitError> {
    let repo = lab.repo().await;
    let mirror = lab.mirror(&repo).await;
    let side = Side { name: name.to_owned(), commit: lab.oid("repo", name) };
    rebase(&mirror, &lab.oid("repo", "main"), &side, &by()).await
}

/// What a commit of the mirror is, in the words of git.
async fn told(lab: &Lab, rev: &str, format: &str) -> String {
    let mirror = lab.mirror(&lab.repo().await).await;
    mirror.call("look").args(["log", &format!("--format={format}"), rev]).text().await.expect("a log")
}

/// `main` with one commit, `work` with two that leave it there, and one more on `main`.
async fn scene(on_main: &[(&str, &str)]) -> Lab {
    let lab = Lab::new().await;
    lab.commit("repo", &[("a", "1\n2\n3\n"), ("b", "b\n")], "first");
    lab.plain("repo", &["checkout", "-q", "-b", "work"]);
    lab.commit("repo", &[("a", "1!\n2\n3\n")], "one\n\nwith \"more\" to say");
    lab.commit("repo", &[("c", "c\n")], "two");
    lab.plain("repo", &["checkout", "-q", "main"]);
    lab.commit("repo", on_main, "of main");
    lab
}

#[tokio::test]
async fn each_commit_comes_again_in_a_line_with_its_author() {
    let lab = scene(&[("b", "other\n")]).await;
    let before = lab.seen("repo");
    let Rebased::On { tip, commits } = on_main(&lab, "work").await.expect("it fits") else { panic!("it is not there") };
    assert_eq!(lab.seen("repo"), before, "nothing of the user's is touched");
    assert_eq!(commits, 2);
    assert_eq!(told(&lab, tip.as_str(), "%s|%an|%cn|%ad|%P").await.lines().count(), 4);
    let line = told(&lab, &format!("{tip}~1"), "%an <%ae>|%cn <%ce>|%at|%B").await;
    assert!(line.starts_with("Una <una@example.org>|Mara <mara@example.org>|1700000000|one\n\nwith \"more\" to say"), "{line}");
    let mirror = lab.mirror(&lab.repo().await).await;
    for (file, text) in [("a", "1!\n2\n3"), ("b", "other"), ("c", "c")] {
        let said = mirror.call("read").args(["cat-file", "blob", &format!("{tip}:{file}")]).text().await.expect("a file");
        assert_eq!(said, text, "{file}");
    }
    // On its own ground it stays what it is.
    lab.plain("repo", &["checkout", "-q", "-b", "further", "main"]);
    let further = lab.commit("repo", &[("d", "d\n")], "further");
    assert_eq!(on_main(&lab, "further").await.expect("it fits"), Rebased::On { tip: further, commits: 1 });
    assert_eq!(on_main(&lab, "main").await.expect("nothing"), Rebased::Already);
}

#[tokio::test]
async fn what_is_there_already_is_left_out() {
    let lab = scene(&[("a", "1!\n2\n3\n")]).await;
    let Rebased::On { tip, commits } = on_main(&lab, "work").await.expect("it fits") else { panic!("it is not there") };
    assert_eq!(commits, 1);
    assert_eq!(told(&lab, tip.as_str(), "%s").await, "two\nof main\nfirst");
    // All of it in other commits.
    lab.plain("repo", &["cherry-pick", "--allow-empty", "--keep-redundant-commits", "work~1", "work"]);
    assert_eq!(on_main(&lab, "work").await.expect("nothing"), Rebased::Already);
}

#[tokio::test]
async fn a_conflict_names_the_commit_and_the_files() {
    let lab = scene(&[("a", "1?\n2\n3\n")]).await;
    let Rebased::Conflict { commit, subject, files } = on_main(&lab, "work").await.expect("told") else { panic!("it fits") };
    assert_eq!((commit, subject.as_str()), (lab.oid("repo", "work~1"), "one"));
    assert_eq!(files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), ["a"]);
    assert!(files[0].message.contains("CONFLICT"), "{files:?}");
}

#[tokio::test]
async fn a_branch_with_merges_of_its_own_becomes_one_commit() {
    let lab = scene(&[("a", "1?\n2\n3\n")]).await;
    lab.plain("repo", &["checkout", "-q", "work"]);
    assert!(!lab.try_plain("repo", &["merge", "-q", "main"]).status.success(), "they differ");
    lab.commit("repo", &[("a", "both\n2\n3\n")], "Merge main");
    lab.plain("repo", &["checkout", "-q", "main"]);
    for n in 0..2 {
        let Rebased::On { tip, commits } = on_main(&lab, "work").await.expect("it fits") else { panic!("it is not there") };
        assert_eq!(commits, 1);
        let main = lab.oid("repo", "main");
        let said = told(&lab, &format!("{tip}~1..{tip}"), "%P|%B").await;
        assert_eq!(said.trim_end(), format!("{main}|Put work on top\n\n- one\n- two"), "{n}");
        // Also when the target went on.
        lab.commit("repo", &[("later", "x\n")], "later");
    }
}

#[tokio::test]
async fn a_commit_without_a_parent_and_names_that_nobody_has_are_taken() {
    let lab = scene(&[("b", "other\n")]).await;
    lab.plain("repo", &["checkout", "-q", "--orphan", "alone"]);
    lab.plain("repo", &["rm", "-rqf", "."]);
    lab.commit("repo", &[("z", "z\n")], "alone");
    let tree = lab.plain("repo", &["rev-parse", "HEAD^{tree}"]);
    let parent = lab.oid("repo", "main");
    let raw = format!("tree {tree}\nparent {parent}\nauthor  <> 1 +0000\ncommitter  <> 1 +0000\n\n\n");
    lab.write("raw", raw);
    let path = lab.path("raw");
    let odd = lab.plain("repo", &["hash-object", "-t", "commit", "-w", "--literally", path.to_str().expect("text")]);
    lab.plain("repo", &["branch", "odd", &odd]);
    lab.plain("repo", &["checkout", "-q", "-f", "main"]);
    lab.commit("repo", &[("later", "x\n")], "later");
    let Rebased::On { tip, .. } = on_main(&lab, "alone").await.expect("it fits") else { panic!("it is not there") };
    let mirror = lab.mirror(&lab.repo().await).await;
    let names = mirror.call("list").args(["ls-tree", "--name-only", tip.as_str()]).text().await.expect("a list");
    assert_eq!(names, "a\nb\nlater\nz");
    let Rebased::On { tip, .. } = on_main(&lab, "odd").await.expect("it fits") else { panic!("it is not there") };
    assert_eq!(told(&lab, &format!("{tip}~1..{tip}"), "%an <%ae>").await, "unknown <unknown>");
}

#[tokio::test]
async fn too_many_commits_are_refused() {
    let lab = scene(&[("b", "other\n")]).await;
    let (tree, mut stream) = (lab.plain("repo", &["rev-parse", "work^{tree}"]), String::new());
    drop(tree);
    stream.push_str("reset refs/heads/long\nfrom refs/heads/work\n\n");
    for n in 0..=COMMITS_MAX {
        stream.push_str(&format!("commit refs/heads/long\ncommitter U <u> {n} +0000\ndata 1\nx\nM 644 inline n\ndata <<E\n{n}\nE\n\n"));
    }
    lab.write("stream", stream);
    let file = fs::File::open(lab.path("stream")).expect("open");
    let status = Command::new("git").args(["fast-import", "--quiet"]).current_dir(lab.path("repo")).stdin(Stdio::from(file)).status();
    assert!(status.expect("git runs").success());
    assert!(matches!(on_main(&lab, "long").await, Err(GitError::Repo { why, .. }) if why.contains("more than")));
}
