//! Those who wait: what they cost, and how soon each of them is told.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::whole::{Line, ask, no_op};
use crate::daemon::{Connection, Daemon, memory_kib};
use crate::sample::ms;

/// Clients that wait, and streams that are open, at once.
const WAITING: usize = 1_000;
/// How long the daemon may take to put away what was before.
const SETTLE: Duration = Duration::from_secs(2);
/// How long all answers may take.
const ANSWERS_WAIT: Duration = Duration::from_secs(20);

pub(super) fn run(daemon: &Daemon) -> Result<Vec<Line>> {
    let mut asks = daemon.connect()?;
    let mut form = no_op();
    form["delay_s"] = 3600.into();
    let id = ask(&mut asks, &form)?;
    let done = ask(&mut asks, &no_op())?;
    let end = asks.ask("GET", &format!("/v1/jobs/{done}/wait?timeout_s=60"), &Value::Null)?;
    let session = end["session"].as_str().context("a session")?.to_owned();
    std::thread::sleep(SETTLE);
    let before = memory_kib(daemon.pid(), "VmRSS")?;
    let mut waiting = Vec::with_capacity(WAITING);
    let mut streams = Vec::with_capacity(WAITING);
    for _ in 0..WAITING {
        let mut waits = daemon.connect()?;
        waits.send("GET", &format!("/v1/jobs/{id}/wait?timeout_s=600"))?;
        waiting.push(waits);
        streams.push(daemon.connect()?.follow(&session)?);
    }
    std::thread::sleep(SETTLE);
    let after = memory_kib(daemon.pid(), "VmRSS")?;
    let (first, last) = told(&mut asks, &id, waiting)?;
    drop(streams);
    Ok(vec![
        (format!("{WAITING} waiting clients and {WAITING} open streams"), format!("{} KiB", after.saturating_sub(before))),
        (
            format!("one job with {WAITING} who wait for it is stopped -> the first, the last of them is told"),
            format!("{} / {} ms", ms(first), ms(last)),
        ),
    ])
}

/// Stops the job, and says when the first and when the last of those who wait for it is told, after the stop was asked for.
fn told(asks: &mut Connection, id: &str, waiting: Vec<Connection>) -> Result<(Duration, Duration)> {
    for waits in &waiting {
        waits.look_only()?;
    }
    let began = Instant::now();
    asks.send_with("POST", &format!("/v1/jobs/{id}/cancel"), "{}")?;
    let (mut waiting, mut first) = (waiting, None);
    let mut last = began.elapsed();
    let mut answered = Vec::with_capacity(WAITING);
    while !waiting.is_empty() {
        if began.elapsed() > ANSWERS_WAIT {
            bail!("{} of those who wait were not told", waiting.len());
        }
        let mut rest = Vec::with_capacity(waiting.len());
        for waits in waiting {
            if waits.has_answer()? {
                last = began.elapsed();
                first.get_or_insert(last);
                answered.push(waits);
            } else {
                rest.push(waits);
            }
        }
        waiting = rest;
    }
    Ok((first.unwrap_or(last), last))
}
