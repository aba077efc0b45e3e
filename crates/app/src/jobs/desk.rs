//! Who waits for jobs, and who works on them just now.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};

use model::{Code, Failure};
use store::{Blobs, JobRow};
use tokio::sync::{Notify, OnceCell, watch};
use tokio_util::sync::CancellationToken;

use super::{JobStaging, JobView};
use crate::live::lock;

/// A job that is worked on here.
struct AtWork {
    /// Ends the work.
    cancel: CancellationToken,
    /// The job as it was claimed again, for its next try, while this one was put away.
    next: Option<JobRow>,
}

/// The part of an application that jobs have. Locks are held for single map operations.
pub(crate) struct JobDesk {
    /// Something can begin, or a place is free.
    pub(crate) wake: Notify,
    /// What is long of what jobs bring and leave.
    pub(crate) blobs: Blobs,
    /// Where the files of forms go.
    pub(crate) staging: JobStaging,
    /// Whether no further job is begun: the daemon ends.
    is_closed: AtomicBool,
    /// Where those who wait for a job learn that it has changed.
    watches: Mutex<HashMap<String, Weak<watch::Sender<News>>>>,
    /// Jobs that are worked on here.
    at_work: Mutex<HashMap<String, AtWork>>,
}

/// What those who wait for a job are told.
#[derive(Default)]
struct News {
    /// How often another daemon may have changed it: then its row says more.
    elsewhere: u64,
    /// Its end, once there is one.
    end: Option<Arc<JobOver>>,
}

/// A job that is over, read once for all who wait for it.
pub(crate) struct JobOver {
    pub(crate) tenant: String,
    /// The job with its result.
    pub(crate) view: OnceCell<JobView>,
}

/// Somebody waits for a job to change.
pub(crate) struct JobWatch {
    changes: watch::Receiver<News>,
    /// How much of what other daemons changed is known.
    elsewhere: u64,
    _sender: Arc<watch::Sender<News>>,
}

impl JobWatch {
    /// Forgets what has changed so far; then the job is read.
    pub(crate) fn seen(&mut self) {
        self.elsewhere = self.changes.borrow_and_update().elsewhere;
    }

    /// Waits for the next change.
    pub(crate) async fn changed(&mut self) {
        // The sender lives as long as this does.
        let _ = self.changes.changed().await;
    }

    /// Its end, where this daemon told of it.
    pub(crate) fn over(&self) -> Option<Arc<JobOver>> {
        self.changes.borrow().end.clone()
    }

    /// Waits for its end, or until only its row can tell whether it is over.
    pub(crate) async fn over_or_unknown(&mut self) {
        let known = self.elsewhere;
        // The sender lives as long as this does.
        let _ = self.changes.wait_for(|news| news.end.is_some() || news.elsewhere != known).await;
    }
}

impl JobDesk {
    pub(crate) fn open(home: &Path) -> Result<Self, Failure> {
        let blobs = Blobs::open(&home.join("blobs")).map_err(|e| unkept(&e))?;
        Ok(Self {
            wake: Notify::new(),
            staging: JobStaging::of(blobs.clone()),
            blobs,
            is_closed: AtomicBool::new(false),
            watches: Mutex::default(),
            at_work: Mutex::default(),
        })
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
            let sender = Arc::new(watch::Sender::new(News::default()));
            all.insert(id.to_owned(), Arc::downgrade(&sender));
            sender
        });
        JobWatch { changes: sender.subscribe(), elsewhere: 0, _sender: sender }
    }

    /// Tells those who wait for a job that it has changed.
    pub(crate) fn changed(&self, id: &str) {
        self.tell(id, |_| {});
    }

    /// Tells those who wait for a job that it is over.
    pub(crate) fn ended(&self, job: &JobRow) {
        let over = JobOver { tenant: job.tenant.clone(), view: OnceCell::new() };
        self.tell(&job.id, |news| news.end = Some(Arc::new(over)));
    }

    fn tell(&self, id: &str, change: impl FnOnce(&mut News)) {
        let sender = {
            let mut all = lock(&self.watches);
            let sender = all.get(id).and_then(Weak::upgrade);
            if sender.is_none() {
                all.remove(id);
            }
            sender
        };
        if let Some(sender) = sender {
            sender.send_modify(change);
        }
    }

    /// Another daemon changed jobs: whoever waits for one looks again, and so does who gives them out.
    pub(crate) fn others_changed(&self) {
        let all: Vec<_> = lock(&self.watches).values().filter_map(Weak::upgrade).collect();
        all.iter().for_each(|sender| sender.send_modify(|news| news.elsewhere += 1));
        self.wake.notify_one();
    }

    /// The jobs that are worked on here.
    pub(crate) fn at_work(&self) -> Vec<String> {
        lock(&self.at_work).keys().cloned().collect()
    }

    /// Takes note of somebody who works on a job; `None` when somebody does already, who is told at the end that it was claimed again.
    pub(crate) fn begin(&self, job: &JobRow, parent: &CancellationToken) -> Option<CancellationToken> {
        let mut all = lock(&self.at_work);
        if let Some(work) = all.get_mut(&job.id) {
            work.next = Some(job.clone());
            return None;
        }
        let cancel = parent.child_token();
        all.insert(job.id.clone(), AtWork { cancel: cancel.clone(), next: None });
        Some(cancel)
    }

    /// The work on a job is over. Gives the job as it was claimed again meanwhile.
    pub(crate) fn end(&self, id: &str) -> Option<JobRow> {
        let work = lock(&self.at_work).remove(id);
        self.wake.notify_one();
        work.and_then(|work| work.next)
    }

    /// Ends the work on a job, if there is any here.
    pub(crate) fn stop(&self, id: &str) {
        if let Some(work) = lock(&self.at_work).get_mut(id) {
            work.cancel.cancel();
            work.next = None;
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
