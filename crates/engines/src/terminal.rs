//! Engines as people use them: on a terminal.

use model::{Code, Failure};

use crate::{Engine, Launch, Plan};

/// The longest text that is said first, in bytes; it is one argument.
const FIRST_BYTES_MAX: usize = 64 << 10;

/// What to start on a terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terminal {
    /// The program. Its standard streams are the terminal.
    pub launch: Launch,
    /// What the engine calls the conversation that begins, where it takes a name from us: for [`Plan::resume`] of later turns.
    pub session: Option<String>,
}

/// Why an engine has no terminal.
pub(crate) fn none(engine: &str) -> Failure {
    Failure::new(Code::Usage, format!("the engine {engine} has nothing that people use on a terminal"))
        .hint("open a shell instead: lazaret shell")
        .field("engine")
}

impl Plan<'_> {
    /// What is said first, if anything is.
    pub(crate) fn first(&self) -> Result<Option<&str>, Failure> {
        let text = self.prompt.trim();
        if text.len() > FIRST_BYTES_MAX || text.contains('\0') {
            let why = format!("what is said first on a terminal has at most {FIRST_BYTES_MAX} bytes, without NUL");
            return Err(Failure::new(Code::PromptInvalid, why).field("prompt"));
        }
        Ok(Some(text).filter(|text| !text.is_empty()))
    }
}

/// The start of one turn, as a start on a terminal: without what stands for a turn that nobody watches.
pub(crate) fn of_turn(engine: &dyn Engine, plan: &Plan<'_>, without: &[&[&str]]) -> Result<Launch, Failure> {
    // Whatever is said first goes another way than the prompt of a turn.
    let mut launch = engine.plan(&Plan { prompt: "-", live: false, ..*plan })?;
    for words in without {
        let at = launch.argv.windows(words.len()).position(|window| window.iter().zip(*words).all(|(a, b)| a == b));
        if let Some(at) = at {
            launch.argv.drain(at..at + words.len());
        }
    }
    (launch.stdin, launch.stdin_open) = (None, false);
    Ok(seen(launch))
}

/// With variables that tell a program of a terminal that can do what ours can.
pub(crate) fn seen(mut launch: Launch) -> Launch {
    launch.env.retain(|(key, _)| !matches!(key.as_str(), "TERM" | "NO_COLOR"));
    launch.env([("TERM", "xterm-256color".to_owned()), ("COLORTERM", "truecolor".to_owned())])
}

/// A text that is an argument and no option.
pub(crate) fn argument(text: &str) -> String {
    if text.starts_with('-') { format!(" {text}") } else { text.to_owned() }
}
