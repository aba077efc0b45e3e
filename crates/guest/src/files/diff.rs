//! What differs between two directories.
//!
//! A line for each path that differs: `{path, raw?, change: added|removed|changed|type, type_before, type_after,
//! size_before, size_after, mode_before, mode_after, is_binary}`; what one side does not have is null. The kind, the
//! permission bits, the bytes of files and the targets of links count; times and owners do not. A directory that is only
//! on one side has a line, and so has everything in it. When there is more than the limits allow, the last line is
//! `{"truncated": true}`.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, FileType, Stat, readlinkat, statat};
use rustix::io::Errno;
use serde_json::{Map, Value, json};

use super::compare::{Comparison, is_binary};
use super::list::{each_name, kind, line, named};
use super::open;
use super::trouble::Trouble;

/// Directories inside one another.
const DEPTH_MAX: usize = 128;
/// Entries that are looked at.
const ENTRIES_MAX: usize = 5_000_000;
/// Names of one directory.
const NAMES_MAX: usize = 500_000;
/// Lines that are written.
const LINES_MAX: usize = 100_000;

/// Writes what differs.
pub(super) fn diff(old: OwnedFd, new: OwnedFd, out: &mut impl Write) -> Result<(), Trouble> {
    let mut walk = Walk { out, path: Vec::new(), comparison: Comparison::new(), looked_at: 0, lines: 0, is_truncated: false };
    walk.directories(Some(&old), Some(&new), 0)?;
    if walk.is_truncated {
        line(walk.out, &json!({ "truncated": true }))?;
    }
    Ok(())
}

struct Walk<'a, W: Write> {
    out: &'a mut W,
    /// Where the walk is, with slashes.
    path: Vec<u8>,
    comparison: Comparison,
    looked_at: usize,
    lines: usize,
    is_truncated: bool,
}

/// One side of a path: the directory that holds it and what it is.
#[derive(Clone, Copy)]
struct Side<'a> {
    at: &'a OwnedFd,
    stat: Stat,
}

impl<W: Write> Walk<'_, W> {
    /// Compares what two directories hold; where one is missing, all of the other is told.
    fn directories(&mut self, old: Option<&OwnedFd>, new: Option<&OwnedFd>, depth: usize) -> Result<(), Trouble> {
        if depth == DEPTH_MAX {
            self.is_truncated = true;
            return Ok(());
        }
        let mut names = BTreeSet::new();
        for directory in [old, new].into_iter().flatten() {
            self.names(directory, &mut names)?;
        }
        for name in names {
            self.looked_at += 1;
            if self.lines >= LINES_MAX || self.looked_at > ENTRIES_MAX {
                self.is_truncated = true;
                return Ok(());
            }
            let before = self.path.len();
            if before > 0 {
                self.path.push(b'/');
            }
            self.path.extend_from_slice(name.to_bytes());
            self.entry(old, new, &name, depth)?;
            self.path.truncate(before);
        }
        Ok(())
    }

    fn names(&mut self, directory: &OwnedFd, names: &mut BTreeSet<CString>) -> Result<(), Trouble> {
        each_name(directory, |name| {
            if names.len() < NAMES_MAX {
                names.insert(name.to_owned());
            } else {
                self.is_truncated = true;
            }
            Ok(())
        })
    }

    fn entry(&mut self, old: Option<&OwnedFd>, new: Option<&OwnedFd>, name: &CStr, depth: usize) -> Result<(), Trouble> {
        let (old, new) = (side(old, name)?, side(new, name)?);
        if let Some(old) = &old {
            self.comparison.saw(&old.stat);
        }
        match (&old, &new) {
            (None, None) => return Ok(()),
            (Some(_), None) => self.tell("removed", old, new, name)?,
            (None, Some(_)) => self.tell("added", old, new, name)?,
            (Some(a), Some(b)) if kind(&a.stat) != kind(&b.stat) => self.tell("type", old, new, name)?,
            (Some(a), Some(b)) => {
                if (a.stat.st_mode ^ b.stat.st_mode) & 0o7777 != 0 || !self.is_same(a, b, name)? {
                    self.tell("changed", old, new, name)?;
                }
            }
        }
        let inner = [old, new].map(|side| side.filter(|side| kind(&side.stat) == "dir").map(|side| open::child(side.at, name)).transpose());
        let [old, new] = inner;
        match (vanished(old)?, vanished(new)?) {
            (None, None) => Ok(()),
            (old, new) => self.directories(old.as_ref(), new.as_ref(), depth + 1),
        }
    }

    /// Whether two things of one kind are the same. What directories hold is looked at for itself.
    fn is_same(&mut self, old: &Side<'_>, new: &Side<'_>, name: &CStr) -> Result<bool, Trouble> {
        match FileType::from_raw_mode(old.stat.st_mode) {
            FileType::RegularFile if old.stat.st_size != new.stat.st_size => Ok(false),
            FileType::RegularFile if self.comparison.is_untouched(&old.stat, &new.stat) => Ok(true),
            FileType::RegularFile => {
                let opened = [old, new].map(|side| vanished(open::file(side.at, name).map(Some)));
                let [Some((a, a_stat)), Some((b, b_stat))] =
                    [opened[0].as_ref(), opened[1].as_ref()].map(|o| o.ok().and_then(Option::as_ref))
                else {
                    return opened.into_iter().find_map(Result::err).map_or(Ok(false), Err);
                };
                let same_size = a_stat.st_size == b_stat.st_size;
                let clone = |fd: &OwnedFd| fd.try_clone().map(File::from).map_err(|error| Trouble::io("read a file", &error));
                Ok(same_size && self.comparison.is_same(&clone(a)?, &clone(b)?, u64::try_from(a_stat.st_size).unwrap_or(0))?)
            }
            FileType::Symlink => {
                let target = |side: &Side<'_>| readlinkat(side.at, name, Vec::new()).ok();
                Ok(target(old) == target(new))
            }
            FileType::Directory => Ok(true),
            _ => Ok(FileType::from_raw_mode(new.stat.st_mode) == FileType::from_raw_mode(old.stat.st_mode)),
        }
    }

    fn tell(&mut self, change: &str, old: Option<Side<'_>>, new: Option<Side<'_>>, name: &CStr) -> Result<(), Trouble> {
        let mut entry = Map::new();
        named(&mut entry, "path", "raw", &self.path);
        entry.insert("change".to_owned(), json!(change));
        for (when, side) in [("before", &old), ("after", &new)] {
            let stat = side.as_ref().map(|side| &side.stat);
            entry.insert(format!("type_{when}"), json!(stat.map(kind)));
            entry.insert(format!("size_{when}"), json!(stat.map(|stat| u64::try_from(stat.st_size).unwrap_or(0))));
            entry.insert(format!("mode_{when}"), json!(stat.map(|stat| stat.st_mode & 0o7777)));
        }
        let mut binary = false;
        for side in [old, new].into_iter().flatten().filter(|side| kind(&side.stat) == "file") {
            // One that cannot be read, or is gone, tells nothing.
            if let Ok((file, _)) = open::file(side.at, name) {
                binary |= is_binary(&File::from(file))?;
            }
        }
        entry.insert("is_binary".to_owned(), json!(binary));
        self.lines += 1;
        line(self.out, &Value::Object(entry))
    }
}

fn side<'a>(at: Option<&'a OwnedFd>, name: &CStr) -> Result<Option<Side<'a>>, Trouble> {
    let Some(at) = at else { return Ok(None) };
    match statat(at, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(Side { at, stat })),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(Trouble::os("look at an entry", errno)),
    }
}

/// What somebody removed or exchanged while it was looked at, or closed even to its owner, is not there.
fn vanished<T>(opened: Result<Option<T>, Trouble>) -> Result<Option<T>, Trouble> {
    match opened {
        Err(trouble) if ["NOT_FOUND", "FORBIDDEN", "CONFLICT"].contains(&trouble.code) => Ok(None),
        opened => opened,
    }
}
