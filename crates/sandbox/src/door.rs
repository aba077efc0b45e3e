//! The one door of a sandbox: a listening socket in a directory that the sandbox sees.

use std::fs;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener as StdListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use model::SandboxId;
use rustix::fs::{AtFlags, Mode, OFlags};
use tokio::io::AsyncReadExt as _;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wire::Door;

use crate::sandboxes::Hold;
use crate::{Doors, SandboxError};

/// The name of the socket in its directory.
pub(crate) const SOCKET: &str = "host.sock";
/// Connections of one sandbox at once; further ones are closed.
pub(crate) const CONNECTIONS_MAX: usize = 128;
/// How long a connection may take to say where it wants to go.
const DOOR_LINE_MAX: Duration = Duration::from_secs(15);
/// A rest after the host could not accept, so that a lack of descriptors does not become a busy loop.
const ACCEPT_REST: Duration = Duration::from_millis(50);

/// Who may come through the door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guests {
    /// Every process of this host user, which no other sandbox has.
    User(u32),
    /// Processes of the caller that descend from this first process of the sandbox.
    Descendants {
        /// The caller.
        uid: u32,
        /// The first process.
        init: i32,
    },
}

/// Binds the socket of a sandbox in `dir/door`, in place of an older one, for the user `owner`. Works however long the
/// path of `dir` is, and the sandbox never sees a socket that it may not connect to.
pub(crate) fn bind(dir: &Path, owner: Option<u32>) -> Result<StdListener, SandboxError> {
    let open = |path: &Path| rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let failed = || SandboxError::io("bind the door of a sandbox");
    let at = open(dir).map_err(|e| failed()(e.into()))?;
    let fresh = format!("/proc/self/fd/{}/door.new", at.as_raw_fd());
    match fs::remove_file(&fresh) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(failed()(e)),
        _ => {}
    }
    let listener = StdListener::bind(&fresh).map_err(failed())?;
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o600)).map_err(failed())?;
    if let Some(uid) = owner {
        let (uid, gid) = (rustix::fs::Uid::from_raw(uid), rustix::fs::Gid::from_raw(uid));
        rustix::fs::chownat(&at, "door.new", Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW).map_err(|e| failed()(e.into()))?;
    }
    rustix::fs::renameat(&at, "door.new", &at, format!("door/{SOCKET}")).map_err(|e| failed()(e.into()))?;
    listener.set_nonblocking(true).map_err(failed())?;
    Ok(listener)
}

/// Answers the door of one sandbox.
pub(crate) struct Keeper {
    pub(crate) sandbox: SandboxId,
    pub(crate) guests: Guests,
    pub(crate) doors: Arc<dyn Doors>,
    /// Where a guest goes that comes back; it must be this first process.
    pub(crate) control: mpsc::Sender<(UnixStream, Bytes)>,
    pub(crate) init: i32,
    /// Connections that were closed at once.
    pub(crate) refused: AtomicU64,
    pub(crate) places: Arc<Semaphore>,
}

impl Keeper {
    /// Accepts until cancelled.
    pub(crate) async fn serve(self: Arc<Self>, listener: UnixListener, tasks: TaskTracker, cancel: CancellationToken) {
        loop {
            let accepted = tokio::select! {
                () = cancel.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => self.admit(stream, &tasks, &cancel),
                Err(error) => {
                    tracing::warn!(sandbox = %self.sandbox, %error, "failed to accept at the door");
                    tokio::time::sleep(ACCEPT_REST).await;
                }
            }
        }
    }

    fn admit(self: &Arc<Self>, stream: UnixStream, tasks: &TaskTracker, cancel: &CancellationToken) {
        let place = self.places.clone().try_acquire_owned();
        let (Ok(place), Some(pid)) = (place, self.known(&stream)) else {
            let refused = self.refused.fetch_add(1, Ordering::Relaxed) + 1;
            // Powers of two: a flood does not fill the log.
            if refused.is_power_of_two() {
                tracing::warn!(sandbox = %self.sandbox, refused, "closed connections at the door: strangers, or too many at once");
            }
            return;
        };
        let (keeper, cancel) = (self.clone(), cancel.clone());
        tasks.spawn(async move {
            let line = tokio::time::timeout(DOOR_LINE_MAX, keeper.direct(stream, pid, Hold(place)));
            // Whatever is wrong with the connection, closing it is the answer.
            tokio::select! {
                _ = line => {}
                () = cancel.cancelled() => {}
            }
        });
    }

    /// The process at the other end, if it belongs to this sandbox.
    fn known(&self, stream: &UnixStream) -> Option<i32> {
        let peer = stream.peer_cred().ok()?;
        let pid = peer.pid()?;
        let belongs = match self.guests {
            Guests::User(uid) => peer.uid() == uid,
            Guests::Descendants { uid, init } => peer.uid() == uid && jail::peer::descends_from(pid, init),
        };
        belongs.then_some(pid)
    }

    async fn direct(&self, mut stream: UnixStream, pid: i32, hold: Hold) {
        let mut read = BytesMut::new();
        let (door, len) = loop {
            match Door::parse(&read) {
                Ok(Some(found)) => break found,
                Ok(None) => {}
                Err(_) => return,
            }
            match stream.read_buf(&mut read).await {
                Ok(n) if n > 0 => {}
                _ => return,
            }
        };
        let rest = read.split_off(len).freeze();
        match door {
            Door::Control if pid == self.init => {
                // Only a sandbox that waits to be adopted takes it; at all other times the guest has its channel.
                let _ = self.control.try_send((stream, rest));
            }
            Door::Control => {}
            door => self.doors.open(&self.sandbox, door, stream, rest, hold),
        }
    }
}
