//! signal-cli's daemon, JSON-RPC over TCP, after its manual page and published source.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::party::{Party, SentFile, Standing, fresh};
use super::signed::Posted;

/// The account's number.
pub const NUMBER: &str = "+15550001";
/// Its service id.
pub const ME: &str = "11111111-1111-4111-8111-111111111111";

/// How long a connection may take to come.
const PATIENCE: Duration = Duration::from_secs(300);
/// How soon a connection is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

#[derive(Default)]
struct State {
    sent: Vec<Value>,
    asked: Vec<String>,
    clients: Vec<TcpStream>,
    /// How many connections there were, and which of them wants to be told: the number of the last that did.
    connections: u64,
    subscribed: u64,
    /// What the next request to send fails with.
    fail: Option<Failure>,
    now: i64,
}

/// A way to fail, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// An error with this code; nothing is done.
    Code(i64),
    /// All is done, and the connection closes without an answer.
    DropAfter,
    /// Nobody of the chat is on Signal.
    Unregistered,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    over: AtomicBool,
}

/// The daemon. It ends when it is dropped.
pub struct Signal {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Signal {
    /// Starts it on a free port of loopback.
    ///
    /// # Panics
    /// When loopback has no port left.
    #[must_use]
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::<Shared>::default();
        let served = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if served.over.load(Ordering::SeqCst) {
                    return;
                }
                let served = Arc::clone(&served);
                std::thread::spawn(move || serve(&stream, &served));
            }
        });
        Self { address, shared }
    }

    /// What is configured to reach it.
    #[must_use]
    pub fn config(&self) -> Value {
        json!({"account": NUMBER, "base_url": format!("tcp://{}", self.address)})
    }

    /// What was sent.
    #[must_use]
    pub fn sent(&self) -> Vec<Value> {
        self.lock().sent.clone()
    }

    /// Lets the next request to send fail.
    pub fn fail(&self, failure: Failure) {
        self.lock().fail = Some(failure);
    }

    /// Waits until whoever connected last subscribed, and hands an envelope to all: one that a killed program left does not count.
    ///
    /// # Panics
    /// It does not within the time.
    pub fn receive(&self, envelope: &Value) {
        let begun = Instant::now();
        let mut state = self.lock();
        while state.connections == 0 || state.subscribed != state.connections || !state.clients.last().is_some_and(stands) {
            assert!(begun.elapsed() < PATIENCE, "nobody subscribed: {:?}", state.asked);
            // The end of a killed program stands in its connection before anybody here has read it.
            let waited = self.shared.changed.wait_timeout(state, LOOK_AGAIN).unwrap_or_else(PoisonError::into_inner);
            state = waited.0;
        }
        let params = json!({"subscription": 0, "result": {"account": NUMBER, "envelope": envelope}});
        let line = json!({"jsonrpc": "2.0", "method": "receive", "params": params}).to_string() + "\n";
        state.clients.retain_mut(|client| client.write_all(line.as_bytes()).is_ok());
    }

    /// Closes all connections.
    pub fn disconnect(&self) {
        let mut state = self.lock();
        // Only the next connection counts.
        state.subscribed = 0;
        for client in state.clients.drain(..) {
            let _ = client.shutdown(std::net::Shutdown::Both);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Signal {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        self.disconnect();
        // The listener wakes for it and ends.
        let _ = TcpStream::connect(self.address);
    }
}

/// Whether all that a connection's other end said was read, and it did not end.
fn stands(client: &TcpStream) -> bool {
    let mut byte = [0];
    let seen = rustix::net::recv(client, &mut byte, rustix::net::RecvFlags::PEEK | rustix::net::RecvFlags::DONTWAIT);
    seen.is_err_and(|why| why == rustix::io::Errno::AGAIN)
}

fn serve(stream: &TcpStream, shared: &Shared) {
    let lock = || shared.state.lock().unwrap_or_else(PoisonError::into_inner);
    let Ok(kept) = stream.try_clone() else { return };
    let number = {
        let mut state = lock();
        state.clients.push(kept);
        state.connections += 1;
        state.connections
    };
    let mut writer = stream;
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        let Ok(asked) = serde_json::from_str::<Value>(&line) else { return };
        let mut state = lock();
        let method = asked["method"].as_str().unwrap_or_default().to_owned();
        let answer = answer(&mut state, &method, &asked["params"]);
        if method == "subscribeReceive" {
            state.subscribed = number;
        }
        state.asked.push(method);
        shared.changed.notify_all();
        let line = match answer {
            Ok(result) => json!({"jsonrpc": "2.0", "id": asked["id"], "result": result}),
            Err(None) => {
                let _ = stream.shutdown(std::net::Shutdown::Both);
                break;
            }
            Err(Some(code)) => json!({"jsonrpc": "2.0", "id": asked["id"], "error": {"code": code, "message": "refused", "data": null}}),
        };
        if writer.write_all((line.to_string() + "\n").as_bytes()).is_err() {
            break;
        }
    }
    // Nobody listens there any more.
    let mut state = lock();
    if state.subscribed == number {
        state.subscribed = 0;
    }
}

fn answer(state: &mut State, method: &str, params: &Value) -> Result<Value, Option<i64>> {
    if params["account"] != NUMBER {
        return Err(Some(-1));
    }
    let recipients = params["recipient"].as_array().map(Vec::len).unwrap_or_default();
    let place = recipients == 1 || params["groupId"].as_str().is_some_and(|group| group == "g+/=");
    match method {
        "subscribeReceive" => Ok(json!(0)),
        "getUserStatus" => {
            let asked = params["recipient"][0].as_str().unwrap_or_default();
            let uuid = if asked == NUMBER { ME } else { "ann-uuid" };
            Ok(json!([{"recipient": asked, "number": asked, "uuid": uuid, "isRegistered": asked != "+10000000"}]))
        }
        "sendTyping" if place => Ok(json!({})),
        "getAttachment" if params["recipient"].is_string() || params["groupId"].is_string() => match params["id"].as_str() {
            Some("f.png") => Ok(json!({"data": STANDARD.encode("attachment")})),
            _ => Err(Some(-1)),
        },
        "send" | "sendReaction" if place => {
            let failure = state.fail.take();
            if let Some(Failure::Code(code)) = failure {
                return Err(Some(code));
            }
            let kind = if failure == Some(Failure::Unregistered) { "UNREGISTERED_FAILURE" } else { "SUCCESS" };
            let said = params["message"].as_str().is_some_and(|text| !text.is_empty())
                || params["attachments"].is_array()
                || params["emoji"].is_string();
            // A file is given by its content: a path would be one of the daemon's.
            let paths =
                params["attachments"].as_array().into_iter().flatten().any(|file| !file.as_str().unwrap_or_default().starts_with("data:"));
            if !said || paths || params["message"].as_str().is_some_and(|text| text.len() > 64 << 10) {
                return Err(Some(-1));
            }
            state.now += 1;
            if kind == "SUCCESS" {
                let mut kept = params.clone();
                kept["method"] = json!(method);
                state.sent.push(kept);
            }
            if failure == Some(Failure::DropAfter) {
                return Err(None);
            }
            Ok(json!({"timestamp": 1_700_000_000_000_i64 + state.now, "results": [{"recipientAddress": {"uuid": "x"}, "type": kind}]}))
        }
        _ => Err(Some(-32_601)),
    }
}

impl Signal {
    fn tells(&self, data: &Value) {
        let at = data["timestamp"].clone();
        self.receive(&json!({"source": "+15550002", "sourceNumber": "+15550002", "sourceUuid": "ann-uuid", "sourceName": "Ann",
            "timestamp": at, "dataMessage": data}));
    }
}

impl Party for Signal {
    fn network(&self) -> &'static str {
        "signal"
    }

    fn config(&self) -> Value {
        Self::config(self)
    }

    fn credentials(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    fn keeps(&self) -> bool {
        // The daemon hands a message over once, to whoever is connected.
        false
    }

    fn writes(&self, text: &str) -> Option<Posted> {
        self.tells(&json!({"timestamp": fresh(), "message": text}));
        None
    }

    fn sends(&self, text: &str) -> Option<SentFile> {
        let file = json!([{"id": "f.png", "contentType": "image/png", "size": 10}]);
        self.tells(&json!({"timestamp": fresh(), "message": text, "attachments": file}));
        Some(SentFile { posted: None, bytes: b"attachment" })
    }

    fn standing(&self) -> Vec<Standing> {
        let sent = self.sent();
        let mut all: Vec<Standing> = Vec::new();
        for (n, one) in sent.iter().filter(|one| one["method"] == "send").enumerate() {
            let files = one["attachments"].as_array().into_iter().flatten().filter_map(|file| {
                let (_, data) = file.as_str()?.split_once("base64,")?;
                STANDARD.decode(data).ok()
            });
            let stands = Standing { files: files.collect(), ..Standing::text((n + 1).to_string(), &one["message"]) };
            let edited = one["editTimestamp"].as_i64().and_then(|at| usize::try_from(at - 1_700_000_000_001).ok());
            match edited.and_then(|at| all.get_mut(at)) {
                Some(before) => before.text = stands.text,
                None => all.push(stands),
            }
        }
        all
    }

    fn was_seen_writing(&self) -> bool {
        self.lock().asked.iter().any(|method| method == "sendTyping")
    }
}
