//! What several platforms have in common when they are called: tokens that are drawn and end, a text that may come twice.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::StatusCode;
use serde_json::Value;
use tokio::sync::Mutex as AsyncMutex;
use wire::chat::Failing;
use zeroize::Zeroizing;

use crate::backoff::Trouble;
use crate::http::{Ask, Http};
use crate::network::DeliverError;

/// How long before its end a token is drawn anew, in milliseconds.
const EARLY_MS: i64 = 5 * 60 * 1_000;
/// The longest that a token is kept, in milliseconds, whatever the platform says.
const KEPT_MS_MAX: i64 = 24 * 60 * 60 * 1_000;

/// A token that the platform gives for some time.
#[derive(Default)]
pub(crate) struct Token {
    /// The token, and when it is drawn anew. Held while one is drawn, so that ten deliveries draw one.
    held: AsyncMutex<Option<(Zeroizing<String>, i64)>>,
}

impl Token {
    /// The token. `draw` gives a new one with the seconds that it is good for.
    pub(crate) async fn get<F>(&self, now_ms: i64, draw: impl FnOnce() -> F + Send) -> Result<Zeroizing<String>, DeliverError>
    where
        F: Future<Output = Result<(Zeroizing<String>, i64), DeliverError>> + Send,
    {
        let mut held = self.held.lock().await;
        if let Some((token, until)) = held.as_ref()
            && now_ms < *until
        {
            return Ok(token.clone());
        }
        let (token, good_s) = draw().await?;
        let kept = good_s.saturating_mul(1_000).clamp(0, KEPT_MS_MAX);
        *held = Some((token.clone(), now_ms + (kept - EARLY_MS).max(kept / 2)));
        Ok(token)
    }

    /// The platform did not take it: the next one is drawn anew.
    pub(crate) async fn forget(&self) {
        *self.held.lock().await = None;
    }
}

/// Sends a request and reads its answer as JSON, whatever its status.
pub(crate) async fn call(http: &Http, ask: Ask) -> Result<Called, DeliverError> {
    let reply = http.send(ask).await?;
    let (status, after) = (reply.status, reply.retry_after());
    let reset = reply
        .header("x-ratelimit-reset")
        .and_then(|at| at.parse::<i64>().ok())
        .filter(|_| reply.header("x-ratelimit-remaining") == Some("0"));
    let body = reply.json().await?;
    Ok(Called { status, after, reset, body })
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Called {
    /// The status.
    pub(crate) status: StatusCode,
    /// When to come again.
    pub(crate) after: Option<Duration>,
    /// The moment at which the platform takes requests again, as it writes it, when it takes no more until then.
    pub(crate) reset: Option<i64>,
    /// The body; null where it is none.
    pub(crate) body: Value,
}

impl Called {
    /// The body of a success; else what `said` finds in it as the platform's words.
    pub(crate) fn ok(self, said: impl FnOnce(&Value) -> String) -> Result<Value, DeliverError> {
        if self.status.is_success() { Ok(self.body) } else { Err(crate::http::refused(self.status, self.after, &said(&self.body))) }
    }
}

/// What a refusal means to somebody who listens.
pub(crate) fn trouble(error: DeliverError) -> Trouble {
    match error.why {
        Failing::Credential => Trouble::Credential(error.message),
        _ => Trouble::Passing(error.message, error.after),
    }
}

/// A text, marked where nobody knows whether it was sent before.
pub(crate) fn marked(text: &str, doubtful: bool) -> String {
    if doubtful { format!("(possibly sent twice)\n{text}") } else { text.to_owned() }
}

/// A map that forgets what was put first.
#[derive(Debug)]
pub(crate) struct Recent<V> {
    max: usize,
    /// Never held across an await.
    held: Mutex<(HashMap<String, V>, VecDeque<String>)>,
}

impl<V: Clone> Recent<V> {
    /// Of at most `max` entries.
    pub(crate) fn new(max: usize) -> Self {
        Self { max, held: Mutex::new((HashMap::new(), VecDeque::new())) }
    }

    /// Keeps a value.
    pub(crate) fn put(&self, key: &str, value: V) {
        let mut guard = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let (known, order) = &mut *guard;
        if known.insert(key.to_owned(), value).is_none() {
            order.push_back(key.to_owned());
        }
        if order.len() > self.max
            && let Some(oldest) = order.pop_front()
        {
            known.remove(&oldest);
        }
    }

    /// The value.
    pub(crate) fn get(&self, key: &str) -> Option<V> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).0.get(key).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_token_is_drawn_before_its_end_and_after_a_refusal() {
        let token = Token::default();
        let draw = |name: &'static str| move || async move { Ok((Zeroizing::new(name.to_owned()), 3_600)) };
        assert_eq!(*token.get(0, draw("a")).await.unwrap(), "a");
        assert_eq!(*token.get(3_299_999, draw("b")).await.unwrap(), "a");
        assert_eq!(*token.get(3_300_000, draw("b")).await.unwrap(), "b");
        token.forget().await;
        assert_eq!(*token.get(3_300_001, draw("c")).await.unwrap(), "c");
    }

    #[test]
    fn the_oldest_is_forgotten() {
        let recent = Recent::new(2);
        for (key, value) in [("a", 1), ("a", 2), ("b", 3), ("c", 4)] {
            recent.put(key, value);
        }
        assert_eq!((recent.get("a"), recent.get("b"), recent.get("c")), (None, Some(3), Some(4)));
    }
}
