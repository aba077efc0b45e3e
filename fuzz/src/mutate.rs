//! Deterministic mutations of byte strings.

/// The longest input. Longer ones cost time and find what shorter ones find.
pub(crate) const INPUT_BYTES_MAX: usize = 16 << 10;

/// Integers at the edges of their types, where lengths and counts go wrong.
const EDGES: &[u64] = &[0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x000f_ffff, 0x0010_0000, 0x0010_0001, 0x7fff_ffff, 0xffff_ffff, u64::MAX];

/// A small generator of numbers (SplitMix64): the same seed gives the same numbers everywhere.
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`; 0 when `end` is 0.
    #[expect(clippy::cast_possible_truncation, reason = "the remainder is below a usize")]
    pub(crate) fn below(&mut self, end: usize) -> usize {
        if end == 0 { 0 } else { (self.next() % end as u64) as usize }
    }
}

/// Changes `input` in a few places. `other` is a second input to take pieces from, `words` are byte strings that mean
/// something to the target.
pub(crate) fn mutate(input: &mut Vec<u8>, other: &[u8], words: &[&[u8]], numbers: &mut Numbers) {
    for _ in 0..=numbers.below(6) {
        once(input, other, words, numbers);
    }
    input.truncate(INPUT_BYTES_MAX);
}

#[expect(clippy::cast_possible_truncation, reason = "random bytes are cut on purpose")]
fn once(input: &mut Vec<u8>, other: &[u8], words: &[&[u8]], numbers: &mut Numbers) {
    let at = numbers.below(input.len() + 1);
    match numbers.below(10) {
        0 => flip(input, numbers),
        1 => {
            if let Some(byte) = input.get_mut(at) {
                *byte = numbers.next() as u8;
            }
        }
        2 => insert(input, at, &[numbers.next() as u8]),
        3 => {
            let len = numbers.below(input.len() - at + 1).min(1 + numbers.below(64));
            input.drain(at..at + len);
        }
        4 => {
            // The same piece several times: depth, floods, repeated keys.
            let len = numbers.below((input.len() - at).min(64) + 1);
            let piece = input[at..at + len].repeat(1 + numbers.below(64));
            insert(input, at, &piece);
        }
        5 => {
            let edge = EDGES[numbers.below(EDGES.len())].to_le_bytes();
            let width = [1, 2, 4, 8][numbers.below(4)];
            for (to, from) in input.iter_mut().skip(at).zip(&edge[..width]) {
                *to = *from;
            }
        }
        6 => {
            let from = numbers.below(other.len() + 1);
            let len = numbers.below(other.len() - from + 1);
            insert(input, at, &other[from..from + len]);
        }
        7 => {
            // The head of one and the tail of another.
            input.truncate(at);
            input.extend_from_slice(&other[numbers.below(other.len() + 1)..]);
        }
        8 => input.truncate(at),
        _ => {
            if let Some(word) = words.get(numbers.below(words.len())) {
                insert(input, at, word);
            }
        }
    }
}

fn flip(input: &mut [u8], numbers: &mut Numbers) {
    let at = numbers.below(input.len());
    if let Some(byte) = input.get_mut(at) {
        *byte ^= 1 << numbers.below(8);
    }
}

fn insert(input: &mut Vec<u8>, at: usize, piece: &[u8]) {
    let room = INPUT_BYTES_MAX.saturating_sub(input.len());
    let piece = &piece[..piece.len().min(room)];
    input.splice(at..at, piece.iter().copied());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_inputs_within_the_limit() {
        let inputs = |seed| {
            let mut numbers = Numbers::new(seed);
            let mut input = b"lazaret/1 gateway\n".to_vec();
            let mut all = Vec::new();
            for _ in 0..2_000 {
                mutate(&mut input, b"other", &[b"word"], &mut numbers);
                assert!(input.len() <= INPUT_BYTES_MAX);
                all.push(input.clone());
            }
            all
        };
        assert_eq!(inputs(7), inputs(7));
        assert_ne!(inputs(7), inputs(8));
    }
}
