//! An engine's process: what is written to it, and its life from one turn to the next.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use engines::Carried;
use model::{Code, Failure, SandboxId};
use sandbox::{CommandControl, CommandOutput, CommandStdin, SandboxError};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::App;

/// Pieces of input that wait for a process that does not read: a prompt, answers, replies.
const INPUT_PIECES_MAX: usize = 64;

/// A process that has ended a turn and waits for the next one.
pub(crate) struct Process {
    pub(crate) output: CommandOutput,
    pub(crate) control: CommandControl,
    pub(crate) input: Input,
    /// The sandbox that it runs in.
    pub(crate) sandbox: SandboxId,
    /// The lease of the turn that started it.
    pub(crate) lease: u64,
    /// Its last frame that is recorded.
    pub(crate) read: u64,
    /// What its parser knows.
    pub(crate) carried: Carried,
    /// What it was started with.
    pub(crate) kind: Kind,
}

/// What a process was started with. One that would be started otherwise now is of no use for the next turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kind([u8; 32]);

impl Kind {
    /// What no process was started with.
    pub(crate) fn none() -> Self {
        Self([0; 32])
    }

    /// What `launch` would start, with these instructions. The launch must be one that resumes nothing.
    pub(crate) fn of(launch: &engines::Launch, env: &[(String, String)], instructions: &str) -> Self {
        let mut hash = Sha256::new();
        let mut add = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        for word in &launch.argv {
            add(word.as_bytes());
        }
        for (key, value) in launch.env.iter().chain(env) {
            add(key.as_bytes());
            add(value.as_bytes());
        }
        for file in &launch.files {
            add(file.path.as_bytes());
            add(&file.bytes);
        }
        add(instructions.as_bytes());
        Self(hash.finalize().into())
    }
}

/// The way to a process's standard input. It ends when the last one is dropped.
#[derive(Debug, Clone)]
pub(crate) struct Input {
    pieces: mpsc::Sender<Vec<u8>>,
    /// Bytes so far.
    sent: Arc<AtomicU64>,
}

impl Input {
    /// The way to a process that was just started.
    pub(crate) fn to(app: &App, cancel: &CancellationToken, stdin: CommandStdin) -> Self {
        Self::carried_by(app, cancel, 0, async move { Ok(stdin) })
    }

    /// The way to a process of an earlier daemon: `first` stands at byte `base` of all that it was ever sent, and what it
    /// has not taken of it is sent again.
    pub(crate) fn again(app: &App, cancel: &CancellationToken, control: CommandControl, base: u64, first: Vec<u8>) -> Self {
        let sent = base + first.len() as u64;
        Self::carried_by(app, cancel, sent, async move { control.resume_stdin(base, &first).await })
    }

    fn carried_by(
        app: &App,
        cancel: &CancellationToken,
        sent: u64,
        stdin: impl Future<Output = Result<CommandStdin, SandboxError>> + Send + 'static,
    ) -> Self {
        let (pieces, mut come) = mpsc::channel::<Vec<u8>>(INPUT_PIECES_MAX);
        let (cancel, daemon) = (cancel.clone(), app.cancel().clone());
        app.spawn(async move {
            let mut held = None;
            let carry = async {
                let stdin: &mut CommandStdin = held.insert(stdin.await?);
                while let Some(piece) = come.recv().await {
                    stdin.write(&piece).await?;
                }
                Ok::<_, SandboxError>(())
            };
            let carried = tokio::select! {
                () = cancel.cancelled() => Ok(()),
                carried = carry => carried,
            };
            if let Err(error) = carried {
                tracing::debug!(error = model::chain(&error), "an engine did not read its input");
            }
            if daemon.is_cancelled() {
                // An engine that waits for a person lives on, and must not see the end of its input.
                std::mem::forget(held);
            }
        });
        Self { pieces, sent: Arc::new(AtomicU64::new(sent)) }
    }

    /// Bytes that were written so far, of all turns.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }

    /// Writes after all that was written before. Input for a process that has ended is dropped.
    pub(crate) fn write(&self, piece: Vec<u8>) -> Result<(), Failure> {
        self.sent.fetch_add(piece.len() as u64, Ordering::SeqCst);
        match self.pieces.try_send(piece) {
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
            Err(mpsc::error::TrySendError::Full(_)) => Err(Failure::new(Code::EngineFailed, "the engine does not read its input")),
        }
    }
}
