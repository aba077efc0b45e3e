//! A plugin's program as the host sees it: what it is written, what it prints, how it ends.

use std::collections::VecDeque;
use std::io;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use model::Failure;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Bytes of standard error that are kept.
const TAIL_BYTES_MAX: usize = 8 << 10;
/// How much is read from a pipe at once.
const PIECE_BYTES: usize = 64 << 10;

/// Starts a plugin's program.
pub trait Launch: Send + Sync {
    /// Starts it, for this agent alone where the plugin wants that. When the caller stops waiting nothing is left.
    fn launch<'a>(&'a self, agent: Option<&'a str>) -> BoxFuture<'a, Result<Process, Failure>>;
}

/// A program that runs.
pub struct Process {
    /// Its standard input. Dropping it ends the input.
    pub input: Box<dyn Input>,
    /// Its standard output.
    pub output: Box<dyn Output>,
    /// Everything else about it.
    pub running: Box<dyn Running>,
}

/// A program's standard input.
pub trait Input: Send {
    /// Writes all of it; waits while the program does not read.
    fn write<'a>(&'a mut self, bytes: &'a [u8]) -> BoxFuture<'a, io::Result<()>>;
}

/// A program's standard output.
pub trait Output: Send {
    /// The next bytes; `None` at its end. Dropping the future loses nothing.
    fn read(&mut self) -> BoxFuture<'_, io::Result<Option<Bytes>>>;
}

/// A program that runs, for who ends it.
pub trait Running: Send + Sync {
    /// Ends it and all that it started, and waits until nothing of it is left. A second time it does nothing.
    fn end(&self) -> BoxFuture<'_, ()>;

    /// The last of what it printed on standard error.
    fn last_words(&self) -> String;
}

impl<W: AsyncWrite + Send + Unpin> Input for W {
    fn write<'a>(&'a mut self, bytes: &'a [u8]) -> BoxFuture<'a, io::Result<()>> {
        async move {
            self.write_all(bytes).await?;
            self.flush().await
        }
        .boxed()
    }
}

impl<R: AsyncRead + Send + Unpin> Output for R {
    fn read(&mut self) -> BoxFuture<'_, io::Result<Option<Bytes>>> {
        async move {
            let mut piece = Vec::with_capacity(PIECE_BYTES);
            let n = self.read_buf(&mut piece).await?;
            Ok((n > 0).then(|| Bytes::from(piece)))
        }
        .boxed()
    }
}

/// The end of what a program printed. A flood pushes out what came before, and costs nothing more.
#[derive(Debug, Default)]
pub struct Tail {
    /// Held for a few instructions, never across an await.
    bytes: Mutex<VecDeque<u8>>,
}

impl Tail {
    /// Takes what was printed.
    pub fn push(&self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(TAIL_BYTES_MAX)..];
        let mut held = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let over = (held.len() + bytes.len()).saturating_sub(TAIL_BYTES_MAX);
        held.drain(..over);
        held.extend(bytes);
    }

    /// As text for people: nothing in it moves a cursor or hides.
    #[must_use]
    pub fn text(&self) -> String {
        let held: Vec<u8> = self.bytes.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect();
        plain(&String::from_utf8_lossy(&held))
    }
}

/// Text of a program without what would act on a terminal or hide in it; lines stay.
pub(super) fn plain(text: &str) -> String {
    let hides = |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}');
    let kept = text.chars().filter(|c| (!c.is_control() && !hides(*c)) || matches!(c, '\n' | '\t'));
    kept.collect::<String>().trim().to_owned()
}
