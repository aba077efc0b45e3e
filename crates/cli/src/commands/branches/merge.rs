//! Taking work over: previews, merges, the best of several.

use std::io::{IsTerminal, Write};

use app::{BranchView, ChangeSize, MergeForm, MergeView, PreviewForm, PreviewView, SpawnedOne};
use http::Method;
use model::{Code, Failure};
use serde_json::json;

use super::super::Context;
use super::{path, review, wait, which};
use crate::args;
use crate::client::Client;
use crate::exit::{Done, clean};
use crate::out;

/// Files that one line names.
const FILES_SHOWN: usize = 10;
/// The longest answer to a question, in bytes.
const ANSWER_BYTES_MAX: u64 = 64;

pub(super) async fn run(context: &Context, client: &Client, flags: args::Merge) -> Done {
    let agents = which::some(client, &flags.on).await?;
    if !flags.yes {
        let report = previewed(client, &agents, flags.into.as_deref()).await?;
        if !context.json {
            show_order(&report);
        }
        if !confirmed(&format!("merge {} into {}?", names(&agents), report.into))? {
            return Ok(130);
        }
    }
    if flags.queue {
        return super::queue::make(context, client, &agents, &flags).await;
    }
    for agent in &agents {
        let form = MergeForm { into: flags.into.clone(), dry_run: false, expect: flags.expect.clone() };
        let mut merged: MergeView = client.json(Method::POST, &format!("{}/merge", path(agent)), Some(&json!(form))).await?;
        if merged.result == "conflict" && flags.resolve {
            match resolved(context, client, agent, &merged, flags.wait).await? {
                Resolved::Asked => return Ok(Code::MergeConflict.exit_status()),
                Resolved::Failed(status) => return Ok(status),
                Resolved::Again => {
                    merged = client.json(Method::POST, &format!("{}/merge", path(agent)), Some(&json!(form))).await?;
                }
            }
        }
        show(context, &merged)?;
        if merged.result == "conflict" {
            return Ok(Code::MergeConflict.exit_status());
        }
    }
    Ok(0)
}

enum Resolved {
    /// The agent was asked, and nobody waits for it.
    Asked,
    /// Its turn ended badly.
    Failed(u8),
    /// Its turn is over.
    Again,
}

/// Gives a conflict to the agent.
async fn resolved(context: &Context, client: &Client, agent: &BranchView, merged: &MergeView, may_wait: bool) -> Result<Resolved, Failure> {
    show(context, merged)?;
    let asked: SpawnedOne = client.json(Method::POST, &format!("{}/resolve", path(agent)), Some(&json!({ "into": merged.into }))).await?;
    if !may_wait {
        out::note(&clean(&format!("{} resolves it; merge again when it is done", agent.branch)));
        return Ok(Resolved::Asked);
    }
    match wait::watch(context, client, &asked.agent, Some(asked.turn)).await? {
        0 => Ok(Resolved::Again),
        status => Ok(Resolved::Failed(status)),
    }
}

fn names(agents: &[BranchView]) -> String {
    agents.iter().map(|agent| agent.branch.clone()).collect::<Vec<_>>().join(", ")
}

/// Asks a person; without one it is no.
pub(in crate::commands) fn confirmed(question: &str) -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::new(Code::Usage, "this wants a yes, and there is no terminal to ask at").hint("say --yes"));
    }
    eprint_question(question);
    let mut line = String::new();
    let mut stdin = std::io::Read::take(std::io::stdin().lock(), ANSWER_BYTES_MAX);
    let _ = std::io::BufRead::read_line(&mut std::io::BufReader::new(&mut stdin), &mut line);
    Ok(matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

fn eprint_question(question: &str) {
    let mut err = std::io::stderr().lock();
    // A closed standard error leaves nobody to be asked.
    let _ = write!(err, "{} [y/N] ", clean(question)).and_then(|()| err.flush());
}

fn show(context: &Context, merged: &MergeView) -> Result<(), Failure> {
    if context.json {
        return out::json(merged);
    }
    out::line(&clean(&sentence(merged)));
    for one in merged.also.iter().filter(|_| merged.result == "merged") {
        let commit: String = one.commit.as_deref().unwrap_or_default().chars().take(10).collect();
        out::line(&clean(&format!("in {}: {} is at {commit}", one.name, one.into)));
    }
    Ok(())
}

fn sentence(merged: &MergeView) -> String {
    let files = |files: &[String]| {
        let mut text = files.iter().take(FILES_SHOWN).cloned().collect::<Vec<_>>().join(", ");
        if files.len() > FILES_SHOWN {
            text.push_str(&format!(" and {} more", files.len() - FILES_SHOWN));
        }
        text
    };
    let (branch, into) = (&merged.branch, &merged.into);
    let commit: String = merged.commit.as_deref().unwrap_or_default().chars().take(10).collect();
    match merged.result.as_str() {
        "conflict" => format!("{branch} conflicts with {into}; nothing was changed: {}", files(&merged.conflicts)),
        "current" => format!("{into} has everything of {branch} already"),
        "ready" => format!("{branch} merges into {into}"),
        _ => format!("{branch} is merged into {into}, which is at {commit}"),
    }
}

async fn previewed(client: &Client, agents: &[BranchView], into: Option<&str>) -> Result<PreviewView, Failure> {
    let form = PreviewForm { agents: agents.iter().map(|agent| agent.id.clone()).collect(), into: into.map(str::to_owned) };
    client.json(Method::POST, "/v1/branches/preview", Some(&json!(form))).await
}

fn show_order(report: &PreviewView) {
    report.in_order.iter().for_each(|merged| out::line(&clean(&sentence(merged))));
}

pub(super) async fn preview(context: &Context, client: &Client, on: &args::OnBranches, into: Option<&str>) -> Done {
    let agents = if on.branches.is_empty() && on.branch_flags.is_empty() {
        let place = which::place(on.repo.as_deref())?;
        let all = which::all(client, place.as_deref(), None).await?;
        all.into_iter().filter(|agent| agent.tip.is_some() && agent.merged_into.is_none()).collect()
    } else {
        which::some(client, on).await?
    };
    if agents.is_empty() {
        return Ok(0);
    }
    let report = previewed(client, &agents, into).await?;
    if context.json {
        out::json(&report)?;
    } else {
        report.alone.iter().for_each(|merged| out::line(&clean(&sentence(merged))));
        for pair in &report.pairs {
            out::line(&clean(&format!("{} and {} conflict with each other: {}", pair.one, pair.other, pair.files.join(", "))));
        }
    }
    let is_clean = report.alone.iter().all(|merged| merged.result != "conflict");
    Ok(if is_clean { 0 } else { Code::MergeConflict.exit_status() })
}

/// Agents on the same task, the best first: those whose check passes, then the smallest change, then the cheapest.
pub(super) async fn compare(context: &Context, client: &Client, on: &args::OnBranches, check: Option<&str>) -> Done {
    let agents = rivals(client, on).await?;
    for agent in agents.iter().filter(|agent| agent.tip.is_some() && (check.is_some() || agent.check.is_none())) {
        match review::checked(client, agent, check).await {
            // There is none: they are ranked by what is known.
            Err(failure) if failure.code == Code::Usage && check.is_none() => break,
            Err(failure) if failure.code == Code::DaemonMissing => return Err(failure),
            // One that cannot be checked stands behind those that pass, and takes none of them along.
            Err(failure) => out::note(&clean(&format!("{} was not checked: error[{}]: {}", agent.branch, failure.code, failure.message))),
            Ok(_) => {}
        }
    }
    let mut agents = rivals(client, on).await?;
    agents.sort_by_key(rank);
    if context.json {
        agents.iter().try_for_each(out::json)?;
        return Ok(0);
    }
    let row = |agent: &BranchView| {
        let size = whole_size(agent);
        vec![
            agent.branch.clone(),
            agent.state.as_str().to_owned(),
            agent.check.as_ref().map_or_else(String::new, |check| if check.passed { "passed" } else { "failed" }.to_owned()),
            format!("+{} -{} in {}", size.added, size.removed, size.files),
            agent.commits.to_string(),
            format!("${:.4}", agent.cost_usd),
            format!("{:.1} s", agent.duration_ms as f64 / 1000.0),
        ]
    };
    out::table(&["branch", "state", "check", "changes", "commits", "cost", "time"], &agents.iter().map(row).collect::<Vec<_>>());
    out::note("the order: work that came home, a check that passes, fewer changed lines, lower cost");
    if let Some(best) = agents.first() {
        out::note(&clean(&format!("to take the best: lazaret agents pick {}", best.branch)));
    }
    Ok(0)
}

/// How much it changed in all of its repositories.
fn whole_size(agent: &BranchView) -> ChangeSize {
    let all = std::iter::once(agent.size).chain(agent.also.iter().map(|other| other.size));
    all.flatten().fold(ChangeSize::default(), |one, other| ChangeSize {
        files: one.files.saturating_add(other.files),
        added: one.added.saturating_add(other.added),
        removed: one.removed.saturating_add(other.removed),
    })
}

/// What comes first: work that came home, a check that passes, few changed lines, low cost.
fn rank(agent: &BranchView) -> (bool, u8, u64, u64) {
    let check = agent.check.as_ref().map_or(1, |check| if check.passed { 0 } else { 2 });
    let size = whole_size(agent);
    let lines = size.added.saturating_add(size.removed);
    let is_empty =
        agent.commits + agent.also.iter().map(|other| other.commits).sum::<u64>() == 0 || agent.state != model::BranchState::Done;
    #[expect(clippy::cast_possible_truncation, reason = "a cost is small and not negative")]
    let cost = (agent.cost_usd * 1e6) as u64;
    (is_empty, check, lines, cost)
}

/// The agents that are named; of one name alone, all on the same task.
async fn rivals(client: &Client, on: &args::OnBranches) -> Result<Vec<BranchView>, Failure> {
    let names: Vec<&String> = on.branches.iter().chain(&on.branch_flags).collect();
    if let [one] = names[..] {
        let place = which::place(on.repo.as_deref())?;
        let all = which::all(client, place.as_deref(), None).await?;
        let batch: Vec<BranchView> = all.into_iter().filter(|agent| agent.batch.as_ref() == Some(one)).collect();
        if !batch.is_empty() {
            return Ok(batch);
        }
    }
    which::some(client, on).await
}

/// Merges one of several on the same task, and says what to do with the others.
pub(super) async fn pick(context: &Context, client: &Client, on: &args::OnBranch, into: Option<&str>, yes: bool) -> Done {
    let agent = which::one(client, on).await?;
    let flags = args::Merge {
        expect: None,
        on: args::OnBranches { branches: vec![agent.branch.clone()], branch_flags: Vec::new(), repo: Some(agent.repo.clone().into()) },
        into: into.map(str::to_owned),
        yes,
        queue: false,
        check: None,
        resolve: false,
        wait: false,
    };
    let status = run(context, client, flags).await?;
    if status != 0 || context.json {
        return Ok(status);
    }
    if let Some(batch) = &agent.batch {
        let all = which::all(client, Some(agent.repo.as_ref()), None).await?;
        let others: Vec<String> =
            all.into_iter().filter(|other| other.batch.as_ref() == Some(batch) && other.id != agent.id).map(|other| other.branch).collect();
        if !others.is_empty() {
            out::note(&clean(&format!("to put the others away: lazaret agents clean --archive DIR {}", others.join(" "))));
        }
    }
    Ok(0)
}
