//! What the program finds around it: credentials, a directory that outlives it, the proxy.

use std::io::Read;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// The largest credential, in bytes.
const CREDENTIAL_BYTES_MAX: u64 = 64 << 10;
/// Where credentials lie when nothing else is said.
const CREDENTIALS: &str = "/run/credentials";

/// Why a credential cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CredentialError {
    /// It is not there.
    #[error("the credential `{0}` is not set")]
    Missing(String),
    /// It is there and cannot be used.
    #[error("the credential `{0}` cannot be used: {1}")]
    Bad(String, &'static str),
}

/// What the launcher tells the program, by variables of its process.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// `LAZARET_CREDENTIALS`: a file for each credential, named by its key.
    pub credentials: PathBuf,
    /// `LAZARET_STATE`: a directory that outlives the process. Without one nothing is run.
    pub state: Option<PathBuf>,
    /// `HTTPS_PROXY`: the address of the proxy; without one hosts are dialled directly.
    pub proxy: Option<String>,
    /// `SSL_CERT_FILE`: certificates of authorities; without one those of the system.
    pub roots: Option<PathBuf>,
}

impl Surroundings {
    /// Reads them with `variable`, which gives the value of a variable of the process.
    #[must_use]
    pub fn read(variable: &dyn Fn(&str) -> Option<String>) -> Self {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        Self {
            credentials: variable("LAZARET_CREDENTIALS").map_or_else(|| PathBuf::from(CREDENTIALS), PathBuf::from),
            state: variable("LAZARET_STATE").map(PathBuf::from),
            proxy: variable("HTTPS_PROXY").or_else(|| variable("https_proxy")),
            roots: variable("SSL_CERT_FILE").map(PathBuf::from),
        }
    }

    /// The credentials.
    pub(crate) fn credentials(&self) -> Credentials {
        Credentials { directory: self.credentials.clone() }
    }
}

/// The account's credentials, read anew each time: the owner may have replaced one.
#[derive(Debug, Clone)]
pub(crate) struct Credentials {
    directory: PathBuf,
}

impl Credentials {
    /// Those of a directory.
    #[cfg(test)]
    pub(crate) fn of(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// A credential of one line. One line end at its end is not part of it.
    ///
    /// # Errors
    /// It is not set, or not a text of one line.
    pub(crate) fn line(&self, key: &str) -> Result<Zeroizing<String>, CredentialError> {
        let text = self.text(key)?;
        let value = text.strip_suffix('\n').map_or(text.as_str(), |t| t.strip_suffix('\r').unwrap_or(t));
        // A line end would begin a header or a command of its own.
        if value.is_empty() || value.chars().any(char::is_control) {
            return Err(CredentialError::Bad(key.to_owned(), "it is empty or has control characters"));
        }
        Ok(Zeroizing::new(value.to_owned()))
    }

    /// A credential of one line that the account can do without.
    ///
    /// # Errors
    /// It is set and cannot be used.
    pub(crate) fn optional(&self, key: &str) -> Result<Option<Zeroizing<String>>, CredentialError> {
        match self.line(key) {
            Ok(value) => Ok(Some(value)),
            Err(CredentialError::Missing(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A credential of any number of lines, such as a key in PEM or JSON.
    ///
    /// # Errors
    /// It is not set, not text, or too long.
    pub(crate) fn text(&self, key: &str) -> Result<Zeroizing<String>, CredentialError> {
        let bad = |why| CredentialError::Bad(key.to_owned(), why);
        if key.is_empty() || !key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') {
            return Err(bad("its name is not of letters, digits, `_` and `-`"));
        }
        let file = open(&self.directory, key).ok_or_else(|| CredentialError::Missing(key.to_owned()))?;
        let mut text = Zeroizing::new(String::new());
        file.take(CREDENTIAL_BYTES_MAX + 1).read_to_string(&mut text).map_err(|_| bad("it is not text"))?;
        if text.len() as u64 > CREDENTIAL_BYTES_MAX {
            return Err(bad("it is too long"));
        }
        Ok(text)
    }
}

fn open(directory: &Path, key: &str) -> Option<std::fs::File> {
    std::fs::File::open(directory.join(key)).ok().filter(|file| file.metadata().is_ok_and(|m| m.is_file()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_one_line_and_stay_in_their_directory() {
        let dir = tempfile::tempdir().unwrap();
        let credentials = Credentials::of(dir.path());
        for (key, text, expect) in [
            ("token", "abc\n", Some("abc")),
            ("dos", "abc\r\n", Some("abc")),
            ("two", "abc\r\nX-More: 1", None),
            ("empty", "\n", None),
            ("nul", "a\0b", None),
        ] {
            std::fs::write(dir.path().join(key), text).unwrap();
            assert_eq!(credentials.line(key).ok().as_deref().map(String::as_str), expect, "{key}");
        }
        std::fs::create_dir(dir.path().join("below")).unwrap();
        std::fs::write(dir.path().join("below/token"), "hidden").unwrap();
        assert!(matches!(credentials.line("below/token"), Err(CredentialError::Bad(..))));
        assert!(matches!(credentials.line("../x"), Err(CredentialError::Bad(..))));
        assert!(matches!(credentials.line("below"), Err(CredentialError::Missing(_))));
        assert!(matches!(credentials.optional("none"), Ok(None)));
        assert!(credentials.optional("two").is_err());
        assert_eq!(credentials.text("two").ok().as_deref().map(String::as_str), Some("abc\r\nX-More: 1"));
    }
}
