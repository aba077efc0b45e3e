//! Reading them, each with what its session and its turn say.

use model::{BranchId, BranchState, Code, Money, Outcome, SessionId, Timestamp, TurnId, TurnState};
use serde::Serialize;
use serde_json::Value;

use super::repo::BranchRepo;
use crate::db::{Connection, OptionalExtension, Row, ToSql};
use crate::error::Doing;
use crate::row::{json, maybe_parsed, parsed, unreadable};
use crate::session::{LIST_MAX, Page, check_limit, page};
use crate::{Store, StoreError};

/// Branch agents that one tenant may have at once.
pub const BRANCHES_MAX: u64 = 10_000;

/// The turn of a branch agent that counts: the first that is not over, else the last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BranchTurn {
    /// Its identity.
    pub id: TurnId,
    /// Its place in the session.
    pub n: u64,
    /// Where it stands.
    pub state: TurnState,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// Why it failed.
    pub code: Option<Code>,
    /// When it was accepted.
    pub accepted: Timestamp,
    /// When its engine started.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
}

/// A branch agent.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BranchRow {
    /// Its identity.
    pub id: BranchId,
    /// Whose it is.
    pub tenant: String,
    /// The absolute path of the repository.
    pub repo: String,
    /// The branch.
    pub name: String,
    /// The session of the agent.
    pub session: SessionId,
    /// What kind of task it is.
    pub kind: String,
    /// The commit that it began at.
    pub base: String,
    /// The branch that this commit was taken from.
    pub target: Option<String>,
    /// The beginning of the first task.
    pub task: String,
    /// What several agents share that were asked for the same.
    pub batch: Option<String>,
    /// What else was asked. Not looked at here.
    pub options: Value,
    /// The last turn whose work came home.
    pub home_turn: u64,
    /// The commit that came home last.
    pub home_tip: Option<String>,
    /// The reference of the repository that has it.
    pub home_ref: Option<String>,
    /// Why it is elsewhere than it was wanted, or did not come.
    pub home_note: Option<String>,
    /// Tries to bring it home that failed one after the other.
    pub home_tries: u32,
    /// Not before this time is the next one made.
    pub home_wake: Timestamp,
    /// Commits since the base.
    pub commits: u64,
    /// Changed files that are not committed.
    pub dirty: u64,
    /// Files that git does not know.
    pub untracked: u64,
    /// The last check. Not looked at here.
    pub checked: Option<Value>,
    /// How much was changed. Not looked at here.
    pub size: Option<Value>,
    /// The verdict of a review. Not looked at here.
    pub verdict: Option<Value>,
    /// The commit that was merged last.
    pub merged_tip: Option<String>,
    /// The branch that it was merged into.
    pub merged_into: Option<String>,
    /// What that branch was moved to for it.
    pub merged_as: Option<String>,
    /// The repositories beside the first one.
    pub also: Vec<BranchRepo>,
    /// A merge into several repositories that was begun. Not looked at here.
    pub merging: Option<Value>,
    /// When it was made.
    pub created: Timestamp,
    /// When its row last changed.
    pub changed: Timestamp,
    /// Its engine.
    pub engine: String,
    /// The model that was asked for.
    pub model: String,
    /// The provider.
    pub provider: String,
    /// Turns so far.
    pub turns: u64,
    /// The turn that counts.
    pub turn: Option<BranchTurn>,
    /// When something last happened in its session.
    pub active: Timestamp,
    /// What its model calls cost so far.
    pub cost: Money,
}

impl BranchRow {
    /// Where it stands.
    #[must_use]
    pub fn state(&self) -> BranchState {
        BranchState::of(self.turn.as_ref().map(|turn| (turn.state, turn.outcome)))
    }
}

/// Which branch agents are listed: those to which all that is given applies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BranchFilter {
    /// Of this tenant.
    pub tenant: Option<String>,
    /// Of this repository: their first one, or one beside it.
    pub repo: Option<String>,
    /// On this branch.
    pub name: Option<String>,
    /// Of this batch.
    pub batch: Option<String>,
}

/// The columns of a branch agent, of its session, of the turn that counts, and what it cost.
const SELECT: &str = "SELECT b.*, s.engine AS engine, s.model AS model, s.provider AS provider, s.last_turn AS last_turn,
       s.updated_ms AS active_ms, t.id AS turn_id, t.n AS turn_n, t.state AS turn_state, t.outcome AS turn_outcome,
       t.code AS turn_code, t.accepted_ms AS turn_accepted, t.started_ms AS turn_started, t.ended_ms AS turn_ended,
       coalesce((SELECT sum(c.cost / 1000000000) FROM calls c WHERE c.session = b.session), 0) AS whole,
       coalesce((SELECT sum(c.cost % 1000000000) FROM calls c WHERE c.session = b.session), 0) AS part
     FROM branches b JOIN sessions s ON s.id = b.session
     LEFT JOIN turns t ON t.session = b.session AND t.n = coalesce(
       (SELECT min(o.n) FROM turns o WHERE o.session = b.session AND o.state IN ('queued', 'leased', 'running', 'waiting')), s.last_turn)";

impl Store {
    /// Reads a branch agent.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn branch(&self, id: &BranchId) -> Result<BranchRow, StoreError> {
        let id = id.clone();
        self.read(move |conn| read(conn, &id)).await
    }

    /// The branch agent of a tenant on a branch of a repository.
    ///
    /// # Errors
    /// What the database said.
    pub async fn branch_named(&self, tenant: &str, repo: &str, name: &str) -> Result<Option<BranchRow>, StoreError> {
        let (tenant, repo, name) = (tenant.to_owned(), repo.to_owned(), name.to_owned());
        self.read(move |conn| {
            let sql = format!("{SELECT} WHERE b.tenant = ?1 AND b.repo = ?2 AND b.name = ?3");
            let mut statement = conn.prepare_cached(&sql).doing("look for a branch agent")?;
            statement.query_row((tenant, repo, name), from_row).optional().doing("look for a branch agent")
        })
        .await
    }

    /// The branch agent of a session, where it is one of such.
    ///
    /// # Errors
    /// What the database said.
    pub async fn branch_of_session(&self, session: &SessionId) -> Result<Option<BranchRow>, StoreError> {
        let session = session.clone();
        self.read(move |conn| {
            let sql = format!("{SELECT} WHERE b.session = ?1");
            let mut statement = conn.prepare_cached(&sql).doing("look for a branch agent")?;
            statement.query_row([session.as_str()], from_row).optional().doing("look for a branch agent")
        })
        .await
    }

    /// Lists branch agents, the youngest first, those after the cursor `after` of an earlier page.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] when `limit` is 0 or above [`LIST_MAX`].
    pub async fn list_branches(&self, filter: &BranchFilter, after: Option<BranchId>, limit: usize) -> Result<Page<BranchRow>, StoreError> {
        check_limit(limit, LIST_MAX)?;
        let filter = filter.clone();
        self.read(move |conn| list(conn, &filter, after.as_ref(), limit)).await
    }

    /// The branches of a repository on which a tenant has an agent, also where it is not the agent's first repository.
    ///
    /// # Errors
    /// What the database said.
    pub async fn branches_taken(&self, tenant: &str, repo: &str) -> Result<Vec<String>, StoreError> {
        let (tenant, repo) = (tenant.to_owned(), repo.to_owned());
        self.read(move |conn| {
            let doing = "list the branches that have an agent";
            let sql = "SELECT name, repo, also FROM branches WHERE tenant = ?1 AND (repo = ?2 OR also IS NOT NULL)";
            let mut statement = conn.prepare_cached(sql).doing(doing)?;
            let rows =
                statement.query_map((&tenant, &repo), |r| Ok((r.get::<_, String>("name")?, r.get::<_, String>("repo")?, also_of(r)?)));
            let mut taken = Vec::new();
            for row in rows.doing(doing)? {
                let (name, first, also) = row.doing(doing)?;
                if first == repo || also.iter().any(|other| other.repo == repo) {
                    taken.push(name);
                }
            }
            Ok(taken)
        })
        .await
    }

    /// Branch agents whose merge into several repositories was begun, the oldest first: at most `limit`.
    ///
    /// # Errors
    /// What the database said.
    pub async fn branches_merging(&self, limit: usize) -> Result<Vec<BranchRow>, StoreError> {
        self.read(move |conn| {
            let doing = "look for merges that were begun";
            let sql = format!("{SELECT} WHERE b.merging IS NOT NULL ORDER BY b.id LIMIT ?1");
            let mut statement = conn.prepare_cached(&sql).doing(doing)?;
            let rows = statement.query_map([limit], from_row).doing(doing)?;
            rows.collect::<crate::db::Result<_>>().doing(doing)
        })
        .await
    }

    /// Branch agents that have ended a turn whose work did not come home, the longest waiting first: at most `limit`.
    ///
    /// # Errors
    /// What the database said.
    pub async fn branches_owed(&self, limit: usize) -> Result<Vec<BranchRow>, StoreError> {
        self.read(move |conn| {
            let doing = "look for work that did not come home";
            let sql = format!(
                "{SELECT} WHERE b.home_turn < s.last_turn AND EXISTS (SELECT 1 FROM turns d WHERE d.session = b.session
                   AND d.n > b.home_turn AND d.started_ms IS NOT NULL AND d.state IN ('done', 'failed', 'cancelled'))
                 ORDER BY b.home_wake_ms, b.id LIMIT ?1"
            );
            let mut statement = conn.prepare_cached(&sql).doing(doing)?;
            let rows = statement.query_map([limit], from_row).doing(doing)?;
            rows.collect::<crate::db::Result<_>>().doing(doing)
        })
        .await
    }
}

pub(super) fn read(conn: &Connection, id: &BranchId) -> Result<BranchRow, StoreError> {
    let sql = format!("{SELECT} WHERE b.id = ?1");
    let mut statement = conn.prepare_cached(&sql).doing("read a branch agent")?;
    let found = statement.query_row([id.as_str()], from_row).optional().doing("read a branch agent")?;
    found.ok_or_else(|| StoreError::NotFound { what: "branch agent", id: id.to_string() })
}

fn list(conn: &Connection, filter: &BranchFilter, after: Option<&BranchId>, limit: usize) -> Result<Page<BranchRow>, StoreError> {
    let doing = "list branch agents";
    let after = after.map(BranchId::as_str);
    let mut sql = format!("{SELECT} WHERE true");
    let mut with: Vec<&dyn ToSql> = Vec::new();
    let beside = filter.repo.as_deref().map(super::repo::pattern);
    let conditions: [(&str, Option<&dyn ToSql>); 6] = [
        (" AND b.id < ?", after.as_ref().map(|a| a as &dyn ToSql)),
        (" AND b.tenant = ?", filter.tenant.as_ref().map(|t| t as &dyn ToSql)),
        (" AND (b.repo = ?", filter.repo.as_ref().map(|r| r as &dyn ToSql)),
        (" OR b.also LIKE ? ESCAPE '!')", beside.as_ref().map(|b| b as &dyn ToSql)),
        (" AND b.name = ?", filter.name.as_ref().map(|n| n as &dyn ToSql)),
        (" AND b.batch = ?", filter.batch.as_ref().map(|b| b as &dyn ToSql)),
    ];
    for (condition, value) in conditions {
        if let Some(value) = value {
            sql.push_str(condition);
            with.push(value);
        }
    }
    sql.push_str(" ORDER BY b.id DESC LIMIT ?");
    let rows = limit + 1;
    with.push(&rows);
    let mut statement = conn.prepare_cached(&sql).doing(doing)?;
    let rows = statement.query_map(with.as_slice(), from_row).doing(doing)?;
    let items = rows.collect::<crate::db::Result<Vec<_>>>().doing(doing)?;
    let mut page = page(items, limit, |row| row.id.to_string());
    if let Some(repo) = &filter.repo {
        // The pattern takes capital letters for small ones.
        page.items.retain(|row| row.works_on(repo));
    }
    Ok(page)
}

fn maybe_json(row: &Row<'_>, column: &str) -> crate::db::Result<Option<Value>> {
    let text: Option<String> = row.get(column)?;
    text.map(|text| serde_json::from_str(&text).map_err(|e| unreadable(e.into()))).transpose()
}

fn also_of(row: &Row<'_>) -> crate::db::Result<Vec<BranchRepo>> {
    let text: Option<String> = row.get("also")?;
    text.map_or_else(|| Ok(Vec::new()), |text| serde_json::from_str(&text).map_err(|e| unreadable(e.into())))
}

fn turn_of(row: &Row<'_>) -> crate::db::Result<Option<BranchTurn>> {
    let Some(id) = maybe_parsed::<TurnId>(row, "turn_id")? else { return Ok(None) };
    let word = |column: &str| -> crate::db::Result<Option<Value>> { Ok(row.get::<_, Option<String>>(column)?.map(Value::String)) };
    let read = |e: serde_json::Error| unreadable(e.into());
    let state = word("turn_state")?.unwrap_or_default();
    let outcome = word("turn_outcome")?.map(|w| serde_json::from_value(w).map_err(read)).transpose()?;
    let code: Option<String> = row.get("turn_code")?;
    let time = |column: &str| -> crate::db::Result<Option<Timestamp>> { Ok(row.get::<_, Option<u64>>(column)?.map(Timestamp)) };
    Ok(Some(BranchTurn {
        id,
        n: row.get("turn_n")?,
        state: serde_json::from_value(state).map_err(read)?,
        outcome,
        code: code.and_then(|text| Code::ALL.iter().copied().find(|c| c.as_str() == text)),
        accepted: Timestamp(row.get("turn_accepted")?),
        started: time("turn_started")?,
        ended: time("turn_ended")?,
    }))
}

fn from_row(row: &Row<'_>) -> crate::db::Result<BranchRow> {
    let (whole, part): (u64, u64) = (row.get("whole")?, row.get("part")?);
    Ok(BranchRow {
        id: parsed(row, "id")?,
        tenant: row.get("tenant")?,
        repo: row.get("repo")?,
        name: row.get("name")?,
        session: parsed(row, "session")?,
        kind: row.get("kind")?,
        base: row.get("base")?,
        target: row.get("target")?,
        task: row.get("task")?,
        batch: row.get("batch")?,
        options: json(row, "options")?,
        home_turn: row.get("home_turn")?,
        home_tip: row.get("home_tip")?,
        home_ref: row.get("home_ref")?,
        home_note: row.get("home_note")?,
        home_tries: row.get("home_tries")?,
        home_wake: Timestamp(row.get("home_wake_ms")?),
        commits: row.get("commits")?,
        dirty: row.get("dirty")?,
        untracked: row.get("untracked")?,
        checked: maybe_json(row, "checked")?,
        size: maybe_json(row, "size")?,
        verdict: maybe_json(row, "verdict")?,
        merged_tip: row.get("merged_tip")?,
        merged_into: row.get("merged_into")?,
        merged_as: row.get("merged_as")?,
        also: also_of(row)?,
        merging: maybe_json(row, "merging")?,
        created: Timestamp(row.get("created_ms")?),
        changed: Timestamp(row.get("changed_ms")?),
        engine: row.get("engine")?,
        model: row.get("model")?,
        provider: row.get("provider")?,
        turns: row.get("last_turn")?,
        turn: turn_of(row)?,
        active: Timestamp(row.get("active_ms")?),
        cost: Money(whole.saturating_mul(Money::PER_USD).saturating_add(part)),
    })
}
