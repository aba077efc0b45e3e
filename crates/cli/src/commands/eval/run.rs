//! `lazaret eval run`: the cells of a run, some at once, until all are over.

use std::cell::Cell as Shared;
use std::io::Read;
use std::path::Path;

use app::{SessionForm, SessionView};
use futures_util::{StreamExt, TryStreamExt, stream};
use http::Method;
use model::{Code, Failure, Money, SessionId};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use super::super::begin::again;
use super::super::sandbox::escaped;
use super::super::{Context, screen};
use super::cell::{self, Desk, LABEL_RUN, TAPES};
use super::keep::{self, Kept, Outcome, Verdict};
use super::plan::{Axes, Cell, Pair, Plan};
use super::report::Report;
use super::suite::{SKILL_BYTES_MAX, Suite};
use super::{agents, boxes, html, list};
use crate::args::{self, EvalRun};
use crate::client::{Client, internal};
use crate::config::Config;
use crate::exit::{Done, clean};
use crate::home::Home;
use crate::{out, places};

/// What a run may cost when nothing is said, in billionths of a dollar: a suite of somebody else's says what its cells may.
const RUN_COST: Money = Money(25 * Money::PER_USD);
/// Pages of sessions that are looked through for what a run has left.
const PAGES_MAX: usize = 1000;
/// Names of cells that a message holds.
const NAMED_MAX: usize = 3;

pub(super) async fn run(context: &Context, flags: &EvalRun) -> Done {
    let under = flags.fail_under.as_deref().map(rate).transpose()?;
    let most = flags.max_cost.as_deref().map_or(Ok(RUN_COST), str::parse::<Money>);
    let most = most.map_err(|e| Failure::new(Code::Usage, e.to_string()).field("--max-cost"))?;
    let home = Home::open(&context.env.home)?;
    let config = Config::load(home.path())?;
    let client = Client::new(&home, context.may_start);
    let mut interrupted = signal(SignalKind::interrupt()).map_err(|e| internal(&e.to_string()))?;
    let mut ended = signal(SignalKind::terminate()).map_err(|e| internal(&e.to_string()))?;
    sweep_boxes(&home, &client).await?;
    let (kept, suite) = match &flags.resume {
        Some(id) => resumed(&home, id)?,
        None => begun(context, &home, &client, flags).await?,
    };
    let plain_agent = agents::agent(&client, None).await?;
    let skill_agent = match &kept.plan.skill {
        Some(skill) => Some(agents::agent(&client, Some(skill)).await?),
        None => None,
    };
    let limits = places::limits(&no_limits(), &config)?;
    let desk = Desk { client: &client, kept: &kept, suite: &suite, limits, plain_agent, skill_agent };
    if flags.resume.is_some() {
        sweep_sessions(&desk, false).await?;
    }
    if !context.json {
        out::note(&clean(&format!("run {}: {} cells of the suite {}", kept.plan.id, kept.plan.cells.len(), kept.plan.suite)));
    }
    let done = tokio::select! {
        done = all(context, &desk, flags.jobs, most) => Some(done),
        _ = interrupted.recv() => None,
        _ = ended.recv() => None,
    };
    let to_go_on = format!("to go on: lazaret eval run --resume {}", kept.plan.id);
    match done {
        None => {
            stopped(&desk).await;
            out::note(&to_go_on);
            return Ok(130);
        }
        Some(Err(failure)) => {
            out::note(&to_go_on);
            return Err(failure);
        }
        Some(Ok(())) => {}
    }
    sweep_sessions(&desk, true).await?;
    forget_agents(&home, &desk).await;
    finish(context, &kept, flags.html.as_deref(), under, most)
}

/// What came of the run, on the screen and as an exit status.
fn finish(context: &Context, kept: &Kept, html: Option<&Path>, under: Option<f64>, most: Money) -> Done {
    let outcomes = kept.outcomes()?;
    let report = Report::of(&kept.plan, &outcomes);
    if let Some(path) = html {
        keep::write(path, html::page(kept, &report, &outcomes)?.as_bytes())?;
    }
    list::print(context, &report)?;
    let missing = kept.plan.cells.len().saturating_sub(outcomes.len());
    let mut status = 0;
    if missing > 0 {
        out::note(&format!("BUDGET_EXCEEDED: {missing} cells did not begin, as the run has cost ${} (--max-cost)", most.as_usd()));
        out::note(&format!("to go on: lazaret eval run --resume {} --max-cost N", kept.plan.id));
        status = 1;
    }
    if report.total.errors > 0 {
        out::note(&format!("{} cells failed for reasons that say nothing about the agent", report.total.errors));
        status = 1;
    }
    if let Some(under) = under.filter(|under| report.total.rate() < *under) {
        out::note(&format!("{:.1} % passed, fewer than {:.1} %", report.total.rate() * 100.0, under * 100.0));
        status = 1;
    }
    Ok(status)
}

/// Begins a run.
async fn begun(context: &Context, home: &Home, client: &Client, flags: &EvalRun) -> Result<(Kept, Suite), Failure> {
    let path = flags.suite.as_deref().ok_or_else(|| Failure::new(Code::Usage, "a suite is needed"))?;
    let suite = Suite::read(path, &flags.only)?;
    let skill = match &flags.skill {
        Some(file) => Some(own_skill(file)?),
        None => suite.skill.clone(),
    };
    let axes = Axes::of(&suite, flags, skill.is_some())?;
    let replays = replays(context, client, flags, &axes).await?;
    let cells = axes.cells(&suite, &replays)?;
    tapes_are_there(&suite, &cells, flags.replay)?;
    let skill = skill.filter(|_| axes.skills.contains(&true));
    let plan = Plan {
        id: keep::fresh_id()?,
        made: app::now(),
        lazaret: env!("CARGO_PKG_VERSION").to_owned(),
        suite: suite.name.clone(),
        path: suite.path.clone(),
        only: flags.only.clone(),
        hash: suite.hash(skill.as_deref()),
        skill,
        record: flags.record,
        keep: flags.keep,
        cells,
    };
    Ok((Kept::begin(home, plan)?, suite))
}

/// Takes up a run, with the suite as it was.
fn resumed(home: &Home, id: &str) -> Result<(Kept, Suite), Failure> {
    let kept = Kept::resume(home, id)?;
    let suite = Suite::read(&kept.plan.path, &kept.plan.only)?;
    if suite.hash(kept.plan.skill.as_deref()) != kept.plan.hash {
        return Err(Failure::new(Code::Conflict, "the suite was changed since the run began, so its cells would not be of one kind")
            .hint("begin another run"));
    }
    Ok((kept, suite))
}

/// A skill that the user names.
fn own_skill(file: &Path) -> Result<String, Failure> {
    let fail = |why: String| Failure::new(Code::Usage, format!("the skill {} cannot be used: {why}", file.display())).field("--skill");
    let opened = std::fs::File::open(file).map_err(|e| fail(e.to_string()))?;
    let mut text = String::new();
    opened.take(SKILL_BYTES_MAX + 1).read_to_string(&mut text).map_err(|e| fail(e.to_string()))?;
    if text.len() as u64 > SKILL_BYTES_MAX {
        return Err(fail(format!("it is larger than {SKILL_BYTES_MAX} bytes")));
    }
    Ok(text)
}

/// The pairs of engine and model that are answered from tapes: all when asked for, else those without a key.
async fn replays(context: &Context, client: &Client, flags: &EvalRun, axes: &Axes) -> Result<Vec<Pair>, Failure> {
    if flags.replay {
        return Ok(axes.pairs());
    }
    let mut replays = Vec::new();
    for (engine, model) in axes.pairs() {
        match has_key(client, &engine, model.as_deref()).await {
            Ok(()) => {}
            Err(failure) if failure.code == Code::KeyMissing && !flags.live && !flags.record => {
                if !context.json {
                    let name = model.as_deref().unwrap_or(&engine);
                    out::note(&clean(&format!("there is no key for {name}: answered from the suite's tapes, not by a model")));
                }
                replays.push((engine, model));
            }
            Err(failure) => return Err(failure),
        }
    }
    Ok(replays)
}

/// Makes a session as the cells will have them, and forgets it: what would fail, fails before the run begins.
async fn has_key(client: &Client, engine: &str, model: Option<&str>) -> Result<(), Failure> {
    let form = SessionForm { engine: Some(engine.to_owned()), model: model.map(str::to_owned), ..SessionForm::default() };
    let session: SessionView = again(async || client.json(Method::POST, "/v1/sessions", Some(&json!(form))).await).await?;
    cell::forget(client, &session.id).await;
    Ok(())
}

fn tapes_are_there(suite: &Suite, cells: &[Cell], is_asked: bool) -> Result<(), Failure> {
    let there = suite.beneath.names(TAPES)?;
    let without: Vec<&str> =
        cells.iter().filter(|cell| cell.replay && !there.contains(&format!("{}.jsonl", cell.key))).map(|cell| cell.key.as_str()).collect();
    if without.is_empty() {
        return Ok(());
    }
    let named = without.iter().take(NAMED_MAX).copied().collect::<Vec<_>>().join(", ");
    let (code, why) = if is_asked { (Code::TapeInvalid, "") } else { (Code::KeyMissing, "there is no key, and ") };
    Err(Failure::new(code, format!("{why}{} of {} cells have no tape: {named}", without.len(), cells.len()))
        .hint("store a key (lazaret secret set anthropic -), and record tapes with --record"))
}

/// Works on all cells that are not over, so many at once.
async fn all(context: &Context, desk: &Desk<'_>, jobs: u16, most: Money) -> Result<(), Failure> {
    let mut left = Vec::new();
    let mut so_far = 0.0;
    for cell in &desk.kept.plan.cells {
        match desk.kept.outcome(&cell.key)? {
            Some(done) if done.verdict != Verdict::Error => so_far += done.cost_usd + done.judge_cost_usd,
            // What said nothing about the agent is tried again.
            _ => left.push(cell),
        }
    }
    let spent = Shared::new(so_far);
    let most = most.as_usd();
    let work = left.into_iter().map(|cell| {
        let spent = &spent;
        async move {
            if most > 0.0 && spent.get() >= most {
                return Ok(());
            }
            let outcome = cell::run(desk, cell).await?;
            spent.set(spent.get() + outcome.cost_usd + outcome.judge_cost_usd);
            show(context, &outcome)
        }
    });
    stream::iter(work).buffer_unordered(usize::from(jobs)).try_collect::<()>().await
}

fn show(context: &Context, outcome: &Outcome) -> Result<(), Failure> {
    if context.json {
        return out::json(&json!({ "cell": outcome }));
    }
    let why = if outcome.why.is_empty() { String::new() } else { format!(": {}", outcome.why) };
    let cost = outcome.cost_usd + outcome.judge_cost_usd;
    let took = screen::seconds(outcome.duration_ms);
    let line = format!("{:<5} {}  ${cost:.4} {took:.1} s{why}", outcome.verdict.as_str(), outcome.key).replace('\n', " ");
    out::line(&out::cut(&clean(&line), LINE_CHARS));
    Ok(())
}

/// Characters of the line that tells of one cell.
const LINE_CHARS: usize = 400;

/// Gives up what is under way: a later run begins those cells anew.
async fn stopped(desk: &Desk<'_>) {
    for cell in &desk.kept.plan.cells {
        if let Ok(Some(begun)) = desk.kept.begun(&cell.key) {
            cell::forget(desk.client, &begun.session).await;
            desk.kept.drop_begun(&cell.key);
        }
    }
    let _ = sweep_sessions(desk, true).await;
    boxes::sweep(desk.client, desk.kept).await;
}

/// Removes the sandboxes that runs left which died.
async fn sweep_boxes(home: &Home, client: &Client) -> Result<(), Failure> {
    for id in keep::ids(home)? {
        if let Ok(kept) = Kept::resume(home, &id) {
            boxes::sweep(client, &kept).await;
        }
    }
    Ok(())
}

/// Removes sessions of the run that no cell needs: those of a process that died between making and noting one.
async fn sweep_sessions(desk: &Desk<'_>, is_over: bool) -> Result<(), Failure> {
    if is_over && desk.kept.plan.keep {
        return Ok(());
    }
    let mut needed = Vec::new();
    for cell in &desk.kept.plan.cells {
        match desk.kept.outcome(&cell.key)? {
            // One that died between the outcome and its end has left its note.
            Some(done) if done.verdict != Verdict::Error || is_over => {
                needed.extend(done.session.map(|session| session.to_string()));
                desk.kept.drop_begun(&cell.key);
            }
            _ => needed.extend(desk.kept.begun(&cell.key)?.map(|begun| begun.session.to_string())),
        }
    }
    forget_labelled(desk.client, &desk.kept.plan.id, &needed).await
}

/// Removes the sessions of a run but those that are needed.
pub(super) async fn forget_labelled(client: &Client, run: &str, needed: &[String]) -> Result<(), Failure> {
    let mut after = String::new();
    for _ in 0..PAGES_MAX {
        let label = escaped(&format!("{LABEL_RUN}={run}"));
        let page: Value = client.json(Method::GET, &format!("/v1/sessions?label={label}{after}"), None).await?;
        for item in page["items"].as_array().into_iter().flatten() {
            let id = item["id"].as_str().unwrap_or_default();
            if let Ok(session) = id.parse::<SessionId>()
                && !needed.iter().any(|need| need == id)
            {
                cell::forget(client, &session).await;
            }
        }
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={}", escaped(next));
    }
    Ok(())
}

/// Forgets the agents of the run, unless another run is under way that may need them.
async fn forget_agents(home: &Home, desk: &Desk<'_>) {
    let others = keep::ids(home).unwrap_or_default();
    let is_held = |id: &String| *id != desk.kept.plan.id && Kept::open(home, id).is_ok_and(|kept| kept.is_held());
    if desk.kept.plan.keep || others.iter().any(is_held) {
        return;
    }
    agents::forget(desk.client, &desk.plain_agent).await;
    if let Some(agent) = &desk.skill_agent {
        agents::forget(desk.client, agent).await;
    }
}

/// A part of all: `0.9` or `90%`.
fn rate(text: &str) -> Result<f64, Failure> {
    let wrong = || Failure::new(Code::Usage, format!("`{}` is no rate like 0.9 or 90%", text.escape_debug())).field("--fail-under");
    let rate = match text.strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().map_err(|_| wrong())? / 100.0,
        None => text.parse::<f64>().map_err(|_| wrong())?,
    };
    if (0.0..=1.0).contains(&rate) { Ok(rate) } else { Err(wrong()) }
}

fn no_limits() -> args::Limits {
    args::Limits { memory: None, cpus: None, pids: None, disk: None, timeout: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_part_of_all() {
        assert_eq!(rate("0.9").ok(), Some(0.9));
        assert_eq!(rate("90%").ok(), Some(0.9));
        assert_eq!(rate("1").ok(), Some(1.0));
        for bad in ["", "x", "2", "101%", "-1", "NaN", "inf"] {
            assert!(rate(bad).is_err(), "{bad}");
        }
    }
}
