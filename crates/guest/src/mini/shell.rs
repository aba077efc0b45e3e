//! One shell command: its output with a limit, its time with a limit, and its process group ended with it.

use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

/// How long output is waited for once the shell itself has ended: what it left in the background may hold the pipe open
/// for ever.
const LEFT_OVER_WAIT: Duration = Duration::from_millis(300);
/// How many things can happen before the one who waits takes notice: the exit, and pieces of output.
const HAPPENINGS_MAX: usize = 16;

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

enum Happening {
    Output(Vec<u8>),
    OutputEnd,
    Exit(std::io::Result<std::process::ExitStatus>),
}

/// Runs `command` in a new process group for at most `wait` and keeps at most `output_max` bytes of what it writes: the
/// beginning and the end.
pub(super) fn run(command: &str, wait: Duration, output_max: usize) -> std::io::Result<Ran> {
    let deadline = Instant::now() + wait;
    let (mut reader, writer) = std::io::pipe()?;
    let shell = if std::path::Path::new("/bin/bash").exists() { "/bin/bash" } else { "/bin/sh" };
    let mut child = Command::new(shell)
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .process_group(0)
        .spawn()?;
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let (tell, happenings) = mpsc::sync_channel(HAPPENINGS_MAX);
    let tell_exit = tell.clone();
    std::thread::spawn(move || drop(tell_exit.send(Happening::Exit(child.wait()))));
    std::thread::spawn(move || {
        let mut piece = vec![0; 32 << 10];
        // Reads on when nobody listens any more, so that what runs in the background is not stopped by a full pipe.
        while let Ok(count @ 1..) = reader.read(&mut piece) {
            drop(tell.send(Happening::Output(piece[..count].to_vec())));
        }
        drop(tell.send(Happening::OutputEnd));
    });
    let mut kept = Kept::new(output_max);
    let (mut exit, mut is_output_over) = (None, false);
    let mut until = deadline;
    let mut is_timed_out = false;
    while exit.is_none() || !is_output_over {
        match happenings.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(Happening::Output(bytes)) => kept.add(&bytes),
            Ok(Happening::OutputEnd) => is_output_over = true,
            Ok(Happening::Exit(status)) => {
                exit = Some(status?);
                until = Instant::now() + LEFT_OVER_WAIT;
            }
            Err(_) if exit.is_some() => break,
            Err(_) if is_timed_out => return Err(std::io::Error::other("the command could not be ended")),
            Err(_) => {
                is_timed_out = true;
                // An error means that the group has just ended by itself.
                let _gone = group.map(|group| kill_process_group(group, Signal::KILL));
                until = Instant::now() + Duration::from_secs(10);
            }
        }
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
        let started = Instant::now();
        let ran = run("sleep 500 & echo $!", LONG, 1000).expect("started");
        assert!(started.elapsed() < LONG);
        assert_eq!(ran.end, End::Code(0));
        let pid: i32 = ran.output.trim().parse().expect("a number");
        rustix::process::kill_process(Pid::from_raw(pid).expect("not 0"), Signal::KILL).expect("it still ran");
    }

    #[test]
    fn the_whole_group_ends_at_the_time_limit() {
        let ran = run("sleep 1000 & echo $!; wait", Duration::from_millis(500), 1000).expect("started");
        assert_eq!(ran.end, End::TimedOut);
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
