//! The nouns of Lazaret and their rules.
//!
//! Everything here is a value: identities, states, limits, events, money, error codes. Nothing does I/O, nothing is
//! async and nothing reads a clock; callers pass [`Timestamp`]s in. Every other crate may depend on this one and it
//! depends on none of them.
//!
//! Start at [`Event`] (what is logged and shown), [`Limits`] (what a sandbox may use) and [`Code`] (how things fail).

mod approval;
mod audit;
mod branch;
mod chat;
mod code;
pub mod crash;
mod egress;
mod event;
mod id;
mod job;
mod limits;
mod merge_queue;
mod money;
mod name;
mod outcome;
mod risk;
mod time;
mod turn;

pub use approval::{ApprovalEvent, ApprovalRefused, ApprovalState};
pub use audit::{AuditEntry, AuditKind};
pub use branch::{BRANCH_NAME_BYTES_MAX, BRANCH_TASK_CHARS_MAX, BranchNameError, BranchState, check_branch_name};
pub use chat::{ChatPolicy, Engage, Ignored, PATTERN_BYTES_MAX, Senders, SessionMode, TRIGGER, escaped, split_text};
pub use code::{Code, Failure, chain};
pub use egress::{EgressRule, EgressRuleError, WEBSOCKET, canonical_host};
pub use event::{Event, EventKind, PROMPT_BYTES_MAX, ResultEvent};
pub use id::{
    AdmissionId, ApprovalId, BranchId, ChatId, IdError, InboundId, MemoryId, MergeQueueId, OutboxId, PairingId, QuestionId, SandboxId,
    SessionId, TaskId, TaskRunId, TokenId, TreeId, TurnId, UserId, WebhookId, WiringId,
};
pub use job::{JobEvent, JobRefused, JobState};
pub use limits::{EXPOSED_LINE, Level, LevelLine, Limits, Want, parse_bytes, parse_duration};
pub use merge_queue::{MERGE_QUEUE_PLACES_MAX, PlaceState, QueueEvent, QueueRefused, QueueState};
pub use money::{Money, MoneyError, Usage};
pub use name::{NAME_CHARS_MAX, is_name, name_of};
pub use outcome::Outcome;
pub use risk::Risk;
pub use time::Timestamp;
pub use turn::{Refused, TurnEvent, TurnState};
