//! What the sandboxes alone cost: no job can be quicker that has one of its own.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::Result;
use futures_util::future::try_join_all;

use super::rate;
use super::whole::Line;
use crate::native::{Native, exec_true};

/// Sandboxes that come and go.
const ALL: usize = 400;
/// Of them at once.
const AT_ONCE: usize = 8;

/// As many in a second as there can be when nothing but `true` runs in each.
pub(super) fn run() -> Result<Line> {
    let dir = tempfile::Builder::new().prefix("lazaret-bench-").tempdir()?;
    let native = Native::open(dir.path())?;
    let left = AtomicUsize::new(ALL);
    let one = async || {
        while left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok() {
            let sandbox = native.start().await?;
            exec_true(&sandbox).await?;
            sandbox.stop().await?;
        }
        anyhow::Ok(())
    };
    let began = Instant::now();
    native.runtime.block_on(try_join_all((0..AT_ONCE).map(|_| one())))?;
    Ok((
        format!("the floor: a sandbox made, `true` in it, removed, {AT_ONCE} at once, and nothing of jobs"),
        format!("{:.0}/s", rate(ALL, began.elapsed())),
    ))
}
