//! What is asked of terminals, and what is shown of them.

use model::{Code, Failure, TurnId};
use serde::{Deserialize, Serialize};
use store::{NewTurn, TurnRow};

use crate::App;
use crate::sessions::{SessionsOf, read_spec};

/// Arguments of a program.
const ARGS_MAX: usize = 64;
/// Bytes of all of them.
const ARGS_BYTES_MAX: usize = 64 << 10;
/// Under which key a turn's specification holds its terminal.
const KEY: &str = "terminal";

/// A terminal to open.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TerminalForm {
    /// Program and arguments; the session's engine, as people use it, when left out.
    pub argv: Vec<String>,
    /// Rows and columns until somebody attaches; 24 and 80 when left out.
    pub size: (u16, u16),
    /// Start the program when somebody has come, or after ten seconds: they see it from its first line, at their size.
    pub attended: bool,
    /// What the engine is told first, where it takes that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
}

/// How somebody comes to a terminal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AttachForm {
    /// Rows and columns of the person's terminal.
    pub size: (u16, u16),
    /// Only look.
    pub watch: bool,
    /// Type, although somebody else does: they watch from now on.
    pub take: bool,
}

/// A terminal that is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct TerminalView {
    /// Its turn.
    pub turn: TurnId,
    /// What runs.
    pub program: String,
    /// Who looks at it, whoever types included.
    pub attached: usize,
    /// Whether somebody can type.
    pub has_keyboard: bool,
}

/// The terminal that a turn is, if it is one.
pub(crate) fn form_of(turn: &TurnRow) -> Option<TerminalForm> {
    turn.spec.get(KEY).and_then(|form| serde_json::from_value(form.clone()).ok())
}

impl TerminalForm {
    /// What runs, in a word or two.
    pub(crate) fn program(&self, engine: &str) -> String {
        self.argv.first().map_or_else(|| engine.to_owned(), |program| program.chars().take(100).collect())
    }

    fn check(&self) -> Result<(), Failure> {
        let wrong = |why: String, field: &str| Err(Failure::new(Code::Usage, why).field(field));
        let bytes: usize = self.argv.iter().map(String::len).sum();
        if self.argv.len() > ARGS_MAX || bytes > ARGS_BYTES_MAX || self.argv.iter().any(|arg| arg.contains('\0')) {
            return wrong(format!("a command has at most {ARGS_MAX} arguments and {ARGS_BYTES_MAX} bytes, without NUL"), "argv");
        }
        if self.argv.first().is_some_and(String::is_empty) {
            return wrong("the program has no name".to_owned(), "argv");
        }
        if self.prompt.as_ref().is_some_and(|text| text.contains('\0') || text.len() > ARGS_BYTES_MAX) {
            return wrong(format!("what is said first has at most {ARGS_BYTES_MAX} bytes, without NUL"), "prompt");
        }
        Ok(())
    }
}

impl SessionsOf<'_> {
    /// Opens a terminal: a turn of the session, durable when this returns. It begins when the turns before it are over.
    ///
    /// # Errors
    /// There is no such session, it is another daemon's, its engine has nothing that people use, or the form is wrong.
    pub async fn open_terminal(&self, id: &str, form: TerminalForm) -> Result<TurnId, Failure> {
        form.check()?;
        let row = self.row(id).await?;
        let spec = read_spec(&row)?;
        if spec.job.is_some() || spec.ask {
            return Err(Failure::new(Code::Conflict, "this session belongs to a job or a question, and has no terminal"));
        }
        self.app.store().check_quota(&row.tenant, store::Claim::Turn, crate::now()).await.map_err(|e| e.failure())?;
        self.app.check_here(&row.id).await?;
        if form.argv.is_empty() {
            super::launch::check(self.app, &spec)?;
        }
        let live = self.app.hold(&row.id).await?;
        let turn = TurnId::from_bits(crate::clock::fresh_bits());
        let said = form.prompt.as_deref().map(str::trim).filter(|text| !text.is_empty()).unwrap_or_default();
        let text = format!("[terminal: {}]{}{said}", form.program(&spec.engine), if said.is_empty() { "" } else { " " });
        let new = NewTurn {
            spec: serde_json::json!({ KEY: form }),
            priority: row.priority,
            ..NewTurn::new(turn, row.id.clone(), text, crate::now())
        };
        let accepted = self.app.store().accept_turn(new).await.map_err(|e| e.failure())?;
        model::crash::point("turn:accepted");
        live.wake.notify_one();
        Ok(accepted.turn)
    }

    /// Comes to the session's terminal; waits until it has begun when it is still to.
    ///
    /// # Errors
    /// There is no such session, or no terminal is open in it.
    pub async fn attach_terminal(&self, id: &str, form: &AttachForm) -> Result<super::Attached, Failure> {
        let row = self.row(id).await?;
        self.app.check_here(&row.id).await?;
        let terminals = self.app.terminals();
        loop {
            let changed = terminals.changed();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(terminal) = terminals.get(&row.id) {
                return terminal.attach(form);
            }
            let open = self.app.store().open_turns(&row.id).await.map_err(|e| e.failure())?;
            if !open.iter().any(|turn| form_of(turn).is_some()) {
                return Err(Failure::new(Code::NotFound, "no terminal is open in this session")
                    .hint(format!("open one with: lazaret shell --session {}", row.id)));
            }
            // A turn that ends without a terminal wakes nobody here.
            let _ = tokio::time::timeout(super::desk::LOOK_AGAIN, changed).await;
        }
    }
}

impl App {
    /// What is shown of a session's terminal, if one is open.
    pub(crate) fn terminal_view(&self, id: &model::SessionId) -> Option<TerminalView> {
        self.terminals().get(id).map(|terminal| terminal.view())
    }
}
