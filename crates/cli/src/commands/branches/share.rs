//! Taking an agent's branch to others: with the user's own git, and a pull request through the GitHub plugin.

use std::path::Path;
use std::process::Command;

use app::BranchView;
use model::{Code, Failure};
use serde_json::json;

use super::super::{Context, plugin};
use super::merge::confirmed;
use super::which;
use crate::args;
use crate::client::Client;
use crate::exit::{Done, clean};
use crate::out;

/// The tool that opens pull requests.
const TOOL: &str = "github_create_pull";
/// The longest title, in characters.
const TITLE_CHARS_MAX: usize = 200;

/// The agent, whose branch is at the commit that was looked at, where one is named: what it commits after that is not pushed unseen.
pub(super) async fn at(client: &Client, on: &args::OnBranch, expect: Option<&str>) -> Result<BranchView, Failure> {
    let agent = which::one(client, on).await?;
    match expect {
        Some(seen) if agent.tip.as_deref() != Some(seen) => {
            let now = agent.tip.as_deref().unwrap_or("no commit");
            Err(Failure::new(Code::Conflict, format!("{} is at {now} and no longer at {seen}", agent.branch))
                .field("--expect")
                .hint("look at it again: lazaret agents diff"))
        }
        _ => Ok(agent),
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
fn pushed(context: &Context, agent: &BranchView, remote: &str, yes: bool) -> Result<Option<String>, Failure> {
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
fn git(context: &Context, repo: &str) -> Command {
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

/// Pushes the branch and opens a pull request for it; both after the user's yes.
pub(super) async fn pr(context: &Context, client: &Client, verb: args::Agents) -> Done {
    let args::Agents::Pr { on, title, body, into, remote, github, expect, yes } = verb else { return Ok(0) };
    let agent = at(client, &on, expect.as_deref()).await?;
    if !agent.also.is_empty() {
        return Err(Failure::new(Code::Usage, format!("{} works on several repositories, and a pull request is of one", agent.branch))
            .hint("push it, lazaret agents push, and open one in each"));
    }
    let base = into
        .or_else(|| agent.target.clone())
        .ok_or_else(|| Failure::new(Code::Usage, format!("{} was begun at no branch; say --into", agent.branch)).field("--into"))?;
    let repo = match github {
        Some(repo) => repo,
        None => repository(context, &agent, &remote)?,
    };
    if pushed(context, &agent, &remote, yes)?.is_none() {
        return Ok(130);
    }
    let first = |text: &str| text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().chars().take(TITLE_CHARS_MAX).collect();
    let title: String = title.unwrap_or_else(|| first(&agent.task));
    let arguments =
        json!({ "repo": repo, "title": title, "body": body.unwrap_or_else(|| agent.task.clone()), "head": agent.branch, "base": base });
    plugin::call_tool(context, client, TOOL, &arguments.to_string(), yes).await
}

/// `OWNER/NAME` of a remote at GitHub.
fn repository(context: &Context, agent: &BranchView, remote: &str) -> Result<String, Failure> {
    let unknown =
        || Failure::new(Code::Usage, format!("the remote {remote} is none at GitHub")).hint("say --github OWNER/NAME").field("--github");
    let said = git(context, &agent.repo).args(["remote", "get-url", "--", remote]).output().map_err(|_| unknown())?;
    named(String::from_utf8_lossy(&said.stdout).trim()).ok_or_else(unknown)
}

fn named(url: &str) -> Option<String> {
    let rest = ["https://github.com/", "git@github.com:", "ssh://git@github.com/"].into_iter().find_map(|start| url.strip_prefix(start))?;
    let name = rest.trim_end_matches('/').trim_end_matches(".git");
    let (owner, repo) = name.split_once('/')?;
    let plain = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    (plain(owner) && plain(repo)).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_at_github_name_a_repository() {
        for url in ["https://github.com/o/n.git", "git@github.com:o/n.git", "ssh://git@github.com/o/n", "https://github.com/o/n/"] {
            assert_eq!(named(url).as_deref(), Some("o/n"), "{url}");
        }
        for url in ["", "/srv/repo", "https://example.org/o/n", "https://github.com/o", "https://github.com/o/n/x"] {
            assert_eq!(named(url), None, "{url}");
        }
    }
}
