//! A queue as it is mostly written on PostgreSQL, for comparison: one table, `FOR UPDATE SKIP LOCKED`, a commit for each step.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context, Result};
use postgres::{Client, NoTls};

use super::queue::{CALLERS, CLAIMS, Figures, JOBS};
use super::rate;
use crate::sample::Times;

const TABLE: &str = "CREATE TABLE queue (
    id      BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    state   TEXT NOT NULL DEFAULT 'queued',
    request JSONB NOT NULL,
    result  JSONB,
    created TIMESTAMPTZ NOT NULL DEFAULT now(),
    ended   TIMESTAMPTZ
);
CREATE INDEX queue_next ON queue (id) WHERE state = 'queued'";
const PUT: &str = "INSERT INTO queue (request) VALUES ($1::TEXT::JSONB) RETURNING id";
const CLAIM: &str = "UPDATE queue SET state = 'running' WHERE id =
    (SELECT id FROM queue WHERE state = 'queued' ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING id, request::TEXT";
const END: &str = "UPDATE queue SET state = 'completed', ended = now(), result = '{}' WHERE id = $1 AND state = 'running'";
/// Connections at once: each of the callers would need one, and servers are seldom given more.
const CLIENTS: usize = 16;

pub(super) fn measure(url: &str) -> Result<Figures> {
    let mut client = Client::connect(url, NoTls)?;
    client.batch_execute(TABLE)?;
    let request = format!("{{\"spec\":\"{}\"}}", "x".repeat(800));
    let began = Instant::now();
    at_once(url, JOBS, |client| client.query_one(PUT, &[&request]).map(|_| true).context("put"))?;
    let taken = rate(JOBS, began.elapsed());
    let mut samples = Vec::with_capacity(CLAIMS);
    let claim = client.prepare(CLAIM)?;
    for _ in 0..CLAIMS {
        let began = Instant::now();
        client.query_one(&claim, &[])?;
        samples.push(began.elapsed());
    }
    let began = Instant::now();
    at_once(url, JOBS - CLAIMS, |client| {
        let Some(row) = client.query_opt(CLAIM, &[])? else { return Ok(false) };
        let id: i64 = row.get(0);
        client.execute(END, &[&id])?;
        Ok(true)
    })?;
    Ok(Figures { taken, claims: Times::of(samples), ended: rate(JOBS - CLAIMS, began.elapsed()) })
}

/// Does something so often, by many connections at once.
fn at_once(url: &str, times: usize, work: impl Fn(&mut Client) -> Result<bool> + Sync) -> Result<()> {
    let left = AtomicUsize::new(times);
    let clients = (0..CLIENTS.min(CALLERS)).map(|_| Client::connect(url, NoTls)).collect::<Result<Vec<_>, _>>()?;
    std::thread::scope(|scope| {
        let one = |mut client: Client| {
            let (left, work) = (&left, &work);
            scope.spawn(move || {
                while left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok() {
                    if !work(&mut client)? {
                        break;
                    }
                }
                Ok(())
            })
        };
        let all: Vec<_> = clients.into_iter().map(one).collect();
        all.into_iter().try_for_each(|thread| thread.join().map_err(|_| anyhow::anyhow!("a client failed"))?)
    })
}
