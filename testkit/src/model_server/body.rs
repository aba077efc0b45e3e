//! Replies that end as a script says.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

use super::State;

/// What comes after the pieces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Then {
    /// The end.
    End,
    /// The connection breaks.
    Cut,
    /// Nothing, for ever.
    Silence,
    /// This, for ever.
    Repeat(Bytes),
}

/// The body of a reply.
pub struct Scripted {
    pieces: VecDeque<Bytes>,
    then: Then,
    pause: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    is_over: bool,
    is_flushed: bool,
    /// Told when the client leaves; `None` for bodies that are always whole.
    state: Option<Arc<State>>,
}

/// The connection breaks here.
#[derive(Debug)]
pub struct Broken;

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("break the connection, as the script says")
    }
}

impl std::error::Error for Broken {}

impl Scripted {
    pub(super) fn new(pieces: Vec<Bytes>, then: Then, state: Arc<State>) -> Self {
        Self { pieces: pieces.into(), then, pause: Duration::ZERO, timer: None, is_over: false, is_flushed: false, state: Some(state) }
    }

    pub(super) fn whole(bytes: Bytes) -> Self {
        Self {
            pieces: VecDeque::from([bytes]),
            then: Then::End,
            pause: Duration::ZERO,
            timer: None,
            is_over: false,
            is_flushed: false,
            state: None,
        }
    }

    pub(super) fn with_pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }
}

impl Body for Scripted {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        if let Some(timer) = &mut self.timer {
            std::task::ready!(timer.as_mut().poll(cx));
            self.timer = None;
        }
        if let Some(piece) = self.pieces.pop_front() {
            if !self.pause.is_zero() {
                self.timer = Some(Box::pin(tokio::time::sleep(self.pause)));
            }
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        match &self.then {
            Then::Silence => Poll::Pending,
            Then::Repeat(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes.clone())))),
            Then::End => {
                self.is_over = true;
                Poll::Ready(None)
            }
            // The server sends what it has when it must wait; only then the connection breaks.
            Then::Cut if !self.is_flushed => {
                self.is_flushed = true;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Then::Cut => {
                self.is_over = true;
                Poll::Ready(Some(Err(Broken)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.is_over
    }

    fn size_hint(&self) -> SizeHint {
        match self.then {
            Then::End if self.pieces.len() <= 1 && self.timer.is_none() => {
                SizeHint::with_exact(self.pieces.iter().map(|p| p.len() as u64).sum())
            }
            _ => SizeHint::new(),
        }
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        let is_whole = self.is_over || (self.pieces.is_empty() && self.then == Then::End);
        if let Some(state) = self.state.take()
            && !is_whole
        {
            state.left.fetch_add(1, Ordering::SeqCst);
            state.changed.notify_waiters();
        }
    }
}
