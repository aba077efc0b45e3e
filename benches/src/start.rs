//! A sandbox from nothing to `true` to gone.

use std::{fmt::Write as _, sync::Arc};

use anyhow::{Context, Result};

use crate::{
    native::{AsProcess, InDaemon, Native},
    peers::{Bubblewrap, Crun, Docker, Floor, Skeleton},
    sample::{self, Contender, Rounds, Times, interleave, ms},
};

const ROUNDS: Rounds = Rounds { warm: 10, counted: 300 };

pub(crate) fn run() -> Result<String> {
    let dir = tempfile::Builder::new().prefix("lazaret-bench-").tempdir().context("failed to make a directory")?;
    let skeleton = Skeleton::make(&dir.path().join("skeleton"))?;
    let native = Arc::new(Native::open(dir.path())?);
    let mut contenders: Vec<Box<dyn Contender>> = vec![
        Box::new(Floor::prepare(dir.path())?),
        Box::new(Bubblewrap::prepare(dir.path(), &skeleton)?),
        Box::new(Crun::prepare(dir.path())?),
        Box::new(InDaemon(native)),
        Box::new(AsProcess::prepare(dir.path())?),
        Box::new(Docker::prepare(dir.path())?),
    ];
    let times = interleave(&mut contenders, ROUNDS)?;
    Ok(table(&contenders, &times))
}

fn table(contenders: &[Box<dyn Contender>], times: &[Times]) -> String {
    let floor = times.first().map_or(1.0, |times| times.min().as_secs_f64());
    let mut text = format!(
        "{} rounds, interleaved. {}.\n\n| | min ms | median ms | p99 ms | min x floor | what it lacks beside ours |\n|---|---|---|---|---|---|\n",
        ROUNDS.counted,
        sample::machine()
    );
    for (contender, times) in contenders.iter().zip(times) {
        let ratio = times.min().as_secs_f64() / floor;
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {ratio:.2} | {} |",
            contender.name(),
            ms(times.min()),
            ms(times.median()),
            ms(times.p99()),
            contender.lacks()
        );
    }
    text
}
