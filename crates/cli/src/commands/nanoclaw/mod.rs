//! `lazaret import nanoclaw`: what an install of NanoClaw, of either form, or of its fork parachute-agent has.
//!
//! Everything there is somebody else's: it is read below its directory, through no link, by copies of its databases, within limits, and
//! becomes the lines of an export. The daemon takes those over as it does every export, so nothing here decides what may be made.

mod folders;
mod sheet;
mod source;
mod talks;
mod v1;
mod v2;
mod words;

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::Path;

use app::CarryLine;
use model::{Code, Failure, Timestamp};
use store::{MEMORY_CONTENT_CHARS_MAX, MemoryAuthor, MemoryKind};

use self::sheet::Sheet;
use self::source::{Found, Source};
use super::Context;
use super::repo::Clone;
use crate::exit::Done;
use crate::home::Home;

/// The longest instructions, memory or settings that are read, in bytes.
const TEXT_BYTES_MAX: u64 = 1 << 20;
/// The longest instructions that an agent has, in bytes.
const INSTRUCTIONS_BYTES_MAX: usize = 128 << 10;
/// Entries that the memory of one agent is cut into.
const MEMORIES_MAX: usize = 2000;

/// Where the central database of the second form may lie, that of the fork last.
const SECOND: [&str; 3] = ["data/v2.db", "agent.db", "data/agent.db"];
/// Where that of the first form lies.
const FIRST: &str = "store/messages.db";

/// The install that is read.
pub(super) struct Install<'a> {
    source: &'a Source,
    /// The zone in which its times are.
    zone: String,
    now: Timestamp,
    /// Chats by network and platform's id, as it writes them.
    platforms: RefCell<HashMap<(String, String), String>>,
}

impl Install<'_> {
    /// Standing instructions of an agent and, before them, those of all.
    fn instructions(&self, sheet: &mut Sheet, folder: &str) -> Option<String> {
        let mut whole = String::new();
        for path in ["groups/global/CLAUDE.md".to_owned(), format!("groups/{folder}/CLAUDE.md")] {
            match self.source.text(&path, TEXT_BYTES_MAX) {
                Found::It(text) => {
                    if !whole.is_empty() {
                        whole.push_str("\n\n");
                    }
                    whole.push_str(&text.replace('\0', ""));
                }
                Found::Nothing => {}
                Found::Refused(why) => sheet.wrong("instructions", &path, why),
            }
        }
        if whole.len() > INSTRUCTIONS_BYTES_MAX {
            sheet.wrong("instructions", folder, format!("they have more than {INSTRUCTIONS_BYTES_MAX} bytes"));
            return None;
        }
        (!whole.trim().is_empty()).then_some(whole)
    }

    fn chat_of(&self, platforms: &HashMap<(String, String), String>, kind: &str, platform: &str) -> Option<String> {
        platforms.get(&(kind.to_owned(), platform.to_owned())).cloned()
    }
}

/// What an agent kept by itself, cut into entries. It is a claim of whatever the agent read: what could change it waits for a person.
fn memories(install: &Install<'_>, sheet: &mut Sheet, agent: &str, folder: &str) -> Result<(), Failure> {
    let path = format!("groups/{folder}/CLAUDE.local.md");
    let whole = match install.source.text(&path, TEXT_BYTES_MAX) {
        Found::It(text) => text,
        Found::Nothing => return Ok(()),
        Found::Refused(why) => {
            sheet.wrong("memory", &path, why);
            return Ok(());
        }
    };
    let created = install.source.changed(&path).unwrap_or(install.now);
    for (n, content) in entries(&whole).into_iter().enumerate() {
        if n >= MEMORIES_MAX {
            sheet.leave("memory", &path, format!("an agent's memory is cut into {MEMORIES_MAX} entries at most"));
            break;
        }
        // Named by what it says: an entry that moved in the file is the same one.
        let id = format!("{agent}/{}", app::digest(&content));
        sheet.line(&CarryLine::Memory {
            id,
            agent: agent.to_owned(),
            kind: MemoryKind::Context,
            content,
            tags: vec!["nanoclaw".to_owned()],
            by: MemoryAuthor::Agent,
            confirmed: false,
            created,
        })?;
    }
    Ok(())
}

/// A text in pieces that an entry takes: its paragraphs, and those of them that are too long by lines.
fn entries(text: &str) -> Vec<String> {
    let mut all = Vec::new();
    for paragraph in text.replace('\r', "").split("\n\n") {
        let mut piece = String::new();
        for line in paragraph.lines() {
            for part in split(line) {
                if piece.chars().count() + part.chars().count() + 1 > MEMORY_CONTENT_CHARS_MAX {
                    all.push(std::mem::take(&mut piece));
                }
                if !piece.is_empty() {
                    piece.push('\n');
                }
                piece.push_str(&part);
            }
        }
        all.push(piece);
    }
    let clean = |text: String| text.trim().chars().filter(|c| !c.is_control() || *c == '\n').collect::<String>();
    all.into_iter().map(clean).filter(|text| !text.is_empty()).collect()
}

fn split(line: &str) -> Vec<String> {
    let chars: Vec<char> = line.chars().collect();
    chars.chunks(MEMORY_CONTENT_CHARS_MAX - 1).map(|part| part.iter().collect()).collect()
}

/// What is beside the database and stays behind.
fn script(install: &Install<'_>, sheet: &mut Sheet) {
    if install.source.has(".env") {
        sheet.leave("variables", ".env", "keys are not taken over: lazaret secret set NAME -, or lazaret secret import-env");
    }
    for (path, what) in
        [("store/auth", "linked devices"), ("data/sessions", "transcripts of the engine"), (".claude", "settings of the engine")]
    {
        if !install.source.list(path).is_empty() {
            sheet.leave(what, path, "they are of the other install");
        }
    }
}

/// Reads the install at `dir` and lets the daemon take it over.
pub(super) async fn run(context: &Context, dir: &Path, dry_run: bool, zone: Option<&str>) -> Done {
    let home = Home::open(&context.env.home)?;
    super::repo::sweep(&home.run_dir());
    let room = Clone::make(&home.run_dir())
        .map_err(|e| Failure::new(Code::HomeUnsafe, format!("what is taken over cannot be held in the home: {e}")))?;
    let source = Source::open(dir, &room.dir)?;
    let mut sheet = Sheet::new(&room.dir)?;
    let zone = zone.map_or_else(|| zone_of(&source), str::to_owned);
    let install = Install { source: &source, zone, now: app::now(), platforms: RefCell::default() };
    let mut is_found = false;
    for path in SECOND {
        match source.database(path) {
            Found::It(central) if central.has("agent_groups") => {
                note_platforms(&install, &central);
                v2::read(&install, &central, &mut sheet)?;
                is_found = true;
                break;
            }
            Found::Refused(why) => return Err(unreadable(path, &why)),
            Found::It(_) | Found::Nothing => {}
        }
    }
    match source.database(FIRST) {
        Found::It(_) if is_found => sheet.leave("messages", FIRST, "of the form before; what was taken to the later one is taken over"),
        Found::It(central) if central.has("messages") || central.has("registered_groups") => {
            v1::read(&install, &central, &mut sheet)?;
            is_found = true;
        }
        Found::Refused(why) if !is_found => return Err(unreadable(FIRST, &why)),
        Found::It(_) | Found::Nothing | Found::Refused(_) => {}
    }
    if !is_found {
        return Err(Failure::new(Code::NotFound, format!("`{}` is no install of NanoClaw", dir.display()))
            .hint(format!("it has one of {}, {FIRST}", SECOND.join(", ")))
            .field("dir"));
    }
    let (lines, left) = sheet.end(&room.dir.join("all.jsonl"))?;
    super::carry::hand_over(context, lines, left, dry_run).await
}

fn unreadable(path: &str, why: &str) -> Failure {
    Failure::new(Code::PathUnusable, format!("the database {path} cannot be read: {why}")).field("dir")
}

fn note_platforms(install: &Install<'_>, central: &source::Copy) {
    for row in central.rows("messaging_groups", &["id", "channel_type", "platform_id"], "id").unwrap_or_default() {
        let key = (words::text(&row, "channel_type"), words::text(&row, "platform_id"));
        install.platforms.borrow_mut().insert(key, words::text(&row, "id"));
    }
}

/// The zone of an install, as its settings say.
fn zone_of(source: &Source) -> String {
    let Found::It(text) = source.text(".env", TEXT_BYTES_MAX) else { return "UTC".to_owned() };
    let found = super::import::lines(&text).into_iter().find(|(name, _)| name == "TZ" || name == "TIMEZONE");
    found.map(|(_, zone)| zone).filter(|zone| jiff::tz::TimeZone::get(zone).is_ok()).unwrap_or_else(|| "UTC".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_into_entries_that_fit() {
        assert_eq!(entries("# A\r\nb\n\n\n  c \n\n\u{7}"), ["# A\nb", "c"]);
        let long = format!("{}\n\n{}", "x".repeat(5000), "y ".repeat(3000));
        let all = entries(&long);
        assert!(all.len() >= 6 && all.iter().all(|one| one.chars().count() <= MEMORY_CONTENT_CHARS_MAX), "{}", all.len());
        assert!(entries("").is_empty());
    }
}
