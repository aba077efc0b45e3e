//! From a request to everything that a launcher needs, written down on the way.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Component, Path, PathBuf};

use jail::cgroup::{Group, GroupLimits};
use jail::{Identity, Mount, Rlimits, Root, Source, Spec};
use model::{Limits, TreeId, Want};
use rustix::fs::{Mode, OFlags};
use wire::{Boot, Launch};

use crate::config::{NOTE_BYTES_MAX, TREES_MAX};
use crate::host::Host;
use crate::launcher::{Launched, launch};
use crate::record::{Record, now};
use crate::{HostMount, Request, SandboxError, Tree, Wants, clean, disk, door, etc, files, home, image, level, trees};

/// Mounts that one request may name.
const MOUNTS_MAX: usize = 32;
/// The longest label.
const LABEL_CHARS_MAX: usize = 64;
/// Open files of each process inside.
const NOFILE: u64 = 16_384;
/// The largest /tmp and /dev/shm, each.
const TMP_BYTES_MAX: u64 = 1 << 30;
/// A full disk must be seen before the limit on one file, which kills whoever reaches it.
const FSIZE_MORE: u64 = 64 << 10;
/// Processes that are no commands: the guest itself and what it forks on the way to one.
const GUEST_PIDS: u64 = 4;

/// A sandbox that is ready to be launched.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) dir: PathBuf,
    pub(crate) record: Record,
    pub(crate) group: Option<Group>,
    /// Its door, when it has one.
    pub(crate) listener: Option<UnixListener>,
    spec: Spec,
    descriptors: Vec<OwnedFd>,
}

/// Makes all that `request` needs in `dir`, which does not exist. What was made is removed again on failure.
/// `contested` are trees of it that other sandboxes have.
pub(crate) fn make(host: &Host, request: Request, dir: &Path, with_door: bool, contested: &[TreeId]) -> Result<Made, SandboxError> {
    check(&request)?;
    home::make_dir(dir)?;
    model::crash::point("sandbox.dir.made");
    let id = request.id.clone();
    build(host, request, dir, with_door, contested).inspect_err(|_| {
        // The error that is reported is why it had to be removed.
        let _ = clean::remove(host, &id, dir);
    })
}

fn build(host: &Host, request: Request, dir: &Path, with_door: bool, contested: &[TreeId]) -> Result<Made, SandboxError> {
    let uid = host.uids.as_ref().map(|uids| uids.take(request.id.as_str(), None)).transpose()?;
    let backing = disk::choose(host, &request.id, &request.tree, (&request.limits, request.wants.disk), !with_door, contested)?;
    let level = level::level(host, &request.walls, &request.limits, &request.wants, backing.line, uid)?;
    let tree = match &request.tree {
        Tree::Ephemeral => None,
        Tree::Kept { id } => Some(id.clone()),
    };
    let group_limits = group_limits(host, &request.limits, &request.wants);
    let record = Record {
        form: Record::FORM,
        wire: wire::VERSION,
        id: request.id.clone(),
        label: cut_label(&request.label),
        note: request.note,
        boot: host.boot.clone(),
        made: now(),
        uid,
        group: group_limits.map(|_| request.id.to_string()),
        tree,
        reads: request.trees.iter().map(|(id, _)| id.clone()).collect(),
        files: request.files.iter().map(|file| file.target.clone()).collect(),
        mounts: request.mounts.iter().map(|mount| &mount.target).filter(|target| files::is_in_tree(target)).cloned().collect(),
        limits: request.limits,
        level,
        init: None,
    };
    record.write(dir)?;
    model::crash::point("sandbox.record.written");
    let group = group_limits.map(|limits| host.groups.create(request.id.as_str(), &limits)).transpose();
    let group = group.map_err(|e| SandboxError::Layer {
        layer: "cgroup".into(),
        why: model::chain(&e),
        remedy: "run `lazaret doctor`; or set memory, cpu and pids to prefer".into(),
    })?;
    model::crash::point("sandbox.group.made");
    let mut descriptors = Vec::new();
    let listener = if with_door {
        home::make_dir(&dir.join("door"))?;
        let listener = door::bind(dir, uid)?;
        fs::set_permissions(dir.join("door"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .map_err(SandboxError::io("open the door"))?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(dir.join("door"), flags, Mode::empty()).map_err(|e| SandboxError::io("open the door")(e.into()))?;
        descriptors.push(fd);
        Some(listener)
    } else {
        None
    };
    let image = image::prepare(&host.home, &request.image)?;
    let mut mounts = image.mounts;
    mounts.extend(backing.mounts);
    for (id, target) in &request.trees {
        mounts.extend(trees::mounts(host, &trees::get(host, id)?, id, target, true, contested)?);
    }
    for (source, target) in &request.extra_ro {
        check_target(target)?;
        mounts.push(Mount { source: Source::Path(source.clone()), target: target.clone(), read_only: true, owner: None });
    }
    for mount in request.mounts {
        mounts.push(host_mount(mount, uid.is_some(), &mut descriptors)?);
    }
    mounts.extend(files::write(dir, &request.files)?);
    let limits = &request.limits;
    let spec = Spec {
        hostname: etc::HOSTNAME.into(),
        identity: uid.map_or(Identity::Caller, |uid| Identity::Reserved { uid, gid: uid }),
        root: Root { lowers: vec![image.lower], upper: backing.upper },
        mounts,
        door: with_door.then_some(0),
        guest: host.config.guest.clone(),
        tmp_bytes: (limits.memory_bytes / 2).clamp(1 << 20, TMP_BYTES_MAX),
        rlimits: Rlimits {
            nofile: NOFILE,
            nproc: (request.wants.pids != Want::Off).then(|| u64::from(limits.pids) + GUEST_PIDS),
            fsize: (request.wants.disk != Want::Off).then_some(limits.disk_bytes.saturating_add(FSIZE_MORE)),
        },
        cgroup: group.as_ref().map(Group::join),
        walls: request.walls,
    };
    Ok(Made { dir: dir.to_owned(), record, group, listener, spec, descriptors })
}

/// As much of a label as is kept.
pub(crate) fn cut_label(label: &str) -> String {
    label.chars().take(LABEL_CHARS_MAX).collect()
}

impl Made {
    /// Starts it. On failure all of it is removed.
    pub(crate) fn launch(&mut self, host: &Host, mut boot: Boot, stdio: &[BorrowedFd<'_>]) -> Result<Launched, SandboxError> {
        let mut descriptors: Vec<BorrowedFd<'_>> = self.descriptors.iter().map(AsFd::as_fd).collect();
        if let Some(exec) = &mut boot.exec
            && !stdio.is_empty()
        {
            exec.stdio = wire::Stdio::Passed { first: u32::try_from(descriptors.len()).unwrap_or(u32::MAX) };
        }
        descriptors.extend(stdio);
        let message = Launch { spec: self.spec.clone(), boot };
        let (dir, record) = (&self.dir, &mut self.record);
        let launched = launch(&host.config.guest, &host.label(&record.id), &message, &descriptors, |process| {
            record.init = Some(process);
            record.write(dir)
        });
        match launched {
            Ok(launched) => {
                if let Err(error) = disk::settle(host, &self.record) {
                    // The error that is reported is why it had to go.
                    let _ = launched.init.kill_and_wait().and_then(|()| clean::remove(host, &self.record.id, &self.dir));
                    return Err(error);
                }
                // The mounts are the sandbox's now.
                self.descriptors.clear();
                Ok(launched)
            }
            Err(error) => {
                let _ = clean::remove(host, &self.record.id, &self.dir);
                Err(error)
            }
        }
    }
}

/// The limits for control groups, or `None` when none of them can be had and none must.
fn group_limits(host: &Host, limits: &Limits, wants: &Wants) -> Option<GroupLimits> {
    let wanted = |want: Want, name: &str| want != Want::Off && host.groups.has(name);
    let all = GroupLimits {
        memory_bytes: wanted(wants.memory, "memory").then_some(limits.memory_bytes),
        cpu_millis: wanted(wants.cpu, "cpu").then_some(limits.cpu_millis),
        pids: wanted(wants.pids, "pids").then_some(limits.pids),
    };
    (all != GroupLimits::default()).then_some(all)
}

fn host_mount(mount: HostMount, root: bool, descriptors: &mut Vec<OwnedFd>) -> Result<Mount, SandboxError> {
    check_target(&mount.target)?;
    let stat = rustix::fs::fstat(&mount.fd).map_err(|e| SandboxError::io("look at a mount")(e.into()))?;
    let kind = rustix::fs::FileType::from_raw_mode(stat.st_mode);
    if !kind.is_dir() && !kind.is_file() {
        let path = mount.target.display().to_string();
        return Err(SandboxError::Path { path, why: "only directories and regular files can be mounted".into() });
    }
    let index = u32::try_from(descriptors.len()).unwrap_or(u32::MAX);
    descriptors.push(mount.fd);
    let owner = root.then_some((stat.st_uid, stat.st_gid));
    Ok(Mount { source: Source::Fd(index), target: mount.target, read_only: mount.read_only, owner })
}

fn check(request: &Request) -> Result<(), SandboxError> {
    if request.trees.len() > TREES_MAX {
        return Err(SandboxError::Busy { what: "further trees", max: TREES_MAX });
    }
    // The host's own files may also say which authorities are trusted.
    let files = request.files.iter().map(|file| &file.target).filter(|target| !TRUST.iter().any(|trust| Path::new(trust) == *target));
    let targets = request.trees.iter().map(|(_, target)| target).chain(files);
    targets.into_iter().try_for_each(|target| check_target(target))?;
    files::check(&request.files)?;
    if request.mounts.len() + request.extra_ro.len() > MOUNTS_MAX {
        return Err(SandboxError::Busy { what: "mounts", max: MOUNTS_MAX });
    }
    if request.note.len() > NOTE_BYTES_MAX {
        return Err(SandboxError::Start(format!("its note has more than {NOTE_BYTES_MAX} bytes")));
    }
    let limits = &request.limits;
    if limits.memory_bytes < MEMORY_MIN || limits.disk_bytes < DISK_MIN || limits.cpu_millis == 0 || limits.pids == 0 {
        return Err(SandboxError::Start("a limit is too small: memory from 8m, disk from 1m, cpus and pids above 0".into()));
    }
    Ok(())
}

/// Below this not even a shell starts.
const MEMORY_MIN: u64 = 8 << 20;
/// Below this no file system can be made.
const DISK_MIN: u64 = 1 << 20;

/// Places inside that a mount may not cover: they hold the walls.
const CLOSED: [&str; 6] = ["/proc", "/dev", "/sys", "/run", "/opt/lazaret/bin", "/etc"];

/// Where systems keep the authorities that they trust.
const TRUST: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/ssl/cert.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
];

fn check_target(target: &Path) -> Result<(), SandboxError> {
    let plain = target.components().skip(1).all(|c| matches!(c, Component::Normal(_)));
    let refused = |why: &str| SandboxError::Path { path: target.display().to_string(), why: why.into() };
    if !target.is_absolute() || target == Path::new("/") || !plain {
        return Err(refused("a place inside is absolute, without `..`, and not the root"));
    }
    if CLOSED.iter().any(|closed| target.starts_with(closed) || Path::new(closed).starts_with(target)) {
        return Err(refused("this place inside belongs to the sandbox itself"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_cannot_cover_what_holds_the_walls() {
        for good in ["/workspace", "/workspace/a", "/home/sandbox/x", "/mnt/data", "/opt/lazaret/engine"] {
            assert!(check_target(Path::new(good)).is_ok(), "{good}");
        }
        for bad in ["/", "", "a", "/proc", "/proc/1", "/run/lazaret", "/opt", "/opt/lazaret", "/dev/shm", "/a/../proc", "/etc/x"] {
            assert!(check_target(Path::new(bad)).is_err(), "{bad}");
        }
    }
}
