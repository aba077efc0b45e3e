//! The control channel of one sandbox, seen from the host. Every byte from the guest is hostile: a frame that breaks the
//! rules ends the channel, and with it the sandbox.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wire::{Attach, Decoder, Exec, Frame, FromGuest, Get, Put, Ready, Stdio, ToGuest, Trouble};

use crate::command::{Arrived, Pieces};
use crate::outbox::Outbox;
use crate::{Command, SandboxError};

/// Commands and transfers of one sandbox at once.
const STREAMS_MAX: usize = 256;
/// Pings that wait for their answer.
const PINGS_MAX: usize = 64;
/// How long the guest has to start a command or answer a ping.
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// How long a reader of files may stand still before its transfer ends: nothing else of the sandbox is heard meanwhile.
const READER_MAX: Duration = Duration::from_secs(30);
/// Bytes that are read at once.
const READ_BYTES: usize = 32 << 10;
/// Pieces of a tree, of a frame each, that wait for their reader.
const TREE_PIECES_MAX: usize = 2;

/// The channel. It lives until [`Channel::closed`] says why not.
#[derive(Debug)]
pub(crate) struct Channel {
    outbox: Outbox,
    /// Held for a few instructions, never across an await.
    routes: Mutex<Routes>,
    next_stream: AtomicU32,
    next_ping: AtomicU64,
    closed: watch::Sender<Option<String>>,
}

#[derive(Debug, Default)]
struct Routes {
    streams: HashMap<u32, Route>,
    pings: HashMap<u64, oneshot::Sender<()>>,
    /// Set when the channel has closed: nothing can be added any more.
    closed: Option<String>,
}

#[derive(Debug)]
enum Route {
    Command(Arc<Pieces>),
    Put(oneshot::Sender<Result<u64, SandboxError>>),
    Get(mpsc::Sender<Result<Bytes, SandboxError>>),
}

/// What a frame asks the reader to do when the routes are unlocked again.
enum Then {
    Nothing,
    /// Let the command's reader take something first.
    Wait(Arc<Pieces>),
    Give(mpsc::Sender<Result<Bytes, SandboxError>>, Bytes),
}

impl Channel {
    /// Starts to read and write `stream`. `taken` are streams that are in use in the guest, `rest` what was read already.
    pub(crate) fn open(stream: UnixStream, rest: Decoder, taken: u32, tasks: &TaskTracker, cancel: CancellationToken) -> Arc<Self> {
        let (outbox, queue) = Outbox::new();
        let channel = Arc::new(Self {
            outbox,
            routes: Mutex::default(),
            next_stream: AtomicU32::new(taken.saturating_add(1)),
            next_ping: AtomicU64::new(1),
            closed: watch::Sender::new(None),
        });
        let (reader, writer) = stream.into_split();
        tasks.spawn(channel.clone().run(reader, rest, writer, queue, cancel));
        channel
    }

    pub(crate) fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Waits until the channel has closed, and why.
    pub(crate) async fn closed(&self) -> String {
        let mut closed = self.closed.subscribe();
        let why = closed.wait_for(Option::is_some).await.map(|why| why.clone());
        why.ok().flatten().unwrap_or_default()
    }

    /// Whether the channel has closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.borrow().is_some()
    }

    /// Starts a command.
    pub(crate) async fn exec(self: &Arc<Self>, exec: Exec) -> Result<Command, SandboxError> {
        let stdin = matches!(exec.stdio, Stdio::Pipes { stdin: true } | Stdio::Pty(_));
        let pieces = Arc::new(Pieces::default());
        let stream = self.add(Route::Command(pieces.clone()))?;
        self.begin(&ToGuest::Exec(exec), stream).await?;
        let mut given_up = GivenUp { channel: self, pieces: pieces.clone(), stream, armed: true };
        let started = within("start of a command", pieces.wait_started()).await?;
        given_up.armed = false;
        Ok(Command::new(self.clone(), pieces, stream, started.pid, stdin))
    }

    /// Takes a command up again that an earlier channel started.
    pub(crate) async fn attach(self: &Arc<Self>, stream: u32, lease: u64, after: u64) -> Result<Command, SandboxError> {
        let pieces = Arc::new(Pieces::after(after));
        {
            let mut routes = self.lock();
            if routes.streams.contains_key(&stream) {
                return Err(SandboxError::Inside { errno: 0, message: "the command is attached already".into() });
            }
            routes.insert(stream, Route::Command(pieces.clone()))?;
        }
        self.begin(&ToGuest::Attach(Attach { lease, after }), stream).await?;
        Ok(Command::new(self.clone(), pieces, stream, 0, false))
    }

    /// Unpacks a tar stream inside; gives how many entries were left out.
    pub(crate) async fn put(&self, path: &str, tar: &mut (impl tokio::io::AsyncRead + Unpin)) -> Result<u64, SandboxError> {
        let (done, mut answer) = oneshot::channel();
        let stream = self.add(Route::Put(done))?;
        self.begin(&ToGuest::Put(Put { path: path.to_owned() }), stream).await?;
        let _gone = Unrouted { channel: self, stream };
        let mut piece = vec![0u8; 64 << 10];
        loop {
            let got = tokio::io::AsyncReadExt::read(tar, &mut piece).await.map_err(SandboxError::io("read the tar stream"))?;
            let message = if got == 0 { ToGuest::End } else { ToGuest::Data(piece[..got].to_vec()) };
            tokio::select! {
                sent = self.outbox.send(&message, stream, 0) => sent?,
                // The guest gave up before the end.
                early = &mut answer => return early.map_err(|_| self.gone())?,
            }
            if got == 0 {
                break;
            }
        }
        answer.await.map_err(|_| self.gone())?
    }

    /// A tree inside as pieces of a tar stream; a closed queue without an error is its end.
    pub(crate) async fn get(&self, path: &str) -> Result<mpsc::Receiver<Result<Bytes, SandboxError>>, SandboxError> {
        let (give, pieces) = mpsc::channel(TREE_PIECES_MAX);
        let stream = self.add(Route::Get(give))?;
        self.begin(&ToGuest::Get(Get { path: path.to_owned() }), stream).await?;
        Ok(pieces)
    }

    /// Waits for the guest to answer.
    pub(crate) async fn ping(&self) -> Result<(), SandboxError> {
        let number = self.next_ping.fetch_add(1, Ordering::Relaxed);
        let (pong, answer) = oneshot::channel();
        {
            let mut routes = self.lock();
            if let Some(why) = &routes.closed {
                return Err(SandboxError::Gone(why.clone()));
            }
            if routes.pings.len() >= PINGS_MAX {
                return Err(SandboxError::Busy { what: "pings", max: PINGS_MAX });
            }
            routes.pings.insert(number, pong);
        }
        let _pinged = Pinged { channel: self, number };
        let asked = async {
            self.outbox.send(&ToGuest::Ping, 0, number).await?;
            answer.await.map_err(|_| self.gone())
        };
        within("answer to a ping", asked).await
    }

    /// Sends the first message of a stream that has a route.
    async fn begin(&self, message: &ToGuest, stream: u32) -> Result<(), SandboxError> {
        let mut unheard = Unheard { channel: self, stream, armed: true };
        self.outbox.send(message, stream, 0).await?;
        unheard.armed = false;
        Ok(())
    }

    fn add(&self, route: Route) -> Result<u32, SandboxError> {
        let mut routes = self.lock();
        let stream = self.next_stream.fetch_add(1, Ordering::Relaxed);
        routes.insert(stream, route)?;
        Ok(stream)
    }

    fn gone(&self) -> SandboxError {
        SandboxError::Gone(self.closed.borrow().clone().unwrap_or_else(|| "its channel is closed".into()))
    }

    fn lock(&self) -> MutexGuard<'_, Routes> {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run(
        self: Arc<Self>,
        reader: OwnedReadHalf,
        rest: Decoder,
        writer: OwnedWriteHalf,
        queue: mpsc::Receiver<Vec<u8>>,
        cancel: CancellationToken,
    ) {
        let why = tokio::select! {
            why = self.read(&reader, rest) => why,
            why = self.write(writer, queue) => why,
            () = cancel.cancelled() => "the host closed its channel".to_owned(),
        };
        let (streams, pings) = {
            let mut routes = self.lock();
            routes.closed = Some(why.clone());
            (std::mem::take(&mut routes.streams), std::mem::take(&mut routes.pings))
        };
        for route in streams.into_values() {
            match route {
                Route::Command(pieces) => pieces.lose(&why),
                Route::Put(done) => drop(done.send(Err(SandboxError::Gone(why.clone())))),
                // A reader that is behind sees the end of the queue, which without the end of the tar is an error to it.
                Route::Get(give) => drop(give.try_send(Err(SandboxError::Gone(why.clone())))),
            }
        }
        drop(pings);
        self.closed.send_replace(Some(why));
    }

    /// Never returns: a guest that is gone is seen by the reader, after the last of what it said.
    async fn write(&self, mut writer: OwnedWriteHalf, mut queue: mpsc::Receiver<Vec<u8>>) -> String {
        while let Some(bytes) = self.outbox.next(&mut queue).await {
            if writer.write_all(&bytes).await.is_err() {
                break;
            }
        }
        std::future::pending().await
    }

    async fn read(&self, reader: &OwnedReadHalf, mut decoder: Decoder) -> String {
        loop {
            match self.frames(&mut decoder).await {
                Ok(()) => {}
                Err(e) => return e.to_string(),
            }
            if decoder.pending() == 0 {
                // An idle sandbox keeps no buffer.
                decoder = Decoder::default();
            }
            if let Err(e) = reader.readable().await {
                return format!("its channel cannot be read: {e}");
            }
            match read_into(reader, &mut decoder) {
                Ok(0) => return "the guest ended".to_owned(),
                Ok(_) => {}
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
                // It ended before it had read all that it was sent.
                Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => return "the guest ended".to_owned(),
                Err(e) => return format!("its channel cannot be read: {e}"),
            }
        }
    }

    async fn frames(&self, decoder: &mut Decoder) -> Result<(), SandboxError> {
        let broken = |e: wire::FrameError| SandboxError::Protocol(e.to_string());
        while let Some(frame) = decoder.next_frame().map_err(broken)? {
            let message = FromGuest::read(&frame).map_err(broken)?;
            match self.take(&frame, message)? {
                Then::Nothing => {}
                Then::Wait(pieces) => pieces.room().await,
                // A reader that went away wants no more of it, and one that stands still does not hold up all that this sandbox says.
                Then::Give(give, bytes) => {
                    if !matches!(tokio::time::timeout(READER_MAX, give.send(Ok(bytes))).await, Ok(Ok(()))) {
                        self.lock().streams.remove(&frame.stream);
                        self.outbox.give_up(frame.stream);
                    }
                }
            }
        }
        Ok(())
    }

    /// Gives one message to whom it is for.
    fn take(&self, frame: &Frame, message: FromGuest) -> Result<Then, SandboxError> {
        let mut routes = self.lock();
        if let FromGuest::Pong = message {
            if let Some(pong) = routes.pings.remove(&frame.number) {
                // Who asked may have stopped waiting.
                let _ = pong.send(());
            }
            return Ok(Then::Nothing);
        }
        if frame.stream == 0 || frame.stream >= self.next_stream.load(Ordering::Relaxed) {
            return Err(SandboxError::Protocol(format!("a message for stream {}, which was never used", frame.stream)));
        }
        let Some(route) = routes.streams.get(&frame.stream) else {
            // Its user went away before its last frames came.
            return Ok(Then::Nothing);
        };
        let wrong = || SandboxError::Protocol(format!("frame kind {} does not fit its stream", frame.kind));
        match (route, message) {
            (Route::Command(pieces), message) => {
                let pieces = pieces.clone();
                self.take_piece(&mut routes, frame, &pieces, message)
            }
            (Route::Get(give), FromGuest::Data(bytes)) => Ok(Then::Give(give.clone(), bytes.into())),
            (Route::Get(_), FromGuest::End) => {
                if let Some(Route::Get(give)) = routes.streams.remove(&frame.stream) {
                    // An empty piece says that the end was seen; a queue that just closes does not.
                    return Ok(Then::Give(give, Bytes::new()));
                }
                Ok(Then::Nothing)
            }
            (Route::Put(_), FromGuest::End) => {
                routes.finish(frame.stream, Ok(frame.number));
                Ok(Then::Nothing)
            }
            (Route::Get(_) | Route::Put(_), FromGuest::Trouble(t)) => {
                routes.finish(frame.stream, Err(SandboxError::Inside { errno: t.errno, message: t.message }));
                Ok(Then::Nothing)
            }
            _ => Err(wrong()),
        }
    }

    fn take_piece(&self, routes: &mut Routes, frame: &Frame, pieces: &Arc<Pieces>, message: FromGuest) -> Result<Then, SandboxError> {
        let arrived = match message {
            FromGuest::Started(started) => {
                pieces.started(started);
                return Ok(Then::Nothing);
            }
            FromGuest::Trouble(trouble) => {
                if pieces.trouble(trouble) {
                    routes.streams.remove(&frame.stream);
                }
                return Ok(Then::Nothing);
            }
            FromGuest::StdinTaken(all) => {
                pieces.taken(all);
                return Ok(Then::Nothing);
            }
            FromGuest::Stdout(bytes) => Arrived::Stdout(bytes),
            FromGuest::Stderr(bytes) => Arrived::Stderr(bytes),
            FromGuest::Exited(exit) => Arrived::Exited(exit),
            _ => return Err(SandboxError::Protocol(format!("frame kind {} does not fit a command", frame.kind))),
        };
        let (last, unread) = pieces.push(frame.number, arrived)?;
        if last {
            routes.streams.remove(&frame.stream);
        }
        if unread {
            self.outbox.ack(frame.stream, frame.number);
        }
        Ok(Then::Wait(pieces.clone()))
    }
}

impl Routes {
    fn insert(&mut self, stream: u32, route: Route) -> Result<(), SandboxError> {
        if let Some(why) = &self.closed {
            return Err(SandboxError::Gone(why.clone()));
        }
        if self.streams.len() >= STREAMS_MAX {
            return Err(SandboxError::Busy { what: "commands in one sandbox", max: STREAMS_MAX });
        }
        self.streams.insert(stream, route);
        Ok(())
    }

    /// Ends a transfer.
    fn finish(&mut self, stream: u32, result: Result<u64, SandboxError>) {
        match self.streams.remove(&stream) {
            // Whoever waited may have gone.
            Some(Route::Put(done)) => drop(done.send(result)),
            // A full queue means that pieces came before the trouble: its reader misses the end and fails too.
            Some(Route::Get(give)) => drop(result.map_err(|error| give.try_send(Err(error)))),
            _ => {}
        }
    }
}

/// Forgets a stream whose first message was not sent: the guest, which never hears of it, would not end it.
struct Unheard<'a> {
    channel: &'a Channel,
    stream: u32,
    armed: bool,
}

impl Drop for Unheard<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.channel.lock().streams.remove(&self.stream);
        }
    }
}

/// Forgets a ping that nobody waits for any more.
struct Pinged<'a> {
    channel: &'a Channel,
    number: u64,
}

impl Drop for Pinged<'_> {
    fn drop(&mut self) {
        self.channel.lock().pings.remove(&self.number);
    }
}

/// Kills a command whose start nobody waits for any more. Its route stays until it has ended, so that what it printed
/// until then is acknowledged and forgotten.
struct GivenUp<'a> {
    channel: &'a Channel,
    pieces: Arc<Pieces>,
    stream: u32,
    armed: bool,
}

impl Drop for GivenUp<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.pieces.discard();
            self.channel.outbox.signal(self.stream, rustix::process::Signal::KILL.as_raw());
        }
    }
}

/// Forgets a transfer whose user went away.
struct Unrouted<'a> {
    channel: &'a Channel,
    stream: u32,
}

impl Drop for Unrouted<'_> {
    fn drop(&mut self) {
        // One that is over has no route.
        if self.channel.lock().streams.remove(&self.stream).is_some() {
            self.channel.outbox.give_up(self.stream);
        }
    }
}

/// Reads what is there with a buffer that does not outlive the call.
fn read_into(reader: &OwnedReadHalf, decoder: &mut Decoder) -> std::io::Result<usize> {
    let mut buffer = [0u8; READ_BYTES];
    let got = reader.try_read(&mut buffer)?;
    decoder.push(&buffer[..got]);
    Ok(got)
}

async fn within<T>(what: &'static str, work: impl Future<Output = Result<T, SandboxError>>) -> Result<T, SandboxError> {
    let late = SandboxError::Timeout { what, limit_ms: u64::try_from(ANSWER_MAX.as_millis()).unwrap_or(u64::MAX) };
    tokio::time::timeout(ANSWER_MAX, work).await.unwrap_or(Err(late))
}

/// Checks the first message of a guest.
pub(crate) fn ready(frame: &Frame) -> Result<Ready, SandboxError> {
    match FromGuest::read(frame) {
        Ok(FromGuest::Ready(ready)) if ready.version == wire::VERSION && ready.commands.len() <= STREAMS_MAX => Ok(ready),
        Ok(FromGuest::Ready(ready)) => Err(SandboxError::Protocol(format!("the guest speaks version {}", ready.version))),
        Ok(FromGuest::Trouble(trouble)) => Err(not_built(&trouble)),
        Ok(_) => Err(SandboxError::Protocol("the first message is not `ready`".into())),
        Err(e) => Err(SandboxError::Protocol(e.to_string())),
    }
}

/// What the launcher says when it could not build the sandbox: as JSON when it knows the layer.
fn not_built(trouble: &Trouble) -> SandboxError {
    match serde_json::from_str::<jail::LaunchError>(&trouble.message) {
        Ok(error) => SandboxError::Layer { layer: error.layer.to_string(), why: model::chain(&error), remedy: error.remedy },
        Err(_) => SandboxError::Start(format!("{} (error number {})", trouble.message, trouble.errno)),
    }
}

#[cfg(test)]
mod tests;
