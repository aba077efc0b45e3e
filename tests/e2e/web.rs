//! The HTTP API over TCP, as a client with a token speaks it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::http::{Answer, PATIENCE};
use crate::support::{Lab, Ran};

/// A daemon that listens, and the owner's token.
pub(crate) struct Web {
    pub(crate) address: String,
    pub(crate) owner: String,
}

impl Web {
    /// Starts the home's daemon.
    #[track_caller]
    pub(crate) fn start(lab: &Lab) -> Self {
        Self::of(lab, lab.run(&["start", "--listen", "127.0.0.1:0", "--json"]).succeeds())
    }

    /// The same where it may not come up yet.
    pub(crate) fn tried(lab: &Lab) -> Option<Self> {
        let ran = lab.run(&["start", "--listen", "127.0.0.1:0", "--json"]);
        (ran.status == 0).then(|| Self::of(lab, ran))
    }

    fn of(lab: &Lab, started: Ran) -> Self {
        let ready = started.events();
        let owner = std::fs::read_to_string(lab.home().join("token")).expect("a token").trim().to_owned();
        Self { address: ready[0]["address"].as_str().expect("an address").to_owned(), owner }
    }

    /// Begins a request; HTTP/1.0, so that the answer ends with its connection and has no chunks.
    #[track_caller]
    pub(crate) fn begin(&self, token: &str, method: &str, path: &str, headers: &str, body: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).expect("connect");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        let bearer = if token.is_empty() { String::new() } else { format!("authorization: Bearer {token}\r\n") };
        let length = body.len();
        let head = format!("{method} {path} HTTP/1.0\r\nhost: {}\r\n{bearer}{headers}content-length: {length}\r\n\r\n", self.address);
        stream.write_all(head.as_bytes()).expect("write");
        // A request that is refused early is not read to its end.
        let _ = stream.write_all(body);
        stream
    }

    #[track_caller]
    pub(crate) fn ask_with(&self, token: &str, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
        let mut all = Vec::new();
        // The rest of a body that nobody read ends the connection hard; what was answered before has come.
        let _ = self.begin(token, method, path, headers, body).read_to_end(&mut all);
        let end = all.windows(4).position(|w| w == b"\r\n\r\n").unwrap_or_else(|| panic!("no head: {method} {path}"));
        let head = String::from_utf8_lossy(&all[..end]).into_owned();
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).expect("a status");
        Answer { status, head, body: all[end + 4..].to_vec() }
    }

    /// Asks with a token and JSON.
    #[track_caller]
    pub(crate) fn ask(&self, token: &str, method: &str, path: &str, body: Value) -> Answer {
        let bytes = if body.is_null() { Vec::new() } else { serde_json::to_vec(&body).expect("JSON") };
        self.ask_with(token, method, path, "content-type: application/json\r\n", &bytes)
    }

    /// A token of this scope and tenant, with its identity.
    #[track_caller]
    pub(crate) fn token(&self, scope: &str, tenant: Option<&str>) -> (String, String) {
        let form = json!({ "name": "a test", "scope": scope, "tenant": tenant });
        let made = self.ask(&self.owner, "POST", "/v1/tokens", form).is(201);
        let text = |field: &str| made[field].as_str().expect("text").to_owned();
        (text("token"), text("id"))
    }

    /// The API document, which needs no token.
    #[track_caller]
    pub(crate) fn document(&self) -> Value {
        self.ask("", "GET", "/openapi.json", Value::Null).is(200)
    }
}

/// A stream whose answer has begun well.
#[track_caller]
pub(crate) fn begun(stream: TcpStream) -> BufReader<TcpStream> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).expect("a status");
    assert!(line.contains(" 200 "), "{line}");
    while line != "\r\n" {
        line.clear();
        reader.read_line(&mut line).expect("a head");
    }
    reader
}

/// Every route of a document: method in capitals, path, and what the document says of it.
pub(crate) fn routes(document: &Value) -> Vec<(String, String, Value)> {
    let paths = document["paths"].as_object().expect("paths");
    let one = |(path, verbs): (&String, &Value)| {
        let verbs = verbs.as_object().expect("verbs").clone();
        let path = path.clone();
        verbs.into_iter().map(move |(verb, operation)| (verb.to_uppercase(), path.clone(), operation)).collect::<Vec<_>>()
    };
    paths.iter().flat_map(one).collect()
}
