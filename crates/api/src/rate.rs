//! How often somebody may ask: buckets that fill by themselves, one for each token, tenant and unknown peer.
//!
//! Answers say where the asker stands, in the headers of the IETF draft on rate limits (`RateLimit-Policy`, `RateLimit`).
//! The owner is not counted. A peer without a good token is counted by what it got wrong; good tokens of the same address
//! go on.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use app::{Rate, RateSettings};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use model::{Code, Failure};
use tokio::time::Instant;

use crate::Problem;
use crate::auth::Identity;

/// Buckets of one kind. When there are more, those that are full go first: they would be made again as they are.
const BUCKETS_MAX: usize = 16_384;
/// Seconds that a policy speaks of.
const WINDOW_S: u64 = 60;
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// Where a request over TCP comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// What was asked lately. A cheap handle.
#[derive(Debug, Clone, Default)]
pub struct Rates(Arc<Buckets>);

#[derive(Debug, Default)]
struct Buckets {
    /// Each held for single operations.
    tokens: Mutex<HashMap<[u8; 32], Bucket>>,
    tenants: Mutex<HashMap<String, Bucket>>,
    peers: Mutex<HashMap<IpAddr, Bucket>>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// Requests that may still be made at once.
    left: f64,
    at: Instant,
}

/// Where somebody stands after a request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Standing {
    name: &'static str,
    rate: Rate,
    left: u64,
    /// Seconds until the bucket is full.
    full_s: u64,
}

/// Too much was asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Refused {
    standing: Standing,
    /// Seconds until one more may be asked.
    retry_s: u64,
}

impl Rates {
    /// Counts a request; `None` for who is not counted.
    pub(crate) fn count(&self, settings: &RateSettings, who: &Identity) -> Result<Option<Standing>, Refused> {
        let Some((token, tenant)) = who.counted() else { return Ok(None) };
        let now = Instant::now();
        let mut standing = take(&self.0.tokens, token, "token", settings.token, now)?;
        if let Some(tenant) = tenant {
            let rate = who.requests_per_minute.map_or(settings.tenant, |n| Rate { per_minute: n.max(1), burst: n.max(1) });
            let of_tenant = take(&self.0.tenants, tenant.to_owned(), "tenant", rate, now)?;
            if of_tenant.left < standing.left {
                standing = of_tenant;
            }
        }
        Ok(Some(standing))
    }

    /// Counts something that a peer without a good token got wrong.
    pub(crate) fn failed(&self, settings: &RateSettings, peer: IpAddr) -> Result<Standing, Refused> {
        take(&self.0.peers, network(peer), "unknown", settings.unknown, Instant::now())
    }
}

/// What one peer is: an address, or the network that a subscriber of IPv6 gets.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & (u128::MAX << 64)).into()),
        v4 => v4,
    }
}

fn take<K: Eq + Hash + Clone>(
    from: &Mutex<HashMap<K, Bucket>>,
    key: K,
    name: &'static str,
    rate: Rate,
    now: Instant,
) -> Result<Standing, Refused> {
    let mut buckets = lock(from);
    if buckets.len() >= BUCKETS_MAX && !buckets.contains_key(&key) {
        make_room(&mut buckets, rate, now);
    }
    let bucket = buckets.entry(key).or_insert_with(|| Bucket { left: f64::from(rate.burst), at: now });
    bucket.fill(rate, now);
    let is_free = bucket.left >= 1.0;
    if is_free {
        bucket.left -= 1.0;
    }
    let per_second = f64::from(rate.per_minute) / 60.0;
    let standing = Standing {
        name,
        rate,
        left: whole(bucket.left.floor()),
        full_s: whole(((f64::from(rate.burst) - bucket.left) / per_second).ceil()),
    };
    if is_free { Ok(standing) } else { Err(Refused { standing, retry_s: whole(((1.0 - bucket.left) / per_second).ceil()).max(1) }) }
}

/// Drops what is full, and if that is nothing, what was asked least lately.
fn make_room<K: Eq + Hash + Clone>(buckets: &mut HashMap<K, Bucket>, rate: Rate, now: Instant) {
    buckets.retain(|_, bucket| {
        bucket.fill(rate, now);
        bucket.left < f64::from(rate.burst)
    });
    if buckets.len() >= BUCKETS_MAX
        && let Some(oldest) = buckets.iter().min_by_key(|(_, bucket)| bucket.at).map(|(key, _)| key.clone())
    {
        buckets.remove(&oldest);
    }
}

impl Bucket {
    fn fill(&mut self, rate: Rate, now: Instant) {
        let gained = now.saturating_duration_since(self.at).as_secs_f64() * f64::from(rate.per_minute) / 60.0;
        self.left = (self.left + gained).min(f64::from(rate.burst));
        self.at = now;
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count that is far below 2^53 and never below zero")]
fn whole(n: f64) -> u64 {
    n.max(0.0) as u64
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Standing {
    /// Tells the asker.
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        let policy = format!("\"{}\";q={};w={WINDOW_S}", self.name, self.rate.per_minute);
        let standing = format!("\"{}\";r={};t={}", self.name, self.left, self.full_s);
        for (name, text) in [(POLICY, policy), (LIMIT, standing)] {
            if let Ok(value) = HeaderValue::from_str(&text) {
                headers.insert(name, value);
            }
        }
    }
}

impl Refused {
    /// The answer.
    pub(crate) fn answer(self) -> Response {
        let failure =
            Failure::new(Code::RateLimited, "too many requests in too short a time").hint(format!("try again in {} s", self.retry_s));
        let mut response = Problem::from(failure).into_response();
        self.standing.write(response.headers_mut());
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(self.retry_s));
        response
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const RATE: Rate = Rate { per_minute: 60, burst: 3 };

    #[tokio::test(start_paused = true)]
    async fn a_bucket_gives_its_burst_and_then_its_rate() {
        let buckets = Mutex::new(HashMap::new());
        let ask = || take(&buckets, "a", "token", RATE, Instant::now());
        assert_eq!([ask(), ask(), ask()].map(|r| r.expect("room").left), [2, 1, 0]);
        assert_eq!(ask().expect_err("empty").retry_s, 1);
        tokio::time::advance(Duration::from_millis(1500)).await;
        assert!(ask().is_ok() && ask().is_err(), "one came back");
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert_eq!(ask().expect("full").left, 2, "never more than the burst");
        assert!(take(&buckets, "b", "token", RATE, Instant::now()).is_ok(), "another's is another's");
    }

    #[tokio::test(start_paused = true)]
    async fn there_are_never_too_many_buckets() {
        let buckets = Mutex::new(HashMap::new());
        for n in 0..BUCKETS_MAX + 10 {
            let _ = take(&buckets, n, "unknown", RATE, Instant::now());
        }
        assert!(lock(&buckets).len() <= BUCKETS_MAX);
        tokio::time::advance(Duration::from_secs(60)).await;
        let _ = take(&buckets, usize::MAX, "unknown", RATE, Instant::now());
        assert_eq!(lock(&buckets).len(), 1, "full ones went");
    }

    #[test]
    fn a_subscriber_of_ipv6_is_one_peer() {
        let of = |text: &str| network(text.parse().expect("an address"));
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }
}
