//! Connections: through the proxy where there is one, with TLS where it is wanted.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncBufRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::Url;
use crate::surroundings::Surroundings;

/// How long a connection may take to stand, the proxy's part included.
const CONNECT: Duration = Duration::from_secs(20);
/// How long the handshake of TLS may take.
const HANDSHAKE: Duration = Duration::from_secs(15);
/// The longest answer of the proxy, in bytes.
const ANSWER_BYTES_MAX: usize = 8 << 10;

/// Why the other side could not be reached or talked to.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// The proxy does not let this plugin reach that host.
    #[error("{host}:{port} is not on the list of hosts that this plugin may reach; its owner can add it ({why})")]
    Denied {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// What the proxy said.
        why: String,
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
    /// It took too long.
    #[error("{0} took too long")]
    Slow(&'static str),
    /// It broke off, or what came makes no sense.
    #[error("the talk with {host} broke off: {why}")]
    Broken {
        /// The host.
        host: String,
        /// What happened.
        why: String,
    },
    /// More came than is taken.
    #[error("{host} sent more than {max} bytes")]
    TooMuch {
        /// The host.
        host: String,
        /// The limit.
        max: usize,
    },
    /// An address is not one.
    #[error("{0}")]
    Url(String),
}

impl From<super::url::UrlError> for NetError {
    fn from(error: super::url::UrlError) -> Self {
        Self::Url(error.to_string())
    }
}

/// A connection, with or without TLS.
pub(crate) trait Stream: AsyncBufRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncBufRead + AsyncWrite + Unpin + Send> Stream for T {}
/// Any connection.
pub(crate) type BoxStream = Box<dyn Stream>;

/// The way out. A cheap handle.
#[derive(Clone)]
pub(crate) struct Net {
    proxy: Option<(String, u16)>,
    tls: TlsConnector,
}

impl Net {
    /// The way out that these surroundings have. Authorities that cannot be read are left out; with none at all every
    /// connection with TLS fails, none is less safe.
    pub(crate) fn new(around: &Surroundings) -> Self {
        let found = match &around.roots {
            Some(path) => CertificateDer::pem_file_iter(path).map(|all| all.flatten().collect()).unwrap_or_default(),
            None => rustls_native_certs::load_native_certs().certs,
        };
        let mut roots = rustls::RootCertStore::empty();
        roots.add_parsable_certificates(found);
        let mut config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = Vec::new();
        Self { proxy: around.proxy.clone(), tls: TlsConnector::from(Arc::new(config)) }
    }

    /// A connection without TLS.
    pub(crate) async fn dial(&self, host: &str, port: u16) -> Result<BoxStream, NetError> {
        let stream = timeout(CONNECT, self.tunnel(host, port)).await.map_err(|_| NetError::Slow("connecting"))??;
        Ok(Box::new(stream))
    }

    /// A connection with TLS to the server of that name.
    pub(crate) async fn dial_tls(&self, host: &str, port: u16) -> Result<BoxStream, NetError> {
        let stream = self.dial(host, port).await?;
        self.secure(host, stream).await
    }

    /// The connection that an address needs.
    pub(crate) async fn dial_url(&self, url: &Url) -> Result<BoxStream, NetError> {
        if url.secure { self.dial_tls(&url.host, url.port).await } else { self.dial(&url.host, url.port).await }
    }

    /// Begins TLS on a connection that stands.
    pub(crate) async fn secure(&self, host: &str, stream: BoxStream) -> Result<BoxStream, NetError> {
        let bad = |why: String| NetError::Tls { host: host.to_owned(), why };
        let name = ServerName::try_from(host.to_owned()).map_err(|_| bad("its name is none that a certificate can have".to_owned()))?;
        let secured = timeout(HANDSHAKE, self.tls.connect(name, stream)).await.map_err(|_| NetError::Slow("the handshake of TLS"))?;
        Ok(Box::new(BufReader::new(secured.map_err(|e| bad(e.to_string()))?)))
    }

    async fn tunnel(&self, host: &str, port: u16) -> Result<BufReader<TcpStream>, NetError> {
        let unreachable = |why: String| NetError::Unreachable { host: host.to_owned(), port, why };
        let (to, at) = self.proxy.as_ref().map_or((host, port), |(host, port)| (host.as_str(), *port));
        let stream = TcpStream::connect((to, at)).await.map_err(|e| unreachable(e.to_string()))?;
        stream.set_nodelay(true).map_err(|e| unreachable(e.to_string()))?;
        let mut stream = BufReader::new(stream);
        if self.proxy.is_none() {
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
        let status = head.split(' ').nth(1).unwrap_or("");
        if status == "200" {
            return Ok(stream);
        }
        let mut body = Vec::new();
        let _ = stream.take(ANSWER_BYTES_MAX as u64).read_to_end(&mut body).await;
        let said = serde_json::from_slice::<serde_json::Value>(&body).ok();
        let said = said.as_ref().and_then(|v| v.pointer("/error/message")).and_then(serde_json::Value::as_str);
        let why = said.map_or_else(|| format!("the proxy answered {status}"), str::to_owned);
        Err(if status == "403" { NetError::Denied { host: host.to_owned(), port, why } } else { unreachable(why) })
    }
}
