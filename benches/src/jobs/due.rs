//! Many tasks that are due in the same second.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::whole::{Line, dry, now_ms};
use crate::daemon::{Connection, Daemon};

/// How many.
const TASKS: usize = 1_000;
/// Tasks that are made first, and never due meanwhile, to see how long making one takes.
const PROBES: usize = 20;
/// Seconds until they are due, besides twice what making all of them takes.
const AHEAD_S: u64 = 5;
/// How long all of them may take from then on.
const WAIT: Duration = Duration::from_secs(60);
/// Whose jobs they make.
const AGENT: &str = "due";

pub(super) fn run(daemon: &Daemon) -> Result<Line> {
    let mut asks = daemon.connect()?;
    let mut job = dry();
    job["agent_id"] = AGENT.into();
    let mut make = |name: String, cron: &str| {
        let form = json!({ "name": name, "cron": cron, "zone": "UTC", "action": { "job": job } });
        asks.ask("POST", "/v1/tasks", &form).context("make a task").map(drop)
    };
    let began = Instant::now();
    // On a day that comes in leap years only.
    (0..PROBES).try_for_each(|n| make(format!("probe {n}"), "0 0 29 2 *"))?;
    let ahead = AHEAD_S + 2 * (began.elapsed() * u32::try_from(TASKS / PROBES)?).as_secs();
    let due = now_ms()? / 1000 + ahead;
    let cron = format!("{} {} {} * * *", due % 60, due / 60 % 60, due / 3600 % 24);
    (0..TASKS).try_for_each(|n| make(format!("task {n}"), &cron))?;
    if now_ms()? / 1000 >= due {
        bail!("the tasks were not made before they were due");
    }
    let until_due = Duration::from_secs(due).saturating_sub(Duration::from_millis(now_ms()?));
    let began = Instant::now();
    let jobs = loop {
        std::thread::sleep(Duration::from_millis(500));
        let jobs = all(&mut asks, &format!("&agent_id={AGENT}"))?;
        if jobs.len() >= TASKS && jobs.iter().all(|job| job["status"] == "completed") {
            break jobs;
        }
        if began.elapsed() > until_due + WAIT {
            bail!("{} of {TASKS} tasks made a job", jobs.len());
        }
    };
    let latest = |name: &str| jobs.iter().filter_map(|job| job[name].as_u64()).max().unwrap_or(0).saturating_sub(due * 1000);
    Ok((
        format!("{TASKS} tasks due in one second, each a dry run: the last job accepted, the last ended"),
        format!("{} / {} ms after it", latest("created"), latest("finished")),
    ))
}

/// All jobs that fit a filter.
pub(super) fn all(asks: &mut Connection, filter: &str) -> Result<Vec<Value>> {
    let (mut jobs, mut after) = (Vec::new(), String::new());
    loop {
        let page = asks.ask("GET", &format!("/v1/jobs?limit=200{filter}{after}"), &Value::Null)?;
        jobs.extend(page["items"].as_array().into_iter().flatten().cloned());
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return Ok(jobs),
        }
    }
}
