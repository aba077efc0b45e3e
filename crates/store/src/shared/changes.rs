//! What other daemons changed, as it is told by the database.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, mpsc};
use std::time::{Duration, Instant};

use fallible_iterator::FallibleIterator;
use model::SessionId;
use tokio::sync::broadcast;

use crate::Store;
use crate::db::{CHANNEL, Settings};
use crate::shared::replica::{CLOCK, HEARTBEAT};

/// Changes that a slow reader may be behind; beyond it, it is told that anything may have changed.
const CHANGES_MAX: usize = 4096;
/// How long the opening of a store waits until it hears the others. Beyond it, it goes on and is told that anything may have changed.
const LISTEN_WAIT: Duration = Duration::from_secs(5);
/// How long a lost connection rests before it is made again.
const PAUSE: Duration = Duration::from_millis(500);

/// Kinds of things that are told of as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Topic {
    /// Jobs and their queue.
    Jobs,
    /// Tasks and their runs.
    Tasks,
    /// Webhooks that are owed.
    Webhooks,
    /// Agents, plugins, skills, profiles, engines, templates, hooks and envs.
    Configs,
    /// Confirmations.
    Approvals,
    /// Questions.
    Questions,
    /// Tokens, tenants, people and budgets.
    Access,
    /// Sessions were made, changed or removed.
    Sessions,
    /// Secrets, and what is kept beside them: what is bound, and what is exposed.
    Secrets,
}

impl Topic {
    const ALL: [Self; 9] = [
        Self::Jobs,
        Self::Tasks,
        Self::Webhooks,
        Self::Configs,
        Self::Approvals,
        Self::Questions,
        Self::Access,
        Self::Sessions,
        Self::Secrets,
    ];

    /// Its name on the way.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Jobs => "jobs",
            Self::Tasks => "tasks",
            Self::Webhooks => "webhooks",
            Self::Configs => "configs",
            Self::Approvals => "approvals",
            Self::Questions => "questions",
            Self::Access => "access",
            Self::Sessions => "sessions",
            Self::Secrets => "secrets",
        }
    }

    /// What a kind of write is about, by its word.
    pub(crate) fn of(word: &str) -> Option<Self> {
        // That one was used changes nothing for anybody.
        if word == "secret-use" {
            return None;
        }
        Some(match word.split('-').next()? {
            "job" => Self::Jobs,
            "task" => Self::Tasks,
            "webhook" => Self::Webhooks,
            "config" | "agent" | "plugin" | "env" | "skill" => Self::Configs,
            "approval" => Self::Approvals,
            "question" => Self::Questions,
            "token" | "tenant" | "budget" => Self::Access,
            "session" | "fork" | "undo" => Self::Sessions,
            "secret" => Self::Secrets,
            _ => return None,
        })
    }
}

/// Something that another daemon changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The log of a session.
    Session(SessionId),
    /// The inbox of a session.
    Inbox(SessionId),
    /// The turn of a session that runs is to end. Who works on it ends it.
    Cancel(SessionId),
    /// Something of this kind.
    Topic(Topic),
    /// Anything: the way to the database was lost for a while.
    Any,
}

impl Change {
    /// How it stands in a message.
    pub(crate) fn word(&self) -> String {
        match self {
            Self::Session(id) => format!("s:{id}"),
            Self::Inbox(id) => format!("i:{id}"),
            Self::Cancel(id) => format!("c:{id}"),
            Self::Topic(topic) => format!("t:{}", topic.as_str()),
            Self::Any => "a:".to_owned(),
        }
    }

    fn of(word: &str) -> Option<Self> {
        match word.split_at_checked(2)? {
            ("s:", id) => SessionId::try_from(id.to_owned()).ok().map(Self::Session),
            ("i:", id) => SessionId::try_from(id.to_owned()).ok().map(Self::Inbox),
            ("c:", id) => SessionId::try_from(id.to_owned()).ok().map(Self::Cancel),
            ("t:", name) => Topic::ALL.into_iter().find(|topic| topic.as_str() == name).map(Self::Topic),
            _ => Some(Self::Any),
        }
    }
}

/// What other daemons change, from now on.
pub struct Changes(broadcast::Receiver<Change>);

impl Changes {
    /// The next change; `None` when the store is closed.
    pub async fn next(&mut self) -> Option<Change> {
        match self.0.recv().await {
            Ok(change) => Some(change),
            Err(broadcast::error::RecvError::Lagged(_)) => Some(Change::Any),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

/// Hears the others. Ends its thread when it is dropped.
pub(crate) struct Listener {
    /// Nothing, once the store is closed.
    told: Arc<RwLock<Option<broadcast::Sender<Change>>>>,
    is_over: Arc<AtomicBool>,
}

impl Listener {
    /// Begins to listen, on a thread of its own. Whatever is written after this returned is heard.
    pub(crate) fn start(settings: Settings, replica: String) -> std::io::Result<Self> {
        let told = Arc::new(RwLock::new(Some(broadcast::channel(CHANGES_MAX).0)));
        let is_over = Arc::new(AtomicBool::new(false));
        let (ready, hears) = mpsc::sync_channel(1);
        let ear = Ear { settings, replica, told: Arc::clone(&told), is_over: Arc::clone(&is_over), ready };
        std::thread::Builder::new().name("store-listener".into()).spawn(move || ear.run())?;
        // Without a word in time the thread finds nobody waiting, and says that anything may have changed.
        let _ = hears.recv_timeout(LISTEN_WAIT);
        Ok(Self { told, is_over })
    }

    /// Ends it.
    pub(crate) fn stop(&self) {
        self.is_over.store(true, Ordering::SeqCst);
        self.told.write().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn follow(&self) -> Option<Changes> {
        self.told.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(|told| Changes(told.subscribe()))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Ear {
    settings: Settings,
    replica: String,
    told: Arc<RwLock<Option<broadcast::Sender<Change>>>>,
    is_over: Arc<AtomicBool>,
    /// Who opens the store waits at the other end for the first time that this hears.
    ready: mpsc::SyncSender<()>,
}

impl Ear {
    fn run(self) {
        while !self.is_over.load(Ordering::SeqCst) {
            if let Err(error) = self.listen() {
                tracing::warn!(error = model::chain(&error), "the other daemons cannot be heard");
                std::thread::sleep(PAUSE);
            }
        }
    }

    /// Listens until the connection is lost or the store is closed.
    fn listen(&self) -> Result<(), postgres::Error> {
        let mut client = self.settings.client()?;
        client.batch_execute(&format!("LISTEN {CHANNEL}"))?;
        if self.ready.send(()).is_err() {
            self.tell(Change::Any);
        }
        let beat = format!("UPDATE replicas SET heartbeat_ms = {CLOCK} WHERE id = '{}' AND stopped_ms IS NULL", self.replica);
        let mut last = None::<Instant>;
        while !self.is_over.load(Ordering::SeqCst) {
            if last.is_none_or(|at| at.elapsed() >= HEARTBEAT) {
                client.batch_execute(&beat)?;
                last = Some(Instant::now());
            }
            let mut notices = client.notifications();
            let mut heard = notices.timeout_iter(HEARTBEAT);
            while let Some(notice) = heard.next()? {
                self.heard(notice.payload());
                if last.is_some_and(|at| at.elapsed() >= HEARTBEAT) {
                    break;
                }
            }
        }
        Ok(())
    }

    /// A message: who tells, and what.
    fn heard(&self, message: &str) {
        let mut words = message.split(' ');
        if words.next() == Some(self.replica.as_str()) {
            return;
        }
        words.filter_map(Change::of).for_each(|change| self.tell(change));
    }

    fn tell(&self, change: Change) {
        if let Some(told) = self.told.read().unwrap_or_else(PoisonError::into_inner).as_ref() {
            // Nobody may be listening, and that is fine.
            let _ = told.send(change);
        }
    }
}

impl Store {
    /// What other daemons change from now on; `None` where this one is the only one, or the store is closed.
    #[must_use]
    pub fn changes(&self) -> Option<Changes> {
        self.shared()?.listener.follow()
    }

    /// Asks whichever daemon works on a turn of a session to end it.
    ///
    /// # Errors
    /// What the database said. That nobody works on it is no error.
    pub async fn signal_cancel(&self, session: &SessionId) -> Result<(), crate::StoreError> {
        let session = session.clone();
        self.write(crate::writer::Kind::Signal, 0, move |conn| {
            if let Some(server) = conn.postgres() {
                server.note(Change::Cancel(session).word());
            }
            Ok(())
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_survive_the_way() {
        let session = SessionId::from_bits(7);
        let sessions = [Change::Session, Change::Inbox, Change::Cancel].map(|change| change(session.clone()));
        let topics = Topic::ALL.map(Change::Topic);
        for change in sessions.into_iter().chain([Change::Any]).chain(topics) {
            let word = change.word();
            assert!(word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b':' || b == b'_'), "{word}");
            assert_eq!(Change::of(&word), Some(change));
        }
        assert_eq!(Change::of("s:no"), None);
        assert_eq!(Topic::of("job-claim"), Some(Topic::Jobs));
        assert_eq!(Topic::of("record"), None, "its session is told of");
        assert_eq!((Topic::of("secret"), Topic::of("secret-use")), (Some(Topic::Secrets), None));
    }
}
