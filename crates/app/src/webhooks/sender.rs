//! The task that sends what is owed.

use std::time::Duration;

use bytes::Bytes;
use gateway::egress::{Address, CourierError, Reach, Refusal};
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use model::Timestamp;
use store::{WEBHOOK_HOSTS_MAX, WebhookOutcome, WebhookRow, WebhookTried};
use tokio::sync::OwnedSemaphorePermit;
use zeroize::Zeroizing;

use super::{PURPOSE, SCOPE, SIGNATURE_HEADER, body, signature};
use crate::due::{RETRY, keep_looking};
use crate::live::lock;
use crate::{App, now};

/// Seconds between one try and the next: a delivery is tried twelve times within a day, and is dead after that.
const BACKOFF_S: [u64; 11] = [10, 30, 120, 300, 900, 1800, 3600, 7200, 14_400, 21_600, 28_800];
/// Deliveries to one host that are tried at once.
const HOST_MAX: usize = 4;
/// How much longer than its try a claim holds: for the database.
const CLAIM_SLACK: Duration = Duration::from_secs(30);
/// How often settled deliveries are looked through for those that go.
const FORGET_EVERY: Duration = Duration::from_secs(3600);
/// Characters of an answer that are kept to explain a failure.
const ANSWER_CHARS_MAX: usize = 200;

impl App {
    /// Sends what is owed, from now on.
    pub(crate) fn send_webhooks(&self) {
        self.until_the_end(|app| async move { app.keep_sending().await });
        self.until_the_end(|app| async move { app.keep_forgetting_webhooks().await });
    }

    async fn keep_sending(&self) {
        if let Err(error) = self.store().release_webhooks(now()).await {
            tracing::warn!(error = model::chain(&error), "webhooks that an earlier daemon tried wait for their time");
        }
        keep_looking("webhooks", &self.desk().wake, || self.send_due()).await;
    }

    /// Begins to send what is due and has a place. Returns when there is more to do, if that can be told.
    async fn send_due(&self) -> Result<Option<Timestamp>, store::StoreError> {
        loop {
            let room = self.desk().places.available_permits();
            if room == 0 {
                // Whoever gives a place back wakes this task.
                return Ok(None);
            }
            let timeout = self.settings().webhooks.timeout;
            let at = now();
            let busy = self.busy_hosts();
            // What is due now may wait for its host: the end of a delivery wakes this task.
            let is_held = !busy.is_empty();
            let next = self.store().next_webhook().await?;
            if next.is_none_or(|next| next > at) {
                return Ok(next);
            }
            let rows = self.store().claim_webhooks(room.min(HOST_MAX), busy, at, after(at, timeout + CLAIM_SLACK)).await?;
            if rows.is_empty() {
                return Ok((!is_held).then(|| after(at, RETRY)));
            }
            for row in rows {
                let Ok(place) = std::sync::Arc::clone(&self.desk().places).try_acquire_owned() else { break };
                lock(&self.desk().busy).push(row.host.clone());
                let app = self.clone();
                self.spawn(async move { app.deliver(row, place).await });
            }
        }
    }

    /// The hosts that have all the deliveries that they may have at once.
    fn busy_hosts(&self) -> Vec<String> {
        let busy = lock(&self.desk().busy);
        let mut full: Vec<String> =
            busy.iter().filter(|host| busy.iter().filter(|other| other == host).count() >= HOST_MAX).cloned().collect();
        full.sort();
        full.dedup();
        full.truncate(WEBHOOK_HOSTS_MAX);
        full
    }

    async fn deliver(&self, row: WebhookRow, place: OwnedSemaphorePermit) {
        let (id, host) = (row.id.clone(), row.host.clone());
        let cancel = self.cancel().clone();
        tokio::select! {
            // The claim lapses, and the next daemon tries again.
            () = cancel.cancelled() => {}
            () = self.try_once(row) => {}
        }
        tracing::debug!(webhook = %id, "a try of a webhook is over");
        let mut busy = lock(&self.desk().busy);
        if let Some(at) = busy.iter().position(|other| *other == host) {
            busy.swap_remove(at);
        }
        drop((busy, place));
        self.wake_webhooks();
    }

    async fn try_once(&self, row: WebhookRow) {
        model::crash::point("webhook:claimed");
        let began = now();
        let sent = self.send(&row).await;
        model::crash::point("webhook:sent");
        let at = now();
        let (status, error, outcome) = match sent {
            Ok(status) if status.is_success() => (Some(status.as_u16()), None, WebhookOutcome::Sent),
            Ok(status) => (Some(status.as_u16()), Some(told(status)), after_failure(&row, Some(status), at)),
            Err(Unsent::Never(why)) => (None, Some(why), WebhookOutcome::Dead),
            Err(Unsent::Now(why)) => (None, Some(why), after_failure(&row, None, at)),
        };
        self.traces().webhook_tried(&row, began, at, outcome == WebhookOutcome::Sent);
        self.metrics().webhook_tried(match outcome {
            WebhookOutcome::Sent => "sent",
            WebhookOutcome::Again(_) => "again",
            WebhookOutcome::Dead => "dead",
        });
        if let (WebhookOutcome::Dead, Some(why)) = (&outcome, &error) {
            tracing::warn!(webhook = %row.id, job = row.job, why, "a webhook is given up");
        }
        let error = error.map(|text| self.secrets().clean(text));
        let tried = WebhookTried { id: row.id.clone(), claim: row.claim, status, error, outcome, now: at };
        if let Err(error) = self.store().webhook_tried(tried).await {
            tracing::warn!(webhook = %row.id, error = model::chain(&error), "the outcome of a webhook was not kept: it is sent again");
        }
    }

    async fn send(&self, row: &WebhookRow) -> Result<StatusCode, Unsent> {
        let settings = self.settings();
        let address = Address::parse(&row.url).map_err(|e| Unsent::Never(e.to_string()))?;
        let body = self.body_of(row).await?;
        let secret = self.signs_with(row).await?;
        let trace = self.traces().of_webhook(row);
        let fields =
            fields(row, trace.map(|trace| trace.to_string()), secret.as_ref().map(|secret| signature(secret, now().0 / 1000, &body)));
        let reach = Reach::Open(settings.webhooks.private_ok.clone());
        let courier = self.desk().courier(settings.egress.extra_roots.clone());
        match courier.post(&address, &reach, fields, body, settings.webhooks.timeout).await {
            Ok(answer) => {
                if !answer.status.is_success() {
                    let text: String = String::from_utf8_lossy(&answer.body).chars().take(ANSWER_CHARS_MAX).collect();
                    tracing::debug!(webhook = %row.id, status = answer.status.as_u16(), text, "a webhook was not taken");
                }
                Ok(answer.status)
            }
            // Whose name leads to a private address now may have done so to find out what answers there.
            Err(CourierError::Refused(refusal @ Refusal::Address { .. })) => Err(Unsent::Never(refusal.to_string())),
            Err(error) => Err(Unsent::Now(error.to_string())),
        }
    }

    /// What is sent; the same in every try.
    async fn body_of(&self, row: &WebhookRow) -> Result<Bytes, Unsent> {
        if let Some(body) = &row.body {
            return Ok(Bytes::from(body.clone()));
        }
        let failed = |why: String| Unsent::Now(format!("what it tells could not be read: {why}"));
        let body = body::made(self, row).await.map_err(|e| failed(e.to_string()))?;
        self.store().keep_webhook_body(&row.id, body.clone()).await.map_err(|e| failed(e.to_string()))?;
        Ok(Bytes::from(body))
    }

    /// What it is signed with: the job's own secret, else the tenant's, if it has one.
    async fn signs_with(&self, row: &WebhookRow) -> Result<Option<Zeroizing<String>>, Unsent> {
        let failed = |e: store::SecretsError| Unsent::Now(format!("the secret that signs it could not be read: {e}"));
        let vault = self.secrets().vault();
        if let Some(sealed) = &row.secret {
            return vault.unseal(PURPOSE, sealed).map(Some).map_err(failed);
        }
        match vault.get(&row.tenant, SCOPE).await {
            Ok(secret) => Ok(Some(secret)),
            Err(store::SecretsError::NotFound { .. }) => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    async fn keep_forgetting_webhooks(&self) {
        loop {
            let before = before(now(), self.settings().webhooks.keep);
            loop {
                match self.store().forget_webhooks(before).await {
                    Ok(gone) if gone == store::WEBHOOKS_AT_ONCE => {}
                    Ok(_) => break,
                    Err(error) => {
                        tracing::warn!(error = model::chain(&error), "old webhooks were not removed");
                        break;
                    }
                }
            }
            tokio::time::sleep(FORGET_EVERY).await;
        }
    }
}

/// Why a delivery was not answered.
enum Unsent {
    /// Another try may go better.
    Now(String),
    /// None will.
    Never(String),
}

fn told(status: StatusCode) -> String {
    if status.is_redirection() {
        return format!("the answer was {}: redirects are not followed", status.as_u16());
    }
    format!("the answer was {}", status.as_u16())
}

/// When it is tried again, if it is.
fn after_failure(row: &WebhookRow, status: Option<StatusCode>, at: Timestamp) -> WebhookOutcome {
    let tries = row.tries.saturating_sub(row.tries_before).max(1) as usize;
    match BACKOFF_S.get(tries - 1) {
        // Whoever says that it is gone for good means it.
        Some(seconds) if status != Some(StatusCode::GONE) => WebhookOutcome::Again(Timestamp(at.0.saturating_add(spread(row, *seconds)))),
        _ => WebhookOutcome::Dead,
    }
}

/// Milliseconds: up to a tenth more, so that what failed together is not tried together again.
fn spread(row: &WebhookRow, seconds: u64) -> u64 {
    let mark = row.id.as_str().bytes().fold(u64::from(row.tries), |mark, byte| mark.wrapping_mul(31).wrapping_add(u64::from(byte)));
    seconds * 1000 + mark % (seconds * 100)
}

fn fields(row: &WebhookRow, trace: Option<String>, signature: Option<String>) -> HeaderMap {
    let mut fields = HeaderMap::new();
    let mut put = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            fields.insert(name, value);
        }
    };
    put(CONTENT_TYPE, "application/json");
    put(USER_AGENT, concat!("lazaret/", env!("CARGO_PKG_VERSION")));
    put(HeaderName::from_static("x-lazaret-delivery"), row.id.as_str());
    put(HeaderName::from_static("x-lazaret-event"), &row.event);
    put(HeaderName::from_static("x-lazaret-attempt"), &row.tries.to_string());
    if let Some(trace) = trace {
        put(HeaderName::from_static("traceparent"), &trace);
    }
    if let Some(signature) = signature {
        put(HeaderName::from_static(SIGNATURE_HEADER), &signature);
    }
    fields
}

fn after(at: Timestamp, time: Duration) -> Timestamp {
    Timestamp(at.0.saturating_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)))
}

fn before(at: Timestamp, time: Duration) -> Timestamp {
    Timestamp(at.0.saturating_sub(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(tries: u32, tries_before: u32) -> WebhookRow {
        WebhookRow {
            id: model::WebhookId::from_bits(7),
            tenant: "default".to_owned(),
            job: "a-000000000001".to_owned(),
            event: "job.completed".to_owned(),
            url: "https://hooks.example/in".to_owned(),
            host: "hooks.example".to_owned(),
            secret: None,
            traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
            body: None,
            state: "pending".to_owned(),
            tries,
            tries_before,
            due: Timestamp(0),
            claim: 1,
            created: Timestamp(0),
            begun: Timestamp(0),
            tried: None,
            settled: None,
            status: None,
            error: None,
        }
    }

    #[test]
    fn tries_go_on_for_a_day_and_then_end() {
        let (mut at, mut tries) = (Timestamp(0), 1);
        loop {
            match after_failure(&row(tries, 0), None, at) {
                WebhookOutcome::Again(next) => (at, tries) = (next, tries + 1),
                outcome => break assert_eq!(outcome, WebhookOutcome::Dead),
            }
        }
        let hours = at.0 / 3_600_000;
        assert!((20..=24).contains(&hours) && tries == 12, "{hours} h, {tries} tries");
        // One that somebody asked for again begins anew.
        assert!(matches!(after_failure(&row(13, 12), None, at), WebhookOutcome::Again(_)));
        assert_eq!(after_failure(&row(1, 0), Some(StatusCode::GONE), at), WebhookOutcome::Dead);
        assert!(matches!(after_failure(&row(1, 0), Some(StatusCode::NOT_FOUND), at), WebhookOutcome::Again(_)));
    }

    #[test]
    fn no_field_can_be_slipped_in() {
        let hostile = row(1, 0);
        let fields = fields(&hostile, Some("00-x\r\nx-evil: 1".to_owned()), None);
        assert!(!fields.contains_key("traceparent") && !fields.contains_key("x-evil") && !fields.contains_key(SIGNATURE_HEADER));
        assert_eq!(fields["x-lazaret-delivery"], hostile.id.as_str());
    }
}
