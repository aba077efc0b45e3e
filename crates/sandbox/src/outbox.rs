//! What waits to be sent to a guest.
//!
//! Frames with a body go through a bounded queue, so their sender waits while the guest does not read. Small news
//! (acknowledgements, sizes, signals) never waits: the newest replaces the one before it, so it is bounded too.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;

use tokio::sync::{Notify, mpsc};
use wire::{Size, ToGuest};

use crate::SandboxError;

/// Frames that wait for the guest to read; with the largest frame that senders make (64 KiB) about 1 MiB.
const FRAMES_MAX: usize = 16;
/// Signals that wait for the guest to read. More of them say nothing new and are dropped.
const SIGNALS_MAX: usize = 64;

/// The sending side of a control channel.
#[derive(Debug)]
pub(crate) struct Outbox {
    frames: mpsc::Sender<Vec<u8>>,
    /// Held for a few instructions, never across an await.
    news: Mutex<News>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct News {
    acks: BTreeMap<u32, u64>,
    sizes: BTreeMap<u32, Size>,
    signals: VecDeque<(u32, i32)>,
    ends: Vec<u32>,
    given_up: Vec<u32>,
}

impl Outbox {
    /// The outbox and the queue that [`Outbox::next`] reads.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Vec<u8>>) {
        let (frames, queue) = mpsc::channel(FRAMES_MAX);
        (Self { frames, news: Mutex::default(), changed: Notify::new() }, queue)
    }

    /// Sends a message; waits while the queue is full.
    pub(crate) async fn send(&self, message: &ToGuest, stream: u32, number: u64) -> Result<(), SandboxError> {
        let bytes = encode(message, stream, number)?;
        self.frames.send(bytes).await.map_err(|_| SandboxError::Gone("its channel is closed".into()))
    }

    /// Pieces of a command up to `number` are safe.
    pub(crate) fn ack(&self, stream: u32, number: u64) {
        self.tell(|news| {
            let last = news.acks.entry(stream).or_default();
            *last = number.max(*last);
        });
    }

    pub(crate) fn resize(&self, stream: u32, size: Size) {
        self.tell(|news| {
            news.sizes.insert(stream, size);
        });
    }

    pub(crate) fn signal(&self, stream: u32, signal: i32) {
        self.tell(|news| {
            if news.signals.len() < SIGNALS_MAX {
                news.signals.push_back((stream, signal));
            }
        });
    }

    /// No more input for a command. Its frames were queued before, and go out before it.
    pub(crate) fn end_input(&self, stream: u32) {
        self.tell(|news| news.ends.push(stream));
    }

    /// Nobody wants a transfer to its end any more.
    pub(crate) fn give_up(&self, stream: u32) {
        self.tell(|news| news.given_up.push(stream));
    }

    fn tell(&self, change: impl FnOnce(&mut News)) {
        change(&mut self.news.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        self.changed.notify_one();
    }

    /// The next bytes to write; `None` when nobody can send any more.
    pub(crate) async fn next(&self, queue: &mut mpsc::Receiver<Vec<u8>>) -> Option<Vec<u8>> {
        loop {
            let news = self.take_news();
            // The end of an input must not overtake it: whatever was queued before the news was taken goes first.
            let mut bytes = Vec::new();
            for _ in 0..FRAMES_MAX {
                let Ok(frame) = queue.try_recv() else { break };
                bytes.extend(frame);
            }
            bytes.extend(news);
            if !bytes.is_empty() {
                return Some(bytes);
            }
            tokio::select! {
                biased;
                frame = queue.recv() => return frame,
                () = self.changed.notified() => {}
            }
        }
    }

    fn take_news(&self) -> Vec<u8> {
        let news = std::mem::take(&mut *self.news.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        let acks = news.acks.into_iter().map(|(stream, number)| (ToGuest::Ack, stream, number));
        let sizes = news.sizes.into_iter().map(|(stream, size)| (ToGuest::Resize(size), stream, 0));
        let signals = news.signals.into_iter().map(|(stream, signal)| (ToGuest::Signal(signal), stream, 0));
        let ends = news.ends.into_iter().map(|stream| (ToGuest::StdinEnd, stream, 0));
        let given_up = news.given_up.into_iter().map(|stream| (ToGuest::End, stream, 0));
        let all = acks.chain(sizes).chain(signals).chain(ends).chain(given_up);
        all.filter_map(|(message, stream, number)| encode(&message, stream, number).ok()).flatten().collect()
    }
}

/// The bytes of a message.
pub(crate) fn encode(message: &ToGuest, stream: u32, number: u64) -> Result<Vec<u8>, SandboxError> {
    let mut bytes = Vec::new();
    let frame = message.frame(stream, number).and_then(|frame| frame.encode(&mut bytes));
    frame.map_err(|e| SandboxError::Start(e.to_string()))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn news_is_bounded_and_does_not_overtake_input() {
        let (outbox, mut queue) = Outbox::new();
        for number in 0..10_000 {
            outbox.ack(1, number);
            outbox.signal(1, 15);
            outbox.resize(1, Size { rows: 1, cols: 1 });
        }
        outbox.send(&ToGuest::Stdin(vec![1, 2, 3]), 1, 0).await.expect("room");
        outbox.end_input(1);
        let bytes = outbox.next(&mut queue).await.expect("bytes");
        let input = encode(&ToGuest::Stdin(vec![1, 2, 3]), 1, 0).expect("small");
        let news = bytes.strip_prefix(input.as_slice()).expect("the input is first");
        assert!(news.len() < (SIGNALS_MAX + 3) * 32);
        let mut decoder = wire::Decoder::default();
        decoder.push(news);
        let ack = decoder.next_frame().expect("whole").expect("one");
        assert_eq!((ToGuest::read(&ack), ack.number), (Ok(ToGuest::Ack), 9999));
    }
}
