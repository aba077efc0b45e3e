//! The threads that read.

use std::sync::{Arc, Mutex, PoisonError};

use crate::db::Connection;
use tokio::sync::{mpsc, oneshot};

use crate::StoreError;

/// Reads that may wait; a further caller waits for a place.
const QUEUE_MAX: usize = 1024;

type Job = Box<dyn FnOnce(&Connection) + Send>;

/// The asking side; cheap to clone.
#[derive(Clone)]
pub(crate) struct Readers {
    jobs: mpsc::Sender<Job>,
}

impl Readers {
    /// Starts one thread for each connection. They end when every handle is gone.
    pub(crate) fn start(conns: Vec<Connection>) -> std::io::Result<Self> {
        let (jobs, queue) = mpsc::channel::<Job>(QUEUE_MAX);
        // Held only while waiting for the next job, by one thread at a time; the others wait for the lock.
        let queue = Arc::new(Mutex::new(queue));
        for conn in conns {
            let queue = Arc::clone(&queue);
            std::thread::Builder::new().name("store-reader".into()).spawn(move || {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
                    match next {
                        Some(job) => {
                            if let Some(server) = conn.postgres()
                                && let Err(error) = server.revive()
                            {
                                tracing::warn!(error = model::chain(&error), "a reader cannot reach the database");
                            }
                            job(&conn);
                        }
                        None => return,
                    }
                }
            })?;
        }
        Ok(Self { jobs })
    }

    /// Runs `job` on a connection that sees everything committed before the call.
    pub(crate) async fn read<T, F>(&self, job: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let (tell, told) = oneshot::channel();
        let job: Job = Box::new(move |conn| {
            // Nobody may be waiting any more, and that is fine.
            let _ = tell.send(job(conn));
        });
        self.jobs.send(job).await.map_err(|_| StoreError::Closed)?;
        told.await.map_err(|_| StoreError::Closed)?
    }
}
