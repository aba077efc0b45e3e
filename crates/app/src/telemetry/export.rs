//! Sends spans and lines of the log to a collector: OTLP over HTTP, as JSON.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use gateway::egress::{Address, Reach};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{LogLine, LogReceiver, Span};
use crate::App;

/// Spans or lines in one request.
const BATCH_MAX: usize = 512;
/// How long they wait for others.
const GATHER: Duration = Duration::from_secs(1);
/// How long a request may take.
const LIMIT: Duration = Duration::from_secs(10);
/// How often a request is sent that was not taken; then what it held is dropped.
const TRIES_MAX: u32 = 3;
/// How long is waited before the second time.
const AGAIN: Duration = Duration::from_millis(500);

/// The next ones to be sent together, and whether they are the last.
async fn batch<T>(come: &mut mpsc::Receiver<T>, cancel: &CancellationToken) -> (Vec<T>, bool) {
    let mut batch = Vec::new();
    let is_over = tokio::select! {
        biased;
        n = come.recv_many(&mut batch, BATCH_MAX) => n == 0,
        () = cancel.cancelled() => true,
    };
    if is_over {
        while batch.len() < BATCH_MAX
            && let Ok(one) = come.try_recv()
        {
            batch.push(one);
        }
        return (batch, true);
    }
    let gather = async {
        while batch.len() < BATCH_MAX {
            let room = BATCH_MAX - batch.len();
            if come.recv_many(&mut batch, room).await == 0 {
                return;
            }
        }
    };
    tokio::select! {
        () = cancel.cancelled() => {}
        ended = tokio::time::timeout(GATHER, gather) => drop(ended),
    }
    (batch, false)
}

impl App {
    /// Sends what comes, until the daemon ends; then what is left, once.
    pub(super) async fn export(&self, mut come: mpsc::Receiver<Span>) {
        let cancel = self.cancel().clone();
        loop {
            let (spans, is_over) = batch(&mut come, &cancel).await;
            if !spans.is_empty() {
                let list: Vec<Value> = spans.iter().map(Span::json).collect();
                let body = told("resourceSpans", "scopeSpans", "spans", list);
                let sent = self.post("/v1/traces", body, self.tries(is_over)).await;
                let count = if sent { &self.traces().sent } else { &self.traces().dropped };
                count.fetch_add(spans.len() as u64, Ordering::Relaxed);
            }
            if is_over {
                return;
            }
        }
    }

    /// The same for lines of the log.
    pub(super) async fn export_logs(&self, mut come: LogReceiver) {
        let cancel = self.cancel().clone();
        loop {
            let (lines, is_over) = batch(&mut come.0, &cancel).await;
            if !lines.is_empty() {
                let list: Vec<Value> = lines.iter().map(|line: &LogLine| line.json(self.traces().of_line(line).as_ref())).collect();
                let body = told("resourceLogs", "scopeLogs", "logRecords", list);
                // Lines that are not taken are in the file all the same.
                let _ = self.post("/v1/logs", body, self.tries(is_over)).await;
            }
            if is_over {
                return;
            }
        }
    }

    /// How often something is sent: a daemon that ends waits for nobody.
    fn tries(&self, is_over: bool) -> u32 {
        if is_over || self.cancel().is_cancelled() { 1 } else { TRIES_MAX }
    }

    async fn post(&self, path: &str, body: Bytes, tries: u32) -> bool {
        let settings = self.settings();
        let Some(endpoint) = &settings.telemetry.endpoint else { return false };
        let Ok(to) = Address::parse(&format!("{}{path}", endpoint.trim_end_matches('/'))) else { return false };
        let courier = self.desk().courier(settings.egress.extra_roots.clone());
        for n in 0..tries {
            let mut fields = HeaderMap::new();
            fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            match courier.post(&to, &Reach::Anywhere, fields, body.clone(), LIMIT).await {
                Ok(answer) if answer.status.is_success() => return true,
                Ok(answer) => tracing::debug!(status = answer.status.as_u16(), path, "the collector took nothing"),
                Err(error) => tracing::debug!(%error, "the collector was not reached"),
            }
            if n + 1 < tries {
                tokio::time::sleep(AGAIN * (n + 1)).await;
            }
        }
        false
    }
}

/// What a collector is told, in the names that it has for it.
fn told(resources: &str, scopes: &str, of: &str, list: Vec<Value>) -> Bytes {
    let resource = json!({ "attributes": [
        { "key": "service.name", "value": { "stringValue": "lazaret" } },
        { "key": "service.version", "value": { "stringValue": env!("CARGO_PKG_VERSION") } },
    ] });
    let scope = json!({ "name": "lazaret", "version": env!("CARGO_PKG_VERSION") });
    Bytes::from(json!({ resources: [{ "resource": resource, scopes: [{ "scope": scope, of: list }] }] }).to_string())
}
