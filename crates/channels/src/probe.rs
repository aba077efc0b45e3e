//! A way for tools to try hostile requests on the networks whose platforms send some, without a process, a host or a platform.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Map, Value};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wire::chat::FromChannel;

use crate::ALL;
use crate::http::Http;
use crate::link::Link;
use crate::network::{Account, Hook, Setup};
use crate::surroundings::Surroundings;

/// Accounts that stand ready for requests. Nothing that they dial is there.
pub struct Probe {
    runtime: tokio::runtime::Runtime,
    accounts: Vec<Arc<dyn Account>>,
    reports: Arc<AtomicUsize>,
}

impl Probe {
    /// Opens an account of each of these networks with its configuration; `dir` has the directory `credentials` with a file for each, and gets
    /// what accounts keep.
    ///
    /// # Errors
    /// A network is none or cannot be opened; for a person.
    pub fn open(dir: &Path, accounts: &[(&str, Value)]) -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
        let around = Surroundings {
            credentials: dir.join("credentials"),
            state: Some(dir.to_owned()),
            // A place where nobody listens: requests end here.
            proxy: Some("127.0.0.1:1".to_owned()),
            roots: Some(dir.join("none")),
        };
        let reports = Arc::<AtomicUsize>::default();
        let opened = accounts.iter().map(|(name, config)| {
            let network = ALL.iter().find(|network| network.about().network == *name).ok_or_else(|| format!("no network `{name}`"))?;
            let (link, lines) = Link::new();
            runtime.spawn(acknowledge(lines, link.clone(), Arc::clone(&reports)));
            let tasks = TaskTracker::new();
            let setup = Setup {
                account: (*name).to_owned(),
                config: config.as_object().cloned().unwrap_or_else(Map::new),
                cursor: None,
                credentials: around.credentials(),
                state: dir.join(name),
                http: Http::new(&around, &tasks),
                link,
                tasks,
                cancel: CancellationToken::new(),
            };
            network.open(setup).map_err(|e| format!("{name}: {e}"))
        });
        let accounts = opened.collect::<Result<Vec<_>, String>>()?;
        Ok(Self { runtime, accounts, reports })
    }

    /// Gives a request to an account by its place in the order of opening: the status of the answer, and how much was reported because of it.
    /// A place beyond the last is one from the beginning again. Header names are in lower case.
    #[must_use]
    pub fn request(&self, account: usize, method: &str, path: &str, headers: Vec<(String, String)>, body: &[u8]) -> (u16, usize) {
        let Some(account) = self.accounts.get(account % self.accounts.len().max(1)) else { return (404, 0) };
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let hook = Hook { method: method.to_owned(), path: path.to_owned(), query: query.to_owned(), headers, body: body.to_vec().into() };
        let before = self.reports.load(Ordering::SeqCst);
        let answer = self.runtime.block_on(account.webhook(hook));
        (answer.status, self.reports.load(Ordering::SeqCst) - before)
    }
}

async fn acknowledge(mut lines: mpsc::Receiver<FromChannel>, link: Link, reports: Arc<AtomicUsize>) {
    while let Some(line) = lines.recv().await {
        if let FromChannel::Report { seq, .. } = line {
            reports.fetch_add(1, Ordering::SeqCst);
            link.on_ack(seq).await;
        }
    }
}
