//! Where a run's files come from and go to.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use testkit::model_server::{ModelServer, Say, Script};

use crate::support::{KEY, Lab, Ran};

fn model(lab: &Lab, command: &str) -> ModelServer {
    let server = lab.model(Script { key: Some(KEY.to_owned()), replies: vec![Say::Shell(command.to_owned())], ..Script::default() });
    lab.connect("anthropic", &server);
    server
}

fn text(path: &Path) -> &str {
    path.to_str().expect("utf-8")
}

#[test]
fn a_workspace_is_the_hosts_own_and_keeps_its_owner() {
    let lab = Lab::new();
    let work = lab.path("work");
    std::fs::create_dir(&work).expect("make");
    std::fs::write(work.join("in"), "from the host").expect("write");
    let _server = model(&lab, "cat in > out; stat -c %u in out");
    let ran = lab.run(&["run", "--json", "--workspace", text(&work), "copy it"]).succeeds();
    assert_eq!(std::fs::read_to_string(work.join("out")).expect("read"), "from the host");
    let owner = std::fs::metadata(&work).expect("there").uid();
    assert_eq!(std::fs::metadata(work.join("out")).expect("there").uid(), owner, "the file belongs to the directory's owner");
    assert!(ran.out.contains("1000\\n1000"), "inside, both belong to the sandbox's user: {}", ran.out);
}

#[test]
fn a_read_only_workspace_stays_as_it_is() {
    let lab = Lab::new();
    let work = lab.path("work");
    std::fs::create_dir(&work).expect("make");
    std::fs::set_permissions(&work, std::fs::Permissions::from_mode(0o777)).expect("chmod");
    let _server = model(&lab, "touch /workspace/mark; echo status $?");
    let ran = lab.run(&["run", "--json", "--workspace", &format!("{}:ro", text(&work)), "try"]).succeeds();
    assert!(ran.out.contains("Read-only file system"), "{}", ran.out);
    assert_eq!(std::fs::read_dir(&work).expect("read").count(), 0);
}

#[test]
fn further_mounts_are_read_only_unless_asked() {
    let lab = Lab::new();
    for name in ["books", "desk"] {
        std::fs::create_dir(lab.path(name)).expect("make");
    }
    std::fs::write(lab.path("books/page"), "page one").expect("write");
    let _server = model(&lab, "cat /data/books/page > /data/desk/note; touch /data/books/x; ls -d /data/*");
    let books = format!("{}:/data/books", text(&lab.path("books")));
    let desk = format!("{}:/data/desk:rw", text(&lab.path("desk")));
    lab.run(&["run", "--json", "--mount", &books, "--mount", &desk, "copy"]).succeeds();
    assert_eq!(std::fs::read_to_string(lab.path("desk/note")).expect("read"), "page one");
    assert!(!lab.path("books/x").exists());
}

#[test]
fn out_takes_the_workspace_home_and_no_link_leads_it_astray() {
    let lab = Lab::new();
    let victim = lab.path("victim");
    std::fs::write(&victim, "untouched").expect("write");
    let planted = format!(
        "mkdir -p dir/deep; echo result > dir/deep/file; chmod 4755 dir/deep/file; ln -s dir/deep/file inner; ln -s {} outer; ln -s ../victim up; mkfifo pipe; \
         echo done",
        text(&victim)
    );
    let _server = model(&lab, &planted);
    let out = lab.path("out");
    lab.run(&["run", "--json", "--out", text(&out), "make files"]).succeeds();
    assert_eq!(std::fs::read_to_string(out.join("dir/deep/file")).expect("read"), "result\n");
    assert_eq!(std::fs::read_to_string(out.join("inner")).expect("read"), "result\n");
    let mode = std::fs::metadata(out.join("dir/deep/file")).expect("there").permissions().mode();
    assert_eq!(mode & 0o7000, 0, "set-id bits stay inside");
    for gone in ["outer", "up", "pipe"] {
        assert!(std::fs::symlink_metadata(out.join(gone)).is_err(), "{gone} came over");
    }
    assert_eq!(std::fs::read_to_string(&victim).expect("read"), "untouched");
}

#[test]
fn a_repository_is_cloned_and_its_traps_are_not_sprung() {
    let lab = Lab::new();
    let repo = lab.path("repo");
    let canary = lab.path("canary");
    let git = |args: &[&str]| {
        let done = Command::new("git")
            .args(["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "init.defaultBranch=main"])
            .arg("-C")
            .arg(&repo)
            .args(args)
            .output()
            .expect("git");
        assert!(done.status.success(), "{done:?}");
    };
    std::fs::create_dir(&repo).expect("make");
    git(&["init", "-q"]);
    std::fs::write(repo.join("file"), "content").expect("write");
    std::fs::write(repo.join(".gitattributes"), "* filter=trap diff=trap\n").expect("write");
    git(&["add", "."]);
    git(&["commit", "-q", "-m", "first"]);
    git(&["branch", "secret-branch"]);
    let trap = format!("touch {}", text(&canary));
    for (key, value) in [
        ("core.fsmonitor", trap.as_str()),
        ("filter.trap.smudge", &trap),
        ("filter.trap.clean", &trap),
        ("core.sshCommand", &trap),
        ("diff.trap.command", &trap),
    ] {
        git(&["config", key, value]);
    }
    let hooks = repo.join(".git/hooks");
    std::fs::create_dir_all(&hooks).expect("make");
    for hook in ["post-checkout", "reference-transaction", "pre-receive", "update"] {
        std::fs::write(hooks.join(hook), format!("#!/bin/sh\n{trap}\n")).expect("write");
        std::fs::set_permissions(hooks.join(hook), std::fs::Permissions::from_mode(0o755)).expect("chmod");
    }
    let before = snapshot(&repo);
    let _server = model(&lab, "cat file; git log --oneline | wc -l; git branch -a; echo changed > file; git status --short");
    let ran = lab.run(&["run", "--json", "--repo", text(&repo), "look"]).succeeds();
    assert!(ran.out.contains("content"), "{}", ran.out);
    assert!(!ran.out.contains("secret-branch"), "{}", ran.out);
    assert!(!canary.exists(), "a trap of the repository was sprung on the host");
    assert_eq!(snapshot(&repo), before, "the repository was touched");
    // The control: git as people run it springs the trap.
    let _ = Command::new("git").arg("-C").arg(&repo).arg("status").output();
    assert!(canary.exists(), "the trap works where nothing disarms it");
}

/// Every file with its content.
fn snapshot(dir: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(at) = todo.pop() {
        for entry in std::fs::read_dir(at).expect("read").flatten() {
            if entry.file_type().expect("a type").is_dir() {
                todo.push(entry.path());
            } else {
                found.push((entry.path(), std::fs::read(entry.path()).unwrap_or_default()));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn variables_are_those_that_were_asked_for() {
    let lab = Lab::new();
    let _server = model(&lab, "env | sort");
    let mut command = lab.command(&["run", "--json", "--env", "COLOUR=green", "--env", "HANDED", "--env", "TZ=UTC", "look"]);
    command.env("HANDED", "over").env("AMBIENT_CANARY", "must-stay-outside");
    let out = Ran::of(command, None).out;
    assert!(out.contains("COLOUR=green") && out.contains("HANDED=over"), "{out}");
    assert!(!out.contains("AMBIENT_CANARY") && !out.contains("must-stay-outside"), "{out}");
}

#[test]
fn the_tools_of_the_host_work_inside() {
    let lab = Lab::new();
    let script = "set -e; cd /workspace; printf 'int main(void){return 7;}' > a.c; cc a.c -o a; ./a || echo c $?; \
                  awk 'BEGIN{print \"awk\", 6*7}'; git init -q r; git -C r status -sb; python3 -c 'print(\"python\", 6*7)'; node -e 'console.log(\"node\", 6*7)'; \
                  id -un; pwd; hostname; echo $HOME";
    let ran = lab.run(&["sandbox", "run", "--memory", "1g", "--", "sh", "-c", script]).succeeds();
    for expect in ["c 7", "awk 42", "python 42", "node 42", "sandbox", "/workspace", "/home/sandbox"] {
        assert!(ran.out.contains(expect), "no `{expect}` in {} {}", ran.out, ran.err);
    }
}

#[test]
fn a_very_long_home_works() {
    let lab = Lab::new();
    let long = lab.path(&"h".repeat(100)).join("o".repeat(100));
    std::fs::create_dir_all(&long).expect("make");
    let home = long.join("home");
    assert!(home.as_os_str().len() > 200);
    let with = |args: &[&str]| {
        let mut command = lab.command(args);
        command.env("LAZARET_HOME", &home);
        Ran::of(command, None).succeeds().out
    };
    assert!(with(&["run", "far away"]).contains("far away"));
    with(&["stop", "--grace", "0s"]);
}
