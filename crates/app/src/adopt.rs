//! What a daemon that starts takes up from the one before.

use std::collections::HashSet;

use model::{Code, Failure, SandboxId, SessionId, TurnEvent};
use store::StoreError;

use crate::App;
use crate::due::LOOK_AGAIN;
use crate::live::lock;

/// A command that an earlier daemon started: sandbox, stream, lease.
pub(crate) type AdoptedCommand = (SandboxId, u32, u64);

impl App {
    /// Takes up sandboxes and turns. Sandboxes of work that goes on stay, all others of this home go.
    pub(crate) async fn take_up(&self) -> Result<(), Failure> {
        let adopted = self.sandboxes().adopt().await.map_err(|e| e.failure())?;
        for trouble in &adopted.trouble {
            tracing::warn!(trouble, "something of an earlier daemon could not be removed");
        }
        // Before any turn goes on, which may have a tree that no row names yet. Trouble with old files is no reason not to start.
        if let Err(failure) = self.sweep_trees().await {
            tracing::warn!(%failure, "trees that nothing names were not removed");
        }
        let open = self.store().unfinished_turns().await.map_err(|e| e.failure())?;
        let at_work: HashSet<SessionId> = open.iter().map(|t| t.session.clone()).collect();
        let mut sessions = at_work.clone();
        for (sandbox, commands) in adopted.sandboxes {
            let label = sandbox.summary().label;
            match label.parse::<SessionId>() {
                Ok(session) if sessions.contains(&session) => {
                    let known = commands.into_iter().map(|(stream, lease, _)| (sandbox.id().clone(), stream, lease));
                    lock(self.adopted()).extend(known);
                    sessions.remove(&session);
                    self.bring(&session, None, Some(sandbox)).await?;
                }
                Err(_) if label == crate::sandboxes::LABEL => self.admit_again(&sandbox),
                _ => {
                    if let Err(error) = sandbox.stop().await {
                        tracing::warn!(error = model::chain(&error), "a sandbox without work was not removed whole");
                    }
                }
            }
        }
        for session in sessions {
            if let Err(failure) = self.bring(&session, None, None).await {
                tracing::error!(%session, %failure, "a session cannot be taken up");
                self.give_up(&session).await;
            }
        }
        self.installs().sweep();
        self.sweep_tools().await;
        self.sweep_plugins();
        self.sweep(&at_work).await?;
        // Trouble with old files is no reason not to start.
        if let Err(failure) = self.reconcile().await {
            tracing::warn!(%failure, "what is there and what is stored were not brought together");
        }
        Ok(())
    }

    /// Looks now and then for turns that nobody works on: what was to begin their work was cut off, or the store did not answer it.
    pub(crate) async fn keep_turns_at_work(&self) {
        loop {
            tokio::time::sleep(LOOK_AGAIN).await;
            match self.store().unfinished_turns().await {
                Ok(open) => {
                    for turn in open.iter().filter(|turn| self.live(&turn.session).is_none()) {
                        self.look_into(&turn.session).await;
                    }
                }
                Err(error) => tracing::warn!(error = model::chain(&error), "what is to be done cannot be read"),
            }
        }
    }

    /// Brings what is on the disk and what is stored together: finishes deletes that were begun, and removes trees that
    /// nothing names. Done at every start, and when the configuration is read again.
    pub(crate) async fn reconcile(&self) -> Result<(), Failure> {
        self.finish_env_deletes().await?;
        self.sweep_trees().await.map(drop)
    }

    /// The stream of a command that an earlier daemon started in this sandbox under this lease; once.
    pub(crate) fn take_adopted(&self, sandbox: &SandboxId, lease: u64) -> Option<u32> {
        let mut known = lock(self.adopted());
        let at = known.iter().position(|(s, _, l)| s == sandbox && *l == lease)?;
        Some(known.swap_remove(at).1)
    }

    /// Fails the open turns of a session that cannot be worked on.
    async fn give_up(&self, session: &SessionId) {
        let Ok(open) = self.store().open_turns(session).await else { return };
        for row in open {
            let record = crate::stops::ended_unrun(&row, TurnEvent::Fail, Code::Internal, "the session cannot be taken up");
            if let Err(error) = self.store().record(record).await {
                tracing::error!(error = model::chain(&error), "a turn cannot be ended");
            }
        }
    }

    /// Removes directories of sessions that are not in the store, and kept output of turns that are over.
    async fn sweep(&self, at_work: &HashSet<SessionId>) -> Result<(), Failure> {
        let Ok(entries) = std::fs::read_dir(self.home().join("turns")) else { return Ok(()) };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let id = name.parse::<SessionId>().ok();
            let known = match &id {
                // Trouble of the store is no word that a session is gone.
                Some(id) => !matches!(self.store().session(id).await, Err(StoreError::NotFound { .. })),
                None => false,
            };
            if known {
                if let Some(id) = id.filter(|id| !at_work.contains(id)) {
                    // The turn's result was logged and its output not removed any more; most have none.
                    let _ = std::fs::remove_file(crate::pump::raw_path(self, &id));
                    let _ = std::fs::remove_dir_all(self.session_dir(&id).join("inbox"));
                }
                continue;
            }
            if let Err(error) = std::fs::remove_dir_all(entry.path()) {
                tracing::warn!(name, %error, "a directory without a session was not removed");
            }
        }
        Ok(())
    }
}
