//! The home: who may read it, where its sockets are, and whether there is room.

use std::net::TcpListener;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::Path;

use model::Failure;

use super::{Check, Context};
use crate::config::{Config, LISTEN_DEFAULT};
use crate::home::Home;

/// Free space below which work will soon fail, and below which it is tight.
const DISK_FAIL_BYTES: u64 = 100 << 20;
const DISK_WARN_BYTES: u64 = 2 << 30;
/// Free inodes below which it is tight.
const INODES_WARN: u64 = 10_000;
/// The longest path that a Unix socket can have by name.
const SOCKET_PATH_MAX: usize = 107;

/// The file of the home that seals the secrets, unless a passphrase does.
const KEY_FILE: &str = "master.key";

pub(super) fn checks(context: &Context, home: &Home, config: &Result<Config, Failure>) -> Vec<Check> {
    let mut checks = vec![
        Check::pass("home", format!("{}, readable for its owner alone", home.path().display())),
        match config {
            Ok(_) => Check::pass("configuration", "every key is known"),
            Err(failure) => Check::of("configuration", failure),
        },
        match home.guest() {
            Ok(path) => Check::pass("guest program", path.display().to_string()),
            Err(failure) => Check::of("guest program", &failure),
        },
        disk(home.path()),
        sockets(home),
        secrets_key(context, home.path()),
    ];
    checks.extend(stale(home));
    if let Ok(config) = config {
        checks.extend(port(home, config));
        checks.extend(places(home.path(), config));
    }
    checks
}

fn disk(home: &Path) -> Check {
    let Ok(stat) = rustix::fs::statvfs(home) else { return Check::warn("disk", "its free space cannot be read", "check the file system") };
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let detail = format!("{} free where the home is", crate::out::bytes(free));
    let fix = "free some space, or name a home on another disk in LAZARET_HOME";
    match free {
        0..DISK_FAIL_BYTES => Check::fail("disk", detail, fix),
        DISK_FAIL_BYTES..DISK_WARN_BYTES => Check::warn("disk", detail, fix),
        // Some file systems have no fixed number of inodes and say 0.
        _ if stat.f_files > 0 && stat.f_favail < INODES_WARN => Check::warn("disk", format!("{} inodes free", stat.f_favail), fix),
        _ => Check::pass("disk", detail),
    }
}

fn sockets(home: &Home) -> Check {
    let dir = home.run_dir();
    let fix = format!("run: chmod 700 {}", dir.display());
    match std::fs::symlink_metadata(&dir) {
        Ok(meta) if !meta.is_dir() => Check::fail("sockets", format!("{} is no directory", dir.display()), "remove it; it is made anew"),
        Ok(meta) if meta.mode() & 0o077 != 0 => Check::fail("sockets", format!("others may enter {}", dir.display()), fix),
        Ok(meta) if meta.uid() != rustix::process::geteuid().as_raw() => {
            Check::fail("sockets", format!("{} belongs to another user", dir.display()), "use a home of your own")
        }
        Ok(_) => {
            let longest = dir.as_os_str().len() + 1 + api::OWNER_SOCKET.len();
            let how = if longest > SOCKET_PATH_MAX { "bound from within, their paths are too long to name" } else { "the owner's alone" };
            Check::pass("sockets", format!("{}, {how}", dir.display()))
        }
        Err(error) => Check::fail("sockets", format!("{}: {error}", dir.display()), fix),
    }
}

/// Sockets on which nobody listens, while no daemon is up.
fn stale(home: &Home) -> Option<Check> {
    // Taken for a moment: whoever has it is the daemon.
    home.lock().ok().flatten()?;
    let entries = std::fs::read_dir(home.run_dir()).ok()?;
    let is_socket = |entry: &std::fs::DirEntry| entry.file_type().is_ok_and(|t| t.is_socket());
    let left: Vec<String> = entries
        .flatten()
        .filter(|entry| is_socket(entry) && UnixStream::connect(entry.path()).is_err())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    if left.is_empty() {
        return None;
    }
    Some(Check::warn("stale sockets", format!("{} of a daemon that was killed", left.join(", ")), "none: the next start replaces them"))
}

fn secrets_key(context: &Context, home: &Path) -> Check {
    if let Some(file) = &context.env.passphrase_file {
        return match std::fs::metadata(file) {
            Ok(meta) if meta.mode() & 0o077 != 0 => {
                Check::fail("secrets", format!("others may read {}", file.display()), format!("run: chmod 600 {}", file.display()))
            }
            Ok(_) => Check::pass("secrets", format!("sealed under the passphrase in {}", file.display())),
            Err(error) => Check::fail("secrets", format!("{}: {error}", file.display()), "set LAZARET_PASSPHRASE_FILE to the file"),
        };
    }
    let path = home.join(KEY_FILE);
    match std::fs::symlink_metadata(&path) {
        Ok(meta) if !meta.is_file() || meta.mode() & 0o077 != 0 => {
            Check::fail("secrets", format!("others may read {}", path.display()), format!("run: chmod 600 {}", path.display()))
        }
        Ok(_) => Check::pass("secrets", "sealed under the key file of the home"),
        Err(_) if home.join("lazaret.db").exists() => Check::warn(
            "secrets",
            "there is no key file; stored secrets can be read with their passphrase only",
            "set LAZARET_PASSPHRASE_FILE, or put the key file back from a backup",
        ),
        Err(_) => Check::pass("secrets", "none yet; a key file is made with the first start"),
    }
}

/// The HTTP port, where no daemon has it yet.
fn port(home: &Home, config: &Config) -> Option<Check> {
    home.lock().ok().flatten()?;
    let listen = config.listen.as_deref().unwrap_or(LISTEN_DEFAULT);
    Some(match TcpListener::bind(listen) {
        Ok(_) => Check::pass("port", format!("{listen} is free")),
        Err(error) => Check::warn("port", format!("{listen} cannot be listened on: {error}"), "end what listens there, or set `listen`"),
    })
}

/// Directories that the configuration names.
fn places(home: &Path, config: &Config) -> Vec<Check> {
    let mut checks = Vec::new();
    let mut directory = |label: &str, path: &Path, key: &str| {
        if !path.is_dir() {
            let fix = format!("make it, or change it with: lazaret config set {key} ...");
            checks.push(Check::fail(label, format!("{} is no directory", path.display()), fix));
        }
    };
    if let Some(vault) = &config.vault {
        directory("vault", vault, "vault");
    }
    for root in &config.mounts.roots {
        directory("mounts", &root.path, "mounts.roots");
    }
    if let Some(engine) = config.engine.as_deref().filter(|e| *e != "mini" && engines::by_name(e).is_some())
        && !home.join("engines").join(engine).exists()
    {
        let detail = format!("the default engine {engine} is not installed");
        checks.push(Check::fail("engine", detail, format!("run: lazaret engine install {engine}")));
    }
    checks.extend(config.egress.extra_roots.as_deref().map(further_roots));
    for name in ["skills", "plugins"] {
        let path = home.join(name);
        match std::fs::symlink_metadata(&path) {
            Ok(meta) if !meta.is_dir() || meta.mode() & 0o022 != 0 => {
                let fix = format!("run: chmod go-w {}", path.display());
                checks.push(Check::fail(name, format!("others may write to {}", path.display()), fix));
            }
            Ok(_) => checks.push(Check::pass(name, path.display().to_string())),
            Err(_) => (),
        }
    }
    checks
}

/// The file of further certificate authorities: whoever can write it can stand in for every host.
fn further_roots(path: &Path) -> Check {
    let label = "egress roots";
    let meta = match std::fs::metadata(path) {
        Ok(meta) => meta,
        Err(error) => {
            let fix = "put the file back, or run: lazaret config set egress.extra_roots ...";
            return Check::fail(label, format!("{}: {error}", path.display()), fix);
        }
    };
    let owner = rustix::process::geteuid().as_raw();
    if !meta.is_file() || meta.mode() & 0o022 != 0 || (meta.uid() != owner && meta.uid() != 0) {
        let fix = format!("run: chmod go-w {} as its owner, who must be you or root", path.display());
        return Check::fail(label, format!("others may write to {}", path.display()), fix);
    }
    match std::fs::read_to_string(path) {
        Ok(text) if text.contains("-----BEGIN CERTIFICATE-----") => Check::pass(label, path.display().to_string()),
        _ => Check::fail(label, format!("there is no certificate in {}", path.display()), "put certificates in PEM form into it"),
    }
}
