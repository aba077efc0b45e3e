//! Named places where a test may end the process.

use std::sync::OnceLock;

/// Called at every named place once it is set.
static HOOK: OnceLock<fn(&'static str)> = OnceLock::new();

/// Lets `hook` run at every named place from now on; only the first call counts. The program sets one that aborts the
/// process at the place that the tests chose, and nothing otherwise.
pub fn set(hook: fn(&'static str)) {
    // The first hook stays: two of them would make a crash test say nothing.
    let _ = HOOK.set(hook);
}

/// A place where a crash must lose nothing. Does nothing unless a hook is set.
#[inline]
pub fn point(name: &'static str) {
    if let Some(hook) = HOOK.get() {
        hook(name);
    }
}
