//! Jobs for a long time, and whether anything grows: `lazaret-bench soak-jobs [MINUTES]`.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::whole::{ask, dry, no_op};
use crate::daemon::{Daemon, memory_kib};
use crate::sample;
use crate::soak::{descriptors, disk, grown};

/// Minutes when nothing is said.
const MINUTES: u64 = 10;
/// Parts that the time is cut into; each gives one line. The first fills caches and the number of jobs that are kept.
const PARTS: u32 = 6;
/// Clients that ask and wait.
const CLIENTS: usize = 4;
/// Of so many jobs of a client, one has a sandbox.
const ONE_IN: usize = 4;
/// What the daemon is started with: few jobs are kept, and the others forgotten often, so that the rows are a fixed number.
const SETTINGS: &[(&str, &str)] =
    &[("pool.size", "4"), ("jobs.keep", "150"), ("jobs.cleanup", "60s"), ("jobs.running_max", "8"), ("rate.token", "100000000")];

/// Jobs that are kept at last.
const KEPT: u64 = 150;
/// How long forgetting the others may take: it begins once in a minute.
const FORGET_WAIT: Duration = Duration::from_secs(180);

/// What is looked at.
struct Look {
    kib: u64,
    descriptors: u64,
    disk_mib: u64,
    jobs: u64,
    sandboxes: u64,
}

pub(crate) fn run() -> Result<String> {
    let minutes = std::env::args().nth(2).and_then(|m| m.parse().ok()).unwrap_or(MINUTES);
    let dir = tempfile::Builder::new().prefix("lazaret-bench-").tempdir().context("failed to make a directory")?;
    let daemon = Daemon::start_with(dir.path(), SETTINGS)?;
    let part = Duration::from_secs(minutes * 60) / PARTS;
    let mut text = format!(
        "{minutes} minutes of jobs. {}.\n\n| jobs so far | resident KiB | descriptors | MiB on the disk | rows of jobs | sandboxes |\n\
         |---|---|---|---|---|---|\n",
        sample::machine()
    );
    let (mut looks, mut ended) = (Vec::new(), 0);
    for _ in 0..PARTS {
        ended += load(&daemon, part)?;
        let look = look(&daemon)?;
        let Look { kib, descriptors, disk_mib, jobs, sandboxes } = look;
        text.push_str(&format!("| {ended} | {kib} | {descriptors} | {disk_mib} | {jobs} | {sandboxes} |\n"));
        looks.push(look);
    }
    let (second, last) = (&looks[1], &looks[looks.len() - 1]);
    let all = [
        (second.kib, last.kib),
        (second.descriptors, last.descriptors),
        (second.disk_mib, last.disk_mib),
        (second.jobs, last.jobs),
        (second.sandboxes, last.sandboxes),
    ];
    if all.iter().any(|(a, b)| grown(*a, *b)) {
        bail!("something grows:\n{text}");
    }
    Ok(text)
}

/// Jobs from several clients for so long; says how many ended.
fn load(daemon: &Daemon, time: Duration) -> Result<usize> {
    let end = Instant::now() + time;
    std::thread::scope(|scope| {
        let client = |_| {
            scope.spawn(move || {
                let mut asks = daemon.connect()?;
                let mut n = 0;
                while Instant::now() < end {
                    let form = if n % ONE_IN == 0 { no_op() } else { dry() };
                    let id = ask(&mut asks, &form)?;
                    let job = asks.ask("GET", &format!("/v1/jobs/{id}/wait?timeout_s=60"), &Value::Null)?;
                    if job["status"] != "completed" {
                        bail!("a job did not end well: {job}");
                    }
                    n += 1;
                }
                Ok(n)
            })
        };
        let clients: Vec<_> = (0..CLIENTS).map(client).collect();
        clients.into_iter().map(|c| c.join().map_err(|_| anyhow::anyhow!("a client failed"))?).sum()
    })
}

/// Looks once what is old was forgotten.
fn look(daemon: &Daemon) -> Result<Look> {
    let mut asks = daemon.connect()?;
    let began = Instant::now();
    let jobs = loop {
        let page = asks.ask("GET", "/v1/jobs?limit=200", &Value::Null)?;
        let jobs = page["items"].as_array().map_or(0, Vec::len) as u64;
        if jobs <= KEPT {
            break jobs;
        }
        if began.elapsed() > FORGET_WAIT {
            bail!("old jobs are not forgotten");
        }
        std::thread::sleep(Duration::from_secs(1));
    };
    Ok(Look {
        jobs,
        sandboxes: asks.ask("GET", "/v1/sandboxes", &Value::Null)?["items"].as_array().map_or(0, Vec::len) as u64,
        kib: memory_kib(daemon.pid(), "VmRSS")?,
        descriptors: descriptors(daemon.pid())?,
        disk_mib: disk(&daemon.home)? >> 20,
    })
}
