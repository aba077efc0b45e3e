//! What a program inside prints on a person's terminal.

use app::{Screen, TERMINAL_RESET, Taken};

use super::{Target, hash};

pub(crate) const SCREEN: Target = Target {
    name: "terminal_screen",
    corpus: "terminal_screen",
    recorded: None,
    words: &[
        b"\x1b", b"\x1b[", b"\x1b]", b"\x1b]52;c;", b"\x1b]8;;", b"\x1bP", b"\x1b_", b"\x1b^", b"\x1bX", b"\x1b\\", b"\x07", b"\x18",
        b"\x1a", b"\x0e", b"\x0f", b"?", b">", b"=", b"!", b" ", b"$", b";", b":", b"0", b"4", b"65535", b"99999999999", b"1049", b"2026",
        b"2004", b"1000", b"h", b"l", b"m", b"n", b"c", b"t", b"i", b"q", b"p", b"r", b"H", b"J", b"K", b"L", b"M", b"P", b"@", b"X", b"S",
        b"T", b"b", b"s", b"u", b"\x1b(0", b"\x1b(B", b"\x1bc", b"\x1bM", b"\x1b7", b"\x1b8", b"\r\n", b"\t", b"\x08", b"\xe4\xb8\x96",
        b"\xc2\x9b", b"\xc2\x9d", b"\xe2\x80\xae", b"\xcc\x81", b"\xf0\x9f\x9a\xa2", b"\xff", b"\xe2\x80",
    ],
    run: screen,
};

/// Bytes of answers that one piece of output gets.
const ANSWER_BYTES_MAX: usize = 512;
/// Bytes of the rest that one input is cut into, so that sequences fall apart.
const PIECE_BYTES: usize = 7;

/// The first four bytes are two sizes, what follows is printed.
fn screen(input: &[u8]) -> u64 {
    let (sizes, rest) = input.split_at(input.len().min(4));
    let side = |n: usize| u16::from(sizes.get(n).copied().unwrap_or(0));
    let mut whole = Screen::new(side(0), side(1));
    let Taken { show: shown, answer: answered, .. } = whole.take(rest);
    let kinds = harmless(&shown);
    assert!(answered.len() <= ANSWER_BYTES_MAX, "a flood of answers");
    assert!(answered.iter().all(|b| matches!(b, 0x1b | 0x20..=0x7e)), "what is typed for the program holds {answered:?}");

    // In pieces the same comes of it; bells and answers are counted for each piece.
    let mut pieces = Screen::new(side(0), side(1));
    let parts: Vec<u8> = rest.chunks(PIECE_BYTES).flat_map(|piece| pieces.take(piece).show).collect();
    assert_eq!(quiet(&parts), quiet(&shown), "pieces come to something else");
    assert_eq!(pieces.text(), whole.text(), "pieces stand otherwise");

    // What was let through once is let through again as it is: nothing is made of two harmless things.
    let mut again = Screen::new(side(0), side(1));
    assert_eq!(quiet(&again.take(&shown).show), quiet(&shown), "what is shown is not what it seems");

    whole.resize(side(2), side(3));
    for history in [false, true] {
        let painted = whole.repaint(history);
        harmless(&painted);
        assert!(painted.is_empty() || painted.starts_with(TERMINAL_RESET), "who comes later begins with a clean terminal");
    }
    hash(&(kinds, answered.len(), whole.text().lines().count()))
}

fn quiet(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().copied().filter(|byte| *byte != 7).collect()
}

/// Fails where a terminal would do more with these bytes than show them; gives which sequences there are.
fn harmless(bytes: &[u8]) -> Vec<u8> {
    let text = std::str::from_utf8(bytes).unwrap_or_else(|e| panic!("{e} in what is shown"));
    let mut kinds = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\x07' | '\x08' | '\t' | '\n' | '\r' => {}
            '\x1b' => {
                let last = sequence(&mut chars);
                if !kinds.contains(&last) {
                    kinds.push(last);
                }
            }
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => panic!("the direction of the text is turned by {c:?}"),
            c => assert!(!c.is_control(), "the control {c:?} is shown"),
        }
    }
    kinds.sort_unstable();
    kinds
}

/// Reads what follows an `ESC`, which may be no string, question, report or anything that outlives the reset; gives its last byte.
fn sequence(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> u8 {
    let first = chars.next();
    if first != Some('[') {
        assert!(matches!(first, Some('7' | '8' | 'D' | 'E' | 'M' | '=' | '>')), "ESC {first:?} is shown");
        return first.map_or(0, |c| c as u8);
    }
    let private = chars.next_if(|c| matches!(c, '<' | '=' | '>' | '?'));
    let mut numbers = String::new();
    while let Some(c) = chars.next_if(|c| matches!(c, '0'..='9' | ';' | ':')) {
        numbers.push(c);
    }
    let between: String = std::iter::from_fn(|| chars.next_if(|c| matches!(c, ' '..='/'))).collect();
    let last = chars.next().unwrap_or_else(|| panic!("a sequence is not whole"));
    let is_known = match (private, between.as_str(), last) {
        (Some('?'), "", 'h' | 'l') => {
            ["1", "7", "12", "25", "1000", "1002", "1003", "1004", "1006", "2004", "2026", "1049"].contains(&numbers.as_str())
        }
        (None, "", 'h' | 'l') => numbers == "4",
        (None, "", 'J') => matches!(numbers.split(';').next(), Some("" | "0" | "1" | "2")),
        (None, "", last) => "ABCDEFGHIZKLMPSTXdefamrsu@`".contains(last),
        (None, " ", 'q') | (None, "!", 'p') => true,
        _ => false,
    };
    assert!(is_known, "CSI {private:?} {numbers} {between:?} {last:?} is shown");
    last as u8
}
