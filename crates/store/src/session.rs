//! Conversations.

use std::collections::BTreeMap;

use crate::db::{Connection, OptionalExtension, Row, ToSql};
use model::{SessionId, Timestamp, TreeId};
use serde::Serialize;
use serde_json::Value;

use crate::checkpoint::check_tree_free;
use crate::env::join;
use crate::error::Doing;
use crate::row::{int, json, maybe_parsed, parsed, to_json};
use crate::writer::Kind;
use crate::{Store, StoreError};

/// Entries that one page of a list may have.
pub const LIST_MAX: usize = 1000;
/// Bytes that the labels and the specification of a session or turn may have as JSON, each.
pub(crate) const SPEC_BYTES_MAX: usize = 256 << 10;

/// Characters that a name or title may have: of a session, an env, a token, a tenant or an agent.
pub const NAME_CHARS_MAX: usize = 200;
/// The priority of whatever asks for none.
pub const PRIORITY_DEFAULT: u8 = 5;
/// The agent and the tenant of whatever names none.
const DEFAULT: &str = "default";

/// A session to be made.
#[derive(Debug, Clone, PartialEq)]
pub struct NewSession {
    /// Its identity.
    pub id: SessionId,
    /// The engine's name.
    pub engine: String,
    /// The model that was asked for; empty for the engine's own choice.
    pub model: String,
    /// The provider that answers.
    pub provider: String,
    /// The user's own words, for finding it again.
    pub labels: BTreeMap<String, String>,
    /// Whatever else the caller must have to run it again. Not looked at here.
    pub spec: Value,
    /// The agent that it is a conversation with. Whether there is one of this name is the caller's to know.
    pub agent: String,
    /// Whose it is.
    pub tenant: String,
    /// The env in whose tree it works; it must be of the same tenant.
    pub env: Option<String>,
    /// A tree of its own, which nothing else names; `None` in an env.
    pub tree: Option<TreeId>,
    /// What people call it; may be empty.
    pub title: String,
    /// The priority of its turns, where they ask for no other. Higher goes first.
    pub priority: u8,
    /// The session and the turn that it goes on from.
    pub parent: Option<(SessionId, u64)>,
    /// Now.
    pub now: Timestamp,
}

impl NewSession {
    /// A session of the default agent and tenant, without labels, tree or env.
    #[must_use]
    pub fn new(
        id: SessionId,
        engine: impl Into<String>,
        model: impl Into<String>,
        provider: impl Into<String>,
        spec: Value,
        now: Timestamp,
    ) -> Self {
        Self {
            id,
            engine: engine.into(),
            model: model.into(),
            provider: provider.into(),
            labels: BTreeMap::new(),
            spec,
            agent: DEFAULT.to_owned(),
            tenant: DEFAULT.to_owned(),
            env: None,
            tree: None,
            title: String::new(),
            priority: PRIORITY_DEFAULT,
            parent: None,
            now,
        }
    }
}

/// A stored session.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SessionRow {
    /// Its identity.
    pub id: SessionId,
    /// The engine's name.
    pub engine: String,
    /// The model that was asked for; empty for the engine's own choice.
    pub model: String,
    /// The provider that answers.
    pub provider: String,
    /// What the engine calls this conversation, for resuming it.
    pub engine_session: Option<String>,
    /// The user's own words.
    pub labels: BTreeMap<String, String>,
    /// Whatever the caller stored.
    pub spec: Value,
    /// The agent that it is a conversation with.
    pub agent: String,
    /// Whose it is.
    pub tenant: String,
    /// The slug of the env that it is in. Of one that was deleted, with ` (deleted)` after it: no env is ever called so.
    pub env: Option<String>,
    /// Its own tree; `None` while it is in an env, and before it has one.
    pub tree: Option<TreeId>,
    /// What people call it.
    pub title: String,
    /// The priority of its turns, where they ask for no other.
    pub priority: u8,
    /// The turn after which the next one goes on; 0 before the first.
    pub head: u64,
    /// Since when it takes no more turns.
    pub archived: Option<Timestamp>,
    /// The session and the turn that it goes on from.
    pub parent: Option<(SessionId, u64)>,
    /// When it was made.
    pub created: Timestamp,
    /// When something last happened in it.
    pub updated: Timestamp,
    /// Turns so far.
    pub turns: u64,
    /// The number of its last event; 0 when there is none.
    pub last_seq: u64,
    /// The turn as whose end its own tree stands untouched, because the checkpoint was put off.
    pub left: Option<u64>,
}

/// Which sessions are listed: those to which all that is given applies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionFilter {
    /// Of this tenant.
    pub tenant: Option<String>,
    /// In the env of this slug.
    pub env: Option<String>,
    /// With this agent.
    pub agent: Option<String>,
    /// With a label of this key and value.
    pub label: Option<(String, String)>,
    /// Archived, or not.
    pub archived: Option<bool>,
    /// That go on from another one, or not.
    pub forked: Option<bool>,
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Page<T> {
    /// The entries.
    pub items: Vec<T>,
    /// What to pass as `after` for the next part; `None` at the end.
    pub next: Option<String>,
}

impl Store {
    /// Makes a session.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the identity or the tree is taken or the env is being deleted,
    /// [`StoreError::NotFound`] when the tenant has no such env, [`StoreError::Invalid`] when a field is out of bounds.
    pub async fn create_session(&self, new: NewSession) -> Result<(), StoreError> {
        let texts = Texts::of(&new)?;
        self.write(Kind::SessionCreate, texts.bytes(), move |conn| {
            if crate::quota::job_of(conn, new.id.as_str())?.is_none() {
                crate::quota::hold(conn, &new.tenant, crate::Claim::Session, new.now)?;
            }
            insert_session(conn, &new, &texts)
        })
        .await
    }

    /// Reads a session.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn session(&self, id: &SessionId) -> Result<SessionRow, StoreError> {
        let id = id.clone();
        self.read(move |conn| read_session(conn, &id)).await
    }

    /// Lists sessions, the youngest first, those after the cursor `after` of an earlier page.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] when `limit` is 0 or above [`LIST_MAX`].
    pub async fn list_sessions(
        &self,
        filter: &SessionFilter,
        after: Option<SessionId>,
        limit: usize,
    ) -> Result<Page<SessionRow>, StoreError> {
        check_limit(limit, LIST_MAX)?;
        let filter = filter.clone();
        self.read(move |conn| list(conn, &filter, after.as_ref(), limit)).await
    }

    /// Changes what is said about a session; what is `None` stays. An archived session takes no more turns.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Conflict`] when it is to be archived while a turn is not over,
    /// [`StoreError::Invalid`] when a field is out of bounds.
    pub async fn update_session(
        &self,
        id: &SessionId,
        title: Option<String>,
        labels: Option<BTreeMap<String, String>>,
        archived: Option<bool>,
        now: Timestamp,
    ) -> Result<SessionRow, StoreError> {
        if let Some(title) = &title {
            check_text("title", title, NAME_CHARS_MAX)?;
        }
        let labels = labels.map(|l| bounded("labels", to_json("labels", &l)?)).transpose()?;
        let id = id.clone();
        self.write(Kind::SessionUpdate, labels.as_ref().map_or(0, String::len), move |conn| {
            if archived == Some(true) {
                check_idle(conn, &id)?;
            }
            let sql = "UPDATE sessions SET title = coalesce(?2, title), labels = coalesce(?3, labels),
                         archived_ms = CASE CAST(?4 AS INTEGER) WHEN 1 THEN coalesce(archived_ms, ?5) WHEN 0 THEN NULL ELSE archived_ms END,
                         updated_ms = max(updated_ms, ?5)
                       WHERE id = ?1 RETURNING *";
            let mut statement = conn.prepare_cached(sql).doing("change a session")?;
            let with = (id.as_str(), title, labels, archived, int("now", now.0)?);
            statement.query_row(with, from_row).optional().doing("change a session")?.ok_or_else(|| missing(&id))
        })
        .await
    }

    /// Replaces the specification of a session.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Invalid`] when it is too large.
    pub async fn update_spec(&self, id: &SessionId, spec: Value, now: Timestamp) -> Result<(), StoreError> {
        let spec = bounded("spec", to_json("spec", &spec)?)?;
        let id = id.clone();
        self.write(Kind::SessionUpdate, spec.len(), move |conn| {
            let sql = "UPDATE sessions SET spec = ?2, updated_ms = max(updated_ms, ?3) WHERE id = ?1";
            let mut statement = conn.prepare_cached(sql).doing("change a session")?;
            match statement.execute((id.as_str(), &spec, int("now", now.0)?)).doing("change a session")? {
                0 => Err(missing(&id)),
                _ => Ok(()),
            }
        })
        .await
    }

    /// Removes a session with its turns, events, checkpoints and questions. What it spent stays in the ledger.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], or [`StoreError::Conflict`] while a turn of it is not over.
    pub async fn delete_session(&self, id: &SessionId) -> Result<(), StoreError> {
        let id = id.clone();
        self.write(Kind::SessionDelete, 0, move |conn| {
            check_idle(conn, &id)?;
            check_no_branch(conn, &id)?;
            match conn.execute("DELETE FROM sessions WHERE id = ?1", [id.as_str()]).doing("delete a session")? {
                0 => Err(missing(&id)),
                _ => Ok(()),
            }
        })
        .await
    }
}

pub(crate) fn read_session(conn: &Connection, id: &SessionId) -> Result<SessionRow, StoreError> {
    let mut statement = conn.prepare_cached("SELECT * FROM sessions WHERE id = ?1").doing("read a session")?;
    statement.query_row([id.as_str()], from_row).optional().doing("read a session")?.ok_or_else(|| missing(id))
}

/// The fields of a new session that are stored as JSON, within their bounds.
pub(crate) struct Texts {
    labels: String,
    spec: String,
}

impl Texts {
    /// Checks every field of a session that is to be made.
    pub(crate) fn of(new: &NewSession) -> Result<Self, StoreError> {
        check_name("agent", &new.agent)?;
        check_name("tenant", &new.tenant)?;
        check_text("title", &new.title, NAME_CHARS_MAX)?;
        if new.env.is_some() && new.tree.is_some() {
            return Err(StoreError::invalid("tree", "is that of the env in a session of one"));
        }
        let labels = bounded("labels", to_json("labels", &new.labels)?)?;
        let spec = bounded("spec", to_json("spec", &new.spec)?)?;
        Ok(Self { labels, spec })
    }

    /// How much they are.
    pub(crate) fn bytes(&self) -> usize {
        self.labels.len() + self.spec.len()
    }
}

pub(crate) fn insert_session(conn: &Connection, new: &NewSession, texts: &Texts) -> Result<(), StoreError> {
    let doing = "make a session";
    if let Some(env) = &new.env {
        join(conn, env, &new.tenant)?;
    }
    if let Some(tree) = &new.tree {
        check_tree_free(conn, tree)?;
    }
    let now = int("now", new.now.0)?;
    let (parent, parent_turn) = match &new.parent {
        Some((session, turn)) => (Some(session.as_str()), Some(int("parent", *turn)?)),
        None => (None, None),
    };
    let sql = "INSERT INTO sessions (id, engine, model, provider, labels, spec, created_ms, updated_ms,
                 agent, tenant, env, tree, title, priority, parent, parent_turn, host)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16) ON CONFLICT (id) DO NOTHING";
    let mut statement = conn.prepare_cached(sql).doing(doing)?;
    let with = crate::db::params![
        new.id.as_str(),
        new.engine,
        new.model,
        new.provider,
        texts.labels,
        texts.spec,
        now,
        new.agent,
        new.tenant,
        new.env,
        new.tree.as_ref().map(TreeId::as_str),
        new.title,
        new.priority,
        parent,
        parent_turn,
        conn.replica(),
    ];
    match statement.execute(with).doing(doing)? {
        0 => Err(StoreError::Conflict(format!("session `{}` exists", new.id))),
        _ => Ok(()),
    }
}

fn list(conn: &Connection, filter: &SessionFilter, after: Option<&SessionId>, limit: usize) -> Result<Page<SessionRow>, StoreError> {
    let doing = "list sessions";
    let (key, value) = filter.label.as_ref().map_or((None, None), |(k, v)| (Some(k), Some(v)));
    let after = after.map(SessionId::as_str);
    // A condition that is not asked for must not stand in the statement, or no index would serve the others.
    let mut sql = "SELECT * FROM sessions WHERE true".to_owned();
    let mut with: Vec<&dyn ToSql> = Vec::new();
    let conditions: [(&str, Option<&dyn ToSql>); 7] = [
        (" AND id < ?", after.as_ref().map(|a| a as &dyn ToSql)),
        (" AND tenant = ?", filter.tenant.as_ref().map(|t| t as &dyn ToSql)),
        (" AND env = ?", filter.env.as_ref().map(|e| e as &dyn ToSql)),
        (" AND agent = ?", filter.agent.as_ref().map(|a| a as &dyn ToSql)),
        (" AND (archived_ms IS NOT NULL) = ?", filter.archived.as_ref().map(|a| a as &dyn ToSql)),
        (" AND (parent IS NOT NULL) = ?", filter.forked.as_ref().map(|f| f as &dyn ToSql)),
        (" AND EXISTS (SELECT 1 FROM json_each(labels) WHERE key = ?", key.as_ref().map(|k| k as &dyn ToSql)),
    ];
    for (condition, value) in conditions {
        if let Some(value) = value {
            sql.push_str(condition);
            with.push(value);
        }
    }
    if let Some(value) = &value {
        sql.push_str(" AND value = ?)");
        with.push(value);
    }
    sql.push_str(" ORDER BY id DESC LIMIT ?");
    let rows = limit + 1;
    with.push(&rows);
    let mut statement = conn.prepare_cached(&sql).doing(doing)?;
    let rows = statement.query_map(with.as_slice(), from_row).doing(doing)?;
    let items = rows.collect::<crate::db::Result<Vec<_>>>().doing(doing)?;
    Ok(page(items, limit, |s| s.id.to_string()))
}

/// Refuses what must wait until every turn of a session is over.
pub(crate) fn check_idle(conn: &Connection, id: &SessionId) -> Result<(), StoreError> {
    let sql = "SELECT id FROM turns WHERE session = ?1 AND state IN ('queued', 'leased', 'running', 'waiting') LIMIT 1";
    let mut statement = conn.prepare_cached(sql).doing("look for open turns")?;
    let open: Option<String> = statement.query_row([id.as_str()], |r| r.get(0)).optional().doing("look for open turns")?;
    match open {
        Some(turn) => Err(StoreError::Conflict(format!("turn `{turn}` of session `{id}` is not over"))),
        None => Ok(()),
    }
}

/// Refuses what would leave a branch without its agent.
fn check_no_branch(conn: &Connection, id: &SessionId) -> Result<(), StoreError> {
    let mut statement = conn.prepare_cached("SELECT name FROM branches WHERE session = ?1").doing("look for a branch agent")?;
    let name: Option<String> = statement.query_row([id.as_str()], |r| r.get(0)).optional().doing("look for a branch agent")?;
    match name {
        Some(name) => Err(StoreError::Conflict(format!("session `{id}` is that of the agent on branch `{name}`"))),
        None => Ok(()),
    }
}

pub(crate) fn missing(id: &SessionId) -> StoreError {
    StoreError::NotFound { what: "session", id: id.to_string() }
}

/// Cuts a list that was asked for with one entry too many, and says whether there is more.
pub(crate) fn page<T>(mut items: Vec<T>, limit: usize, cursor: impl Fn(&T) -> String) -> Page<T> {
    let more = items.len() > limit;
    items.truncate(limit);
    let next = if more { items.last().map(cursor) } else { None };
    Page { items, next }
}

pub(crate) fn check_limit(limit: usize, max: usize) -> Result<(), StoreError> {
    if limit == 0 || limit > max {
        return Err(StoreError::invalid("limit", format!("is {limit}, not from 1 to {max}")));
    }
    Ok(())
}

pub(crate) fn bounded(field: &'static str, text: String) -> Result<String, StoreError> {
    if text.len() > SPEC_BYTES_MAX {
        return Err(StoreError::invalid(field, format!("has {} bytes, more than {SPEC_BYTES_MAX}", text.len())));
    }
    Ok(text)
}

/// Checks a text of people: bounded, and nothing that moves a terminal's cursor.
pub(crate) fn check_text(field: &'static str, text: &str, max: usize) -> Result<(), StoreError> {
    if text.chars().count() > max {
        return Err(StoreError::invalid(field, format!("has more than {max} characters")));
    }
    if text.chars().any(char::is_control) {
        return Err(StoreError::invalid(field, "holds a control character"));
    }
    Ok(())
}

/// The same for one that must say something.
pub(crate) fn check_name(field: &'static str, text: &str) -> Result<(), StoreError> {
    if text.trim().is_empty() {
        return Err(StoreError::invalid(field, "is empty"));
    }
    check_text(field, text, NAME_CHARS_MAX)
}

pub(crate) fn from_row(row: &Row<'_>) -> crate::db::Result<SessionRow> {
    let parent: Option<SessionId> = maybe_parsed(row, "parent")?;
    let parent_turn: Option<u64> = row.get("parent_turn")?;
    Ok(SessionRow {
        id: parsed(row, "id")?,
        engine: row.get("engine")?,
        model: row.get("model")?,
        provider: row.get("provider")?,
        engine_session: row.get("engine_session")?,
        labels: json(row, "labels")?,
        spec: json(row, "spec")?,
        agent: row.get("agent")?,
        tenant: row.get("tenant")?,
        env: row.get("env")?,
        tree: maybe_parsed(row, "tree")?,
        title: row.get("title")?,
        priority: row.get("priority")?,
        head: row.get("head")?,
        archived: row.get::<_, Option<u64>>("archived_ms")?.map(Timestamp),
        parent: parent.zip(parent_turn),
        created: Timestamp(row.get("created_ms")?),
        updated: Timestamp(row.get("updated_ms")?),
        turns: row.get("last_turn")?,
        last_seq: row.get("last_seq")?,
        left: row.get("left_turn")?,
    })
}
