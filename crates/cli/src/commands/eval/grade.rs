//! Whether what must hold holds. What an agent left is data: files are read from a stream, commands run in sandboxes of their own.

use std::collections::{BTreeMap, BTreeSet};

use http::Method;
use model::{EventKind, Failure};

use super::boxes::Room;
use super::cell::Desk;
use super::judge;
use super::keep::{Begun, Checked};
use super::plan::Cell;
use super::suite::{Check, FileTest, Scenario, Test};
use super::tree::{Seen, Spool};
use super::watch::Watched;
use crate::client::{Client, collect, full};
use crate::out;

/// Characters that are kept of what a check saw.
const SEEN_CHARS: usize = 2000;
/// Characters of what one call was, in what a check saw.
const CALL_CHARS: usize = 200;
/// Calls that are named in what a check saw.
const CALLS_SHOWN: usize = 5;

/// What came of all checks, and what the judge cost.
pub(super) struct Graded {
    pub(super) checks: Vec<Checked>,
    pub(super) judge_cost_usd: f64,
}

/// Checks everything that the scenario asks for.
pub(super) async fn grade(desk: &Desk<'_>, cell: &Cell, scenario: &Scenario, begun: &Begun, watched: &Watched) -> Result<Graded, Failure> {
    let files = match scenario.checks.iter().any(|check| matches!(check.test, Test::Command { .. } | Test::File { .. })) {
        true => Some(files(desk, cell, scenario, begun).await?),
        false => None,
    };
    model::crash::point("eval:files-fetched");
    let judged = judge::judge(desk, cell, scenario, watched).await?;
    let mut checks = Vec::with_capacity(scenario.checks.len());
    for (n, check) in scenario.checks.iter().enumerate() {
        let (passed, seen) = match (&check.test, &files) {
            (Test::Command { run, time }, Some((spool, _))) => {
                let room = Room::make(desk.client, desk.kept, desk.limits(scenario)).await?;
                let ran = async {
                    room.fill(spool.body().await?).await?;
                    room.run(run, *time).await
                }
                .await;
                room.remove().await;
                let ran = ran?;
                let how =
                    ran.status.map_or_else(|| format!("it took longer than {} s\n", time.as_secs()), |status| format!("exit {status}\n"));
                (ran.status == Some(0), how + &ran.output)
            }
            (Test::File { path, is }, Some((_, tree))) => file(tree, path, is, &begun.before),
            (Test::Tool { .. }, _) => tool(&check.test, watched),
            (Test::Answer { holds, is_wanted }, _) => {
                let text = &watched.result.text;
                (holds.is_match(text) == *is_wanted, text.clone())
            }
            (Test::Judge { .. }, _) => judged.verdict(n),
            (Test::Command { .. } | Test::File { .. }, None) => (false, "there are no files".to_owned()),
        };
        checks.push(Checked { name: check.name.clone(), passed, seen: out::cut(&seen, SEEN_CHARS) });
    }
    Ok(Graded { checks, judge_cost_usd: judged.cost_usd })
}

/// What is in /workspace now.
async fn files(desk: &Desk<'_>, cell: &Cell, scenario: &Scenario, begun: &Begun) -> Result<(Spool, Seen), Failure> {
    let uri = format!("/v1/sessions/{}/files?path=/workspace", begun.session);
    let raw = Spool::new(desk.kept, &format!("{}.raw", cell.key)).fetch(desk.client, &uri).await?;
    raw.stripped(desk.kept, &format!("{}.tar", cell.key), wanted(&scenario.checks)).await
}

/// Files that are looked into.
fn wanted(checks: &[Check]) -> BTreeSet<String> {
    let path = |check: &Check| match &check.test {
        Test::File { path, is: FileTest::Contains(_) | FileTest::Lacks(_) | FileTest::Matches(_) } => Some(path.clone()),
        _ => None,
    };
    checks.iter().filter_map(path).collect()
}

/// One value for each path that must stay as it is.
pub(super) fn before(checks: &[Check], tree: &Seen) -> BTreeMap<String, String> {
    let path = |check: &Check| match &check.test {
        Test::File { path, is: FileTest::Unchanged } => Some((path.clone(), tree.digest(path))),
        _ => None,
    };
    checks.iter().filter_map(path).collect()
}

fn file(tree: &Seen, path: &str, is: &FileTest, before: &BTreeMap<String, String>) -> (bool, String) {
    let entry = tree.at(path);
    match is {
        FileTest::Exists => (entry.is_some(), said(entry.is_some(), "it is there", "it is not there")),
        FileTest::Absent => (entry.is_none(), said(entry.is_none(), "it is not there", "it is there")),
        FileTest::Unchanged => {
            let is_same = before.get(path).is_some_and(|digest| *digest == tree.digest(path));
            (is_same, said(is_same, "it is as it was", "it is not as it was"))
        }
        FileTest::Contains(_) | FileTest::Lacks(_) | FileTest::Matches(_) => {
            let Some(entry) = entry else { return (false, "it is not there".to_owned()) };
            let Some(bytes) = &entry.bytes else { return (false, entry.why_closed().to_owned()) };
            let text = String::from_utf8_lossy(bytes);
            let passed = match is {
                FileTest::Contains(want) => text.contains(want.as_str()),
                FileTest::Lacks(bad) => !text.contains(bad.as_str()),
                FileTest::Matches(regex) => regex.is_match(&text),
                _ => false,
            };
            (passed, text.into_owned())
        }
    }
}

fn said(is: bool, yes: &str, no: &str) -> String {
    if is { yes } else { no }.to_owned()
}

fn tool(test: &Test, watched: &Watched) -> (bool, String) {
    let Test::Tool { names, with, at_least, at_most } = test else { return (false, String::new()) };
    let mut called = 0u32;
    let mut seen: Vec<String> = Vec::new();
    for event in &watched.events {
        let EventKind::ToolCall { name, input, .. } = &event.kind else { continue };
        // Engines put `mcp__SERVER__` before the names of tools that are not their own.
        let bare = name.rsplit("__").next().unwrap_or(name);
        let is_it = names.iter().any(|want| want == "*" || want == name || want == bare);
        let text = arguments(input);
        if is_it && with.as_ref().is_none_or(|with| with.is_match(&text)) {
            called = called.saturating_add(1);
        }
        if is_it && seen.len() < CALLS_SHOWN {
            seen.push(format!("{name} {}", out::cut(&text, CALL_CHARS)));
        }
    }
    let passed = called >= *at_least && at_most.is_none_or(|most| called <= most);
    (passed, format!("{called} such calls\n{}", seen.join("\n")))
}

/// What `with` is held against: each argument that is a text as it is, a line each, and the whole as JSON.
fn arguments(input: &serde_json::Value) -> String {
    let mut text = input.to_string();
    for value in input.as_object().into_iter().flat_map(serde_json::Map::values).filter_map(serde_json::Value::as_str) {
        text.push('\n');
        text.push_str(value);
    }
    text
}

/// Keeps the tape of a session in the suite.
pub(super) async fn keep_tape(client: &Client, desk: &Desk<'_>, session: &model::SessionId, name: &str) -> Result<(), Failure> {
    let path = format!("/v1/sessions/{session}/tape");
    let response = client.send(Method::GET, &path, "application/json", full(Vec::new())).await?;
    let bytes = collect(response).await?;
    desk.suite.beneath.write(super::cell::TAPES, name, &bytes)
}
