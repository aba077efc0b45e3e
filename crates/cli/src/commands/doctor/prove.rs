//! `--prove`: a fresh sandbox in which everything that must not be possible is tried.

use std::io::{Read, Seek};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::time::Duration;

use model::{Failure, SandboxId};
use sandbox::{DirectCommand, Request};
use serde::Deserialize;
use serde_json::json;

use super::Check;
use crate::client::internal;
use crate::compose;
use crate::config::Config;
use crate::home::Home;

/// What the sandbox may have: small, so that its limits are reached at once.
const PIDS: u32 = 64;
const MEMORY_BYTES: u64 = 256 << 20;
/// How long all probes may take.
const TIME: Duration = Duration::from_secs(300);
/// The longest output.
const OUTPUT_BYTES_MAX: u64 = 64 << 10;
/// How many probes there are at least: fewer lines mean that they were cut short.
const PROBES_MIN: usize = 25;

/// What a probe says.
#[derive(Deserialize)]
struct Line {
    probe: String,
    holds: bool,
    detail: String,
}

pub(super) fn checks(home: &Home, config: &Config) -> Vec<Check> {
    match tried(home, config) {
        Ok(lines) if lines.len() < PROBES_MIN => {
            vec![Check::fail("prove", format!("only {} probes ended", lines.len()), "run `lazaret sandbox run -- true` and look why")]
        }
        Ok(lines) => lines.into_iter().map(check).collect(),
        Err(failure) => vec![Check::of("prove", &failure)],
    }
}

fn check(line: Line) -> Check {
    let detail = format!("{}: {}", line.probe, line.detail);
    if line.holds {
        Check::pass("denied", detail)
    } else {
        Check::fail("NOT DENIED", detail, "do not run agents here; report it with the output of `lazaret doctor --json`")
    }
}

/// Prepares what the probes look for outside, shows that it is there, and runs them.
fn tried(home: &Home, config: &Config) -> Result<Vec<Line>, Failure> {
    let fail = |e: std::io::Error| internal(&format!("the probes cannot be prepared: {e}"));
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(fail)?;
    let at = port.local_addr().map_err(fail)?;
    let id = SandboxId::from_bits(random()?);
    let name = format!("lazaret-prove-{id}");
    let address = SocketAddr::from_abstract_name(&name).map_err(fail)?;
    let socket = UnixListener::bind_addr(&address).map_err(fail)?;
    let file = home.path().join("install-id");
    // Each works outside: so what fails inside fails because of the walls.
    let controls = [TcpStream::connect(at).map(drop), UnixStream::connect_addr(&address).map(drop), std::fs::read(&file).map(drop)];
    for control in controls {
        control.map_err(fail)?;
    }
    let facts = json!({ "port": at.port(), "socket": name, "file": file, "pids": PIDS });
    let mut request = Request::new(id, "doctor --prove");
    request.limits.pids = PIDS;
    request.limits.memory_bytes = MEMORY_BYTES;
    request.limits.time = TIME;
    request.orphan = Duration::ZERO;
    let argv = [jail::GUEST_PATH, "prove", &facts.to_string()].map(str::to_owned).into();
    let command = DirectCommand { argv, env: sandbox::base_env(&request.limits), cwd: "/workspace".to_owned() };
    let mut output = unnamed(home).map_err(fail)?;
    let null = || std::fs::OpenOptions::new().read(true).write(true).open("/dev/null").map(OwnedFd::from);
    let stdio = [null().map_err(fail)?, output.try_clone().map_err(fail)?.into(), null().map_err(fail)?];
    let made = compose::sandbox_config(home, config)?;
    sandbox::run_direct(&made, request, command, stdio).map_err(|e| e.failure())?;
    drop(socket);
    let mut text = String::new();
    output.rewind().map_err(fail)?;
    output.take(OUTPUT_BYTES_MAX).read_to_string(&mut text).map_err(fail)?;
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

/// A file without a name, in the home.
fn unnamed(home: &Home) -> std::io::Result<std::fs::File> {
    let path = home.run_dir().join(format!("prove-{}", std::process::id()));
    let file = std::fs::OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

pub(super) fn random() -> Result<u128, Failure> {
    let mut bytes = [0u8; 16];
    getrandom::fill(&mut bytes).map_err(|e| internal(&e.to_string()))?;
    Ok(u128::from_le_bytes(bytes))
}
