//! Why a sandbox could not be built.

use std::io;

use serde::{Deserialize, Serialize};

/// A layer of the sandbox, as messages and the printed level name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    /// Control groups: memory, cpu, pids.
    Cgroup,
    /// The namespaces as such.
    Namespaces,
    /// The overlay root and the change to it.
    Root,
    /// Trees and files mounted into the root.
    Mounts,
    /// /dev.
    Devices,
    /// /proc and its masks.
    Proc,
    /// The network namespace.
    Network,
    /// The sandbox's own user.
    Identity,
    /// Capabilities, no_new_privs and what belongs to them.
    Privileges,
    /// Limits of the kernel on each process.
    Rlimits,
    /// The list of allowed places.
    Landlock,
    /// The list of allowed system calls.
    Seccomp,
}

impl Layer {
    /// The printed name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Layer::Cgroup => "cgroup",
            Layer::Namespaces => "namespaces",
            Layer::Root => "root",
            Layer::Mounts => "mounts",
            Layer::Devices => "devices",
            Layer::Proc => "proc",
            Layer::Network => "network",
            Layer::Identity => "identity",
            Layer::Privileges => "privileges",
            Layer::Rlimits => "rlimits",
            Layer::Landlock => "landlock",
            Layer::Seccomp => "seccomp",
        }
    }
}

impl std::fmt::Display for Layer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A layer that could not be had: the start is refused. It travels as JSON from the sandbox's first process to the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("failed to {operation} (layer {layer}): {}", io::Error::from_raw_os_error(*errno))]
#[serde(deny_unknown_fields)]
pub struct LaunchError {
    /// Which layer.
    pub layer: Layer,
    /// What was tried, completing "failed to ...".
    pub operation: String,
    /// The kernel's error number.
    pub errno: i32,
    /// What the owner of the machine can do about it.
    pub remedy: String,
}

impl LaunchError {
    /// The error of `operation`, with the layer's usual remedy.
    pub(crate) fn new(layer: Layer, operation: impl Into<String>, source: &io::Error) -> Self {
        let errno = source.raw_os_error().unwrap_or(libc::EIO);
        Self { layer, operation: operation.into(), errno, remedy: remedy(layer, errno) }
    }

    /// The same with a remedy that knows more.
    pub(crate) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = remedy.into();
        self
    }
}

/// Turns a failed system call into a [`LaunchError`].
pub(crate) trait At<T> {
    /// Names the layer and the operation that failed.
    fn at(self, layer: Layer, operation: impl FnOnce() -> String) -> Result<T, LaunchError>;
}

impl<T, E: Into<io::Error>> At<T> for Result<T, E> {
    fn at(self, layer: Layer, operation: impl FnOnce() -> String) -> Result<T, LaunchError> {
        self.map_err(|error| LaunchError::new(layer, operation(), &error.into()))
    }
}

fn remedy(layer: Layer, errno: i32) -> String {
    let text = match (layer, errno) {
        (_, libc::ENOMEM | libc::EMFILE | libc::ENFILE) => "free memory or descriptors on the host, or run fewer sandboxes",
        (Layer::Namespaces | Layer::Identity, libc::EPERM | libc::EACCES) => {
            "allow user namespaces (sysctl kernel.unprivileged_userns_clone=1, and with AppArmor \
             kernel.apparmor_restrict_unprivileged_userns=0), or run as root"
        }
        (Layer::Namespaces | Layer::Identity, libc::ENOSPC | libc::EUSERS) => {
            "raise user.max_user_namespaces and the other user.max_*_namespaces"
        }
        (Layer::Namespaces, _) => "use a kernel with all namespaces (CONFIG_NAMESPACES, CONFIG_USER_NS)",
        (Layer::Cgroup, _) => "run as root, or delegate the cpu, memory and pids controllers to this user; or set the limit to prefer",
        (Layer::Root, libc::ENODEV) => "load the overlay module (modprobe overlay)",
        (Layer::Root, _) => "keep the home on ext4, xfs, btrfs or tmpfs, on a kernel from 5.11 on",
        (Layer::Mounts, _) => "check that the path exists and that this user may reach it",
        (Layer::Proc, libc::EPERM) => "run where /proc is not masked already (not inside another container), or run as root",
        (Layer::Landlock, _) => "use a kernel with landlock (CONFIG_SECURITY_LANDLOCK, and `landlock` in the lsm= list)",
        (Layer::Seccomp, _) => "use a kernel with seccomp filters (CONFIG_SECCOMP_FILTER)",
        (Layer::Rlimits, _) => "ask for less, or raise the hard limit of the daemon",
        _ => "run `lazaret doctor`",
    };
    text.to_owned()
}
