//! `lazaret ask`: a question about this install, answered by an agent that can look and change nothing.

use app::SessionView;
use http::Method;
use serde_json::json;

use super::screen::Form;
use super::{Context, once, text};
use crate::args;
use crate::exit::Done;
use crate::out;

pub(super) async fn run(context: &Context, flags: args::Ask) -> Done {
    let question = text::prompt(&flags.question)?;
    let client = context.client()?;
    let form = json!({ "question": question, "model": flags.model });
    let begun: app::AskView = client.json(Method::POST, "/v1/ask", Some(&form)).await?;
    let session: SessionView = begun.session;
    if session.is_fallback && !context.json {
        out::note("no provider key is stored: this is a rehearsal, answered by a script and not by a model");
    }
    let result = once::turn(&client, &session, Form::of(context.json), begun.text, flags.keep).await?;
    Ok(super::run::exit_status(&result))
}
