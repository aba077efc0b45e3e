//! The lines of an export: one JSON object each, those that others name first.

use std::collections::BTreeMap;

use model::{ChatPolicy, Code, Engage, EventKind, Ignored, Outcome, Senders, SessionMode, Timestamp, TurnState};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use store::{MemoryAuthor, MemoryKind};

use crate::AgentForm;

/// The form that this program writes, and the latest that it reads.
pub const CARRY_FORM: u32 = 1;
/// The longest line, in bytes.
pub const CARRY_LINE_BYTES_MAX: usize = 16 << 20;

/// One line. `id` is what the install that it comes from calls it, and what other lines name it by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(clippy::large_enum_variant, reason = "one line at a time is held")]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum CarryLine {
    /// The first, once.
    Begin {
        /// [`CARRY_FORM`].
        form: u32,
        /// What kind of install it comes from: a name.
        source: String,
        /// The version of the program that wrote it.
        lazaret: String,
    },
    /// An agent.
    Agent {
        /// Its identity there.
        id: String,
        /// What it is.
        agent: AgentForm,
    },
    /// A folder that tells agents how something is done. No agent has it before a person gave it one.
    Skill {
        /// Its identity there.
        id: String,
        /// What its folder is called.
        name: String,
        /// Where it lay, for people.
        source: String,
        /// Its files: a tar archive in base64.
        archive: String,
    },
    /// Somebody.
    Person {
        /// Their identity there.
        id: String,
        /// What they are called.
        #[serde(default)]
        name: String,
        /// Their address, where they log in by one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        email: Option<String>,
        /// What they are in the tenant.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        role: Option<String>,
    },
    /// An account of a network, without its credentials.
    Channel {
        /// Its identity there.
        id: String,
        /// Its name.
        name: String,
        /// Its network.
        network: String,
        /// What its program is told.
        #[serde(default)]
        config: Map<String, Value>,
    },
    /// A chat.
    Chat {
        /// Its identity there.
        id: String,
        /// The account, by its identity there.
        channel: String,
        /// The platform's id.
        chat: String,
        /// What people call it.
        #[serde(default)]
        name: String,
        /// Whether others than one person can be in it.
        #[serde(default)]
        group: bool,
        /// What becomes of who is not known.
        policy: ChatPolicy,
        /// Whether nothing of it is wanted.
        #[serde(default)]
        denied: bool,
    },
    /// That a network's id is somebody's.
    Handle {
        /// Its identity there.
        id: String,
        /// The account, by its identity there.
        channel: String,
        /// The network's id of them.
        handle: String,
        /// Whose it is, by their identity there.
        person: String,
        /// For showing only.
        #[serde(default)]
        name: String,
    },
    /// What somebody is to an agent.
    Role {
        /// Its identity there.
        id: String,
        /// Who, by their identity there.
        person: String,
        /// The agent, by its identity there.
        agent: String,
        /// `member` or `admin`.
        role: String,
    },
    /// That an agent hears a chat.
    Wiring {
        /// Its identity there.
        id: String,
        /// The chat, by its identity there.
        chat: String,
        /// The agent, by its identity there.
        agent: String,
        /// When it engages.
        engage: Engage,
        /// What is looked for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pattern: Option<String>,
        /// Whose messages engage it.
        senders: Senders,
        /// What becomes of the others.
        ignored: Ignored,
        /// Which messages belong together.
        mode: SessionMode,
        /// The higher is asked first.
        #[serde(default)]
        priority: i64,
        /// Whether what other programs say is heard.
        #[serde(default)]
        bots: bool,
    },
    /// Where an agent may send to.
    Destination {
        /// Its identity there.
        id: String,
        /// The agent, by its identity there.
        agent: String,
        /// The agent's name for it.
        name: String,
        /// The chat, by its identity there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        chat: Option<String>,
        /// A thread in it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        thread: Option<String>,
        /// Another agent, by its identity there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        target: Option<String>,
    },
    /// Something that an agent remembers.
    Memory {
        /// Its identity there.
        id: String,
        /// The agent, by its identity there.
        agent: String,
        /// What it says.
        #[serde(rename = "type")]
        kind: MemoryKind,
        /// The text.
        content: String,
        /// Its tags.
        #[serde(default)]
        tags: Vec<String>,
        /// Who wrote it. What an agent wrote and could change it waits for a person here as there.
        by: MemoryAuthor,
        /// Whether a person confirmed it.
        #[serde(default)]
        confirmed: bool,
        /// When it was written.
        created: Timestamp,
    },
    /// Work that is due at set times. It comes paused.
    Task {
        /// Its identity there.
        id: String,
        /// For people.
        name: String,
        /// When it is due.
        cron: String,
        /// The zone that `cron` is read in.
        zone: String,
        /// What is done about times that were missed.
        #[serde(default)]
        misfire: crate::Misfire,
        /// What is done while an earlier run is still at work.
        #[serde(default)]
        overlap: crate::Overlap,
        /// How many failures one after the other stop it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failures_max: Option<u32>,
        /// Who is spoken to, by its identity there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        agent: Option<String>,
        /// What is done, as a task has it.
        action: Value,
    },
    /// A conversation. Its turns follow at once.
    Session {
        /// Its identity there.
        id: String,
        /// The agent, by its identity there.
        agent: String,
        /// For people.
        #[serde(default)]
        title: String,
        /// The user's own words.
        #[serde(default)]
        labels: BTreeMap<String, String>,
        /// The turn whose end is its state.
        head: u64,
        /// How many turns follow.
        turns: u64,
        /// Where it was: its chat by its identity there, and a thread in it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        chat: Option<String>,
        /// A thread in that chat.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        thread: Option<String>,
        /// When it was made.
        created: Timestamp,
    },
    /// A turn of the session before it.
    Turn {
        /// The session, by its identity there.
        session: String,
        /// Its place, from 1.
        n: u64,
        /// The turn that it went on from; 0 is the beginning.
        parent: u64,
        /// Where it ended.
        state: TurnState,
        /// How it ended.
        outcome: Option<Outcome>,
        /// Why, where it failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<Code>,
        /// What was asked.
        prompt: String,
        /// When it was accepted.
        accepted: Timestamp,
        /// When it was begun, if it was.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        started: Option<Timestamp>,
        /// When it ended.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ended: Option<Timestamp>,
        /// What happened in it, in order.
        events: Vec<CarryEvent>,
    },
    /// A file that came or went with a message of a conversation.
    File {
        /// Its identity there.
        id: String,
        /// The session, by its identity there.
        session: String,
        /// Where it belongs, below the home of the session: `inbox/...` or `outbox/...`.
        path: String,
        /// What is in it, in base64.
        data: String,
    },
}

/// Something that happened in a turn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CarryEvent {
    /// When.
    pub time: Timestamp,
    /// What.
    pub event: EventKind,
}

impl CarryLine {
    /// What kind of thing it is.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            CarryLine::Begin { .. } => "begin",
            CarryLine::Agent { .. } => "agent",
            CarryLine::Skill { .. } => "skill",
            CarryLine::Person { .. } => "person",
            CarryLine::Channel { .. } => "channel",
            CarryLine::Chat { .. } => "chat",
            CarryLine::Handle { .. } => "handle",
            CarryLine::Role { .. } => "role",
            CarryLine::Wiring { .. } => "wiring",
            CarryLine::Destination { .. } => "destination",
            CarryLine::Memory { .. } => "memory",
            CarryLine::Task { .. } => "task",
            CarryLine::Session { .. } => "session",
            CarryLine::Turn { .. } => "turn",
            CarryLine::File { .. } => "file",
        }
    }

    /// What the other install calls it; empty for the first line and for turns.
    #[must_use]
    pub fn id(&self) -> &str {
        match self {
            CarryLine::Begin { .. } | CarryLine::Turn { .. } => "",
            CarryLine::Agent { id, .. }
            | CarryLine::Skill { id, .. }
            | CarryLine::Person { id, .. }
            | CarryLine::Channel { id, .. }
            | CarryLine::Chat { id, .. }
            | CarryLine::Handle { id, .. }
            | CarryLine::Role { id, .. }
            | CarryLine::Wiring { id, .. }
            | CarryLine::Destination { id, .. }
            | CarryLine::Memory { id, .. }
            | CarryLine::Task { id, .. }
            | CarryLine::Session { id, .. }
            | CarryLine::File { id, .. } => id,
        }
    }

    /// What a person calls it.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            CarryLine::Agent { agent, .. } => &agent.name,
            CarryLine::Person { name, .. }
            | CarryLine::Skill { name, .. }
            | CarryLine::Channel { name, .. }
            | CarryLine::Chat { name, .. }
            | CarryLine::Handle { handle: name, .. }
            | CarryLine::Destination { name, .. }
            | CarryLine::Task { name, .. }
            | CarryLine::Session { title: name, .. }
            | CarryLine::File { path: name, .. }
                if !name.is_empty() =>
            {
                name
            }
            other => other.id(),
        }
    }
}

/// What became, or would become, of one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Carried {
    /// What kind of thing.
    pub what: String,
    /// What it is called.
    pub name: String,
    /// `new`, `same`, `there`, `changed`, `left out` or `wrong`.
    pub outcome: String,
    /// Why, or what is to be done about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// What came of taking an install over.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct CarryReport {
    /// How many of each kind came to what: `agent new` and so on.
    pub counts: BTreeMap<String, u64>,
    /// Each thing but those that are as they were, the first 2,000.
    pub items: Vec<Carried>,
    /// Whether there were more.
    pub more: bool,
    /// Whether nothing was changed.
    pub dry_run: bool,
}

/// Things that a report names.
const REPORT_ITEMS_MAX: usize = 2000;
/// Characters of a name or a note in a report.
const REPORT_TEXT_CHARS_MAX: usize = 300;

impl CarryReport {
    /// Counts and names one thing.
    pub fn add(&mut self, what: &str, name: &str, outcome: &str, note: impl Into<String>) {
        *self.counts.entry(format!("{what} {outcome}")).or_default() += 1;
        if outcome == "same" {
            return;
        }
        if self.items.len() >= REPORT_ITEMS_MAX {
            self.more = true;
            return;
        }
        let cut = |text: &str| text.chars().take(REPORT_TEXT_CHARS_MAX).collect::<String>();
        self.items.push(Carried { what: what.to_owned(), name: cut(name), outcome: outcome.to_owned(), note: cut(&note.into()) });
    }

    /// How many things were or would be made.
    #[must_use]
    pub fn made(&self) -> u64 {
        self.counts.iter().filter(|(key, _)| key.ends_with(" new")).map(|(_, count)| count).sum()
    }

    /// Whether something was wrong.
    #[must_use]
    pub fn has_wrong(&self) -> bool {
        self.counts.keys().any(|key| key.ends_with(" wrong"))
    }
}
