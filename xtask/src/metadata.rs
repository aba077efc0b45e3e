//! What cargo knows of the workspace.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::run;

/// The one platform that the lock file's size is counted for.
const LINUX: &str = "x86_64-unknown-linux-gnu";

/// A crate.
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) license: Option<String>,
    /// The directory of a member, relative to the root.
    pub(crate) dir: PathBuf,
    pub(crate) dependencies: Vec<Dependency>,
    pub(crate) targets: Vec<Target>,
}

/// What a crate's manifest asks for.
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// Whether it is a crate of this workspace.
    pub(crate) is_internal: bool,
    pub(crate) is_dev: bool,
}

/// Something that cargo builds.
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) is_test: bool,
}

/// The crates of this workspace.
pub(crate) fn members() -> Result<Vec<Package>> {
    packages(&["metadata", "--format-version", "1", "--no-deps", "--locked"])
}

/// Every crate that a build for Linux may use, those of this workspace included.
pub(crate) fn linux() -> Result<Vec<Package>> {
    packages(&["metadata", "--format-version", "1", "--locked", "--filter-platform", LINUX])
}

/// Where cargo builds.
pub(crate) fn target_directory() -> Result<PathBuf> {
    let json = run::output("cargo", &["metadata", "--format-version", "1", "--no-deps", "--locked"])?;
    let json: Value = serde_json::from_str(&json).context("failed to read cargo's metadata")?;
    Ok(PathBuf::from(text(&json["target_directory"])))
}

fn packages(args: &[&str]) -> Result<Vec<Package>> {
    let json: Value = serde_json::from_str(&run::output("cargo", args)?).context("failed to read cargo's metadata")?;
    // With the dependency graph in it, the resolved nodes say which packages the platform really uses.
    let used: Option<Vec<&str>> =
        json["resolve"]["nodes"].as_array().map(|nodes| nodes.iter().filter_map(|node| node["id"].as_str()).collect());
    let all = json["packages"].as_array().context("cargo's metadata has no packages")?;
    Ok(all.iter().filter(|p| used.as_ref().is_none_or(|used| used.contains(&text(&p["id"])))).map(package).collect())
}

fn package(json: &Value) -> Package {
    let manifest = Path::new(text(&json["manifest_path"]));
    let dir = manifest.parent().unwrap_or(manifest);
    let list = |key: &str| json[key].as_array().cloned().unwrap_or_default();
    let kinds = |target: &Value, kind: &str| target["kind"].as_array().is_some_and(|kinds| kinds.iter().any(|k| k == kind));
    Package {
        name: text(&json["name"]).to_owned(),
        version: text(&json["version"]).to_owned(),
        license: json["license"].as_str().map(str::to_owned),
        dir: dir.strip_prefix(run::root()).unwrap_or(dir).to_path_buf(),
        dependencies: list("dependencies")
            .iter()
            .map(|d| Dependency { name: text(&d["name"]).to_owned(), is_internal: d["path"].is_string(), is_dev: d["kind"] == "dev" })
            .collect(),
        targets: list("targets").iter().map(|t| Target { name: text(&t["name"]).to_owned(), is_test: kinds(t, "test") }).collect(),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
