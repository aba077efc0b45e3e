//! The package files of the pinned engines, from the registry, each checked against its lock.
//!
//! They lie in target/test-engines/registry under the paths that a registry serves them at, so that a server on loopback
//! can stand in for one and tests install engines as users do. The place does not depend on the build directory: tests
//! find it by the place of their crate. No script of a package is ever run.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use toml::{Table, Value};

use crate::run;

/// The locks, one file for each engine.
const LOCKS: &str = "share/engines/locks";

/// One package of an engine.
struct Package {
    name: String,
    version: String,
    /// The expected SHA-512 of the file, in hexadecimal.
    sha512: String,
}

impl Package {
    fn read(table: &Value) -> Result<Self> {
        let text = |key: &str| table.get(key).and_then(Value::as_str).map(str::to_owned);
        let name = text("name").context("a package has no name")?;
        let integrity = text("integrity").with_context(|| format!("{name} has no integrity"))?;
        let sha512 =
            integrity.strip_prefix("sha512-").and_then(hex_of_base64).with_context(|| format!("the integrity of {name} is no SHA-512"))?;
        let version = text("version").with_context(|| format!("{name} has no version"))?;
        Ok(Self { name, version, sha512 })
    }

    /// The path under a registry's address.
    fn path(&self) -> String {
        let file = self.name.rsplit('/').next().unwrap_or(&self.name);
        format!("{}/-/{file}-{}.tgz", self.name, self.version)
    }
}

/// Fetches what is not there yet.
pub(crate) fn fetch() -> Result<()> {
    let registry = run::root().join("target/test-engines/registry");
    let mut locks: Vec<PathBuf> = std::fs::read_dir(run::root().join(LOCKS))
        .with_context(|| format!("failed to list {LOCKS}"))?
        .filter_map(|entry| entry.ok().map(|e| e.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "toml"))
        .collect();
    locks.sort();
    if locks.is_empty() {
        bail!("{LOCKS} has no lock of an engine");
    }
    for lock in locks {
        let text = std::fs::read_to_string(&lock).with_context(|| format!("failed to read {}", lock.display()))?;
        engine(&registry, &text).with_context(|| format!("failed to fetch the engine of {}", lock.display()))?;
    }
    Ok(())
}

fn engine(registry: &Path, lock: &str) -> Result<()> {
    let table: Table = lock.parse()?;
    if table.get("arch").and_then(Value::as_str).is_some_and(|arch| arch != std::env::consts::ARCH) {
        return Ok(());
    }
    let packages = table.get("package").and_then(Value::as_array).context("the lock lists no package")?;
    packages.iter().try_for_each(|package| file(registry, &Package::read(package)?))
}

/// Sees to it that the package file is there and is the right one.
fn file(registry: &Path, package: &Package) -> Result<()> {
    let file = registry.join(package.path());
    if file.exists() && sha512(&file)? == package.sha512 {
        return Ok(());
    }
    let into = file.parent().context("a package path has a directory")?;
    std::fs::create_dir_all(into).with_context(|| format!("failed to make {}", into.display()))?;
    let wanted = format!("{}@{}", package.name, package.version);
    let into = into.to_str().context("the path of the workspace is not UTF-8")?;
    eprintln!("fetching {wanted}");
    let printed = run::output("npm", &["pack", "--silent", "--ignore-scripts", "--pack-destination", into, &wanted])?;
    let packed = printed.lines().last().with_context(|| format!("npm packed nothing for {wanted}"))?;
    std::fs::rename(Path::new(into).join(packed.trim()), &file).with_context(|| format!("failed to move the file of {wanted}"))?;
    let found = sha512(&file)?;
    if found != package.sha512 {
        std::fs::remove_file(&file)?;
        bail!("{wanted} has the SHA-512 {found}, but its lock says {}", package.sha512);
    }
    Ok(())
}

fn sha512(file: &Path) -> Result<String> {
    let printed = run::output("sha512sum", &["--", &file.to_string_lossy()])?;
    Ok(printed.split_whitespace().next().unwrap_or("").to_owned())
}

fn hex_of_base64(text: &str) -> Option<String> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bits = 0u32;
    let mut held = 0;
    let mut hex = String::new();
    for digit in text.trim_end_matches('=').bytes() {
        let value = DIGITS.iter().position(|d| *d == digit)?;
        bits = bits << 6 | u32::try_from(value).ok()?;
        held += 6;
        if held >= 8 {
            held -= 8;
            hex.push_str(&format!("{:02x}", bits >> held & 0xff));
        }
    }
    Some(hex)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_becomes_hexadecimal() {
        assert_eq!(hex_of_base64("AP8Q").as_deref(), Some("00ff10"));
        assert_eq!(hex_of_base64("AP8=").as_deref(), Some("00ff"));
        assert_eq!(hex_of_base64("A!"), None);
    }

    #[test]
    fn every_lock_is_read() {
        for entry in std::fs::read_dir(run::root().join(LOCKS)).expect("the locks") {
            let text = std::fs::read_to_string(entry.expect("an entry").path()).expect("a lock");
            let table: Table = text.parse().expect("TOML");
            for package in table["package"].as_array().expect("packages") {
                assert_eq!(Package::read(package).expect("a package").sha512.len(), 128);
            }
        }
    }
}
