//! The frame: the channel protocol on standard input and output, around one account of one network.

use std::collections::{HashMap, HashSet};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::codec::{FramedRead, LinesCodec, LinesCodecError};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wire::chat::{Act, CHAT_FILE_BYTES_MAX, CHAT_LINE_BYTES_MAX, CHAT_VERSION, Delivery, Failing, FromChannel, Health, Piece, ToChannel};

use crate::began;
use crate::http::Http;
use crate::link::Link;
use crate::network::{Account, Answer, DeliverError, File, Hook, Network, Setup};
use crate::note::Note;
use crate::sink::Sink;
use crate::surroundings::Surroundings;

/// Files whose pieces came and that no delivery named yet.
const FILES_MAX: usize = 64;
/// Files that are remembered to have been refused, with those that were not.
const REFUSED_MAX: usize = 4096;
/// Bytes of all of them.
const FILES_BYTES_MAX: usize = 64 << 20;
/// Things asked for by the host that are done at the same time; more are refused for now.
const AT_ONCE_MAX: usize = 64;
/// The longest that one of them may take.
const PATIENCE: Duration = Duration::from_secs(300);
/// How long what is under way may go on after the end was asked for.
const GRACE: Duration = Duration::from_secs(10);
/// When to come again with what was refused for now.
const LATER: Duration = Duration::from_secs(2);

/// Runs an account of `network` until the host ends it.
pub(crate) fn run(network: &'static dyn Network, around: Surroundings) -> ExitCode {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return ExitCode::FAILURE;
    };
    let code = runtime.block_on(serve(network, around));
    // A read of standard input cannot be called back.
    runtime.shutdown_background();
    code
}

async fn serve(network: &'static dyn Network, around: Surroundings) -> ExitCode {
    let (link, lines) = Link::new();
    let tasks = TaskTracker::new();
    let writing = tasks.spawn(write(lines, link.clone()));
    let mut input = FramedRead::new(tokio::io::stdin(), LinesCodec::new_with_max_length(CHAT_LINE_BYTES_MAX));
    let code = match begin(network, &around, &link, &tasks, &mut input).await {
        Ok(frame) => frame.serve(&mut input).await,
        Err((health, message)) => {
            link.health(health, &message).await;
            ExitCode::from(2)
        }
    };
    // Closed, the writer ends after what it was given.
    link.end();
    let _ = tokio::time::timeout(GRACE, writing).await;
    code
}

type Input = FramedRead<tokio::io::Stdin, LinesCodec>;

/// Waits for the start and opens the account; else says how that leaves it, and why.
async fn begin(
    network: &'static dyn Network,
    around: &Surroundings,
    link: &Link,
    tasks: &TaskTracker,
    input: &mut Input,
) -> Result<Frame, (Health, String)> {
    let stuck = |why: String| (Health::Connecting, why);
    let (account, config, cursor) = match next(input).await.map_err(stuck)? {
        Some(ToChannel::Start { v: CHAT_VERSION, account, config, cursor }) => (account, config, cursor),
        Some(ToChannel::Start { v, .. }) => {
            return Err(stuck(format!("the host speaks version {v} of the protocol, this program {CHAT_VERSION}")));
        }
        _ => return Err(stuck("the first line was no start".to_owned())),
    };
    let nowhere = || stuck("LAZARET_STATE names no directory: without one a message could be sent twice".to_owned());
    let state = around.state.as_deref().ok_or_else(nowhere)?;
    let note = Note::open(state).map_err(|e| stuck(e.to_string()))?;
    let cursor = match cursor {
        None => began::read(state).map_err(|e| stuck(format!("where listening began cannot be read: {e}")))?,
        acknowledged => acknowledged,
    };
    let cancel = CancellationToken::new();
    let setup = Setup {
        account,
        config,
        cursor,
        credentials: around.credentials(),
        state: state.to_owned(),
        http: Http::new(around, tasks),
        link: link.clone(),
        tasks: tasks.clone(),
        cancel: cancel.clone(),
    };
    let account = network.open(setup).map_err(|e| (e.health(), e.to_string()))?;
    link.health(Health::Connecting, "").await;
    Ok(Frame {
        account,
        note,
        link: link.clone(),
        tasks: tasks.clone(),
        cancel,
        room: Arc::new(Semaphore::new(AT_ONCE_MAX)),
        hooks: Arc::new(Semaphore::new(AT_ONCE_MAX)),
        under_way: Arc::default(),
        files: Files::default(),
    })
}

/// The next line of the host. `None` at the end of the input.
async fn next(input: &mut Input) -> Result<Option<ToChannel>, String> {
    match input.next().await {
        None => Ok(None),
        Some(Ok(line)) => serde_json::from_str(&line).map(Some).map_err(|e| format!("a line of the host's is none of the protocol: {e}")),
        Some(Err(LinesCodecError::MaxLineLengthExceeded)) => Err("a line of the host's is too long".to_owned()),
        Some(Err(LinesCodecError::Io(error))) => Err(format!("the input broke: {error}")),
    }
}

/// Writes lines to the host until nobody has more.
async fn write(mut lines: mpsc::Receiver<FromChannel>, link: Link) {
    let mut output = tokio::io::stdout();
    while let Some(line) = lines.recv().await {
        let Ok(mut text) = serde_json::to_string(&line) else { continue };
        text.push('\n');
        if output.write_all(text.as_bytes()).await.is_err() || output.flush().await.is_err() {
            link.close();
            return;
        }
    }
}

/// An account at work.
struct Frame {
    account: Arc<dyn Account>,
    note: Note,
    link: Link,
    tasks: TaskTracker,
    cancel: CancellationToken,
    /// A permit for each thing that is done at the same time.
    room: Arc<Semaphore>,
    /// The same for webhooks, which strangers can send: they take no room of deliveries.
    hooks: Arc<Semaphore>,
    /// Deliveries that are under way. Never held across an await.
    under_way: Arc<Mutex<HashSet<String>>>,
    files: Files,
}

impl Frame {
    async fn serve(mut self, input: &mut Input) -> ExitCode {
        let work = TaskTracker::new();
        self.tasks.spawn(Arc::clone(&self.account).listen());
        let code = loop {
            match next(input).await {
                Ok(Some(ToChannel::Stop) | None) => break ExitCode::SUCCESS,
                Ok(Some(line)) => self.handle(line, &work).await,
                Err(message) => {
                    self.link.log(&message).await;
                    break ExitCode::from(2);
                }
            }
        };
        self.cancel.cancel();
        // Whoever waits for an acknowledgement would wait for ever.
        self.link.close();
        work.close();
        let _ = tokio::time::timeout(GRACE, work.wait()).await;
        code
    }

    /// Does one thing that the host asked for; what takes time goes on by itself.
    async fn handle(&mut self, line: ToChannel, work: &TaskTracker) {
        match line {
            ToChannel::Ack { seq } => self.link.on_ack(seq).await,
            ToChannel::Piece(piece) => self.files.take(&piece),
            ToChannel::Deliver(delivery) => self.deliver(delivery, work).await,
            ToChannel::Webhook { id, method, path, headers, body } => {
                let Some(hook) = hook(method, &path, headers, &body) else {
                    return self.link.say(answer(id, Answer::status(400))).await;
                };
                self.webhook(id, hook, work).await;
            }
            ToChannel::OpenDm { id, handle } => {
                let (account, link) = (Arc::clone(&self.account), self.link.clone());
                let asked = id.clone();
                let refused = FromChannel::Dm { id: asked, chat: None, error: Some("too much is asked for at once".to_owned()) };
                let job = async move {
                    let found = tokio::time::timeout(PATIENCE, account.open_dm(&handle)).await;
                    let (chat, error) = match found.unwrap_or_else(|_| Err("it took too long".to_owned())) {
                        Ok(chat) => (Some(chat), None),
                        Err(error) => (None, Some(error)),
                    };
                    link.say(FromChannel::Dm { id, chat, error }).await;
                };
                self.begin(work, job, refused).await;
            }
            ToChannel::Fetch { id, max } => self.fetch(id, max, work).await,
            ToChannel::Typing { to, on } => {
                let account = Arc::clone(&self.account);
                if let Ok(permit) = Arc::clone(&self.room).try_acquire_owned() {
                    work.spawn(async move {
                        let _ = tokio::time::timeout(PATIENCE, account.typing(&to, on)).await;
                        drop(permit);
                    });
                }
            }
            ToChannel::Start { .. } => self.link.log("a second start was not taken").await,
            ToChannel::Stop => {}
        }
    }

    /// Starts `job` if there is room, else says `refused`.
    async fn begin(&self, work: &TaskTracker, job: impl Future<Output = ()> + Send + 'static, refused: FromChannel) {
        self.begin_in(&self.room, work, job, refused).await;
    }

    async fn begin_in(
        &self,
        room: &Arc<Semaphore>,
        work: &TaskTracker,
        job: impl Future<Output = ()> + Send + 'static,
        refused: FromChannel,
    ) {
        match Arc::clone(room).try_acquire_owned() {
            Err(_) => self.link.say(refused).await,
            Ok(permit) => {
                work.spawn(async move {
                    job.await;
                    drop(permit);
                });
            }
        }
    }

    async fn deliver(&mut self, delivery: Delivery, work: &TaskTracker) {
        let id = delivery.id.clone();
        // Its answer is still to come.
        if !lock(&self.under_way).insert(id.clone()) {
            return;
        }
        let files = match &delivery.act {
            Act::Send { files, .. } => self.files.give(files),
            _ => Ok(Vec::new()),
        };
        let (account, link, steps) = (Arc::clone(&self.account), self.link.clone(), self.note.steps(&id));
        let under_way = Arc::clone(&self.under_way);
        let job = async move {
            let outcome = match files {
                Ok(files) => tokio::time::timeout(PATIENCE, account.deliver(&delivery, &files, &steps)).await,
                Err(error) => Ok(Err(error)),
            };
            let outcome = outcome.unwrap_or_else(|_| Err(DeliverError::new(Failing::Unknown, "the platform took too long")));
            let (messages, again) = steps.made_of();
            lock(&under_way).remove(&delivery.id);
            link.say(delivered(delivery.id, outcome, messages, again)).await;
            model::crash::point("channel:told");
        };
        let busy = DeliverError::new(Failing::Passing, "too much is delivered at once").after(Some(LATER));
        if self.room.available_permits() == 0 {
            lock(&self.under_way).remove(&id);
        }
        self.begin(work, job, delivered(id, Err(busy), Vec::new(), false)).await;
    }

    async fn webhook(&self, id: String, hook: Hook, work: &TaskTracker) {
        let (account, link) = (Arc::clone(&self.account), self.link.clone());
        let refused = answer(id.clone(), Answer::status(503));
        let job = async move {
            let answered = tokio::time::timeout(PATIENCE, account.webhook(hook)).await;
            link.say(answer(id, answered.unwrap_or_else(|_| Answer::status(503)))).await;
        };
        self.begin_in(&self.hooks, work, job, refused).await;
    }

    async fn fetch(&self, id: String, max: u64, work: &TaskTracker) {
        let (account, link) = (Arc::clone(&self.account), self.link.clone());
        let refused = FromChannel::NoFile { id: id.clone(), message: "too much is asked for at once".to_owned() };
        let job = async move {
            let mut sink = Sink::new(link.clone(), id.clone(), max.min(CHAT_FILE_BYTES_MAX));
            let fetched = tokio::time::timeout(PATIENCE, account.fetch(&id, &mut sink)).await;
            match fetched.unwrap_or_else(|_| Err("it took too long".to_owned())) {
                Ok(()) => sink.end().await,
                Err(message) => link.say(FromChannel::NoFile { id, message }).await,
            }
        };
        self.begin(work, job, refused).await;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn delivered(id: String, outcome: Result<(), DeliverError>, messages: Vec<String>, again: bool) -> FromChannel {
    match outcome {
        Ok(()) => FromChannel::Delivered { id, messages, again },
        Err(DeliverError { why, message, after }) => {
            let after_ms = after.and_then(|after| u64::try_from(after.as_millis()).ok());
            FromChannel::Failed { id, why, message, after_ms }
        }
    }
}

fn answer(id: String, answer: Answer) -> FromChannel {
    FromChannel::WebhookAnswer { id, status: answer.status, headers: answer.headers, body: STANDARD.encode(&answer.body) }
}

fn hook(method: String, path: &str, headers: Vec<(String, String)>, body: &str) -> Option<Hook> {
    let body = Bytes::from(STANDARD.decode(body).ok()?);
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    Some(Hook { method, path: path.to_owned(), query: query.to_owned(), headers, body })
}

/// Files on their way out.
#[derive(Default)]
struct Files {
    held: HashMap<String, Held>,
    bytes: usize,
}

/// One of them.
enum Held {
    /// Pieces still come.
    Open(Vec<u8>),
    /// It is whole.
    Whole(Bytes),
    /// It is too large, or none.
    Bad(&'static str),
}

impl Files {
    fn take(&mut self, piece: &Piece) {
        if !self.held.contains_key(&piece.id) && self.held.len() >= FILES_MAX {
            // Remembered, so that no later piece of it passes for the whole.
            if self.held.len() < REFUSED_MAX {
                self.held.insert(piece.id.clone(), Held::Bad("too many files are on their way at once"));
            }
            return;
        }
        // What is said again begins anew.
        let open = match self.held.remove(&piece.id) {
            Some(bad @ Held::Bad(_)) => {
                self.held.insert(piece.id.clone(), bad);
                return;
            }
            Some(Held::Open(bytes)) => bytes,
            Some(Held::Whole(bytes)) => {
                self.bytes -= bytes.len();
                Vec::new()
            }
            None => Vec::new(),
        };
        let held = self.longer(open, piece);
        self.held.insert(piece.id.clone(), held);
    }

    fn longer(&mut self, mut open: Vec<u8>, piece: &Piece) -> Held {
        let Ok(data) = STANDARD.decode(&piece.data) else {
            self.bytes -= open.len();
            return Held::Bad("a piece of the file is not in base64");
        };
        if open.len() as u64 + data.len() as u64 > CHAT_FILE_BYTES_MAX || self.bytes + data.len() > FILES_BYTES_MAX {
            self.bytes -= open.len();
            return Held::Bad("the file is too large");
        }
        self.bytes += data.len();
        open.extend_from_slice(&data);
        if piece.last { Held::Whole(open.into()) } else { Held::Open(open) }
    }

    /// The files of a delivery. Those that came whole are forgotten.
    fn give(&mut self, wanted: &[wire::chat::Attachment]) -> Result<Vec<File>, DeliverError> {
        let mut given = Vec::new();
        let mut failure = None;
        for about in wanted {
            match self.held.remove(&about.id) {
                Some(Held::Whole(bytes)) => {
                    self.bytes -= bytes.len();
                    given.push(File { about: named(about), bytes });
                }
                Some(Held::Open(bytes)) => {
                    self.bytes -= bytes.len();
                    failure = Some(DeliverError::new(Failing::Passing, "a file of the delivery did not come whole"));
                }
                Some(Held::Bad(why)) => failure = Some(DeliverError::never(why)),
                None => failure = Some(DeliverError::new(Failing::Passing, "a file of the delivery did not come")),
            }
        }
        failure.map_or(Ok(given), Err)
    }
}

/// The file under a name that is one plain piece of a path.
fn named(about: &wire::chat::Attachment) -> wire::chat::Attachment {
    let plain: String = about.name.chars().filter(|c| !c.is_control() && !matches!(c, '/' | '\\')).collect();
    let plain = plain.trim_matches(['.', ' ']).to_owned();
    wire::chat::Attachment { name: crate::link::cut(&plain, 200), ..about.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::chat::Attachment;

    fn piece(id: &str, data: &[u8], last: bool) -> Piece {
        Piece { id: id.to_owned(), data: STANDARD.encode(data), last }
    }

    fn about(id: &str, name: &str) -> Attachment {
        Attachment { id: id.to_owned(), name: name.to_owned(), mime: String::new(), size: None }
    }

    #[test]
    fn files_are_bounded_and_forgotten() {
        let mut files = Files::default();
        files.take(&piece("a", b"one ", false));
        files.take(&piece("a", b"two", true));
        files.take(&piece("b", b"half", false));
        let given = files.give(&[about("a", "../x/y.txt")]).unwrap();
        assert_eq!((given[0].bytes.as_ref(), given[0].name()), (b"one two".as_slice(), "xy.txt"));
        assert!(files.give(&[about("a", "")]).is_err_and(|e| e.why == Failing::Passing));
        assert!(files.give(&[about("b", "")]).is_err_and(|e| e.why == Failing::Passing));
        assert_eq!((files.bytes, files.held.len()), (0, 0));
        let big = vec![0; 1 << 20];
        for _ in 0..60 {
            files.take(&piece("c", &big, false));
        }
        assert!(files.bytes <= FILES_BYTES_MAX);
        files.take(&Piece { id: "d".to_owned(), data: "***".to_owned(), last: true });
        assert!(files.give(&[about("d", "")]).is_err_and(|e| e.why == Failing::Final));
        for n in 0..2 * FILES_MAX {
            files.take(&piece(&n.to_string(), b"x", true));
        }
        let whole = files.held.values().filter(|held| matches!(held, Held::Whole(_))).count();
        assert!(whole <= FILES_MAX && files.held.len() <= REFUSED_MAX);
        // What comes behind the piece that was too much is not the file.
        files.take(&piece("c", b"the end", true));
        assert!(files.give(&[about("c", "")]).is_err_and(|e| e.why == Failing::Final));
    }
}
