//! Real repositories and the machine's git; what needs a sandbox is tried with the shipped program.

mod canaries;
mod homes;
mod merges;
mod mirrors;
mod reads;
mod rebases;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::carry::Carried;
use super::mirror::tempfile_in;
use super::*;

/// A place with a user's repository and a home's mirrors.
pub(super) struct Lab {
    pub(super) dir: tempfile::TempDir,
    pub(super) git: Git,
}

impl Lab {
    /// An empty repository of the user's, and no mirror.
    pub(super) async fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(dir.path().join("mirrors/empty")).expect("mkdir");
        fs::create_dir(dir.path().join("repo")).expect("mkdir");
        let git = Git::find(dir.path().join("mirrors/empty")).await.expect("git");
        let lab = Self { dir, git };
        lab.plain("repo", &["init", "-q", "-b", "main"]);
        lab
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(super) fn mirrors(&self) -> PathBuf {
        self.path("mirrors")
    }

    /// Git as a user runs it: with the configuration of the repository, and hooks.
    pub(super) fn try_plain(&self, at: &str, args: &[&str]) -> std::process::Output {
        let mut command = Command::new(self.git.program());
        command.args(args).current_dir(self.path(at)).env_clear().env("PATH", "/usr/bin:/bin").env("HOME", self.path("mirrors/empty"));
        command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_TERMINAL_PROMPT", "0").stdin(Stdio::null());
        for (key, value) in [("NAME", "Una"), ("EMAIL", "una@example.org"), ("DATE", "1700000000 +0000")] {
            command.env(format!("GIT_AUTHOR_{key}"), value).env(format!("GIT_COMMITTER_{key}"), value);
        }
        command.output().expect("git runs")
    }

    pub(super) fn plain(&self, at: &str, args: &[&str]) -> String {
        let output = self.try_plain(at, args);
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    pub(super) fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("has one")).expect("mkdir");
        fs::write(path, text).expect("write");
    }

    /// A program for hooks and filters that leaves a mark.
    pub(super) fn trap(&self, name: &str) -> String {
        let path = self.path(&format!("traps/{name}"));
        self.write(&format!("traps/{name}"), format!("#!/bin/sh\ntouch {}\ncat\n", self.path(&format!("fired-{name}")).display()));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("chmod");
        path.to_str().expect("text").to_owned()
    }

    /// The traps that went off, which are set again.
    pub(super) fn fired(&self) -> Vec<String> {
        let entries = fs::read_dir(self.dir.path()).expect("list").flatten();
        let mut names: Vec<String> =
            entries.filter_map(|e| e.file_name().to_str().and_then(|n| n.strip_prefix("fired-")).map(str::to_owned)).collect();
        for name in &names {
            fs::remove_file(self.path(&format!("fired-{name}"))).expect("remove");
        }
        names.sort();
        names
    }

    /// Writes files and commits them; gives the commit.
    pub(super) fn commit(&self, at: &str, files: &[(&str, &str)], message: &str) -> Oid {
        for (path, text) in files {
            self.write(&format!("{at}/{path}"), text);
        }
        self.plain(at, &["add", "-A"]);
        self.plain(at, &["commit", "-q", "--allow-empty", "-m", message]);
        self.oid(at, "HEAD")
    }

    pub(super) fn oid(&self, at: &str, rev: &str) -> Oid {
        Oid::parse(&self.plain(at, &["rev-parse", "--verify", rev])).expect("an object")
    }

    pub(super) async fn repo(&self) -> Repo {
        Repo::open(&self.git, &self.path("repo")).await.expect("a repository")
    }

    pub(super) async fn mirror(&self, repo: &Repo) -> Mirror {
        Mirror::of(&self.git, &self.mirrors(), repo).await.expect("a mirror")
    }

    /// An agent's clone, as our scripts make it, without the sandbox around it.
    pub(super) fn clone(&self, at: &str, mirror: &Mirror, branch: &str, commit: &Oid) {
        fs::create_dir(self.path(at)).expect("mkdir");
        let mirror_dir = mirror.dir().to_str().expect("text");
        let shallow = mirror.shallow.clone().unwrap_or_default();
        self.script(at, base::MAKE, &[commit.as_str(), mirror.format.as_str(), mirror_dir, &shallow], b"");
        let refs = format!("# pack-refs with: sorted \n{commit} refs/remotes/origin/main\n");
        self.script(at, clone::CLONE, &[branch, commit.as_str(), "Agent", "agent@example.org", mirror_dir, "main"], refs.as_bytes());
    }

    pub(super) fn script(&self, at: &str, text: &str, args: &[&str], input: &[u8]) -> (i32, Vec<u8>) {
        let mut command = Command::new("/bin/sh");
        command.args(["-euc", text, "git"]).args(args).current_dir(self.path(at)).env_clear().env("PATH", "/usr/bin:/bin");
        command.env("HOME", self.path("mirrors/empty")).env("GIT_CONFIG_NOSYSTEM", "1");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a shell");
        // One that ends early does not read.
        let _ = child.stdin.take().expect("a pipe").write_all(input);
        let output = child.wait_with_output().expect("it ends");
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() || output.status.code() == Some(44), "{complaint}");
        (output.status.code().unwrap_or(-1), output.stdout)
    }

    /// What the clone hands out for its branch.
    pub(super) fn packed(&self, at: &str, branch: &str, have: &[&Oid]) -> (Oid, fs::File) {
        let input: String = have.iter().map(|oid| format!("{oid}\n")).collect();
        let (status, out) = self.script(at, home::PACK, &[branch], input.as_bytes());
        assert_eq!(status, 0);
        self.cut(&out)
    }

    /// Takes what a clone handed out apart.
    pub(super) fn cut(&self, out: &[u8]) -> (Oid, fs::File) {
        let end = out.iter().position(|b| *b == b'\n').expect("a line");
        let tip = Oid::parse(std::str::from_utf8(&out[..end]).expect("text")).expect("a commit");
        (tip, self.file(&out[end + 1..]))
    }

    pub(super) fn file(&self, bytes: &[u8]) -> fs::File {
        let mut file = tempfile_in(&self.mirrors()).expect("a file");
        file.write_all(bytes).expect("write");
        file.rewind().expect("rewind");
        file
    }

    /// Takes a clone's branch to the user's repository.
    pub(super) async fn home(&self, at: &str, branch: &str, base: &Oid) -> Result<home::Settled, GitError> {
        let repo = self.repo().await;
        let mirror = self.mirror(&repo).await;
        let (tip, pack) = self.packed(at, branch, &[base]);
        home::receive(&mirror, base, &tip, pack).await?;
        home::settle(&repo, &mirror, branch, base, &tip).await
    }

    /// Every file below a directory with its content, for comparing.
    pub(super) fn seen(&self, at: &str) -> BTreeMap<PathBuf, Vec<u8>> {
        fn walk(dir: &Path, into: &mut BTreeMap<PathBuf, Vec<u8>>) {
            for entry in fs::read_dir(dir).expect("list").flatten() {
                let meta = entry.path().symlink_metadata().expect("look");
                if meta.is_dir() {
                    walk(&entry.path(), into);
                } else if meta.is_symlink() {
                    into.insert(entry.path(), fs::read_link(entry.path()).expect("a link").into_os_string().into_encoded_bytes());
                } else {
                    let mut bytes = Vec::new();
                    fs::File::open(entry.path()).expect("open").read_to_end(&mut bytes).expect("read");
                    into.insert(entry.path(), bytes);
                }
            }
        }
        let mut all = BTreeMap::new();
        walk(&self.path(at), &mut all);
        all
    }

    /// The user's repository without its objects and the branches that were asked for.
    pub(super) fn untouched(&self, but: &[&str]) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut all = self.seen("repo");
        let git = self.path("repo/.git");
        all.retain(|path, _| {
            let name = path.strip_prefix(&git).unwrap_or(path);
            let is_asked = but.iter().any(|name_of| name.to_string_lossy().ends_with(name_of));
            !name.starts_with("objects") && !is_asked && name.as_os_str() != OsStr::new("ORIG_HEAD")
        });
        all
    }
}

#[tokio::test]
async fn git_is_run_bounded_and_ended_whole() {
    let lab = Lab::new().await;
    let repo = lab.path("repo");
    let long = lab.git.call("print", &repo).args(["help", "-a"]).max(10).run().await;
    assert!(matches!(long, Err(GitError::Long { max: 10, .. })), "{long:?}");
    // A child of git's own that does not end.
    let mark = lab.path("mark");
    let alias = format!("!touch {} && sleep 1000", mark.display());
    let call = lab.git.call("wait", &repo).config("alias.hang", alias).args(["hang"]).time(std::time::Duration::from_secs(10));
    assert!(matches!(call.run().await, Err(GitError::Late { .. })));
    assert!(mark.exists());
    // What was killed is gone when the kernel has come to it.
    let left = || {
        let found = Command::new("pgrep").args(["-f", &format!("touch {} && sleep 1000", mark.display())]).output().expect("pgrep");
        String::from_utf8_lossy(&found.stdout).into_owned()
    };
    let end = std::time::Instant::now() + std::time::Duration::from_secs(120);
    while !left().is_empty() {
        assert!(std::time::Instant::now() < end, "left: {}", left());
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    // What the caller's environment says is not heard.
    let said = lab.git.call("print", &repo).args(["config", "--list", "--show-scope"]).text().await.expect("a list");
    assert!(said.lines().all(|line| line.starts_with("command\t") || line.starts_with("local\t")), "{said}");
}

#[test]
fn names_of_objects_are_exact() {
    for bad in ["", "HEAD", &"a".repeat(39), &"A".repeat(40), &format!("{}\n", "a".repeat(40)), "--option"] {
        assert!(Oid::parse(bad).is_none(), "{bad:?}");
    }
    assert!(Oid::parse(&"a".repeat(40)).is_some() && Oid::parse(&"0".repeat(64)).is_some());
}
