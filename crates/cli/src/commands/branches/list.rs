//! How agents are listed and shown.

use std::path::Path;

use app::BranchView;
use model::Failure;

use super::super::Context;
use super::which;
use crate::client::Client;
use crate::exit::clean;
use crate::out;

/// How much of a task is shown in a list.
const TASK_CHARS: usize = 40;
/// Hexadecimal digits of a commit that people see.
const COMMIT_DIGITS: usize = 10;

pub(super) async fn run(context: &Context, client: &Client, repo: Option<&Path>, all: bool) -> Result<(), Failure> {
    let place = if all { None } else { which::place(repo)? };
    let agents = which::all(client, place.as_deref(), None).await?;
    if context.json {
        return agents.iter().try_for_each(out::json);
    }
    let rows: Vec<Vec<String>> = agents.iter().map(row).collect();
    out::table(&["branch", "state", "type", "commits", "open", "check", "cost", "last", "task"], &rows);
    Ok(())
}

fn row(agent: &BranchView) -> Vec<String> {
    let open = agent.dirty + agent.untracked + agent.also.iter().map(|other| other.dirty + other.untracked).sum::<u64>();
    let commits = agent.commits + agent.also.iter().map(|other| other.commits).sum::<u64>();
    let task: String = agent.task.split_whitespace().collect::<Vec<_>>().join(" ");
    vec![
        agent.branch.clone(),
        state(agent),
        agent.kind.clone(),
        commits.to_string(),
        if open == 0 { String::new() } else { open.to_string() },
        agent.check.as_ref().map_or_else(String::new, |check| if check.passed { "passed" } else { "failed" }.to_owned()),
        format!("${:.4}", agent.cost_usd),
        out::ago(agent.updated),
        out::cut(&task, TASK_CHARS),
    ]
}

/// The word for where it stands, and whether it is merged.
fn state(agent: &BranchView) -> String {
    match &agent.merged_into {
        Some(_) if agent.state.is_over() => "merged".to_owned(),
        _ => agent.state.as_str().to_owned(),
    }
}

/// A line that says where it stands.
pub(super) fn sentence(agent: &BranchView) -> String {
    let mut text = format!("{}: {}", agent.branch, state(agent));
    if let Some(what) = &agent.waiting_for {
        text.push_str(&format!(", waits for {what}"));
    }
    let many = |n: u64, one: &str, many: &str| format!("{n} {}", if n == 1 { one } else { many });
    if agent.state.is_over() || agent.commits > 0 {
        text.push_str(&format!(", {}", many(agent.commits, "commit", "commits")));
    }
    if agent.dirty > 0 {
        text.push_str(&format!(", {} changed and not committed", many(agent.dirty, "file", "files")));
    }
    if agent.untracked > 0 {
        text.push_str(&format!(", {} unknown to git", many(agent.untracked, "file", "files")));
    }
    for other in agent.also.iter().filter(|other| other.commits + other.dirty + other.untracked > 0) {
        text.push_str(&format!("; in {} {}", other.name, many(other.commits, "commit", "commits")));
        if other.dirty + other.untracked > 0 {
            text.push_str(&format!(" and {} not committed", many(other.dirty + other.untracked, "file", "files")));
        }
    }
    text
}

/// Everything about one.
pub(super) fn show(agent: &BranchView) {
    out::line(&clean(&sentence(agent)));
    let short = |id: &String| id.chars().take(COMMIT_DIGITS).collect::<String>();
    let check = agent.check.as_ref().map(|check| {
        let how = if check.passed { "passed" } else { "failed" };
        format!("{how}: {}", check.command)
    });
    let lines = [
        ("repository", agent.repo.clone()),
        ("task", agent.task.clone()),
        ("type", agent.kind.clone()),
        ("engine", format!("{} {}", agent.engine, agent.model).trim_end().to_owned()),
        ("from", format!("{} {}", short(&agent.base), agent.target.clone().unwrap_or_default()).trim_end().to_owned()),
        ("at", format!("{} {}", agent.tip.as_ref().map(short).unwrap_or_default(), agent.reference.clone().unwrap_or_default())),
        ("note", agent.note.clone().unwrap_or_default()),
        ("error", agent.code.map(|code| code.to_string()).unwrap_or_default()),
        ("changes", agent.size.map(|s| format!("{} files, +{} -{}", s.files, s.added, s.removed)).unwrap_or_default()),
        ("check", check.unwrap_or_default()),
        ("verdict", agent.verdict.as_ref().map(|v| v.verdict.clone()).unwrap_or_default()),
        ("merged", agent.merged_into.as_ref().map(|into| format!("into {into}")).unwrap_or_default()),
        ("cost", format!("${:.4}, {:.1} s", agent.cost_usd, agent.duration_ms as f64 / 1000.0)),
        ("session", agent.session.to_string()),
    ];
    for (name, value) in lines.iter().filter(|(_, value)| !value.trim().is_empty()) {
        out::line(&format!("{name:<12} {}", clean(value)));
    }
    for other in &agent.also {
        let (tip, at) = (other.tip.as_ref().map(short).unwrap_or_default(), other.reference.clone().unwrap_or_default());
        let parts = [format!("{}: {}", other.name, other.repo), format!("{tip} {at}"), other.note.clone().unwrap_or_default()];
        let text = parts.iter().map(|part| part.trim()).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ");
        out::line(&format!("{:<12} {}", "beside", clean(&text)));
    }
}
