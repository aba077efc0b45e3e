//! The files of another install: read below one directory, through no link, never written.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use model::{Code, Failure};
use rustix::fs::{Dir, FileType, Mode, OFlags, ResolveFlags, fstat, openat2};
use store::Foreign;

/// Entries of one directory that are looked at.
const ENTRIES_MAX: usize = 20_000;
/// The largest database that is copied, in bytes.
const DATABASE_BYTES_MAX: u64 = 2 << 30;

/// The directory of another install.
pub(super) struct Source {
    root: OwnedFd,
    /// Where copies of databases go.
    copies: PathBuf,
    count: std::cell::Cell<u32>,
}

/// What is found of a file.
pub(super) enum Found<T> {
    /// It.
    It(T),
    /// There is none.
    Nothing,
    /// There is something that is not read, and why.
    Refused(String),
}

impl Source {
    /// The install at `dir`; copies go to `copies`, which is this process's own.
    pub(super) fn open(dir: &Path, copies: &Path) -> Result<Self, Failure> {
        let fail = |e: rustix::io::Errno| Failure::new(Code::PathUnusable, format!("`{}` cannot be read: {e}", dir.display())).field("dir");
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let root = rustix::fs::open(dir, flags, Mode::empty()).map_err(fail)?;
        Ok(Self { root, copies: copies.to_owned(), count: std::cell::Cell::new(0) })
    }

    fn at(&self, path: &str, flags: OFlags) -> Result<OwnedFd, rustix::io::Errno> {
        // Without a link on the way; a pipe must not hold the import up.
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        openat2(
            self.root.as_fd(),
            path,
            flags | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY,
            Mode::empty(),
            resolve,
        )
    }

    fn file(&self, path: &str, max: u64) -> Found<(File, u64)> {
        let fd = match self.at(path, OFlags::empty()) {
            Ok(fd) => fd,
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Found::Nothing,
            Err(rustix::io::Errno::LOOP) => return Found::Refused("it is behind a link".to_owned()),
            Err(error) => return Found::Refused(error.to_string()),
        };
        let Ok(stat) = fstat(&fd) else { return Found::Refused("it cannot be looked at".to_owned()) };
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Found::Refused("it is no plain file".to_owned());
        }
        let bytes = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
        if bytes > max {
            return Found::Refused(format!("it has more than {max} bytes"));
        }
        Found::It((File::from(fd), bytes))
    }

    /// Whether there is a plain file here.
    pub(super) fn has(&self, path: &str) -> bool {
        matches!(self.file(path, u64::MAX), Found::It(_))
    }

    /// The text of a file of at most `max` bytes.
    pub(super) fn text(&self, path: &str, max: u64) -> Found<String> {
        match self.bytes(path, max) {
            Found::It((bytes, _)) => Found::It(String::from_utf8_lossy(&bytes).into_owned()),
            Found::Nothing => Found::Nothing,
            Found::Refused(why) => Found::Refused(why),
        }
    }

    /// What is in a file of at most `max` bytes, and whether it is a program.
    pub(super) fn bytes(&self, path: &str, max: u64) -> Found<(Vec<u8>, bool)> {
        let (file, _) = match self.file(path, max) {
            Found::It(found) => found,
            Found::Nothing => return Found::Nothing,
            Found::Refused(why) => return Found::Refused(why),
        };
        let is_program = fstat(&file).is_ok_and(|stat| stat.st_mode & 0o111 != 0);
        let mut bytes = Vec::new();
        match file.take(max + 1).read_to_end(&mut bytes) {
            Ok(_) if bytes.len() as u64 > max => Found::Refused(format!("it has more than {max} bytes")),
            Ok(_) => Found::It((bytes, is_program)),
            Err(error) => Found::Refused(error.to_string()),
        }
    }

    /// When a file last changed.
    pub(super) fn changed(&self, path: &str) -> Option<model::Timestamp> {
        let Found::It((file, _)) = self.file(path, u64::MAX) else { return None };
        let since = file.metadata().ok()?.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
        u64::try_from(since.as_millis()).ok().map(model::Timestamp)
    }

    /// The names in a directory with whether each is one, in order; nothing where there is none.
    pub(super) fn list(&self, path: &str) -> Vec<(String, bool)> {
        let Ok(mut entries) = self.at(path, OFlags::DIRECTORY).and_then(Dir::new) else { return Vec::new() };
        let mut names = Vec::new();
        while let Some(Ok(entry)) = entries.read() {
            let Ok(name) = entry.file_name().to_str() else { continue };
            if name == "." || name == ".." || names.len() >= ENTRIES_MAX {
                continue;
            }
            let is_dir = self.at(&format!("{path}/{name}"), OFlags::DIRECTORY).is_ok();
            names.push((name.to_owned(), is_dir));
        }
        names.sort();
        names
    }

    /// A database, by a copy of it and of what belongs to it: theirs is not even locked.
    pub(super) fn database(&self, path: &str) -> Found<Copy> {
        let n = self.count.get();
        self.count.set(n + 1);
        let copy = self.copies.join(format!("copy-{n}.db"));
        match self.copy(path, &copy) {
            Found::It(()) => {}
            Found::Nothing => return Found::Nothing,
            Found::Refused(why) => return Found::Refused(why),
        }
        // From here on whatever was copied goes with it.
        let mut whole = Copy { path: copy.clone(), foreign: None };
        for ending in ["-wal", "-journal"] {
            let mut beside = copy.clone().into_os_string();
            beside.push(ending);
            if let Found::Refused(why) = self.copy(&format!("{path}{ending}"), Path::new(&beside)) {
                return Found::Refused(format!("{ending}: {why}"));
            }
        }
        match Foreign::open(&copy) {
            Ok(foreign) => {
                whole.foreign = Some(foreign);
                Found::It(whole)
            }
            // Where the copy lies is of no interest to anybody.
            Err(store::ForeignError::Unreadable { why, .. }) => Found::Refused(why),
        }
    }

    fn copy(&self, from: &str, to: &Path) -> Found<()> {
        let (file, bytes) = match self.file(from, DATABASE_BYTES_MAX) {
            Found::It(found) => found,
            Found::Nothing => return Found::Nothing,
            Found::Refused(why) => return Found::Refused(why),
        };
        let copied = File::create_new(to).and_then(|mut out| std::io::copy(&mut file.take(bytes), &mut out));
        match copied {
            Ok(_) => Found::It(()),
            Err(error) => Found::Refused(format!("it cannot be copied: {error}")),
        }
    }
}

/// A copy of a database; removed when dropped.
pub(super) struct Copy {
    path: PathBuf,
    foreign: Option<Foreign>,
}

impl Copy {
    /// Rows of a table, those columns that it has; see [`Foreign::rows`].
    pub(super) fn rows(
        &self,
        table: &str,
        columns: &[&str],
        order: &str,
    ) -> Result<Vec<serde_json::Map<String, serde_json::Value>>, String> {
        let Some(foreign) = &self.foreign else { return Ok(Vec::new()) };
        foreign.rows(table, columns, order).map_err(|store::ForeignError::Unreadable { why, .. }| why)
    }

    /// Whether it has this table.
    pub(super) fn has(&self, table: &str) -> bool {
        self.foreign.as_ref().and_then(|foreign| foreign.tables().ok()).is_some_and(|tables| tables.iter().any(|name| name == table))
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        self.foreign = None;
        for ending in ["", "-wal", "-shm", "-journal"] {
            let mut path = self.path.clone().into_os_string();
            path.push(ending);
            let _ = std::fs::remove_file(path);
        }
    }
}
