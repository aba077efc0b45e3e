//! Webhooks as people see them.

use model::{Code, Failure, IdError, Timestamp, WebhookId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::{Page, StoreError, WebhookFilter, WebhookRow};
use zeroize::Zeroizing;

use super::SCOPE;
use crate::{App, Caller, now};

/// Entries of a page when nothing is said.
const PAGE: usize = 50;
/// Entries of a page at most.
const PAGE_MAX: usize = 200;
/// Bytes of a secret.
const SECRET_BYTES: (usize, usize) = (8, 256);
/// Random bytes of a secret that nobody chose.
const FRESH_BYTES: usize = 32;
/// What such a secret begins with.
const PREFIX: &str = "whsec_";
/// How a delivery can stand.
const STATES: [&str; 3] = ["pending", "sent", "dead"];

/// A delivery as it is shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct WebhookView {
    /// Its identity; the same in every try, and in the field `x-lazaret-delivery`.
    pub id: WebhookId,
    /// The job whose end it tells.
    pub job: String,
    /// `job.completed`, `job.failed` or `job.cancelled`.
    pub event: String,
    /// Where it goes.
    pub url: String,
    /// `pending`, `sent` or `dead`.
    pub status: String,
    /// How often it was tried.
    pub tries: u32,
    /// When it became owed.
    pub created: Timestamp,
    /// When it was last tried.
    pub tried: Option<Timestamp>,
    /// When it is tried next.
    pub next: Option<Timestamp>,
    /// When it was sent or given up.
    pub settled: Option<Timestamp>,
    /// The status of the last answer.
    pub response: Option<u16>,
    /// Why the last try failed.
    pub error: Option<String>,
    /// What is sent. Only when a single one is asked for, and after its first try.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
}

impl From<WebhookRow> for WebhookView {
    fn from(row: WebhookRow) -> Self {
        let is_pending = row.settled.is_none();
        Self {
            id: row.id,
            job: row.job,
            event: row.event,
            url: row.url,
            status: row.state,
            tries: row.tries,
            created: row.created,
            tried: row.tried,
            next: is_pending.then_some(row.due),
            settled: row.settled,
            response: row.status,
            error: row.error,
            body: row.body.and_then(|bytes| serde_json::from_slice(&bytes).ok()),
        }
    }
}

/// Which deliveries to list, the youngest first.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WebhookQuery {
    /// `pending`, `sent` or `dead`.
    pub status: Option<String>,
    /// Those of this job.
    pub job: Option<String>,
    /// The cursor of an earlier page.
    pub after: Option<String>,
    /// Entries in a page: 1 to 200; 50 when left out.
    pub limit: Option<usize>,
}

/// What webhooks are signed with from now on.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WebhookSecretForm {
    /// From 8 to 256 bytes; a fresh one is made when left out.
    pub secret: Option<String>,
}

/// A secret that was set.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
pub struct WebhookSecretView {
    /// The tenant whose webhooks it signs.
    pub tenant: String,
    /// The secret, this once, when it was made here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

/// The webhooks that a caller sees.
pub struct WebhooksOf<'a> {
    pub(crate) app: &'a App,
    pub(crate) caller: Caller,
}

impl WebhooksOf<'_> {
    /// A page of deliveries.
    ///
    /// # Errors
    /// The status or cursor is none, or the store cannot be read.
    pub async fn list(&self, query: WebhookQuery) -> Result<Page<WebhookView>, Failure> {
        let wrong = |field: &str, why: &str| Failure::new(Code::Usage, why).field(field);
        if query.status.as_deref().is_some_and(|status| !STATES.contains(&status)) {
            return Err(wrong("status", "a status is pending, sent or dead"));
        }
        let after = query.after.as_deref().map(str::parse).transpose();
        let after = after.map_err(|_: IdError| wrong("after", "this is no cursor of an earlier page"))?;
        let limit = query.limit.unwrap_or(PAGE);
        if !(1..=PAGE_MAX).contains(&limit) {
            return Err(wrong("limit", "a page has 1 to 200 entries"));
        }
        let filter = WebhookFilter { tenant: self.caller.tenant.clone(), state: query.status, job: query.job };
        let page = self.app.store().list_webhooks(filter, after, limit).await.map_err(|e| e.failure())?;
        Ok(Page { items: page.items.into_iter().map(WebhookView::from).collect(), next: page.next })
    }

    /// One delivery, with what it sends.
    ///
    /// # Errors
    /// There is none of this identity.
    pub async fn show(&self, id: &str) -> Result<WebhookView, Failure> {
        self.row(id).await.map(WebhookView::from)
    }

    /// Owes a delivery that was sent or given up once more.
    ///
    /// # Errors
    /// There is none, or it is still on its way.
    pub async fn resend(&self, id: &str) -> Result<WebhookView, Failure> {
        let id = self.row(id).await?.id;
        let row = self.app.store().resend_webhook(&id, now()).await.map_err(|e| e.failure())?;
        self.app.wake_webhooks();
        Ok(row.into())
    }

    /// Sets what the tenant's webhooks are signed with, where a job has no secret of its own.
    ///
    /// # Errors
    /// It is too short or too long, or the store cannot be written.
    pub async fn set_secret(&self, form: WebhookSecretForm) -> Result<WebhookSecretView, Failure> {
        let tenant = self.caller.makes_for().to_owned();
        let (secret, is_fresh) = match form.secret {
            Some(secret) => {
                check_secret(&secret, "secret")?;
                (Zeroizing::new(secret), false)
            }
            None => (Zeroizing::new(fresh()?), true),
        };
        let shown = is_fresh.then(|| secret.to_string());
        self.app.secrets().vault().set(&tenant, SCOPE, secret, now()).await.map_err(|e| e.failure())?;
        Ok(WebhookSecretView { tenant, secret: shown })
    }

    /// Forgets the tenant's secret: webhooks go unsigned, but for jobs with one of their own.
    ///
    /// # Errors
    /// There is none.
    pub async fn remove_secret(&self) -> Result<(), Failure> {
        self.app.secrets().vault().remove(self.caller.makes_for(), SCOPE).await.map_err(|e| e.failure())
    }

    async fn row(&self, id: &str) -> Result<WebhookRow, Failure> {
        let id: WebhookId = id.parse().map_err(|e: IdError| Failure::new(Code::NotFound, e.to_string()).field("webhook"))?;
        let row = self.app.store().webhook(&id).await.map_err(|e| e.failure())?;
        if self.caller.sees(&row.tenant) {
            return Ok(row);
        }
        Err(StoreError::NotFound { what: "webhook", id: id.to_string() }.failure())
    }
}

/// A secret that can be guessed signs nothing.
pub(super) fn check_secret(secret: &str, field: &str) -> Result<(), Failure> {
    let (least, most) = SECRET_BYTES;
    if (least..=most).contains(&secret.len()) && !secret.chars().any(char::is_control) {
        return Ok(());
    }
    Err(Failure::new(Code::Usage, format!("{field}: what webhooks are signed with has {least} to {most} bytes and no control characters"))
        .field(field))
}

fn fresh() -> Result<String, Failure> {
    let mut bytes = Zeroizing::new([0u8; FRESH_BYTES]);
    getrandom::fill(&mut *bytes).map_err(|e| Failure::new(Code::Internal, format!("there are no random numbers: {e}")))?;
    Ok(bytes.iter().fold(PREFIX.to_owned(), |text, byte| text + &format!("{byte:02x}")))
}
