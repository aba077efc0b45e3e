//! Who does things when they are due: the one loop of all that lies in the store until its time.

use std::time::Duration;

use model::Timestamp;
use store::StoreError;
use tokio::sync::Notify;

use crate::App;
use crate::clock::wait_until;

/// How long is waited when the database does not answer.
pub(crate) const RETRY: Duration = Duration::from_secs(5);
/// How long nothing is looked for: another daemon of the same database may have asked for something, or died over it.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_secs(60);

impl App {
    /// Does this until it is over or the daemon ends.
    pub(crate) fn until_the_end<F: Future<Output = ()> + Send + 'static>(&self, work: impl FnOnce(App) -> F) {
        let (cancel, work) = (self.cancel().clone(), work(self.clone()));
        self.spawn(async move {
            cancel.run_until_cancelled(work).await;
        });
    }
}

/// Looks at what is due, for ever: at once, when it is woken, at the time that the last look named, and now and then. `look`
/// begins what is due and says when there is more, if that can be told. `who` waits where the store does not answer.
pub(crate) async fn keep_looking<F>(who: &'static str, wake: &Notify, look: impl Fn() -> F)
where
    F: Future<Output = Result<Option<Timestamp>, StoreError>>,
{
    loop {
        // What wakes during the look counts for the next one.
        let woken = wake.notified();
        let next = match look().await {
            Ok(next) => next,
            Err(error) => {
                wait_for_store(who, &error).await;
                continue;
            }
        };
        // What is due again at once lets others go on in between.
        tokio::task::yield_now().await;
        let due = async {
            match next {
                Some(at) => wait_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = woken => {}
            () = due => {}
            () = tokio::time::sleep(LOOK_AGAIN) => {}
        }
    }
}

/// Says that the store did not answer, and waits a little.
pub(crate) async fn wait_for_store(who: &'static str, error: &StoreError) {
    tracing::warn!(error = model::chain(error), "{who} wait for the store");
    tokio::time::sleep(RETRY).await;
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::now;

    /// Runs the loop until it has looked so often; says how long that took by the clock of the test.
    async fn looks(n: usize, wake: &Notify, answer: impl Fn(usize) -> Result<Option<Timestamp>, StoreError>) -> Duration {
        let (seen, began, over) = (AtomicUsize::new(0), tokio::time::Instant::now(), Notify::new());
        let look = || async {
            let at = seen.fetch_add(1, Ordering::SeqCst) + 1;
            if at == n {
                over.notify_one();
            }
            answer(at)
        };
        tokio::select! {
            () = keep_looking("tests", wake, look) => {}
            () = over.notified() => {}
        }
        began.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn it_looks_again_when_it_is_time_woken_or_long_ago() {
        let wake = Notify::new();
        assert_eq!(looks(1, &wake, |_| Ok(None)).await, Duration::ZERO);
        assert_eq!(looks(3, &wake, |_| Ok(None)).await, 2 * LOOK_AGAIN);
        assert_eq!(looks(3, &wake, |_| Ok(Some(now()))).await, Duration::ZERO, "what is due now is not waited for");
        assert_eq!(looks(2, &wake, |_| Err(StoreError::Conflict("no".to_owned()))).await, RETRY);
        // Woken while it looks: it looks again at once, and only once.
        let woken = looks(3, &wake, |n| {
            if n == 1 {
                wake.notify_one();
            }
            Ok(None)
        });
        assert_eq!(woken.await, LOOK_AGAIN);
    }
}
