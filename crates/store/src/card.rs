//! Cards: deliveries that ask somebody to decide something. They are changed to what came of it in the transaction that decides it, so that
//! no card goes on offering what is over.

use model::{OutboxId, QuestionId, Timestamp};
use serde_json::{Value, json};

use crate::StoreError;
use crate::db::{Connection, OptionalExtension, params};
use crate::error::Doing;
use crate::outbox::{NewOut, OutRow, from_row, owe};
use crate::row::int;

/// Cards of one question that are looked at: more are never shown.
const CARDS_MAX: usize = 64;
/// What cards ask about, as the first word of their cause.
const KINDS: [&str; 2] = ["approval", "admission"];

/// What a delivery asks somebody to decide: the first two words of its cause, where it has a place for buttons: the last message of a longer text.
pub(crate) fn about(cause: &str, act: &Value) -> Option<String> {
    let mut words = cause.splitn(3, ':');
    let (kind, id, place) = (words.next()?, words.next()?, words.next()?);
    // What tells that nobody can be asked, and what changes a card, asks nothing.
    let asks = KINDS.contains(&kind) && act["do"] == "send" && act.get("buttons").is_some() && place != "nobody";
    asks.then(|| format!("{kind}:{id}"))
}

/// Cards that one chat is shown within [`WINDOW_MS`]; of those that follow one line tells.
pub(crate) const CARDS_MINUTE_MAX: u64 = 6;
/// Over which time they are counted, in milliseconds.
const WINDOW_MS: u64 = 60_000;

/// Owes a card, unless what it asks is decided already, or its chat was asked too often.
pub(crate) fn send(conn: &Connection, new: &[NewOut], now: Timestamp) -> Result<Vec<OutboxId>, StoreError> {
    let doing = "show a card";
    let Some(last) = new.last() else { return Ok(Vec::new()) };
    let known = conn.query_row("SELECT count(*) FROM outbox WHERE cause = ?1", [&last.cause], |r| r.get::<_, u64>(0)).doing(doing)?;
    if known > 0 || !is_open(conn, last)? {
        return Ok(Vec::new());
    }
    let sql = "SELECT count(*) FROM outbox WHERE channel = ?1 AND chat = ?2 AND about IS NOT NULL AND created_ms > ?3";
    let since = int("since", now.0.saturating_sub(WINDOW_MS))?;
    let lately: u64 = conn.query_row(sql, params![last.channel, last.chat, since], |r| r.get(0)).doing(doing)?;
    if lately < CARDS_MINUTE_MAX {
        return new.iter().map(|one| owe(conn, one, now)).collect();
    }
    let text = "More than can be shown here waits for an answer. All of it: lazaret approvals, lazaret people admissions";
    let cause = format!("cards:{}:{}:{}", last.channel, last.chat, now.0 / WINDOW_MS);
    let told = NewOut { act: json!({ "do": "send", "text": text }), cause, ..last.clone() };
    Ok(vec![owe(conn, &told, now)?])
}

/// Whether what a card asks is still to be decided.
fn is_open(conn: &Connection, card: &NewOut) -> Result<bool, StoreError> {
    let Some(about) = about(&card.cause, &card.act) else { return Ok(true) };
    let (sql, id) = match about.split_once(':') {
        Some(("approval", id)) => ("SELECT count(*) FROM approvals WHERE id = ?1 AND state = 'pending'", id),
        Some(("admission", id)) => ("SELECT count(*) FROM admissions WHERE id = ?1 AND state = 'pending'", id),
        _ => return Ok(true),
    };
    let open: u64 = conn.query_row(sql, [id], |r| r.get(0)).doing("look at what a card asks")?;
    Ok(open > 0)
}

/// Changes every card about something to what came of it, where its network lets us.
pub(crate) fn settle(conn: &Connection, about: &str, outcome: &str, now: Timestamp) -> Result<(), StoreError> {
    let doing = "settle a card";
    let mut statement =
        conn.prepare_cached("SELECT * FROM outbox WHERE about = ?1 AND state <> 'dead' ORDER BY n LIMIT ?2").doing(doing)?;
    let rows = statement.query_map(params![about, i64::try_from(CARDS_MAX).unwrap_or(i64::MAX)], from_row).doing(doing)?;
    let cards: Vec<OutRow> = rows.collect::<crate::db::Result<_>>().doing(doing)?;
    for card in cards {
        let abilities = abilities(conn, &card.channel)?;
        if abilities["edit"].as_bool() != Some(true) {
            // A late answer is refused all the same.
            continue;
        }
        let asked = card.act["text"].as_str().and_then(|text| text.lines().next()).unwrap_or_default();
        let mut text = format!("{asked}\n\n{outcome}");
        let most = text_max(&abilities);
        if text.chars().count() > most {
            text = outcome.chars().take(most).collect();
        }
        change(conn, card, &text, now)?;
    }
    Ok(())
}

/// What a channel said that its network can do.
fn abilities(conn: &Connection, channel: &str) -> Result<Value, StoreError> {
    let sql = "SELECT abilities FROM channels WHERE name = ?1";
    let found: Option<Option<String>> = conn.query_row(sql, [channel], |r| r.get(0)).optional().doing("look what a network can do")?;
    Ok(found.flatten().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
}

fn text_max(abilities: &Value) -> usize {
    abilities["text_max"].as_u64().and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0).unwrap_or(usize::MAX)
}

/// Owes a card another text, without buttons.
fn change(conn: &Connection, card: OutRow, text: &str, now: Timestamp) -> Result<(), StoreError> {
    let act = json!({ "do": "edit", "message": format!("out:{}", card.id), "text": text, "buttons": [] });
    let out = NewOut {
        channel: card.channel,
        chat: card.chat,
        thread: card.thread,
        act,
        cause: format!("{}:over", card.cause),
        agent: card.agent,
        session: card.session,
        turn: card.turn,
    };
    match owe(conn, &out, now) {
        // Too much waits there: what was decided stands without it.
        Ok(_) | Err(StoreError::Limit { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// What came of a question.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Over<'a> {
    /// It was answered so, on whatever surface.
    Answered(&'a str),
    /// Nobody answered in time.
    Late,
    /// Whoever asked it waits no more.
    Gone,
}

/// Changes what a chat shows of a question to what came of it, where its network lets us: no button goes on offering what is over.
pub(crate) fn question_over(conn: &Connection, id: &QuestionId, over: Over<'_>, now: Timestamp) -> Result<(), StoreError> {
    let doing = "settle a question";
    let mut statement = conn.prepare_cached("SELECT * FROM outbox WHERE cause = ?1 AND state <> 'dead'").doing(doing)?;
    let Some(card) = statement.query_row([format!("question:{id}")], from_row).optional().doing(doing)? else { return Ok(()) };
    let abilities = abilities(conn, &card.channel)?;
    let has_buttons = card.act["buttons"].as_array().is_some_and(|all| !all.is_empty());
    // An answer that was typed stands below the question already.
    if abilities["edit"].as_bool() != Some(true) || (!has_buttons && matches!(over, Over::Answered(_))) {
        return Ok(());
    }
    let outcome = match over {
        Over::Answered(answer) => answer,
        Over::Late => "(Nobody answered in time.)",
        Over::Gone => "(This is not asked any more.)",
    };
    let most = text_max(&abilities);
    let outcome: String = outcome.chars().take(most).collect();
    let room = most.saturating_sub(outcome.chars().count() + 2);
    let asked: String = card.act["text"].as_str().unwrap_or_default().chars().take(room).collect();
    change(conn, card, &format!("{asked}\n\n{outcome}"), now)
}

/// What people call whoever decided.
pub(crate) fn called(conn: &Connection, by: &str) -> Result<String, StoreError> {
    let Some(user) = by.strip_prefix("user:") else { return Ok(by.to_owned()) };
    let sql = "SELECT name FROM users WHERE id = ?1";
    let name: Option<String> = conn.query_row(sql, [user], |r| r.get(0)).optional().doing("find a person")?;
    let name: String = name.unwrap_or_default().chars().filter(|c| !c.is_control() && !"*_`[]()<>~|".contains(*c)).take(80).collect();
    Ok(if name.is_empty() { by.to_owned() } else { name })
}
