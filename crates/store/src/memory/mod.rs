//! What agents remember: one table for all, in which whose an entry is stands in every query and in every word of the index.
//!
//! An entry is written by a turn or by a person. One that could change what its agent does waits until a person confirms it.
//! When a turn is undone, what it wrote, superseded or deleted is as it was before; going forward again brings it back.

mod brief;
mod change;
mod entry;
mod index;
mod people;
mod search;
mod words;

pub use brief::MemoryBrief;
pub use entry::{
    MEMORY_BYTES_MAX, MEMORY_CONTENT_CHARS_MAX, MEMORY_DEPTH_MAX, MEMORY_ENTRIES_MAX, MEMORY_SESSION_DELETES_MAX,
    MEMORY_SESSION_STORES_MAX, MEMORY_SESSION_SUPERSEDES_MAX, MEMORY_TAG_CHARS_MAX, MEMORY_TAGS_MAX, MemoryAuthor, MemoryKind, MemoryOwner,
    MemoryRow, MemorySource, MemoryState, NewMemory,
};
pub use people::{MemoryFilter, MemoryScope};
pub use search::{FoundMemory, MEMORY_QUERY_CHARS_MAX, MEMORY_RESULTS_MAX, MemoryQuery};

pub(crate) use change::follow_head;
