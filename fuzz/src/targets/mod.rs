//! What is fuzzed: one function for each parser.
//!
//! A target panics when something is wrong and otherwise answers a *shape*: a number that differs when the parser took
//! another way.

mod broker;
mod chat;
mod engines;
mod gateway;
mod model;
mod sandbox;
mod sanitize;
mod terminal;
mod wire;

use std::hash::{DefaultHasher, Hash, Hasher};

/// One parser.
pub(crate) struct Target {
    /// What it is called.
    pub(crate) name: &'static str,
    /// The directory of fuzz/corpus that holds its starts.
    pub(crate) corpus: &'static str,
    /// A directory of recorded output, from the root of the workspace, whose JSON lines are starts as well.
    pub(crate) recorded: Option<&'static str>,
    /// Byte strings that mean something to it.
    pub(crate) words: &'static [&'static [u8]],
    /// Tries one input.
    pub(crate) run: fn(&[u8]) -> u64,
}

/// Every target.
pub(crate) const ALL: &[Target] = &[
    wire::FRAMES,
    wire::FROM_GUEST,
    wire::TO_GUEST,
    wire::DOOR,
    model::EGRESS_RULE,
    model::AMOUNTS,
    model::IDENTITIES,
    engines::CLAUDE_CODE,
    engines::CODEX,
    engines::OPENCODE,
    engines::GEMINI,
    engines::MINI,
    engines::TEXT,
    engines::ACP,
    gateway::EGRESS_HEAD,
    gateway::BODY,
    gateway::PATH,
    gateway::TLS_HELLO,
    gateway::METER,
    gateway::TAPE,
    sandbox::UNPACK,
    broker::CALLS,
    broker::REQUEST,
    broker::SCHEMA,
    sanitize::TEXT,
    sanitize::JSON,
    chat::FROM_CHANNEL,
    chat::TO_CHANNEL,
    chat::HOOKS,
    chat::SPLIT,
    terminal::SCREEN,
];

/// Takes away what targets keep outside of this process.
pub(crate) fn close() {
    chat::close();
}

/// A shape made of anything that can be hashed.
pub(crate) fn hash(what: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}
