//! Values that are known, wherever they stand and however they are written.
//!
//! Of each spelling every piece of [`WINDOW`] bytes is known, so one that lost its ends is found as well. Such a piece in a
//! text holds one of the text's own blocks of eight bytes at a multiple of eight; so only one look in eight bytes is needed to pass over a text that holds
//! none, and what a hostile text can cost is bounded. Spellings shorter than a piece are looked for as a whole.

use std::ops::Range;

use aho_corasick::AhoCorasick;

use crate::spellings;

/// Bytes of a value in a row that give it away. Longer than the public beginnings of keys.
pub const WINDOW: usize = 16;
/// Bytes of a block that is looked at.
const BLOCK: usize = 8;
/// What stands in place of each byte where the length must stay.
const MASK: u8 = b'*';

/// Values that are known, in all spellings. Cheap to look with, dear to make.
#[derive(Debug, Default)]
pub struct Known {
    /// All pieces, as numbers in their order.
    windows: Vec<u128>,
    blocks: Filter,
    pieces: Filter,
    /// Spellings that are shorter than a piece, in order, and what finds them.
    short: Vec<Vec<u8>>,
    short_finder: Option<AhoCorasick>,
}

impl Known {
    /// Knows these values. Those shorter than 8 bytes are words, and are not looked for.
    #[must_use]
    pub fn new<'a>(values: impl IntoIterator<Item = &'a str>) -> Self {
        let (mut windows, mut blocks, mut short) = (Vec::new(), Vec::new(), Vec::new());
        for spellings in values.into_iter().map(spellings::of) {
            let is_public = |piece: &[u8]| spellings.public.iter().any(|public| public.windows(WINDOW).any(|window| window == piece));
            for spelling in spellings.all.iter().filter(|spelling| spelling.len() < WINDOW) {
                short.push(spelling.clone());
            }
            for piece in spellings.all.iter().flat_map(|spelling| spelling.windows(WINDOW)).filter(|piece| !is_public(piece)) {
                windows.push(number(piece));
                blocks.extend(piece.windows(BLOCK).map(block));
            }
        }
        windows.sort_unstable();
        windows.dedup();
        blocks.sort_unstable();
        blocks.dedup();
        short.sort_unstable();
        short.dedup();
        let short_finder = (!short.is_empty()).then(|| AhoCorasick::new(&short).ok()).flatten();
        Self {
            blocks: Filter::new(blocks.iter().map(|block| mix(*block))),
            pieces: Filter::new(windows.iter().map(|window| mix_wide(*window))),
            windows,
            short,
            short_finder,
        }
    }

    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.windows.is_empty() && self.short.is_empty()
    }

    /// Where known values stand, in order; ranges do not touch.
    #[must_use]
    pub fn find(&self, text: &[u8]) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        if !self.windows.is_empty() {
            self.find_windows(text, &mut found);
        }
        if let Some(finder) = &self.short_finder {
            found.extend(finder.find_overlapping_iter(text).map(|hit| hit.range()));
        }
        merge(found)
    }

    fn find_windows(&self, text: &[u8], found: &mut Vec<Range<usize>>) {
        let blocks = text.chunks_exact(BLOCK).enumerate().filter(|(_, bytes)| self.blocks.may_hold(mix(block(bytes))));
        for (n, _) in blocks {
            let at = n * BLOCK;
            // The first block within a piece is this one: the piece begins here or less than a block before.
            for from in at.saturating_sub(BLOCK - 1)..=at {
                let Some(piece) = text.get(from..from + WINDOW) else { break };
                if self.has(number(piece)) {
                    found.push(from..from + WINDOW);
                }
            }
        }
    }

    fn has(&self, window: u128) -> bool {
        self.pieces.may_hold(mix_wide(window)) && self.windows.binary_search(&window).is_ok()
    }

    /// Puts `*` over every known value. The length stays. Gives the number of places.
    pub fn mask(&self, text: &mut [u8]) -> usize {
        let found = self.find(text);
        for range in &found {
            text[range.clone()].fill(MASK);
        }
        found.len()
    }

    /// Bytes at the end of `text` with which a known value may begin.
    pub(crate) fn begun(&self, text: &[u8]) -> usize {
        let most = text.len().min(WINDOW - 1);
        (1..=most).rev().find(|length| self.may_begin_with(&text[text.len() - length..])).unwrap_or(0)
    }

    fn may_begin_with(&self, start: &[u8]) -> bool {
        let mut padded = [0; WINDOW];
        padded[..start.len()].copy_from_slice(start);
        let least = u128::from_be_bytes(padded);
        let next = self.windows.partition_point(|window| *window < least);
        let is_long = self.windows.get(next).is_some_and(|window| window.to_be_bytes().starts_with(start));
        let next = self.short.partition_point(|short| short.as_slice() < start);
        is_long || self.short.get(next).is_some_and(|short| short.len() > start.len() && short.starts_with(start))
    }
}

/// Puts ranges in order and joins those that touch.
pub(crate) fn merge(mut ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    ranges.sort_unstable_by_key(|range| range.start);
    let mut merged: Vec<Range<usize>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

fn number(piece: &[u8]) -> u128 {
    u128::from_be_bytes(piece.try_into().expect("a piece has 16 bytes"))
}

fn block(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(bytes.try_into().expect("a block has 8 bytes"))
}

fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x ^ (x >> 29)
}

#[expect(clippy::cast_possible_truncation, reason = "the halves of 128 bits")]
fn mix_wide(x: u128) -> u64 {
    mix((x >> 64) as u64 ^ mix(x as u64))
}

/// Says of most numbers that they are not in a set, in one look at memory.
#[derive(Debug, Default)]
struct Filter {
    words: Vec<u64>,
}

impl Filter {
    /// Bits for each number: about one look in a hundred finds what is not there.
    const BITS_EACH: usize = 16;

    fn new(hashes: impl ExactSizeIterator<Item = u64>) -> Self {
        let words = (hashes.len() * Self::BITS_EACH / 64).next_power_of_two();
        let mut filter = Self { words: vec![0; words] };
        for hash in hashes {
            let (at, bits) = filter.place(hash);
            filter.words[at] |= bits;
        }
        filter
    }

    fn place(&self, hash: u64) -> (usize, u64) {
        let bits = (1 << (hash & 63)) | (1 << ((hash >> 6) & 63)) | (1 << ((hash >> 12) & 63));
        ((hash >> 20) as usize & (self.words.len() - 1), bits)
    }

    fn may_hold(&self, hash: u64) -> bool {
        let (at, bits) = self.place(hash);
        self.words[at] & bits == bits
    }
}
