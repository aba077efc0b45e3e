//! One cell: a session with the scenario's files, one turn in it, and what is made of that. It can die at any line: the session is
//! noted before anything is asked of it, and a question that is asked again under the same key is the same turn.

use std::collections::BTreeMap;

use app::{MessageForm, SessionForm, SessionView, Tape};
use http::Method;
use model::{Code, EventKind, Failure, Limits, Outcome as Ended, SessionId};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::super::begin::again;
use super::super::follow::ask;
use super::boxes::{self, Room};
use super::keep::{Begun, Kept, Outcome, Verdict};
use super::plan::Cell;
use super::suite::{Scenario, Suite, hex};
use super::tree::{self, Seen, Spool};
use super::watch::{self, Stop, Watched};
use super::{fail, grade};
use crate::client::{Client, collect, full};
use crate::out;

/// Where a suite keeps its tapes.
pub(super) const TAPES: &str = "tapes";
/// Bytes of a tape of a suite.
const TAPE_BYTES_MAX: u64 = 64 << 20;
/// Characters that are kept of the last words.
const ANSWER_CHARS: usize = 4000;
/// What sessions of a run are labelled.
pub(super) const LABEL_RUN: &str = "eval";
const LABEL_CELL: &str = "eval-cell";
/// How long the suite's setup may take at most.
const SETUP_TIME: std::time::Duration = std::time::Duration::from_secs(300);

/// What cells are worked on with.
pub(super) struct Desk<'a> {
    pub(super) client: &'a Client,
    pub(super) kept: &'a Kept,
    pub(super) suite: &'a Suite,
    /// What the configuration allows.
    pub(super) limits: Limits,
    pub(super) plain_agent: String,
    pub(super) skill_agent: Option<String>,
}

impl Desk<'_> {
    /// What the sandboxes of a scenario may use: never more than what is configured.
    pub(super) fn limits(&self, scenario: &Scenario) -> Limits {
        Limits { time: self.limits.time.min(scenario.limits.time), ..self.limits }
    }
}

/// Works on a cell to its end, or goes on with one that was begun.
///
/// # Errors
/// Only what stops the run: the daemon is gone, or the run's own files cannot be written.
pub(super) async fn run(desk: &Desk<'_>, cell: &Cell) -> Result<Outcome, Failure> {
    let outcome = match attempt(desk, cell).await {
        Ok(outcome) => outcome,
        Err(failure) if stops(&failure) => return Err(failure),
        Err(failure) => {
            Outcome { code: Some(failure.code.as_str().to_owned()), why: with_hint(&failure), verdict: Verdict::Error, ..nothing(cell) }
        }
    };
    let session = desk.kept.begun(&cell.key)?.map(|begun| begun.session);
    desk.kept.put_outcome(&Outcome { session: session.clone().filter(|_| desk.kept.plan.keep), ..outcome.clone() })?;
    model::crash::point("eval:kept");
    if let Some(session) = session.filter(|_| !desk.kept.plan.keep) {
        forget(desk.client, &session).await;
    }
    desk.kept.drop_begun(&cell.key);
    Ok(outcome)
}

/// Whether no other cell can be worked on either.
fn stops(failure: &Failure) -> bool {
    matches!(failure.code, Code::DaemonMissing | Code::PathUnusable | Code::HomeUnsafe)
}

fn with_hint(failure: &Failure) -> String {
    failure.hint.as_ref().map_or_else(|| failure.message.clone(), |hint| format!("{} ({hint})", failure.message))
}

fn nothing(cell: &Cell) -> Outcome {
    Outcome {
        key: cell.key.clone(),
        verdict: Verdict::Fail,
        why: String::new(),
        code: None,
        provider: String::new(),
        checks: Vec::new(),
        cost_usd: 0.0,
        judge_cost_usd: 0.0,
        duration_ms: 0,
        rounds: 0,
        tokens: 0,
        answer: String::new(),
        session: None,
    }
}

async fn attempt(desk: &Desk<'_>, cell: &Cell) -> Result<Outcome, Failure> {
    let scenario = desk.suite.scenario(&cell.scenario).ok_or_else(|| fail::suite(&cell.scenario, "the scenario is gone"))?;
    let begun = match desk.kept.begun(&cell.key)? {
        Some(begun) if is_there(desk.client, &begun.session).await? => begun,
        _ => begin(desk, cell, scenario).await?,
    };
    let path = format!("/v1/sessions/{}", begun.session);
    let message = MessageForm { text: scenario.prompt.clone(), ..MessageForm::default() };
    let turn = ask(desk.client, &path, &message, &key_of(begun.session.as_str(), &cell.key)).await?;
    model::crash::point("eval:asked");
    let watched = watch::turn(desk.client, &begun.session, &turn, scenario.limits.rounds).await?;
    model::crash::point("eval:answered");
    desk.kept.put_transcript(&cell.key, &watched.events)?;
    let usage = &watched.result.usage;
    let mut outcome = Outcome {
        provider: if cell.replay { "tape".to_owned() } else { watched.provider.clone() },
        cost_usd: watched.result.cost_usd,
        duration_ms: watched.result.duration_ms,
        rounds: watched.rounds,
        tokens: usage.input_tokens + usage.output_tokens + usage.cache_read_tokens + usage.cache_write_tokens,
        answer: out::cut(&watched.result.text, ANSWER_CHARS),
        ..nothing(cell)
    };
    if desk.kept.plan.record {
        grade::keep_tape(desk.client, desk, &begun.session, &format!("{}.jsonl", cell.key)).await?;
    }
    if watched.result.status != Ended::Completed || watched.stop.is_some() {
        ended_badly(cell, scenario, &watched, &mut outcome);
        return Ok(outcome);
    }
    match grade::grade(desk, cell, scenario, &begun, &watched).await {
        Ok(graded) => {
            let failed: Vec<&str> = graded.checks.iter().filter(|check| !check.passed).map(|check| check.name.as_str()).collect();
            outcome.verdict = if failed.is_empty() { Verdict::Pass } else { Verdict::Fail };
            outcome.why = failed.join("; ");
            outcome.judge_cost_usd = graded.judge_cost_usd;
            outcome.checks = graded.checks;
        }
        Err(failure) if stops(&failure) => return Err(failure),
        Err(failure) => {
            outcome.verdict = Verdict::Error;
            outcome.code = Some(failure.code.as_str().to_owned());
            outcome.why = with_hint(&failure);
        }
    }
    model::crash::point("eval:graded");
    Ok(outcome)
}

/// A turn that did not come to its end: by the agent's doing it is a failure, else it says nothing about the agent.
fn ended_badly(cell: &Cell, scenario: &Scenario, watched: &Watched, outcome: &mut Outcome) {
    let code = watched.result.code;
    outcome.code = code.map(|code| code.as_str().to_owned());
    outcome.why = why(watched);
    match &watched.stop {
        Some(Stop::Rounds) => {
            outcome.code = Some(Code::TurnLimit.as_str().to_owned());
            outcome.why = format!("the model was asked more than {} times", scenario.limits.rounds);
            return;
        }
        Some(Stop::Approval(tool)) => {
            // A budget beside the cell's own: it says nothing about the agent.
            outcome.verdict = if tool == "budget.raise" { Verdict::Error } else { Verdict::Fail };
            outcome.why = format!("it waits for a person's yes to {tool}");
            return;
        }
        None => {}
    }
    let is_own = matches!(
        code,
        Some(
            Code::Timeout
                | Code::BudgetExceeded
                | Code::TurnLimit
                | Code::EngineFailed
                | Code::OutputLimit
                | Code::MemoryLimit
                | Code::DiskLimit
                | Code::ResultTooLarge
        )
    );
    if !is_own || watched.result.status == Ended::Cancelled {
        outcome.verdict = Verdict::Error;
    }
    if matches!(code, Some(Code::ReplayDiffers)) {
        outcome.verdict = Verdict::Error;
        outcome.why = format!("the tape does not match: {} (record it again: --record; tapes/{}.jsonl)", outcome.why, cell.key);
    }
}

/// The last error of a turn.
pub(super) fn why(watched: &Watched) -> String {
    let error = watched.events.iter().rev().find_map(|event| match &event.kind {
        EventKind::Error { message, .. } => Some(message.clone()),
        _ => None,
    });
    error.unwrap_or_else(|| format!("the turn ended as {}", watched.result.status.as_str()))
}

/// Makes the session of a cell with its files. Nothing is asked of it yet.
async fn begin(desk: &Desk<'_>, cell: &Cell, scenario: &Scenario) -> Result<Begun, Failure> {
    let agent = match (&desk.skill_agent, cell.with_skill) {
        (Some(agent), true) => agent,
        _ => &desk.plain_agent,
    };
    let form = SessionForm {
        agent: Some(agent.clone()),
        engine: Some(cell.engine.clone()),
        model: cell.model.clone(),
        fallback: Some(Vec::new()),
        title: Some(format!("eval {}", cell.key)),
        labels: labels(&desk.kept.plan.id, &cell.key),
        limits: Some(desk.limits(scenario)),
        workdir: Some("/workspace".to_owned()),
        budget: Some(scenario.limits.cost),
        tape: tape_of(cell, desk.kept.plan.record),
        ..SessionForm::default()
    };
    let session: SessionView = again(async || desk.client.json(Method::POST, "/v1/sessions", Some(&json!(form))).await).await?;
    model::crash::point("eval:session-made");
    let begun = async {
        let path = format!("/v1/sessions/{}", session.id);
        cap(desk.client, &session.id, scenario.limits.cost).await?;
        if cell.replay {
            give_tape(desk, &path, &cell.key).await?;
        }
        let before = lay_out(desk, cell, scenario, &path).await?;
        let begun = Begun { session: session.id.clone(), before: grade::before(&scenario.checks, &before) };
        desk.kept.put_begun(&cell.key, &begun)?;
        Ok(begun)
    }
    .await;
    match begun {
        Ok(begun) => {
            model::crash::point("eval:begun");
            Ok(begun)
        }
        Err(failure) => {
            forget(desk.client, &session.id).await;
            Err(failure)
        }
    }
}

/// Puts the scenario's files into the session. Its setup has run on them, in a sandbox without doors.
async fn lay_out(desk: &Desk<'_>, cell: &Cell, scenario: &Scenario, path: &str) -> Result<Seen, Failure> {
    let into = format!("{path}/files?path=/workspace");
    let Some(setup) = &scenario.setup else {
        let Some(files) = &scenario.files else { return Ok(Seen::default()) };
        collect(desk.client.send(Method::PUT, &into, boxes::TAR, boxes::body(files)).await?).await?;
        return tree::seen(files);
    };
    let room = Room::make(desk.client, desk.kept, desk.limits(scenario)).await?;
    let made = async {
        if let Some(files) = &scenario.files {
            room.fill(boxes::body(files)).await?;
        }
        let ran = room.run(setup, SETUP_TIME.min(scenario.limits.time)).await?;
        if ran.status != Some(0) {
            let how = ran.status.map_or_else(|| "it took too long".to_owned(), |status| format!("exit {status}"));
            return Err(fail::suite(&format!("the setup of {}", scenario.name), format!("{how}: {}", ran.output)));
        }
        let raw = room.files(Spool::new(desk.kept, &format!("{}.setup", cell.key))).await?;
        raw.stripped(desk.kept, &format!("{}.laid", cell.key), std::collections::BTreeSet::new()).await
    }
    .await;
    room.remove().await;
    let (spool, seen) = made?;
    collect(desk.client.send(Method::PUT, &into, boxes::TAR, spool.body().await?).await?).await?;
    Ok(seen)
}

/// Gives a session the tape that the suite has for it.
pub(super) async fn give_tape(desk: &Desk<'_>, path: &str, name: &str) -> Result<(), Failure> {
    let file = format!("{TAPES}/{name}.jsonl");
    let tape = desk.suite.beneath.read(&file, TAPE_BYTES_MAX)?;
    let tape = tape.ok_or_else(|| {
        Failure::new(Code::TapeInvalid, format!("there is no tape {file}")).hint("record it with a model: lazaret eval run SUITE --record")
    })?;
    let response = desk.client.send(Method::PUT, &format!("{path}/tape"), "application/octet-stream", full(tape)).await?;
    collect(response).await.map(drop)
}

/// Whether calls of a cell are recorded or answered from a record.
pub(super) fn tape_of(cell: &Cell, record: bool) -> Tape {
    match (cell.replay, record) {
        (true, _) => Tape::Replay,
        (false, true) => Tape::Record,
        (false, false) => Tape::Off,
    }
}

/// By which a later process finds what this one leaves.
pub(super) fn labels(run: &str, cell: &str) -> BTreeMap<String, String> {
    [(LABEL_RUN, run), (LABEL_CELL, cell)].map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

/// The key under which a turn is asked: once, however often it has to be said.
pub(super) fn key_of(session: &str, cell: &str) -> String {
    hex(&Sha256::digest(format!("{session} {cell}")))[..32].to_owned()
}

async fn is_there(client: &Client, session: &SessionId) -> Result<bool, Failure> {
    match client.json::<SessionView>(Method::GET, &format!("/v1/sessions/{session}"), None).await {
        Ok(_) => Ok(true),
        Err(failure) if failure.code == Code::NotFound => Ok(false),
        Err(failure) => Err(failure),
    }
}

/// Lets a session fail when it has cost so much. Without this its turn would wait for a person to raise the budget.
pub(super) async fn cap(client: &Client, session: &SessionId, most: model::Money) -> Result<(), Failure> {
    let form = json!({ "limit_usd": most.as_usd(), "policy": "fail" });
    client.json::<Value>(Method::PUT, &format!("/v1/budgets/session:{session}"), Some(&form)).await.map(drop)
}

/// Cancels and removes a session. What cannot be removed now is swept at the end of the run.
pub(super) async fn forget(client: &Client, session: &SessionId) {
    let _ = client.json::<Value>(Method::DELETE, &format!("/v1/budgets/session:{session}"), None).await;
    let _ = client.json::<Value>(Method::DELETE, &format!("/v1/sessions/{session}"), None).await;
}
