//! How each agent program is driven: what to start, which files it wants, and what its output means.
//!
//! Everything here is pure: an [`Engine`] turns a [`Plan`] into a [`Launch`] (arguments, environment, files, standard
//! input), and its [`Parser`] turns lines of output into the one vocabulary of events. Nothing is started, read or
//! downloaded here, and nothing here knows how a sandbox is made or where the model gateway listens.
//!
//! The usual call: [`find`] an engine, [`Engine::plan`] the turn, run it, push its output through a [`Feed`] and
//! [`Feed::finish`] it with the exit status. [`Engine::recipe`] says how a pinned version is installed.
//!
//! An engine that is [`Engine::live`] can take several turns in one process: plan the first with [`Plan::live`], push its
//! output until [`Feed::is_over`], [`Feed::finish_live`] it, and write [`Engine::input`] for the next one.
//!
//! Every byte of an engine's output is hostile. Lines that are not understood are passed over, never an error; long
//! lines, long texts and floods are cut at [`LINE_BYTES_MAX`], [`TEXT_BYTES_MAX`], [`OUTPUT_BYTES_MAX`] and the limits
//! beside them, each with a notice. No engine is ever given a credential: it holds [`PLACEHOLDER_KEY`], which means
//! nothing anywhere, and the gateway puts the real one in (INV-1).

mod acp;
mod acp_calls;
mod classify;
mod claude_code;
mod codex;
mod custom;
mod engine;
mod feed;
mod gemini;
mod mini;
mod opencode;
mod options;
mod parse;
mod recipe;
mod sections;
mod terminal;
mod tree;

pub use custom::{Custom, CustomError};
pub use engine::{Engine, File, Launch, PLACEHOLDER_KEY, Plan, ProgramPath, Wire};
pub use feed::{Feed, LINE_BYTES_MAX, OUTPUT_BYTES_MAX};
pub use options::Options;
pub use parse::{
    Carried, End, Exit, MESSAGE_BYTES_MAX, OPTIONS_MAX, Parsed, Parser, QUESTION_BYTES_MAX, QUESTION_ID_BYTES_MAX, TEXT_BYTES_MAX,
    TOOL_INPUT_BYTES_MAX, TOOL_OUTPUT_BYTES_MAX,
};
pub use recipe::{Fetch, Package, Recipe, RecipeError};
pub use sections::{described, described_name};
pub use terminal::Terminal;
pub use tree::{Entry, EntryKind, TreeHasher};

use model::{Code, Failure};

/// Every engine this build knows, in the order `engine list` prints them.
pub const ALL: &[&dyn Engine] = &[&claude_code::ClaudeCode, &codex::Codex, &opencode::OpenCode, &gemini::Gemini, &mini::Mini];

/// The engine of this name.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static dyn Engine> {
    ALL.iter().copied().find(|engine| engine.name() == name)
}

/// An engine that was asked for: one of [`ALL`], or any other program.
pub enum Found {
    /// One of [`ALL`].
    Known(&'static dyn Engine),
    /// A program that is known by its path or its description only.
    Custom(Box<Custom>),
}

impl std::ops::Deref for Found {
    type Target = dyn Engine;
    fn deref(&self) -> &Self::Target {
        match self {
            Found::Known(engine) => *engine,
            Found::Custom(engine) => engine.as_ref(),
        }
    }
}

/// The engine that `spec` names: a name of [`ALL`], or `program:/absolute/path` for any program that reads a prompt on
/// standard input and writes text.
///
/// # Errors
/// `ENGINE_MISSING` when there is no such engine, `USAGE` when the path is not absolute.
pub fn find(spec: &str) -> Result<Found, Failure> {
    if let Some(path) = spec.strip_prefix("program:") {
        return Ok(Found::Custom(Box::new(Custom::program(path)?)));
    }
    by_name(spec).map(Found::Known).ok_or_else(|| {
        let names: Vec<&str> = ALL.iter().map(|engine| engine.name()).collect();
        let spec: String = spec.escape_debug().take(64).collect();
        Failure::new(Code::EngineMissing, format!("no engine is called `{spec}`"))
            .hint(format!("use one of {}, or program:/path", names.join(", ")))
            .field("engine")
    })
}

/// The model that engines without a default of their own are given, by the form that they speak.
fn default_model(wire: Wire) -> Option<&'static str> {
    match wire {
        Wire::Anthropic => Some("claude-sonnet-4-5"),
        Wire::OpenAiChat | Wire::OpenAiResponses => Some("gpt-5"),
        Wire::Gemini => Some("gemini-2.5-pro"),
    }
}
