//! How skills are asked for and shown.

use model::Timestamp;
use serde::{Deserialize, Serialize};

/// A file of a skill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SkillFile {
    /// Its path in the skill's folder.
    pub path: String,
    /// How long it is.
    pub bytes: u64,
    /// Whether it is a program.
    pub executable: bool,
    /// The hash over it, in hexadecimal.
    pub sha256: String,
}

/// Something in a skill that a person should see before they say yes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SkillFinding {
    /// The file.
    pub file: String,
    /// The line, from 1; 0 where it is about the whole file.
    pub line: u32,
    /// What it is: `bidi`, `invisible`, `control`, `comment`, `long-line`, `command`, `hooks`, `binary`, `downgrade` or `more`.
    pub kind: String,
    /// The place, with everything that hides in it spelled out.
    pub text: String,
}

/// What a skill would be, or what a change of one would change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SkillReview {
    /// Its name.
    pub name: String,
    /// What it says it is for.
    pub description: String,
    /// Where it comes from.
    pub source: String,
    /// The hash over its files: what a yes is for.
    pub hash: String,
    /// Its files.
    pub files: Vec<SkillFile>,
    /// What a person should see before.
    pub findings: Vec<SkillFinding>,
    /// The version that is in force, if there is one.
    pub replaces: Option<u64>,
    /// Files that are new (`+`), other (`~`) or gone (`-`) against that version.
    pub changes: Vec<String>,
}

/// A skill to put in force.
#[derive(Debug, Clone, Default)]
pub struct SkillOrder {
    /// Where it came from, for people and for a later update.
    pub source: String,
    /// The folder in the archive that is the skill; where it is the only one, it is found without.
    pub path: Option<String>,
    /// The skill that this is a new version of; `None` adds one that must not be there.
    pub replaces: Option<String>,
    /// What was shown: `sha256:` and 64 digits. Needed where anything was found that a person should see.
    pub hash: Option<String>,
}

/// Whether a skill's files can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SkillState {
    /// They are those that were approved.
    Ready,
    /// They were changed in the home: no session begins with them.
    Changed,
}

/// A skill.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SkillView {
    /// Its name.
    pub name: String,
    /// What it says it is for.
    pub description: String,
    /// How often its files changed, from 1.
    pub version: u64,
    /// The hash over the files that are approved.
    pub hash: String,
    /// Where it came from.
    pub source: String,
    /// Whether it is part of the program.
    pub shipped: bool,
    /// Its files.
    pub files: Vec<SkillFile>,
    /// What was shown before the yes.
    pub findings: Vec<SkillFinding>,
    /// Who approved it; nobody had to where it ships.
    pub approved_by: Option<String>,
    /// When.
    pub approved: Option<Timestamp>,
    /// Agents that have it.
    pub agents: Vec<String>,
    /// Whether its files can be used, where that was looked at.
    pub state: Option<SkillState>,
    /// The hash over the files as they are in the home, where they were changed.
    pub found: Option<String>,
    /// Files that were changed there.
    pub changes: Vec<String>,
}

/// What was in force at some time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SkillVersionView {
    /// Which one.
    pub version: u64,
    /// The hash over its files.
    pub hash: String,
    /// Where it came from.
    pub source: String,
    /// Who approved it.
    pub approved_by: String,
    /// When.
    pub approved: Timestamp,
}

impl From<store::SkillVersion> for SkillVersionView {
    fn from(row: store::SkillVersion) -> Self {
        Self { version: row.version, hash: row.hash, source: row.source, approved_by: row.actor, approved: row.approved }
    }
}
