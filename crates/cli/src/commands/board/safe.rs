//! Text for the board: whatever agents, files and models wrote is shown so that nothing of it steers the terminal, hides, or is
//! wider than it seems.

use ratatui::text::Span;

/// Marks without a width of their own that one letter may carry: scripts need them, heaps of them only garble.
const MARKS_MAX: usize = 2;
/// Cells of a tab.
const TAB: &str = "    ";
/// What stands where a text was cut.
const CUT: char = '…';

/// One line, harmless: controls, directions, invisible characters and those whose width terminals do not agree about are written out.
pub(super) fn shown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut marks = 0;
    for c in text.chars() {
        match c {
            '\t' => out.push_str(TAB),
            c if c.is_control() || is_hidden(c) || is_doubtful(c) => out.extend(c.escape_unicode()),
            c if char_width(c) > 0 => {
                marks = 0;
                out.push(c);
            }
            c if marks < MARKS_MAX && !out.is_empty() => {
                marks += 1;
                out.push(c);
            }
            c => out.extend(c.escape_unicode()),
        }
    }
    out
}

/// Bidirectional controls, what has no shape, separators of lines, tags and variation selectors.
fn is_hidden(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e000}'..='\u{f8ff}' | '\u{e0000}'..='\u{e0fff}' | '\u{f0000}'..)
}

/// What terminals join in ways of their own: flags, skins, jamo.
fn is_doubtful(c: char) -> bool {
    matches!(c, '\u{1f1e6}'..='\u{1f1ff}' | '\u{1f3fb}'..='\u{1f3ff}' | '\u{1100}'..='\u{11ff}' | '\u{a960}'..='\u{a97c}' | '\u{d7b0}'..='\u{d7fb}')
}

fn char_width(c: char) -> usize {
    Span::raw(c.encode_utf8(&mut [0; 4]) as &str).width()
}

/// Cells that a text takes.
pub(super) fn width(text: &str) -> usize {
    Span::raw(text).width()
}

/// Everything on one line.
pub(super) fn flat(text: &str) -> String {
    shown(&text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// A harmless text in at most `max` cells, with a mark where it was cut.
pub(super) fn fit(text: &str, max: usize) -> String {
    if width(text) <= max {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut used = 0;
    for c in text.chars() {
        let wide = char_width(c);
        if used + wide + 1 > max {
            break;
        }
        used += wide;
        out.push(c);
    }
    if max > 0 {
        out.push(CUT);
    }
    out
}

/// The same, filled up with spaces.
pub(super) fn cell(text: &str, max: usize) -> String {
    let mut out = fit(text, max);
    let used = width(&out);
    out.extend(std::iter::repeat_n(' ', max.saturating_sub(used)));
    out
}

/// The whole text in lines of at most `max` cells; nothing of it is left out.
pub(super) fn wrap(text: &str, max: usize) -> Vec<String> {
    let max = max.max(2);
    let mut lines = Vec::new();
    for line in text.split('\n') {
        let (mut out, mut used) = (String::new(), 0);
        for c in shown(line.strip_suffix('\r').unwrap_or(line)).chars() {
            let wide = char_width(c);
            if used + wide > max {
                lines.push(std::mem::take(&mut out));
                used = 0;
            }
            used += wide;
            out.push(c);
        }
        lines.push(out);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_or_hides_is_written_out() {
        assert_eq!(shown("a\x1b[2J\rb"), "a\\u{1b}[2J\\u{d}b");
        assert_eq!(shown("x\u{202e}y\u{200b}z\u{feff}\u{2066}"), "x\\u{202e}y\\u{200b}z\\u{feff}\\u{2066}");
        assert_eq!(shown("tag\u{e0041}\u{fe0f}"), "tag\\u{e0041}\\u{fe0f}");
        assert_eq!(shown("c1\u{9b}31m"), "c1\\u{9b}31m");
        assert_eq!(shown("a\tb"), "a    b");
        assert_eq!(shown("日本語 über é"), "日本語 über é");
    }

    #[test]
    fn marks_do_not_pile_up() {
        let heap = format!("a{}", "\u{301}".repeat(40));
        let text = shown(&heap);
        assert_eq!(text.chars().filter(|c| *c == '\u{301}').count(), MARKS_MAX);
        assert!(shown("\u{301}x").starts_with("\\u{301}"), "none without a letter");
    }

    #[test]
    fn texts_are_cut_by_cells() {
        assert_eq!(fit("日本語", 5), "日本…");
        assert_eq!(fit("日本語", 4), "日…");
        assert_eq!(fit("日本語", 6), "日本語");
        assert_eq!(fit("abc", 0), "");
        assert_eq!(cell("日本", 6), "日本  ");
        for max in 0..12 {
            assert!(width(&cell("a日b本c語d", max)) == max, "{max}");
        }
    }

    #[test]
    fn wrapping_leaves_nothing_out() {
        assert_eq!(wrap("abcdef\n\nx", 4), ["abcd", "ef", "", "x"]);
        assert_eq!(wrap("日本語", 3), ["日", "本", "語"]);
        assert_eq!(wrap("a\x1bb", 80), ["a\\u{1b}b"]);
    }
}
