//! Through the API of a daemon: jobs that do nothing, to their end, with and without a sandbox of their own.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::rate;
use crate::daemon::{Connection, Daemon, ticks};
use crate::sample::{Times, ms};

/// Jobs that are only taken, and by how many clients.
const TAKEN: (usize, usize) = (8_000, 32);
/// Jobs that run to their end, and by how many clients they are asked for.
const RUN: (usize, usize) = (600, 8);
/// The same, where nothing but the command line is asked for.
const DRY: (usize, usize) = (4_000, 16);
/// The same where every step is a way to a database server and back.
const SHARED: (usize, usize) = (1_000, 16);
/// Jobs whose times are taken one by one.
const SINGLE: usize = 200;
/// Jobs before them, whose times are not taken.
const WARM: usize = 5;
/// Sandboxes that are made ahead for those that come one by one.
const POOL: usize = 8;
/// Sandboxes that are made ahead for those that come at once.
const BURST: usize = 48;
/// How long members are waited for.
const READY_WAIT: Duration = Duration::from_secs(60);
/// What a daemon is started with.
const SETTINGS: &[(&str, &str)] =
    &[("jobs.running_max", "48"), ("sessions.running_max", "64"), ("jobs.keep", "100000"), ("rate.token", "100000000")];

/// One row of the table.
pub(super) type Line = (String, String);

/// A daemon with so many sandboxes made ahead, on a database server where one is given.
pub(super) fn daemon(dir: &std::path::Path, pool: usize, url: Option<&str>) -> Result<Daemon> {
    let pool = pool.to_string();
    let mut settings = SETTINGS.to_vec();
    settings.push(("pool.size", &pool));
    settings.extend(url.map(|url| ("store.url", url)));
    Daemon::start_with(dir, &settings)
}

pub(super) fn run() -> Result<String> {
    let mut rows = Vec::new();
    rows.extend(with_pool().context("with a pool")?);
    rows.push(super::floor::run().context("the floor")?);
    rows.extend(alone(None).context("SQLite")?);
    let server = testkit::postgres::Server::start(true)?;
    let url = server.database()?;
    rows.extend(alone(Some(&url)).context("PostgreSQL")?);
    let mut text = String::from("| | |\n|---|---|\n");
    rows.iter().for_each(|(name, value)| text.push_str(&format!("| {name} | {value} |\n")));
    Ok(text)
}

/// One after the other with a few ready, and as many at once as are ready.
fn with_pool() -> Result<Vec<Line>> {
    let dir = place()?;
    let mut rows = Vec::new();
    {
        let daemon = daemon(dir.path(), POOL, None)?;
        let (started, told) = single(&daemon)?;
        let cells = |times: &Times| format!("{} / {} ms", ms(times.median()), ms(times.p99()));
        rows.push(("accepted -> its engine runs, with a warm pool, p50 / p99".to_owned(), cells(&started)));
        rows.push(("its end -> a waiting client has read it, p50 / p99".to_owned(), cells(&told)));
    }
    let dir = place()?;
    let daemon = daemon(dir.path(), BURST, None)?;
    let mut asks = daemon.connect()?;
    warm(&mut asks, BURST)?;
    let (took, ran, _) = to_the_end(&daemon, &no_op(), (BURST, RUN.1))?;
    rows.push((
        format!("{BURST} jobs at once, for each of which a sandbox is ready"),
        format!("{:.0}/s; all engines had begun after {} ms", rate(BURST, took), ms(ran)),
    ));
    Ok(rows)
}

/// Where nothing is made ahead.
fn alone(url: Option<&str>) -> Result<Vec<Line>> {
    let dir = place()?;
    let daemon = daemon(dir.path(), 0, url)?;
    let on = if url.is_some() { ", on PostgreSQL" } else { "" };
    let mut rows = Vec::new();
    let (n, clients) = if url.is_some() { SHARED } else { TAKEN };
    let took = taken(&daemon, (n, clients))?;
    rows.push((format!("jobs accepted durably over the API by {clients} clients{on}"), format!("{:.0}/s", rate(n, took))));
    let dry_runs = if url.is_some() { SHARED } else { DRY };
    for (name, form, many) in
        [("jobs that do nothing, each in a sandbox made for it", no_op(), RUN), ("dry runs, without a sandbox", dry(), dry_runs)]
    {
        let (took, _, spent) = to_the_end(&daemon, &form, many)?;
        let each = Duration::from_millis(spent * 10) / u32::try_from(many.0)?;
        rows.push((
            format!("{name}: {}, to the end{on}", many.0),
            format!("{:.0}/s; {} ms of the daemon's processor time each", rate(many.0, took), ms(each)),
        ));
    }
    if url.is_none() {
        rows.extend(super::waits::run(&daemon).context("those who wait")?);
        rows.push(super::due::run(&daemon).context("tasks")?);
    }
    Ok(rows)
}

fn place() -> Result<tempfile::TempDir> {
    tempfile::Builder::new().prefix("lazaret-bench-").tempdir().context("failed to make a directory")
}

pub(super) fn no_op() -> Value {
    json!({ "agent_id": "bench", "prompt": "nothing", "model": "rehearsal", "output_format": "text" })
}

pub(super) fn dry() -> Value {
    json!({ "agent_id": "bench", "prompt": "nothing", "model": "rehearsal", "dry_run": true })
}

pub(super) fn ask(asks: &mut Connection, form: &Value) -> Result<String> {
    let made = asks.ask("POST", "/v1/jobs", form)?;
    Ok(made["id"].as_str().context("an identity")?.to_owned())
}

/// Now, as the API tells times.
pub(super) fn now_ms() -> Result<u64> {
    Ok(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?)
}

/// Waits until so many sandboxes are ready and no other one is made.
fn warm(asks: &mut Connection, wanted: usize) -> Result<()> {
    let began = Instant::now();
    loop {
        let pool = asks.ask("GET", "/v1/pool", &Value::Null)?;
        if pool["ready"].as_u64().unwrap_or(0) >= wanted as u64 && pool["booting"] == 0 {
            return Ok(());
        }
        if began.elapsed() > READY_WAIT {
            bail!("no sandbox is ready: {pool}");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Waits for the end of a job, which must be a good one.
fn ended(asks: &mut Connection, id: &str) -> Result<Value> {
    let end = asks.ask("GET", &format!("/v1/jobs/{id}/wait?timeout_s=600"), &Value::Null)?;
    if end["status"] != "completed" {
        bail!("a job did not end well: {end}");
    }
    Ok(end)
}

fn time_of(job: &Value, name: &str) -> Result<u64> {
    job[name].as_u64().with_context(|| format!("{name} of a job"))
}

/// One job at a time: from its acceptance to its engine, and from its end to who waits for it.
fn single(daemon: &Daemon) -> Result<(Times, Times)> {
    let mut asks = daemon.connect()?;
    let (mut started, mut told) = (Vec::new(), Vec::new());
    for round in 0..SINGLE + WARM {
        warm(&mut asks, POOL)?;
        let id = ask(&mut asks, &no_op())?;
        let end = ended(&mut asks, &id)?;
        let read = now_ms()?;
        if round >= WARM {
            started.push(Duration::from_millis(time_of(&end, "started")?.saturating_sub(time_of(&end, "created")?)));
            told.push(Duration::from_millis(read.saturating_sub(time_of(&end, "finished")?)));
        }
    }
    Ok((Times::of(started), Times::of(told)))
}

/// All of these, by so many clients at once.
fn by_clients(daemon: &Daemon, form: &Value, (n, clients): (usize, usize)) -> Result<Vec<String>> {
    std::thread::scope(|scope| {
        let client = |_| {
            scope.spawn(|| {
                let mut asks = daemon.connect()?;
                (0..n / clients).map(|_| ask(&mut asks, form)).collect::<Result<Vec<_>>>()
            })
        };
        let clients: Vec<_> = (0..clients).map(client).collect();
        let all = clients.into_iter().map(|c| c.join().map_err(|_| anyhow::anyhow!("a client failed"))?).collect::<Result<Vec<_>>>()?;
        Ok(all.into_iter().flatten().collect())
    })
}

/// How long taking takes. They begin in an hour, so that nothing else goes on.
fn taken(daemon: &Daemon, many: (usize, usize)) -> Result<Duration> {
    let mut form = no_op();
    form["delay_s"] = 3600.into();
    let began = Instant::now();
    by_clients(daemon, &form, many)?;
    Ok(began.elapsed())
}

/// From the first request to the last end, to the last engine's start, and the ticks of the daemon meanwhile.
fn to_the_end(daemon: &Daemon, form: &Value, many: (usize, usize)) -> Result<(Duration, Duration, u64)> {
    let mut asks = daemon.connect()?;
    let (began, at, from) = (Instant::now(), now_ms()?, ticks(daemon.pid())?);
    let ids = by_clients(daemon, form, many)?;
    let (mut finished, mut started) = (at, at);
    for id in &ids {
        let end = ended(&mut asks, id)?;
        finished = finished.max(time_of(&end, "finished")?);
        started = started.max(end["started"].as_u64().unwrap_or(at));
    }
    let took = began.elapsed().min(Duration::from_millis(finished - at + 1));
    Ok((took, Duration::from_millis(started - at), ticks(daemon.pid())? - from))
}
