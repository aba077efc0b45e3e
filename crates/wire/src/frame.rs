//! Frames of the control channel.
//!
//! Header, little endian: payload length (u32), kind (u8), stream (u32), number (u64). The stream is the identity of a
//! command or transfer, chosen by the host; the number counts spooled frames of a stream from 1 and is 0 elsewhere.

/// Bytes before the payload.
pub const HEADER_BYTES: usize = 17;

/// The largest payload. A reader never reserves more than this for one frame.
pub const FRAME_BYTES_MAX: usize = 1 << 20;

/// How much input of one command may be on its way: sent by the host and not yet taken by the command.
pub const STDIN_WINDOW_BYTES: usize = 256 << 10;

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What the payload means; see [`crate::ToGuest`] and [`crate::FromGuest`].
    pub kind: u8,
    /// The command or transfer.
    pub stream: u32,
    /// The number of a spooled frame, from 1; 0 for all others.
    pub number: u64,
    /// At most [`FRAME_BYTES_MAX`] bytes.
    pub payload: Vec<u8>,
}

/// Why bytes are no frame. The channel cannot go on after it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The header announces more than is allowed.
    #[error("a frame of {0} bytes is larger than the limit of {FRAME_BYTES_MAX}")]
    TooLarge(u64),
    /// The kind is not known on this side.
    #[error("frame kind {0} is not known")]
    UnknownKind(u8),
    /// The payload does not have the form of its kind.
    #[error("the payload of frame kind {kind} is malformed: {why}")]
    Malformed {
        /// The frame's kind.
        kind: u8,
        /// What is wrong, without the payload itself.
        why: String,
    },
}

impl Frame {
    /// Appends the bytes of this frame to `out`.
    ///
    /// # Errors
    /// [`FrameError::TooLarge`] when the payload is over the limit; nothing is appended.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), FrameError> {
        if self.payload.len() > FRAME_BYTES_MAX {
            return Err(FrameError::TooLarge(self.payload.len() as u64));
        }
        #[expect(clippy::cast_possible_truncation, reason = "checked against FRAME_BYTES_MAX above")]
        let len = self.payload.len() as u32;
        out.reserve(HEADER_BYTES + self.payload.len());
        out.extend_from_slice(&len.to_le_bytes());
        out.push(self.kind);
        out.extend_from_slice(&self.stream.to_le_bytes());
        out.extend_from_slice(&self.number.to_le_bytes());
        out.extend_from_slice(&self.payload);
        Ok(())
    }
}

/// Takes bytes in any pieces and gives whole frames. Holds at most one frame's bytes beyond what was pushed last.
#[derive(Debug, Default)]
pub struct Decoder {
    held: Vec<u8>,
    read: usize,
}

impl Decoder {
    /// Adds bytes as they came.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.read > 0 {
            self.held.drain(..self.read);
            self.read = 0;
        }
        self.held.extend_from_slice(bytes);
    }

    /// The next whole frame, or `None` until more bytes come.
    ///
    /// # Errors
    /// [`FrameError::TooLarge`]; the channel must be closed then.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        let bytes = &self.held[self.read..];
        let Some((header, rest)) = bytes.split_at_checked(HEADER_BYTES) else { return Ok(None) };
        let word = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let len = word(0) as usize;
        if len > FRAME_BYTES_MAX {
            return Err(FrameError::TooLarge(len as u64));
        }
        let Some(payload) = rest.get(..len) else { return Ok(None) };
        let number = u64::from(word(9)) | u64::from(word(13)) << 32;
        let frame = Frame { kind: header[4], stream: word(5), number, payload: payload.to_vec() };
        self.read += HEADER_BYTES + len;
        Ok(Some(frame))
    }

    /// Bytes that were pushed and not yet given out.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.held.len() - self.read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_any_split() {
        let frames: Vec<Frame> = (0..4u8)
            .map(|i| Frame {
                kind: i,
                stream: u32::MAX - u32::from(i),
                number: u64::MAX - u64::from(i),
                payload: vec![i; usize::from(i) * 700],
            })
            .collect();
        let mut bytes = Vec::new();
        for frame in &frames {
            frame.encode(&mut bytes).expect("small");
        }
        for step in [1, 2, 16, 17, 18, 999, bytes.len()] {
            let mut decoder = Decoder::default();
            let mut got = Vec::new();
            for piece in bytes.chunks(step) {
                decoder.push(piece);
                while let Some(frame) = decoder.next_frame().expect("well formed") {
                    got.push(frame);
                }
            }
            assert_eq!(got, frames, "step {step}");
            assert_eq!(decoder.pending(), 0);
        }
    }

    #[test]
    fn a_length_over_the_limit_is_refused_from_the_header_alone() {
        let mut decoder = Decoder::default();
        let mut header = [0u8; HEADER_BYTES];
        header[..4].copy_from_slice(&u32::MAX.to_le_bytes());
        decoder.push(&header);
        assert_eq!(decoder.next_frame(), Err(FrameError::TooLarge(u64::from(u32::MAX))));
    }
}
