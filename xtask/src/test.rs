//! `cargo xtask test`: everything that shows that the program works.

use std::{
    num::NonZero,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

use crate::{
    engines, metadata,
    run::{self, Tee},
    servers, setup,
};

/// The stages in their order: what fails quickest comes first.
const STAGES: &[Stage] = &[Stage::Unit, Stage::Fuzz, Stage::E2e, Stage::Escape, Stage::Crash];

/// How long each fuzz target runs.
const FUZZ_SECONDS: &str = "10";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Unit tests of every crate and its crate tests.
    Unit,
    /// Every fuzz target for a short while.
    Fuzz,
    /// The shipped binary as a user runs it.
    E2e,
    /// What must be denied inside a sandbox.
    Escape,
    /// Kills at every labelled point.
    Crash,
}

impl Stage {
    fn name(self) -> &'static str {
        match self {
            Stage::Unit => "unit",
            Stage::Fuzz => "fuzz",
            Stage::E2e => "e2e",
            Stage::Escape => "escape",
            Stage::Crash => "crash",
        }
    }
}

/// What a stage did.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Tally {
    passed: usize,
    failed: usize,
    skipped: usize,
}

/// Runs the named stages, or all of them; a failed stage does not keep the later ones from running.
pub(crate) fn run(names: &[&str]) -> Result<()> {
    let stages = choose(names)?;
    let began = Instant::now();
    setup::machine()?;
    if stages.contains(&Stage::E2e) || stages.contains(&Stage::Crash) {
        engines::fetch()?;
    }
    if [Stage::Unit, Stage::E2e, Stage::Crash].iter().any(|stage| stages.contains(stage)) {
        servers::install()?;
    }
    let mut rows = vec![("set-up", began.elapsed(), Tally::default())];
    for stage in stages {
        eprintln!("\n== {} ==", stage.name());
        let stage_began = Instant::now();
        let outcome = match stage {
            Stage::Fuzz => fuzz(),
            Stage::Unit => unit(),
            Stage::E2e | Stage::Escape | Stage::Crash => suite(stage.name()),
        };
        // A stage that could not even run counts as one failure, and the others still have their say.
        let tally = outcome.unwrap_or_else(|error| {
            eprintln!("error: {error:#}");
            Tally { failed: 1, ..Tally::default() }
        });
        rows.push((stage.name(), stage_began.elapsed(), tally));
    }
    close(&rows, began.elapsed())
}

fn choose(names: &[&str]) -> Result<Vec<Stage>> {
    if names.is_empty() {
        return Ok(STAGES.to_vec());
    }
    if let Some(unknown) = names.iter().find(|name| !STAGES.iter().any(|s| s.name() == **name)) {
        let known: Vec<&str> = STAGES.iter().map(|s| s.name()).collect();
        bail!("there is no stage `{unknown}`; the stages are {}", known.join(", "));
    }
    Ok(STAGES.iter().copied().filter(|s| names.contains(&s.name())).collect())
}

/// The program of chat networks.
const CHANNELS: &str = "lazaret-channels";

/// Everything but the suites that are stages of their own. Test targets are listed by name, so that a new one is never
/// left out.
fn unit() -> Result<Tally> {
    let members = metadata::members()?;
    let suites: Vec<&str> = STAGES.iter().map(|s| s.name()).collect();
    let mut targets: Vec<&str> =
        members.iter().flat_map(|p| &p.targets).filter(|t| t.is_test).map(|t| t.name.as_str()).filter(|t| !suites.contains(t)).collect();
    targets.sort_unstable();
    targets.dedup();
    let mut args = vec!["--lib", "--bins"];
    for target in targets {
        args.extend(["--test", target]);
    }
    runner(&args)
}

/// One suite: the test target of that name.
fn suite(name: &str) -> Result<Tally> {
    let members = metadata::members()?;
    if !members.iter().flat_map(|p| &p.targets).any(|t| t.is_test && t.name == name) {
        bail!("no crate has a test target `{name}`: the suite in tests/{name} is not built");
    }
    // Suites run the program of networks that lies beside the daemon's, and no test of this target makes cargo build it.
    run::build_beside_tests(CHANNELS)?;
    runner(&["--test", name])
}

/// Runs tests of the whole workspace, always with the same profile and features so that nothing is built twice.
fn runner(args: &[&str]) -> Result<Tally> {
    let with_nextest = run::has_nextest();
    let mut command = match with_nextest {
        true => run::command("cargo", &["nextest", "run", "--workspace", "--locked", "--no-fail-fast", "--no-tests", "fail"]),
        false => run::command("cargo", &["test", "--workspace", "--locked", "--no-fail-fast"]),
    };
    command.args(args);
    // A test waits for much of its time: for disks, for the kernel, for what it watches to happen.
    let at_once = std::thread::available_parallelism().map_or(1, NonZero::get) * 3 / 2;
    command.args((!with_nextest).then_some("--")).arg(format!("--test-threads={at_once}"));
    let mut tally = Tally::default();
    let which = if with_nextest { Tee::Stderr } else { Tee::Stdout };
    let succeeded = run::tee(command, which, |line| {
        if let Some(found) = if with_nextest { nextest_summary(line) } else { libtest_summary(line) } {
            tally.passed += found.passed;
            tally.failed += found.failed;
            tally.skipped += found.skipped;
        }
    })?;
    Ok(settle(tally, succeeded))
}

/// A runner that failed without a failed test (a build error, a crash of the runner) counts as one failure, and so does
/// one that ran nothing.
fn settle(mut tally: Tally, succeeded: bool) -> Tally {
    if (!succeeded || tally.passed == 0) && tally.failed == 0 {
        tally.failed = 1;
    }
    tally
}

/// Reads nextest's `Summary [   1.2s] 3 tests run: 2 passed (1 slow), 1 failed, 0 skipped`.
fn nextest_summary(line: &str) -> Option<Tally> {
    let plain = without_colours(line);
    let (_, counts) = plain.trim_start().strip_prefix("Summary [")?.split_once(" run: ")?;
    // What stands in parentheses says more of those that passed.
    let counts: String =
        counts.split('(').enumerate().map(|(i, p)| if i == 0 { p } else { p.split_once(')').map_or("", |(_, after)| after) }).collect();
    let mut tally = Tally::default();
    for part in counts.split(',') {
        let mut words = part.split_whitespace();
        let Some(count) = words.next().and_then(|n| n.parse::<usize>().ok()) else { continue };
        match words.next() {
            Some("passed") => tally.passed += count,
            Some("skipped") => tally.skipped += count,
            _ => tally.failed += count,
        }
    }
    Some(tally)
}

/// Reads the standard harness's `test result: ok. 3 passed; 0 failed; 0 ignored; ...`.
fn libtest_summary(line: &str) -> Option<Tally> {
    let (_, counts) = line.trim_start().strip_prefix("test result: ")?.split_once(". ")?;
    let count = |word: &str| {
        let part = counts.split(';').find(|part| part.trim_end().ends_with(word))?;
        part.split_whitespace().next()?.parse::<usize>().ok()
    };
    Some(Tally { passed: count(" passed")?, failed: count(" failed")?, skipped: count(" ignored")? })
}

fn without_colours(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, after)) = rest.split_once('\x1b') {
        plain.push_str(before);
        rest = after.split_once('m').map_or("", |(_, after)| after);
    }
    plain + rest
}

/// Builds and runs the fuzz driver. It prints a line for each target and the runner's form of summary.
fn fuzz() -> Result<Tally> {
    run::build_beside_tests("lazaret-fuzz")?;
    let driver = metadata::target_directory()?.join("debug/lazaret-fuzz");
    let driver = driver.to_string_lossy().into_owned();
    let mut tally = Tally::default();
    let succeeded = run::tee(run::command(&driver, &["--seconds", FUZZ_SECONDS]), Tee::Stdout, |line| {
        if let Some(found) = libtest_summary(line) {
            tally = found;
        }
    })?;
    Ok(settle(tally, succeeded))
}

/// Prints the stages with their times and closes as the runner closes a single run.
fn close(rows: &[(&str, Duration, Tally)], took: Duration) -> Result<()> {
    let mut total = Tally::default();
    println!("\n{:<8} {:>9} {:>7} {:>7} {:>8}", "stage", "time", "passed", "failed", "skipped");
    for (name, took, tally) in rows {
        println!("{name:<8} {:>8.1}s {:>7} {:>7} {:>8}", took.as_secs_f64(), tally.passed, tally.failed, tally.skipped);
        total.passed += tally.passed;
        total.failed += tally.failed;
        total.skipped += tally.skipped;
    }
    let seconds = took.as_secs_f64();
    let run = total.passed + total.failed;
    if run::has_nextest() {
        let failed = if total.failed > 0 { format!(", {} failed", total.failed) } else { String::new() };
        println!("     Summary [{seconds:>8.3}s] {run} tests run: {} passed{failed}, {} skipped", total.passed, total.skipped);
    } else {
        let word = if total.failed > 0 { "FAILED" } else { "ok" };
        let Tally { passed, failed, skipped } = total;
        println!(
            "test result: {word}. {passed} passed; {failed} failed; {skipped} ignored; 0 measured; 0 filtered out; finished in {seconds:.2}s"
        );
    }
    if total.failed > 0 {
        bail!("{} of {run} tests failed", total.failed);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_are_read() {
        let nextest = |line| nextest_summary(line).map(|t| (t.passed, t.failed, t.skipped));
        assert_eq!(nextest("     Summary [   0.021s] 13 tests run: 13 passed, 0 skipped"), Some((13, 0, 0)));
        assert_eq!(
            nextest("     Summary [ 1.0s] 9 tests run: 6 passed (2 slow, 1 flaky), 2 failed, 1 timed out, 4 skipped"),
            Some((6, 3, 4))
        );
        assert_eq!(
            nextest("\x1b[32;1m     Summary\x1b[0m [   0.021s] \x1b[1m1\x1b[0m test run: \x1b[1m1\x1b[0m \x1b[32mpassed\x1b[0m, 0 skipped"),
            Some((1, 0, 0))
        );
        assert_eq!(nextest("        PASS [   0.021s] a::b"), None);
        let libtest = |line| libtest_summary(line).map(|t| (t.passed, t.failed, t.skipped));
        assert_eq!(
            libtest("test result: FAILED. 3 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.00s"),
            Some((3, 1, 2))
        );
        assert_eq!(libtest("test a::b ... ok"), None);
    }

    #[test]
    fn a_runner_that_fails_or_runs_nothing_is_a_failure() {
        let tally = |passed, failed| Tally { passed, failed, skipped: 0 };
        assert_eq!(settle(tally(3, 0), true), tally(3, 0));
        assert_eq!(settle(tally(3, 0), false), tally(3, 1));
        assert_eq!(settle(tally(0, 0), true), tally(0, 1));
        assert_eq!(settle(tally(3, 2), false), tally(3, 2));
    }

    #[test]
    fn stages_run_in_their_own_order_and_unknown_ones_are_refused() {
        let names = |given: &[&str]| choose(given).ok().map(|stages| stages.iter().map(|s| s.name()).collect::<Vec<_>>());
        assert_eq!(names(&["crash", "unit"]), Some(vec!["unit", "crash"]));
        assert_eq!(names(&[]).map(|all| all.len()), Some(STAGES.len()));
        assert_eq!(names(&["units"]), None);
    }
}
