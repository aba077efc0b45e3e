//! Owns sandboxes from the command line, for tests that kill the owner or run it as another user, and for measuring.
//!
//!     owner direct HOME GUEST INSTALL [memory=64m] [disk=16m] [pids=64] [cpu=500] [time=2s] [crash=POINT] -- CMD ARGS...
//!     owner exec   HOME GUEST INSTALL [...] -- CMD ARGS...     one sandbox of a daemon, one command, then all is removed
//!     owner serve  HOME GUEST INSTALL [...] -- CMD ARGS...     starts the command, says so, and waits to be killed
//!     owner many   HOME GUEST INSTALL COUNT [...]              that many at once, with times and memory
//!     owner tree   HOME GUEST INSTALL [crash=POINT] make ID | copy|freeze FROM TO | remove ID... | list
//!     owner loop   HOME GUEST INSTALL COUNT [...]              that many one after another

use std::io::{Error, Result, Write as _};
use std::os::fd::AsFd as _;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use lazaret_sandbox::{Config, DirectCommand, Door, Doors, Exec, Exit, Hold, Piece, Request, Sandboxes, Stdio, Tree, base_env, run_direct};
use model::{SandboxId, TreeId};
use tokio::net::UnixStream;

/// Where this process ends itself.
static CRASH: OnceLock<String> = OnceLock::new();

struct NoDoors;

impl Doors for NoDoors {
    fn open(&self, _: &SandboxId, _: Door, _: UnixStream, _: Bytes, _: Hold) {}
}

fn main() -> Result<ExitCode> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [verb, home, guest, install, rest @ ..] = args.as_slice() else { return Err(Error::other("usage: see the source")) };
    let config = Config::new(home.into(), guest.into(), install.clone());
    let split = rest.iter().position(|a| a == "--").unwrap_or(rest.len());
    let (settings, command) = (&rest[..split], rest.get(split + 1..).unwrap_or_default().to_vec());
    // The words of `tree` are no settings but the first.
    let crash = usize::from(settings.first().is_some_and(|word| word.starts_with("crash=")));
    let request = if verb == "tree" { request(&settings[..crash])? } else { request(settings)? };
    let env = base_env(&request.limits);
    if verb == "direct" {
        let fd = |fd: std::os::fd::BorrowedFd<'_>| fd.try_clone_to_owned();
        let stdio = [fd(std::io::stdin().as_fd())?, fd(std::io::stdout().as_fd())?, fd(std::io::stderr().as_fd())?];
        let command = DirectCommand { argv: command, env, cwd: "/workspace".into() };
        return match run_direct(&config, request, command, stdio) {
            Ok(exit) => leave(exit),
            Err(error) => fail(&error),
        };
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let all = Sandboxes::open(config, Arc::new(NoDoors)).await.map_err(Error::other)?;
        let adopted = all.adopt().await.map_err(Error::other)?;
        let exec = Exec { argv: command, env, cwd: "/workspace".into(), stdio: Stdio::Pipes { stdin: false }, lease: 1 };
        match verb.as_str() {
            "exec" => one(&all, request, exec).await,
            "serve" => serve(&all, request, exec, adopted.sandboxes.len()).await,
            "tree" => forest(&all, &rest[crash..]).await,
            "many" => many(&all, settings).await,
            "loop" => repeat(&all, settings).await,
            _ => Err(Error::other("usage: see the source")),
        }
    })
}

fn request(settings: &[String]) -> Result<Request> {
    let bits = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_err(Error::other)?.as_nanos();
    let mut request = Request::new(SandboxId::from_bits(bits << 20 | u128::from(std::process::id())), "owner");
    for setting in settings {
        let Some((key, value)) = setting.split_once('=') else { continue };
        let bad = || Error::other(format!("bad value: {setting}"));
        match key {
            "memory" => request.limits.memory_bytes = model::parse_bytes(value).ok_or_else(bad)?,
            "disk" => request.limits.disk_bytes = model::parse_bytes(value).ok_or_else(bad)?,
            "pids" => request.limits.pids = value.parse().map_err(Error::other)?,
            "cpu" => request.limits.cpu_millis = value.parse().map_err(Error::other)?,
            "time" => request.limits.time = model::parse_duration(value).ok_or_else(bad)?,
            "tree" => request.tree = Tree::Kept { id: value.parse().map_err(Error::other)? },
            "crash" => {
                CRASH.set(value.to_owned()).map_err(Error::other)?;
                model::crash::set(|name| {
                    if CRASH.get().is_some_and(|at| at == name) {
                        // As abrupt as a kill from outside, and without a core file.
                        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
                    }
                });
            }
            "read" => request.trees.push((value.parse().map_err(Error::other)?, "/mnt/old".into())),
            "require" => request.wants.memory = model::Want::Require,
            _ => return Err(bad()),
        }
    }
    Ok(request)
}

fn leave(exit: Exit) -> Result<ExitCode> {
    let status = exit.code.unwrap_or_else(|| 128 + exit.signal.unwrap_or(0));
    Ok(ExitCode::from(u8::try_from(status).unwrap_or(1)))
}

fn fail(error: &lazaret_sandbox::SandboxError) -> Result<ExitCode> {
    let failure = error.failure();
    writeln!(std::io::stderr(), "error[{}]: {} ({})", failure.code, failure.message, failure.hint.unwrap_or_default())?;
    Ok(ExitCode::from(failure.code.exit_status()))
}

async fn one(all: &Sandboxes, request: Request, exec: Exec) -> Result<ExitCode> {
    let sandbox = match all.start(request).await {
        Ok(sandbox) => sandbox,
        Err(error) => return fail(&error),
    };
    for line in &sandbox.level().lines {
        writeln!(std::io::stderr(), "level {} {}: {}", line.name, line.holds, line.how)?;
    }
    let mut command = sandbox.exec(exec).await.map_err(Error::other)?;
    let mut ended = Exit { code: Some(1), signal: None };
    while let Some(output) = command.output.next().await.map_err(Error::other)? {
        command.control.ack(output.number);
        match output.piece {
            Piece::Stdout(bytes) => std::io::stdout().write_all(&bytes)?,
            Piece::Stderr(bytes) => std::io::stderr().write_all(&bytes)?,
            Piece::Exited(exit) => ended = exit,
        }
    }
    sandbox.stop().await.map_err(Error::other)?;
    all.shutdown(true).await;
    leave(ended)
}

async fn forest(all: &Sandboxes, words: &[String]) -> Result<ExitCode> {
    let ids: Vec<TreeId> = words.iter().skip(1).map(|id| id.parse().map_err(Error::other)).collect::<Result<_>>()?;
    let done = match (words.first().map(String::as_str), ids.as_slice()) {
        (Some(how @ ("copy" | "freeze")), [from, to]) => all.snapshot(from, to, how == "freeze").await,
        (Some("make"), [id]) => all.make_tree(id, 64 << 20).await,
        (Some("remove"), ids) => all.remove_trees(ids).await,
        (Some("list"), _) => {
            for id in all.list_trees().await.map_err(Error::other)? {
                writeln!(std::io::stdout(), "{id}")?;
            }
            Ok(())
        }
        _ => return Err(Error::other("usage: see the source")),
    };
    match done {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => fail(&error),
    }
}

async fn serve(all: &Sandboxes, mut request: Request, exec: Exec, adopted: usize) -> Result<ExitCode> {
    request.orphan = Duration::from_secs(60);
    let sandbox = all.start(request).await.map_err(Error::other)?;
    let command = sandbox.exec(exec).await.map_err(Error::other)?;
    let summary = sandbox.summary();
    writeln!(std::io::stdout(), "{} {} {} {adopted}", summary.id, summary.pid, command.control.stream())?;
    std::io::stdout().flush()?;
    std::future::pending().await
}

async fn many(all: &Sandboxes, settings: &[String]) -> Result<ExitCode> {
    let count: usize = settings.first().and_then(|c| c.parse().ok()).unwrap_or(10);
    let before = available();
    let started = Instant::now();
    let mut live = Vec::new();
    for n in 0..count {
        let mut request = request(settings)?;
        request.id = SandboxId::from_bits(u128::from(std::process::id()) << 64 | n as u128);
        live.push(all.start(request).await.map_err(Error::other)?);
    }
    let up = started.elapsed();
    let each = before.saturating_sub(available()) / count.max(1) as u64;
    let fds = std::fs::read_dir("/proc/self/fd")?.count() / count.max(1);
    let status = std::fs::read_to_string("/proc/self/status")?;
    let rss = status.lines().find(|l| l.starts_with("VmRSS")).unwrap_or_default().to_owned();
    let asked = Instant::now();
    for sandbox in &live {
        sandbox.ping().await.map_err(Error::other)?;
    }
    let pinged = asked.elapsed();
    let down = Instant::now();
    all.shutdown(true).await;
    writeln!(
        std::io::stdout(),
        "{count} up in {up:?}, {each} kB of the machine each, {fds} descriptors each, all pinged in {pinged:?}, down in {:?}; this process: {rss}",
        down.elapsed()
    )?;
    Ok(ExitCode::SUCCESS)
}

/// Memory of the machine that is free or can be freed, in kB.
fn available() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix("MemAvailable:"));
    line.and_then(|l| l.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

async fn repeat(all: &Sandboxes, settings: &[String]) -> Result<ExitCode> {
    let count: usize = settings.first().and_then(|c| c.parse().ok()).unwrap_or(100);
    let (mut starts, mut execs, mut stops) = (Vec::new(), Vec::new(), Vec::new());
    let whole = Instant::now();
    for n in 0..count {
        let mut request = request(settings)?;
        request.id = SandboxId::from_bits(u128::from(std::process::id()) << 64 | n as u128);
        let exec = Exec {
            argv: vec!["/bin/true".into()],
            env: base_env(&request.limits),
            cwd: "/".into(),
            stdio: Stdio::Pipes { stdin: false },
            lease: 1,
        };
        let at = Instant::now();
        let sandbox = all.start(request).await.map_err(Error::other)?;
        starts.push(at.elapsed());
        let at = Instant::now();
        let mut command = sandbox.exec(exec).await.map_err(Error::other)?;
        while command.output.next().await.map_err(Error::other)?.is_some() {}
        execs.push(at.elapsed());
        let at = Instant::now();
        sandbox.stop().await.map_err(Error::other)?;
        stops.push(at.elapsed());
    }
    let whole = whole.elapsed();
    for times in [&mut starts, &mut execs, &mut stops] {
        times.sort();
    }
    let middle = count / 2;
    writeln!(
        std::io::stdout(),
        "{count} in {whole:?}: start {:?}/{:?}, exec true {:?}/{:?}, stop {:?}/{:?} (min/median)",
        starts[0],
        starts[middle],
        execs[0],
        execs[middle],
        stops[0],
        stops[middle]
    )?;
    Ok(ExitCode::SUCCESS)
}
