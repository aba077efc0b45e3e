//! What a terminal starts.

use engines::{Launch, Plan};
use model::Failure;
use uuid::Uuid;

use super::forms::TerminalForm;
use crate::turn::{HOME, Ready, Running};
use crate::{App, SessionSpec};

/// Refuses an engine that has nothing that people use.
pub(super) fn check(app: &App, spec: &SessionSpec) -> Result<(), Failure> {
    let ready = Ready::found(app, spec)?;
    let plan = Plan { live: false, ..ready.asks(spec, "", None) };
    ready.engine.terminal(&plan, &Uuid::nil().to_string()).map(drop)
}

impl Running<'_> {
    /// What to start, and what a conversation that begins is called.
    pub(super) fn terminal_launch(&self, form: &TerminalForm) -> Result<(Launch, Option<String>), Failure> {
        if !form.argv.is_empty() {
            let env = [("HOME", HOME), ("TERM", "xterm-256color"), ("COLORTERM", "truecolor"), ("LANG", "C.UTF-8"), ("SHELL", "/bin/bash")];
            let env = env.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
            return Ok((Launch { argv: form.argv.clone(), env, ..Launch::default() }, None));
        }
        let has_instructions = !self.ground.instructions().is_empty();
        let plan = Plan { prompt: form.prompt.as_deref().unwrap_or(""), live: false, has_instructions, ..self.asks() };
        let name = uuid::Builder::from_random_bytes(crate::clock::fresh_bits().to_be_bytes()).into_uuid();
        let terminal = self.ready.engine.terminal(&plan, &name.to_string())?;
        Ok((terminal.launch, terminal.session))
    }
}
