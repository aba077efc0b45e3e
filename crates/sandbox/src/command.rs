//! A command inside, seen from the host.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use tokio::sync::Notify;
use wire::{Exit, STDIN_WINDOW_BYTES, Size, Started, ToGuest, Trouble};

use crate::SandboxError;
use crate::channel::Channel;

/// Bytes of one command's output that wait for its reader. When they are reached the channel of the sandbox is not read
/// further; the guest then stops reading the command.
const HELD_BYTES_MAX: usize = 4 << 20;
/// What a waiting piece costs beside its bytes.
const PIECE_COST_BYTES: usize = 128;
/// Neighbouring pieces are joined up to this size.
const JOINED_BYTES_MAX: usize = 64 << 10;
/// The largest piece of input in one frame.
const INPUT_PIECE_BYTES: usize = 64 << 10;

/// A running command: destructure it to use its parts from different tasks.
#[derive(Debug)]
pub struct Command {
    /// Its input, when it was started with one.
    pub stdin: Option<CommandStdin>,
    /// What it prints and how it ends.
    pub output: CommandOutput,
    /// Signals, size, acknowledgement. Cheap to clone.
    pub control: CommandControl,
}

/// The input of a command. Dropping it ends the input.
#[derive(Debug)]
pub struct CommandStdin {
    control: CommandControl,
    sent: u64,
}

/// What a command prints. Dropping it forgets what comes later.
#[derive(Debug)]
pub struct CommandOutput {
    control: CommandControl,
}

/// Acts on a command.
#[derive(Debug, Clone)]
pub struct CommandControl {
    stream: u32,
    pid: i32,
    channel: Arc<Channel>,
    pieces: Arc<Pieces>,
}

/// A numbered piece of a command's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The place of its end in the command's output. Numbers rise without gaps inside; neighbouring pieces may have been
    /// joined, and then carry the number of the last.
    pub number: u64,
    /// What it is.
    pub piece: Piece,
}

/// What a command gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Bytes of standard output, or of the terminal.
    Stdout(Bytes),
    /// Bytes of standard error.
    Stderr(Bytes),
    /// It ended and nothing follows.
    Exited(Exit),
}

impl Command {
    pub(crate) fn new(channel: Arc<Channel>, pieces: Arc<Pieces>, stream: u32, pid: i32, stdin: bool) -> Self {
        let control = CommandControl { stream, pid, channel, pieces };
        let sent = control.pieces.lock().taken;
        let stdin = stdin.then(|| CommandStdin { control: control.clone(), sent });
        Self { stdin, output: CommandOutput { control: control.clone() }, control }
    }
}

impl CommandStdin {
    /// Sends bytes to the command's input; waits while the command does not read.
    ///
    /// # Errors
    /// [`SandboxError::Gone`] when the sandbox ended. Input for a command that has ended is dropped.
    pub async fn write(&mut self, mut bytes: &[u8]) -> Result<(), SandboxError> {
        while !bytes.is_empty() {
            let Some(room) = self.room().await? else { break };
            let (now, later) = bytes.split_at(bytes.len().min(room).min(INPUT_PIECE_BYTES));
            self.control.channel.outbox().send(&ToGuest::Stdin(now.to_vec()), self.control.stream, 0).await?;
            self.sent += now.len() as u64;
            bytes = later;
        }
        Ok(())
    }

    /// Ends the input. The same as dropping it.
    pub fn close(self) {}

    /// How many bytes may be sent now, at least one; `None` when the command has ended.
    async fn room(&self) -> Result<Option<usize>, SandboxError> {
        loop {
            {
                let state = self.control.pieces.lock();
                if let Some(why) = &state.lost {
                    return Err(SandboxError::Gone(why.clone()));
                }
                if state.ended {
                    return Ok(None);
                }
                let way = self.sent.saturating_sub(state.taken);
                let room = (STDIN_WINDOW_BYTES as u64).saturating_sub(way);
                if room > 0 {
                    return Ok(Some(usize::try_from(room).unwrap_or(INPUT_PIECE_BYTES)));
                }
            }
            self.control.pieces.input.notified().await;
        }
    }
}

impl Drop for CommandStdin {
    fn drop(&mut self) {
        self.control.channel.outbox().end_input(self.control.stream);
    }
}

impl CommandOutput {
    /// The next piece; `None` after [`Piece::Exited`]. Can be dropped while waiting without losing anything.
    ///
    /// # Errors
    /// The sandbox ended before the command did.
    pub async fn next(&mut self) -> Result<Option<Output>, SandboxError> {
        loop {
            {
                let mut state = self.control.pieces.lock();
                if let Some(held) = state.queue.pop_front() {
                    state.bytes -= held.cost();
                    self.control.pieces.drained.notify_one();
                    return Ok(Some(held.into_output()));
                }
                // Only after an attach: a command that never started is not given out.
                if let Some(Err(t)) = &state.started {
                    return Err(SandboxError::Inside { errno: t.errno, message: t.message.clone() });
                }
                if state.ended {
                    return Ok(None);
                }
                if let Some(why) = &state.lost {
                    return Err(SandboxError::Gone(why.clone()));
                }
            }
            self.control.pieces.output.notified().await;
        }
    }
}

impl Drop for CommandOutput {
    fn drop(&mut self) {
        let last = self.control.pieces.discard();
        self.control.ack(last);
    }
}

impl CommandControl {
    /// The process identity inside; 0 after [`crate::Sandbox::attach`].
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// The stream that the command has on the control channel, for [`crate::Sandbox::attach`].
    #[must_use]
    pub fn stream(&self) -> u32 {
        self.stream
    }

    /// Pieces up to `number` are safe; the guest may forget them and sends more.
    pub fn ack(&self, number: u64) {
        self.channel.outbox().ack(self.stream, number);
    }

    /// Sends a signal to the command's process group.
    pub fn signal(&self, signal: i32) {
        self.channel.outbox().signal(self.stream, signal);
    }

    /// After [`crate::Sandbox::attach`]: takes up the command's input, and first sends what the command has not taken of
    /// `first`, which stands after the first `base` bytes of all that it was ever sent.
    ///
    /// # Errors
    /// [`SandboxError::Gone`] when the sandbox ended or the command has not taken all that came before `first`.
    pub async fn resume_stdin(&self, base: u64, first: &[u8]) -> Result<CommandStdin, SandboxError> {
        let taken = loop {
            {
                let state = self.pieces.lock();
                if let Some(why) = &state.lost {
                    return Err(SandboxError::Gone(why.clone()));
                }
                if state.heard || state.ended || matches!(state.started, Some(Err(_))) {
                    break state.taken;
                }
            }
            self.pieces.input.notified().await;
        };
        let mut stdin = CommandStdin { control: self.clone(), sent: taken };
        let Some(taken) = taken.checked_sub(base) else {
            return Err(SandboxError::Gone("the command did not take its earlier input".to_owned()));
        };
        let rest = usize::try_from(taken).ok().and_then(|taken| first.get(taken..)).unwrap_or_default();
        stdin.write(rest).await?;
        Ok(stdin)
    }

    /// Tells the command's terminal its size.
    pub fn resize(&self, size: Size) {
        self.channel.outbox().resize(self.stream, size);
    }
}

/// What came from a command and waits for its reader.
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    /// Held for a few instructions, never across an await.
    state: Mutex<State>,
    /// Something for the reader of output, or for who waits for the start.
    output: Notify,
    /// Something for the writer of input.
    input: Notify,
    /// The reader took something.
    drained: Notify,
}

#[derive(Debug, Default)]
struct State {
    started: Option<Result<Started, Trouble>>,
    /// The guest has shown that it knows the command.
    settled: bool,
    queue: VecDeque<Held>,
    bytes: usize,
    last: u64,
    /// Bytes of input that the command has taken.
    taken: u64,
    /// Whether the guest has said how much that is.
    heard: bool,
    ended: bool,
    lost: Option<String>,
    discard: bool,
}

/// A piece that can still grow.
#[derive(Debug)]
struct Held {
    number: u64,
    kind: Kind,
    bytes: BytesMut,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Stdout,
    Stderr,
    Exited(Exit),
}

impl Held {
    fn cost(&self) -> usize {
        self.bytes.len() + PIECE_COST_BYTES
    }

    fn into_output(self) -> Output {
        let piece = match self.kind {
            Kind::Stdout => Piece::Stdout(self.bytes.freeze()),
            Kind::Stderr => Piece::Stderr(self.bytes.freeze()),
            Kind::Exited(exit) => Piece::Exited(exit),
        };
        Output { number: self.number, piece }
    }
}

impl Pieces {
    /// Pieces of a command whose first `after` are known already.
    pub(crate) fn after(after: u64) -> Self {
        let pieces = Self::default();
        pieces.lock().last = after;
        pieces
    }

    /// The command runs.
    pub(crate) fn started(&self, started: Started) {
        self.lock().started.get_or_insert(Ok(started));
        self.wake();
    }

    /// Something could not be done. Gives whether it was the start of the command, or taking it up again; later trouble,
    /// such as a signal that could not be sent, does not end it.
    pub(crate) fn trouble(&self, trouble: Trouble) -> bool {
        let mut state = self.lock();
        let first = state.started.is_none() && !state.settled;
        if first {
            state.started = Some(Err(trouble));
            state.ended = true;
        }
        drop(state);
        self.wake();
        first
    }

    /// Waits for [`Pieces::started`].
    pub(crate) async fn wait_started(&self) -> Result<Started, SandboxError> {
        loop {
            {
                let state = self.lock();
                match &state.started {
                    Some(Ok(started)) => return Ok(*started),
                    Some(Err(t)) => return Err(SandboxError::Inside { errno: t.errno, message: t.message.clone() }),
                    None => {}
                }
                if let Some(why) = &state.lost {
                    return Err(SandboxError::Gone(why.clone()));
                }
            }
            self.output.notified().await;
        }
    }

    /// Takes a numbered frame over. Gives whether it was the last, and whether nobody reads and it should be
    /// acknowledged at once.
    pub(crate) fn push(&self, number: u64, message: Arrived) -> Result<(bool, bool), SandboxError> {
        let mut state = self.lock();
        if number != state.last + 1 || state.ended {
            return Err(SandboxError::Protocol(format!("piece {number} came after piece {}", state.last)));
        }
        state.last = number;
        state.settled = true;
        let (kind, bytes) = match message {
            Arrived::Stdout(bytes) => (Kind::Stdout, bytes),
            Arrived::Stderr(bytes) => (Kind::Stderr, bytes),
            Arrived::Exited(exit) => (Kind::Exited(exit), Vec::new()),
        };
        state.ended = matches!(kind, Kind::Exited(_));
        if !state.discard {
            let added = bytes.len();
            match state.queue.back_mut() {
                Some(back) if back.kind == kind && back.bytes.len() + added <= JOINED_BYTES_MAX => {
                    back.bytes.extend_from_slice(&bytes);
                    back.number = number;
                    state.bytes += added;
                }
                _ => {
                    let held = Held { number, kind, bytes: BytesMut::from(Bytes::from(bytes)) };
                    state.bytes += held.cost();
                    state.queue.push_back(held);
                }
            }
        }
        let outcome = (state.ended, state.discard);
        drop(state);
        self.wake();
        Ok(outcome)
    }

    /// Nobody reads any more; gives the last number, which can be acknowledged.
    pub(crate) fn discard(&self) -> u64 {
        let mut state = self.lock();
        state.discard = true;
        state.queue.clear();
        state.bytes = 0;
        let last = state.last;
        drop(state);
        self.drained.notify_one();
        last
    }

    /// Waits until the reader leaves room for more.
    pub(crate) async fn room(&self) {
        while self.lock().bytes > HELD_BYTES_MAX {
            self.drained.notified().await;
        }
    }

    /// The command took input: all of it so far.
    pub(crate) fn taken(&self, all: u64) {
        let mut state = self.lock();
        state.taken = state.taken.max(all);
        state.heard = true;
        state.settled = true;
        drop(state);
        self.input.notify_one();
    }

    /// The sandbox ended.
    pub(crate) fn lose(&self, why: &str) {
        self.lock().lost.get_or_insert_with(|| why.to_owned());
        self.wake();
    }

    fn wake(&self) {
        self.output.notify_one();
        self.input.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A numbered message of a command.
pub(crate) enum Arrived {
    Stdout(Vec<u8>),
    Stderr(Vec<u8>),
    Exited(Exit),
}
