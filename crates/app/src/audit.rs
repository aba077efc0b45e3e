//! Keeps what was decided.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use broker::Audit;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use model::{AuditEntry, AuditKind, Code, Failure, SessionId, TurnId};
use serde_json::{Value, json};
use store::{Store, StoreError};
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;

use crate::metrics::Registry;
use crate::telemetry::Traces;
use crate::{App, now};

/// Entries that wait to be written. Whoever can wait, waits for room; what cannot is counted, and the count is a row.
const WAITING_MAX: usize = 16_384;
/// Entries that are written at once.
const BATCH_MAX: usize = 1024;
/// How long an entry without effect waits for others to share a commit with.
const GATHER: Duration = Duration::from_millis(50);
/// How long is waited after a write that failed.
const RETRY: Duration = Duration::from_secs(1);
/// How long the end waits for the last rows.
const CLOSE_WAIT: Duration = Duration::from_secs(5);
/// Characters that a row keeps of a text which somebody else chose.
const TEXT_CHARS_MAX: usize = 1024;

/// One entry on its way.
enum Note {
    /// Soon.
    Soon(Box<AuditEntry>),
    /// Now; somebody waits for it.
    Now(Box<AuditEntry>, oneshot::Sender<Result<(), Failure>>),
    /// All that came before, and then no more.
    End,
}

/// The audit, kept in the store. One task writes it, in the order in which entries came.
pub(crate) struct AuditBook {
    notes: mpsc::Sender<Note>,
    /// Entries for which there was no room.
    missed: Arc<AtomicU64>,
    tasks: TaskTracker,
    /// What is counted, besides being kept.
    counts: Registry,
    /// What is told of it to who watches.
    traces: Traces,
}

struct Writer {
    store: Store,
    notes: mpsc::Receiver<Note>,
    missed: Arc<AtomicU64>,
}

impl AuditBook {
    /// The book, and the task that writes it.
    pub(crate) fn new(store: Store) -> Self {
        let (notes, come) = mpsc::channel(WAITING_MAX);
        let (missed, tasks) = (Arc::new(AtomicU64::new(0)), TaskTracker::new());
        tasks.spawn(Writer { store, notes: come, missed: Arc::clone(&missed) }.run());
        Self { notes, missed, tasks, counts: Registry::default(), traces: Traces::default() }
    }

    pub(crate) fn traces(&self) -> &Traces {
        &self.traces
    }

    /// What was counted.
    pub(crate) fn counts(&self) -> &Registry {
        &self.counts
    }

    /// Keeps an entry soon, for who cannot wait.
    pub(crate) fn note_soon(&self, entry: AuditEntry) {
        self.counts.decided(&entry);
        self.traces.decided(&entry);
        if self.notes.try_send(Note::Soon(Box::new(clipped(entry)))).is_err() {
            self.missed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes what waits, and takes no more.
    pub(crate) async fn shutdown(&self) {
        let end = async {
            if self.notes.send(Note::End).await.is_ok() {
                self.tasks.close();
                self.tasks.wait().await;
            }
        };
        if tokio::time::timeout(CLOSE_WAIT, end).await.is_err() {
            tracing::error!("the last rows of the audit were not written in time");
        }
    }
}

impl Writer {
    async fn run(mut self) {
        let mut batch = Vec::new();
        let mut is_over = false;
        while !is_over && self.notes.recv_many(&mut batch, BATCH_MAX).await > 0 {
            self.gather(&mut batch).await;
            let mut entries = Vec::with_capacity(batch.len());
            let mut waiting = Vec::new();
            for note in batch.drain(..) {
                match note {
                    Note::Soon(entry) => entries.push(*entry),
                    Note::Now(entry, tell) => {
                        entries.push(*entry);
                        waiting.push(tell);
                    }
                    Note::End => is_over = true,
                }
            }
            let missed = self.missed.swap(0, Ordering::Relaxed);
            if missed > 0 {
                entries.push(of_host("audit", "error", json!({ "missed": missed })));
            }
            self.write(entries, waiting).await;
        }
    }

    /// Waits a little for more to come, unless somebody waits or there is much.
    async fn gather(&mut self, batch: &mut Vec<Note>) {
        let is_urgent = |batch: &[Note]| batch.iter().any(|note| !matches!(note, Note::Soon(_)));
        let end = tokio::time::Instant::now() + GATHER;
        while batch.len() < BATCH_MAX && !is_urgent(batch) {
            let room = BATCH_MAX - batch.len();
            tokio::select! {
                n = self.notes.recv_many(batch, room) => if n == 0 { return },
                () = tokio::time::sleep_until(end) => return,
            }
        }
    }

    /// Writes entries. Those who wait hear of a failure at once; the rest is tried until it is written, or can never be.
    async fn write(&self, entries: Vec<AuditEntry>, waiting: Vec<oneshot::Sender<Result<(), Failure>>>) {
        let mut waiting = waiting;
        if entries.is_empty() {
            return;
        }
        loop {
            let done = self.store.append_audit(entries.clone()).await;
            if done.is_ok() {
                model::crash::point("audit:written");
            }
            let told = done.as_ref().map(drop).map_err(StoreError::failure);
            // Nobody may be waiting any more, and that is fine.
            waiting.drain(..).for_each(|tell| drop(tell.send(told.clone())));
            match done {
                Ok(_) => return,
                Err(StoreError::DiskFull | StoreError::Sqlite { grave: false, .. }) => {
                    tracing::error!(rows = entries.len(), "the audit cannot be written just now");
                    tokio::time::sleep(RETRY).await;
                }
                Err(error) => {
                    tracing::error!(rows = entries.len(), error = model::chain(&error), "rows of the audit are lost");
                    return;
                }
            }
        }
    }
}

/// An entry of the host's own.
fn of_host(topic: &str, outcome: &str, detail: Value) -> AuditEntry {
    AuditEntry {
        time: now(),
        kind: AuditKind::Admin,
        session: None,
        turn: None,
        actor: "lazaret".to_owned(),
        topic: topic.to_owned(),
        correlation: None,
        stage: None,
        outcome: outcome.to_owned(),
        code: None,
        detail,
    }
}

/// Holds the texts of an entry to their length.
fn clipped(mut entry: AuditEntry) -> AuditEntry {
    for text in [&mut entry.actor, &mut entry.topic, &mut entry.outcome].into_iter().chain(entry.correlation.as_mut()) {
        if let Some((at, _)) = text.char_indices().nth(TEXT_CHARS_MAX) {
            text.truncate(at);
        }
    }
    if entry.detail.to_string().len() > store::AUDIT_ENTRY_BYTES_MAX / 2 {
        entry.detail = json!({ "cut": true });
    }
    entry
}

impl Audit for AuditBook {
    fn note(&self, entry: AuditEntry) -> BoxFuture<'_, ()> {
        async move {
            if self.notes.send(Note::Soon(Box::new(clipped(entry)))).await.is_err() {
                tracing::error!("the audit takes no more rows");
            }
        }
        .boxed()
    }

    fn note_now(&self, entry: AuditEntry) -> BoxFuture<'_, Result<(), Failure>> {
        self.counts.decided(&entry);
        self.traces.decided(&entry);
        async move {
            let gone = || Failure::new(Code::StoreUnusable, "the audit takes no more rows");
            let (tell, told) = oneshot::channel();
            self.notes.send(Note::Now(Box::new(clipped(entry)), tell)).await.map_err(|_| gone())?;
            told.await.map_err(|_| gone())?
        }
        .boxed()
    }
}

/// Connections of one turn, or of one start of a plugin, that have a row each; a sandbox can make as many as it likes.
const EGRESS_ROWS_MAX: u64 = 10_000;

/// Keeps what became of each connection to a host.
pub(crate) struct EgressAudit {
    book: Arc<AuditBook>,
    of: Option<(SessionId, TurnId)>,
    actor: String,
    rows: AtomicU64,
}

impl EgressAudit {
    pub(crate) fn new(app: &App, of: Option<(&SessionId, &TurnId)>, actor: String) -> Self {
        let of = of.map(|(session, turn)| (session.clone(), turn.clone()));
        Self { book: app.audit_handle(), of, actor, rows: AtomicU64::new(0) }
    }
}

impl gateway::egress::Watch for EgressAudit {
    fn seen(&self, report: &gateway::egress::Report) {
        let rows = self.rows.fetch_add(1, Ordering::Relaxed);
        if rows > EGRESS_ROWS_MAX {
            return;
        }
        let topic = report.target.as_ref().map_or_else(|| "unreadable".to_owned(), |to| format!("{}:{}", to.host, to.port));
        let refusal = report.refusal.as_ref().map(gateway::egress::Refusal::failure);
        let outcome = match &refusal {
            None => "allowed",
            Some(failure) if matches!(failure.code, Code::EgressDenied | Code::BudgetExceeded) => "denied",
            Some(_) => "error",
        };
        let mut detail = json!({ "sent": report.sent, "received": report.received });
        if rows == EGRESS_ROWS_MAX {
            detail["more_are_not_kept"] = json!(true);
        }
        let (session, turn) = self.of.clone().unzip();
        let code = refusal.map(|failure| failure.code);
        let entry =
            AuditEntry { kind: AuditKind::Egress, session, turn, actor: self.actor.clone(), code, ..of_host(&topic, outcome, detail) };
        self.book.note_soon(entry);
    }
}

impl App {
    /// Keeps in the audit that somebody changed something: durable before this returns.
    ///
    /// # Errors
    /// The store cannot be written. What was changed stays changed.
    pub async fn audit_change(&self, actor: &str, topic: &str, detail: Value) -> Result<(), Failure> {
        let entry = AuditEntry { actor: actor.to_owned(), ..of_host(topic, "changed", detail) };
        self.audit_book().note_now(entry).await
    }

    /// Keeps in the audit what the host itself did or saw, soon.
    pub fn audit(&self, kind: AuditKind, topic: &str, outcome: &str, detail: Value) {
        self.audit_book().note_soon(AuditEntry { kind, ..of_host(topic, outcome, detail) });
    }

    /// Rows of the audit after number `after`, in order; with `latest` the last of them instead of the first.
    ///
    /// # Errors
    /// `limit` is out of bounds, or the store cannot be read.
    pub async fn audit_rows(
        &self,
        filter: store::AuditFilter,
        after: u64,
        limit: usize,
        latest: bool,
    ) -> Result<Vec<store::AuditRow>, Failure> {
        self.store().audit(filter, after, limit, latest).await.map_err(|e| e.failure())
    }

    /// Reads the whole chain and names the first fault.
    ///
    /// # Errors
    /// The store cannot be read. A fault is no error.
    pub async fn verify_audit(&self) -> Result<store::AuditCheck, Failure> {
        self.store().verify_audit().await.map_err(|e| e.failure())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        let dir = tempfile::Builder::new().permissions(mode).tempdir().expect("a directory");
        let store = Store::open(&dir.path().join("lazaret.db"), &store::Config::default()).expect("a store");
        (dir, store)
    }

    #[tokio::test]
    async fn entries_keep_their_order_and_the_last_are_not_lost() {
        let (_dir, store) = store();
        let book = AuditBook::new(store.clone());
        for n in 0..3000 {
            book.note(of_host(&n.to_string(), "changed", Value::Null)).await;
        }
        book.note_now(of_host("now", "changed", Value::Null)).await.expect("durable");
        let rows = store.audit(store::AuditFilter::default(), 0, 1, true).await.expect("rows");
        assert_eq!((rows[0].seq, rows[0].entry.topic.as_str()), (3001, "now"), "all before it are there when it is");
        book.note_soon(of_host("last", "changed", Value::Null));
        book.shutdown().await;
        let check = store.verify_audit().await.expect("read");
        assert_eq!((check.rows, check.broken), (3002, None));
        assert!(book.note_now(of_host("late", "changed", Value::Null)).await.is_err());
    }

    #[test]
    fn what_others_chose_is_bounded() {
        let entry = clipped(of_host(&"x".repeat(5000), "changed", json!({ "a": "y".repeat(1 << 20) })));
        assert_eq!((entry.topic.len(), entry.detail), (TEXT_CHARS_MAX, json!({ "cut": true })));
    }
}
