//! One connection from a sandbox, from its request to its end.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::head::{Aim, Target};
use super::hello::{Gate, HelloError};
use super::policy::{Policy, Report, Way};
use super::pump::carry;
use super::requests::{Requests, read_head};
use super::stream::Prefixed;
use super::{Inspection, Reach, Refusal, Resolve, SystemResolver};

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
/// How a record of the handshake of TLS begins.
const TLS: u8 = 22;
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
    inspection: Arc<RwLock<Option<Arc<Inspection>>>>,
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
        Self { resolver, limits: Arc::new(limits), inspection: Arc::default() }
    }

    /// Looks into tunnels with this from now on; without one, those that need it are refused.
    pub fn set_inspection(&self, inspection: Option<Arc<Inspection>>) {
        *self.inspection.write().unwrap_or_else(PoisonError::into_inner) = inspection;
    }

    /// What tunnels are looked into with.
    #[must_use]
    pub fn inspection(&self) -> Option<Arc<Inspection>> {
        self.inspection.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Serves one connection to its end. `first` is what was read from it already; `policy` is that of the sandbox
    /// whose door it came through. Cancelling cuts it.
    pub async fn serve<S>(&self, mut stream: S, first: Bytes, policy: Arc<Policy>, cancel: CancellationToken)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let mut account = Account { policy: &policy, report: Report::default(), began: Instant::now(), is_told: false };
        // Large: it holds both ends of TLS.
        let work = Box::pin(timeout(self.limits.total, self.follow(&mut stream, first, &policy, &mut account)));
        let ended = tokio::select! {
            biased;
            () = cancel.cancelled() => None,
            ended = work => Some(ended.unwrap_or(Ok(End::Cut(Some(Refusal::TooLong))))),
        };
        match ended {
            None => account.tell(Some(Refusal::Cancelled)),
            Some(Ok(End::Told)) => {}
            Some(Ok(End::Cut(cut))) => {
                let is_hello = matches!(&cut, Some(Refusal::Hello(error)) if *error != HelloError::NotTls);
                account.tell(cut);
                if is_hello {
                    farewell(&mut stream, ALERT).await;
                }
            }
            Some(Err(refusal)) => {
                let answer = refusal.answer();
                account.tell(Some(refusal));
                farewell(&mut stream, &answer).await;
            }
        }
    }

    /// Everything up to the end of the connection. An error is one that the client can still be told in HTTP.
    async fn follow<S>(&self, stream: &mut S, first: Bytes, policy: &Policy, account: &mut Account<'_>) -> Result<End, Refusal>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let _slot = policy.slots.take().ok_or(Refusal::TooMany)?;
        let mut buffer = BytesMut::from(first);
        let read = timeout(self.limits.head, read_head(stream, &mut buffer, None)).await;
        let head = read.map_err(|_| Refusal::SlowHead)??.ok_or(Refusal::Broken)?;
        let target = head.target.clone();
        account.begin(&target);
        if head.aim != Aim::Tunnel {
            let requests = Requests { egress: self, policy, within: None, seal: None, link: None };
            requests.serve(stream, &mut buffer, Some(head), account).await;
            return Ok(End::Told);
        }
        match policy.allows(&target)? {
            Way::Unread => self.tunnel(stream, &buffer, target, policy, account).await,
            Way::Read => self.look_into(stream, buffer, target, policy, account).await,
        }
    }

    /// A tunnel whose bytes are not looked at, beyond the first words of TLS.
    async fn tunnel<S>(
        &self,
        stream: &mut S,
        rest: &[u8],
        target: Target,
        policy: &Policy,
        account: &mut Account<'_>,
    ) -> Result<End, Refusal>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        policy.spend_request()?;
        let mut host = self.reach(&target, policy).await?;
        if stream.write_all(ESTABLISHED).await.is_err() {
            return Ok(End::Cut(Some(Refusal::Broken)));
        }
        let gate = Gate::new(&target.host, policy.demands_tls(&target));
        Ok(End::Cut(tokio::select! {
            biased;
            cut = carry(stream, &mut host, gate, rest, (&self.limits, policy), &mut account.report) => cut,
            () = policy.withdrawn(|policy| policy.allows(&target) == Ok(Way::Unread)) => Some(Refusal::Withdrawn(target.clone())),
        }))
    }

    /// A tunnel that is looked into. The host is reached when the first request was found to be right.
    async fn look_into<S>(
        &self,
        stream: &mut S,
        mut buffer: BytesMut,
        target: Target,
        policy: &Policy,
        account: &mut Account<'_>,
    ) -> Result<End, Refusal>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let inspection = self.inspection().ok_or_else(|| Refusal::NeedsInspection(target.clone()))?;
        let cut = |refusal| Ok(End::Cut(Some(refusal)));
        if stream.write_all(ESTABLISHED).await.is_err() || stream.flush().await.is_err() {
            return cut(Refusal::Broken);
        }
        if buffer.is_empty() {
            match timeout(self.limits.hello, stream.read_buf(&mut buffer)).await {
                Err(_) => return cut(Refusal::Hello(HelloError::Slow)),
                Ok(Ok(0)) => return Ok(End::Cut(None)),
                Ok(Err(_)) => return cut(Refusal::Broken),
                Ok(Ok(_)) => {}
            }
        }
        let mut requests = Requests { egress: self, policy, within: Some(target.clone()), seal: None, link: None };
        if buffer.first() != Some(&TLS) {
            if policy.demands_tls(&target) {
                return cut(Refusal::Hello(HelloError::NotTls));
            }
            requests.serve(stream, &mut buffer, None, account).await;
            return Ok(if account.is_told { End::Told } else { End::Cut(None) });
        }
        requests.seal = Some(&*inspection);
        let untrusted = |why: String| Refusal::Untrusted { target: target.clone(), why };
        let config = match inspection.server(&target.host) {
            Ok(config) => config,
            Err(error) => return cut(untrusted(model::chain(&error))),
        };
        let prefixed = Prefixed { first: buffer.freeze(), inner: stream };
        let mut sealed = match timeout(self.limits.hello, TlsAcceptor::from(config).accept(prefixed)).await {
            Err(_) => return cut(Refusal::Hello(HelloError::Slow)),
            Ok(Err(error)) => return cut(untrusted(format!("the sandbox ended TLS: {error}"))),
            Ok(Ok(sealed)) => sealed,
        };
        requests.serve(&mut sealed, &mut BytesMut::new(), None, account).await;
        let _ = timeout(LINGER, sealed.shutdown()).await;
        Ok(if account.is_told { End::Told } else { End::Cut(None) })
    }

    /// A connection to the target: its addresses are asked for once, checked, and dialled.
    pub(super) async fn reach(&self, target: &Target, policy: &Policy) -> Result<TcpStream, Refusal> {
        let addresses = self.addresses(target).await?;
        policy.check(target, &addresses)?;
        self.dial(target, &addresses, policy).await
    }

    /// The same for a request of the daemon's own.
    pub(super) async fn reach_by(&self, target: &Target, reach: &Reach) -> Result<TcpStream, Refusal> {
        let addresses = self.addresses(target).await?;
        let private_ok = match reach {
            Reach::Open(private_ok) => private_ok.clone(),
            Reach::Anywhere => addresses.clone(),
        };
        let policy = Policy { private_ok, ..Policy::default() };
        policy.check(target, &addresses)?;
        self.dial(target, &addresses, &policy).await
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

/// How a connection ended.
enum End {
    /// All of it was told request by request.
    Told,
    /// Why it was cut, if it was.
    Cut(Option<Refusal>),
}

/// What is told of one connection: a report for a tunnel, or one for each request.
pub(super) struct Account<'a> {
    pub(super) policy: &'a Policy,
    pub(super) report: Report,
    began: Instant,
    /// Whether something was told, and nothing has begun since.
    pub(super) is_told: bool,
}

impl Account<'_> {
    /// A tunnel or request begins.
    pub(super) fn begin(&mut self, target: &Target) {
        self.report = Report { target: Some(target.clone()), ..Report::default() };
        self.began = Instant::now();
        self.is_told = false;
    }

    /// It is over.
    pub(super) fn tell(&mut self, refusal: Option<Refusal>) {
        if self.is_told && refusal.is_none() {
            return;
        }
        self.report.refusal = refusal;
        self.report.time = self.began.elapsed();
        self.policy.tell(&self.report);
        self.is_told = true;
    }
}

/// Says the last word and lets the client read it.
pub(super) async fn farewell<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, word: &[u8]) {
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
