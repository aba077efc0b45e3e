//! What it costs to talk: from a message to the engine, from an event to its reader, checkpoint, fork, undo, waking, and
//! sessions that sleep.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use testkit::model_server::{ModelServer, Rule, Say, Script};

use crate::daemon::{Connection, Daemon, memory_kib, ticks};
use crate::sample::{self, Times, ms};

/// Turns whose times are taken.
const TURNS: usize = 200;
/// Undos, forks and wakings whose times are taken, each.
const MOVES: usize = 40;
/// Sessions that sleep.
const SLEEPERS: u64 = 10_000;
/// How long the processor time of sleepers is counted.
const SLEEP: Duration = Duration::from_secs(20);
/// Turns that are accepted, and by how many at once.
const ACCEPTED: (usize, usize) = (8_000, 32);

pub(crate) fn run() -> Result<String> {
    let dir = tempfile::Builder::new().prefix("lazaret-bench-").tempdir().context("failed to make a directory")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let fill = |mib: u32| format!("head -c {mib}M /dev/zero | tr '\\0' x > /home/sandbox/big; sync");
    let rule = |contains: &str, say: Vec<Say>| Rule { contains: contains.to_owned(), say };
    let rules = vec![
        rule("small", vec![Say::Shell(fill(1)), Say::Text("done".to_owned())]),
        rule("large", vec![Say::Shell(fill(1024)), Say::Text("done".to_owned())]),
        rule("hello", vec![Say::Text("hello".to_owned())]),
    ];
    let server = runtime.block_on(ModelServer::start(Script { rules, ..Script::default() }));
    let daemon = Daemon::start(dir.path(), &server.url())?;
    let mut text =
        format!("{TURNS} turns, {MOVES} undos, forks and wakings each.\n\n| | min ms | median ms | p99 ms |\n|---|---|---|---|\n");
    let mut row = |name: &str, samples: Vec<Duration>| {
        let times = Times::of(samples);
        text.push_str(&format!("| {name} | {} | {} | {} |\n", ms(times.min()), ms(times.median()), ms(times.p99())));
    };
    let (to_engine, to_reader) = talk(&daemon, &server)?;
    row("message accepted -> the live engine's request is at the model", to_engine);
    row("the model has answered -> the event is read over SSE", to_reader);
    for (size, prompt) in [("1 MB", "small"), ("1 GB", "large")] {
        let (forks, undos) = moves(&daemon, prompt)?;
        row(&format!("fork of a session with {size} (copy, row, answer)"), forks);
        row(&format!("undo of a turn in a session with {size}"), undos);
    }
    row("waking a stopped session (start of its sandbox)", wake(&daemon)?);
    let rate = accepted(&daemon)?;
    let (each, spent) = sleepers(&daemon)?;
    text.push_str(&format!(
        "\n| | |\n|---|---|\n| turns accepted durably over the API by {} clients | {rate:.0}/s |\n| {SLEEPERS} idle sessions: memory of the daemon for each | {each} bytes |\n| processor time of the daemon in {} s with them | {} ms |\n\n{}.\n",
        ACCEPTED.1,
        SLEEP.as_secs(),
        spent * 10,
        sample::machine(),
    ));
    Ok(text)
}

fn make(daemon: &mut Connection) -> Result<String> {
    let made = daemon.ask("POST", "/v1/sessions", &json!({}))?;
    Ok(made["id"].as_str().context("a session")?.to_owned())
}

fn send(daemon: &mut Connection, session: &str, text: &str) -> Result<()> {
    daemon.ask("POST", &format!("/v1/sessions/{session}/messages"), &json!({ "text": text })).map(drop)
}

/// Message to model, and model to reader, with an engine that is there already.
fn talk(daemon: &Daemon, server: &ModelServer) -> Result<(Vec<Duration>, Vec<Duration>)> {
    let mut asks = daemon.connect()?;
    let session = make(&mut asks)?;
    let mut follow = daemon.connect()?.follow(&session)?;
    let (mut there, mut back) = (Vec::new(), Vec::new());
    for turn in 0..TURNS + 5 {
        let before = server.requests().len();
        let began = Instant::now();
        send(&mut asks, &session, "hello")?;
        follow.until("text")?;
        let read = Instant::now();
        let seen = server.requests().get(before).context("the model was asked")?.when;
        follow.until("result")?;
        if turn >= 5 {
            there.push(seen.duration_since(began));
            back.push(read.duration_since(seen));
        }
    }
    Ok((there, back))
}

/// Forks, and undos of a turn each.
fn moves(daemon: &Daemon, prompt: &str) -> Result<(Vec<Duration>, Vec<Duration>)> {
    let mut asks = daemon.connect()?;
    let session = make(&mut asks)?;
    let mut follow = daemon.connect()?.follow(&session)?;
    send(&mut asks, &session, prompt)?;
    follow.until("result")?;
    let (mut forks, mut undos) = (Vec::new(), Vec::new());
    for _ in 0..MOVES {
        let began = Instant::now();
        let made = asks.ask("POST", &format!("/v1/sessions/{session}/fork"), &json!({}))?;
        forks.push(began.elapsed());
        let fork = made["items"][0]["id"].as_str().context("a fork")?.to_owned();
        asks.ask("DELETE", &format!("/v1/sessions/{fork}"), &Value::Null)?;
        send(&mut asks, &session, "hello")?;
        follow.until("result")?;
        idle(&mut asks, &session)?;
        let began = Instant::now();
        asks.ask("POST", &format!("/v1/sessions/{session}/undo"), &json!({ "to": 1 }))?;
        undos.push(began.elapsed());
    }
    asks.ask("DELETE", &format!("/v1/sessions/{session}"), &Value::Null)?;
    Ok((forks, undos))
}

/// Waits until a turn whose result was seen is put away.
fn idle(asks: &mut Connection, session: &str) -> Result<()> {
    while asks.ask("GET", &format!("/v1/sessions/{session}"), &Value::Null)?["state"] != "idle" {
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(Duration::from_millis(5));
    Ok(())
}

/// A sandbox for a session that has none: a directory of it is read and the sandbox given back.
fn wake(daemon: &Daemon) -> Result<Vec<Duration>> {
    let mut asks = daemon.connect()?;
    let session = make(&mut asks)?;
    let mut follow = daemon.connect()?.follow(&session)?;
    send(&mut asks, &session, "hello")?;
    follow.until("result")?;
    let mut samples = Vec::new();
    for _ in 0..MOVES {
        asks.ask("POST", &format!("/v1/sessions/{session}/release"), &json!({}))?;
        let began = Instant::now();
        send(&mut asks, &session, "hello")?;
        follow.until("start")?;
        samples.push(began.elapsed());
        follow.until("result")?;
    }
    Ok(samples)
}

/// How many turns are accepted in a second, each by its own request. They are cancelled afterwards.
fn accepted(daemon: &Daemon) -> Result<f64> {
    let (turns, clients) = ACCEPTED;
    let began = Instant::now();
    let made: Vec<String> = std::thread::scope(|scope| {
        let client = |_| scope.spawn(|| client(daemon, turns / clients));
        let clients: Vec<_> = (0..clients).map(client).collect();
        clients.into_iter().map(|c| c.join().map_err(|_| anyhow::anyhow!("a client failed"))?).collect::<Result<Vec<_>>>()
    })?;
    let took = began.elapsed();
    let mut asks = daemon.connect()?;
    for session in made {
        asks.ask("POST", &format!("/v1/sessions/{session}/cancel"), &json!({}))?;
    }
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    Ok(turns as f64 / took.as_secs_f64())
}

fn client(daemon: &Daemon, turns: usize) -> Result<String> {
    let mut asks = daemon.connect()?;
    let session = make(&mut asks)?;
    for _ in 0..turns {
        send(&mut asks, &session, "hello")?;
    }
    Ok(session)
}

/// Bytes of the daemon for each session that sleeps, and ticks of processor time meanwhile.
fn sleepers(daemon: &Daemon) -> Result<(u64, u64)> {
    let mut asks = daemon.connect()?;
    let before = memory_kib(daemon.pid(), "VmRSS")?;
    for _ in 0..SLEEPERS {
        let session = make(&mut asks)?;
        asks.ask("POST", &format!("/v1/sessions/{session}/release"), &json!({}))?;
    }
    let after = memory_kib(daemon.pid(), "VmRSS")?;
    let from = ticks(daemon.pid())?;
    std::thread::sleep(SLEEP);
    let spent = ticks(daemon.pid())? - from;
    Ok((after.saturating_sub(before) * 1024 / SLEEPERS, spent))
}
