//! One HTTP request, one reply, one connection. Redirects are the caller's.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use http::{Method, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use super::{Net, NetError, Url};

/// How long the head of a reply may take.
const HEAD: Duration = Duration::from_secs(25);
/// How long a reply may be silent.
const SILENCE: Duration = Duration::from_secs(25);
/// What is slow when no answer comes.
pub(crate) const ANSWER: &str = "the answer";
/// What servers see as the program.
const AGENT: &str = concat!("lazaret/", env!("CARGO_PKG_VERSION"));

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// A reply whose body is still to come.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    host: String,
    body: Incoming,
    /// Moves the bytes; it must be polled for the body to come. `None` when it has ended.
    connection: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Ask {
    /// A request without a body.
    pub(crate) fn new(method: Method, url: Url) -> Self {
        Self { method, url, headers: HeaderMap::new(), body: Bytes::new() }
    }

    /// Adds a header. A value with line ends or other control characters is refused.
    pub(crate) fn header(mut self, name: HeaderName, value: &str) -> Result<Self, NetError> {
        let mut value = HeaderValue::from_str(value).map_err(|_| NetError::Url(format!("the value of `{name}` has control characters")))?;
        value.set_sensitive(name == http::header::AUTHORIZATION);
        self.headers.insert(name, value);
        Ok(self)
    }

    /// Adds a body.
    pub(crate) fn body(mut self, kind: &'static str, body: impl Into<Bytes>) -> Self {
        self.headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static(kind));
        self.body = body.into();
        self
    }
}

impl Net {
    /// Sends a request on a connection of its own and waits for the head of the reply.
    pub(crate) async fn send(&self, ask: Ask) -> Result<Reply, NetError> {
        let stream = self.dial_url(&ask.url).await?;
        let host = ask.url.host.clone();
        let broken = |why: String| NetError::Broken { host: host.clone(), why };
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|e| broken(e.to_string()))?;
        let mut connection: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(async move { drop(connection.await) });
        let request = into_request(ask).map_err(|e| broken(e.to_string()))?;
        let sent = sender.send_request(request);
        tokio::pin!(sent);
        let mut ended = false;
        let head = timeout(HEAD, async {
            loop {
                tokio::select! {
                    biased;
                    reply = &mut sent => return reply,
                    () = &mut connection, if !ended => ended = true,
                }
            }
        });
        let reply = head.await.map_err(|_| NetError::Slow(ANSWER))?.map_err(|e| broken(e.to_string()))?;
        let (parts, body) = reply.into_parts();
        let connection = (!ended).then_some(connection);
        Ok(Reply { status: parts.status, headers: parts.headers, host, body, connection })
    }
}

fn into_request(ask: Ask) -> Result<http::Request<Full<Bytes>>, http::Error> {
    let has_body = !ask.body.is_empty() || matches!(ask.method, Method::POST | Method::PUT | Method::PATCH);
    let mut request = http::Request::builder().method(ask.method).uri(ask.url.path.as_str());
    let length = ask.body.len();
    if let Some(headers) = request.headers_mut() {
        *headers = ask.headers;
        if !headers.contains_key(USER_AGENT) {
            headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        }
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
    request = request.header(HOST, ask.url.authority());
    if has_body {
        request = request.header(CONTENT_LENGTH, length);
    }
    request.body(Full::new(ask.body))
}

impl Reply {
    /// A header's value, when it is there once and is text.
    pub(crate) fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The next piece of the body.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, NetError> {
        let next = async {
            loop {
                let frame = match self.connection.as_mut() {
                    None => self.body.frame().await,
                    Some(connection) => tokio::select! {
                        biased;
                        frame = self.body.frame() => frame,
                        () = connection => {
                            self.connection = None;
                            continue;
                        }
                    },
                };
                match frame {
                    None => return Ok(None),
                    Some(Err(error)) => return Err(error.to_string()),
                    Some(Ok(frame)) => {
                        if let Ok(data) = frame.into_data() {
                            return Ok(Some(data));
                        }
                    }
                }
            }
        };
        let found = timeout(SILENCE, next).await.map_err(|_| NetError::Slow(ANSWER))?;
        found.map_err(|why| NetError::Broken { host: self.host.clone(), why })
    }

    /// The whole body, which may have at most `max` bytes, decoded ones included.
    pub(crate) async fn bytes(mut self, max: usize) -> Result<Vec<u8>, NetError> {
        let (bytes, whole) = self.prefix(max).await?;
        if whole { Ok(bytes) } else { Err(NetError::TooMuch { host: self.host.clone(), max }) }
    }

    /// Up to `max` bytes of the body, and whether that is all of it.
    pub(crate) async fn prefix(&mut self, max: usize) -> Result<(Vec<u8>, bool), NetError> {
        let mut bytes = Vec::new();
        let mut whole = true;
        while let Some(chunk) = self.chunk().await? {
            let room = max - bytes.len();
            bytes.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if chunk.len() > room {
                whole = false;
                break;
            }
        }
        // Some servers compress although nobody asked for it.
        match self.header(&CONTENT_ENCODING).map(str::to_ascii_lowercase).as_deref() {
            None | Some("" | "identity") => Ok((bytes, whole)),
            Some("gzip" | "x-gzip") => {
                use std::io::Read;
                let mut decoded = Vec::new();
                let room = max as u64 + 1;
                let read = flate2::read::MultiGzDecoder::new(bytes.as_slice()).take(room).read_to_end(&mut decoded);
                if let (Err(error), true) = (read, whole) {
                    return Err(NetError::Broken { host: self.host.clone(), why: error.to_string() });
                }
                let fits = decoded.len() <= max;
                decoded.truncate(max);
                Ok((decoded, whole && fits))
            }
            Some(other) => {
                let why = format!("the answer is encoded as `{}`, which nobody asked for", other.escape_debug());
                Err(NetError::Broken { host: self.host.clone(), why })
            }
        }
    }

    /// The whole body as JSON.
    pub(crate) async fn json(self, max: usize) -> Result<serde_json::Value, NetError> {
        let host = self.host.clone();
        let bytes = self.bytes(max).await?;
        serde_json::from_slice(&bytes).map_err(|e| NetError::Broken { host, why: format!("the answer is not JSON: {e}") })
    }
}
