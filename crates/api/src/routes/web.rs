//! Conversations on the page and on the terminal: chats of the networks that this daemon itself is, as whoever is logged in.

use app::{
    Ground, Speaker, WebChat, WebEditForm, WebMessageForm, WebMessageQuery, WebMessages, WebOf, WebPlaceQuery, WebPressForm, WebSaid,
};
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
    Operation::new(Get, "/v1/web/chats", "Lists the agents that whoever is logged in can talk to.", || get(list::<Page>))
        .gives(200, page_of::<WebChat>),
    Operation::new(
        Get,
        "/v1/web/chats/{agent}/messages",
        "The messages of one's conversation with an agent. With `seen` and `wait_s` the answer comes with the next change.",
        || get(messages::<Page>),
    )
    .asks(of::<WebMessageQuery>)
    .gives(200, of::<WebMessages>),
    Operation::new(
        Post,
        "/v1/web/chats/{agent}/messages",
        "Says something to an agent, the way of every message of a chat network. With the header `Idempotency-Key` a repeated request says \
         it once.",
        || post(say::<Page>),
    )
    .takes(of::<WebMessageForm>)
    .at_most(MESSAGE_BYTES_MAX)
    .gives(202, of::<WebSaid>),
    Operation::new(Patch, "/v1/web/chats/{agent}/messages/{message}", "Gives a message of one's own another text.", || patch(edit::<Page>))
        .takes(of::<WebEditForm>)
        .gives(202, of::<WebSaid>),
    Operation::new(Post, "/v1/web/chats/{agent}/messages/{message}/press", "Presses a button. 409 when it is not there any more.", || {
        post(press::<Page>)
    })
    .takes(of::<WebPressForm>)
    .gives(202, of::<WebSaid>),
    Operation::new(Get, "/v1/web/chats/{agent}/messages/{message}/files/{file}", "A file that came with a message.", || get(file::<Page>))
        .gives_bytes(200, &["application/octet-stream"]),
];

/// The same on the terminal, where there are several conversations with an agent.
pub(super) const TERMINAL: &[Operation] = &[
    Operation::new(Get, "/v1/terminal/chats", "Lists the agents and the conversations with them on the terminal.", || {
        get(list::<Terminal>)
    })
    .gives(200, page_of::<WebChat>),
    Operation::new(
        Get,
        "/v1/terminal/chats/{agent}/messages",
        "The messages of a conversation on the terminal. With `seen` and `wait_s` the answer comes with the next change.",
        || get(messages::<Terminal>),
    )
    .asks(of::<WebMessageQuery>)
    .gives(200, of::<WebMessages>),
    Operation::new(
        Post,
        "/v1/terminal/chats/{agent}/messages",
        "Says something on the terminal; what the host itself answers comes with the answer. With the header `Idempotency-Key` a repeated \
         request says it once.",
        || post(say::<Terminal>),
    )
    .asks(of::<WebPlaceQuery>)
    .takes(of::<WebMessageForm>)
    .at_most(MESSAGE_BYTES_MAX)
    .gives(202, of::<WebSaid>),
    Operation::new(Patch, "/v1/terminal/chats/{agent}/messages/{message}", "Gives a message on the terminal another text.", || {
        patch(edit::<Terminal>)
    })
    .asks(of::<WebPlaceQuery>)
    .takes(of::<WebEditForm>)
    .gives(202, of::<WebSaid>),
    Operation::new(
        Post,
        "/v1/terminal/chats/{agent}/messages/{message}/press",
        "Presses a button of a message on the terminal. 409 when it is not there any more.",
        || post(press::<Terminal>),
    )
    .asks(of::<WebPlaceQuery>)
    .takes(of::<WebPressForm>)
    .gives(202, of::<WebSaid>),
    Operation::new(
        Get,
        "/v1/terminal/chats/{agent}/messages/{message}/files/{file}",
        "A file that came with a message on the terminal.",
        || get(file::<Terminal>),
    )
    .asks(of::<WebPlaceQuery>)
    .gives_bytes(200, &["application/octet-stream"]),
];

/// Where a route's conversations are.
trait On: 'static {
    const GROUND: Ground;
}

struct Page;

impl On for Page {
    const GROUND: Ground = Ground::Page;
}

struct Terminal;

impl On for Terminal {
    const GROUND: Ground = Ground::Terminal;
}

/// The conversations of who asks.
fn of_whom<'a, O: On>(api: &'a Api, who: &Identity, named: Option<String>) -> Result<WebOf<'a>, Failure> {
    Ok(api.app.web_of(&who.caller, speaker(who)?, O::GROUND, named))
}

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

async fn list<O: On>(State(api): State<Api>, who: Identity) -> Result<Json<Value>, Problem> {
    let items = of_whom::<O>(&api, &who, None)?.chats().await?;
    Ok(Json(json!({ "items": items, "next": null })))
}

async fn messages<O: On>(
    State(api): State<Api>,
    Extension(streams): Extension<Streams>,
    who: Identity,
    At(agent): At<String>,
    Asked(query): Asked<WebMessageQuery>,
) -> Result<Json<WebMessages>, Problem> {
    // One that waits takes a place like a stream, and ends with the right to it.
    let _place = query.wait_s.map(|_| streams.enter(&who)).transpose()?;
    let mut changes = api.app.rights();
    let web = of_whom::<O>(&api, &who, query.chat.clone())?;
    tokio::select! {
        page = web.messages(&agent, query) => Ok(Json(page?)),
        () = who.ended(&api, &mut changes) => Err(nobody().into()),
    }
}

async fn say<O: On>(
    State(api): State<Api>,
    who: Identity,
    headers: HeaderMap,
    At(agent): At<String>,
    Asked(place): Asked<WebPlaceQuery>,
    Form(form): Form<WebMessageForm>,
) -> Result<Response, Problem> {
    let said = of_whom::<O>(&api, &who, place.chat)?.say(&agent, form, idempotency_key(&headers)?).await?;
    Ok((StatusCode::ACCEPTED, Json(said)).into_response())
}

async fn edit<O: On>(
    State(api): State<Api>,
    who: Identity,
    At((agent, message)): At<(String, String)>,
    Asked(place): Asked<WebPlaceQuery>,
    Form(form): Form<WebEditForm>,
) -> Result<Response, Problem> {
    let said = of_whom::<O>(&api, &who, place.chat)?.edit(&agent, &message, form).await?;
    Ok((StatusCode::ACCEPTED, Json(said)).into_response())
}

async fn press<O: On>(
    State(api): State<Api>,
    who: Identity,
    At((agent, message)): At<(String, String)>,
    Asked(place): Asked<WebPlaceQuery>,
    Form(form): Form<WebPressForm>,
) -> Result<Response, Problem> {
    let said = of_whom::<O>(&api, &who, place.chat)?.press(&agent, &message, form).await?;
    Ok((StatusCode::ACCEPTED, Json(said)).into_response())
}

async fn file<O: On>(
    State(api): State<Api>,
    who: Identity,
    At((agent, message, file)): At<(String, String, String)>,
    Asked(place): Asked<WebPlaceQuery>,
) -> Result<Response, Problem> {
    let (name, path) = of_whom::<O>(&api, &who, place.chat)?.file(&agent, &message, &file).await?;
    let gone = |_| Failure::new(Code::NotFound, "the file is no longer kept");
    let open = tokio::fs::File::open(path).await.map_err(gone)?;
    let size = open.metadata().await.map_err(gone)?.len();
    Ok(as_attachment(&name, size, Body::from_stream(ReaderStream::new(open))))
}
