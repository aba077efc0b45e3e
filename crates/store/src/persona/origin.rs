//! Which template an agent was made from.

use crate::db::{Connection, OptionalExtension, params};
use model::Timestamp;
use serde_json::Value;

use crate::error::Doing;
use crate::row::{int, json, to_json};
use crate::session::bounded;
use crate::writer::Kind;
use crate::{AgentRow, Store, StoreError};

/// Bytes that each part of an origin may have as JSON.
pub const ORIGIN_BYTES_MAX: usize = crate::session::SPEC_BYTES_MAX;

/// What an agent came of.
#[derive(Debug, Clone, PartialEq)]
pub struct OriginRow {
    /// The agent.
    pub agent: String,
    /// The template: a name, or where its folder was.
    pub template: String,
    /// The hash over the template as it was.
    pub hash: String,
    /// The agent as it came of it.
    pub made: Value,
    /// The variables that were given.
    pub variables: Value,
    /// The tasks that were made with it.
    pub tasks: Value,
    /// Who made it, or brought it up to date last.
    pub actor: String,
    /// When.
    pub made_at: Timestamp,
}

impl Store {
    /// Makes an agent with its origin, or brings both up to date: the one never without the other.
    ///
    /// # Errors
    /// As [`Store::put_agent`]; [`StoreError::Conflict`] too when the agent is not as it was `before`.
    pub async fn put_agent_of_template(&self, body: Value, origin: OriginRow, before: Option<Value>) -> Result<AgentRow, StoreError> {
        if !model::is_name(&origin.agent) {
            return Err(StoreError::invalid("name", "is not one: small letters, digits and `-`"));
        }
        let body = bounded("agent", to_json("agent", &body)?)?;
        let made = bounded("origin", to_json("origin", &origin.made)?)?;
        let (variables, tasks) = (bounded("variables", to_json("variables", &origin.variables)?)?, to_json("tasks", &origin.tasks)?);
        self.write(Kind::AgentOrigin, body.len() + made.len(), move |conn| {
            if let Some(before) = &before {
                let there = crate::agent::read(conn, &origin.agent)?;
                if there.is_none_or(|row| row.body != *before) {
                    return Err(StoreError::Conflict(format!("agent `{}` has changed meanwhile", origin.agent)));
                }
            }
            let row = crate::agent::put(conn, &origin.agent, &body, origin.made_at, before.is_none())?;
            let sql = "INSERT INTO agent_origins (agent, template, hash, made, variables, tasks, actor, made_ms)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
                       ON CONFLICT (agent) DO UPDATE SET template = excluded.template, hash = excluded.hash, made = excluded.made,
                         variables = excluded.variables, tasks = excluded.tasks, actor = excluded.actor, made_ms = excluded.made_ms";
            let at = int("made", origin.made_at.0)?;
            let values = params![&origin.agent, &origin.template, &origin.hash, &made, &variables, &tasks, &origin.actor, at];
            conn.execute(sql, values).doing("keep an agent's origin")?;
            Ok(row)
        })
        .await
    }

    /// Notes which tasks were made with an agent.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when it has no origin.
    pub async fn note_origin_tasks(&self, agent: &str, tasks: Value) -> Result<(), StoreError> {
        let (agent, tasks) = (agent.to_owned(), to_json("tasks", &tasks)?);
        self.write(Kind::AgentOrigin, tasks.len(), move |conn| {
            let sql = "UPDATE agent_origins SET tasks = ?2 WHERE agent = ?1";
            match conn.execute(sql, params![&agent, &tasks]).doing("note an agent's tasks")? {
                0 => Err(StoreError::NotFound { what: "template of agent", id: agent }),
                _ => Ok(()),
            }
        })
        .await
    }

    /// What an agent came of; `None` when it was made without a template.
    ///
    /// # Errors
    /// What the database said.
    pub async fn agent_origin(&self, agent: &str) -> Result<Option<OriginRow>, StoreError> {
        let agent = agent.to_owned();
        self.read(move |conn| read(conn, &agent)).await
    }
}

fn read(conn: &Connection, agent: &str) -> Result<Option<OriginRow>, StoreError> {
    let found = conn.query_row("SELECT * FROM agent_origins WHERE agent = ?1", [agent], |row| {
        Ok(OriginRow {
            agent: row.get("agent")?,
            template: row.get("template")?,
            hash: row.get("hash")?,
            made: json(row, "made")?,
            variables: json(row, "variables")?,
            tasks: json(row, "tasks")?,
            actor: row.get("actor")?,
            made_at: Timestamp(row.get("made_ms")?),
        })
    });
    found.optional().doing("read an agent's origin")
}
