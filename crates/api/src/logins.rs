//! How a browser gets in: a one-time code that the owner's terminal shows, exchanged for a token of some hours.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use app::OidcArrived;
use model::{Code, Failure};
use sha2::{Digest, Sha256};

/// How long a code can be used.
const CODE_LIFE: Duration = Duration::from_secs(300);
/// How long a browser's token is good.
const TOKEN_LIFE: Duration = Duration::from_secs(12 * 3600);
/// Codes and tokens that are good at once, each. The oldest goes for a new one.
const LIVE_MAX: usize = 64;

/// Codes and tokens that are good now. Only their hashes are kept, and only in memory: a restart ends every login.
#[derive(Debug, Clone, Default)]
pub struct Logins {
    /// Held for single map operations.
    live: Arc<Mutex<Live>>,
    /// Ways of browsers to servers of agents.
    ports: crate::ports::Ports,
}

#[derive(Debug, Default)]
struct Live {
    codes: HashMap<[u8; 32], Instant>,
    tokens: HashMap<[u8; 32], Instant>,
    /// People who came back from their issuer, by the codes that their pages exchange.
    people: HashMap<[u8; 32], (Instant, OidcArrived)>,
}

/// Whose code it was.
pub(crate) enum Redeemed {
    /// The owner's: the token of the page.
    Owner(String),
    /// Somebody's who came back from their issuer.
    Person(OidcArrived),
}

impl Logins {
    /// Ways of browsers to servers of agents.
    pub(crate) fn ports(&self) -> &crate::ports::Ports {
        &self.ports
    }

    /// A new one-time code, for a link that is shown to the owner alone.
    ///
    /// # Errors
    /// There are no random numbers.
    pub fn code(&self) -> Result<String, Failure> {
        let code = random("lzc_")?;
        add(&mut self.lock().codes, &code, CODE_LIFE);
        Ok(code)
    }

    /// A new one-time code for somebody who came back from their issuer. It works only with the secret of their page.
    ///
    /// # Errors
    /// There are no random numbers.
    pub(crate) fn code_of(&self, arrived: OidcArrived) -> Result<String, Failure> {
        let code = random("lzc_")?;
        let now = Instant::now();
        let people = &mut self.lock().people;
        people.retain(|_, (until, _)| *until > now);
        if people.len() >= LIVE_MAX
            && let Some(oldest) = people.iter().min_by_key(|(_, (until, _))| *until).map(|(hash, _)| *hash)
        {
            people.remove(&oldest);
        }
        people.insert(hash(&code), (now + CODE_LIFE, arrived));
        Ok(code)
    }

    /// Exchanges a code; once. `verifier` is the secret of a page whose person came back from their issuer.
    ///
    /// # Errors
    /// `UNAUTHORIZED` when the code is unknown, used or too old, or the secret is another page's.
    pub(crate) fn redeem(&self, code: &str, verifier: Option<&str>) -> Result<Redeemed, Failure> {
        let mut live = self.lock();
        if let Some((until, arrived)) = live.people.remove(&hash(code)) {
            let is_their_page = verifier.is_some_and(|verifier| hash(verifier) == arrived.challenge);
            if until > Instant::now() && is_their_page {
                return Ok(Redeemed::Person(arrived));
            }
            return Err(Failure::new(Code::Unauthorized, "this login was begun by another page or is too old").hint("log in again"));
        }
        if live.codes.remove(&hash(code)).is_none_or(|until| until <= Instant::now()) {
            return Err(Failure::new(Code::Unauthorized, "this link was used already or is too old").hint("run: lazaret ui"));
        }
        let token = random("lzb_")?;
        add(&mut live.tokens, &token, TOKEN_LIFE);
        Ok(Redeemed::Owner(token))
    }

    /// Ends a login. Whether there was one.
    pub(crate) fn end(&self, token: &str) -> bool {
        self.lock().tokens.remove(&hash(token)).is_some()
    }

    /// Whether a hash is that of a token that is good.
    pub(crate) fn knows(&self, hash: &[u8; 32]) -> bool {
        self.lock().tokens.get(hash).is_some_and(|until| *until > Instant::now())
    }

    fn lock(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn add(to: &mut HashMap<[u8; 32], Instant>, secret: &str, life: Duration) {
    let now = Instant::now();
    to.retain(|_, until| *until > now);
    if to.len() >= LIVE_MAX
        && let Some(oldest) = to.iter().min_by_key(|(_, until)| **until).map(|(hash, _)| *hash)
    {
        to.remove(&oldest);
    }
    to.insert(hash(secret), now + life);
}

fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

pub(crate) fn random(prefix: &str) -> Result<String, Failure> {
    let mut bytes = [0u8; 32];
    getrandom::fill(&mut bytes).map_err(|e| Failure::new(Code::Internal, e.to_string()))?;
    Ok(prefix.chars().chain(bytes.iter().flat_map(|b| format!("{b:02x}").chars().collect::<Vec<_>>())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_works_once_and_only_as_a_code() {
        let logins = Logins::default();
        let code = logins.code().expect("a code");
        assert!(!logins.knows(&hash(&code)), "a code is no token");
        let Ok(Redeemed::Owner(token)) = logins.redeem(&code, None) else { panic!("fresh") };
        assert!(logins.knows(&hash(&token)));
        assert!(logins.redeem(&code, None).is_err(), "used");
        assert!(logins.redeem(&token, None).is_err(), "a token is no code");
        assert!(logins.redeem("", None).is_err());
        assert!(logins.end(&token) && !logins.knows(&hash(&token)), "logged out");
        assert!(!logins.end(&token), "once");
    }

    #[test]
    fn the_code_of_a_person_works_on_their_page_only() {
        let logins = Logins::default();
        let arrived = || OidcArrived {
            user: model::UserId::from_bits(1),
            tenant: "a".to_owned(),
            role: app::Role::Member,
            challenge: hash("secret"),
        };
        for wrong in [None, Some(""), Some("other")] {
            let code = logins.code_of(arrived()).expect("a code");
            assert!(logins.redeem(&code, wrong).is_err(), "{wrong:?}");
            assert!(logins.redeem(&code, Some("secret")).is_err(), "it is used up");
        }
        let code = logins.code_of(arrived()).expect("a code");
        assert!(matches!(logins.redeem(&code, Some("secret")), Ok(Redeemed::Person(_))));
        assert!(logins.redeem(&code, Some("secret")).is_err(), "once");
    }

    #[test]
    fn there_are_never_too_many() {
        let logins = Logins::default();
        let first = logins.code().expect("a code");
        for _ in 0..LIVE_MAX {
            logins.code().expect("a code");
        }
        assert!(logins.redeem(&first, None).is_err(), "the oldest went");
    }
}
