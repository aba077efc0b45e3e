//! What is logged, streamed and shown: the one vocabulary of events.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Code, Level, Outcome, QuestionId, SessionId, Timestamp, TurnId, Usage};

/// The longest prompt, in bytes. Long prompts never pass through an argument vector.
pub const PROMPT_BYTES_MAX: usize = 100 << 20;

/// One entry of a session's log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Event {
    /// Dense, from 1, per session.
    pub seq: u64,
    /// When the host committed it.
    pub time: Timestamp,
    /// Whose log this is.
    pub session: SessionId,
    /// The turn that it belongs to.
    pub turn: TurnId,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What can happen in a turn. The JSON field `type` names the variant in snake case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum EventKind {
    /// The engine starts.
    Start {
        /// The engine's name.
        engine: String,
        /// The model that was asked for or that the engine reports.
        model: String,
        /// The provider that answers; `rehearsal` means a script, not a model.
        provider: String,
        /// What holds in the sandbox.
        level: Level,
    },
    /// Text for the user.
    Text {
        /// A piece of text; pieces follow one another.
        text: String,
    },
    /// The model's reasoning, where the engine shows it.
    Thinking {
        /// A piece of text.
        text: String,
    },
    /// The engine calls a tool.
    ToolCall {
        /// The engine's identity of the call.
        id: String,
        /// The tool.
        name: String,
        /// Its arguments.
        input: Value,
    },
    /// A tool has answered.
    ToolResult {
        /// The identity of the call.
        id: String,
        /// What came back, cut to a limit of the engine's parser.
        output: String,
        /// Whether the tool failed.
        is_error: bool,
    },
    /// The engine asks a person.
    Question {
        /// What an answer must name.
        id: QuestionId,
        /// The question.
        text: String,
        /// Answers that are offered; empty for any text.
        #[serde(default)]
        options: Vec<String>,
    },
    /// A confirmation is asked for or answered.
    Approval {
        /// The confirmation.
        id: String,
        /// `pending`, `approved`, `denied`, `expired` or `cancelled`.
        status: String,
        /// What would be called.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        tool: String,
    },
    /// Something a person should know.
    Notice {
        /// The text.
        text: String,
    },
    /// Tokens and cost of one model call.
    Usage {
        /// The model that answered.
        model: String,
        /// The tokens of this call.
        usage: Usage,
        /// What it cost, in US dollars.
        cost_usd: f64,
    },
    /// Something failed. A turn can go on after a retriable error.
    Error {
        /// The stable code.
        code: Code,
        /// For people.
        message: String,
        /// Whether the engine or the host tries again.
        retriable: bool,
    },
    /// The end of the turn, exactly once.
    Result(ResultEvent),
}

/// How a turn ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ResultEvent {
    /// How it ended.
    pub status: Outcome,
    /// The final text.
    pub text: String,
    /// All tokens of the turn.
    pub usage: Usage,
    /// All cost of the turn, in US dollars.
    pub cost_usd: f64,
    /// Wall-clock time.
    pub duration_ms: u64,
    /// What held in the sandbox.
    pub level: Level,
    /// Why it failed, where it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Code>,
}
