//! Asks people before a tool of high risk is called.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use broker::{Answered, Ask, CallFailure, Confirm, Grant};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use model::{ApprovalId, ApprovalState, Code, Failure, Timestamp};
use serde_json::{Value, json};
use store::{ApprovalChange, ApprovalRow, NewApproval, Store, StoreError};
use tokio::sync::Notify;

use crate::clock::steady;
use crate::live::{Live, lock};
use crate::waits::Wanting;
use crate::{App, WeakApp, shown};

/// How long a confirmation stands when the configuration does not say.
pub const APPROVAL_TTL_DEFAULT: Duration = Duration::from_secs(300);
/// The longest that one may stand.
pub const APPROVAL_TTL_MAX: Duration = Duration::from_secs(24 * 3600);

/// Confirmations, kept in the store.
pub(crate) struct Approvals {
    store: Store,
    /// Set once, when the application is whole.
    app: OnceLock<WeakApp>,
    /// Who waits for news of a confirmation. Held for single map operations.
    waiting: Mutex<HashMap<ApprovalId, Weak<Notify>>>,
    /// Calls that are made now. Held for single map operations.
    made: Mutex<HashMap<ApprovalId, Option<Wanting>>>,
}

impl Approvals {
    pub(crate) fn new(store: Store) -> Self {
        Self { store, app: OnceLock::new(), waiting: Mutex::default(), made: Mutex::default() }
    }

    /// From here on it can ask.
    pub(crate) fn bind(&self, app: WeakApp) {
        // Only the first counts, and there is only one.
        let _ = self.app.set(app);
    }

    fn app(&self) -> Result<App, Failure> {
        self.app.get().and_then(WeakApp::upgrade).ok_or_else(|| Failure::new(Code::Internal, "nobody can be asked now"))
    }

    /// Where news of a confirmation is told.
    fn news(&self, id: &ApprovalId) -> Arc<Notify> {
        let mut waiting = lock(&self.waiting);
        if let Some(news) = waiting.get(id).and_then(Weak::upgrade) {
            return news;
        }
        waiting.retain(|_, news| news.strong_count() > 0);
        let news = Arc::new(Notify::new());
        waiting.insert(id.clone(), Arc::downgrade(&news));
        news
    }

    /// Tells whoever waits, and the session's followers.
    pub(crate) fn tell(&self, app: &App, change: &ApprovalChange) {
        let row = &change.row;
        app.show_card(row);
        if let Some(session) = &row.session {
            app.publish(session, &change.events);
            if row.state != ApprovalState::Pending
                && let Some(live) = app.live(session)
            {
                live.waits.answered(&row.id);
            }
        }
        let news = lock(&self.waiting).get(&row.id).and_then(Weak::upgrade);
        if let Some(news) = news {
            news.notify_waiters();
        }
    }

    /// Another daemon changed confirmations: whoever waits for one looks again.
    pub(crate) fn others_changed(&self) {
        let all: Vec<_> = lock(&self.waiting).values().filter_map(Weak::upgrade).collect();
        all.iter().for_each(|news| news.notify_waiters());
    }

    /// Ends a confirmation whose time was up at `at`.
    pub(crate) async fn expire(&self, app: &App, id: &ApprovalId, at: Timestamp) -> Result<ApprovalRow, Failure> {
        let change = self.store.expire_approval(id, at).await.map_err(|e| e.failure())?;
        if change.changed {
            self.tell(app, &change);
        }
        Ok(change.row)
    }

    async fn ask_row(&self, ask: Ask<'_>, waiting: &(dyn Fn(&ApprovalId) + Send + Sync)) -> Result<Answered, Failure> {
        let app = self.app()?;
        if ask.tool.handler.asks() {
            return app.ask_for_tool(&ask, waiting).await;
        }
        if app.is_left_to_agent(&ask).await? {
            return Ok(Answered::Left);
        }
        let beside = match &ask.caller.session {
            Some(session) => {
                let (channel, handle) = ask.caller.asker.as_ref().map_or(("", ""), |asker| (&asker.channel, &asker.handle));
                self.store.said_beside(session, channel, handle).await.map_err(|e| e.failure())?
            }
            None => store::SaidBeside::default(),
        };
        let effect = crate::agent_tools::effect_of(&app, &ask).await;
        let at = steady();
        let new = NewApproval {
            id: ApprovalId::from_bits(crate::clock::fresh_bits()),
            session: ask.caller.session.clone(),
            tenant: ask.caller.tenant.clone(),
            agent: ask.caller.agent.clone(),
            tool: ask.tool.name.clone(),
            plugin: ask.tool.plugin.clone(),
            correlation: ask.correlation.to_owned(),
            arguments: ask.arguments.clone(),
            text: shown::render(&ask) + &effect + &shown::whom(ask.caller, beside),
            hash: ask.hash.to_owned(),
            risk: ask.tool.risk,
            actor: ask.caller.actor(),
            expires: after(at, app.settings().approvals.ttl),
            now: at,
        };
        self.ask_new(&app, new, waiting).await
    }

    /// Asks people, and waits until they answered and the turn may go on.
    pub(crate) async fn ask_new(
        &self,
        app: &App,
        new: NewApproval,
        waiting: &(dyn Fn(&ApprovalId) + Send + Sync),
    ) -> Result<Answered, Failure> {
        let session = new.session.clone();
        let change = self.store.ask_approval(new).await.map_err(|error| flooded(error, session.is_some()))?;
        if change.changed {
            model::crash::point("approval:asked");
            self.tell(app, &change);
        }
        self.settled(app, &change.row.id, session.as_ref(), waiting).await
    }

    /// Waits until a confirmation is answered, and its turn may go on.
    async fn settled(
        &self,
        app: &App,
        id: &ApprovalId,
        session: Option<&model::SessionId>,
        waiting: &(dyn Fn(&ApprovalId) + Send + Sync),
    ) -> Result<Answered, Failure> {
        let news = self.news(id);
        let live = session.and_then(|session| app.live(session));
        let (mut asking, mut wanting, mut is_told) = (None, None, false);
        // A row of an earlier daemon may have been asked by a clock that was ahead: it stands no longer than any other.
        let mut most = after(steady(), app.settings().approvals.ttl);
        let mut is_answered = false;
        loop {
            let told = news.notified();
            tokio::pin!(told);
            told.as_mut().enable();
            let row = self.store.approval(id).await.map_err(|e| e.failure())?;
            let is_open = matches!(row.state, ApprovalState::Pending | ApprovalState::Approved);
            // A yes has a time of its own, in which its turn can wait for a place.
            if row.state == ApprovalState::Approved && !std::mem::replace(&mut is_answered, true) {
                most = after(steady(), app.settings().approvals.ttl);
            }
            let until_then = row.expires.min(most);
            if is_open && steady() >= until_then {
                self.expire(app, id, row.expires.max(steady())).await?;
                continue;
            }
            match row.state {
                ApprovalState::Pending => {
                    if asking.is_none() {
                        asking = live.as_ref().map(|live| live.waits.ask(id));
                    }
                    if !std::mem::replace(&mut is_told, true) {
                        waiting(id);
                    }
                }
                ApprovalState::Approved => {
                    if wanting.is_none() {
                        wanting = live.as_ref().map(|live| live.waits.want());
                    }
                    asking = None;
                    let Some(live) = live.as_ref().filter(|live| live.waits.stands()) else {
                        return Ok(Answered::Approved(Grant { id: row.id, hash: row.hash }));
                    };
                    tokio::select! {
                        () = goes(live) => {}
                        () = told => {}
                        () = until(until_then) => {}
                        () = app.cancel().cancelled() => return ended(session).await,
                    }
                    continue;
                }
                ApprovalState::Begun if lock(&self.made).contains_key(id) => {}
                ApprovalState::Begun => return Ok(Answered::Unknown),
                ApprovalState::Finished => return Ok(Answered::Made(outcome_of(row.outcome)?)),
                ApprovalState::Denied => return Ok(Answered::Denied(row.note)),
                ApprovalState::Expired | ApprovalState::Cancelled => return Ok(Answered::Expired),
            }
            tokio::select! {
                () = told => {}
                () = until(until_then), if is_open => {}
                () = app.cancel().cancelled() => return ended(session).await,
            }
        }
    }

    pub(crate) async fn begin_row(&self, grant: &Grant) -> Result<(), Failure> {
        // Before it is durable: whoever asks in between must wait for the outcome, not be told that there is none.
        lock(&self.made).insert(grant.id.clone(), None);
        let begun = self.store.begin_approval(&grant.id, &grant.hash, steady()).await;
        let row = match begun {
            Ok(row) => row,
            Err(error) => {
                lock(&self.made).remove(&grant.id);
                return Err(match error {
                    StoreError::Conflict(why) => Failure::new(Code::ConfirmationDenied, why),
                    other => other.failure(),
                });
            }
        };
        model::crash::point("approval:began");
        let live = self.app().ok().zip(row.session).and_then(|(app, session)| app.live(&session));
        if let (Some(live), Some(held)) = (live, lock(&self.made).get_mut(&grant.id)) {
            *held = Some(live.waits.want());
        }
        Ok(())
    }

    pub(crate) async fn finish_row(&self, grant: &Grant, outcome: &Result<Value, CallFailure>) -> Result<(), Failure> {
        let kept = match outcome {
            Ok(value) => json!({ "ok": value }),
            Err(failure) => json!({ "error": { "code": failure.code, "message": failure.message, "retriable": failure.retriable } }),
        };
        let finished = self.store.finish_approval(&grant.id, &kept, steady()).await;
        model::crash::point("approval:finished");
        lock(&self.made).remove(&grant.id);
        if let Some(news) = lock(&self.waiting).get(&grant.id).and_then(Weak::upgrade) {
            news.notify_waiters();
        }
        finished.map(drop).map_err(|e| e.failure())
    }
}

/// Waits until the session's turn goes on.
pub(crate) async fn goes(live: &Live) {
    loop {
        let changed = live.waits.changed();
        tokio::pin!(changed);
        changed.as_mut().enable();
        if !live.waits.stands() {
            return;
        }
        changed.await;
    }
}

/// The daemon ends. A sandbox is told nothing: its call comes again to the next daemon.
pub(crate) async fn ended(session: Option<&model::SessionId>) -> Result<Answered, Failure> {
    if session.is_some() {
        std::future::pending::<()>().await;
    }
    Err(Failure::new(Code::Cancelled, "the daemon ends"))
}

/// Waits until a time.
pub(crate) async fn until(time: Timestamp) {
    tokio::time::sleep(Duration::from_millis(time.0.saturating_sub(steady().0).saturating_add(1))).await;
}

pub(crate) fn after(time: Timestamp, by: Duration) -> Timestamp {
    Timestamp(time.0.saturating_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)))
}

/// Too many confirmations are a matter of the rate.
fn flooded(error: StoreError, in_session: bool) -> Failure {
    match error {
        StoreError::Limit { .. } => Failure::new(Code::RateLimited, error.to_string()),
        StoreError::Conflict(_) if in_session => Failure::new(Code::ConfirmationTimeout, "nobody is asked: the turn does not run"),
        other => other.failure(),
    }
}

/// What came of a call, as it was kept.
fn outcome_of(kept: Option<Value>) -> Result<Result<Value, CallFailure>, Failure> {
    #[derive(serde::Deserialize)]
    struct Failed {
        code: Code,
        message: String,
        retriable: bool,
    }
    let mut kept = kept.unwrap_or_default();
    if let Some(value) = kept.get_mut("ok") {
        return Ok(Ok(value.take()));
    }
    let unreadable = |e: serde_json::Error| Failure::new(Code::StoreUnusable, format!("the outcome of a call cannot be read: {e}"));
    let Failed { code, message, retriable } = serde_json::from_value(kept["error"].take()).map_err(unreadable)?;
    Ok(Err(CallFailure { code, message, retriable }))
}

impl Confirm for Approvals {
    fn ask<'a>(&'a self, ask: Ask<'a>, waiting: &'a (dyn Fn(&ApprovalId) + Send + Sync)) -> BoxFuture<'a, Result<Answered, Failure>> {
        self.ask_row(ask, waiting).boxed()
    }

    fn begin<'a>(&'a self, grant: &'a Grant) -> BoxFuture<'a, Result<(), Failure>> {
        self.begin_row(grant).boxed()
    }

    fn finish<'a>(&'a self, grant: &'a Grant, outcome: &'a Result<Value, CallFailure>) -> BoxFuture<'a, Result<(), Failure>> {
        self.finish_row(grant, outcome).boxed()
    }
}
