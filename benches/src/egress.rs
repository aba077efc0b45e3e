//! The egress proxy beside a direct connection: the time until bytes can flow, and how fast they do.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use gateway::egress::{Egress, Limits, Policy, Resolve};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Connections that are counted, of each kind.
const ROUNDS: usize = 1_000;
/// Bytes of one transfer, and transfers of each kind.
const BYTES: usize = 512 << 20;
const TRANSFERS: usize = 5;
const BLOCK: usize = 256 << 10;

struct Names;

impl Resolve for Names {
    fn resolve<'a>(&'a self, _: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        Box::pin(async { Ok(vec![IpAddr::from([127, 0, 0, 1])]) })
    }
}

pub(crate) fn run() -> Result<String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start a runtime")?;
    runtime.block_on(measure())
}

async fn measure() -> Result<String> {
    let (tasks, cancel) = (TaskTracker::new(), CancellationToken::new());
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let port = listener.local_addr()?.port();
    let host = tasks.clone();
    tasks.spawn(cancel.clone().run_until_cancelled_owned(async move {
        while let Ok((stream, _)) = listener.accept().await {
            host.spawn(drain(stream));
        }
    }));
    let egress = Egress::new(Arc::new(Names), Limits::default());
    let rules = vec![format!("host.test:{port}").parse().context("a rule")?];
    let policy = Arc::new(Policy { rules, private_ok: vec![IpAddr::from([127, 0, 0, 1])], ..Policy::default() });
    let through = async || -> Result<UnixStream> {
        let (mut client, server) = UnixStream::pair()?;
        let (egress, policy, cancel) = (egress.clone(), Arc::clone(&policy), cancel.clone());
        tasks.spawn(async move { egress.serve(server, Bytes::new(), policy, cancel).await });
        client.write_all(format!("CONNECT host.test:{port} HTTP/1.0\r\n\r\n").as_bytes()).await?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(client.read_u8().await?);
        }
        ensure!(head.starts_with(b"HTTP/1.1 200 "), "the proxy refused: {}", String::from_utf8_lossy(&head));
        Ok(client)
    };
    let (mut direct, mut proxied) = (Vec::with_capacity(ROUNDS), Vec::with_capacity(ROUNDS));
    for _ in 0..ROUNDS {
        let began = Instant::now();
        drop(TcpStream::connect(("127.0.0.1", port)).await?);
        direct.push(began.elapsed());
        let began = Instant::now();
        drop(through().await?);
        proxied.push(began.elapsed());
    }
    let (mut direct_rate, mut proxied_rate) = (Vec::new(), Vec::new());
    for _ in 0..TRANSFERS {
        direct_rate.push(rate(TcpStream::connect(("127.0.0.1", port)).await?).await?);
        proxied_rate.push(rate(through().await?).await?);
    }
    cancel.cancel();
    let ms = |times: &mut Vec<Duration>, part: f64| quantile(times, part).as_secs_f64() * 1e3;
    let best = |rates: &[f64]| rates.iter().copied().fold(0.0, f64::max);
    Ok(format!(
        "| egress | direct | through the proxy |\n|---|---|---|\n| connection, p50 / p99 | {:.3} / {:.3} ms | {:.3} / {:.3} ms |\n\
         | throughput, best of {TRANSFERS} | {:.2} GB/s | {:.2} GB/s |\n",
        ms(&mut direct, 0.5),
        ms(&mut direct, 0.99),
        ms(&mut proxied, 0.5),
        ms(&mut proxied, 0.99),
        best(&direct_rate),
        best(&proxied_rate),
    ))
}

fn quantile(times: &mut [Duration], part: f64) -> Duration {
    times.sort_unstable();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a place in a short list")]
    let at = (times.len() as f64 * part) as usize;
    times[at.min(times.len() - 1)]
}

/// Reads everything, and says one byte at the end.
async fn drain(mut stream: TcpStream) {
    let mut buffer = vec![0; BLOCK];
    let mut left = BYTES;
    while left > 0 {
        match stream.read(&mut buffer).await {
            Ok(n @ 1..) => left = left.saturating_sub(n),
            _ => return,
        }
    }
    let _ = stream.write_all(b"!").await;
}

/// Gigabytes in a second.
async fn rate(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<f64> {
    let block = vec![7; BLOCK];
    let began = Instant::now();
    for _ in 0..BYTES / BLOCK {
        stream.write_all(&block).await?;
    }
    stream.read_u8().await?;
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let rate = BYTES as f64 / began.elapsed().as_secs_f64() / 1e9;
    Ok(rate)
}
