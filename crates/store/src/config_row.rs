//! Profiles, engines, templates and hooks: texts with versions. What stands in one is the caller's to know.

use model::Timestamp;
use serde::Serialize;

use crate::db::{Connection, OptionalExtension, Row};
use crate::error::Doing;
use crate::row::int;
use crate::session::check_name;
use crate::writer::Kind;
use crate::{Store, StoreError};

/// Bytes that the text of a version may have: 100,000 characters.
pub const CONFIG_BYTES_MAX: usize = 400_000;
/// Characters that the description of a version may have.
pub const CONFIG_DESCRIPTION_CHARS_MAX: usize = 2000;
/// Configurations of one kind that a tenant may have, those included that were removed.
pub const CONFIGS_MAX: u64 = 1000;
/// Versions that are kept of one configuration; beyond it the oldest go.
pub const CONFIG_VERSIONS_MAX: u64 = 100;

/// Which configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConfigKey {
    /// Whose.
    pub tenant: String,
    /// `profile`, `engine`, `template` or `hook`.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// A version of a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConfigRow {
    /// Which configuration.
    #[serde(flatten)]
    pub key: ConfigKey,
    /// Counts from 1, or from what [`NewConfig::after`] says.
    pub version: u64,
    /// The text.
    pub content: String,
    /// For people.
    pub description: String,
    /// Whether this version says that it was removed.
    pub removed: bool,
    /// Who made it.
    pub actor: String,
    /// When the first version was made.
    pub created: Timestamp,
    /// When this one was.
    pub updated: Timestamp,
}

/// What must be true of the configuration for a version to be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigRule {
    /// It is not there.
    New,
    /// It is there.
    There,
    /// Its version is this one.
    At(u64),
    /// Nothing.
    Any,
}

/// A version to be added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewConfig {
    /// Which configuration.
    pub key: ConfigKey,
    /// The text.
    pub content: String,
    /// For people; that of the version before when `None`.
    pub description: Option<String>,
    /// Whether it is removed with this version.
    pub removed: bool,
    /// The version that is there without a row, 0 for none: what the program ships with counts as a version.
    pub after: u64,
    /// What must be true.
    pub rule: ConfigRule,
    /// Who makes it.
    pub actor: String,
    /// Now.
    pub now: Timestamp,
}

impl Store {
    /// Adds a version.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] or [`StoreError::NotFound`] when the rule does not hold, [`StoreError::Limit`] at
    /// [`CONFIGS_MAX`], [`StoreError::Invalid`] when a field is out of bounds.
    pub async fn put_config(&self, new: NewConfig) -> Result<ConfigRow, StoreError> {
        check_name("tenant", &new.key.tenant)?;
        check_name("name", &new.key.name)?;
        check_name("actor", &new.actor)?;
        if new.content.len() > CONFIG_BYTES_MAX {
            return Err(StoreError::invalid("content", format!("has more than {CONFIG_BYTES_MAX} bytes")));
        }
        if new.description.as_ref().is_some_and(|text| text.chars().count() > CONFIG_DESCRIPTION_CHARS_MAX) {
            return Err(StoreError::invalid("description", format!("has more than {CONFIG_DESCRIPTION_CHARS_MAX} characters")));
        }
        self.write(Kind::ConfigPut, new.content.len(), move |conn| put(conn, &new)).await
    }

    /// The last version, also one that says that it was removed; `None` when there was never one.
    ///
    /// # Errors
    /// What the database said.
    pub async fn config(&self, key: &ConfigKey) -> Result<Option<ConfigRow>, StoreError> {
        let key = key.clone();
        self.read(move |conn| last(conn, &key)).await
    }

    /// A version.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn config_version(&self, key: &ConfigKey, version: u64) -> Result<ConfigRow, StoreError> {
        let key = key.clone();
        self.read(move |conn| {
            let sql = "SELECT * FROM configs WHERE tenant = ?1 AND kind = ?2 AND name = ?3 AND version = ?4";
            let with = (&key.tenant, &key.kind, &key.name, int("version", version)?);
            let row = conn.query_row(sql, with, from_row).optional().doing("read a configuration")?;
            row.ok_or_else(|| missing(&key))
        })
        .await
    }

    /// The last version of every configuration of a kind, by name, those included that were removed: at most
    /// [`CONFIGS_MAX`].
    ///
    /// # Errors
    /// What the database said.
    pub async fn list_configs(&self, tenant: &str, kind: &str) -> Result<Vec<ConfigRow>, StoreError> {
        let (tenant, kind) = (tenant.to_owned(), kind.to_owned());
        self.read(move |conn| {
            let sql = "SELECT c.* FROM configs c WHERE c.tenant = ?1 AND c.kind = ?2 AND c.version =
                         (SELECT max(d.version) FROM configs d WHERE d.tenant = c.tenant AND d.kind = c.kind AND d.name = c.name)
                       ORDER BY c.name";
            rows(conn, sql, &[&tenant, &kind])
        })
        .await
    }

    /// Of every tenant that may work, but for one, the last version of those of a kind whose text holds this word (small
    /// letters, no wildcards), by tenant and name: at most [`CONFIGS_MAX`] of all of them.
    ///
    /// # Errors
    /// What the database said.
    pub async fn configs_of_others(&self, but: &str, kind: &str, word: &str) -> Result<Vec<ConfigRow>, StoreError> {
        let (but, kind, like) = (but.to_owned(), kind.to_owned(), format!("%{word}%"));
        let sql = format!(
            "SELECT c.* FROM configs c WHERE c.tenant <> ?1 AND c.kind = ?2 AND c.content LIKE ?3 AND c.removed = 0
               AND NOT EXISTS (SELECT 1 FROM tenants t WHERE t.name = c.tenant AND t.state <> 'active') AND c.version =
                 (SELECT max(d.version) FROM configs d WHERE d.tenant = c.tenant AND d.kind = c.kind AND d.name = c.name)
             ORDER BY c.tenant, c.name LIMIT {CONFIGS_MAX}"
        );
        self.read(move |conn| rows(conn, &sql, &[&but, &kind, &like])).await
    }

    /// Every version of a configuration, the youngest first: at most [`CONFIG_VERSIONS_MAX`].
    ///
    /// # Errors
    /// What the database said.
    pub async fn config_history(&self, key: &ConfigKey) -> Result<Vec<ConfigRow>, StoreError> {
        let key = key.clone();
        self.read(move |conn| {
            let sql = "SELECT * FROM configs WHERE tenant = ?1 AND kind = ?2 AND name = ?3 ORDER BY version DESC";
            rows(conn, sql, &[&key.tenant, &key.kind, &key.name])
        })
        .await
    }
}

fn rows(conn: &Connection, sql: &str, with: &[&String]) -> Result<Vec<ConfigRow>, StoreError> {
    let doing = "list configurations";
    let mut statement = conn.prepare_cached(sql).doing(doing)?;
    let rows = match with {
        [a, b] => statement.query_map((a, b), from_row).doing(doing)?.collect::<crate::db::Result<_>>(),
        [a, b, c] => statement.query_map((a, b, c), from_row).doing(doing)?.collect::<crate::db::Result<_>>(),
        _ => Ok(Vec::new()),
    };
    rows.doing(doing)
}

fn put(conn: &Connection, new: &NewConfig) -> Result<ConfigRow, StoreError> {
    let doing = "keep a configuration";
    let key = &new.key;
    let before = last(conn, key)?;
    let version = before.as_ref().map_or(new.after, |row| row.version);
    let is_there = before.as_ref().map_or(new.after > 0, |row| !row.removed);
    let label = || format!("{} `{}`", key.kind, key.name);
    match new.rule {
        ConfigRule::New if is_there => return Err(StoreError::Conflict(format!("{} exists", label()))),
        ConfigRule::There | ConfigRule::At(_) if !is_there => return Err(missing(key)),
        ConfigRule::At(at) if at != version => {
            return Err(StoreError::Conflict(format!("{} has version {version} by now, not {at}", label())));
        }
        _ => {}
    }
    if before.is_none() {
        let sql = "SELECT count(*) FROM (SELECT DISTINCT name FROM configs WHERE tenant = ?1 AND kind = ?2) AS names";
        let count: u64 = conn.query_row(sql, (&key.tenant, &key.kind), |r| r.get(0)).doing(doing)?;
        if count >= CONFIGS_MAX {
            return Err(StoreError::Limit { what: "configurations", max: CONFIGS_MAX });
        }
    }
    let now = int("now", new.now.0)?;
    let created = before.as_ref().map_or(Ok(now), |row| int("created", row.created.0))?;
    let description = new.description.clone().or_else(|| before.map(|row| row.description)).unwrap_or_default();
    let sql = "INSERT INTO configs (tenant, kind, name, version, content, description, removed, actor, created_ms, updated_ms)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) RETURNING *";
    let with = (
        &key.tenant,
        &key.kind,
        &key.name,
        int("version", version + 1)?,
        &new.content,
        description,
        i64::from(new.removed),
        &new.actor,
        created,
        now,
    );
    let row = conn.query_row(sql, with, from_row).doing(doing)?;
    let sql = "DELETE FROM configs WHERE tenant = ?1 AND kind = ?2 AND name = ?3 AND version <= ?4";
    let oldest = int("version", (version + 1).saturating_sub(CONFIG_VERSIONS_MAX))?;
    conn.execute(sql, (&key.tenant, &key.kind, &key.name, oldest)).doing(doing)?;
    Ok(row)
}

fn last(conn: &Connection, key: &ConfigKey) -> Result<Option<ConfigRow>, StoreError> {
    let sql = "SELECT * FROM configs WHERE tenant = ?1 AND kind = ?2 AND name = ?3 ORDER BY version DESC LIMIT 1";
    let mut statement = conn.prepare_cached(sql).doing("read a configuration")?;
    statement.query_row((&key.tenant, &key.kind, &key.name), from_row).optional().doing("read a configuration")
}

fn missing(key: &ConfigKey) -> StoreError {
    let what = match key.kind.as_str() {
        "profile" => "profile",
        "engine" => "engine",
        "template" => "template",
        _ => "hook",
    };
    StoreError::NotFound { what, id: key.name.clone() }
}

fn from_row(row: &Row<'_>) -> crate::db::Result<ConfigRow> {
    Ok(ConfigRow {
        key: ConfigKey { tenant: row.get("tenant")?, kind: row.get("kind")?, name: row.get("name")? },
        version: row.get("version")?,
        content: row.get("content")?,
        description: row.get("description")?,
        removed: row.get::<_, i64>("removed")? == 1,
        actor: row.get("actor")?,
        created: Timestamp(row.get("created_ms")?),
        updated: Timestamp(row.get("updated_ms")?),
    })
}
