//! Confirmations as people see and answer them.

use std::time::Duration;

use model::{ApprovalId, ApprovalState, Code, Failure, Risk, SessionId, Timestamp, TurnId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::{ApprovalAnswer, ApprovalFilter, ApprovalRow, Page, StoreError};

use crate::clock::steady;
use crate::{App, Caller, approvals, shown};

/// Confirmations in one page when nothing is said.
const PAGE: usize = 50;

/// How long confirmations stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApprovalSettings {
    /// How long one can be answered; and how long a yes can be used.
    pub ttl: Duration,
}

impl Default for ApprovalSettings {
    fn default() -> Self {
        Self { ttl: approvals::APPROVAL_TTL_DEFAULT }
    }
}

/// What a person is asked before a call is made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ApprovalView {
    /// Its identity.
    pub id: ApprovalId,
    /// The session that asks; left out for a call of the owner's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// The turn that asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<TurnId>,
    /// The agent.
    pub agent: String,
    /// What would be called.
    pub tool: String,
    /// Whose tool it is; empty for the daemon's own.
    pub plugin: String,
    /// The call's own name.
    pub correlation: String,
    /// With what.
    pub arguments: Value,
    /// The call as a person is to read it: whole, each argument on one line, with nothing hidden.
    pub text: String,
    /// Whether an argument is longer than 64 KiB.
    pub is_long: bool,
    /// What an answer must name.
    pub hash: String,
    /// How much harm it can do.
    pub risk: Risk,
    /// `pending`, `approved`, `denied`, `expired` or `cancelled`.
    pub status: String,
    /// When it was asked.
    pub asked_at: Timestamp,
    /// Until when it can be answered, or a yes can be used.
    pub expires_at: Timestamp,
    /// When it was answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered_at: Option<Timestamp>,
    /// Who answered: `owner` or `token:ID`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered_by: Option<String>,
    /// What was said with the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Of an approved one: `waiting`, `begun` (under way, or cut short by the daemon's end: it is not made again) or `made`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<String>,
}

impl From<ApprovalRow> for ApprovalView {
    fn from(row: ApprovalRow) -> Self {
        let call = match row.state {
            ApprovalState::Approved => Some("waiting"),
            ApprovalState::Begun => Some("begun"),
            ApprovalState::Finished => Some("made"),
            _ => None,
        };
        Self {
            is_long: shown::is_long(&row.arguments),
            status: row.state.status().to_owned(),
            call: call.map(str::to_owned),
            id: row.id,
            session: row.session,
            turn: row.turn,
            agent: row.agent,
            tool: row.tool,
            plugin: row.plugin,
            correlation: row.correlation,
            arguments: row.arguments,
            text: row.text,
            hash: row.hash,
            risk: row.risk,
            asked_at: row.asked,
            expires_at: row.expires,
            answered_at: row.answered,
            answered_by: row.answered_by,
            note: row.note,
        }
    }
}

/// Which confirmations are listed.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApprovalQuery {
    /// `pending`, `approved`, `denied`, `expired` or `cancelled`.
    pub status: Option<String>,
    /// Only those of this session.
    pub session: Option<String>,
    /// The cursor of an earlier page.
    pub after: Option<String>,
    /// How many.
    pub limit: Option<usize>,
}

/// Yes or no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// The call may be made, once.
    Approve,
    /// It may not.
    Deny,
}

/// A person's answer.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DecisionForm {
    /// Yes or no.
    pub decision: Decision,
    /// The hash of what was seen.
    pub hash: String,
    /// A word for the agent, at most 1,000 characters.
    #[serde(default)]
    pub note: Option<String>,
}

/// The confirmations that a caller sees.
pub struct ApprovalsOf<'a> {
    pub(crate) app: &'a App,
    pub(crate) caller: Caller,
}

impl App {
    /// The confirmations that this caller sees.
    #[must_use]
    pub fn approvals_of(&self, caller: &Caller) -> ApprovalsOf<'_> {
        ApprovalsOf { app: self, caller: caller.clone() }
    }
}

impl ApprovalsOf<'_> {
    /// A page of confirmations, the youngest first.
    ///
    /// # Errors
    /// The status, session or cursor is none.
    pub async fn list(&self, query: ApprovalQuery) -> Result<Page<ApprovalView>, Failure> {
        let wrong = |field: &str, why: &str| Failure::new(Code::Usage, why).field(field);
        if let Some(status) = &query.status
            && !ApprovalState::ALL.iter().any(|state| state.status() == status)
        {
            return Err(wrong("status", "a status is pending, approved, denied, expired or cancelled"));
        }
        self.sweep().await?;
        let session = query.session.as_deref().map(str::parse).transpose();
        let after = query.after.as_deref().map(str::parse).transpose();
        let filter = ApprovalFilter {
            tenant: self.caller.tenant.clone(),
            status: query.status,
            session: session.map_err(|_| wrong("session", "this is no session"))?,
        };
        let after = after.map_err(|_| wrong("after", "this is no cursor of an earlier page"))?;
        let limit = query.limit.unwrap_or(PAGE).clamp(1, store::LIST_MAX);
        let page = self.app.store().approvals(&filter, after, limit).await.map_err(|e| e.failure())?;
        Ok(Page { items: page.items.into_iter().map(ApprovalView::from).collect(), next: page.next })
    }

    /// One confirmation.
    ///
    /// # Errors
    /// There is none of this identity.
    pub async fn show(&self, id: &str) -> Result<ApprovalView, Failure> {
        let row = self.row(id).await?;
        let is_open = matches!(row.state, ApprovalState::Pending | ApprovalState::Approved);
        let row = if is_open && row.expires <= steady() { self.app.approvals().expire(self.app, &row.id, steady()).await? } else { row };
        Ok(row.into())
    }

    /// Answers one. `by` says who: `owner` or `token:ID`. Whether they have the right is for whoever calls this.
    ///
    /// # Errors
    /// There is none, it was answered, it has expired, or the hash is another one.
    pub async fn answer(&self, id: &str, form: DecisionForm, by: &str) -> Result<ApprovalView, Failure> {
        let id = self.row(id).await?.id;
        let at = steady();
        let answer = ApprovalAnswer {
            approve: form.decision == Decision::Approve,
            hash: form.hash,
            by: by.to_owned(),
            note: form.note.filter(|note| !note.trim().is_empty()),
            usable_until: approvals::after(at, self.app.settings().approvals.ttl),
            now: at,
        };
        let (app, asked) = (self.app.clone(), id.clone());
        let answer = async move {
            let change = app.store().answer_approval(&asked, answer).await.map_err(|e| e.failure())?;
            model::crash::point("approval:answered");
            app.approvals().tell(&app, &change);
            Ok(change)
        };
        let change = self.app.see_through(answer).await?;
        if change.row.state == ApprovalState::Expired {
            return Err(Failure::new(Code::Conflict, format!("confirmation {id} has expired: nothing is done")));
        }
        Ok(change.row.into())
    }

    /// Ends what nobody answered in time and nobody waits for any more.
    async fn sweep(&self) -> Result<(), Failure> {
        let at = steady();
        for id in self.app.store().overdue_approvals(at).await.map_err(|e| e.failure())? {
            self.app.approvals().expire(self.app, &id, at).await?;
        }
        Ok(())
    }

    async fn row(&self, id: &str) -> Result<ApprovalRow, Failure> {
        let id: ApprovalId = id.parse().map_err(|e: model::IdError| Failure::new(Code::NotFound, e.to_string()).field("approval"))?;
        let row = self.app.store().approval(&id).await.map_err(|e| e.failure())?;
        if self.caller.sees(&row.tenant) {
            return Ok(row);
        }
        Err(StoreError::NotFound { what: "confirmation", id: id.to_string() }.failure())
    }
}
