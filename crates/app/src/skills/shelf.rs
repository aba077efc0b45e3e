//! The skills that are in force, at hand: what was approved, and what ships.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use model::{Failure, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use store::{SkillRow, Store};

use super::forms::{SkillFile, SkillFinding};
use super::front::Front;
use super::look::FILE;
use crate::plugins::folder::{hash_leaves, hex};

/// A skill in force.
#[derive(Debug, PartialEq)]
pub(crate) struct Skill {
    pub(crate) name: String,
    pub(crate) hash: String,
    pub(crate) description: String,
    pub(super) version: u64,
    pub(super) source: String,
    pub(super) about: About,
    /// Who approved it, and when; nobody had to where it ships.
    pub(super) approved: Option<(String, Timestamp)>,
    /// Its files, where it ships.
    pub(super) shipped: Option<&'static [(&'static str, &'static str)]>,
}

/// What is kept of a skill beside its files.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct About {
    pub(super) files: Vec<SkillFile>,
    pub(super) findings: Vec<SkillFinding>,
}

/// All of them by name.
pub(crate) type Skills = BTreeMap<String, Arc<Skill>>;

/// The skills that are in force.
pub(crate) struct Shelf {
    all: RwLock<Arc<Skills>>,
    /// Held while they change.
    pub(super) changing: tokio::sync::Mutex<()>,
}

macro_rules! shipped {
    ($($name:literal: $($file:literal),+;)*) => {
        /// The skills that ship: their names, and their files.
        const SHIPPED: &[(&str, &[(&str, &str)])] = &[
            $(($name, &[$(($file, include_str!(concat!("../../../../share/skills/", $name, "/", $file)))),+])),*
        ];
    };
}

shipped! {
    "daily-briefing": "SKILL.md";
    "research-notes": "SKILL.md";
    "repo-care": "SKILL.md", "checklist.md";
}

impl Shelf {
    /// Reads what is in force.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) async fn open(store: &Store) -> Result<Self, Failure> {
        let shelf = Self { all: RwLock::default(), changing: tokio::sync::Mutex::default() };
        shelf.read(store).await?;
        Ok(shelf)
    }

    /// Reads it again: it has changed, here or by another daemon.
    pub(crate) async fn read(&self, store: &Store) -> Result<(), Failure> {
        let mut all: Skills = SHIPPED.iter().map(|(name, files)| ((*name).to_owned(), Arc::new(ship(name, files)))).collect();
        for row in store.list_skills().await.map_err(|e| e.failure())? {
            all.insert(row.name.clone(), Arc::new(of_row(row)));
        }
        *self.all.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(all);
        Ok(())
    }

    pub(crate) fn all(&self) -> Arc<Skills> {
        Arc::clone(&self.all.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn ship(name: &str, files: &'static [(&'static str, &'static str)]) -> Skill {
    let leaves: BTreeMap<PathBuf, (u8, [u8; 32])> =
        files.iter().map(|(file, text)| (Path::new(file).to_owned(), (b'f', Sha256::digest(text).into()))).collect();
    let file = |(file, text): &(&str, &str)| SkillFile {
        path: (*file).to_owned(),
        bytes: text.len() as u64,
        executable: false,
        sha256: hex(&Sha256::digest(text)),
    };
    let text = files.iter().find(|(file, _)| *file == FILE).map_or("", |(_, text)| text);
    Skill {
        name: name.to_owned(),
        hash: hash_leaves(&leaves),
        // A test reads all of them.
        description: Front::read(text).map(|front| front.description).unwrap_or_default(),
        version: 1,
        source: "shipped".to_owned(),
        about: About { files: files.iter().map(file).collect(), findings: Vec::new() },
        approved: None,
        shipped: Some(files),
    }
}

fn of_row(row: SkillRow) -> Skill {
    let about = serde_json::from_value(row.about).unwrap_or_else(|error| {
        tracing::warn!(skill = row.name, %error, "what is kept of a skill is not understood");
        About::default()
    });
    Skill {
        name: row.name,
        hash: row.hash,
        description: row.description,
        version: row.version,
        source: row.source,
        about,
        approved: Some((row.actor, row.approved)),
        shipped: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ships_can_be_used() {
        for (name, files) in SHIPPED {
            let dir = tempfile::tempdir().unwrap();
            for (file, text) in *files {
                std::fs::write(dir.path().join(file), text).unwrap();
            }
            let looked = super::super::look::look(dir.path()).expect(name);
            let skill = ship(name, files);
            assert_eq!((looked.front.name.as_str(), looked.hash.as_str()), (*name, skill.hash.as_str()));
            assert_eq!((looked.files, looked.findings), (skill.about.files, Vec::new()), "{name}");
            assert!(!skill.description.is_empty(), "{name}");
        }
    }
}
