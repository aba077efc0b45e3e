//! Stopping agents.

use std::time::Duration;

use model::Failure;

use super::BranchesOf;
use super::forms::BranchView;

/// How long a stopped turn may take to come to its end before it is shown as it stands.
const STOP_WAIT: Duration = Duration::from_secs(60);

impl BranchesOf<'_> {
    /// Stops what an agent does and what waits for it. What it committed comes home with the end of its turn.
    ///
    /// # Errors
    /// There is none of this identity.
    pub async fn stop(&self, id: &str) -> Result<BranchView, Failure> {
        let row = self.row(id).await?;
        let watcher = self.app.watcher(&row.session, 0);
        let mut changes = watcher.seq.subscribe();
        self.app.cancel_session(&row.session).await?;
        let over = async {
            loop {
                let now = self.app.store().branch(&row.id).await.map_err(|e| e.failure())?;
                if now.state().is_over() || changes.changed().await.is_err() {
                    return Ok(now);
                }
            }
        };
        let row = match tokio::time::timeout(STOP_WAIT, over).await {
            Ok(row) => row?,
            Err(_) => self.app.store().branch(&row.id).await.map_err(|e| e.failure())?,
        };
        self.app.branch_view(row).await
    }
}
