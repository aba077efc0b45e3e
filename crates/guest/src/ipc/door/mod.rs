//! One call over the host's socket, through whatever happens to the host meanwhile.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use serde::Deserialize;
use serde_json::value::RawValue;
use wire::{CALL_BYTES_MAX, CallDecoder, CallError, Door, Origin, frame_call};

/// How often the one who waits for a person is told that it still waits.
const TICK: Duration = Duration::from_secs(10);
/// The first wait before the host is looked for again; it doubles up to the second.
const RETRY_WAIT: Duration = Duration::from_millis(10);
const RETRY_WAIT_MAX: Duration = Duration::from_millis(500);
/// Bytes read at once.
const READ_BYTES: usize = 16 << 10;

/// How long a call waits for what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waits {
    /// For the answer. The host gives one before.
    pub(crate) answer: Duration,
    /// For a host that is away, as while it is restarted.
    pub(crate) host: Duration,
    /// For the answer once the host says that a person is asked: above the longest time that an owner can set.
    pub(crate) person: Duration,
}

impl Default for Waits {
    fn default() -> Self {
        Self { answer: Duration::from_secs(35), host: Duration::from_secs(30), person: Duration::from_secs(24 * 3600 + 300) }
    }
}

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DoorError {
    /// What was asked for cannot be sent.
    #[error("{0}")]
    Arguments(String),
    /// Nobody listens, or whoever does closes the connection.
    #[error("failed to reach the host: {0}")]
    NoHost(std::io::Error),
    /// The host did not answer in time.
    #[error("the host did not answer within {} seconds", .0.as_secs())]
    Timeout(Duration),
    /// What came is no answer.
    #[error("the host's answer makes no sense: {0}")]
    Protocol(String),
    /// The call was given up.
    #[error("the call was cancelled")]
    Cancelled,
}

impl DoorError {
    /// Whether the same call may succeed later.
    pub(crate) fn is_retriable(&self) -> bool {
        matches!(self, Self::NoHost(_) | Self::Timeout(_))
    }
}

/// A call, ready to be sent as often as needed under one name.
#[derive(Debug)]
pub(crate) struct Call {
    correlation: String,
    frame: Vec<u8>,
}

impl Call {
    /// A call of `topic` with the JSON text of an object. The text is sent as it is, so that the host sees all of it.
    pub(crate) fn new(topic: &str, arguments: &str) -> Result<Self, DoorError> {
        let wrong = |message: &str| DoorError::Arguments(message.to_owned());
        let arguments: &RawValue =
            serde_json::from_str(arguments).map_err(|e| DoorError::Arguments(format!("the object is not JSON: {e}")))?;
        if !arguments.get().starts_with('{') {
            return Err(wrong("the arguments are not a JSON object"));
        }
        let correlation = correlation().map_err(|e| DoorError::Arguments(format!("failed to name the call: {e}")))?;
        let topic = serde_json::Value::from(topic);
        let message = format!("{{\"topic\":{topic},\"correlation\":\"{correlation}\",\"arguments\":{}}}", arguments.get());
        let frame = frame_call(message.as_bytes()).map_err(|error| match error {
            CallError::TooLong(_) => DoorError::Arguments(format!("the call is longer than {CALL_BYTES_MAX} bytes")),
            CallError::Empty => wrong("the call is empty"),
        })?;
        Ok(Self { correlation, frame })
    }
}

/// A name that no other call has: 128 random bits.
fn correlation() -> std::io::Result<String> {
    let mut bytes = [0u8; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(format!("{:032x}", u128::from_le_bytes(bytes)))
}

/// What came of a call, as the host wrote it.
#[derive(Debug)]
pub(crate) enum Outcome {
    Result(Box<RawValue>, Option<Origin>),
    Error(Box<RawValue>, Option<Origin>),
}

/// A message of the host.
#[derive(Deserialize)]
struct Heard<'a> {
    #[serde(default)]
    correlation: String,
    waiting: Option<String>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    origin: Option<Origin>,
}

/// What gives a call up from another thread.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    /// Short sections, nothing waits inside.
    state: Mutex<GateState>,
}

#[derive(Debug, Default)]
struct GateState {
    is_shut: bool,
    stream: Option<UnixStream>,
}

impl Gate {
    /// Gives the call up.
    pub(crate) fn shut(&self) {
        let mut state = self.lock();
        state.is_shut = true;
        if let Some(stream) = &state.stream {
            // A stream that ended by itself is as good.
            drop(stream.shutdown(std::net::Shutdown::Both));
        }
    }

    /// Whether the call was given up.
    pub(crate) fn is_shut(&self) -> bool {
        self.lock().is_shut
    }

    fn lock(&self) -> MutexGuard<'_, GateState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets [`Self::shut`] end reads of this stream.
    fn hold(&self, stream: &UnixStream) -> std::io::Result<()> {
        let mut state = self.lock();
        if state.is_shut {
            drop(stream.shutdown(std::net::Shutdown::Both));
        }
        state.stream = Some(stream.try_clone()?);
        Ok(())
    }
}

/// The host, by its socket.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    socket: PathBuf,
    waits: Waits,
}

/// How far a call has come.
struct Progress {
    /// When it is given up.
    deadline: Instant,
    /// The confirmation that is waited for.
    waiting: Option<String>,
    /// Since when there has been no host.
    lost: Option<Instant>,
}

impl Host {
    pub(crate) fn new(socket: &Path, waits: Waits) -> Self {
        Self { socket: socket.to_owned(), waits }
    }

    /// Makes a call and waits for its end. `tick` is told the confirmation when a person is asked, and again every few
    /// seconds while the call waits for one.
    pub(crate) fn call(&self, call: &Call, gate: &Gate, tick: &mut dyn FnMut(&str)) -> Result<Outcome, DoorError> {
        let mut progress = Progress { deadline: Instant::now() + self.waits.answer, waiting: None, lost: None };
        let mut pause = RETRY_WAIT;
        loop {
            let tried = self.connect(&progress).and_then(|stream| {
                gate.hold(&stream)?;
                self.converse(stream, call, &mut progress, tick)
            });
            if gate.is_shut() {
                return Err(DoorError::Cancelled);
            }
            let error = match tried {
                Ok(Ok(outcome)) => return Ok(outcome),
                Ok(Err(error)) => return Err(error),
                Err(error) => error,
            };
            // A host that goes away leaves its socket behind; where there is none, there never was one.
            if error.kind() == ErrorKind::NotFound {
                return Err(DoorError::NoHost(error));
            }
            let now = Instant::now();
            // The host that comes back begins anew, so the clock does too, once.
            if progress.lost.is_none() && progress.waiting.is_none() {
                progress.deadline = now + self.waits.host + self.waits.answer;
            }
            let lost = *progress.lost.get_or_insert(now);
            let patience = if progress.waiting.is_some() { self.waits.person } else { self.waits.host };
            if now >= progress.deadline || now.duration_since(lost) + pause > patience {
                return Err(DoorError::NoHost(error));
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(RETRY_WAIT_MAX);
        }
    }

    fn connect(&self, progress: &Progress) -> std::io::Result<UnixStream> {
        // Connecting never waits: a host that takes no connection is one that is away.
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let fd = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        rustix::net::connect(&fd, &SocketAddrUnix::new(&self.socket)?)?;
        rustix::io::ioctl_fionbio(&fd, false)?;
        let stream = UnixStream::from(fd);
        let left = progress.deadline.saturating_duration_since(Instant::now());
        stream.set_write_timeout(Some(left.max(Duration::from_millis(1))))?;
        Ok(stream)
    }

    /// Sends the call and reads to its end. The outer error is a connection that ended, the inner one is final.
    fn converse(
        &self,
        mut stream: UnixStream,
        call: &Call,
        progress: &mut Progress,
        tick: &mut dyn FnMut(&str),
    ) -> std::io::Result<Result<Outcome, DoorError>> {
        stream.write_all(&[Door::Broker.line(), &call.frame].concat())?;
        let mut decoder = CallDecoder::default();
        let mut piece = vec![0; READ_BYTES];
        loop {
            match decoder.next_message() {
                Ok(Some(message)) => match self.hear(&message, call, progress, tick) {
                    Ok(None) => continue,
                    Ok(Some(outcome)) => return Ok(Ok(outcome)),
                    Err(error) => return Ok(Err(error)),
                },
                Ok(None) => (),
                Err(error) => return Ok(Err(DoorError::Protocol(error.to_string()))),
            }
            let left = progress.deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Err(DoorError::Timeout(if progress.waiting.is_some() { self.waits.person } else { self.waits.answer })));
            }
            let patience = if progress.waiting.is_some() { left.min(TICK) } else { left };
            stream.set_read_timeout(Some(patience.max(Duration::from_millis(1))))?;
            match stream.read(&mut piece) {
                Ok(0) => return Err(std::io::Error::new(ErrorKind::UnexpectedEof, "it closed the connection")),
                Ok(n) => decoder.push(&piece[..n]),
                Err(error) if error.kind() == ErrorKind::Interrupted => (),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if let Some(approval) = &progress.waiting {
                        tick(approval);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes a message: the end of the call, or word that a person is asked.
    fn hear(&self, message: &[u8], call: &Call, progress: &mut Progress, tick: &mut dyn FnMut(&str)) -> Result<Option<Outcome>, DoorError> {
        let heard: Heard<'_> = serde_json::from_slice(message).map_err(|e| DoorError::Protocol(e.to_string()))?;
        // An answer without a name is to a message that the host could not read; there was only this one.
        if heard.correlation != call.correlation && !heard.correlation.is_empty() {
            return Err(DoorError::Protocol("it belongs to another call".to_owned()));
        }
        progress.lost = None;
        if let Some(approval) = heard.waiting {
            progress.deadline = Instant::now() + self.waits.person;
            tick(&approval);
            progress.waiting = Some(approval);
            return Ok(None);
        }
        match (heard.result, heard.error) {
            (_, Some(error)) => Ok(Some(Outcome::Error(error.to_owned(), heard.origin))),
            (result, None) => Ok(Some(Outcome::Result(result.map_or_else(Box::default, ToOwned::to_owned), heard.origin))),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
