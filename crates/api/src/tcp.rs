//! The listener for everybody else: TCP, where nobody is trusted before the token was seen.

use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Layer;

use crate::auth::{Access, Door};
use crate::rate::Peer;

/// Connections that are open at once; further ones wait in the backlog of the port.
pub(crate) const CONNECTIONS_MAX: usize = 1024;
/// How long a request's head may take, and how long a connection may rest between two requests.
const HEAD_TIME: Duration = Duration::from_secs(30);
/// How long nothing is accepted after the process ran out of descriptors.
const STARVED: Duration = Duration::from_millis(200);

/// Serves the API over TCP to whoever has the token, until `cancel`.
///
/// # Errors
/// None today: a connection that cannot be accepted is no reason to end.
pub async fn serve_tcp(listener: TcpListener, router: Router, access: Access, cancel: CancellationToken) -> std::io::Result<()> {
    let ports = access.ports().clone();
    let router = crate::ports::beside(router.layer(Extension(Door::Tcp(access))), &ports);
    let (tasks, places) = (TaskTracker::new(), Arc::new(Semaphore::new(CONNECTIONS_MAX)));
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            () = cancel.cancelled() => break,
            next = next => next,
        };
        match accepted {
            Ok((stream, peer)) => {
                // Around the router as a whole: a layer of the router would make every route anew for each connection.
                let (service, cancel) = (Extension(Peer(peer.ip())).layer(router.clone()), cancel.clone());
                tasks.spawn(async move {
                    carry(stream, service, cancel).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::debug!(%error, "a connection was not accepted");
                tokio::time::sleep(STARVED).await;
            }
        }
    }
    tasks.close();
    tasks.wait().await;
    Ok(())
}

/// Serves one connection; after `cancel`, what it asked already.
async fn carry(stream: TcpStream, service: <Extension<Peer> as Layer<Router>>::Service, cancel: CancellationToken) {
    // Small events leave at once instead of waiting for more.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection stays slow");
    }
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME);
    let connection = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service)).with_upgrades();
    tokio::pin!(connection);
    let done = tokio::select! {
        done = connection.as_mut() => done,
        () = cancel.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = done {
        tracing::debug!(%error, "a connection broke");
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Somebody who has no token and sends a head byte by byte, or nothing at all, gives the place back.
    #[tokio::test(start_paused = true)]
    async fn a_head_that_does_not_end_ends_its_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("an address");
        let cancel = CancellationToken::new();
        let tasks = TaskTracker::new();
        let access = Access::new("token", crate::Logins::default());
        let serving = tasks.spawn(serve_tcp(listener, Router::new(), access, cancel.clone()));
        for sent in ["", "GET / HTTP/1.1\r\nhost: x\r\nx: "] {
            let mut stream = TcpStream::connect(address).await.expect("connect");
            stream.write_all(sent.as_bytes()).await.expect("write");
            let began = tokio::time::Instant::now();
            let mut said = Vec::new();
            // Nothing, or a refusal; then the end.
            let _ = stream.read_to_end(&mut said).await;
            assert!(began.elapsed() <= HEAD_TIME * 2, "{:?}", began.elapsed());
            assert!(!said.starts_with(b"HTTP/1.1 200"));
        }
        cancel.cancel();
        serving.await.expect("joined").expect("ended");
    }
}
