//! Folders of the other install: skills, and the files that came and went with messages.

use app::CarryLine;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::Failure;

use super::Install;
use super::sheet::Sheet;
use super::source::Found;

/// How deep the folders of a skill are looked into.
const DEPTH_MAX: usize = 8;
/// The longest file of a message that is taken over, in bytes: it is one line.
const FILE_BYTES_MAX: u64 = 10 << 20;
/// Files of one conversation, and their bytes together.
const FILES_MAX: (usize, u64) = (2000, 1 << 30);
/// Characters of an identity; a longer one is named by its hash.
const ID_CHARS_MAX: usize = 200;

/// Folders of skills beside an agent, or beside all of them: the daemon looks at them as at every skill, and no agent has one before a
/// person gave it to it.
pub(super) fn skills(install: &Install<'_>, sheet: &mut Sheet, folder: &str) -> Result<(), Failure> {
    let places = if folder.is_empty() {
        vec!["container/skills".to_owned(), ".claude/skills".to_owned()]
    } else {
        vec![format!("groups/{folder}/skills"), format!("groups/{folder}/.claude/skills")]
    };
    for place in places {
        for (name, is_dir) in install.source.list(&place) {
            let at = format!("{place}/{name}");
            if !is_dir || !install.source.has(&format!("{at}/SKILL.md")) {
                continue;
            }
            match packed(install, &at, &name) {
                Ok(tar) => {
                    let (id, source) = (identity(&at), at.clone());
                    sheet.line(&CarryLine::Skill { id, name, source, archive: STANDARD.encode(tar) })?;
                }
                Err(why) => sheet.leave("skill", &name, format!("{at}: {why}")),
            }
        }
    }
    Ok(())
}

/// The folder at `at` as an archive in which it is called `name`, or why it cannot be one.
fn packed(install: &Install<'_>, at: &str, name: &str) -> Result<Vec<u8>, String> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut left = (app::SKILL_FILES_MAX, app::SKILL_BYTES_MAX);
    let mut dirs = vec![(String::new(), 0)];
    while let Some((dir, depth)) = dirs.pop() {
        for (entry, is_dir) in install.source.list(&format!("{at}{dir}")) {
            let path = format!("{dir}/{entry}");
            if is_dir && depth >= DEPTH_MAX {
                return Err(format!("its folders are deeper than {DEPTH_MAX}"));
            }
            if is_dir {
                // What git keeps is no part of what is told.
                if entry != ".git" {
                    dirs.push((path, depth + 1));
                }
                continue;
            }
            let (bytes, is_program) = match install.source.bytes(&format!("{at}{path}"), left.1) {
                Found::It(found) => found,
                Found::Nothing => continue,
                Found::Refused(why) => return Err(format!("{entry}: {why}")),
            };
            left.0 = left.0.checked_sub(1).ok_or_else(|| format!("it has more than {} files", app::SKILL_FILES_MAX))?;
            left.1 = left.1.saturating_sub(bytes.len() as u64);
            let mut header = tar::Header::new_gnu();
            header.set_mode(if is_program { 0o755 } else { 0o644 });
            header.set_size(bytes.len() as u64);
            header.set_entry_type(tar::EntryType::Regular);
            header.set_mtime(0);
            builder.append_data(&mut header, format!("{name}{path}"), bytes.as_slice()).map_err(|e| format!("{entry}: {e}"))?;
        }
    }
    builder.into_inner().map_err(|e| e.to_string())
}

/// Files that came and went with the messages of a conversation, whose mailboxes lie in `dir`.
pub(super) fn of_messages(install: &Install<'_>, sheet: &mut Sheet, dir: &str, session: &str, title: &str) -> Result<(), Failure> {
    let (mut count, mut total, mut more) = (0, 0, 0);
    for folder in ["inbox", "outbox"] {
        for (message, is_dir) in install.source.list(&format!("{dir}/{folder}")) {
            if !is_dir {
                continue;
            }
            for (name, is_dir) in install.source.list(&format!("{dir}/{folder}/{message}")) {
                let path = format!("{folder}/{message}/{name}");
                if is_dir {
                    sheet.leave("file", &path, format!("it is a folder; it stays in {dir}"));
                    continue;
                }
                let bytes = match install.source.bytes(&format!("{dir}/{path}"), FILE_BYTES_MAX) {
                    Found::It((bytes, _)) => bytes,
                    Found::Nothing => continue,
                    Found::Refused(why) => {
                        sheet.leave("file", &path, format!("{why}; it stays in {dir}"));
                        continue;
                    }
                };
                if count >= FILES_MAX.0 || total + bytes.len() as u64 > FILES_MAX.1 {
                    more += 1;
                    continue;
                }
                count += 1;
                total += bytes.len() as u64;
                let id = identity(&format!("{session}/{path}"));
                sheet.line(&CarryLine::File { id, session: session.to_owned(), path, data: STANDARD.encode(bytes) })?;
            }
        }
    }
    if more > 0 {
        sheet.leave("files", title, format!("{more} files beyond {} or {} MiB stay in {dir}", FILES_MAX.0, FILES_MAX.1 >> 20));
    }
    Ok(())
}

fn identity(at: &str) -> String {
    if at.chars().count() > ID_CHARS_MAX || at.chars().any(char::is_control) { app::digest(at) } else { at.to_owned() }
}
