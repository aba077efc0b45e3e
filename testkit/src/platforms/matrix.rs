//! A real homeserver of Matrix (Synapse, a package that `cargo xtask test` installs) behind a server that can fail on demand.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::UnixStream;

use super::party::{Party, SentFile, Standing, fresh};
use super::signed::Posted;
use super::{Call, Reply, Web};

/// How long the homeserver may take to come up.
const PATIENCE: Duration = Duration::from_secs(300);

/// The homeserver.
pub struct Matrix {
    /// The server in front of it, for its faults and calls.
    pub web: Web,
    _directory: tempfile::TempDir,
    child: Child,
    runtime: tokio::runtime::Runtime,
    socket: Arc<PathBuf>,
}

impl Drop for Matrix {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Matrix {
    /// Starts it.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let socket = Arc::new(directory.path().join("s"));
        let config = directory.path().join("homeserver.yaml");
        std::fs::write(&config, settings(directory.path(), &socket).to_string()).expect("write the configuration");
        let seed = base64::engine::general_purpose::STANDARD_NO_PAD.encode([7u8; 32]);
        std::fs::write(directory.path().join("signing.key"), format!("ed25519 a_test {seed}\n")).expect("write the key");
        let log = std::fs::File::create(directory.path().join("log")).expect("a log");
        let mut command = Command::new(crate::servers::python_of_tests());
        command.args(["-m", "synapse.app.homeserver", "-c"]).arg(&config).current_dir(directory.path());
        command.env("PYTHONDONTWRITEBYTECODE", "1").stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = command.spawn().expect("start the homeserver");
        let to = Arc::clone(&socket);
        let web = Web::start(move |call| {
            let to = Arc::clone(&to);
            async move { forward(call, &to).await.unwrap_or_else(|e| Reply::status(502).body(e)) }
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let mut matrix = Self { web, _directory: directory, child, runtime, socket };
        let begun = Instant::now();
        while matrix.try_call("GET", "/_matrix/client/versions", "", &Value::Null).is_err() {
            let log = || std::fs::read_to_string(matrix._directory.path().join("log")).unwrap_or_default();
            let ended = matrix.child.try_wait().expect("wait for the homeserver");
            assert!(ended.is_none() && begun.elapsed() < PATIENCE, "the homeserver did not come up: {}", log());
            std::thread::sleep(Duration::from_millis(50));
        }
        matrix
    }

    /// Calls the homeserver past the server in front of it, and gives the answer.
    ///
    /// # Panics
    /// It refuses.
    #[track_caller]
    #[must_use]
    pub fn call(&self, method: &str, path: &str, token: &str, body: &Value) -> Value {
        match self.try_call(method, path, token, body) {
            Ok((status, answer)) if (200..300).contains(&status) => answer,
            other => {
                let log = std::fs::read_to_string(self._directory.path().join("log")).unwrap_or_default();
                let last: Vec<&str> = log.lines().rev().take(40).collect();
                panic!("{method} {path}: {other:?}\n{}", last.into_iter().rev().collect::<Vec<_>>().join("\n"))
            }
        }
    }

    fn try_call(&self, method: &str, path: &str, token: &str, body: &Value) -> Result<(u16, Value), String> {
        let mut headers = http::HeaderMap::new();
        if !token.is_empty() {
            headers.insert("authorization", format!("Bearer {token}").parse().map_err(|_| "a token".to_owned())?);
        }
        let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
        let call = Call { method: method.parse().map_err(|_| "a method".to_owned())?, target: path.to_owned(), headers, body };
        let reply = self.runtime.block_on(forward(call, &self.socket))?;
        Ok((reply.status, serde_json::from_slice(&reply.body).unwrap_or_default()))
    }

    /// A new user: id and access token.
    #[must_use]
    pub fn user(&self, name: &str) -> (String, String) {
        let body = json!({"auth": {"type": "m.login.dummy"}, "username": name, "password": "a password of tests"});
        let made = self.call("POST", "/_matrix/client/v3/register", "", &body);
        let text = |key: &str| made[key].as_str().unwrap_or_default().to_owned();
        (text("user_id"), text("access_token"))
    }
}

fn settings(directory: &Path, socket: &Path) -> Value {
    let path = |name: &str| directory.join(name).to_string_lossy().into_owned();
    let much = json!({"per_second": 1_000_000, "burst_count": 1_000_000});
    // JSON is YAML too.
    json!({
        "server_name": "home.test",
        "report_stats": false,
        "pid_file": path("pid"),
        "signing_key_path": path("signing.key"),
        "media_store_path": path("media"),
        "trusted_key_servers": [],
        "enable_registration": true,
        "enable_registration_without_verification": true,
        "listeners": [{"path": socket.to_string_lossy(), "type": "http", "x_forwarded": true, "resources": [{"names": ["client", "media"]}]}],
        "database": {"name": "sqlite3", "args": {"database": path("db")}},
        "rc_message": much, "rc_registration": much,
        "rc_joins": {"local": much, "remote": much},
        "rc_invites": {"per_room": much, "per_user": much, "per_issuer": much},
        "rc_room_creation": much,
    })
}

async fn forward(call: Call, socket: &Path) -> Result<Reply, String> {
    let failed = |e: &dyn std::fmt::Display| e.to_string();
    let stream = UnixStream::connect(socket).await.map_err(|e| failed(&e))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| failed(&e))?;
    let mut request = http::Request::builder().method(call.method).uri(&call.target).body(Full::new(call.body)).map_err(|e| failed(&e))?;
    *request.headers_mut() = call.headers;
    request.headers_mut().remove("content-length");
    // Without an address it does not register anybody.
    request.headers_mut().insert("x-forwarded-for", http::HeaderValue::from_static("127.0.0.1"));
    request.headers_mut().insert("x-forwarded-proto", http::HeaderValue::from_static("https"));
    request.headers_mut().insert("host", http::HeaderValue::from_static("home.test"));
    let exchange = async {
        let answer = sender.send_request(request).await.map_err(|e| failed(&e))?;
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.map_err(|e| failed(&e))?.to_bytes();
        let kind = parts.headers.get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or("application/json").to_owned();
        Ok(Reply::status(parts.status.as_u16()).header("content-type", &kind).body(body))
    };
    tokio::pin!(connection);
    tokio::pin!(exchange);
    tokio::select! {
        answer = &mut exchange => answer,
        _ = &mut connection => exchange.await,
    }
}

/// A room of the account's and one person's on a homeserver.
pub struct Room {
    matrix: Matrix,
    bot: (String, String),
    ann: (String, String),
    room: String,
}

impl Room {
    /// Makes it on a homeserver of its own.
    ///
    /// # Panics
    /// When the homeserver does not come up.
    #[must_use]
    pub fn start() -> Self {
        let matrix = Matrix::start();
        let (bot, ann) = (matrix.user("bot"), matrix.user("ann"));
        let made = matrix.call("POST", "/_matrix/client/v3/createRoom", &ann.1, &json!({"preset": "private_chat", "invite": [bot.0]}));
        let room = made["room_id"].as_str().unwrap_or_default().to_owned();
        let _ = matrix.call("POST", &format!("/_matrix/client/v3/rooms/{}/join", plain(&room)), &bot.1, &json!({}));
        Self { matrix, bot, ann, room }
    }

    /// What the homeserver keeps at an address of its own, for the person.
    fn content(&self, uri: &str) -> Option<Vec<u8>> {
        let authorization = format!("Bearer {}", self.ann.1).parse().ok()?;
        let call = Call {
            method: http::Method::GET,
            target: format!("/_matrix/client/v1/media/download/{}", uri.strip_prefix("mxc://")?),
            headers: http::HeaderMap::from_iter([(http::header::AUTHORIZATION, authorization)]),
            body: Bytes::new(),
        };
        let reply = self.matrix.runtime.block_on(forward(call, &self.matrix.socket)).ok()?;
        (reply.status == 200).then(|| reply.body.to_vec())
    }

    fn says(&self, content: &Value) {
        let path = format!("/_matrix/client/v3/rooms/{}/send/m.room.message/t{}", plain(&self.room), fresh());
        let _ = self.matrix.call("PUT", &path, &self.ann.1, content);
    }
}

/// A room's id in a path.
fn plain(room: &str) -> String {
    room.replace('!', "%21").replace(':', "%3A")
}

impl Party for Room {
    fn network(&self) -> &'static str {
        "matrix"
    }

    fn config(&self) -> Value {
        json!({"base_url": self.matrix.web.url(), "wait_s": 5})
    }

    fn credentials(&self) -> Vec<(&'static str, String)> {
        vec![("token", self.bot.1.clone())]
    }

    fn writes(&self, text: &str) -> Option<Posted> {
        self.says(&json!({"msgtype": "m.text", "body": text, "m.mentions": {"user_ids": [self.bot.0]}}));
        None
    }

    fn sends(&self, text: &str) -> Option<SentFile> {
        // The words come first: a file has none of its own.
        let upload = Call {
            method: http::Method::POST,
            target: "/_matrix/media/v3/upload?filename=a.txt".to_owned(),
            headers: http::HeaderMap::from_iter([
                (http::header::AUTHORIZATION, format!("Bearer {}", self.ann.1).parse().ok()?),
                (http::header::CONTENT_TYPE, http::HeaderValue::from_static("text/plain")),
            ]),
            body: Bytes::from_static(b"attachment"),
        };
        let reply = self.matrix.runtime.block_on(forward(upload, &self.matrix.socket)).ok()?;
        let uri = serde_json::from_slice::<Value>(&reply.body).unwrap_or_default()["content_uri"].clone();
        self.says(
            &json!({"msgtype": "m.file", "body": text, "filename": "a.txt", "url": uri, "info": {"mimetype": "text/plain", "size": 10},
            "m.mentions": {"user_ids": [self.bot.0]}}),
        );
        Some(SentFile { posted: None, bytes: b"attachment" })
    }

    fn standing(&self) -> Vec<Standing> {
        let path = format!("/_matrix/client/v3/rooms/{}/messages?dir=b&limit=200", plain(&self.room));
        let found = self.matrix.call("GET", &path, &self.ann.1, &Value::Null);
        let own = |event: &&Value| event["sender"] == self.bot.0.as_str() && event["type"] == "m.room.message";
        let mut all: Vec<Standing> = Vec::new();
        for event in found["chunk"].as_array().into_iter().flatten().filter(own).collect::<Vec<_>>().into_iter().rev() {
            let content = &event["content"];
            let of = content["m.relates_to"]["event_id"].as_str().filter(|_| content["m.relates_to"]["rel_type"] == "m.replace");
            match of.and_then(|of| all.iter_mut().find(|known| known.id == of)) {
                Some(known) => known.text = content["m.new_content"]["body"].as_str().unwrap_or_default().to_owned(),
                None => all.push(Standing {
                    files: content["url"].as_str().and_then(|uri| self.content(uri)).into_iter().collect(),
                    ..Standing::text(event["event_id"].as_str().unwrap_or_default(), &content["body"])
                }),
            }
        }
        all
    }

    fn was_seen_writing(&self) -> bool {
        !self.matrix.web.calls("/typing/").is_empty()
    }
}
