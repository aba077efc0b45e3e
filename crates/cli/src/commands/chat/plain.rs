//! A conversation without a terminal: each line of standard input is a turn, or the answer to what one asks.

use std::io::BufRead;

use model::{Code, Failure, PROMPT_BYTES_MAX};

use super::conversation::{Conversation, Step};
use crate::commands::run::exit_status;
use crate::exit::Done;
use crate::out;

/// Talks until standard input ends, or until a turn does not complete: its status is that of the command.
pub(super) async fn talk(talk: &mut Conversation<'_>) -> Done {
    for asked in talk.open_questions() {
        match next(talk).await? {
            Next::Line(line) => talk.answer(&asked, &line).await?,
            Next::End => return Ok(unanswered(talk)),
            Next::Interrupted => return Ok(130),
        }
    }
    loop {
        let text = match next(talk).await? {
            Next::Line(text) if text.trim().is_empty() => continue,
            Next::Line(text) => text,
            Next::End => return Ok(0),
            Next::Interrupted => return Ok(130),
        };
        talk.say(text, Vec::new()).await?;
        loop {
            match talk.wait().await? {
                Step::Over(result, is_interrupted) => {
                    let status = exit_status(&result);
                    if status != 0 || is_interrupted {
                        return Ok(status);
                    }
                    break;
                }
                // Lines are for the conversation: who may confirm does so elsewhere.
                Step::Approval(id) => {
                    if let Some(seen) = talk.approval(&id).await? {
                        crate::commands::approvals::hint(&seen);
                    }
                }
                Step::Asked(asked) => match next(talk).await? {
                    Next::Line(line) => talk.answer(&asked, &line).await?,
                    Next::End => return Ok(unanswered(talk)),
                    Next::Interrupted => {
                        talk.cancel().await?;
                        return Ok(130);
                    }
                },
            }
        }
    }
}

/// What comes next on standard input.
enum Next {
    Line(String),
    End,
    Interrupted,
}

async fn next(talk: &mut Conversation<'_>) -> Result<Next, Failure> {
    tokio::select! {
        line = line() => Ok(line?.map_or(Next::End, Next::Line)),
        () = talk.interrupted() => Ok(Next::Interrupted),
    }
}

fn unanswered(talk: &Conversation<'_>) -> u8 {
    out::note(&format!("it waits for an answer: lazaret session answer {} TEXT", talk.session.id));
    1
}

/// The next line without its end, or `None` at the end of the input.
pub(super) async fn line() -> Result<Option<String>, Failure> {
    let read = tokio::task::spawn_blocking(|| {
        let mut bytes = Vec::new();
        let limit = PROMPT_BYTES_MAX as u64 + 2;
        let n = std::io::Read::take(std::io::stdin().lock(), limit).read_until(b'\n', &mut bytes)?;
        Ok::<_, std::io::Error>((n > 0).then_some(bytes))
    });
    let invalid = |why: String| Failure::new(Code::PromptInvalid, why);
    let read = read.await.map_err(|e| crate::client::internal(&e.to_string()))?;
    let Some(mut bytes) = read.map_err(|e| invalid(format!("standard input cannot be read: {e}")))? else { return Ok(None) };
    while bytes.last().is_some_and(|b| matches!(b, b'\n' | b'\r')) {
        bytes.pop();
    }
    if bytes.len() > PROMPT_BYTES_MAX {
        return Err(invalid(format!("a line is longer than {PROMPT_BYTES_MAX} bytes")));
    }
    String::from_utf8(bytes).map(Some).map_err(|_| invalid("a line is not UTF-8".to_owned()))
}
