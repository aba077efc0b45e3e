//! `cargo xtask tidy`: the rules that no compiler holds.

mod crates;
mod prose;
mod scan;
mod source;

use anyhow::{Result, bail};

use crate::run;

/// What is wrong, one line each: where, and what to do.
pub(crate) type Problems = Vec<String>;

/// Checks everything and prints every problem before it fails.
pub(crate) fn run() -> Result<()> {
    let files = run::files()?;
    let mut problems = Problems::new();
    crates::check(&mut problems)?;
    source::check(&files, &mut problems)?;
    prose::check(&files, &mut problems)?;
    for problem in &problems {
        eprintln!("tidy: {problem}");
    }
    if !problems.is_empty() {
        bail!("{} problems of tidiness", problems.len());
    }
    eprintln!("tidy: {} files are in order", files.len());
    Ok(())
}
