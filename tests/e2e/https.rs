//! A host on loopback that speaks HTTPS with a certificate of an authority of the test's own, and serves what programs of
//! everyday ask for: a git repository, a Python index, a package registry, and an API. All of it wants the right credential.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// The host; it lives as long as the test process.
pub(crate) struct Https {
    pub(crate) port: u16,
    /// A file with the certificate of its authority.
    pub(crate) roots: PathBuf,
    served: Arc<Served>,
}

/// What it serves.
struct Served {
    /// `git` holds bare repositories, `files` what is served as it is.
    root: PathBuf,
    /// What must stand in the Authorization field, plain or as the password of a user.
    credential: String,
    heard: Mutex<Vec<String>>,
}

struct Request {
    method: String,
    path: String,
    query: String,
    fields: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    fn field(&self, name: &str) -> &str {
        self.fields.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v)
    }
}

impl Https {
    pub(crate) fn start(root: &Path, credential: &str) -> Self {
        let (authority, config) = certificate();
        let roots = root.join("authority.pem");
        std::fs::write(&roots, authority).expect("write");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let served = Arc::new(Served { root: root.to_owned(), credential: credential.to_owned(), heard: Mutex::default() });
        let (config, all) = (Arc::new(config), Arc::clone(&served));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (config, served) = (Arc::clone(&config), Arc::clone(&all));
                std::thread::spawn(move || drop(serve(stream, config, &served)));
            }
        });
        Self { port, roots, served }
    }

    /// What came, a line for each request: method, path, and the credential.
    pub(crate) fn heard(&self) -> Vec<String> {
        self.served.heard.lock().expect("no panic").clone()
    }
}

fn certificate() -> (String, ServerConfig) {
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let authority = params.self_signed(&key).expect("a certificate").pem();
    let issuer = Issuer::new(params, key);
    let leaf_key = KeyPair::generate().expect("a key");
    let leaf = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])
        .and_then(|p| p.signed_by(&leaf_key, &issuer))
        .expect("a certificate");
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(leaf_key.serialize_der()));
    let builder = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().expect("versions").with_no_client_auth();
    (authority, builder.with_single_cert(vec![leaf.der().clone()], key).expect("a certificate and its key"))
}

fn serve(stream: TcpStream, config: Arc<ServerConfig>, served: &Served) -> std::io::Result<()> {
    let connection = ServerConnection::new(config).map_err(std::io::Error::other)?;
    let mut stream = BufReader::new(StreamOwned::new(connection, stream));
    while let Some(request) = read(&mut stream)? {
        let line = format!("{} {} {}", request.method, request.path, request.field("authorization"));
        served.heard.lock().expect("no panic").push(line);
        let answer = answer(&request, served)?;
        stream.get_mut().write_all(&answer)?;
        stream.get_mut().flush()?;
    }
    Ok(())
}

fn read(stream: &mut impl BufRead) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split(' ').map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (path, query) = target.split_once('?').map_or((target.as_str(), ""), |(p, q)| (p, q));
    let mut request = Request { method, path: path.to_owned(), query: query.to_owned(), fields: Vec::new(), body: Vec::new() };
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        request.fields.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    if let Ok(length) = request.field("content-length").parse::<usize>() {
        request.body.resize(length, 0);
        stream.read_exact(&mut request.body)?;
    } else if request.field("transfer-encoding") == "chunked" {
        loop {
            let mut size = String::new();
            stream.read_line(&mut size)?;
            let size = usize::from_str_radix(size.trim(), 16).map_err(std::io::Error::other)?;
            let mut piece = vec![0; size + 2];
            stream.read_exact(&mut piece)?;
            request.body.extend(&piece[..size]);
            if size == 0 {
                break;
            }
        }
    }
    Ok(Some(request))
}

/// The password of `Basic`, or what stands after the scheme.
fn given(request: &Request) -> String {
    use base64::Engine as _;
    let field = request.field("authorization");
    match field.split_once(' ') {
        Some((scheme, coded)) if scheme.eq_ignore_ascii_case("basic") => {
            let text = base64::engine::general_purpose::STANDARD.decode(coded).unwrap_or_default();
            String::from_utf8_lossy(&text).split_once(':').map(|(_, password)| password.to_owned()).unwrap_or_default()
        }
        Some((_, rest)) => rest.to_owned(),
        None => String::new(),
    }
}

fn answer(request: &Request, served: &Served) -> std::io::Result<Vec<u8>> {
    if given(request) != served.credential {
        let body = "wrong credential";
        let head = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"test\"\r\n";
        return Ok(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes());
    }
    if let Some(path) = request.path.strip_prefix("/git") {
        return git(request, path, &served.root.join("git"));
    }
    if request.path.starts_with("/repos/") {
        // It shows the caller its own credential, as a careless host would.
        let body = format!("{{\"issues\":[\"first\"],\"you\":\"{}\",\"method\":\"{}\"}}", served.credential, request.method);
        return Ok(plain("200 OK", "application/json", body.as_bytes()));
    }
    let mut path = request.path.trim_start_matches('/').to_owned();
    if path.ends_with('/') {
        path.push_str("index.html");
    }
    let kind = if path.ends_with(".html") { "text/html" } else { "application/octet-stream" };
    match std::fs::read(served.root.join("files").join(&path)) {
        Ok(bytes) if !path.contains("..") => Ok(plain("200 OK", kind, &bytes)),
        _ => Ok(plain("404 Not Found", "text/plain", b"")),
    }
}

fn plain(status: &str, kind: &str, body: &[u8]) -> Vec<u8> {
    let mut answer = format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    answer.extend(body);
    answer
}

/// Hands a request to git's own server program.
fn git(request: &Request, path: &str, root: &Path) -> std::io::Result<Vec<u8>> {
    let mut child = Command::new("git")
        .args(["http-backend"])
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("PATH_INFO", path)
        .env("QUERY_STRING", &request.query)
        .env("REQUEST_METHOD", &request.method)
        .env("CONTENT_TYPE", request.field("content-type"))
        .env("CONTENT_LENGTH", request.body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", request.field("content-encoding"))
        .env("GIT_PROTOCOL", request.field("git-protocol"))
        .env("REMOTE_USER", "tester")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut stdin = child.stdin.take().expect("a pipe");
    let body = request.body.clone();
    let writer = std::thread::spawn(move || drop(stdin.write_all(&body)));
    let out = child.wait_with_output()?.stdout;
    let _ = writer.join();
    let at = out.windows(4).position(|w| w == b"\r\n\r\n").ok_or(std::io::ErrorKind::InvalidData)?;
    let head = String::from_utf8_lossy(&out[..at]).into_owned();
    let status = head.lines().find_map(|l| l.strip_prefix("Status: ")).unwrap_or("200 OK");
    let kind = head.lines().find_map(|l| l.strip_prefix("Content-Type: ")).unwrap_or("text/plain");
    Ok(plain(status, kind, &out[at + 4..]))
}
