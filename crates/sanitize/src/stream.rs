//! Known values in a stream, wherever its pieces break.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::known::{Known, WINDOW};

/// Puts `*` over known values in a stream. The stream keeps its length, and only bytes with which a known value may begin
/// are held back: in plain text and at the end of an event that is next to nothing, so no reply is delayed.
#[derive(Debug)]
pub struct Stream {
    known: Arc<Known>,
    /// What passed last, as it was, and what is held back.
    recent: BytesMut,
    /// How much of `recent` has passed.
    passed: usize,
}

impl Stream {
    /// A stream that has not begun.
    #[must_use]
    pub fn new(known: Arc<Known>) -> Self {
        Self { known, recent: BytesMut::new(), passed: 0 }
    }

    /// Takes the next piece and gives what may pass now.
    pub fn feed(&mut self, piece: Bytes) -> Bytes {
        if self.known.is_empty() {
            return piece;
        }
        let was_held = !self.is_empty();
        self.recent.extend_from_slice(&piece);
        let found = self.known.find(&self.recent);
        let mut hold = self.recent.len() - self.known.begun(&self.recent);
        // What is masked already need not wait for more.
        if let Some(last) = found.iter().rev().find(|range| range.start <= hold && hold < range.end) {
            hold = last.end;
        }
        let hold = hold.max(self.passed);
        let is_clean = found.iter().all(|range| range.end <= self.passed);
        let out = if is_clean && !was_held && hold == self.recent.len() {
            piece
        } else {
            let mut out = BytesMut::from(&self.recent[self.passed..hold]);
            for range in found {
                let (from, to) = (range.start.max(self.passed), range.end.min(hold));
                if from < to {
                    out[from - self.passed..to - self.passed].fill(b'*');
                }
            }
            out.freeze()
        };
        let _ = self.recent.split_to(hold.saturating_sub(WINDOW - 1));
        self.passed = hold.min(WINDOW - 1);
        out
    }

    /// Bytes that are held back.
    #[must_use]
    pub fn held(&self) -> u64 {
        (self.recent.len() - self.passed) as u64
    }

    /// Whether nothing is held back.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.recent.len() == self.passed
    }

    /// What is still held back, at the end.
    pub fn finish(&mut self) -> Bytes {
        let mut rest = std::mem::take(&mut self.recent);
        let passed = std::mem::take(&mut self.passed);
        self.known.mask(&mut rest);
        rest.split_off(passed).freeze()
    }
}

/// A [`Stream`] of texts.
#[derive(Debug)]
pub struct TextStream {
    stream: Stream,
    /// The beginning of a character whose end is held back. At most three bytes.
    begun: Vec<u8>,
}

impl TextStream {
    /// A stream of texts that has not begun.
    #[must_use]
    pub fn new(stream: Stream) -> Self {
        Self { stream, begun: Vec::new() }
    }

    /// Takes the next text and gives what may pass now. Where a known value covers a part of a character, the rest of that
    /// character becomes a replacement character.
    pub fn feed(&mut self, text: &str) -> String {
        let passed = self.stream.feed(Bytes::copy_from_slice(text.as_bytes()));
        self.begun.extend_from_slice(&passed);
        let whole = self.begun.len() - unfinished(&self.begun);
        let rest = self.begun.split_off(whole);
        let out = String::from_utf8_lossy(&self.begun).into_owned();
        self.begun = rest;
        out
    }

    /// What is still held back, at the end. The stream begins anew.
    pub fn finish(&mut self) -> String {
        let mut rest = std::mem::take(&mut self.begun);
        rest.extend_from_slice(&self.stream.finish());
        String::from_utf8_lossy(&rest).into_owned()
    }
}

/// Bytes at the end that are the beginning of a character.
fn unfinished(bytes: &[u8]) -> usize {
    (1..=bytes.len().min(3))
        .find(|n| {
            let tail = &bytes[bytes.len() - n..];
            std::str::from_utf8(tail).is_err_and(|error| error.valid_up_to() == 0 && error.error_len().is_none())
        })
        .unwrap_or(0)
}
