//! What changes about branch agents, told to who looks at all of them.
//!
//! Nothing is looked for again and again: whatever may change how an agent is shown says of which session it is, and who follows
//! reads that agent anew.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use model::{BranchId, Failure, SessionId};
use serde::{Deserialize, Serialize};
use store::{BranchFilter, BranchRow};
use tokio::sync::broadcast;

use super::BranchesOf;
use super::forms::BranchView;
use crate::{App, Caller};

/// News that a follower may be behind; beyond it all agents are read anew.
pub(super) const NEWS_MAX: usize = 1024;
/// How long news are gathered before they are told: an engine that talks is no flood of lines.
const GATHER: Duration = Duration::from_millis(100);
/// Sessions that are known to be no agents' before that is forgotten.
const OTHERS_MAX: usize = 10_000;
/// Agents that are read at once.
const PAGE: usize = 500;

/// Where something changed.
#[derive(Debug, Clone)]
pub(super) enum News {
    /// In this session.
    Of(SessionId),
    /// Perhaps everywhere.
    Any,
}

/// One change, in the order in which a client takes them over.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum BranchChange {
    /// This is how an agent stands now.
    Agent {
        /// The agent.
        agent: Box<BranchView>,
    },
    /// An agent is no more.
    Gone {
        /// Which.
        id: BranchId,
    },
    /// All that was there when the stream began has been told.
    Ready,
}

/// Which agents are followed.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BranchWatchQuery {
    /// Those of this repository.
    pub repo: Option<String>,
}

impl App {
    /// Says that something changed in a session. Costs nothing where nobody looks.
    pub(crate) fn branch_news(&self, session: &SessionId) {
        let news = &self.branch_desk().news;
        if news.receiver_count() > 0 {
            // Whoever stopped looking in between misses nothing.
            let _ = news.send(News::Of(session.clone()));
        }
    }

    /// Says that anything may have changed.
    pub(crate) fn branch_news_of_all(&self) {
        let _ = self.branch_desk().news.send(News::Any);
    }
}

impl BranchesOf<'_> {
    /// All agents of a repository, or all, and from then on each that changes.
    #[must_use]
    pub fn follow(&self, query: BranchWatchQuery) -> BranchFollow {
        BranchFollow {
            app: self.app.clone(),
            caller: self.caller.clone(),
            repo: query.repo,
            news: self.app.branch_desk().news.subscribe(),
            told: HashMap::new(),
            open: HashSet::new(),
            others: HashSet::new(),
            all: true,
            begun: false,
        }
    }
}

/// Tells how agents stand, and what changes.
pub struct BranchFollow {
    app: App,
    caller: Caller,
    repo: Option<String>,
    news: broadcast::Receiver<News>,
    /// What was told last of the agent of each session.
    told: HashMap<SessionId, (BranchId, u64)>,
    /// Sessions to be read anew.
    open: HashSet<SessionId>,
    /// Sessions that are no agent's that is followed.
    others: HashSet<SessionId>,
    /// All are to be read.
    all: bool,
    begun: bool,
}

impl BranchFollow {
    /// The next changes, at least one. It may be dropped and called again.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn next(&mut self) -> Result<Vec<BranchChange>, Failure> {
        loop {
            if !self.all && self.open.is_empty() {
                let came = self.news.recv().await;
                self.note(came);
                tokio::time::sleep(GATHER).await;
            }
            while let Some(came) = self.waiting() {
                self.note(came);
            }
            let changes = if self.all { self.read_all().await? } else { self.read_open().await? };
            if !changes.is_empty() {
                return Ok(changes);
            }
        }
    }

    fn waiting(&mut self) -> Option<Result<News, broadcast::error::RecvError>> {
        match self.news.try_recv() {
            Ok(news) => Some(Ok(news)),
            Err(broadcast::error::TryRecvError::Lagged(n)) => Some(Err(broadcast::error::RecvError::Lagged(n))),
            Err(broadcast::error::TryRecvError::Empty | broadcast::error::TryRecvError::Closed) => None,
        }
    }

    fn note(&mut self, came: Result<News, broadcast::error::RecvError>) {
        match came {
            Ok(News::Of(session)) if self.others.contains(&session) => {}
            Ok(News::Of(session)) => {
                self.open.insert(session);
            }
            // The sender lives as long as the application does.
            Ok(News::Any) | Err(_) => self.all = true,
        }
    }

    /// Reads all of them, and tells what differs from what was told.
    async fn read_all(&mut self) -> Result<Vec<BranchChange>, Failure> {
        let filter = BranchFilter { tenant: self.caller.tenant.clone(), repo: self.repo.clone(), ..BranchFilter::default() };
        let (mut changes, mut told, mut after) = (Vec::new(), HashMap::new(), None);
        loop {
            let page = self.app.store().list_branches(&filter, after, PAGE).await.map_err(|e| e.failure())?;
            for row in page.items {
                let session = row.session.clone();
                let (view, print) = self.shown(row).await?;
                if self.told.get(&session).is_none_or(|(_, before)| *before != print) {
                    changes.push(BranchChange::Agent { agent: Box::new(view.clone()) });
                }
                told.insert(session, (view.id, print));
            }
            match page.next.and_then(|next| next.parse().ok()) {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        let gone = self.told.iter().filter(|(session, _)| !told.contains_key(*session));
        changes.extend(gone.map(|(_, (id, _))| BranchChange::Gone { id: id.clone() }));
        if !std::mem::replace(&mut self.begun, true) {
            changes.push(BranchChange::Ready);
        }
        (self.told, self.all) = (told, false);
        self.open.clear();
        Ok(changes)
    }

    /// Reads those of which there is news.
    async fn read_open(&mut self) -> Result<Vec<BranchChange>, Failure> {
        let (mut changes, mut told) = (Vec::new(), Vec::new());
        for session in &self.open {
            let row = self.app.store().branch_of_session(session).await.map_err(|e| e.failure())?;
            let row = row.filter(|row| self.caller.sees(&row.tenant) && self.repo.as_ref().is_none_or(|repo| row.works_on(repo)));
            let Some(row) = row else {
                told.push((session.clone(), None));
                continue;
            };
            let (view, print) = self.shown(row).await?;
            told.push((session.clone(), Some((view.id.clone(), print))));
            if self.told.get(session).is_none_or(|(_, before)| *before != print) {
                changes.push(BranchChange::Agent { agent: Box::new(view) });
            }
        }
        // From here on nothing waits: what is told is noted as told.
        for (session, now) in told {
            match now {
                Some(now) => {
                    self.told.insert(session, now);
                }
                None => {
                    if let Some((id, _)) = self.told.remove(&session) {
                        changes.push(BranchChange::Gone { id });
                    }
                    if self.others.len() >= OTHERS_MAX {
                        self.others.clear();
                    }
                    self.others.insert(session);
                }
            }
        }
        self.open.clear();
        Ok(changes)
    }

    /// An agent as it is shown, and a print of all in it that does not run on by itself.
    async fn shown(&self, row: BranchRow) -> Result<(BranchView, u64), Failure> {
        let is_over = row.state().is_over();
        let view = self.app.branch_view(row).await?;
        let mut hasher = DefaultHasher::new();
        let mut value = serde_json::to_value(&view).map_err(|e| Failure::new(model::Code::Internal, e.to_string()))?;
        if !is_over {
            value["duration_ms"] = serde_json::Value::Null;
        }
        value["updated"] = serde_json::Value::Null;
        value.to_string().hash(&mut hasher);
        Ok((view, hasher.finish()))
    }
}
