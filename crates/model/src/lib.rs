//! The nouns of Lazaret and their rules.
//!
//! Everything here is a value: identities, states, limits, events, money, error codes. Nothing does I/O, nothing is
//! async and nothing reads a clock; callers pass [`Timestamp`]s in. Every other crate may depend on this one and it
//! depends on none of them.
//!
//! Start at [`Event`] (what is logged and shown), [`Limits`] (what a sandbox may use) and [`Code`] (how things fail).

mod approval;
mod audit;
mod code;
pub mod crash;
mod egress;
mod event;
mod id;
mod job;
mod limits;
mod money;
mod name;
mod outcome;
mod risk;
mod time;
mod turn;

pub use approval::{ApprovalEvent, ApprovalRefused, ApprovalState};
pub use audit::{AuditEntry, AuditKind};
pub use code::{Code, Failure, chain};
pub use egress::{EgressRule, EgressRuleError, WEBSOCKET, canonical_host};
pub use event::{Event, EventKind, PROMPT_BYTES_MAX, ResultEvent};
pub use id::{
    ApprovalId, IdError, MemoryId, QuestionId, SandboxId, SessionId, TaskId, TaskRunId, TokenId, TreeId, TurnId, UserId, WebhookId,
};
pub use job::{JobEvent, JobRefused, JobState};
pub use limits::{EXPOSED_LINE, Level, LevelLine, Limits, Want, parse_bytes, parse_duration};
pub use money::{Money, MoneyError, Usage};
pub use name::{NAME_CHARS_MAX, is_name, name_of};
pub use outcome::Outcome;
pub use risk::Risk;
pub use time::Timestamp;
pub use turn::{Refused, TurnEvent, TurnState};
