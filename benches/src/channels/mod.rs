//! What chat networks cost: from a platform's request to the engine, messages that are noted and routed, and many chats that are silent.

pub(crate) mod program;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use testkit::model_server::{ModelServer, Rule, Say, Script};

use crate::daemon::{Connection, Daemon, memory_kib, ticks};
use crate::sample::{self, Times, ms};

/// Messages whose times are taken, with a live engine and with a sandbox that has to be started.
const WARM: usize = 210;
const COLD: usize = 45;
/// Turns of one chat, of which no more are taken in a minute, and the first of them, which do not count.
const CHAT_TURNS: usize = 18;
const FIRST_TURNS: usize = 3;
/// Messages that one account reports as fast as it may, and the chats that they come from.
const FLOOD: u64 = 20_000;
const FLOOD_CHATS: u64 = 500;
/// What is silent: chats, wirings and tasks.
const CHATS: usize = 100_000;
const WIRINGS: usize = 10_000;
const TASKS: usize = 5_000;
/// Agents that the wirings are of: one has at most a thousand destinations.
const AGENTS: usize = 20;
/// Clients that make them.
const CLIENTS: usize = 16;
/// How long the processor time of the daemon is counted while all is silent.
const SILENCE: Duration = Duration::from_secs(20);
/// How long anything may take to come before the bench fails.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn run() -> Result<String> {
    let dir = tempfile::Builder::new().prefix("lazaret-bench-").tempdir().context("failed to make a directory")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let rules = vec![Rule { contains: "hello".to_owned(), say: vec![Say::Text("hello".to_owned())] }];
    let server = runtime.block_on(ModelServer::start(Script { rules, ..Script::default() }));
    let url = server.url();
    let settings = [("providers.anthropic.base_url", url.as_str()), ("providers.anthropic.keyless", "true"), ("engine", "mini")];
    let daemon = Daemon::start_with(dir.path(), &settings)?;
    install(&daemon.home)?;
    let mut bench = Bench { asks: daemon.connect()?, daemon: &daemon, server: &server, last: 0 };
    let mut text = String::from("| | median ms | p99 ms |\n|---|---|---|\n");
    let mut row = |name: &str, samples: Vec<Duration>| {
        let times = Times::of(samples);
        text.push_str(&format!("| {name} | {} | {} |\n", ms(times.median()), ms(times.p99())));
    };
    bench.add("bench")?;
    bench.pair()?;
    row("request of a platform -> the live engine's request is at the model", bench.talks(WARM, false)?);
    row("the same, with a sandbox that is started for it", bench.talks(COLD, true)?);
    let rate = bench.flood()?;
    let (before, after, spent) = bench.silent()?;
    text.push_str(&format!(
        "\n| | |\n|---|---|\n| messages of one account noted, routed and acknowledged ({FLOOD_CHATS} chats, each kept for an agent) | {rate:.0}/s |\n| memory of the daemon before, and with {CHATS} chats, {WIRINGS} wirings and {TASKS} tasks | {} and {} MB |\n| processor time of the daemon in {} s with them | {} ms |\n\n{}.\n",
        before / 1024,
        after / 1024,
        SILENCE.as_secs(),
        spent * 10,
        sample::machine(),
    ));
    Ok(text)
}

/// Puts this program where the daemon finds the channel's.
fn install(home: &Path) -> Result<()> {
    let to = home.join("channels").join(program::NETWORK);
    std::fs::create_dir_all(&to).context("failed to make a directory")?;
    std::fs::copy(std::env::current_exe()?, to.join("channel")).context("failed to copy this program")?;
    Ok(())
}

struct Bench<'a> {
    daemon: &'a Daemon,
    server: &'a ModelServer,
    asks: Connection,
    last: u64,
}

impl Bench<'_> {
    fn until<T>(&mut self, what: &str, mut look: impl FnMut(&mut Self) -> Result<Option<T>>) -> Result<T> {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look(self)? {
                return Ok(found);
            }
            if Instant::now() > end {
                bail!("{what}: it did not come");
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn add(&mut self, name: &str) -> Result<()> {
        let form = json!({ "name": name, "network": program::NETWORK, "program": program::NETWORK, "config": {} });
        self.asks.ask("POST", "/v1/channels", &form)?;
        self.until("the account is well", |bench| {
            let view = bench.asks.ask("GET", &format!("/v1/channels/{name}"), &Value::Null)?;
            Ok((view["health"] == "well").then_some(()))
        })
    }

    /// Posts a message as a platform does.
    fn post(&mut self, chat: &str, text: &str) -> Result<()> {
        self.last += 1;
        let body = json!({ "id": format!("post-{}", self.last), "chat": chat, "text": text });
        self.asks.ask("POST", "/hooks/bench", &body).map(drop)
    }

    /// Makes the one who posts the owner of the agent.
    fn pair(&mut self) -> Result<()> {
        let made = self.asks.ask("POST", "/v1/pairings", &json!({ "agent": "default", "role": "owner" }))?;
        let code = made["code"].as_str().context("a code")?.to_owned();
        self.post("ann", &code)
    }

    /// A chat in which the agent hears all.
    fn wired(&mut self, channel: &str, chat: &str, wiring: Value) -> Result<()> {
        let form = json!({ "channel": channel, "chat": chat, "group": true });
        let id = self.asks.ask("POST", "/v1/chats", &form)?["id"].as_str().context("a chat")?.to_owned();
        self.asks.ask("PATCH", &format!("/v1/chats/{id}"), &json!({ "policy": "public" }))?;
        let mut form = json!({ "chat": id, "agent": "default", "senders": "all" });
        form.as_object_mut().context("a form")?.extend(wiring.as_object().context("a wiring")?.clone());
        self.asks.ask("POST", "/v1/wirings", &form).map(drop)
    }

    /// Waits until a session has answered all.
    fn idle(&mut self, session: &str) -> Result<()> {
        self.until("the session is idle", |bench| {
            let view = bench.asks.ask("GET", &format!("/v1/sessions/{session}"), &Value::Null)?;
            Ok((view["state"] == "idle").then_some(()))
        })
    }

    /// From a request to the model, in as many chats as it takes: one is heard only so often in a minute.
    fn talks(&mut self, count: usize, is_cold: bool) -> Result<Vec<Duration>> {
        let mut samples = Vec::new();
        while samples.len() < count {
            let chat = format!("ctalk-{}", self.last);
            self.wired("bench", &chat, json!({ "engage": "pattern", "pattern": "." }))?;
            samples.extend(self.talk(&chat, is_cold)?);
        }
        Ok(samples)
    }

    /// From a request to the model, in a chat of its own whose first turns do not count.
    fn talk(&mut self, chat: &str, is_cold: bool) -> Result<Vec<Duration>> {
        let (mut samples, mut session) = (Vec::new(), String::new());
        for turn in 0..CHAT_TURNS {
            if is_cold && turn > 0 {
                self.asks.ask("POST", &format!("/v1/sessions/{session}/release"), &json!({}))?;
            }
            let before = self.server.count();
            let began = Instant::now();
            self.post(chat, "hello")?;
            let seen = self.until("the engine asks", |bench| Ok(bench.server.came(before)))?;
            if turn == 0 {
                let page = self.asks.ask("GET", "/v1/sessions", &Value::Null)?;
                session = page["items"][0]["id"].as_str().context("a session")?.to_owned();
            }
            if turn >= FIRST_TURNS {
                samples.push(seen.duration_since(began));
            }
            self.idle(&session)?;
        }
        self.asks.ask("POST", &format!("/v1/sessions/{session}/release"), &json!({}))?;
        Ok(samples)
    }

    /// How many messages of one account are noted, routed and acknowledged in a second.
    fn flood(&mut self) -> Result<f64> {
        self.add("flood")?;
        for n in 0..FLOOD_CHATS {
            self.wired("flood", &format!("c{n}"), json!({ "engage": "mention", "ignored": "accumulate" }))?;
        }
        let config = json!({ "config": { "messages": FLOOD, "chats": FLOOD_CHATS } });
        self.asks.ask("PATCH", "/v1/channels/flood", &config)?;
        let micros = self.until("all is acknowledged", |bench| {
            let view = bench.asks.ask("GET", "/v1/channels/flood", &Value::Null)?;
            let done = view["message"].as_str().and_then(|message| message.strip_prefix("done ")).and_then(|n| n.parse::<u64>().ok());
            std::thread::sleep(Duration::from_millis(20));
            Ok(done)
        })?;
        for n in [0, FLOOD - 1] {
            let why = self.asks.ask("GET", &format!("/v1/why/m{n}"), &Value::Null)?;
            if why["gate"] != "engage" {
                bail!("message m{n} was not kept: {why}");
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        Ok(FLOOD as f64 * 1e6 / micros.max(1) as f64)
    }

    /// The daemon's memory before and with much that is silent, and its processor time then.
    fn silent(&mut self) -> Result<(u64, u64, u64)> {
        self.asks.ask("POST", "/v1/channels/flood/off", &Value::Null)?;
        let before = memory_kib(self.daemon.pid(), "VmRSS")?;
        for n in 0..AGENTS {
            self.asks.ask("POST", "/v1/agents", &json!({ "name": format!("silent-{n}") }))?;
        }
        let daemon = self.daemon;
        std::thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS).map(|client| scope.spawn(move || make(daemon, client))).collect();
            clients.into_iter().try_for_each(|client| client.join().map_err(|_| anyhow::anyhow!("a client failed"))?)
        })?;
        let from = ticks(self.daemon.pid())?;
        std::thread::sleep(SILENCE);
        let spent = ticks(self.daemon.pid())? - from;
        Ok((before, memory_kib(self.daemon.pid(), "VmRSS")?, spent))
    }
}

/// One client's share of what is silent.
fn make(daemon: &Daemon, client: usize) -> Result<()> {
    let mut asks = daemon.connect()?;
    let mut wired = Vec::new();
    for n in (client..CHATS).step_by(CLIENTS) {
        let chat = asks.ask("POST", "/v1/chats", &json!({ "channel": "bench", "chat": format!("silent-{n}"), "group": true }))?;
        if n < WIRINGS {
            wired.push((n, chat["id"].as_str().context("a chat")?.to_owned()));
        }
    }
    for (n, chat) in wired {
        let form = json!({ "chat": chat, "agent": format!("silent-{}", n % AGENTS), "engage": "mention" });
        asks.ask("POST", "/v1/wirings", &form)?;
    }
    for n in (client..TASKS).step_by(CLIENTS) {
        let action = json!({ "message": { "text": "hello" } });
        asks.ask("POST", "/v1/tasks", &json!({ "name": format!("silent-{n}"), "cron": "0 4 1 1 *", "action": action }))?;
    }
    Ok(())
}
