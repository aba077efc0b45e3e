//! A conversation on a terminal.

use futures_util::FutureExt;
use model::{Code, Failure};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::signal::unix::{SignalKind, signal};

use super::attach;
use super::command::{self, Line};
use super::conversation::{Conversation, Step};
use super::editor::{Editor, Read};
use crate::client::internal;
use crate::commands::approvals;
use crate::exit::{self, Done};
use crate::out;

/// What the prompt looks like.
const PROMPT: &str = "> ";
/// What the prompt of an answer looks like.
const ANSWER_PROMPT: &str = "answer> ";
/// What the prompt of a confirmation looks like.
const APPROVE_PROMPT: &str = "approve? [y/N] ";

/// Talks until the user leaves.
pub(super) async fn talk(talk: &mut Conversation<'_>) -> Done {
    let mut editor = Editor::open(talk.desk.home.path())?;
    greet(talk);
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|e| internal(&e.to_string()))?;
    let mut interrupts = 0;
    for asked in talk.open_questions() {
        if !answer(talk, &mut editor, &asked).await? {
            return Ok(130);
        }
    }
    for seen in talk.open_approvals().await? {
        if !confirm(talk, &mut editor, &seen).await? {
            return Ok(130);
        }
    }
    loop {
        let text = match editor.read(PROMPT).await? {
            Read::Line(text) => text,
            Read::End => return Ok(0),
            Read::Interrupted if interrupts > 0 => return Ok(130),
            Read::Interrupted => {
                interrupts += 1;
                out::note("once more leaves");
                continue;
            }
        };
        interrupts = 0;
        let line = command::parse(&text);
        if matches!(line, Line::Quit) {
            return Ok(0);
        }
        // A turn is interrupted by being cancelled; anything else by letting it be.
        let is_turn = matches!(line, Line::Say(_));
        while interrupt.recv().now_or_never().flatten().is_some() {}
        let done = tokio::select! {
            done = obey(talk, &mut editor, line) => done,
            _ = interrupt.recv(), if !is_turn => Ok(true),
        };
        match done {
            Ok(is_interrupted) => interrupts = usize::from(is_interrupted),
            Err(failure) if failure.code == Code::Cancelled => return Err(failure),
            // A conversation outlives what goes wrong in it.
            Err(failure) => exit::print(&failure, false),
        }
    }
}

fn greet(talk: &Conversation<'_>) {
    let session = &talk.session;
    let place = session.env.as_ref().map_or_else(String::new, |env| format!(" in the env {env}"));
    let turns = match session.turns {
        0 => String::new(),
        n => format!(", {n} turns so far"),
    };
    out::note(&exit::clean(&format!("session {}{place}{turns}; /help lists the commands", session.id)));
}

/// Does what a line says; gives whether the turn was interrupted.
async fn obey(talk: &mut Conversation<'_>, editor: &mut Editor, line: Line) -> Result<bool, Failure> {
    match line {
        Line::Empty | Line::Quit => {}
        Line::Say(text) => return say(talk, editor, text).await,
        Line::Undo(words) => talk.undo(words.into()).await?,
        Line::Fork => talk.fork().await?,
        Line::Diff { turn, path } => talk.diff(turn, path.as_deref()).await?,
        Line::SaveEnv(name) => talk.save_env(name).await?,
        Line::Show => greet(talk),
        Line::Help => out::note(command::HELP),
        Line::Wrong(why) => out::note(&exit::clean(&why)),
    }
    Ok(false)
}

async fn say(talk: &mut Conversation<'_>, editor: &mut Editor, text: String) -> Result<bool, Failure> {
    let (text, files) = attach::gather(&text, attach::UPLOADS, &talk.desk.context.env)?;
    for file in &files {
        out::note(&exit::clean(&format!("attached upload/{}", file.name)));
    }
    talk.say(text, files).await?;
    loop {
        match talk.wait().await? {
            Step::Over(_, is_interrupted) => return Ok(is_interrupted),
            Step::Approval(id) => {
                if let Some(seen) = talk.approval(&id).await?
                    && !confirm(talk, editor, &seen).await?
                {
                    talk.cancel().await?;
                }
            }
            Step::Asked(asked) => {
                if !answer(talk, editor, &asked).await? {
                    talk.cancel().await?;
                }
            }
        }
    }
}

/// Lets the user answer; `false` when they would not.
async fn answer(talk: &Conversation<'_>, editor: &mut Editor, asked: &crate::commands::follow::Asked) -> Result<bool, Failure> {
    loop {
        match editor.read(ANSWER_PROMPT).await? {
            Read::Line(text) if text.trim().is_empty() => {}
            Read::Line(text) => match talk.answer(asked, &text).await {
                Ok(()) => return Ok(true),
                Err(failure) if failure.code == Code::Usage => exit::print(&failure, false),
                Err(failure) => return Err(failure),
            },
            Read::End | Read::Interrupted => return Ok(false),
        }
    }
}

/// Lets the user say yes or no to a call, seen whole; `false` when they would not.
async fn confirm(talk: &Conversation<'_>, editor: &mut Editor, seen: &app::ApprovalView) -> Result<bool, Failure> {
    approvals::show(seen, out::note);
    if seen.is_long {
        approvals::hint(seen);
        return Ok(true);
    }
    let decision = match editor.read(APPROVE_PROMPT).await? {
        Read::Line(text) if approvals::is_yes(&text) => app::Decision::Approve,
        Read::Line(_) => app::Decision::Deny,
        Read::End | Read::Interrupted => return Ok(false),
    };
    talk.decide(seen, decision).await?;
    Ok(true)
}

/// How the terminal was before it was talked on.
pub(super) struct Settings(Termios);

impl Settings {
    /// The settings of standard input, when that is a terminal.
    pub(super) fn read() -> Option<Self> {
        tcgetattr(std::io::stdin()).ok().map(Self)
    }

    /// Gives them back, whoever was in the middle of a line.
    pub(super) fn restore(self) {
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.0);
    }
}
