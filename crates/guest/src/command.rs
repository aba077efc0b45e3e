//! A running command: its input, its output and its end.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use jail::spawn::SpawnError;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, Signal, WaitStatus};
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;
use wire::{Exec, Exit, FromGuest, STDIN_WINDOW_BYTES, Size, Stdio};

use crate::channel::ChannelEnd;
use crate::poll::{Event, Poll, Ready, Token};
use crate::spool::Spool;

/// How long output is still read after a command's first process ended, for what others that it started still write. A
/// process that stays behind with the pipe in its hands would otherwise never let the command end. What the pipe holds
/// at that moment is still read.
pub const DRAIN_GRACE: Duration = Duration::from_millis(250);

/// Reads of one pipe before others get their turn.
const READS_PER_TURN: usize = 4;

/// The input that was taken is reported when this much is new, or nothing waits.
const TAKEN_STEP: u64 = STDIN_WINDOW_BYTES as u64 / 4;

/// The byte that ends input at a terminal.
const END_OF_TRANSMISSION: u8 = 4;

/// Why a command was not started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StartError {
    #[error("make the streams of a command")]
    Streams(#[source] Errno),
    #[error("pass descriptors that did not come with the launch")]
    Passed,
    #[error("{0}")]
    Spawn(#[source] SpawnError),
}

impl StartError {
    pub(crate) fn errno(&self) -> i32 {
        match self {
            StartError::Streams(errno) => errno.raw_os_error(),
            StartError::Passed => Errno::BADF.raw_os_error(),
            StartError::Spawn(error) => error.errno(),
        }
    }
}

/// What a command reads.
#[derive(Debug)]
struct Input {
    /// `None` once nobody reads it any more.
    fd: Option<OwnedFd>,
    ready: Ready,
    queue: Vec<u8>,
    /// Of `queue`, already written.
    written: usize,
    /// No more will come.
    ended: bool,
    taken: u64,
    reported: u64,
}

/// What a command writes.
#[derive(Debug)]
struct Output {
    fd: OwnedFd,
    ready: Ready,
    /// Bytes that are still read, once the grace is over.
    left: Option<u64>,
}

/// A command that was started and whose last frame is not made yet.
#[derive(Debug)]
pub(crate) struct Command {
    stream: u32,
    pub(crate) pid: Pid,
    terminal: bool,
    input: Option<Input>,
    outputs: [Option<Output>; 2],
    exit: Option<(Exit, Instant)>,
}

/// The ends of a command's streams: the command's own, and ours.
struct Ends {
    theirs: [OwnedFd; 3],
    input: Option<OwnedFd>,
    outputs: [Option<OwnedFd>; 2],
}

impl Command {
    /// Starts a command. `passed` are the descriptors for [`Stdio::Passed`].
    pub(crate) fn start(
        stream: u32,
        exec: &Exec,
        passed: Option<[OwnedFd; 3]>,
        cgroups: &[OwnedFd],
        poll: &Poll,
    ) -> Result<Self, StartError> {
        let ends = match exec.stdio {
            Stdio::Pipes { stdin } => pipes(stdin).map_err(StartError::Streams)?,
            Stdio::Pty(size) => terminal(size).map_err(StartError::Streams)?,
            Stdio::Passed { .. } => Ends { theirs: passed.ok_or(StartError::Passed)?, input: None, outputs: [None, None] },
        };
        for (fd, token) in
            [(&ends.input, Token::Stdin(stream)), (&ends.outputs[0], Token::Stdout(stream)), (&ends.outputs[1], Token::Stderr(stream))]
        {
            if let Some(fd) = fd {
                rustix::io::ioctl_fionbio(fd, true).and_then(|()| poll.add(fd, token)).map_err(StartError::Streams)?;
            }
        }
        let is_terminal = matches!(exec.stdio, Stdio::Pty(_));
        let command = jail::spawn::Command {
            argv: &exec.argv,
            env: &exec.env,
            cwd: &exec.cwd,
            stdio: [ends.theirs[0].as_fd(), ends.theirs[1].as_fd(), ends.theirs[2].as_fd()],
            terminal: is_terminal,
            cgroups,
        };
        let pid = command.spawn().map_err(StartError::Spawn)?;
        let output = |fd| Output { fd, ready: Ready::NEW, left: None };
        let input = ends.input.map(|fd| Input {
            fd: Some(fd),
            ready: Ready::NEW,
            queue: Vec::new(),
            written: 0,
            ended: false,
            taken: 0,
            reported: 0,
        });
        Ok(Self { stream, pid, terminal: is_terminal, input, outputs: ends.outputs.map(|fd| fd.map(output)), exit: None })
    }

    /// Notes what a descriptor became ready for.
    pub(crate) fn on(&mut self, event: Event) {
        let [stdout, stderr] = &mut self.outputs;
        let ready = match event.token {
            Token::Stdin(_) => self.input.as_mut().map(|i| &mut i.ready),
            Token::Stdout(_) => stdout.as_mut().map(|o| &mut o.ready),
            _ => stderr.as_mut().map(|o| &mut o.ready),
        };
        if let Some(ready) = ready {
            ready.on(event);
        }
    }

    /// Adds input. A command without an input stream drops it.
    pub(crate) fn stdin(&mut self, bytes: &[u8]) -> Result<(), ChannelEnd> {
        let Some(input) = &mut self.input else { return Ok(()) };
        if input.queue.len() - input.written + bytes.len() > STDIN_WINDOW_BYTES {
            return Err(ChannelEnd::Window);
        }
        input.queue.extend_from_slice(bytes);
        Ok(())
    }

    /// Ends the input, after what waits.
    pub(crate) fn stdin_end(&mut self) {
        if let Some(input) = &mut self.input {
            input.ended = true;
        }
    }

    /// Forgets what waits to be written, and whether more was to come: the host that sent it is gone, and the next one
    /// sends all again that was not taken.
    pub(crate) fn forget_input(&mut self) {
        if let Some(input) = self.input.as_mut().filter(|input| input.fd.is_some()) {
            input.queue = Vec::new();
            input.written = 0;
            input.ended = false;
        }
    }

    /// Sets the size of the terminal, if there is one.
    pub(crate) fn resize(&self, size: Size) {
        if let (true, Some(output)) = (self.terminal, &self.outputs[0]) {
            // A terminal that is gone needs no size.
            let _ = rustix::termios::tcsetwinsize(&output.fd, winsize(size));
        }
    }

    /// Sends a signal to the process group while its leader lives.
    pub(crate) fn signal(&self, number: i32) -> Result<(), Errno> {
        if self.exit.is_some() {
            return Ok(());
        }
        let signal = Signal::from_named_raw(number).ok_or(Errno::INVAL)?;
        rustix::process::kill_process_group(self.pid, signal)
    }

    /// Whether the first process ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.exit.is_some()
    }

    /// The first process ended.
    pub(crate) fn ended(&mut self, status: WaitStatus, now: Instant) {
        let exit = Exit { code: status.exit_status(), signal: status.terminating_signal() };
        self.exit = Some((exit, now + DRAIN_GRACE));
        // A terminal that hung up before was kept open until now.
        for output in self.outputs.iter_mut().flatten() {
            output.ready.readable = true;
        }
    }

    /// Writes input that waits. Returns how much was taken in all when the host should hear of it.
    pub(crate) fn pump_input(&mut self) -> Option<u64> {
        let terminal = self.terminal;
        let input = self.input.as_mut()?;
        input.pump(terminal);
        let empty = input.written == input.queue.len();
        let due = input.taken - input.reported >= TAKEN_STEP || (empty && input.taken > input.reported);
        due.then(|| {
            input.reported = input.taken;
            input.taken
        })
    }

    /// All input that was taken, for a host that attaches.
    pub(crate) fn taken(&self) -> Option<u64> {
        self.input.as_ref().map(|i| i.taken)
    }

    /// Reads output into the spool. Returns whether more may be there that it did not read for fairness.
    pub(crate) fn pump_output(&mut self, spool: &mut Spool, scratch: &mut [u8], now: Instant) -> bool {
        // A terminal that is closed takes its session with it, also a leader that is only about to end by itself.
        let keep = self.terminal && self.exit.is_none();
        let grace_over = self.exit.as_ref().is_some_and(|(_, until)| now >= *until);
        let mut more = false;
        for (slot, is_error) in self.outputs.iter_mut().zip([false, true]) {
            let Some(output) = slot else { continue };
            if grace_over && output.left.is_none() {
                output.left = Some(rustix::io::ioctl_fionread(&output.fd).unwrap_or(0));
            }
            match output.pump(self.stream, is_error, spool, scratch) {
                Pumped::Waits => {}
                Pumped::More => more = true,
                Pumped::Ended if keep => output.ready.readable = false,
                Pumped::Ended => *slot = None,
            }
        }
        more
    }

    /// Makes the last frame when everything was read; the command is over then.
    pub(crate) fn finish(&mut self, spool: &mut Spool) -> bool {
        let (Some((exit, _)), [None, None]) = (&self.exit, &self.outputs) else { return false };
        // The frame is small, so it is always taken.
        let _ = spool.push(self.stream, &FromGuest::Exited(*exit));
        true
    }

    /// When something must happen without an event.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let waits = self.outputs.iter().flatten().any(|o| o.left.is_none());
        self.exit.as_ref().filter(|_| waits).map(|(_, until)| *until)
    }
}

impl Input {
    fn pump(&mut self, terminal: bool) {
        while let Some(fd) = &self.fd {
            let rest = &self.queue[self.written..];
            if rest.is_empty() {
                if self.ended && (!terminal || !self.ready.writable) {
                    self.fd = None;
                } else if self.ended {
                    match rustix::io::write(fd, &[END_OF_TRANSMISSION]) {
                        Err(Errno::INTR) => continue,
                        Err(Errno::AGAIN) => self.ready.writable = false,
                        _ => self.fd = None,
                    }
                }
                break;
            }
            if !self.ready.writable {
                break;
            }
            match rustix::io::write(fd, rest) {
                Ok(n) => {
                    self.written += n;
                    self.taken += n as u64;
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.ready.writable = false,
                Err(_) => self.fd = None,
            }
        }
        if self.fd.is_none() {
            // Nobody reads it: it counts as taken, so that the host can go on.
            self.taken += (self.queue.len() - self.written) as u64;
            self.written = self.queue.len();
        }
        if self.written == self.queue.len() {
            self.queue = Vec::new();
            self.written = 0;
        } else if self.written >= STDIN_WINDOW_BYTES / 2 {
            self.queue.drain(..self.written);
            self.written = 0;
        }
    }
}

enum Pumped {
    Waits,
    More,
    Ended,
}

impl Output {
    fn pump(&mut self, stream: u32, is_error: bool, spool: &mut Spool, scratch: &mut [u8]) -> Pumped {
        for _ in 0..READS_PER_TURN {
            if self.left == Some(0) {
                return Pumped::Ended;
            }
            if !self.ready.readable {
                return if self.left.is_some() { Pumped::Ended } else { Pumped::Waits };
            }
            if spool.is_full() {
                return Pumped::Waits;
            }
            let room = self.left.map_or(scratch.len(), |left| scratch.len().min(usize::try_from(left).unwrap_or(usize::MAX)));
            match rustix::io::read(&self.fd, &mut scratch[..room]) {
                Ok(0) => return Pumped::Ended,
                Ok(n) => {
                    let bytes = scratch[..n].to_vec();
                    let message = if is_error { FromGuest::Stderr(bytes) } else { FromGuest::Stdout(bytes) };
                    if spool.push(stream, &message).is_err() {
                        return Pumped::Ended;
                    }
                    self.left = self.left.map(|left| left - n as u64);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.ready.readable = false,
                // A terminal whose last user is gone answers with an error.
                Err(_) => return Pumped::Ended,
            }
        }
        Pumped::More
    }
}

fn pipes(stdin: bool) -> Result<Ends, Errno> {
    let (stdin, input) = if stdin {
        let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        (read, Some(write))
    } else {
        (rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?, None)
    };
    let (stdout, write_stdout) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    let (stderr, write_stderr) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    Ok(Ends { theirs: [stdin, write_stdout, write_stderr], input, outputs: [Some(stdout), Some(stderr)] })
}

fn terminal(size: Size) -> Result<Ends, Errno> {
    let ours = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    rustix::pty::unlockpt(&ours)?;
    rustix::termios::tcsetwinsize(&ours, winsize(size))?;
    let theirs = rustix::pty::ioctl_tiocgptpeer(&ours, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    let copy = |fd: &OwnedFd| rustix::io::fcntl_dupfd_cloexec(fd, 3);
    let input = copy(&ours)?;
    Ok(Ends { theirs: [copy(&theirs)?, copy(&theirs)?, theirs], input: Some(input), outputs: [Some(ours), None] })
}

fn winsize(size: Size) -> Winsize {
    Winsize { ws_row: size.rows, ws_col: size.cols, ws_xpixel: 0, ws_ypixel: 0 }
}
