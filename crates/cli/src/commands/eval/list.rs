//! `lazaret eval list|show|remove`.

use std::path::Path;

use model::{Code, Failure};
use serde_json::json;

use super::super::Context;
use super::keep::{self, Kept};
use super::plan::Plan;
use super::report::{Group, Report};
use super::{html, run};
use crate::exit::{Done, clean};
use crate::home::Home;
use crate::out;

pub(super) fn list(context: &Context) -> Done {
    let home = Home::open(&context.env.home)?;
    let mut rows = Vec::new();
    for id in keep::ids(&home)?.into_iter().rev() {
        // A folder whose plan was never written is no run.
        let Ok(kept) = Kept::open(&home, &id) else { continue };
        let report = Report::of(&kept.plan, &kept.outcomes()?);
        let state = match (kept.is_held(), report.over == report.cells) {
            (true, _) => "running",
            (false, true) => "done",
            (false, false) => "stopped",
        };
        if context.json {
            let total = &report.total;
            out::json(&json!({ "run": id, "suite": kept.plan.suite, "made": kept.plan.made, "state": state, "cells": report.cells,
                "over": report.over, "total": total }))?;
            continue;
        }
        rows.push(vec![
            id,
            kept.plan.suite.clone(),
            out::ago(kept.plan.made),
            state.to_owned(),
            format!("{}/{}", report.over, report.cells),
            passed(&report.total),
            format!("${:.4}", report.total.cost_usd),
        ]);
    }
    if !context.json {
        out::table(&["run", "suite", "made", "state", "cells", "passed", "cost"], &rows);
    }
    Ok(0)
}

pub(super) fn show(context: &Context, id: &str, page: Option<&Path>, transcript: Option<&str>) -> Done {
    let kept = Kept::open(&Home::open(&context.env.home)?, id)?;
    if let Some(key) = transcript {
        return print_transcript(&kept, key);
    }
    let outcomes = kept.outcomes()?;
    let report = Report::of(&kept.plan, &outcomes);
    if let Some(path) = page {
        keep::write(path, html::page(&kept, &report, &outcomes)?.as_bytes())?;
    }
    if context.json {
        for outcome in &outcomes {
            out::json(&json!({ "cell": outcome }))?;
        }
    } else {
        for outcome in outcomes.iter().filter(|outcome| !outcome.why.is_empty()) {
            let line = format!("{:<5} {}: {}", outcome.verdict.as_str(), outcome.key, outcome.why);
            out::line(&clean(&line.replace('\n', " ")));
        }
    }
    print(context, &report)?;
    Ok(0)
}

fn print_transcript(kept: &Kept, key: &str) -> Done {
    let missing = || Failure::new(Code::NotFound, format!("the run has no transcript of a cell `{}`", key.escape_debug()));
    let cell = kept.plan.cells.iter().find(|cell| cell.key == key).ok_or_else(missing)?;
    let text = std::fs::read_to_string(kept.transcript(&cell.key)).map_err(|_| missing())?;
    text.lines().for_each(|line| out::line(&harmless(line)));
    Ok(0)
}

/// A line of JSON, still JSON, with what could steer a terminal written as JSON writes it.
fn harmless(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    for c in line.chars() {
        if c.is_ascii() && !c.is_control() || clean(c.encode_utf8(&mut [0; 4])).chars().eq([c]) {
            out.push(c);
        } else {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
        }
    }
    out
}

/// The tables, or one object.
pub(super) fn print(context: &Context, report: &Report) -> Result<(), Failure> {
    if context.json {
        return out::json(&json!({ "report": report }));
    }
    let row = |group: &Group| {
        vec![
            if group.scenario.is_empty() { "all".to_owned() } else { group.scenario.clone() },
            group.engine.clone(),
            if group.model.is_empty() { "-".to_owned() } else { group.model.clone() },
            if group.skill { "with" } else { "without" }.to_owned(),
            passed(group),
            format!("{:.0}-{:.0} %", group.low * 100.0, group.high * 100.0),
            if group.errors == 0 { String::new() } else { group.errors.to_string() },
            format!("${:.4}", group.cost_usd),
            format!("{:.1} s", group.seconds_each()),
        ]
    };
    let rows: Vec<Vec<String>> = report.groups.iter().chain(&report.variants).map(row).collect();
    out::table(&["scenario", "engine", "model", "skill", "passed", "95 %", "errors", "cost", "time each"], &rows);
    for (provider, word) in [("rehearsal", "a script"), ("tape", "a tape")] {
        if let Some(n) = report.providers.get(provider) {
            out::note(&format!("{n} of {} cells were answered by {word}, not by a model", report.over));
        }
    }
    Ok(())
}

/// How many passed of those that say something.
fn passed(group: &Group) -> String {
    format!("{}/{}", group.passed, group.tried())
}

/// Forgets a run.
pub(super) async fn remove(context: &Context, id: &str) -> Done {
    let home = Home::open(&context.env.home)?;
    let kept = Kept::open(&home, id)?;
    let Plan { id, .. } = &kept.plan;
    if kept.is_held() {
        return Err(Failure::new(Code::Conflict, "another process works on this run").hint("wait until it is over"));
    }
    let client = context.client()?;
    super::boxes::sweep(&client, &kept).await;
    run::forget_labelled(&client, id, &[]).await?;
    kept.remove()?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_transcript_stays_json_and_steers_nothing() {
        let text = "a\u{202e}b\u{9b}c\u{7f}d ä";
        let line = json!({ "text": text }).to_string();
        let shown = harmless(&line);
        assert!(!shown.contains(['\u{202e}', '\u{9b}', '\u{7f}']), "{shown}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).expect("JSON")["text"], text);
    }
}
