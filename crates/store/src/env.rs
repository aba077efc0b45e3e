//! Envs: named trees that several sessions work in.

use crate::db::{Connection, OptionalExtension, Row};
use model::{SessionId, Timestamp, TreeId};
use serde::Serialize;
use serde_json::Value;

use crate::checkpoint::{check_kept, check_tree_free};
use crate::error::Doing;
use crate::row::{int, json, parsed, to_json};
use crate::session::{LIST_MAX, Page, bounded, check_limit, check_name, page, read_session};
use crate::writer::Kind;
use crate::{Store, StoreError};

/// Characters that the core memory of an env may have. It stands in the instructions of every session.
pub const CORE_MEMORY_CHARS_MAX: usize = 4000;
/// Sessions that a refusal names.
const NAMED_MAX: usize = 10;

/// An env to be made.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEnv {
    /// Its name in paths and addresses.
    pub slug: String,
    /// What people call it.
    pub name: String,
    /// Whose it is.
    pub tenant: String,
    /// Its tree, which nothing else names.
    pub tree: TreeId,
    /// Further mounts, as the caller understands them.
    pub mounts: Value,
    /// Now.
    pub now: Timestamp,
}

/// A stored env.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EnvRow {
    /// Its name in paths and addresses.
    pub slug: String,
    /// What people call it.
    pub name: String,
    /// Whose it is.
    pub tenant: String,
    /// The tree that its sessions work in.
    pub tree: TreeId,
    /// What every session of it is told.
    pub core_memory: String,
    /// Further mounts.
    pub mounts: Value,
    /// `live`, or `deleting` once it takes no more work.
    pub state: String,
    /// When it was made.
    pub created: Timestamp,
    /// When it last changed; not when a session worked in it.
    pub updated: Timestamp,
    /// Sessions in it that are not archived.
    pub sessions: u64,
}

impl Store {
    /// Makes an env.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the slug or the tree is taken, [`StoreError::Invalid`] when a field is out of bounds.
    pub async fn create_env(&self, new: NewEnv) -> Result<EnvRow, StoreError> {
        let mounts = check_new(&new)?;
        self.write(Kind::EnvCreate, mounts.len(), move |conn| {
            check_tree_free(conn, &new.tree)?;
            insert(conn, &new, &mounts, &new.tree)?;
            read_env(conn, &new.slug)
        })
        .await
    }

    /// Makes an env of the tree that a session has; the session goes on in it. What `new` says of a tree is not looked at.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the slug is taken, or the session is in an env or has no tree;
    /// [`StoreError::NotFound`] for the session; [`StoreError::Invalid`] when a field is out of bounds or the tenant is
    /// not the session's.
    pub async fn save_env(&self, new: NewEnv, session: &SessionId) -> Result<EnvRow, StoreError> {
        let mounts = check_new(&new)?;
        let session = session.clone();
        self.write(Kind::EnvSave, mounts.len(), move |conn| save(conn, &new, &mounts, &session)).await
    }

    /// Reads an env.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn env(&self, slug: &str) -> Result<EnvRow, StoreError> {
        let slug = slug.to_owned();
        self.read(move |conn| read_env(conn, &slug)).await
    }

    /// Lists the envs of a tenant, or all, by slug, those after the cursor `after` of an earlier page.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] when `limit` is 0 or above [`LIST_MAX`].
    pub async fn list_envs(&self, tenant: Option<String>, after: Option<String>, limit: usize) -> Result<Page<EnvRow>, StoreError> {
        check_limit(limit, LIST_MAX)?;
        self.read(move |conn| {
            let sql = "SELECT *, (SELECT count(*) FROM sessions WHERE env = slug AND archived_ms IS NULL) AS sessions
                       FROM envs WHERE (?1 IS NULL OR tenant = ?1) AND slug > ?2 ORDER BY slug LIMIT ?3";
            let mut statement = conn.prepare_cached(sql).doing("list envs")?;
            // No slug is empty, so every one comes after that.
            let rows = statement.query_map((tenant, after.unwrap_or_default(), limit + 1), from_row).doing("list envs")?;
            let items = rows.collect::<crate::db::Result<Vec<_>>>().doing("list envs")?;
            Ok(page(items, limit, |e| e.slug.clone()))
        })
        .await
    }

    /// Changes what is said about an env; what is `None` stays.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Conflict`] when it is being deleted, [`StoreError::Invalid`] when a field is
    /// out of bounds.
    pub async fn update_env(
        &self,
        slug: &str,
        name: Option<String>,
        core_memory: Option<String>,
        mounts: Option<Value>,
        now: Timestamp,
    ) -> Result<EnvRow, StoreError> {
        if let Some(name) = &name {
            check_name("name", name)?;
        }
        if let Some(memory) = &core_memory {
            check_memory(memory)?;
        }
        let mounts = mounts.map(|m| bounded("mounts", to_json("mounts", &m)?)).transpose()?;
        let slug = slug.to_owned();
        self.write(Kind::EnvUpdate, mounts.as_ref().map_or(0, String::len), move |conn| {
            if read_env(conn, &slug)?.state != "live" {
                return Err(deleted(&slug));
            }
            let sql = "UPDATE envs SET name = coalesce(?2, name), core_memory = coalesce(?3, core_memory),
                         mounts = coalesce(?4, mounts), updated_ms = max(updated_ms, ?5) WHERE slug = ?1";
            conn.execute(sql, (&slug, name, core_memory, mounts, int("now", now.0)?)).doing("change an env")?;
            read_env(conn, &slug)
        })
        .await
    }

    /// The sessions of an env that are not archived, in the order of making.
    ///
    /// # Errors
    /// What the database said.
    pub async fn env_sessions(&self, slug: &str) -> Result<Vec<SessionId>, StoreError> {
        let slug = slug.to_owned();
        self.read(move |conn| members(conn, &slug)).await
    }

    /// The other sessions that may have changed the files of an env since a checkpoint of `session` was taken: those of
    /// which a turn ended or that went back since, also when they left or are gone, and those with a turn that is not over.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for the checkpoint.
    pub async fn env_changed_since(&self, slug: &str, session: &SessionId, turn: u64) -> Result<Vec<SessionId>, StoreError> {
        let (slug, session) = (slug.to_owned(), session.clone());
        self.read(move |conn| changed_since(conn, &slug, &session, turn)).await
    }

    /// Begins to delete an env: from now on no session joins it, and no turn of its sessions is accepted or leased. Says
    /// which sessions are in it and not archived. One that is being deleted already stays so.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Conflict`] while a turn of a session in it is not over, unless `force`.
    pub async fn mark_env_deleting(&self, slug: &str, force: bool, now: Timestamp) -> Result<Vec<SessionId>, StoreError> {
        let slug = slug.to_owned();
        self.write(Kind::EnvMark, 0, move |conn| {
            let env = read_env(conn, &slug)?;
            if env.state == "live" {
                if !force {
                    check_unused(conn, &slug)?;
                }
                let sql = "UPDATE envs SET state = 'deleting', updated_ms = max(updated_ms, ?2) WHERE slug = ?1";
                conn.execute(sql, (&slug, int("now", now.0)?)).doing("delete an env")?;
            }
            members(conn, &slug)
        })
        .await
    }

    /// Removes an env that is being deleted, and gives the tree that it had. Its sessions stay; they are refused further
    /// turns, also when there is an env of the same slug later.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Conflict`] when its deletion did not begin.
    pub async fn delete_env(&self, slug: &str) -> Result<TreeId, StoreError> {
        let slug = slug.to_owned();
        self.write(Kind::EnvDelete, 0, move |conn| {
            let env = read_env(conn, &slug)?;
            if env.state != "deleting" {
                return Err(StoreError::Conflict(format!("env `{slug}` is in use")));
            }
            // No slug has a space, so nobody can take this name and with it those who bear it.
            conn.execute("UPDATE sessions SET env = env || ' (deleted)' WHERE env = ?1", [&slug]).doing("delete an env")?;
            conn.execute("DELETE FROM envs WHERE slug = ?1", [&slug]).doing("delete an env")?;
            Ok(env.tree)
        })
        .await
    }
}

/// Refuses work in an env that is deleted or on its way there.
pub(crate) fn check_env(conn: &Connection, env: Option<&str>) -> Result<(), StoreError> {
    let Some(slug) = env else { return Ok(()) };
    let mut statement = conn.prepare_cached("SELECT state = 'live' FROM envs WHERE slug = ?1").doing("look for an env")?;
    let live: Option<bool> = statement.query_row([slug], |r| r.get(0)).optional().doing("look for an env")?;
    if live == Some(true) { Ok(()) } else { Err(deleted(slug)) }
}

/// Checks that a session of a tenant may begin in an env.
pub(crate) fn join(conn: &Connection, slug: &str, tenant: &str) -> Result<(), StoreError> {
    let mut statement = conn.prepare_cached("SELECT tenant, host FROM envs WHERE slug = ?1").doing("look for an env")?;
    let found = statement.query_row([slug], |r| Ok((r.get(0)?, r.get(1)?))).optional().doing("look for an env")?;
    let (of, host): (Option<String>, Option<String>) = found.unwrap_or_default();
    // Whether another tenant has an env of this name is not for this one to know.
    if of.as_deref() != Some(tenant) {
        return Err(missing(slug));
    }
    if let (Some(host), Some(own)) = (&host, conn.replica())
        && host != own
    {
        return Err(StoreError::Conflict(format!("the files of env `{slug}` are on another machine: ask replica `{host}`")));
    }
    check_env(conn, Some(slug))
}

/// Notes that a session may have changed the files of the env that it is in.
pub(crate) fn note_change(conn: &Connection, session: &SessionId) -> Result<(), StoreError> {
    let sql = "INSERT INTO env_changes (env, session, made)
               SELECT e.slug, s.id, (SELECT CAST(value AS INTEGER) + 1 FROM meta WHERE key = 'commits')
               FROM sessions s JOIN envs e ON e.slug = s.env WHERE s.id = ?1
               ON CONFLICT (env, session) DO UPDATE SET made = excluded.made";
    let mut statement = conn.prepare_cached(sql).doing("note a change of an env")?;
    statement.execute([session.as_str()]).doing("note a change of an env").map(drop)
}

fn check_new(new: &NewEnv) -> Result<String, StoreError> {
    if !model::is_name(&new.slug) {
        return Err(StoreError::invalid("slug", "is not a name: small letters, digits and `-`"));
    }
    check_name("name", &new.name)?;
    check_name("tenant", &new.tenant)?;
    bounded("mounts", to_json("mounts", &new.mounts)?)
}

fn check_memory(memory: &str) -> Result<(), StoreError> {
    if memory.chars().count() > CORE_MEMORY_CHARS_MAX {
        return Err(StoreError::invalid("core_memory", format!("has more than {CORE_MEMORY_CHARS_MAX} characters")));
    }
    if memory.contains('\0') {
        return Err(StoreError::invalid("core_memory", "holds a NUL"));
    }
    Ok(())
}

fn insert(conn: &Connection, new: &NewEnv, mounts: &str, tree: &TreeId) -> Result<(), StoreError> {
    crate::quota::hold(conn, &new.tenant, crate::Claim::Env, new.now)?;
    let sql = "INSERT INTO envs (slug, name, tenant, tree, mounts, state, created_ms, updated_ms, host)
               VALUES (?1, ?2, ?3, ?4, ?5, 'live', ?6, ?6, ?7) ON CONFLICT (slug) DO NOTHING";
    let with = (&new.slug, &new.name, &new.tenant, tree.as_str(), mounts, int("now", new.now.0)?, conn.replica());
    match conn.execute(sql, with).doing("make an env")? {
        0 => Err(StoreError::Conflict(format!("env `{}` exists", new.slug))),
        _ => Ok(()),
    }
}

fn save(conn: &Connection, new: &NewEnv, mounts: &str, session: &SessionId) -> Result<EnvRow, StoreError> {
    let row = read_session(conn, session)?;
    if row.tenant != new.tenant {
        return Err(StoreError::invalid("tenant", "is another one than that of the session"));
    }
    let tree = match (&row.env, &row.tree) {
        (Some(env), _) => return Err(StoreError::Conflict(format!("session `{session}` is in env `{env}`"))),
        (None, None) => return Err(StoreError::Conflict(format!("session `{session}` has no files yet"))),
        (None, Some(tree)) => tree,
    };
    check_kept(&row)?;
    insert(conn, new, mounts, tree)?;
    let sql = "UPDATE sessions SET env = ?2, tree = NULL, updated_ms = max(updated_ms, ?3) WHERE id = ?1";
    conn.execute(sql, (session.as_str(), &new.slug, int("now", new.now.0)?)).doing("save a session as an env")?;
    read_env(conn, &new.slug)
}

fn members(conn: &Connection, slug: &str) -> Result<Vec<SessionId>, StoreError> {
    let sql = "SELECT id FROM sessions WHERE env = ?1 AND archived_ms IS NULL ORDER BY id";
    sessions(conn, sql, [slug])
}

fn check_unused(conn: &Connection, slug: &str) -> Result<(), StoreError> {
    let sql = "SELECT id FROM sessions s WHERE env = ?1 AND EXISTS (SELECT 1 FROM turns
                 WHERE session = s.id AND state IN ('queued', 'leased', 'running', 'waiting')) ORDER BY id LIMIT ?2";
    let busy = sessions(conn, sql, (slug, NAMED_MAX))?;
    if busy.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = busy.iter().map(SessionId::as_str).collect();
    Err(StoreError::Conflict(format!("env `{slug}` is in use by {}", names.join(", "))))
}

/// Refuses to put another tree in the place of an env's while somebody works in it: what they do would be lost.
pub(crate) fn check_still(conn: &Connection, slug: &str, but: &SessionId) -> Result<(), StoreError> {
    // The list of states is the one of the partial index, so that only open turns are looked at.
    let sql = "SELECT id FROM sessions s WHERE env = ?1 AND id <> ?2 AND EXISTS (SELECT 1 FROM turns
                 WHERE session = s.id AND state IN ('queued', 'leased', 'running', 'waiting') AND state <> 'queued')
               ORDER BY id LIMIT 1";
    match sessions(conn, sql, (slug, but.as_str()))?.first() {
        Some(busy) => Err(StoreError::Conflict(format!("session `{busy}` works in env `{slug}`"))),
        None => Ok(()),
    }
}

fn changed_since(conn: &Connection, slug: &str, session: &SessionId, turn: u64) -> Result<Vec<SessionId>, StoreError> {
    let doing = "look for changes of an env";
    let column = i64::try_from(turn).unwrap_or(i64::MAX);
    let sql = "SELECT made FROM checkpoints WHERE session = ?1 AND turn = ?2";
    let made: Option<i64> = conn.query_row(sql, (session.as_str(), column), |r| r.get(0)).optional().doing(doing)?;
    let made = made.ok_or_else(|| StoreError::NotFound { what: "checkpoint", id: format!("{session}/{turn}") })?;
    // What came with the same commit may have come after the checkpoint.
    let sql = "SELECT session AS id FROM env_changes WHERE env = ?1 AND session <> ?2 AND made >= ?3
               UNION
               SELECT id FROM sessions s WHERE env = ?1 AND id <> ?2 AND EXISTS (SELECT 1 FROM turns
                 WHERE session = s.id AND state IN ('queued', 'leased', 'running', 'waiting'))
               ORDER BY id";
    sessions(conn, sql, (slug, session.as_str(), made))
}

fn sessions(conn: &Connection, sql: &str, with: impl crate::db::Params) -> Result<Vec<SessionId>, StoreError> {
    let doing = "list the sessions of an env";
    let mut statement = conn.prepare_cached(sql).doing(doing)?;
    let rows = statement.query_map(with, |r| parsed(r, "id")).doing(doing)?;
    rows.collect::<crate::db::Result<_>>().doing(doing)
}

fn read_env(conn: &Connection, slug: &str) -> Result<EnvRow, StoreError> {
    let sql = "SELECT *, (SELECT count(*) FROM sessions WHERE env = slug AND archived_ms IS NULL) AS sessions
               FROM envs WHERE slug = ?1";
    let mut statement = conn.prepare_cached(sql).doing("read an env")?;
    statement.query_row([slug], from_row).optional().doing("read an env")?.ok_or_else(|| missing(slug))
}

fn missing(slug: &str) -> StoreError {
    StoreError::NotFound { what: "env", id: slug.to_owned() }
}

fn deleted(slug: &str) -> StoreError {
    StoreError::Conflict(format!("env `{}` was deleted", slug.trim_end_matches(" (deleted)")))
}

fn from_row(row: &Row<'_>) -> crate::db::Result<EnvRow> {
    Ok(EnvRow {
        slug: row.get("slug")?,
        name: row.get("name")?,
        tenant: row.get("tenant")?,
        tree: parsed(row, "tree")?,
        core_memory: row.get("core_memory")?,
        mounts: json(row, "mounts")?,
        state: row.get("state")?,
        created: Timestamp(row.get("created_ms")?),
        updated: Timestamp(row.get("updated_ms")?),
        sessions: row.get("sessions")?,
    })
}
