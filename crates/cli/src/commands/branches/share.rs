//! Taking an agent's branch to others: with the user's own git.

use std::path::Path;
use std::process::Command;

use app::BranchView;
use model::{Code, Failure};
use serde_json::json;

use super::super::Context;
use super::merge::confirmed;
use super::which;
use crate::args;
use crate::client::Client;
use crate::exit::{Done, clean};
use crate::out;

/// The agent, whose branch is at the commit that was looked at, where one is named: what it commits after that is not pushed unseen.
pub(super) async fn at(client: &Client, on: &args::OnBranch, expect: Option<&str>) -> Result<BranchView, Failure> {
    let agent = which::one(client, on).await?;
    still_at(&agent, expect)?;
    Ok(agent)
}

/// Refuses a branch that is no longer at the commit that was looked at.
pub(super) fn still_at(agent: &BranchView, expect: Option<&str>) -> Result<(), Failure> {
    match expect.and_then(|seen| agent.elsewhere(seen)) {
        Some(why) => Err(Failure::new(Code::Conflict, why).field("--expect").hint("look at it again: lazaret agents diff")),
        None => Ok(()),
    }
}

/// Pushes with the user's own git, in the user's own repository and surroundings: the daemon holds no credential of a remote.
pub(super) fn push(context: &Context, agent: &BranchView, remote: &str, yes: bool) -> Done {
    let Some(tip) = pushed(context, agent, remote, yes)? else { return Ok(130) };
    if context.json {
        out::json(&json!({ "branch": agent.branch, "remote": remote, "commit": tip }))?;
    } else {
        out::line(&clean(&format!("{} is pushed to {remote}", agent.branch)));
    }
    for other in &agent.also {
        // The yes was to all of them; those in which nothing was done are as they were.
        let Some(tip) = other.tip.as_ref().filter(|_| other.commits > 0) else { continue };
        pushed_from(context, &other.repo, &agent.branch, tip, remote)?;
        if context.json {
            out::json(&json!({ "branch": agent.branch, "repo": other.name, "remote": remote, "commit": tip }))?;
        } else {
            out::line(&clean(&format!("{} of {} is pushed to {remote}", agent.branch, other.name)));
        }
    }
    Ok(0)
}

/// The commit that was pushed; `None` when the user said no. By its name, so that nothing else goes along.
pub(super) fn pushed(context: &Context, agent: &BranchView, remote: &str, yes: bool) -> Result<Option<String>, Failure> {
    let Some(tip) = &agent.tip else {
        return Err(Failure::new(Code::Conflict, "nothing of this agent came home yet").hint("see: lazaret agents status"));
    };
    if remote.is_empty() || remote.starts_with('-') {
        return Err(Failure::new(Code::Usage, "--remote: this is no name of a remote").field("--remote"));
    }
    let others: Vec<&str> = agent.also.iter().filter(|other| other.commits > 0).map(|other| other.name.as_str()).collect();
    let also = if others.is_empty() { String::new() } else { format!(", and in {}", others.join(", ")) };
    if !yes && !confirmed(&format!("push {} to {remote}{also}?", agent.branch))? {
        return Ok(None);
    }
    pushed_from(context, &agent.repo, &agent.branch, tip, remote)?;
    Ok(Some(tip.clone()))
}

/// Pushes one commit from one repository.
fn pushed_from(context: &Context, repo: &str, branch: &str, tip: &str, remote: &str) -> Result<(), Failure> {
    let target = format!("{tip}:refs/heads/{branch}");
    let status = git(context, repo).args(["push", "--quiet", "--", remote, &target]).status();
    let status = status.map_err(|e| Failure::new(Code::PathUnusable, format!("git cannot be run: {e}")))?;
    if status.success() { Ok(()) } else { Err(Failure::new(Code::Conflict, format!("git did not push {branch} of {repo} to {remote}"))) }
}

/// The user's git in the user's repository.
pub(super) fn git(context: &Context, repo: &str) -> Command {
    let mut git = Command::new("git");
    git.env("PATH", &context.env.path).arg("-C").arg(repo);
    git
}

/// Makes a working tree at a place below a directory that is opened with the caller's own rights.
pub(super) async fn worktree(context: &Context, client: &Client, agent: &BranchView, at: &Path, detach: bool) -> Done {
    let unusable = |why: String| Failure::new(Code::PathUnusable, format!("{} cannot be used: {why}", at.display())).field("--at");
    let name = at.file_name().ok_or_else(|| unusable("it names no directory".to_owned()))?;
    let above = at.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let above = std::fs::canonicalize(above).map_err(|e| unusable(e.to_string()))?;
    let ticket = client.hand_over(&[super::repo::open(&above)?]).await?;
    let body = json!({ "path": above.join(name), "detach": detach, "ticket": ticket.name });
    let made: app::WorktreeView = client.json(http::Method::POST, &format!("/v1/branches/{}/worktree", agent.id), Some(&body)).await?;
    if context.json {
        out::json(&made)?;
    } else {
        let what = made.branch.as_deref().unwrap_or(&made.commit);
        out::line(&clean(&format!("{what} is checked out in {}", made.path.display())));
    }
    Ok(0)
}
