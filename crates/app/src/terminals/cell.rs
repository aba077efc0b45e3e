//! How a character looks.

use super::parse::Csi;

/// A colour: 0 is the terminal's own; else an index or a mix, by the first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Colour(u32);

const INDEXED: u32 = 1 << 24;
const MIXED: u32 = 2 << 24;

/// Bold, faint, italic, underlined, blinking, reversed, hidden, struck out: bit N-1 for parameter N.
const FLAGS: u16 = 0b1_1101_1111;

/// How a character looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Style {
    fore: Colour,
    back: Colour,
    flags: u16,
}

/// One place of the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cell {
    /// The character; NUL for the second half of a wide one.
    pub(super) c: char,
    pub(super) style: Style,
}

impl Cell {
    /// An empty place on a ground of this colour.
    pub(super) fn empty(style: Style) -> Self {
        Self { c: ' ', style: Style { back: style.back, ..Style::default() } }
    }

    pub(super) fn is_blank(&self) -> bool {
        *self == Self::empty(Style::default())
    }
}

impl Style {
    /// Does `CSI ... m`.
    pub(super) fn set(&mut self, csi: &Csi) {
        let mut at = 0;
        if csi.params.is_empty() {
            *self = Self::default();
        }
        while at < csi.params.len() {
            let end = (at + 1..csi.params.len()).find(|i| !csi.is_joined(*i)).unwrap_or(csi.params.len());
            let param = csi.params[at];
            match param {
                0 => *self = Self::default(),
                4 if end > at + 1 && csi.params[at + 1] == 0 => self.flags &= !(1 << 3),
                1..=9 => self.flags |= (1 << (param - 1)) & FLAGS,
                21 => self.flags |= 1 << 3,
                22 => self.flags &= !0b11,
                23..=29 => self.flags &= !(1 << (param - 21)),
                30..=37 => self.fore = Colour(INDEXED | u32::from(param - 30)),
                39 => self.fore = Colour::default(),
                40..=47 => self.back = Colour(INDEXED | u32::from(param - 40)),
                49 => self.back = Colour::default(),
                90..=97 => self.fore = Colour(INDEXED | u32::from(param - 82)),
                100..=107 => self.back = Colour(INDEXED | u32::from(param - 92)),
                38 | 48 | 58 => {
                    let (colour, next) = mixed(csi, at, end);
                    match (param, colour) {
                        (38, Some(colour)) => self.fore = colour,
                        (48, Some(colour)) => self.back = colour,
                        _ => {}
                    }
                    at = next;
                    continue;
                }
                _ => {}
            }
            at = end;
        }
    }

    /// What makes a terminal write like this.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let mut text = "\x1b[0".to_owned();
        for n in 1..=9 {
            if self.flags & (1 << (n - 1)) != 0 {
                text.push_str(&format!(";{n}"));
            }
        }
        for (base, colour) in [(38, self.fore), (48, self.back)] {
            let Colour(value) = colour;
            match value & !0xff_ffff {
                INDEXED => text.push_str(&format!(";{base};5;{}", value & 0xff)),
                MIXED => text.push_str(&format!(";{base};2;{};{};{}", value >> 16 & 0xff, value >> 8 & 0xff, value & 0xff)),
                _ => {}
            }
        }
        text.push('m');
        out.extend_from_slice(text.as_bytes());
    }
}

/// The colour that stands after parameter `at`, and where the next parameter is.
fn mixed(csi: &Csi, at: usize, end: usize) -> (Option<Colour>, usize) {
    let mix = |rgb: &[u16]| match rgb {
        [r, g, b, ..] => Some(Colour(MIXED | rgb_of(*r) << 16 | rgb_of(*g) << 8 | rgb_of(*b))),
        _ => None,
    };
    let index = |n: Option<&u16>| n.map(|n| Colour(INDEXED | rgb_of(*n)));
    // With colons all of it is one parameter, perhaps with a colour space in it.
    let is_joined = end > at + 1;
    let rest = if is_joined { &csi.params[at + 1..end] } else { &csi.params[at + 1..] };
    match (rest.first(), is_joined) {
        (Some(5), true) => (index(rest.get(1)), end),
        (Some(2), true) if rest.len() >= 5 => (mix(&rest[2..]), end),
        (Some(2), true) => (mix(&rest[1..]), end),
        (Some(5), false) => (index(rest.get(1)), (at + 3).min(csi.params.len())),
        (Some(2), false) => (mix(&rest[1..]), (at + 5).min(csi.params.len())),
        _ => (None, end),
    }
}

fn rgb_of(value: u16) -> u32 {
    u32::from(value.min(255))
}
