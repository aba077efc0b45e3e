//! The machine's git, run so that no configuration, hook, filter or helper of anybody takes part.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use super::error::{GitError, shown};

/// The oldest git with `merge-tree --write-tree --stdin`.
pub(crate) const OLDEST: &str = "2.39";
/// [`OLDEST`] as numbers.
const OLDEST_NUMBERS: (u32, u32) = (2, 39);
/// Where git may lie; never where a caller's environment says.
const PLACES: [&str; 5] = ["/usr/bin/git", "/usr/local/bin/git", "/bin/git", "/run/current-system/sw/bin/git", "/opt/homebrew/bin/git"];
/// Where git finds what it is made of.
const PATH: &str = "/usr/bin:/bin:/usr/local/bin:/usr/sbin:/sbin";
/// A home that is not there.
const NOWHERE: &str = "/nonexistent";
/// What git may answer unless the caller says otherwise, in bytes.
const ANSWER_BYTES_MAX: u64 = 64 << 20;
/// How long git may take unless the caller says otherwise.
const TIME: Duration = Duration::from_secs(60);
/// What is kept of a complaint, in bytes.
const COMPLAINT_BYTES_MAX: usize = 16 << 10;
/// A piece of an answer, in bytes.
const PIECE_BYTES: usize = 64 << 10;
/// Memory that one git may have, in bytes: a delta can ask for as much as it likes.
const MEMORY_BYTES_MAX: u64 = 8 << 30;

/// Configuration that stands above every file: nothing of a repository's own starts a program.
const CONFIG: &[(&str, &str)] = &[
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.attributesFile", "/dev/null"),
    ("core.excludesFile", "/dev/null"),
    ("core.sshCommand", "/bin/false"),
    ("core.askPass", "/bin/false"),
    ("core.pager", "cat"),
    ("core.editor", "/bin/false"),
    ("core.alternateRefsCommand", "/bin/false"),
    ("core.gitProxy", "/bin/false"),
    ("core.protectHFS", "true"),
    ("core.protectNTFS", "true"),
    ("core.untrackedCache", "false"),
    ("core.checkStat", "default"),
    ("sequence.editor", "/bin/false"),
    ("credential.helper", ""),
    ("diff.external", ""),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("submodule.recurse", "false"),
    ("fetch.recurseSubmodules", "false"),
    ("protocol.allow", "never"),
    ("commit.gpgSign", "false"),
    ("tag.gpgSign", "false"),
    ("log.showSignature", "false"),
    ("gpg.program", "/bin/false"),
    ("gpg.ssh.program", "/bin/false"),
    ("gpg.x509.program", "/bin/false"),
    ("pack.threads", "2"),
    ("feature.manyFiles", "false"),
];

/// The machine's git. A cheap handle.
#[derive(Debug, Clone)]
pub(crate) struct Git {
    program: PathBuf,
    /// An empty directory that stands for every home.
    empty: PathBuf,
}

/// Where the input of a call comes from.
#[derive(Debug)]
enum Input {
    Nothing,
    Bytes(Vec<u8>),
    File(File),
}

/// One call of git.
#[derive(Debug)]
pub(crate) struct Call {
    program: PathBuf,
    empty: PathBuf,
    dir: PathBuf,
    options: Vec<OsString>,
    args: Vec<OsString>,
    config: Vec<(String, String)>,
    env: Vec<(&'static str, OsString)>,
    user: Option<(u32, u32)>,
    input: Input,
    max: u64,
    time: Duration,
    file_max: Option<u64>,
    what: &'static str,
}

/// What a call gave.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Its exit status; 128 and more where a signal ended it.
    pub(crate) status: i32,
    /// What it printed.
    pub(crate) out: Vec<u8>,
    /// What it complained, as it may be shown.
    pub(crate) complaint: String,
}

impl Git {
    /// Finds git once: the newest on this machine, which knows the formats of all others. `empty` is an empty directory
    /// that nobody else can write to.
    ///
    /// # Errors
    /// There is none, or it is too old.
    pub(crate) async fn find(empty: PathBuf) -> Result<Self, GitError> {
        let mut best: Option<((u32, u32), String, Self)> = None;
        for program in PLACES.iter().map(Path::new).filter(|path| path.is_file()) {
            let git = Self { program: program.to_owned(), empty: empty.clone() };
            let said = git.call("say its version", Path::new("/")).args(["version"]).text().await?;
            let version = said.split_whitespace().nth(2).unwrap_or_default().to_owned();
            let mut numbers = version.split('.').map_while(|part| part.parse::<u32>().ok());
            let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
            if best.as_ref().is_none_or(|(known, ..)| found > *known) {
                best = Some((found, version, git));
            }
        }
        let (found, version, git) = best.ok_or(GitError::Missing)?;
        if found < OLDEST_NUMBERS { Err(GitError::Old { found: version }) } else { Ok(git) }
    }

    /// Where it lies.
    #[cfg(test)]
    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// A call in a directory; `what` completes "git failed to".
    pub(crate) fn call(&self, what: &'static str, dir: &Path) -> Call {
        Call {
            program: self.program.clone(),
            empty: self.empty.clone(),
            dir: dir.to_owned(),
            options: Vec::new(),
            args: Vec::new(),
            config: Vec::new(),
            env: Vec::new(),
            user: None,
            input: Input::Nothing,
            max: ANSWER_BYTES_MAX,
            time: TIME,
            file_max: None,
            what,
        }
    }

    /// A call in a bare repository of ours.
    pub(crate) fn in_bare(&self, what: &'static str, dir: &Path) -> Call {
        self.call(what, dir).option(prefixed("--git-dir=", dir))
    }
}

/// An option with a path as its value.
pub(crate) fn prefixed(option: &str, path: &Path) -> OsString {
    let mut text = OsString::from(option);
    text.push(path);
    text
}

impl Call {
    /// An option of git itself, before the verb.
    pub(crate) fn option(mut self, option: impl Into<OsString>) -> Self {
        self.options.push(option.into());
        self
    }

    /// The verb and what follows.
    pub(crate) fn args<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(mut self, args: I) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// One more word.
    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Configuration above that of every file.
    pub(crate) fn config(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.config.push((key.into(), value.into()));
        self
    }

    /// A variable of its environment.
    pub(crate) fn env(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.env.push((name, value.into()));
        self
    }

    /// As this user and group, where the caller is root.
    pub(crate) fn user(mut self, user: Option<(u32, u32)>) -> Self {
        self.user = user;
        self
    }

    /// What it reads.
    pub(crate) fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = Input::Bytes(bytes.into());
        self
    }

    /// A file that it reads.
    pub(crate) fn input_file(mut self, file: File) -> Self {
        self.input = Input::File(file);
        self
    }

    /// The most bytes that it may answer.
    pub(crate) fn max(mut self, bytes: u64) -> Self {
        self.max = bytes;
        self
    }

    /// The largest file that it may write, in bytes.
    pub(crate) fn file_max(mut self, bytes: u64) -> Self {
        self.file_max = Some(bytes);
        self
    }

    /// How long it may take.
    pub(crate) fn time(mut self, time: Duration) -> Self {
        self.time = time;
        self
    }

    /// Runs it whatever its status.
    pub(crate) async fn answer(self) -> Result<Answer, GitError> {
        let mut out = Vec::new();
        let (status, complaint) = self.pieces(|piece| out.extend_from_slice(piece)).await?;
        Ok(Answer { status, out, complaint })
    }

    /// Runs it; a status that is not 0 is an error.
    pub(crate) async fn run(self) -> Result<Vec<u8>, GitError> {
        let what = self.what;
        let answer = self.answer().await?;
        if answer.status == 0 { Ok(answer.out) } else { Err(GitError::Failed { what, complaint: answer.complaint }) }
    }

    /// The same, as text without the last line's end.
    pub(crate) async fn text(self) -> Result<String, GitError> {
        let what = self.what;
        let out = String::from_utf8(self.run().await?).map_err(|_| GitError::Strange { what })?;
        Ok(out.trim_end_matches('\n').to_owned())
    }

    /// Runs it with its output in a file.
    pub(crate) async fn into_file(mut self, out: File) -> Result<(), GitError> {
        let what = self.what;
        let time = self.time;
        let mut command = self.command();
        command.stdout(Stdio::from(out));
        let mut group = self.start(command)?;
        let input = std::mem::replace(&mut self.input, Input::Nothing);
        let run = async {
            let mut complaint = Vec::new();
            let (stdin, stderr) = (group.child.stdin.take(), group.child.stderr.take());
            tokio::join!(feed(stdin, input), keep(stderr, &mut complaint));
            (group.child.wait().await, complaint)
        };
        let (status, complaint) = tokio::time::timeout(time, run).await.map_err(|_| GitError::Late { what })?;
        let status = status.map_err(GitError::io(format!("wait for git to {what}")))?;
        if status.success() { Ok(()) } else { Err(GitError::Failed { what, complaint: shown(&complaint) }) }
    }

    /// Runs it and hands out what it prints piece by piece; gives its status and complaint.
    pub(crate) async fn pieces(mut self, mut taken: impl FnMut(&[u8])) -> Result<(i32, String), GitError> {
        let (what, max, time) = (self.what, self.max, self.time);
        let mut command = self.command();
        command.stdout(Stdio::piped());
        let mut group = self.start(command)?;
        let input = std::mem::replace(&mut self.input, Input::Nothing);
        let (stdin, stdout, stderr) = (group.child.stdin.take(), group.child.stdout.take(), group.child.stderr.take());
        let mut complaint = Vec::new();
        let read = async {
            let Some(mut stdout) = stdout else { return Ok(()) };
            let (mut piece, mut bytes) = (vec![0; PIECE_BYTES], 0u64);
            loop {
                let n = stdout.read(&mut piece).await.map_err(GitError::io(format!("read what git answers to {what}")))?;
                if n == 0 {
                    return Ok(());
                }
                bytes += n as u64;
                if bytes > max {
                    return Err(GitError::Long { what, max });
                }
                taken(&piece[..n]);
            }
        };
        let run = async {
            let rest = async { tokio::join!(feed(stdin, input), keep(stderr, &mut complaint)) };
            tokio::pin!(rest);
            tokio::pin!(read);
            // Too long an answer ends it at once, whatever else is still to be read.
            let mut is_fed = false;
            loop {
                tokio::select! {
                    done = &mut read => {
                        done?;
                        break;
                    }
                    _ = &mut rest, if !is_fed => is_fed = true,
                }
            }
            if !is_fed {
                rest.await;
            }
            group.child.wait().await.map_err(GitError::io(format!("wait for git to {what}")))
        };
        let status = tokio::time::timeout(time, run).await.map_err(|_| GitError::Late { what })??;
        use std::os::unix::process::ExitStatusExt as _;
        let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
        Ok((code, shown(&complaint)))
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.current_dir(&self.dir).env_clear();
        for (name, value) in [
            ("PATH", PATH),
            ("LC_ALL", "C"),
            ("TZ", "UTC"),
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_CONFIG_SYSTEM", "/dev/null"),
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_ATTR_NOSYSTEM", "1"),
            ("GIT_TERMINAL_PROMPT", "0"),
            ("GIT_ASKPASS", "/bin/false"),
            ("GIT_SSH_COMMAND", "/bin/false"),
            ("GIT_EDITOR", "/bin/false"),
            ("GIT_PAGER", "cat"),
            ("GIT_NO_REPLACE_OBJECTS", "1"),
            ("GIT_NO_LAZY_FETCH", "1"),
            ("GIT_ALLOW_PROTOCOL", "none"),
            ("GIT_OPTIONAL_LOCKS", "0"),
            ("GIT_LITERAL_PATHSPECS", "1"),
            ("GIT_ADVICE", "0"),
        ] {
            command.env(name, value);
        }
        command.env("HOME", &self.empty).env("XDG_CONFIG_HOME", &self.empty).env("GIT_TEMPLATE_DIR", &self.empty);
        let fixed = CONFIG.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let config: Vec<(String, String)> = fixed.chain(self.config.iter().cloned()).collect();
        command.env("GIT_CONFIG_COUNT", config.len().to_string());
        for (n, (key, value)) in config.iter().enumerate() {
            command.env(format!("GIT_CONFIG_KEY_{n}"), key).env(format!("GIT_CONFIG_VALUE_{n}"), value);
        }
        for (name, value) in &self.env {
            command.env(name, value);
        }
        command.args(&self.options).args(&self.args);
        if let Some((uid, gid)) = self.user.filter(|(uid, _)| *uid != 0 && rustix::process::geteuid().is_root()) {
            // As another user our own directory is out of reach; where nothing is, nobody can put anything but root.
            command.uid(uid).gid(gid).env("HOME", NOWHERE).env("XDG_CONFIG_HOME", NOWHERE).env_remove("GIT_TEMPLATE_DIR");
        }
        command.stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
        command
    }

    fn start(&mut self, mut command: Command) -> Result<Group, GitError> {
        match &mut self.input {
            Input::Nothing => command.stdin(Stdio::null()),
            Input::Bytes(_) => command.stdin(Stdio::piped()),
            Input::File(_) => {
                let Input::File(file) = std::mem::replace(&mut self.input, Input::Nothing) else { unreachable!("it was a file") };
                command.stdin(Stdio::from(file))
            }
        };
        let child = command.spawn().map_err(GitError::io("start git"))?;
        let group = Group { pid: child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw), child };
        let limit = |what, bytes: u64| {
            // It may be over already.
            let _ = rustix::process::prlimit(group.pid, what, Rlimit { current: Some(bytes), maximum: Some(bytes) });
        };
        limit(Resource::As, MEMORY_BYTES_MAX);
        limit(Resource::Core, 0);
        if let Some(bytes) = self.file_max {
            limit(Resource::Fsize, bytes);
        }
        Ok(group)
    }
}

/// A git and all that it starts: killed whole when nobody waits for it any more.
struct Group {
    pid: Option<Pid>,
    child: Child,
}

impl Drop for Group {
    fn drop(&mut self) {
        // Only while it is not waited for is the number certainly its own.
        if let (Some(pid), Some(_)) = (self.pid, self.child.id()) {
            let _ = rustix::process::kill_process_group(pid, Signal::KILL);
        }
    }
}

async fn feed(pipe: Option<tokio::process::ChildStdin>, input: Input) {
    if let (Some(mut pipe), Input::Bytes(bytes)) = (pipe, input) {
        // Who does not read to the end says why, or need not.
        let _ = pipe.write_all(&bytes).await;
        let _ = pipe.shutdown().await;
    }
}

async fn keep(from: Option<tokio::process::ChildStderr>, kept: &mut Vec<u8>) {
    let Some(mut from) = from else { return };
    let mut piece = vec![0; 4 << 10];
    while let Ok(n) = from.read(&mut piece).await {
        if n == 0 {
            return;
        }
        let room = COMPLAINT_BYTES_MAX.saturating_sub(kept.len());
        kept.extend_from_slice(&piece[..n.min(room)]);
    }
}
