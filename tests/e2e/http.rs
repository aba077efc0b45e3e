//! The HTTP API over the owner's socket, as any client would speak it.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::Lab;
pub(crate) use crate::support::PATIENCE;

/// How long one request of a job waits for its end; it is asked again until [`PATIENCE`] is over.
const WAIT_S: u64 = 30;

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The body, where the request succeeded with this status.
    #[track_caller]
    pub(crate) fn is(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}{}", self.head, String::from_utf8_lossy(&self.body));
        if self.body.is_empty() { Value::Null } else { serde_json::from_slice(&self.body).expect("JSON") }
    }

    /// Refused with this status and code.
    #[track_caller]
    pub(crate) fn refused(self, status: u16, code: &str) -> Value {
        let body = self.is(status);
        assert_eq!(body["error"]["code"], code, "{body}");
        body
    }
}

impl Lab {
    /// Asks the daemon of the home, which must be up.
    #[track_caller]
    pub(crate) fn ask(&self, method: &str, path: &str, body: Value) -> Answer {
        let bytes = if body.is_null() { Vec::new() } else { serde_json::to_vec(&body).expect("JSON") };
        self.ask_with(method, path, &[("content-type", "application/json")], &bytes)
    }

    /// The same with headers and a body of bytes.
    #[track_caller]
    pub(crate) fn ask_with(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut stream = UnixStream::connect(self.home().join("run").join(api::OWNER_SOCKET)).expect("a daemon");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: lazaret\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let mut request = format!("{head}\r\n").into_bytes();
        request.extend_from_slice(body);
        // A request that is refused early is not read to its end: what it left unread resets the connection behind the answer.
        let _ = stream.write_all(&request);
        let mut all = Vec::new();
        match stream.read_to_end(&mut all) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset && whole(&all) => {}
            Err(error) => panic!("read: {error} after {}", String::from_utf8_lossy(&all)),
        }
        let end = all.windows(4).position(|w| w == b"\r\n\r\n").expect("a head");
        let head = String::from_utf8_lossy(&all[..end]).into_owned();
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).expect("a status");
        let raw = &all[end + 4..];
        let body = if head.to_ascii_lowercase().contains("transfer-encoding: chunked") { unchunk(raw) } else { raw.to_vec() };
        Answer { status, head, body }
    }

    /// Kills the daemon and waits until it is gone.
    #[track_caller]
    pub(crate) fn kill_daemon(&self) {
        let stream = UnixStream::connect(self.home().join("run").join(api::OWNER_SOCKET)).expect("a daemon");
        let pid = rustix::net::sockopt::socket_peercred(&stream).expect("a peer").pid;
        let fd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).expect("a process");
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("kill");
        let mut fds = [rustix::event::PollFd::new(&fd, rustix::event::PollFlags::IN)];
        let patience = rustix::event::Timespec { tv_sec: i64::try_from(PATIENCE.as_secs()).expect("seconds"), tv_nsec: 0 };
        assert_ne!(rustix::event::poll(&mut fds, Some(&patience)).expect("poll"), 0, "it does not die");
    }

    /// Makes a session and gives its identity.
    #[track_caller]
    pub(crate) fn session(&self, form: Value) -> String {
        self.ask("POST", "/v1/sessions", form).is(201)["id"].as_str().expect("an identity").to_owned()
    }

    /// Asks a session and waits for the result of that turn.
    #[track_caller]
    pub(crate) fn turn(&self, session: &str, text: &str) -> Value {
        let turn = self.send(session, text);
        self.result_of(session, &turn)
    }

    /// Asks a session and gives the turn.
    #[track_caller]
    pub(crate) fn send(&self, session: &str, text: &str) -> String {
        let answer = self.ask("POST", &format!("/v1/sessions/{session}/messages"), json!({ "text": text })).is(202);
        answer["turn"].as_str().expect("a turn").to_owned()
    }

    /// Every event of a session.
    #[track_caller]
    pub(crate) fn log(&self, session: &str) -> Vec<Value> {
        let mut all: Vec<Value> = Vec::new();
        loop {
            let page = self.ask("GET", &format!("/v1/sessions/{session}/events?after={}&limit=1000", all.len()), Value::Null);
            let page = page.is(200)["events"].as_array().expect("events").clone();
            if page.is_empty() {
                return all;
            }
            all.extend(page);
        }
    }

    /// Waits until a job is over.
    #[track_caller]
    pub(crate) fn job_over(&self, id: &str) -> Value {
        let began = Instant::now();
        loop {
            let waited = self.ask("GET", &format!("/v1/jobs/{id}/wait?timeout_s={WAIT_S}"), Value::Null);
            if waited.status == 200 || began.elapsed() > PATIENCE {
                return waited.is(200);
            }
            waited.refused(408, "TIMEOUT");
        }
    }

    /// Waits for the result of a turn.
    #[track_caller]
    pub(crate) fn result_of(&self, session: &str, turn: &str) -> Value {
        self.event_where(session, |e| e["type"] == "result" && e["turn"] == turn)
    }

    /// Waits for an event.
    #[track_caller]
    pub(crate) fn event_where(&self, session: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let log = self.log(session);
            if let Some(found) = log.iter().find(|e| wanted(e)) {
                return found.clone();
            }
            assert!(began.elapsed() < PATIENCE, "no such event: {log:#?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until a session is in this state.
    #[track_caller]
    pub(crate) fn state_is(&self, session: &str, state: &str) {
        let began = Instant::now();
        loop {
            let view = self.ask("GET", &format!("/v1/sessions/{session}"), Value::Null).is(200);
            if view["state"] == state {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "not {state}: {view}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Whether an answer came to its end, by what it says of its length.
fn whole(answer: &[u8]) -> bool {
    let Some(end) = answer.windows(4).position(|w| w == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")).and_then(|n| n.trim().parse().ok());
    length.map_or_else(|| answer.ends_with(b"0\r\n\r\n"), |length: usize| answer.len() - end - 4 == length)
}

fn unchunk(mut raw: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = raw.windows(2).position(|w| w == b"\r\n") {
        let size = usize::from_str_radix(String::from_utf8_lossy(&raw[..end]).trim(), 16).unwrap_or(0);
        if size == 0 {
            break;
        }
        body.extend_from_slice(&raw[end + 2..end + 2 + size]);
        raw = &raw[end + 4 + size..];
    }
    body
}
