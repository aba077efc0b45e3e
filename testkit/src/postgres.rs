//! A PostgreSQL server of a test's own.
//!
//! It lives in a temporary directory, runs as an unprivileged user, and is reached over a socket there, so that no port is
//! taken and nothing of the machine's own servers is touched. A watcher ends it with the process that started it, however
//! that ends.

use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::held::Held;

/// How long a server may take to answer, on a machine with much else to do.
const START_WAIT: Duration = Duration::from_secs(300);
/// Whom it runs as when the tests are root's: PostgreSQL refuses to run as root.
const NOBODY: u32 = 65_534;
/// Who everything in it belongs to.
const OWNER: &str = "lazaret";

/// What names the socket of a server that listens on no port.
const PORT: u16 = 5432;

/// How a server speaks TLS.
struct Secure<'a> {
    chain: &'a str,
    key: &'a str,
    port: u16,
}

/// A server, until it is dropped.
pub struct Server {
    dir: PathBuf,
    watcher: Child,
    /// Closing it ends the server.
    alive: Option<ChildStdin>,
    /// Names its socket; it listens there on loopback only when it speaks TLS.
    port: u16,
    next: AtomicU64,
}

impl Server {
    /// Makes a server and starts it. With `durable` it flushes each commit, as one that is in earnest does.
    ///
    /// # Errors
    /// PostgreSQL is not installed, or does not start; its log is in the error.
    pub fn start(durable: bool) -> io::Result<Self> {
        Self::begin(durable, None)
    }

    /// Makes a server that speaks TLS on a loopback port, with this chain and key in PEM, and starts it.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_tls(chain: &str, key: &str) -> io::Result<Self> {
        // Nobody else is given the port before the server has it.
        let held = Held::new()?;
        Self::begin(false, Some(Secure { chain, key, port: held.port }))
    }

    fn begin(durable: bool, secure: Option<Secure<'_>>) -> io::Result<Self> {
        let programs = programs()?;
        // Not below the directory of a test, which only its user can enter; and short, since sockets have short names.
        let dir = tempfile::Builder::new().prefix("lzpg").tempdir()?.keep();
        std::fs::set_permissions(&dir, PermissionsExt::from_mode(0o700))?;
        let user = if rustix::process::geteuid().is_root() { Some(NOBODY) } else { None };
        if let Some(user) = user {
            chown(&dir, Some(user), Some(user))?;
        }
        let fresh = fresh(&programs, user)?;
        let copied = Command::new("cp").args(["-a", "--reflink=auto"]).arg(&fresh).arg(dir.join("data")).output()?;
        if !copied.status.success() {
            return Err(failed("make", &copied.stderr));
        }
        if let Some(secure) = &secure {
            for (name, pem) in [("server.crt", secure.chain), ("server.key", secure.key)] {
                let path = dir.join(name);
                std::fs::write(&path, pem)?;
                std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600))?;
                if let Some(user) = user {
                    chown(&path, Some(user), Some(user))?;
                }
            }
        }
        let mut server = Self::watch(&programs, user, dir, durable, secure.map(|s| s.port))?;
        let end = Instant::now() + START_WAIT;
        while server.psql("postgres", r"\conninfo").is_err() {
            if Instant::now() > end || server.watcher.try_wait()?.is_some() {
                let log = std::fs::read(server.dir.join("log")).unwrap_or_default();
                return Err(failed("start", &log));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    fn watch(programs: &Path, user: Option<u32>, dir: PathBuf, durable: bool, secure: Option<u16>) -> io::Result<Self> {
        // The shell waits for the end of its input, which comes with the end of this process.
        let script = "exec 3<&0; \"$0\" \"$@\" </dev/null 3<&- >>log 2>&1 & pid=$!; read -r _ <&3; kill -QUIT $pid; wait $pid; \
                      cd /; rm -rf \"$LZPG\"";
        let port = secure.unwrap_or(PORT);
        let listens = if secure.is_some() { "listen_addresses=127.0.0.1" } else { "listen_addresses=" };
        let set = |key: &str, path: &str| format!("{key}={}", dir.join(path).display());
        let encrypts = [set("ssl_cert_file", "server.crt"), set("ssl_key_file", "server.key"), "ssl=on".to_owned()];
        let encrypts = encrypts.into_iter().filter(|_| secure.is_some()).flat_map(|setting| ["-c".to_owned(), setting]);
        let mut watcher = command(Path::new("/bin/sh"), user)
            .arg("-c")
            .arg(script)
            .arg(programs.join("postgres"))
            .arg("-D")
            .arg(dir.join("data"))
            .arg("-k")
            .arg(&dir)
            .args(["-p", &port.to_string(), "-c", listens])
            .args(encrypts)
            .args(["-c", "max_connections=200", "-c", "shared_buffers=64MB", "-c", "autovacuum_naptime=10s"])
            .args(if durable { ["-c", "fsync=on"] } else { ["-c", "fsync=off"] })
            .env("LZPG", &dir)
            .current_dir(&dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        let alive = watcher.stdin.take();
        Ok(Self { dir, watcher, alive, port, next: AtomicU64::new(1) })
    }

    /// Makes an empty database. Returns its address.
    ///
    /// # Errors
    /// What PostgreSQL said.
    pub fn database(&self) -> io::Result<String> {
        let name = format!("t{}", self.next.fetch_add(1, Ordering::Relaxed));
        self.psql("postgres", &format!("CREATE DATABASE {name} TEMPLATE template0 STRATEGY file_copy"))?;
        Ok(self.url(&name))
    }

    /// The address of a database.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        let dir = self.dir.to_string_lossy().replace('/', "%2F");
        format!("postgresql://{OWNER}@{dir}/{database}")
    }

    /// The loopback port of a server that speaks TLS.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Runs statements in a database. Returns what they gave, a row a line and `|` between columns.
    ///
    /// # Errors
    /// What PostgreSQL said.
    pub fn psql(&self, database: &str, sql: &str) -> io::Result<String> {
        let done = Command::new("psql")
            .args(["-p", &self.port.to_string(), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", OWNER, "-d", database, "-h"])
            .arg(&self.dir)
            .args(["-c", sql])
            .stdin(Stdio::null())
            .output()?;
        if !done.status.success() {
            return Err(failed("ask", &done.stderr));
        }
        Ok(String::from_utf8_lossy(&done.stdout).trim_end().to_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.alive.take());
        // It ends with its input; there is nothing to do about one that does not.
        let _ = self.watcher.wait();
    }
}

/// A server's directory as `initdb` makes it. It is made once for each version and user and kept beside what else the tests need,
/// as making one takes ten times as long as copying it.
fn fresh(programs: &Path, user: Option<u32>) -> io::Result<PathBuf> {
    let version = command(&programs.join("postgres"), None).arg("--version").output()?.stdout;
    let version: String = String::from_utf8_lossy(&version).chars().filter(|c| c.is_ascii_alphanumeric() || *c == '.').collect();
    let owner = user.unwrap_or_else(|| rustix::process::geteuid().as_raw());
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/test-servers");
    let place = kept.join(format!("{version}-{owner}"));
    if place.exists() {
        return Ok(place);
    }
    std::fs::create_dir_all(&kept)?;
    // The server's user may not be able to come to the place where it is kept.
    let made = tempfile::Builder::new().prefix("lzpg").tempdir()?;
    chown(made.path(), user, user)?;
    let data = made.path().join("data");
    let initdb = command(&programs.join("initdb"), user)
        .args(["--no-sync", "--no-locale", "--encoding=UTF8", "--auth=trust", "--username", OWNER, "--pgdata"])
        .arg(&data)
        .current_dir(made.path())
        .output()?;
    if !initdb.status.success() {
        return Err(failed("make", &initdb.stderr));
    }
    let beside = tempfile::Builder::new().prefix("new-").tempdir_in(&kept)?;
    let copied = Command::new("cp").arg("-a").arg(&data).arg(beside.path()).output()?;
    if !copied.status.success() {
        return Err(failed("keep", &copied.stderr));
    }
    // Whoever comes first puts it in place whole; the others have made the same.
    match std::fs::rename(beside.path().join("data"), &place) {
        Err(error) if !place.exists() => Err(error),
        _ => Ok(place),
    }
}

fn command(program: &Path, user: Option<u32>) -> Command {
    let mut command = Command::new(program);
    if let Some(user) = user {
        command.uid(user).gid(user);
    }
    command.env("LC_ALL", "C");
    command
}

/// Where the server's programs are: Debian keeps them out of the search path.
fn programs() -> io::Result<PathBuf> {
    let mut places: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|versions| versions.filter_map(Result::ok).map(|version| version.path().join("bin")).collect())
        .unwrap_or_default();
    places.sort();
    places.reverse();
    places.extend(["/usr/local/pgsql/bin", "/usr/local/bin", "/usr/bin"].map(PathBuf::from));
    let found = places.into_iter().find(|place| place.join("initdb").exists() && place.join("postgres").exists());
    found.ok_or_else(|| io::Error::other("failed to find PostgreSQL: install the package postgresql"))
}

fn failed(what: &str, said: &[u8]) -> io::Error {
    io::Error::other(format!("failed to {what} a PostgreSQL server: {}", String::from_utf8_lossy(said).trim()))
}
