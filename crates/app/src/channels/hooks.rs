//! Requests that platforms send: handed to the channel as they come, answered by it after what they caused is durable.

use std::time::Duration;

use model::{Code, Failure};
use store::StoreError;
use tokio::sync::oneshot;
use wire::chat::About;

use super::Order;
use crate::App;

/// Bytes of the body of such a request.
pub const HOOK_BODY_BYTES_MAX: usize = 700 << 10;
/// Bytes of its headers and path.
const HOOK_HEAD_BYTES_MAX: usize = 32 << 10;
/// How long its answer is waited for.
const HOOK_WAIT: Duration = Duration::from_secs(20);
/// Bytes of a header of the answer.
const ANSWER_HEADER_BYTES_MAX: usize = 4096;

/// A request for a channel, as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookRequest {
    /// `GET` or `POST`.
    pub method: String,
    /// What stands behind the channel's own path, with the query.
    pub path: String,
    /// Names in lower case, in the order they came.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// What the channel answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookAnswer {
    /// An HTTP status.
    pub status: u16,
    /// Its headers: those that no browser acts upon.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// How long a network may take to find a direct chat.
const DM_WAIT: Duration = Duration::from_secs(20);

impl App {
    /// The direct chat with somebody, where their network can find it; it is kept.
    pub(crate) async fn open_dm(&self, channel: &str, handle: &str) -> Option<String> {
        let desk = self.board().desk(channel)?;
        let (answer, answered) = oneshot::channel();
        desk.order(Order::OpenDm { handle: handle.to_owned(), answer }).ok()?;
        let chat = tokio::time::timeout(DM_WAIT, answered).await.ok()?.ok()?.ok()?;
        if chat.group || chat.id.is_empty() {
            return None;
        }
        self.store().keep_dm(channel, handle, &chat.id).await.ok()?;
        Some(chat.id)
    }

    /// Hands a request to a channel and waits for its answer. Whoever sent it has shown no token: the channel checks the signature.
    ///
    /// # Errors
    /// There is no such channel, it takes none, or it does not run (`BUSY`: the platform sends it again).
    pub async fn hook(&self, channel: &str, request: HookRequest) -> Result<HookAnswer, Failure> {
        let nothing = || Failure::new(Code::NotFound, "there is nothing at this address");
        let busy = || Failure::new(Code::Busy, "the channel does not answer just now");
        let head: usize = request.path.len() + request.headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        if request.body.len() > HOOK_BODY_BYTES_MAX || head > HOOK_HEAD_BYTES_MAX {
            return Err(Failure::new(Code::TooLarge, "the request is longer than is taken"));
        }
        let row = self.store().channel(channel).await.map_err(|error| match error {
            StoreError::NotFound { .. } => nothing(),
            // Who is told that there is nothing may never ask again, and what was said is lost.
            error => {
                tracing::warn!(channel, error = model::chain(&error), "a request of a platform waits for the store");
                busy()
            }
        })?;
        let about: About = serde_json::from_value(row.about).map_err(|_| nothing())?;
        if !about.webhooks || !row.is_on {
            return Err(nothing());
        }
        let desk = self.board().desk(channel).ok_or_else(busy)?;
        let (answer, answered) = oneshot::channel();
        desk.order(Order::Webhook(request, answer)).map_err(|_| busy())?;
        let mut answer = tokio::time::timeout(HOOK_WAIT, answered).await.map_err(|_| busy())?.map_err(|_| busy())?;
        if !(200..=599).contains(&answer.status) {
            return Err(busy());
        }
        // An address of ours says nothing that a browser would run or keep.
        let plain = |name: &str| matches!(name, "content-type" | "x-hook-secret" | "retry-after" | "allow");
        answer.headers.retain(|(name, value)| plain(&name.to_ascii_lowercase()) && value.len() <= ANSWER_HEADER_BYTES_MAX);
        Ok(answer)
    }
}
