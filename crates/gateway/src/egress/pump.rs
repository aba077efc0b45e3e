//! Carries bytes both ways until both ends are done.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use super::hello::{Gate, HelloError};
use super::{Limits, Policy, Refusal, Report};

/// Bytes in flight in one direction: so many at first, and twice as many each time that a read fills them all.
const BUFFER_BYTES_MIN: usize = 8 << 10;
/// More of them make nothing faster.
const BUFFER_BYTES_MAX: usize = 256 << 10;

/// One direction.
struct Half {
    buffer: Vec<u8>,
    /// What is read and not yet written.
    pending: std::ops::Range<usize>,
    /// The reading end is over.
    ended: bool,
    /// The end was passed on.
    closed: bool,
    moved: u64,
}

/// Carries bytes between a client and a host. What the client sends passes through the gate; `first` came already.
/// The report is kept up to date, so that it is right whenever this is dropped. Gives back why the connection was cut.
pub(super) async fn carry<C, H>(
    client: &mut C,
    host: &mut H,
    mut gate: Gate,
    first: &[u8],
    bounds: (&Limits, &Policy),
    report: &mut Report,
) -> Option<Refusal>
where
    C: AsyncRead + AsyncWrite + Unpin,
    H: AsyncRead + AsyncWrite + Unpin,
{
    let (limits, policy) = bounds;
    let (mut up, mut down) = (Half::new(), Half::new());
    let (sent, received) = (report.sent, report.received);
    let mut counted = 0;
    let mut open = Gate::opened();
    if let Err(error) = up.put(&mut gate, first) {
        return Some(error.into());
    }
    let mut watch = Watch {
        idle: pin!(sleep(limits.idle)),
        total: pin!(sleep(limits.total)),
        hello: pin!(sleep(limits.hello)),
        quiet_since: Instant::now(),
        quiet_max: limits.idle,
        moved: 0,
    };
    let cut = poll_fn(|cx| {
        let went_up = up.poll(cx, Pin::new(client), Pin::new(host), &mut gate);
        let went_down = down.poll(cx, Pin::new(host), Pin::new(client), &mut open);
        (report.sent, report.received) = (sent + up.moved, received + down.moved);
        let moved = up.moved + down.moved;
        policy.spend_bytes(moved - std::mem::replace(&mut counted, moved))?;
        if went_up?.is_ready() && went_down?.is_ready() {
            return Poll::Ready(Ok(()));
        }
        if up.moved + down.moved > limits.bytes_max {
            return Poll::Ready(Err(Refusal::TooMuch));
        }
        watch.poll(cx, up.moved + down.moved, &gate).map(Err)
    });
    cut.await.err()
}

/// The clocks of one connection.
struct Watch<'a> {
    idle: Pin<&'a mut Sleep>,
    total: Pin<&'a mut Sleep>,
    hello: Pin<&'a mut Sleep>,
    quiet_since: Instant,
    quiet_max: Duration,
    moved: u64,
}

impl Watch<'_> {
    fn poll(&mut self, cx: &mut Context<'_>, moved: u64, gate: &Gate) -> Poll<Refusal> {
        if self.moved != moved {
            self.moved = moved;
            self.quiet_since = Instant::now();
        }
        if self.total.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Refusal::TooLong);
        }
        if gate.is_waiting() && self.hello.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Refusal::Hello(HelloError::Slow));
        }
        // The timer is moved on only when it fires, not with every byte.
        while self.idle.as_mut().poll(cx).is_ready() {
            let due = self.quiet_since + self.quiet_max;
            if due <= Instant::now() {
                return Poll::Ready(Refusal::TooLong);
            }
            self.idle.as_mut().reset(due);
        }
        Poll::Pending
    }
}

impl Half {
    fn new() -> Self {
        Self { buffer: vec![0; BUFFER_BYTES_MIN], pending: 0..0, ended: false, closed: false, moved: 0 }
    }

    /// Makes what may pass of `bytes` pending; there is nothing pending before.
    fn put(&mut self, gate: &mut Gate, bytes: &[u8]) -> Result<(), HelloError> {
        let pass = gate.feed(bytes)?;
        if pass.len() > self.buffer.len() {
            self.buffer.resize(pass.len(), 0);
        }
        self.buffer[..pass.len()].copy_from_slice(&pass);
        self.pending = 0..pass.len();
        Ok(())
    }

    fn poll<R, W>(&mut self, cx: &mut Context<'_>, mut from: Pin<&mut R>, mut to: Pin<&mut W>, gate: &mut Gate) -> Result<Poll<()>, Refusal>
    where
        R: AsyncRead,
        W: AsyncWrite,
    {
        let broken = |_: io::Error| Refusal::Broken;
        loop {
            while !self.pending.is_empty() {
                match to.as_mut().poll_write(cx, &self.buffer[self.pending.clone()]).map_err(broken)? {
                    Poll::Ready(0) => return Err(Refusal::Broken),
                    Poll::Ready(n) => {
                        self.pending.start += n;
                        self.moved += n as u64;
                    }
                    Poll::Pending => return Ok(Poll::Pending),
                }
            }
            if self.ended {
                return self.close(cx, to);
            }
            let mut buffer = ReadBuf::new(&mut self.buffer);
            match from.as_mut().poll_read(cx, &mut buffer).map_err(broken)? {
                Poll::Ready(()) => (),
                Poll::Pending => {
                    // A stream of TLS may still hold some of what was written.
                    let _ = to.as_mut().poll_flush(cx).map_err(broken)?;
                    return Ok(Poll::Pending);
                }
            }
            let n = buffer.filled().len();
            if n == self.buffer.len() && n < BUFFER_BYTES_MAX {
                self.buffer.resize(n * 2, 0);
            }
            if n == 0 {
                self.ended = true;
            } else if gate.is_open() {
                self.pending = 0..n;
            } else {
                let came = self.buffer[..n].to_vec();
                self.put(gate, &came)?;
            }
        }
    }

    /// Passes the end on, once.
    fn close<W: AsyncWrite>(&mut self, cx: &mut Context<'_>, to: Pin<&mut W>) -> Result<Poll<()>, Refusal> {
        if !self.closed {
            match to.poll_shutdown(cx) {
                Poll::Pending => return Ok(Poll::Pending),
                // The other end may be gone entirely, and then there is nothing to close.
                Poll::Ready(_) => self.closed = true,
            }
        }
        Ok(Poll::Ready(()))
    }
}
