//! One connection to a host, for one request after the other.

use std::future::Future;
use std::io;
use std::pin::Pin;

use bytes::Bytes;
use futures_util::FutureExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::authority::Inspection;
use super::head::Target;
use super::stream::Io;
use super::{Limits, Refusal};

/// The body of a request on its way out.
pub(super) type Outgoing = UnsyncBoxBody<Bytes, io::Error>;

/// A connection to one host.
pub(super) struct Link {
    pub(super) target: Target,
    pub(super) sender: SendRequest<Outgoing>,
    /// Moves the bytes; it must be polled for anything to happen.
    pub(super) work: Pin<Box<dyn Future<Output = ()> + Send>>,
    pub(super) is_over: bool,
}

impl Link {
    /// Takes a connection that was dialled, and begins TLS on it when it is to be sealed.
    pub(super) async fn open(target: Target, stream: TcpStream, seal: Option<&Inspection>, limits: &Limits) -> Result<Self, Refusal> {
        let io: Box<dyn Io> = match seal {
            None => Box::new(stream),
            Some(inspection) => Box::new(sealed(&target, stream, inspection, limits).await?),
        };
        let shaken = http1::Builder::new().handshake(TokioIo::new(io)).await;
        let (sender, connection) = shaken.map_err(|_| Refusal::Unreachable(target.clone()))?;
        let work = Box::pin(connection.with_upgrades().map(drop));
        Ok(Self { target, sender, work, is_over: false })
    }

    /// Whether another request can be sent to this target.
    pub(super) fn serves(&mut self, target: &Target) -> bool {
        if self.target != *target || self.is_over {
            return false;
        }
        // A host that closed meanwhile is noticed only when somebody looks.
        self.is_over = (&mut self.work).now_or_never().is_some();
        !self.is_over && !self.sender.is_closed()
    }
}

async fn sealed(target: &Target, stream: TcpStream, inspection: &Inspection, limits: &Limits) -> Result<impl Io + use<>, Refusal> {
    let untrusted = |why: String| Refusal::Untrusted { target: target.clone(), why };
    let config = inspection.client().await.map_err(|error| untrusted(model::chain(&error)))?;
    let name = ServerName::try_from(target.host.clone()).map_err(|_| untrusted("its name cannot be in a certificate".to_owned()))?;
    let connecting = TlsConnector::from(config).connect(name, stream);
    match timeout(limits.connect, connecting).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(untrusted(error.to_string())),
        Err(_) => Err(Refusal::Unreachable(target.clone())),
    }
}
