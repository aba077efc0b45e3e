//! Servers of other people, each a process.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::held::Held;

/// How long a server may take to come up.
const PATIENCE: Duration = Duration::from_secs(300);

/// Where `cargo xtask test` puts the packages.
fn installed(path: &str) -> PathBuf {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/test-servers").join(path);
    assert!(place.exists(), "{} is not there: run `cargo xtask test unit`, which installs it", place.display());
    place
}

/// The Python that has the packages of the servers.
///
/// # Panics
/// It is not installed.
#[must_use]
pub fn python_of_tests() -> PathBuf {
    installed("python/bin/python")
}

/// A process that ends with this value.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a script of Python and reads its first line.
fn python(script: &Path, text: &str, args: &[&Path]) -> (Server, Value, BufReader<ChildStdout>) {
    std::fs::write(script, text).expect("write the server's script");
    let mut command = Command::new(installed("python/bin/python"));
    command.arg(script).args(args).env("PYTHONDONTWRITEBYTECODE", "1").stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("start the server");
    let mut output = BufReader::new(child.stdout.take().expect("its output"));
    let server = Server(child);
    let mut line = String::new();
    output.read_line(&mut line).expect("read its ports");
    let ports = serde_json::from_str(&line).unwrap_or_else(|e| panic!("the server did not come up ({e}): {line}"));
    (server, ports, output)
}

/// A mailbox over IMAP and SMTP: `owner` with the password `harbour secret`, whose address is `owner@mail.test`.
pub struct Mail {
    server: Server,
    ports: Value,
    /// Where the server writes a mail down before it says that it has taken it.
    sent: PathBuf,
    _output: BufReader<ChildStdout>,
}

impl Mail {
    /// The password.
    pub const SECRET: &'static str = "harbour secret";

    /// Starts it with a certificate and its key, in files; its script and what it takes are written into `dir`.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn start(dir: &Path, certificate: &Path, key: &Path) -> Self {
        let sent = dir.join("sent");
        let (server, ports, output) = python(&dir.join("mail.py"), include_str!("mail.py"), &[certificate, key, &sent]);
        Self { server, ports, sent, _output: output }
    }

    /// The port of `imap`, `imaps`, `smtp`, `smtps` or `submission` (which wants STARTTLS).
    ///
    /// # Panics
    /// There is no such service.
    #[must_use]
    pub fn port(&self, service: &str) -> u16 {
        self.ports[service].as_u64().and_then(|port| u16::try_from(port).ok()).expect("a service of the mail server")
    }

    /// The mails that it has taken so far, each with `from`, `to` and `data`: all of those whose sender has its yes.
    ///
    /// # Panics
    /// When its file is gone.
    #[must_use]
    pub fn sent(&self) -> Vec<Value> {
        mails(&self.sent)
    }

    /// Ends the server and gives the mails that it had taken, each with `from`, `to` and `data`. Nothing is on its way then.
    ///
    /// # Panics
    /// When its file is gone.
    #[must_use]
    pub fn into_sent(self) -> Vec<Value> {
        let Self { server, sent, .. } = self;
        drop(server);
        mails(&sent)
    }
}

/// The mails in a file, one a line; the last line may still be on its way.
fn mails(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).expect("read what was sent");
    let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    whole.map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("no mail ({e}): {line}"))).collect()
}

/// A calendar server with the account `owner@mail.test` and the calendars `Harbour` and `Tides & ebbs`.
pub struct Calendar {
    _server: Server,
    /// Where it listens.
    pub port: u16,
}

impl Calendar {
    /// Starts it with its files in `dir`.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn start(dir: &Path) -> Self {
        let (server, ports, _) = python(&dir.join("calendar_server.py"), include_str!("calendar.py"), &[dir]);
        let port = ports["port"].as_u64().and_then(|port| u16::try_from(port).ok()).expect("a port");
        Self { _server: server, port }
    }
}

/// The reference server of MCP over HTTP.
pub struct Everything {
    _server: Server,
    /// Where it listens.
    pub port: u16,
}

impl Everything {
    /// Starts it.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn start() -> Self {
        let program = installed("node/node_modules/@modelcontextprotocol/server-everything/dist/index.js");
        // It takes no port 0: one is held for it until it listens there, so that whoever answers is the server.
        let held = Held::new().expect("a free port");
        let mut command = Command::new("node");
        command.arg(&program).arg("streamableHttp").env("PORT", held.port.to_string());
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("start node");
        let mut server = Server(child);
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", held.port)).is_err() {
            let ended = server.0.try_wait().expect("wait for node");
            assert!(ended.is_none() && begun.elapsed() < PATIENCE, "the MCP server did not come up: {ended:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { _server: server, port: held.port }
    }
}
