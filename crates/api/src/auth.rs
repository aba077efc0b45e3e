//! Who asks, and what they may.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use app::{Caller, Rights, Role, Scope};
use axum::extract::{FromRequestParts, OptionalFromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use model::{Code, Failure, Timestamp};
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use crate::operation::Needs;
use crate::rate::Peer;
use crate::{Api, Logins, Problem};

/// Where a request came in. Each listener says so beside the request; one that came in nowhere is nobody's.
#[derive(Clone)]
pub(crate) enum Door {
    /// The owner's socket: the kernel said who is there.
    Owner,
    /// TCP: whoever has a token.
    Tcp(Access),
}

/// How the audit names the owner.
const OWNER: &str = "owner";

/// What the TCP listener compares requests with.
#[derive(Clone)]
pub struct Access {
    /// SHA-256 of the owner's token: compared instead of the token, so that the time of a comparison tells nothing.
    token: Arc<[u8; 32]>,
    logins: Logins,
}

/// Who asks, as the listener and the token say: never a field of the request.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    /// What is seen.
    pub(crate) caller: Caller,
    /// What may be done.
    pub(crate) rights: Rights,
    /// What they are in their tenant, when it is a person who logged in.
    pub(crate) role: Option<Role>,
    /// When the token ends by itself.
    expires: Option<Timestamp>,
    /// Requests in a minute that the tenant may make.
    pub(crate) requests_per_minute: Option<u32>,
    /// How the audit names who asks: `owner` or `token:ID`.
    pub(crate) actor: String,
    /// Whether it is the owner at the socket, who may hand descriptors over and name places of this machine.
    pub(crate) is_local: bool,
    /// What the token hashes to, where it may end while a stream goes on.
    token: Option<[u8; 32]>,
}

impl Identity {
    fn owner(is_local: bool) -> Self {
        Self {
            caller: Caller::OWNER,
            rights: Rights::from(Scope::Admin),
            role: None,
            expires: None,
            requests_per_minute: None,
            actor: OWNER.to_owned(),
            is_local,
            token: None,
        }
    }

    /// Whether something of this area may be done that needs this scope.
    pub(crate) fn may(&self, area: &str, scope: Scope) -> bool {
        self.rights.allow(area, scope)
    }

    /// Whether it is the owner of the home, at the socket or on the page.
    pub(crate) fn is_owner(&self) -> bool {
        self.actor == OWNER
    }

    /// The token, as it is counted for rates; `None` for who is not counted.
    pub(crate) fn counted(&self) -> Option<([u8; 32], Option<&str>)> {
        let tenant = self.caller.tenant.as_deref();
        self.token.filter(|_| self.actor != OWNER).map(|token| (token, tenant))
    }

    /// Whether the token that opened a stream is still good. One that cannot be looked up is not.
    pub(crate) async fn is_good(&self, api: &Api) -> bool {
        match &self.token {
            None => true,
            Some(hash) => api.logins.knows(hash) || matches!(api.app.tokens().check_hash(hash).await, Ok(Some(_))),
        }
    }

    /// Waits until the token is no longer good; for ever when it cannot end. `changes` was made before the stream began. It may be
    /// dropped and called again by who asks [`Identity::is_good`] besides.
    pub(crate) async fn ended(&self, api: &Api, changes: &mut watch::Receiver<u64>) {
        if self.token.is_none() {
            return std::future::pending().await;
        }
        loop {
            let left = self.expires.map(|end| Duration::from_millis(end.0.saturating_sub(app::now().0)));
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return std::future::pending().await },
                () = tokio::time::sleep(left.unwrap_or_default()), if left.is_some() => {}
            }
            if !self.is_good(api).await {
                return;
            }
        }
    }

    /// Whether something that only the owner's own programs may name is named by somebody else.
    pub(crate) fn only_local(&self, is_named: bool, field: &str) -> Result<(), Failure> {
        if self.is_local || !is_named {
            return Ok(());
        }
        Err(Failure::new(Code::Forbidden, format!("`{field}` is taken only over the owner's socket"))
            .hint("use the `lazaret` command on this machine")
            .field(field))
    }
}

impl Access {
    /// Lets the bearer of `token` in, and browsers that logged in.
    #[must_use]
    pub fn new(token: &str, logins: Logins) -> Self {
        Self { token: Arc::new(hash(token.as_bytes())), logins }
    }

    /// Ways of browsers to servers of agents.
    pub(crate) fn ports(&self) -> &crate::ports::Ports {
        self.logins.ports()
    }

    async fn find(&self, api: &Api, headers: &HeaderMap) -> Result<Option<Identity>, Failure> {
        let Some(given) = given(headers) else { return Ok(None) };
        if given == *self.token {
            return Ok(Some(Identity::owner(false)));
        }
        if self.logins.knows(&given) {
            return Ok(Some(Identity { token: Some(given), ..Identity::owner(false) }));
        }
        let Some(bearer) = api.app.tokens().check_hash(&given).await? else { return Ok(None) };
        let actor = match &bearer.token.user {
            Some(user) => format!("user:{user}"),
            None => format!("token:{}", bearer.token.id),
        };
        Ok(Some(Identity {
            caller: Caller { tenant: bearer.token.tenant },
            rights: bearer.rights,
            role: bearer.role,
            expires: bearer.token.expires,
            requests_per_minute: bearer.requests_per_minute,
            actor,
            is_local: false,
            token: Some(given),
        }))
    }
}

fn hash(token: &[u8]) -> [u8; 32] {
    Sha256::digest(token).into()
}

/// How a browser's WebSocket, which can set no other header, brings its token: among the protocols that it offers.
pub(crate) const WS_TOKEN_PREFIX: &str = "lazaret.token.";
/// The protocol that such a WebSocket gets.
pub(crate) const WS_PROTOCOL: &str = "lazaret";

/// What the one token of a request hashes to.
fn given(headers: &HeaderMap) -> Option<[u8; 32]> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.as_bytes().strip_prefix(b"Bearer ").map(hash),
        (None, _) => {
            let is_socket = headers.get(header::UPGRADE).is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(b"websocket"));
            let offered = headers.get(header::SEC_WEBSOCKET_PROTOCOL).filter(|_| is_socket)?.to_str().ok()?;
            offered.split(',').find_map(|name| name.trim().strip_prefix(WS_TOKEN_PREFIX)).map(|token| hash(token.as_bytes()))
        }
        _ => None,
    }
}

/// The layer that finds out who asks. What that allows, each route says: see [`guard`].
pub(crate) async fn identify(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    let identity = match request.extensions().get::<Door>() {
        Some(Door::Owner) => Some(Identity::owner(true)),
        Some(Door::Tcp(access)) => {
            // Platforms call under whatever name leads here, and what they may do hangs on a signature alone.
            let is_hook = request.uri().path().starts_with("/hooks/");
            if let Err(failure) = is_for_us(request.headers(), request.uri()).or_else(|failure| if is_hook { Ok(()) } else { Err(failure) })
            {
                return Problem::from(failure).into_response();
            }
            match access.clone().find(&api, request.headers()).await {
                Ok(found) => found,
                Err(failure) => return Problem::from(failure).into_response(),
            }
        }
        None => None,
    };
    let peer = request.extensions().get::<Peer>().map(|peer| peer.0);
    let counted = match identity.as_ref().map(|who| api.rates.count(&api.app.rates(), who)).transpose() {
        Ok(counted) => counted.flatten(),
        Err(refused) => return refused.answer(),
    };
    if let Some(identity) = identity {
        request.extensions_mut().insert(identity);
    }
    let mut response = next.run(request).await;
    if let Some(peer) = peer
        && response.status() == StatusCode::UNAUTHORIZED
        && let Err(refused) = api.rates.failed(&api.app.rates(), peer)
    {
        return refused.answer();
    }
    if let Some(counted) = counted {
        counted.write(response.headers_mut());
    }
    response
}

/// Whether a request may use a route of this area.
pub(crate) fn check(area: &str, needs: Needs, identity: Option<&Identity>) -> Result<(), Failure> {
    let (scope, whole) = match needs {
        Needs::Nothing => return Ok(()),
        Needs::Scope(scope) => (scope, false),
        Needs::Whole(scope) => (scope, true),
    };
    let Some(identity) = identity else { return Err(nobody()) };
    if !identity.may(area, scope) {
        let failure = Failure::new(Code::Forbidden, "the token's scope does not allow this");
        return Err(failure.hint(format!("use a token with the scope `{0}` or `{area}:{0}`", scope.as_str())));
    }
    if (whole || scope == Scope::Admin) && identity.caller.tenant.is_some() {
        return Err(Failure::new(Code::Forbidden, "this is everybody's, and the token is one tenant's"));
    }
    Ok(())
}

/// Whether anybody is there at all.
pub(crate) fn known(identity: Option<&Identity>) -> Result<(), Failure> {
    identity.map(drop).ok_or_else(nobody)
}

/// The layer of one route.
pub(crate) async fn guard(area: &'static str, needs: Needs, request: Request, next: Next) -> Response {
    match check(area, needs, request.extensions().get::<Identity>()) {
        Ok(()) => next.run(request).await,
        Err(failure) => Problem::from(failure).into_response(),
    }
}

/// What whoever has no token is told.
pub(crate) fn nobody() -> Failure {
    Failure::new(Code::Unauthorized, "this needs a token")
        .hint("send `Authorization: Bearer` with a token of `lazaret token add`, or with the content of the file `token` in the home")
}

impl<S: Send + Sync> FromRequestParts<S> for Identity {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Identity>().cloned().ok_or_else(|| nobody().into())
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for Identity {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Infallible> {
        Ok(parts.extensions.get::<Identity>().cloned())
    }
}

/// Whether a request over TCP is meant for this machine and comes from no other web page.
fn is_for_us(headers: &HeaderMap, uri: &Uri) -> Result<(), Failure> {
    if !names_this_machine(headers, uri) {
        return Err(
            Failure::new(Code::Forbidden, "the Host header does not name this machine").hint("call the API as 127.0.0.1 or localhost")
        );
    }
    if !is_own_origin(headers) {
        return Err(Failure::new(Code::Forbidden, "requests from other web pages are not answered"));
    }
    Ok(())
}

/// Whether a request that says where its page came from names this very server.
fn is_own_origin(headers: &HeaderMap) -> bool {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    match (origins.next(), origins.next(), headers.get(header::HOST)) {
        (None, ..) => true,
        (Some(origin), None, Some(host)) => origin.as_bytes().strip_prefix(b"http://") == Some(host.as_bytes()),
        _ => false,
    }
}

/// Whether `Host` is an address or `localhost`: a web page under its own name (DNS rebinding) sends that name.
fn names_this_machine(headers: &HeaderMap, uri: &Uri) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    if uri.host().is_some() {
        return false;
    }
    let Ok(host) = host.to_str() else { return false };
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(""),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_pass() {
        let check = |host: &str, expect: bool| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().expect("a value"));
            assert_eq!(names_this_machine(&headers, &Uri::from_static("/v1/sandboxes")), expect, "{host}");
        };
        check("127.0.0.1:8420", true);
        check("localhost", true);
        check("[::1]:8420", true);
        check("evil.example:8420", false);
        check("127.0.0.1.evil.example", false);
        check("localhost.evil.example:8420", false);
        assert!(!names_this_machine(&HeaderMap::new(), &Uri::from_static("/")));
    }

    #[test]
    fn only_this_servers_own_pages_pass() {
        let check = |origin: Option<&str>, expect: bool| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, "127.0.0.1:8420".parse().expect("a value"));
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, origin.parse().expect("a value"));
            }
            assert_eq!(is_own_origin(&headers), expect, "{origin:?}");
        };
        check(None, true);
        check(Some("http://127.0.0.1:8420"), true);
        for foreign in ["http://127.0.0.1:9", "https://127.0.0.1:8420", "http://evil.example", "null", "http://127.0.0.1:8420.evil.example"]
        {
            check(Some(foreign), false);
        }
    }

    #[test]
    fn only_the_whole_token_passes() {
        let check = |value: &'static [u8], expect: bool| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, axum::http::HeaderValue::from_bytes(value).expect("a value"));
            assert_eq!(given(&headers) == Some(hash(b"lzt_abc")), expect, "{value:?}");
        };
        check(b"Bearer lzt_abc", true);
        check(b"Bearer lzt_ab", false);
        check(b"Bearer lzt_abcd", false);
        check(b"bearer lzt_abc", false);
        check(b"lzt_abc", false);
        check(b"Bearer \xff\xfe", false);
        assert!(given(&HeaderMap::new()).is_none());
        let mut twice = HeaderMap::new();
        twice.append(header::AUTHORIZATION, "Bearer lzt_abc".parse().expect("a value"));
        twice.append(header::AUTHORIZATION, "Bearer lzt_abc".parse().expect("a value"));
        assert!(given(&twice).is_none());
    }

    #[test]
    fn a_token_among_protocols_counts_only_for_a_websocket() {
        let mut headers = HeaderMap::new();
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, "lazaret, lazaret.token.lzt_abc".parse().expect("a value"));
        assert!(given(&headers).is_none());
        headers.insert(header::UPGRADE, "websocket".parse().expect("a value"));
        assert_eq!(given(&headers), Some(hash(b"lzt_abc")));
    }

    #[test]
    fn each_scope_allows_what_those_before_it_allow() {
        let of = |scope, tenant: Option<&str>| Identity {
            caller: Caller { tenant: tenant.map(str::to_owned) },
            rights: Rights::from(scope),
            ..Identity::owner(false)
        };
        let check = |needs, who: &Identity, expect: Option<Code>| {
            assert_eq!(check("jobs", needs, Some(who)).err().map(|f| f.code), expect, "{needs:?} {who:?}");
        };
        check(Needs::Scope(Scope::Read), &of(Scope::Read, Some("a")), None);
        check(Needs::Scope(Scope::Write), &of(Scope::Read, Some("a")), Some(Code::Forbidden));
        check(Needs::Scope(Scope::Write), &of(Scope::Admin, None), None);
        check(Needs::Scope(Scope::Admin), &of(Scope::Write, None), Some(Code::Forbidden));
        check(Needs::Whole(Scope::Read), &of(Scope::Write, Some("a")), Some(Code::Forbidden));
        check(Needs::Whole(Scope::Read), &of(Scope::Read, None), None);
        check(Needs::Scope(Scope::Admin), &of(Scope::Admin, Some("a")), Some(Code::Forbidden));
        let narrow = Identity { rights: "jobs:write".parse().expect("rights"), ..of(Scope::Read, Some("a")) };
        check(Needs::Scope(Scope::Write), &narrow, None);
        assert!(super::check("sessions", Needs::Scope(Scope::Read), Some(&narrow)).is_err(), "another area");
        assert_eq!(super::check("jobs", Needs::Scope(Scope::Read), None).err().map(|f| f.code), Some(Code::Unauthorized));
        assert!(super::check("jobs", Needs::Nothing, None).is_ok());
    }
}
