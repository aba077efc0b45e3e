//! How far the first steps came, and what was taken over from other installs.

use model::{Timestamp, UserId};
use serde::Serialize;

use crate::db::{Connection, OptionalExtension, Row, params};
use crate::error::Doing;
use crate::row::int;
use crate::session::check_text;
use crate::writer::Kind;
use crate::{Store, StoreError};

/// Steps that a tenant may have noted.
pub const SETUP_STEPS_MAX: u64 = 32;
/// Characters of the note of a step, and of what another install calls something.
pub const FOREIGN_ID_CHARS_MAX: usize = 400;
/// Entries that a tenant may have taken over.
pub const TAKEN_MAX: u64 = 2_000_000;
/// Who vouches for people that came from another install.
const ISSUER: &str = "import";

/// A step that was done or passed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SetupStepRow {
    /// Its name.
    pub step: String,
    /// Whether it was passed over.
    pub is_skipped: bool,
    /// What was used for it.
    pub note: String,
    /// When.
    pub changed: Timestamp,
}

/// Something that another install had.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ForeignKey {
    /// Whose it becomes.
    pub tenant: String,
    /// The kind of install.
    pub source: String,
    /// What kind of thing.
    pub kind: String,
    /// What the other install calls it.
    pub id: String,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenRow {
    /// What it is called here.
    pub made: String,
    /// The SHA-256 of what it was, in hexadecimal.
    pub hash: String,
}

impl Store {
    /// Notes that a step was done or passed over; what was noted of it before is replaced.
    ///
    /// # Errors
    /// [`StoreError::Limit`] at [`SETUP_STEPS_MAX`], [`StoreError::Invalid`] for a name or note that is too long.
    pub async fn note_setup_step(&self, tenant: &str, row: SetupStepRow) -> Result<(), StoreError> {
        check_text("step", &row.step, 64)?;
        check_text("note", &row.note, FOREIGN_ID_CHARS_MAX)?;
        let tenant = tenant.to_owned();
        self.write(Kind::SetupStep, 0, move |conn| {
            let doing = "note a step of the set-up";
            let count: u64 = conn.query_row("SELECT count(*) FROM setup_steps WHERE tenant = ?1", [&tenant], |r| r.get(0)).doing(doing)?;
            if count >= SETUP_STEPS_MAX {
                return Err(StoreError::Limit { what: "steps of the set-up", max: SETUP_STEPS_MAX });
            }
            let sql = "INSERT INTO setup_steps (tenant, step, state, note, changed_ms) VALUES (?1, ?2, ?3, ?4, ?5)
                       ON CONFLICT (tenant, step) DO UPDATE SET state = excluded.state, note = excluded.note, changed_ms = excluded.changed_ms";
            let state = if row.is_skipped { "skipped" } else { "done" };
            conn.execute(sql, params![tenant, row.step, state, row.note, int("now", row.changed.0)?]).doing(doing).map(drop)
        })
        .await
    }

    /// Forgets everything that was noted of the steps of a tenant.
    ///
    /// # Errors
    /// What the database said.
    pub async fn forget_setup(&self, tenant: &str) -> Result<(), StoreError> {
        let tenant = tenant.to_owned();
        self.write(Kind::SetupStep, 0, move |conn| {
            conn.execute("DELETE FROM setup_steps WHERE tenant = ?1", [&tenant]).doing("forget the set-up").map(drop)
        })
        .await
    }

    /// What was noted of the steps of a tenant: at most [`SETUP_STEPS_MAX`].
    ///
    /// # Errors
    /// What the database said.
    pub async fn setup_steps(&self, tenant: &str) -> Result<Vec<SetupStepRow>, StoreError> {
        let tenant = tenant.to_owned();
        self.read(move |conn| {
            let doing = "read the set-up";
            let mut statement = conn.prepare_cached("SELECT * FROM setup_steps WHERE tenant = ?1 ORDER BY step").doing(doing)?;
            let rows = statement.query_map([&tenant], step_row).doing(doing)?;
            rows.collect::<crate::db::Result<_>>().doing(doing)
        })
        .await
    }

    /// What became of something that another install had; `None` while it was not taken over.
    ///
    /// # Errors
    /// What the database said.
    pub async fn taken(&self, key: &ForeignKey) -> Result<Option<TakenRow>, StoreError> {
        let key = key.clone();
        self.read(move |conn| {
            let sql = "SELECT made, hash FROM taken_over WHERE tenant = ?1 AND source = ?2 AND kind = ?3 AND id = ?4";
            let mut statement = conn.prepare_cached(sql).doing("look for what was taken over")?;
            let with = params![key.tenant, key.source, key.kind, key.id];
            let row = statement.query_row(with, |r| Ok(TakenRow { made: r.get("made")?, hash: r.get("hash")? }));
            row.optional().doing("look for what was taken over")
        })
        .await
    }

    /// Notes that something was taken over. What is noted of it already stays.
    ///
    /// # Errors
    /// [`StoreError::Limit`] at [`TAKEN_MAX`], [`StoreError::Invalid`] when a name is too long.
    pub async fn note_taken(&self, key: ForeignKey, row: TakenRow, now: Timestamp) -> Result<(), StoreError> {
        check_text("id", &key.id, FOREIGN_ID_CHARS_MAX)?;
        check_text("source", &key.source, 64)?;
        self.write(Kind::TakenNote, 0, move |conn| {
            let doing = "note what was taken over";
            // Counting all of them for each would cost more with each.
            let sql = "SELECT count(*) FROM (SELECT 1 FROM taken_over WHERE tenant = ?1 AND source = ?2 LIMIT ?3) AS some";
            if key.kind == "session" {
                let most = int("limit", TAKEN_MAX)?;
                let count: u64 = conn.query_row(sql, params![key.tenant, key.source, most], |r| r.get(0)).doing(doing)?;
                if count >= TAKEN_MAX {
                    return Err(StoreError::Limit { what: "entries of other installs", max: TAKEN_MAX });
                }
            }
            let sql = "INSERT INTO taken_over (tenant, source, kind, id, made, hash, taken_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                       ON CONFLICT (tenant, source, kind, id) DO NOTHING";
            let with = params![key.tenant, key.source, key.kind, key.id, row.made, row.hash, int("now", now.0)?];
            conn.execute(sql, with).doing(doing).map(drop)
        })
        .await
    }

    /// The person that another install calls `subject`; made, in the tenant if `role` is given, when there is none. Somebody who is
    /// there keeps their role.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for the tenant, [`StoreError::Limit`] at [`USERS_MAX`](crate::USERS_MAX).
    pub async fn take_person(
        &self,
        tenant: &str,
        subject: &str,
        name: &str,
        role: Option<&str>,
        now: Timestamp,
    ) -> Result<UserId, StoreError> {
        check_text("id", subject, FOREIGN_ID_CHARS_MAX)?;
        let (tenant, subject, name, role) = (tenant.to_owned(), subject.to_owned(), name.to_owned(), role.map(str::to_owned));
        self.write(Kind::PeopleChange, 0, move |conn| {
            let user = crate::user::of_handle(conn, ISSUER, &format!("{tenant}:{subject}"), &name, now)?;
            if let Some(role) = role
                && !is_member(conn, &tenant, &user)?
            {
                crate::tenant::make(conn, &tenant, now)?;
                crate::user::join(conn, &tenant, &user, &role, false, now)?;
            }
            Ok(user)
        })
        .await
    }
}

fn is_member(conn: &Connection, tenant: &str, user: &UserId) -> Result<bool, StoreError> {
    let sql = "SELECT count(*) FROM members WHERE tenant = ?1 AND member = ?2";
    let count: u64 = conn.query_row(sql, params![tenant, user.as_str()], |r| r.get(0)).doing("look for a member")?;
    Ok(count > 0)
}

fn step_row(row: &Row<'_>) -> crate::db::Result<SetupStepRow> {
    let state: String = row.get("state")?;
    Ok(SetupStepRow {
        step: row.get("step")?,
        is_skipped: state == "skipped",
        note: row.get("note")?,
        changed: Timestamp(row.get("changed_ms")?),
    })
}
