//! Connections: through the proxy where there is one, with TLS where it is wanted.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncBufRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::http::HttpError;
use crate::surroundings::Surroundings;

/// How long a connection may take to stand, the proxy's part included.
const CONNECT: Duration = Duration::from_secs(20);
/// How long the handshake of TLS may take.
const HANDSHAKE: Duration = Duration::from_secs(15);
/// The longest answer of the proxy, in bytes.
const ANSWER_BYTES_MAX: usize = 8 << 10;

/// A connection, with or without TLS.
pub(crate) trait Stream: AsyncBufRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncBufRead + AsyncWrite + Unpin + Send> Stream for T {}
/// Any connection.
pub(crate) type BoxStream = Box<dyn Stream>;

/// The way out. A cheap handle.
#[derive(Clone)]
pub(crate) struct Dial {
    proxy: Option<String>,
    tls: TlsConnector,
}

impl Dial {
    /// The way out that these surroundings have. Authorities that cannot be read are left out; with none at all every
    /// connection with TLS fails, none is less safe.
    pub(crate) fn new(around: &Surroundings) -> Self {
        let found = around.roots.as_deref().map_or_else(|| rustls_native_certs::load_native_certs().certs, certificates);
        let mut roots = rustls::RootCertStore::empty();
        roots.add_parsable_certificates(found);
        let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider knows the versions that are the default")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self { proxy: around.proxy.clone(), tls: TlsConnector::from(Arc::new(config)) }
    }

    /// The connection that an address needs: `https` and `wss` have TLS.
    pub(crate) async fn uri(&self, uri: &Uri) -> Result<BoxStream, HttpError> {
        let secure = matches!(uri.scheme_str(), Some("https" | "wss"));
        let host = uri.host().ok_or_else(|| HttpError::Form("an address has no host".to_owned()))?;
        self.host(host, uri.port_u16().unwrap_or(if secure { 443 } else { 80 }), secure).await
    }

    /// A connection to a host.
    pub(crate) async fn host(&self, host: &str, port: u16, secure: bool) -> Result<BoxStream, HttpError> {
        let slow = || HttpError::Unreachable { host: host.to_owned(), port, why: "it took too long".to_owned() };
        let stream: BoxStream = Box::new(timeout(CONNECT, self.tunnel(host, port)).await.map_err(|_| slow())??);
        if secure { self.secure(host, stream).await } else { Ok(stream) }
    }

    /// Begins TLS on a connection that stands.
    pub(crate) async fn secure(&self, host: &str, stream: BoxStream) -> Result<BoxStream, HttpError> {
        let bad = |why: String| HttpError::Tls { host: host.to_owned(), why };
        let name = ServerName::try_from(host.to_owned()).map_err(|_| bad("its name is none that a certificate can have".to_owned()))?;
        let secured = timeout(HANDSHAKE, self.tls.connect(name, stream)).await.map_err(|_| bad("it took too long".to_owned()))?;
        Ok(Box::new(BufReader::new(secured.map_err(|e| bad(e.to_string()))?)))
    }

    async fn tunnel(&self, host: &str, port: u16) -> Result<BufReader<TcpStream>, HttpError> {
        let unreachable = |why: String| HttpError::Unreachable { host: host.to_owned(), port, why };
        let proxy = match &self.proxy {
            None => None,
            Some(proxy) => Some(proxy_address(proxy).ok_or_else(|| unreachable("the address of the proxy is not HOST:PORT".to_owned()))?),
        };
        let stream = TcpStream::connect(proxy.unwrap_or((host, port))).await.map_err(|e| unreachable(e.to_string()))?;
        stream.set_nodelay(true).map_err(|e| unreachable(e.to_string()))?;
        let mut stream = BufReader::new(stream);
        if proxy.is_none() {
            return Ok(stream);
        }
        let request = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.map_err(|e| unreachable(e.to_string()))?;
        // One byte at a time out of the buffer: what follows the head belongs to the tunnel.
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if head.len() >= ANSWER_BYTES_MAX {
                return Err(unreachable("the proxy's answer is too long".to_owned()));
            }
            head.push(stream.read_u8().await.map_err(|e| unreachable(format!("the proxy broke off: {e}")))?);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        match head.split(' ').nth(1).unwrap_or("") {
            "200" => Ok(stream),
            "403" => Err(HttpError::Denied { host: host.to_owned(), port }),
            status => Err(unreachable(format!("the proxy answered {}", status.escape_debug()))),
        }
    }
}

fn certificates(path: &Path) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_file_iter(path).map(|all| all.flatten().collect()).unwrap_or_default()
}

/// `http://HOST:PORT`, with or without the scheme and a slash at the end.
fn proxy_address(text: &str) -> Option<(&str, u16)> {
    let text = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
    let (host, port) = text.rsplit_once(':')?;
    let plain = !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-');
    Some((host, port.parse().ok().filter(|p| *p != 0 && plain)?))
}

/// Makes connections for the HTTP client.
impl tower::Service<Uri> for Dial {
    type Response = Wire;
    type Error = HttpError;
    type Future = Pin<Box<dyn Future<Output = Result<Wire, HttpError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), HttpError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let dial = self.clone();
        Box::pin(async move { Ok(Wire(TokioIo::new(dial.uri(&uri).await?))) })
    }
}

/// A connection as the HTTP client wants it.
pub(crate) struct Wire(TokioIo<BoxStream>);

impl Connection for Wire {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl hyper::rt::Read for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: hyper::rt::ReadBufCursor<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl hyper::rt::Write for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
