//! What jobs cost: taking them, running them to the end, waiting for them, and listing a million.

mod baseline;
mod due;
mod floor;
mod lists;
mod queue;
pub(crate) mod soak;
mod waits;
mod whole;

use anyhow::{Context, Result};

use crate::sample::{self};

pub(crate) fn run() -> Result<String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut text = whole::run()?;
    text.push_str(&runtime.block_on(queue::run()).context("the queue")?);
    text.push_str(&format!("\n{}.\n", sample::machine()));
    Ok(text)
}

/// The lists by themselves: a million rows take their time.
pub(crate) fn run_lists() -> Result<String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let text = runtime.block_on(lists::run())?;
    Ok(format!("{}\n{}.\n", text.trim_start(), sample::machine()))
}

/// How many in a second.
#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn rate(n: usize, took: std::time::Duration) -> f64 {
    n as f64 / took.as_secs_f64()
}
