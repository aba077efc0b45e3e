//! What decides over a message of a chat network, and what comes of it: the words between the store and its router.

use model::{AdmissionId, ChatId, InboundId, QuestionId, SessionId, Timestamp, TurnId};
use serde::Serialize;
use serde_json::Value;

use crate::channel::ChannelRow;
use crate::chat::{ChatRow, SessionKey, WiringRow};
use crate::db::Row;
use crate::outbox::OutRow;
use crate::people::{PairingRow, Person};
use crate::row::{json, maybe_parsed, parsed};

/// Something that a channel reports.
#[derive(Debug, Clone, PartialEq)]
pub struct Hearing {
    /// The identity that it gets when it is new.
    pub id: InboundId,
    /// The account.
    pub channel: String,
    /// The identity that its chat gets when it is new.
    pub fresh_chat: ChatId,
    /// The platform's id of the chat.
    pub chat: String,
    /// What the chat is called.
    pub chat_name: String,
    /// Whether others than one person can be in it.
    pub is_group: bool,
    /// The platform's id of the thread.
    pub thread: Option<String>,
    /// The platform's id of the message.
    pub message: String,
    /// What kind of thing happened.
    pub kind: String,
    /// The sender's handle.
    pub sender: String,
    /// What the sender calls themselves.
    pub sender_name: String,
    /// The SHA-256 of the code that it is, when it has the form of one.
    pub code: Option<String>,
    /// All of it.
    pub body: Value,
    /// Now.
    pub now: Timestamp,
}

/// Everything that decides what becomes of a message.
#[derive(Debug, Clone, PartialEq)]
pub struct RouteView {
    /// The account.
    pub channel: ChannelRow,
    /// The chat, when it is known.
    pub chat: Option<ChatRow>,
    /// Who hears it, who is asked first first.
    pub wirings: Vec<WiringView>,
    /// Who says it, when they are known.
    pub person: Option<Person>,
    /// Turns that the chat asked for within [`RATE_WINDOW_MS`](crate::RATE_WINDOW_MS).
    pub recent: u64,
    /// The code that it is.
    pub pairing: Option<PairingRow>,
    /// Whether any code can be used.
    pub is_pairing: bool,
    /// Wrong codes of the sender.
    pub guesses: u64,
    /// What a turn of the sender's asks here.
    pub question: Option<AskedHere>,
}

/// A wiring and what it is decided by.
#[derive(Debug, Clone, PartialEq)]
pub struct WiringView {
    /// It.
    pub row: WiringRow,
    /// The word that addresses its agent, when that has one of its own.
    pub trigger: Option<String>,
    /// The conversation that the message would belong to.
    pub key: SessionKey,
    /// Its session.
    pub session: Option<SessionId>,
}

/// A question that waits for an answer in a chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedHere {
    /// It.
    pub id: QuestionId,
    /// The answers that it offers.
    pub options: Vec<String>,
    /// Who asked for the turn: their handle.
    pub handle: String,
}

/// What becomes of a message.
#[derive(Debug, Clone, PartialEq)]
pub enum Route {
    /// Nothing, for this reason; the gate says where it stopped. `notes` says whether the chat becomes known.
    Drop {
        /// Where.
        gate: &'static str,
        /// Why.
        reason: String,
        /// Whether the chat becomes known.
        notes: bool,
    },
    /// Its text is a code that can be used.
    Pair,
    /// Its text looks like a code and is none.
    WrongCode,
    /// The host itself answers: a command, or the answer to something. Done after the commit, once.
    Host {
        /// `command` or `answer`.
        outcome: &'static str,
        /// What must be known to do it.
        note: Value,
    },
    /// Another text for a message that came before.
    Edit {
        /// The platform's id of that message.
        of: String,
    },
    /// What each wiring makes of it.
    Wired(Vec<Verdict>),
}

/// What one wiring makes of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// A turn.
    Engage,
    /// It is told with the next turn.
    Keep,
    /// It is held until its sender is let in.
    Hold {
        /// The rule.
        reason: String,
    },
    /// Nothing.
    Drop {
        /// Where it stopped.
        gate: &'static str,
        /// Why.
        reason: String,
    },
}

/// Decides over a message and puts it into words. Pure: called inside a transaction.
pub trait Router: Send + Sync + 'static {
    /// What becomes of it.
    fn route(&self, view: &RouteView) -> Route;
    /// What the turn is asked: the message, what was said before it, and what was sent and not taken.
    fn prompt(&self, view: &RouteView, id: &InboundId, before: &[KeptMessage], dead: &[OutRow]) -> String;
    /// The message as it stands in a prompt; the same for the same message.
    fn element(&self, id: &InboundId, body: &Value) -> String;
    /// What is answered at once when a route says so: to a used code, to who is held.
    fn reply(&self, view: &RouteView, about: Reply<'_>) -> Option<String>;
    /// Material of a fresh identity.
    fn fresh_bits(&self) -> u128;
}

/// What is answered at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply<'a> {
    /// A code was used; the agent that hears the chat now.
    Paired(Option<&'a str>),
    /// They wait to be let in.
    Held,
    /// Too much waits already.
    Busy,
    /// The quota of the tenant is used up.
    Quota,
}

/// A message that is told as context.
#[derive(Debug, Clone, PartialEq)]
pub struct KeptMessage {
    /// Its identity.
    pub id: InboundId,
    /// All of it.
    pub body: Value,
}

/// What came of a report.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HeardOut {
    /// Its identity: of this report, or of the one that came before.
    pub id: Option<InboundId>,
    /// Whether it is new.
    pub fresh: bool,
    /// Conversations that need a session first. Then nothing was written.
    pub needs: Vec<SessionKey>,
    /// Turns that were made, each with its session.
    pub turns: Vec<(TurnId, SessionId)>,
    /// Whether the host itself has something to do for it.
    pub is_open: bool,
    /// Whether somebody asks to be let in.
    pub admission: Option<AdmissionId>,
    /// Whether something became owed.
    pub owes: bool,
}

/// What was heard, as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct InboundRow {
    /// Its identity.
    pub id: InboundId,
    /// The account.
    pub channel: String,
    /// The platform's id of the chat.
    pub chat: String,
    /// The platform's id of the message.
    pub message: String,
    /// What kind of thing happened.
    pub kind: String,
    /// The thread.
    pub thread: Option<String>,
    /// The sender's handle.
    pub sender: String,
    /// What they call themselves.
    pub sender_name: String,
    /// All of it.
    #[serde(skip)]
    pub body: Value,
    /// `turn`, `kept`, `dropped`, `held`, `command`, `answer` or `paired`.
    pub outcome: String,
    /// Where it stopped.
    pub gate: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// What the host must know to do its part.
    #[serde(skip)]
    pub note: Option<Value>,
    /// Whether that is still to be done.
    pub is_open: bool,
    /// When it was heard.
    pub heard: Timestamp,
}

/// What one wiring made of a message, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RoutedRow {
    /// The agent.
    pub agent: String,
    /// `turn`, `kept`, `dropped` or `held`.
    pub outcome: String,
    /// Where it stopped.
    pub gate: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// The session.
    pub session: Option<SessionId>,
    /// The turn that it became, or was told with.
    pub turn: Option<TurnId>,
}

/// Who asked a turn, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AskerRow {
    /// The turn.
    pub turn: TurnId,
    /// Who, when they are known.
    pub user: Option<model::UserId>,
    /// The account.
    pub channel: String,
    /// The platform's id of the chat.
    pub chat: String,
    /// The thread.
    pub thread: Option<String>,
    /// Their handle.
    pub handle: String,
    /// The platform's id of the message.
    pub message: Option<String>,
    /// The message.
    pub inbound: Option<InboundId>,
    /// The agents that passed it on, the first first.
    pub via: Vec<String>,
}

pub(crate) fn from_row(row: &Row<'_>) -> crate::db::Result<InboundRow> {
    let note: Option<String> = row.get("note")?;
    Ok(InboundRow {
        id: parsed(row, "id")?,
        channel: row.get("channel")?,
        chat: row.get("chat")?,
        message: row.get("message")?,
        kind: row.get("kind")?,
        thread: row.get("thread")?,
        sender: row.get("sender")?,
        sender_name: row.get("sender_name")?,
        body: json(row, "body")?,
        outcome: row.get("outcome")?,
        gate: row.get("gate")?,
        reason: row.get("reason")?,
        note: note.and_then(|text| serde_json::from_str(&text).ok()),
        is_open: row.get::<_, i64>("is_open")? == 1,
        heard: Timestamp(row.get("heard_ms")?),
    })
}

pub(crate) fn routed_row(row: &Row<'_>) -> crate::db::Result<RoutedRow> {
    Ok(RoutedRow {
        agent: row.get("agent")?,
        outcome: row.get("outcome")?,
        gate: row.get("gate")?,
        reason: row.get("reason")?,
        session: maybe_parsed(row, "session")?,
        turn: maybe_parsed(row, "turn")?,
    })
}

pub(crate) fn asker_row(row: &Row<'_>) -> crate::db::Result<AskerRow> {
    Ok(AskerRow {
        turn: parsed(row, "turn")?,
        user: maybe_parsed(row, "member")?,
        channel: row.get("channel")?,
        chat: row.get("chat")?,
        thread: row.get("thread")?,
        handle: row.get("handle")?,
        message: row.get("message")?,
        inbound: maybe_parsed(row, "inbound")?,
        via: row.get::<_, Option<String>>("via")?.unwrap_or_default().split_whitespace().map(str::to_owned).collect(),
    })
}
