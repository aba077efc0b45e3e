//! A server on loopback: requests to a function, faults on demand, WebSockets.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Requests that are kept for the test to look at.
const CALLS_MAX: usize = 10_000;

/// The server's end of a WebSocket.
pub type Socket = WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>;
/// Something that goes on.
type Going<T> = Pin<Box<dyn Future<Output = T> + Send>>;
/// What answers requests.
type Handler = Arc<dyn Fn(Call) -> Going<Reply> + Send + Sync>;

/// A way to fail, once, for the next request whose target contains some text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// This status with an empty body; nothing is done.
    Status(u16),
    /// 429 with so many seconds of `Retry-After`; nothing is done.
    TooOften(u32),
    /// The connection closes before anything is done.
    Drop,
    /// All is done, and the connection closes without an answer.
    DropAfter,
    /// All is done, and 502 is answered.
    BadGatewayAfter,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Call {
    /// The method.
    pub method: Method,
    /// Path and query.
    pub target: String,
    /// All headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Call {
    /// The path, without the query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The body as JSON; null when it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// A header that is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The bearer token.
    #[must_use]
    pub fn bearer(&self) -> Option<&str> {
        self.header("authorization").and_then(|value| value.strip_prefix("Bearer "))
    }

    /// The pairs of the query, decoded.
    #[must_use]
    pub fn query(&self) -> Vec<(String, String)> {
        pairs(self.target.split_once('?').map_or("", |(_, query)| query))
    }

    /// The pairs of a form in the body, decoded.
    #[must_use]
    pub fn form(&self) -> Vec<(String, String)> {
        pairs(&String::from_utf8_lossy(&self.body))
    }

    /// The parts of a form of parts: name, name of the file, bytes.
    #[must_use]
    pub fn parts(&self) -> Vec<(String, Option<String>, Vec<u8>)> {
        let kind = self.header("content-type").unwrap_or_default();
        let Some(boundary) = kind.strip_prefix("multipart/form-data; boundary=") else { return Vec::new() };
        let mark = format!("--{boundary}").into_bytes();
        let mut parts = Vec::new();
        let mut rest = self.body.as_ref();
        while let Some(begin) = find(rest, &mark) {
            let Some(part) = rest[begin + mark.len()..].strip_prefix(b"\r\n") else { break };
            let (Some(head), Some(end)) = (find(part, b"\r\n\r\n"), find(part, &mark)) else { break };
            let text = String::from_utf8_lossy(&part[..head]).into_owned();
            let value =
                |key: &str| text.split_once(&format!(" {key}=\"")).and_then(|(_, rest)| rest.split_once('"')).map(|(v, _)| v.to_owned());
            parts.push((value("name").unwrap_or_default(), value("filename"), part[head + 4..end - 2].to_vec()));
            rest = &part[end..];
        }
        parts
    }
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

fn pairs(text: &str) -> Vec<(String, String)> {
    let decode = |text: &str| {
        let mut bytes = Vec::new();
        let mut rest = text.bytes();
        while let Some(byte) = rest.next() {
            bytes.push(match byte {
                b'+' => b' ',
                b'%' => {
                    let digits = [rest.next().unwrap_or(b'0'), rest.next().unwrap_or(b'0')];
                    u8::from_str_radix(&String::from_utf8_lossy(&digits), 16).unwrap_or(b'?')
                }
                byte => byte,
            });
        }
        String::from_utf8_lossy(&bytes).into_owned()
    };
    text.split('&').filter_map(|pair| pair.split_once('=')).map(|(key, value)| (decode(key), decode(value))).collect()
}

/// An answer.
pub struct Reply {
    /// The status.
    pub status: u16,
    /// Headers beside the length.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
    socket: Option<Box<dyn FnOnce(Socket) -> Going<()> + Send>>,
}

impl Reply {
    /// Nothing but a status.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Bytes::new(), socket: None }
    }

    /// JSON with a status.
    #[must_use]
    pub fn json(status: u16, value: &Value) -> Self {
        Self::status(status).header("content-type", "application/json").body(value.to_string())
    }

    /// A WebSocket, which `serve` has until it ends.
    #[must_use]
    pub fn socket<F: Future<Output = ()> + Send + 'static>(serve: impl FnOnce(Socket) -> F + Send + 'static) -> Self {
        Self { socket: Some(Box::new(|socket| Box::pin(serve(socket)))), ..Self::status(101) }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Has a body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }
}

/// What a server keeps. A cheap handle.
pub struct Kept<S>(Arc<Mutex<S>>);

impl<S> Kept<S> {
    /// What it keeps now. No request is answered meanwhile.
    pub fn lock(&self) -> MutexGuard<'_, S> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S> Clone for Kept<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

#[derive(Default)]
struct Book {
    faults: Mutex<VecDeque<(String, Fault)>>,
    calls: Mutex<Vec<Call>>,
}

/// The server. It ends when it is dropped.
pub struct Web {
    address: SocketAddr,
    book: Arc<Book>,
    cancel: CancellationToken,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Web {
    /// Starts on a free port of loopback, on a thread of its own.
    ///
    /// # Panics
    /// When loopback has no port left.
    pub fn start<F: Future<Output = Reply> + Send + 'static>(handler: impl Fn(Call) -> F + Send + Sync + 'static) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a listener");
        let address = listener.local_addr().expect("an address");
        let (book, cancel) = (Arc::<Book>::default(), CancellationToken::new());
        let handler: Handler = Arc::new(move |call| Box::pin(handler(call)));
        let (served, ended) = (Arc::clone(&book), cancel.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async move {
                let listener = TcpListener::from_std(listener).expect("a listener");
                accept(listener, handler, served, ended).await;
            });
        });
        Self { address, book, cancel, thread: Some(thread) }
    }

    /// Starts one whose answers depend on what it keeps: the server, and what it keeps.
    ///
    /// # Panics
    /// When loopback has no port left.
    pub fn keeping<S: Send + 'static>(state: S, answer: fn(&mut S, &Call) -> Reply) -> (Self, Kept<S>) {
        let kept = Kept(Arc::new(Mutex::new(state)));
        let served = kept.clone();
        let web = Self::start(move |call| {
            let reply = answer(&mut served.lock(), &call);
            async move { reply }
        });
        (web, kept)
    }

    /// Its address, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Host and port.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets the next request whose target contains `part` fail. Several wait in their order.
    pub fn fail(&self, part: &str, fault: Fault) {
        lock(&self.book.faults).push_back((part.to_owned(), fault));
    }

    /// The requests that came so far whose target contains `part`, those that failed too.
    #[must_use]
    pub fn calls(&self, part: &str) -> Vec<Call> {
        lock(&self.book.calls).iter().filter(|call| call.target.contains(part)).cloned().collect()
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.cancel.cancel();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, handler: Handler, book: Arc<Book>, cancel: CancellationToken) {
    let tasks = TaskTracker::new();
    loop {
        let stream = tokio::select! {
            () = cancel.cancelled() => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(_) => continue,
            },
        };
        let _ = stream.set_nodelay(true);
        let (handler, book, cancel, sockets) = (Arc::clone(&handler), Arc::clone(&book), cancel.clone(), tasks.clone());
        tasks.spawn(async move {
            let close = CancellationToken::new();
            let service = service_fn(|request| answer(request, &handler, &book, &close, &sockets));
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades();
            tokio::select! {
                () = cancel.cancelled() => (),
                () = close.cancelled() => (),
                _ = connection => (),
            }
        });
    }
}

async fn answer(
    mut request: Request<Incoming>,
    handler: &Handler,
    book: &Book,
    close: &CancellationToken,
    sockets: &TaskTracker,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let upgrade = request.headers().contains_key(header::UPGRADE).then(|| hyper::upgrade::on(&mut request));
    let key = request.headers().get("sec-websocket-key").map(|key| derive_accept_key(key.as_bytes()));
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let target = parts.uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string);
    let call = Call { method: parts.method, target, headers: parts.headers, body };
    let fault = {
        let mut calls = lock(&book.calls);
        assert!(calls.len() < CALLS_MAX, "more requests than are kept");
        calls.push(call.clone());
        let mut faults = lock(&book.faults);
        let at = faults.iter().position(|(part, _)| call.target.contains(part.as_str()));
        at.and_then(|at| faults.remove(at)).map(|(_, fault)| fault)
    };
    match fault {
        Some(Fault::Status(status)) => return Ok(written(Reply::status(status))),
        Some(Fault::TooOften(after)) => return Ok(written(Reply::status(429).header("retry-after", &after.to_string()))),
        Some(Fault::Drop) => return broken(close).await,
        None | Some(Fault::DropAfter | Fault::BadGatewayAfter) => {}
    }
    let mut reply = handler(call).await;
    match fault {
        Some(Fault::DropAfter) => return broken(close).await,
        Some(Fault::BadGatewayAfter) => return Ok(written(Reply::status(502))),
        _ => {}
    }
    if let Some(serve) = reply.socket.take() {
        let (Some(upgrade), Some(key)) = (upgrade, key) else { return Ok(written(Reply::status(426))) };
        sockets.spawn(async move {
            if let Ok(upgraded) = upgrade.await {
                serve(WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await).await;
            }
        });
        reply = reply.header("upgrade", "websocket").header("connection", "upgrade").header("sec-websocket-accept", &key);
    }
    Ok(written(reply))
}

async fn broken(close: &CancellationToken) -> Result<Response<Full<Bytes>>, Infallible> {
    close.cancel();
    std::future::pending().await
}

fn written(reply: Reply) -> Response<Full<Bytes>> {
    let mut response = Response::builder().status(reply.status);
    for (name, value) in &reply.headers {
        response = response.header(name, value);
    }
    response.body(Full::new(reply.body)).expect("an answer that can be written")
}
