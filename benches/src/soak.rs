//! Talks, shares, goes back and forks for a long time, and looks whether anything grows: `lazaret-bench soak
//! [MINUTES]`.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use testkit::model_server::{ModelServer, Script};

use crate::daemon::{Connection, Daemon, memory_kib};
use crate::sample;

/// Minutes when nothing is said.
const MINUTES: u64 = 30;
/// Parts that the time is cut into; each gives one line.
const PARTS: u32 = 6;
/// How much more memory and disk the last part may have than the second: the first fills caches.
const MAY_GROW_PERCENT: u64 = 25;

pub(crate) fn run() -> Result<String> {
    let minutes = std::env::args().nth(2).and_then(|m| m.parse().ok()).unwrap_or(MINUTES);
    let dir = tempfile::Builder::new().prefix("lazaret-bench-").tempdir().context("failed to make a directory")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let script = Script {
        command: "cd /home/sandbox && date >> notes && tail -c 100k notes > short && mv short notes".to_owned(),
        ..Script::default()
    };
    let server = runtime.block_on(ModelServer::start(script));
    let daemon = Daemon::start(dir.path(), &server.url())?;
    let part = Duration::from_secs(minutes * 60) / PARTS;
    let mut text = format!(
        "{minutes} minutes. {}.\n\n| rounds so far | resident KiB | descriptors | MiB on the disk |\n|---|---|---|---|\n",
        sample::machine()
    );
    let mut looks = Vec::new();
    let mut rounds = 0u64;
    for _ in 0..PARTS {
        let end = Instant::now() + part;
        while Instant::now() < end {
            round(&mut daemon.connect()?, &daemon)?;
            rounds += 1;
        }
        let look = (memory_kib(daemon.pid(), "VmRSS")?, descriptors(daemon.pid())?, disk(&daemon.home)? >> 20);
        text.push_str(&format!("| {rounds} | {} | {} | {} |\n", look.0, look.1, look.2));
        looks.push(look);
    }
    let (second, last) = (looks[1], looks[looks.len() - 1]);
    if grown(second.0, last.0) || grown(second.1, last.1) || grown(second.2, last.2) {
        bail!("something grows:\n{text}");
    }
    Ok(text)
}

/// One of everything.
fn round(asks: &mut Connection, daemon: &Daemon) -> Result<()> {
    let id = |made: Value| Ok::<_, anyhow::Error>(made["id"].as_str().context("an identity")?.to_owned());
    let session = id(asks.ask("POST", "/v1/sessions", &json!({}))?)?;
    let turn = |asks: &mut Connection, session: &str| -> Result<()> {
        let mut follow = daemon.connect()?.follow(session)?;
        let sent = asks.ask("POST", &format!("/v1/sessions/{session}/messages"), &json!({ "text": "go" }))?;
        while follow.until("result")?["turn"] != sent["turn"] {}
        while asks.ask("GET", &format!("/v1/sessions/{session}"), &Value::Null)?["state"] != "idle" {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(10));
        Ok(())
    };
    turn(asks, &session)?;
    turn(asks, &session)?;
    asks.ask("POST", &format!("/v1/sessions/{session}/undo"), &json!({}))?;
    turn(asks, &session)?;
    let forks = asks.ask("POST", &format!("/v1/sessions/{session}/fork"), &json!({ "n": 2 }))?;
    let slug = format!("soak-{}", &session[session.len() - 12..]);
    asks.ask("POST", "/v1/envs", &json!({ "name": slug, "slug": slug, "session_id": session }))?;
    let member = id(asks.ask("POST", "/v1/sessions", &json!({ "env": slug }))?)?;
    turn(asks, &member)?;
    turn(asks, &session)?;
    let mut all = vec![session, member];
    all.extend(forks["items"].as_array().into_iter().flatten().filter_map(|f| f["id"].as_str().map(str::to_owned)));
    for session in all {
        asks.ask("DELETE", &format!("/v1/sessions/{session}"), &Value::Null)?;
    }
    asks.ask("DELETE", &format!("/v1/envs/{slug}"), &Value::Null).map(drop)
}

/// Whether the last part has more than the second may let it have.
pub(crate) fn grown(second: u64, last: u64) -> bool {
    last > second + second * MAY_GROW_PERCENT / 100 + 16
}

/// How many are open.
pub(crate) fn descriptors(pid: u32) -> Result<u64> {
    Ok(std::fs::read_dir(format!("/proc/{pid}/fd"))?.count() as u64)
}

/// Bytes that the files of a home really have on the disk.
pub(crate) fn disk(dir: &Path) -> Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let mut total = 0;
    for entry in std::fs::read_dir(dir)?.flatten() {
        let Ok(meta) = entry.path().symlink_metadata() else { continue };
        total += if meta.is_dir() { disk(&entry.path()).unwrap_or(0) } else { meta.blocks() * 512 };
    }
    Ok(total)
}
