//! How a pinned version of an engine is installed: which packages, with which hashes, and where the program lies then.
//!
//! The data are the files of `share/engines/locks`. They name packages, never a host: where the registry is, is the
//! caller's configuration. Install scripts are never run; every package is a gzipped tar whose entries lie under one
//! top directory, which is dropped on unpacking.

use serde::Deserialize;

use crate::ProgramPath;

/// What an engine's pinned version consists of.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The engine's name.
    pub engine: String,
    /// The pinned version.
    pub version: String,
    /// The processor it is for, in the words of Rust's `std::env::consts::ARCH`.
    pub arch: String,
    /// The program, relative to the directory of the installation.
    pub program: String,
    /// The interpreter, relative likewise; `None` when the program runs by itself.
    pub runtime: Option<String>,
    /// The size on disk, in bytes.
    pub disk_bytes: u64,
    /// [`crate::TreeHasher`]'s result over the unpacked installation, in hexadecimal.
    pub tree_sha256: String,
    /// The packages.
    #[serde(rename = "package")]
    pub packages: Vec<Package>,
}

/// One package of a registry that speaks the npm protocol.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// The name, with its scope where it has one.
    pub name: String,
    /// The exact version.
    pub version: String,
    /// `sha512-` and the hash of the package file in base64.
    pub integrity: String,
    /// The directory of the package under `node_modules`, where it differs from the name.
    pub alias: Option<String>,
}

/// One file to fetch and unpack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetch {
    /// The path of the file under the registry's base address, without a leading slash.
    pub path: String,
    /// The SHA-512 of the file.
    pub sha512: [u8; 64],
    /// The directory to unpack into, relative to that of the installation; the archive's top directory is dropped.
    pub unpack: String,
}

/// Why a recipe cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecipeError {
    /// The text is not a recipe.
    #[error("read the recipe of an engine: {0}")]
    Form(String),
    /// A name, version, path or hash in it is not of the one form that is allowed.
    #[error("use the recipe of {engine}: `{value}` is not a plain {what}")]
    Value {
        /// The engine.
        engine: String,
        /// What is wrong, cut to 64 characters.
        value: String,
        /// What it should be.
        what: &'static str,
    },
}

/// Bytes of an SHA-512.
const SHA512_BYTES: usize = 64;

impl Recipe {
    /// Reads a recipe and checks every value in it.
    ///
    /// # Errors
    /// [`RecipeError`] when the text is not a recipe or could name something outside the registry or the installation.
    pub fn parse(text: &str) -> Result<Self, RecipeError> {
        let recipe: Recipe = toml::from_str(text).map_err(|error| RecipeError::Form(error.message().to_owned()))?;
        recipe.check("program", &recipe.program, is_path)?;
        if let Some(runtime) = &recipe.runtime {
            recipe.check("path", runtime, is_path)?;
        }
        recipe.check("tree hash", &recipe.tree_sha256, |t| t.len() == 64 && t.bytes().all(|b| b.is_ascii_hexdigit()))?;
        recipe.fetches()?;
        Ok(recipe)
    }

    /// What to fetch, in order.
    ///
    /// # Errors
    /// [`RecipeError::Value`] when a name, version or hash is malformed.
    pub fn fetches(&self) -> Result<Vec<Fetch>, RecipeError> {
        self.packages.iter().map(|package| self.fetch(package)).collect()
    }

    fn fetch(&self, package: &Package) -> Result<Fetch, RecipeError> {
        let directory = package.alias.as_ref().unwrap_or(&package.name);
        for name in [&package.name, directory] {
            self.check("package name", name, is_package)?;
        }
        self.check("version", &package.version, is_part)?;
        let file = package.name.rsplit('/').next().unwrap_or(&package.name);
        let digest = package.integrity.strip_prefix("sha512-").and_then(unbase64).and_then(|b| b.try_into().ok());
        let sha512 = digest.ok_or_else(|| self.wrong("sha512 integrity", &package.integrity))?;
        Ok(Fetch {
            path: format!("{}/-/{file}-{}.tgz", package.name, package.version),
            sha512,
            unpack: format!("node_modules/{directory}"),
        })
    }

    /// Where the program lies when the installation is at `root` (absolute, inside the sandbox).
    #[must_use]
    pub fn program_at(&self, root: &str) -> ProgramPath {
        let at = |path: &String| format!("{}/{path}", root.trim_end_matches('/'));
        ProgramPath { path: at(&self.program), runtime: self.runtime.as_ref().map(at) }
    }

    fn check(&self, what: &'static str, value: &str, is_fine: impl Fn(&str) -> bool) -> Result<(), RecipeError> {
        if is_fine(value) { Ok(()) } else { Err(self.wrong(what, value)) }
    }

    fn wrong(&self, what: &'static str, value: &str) -> RecipeError {
        let value = value.escape_debug().take(64).collect();
        RecipeError::Value { engine: self.engine.clone(), value, what }
    }
}

/// One part of a path or a version: plain, not empty, no dot in front.
fn is_part(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.+".contains(&b);
    !text.is_empty() && text.len() <= 214 && !text.starts_with(['.', '-']) && text.bytes().all(plain)
}

/// `name` or `@scope/name`.
fn is_package(text: &str) -> bool {
    match text.strip_prefix('@') {
        Some(rest) => rest.split_once('/').is_some_and(|(scope, name)| is_part(scope) && is_part(name)),
        None => is_part(text),
    }
}

/// A relative path of plain parts.
fn is_path(text: &str) -> bool {
    text.split('/').all(|part| is_part(part.strip_prefix('@').unwrap_or(part)))
}

/// Reads the base64 of one SHA-512: the standard alphabet, padded, nothing else.
fn unbase64(text: &str) -> Option<Vec<u8>> {
    let body = text.strip_suffix("==")?;
    let mut out = Vec::with_capacity(SHA512_BYTES);
    let (mut bits, mut count) = (0u32, 0);
    for byte in body.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push(((bits >> count) & 0xff) as u8);
        }
    }
    // What is left over is padding and must be zero, so that one hash has one spelling.
    (bits & ((1 << count) - 1) == 0).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(name: &str, version: &str, integrity: &str) -> String {
        format!(
            "engine='x'\nversion='1'\narch='x86_64'\nprogram='node_modules/@a/b/run'\ndisk_bytes=1\ntree_sha256='{:064x}'\n\
             [[package]]\nname='{name}'\nversion='{version}'\nintegrity='{integrity}'\n",
            0
        )
    }

    #[test]
    fn a_recipe_names_paths_under_the_registry_and_nothing_else() {
        let zeros = format!("sha512-{}==", "A".repeat(86));
        let recipe = Recipe::parse(&lock("@a/b", "1.2.3", &zeros)).expect("well formed");
        let fetches = recipe.fetches().expect("checked");
        assert_eq!(fetches, [Fetch { path: "@a/b/-/b-1.2.3.tgz".into(), sha512: [0; 64], unpack: "node_modules/@a/b".into() }]);
        assert_eq!(recipe.program_at("/opt/x/"), ProgramPath::native("/opt/x/node_modules/@a/b/run"));
        for (name, version) in [("../b", "1"), ("@a", "1"), ("@a/b/c", "1"), ("a", ".."), ("a", "1/2"), ("", "1"), ("a?", "1"), ("a", "")] {
            assert!(Recipe::parse(&lock(name, version, &zeros)).is_err(), "{name} {version}");
        }
        for integrity in ["", "sha512-", "sha1-AAAA", &zeros.replace('A', "*"), &zeros.replace("A==", "B=="), &format!("{zeros}AA==")] {
            assert!(Recipe::parse(&lock("a", "1", integrity)).is_err(), "{integrity}");
        }
    }

    #[test]
    fn every_engine_of_this_build_has_a_sound_recipe() {
        for engine in crate::ALL {
            if let Some(recipe) = engine.recipe() {
                assert_eq!(recipe.engine, engine.name());
                assert!(!recipe.packages.is_empty());
            } else {
                assert_eq!(engine.name(), "mini");
            }
        }
    }
}
