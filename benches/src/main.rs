//! What is measured, each promise beside its peers in one interleaved run: `lazaret-bench [--list | NAME]`.
//!
//! Every bench prints a part of docs/performance.md; `cargo xtask bench` puts it there. Runs are interleaved, one sample
//! of each contender after the other, so that whatever else the machine does meets all of them alike.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program of the terminal")]

mod branches;
mod broker;
mod channels;
mod daemon;
mod doors;
mod egress;
mod exec;
mod jobs;
mod many;
mod memory;
mod models;
mod native;
mod peers;
mod sample;
mod sessions;
mod soak;
mod start;
mod task;

use std::process::ExitCode;

use anyhow::{Context, Result};

/// One bench: its name, and what prints its part of the page.
type Bench = (&'static str, fn() -> Result<String>);

/// Every bench, in the order of the page.
const ALL: &[Bench] = &[
    ("start", start::run),
    ("exec", exec::run),
    ("many", many::run),
    ("run", task::run),
    ("sessions", sessions::run),
    ("gateway", models::run),
    ("egress", egress::run),
    ("broker", broker::run),
    ("doors", doors::run),
    ("jobs", jobs::run),
    ("job-lists", jobs::run_lists),
    ("channels", channels::run),
    ("branches", branches::run),
];

/// Benches that take too long to be run with the others.
const LONG: &[Bench] = &[("soak", soak::run), ("soak-jobs", jobs::soak::run), ("memory", memory::run)];

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    // The bench of channels is its own channel.
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let Some(done) = channels::program::run(&args) {
        return done;
    }
    let name = std::env::args().nth(1).context("usage: lazaret-bench [--list | NAME]")?;
    if name == "--list" {
        ALL.iter().for_each(|(name, _)| println!("{name}"));
        return Ok(());
    }
    let (_, bench) = ALL.iter().chain(LONG).find(|(known, _)| *known == name).with_context(|| format!("there is no bench `{name}`"))?;
    println!("{}", bench()?);
    Ok(())
}
