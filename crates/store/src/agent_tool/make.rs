//! An agent that another one made: itself, and the ways between the two, together.

use model::Timestamp;
use serde_json::Value;

use crate::agent::{AGENT_BYTES_MAX, AgentRow, put, read};
use crate::chat::{DestinationRow, destine, free_destination};
use crate::db::params;
use crate::error::Doing;
use crate::row::{int, to_json};
use crate::writer::Kind;
use crate::{Store, StoreError};

/// What the maker of an agent is called by it.
const PARENT: &str = "parent";

impl Store {
    /// Makes an agent for another one, with a destination each way. Gives the row, and what each calls the other: its maker, and it.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when there is one of this name, [`StoreError::Limit`], [`StoreError::Invalid`].
    pub async fn make_agent_of(
        &self,
        tenant: &str,
        maker: &str,
        name: &str,
        body: Value,
        now: Timestamp,
    ) -> Result<(AgentRow, String, String), StoreError> {
        if !model::is_name(name) {
            return Err(StoreError::invalid("name", "is not one: small letters, digits and `-`"));
        }
        let body = to_json("agent", &body)?;
        if body.len() > AGENT_BYTES_MAX {
            return Err(StoreError::invalid("agent", format!("has more than {AGENT_BYTES_MAX} bytes")));
        }
        let (tenant, maker, name) = (tenant.to_owned(), maker.to_owned(), name.to_owned());
        self.write(Kind::AgentMake, body.len(), move |conn| {
            if read(conn, &name)?.is_some() {
                return Err(StoreError::Conflict(format!("agent `{name}` exists")));
            }
            let row = put(conn, &name, &body, now, true)?;
            // Whoever may talk to the one may talk to the other, and no more than that.
            let sql = "INSERT INTO agent_people (tenant, agent, member, role, given_by, created_ms)
                       SELECT tenant, CAST(?3 AS TEXT), member, role, given_by, CAST(?4 AS INTEGER) FROM agent_people WHERE tenant = ?1 AND agent = ?2
                       ON CONFLICT (tenant, agent, member) DO NOTHING";
            conn.execute(sql, params![tenant, maker, name, int("now", now.0)?]).doing("make an agent")?;
            let to_maker = free_destination(conn, &tenant, &name, PARENT)?;
            let to_it = free_destination(conn, &tenant, &maker, &name)?;
            for (agent, name, target) in [(&name, &to_maker, &maker), (&maker, &to_it, &name)] {
                let (tenant, agent, name, target) = (tenant.clone(), agent.clone(), name.clone(), Some(target.clone()));
                destine(conn, &DestinationRow { tenant, agent, name, chat: None, thread: None, target }, now)?;
            }
            Ok((row, to_maker, to_it))
        })
        .await
    }
}
