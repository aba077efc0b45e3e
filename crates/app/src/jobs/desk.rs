//! Who waits for jobs, and who works on them just now.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};

use model::{Code, Failure};
use store::Blobs;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::live::lock;

/// The part of an application that jobs have. Locks are held for single map operations.
pub(crate) struct JobDesk {
    /// Something can begin, or a place is free.
    pub(crate) wake: Notify,
    /// What is long of what jobs bring and leave.
    pub(crate) blobs: Blobs,
    /// Whether no further job is begun: the daemon ends.
    is_closed: AtomicBool,
    /// Where those who wait for a job learn that it has changed.
    watches: Mutex<HashMap<String, Weak<watch::Sender<u64>>>>,
    /// Jobs that are worked on here, and what ends that.
    at_work: Mutex<HashMap<String, CancellationToken>>,
}

/// Somebody waits for a job to change.
pub(crate) struct JobWatch {
    changes: watch::Receiver<u64>,
    _sender: Arc<watch::Sender<u64>>,
}

impl JobWatch {
    /// Forgets what has changed so far; then the job is read.
    pub(crate) fn seen(&mut self) {
        self.changes.borrow_and_update();
    }

    /// Waits for the next change.
    pub(crate) async fn changed(&mut self) {
        // The sender lives as long as this does.
        let _ = self.changes.changed().await;
    }
}

impl JobDesk {
    pub(crate) fn open(home: &Path) -> Result<Self, Failure> {
        let blobs = Blobs::open(&home.join("blobs")).map_err(|e| unkept(&e))?;
        Ok(Self { wake: Notify::new(), blobs, is_closed: AtomicBool::new(false), watches: Mutex::default(), at_work: Mutex::default() })
    }

    /// Begins no further job.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::SeqCst)
    }

    /// Where changes of a job are told.
    pub(crate) fn watch(&self, id: &str) -> JobWatch {
        let mut all = lock(&self.watches);
        let sender = all.get(id).and_then(Weak::upgrade).unwrap_or_else(|| {
            // Kept small by those who come: entries of those who went.
            if all.len() >= 64 && all.len().is_power_of_two() {
                all.retain(|_, sender| sender.strong_count() > 0);
            }
            let sender = Arc::new(watch::Sender::new(0));
            all.insert(id.to_owned(), Arc::downgrade(&sender));
            sender
        });
        JobWatch { changes: sender.subscribe(), _sender: sender }
    }

    /// Tells those who wait for a job that it has changed.
    pub(crate) fn changed(&self, id: &str) {
        let sender = {
            let mut all = lock(&self.watches);
            let sender = all.get(id).and_then(Weak::upgrade);
            if sender.is_none() {
                all.remove(id);
            }
            sender
        };
        if let Some(sender) = sender {
            sender.send_modify(|n| *n += 1);
        }
    }

    /// Another daemon changed jobs: whoever waits for one looks again, and so does who gives them out.
    pub(crate) fn others_changed(&self) {
        let all: Vec<_> = lock(&self.watches).values().filter_map(Weak::upgrade).collect();
        all.iter().for_each(|sender| sender.send_modify(|n| *n += 1));
        self.wake.notify_one();
    }

    /// The jobs that are worked on here.
    pub(crate) fn at_work(&self) -> Vec<String> {
        lock(&self.at_work).keys().cloned().collect()
    }

    /// Takes note of somebody who works on a job; `None` when somebody does already.
    pub(crate) fn begin(&self, id: &str, parent: &CancellationToken) -> Option<CancellationToken> {
        let mut all = lock(&self.at_work);
        if all.contains_key(id) {
            return None;
        }
        let token = parent.child_token();
        all.insert(id.to_owned(), token.clone());
        Some(token)
    }

    pub(crate) fn end(&self, id: &str) {
        lock(&self.at_work).remove(id);
        self.wake.notify_one();
    }

    /// Ends the work on a job, if there is any here.
    pub(crate) fn stop(&self, id: &str) {
        if let Some(token) = lock(&self.at_work).get(id) {
            token.cancel();
        }
    }

    /// How many jobs are worked on here.
    pub(crate) fn working(&self) -> usize {
        lock(&self.at_work).len()
    }
}

pub(crate) fn unkept(error: &dyn std::error::Error) -> Failure {
    Failure::new(Code::HomeUnsafe, format!("what jobs leave cannot be kept: {}", model::chain(error))).hint("free some space in the home")
}
