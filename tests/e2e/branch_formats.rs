//! Repositories that are not a plain clone: with submodules, cut off in the past, with other names of objects, with objects elsewhere.

use serde_json::json;

use crate::branches::{Project, commits, spawn, status, told};
use crate::support::Lab;

fn merge(lab: &Lab, project: &Project, branch: &str) {
    lab.run(&["agents", "merge", "--repo", project.repo(), branch, "--yes"]).succeeds();
    assert_eq!(project.git(&["rev-parse", "main"]), project.git(&["rev-parse", branch]));
}

/// A clone that the user made with these options of a repository with some past.
fn cloned(lab: &Lab, name: &str, options: &[&str]) -> Project {
    let from = Project::new(lab, &format!("{name}-origin"));
    from.git(&["config", "uploadpack.allowFilter", "true"]);
    for n in 0..4 {
        from.write("README.md", &n.to_string());
        from.git(&["commit", "-q", "-a", "-m", &n.to_string()]);
    }
    let project = Project { dir: lab.path(name) };
    let (url, to) = (format!("file://{}", from.repo()), project.repo().to_owned());
    from.git(&[&["clone", "--quiet"], options, &[&url, &to]].concat());
    for (key, value) in [("user.name", "Uma User"), ("user.email", "uma@example.org")] {
        project.git(&["config", key, value]);
    }
    project
}

#[test]
fn submodules_that_the_user_has_are_in_the_clone_and_stay_as_they_are_at_home() {
    let lab = Lab::new();
    let (project, inner, absent) = (Project::new(&lab, "project"), Project::new(&lab, "inner"), Project::new(&lab, "absent"));
    let add = |to: &Project, from: &Project, path: &str| {
        to.git(&["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", from.repo(), path]);
        to.git(&["commit", "-q", "-m", "with a submodule"]);
    };
    let innermost = Project::new(&lab, "innermost");
    innermost.write("deep.txt", "deep");
    innermost.git(&["add", "."]);
    innermost.git(&["commit", "-q", "-m", "deep"]);
    add(&inner, &innermost, "most");
    add(&project, &inner, "libs/in ner");
    add(&project, &absent, "absent");
    project.git(&["-c", "protocol.file.allow=always", "submodule", "--quiet", "update", "--init", "--recursive"]);
    // One that the user does not have here any more is a directory with nothing in it.
    project.git(&["submodule", "--quiet", "deinit", "--force", "absent"]);
    std::fs::remove_dir_all(project.dir.join(".git/modules/absent")).expect("remove");
    let before = project.print(&["all", "alone"]);
    let look = told(
        "cat 'libs/in ner/most/deep.txt' > seen; ls absent >> seen; git status --porcelain >> seen; git add seen; git commit -q -m seen",
    );
    for (branch, more) in [("all", &[][..]), ("alone", &["--history", "branch"])] {
        spawn(&lab, &project, branch, &look, more).succeeds();
        assert_eq!(project.git(&["show", &format!("{branch}:seen")]), "deep?? seen", "{branch}");
        assert_eq!((&status(&lab, &project, branch)["commits"], &status(&lab, &project, branch)["dirty"]), (&json!(1), &json!(0)));
    }
    assert_eq!(project.print(&["all", "alone"]), before, "nothing but the branches is there");
    merge(&lab, &project, "all");
    // The user's own copy is where it was: what git shows before the commit is the sign that it is.
    let out = project.try_git(&["submodule", "status", "libs/in ner"]);
    assert!(String::from_utf8_lossy(&out.stdout).starts_with(' '), "{out:?}");
}

#[test]
fn a_clone_without_its_past_is_worked_on_as_it_is() {
    let lab = Lab::new();
    let project = cloned(&lab, "shallow", &["--depth=2"]);
    let cut = std::fs::read(project.dir.join(".git/shallow")).expect("it is shallow");
    for (branch, more) in [("all", &[][..]), ("alone", &["--history", "branch"])] {
        let look = told(&format!("git rev-list --count HEAD > {branch}.txt; git add -A; git commit -q -m {branch}"));
        spawn(&lab, &project, branch, &look, more).succeeds();
        assert_eq!(project.git(&["show", &format!("{branch}:{branch}.txt")]), "2", "no more of the past than the user has");
    }
    merge(&lab, &project, "all");
    assert_eq!(std::fs::read(project.dir.join(".git/shallow")).expect("there"), cut);
    project.git(&["fsck", "--connectivity-only"]);
}

#[test]
fn a_clone_whose_objects_are_elsewhere_is_refused_with_what_helps() {
    let lab = Lab::new();
    let project = cloned(&lab, "partial", &["--filter=blob:none"]);
    let task = commits("one.txt", "one", "one");
    let ran = spawn(&lab, &project, "one", &task, &[]).fails("PATH_UNUSABLE", 3);
    assert!(ran.err.contains("git fetch --refetch --no-filter, then unset remote.origin.promisor"), "{}", ran.err);
    assert_eq!(project.git(&["branch", "--list", "one"]), "");
    project.git(&["fetch", "--quiet", "--refetch", "--no-filter"]);
    project.git(&["config", "--unset", "remote.origin.promisor"]);
    spawn(&lab, &project, "one", &task, &[]).succeeds();
    assert_eq!(project.git(&["show", "one:one.txt"]), "one");
}

#[test]
fn other_forms_of_objects_and_of_references_are_as_good() {
    let lab = Lab::new();
    for (form, digits) in [("--object-format=sha256", 64), ("--ref-format=reftable", 40)] {
        let project = Project::new(&lab, &form[2..8]);
        std::fs::remove_dir_all(project.dir.join(".git")).expect("remove");
        project.git(&["init", "--quiet", "--initial-branch=main", form, "."]);
        for (key, value) in [("user.name", "Uma User"), ("user.email", "uma@example.org")] {
            project.git(&["config", key, value]);
        }
        project.git(&["add", "."]);
        project.git(&["commit", "-q", "-m", "first"]);
        spawn(&lab, &project, "feat/one", &commits("one.txt", "one", "one"), &[]).succeeds();
        let tip = project.git(&["rev-parse", "feat/one"]);
        assert_eq!((tip.len(), &status(&lab, &project, "feat/one")["tip"]), (digits, &json!(tip)), "{form}");
        let diff = lab.run(&["agents", "diff", "--repo", project.repo(), "feat/one"]).succeeds().out;
        assert!(diff.contains("+one"), "{diff}");
        lab.run(&["agents", "merge", "--repo", project.repo(), "feat/one", "--yes", "--expect", &tip]).succeeds();
        assert_eq!(project.git(&["show", "main:one.txt"]), "one", "{form}");
        assert_eq!(project.git(&["status", "--porcelain"]), "", "{form}");
    }
}
