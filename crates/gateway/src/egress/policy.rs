//! What one sandbox may reach, and who hears of it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use model::{Code, EgressRule, EventKind, WEBSOCKET};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::bound::BoundSecrets;
use super::budget::{Budget, Spent};
use super::head::{Head, Target};
use super::{Refusal, refused_range};

/// Connections that one sandbox may have open through the proxy.
pub const CONNECTIONS_MAX: usize = 128;

/// What the owner allows at most, as it is now.
pub type Ceiling = watch::Receiver<Arc<Vec<EgressRule>>>;

/// What one sandbox may reach. The default is nothing.
#[derive(Clone, Default)]
pub struct Policy {
    /// The hosts and ports, some of them for certain paths and methods only.
    pub rules: Vec<EgressRule>,
    /// A rule holds only as long as one of these covers it, also for connections that are open. Without a ceiling it holds.
    pub ceiling: Option<Ceiling>,
    /// Private or reserved addresses that the owner of this machine listed one by one: a name may lead to them.
    pub private_ok: Vec<IpAddr>,
    /// Targets on port 443 that do not speak TLS. Elsewhere TLS is checked where it is spoken and not demanded.
    pub plain: Vec<EgressRule>,
    /// Hosts, canonical, that are looked into even though no rule needs it.
    pub inspect: Vec<String>,
    /// Secrets that are put in on the way.
    pub secrets: BoundSecrets,
    /// What may be moved altogether.
    pub budget: Option<Arc<Budget>>,
    /// Places for connections, shared by all that this policy serves.
    pub slots: Slots,
    /// Who hears of every connection, request and refusal.
    pub watch: Option<Arc<dyn Watch>>,
}

impl std::fmt::Debug for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Policy").field("rules", &self.rules).field("private_ok", &self.private_ok).finish_non_exhaustive()
    }
}

/// How a target is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// By a tunnel whose bytes are not looked at.
    Unread,
    /// Request by request.
    Read,
}

impl Policy {
    /// The rules for a target that hold now.
    fn rules_of(&self, target: &Target) -> Vec<EgressRule> {
        let ceiling = self.ceiling.as_ref().map(|ceiling| Arc::clone(&ceiling.borrow()));
        let holds = |rule: &EgressRule| ceiling.as_ref().is_none_or(|max| max.iter().any(|granted| granted.covers(rule)));
        self.rules.iter().filter(|r| is(r, target) && holds(r)).cloned().collect()
    }

    /// Whether the target may be reached at all, and how.
    pub(super) fn allows(&self, target: &Target) -> Result<Way, Refusal> {
        let rules = self.rules_of(target);
        if rules.is_empty() {
            return Err(Refusal::NotListed(target.clone()));
        }
        let read = rules.iter().any(EgressRule::needs_inspection) || self.secrets.has(target) || self.inspect.contains(&target.host);
        Ok(if read { Way::Read } else { Way::Unread })
    }

    /// Whether this very request may pass. `path` is the canonical one or why there is none.
    pub(super) fn judge(&self, head: &Head, path: &Result<String, &'static str>) -> Result<(), Refusal> {
        let rules = self.rules_of(&head.target);
        if rules.is_empty() {
            return Err(Refusal::NotListed(head.target.clone()));
        }
        let method = |rule: &EgressRule| match rule.method.as_deref() {
            Some(WEBSOCKET) => head.websocket,
            Some(method) => method == head.method && !head.websocket,
            None => !head.websocket,
        };
        let fits = |rule: &EgressRule| match (&rule.path, path) {
            (None, _) => true,
            (Some(_), Ok(path)) => rule.has_path(path),
            (Some(_), Err(_)) => false,
        };
        if rules.iter().any(|rule| method(rule) && fits(rule)) {
            return Ok(());
        }
        let method = if head.websocket { WEBSOCKET } else { &head.method }.to_owned();
        Err(match path {
            Ok(path) => Refusal::NotAllowed { target: head.target.clone(), method, path: shown(path) },
            Err(why) => Refusal::Ambiguous { target: head.target.clone(), why },
        })
    }

    /// Returns when the ceiling has changed so that `holds` does so no more; never without a ceiling.
    pub(super) async fn withdrawn(&self, holds: impl Fn(&Self) -> bool) {
        let Some(mut ceiling) = self.ceiling.clone() else { return std::future::pending().await };
        loop {
            if !holds(self) {
                return;
            }
            if ceiling.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// Counts a request or tunnel against the budget.
    pub(super) fn spend_request(&self) -> Result<(), Refusal> {
        match &self.budget {
            Some(budget) if budget.is_dry() => Err(Refusal::Spent(Spent::Bytes)),
            Some(budget) => budget.request().map_err(Refusal::Spent),
            None => Ok(()),
        }
    }

    /// Counts bytes that moved.
    pub(super) fn spend_bytes(&self, n: u64) -> Result<(), Refusal> {
        self.budget.as_ref().map_or(Ok(()), |budget| budget.bytes(n).map_err(Refusal::Spent))
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

/// Characters of a path that are told; the rest is cut off.
const PATH_SHOWN_MAX: usize = 200;

/// A path for people and logs.
pub(super) fn shown(path: &str) -> String {
    path.chars().flat_map(char::escape_debug).take(PATH_SHOWN_MAX).collect()
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

/// Hears of every connection or request at its end, and of every refusal.
pub trait Watch: Send + Sync {
    /// Called once for each tunnel, and once for each request that was looked at. Must not block.
    fn seen(&self, report: &Report);
}

/// What became of one tunnel or request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Where it wanted to go; `None` when that could not be read.
    pub target: Option<Target>,
    /// The request, where it was looked at.
    pub request: Option<Asked>,
    /// Why it was refused or cut; `None` when it was allowed and ended by itself.
    pub refusal: Option<Refusal>,
    /// Bytes from the sandbox to the host.
    pub sent: u64,
    /// Bytes from the host to the sandbox.
    pub received: u64,
    /// How long it took.
    pub time: Duration,
}

/// One request as it is told. It holds no query, no header and no body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The method; `WS` for a WebSocket.
    pub method: String,
    /// The path, escaped, at most 200 characters.
    pub path: String,
    /// The status of the host's answer; `None` when there was none.
    pub status: Option<u16>,
}

impl Report {
    /// What the session's log says of it: the host that was refused, why, and the line that would allow it. `None` for
    /// what was allowed, or failed for another reason than the policy. Whoever logs it should bound how many, since a
    /// sandbox can ask as often as it likes.
    #[must_use]
    pub fn notice(&self) -> Option<EventKind> {
        let failure =
            self.refusal.as_ref().map(Refusal::failure).filter(|f| matches!(f.code, Code::EgressDenied | Code::BudgetExceeded))?;
        let hint = failure.hint.map(|hint| format!("; {hint}")).unwrap_or_default();
        Some(EventKind::Notice { text: format!("{}{hint}", failure.message) })
    }
}
