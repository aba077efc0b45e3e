//! `lazaret fetch`, run inside a sandbox: fetches the files of an engine through the egress proxy and unpacks them.
//!
//! Everything here is as hostile as the registry: the sandbox is what holds it. Each file is compared with its pinned
//! hash before a byte of it is unpacked, no script is run, and the host compares the whole tree again.

use std::io::Read;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use app::{FetchFile, FetchOrder};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use model::{Code, Failure};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::exit::Done;

/// The largest package file.
const FILE_BYTES_MAX: usize = 512 << 20;
/// The longest order.
const ORDER_BYTES_MAX: u64 = 16 << 20;
/// The longest head of the proxy's answer.
const PROXY_HEAD_BYTES_MAX: usize = 8 << 10;
/// Files on their way at once.
const PARALLEL_MAX: usize = 8;
/// How often one file is tried.
const TRIES_MAX: usize = 3;

pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

pub(crate) async fn run() -> Done {
    let mut text = String::new();
    std::io::stdin().take(ORDER_BYTES_MAX).read_to_string(&mut text).map_err(|e| failed(&e.to_string()))?;
    if let Ok(order) = serde_json::from_str(&text) {
        return super::ask_token::run(&order).await;
    }
    let order: FetchOrder = serde_json::from_str(&text).map_err(|e| failed(&e.to_string()))?;
    if !order.command.is_empty() {
        return super::forward::run(&order).await;
    }
    let into = PathBuf::from(&order.into);
    std::fs::create_dir_all(&into).map_err(|e| failed(&e.to_string()))?;
    let tls = tls()?;
    use futures_util::{StreamExt, TryStreamExt};
    let work = order.files.iter().map(|file| one(&order, &tls, file, &into));
    futures_util::stream::iter(work).buffer_unordered(PARALLEL_MAX).try_collect::<()>().await?;
    Ok(0)
}

fn failed(why: &str) -> Failure {
    Failure::new(Code::EngineMissing, why)
}

async fn one(order: &FetchOrder, tls: &Arc<rustls::ClientConfig>, file: &FetchFile, into: &Path) -> Result<(), Failure> {
    let mut last = failed("not tried");
    for _ in 0..TRIES_MAX {
        match get(order, tls, file).await {
            Ok(bytes) => {
                if sha512_hex(&bytes) != file.sha512 {
                    return Err(Failure::new(Code::EngineTampered, format!("{} is not the file that was pinned", file.path)));
                }
                return unpack(&bytes, &into.join(&file.unpack)).map_err(|e| failed(&format!("{}: {e}", file.path)));
            }
            Err(failure) => last = failure,
        }
    }
    Err(last)
}

pub(super) fn tls() -> Result<Arc<rustls::ClientConfig>, Failure> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in rustls_native_certs::load_native_certs().certs {
        // One unreadable certificate among the machine's must not stop the others.
        let _ = roots.add(certificate);
    }
    Ok(Arc::new(rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()))
}

/// Where a URL leads.
pub(super) struct Address<'a> {
    pub(super) is_tls: bool,
    pub(super) host: &'a str,
    pub(super) port: u16,
    pub(super) base: &'a str,
}

pub(super) fn address(url: &str) -> Result<Address<'_>, Failure> {
    let (is_tls, rest) = match url.strip_prefix("https://") {
        Some(rest) => (true, rest),
        None => (false, url.strip_prefix("http://").ok_or_else(|| failed("the registry is not http or https"))?),
    };
    let (authority, base) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().map_err(|_| failed("the registry's port is no number"))?),
        None => (authority, if is_tls { 443 } else { 80 }),
    };
    Ok(Address { is_tls, host, port, base })
}

async fn get(order: &FetchOrder, tls: &Arc<rustls::ClientConfig>, file: &FetchFile) -> Result<Vec<u8>, Failure> {
    let to = address(&order.registry)?;
    let fail = |what: &str, e: &dyn std::error::Error| failed(&format!("{}: {what}: {}", to.host, model::chain(e)));
    let tunnel = connect(order.proxy_port, &to).await?;
    let stream: Box<dyn Stream> = if to.is_tls {
        let name = ServerName::try_from(to.host.to_owned()).map_err(|e| fail("its name", &e))?;
        Box::new(tokio_rustls::TlsConnector::from(Arc::clone(tls)).connect(name, tunnel).await.map_err(|e| fail("TLS", &e))?)
    } else {
        Box::new(tunnel)
    };
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| fail("HTTP", &e))?;
    let request = http::Request::builder()
        .uri(format!("{}/{}", to.base.trim_end_matches('/'), file.path))
        .header("host", to.host)
        .header("user-agent", concat!("lazaret/", env!("CARGO_PKG_VERSION")))
        .body(Empty::<bytes::Bytes>::new())
        .map_err(|e| fail("the request", &e))?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(|e| fail("HTTP", &e))?;
        if !response.status().is_success() {
            return Err(failed(&format!("{} answered {} for {}", to.host, response.status(), file.path)));
        }
        let body = Limited::new(response.into_body(), FILE_BYTES_MAX).collect().await;
        Ok(body.map_err(|e| failed(&format!("{}: {e}", file.path)))?.to_bytes().to_vec())
    };
    tokio::pin!(answer);
    tokio::select! {
        answer = &mut answer => answer,
        ended = connection => match ended {
            // A registry that closes after its answer: what it sent is still to be read.
            Ok(()) => answer.await,
            Err(e) => Err(fail("HTTP", &e)),
        },
    }
}

/// A tunnel through the egress proxy.
pub(super) async fn connect(port: u16, to: &Address<'_>) -> Result<TcpStream, Failure> {
    let fail = |e: std::io::Error| failed(&format!("the egress proxy: {e}"));
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.map_err(fail)?;
    let target = format!("{}:{}", to.host, to.port);
    stream.write_all(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n").as_bytes()).await.map_err(fail)?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= PROXY_HEAD_BYTES_MAX {
            return Err(failed("the egress proxy's answer is too long"));
        }
        head.push(stream.read_u8().await.map_err(fail)?);
    }
    if head.starts_with(b"HTTP/1.1 200") {
        return Ok(stream);
    }
    let mut body = String::new();
    let _ = stream.take(4096).read_to_string(&mut body).await;
    let first = String::from_utf8_lossy(&head).lines().next().unwrap_or("").to_owned();
    Err(failed(&format!("the egress proxy refused {target}: {first} {}", body.trim())))
}

fn sha512_hex(bytes: &[u8]) -> String {
    use sha2::Digest;
    sha2::Sha512::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

/// Unpacks a package without its top directory: files, directories and inner links; nothing outside, no modes but the
/// executable bit.
fn unpack(bytes: &[u8], into: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(bytes));
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        let inner: PathBuf = path.components().skip(1).collect();
        if inner.as_os_str().is_empty() {
            continue;
        }
        if inner.components().any(|c| !matches!(c, Component::Normal(_))) {
            return Err(std::io::Error::other(format!("the package holds the path {}", path.display())));
        }
        let target = into.join(&inner);
        if entry.header().entry_type().is_dir() {
            std::fs::create_dir_all(&target)?;
        } else if entry.header().entry_type().is_file() {
            std::fs::create_dir_all(target.parent().unwrap_or(into))?;
            let mut file = std::fs::File::create(&target)?;
            std::io::copy(&mut entry, &mut file)?;
            let mode = if entry.header().mode()? & 0o111 == 0 { 0o644 } else { 0o755 };
            file.set_permissions(std::fs::Permissions::from_mode(mode))?;
        }
    }
    Ok(())
}
