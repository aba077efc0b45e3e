//! One sparse btrfs image for the files of all sandboxes of a home, as root: each has a subvolume with a quota.
//!
//! The image is a loop device that goes away by itself with its last user. This process sees it through a mount of its
//! own that is attached nowhere; each sandbox mounts the device in its own namespace.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use jail::Upper;
use jail::btrfs::{self, LoopDevice};
use rustix::fs::{AtFlags, Gid, Mode, OFlags, RenameFlags, Uid};

use crate::home::Home;
use crate::{SandboxError, template};

/// The image in the home.
const IMAGE: &str = "disk.img";

/// What the name of a tree that is not whole ends with.
pub(crate) const FRESH: &str = ".new";

/// What a tree gets beyond its limit while it is mounted.
const MOUNT_SLACK_BYTES: u64 = 4 << 20;

/// Whose files a subvolume holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// A tree's, kept after its sandboxes.
    Tree,
    /// A sandbox's, gone with it.
    Sandbox,
}

impl Keep {
    fn dir(self) -> &'static str {
        match self {
            Keep::Tree => "trees",
            Keep::Sandbox => "sandboxes",
        }
    }
}

/// The mounted image.
#[derive(Debug)]
pub(crate) struct Pool {
    /// Keeps the mount, which is attached nowhere.
    _mount: OwnedFd,
    root: File,
    device: LoopDevice,
}

/// Whether the home has an image.
pub(crate) fn exists(home: &Home) -> bool {
    home.root().join(IMAGE).exists()
}

impl Pool {
    /// Makes the image if there is none, and mounts it.
    pub(crate) fn open(home: &Home, bytes: u64) -> Result<Self, SandboxError> {
        let _lock = home.lock("disk.lock")?;
        let path = home.root().join(IMAGE);
        if !path.exists() {
            make(home, &path, bytes).map_err(SandboxError::io("make the disk image"))?;
        }
        let opened = (|| {
            let image = OpenOptions::new().read(true).write(true).custom_flags(libc_nofollow()).open(&path)?;
            let device = btrfs::attach_loop(&image)?;
            let mount = btrfs::mount_detached(&device.path, &[])?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let root = File::from(rustix::fs::openat(&mount, ".", flags, Mode::empty())?);
            btrfs::grow(root.as_fd())?;
            btrfs::enable_quota(root.as_fd())?;
            for keep in [Keep::Tree, Keep::Sandbox] {
                match rustix::fs::mkdirat(&root, keep.dir(), Mode::from_raw_mode(0o700)) {
                    Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                    Err(e) => return Err(e.into()),
                }
            }
            Ok(Self { _mount: mount, root, device })
        })();
        opened.map_err(|source: io::Error| SandboxError::Layer {
            layer: "disk".into(),
            why: format!("the disk image of the home cannot be used: {source}"),
            remedy: "load the modules loop and btrfs and give this process /dev/loop-control; or set the disk limit to prefer".into(),
        })
    }

    /// The subvolume `name`, made when missing, limited to `bytes`.
    pub(crate) fn upper(&self, keep: Keep, name: &str, bytes: u64) -> Result<Upper, SandboxError> {
        let made = (|| {
            let parent = self.parent(keep)?;
            match btrfs::create(parent.as_fd(), &plain(name)?) {
                Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(e),
                _ => {}
            }
            let tree = self.tree(keep, name)?;
            // A tree that is full must still be mounted: overlay makes a directory for itself, and would without room
            // give a tree that nobody can write or tidy.
            btrfs::limit(tree.as_fd(), bytes.saturating_add(MOUNT_SLACK_BYTES))?;
            for (dir, mode) in [("upper", 0o755), ("work", 0o700)] {
                match rustix::fs::mkdirat(&tree, dir, Mode::from_raw_mode(mode)) {
                    Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                    Err(e) => return Err(e.into()),
                }
            }
            Ok(())
        })();
        made.map_err(SandboxError::io("make a writable layer in the disk image"))?;
        let inside = PathBuf::from(keep.dir()).join(name);
        Ok(Upper::Device {
            device: self.device.path.clone(),
            fstype: "btrfs".into(),
            options: Vec::new(),
            upper: inside.join("upper"),
            work: inside.join("work"),
        })
    }

    /// Makes an empty kept tree; fine when it is there. It is whole or not there, whenever this process ends.
    pub(crate) fn make_tree(&self, name: &str, bytes: u64) -> Result<(), SandboxError> {
        let made = (|| {
            if self.has(Keep::Tree, name) {
                return Ok(());
            }
            let (parent, fresh) = (self.parent(Keep::Tree)?, format!("{name}{FRESH}"));
            self.destroy(Keep::Tree, &fresh)?;
            btrfs::create(parent.as_fd(), &plain(&fresh)?)?;
            let tree = self.tree(Keep::Tree, &fresh)?;
            fill(&tree, true)?;
            btrfs::limit(tree.as_fd(), bytes)?;
            model::crash::point("tree:filled");
            match rustix::fs::renameat_with(&parent, plain(&fresh)?, &parent, plain(name)?, RenameFlags::NOREPLACE) {
                Err(rustix::io::Errno::EXIST) => self.destroy(Keep::Tree, &fresh),
                other => Ok(other?),
            }
        })();
        made.map_err(SandboxError::io("make a tree in the disk image"))
    }

    /// Makes `to` what `from` holds now, however large it is and whoever uses it. It is whole or not there.
    pub(crate) fn snapshot(&self, from: &str, to: &str, read_only: bool) -> Result<(), SandboxError> {
        let made = (|| {
            let source = self.tree(Keep::Tree, from)?;
            btrfs::snapshot(source.as_fd(), self.parent(Keep::Tree)?.as_fd(), &plain(to)?, read_only)
        })();
        made.map_err(SandboxError::io("take a snapshot in the disk image"))
    }

    /// The device and the path on it of a kept tree.
    pub(crate) fn place(&self, name: &str) -> (PathBuf, PathBuf) {
        (self.device.path.clone(), PathBuf::from(Keep::Tree.dir()).join(name))
    }

    /// Whether there is a subvolume of this name.
    pub(crate) fn has(&self, keep: Keep, name: &str) -> bool {
        self.tree(keep, name).is_ok()
    }

    /// Gives a tree some room beyond its limit, until [`Pool::limit`]: one that is full must still be mounted, with the
    /// places in it where something else is mounted.
    pub(crate) fn loosen(&self, name: &str, bytes: u64) -> Result<(), SandboxError> {
        self.limit(Keep::Tree, name, bytes.saturating_add(MOUNT_SLACK_BYTES))
    }

    /// Sets the limit that holds from now on.
    pub(crate) fn limit(&self, keep: Keep, name: &str, bytes: u64) -> Result<(), SandboxError> {
        let limited = self.tree(keep, name).and_then(|tree| btrfs::limit(tree.as_fd(), bytes));
        limited.map_err(SandboxError::io("limit a tree in the disk image"))
    }

    /// Removes a subvolume. Fine when there is none.
    pub(crate) fn remove(&self, keep: Keep, name: &str) -> Result<(), SandboxError> {
        self.destroy(keep, name).map_err(SandboxError::io("remove a tree from the disk image"))
    }

    fn destroy(&self, keep: Keep, name: &str) -> io::Result<()> {
        let number = match self.tree(keep, name) {
            Ok(tree) => btrfs::subvolume(tree.as_fd())?,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(e),
        };
        btrfs::destroy(self.parent(keep)?.as_fd(), &plain(name)?)?;
        // The kernel does it itself, or refuses while the space is being given back; a count of nothing harms nobody.
        let _ = btrfs::forget(self.root.as_fd(), number);
        Ok(())
    }

    /// Bytes that a subvolume uses, as far as they are written down.
    pub(crate) fn used(&self, keep: Keep, name: &str) -> Option<u64> {
        let number = btrfs::subvolume(self.tree(keep, name).ok()?.as_fd()).ok()?;
        btrfs::used(self.root.as_fd(), number).ok()?
    }

    /// The names of all subvolumes of a kind.
    pub(crate) fn list(&self, keep: Keep) -> Vec<String> {
        let Ok(parent) = self.parent(keep) else { return Vec::new() };
        let Ok(entries) = rustix::fs::Dir::new(parent) else { return Vec::new() };
        let names = entries.flatten().filter_map(|e| e.file_name().to_str().ok().map(str::to_owned));
        names.filter(|name| name != "." && name != "..").collect()
    }

    fn parent(&self, keep: Keep) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        Ok(rustix::fs::openat(&self.root, keep.dir(), flags, Mode::empty())?)
    }

    fn tree(&self, keep: Keep, name: &str) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        Ok(rustix::fs::openat(self.parent(keep)?, plain(name)?, flags, Mode::empty())?)
    }
}

/// Makes the two halves of an empty tree. What holds them, and /home itself, is the host's: a guest renames neither.
pub(crate) fn fill(tree: &OwnedFd, root: bool) -> io::Result<()> {
    let mode = Mode::from_raw_mode(0o755);
    rustix::fs::fchmod(tree, mode)?;
    for (name, own) in [("home", false), ("home/sandbox", true), ("workspace", true)] {
        rustix::fs::mkdirat(tree, name, mode)?;
        rustix::fs::chmodat(tree, name, mode, AtFlags::empty())?;
        if own && root {
            let (uid, gid) = (Uid::from_raw(jail::GUEST_ID), Gid::from_raw(jail::GUEST_ID));
            rustix::fs::chownat(tree, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        }
    }
    Ok(())
}

fn plain(name: &str) -> io::Result<CString> {
    CString::new(name).map_err(|_| ErrorKind::InvalidInput.into())
}

#[expect(clippy::cast_possible_wrap, reason = "the flag is a small constant")]
fn libc_nofollow() -> i32 {
    OFlags::NOFOLLOW.bits() as i32
}

fn make(home: &Home, path: &std::path::Path, bytes: u64) -> io::Result<()> {
    let free = rustix::fs::statvfs(home.root()).map(|s| s.f_bavail.saturating_mul(s.f_frsize))?;
    let bytes = bytes.min(free) & !0xf_ffff;
    if bytes < template::BYTES_MIN {
        return Err(io::Error::new(ErrorKind::StorageFull, "there is too little space in the home"));
    }
    let fresh = path.with_extension("new");
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.set_len(bytes)?;
    template::write(&file, random()?, random()?)?;
    file.sync_all()?;
    model::crash::point("sandbox.disk.made");
    fs::rename(fresh, path)
}

/// An identity of the usual form.
pub(crate) fn random() -> io::Result<[u8; 16]> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::os::unix::fs::PermissionsExt as _;

    /// The image is made without any tool, its quota bites at once, and nothing of it is left when it is dropped. Root
    /// alone can mount, so this test needs root.
    #[test]
    fn a_quota_bites_and_the_device_goes_with_its_last_user() {
        assert!(rustix::process::geteuid().is_root(), "this test needs root");
        let dir = tempfile::tempdir().expect("temp dir");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).expect("chmod");
        let config = crate::Config::new(dir.path().to_owned(), "/bin/true".into(), "0123abcd".into());
        let home = Home::open(&config).expect("home");
        let pool = Pool::open(&home, 1 << 30).expect("pool");
        let total = rustix::fs::fstatvfs(&pool.root).map(|s| s.f_blocks * s.f_frsize).expect("size");
        assert_eq!(total, 1 << 30, "it has grown to its device");
        pool.upper(Keep::Sandbox, "a", 16 << 20).expect("upper");
        pool.upper(Keep::Sandbox, "a", 16 << 20).expect("again");
        pool.limit(Keep::Sandbox, "a", 16 << 20).expect("limited");
        let tree = pool.tree(Keep::Sandbox, "a").expect("tree");
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
        let mut file = File::from(rustix::fs::openat(&tree, "upper/f", flags, Mode::from_raw_mode(0o600)).expect("file"));
        let block = vec![7u8; 1 << 20];
        let failed = (0..64).find_map(|n| file.write_all(&block).and_then(|()| file.sync_data()).err().map(|e| (n, e)));
        let (written, error) = failed.expect("the quota bites");
        assert_eq!(error.kind(), ErrorKind::QuotaExceeded, "after {written} MiB");
        assert!((8..=16).contains(&written), "after {written} MiB");
        drop(file);
        let second = Pool::open(&home, 1 << 30).expect("a second time");
        assert_eq!(second.device.path, pool.device.path, "one device for one file");
        assert!(second.used(Keep::Sandbox, "a").expect("counted") >= 8 << 20);
        drop((second, tree));
        pool.remove(Keep::Sandbox, "a").expect("removed");
        pool.remove(Keep::Sandbox, "a").expect("gone already");
        assert_eq!(pool.list(Keep::Sandbox), Vec::<String>::new());
        let device = pool.device.path.clone();
        drop(pool);
        let backing = PathBuf::from("/sys/block").join(device.file_name().expect("name")).join("loop/backing_file");
        let gone = (0..12_000).any(|_| {
            let left = fs::read_to_string(&backing).is_ok_and(|b| b.contains(dir.path().to_str().expect("text")));
            left.then(|| std::thread::sleep(std::time::Duration::from_millis(10)));
            !left
        });
        assert!(gone, "the loop device is left");
    }

    /// A device is not taken by its name alone: before it is opened it may be let go and be another home's. Here the kernel calls
    /// a file that is gone by the very name of the image.
    #[test]
    fn a_device_of_another_file_is_not_taken() {
        assert!(rustix::process::geteuid().is_root(), "this test needs root");
        let dir = tempfile::tempdir().expect("temp dir");
        let file = |name: &str| {
            let file = File::create_new(dir.path().join(name)).expect("file");
            file.set_len(1 << 20).expect("long");
            file
        };
        let others = btrfs::attach_loop(&file("disk.img")).expect("a device");
        fs::remove_file(dir.path().join("disk.img")).expect("removed");
        let image = file("disk.img (deleted)");
        let own = btrfs::attach_loop(&image).expect("a device");
        assert_ne!(own.path, others.path, "it would be the other's file system");
        assert_eq!(btrfs::attach_loop(&image).expect("a device").path, own.path, "one device for one file");
    }
}
