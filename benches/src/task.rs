//! A whole task: `lazaret run` with the engine `mini` and a scripted model, beside the same engine on the bare host.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use testkit::model_server::{ModelServer, Script};

use crate::{
    native::built,
    peers::quiet,
    sample::{self, Contender, Rounds, interleave, ms},
};

const ROUNDS: Rounds = Rounds { warm: 5, counted: 100 };
const MODEL: &str = "claude-sonnet-4-5";
const PROMPT: &str = "Say what the tool prints.";

pub(crate) fn run() -> Result<String> {
    let dir = tempfile::Builder::new().prefix("lazaret-bench-").tempdir().context("failed to make a directory")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let server = runtime.block_on(ModelServer::start(Script::default()));
    let mut contenders: Vec<Box<dyn Contender>> =
        vec![Box::new(Bare::prepare(dir.path(), &server.url())?), Box::new(Sealed::prepare(dir.path(), &server.url())?)];
    let times = interleave(&mut contenders, ROUNDS)?;
    let mut text = format!(
        "{} rounds, interleaved; a turn with one tool call, so two model calls. {}.\n\n| | min ms | median ms | p99 ms |\n|---|---|---|---|\n",
        ROUNDS.counted,
        sample::machine()
    );
    for (contender, times) in contenders.iter().zip(&times) {
        text.push_str(&format!("| {} | {} | {} | {} |\n", contender.name(), ms(times.min()), ms(times.median()), ms(times.p99())));
    }
    if let [bare, sealed] = times.as_slice() {
        let more = |a: std::time::Duration, b: std::time::Duration| ms(a.saturating_sub(b));
        text.push_str(&format!("| overhead | {} | {} | - |\n", more(sealed.min(), bare.min()), more(sealed.median(), bare.median())));
    }
    Ok(text)
}

/// The engine with nothing around it.
struct Bare {
    program: PathBuf,
    state: PathBuf,
    work: PathBuf,
    url: String,
}

impl Bare {
    fn prepare(dir: &Path, url: &str) -> Result<Self> {
        let program = dir.join("mini");
        std::os::unix::fs::symlink(built("guest", "lazaret-guest")?, &program)?;
        let work = dir.join("bare-work");
        std::fs::create_dir(&work)?;
        Ok(Self { program, state: dir.join("bare-state"), work, url: url.to_owned() })
    }
}

impl Contender for Bare {
    fn name(&self) -> String {
        "the engine alone, on the host".to_owned()
    }

    fn lacks(&self) -> String {
        "everything".to_owned()
    }

    fn once(&mut self) -> Result<()> {
        let mut child = Command::new(&self.program)
            .args(["--wire", "anthropic", "--base-url", &self.url, "--model", MODEL, "--state"])
            .arg(&self.state)
            .current_dir(&self.work)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .context("failed to start the engine")?;
        child.stdin.take().context("it has an input")?.write_all(PROMPT.as_bytes())?;
        let status = child.wait()?;
        if !status.success() {
            bail!("the engine ended with {status}");
        }
        Ok(())
    }
}

/// The shipped program with its daemon.
struct Sealed {
    program: PathBuf,
    home: PathBuf,
}

impl Sealed {
    fn prepare(dir: &Path, url: &str) -> Result<Self> {
        let sealed = Self { program: built("profile", "lazaret")?, home: dir.join("run-home") };
        quiet(sealed.command().args(["config", "set", "providers.anthropic.base_url", url]))?;
        quiet(sealed.command().args(["config", "set", "providers.anthropic.keyless", "true"]))?;
        Ok(sealed)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.env("LAZARET_HOME", &self.home);
        command
    }
}

impl Contender for Sealed {
    fn name(&self) -> String {
        "`lazaret run --engine mini`".to_owned()
    }

    fn lacks(&self) -> String {
        "-".to_owned()
    }

    fn once(&mut self) -> Result<()> {
        quiet(self.command().args(["run", "--json", "--engine", "mini", "--model", MODEL, "--no-keep", PROMPT]))
    }
}

impl Drop for Sealed {
    fn drop(&mut self) {
        // Nothing can be done about a daemon that does not stop; its next start cleans up.
        let _ = quiet(self.command().arg("stop"));
    }
}
