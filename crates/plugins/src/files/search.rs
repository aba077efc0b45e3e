//! Finding files by words in their name and text.

use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};

use super::glob;
use super::vault::{Vault, is_binary};
use crate::text::shorten;
use crate::tool::ToolError;

/// Files and directories that one search looks at.
const LOOKED_MAX: usize = 200_000;
/// Levels of directories below the vault.
const DEPTH_MAX: usize = 64;
/// The largest file whose text is looked at.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// Bytes that one search reads.
const READ_BYTES_MAX: u64 = 512 << 20;
/// How long a search looks.
const TIME_MAX: Duration = Duration::from_secs(15);
/// Lines that are shown of a file.
const LINES_MAX: usize = 3;
/// Characters that are shown of a line.
const LINE_CHARS_MAX: usize = 240;
/// Directories that hold the bookkeeping of other programs.
const LEFT_OUT: [&str; 2] = [".git", ".trash"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Search {
    query: String,
    glob: Option<String>,
    #[serde(default = "limit")]
    limit: usize,
}

fn limit() -> usize {
    20
}

struct Hunt<'a> {
    vault: &'a Vault,
    words: Vec<String>,
    glob: Option<&'a str>,
    limit: usize,
    began: Instant,
    looked: usize,
    read: u64,
    found: Vec<Value>,
    /// Why the search ended before everything was looked at.
    cut: Option<&'static str>,
}

pub(super) fn search(vault: &Vault, asked: &Search) -> Result<Value, ToolError> {
    let words: Vec<String> = asked.query.to_lowercase().split_whitespace().map(str::to_owned).collect();
    if words.is_empty() {
        return Err(ToolError::Arguments("the query has no word".to_owned()));
    }
    let glob = asked.glob.as_deref().filter(|glob| !glob.is_empty());
    let (began, limit) = (Instant::now(), asked.limit.clamp(1, 100));
    let mut hunt = Hunt { vault, words, glob, limit, began, looked: 0, read: 0, found: Vec::new(), cut: None };
    hunt.walk()?;
    Ok(json!({"files": hunt.found, "complete": hunt.cut.is_none(), "note": hunt.cut}))
}

impl Hunt<'_> {
    fn walk(&mut self) -> Result<(), ToolError> {
        // Depth first, in the order of names.
        let mut stack = vec![(String::new(), 0)];
        while let Some((directory, depth)) = stack.pop() {
            let entries = match self.vault.list(&directory) {
                Ok(entries) => entries,
                Err(error) if directory.is_empty() => return Err(error),
                // One that cannot be read does not end the search.
                Err(_) => continue,
            };
            let mut below = Vec::new();
            for entry in entries {
                let path = if directory.is_empty() { entry.name.clone() } else { format!("{directory}/{}", entry.name) };
                self.looked += 1;
                match entry.kind {
                    "directory" if depth < DEPTH_MAX && !LEFT_OUT.contains(&entry.name.as_str()) => below.push((path, depth + 1)),
                    "file" if self.glob.is_none_or(|glob| glob::fits(glob, &path)) => self.file(&path),
                    _ => (),
                }
                self.check_limits();
                if self.cut.is_some() {
                    return Ok(());
                }
            }
            stack.extend(below.into_iter().rev());
        }
        Ok(())
    }

    fn check_limits(&mut self) {
        if self.found.len() >= self.limit {
            self.cut = Some("there may be more: raise the limit or narrow the query");
        } else if self.looked >= LOOKED_MAX || self.read >= READ_BYTES_MAX || self.began.elapsed() >= TIME_MAX {
            self.cut = Some("the vault is too large to look at all of it: narrow the search with a glob");
        }
    }

    fn file(&mut self, path: &str) {
        let in_name = |word: &String| path.to_lowercase().contains(word.as_str());
        let Ok(file) = self.vault.open_file(path) else { return };
        let mut text = String::new();
        if file.size <= FILE_BYTES_MAX
            && let Ok(bytes) = file.read_at(0, usize::try_from(file.size).unwrap_or(0))
        {
            self.read += bytes.len() as u64;
            if !is_binary(&bytes) {
                text = String::from_utf8_lossy(&bytes).into_owned();
            }
        }
        let lower = text.to_lowercase();
        if !self.words.iter().all(|word| lower.contains(word.as_str()) || in_name(word)) {
            return;
        }
        let hits = text.lines().enumerate().filter(|(_, line)| {
            let line = line.to_lowercase();
            self.words.iter().any(|word| line.contains(word.as_str()))
        });
        let lines: Vec<Value> =
            hits.take(LINES_MAX).map(|(n, line)| json!({"line": n + 1, "text": shorten(line.trim(), LINE_CHARS_MAX)})).collect();
        self.found.push(json!({"path": path, "size": file.size, "modified": file.modified, "lines": lines}));
    }
}
