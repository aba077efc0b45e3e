//! A command in a running sandbox: the round trip from the call to its end.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use crate::{
    native::{Native, exec_true},
    sample::{self, Times, ms},
};

const WARM: usize = 100;
const COUNTED: usize = 2_000;

pub(crate) fn run() -> Result<String> {
    let dir = tempfile::Builder::new().prefix("lazaret-bench-").tempdir().context("failed to make a directory")?;
    let native = Native::open(dir.path())?;
    let (mut inside, mut outside) = (Vec::new(), Vec::new());
    native.runtime.block_on(async {
        let sandbox = native.start().await?;
        for round in 0..WARM + COUNTED {
            let took = timed(exec_true(&sandbox)).await?;
            let began = Instant::now();
            crate::peers::quiet(&mut Command::new("true"))?;
            if round >= WARM {
                inside.push(took);
                outside.push(began.elapsed());
            }
        }
        sandbox.stop().await.context("failed to remove a sandbox")
    })?;
    let row = |name: &str, times: &Times| format!("| {name} | {} | {} | {} |\n", ms(times.min()), ms(times.median()), ms(times.p99()));
    Ok(format!(
        "{COUNTED} rounds, interleaved. {}.\n\n| | min ms | median ms | p99 ms |\n|---|---|---|---|\n{}{}",
        sample::machine(),
        row("`true` in a running sandbox, call to exit", &Times::of(inside)),
        row("`true` on the host, spawn and wait", &Times::of(outside)),
    ))
}

async fn timed(work: impl Future<Output = Result<()>>) -> Result<Duration> {
    let began = Instant::now();
    work.await?;
    Ok(began.elapsed())
}
