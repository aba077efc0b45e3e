//! `lazaret-guest launch`: from the host's first frame to a sandbox that serves.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use jail::{LaunchError, Spec, Stand};
use rustix::fs::{Mode, OFlags};
use wire::{Boot, Decoder, Frame, FromGuest, Launch, ToGuest, Trouble};

use crate::init::{Init, Setup};

/// The socket of the door's directory.
const SOCKET_NAME: &str = "host.sock";

/// The lowest number of the channel's descriptor, out of the way of the three standard ones and of those that came.
const CHANNEL_FD_MIN: i32 = 200;

/// How much sooner than others the kernel ends a sandbox's processes when the machine is out of memory.
const OOM_SCORE_ADJ: &str = "500";

/// Why there was nothing to launch.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error("read the launch")]
    Io(#[from] io::Error),
    #[error("read the launch: {0}")]
    Frame(#[from] wire::FrameError),
    #[error("read the launch: another message came first")]
    Kind,
    #[error("read the launch: the channel closed")]
    Closed,
    #[error("read the launch: {0}")]
    Json(#[from] serde_json::Error),
}

/// Builds the sandbox that the host describes on standard input, and is its first process. Returns the exit status: in
/// the launcher 0 once the first process exists, in the first process that of [`Init::run`].
///
/// What fails is told to the host as [`FromGuest::Trouble`], whose message is the launch error as JSON where there is
/// one.
#[must_use]
pub fn launch() -> i32 {
    let Ok(channel) = take_channel() else { return 1 };
    // Everything that will run here goes first when memory is short. A host that forbids it loses only that.
    let _ = std::fs::write("/proc/self/oom_score_adj", OOM_SCORE_ADJ);
    let mut fds = Vec::new();
    let launch = match read_launch(channel.as_fd(), &mut fds) {
        Ok(launch) => launch,
        Err(error) => return fail(channel.as_fd(), 0, error.to_string()),
    };
    let Launch { spec, boot } = launch;
    let report = |pid: i32, pidfd: BorrowedFd<'_>| {
        let frame = FromGuest::Launched(pid).frame(0, 0).map_err(io::Error::other)?;
        send(channel.as_fd(), &frame, &[pidfd])
    };
    let then = |stand: Result<Stand, LaunchError>| match stand {
        Ok(stand) => serve(channel.as_fd(), boot, stand),
        Err(error) => fail_launch(channel.as_fd(), &error),
    };
    match jail::launch(channel.as_fd(), &spec, fds, report, then) {
        Ok(status) => status,
        Err(error) => fail_launch(channel.as_fd(), &error),
    }
}

/// Moves standard input, the channel, out of the way of what commands get there.
fn take_channel() -> io::Result<OwnedFd> {
    let stdin = rustix::stdio::stdin();
    let channel = rustix::io::fcntl_dupfd_cloexec(stdin, CHANNEL_FD_MIN)?;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    Ok(channel)
}

fn read_launch(channel: BorrowedFd<'_>, fds: &mut Vec<OwnedFd>) -> Result<Launch<Spec>, ReadError> {
    let mut decoder = Decoder::default();
    let mut buffer = [0u8; 16 << 10];
    loop {
        if let Some(frame) = decoder.next_frame()? {
            // The host waits for the answer, so there is nothing after the frame that would be lost here.
            let ToGuest::Launch(json) = ToGuest::read(&frame)? else { return Err(ReadError::Kind) };
            return Ok(serde_json::from_slice(&json)?);
        }
        match jail::scm::receive(channel, &mut buffer, fds)? {
            0 => return Err(ReadError::Closed),
            n => decoder.push(&buffer[..n]),
        }
    }
}

fn serve(channel: BorrowedFd<'_>, boot: Boot, stand: Stand) -> i32 {
    let own = match channel.try_clone_to_owned() {
        Ok(own) => own,
        Err(error) => return fail(channel, error.raw_os_error().unwrap_or(0), "keep the channel".to_owned()),
    };
    let socket = Path::new(jail::DOOR_DIR).join(SOCKET_NAME);
    let setup = Setup { channel: own, boot, fds: stand.fds, command_cgroups: stand.command_cgroups, socket };
    match Init::new(setup) {
        Ok(init) => init.run(),
        Err(error) => {
            let cause = std::error::Error::source(&error).map(|c| format!(": {c}")).unwrap_or_default();
            fail(channel, 0, format!("{error}{cause}"))
        }
    }
}

fn fail_launch(channel: BorrowedFd<'_>, error: &LaunchError) -> i32 {
    fail(channel, 0, serde_json::to_string(error).unwrap_or_else(|_| error.to_string()))
}

/// Tells the host and gives the exit status of a failure.
fn fail(channel: BorrowedFd<'_>, errno: i32, message: String) -> i32 {
    // Truncated, it fits any frame.
    let message = message.chars().take(16 << 10).collect();
    if let Ok(frame) = FromGuest::Trouble(Trouble { errno, message }).frame(0, 0) {
        // A host that is gone need not be told.
        let _ = send(channel, &frame, &[]);
    }
    1
}

fn send(channel: BorrowedFd<'_>, frame: &Frame, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut bytes = Vec::new();
    frame.encode(&mut bytes).map_err(io::Error::other)?;
    let mut sent = jail::scm::send(channel, &bytes, fds)?;
    while sent < bytes.len() {
        sent += jail::scm::send(channel, &bytes[sent..], &[])?;
    }
    Ok(())
}
