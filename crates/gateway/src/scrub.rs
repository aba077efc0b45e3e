//! Takes the host's key out of what a provider sends back, in the spellings that a mirror would use, wherever the pieces break.

use std::sync::Arc;

use bytes::Bytes;
use sanitize::{Known, Stream};

/// All spellings of one key.
pub(crate) struct Needles(Arc<Known>);

impl Needles {
    /// What is looked for of a key; `None` for one that is too short to be a secret.
    pub(crate) fn new(key: &str) -> Option<Self> {
        let known = Known::new([key]);
        (!known.is_empty()).then(|| Self(Arc::new(known)))
    }

    /// Blanks every piece of a key in a text that is whole.
    pub(crate) fn scrub_whole(&self, text: &mut [u8]) {
        self.0.mask(text);
    }
}

/// Scrubs one stream. It keeps its length, and is held back only where a key may begin.
pub(crate) struct Scrubber(Stream);

impl Scrubber {
    pub(crate) fn new(needles: Arc<Needles>) -> Self {
        Self(Stream::new(Arc::clone(&needles.0)))
    }

    /// Takes the next piece and gives what may pass now.
    pub(crate) fn feed(&mut self, piece: Bytes) -> Bytes {
        self.0.feed(piece)
    }

    /// Bytes that are held back.
    pub(crate) fn held(&self) -> u64 {
        self.0.held()
    }

    /// Whether nothing is held back.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is still held at the end.
    pub(crate) fn finish(&mut self) -> Bytes {
        self.0.finish()
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use sanitize::WINDOW;

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
