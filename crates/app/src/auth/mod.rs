//! How plugins get tokens of services by OAuth 2: the owner logs in once, the daemon keeps the tokens fresh.
//!
//! A manifest with `[oauth]` says where. Two ways: a device code that the owner types into a page, or the loopback way of
//! native programs (a browser comes back to a port of this machine) with PKCE and a state that is checked. Every request to the
//! service is made by a helper in a sandbox that reaches this one host. The access token becomes the plugin's credential
//! `plugin.NAME.KEY`; the refresh token and what is known of both are secrets beside it, which no plugin is given.

mod alert;
mod ask;
mod client;
mod refresh;

use std::collections::HashMap;
use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use broker::Manifest;
use broker::manifest::OAuth;
use model::{Code, Failure, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::App;
use crate::live::lock;

pub use ask::TokenOrder;
pub use client::ClientSecret;

/// Logins that are under way at once; the oldest is forgotten for a new one.
const LOGINS_MAX: usize = 16;
/// How long a login may take, in milliseconds.
const LOGIN_MS_MAX: u64 = 15 * 60 * 1000;
/// How long a token is taken to live when the service does not say, in seconds.
const LIFE_S_USUAL: u64 = 3600;
/// The longest life that is believed, in seconds.
const LIFE_S_MAX: u64 = 10 * 365 * 86_400;
/// Names of credentials that tokens go to first; else the plugin's first credential.
const TOKEN_KEYS: [&str; 2] = ["token", "access_token"];

/// The way in which the owner logs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LoginFlow {
    /// A code is typed into a page, on any device.
    Device,
    /// A browser of this machine comes back to a loopback port.
    Loopback,
}

/// A login to begin.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LoginForm {
    /// How.
    pub flow: LoginFlow,
    /// Where the browser comes back to: a loopback address with a port; for the loopback way.
    #[serde(default)]
    pub redirect: Option<String>,
    /// The agent that the tokens are for alone; everybody when left out.
    #[serde(default)]
    pub agent: Option<String>,
    /// What the service calls an application of the owner's own, instead of the one in the manifest. It stays with the login.
    #[serde(default)]
    pub client_id: Option<String>,
    /// The secret of that application, where the service gave one.
    #[serde(default)]
    pub client_secret: Option<ClientSecret>,
}

/// What the owner has to do.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
pub struct LoginView {
    /// The login, for [`LoginsOf::go_on`].
    pub id: String,
    /// The page to open.
    pub url: String,
    /// The code to type there; for the device way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_code: Option<String>,
    /// Seconds between two questions whether it is done.
    pub interval_s: u64,
}

/// What came back with the browser; nothing for the device way.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LoginStep {
    /// The code.
    #[serde(default)]
    pub code: Option<String>,
    /// The state.
    #[serde(default)]
    pub state: Option<String>,
}

/// How a login stands.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
pub struct LoginState {
    /// Whether the tokens are stored.
    pub done: bool,
    /// Seconds until it makes sense to ask again.
    pub interval_s: u64,
    /// The secret that holds the access token, when done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

/// What is known of a token that was got by a login.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct LoginTokens {
    /// The plugin.
    pub plugin: String,
    /// The agent that it is for alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The credential.
    pub key: String,
    /// When the access token ends.
    pub expires: Timestamp,
    /// Whether it can be renewed without the owner.
    pub renewable: bool,
    /// Why it is not renewed any more; the owner must log in again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// The owner's own application, where it is not the manifest's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
}

/// The logins of plugins.
pub struct LoginsOf<'a> {
    app: &'a App,
}

/// Logins that are under way.
#[derive(Default)]
pub(crate) struct Logins {
    /// By identity. Held for single map operations.
    open: Mutex<HashMap<String, Pending>>,
}

/// One that is under way.
#[derive(Clone)]
struct Pending {
    plugin: String,
    agent: Option<String>,
    key: String,
    /// With the owner's own application in place of the manifest's.
    oauth: OAuth,
    own: Option<client::Own>,
    began: Timestamp,
    way: Way,
}

#[derive(Clone)]
enum Way {
    Device { code: Zeroizing<String> },
    Loopback { redirect: String, state: String, verifier: Zeroizing<String> },
}

impl App {
    /// The logins of plugins.
    #[must_use]
    pub fn logins(&self) -> LoginsOf<'_> {
        LoginsOf { app: self }
    }
}

impl LoginsOf<'_> {
    /// Begins a login.
    ///
    /// # Errors
    /// There is no such plugin, its manifest has no such way, or the service does not answer.
    pub async fn begin(&self, plugin: &str, form: LoginForm) -> Result<LoginView, Failure> {
        let manifest = self.app.manifest_of(plugin)?;
        let Some(mut oauth) = manifest.oauth.clone() else {
            return Err(Failure::new(Code::Usage, format!("the plugin {plugin} has no [oauth] in its manifest"))
                .hint(format!("run: lazaret auth api-key --plugin {plugin} --key -")));
        };
        if let Some(agent) = &form.agent {
            check_agent(agent)?;
        }
        let key = key_of(&manifest, plugin)?;
        let own = self.app.own_client(plugin, &form)?;
        if let Some(own) = &own {
            oauth.client_id.clone_from(&own.id);
        }
        let secret = own.as_ref().and_then(|own| own.secret.clone());
        let pending = |way| Pending {
            plugin: plugin.to_owned(),
            agent: form.agent.clone(),
            key,
            oauth: oauth.clone(),
            own,
            began: crate::now(),
            way,
        };
        let id = random()?;
        let (pending, view) = match form.flow {
            LoginFlow::Device => {
                let (code, view) = self.device(&id, &oauth, secret.as_ref()).await?;
                (pending(Way::Device { code }), view)
            }
            LoginFlow::Loopback => {
                let redirect = form.redirect.as_deref().filter(|r| is_loopback(r)).ok_or_else(|| {
                    Failure::new(Code::Usage, "the redirect is not an address of this machine's loopback").field("redirect")
                })?;
                let (way, url) = loopback(&oauth, redirect)?;
                (pending(way), LoginView { id: id.clone(), url, user_code: None, interval_s: 0 })
            }
        };
        let mut open = lock(&self.app.open_logins().open);
        let now = crate::now().0;
        open.retain(|_, one| now.saturating_sub(one.began.0) < LOGIN_MS_MAX);
        while open.len() >= LOGINS_MAX {
            let Some(oldest) = open.iter().min_by_key(|(_, one)| one.began.0).map(|(id, _)| id.clone()) else { break };
            open.remove(&oldest);
        }
        open.insert(id, pending);
        Ok(view)
    }

    async fn device(&self, id: &str, oauth: &OAuth, secret: Option<&Zeroizing<String>>) -> Result<(Zeroizing<String>, LoginView), Failure> {
        let url = oauth.device_url.as_deref().ok_or_else(|| no_way("device_url"))?;
        let scopes = oauth.scopes.join(" ");
        let mut form = vec![("client_id", oauth.client_id.as_str()), ("scope", &scopes)];
        form.extend(client::field(secret));
        let answer = self.app.ask_token(url, &form).await?;
        let text = |key: &str| answer.body[key].as_str().filter(|t| !t.is_empty() && t.len() <= 2048 && !t.contains(char::is_control));
        let page = text("verification_uri_complete").or_else(|| text("verification_uri")).or_else(|| text("verification_url"));
        let (Some(code), Some(user_code), Some(page)) = (text("device_code"), text("user_code"), page) else {
            return Err(answer.failure("give a device code"));
        };
        let interval_s = answer.body["interval"].as_u64().unwrap_or(5).clamp(1, 60);
        let view = LoginView { id: id.to_owned(), url: page.to_owned(), user_code: Some(user_code.to_owned()), interval_s };
        Ok((Zeroizing::new(code.to_owned()), view))
    }

    /// Asks whether a login is done, with what came back by the browser. Done, the tokens are stored and the plugin sees them.
    ///
    /// # Errors
    /// There is no such login, the state is not the one that was sent, or the service refuses.
    pub async fn go_on(&self, id: &str, step: &LoginStep) -> Result<LoginState, Failure> {
        let gone = || Failure::new(Code::NotFound, "there is no such login any more").hint("begin again: lazaret auth login --plugin NAME");
        let pending = lock(&self.app.open_logins().open).get(id).cloned().ok_or_else(gone)?;
        let oauth = &pending.oauth;
        let secret = pending.own.as_ref().and_then(|own| own.secret.as_ref());
        let answer = match &pending.way {
            Way::Device { code } => {
                let kind = "urn:ietf:params:oauth:grant-type:device_code";
                let mut form = vec![("grant_type", kind), ("device_code", code.as_str()), ("client_id", oauth.client_id.as_str())];
                form.extend(client::field(secret));
                self.app.ask_token(&oauth.token_url, &form).await?
            }
            Way::Loopback { redirect, state, verifier } => {
                // A browser comes back once: whatever it brings, this login is over.
                lock(&self.app.open_logins().open).remove(id);
                let is_ours = step.state.as_deref().is_some_and(|given| same(given, state));
                let Some(code) = step.code.as_deref().filter(|_| is_ours) else {
                    return Err(Failure::new(Code::Forbidden, "the answer does not belong to this login").hint("begin again"));
                };
                let client = oauth.client_id.as_str();
                let mut form = vec![
                    ("grant_type", "authorization_code"),
                    ("code", code),
                    ("redirect_uri", redirect.as_str()),
                    ("client_id", client),
                    ("code_verifier", verifier.as_str()),
                ];
                form.extend(client::field(secret));
                self.app.ask_token(&oauth.token_url, &form).await?
            }
        };
        match answer.body["error"].as_str() {
            Some("authorization_pending") => return Ok(LoginState { done: false, interval_s: 5, secret: None }),
            Some("slow_down") => return Ok(LoginState { done: false, interval_s: 10, secret: None }),
            _ => (),
        }
        lock(&self.app.open_logins().open).remove(id);
        let Some(tokens) = Tokens::read(&answer.body) else { return Err(answer.failure("give a token")) };
        let name = Names::of(&pending.plugin, pending.agent.as_deref());
        let known = LoginTokens {
            plugin: pending.plugin.clone(),
            agent: pending.agent.clone(),
            key: pending.key.clone(),
            expires: tokens.expires,
            renewable: tokens.refresh.is_some(),
            trouble: None,
            client_id: pending.own.as_ref().map(|own| own.id.clone()),
        };
        self.app.keep_client(&name, pending.own.as_ref()).await?;
        self.app.keep_tokens(&name, &known, tokens).await?;
        Ok(LoginState { done: true, interval_s: 0, secret: Some(name.access(&pending.key)) })
    }

    /// What is known of the tokens that were got by logins.
    ///
    /// # Errors
    /// The secrets cannot be read.
    pub async fn list(&self) -> Result<Vec<LoginTokens>, Failure> {
        let names = self.app.secrets().list().await?.into_iter().map(|entry| entry.name);
        let known = names.filter(|name| Names::is_known(name)).filter_map(|name| self.app.secrets().value(&name));
        Ok(known.filter_map(|text| serde_json::from_str(&text).ok()).collect())
    }
}

impl App {
    /// What a plugin says of itself, in the home or shipped.
    fn manifest_of(&self, plugin: &str) -> Result<std::sync::Arc<Manifest>, Failure> {
        let missing =
            || Failure::new(Code::NotFound, format!("there is no plugin `{}`", plugin.escape_debug())).hint("lazaret plugin list");
        crate::plugins::manifest_of(self, plugin).ok_or_else(missing)?
    }

    /// Stores tokens: what is known of them first, so that a refresh token is never kept that nobody knows.
    async fn keep_tokens(&self, name: &Names, known: &LoginTokens, tokens: Tokens) -> Result<(), Failure> {
        let text = serde_json::to_string(known).map_err(|e| Failure::new(Code::Internal, e.to_string()))?;
        self.secrets().set(&name.known(), text.into()).await?;
        if let Some(refresh) = tokens.refresh {
            self.secrets().set(&name.refresh(), refresh).await?;
        }
        // The plugin is started anew with it.
        self.secrets().set(&name.access(&known.key), tokens.access).await
    }
}

/// The names of the secrets of one login.
struct Names {
    prefix: String,
    suffix: String,
}

impl Names {
    fn of(plugin: &str, agent: Option<&str>) -> Self {
        Self { prefix: format!("plugin.{plugin}."), suffix: agent.map(|a| format!("@{a}")).unwrap_or_default() }
    }

    fn access(&self, key: &str) -> String {
        format!("{}{key}{}", self.prefix, self.suffix)
    }

    fn refresh(&self) -> String {
        format!("oauth.{}refresh{}", self.prefix, self.suffix)
    }

    fn known(&self) -> String {
        format!("oauth.{}known{}", self.prefix, self.suffix)
    }

    /// The secret of the owner's own application.
    fn client(&self) -> String {
        format!("oauth.{}client_secret{}", self.prefix, self.suffix)
    }

    fn is_known(name: &str) -> bool {
        let name = name.split_once('@').map_or(name, |(name, _)| name);
        name.strip_prefix("oauth.plugin.").is_some_and(|rest| rest.ends_with(".known"))
    }
}

/// Whether what is kept under this name is no secret, but what is known of a login.
pub(crate) fn is_record(name: &str) -> bool {
    Names::is_known(name)
}

/// What a service gives.
struct Tokens {
    access: Zeroizing<String>,
    refresh: Option<Zeroizing<String>>,
    expires: Timestamp,
}

impl Tokens {
    fn read(body: &Value) -> Option<Self> {
        let text = |key: &str| body[key].as_str().filter(|t| !t.trim().is_empty()).map(|t| Zeroizing::new(t.to_owned()));
        let life = body["expires_in"].as_u64().unwrap_or(LIFE_S_USUAL).min(LIFE_S_MAX);
        let expires = Timestamp(crate::now().0.saturating_add(life * 1000));
        Some(Self { access: text("access_token")?, refresh: text("refresh_token"), expires })
    }
}

/// The credential that the access token goes to.
fn key_of(manifest: &Manifest, plugin: &str) -> Result<String, Failure> {
    let named = manifest.credentials.iter().find(|c| TOKEN_KEYS.contains(&c.key.as_str()));
    let key = named.or_else(|| manifest.credentials.first()).map(|c| c.key.clone());
    key.ok_or_else(|| Failure::new(Code::PluginInvalid, format!("the manifest of {plugin} names no credential for the token")))
}

fn no_way(key: &str) -> Failure {
    Failure::new(Code::Usage, format!("the plugin's manifest has no oauth.{key}")).hint("use the other way: with or without --device")
}

fn check_agent(agent: &str) -> Result<(), Failure> {
    let plain = !agent.is_empty() && agent.len() <= 64 && agent.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if plain { Ok(()) } else { Err(Failure::new(Code::Usage, "that is no agent's name").field("agent")) }
}

fn is_loopback(redirect: &str) -> bool {
    let rest = redirect.strip_prefix("http://127.0.0.1:").unwrap_or("");
    let port = rest.split('/').next().unwrap_or("");
    port.parse::<u16>().is_ok_and(|port| port > 0) && redirect.len() <= 256 && redirect.bytes().all(|b| b.is_ascii_graphic())
}

fn loopback(oauth: &OAuth, redirect: &str) -> Result<(Way, String), Failure> {
    let page = oauth.authorize_url.as_deref().ok_or_else(|| no_way("authorize_url"))?;
    let (state, verifier) = (random()?, Zeroizing::new(random()?));
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()));
    let scopes = oauth.scopes.join(" ");
    let fields = [
        ("response_type", "code"),
        ("client_id", &oauth.client_id),
        ("redirect_uri", redirect),
        ("scope", &scopes),
        ("state", &state),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ];
    let mark = if page.contains('?') { '&' } else { '?' };
    let url = format!("{page}{mark}{}", ask::encoded(&fields));
    Ok((Way::Loopback { redirect: redirect.to_owned(), state, verifier }, url))
}

/// 256 random bits that can stand in an address.
fn random() -> Result<String, Failure> {
    let mut bytes = [0u8; 32];
    getrandom::fill(&mut bytes).map_err(|e| Failure::new(Code::Internal, e.to_string()))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// Compares hashes, so that the time tells nothing of the texts.
fn same(a: &str, b: &str) -> bool {
    Sha256::digest(a) == Sha256::digest(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_comes_back_to_loopback_alone() {
        for (redirect, expect) in [
            ("http://127.0.0.1:4711/back", true),
            ("http://127.0.0.1:4711", true),
            ("http://127.0.0.1:0/", false),
            ("http://127.0.0.1/", false),
            ("http://127.0.0.1:80@evil.example/", false),
            ("https://evil.example/", false),
            ("http://127.0.0.1:1/\r\nx: y", false),
        ] {
            assert_eq!(is_loopback(redirect), expect, "{redirect}");
        }
    }

    #[test]
    fn the_page_gets_a_challenge_and_never_the_verifier() {
        let oauth = OAuth {
            authorize_url: Some("https://id.example/auth?a=b".into()),
            token_url: "https://id.example/token".into(),
            device_url: None,
            client_id: "me & co".into(),
            scopes: vec!["read".into(), "write".into()],
        };
        let (way, url) = loopback(&oauth, "http://127.0.0.1:9/").expect("a way");
        let Way::Loopback { state, verifier, .. } = way else { panic!("another way") };
        assert!(url.starts_with("https://id.example/auth?a=b&response_type=code&client_id=me%20%26%20co&redirect_uri=http%3A%2F%2F127.0.0.1%3A9%2F&scope=read%20write"), "{url}");
        assert!(
            url.contains(&format!("&state={state}&")) && !url.contains(verifier.as_str()) && url.ends_with("code_challenge_method=S256")
        );
        assert!(verifier.len() >= 43 && same(&state, &state) && !same(&state, &verifier));
    }

    #[test]
    fn tokens_are_read_with_their_life() {
        let tokens =
            Tokens::read(&serde_json::json!({ "access_token": "a", "refresh_token": "r", "expires_in": u64::MAX })).expect("tokens");
        assert_eq!((tokens.access.as_str(), tokens.refresh.as_ref().map(|r| r.as_str())), ("a", Some("r")));
        assert!(tokens.expires > crate::now());
        assert!(Tokens::read(&serde_json::json!({ "access_token": " " })).is_none());
        for (name, expect) in [
            ("oauth.plugin.mail.known", true),
            ("oauth.plugin.mail.known@a", true),
            ("oauth.plugin.mail.refresh", false),
            ("plugin.mail.known", false),
        ] {
            assert_eq!(Names::is_known(name), expect, "{name}");
        }
    }
}
