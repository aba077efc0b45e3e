//! The report as one page that stands alone: no script, nothing from elsewhere, and every text of an agent as text.

use std::fmt::Write as _;
use std::io::Read;

use model::{Event, EventKind, Failure};

use super::keep::{Kept, Outcome};
use super::report::{Group, Report};
use crate::{client::internal, out};

/// Bytes of all transcripts on one page, and characters of one.
const TRANSCRIPTS_BYTES_MAX: usize = 8 << 20;
const TRANSCRIPT_CHARS: usize = 60_000;
/// Characters of one event.
const EVENT_CHARS: usize = 4000;
/// Bytes of a transcript that are read.
const READ_BYTES_MAX: u64 = 16 << 20;

const STYLE: &str = "body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:75rem;padding:0 1rem;color:#1c2430;background:#fff}\
table{border-collapse:collapse;width:100%;margin:1rem 0}th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #d8dee6;\
vertical-align:top}th{font-weight:600}pre{white-space:pre-wrap;overflow-wrap:anywhere;background:#f4f6f9;padding:.6rem;margin:.3rem 0}\
.pass{color:#146c34}.fail{color:#a4161a}.error{color:#7a4b00}.bar{display:inline-block;width:9rem;height:.6rem;background:#e6eaf0;\
position:relative;vertical-align:middle}.bar i{position:absolute;top:0;height:100%;background:#9db4d8}.bar b{position:absolute;top:-.15rem;\
width:2px;height:.9rem;background:#1f4e9c}summary{cursor:pointer}@media(prefers-color-scheme:dark){body{color:#dfe5ee;background:#14181f}\
pre{background:#1e242e}th,td{border-color:#333c49}.pass{color:#6fd08f}.fail{color:#ff8f8f}.error{color:#e5b567}.bar{background:#333c49}}";

/// The page.
pub(super) fn page(kept: &Kept, report: &Report, outcomes: &[Outcome]) -> Result<String, Failure> {
    let mut page = String::with_capacity(64 << 10);
    render(&mut page, kept, report, outcomes).map_err(|e| internal(&e.to_string()))?;
    Ok(page)
}

fn render(page: &mut String, kept: &Kept, report: &Report, outcomes: &[Outcome]) -> std::fmt::Result {
    let title = escape(&format!("Eval of {}", report.suite));
    // Whatever slipped through as markup could load nothing and run nothing.
    write!(
        page,
        "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta http-equiv=\"Content-Security-Policy\" \
         content=\"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title><style>{STYLE}</style></head><body><h1>{title}</h1>"
    )?;
    let total = &report.total;
    write!(
        page,
        "<p>Run {}: {} of {} cells over, {} passed of {} that count ({:.1} %, 95 % interval {:.1} to {:.1} %), {} errors, ${:.4}.</p>",
        escape(&report.run),
        report.over,
        report.cells,
        total.passed,
        total.tried(),
        total.rate() * 100.0,
        total.low * 100.0,
        total.high * 100.0,
        total.errors,
        total.cost_usd
    )?;
    for (provider, n) in &report.providers {
        let word = match provider.as_str() {
            "tape" => "a tape, and by no model",
            "rehearsal" => "a script, and by no model",
            name => name,
        };
        write!(page, "<p>{n} cells were answered by {}.</p>", escape(word))?;
    }
    groups(page, "By engine, model and skill", &report.variants)?;
    groups(page, "By scenario", &report.groups)?;
    page.push_str("<h2>Cells</h2>");
    let mut left = TRANSCRIPTS_BYTES_MAX;
    for outcome in outcomes {
        cell(page, kept, outcome, &mut left)?;
    }
    page.push_str("</body></html>\n");
    Ok(())
}

fn groups(page: &mut String, title: &str, groups: &[Group]) -> std::fmt::Result {
    write!(page, "<h2>{title}</h2><table><tr>")?;
    for head in ["Scenario", "Engine", "Model", "Skill", "Passed", "95 % interval", "Errors", "Cost", "Time each"] {
        write!(page, "<th>{head}</th>")?;
    }
    page.push_str("</tr>");
    for group in groups {
        let (low, high, rate) = (group.low * 100.0, group.high * 100.0, group.rate() * 100.0);
        write!(
            page,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}/{}</td><td><span class=\"bar\"><i style=\"left:{low:.1}%;\
             width:{:.1}%\"></i><b style=\"left:{rate:.1}%\"></b></span> {low:.0}-{high:.0} %</td><td>{}</td><td>${:.4}</td><td>{:.1} s</td></tr>",
            escape(&group.scenario),
            escape(&group.engine),
            escape(&group.model),
            if group.skill { "with" } else { "without" },
            group.passed,
            group.tried(),
            (high - low).max(0.0),
            group.errors,
            group.cost_usd,
            group.seconds_each()
        )?;
    }
    page.push_str("</table>");
    Ok(())
}

fn cell(page: &mut String, kept: &Kept, outcome: &Outcome, left: &mut usize) -> std::fmt::Result {
    let verdict = outcome.verdict.as_str();
    write!(
        page,
        "<details id=\"{}\"><summary><span class=\"{verdict}\">{verdict}</span> {} - ${:.4}, {:.1} s, {} rounds</summary>",
        escape(&outcome.key),
        escape(&outcome.key),
        outcome.cost_usd + outcome.judge_cost_usd,
        super::super::screen::seconds(outcome.duration_ms),
        outcome.rounds
    )?;
    if !outcome.why.is_empty() {
        let code = outcome.code.as_deref().map(|code| format!("[{code}] ")).unwrap_or_default();
        write!(page, "<p class=\"{verdict}\">{}</p>", escape(&(code + &outcome.why)))?;
    }
    page.push_str("<table><tr><th>Check</th><th></th><th>Seen</th></tr>");
    for check in &outcome.checks {
        let word = if check.passed { "pass" } else { "fail" };
        write!(
            page,
            "<tr><td>{}</td><td class=\"{word}\">{word}</td><td><pre>{}</pre></td></tr>",
            escape(&check.name),
            escape(&check.seen)
        )?;
    }
    write!(page, "</table><p>Answer</p><pre>{}</pre>", escape(&outcome.answer))?;
    let text = transcript(kept, &outcome.key);
    let shown = escape(&out::cut(&text, TRANSCRIPT_CHARS));
    if shown.len() <= *left {
        *left -= shown.len();
        write!(page, "<details><summary>Transcript</summary><pre>{shown}</pre></details>")?;
    }
    let path = kept.transcript(&outcome.key);
    write!(page, "<p>All of it: {}</p></details>", escape(&path.display().to_string()))
}

/// What happened, a line for each event.
fn transcript(kept: &Kept, key: &str) -> String {
    let mut bytes = Vec::new();
    if let Ok(file) = std::fs::File::open(kept.transcript(key)) {
        let _ = file.take(READ_BYTES_MAX).read_to_end(&mut bytes);
    }
    let mut text = String::new();
    for line in String::from_utf8_lossy(&bytes).lines() {
        let Ok(event) = serde_json::from_str::<Event>(line) else { continue };
        let said = match event.kind {
            EventKind::Text { text } => text,
            EventKind::Thinking { text } => format!("(thinking) {text}"),
            EventKind::ToolCall { name, input, .. } => format!("> {name} {input}"),
            EventKind::ToolResult { output, is_error, .. } => format!("{} {output}", if is_error { "<!" } else { "<" }),
            EventKind::Notice { text } => format!("note: {text}"),
            EventKind::Error { code, message, .. } => format!("error[{code}]: {message}"),
            EventKind::Result(result) => format!("= {}", result.status.as_str()),
            _ => continue,
        };
        text.push_str(&out::cut(&said, EVENT_CHARS));
        text.push('\n');
    }
    text
}

/// A text as HTML shows it: markup is text, and what cannot be seen or would reorder it is written out.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in crate::exit::clean(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_is_text() {
        let hostile = "</pre><script>alert(1)</script><img src=x onerror='a'>\"&\u{202e}\u{1b}[2J";
        let shown = escape(hostile);
        assert!(!shown.contains(['<', '>', '"', '\'', '\u{202e}', '\u{1b}']), "{shown}");
        assert!(shown.contains("&lt;script&gt;alert(1)"));
    }
}
