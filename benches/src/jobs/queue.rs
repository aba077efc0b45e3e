//! The store's queue alone, on both databases, beside a queue that PostgreSQL makes by itself.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures_util::{StreamExt, TryStreamExt, stream};
use model::{Money, SessionId, Timestamp, TurnId, Usage};
use serde_json::json;
use store::{Config, JobCaps, JobEnd, JobLease, JobNames, JobRow, JobWork, NewJob, Store};

use super::{baseline, rate};
use crate::sample::{Times, ms};

/// Jobs that go through each queue.
pub(super) const JOBS: usize = 5_000;
/// Callers at once.
pub(super) const CALLERS: usize = 64;
/// Claims whose times are taken one by one.
pub(super) const CLAIMS: usize = 500;
/// A time like today's, in milliseconds since 1970.
const NOW: u64 = 1_700_000_000_000;

/// What one queue does.
pub(super) struct Figures {
    /// Jobs taken in a second.
    pub(super) taken: f64,
    /// One claim after the other.
    pub(super) claims: Times,
    /// Jobs claimed and ended in a second.
    pub(super) ended: f64,
}

pub(super) async fn run() -> Result<String> {
    let home = private()?;
    let sqlite = Store::open(&home.path().join("lazaret.db"), &Config::default())?;
    let first = measure(&sqlite).await.context("SQLite")?;
    sqlite.close().await?;
    let server = testkit::postgres::Server::start(true)?;
    let (own, home) = (server.database()?, private()?);
    let shared = Store::open_shared(&own, store::Access::default(), home.path(), &Config::default())?;
    let second = measure(&shared).await.context("PostgreSQL")?;
    shared.close().await?;
    let plain = server.database()?;
    let third = tokio::task::spawn_blocking(move || baseline::measure(&plain)).await??;
    let mut text = String::from("\n| the queue alone | taken | a claim, p50 / p99 | claimed and ended |\n|---|---|---|---|\n");
    for (name, figures) in
        [("SQLite", first), ("PostgreSQL", second), ("FOR UPDATE SKIP LOCKED, without tenants, fairness, limits, leases, results", third)]
    {
        let Figures { taken, claims, ended } = figures;
        text.push_str(&format!("| {name} | {taken:.0}/s | {} / {} ms | {ended:.0}/s |\n", ms(claims.median()), ms(claims.p99())));
    }
    Ok(text)
}

pub(super) fn private() -> Result<tempfile::TempDir> {
    Ok(tempfile::Builder::new().prefix("lazaret-bench-").permissions(PermissionsExt::from_mode(0o700)).tempdir()?)
}

/// A job as the API makes it, without a file.
pub(super) fn job(n: u64) -> NewJob {
    NewJob {
        id: format!("bench-{n:012x}"),
        tenant: format!("tenant-{}", n % 7),
        agent_id: format!("agent-{}", n % 101),
        agent: "default".to_owned(),
        priority: 5,
        profile: format!("profile-{}", n % 13),
        engine: if n.is_multiple_of(3) { "mini" } else { "claude-code" }.to_owned(),
        model: String::new(),
        labels: [("part".to_owned(), (n % 50).to_string()), ("third".to_owned(), (n % 3).to_string())].into(),
        form: json!({ "agent_id": "bench" }),
        resolved: json!({ "spec": "x".repeat(800) }),
        prompt: "nothing".to_owned(),
        blobs: Vec::new(),
        key: None,
        request: String::new(),
        retries_max: 0,
        not_before: Timestamp(0),
        webhook: None,
        queued_max: 10_000_000,
        now: Timestamp(NOW + n),
    }
}

fn names(n: u64) -> JobNames {
    JobNames { session: SessionId::from_bits(u128::from(n)), turn: TurnId::from_bits(u128::from(n)) }
}

fn lease() -> JobLease {
    JobLease { replica: "bench".to_owned(), until: Timestamp(NOW * 2) }
}

const CAPS: JobCaps = JobCaps { tenant: 1_000_000, agent_id: 1_000_000 };

pub(super) fn end(row: &JobRow) -> JobEnd {
    JobEnd {
        work: JobWork { id: row.id.clone(), fence: row.fence },
        is_good: true,
        exit_code: 0,
        code: None,
        error: None,
        usage: Usage::default(),
        cost: Money::ZERO,
        blobs: Vec::new(),
        has_session: false,
        now: Timestamp(NOW * 2),
    }
}

async fn measure(store: &Store) -> Result<Figures> {
    let began = Instant::now();
    let all = (0..JOBS as u64).map(|n| store.accept_job(job(n)));
    stream::iter(all).buffer_unordered(CALLERS).try_for_each(|_| async { Ok(()) }).await?;
    let taken = rate(JOBS, began.elapsed());
    let (mut samples, mut rows) = (Vec::new(), Vec::new());
    for n in 0..CLAIMS as u64 {
        let began = Instant::now();
        rows.extend(store.claim_jobs(lease(), vec![names(n)], CAPS, Timestamp(NOW)).await?);
        samples.push(began.elapsed());
    }
    let (began, rest) = (Instant::now(), JOBS - CLAIMS);
    let mut n = CLAIMS as u64;
    let mut ended = 0;
    while ended < rest {
        // As a dispatcher does: as many at once as there are free places.
        let batch: Vec<JobNames> = (0..CALLERS as u64).map(|at| names(n + at)).collect();
        n += CALLERS as u64;
        let claimed = store.claim_jobs(lease(), batch, CAPS, Timestamp(NOW)).await?;
        ended += claimed.len();
        let ends = claimed.iter().map(|row| store.finish_job(end(row)));
        stream::iter(ends).buffer_unordered(CALLERS).try_for_each(|_| async { Ok(()) }).await?;
    }
    Ok(Figures { taken, claims: Times::of(samples), ended: rate(rest, began.elapsed().max(Duration::from_micros(1))) })
}
