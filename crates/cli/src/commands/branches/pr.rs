//! A pull request for an agent's branch, of one repository, through the GitHub plugin.

use std::path::Path;

use app::{BranchDiff, BranchRepoView, BranchView, PluginView};
use http::Method;
use model::{Code, Failure};
use serde_json::json;

use super::super::sandbox::escaped;
use super::super::{Context, lists, plugin};
use super::share::{git, pushed, still_at};
use super::{path, which};
use crate::args;
use crate::client::Client;
use crate::exit::Done;

/// The tool that opens pull requests.
const TOOL: &str = "github_create_pull";
/// The longest title that is made up here, in characters.
const TITLE_CHARS_MAX: usize = 200;

/// Pushes the branch and opens a pull request for it; both after the user's yes.
pub(super) async fn run(context: &Context, client: &Client, verb: args::Agents) -> Done {
    let args::Agents::Pr { on, title, body, into, remote, github, expect, yes } = verb else { return Ok(0) };
    let place = which::place(on.repo.as_deref())?;
    let (agent, name) = in_one(which::one(client, &on).await?, place.as_deref())?;
    still_at(&agent, expect.as_deref())?;
    if agent.tip.is_some() && agent.commits == 0 {
        return Err(Failure::new(Code::Conflict, format!("the agent on {} committed nothing in {}", agent.branch, agent.repo)));
    }
    let base = into
        .or_else(|| agent.target.clone())
        .ok_or_else(|| Failure::new(Code::Usage, format!("{} was begun at no branch; say --into", agent.branch)).field("--into"))?;
    let repo = match github {
        Some(repo) => repo,
        None => repository(context, &agent, &remote)?,
    };
    let title = match title {
        Some(title) => title,
        None => subject(client, &agent, name.as_deref()).await?,
    };
    // What cannot be opened is not pushed either.
    opens(client).await?;
    if pushed(context, &agent, &remote, yes)?.is_none() {
        return Ok(130);
    }
    let arguments =
        json!({ "repo": repo, "title": title, "body": body.unwrap_or_else(|| agent.task.clone()), "head": agent.branch, "base": base });
    plugin::call_tool(context, client, TOOL, &arguments.to_string(), yes).await
}

/// The agent as it is seen from the repository at this place alone, and what that one is called where it is not the first one.
fn in_one(mut agent: BranchView, place: Option<&Path>) -> Result<(BranchView, Option<String>), Failure> {
    let also = std::mem::take(&mut agent.also);
    let is_at = |repo: &str| place == Some(Path::new(repo));
    if also.is_empty() || is_at(&agent.repo) {
        return Ok((agent, None));
    }
    let Some(other) = also.into_iter().find(|other| is_at(&other.repo)) else {
        let why = format!("{} works on several repositories, and a pull request is of one", agent.branch);
        return Err(Failure::new(Code::Usage, why).hint("say which with --repo DIR, and open one in each").field("--repo"));
    };
    let BranchRepoView { name, repo, base, target, tip, commits, .. } = other;
    Ok((BranchView { repo, base, target, tip, commits, ..agent }, Some(name)))
}

/// The subject of the last commit; the first line of the task where it has none.
async fn subject(client: &Client, agent: &BranchView, name: Option<&str>) -> Result<String, Failure> {
    let first = |text: &str| text.lines().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned);
    let of = name.map(|name| format!("?repo={}", escaped(name))).unwrap_or_default();
    let last = match agent.tip {
        Some(_) => {
            let diff: BranchDiff = client.json(Method::GET, &format!("{}/diff{of}", path(agent)), None).await?;
            diff.commits.first().and_then(|commit| first(&commit.subject))
        }
        None => None,
    };
    let title = last.or_else(|| first(&agent.task)).unwrap_or_else(|| agent.branch.clone());
    Ok(title.chars().take(TITLE_CHARS_MAX).collect())
}

/// Refuses where no plugin opens pull requests.
async fn opens(client: &Client) -> Result<(), Failure> {
    let plugins: Vec<PluginView> = lists::all(client, "/v1/plugins").await?;
    if plugins.iter().flat_map(|plugin| &plugin.tools).any(|tool| tool.name == TOOL) {
        return Ok(());
    }
    Err(Failure::new(Code::UnknownTool, "no plugin here opens pull requests")
        .hint("give the GitHub plugin its token: lazaret secret set plugin.github.token"))
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

    fn agent() -> BranchView {
        serde_json::from_value(json!({
            "id": model::BranchId::from_bits(1), "repo": "/srv/app", "branch": "feat/x", "state": "done", "waiting_for": null, "type": "feature",
            "task": "Add it", "batch": null, "base": "b0", "target": "main", "session": model::SessionId::from_bits(1), "turn": null,
            "outcome": null, "code": null, "engine": "mini", "model": "", "provider": "p", "turns": 1, "tip": "t0", "ref": null,
            "is_home": true, "note": null, "commits": 1, "dirty": 0, "untracked": 0, "size": null, "check": null, "verdict": null,
            "merged_into": null, "cost_usd": 0.0, "duration_ms": 0, "created": 0, "updated": 0,
        }))
        .expect("an agent")
    }

    #[test]
    fn a_pull_request_is_of_the_repository_that_is_asked_about() {
        let other = json!({
            "name": "lib", "repo": "/srv/lib", "base": "b1", "target": "trunk", "tip": "t1", "ref": null, "note": null, "commits": 2,
            "dirty": 0, "untracked": 0, "size": null, "merged_into": null,
        });
        let both = BranchView { also: vec![serde_json::from_value(other).expect("a repository")], ..agent() };
        let seen = |agent: BranchView, place: Option<&str>| {
            in_one(agent, place.map(Path::new)).map(|(seen, name)| (seen.repo, seen.tip, seen.target, seen.also.len(), name)).ok()
        };
        let is = |repo: &str, tip: &str, target: &str, name: Option<&str>| {
            Some((repo.to_owned(), Some(tip.to_owned()), Some(target.to_owned()), 0, name.map(str::to_owned)))
        };
        assert_eq!(seen(agent(), None), is("/srv/app", "t0", "main", None));
        assert_eq!(seen(agent(), Some("/srv/elsewhere")), is("/srv/app", "t0", "main", None));
        assert_eq!(seen(both.clone(), Some("/srv/app")), is("/srv/app", "t0", "main", None));
        assert_eq!(seen(both.clone(), Some("/srv/lib")), is("/srv/lib", "t1", "trunk", Some("lib")));
        assert_eq!(seen(both.clone(), None), None);
        assert_eq!(seen(both, Some("/srv/elsewhere")), None);
    }
}
