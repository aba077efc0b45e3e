//! Effects that chat networks are owed: written with what caused them, sent in order, settled once.
//!
//! A row is `sending` before its channel sees it. One whose channel ended before it answered is asked about again under the same
//! identity. The rows of one chat leave in order, one at a time; chats do not wait for each other.

use model::{OutboxId, Outcome, QuestionId, ResultEvent, SessionId, Timestamp, TurnId, split_text};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::db::{Connection, OptionalExtension, Row, params};
use crate::error::Doing;
use crate::row::{int, json as from_json, maybe_parsed, parsed, to_json};
use crate::session::{LIST_MAX, Page};
use crate::turn::TurnRow;
use crate::writer::Kind;
use crate::{Store, StoreError};

/// Bytes of one effect as JSON.
pub const ACT_BYTES_MAX: usize = 1 << 20;
/// Effects of one account that are not settled. Beyond it nothing more is taken.
pub const OUTBOX_MAX: u64 = 100_000;
/// Messages that one answer may become; the rest is cut off, and says so.
pub const PARTS_MAX: usize = 40;
/// Rows that one write claims or removes.
pub const OUTBOX_AT_ONCE: usize = 64;
/// Characters of one message where the network has not said yet.
const TEXT_CHARS_USUAL: usize = 4000;
/// Bytes of what is kept of an error.
const ERROR_CHARS_MAX: usize = 500;

/// An effect that becomes owed.
#[derive(Debug, Clone, PartialEq)]
pub struct NewOut {
    /// Through which account.
    pub channel: String,
    /// The platform's id of the chat.
    pub chat: String,
    /// The platform's id of the thread.
    pub thread: Option<String>,
    /// What, as the channel protocol has it.
    pub act: Value,
    /// What it is owed for: the same cause owes one.
    pub cause: String,
    /// The agent that it comes from.
    pub agent: Option<String>,
    /// The session that hears of it when it fails for good.
    pub session: Option<SessionId>,
    /// The turn that caused it.
    pub turn: Option<TurnId>,
}

/// An effect as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OutRow {
    /// Its identity; the same in each try.
    pub id: OutboxId,
    /// Through which account.
    pub channel: String,
    /// Whose it is.
    pub tenant: String,
    /// The platform's id of the chat.
    pub chat: String,
    /// The platform's id of the thread.
    pub thread: Option<String>,
    /// What.
    pub act: Value,
    /// What it is owed for.
    pub cause: String,
    /// The agent that it comes from.
    pub agent: Option<String>,
    /// The session.
    pub session: Option<SessionId>,
    /// The turn.
    pub turn: Option<TurnId>,
    /// `waiting`, `sending`, `sent` or `dead`.
    pub state: String,
    /// How often it was tried.
    pub attempts: u32,
    /// When it is tried next, while it waits.
    pub due: Timestamp,
    /// The platform's ids of what it became.
    pub messages: Vec<String>,
    /// Why the last try failed.
    pub error: Option<String>,
    /// When it became owed.
    pub created: Timestamp,
    /// When it was sent or given up.
    pub settled: Option<Timestamp>,
}

/// What came of one try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutOutcome {
    /// The platform took it: the ids of what it became. What follows it in its chat is not due before this time.
    Sent(Vec<String>, Timestamp),
    /// It is tried again at this time.
    Again(Timestamp, String),
    /// It will never work.
    Dead(String),
}

/// Which effects are listed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutFilter {
    /// Of this tenant.
    pub tenant: Option<String>,
    /// Through this account.
    pub channel: Option<String>,
    /// In this state.
    pub state: Option<String>,
}

impl Store {
    /// Owes effects, all or none, in this order. Those whose cause is known are left out.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for an account, [`StoreError::Limit`] at [`OUTBOX_MAX`], [`StoreError::Invalid`].
    pub async fn send(&self, new: Vec<NewOut>, now: Timestamp) -> Result<Vec<OutboxId>, StoreError> {
        self.write(Kind::OutboxPut, 0, move |conn| new.iter().map(|one| owe(conn, one, now)).collect()).await
    }

    /// Owes what asks somebody to decide something, as long as that is open: see [`NewOut::cause`]. Gives nothing where it is decided.
    ///
    /// # Errors
    /// What [`Store::send`] says.
    pub async fn send_card(&self, new: Vec<NewOut>, now: Timestamp) -> Result<Vec<OutboxId>, StoreError> {
        self.write(Kind::OutboxPut, 0, move |conn| crate::card::send(conn, &new, now)).await
    }

    /// Claims effects that are due: the first of each chat that has none under way.
    ///
    /// # Errors
    /// What the database said.
    pub async fn claim_out(&self, channel: &str, most: usize, now: Timestamp) -> Result<Vec<OutRow>, StoreError> {
        let (channel, most) = (channel.to_owned(), most.min(OUTBOX_AT_ONCE) as u64);
        self.write(Kind::OutboxClaim, 0, move |conn| {
            let sql = "UPDATE outbox SET state = 'sending', attempts = attempts + 1 WHERE id IN (
                         SELECT o.id FROM outbox o WHERE o.channel = ?1 AND o.state = 'waiting' AND o.due_ms <= ?2
                         AND NOT EXISTS (SELECT 1 FROM outbox b WHERE b.channel = o.channel AND b.chat = o.chat
                                         AND b.state IN ('waiting', 'sending') AND b.n < o.n)
                         ORDER BY o.n LIMIT ?3) RETURNING *";
            let with = params![channel, int("now", now.0)?, int("most", most)?];
            let mut statement = conn.prepare_cached(sql).doing("claim what is owed")?;
            let rows = statement.query_map(with, from_row).doing("claim what is owed")?;
            rows.collect::<crate::db::Result<_>>().doing("claim what is owed")
        })
        .await
    }

    /// Lets effects be claimed again that a channel was about when it ended: it is asked about them under the same identity.
    ///
    /// # Errors
    /// What the database said.
    pub async fn release_out(&self, channel: &str, now: Timestamp) -> Result<usize, StoreError> {
        let channel = channel.to_owned();
        self.write(Kind::OutboxClaim, 0, move |conn| {
            let sql = "UPDATE outbox SET state = 'waiting', due_ms = ?2 WHERE channel = ?1 AND state = 'sending'";
            conn.execute(sql, params![channel, int("now", now.0)?]).doing("release what is owed")
        })
        .await
    }

    /// Keeps what came of a try. Says whether anything changed: what is settled stays so. Where a file will never come, its chat is owed
    /// word of that.
    ///
    /// # Errors
    /// What the database said.
    pub async fn out_tried(&self, id: &OutboxId, outcome: OutOutcome, now: Timestamp) -> Result<bool, StoreError> {
        let id = id.clone();
        self.write(Kind::OutboxTried, 0, move |conn| {
            let doing = "keep the outcome of a delivery";
            let at = int("now", now.0)?;
            match outcome {
                OutOutcome::Sent(messages, next) => {
                    let sql = "UPDATE outbox SET state = 'sent', messages = ?2, error = NULL, settled_ms = ?3
                               WHERE id = ?1 AND state IN ('waiting', 'sending') RETURNING channel, chat";
                    let with = params![id.as_str(), to_json("messages", &messages)?, at];
                    let read = |r: &Row<'_>| Ok((r.get(0)?, r.get(1)?));
                    let lane: Option<(String, String)> = conn.query_row(sql, with, read).optional().doing(doing)?;
                    let Some((channel, chat)) = lane else { return Ok(false) };
                    if next > now {
                        let sql = "UPDATE outbox SET due_ms = ?3 WHERE channel = ?1 AND chat = ?2 AND state = 'waiting' AND due_ms < ?3";
                        conn.execute(sql, params![channel, chat, int("next", next.0)?]).doing(doing)?;
                    }
                    Ok(true)
                }
                OutOutcome::Again(due, error) => {
                    let sql = "UPDATE outbox SET state = 'waiting', due_ms = ?2, error = ?3 WHERE id = ?1 AND state = 'sending'";
                    Ok(conn.execute(sql, params![id.as_str(), int("due", due.0)?, cut(error)]).doing(doing)? > 0)
                }
                OutOutcome::Dead(error) => {
                    let sql = "UPDATE outbox SET state = 'dead', error = ?2, settled_ms = ?3, is_told = 0
                               WHERE id = ?1 AND state IN ('waiting', 'sending') RETURNING *";
                    let error = cut(error);
                    let row = conn.query_row(sql, params![id.as_str(), error, at], from_row).optional().doing(doing)?;
                    let Some(row) = row else { return Ok(false) };
                    crate::refused::tell(conn, &row, &error, now)?;
                    Ok(true)
                }
            }
        })
        .await
    }

    /// When an account's next effect is due; `None` when none waits.
    ///
    /// # Errors
    /// What the database said.
    pub async fn next_out(&self, channel: &str) -> Result<Option<Timestamp>, StoreError> {
        let channel = channel.to_owned();
        self.read(move |conn| {
            // Only the first of each chat: the others wait for it, whenever they are due.
            let sql = "SELECT o.due_ms FROM outbox o WHERE o.channel = ?1 AND o.state = 'waiting'
                       AND NOT EXISTS (SELECT 1 FROM outbox b WHERE b.channel = o.channel AND b.chat = o.chat
                                       AND b.state IN ('waiting', 'sending') AND b.n < o.n)
                       ORDER BY o.due_ms LIMIT 1";
            let due = conn.query_row(sql, [channel], |r| r.get::<_, u64>(0)).optional().doing("look for what is owed")?;
            Ok(due.map(Timestamp))
        })
        .await
    }

    /// One effect.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn out(&self, id: &OutboxId) -> Result<OutRow, StoreError> {
        let id = id.clone();
        self.read(move |conn| {
            let row = conn.query_row("SELECT * FROM outbox WHERE id = ?1", [id.as_str()], from_row).optional();
            row.doing("read a delivery")?.ok_or_else(|| missing(&id))
        })
        .await
    }

    /// The effect of this cause.
    ///
    /// # Errors
    /// What the database said.
    pub async fn out_of(&self, cause: &str) -> Result<Option<OutRow>, StoreError> {
        let cause = cause.to_owned();
        self.read(move |conn| {
            let row = conn.query_row("SELECT * FROM outbox WHERE cause = ?1", [cause], from_row);
            row.optional().doing("read a delivery")
        })
        .await
    }

    /// The effects of a turn, in order: at most [`LIST_MAX`].
    ///
    /// # Errors
    /// What the database said.
    pub async fn outs_of_turn(&self, turn: &TurnId) -> Result<Vec<OutRow>, StoreError> {
        let turn = turn.clone();
        self.read(move |conn| {
            let mut statement = conn.prepare_cached("SELECT * FROM outbox WHERE turn = ?1 ORDER BY n LIMIT ?2").doing("list deliveries")?;
            let rows = statement.query_map(params![turn.as_str(), int("limit", LIST_MAX as u64)?], from_row).doing("list deliveries")?;
            rows.collect::<crate::db::Result<_>>().doing("list deliveries")
        })
        .await
    }

    /// A page of effects, the youngest first.
    ///
    /// # Errors
    /// What the database said.
    pub async fn list_out(&self, filter: OutFilter, after: Option<OutboxId>, limit: usize) -> Result<Page<OutRow>, StoreError> {
        let limit = limit.clamp(1, LIST_MAX);
        self.read(move |conn| {
            let sql =
                "SELECT * FROM outbox WHERE (?1 IS NULL OR tenant = ?1) AND (?2 IS NULL OR channel = ?2) AND (?3 IS NULL OR state = ?3)
                       AND (?4 IS NULL OR id < ?4) ORDER BY id DESC LIMIT ?5";
            let after = after.as_ref().map(OutboxId::as_str);
            let with = params![filter.tenant, filter.channel, filter.state, after, int("limit", limit as u64 + 1)?];
            let mut statement = conn.prepare_cached(sql).doing("list deliveries")?;
            let rows = statement.query_map(with, from_row).doing("list deliveries")?;
            let mut items: Vec<OutRow> = rows.collect::<crate::db::Result<_>>().doing("list deliveries")?;
            let more = items.len() > limit;
            items.truncate(limit);
            let next = if more { items.last().map(|row| row.id.to_string()) } else { None };
            Ok(Page { items, next })
        })
        .await
    }

    /// Owes an effect that was given up once more. It goes behind what waits in its chat.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Conflict`] unless it is dead.
    pub async fn resend_out(&self, id: &OutboxId, now: Timestamp) -> Result<OutRow, StoreError> {
        let id = id.clone();
        self.write(Kind::OutboxPut, 0, move |conn| {
            let doing = "send again";
            let found = conn.query_row("SELECT * FROM outbox WHERE id = ?1", [id.as_str()], from_row).optional().doing(doing)?;
            let row = found.ok_or_else(|| missing(&id))?;
            let n = next_number(conn, &row.channel)?;
            let sql = "UPDATE outbox SET state = 'waiting', attempts = 0, due_ms = ?2, n = ?3, settled_ms = NULL, is_told = 0
                       WHERE id = ?1 AND state = 'dead' RETURNING *";
            let again = conn.query_row(sql, params![id.as_str(), int("now", now.0)?, n], from_row).optional().doing(doing)?;
            again.ok_or_else(|| StoreError::Conflict(format!("delivery `{id}` is {}", row.state)))
        })
        .await
    }

    /// Removes effects that were settled before, and what was heard before: at most [`OUTBOX_AT_ONCE`] of each. Returns how many went.
    ///
    /// # Errors
    /// What the database said.
    pub async fn forget_chat_log(&self, before: Timestamp) -> Result<usize, StoreError> {
        self.write(Kind::ChatForget, 0, move |conn| {
            let doing = "forget what was said";
            let with = params![int("before", before.0)?, int("limit", OUTBOX_AT_ONCE as u64)?];
            let sql = "DELETE FROM outbox WHERE id IN (SELECT id FROM outbox WHERE settled_ms < ?1 ORDER BY settled_ms LIMIT ?2)";
            let outs = conn.execute(sql, with).doing(doing)?;
            let sql =
                "DELETE FROM inbound WHERE id IN (SELECT id FROM inbound WHERE heard_ms < ?1 AND is_open = 0 ORDER BY heard_ms LIMIT ?2)";
            Ok(outs + conn.execute(sql, with).doing(doing)?)
        })
        .await
    }
}

/// Owes one effect; the same cause owes one.
pub(crate) fn owe(conn: &Connection, new: &NewOut, now: Timestamp) -> Result<OutboxId, StoreError> {
    let doing = "owe a delivery";
    let act = to_json("act", &new.act)?;
    if act.len() > ACT_BYTES_MAX {
        return Err(StoreError::invalid("act", format!("has more than {ACT_BYTES_MAX} bytes")));
    }
    let known = conn.query_row("SELECT id FROM outbox WHERE cause = ?1", [&new.cause], |r| parsed(r, "id")).optional().doing(doing)?;
    if let Some(id) = known {
        return Ok(id);
    }
    let sql = "SELECT count(*) FROM outbox WHERE channel = ?1 AND state IN ('waiting', 'sending')";
    let open: u64 = conn.query_row(sql, [&new.channel], |r| r.get(0)).doing(doing)?;
    if open >= OUTBOX_MAX {
        return Err(StoreError::Limit { what: "deliveries that wait", max: OUTBOX_MAX });
    }
    let n = next_number(conn, &new.channel)?;
    let tenant: String = conn.query_row("SELECT tenant FROM channels WHERE name = ?1", [&new.channel], |r| r.get(0)).doing(doing)?;
    let id = identity(&new.cause, now);
    let sql =
        "INSERT INTO outbox (id, channel, tenant, n, chat, thread, act, cause, agent, session, turn, about, state, due_ms, created_ms)
               VALUES (?1, ?11, ?12, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?13, 'waiting', ?10, ?10)";
    let about = crate::card::about(&new.cause, &new.act);
    let (session, turn) = (new.session.as_ref().map(SessionId::as_str), new.turn.as_ref().map(TurnId::as_str));
    let at = int("now", now.0)?;
    let with = params![id.as_str(), n, new.chat, new.thread, act, new.cause, new.agent, session, turn, at, new.channel, tenant, about];
    conn.execute(sql, with).doing(doing)?;
    Ok(id)
}

fn next_number(conn: &Connection, channel: &str) -> Result<i64, StoreError> {
    let sql = "UPDATE channels SET last_out = last_out + 1 WHERE name = ?1 RETURNING last_out";
    let mut statement = conn.prepare_cached(sql).doing("number a delivery")?;
    statement.query_row([channel], |r| r.get(0)).optional().doing("number a delivery")?.ok_or_else(|| crate::channel::missing(channel))
}

/// The time in front keeps them in order; the rest says what it is owed for.
fn identity(cause: &str, now: Timestamp) -> OutboxId {
    OutboxId::from_bits(bits_of(cause, now))
}

/// Bits of an identity that sorts by time and is the same for the same cause and time.
pub(crate) fn bits_of(cause: &str, now: Timestamp) -> u128 {
    let hash = Sha256::new().chain_update(cause).finalize();
    let tail = hash.iter().take(10).fold(0u128, |bits, byte| (bits << 8) | u128::from(*byte));
    (u128::from(now.0 & 0xffff_ffff_ffff) << 80) | tail
}

/// Where the answers of a turn go.
struct Home {
    channel: String,
    chat: String,
    thread: Option<String>,
    message: Option<String>,
    is_group: bool,
    text_max: usize,
    buttons: bool,
    agent: String,
}

fn home(conn: &Connection, turn: &TurnRow) -> Result<Option<Home>, StoreError> {
    let sql = "SELECT a.channel AS channel, a.chat AS chat, a.thread AS thread, a.message AS message, n.abilities AS abilities,
                 coalesce(c.is_group, 0) AS is_group, s.agent AS agent
               FROM askers a JOIN channels n ON n.name = a.channel JOIN sessions s ON s.id = ?2
               LEFT JOIN chats c ON c.channel = a.channel AND c.chat = a.chat WHERE a.turn = ?1";
    let mut statement = conn.prepare_cached(sql).doing("find where an answer goes")?;
    let read = |r: &Row<'_>| {
        let (text_max, buttons) = able(r)?;
        Ok(Home {
            channel: r.get("channel")?,
            chat: r.get("chat")?,
            thread: r.get("thread")?,
            message: r.get("message")?,
            is_group: r.get::<_, i64>("is_group")? == 1,
            text_max,
            buttons,
            agent: r.get("agent")?,
        })
    };
    statement.query_row([turn.id.as_str(), turn.session.as_str()], read).optional().doing("find where an answer goes")
}

impl Home {
    fn out(&self, turn: &TurnRow, cause: String, act: Value) -> NewOut {
        NewOut {
            channel: self.channel.clone(),
            chat: self.chat.clone(),
            thread: self.thread.clone(),
            act,
            cause,
            agent: Some(self.agent.clone()),
            session: Some(turn.session.clone()),
            turn: Some(turn.id.clone()),
        }
    }
}

/// The places that the answer of a turn goes to: those that were named for it, or where it was asked.
fn homes(conn: &Connection, turn: &TurnRow) -> Result<Vec<Home>, StoreError> {
    let places = crate::agent_tool::places_of(conn, &turn.id)?;
    if places.is_empty() {
        return Ok(home(conn, turn)?.into_iter().collect());
    }
    let sql = "SELECT n.abilities AS abilities, s.agent AS agent FROM channels n JOIN sessions s ON s.id = ?2 WHERE n.name = ?1";
    let mut statement = conn.prepare_cached(sql).doing("find where an answer goes")?;
    let mut homes = Vec::with_capacity(places.len());
    for place in places {
        let read = |r: &Row<'_>| {
            let (text_max, buttons) = able(r)?;
            let (channel, chat, thread) = (place.channel.clone(), place.chat.clone(), place.thread.clone());
            Ok(Home { channel, chat, thread, message: None, is_group: false, text_max, buttons, agent: r.get("agent")? })
        };
        let found = statement.query_row([place.channel.as_str(), turn.session.as_str()], read).optional();
        // An account that is gone since hears nothing.
        homes.extend(found.doing("find where an answer goes")?);
    }
    Ok(homes)
}

/// The longest text, and whether there are buttons, of the account of a row.
fn able(row: &Row<'_>) -> crate::db::Result<(usize, bool)> {
    let abilities: Option<String> = row.get("abilities")?;
    let abilities: Value = abilities.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    let most = abilities["text_max"].as_u64().and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0);
    Ok((most.unwrap_or(TEXT_CHARS_USUAL), abilities["buttons"].as_bool().unwrap_or(false)))
}

/// The end of a turn owes its answer to whoever asked: a person, or another agent.
pub(crate) fn turn_ended(conn: &Connection, turn: &TurnRow, result: &ResultEvent, now: Timestamp) -> Result<(), StoreError> {
    if crate::agent_tool::reply(conn, turn, result, now)? {
        return Ok(());
    }
    for (place, home) in homes(conn, turn)?.iter().enumerate() {
        answer(conn, turn, result, (place, home), now)?;
    }
    Ok(())
}

fn answer(
    conn: &Connection,
    turn: &TurnRow,
    result: &ResultEvent,
    (place, home): (usize, &Home),
    now: Timestamp,
) -> Result<(), StoreError> {
    let text = match result.status {
        Outcome::Completed => result.text.clone(),
        Outcome::Cancelled => return Ok(()),
        Outcome::Failed | Outcome::Timeout => {
            let code = result.code.map_or("FAILED", model::Code::as_str);
            let partial = result.text.trim();
            let gap = if partial.is_empty() { "" } else { "\n\n" };
            format!("{partial}{gap}This could not be finished ({code}). /why tells more.")
        }
    };
    let mut parts = split_text(&text, home.text_max);
    if parts.len() > PARTS_MAX {
        parts.truncate(PARTS_MAX - 1);
        parts.push("(The answer is longer than is sent; the rest was left out.)".to_owned());
    }
    for (n, part) in parts.into_iter().enumerate() {
        let reply = home.message.as_ref().filter(|_| n == 0 && home.is_group);
        let act = json!({ "do": "send", "text": part, "reply_to": reply });
        let cause = if place == 0 { format!("turn:{}:{n}", turn.id) } else { format!("turn:{}:{n}:{place}", turn.id) };
        owe(conn, &home.out(turn, cause, act), now)?;
    }
    Ok(())
}

/// A question of a turn goes to whoever asked.
pub(crate) fn question_asked(
    conn: &Connection,
    turn: &TurnRow,
    (id, text, options): &(QuestionId, String, Vec<String>),
    now: Timestamp,
) -> Result<(), StoreError> {
    let Some(home) = home(conn, turn)? else { return Ok(()) };
    let mut text = text.clone();
    let mut buttons = Vec::new();
    if home.buttons && !options.is_empty() && options.len() <= BUTTONS_MAX {
        buttons = options.iter().enumerate().map(|(n, label)| json!({ "label": label, "value": format!("q:{id}:{n}") })).collect();
    } else if !options.is_empty() {
        for (n, label) in options.iter().enumerate() {
            text.push_str(&format!("\n{}. {label}", n + 1));
        }
        text.push_str("\n\nAnswer with a number.");
    }
    let mut parts = split_text(&text, home.text_max);
    parts.truncate(PARTS_MAX);
    let last = parts.pop();
    for (n, part) in parts.into_iter().enumerate() {
        owe(conn, &home.out(turn, format!("question:{id}:{n}"), json!({ "do": "send", "text": part })), now)?;
    }
    if let Some(part) = last {
        let act = json!({ "do": "send", "text": part, "buttons": buttons });
        owe(conn, &home.out(turn, format!("question:{id}"), act), now)?;
    }
    Ok(())
}

/// Buttons that one message has at most.
const BUTTONS_MAX: usize = 8;

/// What a session has not heard of yet: what it sent and nobody took. It has heard of it then.
pub(crate) fn tell_dead(conn: &Connection, session: &SessionId) -> Result<Vec<OutRow>, StoreError> {
    let doing = "tell what was given up";
    let sql = "UPDATE outbox SET is_told = 1 WHERE session = ?1 AND state = 'dead' AND is_told = 0 RETURNING *";
    let mut statement = conn.prepare_cached(sql).doing(doing)?;
    let rows = statement.query_map([session.as_str()], from_row).doing(doing)?;
    rows.collect::<crate::db::Result<_>>().doing(doing)
}

fn missing(id: &OutboxId) -> StoreError {
    StoreError::NotFound { what: "delivery", id: id.to_string() }
}

fn cut(text: String) -> String {
    text.chars().take(ERROR_CHARS_MAX).collect()
}

pub(crate) fn from_row(row: &Row<'_>) -> crate::db::Result<OutRow> {
    let messages: Option<String> = row.get("messages")?;
    Ok(OutRow {
        id: parsed(row, "id")?,
        channel: row.get("channel")?,
        tenant: row.get("tenant")?,
        chat: row.get("chat")?,
        thread: row.get("thread")?,
        act: from_json(row, "act")?,
        cause: row.get("cause")?,
        agent: row.get("agent")?,
        session: maybe_parsed(row, "session")?,
        turn: maybe_parsed(row, "turn")?,
        state: row.get("state")?,
        attempts: row.get("attempts")?,
        due: Timestamp(row.get("due_ms")?),
        messages: messages.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default(),
        error: row.get("error")?,
        created: Timestamp(row.get("created_ms")?),
        settled: row.get::<_, Option<u64>>("settled_ms")?.map(Timestamp),
    })
}
