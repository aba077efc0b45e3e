//! The chain of what was decided: rows that are only ever added, each with the hash of the one before.

use crate::db::{Connection, OptionalExtension, Row};
use model::{AuditEntry, AuditKind, SessionId, Timestamp, TurnId};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::audit_head::Head;
use crate::error::Doing;
use crate::row::{int, maybe_parsed, to_json, unreadable};
use crate::session::{LIST_MAX, check_limit};
use crate::writer::Kind;
use crate::{Store, StoreError};

/// Entries that one call may add.
pub const AUDIT_BATCH_MAX: usize = 4096;
/// Bytes that one entry may have; what is longer is cut where it was made.
pub const AUDIT_ENTRY_BYTES_MAX: usize = 256 << 10;
/// Rows that are read at once when the chain is checked.
const VERIFY_PAGE: usize = 4096;
/// What every hash begins with, so that it is a hash of nothing else.
const DOMAIN: &[u8] = b"lazaret audit 1\0";

/// A row of the audit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct AuditRow {
    /// Its place in the chain, from 1, without gaps.
    pub seq: u64,
    /// What was decided.
    #[serde(flatten)]
    pub entry: AuditEntry,
    /// The hash of the row before, in hexadecimal; zeros for the first.
    pub prev: String,
    /// The hash of this row and the one before.
    pub hash: String,
}

/// Which rows are asked for; what is `None` matches all.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AuditFilter {
    /// The kind.
    pub kind: Option<AuditKind>,
    /// The session.
    pub session: Option<SessionId>,
    /// What it is about.
    pub topic: Option<String>,
    /// How it ended.
    pub outcome: Option<String>,
    /// The call.
    pub correlation: Option<String>,
    /// Not before.
    pub from: Option<Timestamp>,
    /// Before.
    pub to: Option<Timestamp>,
}

/// What a check of the chain found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct AuditCheck {
    /// Rows that were read and are whole.
    pub rows: u64,
    /// The number of the last whole row.
    pub seq: u64,
    /// Its hash, in hexadecimal: what to keep elsewhere, to compare with later.
    pub head: String,
    /// The first fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken: Option<AuditFault>,
}

/// Where the chain is broken, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct AuditFault {
    /// The first row that is wrong or missing.
    pub seq: u64,
    /// What is wrong with it.
    pub why: String,
}

impl Store {
    /// Adds entries to the chain, in order. Returns the number of the last row.
    ///
    /// # Errors
    /// [`StoreError::Limit`] for more than [`AUDIT_BATCH_MAX`], [`StoreError::Invalid`] for an entry longer than
    /// [`AUDIT_ENTRY_BYTES_MAX`].
    pub async fn append_audit(&self, entries: Vec<AuditEntry>) -> Result<u64, StoreError> {
        if entries.len() > AUDIT_BATCH_MAX {
            return Err(StoreError::Limit { what: "audit entries at once", max: AUDIT_BATCH_MAX as u64 });
        }
        let entries = entries.into_iter().map(Prepared::new).collect::<Result<Vec<_>, _>>()?;
        let bytes = entries.iter().map(|e| e.detail.as_ref().map_or(0, String::len) + 256).sum();
        let floor = self.audit_floor();
        let head = self
            .write(Kind::Audit, bytes, move |conn| {
                let mut chain = Chain::at_end(conn, floor)?;
                entries.iter().try_for_each(|entry| chain.add(conn, entry))?;
                Ok(chain.head)
            })
            .await?;
        self.audit_head().advance(head);
        Ok(head.seq)
    }

    /// Rows after number `after`, in order; with `latest` the last of them instead of the first.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] when `limit` is 0 or above [`LIST_MAX`].
    pub async fn audit(&self, filter: AuditFilter, after: u64, limit: usize, latest: bool) -> Result<Vec<AuditRow>, StoreError> {
        check_limit(limit, LIST_MAX)?;
        self.read(move |conn| query(conn, &filter, after, limit, latest)).await
    }

    /// Reads the whole chain and names the first fault. Costs what there is; other reads go on meanwhile.
    ///
    /// # Errors
    /// What the database said. A fault is no error.
    pub async fn verify_audit(&self) -> Result<AuditCheck, StoreError> {
        let (noted, is_believed) = self.audit_head().read();
        let mut check = Checking { next: 1, prev: [0; 32], noted, noted_as: None };
        loop {
            let (state, outcome) = self.read(move |conn| check.page(conn)).await?;
            check = state;
            match outcome {
                PageEnd::More => {}
                PageEnd::Fault(why) => return Ok(check.done(Some(why))),
                PageEnd::End => break,
            }
        }
        let why = check.compare(is_believed);
        Ok(match why {
            Some((seq, why)) => AuditCheck { broken: Some(AuditFault { seq, why }), ..check.done(None) },
            None => check.done(None),
        })
    }

    /// What the chain must not fall behind.
    pub(crate) fn audit_floor(&self) -> Head {
        match self.audit_head().read() {
            (head, true) => head,
            (_, false) => Head::default(),
        }
    }
}

/// An entry as its columns, made before the writer's thread sees it.
pub(crate) struct Prepared {
    entry: AuditEntry,
    detail: Option<String>,
}

impl Prepared {
    pub(crate) fn new(entry: AuditEntry) -> Result<Self, StoreError> {
        let detail = if entry.detail.is_null() { None } else { Some(to_json("detail", &entry.detail)?) };
        let words = [Some(&entry.actor), Some(&entry.topic), entry.correlation.as_ref(), Some(&entry.outcome), detail.as_ref()];
        let bytes: usize = words.into_iter().flatten().map(String::len).sum();
        if bytes > AUDIT_ENTRY_BYTES_MAX {
            return Err(StoreError::invalid("entry", format!("has {bytes} bytes, more than {AUDIT_ENTRY_BYTES_MAX}")));
        }
        Ok(Self { entry, detail })
    }
}

/// The end of the chain, in a transaction.
pub(crate) struct Chain {
    pub(crate) head: Head,
}

impl Chain {
    /// The last row, or what was noted of a later one: if rows were cut off, the chain goes on behind the gap.
    pub(crate) fn at_end(conn: &Connection, floor: Head) -> Result<Self, StoreError> {
        let doing = "read the end of the audit";
        let mut statement = conn.prepare_cached("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1").doing(doing)?;
        let last = statement.query_row([], |r| Ok(Head { seq: r.get(0)?, hash: digest(r, 1)? })).optional().doing(doing)?;
        let last = last.unwrap_or_default();
        Ok(Self { head: if floor.seq > last.seq { floor } else { last } })
    }

    pub(crate) fn add(&mut self, conn: &Connection, entry: &Prepared) -> Result<(), StoreError> {
        let Prepared { entry, detail } = entry;
        let (seq, prev) = (self.head.seq + 1, self.head.hash);
        let columns = Columns {
            time: int("time", entry.time.0)?,
            kind: entry.kind.as_str(),
            session: entry.session.as_ref().map(SessionId::as_str),
            turn: entry.turn.as_ref().map(TurnId::as_str),
            actor: &entry.actor,
            topic: &entry.topic,
            correlation: entry.correlation.as_deref(),
            stage: entry.stage.map(i64::from),
            outcome: &entry.outcome,
            code: entry.code.map(model::Code::as_str),
            detail: detail.as_deref(),
        };
        let hash = columns.hash(seq, &prev);
        let sql =
            "INSERT INTO audit (seq, time_ms, kind, session, turn, actor, topic, correlation, stage, outcome, code, detail, prev, hash)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";
        let Columns { time, kind, session, turn, actor, topic, correlation, stage, outcome, code, detail } = columns;
        let (at, before, own) = (int("seq", seq)?, &prev[..], &hash[..]);
        let with = crate::db::params![at, time, kind, session, turn, actor, topic, correlation, stage, outcome, code, detail, before, own];
        conn.prepare_cached(sql).and_then(|mut s| s.execute(with)).doing("add to the audit")?;
        self.head = Head { seq, hash };
        Ok(())
    }
}

/// The columns of a row that its hash is over, as they are stored.
struct Columns<'a> {
    time: i64,
    kind: &'a str,
    session: Option<&'a str>,
    turn: Option<&'a str>,
    actor: &'a str,
    topic: &'a str,
    correlation: Option<&'a str>,
    stage: Option<i64>,
    outcome: &'a str,
    code: Option<&'a str>,
    detail: Option<&'a str>,
}

impl Columns<'_> {
    /// Each column with its length before it, so that no text can reach into the next one.
    fn hash(&self, seq: u64, prev: &[u8; 32]) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(DOMAIN);
        hash.update(prev);
        hash.update(seq.to_le_bytes());
        hash.update(self.time.to_le_bytes());
        match self.stage {
            None => hash.update([0]),
            Some(stage) => {
                hash.update([1]);
                hash.update(stage.to_le_bytes());
            }
        }
        let (kind, actor, topic, outcome) = (Some(self.kind), Some(self.actor), Some(self.topic), Some(self.outcome));
        for text in [kind, self.session, self.turn, actor, topic, self.correlation, outcome, self.code, self.detail] {
            match text {
                None => hash.update([0]),
                Some(text) => {
                    hash.update([1]);
                    hash.update((text.len() as u64).to_le_bytes());
                    hash.update(text);
                }
            }
        }
        hash.finalize().into()
    }
}

/// A check of the chain, between two pages.
struct Checking {
    /// The number that comes next.
    next: u64,
    /// The hash of the row before it.
    prev: [u8; 32],
    /// What was noted beside the database.
    noted: Head,
    /// The hash of the row of that number.
    noted_as: Option<[u8; 32]>,
}

enum PageEnd {
    More,
    End,
    Fault(String),
}

impl Checking {
    fn page(mut self, conn: &Connection) -> Result<(Self, PageEnd), StoreError> {
        let doing = "check the audit";
        let mut statement = conn.prepare_cached("SELECT * FROM audit WHERE seq >= ?1 ORDER BY seq LIMIT ?2").doing(doing)?;
        let mut rows = statement.query((int("seq", self.next)?, VERIFY_PAGE)).doing(doing)?;
        let mut count = 0;
        while let Some(row) = rows.next().doing(doing)? {
            count += 1;
            let seq: u64 = row.get("seq").doing(doing)?;
            if seq != self.next {
                let why = if seq == self.next + 1 {
                    "the row is missing".to_owned()
                } else {
                    format!("rows {} to {} are missing", self.next, seq - 1)
                };
                return Ok((self, PageEnd::Fault(why)));
            }
            match fault(&row, seq, &self.prev) {
                Ok(hash) => self.prev = hash,
                Err(why) => return Ok((self, PageEnd::Fault(why.to_owned()))),
            }
            if seq == self.noted.seq {
                self.noted_as = Some(self.prev);
            }
            self.next = seq + 1;
        }
        Ok((self, if count < VERIFY_PAGE { PageEnd::End } else { PageEnd::More }))
    }

    /// What the head says of a chain that is whole in itself.
    fn compare(&self, is_believed: bool) -> Option<(u64, String)> {
        if !is_believed {
            return Some((self.noted.seq, "the note of the chain's end beside the database was not written by this home".to_owned()));
        }
        if self.noted.seq >= self.next {
            return Some((self.next, format!("the end was cut off: rows {} to {} are missing", self.next, self.noted.seq)));
        }
        (self.noted.seq > 0 && self.noted_as != Some(self.noted.hash))
            .then(|| (self.noted.seq, "the chain was written anew: this row is not the one that was noted".to_owned()))
    }

    fn done(&self, fault: Option<String>) -> AuditCheck {
        let broken = fault.map(|why| AuditFault { seq: self.next, why });
        AuditCheck { rows: self.next - 1, seq: self.next - 1, head: hex(&self.prev), broken }
    }
}

/// The hash of a row, or what is wrong with it.
fn fault(row: &Row<'_>, seq: u64, prev: &[u8; 32]) -> Result<[u8; 32], &'static str> {
    const UNREADABLE: &str = "the row was changed: it cannot be read";
    let text = |column: &str| row.get_ref(column).ok().and_then(|v| v.as_str_or_null().ok()).ok_or(UNREADABLE);
    let must = |column: &str| text(column)?.ok_or(UNREADABLE);
    let columns = Columns {
        time: row.get("time_ms").map_err(|_| UNREADABLE)?,
        kind: must("kind")?,
        session: text("session")?,
        turn: text("turn")?,
        actor: must("actor")?,
        topic: must("topic")?,
        correlation: text("correlation")?,
        stage: row.get("stage").map_err(|_| UNREADABLE)?,
        outcome: must("outcome")?,
        code: text("code")?,
        detail: text("detail")?,
    };
    let bytes = |column: &str| row.get::<_, Vec<u8>>(column).ok().and_then(|b| <[u8; 32]>::try_from(b).ok()).ok_or(UNREADABLE);
    let (before, own) = (bytes("prev")?, bytes("hash")?);
    if before != *prev {
        return Err("the row does not follow the one before it");
    }
    if columns.hash(seq, prev) != own {
        return Err("the row was changed");
    }
    Ok(own)
}

fn query(conn: &Connection, filter: &AuditFilter, after: u64, limit: usize, latest: bool) -> Result<Vec<AuditRow>, StoreError> {
    let doing = "read the audit";
    let select = "SELECT * FROM audit WHERE seq > ?1 AND (?2 IS NULL OR kind = ?2) AND (?3 IS NULL OR session = ?3)
          AND (?4 IS NULL OR topic = ?4) AND (?5 IS NULL OR outcome = ?5) AND (?6 IS NULL OR correlation = ?6)
          AND (?7 IS NULL OR time_ms >= ?7) AND (?8 IS NULL OR time_ms < ?8)";
    let sql = format!("{select} ORDER BY seq {} LIMIT ?9", if latest { "DESC" } else { "ASC" });
    let mut statement = conn.prepare_cached(&sql).doing(doing)?;
    let time = |t: Option<Timestamp>| t.map(|t| i64::try_from(t.0).unwrap_or(i64::MAX));
    let (kind, session) = (filter.kind.map(AuditKind::as_str), filter.session.as_ref().map(SessionId::as_str));
    let (after, from, to) = (i64::try_from(after).unwrap_or(i64::MAX), time(filter.from), time(filter.to));
    let with = crate::db::params![after, kind, session, filter.topic, filter.outcome, filter.correlation, from, to, limit];
    let rows = statement.query_map(with, from_row).doing(doing)?;
    let mut rows: Vec<AuditRow> = rows.collect::<crate::db::Result<_>>().doing(doing)?;
    if latest {
        rows.reverse();
    }
    Ok(rows)
}

fn from_row(row: &Row<'_>) -> crate::db::Result<AuditRow> {
    let kind: String = row.get("kind")?;
    let kind = AuditKind::ALL.into_iter().find(|k| k.as_str() == kind).ok_or_else(|| unreadable("no kind has this name".into()))?;
    let code: Option<String> = row.get("code")?;
    let code = code.map(|c| serde_json::from_value(serde_json::Value::String(c))).transpose().map_err(|e| unreadable(e.into()))?;
    let detail: Option<String> = row.get("detail")?;
    let detail = detail.map(|d| serde_json::from_str(&d)).transpose().map_err(|e| unreadable(e.into()))?;
    Ok(AuditRow {
        seq: row.get("seq")?,
        entry: AuditEntry {
            time: Timestamp(row.get("time_ms")?),
            kind,
            session: maybe_parsed(row, "session")?,
            turn: maybe_parsed(row, "turn")?,
            actor: row.get("actor")?,
            topic: row.get("topic")?,
            correlation: row.get("correlation")?,
            stage: row.get("stage")?,
            outcome: row.get("outcome")?,
            code,
            detail: detail.unwrap_or_default(),
        },
        prev: hex(&digest(row, "prev")?),
        hash: hex(&digest(row, "hash")?),
    })
}

fn digest<I: crate::db::RowIndex>(row: &Row<'_>, column: I) -> crate::db::Result<[u8; 32]> {
    let bytes: Vec<u8> = row.get(column)?;
    <[u8; 32]>::try_from(bytes).map_err(|_| unreadable("a hash has not 32 bytes".into()))
}

fn hex(bytes: &[u8; 32]) -> String {
    bytes.iter().fold(String::with_capacity(64), |text, byte| text + &format!("{byte:02x}"))
}
