//! A login, from the page to the issuer and back.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gateway::egress::{Courier, Egress, Reach};
use model::{Code, Failure, UserId};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use store::{Arrival, MemberRow};
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::OidcSettings;
use super::issuer::{Doors, Issuer, encoded};
use super::jwt::{Claims, Expect, JwtError, Keys, verify};
use crate::live::lock;
use crate::{App, Role, TokenForm, TokenView, now};

/// How long somebody may take at the issuer.
const LOGIN_LIFE: Duration = Duration::from_secs(600);
/// Logins under way; the oldest goes for a new one.
const LOGINS_MAX: usize = 1024;
/// How long an issuer's doors and keys are kept. A key that is not among them is looked for at once.
const KEPT: Duration = Duration::from_secs(3600);
/// How long the token of a person's page is good, in seconds.
const TOKEN_LIFE_S: u64 = 12 * 3600;
/// Bytes of what the issuer sends back.
const CODE_BYTES_MAX: usize = 4096;

/// Begins a login.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "OidcLogin")]
pub struct OidcBegin {
    /// The SHA-256 of a secret that the page keeps, in base64url without padding: the code that comes back works only together
    /// with that secret.
    pub challenge: String,
    /// The tenant that is wanted; the first that the person is in when left out.
    #[serde(default)]
    pub tenant: Option<String>,
}

/// Somebody who came back from the issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OidcArrived {
    /// Who.
    pub user: UserId,
    /// Where they work now.
    pub tenant: String,
    /// What they are there.
    pub role: Role,
    /// What the secret of their page hashes to.
    pub challenge: [u8; 32],
}

/// Logins that are under way, and what is known of the issuer. Only in memory: a restart ends them.
#[derive(Default)]
pub(crate) struct Pendings {
    /// Held for single map operations.
    open: Mutex<HashMap<[u8; 32], Pending>>,
    issuer: Mutex<Option<(OidcSettings, Instant, Doors, Keys)>>,
    courier: Mutex<Option<(Option<PathBuf>, Arc<Courier>)>>,
}

struct Pending {
    nonce: String,
    verifier: Zeroizing<String>,
    challenge: [u8; 32],
    tenant: Option<String>,
    redirect: String,
    until: Instant,
}

impl App {
    /// Logins by an issuer.
    #[must_use]
    pub fn oidc(&self) -> OidcOf<'_> {
        OidcOf { app: self }
    }
}

/// Logins of an [`App`] by an issuer.
pub struct OidcOf<'a> {
    app: &'a App,
}

impl OidcOf<'_> {
    /// Whether people can log in so.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.app.settings().oidc.is_some()
    }

    /// Begins a login: where the browser is to go. `own` is where it comes back to when the configuration does not say.
    ///
    /// # Errors
    /// No issuer is configured, or it does not answer; the challenge is none.
    pub async fn begin(&self, form: OidcBegin, own: Option<String>) -> Result<String, Failure> {
        let settings = self.settings()?;
        let wrong = || Failure::new(Code::Usage, "a challenge is a SHA-256 in base64url, without padding").field("challenge");
        let challenge = URL_SAFE_NO_PAD.decode(&form.challenge).map_err(|_| wrong())?.try_into().map_err(|_| wrong())?;
        if form.tenant.as_ref().is_some_and(|tenant| !model::is_name(tenant)) {
            return Err(Failure::new(Code::Usage, "this is no name of a tenant").field("tenant"));
        }
        let redirect = settings.redirect_url.clone().or(own).ok_or_else(|| {
            Failure::new(Code::ConfigInvalid, "it is not known where the issuer is to send people back to").hint("set oidc.redirect_url")
        })?;
        let (doors, _) = self.known(&settings, false).await?;
        let (state, nonce, verifier) = (random()?, random()?, random()?);
        let pkce = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()));
        let mark = if doors.authorization_endpoint.contains('?') { '&' } else { '?' };
        let url = format!(
            "{}{mark}response_type=code&client_id={}&redirect_uri={}&scope=openid%20email%20profile&state={state}&nonce={nonce}\
             &code_challenge={pkce}&code_challenge_method=S256",
            doors.authorization_endpoint,
            encoded(&settings.client_id),
            encoded(&redirect),
        );
        let until = Instant::now() + LOGIN_LIFE;
        let pending = Pending { nonce, verifier: Zeroizing::new(verifier), challenge, tenant: form.tenant, redirect, until };
        self.app.pendings().add(hash(&state), pending);
        Ok(url)
    }

    /// Ends a login with what the issuer sent back.
    ///
    /// # Errors
    /// `UNAUTHORIZED` when the login is unknown or what the issuer says does not fit, `FORBIDDEN` when the person is in no tenant.
    pub async fn finish(&self, state: &str, code: &str) -> Result<OidcArrived, Failure> {
        let settings = self.settings()?;
        let unknown = || Failure::new(Code::Unauthorized, "this login is unknown, was used already or took too long").hint("log in again");
        if code.is_empty() || code.len() > CODE_BYTES_MAX {
            return Err(unknown());
        }
        let pending = self.app.pendings().take(&hash(state)).ok_or_else(unknown)?;
        let claims = self.believe(&settings, &pending, code).await?;
        let arrival = Arrival {
            id: UserId::from_bits(crate::clock::fresh_bits()),
            issuer: claims.iss.clone(),
            subject: claims.sub.clone(),
            email: claims.own_email(),
            name: clean(claims.name.as_deref().unwrap_or_default()),
            rules: settings.given(&claims),
            now: now(),
        };
        let first = arrival.rules.first().map(|(tenant, _)| tenant.clone());
        let member_of = self.app.store().arrive(arrival).await.map_err(|e| e.failure())?;
        // A rule may have taken something away from them.
        self.app.rights_changed();
        let wanted = pending.tenant.as_ref();
        let chosen = match wanted {
            Some(tenant) => member_of.iter().find(|m| m.tenant == *tenant),
            None => member_of.iter().find(|m| Some(&m.tenant) == first.as_ref()).or_else(|| member_of.first()),
        };
        let Some(MemberRow { tenant, user, role, .. }) = chosen.cloned() else {
            return Err(Failure::new(Code::Forbidden, "you are in no tenant here").hint("ask who runs this daemon to let you in"));
        };
        let role = Role::of(&role).ok_or_else(|| Failure::new(Code::StoreUnusable, "a role cannot be read"))?;
        self.app.audit_change(&format!("user:{}", user.id), "login", serde_json::json!({ "tenant": tenant, "role": role })).await?;
        Ok(OidcArrived { user: user.id, tenant, role, challenge: pending.challenge })
    }

    /// The token of somebody's page: it ends by itself, and with their place in the tenant.
    ///
    /// # Errors
    /// The tenant has enough tokens, or the store cannot be written.
    pub async fn token(&self, arrived: OidcArrived) -> Result<TokenView, Failure> {
        let form = TokenForm {
            name: "browser".to_owned(),
            scope: arrived.role.scope().into(),
            tenant: Some(arrived.tenant),
            expires_s: Some(TOKEN_LIFE_S),
        };
        self.app.tokens().make(form, Some(arrived.user)).await
    }

    fn settings(&self) -> Result<OidcSettings, Failure> {
        let none = || Failure::new(Code::NotFound, "no issuer of logins is configured").hint("set [oidc] in the configuration");
        self.app.settings().oidc.clone().ok_or_else(none)
    }

    /// What the issuer says of who brings a code. Its keys are asked for again when one is not known.
    async fn believe(&self, settings: &OidcSettings, pending: &Pending, code: &str) -> Result<Claims, Failure> {
        let (doors, keys) = self.known(settings, false).await?;
        let secret = match &settings.secret {
            None => None,
            Some(name) => {
                let missing = || Failure::new(Code::KeyMissing, format!("the secret `{name}` of the issuer of logins is not stored"));
                Some(self.app.secrets().value(name).ok_or_else(missing)?)
            }
        };
        let courier = self.courier();
        let issuer = self.issuer(settings, &courier);
        let secret = secret.as_ref().map(|s| s.as_str());
        let exchanged = issuer.exchange(&doors, code, &pending.verifier, &pending.redirect, secret).await?;
        let expect = Expect { issuer: &settings.issuer, client_id: &settings.client_id, nonce: &pending.nonce, now_s: now().0 / 1000 };
        let believed = match verify(&exchanged.id_token, &keys, &expect) {
            Err(JwtError::UnknownKey | JwtError::Signature) => verify(&exchanged.id_token, &self.known(settings, true).await?.1, &expect),
            other => other,
        };
        believed.map_err(|why| Failure::new(Code::Unauthorized, format!("what the issuer says is not believed: {why}")))
    }

    /// The issuer's doors and keys, asked for when they are old, or now.
    async fn known(&self, settings: &OidcSettings, again: bool) -> Result<(Doors, Keys), Failure> {
        let held = lock(&self.app.pendings().issuer).clone();
        if let Some((of, at, doors, keys)) = held
            && of == *settings
            && at.elapsed() < KEPT
            && !again
        {
            return Ok((doors, keys));
        }
        let courier = self.courier();
        let issuer = self.issuer(settings, &courier);
        let doors = issuer.doors().await?;
        let keys = issuer.keys(&doors).await?;
        *lock(&self.app.pendings().issuer) = Some((settings.clone(), Instant::now(), doors.clone(), keys.clone()));
        Ok((doors, keys))
    }

    fn issuer<'a>(&self, settings: &'a OidcSettings, courier: &'a Courier) -> Issuer<'a> {
        Issuer { settings, courier, reach: Reach::Open(settings.private_ok.clone()) }
    }

    fn courier(&self) -> Arc<Courier> {
        let roots = self.app.settings().egress.extra_roots.clone();
        let mut held = lock(&self.app.pendings().courier);
        match &*held {
            Some((of, courier)) if *of == roots => Arc::clone(courier),
            _ => {
                let made = Arc::new(Courier::new(Egress::default(), roots.clone()));
                *held = Some((roots, Arc::clone(&made)));
                made
            }
        }
    }
}

impl Pendings {
    fn add(&self, key: [u8; 32], pending: Pending) {
        let mut open = lock(&self.open);
        let now = Instant::now();
        open.retain(|_, pending| pending.until > now);
        if open.len() >= LOGINS_MAX
            && let Some(oldest) = open.iter().min_by_key(|(_, pending)| pending.until).map(|(key, _)| *key)
        {
            open.remove(&oldest);
        }
        open.insert(key, pending);
    }

    fn take(&self, key: &[u8; 32]) -> Option<Pending> {
        lock(&self.open).remove(key).filter(|pending| pending.until > Instant::now())
    }
}

/// A name as it may be shown.
fn clean(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(200).collect()
}

fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

fn random() -> Result<String, Failure> {
    let mut bytes = [0u8; 32];
    getrandom::fill(&mut bytes).map_err(|e| Failure::new(Code::Internal, format!("there are no random numbers: {e}")))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}
