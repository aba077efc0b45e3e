//! Skills: what is in force of each, and its files.

use crate::db::{Connection, OptionalExtension, Row, params};
use model::Timestamp;
use serde_json::Value;

use crate::error::Doing;
use crate::row::{int, json, to_json};
use crate::writer::Kind;
use crate::{Store, StoreError};

/// Skills that a store may hold.
pub const SKILLS_MAX: u64 = 500;
/// Bytes of the archive of one skill.
pub const SKILL_ARCHIVE_BYTES_MAX: usize = 12 << 20;
/// Versions of one skill that are remembered, the youngest.
pub const SKILL_VERSIONS_MAX: u64 = 100;
/// Bytes of what is said about a skill, as JSON.
const ABOUT_BYTES_MAX: usize = 512 << 10;

/// A skill that is in force.
#[derive(Debug, Clone, PartialEq)]
pub struct SkillRow {
    /// Its name.
    pub name: String,
    /// The hash over its files.
    pub hash: String,
    /// 1 for the first files, and one more with each change.
    pub version: u64,
    /// What it is for.
    pub description: String,
    /// Where it came from.
    pub source: String,
    /// Its files, and what was shown before the yes. What stands in it is the caller's to know.
    pub about: Value,
    /// Who said yes.
    pub actor: String,
    /// When the first version was approved.
    pub created: Timestamp,
    /// When this one was.
    pub approved: Timestamp,
}

/// A skill to be put in force.
#[derive(Debug, Clone, PartialEq)]
pub struct NewSkill {
    /// Its name.
    pub name: String,
    /// The hash over its files.
    pub hash: String,
    /// What it is for.
    pub description: String,
    /// Where it came from.
    pub source: String,
    /// Its files, and what was shown before the yes.
    pub about: Value,
    /// Who said yes.
    pub actor: String,
    /// Its files.
    pub archive: Vec<u8>,
    /// The version that it takes the place of; `None` where there must be none.
    pub replaces: Option<u64>,
}

/// What was in force at some time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkillVersion {
    /// Which one.
    pub version: u64,
    /// The hash over its files.
    pub hash: String,
    /// Where it came from.
    pub source: String,
    /// Who said yes.
    pub actor: String,
    /// When.
    pub approved: Timestamp,
}

impl Store {
    /// Puts a skill in force, with its files, at once. The files of the version before go.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when another version is in force than was meant, [`StoreError::Limit`] at [`SKILLS_MAX`],
    /// [`StoreError::Invalid`] when the name is none or something is too long.
    pub async fn put_skill(&self, new: NewSkill, now: Timestamp) -> Result<SkillRow, StoreError> {
        if !model::is_name(&new.name) {
            return Err(StoreError::invalid("name", "is not one: small letters, digits and `-`"));
        }
        if new.archive.len() > SKILL_ARCHIVE_BYTES_MAX {
            return Err(StoreError::invalid("archive", format!("has more than {SKILL_ARCHIVE_BYTES_MAX} bytes")));
        }
        let about = to_json("about", &new.about)?;
        if about.len() > ABOUT_BYTES_MAX {
            return Err(StoreError::invalid("about", format!("has more than {ABOUT_BYTES_MAX} bytes")));
        }
        self.write(Kind::SkillPut, new.archive.len() + about.len(), move |conn| put(conn, &new, &about, now)).await
    }

    /// Every skill, by name: at most [`SKILLS_MAX`].
    ///
    /// # Errors
    /// What the database said.
    pub async fn list_skills(&self) -> Result<Vec<SkillRow>, StoreError> {
        self.read(|conn| {
            let mut statement = conn.prepare_cached("SELECT * FROM skills ORDER BY name").doing("list skills")?;
            let rows = statement.query_map([], from_row).doing("list skills")?;
            rows.collect::<crate::db::Result<_>>().doing("list skills")
        })
        .await
    }

    /// The archive of the files with this hash.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when no skill in force has them.
    pub async fn skill_archive(&self, hash: &str) -> Result<Vec<u8>, StoreError> {
        let hash = hash.to_owned();
        self.read(move |conn| {
            let found = conn.query_row("SELECT archive FROM skill_bodies WHERE hash = ?1", [&hash], |r| r.get(0)).optional();
            found.doing("read a skill's files")?.ok_or(StoreError::NotFound { what: "files of a skill", id: hash })
        })
        .await
    }

    /// What was in force of a skill, the youngest first: at most [`SKILL_VERSIONS_MAX`].
    ///
    /// # Errors
    /// What the database said.
    pub async fn skill_versions(&self, name: &str) -> Result<Vec<SkillVersion>, StoreError> {
        let name = name.to_owned();
        self.read(move |conn| {
            let doing = "list a skill's versions";
            let sql = "SELECT * FROM skill_versions WHERE name = ?1 ORDER BY version DESC";
            let mut statement = conn.prepare_cached(sql).doing(doing)?;
            let rows = statement.query_map([&name], |row| {
                Ok(SkillVersion {
                    version: row.get("version")?,
                    hash: row.get("hash")?,
                    source: row.get("source")?,
                    actor: row.get("actor")?,
                    approved: Timestamp(row.get("approved_ms")?),
                })
            });
            rows.doing(doing)?.collect::<crate::db::Result<_>>().doing(doing)
        })
        .await
    }

    /// Forgets a skill, its files and what was in force before.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn remove_skill(&self, name: &str) -> Result<(), StoreError> {
        let name = name.to_owned();
        self.write(Kind::SkillRemove, 0, move |conn| {
            let doing = "remove a skill";
            if conn.execute("DELETE FROM skills WHERE name = ?1", [&name]).doing(doing)? == 0 {
                return Err(StoreError::NotFound { what: "skill", id: name });
            }
            sweep(conn).doing(doing)
        })
        .await
    }
}

fn put(conn: &Connection, new: &NewSkill, about: &str, now: Timestamp) -> Result<SkillRow, StoreError> {
    let doing = "keep a skill";
    let there: Option<u64> =
        conn.query_row("SELECT version FROM skills WHERE name = ?1", [&new.name], |r| r.get(0)).optional().doing(doing)?;
    if there != new.replaces {
        let now = there.map_or_else(|| "is not there".to_owned(), |version| format!("is at version {version}"));
        return Err(StoreError::Conflict(format!("skill `{}` {now}", new.name)));
    }
    let count: u64 = conn.query_row("SELECT count(*) FROM skills", [], |r| r.get(0)).doing(doing)?;
    if there.is_none() && count >= SKILLS_MAX {
        return Err(StoreError::Limit { what: "skills", max: SKILLS_MAX });
    }
    let (version, at) = (int("version", there.unwrap_or(0) + 1)?, int("now", now.0)?);
    let sql = "INSERT INTO skill_bodies (hash, archive) VALUES (?1, ?2) ON CONFLICT (hash) DO UPDATE SET archive = excluded.archive";
    conn.execute(sql, params![&new.hash, &new.archive]).doing(doing)?;
    let sql = "INSERT INTO skills (name, hash, version, description, source, about, actor, created_ms, approved_ms)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8)
               ON CONFLICT (name) DO UPDATE SET hash = excluded.hash, version = excluded.version, description = excluded.description,
                 source = excluded.source, about = excluded.about, actor = excluded.actor, approved_ms = excluded.approved_ms
               RETURNING *";
    let values = params![&new.name, &new.hash, version, &new.description, &new.source, about, &new.actor, at];
    let row = conn.query_row(sql, values, from_row).doing(doing)?;
    let sql = "INSERT INTO skill_versions (name, version, hash, source, actor, approved_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    conn.execute(sql, params![&new.name, version, &new.hash, &new.source, &new.actor, at]).doing(doing)?;
    let sql = "DELETE FROM skill_versions WHERE name = ?1 AND version <= ?2";
    conn.execute(sql, params![&new.name, version - int("versions", SKILL_VERSIONS_MAX)?]).doing(doing)?;
    sweep(conn).doing(doing)?;
    Ok(row)
}

/// Files that no skill has any more.
fn sweep(conn: &Connection) -> crate::db::Result<()> {
    conn.execute("DELETE FROM skill_bodies WHERE hash NOT IN (SELECT hash FROM skills)", []).map(drop)
}

fn from_row(row: &Row<'_>) -> crate::db::Result<SkillRow> {
    Ok(SkillRow {
        name: row.get("name")?,
        hash: row.get("hash")?,
        version: row.get("version")?,
        description: row.get("description")?,
        source: row.get("source")?,
        about: json(row, "about")?,
        actor: row.get("actor")?,
        created: Timestamp(row.get("created_ms")?),
        approved: Timestamp(row.get("approved_ms")?),
    })
}
