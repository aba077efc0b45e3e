//! A user's repository and agents on branches of it: what an agent is asked is a script of its shell.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::support::{Caller, finish};

/// A repository of the caller's, with one commit on `main`.
pub(crate) struct Project<'a> {
    pub(crate) caller: &'a Caller,
    pub(crate) dir: PathBuf,
    /// A directory in which whatever gets out leaves its mark: inside it does not exist.
    marks: PathBuf,
}

impl<'a> Project<'a> {
    pub(crate) fn new(caller: &'a Caller) -> Self {
        let project = Self { caller, dir: caller.dir("project"), marks: caller.dir("marks") };
        project.git(&["init", "--quiet", "--initial-branch=main", "."]);
        project.git(&["config", "user.name", "Uma User"]);
        project.git(&["config", "user.email", "uma@example.org"]);
        project.commit("README.md", "one\n", "first");
        project
    }

    /// The user's own git, with everything that a repository configures.
    pub(crate) fn try_git(&self, args: &[&str]) -> Output {
        self.sh(&self.dir, "exec git \"$@\"", args)
    }

    #[track_caller]
    pub(crate) fn git(&self, args: &[&str]) -> String {
        let out = self.try_git(args);
        assert!(out.status.success(), "git {args:?}: {out:?}");
        String::from_utf8_lossy(&out.stdout).trim_end().to_owned()
    }

    /// A script of the user's own, outside of any sandbox: for controls.
    pub(crate) fn sh(&self, at: &std::path::Path, script: &str, args: &[&str]) -> Output {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script, "sh"]).args(args);
        self.caller.dress(&mut command);
        command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_TERMINAL_PROMPT", "0").current_dir(at);
        finish(command, Stdio::null())
    }

    #[track_caller]
    pub(crate) fn commit(&self, file: &str, text: &str, subject: &str) -> String {
        self.caller.file(&format!("project/{file}"), text);
        self.git(&["add", "-A"]);
        self.git(&["commit", "--quiet", "-m", subject]);
        self.git(&["rev-parse", "HEAD"])
    }

    pub(crate) fn lazaret(&self, args: &[&str]) -> Output {
        let mut command = self.caller.lazaret();
        command.args(args).current_dir(&self.dir);
        finish(command, Stdio::null())
    }

    #[track_caller]
    pub(crate) fn agents(&self, verb: &str, args: &[&str]) -> String {
        let out = self.lazaret(&[&["agents", verb], args].concat());
        assert!(out.status.success(), "{verb} {args:?}: {out:?}");
        String::from_utf8_lossy(&out.stdout).into_owned()
    }

    /// An agent on a branch runs a script; gives what the supervisor says of it then.
    #[track_caller]
    pub(crate) fn spawn(&self, branch: &str, script: &str, more: &[&str]) -> Value {
        let task = format!("do it\ncall bash {}", json!({ "command": script }));
        let out = self.lazaret(&[&["spawn", "--branch", branch, "--task", &task, "--wait"], more].concat());
        assert!(out.status.success(), "{out:?}");
        self.status(branch)
    }

    #[track_caller]
    pub(crate) fn status(&self, branch: &str) -> Value {
        let said = self.agents("status", &["--json", "--branch", branch]);
        serde_json::from_str(said.lines().next().unwrap_or_default()).unwrap_or_else(|e| panic!("{e}: {said}"))
    }

    /// A file that an agent committed.
    #[track_caller]
    pub(crate) fn read(&self, branch: &str, file: &str) -> String {
        self.git(&["show", &format!("{branch}:{file}")])
    }

    /// What got out since the last look.
    pub(crate) fn marks(&self) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(&self.marks).expect("list").flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
        for name in &names {
            fs::remove_file(self.marks.join(name)).expect("remove");
        }
        names.sort();
        names
    }

    /// Where marks are left, for scripts.
    pub(crate) fn mark(&self) -> String {
        self.marks.to_str().expect("text").to_owned()
    }

    /// Everything of the user's repository but its objects and these branches.
    pub(crate) fn print(&self, but: &[&str]) -> Vec<String> {
        let list = "find . -path ./.git/objects -prune -o -path ./.git/refs -prune -o -path ./.git/logs -prune -o -type f \
                    ! -name packed-refs -exec sha256sum {} + -o -type l -print | sort; git for-each-ref --format='%(refname) %(objectname)'";
        let out = self.sh(&self.dir, list, &[]);
        assert!(out.status.success(), "{out:?}");
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let is_asked = |line: &str| but.iter().any(|name| line.starts_with(&format!("refs/heads/{name} ")));
        text.lines().filter(|line| !is_asked(line)).map(str::to_owned).collect()
    }
}
