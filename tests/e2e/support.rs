//! A place to try the shipped binary in: an empty home, nothing of the tester's environment, and a look at what is left.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::model_server::{ModelServer, Script};

/// Whatever is waited for comes within this time, or the test fails; a run that takes longer is ended. No test is about this time: it is
/// far more than anything takes on a machine that is slow and has much else to do.
pub(crate) const PATIENCE: Duration = Duration::from_secs(600);
/// How often something is looked at that nobody tells of.
const STEP: Duration = Duration::from_millis(20);

/// An empty home. Dropping it stops its daemon and looks for what was left behind.
pub(crate) struct Lab {
    dir: tempfile::TempDir,
    home: PathBuf,
    runtime: tokio::runtime::Runtime,
}

impl Lab {
    pub(crate) fn new() -> Self {
        Self::with_home(None)
    }

    /// One whose home lies elsewhere.
    pub(crate) fn with_home(home: Option<PathBuf>) -> Self {
        let dir = tempfile::Builder::new().prefix("lazaret-e2e-").tempdir().expect("make a directory");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("make a runtime");
        let home = home.unwrap_or_else(|| dir.path().join("home"));
        Self { dir, home, runtime }
    }

    /// A path beside the home.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.home.clone()
    }

    /// An engine of the tester's own: a program in a directory of its own.
    pub(crate) fn program(&self, name: &str, text: &str) -> String {
        use std::os::unix::fs::PermissionsExt;
        let dir = self.path(&format!("engine-{name}"));
        std::fs::create_dir(&dir).expect("make");
        let program = dir.join(name);
        std::fs::write(&program, text).expect("write");
        for path in [&dir, &program] {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("chmod");
        }
        program.to_str().expect("utf-8").to_owned()
    }

    /// The shipped binary with this home.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lazaret"));
        command
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", self.dir.path())
            .env("LAZARET_HOME", self.home())
            .current_dir(self.dir.path())
            .args(args)
            .stdin(Stdio::null());
        command
    }

    /// Runs the binary to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        Ran::of(self.command(args), None)
    }

    /// Runs the binary with this standard input.
    pub(crate) fn run_with(&self, args: &[&str], input: &[u8]) -> Ran {
        Ran::of(self.command(args), Some(input.to_vec()))
    }

    /// A model provider on loopback.
    pub(crate) fn model(&self, script: Script) -> ModelServer {
        self.runtime.block_on(ModelServer::start(script))
    }

    /// Leads a provider to a server and stores the key that it wants.
    pub(crate) fn connect(&self, provider: &str, server: &ModelServer) {
        let base = if provider == "openai" { format!("{}/v1", server.url()) } else { server.url() };
        self.run(&["config", "set", &format!("providers.{provider}.base_url"), &base]).succeeds();
        self.run_with(&["secret", "set", provider, "-"], KEY.as_bytes()).succeeds();
    }

    /// Looks for anything that a sandbox may leave: processes, control groups, mounts, directories.
    pub(crate) fn assert_nothing_left(&self) {
        let mut left = Vec::new();
        let is_clean = comes(|| {
            left = self.left();
            left.is_empty()
        });
        assert!(is_clean, "left behind: {left:#?}");
    }

    fn left(&self) -> Vec<String> {
        let home = self.home();
        let mut left = Vec::new();
        let guest = home.join("bin");
        for process in std::fs::read_dir("/proc").expect("read /proc").flatten() {
            let exe = std::fs::read_link(process.path().join("exe")).unwrap_or_default();
            if exe.starts_with(&guest) {
                left.push(format!("process {}", process.file_name().to_string_lossy()));
            }
        }
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("read the mounts");
        let home_text = home.to_string_lossy().into_owned();
        left.extend(mounts.lines().filter(|line| line.contains(&home_text)).map(|line| format!("mount {line}")));
        if let Ok(entries) = std::fs::read_dir(home.join("sandboxes")) {
            left.extend(entries.flatten().filter(|e| e.path().is_dir()).map(|e| format!("directory {}", e.path().display())));
        }
        if let Ok(install) = std::fs::read_to_string(home.join("install-id")) {
            let label = format!("lazaret-{}.", install.trim());
            for hierarchy in std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
                let groups = std::fs::read_dir(hierarchy.path()).into_iter().flatten().flatten();
                let ours = groups.filter(|g| g.file_name().to_string_lossy().starts_with(&label));
                left.extend(ours.map(|g| format!("group {}", g.path().display())));
            }
        }
        left
    }
}

/// The key of every provider in these tests.
pub(crate) const KEY: &str = "sk-ant-api03-e2e-canary-key-0123456789";

impl Drop for Lab {
    fn drop(&mut self) {
        if !self.home().exists() {
            return;
        }
        // A daemon that just ends by itself may hang up on who asks it to.
        let stop = || self.command(&["stop", "--grace", "0s"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        let is_stopped = if std::thread::panicking() { stop().is_ok() } else { comes(|| stop().is_ok_and(|status| status.success())) };
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.home().join("logs/daemon.log")).unwrap_or_default();
            #[expect(clippy::print_stderr, reason = "a failing test shows what its daemon said")]
            let () = eprintln!("the daemon's log:\n{log}");
            return;
        }
        assert!(is_stopped, "the daemon did not stop");
        self.assert_nothing_left();
    }
}

/// What a command did.
pub(crate) struct Ran {
    pub(crate) status: i32,
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) took: Duration,
}

impl Ran {
    pub(crate) fn of(mut command: Command, input: Option<Vec<u8>>) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        if input.is_some() {
            command.stdin(Stdio::piped());
        }
        let mut child = command.spawn().expect("run the binary");
        if let Some(input) = input {
            let mut pipe = child.stdin.take().expect("a pipe");
            std::thread::spawn(move || std::io::Write::write_all(&mut pipe, &input));
        }
        Self::wait(child)
    }

    /// Waits for the end of a command that was started before; the time counts from here.
    pub(crate) fn wait(child: Child) -> Self {
        let (_bound, began) = (bounded(&child), Instant::now());
        let output = child.wait_with_output().expect("wait for the binary");
        Self::read(output, began.elapsed())
    }

    pub(crate) fn read(output: Output, took: Duration) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        use std::os::unix::process::ExitStatusExt;
        let status = output.status.code().unwrap_or_else(|| -output.status.signal().unwrap_or(0));
        Self { status, out: text(output.stdout), err: text(output.stderr), took }
    }

    #[track_caller]
    pub(crate) fn succeeds(self) -> Self {
        self.ends_with(0)
    }

    #[track_caller]
    pub(crate) fn ends_with(self, status: i32) -> Self {
        assert_eq!(self.status, status, "\nstdout: {}\nstderr: {}", end_of(&self.out), end_of(&self.err));
        self
    }

    /// Fails with this code and exit status.
    #[track_caller]
    pub(crate) fn fails(self, code: &str, status: i32) -> Self {
        let ran = self.ends_with(status);
        assert!(ran.err.contains(&format!("[{code}]")), "no {code} in: {}", ran.err);
        ran
    }

    /// Standard output as JSON lines.
    #[track_caller]
    pub(crate) fn events(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
    }

    /// The last event, which is the result.
    #[track_caller]
    pub(crate) fn result(&self) -> Value {
        let events = self.events();
        let results = events.iter().filter(|e| e["type"] == "result").count();
        assert_eq!(results, 1, "{}", self.out);
        let last = events.last().expect("an event").clone();
        assert_eq!(last["type"], "result");
        last
    }
}

/// Ends a child that takes longer than [`PATIENCE`], unless what this gives is dropped before: who reads from it or waits for it comes to
/// an end too.
#[must_use]
pub(crate) fn bounded(child: &Child) -> std::sync::mpsc::Sender<()> {
    use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
    let process = pidfd_open(Pid::from_child(child), PidfdFlags::empty()).expect("a child");
    let (bound, dropped) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        if dropped.recv_timeout(PATIENCE) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            let _ = pidfd_send_signal(&process, Signal::KILL);
        }
    });
    bound
}

/// The first line that a child prints; empty when it ends without one.
pub(crate) fn first_line(child: &mut Child) -> String {
    let _bound = bounded(child);
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().expect("a pipe")).read_line(&mut line).expect("read");
    line
}

/// Looks again and again until something is so; says whether it came to be.
pub(crate) fn comes(mut is_so: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + PATIENCE;
    loop {
        if is_so() {
            return true;
        }
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(STEP);
    }
}

/// A port of loopback at which nobody listens, nor will as long as this value is there.
pub(crate) struct Deaf {
    _socket: rustix::fd::OwnedFd,
    pub(crate) port: u16,
}

impl Deaf {
    pub(crate) fn new() -> Self {
        use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, socket_with};
        let held = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None).expect("a socket");
        bind(&held, &std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = std::net::SocketAddr::try_from(getsockname(&held).expect("its name")).expect("an address");
        Self { _socket: held, port: address.port() }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

/// The end of a text that may be very long.
fn end_of(text: &str) -> &str {
    let from = (text.len().saturating_sub(8 << 10)..text.len()).find(|at| text.is_char_boundary(*at));
    from.map_or(text, |from| &text[from..])
}

/// The events of one type.
pub(crate) fn of_type<'a>(events: &'a [Value], kind: &str) -> Vec<&'a Value> {
    events.iter().filter(|e| e["type"] == kind).collect()
}

/// A file of the workspace of this project.
pub(crate) fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}
