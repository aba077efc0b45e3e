//! A home of its own for each test, the guest program built once, and a look at what is left.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command as Program;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use lazaret_sandbox::{Config, Door, Doors, Exec, Exit, Hold, Output, Piece, Request, Sandbox, SandboxError, Sandboxes, Stdio, base_env};
use model::SandboxId;
use tokio::net::UnixStream;

/// The user of tests without root; made when missing, and left for the next run.
pub(crate) const USER: &str = "lazaret-test";

/// A home, gone with what is in it when the test ends.
pub(crate) struct Home {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) path: PathBuf,
    pub(crate) install: String,
    pub(crate) owner: Option<u32>,
}

static NEXT: AtomicU32 = AtomicU32::new(0);

impl Home {
    /// A home of root.
    pub(crate) fn new() -> Self {
        assert!(rustix::process::geteuid().is_root(), "this test needs root");
        Self::at("home", None)
    }

    /// A home of an ordinary user.
    pub(crate) fn of_user() -> Self {
        assert!(rustix::process::geteuid().is_root(), "this test needs root to become another user");
        Self::at("home", Some(user()))
    }

    /// A home with this name, whose path may be long.
    pub(crate) fn at(name: &str, owner: Option<u32>) -> Self {
        let dir = tempfile::Builder::new().prefix("lzt").tempdir_in("/tmp").expect("temp dir");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
        let path = dir.path().join(name);
        fs::create_dir(&path).expect("home");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("chmod");
        if owner.is_some() {
            chown(&path, owner, owner).expect("chown");
        }
        let install = format!("{:04x}{:04x}", std::process::id() & 0xffff, NEXT.fetch_add(1, Ordering::Relaxed));
        // An ordinary user cannot reach what lies in the target directory of root.
        for program in [guest(), owner_program()] {
            let to = dir.path().join(program.file_name().expect("name"));
            // Not copied by this process: another test's fork would hold the file open for writing while it is started.
            assert!(Program::new("cp").arg(&program).arg(&to).status().expect("cp").success());
            fs::set_permissions(&to, fs::Permissions::from_mode(0o755)).expect("chmod");
        }
        Self { dir, path, install, owner }
    }

    pub(crate) fn guest(&self) -> PathBuf {
        self.dir.path().join("lazaret-guest")
    }

    pub(crate) fn config(&self) -> Config {
        Config::new(self.path.clone(), self.guest(), self.install.clone())
    }

    pub(crate) async fn open(&self) -> (Sandboxes, Arc<Seen>) {
        let seen = Arc::new(Seen::default());
        (Sandboxes::open(self.config(), seen.clone()).await.expect("open"), seen)
    }

    /// The program `owner` with a verb, as this home's owner.
    pub(crate) fn owner(&self, verb: &str, args: &[&str]) -> Program {
        use std::os::unix::process::CommandExt as _;
        let mut program = Program::new(self.dir.path().join("owner"));
        program.arg(verb).arg(&self.path).arg(self.guest()).arg(&self.install).args(args);
        program.current_dir("/");
        if let Some(uid) = self.owner {
            program.uid(uid).gid(uid);
        }
        program
    }

    /// Everything of this home that is on the machine, but not in its directory.
    pub(crate) fn left(&self) -> Vec<String> {
        let mut left = Vec::new();
        for entry in fs::read_dir("/proc").expect("proc").flatten() {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            // The label is the install and the sandbox; another home's sandbox may carry the same digits in its identity.
            if line.contains(&format!(" launch {}:", self.install)) {
                left.push(format!("process {line}"));
            }
        }
        let groups = jail::cgroup::Driver::detect(&self.install).list();
        left.extend(groups.into_iter().map(|g| format!("control group {g}")));
        let path = self.path.to_str().expect("text");
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
        left.extend(mounts.lines().filter(|l| l.contains(path)).map(|l| format!("mount {l}")));
        for entry in fs::read_dir("/run/lazaret/uids").into_iter().flatten().flatten() {
            let held = fs::read_link(entry.path()).unwrap_or_default();
            if held.to_string_lossy().starts_with(&self.install) {
                left.push(format!("user {}", held.display()));
            }
        }
        for dir in ["sandboxes", "direct"] {
            let entries = fs::read_dir(self.path.join(dir)).into_iter().flatten().flatten();
            left.extend(entries.map(|e| format!("directory {}", e.path().display())));
        }
        left
    }

    /// Loop devices on files of this home.
    pub(crate) fn loops(&self) -> Vec<String> {
        let backing = |n: u32| fs::read_to_string(format!("/sys/block/loop{n}/loop/backing_file")).unwrap_or_default();
        (0..64).map(backing).filter(|b| b.contains(self.path.to_str().expect("text"))).collect()
    }

    /// Waits until nothing is left; what the kernel gives back in the background takes a moment.
    pub(crate) fn assert_nothing_left(&self) {
        wait_for("nothing to be left", || {
            let mut left = self.left();
            left.extend(self.loops());
            if left.is_empty() { Ok(()) } else { Err(format!("{left:#?}")) }
        });
    }
}

/// Whatever is waited for comes within this time, also where everybody waits for a processor, or the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Waits for something that must come.
pub(crate) fn wait_for(what: &str, mut done: impl FnMut() -> Result<(), String>) {
    let until = Instant::now() + PATIENCE;
    loop {
        match done() {
            Ok(()) => return,
            Err(left) if Instant::now() > until => panic!("waited for {what}: {left}"),
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// What came to a door.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) doors: Mutex<Vec<(SandboxId, Door, Bytes)>>,
    pub(crate) held: Mutex<Vec<(UnixStream, Hold)>>,
}

impl Doors for Seen {
    fn open(&self, sandbox: &SandboxId, door: Door, stream: UnixStream, read: Bytes, hold: Hold) {
        self.doors.lock().expect("lock").push((sandbox.clone(), door, read));
        // Answers so that the other side can see that it came through, and only when it was noted: a test looks then.
        let _ = stream.try_write(b"welcome\n");
        self.held.lock().expect("lock").push((stream, hold));
    }
}

/// A request with an identity of its own.
pub(crate) fn request() -> Request {
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    let mut request = Request::new(SandboxId::from_bits(u128::from(std::process::id()) << 64 | u128::from(n)), "test");
    request.limits.memory_bytes = 512 << 20;
    request.limits.disk_bytes = 64 << 20;
    request
}

pub(crate) fn exec(argv: &[&str], stdin: bool) -> Exec {
    Exec {
        argv: argv.iter().map(|a| (*a).to_owned()).collect(),
        env: base_env(&model::Limits::default()),
        cwd: "/workspace".into(),
        stdio: Stdio::Pipes { stdin },
        lease: 1,
    }
}

/// Runs a shell line to its end.
pub(crate) async fn sh(sandbox: &Sandbox, line: &str) -> (String, String, Exit) {
    let mut command = sandbox.exec(exec(&["/bin/sh", "-c", line], false)).await.expect("started");
    finish(&mut command).await.expect("ended")
}

pub(crate) async fn finish(command: &mut lazaret_sandbox::Command) -> Result<(String, String, Exit), SandboxError> {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    while let Some(Output { number, piece }) = command.output.next().await? {
        command.control.ack(number);
        match piece {
            Piece::Stdout(bytes) => out.extend(bytes),
            Piece::Stderr(bytes) => err.extend(bytes),
            Piece::Exited(exit) => {
                return Ok((String::from_utf8_lossy(&out).into_owned(), String::from_utf8_lossy(&err).into_owned(), exit));
            }
        }
    }
    panic!("the output ended without the end of the command");
}

pub(crate) const OK: Exit = Exit { code: Some(0), signal: None };

/// The guest program, built once for all tests.
fn guest() -> PathBuf {
    static GUEST: OnceLock<PathBuf> = OnceLock::new();
    let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let args = ["--package", "lazaret-guest", "--bin", "lazaret-guest", "--target", &triple];
    let build = || build(&args, "-C target-feature=+crt-static -C relocation-model=static").join(&triple).join("debug/lazaret-guest");
    GUEST.get_or_init(build).clone()
}

/// The example `owner`. It is built here so that it is never older than what is tested.
fn owner_program() -> PathBuf {
    static OWNER: OnceLock<PathBuf> = OnceLock::new();
    let args = ["--package", "lazaret-sandbox", "--example", "owner"];
    OWNER.get_or_init(|| build(&args, "").join("debug/examples/owner")).clone()
}

/// Builds something into a directory of its own and gives that directory.
fn build(args: &[&str], flags: &str) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("programs");
    let mut cargo = Program::new(env!("CARGO"));
    cargo.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).args(["build", "--quiet", "--target-dir"]).arg(&target).args(args);
    cargo.env("RUSTFLAGS", flags).env_remove("CARGO_ENCODED_RUSTFLAGS");
    assert!(cargo.status().expect("cargo runs").success(), "{args:?} builds");
    target
}

fn user() -> u32 {
    static USER_ID: OnceLock<u32> = OnceLock::new();
    *USER_ID.get_or_init(|| {
        let id = || {
            let passwd = fs::read_to_string("/etc/passwd").expect("passwd");
            let line = passwd.lines().find(|l| l.starts_with(&format!("{USER}:")))?.to_owned();
            line.split(':').nth(2)?.parse().ok()
        };
        // Another test may make it at the same time; either way it is there then.
        id().or_else(|| {
            let _ = Program::new("useradd").args(["--no-create-home", "--shell", "/bin/false", USER]).status();
            id()
        })
        .expect("a user without rights")
    })
}
