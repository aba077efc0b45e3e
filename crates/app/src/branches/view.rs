//! How branch agents are shown.

use model::{BranchState, Failure};
use store::BranchRow;

use super::forms::{BranchRepoView, BranchView};
use crate::{App, now};

/// How much of a question is shown, in characters.
const QUESTION_CHARS_SHOWN: usize = 200;

impl App {
    /// A branch agent as it is shown. Asks for more only where one waits.
    pub(super) async fn branch_view(&self, row: BranchRow) -> Result<BranchView, Failure> {
        let waiting_for = match row.state() {
            BranchState::Waiting => Some(self.waiting_for(&row).await?),
            BranchState::Starting => Some("a place to run, or its sandbox".to_owned()),
            _ => None,
        };
        Ok(view(row, waiting_for))
    }

    /// What a person is asked.
    async fn waiting_for(&self, row: &BranchRow) -> Result<String, Failure> {
        let store = self.store();
        if let Some(question) = store.open_questions(&row.session).await.map_err(|e| e.failure())?.into_iter().next() {
            let text: String = question.text.chars().take(QUESTION_CHARS_SHOWN).collect();
            return Ok(format!("an answer: {text}"));
        }
        if let Some(turn) = &row.turn
            && let Some(approval) = store.open_approvals(&row.session, &turn.id).await.map_err(|e| e.failure())?.into_iter().next()
        {
            return Ok(format!("a yes to the tool {} ({})", approval.tool, approval.id));
        }
        Ok("a person".to_owned())
    }
}

fn view(row: BranchRow, waiting_for: Option<String>) -> BranchView {
    let state = row.state();
    let duration = row.turn.as_ref().and_then(|turn| {
        let started = turn.started?;
        let until = turn.ended.unwrap_or_else(now);
        Some(until.0.saturating_sub(started.0))
    });
    let is_merged = row.is_merged();
    let half = super::merge_all::half(&row);
    let read = |value: &Option<serde_json::Value>| value.clone();
    let is_home = row.home_note.is_none() || row.home_tip.is_some();
    let last_over = row.turn.as_ref().filter(|turn| turn.state.is_final() && turn.started.is_some()).map_or(0, |turn| turn.n);
    BranchView {
        is_home: is_home && row.home_turn >= last_over,
        state,
        waiting_for,
        duration_ms: duration.unwrap_or(0),
        size: read(&row.size).and_then(|value| serde_json::from_value(value).ok()),
        check: read(&row.checked).and_then(|value| serde_json::from_value(value).ok()),
        verdict: read(&row.verdict).and_then(|value| serde_json::from_value(value).ok()),
        merged_into: row.merged_into.clone().filter(|_| is_merged),
        also: row.also.into_iter().map(beside).collect(),
        cost_usd: row.cost.as_usd(),
        turn: row.turn.as_ref().map(|turn| turn.id.clone()),
        outcome: row.turn.as_ref().and_then(|turn| turn.outcome),
        code: row.turn.as_ref().and_then(|turn| turn.code),
        id: row.id,
        repo: row.repo,
        branch: row.name,
        kind: row.kind,
        task: row.task,
        batch: row.batch,
        base: row.base,
        target: row.target,
        session: row.session,
        engine: row.engine,
        model: row.model,
        provider: row.provider,
        turns: row.turns,
        tip: row.home_tip,
        reference: row.home_ref,
        note: [row.home_note, half].into_iter().flatten().reduce(|one, other| format!("{one}; {other}")),
        commits: row.commits,
        dirty: row.dirty,
        untracked: row.untracked,
        created: row.created,
        updated: if row.active.0 > row.changed.0 { row.active } else { row.changed },
    }
}

fn beside(repo: store::BranchRepo) -> BranchRepoView {
    let is_merged = repo.merged_tip.is_some() && repo.merged_tip == repo.tip;
    BranchRepoView {
        merged_into: repo.merged_into.filter(|_| is_merged),
        size: repo.size.and_then(|value| serde_json::from_value(value).ok()),
        name: repo.name,
        repo: repo.repo,
        base: repo.base,
        target: repo.target,
        tip: repo.tip,
        reference: repo.reference,
        note: repo.note,
        commits: repo.commits,
        dirty: repo.dirty,
        untracked: repo.untracked,
    }
}
