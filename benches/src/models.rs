//! The gateway beside a direct call to the same scripted server: one call after another, and as many as it can take. The
//! ledger is the real store, on the disk, and every call draws from a budget.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use gateway::{Budget, BudgetKey, Config, Gateway, Identity, Keys, Kind, Ledger, LedgerError, ProviderConfig};
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, client::conn::http1::SendRequest};
use hyper_util::rt::TokioIo;
use model::{Money, SandboxId, SessionId, Timestamp, TurnId};
use store::{Store, StoreError};
use testkit::model_server::{ModelServer, Say, Script};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::sample::{self, Times};

const WARM: usize = 200;
const COUNTED: usize = 3_000;
/// Connections that ask at the same time when throughput is measured.
const AT_ONCE: usize = 16;
const FLOOD: Duration = Duration::from_secs(3);

/// Keys that open nothing.
struct NoKeys;

impl Keys for NoKeys {
    fn key(&self, _: &str) -> Option<zeroize::Zeroizing<String>> {
        None
    }
}

/// Budgets and rows on the store. Slabs are never settled: a bench ends before its budget does.
struct OnDisk(Store);

impl Ledger for OnDisk {
    fn draw<'a>(&'a self, key: &'a BudgetKey, limit: Money, want: Money) -> BoxFuture<'a, Result<Money, LedgerError>> {
        Box::pin(async move {
            match self.0.lease_slab(&key.0, limit, want, Money(1), now()).await {
                Ok(slab) => Ok(slab.amount),
                Err(StoreError::Budget { .. }) => Ok(Money::ZERO),
                Err(error) => Err(LedgerError(Box::new(error))),
            }
        })
    }

    fn give_back<'a>(&'a self, _: &'a BudgetKey, _: Money) -> BoxFuture<'a, Result<(), LedgerError>> {
        Box::pin(async { Ok(()) })
    }

    fn record<'a>(&'a self, calls: &'a [gateway::Call]) -> BoxFuture<'a, Result<(), LedgerError>> {
        let row = |call: &gateway::Call| store::Call {
            session: call.session.clone(),
            turn: Some(call.turn.clone()),
            provider: call.provider.clone(),
            model: call.model.clone(),
            usage: call.usage,
            cost: call.cost,
            reserved: Money::ZERO,
            estimated: false,
            time: now(),
        };
        let rows = calls.iter().map(row).collect();
        Box::pin(async move { self.0.record_calls(rows).await.map_err(|error| LedgerError(Box::new(error))) })
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// A server, and a gateway in front of it.
struct House {
    server: ModelServer,
    gateway: Gateway,
    tasks: TaskTracker,
    cancel: CancellationToken,
}

impl House {
    async fn open(dir: &Path) -> Result<Self> {
        let script = Script { replies: vec![Say::Text("pong".to_owned())], ..Script::default() };
        let server = ModelServer::start(script).await;
        let provider =
            ProviderConfig { kind: Some(Kind::Anthropic), base_url: Some(server.url()), keyless: true, ..ProviderConfig::default() };
        let config = Config { providers: [("anthropic".to_owned(), provider)].into(), ..Config::default() };
        let dir = dir.join("ledger");
        std::fs::create_dir(&dir)?;
        std::fs::set_permissions(&dir, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
        let store = Store::open(&dir.join("bench.db"), &store::Config::default()).context("failed to open the ledger")?;
        let gateway =
            Gateway::open(config, Arc::new(NoKeys), Arc::new(OnDisk(store)), Arc::new(())).context("failed to open the gateway")?;
        Ok(Self { server, gateway, tasks: TaskTracker::new(), cancel: CancellationToken::new() })
    }

    /// A connection to the server itself.
    async fn direct(&self) -> Result<SendRequest<Full<Bytes>>> {
        let address = self.server.url().trim_start_matches("http://").to_owned();
        let stream = tokio::net::TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        self.handshake(stream).await
    }

    /// A connection to the gateway, over a Unix socket as a sandbox has one.
    async fn through(&self, turn: u128) -> Result<SendRequest<Full<Bytes>>> {
        let (near, far) = tokio::net::UnixStream::pair()?;
        let budget = Budget { key: BudgetKey("bench".to_owned()), limit: Money(1_000_000 * Money::PER_USD) };
        let identity = Identity {
            sandbox: SandboxId::from_bits(turn),
            session: SessionId::from_bits(1),
            turn: TurnId::from_bits(turn),
            provider: "anthropic".to_owned(),
            model: None,
            models: Vec::new(),
            fallback: Vec::new(),
            budgets: vec![budget],
            tape: None,
            rehearsal: false,
            patience: None,
            rounds: None,
        };
        let (gateway, cancel) = (self.gateway.clone(), self.cancel.clone());
        self.tasks.spawn(async move { gateway.serve(far, Bytes::new(), Arc::new(identity), cancel).await });
        self.handshake(near).await
    }

    async fn handshake<S>(&self, stream: S) -> Result<SendRequest<Full<Bytes>>>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
    {
        let (send, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        self.tasks.spawn(connection);
        Ok(send)
    }
}

/// One call and the whole of its reply.
async fn call(connection: &mut SendRequest<Full<Bytes>>) -> Result<Duration> {
    const BODY: &str = r#"{"model":"claude-haiku-4-5","max_tokens":100,"stream":false,"messages":[{"role":"user","content":"ping"}]}"#;
    let request = Request::post("/v1/messages").header("host", "127.0.0.1").header("content-type", "application/json");
    let request = request.header("anthropic-version", "2023-06-01").body(Full::new(Bytes::from_static(BODY.as_bytes())))?;
    connection.ready().await?;
    let began = Instant::now();
    let response = connection.send_request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    if !status.is_success() {
        bail!("{status}: {}", String::from_utf8_lossy(&body));
    }
    Ok(began.elapsed())
}

pub(crate) fn run() -> Result<String> {
    let dir = tempfile::Builder::new().prefix("lazaret-bench-").tempdir().context("failed to make a directory")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let house = House::open(dir.path()).await?;
        let (direct, through) = latency(&house).await?;
        let (direct_rate, through_rate) = (flood(&house, false).await?, flood(&house, true).await?);
        house.cancel.cancel();
        let us = |time: Duration| format!("{:.0}", time.as_secs_f64() * 1e6);
        let row = |name: &str, t: &Times, rate: f64| format!("| {name} | {} | {} | {} | {rate:.0} |\n", us(t.min()), us(t.median()), us(t.p99()));
        let more = |a: Duration, b: Duration| us(a.saturating_sub(b));
        Ok(format!(
            "{COUNTED} calls, interleaved; then {AT_ONCE} connections for {} s each. Server, gateway and callers share the machine and one \
             process, so the server's own work is in every rate. {}.\n\n| | min us | median us | p99 us | calls/s |\n|---|---|---|---|---|\n{}{}| added | {} | {} | {} | - |\n",
            FLOOD.as_secs(),
            sample::machine(),
            row("direct", &direct, direct_rate),
            row("through the gateway, budget and ledger on", &through, through_rate),
            more(through.min(), direct.min()),
            more(through.median(), direct.median()),
            more(through.p99(), direct.p99()),
        ))
    })
}

async fn latency(house: &House) -> Result<(Times, Times)> {
    let (mut direct, mut through) = (house.direct().await?, house.through(1).await?);
    let (mut directs, mut throughs) = (Vec::new(), Vec::new());
    for round in 0..WARM + COUNTED {
        let pair = (call(&mut direct).await?, call(&mut through).await?);
        if round >= WARM {
            directs.push(pair.0);
            throughs.push(pair.1);
        }
    }
    Ok((Times::of(directs), Times::of(throughs)))
}

/// Calls per second of many connections.
async fn flood(house: &House, through: bool) -> Result<f64> {
    let count = Arc::new(AtomicUsize::new(0));
    let began = Instant::now();
    let mut all = Vec::new();
    for n in 0..AT_ONCE {
        let mut connection = if through { house.through(100 + n as u128).await? } else { house.direct().await? };
        let count = count.clone();
        all.push(house.tasks.spawn(async move {
            while began.elapsed() < FLOOD {
                call(&mut connection).await?;
                count.fetch_add(1, Ordering::Relaxed);
            }
            anyhow::Ok(())
        }));
    }
    for one in all {
        one.await.context("a caller panicked")??;
    }
    #[expect(clippy::cast_precision_loss, reason = "a count of a few seconds")]
    let rate = count.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64();
    Ok(rate)
}
