//! Directories, a page at a time, and what one path is.

use std::collections::BinaryHeap;
use std::ffi::{CStr, CString};
use std::io::Write;
use std::os::fd::AsFd;

use rustix::fs::{AtFlags, Dir, FileType, Stat, readlinkat, statat};
use rustix::io::Errno;
use serde_json::{Map, Value, json};

use super::open;
use super::path::{Path, to_hex};
use super::trouble::Trouble;

/// The most entries of one page.
pub(super) const PAGE_MAX: usize = 10_000;

/// Writes the entries of a directory in the order of their names' bytes: those after `after`, at most `limit`. However
/// many there are, only a page of names is held.
pub(super) fn list(root: impl AsFd, path: &Path, after: Option<&[u8]>, limit: usize, out: &mut impl Write) -> Result<(), Trouble> {
    let directory = open::directory(root, path.parts())?;
    let mut page: BinaryHeap<CString> = BinaryHeap::new();
    each_name(&directory, |name| {
        let is_after = after.is_none_or(|after| name.to_bytes() > after);
        if is_after && (page.len() < limit || page.peek().is_some_and(|last| name < last.as_c_str())) {
            page.push(name.to_owned());
            if page.len() > limit {
                page.pop();
            }
        }
        Ok(())
    })?;
    for name in page.into_sorted_vec() {
        match statat(&directory, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => {
                let mut entry = about(name.to_bytes(), &stat);
                if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
                    target(&directory, &name, &mut entry);
                }
                line(out, &Value::Object(entry))?;
            }
            // Gone since.
            Err(Errno::NOENT) => (),
            Err(errno) => return Err(Trouble::os("look at an entry", errno)),
        }
    }
    Ok(())
}

/// Writes what stands at a path.
pub(super) fn stat(root: impl AsFd, path: &Path, out: &mut impl Write) -> Result<(), Trouble> {
    let stat = open::stat(&root, path)?;
    let mut entry = about(path.parts().last().map_or(b"", |name| name.to_bytes()), &stat);
    if let (FileType::Symlink, Ok((before, last))) = (FileType::from_raw_mode(stat.st_mode), path.split()) {
        target(&open::directory(&root, before)?, last, &mut entry);
    }
    line(out, &Value::Object(entry))
}

/// Gives each name in a directory, in no order, but for `.` and `..`.
pub(super) fn each_name(directory: impl AsFd, mut give: impl FnMut(&CStr) -> Result<(), Trouble>) -> Result<(), Trouble> {
    let failed = |errno| Trouble::os("read a directory", errno);
    for entry in Dir::read_from(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if ![c".", c".."].contains(&entry.file_name()) {
            give(entry.file_name())?;
        }
    }
    Ok(())
}

/// One entry: its name, and its bytes where they are no UTF-8.
fn about(name: &[u8], stat: &Stat) -> Map<String, Value> {
    let mut entry = Map::new();
    named(&mut entry, "name", "raw", name);
    entry.insert("type".to_owned(), json!(kind(stat)));
    entry.insert("size".to_owned(), json!(u64::try_from(stat.st_size).unwrap_or(0)));
    entry.insert("mode".to_owned(), json!(stat.st_mode & 0o7777));
    entry.insert("mtime_ms".to_owned(), json!(mtime_ms(stat)));
    entry
}

/// Bytes as text, and as digits where they are no UTF-8.
pub(super) fn named(entry: &mut Map<String, Value>, key: &str, raw: &str, bytes: &[u8]) {
    entry.insert(key.to_owned(), json!(String::from_utf8_lossy(bytes)));
    if std::str::from_utf8(bytes).is_err() {
        entry.insert(raw.to_owned(), json!(to_hex(bytes)));
    }
}

fn target(at: impl AsFd, name: &CStr, entry: &mut Map<String, Value>) {
    if let Ok(target) = readlinkat(at, name, Vec::new()) {
        entry.insert("target".to_owned(), json!(String::from_utf8_lossy(target.to_bytes())));
    }
}

/// The word for what something is.
pub(super) fn kind(stat: &Stat) -> &'static str {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => "file",
        FileType::Directory => "dir",
        FileType::Symlink => "link",
        _ => "other",
    }
}

fn mtime_ms(stat: &Stat) -> i64 {
    let part = i64::try_from(stat.st_mtime_nsec).unwrap_or(0) / 1_000_000;
    stat.st_mtime.saturating_mul(1000).saturating_add(part)
}

/// One line of JSON.
pub(super) fn line(out: &mut impl Write, value: &Value) -> Result<(), Trouble> {
    writeln!(out, "{value}").map_err(|error| Trouble::io("write the answer", &error))
}
