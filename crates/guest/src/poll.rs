//! One epoll instance, edge-triggered: every descriptor is registered once, and whoever owns it remembers what it is
//! ready for.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;

/// Events taken in one turn of the loop. More wait for the next.
const EVENTS_MAX: usize = 128;

/// Whose descriptor an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token {
    /// The channel to the host.
    Channel,
    /// The signal that a child ended.
    Children,
    /// The directory of the door, watched while the host is away.
    Doorway,
    /// A relay's listening socket, by its place in the boot message.
    Listener(u32),
    /// The inner end of a relayed connection.
    Client(u32),
    /// The outer end of a relayed connection.
    Host(u32),
    /// Input of a command.
    Stdin(u32),
    /// Output of a command, or its terminal.
    Stdout(u32),
    /// Error output of a command.
    Stderr(u32),
}

impl Token {
    fn encode(self) -> u64 {
        let (tag, value) = match self {
            Token::Channel => (0, 0),
            Token::Children => (1, 0),
            Token::Doorway => (2, 0),
            Token::Listener(n) => (3, n),
            Token::Client(n) => (4, n),
            Token::Host(n) => (5, n),
            Token::Stdin(n) => (6, n),
            Token::Stdout(n) => (7, n),
            Token::Stderr(n) => (8, n),
        };
        tag << 32 | u64::from(value)
    }

    fn decode(word: u64) -> Option<Self> {
        let value = u32::try_from(word & 0xffff_ffff).ok()?;
        Some(match word >> 32 {
            0 => Token::Channel,
            1 => Token::Children,
            2 => Token::Doorway,
            3 => Token::Listener(value),
            4 => Token::Client(value),
            5 => Token::Host(value),
            6 => Token::Stdin(value),
            7 => Token::Stdout(value),
            8 => Token::Stderr(value),
            _ => return None,
        })
    }
}

/// What a descriptor became ready for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Event {
    pub(crate) token: Token,
    pub(crate) readable: bool,
    pub(crate) writable: bool,
}

/// What a descriptor is ready for as far as its owner knows. New ones count as ready: the first call tells.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ready {
    pub(crate) readable: bool,
    pub(crate) writable: bool,
}

impl Ready {
    pub(crate) const NEW: Ready = Ready { readable: true, writable: true };

    pub(crate) fn on(&mut self, event: Event) {
        self.readable |= event.readable;
        self.writable |= event.writable;
    }
}

/// The epoll instance.
pub(crate) struct Poll {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

impl std::fmt::Debug for Poll {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Poll").field("epoll", &self.epoll).finish_non_exhaustive()
    }
}

impl Poll {
    pub(crate) fn new() -> Result<Self, Errno> {
        Ok(Self { epoll: epoll::create(CreateFlags::CLOEXEC)?, events: Vec::with_capacity(EVENTS_MAX) })
    }

    /// Registers a descriptor; closing it (and every copy of it) takes it out again.
    pub(crate) fn add(&self, fd: impl AsFd, token: Token) -> Result<(), Errno> {
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(&self.epoll, fd, EventData::new_u64(token.encode()), flags)
    }

    /// Waits for events, at most `timeout` (for ever without one).
    pub(crate) fn wait(&mut self, timeout: Option<Duration>, out: &mut Vec<Event>) -> Result<(), Errno> {
        out.clear();
        self.events.clear();
        let timeout =
            timeout.map(|t| Timespec { tv_sec: i64::try_from(t.as_secs()).unwrap_or(i64::MAX), tv_nsec: i64::from(t.subsec_nanos()) });
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut self.events), timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
        for event in &self.events {
            let flags = event.flags;
            let broken = flags.intersects(EventFlags::HUP | EventFlags::ERR);
            let Some(token) = Token::decode(event.data.u64()) else { continue };
            out.push(Event {
                token,
                readable: broken || flags.intersects(EventFlags::IN | EventFlags::RDHUP),
                writable: broken || flags.contains(EventFlags::OUT),
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_read_back() {
        let n = u32::MAX;
        for token in [Token::Channel, Token::Children, Token::Doorway, Token::Listener(3), Token::Client(n), Token::Host(0)] {
            assert_eq!(Token::decode(token.encode()), Some(token));
        }
        for token in [Token::Stdin(n), Token::Stdout(n), Token::Stderr(n)] {
            assert_eq!(Token::decode(token.encode()), Some(token));
        }
        assert_eq!(Token::decode(u64::MAX), None);
    }
}
