//! How often agents may call tools, and what they may know about their own calls.

use std::collections::BTreeMap;

use broker::{Caller, Diagnostics, Rate as CallRate, Wanted};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use model::{AuditEntry, AuditKind, Failure, Timestamp};
use store::{AuditFilter, Store};

/// How often sessions may call tools.
#[derive(Debug, Clone, Default)]
pub struct CallRates {
    /// Where nothing else is said.
    pub usual: CallRate,
    /// For sessions of agents in these groups.
    pub groups: BTreeMap<String, CallRate>,
}

/// The audit's rows of a session's own calls, and its start.
pub(crate) struct OwnCalls {
    store: Store,
}

impl OwnCalls {
    pub(crate) fn new(store: Store) -> Self {
        Self { store }
    }
}

impl Diagnostics for OwnCalls {
    fn recent<'a>(&'a self, caller: &'a Caller, wanted: &'a Wanted) -> BoxFuture<'a, Result<Vec<AuditEntry>, Failure>> {
        async move {
            // The owner has no session and reads the audit by other means; a filter without one would show everybody's rows.
            let Some(session) = caller.session.clone() else { return Ok(Vec::new()) };
            let filter = AuditFilter {
                kind: Some(AuditKind::Tool),
                session: Some(session),
                outcome: wanted.outcome.clone(),
                correlation: wanted.correlation.clone(),
                ..AuditFilter::default()
            };
            let rows = self.store.audit(filter, 0, wanted.last.max(1), true).await.map_err(|e| e.failure())?;
            Ok(rows.into_iter().map(|row| row.entry).collect())
        }
        .boxed()
    }

    fn began<'a>(&'a self, caller: &'a Caller) -> BoxFuture<'a, Option<Timestamp>> {
        async move {
            let session = caller.session.as_ref()?;
            self.store.session(session).await.ok().map(|row| row.created)
        }
        .boxed()
    }
}
