//! Lines of a connection to a mail server, within limits of bytes and time.

use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::net::{ANSWER, BoxStream, NetError};

/// The longest line of a server.
const LINE_BYTES_MAX: u64 = 64 << 10;
/// How long a server may be silent.
const SILENCE: Duration = Duration::from_secs(25);

/// A connection.
pub(super) struct Lines {
    stream: BoxStream,
    host: String,
}

impl Lines {
    pub(super) fn new(stream: BoxStream, host: &str) -> Self {
        Self { stream, host: host.to_owned() }
    }

    /// The stream, for TLS to begin on. What somebody on the way put after the server's last line stays before it, where the
    /// handshake takes it for a part of itself and fails.
    pub(super) fn into_stream(self) -> BoxStream {
        self.stream
    }

    pub(super) fn broken(&self, why: impl Into<String>) -> NetError {
        NetError::Broken { host: self.host.clone(), why: why.into() }
    }

    /// The next line, without its end.
    pub(super) async fn line(&mut self) -> Result<String, NetError> {
        let mut line = Vec::new();
        let mut limited = (&mut self.stream).take(LINE_BYTES_MAX);
        let read = timeout(SILENCE, limited.read_until(b'\n', &mut line)).await.map_err(|_| NetError::Slow(ANSWER))?;
        read.map_err(|e| self.broken(e.to_string()))?;
        if line.pop() != Some(b'\n') {
            return Err(self.broken("the connection ended, or a line is too long"));
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Ok(String::from_utf8_lossy(&line).into_owned())
    }

    /// Exactly `count` bytes.
    pub(super) async fn bytes(&mut self, count: usize) -> Result<Vec<u8>, NetError> {
        let mut bytes = Vec::new();
        while bytes.len() < count {
            let mut piece = vec![0; (count - bytes.len()).min(64 << 10)];
            let read = timeout(SILENCE, self.stream.read(&mut piece)).await.map_err(|_| NetError::Slow(ANSWER))?;
            match read.map_err(|e| self.broken(e.to_string()))? {
                0 => return Err(self.broken("the connection ended")),
                n => bytes.extend_from_slice(&piece[..n]),
            }
        }
        Ok(bytes)
    }

    /// Writes bytes as they are.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), NetError> {
        let write = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        let written = timeout(SILENCE, write).await.map_err(|_| NetError::Slow("sending"))?;
        written.map_err(|e| self.broken(e.to_string()))
    }
}

/// `user` and `secret` in the form of SASL's PLAIN.
pub(super) fn plain(user: &str, secret: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(format!("\0{user}\0{secret}"))
}

/// `user` and a token in the form of XOAUTH2.
pub(super) fn xoauth2(user: &str, token: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(format!("user={user}\x01auth=Bearer {token}\x01\x01"))
}
