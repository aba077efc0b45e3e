//! Requests that the daemon itself sends to addresses that others named: webhooks, and the owner's collectors.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::uri::Scheme;
use http::{HeaderMap, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, crypto};
use tokio::sync::OnceCell;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::authority::client_config;
use super::head::Target;
use super::stream::Io;
use super::{AuthorityError, Egress, Refusal, refused_range};

/// Bytes of an address.
pub const ADDRESS_BYTES_MAX: usize = 2048;
/// Bytes of an answer that are read; what comes after them is not looked at.
const ANSWER_BYTES_MAX: usize = 4096;

/// Where a request goes: `http` or `https`, a canonical host, a port and a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    target: Target,
    is_sealed: bool,
    /// The path with its query.
    path: String,
}

/// Why a text is no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AddressError(&'static str);

impl Address {
    /// Reads an address strictly.
    ///
    /// # Errors
    /// [`AddressError`] says what is wrong with it, for people.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if text.is_empty() || text.len() > ADDRESS_BYTES_MAX {
            return Err(AddressError("the address has not 1 to 2048 bytes"));
        }
        if text.bytes().any(|b| !b.is_ascii_graphic() || b == b'\\' || b == b'#') {
            return Err(AddressError("the address has a space, a backslash, a fragment or a character that is not ASCII"));
        }
        let uri: Uri = text.parse().map_err(|_| AddressError("the address is no URL"))?;
        let is_sealed = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => false,
            _ => return Err(AddressError("the address begins neither with http:// nor with https://")),
        };
        let authority = uri.authority().ok_or(AddressError("the address has no host"))?;
        if authority.as_str().contains('@') {
            return Err(AddressError("the address has a user in it"));
        }
        let usual = if is_sealed { 443 } else { 80 };
        let port = match authority.as_str().strip_prefix(authority.host()).map(|rest| rest.strip_prefix(':').unwrap_or(rest)) {
            Some("") if !authority.as_str().ends_with(':') => usual,
            port => port.and_then(|p| p.parse().ok()).filter(|p| *p != 0).ok_or(AddressError("the address has no such port"))?,
        };
        let host = model::canonical_host(authority.host()).map_err(AddressError)?;
        let path = uri.path_and_query().map_or("/", |p| p.as_str()).to_owned();
        Ok(Self { target: Target { host, port }, is_sealed, path })
    }

    /// Why it must not be sent to, when that can be told without asking for its name.
    #[must_use]
    pub fn refused(&self, private_ok: &[IpAddr]) -> Option<&'static str> {
        let address: IpAddr = self.target.host.parse().ok()?;
        refused_range(address).filter(|_| !private_ok.contains(&address))
    }

    /// The canonical host.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.target.host
    }

    /// The value of the field `Host`.
    fn authority(&self) -> String {
        let usual = if self.is_sealed { 443 } else { 80 };
        if self.target.port == usual { self.target.host.clone() } else { format!("{}:{}", self.target.host, self.target.port) }
    }
}

/// How far a request may go.
#[derive(Debug, Clone)]
pub enum Reach {
    /// To the open internet, and to these private addresses.
    Open(Vec<IpAddr>),
    /// Wherever the address leads: the owner of this machine wrote it.
    Anywhere,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The beginning of the body; of what was posted, at most 4 KiB.
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CourierError {
    /// The address could not be reached, or may not be.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// TLS could not be set up on this side.
    #[error("failed to set up TLS: {0}")]
    Tls(#[from] AuthorityError),
    /// The answer was not there in time.
    #[error("there was no answer within {} s", .0.as_secs())]
    Slow(Duration),
    /// The connection broke.
    #[error("the connection ended before there was an answer")]
    Broken,
}

/// Sends requests, each over a connection of its own. The name is asked for once and the address that was checked is the one that
/// is dialled; redirects are answers like others and are not followed.
pub struct Courier {
    egress: Egress,
    tls: OnceCell<Arc<ClientConfig>>,
    extra_roots: Option<PathBuf>,
}

impl Courier {
    /// One that trusts the authorities of this machine, and those of a PEM file.
    #[must_use]
    pub fn new(egress: Egress, extra_roots: Option<PathBuf>) -> Self {
        Self { egress, tls: OnceCell::new(), extra_roots }
    }

    /// Posts `body` and waits for the answer, for at most `limit` altogether.
    ///
    /// # Errors
    /// [`CourierError`]; whether the other side has seen the request is not known then.
    pub async fn post(&self, to: &Address, reach: &Reach, fields: HeaderMap, body: Bytes, limit: Duration) -> Result<Answer, CourierError> {
        self.ask(Method::POST, to, reach, fields, body, (limit, ANSWER_BYTES_MAX)).await
    }

    /// Sends a request and waits for the answer, for at most so long and so many bytes of it altogether.
    ///
    /// # Errors
    /// As [`Courier::post`].
    pub async fn ask(
        &self,
        method: Method,
        to: &Address,
        reach: &Reach,
        fields: HeaderMap,
        body: Bytes,
        (limit, bytes_max): (Duration, usize),
    ) -> Result<Answer, CourierError> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.headers_mut() = fields;
        // Large: it holds TLS.
        let work = Box::pin(self.exchange(to, reach, request, bytes_max));
        timeout(limit, work).await.unwrap_or(Err(CourierError::Slow(limit)))
    }

    async fn exchange(
        &self,
        to: &Address,
        reach: &Reach,
        mut request: Request<Full<Bytes>>,
        bytes_max: usize,
    ) -> Result<Answer, CourierError> {
        let stream = self.egress.reach_by(&to.target, reach).await?;
        let io: Box<dyn Io> = if to.is_sealed { Box::new(self.seal(&to.target, stream).await?) } else { Box::new(stream) };
        let (mut sender, connection) = http1::handshake(TokioIo::new(io)).await.map_err(|_| CourierError::Broken)?;
        *request.uri_mut() = to.path.parse().map_err(|_| CourierError::Broken)?;
        let host = to.authority().parse().map_err(|_| CourierError::Broken)?;
        request.headers_mut().insert(header::HOST, host);
        let asked = async {
            let answer = sender.send_request(request).await.map_err(|_| CourierError::Broken)?;
            let status = answer.status();
            Ok(Answer { status, body: beginning(answer.into_body(), bytes_max).await })
        };
        tokio::pin!(connection, asked);
        // The connection may end before its answer was read to the end.
        tokio::select! {
            biased;
            answer = &mut asked => answer,
            _ = &mut connection => asked.await,
        }
    }

    async fn seal(&self, target: &Target, stream: tokio::net::TcpStream) -> Result<impl Io + use<>, CourierError> {
        let config = self.tls.get_or_try_init(|| async {
            let (path, provider) = (self.extra_roots.clone(), Arc::new(crypto::ring::default_provider()));
            let read = tokio::task::spawn_blocking(move || client_config(path, provider)).await;
            read.map_err(|_| AuthorityError::Stored("its reader broke"))?.map(Arc::new)
        });
        let config = Arc::clone(config.await?);
        let untrusted = |why: String| CourierError::Refused(Refusal::Untrusted { target: target.clone(), why });
        let name = ServerName::try_from(target.host.clone()).map_err(|_| untrusted("its name cannot be in a certificate".to_owned()))?;
        TlsConnector::from(config).connect(name, stream).await.map_err(|error: io::Error| untrusted(error.to_string()))
    }
}

/// The beginning of a body; whatever goes wrong ends it.
async fn beginning(mut body: hyper::body::Incoming, bytes_max: usize) -> Bytes {
    let mut read = Vec::new();
    while read.len() < bytes_max {
        match body.frame().await {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    let room = bytes_max - read.len();
                    read.extend_from_slice(&data[..data.len().min(room)]);
                }
            }
            Some(Err(_)) | None => break,
        }
    }
    Bytes::from(read)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests own what they spawn by its handle or by the end of the runtime")]
mod tests;
