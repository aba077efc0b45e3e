//! How far the scripts of a turn came: kept beside the session on the host, where nothing inside can write. A script that
//! ended is not run again by a daemon that takes the turn up; one that may have begun is told so.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use model::{Code, Failure, TurnId};
use serde::{Deserialize, Serialize};

/// The longest note: a script's output has at most 8 KiB, and JSON may take six bytes for one.
const BYTES_MAX: u64 = 64 << 10;

/// What is known of one script of one turn.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    /// How often it was begun.
    pub(super) attempt: u32,
    /// How it ended, once it has.
    pub(super) ended: Option<Ended>,
}

/// How a script ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ended {
    /// Its status; none when its time was up.
    pub(super) status: Option<i32>,
    /// The end of what it printed.
    pub(super) output: String,
}

/// Where the note of a script is.
pub(super) struct Place {
    dir: PathBuf,
    name: String,
}

impl Place {
    pub(super) fn new(dir: &Path, turn: &TurnId, script: &str) -> Self {
        Self { dir: dir.to_owned(), name: format!("hook-{script}-{turn}") }
    }

    /// What is known; nothing where nothing was noted.
    pub(super) fn read(&self) -> Result<Note, Failure> {
        let path = self.dir.join(&self.name);
        let bytes = match std::fs::metadata(&path) {
            Ok(meta) if meta.len() > BYTES_MAX => return Err(self.broken(&"it is too long")),
            Ok(_) => std::fs::read(&path).map_err(|e| self.broken(&e))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Note::default()),
            Err(error) => return Err(self.broken(&error)),
        };
        serde_json::from_slice(&bytes).map_err(|e| self.broken(&e))
    }

    /// Keeps what is known now: it is on the disk when this returns.
    pub(super) fn write(&self, note: &Note) -> Result<(), Failure> {
        let bytes = serde_json::to_vec(note).map_err(|e| self.broken(&e))?;
        let (path, fresh) = (self.dir.join(&self.name), self.dir.join(format!("{}.new", self.name)));
        let mut options = std::fs::OpenOptions::new();
        let written = options.write(true).create(true).truncate(true).mode(0o600).open(&fresh);
        let written = written.and_then(|mut file| file.write_all(&bytes).and_then(|()| file.sync_all()));
        let kept = written.and_then(|()| std::fs::rename(&fresh, &path)).and_then(|()| std::fs::File::open(&self.dir)?.sync_all());
        kept.map_err(|e| self.broken(&e))
    }

    fn broken(&self, why: &dyn std::fmt::Display) -> Failure {
        Failure::new(Code::HomeUnsafe, format!("how far a script came cannot be kept in {}: {why}", self.dir.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_is_read_by_whoever_comes_after() {
        let home = tempfile::tempdir().expect("a directory");
        let turn = TurnId::from_bits(7);
        let place = || Place::new(home.path(), &turn, "post");
        assert_eq!(place().read().expect("nothing yet"), Note::default());
        let ended = Ended { status: Some(3), output: "\u{1}".repeat(8 << 10) };
        for note in [Note { attempt: 1, ended: None }, Note { attempt: 2, ended: Some(ended) }] {
            place().write(&note).expect("written");
            assert_eq!(place().read().expect("read"), note);
        }
        assert_eq!(Place::new(home.path(), &turn, "pre").read().expect("another's"), Note::default());
        std::fs::write(home.path().join(format!("hook-post-{turn}")), "{").expect("write");
        assert!(place().read().is_err(), "half a note is no note of nothing");
    }
}
