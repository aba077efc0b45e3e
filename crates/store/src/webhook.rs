//! Deliveries that somebody is owed: written with the end that they tell of, kept until they are settled.
//!
//! A delivery is claimed before it is tried, for as long as a try may take; one whose sender died is tried again after
//! that. So whoever receives them may see one twice, under the same identity, and never misses one.

use model::{Timestamp, WebhookId};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::db::{Connection, OptionalExtension, Row, Value, params, params_from_iter};
use crate::error::Doing;
use crate::row::{int, parsed};
use crate::session::{LIST_MAX, Page};
use crate::writer::Kind;
use crate::{Store, StoreError};

/// Bytes of an address.
pub const WEBHOOK_URL_BYTES_MAX: usize = 2048;
/// Bytes of what is sent.
pub const WEBHOOK_BODY_BYTES_MAX: usize = 2 << 20;
/// Bytes of what is kept of an error.
const ERROR_BYTES_MAX: usize = 500;
/// Hosts that a claim can leave out.
pub const WEBHOOK_HOSTS_MAX: usize = 64;
/// Deliveries that one write claims or removes.
pub const WEBHOOKS_AT_ONCE: usize = 256;

/// A delivery that becomes owed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Owed<'a> {
    /// The job whose end it tells.
    pub(crate) job: &'a str,
    /// Whose it is.
    pub(crate) tenant: &'a str,
    /// `job.completed`, `job.failed` or `job.cancelled`.
    pub(crate) event: &'a str,
    /// Where it goes.
    pub(crate) url: &'a str,
    /// What it is signed with, sealed; the tenant's own secret when left out.
    pub(crate) secret: Option<&'a str>,
    /// The trace that it belongs to.
    pub(crate) traceparent: Option<&'a str>,
    /// What is sent; read from the job at the first try when left out.
    pub(crate) body: Option<&'a [u8]>,
    /// Now.
    pub(crate) now: Timestamp,
}

/// A delivery as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WebhookRow {
    /// Its identity; the same in every try.
    pub id: WebhookId,
    /// Whose it is.
    pub tenant: String,
    /// The job whose end it tells.
    pub job: String,
    /// What happened.
    pub event: String,
    /// Where it goes.
    pub url: String,
    /// The host and port in it.
    #[serde(skip)]
    pub host: String,
    /// What it is signed with, sealed; `None` for the tenant's own secret.
    #[serde(skip)]
    pub secret: Option<String>,
    /// The trace that it belongs to.
    pub traceparent: Option<String>,
    /// What is sent; `None` before the first try, and in lists.
    #[serde(skip)]
    pub body: Option<Vec<u8>>,
    /// `pending`, `sent` or `dead`.
    pub state: String,
    /// How often it was tried.
    pub tries: u32,
    /// Of these, before somebody asked for it again.
    pub tries_before: u32,
    /// When it is tried next, while it is pending.
    pub due: Timestamp,
    /// The number of the claim that is in force.
    #[serde(skip)]
    pub claim: u64,
    /// When it became owed.
    pub created: Timestamp,
    /// From when its tries are counted.
    pub begun: Timestamp,
    /// When it was last tried.
    pub tried: Option<Timestamp>,
    /// When it was sent or given up.
    pub settled: Option<Timestamp>,
    /// The last answer's status.
    pub status: Option<u16>,
    /// Why the last try failed.
    pub error: Option<String>,
}

/// What came of one try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WebhookOutcome {
    /// It was taken.
    Sent,
    /// It failed and is tried again at this time.
    Again(Timestamp),
    /// It failed and is not tried again.
    Dead,
}

/// One try, told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookTried {
    /// The delivery.
    pub id: WebhookId,
    /// The claim that it was tried under.
    pub claim: u64,
    /// The answer's status, where there was one.
    pub status: Option<u16>,
    /// Why it failed.
    pub error: Option<String>,
    /// What follows.
    pub outcome: WebhookOutcome,
    /// Now.
    pub now: Timestamp,
}

/// Notes that a delivery is owed; the same end owes one only.
pub(crate) fn owe(conn: &Connection, owed: &Owed<'_>) -> Result<WebhookId, StoreError> {
    if owed.url.is_empty() || owed.url.len() > WEBHOOK_URL_BYTES_MAX {
        return Err(StoreError::invalid("webhook_url", format!("has not 1 to {WEBHOOK_URL_BYTES_MAX} bytes")));
    }
    if owed.body.is_some_and(|body| body.len() > WEBHOOK_BODY_BYTES_MAX) {
        return Err(StoreError::invalid("webhook body", format!("has more than {WEBHOOK_BODY_BYTES_MAX} bytes")));
    }
    let id = identity(owed.job, owed.event, owed.now);
    let sql = "INSERT INTO webhooks (id, tenant, job, event, url, secret, traceparent, body, state, tries, tries_before, due_ms,
               claim, created_ms, begun_ms, host)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 'pending', 0, 0, ?9, 0, ?9, ?9, ?10) ON CONFLICT DO NOTHING";
    let (now, host) = (int("now", owed.now.0)?, host_of(owed.url));
    let with = params![id.as_str(), owed.tenant, owed.job, owed.event, owed.url, owed.secret, owed.traceparent, owed.body, now, host];
    conn.execute(sql, with).doing("owe a webhook")?;
    Ok(id)
}

/// Whether a delivery of this job is still to be made.
pub(crate) fn is_owed(conn: &Connection, job: &str) -> Result<bool, StoreError> {
    let sql = "SELECT count(*) FROM webhooks WHERE job = ?1 AND state = 'pending'";
    let count: u64 = conn.query_row(sql, [job], |r| r.get(0)).doing("look for webhooks of a job")?;
    Ok(count > 0)
}

/// What stands between `//` and the path: only for telling hosts apart, whoever sends reads the address properly.
fn host_of(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().unwrap_or("").to_ascii_lowercase()
}

/// The time in front keeps them in order; the rest says of what it is.
fn identity(job: &str, event: &str, now: Timestamp) -> WebhookId {
    let hash = Sha256::new().chain_update((job.len() as u64).to_be_bytes()).chain_update(job).chain_update(event);
    let hash = hash.chain_update(now.0.to_be_bytes()).finalize();
    let tail = hash.iter().take(10).fold(0u128, |bits, byte| (bits << 8) | u128::from(*byte));
    WebhookId::from_bits((u128::from(now.0 & 0xffff_ffff_ffff) << 80) | tail)
}

impl Store {
    /// Claims deliveries that are due, the longest due first and none to `busy` hosts (at most [`WEBHOOK_HOSTS_MAX`]): none of
    /// them is given to anybody else before `until`.
    ///
    /// # Errors
    /// What the database said.
    pub async fn claim_webhooks(
        &self,
        most: usize,
        busy: Vec<String>,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<WebhookRow>, StoreError> {
        let most = most.min(WEBHOOKS_AT_ONCE) as u64;
        self.write(Kind::WebhookClaim, 0, move |conn| {
            let doing = "claim webhooks";
            let (sql, busy) = claim_sql(&busy);
            let mut with: Vec<Value> = [("now", now.0), ("until", until.0), ("most", most)]
                .into_iter()
                .map(|(field, n)| int(field, n).map(Value::Integer))
                .collect::<Result<_, _>>()?;
            with.extend(busy.iter().cloned().map(Value::Text));
            let mut statement = conn.prepare_cached(&sql).doing(doing)?;
            let rows = statement.query_map(params_from_iter(with), from_row).doing(doing)?;
            rows.collect::<crate::db::Result<_>>().doing(doing)
        })
        .await
    }

    /// Lets deliveries be claimed again that an earlier daemon died over. Where several share the database, another one may be trying
    /// them: then their claims lapse by themselves, and nothing is done here.
    ///
    /// # Errors
    /// What the database said.
    pub async fn release_webhooks(&self, now: Timestamp) -> Result<usize, StoreError> {
        if self.shared().is_some() {
            return Ok(0);
        }
        self.write(Kind::WebhookClaim, 0, move |conn| {
            let sql = "UPDATE webhooks SET is_trying = 0, due_ms = ?1 WHERE state = 'pending' AND is_trying = 1";
            conn.execute(sql, params![int("now", now.0)?]).doing("release webhooks")
        })
        .await
    }

    /// Keeps what is sent, so that every try sends the same.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] when it is longer than [`WEBHOOK_BODY_BYTES_MAX`].
    pub async fn keep_webhook_body(&self, id: &WebhookId, body: Vec<u8>) -> Result<(), StoreError> {
        if body.len() > WEBHOOK_BODY_BYTES_MAX {
            return Err(StoreError::invalid("webhook body", format!("has more than {WEBHOOK_BODY_BYTES_MAX} bytes")));
        }
        let id = id.clone();
        self.write(Kind::WebhookBody, body.len(), move |conn| {
            let sql = "UPDATE webhooks SET body = ?2 WHERE id = ?1 AND body IS NULL";
            conn.execute(sql, params![id.as_str(), body]).doing("keep the body of a webhook").map(drop)
        })
        .await
    }

    /// Keeps what came of a try. One whose claim was given to somebody else meanwhile changes nothing, unless it was sent.
    ///
    /// # Errors
    /// What the database said.
    pub async fn webhook_tried(&self, tried: WebhookTried) -> Result<bool, StoreError> {
        self.write(Kind::WebhookTried, 0, move |conn| {
            let WebhookTried { id, claim, status, error, outcome, now } = tried;
            let (state, due, settled) = match outcome {
                WebhookOutcome::Sent => ("sent", now, Some(now)),
                WebhookOutcome::Again(due) => ("pending", due, None),
                WebhookOutcome::Dead => ("dead", now, Some(now)),
            };
            let error = error.map(|text| cut(text, ERROR_BYTES_MAX));
            let settled = settled.map(|t| int("now", t.0)).transpose()?;
            let sql = "UPDATE webhooks SET state = ?3, is_trying = 0, due_ms = ?4, settled_ms = ?5, status = ?6, error = ?7
                       WHERE id = ?1 AND state = 'pending' AND (claim = ?2 OR ?3 = 'sent')";
            let with = params![id.as_str(), int("claim", claim)?, state, int("due", due.0)?, settled, status, error];
            Ok(conn.execute(sql, with).doing("keep the outcome of a webhook")? > 0)
        })
        .await
    }

    /// When the next delivery is due; `None` when nothing is owed.
    ///
    /// # Errors
    /// What the database said.
    pub async fn next_webhook(&self) -> Result<Option<Timestamp>, StoreError> {
        self.read(|conn| {
            let sql = "SELECT due_ms FROM webhooks WHERE state = 'pending' ORDER BY due_ms LIMIT 1";
            let due = conn.query_row(sql, [], |r| r.get::<_, u64>(0)).optional().doing("look for webhooks")?;
            Ok(due.map(Timestamp))
        })
        .await
    }

    /// One delivery, with its body.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn webhook(&self, id: &WebhookId) -> Result<WebhookRow, StoreError> {
        let id = id.clone();
        self.read(move |conn| {
            let row = conn.query_row("SELECT * FROM webhooks WHERE id = ?1", [id.as_str()], from_row).optional();
            row.doing("read a webhook")?.ok_or_else(|| StoreError::NotFound { what: "webhook", id: id.to_string() })
        })
        .await
    }

    /// A page of deliveries without their bodies, the youngest first.
    ///
    /// # Errors
    /// What the database said.
    pub async fn list_webhooks(
        &self,
        filter: WebhookFilter,
        after: Option<WebhookId>,
        limit: usize,
    ) -> Result<Page<WebhookRow>, StoreError> {
        let limit = limit.clamp(1, LIST_MAX);
        self.read(move |conn| {
            let sql = "SELECT id, tenant, job, event, url, secret, traceparent, NULL AS body, state, tries, tries_before, due_ms, claim,
                              created_ms, begun_ms, tried_ms, settled_ms, status, error, host
                       FROM webhooks WHERE (?1 IS NULL OR tenant = ?1) AND (?2 IS NULL OR state = ?2) AND (?3 IS NULL OR job = ?3)
                       AND (?4 IS NULL OR id < ?4) ORDER BY id DESC LIMIT ?5";
            let mut statement = conn.prepare_cached(sql).doing("list webhooks")?;
            let after = after.as_ref().map(WebhookId::as_str);
            let with = params![filter.tenant, filter.state, filter.job, after, int("limit", limit as u64 + 1)?];
            let rows = statement.query_map(with, from_row).doing("list webhooks")?;
            let mut items: Vec<WebhookRow> = rows.collect::<crate::db::Result<_>>().doing("list webhooks")?;
            let more = items.len() > limit;
            items.truncate(limit);
            let next = if more { items.last().map(|row| row.id.to_string()) } else { None };
            Ok(Page { items, next })
        })
        .await
    }

    /// Owes a settled delivery once more, from the beginning.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Conflict`] while it is pending.
    pub async fn resend_webhook(&self, id: &WebhookId, now: Timestamp) -> Result<WebhookRow, StoreError> {
        let id = id.clone();
        self.write(Kind::WebhookResend, 0, move |conn| {
            let sql = "UPDATE webhooks SET state = 'pending', tries_before = tries, due_ms = ?2, begun_ms = ?2, settled_ms = NULL,
                 status = NULL, error = NULL
                       WHERE id = ?1 AND state <> 'pending' RETURNING *";
            let row = conn.query_row(sql, params![id.as_str(), int("now", now.0)?], from_row).optional().doing("send a webhook again")?;
            if let Some(row) = row {
                return Ok(row);
            }
            let sql = "SELECT count(*) FROM webhooks WHERE id = ?1";
            let count: u64 = conn.query_row(sql, [id.as_str()], |r| r.get(0)).doing("send a webhook again")?;
            if count == 0 {
                return Err(StoreError::NotFound { what: "webhook", id: id.to_string() });
            }
            Err(StoreError::Conflict(format!("webhook `{id}` is still on its way")))
        })
        .await
    }

    /// Removes deliveries that were settled before `before`, at most [`WEBHOOKS_AT_ONCE`]. Returns how many went.
    ///
    /// # Errors
    /// What the database said.
    pub async fn forget_webhooks(&self, before: Timestamp) -> Result<usize, StoreError> {
        self.write(Kind::WebhookForget, 0, move |conn| {
            let sql = "DELETE FROM webhooks WHERE id IN
                       (SELECT id FROM webhooks WHERE state <> 'pending' AND settled_ms < ?1 ORDER BY settled_ms LIMIT ?2)";
            conn.execute(sql, params![int("before", before.0)?, int("most", WEBHOOKS_AT_ONCE as u64)?]).doing("forget webhooks")
        })
        .await
    }

    /// How many deliveries are in each state.
    ///
    /// # Errors
    /// What the database said.
    pub async fn count_webhooks(&self) -> Result<Vec<(String, u64)>, StoreError> {
        self.read(|conn| {
            let mut statement =
                conn.prepare_cached("SELECT state, count(*) FROM webhooks GROUP BY state ORDER BY state").doing("count webhooks")?;
            let rows = statement.query_map([], |r| Ok((r.get(0)?, r.get(1)?))).doing("count webhooks")?;
            rows.collect::<crate::db::Result<_>>().doing("count webhooks")
        })
        .await
    }
}

/// How deliveries are claimed while these hosts are left out.
fn claim_sql(busy: &[String]) -> (String, &[String]) {
    let busy = &busy[..busy.len().min(WEBHOOK_HOSTS_MAX)];
    let places: Vec<String> = (0..busy.len()).map(|n| format!("?{}", n + 4)).collect();
    let but = if places.is_empty() { String::new() } else { format!("AND host NOT IN ({})", places.join(", ")) };
    let sql = format!(
        "UPDATE webhooks SET claim = claim + 1, is_trying = 1, due_ms = ?2, tries = tries + 1, tried_ms = ?1
         WHERE id IN (SELECT id FROM webhooks WHERE state = 'pending' AND due_ms <= ?1 {but} ORDER BY due_ms, id LIMIT ?3)
         RETURNING *"
    );
    (sql, busy)
}

/// Which deliveries are listed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WebhookFilter {
    /// Only those of this tenant.
    pub tenant: Option<String>,
    /// Only those that stand so.
    pub state: Option<String>,
    /// Only those of this job.
    pub job: Option<String>,
}

/// The beginning of a text, of at most so many bytes.
pub(crate) fn cut(mut text: String, bytes: usize) -> String {
    if text.len() > bytes {
        let end = (0..=bytes).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
    }
    text
}

fn from_row(row: &Row<'_>) -> crate::db::Result<WebhookRow> {
    let time = |column| row.get::<_, Option<u64>>(column).map(|t| t.map(Timestamp));
    Ok(WebhookRow {
        id: parsed(row, "id")?,
        tenant: row.get("tenant")?,
        job: row.get("job")?,
        event: row.get("event")?,
        url: row.get("url")?,
        host: row.get("host")?,
        secret: row.get("secret")?,
        traceparent: row.get("traceparent")?,
        body: row.get("body")?,
        state: row.get("state")?,
        tries: row.get("tries")?,
        tries_before: row.get("tries_before")?,
        due: Timestamp(row.get("due_ms")?),
        claim: row.get("claim")?,
        created: Timestamp(row.get("created_ms")?),
        begun: Timestamp(row.get("begun_ms")?),
        tried: time("tried_ms")?,
        settled: time("settled_ms")?,
        status: row.get("status")?,
        error: row.get("error")?,
    })
}
