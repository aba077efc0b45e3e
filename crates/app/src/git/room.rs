//! A sandbox without doors in which git works on files of an agent, or of nobody yet: whatever runs there reaches nothing.

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use model::{Limits, SandboxId, TreeId};
use sandbox::{CommandControl, CommandStdin, Exec, HostMount, Piece, Request, Sandbox, SandboxError, Sandboxes, Stdio, Tree};
use tokio::io::AsyncReadExt as _;

use super::error::{GitError, shown};
use super::mirror::INSIDE;

/// Where a tree that is only read is seen inside.
const READ_AT: &str = "/mnt/tree";
/// Where the repositories beside the first one lie in a tree.
pub(crate) const BESIDE_AT: &str = "/home/sandbox/repos";
/// What is kept of a complaint, in bytes.
const COMPLAINT_BYTES_MAX: usize = 16 << 10;
/// A piece of input, in bytes.
const PIECE_BYTES: usize = 64 << 10;
/// Memory of such a sandbox, in bytes: git maps packs, which counts.
const MEMORY_BYTES: u64 = 4 << 30;
/// SIGKILL.
const KILL: i32 = 9;

/// Configuration for every git inside. A repository's own can still start programs there, and reaches nothing.
const CONFIG: &[(&str, &str)] = &[
    ("safe.directory", "*"),
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("advice.detachedHead", "false"),
    ("core.untrackedCache", "false"),
];

/// Something of the host that is seen in such a sandbox, read-only: where it lies, and where it is seen.
pub(crate) type Shown = (PathBuf, PathBuf);

/// Where a clone lies in its tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seat<'a> {
    /// The workspace: the first repository, or the only one.
    First,
    /// Beside it, in a directory of this name.
    Beside(&'a str),
}

impl Seat<'_> {
    /// Where the agent sees it.
    pub(crate) fn inside(self) -> String {
        match self {
            Self::First => "/workspace".to_owned(),
            Self::Beside(name) => format!("{BESIDE_AT}/{name}"),
        }
    }
}

/// A sandbox in which one tree is worked on.
#[derive(Debug)]
pub(crate) struct Room {
    sandbox: Sandbox,
    /// Whether it ends with its work; else somebody else's.
    is_own: bool,
    /// Where the tree's two halves are seen: at the top, when this is empty.
    at: &'static str,
}

/// What a script reads.
pub(crate) enum Given {
    Nothing,
    Bytes(Vec<u8>),
    File(File),
}

/// Where the output of a script goes.
pub(crate) enum Taken<'a> {
    /// At most so many bytes of it into memory.
    Bytes(&'a mut Vec<u8>, usize),
    /// At most so many bytes of it into a file.
    File(&'a mut File, u64),
}

impl Drop for Room {
    fn drop(&mut self) {
        // Whoever wanted it may have gone away in the middle.
        if self.is_own {
            self.sandbox.clone().give_up();
        }
    }
}

/// One script.
pub(crate) struct Script<'a> {
    /// What it does, completing "failed to".
    pub(crate) what: &'static str,
    /// For `/bin/sh -eu`; its arguments are data.
    pub(crate) text: &'a str,
    /// `$1` and so on.
    pub(crate) args: &'a [&'a str],
    /// Its input.
    pub(crate) given: Given,
    /// How long it may take.
    pub(crate) time: Duration,
}

impl Room {
    /// A sandbox that writes to a tree.
    pub(crate) async fn writing(sandboxes: &Sandboxes, tree: &TreeId, shown: &[Shown], mounts: Vec<HostMount>) -> Result<Self, GitError> {
        let mut request = request(tree, shown);
        request.tree = Tree::Kept { id: tree.clone() };
        request.mounts = mounts;
        let sandbox = sandboxes.start(request).await?;
        Ok(Self { sandbox, is_own: true, at: "" })
    }

    /// A sandbox that can read a tree; where a tree can be in one sandbox only, that of the session which has it now.
    pub(crate) async fn reading(sandboxes: &Sandboxes, tree: &TreeId, shown: &[Shown]) -> Result<Self, GitError> {
        let mut request = request(tree, shown);
        request.trees = vec![(tree.clone(), READ_AT.into())];
        match sandboxes.start(request).await {
            Ok(sandbox) => Ok(Self { sandbox, is_own: true, at: READ_AT }),
            Err(SandboxError::TreeInUse { tree, why }) => {
                let users = sandboxes.tree_users(&tree);
                let found = users.iter().find_map(|id| sandboxes.get(id)).filter(|s| s.tree() == Some(&tree));
                let sandbox = found.ok_or(SandboxError::TreeInUse { tree, why })?;
                Ok(Self { sandbox, is_own: false, at: "" })
            }
            Err(other) => Err(other.into()),
        }
    }

    /// Where a clone of the tree is seen inside.
    pub(crate) fn place(&self, seat: Seat<'_>) -> String {
        format!("{}{}", self.at, seat.inside())
    }

    /// Its sandbox.
    pub(crate) fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// Makes the place of a clone beside the first one.
    pub(crate) async fn make_place(&self, seat: Seat<'_>) -> Result<(), GitError> {
        let place = self.place(seat);
        let text = "mkdir -p -- \"$1\"";
        let script = Script { what: "make a directory", text, args: &[&place], given: Given::Nothing, time: PLACE_TIME };
        self.run(Seat::First, script, Taken::Bytes(&mut Vec::new(), 1 << 10)).await.map(drop)
    }

    /// Runs a script in one of the tree's clones and gives its status; [`GONE`] where there is no such directory any more.
    pub(crate) async fn run(&self, seat: Seat<'_>, script: Script<'_>, taken: Taken<'_>) -> Result<i32, GitError> {
        let Script { what, text, args, given, time } = script;
        let (text, dir) = match seat {
            Seat::First => (text.to_owned(), None),
            // What an agent made of that directory is its own: from inside the sandbox it leads to nothing of the host's.
            Seat::Beside(_) => (format!("cd -- \"$1\" 2>/dev/null || exit {GONE}\nshift\n{text}"), Some(self.place(seat))),
        };
        let words = ["/bin/sh", "-euc", &text, "git"].into_iter().chain(dir.as_deref()).chain(args.iter().copied());
        let argv = words.map(str::to_owned).collect();
        let has_input = !matches!(given, Given::Nothing);
        let cwd = self.place(Seat::First);
        let exec = Exec { argv, env: environment(), cwd, stdio: Stdio::Pipes { stdin: has_input }, lease: 0 };
        let mut command = self.sandbox.exec(exec).await?;
        let _ender = Ender(command.control.clone());
        let mut complaint = Vec::new();
        let feed = feed(command.stdin.take(), given);
        let control = command.control.clone();
        let read = async {
            let mut sink = Sink { taken, bytes: 0, what };
            loop {
                let Some(piece) = command.output.next().await? else { return Err(GitError::Strange { what }) };
                match piece.piece {
                    Piece::Stdout(bytes) => sink.take(&bytes)?,
                    Piece::Stderr(bytes) => {
                        let room = COMPLAINT_BYTES_MAX.saturating_sub(complaint.len());
                        complaint.extend_from_slice(&bytes[..bytes.len().min(room)]);
                    }
                    Piece::Exited(exit) => return Ok(exit),
                }
                control.ack(piece.number);
            }
        };
        let both = async {
            tokio::pin!(read);
            tokio::pin!(feed);
            // What it says when it ends counts, also when it did not read all that it was given.
            tokio::select! {
                exit = &mut read => exit,
                fed = &mut feed => {
                    fed?;
                    read.await
                }
            }
        };
        let exit = tokio::time::timeout(time, both).await.map_err(|_| GitError::Late { what })??;
        match exit.code {
            Some(0) => Ok(0),
            Some(code) if OWN_CODES.contains(&code) => Ok(code),
            _ => Err(GitError::Inside { what, complaint: shown(&complaint) }),
        }
    }

    /// Ends it, where it is our own.
    pub(crate) async fn close(self) {
        if self.is_own
            && let Err(error) = self.sandbox.clone().stop().await
        {
            tracing::warn!(error = model::chain(&error), "a sandbox for git was not removed whole");
        }
    }
}

/// The status with which there is no clone, or not the branch in it.
pub(crate) const GONE: i32 = 44;
/// How long making a directory may take.
const PLACE_TIME: Duration = Duration::from_secs(60);
/// Statuses with which our scripts say something.
const OWN_CODES: std::ops::RangeInclusive<i32> = 40..=49;

fn request(tree: &TreeId, shown: &[Shown]) -> Request {
    let id = SandboxId::from_bits(crate::clock::fresh_bits());
    let mut request = Request::new(id, format!("{}{tree}", crate::trees::LOOK_LABEL));
    request.limits = Limits { memory_bytes: MEMORY_BYTES, ..Limits::default() };
    request.extra_ro = shown.to_vec();
    request.orphan = Duration::ZERO;
    request
}

fn environment() -> Vec<(String, String)> {
    let mut env = sandbox::base_env(&Limits::default());
    let fixed = [
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("GIT_NO_REPLACE_OBJECTS", "1"),
        ("GIT_OPTIONAL_LOCKS", "0"),
        ("GIT_ALLOW_PROTOCOL", "none"),
        ("LC_ALL", "C"),
    ];
    env.extend(fixed.map(|(key, value)| (key.to_owned(), value.to_owned())));
    env.push(("GIT_CONFIG_COUNT".to_owned(), CONFIG.len().to_string()));
    for (n, (key, value)) in CONFIG.iter().enumerate() {
        env.push((format!("GIT_CONFIG_KEY_{n}"), (*key).to_owned()));
        env.push((format!("GIT_CONFIG_VALUE_{n}"), (*value).to_owned()));
    }
    env
}

/// Where a mirror is seen inside.
pub(crate) fn mirror_at(key: &str) -> PathBuf {
    PathBuf::from(INSIDE).join(key)
}

async fn feed(pipe: Option<CommandStdin>, given: Given) -> Result<(), GitError> {
    let Some(mut pipe) = pipe else { return Ok(()) };
    match given {
        Given::Nothing => Ok(()),
        Given::Bytes(bytes) => Ok(pipe.write(&bytes).await?),
        Given::File(file) => {
            let (mut file, mut piece) = (tokio::fs::File::from_std(file), vec![0; PIECE_BYTES]);
            loop {
                let n = file.read(&mut piece).await.map_err(GitError::io("read what is given to a sandbox"))?;
                if n == 0 {
                    return Ok(());
                }
                pipe.write(&piece[..n]).await?;
            }
        }
    }
}

/// Where output goes, counted.
struct Sink<'a> {
    taken: Taken<'a>,
    bytes: u64,
    what: &'static str,
}

impl Sink<'_> {
    fn take(&mut self, piece: &[u8]) -> Result<(), GitError> {
        self.bytes += piece.len() as u64;
        let max = match &self.taken {
            Taken::Bytes(_, max) => *max as u64,
            Taken::File(_, max) => *max,
        };
        if self.bytes > max {
            return Err(GitError::Long { what: self.what, max });
        }
        match &mut self.taken {
            Taken::Bytes(out, _) => out.extend_from_slice(piece),
            // Pieces of 64 KiB into the page cache: shorter than a hop to another thread.
            Taken::File(file, _) => file.write_all(piece).map_err(GitError::io("hold what a sandbox gives"))?,
        }
        Ok(())
    }
}

/// Ends a command whose output nobody wants any more.
struct Ender(CommandControl);

impl Drop for Ender {
    fn drop(&mut self) {
        self.0.signal(KILL);
    }
}
