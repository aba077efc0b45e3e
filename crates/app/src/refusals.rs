//! What a turn's log hears of hosts that were refused.

use std::sync::atomic::{AtomicUsize, Ordering};

use model::EventKind;
use tokio::sync::mpsc;

use crate::audit::EgressAudit;

/// Refused hosts that one turn's log names; a sandbox can ask as often as it likes.
const REFUSALS_MAX: usize = 50;

/// Logs which hosts were refused.
pub(crate) struct Refusals {
    log: mpsc::Sender<EventKind>,
    left: AtomicUsize,
    audit: EgressAudit,
}

impl Refusals {
    pub(crate) fn new(log: mpsc::Sender<EventKind>, audit: EgressAudit) -> Self {
        Self { log, left: AtomicUsize::new(REFUSALS_MAX), audit }
    }
}

impl gateway::egress::Watch for Refusals {
    fn seen(&self, report: &gateway::egress::Report) {
        self.audit.seen(report);
        let Some(notice) = report.notice() else { return };
        let counted = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        if counted.is_ok() {
            // A full queue is a log far behind; the refusal itself stands.
            let _ = self.log.try_send(notice);
        }
    }
}
