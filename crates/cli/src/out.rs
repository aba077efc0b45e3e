//! What commands print.

use std::io::Write;

use model::Failure;
use serde::Serialize;

use crate::client::internal;

/// Writes a line to standard output. A reader that has left is no failure of the command.
pub(crate) fn line(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// Writes a piece of text to standard output at once.
pub(crate) fn piece(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Writes a line for a person to standard error.
pub(crate) fn note(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Writes a value as one line of JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Failure> {
    line(&serde_json::to_string(value).map_err(|e| internal(&e.to_string()))?);
    Ok(())
}

/// Bytes as people read them.
pub(crate) fn bytes(n: u64) -> String {
    let units = [(1 << 40, "T"), (1 << 30, "G"), (1 << 20, "M"), (1 << 10, "k")];
    match units.iter().find(|(size, _)| n >= *size) {
        Some((size, unit)) => format!("{}{unit}", n / size),
        None => n.to_string(),
    }
}

/// A text of at most `max` characters, with a mark where it was cut.
pub(crate) fn cut(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// The widest cell of a table, in characters.
const CELL_CHARS_MAX: usize = 60;

/// A table for people: columns as wide as they need to be. Cells may come from agents and are made harmless.
pub(crate) fn table(heads: &[&str], rows: &[Vec<String>]) {
    let cell = |text: &String| cut(&crate::exit::clean(&text.replace(['\n', '\t', '\r'], " ")), CELL_CHARS_MAX);
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(cell).collect()).collect();
    let heads: Vec<String> = heads.iter().map(|head| (*head).to_owned()).collect();
    let widths: Vec<usize> = (0..heads.len())
        .map(|n| rows.iter().chain([&heads]).filter_map(|row| row.get(n)).map(|cell| cell.chars().count()).max().unwrap_or(0))
        .collect();
    for row in [&heads].into_iter().chain(&rows) {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        line(cells.join("  ").trim_end());
    }
}

/// How long ago something was, in the largest unit that fits.
pub(crate) fn ago(then: model::Timestamp) -> String {
    let seconds = app::now().0.saturating_sub(then.0) / 1000;
    match seconds {
        0..60 => format!("{seconds} s ago"),
        60..3600 => format!("{} min ago", seconds / 60),
        3600..86_400 => format!("{} h ago", seconds / 3600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_at_characters() {
        assert_eq!(cut("äöü", 2), "äö…");
        assert_eq!(cut("äöü", 3), "äöü");
        assert_eq!(bytes(1536), "1k");
    }
}
