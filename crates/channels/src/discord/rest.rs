//! Discord's REST interface: buckets, nonces, files.

use std::time::Duration;

use http::{Method, Uri};
use serde_json::{Value, json};
use tokio::time::Instant;
use wire::chat::Failing;
use zeroize::Zeroizing;

use crate::calls::Recent;
use crate::http::{Ask, Base, Http, Multipart, refused, seconds};
use crate::network::{DeliverError, File};
use crate::note::Attempt;
use crate::sink::Sink;

/// Where Discord keeps files.
const FILES_AT: &[&str] = &["cdn.discordapp.com", "media.discordapp.net"];
/// Buckets that are remembered.
const BUCKETS_MAX: usize = 1024;
/// The longest that a request waits for its bucket by itself.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// Characters of a nonce.
const NONCE_MAX: usize = 25;

/// The interface.
pub(super) struct Rest {
    base: Base,
    http: Http,
    token: Zeroizing<String>,
    /// Until when a bucket is empty.
    empty: Recent<Instant>,
}

impl Rest {
    pub(super) fn new(base: Base, http: Http, token: Zeroizing<String>) -> Self {
        Self { base, http, token, empty: Recent::new(BUCKETS_MAX) }
    }

    pub(super) fn http(&self) -> &Http {
        &self.http
    }

    pub(super) fn token(&self) -> &str {
        &self.token
    }

    /// Calls a method and gives what it answers; null where that is nothing.
    pub(super) async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, DeliverError> {
        let ask = Ask::new(method, self.base.at(path)?);
        self.send(path, if let Some(body) = body { ask.json(body) } else { ask }).await
    }

    /// Makes a message and gives its id.
    pub(super) async fn create(&self, path: &str, body: Value, attempt: Attempt, files: &[File]) -> Result<String, DeliverError> {
        let mut body = body;
        body["nonce"] = json!(attempt.key(NONCE_MAX));
        body["enforce_nonce"] = json!(true);
        body["allowed_mentions"] = json!({"parse": [], "replied_user": true});
        let ask = Ask::new(Method::POST, self.base.at(path)?);
        let ask = if files.is_empty() {
            ask.json(&body)
        } else {
            let about: Vec<Value> = files.iter().enumerate().map(|(n, file)| json!({"id": n, "filename": file.name()})).collect();
            body["attachments"] = json!(about);
            let form = Multipart::new().field("payload_json", &body.to_string());
            let form = files.iter().enumerate().fold(form, |form, (n, file)| form.file(&format!("files[{n}]"), file));
            ask.multipart(form).patience(Duration::from_secs(120))
        };
        let found = self.send(path, ask).await?;
        let id = crate::reading::id(&found["id"]);
        id.ok_or_else(|| DeliverError::new(Failing::Unknown, "Discord does not say which message it became"))
    }

    async fn send(&self, path: &str, ask: Ask) -> Result<Value, DeliverError> {
        let bucket = bucket(path);
        if let Some(until) = self.empty.get(&bucket) {
            let wait = until.saturating_duration_since(Instant::now());
            if wait > WAIT_MAX {
                return Err(DeliverError::new(Failing::Rate, "Discord's limit for this is used up").after(Some(wait)));
            }
            tokio::time::sleep(wait).await;
        }
        let reply = self.http.send(ask.header(http::header::AUTHORIZATION, &format!("Bot {}", *self.token))).await?;
        if reply.header("x-ratelimit-remaining") == Some("0")
            && let Some(after) = reply.header("x-ratelimit-reset-after").and_then(seconds)
        {
            self.empty.put(&bucket, Instant::now() + after);
        }
        let (status, after) = (reply.status, reply.retry_after());
        let body = reply.json().await?;
        if status.is_success() {
            return Ok(body);
        }
        let after = body["retry_after"].as_f64().and_then(|s| seconds(&s.to_string())).or(after);
        Err(refused(status, after, body["message"].as_str().unwrap_or("")))
    }

    /// Brings a file from where Discord keeps files, without the credential.
    pub(super) async fn download(&self, url: &str, sink: &mut Sink) -> Result<(), String> {
        let url: Uri = url.parse().map_err(|_| "the file has no usable address")?;
        let known = url.scheme_str() == Some("https") && url.host().is_some_and(|host| FILES_AT.contains(&host));
        // A stand-in for Discord serves its files itself.
        if !known && !self.base.is_origin_of(&url) {
            return Err("the file lies where Discord keeps none".to_owned());
        }
        self.http.send(Ask::get(url)).await.map_err(|e| e.to_string())?.into_sink(sink).await
    }
}

/// What shares a limit: the path without its smaller ids.
fn bucket(path: &str) -> String {
    path.split('/')
        .enumerate()
        .map(|(n, part)| if n > 2 && part.bytes().all(|b| b.is_ascii_digit()) { "*" } else { part })
        .collect::<Vec<_>>()
        .join("/")
}

/// An id of Discord's: digits only, so that it can stand in a path.
pub(super) fn snowflake(id: &str) -> Result<&str, DeliverError> {
    let fine = (1..=20).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_digit());
    fine.then_some(id).ok_or_else(|| DeliverError::never("this is no id of Discord's"))
}
