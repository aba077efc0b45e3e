//! What stands at the beginning of an archive, and the lines of its logs.

use std::collections::BTreeMap;

use model::{Code, EgressRule, EventKind, Limits, Money, Outcome, Timestamp, TurnState};
use serde::{Deserialize, Serialize};

/// The form of archives that this program writes, and the latest that it reads.
pub(super) const FORM: u32 = 1;
/// The largest manifest, in bytes.
pub(super) const MANIFEST_BYTES_MAX: u64 = 1 << 20;
/// The name of the manifest, which comes first.
pub(super) const MANIFEST: &str = "manifest.json";
/// The parts, in the order in which they come: turns, events, and the files below /home/sandbox and /workspace.
pub(super) const PARTS: [&str; 4] = ["turns.jsonl", "events.jsonl", "tree/home.tar", "tree/workspace.tar"];
/// The most bytes of each part.
pub(super) const PART_BYTES_MAX: [u64; 4] = [160 << 20, 160 << 20, 64 << 30, 64 << 30];

/// Only the form, to tell a later one from a damaged one.
#[derive(Debug, Deserialize)]
pub(super) struct Form {
    /// Its number.
    pub(super) form: u32,
}

/// The beginning of an archive.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    /// [`FORM`].
    pub(super) form: u32,
    /// The version of the program that wrote it.
    pub(super) lazaret: String,
    /// What the session is made of.
    pub(super) session: Portable,
    /// What it had that does not travel.
    pub(super) left_out: LeftOut,
    /// The parts that follow.
    pub(super) parts: BTreeMap<String, Part>,
}

/// A part of an archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Part {
    /// Its size.
    pub(super) bytes: u64,
    /// Its SHA-256, in hexadecimal digits.
    pub(super) sha256: String,
}

/// A session without what belongs to one machine.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Portable {
    pub(super) title: String,
    pub(super) agent: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) priority: u8,
    pub(super) engine: String,
    /// Where the engine's program lies inside, for one that the user brought.
    pub(super) program: Option<String>,
    pub(super) model: Option<String>,
    pub(super) provider: String,
    pub(super) limits: Limits,
    /// Whether /usr/local is seen.
    pub(super) usr_local: bool,
    pub(super) egress: Vec<EgressRule>,
    pub(super) budget: Option<Money>,
    pub(super) workdir: String,
    /// What the engine calls the conversation, so that it can be resumed.
    pub(super) engine_session: Option<String>,
    /// The turn whose end is the present state.
    pub(super) head: u64,
}

/// What does not travel, by name.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LeftOut {
    /// Variables for the engine; their values stay.
    pub(super) variables: Vec<String>,
    /// Where host directories were seen inside.
    pub(super) mounts: Vec<String>,
    /// Whether it had a root file system of its own.
    pub(super) image: bool,
}

/// A line of `turns.jsonl`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TurnLine {
    pub(super) n: u64,
    pub(super) parent: u64,
    pub(super) state: TurnState,
    pub(super) outcome: Option<Outcome>,
    pub(super) code: Option<Code>,
    pub(super) prompt: String,
    pub(super) accepted: Timestamp,
    pub(super) started: Option<Timestamp>,
    pub(super) ended: Option<Timestamp>,
}

/// A line of `events.jsonl`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct EventLine {
    pub(super) turn: u64,
    pub(super) time: Timestamp,
    pub(super) event: EventKind,
}
