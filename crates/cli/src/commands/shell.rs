//! `lazaret shell`: a terminal in a new sandbox, which is gone afterwards.

use std::io::IsTerminal;

use app::ExecForm;
use http::Method;
use serde_json::Value;

use super::{Context, sandbox, terminal};
use crate::args;
use crate::exit::Done;
use crate::{out, places};

pub(super) async fn run(context: &Context, flags: args::Shell) -> Done {
    let env = places::pairs(&flags.places.env)?;
    let mut places = flags.places.clone();
    places.env.clear();
    let made = sandbox::create(context, &places, &flags.limits).await?;
    let tty = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    if tty && !context.json {
        out::note(&format!("{}: {}", made.id, made.level.summary()));
    }
    let argv = if flags.command.is_empty() { vec!["bash".to_owned()] } else { flags.command };
    let client = context.client()?;
    let form = ExecForm { argv, env, cwd: "/workspace".to_owned(), tty: None };
    let done = terminal::attach(&client, made.id.as_str(), form, tty).await;
    let removed = client.json::<Value>(Method::DELETE, &format!("/v1/sandboxes/{}", made.id), None).await;
    let status = done?;
    removed?;
    Ok(status)
}
