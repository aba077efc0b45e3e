//! How programs inside come to trust the install's own certificate authority, where hosts are looked into.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::{EgressRule, Failure};
use sandbox::HostFile;

use crate::{App, ImageRef};

/// The authority alone, for programs that add it to their own.
const OWN: &str = "/opt/lazaret/egress-ca.crt";
/// The system's bundle with the authority, for programs that replace theirs.
const BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";
/// The same for Java.
const JAVA: &str = "/opt/lazaret/egress-ca.jks";
/// Where systems keep the bundle; [`BUNDLE`] is where it is put in any case.
const BUNDLES: &[&str] =
    &[BUNDLE, "/etc/ssl/cert.pem", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem"];
/// The largest bundle that is read.
const BUNDLE_BYTES_MAX: u64 = 2 << 20;
/// Variables that name a bundle.
const BUNDLE_VARIABLES: &[&str] = &[
    "SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "GIT_SSL_CAINFO", "CARGO_HTTP_CAINFO", "AWS_CA_BUNDLE",
    "NIX_SSL_CERT_FILE",
];

impl App {
    /// The files by which a sandbox trusts the authority; none where nothing is looked into.
    pub(crate) async fn trust_files(&self, image: &ImageRef, rules: &[EgressRule], secrets: &[String]) -> Result<Vec<HostFile>, Failure> {
        if !self.must_inspect(rules, secrets) {
            return Ok(Vec::new());
        }
        let inspection = self.inspection().await?;
        let (own, root) = (inspection.certificate().to_owned(), root_of(image));
        let read = tokio::task::spawn_blocking(move || files(&own, &root)).await;
        read.map_err(|e| Failure::new(model::Code::Internal, e.to_string()))
    }

    /// The variables that lead programs to those files.
    pub(crate) fn trust_env(&self, rules: &[EgressRule], secrets: &[String]) -> Vec<(String, String)> {
        if !self.must_inspect(rules, secrets) {
            return Vec::new();
        }
        let mut env: Vec<(String, String)> = BUNDLE_VARIABLES.iter().map(|name| ((*name).to_owned(), BUNDLE.to_owned())).collect();
        for name in ["NODE_EXTRA_CA_CERTS", "DENO_CERT"] {
            env.push((name.to_owned(), OWN.to_owned()));
        }
        if has_java(Path::new("/")) {
            let proxy = crate::sandboxes::EGRESS_PORT;
            let options = format!(
                "-Djavax.net.ssl.trustStore={JAVA} -Djavax.net.ssl.trustStoreType=JKS -Dhttps.proxyHost=127.0.0.1 -Dhttps.proxyPort={proxy}"
            );
            env.push(("JAVA_TOOL_OPTIONS".to_owned(), options));
        }
        env
    }
}

/// Where the files of an image lie on the host.
fn root_of(image: &ImageRef) -> PathBuf {
    match image {
        ImageRef::Host { .. } => PathBuf::from("/"),
        ImageRef::Tree(root) => root.clone(),
    }
}

fn has_java(root: &Path) -> bool {
    root.join("usr/lib/jvm").is_dir()
}

fn files(own: &str, root: &Path) -> Vec<HostFile> {
    // An image without a bundle gets that of this machine: the proxy verifies hosts by it in any case.
    let found =
        BUNDLES.iter().find_map(|path| bundle_of(root, path)).or_else(|| BUNDLES.iter().find_map(|path| bundle_of(Path::new("/"), path)));
    let mut bundle = found.unwrap_or_default();
    if !bundle.is_empty() && !bundle.ends_with('\n') {
        bundle.push('\n');
    }
    bundle.push_str(own);
    let mut files = vec![HostFile { target: OWN.into(), bytes: own.as_bytes().to_vec() }];
    for path in BUNDLES {
        if *path == BUNDLE || bundle_of(root, path).is_some() {
            files.push(HostFile { target: path.into(), bytes: bundle.clone().into_bytes() });
        }
    }
    if has_java(root) {
        files.push(HostFile { target: JAVA.into(), bytes: java_store(&bundle) });
    }
    files
}

/// The bundle at a place of an image. What is a link that leads out of the image is not there.
fn bundle_of(root: &Path, path: &str) -> Option<String> {
    use std::io::Read as _;
    let place = root.join(path.trim_start_matches('/'));
    if !place.canonicalize().ok()?.starts_with(root.canonicalize().ok()?) {
        return None;
    }
    let file = std::fs::File::open(&place).ok().filter(|file| file.metadata().is_ok_and(|m| m.is_file() && m.len() <= BUNDLE_BYTES_MAX))?;
    let mut text = String::new();
    file.take(BUNDLE_BYTES_MAX).read_to_string(&mut text).ok()?;
    text.contains("-----BEGIN CERTIFICATE-----").then_some(text)
}

/// A key store of Java (JKS) with every certificate of a bundle. It is opened without a password, so its seal is never
/// looked at.
fn java_store(bundle: &str) -> Vec<u8> {
    let text = |out: &mut Vec<u8>, text: &str| {
        out.extend(u16::try_from(text.len()).unwrap_or_default().to_be_bytes());
        out.extend(text.as_bytes());
    };
    let certificates: Vec<Vec<u8>> = bundle
        .split("-----BEGIN CERTIFICATE-----")
        .skip(1)
        .filter_map(|part| {
            let body: String = part.split("-----END").next()?.split_whitespace().collect();
            STANDARD.decode(body).ok()
        })
        .collect();
    let mut out = Vec::with_capacity(bundle.len());
    out.extend(0xfeed_feed_u32.to_be_bytes());
    out.extend(2_u32.to_be_bytes());
    out.extend(u32::try_from(certificates.len()).unwrap_or_default().to_be_bytes());
    for (n, certificate) in certificates.iter().enumerate() {
        out.extend(2_u32.to_be_bytes());
        text(&mut out, &format!("root-{n}"));
        out.extend(0_u64.to_be_bytes());
        text(&mut out, "X.509");
        out.extend(u32::try_from(certificate.len()).unwrap_or_default().to_be_bytes());
        out.extend(certificate);
    }
    out.extend([0; 20]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "-----BEGIN CERTIFICATE-----\nAAEC\nAwQF\n-----END CERTIFICATE-----";

    #[test]
    fn an_image_keeps_its_roots_and_gets_one_more() {
        let root = tempfile_dir();
        std::fs::create_dir_all(root.join("etc/ssl/certs")).unwrap();
        std::fs::write(root.join("etc/ssl/certs/ca-certificates.crt"), ONE).unwrap();
        let files = files("-----BEGIN CERTIFICATE-----\nBwg=\n-----END CERTIFICATE-----\n", &root);
        let bundle = files.iter().find(|f| f.target == Path::new(BUNDLE)).unwrap();
        let text = String::from_utf8(bundle.bytes.clone()).unwrap();
        assert!(text.starts_with(ONE) && text.contains("\n-----BEGIN CERTIFICATE-----\nBwg=\n"), "{text}");
        let store = java_store(&text);
        assert_eq!(store[..12], [0xfe, 0xed, 0xfe, 0xed, 0, 0, 0, 2, 0, 0, 0, 2]);
        std::fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn an_image_does_not_read_the_host_by_a_link() {
        let root = tempfile_dir();
        std::fs::create_dir_all(root.join("etc/ssl")).unwrap();
        std::os::unix::fs::symlink("/etc/ssl/certs/ca-certificates.crt", root.join("etc/ssl/cert.pem")).unwrap();
        assert_eq!(bundle_of(&root, "/etc/ssl/cert.pem"), None);
        std::fs::remove_dir_all(root).unwrap();
    }

    fn tempfile_dir() -> PathBuf {
        let dir = std::env::temp_dir().join(format!("lazaret-trust-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir(&dir).unwrap();
        dir
    }
}
