//! A daemon of a home of its own, and its HTTP API over the owner's socket.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::native::built;
use crate::peers::quiet;

/// The daemon; it ends with this value.
pub(crate) struct Daemon {
    program: PathBuf,
    pub(crate) home: PathBuf,
    child: Child,
}

impl Daemon {
    /// Starts one whose model is the server at `url`.
    pub(crate) fn start(dir: &Path, url: &str) -> Result<Self> {
        Self::start_with(dir, &[("providers.anthropic.base_url", url), ("providers.anthropic.keyless", "true")])
    }

    /// Starts one with these settings.
    pub(crate) fn start_with(dir: &Path, settings: &[(&str, &str)]) -> Result<Self> {
        let (program, home) = (built("profile", "lazaret")?, dir.join("home"));
        for (key, value) in settings {
            quiet(Command::new(&program).env("LAZARET_HOME", &home).args(["config", "set", key, value]))?;
        }
        let mut up = Command::new(&program);
        up.env("LAZARET_HOME", &home).args(["up", "--listen", "127.0.0.1:0"]).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = up.spawn().context("failed to start the daemon")?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("it has an output")?).read_line(&mut line)?;
        if !line.contains("ready") {
            bail!("the daemon did not come up: {line}");
        }
        Ok(Self { program, home, child })
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A connection to it.
    pub(crate) fn connect(&self) -> Result<Connection> {
        let stream = UnixStream::connect(self.home.join("run/lazaret.sock")).context("failed to reach the daemon")?;
        Ok(Connection { reader: BufReader::new(stream.try_clone()?), stream })
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Nothing can be done about a daemon that does not stop; its next start cleans up.
        let _ = quiet(Command::new(&self.program).env("LAZARET_HOME", &self.home).args(["stop", "--grace", "0s"]));
        let _ = self.child.wait();
    }
}

/// One HTTP connection that stays open.
pub(crate) struct Connection {
    stream: UnixStream,
    reader: BufReader<UnixStream>,
}

impl Connection {
    /// Asks, and reads the answer, which must be a success.
    pub(crate) fn ask(&mut self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let bytes = if body.is_null() { Vec::new() } else { serde_json::to_vec(body)? };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: lazaret\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            bytes.len()
        );
        // At once: a handler that does not want the body may have answered, and hung up, before a second write.
        self.stream.write_all(&[head.as_bytes(), &bytes].concat())?;
        let (status, length) = self.head()?;
        let mut body = vec![0; length.context("an answer without a length")?];
        self.reader.read_exact(&mut body)?;
        if !(200..300).contains(&status) {
            bail!("{method} {path}: {status} {}", String::from_utf8_lossy(&body));
        }
        Ok(serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    /// Asks, and reads no answer.
    pub(crate) fn send(&mut self, method: &str, path: &str) -> Result<()> {
        let head = format!("{method} {path} HTTP/1.1\r\nhost: lazaret\r\n\r\n");
        Ok(self.stream.write_all(head.as_bytes())?)
    }

    /// The same with a body.
    pub(crate) fn send_with(&mut self, method: &str, path: &str, body: &str) -> Result<()> {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: lazaret\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        Ok(self.stream.write_all(&[head.as_bytes(), body.as_bytes()].concat())?)
    }

    /// Lets nothing that is read wait from now on.
    pub(crate) fn look_only(&self) -> Result<()> {
        Ok(self.stream.set_nonblocking(true)?)
    }

    /// Whether an answer to what was sent has begun to come, after [`Connection::look_only`].
    pub(crate) fn has_answer(&self) -> Result<bool> {
        match (&self.stream).read(&mut [0; 16]) {
            Ok(0) => bail!("the daemon hung up"),
            Ok(_) => Ok(true),
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => Ok(false),
            Err(e) => Err(e.into()),
        }
    }

    /// Follows a session's events; gives the lines of the stream from now on.
    pub(crate) fn follow(mut self, session: &str) -> Result<Follow> {
        let head = format!("GET /v1/sessions/{session}/events HTTP/1.1\r\nhost: lazaret\r\naccept: text/event-stream\r\n\r\n");
        self.stream.write_all(head.as_bytes())?;
        let (status, _) = self.head()?;
        if status != 200 {
            bail!("the events are not streamed: {status}");
        }
        Ok(Follow(self.reader))
    }

    fn head(&mut self) -> Result<(u16, Option<usize>)> {
        let (mut status, mut length) = (0, None);
        loop {
            let mut line = String::new();
            if self.reader.read_line(&mut line)? == 0 {
                bail!("the daemon hung up");
            }
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                return Ok((status, length));
            }
            if let Some(rest) = line.strip_prefix("http/1.1 ") {
                status = rest.get(..3).and_then(|s| s.parse().ok()).unwrap_or(0);
            }
            if let Some(rest) = line.strip_prefix("content-length:") {
                length = rest.trim().parse().ok();
            }
        }
    }
}

/// The events of a session as they come.
pub(crate) struct Follow(BufReader<UnixStream>);

impl Follow {
    /// The next event.
    pub(crate) fn next(&mut self) -> Result<Value> {
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line)? == 0 {
                bail!("the stream of events ended");
            }
            if let Some(data) = line.strip_prefix("data: ") {
                return Ok(serde_json::from_str(data.trim_end())?);
            }
        }
    }

    /// Waits for the next event of this type.
    pub(crate) fn until(&mut self, kind: &str) -> Result<Value> {
        loop {
            let event = self.next()?;
            if event["type"] == kind {
                return Ok(event);
            }
        }
    }
}

/// A line of /proc/PID/status, in KiB.
pub(crate) fn memory_kib(pid: u32, line: &str) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let found = status.lines().find_map(|l| l.strip_prefix(line)?.strip_prefix(':'));
    found.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).with_context(|| format!("no {line} in the status"))
}

/// Processor time so far, in ticks of 10 ms.
pub(crate) fn ticks(pid: u32) -> Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let rest = stat.rsplit_once(')').context("a stat line")?.1;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let field = |at: usize| fields.get(at).and_then(|f| f.parse::<u64>().ok()).unwrap_or(0);
    Ok(field(11) + field(12))
}
