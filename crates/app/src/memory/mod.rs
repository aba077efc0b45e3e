//! What agents remember: the tools by which they do, what a session is told when it begins, and what people do with it.
//!
//! What a turn wrote is a claim of whatever the agent read. What only says how things are is told to later sessions as such.
//! What could change the agent waits: until a person has confirmed it, no other session sees its text.

mod brief;
mod claim;
mod people;
mod tools;

pub use people::{MemoriesOf, MemoryForm, MemoryPurge, MemoryQueryForm, MemoryView};

pub(crate) use claim::is_commanding;
pub(crate) use tools::{TOOLS, cleaned, tools};

use std::time::Duration;

use model::Timestamp;

use crate::App;

/// How often memories are looked through for those that go.
const PURGE_EVERY: Duration = Duration::from_secs(6 * 3600);
/// Memories that one write removes: others want to write as well.
const PURGE_AT_ONCE: usize = 500;

impl App {
    /// Removes for good what has not been found for so long, from now on and again.
    pub(crate) fn forget_old_memories(&self) {
        let app = self.clone();
        let cancel = self.cancel().clone();
        self.spawn(async move {
            loop {
                let keep = u64::try_from(app.settings().memory.keep.as_millis()).unwrap_or(u64::MAX);
                let before = Timestamp(crate::now().0.saturating_sub(keep));
                loop {
                    match app.store().expire_memories(before, PURGE_AT_ONCE).await {
                        Ok(gone) if gone == PURGE_AT_ONCE && !cancel.is_cancelled() => {}
                        Ok(_) => break,
                        Err(error) => {
                            tracing::warn!(error = model::chain(&error), "old memories were not removed");
                            break;
                        }
                    }
                }
                tokio::select! {
                    () = cancel.cancelled() => return,
                    () = tokio::time::sleep(PURGE_EVERY) => {}
                }
            }
        });
    }
}

/// What the configuration says of memories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemorySettings {
    /// Whether agents remember at all.
    pub enabled: bool,
    /// The most characters that a session is told; 0 for nothing.
    pub brief_chars: usize,
    /// How long what is not found any more is kept.
    pub keep: Duration,
}

/// The most that a session can be told, in characters.
pub const MEMORY_BRIEF_CHARS_MAX: usize = 10_000;

impl Default for MemorySettings {
    fn default() -> Self {
        Self { enabled: true, brief_chars: MEMORY_BRIEF_CHARS_MAX, keep: Duration::from_secs(90 * 86_400) }
    }
}
