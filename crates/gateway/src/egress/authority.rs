//! The install's own certificate authority, and both ends of a connection that is looked into.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, date_time_ymd};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::sync::OnceCell;
use zeroize::Zeroizing;

/// Certificates of hosts that are kept; beyond it one of them is made again.
const LEAVES_MAX: usize = 256;
/// Certificates of a file of roots.
const ROOTS_MAX: usize = 1000;
/// What the authority is called where certificates are listed.
const NAME: &str = "Lazaret egress inspection";
/// The only protocol within a connection that is looked into: one of HTTP/2 could go on to another host.
const ALPN: &[u8] = b"http/1.1";

/// Why connections cannot be looked into.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// No key or certificate could be made.
    #[error("make a certificate")]
    Make(#[from] rcgen::Error),
    /// What was stored is no authority.
    #[error("read the stored certificate authority: {0}")]
    Stored(&'static str),
    /// TLS does not take what was made.
    #[error("set up TLS")]
    Tls(#[from] rustls::Error),
    /// The file of further roots cannot be used.
    #[error("use the certificates in `{}`: {why}", path.display())]
    Roots {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: &'static str,
    },
}

/// An authority as it is stored.
pub struct StoredAuthority {
    /// Its certificate, which sandboxes trust. PEM.
    pub certificate: String,
    /// Its key. PEM.
    pub key: Zeroizing<String>,
}

impl std::fmt::Debug for StoredAuthority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StoredAuthority")
    }
}

impl StoredAuthority {
    /// Makes one, once for each install.
    ///
    /// # Errors
    /// [`AuthorityError::Make`].
    pub fn make() -> Result<Self, AuthorityError> {
        let key = KeyPair::generate()?;
        let certificate = params()?.self_signed(&key)?.pem();
        Ok(Self { certificate, key: Zeroizing::new(key.serialize_pem()) })
    }
}

fn params() -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, NAME);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2099, 1, 1));
    Ok(params)
}

/// Ends TLS of sandboxes and begins it anew towards hosts.
pub struct Inspection {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
    tls: Arc<CryptoProvider>,
    /// Held for single map operations.
    leaves: Mutex<HashMap<String, Arc<ServerConfig>>>,
    extra_roots: Option<PathBuf>,
    upstream: OnceCell<Arc<ClientConfig>>,
}

impl std::fmt::Debug for Inspection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Inspection")
    }
}

impl Inspection {
    /// Takes up a stored authority. Hosts are verified by the machine's roots and those of the file `extra_roots`.
    ///
    /// # Errors
    /// [`AuthorityError`]: the authority or the file cannot be used.
    pub fn open(stored: &StoredAuthority, extra_roots: Option<PathBuf>) -> Result<Self, AuthorityError> {
        let key = KeyPair::from_pem(&stored.key).map_err(|_| AuthorityError::Stored("its key is none"))?;
        CertificateDer::from_pem_slice(stored.certificate.as_bytes()).map_err(|_| AuthorityError::Stored("its certificate is none"))?;
        if let Some(path) = &extra_roots {
            roots_of(path)?;
        }
        Ok(Self {
            issuer: Issuer::new(params()?, key),
            certificate: stored.certificate.clone(),
            tls: Arc::new(rustls::crypto::ring::default_provider()),
            leaves: Mutex::default(),
            extra_roots,
            upstream: OnceCell::new(),
        })
    }

    /// The certificate that a sandbox must trust, as PEM.
    #[must_use]
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// From when and until when sandboxes take the authority for good, in milliseconds since 1970; `None` when its
    /// certificate does not say so in the usual form.
    #[must_use]
    pub fn valid(&self) -> Option<(u64, u64)> {
        let der = CertificateDer::from_pem_slice(self.certificate.as_bytes()).ok()?;
        validity(&der)
    }

    /// How TLS with a sandbox is ended in the name of `host`.
    pub(super) fn server(&self, host: &str) -> Result<Arc<ServerConfig>, AuthorityError> {
        if let Some(config) = self.leaves.lock().unwrap_or_else(PoisonError::into_inner).get(host) {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(self.make(host)?);
        let mut leaves = self.leaves.lock().unwrap_or_else(PoisonError::into_inner);
        if leaves.len() >= LEAVES_MAX
            && let Some(other) = leaves.keys().next().cloned()
        {
            leaves.remove(&other);
        }
        leaves.insert(host.to_owned(), Arc::clone(&config));
        Ok(config)
    }

    fn make(&self, host: &str) -> Result<ServerConfig, AuthorityError> {
        let mut params = CertificateParams::new(vec![host.to_owned()])?;
        params.distinguished_name.push(DnType::CommonName, if host.len() <= 64 { host } else { NAME });
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2099, 1, 1));
        let key = KeyPair::generate()?;
        let leaf = params.signed_by(&key, &self.issuer)?;
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let certified = CertifiedKey::from_der(vec![leaf.der().clone()], der, &self.tls)?;
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.tls))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(OneHost { host: host.to_owned(), certified: Arc::new(certified) }));
        config.alpn_protocols = vec![ALPN.to_vec()];
        // Nothing is taken up again: each connection is that of one host.
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }

    /// How TLS with hosts is begun. The roots are read when they are first needed.
    pub(super) async fn client(&self) -> Result<Arc<ClientConfig>, AuthorityError> {
        let made = self.upstream.get_or_try_init(|| async {
            let (path, tls) = (self.extra_roots.clone(), Arc::clone(&self.tls));
            let read = tokio::task::spawn_blocking(move || client_config(path, tls)).await;
            read.map_err(|_| AuthorityError::Stored("its reader broke"))?.map(Arc::new)
        });
        made.await.map(Arc::clone)
    }
}

/// How TLS with hosts is begun. Reads files.
pub(super) fn client_config(extra: Option<PathBuf>, tls: Arc<CryptoProvider>) -> Result<ClientConfig, AuthorityError> {
    let mut roots = RootCertStore::empty();
    // A certificate of the machine that cannot be read is one that is not trusted.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = extra {
        for root in roots_of(&path)? {
            roots.add(root).map_err(|_| AuthorityError::Roots { path: path.clone(), why: "one of them is no authority" })?;
        }
    }
    let mut config =
        ClientConfig::builder_with_provider(tls).with_safe_default_protocol_versions()?.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(config)
}

fn roots_of(path: &std::path::Path) -> Result<Vec<CertificateDer<'static>>, AuthorityError> {
    let failed = |why| AuthorityError::Roots { path: path.to_owned(), why };
    let all = CertificateDer::pem_file_iter(path).map_err(|_| failed("the file cannot be read"))?;
    let roots: Result<Vec<_>, _> = all.take(ROOTS_MAX).collect();
    match roots {
        Ok(roots) if roots.is_empty() => Err(failed("there is none")),
        Ok(roots) => Ok(roots),
        Err(_) => Err(failed("the file is not PEM")),
    }
}

/// The certificate of one host, for a client that asks for exactly that host.
#[derive(Debug)]
struct OneHost {
    host: String,
    certified: Arc<CertifiedKey>,
}

impl ResolvesServerCert for OneHost {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let same = match hello.server_name() {
            Some(name) => name.eq_ignore_ascii_case(&self.host),
            // Addresses are never named in a hello.
            None => self.host.parse::<std::net::Ipv4Addr>().is_ok(),
        };
        same.then(|| Arc::clone(&self.certified))
    }
}

/// The validity of a certificate: the first sequence in it of exactly two times.
fn validity(der: &[u8]) -> Option<(u64, u64)> {
    const SEQUENCE: u8 = 0x30;
    let pairs = (0..der.len()).filter(|at| der[*at] == SEQUENCE);
    pairs
        .filter_map(|at| {
            let len = usize::from(*der.get(at + 1)?);
            let inner = der.get(at + 2..at + 2 + len)?;
            let (from, rest) = time(inner)?;
            let (until, rest) = time(rest)?;
            rest.is_empty().then_some((from, until))
        })
        .next()
}

/// One time in DER, and what follows it.
fn time(der: &[u8]) -> Option<(u64, &[u8])> {
    const UTC: u8 = 0x17;
    const GENERALIZED: u8 = 0x18;
    let (kind, len) = (*der.first()?, usize::from(*der.get(1)?));
    let text = std::str::from_utf8(der.get(2..2 + len)?).ok()?.strip_suffix('Z')?;
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let (year, rest) = match kind {
        UTC if text.len() == 12 => {
            let short: u64 = text[..2].parse().ok()?;
            (if short >= 50 { 1900 + short } else { 2000 + short }, &text[2..])
        }
        GENERALIZED if text.len() == 14 => (text[..4].parse().ok()?, &text[4..]),
        _ => return None,
    };
    let part = |n: usize| rest[2 * n..2 * n + 2].parse::<u64>().ok();
    let seconds = days(year, part(0)?, part(1)?)? * 86_400 + part(2)? * 3600 + part(3)? * 60 + part(4)?;
    Some((seconds * 1000, &der[2 + len..]))
}

/// Days from 1970 to a day.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    const BEFORE: [u64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let is_leap = |year: u64| (year.is_multiple_of(4) && !year.is_multiple_of(100)) || year.is_multiple_of(400);
    let years: u64 = (1970..year).map(|year| 365 + u64::from(is_leap(year))).sum();
    let months = BEFORE.get(usize::try_from(month.checked_sub(1)?).ok()?)?;
    Some(years + months + u64::from(month > 2 && is_leap(year)) + day.checked_sub(1)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_authority_is_taken_up_again() {
        let stored = StoredAuthority::make().unwrap();
        let (first, again) = (Inspection::open(&stored, None).unwrap(), Inspection::open(&stored, None).unwrap());
        assert_eq!(first.certificate(), again.certificate());
        assert!(first.server("example.com").is_ok() && first.server("93.184.216.34").is_ok());
        assert!(Arc::ptr_eq(&first.server("example.com").unwrap(), &first.server("example.com").unwrap()));
        let broken = StoredAuthority { certificate: stored.certificate.clone(), key: Zeroizing::new("x".to_owned()) };
        assert!(matches!(Inspection::open(&broken, None), Err(AuthorityError::Stored(_))));
        let missing = Inspection::open(&stored, Some("/nonexistent/roots.pem".into()));
        assert!(matches!(missing, Err(AuthorityError::Roots { .. })));
    }

    #[test]
    fn certificates_of_hosts_are_bounded() {
        let inspection = Inspection::open(&StoredAuthority::make().unwrap(), None).unwrap();
        for n in 0..LEAVES_MAX + 3 {
            inspection.server(&format!("h{n}.example.com")).unwrap();
        }
        assert_eq!(inspection.leaves.lock().unwrap().len(), LEAVES_MAX);
    }

    #[test]
    fn a_certificate_says_how_long_it_is_good() {
        let inspection = Inspection::open(&StoredAuthority::make().unwrap(), None).unwrap();
        // The first days of 2020 and of 2099.
        assert_eq!(inspection.valid(), Some((1_577_836_800_000, 4_070_908_800_000)));
        assert_eq!(days(2024, 3, 1), Some(19_783));
        for broken in [&b""[..], b"\x30", b"\x30\xff", b"\x30\x04\x17\x02Z\x17", &[0x30; 300]] {
            assert_eq!(validity(broken), None);
        }
    }
}
