//! What was said in a session before a turn, as text: for engines that keep nothing of it themselves.

use std::collections::HashMap;

use model::{EventKind, Failure, TurnId};
use store::{LIST_MAX, TurnRow};

use crate::App;

/// Turns that are told of, the last ones.
const TURNS_MAX: usize = 40;
/// Bytes of one prompt or answer.
const EACH_BYTES_MAX: usize = 16 << 10;
/// Bytes of all of them; what is older is left out.
const ALL_BYTES_MAX: usize = 128 << 10;
/// Events that are read at once.
const PAGE: usize = 500;

/// The conversation that leads to `turn`, its oldest part first. It depends on turns that are over alone.
pub(crate) async fn before(app: &App, turn: &TurnRow) -> Result<String, Failure> {
    let line = line(app, turn).await?;
    if line.is_empty() {
        return Ok(String::new());
    }
    let answers = answers(app, turn, &line).await?;
    let mut parts = Vec::new();
    let mut bytes = 0;
    for id in &line {
        let prompt = app.store().prompt(id).await.map_err(|e| e.failure())?;
        let answer = answers.get(id).map_or("", String::as_str);
        let part = format!("User: {}\n\nYou: {}", clip(prompt.trim()), clip(answer.trim()));
        bytes += part.len();
        if bytes > ALL_BYTES_MAX {
            break;
        }
        parts.push(part);
    }
    parts.reverse();
    Ok(parts.join("\n\n"))
}

/// The turns on the way to this one, the last first.
async fn line(app: &App, turn: &TurnRow) -> Result<Vec<TurnId>, Failure> {
    let (mut known, mut after) = (HashMap::new(), 0);
    while turn.parent > after {
        let page = app.store().turns(&turn.session, after, LIST_MAX).await.map_err(|e| e.failure())?;
        let Some(last) = page.last().map(|row| row.n) else { break };
        known.extend(page.into_iter().map(|row| (row.n, (row.id, row.parent))));
        after = last;
    }
    let (mut line, mut at) = (Vec::new(), turn.parent);
    while let Some((id, parent)) = known.remove(&at)
        && line.len() < TURNS_MAX
    {
        line.push(id);
        at = parent;
    }
    Ok(line)
}

/// The final texts of these turns.
async fn answers(app: &App, turn: &TurnRow, line: &[TurnId]) -> Result<HashMap<TurnId, String>, Failure> {
    let (mut found, mut after) = (HashMap::new(), 0);
    while found.len() < line.len() {
        let page = app.store().events(&turn.session, after, PAGE).await.map_err(|e| e.failure())?;
        let Some(last) = page.last() else { break };
        after = last.seq;
        for event in page {
            if let EventKind::Result(result) = event.kind
                && line.contains(&event.turn)
            {
                found.insert(event.turn, result.text);
            }
        }
    }
    Ok(found)
}

fn clip(text: &str) -> &str {
    &text[..text.floor_char_boundary(EACH_BYTES_MAX)]
}
