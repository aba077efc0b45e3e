//! The project's own tasks: `cargo xtask <task>`.
//!
//! It checks, tests, measures and documents the workspace. It depends on next to nothing, so that it is built in
//! seconds, and it knows the product only through `cargo metadata`, source files and the built binaries.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a task talks to the terminal")]

mod bench;
mod check;
mod clients;
mod config;
mod dist;
mod docs;
mod engines;
mod metadata;
mod run;
mod servers;
mod setup;
mod test;
mod tidy;

use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask <task>

tasks:
  check                     formatting, lints, tidy and unit tests
  tidy                      the rules that no compiler holds: dependencies, licences, sizes, prose
  test [unit|fuzz|e2e|escape|crash ...]
                            installs what the tests need and runs every stage, or those named
  bench [NAME ...]          measures beside the peers and rewrites the tables of docs/performance.md
  clients [--check]         rewrites the forms of clients/, or fails when they are out of date
  dist                      builds the release: archives, checksums and the list of components, in target/dist
  docs [--check]            rewrites docs/reference, or fails when it is out of date
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let outcome = match args.as_slice() {
        ["check"] => check::run(),
        ["tidy"] => tidy::run(),
        ["test", stages @ ..] => test::run(stages),
        ["bench", names @ ..] => bench::run(names),
        ["clients"] => clients::run(false),
        ["clients", "--check"] => clients::run(true),
        ["dist"] => dist::run(),
        ["docs"] => docs::run(false),
        ["docs", "--check"] => docs::run(true),
        [] | ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
