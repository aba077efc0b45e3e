//! The servers that tests talk to: packages of PyPI and npm, each of one version, in target/test-servers.

use std::path::Path;

use anyhow::{Context, Result};

use crate::{run, setup};

/// What is installed from PyPI, with everything that it needs.
const REQUIREMENTS: &str = "testkit/src/servers/requirements.txt";
/// What is installed from npm; the last drives the browser that tests the page.
const NODE: &[&str] =
    &["@modelcontextprotocol/server-everything@2026.8.31", "@modelcontextprotocol/server-memory@2026.8.31", "playwright-core@1.65.1"];
/// What is installed from PyPI as it would be for sandboxes, for the interpreter that they see.
const FOR_SANDBOXES: &str = "mcp-server-time==2026.10.19";

/// Installs what is not there yet.
pub(crate) fn install() -> Result<()> {
    let place = run::root().join("target/test-servers");
    std::fs::create_dir_all(&place).with_context(|| format!("failed to make {}", place.display()))?;
    let requirements = run::root().join(REQUIREMENTS);
    let wanted = run::read(&requirements).with_context(|| format!("failed to read {REQUIREMENTS}"))?;
    once(&place.join("python.done"), &wanted, || python(&place.join("python"), &requirements))?;
    once(&place.join("node.done"), &NODE.join(" "), || node(&place.join("node")))?;
    once(&place.join("tools-python.done"), FOR_SANDBOXES, || for_sandboxes(&place.join("tools-python")))
}

/// Does the work unless `mark` says that this was done already.
fn once(mark: &Path, wanted: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    if std::fs::read_to_string(mark).is_ok_and(|done| done == wanted) {
        return Ok(());
    }
    work()?;
    std::fs::write(mark, wanted).with_context(|| format!("failed to write {}", mark.display()))
}

fn python(place: &Path, requirements: &Path) -> Result<()> {
    setup::python_venv()?;
    let path = place.to_string_lossy().into_owned();
    run::run("python3", &["-m", "venv", "--clear", &path])?;
    let pip = place.join("bin/pip").to_string_lossy().into_owned();
    run::run(
        &pip,
        &["install", "--quiet", "--disable-pip-version-check", "--no-compile", "--no-deps", "-r", &requirements.to_string_lossy()],
    )
}

fn node(place: &Path) -> Result<()> {
    std::fs::create_dir_all(place).with_context(|| format!("failed to make {}", place.display()))?;
    let path = place.to_string_lossy().into_owned();
    run::run("npm", &[&["install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", &path], NODE].concat())
}

fn for_sandboxes(place: &Path) -> Result<()> {
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:", "--upgrade", "--target"];
    run::run("/usr/bin/python3", &[&pip[..], &[&place.to_string_lossy(), FOR_SANDBOXES]].concat())
}
