//! `cargo xtask check`: what must hold before every commit.

use anyhow::Result;

use crate::{run, tidy};

/// Formatting, lints, tidy, unit tests; the quickest to fail comes first.
pub(crate) fn run() -> Result<()> {
    run::run("cargo", &["fmt", "--all", "--check"])?;
    tidy::run()?;
    run::run("cargo", &["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"])?;
    if run::has_nextest() {
        run::run("cargo", &["nextest", "run", "--workspace", "--lib", "--bins", "--locked", "--no-tests", "fail"])
    } else {
        run::run("cargo", &["test", "--workspace", "--lib", "--bins", "--locked"])
    }
}
