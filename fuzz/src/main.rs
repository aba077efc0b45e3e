//! Hostile bytes for every parser that reads what a guest, an engine, a provider or a user wrote.
//!
//! A plain program on the stable compiler: `lazaret-fuzz [--seconds N] [--seed N] [TARGET ...]`. Each target is one
//! function that must neither panic nor take long nor break what it asserts; see `targets`. Inputs are mutations of the
//! files in fuzz/corpus/<target>, and what a target answers about an input (its *shape*) decides whether the mutation
//! is kept as a start for others. The seed is printed; with it and the same time a run can be had again.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program of the terminal")]

mod driver;
mod mutate;
mod targets;

use std::{
    collections::VecDeque,
    process::ExitCode,
    sync::Mutex,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use driver::Verdict;
use targets::Target;

/// A parser that asks for more memory than this is a failure. All targets share it.
const ADDRESS_SPACE_BYTES_MAX: u64 = 4 << 30;

struct Options {
    each: Duration,
    seed: u64,
    chosen: Vec<&'static Target>,
    replay: Option<String>,
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<bool> {
    let Some(options) = options()? else { return Ok(true) };
    let allowed = rustix::process::getrlimit(rustix::process::Resource::As).maximum;
    let current = allowed.map_or(ADDRESS_SPACE_BYTES_MAX, |max| max.min(ADDRESS_SPACE_BYTES_MAX));
    let limit = rustix::process::Rlimit { current: Some(current), maximum: allowed };
    rustix::process::setrlimit(rustix::process::Resource::As, limit).context("failed to limit the memory of this process")?;
    if let Some(path) = &options.replay {
        let input = std::fs::read(path).with_context(|| format!("failed to read {path}"))?;
        for target in &options.chosen {
            println!("{}: shape {:016x}", target.name, (target.run)(&input));
        }
        return Ok(true);
    }
    let began = Instant::now();
    let queue: Mutex<VecDeque<&Target>> = Mutex::new(options.chosen.iter().copied().collect());
    let failed = Mutex::new(0usize);
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(target) = queue.lock().ok().and_then(|mut queue| queue.pop_front()) {
                    let verdict = driver::drive(target, options.seed, options.each);
                    if report(target, options.seed, &verdict) {
                        continue;
                    }
                    if let Ok(mut failed) = failed.lock() {
                        *failed += 1;
                    }
                }
            });
        }
    });
    targets::close();
    let failed = failed.lock().map_or(1, |failed| *failed);
    let word = if failed > 0 { "FAILED" } else { "ok" };
    let passed = options.chosen.len() - failed;
    let seconds = began.elapsed().as_secs_f64();
    println!("\ntest result: {word}. {passed} passed; {failed} failed; 0 ignored; 0 measured; 0 filtered out; finished in {seconds:.2}s");
    Ok(failed == 0)
}

/// Prints how a target fared; answers whether it passed.
fn report(target: &Target, seed: u64, verdict: &Verdict) -> bool {
    match verdict {
        Verdict::Passed { inputs, shapes } => {
            println!("test {} ... ok ({inputs} inputs, {shapes} shapes, seed {seed})", target.name);
            true
        }
        Verdict::Failed { why, kept } => {
            println!("test {} ... FAILED (seed {seed}): {why}", target.name);
            println!("  run again with: lazaret-fuzz --replay {} {}", kept.display(), target.name);
            false
        }
    }
}

fn options() -> Result<Option<Options>> {
    let mut options = Options { each: Duration::from_secs(20), seed: driver::fresh_seed(), chosen: Vec::new(), replay: None };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().with_context(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--seconds" => options.each = Duration::from_secs(value()?.parse().context("--seconds takes a whole number")?),
            "--seed" => options.seed = value()?.parse().context("--seed takes a whole number")?,
            "--replay" => options.replay = Some(value()?),
            "--list" => {
                targets::ALL.iter().for_each(|target| println!("{}", target.name));
                return Ok(None);
            }
            name => match targets::ALL.iter().find(|target| target.name == name) {
                Some(target) => options.chosen.push(target),
                None => bail!("there is no target `{name}`; see --list"),
            },
        }
    }
    if options.chosen.is_empty() {
        options.chosen = targets::ALL.iter().collect();
    }
    Ok(Some(options))
}
