//! Agents on branches, as a user meets them: from a repository to the merge.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Lab, Ran, comes};
use crate::web::Web;

/// A user's repository, and the user's git.
pub(crate) struct Project {
    pub(crate) dir: PathBuf,
}

impl Project {
    pub(crate) fn new(lab: &Lab, name: &str) -> Self {
        let project = Self { dir: lab.path(name) };
        std::fs::create_dir(&project.dir).expect("make");
        project.git(&["init", "--quiet", "--initial-branch=main", "."]);
        project.git(&["config", "user.name", "Uma User"]);
        project.git(&["config", "user.email", "uma@example.org"]);
        project.write("README.md", "one\ntwo\nthree\n");
        project.write("src/lib.txt", "a\nb\nc\nd\ne\nf\ng\nh\n");
        project.git(&["add", "."]);
        project.git(&["commit", "--quiet", "-m", "first"]);
        project
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.dir.join(path);
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("make");
        std::fs::write(path, text).expect("write");
    }

    pub(crate) fn try_git(&self, args: &[&str]) -> std::process::Output {
        let mut git = Command::new("git");
        git.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", "/nonexistent").env("GIT_CONFIG_NOSYSTEM", "1");
        git.current_dir(&self.dir).args(args).output().expect("run git")
    }

    #[track_caller]
    pub(crate) fn git(&self, args: &[&str]) -> String {
        let out = self.try_git(args);
        assert!(out.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).trim_end().to_owned()
    }

    pub(crate) fn repo(&self) -> &str {
        self.dir.to_str().expect("utf-8")
    }

    /// Everything that must stay as it is: files, index, configuration, hooks, HEAD, and the references but those of agents.
    pub(crate) fn print(&self, but: &[&str]) -> Vec<String> {
        let mut all = Vec::new();
        walk(&self.dir, &self.dir, &mut all);
        let refs = self.git(&["for-each-ref", "--format=%(refname) %(objectname)"]);
        all.extend(refs.lines().filter(|line| !but.iter().any(|name| line.starts_with(&format!("refs/heads/{name} ")))).map(str::to_owned));
        all.sort();
        all
    }
}

/// Files with what they hold; not the objects, which may only grow, nor where references lie.
fn walk(root: &Path, dir: &Path, all: &mut Vec<String>) {
    for entry in std::fs::read_dir(dir).expect("read").flatten() {
        let path = entry.path();
        let name = path.strip_prefix(root).expect("below").display().to_string();
        if [".git/objects", ".git/refs", ".git/packed-refs", ".git/logs"].contains(&name.as_str()) {
            continue;
        }
        let meta = std::fs::symlink_metadata(&path).expect("there");
        use std::os::unix::fs::{MetadataExt, PermissionsExt};
        if meta.is_dir() {
            all.push(format!("{name}/ {:o}", meta.permissions().mode()));
            walk(root, &path, all);
        } else {
            let bytes = if meta.is_file() { std::fs::read(&path).expect("read") } else { Vec::new() };
            all.push(format!("{name} {:o} {} {:?}", meta.permissions().mode(), meta.uid(), bytes));
        }
    }
}

/// A task whose script runs this command inside.
pub(crate) fn told(command: &str) -> String {
    // As long as the tool lets a command run: none ends by itself that a test is to end.
    format!("do it\ncall bash {}", json!({ "command": command, "timeout_s": 3600 }))
}

/// Writes a line into a file inside, and commits it.
pub(crate) fn commits(file: &str, text: &str, subject: &str) -> String {
    told(&format!("mkdir -p $(dirname {file}); printf '{text}' > {file}; git add -A; git commit -q -m '{subject}'"))
}

/// Spawns an agent with the rehearsal and waits for its end.
#[track_caller]
pub(crate) fn spawn(lab: &Lab, project: &Project, branch: &str, task: &str, more: &[&str]) -> Ran {
    let mut args = vec!["spawn", "--repo", project.repo(), "--branch", branch, "--task", task, "--wait"];
    args.extend(more);
    lab.run(&args)
}

#[track_caller]
pub(crate) fn status(lab: &Lab, project: &Project, branch: &str) -> Value {
    lab.run(&["agents", "status", "--json", "--repo", project.repo(), "--branch", branch]).succeeds().events().remove(0)
}

fn agents(lab: &Lab, project: &Project, verb: &str, more: &[&str]) -> Ran {
    let mut args = vec!["agents", verb, "--repo", project.repo()];
    args.extend(more);
    lab.run(&args)
}

#[test]
fn from_a_repository_to_the_merge_without_a_key() {
    let lab = Lab::new();
    let project = Project::new(&lab, "project");
    let before = project.print(&["feat/first"]);
    let ran = spawn(&lab, &project, "feat/first", "Add a rehearsal", &[]).succeeds();
    assert!(ran.out.contains("feat/first: a new agent (type feature, found out, mini)"), "{}", ran.out);
    assert!(ran.err.contains("this is a rehearsal"), "{}", ran.err);
    assert_eq!(project.print(&["feat/first"]), before, "nothing but the branch is there");
    let agent = status(&lab, &project, "feat/first");
    assert_eq!((&agent["state"], &agent["commits"], &agent["ref"]), (&json!("done"), &json!(1), &json!("refs/heads/feat/first")));
    assert_eq!(agent["tip"], json!(project.git(&["rev-parse", "feat/first"])));
    assert_eq!(project.git(&["log", "--format=%an <%ae>", "-1", "feat/first"]), "Uma User <uma@example.org>");
    let list = agents(&lab, &project, "list", &[]).succeeds().out;
    assert!(list.contains("feat/first") && list.contains("done"), "{list}");
    let diff = agents(&lab, &project, "diff", &["feat/first"]).succeeds().out;
    assert!(diff.contains("+Rehearsed without a model."), "{diff}");
    agents(&lab, &project, "summary", &["feat/first"]).succeeds();
    let log = agents(&lab, &project, "logs", &["feat/first"]).succeeds().out;
    assert!(log.contains("This is a rehearsal"), "{log}");
    agents(&lab, &project, "merge", &["feat/first", "--yes"]).succeeds();
    assert_eq!(project.git(&["rev-parse", "main"]), project.git(&["rev-parse", "feat/first"]));
    assert_eq!(std::fs::read_to_string(project.dir.join("REHEARSAL.md")).expect("there"), "Rehearsed without a model.\n");
    assert_eq!(project.git(&["status", "--porcelain"]), "");
    assert_eq!(status(&lab, &project, "feat/first")["merged_into"], json!("main"));
    agents(&lab, &project, "clean", &["feat/first", "--delete-branch"]).succeeds();
    assert!(!project.try_git(&["rev-parse", "--verify", "-q", "feat/first"]).status.success());
    assert_eq!(agents(&lab, &project, "list", &["--json"]).succeeds().out, "");
}

#[test]
fn a_task_is_data_wherever_it_goes() {
    let lab = Lab::new();
    let project = Project::new(&lab, "project");
    let canary = lab.path("canary");
    let text = canary.display().to_string();
    let task =
        format!("say \"hi\" 'there' $(touch {text}) `touch {text}` $(shell touch {text})\nsecond; touch {text} | x && y\\ {{{{ z }}}} %s");
    spawn(&lab, &project, "work", &task, &["--type", "other"]).succeeds();
    assert!(!canary.exists(), "nothing of the task ran on the host");
    let agent = status(&lab, &project, "work");
    assert_eq!(agent["task"], json!(task));
    let session = agent["session"].as_str().expect("a session");
    let turn = agent["turn"].as_str().expect("a turn");
    let _ = (session, turn);
    // The same on standard input.
    let args = ["spawn", "--repo", project.repo(), "--branch", "work-2", "--task", "-", "--wait"];
    lab.run_with(&args, task.as_bytes()).succeeds();
    assert_eq!(status(&lab, &project, "work-2")["task"], json!(task));
    assert!(!canary.exists());
}

#[test]
fn what_an_agent_plants_in_its_clone_never_runs_on_the_host() {
    let lab = Lab::new();
    let project = Project::new(&lab, "project");
    let canary = lab.path("canary");
    let fire = format!("touch {}", canary.display());
    let plant = format!(
        "mkdir -p .git/hooks; for h in post-checkout post-merge pre-commit reference-transaction post-update pre-push; do \
           printf '#!/bin/sh\\n{fire}\\n' > .git/hooks/$h; chmod +x .git/hooks/$h; done; \
         git config core.fsmonitor '{fire}'; git config core.sshCommand '{fire}'; git config diff.external '{fire}'; \
         git config filter.x.smudge '{fire}'; git config filter.x.clean '{fire}'; git config alias.status '!{fire}'; \
         git config core.hooksPath /workspace/hooks; mkdir hooks; cp .git/hooks/post-merge hooks/; \
         printf '* filter=x diff=x merge=x\\n' > .gitattributes; echo x > planted; git -c core.hooksPath=/dev/null add -A; \
         git -c core.hooksPath=/dev/null -c core.fsmonitor=false commit -q -m planted"
    );
    let before = project.print(&["evil"]);
    spawn(&lab, &project, "evil", &told(&plant), &[]).succeeds();
    assert_eq!(status(&lab, &project, "evil")["commits"], json!(1), "the commit came home");
    for verb in ["status", "summary", "diff", "fetch", "preview"] {
        agents(&lab, &project, verb, &["evil"]).succeeds();
    }
    assert_eq!(project.print(&["evil"]), before);
    assert!(!canary.exists(), "nothing of the agent's ran on the host");
    // Files that pass through filters are for the user's own git to write: it is named, and nothing moves.
    let ran = agents(&lab, &project, "merge", &["evil", "--yes"]).fails("PATH_UNUSABLE", 3);
    assert!(ran.err.contains("git merge --ff-only"), "{}", ran.err);
    assert_eq!(project.print(&["evil"]), before, "nor by a merge that is refused");
    assert!(!canary.exists());
}

#[test]
fn spawning_again_is_a_further_turn() {
    let lab = Lab::new();
    let project = Project::new(&lab, "project");
    spawn(&lab, &project, "feat/again", &commits("one.txt", "1", "one"), &[]).succeeds();
    let first = status(&lab, &project, "feat/again");
    let ran = spawn(&lab, &project, "feat/again", &commits("two.txt", "2", "two"), &[]).succeeds();
    assert!(ran.out.contains("a further task for the agent"), "{}", ran.out);
    let second = status(&lab, &project, "feat/again");
    assert_eq!((&first["id"], &first["session"]), (&second["id"], &second["session"]));
    assert_eq!((&second["turns"], &second["commits"]), (&json!(2), &json!(2)));
    assert_eq!(project.git(&["log", "--format=%s", "main..feat/again"]), "two\none");
    agents(&lab, &project, "resume", &["feat/again", "--task", &commits("three.txt", "3", "three"), "--wait"]).succeeds();
    assert_eq!(project.git(&["log", "--format=%s", "main..feat/again"]), "three\ntwo\none");
    lab.run(&["spawn", "--repo", project.repo(), "-b", "feat/again", "--task", "x", "--engine", "codex"]).fails("CONFLICT", 1);
}

#[test]
fn any_program_by_its_path_works_on_a_branch() {
    let lab = Lab::new();
    let project = Project::new(&lab, "project");
    let text = "#!/bin/sh\ncat >> said.txt\ntouch \"$0.planted\" 2>/dev/null\ngit add -A\ngit commit -q -m said\necho it is written\n";
    let program = lab.program("scribe", text);
    let by = |path: &str, task: &str| {
        let path = ["--engine", path, "--model", "rehearsal"];
        spawn(&lab, &project, "by/path", task, &path)
    };
    by(&program, "the first word").succeeds();
    let said = || project.git(&["show", "by/path:said.txt"]);
    assert!(said().contains("the first word"), "{}", said());
    assert_eq!(status(&lab, &project, "by/path")["engine"], json!("program:/home/sandbox/own-engine/scribe"));
    assert!(!Path::new(&format!("{program}.planted")).exists(), "its directory is only read");
    // Another program of the same name is another engine.
    let other = lab.path("elsewhere");
    std::fs::create_dir(&other).expect("make");
    std::fs::copy(&program, other.join("scribe")).expect("copy");
    by(other.join("scribe").to_str().expect("utf-8"), "x").fails("CONFLICT", 1);
    by("/nowhere/at-all", "x").fails("ENGINE_MISSING", 3);
    // The next daemon finds the program by itself. Over the network nobody names a directory of this machine.
    lab.run(&["stop", "--grace", "0s"]).succeeds();
    let web = Web::start(&lab);
    let form = json!({ "repo": project.repo(), "branch": "over/http", "task": "x", "engine": "program:/home/sandbox/own-engine/scribe",
        "program": "/home/sandbox/own-engine/scribe", "engine_dir": Path::new(&program).parent() });
    assert_eq!(web.ask(&web.owner, "POST", "/v1/branches", form).is(403)["error"]["field"], "engine_dir");
    agents(&lab, &project, "resume", &["by/path", "--task", "the second word", "--wait"]).succeeds();
    assert!(said().contains("the second word"), "{}", said());
}

#[test]
fn names_and_subjects_of_any_kind_are_shown_as_they_are() {
    let lab = Lab::new();
    let project = Project::new(&lab, "project");
    let other = Project::new(&lab, "other");
    // These fell together when slashes and underscores became hyphens.
    for branch in ["feat/a-b", "feat-a_b", "feat/a_b", "deep/er/est", "ümlaut/ß", "a$b'c\"d"] {
        spawn(&lab, &project, branch, &commits("x", "x", "a \\\"quoted\\\" \\\\ subject"), &[]).succeeds();
        assert_eq!(status(&lab, &project, branch)["state"], json!("done"), "{branch}");
        assert!(project.try_git(&["rev-parse", "--verify", "-q", &format!("refs/heads/{branch}")]).status.success(), "{branch}");
    }
    spawn(&lab, &other, "feat/a-b", "the same name elsewhere", &[]).succeeds();
    let listed = agents(&lab, &project, "list", &["--json"]).succeeds().events();
    assert_eq!(listed.len(), 6, "those of this repository, all of them: {listed:?}");
    assert_eq!(lab.run(&["agents", "list", "--all", "--json"]).succeeds().events().len(), 7);
    for bad in ["-x", "a..b", "a b", "a\u{7}b", "a.lock", "HEAD"] {
        lab.run(&["spawn", "--repo", project.repo(), &format!("--branch={bad}"), "--task", "x"]).fails("USAGE", 2);
    }
    // Git cannot have a branch below another.
    lab.run(&["spawn", "--repo", project.repo(), "--branch", "feat/a-b/c", "--task", "x"]).fails("CONFLICT", 1);
    lab.run(&["spawn", "--repo", project.repo(), "--branch", "main/x", "--task", "x"]).fails("CONFLICT", 1);
}

#[test]
fn what_is_left_open_is_counted_kept_and_never_lost() {
    let lab = Lab::new();
    let project = Project::new(&lab, "project");
    spawn(&lab, &project, "open", &told("echo new > new.txt; echo more >> README.md"), &[]).succeeds();
    let agent = status(&lab, &project, "open");
    assert_eq!((&agent["commits"], &agent["dirty"], &agent["untracked"]), (&json!(0), &json!(1), &json!(1)));
    agents(&lab, &project, "clean", &["open"]).fails("WORK_UNSAVED", 1);
    assert!(agents(&lab, &project, "clean", &["open", "--dry-run"]).succeeds().out.contains("1 file changed"));
    let archive = lab.path("archive");
    agents(&lab, &project, "clean", &["open", "--archive", archive.to_str().expect("utf-8")]).succeeds();
    assert_eq!(std::fs::read_to_string(archive.join("open/new.txt")).expect("kept"), "new\n");
    agents(&lab, &project, "status", &["open"]).fails("NOT_FOUND", 2);
    // With --commit it becomes a last commit.
    spawn(&lab, &project, "kept", &told("echo new > new.txt"), &["--commit"]).succeeds();
    let agent = status(&lab, &project, "kept");
    assert_eq!((&agent["commits"], &agent["dirty"], &agent["untracked"]), (&json!(1), &json!(0), &json!(0)));
    assert_eq!(project.git(&["show", "kept:new.txt"]), "new");
}

#[test]
fn a_branch_that_the_user_moved_is_left_alone() {
    let lab = Lab::new();
    let project = Project::new(&lab, "project");
    spawn(&lab, &project, "moved", &commits("a", "1", "one"), &[]).succeeds();
    project.git(&["branch", "-f", "moved", "main"]);
    project.git(&["checkout", "-q", "moved"]);
    project.write("mine", "mine");
    project.git(&["add", "."]);
    project.git(&["commit", "-q", "-m", "mine"]);
    let mine = project.git(&["rev-parse", "moved"]);
    project.git(&["checkout", "-q", "main"]);
    spawn(&lab, &project, "moved", &commits("b", "2", "two"), &[]).succeeds();
    let agent = status(&lab, &project, "moved");
    assert_eq!(project.git(&["rev-parse", "moved"]), mine);
    assert_eq!(agent["ref"], json!("refs/lazaret/moved"));
    assert!(agent["note"].as_str().is_some_and(|note| note.contains("moved")), "{agent}");
    assert_eq!(project.git(&["log", "--format=%s", "main..refs/lazaret/moved"]), "two\none");
}

#[test]
fn a_conflict_changes_nothing_and_says_where() {
    let lab = Lab::new();
    let project = Project::new(&lab, "project");
    spawn(&lab, &project, "left", &commits("README.md", "left", "left"), &[]).succeeds();
    spawn(&lab, &project, "right", &commits("README.md", "right", "right"), &[]).succeeds();
    spawn(&lab, &project, "apart", &commits("apart.txt", "apart", "apart"), &[]).succeeds();
    let before = project.print(&[]);
    let seen = agents(&lab, &project, "preview", &["--json"]).succeeds().events().remove(0);
    assert_eq!(seen["pairs"].as_array().map(Vec::len), Some(1), "{seen}");
    assert_eq!(seen["pairs"][0]["files"], json!(["README.md"]));
    assert_eq!(project.print(&[]), before, "a preview touches nothing");
    let ran = agents(&lab, &project, "merge", &["left", "right", "apart", "--yes"]).ends_with(5);
    assert!(ran.out.contains("left is merged into main") && ran.out.contains("right conflicts with main"), "{}", ran.out);
    assert!(!ran.out.contains("apart is merged"), "it stops there");
    assert_eq!(std::fs::read_to_string(project.dir.join("README.md")).expect("there"), "left");
    assert_eq!(project.git(&["status", "--porcelain"]), "");
    agents(&lab, &project, "merge", &["apart", "--yes"]).succeeds();
    assert!(project.git(&["log", "--format=%s", "-1"]).contains("apart"));
    // A merge that would touch a file which is not committed is refused before anything moves.
    spawn(&lab, &project, "more", &commits("apart.txt", "again", "again"), &[]).succeeds();
    project.write("apart.txt", "mine");
    let main = project.git(&["rev-parse", "main"]);
    agents(&lab, &project, "merge", &["more", "--yes"]).fails("CONFLICT", 1);
    assert_eq!(project.git(&["rev-parse", "main"]), main);
    assert_eq!(std::fs::read_to_string(project.dir.join("apart.txt")).expect("there"), "mine");
}

#[test]
fn a_queue_merges_what_passes_on_top_of_the_others() {
    let lab = Lab::new();
    let project = Project::new(&lab, "project");
    // Each passes alone; together they do not.
    let check = "test $(ls *.part | wc -l) -lt 3";
    for n in 1..=3 {
        let branch = format!("part-{n}");
        spawn(&lab, &project, &branch, &commits(&format!("{n}.part"), "x", &branch), &["--check", check]).succeeds();
        agents(&lab, &project, "check", &[&branch]).succeeds();
    }
    let ran = agents(&lab, &project, "merge", &["part-1", "part-2", "part-3", "--queue", "--yes"]).ends_with(1);
    assert!(ran.out.contains("part-2 is merged into main") && ran.out.contains("part-3 was not merged"), "{}", ran.out);
    assert!(project.dir.join("2.part").exists() && !project.dir.join("3.part").exists());
    assert_eq!(project.git(&["status", "--porcelain"]), "");
}

#[test]
fn the_best_of_several_is_picked() {
    let lab = Lab::new();
    let project = Project::new(&lab, "project");
    let ran = spawn(&lab, &project, "try", "Add a rehearsal", &["-n", "3", "--check", "test -f REHEARSAL.md", "--json"]).succeeds();
    assert_eq!(ran.events().len(), 3, "{}", ran.out);
    let ranked = agents(&lab, &project, "compare", &["try", "--json"]).succeeds().events();
    let checked = ranked.iter().filter(|line| line["check"]["passed"] == true).count();
    assert!(checked >= 3, "{ranked:?}");
    agents(&lab, &project, "pick", &["try-2", "--yes"]).succeeds();
    assert_eq!(project.git(&["rev-parse", "main"]), project.git(&["rev-parse", "try-2"]));
}

#[test]
fn comments_become_the_next_prompt() {
    let lab = Lab::new();
    let project = Project::new(&lab, "project");
    spawn(&lab, &project, "rev", &commits("a.txt", "a", "one"), &[]).succeeds();
    agents(&lab, &project, "review", &["rev", "--comment", "a.txt:1", "name it better"]).succeeds();
    let comment = told("git mv a.txt b.txt; git commit -q -m renamed");
    agents(&lab, &project, "review", &["rev", "--comment", ".", &comment, "--send", "--wait"]).succeeds();
    assert_eq!(project.git(&["log", "--format=%s", "main..rev"]), "renamed\none");
    agents(&lab, &project, "review", &["rev", "--send"]).fails("CONFLICT", 1);
    let shown = agents(&lab, &project, "review", &["rev"]).succeeds().out;
    assert!(shown.contains("#1 a.txt:1 (sent): name it better") && shown.contains("b.txt"), "{shown}");
    agents(&lab, &project, "review", &["rev", "--check", "test -f a.txt"]).ends_with(1);
    agents(&lab, &project, "review", &["rev", "--approve"]).succeeds();
    assert_eq!(status(&lab, &project, "rev")["verdict"]["verdict"], json!("approved"));
    agents(&lab, &project, "review", &["rev", "--reject"]).succeeds();
    assert_eq!(status(&lab, &project, "rev")["verdict"]["verdict"], json!("rejected"));
}

#[test]
fn a_stopped_agent_says_so_and_its_commits_come_home() {
    let lab = Lab::new();
    let project = Project::new(&lab, "project");
    let task = told("echo x > x; git add -A; git commit -q -m before; touch /tmp/there; sleep 100000");
    lab.run(&["spawn", "--repo", project.repo(), "--branch", "slow", "--task", &task]).succeeds();
    let has_committed = comes(|| {
        let now = agents(&lab, &project, "fetch", &["slow", "--json"]);
        now.status == 0 && now.events()[0]["commits"] == json!(1)
    });
    assert!(has_committed, "the commit does not come");
    assert_eq!(status(&lab, &project, "slow")["state"], json!("working"));
    agents(&lab, &project, "clean", &["slow"]).fails("CONFLICT", 1);
    agents(&lab, &project, "merge", &["slow", "--yes"]).fails("CONFLICT", 1);
    let ran = agents(&lab, &project, "stop", &["slow", "--json"]).succeeds();
    assert_eq!(ran.events()[0]["state"], json!("stopped"), "{}", ran.out);
    assert_eq!(project.git(&["log", "--format=%s", "main..slow"]), "before");
    assert_eq!(agents(&lab, &project, "wait", &["slow"]).status, 130);
}

#[test]
fn an_agent_sees_neither_the_others_nor_what_was_left_out() {
    let lab = Lab::new();
    let project = Project::new(&lab, "project");
    project.write(".gitignore", "ignored\n.env\n");
    project.git(&["add", "."]);
    project.git(&["commit", "-q", "-m", "ignore"]);
    project.git(&["checkout", "-q", "-b", "secret"]);
    project.write("secret.txt", "canary-of-another-branch");
    project.git(&["add", "."]);
    project.git(&["commit", "-q", "-m", "secret"]);
    project.git(&["checkout", "-q", "main"]);
    project.write("README.md", "changed and not committed\n");
    project.write("fresh.txt", "fresh\n");
    project.write(".env", "KEY=named\n");
    project.write("ignored", "not named\n");
    let look = "git log --all --format=%s | sort | tr '\\n' ' ' > seen; cat README.md >> seen; cat fresh.txt .env ignored >> seen 2>&1 || true; \
                git add -f seen; git commit -q -m seen";
    spawn(&lab, &project, "carried", &told(look), &["--carry", "--file", ".env", "--history", "branch"]).succeeds();
    let seen = project.git(&["show", "carried:seen"]);
    assert!(!seen.contains("secret") && seen.contains("changed and not committed"), "{seen}");
    assert!(seen.contains("fresh") && seen.contains("KEY=named") && !seen.contains("not named"), "{seen}");
    spawn(&lab, &project, "plain", &told(look), &[]).succeeds();
    let seen = project.git(&["show", "plain:seen"]);
    assert!(seen.contains("secret") && seen.contains("one") && !seen.contains("KEY=named"), "{seen}");
}

#[test]
fn verbs_and_places_that_are_wrong_name_the_right_ones() {
    let lab = Lab::new();
    let project = Project::new(&lab, "project");
    let ran = lab.run(&["agents", "add", "x"]).fails("USAGE", 2);
    assert!(ran.err.contains("lazaret agent add"), "{}", ran.err);
    let ran = lab.run(&["agent", "merge", "x"]).fails("USAGE", 2);
    assert!(ran.err.contains("lazaret agents merge"), "{}", ran.err);
    agents(&lab, &project, "status", &["nobody"]).fails("NOT_FOUND", 2);
    let empty = lab.path("empty");
    std::fs::create_dir(&empty).expect("make");
    lab.run(&["spawn", "--repo", empty.to_str().expect("utf-8"), "--branch", "a", "--task", "x"]).fails("PATH_UNUSABLE", 3);
    lab.run(&["spawn", "--repo", project.repo(), "--branch", "a", "--task", " "]).fails("PROMPT_INVALID", 2);
    lab.run(&["spawn", "--repo", project.repo(), "--branch", "a", "--task", "x", "--type", "magic"]).fails("USAGE", 2);
    lab.run(&["spawn", "--repo", project.repo(), "--branch", "a", "--task", "x", "--from", "nowhere"]).fails("NOT_FOUND", 2);
    assert_eq!(lab.run(&["agents", "list", "--all", "--json"]).succeeds().out, "", "nothing of it was made");
}

#[test]
fn death_is_noticed_at_once_and_a_limit_ends_the_work() {
    let lab = Lab::new();
    let project = Project::new(&lab, "project");
    let ran = spawn(&lab, &project, "dies", &told("echo x > x; git add -A; git commit -q -m before; kill -9 $PPID"), &[]);
    assert_ne!(ran.status, 0, "{}", ran.out);
    let agent = status(&lab, &project, "dies");
    assert_eq!((&agent["state"], &agent["commits"]), (&json!("failed"), &json!(1)), "what it committed is home: {agent}");
    assert!(agent["code"].is_string(), "{agent}");
    spawn(&lab, &project, "late", &told("sleep 100000"), &["--time", "2s"]).ends_with(4);
    assert_eq!(status(&lab, &project, "late")["code"], json!("TIMEOUT"));
    // It goes on from there.
    agents(&lab, &project, "resume", &["dies"]).succeeds();
    let log = agents(&lab, &project, "logs", &["dies", "--follow"]).succeeds().out;
    assert!(log.contains("The program ended before this tool did"), "{log}");
    assert_eq!(status(&lab, &project, "dies")["state"], json!("done"), "to the end");
    agents(&lab, &project, "resume", &["dies", "--task", &commits("y", "y", "after"), "--wait"]).succeeds();
    assert_eq!(project.git(&["log", "--format=%s", "main..dies"]), "after\nbefore");
}

#[test]
fn a_copy_of_an_agents_session_leaves_the_branch_alone() {
    let lab = Lab::new();
    let project = Project::new(&lab, "project");
    spawn(&lab, &project, "orig", &commits("a", "1", "one"), &[]).succeeds();
    let agent = status(&lab, &project, "orig");
    let session = agent["session"].as_str().expect("a session").to_owned();
    let tip = project.git(&["rev-parse", "orig"]);
    lab.run(&["session", "fork", &session, "--prompt", &commits("b", "2", "of the copy")]).succeeds();
    assert_eq!(project.git(&["rev-parse", "orig"]), tip);
    assert_eq!(project.git(&["for-each-ref", "refs/lazaret"]), "");
    lab.run(&["session", "delete", &session]).fails("CONFLICT", 1);
    assert_eq!(status(&lab, &project, "orig")["state"], json!("done"));
}

#[test]
fn the_older_names_mean_the_same() {
    let lab = Lab::new();
    let project = Project::new(&lab, "project");
    spawn(&lab, &project, "old", "Add a rehearsal", &[]).succeeds();
    for verb in ["status-agent", "summary-agent", "logs-agent", "follow-agent", "stop-agent"] {
        lab.run(&[verb, "--repo", project.repo(), "--branch", "old"]).succeeds();
    }
    assert!(lab.run(&["list-agents", "--repo", project.repo()]).succeeds().out.contains("old"));
}
