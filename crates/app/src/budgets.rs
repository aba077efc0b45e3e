//! Budgets: whose money a turn may spend, and what happens when it is gone.
//!
//! A turn draws from every budget that is its own: that of its session or job, its agent, its tenant, and all, each also by
//! day where somebody set that. What is drawn on which day is that of the day on which the turn began. When one of them is
//! empty the call is refused, or it waits while a person is asked; either way a budget that is raised lets it go on.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use gateway::{Budget, BudgetKey, Patience};
use model::{ApprovalId, Code, Failure, Money, Risk, SessionId, TurnId};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};
use store::{BudgetRow, EVERY_TENANT, NewApproval, SessionRow, StoreError};

use crate::live::Live;
use crate::{App, Caller, WeakApp, now};

/// What happens when a budget does not cover a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BudgetPolicy {
    /// The call waits while a person is asked.
    Wait,
    /// The call is refused.
    Fail,
}

impl BudgetPolicy {
    fn as_str(self) -> &'static str {
        match self {
            BudgetPolicy::Wait => "wait",
            BudgetPolicy::Fail => "fail",
        }
    }

    fn of(word: &str) -> Option<Self> {
        [BudgetPolicy::Wait, BudgetPolicy::Fail].into_iter().find(|policy| policy.as_str() == word)
    }
}

/// A budget to set.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BudgetForm {
    /// The most that may be spent, in US dollars.
    pub limit_usd: f64,
    /// What happens when it is spent; when left out, sessions wait and jobs and `lazaret run` fail.
    #[serde(default)]
    pub policy: Option<BudgetPolicy>,
}

/// By how much a budget is raised.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BudgetRaise {
    /// US dollars.
    pub by_usd: f64,
}

/// A budget as it is shown.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
pub struct BudgetView {
    /// Whose it is: `session:ID`, `job:ID`, `agent:NAME`, `tenant:NAME` or `all`, and `@day` behind it when it holds each day.
    pub name: String,
    /// The most that may be spent.
    pub limit_usd: f64,
    /// What was spent, today where it holds each day; what running work has set aside counts.
    pub spent_usd: f64,
    /// What is left.
    pub left_usd: f64,
    /// What happens when it is spent, where that was set.
    pub policy: Option<BudgetPolicy>,
}

/// The budgets of an [`App`], as one caller sees them.
pub struct BudgetsOf<'a> {
    pub(crate) app: &'a App,
    pub(crate) caller: Caller,
}

/// Whom a budget is for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Whose {
    Session(SessionId),
    Job(String),
    Agent,
    Tenant(String),
    All,
}

fn whose(name: &str) -> Result<Whose, Failure> {
    let wrong = || {
        Failure::new(Code::Usage, "this is no name of a budget")
            .hint("it is session:ID, job:ID, agent:NAME, tenant:NAME or all, and @day behind it for one that holds each day")
            .field("name")
    };
    let (bare, each_day) = name.strip_suffix("@day").map_or((name, false), |bare| (bare, true));
    let (kind, rest) = bare.split_once(':').unwrap_or((bare, ""));
    Ok(match (kind, rest, each_day) {
        ("all", "", _) => Whose::All,
        ("agent", name, _) if model::is_name(name) => Whose::Agent,
        ("tenant", name, _) if model::is_name(name) => Whose::Tenant(name.to_owned()),
        ("session", id, false) => Whose::Session(id.parse().map_err(|_| wrong())?),
        ("job", id, false) if !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') => {
            Whose::Job(id.to_owned())
        }
        _ => return Err(wrong()),
    })
}

impl App {
    /// The budgets that this caller sees.
    #[must_use]
    pub fn budgets_of(&self, caller: &Caller) -> BudgetsOf<'_> {
        BudgetsOf { app: self, caller: caller.clone() }
    }

    /// What a turn draws from, and who decides when it is gone.
    pub(crate) async fn budgets_of_turn(
        &self,
        live: &Live,
        row: &SessionRow,
        turn: &TurnId,
    ) -> Result<(Vec<Budget>, Arc<dyn Patience>), Failure> {
        let (at, spec) = (now(), &live.spec);
        let job = self.store().job_of(&live.id).await.map_err(|e| e.failure())?;
        // The tries of a job share one budget.
        let own = job.as_ref().map_or_else(|| format!("session:{}", live.id), |job| format!("job:{job}"));
        let mut names = vec![own.clone(), "all".to_owned(), "all@day".to_owned()];
        for of in [format!("agent:{}", row.agent), format!("tenant:{}", row.tenant)] {
            names.push(format!("{of}@day"));
            names.push(of);
        }
        let set = self.store().budgets(names, at).await.map_err(|e| e.failure())?;
        let budget = |row: &BudgetRow| Budget { key: BudgetKey(row.key(at)), limit: row.most };
        let mut budgets: Vec<Budget> = set.iter().map(budget).collect();
        if let Some(limit) = spec.budget.filter(|_| !set.iter().any(|row| row.name == own)) {
            budgets.push(Budget { key: BudgetKey(own), limit });
        }
        let quota = match self.store().tenant(&row.tenant).await {
            Ok(tenant) => tenant.quota.per_day(),
            Err(StoreError::NotFound { .. }) => None,
            Err(error) => return Err(error.failure()),
        };
        if let Some(limit) = quota {
            budgets.push(Budget { key: BudgetKey(store::day_quota_key(&row.tenant, at)), limit });
        }
        let usual = if job.is_some() || spec.foreground { BudgetPolicy::Fail } else { BudgetPolicy::Wait };
        let asker = Asker {
            app: self.weak(),
            session: live.id.clone(),
            turn: turn.clone(),
            tenant: row.tenant.clone(),
            agent: row.agent.clone(),
            usual,
            first: budgets.clone(),
        };
        Ok((budgets, Arc::new(asker)))
    }
}

impl BudgetsOf<'_> {
    /// The budgets that somebody set.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn list(&self) -> Result<Vec<BudgetView>, Failure> {
        let rows = self.app.store().list_budgets(now()).await.map_err(|e| e.failure())?;
        let mut seen = Vec::new();
        for row in rows {
            if self.caller.tenant.is_none() || self.sees(&row.name).await? {
                seen.push(view(&row));
            }
        }
        Ok(seen)
    }

    /// Sets what may be spent.
    ///
    /// # Errors
    /// The name is none, it is not the caller's to set, or the amount is out of bounds.
    pub async fn set(&self, name: &str, form: BudgetForm) -> Result<BudgetView, Failure> {
        self.may_set(name).await?;
        let limit = amount(form.limit_usd, "limit_usd")?;
        let policy = form.policy.map(|policy| policy.as_str().to_owned());
        let row = self.app.store().set_budget(name, limit, policy, now()).await.map_err(|e| e.failure())?;
        self.app.raised().send_modify(|n| *n += 1);
        Ok(view(&row))
    }

    /// Raises what may be spent; calls that wait for it go on.
    ///
    /// # Errors
    /// As [`BudgetsOf::set`]; nothing was set and the session has no budget of its own.
    pub async fn raise(&self, name: &str, raise: BudgetRaise) -> Result<BudgetView, Failure> {
        self.may_set(name).await?;
        let by = amount(raise.by_usd, "by_usd")?;
        let least = self.before(name).await?;
        let row = self.app.store().raise_budget(name, by, least, now()).await.map_err(|e| e.failure())?;
        self.app.raised().send_modify(|n| *n += 1);
        Ok(view(&row))
    }

    /// Forgets what was set.
    ///
    /// # Errors
    /// Nothing was set under this name, or it is not the caller's.
    pub async fn remove(&self, name: &str) -> Result<(), Failure> {
        self.may_set(name).await?;
        self.app.store().remove_budget(name).await.map_err(|e| e.failure())
    }

    /// What held before anybody set it: what the session itself says.
    async fn before(&self, name: &str) -> Result<Money, Failure> {
        let is_set = !self.app.store().budgets(vec![name.to_owned()], now()).await.map_err(|e| e.failure())?.is_empty();
        let own = match whose(name)? {
            _ if is_set => return Ok(Money::ZERO),
            Whose::Session(id) => self.of_session(&id).await?,
            Whose::Job(id) => match self.app.store().job(&id).await.map_err(|e| e.failure())?.session {
                Some(session) => self.of_session(&session).await?,
                None => None,
            },
            _ => None,
        };
        own.ok_or_else(|| StoreError::NotFound { what: "budget", id: name.to_owned() }.failure().hint("set it first"))
    }

    async fn of_session(&self, id: &SessionId) -> Result<Option<Money>, Failure> {
        let row = self.app.store().session(id).await.map_err(|e| e.failure())?;
        Ok(crate::sessions::read_spec(&row)?.budget)
    }

    /// Whether whom it is for is seen; of what is not, nobody learns whether it is there.
    async fn sees(&self, name: &str) -> Result<bool, Failure> {
        Ok(match whose(name)? {
            Whose::Session(id) => self.app.sessions_of(&self.caller).row(id.as_str()).await.is_ok(),
            Whose::Job(id) => self.app.store().job(&id).await.is_ok_and(|row| self.caller.sees(&row.tenant)),
            Whose::Tenant(tenant) => self.caller.sees(&tenant),
            Whose::Agent | Whose::All => self.caller.tenant.is_none(),
        })
    }

    async fn may_set(&self, name: &str) -> Result<(), Failure> {
        let whose = whose(name)?;
        if !self.sees(name).await? {
            return Err(StoreError::NotFound { what: "budget", id: name.to_owned() }.failure());
        }
        let is_own = matches!(whose, Whose::Session(_) | Whose::Job(_));
        if self.caller.tenant.is_some() && !is_own {
            return Err(Failure::new(Code::Forbidden, "who runs this daemon says what a tenant may spend").field("name"));
        }
        Ok(())
    }
}

fn amount(usd: f64, field: &str) -> Result<Money, Failure> {
    let wrong = || Failure::new(Code::Usage, "this is no amount of dollars from 0 to 1000000").field(field);
    Money::from_usd(usd).ok_or_else(wrong)
}

fn view(row: &BudgetRow) -> BudgetView {
    BudgetView {
        name: row.name.clone(),
        limit_usd: row.most.as_usd(),
        spent_usd: row.spent.as_usd(),
        left_usd: row.most.minus(row.spent).as_usd(),
        policy: row.policy.as_deref().and_then(BudgetPolicy::of),
    }
}

/// Decides over the calls of one turn that a budget does not cover.
struct Asker {
    app: WeakApp,
    session: SessionId,
    turn: TurnId,
    tenant: String,
    agent: String,
    usual: BudgetPolicy,
    /// The limits with which the turn began.
    first: Vec<Budget>,
}

impl Patience for Asker {
    fn exceeded<'a>(&'a self, key: &'a BudgetKey, worst: Money) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            self.decide(key, worst).await.unwrap_or_else(|failure| {
                tracing::warn!(%failure, budget = key.0, "nobody was asked about a budget");
                false
            })
        })
    }
}

impl Asker {
    async fn decide(&self, key: &BudgetKey, worst: Money) -> Result<bool, Failure> {
        // Before the limit is read, so that no raise is missed.
        let Some(app) = self.app.upgrade() else { return Ok(false) };
        let mut raised = app.raised().subscribe();
        let name = store::budget_name(&key.0).to_owned();
        let row = app.store().budgets(vec![name.clone()], now()).await.map_err(|e| e.failure())?.pop();
        let first = self.first.iter().find(|budget| budget.key == *key).map_or(Money::ZERO, |budget| budget.limit);
        let most = row.as_ref().map_or(first, |row| row.most);
        let policy = row.as_ref().and_then(|row| row.policy.as_deref()).and_then(BudgetPolicy::of).unwrap_or(self.usual);
        // The dollars of a day that a tenant has are a quota: nobody is asked for more of them.
        if policy == BudgetPolicy::Fail || whose(&name).is_err() {
            return Ok(false);
        }
        let answered = self.ask(&app, &name, most, worst);
        tokio::pin!(answered);
        loop {
            tokio::select! {
                is_raised = &mut answered => return is_raised,
                changed = raised.changed() => {
                    if changed.is_err() {
                        return Ok(false);
                    }
                    let now_set = app.store().budgets(vec![name.clone()], now()).await.map_err(|e| e.failure())?.pop();
                    if now_set.is_some_and(|row| row.most > most) {
                        return Ok(true);
                    }
                }
            }
        }
    }

    /// Asks a person, and raises the budget when they say yes.
    async fn ask(&self, app: &App, name: &str, most: Money, worst: Money) -> Result<bool, Failure> {
        let by = most.max(worst);
        let arguments = json!({ "budget": name, "limit_usd": most.as_usd(), "raise_by_usd": by.as_usd() });
        let text =
            format!("The budget {name} of {most} is spent; the next call may cost up to {worst}.\nRaise it by {by}, to {}?", most.plus(by));
        let hash =
            Sha256::digest(format!("budget\0{}\0{arguments}", self.session)).iter().fold(String::new(), |t, b| t + &format!("{b:02x}"));
        let at = now();
        let is_own = matches!(whose(name)?, Whose::Session(_) | Whose::Job(_));
        let new = NewApproval {
            id: ApprovalId::from_bits(crate::clock::fresh_bits()),
            session: Some(self.session.clone()),
            // What is more than the session's own is not its tenant's to raise.
            tenant: if is_own { self.tenant.clone() } else { EVERY_TENANT.to_owned() },
            agent: self.agent.clone(),
            tool: "budget.raise".to_owned(),
            plugin: String::new(),
            correlation: format!("budget-{}-{}", self.turn, most.0),
            arguments,
            text,
            hash,
            risk: Risk::High,
            actor: format!("agent:{}", self.agent),
            expires: crate::approvals::after(at, app.settings().approvals.ttl),
            now: at,
        };
        let grant = match app.approvals().ask_new(app, new, &|_| {}).await? {
            broker::Answered::Approved(grant) => grant,
            // Another call of the turn asked the same, and raises it.
            broker::Answered::Made(_) | broker::Answered::Unknown => return Ok(true),
            broker::Answered::Denied(_) | broker::Answered::Expired | broker::Answered::Left => return Ok(false),
        };
        if app.approvals().begin_row(&grant).await.is_err() {
            return Ok(true);
        }
        let raised = app.store().raise_budget(name, by, most, now()).await;
        let outcome = match &raised {
            Ok(row) => Ok(json!({ "limit_usd": row.most.as_usd() })),
            Err(error) => {
                let failure = error.failure();
                Err(broker::CallFailure { code: failure.code, message: failure.message, retriable: false })
            }
        };
        app.approvals().finish_row(&grant, &outcome).await?;
        let row = raised.map_err(|e| e.failure())?;
        app.audit_change("agent", "budget.raise", json!({ "name": name, "limit_usd": row.most.as_usd(), "approval": grant.id })).await?;
        app.raised().send_modify(|n| *n += 1);
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_somebodys() {
        for good in
            ["all", "all@day", "agent:default", "tenant:a@day", "job:ci-0123456789ab", "session:ses_00000000000000000000000000000001"]
        {
            assert!(whose(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "all:x",
            "tenant:",
            "tenant:A",
            "tenant:*",
            "session:x",
            "job:a/b",
            "day",
            "tenant:a@quota",
            "session:ses_00000000000000000000000000000001@day",
        ] {
            assert!(whose(bad).is_err(), "{bad}");
        }
    }
}
