//! Slack's Web API: methods, files, looking a message up.

use std::time::Duration;

use http::Uri;
use serde_json::{Value, json};
use wire::chat::Failing;
use zeroize::Zeroizing;

use crate::http::{Ask, Base, Http, refused};
use crate::network::{DeliverError, File};
use crate::reading;
use crate::sink::Sink;

/// The kind of the metadata that names a step.
pub(super) const STEP: &str = "lazaret_step";
/// Messages among which a step is looked for.
const LOOKED_AT: u32 = 100;
/// Where Slack keeps files.
const FILES_AT: &str = "files.slack.com";

/// The interface.
pub(super) struct Api {
    base: Base,
    http: Http,
    token: Zeroizing<String>,
}

impl Api {
    pub(super) fn new(base: Base, http: Http, token: Zeroizing<String>) -> Self {
        Self { base, http, token }
    }

    pub(super) fn http(&self) -> &Http {
        &self.http
    }

    /// The address of a method.
    pub(super) fn at(&self, path: &str) -> Result<Uri, crate::http::HttpError> {
        self.base.at(path)
    }

    /// Calls a method with the bot's token.
    pub(super) async fn call(&self, method: &str, body: &Value) -> Result<Value, DeliverError> {
        let ask = Ask::post(self.base.at(&format!("/{method}"))?, body);
        self.send(ask, &self.token).await
    }

    /// Sends a request; what Slack refuses it says with status 200.
    pub(super) async fn send(&self, ask: Ask, token: &str) -> Result<Value, DeliverError> {
        let reply = self.http.send(ask.bearer(token)).await?;
        let (status, after) = (reply.status, reply.retry_after());
        let body = reply.json().await?;
        if !status.is_success() {
            return Err(refused(status, after, ""));
        }
        if body["ok"] == true {
            return Ok(body);
        }
        let said = reading::name(&body["error"]);
        let why = match said.as_str() {
            "invalid_auth" | "not_authed" | "account_inactive" | "token_revoked" | "token_expired" | "org_login_required" => {
                Failing::Credential
            }
            "ratelimited" | "rate_limited" => Failing::Rate,
            "internal_error" | "fatal_error" | "service_unavailable" | "request_timeout" | "team_added_to_org" => Failing::Passing,
            "" => Failing::Unknown,
            _ => Failing::Final,
        };
        Err(DeliverError::new(why, format!("Slack answered: {said}")).after(after))
    }

    /// The message that a step became, if it did.
    pub(super) async fn find(&self, chat: &str, thread: Option<&str>, key: &str) -> Result<Option<String>, DeliverError> {
        let limit = LOOKED_AT.to_string();
        let mut form = vec![("channel", chat), ("limit", limit.as_str()), ("include_all_metadata", "true")];
        let method = if let Some(thread) = thread {
            form.push(("ts", thread));
            "/conversations.replies"
        } else {
            "/conversations.history"
        };
        let ask = Ask::new(http::Method::POST, self.base.at(method)?).form(&form);
        // Without a look nothing is sent: it would be sent twice. The host asks again.
        let found = self.send(ask, &self.token).await.map_err(|e| DeliverError { why: Failing::Unknown, ..e })?;
        let is_it = |m: &&Value| m["metadata"]["event_type"] == STEP && m["metadata"]["event_payload"]["key"] == key;
        Ok(found["messages"].as_array().and_then(|all| all.iter().find(is_it)).and_then(|m| reading::id(&m["ts"])))
    }

    /// Sends a file in Slack's three steps and gives its id. Nothing is shown before the last.
    pub(super) async fn upload(&self, chat: &str, thread: Option<&str>, file: &File, doubtful: bool) -> Result<String, DeliverError> {
        let length = file.bytes.len().to_string();
        let ask = Ask::new(http::Method::POST, self.base.at("/files.getUploadURLExternal")?);
        let given = self.send(ask.form(&[("filename", file.name()), ("length", &length)]), &self.token).await?;
        let url: Uri = given["upload_url"]
            .as_str()
            .and_then(|url| url.parse().ok())
            .ok_or_else(|| DeliverError::never("Slack names no place for the file"))?;
        let id = reading::id(&given["file_id"]).ok_or_else(|| DeliverError::never("Slack names no file"))?;
        if !self.is_slacks(&url) {
            return Err(DeliverError::never("the file would go where Slack keeps none"));
        }
        let ask = Ask::new(http::Method::POST, url).body("application/octet-stream", file.bytes.clone()).patience(Duration::from_secs(120));
        let put = self.http.send(ask).await.map_err(|e| DeliverError { why: Failing::Passing, ..e.into() })?;
        if !put.status.is_success() {
            return Err(DeliverError { why: Failing::Passing, ..refused(put.status, put.retry_after(), "") });
        }
        let mut body = json!({"files": [{"id": id, "title": file.name()}], "channel_id": chat});
        if let Some(thread) = thread {
            body["thread_ts"] = json!(thread);
        }
        if doubtful {
            body["initial_comment"] = json!("(possibly sent twice)");
        }
        self.call("files.completeUploadExternal", &body).await?;
        Ok(id)
    }

    /// Brings a file by its id. Slack wants the token for it, so it goes to Slack's own places only.
    pub(super) async fn download(&self, file: &str, sink: &mut Sink) -> Result<(), String> {
        let ask = Ask::new(http::Method::POST, self.base.at("/files.info").map_err(|e| e.to_string())?);
        let found = self.send(ask.form(&[("file", file)]), &self.token).await.map_err(|e| e.to_string())?;
        let url = found["file"]["url_private_download"].as_str().or_else(|| found["file"]["url_private"].as_str());
        let url: Uri = url.and_then(|url| url.parse().ok()).ok_or("Slack names no place for the file")?;
        if !self.is_slacks(&url) {
            return Err("the file lies where Slack keeps none".to_owned());
        }
        let reply = self.http.send(Ask::get(url).bearer(&self.token)).await.map_err(|e| e.to_string())?;
        reply.into_sink(sink).await
    }

    fn is_slacks(&self, url: &Uri) -> bool {
        let host = url.host().unwrap_or_default();
        (url.scheme_str() == Some("https") && (host == FILES_AT || host == "slack.com")) || self.base.is_origin_of(url)
    }
}
