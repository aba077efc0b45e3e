//! One shell command: its output with a limit, its time with a limit, and its process group ended with it.

use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{ioctl_fionread, retry_on_intr};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

/// How long output is waited for once the shell itself has ended: what it left in the background may hold the pipe open
/// for ever. What the pipe holds then is still read.
const LEFT_OVER_WAIT: Duration = Duration::from_millis(300);

/// How a command ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    Code(i32),
    Signal(i32),
    TimedOut,
}

/// What a command did.
#[derive(Debug)]
pub(super) struct Ran {
    /// Standard output and standard error, in the order in which they were written.
    pub(super) output: String,
    pub(super) end: End,
}

/// Runs `command` in a new process group for at most `wait` and keeps at most `output_max` bytes of what it writes: the
/// beginning and the end.
pub(super) fn run(command: &str, wait: Duration, output_max: usize) -> std::io::Result<Ran> {
    let mut until = Instant::now() + wait;
    let (mut reader, writer) = std::io::pipe()?;
    let shell = if std::path::Path::new("/bin/bash").exists() { "/bin/bash" } else { "/bin/sh" };
    let mut child = Command::new(shell)
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .process_group(0)
        .spawn()?;
    let group = Pid::from_child(&child);
    let kill = || {
        // An error means that the group has just ended by itself.
        let _gone = kill_process_group(group, Signal::KILL);
    };
    let process = pidfd_open(group, PidfdFlags::empty()).inspect_err(|_| kill())?;
    let mut kept = Kept::new(output_max);
    let mut piece = vec![0; 32 << 10];
    let (mut exit, mut is_output_over, mut is_timed_out) = (None, false, false);
    while exit.is_none() || !is_output_over {
        // Looked at also when no time is left: what came in time counts, however late it is noticed.
        let left = until.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).ok();
        let mut both = [PollFd::new(&process, PollFlags::IN), PollFd::new(&reader, PollFlags::IN)];
        // What is over would say so again and again.
        let open = &mut both[usize::from(exit.is_some())..2 - usize::from(is_output_over)];
        retry_on_intr(|| poll(open, timeout.as_ref()))?;
        let [has_ended, has_output] = both.map(|one| !one.revents().is_empty());
        if has_output {
            match reader.read(&mut piece) {
                Ok(count @ 1..) => kept.add(&piece[..count]),
                Ok(0) | Err(_) => is_output_over = true,
            }
        }
        if has_ended {
            exit = Some(child.wait()?);
            until = Instant::now() + LEFT_OVER_WAIT;
        } else if left.is_zero() {
            if exit.is_some() {
                break;
            }
            if is_timed_out {
                return Err(std::io::Error::other("the command could not be ended"));
            }
            is_timed_out = true;
            kill();
            until = Instant::now() + Duration::from_secs(10);
        }
    }
    if !is_output_over {
        let mut rest = Vec::new();
        (&reader).take(ioctl_fionread(&reader)?).read_to_end(&mut rest)?;
        kept.add(&rest);
        // Reads on when nobody listens any more, so that what runs in the background is not stopped by a full pipe.
        std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
    }
    let end = match exit {
        _ if is_timed_out => End::TimedOut,
        Some(status) => status.signal().map_or_else(|| End::Code(status.code().unwrap_or(-1)), End::Signal),
        None => End::TimedOut,
    };
    Ok(Ran { output: kept.text(), end })
}

/// The beginning and the end of a long output.
struct Kept {
    head: Vec<u8>,
    tail: std::collections::VecDeque<u8>,
    half: usize,
    left_out: u64,
}

impl Kept {
    fn new(max: usize) -> Self {
        Self { head: Vec::new(), tail: std::collections::VecDeque::new(), half: max / 2, left_out: 0 }
    }

    fn add(&mut self, bytes: &[u8]) {
        let room = self.half - self.head.len();
        let (head, rest) = bytes.split_at(bytes.len().min(room));
        self.head.extend_from_slice(head);
        self.tail.extend(rest);
        let over = self.tail.len().saturating_sub(self.half);
        self.tail.drain(..over);
        self.left_out += over as u64;
    }

    fn text(self) -> String {
        let tail: Vec<u8> = self.tail.into();
        if self.left_out == 0 {
            let all = [self.head, tail].concat();
            return String::from_utf8_lossy(&all).into_owned();
        }
        let (head, tail) = (String::from_utf8_lossy(&self.head), String::from_utf8_lossy(&tail));
        format!("{head}\n[{} bytes left out]\n{tail}", self.left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(240);

    #[test]
    fn what_is_left_in_the_background_does_not_hold_the_turn() {
        // Silent, and in a flood.
        for left in ["sleep 500", "yes"] {
            let started = Instant::now();
            let ran = run(&format!("echo $$; {left} &"), LONG, 1000).expect("started");
            assert!(started.elapsed() < LONG);
            assert_eq!(ran.end, End::Code(0));
            let group = ran.output.lines().next().and_then(|first| first.parse().ok()).expect("a number");
            kill_process_group(Pid::from_raw(group).expect("not 0"), Signal::KILL).expect("it still ran");
        }
    }

    #[test]
    fn the_whole_group_ends_at_the_time_limit() {
        let dir = tempfile::tempdir().expect("a directory");
        let up = dir.path().join("up");
        let command = format!("sleep 1000 & echo $!; : > '{}'; wait", up.display());
        let mut limit = Duration::from_millis(500);
        // A shell that had not come so far at the limit shows nothing: it gets more time.
        let ran = loop {
            let ran = run(&command, limit, 1000).expect("started");
            assert_eq!(ran.end, End::TimedOut);
            if up.exists() {
                break ran;
            }
            assert!(limit < LONG, "the shell does not come up");
            limit *= 4;
        };
        let stat = format!("/proc/{}/stat", ran.output.trim());
        let deadline = Instant::now() + LONG;
        // Gone, or a zombie of another parent.
        while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
            assert!(Instant::now() < deadline, "the child outlived its group");
            std::thread::yield_now();
        }
    }

    #[test]
    fn long_output_keeps_its_beginning_and_its_end() {
        let ran = run("echo begin; head -c 3000000 /dev/zero | tr '\\0' x; echo end", LONG, 1000).expect("started");
        assert!(ran.output.starts_with("begin\nxxx") && ran.output.ends_with("xxxend\n"), "{}", ran.output);
        assert!(ran.output.len() < 1100 && ran.output.contains("\n[2999010 bytes left out]\n"));
    }

    #[test]
    fn standard_input_is_empty() {
        assert_eq!(run("cat; echo done", LONG, 100).expect("started").output, "done\n");
    }
}
