//! Removing a file or a whole directory, however deep it is, with a handful of descriptors.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, StatxFlags, chmodat, renameat, statx, unlinkat};
use rustix::io::Errno;

use super::open;
use super::path::Path;
use super::trouble::Trouble;

/// Names that are held at once.
const BATCH_MAX: usize = 4096;
/// Directories in one another that cannot be moved up; each holds a descriptor.
const NESTED_MAX: usize = 256;
/// How many entries one call removes; somebody inside may make new ones all the while.
const ENTRIES_MAX: u64 = 50_000_000;

/// Removes what stands at a path: a link itself, a directory with all that is in it. What is mounted below is refused.
pub(super) fn remove(root: impl AsFd, path: &Path) -> Result<(), Trouble> {
    let (before, last) = path.split()?;
    let at = open::directory(root, before)?;
    match unlinkat(&at, last, AtFlags::empty()) {
        Ok(()) => return Ok(()),
        Err(Errno::ISDIR) => (),
        Err(errno) if open::kind_at(&at, last) != Some(FileType::Directory) => return Err(Trouble::os("remove the path", errno)),
        Err(_) => (),
    }
    let top = enter(&at, last, mount_of(&at, c".")?)?;
    let mut work = Removal { mount: mount_of(&at, c".")?, top, moved: 0, left: ENTRIES_MAX };
    while work.pass()? {}
    gone(unlinkat(&at, last, AtFlags::REMOVEDIR), "remove the directory")
}

/// Empties one directory. A directory in a directory of it is first moved up into it, where that can be, so that
/// nothing is deeper than two.
struct Removal {
    top: OwnedFd,
    /// The mount that all of it must lie on.
    mount: u64,
    moved: u64,
    left: u64,
}

impl Removal {
    /// Removes a batch of entries; `false` when there was none.
    fn pass(&mut self) -> Result<bool, Trouble> {
        let names = batch(&self.top)?;
        for name in &names {
            self.count()?;
            if !self.unlink(None, name)? {
                let inner = enter(&self.top, name, self.mount)?;
                self.empty(&inner, 0)?;
                gone(unlinkat(&self.top, name, AtFlags::REMOVEDIR), "remove a directory")?;
            }
        }
        Ok(!names.is_empty())
    }

    fn empty(&mut self, inner: &OwnedFd, depth: usize) -> Result<(), Trouble> {
        loop {
            let names = batch(inner)?;
            if names.is_empty() {
                return Ok(());
            }
            for name in &names {
                self.count()?;
                if !self.unlink(Some(inner), name)? && !self.move_up(inner, name)? {
                    if depth == NESTED_MAX {
                        return Err(Trouble::new("CONFLICT", format!("there are more than {NESTED_MAX} directories in one another")));
                    }
                    let deeper = enter(inner, name, self.mount)?;
                    self.empty(&deeper, depth + 1)?;
                    gone(unlinkat(inner, name, AtFlags::REMOVEDIR), "remove a directory")?;
                }
            }
        }
    }

    /// Removes an entry that is no directory; `false` when it is one.
    fn unlink(&self, inner: Option<&OwnedFd>, name: &CStr) -> Result<bool, Trouble> {
        let at = inner.unwrap_or(&self.top);
        match unlinkat(at, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(true),
            Err(_) if open::kind_at(at, name) == Some(FileType::Directory) => Ok(false),
            Err(errno) => Err(Trouble::os("remove a file", errno)),
        }
    }

    /// Moves a directory into the top one; `false` when this file system cannot, as an overlay cannot move what lies in a
    /// lower layer.
    fn move_up(&mut self, inner: &OwnedFd, name: &CStr) -> Result<bool, Trouble> {
        loop {
            self.count()?;
            let up = CString::new(format!(".lazaret-removed-{}-{}", std::process::id(), self.moved));
            let up = up.map_err(|_| Trouble::usage("the path holds a NUL"))?;
            self.moved += 1;
            match renameat(inner, name, &self.top, &up) {
                Ok(()) | Err(Errno::NOENT) => return Ok(true),
                Err(Errno::XDEV) => return Ok(false),
                Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => (),
                Err(Errno::ACCESS) if open_up(inner, name) => (),
                Err(Errno::BUSY) => return Err(mounted()),
                Err(errno) => return Err(Trouble::os("move a directory", errno)),
            }
        }
    }

    fn count(&mut self) -> Result<(), Trouble> {
        let over = || Trouble::new("CONFLICT", format!("there are more than {ENTRIES_MAX} entries; what is left can be removed again"));
        self.left = self.left.checked_sub(1).ok_or_else(over)?;
        Ok(())
    }
}

/// Opens a directory to empty it. One that its owner closed is opened up first.
fn enter(at: &OwnedFd, name: &CStr, mount: u64) -> Result<OwnedFd, Trouble> {
    if mount_of(at, name)? != mount {
        return Err(mounted());
    }
    let is_open = rustix::fs::accessat(
        at,
        name,
        rustix::fs::Access::READ_OK | rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK,
        AtFlags::empty(),
    );
    if is_open.is_err() {
        open_up(at, name);
    }
    open::child(at, name)
}

/// Gives the owner all rights to a directory. Whether that worked shows at the next attempt, which is made once only.
fn open_up(at: &OwnedFd, name: &CStr) -> bool {
    let looked = rustix::fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW);
    let is_closed = looked.is_ok_and(|s| FileType::from_raw_mode(s.st_mode) == FileType::Directory && s.st_mode & 0o700 != 0o700);
    is_closed && chmodat(at, name, Mode::RWXU, AtFlags::empty()).is_ok()
}

/// The mount on which an entry lies; two of one file system differ.
fn mount_of(at: &OwnedFd, name: &CStr) -> Result<u64, Trouble> {
    let looked = statx(at, name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::MNT_ID);
    let looked = looked.map_err(|errno| Trouble::os("look at a directory", errno))?;
    Ok(looked.stx_mnt_id)
}

fn mounted() -> Trouble {
    Trouble::new("CONFLICT", "something is mounted in this directory")
}

/// That something is gone already is as good.
fn gone(removed: rustix::io::Result<()>, what: &str) -> Result<(), Trouble> {
    match removed {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(Trouble::os(what, errno)),
    }
}

/// Some names of a directory.
fn batch(directory: &OwnedFd) -> Result<Vec<CString>, Trouble> {
    let failed = |errno| Trouble::os("read a directory", errno);
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if ![c".", c".."].contains(&entry.file_name()) {
            names.push(entry.file_name().to_owned());
            if names.len() == BATCH_MAX {
                break;
            }
        }
    }
    Ok(names)
}
