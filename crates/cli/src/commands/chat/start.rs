//! How a conversation starts and ends.

use std::io::IsTerminal;

use tokio::signal::unix::{SignalKind, signal};

use super::conversation::Conversation;
use super::{plain, terminal};
use crate::args;
use crate::client::{Client, internal};
use crate::commands::Context;
use crate::commands::begin::Desk;
use crate::commands::screen::Form;
use crate::config::Config;
use crate::exit::Done;
use crate::home::Home;

/// `lazaret chat`.
pub(in crate::commands) async fn run(context: &Context, flags: args::Chat) -> Done {
    if flags.channel {
        return super::channel::run(context, &flags).await;
    }
    let home = Home::open(&context.env.home)?;
    let config = Config::load(home.path())?;
    let client = Client::new(&home, context.may_start);
    let desk = Desk { context, home: &home, config: &config, client: &client };
    let is_terminal = !context.json && std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let form = if context.json { Form::Json } else { Form::Chat };
    let mut ended = signal(SignalKind::terminate()).map_err(|e| internal(&e.to_string()))?;
    let mut conversation = Conversation::open(desk, &flags, form).await?;
    let before = terminal::Settings::read();
    let done = {
        let talk = async { if is_terminal { terminal::talk(&mut conversation).await } else { plain::talk(&mut conversation).await } };
        tokio::select! {
            done = talk => done,
            // What runs goes on: the session is there for whoever comes back.
            _ = ended.recv() => Ok(143),
        }
    };
    if let Some(before) = before {
        before.restore();
    }
    conversation.close().await;
    done
}
