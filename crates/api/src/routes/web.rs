//! Conversations on the page: chats of the network that this daemon itself is, as whoever is logged in.

use app::{Speaker, WebChat, WebEditForm, WebMessageForm, WebMessageQuery, WebMessages, WebPressForm, WebSaid};
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch, post};
use axum::{Extension, Json};
use model::{Code, Failure};
use serde_json::{Value, json};
use tokio_util::io::ReaderStream;

use super::Api;
use super::env_files::as_attachment;
use super::sessions::idempotency_key;
use crate::Problem;
use crate::auth::{Identity, nobody};
use crate::operation::Verb::{Get, Patch, Post};
use crate::operation::{Operation, of, page_of};
use crate::request::{Asked, At, Form};
use crate::stream::Streams;

/// The longest request: files in base64, and a text in JSON.
const MESSAGE_BYTES_MAX: usize = (48 << 20) / 3 * 4 + (2 << 20);

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::new(Get, "/v1/web/chats", "Lists the agents that whoever is logged in can talk to.", || get(list))
        .gives(200, page_of::<WebChat>),
    Operation::new(
        Get,
        "/v1/web/chats/{agent}/messages",
        "The messages of one's conversation with an agent. With `seen` and `wait_s` the answer comes with the next change.",
        || get(messages),
    )
    .asks(of::<WebMessageQuery>)
    .gives(200, of::<WebMessages>),
    Operation::new(
        Post,
        "/v1/web/chats/{agent}/messages",
        "Says something to an agent, the way of every message of a chat network. With the header `Idempotency-Key` a repeated request says \
         it once.",
        || post(say),
    )
    .takes(of::<WebMessageForm>)
    .at_most(MESSAGE_BYTES_MAX)
    .gives(202, of::<WebSaid>),
    Operation::new(Patch, "/v1/web/chats/{agent}/messages/{message}", "Gives a message of one's own another text.", || patch(edit))
        .takes(of::<WebEditForm>)
        .gives(202, of::<WebSaid>),
    Operation::new(Post, "/v1/web/chats/{agent}/messages/{message}/press", "Presses a button. 409 when it is not there any more.", || {
        post(press)
    })
    .takes(of::<WebPressForm>)
    .gives(202, of::<WebSaid>),
    Operation::new(Get, "/v1/web/chats/{agent}/messages/{message}/files/{file}", "A file that came with a message.", || get(file))
        .gives_bytes(200, &["application/octet-stream"]),
];

/// The person who asks. A program's token is nobody's.
fn speaker(who: &Identity) -> Result<Speaker, Failure> {
    if let Some(user) = who.actor.strip_prefix("user:") {
        let user = user.parse().map_err(|_| Failure::new(Code::Internal, "the login names nobody"))?;
        return Ok(Speaker::Person(user));
    }
    if who.is_owner() {
        return Ok(Speaker::Owner);
    }
    Err(Failure::new(Code::Forbidden, "only people have conversations here, and this token is a program's")
        .hint("log in as a person, or use a session: POST /v1/sessions"))
}

async fn list(State(api): State<Api>, who: Identity) -> Result<Json<Value>, Problem> {
    let items = api.app.web_of(&who.caller, speaker(&who)?).chats().await?;
    Ok(Json(json!({ "items": items, "next": null })))
}

async fn messages(
    State(api): State<Api>,
    Extension(streams): Extension<Streams>,
    who: Identity,
    At(agent): At<String>,
    Asked(query): Asked<WebMessageQuery>,
) -> Result<Json<WebMessages>, Problem> {
    // One that waits takes a place like a stream, and ends with the right to it.
    let _place = query.wait_s.map(|_| streams.enter(&who)).transpose()?;
    let mut changes = api.app.rights();
    let web = api.app.web_of(&who.caller, speaker(&who)?);
    tokio::select! {
        page = web.messages(&agent, query) => Ok(Json(page?)),
        () = who.ended(&api, &mut changes) => Err(nobody().into()),
    }
}

async fn say(
    State(api): State<Api>,
    who: Identity,
    headers: HeaderMap,
    At(agent): At<String>,
    Form(form): Form<WebMessageForm>,
) -> Result<Response, Problem> {
    let said = api.app.web_of(&who.caller, speaker(&who)?).say(&agent, form, idempotency_key(&headers)?).await?;
    Ok((StatusCode::ACCEPTED, Json(said)).into_response())
}

async fn edit(
    State(api): State<Api>,
    who: Identity,
    At((agent, message)): At<(String, String)>,
    Form(form): Form<WebEditForm>,
) -> Result<Response, Problem> {
    let said = api.app.web_of(&who.caller, speaker(&who)?).edit(&agent, &message, form).await?;
    Ok((StatusCode::ACCEPTED, Json(said)).into_response())
}

async fn press(
    State(api): State<Api>,
    who: Identity,
    At((agent, message)): At<(String, String)>,
    Form(form): Form<WebPressForm>,
) -> Result<Response, Problem> {
    let said = api.app.web_of(&who.caller, speaker(&who)?).press(&agent, &message, form).await?;
    Ok((StatusCode::ACCEPTED, Json(said)).into_response())
}

async fn file(
    State(api): State<Api>,
    who: Identity,
    At((agent, message, file)): At<(String, String, String)>,
) -> Result<Response, Problem> {
    let (name, path) = api.app.web_of(&who.caller, speaker(&who)?).file(&agent, &message, &file).await?;
    let gone = |_| Failure::new(Code::NotFound, "the file is no longer kept");
    let open = tokio::fs::File::open(path).await.map_err(gone)?;
    let size = open.metadata().await.map_err(gone)?.len();
    Ok(as_attachment(&name, size, Body::from_stream(ReaderStream::new(open))))
}
