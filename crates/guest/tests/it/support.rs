//! A sandbox over the machine's /usr, and the host's end of its channel.

use std::collections::VecDeque;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use jail::{Identity, Mount, Rlimits, Root, Source, Spec, Upper, Walls};
use rustix::process::{Pid, Signal, WaitOptions};
use wire::{Boot, Decoder, Exec, Exit, Frame, FromGuest, Launch, ToGuest};

/// Longer than anything here takes; a test that waits longer fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(240);

/// The host's side of one sandbox.
pub(crate) struct Host {
    pub(crate) door: UnixListener,
    pid: Pid,
    ended: Option<i32>,
    channel: Option<UnixStream>,
    decoder: Decoder,
    early: VecDeque<(Frame, FromGuest)>,
    // Kept until the sandbox is gone.
    _dir: tempfile::TempDir,
}

impl Host {
    /// A sandbox that was started with this boot message and these descriptors.
    pub(crate) fn start(boot: Boot, fds: &[BorrowedFd<'_>]) -> Self {
        assert!(rustix::process::geteuid().is_root(), "these tests need root");
        let dir = tempfile::Builder::new().prefix("lazaret-guest").tempdir().expect("a directory");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("mode");
        for name in ["image", "upper", "work", "door"] {
            fs::create_dir(dir.path().join(name)).expect("directory");
        }
        image(&dir.path().join("image"));
        let door = UnixListener::bind(dir.path().join("door/host.sock")).expect("bound");
        fs::set_permissions(dir.path().join("door/host.sock"), fs::Permissions::from_mode(0o666)).expect("mode");
        let door_dir = fs::File::open(dir.path().join("door")).expect("opened");
        let mut all = fds.to_vec();
        all.push(door_dir.as_fd());
        let spec = spec(dir.path(), u32::try_from(fds.len()).expect("few"));

        let (channel, guest) = UnixStream::pair().expect("socket pair");
        channel.set_read_timeout(Some(PATIENCE)).expect("timeout");
        let mut launcher = Command::new(env!("CARGO_BIN_EXE_lazaret-guest"))
            .arg("launch")
            .stdin(Stdio::from(OwnedFd::from(guest)))
            .spawn()
            .expect("started");
        let json = serde_json::to_vec(&Launch { spec, boot }).expect("json");
        let mut bytes = Vec::new();
        ToGuest::Launch(json).frame(0, 0).expect("small").encode(&mut bytes).expect("small");
        assert_eq!(jail::scm::send(channel.as_fd(), &bytes, &all).expect("sent"), bytes.len());

        let mut host = Self {
            door,
            pid: rustix::process::getpid(),
            ended: None,
            channel: Some(channel),
            decoder: Decoder::default(),
            early: VecDeque::new(),
            _dir: dir,
        };
        // Two processes write to the channel: the first process may be heard before the launcher.
        let mut early = VecDeque::new();
        host.pid = loop {
            match host.next() {
                (_, FromGuest::Launched(pid)) => break Pid::from_raw(pid).expect("a pid"),
                other => early.push_back(other),
            }
        };
        host.early = early;
        assert!(launcher.wait().expect("ended").success());
        host
    }

    /// A sandbox without a boot command whose guest ends when the channel closes.
    pub(crate) fn plain() -> Self {
        let mut host = Self::start(Boot::default(), &[]);
        assert!(matches!(host.next().1, FromGuest::Ready(_)));
        host
    }

    pub(crate) fn send(&mut self, stream: u32, number: u64, message: &ToGuest) {
        let mut bytes = Vec::new();
        message.frame(stream, number).expect("small").encode(&mut bytes).expect("small");
        self.channel.as_mut().expect("open").write_all(&bytes).expect("sent");
    }

    /// The next frame, with its message.
    pub(crate) fn next(&mut self) -> (Frame, FromGuest) {
        self.try_next().expect("the channel is open")
    }

    /// The next frame, or nothing when the guest closed the channel.
    pub(crate) fn try_next(&mut self) -> Option<(Frame, FromGuest)> {
        if let Some(early) = self.early.pop_front() {
            return Some(early);
        }
        loop {
            if let Some(frame) = self.decoder.next_frame().expect("well formed") {
                let message = FromGuest::read(&frame).expect("known");
                return Some((frame, message));
            }
            let mut buffer = [0u8; 64 << 10];
            match self.channel.as_mut().expect("open").read(&mut buffer) {
                Ok(0) => return None,
                Ok(n) => self.decoder.push(&buffer[..n]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Starts a command and sees it started; its process number inside.
    pub(crate) fn exec(&mut self, stream: u32, exec: Exec) -> i32 {
        let lease = exec.lease;
        self.send(stream, 0, &ToGuest::Exec(exec));
        match self.next() {
            (frame, FromGuest::Started(started)) => {
                assert_eq!((frame.stream, frame.number, started.lease), (stream, 0, lease));
                started.pid
            }
            (_, other) => panic!("{other:?}"),
        }
    }

    /// Collects the output of a stream to its end, acknowledging each frame. The numbers must be without gaps.
    pub(crate) fn collect(&mut self, stream: u32) -> (Vec<u8>, Vec<u8>, Exit) {
        let (mut out, mut err, mut last) = (Vec::new(), Vec::new(), 0);
        loop {
            let (frame, message) = self.next();
            if frame.stream != stream || matches!(message, FromGuest::StdinTaken(_)) {
                continue;
            }
            last += 1;
            assert_eq!(frame.number, last, "{message:?}");
            self.send(stream, last, &ToGuest::Ack);
            match message {
                FromGuest::Stdout(bytes) => out.extend(bytes),
                FromGuest::Stderr(bytes) => err.extend(bytes),
                FromGuest::Exited(exit) => return (out, err, exit),
                other => panic!("{other:?}"),
            }
        }
    }

    /// Passes over the rest of a stream and acknowledges it.
    pub(crate) fn collect_rest(&mut self, stream: u32) {
        loop {
            let (frame, message) = self.next();
            if frame.stream == stream && matches!(message, FromGuest::Exited(_)) {
                return self.send(stream, frame.number, &ToGuest::Ack);
            }
        }
    }

    /// Runs a script to its end; its output as text.
    pub(crate) fn sh(&mut self, stream: u32, script: &str) -> String {
        self.exec(stream, sh(script));
        let (out, err, exit) = self.collect(stream);
        assert_eq!(exit.code, Some(0), "{}", String::from_utf8_lossy(&err));
        String::from_utf8(out).expect("text")
    }

    /// Reads nothing until the guest can send nothing more: as much as before waits for half a second.
    pub(crate) fn flooded(&self) {
        let channel = self.channel.as_ref().expect("open");
        let (mut before, mut since) = (0, Instant::now());
        while before == 0 || since.elapsed() < Duration::from_millis(500) {
            let waits = rustix::io::ioctl_fionread(channel).expect("a socket");
            if waits != before {
                (before, since) = (waits, Instant::now());
            }
            std::thread::yield_now();
        }
    }

    /// Closes the channel.
    pub(crate) fn leave(&mut self) {
        self.channel = None;
        self.decoder = Decoder::default();
    }

    /// The next connection to the door.
    pub(crate) fn accept(&self) -> UnixStream {
        assert!(jail::pidfd::wait(self.door.as_fd(), Some(PATIENCE)).expect("looked at"), "nobody comes to the door");
        let (stream, _) = self.door.accept().expect("accepted");
        stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
        stream
    }

    /// Takes the connection of a guest that came back.
    pub(crate) fn take_back(&mut self) {
        let mut channel = self.accept();
        let mut line = vec![0; wire::Door::Control.line().len()];
        channel.read_exact(&mut line).expect("a line");
        assert_eq!(line, wire::Door::Control.line());
        self.channel = Some(channel);
    }

    /// Waits for the end of the sandbox; the exit status of its first process.
    pub(crate) fn wait(&mut self) -> i32 {
        let (_, status) = rustix::process::waitpid(Some(self.pid), WaitOptions::empty()).expect("ours").expect("ended");
        let code = status.exit_status().expect("by itself");
        self.ended = Some(code);
        code
    }

    /// Whether the sandbox's first process still runs.
    pub(crate) fn is_alive(&mut self) -> bool {
        match rustix::process::waitpid(Some(self.pid), WaitOptions::NOHANG).expect("ours") {
            None => true,
            Some((_, status)) => {
                self.ended = status.exit_status().or(Some(-1));
                false
            }
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if self.ended.is_none() && self.pid != rustix::process::getpid() {
            let _ = rustix::process::kill_process(self.pid, Signal::KILL);
            let _ = rustix::process::waitpid(Some(self.pid), WaitOptions::empty());
        }
    }
}

/// A command with pipes and no input, under lease 1.
pub(crate) fn command(argv: &[&str]) -> Exec {
    Exec {
        argv: argv.iter().map(ToString::to_string).collect(),
        env: vec![("PATH".into(), "/usr/bin:/bin".into())],
        cwd: "/workspace".into(),
        stdio: wire::Stdio::Pipes { stdin: false },
        lease: 1,
    }
}

pub(crate) fn sh(script: &str) -> Exec {
    command(&["bash", "-c", script])
}

fn spec(dir: &Path, door: u32) -> Spec {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let uid = 1_500_000_000 + std::process::id() % 100_000 * 1000 + NEXT.fetch_add(1, Ordering::Relaxed);
    let usr = Mount { source: Source::Path("/usr".into()), target: "/usr".into(), read_only: true, owner: None };
    Spec {
        hostname: "sandbox".into(),
        identity: Identity::Reserved { uid, gid: uid },
        root: Root { lowers: vec![dir.join("image")], upper: Upper::Dirs { upper: dir.join("upper"), work: dir.join("work") } },
        mounts: vec![usr],
        door: Some(door),
        guest: env!("CARGO_BIN_EXE_lazaret-guest").into(),
        tmp_bytes: 64 << 20,
        rlimits: Rlimits { nofile: 1024, nproc: None, fsize: None },
        cgroup: None,
        walls: Walls::ALL,
    }
}

fn image(root: &Path) {
    for name in ["usr", "etc", "dev", "proc", "sys", "tmp", "run/lazaret", "home/sandbox", "workspace", "opt/lazaret/bin"] {
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
