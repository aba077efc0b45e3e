//! The gateway itself: what is shared by all doors.

use std::collections::HashMap;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use model::{Money, TurnId, Usage};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::books::Books;
use crate::caller::Caller;
use crate::fallback::Resting;
use crate::prices::{Prices, PricesError};
use crate::purse::Purse;
use crate::upstream::{Provider, Upstream};
use crate::{Config, Identity, Keys, Ledger, Limits, Observer, Remote, Unpriced, exchange};

/// Bytes of the file of prices.
const PRICES_BYTES_MAX: u64 = 4 << 20;
/// Request bodies are accounted for in units of this size.
pub(crate) const BUFFER_UNIT: usize = 16 << 10;
/// Headers of one request.
const HEADERS_MAX: usize = 100;

/// The door to models. A cheap handle; clones share everything.
#[derive(Clone)]
pub struct Gateway {
    shared: Arc<Shared>,
}

/// Everything that a call needs.
pub(crate) struct Shared {
    pub(crate) limits: Limits,
    pub(crate) unpriced: Unpriced,
    pub(crate) remote: Remote,
    pub(crate) providers: HashMap<String, Arc<Provider>>,
    pub(crate) prices: Prices,
    pub(crate) keys: Arc<dyn Keys>,
    pub(crate) purse: Purse,
    pub(crate) books: Books,
    pub(crate) upstream: Upstream,
    pub(crate) resting: Resting,
    /// Calls under way.
    pub(crate) in_flight: Arc<Semaphore>,
    /// Memory for request bodies, in [`BUFFER_UNIT`]s.
    pub(crate) buffers: Arc<Semaphore>,
    tasks: TaskTracker,
    cancel: CancellationToken,
}

/// Why a gateway cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// A provider's table is wrong.
    #[error("use provider `{name}`: {why}")]
    Provider {
        /// The provider.
        name: String,
        /// What is wrong.
        why: &'static str,
    },
    /// The file of certificates cannot be used.
    #[error("use the certificates in `{}`: {why}", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: &'static str,
    },
    /// The file of prices cannot be read.
    #[error("read the prices in `{}`", path.display())]
    PricesFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The prices cannot be used.
    #[error(transparent)]
    Prices(#[from] PricesError),
}

impl Gateway {
    /// Checks the configuration and starts the ledger's writer on the current runtime.
    ///
    /// # Errors
    /// [`GatewayError`] names the provider or file that cannot be used.
    pub fn open(config: Config, keys: Arc<dyn Keys>, ledger: Arc<dyn Ledger>, observer: Arc<dyn Observer>) -> Result<Self, GatewayError> {
        let own = config.prices.as_deref().map(read_prices).transpose()?;
        let (tasks, cancel) = (TaskTracker::new(), CancellationToken::new());
        let limits = config.limits.clone();
        let shared = Shared {
            providers: Provider::open_all(&config)?,
            prices: Prices::load(own.as_deref())?,
            keys,
            purse: Purse::new(ledger.clone(), tasks.clone()),
            books: Books::open(&limits, ledger, observer, &tasks, cancel.clone()),
            upstream: Upstream::open(&config)?,
            resting: Resting::default(),
            in_flight: Arc::new(Semaphore::new(limits.in_flight)),
            buffers: Arc::new(Semaphore::new(limits.buffered_bytes.div_ceil(BUFFER_UNIT))),
            unpriced: config.unpriced,
            remote: config.remote,
            limits,
            tasks,
            cancel,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Serves HTTP/1 on one connection until the caller closes it or `cancel` fires. `first` is what was read of the
    /// stream already.
    pub async fn serve<S>(&self, stream: S, first: Bytes, identity: Arc<Identity>, cancel: CancellationToken)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let shared = &self.shared;
        let limits = &shared.limits;
        let caller = Caller::new(stream, first, limits.write_idle);
        let service = service_fn(|request| {
            let (shared, identity) = (shared.clone(), identity.clone());
            async move { Ok::<_, Infallible>(Box::pin(exchange::handle(shared, identity, request)).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.head_time)
            .max_buf_size(limits.head_bytes.max(8 << 10))
            .max_headers(HEADERS_MAX)
            .serve_connection(TokioIo::new(caller), service);
        tokio::select! {
            () = cancel.cancelled() => (),
            () = shared.cancel.cancelled() => (),
            // How a caller's connection ends is the caller's affair; what it cost is in the books by then.
            _ = connection => (),
        }
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// What a turn has used so far: the tokens and the cost of its ended calls.
    #[must_use]
    pub fn usage_of(&self, turn: &TurnId) -> (Usage, Money) {
        self.shared.books.totals(turn)
    }

    /// Whether no turn has called that is not finished.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.shared.books.is_empty()
    }

    /// Ends a turn: waits until its calls are settled and durable (at most 30 s), gives back what its budgets drew and did not
    /// spend, forgets its totals and answers them. Call it when the turn's sandbox makes no further call.
    pub async fn finish(&self, turn: &TurnId) -> (Usage, Money) {
        let Some(turn) = self.shared.books.finish(turn).await else { return Default::default() };
        self.shared.purse.leave(&turn.budgets).await;
        turn.totals()
    }

    /// Ends every connection, and the ledger's writer after it has committed what waits. Calls made afterwards are refused.
    pub async fn shutdown(&self) {
        self.shared.cancel.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }
}

fn read_prices(path: &std::path::Path) -> Result<String, GatewayError> {
    use std::io::Read as _;
    let failed = |source| GatewayError::PricesFile { path: path.to_owned(), source };
    let mut text = String::new();
    std::fs::File::open(path).map_err(failed)?.take(PRICES_BYTES_MAX).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}
