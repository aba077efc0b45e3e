//! What a person is asked in a turn.

use crate::db::{Connection, OptionalExtension, Row};
use model::{QuestionId, SessionId, Timestamp, TurnId};
use serde::Serialize;

use crate::card::{self, Over};
use crate::error::Doing;
use crate::row::{int, json, parsed, to_json, unreadable};
use crate::turn::TurnRow;
use crate::writer::Kind;
use crate::{Store, StoreError};

/// Bytes that an answer may have.
pub const ANSWER_BYTES_MAX: usize = 64 << 10;

/// Whether a question still wants an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum QuestionStatus {
    /// It does.
    Open,
    /// It was answered.
    Answered,
    /// Its turn ended, or was given back, before anybody answered.
    Gone,
}

/// A stored question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QuestionRow {
    /// Its identity.
    pub id: QuestionId,
    /// The session that asks.
    pub session: SessionId,
    /// The turn that asks.
    pub turn: TurnId,
    /// What is asked.
    pub text: String,
    /// Answers that are offered; empty for any text.
    pub options: Vec<String>,
    /// Whether it still wants an answer.
    pub status: QuestionStatus,
    /// What was answered.
    pub answer: Option<String>,
    /// When it was asked.
    pub asked: Timestamp,
    /// When it was answered.
    pub answered: Option<Timestamp>,
}

impl Store {
    /// Reads a question.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn question(&self, id: &QuestionId) -> Result<QuestionRow, StoreError> {
        let id = id.clone();
        self.read(move |conn| read(conn, &id)).await
    }

    /// The questions of a session that want an answer, in the order in which they were asked.
    ///
    /// # Errors
    /// What the database said.
    pub async fn open_questions(&self, session: &SessionId) -> Result<Vec<QuestionRow>, StoreError> {
        let session = session.clone();
        self.read(move |conn| {
            let sql = "SELECT * FROM questions WHERE session = ?1 AND status = 'open' ORDER BY rowid";
            let mut statement = conn.prepare_cached(sql).doing("list questions")?;
            let rows = statement.query_map([session.as_str()], from_row).doing("list questions")?;
            rows.collect::<crate::db::Result<_>>().doing("list questions")
        })
        .await
    }

    /// Everything that the engine of a turn has asked, in order: not what calls of its tools ask.
    ///
    /// # Errors
    /// What the database said.
    pub async fn turn_questions(&self, session: &SessionId, turn: &TurnId) -> Result<Vec<QuestionRow>, StoreError> {
        let (session, turn) = (session.clone(), turn.clone());
        self.read(move |conn| {
            let sql = "SELECT * FROM questions WHERE session = ?1 AND turn = ?2
                       AND NOT EXISTS (SELECT 1 FROM tool_questions t WHERE t.question = questions.id) ORDER BY rowid";
            let mut statement = conn.prepare_cached(sql).doing("list questions")?;
            let rows = statement.query_map((session.as_str(), turn.as_str()), from_row).doing("list questions")?;
            rows.collect::<crate::db::Result<_>>().doing("list questions")
        })
        .await
    }

    /// Keeps the answer to a question. Whoever works on the turn passes it on; the turn's state does not change here.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Conflict`] when it wants no answer any more, [`StoreError::Invalid`] for an
    /// answer that is longer than [`ANSWER_BYTES_MAX`].
    pub async fn answer_question(&self, id: &QuestionId, answer: String, now: Timestamp) -> Result<QuestionRow, StoreError> {
        if answer.len() > ANSWER_BYTES_MAX {
            return Err(StoreError::invalid("answer", format!("has {} bytes, more than {ANSWER_BYTES_MAX}", answer.len())));
        }
        let id = id.clone();
        self.write(Kind::QuestionAnswer, answer.len(), move |conn| {
            let sql = "UPDATE questions SET status = 'answered', answer = ?2, answered_ms = ?3 WHERE id = ?1 AND status = 'open'
                       RETURNING *";
            let mut statement = conn.prepare_cached(sql).doing("answer a question")?;
            let row = statement.query_row((id.as_str(), &answer, int("now", now.0)?), from_row).optional();
            match row.doing("answer a question")? {
                Some(row) => {
                    card::question_over(conn, &row.id, Over::Answered(&answer), now)?;
                    Ok(row)
                }
                None => Err(match read(conn, &id)?.status {
                    QuestionStatus::Gone => StoreError::Conflict(format!("nobody waits for an answer to `{id}` any more")),
                    _ => StoreError::Conflict(format!("question `{id}` was answered before")),
                }),
            }
        })
        .await
    }
}

/// Keeps a question of a turn.
pub(crate) fn ask(
    conn: &Connection,
    turn: &TurnRow,
    (id, text, options): &(QuestionId, String, Vec<String>),
    now: Timestamp,
) -> Result<(), StoreError> {
    let doing = "ask a question";
    let sql = "INSERT INTO questions (id, session, turn, text, options, status, asked_ms) VALUES (?1, ?2, ?3, ?4, ?5, 'open', ?6)
               ON CONFLICT (id) DO NOTHING";
    let mut statement = conn.prepare_cached(sql).doing(doing)?;
    let with = (id.as_str(), turn.session.as_str(), turn.id.as_str(), text, to_json("options", options)?, int("now", now.0)?);
    match statement.execute(with).doing(doing)? {
        0 => Err(StoreError::Conflict(format!("question `{id}` exists"))),
        _ => Ok(()),
    }
}

/// Gives up the open questions of a turn on which nobody works any more.
pub(crate) fn withdraw(conn: &Connection, turn: &TurnRow, now: Timestamp) -> Result<(), StoreError> {
    let doing = "give up questions";
    let sql = "UPDATE questions SET status = 'gone' WHERE session = ?1 AND turn = ?2 AND status = 'open' RETURNING id";
    let mut statement = conn.prepare_cached(sql).doing(doing)?;
    let rows = statement.query_map((turn.session.as_str(), turn.id.as_str()), |r| parsed::<QuestionId>(r, "id")).doing(doing)?;
    let given_up: Vec<QuestionId> = rows.collect::<crate::db::Result<_>>().doing(doing)?;
    given_up.iter().try_for_each(|id| card::question_over(conn, id, Over::Gone, now))
}

pub(crate) fn read(conn: &Connection, id: &QuestionId) -> Result<QuestionRow, StoreError> {
    let mut statement = conn.prepare_cached("SELECT * FROM questions WHERE id = ?1").doing("read a question")?;
    let row = statement.query_row([id.as_str()], from_row).optional().doing("read a question")?;
    row.ok_or_else(|| StoreError::NotFound { what: "question", id: id.to_string() })
}

fn from_row(row: &Row<'_>) -> crate::db::Result<QuestionRow> {
    let status = match row.get::<_, String>("status")?.as_str() {
        "open" => QuestionStatus::Open,
        "answered" => QuestionStatus::Answered,
        "gone" => QuestionStatus::Gone,
        _ => return Err(unreadable("no question has this status".into())),
    };
    Ok(QuestionRow {
        id: parsed(row, "id")?,
        session: parsed(row, "session")?,
        turn: parsed(row, "turn")?,
        text: row.get("text")?,
        options: json(row, "options")?,
        status,
        answer: row.get("answer")?,
        asked: Timestamp(row.get("asked_ms")?),
        answered: row.get::<_, Option<u64>>("answered_ms")?.map(Timestamp),
    })
}
