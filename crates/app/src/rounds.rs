//! How often a turn has asked its model: kept in a file of its session, so that a daemon which is killed forgets none.

use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Mutex;

use gateway::{Rounds, RoundsError};
use model::TurnId;

use crate::live::lock;

/// The longest file: a turn has at most 100 rounds, and one that fails again and again is ended long before this.
const BYTES_MAX: u64 = 64 << 10;
/// One more call, and one that came to nothing.
const TAKEN: u8 = b'+';
const GIVEN_BACK: u8 = b'-';

/// The count of one turn.
pub(crate) struct Kept {
    most: u32,
    /// The file and what it says. Held for one write of a byte.
    state: Mutex<(std::fs::File, u32, u64)>,
}

impl Kept {
    /// The count of this turn, gone on with where it was begun.
    pub(crate) fn open(dir: &Path, turn: &TurnId, most: u32) -> std::io::Result<Self> {
        let path = dir.join("rounds");
        let begin = format!("{turn} ");
        let mut text = Vec::new();
        let mut options = std::fs::OpenOptions::new();
        options.read(true).append(true).create(true).mode(0o600);
        let mut file = options.open(&path)?;
        Read::by_ref(&mut file).take(BYTES_MAX).read_to_end(&mut text)?;
        let mut taken: u32 = 0;
        if let Some(marks) = text.strip_prefix(begin.as_bytes()) {
            for mark in marks {
                taken = if *mark == GIVEN_BACK { taken.saturating_sub(1) } else { taken.saturating_add(1) };
            }
        } else {
            file.set_len(0)?;
            file.write_all(begin.as_bytes())?;
            text = begin.into_bytes();
        }
        Ok(Self { most, state: Mutex::new((file, taken, text.len() as u64)) })
    }
}

impl Rounds for Kept {
    fn take(&self) -> Result<(), RoundsError> {
        let (file, taken, bytes) = &mut *lock(&self.state);
        if *taken >= self.most || *bytes >= BYTES_MAX {
            return Err(RoundsError::Over(self.most));
        }
        file.write_all(&[TAKEN]).map_err(RoundsError::Unkept)?;
        *taken += 1;
        *bytes += 1;
        Ok(())
    }

    fn give_back(&self) {
        let (file, taken, bytes) = &mut *lock(&self.state);
        // What cannot be noted stays counted.
        if file.write_all(&[GIVEN_BACK]).is_ok() {
            *taken = taken.saturating_sub(1);
            *bytes += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_outlives_whoever_counts() {
        let dir = tempfile::tempdir().expect("a directory");
        let (one, other) = (TurnId::from_bits(1), TurnId::from_bits(2));
        let open = |turn| Kept::open(dir.path(), turn, 2).expect("a file");
        let first = open(&one);
        first.take().expect("the first");
        first.take().expect("the second");
        assert!(matches!(first.take(), Err(RoundsError::Over(2))));
        first.give_back();
        drop(first);
        let again = open(&one);
        again.take().expect("one failed");
        assert!(again.take().is_err());
        open(&other).take().expect("another turn has its own");
        // Its file was taken over.
        open(&one).take().expect("from the beginning");
    }
}
