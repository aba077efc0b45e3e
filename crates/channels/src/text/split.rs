//! Texts in pieces that a platform takes.

/// How a platform counts a character.
pub(crate) type Measure = fn(char) -> usize;

/// Each character counts one.
pub(crate) fn characters(_: char) -> usize {
    1
}

/// Characters beyond the first plane count two.
pub(crate) fn utf16(c: char) -> usize {
    c.len_utf16()
}

/// What a fence that is closed and opened again needs.
const FENCE: usize = 8;

/// Cuts a text into pieces of at most `max`: between paragraphs where it can, else between lines, words, characters. A block of
/// code that is cut is closed and opened again. The host cuts already; this is for what counts differently on the platform.
pub(crate) fn split(text: &str, max: usize, measure: Measure) -> Vec<String> {
    let mut pieces = Vec::new();
    let mut rest = text.to_owned();
    while rest.chars().map(measure).sum::<usize>() > max {
        let at = cut(&rest, max.saturating_sub(FENCE).max(1), measure);
        let (piece, tail) = rest.split_at(at);
        let open = piece.lines().filter(|line| line.trim_start().starts_with("```")).count() % 2 == 1;
        let (mut piece, mut tail) = (piece.trim_end().to_owned(), tail.trim_start_matches('\n').to_owned());
        // With too little room for fences the text goes on without them.
        if open && max > 4 * FENCE {
            piece.push_str("\n```");
            tail.insert_str(0, "```\n");
        }
        if !piece.trim().is_empty() {
            pieces.push(piece);
        }
        rest = tail;
    }
    if !rest.trim().is_empty() || pieces.is_empty() {
        pieces.push(rest);
    }
    pieces
}

/// Where to cut: at least one character from the beginning.
fn cut(text: &str, max: usize, measure: Measure) -> usize {
    let mut sum = 0;
    let mut end = 0;
    for (at, c) in text.char_indices() {
        sum += measure(c);
        if sum > max && at > 0 {
            break;
        }
        end = at + c.len_utf8();
    }
    let head = &text[..end];
    // A cut so early that little is left of the piece is worse than one inside a paragraph.
    let late = |at: &usize| *at > end / 3;
    let found = head.rfind("\n\n").filter(late).or_else(|| head.rfind('\n').filter(late));
    found.or_else(|| head.rfind(' ').map(|at| at + 1).filter(late)).unwrap_or(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_are_where_they_hurt_least() {
        assert_eq!(split("short", 10, characters), ["short"]);
        assert_eq!(split("", 10, characters), [""]);
        assert_eq!(split("one two three\n\nfour five six", 24, characters), ["one two three", "four five six"]);
        let code = format!("```\n{}```", "line of code\n".repeat(10));
        let pieces = split(&code, 60, characters);
        assert!(pieces.len() > 1 && pieces.iter().all(|p| p.matches("```").count() == 2 && p.chars().count() <= 60), "{pieces:?}");
    }

    proptest::proptest! {
        #[test]
        fn pieces_fit_and_nothing_is_lost(text in "([a-zé\u{1F600} \\n`]{0,40}(```\\n)?){0,12}", max in 1usize..80) {
            for measure in [characters as Measure, utf16] {
                let max = max.max(2);
                let pieces = split(&text, max, measure);
                for piece in &pieces {
                    proptest::prop_assert!(piece.chars().map(measure).sum::<usize>() <= max.max(10), "{:?}", piece);
                }
                let kept = |text: &str| text.chars().filter(|c| c.is_alphanumeric() || *c == '\u{1F600}').collect::<String>();
                proptest::prop_assert_eq!(kept(&text), pieces.iter().map(|p| kept(p)).collect::<String>());
            }
        }
    }
}
