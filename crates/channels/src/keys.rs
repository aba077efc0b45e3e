//! The published keys of a platform: fetched, kept for a day, and fetched again when a token names one that is not known.

use http::Uri;
use serde_json::Value;
use tokio::sync::Mutex as AsyncMutex;
use wire::chat::Failing;

use crate::calls::call;
use crate::clock::now_ms;
use crate::http::{Ask, Base, Http};
use crate::jwt::{Jwks, JwtError, Rules};
use crate::network::DeliverError;

/// How long keys are good, in milliseconds.
const KEPT_MS: i64 = 24 * 60 * 60 * 1_000;
/// How soon keys are fetched again for a token with an unknown one, in milliseconds: anybody can send such a token.
const AGAIN_MS: i64 = 60 * 1_000;

/// How soon keys are fetched again after that failed, in milliseconds.
const FAILED_MS: i64 = 5 * 1_000;

/// Why a token was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeysError {
    /// It is not good.
    #[error(transparent)]
    Token(#[from] JwtError),
    /// The keys cannot be had now: nobody knows.
    #[error("fetch the platform's keys: {0}")]
    Fetch(#[from] DeliverError),
}

/// Where the keys are.
#[derive(Debug)]
pub(crate) enum Place {
    /// The key set itself.
    Keys(Uri),
    /// A description (OpenID) of the same server that names the key set.
    OpenId(Uri),
}

/// The keys of a platform.
pub(crate) struct Keys {
    http: Http,
    place: Place,
    /// Held while keys are fetched, so that many tokens fetch them once.
    held: AsyncMutex<Held>,
}

/// What is known of the keys.
#[derive(Default)]
struct Held {
    /// The keys, and when they came.
    keys: Option<(Jwks, i64)>,
    /// When they could last not be had.
    failed: Option<i64>,
}

impl Keys {
    /// Keys that are fetched when the first token comes.
    pub(crate) fn new(http: Http, place: Place) -> Self {
        Self { http, place, held: AsyncMutex::default() }
    }

    /// Checks a token. Gives its claims, and what its key may speak for.
    pub(crate) async fn check(&self, token: &str, rules: &Rules<'_>) -> Result<(Value, Vec<String>), KeysError> {
        let now = now_ms();
        let mut held = self.held.lock().await;
        for _ in 0..2 {
            if held.keys.as_ref().is_none_or(|(_, at)| now - at > KEPT_MS) {
                self.renew(&mut held, now).await?;
            }
            let Some((keys, at)) = held.keys.as_ref() else { break };
            match keys.check(token, rules, now / 1_000) {
                Err(JwtError::Key) if now - at > AGAIN_MS => self.renew(&mut held, now).await?,
                checked => return checked.map(|checked| (checked.claims, checked.key.endorsements.clone())).map_err(Into::into),
            }
        }
        Err(JwtError::Key.into())
    }

    async fn renew(&self, held: &mut Held, now: i64) -> Result<(), DeliverError> {
        // Anybody can make this program ask; it does not ask a platform that just did not answer.
        if held.failed.is_some_and(|at| now - at < FAILED_MS) {
            return Err(odd());
        }
        match self.fetch().await {
            Ok(keys) => {
                *held = Held { keys: Some((keys, now)), failed: None };
                Ok(())
            }
            Err(error) => {
                held.failed = Some(now);
                Err(error)
            }
        }
    }

    async fn fetch(&self) -> Result<Jwks, DeliverError> {
        let url = match &self.place {
            Place::Keys(url) => url.clone(),
            Place::OpenId(url) => {
                let about = call(&self.http, Ask::get(url.clone())).await?.ok(|_| String::new())?;
                let keys: Uri = about["jwks_uri"].as_str().and_then(|keys| keys.parse().ok()).ok_or_else(odd)?;
                // Whoever can change the description may not send us elsewhere for keys.
                if !Base::parse(&format!("{}://{}", url.scheme_str().unwrap_or("https"), url.authority().map_or("", |a| a.as_str())))
                    .is_ok_and(|base| base.is_origin_of(&keys))
                {
                    return Err(odd());
                }
                keys
            }
        };
        let body = call(&self.http, Ask::get(url)).await?.ok(|_| String::new())?;
        Jwks::read(body.to_string().as_bytes()).map_err(|_| odd())
    }
}

fn odd() -> DeliverError {
    DeliverError::new(Failing::Passing, "the platform's keys are not where they should be")
}
