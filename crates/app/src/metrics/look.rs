//! How things stand when somebody looks.

use std::time::{SystemTime, UNIX_EPOCH};

use model::Failure;
use store::{ApprovalFilter, COMMIT_BUCKETS_US};

use super::registry::{head, histogram, line, number};
use crate::App;

/// Bytes of a page of this machine's memory, as /proc counts them.
const PAGE_BYTES: u64 = 4096;
/// Every state that a job can have.
const JOB_STATES: [&str; 6] = ["queued", "running", "waiting", "completed", "failed", "cancelled"];
/// Every state that a webhook can have.
const WEBHOOK_STATES: [&str; 3] = ["pending", "sent", "dead"];
/// Every state that a task can have.
const TASK_STATES: [&str; 4] = ["active", "paused", "broken", "over"];

impl App {
    /// Everything that is counted and how things stand, in the text form of Prometheus.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn metrics_text(&self) -> Result<String, Failure> {
        let mut text = String::new();
        self.metrics().write(&mut text);
        self.jobs_now(&mut text).await?;
        let states = self.store().count_webhooks().await.map_err(|e| e.failure())?;
        gauge_by(&mut text, "lazaret_webhooks", "Webhooks by how they stand.", "status", &WEBHOOK_STATES, &states);
        let states = self.store().count_tasks().await.map_err(|e| e.failure())?;
        gauge_by(&mut text, "lazaret_tasks", "Tasks by how they stand.", "status", &TASK_STATES, &states);
        let filter = ApprovalFilter { status: Some("pending".to_owned()), ..ApprovalFilter::default() };
        let pending = self.store().approvals(&filter, None, store::LIST_MAX).await.map_err(|e| e.failure())?;
        gauge(&mut text, "lazaret_approvals_pending", "Calls that wait for a person, up to 1000.", number(pending.items.len() as u64));
        self.parts_now(&mut text);
        self.store_now(&mut text);
        let (sent, dropped) = self.traces().counts();
        for (name, help, n) in [
            ("lazaret_spans_sent_total", "Spans that the collector took.", sent),
            ("lazaret_spans_dropped_total", "Spans that were dropped: the collector did not take them, or they were too many.", dropped),
        ] {
            head(&mut text, name, help, "counter");
            line(&mut text, name, &[], number(n));
        }
        process_now(&mut text);
        Ok(text)
    }

    async fn jobs_now(&self, text: &mut String) -> Result<(), Failure> {
        let counts = self.store().count_jobs(None).await.map_err(|e| e.failure())?;
        let states: Vec<(String, u64)> = counts.iter().map(|(state, n)| ((*state).to_owned(), *n)).collect();
        gauge_by(text, "tower_jobs_by_status", "Jobs that are kept, by how they stand.", "status", &JOB_STATES, &states);
        let of = |names: &[&str]| number(states.iter().filter(|(state, _)| names.contains(&state.as_str())).map(|(_, n)| n).sum());
        gauge(text, "tower_jobs_active", "Jobs that somebody works on.", of(&["running", "waiting"]));
        gauge(text, "lazaret_queue_depth", "Jobs that wait to begin.", of(&["queued"]));
        Ok(())
    }

    fn parts_now(&self, text: &mut String) {
        let sandboxes = self.sandboxes();
        gauge(text, "lazaret_sandboxes", "Sandboxes that run.", number(sandboxes.list().len() as u64));
        gauge(text, "lazaret_sandboxes_max", "Sandboxes that may run.", number(sandboxes.sandboxes_max() as u64));
        let pool = self.pool_view(&crate::Caller::OWNER);
        gauge(text, "tower_pool_ready", "Sandboxes that are ready for a job.", number(pool.ready as u64));
        gauge(text, "lazaret_pool_ready", "Sandboxes that are ready for a job.", number(pool.ready as u64));
        gauge(text, "lazaret_pool_booting", "Sandboxes that are being made ahead.", number(pool.booting as u64));
        for (name, help, n) in [
            ("lazaret_pool_claimed_total", "Jobs that got a sandbox which was ready.", pool.claimed),
            ("lazaret_pool_missed_total", "Jobs that waited for a new sandbox although some are kept ready.", pool.missed),
        ] {
            head(text, name, help, "counter");
            line(text, name, &[], number(n));
        }
        gauge(text, "lazaret_sessions_live", "Sessions at work or a moment after it.", number(self.live_sessions().len() as u64));
    }

    fn store_now(&self, text: &mut String) {
        let health = self.store().health();
        let name = "lazaret_store_commit_seconds";
        head(text, name, "How long commits of the store took.", "histogram");
        let seconds = |us: u64| number(us) / 1_000_000.0;
        let ranges: Vec<(f64, u64)> = COMMIT_BUCKETS_US.iter().map(|us| seconds(*us)).zip(health.buckets).collect();
        histogram(text, name, &[], &ranges, health.commits, seconds(health.sum_us));
        head(text, "lazaret_store_writes_total", "Writes that commits carried.", "counter");
        line(text, "lazaret_store_writes_total", &[], number(health.writes));
        gauge(text, "lazaret_store_writes_waiting", "Writes that wait for their commit.", number(health.waiting as u64));
        gauge(text, "lazaret_store_stopped", "Whether the store takes no more writes.", f64::from(u8::from(health.is_stopped)));
    }
}

fn gauge(text: &mut String, name: &str, help: &str, value: f64) {
    head(text, name, help, "gauge");
    line(text, name, &[], value);
}

/// Every state has a line, also when there is nothing in it.
fn gauge_by(text: &mut String, name: &str, help: &str, label: &str, all: &[&str], states: &[(String, u64)]) {
    head(text, name, help, "gauge");
    for state in all {
        let n = states.iter().filter(|(name, _)| name == state).map(|(_, n)| n).sum();
        line(text, name, &[(label, state)], number(n));
    }
}

/// This process, as the kernel sees it; what cannot be read is left out.
fn process_now(text: &mut String) {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let mut pages = statm.split_whitespace().filter_map(|n| n.parse::<u64>().ok());
    if let (Some(all), Some(resident)) = (pages.next(), pages.next()) {
        gauge(text, "process_virtual_memory_bytes", "Memory that the daemon has mapped.", number(all * PAGE_BYTES));
        gauge(text, "process_resident_memory_bytes", "Memory that the daemon has in use.", number(resident * PAGE_BYTES));
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        gauge(text, "process_open_fds", "Descriptors that the daemon has open.", number(open.count() as u64));
    }
    if let Ok(made) = std::fs::metadata("/proc/self").and_then(|meta| meta.modified())
        && let Ok(since) = made.duration_since(UNIX_EPOCH)
        && made <= SystemTime::now()
    {
        gauge(text, "process_start_time_seconds", "When the daemon began, in seconds since 1970.", since.as_secs_f64());
    }
}
