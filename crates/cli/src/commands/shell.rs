//! `lazaret shell`: a terminal in a session; with pipes in place of a terminal, a command in a new sandbox, which is gone afterwards.

use std::io::IsTerminal;

use app::ExecForm;
use http::Method;
use serde_json::Value;

use super::repo::put_clones;
use super::{Context, sandbox, terminal};
use crate::args;
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
    let home = Home::open(&context.env.home)?;
    let made = sandbox::create(context, &places, &flags.limits).await?;
    let client = context.client()?;
    let at = format!("/v1/sandboxes/{}", made.id);
    if let Err(failure) = put_clones(context, &client, &home, &flags.repo, &format!("{at}/files?path=")).await {
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
