//! What a try of a job begins with: its session and the turn that is asked, in one write.

use std::collections::HashSet;

use model::{SessionId, TreeId};

use super::JobWork;
use super::row::held_job;
use crate::checkpoint::keep_checkpoint;
use crate::db::{Connection, OptionalExtension};
use crate::error::Doing;
use crate::session::{Texts, insert_session};
use crate::turn::{Accepted, NewTurn, accept, check_new};
use crate::writer::Kind;
use crate::{NewSession, Store, StoreError};

/// What a try of a job begins with.
#[derive(Debug, Clone, PartialEq)]
pub struct JobTry {
    /// The job, and the claim under which it is worked on.
    pub work: JobWork,
    /// Its session.
    pub session: NewSession,
    /// A tree that is never made, where the session has one of its own that nobody has used: its beginning is empty.
    pub beginning: Option<TreeId>,
    /// What the session is asked.
    pub turn: NewTurn,
}

impl Store {
    /// Makes the session of a try and asks it, unless a daemon before this one did: then nothing changes.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the claim is not in force any more or the tree is taken; those of
    /// [`Store::create_session`] and [`Store::accept_turn`].
    pub async fn begin_job(&self, begins: JobTry) -> Result<Accepted, StoreError> {
        let texts = Texts::of(&begins.session)?;
        let spec = check_new(&begins.turn)?;
        let bytes = texts.bytes() + spec.len() + begins.turn.prompt.len();
        self.write(Kind::JobBegin, bytes, move |conn| begin(conn, &begins, &texts, &spec)).await
    }

    /// Those of these sessions that are there. A job has the name of its session from when it is claimed.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn sessions_there(&self, sessions: Vec<SessionId>) -> Result<HashSet<SessionId>, StoreError> {
        self.read(move |conn| {
            let mut there = HashSet::new();
            for id in sessions {
                if is_there(conn, &id)? {
                    there.insert(id);
                }
            }
            Ok(there)
        })
        .await
    }
}

fn begin(conn: &Connection, begins: &JobTry, texts: &Texts, spec: &str) -> Result<Accepted, StoreError> {
    let JobTry { work, session, beginning, turn } = begins;
    held_job(conn, &work.id, work.fence)?;
    if !is_there(conn, &session.id)? {
        insert_session(conn, session, texts)?;
        if let Some(tree) = beginning {
            keep_checkpoint(conn, &session.id, 0, tree, session.now)?;
        }
    }
    accept(conn, turn, spec)
}

fn is_there(conn: &Connection, id: &SessionId) -> Result<bool, StoreError> {
    let doing = "look for a session";
    let mut statement = conn.prepare_cached("SELECT 1 FROM sessions WHERE id = ?1").doing(doing)?;
    let found: Option<i64> = statement.query_row([id.as_str()], |r| r.get(0)).optional().doing(doing)?;
    Ok(found.is_some())
}
