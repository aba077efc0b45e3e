//! `lazaret replay`: the turns of a tape or session again, without a model.

use app::SessionView;
use http::Method;
use model::{Code, Failure};
use serde_json::Value;

use super::follow::Follow;
use super::run::exit_status;
use super::screen::Form;
use super::{Context, sandbox};
use crate::client::{Client, collect, full, internal};
use crate::exit::Done;

pub(super) async fn run(context: &Context, tape: &str) -> Done {
    let client = context.client()?;
    let session = begin(&client, tape).await?;
    let path = format!("/v1/sessions/{}", session.id);
    let mut done = Ok(0);
    let mut follow = Follow::new(&client, &session, Form::of(context.json));
    for _ in 0..session.turns {
        match follow.result().await {
            Ok(result) => {
                let status = exit_status(&result);
                if status != 0 {
                    done = Ok(status);
                    break;
                }
            }
            Err(failure) => {
                done = Err(failure);
                break;
            }
        }
    }
    drop(follow);
    let removed = client.json::<Value>(Method::DELETE, &path, None).await;
    let status = done?;
    removed?;
    Ok(status)
}

async fn begin(client: &Client, tape: &str) -> Result<SessionView, Failure> {
    if tape.starts_with("ses_") && !std::path::Path::new(tape).exists() {
        return client.json(Method::POST, &format!("/v1/sessions/{}/replay", sandbox::plain(tape)?), None).await;
    }
    let bytes = std::fs::read(tape).map_err(|e| Failure::new(Code::TapeInvalid, format!("the tape {tape} cannot be read: {e}")))?;
    let response = client.send(Method::POST, "/v1/replays", "application/octet-stream", full(bytes)).await?;
    serde_json::from_slice(&collect(response).await?).map_err(|e| internal(&e.to_string()))
}
