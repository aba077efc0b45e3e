//! What the tests need on the machine and cannot bring along.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::run;

/// A program that tests start, and the Debian package that has it.
struct Needed {
    program: &'static str,
    package: &'static str,
    what_for: &'static str,
}

const PROGRAMS: &[Needed] = &[
    Needed { program: "cc", package: "gcc", what_for: "the sandbox compiles C, and the store's SQLite is built from source" },
    Needed { program: "git", package: "git", what_for: "--repo clones" },
    Needed { program: "python3", package: "python3", what_for: "runs inside the sandbox" },
    Needed { program: "awk", package: "mawk", what_for: "runs inside the sandbox" },
    Needed { program: "node", package: "nodejs", what_for: "the gemini engine" },
    Needed { program: "npm", package: "npm", what_for: "installs the engines" },
    Needed { program: "mkfs.btrfs", package: "btrfs-progs", what_for: "the disk limit" },
    Needed { program: "useradd", package: "passwd", what_for: "the user of the rootless tests" },
];

/// What the benches are held against; only `cargo xtask bench` asks for these.
const PEERS: &[Needed] = &[
    Needed { program: "bwrap", package: "bubblewrap", what_for: "a peer" },
    Needed { program: "crun", package: "crun", what_for: "a peer" },
    Needed { program: "dockerd", package: "docker.io", what_for: "a peer" },
    Needed { program: "iptables-save", package: "iptables", what_for: "puts back what the Docker engine changes" },
];

/// The user that rootless tests run as.
pub(crate) const TEST_USER: &str = "lazaret-test";

/// The engines that whole-turn tests run, at exactly these versions.
const ENGINES: &[(&str, &str, &str)] = &[
    ("claude-code", "@anthropic-ai/claude-code", "2.1.329"),
    ("codex", "@openai/codex", "0.169.0"),
    ("opencode", "opencode-ai", "1.18.33"),
    ("gemini", "@google/gemini-cli", "0.61.0"),
];

/// Programs and the rootless user.
pub(crate) fn machine() -> Result<()> {
    packages(PROGRAMS)?;
    user()
}

/// The programs that the benches compare with.
pub(crate) fn peers() -> Result<()> {
    packages(PEERS)
}

fn packages(needed: &[Needed]) -> Result<()> {
    let missing: Vec<&Needed> = needed.iter().filter(|n| !run::has(n.program)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    for needed in &missing {
        eprintln!("missing: {} ({})", needed.program, needed.what_for);
    }
    let names: Vec<&str> = missing.iter().map(|n| n.package).collect();
    let by_hand = format!("apt-get update && apt-get install -y --no-install-recommends {}", names.join(" "));
    if !run::has("apt-get") {
        bail!("this machine has no apt-get; install the programs above by its own means (on Debian: `{by_hand}`)");
    }
    if !run::is_root()? {
        bail!("installing needs root; run `sudo sh -c '{by_hand}'` and try again");
    }
    run::run("apt-get", &["update", "-q"])?;
    let mut command = run::command("apt-get", &["install", "-y", "-q", "--no-install-recommends"]);
    command.args(&names).env("DEBIAN_FRONTEND", "noninteractive");
    run::run_command(command).with_context(|| format!("run `{by_hand}` and try again"))
}

fn user() -> Result<()> {
    let known = run::command("id", &["-u", TEST_USER]).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).status()?;
    if known.success() {
        return Ok(());
    }
    if !run::is_root()? {
        bail!("the rootless tests need a user of their own; run `sudo useradd --create-home {TEST_USER}` and try again");
    }
    // By its full path: an ordinary user's PATH may lack it, and so may a container's.
    run::run("/usr/sbin/useradd", &["--create-home", "--shell", "/bin/sh", TEST_USER])
}

/// Where the engines for tests lie: a tree for each, under the workspace's own target directory whatever the build
/// directory is, so that tests find them by the place of their crate.
pub(crate) fn engines_dir() -> PathBuf {
    run::root().join("target/test-engines")
}

/// Installs the pinned engines from the package registry, without running any script of theirs.
pub(crate) fn engines() -> Result<()> {
    for (name, package, version) in ENGINES {
        let dir = engines_dir().join(name);
        let stamp = dir.join("installed");
        let wanted = format!("{package}@{version}");
        if std::fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
            continue;
        }
        if dir.exists() {
            std::fs::remove_dir_all(&dir).with_context(|| format!("failed to remove {}", dir.display()))?;
        }
        std::fs::create_dir_all(&dir).with_context(|| format!("failed to make {}", dir.display()))?;
        let prefix = dir.to_str().context("the path of the workspace is not UTF-8")?;
        let flags = ["install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-save", "--prefix", prefix, &wanted];
        run::run("npm", &flags).with_context(|| format!("failed to install the engine {name}"))?;
        std::fs::write(&stamp, &wanted).with_context(|| format!("failed to write {}", stamp.display()))?;
    }
    Ok(())
}
