//! A sandbox for one test: a small image over the machine's /usr, and one command in it.

use std::fs;
use std::io::Read as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::jail::{self, Identity, LaunchError, Mount, Rlimits, Root, Source, Spec, Upper, Walls};

/// The ordinary user of the rootless cases: a number is enough.
pub(crate) const CALLER: u32 = 54_321;

/// How a command in a sandbox ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) status: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Outcome {
    /// The error of a launch that failed.
    pub(crate) fn refused(&self) -> LaunchError {
        assert_eq!(self.status, Some(125), "{self:?}");
        serde_json::from_str(&self.err).expect("an error as JSON")
    }

    /// What it printed, after it ended well.
    pub(crate) fn ok(&self) -> &str {
        assert_eq!(self.status, Some(0), "{self:?}");
        self.out.trim_end()
    }
}

/// Both ways to run, for tests that hold in each.
pub(crate) const MODES: [bool; 2] = [false, true];

pub(crate) struct Case {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) spec: Spec,
    pub(crate) fds: Vec<OwnedFd>,
    /// A program that starts the launcher, given its command line.
    pub(crate) wrap: Vec<String>,
    rootless: bool,
}

impl Case {
    pub(crate) fn new(rootless: bool) -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "these tests need root: run them as root (they become an ordinary user where they must)"
        );
        let dir = tempfile::Builder::new().prefix("lazaret-jail").tempdir().expect("a directory");
        let at = |name: &str| dir.path().join(name);
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("mode");
        for name in ["image", "upper", "work", "door"] {
            fs::create_dir(at(name)).expect("directory");
        }
        image(&at("image"));
        let guest = at("guest");
        // Not copied by this process: another test's fork would hold the file open for writing while it is started.
        let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_jail-probe")).arg(&guest).status().expect("cp");
        assert!(copied.success());
        if rootless {
            let owner = format!("{CALLER}:{CALLER}");
            let status = Command::new("chown").args(["-Rh", &owner]).arg(dir.path()).status().expect("chown");
            assert!(status.success());
        }
        let spec = Spec {
            hostname: "sandbox".into(),
            identity: if rootless { Identity::Caller } else { reserved() },
            root: Root { lowers: vec![at("image")], upper: Upper::Dirs { upper: at("upper"), work: at("work") } },
            mounts: vec![bind("/usr", "/usr")],
            door: None,
            guest,
            tmp_bytes: 8 << 20,
            rlimits: Rlimits { nofile: 4096, nproc: None, fsize: None },
            cgroup: None,
            walls: Walls::ALL,
        };
        Self { dir, spec, fds: Vec::new(), wrap: Vec::new(), rootless }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// An empty writable layer, as each new sandbox has one.
    pub(crate) fn fresh_layer(&self) {
        for name in ["upper", "work"] {
            fs::remove_dir_all(self.path(name)).expect("removed");
            fs::create_dir(self.path(name)).expect("made");
            if self.rootless {
                chown(self.path(name), Some(CALLER), Some(CALLER)).expect("owner");
            }
        }
    }

    /// Runs a shell script in the sandbox.
    pub(crate) fn sh(&self, script: &str) -> Outcome {
        self.run(&["sh", "-c", script])
    }

    /// Runs a command in the sandbox.
    pub(crate) fn run(&self, argv: &[&str]) -> Outcome {
        let spec = self.path("spec.json");
        fs::write(&spec, serde_json::to_vec(&self.spec).expect("json")).expect("written");
        let (host, guest) = UnixStream::pair().expect("socket pair");
        let probe = self.spec_probe();
        let mut words = self.wrap.iter().map(String::as_ref).chain([probe.as_os_str(), spec.as_os_str()]);
        let mut command = Command::new(words.next().expect("a program"));
        command.args(words).args(argv);
        command.stdin(Stdio::from(OwnedFd::from(guest))).stdout(Stdio::piped()).stderr(Stdio::piped());
        if self.rootless {
            command.uid(CALLER).gid(CALLER);
        }
        let mut launcher = command.spawn().expect("the probe starts");
        drop(command);
        let fds: Vec<BorrowedFd<'_>> = self.fds.iter().map(AsFd::as_fd).collect();
        jail::scm::send(host.as_fd(), b"s", &fds).expect("sent");
        let mut out = Vec::new();
        let mut err = Vec::new();
        std::thread::scope(|scope| {
            let (mut stderr, err) = (launcher.stderr.take().expect("piped"), &mut err);
            scope.spawn(move || stderr.read_to_end(err).expect("read"));
            launcher.stdout.take().expect("piped").read_to_end(&mut out).expect("read");
        });
        let mut pid = [0u8; 4];
        jail::scm::receive(host.as_fd(), &mut pid, &mut Vec::new()).expect("reported");
        launcher.wait().expect("launcher");
        let status = rustix::process::Pid::from_raw(i32::from_le_bytes(pid)).map_or(Some(125), |pid| {
            let (_, status) = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty()).expect("a child").expect("ended");
            status.exit_status()
        });
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Outcome { status, out: text(out), err: text(err) }
    }

    /// The copy in the temporary directory, which an ordinary user can reach too.
    fn spec_probe(&self) -> PathBuf {
        self.path("guest")
    }
}

/// A read-only bind of a host path.
pub(crate) fn bind(from: &str, to: &str) -> Mount {
    Mount { source: Source::Path(from.into()), target: to.into(), read_only: true, owner: None }
}

/// A host user that no other test and no real user has.
fn reserved() -> Identity {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let uid = 1_700_000_000 + std::process::id() % 100_000 * 1000 + NEXT.fetch_add(1, Ordering::Relaxed);
    Identity::Reserved { uid, gid: uid }
}

fn image(root: &Path) {
    for name in ["usr", "etc", "dev", "proc", "sys", "tmp", "run/lazaret", "home/sandbox", "workspace", "opt/lazaret/bin", "data"] {
        fs::create_dir_all(root.join(name)).expect("directory");
    }
    for name in ["bin", "sbin", "lib", "lib32", "lib64"] {
        if fs::symlink_metadata(Path::new("/").join(name)).is_ok_and(|m| m.is_symlink()) {
            symlink(format!("usr/{name}"), root.join(name)).expect("link");
        }
    }
    fs::write(root.join("opt/lazaret/bin/lazaret-guest"), "").expect("mount point");
    for link in ["ipc", "mini"] {
        symlink("lazaret-guest", root.join("opt/lazaret/bin").join(link)).expect("link");
    }
    fs::write(root.join("etc/passwd"), "sandbox:x:1000:1000::/home/sandbox:/bin/sh\n").expect("passwd");
}
