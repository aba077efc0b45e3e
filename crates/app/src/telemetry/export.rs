//! Sends spans to a collector: OTLP over HTTP, as JSON.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use gateway::egress::{Address, Reach};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use serde_json::json;
use tokio::sync::mpsc;

use super::Span;
use crate::App;

/// Spans in one request.
const BATCH_MAX: usize = 512;
/// How long spans wait for others.
const GATHER: Duration = Duration::from_secs(1);
/// How long a request may take.
const LIMIT: Duration = Duration::from_secs(10);
/// How often a request is sent that was not taken; then its spans are dropped.
const TRIES_MAX: u32 = 3;
/// How long is waited before the second time.
const AGAIN: Duration = Duration::from_millis(500);

impl App {
    /// Sends what comes, until the daemon ends; then what is left, once.
    pub(super) async fn export(&self, mut come: mpsc::Receiver<Span>) {
        let cancel = self.cancel().clone();
        let mut batch = Vec::new();
        loop {
            let is_over = tokio::select! {
                biased;
                n = come.recv_many(&mut batch, BATCH_MAX) => n == 0,
                () = cancel.cancelled() => true,
            };
            if is_over {
                while batch.len() < BATCH_MAX
                    && let Ok(span) = come.try_recv()
                {
                    batch.push(span);
                }
                self.send_spans(&mut batch, 1).await;
                return;
            }
            if batch.len() < BATCH_MAX {
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
            }
            let tries = if cancel.is_cancelled() { 1 } else { TRIES_MAX };
            self.send_spans(&mut batch, tries).await;
        }
    }

    async fn send_spans(&self, batch: &mut Vec<Span>, tries: u32) {
        let spans = std::mem::take(batch);
        if spans.is_empty() {
            return;
        }
        let n = spans.len() as u64;
        let sent = self.try_spans(&spans, tries).await;
        let count = if sent { &self.traces().sent } else { &self.traces().dropped };
        count.fetch_add(n, Ordering::Relaxed);
    }

    async fn try_spans(&self, spans: &[Span], tries: u32) -> bool {
        let settings = self.settings();
        let Some(endpoint) = &settings.telemetry.endpoint else { return false };
        let Ok(to) = Address::parse(&format!("{}/v1/traces", endpoint.trim_end_matches('/'))) else { return false };
        let body = Bytes::from(body(spans));
        let courier = self.desk().courier(settings.egress.extra_roots.clone());
        for n in 0..tries {
            let mut fields = HeaderMap::new();
            fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            match courier.post(&to, &Reach::Anywhere, fields, body.clone(), LIMIT).await {
                Ok(answer) if answer.status.is_success() => return true,
                Ok(answer) => tracing::debug!(status = answer.status.as_u16(), "the collector took no spans"),
                Err(error) => tracing::debug!(%error, "the collector was not reached"),
            }
            if n + 1 < tries {
                tokio::time::sleep(AGAIN * (n + 1)).await;
            }
        }
        false
    }
}

fn body(spans: &[Span]) -> String {
    let spans: Vec<_> = spans.iter().map(Span::json).collect();
    let resource = json!({ "attributes": [
        { "key": "service.name", "value": { "stringValue": "lazaret" } },
        { "key": "service.version", "value": { "stringValue": env!("CARGO_PKG_VERSION") } },
    ] });
    let scope = json!({ "name": "lazaret", "version": env!("CARGO_PKG_VERSION") });
    json!({ "resourceSpans": [{ "resource": resource, "scopeSpans": [{ "scope": scope, "spans": spans }] }] }).to_string()
}
