//! Signal through signal-cli's daemon, JSON-RPC over TCP. The daemon hands each message over once and keeps none, so each is put
//! into a journal before it is reported, and told again after a kill. Only what a kill meets on its way from the daemon to the
//! journal is lost.

mod heard;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::{Mutex as AsyncMutex, oneshot};
use tokio::time::timeout;
use tokio_util::codec::{FramedRead, LinesCodec};
use tokio_util::sync::CancellationToken;
use wire::chat::{Abilities, About, Act, Address, Chat, Delivery, Failing, Heard, Who};

use crate::backoff::{Backoff, Trouble};
use crate::calls::{marked, trouble};
use crate::dial::BoxStream;
use crate::journal::Journal;
use crate::network::{Account, DeliverError, File, Network, OpenError, Setup, needs};
use crate::note::{Attempt, Steps};
use crate::reading::{clip_chars, id};
use crate::sink::Sink;
use heard::{GROUP, Me, message_id, parts};

/// Characters of a message.
const TEXT_MAX: u32 = 4_000;
/// The largest file: it is one line of JSON either way.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// The longest line of the daemon's: a file in base64 and what is around it.
const LINE_BYTES_MAX: usize = 24 << 20;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(90);
/// How long to wait when Signal was asked too often.
const LATER: Duration = Duration::from_secs(300);

/// The network.
pub(crate) struct Signal;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// The account's number, as in `+15550001`.
    account: String,
    /// Where the daemon listens, as `tcp://HOST:PORT`.
    #[serde(default = "base_url")]
    base_url: String,
}

fn base_url() -> String {
    "tcp://127.0.0.1:7583".to_owned()
}

impl Network for Signal {
    fn about(&self) -> About {
        needs("signal", "Signal by a signal-cli daemon", &[], &[])
    }

    fn open(&self, setup: Setup) -> Result<Arc<dyn Account>, OpenError> {
        let config: Config = setup.config()?;
        let place = config.base_url.strip_prefix("tcp://").and_then(|place| place.trim_end_matches('/').rsplit_once(':'));
        let place = place.and_then(|(host, port)| Some((host.to_owned(), port.parse::<u16>().ok()?)));
        let number =
            config.account.strip_prefix('+').is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()));
        if !number {
            return Err(OpenError::Config("`account` is not a number like +15550001".to_owned()));
        }
        let journal = Journal::open(&setup.state).map_err(|e| OpenError::State(format!("the journal cannot be kept: {e}")))?;
        Ok(Arc::new(Number {
            journal,
            place: place.ok_or_else(|| OpenError::Config("`base_url` is not tcp://HOST:PORT".to_owned()))?,
            me: Mutex::new(Me { number: config.account, uuid: None }),
            asked: Mutex::new(HashMap::new()),
            last: AtomicU64::new(0),
            writer: AsyncMutex::new(None),
            setup,
        }))
    }
}

type Answered = oneshot::Sender<Result<Value, DeliverError>>;

/// One number.
struct Number {
    setup: Setup,
    place: (String, u16),
    /// Who it is. Never held across an await.
    me: Mutex<Me>,
    /// Who waits for an answer; the frame asks for no more than a bounded number at once. Never held across an await.
    asked: Mutex<HashMap<u64, Answered>>,
    last: AtomicU64,
    /// Where requests go, and what ends the connection. Neither is there while a line is written.
    writer: AsyncMutex<Option<(WriteHalf<BoxStream>, CancellationToken)>>,
    /// Messages that the host does not have yet.
    journal: Journal,
}

impl Account for Number {
    fn listen(self: Arc<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let mut backoff = Backoff::default();
            // What the process before read and the host did not get.
            for (n, heard) in self.journal.left() {
                if !self.tell(heard, Some(n)).await {
                    return;
                }
            }
            loop {
                let ended = self.connected(&mut backoff).await;
                if self.setup.cancel.is_cancelled() {
                    return;
                }
                *self.writer.lock().await = None;
                // Whoever waits learns that nobody knows: the daemon had the line.
                self.asked().clear();
                if !backoff.pause(&ended, &self.setup.link, &self.setup.cancel).await {
                    return;
                }
            }
        })
    }

    fn deliver<'a>(&'a self, delivery: &'a Delivery, files: &'a [File], steps: &'a Steps) -> BoxFuture<'a, Result<(), DeliverError>> {
        Box::pin(async move {
            let chat = &delivery.to.chat;
            match &delivery.act {
                Act::Send { text, reply_to, .. } => {
                    let send = |attempt: Attempt| async move {
                        let mut params = to(chat);
                        params["message"] = json!(marked(&crate::text::plain(text), attempt.doubtful));
                        if let Some((at, author)) = reply_to.as_deref().and_then(parts) {
                            params["quoteTimestamp"] = json!(at);
                            params["quoteAuthor"] = json!(author);
                        }
                        if !files.is_empty() {
                            params["attachments"] = json!(files.iter().map(uri).collect::<Vec<_>>());
                        }
                        self.send(params).await
                    };
                    if files.iter().any(|file| file.bytes.len() as u64 > FILE_BYTES_MAX) {
                        return Err(DeliverError::never("the file is larger than signal-cli takes in a line"));
                    }
                    steps.once("text", send).await.map(drop)
                }
                Act::Edit { message, text, .. } => {
                    let (at, _) = parts(message).ok_or_else(|| DeliverError::never("that is no id of a message"))?;
                    let edit = |_| async move {
                        let mut params = to(chat);
                        params["message"] = json!(crate::text::plain(text));
                        params["editTimestamp"] = json!(at);
                        self.send(params).await.map(|_| message.clone())
                    };
                    steps.once("edit", edit).await.map(drop)
                }
                Act::React { message, emoji } => {
                    let (at, author) = parts(message).ok_or_else(|| DeliverError::never("that is no id of a message"))?;
                    // The same reaction once more changes nothing.
                    let react = |_| async move {
                        let mut params = to(chat);
                        params["emoji"] = json!(emoji);
                        params["targetAuthor"] = json!(author);
                        params["targetTimestamp"] = json!(at);
                        taken(&self.ask("sendReaction", params).await?).map(|_| String::new())
                    };
                    steps.once("react", react).await.map(drop)
                }
            }
        })
    }

    fn fetch<'a>(&'a self, file: &'a str, sink: &'a mut Sink) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            let (file, chat) = file.split_once(' ').ok_or("the file has no id")?;
            let mut params = to(chat);
            if let Some(recipient) = params.get("recipient").cloned() {
                params["recipient"] = recipient[0].clone();
            }
            params["id"] = json!(file);
            let found = self.ask("getAttachment", params).await.map_err(|e| e.to_string())?;
            let data = found["data"].as_str().or_else(|| found.as_str()).ok_or("signal-cli has no such file")?;
            let bytes = STANDARD.decode(data).map_err(|_| "signal-cli's file is not in base64")?;
            sink.push(&bytes).await
        })
    }

    fn open_dm<'a>(&'a self, handle: &'a str) -> BoxFuture<'a, Result<Chat, String>> {
        Box::pin(async move {
            let found = self.ask("getUserStatus", json!({"recipient": [handle]})).await.map_err(|e| e.to_string())?;
            let person =
                id(&found[0]["uuid"]).filter(|_| found[0]["isRegistered"] == true).ok_or("nobody with that number is on Signal")?;
            Ok(Chat { id: person, name: String::new(), group: false })
        })
    }

    fn typing<'a>(&'a self, place: &'a Address, on: bool) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let mut params = to(&place.chat);
            params["stop"] = json!(!on);
            let _ = self.ask("sendTyping", params).await;
        })
    }
}

fn abilities() -> Abilities {
    Abilities {
        text_max: TEXT_MAX,
        file_max: FILE_BYTES_MAX,
        edit: true,
        react: true,
        typing: true,
        open_dm: true,
        per_minute: 20,
        ..Abilities::default()
    }
}

impl Number {
    /// Connects and reads until that ends; why it did.
    async fn connected(&self, backoff: &mut Backoff) -> Trouble {
        let (host, port) = &self.place;
        let over = self.setup.cancel.child_token();
        let dialled = tokio::select! {
            () = over.cancelled() => return Trouble::passing("it ends"),
            dialled = self.setup.http.dial().host(host, *port, false) => dialled,
        };
        let stream = match dialled {
            Ok(stream) => stream,
            Err(error) => return Trouble::passing(error),
        };
        let (reader, writer) = tokio::io::split(stream);
        *self.writer.lock().await = Some((writer, over.clone()));
        // Both at once: the answers to the greeting come from what is read.
        let (read, greet) = (self.read(reader, &over), self.greet(backoff));
        tokio::pin!(read, greet);
        tokio::select! {
            ended = &mut read => ended,
            refused = &mut greet => {
                over.cancel();
                read.await;
                refused
            }
        }
    }

    /// Asks who the account is and for its messages. Comes back only when that is refused.
    async fn greet(&self, backoff: &mut Backoff) -> Trouble {
        let number = self.me().number.clone();
        let found = match self.ask("getUserStatus", json!({"recipient": [number]})).await {
            Ok(found) => found,
            Err(error) if error.why == Failing::Final => {
                return Trouble::Credential(format!("signal-cli does not know the account: {error}"));
            }
            Err(error) => return trouble(error),
        };
        let uuid = id(&found[0]["uuid"]);
        self.me().uuid.clone_from(&uuid);
        // A daemon that receives by itself refuses that, and needs none.
        let _ = self.ask("subscribeReceive", json!({})).await;
        backoff.well();
        self.setup.link.ready(Who { id: uuid.unwrap_or(number), name: String::new(), bot: true }, abilities()).await;
        std::future::pending().await
    }

    /// Reads until the connection ends, or is to: what came until then is told, as signal-cli tells it to nobody again.
    async fn read(&self, reader: ReadHalf<BoxStream>, over: &CancellationToken) -> Trouble {
        let mut lines = FramedRead::new(reader, LinesCodec::new_with_max_length(LINE_BYTES_MAX));
        loop {
            let line = tokio::select! {
                biased;
                line = lines.next() => line,
                () = over.cancelled() => return Trouble::passing("the connection to signal-cli broke"),
            };
            let line = match line {
                Some(Ok(line)) => line,
                None => return Trouble::passing("signal-cli closed the connection"),
                Some(Err(error)) => return Trouble::passing(format!("signal-cli's line cannot be read: {error}")),
            };
            let Ok(said) = serde_json::from_str::<Value>(&line) else { continue };
            if said["method"] == "receive" {
                let me = self.me().clone();
                if let Some(heard) = heard::read(&said["params"], &me) {
                    let kept = self.journal.put(&heard).await;
                    if let Err(error) = &kept {
                        self.setup.link.log(&format!("a message is told without a journal: {error}")).await;
                    }
                    if !self.tell(heard, kept.ok()).await {
                        return Trouble::passing("the host takes no more");
                    }
                }
            } else if let Some(answered) = said["id"].as_u64().and_then(|n| self.asked().remove(&n)) {
                let _ = answered.send(match said.get("error") {
                    Some(error) => Err(refused(error)),
                    None => Ok(said["result"].clone()),
                });
            }
        }
    }

    /// Tells the host, and takes it out of the journal when the host has it. False when the host takes no more.
    async fn tell(&self, heard: Heard, kept: Option<u64>) -> bool {
        let Ok(seq) = self.setup.link.report(heard, None).await else { return false };
        if let Some(n) = kept {
            let (link, journal) = (self.setup.link.clone(), self.journal.clone());
            self.setup.tasks.spawn(async move {
                if link.acked(seq).await.is_ok() {
                    journal.done(n).await;
                }
            });
        }
        true
    }

    async fn send(&self, params: Value) -> Result<String, DeliverError> {
        let answer = self.ask("send", params).await?;
        taken(&answer)?;
        let at = answer["timestamp"].as_i64().ok_or_else(|| DeliverError::new(Failing::Unknown, "signal-cli named no message"))?;
        Ok(message_id(at, &self.me().number))
    }

    async fn ask(&self, method: &str, mut params: Value) -> Result<Value, DeliverError> {
        let n = self.last.fetch_add(1, Ordering::SeqCst) + 1;
        params["account"] = json!(self.me().number);
        let line = json!({"jsonrpc": "2.0", "id": n, "method": method, "params": params}).to_string() + "\n";
        let (answered, answer) = oneshot::channel();
        let lost = |what: &str| DeliverError::new(Failing::Unknown, what.to_owned());
        {
            let mut writer = self.writer.lock().await;
            let Some((mut stream, over)) = writer.take() else {
                return Err(DeliverError::new(Failing::Passing, "there is no connection to signal-cli"));
            };
            // Half a line would be taken for the beginning of the next: when it fails or is given up, it is connected to anew.
            let over = over.drop_guard();
            self.asked().insert(n, answered);
            let wrote = async {
                stream.write_all(line.as_bytes()).await?;
                stream.flush().await
            };
            if !matches!(timeout(PATIENCE, wrote).await, Ok(Ok(()))) {
                self.asked().remove(&n);
                return Err(lost("the connection to signal-cli broke"));
            }
            *writer = Some((stream, over.disarm()));
        }
        match timeout(PATIENCE, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(lost("the connection to signal-cli broke before its answer")),
            Err(_) => {
                self.asked().remove(&n);
                Err(lost("signal-cli did not answer"))
            }
        }
    }

    fn me(&self) -> std::sync::MutexGuard<'_, Me> {
        self.me.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn asked(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Answered>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where something goes, as signal-cli wants it.
fn to(chat: &str) -> Value {
    match chat.strip_prefix(GROUP) {
        Some(group) => json!({"groupId": group}),
        None => json!({"recipient": [chat]}),
    }
}

/// A file as signal-cli takes it without a path: names of files are never a way to files of the daemon's.
fn uri(file: &File) -> String {
    let clean = |text: &str| text.chars().map(|c| if matches!(c, ';' | ',' | '"') || c.is_control() { '_' } else { c }).collect::<String>();
    format!("data:{};filename={};base64,{}", clean(file.mime()), clean(file.name()), STANDARD.encode(&file.bytes))
}

/// Whether somebody got it: in a group some may not.
fn taken(answer: &Value) -> Result<(), DeliverError> {
    let results = answer["results"].as_array().map(Vec::as_slice).unwrap_or_default();
    if results.is_empty() || results.iter().any(|result| result["type"] == "SUCCESS") {
        return Ok(());
    }
    let kind = results[0]["type"].as_str().unwrap_or_default();
    Err(match kind {
        "RATE_LIMIT_FAILURE" => DeliverError::new(Failing::Rate, "Signal was asked too often").after(Some(LATER)),
        "NETWORK_FAILURE" => DeliverError::new(Failing::Unknown, "Signal could not be reached"),
        _ => DeliverError::never(format!("Signal took it for nobody: {}", clip_chars(kind, 60))),
    })
}

/// What an error of JSON-RPC means.
fn refused(error: &Value) -> DeliverError {
    let words = clip_chars(error["message"].as_str().unwrap_or_default(), 300);
    match error["code"].as_i64().unwrap_or(0) {
        -5 => DeliverError::new(Failing::Rate, words).after(Some(LATER)),
        -3 => DeliverError::new(Failing::Unknown, words),
        -32_603 => DeliverError::new(Failing::Passing, words),
        _ => DeliverError::never(format!("signal-cli says: {words}")),
    }
}

/// Reads anything, for the test of that.
#[cfg(test)]
pub(crate) fn hostile(value: &Value, me: &Me) -> bool {
    heard::read(value, me).is_some()
}

/// An account, for the test of that.
#[cfg(test)]
pub(crate) fn of_number(number: &str) -> Me {
    Me { number: number.to_owned(), uuid: None }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tokio::io::BufReader;
    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::http::Http;
    use crate::link::Link;
    use crate::surroundings::Surroundings;

    #[tokio::test]
    async fn a_line_that_is_given_up_ends_its_connection() {
        let dir = tempfile::tempdir().unwrap();
        let around = Surroundings { credentials: dir.path().to_owned(), state: None, proxy: None, roots: Some(dir.path().join("none")) };
        let tasks = TaskTracker::new();
        let setup = Setup {
            account: "test".to_owned(),
            config: serde_json::Map::new(),
            cursor: None,
            credentials: around.credentials(),
            state: dir.path().to_owned(),
            http: Http::new(&around, &tasks),
            link: Link::new().0,
            tasks,
            cancel: CancellationToken::new(),
        };
        // Room for the first bytes of a line, and nobody who reads.
        let (stream, _daemon) = tokio::io::duplex(8);
        let stream: BoxStream = Box::new(BufReader::new(stream));
        let (_reader, writer) = tokio::io::split(stream);
        let over = CancellationToken::new();
        let number = Number {
            journal: Journal::open(dir.path()).unwrap(),
            place: (String::new(), 0),
            me: Mutex::new(of_number("+15550001")),
            asked: Mutex::default(),
            last: AtomicU64::new(0),
            writer: AsyncMutex::new(Some((writer, over.clone()))),
            setup,
        };
        assert!(number.ask("send", json!({})).now_or_never().is_none());
        assert!(over.is_cancelled());
        let next = number.ask("send", json!({})).await;
        assert!(next.is_err_and(|error| error.why == Failing::Passing));
    }
}
