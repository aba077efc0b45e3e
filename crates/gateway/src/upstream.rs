//! The providers and the connections to them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use model::Code;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::config::WELL_KNOWN;
use crate::refusal::Refusal;
use crate::scrub::Needles;
use crate::{Auth, Config, GatewayError, Kind, Limits, ProviderConfig, REHEARSAL};

/// Idle connections that are kept to one provider, and for how long.
const IDLE_MAX: usize = 64;
const IDLE_TIME: Duration = Duration::from_secs(45);
/// Certificates of an own file.
const CERTIFICATES_MAX: usize = 1000;
/// Headers that a configuration may not set: they belong to the connection, or are how a key travels.
const NOT_OWN: &[&str] = &[
    "host", "authorization", "x-api-key", "x-goog-api-key", "cookie", "connection", "transfer-encoding", "content-length",
    "proxy-authorization", "accept-encoding", "te", "upgrade",
];

/// One provider, checked.
pub(crate) struct Provider {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) auth: Auth,
    pub(crate) keyless: bool,
    pub(crate) free: bool,
    pub(crate) headers: HeaderMap,
    /// Scheme, host, port and path up to and with the version.
    base: String,
    /// The key's spellings, rebuilt when the key changes. Held for a comparison or an insertion.
    needles: Mutex<Option<([u8; 32], Arc<Needles>)>>,
    /// The models that it named lately. Held while it is asked for them.
    pub(crate) models: tokio::sync::Mutex<Option<crate::models::Kept>>,
}

impl ProviderConfig {
    /// Whether it can be a provider of this name.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self, name: &str) -> Result<(), GatewayError> {
        Provider::open(name, self).map(drop)
    }
}

impl Provider {
    fn open(name: &str, config: &ProviderConfig) -> Result<Self, GatewayError> {
        let wrong = |why| GatewayError::Provider { name: name.to_owned(), why };
        let known = WELL_KNOWN.iter().find(|known| known.name == name);
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_');
        if name == REHEARSAL || name.is_empty() || name.len() > 64 || !name.bytes().all(plain) {
            return Err(wrong("the name is reserved, too long, or has other characters than small letters, digits, `-` and `_`"));
        }
        let kind = config.kind.or_else(|| known.map(|known| known.kind)).unwrap_or(Kind::OpenAi);
        let base =
            config.base_url.as_deref().or_else(|| known.map(|known| known.base_url)).ok_or_else(|| wrong("`base_url` is missing"))?;
        let base = base_url(base, kind).map_err(wrong)?;
        let mut headers = HeaderMap::new();
        for (name, value) in &config.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong("a header's name is not one"))?;
            if NOT_OWN.contains(&name.as_str()) {
                return Err(wrong("a header is one that the gateway sets itself"));
            }
            headers.insert(name, HeaderValue::from_str(value).map_err(|_| wrong("a header's value has characters that no value has"))?);
        }
        Ok(Self {
            name: name.to_owned(),
            kind,
            auth: config.auth,
            keyless: config.keyless,
            free: config.free,
            headers,
            base,
            needles: Mutex::default(),
            models: tokio::sync::Mutex::default(),
        })
    }

    /// Every provider of a configuration, and the well-known ones.
    pub(crate) fn open_all(config: &Config) -> Result<HashMap<String, Arc<Self>>, GatewayError> {
        let mut all = HashMap::new();
        for known in WELL_KNOWN.iter().filter(|known| !config.providers.contains_key(known.name)) {
            all.insert(known.name.to_owned(), Arc::new(Self::open(known.name, &ProviderConfig::default())?));
        }
        for (name, provider) in &config.providers {
            all.insert(name.clone(), Arc::new(Self::open(name, provider)?));
        }
        Ok(all)
    }

    /// The address of a call.
    pub(crate) fn uri(&self, tail: &str, query: &str) -> Option<Uri> {
        format!("{}{tail}{query}", self.base).parse().ok()
    }

    /// The spellings of the key that must not come back.
    pub(crate) fn needles(&self, key: &str) -> Option<Arc<Needles>> {
        let digest: [u8; 32] = <sha2::Sha256 as sha2::Digest>::digest(key.as_bytes()).into();
        let mut held = self.needles.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, needles)) = &*held
            && *known == digest
        {
            return Some(needles.clone());
        }
        let needles = Arc::new(Needles::new(key)?);
        *held = Some((digest, needles.clone()));
        Some(needles)
    }
}

/// Brings a base URL to its one form, ending with the version. A path that is written counts as complete for OpenAI (many
/// compatible servers have odd ones); the others get their version when it is missing.
fn base_url(text: &str, kind: Kind) -> Result<String, &'static str> {
    let uri: Uri = text.parse().map_err(|_| "`base_url` is not a URL")?;
    let scheme =
        uri.scheme_str().filter(|s| matches!(*s, "http" | "https")).ok_or("`base_url` begins neither with http:// nor with https://")?;
    let authority = uri.authority().ok_or("`base_url` has no host")?;
    if authority.as_str().contains('@') || uri.query().is_some() || text.contains('#') {
        return Err("`base_url` has a user, a query or a fragment");
    }
    let path = uri.path().trim_end_matches('/');
    let version = if kind == Kind::Gemini { "/v1beta" } else { "/v1" };
    let add = if kind == Kind::OpenAi { path.is_empty() } else { !path.ends_with(version) };
    Ok(format!("{scheme}://{authority}{path}{}", if add { version } else { "" }))
}

/// The client that all calls share.
pub(crate) struct Upstream {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    first_byte: Duration,
}

impl Upstream {
    pub(crate) fn open(config: &Config) -> Result<Self, GatewayError> {
        let mut roots = rustls::RootCertStore::empty();
        // A certificate of the machine that cannot be read is one that is not trusted.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if let Some(path) = &config.ca_file {
            let failed = |why| GatewayError::CaFile { path: path.clone(), why };
            let certificates = CertificateDer::pem_file_iter(path).map_err(|_| failed("it cannot be read"))?;
            let mut count = 0;
            for certificate in certificates.take(CERTIFICATES_MAX) {
                let certificate = certificate.map_err(|_| failed("it is not PEM"))?;
                roots.add(certificate).map_err(|_| failed("it holds something that is no certificate authority"))?;
                count += 1;
            }
            if count == 0 {
                return Err(failed("it holds no certificate"));
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring serves the default versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(config.limits.connect));
        let connector = hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE_TIME)
            .pool_max_idle_per_host(IDLE_MAX)
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .build(connector);
        let Limits { first_byte, .. } = config.limits;
        Ok(Self { client, first_byte })
    }

    /// Sends a call and waits for the head of the reply.
    pub(crate) async fn send(&self, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Result<Response<Incoming>, Refusal> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        // What went wrong is told by kind only: the texts of the libraries may name addresses.
        match tokio::time::timeout(self.first_byte, self.client.request(request)).await {
            Err(_) => Err(Refusal::new(Code::ProviderError, "the provider did not begin to answer in time")
                .with_status(http::StatusCode::GATEWAY_TIMEOUT)),
            Ok(Err(error)) if error.is_connect() => Err(Refusal::new(Code::ProviderDown, "the provider cannot be reached")),
            Ok(Err(_)) => Err(Refusal::new(Code::StreamCut, "the provider closed the connection before it answered")),
            Ok(Ok(response)) => Ok(response),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_has_one_form() {
        let check =
            |text: &str, kind, expect: Result<&str, ()>| assert_eq!(base_url(text, kind).as_deref().map_err(|_| ()), expect, "{text}");
        check("https://api.anthropic.com", Kind::Anthropic, Ok("https://api.anthropic.com/v1"));
        check("https://api.anthropic.com/v1/", Kind::Anthropic, Ok("https://api.anthropic.com/v1"));
        check("https://openrouter.ai/api", Kind::Anthropic, Ok("https://openrouter.ai/api/v1"));
        check("http://127.0.0.1:11434", Kind::OpenAi, Ok("http://127.0.0.1:11434/v1"));
        check("https://openrouter.ai/api/v1", Kind::OpenAi, Ok("https://openrouter.ai/api/v1"));
        check("https://x/backend-api/codex", Kind::OpenAi, Ok("https://x/backend-api/codex"));
        check("http://[::1]:8/", Kind::Gemini, Ok("http://[::1]:8/v1beta"));
        for bad in [
            "", "api.openai.com", "ftp://x", "https://user@x", "https://user:pw@x/v1", "https://x/?q=1", "https://x/#f", "unix:///x",
            "https://",
        ] {
            check(bad, Kind::OpenAi, Err(()));
        }
    }

    #[test]
    fn a_wrong_table_is_refused() {
        let open = |name: &str, config: ProviderConfig| Provider::open(name, &config).map(|p| p.base).ok();
        assert_eq!(open("openai", ProviderConfig::default()).as_deref(), Some("https://api.openai.com/v1"));
        assert_eq!(open("mine", ProviderConfig::default()), None);
        let url = || Some("http://h".to_owned());
        assert!(open("mine", ProviderConfig { base_url: url(), ..Default::default() }).is_some());
        for name in ["rehearsal", "", "A", "a b", "../x"] {
            assert_eq!(open(name, ProviderConfig { base_url: url(), ..Default::default() }), None, "{name}");
        }
        let headers = std::collections::BTreeMap::from([("Authorization".to_owned(), "Bearer x".to_owned())]);
        assert_eq!(open("mine", ProviderConfig { base_url: url(), headers, ..Default::default() }), None);
    }
}
