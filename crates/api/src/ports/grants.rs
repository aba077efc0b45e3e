//! Who may look at which server: one-time codes of links, and the browsers that came by one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use app::{App, Caller, InsidePort};
use model::Failure;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use crate::logins::random;

/// How long a link can be used.
const CODE_LIFE: Duration = Duration::from_secs(300);
/// How long a browser is known.
const BROWSER_LIFE: Duration = Duration::from_secs(12 * 3600);
/// Links and browsers that are good at once, each. The oldest goes for a new one.
const LIVE_MAX: usize = 64;
/// Connections to one server at once.
pub(super) const CONNECTIONS_MAX: usize = 32;
/// Letters of a name that are for people.
const TITLE_MAX: usize = 24;

/// A way to one server.
#[derive(Clone)]
pub(super) struct Way {
    pub(super) app: App,
    pub(super) caller: Caller,
    pub(super) to: InsidePort,
    /// Whether its pages may load from elsewhere.
    pub(super) outside: bool,
    /// The name before `.localhost`.
    pub(super) label: String,
    pub(super) places: Arc<Semaphore>,
}

/// The ways that are open. Only hashes of codes and cookies are kept, in memory: a restart closes all.
#[derive(Clone, Default)]
pub(crate) struct Ports {
    /// Held for single map operations.
    live: Arc<Mutex<Live>>,
}

#[derive(Default)]
struct Live {
    codes: HashMap<[u8; 32], (Instant, Way)>,
    browsers: HashMap<[u8; 32], (Instant, Way)>,
}

impl std::fmt::Debug for Ports {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ports")
    }
}

impl Ports {
    /// Opens a way; gives the name of its origin and the code of its link.
    ///
    /// # Errors
    /// There are no random numbers.
    pub(crate) fn open(&self, app: &App, caller: &Caller, to: InsidePort, outside: bool) -> Result<(String, String), Failure> {
        let (code, label) = (random("")?, label(&to));
        let way = Way {
            app: app.clone(),
            caller: caller.clone(),
            to,
            outside,
            label: label.clone(),
            places: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
        };
        add(&mut self.lock().codes, &code, CODE_LIFE, way);
        Ok((label, code))
    }

    /// Exchanges the code of a link for what its browser shows from then on; once, and only under the link's own name.
    pub(super) fn redeem(&self, label: &str, code: &str) -> Option<String> {
        let mut live = self.lock();
        let (until, way) = live.codes.remove(&hash(code))?;
        if until <= Instant::now() || way.label != label {
            return None;
        }
        let cookie = random("").ok()?;
        add(&mut live.browsers, &cookie, BROWSER_LIFE, way);
        Some(cookie)
    }

    /// The way that a browser came by, if it is one of this name.
    pub(super) fn of(&self, label: &str, cookie: &str) -> Option<Way> {
        let live = self.lock();
        let (until, way) = live.browsers.get(&hash(cookie))?;
        (*until > Instant::now() && way.label == label).then(|| way.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn add(to: &mut HashMap<[u8; 32], (Instant, Way)>, secret: &str, life: Duration, way: Way) {
    let now = Instant::now();
    to.retain(|_, (until, _)| *until > now);
    if to.len() >= LIVE_MAX
        && let Some(oldest) = to.iter().min_by_key(|(_, (until, _))| *until).map(|(hash, _)| *hash)
    {
        to.remove(&oldest);
    }
    to.insert(hash(secret), (now + life, way));
}

fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

/// The name of a session's origin: a few letters for people, and what no other session has. What a browser keeps for it (storage, service
/// workers) is met by nobody else later.
fn label(to: &InsidePort) -> String {
    let mut title = String::new();
    for c in to.title.chars().flat_map(char::to_lowercase) {
        match c {
            'a'..='z' | '0'..='9' => title.push(c),
            _ if !title.is_empty() && !title.ends_with('-') => title.push('-'),
            _ => {}
        }
        if title.len() >= TITLE_MAX {
            break;
        }
    }
    let own: String = hash(to.session.as_str()).iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    let title = title.trim_end_matches('-');
    if title.is_empty() { format!("agent-{own}") } else { format!("{title}-{own}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_of_one_session_and_fit_a_host() {
        let named = |title: &str, bits| label(&InsidePort { session: model::SessionId::from_bits(bits), port: 1, title: title.to_owned() });
        assert!(named("feat/Login Page", 1).starts_with("feat-login-page-"));
        assert_ne!(named("x", 1), named("x", 2));
        assert_eq!(named("x", 1), named("x", 1), "the same at each opening");
        for title in ["", "///", "Ünïcode", "a..b", &"x".repeat(500), "-", "\u{0}\r\n"] {
            let name = named(title, 3);
            assert!(
                name.len() <= 63
                    && !name.starts_with('-')
                    && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'),
                "{name}"
            );
        }
    }
}
