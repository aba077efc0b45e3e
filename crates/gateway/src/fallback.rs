//! Who is asked when the one before does not answer: providers of one family, in the order that the host gave.
//!
//! Another one is asked only as long as nothing of an answer went to the caller. What counts as no answer: a provider that
//! cannot be reached, is too slow to begin, fails (5xx), stays too busy (429, 529), breaks off or reports an error before the first
//! piece; and a budget that does not cover the call. A request that is refused as wrong, or a key that is, is the caller's to hear of.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use model::Code;
use tokio::time::Instant;

use crate::refusal::Refusal;
use crate::route::{Action, Route};
use crate::upstream::Provider;
use crate::{Identity, Kind, Wire};

/// Providers that are asked for one call.
pub const TARGETS_MAX: usize = 8;
/// How long a busy provider may have a call wait before another one is asked: beyond it, at once.
const BUSY_WAIT_MAX: Duration = Duration::from_secs(5);
/// How long it waits when the provider does not say.
const BUSY_WAIT: Duration = Duration::from_secs(1);
/// How long a provider that was too slow is left alone where there is another one.
const REST: Duration = Duration::from_secs(60);

/// One that may be asked.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) provider: Arc<Provider>,
    /// The model that is asked for there; `None` leaves the one of the request.
    pub(crate) model: Option<String>,
    /// Whether there is nobody after it.
    pub(crate) is_last: bool,
}

impl Target {
    /// How it is called in logs.
    pub(crate) fn name(&self) -> String {
        match &self.model {
            Some(model) => format!("{}/{model}", self.provider.name),
            None => self.provider.name.clone(),
        }
    }

    /// Where a call goes there: the model may stand in the path.
    pub(crate) fn route(&self, route: &Route) -> Route {
        let (Some(model), Some(_)) = (&self.model, &route.model) else { return route.clone() };
        let verb = route.tail.rsplit_once(':').map_or("", |(_, verb)| verb);
        Route { tail: format!("/models/{model}:{verb}"), model: Some(model.clone()), ..route.clone() }
    }
}

/// Everybody who is asked for a call, in order: `first`, and those of the host's list that speak its API.
pub(crate) fn targets(
    first: &Arc<Provider>,
    identity: &Identity,
    providers: &HashMap<String, Arc<Provider>>,
    route: &Route,
) -> Vec<Target> {
    let mut all = vec![Target { provider: first.clone(), model: None, is_last: false }];
    if matches!(route.action, Action::Generate(_)) {
        let further = identity.fallback.iter().filter_map(|fallback| {
            let provider = providers.get(&fallback.provider).filter(|provider| route.suits(provider.kind))?;
            Some(Target { provider: provider.clone(), model: fallback.model.clone(), is_last: false })
        });
        all.extend(further.take(TARGETS_MAX - 1));
    }
    if let Some(last) = all.last_mut() {
        last.is_last = true;
    }
    all
}

/// Whether another one is asked after this status.
pub(crate) fn is_outage(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500..)
}

/// Whether another one is asked after this refusal.
pub(crate) fn falls_back(refusal: &Refusal) -> bool {
    matches!(refusal.code, Code::ProviderDown | Code::ProviderLimited | Code::StreamCut | Code::Timeout | Code::BudgetExceeded)
        || (refusal.code == Code::ProviderError && is_outage(refusal.status))
}

/// How long a busy provider asks to be left alone, when that is worth waiting for.
pub(crate) fn worth_waiting(status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
    if !matches!(status.as_u16(), 429 | 529) {
        return None;
    }
    let number = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).and_then(|v| v.trim().parse::<u64>().ok());
    let wait = match (number("retry-after-ms"), number(header::RETRY_AFTER.as_str())) {
        (Some(ms), _) => Duration::from_millis(ms),
        (None, Some(s)) => Duration::from_secs(s),
        (None, None) => BUSY_WAIT,
    };
    (wait <= BUSY_WAIT_MAX).then_some(wait)
}

/// Whether the first piece of an answer is the report of an error.
pub(crate) fn is_error(wire: Wire, first: &Bytes) -> bool {
    let head = &first[..first.len().min(256)];
    let text = String::from_utf8_lossy(head);
    let text = text.trim_start();
    let data = text.strip_prefix("data:").map_or(text, str::trim_start);
    match wire.kind() {
        Kind::Anthropic => text.starts_with("event: error") || data.starts_with("{\"type\":\"error\""),
        Kind::OpenAi | Kind::Gemini => text.starts_with("event: error") || data.starts_with("{\"error\":{"),
    }
}

/// Providers that were too slow a moment ago.
#[derive(Default)]
pub(crate) struct Resting {
    /// Until when each is left alone; as many as there are providers. Held for single map operations.
    until: Mutex<HashMap<String, Instant>>,
}

impl Resting {
    /// Leaves a provider alone for a while.
    pub(crate) fn rest(&self, provider: &str) {
        self.until.lock().unwrap_or_else(PoisonError::into_inner).insert(provider.to_owned(), Instant::now() + REST);
    }

    /// Whether it is to be left alone.
    pub(crate) fn is_resting(&self, provider: &str) -> bool {
        self.until.lock().unwrap_or_else(PoisonError::into_inner).get(provider).is_some_and(|until| *until > Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_provider_is_waited_for_a_little() {
        let wait = |status: u16, name: &'static str, value: &'static str| {
            let headers = HeaderMap::from_iter([(http::HeaderName::from_static(name), http::HeaderValue::from_static(value))]);
            worth_waiting(StatusCode::from_u16(status).expect("a status"), &headers)
        };
        assert_eq!(wait(429, "retry-after", "2"), Some(Duration::from_secs(2)));
        assert_eq!(wait(529, "retry-after-ms", "40"), Some(Duration::from_millis(40)));
        assert_eq!(wait(429, "retry-after", "60"), None, "another one is asked at once");
        assert_eq!(wait(429, "x", "y"), Some(BUSY_WAIT));
        assert_eq!(wait(503, "retry-after", "1"), None);
    }

    #[test]
    fn an_error_at_the_beginning_is_seen() {
        let is = |wire, text: &'static str| is_error(wire, &Bytes::from_static(text.as_bytes()));
        assert!(is(Wire::Messages, "event: error\ndata: {}\n\n"));
        assert!(is(Wire::Messages, "{\"type\":\"error\",\"error\":{}}"));
        assert!(is(Wire::Chat, "data: {\"error\":{\"message\":\"overloaded\"}}\n\n"));
        assert!(is(Wire::Generate, " {\"error\":{\"code\":503}}"));
        assert!(!is(Wire::Messages, "event: message_start\ndata: {\"type\":\"message_start\"}\n\n"));
        assert!(!is(Wire::Chat, "data: {\"id\":\"x\",\"choices\":[{\"delta\":{\"content\":\"{\\\"error\\\":{\"}}]}\n\n"));
    }
}
