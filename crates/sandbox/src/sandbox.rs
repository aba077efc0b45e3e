//! One running sandbox.

use std::os::fd::OwnedFd;

use model::{Level, SandboxId};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncRead;
use wire::Exec;

use crate::{Command, SandboxError, Unpacked};

/// A running sandbox. A cheap handle; the sandbox lives until [`Sandbox::stop`] or its own end.
#[derive(Debug, Clone)]
pub struct Sandbox {}

/// What a list shows of a sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Its identity.
    pub id: SandboxId,
    /// What it is for.
    pub label: String,
    /// Its first process on the host.
    pub pid: i32,
    /// When it was started, in milliseconds since 1970.
    pub started: model::Timestamp,
    /// Whether it still runs.
    pub alive: bool,
    /// What holds.
    pub level: Level,
}

/// What a sandbox uses. `None` where the host cannot tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Bytes of memory in use.
    pub memory_bytes: Option<u64>,
    /// The most bytes of memory that were in use.
    pub memory_peak_bytes: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// Processor time so far, in microseconds.
    pub cpu_micros: Option<u64>,
    /// Bytes of disk in use.
    pub disk_bytes: Option<u64>,
    /// How often the kernel ended a process for want of memory.
    pub oom_kills: Option<u64>,
}

/// A tar stream out of a sandbox: hostile bytes until unpacked by [`crate::unpack`].
#[derive(Debug)]
pub struct TarStream {}

impl Sandbox {
    /// Its identity.
    #[must_use]
    pub fn id(&self) -> &SandboxId {
        unimplemented_yet()
    }

    /// What holds in it.
    #[must_use]
    pub fn level(&self) -> &Level {
        unimplemented_yet()
    }

    /// What a list shows of it.
    #[must_use]
    pub fn summary(&self) -> Summary {
        unimplemented_yet()
    }

    /// Starts a command and waits until it runs.
    ///
    /// # Errors
    /// [`SandboxError::Inside`] when the program cannot be run; the sandbox goes on.
    pub async fn exec(&self, exec: Exec) -> Result<Command, SandboxError> {
        let _ = exec;
        unimplemented_yet()
    }

    /// Takes up a command again that was started before this process was: `stream` and `lease` as they were, `after`
    /// the last number that is safe.
    ///
    /// # Errors
    /// The guest does not know the stream under this lease.
    pub async fn attach(&self, stream: u32, lease: u64, after: u64) -> Result<Command, SandboxError> {
        let _ = (stream, lease, after);
        unimplemented_yet()
    }

    /// Unpacks a tar stream into the directory `path` inside, made when missing.
    ///
    /// # Errors
    /// Reading failed, or the guest could not unpack.
    pub async fn put(&self, path: &str, tar: impl AsyncRead + Send + Unpin) -> Result<(), SandboxError> {
        let _ = (path, tar);
        unimplemented_yet()
    }

    /// A file or tree inside as a tar stream, names relative to the parent of `path`.
    ///
    /// # Errors
    /// The path does not exist; later failures come from reading.
    pub async fn get(&self, path: &str) -> Result<TarStream, SandboxError> {
        let _ = path;
        unimplemented_yet()
    }

    /// Copies a file or tree inside to the host directory `into`, by the rules of [`crate::unpack`].
    ///
    /// # Errors
    /// As [`Sandbox::get`] and [`crate::unpack`].
    pub async fn copy_out(&self, path: &str, into: OwnedFd) -> Result<Unpacked, SandboxError> {
        let _ = (path, into);
        unimplemented_yet()
    }

    /// Waits for the guest to answer.
    ///
    /// # Errors
    /// It ended or does not answer in time.
    pub async fn ping(&self) -> Result<(), SandboxError> {
        unimplemented_yet()
    }

    /// Kills every command and all that they started; the sandbox stays.
    ///
    /// # Errors
    /// The sandbox ended.
    pub async fn kill_commands(&self) -> Result<(), SandboxError> {
        unimplemented_yet()
    }

    /// Waits until the sandbox has ended and says why.
    pub async fn ended(&self) -> SandboxError {
        unimplemented_yet()
    }

    /// What it uses now.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats::default()
    }

    /// Kills all of it, waits for its end and removes everything that it had on the host but a session's tree.
    ///
    /// # Errors
    /// Something could not be removed within the limit of time; [`crate::Sandboxes::adopt`] tries again.
    pub async fn stop(self) -> Result<(), SandboxError> {
        unimplemented_yet()
    }
}

fn unimplemented_yet<T>() -> T {
    unreachable!("not built yet")
}

impl AsyncRead for TarStream {
    fn poll_read(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        _: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }
}
