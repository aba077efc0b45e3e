//! `lazaret sandbox run`: one command in one sandbox, without a daemon.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use model::{Code, Failure, SandboxId};
use sandbox::{DirectCommand, HostMount, Request};

use super::Context;
use crate::args;
use crate::client::internal;
use crate::compose;
use crate::config::Config;
use crate::exit::Done;
use crate::home::Home;
use crate::{out, places};

/// The working directory when nothing else is said.
const WORKDIR: &str = "/workspace";

pub(crate) fn run(context: &Context, flags: &args::SandboxRun) -> Done {
    let home = Home::open(&context.env.home)?;
    let config = Config::load(home.path())?;
    let limits = places::limits(&flags.limits, &config)?;
    let places = places::places(&flags.places, &config, &context.env)?;
    if !places.allow.is_empty() {
        return Err(Failure::new(Code::Usage, "--allow needs the daemon, and `sandbox run` has none")
            .hint("use `lazaret sandbox create --allow ...` and `lazaret sandbox exec`"));
    }
    let mut request = Request::new(SandboxId::from_bits(fresh_bits()?), "sandbox run");
    request.image = places.image;
    request.limits = limits;
    request.mounts = places.mounts.into_iter().map(|m| HostMount { fd: m.fd, target: m.target, read_only: m.read_only }).collect();
    // The tools volume, where there is one: making it is the daemon's.
    let tools = home.path().join("tools");
    if tools.is_dir() {
        request.extra_ro = vec![(tools, PathBuf::from(app::TOOLS_DIR))];
    }
    request.orphan = std::time::Duration::ZERO;
    request.walls = walls(&flags.without)?;
    if !flags.without.is_empty() {
        out::note(&format!("warning: this sandbox stands without {}", flags.without.join(", ")));
    }
    let mut env = sandbox::base_env(&limits);
    for (key, value) in places.env {
        env.retain(|(k, _)| *k != key);
        env.push((key, value));
    }
    let command = DirectCommand { argv: flags.command.clone(), env, cwd: WORKDIR.to_owned() };
    let sandbox = compose::sandbox_config(&home, &config)?;
    let exit = sandbox::run_direct(&sandbox, request, command, stdio()?).map_err(|e| e.failure())?;
    Ok(match (exit.code, exit.signal) {
        (Some(code), _) => u8::try_from(code & 0xff).unwrap_or(1),
        // As shells do it.
        (None, Some(signal)) => u8::try_from(128 + signal).unwrap_or(1),
        (None, None) => 1,
    })
}

fn stdio() -> Result<[OwnedFd; 3], Failure> {
    let fail = |e: std::io::Error| internal(&format!("the standard streams cannot be handed on: {e}"));
    let own = |fd: std::os::fd::BorrowedFd<'_>| fd.try_clone_to_owned().map_err(fail);
    Ok([own(std::io::stdin().as_fd())?, own(std::io::stdout().as_fd())?, own(std::io::stderr().as_fd())?])
}

fn walls(without: &[String]) -> Result<jail::Walls, Failure> {
    let mut walls = jail::Walls::ALL;
    for name in without {
        let wall = match name.as_str() {
            "seccomp" => &mut walls.seccomp,
            "landlock" => &mut walls.landlock,
            "privileges" => &mut walls.privileges,
            "network" => &mut walls.network,
            "proc" => &mut walls.proc,
            "read_only" => &mut walls.read_only,
            "pids" => &mut walls.pids,
            _ => return Err(Failure::new(Code::Usage, format!("there is no wall `{}`", name.escape_debug())).field("--without")),
        };
        *wall = false;
    }
    Ok(walls)
}

fn fresh_bits() -> Result<u128, Failure> {
    let mut bytes = [0u8; 16];
    getrandom::fill(&mut bytes).map_err(|e| internal(&e.to_string()))?;
    Ok(u128::from_le_bytes(bytes))
}
