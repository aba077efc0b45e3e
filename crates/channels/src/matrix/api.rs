//! The client-server interface.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::http::{Ask, Base, Http, HttpError, Reply, encode, refused};
use crate::network::{DeliverError, File};
use crate::reading;
use wire::chat::Failing;

/// The interface of one homeserver.
pub(super) struct Api {
    base: Base,
    http: Http,
    token: Zeroizing<String>,
}

impl Api {
    pub(super) fn new(base: Base, http: Http, token: Zeroizing<String>) -> Self {
        Self { base, http, token }
    }

    /// Asks for something that is no JSON.
    pub(super) async fn get(&self, path: &str) -> Result<Reply, HttpError> {
        self.http.send(Ask::get(self.base.at(path)?).bearer(&self.token)).await
    }

    /// Calls the interface.
    pub(super) async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, DeliverError> {
        let ask = Ask::new(method, self.base.at(path)?);
        self.send(if let Some(body) = body { ask.json(body) } else { ask }).await
    }

    /// Waits for news.
    pub(super) async fn sync(&self, path: &str, wait: Duration) -> Result<Value, DeliverError> {
        self.send(Ask::get(self.base.at(path)?).patience(wait + Duration::from_secs(30))).await
    }

    /// Brings a file there and gives its address.
    pub(super) async fn upload(&self, file: &File) -> Result<String, DeliverError> {
        let path = format!("/_matrix/media/v3/upload?filename={}", encode(file.name()));
        let ask = Ask::new(Method::POST, self.base.at(&path)?).body(file.mime(), file.bytes.clone()).patience(Duration::from_secs(120));
        let found = self.send(ask).await?;
        reading::id(&found["content_uri"]).ok_or_else(|| DeliverError::never("the homeserver does not say where the file is"))
    }

    async fn send(&self, ask: Ask) -> Result<Value, DeliverError> {
        let reply = self.http.send(ask.bearer(&self.token)).await?;
        let (status, after) = (reply.status, reply.retry_after());
        let body = reply.json().await?;
        if status.is_success() {
            return Ok(body);
        }
        let after = body["retry_after_ms"].as_u64().map(Duration::from_millis).or(after);
        let error = refused(status, after, &format!("{} {}", reading::name(&body["errcode"]), reading::name(&body["error"])));
        // A user who is locked or gone is known by the code, not the status.
        let credential =
            matches!(body["errcode"].as_str(), Some("M_UNKNOWN_TOKEN" | "M_MISSING_TOKEN" | "M_USER_DEACTIVATED" | "M_USER_LOCKED"));
        Err(if credential || body["soft_logout"] == json!(true) { DeliverError { why: Failing::Credential, ..error } } else { error })
    }
}
