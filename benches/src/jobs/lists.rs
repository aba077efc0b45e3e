//! Lists of a million jobs, by every filter, first page and one in the middle.

use std::time::Instant;

use anyhow::{Context, Result};
use futures_util::{StreamExt, TryStreamExt, stream};
use model::{JobState, Timestamp};
use store::{Config, JobFilter, Store};

use super::queue::{job, private};
use crate::sample::{Times, ms};

/// Jobs that are listed; fewer when the name of the bench is followed by a number.
const ROWS: u64 = 1_000_000;
/// Jobs that are on their way to the store at once.
const AT_ONCE: usize = 2048;
/// Pages that are read of each kind.
const PAGES: usize = 50;
/// Rows of a page.
const PAGE: usize = 50;

pub(super) async fn run() -> Result<String> {
    let rows = std::env::args().nth(2).and_then(|n| n.parse().ok()).unwrap_or(ROWS);
    let home = private()?;
    let store = Store::open(&home.path().join("lazaret.db"), &Config::default())?;
    let all = (0..rows).map(|n| store.accept_job(job(n)));
    stream::iter(all).buffer_unordered(AT_ONCE).try_for_each(|_| async { Ok(()) }).await.context("fill")?;
    let mut text =
        format!("\n| a page of {PAGE} of {rows} jobs, by | first page, p50 / p99 | one in the middle, p50 / p99 |\n|---|---|---|\n");
    let newest = store.list_jobs(&JobFilter::default(), None, 1).await?.items.first().map_or(0, |job| job.n);
    let oldest = newest.saturating_sub(rows * 4096);
    let middle = oldest + (newest - oldest) / 2;
    let mut worst = 0.0f64;
    for (name, filter) in filters() {
        let mut cells = Vec::new();
        for after in [None, Some(middle)] {
            let mut samples = Vec::with_capacity(PAGES);
            for _ in 0..PAGES {
                let began = Instant::now();
                store.list_jobs(&filter, after, PAGE).await?;
                samples.push(began.elapsed());
            }
            let times = Times::of(samples);
            worst = worst.max(times.p99().as_secs_f64() * 1000.0);
            cells.push(format!("{} / {} ms", ms(times.median()), ms(times.p99())));
        }
        text.push_str(&format!("| {name} | {} |\n", cells.join(" | ")));
    }
    store.close().await?;
    text.push_str(&format!("\nThe slowest page took {worst:.2} ms.\n"));
    Ok(text)
}

/// Every filter alone, with a tenant, and those that fit together badly.
fn filters() -> Vec<(String, JobFilter)> {
    let none = JobFilter::default;
    let single = [
        ("nothing", none()),
        ("state, all of them", JobFilter { state: Some(JobState::Queued), ..none() }),
        ("state, none of them", JobFilter { state: Some(JobState::Failed), ..none() }),
        ("agent", JobFilter { agent_id: Some("agent-7".into()), ..none() }),
        ("an agent that there is not", JobFilter { agent_id: Some("agent-x".into()), ..none() }),
        ("profile", JobFilter { profile: Some("profile-3".into()), ..none() }),
        ("engine", JobFilter { engine: Some("mini".into()), ..none() }),
        ("label", JobFilter { label: Some(("part".into(), "7".into())), ..none() }),
        ("time", JobFilter { from: Some(Timestamp(1_700_000_000_000)), to: Some(Timestamp(1_700_000_100_000)), ..none() }),
        ("agent and state, none of them", JobFilter { agent_id: Some("agent-7".into()), state: Some(JobState::Failed), ..none() }),
        ("agent and profile", JobFilter { agent_id: Some("agent-7".into()), profile: Some("profile-3".into()), ..none() }),
        (
            "all of them, which hardly meet",
            JobFilter {
                agent_id: Some("agent-7".into()),
                profile: Some("profile-3".into()),
                engine: Some("mini".into()),
                state: Some(JobState::Queued),
                label: Some(("part".into(), "7".into())),
                ..none()
            },
        ),
        ("two that never meet", JobFilter { engine: Some("mini".into()), label: Some(("third".into(), "1".into())), ..none() }),
        ("label and engine", JobFilter { label: Some(("part".into(), "7".into())), engine: Some("mini".into()), ..none() }),
    ];
    let mut all = Vec::new();
    for (name, filter) in single {
        let of_tenant = JobFilter { tenant: Some("tenant-3".to_owned()), ..filter.clone() };
        all.push((name.to_owned(), filter));
        all.push((format!("{name}, of one tenant"), of_tenant));
    }
    all
}
