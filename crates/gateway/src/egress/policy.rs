//! What one sandbox may reach, and who hears of it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use model::{Code, EgressRule, EventKind};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::head::Target;
use super::{Refusal, refused_range};

/// Connections that one sandbox may have open through the proxy.
pub const CONNECTIONS_MAX: usize = 128;

/// What one sandbox may reach. The default is nothing.
#[derive(Clone, Default)]
pub struct Policy {
    /// The hosts and ports. A rule with a path or a method needs inspection and grants nothing here.
    pub rules: Vec<EgressRule>,
    /// Private or reserved addresses that the owner of this machine listed one by one: a name may lead to them.
    pub private_ok: Vec<IpAddr>,
    /// Targets on port 443 that do not speak TLS. Elsewhere TLS is checked where it is spoken and not demanded.
    pub plain: Vec<EgressRule>,
    /// Places for connections, shared by all that this policy serves.
    pub slots: Slots,
    /// Who hears of every connection and refusal.
    pub watch: Option<Arc<dyn Watch>>,
}

impl std::fmt::Debug for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Policy").field("rules", &self.rules).field("private_ok", &self.private_ok).finish_non_exhaustive()
    }
}

impl Policy {
    /// Whether the target may be reached at all.
    pub(super) fn allows(&self, target: &Target) -> Result<(), Refusal> {
        let mut same = self.rules.iter().filter(|r| is(r, target)).peekable();
        if same.peek().is_none() {
            return Err(Refusal::NotListed(target.clone()));
        }
        if same.any(|r| r.path.is_none() && r.method.is_none()) { Ok(()) } else { Err(Refusal::NeedsInspection(target.clone())) }
    }

    /// Whether every one of the addresses may be dialled. One that may not spoils the answer, since whoever gave it
    /// could give it alone the next time.
    pub(super) fn check(&self, target: &Target, addresses: &[IpAddr]) -> Result<(), Refusal> {
        for address in addresses {
            if let Some(range) = refused_range(*address)
                && !self.private_ok.contains(address)
            {
                return Err(Refusal::Address { target: target.clone(), address: *address, range });
            }
        }
        Ok(())
    }

    /// Whether the connection must begin with TLS.
    pub(super) fn demands_tls(&self, target: &Target) -> bool {
        target.port == 443 && !self.plain.iter().any(|r| is(r, target))
    }

    pub(super) fn tell(&self, report: &Report) {
        if let Some(watch) = &self.watch {
            watch.seen(report);
        }
    }
}

fn is(rule: &EgressRule, target: &Target) -> bool {
    rule.host == target.host && rule.port == target.port
}

/// Places for connections.
#[derive(Debug, Clone)]
pub struct Slots(Arc<Semaphore>);

impl Slots {
    /// So many places.
    #[must_use]
    pub fn new(places: usize) -> Self {
        Self(Arc::new(Semaphore::new(places)))
    }

    pub(super) fn take(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0).try_acquire_owned().ok()
    }
}

impl Default for Slots {
    fn default() -> Self {
        Self::new(CONNECTIONS_MAX)
    }
}

/// Hears of every connection at its end, and of every refusal.
pub trait Watch: Send + Sync {
    /// Called once for each connection from the sandbox. Must not block.
    fn seen(&self, report: &Report);
}

/// What became of one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Where it wanted to go; `None` when that could not be read.
    pub target: Option<Target>,
    /// Why it was refused or cut; `None` when it was allowed and ended by itself.
    pub refusal: Option<Refusal>,
    /// Bytes from the sandbox to the host.
    pub sent: u64,
    /// Bytes from the host to the sandbox.
    pub received: u64,
    /// How long it took.
    pub time: Duration,
}

impl Report {
    /// What the session's log says of it: the host that was refused, why, and the line that would allow it. `None` for
    /// what was allowed, or failed for another reason than the policy. Whoever logs it should bound how many, since a
    /// sandbox can ask as often as it likes.
    #[must_use]
    pub fn notice(&self) -> Option<EventKind> {
        let failure = self.refusal.as_ref().map(Refusal::failure).filter(|f| f.code == Code::EgressDenied)?;
        let hint = failure.hint.map(|hint| format!("; {hint}")).unwrap_or_default();
        Some(EventKind::Notice { text: format!("{}{hint}", failure.message) })
    }
}
