//! Takes the host's key out of what a provider sends back, in the encodings that a mirror would use, wherever the pieces break.
//!
//! All substrings of the key's spellings are held in one automaton. As bytes pass it knows the longest ending that is part of a
//! key; when that reaches a window, the window is blanked. Only such an ending is held back, which in plain text and
//! at the end of an event is nothing, so no reply is delayed.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use bytes::{Bytes, BytesMut};

/// Bytes of a key in a row that give it away. Longer than the public beginnings of keys (`sk-ant-api03-`).
const WINDOW: usize = 16;
/// A shorter key is no secret: words of this length stand in ordinary text.
const KEY_BYTES_MIN: usize = 8;
/// Bytes of a key that are looked for; tokens in use are shorter.
const KEY_BYTES_MAX: usize = 8192;
/// A longer key (a signed token) is looked for as it is and in base64 only, to keep its automaton small.
const KEY_BYTES_LONG: usize = 512;

/// How a key is written in addresses and in JSON, as far as that is another way.
fn escaped(key: &[u8]) -> Vec<Vec<u8>> {
    let percent = |keep: &[u8], upper: bool| -> Vec<u8> {
        let one = |b: &u8| match (b.is_ascii_alphanumeric() || keep.contains(b), upper) {
            (true, _) => vec![*b],
            (false, true) => format!("%{b:02X}").into_bytes(),
            (false, false) => format!("%{b:02x}").into_bytes(),
        };
        key.iter().flat_map(one).collect()
    };
    let slashed = |b: &u8| if matches!(b, b'/' | b'"' | b'\\') { vec![b'\\', *b] } else { vec![*b] };
    let mut all = vec![percent(b"", true), percent(b"", false), percent(b"-._~", true), percent(b"-._~", false)];
    all.push(key.iter().flat_map(slashed).collect());
    all.retain(|spelling| spelling != key);
    all.dedup();
    all
}

/// All spellings of one key.
pub(crate) struct Needles {
    states: Vec<State>,
    /// The transitions of the first state, where ordinary text spends its time. Zero is none.
    first: Box<[u32; 256]>,
    window: usize,
}

struct State {
    next: Vec<(u8, u32)>,
    link: u32,
    len: u32,
}

impl Needles {
    /// The spellings of `key`: as it is, reversed, as addresses and JSON have it, and in base64 and hexadecimal.
    pub(crate) fn new(key: &str) -> Option<Self> {
        if key.len() < KEY_BYTES_MIN {
            return None;
        }
        let bytes = &key.as_bytes()[..key.len().min(KEY_BYTES_MAX)];
        let mut spellings = vec![bytes.to_vec()];
        if bytes.len() <= KEY_BYTES_LONG {
            let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
            spellings.extend([bytes.iter().rev().copied().collect(), hex.to_ascii_uppercase().into_bytes(), hex.into_bytes()]);
            spellings.extend(escaped(bytes));
        }
        for shift in 0..3 {
            // Three alignments, without the characters that the neighbours of the key would change.
            let padded = [&b"\0\0"[..shift], bytes].concat();
            for engine in [&STANDARD, &URL_SAFE] {
                let text = engine.encode(&padded).into_bytes();
                let skip = (shift * 8).div_ceil(6);
                let keep = (padded.len() * 8) / 6;
                spellings.push(text[skip..keep.max(skip)].to_vec());
            }
        }
        let root = State { next: Vec::new(), link: 0, len: 0 };
        let mut needles = Self { states: vec![root], first: Box::new([0; 256]), window: WINDOW.min(bytes.len()) };
        for spelling in spellings {
            needles.add(&spelling);
        }
        for (byte, next) in needles.states[0].next.clone() {
            needles.first[usize::from(byte)] = next;
        }
        Some(needles)
    }

    /// Adds one text: the classic on-line construction of a suffix automaton, begun anew for each text.
    fn add(&mut self, text: &[u8]) {
        let mut last = 0u32;
        for &byte in text {
            last = self.extend(last, byte);
        }
    }

    fn extend(&mut self, last: u32, byte: u8) -> u32 {
        if let Some(known) = self.next(last, byte) {
            if self.at(known).len == self.at(last).len + 1 {
                return known;
            }
            return self.split(last, byte, known);
        }
        let len = self.at(last).len + 1;
        let new = self.push(State { next: Vec::new(), link: 0, len });
        let mut walk = last;
        loop {
            if let Some(known) = self.next(walk, byte) {
                let link = if self.at(known).len == self.at(walk).len + 1 { known } else { self.split(walk, byte, known) };
                self.states[new as usize].link = link;
                return new;
            }
            self.set(walk, byte, new);
            if walk == 0 {
                return new;
            }
            walk = self.at(walk).link;
        }
    }

    /// Makes a copy of `known` that ends the shorter strings coming from `from`.
    fn split(&mut self, from: u32, byte: u8, known: u32) -> u32 {
        let copy = State { next: self.at(known).next.clone(), link: self.at(known).link, len: self.at(from).len + 1 };
        let copy = self.push(copy);
        self.states[known as usize].link = copy;
        let mut walk = from;
        while self.next(walk, byte) == Some(known) {
            self.set(walk, byte, copy);
            if walk == 0 {
                break;
            }
            walk = self.at(walk).link;
        }
        copy
    }

    fn push(&mut self, state: State) -> u32 {
        self.states.push(state);
        u32::try_from(self.states.len() - 1).expect("a key is at most 8 KiB, so its states are few")
    }

    fn next(&self, state: u32, byte: u8) -> Option<u32> {
        self.at(state).next.iter().find(|(b, _)| *b == byte).map(|(_, next)| *next)
    }

    fn set(&mut self, state: u32, byte: u8, to: u32) {
        let next = &mut self.states[state as usize].next;
        match next.iter_mut().find(|(b, _)| *b == byte) {
            Some(entry) => entry.1 = to,
            None => next.push((byte, to)),
        }
    }

    fn at(&self, state: u32) -> &State {
        &self.states[state as usize]
    }

    /// Blanks every window of a key in a text that is whole.
    pub(crate) fn scrub_whole(&self, text: &mut [u8]) {
        let mut place = Place::default();
        for end in 0..text.len() {
            self.step(&mut place, text[end]);
            if place.len >= self.window {
                text[end + 1 - place.len..=end].fill(b'*');
            }
        }
    }

    fn step(&self, place: &mut Place, byte: u8) {
        loop {
            if place.state == 0 {
                let state = self.first[usize::from(byte)];
                *place = Place { state, len: usize::from(state != 0) };
                return;
            }
            if let Some(next) = self.next(place.state, byte) {
                *place = Place { state: next, len: place.len + 1 };
                return;
            }
            place.state = self.at(place.state).link;
            place.len = self.at(place.state).len as usize;
        }
    }
}

/// The longest ending of what has passed that is part of a key.
#[derive(Clone, Copy, Default)]
struct Place {
    state: u32,
    len: usize,
}

/// Scrubs one stream.
pub(crate) struct Scrubber {
    needles: std::sync::Arc<Needles>,
    place: Place,
    held: BytesMut,
}

impl Scrubber {
    pub(crate) fn new(needles: std::sync::Arc<Needles>) -> Self {
        Self { needles, place: Place::default(), held: BytesMut::new() }
    }

    /// Takes the next piece and gives what may pass now. The stream keeps its length.
    pub(crate) fn feed(&mut self, piece: Bytes) -> Bytes {
        let before = self.held.len();
        // The common case touches nothing: no window is complete and nothing is held.
        let mut hit = false;
        let start = self.place;
        let mut place = start;
        for &byte in &piece {
            self.needles.step(&mut place, byte);
            hit |= place.len >= self.needles.window;
        }
        self.place = place;
        if before == 0 && !hit && place.len == 0 {
            return piece;
        }
        self.held.extend_from_slice(&piece);
        if hit {
            let mut place = start;
            for end in before..self.held.len() {
                self.needles.step(&mut place, self.held[end]);
                if place.len >= self.needles.window {
                    // What was part of a longer match is blank already or still held, so it lies in `held` or is gone as `*`.
                    let from = (end + 1).saturating_sub(place.len);
                    self.held[from..=end].fill(b'*');
                }
            }
        }
        // A match that reached the window is blanked, so it need not be held.
        let keep = if place.len >= self.needles.window { 0 } else { place.len };
        self.held.split_to(self.held.len() - keep.min(self.held.len())).freeze()
    }

    /// Bytes that are held back.
    pub(crate) fn held(&self) -> u64 {
        self.held.len() as u64
    }

    /// Whether nothing is held back.
    pub(crate) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// What is still held at the end.
    pub(crate) fn finish(&mut self) -> Bytes {
        self.held.split().freeze()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const KEY: &str = "sk-ant-api03-CANARY0123456789abcdefXYZ";

    fn pass(text: &[u8], cut: usize) -> Vec<u8> {
        let mut scrubber = Scrubber::new(Arc::new(Needles::new(KEY).unwrap()));
        let mut out = Vec::new();
        for piece in text.chunks(cut) {
            out.extend_from_slice(&scrubber.feed(Bytes::copy_from_slice(piece)));
        }
        out.extend_from_slice(&scrubber.finish());
        out
    }

    #[test]
    fn no_spelling_passes_at_any_split() {
        let base64: Vec<String> = ["", "a", "ab"].iter().map(|p| STANDARD.encode(format!("{p}{KEY}zz"))).collect();
        let hex: String = KEY.bytes().map(|b| format!("{b:02x}")).collect();
        let reversed: String = KEY.chars().rev().collect();
        let spellings =
            [KEY, &KEY[7..], &KEY[..KEY.len() - 7], &KEY[10..28], &base64[0], &base64[1], &base64[2], &hex, &hex.to_uppercase(), &reversed];
        for spelling in spellings {
            let text = format!("{{\"echo\":\"x-api-key: {spelling}\"}} and again {spelling}\n");
            for cut in 1..text.len() {
                let out = String::from_utf8(pass(text.as_bytes(), cut)).unwrap();
                assert_eq!(out.len(), text.len());
                for at in 0..spelling.len().saturating_sub(WINDOW) {
                    let part = &spelling[at..at + WINDOW];
                    // The edges of a base64 text hold its neighbours too.
                    let inner = at >= 3 && at + WINDOW + 3 <= spelling.len();
                    assert!(!out.contains(part) || !(inner || base64.iter().all(|b| b != spelling)), "{part} in {out} cut {cut}");
                }
            }
        }
    }

    #[test]
    fn ordinary_text_passes_unchanged_and_at_once() {
        let needles = Arc::new(Needles::new(KEY).unwrap());
        let mut scrubber = Scrubber::new(needles);
        for event in
            ["data: {\"delta\":\"write sk-ant-api03-... as x-api-key\"}\n\n", "data: {\"t\":\"abcdef 0123456789\"}\n\n", "data: [DONE]\n\n"]
        {
            assert_eq!(scrubber.feed(Bytes::from(event)), event);
        }
        assert!(Needles::new("short").is_none());
    }
}
