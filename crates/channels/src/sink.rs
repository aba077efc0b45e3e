//! A file on its way to the host, in pieces.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use wire::chat::{CHAT_PIECE_BYTES_MAX, FromChannel, Piece};

use crate::link::Link;

/// Takes a file and hands it to the host as it comes.
pub(crate) struct Sink {
    link: Link,
    id: String,
    max: u64,
    taken: u64,
    held: Vec<u8>,
}

impl Sink {
    /// For a file that may have `max` bytes.
    pub(crate) fn new(link: Link, id: String, max: u64) -> Self {
        Self { link, id, max, taken: 0, held: Vec::new() }
    }

    /// How many bytes the file may have.
    pub(crate) fn max(&self) -> u64 {
        self.max
    }

    /// Takes more of it.
    ///
    /// # Errors
    /// It has more than it may, for a person.
    pub(crate) async fn push(&mut self, mut bytes: &[u8]) -> Result<(), String> {
        self.taken += bytes.len() as u64;
        if self.taken > self.max {
            return Err(format!("the file has more than {} bytes", self.max));
        }
        while self.held.len() + bytes.len() > CHAT_PIECE_BYTES_MAX {
            let (now, later) = bytes.split_at(CHAT_PIECE_BYTES_MAX - self.held.len());
            self.held.extend_from_slice(now);
            bytes = later;
            self.flush(false).await;
        }
        self.held.extend_from_slice(bytes);
        Ok(())
    }

    /// The file is whole.
    pub(crate) async fn end(mut self) {
        self.flush(true).await;
    }

    async fn flush(&mut self, last: bool) {
        let data = STANDARD.encode(&self.held);
        self.held.clear();
        self.link.say(FromChannel::Piece(Piece { id: self.id.clone(), data, last })).await;
    }
}
