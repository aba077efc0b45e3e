//! What differs in one text file of two directories, as a unified diff.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;

use super::lines::{Step, steps};
use super::open;
use super::path::Path;
use super::trouble::Trouble;

/// The largest file, in bytes.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// The most lines of a file.
const LINES_MAX: usize = 100_000;
/// Lines around a change.
const CONTEXT: usize = 3;

/// Writes the differences; nothing when there are none. A file that one side does not have counts as empty there.
pub(super) fn patch(old: &OwnedFd, new: &OwnedFd, path: &Path, out: &mut impl Write) -> Result<(), Trouble> {
    let (old, new) = (load(old, path)?, load(new, path)?);
    if old.is_none() && new.is_none() {
        return Err(Trouble::new("NOT_FOUND", "neither side has this file"));
    }
    let text = |side: &Option<Vec<u8>>| side.clone().unwrap_or_default();
    let (old_text, new_text) = (text(&old), text(&new));
    if old_text == new_text && old.is_some() == new.is_some() {
        return Ok(());
    }
    let failed = |error: std::io::Error| Trouble::io("write the answer", &error);
    let name = |side: char, is_there: bool| if is_there { shown(side, path) } else { "/dev/null".to_owned() };
    writeln!(out, "--- {}\n+++ {}", name('a', old.is_some()), name('b', new.is_some())).map_err(failed)?;
    let (old, new) = (lines(&old_text)?, lines(&new_text)?);
    for hunk in hunks(&steps(&old, &new)) {
        write_hunk(hunk, &old, &new, out).map_err(failed)?;
    }
    Ok(())
}

/// The bytes of a file; `None` when there is none.
fn load(directory: &OwnedFd, path: &Path) -> Result<Option<Vec<u8>>, Trouble> {
    let (before, last) = path.split()?;
    let opened = open::directory(directory, before).and_then(|at| open::file(at, last));
    let file = match opened {
        Ok((file, _)) => file,
        Err(trouble) if trouble.code == "NOT_FOUND" => return Ok(None),
        Err(trouble) => return Err(trouble),
    };
    let mut bytes = Vec::new();
    let read = File::from(file).take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| Trouble::io("read a file", &error))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(Trouble::new("TOO_LARGE", format!("the file has more than {FILE_BYTES_MAX} bytes")));
    }
    if bytes.contains(&0) {
        return Err(Trouble::usage("the file is no text"));
    }
    Ok(Some(bytes))
}

/// Lines with their ends; only the last can be without one.
fn lines(text: &[u8]) -> Result<Vec<&[u8]>, Trouble> {
    let lines: Vec<&[u8]> = text.split_inclusive(|b| *b == b'\n').collect();
    if lines.len() > LINES_MAX {
        return Err(Trouble::new("TOO_LARGE", format!("the file has more than {LINES_MAX} lines")));
    }
    Ok(lines)
}

/// A name that cannot be taken for a line of the patch or a command to a terminal.
fn shown(side: char, path: &Path) -> String {
    let parts: Vec<_> = path.parts().iter().map(|part| String::from_utf8_lossy(part.to_bytes())).collect();
    let path = parts.join("/");
    let is_plain = |c: char| !c.is_control() && c != '"' && c != '\\' && !is_turning(c);
    if path.chars().all(is_plain) {
        return format!("{side}/{path}");
    }
    let escaped: String = path.chars().flat_map(char::escape_default).collect();
    format!("\"{side}/{escaped}\"")
}

/// Characters that change the direction in which others are shown.
fn is_turning(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Changes with the lines around them; those that are near are together.
fn hunks(steps: &[Step]) -> Vec<&[Step]> {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for (at, _) in steps.iter().enumerate().filter(|(_, step)| !matches!(step, Step::Keep { .. })) {
        let (from, to) = (at.saturating_sub(CONTEXT), (at + CONTEXT + 1).min(steps.len()));
        match ranges.last_mut() {
            Some((_, end)) if from <= *end => *end = to,
            _ => ranges.push((from, to)),
        }
    }
    ranges.into_iter().map(|(from, to)| &steps[from..to]).collect()
}

fn write_hunk(hunk: &[Step], old: &[&[u8]], new: &[&[u8]], out: &mut impl Write) -> std::io::Result<()> {
    let olds: Vec<usize> =
        hunk.iter().filter_map(|s| if let Step::Keep { old, .. } | Step::Out { old } = s { Some(*old) } else { None }).collect();
    let news: Vec<usize> =
        hunk.iter().filter_map(|s| if let Step::Keep { new, .. } | Step::In { new } = s { Some(*new) } else { None }).collect();
    writeln!(out, "@@ -{} +{} @@", range(&olds), range(&news))?;
    for step in hunk {
        let (sign, line) = match step {
            Step::Keep { old: at, .. } => (b' ', old[*at]),
            Step::Out { old: at } => (b'-', old[*at]),
            Step::In { new: at } => (b'+', new[*at]),
        };
        out.write_all(&[sign])?;
        out.write_all(line)?;
        if !line.ends_with(b"\n") {
            out.write_all(b"\n\\ No newline at end of file\n")?;
        }
    }
    Ok(())
}

/// First line and count, as a hunk's head has them. Only a side that is empty as a whole has a hunk without lines.
fn range(lines: &[usize]) -> String {
    match lines {
        [] => "0,0".to_owned(),
        [one] => format!("{}", one + 1),
        [first, ..] => format!("{},{}", first + 1, lines.len()),
    }
}
