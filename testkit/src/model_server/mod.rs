//! A model provider on loopback: a real HTTP server that speaks Anthropic Messages, OpenAI Chat and Responses, and Gemini,
//! answers from a [`Script`], keeps what it was sent, and fails in every way that a provider can ([`Fault`]).

mod body;
mod script;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use gateway::rehearsal::{self, Asked};
use gateway::{Kind, Wire};
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use body::Scripted;
use body::Then;
pub use script::{Rule, Say, Script};

use crate::held::Held;

/// How long something may take to come to be so.
const PATIENCE: Duration = Duration::from_secs(600);
/// Requests that are kept; more make [`ModelServer::requests`] panic, because a test would miss them.
const RECORDED_MAX: usize = 100_000;

/// A way to fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// An error status with an error body of the provider's form.
    Status(u16),
    /// The connection breaks after so many pieces of the reply.
    Cut(usize),
    /// The stream ends in order, but after so many pieces of the reply.
    Short(usize),
    /// The head of the reply comes after this time.
    SlowHead(Duration),
    /// The stream goes on for ever after the reply's first piece.
    Endless,
    /// The stream stands still after the reply's first piece.
    Silent,
    /// The connection closes without a reply.
    Close,
    /// A body of so many bytes.
    Oversize(usize),
    /// Another content type.
    ContentType(&'static str),
    /// A compressed body, which nobody asked for.
    Compressed,
    /// A redirect.
    Redirect,
    /// An error, with the credential that came in its text and headers.
    ReflectKey(u16),
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// When it had come whole.
    pub when: std::time::Instant,
    /// The method.
    pub method: Method,
    /// Path and query.
    pub target: String,
    /// All headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Recorded {
    /// The body as JSON; null when it is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The credential, however it was sent.
    #[must_use]
    pub fn credential(&self) -> Option<String> {
        let of = |name: &str| self.headers.get(name).and_then(|v| v.to_str().ok());
        let bearer = of("authorization").map(|v| v.strip_prefix("Bearer ").unwrap_or(v));
        bearer.or_else(|| of("x-api-key")).or_else(|| of("x-goog-api-key")).map(str::to_owned)
    }
}

struct State {
    script: Mutex<Script>,
    fault: Mutex<Option<(Fault, usize)>>,
    recorded: Mutex<Vec<Recorded>>,
    /// Replies that the client left before their end.
    left: AtomicUsize,
    changed: Notify,
}

/// The server. It ends when it is dropped.
pub struct ModelServer {
    address: SocketAddr,
    state: Arc<State>,
    cancel: CancellationToken,
    tasks: TaskTracker,
}

impl ModelServer {
    /// Starts on a free port of loopback.
    ///
    /// # Panics
    /// When loopback has no port left.
    pub async fn start(script: Script) -> Self {
        Self::start_on(0, script).await
    }

    /// Starts on a given port, for use by hand.
    ///
    /// # Panics
    /// When the port is taken.
    pub async fn start_on(port: u16, script: Script) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let state = Arc::new(State {
            script: Mutex::new(script),
            fault: Mutex::default(),
            recorded: Mutex::default(),
            left: AtomicUsize::new(0),
            changed: Notify::new(),
        });
        let (tasks, cancel) = (TaskTracker::new(), CancellationToken::new());
        tasks.spawn(accept(listener, state.clone(), tasks.clone(), cancel.clone()));
        Self { address, state, cancel, tasks }
    }

    /// `http://127.0.0.1:PORT`, without a path.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Changes the script from the next request on.
    pub fn set_script(&self, script: Script) {
        *lock(&self.state.script) = script;
    }

    /// Fails every generating request until [`ModelServer::heal`].
    pub fn fail(&self, fault: Fault) {
        self.fail_next(usize::MAX, fault);
    }

    /// Fails so many generating requests.
    pub fn fail_next(&self, count: usize, fault: Fault) {
        *lock(&self.state.fault) = Some((fault, count));
    }

    /// Answers normally again.
    pub fn heal(&self) {
        *lock(&self.state.fault) = None;
    }

    /// Every request so far, probes and lists included.
    ///
    /// # Panics
    /// When more came than are kept.
    #[must_use]
    pub fn requests(&self) -> Vec<Recorded> {
        let recorded = lock(&self.state.recorded);
        assert!(recorded.len() < RECORDED_MAX, "too many requests to keep");
        recorded.clone()
    }

    /// How many requests came so far.
    #[must_use]
    pub fn count(&self) -> usize {
        lock(&self.state.recorded).len()
    }

    /// When the request of that number, from 0, had come whole; none as long as it has not.
    #[must_use]
    pub fn came(&self, number: usize) -> Option<std::time::Instant> {
        lock(&self.state.recorded).get(number).map(|request| request.when)
    }

    /// How many replies the client has left before their end.
    #[must_use]
    pub fn left(&self) -> usize {
        self.state.left.load(Ordering::SeqCst)
    }

    /// Waits until `what` holds; it is looked at after each request and each reply that was left.
    ///
    /// # Panics
    /// It does not within the time.
    pub async fn until(&self, mut what: impl FnMut(&Self) -> bool) {
        let end = tokio::time::Instant::now() + PATIENCE;
        loop {
            let changed = self.state.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if what(self) {
                return;
            }
            let came = tokio::time::timeout_at(end, changed.as_mut()).await;
            assert!(came.is_ok(), "it never came to be so, with {} requests and {} replies that were left", self.count(), self.left());
        }
    }

    /// Ends the server and waits for its connections.
    pub async fn shutdown(self) {
        self.cancel.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for ModelServer {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

/// An address of loopback at which nobody listens, nor will as long as the test process lives.
///
/// # Panics
/// When loopback has no port left, or somebody answers there.
pub async fn dead_url() -> String {
    static HELD: Mutex<Vec<Held>> = Mutex::new(Vec::new());
    let held = Held::new().expect("loopback has a free port");
    let address = SocketAddr::from(([127, 0, 0, 1], held.port));
    assert!(TcpStream::connect(address).await.is_err(), "somebody listens at {address}");
    lock(&HELD).push(held);
    format!("http://{address}")
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, state: Arc<State>, tasks: TaskTracker, cancel: CancellationToken) {
    loop {
        let stream = tokio::select! {
            () = cancel.cancelled() => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(_) => continue,
            },
        };
        let _ = stream.set_nodelay(true);
        let (state, cancel) = (state.clone(), cancel.clone());
        tasks.spawn(async move {
            let close = CancellationToken::new();
            let service = service_fn(|request| answer(state.clone(), close.clone(), request));
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::select! {
                () = cancel.cancelled() => (),
                () = close.cancelled() => (),
                _ = connection => (),
            }
        });
    }
}

async fn answer(state: Arc<State>, close: CancellationToken, request: Request<Incoming>) -> Result<Response<Scripted>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let target = parts.uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string);
    let recorded = Recorded { when: std::time::Instant::now(), method: parts.method, target, headers: parts.headers, body };
    lock(&state.recorded).push(recorded.clone());
    state.changed.notify_waiters();
    let path = recorded.target.split('?').next().unwrap_or_default();
    let Some(wire) = wire_of(path) else { return Ok(lookup(&state, &recorded, path)) };
    if let Some(refused) = check_key(&state, &recorded, wire.kind()) {
        return Ok(refused);
    }
    let fault = take_fault(&state);
    if fault == Some(Fault::Close) {
        close.cancel();
        std::future::pending::<()>().await;
    }
    if let Some(Fault::SlowHead(time)) = fault {
        tokio::time::sleep(time).await;
    }
    Ok(generate(&state, &recorded, wire, path, fault))
}

fn take_fault(state: &State) -> Option<Fault> {
    let mut held = lock(&state.fault);
    let (fault, count) = held.as_mut()?;
    let fault = fault.clone();
    *count -= 1;
    if *count == 0 {
        *held = None;
    }
    Some(fault)
}

fn wire_of(path: &str) -> Option<Wire> {
    match path {
        _ if path.ends_with("/messages") => Some(Wire::Messages),
        _ if path.ends_with("/chat/completions") => Some(Wire::Chat),
        _ if path.ends_with("/responses") => Some(Wire::Responses),
        _ if path.ends_with(":generateContent") || path.ends_with(":streamGenerateContent") => Some(Wire::Generate),
        _ => None,
    }
}

/// Everything that generates nothing.
fn lookup(state: &Arc<State>, recorded: &Recorded, path: &str) -> Response<Scripted> {
    let kind = if path.starts_with("/v1beta") {
        Kind::Gemini
    } else if recorded.headers.contains_key("anthropic-version") {
        Kind::Anthropic
    } else {
        Kind::OpenAi
    };
    if path.ends_with("/count_tokens") || path.ends_with(":countTokens") {
        return json_reply(StatusCode::OK, &rehearsal::token_count(kind, &recorded.body));
    }
    if path.ends_with("/models") {
        return check_key(state, recorded, kind).unwrap_or_else(|| json_reply(StatusCode::OK, &rehearsal::models(kind, None)));
    }
    let status = if matches!(path, "/" | "/api/hello") { StatusCode::OK } else { StatusCode::NOT_FOUND };
    json_reply(status, &json!({"error": {"message": "no such path", "type": "not_found"}}))
}

fn check_key(state: &Arc<State>, recorded: &Recorded, kind: Kind) -> Option<Response<Scripted>> {
    let expected = lock(&state.script).key.clone()?;
    (recorded.credential().as_deref() != Some(&expected)).then(|| error_reply(401, kind, "invalid key"))
}

fn error_reply(status: u16, kind: Kind, message: &str) -> Response<Scripted> {
    let value = match kind {
        Kind::Anthropic => json!({"type": "error", "error": {"type": "api_error", "message": message}}),
        Kind::OpenAi => json!({"error": {"message": message, "type": "server_error", "code": null}}),
        Kind::Gemini => json!({"error": {"code": status, "message": message, "status": "UNKNOWN"}}),
    };
    json_reply(StatusCode::from_u16(status).expect("a test names a real status"), &value)
}

fn json_reply(status: StatusCode, value: &serde_json::Value) -> Response<Scripted> {
    reply(status, "application/json", Scripted::whole(Bytes::from(value.to_string())))
}

fn reply(status: StatusCode, content_type: &str, body: Scripted) -> Response<Scripted> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, content_type.parse().expect("a test names a real content type"));
    response.headers_mut().insert("request-id", "req_test".parse().expect("it is plain"));
    response.headers_mut().insert(header::SET_COOKIE, "tracker=1".parse().expect("it is plain"));
    response
}

fn generate(state: &Arc<State>, recorded: &Recorded, wire: Wire, path: &str, fault: Option<Fault>) -> Response<Scripted> {
    let model = path.rsplit('/').next().and_then(|last| last.split_once(':')).map(|(model, _)| model);
    let streams = path.ends_with(":streamGenerateContent");
    let Ok(asked) = Asked::read(wire, &recorded.body, model, streams, recorded.target.contains("alt=sse")) else {
        return error_reply(400, wire.kind(), "not JSON");
    };
    let said = lock(&state.script).say(&asked);
    let rendered = rehearsal::render(wire, &asked, &said);
    let key = recorded.credential().unwrap_or_default();
    let ok = |pieces: Vec<Bytes>, then: Then| reply(StatusCode::OK, rendered.content_type, Scripted::new(pieces, then, state.clone()));
    let first = || rendered.pieces[..1].to_vec();
    match fault {
        None | Some(Fault::SlowHead(_) | Fault::Close) => {
            let pause = lock(&state.script).pause;
            reply(StatusCode::OK, rendered.content_type, Scripted::new(rendered.pieces, Then::End, state.clone()).with_pause(pause))
        }
        Some(Fault::Status(status)) => error_reply(status, wire.kind(), "a scripted failure"),
        Some(Fault::Cut(count)) => ok(rendered.pieces[..count.min(rendered.pieces.len())].to_vec(), Then::Cut),
        Some(Fault::Short(count)) => ok(rendered.pieces[..count.min(rendered.pieces.len())].to_vec(), Then::End),
        Some(Fault::Endless) => ok(first(), Then::Repeat(Bytes::from(": more\n\n".repeat(512)))),
        Some(Fault::Silent) => ok(first(), Then::Silence),
        Some(Fault::Oversize(bytes)) => ok(vec![Bytes::from(vec![b' '; bytes])], Then::End),
        Some(Fault::ContentType(content_type)) => {
            reply(StatusCode::OK, content_type, Scripted::whole(Bytes::from_static(b"<html>no model</html>")))
        }
        Some(Fault::Compressed) => {
            let mut response = ok(rendered.pieces.clone(), Then::End);
            response.headers_mut().insert(header::CONTENT_ENCODING, "gzip".parse().expect("it is plain"));
            response
        }
        Some(Fault::Redirect) => {
            let mut response = reply(StatusCode::TEMPORARY_REDIRECT, "application/json", Scripted::whole(Bytes::from_static(b"{}")));
            response.headers_mut().insert(header::LOCATION, "http://127.0.0.1:1/steal".parse().expect("it is plain"));
            response
        }
        Some(Fault::ReflectKey(status)) => {
            let mut response =
                error_reply(status, wire.kind(), &format!("your key {key} is wrong, {}", key.chars().rev().collect::<String>()));
            response.headers_mut().insert("x-request-id", key.parse().expect("a key is a header's value"));
            response
        }
    }
}
