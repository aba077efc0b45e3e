//! What is counted, for who watches the daemon.
//!
//! Numbers that only grow are counted where the thing happens, in this process; how things stand is asked of the store and the
//! parts when somebody looks.

mod health;
mod look;
mod registry;

pub use health::{Check, HealthView};

pub(crate) use registry::Registry;

use model::{AuditEntry, AuditKind, Event, EventKind};
use registry::{Family, number};
use store::JobRow;

use crate::App;

const JOBS: Family = Family { name: "tower_jobs_total", help: "Jobs accepted.", labels: &["profile"], buckets: &[] };
const JOBS_ENDED: Family =
    Family { name: "lazaret_jobs_ended_total", help: "Jobs that ended.", labels: &["status", "profile"], buckets: &[] };
const JOB_SECONDS: Family = Family {
    name: "tower_job_duration_seconds",
    help: "From the start of a job's engine to its end.",
    labels: &[],
    buckets: &[5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0],
};
const JOB_WAIT: Family = Family {
    name: "lazaret_job_wait_seconds",
    help: "From the acceptance of a job to the start of its engine.",
    labels: &[],
    buckets: &[0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 300.0],
};
const TURNS: Family = Family { name: "lazaret_turns_total", help: "Turns that ended.", labels: &["status"], buckets: &[] };
const TURN_SECONDS: Family = Family {
    name: "lazaret_turn_duration_seconds",
    help: "How long turns took.",
    labels: &[],
    buckets: &[0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0],
};
const MODEL_CALLS: Family = Family {
    name: "lazaret_model_calls_total",
    help: "Calls of models through the gateway.",
    labels: &["provider", "outcome"],
    buckets: &[],
};
const TOKENS: Family = Family { name: "lazaret_model_tokens_total", help: "Tokens of model calls.", labels: &["direction"], buckets: &[] };
const COST: Family =
    Family { name: "lazaret_model_cost_usd_total", help: "What model calls cost, in US dollars.", labels: &[], buckets: &[] };
const TOOL_CALLS: Family =
    Family { name: "lazaret_tool_calls_total", help: "Calls of tools through the broker.", labels: &["tool", "outcome"], buckets: &[] };
const EGRESS: Family =
    Family { name: "lazaret_egress_total", help: "Connections and requests through the egress proxy.", labels: &["outcome"], buckets: &[] };
const CONFIRMATIONS: Family =
    Family { name: "lazaret_confirmations_total", help: "Confirmations asked for and answered.", labels: &["outcome"], buckets: &[] };
const WEBHOOK_TRIES: Family =
    Family { name: "lazaret_webhook_tries_total", help: "Tries of webhooks.", labels: &["outcome"], buckets: &[] };
const TASK_RUNS: Family = Family { name: "lazaret_task_runs_total", help: "Runs of tasks that began.", labels: &[], buckets: &[] };

/// How the topic of a tool's call begins.
const TOOL: &str = "tool.invoke.";

impl Registry {
    /// Counts what the audit hears of. What a sandbox names is a label only where it names something that there is.
    pub(crate) fn decided(&self, entry: &AuditEntry) {
        let outcome = entry.outcome.as_str();
        match entry.kind {
            AuditKind::Tool => {
                let is_there = entry.code != Some(model::Code::UnknownTool) && entry.stage.is_none_or(|stage| stage > 2);
                let tool = entry.topic.strip_prefix(TOOL).filter(|_| is_there).unwrap_or("unknown");
                self.add(&TOOL_CALLS, &[tool, outcome], 1.0);
            }
            AuditKind::Model => {
                let provider = entry.topic.split('/').next().unwrap_or_default();
                self.add(&MODEL_CALLS, &[provider, outcome], 1.0);
                let detail = |name: &str| entry.detail.get(name).and_then(serde_json::Value::as_f64).unwrap_or(0.0);
                self.add(&TOKENS, &["input"], detail("input_tokens"));
                self.add(&TOKENS, &["output"], detail("output_tokens"));
                self.add(&COST, &[], detail("cost_usd"));
            }
            AuditKind::Egress => self.add(&EGRESS, &[outcome], 1.0),
            AuditKind::Confirmation => self.add(&CONFIRMATIONS, &[outcome], 1.0),
            AuditKind::Admin => {}
        }
    }

    /// A try of a webhook is over: `sent`, `again` or `dead`.
    pub(crate) fn webhook_tried(&self, outcome: &str) {
        self.add(&WEBHOOK_TRIES, &[outcome], 1.0);
    }

    /// The run of a task began.
    pub(crate) fn task_began(&self) {
        self.add(&TASK_RUNS, &[], 1.0);
    }
}

impl App {
    /// A job was accepted.
    pub(crate) fn job_accepted(&self, job: &JobRow) {
        self.traces().accepted(&job.id);
        self.metrics().add(&JOBS, &[&job.profile], 1.0);
    }

    /// A job has changed.
    pub(crate) fn job_seen(&self, job: &JobRow) {
        self.traces().job_seen(job);
        let Some(finished) = job.finished else { return };
        self.wake_tasks();
        let metrics = self.metrics();
        metrics.add(&JOBS_ENDED, &[job.state.as_str(), &job.profile], 1.0);
        if let Some(started) = job.started {
            metrics.observe(&JOB_SECONDS, &[], number(finished.0.saturating_sub(started.0)) / 1000.0);
            metrics.observe(&JOB_WAIT, &[], number(started.0.saturating_sub(job.created.0)) / 1000.0);
        }
    }

    /// A turn is over, and this is what was logged with its end.
    pub(crate) fn turn_seen(&self, events: &[Event]) {
        self.wake_tasks();
        let ended = events.iter().find_map(|e| if let EventKind::Result(r) = &e.kind { Some((&e.turn, r)) } else { None });
        let Some((turn, result)) = ended else { return };
        self.trace_turn(turn);
        self.metrics().add(&TURNS, &[result.status.as_str()], 1.0);
        self.metrics().observe(&TURN_SECONDS, &[], number(result.duration_ms) / 1000.0);
    }

    pub(crate) fn metrics(&self) -> &Registry {
        self.audit_book().counts()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: AuditKind, topic: &str, outcome: &str) -> AuditEntry {
        AuditEntry {
            time: model::Timestamp(0),
            kind,
            session: None,
            turn: None,
            actor: "agent".to_owned(),
            topic: topic.to_owned(),
            correlation: None,
            stage: None,
            outcome: outcome.to_owned(),
            code: None,
            detail: serde_json::Value::Null,
        }
    }

    #[test]
    fn what_a_sandbox_makes_up_is_no_label() {
        let registry = Registry::default();
        registry.decided(&entry(AuditKind::Tool, "tool.invoke.web_search", "routed"));
        let mut made_up = entry(AuditKind::Tool, "tool.invoke.x9128", "rejected");
        made_up.code = Some(model::Code::UnknownTool);
        registry.decided(&made_up);
        registry.decided(&AuditEntry { stage: Some(1), ..entry(AuditKind::Tool, "anything at all", "rejected") });
        registry.decided(&entry(AuditKind::Egress, "secret-data.evil.example:443", "denied"));
        let mut call = entry(AuditKind::Model, "anthropic/some-model", "routed");
        call.detail = serde_json::json!({ "input_tokens": 10, "output_tokens": 5, "cost_usd": 0.25 });
        registry.decided(&call);
        let mut text = String::new();
        registry.write(&mut text);
        for line in [
            "lazaret_tool_calls_total{tool=\"web_search\",outcome=\"routed\"} 1",
            "lazaret_tool_calls_total{tool=\"unknown\",outcome=\"rejected\"} 2",
            "lazaret_egress_total{outcome=\"denied\"} 1",
            "lazaret_model_calls_total{provider=\"anthropic\",outcome=\"routed\"} 1",
            "lazaret_model_tokens_total{direction=\"input\"} 10",
            "lazaret_model_cost_usd_total 0.25",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
        assert!(!text.contains("x9128") && !text.contains("evil"), "{text}");
    }
}
