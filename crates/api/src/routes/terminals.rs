//! Terminals of sessions, and servers in their sandboxes.

use app::{AttachForm, PortForm, TerminalForm};
use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use hyper_util::rt::TokioIo;
use model::{Code, Failure};
use serde_json::{Value, json};

use super::Api;
use crate::Problem;
use crate::auth::Identity;
use crate::operation::Verb::Post;
use crate::operation::{Needs, Operation, object, of};
use crate::request::{At, MaybeForm};

/// Whoever types may do all that the session may.
const WRITE: Needs = Needs::Scope(app::Scope::Write);

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::new(Post, "/v1/sessions/{id}/terminal", "Opens a terminal: a turn in which a person uses a program inside.", || post(open))
        .needs(WRITE)
        .takes(of::<TerminalForm>)
        .gives(202, object),
    Operation::new(
        Post,
        "/v1/sessions/{id}/attach",
        "Comes to the session's terminal: the header `attach` may hold how, as JSON, and after `Upgrade: lazaret-exec` both sides speak frames.",
        || post(attach),
    )
    .needs(WRITE)
    .gives_bytes(101, &[]),
    Operation::new(
        Post,
        "/v1/sessions/{id}/open",
        "Opens a server that listens in the session's sandbox in a browser of this machine, by a link that works once.",
        || post(open_port),
    )
    .needs(WRITE)
    .takes(of::<PortForm>)
    .gives(201, object),
];

/// The name under which frames are spoken after the upgrade.
const UPGRADE: &str = "lazaret-exec";

async fn open(
    State(api): State<Api>,
    who: Identity,
    At(id): At<String>,
    MaybeForm(form): MaybeForm<TerminalForm>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let turn = api.app.sessions_of(&who.caller).open_terminal(&id, form).await?;
    Ok((StatusCode::ACCEPTED, Json(json!({ "session": id, "turn": turn }))))
}

async fn attach(State(api): State<Api>, who: Identity, At(id): At<String>, mut request: Request) -> Result<Response, Problem> {
    // What is another tenant's does not exist, however it is asked for.
    api.app.sessions_of(&who.caller).show(&id).await?;
    if request.headers().get(header::UPGRADE).is_none_or(|v| v.as_bytes() != UPGRADE.as_bytes()) {
        return Err(Failure::new(Code::Usage, format!("this route wants `Upgrade: {UPGRADE}`")).into());
    }
    let form: AttachForm = match request.headers().get("attach").map(|v| v.to_str().unwrap_or("")) {
        None => AttachForm::default(),
        Some(text) => {
            serde_json::from_str(text).map_err(|e| Failure::new(Code::Usage, format!("how to attach is malformed: {e}")).field("attach"))?
        }
    };
    let attached = api.app.sessions_of(&who.caller).attach_terminal(&id, &form).await?;
    let (types, (rows, cols)) = (attached.types(), attached.size());
    let upgrade = hyper::upgrade::on(&mut request);
    let (app, mut changes) = (api.app.clone(), api.app.rights());
    app.spawn(async move {
        match upgrade.await {
            Ok(stream) => tokio::select! {
                () = app::carry(attached, TokioIo::new(stream)) => {}
                // Whoever lost the right to be there sits there no longer.
                () = who.ended(&api, &mut changes) => {}
            },
            Err(error) => tracing::debug!(%error, "somebody came to a terminal and left"),
        }
    });
    let head = [
        (header::UPGRADE, UPGRADE.to_owned()),
        (header::CONNECTION, "upgrade".to_owned()),
        (HeaderName::from_static("terminal"), json!({ "types": types, "size": [rows, cols] }).to_string()),
    ];
    Ok((StatusCode::SWITCHING_PROTOCOLS, head).into_response())
}

async fn open_port(
    State(api): State<Api>,
    who: Identity,
    At(id): At<String>,
    MaybeForm(form): MaybeForm<PortForm>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let listen = api.listen.as_deref().and_then(|address| address.parse::<std::net::SocketAddr>().ok()).ok_or_else(|| {
        Failure::new(Code::Conflict, "the daemon listens on no port, so no browser reaches it").hint("start it with: lazaret start")
    })?;
    let to = api.app.sessions_of(&who.caller).find_port(&id, &form).await?;
    let port = to.port;
    let audit = json!({ "session": to.session, "port": port, "outside": form.outside });
    let (label, code) = api.logins.ports().open(&api.app, &who.caller, to, form.outside)?;
    api.app.audit_change(&who.actor, "port.open", audit).await?;
    let origin = format!("http://{label}.localhost:{}", listen.port());
    Ok((StatusCode::CREATED, Json(json!({ "origin": origin, "url": format!("{origin}/.lazaret/in/{code}"), "port": port }))))
}
