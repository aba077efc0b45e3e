//! `run -it`, `shell` and `attach`: programs of sessions on this terminal.

use app::{SessionForm, SessionView, TerminalForm};
use http::Method;
use model::Failure;
use serde_json::{Value, json};

use super::begin::Desk;
use super::repo::put_clones;
use super::run::Work;
use super::sit::{Leave, Left, check_terminal, here, sit};
use super::{Context, branches, sandbox, text};
use crate::args;
use crate::client::Client;
use crate::config::Config;
use crate::exit::Done;
use crate::home::Home;
use crate::out;

/// `run -it`.
pub(super) async fn run(context: &Context, flags: args::Run) -> Done {
    check_terminal()?;
    let leave = Leave::of(flags.detach_keys.as_deref())?;
    let prompt = flags.prompt.as_deref().map(text::prompt).transpose()?;
    let home = Home::open(&context.env.home)?;
    let config = Config::load(home.path())?;
    let client = Client::new(&home, context.may_start);
    let desk = Desk { context, home: &home, config: &config, client: &client };
    let work = Work { desk, flags: &flags };
    let (session, _ticket) = work.session().await?;
    let form = TerminalForm { size: here(false, false).size, prompt, attended: true, ..TerminalForm::default() };
    let left = open(&client, session.id.as_str(), &form, &leave).await;
    let path = format!("/v1/sessions/{}", session.id);
    match left {
        Ok(Left::Away) => {
            say_away(session.id.as_str());
            Ok(0)
        }
        Ok(left) => {
            work.afterwards(&path, true).await?;
            if !flags.no_keep {
                say_over(&session);
            }
            Ok(left.status())
        }
        Err(failure) => {
            if failure.code != model::Code::DaemonMissing {
                work.afterwards(&path, false).await?;
            }
            Err(failure)
        }
    }
}

/// `shell` on a terminal: a program in a session, by default one that is gone afterwards.
pub(super) async fn shell(context: &Context, flags: args::Shell) -> Done {
    check_terminal()?;
    let leave = Leave::of(flags.detach_keys.as_deref())?;
    let home = Home::open(&context.env.home)?;
    let client = Client::new(&home, context.may_start);
    let argv = if flags.command.is_empty() { vec!["bash".to_owned()] } else { flags.command.clone() };
    let form = TerminalForm { argv, size: here(false, false).size, attended: true, ..TerminalForm::default() };
    let known = match (&flags.session, &flags.agent) {
        (Some(session), _) => Some(sandbox::plain(session)?.to_owned()),
        (None, Some(branch)) => Some(branches::session_of(&client, branch, None).await?),
        (None, None) => None,
    };
    if let Some(session) = known {
        let left = open(&client, &session, &form, &leave).await?;
        if left == Left::Away {
            say_away(&session);
        }
        return Ok(left.status());
    }
    let config = Config::load(home.path())?;
    let desk = Desk { context, home: &home, config: &config, client: &client };
    let begin = args::Begin::of_shell(&flags);
    let (form_of_session, fds) = desk.form(&begin)?;
    let form_of_session = SessionForm { workdir: Some("/workspace".to_owned()), title: Some("shell".to_owned()), ..form_of_session };
    let (session, _ticket) = desk.make(&form_of_session, &fds).await?;
    let path = format!("/v1/sessions/{}", session.id);
    let worked = async {
        put_clones(context, &client, &home, &flags.repo, &format!("{path}/files?path=")).await?;
        open(&client, session.id.as_str(), &form, &leave).await
    };
    let left = worked.await;
    if matches!(left, Ok(Left::Away)) {
        say_away(session.id.as_str());
        return Ok(0);
    }
    let is_lost = matches!(&left, Err(failure) if failure.code == model::Code::DaemonMissing);
    if !flags.keep && !is_lost {
        client.json::<Value>(Method::DELETE, &path, None).await?;
    } else if flags.keep {
        say_over(&session);
    }
    Ok(left?.status())
}

/// `attach`.
pub(super) async fn attach(context: &Context, flags: &args::Attach) -> Done {
    check_terminal()?;
    let leave = Leave::of(flags.detach_keys.as_deref())?;
    let client = context.client()?;
    let session = match flags.what.starts_with("ses_") {
        true => sandbox::plain(&flags.what)?.to_owned(),
        false => branches::session_of(&client, &flags.what, flags.repo.as_deref()).await?,
    };
    let left = sit(&client, &session, &here(flags.watch, flags.take), &leave).await?;
    if left == Left::Away {
        say_away(&session);
    }
    Ok(left.status())
}

/// Opens a terminal and sits down before it.
async fn open(client: &Client, session: &str, form: &TerminalForm, leave: &Leave) -> Result<Left, Failure> {
    client.json::<Value>(Method::POST, &format!("/v1/sessions/{session}/terminal"), Some(&json!(form))).await?;
    sit(client, session, &here(false, false), leave).await
}

fn say_away(session: &str) {
    out::note(&format!("\nit goes on in {session}; come back with: lazaret attach {session}"));
}

/// How to go on.
fn say_over(session: &SessionView) {
    out::note(&format!("session {0}; go on with: lazaret run -it --resume {0}", session.id));
}
