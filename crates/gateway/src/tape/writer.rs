//! Writing a tape.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use sanitize::Known;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{TAPE_BYTES_MAX, TapeError, VERSION, canonical, link};

/// Exchanges that wait for the disk. When it is full the tape is incomplete and says so at its end.
const QUEUE_MAX: usize = 256;

/// Appends exchanges to a tape.
pub struct Writer {
    queue: SyncSender<Job>,
    numbers: AtomicU64,
    is_broken: Arc<AtomicBool>,
    /// Taken by `finish`.
    thread: Mutex<Option<JoinHandle<Result<(), TapeError>>>>,
}

enum Job {
    Exchange(Box<Exchange>),
    End,
}

struct Exchange {
    request: Request,
    status: u16,
    content_type: String,
    pieces: Vec<(Bytes, u8)>,
    is_whole: bool,
}

/// A request as it stands on a tape.
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) body: Bytes,
    /// Who answered, where it was not who was asked first.
    pub(crate) by: Option<String>,
}

impl Writer {
    /// Begins a tape in an empty file. `version` is that of the program.
    ///
    /// # Errors
    /// [`TapeError::Io`] when the first line cannot be written.
    pub fn create(file: File, version: &str) -> Result<Self, TapeError> {
        Self::create_masked(file, version, None)
    }

    /// The same, with these values masked in all that is recorded: requests, and replies also across their pieces.
    ///
    /// # Errors
    /// As [`Writer::create`].
    pub fn create_masked(file: File, version: &str, mask: Option<Arc<Known>>) -> Result<Self, TapeError> {
        let mut lines = Lines { file: BufWriter::new(file), hash: String::new(), bytes: 0, mask };
        lines.put(&json!({"tape": VERSION, "lazaret": version}))?;
        lines.file.flush()?;
        let (queue, jobs) = sync_channel(QUEUE_MAX);
        let is_broken = Arc::new(AtomicBool::new(false));
        let broken = is_broken.clone();
        // A thread and not a task: files block.
        let thread = std::thread::Builder::new().name("tape".to_owned()).spawn(move || {
            let result = write(lines, &jobs, &broken);
            broken.store(true, Ordering::SeqCst);
            result
        })?;
        Ok(Self { queue, numbers: AtomicU64::new(0), is_broken, thread: Mutex::new(Some(thread)) })
    }

    /// Writes the end and waits until all is on disk. Exchanges that end later are lost, so call it when the sandbox is gone.
    /// Blocks for as long as the disk takes.
    ///
    /// # Errors
    /// [`TapeError`] when something was not recorded; the tape then has no end and reads as cut.
    pub fn finish(&self) -> Result<(), TapeError> {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = thread else { return Ok(()) };
        // A send fails only when the thread has ended, and then it tells why.
        let _ = self.queue.send(Job::End);
        thread.join().unwrap_or(Err(TapeError::Incomplete("the writer failed")))
    }

    /// Begins to record one reply.
    pub(crate) fn tap(self: &Arc<Self>, request: Request, status: u16, content_type: &str) -> Tap {
        self.numbers.fetch_add(1, Ordering::SeqCst);
        let exchange = Exchange { request, status, content_type: content_type.to_owned(), pieces: Vec::new(), is_whole: false };
        Tap { writer: self.clone(), exchange: Some(Box::new(exchange)), last: Instant::now() }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Nobody asks for the result any more; the end is still written if there is room.
        let _ = self.queue.try_send(Job::End);
    }
}

/// Records one reply as it passes.
pub(crate) struct Tap {
    writer: Arc<Writer>,
    exchange: Option<Box<Exchange>>,
    last: Instant,
}

impl Tap {
    pub(crate) fn piece(&mut self, piece: &Bytes) {
        let class = match self.last.elapsed().as_millis() {
            0..10 => 0,
            10..100 => 1,
            100..1000 => 2,
            _ => 3,
        };
        self.last = Instant::now();
        if let Some(exchange) = &mut self.exchange {
            exchange.pieces.push((piece.clone(), class));
        }
    }

    /// Ends the reply: whole, or broken off.
    pub(crate) fn end(mut self, is_whole: bool) {
        if let Some(mut exchange) = self.exchange.take() {
            exchange.is_whole = is_whole;
            if self.writer.queue.try_send(Job::Exchange(exchange)).is_err() {
                self.writer.is_broken.store(true, Ordering::SeqCst);
            }
        }
    }
}

struct Lines {
    file: BufWriter<File>,
    hash: String,
    bytes: u64,
    /// What must not stand on the tape.
    mask: Option<Arc<Known>>,
}

impl Lines {
    fn put(&mut self, entry: &Value) -> Result<(), TapeError> {
        let entry = entry.to_string();
        self.hash = link(&self.hash, &entry);
        self.bytes += entry.len() as u64;
        if self.bytes > TAPE_BYTES_MAX {
            return Err(TapeError::Incomplete("the tape would be too long"));
        }
        writeln!(self.file, "{{\"hash\":\"{}\",\"entry\":{entry}}}", self.hash)?;
        Ok(())
    }
}

fn write(mut lines: Lines, jobs: &Receiver<Job>, is_broken: &AtomicBool) -> Result<(), TapeError> {
    let mut count = 0u64;
    loop {
        match jobs.recv() {
            Ok(Job::Exchange(mut exchange)) => {
                if let Some(mask) = &lines.mask {
                    masked(&mut exchange, mask);
                }
                count += 1;
                lines.put(&entry(count, &exchange))?;
                lines.file.flush()?;
            }
            Ok(Job::End) | Err(_) => {
                if is_broken.load(Ordering::SeqCst) {
                    return Err(TapeError::Incomplete("the disk was too slow"));
                }
                lines.put(&json!({ "end": count }))?;
                lines.file.flush()?;
                lines.file.get_ref().sync_all()?;
                return Ok(());
            }
        }
    }
}

/// Masks values byte for byte, so that every length stays what it was.
fn masked(exchange: &mut Exchange, mask: &Known) {
    let mut body = exchange.request.body.to_vec();
    if mask.mask(&mut body) > 0 {
        exchange.request.body = body.into();
    }
    let mut whole: Vec<u8> = exchange.pieces.iter().flat_map(|(piece, _)| piece.iter().copied()).collect();
    if mask.mask(&mut whole) > 0 {
        let mut whole = Bytes::from(whole);
        for (piece, _) in &mut exchange.pieces {
            *piece = whole.split_to(piece.len());
        }
    }
}

fn entry(n: u64, exchange: &Exchange) -> Value {
    let piece = |(bytes, wait): &(Bytes, u8)| match std::str::from_utf8(bytes) {
        Ok(text) => json!({"t": text, "w": wait}),
        Err(_) => json!({"b": STANDARD.encode(bytes), "w": wait}),
    };
    let mut entry = json!({
        "n": n,
        "method": exchange.request.method,
        "path": exchange.request.path,
        "body": canonical(&exchange.request.body),
        "status": exchange.status,
        "type": exchange.content_type,
        "pieces": exchange.pieces.iter().map(piece).collect::<Vec<_>>(),
        "whole": exchange.is_whole,
    });
    if let Some(by) = &exchange.request.by {
        entry["by"] = json!(by);
    }
    entry
}
