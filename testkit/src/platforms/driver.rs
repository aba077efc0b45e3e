//! The host's side of the channel protocol around the real program of a network.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use wire::chat::{
    Act, Address, Attachment, Button, CHAT_PIECE_BYTES_MAX, CHAT_VERSION, Delivery, Failing, FromChannel, Health, Heard, Piece, ToChannel,
};

/// How long something may take to come before the test fails.
const PATIENCE: Duration = Duration::from_secs(300);

/// An account of a network: what outlives the processes that run it.
pub struct Account {
    program: PathBuf,
    network: &'static str,
    directory: tempfile::TempDir,
    /// What the owner configured.
    pub config: Map<String, Value>,
    /// Variables of the process besides.
    pub env: Vec<(String, String)>,
}

impl Account {
    /// An account that the program at `program` runs, with its configuration and credentials.
    ///
    /// # Panics
    /// When its directory cannot be made.
    #[must_use]
    pub fn new(program: impl AsRef<Path>, network: &'static str, config: &Value, credentials: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(directory.path().join("credentials")).expect("a directory");
        let config = config.as_object().cloned().expect("an object");
        let account = Self { program: program.as_ref().to_owned(), network, directory, config, env: Vec::new() };
        for (key, value) in credentials {
            account.credential(key, value);
        }
        account
    }

    /// Sets a credential.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn credential(&self, key: &str, value: &str) {
        std::fs::write(self.directory.path().join("credentials").join(key), value).expect("write a credential");
    }

    /// Starts its process where it was left.
    #[must_use]
    pub fn start(&self, cursor: Option<&str>) -> Channel {
        self.start_and_die(cursor, None)
    }

    /// Starts its process, which aborts at a labelled point (`channel:took`, or `channel:took@2` at its second time there).
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start_and_die(&self, cursor: Option<&str>, at: Option<&str>) -> Channel {
        let mut command = Command::new(&self.program);
        command.args(["run", self.network]).env_clear();
        command.env("LAZARET_CREDENTIALS", self.directory.path().join("credentials"));
        command.env("LAZARET_STATE", self.directory.path().join("state"));
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        if let Some(at) = at {
            command.env("LAZARET_CRASH_AT", at);
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("start the program");
        let (input, output) = (child.stdin.take(), child.stdout.take().expect("its output"));
        let (said, lines) = std::sync::mpsc::sync_channel(10_000);
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let line: FromChannel = serde_json::from_str(&line).unwrap_or_else(|e| panic!("no line of the protocol ({e}): {line}"));
                if said.send(line).is_err() {
                    return;
                }
            }
        });
        let mut channel = Channel { child, input, lines, waiting: Vec::new() };
        let config = self.config.clone();
        channel.say(&ToChannel::Start { v: CHAT_VERSION, account: "test".to_owned(), config, cursor: cursor.map(str::to_owned) });
        channel
    }
}

/// A running process of an account. It is killed when this is dropped.
pub struct Channel {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<FromChannel>,
    /// Lines that came while something else was waited for.
    waiting: Vec<FromChannel>,
}

impl Drop for Channel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Channel {
    /// Says a line. A process that is gone hears nothing.
    ///
    /// # Panics
    /// When it cannot be written in JSON.
    pub fn say(&mut self, line: &ToChannel) {
        let text = serde_json::to_string(line).expect("a line") + "\n";
        if let Some(input) = &mut self.input {
            let _ = input.write_all(text.as_bytes());
        }
    }

    /// Waits for a line that `choose` takes; the others are kept for later.
    ///
    /// # Panics
    /// None comes, or the process ends.
    #[track_caller]
    pub fn expect<T>(&mut self, what: &str, mut choose: impl FnMut(&FromChannel) -> Option<T>) -> T {
        let begun = Instant::now();
        if let Some((at, found)) = self.waiting.iter().enumerate().find_map(|(at, line)| choose(line).map(|found| (at, found))) {
            self.waiting.remove(at);
            return found;
        }
        loop {
            match self.lines.recv_timeout(PATIENCE.saturating_sub(begun.elapsed())) {
                Ok(line) => match choose(&line) {
                    Some(found) => return found,
                    None => self.waiting.push(line),
                },
                Err(RecvTimeoutError::Timeout) => panic!("{what} did not come; what came: {:#?}", self.waiting),
                Err(RecvTimeoutError::Disconnected) => panic!("{what} did not come before the end; what came: {:#?}", self.waiting),
            }
        }
    }

    /// Waits until it is ready: the account's id on the network.
    #[track_caller]
    pub fn ready(&mut self) -> String {
        self.expect("ready", |line| if let FromChannel::Ready { me, .. } = line { Some(me.id.clone()) } else { None })
    }

    /// Waits until it is ready, or has ended before it was: which of both.
    pub fn is_ready(&mut self) -> bool {
        let begun = Instant::now();
        while let Ok(line) = self.lines.recv_timeout(PATIENCE.saturating_sub(begun.elapsed())) {
            let is_it = matches!(line, FromChannel::Ready { .. });
            self.waiting.push(line);
            if is_it {
                return true;
            }
        }
        false
    }

    /// Waits for some health.
    #[track_caller]
    pub fn health(&mut self, wanted: Health) -> String {
        self.expect("health", |line| match line {
            FromChannel::Health { state, message } if *state == wanted => Some(message.clone()),
            _ => None,
        })
    }

    /// Waits for the next report: number, cursor, what happened. It is not acknowledged.
    #[track_caller]
    pub fn report(&mut self) -> (u64, Option<String>, Heard) {
        self.expect("a report", |line| match line {
            FromChannel::Report { seq, cursor, event } => Some((*seq, cursor.clone(), (**event).clone())),
            _ => None,
        })
    }

    /// Waits for the next report and acknowledges it.
    #[track_caller]
    pub fn hear(&mut self) -> Heard {
        let (seq, _, heard) = self.report();
        self.say(&ToChannel::Ack { seq });
        heard
    }

    /// Asks for a delivery; the answer is waited for by [`Self::delivered`] or [`Self::failed`].
    pub fn deliver(&mut self, id: &str, chat: &str, thread: Option<&str>, act: Act) {
        let to = Address { chat: chat.to_owned(), thread: thread.map(str::to_owned) };
        self.say(&ToChannel::Deliver(Delivery { id: id.to_owned(), attempt: 1, to, act }));
    }

    /// Sends a text and waits for its messages.
    #[track_caller]
    pub fn send(&mut self, id: &str, chat: &str, text: &str) -> Vec<String> {
        self.deliver(id, chat, None, text_of(text));
        self.delivered(id).0
    }

    /// Waits for a delivery to have been taken: the messages, and whether it was answered from the note.
    #[track_caller]
    pub fn delivered(&mut self, wanted: &str) -> (Vec<String>, bool) {
        self.expect("delivered", |line| match line {
            FromChannel::Delivered { id, messages, again } if id == wanted => Some((messages.clone(), *again)),
            FromChannel::Failed { id, why, message, .. } if id == wanted => panic!("{wanted} failed: {why:?} {message}"),
            _ => None,
        })
    }

    /// Waits for a delivery to fail: why, with what words, and how many milliseconds to wait.
    #[track_caller]
    pub fn failed(&mut self, wanted: &str) -> (Failing, String, Option<u64>) {
        self.expect("failed", |line| match line {
            FromChannel::Failed { id, why, message, after_ms } if id == wanted => Some((*why, message.clone(), *after_ms)),
            FromChannel::Delivered { id, messages, .. } if id == wanted => panic!("{wanted} was taken as {messages:?}"),
            _ => None,
        })
    }

    /// Hands a file over in pieces, for a delivery that names it.
    #[must_use]
    pub fn file(&mut self, id: &str, name: &str, mime: &str, bytes: &[u8]) -> Attachment {
        let pieces: Vec<&[u8]> = if bytes.is_empty() { vec![&[]] } else { bytes.chunks(CHAT_PIECE_BYTES_MAX).collect() };
        for (n, piece) in pieces.iter().enumerate() {
            let last = n + 1 == pieces.len();
            self.say(&ToChannel::Piece(Piece { id: id.to_owned(), data: STANDARD.encode(piece), last }));
        }
        Attachment { id: id.to_owned(), name: name.to_owned(), mime: mime.to_owned(), size: Some(bytes.len() as u64) }
    }

    /// Brings a file that a message named.
    ///
    /// # Errors
    /// What the channel says instead.
    ///
    /// # Panics
    /// A piece is not in base64 or too large.
    #[track_caller]
    pub fn fetch(&mut self, wanted: &str, max: u64) -> Result<Vec<u8>, String> {
        self.say(&ToChannel::Fetch { id: wanted.to_owned(), max });
        let mut bytes = Vec::new();
        loop {
            let piece = self.expect("a piece", |line| match line {
                FromChannel::Piece(piece) if piece.id == wanted => Some(Ok(piece.clone())),
                FromChannel::NoFile { id, message } if id == wanted => Some(Err(message.clone())),
                _ => None,
            })?;
            let data = STANDARD.decode(&piece.data).expect("base64");
            assert!(data.len() <= CHAT_PIECE_BYTES_MAX, "a piece of {} bytes", data.len());
            bytes.extend_from_slice(&data);
            if piece.last {
                return Ok(bytes);
            }
        }
    }

    /// Hands a webhook over; its answer is waited for by [`Self::answer`].
    pub fn webhook(&mut self, id: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let (method, path) = (method.to_owned(), path.to_owned());
        self.say(&ToChannel::Webhook { id: id.to_owned(), method, path, headers, body: STANDARD.encode(body) });
    }

    /// Waits for the answer to a webhook: status and body.
    ///
    /// # Panics
    /// The body is not in base64.
    #[track_caller]
    pub fn answer(&mut self, wanted: &str) -> (u16, Vec<u8>) {
        self.expect("an answer", |line| match line {
            FromChannel::WebhookAnswer { id, status, body, .. } if id == wanted => Some((*status, STANDARD.decode(body).expect("base64"))),
            _ => None,
        })
    }

    /// Waits for the direct chat with somebody.
    ///
    /// # Errors
    /// What the channel says instead.
    #[track_caller]
    pub fn open_dm(&mut self, handle: &str) -> Result<String, String> {
        self.say(&ToChannel::OpenDm { id: format!("dm {handle}"), handle: handle.to_owned() });
        self.expect("a direct chat", |line| match line {
            FromChannel::Dm { chat, error, .. } => {
                Some(chat.as_ref().map(|c| c.id.clone()).ok_or_else(|| error.clone().unwrap_or_default()))
            }
            _ => None,
        })
    }

    /// What was said and not waited for, after everything so far was taken in.
    #[must_use]
    pub fn rest(&mut self) -> &[FromChannel] {
        self.waiting.extend(self.lines.try_iter());
        &self.waiting
    }

    /// Waits until the process ends by itself, as one that was told to die does.
    ///
    /// # Panics
    /// It does not.
    #[track_caller]
    pub fn ends(mut self) -> Option<i32> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("wait for the program") {
                return status.code();
            }
            assert!(begun.elapsed() < PATIENCE, "the program did not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Asks it to end, and waits until it has.
    #[track_caller]
    pub fn stop(mut self) -> Option<i32> {
        self.say(&ToChannel::Stop);
        self.ends()
    }

    /// Kills it at once.
    pub fn kill(self) {}
}

/// Waits until a platform has seen something of which nobody is told.
///
/// # Panics
/// It has not.
#[track_caller]
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "{what}: it never came to be so");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A message of text alone.
#[must_use]
pub fn text_of(text: &str) -> Act {
    Act::Send { text: text.to_owned(), files: Vec::new(), reply_to: None, buttons: Vec::new() }
}

/// A message of text with buttons.
#[must_use]
pub fn buttons_of(text: &str, buttons: &[(&str, &str)]) -> Act {
    let button = |(label, value): &(&str, &str)| Button { label: (*label).to_owned(), value: (*value).to_owned() };
    Act::Send { text: text.to_owned(), files: Vec::new(), reply_to: None, buttons: buttons.iter().map(button).collect() }
}
