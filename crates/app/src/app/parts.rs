//! What the use cases reach of the daemon's parts.

use std::sync::Arc;

use tokio::sync::watch;

use super::{App, WeakApp};

impl App {
    /// Logins by an issuer that are under way.
    pub(crate) fn pendings(&self) -> &crate::oidc::Pendings {
        &self.parts.pendings
    }

    /// Changes whenever a budget is set or raised.
    pub(crate) fn raised(&self) -> &watch::Sender<u64> {
        &self.parts.raised
    }

    /// For who is part of it.
    pub(crate) fn weak(&self) -> WeakApp {
        WeakApp(Arc::downgrade(&self.parts))
    }

    /// Tells open streams that some token may do less than before.
    pub(crate) fn rights_changed(&self) {
        self.parts.rights.send_modify(|n| *n += 1);
    }

    /// Changes whenever some token of this process may do less than before.
    #[must_use]
    pub fn rights(&self) -> watch::Receiver<u64> {
        self.parts.rights.subscribe()
    }

    /// Who waits for jobs and works on them.
    pub(crate) fn desk_of_jobs(&self) -> &crate::jobs::JobDesk {
        &self.parts.jobs
    }

    /// The terminals that are open.
    pub(crate) fn terminals(&self) -> &crate::terminals::Terminals {
        &self.parts.terminals
    }

    pub(crate) fn timer(&self) -> &crate::tasks::Timer {
        &self.parts.timer
    }

    /// The channels that are kept running.
    pub(crate) fn board(&self) -> &crate::channels::Board {
        &self.parts.board
    }

    pub(crate) fn desk(&self) -> &crate::webhooks::Desk {
        &self.parts.desk
    }

    pub(crate) fn opened_at(&self) -> watch::Receiver<Option<tokio::time::Instant>> {
        self.parts.opened.subscribe()
    }
}
