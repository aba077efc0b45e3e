//! Questions that calls of a tool ask: the same call asks once, and an answer is found again by a call that a crash cut off.

use model::{Event, EventKind, QuestionId, SessionId, Timestamp, TurnId};

use crate::card::{self, Over};
use crate::db::{Connection, OptionalExtension, params};
use crate::error::Doing;
use crate::event::add_event;
use crate::question::{self, QuestionRow, QuestionStatus};
use crate::row::{int, parsed};
use crate::turn::read_turn;
use crate::writer::Kind;
use crate::{Store, StoreError};

/// Questions of one turn that tools may have asked.
const ASKED_MAX: u64 = 20;

/// A question that a call asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewToolQuestion {
    /// Its identity.
    pub id: QuestionId,
    /// The session that asks.
    pub session: SessionId,
    /// The turn that asks.
    pub turn: TurnId,
    /// The call's name.
    pub correlation: String,
    /// What the call is made of.
    pub hash: String,
    /// What is asked.
    pub text: String,
    /// Answers that are offered; none for any text.
    pub options: Vec<String>,
    /// Until when it stands.
    pub expires: Timestamp,
    /// Now.
    pub now: Timestamp,
}

/// A question of a call.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolAsked {
    /// It: new, or the one that the same call asked before.
    pub question: QuestionRow,
    /// Until when it stands.
    pub expires: Timestamp,
    /// What was logged.
    pub events: Vec<Event>,
}

impl Store {
    /// Asks a question for a call, of whoever asked for the turn.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the turn does not run, [`StoreError::Limit`] when it asked too often.
    pub async fn ask_for_tool(&self, new: NewToolQuestion) -> Result<ToolAsked, StoreError> {
        self.write(Kind::ToolAsk, new.text.len(), move |conn| ask(conn, &new)).await
    }

    /// Gives up a question that nobody answered in time, and changes what its chat shows of it; one that was answered stays so.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn give_up_question(&self, id: &QuestionId, now: Timestamp) -> Result<QuestionRow, StoreError> {
        let id = id.clone();
        self.write(Kind::QuestionAnswer, 0, move |conn| {
            let sql = "UPDATE questions SET status = 'gone' WHERE id = ?1 AND status = 'open'";
            if conn.execute(sql, [id.as_str()]).doing("give up a question")? > 0 {
                card::question_over(conn, &id, Over::Late, now)?;
            }
            question::read(conn, &id)
        })
        .await
    }

    /// Questions that calls of a turn ask and nobody has answered.
    ///
    /// # Errors
    /// What the database said.
    pub async fn open_tool_questions(&self, turn: &TurnId) -> Result<Vec<QuestionId>, StoreError> {
        let turn = turn.clone();
        self.read(move |conn| {
            let doing = "look for questions";
            let sql = "SELECT q.id AS id FROM tool_questions t JOIN questions q ON q.id = t.question
                       WHERE t.turn = ?1 AND q.status = 'open' ORDER BY q.id";
            let mut statement = conn.prepare_cached(sql).doing(doing)?;
            let rows = statement.query_map([turn.as_str()], |r| parsed(r, "id")).doing(doing)?;
            rows.collect::<crate::db::Result<_>>().doing(doing)
        })
        .await
    }
}

fn ask(conn: &Connection, new: &NewToolQuestion) -> Result<ToolAsked, StoreError> {
    let doing = "ask a question";
    let sql = "SELECT question, expires_ms FROM tool_questions WHERE session = ?1 AND correlation = ?2 AND hash = ?3";
    let mut statement = conn.prepare_cached(sql).doing(doing)?;
    let with = params![new.session.as_str(), new.correlation, new.hash];
    let known = statement.query_row(with, |r| Ok((parsed::<QuestionId>(r, "question")?, r.get::<_, u64>("expires_ms")?)));
    if let Some((id, expires)) = known.optional().doing(doing)? {
        return Ok(ToolAsked { question: question::read(conn, &id)?, expires: Timestamp(expires), events: Vec::new() });
    }
    let turn = read_turn(conn, &new.turn)?;
    if turn.session != new.session || !matches!(turn.state, model::TurnState::Running | model::TurnState::Waiting) {
        return Err(StoreError::Conflict(format!("turn `{}` does not run, so nobody is asked for it", new.turn)));
    }
    let sql = "SELECT count(*) FROM tool_questions WHERE turn = ?1";
    let asked: u64 = conn.prepare_cached(sql).and_then(|mut s| s.query_row([new.turn.as_str()], |r| r.get(0))).doing(doing)?;
    if asked >= ASKED_MAX {
        return Err(StoreError::Limit { what: "questions of one turn", max: ASKED_MAX });
    }
    let kept = (new.id.clone(), new.text.clone(), new.options.clone());
    question::ask(conn, &turn, &kept, new.now)?;
    let sql = "INSERT INTO tool_questions (question, session, turn, correlation, hash, expires_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let with = params![new.id.as_str(), new.session.as_str(), new.turn.as_str(), new.correlation, new.hash, int("expires", new.expires.0)?];
    conn.prepare_cached(sql).and_then(|mut s| s.execute(with)).doing(doing)?;
    crate::outbox::question_asked(conn, &turn, &kept, new.now)?;
    let kind = EventKind::Question { id: new.id.clone(), text: new.text.clone(), options: new.options.clone() };
    let event = add_event(conn, &turn, kind, new.now)?;
    let question = question::read(conn, &new.id)?;
    debug_assert_eq!(question.status, QuestionStatus::Open);
    Ok(ToolAsked { question, expires: new.expires, events: vec![event] })
}
