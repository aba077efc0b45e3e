//! The daemon's log: lines in a file of the home, for people or as JSON, and on their way to a collector.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::sync::{Mutex, PoisonError};

use app::{LogLine, LogReceiver, LogSender};
use model::{Code, Failure};
use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config_watch::LogFormat;
use crate::home::Home;

/// A log larger than this is put aside at the next start; one older log is kept.
const LOG_BYTES_MAX: u64 = 16 << 20;
/// The longest text of one field, in bytes.
const FIELD_BYTES_MAX: usize = 16 << 10;

/// Begins to log into the home's file; `up` in the foreground has its terminal for the one line that it prints. What comes back is for
/// [`app::App::send_logs`].
pub(crate) fn begin(home: &Home, filter: Option<&str>, format: LogFormat) -> Result<(LogSender, LogReceiver), Failure> {
    let file = open(home)?;
    let filter = tracing_subscriber::EnvFilter::try_new(filter.unwrap_or("info"))
        .map_err(|e| Failure::new(Code::Usage, format!("LAZARET_LOG: {e}")))?;
    let (sender, come) = app::log_queue();
    let (text, lines) = match format {
        LogFormat::Text => (Some(tracing_subscriber::fmt::layer().with_writer(Mutex::new(file)).with_ansi(false)), None),
        LogFormat::Json => (None, Some(Mutex::new(file))),
    };
    let registry = tracing_subscriber::registry().with(filter).with(text).with(Lines { file: lines, sender: sender.clone() });
    registry.try_init().map_err(|e| Failure::new(Code::Internal, format!("logging cannot start: {e}")))?;
    Ok((sender, come))
}

fn open(home: &Home) -> Result<File, Failure> {
    use std::os::unix::fs::OpenOptionsExt;
    let path = home.path().join("logs").join("daemon.log");
    let fail = |e: std::io::Error| Failure::new(Code::HomeUnsafe, format!("the log {} cannot be written: {e}", path.display()));
    if std::fs::metadata(&path).is_ok_and(|m| m.len() > LOG_BYTES_MAX) {
        std::fs::rename(&path, path.with_extension("log.old")).map_err(fail)?;
    }
    std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(&path).map_err(fail)
}

/// Makes one line of each event, with the fields of the spans that it happened in.
struct Lines {
    /// Where lines of JSON go, where they do. Held for one write.
    file: Option<Mutex<File>>,
    sender: LogSender,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, record: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            record.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let about = event.metadata();
        let is_wanted = self.sender.wants(about.target());
        if self.file.is_none() && !is_wanted {
            return;
        }
        let mut fields = Fields::default();
        for span in context.event_scope(event).into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(of) = span.extensions().get::<Fields>() {
                fields.all.extend(of.all.clone());
            }
        }
        event.record(&mut fields);
        let line = LogLine {
            time: app::now(),
            level: about.level().as_str(),
            target: about.target().to_owned(),
            message: fields.message,
            fields: fields.all,
        };
        if let Some(file) = &self.file {
            let text = json_line(&line);
            // A log that cannot be written is no reason to stop working.
            let _ = file.lock().unwrap_or_else(PoisonError::into_inner).write_all(text.as_bytes());
        }
        if is_wanted {
            self.sender.send(line);
        }
    }
}

/// A line as an object; what a field is called never hides what every line has.
fn json_line(line: &LogLine) -> String {
    let mut all = line.fields.clone();
    let own = [
        ("time", json!(in_words(line.time.0))),
        ("level", json!(line.level)),
        ("target", json!(line.target)),
        ("message", json!(line.message)),
    ];
    for (name, value) in own {
        if let Some(hidden) = all.insert(name.to_owned(), value) {
            all.insert(format!("field_{name}"), hidden);
        }
    }
    let mut text = Value::Object(all).to_string();
    text.push('\n');
    text
}

/// A moment as RFC 3339 has it, in UTC.
fn in_words(ms: u64) -> String {
    let (days, left) = (ms / 86_400_000, ms % 86_400_000);
    // Years that begin in March have their odd day at the end; from 0000-03-01 on, in eras of 400 years.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let date = day - (153 * month + 2) / 5 + 1;
    let (year, month) = (era * 400 + year + u64::from(month >= 10), if month < 10 { month + 3 } else { month - 9 });
    let (hour, minute, second) = (left / 3_600_000, left / 60_000 % 60, left / 1000 % 60);
    format!("{year:04}-{month:02}-{date:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", left % 1000)
}

/// The fields of a span or an event.
#[derive(Debug, Default)]
struct Fields {
    message: String,
    all: Map<String, Value>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        self.all.insert(field.name().to_owned(), value);
    }

    fn put_text(&mut self, field: &Field, text: &str) {
        let text = &text[..text.floor_char_boundary(FIELD_BYTES_MAX)];
        if field.name() == "message" {
            text.clone_into(&mut self.message);
        } else {
            self.put(field, text.into());
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let mut text = String::new();
        let _ = write!(text, "{value:?}");
        self.put_text(field, &text);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put_text(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_has_a_date() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (1_767_225_600_001, "2026-01-01T00:00:00.001Z"),
        ] {
            assert_eq!(in_words(ms), text);
        }
    }

    #[test]
    fn a_line_is_one_object_with_the_identities_of_what_it_happened_in() {
        let file = tempfile::tempfile().expect("a file");
        let (sender, _come) = app::log_queue();
        let lines = Lines { file: Some(Mutex::new(file.try_clone().expect("a second one"))), sender };
        let subscriber = tracing_subscriber::registry().with(lines);
        tracing::subscriber::with_default(subscriber, || {
            let span = tracing::info_span!("turn", session = "ses_1", turn = "trn_1", job = tracing::field::Empty);
            span.record("job", "a-1");
            let _inside = span.enter();
            let _request = tracing::info_span!("request", request = "req_1").entered();
            tracing::warn!(n = 3, level = "hidden", error = %"two\nlines \u{1b}[31m", "it failed");
        });
        let mut text = String::new();
        std::io::Seek::rewind(&mut &file).expect("rewind");
        std::io::Read::read_to_string(&mut &file, &mut text).expect("read");
        assert_eq!(text.lines().count(), 1, "{text}");
        let line: Value = serde_json::from_str(&text).expect("JSON");
        for (name, value) in [
            ("session", json!("ses_1")),
            ("turn", json!("trn_1")),
            ("job", json!("a-1")),
            ("request", json!("req_1")),
            ("level", json!("WARN")),
            ("field_level", json!("hidden")),
            ("message", json!("it failed")),
            ("n", json!(3)),
            ("error", json!("two\nlines \u{1b}[31m")),
        ] {
            assert_eq!(line[name], value, "{name} in {text}");
        }
        assert!(line["time"].is_string() && line["target"].is_string(), "{text}");
    }
}
