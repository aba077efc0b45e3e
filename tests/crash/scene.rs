//! A daemon that is killed, a command that needs it, and a model that both talk to.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus, Output, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use testkit::model_server::{ModelServer, Say, Script};

use crate::support::{Lab, Ran, first_line};

pub(crate) use crate::support::PATIENCE;

/// What mini says when each of its tries to ask the model met a daemon that was away.
pub(crate) const AWAY: [&str; 3] = ["failed to reach the model", "failed to send to the model", "failed to read from the model"];
/// A tool that takes a moment and tells how often it has run.
pub(crate) const TOOL: &str = "echo once >> /workspace/runs; sleep 0.3; echo ran $(wc -l < /workspace/runs) times";
/// What the model says at the end, with what the tool printed.
pub(crate) const ANSWER: &str = "The tool printed: ran 1 times";

/// A home whose agent runs one tool and answers.
pub(crate) fn lab(tool: &str) -> (Lab, ModelServer) {
    let lab = Lab::new();
    let server = lab.model(Script { command: tool.to_owned(), ..Script::default() });
    lab.run(&["config", "set", "providers.anthropic.base_url", &server.url()]).succeeds();
    lab.run(&["config", "set", "providers.anthropic.keyless", "true"]).succeeds();
    (lab, server)
}

/// A script whose first reply is this command, whatever is asked.
pub(crate) fn first(command: &str) -> Script {
    Script { replies: vec![Say::Shell(command.to_owned())], ..Script::default() }
}

/// Starts a daemon in the foreground, which dies at `point` if one is named, and waits until it is ready.
pub(crate) fn daemon(lab: &Lab, point: Option<&str>) -> Child {
    let mut command = lab.command(&["up", "--listen", "127.0.0.1:0"]);
    if let Some(point) = point {
        command.env("LAZARET_CRASH_AT", point);
    }
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("up");
    let line = first_line(&mut child);
    assert!(line.contains("ready"), "the daemon did not come up: {line}");
    child
}

/// Waits until the kernel has killed a process that killed itself or was killed.
#[track_caller]
pub(crate) fn dies(child: &mut Child, about: &str) {
    let status = ends(child, about);
    assert_eq!(status.signal(), Some(Signal::KILL.as_raw()), "{about}: it was to be killed, and ended with {status}");
}

/// Waits for a process's end.
#[track_caller]
pub(crate) fn ends(child: &mut Child, about: &str) -> ExitStatus {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("wait") {
            return status;
        }
        assert!(began.elapsed() < PATIENCE, "{about}: a process does not end");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether a daemon answers.
pub(crate) fn is_up(lab: &Lab) -> bool {
    UnixStream::connect(lab.home().join("run").join(api::OWNER_SOCKET)).is_ok()
}

/// The process that listens at the owner's socket.
pub(crate) fn daemon_pid(lab: &Lab) -> Option<Pid> {
    let stream = UnixStream::connect(lab.home().join("run").join(api::OWNER_SOCKET)).ok()?;
    rustix::net::sockopt::socket_peercred(&stream).ok().map(|who| who.pid)
}

/// Kills the daemon if there is one, and waits until it is gone.
pub(crate) fn kill_daemon(lab: &Lab) -> bool {
    let Some(pid) = daemon_pid(lab) else { return false };
    let Ok(pidfd) = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()) else { return false };
    let _ = kill_process(pid, Signal::KILL);
    let mut fds = [rustix::event::PollFd::new(&pidfd, rustix::event::PollFlags::IN)];
    let _ = rustix::event::poll(&mut fds, None);
    true
}

/// Waits until a daemon answers or `child` has ended.
#[track_caller]
pub(crate) fn up_or_over(lab: &Lab, child: &mut Running, about: &str) {
    let began = Instant::now();
    while !is_up(lab) && !child.is_over() {
        assert!(began.elapsed() < PATIENCE, "{about}: no daemon comes up");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A command that runs, its output read by threads.
pub(crate) struct Running {
    pub(crate) child: Child,
    out: JoinHandle<Vec<u8>>,
    err: JoinHandle<Vec<u8>>,
    began: Instant,
}

impl Running {
    /// Starts the shipped binary.
    pub(crate) fn start(lab: &Lab, args: &[&str]) -> Self {
        let began = Instant::now();
        let mut child = lab.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("start");
        let out = reader(child.stdout.take().expect("a pipe"));
        let err = reader(child.stderr.take().expect("a pipe"));
        Self { child, out, err, began }
    }

    pub(crate) fn is_over(&mut self) -> bool {
        self.child.try_wait().expect("wait").is_some()
    }

    /// Kills it.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("kill");
        self.child.wait().expect("wait");
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn ends(mut self, about: &str) -> Ran {
        let status = ends(&mut self.child, about);
        let took = self.began.elapsed();
        let output = Output { status, stdout: self.out.join().expect("read"), stderr: self.err.join().expect("read") };
        Ran::read(output, took)
    }
}

fn reader(mut pipe: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // A pipe that breaks ends what there is to read.
        let _ = pipe.read_to_end(&mut bytes);
        bytes
    })
}

/// Requests that asked the model to say something.
pub(crate) fn asked(server: &ModelServer) -> usize {
    server.requests().iter().filter(|r| r.target.split('?').next().is_some_and(|path| path.ends_with("/messages"))).count()
}

/// Waits until a command with this in its command line runs in a sandbox of the home.
#[track_caller]
pub(crate) fn tool_runs(lab: &Lab, mark: &str) {
    let began = Instant::now();
    let marked = |process: &std::fs::DirEntry| {
        let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).replace('\0', " ").contains(mark)
    };
    let install = std::fs::read_to_string(lab.home().join("install-id")).expect("a home").trim().to_owned();
    let own =
        |process: &std::fs::DirEntry| std::fs::read_to_string(process.path().join("cgroup")).is_ok_and(|group| group.contains(&install));
    while !std::fs::read_dir("/proc").expect("read /proc").flatten().any(|process| own(&process) && marked(&process)) {
        assert!(began.elapsed() < PATIENCE, "the tool does not run");
        std::thread::sleep(Duration::from_millis(10));
    }
}
