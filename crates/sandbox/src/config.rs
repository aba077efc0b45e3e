//! What a sandbox is made of, as the caller asks for it.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use model::{Limits, SandboxId, TreeId, Want};
use wire::Relay;

/// Where sandboxes are made and how many.
#[derive(Debug, Clone)]
pub struct Config {
    /// The home: absolute, owned by the caller, mode 0700.
    pub home: PathBuf,
    /// The guest program on the host, a static executable.
    pub guest: PathBuf,
    /// Eight hexadecimal digits that tell this home from every other on the machine. All that is made outside the home
    /// (control groups, reserved users) carries it, and nothing without it is ever removed.
    pub install: String,
    /// The first and last host user that sandboxes may get when the caller is root.
    pub uid_range: (u32, u32),
    /// The most sandboxes alive at once. `None`: computed from the limit of open files.
    pub sandboxes_max: Option<usize>,
    /// The size of the sparse image that holds the files of sessions when the caller is root, in bytes; never more than
    /// what is free.
    pub disk_image_bytes: u64,
}

impl Config {
    /// The usual configuration of a home.
    #[must_use]
    pub fn new(home: PathBuf, guest: PathBuf, install: String) -> Self {
        Self { home, guest, install, uid_range: (1_500_000_000, 1_500_065_535), sandboxes_max: None, disk_image_bytes: 64 << 30 }
    }
}

/// The longest [`Request::note`].
pub const NOTE_BYTES_MAX: usize = 64 << 10;

/// One sandbox to make.
#[derive(Debug)]
pub struct Request {
    /// Its identity; a new one each time.
    pub id: SandboxId,
    /// What people see it is for: a session or a name. At most 64 characters.
    pub label: String,
    /// Whatever its user wants to have back with it after a restart ([`crate::Sandbox::note`]). Not looked at here. At
    /// most [`NOTE_BYTES_MAX`].
    pub note: String,
    /// The root file system.
    pub image: Image,
    /// What it may use.
    pub limits: Limits,
    /// How much each limit matters.
    pub wants: Wants,
    /// Host directories and files that the user opened.
    pub mounts: Vec<HostMount>,
    /// Where its writes go.
    pub tree: Tree,
    /// Further trees that exist, read-only: each is seen as the directories `home` and `workspace` of a path inside.
    pub trees: Vec<(TreeId, PathBuf)>,
    /// Host directories that the host itself chose, mounted read-only: host path and path inside.
    pub extra_ro: Vec<(PathBuf, PathBuf)>,
    /// Files that the host writes for this sandbox.
    pub files: Vec<HostFile>,
    /// Loopback ports inside and the doors that they lead to.
    pub relays: Vec<Relay>,
    /// How long it lives without a daemon.
    pub orphan: Duration,
    /// Which walls stand; [`jail::Walls::ALL`] but in tests of the walls.
    pub walls: jail::Walls,
}

impl Request {
    /// A sandbox of image `host` with the default limits, wanted as the caller's rights allow; nothing mounted, no door.
    #[must_use]
    pub fn new(id: SandboxId, label: impl Into<String>) -> Self {
        Self {
            id,
            label: label.into(),
            note: String::new(),
            image: Image::Host { usr_local: false },
            limits: Limits::default(),
            wants: Wants::of_caller(),
            mounts: Vec::new(),
            tree: Tree::Ephemeral,
            trees: Vec::new(),
            extra_ro: Vec::new(),
            files: Vec::new(),
            relays: Vec::new(),
            orphan: Duration::from_secs(60),
            walls: jail::Walls::ALL,
        }
    }
}

/// The root file system of a sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Image {
    /// The machine's own /usr, read-only, and a synthetic rest.
    Host {
        /// Whether /usr/local is seen too.
        usr_local: bool,
    },
    /// An unpacked tree without mount points, chosen by the host.
    Tree(PathBuf),
}

/// Where the writes of a sandbox go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tree {
    /// Gone with the sandbox.
    Ephemeral,
    /// Kept: `home` and `workspace` of this tree are /home and /workspace. Made when it does not exist. Several
    /// sandboxes may have one tree at once where [`crate::Sandboxes::live_checkpoints`] says so.
    Kept {
        /// Which tree.
        id: TreeId,
    },
}

/// A file that the host writes for one sandbox, which nothing inside can change, unlink or move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostFile {
    /// Where it is seen; absolute, without `..`.
    pub target: PathBuf,
    /// What it holds. At most [`HOST_FILE_BYTES_MAX`].
    pub bytes: Vec<u8>,
}

/// The largest [`HostFile`].
pub const HOST_FILE_BYTES_MAX: usize = 4 << 20;
/// The most files of one request.
pub const HOST_FILES_MAX: usize = 64;
/// The most further trees of one request.
pub const TREES_MAX: usize = 8;

/// A host directory or file that the user opened, to be seen inside.
#[derive(Debug)]
pub struct HostMount {
    /// Opened with the user's own rights, `O_PATH` is enough.
    pub fd: OwnedFd,
    /// Where it is seen; absolute, without `..`.
    pub target: PathBuf,
    /// Whether nothing inside can write to it.
    pub read_only: bool,
}

/// How much each limit of [`Limits`] matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wants {
    /// Bytes of memory.
    pub memory: Want,
    /// Processor time.
    pub cpu: Want,
    /// Processes and threads.
    pub pids: Want,
    /// Bytes written.
    pub disk: Want,
    /// Wall-clock time.
    pub time: Want,
}

impl Wants {
    /// Every limit must hold.
    pub const ALL: Wants =
        Wants { memory: Want::Require, cpu: Want::Require, pids: Want::Require, disk: Want::Require, time: Want::Require };

    /// Pids and time must hold; memory, cpu and disk where the host can.
    pub const ROOTLESS: Wants =
        Wants { memory: Want::Prefer, cpu: Want::Prefer, pids: Want::Require, disk: Want::Prefer, time: Want::Require };

    /// [`Wants::ALL`] for root, else [`Wants::ROOTLESS`].
    #[must_use]
    pub fn of_caller() -> Self {
        if rustix::process::geteuid().is_root() { Self::ALL } else { Self::ROOTLESS }
    }
}

/// The part of the V8 heap in the memory limit, in percent: the rest is for code, buffers and other processes.
const NODE_HEAP_PERCENT: u64 = 75;

/// The environment that every command should have: where programs are, who the user is, and the memory limit for
/// runtimes that size themselves by it.
#[must_use]
pub fn base_env(limits: &Limits) -> Vec<(String, String)> {
    let heap_mib = (limits.memory_bytes / 100 * NODE_HEAP_PERCENT) >> 20;
    [
        // What an agent was given for itself comes before what every sandbox has.
        (
            "PATH",
            "/opt/lazaret/bin:/opt/lazaret-agent/bin:/opt/lazaret-tools/bin:/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin",
        ),
        ("PYTHONPATH", "/opt/lazaret-agent/python:/opt/lazaret-tools/python"),
        ("HOME", "/home/sandbox"),
        ("USER", "sandbox"),
        ("LOGNAME", "sandbox"),
        ("SHELL", "/bin/sh"),
        ("LANG", "C.UTF-8"),
        ("TMPDIR", "/tmp"),
        ("NODE_OPTIONS", &format!("--max-old-space-size={}", heap_mib.max(64))),
        ("BUN_JSC_forceRAMSize", &limits.memory_bytes.to_string()),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .collect()
}
