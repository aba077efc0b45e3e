//! What the clone of a branch agent holds and what comes of it at home: large files, parts of a tree, working trees, types and names.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use serde_json::json;

use crate::branches::{Project, commits, spawn, status, told};
use crate::support::{Lab, Ran};

fn agents(lab: &Lab, project: &Project, verb: &str, more: &[&str]) -> Ran {
    let mut args = vec!["agents", verb, "--repo", project.repo()];
    args.extend(more);
    lab.run(&args)
}

/// The user's git with git-lfs, as `git lfs install` sets it up; and what a filter would do that nobody wants on the host.
fn large(lab: &Lab, name: &str) -> Project {
    let project = Project::new(lab, name);
    project.git(&["lfs", "install", "--local"]);
    project.write(".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n");
    project.write("art/big.bin", &"large ".repeat(1000));
    project.write("art/gone.bin", &"lost ".repeat(1000));
    project.git(&["add", "."]);
    project.git(&["commit", "-q", "-m", "large"]);
    project
}

/// Where an object of the user's lies, by what the pointer of a path says.
fn object(project: &Project, rev: &str) -> std::path::PathBuf {
    let pointer = project.git(&["cat-file", "blob", rev]);
    let hash = pointer.lines().find_map(|line| line.strip_prefix("oid sha256:")).expect("a pointer");
    project.dir.join(".git/lfs/objects").join(&hash[..2]).join(&hash[2..4]).join(hash)
}

#[test]
fn large_files_are_lent_and_come_home_by_their_hashes() {
    let lab = Lab::new();
    let project = large(&lab, "project");
    std::fs::remove_file(object(&project, "main:art/gone.bin")).expect("there");
    let canary = lab.path("canary");
    let script = lab.path("trap");
    std::fs::write(&script, format!("#!/bin/sh\ntouch {}\ncat\n", canary.display())).expect("write");
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).expect("chmod");
    // The user's own filter, which no host git of ours may start.
    for key in ["clean", "smudge", "process"] {
        project.git(&["config", &format!("filter.lfs.{key}"), script.to_str().expect("utf-8")]);
    }
    let before = project.print(&["large"]);
    let task = told(
        "head -c 6 art/big.bin > seen; head -c 7 art/gone.bin >> seen; printf 'fresh large' > art/new.bin; \
         printf '[lfs]\\n\\turl = http://127.0.0.1:1/x\\n\\tstandalonetransferagent = t\\n' > .lfsconfig; \
         git config lfs.customtransfer.t.path /workspace/trap; git add -A; git commit -q -m large; git status --porcelain >> seen",
    );
    let ran = spawn(&lab, &project, "large", &task, &[]).succeeds();
    assert!(ran.err.contains("art/gone.bin"), "what is missing is told: {}", ran.err);
    let agent = status(&lab, &project, "large");
    assert_eq!((&agent["commits"], &agent["note"]), (&json!(1), &json!(null)), "{agent}");
    assert_eq!(project.git(&["cat-file", "blob", "large:seen"]), "large version");
    let new = object(&project, "large:art/new.bin");
    assert_eq!(std::fs::read_to_string(&new).expect("it came home"), "fresh large");
    for verb in ["diff", "preview", "fetch"] {
        agents(&lab, &project, verb, &["large"]).succeeds();
    }
    agents(&lab, &project, "check", &["large", "--run", "grep -q 'fresh large' art/new.bin"]).succeeds();
    assert!(!canary.exists(), "no filter ran on the host");
    let home: Vec<String> = project.print(&["large"]).into_iter().filter(|line| !line.starts_with(".git/lfs/")).collect();
    let was: Vec<String> = before.into_iter().filter(|line| !line.starts_with(".git/lfs/")).collect();
    assert_eq!(home, was, "nothing but the branch and its objects is there");
    // Without the history of others they are there as well.
    let task = told("cp art/big.bin copy.txt; git add copy.txt; git commit -q -m copied");
    spawn(&lab, &project, "alone", &task, &["--history", "branch"]).succeeds();
    assert_eq!(project.git(&["cat-file", "blob", "alone:copy.txt"]).len(), 6 * 1000 - 1);
}

#[test]
fn a_pointer_to_what_is_not_there_does_not_come_home_quietly() {
    let lab = Lab::new();
    let project = large(&lab, "project");
    let hash = "0".repeat(64);
    let forge = format!(
        "d=.git/lfs/objects/00/00; mkdir -p $d; printf forged > $d/{hash}; \
         printf 'version https://git-lfs.github.com/spec/v1\\noid sha256:{hash}\\nsize 6\\n' > pointer; \
         blob=$(git hash-object -w --no-filters pointer); rm pointer; git update-index --add --cacheinfo 100644,$blob,forged.bin; \
         git commit -q -m forged; git checkout -q -- . 2>/dev/null || true"
    );
    spawn(&lab, &project, "forged", &told(&forge), &[]).succeeds();
    let agent = status(&lab, &project, "forged");
    assert!(agent["note"].as_str().is_some_and(|note| note.contains("forged.bin")), "{agent}");
    assert!(!project.dir.join(".git/lfs/objects/00/00").join(&hash).exists(), "what has another hash is not taken");
    agents(&lab, &project, "clean", &["forged"]).fails("WORK_UNSAVED", 1);
}

#[test]
fn a_part_of_the_tree_is_checked_out_and_the_rest_stays_in_the_commit() {
    let lab = Lab::new();
    let project = Project::new(&lab, "project");
    for dir in ["one", "two/deep", "three"] {
        project.write(&format!("{dir}/file.txt"), dir);
    }
    project.git(&["add", "."]);
    project.git(&["commit", "-q", "-m", "dirs"]);
    let look = told("ls -d * */* > one/seen; git status --porcelain >> one/seen; git add one; git commit -q -m seen");
    for history in ["all", "branch"] {
        let branch = format!("part-{history}");
        spawn(&lab, &project, &branch, &look, &["--sparse", "one", "two/deep", "--history", history]).succeeds();
        let seen = project.git(&["cat-file", "blob", &format!("{branch}:one/seen")]);
        assert!(seen.contains("two/deep") && seen.contains("README.md") && !seen.contains("three") && !seen.contains("src"), "{seen}");
        assert_eq!(project.git(&["ls-tree", "--name-only", &branch]), "README.md\none\nsrc\nthree\ntwo", "all of it is in the commit");
        assert_eq!(status(&lab, &project, &branch)["dirty"], json!(0));
    }
    for bad in ["..", "/etc", "a/../b", ".git", "a\"b", "*"] {
        lab.run(&["spawn", "--repo", project.repo(), "-b", "bad", "--task", "x", "--sparse", bad]).fails("USAGE", 2);
    }
}

#[test]
fn a_working_tree_is_made_where_nothing_is_and_goes_when_nothing_is_in_it() {
    let lab = Lab::new();
    let project = Project::new(&lab, "project");
    let canary = lab.path("canary");
    project.write(".git/hooks/post-checkout", &format!("#!/bin/sh\ntouch {}\n", canary.display()));
    std::fs::set_permissions(project.dir.join(".git/hooks/post-checkout"), std::fs::Permissions::from_mode(0o755)).expect("chmod");
    project.git(&["config", "filter.x.smudge", &format!("touch {}", canary.display())]);
    spawn(&lab, &project, "feat/x", &commits("a.txt", "a", "one"), &[]).succeeds();
    let attributes = told("printf '* filter=x\\n' > .gitattributes; git add -A; git commit -q -m attributes");
    agents(&lab, &project, "resume", &["feat/x", "--task", &attributes, "--wait"]).succeeds();
    let (at, look) = (lab.path("tree"), lab.path("look"));
    let (at, look) = (at.to_str().expect("utf-8"), look.to_str().expect("utf-8"));
    agents(&lab, &project, "worktree", &["feat/x", "--at", project.repo()]).fails("PATH_UNUSABLE", 3);
    agents(&lab, &project, "worktree", &["feat/x", "--at", lab.home().join("x").to_str().expect("utf-8")]).fails("PATH_UNUSABLE", 3);
    agents(&lab, &project, "worktree", &["feat/x", "--at", look, "--detach"]).succeeds();
    agents(&lab, &project, "worktree", &["feat/x", "--at", at]).succeeds();
    agents(&lab, &project, "worktree", &["feat/x", "--at", at]).fails("PATH_UNUSABLE", 3);
    assert_eq!(std::fs::read_to_string(format!("{at}/a.txt")).expect("there"), "a");
    assert!(!canary.exists(), "neither hook nor filter ran");
    let in_tree = |args: &[&str]| {
        let mut git = Command::new("git");
        git.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", "/nonexistent").env("GIT_CONFIG_NOSYSTEM", "1").current_dir(at);
        let out = git.args(["-c", "core.hooksPath=/dev/null", "-c", "filter.x.smudge="]).args(args).output().expect("git");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).trim_end().to_owned()
    };
    assert_eq!(in_tree(&["rev-parse", "--abbrev-ref", "HEAD"]), "feat/x", "the user's git works in it");
    std::fs::write(format!("{at}/mine.txt"), "mine").expect("write");
    let ran = agents(&lab, &project, "clean", &["feat/x"]).fails("WORK_UNSAVED", 1);
    assert!(ran.err.contains("working tree"), "{}", ran.err);
    assert!(std::path::Path::new(&format!("{at}/mine.txt")).exists());
    std::fs::remove_file(format!("{at}/mine.txt")).expect("remove");
    agents(&lab, &project, "clean", &["feat/x"]).succeeds();
    assert!(!std::path::Path::new(at).exists() && !std::path::Path::new(look).exists());
    assert_eq!(project.git(&["worktree", "list", "--porcelain"]).matches("worktree ").count(), 1);
    assert!(!canary.exists());
}

#[test]
fn own_types_names_and_trailers_are_used() {
    let lab = Lab::new();
    let project = Project::new(&lab, "project");
    lab.run(&["config", "set", "git.author", "Robo Smith <robo@example.org>"]).succeeds();
    let types = lab.home().join("branch-types");
    std::fs::create_dir_all(&types).expect("make");
    std::fs::write(types.join("audit.toml"), "description = \"d\"\nprefixes = [\"audit\"]\nprompt = \"Look for holes.\"").expect("write");
    let ran = spawn(&lab, &project, "audit/1", &commits("a", "a", "one"), &[]).succeeds();
    assert!(ran.out.contains("type audit"), "{}", ran.out);
    assert_eq!(
        project.git(&["log", "-1", "--format=%an <%ae>|%(trailers:only)", "audit/1"]),
        "Robo Smith <robo@example.org>|Co-authored-by: mini <agent@localhost>"
    );
    // A repository's own types are hostile until the user names them.
    project.write(".lazaret/branch-types/evil.toml", "description = \"d\"\nprompt = \"From the repository.\"");
    lab.run(&["spawn", "--repo", project.repo(), "-b", "e", "--task", "x", "--type", "evil"]).fails("USAGE", 2);
    let named = project.dir.join(".lazaret/branch-types");
    spawn(&lab, &project, "e", "x", &["--type", "evil", "--types", named.to_str().expect("utf-8")]).succeeds();
    lab.run(&["config", "set", "git.trailer", "off"]).succeeds();
    spawn(&lab, &project, "plain", &commits("b", "b", "two"), &[]).succeeds();
    assert_eq!(project.git(&["log", "-1", "--format=%(trailers:only)", "plain"]), "");
    lab.run(&["config", "set", "git.author", "nobody"]).ends_with(2);
}
