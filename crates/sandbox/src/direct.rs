//! One command in one sandbox without a daemon.
//!
//! Its sandbox has a directory in `direct/` whose lock is held by this process; who finds the lock free removes what is
//! there. Nothing here starts a thread or a runtime: the fast path is as short as it can be.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use jail::signals::Signals;
use model::{SandboxId, Want};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::process::Signal;
use wire::{Boot, Decoder, Exec, Exit, Frame, FromGuest, Stdio, ToGuest};

use crate::home::make_dir;
use crate::host::Host;
use crate::launcher::Launched;
use crate::make::{Made, make};
use crate::outbox::encode;
use crate::{Config, Request, SandboxError, Tree, clean};

/// The command of [`run_direct`].
#[derive(Debug, Clone)]
pub struct DirectCommand {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// The whole environment; see [`crate::base_env`].
    pub env: Vec<(String, String)>,
    /// The working directory inside.
    pub cwd: String,
}

/// Signals that go on to the command.
const FORWARDED: [Signal; 5] = [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT, Signal::WINCH];
/// How often a directory is made again because another process took it for left behind before it was locked.
const LOCK_ATTEMPTS_MAX: usize = 8;

/// Starts a sandbox, runs one command with the caller's standard streams, forwards SIGINT, SIGTERM, SIGHUP, SIGQUIT and
/// SIGWINCH (a second SIGINT or SIGTERM kills all of it), waits and cleans up. Uses no thread and no runtime, and must
/// be called from a process with one thread. When this process is killed the sandbox ends with it and the next start
/// removes what is left.
///
/// # Errors
/// As [`crate::Sandboxes::start`]; [`SandboxError::Inside`] when the program cannot be run, [`SandboxError::Timeout`]
/// when the time limit was reached, [`SandboxError::Memory`] when it was killed for want of memory.
pub fn run_direct(config: &Config, request: Request, command: DirectCommand, stdio: [OwnedFd; 3]) -> Result<Exit, SandboxError> {
    if request.tree != Tree::Ephemeral || !request.trees.is_empty() || !request.relays.is_empty() {
        return Err(SandboxError::Start("a sandbox without a daemon has no tree and no door".into()));
    }
    let started = Instant::now();
    let host = Host::open(config)?;
    let signals = Signals::take(&FORWARDED.map(Signal::as_raw)).map_err(SandboxError::io("take signals"))?;
    sweep(&host)?;
    let dir = host.home.direct().join(request.id.as_str());
    let _lock = own(&dir)?;
    let id = request.id.clone();
    let (limits, wants) = (request.limits, request.wants);
    let mut made = make(&host, request, &dir, false, &[])?;
    let exec = Exec { argv: command.argv, env: command.env, cwd: command.cwd, stdio: Stdio::Pipes { stdin: false }, lease: 0 };
    let boot = Boot { relays: Vec::new(), exec: Some(exec), orphan_ms: 0 };
    let mut launched = made.launch(&host, boot, &[stdio[0].as_fd(), stdio[1].as_fd(), stdio[2].as_fd()])?;
    drop(stdio);
    let deadline = (wants.time != Want::Off).then(|| started.checked_add(limits.time)).flatten();
    let waited = wait(&mut launched, &signals, deadline);
    let waited = match waited {
        Err(SandboxError::Timeout { what, .. }) => {
            Err(SandboxError::Timeout { what, limit_ms: u64::try_from(limits.time.as_millis()).unwrap_or(u64::MAX) })
        }
        other => other,
    };
    end(&host, &made, launched, &id, waited)
}

/// Removes everything, and turns a death for want of memory into what it is.
fn end(host: &Host, made: &Made, launched: Launched, id: &SandboxId, waited: Result<Exit, SandboxError>) -> Result<Exit, SandboxError> {
    launched.init.kill_and_wait()?;
    drop(launched.channel);
    let killed = Some(Signal::KILL.as_raw());
    let oom = |exit: &Exit| {
        (exit.signal == killed || exit.code == killed.map(|k| 128 + k)) && made.group.as_ref().is_some_and(|g| g.stats().oom_kills > 0)
    };
    let waited = if waited.as_ref().is_ok_and(oom) { Err(SandboxError::Memory) } else { waited };
    clean::remove(host, id, &made.dir)?;
    waited
}

/// Waits for the command's end; gives signals on to it.
fn wait(launched: &mut Launched, signals: &Signals, deadline: Option<Instant>) -> Result<Exit, SandboxError> {
    let (mut asked_to_end, mut started) = (0, false);
    let mut channel = &launched.channel;
    for frame in &launched.early {
        if let Some(exit) = read_frame(frame, &mut started)? {
            return Ok(exit);
        }
    }
    if let Some(exit) = read_frames(&mut launched.rest, &mut started)? {
        return Ok(exit);
    }
    loop {
        let (from_guest, from_host) = poll(channel, signals, deadline)?;
        if from_guest {
            let mut buffer = [0u8; 4096];
            let got = std::io::Read::read(&mut channel, &mut buffer).map_err(SandboxError::io("read the control channel"))?;
            if got == 0 {
                return Err(SandboxError::Gone("it ended before its command did".into()));
            }
            launched.rest.push(&buffer[..got]);
            if let Some(exit) = read_frames(&mut launched.rest, &mut started)? {
                return Ok(exit);
            }
        }
        while let Some(signal) = signals.next_waiting().filter(|_| from_host) {
            if signal == Signal::INT.as_raw() || signal == Signal::TERM.as_raw() {
                asked_to_end += 1;
                if asked_to_end > 1 {
                    return Ok(Exit { code: None, signal: Some(signal) });
                }
            }
            let bytes = encode(&ToGuest::Signal(signal), 0, 0)?;
            // A guest that is gone is seen by the next read.
            let _ = std::io::Write::write_all(&mut channel, &bytes);
        }
    }
}

/// The end of the command, if it is among what was read.
fn read_frames(decoder: &mut Decoder, started: &mut bool) -> Result<Option<Exit>, SandboxError> {
    while let Some(frame) = decoder.next_frame().map_err(|e| SandboxError::Protocol(e.to_string()))? {
        if let Some(exit) = read_frame(&frame, started)? {
            return Ok(Some(exit));
        }
    }
    Ok(None)
}

fn read_frame(frame: &Frame, started: &mut bool) -> Result<Option<Exit>, SandboxError> {
    match FromGuest::read(frame).map_err(|e| SandboxError::Protocol(e.to_string()))? {
        FromGuest::Exited(exit) if frame.stream == 0 => return Ok(Some(exit)),
        FromGuest::Trouble(t) if frame.stream == 0 && !*started => {
            return Err(SandboxError::Inside { errno: t.errno, message: t.message });
        }
        // A signal that could not be sent: the command has just ended.
        FromGuest::Trouble(_) if frame.stream == 0 => {}
        FromGuest::Started(_) if frame.stream == 0 => *started = true,
        _ => return Err(SandboxError::Protocol(format!("frame kind {} was not asked for", frame.kind))),
    }
    Ok(None)
}

fn poll(channel: &UnixStream, signals: &Signals, deadline: Option<Instant>) -> Result<(bool, bool), SandboxError> {
    loop {
        let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            return Err(SandboxError::Timeout { what: "the command", limit_ms: 0 });
        }
        let timeout =
            left.map(|t| Timespec { tv_sec: i64::try_from(t.as_secs()).unwrap_or(i64::MAX), tv_nsec: i64::from(t.subsec_nanos()) });
        let mut fds = [PollFd::new(channel, PollFlags::IN), PollFd::from_borrowed_fd(signals.fd(), PollFlags::IN)];
        match rustix::event::poll(&mut fds, timeout.as_ref()) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => return Ok((!fds[0].revents().is_empty(), !fds[1].revents().is_empty())),
            Err(e) => return Err(SandboxError::io("wait for the sandbox")(e.into())),
        }
    }
}

/// Makes the directory of a sandbox and locks it for the life of this process.
fn own(dir: &Path) -> Result<OwnedFd, SandboxError> {
    for _ in 0..LOCK_ATTEMPTS_MAX {
        make_dir(dir)?;
        // Waited for: a sweep of another process may look at it between the making and this.
        let Some(fd) = lock(dir, FlockOperation::LockExclusive) else { continue };
        // Another process may have locked and removed it in between.
        if rustix::fs::fstat(&fd).is_ok_and(|s| s.st_nlink > 0) && dir.exists() {
            return Ok(fd);
        }
    }
    Err(SandboxError::Start("its directory is locked by another process".into()))
}

fn lock(dir: &Path, how: FlockOperation) -> Option<OwnedFd> {
    let fd = rustix::fs::open(dir, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).ok()?;
    rustix::fs::flock(&fd, how).ok()?;
    Some(fd)
}

/// Removes sandboxes whose process is gone.
pub(crate) fn sweep(host: &Host) -> Result<(), SandboxError> {
    let entries = fs::read_dir(host.home.direct()).map_err(SandboxError::io("read the home"))?;
    let mut first = Ok(());
    for entry in entries.flatten() {
        let path = entry.path();
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse::<SandboxId>().ok()) else { continue };
        let Some(_lock) = lock(&path, FlockOperation::NonBlockingLockExclusive) else { continue };
        let removed = clean::remove(host, &id, &path);
        first = first.and(removed);
    }
    first
}
