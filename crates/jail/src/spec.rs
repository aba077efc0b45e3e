//! What the launcher is told to build. The host decides everything here; nothing in it comes from a guest, and paths
//! that a user named arrive as descriptors.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Everything that the launcher needs to build one sandbox.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// The host name inside.
    pub hostname: String,
    /// Who the sandbox's one user is on the host.
    pub identity: Identity,
    /// The root file system.
    pub root: Root,
    /// Further trees, mounted in this order after the root.
    pub mounts: Vec<Mount>,
    /// The descriptor (by index) of the directory that holds `host.sock`; bound read-only at [`DOOR_DIR`].
    pub door: Option<u32>,
    /// The guest program on the host; bound read-only at [`GUEST_PATH`], with `ipc` and `mini` as links to it.
    pub guest: PathBuf,
    /// The size of /tmp and of /dev/shm, each a tmpfs, in bytes.
    pub tmp_bytes: u64,
    /// The limits of the kernel on each process, clamped to what the host allows.
    pub rlimits: Rlimits,
    /// Control groups that exist already.
    pub cgroup: Option<CgroupJoin>,
    /// Which walls stand. Production uses [`Walls::ALL`].
    pub walls: Walls,
}

/// The directory of the one door inside.
pub const DOOR_DIR: &str = "/run/lazaret";
/// The guest program inside.
pub const GUEST_PATH: &str = "/opt/lazaret/bin/lazaret-guest";
/// The user and group inside.
pub const GUEST_ID: u32 = 1000;

/// Who the sandbox's one user is on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Identity {
    /// The launcher is root: this reserved host user and group, used by no other sandbox at the time.
    Reserved {
        /// Host user.
        uid: u32,
        /// Host group.
        gid: u32,
    },
    /// The launcher is an ordinary user and maps itself.
    Caller,
}

/// The root: trees laid over one another, and where writes go.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Root {
    /// The trees, topmost first. None may contain a mount point that is in use.
    pub lowers: Vec<PathBuf>,
    /// Where writes to /workspace and /home go.
    pub upper: Upper,
}

/// Where writes go.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Upper {
    /// Two directories on one host file system.
    Dirs {
        /// The layer.
        upper: PathBuf,
        /// Overlay's own working directory.
        work: PathBuf,
    },
    /// Memory, at most this many bytes; gone with the sandbox.
    Tmpfs {
        /// The size.
        bytes: u64,
    },
    /// Two directories on a device that the launcher mounts for itself.
    Device {
        /// For example `/dev/loop0`.
        device: PathBuf,
        /// For example `btrfs`.
        fstype: String,
        /// Mount options as key and value, for example `subvol` and `s/17`.
        options: Vec<(String, String)>,
        /// The layer, relative to the mounted tree.
        upper: PathBuf,
        /// Overlay's own working directory, relative to the mounted tree.
        work: PathBuf,
    },
}

/// A tree to mount.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mount {
    /// What to mount.
    pub source: Source,
    /// Where, absolute inside; made when missing if it lies in a writable place.
    pub target: PathBuf,
    /// Whether nothing inside can write to it.
    pub read_only: bool,
    /// The host owner whose files appear as the sandbox's user (an idmapped mount); only as root.
    pub owner: Option<(u32, u32)>,
}

/// Where a mount comes from.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Source {
    /// A path that the host itself chose.
    Path(PathBuf),
    /// A descriptor that came with the specification, by index.
    Fd(u32),
    /// A new tmpfs of at most this many bytes.
    Tmpfs(u64),
    /// A directory on a device that the launcher mounts for itself, once for all mounts of that device.
    Device {
        /// For example `/dev/loop0`.
        device: PathBuf,
        /// For example `btrfs`.
        fstype: String,
        /// The directory, relative to the root of the device. No part of it may be a link.
        path: PathBuf,
    },
    /// A directory of trees laid over one another, which the launcher does once for all mounts of the same trees.
    Layers {
        /// The directory that holds all of them. With an owner it is this that is shown as the sandbox's user's.
        base: PathBuf,
        /// The trees that are only read, topmost first, relative to `base`; two at least where none takes writes.
        lowers: Vec<PathBuf>,
        /// The tree that takes the writes and overlay's own working directory, relative to `base`.
        upper: Option<(PathBuf, PathBuf)>,
        /// The directory, relative to the top of the trees. No part of it may be a link.
        path: PathBuf,
    },
}

/// Limits of the kernel on each process. A value above the hard limit is clamped to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rlimits {
    /// Open files.
    pub nofile: u64,
    /// Processes of the sandbox's user; in rootless mode this is the pids limit.
    pub nproc: Option<u64>,
    /// Bytes of one file.
    pub fsize: Option<u64>,
}

/// Control groups to enter, made by the host.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CgroupJoin {
    /// Files of the parent groups that a process enters by writing 0 (`tasks` of each v1 hierarchy, or the one
    /// `cgroup.procs` of v2): the guest enters these.
    pub guest: Vec<PathBuf>,
    /// The same files of the child groups: every command enters these.
    pub commands: Vec<PathBuf>,
}

/// The walls that can be taken away one by one, to show in a test, or to a user who looks for the cause of a denial,
/// which wall it is that stops something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Walls {
    /// The list of allowed system calls.
    pub seccomp: bool,
    /// The list of allowed places.
    pub landlock: bool,
    /// Dropped capabilities, no_new_privs and the leaf user namespace.
    pub privileges: bool,
    /// A network namespace of its own.
    pub network: bool,
    /// Masked and read-only parts of /proc.
    pub proc: bool,
    /// The read-only root.
    pub read_only: bool,
    /// The process namespace of its own.
    pub pids: bool,
}

impl Walls {
    /// Everything stands.
    pub const ALL: Walls =
        Walls { seccomp: true, landlock: true, privileges: true, network: true, proc: true, read_only: true, pids: true };
}
