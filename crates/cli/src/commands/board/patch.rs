//! A unified diff as rows: as it is, or with both sides beside each other.

/// Lines of one file's changes that are kept.
pub(super) const LINES_MAX: usize = 20_000;

/// What a line of a diff is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Of the file's head, or between pieces.
    Head,
    /// On both sides.
    Same,
    /// Comes.
    Added,
    /// Goes.
    Removed,
}

/// A line of a diff.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) kind: Kind,
    /// Its numbers before and after.
    pub(super) before: Option<u64>,
    pub(super) after: Option<u64>,
    pub(super) text: String,
}

/// One side of a row.
pub(super) type Side<'a> = Option<&'a Line>;

/// The lines of a diff, and whether there were more.
pub(super) fn read(text: &str) -> (Vec<Line>, bool) {
    let mut lines = Vec::new();
    // Lines that the piece still has on each side: a line of a file that looks like a head is none.
    let (mut before, mut after) = (0u64, 0u64);
    let (mut left_before, mut left_after) = (0u64, 0u64);
    for raw in text.lines() {
        if lines.len() == LINES_MAX {
            return (lines, true);
        }
        let line = |kind, before, after, text: &str| Line { kind, before, after, text: text.to_owned() };
        if left_before == 0 && left_after == 0 {
            if let Some(((first, n), (other, m))) = piece(raw) {
                (before, left_before, after, left_after) = (first, n, other, m);
            }
            lines.push(line(Kind::Head, None, None, raw));
            continue;
        }
        let rest = raw.get(1..).unwrap_or_default();
        match raw.as_bytes().first() {
            Some(b'+') => {
                lines.push(line(Kind::Added, None, Some(after), rest));
                after = after.saturating_add(1);
                left_after = left_after.saturating_sub(1);
            }
            Some(b'-') => {
                lines.push(line(Kind::Removed, Some(before), None, rest));
                before = before.saturating_add(1);
                left_before = left_before.saturating_sub(1);
            }
            Some(b'\\') => lines.push(line(Kind::Head, None, None, raw)),
            _ => {
                lines.push(line(Kind::Same, Some(before), Some(after), rest));
                (before, after) = (before.saturating_add(1), after.saturating_add(1));
                (left_before, left_after) = (left_before.saturating_sub(1), left_after.saturating_sub(1));
            }
        }
    }
    (lines, false)
}

/// `@@ -1,2 +3,4 @@`: first line and number of lines of each side.
fn piece(line: &str) -> Option<((u64, u64), (u64, u64))> {
    let rest = line.strip_prefix("@@ -")?;
    let (spans, _) = rest.split_once(" @@")?;
    let (before, after) = spans.split_once(" +")?;
    let span = |text: &str| -> Option<(u64, u64)> {
        match text.split_once(',') {
            Some((first, n)) => Some((first.parse().ok()?, n.parse().ok()?)),
            None => Some((text.parse().ok()?, 1)),
        }
    };
    Some((span(before)?, span(after)?))
}

/// Both sides beside each other: what goes stands beside what comes in its place. A head stands on both.
pub(super) fn beside(lines: &[Line]) -> Vec<(Side<'_>, Side<'_>)> {
    let mut rows: Vec<(Side<'_>, Side<'_>)> = Vec::with_capacity(lines.len());
    let mut at = 0;
    while let Some(line) = lines.get(at) {
        match line.kind {
            Kind::Head | Kind::Same => {
                rows.push((Some(line), Some(line)));
                at += 1;
            }
            Kind::Added | Kind::Removed => {
                let run = |from: usize, kind: Kind| lines[from..].iter().take_while(|l| l.kind == kind).count();
                let gone = run(at, Kind::Removed);
                let come = run(at + gone, Kind::Added);
                for n in 0..gone.max(come) {
                    let left = (n < gone).then(|| &lines[at + n]);
                    let right = (n < come).then(|| &lines[at + gone + n]);
                    rows.push((left, right));
                }
                at += gone + come;
            }
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATCH: &str =
        "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1,4 +1,4 @@ fn\n a\n-b\n--- c\n+B\n++++ C\n d\n\\ No newline at end of file\n";

    #[test]
    fn lines_have_their_numbers() {
        let (lines, cut) = read(PATCH);
        assert!(!cut);
        let kinds: Vec<Kind> = lines.iter().map(|l| l.kind).collect();
        use Kind::{Added, Head, Removed, Same};
        assert_eq!(kinds, [Head, Head, Head, Head, Same, Removed, Removed, Added, Added, Same, Head]);
        assert_eq!((lines[6].text.as_str(), lines[6].before), ("-- c", Some(3)), "a removed line that looks like a head");
        assert_eq!((lines[8].text.as_str(), lines[8].after), ("+++ C", Some(3)));
        assert_eq!((lines[9].before, lines[9].after), (Some(4), Some(4)));
    }

    #[test]
    fn what_goes_stands_beside_what_comes() {
        let (lines, _) = read("@@ -1,2 +1,3 @@\n-a\n+b\n+c\n d\n");
        let texts: Vec<(Option<&str>, Option<&str>)> =
            beside(&lines).into_iter().map(|(l, r)| (l.map(|l| l.text.as_str()), r.map(|r| r.text.as_str()))).collect();
        assert_eq!(texts[1..], [(Some("a"), Some("b")), (None, Some("c")), (Some("d"), Some("d"))]);
    }

    #[test]
    fn nonsense_is_shown_as_it_is() {
        for text in ["", "@@ -x +y @@\n+a", "@@ -1 +1 @@", "@@ -18446744073709551615,9 +18446744073709551615,9 @@\n a\n a\n"] {
            let (lines, _) = read(text);
            assert_eq!(beside(&lines).len(), lines.len(), "{text}");
        }
        assert!(read(&"x\n".repeat(LINES_MAX + 1)).1);
    }
}
