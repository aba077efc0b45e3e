//! What a plugin finds around it: its configuration, its credentials, its proxy, its directories.

use std::io::Read;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::Value;

/// The largest configuration, in bytes.
const CONFIG_BYTES_MAX: u64 = 256 << 10;
/// The largest credential, in bytes.
const CREDENTIAL_BYTES_MAX: u64 = 64 << 10;
/// Where credentials lie when nothing else is said.
const CREDENTIALS: &str = "/run/credentials";
/// Where the vault is mounted when nothing else is said.
const VAULT: &str = "/vault";

/// Why a plugin cannot begin, or a call cannot have what it needs from the owner.
#[derive(Debug, thiserror::Error)]
pub enum SurroundingsError {
    /// The configuration file cannot be read.
    #[error("read the configuration of the plugin")]
    ConfigUnread(#[source] std::io::Error),
    /// The configuration is not what the plugin takes.
    #[error("the configuration of the plugin is wrong: {0}")]
    ConfigWrong(String),
    /// The address of the proxy is not one.
    #[error("the address of the proxy is not HOST:PORT")]
    Proxy,
    /// A credential is not there.
    #[error("the credential `{0}` is not set")]
    NoCredential(String),
    /// A credential is there and cannot be used.
    #[error("the credential `{0}` cannot be used: {1}")]
    BadCredential(String, &'static str),
}

/// What the launcher of a plugin tells it, by variables of its process.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// The plugin's configuration: an object.
    pub config: Value,
    /// `LAZARET_CREDENTIALS`: a file for each credential, named by its key.
    pub credentials: PathBuf,
    /// `LAZARET_STATE`: a directory that outlives the process, if the plugin has one.
    pub state: Option<PathBuf>,
    /// `LAZARET_VAULT`: the vault, mounted read-only.
    pub vault: PathBuf,
    /// `HTTPS_PROXY`: host and port of the proxy; without one hosts are dialled directly.
    pub proxy: Option<(String, u16)>,
    /// `SSL_CERT_FILE`: certificates of authorities; without one those of the system.
    pub roots: Option<PathBuf>,
}

impl Surroundings {
    /// Reads them with `variable`, which gives the value of a variable of the process.
    ///
    /// # Errors
    /// The configuration cannot be read or the proxy's address is not one.
    pub fn read(variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, SurroundingsError> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let config = match variable("LAZARET_PLUGIN_CONFIG") {
            None => Value::Object(serde_json::Map::new()),
            Some(path) => read_config(Path::new(&path))?,
        };
        let proxy = match variable("HTTPS_PROXY").or_else(|| variable("https_proxy")) {
            None => None,
            Some(address) => Some(proxy_address(&address).ok_or(SurroundingsError::Proxy)?),
        };
        Ok(Self {
            config,
            credentials: variable("LAZARET_CREDENTIALS").map_or_else(|| PathBuf::from(CREDENTIALS), PathBuf::from),
            state: variable("LAZARET_STATE").map(PathBuf::from),
            vault: variable("LAZARET_VAULT").map_or_else(|| PathBuf::from(VAULT), PathBuf::from),
            proxy,
            roots: variable("SSL_CERT_FILE").map(PathBuf::from),
        })
    }

    /// The configuration in the form that a plugin takes.
    ///
    /// # Errors
    /// [`SurroundingsError::ConfigWrong`], which names the key.
    pub fn config<T: DeserializeOwned>(&self) -> Result<T, SurroundingsError> {
        serde_json::from_value(self.config.clone()).map_err(|e| SurroundingsError::ConfigWrong(e.to_string()))
    }

    /// A credential, read anew each time: the owner may have replaced it. One line end at its end is not part of it.
    ///
    /// # Errors
    /// It is not set, or not a text of one line.
    pub fn credential(&self, key: &str) -> Result<String, SurroundingsError> {
        let bad = |why| SurroundingsError::BadCredential(key.to_owned(), why);
        if key.is_empty() || !key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') {
            return Err(bad("its name is not of letters, digits, `_` and `-`"));
        }
        let file = std::fs::File::open(self.credentials.join(key)).map_err(|_| SurroundingsError::NoCredential(key.to_owned()))?;
        let mut text = String::new();
        file.take(CREDENTIAL_BYTES_MAX + 1).read_to_string(&mut text).map_err(|_| bad("it is not text"))?;
        if text.len() as u64 > CREDENTIAL_BYTES_MAX {
            return Err(bad("it is too long"));
        }
        let value = text.strip_suffix('\n').map_or(text.as_str(), |t| t.strip_suffix('\r').unwrap_or(t));
        // A line end would begin a header or a command of its own.
        if value.is_empty() || value.chars().any(char::is_control) {
            return Err(bad("it is empty or has control characters"));
        }
        Ok(value.to_owned())
    }

    /// A credential that the plugin can do without.
    ///
    /// # Errors
    /// It is set and cannot be used.
    pub fn optional_credential(&self, key: &str) -> Result<Option<String>, SurroundingsError> {
        match self.credential(key) {
            Ok(value) => Ok(Some(value)),
            Err(SurroundingsError::NoCredential(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn read_config(path: &Path) -> Result<Value, SurroundingsError> {
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(SurroundingsError::ConfigUnread)?;
    file.take(CONFIG_BYTES_MAX + 1).read_to_string(&mut text).map_err(SurroundingsError::ConfigUnread)?;
    if text.len() as u64 > CONFIG_BYTES_MAX {
        return Err(SurroundingsError::ConfigWrong(format!("it is longer than {CONFIG_BYTES_MAX} bytes")));
    }
    let value: Value = serde_json::from_str(&text).map_err(|e| SurroundingsError::ConfigWrong(e.to_string()))?;
    if value.is_object() { Ok(value) } else { Err(SurroundingsError::ConfigWrong("it is not an object".to_owned())) }
}

/// `http://HOST:PORT`, with or without the scheme and a slash at the end.
fn proxy_address(text: &str) -> Option<(String, u16)> {
    let text = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
    let (host, port) = text.rsplit_once(':')?;
    let plain = !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-');
    Some((host.to_owned(), port.parse().ok().filter(|p| *p != 0 && plain)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> Result<Surroundings, SurroundingsError> {
        Surroundings::read(&|name| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()))
    }

    #[test]
    fn without_variables_the_known_places_count() {
        let found = of(&[]).unwrap();
        assert_eq!((found.credentials.to_str(), found.vault.to_str()), (Some(CREDENTIALS), Some(VAULT)));
        assert_eq!((found.proxy, found.config), (None, serde_json::json!({})));
        assert_eq!(of(&[("HTTPS_PROXY", "http://127.0.0.1:3128/")]).unwrap().proxy, Some(("127.0.0.1".to_owned(), 3128)));
        for wrong in ["http://127.0.0.1", "127.0.0.1:0", "a b:1", "user@host:80", ":1"] {
            assert!(of(&[("HTTPS_PROXY", wrong)]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn credentials_are_one_line_and_stay_in_their_directory() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_string_lossy().into_owned();
        let around = of(&[("LAZARET_CREDENTIALS", &path)]).unwrap();
        for (key, text, expect) in [
            ("token", "abc\n", Some("abc")),
            ("dos", "abc\r\n", Some("abc")),
            ("two", "abc\r\nX-More: 1", None),
            ("empty", "\n", None),
            ("nul", "a\0b", None),
        ] {
            std::fs::write(dir.path().join(key), text).unwrap();
            assert_eq!(around.credential(key).ok().as_deref(), expect, "{key}");
        }
        std::fs::create_dir(dir.path().join("below")).unwrap();
        std::fs::write(dir.path().join("below/token"), "hidden").unwrap();
        assert!(matches!(around.credential("below/token"), Err(SurroundingsError::BadCredential(..))));
        assert!(matches!(around.credential("../x"), Err(SurroundingsError::BadCredential(..))));
        assert!(matches!(around.optional_credential("none"), Ok(None)));
        assert!(around.optional_credential("two").is_err());
    }
}
