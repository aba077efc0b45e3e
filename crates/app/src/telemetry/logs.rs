//! Lines of the log on their way to a collector.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use model::Timestamp;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use super::TraceParent;
use super::span::{any, hex};

/// Lines that wait to be sent; further ones are in the file only.
const QUEUE_MAX: usize = 2048;
/// What tells of the sending itself: sending that too would never end.
const OWN_TARGET: &str = "lazaret_app::telemetry";

/// One line of the log.
#[derive(Debug, Clone)]
pub struct LogLine {
    /// When.
    pub time: Timestamp,
    /// `ERROR`, `WARN`, `INFO`, `DEBUG` or `TRACE`.
    pub level: &'static str,
    /// The part of the program that says it.
    pub target: String,
    /// What it says.
    pub message: String,
    /// Its fields, and of what it happened in: `request`, `job`, `session`, `turn`.
    pub fields: Map<String, Value>,
}

impl LogLine {
    /// The form that collectors read. `part_of` is the span that it happened in.
    pub(super) fn json(&self, part_of: Option<&TraceParent>) -> Value {
        let severity = match self.level {
            "ERROR" => 17,
            "WARN" => 13,
            "INFO" => 9,
            "DEBUG" => 5,
            _ => 1,
        };
        let nanos = (u128::from(self.time.0) * 1_000_000).to_string();
        let target = [("target".to_owned(), Value::from(self.target.as_str()))];
        let fields = self.fields.iter().map(|(key, value)| (key.clone(), value.clone())).chain(target);
        let mut line = json!({
            "timeUnixNano": nanos,
            "observedTimeUnixNano": nanos,
            "severityNumber": severity,
            "severityText": self.level,
            "body": { "stringValue": self.message },
            "attributes": fields.map(|(key, value)| json!({ "key": key, "value": any(&value) })).collect::<Vec<_>>(),
        });
        if let Some(span) = part_of {
            line["traceId"] = hex(&span.trace).into();
            line["spanId"] = span.span.hex().into();
        }
        line
    }
}

/// Where lines are handed over. Never waits.
#[derive(Debug, Clone)]
pub struct LogSender {
    queue: mpsc::Sender<LogLine>,
    is_on: Arc<AtomicBool>,
}

impl LogSender {
    /// Whether anybody wants this part's lines.
    #[must_use]
    pub fn wants(&self, target: &str) -> bool {
        self.is_on.load(Ordering::Relaxed) && !target.starts_with(OWN_TARGET)
    }

    /// Hands over a line; where too many wait, it is dropped.
    pub fn send(&self, line: LogLine) {
        let _ = self.queue.try_send(line);
    }

    pub(super) fn set_on(&self, is_on: bool) {
        self.is_on.store(is_on, Ordering::Relaxed);
    }
}

/// Where lines come out, for [`crate::App::send_logs`].
#[derive(Debug)]
pub struct LogReceiver(pub(super) mpsc::Receiver<LogLine>);

/// A way for lines. Nothing goes in before an application sends them on.
#[must_use]
pub fn log_queue() -> (LogSender, LogReceiver) {
    let (queue, come) = mpsc::channel(QUEUE_MAX);
    (LogSender { queue, is_on: Arc::new(AtomicBool::new(false)) }, LogReceiver(come))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::SpanId;

    #[test]
    fn a_line_is_what_collectors_read() {
        let fields = Map::from_iter([("turn".to_owned(), json!("trn_1")), ("n".to_owned(), json!(3))]);
        let line =
            LogLine { time: Timestamp(1_800_000_000_123), level: "WARN", target: "here".to_owned(), message: "so".to_owned(), fields };
        let context = TraceParent::of(&["turn", "x"], SpanId::of(&["turn", "x"]));
        let json = line.json(Some(&context));
        assert_eq!((&json["timeUnixNano"], &json["severityNumber"]), (&json!("1800000000123000000"), &json!(13)));
        assert_eq!((&json["body"]["stringValue"], json["traceId"].as_str().map(str::len)), (&json!("so"), Some(32)));
        assert!(json["attributes"].as_array().is_some_and(|list| list.contains(&json!({ "key": "n", "value": { "intValue": "3" } }))));
        assert!(line.json(None).get("traceId").is_none());
    }

    #[test]
    fn nobody_is_told_before_somebody_listens_nor_of_the_telling() {
        let (sender, _come) = log_queue();
        assert!(!sender.wants("lazaret_app::runner"));
        sender.set_on(true);
        assert!(sender.wants("lazaret_app::runner") && !sender.wants("lazaret_app::telemetry::export"));
    }
}
