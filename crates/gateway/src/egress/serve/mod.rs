//! One connection from a sandbox, from its request to its end.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::head::{HEAD_BYTES_MAX, Target, parse_head};
use super::hello::{Gate, HelloError};
use super::policy::{Policy, Report};
use super::pump::carry;
use super::{Refusal, Resolve, SystemResolver};

/// Addresses of one name that are looked at; an answer with more is refused.
const ADDRESSES_MAX: usize = 32;
/// How long one address may take while others have not been tried: some networks swallow what they cannot carry.
const ATTEMPT: Duration = Duration::from_secs(3);
/// What is still read from a client that was refused, so that it sees the answer and not a broken connection.
const LINGER_BYTES_MAX: usize = 64 << 10;
/// How long that may take.
const LINGER: Duration = Duration::from_secs(1);
/// What a client is told when the tunnel stands.
const ESTABLISHED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";
/// A fatal alert of TLS, "access denied", so that the client's message is better than "connection closed".
const ALERT: &[u8] = &[21, 3, 3, 0, 2, 2, 49];

/// The limits of each connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Until the whole request is there.
    pub head: Duration,
    /// Until the name is resolved.
    pub resolve: Duration,
    /// Until one of the addresses answers.
    pub connect: Duration,
    /// Until the whole TLS hello is there.
    pub hello: Duration,
    /// Without a byte in either direction.
    pub idle: Duration,
    /// Altogether.
    pub total: Duration,
    /// Bytes in both directions together.
    pub bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            resolve: Duration::from_secs(5),
            connect: Duration::from_secs(10),
            hello: Duration::from_secs(10),
            idle: Duration::from_secs(300),
            total: Duration::from_secs(6 * 3600),
            bytes_max: 64 << 30,
        }
    }
}

/// The proxy. A cheap handle.
#[derive(Clone)]
pub struct Egress {
    resolver: Arc<dyn Resolve>,
    limits: Arc<Limits>,
}

impl Default for Egress {
    fn default() -> Self {
        Self::new(Arc::new(SystemResolver), Limits::default())
    }
}

impl Egress {
    /// A proxy that asks `resolver` for addresses.
    #[must_use]
    pub fn new(resolver: Arc<dyn Resolve>, limits: Limits) -> Self {
        Self { resolver, limits: Arc::new(limits) }
    }

    /// Serves one connection to its end. `first` is what was read from it already; `policy` is that of the sandbox
    /// whose door it came through, and stays the same for the whole connection. Cancelling cuts it.
    pub async fn serve<S>(&self, mut stream: S, first: Bytes, policy: Arc<Policy>, cancel: CancellationToken)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let began = Instant::now();
        let mut report = Report { target: None, refusal: None, sent: 0, received: 0, time: Duration::ZERO };
        let work = self.follow(&mut stream, first, &policy, &mut report);
        let ended = tokio::select! {
            biased;
            () = cancel.cancelled() => None,
            ended = work => Some(ended),
        };
        match ended {
            None => report.refusal = Some(Refusal::Cancelled),
            Some(Ok(cut)) => {
                if matches!(&cut, Some(Refusal::Hello(error)) if *error != HelloError::NotTls) {
                    farewell(&mut stream, ALERT).await;
                }
                report.refusal = cut;
            }
            Some(Err(refusal)) => {
                farewell(&mut stream, &refusal.answer()).await;
                report.refusal = Some(refusal);
            }
        }
        report.time = began.elapsed();
        policy.tell(&report);
    }

    /// Everything up to the end of the tunnel, and why that was cut. An error is one that the client can still be told
    /// in HTTP.
    async fn follow<S>(&self, stream: &mut S, first: Bytes, policy: &Policy, report: &mut Report) -> Result<Option<Refusal>, Refusal>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let _slot = policy.slots.take().ok_or(Refusal::TooMany)?;
        let read = timeout(self.limits.head, read_head(stream, first.into()));
        let (target, rest) = read.await.map_err(|_| Refusal::SlowHead)??;
        report.target = Some(target.clone());
        policy.allows(&target)?;
        let addresses = self.addresses(&target).await?;
        policy.check(&target, &addresses)?;
        let mut host = self.dial(&target, &addresses, policy).await?;
        if stream.write_all(ESTABLISHED).await.is_err() {
            return Ok(Some(Refusal::Broken));
        }
        let gate = Gate::new(&target.host, policy.demands_tls(&target));
        Ok(carry(stream, &mut host, gate, &rest, &self.limits, report).await)
    }

    /// The addresses of the target: one question, one answer.
    async fn addresses(&self, target: &Target) -> Result<Vec<IpAddr>, Refusal> {
        if let Ok(address) = target.host.parse() {
            return Ok(vec![IpAddr::V4(address)]);
        }
        let unresolved = || Refusal::Unresolved(target.clone());
        let asked = timeout(self.limits.resolve, self.resolver.resolve(&target.host)).await;
        let mut addresses = asked.map_err(|_| unresolved())?.map_err(|_| unresolved())?;
        addresses.dedup();
        if addresses.is_empty() || addresses.len() > ADDRESSES_MAX {
            return Err(unresolved());
        }
        Ok(addresses)
    }

    /// Connects to the first of the checked addresses that answers.
    async fn dial(&self, target: &Target, addresses: &[IpAddr], policy: &Policy) -> Result<TcpStream, Refusal> {
        let unreachable = || Refusal::Unreachable(target.clone());
        let attempts = async {
            let (last, others) = addresses.split_last()?;
            let dial = |address: IpAddr| TcpStream::connect(SocketAddr::new(address, target.port));
            for address in others {
                if let Ok(Ok(stream)) = timeout(ATTEMPT, dial(*address)).await {
                    return Some((stream, *address));
                }
            }
            dial(*last).await.ok().map(|stream| (stream, *last))
        };
        let (stream, address) = timeout(self.limits.connect, attempts).await.ok().flatten().ok_or_else(unreachable)?;
        // An address of the open internet can be this very machine's, where services trust what comes from it.
        let own = |s: &TcpStream| -> io::Result<bool> { Ok(s.local_addr()?.ip() == s.peer_addr()?.ip()) };
        if own(&stream).unwrap_or(true) && !policy.private_ok.contains(&address) {
            return Err(Refusal::Address { target: target.clone(), address, range: "this machine's own" });
        }
        stream.set_nodelay(true).map_err(|_| unreachable())?;
        Ok(stream)
    }
}

/// Reads until the head is whole. Gives the target and what came after the head.
async fn read_head<S: AsyncRead + Unpin>(stream: &mut S, first: Vec<u8>) -> Result<(Target, Vec<u8>), Refusal> {
    let mut bytes = first;
    loop {
        if let Some((target, length)) = parse_head(&bytes)? {
            return Ok((target, bytes.split_off(length)));
        }
        bytes.reserve(HEAD_BYTES_MAX);
        match stream.read_buf(&mut bytes).await {
            Ok(0) | Err(_) => return Err(Refusal::Broken),
            Ok(_) => (),
        }
    }
}

/// Says the last word and lets the client read it.
async fn farewell<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, word: &[u8]) {
    let linger = async {
        stream.write_all(word).await?;
        stream.shutdown().await?;
        let mut sink = [0; 1024];
        let mut read = 0;
        while read < LINGER_BYTES_MAX {
            match stream.read(&mut sink).await? {
                0 => break,
                n => read += n,
            }
        }
        io::Result::Ok(())
    };
    // Whether the client heard it or not, the connection is over.
    let _ = timeout(LINGER, linger).await;
}

#[cfg(test)]
mod tests;
