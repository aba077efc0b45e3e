//! Many sandboxes: one hundred one after another, one thousand at once, and what they cost the host.

use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::{
    native::{Native, exec_true},
    sample,
};

const IN_A_ROW: usize = 100;
const AT_ONCE: usize = 1_000;

pub(crate) fn run() -> Result<String> {
    let dir = tempfile::Builder::new().prefix("lazaret-bench-").tempdir().context("failed to make a directory")?;
    let native = Native::open(dir.path())?;
    if native.most() < AT_ONCE {
        bail!("this machine allows {} sandboxes at once: raise the limit of open files", native.most());
    }
    native.runtime.block_on(async {
        let began = Instant::now();
        for _ in 0..IN_A_ROW {
            let sandbox = native.start().await?;
            exec_true(&sandbox).await?;
            sandbox.stop().await?;
        }
        let in_a_row = began.elapsed();

        let (free, own) = (available_kib()?, resident_kib()?);
        let began = Instant::now();
        let mut alive = Vec::with_capacity(AT_ONCE);
        for _ in 0..AT_ONCE {
            alive.push(native.start().await?);
        }
        let started = began.elapsed();
        for sandbox in &alive {
            sandbox.ping().await.context("a sandbox does not answer")?;
        }
        let (host, daemon) = (free.saturating_sub(available_kib()?), resident_kib()?.saturating_sub(own));
        let began = Instant::now();
        for sandbox in alive {
            sandbox.stop().await?;
        }
        let each = |kib: u64| format!("{} KiB", kib / AT_ONCE as u64);
        Ok(format!(
            "{}.\n\n| | |\n|---|---|\n| {IN_A_ROW} starts with `true` and removal, one after another | {:.2} s |\n| {AT_ONCE} sandboxes alive at once, all answer: started in | {:.2} s |\n| host memory for each, all that the kernel counts | {} |\n| of it in the daemon | {} |\n| all removed in | {:.2} s |\n",
            sample::machine(),
            in_a_row.as_secs_f64(),
            started.as_secs_f64(),
            each(host),
            each(daemon),
            began.elapsed().as_secs_f64(),
        ))
    })
}

/// Memory that the whole machine could still give, in KiB.
fn available_kib() -> Result<u64> {
    field("/proc/meminfo", "MemAvailable:")
}

/// Memory of this process, in KiB.
fn resident_kib() -> Result<u64> {
    field("/proc/self/status", "VmRSS:")
}

fn field(path: &str, name: &str) -> Result<u64> {
    let text = std::fs::read_to_string(path).with_context(|| format!("failed to read {path}"))?;
    let value = text.lines().find_map(|line| line.strip_prefix(name)).and_then(|rest| rest.split_whitespace().next());
    value.and_then(|v| v.parse().ok()).with_context(|| format!("{path} has no {name}"))
}
