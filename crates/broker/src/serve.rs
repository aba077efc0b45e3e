//! Connections from sandboxes: messages in, each a call of its own; what is said of them out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use model::{ApprovalId, Code};
use serde::Serialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wire::{CallDecoder, CallError, Waiting};

use crate::broker::{Broker, Carried};
use crate::rate::Buckets;
use crate::refusal::Refusal;
use crate::seats::Seat;
use crate::stages::{authorize, confirm, envelope};
use crate::{Rate, Who};

/// Connections of one sandbox at once; more are refused.
pub const CONNECTIONS_MAX: usize = 32;
/// The longest that a message may take from its first byte to its last; a slower connection is ended.
pub const MESSAGE_TIME_MAX: Duration = Duration::from_secs(10);
/// Messages of one connection that were read and not answered; with more, no further one is read.
const UNANSWERED_MAX: usize = 128;
/// Answers that wait to be written; with more, calls keep theirs until there is place.
const OUT_MAX: usize = 32;
/// The longest that the other side may take to read an answer; a slower connection is ended.
const WRITE_TIME_MAX: Duration = Duration::from_secs(10);
/// How often a session may be refused before its refusals come slower: each writes a row of the audit.
const REFUSALS: Rate = Rate { per_minute: 600, burst: 200 };
/// The longest that a refusal is held back.
const REFUSAL_WAIT_MAX: Duration = Duration::from_secs(10);
const READ_BYTES: usize = 16 * 1024;

/// Who has how many connections, and how often each was refused.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    // Held for a few steps, never across an await.
    open: Arc<Mutex<HashMap<String, usize>>>,
    refusals: Buckets,
}

/// One connection of a sandbox. Given back when dropped.
struct Connected {
    open: Arc<Mutex<HashMap<String, usize>>>,
    key: String,
}

impl Connections {
    fn enter(&self, key: String) -> Option<Connected> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let number = open.entry(key.clone()).or_default();
        if *number >= CONNECTIONS_MAX {
            return None;
        }
        *number += 1;
        Some(Connected { open: Arc::clone(&self.open), key })
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = open.get_mut(&self.key) {
            *number -= 1;
            if *number == 0 {
                open.remove(&self.key);
            }
        }
    }
}

/// Bytes to write, and what is held until they are gone.
struct Out {
    bytes: Vec<u8>,
    _seat: Option<Seat>,
    _permit: Option<OwnedSemaphorePermit>,
}

/// What the calls of one connection share.
#[derive(Clone)]
struct Line {
    broker: Broker,
    who: Arc<dyn Who>,
    out: mpsc::Sender<Out>,
    cancel: CancellationToken,
}

impl Broker {
    /// Serves a connection from a sandbox until it ends. `read` came already after the door line. Calls run at once.
    ///
    /// When the connection ends, what waits for a person on it is given up; a call that has begun and was confirmed is not. Who asks is
    /// found out for each call.
    pub async fn serve(&self, stream: UnixStream, read: Bytes, who: Arc<dyn Who>, cancel: CancellationToken) {
        let cancel = cancel.child_token();
        let _ends = cancel.clone().drop_guard();
        let (from, to) = stream.into_split();
        let (out, queue) = mpsc::channel(OUT_MAX);
        let Some(_connected) = self.parts.connections.enter(who.line()) else {
            let message = format!("this sandbox has {CONNECTIONS_MAX} connections already");
            let refusal = Refusal::new(envelope::STAGE, Code::RateLimited, message).retry_after(1);
            drop(out.try_send(whole(&refusal.answer(String::new(), |_| None))));
            drop(out);
            return write(to, queue, &cancel).await;
        };
        let line = Line { broker: self.clone(), who, out, cancel: cancel.clone() };
        let writer = self.parts.tasks.spawn({
            let cancel = cancel.clone();
            async move {
                write(to, queue, &cancel).await;
                cancel.cancel();
            }
        });
        let refused = tokio::select! {
            () = cancel.cancelled() => None,
            refused = line.take(from, &read) => refused,
        };
        if let Some(refusal) = refused {
            // The stream is of no use any more, but the other side should learn why.
            let _ = line.out.send(whole(&refusal.answer(String::new(), |_| None))).await;
            drop(line);
            let _ = tokio::time::timeout(WRITE_TIME_MAX, writer).await;
        }
    }
}

impl Line {
    /// Reads messages until the other side ends or breaks the rules; then gives the reason.
    async fn take(&self, mut from: OwnedReadHalf, read: &[u8]) -> Option<Refusal> {
        let (mut decoder, mut buffer) = (CallDecoder::default(), vec![0; READ_BYTES]);
        let (places, mut until) = (Arc::new(Semaphore::new(UNANSWERED_MAX)), None);
        decoder.push(read);
        loop {
            loop {
                match decoder.next_message() {
                    Ok(Some(message)) => {
                        until = None;
                        let permit = Arc::clone(&places).acquire_owned().await.ok()?;
                        self.start(message, permit);
                    }
                    Ok(None) => break,
                    Err(error) => return Some(unreadable(&error)),
                }
            }
            let deadline = decoder.is_partial().then(|| *until.get_or_insert_with(|| Instant::now() + MESSAGE_TIME_MAX));
            let number = tokio::select! {
                number = from.read(&mut buffer) => number.ok()?,
                () = sleep_until(deadline) => return Some(unreadable_late()),
            };
            if number == 0 {
                return None;
            }
            decoder.push(&buffer[..number]);
        }
    }

    /// Carries one message through the broker, in a task of its own.
    fn start(&self, message: Vec<u8>, permit: OwnedSemaphorePermit) {
        let line = self.clone();
        self.broker.parts.tasks.spawn(async move {
            let cancel = line.cancel.clone();
            tokio::select! {
                biased;
                () = cancel.cancelled() => (),
                () = line.carry(message, permit) => (),
            }
        });
    }

    async fn carry(&self, message: Vec<u8>, permit: OwnedSemaphorePermit) {
        let correlation = envelope::correlation_of(&message);
        let waiting = |id: &ApprovalId| {
            // Whoever does not read has no use for the notice.
            let _ = self.out.try_send(whole(&Waiting { correlation: correlation.clone(), waiting: id.to_string() }));
        };
        let carried = match self.who.who().await {
            Some(caller) => self.broker.carry(&caller, Some(&*self.who), &message, &waiting, false).await,
            None => Carried { answer: nobody().answer(correlation.clone(), |_| None), seat: None },
        };
        let Carried { answer, seat } = carried;
        drop(message);
        if answer.error.as_ref().is_some_and(|error| error.stage.is_some_and(|stage| stage < confirm::STAGE)) {
            let wait = self.broker.parts.connections.refusals.owe(&self.who.line(), REFUSALS, Instant::now());
            tokio::time::sleep(wait.min(REFUSAL_WAIT_MAX)).await;
        }
        let out = Out { _seat: seat, _permit: Some(permit), ..whole(&answer) };
        let _ = self.out.send(out).await;
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Writes what is said until nobody says more.
async fn write(mut to: OwnedWriteHalf, mut queue: mpsc::Receiver<Out>, cancel: &CancellationToken) {
    loop {
        let next = tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            next = queue.recv() => next,
        };
        let Some(out) = next else { return };
        let done = tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            done = tokio::time::timeout(WRITE_TIME_MAX, to.write_all(&out.bytes)) => done,
        };
        if !matches!(done, Ok(Ok(()))) {
            return;
        }
    }
}

/// A message with its length. Answers are held to what fits before they come here.
fn whole(said: &impl Serialize) -> Out {
    let bytes = serde_json::to_vec(said).ok().and_then(|json| wire::frame_call(&json).ok());
    Out { bytes: bytes.expect("an answer fits a message: its parts are limited"), _seat: None, _permit: None }
}

/// A call of whom nobody is there any more.
fn nobody() -> Refusal {
    Refusal::new(authorize::STAGE, Code::Unauthorized, "no turn that asks for this is there any more").for_good()
}

fn unreadable(error: &CallError) -> Refusal {
    Refusal::new(envelope::STAGE, Code::ValidationFailed, error.to_string())
}

fn unreadable_late() -> Refusal {
    let message = format!("a message was not whole within {} s", MESSAGE_TIME_MAX.as_secs());
    Refusal::new(envelope::STAGE, Code::ValidationFailed, message)
}
