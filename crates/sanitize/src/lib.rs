//! Takes credentials out of what is shown to an agent, logged or kept.
//!
//! First known values ([`Known`]), in every spelling that a mirror would use, then patterns of credentials that are not
//! known. Texts and JSON that are whole go through a [`Sanitizer`]; what passes in pieces through a [`Stream`], which knows
//! values only and keeps the length. Pure. Start at [`Sanitizer`].

mod known;
mod patterns;
mod spellings;
mod stream;
mod value;

use std::ops::Range;
use std::sync::Arc;

use serde_json::Value;

pub use known::{Known, WINDOW};
pub use stream::{Stream, TextStream};

/// What stands in place of a credential.
pub const REDACTED: &str = "[REDACTED]";
/// Places that are named of one value; more are counted in the last entry.
pub const PATHS_MAX: usize = 100;

/// Known values and patterns. Cheap to share behind an `Arc`; made anew when a secret changes.
#[derive(Debug, Default)]
pub struct Sanitizer {
    known: Arc<Known>,
}

impl Sanitizer {
    /// Knows these values.
    #[must_use]
    pub fn new<'a>(values: impl IntoIterator<Item = &'a str>) -> Self {
        Self { known: Arc::new(Known::new(values)) }
    }

    /// The values that are known.
    #[must_use]
    pub fn known(&self) -> &Arc<Known> {
        &self.known
    }

    /// Takes known values out of what passes in pieces. The stream keeps its length.
    #[must_use]
    pub fn stream(&self) -> Stream {
        Stream::new(Arc::clone(&self.known))
    }

    /// The same for texts: what comes out is whole characters.
    #[must_use]
    pub fn texts(&self) -> TextStream {
        TextStream::new(self.stream())
    }

    /// The text without credentials; `None` when there was none.
    #[must_use]
    pub fn text(&self, text: &str) -> Option<String> {
        let mut found = self.find(text.as_bytes());
        if found.is_empty() {
            return None;
        }
        for range in &mut found {
            // A piece of a known value can end within a character.
            range.start = (0..=range.start).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            range.end = (range.end..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
        }
        let mut out = String::with_capacity(text.len());
        let mut at = 0;
        for range in known::merge(found) {
            out.push_str(&text[at..range.start]);
            out.push_str(REDACTED);
            at = range.end;
        }
        out.push_str(&text[at..]);
        Some(out)
    }

    /// Takes credentials out of bytes that are whole; their length changes. Gives the number of places.
    pub fn bytes(&self, bytes: &mut Vec<u8>) -> usize {
        let found = self.find(bytes);
        if found.is_empty() {
            return 0;
        }
        let mut out = Vec::with_capacity(bytes.len());
        let mut at = 0;
        for range in &found {
            out.extend_from_slice(&bytes[at..range.start]);
            out.extend_from_slice(REDACTED.as_bytes());
            at = range.end;
        }
        out.extend_from_slice(&bytes[at..]);
        *bytes = out;
        found.len()
    }

    /// Cleans keys and values at every depth. Gives the JSON pointers of what was changed, at most [`PATHS_MAX`].
    pub fn value(&self, value: &mut Value) -> Vec<String> {
        let mut paths = value::Paths::default();
        self.walk(value, &mut paths);
        paths.finish()
    }

    fn find(&self, text: &[u8]) -> Vec<Range<usize>> {
        let mut found = patterns::find(text);
        let known = self.known.find(text);
        if known.is_empty() {
            return found;
        }
        found.extend(known);
        known::merge(found)
    }
}
