//! A proxy, one host by TLS and in the clear, and a client inside.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use lazaret_gateway::egress::{Egress, Inspection, Limits, Policy, Report, Resolve, StoredAuthority, Watch};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream};
use tokio::net::TcpListener;
use tokio_rustls::{TlsAcceptor, TlsConnector, client::TlsStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) const LOOPBACK: &str = "127.0.0.1";

/// A request as the host saw it.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Heard {
    pub(crate) fn line(&self) -> &str {
        self.head.lines().next().unwrap_or("")
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.head.lines().filter_map(|l| l.split_once(": ")).filter(|(n, _)| n.eq_ignore_ascii_case(name));
        let value = values.next().map(|(_, v)| v);
        assert!(values.next().is_none(), "{name} stands twice in {}", self.head);
        value
    }
}

type Answers = dyn Fn(&Heard) -> Vec<u8> + Send + Sync;

#[derive(Default)]
struct Seen(Mutex<Vec<Report>>);

impl Watch for Seen {
    fn seen(&self, report: &Report) {
        self.0.lock().unwrap().push(report.clone());
    }
}

struct Names;

impl Resolve for Names {
    fn resolve<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        let found = host.ends_with(".test").then(|| LOOPBACK.parse().unwrap());
        Box::pin(async move { found.map(|address| vec![address]).ok_or_else(|| io::ErrorKind::NotFound.into()) })
    }
}

/// The world. All that it started ends with it.
pub(crate) struct World {
    pub(crate) egress: Egress,
    /// The port that speaks TLS, and the one that does not.
    pub(crate) tls: u16,
    pub(crate) clear: u16,
    pub(crate) authority: String,
    heard: Arc<Mutex<Vec<Heard>>>,
    seen: Arc<Seen>,
    tasks: TaskTracker,
    cancel: CancellationToken,
    _dir: tempfile::TempDir,
}

impl Drop for World {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

/// Fields that an answer does not need said.
pub(crate) fn ok(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

pub(crate) async fn world() -> World {
    with(Limits::default(), true, |heard| ok(heard.line())).await
}

/// One whose host answers like this; `is_trusted` says whether the proxy trusts the host's authority.
pub(crate) async fn with(limits: Limits, is_trusted: bool, answers: impl Fn(&Heard) -> Vec<u8> + Send + Sync + 'static) -> World {
    let dir = tempfile::tempdir().unwrap();
    let (root, config) = host_tls();
    let roots = dir.path().join("roots.pem");
    std::fs::write(&roots, root).unwrap();
    let inspection = Inspection::open(&StoredAuthority::make().unwrap(), is_trusted.then_some(roots)).unwrap();
    let authority = inspection.certificate().to_owned();
    let egress = Egress::new(Arc::new(Names), limits);
    egress.set_inspection(Some(Arc::new(inspection)));
    let (tasks, cancel, heard) = (TaskTracker::new(), CancellationToken::new(), Arc::default());
    let host = Host { answers: Arc::new(answers), heard: Arc::clone(&heard), tasks: tasks.clone(), cancel: cancel.clone() };
    let tls = host.listen(Some(TlsAcceptor::from(Arc::new(config)))).await;
    let clear = host.listen(None).await;
    World { egress, tls, clear, authority, heard, seen: Arc::default(), tasks, cancel, _dir: dir }
}

/// A host's own authority as PEM, and TLS with a certificate of it for every name in these tests.
fn host_tls() -> (String, rustls::ServerConfig) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let root = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let leaf_key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["good.test".into(), "other.test".into()]).unwrap().signed_by(&leaf_key, &issuer).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(leaf_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    (root, builder.with_no_client_auth().with_single_cert(vec![leaf.der().clone()], key).unwrap())
}

#[derive(Clone)]
struct Host {
    answers: Arc<Answers>,
    heard: Arc<Mutex<Vec<Heard>>>,
    tasks: TaskTracker,
    cancel: CancellationToken,
}

impl Host {
    async fn listen(&self, tls: Option<TlsAcceptor>) -> u16 {
        let listener = TcpListener::bind((LOOPBACK, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let host = self.clone();
        self.tasks.spawn(self.cancel.clone().run_until_cancelled_owned(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (one, tls) = (host.clone(), tls.clone());
                host.tasks.spawn(host.cancel.clone().run_until_cancelled_owned(async move {
                    match tls {
                        None => one.serve(stream).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => one.serve(stream).await,
                            Err(_) => None,
                        },
                    };
                }));
            }
        }));
        port
    }

    async fn serve(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Option<()> {
        let mut bytes = Vec::new();
        loop {
            let heard = request(&mut stream, &mut bytes).await?;
            self.heard.lock().unwrap().push(heard.clone());
            let answer = (self.answers)(&heard);
            stream.write_all(&answer).await.ok()?;
            stream.flush().await.ok()?;
            if answer.starts_with(b"HTTP/1.1 101 ") {
                // What comes now are frames: they are sent back.
                let mut piece = vec![0; 4096];
                while let Ok(n @ 1..) = stream.read(&mut piece).await {
                    stream.write_all(&piece[..n]).await.ok()?;
                    stream.flush().await.ok()?;
                }
                return None;
            }
        }
    }
}

/// Reads one request. Bodies in chunks are put together.
async fn request(stream: &mut (impl AsyncRead + Unpin), bytes: &mut Vec<u8>) -> Option<Heard> {
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break at + 4;
        }
        more(stream, bytes).await?;
    };
    let head = String::from_utf8(bytes.drain(..end).collect()).unwrap();
    let mut heard = Heard { head, body: Vec::new() };
    if let Some(length) = heard.field("content-length").map(|v| v.parse::<usize>().unwrap()) {
        while bytes.len() < length {
            more(stream, bytes).await?;
        }
        heard.body = bytes.drain(..length).collect();
    } else if heard.field("transfer-encoding").is_some() {
        loop {
            let at = loop {
                match bytes.windows(2).position(|w| w == b"\r\n") {
                    Some(at) => break at,
                    None => more(stream, bytes).await?,
                }
            };
            let size = usize::from_str_radix(std::str::from_utf8(&bytes[..at]).unwrap(), 16).unwrap();
            while bytes.len() < at + 2 + size + 2 {
                more(stream, bytes).await?;
            }
            heard.body.extend(&bytes[at + 2..at + 2 + size]);
            bytes.drain(..at + 2 + size + 2);
            if size == 0 {
                break;
            }
        }
    }
    Some(heard)
}

async fn more(stream: &mut (impl AsyncRead + Unpin), bytes: &mut Vec<u8>) -> Option<()> {
    match stream.read_buf(bytes).await {
        Ok(1..) => Some(()),
        _ => None,
    }
}

impl World {
    /// Rules with `T` for the port of TLS and `C` for the one in the clear.
    pub(crate) fn policy(&self, rules: &[&str]) -> Policy {
        let put = |rule: &&str| rule.replace(":T", &format!(":{}", self.tls)).replace(":C", &format!(":{}", self.clear)).parse().unwrap();
        let private_ok = vec![LOOPBACK.parse().unwrap()];
        Policy { rules: rules.iter().map(put).collect(), private_ok, watch: Some(self.seen.clone()), ..Policy::default() }
    }

    pub(crate) fn open(&self, policy: &Policy) -> DuplexStream {
        let (client, server) = tokio::io::duplex(64 << 10);
        let (egress, policy, cancel) = (self.egress.clone(), Arc::new(policy.clone()), self.cancel.clone());
        self.tasks.spawn(async move { egress.serve(server, Bytes::new(), policy, cancel).await });
        client
    }

    /// A tunnel to `good.test`; the bytes after its answer are the client's.
    pub(crate) async fn tunnel(&self, policy: &Policy, host: &str, port: u16) -> Result<DuplexStream, String> {
        let mut client = self.open(policy);
        client.write_all(format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n").as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match client.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => break,
            }
        }
        let text = String::from_utf8_lossy(&head).into_owned();
        if text.starts_with("HTTP/1.1 200 ") { Ok(client) } else { Err(text) }
    }

    /// TLS within a tunnel, as a client that trusts the install's authority and nothing else.
    pub(crate) async fn sealed(&self, policy: &Policy, host: &str, named: &str, alpn: &[&str]) -> io::Result<TlsStream<DuplexStream>> {
        let stream = self.tunnel(policy, host, self.tls).await.map_err(io::Error::other)?;
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.authority.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
        TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(named.to_owned()).unwrap(), stream).await
    }

    /// Sends one request within a tunnel that is looked into, and reads its answer.
    pub(crate) async fn ask(&self, policy: &Policy, line: &str, fields: &str) -> Answer {
        self.ask_with(policy, line, fields, b"").await
    }

    pub(crate) async fn ask_with(&self, policy: &Policy, line: &str, fields: &str, body: &[u8]) -> Answer {
        let mut stream = self.sealed(policy, "good.test", "good.test", &[]).await.unwrap();
        let head = format!("{line} HTTP/1.1\r\nHost: good.test\r\nConnection: close\r\n{fields}\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let _ = stream.write_all(body).await;
        let _ = stream.flush().await;
        Answer::read(&mut stream).await
    }

    pub(crate) fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }

    /// The reports so far, of connections that are over.
    pub(crate) async fn reports(&self) -> Vec<Report> {
        self.seen.0.lock().unwrap().clone()
    }
}

/// What a client got.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) fields: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
    /// Whether the body came to its end.
    pub(crate) is_whole: bool,
}

impl Answer {
    /// Reads one answer to its end.
    pub(crate) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Self {
        let mut bytes = Vec::new();
        let end = loop {
            if let Some(at) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            if more(stream, &mut bytes).await.is_none() {
                return Self { status: 0, fields: HashMap::new(), body: bytes, is_whole: false };
            }
        };
        let head = String::from_utf8(bytes.drain(..end).collect()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let fields: HashMap<_, _> =
            head.lines().filter_map(|l| l.split_once(": ")).map(|(n, v)| (n.to_ascii_lowercase(), v.to_owned())).collect();
        let (mut body, mut is_whole) = (Vec::new(), true);
        if let Some(length) = fields.get("content-length").map(|v| v.parse::<usize>().unwrap()) {
            while bytes.len() < length && more(stream, &mut bytes).await.is_some() {}
            is_whole = bytes.len() >= length;
            body = bytes;
        } else if fields.contains_key("transfer-encoding") {
            while !bytes.ends_with(b"0\r\n\r\n") && more(stream, &mut bytes).await.is_some() {}
            is_whole = bytes.ends_with(b"0\r\n\r\n");
            let mut rest = &bytes[..];
            while let Some(at) = rest.windows(2).position(|w| w == b"\r\n") {
                let size = usize::from_str_radix(std::str::from_utf8(&rest[..at]).unwrap(), 16).unwrap();
                body.extend_from_slice(&rest[at + 2..(at + 2 + size).min(rest.len())]);
                rest = rest.get(at + 2 + size + 2..).unwrap_or_default();
            }
        } else if fields.get("connection").is_some_and(|c| c == "close") {
            while more(stream, &mut bytes).await.is_some() {}
            body = bytes;
        }
        Self { status, fields, body, is_whole }
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}
