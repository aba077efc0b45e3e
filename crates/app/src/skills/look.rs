//! Looks at a skill as it came: its files, and what a person should see before they say yes.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use model::{Code, Failure};

use super::forms::{SkillFile, SkillFinding};
use super::front::Front;
use crate::plugins::folder::{self, Leaf, hex};

/// The file that a skill is read from.
pub(super) const FILE: &str = "SKILL.md";
/// Bytes that the files of a skill may have together.
pub const SKILL_BYTES_MAX: u64 = 8 << 20;
/// Files that a skill may have.
pub const SKILL_FILES_MAX: usize = 500;
/// The longest `SKILL.md`.
const TEXT_BYTES_MAX: u64 = 256 << 10;
/// Findings that are told.
const FINDINGS_MAX: usize = 200;
/// The longest line that a person can be expected to see whole.
const LINE_CHARS_MAX: usize = 2000;
/// How much of a place is shown, in characters.
const SHOWN_CHARS_MAX: usize = 160;
/// How deep a skill is looked for in an archive that holds more.
const DEPTH_MAX: usize = 4;

/// A skill's folder, looked at.
#[derive(Debug)]
pub(super) struct Looked {
    pub(super) front: Front,
    pub(super) hash: String,
    pub(super) files: Vec<SkillFile>,
    pub(super) findings: Vec<SkillFinding>,
}

fn wrong(why: impl Into<String>) -> Failure {
    Failure::new(Code::SkillInvalid, why)
}

/// What went wrong with files, in the words of skills.
pub(super) fn of_skill(failure: Failure) -> Failure {
    Failure { code: if failure.code == Code::PluginInvalid { Code::SkillInvalid } else { failure.code }, ..failure }
}

/// Finds the skill in what was unpacked: at `path` where that is given, else the only one that there is.
pub(super) fn find(dir: &Path, path: Option<&str>) -> Result<PathBuf, Failure> {
    if let Some(path) = path {
        let inner = Path::new(path.trim_matches('/'));
        if inner.components().any(|part| !matches!(part, std::path::Component::Normal(_))) {
            return Err(Failure::new(Code::Usage, "the path of a skill leads below its archive").field("path"));
        }
        // A lone directory at the top was left out when it was unpacked.
        let rest: PathBuf = inner.components().skip(1).collect();
        let there = [dir.join(inner), dir.join(rest)].into_iter().find(|at| at.join(FILE).is_file());
        return there.ok_or_else(|| Failure::new(Code::NotFound, format!("there is no {FILE} at {}", inner.display())).field("path"));
    }
    let mut found = Vec::new();
    walk(dir, Path::new(""), 0, &mut found).map_err(|e| wrong(format!("the archive cannot be read: {e}")))?;
    match found.as_slice() {
        [] => Err(wrong(format!("it holds no {FILE}")).hint("a skill is a folder with a SKILL.md")),
        [only] => Ok(dir.join(only)),
        many => {
            let names: Vec<String> = many.iter().take(20).map(|path| path.display().to_string()).collect();
            Err(wrong(format!("it holds {} skills: {}", many.len(), names.join(", "))).hint("say which: --path PATH").field("path"))
        }
    }
}

fn walk(dir: &Path, inner: &Path, depth: usize, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    if dir.join(inner).join(FILE).is_file() {
        found.push(inner.to_owned());
        return Ok(());
    }
    if depth >= DEPTH_MAX {
        return Ok(());
    }
    let mut names = fs::read_dir(dir.join(inner))?.map(|e| e.map(|e| e.file_name())).collect::<std::io::Result<Vec<_>>>()?;
    names.sort();
    for name in names {
        let inner = inner.join(name);
        if fs::symlink_metadata(dir.join(&inner))?.is_dir() {
            walk(dir, &inner, depth + 1, found)?;
        }
    }
    Ok(())
}

/// Looks at a skill's folder.
pub(super) fn look(dir: &Path) -> Result<Looked, Failure> {
    let leaves = folder::leaves(dir).map_err(of_skill)?;
    let files = files_of(dir, &leaves)?;
    let bytes: u64 = files.iter().map(|file| file.bytes).sum();
    if bytes > SKILL_BYTES_MAX || files.len() > SKILL_FILES_MAX {
        return Err(wrong(format!("a skill has at most {SKILL_FILES_MAX} files and {} MiB", SKILL_BYTES_MAX >> 20)));
    }
    let at = dir.join(FILE);
    if !fs::symlink_metadata(&at).is_ok_and(|meta| meta.is_file() && meta.len() <= TEXT_BYTES_MAX) {
        return Err(wrong(format!("{FILE} is missing, or longer than {} KiB", TEXT_BYTES_MAX >> 10)));
    }
    let unread = |e: std::io::Error| wrong(format!("a file of the skill cannot be read: {e}"));
    let text = fs::read(&at).map_err(unread)?;
    let text = String::from_utf8(text).map_err(|_| wrong(format!("{FILE} is not UTF-8")))?;
    let front = Front::read(&text)?;
    let mut notes = Notes::default();
    for (key, line) in &front.others {
        if matches!(key.as_str(), "hooks" | "allowed-tools" | "mcp-servers" | "mcpServers") {
            notes.add(FILE, *line, "hooks", &format!("the head sets `{key}`, which some engines act on"));
        }
    }
    for file in &files {
        let bytes = fs::read(dir.join(&file.path)).map_err(unread)?;
        match String::from_utf8(bytes) {
            Ok(text) => look_at_text(&file.path, &text, &mut notes),
            Err(_) => notes.add(&file.path, 0, "binary", &format!("{} bytes that are no text", file.bytes)),
        }
    }
    Ok(Looked { hash: folder::hash_leaves(&leaves), front, files, findings: notes.all })
}

/// The files of a folder; a link is refused, whoever put it there.
pub(super) fn files_of(dir: &Path, leaves: &BTreeMap<PathBuf, Leaf>) -> Result<Vec<SkillFile>, Failure> {
    let mut files = Vec::with_capacity(leaves.len());
    for (path, (kind, digest)) in leaves {
        let shown = path.to_string_lossy().into_owned();
        if *kind == b'l' || path.as_os_str().as_bytes() != shown.as_bytes() {
            return Err(wrong(format!("{} is a link, or has a name that is not plain text", shown.escape_debug())));
        }
        let bytes = fs::symlink_metadata(dir.join(path)).map_err(|e| wrong(format!("{shown} cannot be read: {e}")))?.len();
        files.push(SkillFile { path: shown, bytes, executable: *kind == b'x', sha256: hex(digest) });
    }
    Ok(files)
}

/// What of the files is new, other or gone.
pub(super) fn changes(before: &[SkillFile], after: &[SkillFile]) -> Vec<String> {
    let of = |files: &[SkillFile]| -> BTreeMap<String, (String, bool)> {
        files.iter().map(|file| (file.path.clone(), (file.sha256.clone(), file.executable))).collect()
    };
    let (before, after) = (of(before), of(after));
    let mut all: Vec<String> = Vec::new();
    for (path, now) in &after {
        match before.get(path) {
            None => all.push(format!("+ {path}")),
            Some(then) if then != now => all.push(format!("~ {path}")),
            Some(_) => {}
        }
    }
    all.extend(before.keys().filter(|path| !after.contains_key(*path)).map(|path| format!("- {path}")));
    all
}

/// What was found, as far as it is told.
#[derive(Default)]
struct Notes {
    all: Vec<SkillFinding>,
}

impl Notes {
    fn add(&mut self, file: &str, line: u32, kind: &str, text: &str) {
        if self.all.len() == FINDINGS_MAX {
            let text = "more was found than is shown".to_owned();
            self.all.push(SkillFinding { file: file.to_owned(), line, kind: "more".to_owned(), text });
        }
        if self.all.len() < FINDINGS_MAX {
            let text: String = text.chars().take(SHOWN_CHARS_MAX).collect();
            self.all.push(SkillFinding { file: file.to_owned(), line, kind: kind.to_owned(), text });
        }
    }
}

/// What hides in a text: a person who approves it must see what a model reads.
fn look_at_text(file: &str, text: &str, notes: &mut Notes) {
    let is_prose = file.ends_with(".md") || file.ends_with(".html") || file.ends_with(".txt") || file.ends_with(".xml");
    let mut is_comment = false;
    for (n, line) in (1u32..).zip(text.lines()) {
        // A sign at the very beginning of a file says only how its bytes are written.
        let line = if n == 1 { line.strip_prefix('\u{feff}').unwrap_or(line) } else { line };
        for (kind, hides) in [("bidi", is_bidi as fn(char) -> bool), ("control", is_control)] {
            if let Some(at) = line.find(hides) {
                notes.add(file, n, kind, &around(line, at));
            }
        }
        if let Some(at) = invisible(line) {
            notes.add(file, n, "invisible", &around(line, at));
        }
        if line.chars().count() > LINE_CHARS_MAX {
            notes.add(file, n, "long-line", &format!("a line of {} characters: {}", line.chars().count(), around(line, 0)));
        }
        if is_prose {
            let begins = line.find("<!--");
            if let Some(at) = begins.or_else(|| is_comment.then_some(0)) {
                notes.add(file, n, "comment", &around(line, at));
            }
            let (opened, closed) = (line.rfind("<!--"), line.rfind("-->"));
            is_comment = match (opened, closed) {
                (None, None) => is_comment,
                (opened, closed) => opened > closed,
            };
        }
        if file == FILE
            && let Some(at) = line.find("!`")
        {
            notes.add(file, n, "command", &around(line, at));
        }
    }
}

fn is_bidi(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn is_control(c: char) -> bool {
    c.is_control() && c != '\t'
}

/// The first sign that is not seen. One that only says how the picture before it is drawn is seen, in a way.
fn invisible(line: &str) -> Option<usize> {
    let mut before = ' ';
    for (at, c) in line.char_indices() {
        let hides = matches!(u32::from(c), 0xad | 0x34f | 0x115f | 0x1160 | 0x17b4 | 0x17b5 | 0x180b..=0x180f | 0x200b..=0x200d
            | 0x2060..=0x2065 | 0x206a..=0x206f | 0x2800 | 0x3164 | 0xfe00..=0xfe0f | 0xfeff | 0xffa0 | 0xfff0..=0xfffb
            | 0x1bca0..=0x1bca3 | 0x1d173..=0x1d17a | 0xe0000..=0xe0fff);
        let is_drawn =
            matches!(c, '\u{fe0e}' | '\u{fe0f}' | '\u{200d}') && (!before.is_ascii_alphanumeric() && before > '\u{a0}' || before == '#');
        if hides && !is_drawn {
            return Some(at);
        }
        before = c;
    }
    None
}

/// A place in a line, with what hides spelled out.
fn around(line: &str, at: usize) -> String {
    let from = line[..at].char_indices().rev().nth(30).map_or(0, |(at, _)| at);
    let spelled = |c: char| {
        let hides = is_bidi(c) || is_control(c) || invisible(c.encode_utf8(&mut [0; 4])).is_some();
        if hides { c.escape_unicode().to_string() } else { c.to_string() }
    };
    line[from..].chars().take(SHOWN_CHARS_MAX).map(spelled).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(file: &str, text: &str) -> Vec<(u32, String)> {
        let mut notes = Notes::default();
        look_at_text(file, text, &mut notes);
        notes.all.into_iter().map(|f| (f.line, f.kind)).collect()
    }

    #[test]
    fn what_hides_is_told() {
        let one = |text: &str| found("a.md", text).into_iter().map(|(_, kind)| kind).collect::<Vec<_>>();
        assert_eq!(
            one("plain *text*, Gr\u{fc}\u{df}e, \u{6f22}\u{5b57}, \u{2764}\u{fe0f} and \u{1f469}\u{200d}\u{1f52c}\n"),
            Vec::<String>::new()
        );
        assert_eq!(one("\u{feff}# Title\n"), Vec::<String>::new());
        assert_eq!(one("ab\u{200b}c"), ["invisible"]);
        assert_eq!(one("a\u{200d}b"), ["invisible"], "a joiner between letters");
        assert_eq!(one("x\u{e0041}\u{e0042}"), ["invisible"], "tags that spell a text");
        assert_eq!(one("if\u{202e}x"), ["bidi"]);
        assert_eq!(one("\u{1b}[8mhidden"), ["control"]);
        assert_eq!(one(&"x".repeat(3000)), ["long-line"]);
        assert_eq!(
            found("a.md", "one <!-- two\nthree\nfour --> five\nsix"),
            [(1, "comment".to_owned()), (2, "comment".to_owned()), (3, "comment".to_owned())]
        );
        assert_eq!(found("a.py", "<!-- not prose -->"), []);
        assert_eq!(found(FILE, "now: !`date`"), [(1, "command".to_owned())]);
    }

    #[test]
    fn a_place_is_shown_without_hiding_anything() {
        assert_eq!(around("say \u{202e}this", 4), "say \\u{202e}this");
        let long = "\u{200b}".repeat(500);
        let mut notes = Notes::default();
        look_at_text("a.md", &long, &mut notes);
        assert!(notes.all[0].text.len() <= SHOWN_CHARS_MAX * 4, "{}", notes.all[0].text.len());
        let many = "a\u{200b}\n".repeat(FINDINGS_MAX + 10);
        let mut notes = Notes::default();
        look_at_text("a.md", &many, &mut notes);
        assert_eq!((notes.all.len(), notes.all[FINDINGS_MAX].kind.as_str()), (FINDINGS_MAX + 1, "more"));
    }

    #[test]
    fn changes_name_files() {
        let file = |path: &str, hash: &str| SkillFile { path: path.to_owned(), bytes: 1, executable: false, sha256: hash.to_owned() };
        let before = [file("a", "1"), file("b", "1"), file("c", "1")];
        let after = [file("a", "1"), file("b", "2"), file("d", "1")];
        assert_eq!(changes(&before, &after), ["~ b", "+ d", "- c"]);
    }
}
