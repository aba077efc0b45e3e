//! A connection to a mail server: lines within limits of bytes and time.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::dial::BoxStream;
use crate::http::{Http, HttpError};

/// The longest line of a server, in bytes.
const LINE_BYTES_MAX: u64 = 64 << 10;
/// How long a server may be silent.
pub(super) const SILENCE: Duration = Duration::from_secs(30);

/// How a connection is kept from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Safety {
    /// TLS from the first byte.
    Tls,
    /// TLS before anything is said that counts.
    Starttls,
    /// None, on loopback only.
    None,
}

/// A mail server.
#[derive(Debug, Clone)]
pub(super) struct Server {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) safety: Safety,
}

impl Server {
    /// Reads `HOST:PORT`.
    ///
    /// # Errors
    /// It is none, or a password would travel in the clear; for a person.
    pub(super) fn parse(text: &str, safety: Safety) -> Result<Self, String> {
        let bad = || format!("`{}` is not HOST:PORT", text.escape_debug());
        let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(bad)?;
        if host.is_empty() || !host.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-') {
            return Err(bad());
        }
        if safety == Safety::None && !matches!(host, "127.0.0.1" | "localhost") {
            return Err("without TLS only a server on this machine is talked to".to_owned());
        }
        Ok(Self { host: host.to_owned(), port, safety })
    }
}

/// Why a mail server was of no use.
#[derive(Debug, thiserror::Error)]
pub(super) enum MailError {
    /// No connection, or it broke.
    #[error(transparent)]
    Net(#[from] HttpError),
    /// It said no.
    #[error("the mail server does not {what}: {said}")]
    Refused { what: &'static str, said: String, passing: bool },
    /// It takes neither name nor password.
    #[error("the mail server does not accept user and password: {0}")]
    Credential(String),
}

/// A connection.
pub(super) struct Lines {
    stream: BoxStream,
    host: String,
}

impl Lines {
    pub(super) async fn open(http: &Http, server: &Server) -> Result<Self, HttpError> {
        let stream = http.dial().host(&server.host, server.port, server.safety == Safety::Tls).await?;
        Ok(Self { stream, host: server.host.clone() })
    }

    /// Begins TLS. What somebody on the way put behind the server's last line fails the handshake.
    pub(super) async fn secure(self, http: &Http) -> Result<Self, HttpError> {
        let Self { stream, host } = self;
        Ok(Self { stream: http.dial().secure(&host, stream).await?, host })
    }

    pub(super) fn broken(&self, why: impl std::fmt::Display) -> HttpError {
        HttpError::Broken(format!("{}: {why}", self.host))
    }

    /// The next line, without its end.
    pub(super) async fn line(&mut self, patience: Duration) -> Result<String, HttpError> {
        let mut line = Vec::new();
        let mut limited = (&mut self.stream).take(LINE_BYTES_MAX);
        let read = timeout(patience, limited.read_until(b'\n', &mut line)).await;
        read.map_err(|_| self.broken("it is silent"))?.map_err(|e| self.broken(e))?;
        if line.pop() != Some(b'\n') {
            return Err(self.broken("the connection ended, or a line is too long"));
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Ok(String::from_utf8_lossy(&line).into_owned())
    }

    /// Exactly `count` bytes.
    pub(super) async fn bytes(&mut self, count: usize) -> Result<Vec<u8>, HttpError> {
        let mut bytes = Vec::new();
        while bytes.len() < count {
            let mut piece = vec![0; (count - bytes.len()).min(64 << 10)];
            let read = timeout(SILENCE, self.stream.read(&mut piece)).await;
            match read.map_err(|_| self.broken("it is silent"))?.map_err(|e| self.broken(e))? {
                0 => return Err(self.broken("the connection ended")),
                n => bytes.extend_from_slice(&piece[..n]),
            }
        }
        Ok(bytes)
    }

    /// Writes bytes as they are.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), HttpError> {
        let write = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        timeout(SILENCE, write).await.map_err(|_| self.broken("it takes nothing"))?.map_err(|e| self.broken(e))
    }
}

/// User and password in the form of SASL's PLAIN.
pub(super) fn plain(user: &str, secret: &str) -> String {
    STANDARD.encode(format!("\0{user}\0{secret}"))
}

/// What a server said, for a person.
pub(super) fn said(line: &str) -> String {
    line.chars().filter(|c| !c.is_control()).take(200).collect()
}
