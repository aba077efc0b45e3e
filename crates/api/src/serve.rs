//! The owner's listeners: the socket, and the one for descriptors.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use axum::serve::Listener;
use axum::{Extension, Router};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::make::Shared;

use crate::auth::Door;
use crate::tickets::Tickets;

/// The most descriptors that come with one message; the kernel allows 253.
const FDS_MAX: usize = 64;

/// Serves the API to the owner until `cancel`.
///
/// # Errors
/// The listener failed.
pub async fn serve_owner(listener: UnixListener, router: Router, cancel: CancellationToken) -> std::io::Result<()> {
    // Shared, and not given as a router: of that every route is made anew for each connection.
    let service = Shared::new(router.layer(Extension(Door::Owner)));
    axum::serve(OwnerOnly(listener), service).with_graceful_shutdown(cancel.cancelled_owned()).await
}

/// Takes descriptors from the owner's clients until `cancel`. A ticket lives as long as its connection.
pub async fn serve_descriptors(listener: UnixListener, tickets: Tickets, tasks: TaskTracker, cancel: CancellationToken) {
    let mut listener = OwnerOnly(listener);
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            (stream, _) = listener.accept() => {
                let (tickets, cancel) = (tickets.clone(), cancel.clone());
                tasks.spawn(async move {
                    tokio::select! {
                        () = cancel.cancelled() => {}
                        done = hold(stream, &tickets) => if let Err(error) = done {
                            tracing::debug!(%error, "descriptors were not taken");
                        }
                    }
                });
            }
        }
    }
}

async fn hold(mut stream: UnixStream, tickets: &Tickets) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let fds = stream.async_io(Interest::READABLE, || receive(&stream)).await?;
    let name = tickets.add(fds)?;
    stream.write_all(format!("{name}\n").as_bytes()).await?;
    // Nothing more is expected; the end of the connection is the end of the ticket.
    let mut rest = [0u8; 1];
    let _ = stream.read(&mut rest).await;
    tickets.forget(&name);
    Ok(())
}

fn receive(stream: &UnixStream) -> std::io::Result<Vec<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0u8; 1];
    let got = rustix::net::recvmsg(stream.as_fd(), &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    if got.bytes == 0 { Err(std::io::ErrorKind::UnexpectedEof.into()) } else { Ok(fds) }
}

/// A Unix listener that hangs up on every other user.
struct OwnerOnly(UnixListener);

impl Listener for OwnerOnly {
    type Io = UnixStream;
    type Addr = tokio::net::unix::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, addr) = Listener::accept(&mut self.0).await;
            match stream.peer_cred() {
                Ok(peer) if peer.uid() == rustix::process::geteuid().as_raw() => return (stream, addr),
                Ok(peer) => tracing::warn!(uid = peer.uid(), "another user knocked at the owner's socket"),
                Err(error) => tracing::warn!(%error, "a peer without credentials knocked at the owner's socket"),
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.0.local_addr()
    }
}
