//! One running sandbox.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use jail::cgroup::Group;
use model::{Level, Limits, SandboxId, TreeId};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::{mpsc, watch};
use tokio_util::io::SyncIoBridge;
use tokio_util::sync::CancellationToken;
use wire::{Exec, ToGuest};

use crate::channel::Channel;
use crate::host::Host;
use crate::launcher::Init;
use crate::record::Record;
use crate::{Command, SandboxError, Unpacked};

/// A running sandbox. A cheap handle; the sandbox lives until [`Sandbox::stop`] or its own end.
#[derive(Debug, Clone)]
pub struct Sandbox(pub(crate) Arc<Running>);

/// What a running sandbox is to the host.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) host: Arc<Host>,
    /// As it was made.
    pub(crate) record: Record,
    /// As it is since it was claimed.
    pub(crate) claimed: OnceLock<Record>,
    pub(crate) channel: Arc<Channel>,
    pub(crate) init: Init,
    pub(crate) group: Option<Group>,
    /// Asks the task that owns the sandbox to end it.
    pub(crate) stop: CancellationToken,
    /// How it ended, once all of it is gone.
    pub(crate) end: watch::Receiver<Option<End>>,
}

/// How a sandbox ended.
#[derive(Debug, Clone)]
pub(crate) struct End {
    /// Why.
    pub(crate) why: String,
    /// Whether it had used up its memory.
    pub(crate) memory: bool,
    /// What could not be removed.
    pub(crate) left: Option<String>,
}

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

impl Running {
    /// What it is now: its names, its limits, its level.
    pub(crate) fn record(&self) -> &Record {
        self.claimed.get().unwrap_or(&self.record)
    }
}

impl Sandbox {
    /// Its identity.
    #[must_use]
    pub fn id(&self) -> &SandboxId {
        &self.0.record.id
    }

    /// What holds in it.
    #[must_use]
    pub fn level(&self) -> &Level {
        &self.0.record().level
    }

    /// Replaces what a file of [`crate::Request::files`] holds. Whoever reads it inside sees the change at once; a reader
    /// in the middle of it may see some of both.
    ///
    /// # Errors
    /// [`SandboxError::Path`] when none of them is seen at `target`, or `bytes` are too many.
    pub async fn rewrite_file(&self, target: &Path, bytes: &[u8]) -> Result<(), SandboxError> {
        let (running, target, bytes) = (self.0.clone(), target.to_owned(), bytes.to_owned());
        crate::sandboxes::blocking(move || {
            let record = &running.record;
            crate::files::rewrite(&running.host.dir(&record.id), &record.files, &target, &bytes)
        })
        .await
    }

    /// Whether what the host put among the files of its tree, each of [`crate::Request::files`] and the mounts there, is
    /// still seen at its place. Nothing inside can change that, but whoever has the same tree elsewhere can: where a place
    /// is removed or renamed that is no mount point there, the mounts on it in other sandboxes go with it. A host that does
    /// not tell answers no.
    pub async fn is_whole(&self) -> bool {
        let record = &self.0.record;
        if record.files.is_empty() && record.mounts.is_empty() {
            return true;
        }
        let (running, pid) = (self.0.clone(), self.0.init.process.pid);
        let look = move || crate::files::are_seen(pid, running.record.files.iter().chain(&running.record.mounts));
        crate::sandboxes::blocking(look).await.unwrap_or_else(|error| {
            tracing::debug!(sandbox = %self.id(), error = model::chain(&error), "its mounts cannot be looked at");
            false
        })
    }

    /// The kept tree that it writes to.
    #[must_use]
    pub fn tree(&self) -> Option<&TreeId> {
        self.0.record.tree.as_ref()
    }

    /// What its user noted when it was made ([`crate::Request::note`]).
    #[must_use]
    pub fn note(&self) -> &str {
        &self.0.record.note
    }

    /// What it may use.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.0.record().limits
    }

    /// Gives a sandbox that was made ahead to its only user: it is labelled anew, and its commands may take so long. A
    /// daemon that starts later finds it as if it had been made so.
    ///
    /// # Errors
    /// It was claimed before, has ended, or its record cannot be written; then it is of no use to anybody.
    pub async fn claim(&self, label: &str, time: Duration) -> Result<(), SandboxError> {
        let mut record = self.0.record.clone();
        record.label = crate::make::cut_label(label);
        record.limits.time = time;
        crate::level::set_time(&mut record.level, time);
        let dir = self.0.host.dir(&record.id);
        if self.0.channel.is_closed() || self.0.stop.is_cancelled() {
            return Err(SandboxError::Gone("it ended before it was used".into()));
        }
        if self.0.claimed.set(record).is_err() {
            return Err(SandboxError::Start("it has a user already".into()));
        }
        let running = self.0.clone();
        crate::sandboxes::blocking(move || running.record().write(&dir)).await?;
        model::crash::point("sandbox.claimed");
        Ok(())
    }

    /// Whether it still runs.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        !self.0.channel.is_closed()
    }

    /// What a list shows of it.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let record = self.0.record();
        Summary {
            id: record.id.clone(),
            label: record.label.clone(),
            pid: self.0.init.process.pid,
            started: record.made,
            alive: self.is_alive(),
            level: record.level.clone(),
        }
    }

    /// Starts a command and waits until it runs. When the caller stops waiting the command is killed.
    ///
    /// # Errors
    /// [`SandboxError::Inside`] when the program cannot be run; the sandbox goes on.
    pub async fn exec(&self, exec: Exec) -> Result<Command, SandboxError> {
        self.0.channel.exec(exec).await
    }

    /// Takes up a command again that was started before this process was: `stream` and `lease` as they were, `after`
    /// the last number that is safe. Its input cannot be taken up. If the guest does not know the stream under this
    /// lease, the first [`crate::CommandOutput::next`] fails.
    ///
    /// # Errors
    /// The sandbox ended, or the command is attached already.
    pub async fn attach(&self, stream: u32, lease: u64, after: u64) -> Result<Command, SandboxError> {
        self.0.channel.attach(stream, lease, after).await
    }

    /// Unpacks a tar stream into the directory `path` inside, made when missing. Gives how many entries the guest left
    /// out because they are no file, directory or link.
    ///
    /// # Errors
    /// Reading failed, or the guest could not unpack.
    pub async fn put(&self, path: &str, mut tar: impl AsyncRead + Send + Unpin) -> Result<u64, SandboxError> {
        self.0.channel.put(path, &mut tar).await
    }

    /// A file or tree inside as a tar stream, names relative to the parent of `path`. That `path` cannot be read is an
    /// error of the first read.
    ///
    /// # Errors
    /// The sandbox ended.
    pub async fn get(&self, path: &str) -> Result<TarStream, SandboxError> {
        let pieces = self.0.channel.get(path).await?;
        Ok(TarStream { pieces, piece: Bytes::new(), ended: false })
    }

    /// Copies a file or tree inside to the host directory `into`, by the rules of [`crate::unpack`].
    ///
    /// # Errors
    /// As [`Sandbox::get`] and [`crate::unpack`].
    pub async fn copy_out(&self, path: &str, into: OwnedFd) -> Result<Unpacked, SandboxError> {
        let tar = self.get(path).await?;
        let tar = SyncIoBridge::new(tar);
        let unpacked = tokio::task::spawn_blocking(move || crate::unpack(into, tar)).await;
        unpacked.map_err(|e| SandboxError::Tree(e.to_string()))?
    }

    /// Waits for the guest to answer.
    ///
    /// # Errors
    /// It ended or does not answer in time.
    pub async fn ping(&self) -> Result<(), SandboxError> {
        self.0.channel.ping().await
    }

    /// Kills every command and all that they started; the sandbox stays.
    ///
    /// # Errors
    /// The sandbox ended, or some processes did not end in time.
    pub async fn kill_commands(&self) -> Result<(), SandboxError> {
        self.0.channel.outbox().send(&ToGuest::KillAll, 0, 0).await?;
        if self.0.group.is_none() {
            return self.ping().await;
        }
        let running = self.0.clone();
        let killed = tokio::task::spawn_blocking(move || running.group.as_ref().map_or(Ok(()), Group::kill_commands)).await;
        killed.map_err(|e| SandboxError::Gone(e.to_string()))?.map_err(|e| SandboxError::Gone(model::chain(&e)))
    }

    /// Waits until the sandbox has ended and all of it is gone, and says why.
    pub async fn ended(&self) -> SandboxError {
        let end = self.end().await;
        if end.memory { SandboxError::Memory } else { SandboxError::Gone(end.why) }
    }

    /// What it uses now.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let disk_bytes = crate::disk::used(&self.0.host, &self.0.record);
        let Some(group) = &self.0.group else { return Stats { disk_bytes, ..Stats::default() } };
        let stats = group.stats();
        let level = &self.0.record().level;
        let counted = |name: &str| level.lines.iter().any(|l| l.name == name && l.holds);
        Stats {
            memory_bytes: counted("memory").then_some(stats.memory_bytes),
            memory_peak_bytes: counted("memory").then_some(stats.memory_peak_bytes),
            pids: counted("pids").then_some(stats.pids),
            cpu_micros: counted("cpu").then(|| u64::try_from(stats.cpu.as_micros()).unwrap_or(u64::MAX)),
            disk_bytes,
            oom_kills: counted("memory").then_some(stats.oom_kills),
        }
    }

    /// The same as [`Sandbox::stop`] for one who does not wait for it.
    pub fn give_up(self) {
        self.0.stop.cancel();
    }

    /// Kills all of it, waits for its end and removes everything that it had on the host but a kept tree.
    ///
    /// # Errors
    /// Something could not be removed within the limit of time; [`crate::Sandboxes::adopt`] tries again.
    pub async fn stop(self) -> Result<(), SandboxError> {
        self.0.stop.cancel();
        match self.end().await.left {
            None => Ok(()),
            Some(left) => Err(SandboxError::Gone(left)),
        }
    }

    async fn end(&self) -> End {
        let mut end = self.0.end.clone();
        let seen = end.wait_for(Option::is_some).await.ok().and_then(|end| end.clone());
        // The owner went away without ending it: this process is about to end, and the sandbox lives on.
        seen.unwrap_or_else(|| End { why: "the host no longer serves it".into(), memory: false, left: None })
    }
}

/// A tar stream out of a sandbox: hostile bytes until unpacked by [`crate::unpack`].
#[derive(Debug)]
pub struct TarStream {
    pieces: mpsc::Receiver<Result<Bytes, SandboxError>>,
    piece: Bytes,
    ended: bool,
}

impl AsyncRead for TarStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        while self.piece.is_empty() && !self.ended {
            match std::task::ready!(self.pieces.poll_recv(cx)) {
                Some(Ok(piece)) => {
                    self.ended = piece.is_empty();
                    self.piece = piece;
                }
                Some(Err(SandboxError::Inside { errno, message })) if errno != 0 => {
                    let kind = std::io::Error::from_raw_os_error(errno).kind();
                    return Poll::Ready(Err(std::io::Error::new(kind, message)));
                }
                Some(Err(error)) => return Poll::Ready(Err(std::io::Error::other(error))),
                None => return Poll::Ready(Err(std::io::ErrorKind::UnexpectedEof.into())),
            }
        }
        let len = self.piece.len().min(into.remaining());
        into.put_slice(&self.piece[..len]);
        self.piece.advance(len);
        Poll::Ready(Ok(()))
    }
}
