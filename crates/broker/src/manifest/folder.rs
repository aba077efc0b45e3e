//! The folder of a plugin: its manifest, its handler, its skills. No link is followed.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use super::error::shown;
use super::form::{self, Kind};
use super::{MANIFEST_BYTES_MAX, Manifest, ManifestError, OWN_PROGRAM, SKILL_BYTES_MAX, SKILLS_MAX};

/// Handlers that stand for a command, first choice first.
const HANDLERS: [&str; 3] = ["handler.py", "handler.js", "handler.sh"];
/// The folder of skills.
const SKILLS: &str = "skills";

/// What a plugin tells agents about its tools.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skill {
    /// Its file, without the folder: `NAME.md`.
    pub file: String,
    /// Its text.
    pub text: String,
}

impl Manifest {
    /// Reads the manifest of a plugin's folder, and checks that the files which it names are there.
    ///
    /// # Errors
    /// [`ManifestError`], which names the file and the line or key.
    pub fn read_dir(dir: &Path) -> Result<Self, ManifestError> {
        let there = |name: &str| fs::symlink_metadata(dir.join(name)).is_ok();
        let kind = match (there("manifest.toml"), there("manifest.json")) {
            (true, false) => Kind::Toml,
            (false, true) => Kind::Json,
            (true, true) => return Err(ManifestError::Two),
            (false, false) => return Err(ManifestError::Missing),
        };
        let text = read_text(dir, kind.file(), MANIFEST_BYTES_MAX)?;
        let read = form::read(&text, kind)?;
        let handler = read.needs_handler().then(|| HANDLERS.iter().find(|name| there(name))).flatten();
        let manifest = read.with_command(handler.map(|name| (*name).to_owned()))?;
        let is_own = manifest.command.first().is_some_and(|word| word == OWN_PROGRAM);
        if !is_own && let Some(word) = manifest.command.iter().find(|word| word.starts_with("./")) {
            is_file(dir, &word[2..])?;
        }
        skills(dir)?;
        Ok(manifest)
    }
}

/// The skills of a plugin's folder, by name.
///
/// # Errors
/// [`ManifestError::File`] for one that is no plain file, is not text, is too long, or has a name that is none.
pub fn skills(dir: &Path) -> Result<Vec<Skill>, ManifestError> {
    let folder = dir.join(SKILLS);
    match fs::symlink_metadata(&folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(ManifestError::Read { file: SKILLS.to_owned(), source }),
        Ok(meta) if !meta.is_dir() => return wrong(SKILLS, "is not a directory"),
        Ok(_) => {}
    }
    let unread = |source| ManifestError::Read { file: SKILLS.to_owned(), source };
    let mut all = Vec::new();
    for entry in fs::read_dir(&folder).map_err(unread)? {
        let name = entry.map_err(unread)?.file_name();
        let Some(name) = name.to_str().filter(|name| is_skill(name)) else {
            return wrong(
                &format!("{SKILLS}/{}", shown(&name.to_string_lossy())),
                "is not a skill: NAME.md of small letters, digits, `-` and `_`",
            );
        };
        if all.len() == SKILLS_MAX {
            return wrong(SKILLS, &format!("holds more than {SKILLS_MAX} skills"));
        }
        let text = read_text(dir, &format!("{SKILLS}/{name}"), SKILL_BYTES_MAX)?;
        all.push(Skill { file: name.to_owned(), text });
    }
    all.sort_by(|a, b| a.file.cmp(&b.file));
    Ok(all)
}

fn is_skill(name: &str) -> bool {
    let Some(stem) = name.strip_suffix(".md") else { return false };
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
    !stem.is_empty() && stem.len() <= 64 && stem.bytes().all(plain)
}

fn is_file(dir: &Path, inner: &str) -> Result<(), ManifestError> {
    let mut at = dir.to_owned();
    let mut parts = inner.split('/').peekable();
    while let Some(part) = parts.next() {
        at.push(part);
        let meta = fs::symlink_metadata(&at).map_err(|source| ManifestError::Read { file: shown(inner), source })?;
        let fits = if parts.peek().is_some() { meta.is_dir() } else { meta.is_file() };
        if !fits {
            return wrong(&shown(inner), "is not a plain file of the folder, and the command names it");
        }
    }
    Ok(())
}

/// A text of the folder. The kind of the file is looked at before it is opened, so that a pipe does not hold the reader up.
fn read_text(dir: &Path, file: &str, max: u64) -> Result<String, ManifestError> {
    let unread = |source| ManifestError::Read { file: file.to_owned(), source };
    let path = dir.join(file);
    let meta = fs::symlink_metadata(&path).map_err(unread)?;
    if !meta.is_file() {
        return wrong(file, "is not a plain file");
    }
    let mut text = Vec::new();
    fs::File::open(&path).and_then(|f| f.take(max + 1).read_to_end(&mut text)).map_err(unread)?;
    if text.len() as u64 > max {
        return wrong(file, &format!("has more than {max} bytes"));
    }
    String::from_utf8(text).or_else(|_| wrong(file, "is not text in UTF-8"))
}

fn wrong<T>(file: &str, why: &str) -> Result<T, ManifestError> {
    Err(ManifestError::File { file: file.to_owned(), why: why.to_owned() })
}
