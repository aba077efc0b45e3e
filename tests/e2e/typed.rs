//! The shipped binary on a terminal, as somebody types into it.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

use crate::support::{Lab, PATIENCE};

/// A command on a terminal of its own. Dropping it ends the terminal.
pub(crate) struct Typed {
    child: Child,
    keys: Option<ChildStdin>,
    screen: Arc<Screen>,
    seen: usize,
}

#[derive(Default)]
struct Screen {
    /// What was shown so far, and whether there comes more.
    shown: Mutex<(Vec<u8>, bool)>,
    changed: Condvar,
}

impl Typed {
    /// Starts the binary. `script` gives it a terminal.
    pub(crate) fn start(lab: &Lab, args: &[&str]) -> Self {
        // In place of the shell, which would take an interrupt for its own.
        let line = [&["exec", env!("CARGO_BIN_EXE_lazaret")], args].concat().join(" ");
        let plain = lab.command(&[]);
        let mut command = Command::new("script");
        command.env_clear().envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?)))).env("TERM", "xterm");
        command.current_dir(lab.path(".")).args(["-qefc", &line, "/dev/null"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("script is part of util-linux: apt-get install bsdutils");
        let (keys, mut out) = (child.stdin.take(), child.stdout.take().expect("a pipe"));
        let screen = Arc::<Screen>::default();
        let shared = Arc::clone(&screen);
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            loop {
                let n = out.read(&mut piece).unwrap_or(0);
                let mut shown = shared.shown.lock().unwrap_or_else(PoisonError::into_inner);
                shown.0.extend_from_slice(&piece[..n]);
                shown.1 |= n == 0;
                shared.changed.notify_all();
                if n == 0 {
                    return;
                }
            }
        });
        Self { child, keys, screen, seen: 0 }
    }

    /// The binary's own process.
    #[track_caller]
    fn process(&self) -> rustix::process::Pid {
        let children = format!("/proc/{0}/task/{0}/children", self.child.id());
        let first = std::fs::read_to_string(children).expect("children").split_whitespace().next().and_then(|pid| pid.parse().ok());
        first.and_then(rustix::process::Pid::from_raw).expect("it runs")
    }

    /// Makes the terminal another size.
    #[track_caller]
    pub(crate) fn resize(&self, rows: u16, cols: u16) {
        let tty = std::fs::File::options()
            .read(true)
            .write(true)
            .open(format!("/proc/{}/fd/0", self.process().as_raw_nonzero()))
            .expect("its terminal");
        let size = rustix::termios::Winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(tty, size).expect("set");
    }

    /// Sends the binary a signal.
    #[track_caller]
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(self.process(), signal).expect("kill");
    }

    /// Kills the binary, unless it is over already.
    pub(crate) fn kill(&self) {
        let children = format!("/proc/{0}/task/{0}/children", self.child.id());
        let first = std::fs::read_to_string(children).ok().and_then(|text| text.split_whitespace().next()?.parse().ok());
        if let Some(pid) = first.and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }

    /// Presses keys.
    pub(crate) fn keys(&mut self, keys: &str) {
        let pipe = self.keys.as_mut().expect("open");
        pipe.write_all(keys.as_bytes()).and_then(|()| pipe.flush()).expect("type");
    }

    /// Types a line.
    pub(crate) fn line(&mut self, text: &str) {
        self.keys(&format!("{text}\r"));
    }

    /// Waits until the screen shows this, after what was waited for before.
    #[track_caller]
    pub(crate) fn expect(&mut self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        let mut shown = self.screen.shown.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let rest = &shown.0[self.seen..];
            if let Some(at) = rest.windows(text.len()).position(|w| w == text.as_bytes()) {
                self.seen += at + text.len();
                return;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let all = String::from_utf8_lossy(&shown.0).into_owned();
            assert!(!left.is_zero() && !shown.1, "no `{text}` after byte {}: {all}", self.seen);
            shown = self.screen.changed.wait_timeout(shown, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Everything that was shown.
    pub(crate) fn all(&self) -> String {
        String::from_utf8_lossy(&self.screen.shown.lock().unwrap_or_else(PoisonError::into_inner).0).into_owned()
    }

    /// Waits for the end of the command and gives its exit status.
    #[track_caller]
    pub(crate) fn ends(&mut self) -> i32 {
        let deadline = Instant::now() + PATIENCE;
        let mut shown = self.screen.shown.lock().unwrap_or_else(PoisonError::into_inner);
        while !shown.1 {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "it does not end: {}", String::from_utf8_lossy(&shown.0));
            shown = self.screen.changed.wait_timeout(shown, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(shown);
        self.child.wait().expect("wait").code().expect("a status")
    }
}

impl Drop for Typed {
    fn drop(&mut self) {
        drop(self.keys.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
