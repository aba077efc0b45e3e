//! `lazaret start|status|stop|ui`: the daemon's life.

use std::process::Stdio;
use std::time::Duration;

use http::Method;
use model::{Code, Failure, parse_duration};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};

use super::Context;
use crate::args;
use crate::client::{Client, internal};
use crate::exit::Done;
use crate::home::Home;
use crate::out;

/// How long a daemon may take to be ready.
const READY_WAIT: Duration = Duration::from_secs(120);
/// How long a daemon may take to end after its grace.
const END_WAIT: Duration = Duration::from_secs(120);
/// How long a daemon that would not start may take to say why, and to be gone.
const LAST_WORDS: Duration = Duration::from_secs(10);

pub(super) async fn start(context: &Context, flags: &args::Up) -> Done {
    let home = Home::open(&context.env.home)?;
    make_room(&home).await?;
    let program = std::env::current_exe().map_err(|e| internal(&e.to_string()))?;
    let mut command = tokio::process::Command::new(program);
    command
        .arg("up")
        .args(context.json.then_some("--json"))
        .env("LAZARET_HOME", home.path())
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if let Some(listen) = &flags.listen {
        command.args(["--listen", listen]);
    }
    if let Some(base) = &flags.base_path {
        command.args(["--base-path", base]);
    }
    command.process_group(0);
    let mut child = command.spawn().map_err(|e| internal(&format!("the daemon cannot be started: {e}")))?;
    let (Some(out), Some(mut err)) = (child.stdout.take(), child.stderr.take()) else { return Err(internal("the daemon has no output")) };
    let mut line = String::new();
    let read = tokio::time::timeout(READY_WAIT, BufReader::new(out).read_line(&mut line)).await;
    if matches!(read, Ok(Ok(n)) if n > 0) {
        out::line(line.trim_end());
        return Ok(0);
    }
    let mut text = String::new();
    let _ = tokio::time::timeout(LAST_WORDS, err.read_to_string(&mut text)).await;
    out::note(text.trim_end());
    // It closes its output a moment before it has ended.
    let ended = tokio::time::timeout(LAST_WORDS, child.wait()).await;
    let status = ended.ok().and_then(Result::ok).and_then(|s| s.code()).and_then(|c| u8::try_from(c).ok());
    Ok(status.unwrap_or(1))
}

/// Ends a daemon that a command started and that has nothing to do, so that one with an HTTP port can take its place.
///
/// # Errors
/// `CONFLICT` when the daemon that is up was started on purpose, or is at work.
pub(crate) async fn make_room(home: &Home) -> Result<(), Failure> {
    let client = Client::new(home, false);
    if !client.is_up().await {
        return Ok(());
    }
    let asked: Result<Value, Failure> = client.json(Method::GET, "/v1/status", None).await;
    let status = match asked {
        // It was killed or ended over the question.
        Err(failure) if failure.code == Code::DaemonMissing => return Ok(()),
        asked => asked?,
    };
    if !status["listen"].is_null() {
        return Err(Failure::new(Code::Conflict, "a daemon of this home is up already").hint("`lazaret status` describes it"));
    }
    if status["sessions"] != 0 || status["sandboxes_at_work"] != 0 {
        return Err(
            Failure::new(Code::Conflict, "a daemon that a command started is at work").hint("wait until it is done, or run: lazaret stop")
        );
    }
    end_daemon(&client, home, Duration::ZERO).await
}

pub(super) async fn status(context: &Context) -> Done {
    let home = Home::open(&context.env.home)?;
    let client = Client::new(&home, false);
    if !client.is_up().await {
        if context.json {
            out::json(&json!({ "up": false }))?;
        } else {
            out::line("down");
        }
        return Ok(1);
    }
    let mut status: Value = client.json(Method::GET, "/v1/status", None).await?;
    status["alerts"] = alerts(&client).await.into();
    status["pool"] = client.json(Method::GET, "/v1/pool", None).await?;
    let running = crate::config::Config::load(home.path())?.session_settings().map_err(|why| Failure::new(Code::ConfigInvalid, why))?;
    if context.json {
        status["up"] = true.into();
        status["running_max"] = running.running_max.into();
        out::json(&status)?;
        return Ok(0);
    }
    let n = |key: &str| status[key].as_u64().unwrap_or(0);
    out::line(&format!("up for {} s, version {}, process {}", n("uptime_s"), status["version"].as_str().unwrap_or("?"), n("pid")));
    out::line(&format!("{} sandboxes of at most {}, {} sessions", n("sandboxes"), n("sandboxes_max"), n("sessions")));
    out::line(&format!("at most {} turns at once (sessions.running_max)", running.running_max));
    let empty = Vec::new();
    pool(&status["pool"]);
    let names: Vec<&str> = status["providers"].as_array().unwrap_or(&empty).iter().filter_map(Value::as_str).collect();
    out::line(&if names.is_empty() { "no provider has a key".to_owned() } else { format!("providers with a key: {}", names.join(", ")) });
    for held in status["exposed"].as_array().unwrap_or(&empty) {
        let text = |key: &str| crate::exit::clean(held[key].as_str().unwrap_or(""));
        out::line(&format!("EXPOSED: the agent {} holds the secret {}", text("agent"), text("name")));
    }
    for alert in status["alerts"].as_array().unwrap_or(&empty).iter().filter_map(Value::as_str) {
        out::line(&format!("ALERT: {}", crate::exit::clean(alert)));
    }
    Ok(0)
}

/// Sandboxes that are kept ready; nothing where there are none.
fn pool(pool: &Value) {
    for row in pool["profiles"].as_array().into_iter().flatten() {
        let n = |key: &str| row[key].as_u64().unwrap_or(0);
        let profile = crate::exit::clean(row["profile"].as_str().unwrap_or(""));
        out::line(&format!("ready for jobs of {profile}: {} of {} sandboxes", n("ready"), n("target")));
        if let Some(trouble) = row["trouble"].as_str() {
            out::line(&format!("ALERT: no sandbox is made ahead for {profile}: {}", crate::exit::clean(trouble)));
        }
    }
}

/// What the owner should do something about: logins of plugins that have ended.
async fn alerts(client: &Client) -> Vec<String> {
    let listed: Value = client.json(Method::GET, "/v1/plugin-logins", None).await.unwrap_or_default();
    let ended = listed["items"].as_array().into_iter().flatten().filter_map(|login| {
        let (plugin, why) = (login["plugin"].as_str()?, login["trouble"].as_str()?);
        Some(format!("the login of {plugin} has ended ({why}); run: lazaret auth login --plugin {plugin}"))
    });
    let mut alerts: Vec<String> = ended.collect();
    for notice in notices(client).await {
        alerts.push(format!("{}; run: {}", notice.detail, notice.fix));
    }
    alerts
}

/// What the daemon thinks should be done something about.
pub(crate) async fn notices(client: &Client) -> Vec<app::Notice> {
    let listed: Value = client.json(Method::GET, "/v1/notices", None).await.unwrap_or_default();
    serde_json::from_value(listed["items"].clone()).unwrap_or_default()
}

pub(super) async fn stop(context: &Context, grace: &str) -> Done {
    let grace = parse_duration(grace).ok_or_else(|| Failure::new(Code::Usage, format!("--grace: `{grace}` is not a time like 30s")))?;
    let home = Home::open(&context.env.home)?;
    let client = Client::new(&home, false);
    if !client.is_up().await {
        if !context.json {
            out::line("no daemon is up");
        }
        return Ok(0);
    }
    end_daemon(&client, &home, grace).await?;
    Ok(0)
}

/// Asks the daemon to end and waits until it is gone with everything that it had: the lock is free then.
async fn end_daemon(client: &Client, home: &Home, grace: Duration) -> Result<(), Failure> {
    let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
    let asked: Result<Value, Failure> = client.json(Method::POST, "/v1/shutdown", Some(&json!({ "grace_ms": grace_ms }))).await;
    // One that was ending anyway may hang up without an answer: it is gone soon, or the failure is told.
    if asked.is_err() && home.lock()?.is_none() && client.is_up().await {
        asked?;
    }
    let deadline = tokio::time::Instant::now() + grace + END_WAIT;
    while home.lock()?.is_none() {
        if tokio::time::Instant::now() > deadline {
            return Err(Failure::new(Code::Timeout, "the daemon does not end").hint("look into its log, logs/daemon.log in the home"));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

pub(super) async fn ui(context: &Context) -> Done {
    let answer: Value = context.client()?.json(Method::POST, "/v1/login/link", None).await?;
    if context.json {
        out::json(&answer)?
    } else {
        out::line(answer["url"].as_str().unwrap_or_default())
    }
    Ok(0)
}
