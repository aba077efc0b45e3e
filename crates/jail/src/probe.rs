//! Which layers can be had on this host.

use std::fs;
use std::path::Path;

use crate::cgroup::Driver;
use crate::{Layer, launch, rlimits};

/// What a layer rests on here, or why it cannot be had and what would give it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// The layer.
    pub layer: Layer,
    /// How it is enforced, or what is missing and the remedy.
    pub found: Result<String, Missing>,
}

/// Why a layer cannot be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// What was found.
    pub why: String,
    /// What would give it.
    pub remedy: String,
}

/// The first kernel with overlays in user namespaces.
const KERNEL_ROOTLESS: (u32, u32) = (5, 11);
/// The first kernel with `mount_setattr`.
const KERNEL_ROOT: (u32, u32) = (5, 12);

/// Looks at this host, with the rights of the caller: in the order in which a level is printed. It reads a few files
/// and changes nothing; that a sandbox really starts is shown by starting one.
#[must_use]
pub fn probe() -> Vec<Probe> {
    let root = rustix::process::geteuid().is_root();
    let layers: [(Layer, Result<String, Missing>); 11] = [
        (Layer::Namespaces, namespaces(root)),
        (Layer::Root, overlay(root)),
        (Layer::Mounts, Ok(if root { "private tree, idmapped mounts" } else { "private tree" }.to_owned())),
        (Layer::Proc, proc(root)),
        (Layer::Network, present("/proc/self/ns/net", "loopback only", "CONFIG_NET_NS")),
        (
            Layer::Identity,
            Ok(if root { "a host user of its own for each sandbox, 1000 inside" } else { "the caller, 1000 inside" }.to_owned()),
        ),
        (Layer::Privileges, Ok("no capabilities, no_new_privs".to_owned())),
        (Layer::Rlimits, Ok(format!("at most {} open files", rlimits::nofile_max()))),
        (Layer::Cgroup, cgroup()),
        (Layer::Landlock, landlock()),
        (Layer::Seccomp, seccomp()),
    ];
    layers.into_iter().map(|(layer, found)| Probe { layer, found }).collect()
}

fn missing(why: impl Into<String>, remedy: impl Into<String>) -> Missing {
    Missing { why: why.into(), remedy: remedy.into() }
}

fn text(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

fn present(path: &str, how: &str, option: &str) -> Result<String, Missing> {
    if Path::new(path).exists() {
        Ok(how.to_owned())
    } else {
        Err(missing(format!("{path} does not exist"), format!("use a kernel with {option}")))
    }
}

fn kernel() -> (u32, u32) {
    let release = rustix::system::uname();
    let release = release.release().to_string_lossy();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

fn namespaces(root: bool) -> Result<String, Missing> {
    for name in ["mnt", "pid", "ipc", "uts", "cgroup", "user"] {
        present(&format!("/proc/self/ns/{name}"), "", &format!("the {name} namespace"))?;
    }
    if text("/proc/sys/user/max_user_namespaces") == "0" {
        return Err(missing("user namespaces are limited to 0", "sysctl user.max_user_namespaces=10000"));
    }
    if root {
        return Ok("mnt, pid, net, ipc, uts, cgroup, and user inside them".to_owned());
    }
    if text("/proc/sys/kernel/unprivileged_userns_clone") == "0" {
        return Err(missing("ordinary users may make no user namespace", "sysctl kernel.unprivileged_userns_clone=1, or run as root"));
    }
    if text("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1" {
        let remedy = "sysctl kernel.apparmor_restrict_unprivileged_userns=0, or an AppArmor profile with `userns`, or run as root";
        return Err(missing("AppArmor keeps ordinary users from user namespaces", remedy));
    }
    Ok("user, and mnt, pid, net, ipc, uts, cgroup inside it".to_owned())
}

fn overlay(root: bool) -> Result<String, Missing> {
    let least = if root { KERNEL_ROOT } else { KERNEL_ROOTLESS.max(KERNEL_ROOT) };
    if kernel() < least {
        return Err(missing(format!("kernel {}.{}", kernel().0, kernel().1), format!("use a kernel from {}.{} on", least.0, least.1)));
    }
    // The module may also be loaded by the first mount, as root.
    if !root && !text("/proc/filesystems").lines().any(|line| line.ends_with("\toverlay")) {
        return Err(missing("the overlay file system is not loaded", "modprobe overlay"));
    }
    Ok("overlay, read-only but for /workspace and /home".to_owned())
}

fn proc(root: bool) -> Result<String, Missing> {
    // The kernel gives no fresh /proc to a user namespace when parts of the present one are hidden.
    let hidden = text("/proc/self/mountinfo");
    let hidden = hidden
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .find(|at| at.starts_with("/proc/") && !at.starts_with("/proc/sys/fs/binfmt_misc"));
    match hidden {
        Some(at) if !root => {
            Err(missing(format!("{at} is covered, as in a container"), "run outside the container, or as root, or with /proc unmasked"))
        }
        _ => Ok("its own processes only, masked and read-only".to_owned()),
    }
}

fn cgroup() -> Result<String, Missing> {
    let driver = Driver::detect("probe");
    let (have, lack): (Vec<_>, Vec<_>) = ["memory", "cpu", "pids"].into_iter().partition(|name| driver.has(name));
    if lack.is_empty() {
        return Ok(format!("{} ({})", have.join(", "), driver.version()));
    }
    let remedy = "run as root, or let systemd delegate the controllers to this user (Delegate=yes)";
    Err(missing(format!("no control group with {} for this user ({})", lack.join(", "), driver.version()), remedy))
}

fn landlock() -> Result<String, Missing> {
    match launch::abi() {
        Ok(abi) if abi >= 6 => Ok(format!("version {abi}: files, signals, abstract sockets")),
        Ok(abi) => Ok(format!("version {abi}: files")),
        Err(error) => Err(missing(error.to_string(), "use a kernel with CONFIG_SECURITY_LANDLOCK, and `landlock` in its lsm= list")),
    }
}

fn seccomp() -> Result<String, Missing> {
    let actions = text("/proc/sys/kernel/seccomp/actions_avail");
    let enough = ["kill_process", "errno", "allow"].iter().all(|wanted| actions.split(' ').any(|have| have == *wanted));
    if enough {
        Ok("allow-list of system calls".to_owned())
    } else {
        Err(missing("no filters of system calls", "use a kernel with CONFIG_SECCOMP_FILTER"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_layer_is_told_with_a_way_or_a_remedy() {
        for probe in probe() {
            match probe.found {
                Ok(how) => assert!(!how.is_empty(), "{}", probe.layer),
                Err(missing) => assert!(!missing.why.is_empty() && !missing.remedy.is_empty(), "{}", probe.layer),
            }
        }
        assert!(kernel() > (4, 0));
    }
}
