//! The bodies of requests, read strictly.

use bytes::{Buf as _, Bytes, BytesMut};

use super::head::HeadError;

/// The longest size line of a chunk, in hexadecimal digits.
const DIGITS_MAX: u8 = 15;

/// How a body is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    Empty,
    /// So many bytes.
    Length(u64),
    /// In chunks.
    Chunked,
}

/// Takes a body out of the bytes of a connection. What is not plain (extensions of chunks, trailers, bare line feeds) is
/// refused.
#[derive(Debug)]
pub struct Body {
    state: State,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// So many bytes more.
    Length(u64),
    /// A size line: its value and digits so far.
    Size(u64, u8),
    /// The line feed of a size line.
    SizeEnd(u64),
    /// So many bytes of a chunk more.
    Chunk(u64),
    /// So many bytes of the line end after a chunk are there.
    ChunkEnd(bool),
    /// So many bytes of the last line end are there.
    Last(bool),
    Done,
}

impl Body {
    /// A body that is delimited like this.
    #[must_use]
    pub fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::Empty | Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Size(0, 0),
        };
        Self { state }
    }

    /// Whether it is over; what follows is another request.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Takes the next piece from the front of `bytes`; `None` when more must come or it is over.
    ///
    /// # Errors
    /// It is malformed; nothing after that can be read.
    pub fn next(&mut self, bytes: &mut BytesMut) -> Result<Option<Bytes>, HeadError> {
        loop {
            match self.state {
                State::Done => return Ok(None),
                State::Length(left) => return Ok(self.piece(left, bytes)),
                State::Chunk(left) => return Ok(self.piece(left, bytes)),
                _ => {
                    let Some(byte) = bytes.first().copied() else { return Ok(None) };
                    bytes.advance(1);
                    self.line(byte)?;
                }
            }
        }
    }

    fn piece(&mut self, left: u64, bytes: &mut BytesMut) -> Option<Bytes> {
        let n = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        if n == 0 {
            return None;
        }
        let left = left - n as u64;
        self.state = match (self.state, left) {
            (State::Chunk(_), 0) => State::ChunkEnd(false),
            (State::Chunk(_), _) => State::Chunk(left),
            (_, 0) => State::Done,
            _ => State::Length(left),
        };
        Some(bytes.split_to(n).freeze())
    }

    /// One byte between the data.
    fn line(&mut self, byte: u8) -> Result<(), HeadError> {
        let digit = char::from(byte).to_digit(16).map(u64::from);
        self.state = match (self.state, byte, digit) {
            (State::Size(value, digits), _, Some(digit)) if digits < DIGITS_MAX => State::Size(value << 4 | digit, digits + 1),
            (State::Size(value, 1..), b'\r', _) => State::SizeEnd(value),
            (State::SizeEnd(0), b'\n', _) => State::Last(false),
            (State::SizeEnd(value), b'\n', _) => State::Chunk(value),
            (State::ChunkEnd(false), b'\r', _) => State::ChunkEnd(true),
            (State::ChunkEnd(true), b'\n', _) => State::Size(0, 0),
            (State::Last(false), b'\r', _) => State::Last(true),
            (State::Last(true), b'\n', _) => State::Done,
            _ => return Err(HeadError::Malformed("a chunk of the body is not `size CRLF data CRLF`, or a trailer follows the last")),
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(framing: Framing, text: &str, cut: usize) -> Result<(String, bool, String), HeadError> {
        let (mut body, mut bytes, mut out) = (Body::new(framing), BytesMut::new(), String::new());
        for piece in text.as_bytes().chunks(cut) {
            bytes.extend_from_slice(piece);
            while let Some(piece) = body.next(&mut bytes)? {
                out.push_str(std::str::from_utf8(&piece).unwrap());
            }
        }
        Ok((out, body.is_done(), String::from_utf8(bytes.to_vec()).unwrap()))
    }

    #[test]
    fn bodies_are_the_same_in_any_split() {
        for cut in 1..40 {
            let check = |framing, text: &str, data: &str, done, rest: &str| {
                assert_eq!(read(framing, text, cut), Ok((data.to_owned(), done, rest.to_owned())), "{text:?} in pieces of {cut}");
            };
            check(Framing::Empty, "GET /", "", true, "GET /");
            check(Framing::Length(4), "dataGET /", "data", true, "GET /");
            check(Framing::Length(9), "data", "data", false, "");
            check(Framing::Chunked, "4\r\ndata\r\n00a\r\n0123456789\r\n0\r\n\r\nGET /", "data0123456789", true, "GET /");
            check(Framing::Chunked, "A\r\n0123", "0123", false, "");
            check(Framing::Chunked, "0\r\n", "", false, "");
        }
    }

    #[test]
    fn chunks_that_can_be_read_in_two_ways_are_refused() {
        for text in [
            "4;x=y\r\ndata\r\n0\r\n\r\n", "4 \r\ndata", "\r\n", "g\r\n", "0x4\r\ndata", "-1\r\n", "+4\r\ndata", "4\ndata", "4\r\ndataX",
            "4\r\ndata\n", "4\r\ndata\r\n\r\n", "0\r\nTrailer: x\r\n\r\n", "0\r\n\n", "ffffffffffffffffff\r\n", "4\rdata", " 4\r\ndata",
        ] {
            assert!(read(Framing::Chunked, text, 1).is_err(), "{text:?}");
            assert!(read(Framing::Chunked, text, 100).is_err(), "{text:?}");
        }
    }
}
