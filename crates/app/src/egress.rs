//! What stands behind the egress proxy: the install's certificate authority, the owner's ceiling, and what each session has
//! used of its budget.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use gateway::egress::{Bound, BoundSecrets, Budget, Inspection, Policy, StoredAuthority, Used, Watch, placeholder};
use model::{Code, EgressRule, Failure, SessionId};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use store::{Secrets, SecretsError};
use tokio::sync::watch;
use zeroize::Zeroizing;

use crate::bound::{Binding, read_bindings};
use crate::exposed::{Exposed, read_exposed};
use crate::live::{Live, lock};
use crate::{App, Settings};

/// What the configuration says of the egress proxy, beside the rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EgressSettings {
    /// Hosts, canonical, that are looked into even though no rule needs it.
    pub inspect: Vec<String>,
    /// A file of certificate authorities that hosts may have besides those of this machine.
    pub extra_roots: Option<PathBuf>,
    /// Bytes that one session may move to and from hosts altogether.
    pub bytes_max: u64,
    /// Requests and tunnels that one session may make altogether.
    pub requests_max: u64,
}

impl Default for EgressSettings {
    fn default() -> Self {
        Self { inspect: Vec::new(), extra_roots: None, bytes_max: 64 << 30, requests_max: 1_000_000 }
    }
}

/// The scope of what the proxy keeps among the secrets.
pub(crate) const SCOPE: &str = "egress";
/// The name of the authority there.
const AUTHORITY: &str = "authority";
/// What a session has moved, in its directory.
const USED: &str = "egress";
/// Sessions whose use is at hand; beyond it those without an open door go on from what is kept.
const SEATS_MAX: usize = 100_000;

/// The authority and what placeholders are made with, as they are kept.
#[derive(Serialize, Deserialize, zeroize::ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
struct Kept {
    certificate: String,
    key: String,
    /// What placeholders are made with, in hexadecimal.
    placeholders: String,
}

/// What the proxy of this daemon knows.
pub(crate) struct EgressBook {
    pub(crate) secrets: Arc<Secrets>,
    /// Read or made when it is first needed. Held over that.
    kept: tokio::sync::Mutex<Option<Arc<Kept>>>,
    ceiling: watch::Sender<Arc<Vec<EgressRule>>>,
    /// What sessions have used. Held for single map operations.
    seats: Mutex<HashMap<SessionId, Seat>>,
    /// Which secrets are bound, and where to.
    pub(crate) bindings: RwLock<Arc<BTreeMap<String, Vec<Binding>>>>,
    /// Which secrets agents hold.
    pub(crate) exposed: RwLock<Arc<Exposed>>,
    /// Held while bindings or exposures change.
    pub(crate) changing: tokio::sync::Mutex<()>,
}

/// One session's part.
#[derive(Clone)]
struct Seat {
    budget: Arc<Budget>,
    secrets: BoundSecrets,
    names: Vec<String>,
    tail: Zeroizing<String>,
}

impl EgressBook {
    /// Reads what is bound.
    ///
    /// # Errors
    /// The secrets cannot be read.
    pub(crate) async fn open(secrets: Arc<Secrets>, settings: &Settings) -> Result<Self, Failure> {
        let (bindings, exposed) = (read_bindings(&secrets).await?, read_exposed(&secrets).await?);
        Ok(Self {
            secrets,
            kept: tokio::sync::Mutex::default(),
            ceiling: watch::Sender::new(Arc::new(settings.egress_max.clone())),
            seats: Mutex::default(),
            bindings: RwLock::new(Arc::new(bindings)),
            exposed: RwLock::new(Arc::new(exposed)),
            changing: tokio::sync::Mutex::default(),
        })
    }

    /// The ceiling is another one: what it no longer covers ends.
    pub(crate) fn set_ceiling(&self, max: &[EgressRule]) {
        self.ceiling.send_if_modified(|now| {
            let is_other = now.as_slice() != max;
            if is_other {
                *now = Arc::new(max.to_vec());
            }
            is_other
        });
    }

    pub(crate) fn ceiling(&self) -> gateway::egress::Ceiling {
        self.ceiling.subscribe()
    }

    /// The authority of this install, made when there is none and `make` says so.
    async fn kept(&self, make: bool) -> Result<Option<Arc<Kept>>, Failure> {
        let mut held = self.kept.lock().await;
        if let Some(kept) = &*held {
            return Ok(Some(Arc::clone(kept)));
        }
        let kept = match self.secrets.get(AUTHORITY, SCOPE).await {
            Ok(text) => serde_json::from_str(&text)
                .map_err(|_| Failure::new(Code::StoreUnusable, "the certificate authority of the egress proxy cannot be read"))?,
            Err(SecretsError::NotFound { .. }) if !make => return Ok(None),
            Err(SecretsError::NotFound { .. }) => self.make().await?,
            Err(error) => return Err(error.failure()),
        };
        let kept = Arc::new(kept);
        *held = Some(Arc::clone(&kept));
        Ok(Some(kept))
    }

    async fn make(&self) -> Result<Kept, Failure> {
        let authority = StoredAuthority::make().map_err(|e| failed(&e))?;
        let mut bits = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *bits).map_err(|_| Failure::new(Code::Internal, "the system gives no random bytes"))?;
        let placeholders = bits.iter().map(|b| format!("{b:02x}")).collect::<String>();
        let kept = Kept { certificate: authority.certificate, key: authority.key.to_string(), placeholders };
        let text = Zeroizing::new(serde_json::to_string(&kept).map_err(|e| Failure::new(Code::Internal, e.to_string()))?);
        self.secrets.set(AUTHORITY, SCOPE, text, crate::now()).await.map_err(|e| e.failure())?;
        Ok(kept)
    }

    /// What is bound for a session, by the names that it may use.
    fn bound(&self, session: &SessionId, names: &[String], tail: &str) -> Vec<Bound> {
        let bindings = Arc::clone(&self.bindings.read().unwrap_or_else(PoisonError::into_inner));
        let of = |name: &String| {
            let placeholder = token(tail, session, name);
            let all = bindings.get(name).into_iter().flatten();
            all.map(move |binding| binding.bound(name, &placeholder)).collect::<Vec<_>>()
        };
        names.iter().flat_map(of).collect()
    }

    /// Reads again what is bound and exposed: another daemon has changed it.
    ///
    /// # Errors
    /// The secrets cannot be read; what was in force stays.
    pub(crate) async fn read_again(&self) -> Result<(), Failure> {
        let _changing = self.changing.lock().await;
        let (bindings, exposed) = (read_bindings(&self.secrets).await?, read_exposed(&self.secrets).await?);
        *self.exposed.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(exposed);
        *self.bindings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(bindings);
        self.rebind();
        Ok(())
    }

    /// What is bound has changed: for sessions that are at work as well.
    pub(crate) fn rebind(&self) {
        let seats: Vec<(SessionId, Seat)> = lock(&self.seats).iter().map(|(id, seat)| (id.clone(), seat.clone())).collect();
        for (session, seat) in seats.into_iter().filter(|(_, seat)| !seat.names.is_empty()) {
            if let Err(error) = seat.secrets.replace(self.bound(&session, &seat.names, &seat.tail)) {
                tracing::error!(%session, error = model::chain(&error), "a session keeps none of its bound secrets");
                let _ = seat.secrets.replace(Vec::new());
            }
        }
    }
}

/// What a session has moved before, as it was kept; `None` when it cannot be told.
fn read_used(note: &Path) -> Option<Used> {
    let text = match std::fs::read_to_string(note) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Some(Used::default()),
        read => read.ok()?,
    };
    let (bytes, requests) = text.trim().split_once(' ')?;
    Some(Used { bytes: bytes.parse().ok()?, requests: requests.parse().ok()? })
}

/// Keeps it for the next daemon. A session that is gone has no place for it, and needs none.
fn keep_used(note: &Path, used: Used) {
    let fresh = note.with_extension("new");
    let written = std::fs::write(&fresh, format!("{} {}\n", used.bytes, used.requests)).and_then(|()| std::fs::rename(&fresh, note));
    if let Err(error) = written
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::error!(note = %note.display(), %error, "what a session has moved is not kept over a restart");
    }
}

/// The placeholder of one secret in one session: the same after a restart, and of no use to anybody else.
fn token(tail: &str, session: &SessionId, name: &str) -> String {
    let parts = [tail, session.as_str(), name];
    let hash = parts.iter().fold(Sha256::new(), |hash, part| hash.chain_update((part.len() as u64).to_be_bytes()).chain_update(part));
    placeholder(hash.finalize().into())
}

fn failed(error: &dyn std::error::Error) -> Failure {
    Failure::new(Code::ConfigInvalid, format!("hosts cannot be looked into: {}", model::chain(error)))
        .hint("check `extra_roots` under [egress] in the configuration")
}

impl App {
    /// What tunnels are looked into with, made when there is none.
    pub(crate) async fn inspection(&self) -> Result<Arc<Inspection>, Failure> {
        if let Some(inspection) = self.doors().egress().inspection() {
            return Ok(inspection);
        }
        let kept = self.egress_book().kept(true).await?;
        let kept = kept.ok_or_else(|| Failure::new(Code::Internal, "there is no certificate authority"))?;
        self.look_with(&kept)
    }

    fn look_with(&self, kept: &Kept) -> Result<Arc<Inspection>, Failure> {
        let stored = StoredAuthority { certificate: kept.certificate.clone(), key: Zeroizing::new(kept.key.clone()) };
        let made = Inspection::open(&stored, self.settings().egress.extra_roots.clone()).map_err(|e| failed(&e))?;
        let made = Arc::new(made);
        self.doors().egress().set_inspection(Some(Arc::clone(&made)));
        Ok(made)
    }

    /// Takes up the authority that an earlier daemon made, and settings that have changed. Without it hosts that need it
    /// are refused.
    pub(crate) async fn renew_inspection(&self) {
        let renewed = match self.egress_book().kept(false).await {
            Ok(Some(kept)) => self.look_with(&kept).map(drop),
            Ok(None) => Ok(()),
            Err(failure) => Err(failure),
        };
        if let Err(failure) = renewed {
            self.doors().egress().set_inspection(None);
            tracing::error!(%failure, "hosts that must be looked into are refused");
        }
    }

    /// Whether some host of these must be looked into.
    pub(crate) fn must_inspect(&self, rules: &[EgressRule], secrets: &[String]) -> bool {
        let settings = self.settings();
        !rules.is_empty()
            && (!secrets.is_empty() || rules.iter().any(|r| r.needs_inspection() || settings.egress.inspect.contains(&r.host)))
    }

    /// What a sandbox may reach, beyond the owner's ceiling if `is_granted`. Refusals are told to `watch`.
    pub(crate) fn policy_of(&self, rules: Vec<EgressRule>, is_granted: bool, watch: Option<Arc<dyn Watch>>) -> Policy {
        let settings = self.settings();
        Policy {
            rules,
            ceiling: (!is_granted).then(|| self.egress_book().ceiling()),
            private_ok: settings.private_ok.clone(),
            inspect: settings.egress.inspect.clone(),
            watch,
            ..Policy::default()
        }
    }

    /// What a session's sandbox may reach, with its budget and its bound secrets. For a guest it is what stands in `guest`, and no secret is
    /// put in.
    pub(crate) async fn session_policy(
        &self,
        live: &Live,
        guest: Option<Vec<EgressRule>>,
        watch: Arc<dyn Watch>,
    ) -> Result<Arc<Policy>, Failure> {
        let spec = &live.spec;
        let is_guest = guest.is_some();
        let mut policy = self.policy_of(guest.unwrap_or_else(|| spec.egress.clone()), false, Some(watch));
        if self.must_inspect(&spec.egress, &spec.secrets) {
            self.inspection().await?;
        }
        let seat = self.seat(live).await?;
        policy.budget = Some(seat.budget);
        if !is_guest {
            policy.secrets = seat.secrets;
        }
        Ok(Arc::new(policy))
    }

    async fn seat(&self, live: &Live) -> Result<Seat, Failure> {
        let book = self.egress_book();
        if let Some(seat) = lock(&book.seats).get(&live.id) {
            return Ok(seat.clone());
        }
        let names = live.spec.secrets.clone();
        let tail = if names.is_empty() { Zeroizing::default() } else { self.placeholder_tail().await? };
        let bound = book.bound(&live.id, &names, &tail);
        let secrets = if names.is_empty() {
            BoundSecrets::default()
        } else {
            let agent = self.store().session(&live.id).await.map_err(|e| e.failure())?.agent;
            let keys = Arc::new(self.secrets().of_agent(&agent));
            BoundSecrets::new(bound, keys).map_err(|e| Failure::new(Code::Internal, model::chain(&e)))?
        };
        let EgressSettings { bytes_max, requests_max, .. } = self.settings().egress;
        let note = self.session_dir(&live.id).join(USED);
        let used = read_used(&note).unwrap_or_else(|| {
            tracing::error!(session = %live.id, "what it has moved cannot be read: it moves nothing more");
            Used { bytes: u64::MAX, requests: u64::MAX }
        });
        let keep = move |used| keep_used(&note, used);
        let budget = Budget::kept(bytes_max, requests_max, used, Box::new(keep));
        let seat = Seat { budget: Arc::new(budget), secrets, names, tail };
        let mut seats = lock(&book.seats);
        if seats.len() >= SEATS_MAX {
            seats.retain(|_, seat| Arc::strong_count(&seat.budget) > 1);
        }
        Ok(seats.entry(live.id.clone()).or_insert(seat).clone())
    }

    async fn placeholder_tail(&self) -> Result<Zeroizing<String>, Failure> {
        let kept = self.egress_book().kept(true).await?;
        Ok(kept.map(|kept| Zeroizing::new(kept.placeholders.clone())).unwrap_or_default())
    }

    /// The variables that hold a session's placeholders.
    pub(crate) async fn placeholders(&self, live: &Live) -> Result<Vec<(String, String)>, Failure> {
        if live.spec.secrets.is_empty() {
            return Ok(Vec::new());
        }
        let tail = self.placeholder_tail().await?;
        Ok(live.spec.secrets.iter().map(|name| (name.clone(), token(&tail, &live.id, name))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_placeholder_is_of_one_session_and_one_secret() {
        let (one, two) = (SessionId::from_bits(1), SessionId::from_bits(2));
        let all = [token("k", &one, "A"), token("k", &one, "B"), token("k", &two, "A"), token("l", &one, "A")];
        assert_eq!(all[0], token("k", &one, "A"));
        assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), all.len());
        assert!(all.iter().all(|t| t.starts_with(gateway::egress::PLACEHOLDER_PREFIX)));
    }
}
