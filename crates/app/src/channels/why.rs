//! What became of something: the path that it took, the gate that stopped it, and what would let it through.

use model::{AuditKind, Code, Failure, InboundId, Timestamp, TurnId};
use serde::{Deserialize, Serialize};
use store::{AuditFilter, InboundRow, OutRow, TurnRow};

use crate::{App, Caller};

/// What became of something.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct WhyView {
    /// What was asked about.
    pub about: String,
    /// What happened, step by step.
    pub path: Vec<WhyStep>,
    /// The gate that stopped it, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<String>,
    /// What would let it through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct WhyStep {
    /// When.
    pub at: Timestamp,
    /// What.
    pub what: String,
}

/// The gate that stops a call which whoever asked may not have made.
const RIGHTS: &str = "rights";
/// Refused calls of a turn that are told.
const REFUSED_MAX: usize = 20;

fn rights_fix(agent: &str) -> String {
    format!(
        "somebody who answers for {agent} may ask for it, or allow it: lazaret agent set {agent} --member-tool NAME, --guest-tool NAME, or \
         lazaret role grant USER --agent {agent}"
    )
}

impl WhyView {
    /// For a chat.
    #[must_use]
    pub fn text(&self) -> String {
        let mut lines: Vec<String> = self.path.iter().map(|step| step.what.clone()).collect();
        if let Some(gate) = &self.gate {
            lines.push(format!("It stopped at: {gate}."));
        }
        if let Some(fix) = &self.fix {
            lines.push(format!("What helps: {fix}"));
        }
        lines.join("\n")
    }
}

/// What would let something through a gate.
pub(super) fn fix_of(gate: &str, row: &InboundRow) -> Option<String> {
    let wire = format!("lazaret wire add '{}/{}' --agent NAME", row.channel, row.chat);
    Some(match gate {
        "wiring" => format!("let an agent hear the chat: {wire}"),
        "chat" => "mention the account, or write to it directly".to_owned(),
        "access" => format!(
            "let the sender in: lazaret people admissions, or lazaret people link {} '{}' USER and lazaret role grant USER --agent NAME",
            row.channel, row.sender
        ),
        "senders" => format!("the wiring hears members only: lazaret role grant USER --agent NAME, or {wire} --senders all"),
        "engage" => format!("mention the agent, or change the wiring: {wire} --pattern ."),
        "bot" => format!("other programs are heard with {wire} --bots"),
        "rate" => "wait a minute".to_owned(),
        "busy" => "wait until what runs is over, or /stop it".to_owned(),
        "quota" => "the tenant's quota is used up: lazaret tenant show".to_owned(),
        "pairing" => "make a fresh code: lazaret wire pair --agent NAME".to_owned(),
        _ => return None,
    })
}

impl App {
    /// What became of a message, a turn, a job or a task.
    ///
    /// # Errors
    /// There is nothing of this identity that this caller sees.
    pub async fn why_of(&self, caller: &Caller, what: &str) -> Result<WhyView, Failure> {
        let nothing = || Failure::new(Code::NotFound, format!("there is no message, turn, job or task `{}`", what.escape_debug()));
        if let Ok(id) = what.parse::<TurnId>() {
            return self.why_turn(caller, &id).await;
        }
        if let Ok(id) = what.parse::<InboundId>() {
            let row = self.store().inbound(&id).await.map_err(|e| e.failure())?;
            let channel = self.store().channel(&row.channel).await.map_err(|e| e.failure())?;
            return if caller.sees(&channel.tenant) { self.why_message(row).await } else { Err(nothing()) };
        }
        if what.starts_with(model::TaskId::PREFIX) || self.tasks_of(caller).show(what).await.is_ok() {
            return self.why_task(caller, what).await;
        }
        if let Some(row) = self.store().inbound_named(caller.tenant.clone(), what).await.map_err(|e| e.failure())? {
            return self.why_message(row).await;
        }
        let job = self.jobs_of(caller).show(what).await.map_err(|_| nothing())?;
        let mut path = vec![WhyStep { at: job.created, what: format!("The job was accepted; it is {}.", job.status.as_str()) }];
        if let Some(turn) = &job.turn {
            path.extend(self.why_turn(caller, turn).await.map(|view| view.path).unwrap_or_default());
        }
        if let Some(error) = &job.error {
            path.push(WhyStep { at: job.finished.unwrap_or(job.created), what: format!("It failed: {error}") });
        }
        Ok(WhyView { about: what.to_owned(), path, gate: None, fix: None })
    }

    async fn why_message(&self, row: InboundRow) -> Result<WhyView, Failure> {
        let who = format!("{} ({})", row.sender_name, row.sender);
        let mut path =
            vec![WhyStep { at: row.heard, what: format!("{} of {who} on {} was heard: {}.", row.kind, row.channel, row.outcome) }];
        if let Some(reason) = &row.reason {
            path.push(WhyStep { at: row.heard, what: format!("{reason}.") });
        }
        let mut fix = row.gate.as_deref().and_then(|gate| fix_of(gate, &row));
        let mut gate = row.gate.clone();
        for routed in self.store().routed(&row.id).await.map_err(|e| e.failure())? {
            let why = routed.reason.as_deref().map_or_else(String::new, |reason| format!(" ({reason})"));
            path.push(WhyStep { at: row.heard, what: format!("{}: {}{why}.", routed.agent, routed.outcome) });
            if let Some(turn) = &routed.turn {
                path.extend(self.steps_of_turn(turn).await?);
                let Ok(row) = self.store().turn(turn).await else { continue };
                let refused = self.refused_for_asker(&row).await?;
                if !refused.is_empty() && gate.is_none() {
                    (gate, fix) = (Some(RIGHTS.to_owned()), Some(rights_fix(&routed.agent)));
                }
                path.extend(refused);
            } else if gate.is_none() {
                gate.clone_from(&routed.gate);
                fix = routed.gate.as_deref().and_then(|gate| fix_of(gate, &row));
            }
        }
        for what in ["host", "held", "paired", "busy", "quota"] {
            if let Some(out) = self.store().out_of(&format!("{what}:{}", row.id)).await.map_err(|e| e.failure())? {
                path.push(step_of_out(&out));
            }
        }
        Ok(WhyView { about: row.id.to_string(), path, gate, fix })
    }

    async fn why_turn(&self, caller: &Caller, id: &TurnId) -> Result<WhyView, Failure> {
        let nothing = || Failure::new(Code::NotFound, format!("there is no turn `{id}`"));
        let turn = self.store().turn(id).await.map_err(|_| nothing())?;
        let session = self.store().session(&turn.session).await.map_err(|e| e.failure())?;
        if !caller.sees(&session.tenant) {
            return Err(nothing());
        }
        let mut path = Vec::new();
        if let Some(asker) = self.store().asker(id).await.map_err(|e| e.failure())? {
            let who = asker.user.map_or_else(|| "somebody unknown".to_owned(), |user| user.to_string());
            let from = asker.inbound.map_or_else(String::new, |id| format!(" with message {id}"));
            path.push(WhyStep { at: turn.accepted, what: format!("{who} asked on {}{from}.", asker.channel) });
        }
        path.extend(self.steps_of_turn(id).await?);
        let refused = self.refused_for_asker(&turn).await?;
        let is_refused = !refused.is_empty();
        path.extend(refused);
        let gate = turn.code.map(|code| code.to_string()).or_else(|| is_refused.then(|| RIGHTS.to_owned()));
        let fix = (gate.as_deref() == Some(RIGHTS)).then(|| rights_fix(&session.agent));
        Ok(WhyView { about: id.to_string(), path, gate, fix })
    }

    /// Calls that were refused because whoever asked the turn may not have them made.
    async fn refused_for_asker(&self, turn: &TurnRow) -> Result<Vec<WhyStep>, Failure> {
        let filter = AuditFilter {
            kind: Some(AuditKind::Tool),
            session: Some(turn.session.clone()),
            outcome: Some("rejected".to_owned()),
            from: Some(turn.accepted),
            ..AuditFilter::default()
        };
        let rows = self.store().audit(filter, 0, store::LIST_MAX, false).await.map_err(|e| e.failure())?;
        let of_turn = rows.into_iter().map(|row| row.entry).filter(|entry| {
            entry.turn.as_ref() == Some(&turn.id) && entry.code == Some(Code::Unauthorized) && !entry.detail["asker"].is_null()
        });
        let step = |entry: model::AuditEntry| {
            let (asker, standing) =
                (entry.detail["asker"].as_str().unwrap_or_default(), entry.detail["standing"].as_str().unwrap_or_default());
            WhyStep { at: entry.time, what: format!("{} was refused: {asker} asked, a {standing}.", entry.topic) }
        };
        Ok(of_turn.take(REFUSED_MAX).map(step).collect())
    }

    async fn steps_of_turn(&self, id: &TurnId) -> Result<Vec<WhyStep>, Failure> {
        let Ok(turn) = self.store().turn(id).await else { return Ok(Vec::new()) };
        let TurnRow { accepted, started, ended, state, code, .. } = turn;
        let mut path = vec![WhyStep { at: accepted, what: format!("Turn {id} of session {} was accepted.", turn.session) }];
        if let Some(at) = started {
            path.push(WhyStep { at, what: "Its engine began.".to_owned() });
        }
        match (ended, code) {
            (Some(at), Some(code)) => path.push(WhyStep { at, what: format!("It ended: {} ({code}).", state.as_str()) }),
            (Some(at), None) => path.push(WhyStep { at, what: format!("It ended: {}.", state.as_str()) }),
            (None, _) => path.push(WhyStep { at: started.unwrap_or(accepted), what: format!("It is {}.", state.as_str()) }),
        }
        let outs = self.store().outs_of_turn(id).await.map_err(|e| e.failure())?;
        path.extend(outs.iter().map(step_of_out));
        Ok(path)
    }

    async fn why_task(&self, caller: &Caller, task: &str) -> Result<WhyView, Failure> {
        let tasks = self.tasks_of(caller);
        let view = tasks.show(task).await?;
        let note = view.note.as_deref().map_or_else(String::new, |note| format!(" ({note})"));
        let mut path = vec![WhyStep { at: view.created, what: format!("The task is {}{note}.", view.status) }];
        let log = tasks.log(task, crate::TaskQuery { limit: Some(5), ..crate::TaskQuery::default() }).await?;
        for run in log.items.iter().rev() {
            let note = run.note.as_deref().map_or_else(String::new, |note| format!(": {note}"));
            path.push(WhyStep { at: run.due, what: format!("A run was due; it is {}{note}.", run.status) });
        }
        Ok(WhyView { about: view.id.to_string(), path, gate: None, fix: None })
    }
}

fn step_of_out(out: &OutRow) -> WhyStep {
    let why = out.error.as_deref().map_or_else(String::new, |error| format!(" ({error})"));
    let ids = if out.messages.is_empty() { String::new() } else { format!(" as {}", out.messages.join(", ")) };
    let tries = if out.attempts > 1 { format!(" after {} tries", out.attempts) } else { String::new() };
    WhyStep {
        at: out.settled.unwrap_or(out.created),
        what: format!("Delivery {} to {} is {}{ids}{tries}{why}.", out.id, out.channel, out.state),
    }
}
