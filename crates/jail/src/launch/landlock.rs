//! The list of allowed places: what could be reached by a mistake in the tree is denied once more.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;

use crate::error::At as _;
use crate::{LaunchError, Layer, Spec, sys};

const EXECUTE: u64 = 1 << 0;
const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIR: u64 = 1 << 3;
const TRUNCATE: u64 = 1 << 14;
const IOCTL_DEV: u64 = 1 << 15;
/// The rights that the first version knows.
const ALL_V1: u64 = (1 << 13) - 1;
const REFER: u64 = 1 << 13;
/// Abstract Unix sockets, and signals to processes outside.
const SCOPES: u64 = 0b11;

/// Directories where everything is allowed.
const WRITABLE: [&str; 4] = ["/workspace", "/home", "/tmp", "/dev/shm"];
/// Devices that can be read and written.
const DEVICES: [&str; 7] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/pts"];

/// The version of this kernel: from 1 on it guards files, from 6 on also signals and abstract sockets.
///
/// # Errors
/// The kernel's, when it has no landlock or does not use it.
pub(crate) fn abi() -> io::Result<i64> {
    sys::landlock_create(None)
}

/// All rights over files that a version knows.
fn rights(abi: i64) -> u64 {
    let mut rights = ALL_V1;
    for (from, right) in [(2, REFER), (3, TRUNCATE), (5, IOCTL_DEV)] {
        if abi >= from {
            rights |= right;
        }
    }
    rights
}

/// Puts the process, and all that it will start, under the list. One domain for guest and commands: it may signal
/// them, and they it as far as an init of its namespace takes signals at all.
pub(crate) fn restrict(spec: &Spec) -> Result<(), LaunchError> {
    let at = |operation: &'static str| move |error: io::Error| LaunchError::new(Layer::Landlock, operation, &error);
    let abi = abi().map_err(at("use landlock"))?;
    let all = rights(abi);
    let scopes = if abi >= 6 { SCOPES } else { 0 };
    let ruleset = sys::landlock_create(Some(&[all, 0, scopes])).and_then(sys::own).map_err(at("make a list of allowed places"))?;
    allow(&ruleset, "/", EXECUTE | READ_FILE | READ_DIR)?;
    for place in WRITABLE {
        allow(&ruleset, place, all)?;
    }
    for place in DEVICES {
        let directory = if place == "/dev/pts" { READ_DIR } else { 0 };
        allow(&ruleset, place, (READ_FILE | WRITE_FILE | TRUNCATE | IOCTL_DEV | directory) & all)?;
    }
    for mount in spec.mounts.iter().filter(|m| !m.read_only && !WRITABLE.iter().any(|own| m.target.starts_with(own))) {
        allow(&ruleset, &mount.target.to_string_lossy(), all)?;
    }
    sys::landlock_restrict(ruleset.as_fd()).map_err(at("enforce the list of allowed places"))
}

fn allow(ruleset: &OwnedFd, place: &str, rights: u64) -> Result<(), LaunchError> {
    let allowed = (|| {
        let fd = match open(place, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(()),
            other => other?,
        };
        match sys::landlock_allow(ruleset.as_fd(), rights, fd.as_fd()) {
            // A file, mounted writable: only rights that files have.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                let file = rights & (EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV);
                sys::landlock_allow(ruleset.as_fd(), file, fd.as_fd())
            }
            other => other,
        }
    })();
    allowed.at(Layer::Landlock, || format!("allow {place}"))
}
