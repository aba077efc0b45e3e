//! The part of the configuration that says where everything is kept.

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::{Code, Failure, parse_duration};
use serde::{Deserialize, Serialize};
use store::Store;
use zeroize::Zeroizing;

use crate::config::Config;

/// The longest password.
const PASSWORD_BYTES_MAX: u64 = 4096;
/// The shortest time after which a daemon may count as lost: a machine with much to do is slow to say that it lives.
const LOST_MIN: Duration = Duration::from_secs(10);
/// The longest: its turns wait for it meanwhile.
const LOST_MAX: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct StorePart {
    /// The PostgreSQL database that this daemon shares with others, as `postgresql://USER@HOST/NAME`, without a password; by
    /// default a file in the home.
    pub(crate) url: Option<String>,
    /// The file that holds the password for it. Absolute; only its owner may read it.
    pub(crate) password_file: Option<PathBuf>,
    /// The file with the certificates, in PEM, that may have signed the database server's; by default those that the system
    /// trusts. A way over a network is always encrypted and checked, unless the address says `sslmode=disable`.
    pub(crate) ca_file: Option<PathBuf>,
    /// After how long without a sign of life another daemon's machine counts as lost: 10s to 24h, by default 60s.
    pub(crate) lost_after: Option<String>,
}

impl Config {
    /// Opens what the configuration says. Blocks.
    pub(crate) fn open_store(&self, home: &Path) -> Result<Store, Failure> {
        let mut config = store::Config::default();
        if let Some(text) = &self.store.lost_after {
            config.lost_after = lost_after(text).map_err(|why| Failure::new(Code::ConfigInvalid, why))?;
        }
        let Some(url) = &self.store.url else {
            return Store::open(&home.join("lazaret.db"), &config).map_err(|e| e.failure());
        };
        let password = self.store.password_file.as_deref().map(password).transpose();
        let password = password.map_err(|why| Failure::new(Code::ConfigInvalid, format!("store.password_file: {why}")))?;
        let access = store::Access { password, authorities: self.store.ca_file.clone() };
        Store::open_shared(url, access, home, &config).map_err(|e| e.failure())
    }
}

fn lost_after(text: &str) -> Result<Duration, String> {
    let time = parse_duration(text).ok_or_else(|| format!("store.lost_after: `{text}` is not a time like 90s, 15m or 1h"))?;
    if (LOST_MIN..=LOST_MAX).contains(&time) {
        return Ok(time);
    }
    Err(format!("store.lost_after: `{text}` is not from {}s to {}h", LOST_MIN.as_secs(), LOST_MAX.as_secs() / 3600))
}

fn password(path: &Path) -> Result<Zeroizing<String>, String> {
    if !path.is_absolute() {
        return Err(format!("`{}` is not an absolute path", path.display()));
    }
    let file = std::fs::File::open(path).map_err(|e| format!("`{}` cannot be read: {e}", path.display()))?;
    let meta = file.metadata().map_err(|e| format!("`{}` cannot be looked at: {e}", path.display()))?;
    if !meta.is_file() || meta.mode() & 0o077 != 0 {
        return Err(format!("others may read `{}`, or it is no plain file", path.display()));
    }
    let mut text = Zeroizing::new(String::new());
    file.take(PASSWORD_BYTES_MAX).read_to_string(&mut text).map_err(|e| format!("`{}` cannot be read: {e}", path.display()))?;
    let text = Zeroizing::new(text.trim_end_matches(['\n', '\r']).to_owned());
    if text.is_empty() { Err(format!("`{}` is empty", path.display())) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_password_comes_from_a_file_that_nobody_else_reads() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        std::fs::write(&path, "not-a-password\n").unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
        assert!(password(&path).is_err(), "others may read it");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        assert_eq!(password(&path).unwrap().as_str(), "not-a-password");
        std::fs::write(&path, "\n").unwrap();
        assert!(password(&path).is_err() && password(Path::new("password")).is_err());
    }

    #[test]
    fn a_lost_daemon_is_not_given_up_in_a_hurry() {
        assert_eq!(lost_after("90s"), Ok(Duration::from_secs(90)));
        assert!(lost_after("1s").is_err() && lost_after("soon").is_err());
    }
}
