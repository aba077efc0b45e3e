//! Agents that nobody needs any more are put away by the configuration's policy: only where nothing of their work would be lost.

use std::time::Duration;

use model::{Code, Failure};
use serde::{Deserialize, Serialize};
use store::{BranchFilter, BranchRow};

use super::BranchesOf;
use super::forms::{CleanForm, CleanView};
use super::settings::BranchSettings;
use crate::{App, Caller, now};

/// How often agents that may go are looked for.
const EVERY: Duration = Duration::from_secs(3600);
/// Agents that one round looks at more closely.
const ROUND_MAX: usize = 1000;

/// A round of the policy, asked for by hand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyForm {
    /// Only say what would be done.
    pub dry_run: bool,
}

impl App {
    /// Puts agents away by policy, from the daemon's start to its end.
    pub(crate) fn keep_branches_few(&self) {
        self.until_the_end(|app| async move {
            loop {
                match app.branches_of(&Caller::OWNER).put_away(PolicyForm::default()).await {
                    Ok(gone) => {
                        gone.iter()
                            .filter(|gone| gone.done)
                            .for_each(|gone| tracing::info!(branch = gone.branch, bytes = gone.bytes, "an agent was put away"));
                    }
                    Err(failure) => tracing::warn!(%failure, "agents were not put away"),
                }
                tokio::time::sleep(EVERY).await;
            }
        });
    }
}

impl BranchesOf<'_> {
    /// Puts away what the configuration lets go. Those whose work would be lost stay, and are listed with what they would lose.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn put_away(&self, form: PolicyForm) -> Result<Vec<CleanView>, Failure> {
        let settings = self.app.settings().branches.clone();
        if settings.keep_merged.is_none() && settings.keep_idle.is_none() {
            return Ok(Vec::new());
        }
        let filter = BranchFilter { tenant: self.caller.tenant.clone(), ..BranchFilter::default() };
        let (mut due, mut after) = (Vec::new(), None);
        while due.len() < ROUND_MAX {
            let page = self.app.store().list_branches(&filter, after, store::LIST_MAX).await.map_err(|e| e.failure())?;
            due.extend(page.items.into_iter().filter(|row| is_due(row, &settings)));
            after = match page.next.map(|next| next.parse()) {
                Some(Ok(next)) => Some(next),
                _ => break,
            };
        }
        let mut seen = Vec::new();
        for row in due.into_iter().take(ROUND_MAX) {
            // One that is elsewhere, or just begins to work, is none of ours.
            if self.app.check_here(&row.session).await.is_err() {
                continue;
            }
            let look = CleanForm { dry_run: true, ..CleanForm::default() };
            let Ok(one) = self.clean(row.id.as_str(), look).await else { continue };
            if form.dry_run || !one.loses.is_empty() {
                seen.push(one);
                continue;
            }
            match self.clean(row.id.as_str(), CleanForm::default()).await {
                Ok(done) => seen.push(done),
                // It was asked something meanwhile.
                Err(failure) if matches!(failure.code, Code::Conflict | Code::WorkUnsaved | Code::NotFound) => {}
                Err(failure) => tracing::warn!(branch = %row.id, %failure, "an agent was not put away"),
            }
        }
        Ok(seen)
    }
}

/// Whether the policy lets it go, as far as its row says.
fn is_due(row: &BranchRow, settings: &BranchSettings) -> bool {
    if !row.state().is_over() {
        return false;
    }
    let last = row.active.0.max(row.changed.0);
    let rested = Duration::from_millis(now().0.saturating_sub(last));
    settings.keep_idle.is_some_and(|keep| rested > keep) || row.is_merged() && settings.keep_merged.is_some_and(|keep| rested > keep)
}
