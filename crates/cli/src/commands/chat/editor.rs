//! Lines that a person edits, with those of earlier conversations at hand.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use model::Failure;
use rustyline::Config;
use rustyline::error::ReadlineError;
use rustyline::history::{History, MemHistory, SearchDirection};

use crate::client::internal;

/// Lines that are kept.
const HISTORY_MAX: usize = 1000;
/// The longest history that is read.
const HISTORY_BYTES_MAX: u64 = 1 << 20;
/// The file of the home that holds them, readable by the owner alone.
const HISTORY_FILE: &str = "chat-history";
/// What the prompt of a line that goes on looks like.
const MORE_PROMPT: &str = "… ";

type Lines = rustyline::Editor<(), MemHistory>;

/// Reads lines from the terminal.
pub(super) struct Editor {
    /// Lent to the thread that reads.
    lines: Option<Lines>,
    history: PathBuf,
}

/// What came.
pub(super) enum Read {
    Line(String),
    /// Ctrl-D.
    End,
    /// Ctrl-C.
    Interrupted,
}

impl Editor {
    pub(super) fn open(home: &Path) -> Result<Self, Failure> {
        let fail = |e: ReadlineError| internal(&format!("the terminal cannot be used: {e}"));
        let config = Config::builder().max_history_size(HISTORY_MAX).map_err(fail)?.auto_add_history(false).build();
        let kept = MemHistory::with_config(&config);
        let mut lines = Lines::with_history(config, kept).map_err(fail)?;
        let history = home.join(HISTORY_FILE);
        for line in read_history(&history) {
            lines.add_history_entry(line).map_err(fail)?;
        }
        Ok(Self { lines: Some(lines), history })
    }

    /// What shows texts above the line that is read.
    pub(super) fn printer(&mut self) -> Result<impl rustyline::ExternalPrinter + Send + use<>, Failure> {
        let lines = self.lines.as_mut().ok_or_else(|| internal("the terminal is in use"))?;
        lines.create_external_printer().map_err(|e| internal(&format!("the terminal cannot be used: {e}")))
    }

    /// The next line; one that ends with `\` goes on in the next.
    pub(super) async fn read(&mut self, prompt: &'static str) -> Result<Read, Failure> {
        let mut whole = String::new();
        let mut prompt = prompt;
        loop {
            let mut lines = self.lines.take().ok_or_else(|| internal("the terminal is in use"))?;
            // Reading a terminal blocks; an end of the process does not wait for it.
            let (lines, read) = tokio::task::spawn_blocking(move || {
                let read = lines.readline(prompt);
                (lines, read)
            })
            .await
            .map_err(|e| internal(&e.to_string()))?;
            self.lines = Some(lines);
            let line = match read {
                Ok(line) => line,
                Err(ReadlineError::Interrupted) => return Ok(Read::Interrupted),
                Err(ReadlineError::Eof) => return Ok(Read::End),
                Err(error) => return Err(internal(&format!("the terminal cannot be read: {error}"))),
            };
            if let Some(begun) = line.strip_suffix('\\') {
                whole.push_str(begun);
                whole.push('\n');
                prompt = MORE_PROMPT;
                continue;
            }
            whole.push_str(&line);
            self.remember(&whole);
            return Ok(Read::Line(whole));
        }
    }

    /// Keeps a line for the next time. A history that cannot be written is no reason to stop talking.
    fn remember(&mut self, line: &str) {
        if line.trim().is_empty() {
            return;
        }
        let Some(lines) = &mut self.lines else { return };
        if lines.add_history_entry(line).unwrap_or(false) {
            let _ = write_history(&self.history, lines.history());
        }
    }
}

fn read_history(path: &Path) -> Vec<String> {
    if std::fs::metadata(path).is_ok_and(|meta| meta.len() > HISTORY_BYTES_MAX) {
        return Vec::new();
    }
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(unescaped).collect()
}

/// A line as it was, with the ends of lines that are in it.
fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.push(match chars.next() {
                Some('n') => '\n',
                Some(other) => other,
                None => '\\',
            }),
            c => out.push(c),
        }
    }
    out
}

fn escaped(line: &str) -> String {
    line.replace('\\', "\\\\").replace('\n', "\\n")
}

/// Replaces the file at once, so that two conversations never mix within it.
fn write_history(path: &Path, history: &MemHistory) -> std::io::Result<()> {
    let fresh = path.with_extension(format!("fresh-{}", std::process::id()));
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    for n in 0..history.len() {
        if let Ok(Some(line)) = history.get(n, SearchDirection::Forward) {
            writeln!(file, "{}", escaped(&line.entry))?;
        }
    }
    std::fs::rename(&fresh, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_back_as_they_were() {
        for line in ["plain", "two\nlines", "a\\nb", "end\\", "\\\\n", "ü\n\\"] {
            let kept = escaped(line);
            assert!(!kept.contains('\n'), "{kept}");
            assert_eq!(unescaped(&kept), line);
        }
    }
}
