//! A chat network for tests: a server on loopback that a scripted channel program connects to. It keeps what was said and what became
//! visible, repeats itself, refuses, and hangs up when it is told to.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// The scripted channel program, in Python.
pub const PROGRAM: &str = include_str!("program.py");
/// What the lab wants to see of a channel.
pub const TOKEN: &str = "lab-canary-token-0123456789";

/// A refusal that is not told: whoever asked waits for as long as the connection stands.
pub const SILENCE: &str = "silence";

/// What became visible on the network.
#[derive(Debug, Clone, PartialEq)]
pub struct Effect {
    /// The delivery's identity.
    pub id: String,
    /// The platform's id of the message.
    pub message: String,
    /// The platform's id of the chat.
    pub chat: String,
    /// The thread.
    pub thread: Option<String>,
    /// What it is.
    pub act: Value,
}

impl Effect {
    /// The text of it; empty where it has none.
    #[must_use]
    pub fn text(&self) -> &str {
        self.act["text"].as_str().unwrap_or_default()
    }

    /// What its button of this number says when it is pressed.
    #[must_use]
    pub fn button(&self, n: usize) -> Option<String> {
        self.act["buttons"][n]["value"].as_str().map(str::to_owned)
    }
}

/// A message as a channel reports it. A chat is a group where its id begins with `g`.
#[must_use]
pub fn said(id: &str, chat: &str, sender: &str, text: &str) -> Value {
    let group = chat.starts_with('g');
    json!({ "kind": "message", "id": id, "chat": { "id": chat, "name": chat, "group": group },
        "sender": { "id": sender, "name": format!("Name of {sender}") }, "text": text, "at_ms": 1_800_000_000_000_u64 })
}

/// A pressed button.
#[must_use]
pub fn pressed(id: &str, chat: &str, sender: &str, value: &str) -> Value {
    let mut heard = said(id, chat, sender, "");
    heard["kind"] = json!("button");
    heard["value"] = json!(value);
    heard
}

#[derive(Default)]
struct State {
    /// What was said, in order; each is told to every connection that has not seen it.
    said: Vec<Value>,
    effects: Vec<Effect>,
    /// How often each delivery was asked for.
    asked: BTreeMap<String, u32>,
    refusals: VecDeque<Value>,
    typing: Vec<bool>,
    connections: Vec<TcpStream>,
    /// How many connections there were. Only the youngest is told something: one whose channel was killed may not have ended yet.
    count: u64,
    abilities: Value,
    /// Whether everything is told twice.
    is_twice: bool,
    is_over: bool,
}

/// The network.
pub struct LabNetwork {
    port: u16,
    state: Arc<(Mutex<State>, Condvar)>,
}

fn lock(state: &(Mutex<State>, Condvar)) -> MutexGuard<'_, State> {
    state.0.lock().unwrap_or_else(PoisonError::into_inner)
}

impl LabNetwork {
    /// A network on a free port of loopback.
    ///
    /// # Errors
    /// No port can be had.
    pub fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let abilities = json!({ "text_max": 400, "file_max": 1 << 20, "threads": true, "edit": true, "react": true, "buttons": true,
            "typing": true, "open_dm": true, "idempotent": true, "per_minute": 600 });
        let state: Arc<(Mutex<State>, Condvar)> = Arc::new((Mutex::new(State { abilities, ..State::default() }), Condvar::new()));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { continue };
                if lock(&shared).is_over {
                    return;
                }
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || serve(&shared, stream));
            }
        });
        Ok(Self { port, state })
    }

    /// What a channel is told of where it is.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Puts the scripted program into a home, as somebody else's program of the name `lab`.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn install(home: &Path) -> std::io::Result<()> {
        use std::os::unix::fs::PermissionsExt;
        let dir = home.join("channels").join("lab");
        std::fs::create_dir_all(&dir)?;
        let program = dir.join("channel");
        std::fs::write(&program, PROGRAM)?;
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))
    }

    /// Something happens on the network.
    pub fn say(&self, heard: Value) {
        lock(&self.state).said.push(json!({ "heard": heard }));
        self.state.1.notify_all();
    }

    /// A line that is none of the protocol's, once.
    pub fn say_raw(&self, raw: &str) {
        lock(&self.state).said.push(json!({ "raw": raw }));
        self.state.1.notify_all();
    }

    /// Everything is told twice from now on.
    pub fn repeat(&self) {
        lock(&self.state).is_twice = true;
    }

    /// Changes what the network can do, for the next connection.
    pub fn able(&self, name: &str, value: Value) {
        lock(&self.state).abilities[name] = value;
    }

    /// The next delivery is refused: `why` as the protocol has it, or [`SILENCE`].
    pub fn refuse(&self, why: &str, after_ms: Option<u64>) {
        lock(&self.state).refusals.push_back(json!({ "why": why, "after_ms": after_ms }));
    }

    /// Hangs up on everybody.
    pub fn cut(&self) {
        for stream in lock(&self.state).connections.drain(..) {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }

    /// What became visible so far.
    #[must_use]
    pub fn effects(&self) -> Vec<Effect> {
        lock(&self.state).effects.clone()
    }

    /// How often each delivery was asked for.
    #[must_use]
    pub fn asked(&self) -> BTreeMap<String, u32> {
        lock(&self.state).asked.clone()
    }

    /// Whether somebody was shown writing, each time that it was said.
    #[must_use]
    pub fn typing(&self) -> Vec<bool> {
        lock(&self.state).typing.clone()
    }

    /// Waits until what became visible is so.
    ///
    /// # Panics
    /// It is not within the time.
    #[track_caller]
    pub fn wait(&self, patience: Duration, is_so: impl Fn(&[Effect]) -> bool) -> Vec<Effect> {
        let end = Instant::now() + patience;
        let mut state = lock(&self.state);
        loop {
            if is_so(&state.effects) {
                return state.effects.clone();
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "it never came to be so: {:#?}", state.effects);
            state = self.state.1.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for LabNetwork {
    fn drop(&mut self) {
        lock(&self.state).is_over = true;
        self.state.1.notify_all();
        self.cut();
        // Wakes the listener, which sees that it is over.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// The end of a connection on which what happens and what is answered are told; each line whole.
#[derive(Clone)]
struct Teller(Arc<Mutex<TcpStream>>);

impl Teller {
    /// Says whether it could be told.
    fn tell(&self, line: &Value) -> bool {
        let line = format!("{line}\n");
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write_all(line.as_bytes()).is_ok()
    }
}

fn serve(state: &Arc<(Mutex<State>, Condvar)>, stream: TcpStream) {
    let (Ok(read), Ok(kept)) = (stream.try_clone(), stream.try_clone()) else { return };
    let teller = Teller(Arc::new(Mutex::new(stream)));
    let mut lines = BufReader::new(read).lines();
    let Some(Ok(hello)) = lines.next() else { return };
    let hello: Value = serde_json::from_str(&hello).unwrap_or_default();
    if hello["token"] != TOKEN {
        teller.tell(&json!({ "refused": "the token is not accepted" }));
        // Until the channel goes.
        lines.for_each(drop);
        return;
    }
    let mut from: usize = hello["hello"].as_str().and_then(|n| n.parse().ok()).unwrap_or(0);
    let (abilities, own) = {
        let mut state = lock(state);
        state.connections.push(kept);
        state.count += 1;
        (state.abilities.clone(), state.count)
    };
    // Those before it end.
    state.1.notify_all();
    if !teller.tell(&json!({ "welcome": abilities })) {
        return;
    }
    let telling = Arc::clone(state);
    let out = teller.clone();
    std::thread::spawn(move || {
        loop {
            let mut held = lock(&telling);
            while held.said.len() <= from && !held.is_over && held.count == own {
                held = telling.1.wait(held).unwrap_or_else(PoisonError::into_inner);
            }
            if held.is_over || held.count != own {
                return;
            }
            let mut line = held.said[from].clone();
            let times = if held.is_twice { 2 } else { 1 };
            if line.get("raw").is_some() {
                // Told once: a connection that is made anew goes on behind it.
                held.said[from] = json!({});
            }
            drop(held);
            from += 1;
            line["cursor"] = json!(from.to_string());
            for _ in 0..times {
                if !out.tell(&line) {
                    return;
                }
            }
        }
    });
    for line in lines.map_while(Result::ok) {
        let line: Value = serde_json::from_str(&line).unwrap_or_default();
        if let Some(answer) = answer(state, &line)
            && !teller.tell(&answer)
        {
            return;
        }
    }
}

fn answer(state: &Arc<(Mutex<State>, Condvar)>, line: &Value) -> Option<Value> {
    let mut held = lock(state);
    if let Some(on) = line["typing"].as_bool() {
        held.typing.push(on);
        return None;
    }
    if let Some(id) = line.get("open") {
        let handle = line["handle"].as_str().unwrap_or_default();
        return Some(json!({ "dm": id, "chat": { "id": format!("dm-{handle}"), "name": "", "group": false } }));
    }
    let id = line["send"].as_str()?.to_owned();
    *held.asked.entry(id.clone()).or_default() += 1;
    if let Some(known) = held.effects.iter().find(|effect| effect.id == id) {
        return Some(json!({ "sent": id, "messages": [known.message], "again": true }));
    }
    if let Some(refusal) = held.refusals.pop_front() {
        let failed = json!({ "failed": id, "why": refusal["why"], "after_ms": refusal["after_ms"] });
        return Some(failed).filter(|_| refusal["why"] != SILENCE);
    }
    let message = format!("p{}", held.effects.len() + 1);
    let effect = Effect {
        id: id.clone(),
        message: message.clone(),
        chat: line["to"]["chat"].as_str().unwrap_or_default().to_owned(),
        thread: line["to"]["thread"].as_str().map(str::to_owned),
        act: line["act"].clone(),
    };
    held.effects.push(effect);
    drop(held);
    state.1.notify_all();
    Some(json!({ "sent": id, "messages": [message] }))
}
