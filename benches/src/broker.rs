//! Calls of tools over a real socket, through all six stages, each kept by the audit in the real store on the disk; and how
//! fast credentials are taken out of text.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use broker::{Answered, Approved, Ask, Audit, Broker, CallFailure, Caller, Catalogue, Confirm, Grant, Handler, Rate, Tool};
use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use model::{ApprovalId, AuditEntry, Code, Failure, Risk, SandboxId, SessionId};
use sanitize::Sanitizer;
use serde_json::{Value, json};
use store::Store;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
    sync::mpsc,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wire::{CallDecoder, frame_call};

use crate::sample::{self, Times};

const WARM: usize = 500;
const COUNTED: usize = 5_000;
/// Connections that call at the same time when throughput is measured.
const AT_ONCE: usize = 8;
const FLOOD: Duration = Duration::from_secs(3);
/// Values that the sanitizer knows.
const SECRETS: u64 = 1_000;
const TEXT_BYTES: usize = 64 << 20;
/// Rows that wait for the store, and how many share a commit.
const WAITING_MAX: usize = 16_384;
const BATCH_MAX: usize = 1_024;

/// Does nothing.
struct Idle;

impl Handler for Idle {
    fn call<'a>(&'a self, call: &'a Approved) -> BoxFuture<'a, Result<Value, CallFailure>> {
        let _ = call.arguments();
        async { Ok(json!({"ok": true})) }.boxed()
    }
}

/// Nobody is asked in this bench.
struct Nobody;

impl Confirm for Nobody {
    fn ask<'a>(&'a self, _: Ask<'a>, _: &'a (dyn Fn(&ApprovalId) + Send + Sync)) -> BoxFuture<'a, Result<Answered, Failure>> {
        async { Ok(Answered::Expired) }.boxed()
    }

    fn begin<'a>(&'a self, _: &'a Grant) -> BoxFuture<'a, Result<(), Failure>> {
        async { Err(Failure::new(Code::ConfirmationDenied, "nobody said yes")) }.boxed()
    }

    fn finish<'a>(&'a self, _: &'a Grant, _: &'a Result<Value, CallFailure>) -> BoxFuture<'a, Result<(), Failure>> {
        async { Ok(()) }.boxed()
    }
}

/// Rows for the store, written in groups by a task of their own.
struct Book(mpsc::Sender<AuditEntry>);

impl Audit for Book {
    fn note(&self, entry: AuditEntry) -> BoxFuture<'_, ()> {
        self.0.send(entry).map(|_| ()).boxed()
    }

    fn note_now(&self, _: AuditEntry) -> BoxFuture<'_, Result<(), Failure>> {
        async { Ok(()) }.boxed()
    }
}

/// Writes what comes until nobody is left; counts the rows.
async fn write(store: Store, mut rows: mpsc::Receiver<AuditEntry>, written: Arc<AtomicUsize>) -> Result<()> {
    let mut batch = Vec::new();
    while rows.recv_many(&mut batch, BATCH_MAX).await > 0 {
        written.fetch_add(batch.len(), Ordering::Relaxed);
        store.append_audit(std::mem::take(&mut batch)).await.context("failed to keep the audit")?;
    }
    Ok(())
}

struct House {
    listener: UnixListener,
    broker: Broker,
    tasks: TaskTracker,
    cancel: CancellationToken,
}

impl House {
    fn open(dir: &Path, book: Book) -> Result<Self> {
        let broker = Broker::new(Arc::new(Nobody), Arc::new(book));
        let tool = Tool {
            name: "nothing".to_owned(),
            plugin: "bench".to_owned(),
            description: "does nothing".to_owned(),
            risk: Risk::Low,
            schema: json!({
                "type": "object",
                "properties": {"text": {"type": "string", "maxLength": 2000}, "tags": {"type": "array", "items": {"type": "string"}}},
                "required": ["text"],
                "additionalProperties": false,
            }),
            groups: None,
            is_owners: false,
            deadline: Duration::from_secs(30),
            handler: Arc::new(Idle),
        };
        let (catalogue, refused) = Catalogue::new(vec![tool]);
        if !refused.is_empty() {
            bail!("the tool was refused: {refused:?}");
        }
        broker.set_catalogue(catalogue);
        broker.set_sanitizer(Arc::new(Sanitizer::new(secrets().iter().map(String::as_str))));
        broker.set_rate(Rate { per_minute: u32::MAX, burst: u32::MAX }, [].into());
        let listener = UnixListener::bind(dir.join("host.sock")).context("failed to listen")?;
        Ok(Self { listener, broker, tasks: TaskTracker::new(), cancel: CancellationToken::new() })
    }

    /// A connection as a sandbox has one.
    async fn connect(&self, dir: &Path, n: u128) -> Result<Client> {
        let stream = UnixStream::connect(dir.join("host.sock")).await?;
        let (far, _) = self.listener.accept().await?;
        let caller = Caller {
            session: Some(SessionId::from_bits(n)),
            sandbox: Some(SandboxId::from_bits(n)),
            agent: format!("bench{n}"),
            group: "default".to_owned(),
            ..Caller::owner()
        };
        let (broker, cancel) = (self.broker.clone(), self.cancel.clone());
        self.tasks.spawn(async move { broker.serve(far, Bytes::new(), Arc::new(caller), cancel).await });
        Ok(Client { stream, decoder: CallDecoder::default(), calls: 0 })
    }
}

struct Client {
    stream: UnixStream,
    decoder: CallDecoder,
    calls: u64,
}

impl Client {
    /// One call and its answer.
    async fn call(&mut self) -> Result<Duration> {
        self.calls += 1;
        let arguments = json!({"text": "some words that a model wrote, as long as they mostly are", "tags": ["a", "b"]});
        let request = json!({"topic": "tool.invoke.nothing", "correlation": format!("c{}", self.calls), "arguments": arguments});
        let frame = frame_call(request.to_string().as_bytes())?;
        let began = Instant::now();
        self.stream.write_all(&frame).await?;
        let mut buffer = [0; 4096];
        loop {
            if let Some(message) = self.decoder.next_message()? {
                let took = began.elapsed();
                let answer: Value = serde_json::from_slice(&message)?;
                if answer["result"]["ok"] != true {
                    bail!("{answer}");
                }
                return Ok(took);
            }
            match self.stream.read(&mut buffer).await? {
                0 => bail!("the host ended the connection"),
                n => self.decoder.push(&buffer[..n]),
            }
        }
    }
}

pub(crate) fn run() -> Result<String> {
    let dir = tempfile::Builder::new().prefix("lazaret-bench-").tempdir().context("failed to make a directory")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (times, rate, rows) = runtime.block_on(calls(dir.path()))?;
    let (made, plain, escaped) = cleaning()?;
    let us = |time: Duration| format!("{:.0}", time.as_secs_f64() * 1e6);
    Ok(format!(
        "{COUNTED} calls of a tool that does nothing, one after the other over a Unix socket, through all six stages; then {AT_ONCE} sessions \
         at once for {} s. Each call's row went into the audit in the store on the disk ({rows} rows). Callers and broker share the machine \
         and one process. {}.\n\n| | min us | median us | p99 us | calls/s |\n|---|---|---|---|---|\n| a call | {} | {} | {} | {rate:.0} |\n\n\
         Taking {SECRETS} known values of 40 characters in all spellings, and all forms, out of text: {plain:.0} MB/s of source code, \
         {escaped:.0} MB/s of JSON; {} ms to learn the values.\n",
        FLOOD.as_secs(),
        sample::machine(),
        us(times.min()),
        us(times.median()),
        us(times.p99()),
        made.as_millis(),
    ))
}

async fn calls(dir: &Path) -> Result<(Times, f64, usize)> {
    let home = dir.join("store");
    std::fs::create_dir(&home)?;
    std::fs::set_permissions(&home, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
    let store = Store::open(&home.join("bench.db"), &store::Config::default()).context("failed to open the store")?;
    let (book, rows) = mpsc::channel(WAITING_MAX);
    let written = Arc::new(AtomicUsize::new(0));
    let house = House::open(dir, Book(book))?;
    let writer = house.tasks.spawn(write(store, rows, Arc::clone(&written)));
    let (mut client, mut times) = (house.connect(dir, 1).await?, Vec::new());
    for round in 0..WARM + COUNTED {
        let took = client.call().await?;
        if round >= WARM {
            times.push(took);
        }
    }
    let began = Instant::now();
    let mut all = Vec::new();
    for n in 0..AT_ONCE {
        let mut client = house.connect(dir, 2 + n as u128).await?;
        all.push(house.tasks.spawn(async move {
            let mut count = 0usize;
            while began.elapsed() < FLOOD {
                client.call().await?;
                count += 1;
            }
            anyhow::Ok(count)
        }));
    }
    let mut count = 0;
    for one in all {
        count += one.await.context("a caller panicked")??;
    }
    #[expect(clippy::cast_precision_loss, reason = "a count of a few seconds")]
    let rate = count as f64 / began.elapsed().as_secs_f64();
    house.cancel.cancel();
    house.broker.drain().await;
    drop(house);
    writer.await.context("the writer panicked")??;
    Ok((Times::of(times), rate, written.load(Ordering::Relaxed)))
}

/// Values like tokens: 40 letters and digits.
fn secrets() -> Vec<String> {
    const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut letter = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(LETTERS[usize::try_from(state % 62).unwrap_or_default()])
    };
    (0..SECRETS).map(|_| (0..40).map(|_| letter()).collect()).collect()
}

/// How long it takes to learn the values, and MB a second of plain text and of JSON.
fn cleaning() -> Result<(Duration, f64, f64)> {
    let secrets = secrets();
    let began = Instant::now();
    let sanitizer = Sanitizer::new(secrets.iter().map(String::as_str));
    let made = began.elapsed();
    let source = include_str!("sessions.rs");
    let text = source.repeat(TEXT_BYTES / source.len());
    let began = Instant::now();
    if sanitizer.text(&text).is_some() {
        bail!("source code was taken for a credential");
    }
    let plain = rate(text.len(), began.elapsed());
    let mut value = json!(source.lines().map(|line| json!({"line": line, "n": 1})).collect::<Vec<_>>());
    let length = value.to_string().len();
    let began = Instant::now();
    let rounds = TEXT_BYTES / 4 / length;
    for _ in 0..rounds {
        if !sanitizer.value(&mut value).is_empty() {
            bail!("source code was taken for a credential");
        }
    }
    Ok((made, plain, rate(rounds * length, began.elapsed())))
}

#[expect(clippy::cast_precision_loss, reason = "millions of bytes")]
fn rate(bytes: usize, time: Duration) -> f64 {
    bytes as f64 / 1e6 / time.as_secs_f64()
}
