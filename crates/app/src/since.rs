//! Since when a turn runs, by a clock that nobody sets: a daemon that takes up a turn must not count a change of the host's
//! time as time that the turn took.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::TurnId;

/// The longest note.
const BYTES_MAX: usize = 256;

/// Notes in a session's directory that a turn begins now. Without the note the host's time must serve.
pub(crate) fn note(dir: &Path, turn: &TurnId) {
    let Some((boot, uptime)) = boot().zip(uptime()) else { return };
    let text = format!("{turn} {boot} {}\n", uptime.as_millis());
    let mut options = std::fs::OpenOptions::new();
    let written =
        options.write(true).create(true).truncate(true).mode(0o600).open(path(dir)).and_then(|mut f| f.write_all(text.as_bytes()));
    if let Err(error) = written {
        tracing::debug!(%turn, %error, "when the turn began is known by the host's time alone");
    }
}

/// How long ago this turn began, where its beginning was noted since the machine started.
pub(crate) fn elapsed(dir: &Path, turn: &TurnId) -> Option<Duration> {
    let text = std::fs::read(path(dir)).ok().filter(|bytes| bytes.len() <= BYTES_MAX)?;
    read(&String::from_utf8(text).ok()?, turn, &boot()?, uptime()?)
}

fn read(text: &str, turn: &TurnId, boot: &str, uptime: Duration) -> Option<Duration> {
    let mut words = text.split_whitespace();
    if words.next()? != turn.as_str() || words.next()? != boot {
        return None;
    }
    let then = Duration::from_millis(words.next()?.parse().ok()?);
    uptime.checked_sub(then)
}

fn path(dir: &Path) -> PathBuf {
    dir.join("since")
}

/// Which start of the machine this is.
fn boot() -> Option<String> {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok().map(|id| id.trim().to_owned()).filter(|id| !id.is_empty())
}

/// Time since the machine started, that of its sleep included.
fn uptime() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/uptime").ok()?;
    Duration::try_from_secs_f64(text.split_whitespace().next()?.parse().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_note_of_this_turn_and_this_start_counts() {
        let (one, other) = (TurnId::from_bits(1), TurnId::from_bits(2));
        let text = format!("{one} abc 5000\n");
        let at = Duration::from_secs(7);
        assert_eq!(read(&text, &one, "abc", at), Some(Duration::from_secs(2)));
        assert_eq!(read(&text, &other, "abc", at), None);
        assert_eq!(read(&text, &one, "abd", at), None);
        assert_eq!(read(&text, &one, "abc", Duration::from_secs(1)), None);
        assert_eq!(read("", &one, "abc", at), None);
        let dir = tempfile::tempdir().expect("a directory");
        note(dir.path(), &one);
        assert!(elapsed(dir.path(), &one).is_some_and(|since| since < Duration::from_secs(600)));
        assert_eq!(elapsed(dir.path(), &other), None);
    }
}
