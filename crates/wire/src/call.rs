//! Messages on the broker's door: four bytes of length, big endian, and that many bytes of JSON.
//!
//! To the host go requests `{topic, correlation, arguments}` and nothing else. Back come, for each correlation, any number of
//! [`Waiting`] messages and then one [`Answer`].

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The longest message, in bytes, in either direction.
pub const CALL_BYTES_MAX: usize = 1 << 20;
/// Bytes of the length before a message.
pub const CALL_HEADER_BYTES: usize = 4;

/// Why bytes are not a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The length is zero.
    #[error("a message is empty")]
    Empty,
    /// The length is above [`CALL_BYTES_MAX`].
    #[error("a message of {0} bytes is longer than {CALL_BYTES_MAX}")]
    TooLong(usize),
}

/// Puts the length before a message.
///
/// # Errors
/// [`CallError`] when the message is empty or too long.
pub fn frame_call(message: &[u8]) -> Result<Vec<u8>, CallError> {
    let length = u32::try_from(check(message.len())?).unwrap_or(u32::MAX);
    Ok([&length.to_be_bytes()[..], message].concat())
}

fn check(length: usize) -> Result<usize, CallError> {
    match length {
        0 => Err(CallError::Empty),
        n if n > CALL_BYTES_MAX => Err(CallError::TooLong(n)),
        n => Ok(n),
    }
}

/// Cuts a stream into messages.
#[derive(Debug, Default)]
pub struct CallDecoder {
    held: Vec<u8>,
    /// Bytes at the front that were given out already.
    used: usize,
}

impl CallDecoder {
    /// Takes what arrived. Holds at most one message and what came with its end.
    pub fn push(&mut self, bytes: &[u8]) {
        self.held.drain(..self.used);
        self.used = 0;
        self.held.extend_from_slice(bytes);
    }

    /// The next whole message.
    ///
    /// # Errors
    /// [`CallError`] as soon as a length is wrong; the stream is of no use then.
    pub fn next_message(&mut self) -> Result<Option<Vec<u8>>, CallError> {
        let rest = &self.held[self.used..];
        let Some(header) = rest.first_chunk::<CALL_HEADER_BYTES>() else { return Ok(None) };
        let length = check(u32::from_be_bytes(*header) as usize)?;
        let Some(message) = rest.get(CALL_HEADER_BYTES..CALL_HEADER_BYTES + length) else { return Ok(None) };
        let message = message.to_vec();
        self.used += CALL_HEADER_BYTES + length;
        Ok(Some(message))
    }

    /// Whether part of a message is held.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.held.len() > self.used
    }
}

/// A request as a client writes it. The host reads it with stricter means.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// `tool.invoke.NAME`.
    pub topic: String,
    /// The client's name for this call, unique in its session while it is under way.
    pub correlation: String,
    /// An object.
    pub arguments: Value,
}

/// What the host says of a call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Said {
    /// A person is asked; the client stops its clock.
    Waiting(Waiting),
    /// The end of the call.
    Answer(Answer),
}

/// A person is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Waiting {
    /// The call.
    pub correlation: String,
    /// The confirmation that is asked for.
    pub waiting: String,
}

/// The end of a call: exactly one of `result` and `error` is not null.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// The call; empty when the request had none that could be read.
    pub correlation: String,
    /// What the tool gave.
    pub result: Value,
    /// Why there is none.
    pub error: Option<ErrorBody>,
    /// Whose words these are; nothing where they are the host's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

/// Where the words of an answer come from. Set by the host alone: a tool says nothing about itself here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// The tool, by its checked name.
    pub tool: String,
    /// The plugin that provides it; empty for the daemon's own.
    pub plugin: String,
    /// Whether the words may be anybody's: data to read, never instructions to follow.
    pub untrusted: bool,
}

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ErrorBody {
    /// The stable code.
    pub code: String,
    /// For the agent: no host path, no internals.
    pub message: String,
    /// Whether the same call may succeed later.
    pub retriable: bool,
    /// The stage that refused, 1 to 6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<u8>,
    /// The first field that is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// Whole seconds after which to try again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_cut_out_of_any_split() {
        let bytes = [frame_call(b"{\"a\":1}").unwrap(), frame_call(b"[]").unwrap()].concat();
        for step in 1..bytes.len() {
            let (mut decoder, mut found) = (CallDecoder::default(), Vec::new());
            for piece in bytes.chunks(step) {
                decoder.push(piece);
                while let Some(message) = decoder.next_message().unwrap() {
                    found.push(message);
                }
            }
            assert_eq!(found, [b"{\"a\":1}".to_vec(), b"[]".to_vec()], "steps of {step}");
            assert!(!decoder.is_partial());
        }
    }

    #[test]
    fn lengths_are_checked_before_anything_is_waited_for() {
        for (length, expect) in [(0u32, CallError::Empty), (u32::MAX, CallError::TooLong(u32::MAX as usize))] {
            let mut decoder = CallDecoder::default();
            decoder.push(&length.to_be_bytes());
            assert_eq!(decoder.next_message(), Err(expect));
        }
        assert_eq!(frame_call(&vec![b' '; CALL_BYTES_MAX + 1]), Err(CallError::TooLong(CALL_BYTES_MAX + 1)));
    }
}
