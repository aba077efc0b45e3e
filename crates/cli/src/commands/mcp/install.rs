//! Telling an agent program of the coordinator's tools: an entry in the project's .mcp.json, and a skill.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use model::{Code, Failure};
use serde_json::{Map, Value, json};

use super::super::Context;
use super::NAME;
use crate::commands::branches::repo;
use crate::exit::{Done, clean};
use crate::out;

/// Where the entry is, in a project.
const ENTRY: &str = ".mcp.json";
/// Where the skill is.
const SKILL: &str = ".claude/skills/spawn-agent/SKILL.md";
/// What it says.
const SKILL_TEXT: &str = include_str!("../../../../../share/coordinator/SKILL.md");
/// The largest file that is read.
const FILE_BYTES_MAX: u64 = 1 << 20;

pub(super) fn run(context: &Context, dir: Option<&Path>, remove: bool) -> Done {
    let dir = match dir {
        Some(dir) => fs::canonicalize(dir).map_err(|e| unusable(dir, &e.to_string()))?,
        None => repo::needed(None)?,
    };
    let (entry, skill) = (dir.join(ENTRY), dir.join(SKILL));
    let before = entries(&entry)?;
    let skill_before = text(&skill)?;
    // Everything is looked at before anything is written.
    if skill_before.as_deref().is_some_and(|text| text != SKILL_TEXT) {
        let what = if remove { "removed" } else { "written over" };
        return Err(unusable(&skill, &format!("it was changed, and is not {what}")).hint("move it away, and say this again"));
    }
    let own = own(&before);
    if own.is_some_and(|own| !is_ours(own)) {
        return Err(unusable(&entry, &format!("it has another server called `{NAME}`")).hint("rename that one, and say this again"));
    }
    let done = if remove { removed(&entry, before, &skill, skill_before.is_some())? } else { written(&entry, before, &skill)? };
    if context.json {
        out::json(&json!({ "changed": done }))?;
    } else if done.is_empty() {
        out::line(if remove { "nothing was installed" } else { "everything is there already" });
    } else {
        let verb = if remove { "removed" } else { "wrote" };
        done.iter().for_each(|what| out::line(&clean(&format!("{verb} {what}"))));
        if !remove {
            out::note("start the agent program in this project, and let it use the server: for example `claude`, then /mcp");
        }
    }
    Ok(0)
}

fn written(entry: &Path, mut all: Map<String, Value>, skill: &Path) -> Result<Vec<String>, Failure> {
    let program = std::env::current_exe().map_err(|e| Failure::new(Code::Internal, format!("this program cannot be found: {e}")))?;
    let wanted = json!({"command": program, "args": ["mcp"]});
    let mut done = Vec::new();
    if own(&all) != Some(&wanted) {
        let servers = all.entry("mcpServers").or_insert_with(|| json!({}));
        let servers = servers.as_object_mut().ok_or_else(|| unusable(entry, "`mcpServers` is not an object"))?;
        servers.insert(NAME.to_owned(), wanted);
        put(entry, &pretty(&all))?;
        done.push(format!("the MCP server `{NAME}` in {}", entry.display()));
    }
    if text(skill)?.is_none() {
        fs::create_dir_all(skill.parent().unwrap_or(skill)).map_err(|e| unusable(skill, &e.to_string()))?;
        put(skill, SKILL_TEXT)?;
        done.push(format!("the skill spawn-agent, {}", skill.display()));
    }
    Ok(done)
}

fn removed(entry: &Path, mut all: Map<String, Value>, skill: &Path, has_skill: bool) -> Result<Vec<String>, Failure> {
    let mut done = Vec::new();
    if own(&all).is_some() {
        if let Some(servers) = all.get_mut("mcpServers").and_then(Value::as_object_mut) {
            servers.remove(NAME);
            if servers.is_empty() {
                all.remove("mcpServers");
            }
        }
        if all.is_empty() {
            fs::remove_file(entry).map_err(|e| unusable(entry, &e.to_string()))?;
        } else {
            put(entry, &pretty(&all))?;
        }
        done.push(format!("the MCP server `{NAME}` from {}", entry.display()));
    }
    if has_skill {
        fs::remove_file(skill).map_err(|e| unusable(skill, &e.to_string()))?;
        // Directories that hold more stay.
        skill.ancestors().skip(1).take(3).take_while(|dir| fs::remove_dir(dir).is_ok()).for_each(drop);
        done.push(format!("the skill spawn-agent, {}", skill.display()));
    }
    Ok(done)
}

/// The server of our name.
fn own(all: &Map<String, Value>) -> Option<&Value> {
    all.get("mcpServers")?.get(NAME)
}

/// Whether this program, at whatever place, wrote the entry.
fn is_ours(entry: &Value) -> bool {
    let program = entry["command"].as_str().map(Path::new).and_then(Path::file_name);
    program.is_some_and(|name| name == NAME) && entry["args"] == json!(["mcp"])
}

fn entries(path: &Path) -> Result<Map<String, Value>, Failure> {
    let Some(text) = text(path)? else { return Ok(Map::new()) };
    serde_json::from_str(&text).map_err(|e| unusable(path, &format!("it is not a JSON object: {e}")).hint("mend it, and say this again"))
}

/// What a file says; `None` when there is none. A link is not followed: a repository could have planted it.
fn text(path: &Path) -> Result<Option<String>, Failure> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unusable(path, &error.to_string())),
        Ok(meta) if !meta.is_file() => return Err(unusable(path, "it is not a plain file")),
        Ok(meta) if meta.len() > FILE_BYTES_MAX => return Err(unusable(path, &format!("it is larger than {FILE_BYTES_MAX} bytes"))),
        Ok(_) => {}
    }
    fs::read_to_string(path).map(Some).map_err(|e| unusable(path, &e.to_string()))
}

/// Writes a file whole, or not at all.
fn put(path: &Path, text: &str) -> Result<(), Failure> {
    let dir = path.parent().map_or_else(|| PathBuf::from("."), Path::to_owned);
    // A link in the way would lead out of the project.
    let real = fs::canonicalize(&dir).map_err(|e| unusable(path, &e.to_string()))?;
    if real != dir {
        return Err(unusable(path, "its directory is reached through a link"));
    }
    let fresh = dir.join(format!(".lazaret-fresh-{}", std::process::id()));
    let replace = || -> std::io::Result<()> {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o644).open(&fresh)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&fresh, path)
    };
    replace().map_err(|e| {
        // What is left of it is of no use to anybody.
        let _ = fs::remove_file(&fresh);
        unusable(path, &e.to_string())
    })
}

fn pretty(all: &Map<String, Value>) -> String {
    // A map of JSON is always written.
    serde_json::to_string_pretty(all).unwrap_or_default() + "\n"
}

fn unusable(path: &Path, why: &str) -> Failure {
    Failure::new(Code::PathUnusable, format!("{} cannot be used: {why}", path.display()))
}
