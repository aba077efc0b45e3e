//! What the tests need on the machine and cannot bring along.

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
    Needed { program: "npm", package: "npm", what_for: "fetches the packages of the engines" },
    Needed { program: "chromium", package: "chromium", what_for: "the tests of the page" },
    Needed { program: "mkfs.btrfs", package: "btrfs-progs", what_for: "the disk limit" },
    Needed { program: "psql", package: "postgresql", what_for: "the store on PostgreSQL" },
    Needed { program: "git-lfs", package: "git-lfs", what_for: "the large files of branch agents" },
    Needed { program: "tmux", package: "tmux", what_for: "the tests of the board" },
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

/// Programs and the rootless user.
pub(crate) fn machine() -> Result<()> {
    packages(PROGRAMS)?;
    user()
}

/// The programs that the benches compare with.
pub(crate) fn peers() -> Result<()> {
    packages(PEERS)
}

/// What makes places for packages of Python; Debian keeps it apart from the interpreter.
pub(crate) fn python_venv() -> Result<()> {
    let by_hand = "apt-get update && apt-get install -y --no-install-recommends python3-venv";
    if run::run("python3", &["-c", "import ensurepip, venv"]).is_ok() {
        return Ok(());
    }
    if !run::has("apt-get") || !run::is_root()? {
        bail!("python3 cannot make places for packages; run `{by_hand}` as root and try again");
    }
    run::run("apt-get", &["update", "-q"])?;
    run::run("apt-get", &["install", "-y", "-q", "--no-install-recommends", "python3-venv"])
        .with_context(|| format!("run `{by_hand}` and try again"))
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
