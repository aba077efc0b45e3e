//! Small work on text that others wrote.

/// The text of bytes that end somewhere within a longer one, without a character that is cut at the end, and how many of
/// the bytes it stands for. What is no UTF-8 is replaced.
pub(crate) fn cut_at(bytes: &[u8]) -> (String, usize) {
    let mut used = bytes.len();
    // A character has at most four bytes: only the last three can belong to one that is cut.
    for back in 1..=3.min(bytes.len()) {
        let lead = bytes[bytes.len() - back];
        if lead & 0xc0 == 0x80 {
            continue;
        }
        let length = match lead {
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            _ => 1,
        };
        // Nothing at all would make a reader ask for the same bytes for ever.
        if length > back && bytes.len() > back {
            used = bytes.len() - back;
        }
        break;
    }
    (String::from_utf8_lossy(&bytes[..used]).into_owned(), used)
}

/// At most `max` characters, the last of them an ellipsis if some are missing.
pub(crate) fn shorten(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        return text.to_owned();
    }
    text.chars().take(max.saturating_sub(1)).chain(['…']).collect()
}

/// Whether a character can make text look like something else than it is: it is not seen, or turns the direction around.
pub(crate) fn is_deceptive(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    ) || (c.is_control() && c != '\n' && c != '\t')
}

/// Text for agents: without control characters but line ends and tabs, and without what is not seen.
pub(crate) fn visible(text: &str) -> String {
    text.replace("\r\n", "\n").chars().filter(|c| !is_deceptive(*c)).collect()
}

/// One line of visible text.
pub(crate) fn one_line(text: &str) -> String {
    visible(text).split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cut_characters_wait() {
        assert_eq!(cut_at("aä".as_bytes()), ("aä".to_owned(), 3));
        assert_eq!(cut_at(&"a€".as_bytes()[..3]), ("a".to_owned(), 1));
        assert_eq!(cut_at(&"🙂".as_bytes()[..2]).1, 2);
        assert_eq!(cut_at(b"ab\xff"), ("ab\u{fffd}".to_owned(), 3));
        assert_eq!(shorten("abcdef", 4), "abc…");
        assert_eq!(one_line("a\u{202e}b\r\n  c\u{200b}"), "ab c");
    }
}
