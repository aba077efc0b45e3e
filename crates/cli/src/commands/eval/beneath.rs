//! The files of a suite, which somebody else may have written: nothing outside its directory is ever opened, and no link is followed.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Component, Path};

use model::Failure;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, mkdirat, openat2, readlinkat, renameat, statat, unlinkat};

use super::fail;
use crate::home::random_hex;

/// The deepest directory of a fixture.
const DEPTH_MAX: usize = 32;
/// Entries of one fixture.
const ENTRIES_MAX: usize = 20_000;
/// Bytes of one fixture.
const FIXTURE_BYTES_MAX: u64 = 64 << 20;

/// The directory of a suite.
#[derive(Debug)]
pub(super) struct Beneath {
    dir: OwnedFd,
}

impl Beneath {
    /// Opens the directory that the user named: it may be reached over links, what lies in it may not.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let opened = rustix::fs::open(path, OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY, Mode::empty());
        Ok(Self { dir: opened.map_err(|e| fail::suite(&path.display().to_string(), e))? })
    }

    fn at(&self, path: &str, flags: OFlags) -> Result<OwnedFd, Failure> {
        check(path)?;
        let rules = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        // A pipe with nobody at its other end would hold the open up.
        let flags = flags | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let why = |e: rustix::io::Errno| match e {
            rustix::io::Errno::LOOP => fail::suite(path, "it is reached over a symbolic link"),
            rustix::io::Errno::XDEV => fail::suite(path, "it leads out of the suite"),
            e => fail::suite(path, e),
        };
        openat2(&self.dir, path, flags, Mode::empty(), rules).map_err(why)
    }

    /// A file, whole; `None` when there is none.
    pub(super) fn read(&self, path: &str, max: u64) -> Result<Option<Vec<u8>>, Failure> {
        check(path)?;
        match statat(&self.dir, path, AtFlags::SYMLINK_NOFOLLOW) {
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(error) => return Err(fail::suite(path, error)),
            Ok(_) => {}
        }
        let file = File::from(self.at(path, OFlags::RDONLY)?);
        read_file(&file, path, max).map(Some)
    }

    /// A file of text.
    pub(super) fn text(&self, path: &str, max: u64) -> Result<String, Failure> {
        let bytes = self.read(path, max)?.ok_or_else(|| fail::suite(path, "there is no such file"))?;
        String::from_utf8(bytes).map_err(|_| fail::suite(path, "it is not UTF-8"))
    }

    /// The names in a directory, sorted; none when it is not there.
    pub(super) fn names(&self, path: &str) -> Result<Vec<String>, Failure> {
        if statat(&self.dir, path, AtFlags::SYMLINK_NOFOLLOW).is_err() {
            return Ok(Vec::new());
        }
        let dir = self.at(path, OFlags::DIRECTORY)?;
        let mut names = Vec::new();
        for entry in Dir::new(dir).map_err(|e| fail::suite(path, e))? {
            let entry = entry.map_err(|e| fail::suite(path, e))?;
            let name = entry.file_name().to_str().map_err(|_| fail::suite(path, "a name is not UTF-8"))?;
            if name != "." && name != ".." {
                names.push(name.to_owned());
            }
            if names.len() > ENTRIES_MAX {
                return Err(fail::suite(path, format!("it has more than {ENTRIES_MAX} entries")));
            }
        }
        names.sort();
        Ok(names)
    }

    /// Writes a file in a directory of the suite, made when missing; an older one is replaced at once.
    pub(super) fn write(&self, dir: &str, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        check(dir)?;
        check(name)?;
        let here = format!("{dir}/{name}");
        let io = |e: rustix::io::Errno| fail::suite(&here, e);
        match mkdirat(&self.dir, dir, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(io(error)),
        }
        let into = self.at(dir, OFlags::DIRECTORY)?;
        let fresh = format!(".{}", random_hex::<8>()?);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(rustix::fs::openat(&into, &fresh, flags, Mode::from_raw_mode(0o644)).map_err(io)?);
        let written = file.write_all(bytes).and_then(|()| file.sync_all());
        let moved = written.map_err(|e| fail::suite(&here, e)).and_then(|()| renameat(&into, &fresh, &into, name).map_err(io));
        if moved.is_err() {
            let _ = unlinkat(&into, &fresh, AtFlags::empty());
        }
        moved
    }

    /// Packs a directory into a tar: files, directories, and links as links. Anything else is refused.
    pub(super) fn pack(&self, path: &str, builder: &mut tar::Builder<Vec<u8>>) -> Result<(), Failure> {
        let dir = self.at(path, OFlags::DIRECTORY)?;
        let mut left = Left { entries: ENTRIES_MAX, bytes: FIXTURE_BYTES_MAX };
        pack(&dir, path, "", 0, &mut left, builder)
    }
}

/// What a fixture may still have.
struct Left {
    entries: usize,
    bytes: u64,
}

/// A path of the suite: plain names alone.
pub(super) fn check(path: &str) -> Result<(), Failure> {
    let is_plain = !path.is_empty()
        && !path.contains(['\0', '\\'])
        && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)))
        && !path.ends_with('/');
    if is_plain { Ok(()) } else { Err(fail::suite(&path.escape_debug().to_string(), "a path stays within the suite, without `..`")) }
}

fn read_file(file: &File, path: &str, max: u64) -> Result<Vec<u8>, Failure> {
    let meta = file.metadata().map_err(|e| fail::suite(path, e))?;
    if !meta.is_file() {
        return Err(fail::suite(path, "it is no plain file"));
    }
    let mut bytes = Vec::new();
    file.take(max + 1).read_to_end(&mut bytes).map_err(|e| fail::suite(path, e))?;
    if bytes.len() as u64 > max {
        return Err(fail::suite(path, format!("it is larger than {max} bytes")));
    }
    Ok(bytes)
}

fn pack(dir: &OwnedFd, at: &str, inside: &str, depth: usize, left: &mut Left, builder: &mut tar::Builder<Vec<u8>>) -> Result<(), Failure> {
    if depth > DEPTH_MAX {
        return Err(fail::suite(at, format!("it is deeper than {DEPTH_MAX} directories")));
    }
    let mut names = Vec::new();
    for entry in Dir::read_from(dir).map_err(|e| fail::suite(at, e))? {
        let entry = entry.map_err(|e| fail::suite(at, e))?;
        let name = entry.file_name().to_str().map_err(|_| fail::suite(at, "a name is not UTF-8"))?;
        if name != "." && name != ".." {
            names.push(name.to_owned());
        }
        left.entries = left.entries.checked_sub(1).ok_or_else(|| fail::suite(at, format!("it has more than {ENTRIES_MAX} entries")))?;
    }
    // The same tar for the same files, whatever the file system's order.
    names.sort();
    for name in names {
        let here = format!("{at}/{name}");
        let inner = if inside.is_empty() { name.clone() } else { format!("{inside}/{name}") };
        let io = |e: rustix::io::Errno| fail::suite(&here, e);
        let stat = statat(dir, &name, AtFlags::SYMLINK_NOFOLLOW).map_err(io)?;
        let broken = |e: std::io::Error| fail::suite(&here, e);
        let mut header = tar::Header::new_gnu();
        header.set_mtime(0);
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                header.set_entry_type(tar::EntryType::Directory);
                header.set_mode(0o755);
                header.set_size(0);
                builder.append_data(&mut header, &inner, std::io::empty()).map_err(broken)?;
                let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let below = rustix::fs::openat(dir, &name, flags, Mode::empty()).map_err(io)?;
                pack(&below, &here, &inner, depth + 1, left, builder)?;
            }
            FileType::RegularFile => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                let file = File::from(rustix::fs::openat(dir, &name, flags, Mode::empty()).map_err(io)?);
                let bytes = read_file(&file, &here, left.bytes)?;
                left.bytes -= bytes.len() as u64;
                header.set_entry_type(tar::EntryType::Regular);
                header.set_mode(if stat.st_mode & 0o100 == 0 { 0o644 } else { 0o755 });
                header.set_size(bytes.len() as u64);
                builder.append_data(&mut header, &inner, &bytes[..]).map_err(broken)?;
            }
            FileType::Symlink => {
                let target = readlinkat(dir, &name, Vec::new()).map_err(io)?;
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_mode(0o777);
                header.set_size(0);
                let target = target.to_str().map_err(|_| fail::suite(&here, "the target of a link is not UTF-8"))?;
                builder.append_link(&mut header, &inner, target).map_err(broken)?;
            }
            _ => return Err(fail::suite(&here, "a fixture has files, directories and links alone")),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_in_the_suite() {
        for good in ["a", "a/b.toml", "fixtures/x y"] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in ["", "/etc/passwd", "..", "a/../../b", "a/..", "./a", "a/", "a\0b", "..\\a"] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn nothing_outside_is_read_packed_or_written() {
        let outside = tempfile::tempdir().expect("a directory");
        std::fs::write(outside.path().join("secret"), "canary").expect("write");
        let suite = tempfile::tempdir().expect("a directory");
        let path = suite.path();
        std::fs::create_dir(path.join("fixture")).expect("make");
        std::fs::write(path.join("fixture/plain"), "plain").expect("write");
        std::os::unix::fs::symlink(outside.path(), path.join("out")).expect("link");
        std::os::unix::fs::symlink(outside.path().join("secret"), path.join("file")).expect("link");
        std::os::unix::fs::symlink(outside.path(), path.join("tapes")).expect("link");
        std::os::unix::fs::symlink("/etc/passwd", path.join("fixture/link")).expect("link");
        let beneath = Beneath::open(path).expect("a suite");
        assert!(beneath.read("out/secret", 100).is_err() && beneath.read("file", 100).is_err());
        assert!(beneath.write("tapes", "x.jsonl", b"x").is_err(), "tapes/ leads out");
        assert!(!outside.path().join("x.jsonl").exists());
        assert!(beneath.pack("out", &mut tar::Builder::new(Vec::new())).is_err());
        // The control: what is inside is there, and a link is packed as a link.
        assert_eq!(beneath.read("fixture/plain", 100).expect("read"), Some(b"plain".to_vec()));
        assert_eq!(beneath.read("fixture/none", 100).expect("read"), None);
        assert!(beneath.read("fixture/plain", 4).is_err(), "too large");
        let mut builder = tar::Builder::new(Vec::new());
        beneath.pack("fixture", &mut builder).expect("packed");
        let bytes = builder.into_inner().expect("a tar");
        let kinds: Vec<_> =
            tar::Archive::new(&bytes[..]).entries().expect("entries").map(|e| e.expect("one").header().entry_type()).collect();
        assert_eq!(kinds, [tar::EntryType::Symlink, tar::EntryType::Regular]);
        assert!(!String::from_utf8_lossy(&bytes).contains("root:"));
        beneath.write("made", "x.jsonl", b"x").expect("written");
        assert_eq!(std::fs::read(path.join("made/x.jsonl")).expect("there"), b"x");
    }

    #[test]
    fn a_pipe_is_no_fixture() {
        let suite = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(suite.path().join("fixture")).expect("make");
        rustix::fs::mknodat(rustix::fs::CWD, suite.path().join("fixture/pipe"), FileType::Fifo, Mode::from_raw_mode(0o600), 0)
            .expect("a pipe");
        let beneath = Beneath::open(suite.path()).expect("a suite");
        assert!(beneath.pack("fixture", &mut tar::Builder::new(Vec::new())).is_err());
        assert!(beneath.read("fixture/pipe", 10).is_err());
    }
}
