//! The daemon's client: HTTP over the owner's socket, and descriptors beside it.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use model::{Code, Failure};
use serde::de::DeserializeOwned;
use tokio::io::AsyncBufReadExt;
use tokio::net::UnixStream;

use crate::home::Home;

/// The body of a request.
pub(crate) type Body = BoxBody<Bytes, std::io::Error>;

/// A client of the daemon of one home.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    run_dir: PathBuf,
    home: PathBuf,
    may_start: bool,
}

/// How long a daemon may take from its start to its first answer: after a kill it takes up first what it left, and the machine may be busy.
const START_WAIT: Duration = Duration::from_secs(120);
/// The longest answer that is read whole.
const ANSWER_BYTES_MAX: usize = 256 << 20;
/// How long is waited for a daemon that somebody else is starting before it is looked again.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

impl Client {
    /// A client; with `may_start` it starts a daemon when none answers.
    pub(crate) fn new(home: &Home, may_start: bool) -> Self {
        Self { run_dir: home.run_dir(), home: home.path().to_owned(), may_start }
    }

    /// Whether a daemon answers now.
    pub(crate) async fn is_up(&self) -> bool {
        connect(&self.run_dir, api::OWNER_SOCKET).await.is_ok()
    }

    /// A connection, with a daemon started when none answers.
    pub(crate) async fn connection(&self) -> Result<Connection, Failure> {
        let deadline = tokio::time::Instant::now() + START_WAIT;
        loop {
            match connect(&self.run_dir, api::OWNER_SOCKET).await {
                Ok(stream) => return Connection::over(stream).await,
                Err(_) if self.may_start && tokio::time::Instant::now() < deadline => self.start().await?,
                Err(error) => {
                    return Err(Failure::new(Code::DaemonMissing, format!("no daemon answers in {} ({error})", self.home.display()))
                        .hint("run `lazaret start`, or leave out --no-daemon"));
                }
            }
        }
    }

    /// Starts a daemon of the lowest kind (no HTTP port, ends when idle) and waits until it is ready.
    async fn start(&self) -> Result<(), Failure> {
        let fail = |why: String| {
            Failure::new(Code::DaemonMissing, format!("the daemon did not start: {why}"))
                .hint(format!("its log is {}", self.home.join("logs/daemon.log").display()))
        };
        let program = std::env::current_exe().map_err(|e| fail(e.to_string()))?;
        let mut child = tokio::process::Command::new(program)
            .args(["up", "--on-demand"])
            .env("LAZARET_HOME", &self.home)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| fail(e.to_string()))?;
        let out = child.stdout.take().ok_or_else(|| fail("it has no output".to_owned()))?;
        let mut err = child.stderr.take().ok_or_else(|| fail("it has no output".to_owned()))?;
        let mut line = String::new();
        let read = tokio::time::timeout(START_WAIT, tokio::io::BufReader::new(out).read_line(&mut line)).await;
        match read {
            Ok(Ok(n)) if n > 0 => Ok(()),
            Ok(_) => {
                let mut text = String::new();
                let _ = tokio::io::AsyncReadExt::read_to_string(&mut err, &mut text).await;
                let status = child.wait().await.map_err(|e| fail(e.to_string()))?;
                // Another command may have been quicker: then its daemon answers.
                if status.code() == Some(i32::from(crate::daemon::ALREADY_UP)) {
                    tokio::time::sleep(LOOK_AGAIN).await;
                    return Ok(());
                }
                Err(failure_of_child(text.trim()).unwrap_or_else(|| fail(text.trim().to_owned())))
            }
            Err(_) => Err(fail(format!("it said nothing for {} s", START_WAIT.as_secs()))),
        }
    }

    /// Sends a request and reads a JSON answer.
    pub(crate) async fn json<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&serde_json::Value>,
    ) -> Result<T, Failure> {
        let bytes = match body {
            Some(body) => serde_json::to_vec(body).map_err(|e| internal(&e.to_string()))?,
            None => Vec::new(),
        };
        let response = self.send(method, path, "application/json", full(bytes)).await?;
        let bytes = collect(response).await?;
        serde_json::from_slice(&bytes).map_err(|e| internal(&format!("the daemon's answer is not understood: {e}")))
    }

    /// Sends a request and gives the answer when its head is a success.
    pub(crate) async fn send(&self, method: Method, path: &str, kind: &str, body: Body) -> Result<Response<Incoming>, Failure> {
        self.connection().await?.send(method, path, kind, body).await
    }

    /// Hands descriptors to the daemon. They stay there as long as the ticket lives.
    pub(crate) async fn hand_over(&self, fds: &[OwnedFd]) -> Result<Ticket, Failure> {
        // The connection above has made sure that there is a daemon.
        drop(self.connection().await?);
        let stream = connect(&self.run_dir, api::FDS_SOCKET).await.map_err(|e| went_away(&format!("it takes no descriptors: {e}")))?;
        let borrowed: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
        stream.writable().await.map_err(|e| internal(&e.to_string()))?;
        jail::scm::send(stream.as_fd(), b"f", &borrowed).map_err(|e| went_away(&format!("descriptors cannot be sent: {e}")))?;
        let mut reader = tokio::io::BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).await.map_err(|e| went_away(&e.to_string()))?;
        let name = line.trim().to_owned();
        if name.is_empty() {
            // Refused, or it died over it.
            return Err(if self.is_up().await { internal("the daemon took no descriptors") } else { went_away("it took no descriptors") });
        }
        Ok(Ticket { name, _held: reader.into_inner() })
    }
}

/// Descriptors that the daemon holds.
#[derive(Debug)]
pub(crate) struct Ticket {
    /// What requests call them.
    pub(crate) name: String,
    _held: UnixStream,
}

/// One HTTP connection.
pub(crate) struct Connection {
    sender: SendRequest<Body>,
}

impl Connection {
    async fn over(stream: UnixStream) -> Result<Self, Failure> {
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|e| internal(&format!("no HTTP with the daemon: {e}")))?;
        // The connection's own task ends when the sender is dropped; the command lives no longer than it.
        #[expect(clippy::disallowed_methods, reason = "a client process has no component that could own the task")]
        tokio::spawn(connection.with_upgrades());
        Ok(Self { sender })
    }

    /// Sends one request; an answer that is no success becomes the failure that it carries.
    pub(crate) async fn send(mut self, method: Method, path: &str, kind: &str, body: Body) -> Result<Response<Incoming>, Failure> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "lazaret")
            .header("content-type", kind)
            .header("accept", "application/json")
            .body(body)
            .map_err(|e| internal(&e.to_string()))?;
        self.send_request(request).await
    }

    /// The same for a whole request.
    pub(crate) async fn send_request(&mut self, request: Request<Body>) -> Result<Response<Incoming>, Failure> {
        let response = self.sender.send_request(request).await.map_err(|e| went_away(&model::chain(&e)))?;
        if response.status().is_success() || response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(response);
        }
        let status = response.status();
        let bytes = collect(response).await?;
        Err(failure_of(&bytes).unwrap_or_else(|| internal(&format!("the daemon answered {status}"))))
    }
}

/// The failure in an answer `{"error": {...}}`.
pub(crate) fn failure_of(bytes: &[u8]) -> Option<Failure> {
    let value: serde_json::Value = serde_json::from_slice(bytes).ok()?;
    serde_json::from_value(value.get("error")?.clone()).ok()
}

/// A daemon that could not start prints what a command prints: take it over as it is.
fn failure_of_child(text: &str) -> Option<Failure> {
    let (head, hint) = text.split_once("\nhint: ").map_or((text, None), |(head, hint)| (head, Some(hint)));
    let (code, message) = head.strip_prefix("error[")?.split_once("]: ")?;
    let code = *Code::ALL.iter().find(|c| c.as_str() == code)?;
    let failure = Failure::new(code, message);
    Some(match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    })
}

/// A body of bytes that are at hand.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed()
}

/// A whole body, within the limit.
pub(crate) async fn collect(response: Response<Incoming>) -> Result<Bytes, Failure> {
    let limited = http_body_util::Limited::new(response.into_body(), ANSWER_BYTES_MAX);
    let collected = limited.collect().await.map_err(|e| Failure::new(Code::DaemonMissing, format!("the daemon's answer was cut: {e}")))?;
    Ok(collected.to_bytes())
}

/// Connects to a socket by its directory, so that the length of the home's path does not matter.
async fn connect(run_dir: &Path, name: &str) -> std::io::Result<UnixStream> {
    let dir = rustix::fs::open(run_dir, rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC, rustix::fs::Mode::empty())?;
    UnixStream::connect(format!("/proc/self/fd/{}/{name}", dir.as_raw_fd())).await
}

/// It was there a moment ago.
fn went_away(why: &str) -> Failure {
    Failure::new(Code::DaemonMissing, format!("the daemon went away: {why}"))
}

pub(crate) fn internal(why: &str) -> Failure {
    Failure::new(Code::Internal, why)
}
