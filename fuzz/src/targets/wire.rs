//! The control channel and the door line.

use wire::{DOOR_LINE_BYTES_MAX, Decoder, Door, FRAME_BYTES_MAX, Frame, FrameError, FromGuest, HEADER_BYTES, ToGuest};

use super::{Target, hash};

pub(crate) const FRAMES: Target = Target { name: "wire_frames", corpus: "wire_frames", recorded: None, words: WORDS, run: frames };
pub(crate) const FROM_GUEST: Target =
    Target { name: "wire_from_guest", corpus: "wire_from_guest", recorded: None, words: WORDS, run: from_guest };
pub(crate) const TO_GUEST: Target = Target { name: "wire_to_guest", corpus: "wire_to_guest", recorded: None, words: WORDS, run: to_guest };
pub(crate) const DOOR: Target = Target {
    name: "wire_door",
    corpus: "wire_door",
    recorded: None,
    words: &[b"lazaret/1 ", b"control", b"egress", b"\n", b"\0"],
    run: door,
};

const WORDS: &[&[u8]] = &[
    b"{", b"}", b"[", b"\"", b"null", b"-1", b"1e999", b"99999999999999999999", b"\\u0000", b"\"pid\":", b"\"lease\":", b"\"code\":",
    b"\"errno\":", b"\"stdio\":", b"\"argv\":", b"\"relays\":", b"\"door\":", b"\xff",
];

/// Whole frames come out of a stream of bytes, the same ones however it was cut.
fn frames(input: &[u8]) -> u64 {
    // The first byte says where to cut.
    let Some((&step, stream)) = input.split_first() else { return 0 };
    let whole = decode(stream, stream.len().max(1));
    assert_eq!(decode(stream, usize::from(step).max(1)), whole, "the cut changes what is read");
    let (frames, end) = whole;
    let mut bytes = Vec::new();
    for frame in &frames {
        assert!(frame.payload.len() <= FRAME_BYTES_MAX, "a payload over the limit");
        frame.encode(&mut bytes).expect("what was decoded can be encoded");
    }
    assert!(stream.starts_with(&bytes), "what was read is not what was sent");
    if end.is_none() {
        assert!(stream.len() - bytes.len() < HEADER_BYTES + FRAME_BYTES_MAX);
    }
    let kinds: Vec<(u8, bool)> = frames.iter().map(|frame| (frame.kind, FromGuest::read(frame).is_ok())).take(4).collect();
    hash(&(kinds, frames.len().min(8), end.is_some()))
}

fn decode(stream: &[u8], step: usize) -> (Vec<Frame>, Option<FrameError>) {
    let mut decoder = Decoder::default();
    let mut frames = Vec::new();
    for piece in stream.chunks(step) {
        decoder.push(piece);
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
    }
    (frames, None)
}

/// What the host reads: one frame, its kind the first byte of the input.
fn from_guest(input: &[u8]) -> u64 {
    let frame = one(input);
    let read = FromGuest::read(&frame);
    if let Ok(message) = &read {
        let again = message.frame(frame.stream, frame.number).map(|frame| FromGuest::read(&frame));
        assert_eq!(again.as_ref().ok().and_then(|r| r.as_ref().ok()), Some(message), "a message does not survive the way");
    }
    shape(&frame, read.err())
}

/// What the guest reads.
fn to_guest(input: &[u8]) -> u64 {
    let frame = one(input);
    let read = ToGuest::read(&frame);
    if let Ok(message) = &read {
        let again = message.frame(frame.stream, frame.number).map(|frame| ToGuest::read(&frame));
        assert_eq!(again.as_ref().ok().and_then(|r| r.as_ref().ok()), Some(message), "a message does not survive the way");
    }
    shape(&frame, read.err())
}

fn one(input: &[u8]) -> Frame {
    let (kind, payload) = input.split_first().map_or((0, &[][..]), |(kind, payload)| (*kind, payload));
    Frame { kind, stream: 7, number: 9, payload: payload.to_vec() }
}

fn shape(frame: &Frame, error: Option<FrameError>) -> u64 {
    match error {
        // The words before the place; the place itself differs with every input.
        Some(FrameError::Malformed { why, .. }) => hash(&(frame.kind, why.split(" at line").next().unwrap_or("").to_owned())),
        Some(FrameError::TooLarge(_)) => hash(&(frame.kind, "large")),
        Some(FrameError::UnknownKind(_)) => hash(&"unknown"),
        None => hash(&(frame.kind, frame.payload.len().min(8))),
    }
}

/// A door is named by its whole line and by nothing else, and a decision is never taken back.
fn door(input: &[u8]) -> u64 {
    let whole = Door::parse(input);
    for cut in 0..=input.len().min(2 * DOOR_LINE_BYTES_MAX) {
        match Door::parse(&input[..cut]) {
            Ok(None) => (),
            decided => assert_eq!(decided, whole, "more bytes change the decision"),
        }
    }
    if let Ok(Some((door, len))) = whole {
        assert_eq!(&input[..len], door.line(), "a door from another line");
    }
    hash(&format!("{whole:?}"))
}
