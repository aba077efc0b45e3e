//! An agent that works on several repositories: each in a clone of its own, merged in all of them or in none.

use serde_json::{Value, json};

use crate::branches::{Project, commits, spawn, status, told};
use crate::support::{Lab, Ran};

/// Where the second repository lies inside.
const LIB: &str = "/home/sandbox/repos/lib";

fn agents(lab: &Lab, project: &Project, verb: &str, more: &[&str]) -> Ran {
    let mut args = vec!["agents", verb, "--repo", project.repo()];
    args.extend(more);
    lab.run(&args)
}

/// Commits a file in the first repository and one in the second.
fn in_both(file: &str, text: &str) -> String {
    format!(
        "printf '{text}' > {file}; git add {file}; git commit -q -m '{file} in app'; \
         cd {LIB}; printf '{text}' > {file}; git add {file}; git commit -q -m '{file} in lib'"
    )
}

fn heads(projects: [&Project; 2]) -> [String; 2] {
    projects.map(|project| project.git(&["rev-parse", "main"]))
}

#[test]
fn two_repositories_from_the_spawn_to_the_end() {
    let lab = Lab::new();
    let (app, lib) = (Project::new(&lab, "app"), Project::new(&lab, "lib"));
    lib.git(&["branch", "other"]);
    lib.write("draft.txt", "of the user\n");
    let before = [app.print(&["both"]), lib.print(&["both"])];
    let look = format!("cd {LIB}; git rev-parse -q --verify origin/other > sees.txt; git add -A; cd /workspace");
    let task = told(&format!("{look}; {}; printf left > left.txt", in_both("new.txt", "x\\n")));
    spawn(&lab, &app, "both", &task, &["--repo", lib.repo(), "--carry"]).succeeds();
    assert_eq!([app.print(&["both"]), lib.print(&["both"])], before, "nothing but the branches is there");
    assert_eq!(lib.git(&["log", "--format=%s %an <%ae>", "main..both"]), "new.txt in lib Uma User <uma@example.org>");
    // It is one agent, wherever one asks.
    let agent = status(&lab, &app, "both");
    assert_eq!(status(&lab, &lib, "both")["id"], agent["id"]);
    let also = &agent["also"][0];
    assert_eq!((&also["name"], &also["commits"], &also["untracked"]), (&json!("lib"), &json!(1), &json!(1)), "{agent}");
    assert_eq!((&agent["commits"], &agent["untracked"]), (&json!(1), &json!(0)), "{agent}");
    assert_eq!(also["tip"], json!(lib.git(&["rev-parse", "both"])));
    assert_eq!(lib.git(&["show", "both:draft.txt"]), "of the user", "what is not committed was carried in");
    assert_eq!(lib.git(&["show", "both:sees.txt"]), lib.git(&["rev-parse", "other"]), "the other branches are there");
    assert_eq!(agents(&lab, &lib, "list", &["--json"]).succeeds().events().len(), 1);
    for verb in ["diff", "review", "summary"] {
        let text = agents(&lab, &app, verb, &["both"]).succeeds().out;
        assert!(text.contains("new.txt") && text.contains("in lib:"), "{verb}: {text}");
    }
    let diff = agents(&lab, &app, "diff", &["both", "--json"]).succeeds().events().remove(0);
    let files = |diff: &Value| diff["files"].as_array().expect("files").iter().map(|file| file["path"].clone()).collect::<Vec<_>>();
    assert_eq!(files(&diff), ["new.txt"]);
    assert_eq!(files(&diff["also"][0]["diff"]), ["draft.txt", "new.txt", "sees.txt"]);
    // What is open in one is refused for all.
    let ran = agents(&lab, &app, "clean", &["both"]).fails("WORK_UNSAVED", 1);
    assert!(ran.err.contains("1 file unknown to git in lib"), "{}", ran.err);
    // A further turn works in both again, and is merged with them. The draft of the user's would be in the way.
    std::fs::remove_file(lib.dir.join("draft.txt")).expect("remove");
    agents(&lab, &app, "resume", &["both", "--task", &told(&in_both("more.txt", "y\\n")), "--wait"]).succeeds();
    agents(&lab, &app, "merge", &["both", "--yes"]).succeeds();
    for project in [&app, &lib] {
        assert_eq!(project.git(&["rev-parse", "main"]), project.git(&["rev-parse", "both"]));
        assert_eq!(std::fs::read_to_string(project.dir.join("more.txt")).expect("merged"), "y\n");
        assert_eq!(project.git(&["status", "--porcelain"]), "");
    }
    let agent = status(&lab, &lib, "both");
    assert_eq!((&agent["merged_into"], &agent["also"][0]["merged_into"]), (&json!("main"), &json!("main")), "{agent}");
    let kept = lab.path("kept");
    agents(&lab, &app, "clean", &["both", "--archive", kept.to_str().expect("utf-8"), "--delete-branch"]).succeeds();
    assert_eq!(std::fs::read_to_string(kept.join("both.lib/left.txt")).expect("kept"), "left");
    for project in [&app, &lib] {
        assert!(!project.try_git(&["rev-parse", "--verify", "-q", "both"]).status.success());
    }
    assert_eq!(agents(&lab, &lib, "list", &["--json"]).succeeds().out, "");
}

#[test]
fn what_does_not_merge_in_one_is_merged_in_none() {
    let lab = Lab::new();
    let (app, lib) = (Project::new(&lab, "app"), Project::new(&lab, "lib"));
    let task = told(&format!("{}; printf 'agent\\n' > README.md; git commit -q -a -m readme", in_both("new.txt", "x")));
    spawn(&lab, &app, "both", &task, &["--repo", lib.repo()]).succeeds();
    lib.write("README.md", "the user\n");
    lib.git(&["commit", "-q", "-a", "-m", "of the user"]);
    let before = heads([&app, &lib]);
    let ran = agents(&lab, &app, "preview", &["both"]).ends_with(5);
    assert!(ran.out.contains("lib: README.md"), "{}", ran.out);
    let ran = agents(&lab, &app, "merge", &["both", "--yes"]).ends_with(5);
    assert!(ran.out.contains("lib: README.md"), "{}", ran.out);
    assert_eq!(heads([&app, &lib]), before, "nothing was merged anywhere");
    // Nor where a file of the user's is in the way in one.
    lib.git(&["reset", "-q", "--hard", "HEAD~1"]);
    lib.write("new.txt", "of the user\n");
    let before = heads([&app, &lib]);
    let ran = agents(&lab, &app, "merge", &["both", "--yes"]).fails("CONFLICT", 1);
    assert!(ran.err.contains("lib: ") && ran.err.contains("new.txt"), "{}", ran.err);
    assert_eq!(heads([&app, &lib]), before);
    assert_eq!(app.git(&["status", "--porcelain"]), "", "nor were files written");
    // The control: out of the way it merges, in both. The check sees both.
    std::fs::remove_file(lib.dir.join("new.txt")).expect("remove");
    agents(&lab, &app, "check", &["both", "--run", &format!("test -f new.txt && test -f {LIB}/new.txt")]).succeeds();
    agents(&lab, &app, "merge", &["both", "--yes"]).succeeds();
    assert_eq!(heads([&app, &lib]), [&app, &lib].map(|project| project.git(&["rev-parse", "both"])));
}

#[test]
fn a_queue_takes_every_repository_of_an_agent_or_none() {
    let lab = Lab::new();
    let (app, lib) = (Project::new(&lab, "app"), Project::new(&lab, "lib"));
    let clash = told(&format!("{}; printf 'agent\\n' > README.md; git commit -q -a -m readme", in_both("clash.txt", "x")));
    let whole = format!("test -f alone.txt && test -f new.txt && grep -q user {LIB}/README.md && test -f {LIB}/new.txt");
    spawn(&lab, &app, "alone", &commits("alone.txt", "1", "alone"), &["--check", "true"]).succeeds();
    spawn(&lab, &app, "both", &told(&in_both("new.txt", "x")), &["--repo", lib.repo(), "--check", &whole]).succeeds();
    spawn(&lab, &app, "clash", &clash, &["--repo", lib.repo(), "--check", "true"]).succeeds();
    lib.write("README.md", "the user\n");
    lib.git(&["commit", "-q", "-a", "-m", "of the user"]);
    let before = heads([&app, &lib]);
    let queue = |more: &[&str]| agents(&lab, &app, "merge", &[more, &["--queue", "--yes"]].concat());
    // What was not looked at, or does not pass in one, changes nothing in the other.
    let [at, other] = [&app, &lib].map(|project| project.git(&["rev-parse", "both"]));
    let ran = queue(&["both", "--expect", &format!("{at},lib={at}")]).ends_with(1);
    assert!(ran.err.contains("both in lib is at"), "{}", ran.err);
    let ran = queue(&["both", "--check", &format!("! test -f {LIB}/new.txt")]).ends_with(1);
    assert!(ran.out.contains("the check failed on the result"), "{}", ran.out);
    assert_eq!(heads([&app, &lib]), before);
    // One after the other, each on top of what is there by then, until one of them does not fit.
    let ran = queue(&["alone", "both", "clash"]).ends_with(5);
    assert!(ran.out.contains("both is merged into main") && ran.out.contains("lib: README.md"), "{}", ran.out);
    assert_eq!(app.git(&["log", "--format=%s", "main"]), "new.txt in app\nalone\nfirst");
    assert_eq!(lib.git(&["log", "--format=%s", "main"]), "new.txt in lib\nof the user\nfirst");
    for project in [&app, &lib] {
        assert_eq!(std::fs::read_to_string(project.dir.join("new.txt")).expect("merged"), "x");
        assert_eq!(project.git(&["status", "--porcelain"]), "");
    }
    let agent = status(&lab, &lib, "both");
    assert_eq!((&agent["merged_into"], &agent["also"][0]["merged_into"]), (&json!("main"), &json!("main")), "{agent}");
    // What is there is merged already, at the commits that were looked at.
    let ran = queue(&["both", "--expect", &format!("{at},lib={other}")]).succeeds();
    assert!(ran.out.contains("main has everything of both already"), "{}", ran.out);
    agents(&lab, &app, "clean", &["both", "--delete-branch"]).succeeds();
}

#[test]
fn an_agent_reaches_nothing_beside_its_branch_in_any_repository() {
    let lab = Lab::new();
    let (app, lib) = (Project::new(&lab, "app"), Project::new(&lab, "lib"));
    lib.git(&["checkout", "-q", "-b", "hidden"]);
    lib.write("hidden.txt", "hidden\n");
    lib.git(&["add", "."]);
    lib.git(&["commit", "-q", "-m", "hidden"]);
    lib.git(&["checkout", "-q", "main"]);
    let hidden = lib.git(&["rev-parse", "hidden"]);
    let canary = lab.path("canary");
    let fire = format!("touch {}", canary.display());
    let plant = format!(
        "cd {LIB}; git cat-file -e {hidden} && echo leaked > leaked.txt; git log -1 --format=%s > last.txt; \
         mkdir -p .git/hooks; for h in post-checkout post-merge pre-commit reference-transaction post-update; do \
           printf '#!/bin/sh\\n{fire}\\n' > .git/hooks/$h; chmod +x .git/hooks/$h; done; \
         git config core.fsmonitor '{fire}'; git config diff.external '{fire}'; git config core.sshCommand '{fire}'; \
         git -c core.hooksPath=/dev/null -c core.fsmonitor=false add -A; \
         git -c core.hooksPath=/dev/null -c core.fsmonitor=false commit -q -m planted; git branch -f main HEAD; git branch own"
    );
    let before = [app.print(&["evil"]), lib.print(&["evil"])];
    spawn(&lab, &app, "evil", &told(&plant), &["--repo", lib.repo(), "--history", "branch"]).succeeds();
    for verb in ["fetch", "diff", "preview", "summary"] {
        agents(&lab, &app, verb, &["evil"]).succeeds();
    }
    assert_eq!([app.print(&["evil"]), lib.print(&["evil"])], before, "neither its main nor its own branch came");
    assert!(!canary.exists(), "nothing of the agent's ran on the host");
    assert!(!lib.git(&["ls-tree", "--name-only", "evil"]).contains("leaked"), "another branch's commit is out of reach");
    assert_eq!(lib.git(&["show", "evil:last.txt"]), "first", "the control: what its branch reaches is there");
    // A clone that is gone, or leads elsewhere, is told; what came home stays.
    let tip = lib.git(&["rev-parse", "evil"]);
    let gone = told(&format!("rm -rf {LIB}; ln -s /nowhere {LIB}"));
    agents(&lab, &app, "resume", &["evil", "--task", &gone, "--wait"]).succeeds();
    let agent = status(&lab, &app, "evil");
    assert!(agent["also"][0]["note"].as_str().is_some_and(|note| note.contains("no branch evil any more")), "{agent}");
    assert_eq!(lib.git(&["rev-parse", "evil"]), tip);
    let ran = agents(&lab, &app, "clean", &["evil"]).fails("WORK_UNSAVED", 1);
    assert!(ran.err.contains("commits in lib that did not come home"), "{}", ran.err);
    // What names repositories wrongly makes nothing.
    let refused = |more: &[&str], code: &str, status: i32| {
        let mut args = vec!["spawn", "-b", "x", "--task", "x", "--repo", app.repo()];
        args.extend(more);
        lab.run(&args).fails(code, status);
    };
    let named = |name: &str| format!("{name}={}", lib.repo());
    refused(&["--repo", app.repo()], "USAGE", 2);
    refused(&["--repo", &named("..")], "USAGE", 2);
    refused(&["--repo", &named("$(x)")], "USAGE", 2);
    let mirrors = std::fs::read_dir(lab.home().join("mirrors")).expect("read").flatten().map(|entry| entry.path());
    let mirror = mirrors.into_iter().find(|path| path.join("HEAD").is_file()).expect("a mirror");
    refused(&["--repo", mirror.to_str().expect("utf-8")], "PATH_UNUSABLE", 3);
    lib.git(&["branch", "x/y"]);
    refused(&["--repo", lib.repo()], "CONFLICT", 1);
    // One branch of a repository has one agent, whichever of its repositories it is.
    lab.run(&["spawn", "-b", "evil", "--task", "x", "--repo", lib.repo()]).fails("CONFLICT", 1);
    assert_eq!(agents(&lab, &app, "list", &["--json"]).succeeds().events().len(), 1);
}

#[test]
fn a_run_has_clones_of_several_repositories() {
    let lab = Lab::new();
    let (app, lib) = (Project::new(&lab, "app"), Project::new(&lab, "lib"));
    lib.write("lib.txt", "of lib\n");
    lib.git(&["add", "."]);
    lib.git(&["commit", "-q", "-m", "lib"]);
    let before = [app.print(&[]), lib.print(&[])];
    let repos = ["--repo", app.repo(), "--repo", lib.repo(), "--repo", &format!("again={}", lib.repo())];
    let mut args = vec!["shell"];
    args.extend(repos);
    let script = "cat README.md ~/repos/lib/lib.txt; git -C ~/repos/again log --format=%s; echo x > ~/repos/lib/lib.txt";
    args.extend(["--", "sh", "-c", script]);
    let ran = lab.run(&args).succeeds();
    assert_eq!(ran.out, "one\ntwo\nthree\nof lib\nlib\nfirst\n");
    let mut args = vec!["run", "--json", "--model", "rehearsal"];
    args.extend(repos);
    let task = told("cat ~/repos/lib/lib.txt; git -C ~/repos/again status");
    args.push(&task);
    let ran = lab.run(&args).succeeds();
    assert!(ran.out.contains("of lib") && ran.out.contains("On branch main"), "{}", ran.out);
    assert_eq!([app.print(&[]), lib.print(&[])], before);
    lab.run(&["shell", "--repo", app.repo(), "--repo", lib.repo(), "--repo", lib.repo(), "--", "true"]).fails("USAGE", 2);
}
