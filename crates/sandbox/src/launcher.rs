//! Starts the guest program and waits until its sandbox stands. Blocking and without threads, so that both the daemon
//! (on a thread for blocking work) and a single process use the same steps.

use std::io::{self, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Signal, WaitId, WaitIdOptions};
use wire::{Decoder, Frame, FromGuest, Launch, ToGuest};

use crate::SandboxError;
use crate::channel::ready;
use crate::outbox::encode;
use crate::record::Process;

/// What the guest program is called in lists of processes.
const GUEST_NAME: &str = "lazaret-guest";
/// How long a sandbox may take until it stands.
const START_MAX: Duration = Duration::from_secs(60);
/// Messages that a command which was started at once can have sent before the sandbox was known.
const EARLY_MAX: usize = 16;
/// How long killed processes may take to be gone.
const END_MAX: Duration = Duration::from_secs(10);

/// A sandbox that stands.
#[derive(Debug)]
pub(crate) struct Launched {
    pub(crate) init: Init,
    pub(crate) channel: UnixStream,
    /// Messages that came after the first ones already: of the command that was started at once.
    pub(crate) early: Vec<Frame>,
    /// What was read beyond them.
    pub(crate) rest: Decoder,
}

/// The first process of a sandbox. Dropping it does nothing to the process.
#[derive(Debug)]
pub(crate) struct Init {
    pub(crate) process: Process,
    pub(crate) pidfd: OwnedFd,
    /// Whether it is a child of this process, which must then wait for it.
    pub(crate) child: bool,
}

/// Starts the guest. `label` stands in its command line, for people and for the search after a crash. `seen` is called
/// with the first process as soon as there is one.
pub(crate) fn launch(
    guest: &Path,
    label: &str,
    launch: &Launch<jail::Spec>,
    descriptors: &[BorrowedFd<'_>],
    seen: impl FnOnce(Process) -> Result<(), SandboxError>,
) -> Result<Launched, SandboxError> {
    let (ours, theirs) = UnixStream::pair().map_err(SandboxError::io("make a control channel"))?;
    let mut command = Command::new(guest);
    // The command line can be read inside: it must not tell where the home lies.
    command.arg0(GUEST_NAME).arg("launch").arg(label).env_clear().stdin(OwnedFd::from(theirs)).stdout(Stdio::null()).stderr(Stdio::null());
    let mut launcher = command.spawn().map_err(SandboxError::io("start the guest program"))?;
    // The command holds the other end of the channel; without this the end of the guest would not be seen.
    drop(command);
    model::crash::point("sandbox.launcher.started");
    let mut first = None;
    let result = stand(&ours, launch, descriptors, &mut first, seen);
    if result.is_err() {
        end_launcher(&mut launcher);
        if let Some(init) = &first {
            // The error that is reported is why it had to be killed.
            let _ = init.kill_and_wait();
        }
    }
    // It ends by itself once the sandbox stands; a zombie must not stay in the daemon.
    let status = launcher.wait().map_err(SandboxError::io("wait for the launcher"))?;
    match (result, first) {
        (Ok(heard), Some(init)) => Ok(Launched { init, channel: ours, early: heard.early, rest: heard.decoder }),
        (Err(SandboxError::Start(why)), _) if why.is_empty() => Err(SandboxError::Start(format!("the launcher ended early ({status})"))),
        (Err(error), _) => Err(error),
        (Ok(_), None) => Err(SandboxError::Protocol("the launcher named no process".into())),
    }
}

fn millis(limit: Duration) -> u64 {
    u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)
}

fn end_launcher(launcher: &mut Child) {
    // It may have ended already; the wait that follows takes it either way.
    let _ = launcher.kill();
}

/// What was read until the sandbox stood.
#[derive(Default)]
struct Heard {
    decoder: Decoder,
    came: Vec<OwnedFd>,
    /// Whether the guest serves, or why not. The launcher and the first process write to one channel, so this may come
    /// before the launcher has named the process.
    ready: Option<Result<(), SandboxError>>,
    early: Vec<Frame>,
}

/// Sends the specification and reads until the first process is known and the guest is ready or has said why not.
fn stand(
    channel: &UnixStream,
    launch: &Launch<jail::Spec>,
    descriptors: &[BorrowedFd<'_>],
    first: &mut Option<Init>,
    seen: impl FnOnce(Process) -> Result<(), SandboxError>,
) -> Result<Heard, SandboxError> {
    let payload = serde_json::to_vec(launch).map_err(|e| SandboxError::Start(e.to_string()))?;
    let bytes = encode(&ToGuest::Launch(payload), 0, 0)?;
    send(channel, &bytes, descriptors)?;
    let (mut heard, mut seen) = (Heard::default(), Some(seen));
    let deadline = Instant::now() + START_MAX;
    loop {
        while let Some(frame) = heard.decoder.next_frame().map_err(|e| SandboxError::Protocol(e.to_string()))? {
            let Some(pid) = launched(&frame)? else {
                heard.take(frame)?;
                continue;
            };
            if first.is_some() {
                return Err(SandboxError::Protocol("a second first process".into()));
            }
            let fd = heard.came.pop().ok_or_else(|| SandboxError::Protocol("no descriptor of the first process came".into()))?;
            let process = Process::now(pid).ok_or_else(|| SandboxError::Start("the first process ended at once".into()))?;
            *first = Some(Init { process, pidfd: fd, child: true });
            if let Some(seen) = seen.take() {
                seen(process)?;
            }
            model::crash::point("sandbox.process.recorded");
        }
        match (&first, heard.ready.take()) {
            (Some(_), Some(ready)) => return ready.map(|()| heard),
            (_, ready) => heard.ready = ready,
        }
        if let Err(error) = receive(channel, &mut heard.decoder, &mut heard.came, deadline) {
            // Trouble of the launcher itself, which then ends without a process.
            return Err(heard.ready.and_then(Result::err).unwrap_or(error));
        }
    }
}

impl Heard {
    fn take(&mut self, frame: Frame) -> Result<(), SandboxError> {
        match &self.ready {
            None => self.ready = Some(ready(&frame).map(drop)),
            Some(Ok(())) if self.early.len() < EARLY_MAX => self.early.push(frame),
            Some(_) => return Err(SandboxError::Protocol("too much was said before the sandbox stood".into())),
        }
        Ok(())
    }
}

/// The process that the launcher made, if the frame says so.
fn launched(frame: &Frame) -> Result<Option<i32>, SandboxError> {
    match FromGuest::read(frame).map_err(|e| SandboxError::Protocol(e.to_string()))? {
        FromGuest::Launched(pid) if pid > 1 => Ok(Some(pid)),
        FromGuest::Launched(_) => Err(SandboxError::Protocol("the launcher named a wrong process".into())),
        _ => Ok(None),
    }
}

fn send(channel: &UnixStream, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<(), SandboxError> {
    let failed = |e: io::Error| match e.kind() {
        // The launcher ended before it read: what it said, if anything, is the better message.
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => SandboxError::Start(String::new()),
        _ => SandboxError::io("send the specification")(e),
    };
    let sent = jail::scm::send(channel.as_fd(), bytes, descriptors).map_err(failed)?;
    let mut channel = channel;
    channel.write_all(&bytes[sent..]).map_err(failed)
}

/// Reads what is there, waiting for it until `deadline`.
fn receive(channel: &UnixStream, decoder: &mut Decoder, came: &mut Vec<OwnedFd>, deadline: Instant) -> Result<(), SandboxError> {
    let failed = || SandboxError::io("read the control channel");
    let left = deadline.saturating_duration_since(Instant::now());
    if !jail::pidfd::wait(channel.as_fd(), Some(left)).map_err(failed())? {
        return Err(SandboxError::Timeout { what: "the start of a sandbox", limit_ms: millis(START_MAX) });
    }
    let mut buffer = [0u8; 16 << 10];
    let got = jail::scm::receive(channel.as_fd(), &mut buffer, came).map_err(failed())?;
    // One descriptor is expected; a guest that sends more of them gains nothing by it.
    came.truncate(1);
    if got == 0 {
        return Err(SandboxError::Start(String::new()));
    }
    decoder.push(&buffer[..got]);
    Ok(())
}

impl Init {
    /// The process of a record, if it still is that process.
    pub(crate) fn find(process: Process) -> Option<Init> {
        let pidfd = jail::pidfd::open(process.pid).ok()?;
        // Looked at after the descriptor was opened: it names this process for good.
        (Process::now(process.pid) == Some(process)).then_some(Init { process, pidfd, child: false })
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&self) -> bool {
        jail::pidfd::wait(self.pidfd.as_fd(), Some(Duration::ZERO)).unwrap_or(true)
    }

    /// Kills it, and with it every process of its sandbox, and waits until it is gone.
    pub(crate) fn kill_and_wait(&self) -> Result<(), SandboxError> {
        // It may have ended by itself.
        let _ = jail::pidfd::kill(self.pidfd.as_fd(), Signal::KILL.as_raw());
        if !jail::pidfd::wait(self.pidfd.as_fd(), Some(END_MAX)).map_err(SandboxError::io("wait for the end of a sandbox"))? {
            return Err(SandboxError::Timeout { what: "the end of a sandbox", limit_ms: millis(END_MAX) });
        }
        self.reap();
        Ok(())
    }

    /// Takes the zombie of a child that has ended.
    pub(crate) fn reap(&self) {
        if self.child {
            // Taken by an earlier call: nothing is left then.
            let _ = rustix::process::waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
        }
    }
}
