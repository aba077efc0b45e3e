//! How a case is tried: the shipped binary starts a sandbox with the probe mounted into it, as root and as an ordinary
//! user, and the probe's own words say what each attack came to.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{OnceLock, mpsc};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, geteuid, kill_process};
use serde_json::Value;

/// Where the probe stands inside.
pub(crate) const PROBE: &str = "/home/sandbox/probe/escape_probe";
/// A run that takes longer is ended and fails its test.
pub(crate) const PATIENCE: Duration = Duration::from_secs(240);

/// Who starts sandboxes, with a home of their own. Dropping it removes the home.
#[derive(Debug)]
pub(crate) struct Caller {
    /// 0, or a user that nothing else on this machine uses.
    pub(crate) uid: u32,
    /// A directory that belongs to this user alone.
    pub(crate) home: PathBuf,
}

/// Runs a case once as root and once as an ordinary user, at the same time.
pub(crate) fn each_caller(case: impl Fn(&Caller) + Sync) {
    std::thread::scope(|scope| {
        scope.spawn(|| case(&Caller::root()));
        scope.spawn(|| case(&Caller::user()));
    });
}

impl Caller {
    pub(crate) fn root() -> Self {
        assert!(geteuid().is_root(), "the escape suite must run as root: it tries each case as root and as an ordinary user");
        Self::new(0)
    }

    pub(crate) fn user() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // Above every user that a distribution makes; different for each test process and caller.
        Self::new(3_000_000 + (std::process::id() % 1_000_000) * 64 + NEXT.fetch_add(1, Ordering::Relaxed) % 64)
    }

    fn new(uid: u32) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("lazaret-escape-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let home = std::env::temp_dir().join(name);
        fs::create_dir(&home).expect("make a home");
        let caller = Self { uid, home };
        caller.own(&caller.home, 0o700);
        caller
    }

    pub(crate) fn is_root(&self) -> bool {
        self.uid == 0
    }

    /// A file of this user's.
    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.home.join(name);
        fs::write(&path, text).expect("write a file");
        self.own(&path, 0o600);
        path
    }

    /// A directory of this user's.
    pub(crate) fn dir(&self, name: &str) -> PathBuf {
        let path = self.home.join(name);
        fs::create_dir_all(&path).expect("make a directory");
        self.own(&path, 0o700);
        path
    }

    fn own(&self, path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("set the mode");
        if geteuid().is_root() {
            chown(path, Some(self.uid), Some(self.uid)).expect("give the file to the caller");
        }
    }

    /// The shipped binary, run by this user with nothing of the tester's environment.
    pub(crate) fn lazaret(&self) -> Command {
        let mut command = Command::new(&programs().lazaret);
        self.dress(&mut command);
        command
    }

    /// Makes any command run as this user, in this user's home.
    pub(crate) fn dress(&self, command: &mut Command) {
        command
            .env_clear()
            .env("HOME", &self.home)
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("LAZARET_HOME", self.home.join(".lazaret"));
        command.current_dir(&self.home);
        if geteuid().is_root() {
            command.uid(self.uid).gid(self.uid);
        }
    }

    /// A sandbox with every wall.
    pub(crate) fn sandbox(&self) -> Trial<'_> {
        Trial { caller: self, options: Vec::new(), input: None }
    }

    /// A sandbox without these walls: shows that it is they that stop an attack.
    pub(crate) fn without(&self, walls: &str) -> Trial<'_> {
        self.sandbox().option("--without").option(walls)
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        // A daemon that a command started would go on without its home for a while.
        if self.home.join(".lazaret").exists() {
            let mut stop = self.lazaret();
            let _ = stop.args(["stop", "--grace", "0s"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
        if let Err(error) = fs::remove_dir_all(&self.home)
            && !std::thread::panicking()
        {
            assert_eq!(error.kind(), io::ErrorKind::NotFound, "remove {}: {error}", self.home.display());
        }
    }
}

/// The flag's value that mounts the probe.
pub(crate) fn probe_mount() -> String {
    format!("{}:/home/sandbox/probe", programs().probe_dir.display())
}

/// A sandbox that is about to be started.
#[derive(Debug)]
pub(crate) struct Trial<'a> {
    caller: &'a Caller,
    options: Vec<String>,
    input: Option<fs::File>,
}

impl Trial<'_> {
    /// One more word before the command.
    pub(crate) fn option(mut self, word: impl Into<String>) -> Self {
        self.options.push(word.into());
        self
    }

    /// A standard input other than the empty one.
    pub(crate) fn input(mut self, file: fs::File) -> Self {
        self.input = Some(file);
        self
    }

    /// The command line that starts it, without the command inside.
    pub(crate) fn command(&self) -> Command {
        let mut command = self.caller.lazaret();
        command.args(["sandbox", "run", "--mount", &probe_mount()]);
        command.args(&self.options).arg("--");
        command
    }

    /// Runs any command inside.
    pub(crate) fn run(self, argv: &[&str]) -> Output {
        let mut command = self.command();
        command.args(argv);
        finish(command, self.input.map_or_else(Stdio::null, Stdio::from))
    }

    /// Runs attacks of the probe inside.
    pub(crate) fn attack(self, attacks: &[&str]) -> Report {
        let mut argv = vec![PROBE];
        argv.extend(attacks);
        Report::read(&self.run(&argv), attacks.len())
    }
}

/// A sandbox of the daemon, which stays up. Dropping it removes the sandbox.
#[derive(Debug)]
pub(crate) struct Standing<'a> {
    caller: &'a Caller,
    /// What the binary printed.
    pub(crate) id: String,
}

impl<'a> Standing<'a> {
    pub(crate) fn create(caller: &'a Caller, options: &[&str]) -> Self {
        let mut command = caller.lazaret();
        command.args(["sandbox", "create", "--mount", &probe_mount()]).args(options);
        let output = finish(command, Stdio::null());
        let id = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        assert!(output.status.success() && !id.is_empty(), "{output:?}");
        Self { caller, id }
    }

    /// Runs a command in it.
    pub(crate) fn exec(&self, argv: &[&str]) -> Output {
        let mut command = self.caller.lazaret();
        command.args(["sandbox", "exec", &self.id, "--"]).args(argv);
        finish(command, Stdio::null())
    }

    /// Copies files; one side names the sandbox.
    pub(crate) fn copy(&self, from: &str, to: &str) -> Output {
        let mut command = self.caller.lazaret();
        command.args(["sandbox", "cp", from, to]);
        finish(command, Stdio::null())
    }
}

impl Drop for Standing<'_> {
    fn drop(&mut self) {
        let mut command = self.caller.lazaret();
        let _ = command.args(["sandbox", "rm", &self.id]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

/// The shipped binary.
pub(crate) fn program() -> &'static Path {
    &programs().lazaret
}

/// The probe on the host, as this user.
pub(crate) fn probe_as(uid: u32, attacks: &[&str]) -> Command {
    let mut command = Command::new(programs().probe_dir.join("escape_probe"));
    command.args(attacks).env_clear().current_dir("/").uid(uid).gid(uid);
    command
}

/// Waits for a command, but not for ever.
pub(crate) fn finish(mut command: Command, input: Stdio) -> Output {
    command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap_or_else(|error| panic!("run {command:?}: {error}"));
    ended(child, &format!("{command:?}"))
}

/// Waits for the end of a command that was started before, but not for ever.
#[track_caller]
pub(crate) fn ended(child: Child, about: &str) -> Output {
    let pid = Pid::from_child(&child);
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || sender.send(child.wait_with_output()));
    match receiver.recv_timeout(PATIENCE) {
        Ok(output) => output.expect("read what the command printed"),
        Err(_) => {
            let _ = kill_process(pid, Signal::KILL);
            panic!("{about} did not end within {PATIENCE:?}");
        }
    }
}

/// What the probe said.
#[derive(Debug)]
pub(crate) struct Report(BTreeMap<String, Value>);

impl Report {
    /// Reads the probe's lines. A run that ended badly, or lacks an answer, fails the test.
    pub(crate) fn read(output: &Output, attacks: usize) -> Self {
        let text = String::from_utf8_lossy(&output.stdout);
        let mut found = BTreeMap::new();
        for line in text.lines() {
            let line: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e} in {line:?}; {output:?}"));
            found.insert(line["attack"].as_str().expect("a name").to_owned(), line);
        }
        assert!(output.status.success() && found.len() == attacks, "{output:?}");
        Self(found)
    }

    fn line(&self, attack: &str) -> &Value {
        self.0.get(attack).unwrap_or_else(|| panic!("`{attack}` was not tried"))
    }

    /// The error that stopped an attack.
    #[track_caller]
    pub(crate) fn denied(&self, attack: &str) -> &str {
        let line = self.line(attack);
        line["errno"].as_str().unwrap_or_else(|| panic!("the attack worked: {line}"))
    }

    /// What an attack brought.
    #[track_caller]
    pub(crate) fn worked(&self, attack: &str) -> &Value {
        let line = self.line(attack);
        assert_eq!(line["result"], "worked", "{line}");
        &line["how"]
    }

    /// Whether a place is not there, closed, or holds nothing.
    pub(crate) fn is_absent_or_empty(&self, attack: &str) -> bool {
        let line = self.line(attack);
        line["errno"] == "ENOENT" || line["errno"] == "EACCES" || line["how"].as_array().is_some_and(Vec::is_empty)
    }

    /// All of these were stopped by this very error.
    #[track_caller]
    pub(crate) fn all_denied(&self, attacks: &[&str], errno: &str) {
        let found: Vec<(&str, &str)> = attacks.iter().map(|attack| (*attack, self.denied(attack))).collect();
        let expect: Vec<(&str, &str)> = attacks.iter().map(|attack| (*attack, errno)).collect();
        assert_eq!(found, expect);
    }

    /// Each of these got past the wall that is gone: it worked, or failed for another reason.
    #[track_caller]
    pub(crate) fn none_denied(&self, attacks: &[&str], errno: &str) {
        let still: Vec<&Value> = attacks.iter().map(|attack| self.line(attack)).filter(|line| line["errno"] == errno).collect();
        assert!(still.is_empty(), "stopped by another wall: {still:?}");
    }
}

/// Where the programs stand; readable by everybody.
struct Programs {
    lazaret: PathBuf,
    probe_dir: PathBuf,
}

fn programs() -> &'static Programs {
    static PROGRAMS: OnceLock<Programs> = OnceLock::new();
    PROGRAMS.get_or_init(|| {
        let lazaret = PathBuf::from(env!("CARGO_BIN_EXE_lazaret"));
        let probe = build_probe(&lazaret);
        let probe_dir = probe.parent().expect("a program has a directory").to_owned();
        if is_open(&lazaret) && is_open(&probe) {
            return Programs { lazaret, probe_dir };
        }
        let copies = std::env::temp_dir().join(format!("lazaret-escape-programs-{}", stamp(&lazaret) ^ stamp(&probe)));
        copy_programs(&copies, &[&lazaret, &probe]);
        Programs { lazaret: copies.join("lazaret"), probe_dir: copies }
    })
}

/// Builds the probe into the profile directory of the binary. Cargo is only asked when the probe is older than its
/// source, so that many test processes start quickly.
fn build_probe(lazaret: &Path) -> PathBuf {
    let profile_dir = lazaret.parent().expect("a program has a directory");
    let probe_dir = profile_dir.join("escape-probe");
    let probe = probe_dir.join("escape_probe");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../jail");
    if modified(&probe).is_some_and(|built| newest(&source).is_some_and(|changed| changed < built)) {
        return probe;
    }
    let target_dir = profile_dir.parent().expect("a profile has a target directory");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--locked", "--package", "lazaret-jail", "--example", "escape_probe", "--target-dir"]).arg(target_dir);
    if profile_dir.ends_with("release") {
        cargo.arg("--release");
    }
    let output = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("run cargo");
    assert!(output.status.success(), "the probe does not build: {}", String::from_utf8_lossy(&output.stderr));
    // In a directory of its own: the whole directory is mounted.
    copy_programs(&probe_dir, &[&profile_dir.join("examples/escape_probe")]);
    probe
}

fn modified(path: &Path) -> Option<std::time::SystemTime> {
    fs::metadata(path).and_then(|meta| meta.modified()).ok()
}

/// The latest change in a tree of sources.
fn newest(dir: &Path) -> Option<std::time::SystemTime> {
    let entries = fs::read_dir(dir).ok()?.flatten();
    entries.filter_map(|entry| if entry.path().is_dir() { newest(&entry.path()) } else { modified(&entry.path()) }).max()
}

fn stamp(path: &Path) -> u128 {
    modified(path).and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok()).map_or(0, |age| age.as_nanos())
}

/// Whether any user can run this program: checked by being one.
fn is_open(program: &Path) -> bool {
    let mut command = Command::new("/usr/bin/test");
    command.arg("-x").arg(program).uid(65534).gid(65534);
    command.status().is_ok_and(|status| status.success())
}

/// Copies programs so that a concurrent test process sees a whole one or none.
fn copy_programs(dir: &Path, programs: &[&Path]) {
    fs::create_dir_all(dir).expect("make a directory for programs");
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).expect("open it");
    for program in programs {
        let name = program.file_name().expect("a program has a name").to_string_lossy().into_owned();
        let half = dir.join(format!(".{name}-{}", std::process::id()));
        fs::copy(program, &half).expect("copy a program");
        fs::rename(&half, dir.join(name)).expect("put the copy in place");
    }
}

/// Waits until something holds, at most this long; tells whether it did.
pub(crate) fn within(limit: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    loop {
        if holds() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The host's processes whose command line holds this text.
pub(crate) fn host_processes(mark: &str) -> Vec<u32> {
    let own = std::process::id();
    let entries = fs::read_dir("/proc").expect("list the host's processes").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_string_lossy().parse::<u32>().ok());
    pids.filter(|pid| *pid != own)
        .filter(|pid| fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains(mark)))
        .collect()
}
