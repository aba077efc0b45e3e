//! Which files a sandbox writes in its tree.

use std::fs;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jail::fanotify::{self, Written};
use model::SandboxId;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::record::Process;
use crate::sandbox::Running;
use crate::sandboxes::blocking;
use crate::{SandboxError, Sandboxes};

/// Writes that wait for the one who watches. Beyond them writes are left out, and one `Lost` says so.
const WAITING_MAX: usize = 1024;
/// Mounts of one sandbox that are watched: its tree's, and the places in it that are held still.
const MOUNTS_MAX: usize = 64;
/// The largest list of mounts that is read.
const MOUNTINFO_BYTES_MAX: usize = 1 << 20;

/// What a sandbox writes, as it happens.
#[derive(Debug)]
pub struct Writes {
    came: mpsc::Receiver<Written>,
    end: Option<tokio_util::sync::DropGuard>,
}

impl Writes {
    /// The next file that was closed after writing, or that some were left out; `None` once the sandbox or the watch has ended.
    pub async fn next(&mut self) -> Option<Written> {
        self.came.recv().await
    }

    /// Ends the watch. What was written until now is still told, as far as there is room for it.
    pub fn end(&mut self) {
        drop(self.end.take());
    }
}

impl Sandboxes {
    /// Watches the files that the sandbox writes below /home and /workspace of its tree, from now on and until it ends or
    /// the result is dropped. Each write is this sandbox's, also where others have the same tree. Files that are only
    /// made, renamed or removed are not told of.
    ///
    /// # Errors
    /// [`SandboxError::Unknown`]; [`SandboxError::Layer`] where the kernel does not tell: only root is told.
    pub async fn watch_writes(&self, sandbox: &SandboxId) -> Result<Writes, SandboxError> {
        let running = self.get(sandbox).ok_or_else(|| SandboxError::Unknown(sandbox.to_string()))?.0;
        let watched = running.clone();
        let list = blocking(move || watch(&watched)).await?;
        #[expect(
            deprecated,
            reason = "sound for a list, which owns its descriptor and never gives another; what replaces it is unsafe code"
        )]
        let list = AsyncFd::new(list).map_err(SandboxError::io("watch the files of a sandbox"))?;
        let (tell, came) = mpsc::channel(WAITING_MAX);
        let cancel = CancellationToken::new();
        let end = Some(cancel.clone().drop_guard());
        self.own_task(pump(list, tell, running, cancel));
        Ok(Writes { came, end })
    }
}

async fn pump(list: AsyncFd<fanotify::Writes>, tell: mpsc::Sender<Written>, running: Arc<Running>, cancel: CancellationToken) {
    let mut ended = running.end.clone();
    // A sandbox that is watched may still end: only its channel is looked at from here on.
    drop(running);
    let mut lost = false;
    loop {
        let ready = tokio::select! {
            biased;
            () = cancel.cancelled() => {
                tell_rest(list.get_ref(), &tell, lost);
                return;
            }
            _ = ended.wait_for(Option::is_some) => return,
            room = tell.reserve(), if lost => match room {
                Ok(room) => {
                    room.send(Written::Lost);
                    lost = false;
                    continue;
                }
                Err(_) => return,
            },
            ready = list.readable() => ready,
        };
        let Ok(mut ready) = ready else { return };
        let mut events = Vec::new();
        if ready.get_inner().read(&mut events).is_err() {
            return;
        }
        if events.is_empty() {
            ready.clear_ready();
        }
        for event in events {
            // Once some are left out the rest waits for that to be said, so that what is told stays in order.
            lost = lost || tell.try_send(event).is_err();
        }
    }
}

/// Tells what waits in a list that is read no longer; what finds no room is left out.
fn tell_rest(list: &fanotify::Writes, tell: &mpsc::Sender<Written>, lost: bool) {
    let mut events: Vec<Written> = lost.then_some(Written::Lost).into_iter().collect();
    // It may be written on and on: more than there is room for is not read.
    while events.len() < WAITING_MAX {
        let known = events.len();
        if list.read(&mut events).is_err() || events.len() == known {
            break;
        }
    }
    for event in events {
        if tell.try_send(event).is_err() {
            break;
        }
    }
}

/// A list with every mount of the sandbox's own that lies in its tree.
fn watch(running: &Running) -> Result<fanotify::Writes, SandboxError> {
    let missing = |why: String| SandboxError::Layer {
        layer: "writes".into(),
        why,
        remedy: "run as root, on a kernel with CONFIG_FANOTIFY; without it nothing but the reports of collisions is missing".into(),
    };
    if !running.host.is_root() {
        return Err(missing("the kernel tells only root who writes a file".into()));
    }
    let pid = running.record.init.map(|init| init.pid).ok_or_else(|| SandboxError::Gone("it has no process".into()))?;
    let list = fanotify::Writes::new().map_err(|e| missing(e.to_string()))?;
    let failed = || SandboxError::io("look at the mounts of a sandbox");
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(format!("/proc/{pid}/root"), flags, Mode::empty()).map_err(|e| failed()(e.into()))?;
    let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo")).map_err(failed())?;
    // Only now is it sure that both were this sandbox's.
    if Process::now(pid) != running.record.init {
        return Err(SandboxError::Gone("its first process ended".into()));
    }
    for place in places(&mounts) {
        let opened = place_in(&root, &place).map_err(|e| failed()(e.into()))?;
        list.add(opened.as_fd()).map_err(|e| missing(e.to_string()))?;
    }
    Ok(list)
}

fn place_in(root: &OwnedFd, place: &Path) -> rustix::io::Result<OwnedFd> {
    let place = place.strip_prefix("/").unwrap_or(place);
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
    rustix::fs::openat2(root, place, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve)
}

/// Where the tree is mounted, and where parts of it are mounted on themselves: all that lies on one file system with
/// /workspace or /home. Names that the kernel writes with an escape are left out; the host's own have none.
fn places(mountinfo: &str) -> Vec<PathBuf> {
    let lines = mountinfo.get(..MOUNTINFO_BYTES_MAX).unwrap_or(mountinfo).lines();
    let fields = |line: &str| {
        let mut words = line.split(' ');
        let (device, place, options) = (words.nth(2)?.to_owned(), words.nth(1)?.to_owned(), words.next()?.to_owned());
        Some((device, place, options))
    };
    let all: Vec<_> = lines.filter_map(fields).collect();
    let own = |place: &str| all.iter().rev().find(|(_, at, _)| at == place).map(|(device, ..)| device.clone());
    let devices: Vec<String> = ["/home", "/workspace"].into_iter().filter_map(own).collect();
    let below = |at: &str| ["/home", "/workspace"].iter().any(|top| Path::new(at).starts_with(top));
    let wanted = all.iter().filter(|(device, at, options)| {
        below(at) && devices.contains(device) && !at.contains('\\') && options.split(',').all(|option| option != "ro")
    });
    wanted.map(|(_, at, _)| at.into()).take(MOUNTS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_writable_mounts_of_the_tree_are_watched() {
        let text = "1 0 0:30 / / ro - overlay root rw\n2 1 0:40 /trees/a/home /home rw,nosuid - btrfs x rw\n\
                    3 1 0:40 /trees/a/workspace /workspace rw - btrfs x rw\n4 2 0:40 /e /home/sandbox/.e rw - btrfs x rw\n\
                    5 4 8:1 /f /home/sandbox/.e/f ro - ext4 y rw\n6 2 8:1 /notes /home/sandbox/Notes rw - ext4 y rw\n\
                    7 1 0:40 /trees/b/home /mnt/old/home ro - btrfs x rw\n8 2 0:40 /o /home/a\\040b rw - btrfs x rw\nrubbish\n";
        assert_eq!(places(text), ["/home", "/workspace", "/home/sandbox/.e"].map(PathBuf::from));
    }
}
