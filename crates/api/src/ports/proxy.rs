//! Carries requests under an agent's own name to its server, and nothing else anywhere.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use http_body_util::Limited;
use hyper_util::rt::TokioIo;
use tower::Service;

use super::Ports;
use super::grants::Way;
use crate::rate::Peer;

/// What stands behind each name.
const SUFFIX: &str = ".localhost";
/// Below it lies what is the daemon's own under such a name.
const OWN: &str = "/.lazaret/";
/// The cookie of a browser that came by a link. It is this name's alone, and is never shown to the server inside.
const COOKIE: &str = "lazaret-port";
/// How long a browser keeps it, in seconds.
const COOKIE_LIFE_S: u32 = 12 * 3600;
/// The largest body of a request.
const BODY_BYTES_MAX: usize = 64 << 20;
/// How long a request waits for one of the connections that a server may have.
const PLACE_TIME: Duration = Duration::from_secs(20);
/// How long a server may take to begin its answer; some build what they show first.
const ANSWER_TIME: Duration = Duration::from_secs(300);
/// Headers that mean one connection, not the request.
const OF_THE_WAY: &[&str] = &[
    "connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding",
    "upgrade",
];
/// Headers of an answer that would bind the browser beyond this page, or name it to others.
const DROPPED: &[&str] = &["strict-transport-security", "alt-svc", "public-key-pins", "reporting-endpoints", "report-to", "nel"];

/// A router that answers under names of agents, and as before under all others.
pub(crate) fn beside(router: Router, ports: &Ports) -> Router {
    let ports = ports.clone();
    Router::new().fallback(move |request: Request| {
        let (mut router, ports) = (router.clone(), ports.clone());
        async move {
            match label_of(request.headers()) {
                Some(label) => answer(&ports, &label, request).await,
                None => match Service::call(&mut router, request).await {
                    Ok(response) => response,
                    Err(never) => match never {},
                },
            }
        }
    })
}

/// The name before `.localhost`, where any `Host` of the request has one: a request that also names something else is refused, not passed on.
fn label_of(headers: &HeaderMap) -> Option<String> {
    headers.get_all(header::HOST).iter().find_map(|host| {
        let host = host.to_str().ok()?.to_ascii_lowercase();
        let name = host.rsplit_once(':').map_or(host.as_str(), |(name, _)| name).trim_end_matches('.');
        name.strip_suffix(SUFFIX).map(str::to_owned)
    })
}

/// A page of the daemon's own.
fn page(status: StatusCode, text: &str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    ];
    (status, headers, format!("{text}\n")).into_response()
}

async fn answer(ports: &Ports, label: &str, request: Request) -> Response {
    if let Err(why) = is_for(label, &request) {
        return page(StatusCode::FORBIDDEN, why);
    }
    if let Some(rest) = request.uri().path().strip_prefix(OWN) {
        return own(ports, label, request.method(), rest);
    }
    let way = cookie(request.headers()).and_then(|cookie| ports.of(label, &cookie));
    match way {
        Some(way) => forward(&way, request).await,
        None => page(StatusCode::UNAUTHORIZED, "This page is for the browser that opened it. Run: lazaret agents open NAME"),
    }
}

/// Whether a request comes from this machine, for this name, and from no other page.
fn is_for(label: &str, request: &Request) -> Result<(), &'static str> {
    let headers = request.headers();
    if !request.extensions().get::<Peer>().is_some_and(|peer| peer.0.to_canonical().is_loopback()) {
        return Err("This is answered on this machine only.");
    }
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(host), None, None) = (hosts.next(), hosts.next(), request.uri().host()) else {
        return Err("The request names more than one host.");
    };
    let is_name = !label.is_empty() && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !is_name || matches!(*request.method(), Method::CONNECT | Method::TRACE) {
        return Err("There is no such page.");
    }
    let is_own =
        |origin: &HeaderValue| origin.as_bytes().strip_prefix(b"http://").is_some_and(|at| at.eq_ignore_ascii_case(host.as_bytes()));
    if !headers.get_all(header::ORIGIN).iter().all(is_own) {
        return Err("Requests from other web pages are not answered.");
    }
    let fetch = |name: &str| headers.get(name).map(HeaderValue::as_bytes);
    let is_seen =
        fetch("sec-fetch-mode") == Some(b"navigate") && fetch("sec-fetch-dest") == Some(b"document") && request.method() == Method::GET;
    match fetch("sec-fetch-site") {
        None | Some(b"same-origin" | b"none") => Ok(()),
        // A link on another page; it brings no cookie.
        Some(_) if is_seen => Ok(()),
        Some(_) => Err("Requests from other web pages are not answered."),
    }
}

/// What is the daemon's own under such a name: the link, and nothing else.
fn own(ports: &Ports, label: &str, method: &Method, rest: &str) -> Response {
    let code = rest.strip_prefix("in/").filter(|_| *method == Method::GET);
    let Some(cookie) = code.and_then(|code| ports.redeem(label, code)) else {
        return page(StatusCode::UNAUTHORIZED, "This link was used already or is too old. Run: lazaret agents open NAME");
    };
    // The browser goes on by itself: after a link on another page, a redirect would come without the cookie.
    let body = "<!doctype html><meta http-equiv=refresh content=\"0;url=/\"><title>Opening</title>";
    let set = format!("{COOKIE}={cookie}; Path=/; Max-Age={COOKIE_LIFE_S}; HttpOnly; SameSite=Strict");
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8".to_owned()),
        (header::CACHE_CONTROL, "no-store".to_owned()),
        (header::REFERRER_POLICY, "no-referrer".to_owned()),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'".to_owned()),
        (header::SET_COOKIE, set),
    ];
    (headers, body).into_response()
}

/// The value of our cookie; none where there are two.
fn cookie(headers: &HeaderMap) -> Option<String> {
    let mut values =
        pairs(headers).filter_map(|pair| pair.split_once('=')).filter(|(name, _)| *name == COOKIE).map(|(_, value)| value.to_owned());
    let first = values.next()?;
    values.next().is_none().then_some(first)
}

fn pairs(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(';')).map(str::trim)
}

/// Carries one request over a connection of its own.
async fn forward(way: &Way, mut request: Request) -> Response {
    let Ok(Ok(place)) = tokio::time::timeout(PLACE_TIME, way.places.clone().acquire_owned()).await else {
        return page(StatusCode::SERVICE_UNAVAILABLE, "The server inside has as many connections as it may.");
    };
    let place = Arc::new(place);
    let stream = match way.app.dial(&way.caller, &way.to).await {
        Ok(stream) => stream,
        Err(failure) => return page(StatusCode::BAD_GATEWAY, &format!("{}.", failure.message)),
    };
    let host = request.headers().get(header::HOST).cloned();
    let is_upgrade = is_websocket(request.headers());
    let upgraded = is_upgrade.then(|| hyper::upgrade::on(&mut request));
    let outgoing = outgoing(way, request, is_upgrade);
    let Ok((mut sender, connection)) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await else {
        return page(StatusCode::BAD_GATEWAY, "The server inside does not speak HTTP.");
    };
    let held = Arc::clone(&place);
    way.app.spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "a connection to a server inside broke");
        }
        drop(held);
    });
    let mut response = match tokio::time::timeout(ANSWER_TIME, sender.send_request(outgoing)).await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => {
            tracing::debug!(%error, "a server inside did not answer");
            return page(StatusCode::BAD_GATEWAY, "The server inside ended the connection without an answer.");
        }
        Err(_) => return page(StatusCode::GATEWAY_TIMEOUT, "The server inside does not answer."),
    };
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let Some(upgraded) = upgraded else { return page(StatusCode::BAD_GATEWAY, "The server inside changed the protocol unasked.") };
        let theirs = hyper::upgrade::on(&mut response);
        way.app.spawn(async move {
            join(upgraded, theirs).await;
            drop(place);
        });
    }
    incoming(way, host.as_ref(), response.map(Body::new), is_upgrade)
}

/// Carries what follows a change of protocol.
async fn join(ours: hyper::upgrade::OnUpgrade, theirs: hyper::upgrade::OnUpgrade) {
    let (Ok(ours), Ok(theirs)) = (ours.await, theirs.await) else { return };
    let ((mut from_us, mut to_us), (mut from_them, mut to_them)) =
        (tokio::io::split(TokioIo::new(ours)), tokio::io::split(TokioIo::new(theirs)));
    // Whoever ends it ends both ways: a browser that stays would hold the daemon's end up.
    tokio::select! {
        _ = tokio::io::copy(&mut from_us, &mut to_them) => {}
        _ = tokio::io::copy(&mut from_them, &mut to_us) => {}
    }
}

fn is_websocket(headers: &HeaderMap) -> bool {
    let has = |name: HeaderName, word: &str| {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|part| part.trim().eq_ignore_ascii_case(word))
    };
    has(header::UPGRADE, "websocket") && has(header::CONNECTION, "upgrade")
}

/// The request as the server inside gets it: from a browser on its own machine.
fn outgoing(way: &Way, request: Request, is_upgrade: bool) -> axum::http::Request<Limited<Body>> {
    let (mut parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    parts.uri = path.parse().unwrap_or_else(|_| Uri::from_static("/"));
    let kept: Vec<String> = pairs(&parts.headers)
        .filter(|pair| pair.split_once('=').is_none_or(|(name, _)| name.trim() != COOKIE))
        .map(str::to_owned)
        .collect();
    parts.headers.remove(header::COOKIE);
    strip(&mut parts.headers);
    if let Ok(value) = HeaderValue::try_from(kept.join("; "))
        && !kept.is_empty()
    {
        parts.headers.insert(header::COOKIE, value);
    }
    let inside = format!("localhost:{}", way.to.port);
    if let Ok(value) = HeaderValue::try_from(&inside) {
        parts.headers.insert(header::HOST, value);
    }
    if parts.headers.remove(header::ORIGIN).is_some()
        && let Ok(value) = HeaderValue::try_from(format!("http://{inside}"))
    {
        parts.headers.insert(header::ORIGIN, value);
    }
    parts.headers.remove(header::REFERER);
    // A token of ours that came here by mistake stays here.
    if parts.headers.get(header::AUTHORIZATION).is_some_and(|value| value.as_bytes().starts_with(b"Bearer lz")) {
        parts.headers.remove(header::AUTHORIZATION);
    }
    let connection = if is_upgrade { "upgrade" } else { "close" };
    parts.headers.insert(header::CONNECTION, HeaderValue::from_static(connection));
    if is_upgrade {
        parts.headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    }
    parts.extensions = axum::http::Extensions::new();
    parts.version = axum::http::Version::HTTP_11;
    axum::http::Request::from_parts(parts, Limited::new(body, BODY_BYTES_MAX))
}

/// Takes out what means one connection, those named by `Connection` as well.
fn strip(headers: &mut HeaderMap) {
    let named: Vec<String> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    for name in named.iter().map(String::as_str).chain(OF_THE_WAY.iter().copied()) {
        headers.remove(name);
    }
}

/// The answer as the browser gets it.
fn incoming(way: &Way, host: Option<&HeaderValue>, mut response: Response, is_upgrade: bool) -> Response {
    let switches = is_upgrade && response.status() == StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    strip(headers);
    if switches {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    }
    for name in DROPPED {
        headers.remove(*name);
    }
    // A cookie stays with this name, and is not ours.
    let cookies: Vec<HeaderValue> = headers.get_all(header::SET_COOKIE).iter().filter(|value| is_plain_cookie(value)).cloned().collect();
    headers.remove(header::SET_COOKIE);
    for cookie in cookies {
        headers.append(header::SET_COOKIE, cookie);
    }
    // What the server calls itself is another place out here.
    let inside = format!("http://localhost:{}", way.to.port);
    let place = headers
        .get(header::LOCATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|place| place.strip_prefix(&inside))
        .map(str::to_owned);
    if let Some(Ok(place)) = place.filter(|rest| rest.starts_with('/')).map(HeaderValue::try_from) {
        headers.insert(header::LOCATION, place);
    }
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
    headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
    headers.insert("x-dns-prefetch-control", HeaderValue::from_static("off"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if let Some(policy) = policy(way, host) {
        // Beside the server's own: both hold.
        headers.append(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// What a page of the agent's may load and speak with: its own server. Without it a page could carry files of the sandbox out through the
/// browser, whatever hosts the agent may reach.
fn policy(way: &Way, host: Option<&HeaderValue>) -> Option<HeaderValue> {
    if way.outside {
        return HeaderValue::try_from("frame-ancestors 'self'").ok();
    }
    let host = host?.to_str().ok()?;
    let text = format!(
        "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; connect-src 'self' ws://{host} data: blob:; form-action 'self'; \
         base-uri 'self'; frame-ancestors 'self'; webrtc 'block'"
    );
    HeaderValue::try_from(text).ok()
}

fn is_plain_cookie(value: &HeaderValue) -> bool {
    let Ok(text) = value.to_str() else { return false };
    let mut parts = text.split(';').map(str::trim);
    let is_ours = parts.next().and_then(|pair| pair.split_once('=')).is_none_or(|(name, _)| name.trim() == COOKIE);
    !is_ours && !parts.any(|part| part.to_ascii_lowercase().starts_with("domain"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(host: &str, uri: &str, headers: &[(&str, &str)]) -> Request {
        let mut builder = Request::builder().uri(uri).header("host", host);
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        let mut request = builder.body(Body::empty()).expect("a request");
        request.extensions_mut().insert(Peer([127, 0, 0, 1].into()));
        request
    }

    #[test]
    fn only_names_below_localhost_are_agents() {
        let label = |host: &str| label_of(request(host, "/", &[]).headers());
        assert_eq!(label("feat-x-0a.localhost:8420").as_deref(), Some("feat-x-0a"));
        assert_eq!(label("A.LOCALHOST").as_deref(), Some("a"));
        for other in ["localhost:8420", "127.0.0.1:8420", "evil.example", "a.localhost.evil.example", "notlocalhost", "[::1]:8420"] {
            assert_eq!(label(other), None, "{other}");
        }
        // One that names two is not passed on to anybody.
        assert!(label_of(request("127.0.0.1", "/", &[("host", "a.localhost")]).headers()).is_some());
    }

    #[test]
    fn what_comes_from_elsewhere_is_refused() {
        let check = |request: Request| is_for("a", &request).is_ok();
        let host = "a.localhost:8420";
        assert!(check(request(host, "/", &[])));
        assert!(check(request(host, "/", &[("origin", "http://a.localhost:8420"), ("sec-fetch-site", "same-origin")])));
        assert!(check(request(
            host,
            "/",
            &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")]
        )));
        for headers in [
            [("origin", "http://b.localhost:8420")],
            [("origin", "http://localhost:8420")],
            [("origin", "null")],
            [("origin", "https://a.localhost:8420")],
            [("sec-fetch-site", "cross-site")],
            [("sec-fetch-site", "same-site")],
            [("host", "a.localhost:8420")],
        ] {
            assert!(!check(request(host, "/", &headers)), "{headers:?}");
        }
        let framed = [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")];
        assert!(!check(request(host, "/", &framed)));
        assert!(!check(request(host, "http://b.localhost:8420/", &[])), "absolute form");
        let mut far = request(host, "/", &[]);
        far.extensions_mut().insert(Peer([192, 0, 2, 1].into()));
        assert!(!check(far));
        assert!(is_for("a.b", &request("a.b.localhost", "/", &[])).is_err());
    }

    #[test]
    fn the_cookie_is_ours_alone() {
        let of = |value: &str| cookie(request("a.localhost", "/", &[("cookie", value)]).headers());
        assert_eq!(of("x=1; lazaret-port=abc").as_deref(), Some("abc"));
        assert_eq!(of("lazaret-port=a; lazaret-port=b"), None, "whichever is meant");
        assert_eq!(of("x=lazaret-port=a"), None);
        for (cookie, stays) in [
            ("a=1; Path=/", true),
            ("a=1; Domain=localhost", false),
            ("a=1; domain=.localhost", false),
            ("lazaret-port=x", false),
            (" lazaret-port =x", false),
        ] {
            assert_eq!(is_plain_cookie(&HeaderValue::from_str(cookie).expect("a value")), stays, "{cookie}");
        }
    }
}
