//! The bridge to an MCP server elsewhere: what the host asks on standard input is asked of the server over HTTP, in the
//! protocol's streamable form.

use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::BoxFuture;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderName};
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::net::{Ask, Net, NetError, Reply, Url};
use crate::surroundings::{Surroundings, SurroundingsError};
use crate::text::one_line;
use crate::tool::{Call, Outcome, Plugin, ToolError, after_effect};

/// The version of the protocol that is asked for.
const VERSION: &str = "2025-06-18";
/// Versions that the server may choose instead.
const VERSIONS: [&str; 3] = [VERSION, "2025-03-26", "2024-11-05"];
/// The largest message of the server, in bytes.
const MESSAGE_BYTES_MAX: usize = 4 << 20;
/// Pages of the list of tools.
const PAGES_MAX: usize = 16;
/// Messages of one stream before the answer.
const MESSAGES_MAX: usize = 10_000;
/// The longest name that a server may give a session.
const SESSION_BYTES_MAX: usize = 1024;

const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
const PROTOCOL: HeaderName = HeaderName::from_static("mcp-protocol-version");
const METHOD_NOT_FOUND: i64 = -32_601;

/// The plugin.
pub(crate) struct Bridge {
    around: Surroundings,
    net: Net,
    url: Url,
    next_id: AtomicU64,
    /// Held while a session is begun, so that one is begun for all who wait.
    session: Mutex<Option<Session>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    #[serde(default)]
    #[expect(dead_code, reason = "read by the launcher, for the list of hosts")]
    hosts: Vec<String>,
    url: String,
}

/// What the server agreed to.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Session {
    /// The server's name for it, if it gives one.
    id: Option<String>,
    version: String,
}

/// Why a request gave no result.
enum Trouble {
    /// The server no longer knows the session; it did nothing.
    SessionGone,
    Tool(ToolError),
}

impl<E: Into<ToolError>> From<E> for Trouble {
    fn from(error: E) -> Self {
        Self::Tool(error.into())
    }
}

impl Bridge {
    pub(crate) fn open(around: Surroundings) -> Result<Self, SurroundingsError> {
        let config: Config = around.config()?;
        let url = Url::parse(&config.url).map_err(|e| SurroundingsError::ConfigWrong(e.to_string()))?;
        Ok(Self { net: Net::new(&around), around, url, next_id: AtomicU64::new(1), session: Mutex::new(None) })
    }

    /// Asks, in a new session if the old one is gone.
    async fn ask(&self, method: &str, params: &Value) -> Result<Value, ToolError> {
        for _ in 0..2 {
            let session = self.session().await?;
            match self.request(Some(&session), method, params).await {
                Ok((result, _)) => return Ok(result),
                Err(Trouble::Tool(error)) => return Err(error),
                Err(Trouble::SessionGone) => {
                    let mut held = self.session.lock().await;
                    if held.as_ref() == Some(&session) {
                        *held = None;
                    }
                }
            }
        }
        Err(ToolError::Remote("the server forgets its sessions at once".to_owned()))
    }

    async fn session(&self) -> Result<Session, ToolError> {
        let mut held = self.session.lock().await;
        if let Some(session) = held.as_ref() {
            return Ok(session.clone());
        }
        let client = json!({"name": "lazaret", "version": env!("CARGO_PKG_VERSION")});
        let params = json!({"protocolVersion": VERSION, "capabilities": {}, "clientInfo": client});
        let (result, id) = match self.request(None, "initialize", &params).await {
            Ok(found) => found,
            Err(Trouble::Tool(error)) => return Err(error),
            Err(Trouble::SessionGone) => return Err(ToolError::NotFound(format!("there is no MCP server at {}", self.url))),
        };
        let version = result["protocolVersion"].as_str().unwrap_or_default();
        if !VERSIONS.contains(&version) {
            return Err(ToolError::Remote(format!("the server speaks version `{}`, which is not known here", one_line(version))));
        }
        let session = Session { id, version: version.to_owned() };
        let notice = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        self.post(Some(&session), &notice).await?;
        *held = Some(session.clone());
        Ok(session)
    }

    async fn post(&self, session: Option<&Session>, message: &Value) -> Result<Reply, NetError> {
        let mut ask = Ask::new(Method::POST, self.url.clone())
            .header(ACCEPT, "application/json, text/event-stream")?
            .body("application/json", message.to_string());
        // Read for each request: a token that was revoked or replaced counts at once.
        if let Some(token) = self.around.optional_credential("token").map_err(|e| NetError::Url(e.to_string()))? {
            ask = ask.header(AUTHORIZATION, &format!("Bearer {token}"))?;
        }
        if let Some(session) = session {
            ask = ask.header(PROTOCOL, &session.version)?;
            if let Some(id) = &session.id {
                ask = ask.header(SESSION, id)?;
            }
        }
        self.net.send(ask).await
    }

    /// One request and its result, with the session's name that came along.
    async fn request(&self, session: Option<&Session>, method: &str, params: &Value) -> Result<(Value, Option<String>), Trouble> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let message = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        let reply = self.post(session, &message).await.map_err(after_effect)?;
        match reply.status {
            status if status.is_success() => (),
            StatusCode::NOT_FOUND if session.is_none_or(|s| s.id.is_some()) => return Err(Trouble::SessionGone),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let why = "the server does not take the token: the owner sets a new one with the credential `token`";
                return Err(ToolError::Remote(why.to_owned()).into());
            }
            status => {
                let said = reply.bytes(64 << 10).await.unwrap_or_default();
                let said: String = one_line(&String::from_utf8_lossy(&said)).chars().take(300).collect();
                return Err(ToolError::Remote(format!("the server answered {status}: {said}")).into());
            }
        }
        let name = reply.header(&SESSION).map(str::to_owned);
        if name.as_ref().is_some_and(|name| name.len() > SESSION_BYTES_MAX) {
            return Err(ToolError::Remote("the server's name for the session is too long".to_owned()).into());
        }
        let kind = reply.header(&CONTENT_TYPE).unwrap_or("").split(';').next().unwrap_or("").trim().to_ascii_lowercase();
        let answer = match kind.as_str() {
            "application/json" => reply.json(MESSAGE_BYTES_MAX).await.map_err(after_effect)?,
            "text/event-stream" => self.stream(session, reply, id).await?,
            other => return Err(ToolError::Remote(format!("the server answered with `{}`", one_line(other))).into()),
        };
        if answer["id"] != id {
            return Err(ToolError::Remote("the server answered another request".to_owned()).into());
        }
        match answer.get("error") {
            None => Ok((answer["result"].clone(), name)),
            Some(error) => {
                let said: String = one_line(error["message"].as_str().unwrap_or("no reason")).chars().take(500).collect();
                Err(ToolError::Remote(format!("the server answered with an error: {said}")).into())
            }
        }
    }

    /// Reads a stream of events up to the answer; what the server asks meanwhile is answered too.
    async fn stream(&self, session: Option<&Session>, mut reply: Reply, id: u64) -> Result<Value, ToolError> {
        let mut events = Events::default();
        let mut seen = 0;
        loop {
            while let Some(data) = events.next_event().map_err(|()| ToolError::Remote("the server's event is too long".to_owned()))? {
                let Ok(message) = serde_json::from_str::<Value>(&data) else { continue };
                if message.get("method").is_none() && message["id"] == id {
                    return Ok(message);
                }
                seen += 1;
                if seen > MESSAGES_MAX {
                    return Err(ToolError::Unknowable("the server sends messages without end".to_owned()));
                }
                if let (Some(asked), Some(of)) = (message.get("method"), message.get("id")) {
                    let answer = match asked.as_str() {
                        Some("ping") => json!({"jsonrpc": "2.0", "id": of, "result": {}}),
                        _ => json!({"jsonrpc": "2.0", "id": of, "error": {"code": METHOD_NOT_FOUND, "message": "not offered here"}}),
                    };
                    // The server's own loss if it does not take it.
                    let _ = self.post(session, &answer).await;
                }
            }
            match reply.chunk().await.map_err(after_effect)? {
                Some(chunk) => events.push(&chunk),
                None => return Err(ToolError::Unknowable("the server ended its stream before the answer".to_owned())),
            }
        }
    }
}

/// Cuts a stream into server-sent events.
#[derive(Default)]
struct Events {
    held: Vec<u8>,
    /// Bytes at the front that have no line end among them.
    looked: usize,
    data: String,
}

impl Events {
    fn push(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
    }

    /// The data of the next whole event; an error when it is too long.
    fn next_event(&mut self) -> Result<Option<String>, ()> {
        loop {
            if self.held.len() + self.data.len() > MESSAGE_BYTES_MAX + (1 << 20) {
                return Err(());
            }
            let Some(end) = self.held[self.looked..].iter().position(|b| *b == b'\n').map(|at| self.looked + at) else {
                self.looked = self.held.len();
                return Ok(None);
            };
            let line: Vec<u8> = self.held.drain(..=end).collect();
            self.looked = 0;
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches(['\n', '\r']);
            if line.is_empty() {
                if !self.data.is_empty() {
                    return Ok(Some(std::mem::take(&mut self.data)));
                }
            } else if let Some(data) = line.strip_prefix("data:") {
                if !self.data.is_empty() {
                    self.data.push('\n');
                }
                self.data.push_str(data.strip_prefix(' ').unwrap_or(data));
            }
        }
    }
}

impl Plugin for Bridge {
    fn tools(&self) -> BoxFuture<'_, Result<Vec<Value>, ToolError>> {
        Box::pin(async {
            let (mut tools, mut cursor) = (Vec::new(), None::<String>);
            for _ in 0..PAGES_MAX {
                let params = cursor.map_or_else(|| json!({}), |cursor| json!({ "cursor": cursor }));
                let page = self.ask("tools/list", &params).await?;
                tools.extend(page["tools"].as_array().cloned().unwrap_or_default());
                cursor = page["nextCursor"].as_str().map(str::to_owned);
                if cursor.is_none() {
                    return Ok(tools);
                }
            }
            Err(ToolError::Remote("the server's list of tools does not end".to_owned()))
        })
    }

    fn call<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<Outcome, ToolError>> {
        Box::pin(async move {
            let mut params = json!({"name": call.tool, "arguments": call.arguments});
            if let Some(key) = &call.key {
                params["_meta"] = json!({ "lazaret/idempotency-key": key });
            }
            self.ask("tools/call", &params).await.map(Outcome::Whole)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_cut_out_of_any_split() {
        let stream = ": hello\r\nevent: message\nid: 4\ndata: {\"a\":\ndata: 1}\n\ndata:x\r\n\r\n\n\ndata: left";
        for step in 1..stream.len() {
            let (mut events, mut found) = (Events::default(), Vec::new());
            for piece in stream.as_bytes().chunks(step) {
                events.push(piece);
                while let Some(event) = events.next_event().unwrap() {
                    found.push(event);
                }
            }
            assert_eq!(found, ["{\"a\":\n1}", "x"], "steps of {step}");
        }
        let mut events = Events::default();
        events.push(&vec![b'x'; MESSAGE_BYTES_MAX + (2 << 20)]);
        assert!(events.next_event().is_err());
    }
}
