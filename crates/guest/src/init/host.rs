//! The host: on a channel, or away and looked for.

use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;
use wire::Door;

use crate::channel::Channel;
use crate::poll::{Poll, Token};

/// The first wait before the door is tried again; it doubles.
const RETRY_FIRST: Duration = Duration::from_millis(20);

/// The longest wait. A change in the door's directory ends it early.
const RETRY_MAX: Duration = Duration::from_secs(1);

/// Where the host is.
#[derive(Debug)]
pub(crate) enum Host {
    /// On this channel.
    Here(Channel),
    /// Gone; the sandbox lives on for a while.
    Away(Search),
}

/// The search for a host that comes back.
#[derive(Debug)]
pub(crate) struct Search {
    socket: PathBuf,
    watch: Option<OwnedFd>,
    retry_at: Instant,
    wait: Duration,
}

impl Search {
    /// Begins to look for a host at this socket, from `first_try` on. Without a watch (its number is limited) only time brings it back.
    pub(crate) fn new(socket: &Path, poll: &Poll, first_try: Instant) -> Self {
        let watch = || -> Result<OwnedFd, Errno> {
            let fd = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
            let flags = WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::ATTRIB;
            inotify::add_watch(&fd, socket.parent().unwrap_or_else(|| Path::new("/")), flags)?;
            poll.add(&fd, Token::Doorway)?;
            Ok(fd)
        };
        Self { socket: socket.to_owned(), watch: watch().ok(), retry_at: first_try, wait: RETRY_FIRST }
    }

    /// Something changed in the door's directory.
    pub(crate) fn on_change(&mut self, now: Instant) {
        if let Some(watch) = &self.watch {
            let mut space = [MaybeUninit::uninit(); 512];
            let mut reader = inotify::Reader::new(watch, &mut space);
            // What changed does not matter; a reader that is left with events would not be woken again.
            while reader.next().is_ok() {}
        }
        self.retry_at = now;
        self.wait = RETRY_FIRST;
    }

    /// When the door is tried next.
    pub(crate) fn deadline(&self) -> Instant {
        self.retry_at
    }

    /// Tries the door when it is time to.
    pub(crate) fn attempt(&mut self, poll: &Poll, now: Instant) -> Option<Channel> {
        if now < self.retry_at {
            return None;
        }
        self.retry_at = now + self.wait;
        self.wait = (self.wait * 2).min(RETRY_MAX);
        let fd = crate::relay::connect(&self.socket).ok()?;
        poll.add(&fd, Token::Channel).ok()?;
        let mut channel = Channel::new(fd);
        channel.push_raw(Door::Control.line());
        Some(channel)
    }
}
