//! The control channel: frames over a non-blocking stream socket.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use wire::{Decoder, Frame, FrameError, FromGuest};

use crate::poll::Ready;

/// While this much waits to be sent, nothing is added but answers, and no further request is read.
pub(crate) const OUT_BYTES_MAX: usize = 512 << 10;

/// Bytes read before the frames in them are handled.
const READ_BYTES: usize = 64 << 10;

/// Why a channel is over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ChannelEnd {
    /// The host closed it or is gone.
    #[error("the channel closed")]
    Closed,
    /// The host broke the protocol.
    #[error("the host sent a bad frame: {0}")]
    BadFrame(#[from] FrameError),
    /// The host sent input beyond its window.
    #[error("the host sent more input than its window allows")]
    Window,
}

/// The channel to the host.
#[derive(Debug)]
pub(crate) struct Channel {
    fd: OwnedFd,
    pub(crate) ready: Ready,
    decoder: Decoder,
    out: Vec<u8>,
    written: usize,
    /// Nobody takes what is sent any more.
    is_deaf: bool,
}

impl Channel {
    /// Takes a stream socket that is already non-blocking.
    pub(crate) fn new(fd: OwnedFd) -> Self {
        Self { fd, ready: Ready::NEW, decoder: Decoder::default(), out: Vec::new(), written: 0, is_deaf: false }
    }

    /// Bytes that wait to be sent.
    pub(crate) fn waiting(&self) -> usize {
        self.out.len() - self.written
    }

    /// Whether more than answers may be added.
    pub(crate) fn has_room(&self) -> bool {
        self.waiting() < OUT_BYTES_MAX
    }

    /// Adds bytes that are sent as they are.
    pub(crate) fn push_raw(&mut self, bytes: &[u8]) {
        if self.is_deaf {
            return;
        }
        if self.written > 0 && self.written == self.out.len() {
            self.out.clear();
            self.written = 0;
        }
        self.out.extend_from_slice(bytes);
    }

    /// Adds a message that is not spooled.
    pub(crate) fn push(&mut self, message: &FromGuest, stream: u32, number: u64) {
        let mut bytes = Vec::new();
        // What is too large to send was made by this program and is cut before; nothing can be done about it here.
        if message.frame(stream, number).and_then(|frame| frame.encode(&mut bytes)).is_ok() {
            self.push_raw(&bytes);
        }
    }

    /// Sends what the socket takes.
    pub(crate) fn flush(&mut self) -> Result<(), ChannelEnd> {
        while self.ready.writable && self.waiting() > 0 {
            match rustix::net::send(&self.fd, &self.out[self.written..], rustix::net::SendFlags::NOSIGNAL) {
                Ok(n) => self.written += n,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.ready.writable = false,
                // What the host sent before it closed is still read; with what waits here there would be no room to read, and the end
                // would never be seen: it comes once.
                Err(_) => {
                    self.is_deaf = true;
                    self.out = Vec::new();
                    self.written = 0;
                    return Err(ChannelEnd::Closed);
                }
            }
        }
        if self.waiting() == 0 {
            self.out.clear();
            self.written = 0;
            self.out.shrink_to(OUT_BYTES_MAX / 8);
        } else if self.written > OUT_BYTES_MAX {
            self.out.drain(..self.written);
            self.written = 0;
        }
        Ok(())
    }

    /// The next frame that came, or `None` until the socket is ready again.
    pub(crate) fn next_frame(&mut self, scratch: &mut [u8]) -> Result<Option<Frame>, ChannelEnd> {
        loop {
            if let Some(frame) = self.decoder.next_frame()? {
                return Ok(Some(frame));
            }
            if !self.ready.readable {
                return Ok(None);
            }
            let room = scratch.len().min(READ_BYTES);
            match rustix::io::read(&self.fd, &mut scratch[..room]) {
                Ok(0) => return Err(ChannelEnd::Closed),
                Ok(n) => self.decoder.push(&scratch[..n]),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.ready.readable = false,
                Err(_) => return Err(ChannelEnd::Closed),
            }
        }
    }

    /// Whether a whole frame or unread bytes may be there.
    pub(crate) fn may_have_more(&self) -> bool {
        self.ready.readable || self.decoder.pending() >= wire::HEADER_BYTES
    }
}
