//! `lazaret shell`: a terminal in a session; with pipes in place of a terminal, a command in a new sandbox, which is gone afterwards.

use std::io::IsTerminal;

use app::ExecForm;
use http::Method;
use model::Failure;
use serde_json::Value;

use super::repo::Clone;
use super::{Context, sandbox, terminal};
use crate::args;
use crate::client::Client;
use crate::exit::Done;
use crate::home::Home;
use crate::places;

pub(super) async fn run(context: &Context, flags: args::Shell) -> Done {
    let is_terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    if is_terminal || flags.session.is_some() || flags.agent.is_some() {
        return super::interactive::shell(context, flags).await;
    }
    let env = places::pairs(&flags.places.env)?;
    let mut places = flags.places.clone();
    places.env.clear();
    let made = sandbox::create(context, &places, &flags.limits).await?;
    let client = context.client()?;
    let at = format!("/v1/sandboxes/{}", made.id);
    if let Some(repo) = &flags.repo
        && let Err(failure) = clone_into(context, &client, repo, &at).await
    {
        let _ = client.json::<Value>(Method::DELETE, &at, None).await;
        return Err(failure);
    }
    let argv = if flags.command.is_empty() { vec!["bash".to_owned()] } else { flags.command };
    let form = ExecForm { argv, env, cwd: "/workspace".to_owned(), tty: None };
    let done = terminal::attach(&client, made.id.as_str(), form, false).await;
    let removed = client.json::<Value>(Method::DELETE, &at, None).await;
    let status = done?;
    removed?;
    Ok(status)
}

/// A clone of a repository as /workspace: what happens to it there stays there.
async fn clone_into(context: &Context, client: &Client, repo: &std::path::Path, at: &str) -> Result<(), Failure> {
    let clone = Clone::of(repo, &Home::open(&context.env.home)?, &context.env.path)?;
    sandbox::upload_content(client, &format!("{at}/files?path=/workspace"), &clone.dir).await
}
