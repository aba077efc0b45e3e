//! Cuts what a program writes to its terminal into characters, controls and sequences. Whatever it is given, it holds a few
//! hundred bytes and gives out only what is whole.

/// Parameters of one sequence that are kept. A colour takes six at most; what comes after is dropped.
const PARAMS_MAX: usize = 24;
/// Intermediate bytes of one sequence that are kept; a sequence with more means nothing to us.
const INTERMEDIATES_MAX: usize = 2;

/// One thing that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// A character that can be shown.
    Text(char),
    /// A control character: BEL, BS, HT, LF, CR, SO or SI.
    Control(u8),
    /// `ESC`, at most one intermediate byte (0 for none), a last byte.
    Escape(u8, u8),
    /// `ESC [ ...`.
    Csi(Csi),
}

/// A control sequence.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Csi {
    /// `?`, `>`, `<`, `=`, or 0.
    pub(super) private: u8,
    /// What stands between parameters and the last byte.
    pub(super) intermediates: Vec<u8>,
    /// The numbers; one that is left out is 0.
    pub(super) params: Vec<u16>,
    /// Which of them belong to the one before, with a colon.
    pub(super) joined: u32,
    /// The last byte, which names the sequence.
    pub(super) last: u8,
}

impl Csi {
    /// A parameter where 0 stands for 1, as in most movements.
    pub(super) fn count(&self, at: usize) -> usize {
        usize::from(self.params.get(at).copied().unwrap_or(0).max(1))
    }

    /// A parameter as it is; 0 where there is none.
    pub(super) fn param(&self, at: usize) -> u16 {
        self.params.get(at).copied().unwrap_or(0)
    }

    /// Whether this parameter belongs to the one before.
    pub(super) fn is_joined(&self, at: usize) -> bool {
        at < 32 && self.joined & (1 << at) != 0
    }

    /// The sequence as bytes.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\x1b[");
        if self.private != 0 {
            out.push(self.private);
        }
        for (at, param) in self.params.iter().enumerate() {
            if at > 0 {
                out.push(if self.is_joined(at) { b':' } else { b';' });
            }
            out.extend_from_slice(param.to_string().as_bytes());
        }
        out.extend_from_slice(&self.intermediates);
        out.push(self.last);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Ground,
    Escape,
    EscapeWith(u8),
    Csi,
    /// A sequence that means nothing: read to its last byte.
    CsiLost,
    /// The string of an OSC, DCS, APC, PM or SOS: read to its end and dropped. `true`: BEL ends it as well.
    Text(bool),
    /// The same, after an `ESC` in it.
    TextEscape(bool),
}

/// The reader.
#[derive(Debug, Default)]
pub(super) struct Parser {
    state: State,
    csi: Csi,
    /// Bytes of a character that is not whole.
    partial: [u8; 4],
    held: usize,
    wanted: usize,
}

impl Parser {
    /// Reads a byte; hands on what became whole.
    pub(super) fn byte(&mut self, byte: u8, out: &mut impl FnMut(Token)) {
        if self.held > 0 {
            if (0x80..0xc0).contains(&byte) {
                self.partial[self.held] = byte;
                self.held += 1;
                if self.held == self.wanted {
                    let text = std::str::from_utf8(&self.partial[..self.held]).ok().and_then(|t| t.chars().next());
                    self.held = 0;
                    self.char(text.unwrap_or(char::REPLACEMENT_CHARACTER), out);
                }
                return;
            }
            self.held = 0;
            self.char(char::REPLACEMENT_CHARACTER, out);
        }
        match byte {
            // Ends whatever sequence there was.
            0x18 | 0x1a => self.state = State::Ground,
            0x1b => self.escape(),
            _ => self.plain(byte, out),
        }
    }

    fn escape(&mut self) {
        self.state = match self.state {
            State::Text(bell) => State::TextEscape(bell),
            _ => State::Escape,
        };
    }

    fn plain(&mut self, byte: u8, out: &mut impl FnMut(Token)) {
        match self.state {
            State::Text(bell) => {
                if bell && byte == 7 {
                    self.state = State::Ground;
                }
            }
            State::TextEscape(_) if byte == b'\\' => self.state = State::Ground,
            State::TextEscape(_) => {
                // The string is broken off by another sequence.
                self.state = State::Escape;
                self.after_escape(byte, out);
            }
            // Controls stand within sequences, and are done at once.
            _ if byte < 0x20 => self.control(byte, out),
            State::Ground => self.ground(byte, out),
            State::Escape => self.after_escape(byte, out),
            State::EscapeWith(first) => match byte {
                0x20..=0x2f => self.state = State::EscapeWith(0xff),
                _ => {
                    self.state = State::Ground;
                    if first != 0xff && byte < 0x7f {
                        out(Token::Escape(first, byte));
                    }
                }
            },
            State::Csi => self.in_csi(byte, out),
            State::CsiLost => {
                if (0x40..0x7f).contains(&byte) {
                    self.state = State::Ground;
                }
            }
        }
    }

    fn ground(&mut self, byte: u8, out: &mut impl FnMut(Token)) {
        let wanted = match byte {
            0x20..=0x7e => return out(Token::Text(char::from(byte))),
            0x7f => return,
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            _ => return self.char(char::REPLACEMENT_CHARACTER, out),
        };
        self.partial[0] = byte;
        (self.held, self.wanted) = (1, wanted);
    }

    /// A character beyond ASCII. Those that are controls, or turn the direction of the text, are dropped.
    fn char(&mut self, c: char, out: &mut impl FnMut(Token)) {
        let turns =
            matches!(c, '\u{80}'..='\u{9f}' | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if self.state == State::Ground && !turns {
            out(Token::Text(c));
        }
    }

    fn control(&mut self, byte: u8, out: &mut impl FnMut(Token)) {
        match byte {
            7 | 8 | 9 | 10 | 13 | 14 | 15 => out(Token::Control(byte)),
            11 | 12 => out(Token::Control(10)),
            _ => {}
        }
    }

    fn after_escape(&mut self, byte: u8, out: &mut impl FnMut(Token)) {
        self.state = match byte {
            b'[' => {
                self.csi = Csi::default();
                State::Csi
            }
            b']' => State::Text(true),
            b'P' | b'X' | b'^' | b'_' => State::Text(false),
            0x20..=0x2f => State::EscapeWith(byte),
            0x30..=0x7e => {
                out(Token::Escape(0, byte));
                State::Ground
            }
            _ => State::Ground,
        };
    }

    fn in_csi(&mut self, byte: u8, out: &mut impl FnMut(Token)) {
        let csi = &mut self.csi;
        match byte {
            b'0'..=b'9' if csi.intermediates.is_empty() => {
                if csi.params.is_empty() {
                    csi.params.push(0);
                }
                if let Some(last) = csi.params.last_mut() {
                    *last = last.saturating_mul(10).saturating_add(u16::from(byte - b'0'));
                }
            }
            b';' | b':' if csi.intermediates.is_empty() => {
                if csi.params.is_empty() {
                    csi.params.push(0);
                }
                if csi.params.len() >= PARAMS_MAX {
                    self.state = State::CsiLost;
                    return;
                }
                if byte == b':' {
                    csi.joined |= 1 << csi.params.len();
                }
                csi.params.push(0);
            }
            b'<'..=b'?' if csi.params.is_empty() && csi.private == 0 && csi.intermediates.is_empty() => csi.private = byte,
            0x20..=0x2f if csi.intermediates.len() < INTERMEDIATES_MAX => csi.intermediates.push(byte),
            0x40..=0x7e => {
                csi.last = byte;
                self.state = State::Ground;
                out(Token::Csi(std::mem::take(csi)));
            }
            _ => self.state = State::CsiLost,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(bytes: &[u8]) -> Vec<Token> {
        let (mut parser, mut found) = (Parser::default(), Vec::new());
        for byte in bytes {
            parser.byte(*byte, &mut |token| found.push(token));
        }
        found
    }

    fn text(bytes: &[u8]) -> String {
        tokens(bytes).into_iter().map(|t| if let Token::Text(c) = t { c } else { '·' }).collect()
    }

    #[test]
    fn strings_are_read_to_their_end_and_dropped() {
        for string in ["\x1b]52;c;aGk=\x07", "\x1b]0;title\x1b\\", "\x1bP$qm\x1b\\", "\x1b_x\x1b\\", "\x1b^x\x1b\\", "\x1bXx\x1b\\"] {
            assert_eq!(text(format!("a{string}b").as_bytes()), "ab", "{string:?}");
        }
        assert_eq!(text(b"a\x1b]0;never ended"), "a");
        // A bell is no end of a DCS; an escape that begins something else is the end of any.
        assert_eq!(text(b"\x1bPx\x07y\x1b[mz"), "·z");
        assert_eq!(text(b"\x1b]0;x\x18z"), "z", "cancelled");
    }

    #[test]
    fn what_is_no_character_is_shown_as_such_or_dropped() {
        assert_eq!(text(b"a\xffb\xe2\x82c"), "a\u{fffd}b\u{fffd}c");
        assert_eq!(text("a\u{9b}31mb\u{202e}c\u{85}".as_bytes()), "a31mbc", "no eight-bit controls, no direction");
        assert_eq!(text("é世🙂".as_bytes()), "é世🙂");
        assert_eq!(text(b"\xf0\x9f"), "");
    }

    #[test]
    fn sequences_are_taken_apart_and_put_together() {
        for (given, same) in [
            ("\x1b[1;31m", true),
            ("\x1b[38:2:1:2:3m", true),
            ("\x1b[38:2::1:2:3m", false),
            ("\x1b[?1049h", true),
            ("\x1b[0 q", true),
            ("\x1b[H", true),
        ] {
            let [Token::Csi(csi)] = &tokens(given.as_bytes())[..] else { panic!("{given:?}") };
            let mut out = Vec::new();
            csi.write(&mut out);
            assert_eq!(String::from_utf8_lossy(&out) == given, same, "{given:?}");
        }
        let many = format!("\x1b[{}mx", "1;".repeat(1000));
        assert_eq!(text(many.as_bytes()), "x", "lost whole");
        assert_eq!(tokens(b"\x1b[99999999999A")[0], Token::Csi(Csi { params: vec![u16::MAX], last: b'A', ..Csi::default() }));
        assert_eq!(tokens(b"\x1b(0\x1b7"), [Token::Escape(b'(', b'0'), Token::Escape(0, b'7')]);
    }
}
