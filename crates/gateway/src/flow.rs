//! A reply on its way to the caller: forwarded as it comes, counted, scrubbed and recorded while it passes.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use model::{Code, Money, Usage};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep};

use crate::books::Entry;
use crate::meter::Meter;
use crate::prices::Price;
use crate::purse::Reservation;
use crate::refusal::Refusal;
use crate::scrub::Scrubber;
use crate::tape::Tap;
use crate::{Basis, Call};

/// Why a reply ends before its end. The connection to the caller is cut, so that the caller cannot take it for whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FlowError {
    /// The provider stopped in the middle, or said nothing for too long.
    #[error("read the provider's reply")]
    Cut,
    /// The reply is longer, or lasts longer, than is allowed.
    #[error("forward a reply beyond the limits")]
    Limit,
}

/// Where the bytes come from.
pub(crate) enum Source {
    /// A provider, and what was read of its reply already.
    Provider(Incoming, Option<Bytes>),
    /// A script or a tape: the pieces, and whether the stream breaks off after them.
    Made(VecDeque<Bytes>, bool),
}

/// The accounting of one call, closed exactly once.
pub(crate) struct Ending {
    pub(crate) entry: Entry,
    pub(crate) call: Call,
    pub(crate) reservation: Option<Reservation>,
    pub(crate) price: Option<Price>,
    /// Who counted the call among those of its turn.
    pub(crate) round: Option<Arc<dyn crate::Rounds>>,
    /// When the request came.
    pub(crate) started: Instant,
    /// Held as long as the call lasts.
    pub(crate) room: Option<OwnedSemaphorePermit>,
}

/// A call whose reply has not begun. Dropped, the caller went away and the call is closed as that.
pub(crate) struct Pending(Option<Ending>);

impl Pending {
    pub(crate) fn new(ending: Ending) -> Self {
        Self(Some(ending))
    }

    /// The call, while it is under way.
    pub(crate) fn ending(&mut self) -> &mut Ending {
        self.0.as_mut().expect("it is taken only by `end`, which consumes")
    }

    /// The call, to be ended by whoever takes it.
    pub(crate) fn end(mut self) -> Ending {
        self.0.take().expect("nobody else takes it")
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(mut ending) = self.0.take() {
            ending.call.code = Some(Code::Cancelled);
            "the caller went away".clone_into(&mut ending.call.message);
            ending.close(End::Left, None);
        }
    }
}

/// How a reply came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Whole,
    Cut,
    Limit,
    /// The caller went away.
    Left,
}

impl Ending {
    /// Notes why the call came to nothing.
    pub(crate) fn note(&mut self, refusal: &Refusal) {
        self.call.status = refusal.status.as_u16();
        self.call.code = Some(refusal.code);
        self.call.message.clone_from(&refusal.message);
        self.call.basis = Basis::Free;
    }

    /// Settles the budgets and writes the row.
    pub(crate) fn close(mut self, end: End, meter: Option<&Meter>) {
        let is_good = (200..300).contains(&self.call.status);
        self.call.took = self.started.elapsed();
        if let Some(round) = self.round.take().filter(|_| !is_good) {
            round.give_back();
        }
        let count = meter.and_then(Meter::count);
        let has_ended = meter.is_none_or(Meter::has_ended);
        if is_good && self.call.code.is_none() {
            let (code, message) = match end {
                End::Left if !has_ended => (Some(Code::Cancelled), "the caller went away"),
                End::Limit => (Some(Code::ProviderError), "the reply went beyond the limits"),
                End::Cut => (Some(Code::StreamCut), "the provider's stream broke off"),
                End::Whole if !has_ended => (Some(Code::StreamCut), "the provider's stream ended before its end"),
                End::Whole | End::Left => (meter.and_then(Meter::error), "the provider reported an error inside its stream"),
            };
            self.call.code = code;
            self.call.message = code.map(|_| message.to_owned()).unwrap_or_default();
        }
        let counted = self.price.zip(count).map(|(price, count)| price.cost(&count));
        let reserved = self.reservation.as_ref().map(Reservation::worst);
        (self.call.cost, self.call.basis) = match (self.price, counted, reserved) {
            _ if !is_good || self.call.basis == Basis::Free => (Money::ZERO, Basis::Free),
            (None, _, _) => (Money::ZERO, Basis::Unpriced),
            (Some(_), Some(cost), _) if has_ended => (cost, Basis::Counted),
            // What the provider went on to produce is not known: the reservation stands.
            (Some(_), cost, Some(worst)) => (cost.unwrap_or_default().max(worst), Basis::Reserved),
            (Some(_), cost, None) => (cost.unwrap_or_default(), Basis::Counted),
        };
        self.call.usage = count.map_or_else(Usage::default, |count| count.usage);
        if let Some(reservation) = self.reservation {
            reservation.settle(self.call.cost);
        }
        self.entry.close(self.call);
    }
}

/// The body of an answer.
pub(crate) struct Flow {
    pub(crate) source: Source,
    pub(crate) scrubber: Option<Scrubber>,
    pub(crate) meter: Option<Meter>,
    pub(crate) tap: Option<Tap>,
    pub(crate) ending: Option<Ending>,
    pub(crate) left_bytes: u64,
    pub(crate) idle: Duration,
    pub(crate) deadline: Instant,
    /// Made at the first wait.
    pub(crate) timer: Option<Pin<Box<Sleep>>>,
    pub(crate) is_over: bool,
    /// An error that is told at the next poll, so that the server first sends what it has.
    pub(crate) breaking: Option<FlowError>,
    /// Held as long as the reply lasts, when no call is accounted.
    pub(crate) _room: Option<OwnedSemaphorePermit>,
}

impl Flow {
    fn over(&mut self, end: End) {
        self.is_over = true;
        if let Some(tap) = self.tap.take() {
            // A caller that leaves after the last event has heard everything.
            let has_ended = self.meter.as_ref().is_some_and(Meter::has_ended);
            tap.end(end == End::Whole || (end == End::Left && has_ended));
        }
        if let Some(ending) = self.ending.take() {
            ending.close(end, self.meter.as_ref());
        }
    }

    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, FlowError>>> {
        let incoming = match &mut self.source {
            Source::Made(pieces, breaks) => {
                return Poll::Ready(match pieces.pop_front() {
                    Some(piece) => Some(Ok(piece)),
                    None if *breaks => Some(Err(FlowError::Cut)),
                    None => None,
                });
            }
            Source::Provider(incoming, first) => {
                if let Some(first) = first.take() {
                    return Poll::Ready(Some(Ok(first)));
                }
                incoming
            }
        };
        loop {
            match Pin::new(&mut *incoming).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    // Trailers are dropped: no provider needs them and they could carry anything.
                    if let Ok(bytes) = frame.into_data() {
                        self.timer = None;
                        return Poll::Ready(Some(Ok(bytes)));
                    }
                }
                Poll::Ready(Some(Err(_))) => return Poll::Ready(Some(Err(FlowError::Cut))),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => {
                    let until = (Instant::now() + self.idle).min(self.deadline);
                    let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
                    ready!(timer.as_mut().poll(cx));
                    return Poll::Ready(Some(Err(if Instant::now() >= self.deadline { FlowError::Limit } else { FlowError::Cut })));
                }
            }
        }
    }

    /// Takes one piece through the counter, the scrubber and the tape.
    fn pass(&mut self, piece: Bytes) -> Result<Bytes, FlowError> {
        let len = piece.len() as u64;
        if len > self.left_bytes || Instant::now() >= self.deadline {
            return Err(FlowError::Limit);
        }
        self.left_bytes -= len;
        if let Some(meter) = &mut self.meter {
            meter.feed(&piece);
        }
        let piece = match &mut self.scrubber {
            Some(scrubber) => scrubber.feed(piece),
            None => piece,
        };
        self.record(&piece);
        Ok(piece)
    }

    fn record(&mut self, piece: &Bytes) {
        if let Some(tap) = &mut self.tap
            && !piece.is_empty()
        {
            tap.piece(piece);
        }
    }
}

impl Body for Flow {
    type Data = Bytes;
    type Error = FlowError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, FlowError>>> {
        let this = &mut *self;
        loop {
            if let Some(error) = this.breaking.take() {
                return Poll::Ready(Some(Err(error)));
            }
            if this.is_over {
                return Poll::Ready(None);
            }
            let result = match ready!(this.poll_source(cx)) {
                Some(Ok(piece)) => this.pass(piece),
                Some(Err(error)) => Err(error),
                None => {
                    let rest = this.scrubber.as_mut().map(Scrubber::finish).unwrap_or_default();
                    this.record(&rest);
                    this.over(End::Whole);
                    return Poll::Ready((!rest.is_empty()).then(|| Ok(Frame::data(rest))));
                }
            };
            match result {
                Ok(piece) if piece.is_empty() => (),
                Ok(piece) => {
                    // Settled before the caller sees the last byte of a reply with a known length.
                    if let Source::Provider(incoming, None) = &this.source
                        && incoming.is_end_stream()
                        && this.scrubber.as_ref().is_none_or(Scrubber::is_empty)
                    {
                        this.over(End::Whole);
                    }
                    return Poll::Ready(Some(Ok(Frame::data(piece))));
                }
                Err(error) => {
                    this.over(if error == FlowError::Cut { End::Cut } else { End::Limit });
                    this.breaking = Some(error);
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.is_over && self.breaking.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            // A scrubbed stream keeps its length, so what the provider announced holds; what is held back is added.
            Source::Provider(incoming, first) => match (incoming.size_hint().exact(), self.scrubber.as_ref().map_or(0, Scrubber::held)) {
                (Some(len), held) => SizeHint::with_exact(len + held + first.as_ref().map_or(0, |first| first.len() as u64)),
                (None, _) => SizeHint::new(),
            },
            Source::Made(pieces, false) => SizeHint::with_exact(pieces.iter().map(|p| p.len() as u64).sum()),
            Source::Made(_, true) => SizeHint::new(),
        }
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        if !self.is_over {
            self.over(End::Left);
        }
    }
}

/// What the server sends: a reply, or an answer made here.
pub(crate) enum Outgoing {
    /// An answer made here.
    Own(Option<Bytes>),
    /// A reply.
    Flow(Box<Flow>),
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = FlowError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, FlowError>>> {
        match self.get_mut() {
            Outgoing::Own(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Outgoing::Flow(flow) => Pin::new(&mut **flow).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Outgoing::Own(bytes) => bytes.is_none(),
            Outgoing::Flow(flow) => flow.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Outgoing::Own(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Outgoing::Flow(flow) => flow.size_hint(),
        }
    }
}

/// Shares a scrubber's needles with the headers.
pub(crate) fn scrub_header(needles: Option<&Arc<crate::scrub::Needles>>) -> impl FnMut(&mut Vec<u8>) + '_ {
    move |value| {
        if let Some(needles) = needles {
            needles.scrub_whole(value);
        }
    }
}
