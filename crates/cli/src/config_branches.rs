//! The parts of the configuration that say how branch agents commit, and how long they stay.

use std::time::Duration;

use model::parse_duration;
use serde::{Deserialize, Serialize};

use crate::config::Config;

/// The longest name, address or trailer, in characters.
const TEXT_CHARS_MAX: usize = 200;
/// The shortest time that agents stay.
const KEPT_MIN: Duration = Duration::from_secs(3600);
/// The word for what is not done.
const OFF: &str = "off";

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Git {
    /// Whose name the commits of branch agents carry, as `NAME <ADDRESS>`; by default the user's, as their git knows it.
    pub(crate) author: Option<String>,
    /// The trailer in which commits name the program that made them: by default `Co-authored-by`; `off` for none.
    pub(crate) trailer: Option<String>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Branches {
    /// How long branch agents stay whose work is merged: from 1h; by default `off`, for ever.
    pub(crate) keep_merged: Option<String>,
    /// How long branch agents stay that nobody asks anything of: from 1h; by default `off`, for ever. One whose work would be lost stays
    /// all the same: its branch must have its commits, and nothing may be uncommitted.
    pub(crate) keep_idle: Option<String>,
}

impl Config {
    /// How branch agents commit, and how long they stay.
    pub(crate) fn branch_settings(&self) -> Result<app::BranchSettings, String> {
        let usual = app::BranchSettings::default();
        let trailer = match self.git.trailer.as_deref() {
            None => usual.trailer,
            Some(OFF) => None,
            Some(text) if is_trailer(text) => Some(text.to_owned()),
            Some(text) => return Err(format!("git.trailer: `{}` is no name of a trailer, like Co-authored-by", text.escape_debug())),
        };
        Ok(app::BranchSettings {
            author: self.git.author.as_deref().map(author).transpose()?,
            trailer,
            keep_merged: kept("branches.keep_merged", self.branches.keep_merged.as_deref())?,
            keep_idle: kept("branches.keep_idle", self.branches.keep_idle.as_deref())?,
        })
    }
}

fn is_trailer(text: &str) -> bool {
    let is_short = text.len() <= TEXT_CHARS_MAX && text.starts_with(|c: char| c.is_ascii_alphabetic());
    is_short && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

fn author(text: &str) -> Result<app::BranchAuthor, String> {
    let wrong = || format!("git.author: `{}` is not NAME <ADDRESS>", text.escape_debug());
    let (name, email) = text.strip_suffix('>').and_then(|text| text.split_once('<')).ok_or_else(wrong)?;
    let plain = |text: &str| {
        !text.is_empty() && text.chars().count() <= TEXT_CHARS_MAX && !text.chars().any(|c| c.is_control() || "<>".contains(c))
    };
    let (name, email) = (name.trim(), email.trim());
    if plain(name) && plain(email) { Ok(app::BranchAuthor { name: name.to_owned(), email: email.to_owned() }) } else { Err(wrong()) }
}

fn kept(key: &str, text: Option<&str>) -> Result<Option<Duration>, String> {
    let Some(text) = text.filter(|text| *text != OFF) else { return Ok(None) };
    let time = parse_duration(text).ok_or_else(|| format!("{key}: `{}` is not a time like 12h or 240h", text.escape_debug()))?;
    if time < KEPT_MIN {
        return Err(format!("{key}: at least 1h"));
    }
    Ok(Some(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<app::BranchSettings, String> {
        toml::from_str::<Config>(text).map_err(|e| e.to_string())?.branch_settings()
    }

    #[test]
    fn who_commits_and_what_stays_is_read_exactly() {
        assert_eq!(read(""), Ok(app::BranchSettings::default()));
        let all =
            "[git]\nauthor = \"Una Ray <una@example.org>\"\ntrailer = \"off\"\n[branches]\nkeep_merged = \"24h\"\nkeep_idle = \"off\"";
        let read_all = read(all).expect("it is right");
        assert_eq!(read_all.author.map(|by| (by.name, by.email)), Some(("Una Ray".to_owned(), "una@example.org".to_owned())));
        assert_eq!((read_all.trailer, read_all.keep_merged, read_all.keep_idle), (None, Some(Duration::from_secs(86_400)), None));
        for bad in [
            "[git]\nauthor = \"Una\"", "[git]\nauthor = \"<x@y>\"", "[git]\nauthor = \"a <b> <c>\"", "[git]\ntrailer = \"a b\"",
            "[git]\ntrailer = \"\"", "[git]\nname = \"x\"", "[branches]\nkeep_merged = \"1s\"", "[branches]\nkeep_idle = \"soon\"",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
