//! What an entry is, and its row.

use crate::db::{Connection, OptionalExtension, Row};
use model::{MemoryId, SessionId, Timestamp, TurnId};
use serde::{Deserialize, Serialize};

use crate::StoreError;
use crate::error::Doing;
use crate::row::{json, maybe_parsed, parsed, unreadable};

/// The longest text of an entry, in characters.
pub const MEMORY_CONTENT_CHARS_MAX: usize = 2000;
/// Tags of one entry.
pub const MEMORY_TAGS_MAX: usize = 10;
/// The longest tag, in characters.
pub const MEMORY_TAG_CHARS_MAX: usize = 50;
/// Entries of one agent, of any state.
pub const MEMORY_ENTRIES_MAX: u64 = 100_000;
/// Bytes of the texts and tags of one agent's entries.
pub const MEMORY_BYTES_MAX: u64 = 64 << 20;
/// Entries that one session stores.
pub const MEMORY_SESSION_STORES_MAX: u64 = 20;
/// Entries that one session supersedes.
pub const MEMORY_SESSION_SUPERSEDES_MAX: u64 = 5;
/// Entries that one session deletes.
pub const MEMORY_SESSION_DELETES_MAX: u64 = 5;
/// Entries that may have followed one another.
pub const MEMORY_DEPTH_MAX: u64 = 5;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$each:meta])* $variant:ident = $word:literal;)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
        #[serde(rename_all = "lowercase")]
        pub enum $name {
            $($(#[$each])* $variant,)*
        }

        impl $name {
            /// The word in the store and in answers.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }

            /// The one that a word names.
            #[must_use]
            pub fn of(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

words!(
    /// What an entry says.
    MemoryKind {
        /// How somebody likes things.
        Preference = "preference";
        /// What is to be done from now on.
        Instruction = "instruction";
        /// What was done wrong.
        Correction = "correction";
        /// What is so.
        Fact = "fact";
        /// What surrounds the work.
        Context = "context";
    }
);

words!(
    /// Where an entry stands.
    MemoryState {
        /// It is found.
        Live = "live";
        /// Another one took its place.
        Superseded = "superseded";
        /// A turn deleted it; it goes for good later.
        Deleted = "deleted";
        /// The turn that wrote it was undone.
        Withdrawn = "withdrawn";
    }
);

words!(
    /// Who wrote an entry.
    MemoryAuthor {
        /// An agent, in a turn.
        Agent = "agent";
        /// A person.
        Owner = "owner";
    }
);

impl MemoryKind {
    /// Whether an entry of this kind is meant to change what an agent does.
    #[must_use]
    pub fn is_behavioural(self) -> bool {
        matches!(self, Self::Preference | Self::Instruction | Self::Correction)
    }
}

/// Whose memory it is. One agent's sessions of one tenant share it, and nobody else.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MemoryOwner {
    /// The tenant.
    pub tenant: String,
    /// The agent.
    pub agent: String,
}

/// Where an entry comes from, as the host knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemorySource {
    /// Who wrote it.
    pub author: MemoryAuthor,
    /// The session.
    pub session: Option<SessionId>,
    /// The turn.
    pub turn: Option<TurnId>,
    /// The agent's group.
    pub group: Option<String>,
    /// The channel that the turn came from.
    pub channel: Option<String>,
}

impl MemorySource {
    /// A person, outside of any session.
    pub const OWNER: MemorySource = MemorySource { author: MemoryAuthor::Owner, session: None, turn: None, group: None, channel: None };
}

/// An entry to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMemory {
    /// Its identity.
    pub id: MemoryId,
    /// Whose it is.
    pub owner: MemoryOwner,
    /// What it says.
    pub kind: MemoryKind,
    /// Whether it waits for a person although its kind does not: what it says could change what the agent does.
    pub behavioural: bool,
    /// The text: 1 to [`MEMORY_CONTENT_CHARS_MAX`] characters.
    pub content: String,
    /// At most [`MEMORY_TAGS_MAX`] of at most [`MEMORY_TAG_CHARS_MAX`] characters.
    pub tags: Vec<String>,
    /// The live entry whose place it takes.
    pub supersedes: Option<MemoryId>,
    /// Where it comes from.
    pub source: MemorySource,
    /// Now.
    pub now: Timestamp,
}

/// A stored entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct MemoryRow {
    /// Its identity.
    pub id: MemoryId,
    /// The tenant.
    pub tenant: String,
    /// The agent.
    pub agent: String,
    /// What it says.
    #[serde(rename = "type")]
    pub kind: MemoryKind,
    /// Whether it could change what the agent does.
    pub behavioural: bool,
    /// The text.
    pub content: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// Where it stands.
    pub state: MemoryState,
    /// Who wrote it.
    pub by: MemoryAuthor,
    /// The session that wrote it.
    pub session: Option<SessionId>,
    /// The turn that wrote it.
    pub turn: Option<TurnId>,
    /// The agent's group then.
    pub group: Option<String>,
    /// The channel that the turn came from.
    pub channel: Option<String>,
    /// When it was written.
    pub created: Timestamp,
    /// When a person confirmed it.
    pub confirmed: Option<Timestamp>,
    /// The entry whose place it took.
    pub supersedes: Option<MemoryId>,
    /// When another one took its place.
    pub superseded: Option<Timestamp>,
}

impl MemoryRow {
    /// Whether it may change what the agent does only after a person has confirmed it.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.behavioural && self.confirmed.is_none()
    }
}

/// The columns that [`from_row`] reads.
pub(super) const COLUMNS: &str = "m.*, o.tenant AS tenant, o.agent AS agent";
/// The tables that have them.
pub(super) const TABLES: &str = "memories m JOIN memory_owners o ON o.id = m.owner";

pub(super) fn from_row(row: &Row<'_>) -> crate::db::Result<MemoryRow> {
    let time = |column| Ok::<_, crate::db::DbError>(row.get::<_, Option<u64>>(column)?.map(Timestamp));
    Ok(MemoryRow {
        id: parsed(row, "id")?,
        tenant: row.get("tenant")?,
        agent: row.get("agent")?,
        kind: word(row, "kind", MemoryKind::of)?,
        behavioural: row.get("behavioural")?,
        content: row.get("content")?,
        tags: json(row, "tags")?,
        state: word(row, "state", MemoryState::of)?,
        by: word(row, "author", MemoryAuthor::of)?,
        session: maybe_parsed(row, "session")?,
        turn: maybe_parsed(row, "turn")?,
        group: row.get("grp")?,
        channel: row.get("channel")?,
        created: Timestamp(row.get("created_ms")?),
        confirmed: time("confirmed_ms")?,
        supersedes: maybe_parsed(row, "supersedes")?,
        superseded: time("superseded_ms")?,
    })
}

fn word<T>(row: &Row<'_>, column: &str, of: fn(&str) -> Option<T>) -> crate::db::Result<T> {
    let text: String = row.get(column)?;
    of(&text).ok_or_else(|| unreadable(format!("`{text}` is no {column} of a memory").into()))
}

/// The number of an owner that has stored something.
pub(super) fn owner_number(conn: &Connection, owner: &MemoryOwner) -> Result<Option<i64>, StoreError> {
    let doing = "look for an agent's memory";
    let mut statement = conn.prepare_cached("SELECT id FROM memory_owners WHERE tenant = ?1 AND agent = ?2").doing(doing)?;
    statement.query_row((&owner.tenant, &owner.agent), |r| r.get(0)).optional().doing(doing)
}

/// What counts against [`MEMORY_BYTES_MAX`].
pub(super) fn bytes_of(content: &str, tags: &[String]) -> i64 {
    let bytes = content.len() + tags.iter().map(String::len).sum::<usize>();
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// The entry of this identity, of any state, with its place; of this owner only.
pub(super) fn read_own(conn: &Connection, owner: i64, id: &MemoryId) -> Result<(i64, MemoryRow), StoreError> {
    let doing = "read a memory";
    let sql = format!("SELECT {COLUMNS} FROM {TABLES} WHERE m.id = ?1 AND m.owner = ?2");
    let mut statement = conn.prepare_cached(&sql).doing(doing)?;
    let found = statement.query_row((id.as_str(), owner), |r| Ok((r.get("n")?, from_row(r)?))).optional().doing(doing)?;
    found.ok_or_else(|| missing(id))
}

pub(super) fn missing(id: &MemoryId) -> StoreError {
    StoreError::NotFound { what: "memory", id: id.as_str().to_owned() }
}
