//! Cuts what a program prints into lines.

use bytes::{Buf, Bytes, BytesMut};

/// The longest line, in bytes.
pub(super) const LINE_BYTES_MAX: usize = 4 << 20;

/// A line was longer than [`LINE_BYTES_MAX`]; the stream is of no use then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooLong;

/// Pieces in, lines out. Holds at most one line and the piece that it ended in.
#[derive(Debug, Default)]
pub(super) struct Lines {
    held: BytesMut,
    /// Bytes at the front in which there is no end of a line.
    seen: usize,
}

impl Lines {
    pub(super) fn push(&mut self, piece: &[u8]) {
        self.held.extend_from_slice(piece);
    }

    /// The next line that is not empty, without its end.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, TooLong> {
        loop {
            let Some(at) = self.held[self.seen..].iter().position(|b| *b == b'\n') else {
                self.seen = self.held.len();
                return if self.held.len() > LINE_BYTES_MAX { Err(TooLong) } else { Ok(None) };
            };
            let line = self.held.split_to(self.seen + at).freeze();
            self.held.advance(1);
            self.seen = 0;
            if line.len() > LINE_BYTES_MAX {
                return Err(TooLong);
            }
            if !line.trim_ascii().is_empty() {
                return Ok(Some(line));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_out_of_any_split() {
        let text = b"{\"a\":1}\r\n\n  \n{}\nrest";
        for step in 1..=text.len() {
            let (mut lines, mut found) = (Lines::default(), Vec::new());
            for piece in text.chunks(step) {
                lines.push(piece);
                while let Some(line) = lines.next().unwrap() {
                    found.push(line);
                }
            }
            assert_eq!(found, [&b"{\"a\":1}\r"[..], b"{}"], "steps of {step}");
        }
    }

    #[test]
    fn a_line_without_an_end_is_not_held_for_ever() {
        let mut lines = Lines::default();
        lines.push(&vec![b'x'; LINE_BYTES_MAX]);
        assert_eq!(lines.next(), Ok(None));
        lines.push(b"x");
        assert_eq!(lines.next(), Err(TooLong));
    }
}
