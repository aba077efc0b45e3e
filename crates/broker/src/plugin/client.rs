//! The host's end of one program that speaks MCP.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::Code;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::content::{self, complaint};
use super::line::Lines;
use super::process::{Input, Output};
use super::rpc::{self, Message, RpcError};
use crate::CallFailure;

/// The largest result of a tool, in bytes.
pub const RESULT_BYTES_MAX: usize = 1 << 20;
/// Tools of one program.
pub const LISTED_MAX: usize = 256;
/// Calls under way in one program; further ones wait.
const CALLS_MAX: usize = 16;
/// Calls that wait; one more is refused.
const WAITING_MAX: usize = 64;
/// Lines that wait for a program that does not read; whoever writes one more waits.
const LINES_OUT_MAX: usize = 64;
/// Pages of a list of tools.
const PAGES_MAX: usize = 64;
/// Bytes of a list of tools, all pages together.
const LIST_BYTES_MAX: usize = 4 << 20;
/// Lines that are no message and that are overlooked while nobody waits for an answer.
const NOISE_MAX: usize = 1_000;
/// The revision of the protocol that is offered. Whatever revision a program answers with, the parts used here are the same.
const PROTOCOL: &str = "2025-06-18";
/// Revisions from this one on are understood: they are dates.
const PROTOCOL_MIN: &str = "2024-11-05";

/// What a program says that it offers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Listed {
    /// The tool's name.
    pub name: String,
    /// What it does.
    #[serde(default)]
    pub description: Option<String>,
    /// The schema of its arguments, as the program gives it.
    #[serde(default, rename = "inputSchema", alias = "input_schema")]
    pub input_schema: Value,
}

/// A program and its tools.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Listing {
    /// The program's name for itself.
    pub server: String,
    /// Its version.
    pub version: String,
    /// Its tools, in its order.
    pub tools: Vec<Listed>,
}

/// Why a program is of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// It ended, or was ended.
    #[error("the program ended")]
    Ended,
    /// What it said is not the protocol.
    #[error("the program does not speak the protocol: {0}")]
    Protocol(String),
    /// It answered with an error.
    #[error("the program answers: {0}")]
    Refused(String),
    /// It did not answer in time.
    #[error("the program did not answer in time")]
    Slow,
}

impl ClientError {
    /// As the failure of a call.
    #[must_use]
    pub fn call_failure(&self) -> CallFailure {
        match self {
            Self::Ended => CallFailure::new(Code::PluginUnavailable, "the plugin ended during the call"),
            Self::Protocol(why) => content::wrong(why),
            Self::Refused(said) => CallFailure::new(Code::HandlerError, complaint(said)),
            Self::Slow => CallFailure::new(Code::PluginTimeout, "the plugin did not answer in time"),
        }
    }
}

type Reply = oneshot::Sender<Result<Box<RawValue>, CallEnd>>;

/// How a request ended without a result.
enum CallEnd {
    Error(RpcError),
    Client(ClientError),
}

/// A program that runs and speaks MCP. A cheap handle.
#[derive(Clone)]
pub struct Client {
    parts: Arc<Parts>,
}

struct Parts {
    out: mpsc::Sender<Vec<u8>>,
    /// Held for a few instructions, never across an await.
    state: Mutex<State>,
    calls: Semaphore,
    waiting: Semaphore,
    /// Fires once the program is of no use any more.
    ended: CancellationToken,
    /// The program says that its tools are others now.
    changed: Notify,
}

#[derive(Default)]
struct State {
    /// The next request's identity.
    next: u64,
    open: HashMap<u64, Reply>,
    end: Option<ClientError>,
    noise: usize,
}

impl Client {
    /// Begins to speak with a program. The tasks are owned by `tasks` and end with `cancel` or with the program.
    #[must_use]
    pub fn open(mut input: Box<dyn Input>, mut output: Box<dyn Output>, tasks: &TaskTracker, cancel: &CancellationToken) -> Self {
        let (out, mut lines) = mpsc::channel::<Vec<u8>>(LINES_OUT_MAX);
        let parts = Arc::new(Parts {
            out,
            state: Mutex::default(),
            calls: Semaphore::new(CALLS_MAX),
            waiting: Semaphore::new(WAITING_MAX),
            ended: cancel.child_token(),
            changed: Notify::new(),
        });
        let ended = parts.ended.clone();
        tasks.spawn(async move {
            let carry = async {
                while let Some(line) = lines.recv().await {
                    if input.write(&line).await.is_err() {
                        return;
                    }
                }
            };
            tokio::select! {
                () = ended.cancelled() => {}
                () = carry => {}
            }
        });
        let reader = Arc::clone(&parts);
        tasks.spawn(async move {
            let why = tokio::select! {
                () = reader.ended.cancelled() => ClientError::Ended,
                why = reader.read(&mut *output) => why,
            };
            reader.fail(&why);
        });
        Self { parts }
    }

    /// Agrees on the protocol and lists the tools.
    ///
    /// # Errors
    /// The program ended, is too slow, or does not speak the protocol.
    pub async fn begin(&self, limit: Duration) -> Result<Listing, ClientError> {
        tokio::time::timeout(limit, self.introduce()).await.unwrap_or(Err(ClientError::Slow))
    }

    async fn introduce(&self) -> Result<Listing, ClientError> {
        let params = json!({
            "protocolVersion": PROTOCOL,
            "capabilities": {},
            "clientInfo": { "name": "lazaret", "version": env!("CARGO_PKG_VERSION") },
        });
        let welcome: Welcome = parse(&self.ask("initialize", &params).await?)?;
        if !is_revision(&welcome.protocol_version) || welcome.protocol_version.as_str() < PROTOCOL_MIN {
            return Err(ClientError::Protocol("it speaks a revision that is not known".to_owned()));
        }
        self.say(rpc::notification("notifications/initialized", &json!({}))).await?;
        let tools = if welcome.capabilities.get("tools").is_some() { self.list().await? } else { Vec::new() };
        let short = |text: String| content::complaint(&text).chars().take(100).collect();
        Ok(Listing { server: short(welcome.server_info.name), version: short(welcome.server_info.version), tools })
    }

    /// Its tools, all pages of them.
    ///
    /// # Errors
    /// As [`Client::begin`].
    pub async fn list(&self) -> Result<Vec<Listed>, ClientError> {
        let (mut tools, mut cursor, mut bytes): (Vec<Listed>, Option<String>, usize) = (Vec::new(), None, 0);
        for _ in 0..PAGES_MAX {
            let params = cursor.as_ref().map_or_else(|| json!({}), |cursor| json!({ "cursor": cursor }));
            let raw = self.ask("tools/list", &params).await?;
            bytes += raw.get().len();
            let page: Page = parse(&raw)?;
            tools.extend(page.tools);
            if bytes > LIST_BYTES_MAX || tools.len() > LISTED_MAX {
                return Err(ClientError::Protocol(format!("it lists more than {LISTED_MAX} tools, or too much about them")));
            }
            match page.next_cursor {
                Some(next) if !next.is_empty() => cursor = Some(next),
                _ => return Ok(tools),
            }
        }
        Err(ClientError::Protocol("its list of tools has no end".to_owned()))
    }

    /// Calls a tool. Dropping the future gives the call up and tells the program so.
    ///
    /// # Errors
    /// `PLUGIN_UNAVAILABLE` when it ended or too many calls wait, `PLUGIN_ERROR` when its answer is none, `HANDLER_ERROR`
    /// when the tool failed.
    pub async fn call(&self, tool: &str, arguments: &Value, meta: &Value) -> Result<Value, CallFailure> {
        let _turn = match self.parts.calls.try_acquire() {
            Ok(turn) => turn,
            Err(_) => {
                let full = || CallFailure::new(Code::PluginUnavailable, "too many calls wait for the plugin");
                let _waiting = self.parts.waiting.try_acquire().map_err(|_| full())?;
                tokio::select! {
                    () = self.parts.ended.cancelled() => return Err(self.why().call_failure()),
                    turn = self.parts.calls.acquire() => turn.map_err(|_| full())?,
                }
            }
        };
        let params = json!({ "name": tool, "arguments": arguments, "_meta": meta });
        match self.request("tools/call", &params).await {
            Ok(raw) => content::value_of(&raw),
            Err(CallEnd::Client(error)) => Err(error.call_failure()),
            Err(CallEnd::Error(error)) if error.code == rpc::METHOD_NOT_FOUND => Err(content::wrong("it does not know the call")),
            Err(CallEnd::Error(error)) => Err(CallFailure::new(Code::HandlerError, complaint(&error.message))),
        }
    }

    /// Whether the program can still be asked.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.parts.ended.is_cancelled()
    }

    /// Waits until the program cannot be asked any more.
    pub async fn ended(&self) {
        self.parts.ended.cancelled().await;
    }

    /// Waits until the program says that its tools are others now.
    pub async fn changed(&self) {
        self.parts.changed.notified().await;
    }

    /// Why the program cannot be asked any more.
    #[must_use]
    pub fn why(&self) -> ClientError {
        self.parts.state().end.clone().unwrap_or(ClientError::Ended)
    }

    /// Gives the program up: what is under way fails with this.
    pub fn give_up(&self, why: &ClientError) {
        self.parts.fail(why);
    }

    async fn ask(&self, method: &str, params: &Value) -> Result<Box<RawValue>, ClientError> {
        self.request(method, params).await.map_err(|end| match end {
            CallEnd::Client(error) => error,
            CallEnd::Error(error) if error.code == rpc::INVALID_PARAMS => ClientError::Protocol(complaint(&error.message)),
            CallEnd::Error(error) => ClientError::Refused(complaint(&error.message)),
        })
    }

    async fn request(&self, method: &str, params: &Value) -> Result<Box<RawValue>, CallEnd> {
        let (reply, answer) = oneshot::channel();
        let id = self.parts.enter(reply).map_err(CallEnd::Client)?;
        let mut open = Open { parts: &self.parts, id, said: false };
        self.say(rpc::request(id, method, params)).await.map_err(CallEnd::Client)?;
        open.said = method == "tools/call";
        answer.await.unwrap_or_else(|_| Err(CallEnd::Client(self.why())))
    }

    async fn say(&self, line: Vec<u8>) -> Result<(), ClientError> {
        tokio::select! {
            () = self.parts.ended.cancelled() => Err(self.why()),
            sent = self.parts.out.send(line) => sent.map_err(|_| self.why()),
        }
    }
}

/// A request under way. When it is dropped before its answer came, the program hears that nobody waits any more.
struct Open<'a> {
    parts: &'a Parts,
    id: u64,
    said: bool,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        let was_open = self.parts.state().open.remove(&self.id).is_some();
        if was_open && self.said && !self.parts.ended.is_cancelled() {
            let params = json!({ "requestId": self.id, "reason": "nobody waits any more" });
            // One that does not read its input does not hear it, and is given up soon.
            let _ = self.parts.out.try_send(rpc::notification("notifications/cancelled", &params));
        }
    }
}

impl Parts {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, reply: Reply) -> Result<u64, ClientError> {
        let mut state = self.state();
        if let Some(end) = &state.end {
            return Err(end.clone());
        }
        let id = state.next;
        state.next += 1;
        state.open.insert(id, reply);
        Ok(id)
    }

    /// Reads until the program is of no use any more; gives why.
    async fn read(&self, output: &mut dyn Output) -> ClientError {
        let mut lines = Lines::default();
        loop {
            loop {
                match lines.next() {
                    Ok(Some(line)) => {
                        if let Err(why) = self.take(&line) {
                            return why;
                        }
                    }
                    Ok(None) => break,
                    Err(_) => return ClientError::Protocol("it wrote a line of more than 4 MiB".to_owned()),
                }
            }
            match output.read().await {
                Ok(Some(piece)) => lines.push(&piece),
                Ok(None) | Err(_) => return ClientError::Ended,
            }
        }
    }

    fn take(&self, line: &[u8]) -> Result<(), ClientError> {
        let Some(messages) = rpc::read(line) else {
            return self.nonsense("it wrote a line that is no message on its standard output");
        };
        for message in messages {
            match message {
                Message::Answer { id, outcome } => self.answer(id, outcome)?,
                Message::Request { id, method } => {
                    // A program that asks faster than it reads hears nothing.
                    let _ = self.out.try_send(rpc::reply(&id, &method));
                }
                Message::Notification { method } if method == "notifications/tools/list_changed" => self.changed.notify_one(),
                Message::Notification { .. } => {}
            }
        }
        Ok(())
    }

    fn answer(&self, id: Option<u64>, outcome: Result<Box<RawValue>, RpcError>) -> Result<(), ClientError> {
        let mut state = self.state();
        let Some(id) = id.filter(|id| *id < state.next) else {
            drop(state);
            return self.nonsense("it answered a question that nobody asked");
        };
        // Without an entry the call was given up, and nobody waits.
        let reply = state.open.remove(&id);
        drop(state);
        if let Some(reply) = reply {
            let _ = reply.send(outcome.map_err(CallEnd::Error));
        }
        Ok(())
    }

    /// The program said something that is none of the protocol. Whose answer it spoils cannot be known: all that are under
    /// way fail, and it may go on.
    fn nonsense(&self, why: &str) -> Result<(), ClientError> {
        let mut state = self.state();
        state.noise += 1;
        let (over, open) = (state.noise > NOISE_MAX, std::mem::take(&mut state.open));
        drop(state);
        for reply in open.into_values() {
            let _ = reply.send(Err(CallEnd::Client(ClientError::Protocol(why.to_owned()))));
        }
        if over { Err(ClientError::Protocol(why.to_owned())) } else { Ok(()) }
    }

    fn fail(&self, why: &ClientError) {
        let mut state = self.state();
        state.end.get_or_insert_with(|| why.clone());
        let open = std::mem::take(&mut state.open);
        drop(state);
        self.ended.cancel();
        for reply in open.into_values() {
            let _ = reply.send(Err(CallEnd::Client(why.clone())));
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Welcome {
    protocol_version: String,
    #[serde(default)]
    capabilities: Value,
    #[serde(default)]
    server_info: ServerInfo,
}

#[derive(Default, Deserialize)]
struct ServerInfo {
    #[serde(default)]
    name: String,
    #[serde(default)]
    version: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    tools: Vec<Listed>,
    #[serde(default)]
    next_cursor: Option<String>,
}

fn parse<T: serde::de::DeserializeOwned>(raw: &RawValue) -> Result<T, ClientError> {
    serde_json::from_str(raw.get()).map_err(|_| ClientError::Protocol("an answer has not the form that it should have".to_owned()))
}

/// Whether a revision has the form of one: `2025-06-18`.
fn is_revision(text: &str) -> bool {
    let shape = |(at, c): (usize, u8)| if at == 4 || at == 7 { c == b'-' } else { c.is_ascii_digit() };
    text.len() == 10 && text.bytes().enumerate().all(shape)
}
