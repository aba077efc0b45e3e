//! The conversation on disk: one message in a line, added as it is said.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::Trouble;
use super::chat::{Message, mend};

/// The largest transcript that is read back, in bytes.
const TRANSCRIPT_BYTES_MAX: u64 = 256 << 20;

/// A conversation that is kept.
pub(super) struct Transcript {
    /// Its identity, for `--resume`.
    pub(super) id: String,
    file: File,
}

impl Transcript {
    /// Begins a new conversation, under a name of its own when it has none.
    pub(super) fn create(state: &Path, name: Option<&str>) -> Result<Self, Trouble> {
        let id = match name {
            Some(name) if is_id(name) => name.to_owned(),
            Some(_) => return Err(Trouble::new("the name of the conversation is not an identity of mini")),
            None => random_id("mini").map_err(|error| Trouble::io("make an identity", &error))?,
        };
        std::fs::create_dir_all(state).map_err(|error| Trouble::io("make the directory of transcripts", &error))?;
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(path(state, &id));
        let file = file.map_err(|error| Trouble::io("make the transcript", &error))?;
        Ok(Self { id, file })
    }

    /// Goes on with a conversation. A last line that was cut by the end of a process is dropped; any other damage is an
    /// error, because a model must not be shown a conversation that never was.
    pub(super) fn resume(state: &Path, id: &str) -> Result<(Self, Vec<Message>), Trouble> {
        if !is_id(id) {
            return Err(Trouble::new("the session to resume is not an identity of mini"));
        }
        let read = |error: &std::io::Error| match error.kind() {
            std::io::ErrorKind::NotFound => Trouble::new(format!("there is no session {id} to resume")),
            _ => Trouble::io("read the transcript", error),
        };
        let mut file = OpenOptions::new().read(true).append(true).open(path(state, id)).map_err(|e| read(&e))?;
        let mut bytes = Vec::new();
        (&mut file).take(TRANSCRIPT_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|e| read(&e))?;
        if bytes.len() as u64 > TRANSCRIPT_BYTES_MAX {
            return Err(Trouble::new(format!("the transcript is larger than {TRANSCRIPT_BYTES_MAX} bytes")));
        }
        let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        if whole < bytes.len() {
            file.set_len(whole as u64).map_err(|error| Trouble::io("mend the transcript", &error))?;
        }
        let mut messages = Vec::new();
        for (number, line) in bytes[..whole].split(|b| *b == b'\n').filter(|line| !line.is_empty()).enumerate() {
            let message = serde_json::from_slice(line).ok().as_ref().and_then(Message::from_json);
            let damaged = || Trouble::new(format!("the transcript of {id} is damaged at line {}", number + 1));
            messages.push(message.ok_or_else(damaged)?);
        }
        Ok((Self { id: id.to_owned(), file }, mend(messages)))
    }

    /// Adds a message, in one write. It outlives this process; it need not outlive the machine.
    pub(super) fn add(&mut self, message: &Message) -> Result<(), Trouble> {
        let mut line = message.to_json().to_string();
        line.push('\n');
        let failed = |error: std::io::Error| Trouble::io("write the transcript", &error);
        let before = self.file.metadata().map_err(failed)?.len();
        self.file.write_all(line.as_bytes()).map_err(|error| {
            // Half a line with another behind it would be damage.
            drop(self.file.set_len(before));
            failed(error)
        })
    }
}

fn is_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= 64 && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn path(state: &Path, id: &str) -> PathBuf {
    state.join(format!("{id}.jsonl"))
}

/// An identity with 128 random bits.
pub(super) fn random_id(prefix: &str) -> std::io::Result<String> {
    let mut bytes = [0u8; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(format!("{prefix}_{:032x}", u128::from_le_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_last_line_is_dropped_and_other_damage_is_told() {
        let state = tempfile::tempdir().expect("a directory");
        let mut transcript = Transcript::create(state.path(), None).expect("made");
        let id = transcript.id.clone();
        transcript.add(&Message::User("one".into())).expect("written");
        transcript.file.write_all(b"{\"role\":\"user\",\"te").expect("written");
        let (mut transcript, messages) = Transcript::resume(state.path(), &id).expect("resumed");
        assert_eq!(messages, [Message::User("one".into())]);
        transcript.add(&Message::User("two".into())).expect("written");
        let (mut transcript, messages) = Transcript::resume(state.path(), &id).expect("resumed");
        assert_eq!(messages.len(), 2);
        transcript.file.write_all(b"garbage\n").expect("written");
        assert!(Transcript::resume(state.path(), &id).is_err());
        for bad in ["", "../x", "mini_0", "a/b"] {
            assert!(Transcript::resume(state.path(), bad).is_err(), "{bad}");
        }
    }
}
