//! Requests to platforms: pooled connections, limits of time and size, no redirects.

use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT};
use http::{Method, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioTimer;
use serde_json::Value;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use wire::chat::Failing;

use crate::dial::Dial;
use crate::network::DeliverError;
use crate::sink::Sink;
use crate::surroundings::Surroundings;

/// How long the head of a reply may take where nothing else is said.
const HEAD: Duration = Duration::from_secs(30);
/// How long a reply may be silent.
const SILENCE: Duration = Duration::from_secs(30);
/// How long a connection without work is kept.
const IDLE: Duration = Duration::from_secs(30);
/// Connections without work that are kept for each host.
const IDLE_MAX: usize = 4;
/// The largest reply that is read as JSON, in bytes.
pub(crate) const JSON_BYTES_MAX: usize = 8 << 20;
/// The longest that a platform may ask to be left alone.
const AFTER_MAX: Duration = Duration::from_secs(3600);
/// What servers see as the program.
const AGENT: &str = concat!("lazaret/", env!("CARGO_PKG_VERSION"));

/// Why a request has no usable reply.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum HttpError {
    /// The proxy does not let this channel reach that host.
    #[error("{host}:{port} is not on the list of hosts that this channel may reach; its owner can add it")]
    Denied {
        /// The host.
        host: String,
        /// The port.
        port: u16,
    },
    /// No connection could be made.
    #[error("{host}:{port} cannot be reached: {why}")]
    Unreachable {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// What happened.
        why: String,
    },
    /// TLS could not be agreed on.
    #[error("there is no safe connection to {host}: {why}")]
    Tls {
        /// The host.
        host: String,
        /// What is wrong.
        why: String,
    },
    /// It broke off after the request began to leave, or took too long.
    #[error("the platform's answer did not come: {0}")]
    Broken(String),
    /// More came than is taken.
    #[error("the platform's answer has more than {0} bytes")]
    TooMuch(usize),
    /// A request cannot be written, or an answer is not of its form.
    #[error("{0}")]
    Form(String),
}

impl HttpError {
    /// Whether the platform may have got the request.
    pub(crate) fn may_have_arrived(&self) -> bool {
        matches!(self, Self::Broken(_) | Self::TooMuch(_))
    }
}

/// The client. A cheap handle.
#[derive(Clone)]
pub(crate) struct Http {
    dial: Dial,
    client: Client<Dial, Full<Bytes>>,
}

/// Runs the client's connections on a tracker of ours.
#[derive(Clone)]
struct Tracked(TaskTracker);

impl<F> hyper::rt::Executor<F> for Tracked
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        self.0.spawn(future);
    }
}

impl Http {
    /// A client whose connections are tasks of `tasks`.
    pub(crate) fn new(around: &Surroundings, tasks: &TaskTracker) -> Self {
        let dial = Dial::new(around);
        let mut client = Client::builder(Tracked(tasks.clone()));
        client.pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE).pool_max_idle_per_host(IDLE_MAX);
        Self { client: client.build(dial.clone()), dial }
    }

    /// Connections for what is not HTTP.
    pub(crate) fn dial(&self) -> &Dial {
        &self.dial
    }

    /// Sends a request and waits for the head of the reply.
    ///
    /// # Errors
    /// There is none. Any status is a reply.
    pub(crate) async fn send(&self, ask: Ask) -> Result<Reply, HttpError> {
        let mut request = http::Request::builder().method(ask.method).uri(ask.url);
        if let Some(headers) = request.headers_mut() {
            *headers = ask.headers;
            headers.entry(USER_AGENT).or_insert(HeaderValue::from_static(AGENT));
        }
        let request = request.body(Full::new(ask.body)).map_err(|e| HttpError::Form(format!("a request cannot be written: {e}")))?;
        let reply = timeout(ask.patience, self.client.request(request)).await;
        match reply.map_err(|_| HttpError::Broken("it took too long".to_owned()))? {
            Ok(reply) => {
                let (parts, body) = reply.into_parts();
                Ok(Reply { status: parts.status, headers: parts.headers, body })
            }
            Err(error) => {
                let mut source: Option<&(dyn std::error::Error + 'static)> = Some(&error);
                while let Some(inner) = source {
                    if let Some(known) = inner.downcast_ref::<HttpError>() {
                        return Err(known.clone());
                    }
                    source = inner.source();
                }
                Err(HttpError::Broken(model::chain(&error)))
            }
        }
    }
}

/// A request.
pub(crate) struct Ask {
    method: Method,
    url: Uri,
    headers: HeaderMap,
    body: Bytes,
    patience: Duration,
}

impl Ask {
    /// A request without a body.
    pub(crate) fn new(method: Method, url: Uri) -> Self {
        Self { method, url, headers: HeaderMap::new(), body: Bytes::new(), patience: HEAD }
    }

    /// A request that asks for something.
    pub(crate) fn get(url: Uri) -> Self {
        Self::new(Method::GET, url)
    }

    /// A request that brings JSON.
    pub(crate) fn post(url: Uri, body: &Value) -> Self {
        Self::new(Method::POST, url).json(body)
    }

    /// Adds a header. A value with control characters makes the request one that is sent without it, and so refused.
    pub(crate) fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(mut value) = HeaderValue::from_str(value) {
            value.set_sensitive(name == AUTHORIZATION);
            self.headers.insert(name, value);
        }
        self
    }

    /// Adds a bearer token.
    pub(crate) fn bearer(self, token: &str) -> Self {
        self.header(AUTHORIZATION, &format!("Bearer {token}"))
    }

    /// Brings JSON.
    pub(crate) fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string())
    }

    /// Brings a form.
    pub(crate) fn form(self, pairs: &[(&str, &str)]) -> Self {
        let pairs: Vec<String> = pairs.iter().map(|(key, value)| format!("{}={}", encode(key), encode(value))).collect();
        self.body("application/x-www-form-urlencoded", pairs.join("&"))
    }

    /// Brings a form of parts.
    pub(crate) fn multipart(self, form: Multipart) -> Self {
        let (kind, body) = form.end();
        self.body(&kind, body)
    }

    /// Brings a body of some kind.
    pub(crate) fn body(mut self, kind: &str, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self.header(CONTENT_TYPE, kind)
    }

    /// Says how long the head of the reply may take.
    pub(crate) fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }
}

/// A reply whose body is still to come.
pub(crate) struct Reply {
    /// The status.
    pub(crate) status: StatusCode,
    headers: HeaderMap,
    body: Incoming,
}

impl Reply {
    /// A header's value, when it is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// When to come again, as the platform says: in seconds.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        self.header(RETRY_AFTER.as_str()).and_then(seconds)
    }

    /// The next piece of the body.
    async fn chunk(&mut self) -> Result<Option<Bytes>, HttpError> {
        loop {
            let frame = timeout(SILENCE, self.body.frame()).await.map_err(|_| HttpError::Broken("it fell silent".to_owned()))?;
            match frame {
                None => return Ok(None),
                Some(Err(error)) => return Err(HttpError::Broken(error.to_string())),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    /// The whole body, which may have at most `max` bytes.
    ///
    /// # Errors
    /// It has more, or broke off.
    pub(crate) async fn bytes(mut self, max: usize) -> Result<Vec<u8>, HttpError> {
        let mut bytes = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            if chunk.len() > max - bytes.len() {
                return Err(HttpError::TooMuch(max));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    /// The beginning of the body, at least `max` bytes of it where it has them; the rest is left unread.
    ///
    /// # Errors
    /// It broke off before.
    pub(crate) async fn beginning(mut self, max: usize) -> Result<Vec<u8>, HttpError> {
        let mut bytes = Vec::new();
        while bytes.len() < max
            && let Some(chunk) = self.chunk().await?
        {
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    /// The whole body as JSON; null where it is none, so that an error's status is not lost behind its page.
    ///
    /// # Errors
    /// It is too large, or broke off.
    pub(crate) async fn json(self) -> Result<Value, HttpError> {
        Ok(serde_json::from_slice(&self.bytes(JSON_BYTES_MAX).await?).unwrap_or(Value::Null))
    }

    /// Hands a file on as it comes.
    ///
    /// # Errors
    /// The status says that there is none, it is too large, or it broke off; for a person.
    pub(crate) async fn into_sink(mut self, sink: &mut Sink) -> Result<(), String> {
        if !self.status.is_success() {
            return Err(format!("the platform answered {}", self.status.as_u16()));
        }
        let length = self.header(CONTENT_LENGTH.as_str()).and_then(|length| length.parse::<u64>().ok());
        if length.is_some_and(|length| length > sink.max()) {
            return Err(format!("the file has more than {} bytes", sink.max()));
        }
        while let Some(chunk) = self.chunk().await.map_err(|e| e.to_string())? {
            sink.push(&chunk).await?;
        }
        Ok(())
    }
}

/// What a status other than success says about a delivery. `after` is when to come again, `said` the platform's words.
pub(crate) fn refused(status: StatusCode, after: Option<Duration>, said: &str) -> DeliverError {
    let said: String = said.chars().filter(|c| !c.is_control()).take(300).collect();
    let why = match status.as_u16() {
        429 => Failing::Rate,
        401 => Failing::Credential,
        // Something behind the platform's door was asked and did not answer.
        502 | 504 => Failing::Unknown,
        408 | 425 | 500.. => Failing::Passing,
        _ => Failing::Final,
    };
    let message = format!("the platform answered {}{}{said}", status.as_u16(), if said.is_empty() { "" } else { ": " });
    DeliverError::new(why, message).after(after)
}

/// A number of seconds, whole or not, no longer than is waited for at most.
pub(crate) fn seconds(text: &str) -> Option<Duration> {
    let seconds: f64 = text.trim().parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok().map(|after| after.min(AFTER_MAX))
}

/// Where a platform's API is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Base {
    /// Scheme and authority, then a path without a slash at its end.
    text: String,
    uri: Uri,
}

impl Base {
    /// Reads a configured address, or the platform's own.
    ///
    /// # Errors
    /// It is not `https://HOST[:PORT][/PATH]` or `http://` of it, for a person.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let bad = || format!("`{}` is not an address like https://HOST", text.escape_debug());
        let text = text.trim_end_matches('/');
        let uri: Uri = text.parse().map_err(|_| bad())?;
        let plain = uri.authority().is_some_and(|a| !a.as_str().contains('@')) && uri.query().is_none() && !text.contains('#');
        if !plain || !matches!(uri.scheme_str(), Some("http" | "https" | "ws" | "wss")) {
            return Err(bad());
        }
        Ok(Self { text: text.to_owned(), uri })
    }

    /// The address that a key of the configuration names.
    ///
    /// # Errors
    /// It is none.
    pub(crate) fn named(key: &str, text: &str) -> Result<Self, crate::network::OpenError> {
        Self::parse(text).map_err(|why| crate::network::OpenError::of(key, why))
    }

    /// An address below it. `path` begins with a slash; its variable parts went through [`encode`].
    ///
    /// # Errors
    /// It makes no address.
    pub(crate) fn at(&self, path: &str) -> Result<Uri, HttpError> {
        format!("{}{path}", self.text).parse().map_err(|_| HttpError::Form("an address cannot be written".to_owned()))
    }

    /// Whether an address that the platform gave leads to the same server in the same way: credentials go nowhere else.
    pub(crate) fn is_origin_of(&self, other: &Uri) -> bool {
        origin(&self.uri) == origin(other)
    }
}

/// Scheme, host and port, websockets counting as what they are carried by.
pub(crate) fn origin(uri: &Uri) -> (bool, String, u16) {
    let secure = matches!(uri.scheme_str(), Some("https" | "wss"));
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    (secure, uri.host().unwrap_or("").to_ascii_lowercase(), port)
}

/// A value as one piece of a path, query or form: it can add nothing of its own.
pub(crate) fn encode(value: &str) -> String {
    // Left as they are they would be resolved on the way.
    if matches!(value, "." | "..") {
        return value.replace('.', "%2E");
    }
    let mut encoded = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// A value of a query or form as it was meant. `None` when it is not text.
pub(crate) fn decode(value: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

/// A form of parts: fields and files.
pub(crate) struct Multipart {
    boundary: String,
    body: Vec<u8>,
}

impl Multipart {
    /// An empty form.
    pub(crate) fn new() -> Self {
        let mut chance = [0; 16];
        // A boundary that could be guessed would let a file add parts.
        let known = getrandom::fill(&mut chance).is_ok();
        let boundary = format!("lazaret-{}-{}", crate::sign::hex(&chance), if known { 1 } else { crate::clock::now_ms() });
        Self { boundary, body: Vec::new() }
    }

    /// Adds a field.
    pub(crate) fn field(mut self, name: &str, value: &str) -> Self {
        self.head(&format!("name=\"{}\"", quoted(name)), None);
        self.body.extend_from_slice(value.as_bytes());
        self.body.extend_from_slice(b"\r\n");
        self
    }

    /// Adds a file.
    pub(crate) fn file(mut self, name: &str, file: &crate::network::File) -> Self {
        self.head(&format!("name=\"{}\"; filename=\"{}\"", quoted(name), quoted(file.name())), Some(file.mime()));
        self.body.extend_from_slice(&file.bytes);
        self.body.extend_from_slice(b"\r\n");
        self
    }

    fn head(&mut self, disposition: &str, kind: Option<&str>) {
        self.body.extend_from_slice(format!("--{}\r\nContent-Disposition: form-data; {disposition}\r\n", self.boundary).as_bytes());
        if let Some(kind) = kind {
            let kind: String = kind.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').collect();
            self.body.extend_from_slice(format!("Content-Type: {kind}\r\n").as_bytes());
        }
        self.body.extend_from_slice(b"\r\n");
    }

    fn end(mut self) -> (String, Vec<u8>) {
        self.body.extend_from_slice(format!("--{}--\r\n", self.boundary).as_bytes());
        (format!("multipart/form-data; boundary={}", self.boundary), self.body)
    }
}

/// A name between quotes: what would end it is written in percents, as browsers do.
fn quoted(name: &str) -> String {
    name.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stay_one_piece() {
        assert_eq!(encode("a/b?c#d e"), "a%2Fb%3Fc%23d%20e");
        assert_eq!((encode(".."), encode(".")), ("%2E%2E".to_owned(), "%2E".to_owned()));
        for text in ["", "a&b=c\r\n", "ä+ü%", "%zz"] {
            assert_eq!(decode(&encode(text)).as_deref(), Some(text));
        }
        assert_eq!(decode("a+b"), Some("a b".to_owned()));
        assert_eq!((decode("%"), decode("%f"), decode("%ff"), decode("%zz")), (None, None, None, None));
    }

    #[test]
    fn a_base_is_a_plain_address() {
        let base = Base::parse("http://127.0.0.1:8080/api/").unwrap();
        assert_eq!(base.at("/x?y=1").unwrap().to_string(), "http://127.0.0.1:8080/api/x?y=1");
        assert!(base.is_origin_of(&"ws://127.0.0.1:8080/other".parse().unwrap()));
        for other in ["https://127.0.0.1:8080/", "http://127.0.0.1/", "http://127.0.0.2:8080/", "/api"] {
            assert!(!base.is_origin_of(&other.parse().unwrap()), "{other}");
        }
        for wrong in
            ["", "example.org", "ftp://example.org", "https://user:pw@example.org", "https://example.org/?q", "https://a b", "https://a/#f"]
        {
            assert!(Base::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_of_files_end_no_header() {
        let about =
            wire::chat::Attachment { id: "1".to_owned(), name: "a\"\r\nX: y".to_owned(), mime: "text/x\r\nZ: 1".to_owned(), size: None };
        let file = crate::network::File { about, bytes: Bytes::from_static(b"hello") };
        let (_, body) = Multipart::new().field("k", "v").file("doc", &file).end();
        let body = String::from_utf8(body).unwrap();
        assert!(body.contains("filename=\"a%22%0D%0AX: y\"\r\nContent-Type: text/xZ: 1\r\n\r\nhello\r\n--"), "{body}");
        assert!(!body.contains("\nX: y") && !body.contains("\nZ:"));
    }

    #[test]
    fn waits_are_bounded() {
        assert_eq!(seconds("1.5"), Some(Duration::from_millis(1500)));
        assert_eq!(seconds("1e300"), None);
        assert_eq!(seconds("999999"), Some(AFTER_MAX));
        assert_eq!((seconds("-1"), seconds("nan"), seconds("soon")), (None, None, None));
    }
}
