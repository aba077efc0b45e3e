//! The gateway itself: what is shared by all doors.

use std::sync::Arc;

use bytes::Bytes;
use model::{Money, TurnId, Usage};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use crate::{Config, Identity, Keys, Ledger, Observer};

/// The door to models. A cheap handle; clones share everything.
#[derive(Clone)]
pub struct Gateway {
    shared: Arc<Shared>,
}

struct Shared {
    #[expect(dead_code, reason = "read by the exchange")]
    config: Config,
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
}

impl Gateway {
    /// Checks the configuration and starts the ledger's writer on the current runtime.
    ///
    /// # Errors
    /// [`GatewayError`] names the provider or file that cannot be used.
    pub fn open(config: Config, keys: Arc<dyn Keys>, ledger: Arc<dyn Ledger>, observer: Arc<dyn Observer>) -> Result<Self, GatewayError> {
        let _ = (keys, ledger, observer);
        Ok(Self { shared: Arc::new(Shared { config }) })
    }

    /// Serves HTTP/1 on one connection until the caller closes it or `cancel` fires. `first` is what was read of the
    /// stream already.
    pub async fn serve<S>(&self, stream: S, first: Bytes, identity: Arc<Identity>, cancel: CancellationToken)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let _ = (stream, first, identity, cancel, &self.shared);
    }

    /// What a turn has used so far.
    #[must_use]
    pub fn usage_of(&self, turn: &TurnId) -> (Usage, Money) {
        let _ = turn;
        (Usage::default(), Money::ZERO)
    }

    /// Ends a turn: waits until its calls are settled and durable, gives back what its budgets drew and did not spend,
    /// forgets its totals and answers them. Call it when the turn's sandbox makes no further call.
    pub async fn finish(&self, turn: &TurnId) -> (Usage, Money) {
        self.usage_of(turn)
    }

    /// Ends the ledger's writer after it has committed what waits. Calls made afterwards are refused.
    pub async fn shutdown(&self) {}
}
