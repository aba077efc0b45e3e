//! Which agents flags name.

use std::path::Path;

use app::BranchView;
use model::{Code, Failure};

use super::super::lists;
use super::super::sandbox::escaped;
use super::repo;
use crate::args;
use crate::client::Client;

/// Agents that one command looks at.
pub(super) const AGENTS_MAX: usize = 10_000;

/// The agents of a repository, or of all; of one branch, or of all.
pub(super) async fn all(client: &Client, repo: Option<&Path>, branch: Option<&str>) -> Result<Vec<BranchView>, Failure> {
    let mut query: Vec<String> = Vec::new();
    if let Some(repo) = repo {
        let text = repo.to_str().ok_or_else(|| Failure::new(Code::PathUnusable, "the repository's path is not UTF-8").field("--repo"))?;
        query.push(format!("repo={}", escaped(text)));
    }
    if let Some(branch) = branch {
        query.push(format!("branch={}", escaped(branch)));
    }
    let mark = if query.is_empty() { "" } else { "?" };
    lists::list(client, &format!("/v1/branches{mark}{}", query.join("&")), AGENTS_MAX).await
}

/// The repository that is meant: the one named, else the one around the current directory, if there is one.
pub(super) fn place(named: Option<&Path>) -> Result<Option<std::path::PathBuf>, Failure> {
    match named {
        Some(dir) => repo::needed(Some(dir)).map(Some),
        None => repo::top(Path::new(".")),
    }
}

/// The one agent that flags name.
pub(super) async fn one(client: &Client, on: &args::OnBranch) -> Result<BranchView, Failure> {
    let branch = on.branch.as_deref().or(on.branch_flag.as_deref()).unwrap_or_default();
    named(client, on.repo.as_deref(), branch).await
}

/// The agent on a branch.
async fn named(client: &Client, repo: Option<&Path>, branch: &str) -> Result<BranchView, Failure> {
    if let Some(place) = place(repo)? {
        let mut found = all(client, Some(&place), Some(branch)).await?;
        if let Some(agent) = found.pop() {
            return Ok(agent);
        }
        if repo.is_some() {
            return Err(missing(branch));
        }
    }
    let mut found = all(client, None, Some(branch)).await?;
    match found.len() {
        0 => Err(missing(branch)),
        1 => found.pop().ok_or_else(|| missing(branch)),
        n => {
            let places: Vec<String> = found.iter().map(|agent| agent.repo.clone()).collect();
            Err(Failure::new(Code::Usage, format!("{n} repositories have an agent on `{}`: {}", branch.escape_debug(), places.join(", ")))
                .hint("say which with --repo DIR"))
        }
    }
}

fn missing(branch: &str) -> Failure {
    Failure::new(Code::NotFound, format!("there is no agent on the branch `{}`", branch.escape_debug()))
        .hint("see: lazaret agents list --all")
        .field("--branch")
}

/// The agents that flags name, in their order.
pub(super) async fn some(client: &Client, on: &args::OnBranches) -> Result<Vec<BranchView>, Failure> {
    let names: Vec<&String> = on.branches.iter().chain(&on.branch_flags).collect();
    if names.is_empty() {
        return Err(Failure::new(Code::Usage, "no branch is named").hint("name one or several, as `lazaret agents list` shows them"));
    }
    let mut agents: Vec<BranchView> = Vec::new();
    for name in names {
        let agent = named(client, on.repo.as_deref(), name).await?;
        if !agents.iter().any(|known| known.id == agent.id) {
            agents.push(agent);
        }
    }
    Ok(agents)
}
