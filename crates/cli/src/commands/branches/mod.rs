//! `lazaret agents`: agents that work on branches.

mod clean;
mod list;
mod merge;
mod open;
mod pr;
mod queue;
mod read;
pub(super) mod repo;
mod review;
mod share;
pub(super) mod spawn;
mod take;
mod wait;
mod which;

pub(super) use merge::confirmed;
pub(super) use queue::through;

use app::{BranchView, ResumeForm};
use http::Method;
use model::{Code, Failure};
use serde_json::json;

use super::agent::AGENT_VERBS;
use super::{Context, text};
use crate::args;
use crate::exit::{Done, clean as plain};
use crate::out;

/// Its verbs.
pub(super) const VERBS: &[&str] = &[
    "list", "spawn", "status", "summary", "logs", "follow", "wait", "stop", "resume", "diff", "review", "check", "preview", "merge",
    "queue", "compare", "pick", "take", "push", "pr", "worktree", "clean", "fetch", "open",
];

pub(super) async fn run(context: &Context, verb: args::Agents) -> Done {
    if let args::Agents::Other(words) = &verb {
        return Err(not_a_verb(words.first().map_or("", String::as_str)));
    }
    let client = context.client()?;
    match verb {
        args::Agents::List { repo, all } => list::run(context, &client, repo.as_deref(), all).await?,
        args::Agents::Spawn(flags) => return spawn::run(context, *flags).await,
        args::Agents::Status(on) => {
            let agent = which::one(&client, &on).await?;
            if context.json { out::json(&agent)? } else { list::show(&agent) }
        }
        args::Agents::Summary(on) => read::summary(context, &client, &which::one(&client, &on).await?).await?,
        args::Agents::Logs { on, follow } => {
            let agent = which::one(&client, &on).await?;
            read::logs(context, &client, &agent, follow).await?;
        }
        args::Agents::Follow(on) => {
            let agent = which::one(&client, &on).await?;
            read::logs(context, &client, &agent, true).await?;
        }
        args::Agents::Wait { on, timeout } => return wait::run(context, &client, &on, timeout.as_deref()).await,
        args::Agents::Stop(on) => {
            for agent in which::some(&client, &on).await? {
                let stopped: BranchView = client.json(Method::POST, &format!("{}/stop", path(&agent)), None).await?;
                if context.json {
                    out::json(&stopped)?;
                } else {
                    out::line(&plain(&list::sentence(&stopped)));
                }
            }
        }
        args::Agents::Resume { on, task, wait } => {
            let agent = which::one(&client, &on).await?;
            let text = task.as_deref().map(text::prompt).transpose()?;
            return resume(context, &client, &agent, text, wait).await;
        }
        args::Agents::Diff { on, file, stat } => {
            let agent = which::one(&client, &on).await?;
            read::diff(context, &client, &agent, file.as_deref(), stat).await?;
        }
        args::Agents::Review(flags) => return review::run(context, &client, *flags).await,
        args::Agents::Check { on, command } => return review::check(context, &client, &on, command.as_deref()).await,
        args::Agents::Preview { on, into } => return merge::preview(context, &client, &on, into.as_deref()).await,
        args::Agents::Merge(flags) => return merge::run(context, &client, *flags).await,
        args::Agents::Queue { .. } => return queue::run(context, &client, verb).await,
        args::Agents::Compare { on, check } => return merge::compare(context, &client, &on, check.as_deref()).await,
        args::Agents::Pick { on, into, yes } => return merge::pick(context, &client, &on, into.as_deref(), yes).await,
        args::Agents::Take(flags) => return take::run(context, &client, *flags).await,
        args::Agents::Push { on, remote, expect, yes } => {
            let agent = share::at(&client, &on, expect.as_deref()).await?;
            return share::push(context, &agent, &remote, yes);
        }
        args::Agents::Pr { .. } => return pr::run(context, &client, verb).await,
        args::Agents::Worktree { on, at, detach } => {
            let agent = which::one(&client, &on).await?;
            return share::worktree(context, &client, &agent, &at, detach).await;
        }
        args::Agents::Clean { .. } => return clean::run(context, &client, verb).await,
        args::Agents::Open { on, port, print, outside } => open::run(context, &client, &on, port, print, outside).await?,
        args::Agents::Fetch(on) => {
            let agent = which::one(&client, &on).await?;
            let agent: BranchView = client.json(Method::POST, &format!("{}/fetch", path(&agent)), None).await?;
            if context.json { out::json(&agent)? } else { list::show(&agent) }
        }
        args::Agents::Other(_) => {}
    }
    Ok(0)
}

/// The session of the agent on a branch.
pub(super) async fn session_of(client: &crate::client::Client, branch: &str, repo: Option<&std::path::Path>) -> Result<String, Failure> {
    let on = args::OnBranch { branch: Some(branch.to_owned()), branch_flag: None, repo: repo.map(std::path::Path::to_owned) };
    Ok(which::one(client, &on).await?.session.to_string())
}

/// Where an agent is in the API.
fn path(agent: &BranchView) -> String {
    format!("/v1/branches/{}", agent.id)
}

/// A further turn, and the waiting for it.
async fn resume(context: &Context, client: &crate::client::Client, agent: &BranchView, text: Option<String>, may_wait: bool) -> Done {
    #[derive(serde::Deserialize, serde::Serialize)]
    struct Asked {
        agent: BranchView,
        turn: model::TurnId,
    }
    let form = ResumeForm { text };
    let asked: Asked = client.json(Method::POST, &format!("{}/messages", path(agent)), Some(&json!(form))).await?;
    if may_wait {
        return wait::watch(context, client, &asked.agent, Some(asked.turn)).await;
    }
    if context.json {
        out::json(&asked)?;
    } else {
        out::line(&plain(&list::sentence(&asked.agent)));
    }
    Ok(0)
}

fn not_a_verb(verb: &str) -> Failure {
    let failure = Failure::new(Code::Usage, format!("`{}` is not a verb of `lazaret agents`", verb.escape_debug()));
    if AGENT_VERBS.contains(&verb) {
        return failure.hint(format!("`lazaret agent {verb}` is for the agents that sessions are with"));
    }
    failure.hint(format!("its verbs are {}", VERBS.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wrong_word_names_the_right_one() {
        let hint = |verb: &str| not_a_verb(verb).hint.unwrap_or_default();
        assert!(hint("add").contains("lazaret agent add"));
        assert!(hint("frobnicate").contains("merge"));
    }
}
