//! Putting agents away.

use std::path::Path;

use app::{BranchView, CleanForm, CleanView, PolicyForm};
use http::Method;
use model::{Code, Failure};
use serde_json::json;

use super::super::{Context, sandbox};
use super::{path, which};
use crate::args;
use crate::client::Client;
use crate::exit::{Done, clean as plain};
use crate::out;

pub(super) async fn run(context: &Context, client: &Client, verb: args::Agents) -> Done {
    let args::Agents::Clean { on, merged, policy, archive, force, delete_branch, dry_run } = verb else { return Ok(0) };
    if policy {
        return by_policy(context, client, dry_run).await;
    }
    let agents = if merged {
        let place = which::place(on.repo.as_deref())?;
        let all = which::all(client, place.as_deref(), None).await?;
        all.into_iter().filter(|agent| agent.merged_into.is_some() && agent.state.is_over()).collect()
    } else {
        which::some(client, &on).await?
    };
    let mut refused = None;
    for agent in &agents {
        let look = CleanForm { force, delete_branch, dry_run: true };
        let seen = ask(client, agent, &look).await?;
        if dry_run {
            show(context, &seen)?;
            continue;
        }
        let mut form = CleanForm { force, delete_branch, dry_run: false };
        if let (Some(dir), false) = (&archive, seen.loses.is_empty()) {
            keep(context, client, agent, dir).await?;
            form.force = true;
        }
        match ask(client, agent, &form).await {
            Ok(done) => show(context, &done)?,
            Err(failure) if failure.code == Code::WorkUnsaved && agents.len() > 1 => {
                out::note(&plain(&format!("{}: {}", agent.branch, failure.message)));
                refused = Some(failure);
            }
            Err(failure) => return Err(failure),
        }
    }
    refused.map_or(Ok(0), Err)
}

/// A round of the daemon's own, now.
async fn by_policy(context: &Context, client: &Client, dry_run: bool) -> Done {
    #[derive(serde::Deserialize)]
    struct Items {
        items: Vec<CleanView>,
    }
    let form = PolicyForm { dry_run };
    let seen: Items = client.json(Method::POST, "/v1/branches/put-away", Some(&json!(form))).await?;
    seen.items.iter().try_for_each(|one| show(context, one))?;
    Ok(0)
}

async fn ask(client: &Client, agent: &BranchView, form: &CleanForm) -> Result<CleanView, Failure> {
    client.json(Method::POST, &format!("{}/clean", path(agent)), Some(&json!(form))).await
}

fn show(context: &Context, seen: &CleanView) -> Result<(), Failure> {
    if context.json {
        return out::json(seen);
    }
    let size = seen.bytes.map(|bytes| format!(", {}", out::bytes(bytes))).unwrap_or_default();
    let what = if seen.done { "put away" } else { "would be put away" };
    let loses = if seen.loses.is_empty() { String::new() } else { format!("; it loses {}", seen.loses.join(", ")) };
    out::line(&plain(&format!("{}: {what}{size}{loses}", seen.branch)));
    Ok(())
}

/// The files of the clone, with everything that is not committed, in a directory of the user's.
async fn keep(context: &Context, client: &Client, agent: &BranchView, dir: &Path) -> Result<(), Failure> {
    let into = dir.join(agent.branch.replace('/', "-"));
    if into.exists() {
        return Err(Failure::new(Code::PathUnusable, format!("{} is there already", into.display())).field("--archive"));
    }
    std::fs::create_dir_all(dir)
        .map_err(|e| Failure::new(Code::PathUnusable, format!("{} cannot be made: {e}", dir.display())).field("--archive"))?;
    sandbox::download(client, &format!("/v1/sessions/{}/files?path=/workspace", agent.session), &into, 1).await?;
    for other in &agent.also {
        let into = dir.join(format!("{}.{}", agent.branch.replace('/', "-"), other.name));
        let asked = format!("/v1/sessions/{}/files?path={}/{}", agent.session, app::BESIDE_DIR, sandbox::escaped(&other.name));
        sandbox::download(client, &asked, &into, 1).await?;
    }
    if !context.json {
        out::note(&plain(&format!("the files of {} are in {}", agent.branch, into.display())));
    }
    Ok(())
}
