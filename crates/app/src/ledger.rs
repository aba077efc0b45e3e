//! The gateway's ledger and keys, on the store.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use gateway::{BudgetKey, Gateway, LedgerError};
use model::{AuditEntry, AuditKind, Code, EventKind, Failure, Money, TurnId};
use serde_json::json;
use store::{Slab, Store, StoreError};
use tokio::sync::mpsc;

use crate::audit::AuditBook;
use crate::live::lock;
use crate::secrets::SecretBook;
use crate::settings::Settings;

/// Tells a turn's runner of its model calls.
pub(crate) struct Callers {
    audit: Arc<AuditBook>,
    by_turn: Mutex<HashMap<TurnId, mpsc::Sender<EventKind>>>,
}

impl Callers {
    pub(crate) fn new(audit: Arc<AuditBook>) -> Self {
        Self { audit, by_turn: Mutex::default() }
    }

    /// From now on the calls of `turn` are told to `to`, until the answer is dropped.
    pub(crate) fn listen(self: &Arc<Self>, turn: &TurnId, to: mpsc::Sender<EventKind>) -> Listening {
        lock(&self.by_turn).insert(turn.clone(), to);
        Listening { callers: Arc::clone(self), turn: turn.clone() }
    }
}

/// Ends the telling when dropped.
pub(crate) struct Listening {
    callers: Arc<Callers>,
    turn: TurnId,
}

impl Drop for Listening {
    fn drop(&mut self) {
        lock(&self.callers.by_turn).remove(&self.turn);
    }
}

impl gateway::Observer for Callers {
    fn called(&self, call: &gateway::Call) {
        self.audit.note_soon(entry(call));
        let sender = lock(&self.by_turn).get(&call.turn).cloned();
        let Some(sender) = sender else { return };
        let event = match call.code {
            Some(code) if call.instead.is_some() => EventKind::Notice { text: instead(call, code) },
            None => EventKind::Usage { model: call.model.clone(), usage: call.usage, cost_usd: call.cost.as_usd() },
            Some(code) => EventKind::Error { code, message: call.message.clone(), retriable: code.is_retriable() },
        };
        // A full queue means that the log is far behind; the ledger row is what counts.
        let _ = sender.try_send(event);
    }
}

/// That another provider is asked.
fn instead(call: &gateway::Call, code: Code) -> String {
    let next = call.instead.as_deref().unwrap_or_default();
    let asked = if call.model.is_empty() { call.provider.clone() } else { format!("{}/{}", call.provider, call.model) };
    format!("{asked} does not answer ({code}: {}); {next} is asked instead", call.message)
}

/// Who is asked when another one does not answer, as a session keeps it.
pub(crate) fn fallback(text: &str) -> gateway::Fallback {
    let (provider, model) = text.split_once('/').map_or((text, None), |(provider, model)| (provider, Some(model.to_owned())));
    gateway::Fallback { provider: provider.to_owned(), model }
}

/// The row of the audit for a model call.
fn entry(call: &gateway::Call) -> AuditEntry {
    AuditEntry {
        time: crate::now(),
        kind: AuditKind::Model,
        session: Some(call.session.clone()),
        turn: Some(call.turn.clone()),
        actor: "agent".to_owned(),
        topic: if call.model.is_empty() { call.provider.clone() } else { format!("{}/{}", call.provider, call.model) },
        correlation: None,
        stage: None,
        outcome: if call.code.is_none() { "routed" } else { "error" }.to_owned(),
        code: call.code,
        detail: json!({
            "status": call.status,
            "duration_ms": u64::try_from(call.took.as_millis()).unwrap_or(u64::MAX),
            "input_tokens": call.usage.input_tokens,
            "output_tokens": call.usage.output_tokens,
            "cost_usd": call.cost.as_usd(),
            "instead": call.instead,
        }),
    }
}

/// The gateway's ledger on the store. What is drawn from a budget is an open slab, which counts as spent until it is
/// settled; a daemon that is killed leaves its slabs open.
pub(crate) struct StoreLedger {
    store: Store,
    /// Open slabs by budget. Held for single map operations.
    open: Mutex<HashMap<BudgetKey, Vec<Slab>>>,
}

/// The least that is worth drawing: one billionth of a dollar.
const DRAW_MIN: Money = Money(1);

impl StoreLedger {
    pub(crate) fn new(store: Store) -> Self {
        Self { store, open: Mutex::default() }
    }

    async fn take(&self, key: &BudgetKey, limit: Money, want: Money) -> Result<Money, StoreError> {
        match self.store.lease_slab(&key.0, limit, want, DRAW_MIN, crate::now()).await {
            Ok(slab) => {
                lock(&self.open).entry(key.clone()).or_default().push(slab);
                Ok(slab.amount)
            }
            Err(StoreError::Budget { .. }) => Ok(Money::ZERO),
            Err(error) => Err(error),
        }
    }

    /// Settles every open slab: the youngest were not used, as far as `unspent` reaches, the others wholly.
    async fn settle(&self, key: &BudgetKey, mut unspent: Money) -> Result<(), StoreError> {
        let slabs = lock(&self.open).remove(key).unwrap_or_default();
        for slab in slabs.into_iter().rev() {
            let back = Money(unspent.0.min(slab.amount.0));
            unspent = unspent.minus(back);
            self.store.settle_slab(slab.id, slab.amount.minus(back), crate::now()).await?;
        }
        Ok(())
    }
}

impl gateway::Ledger for StoreLedger {
    fn draw<'a>(&'a self, key: &'a BudgetKey, limit: Money, want: Money) -> BoxFuture<'a, Result<Money, LedgerError>> {
        Box::pin(async move { self.take(key, limit, want).await.map_err(|e| LedgerError(Box::new(e))) })
    }

    fn give_back<'a>(&'a self, key: &'a BudgetKey, unspent: Money) -> BoxFuture<'a, Result<(), LedgerError>> {
        Box::pin(async move { self.settle(key, unspent).await.map_err(|e| LedgerError(Box::new(e))) })
    }

    fn record<'a>(&'a self, calls: &'a [gateway::Call]) -> BoxFuture<'a, Result<(), LedgerError>> {
        let time = crate::now();
        let row = |call: &gateway::Call| store::Call {
            session: call.session.clone(),
            turn: Some(call.turn.clone()),
            provider: call.provider.clone(),
            model: call.model.clone(),
            usage: call.usage,
            cost: call.cost,
            reserved: if call.basis == gateway::Basis::Reserved { call.cost } else { Money::ZERO },
            estimated: call.basis == gateway::Basis::Reserved,
            time,
        };
        let rows: Vec<store::Call> = calls.iter().map(row).collect();
        Box::pin(async move { self.store.record_calls(rows).await.map_err(|e| LedgerError(Box::new(e))) })
    }
}

/// Opens the gateway with what the configuration says of providers.
pub(crate) fn open_gateway(settings: &Settings, secrets: &SecretBook, store: &Store, callers: &Arc<Callers>) -> Result<Gateway, Failure> {
    // Each has a ledger of its own: what one gives back of a budget is not what another one drew.
    let (keys, ledger, callers) = (Arc::new(secrets.clone()), Arc::new(StoreLedger::new(store.clone())), Arc::clone(callers));
    Gateway::open(settings.gateway.clone(), keys, ledger, callers)
        .map_err(|e| Failure::new(Code::ConfigInvalid, model::chain(&e)).hint("check [providers] in the configuration"))
}
