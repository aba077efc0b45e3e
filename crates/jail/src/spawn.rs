//! Commands of a running sandbox, started by its one-threaded first process.
//!
//! A command inherits every layer of its parent; what is added here is its own session, its control groups and a clean
//! start: default signals, no descriptor but the three standard ones.

use std::ffi::{CString, c_char, c_int};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

/// How long a command may take from its fork to its exec. Only something that stops it on the way takes longer, and
/// that must not stop its parent.
pub const EXEC_WAIT: Duration = Duration::from_secs(10);

/// The PATH when the environment of a command has none.
pub const PATH_DEFAULT: &str = "/usr/local/bin:/usr/bin:/bin";

/// Every signal; each has its default disposition in a command.
const SIGNALS: std::ops::RangeInclusive<c_int> = 1..=64;

/// The kernel's `struct sigaction` (handler, flags, restorer, mask) for the default disposition. The C library's own
/// calls leave out the two signals that it keeps for itself.
const SIGACTION_DEFAULT: [u64; 4] = [0; 4];

/// A command to start.
#[derive(Debug)]
pub struct Command<'a> {
    /// Program and arguments. A program without a slash is looked up in the PATH of `env`.
    pub argv: &'a [String],
    /// The whole environment.
    pub env: &'a [(String, String)],
    /// The working directory.
    pub cwd: &'a str,
    /// Standard input, output and error.
    pub stdio: [BorrowedFd<'a>; 3],
    /// Whether standard input is a terminal that the command shall be the session leader of.
    pub terminal: bool,
    /// Open `cgroup.procs` files of the groups that the command enters.
    pub cgroups: &'a [OwnedFd],
}

/// Why a command was not started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpawnError {
    /// There is no program name.
    #[error("start a command without a program")]
    Empty,
    /// An argument, variable or directory holds a NUL.
    #[error("start a command with a NUL in its arguments, environment or directory")]
    Nul,
    /// A step failed.
    #[error("{step} `{program}`")]
    Step {
        /// What was tried.
        step: Step,
        /// The program, cut to 256 characters.
        program: String,
        /// The cause.
        source: Errno,
    },
}

impl SpawnError {
    /// The error number, as a shell or a caller would see it.
    #[must_use]
    pub fn errno(&self) -> i32 {
        match self {
            SpawnError::Empty => libc::ENOENT,
            SpawnError::Nul => libc::EINVAL,
            SpawnError::Step { source, .. } => source.raw_os_error(),
        }
    }
}

/// The steps on the way to a running command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Step {
    /// Making the pipe and the process.
    Fork = 1,
    /// Entering the control groups.
    Cgroup = 2,
    /// Becoming a session leader, with the terminal if there is one.
    Session = 3,
    /// Setting up the standard streams.
    Streams = 4,
    /// Entering the working directory.
    Directory = 5,
    /// Starting the program.
    Exec = 6,
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Step::Fork => "fork for",
            Step::Cgroup => "enter the control group of",
            Step::Session => "make a session for",
            Step::Streams => "set up the streams of",
            Step::Directory => "enter the working directory of",
            Step::Exec => "execute",
        })
    }
}

impl Command<'_> {
    /// Starts the command and waits until its program runs. Its process group has its own number.
    ///
    /// # Errors
    /// [`SpawnError`]; no process is left then.
    pub fn spawn(&self) -> Result<Pid, SpawnError> {
        let plan = Plan::new(self)?;
        let failed = |step, source| SpawnError::Step { step, program: self.argv[0].chars().take(256).collect(), source };
        let (report, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(|e| failed(Step::Fork, e))?;
        // A descriptor below 3 would be overwritten on the way; the report must not be one either.
        let high = |fd: BorrowedFd<'_>| rustix::io::fcntl_dupfd_cloexec(fd, 3).map_err(|e| failed(Step::Fork, e));
        let mut kept = Vec::new();
        let mut stdio = [0 as RawFd; 3];
        for (slot, fd) in stdio.iter_mut().zip(self.stdio) {
            *slot = fd.as_raw_fd();
            if *slot < 3 {
                let copy = high(fd)?;
                *slot = copy.as_raw_fd();
                kept.push(copy);
            }
        }
        let write = if write.as_raw_fd() < 3 { high(write.as_fd())? } else { write };
        // SAFETY: the child calls only functions that are safe after a fork (plain system calls on memory prepared
        // above) and never returns from `child`.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            child(&plan, stdio, self.terminal, self.cgroups, write.as_raw_fd());
        }
        let Some(pid) = Pid::from_raw(pid).filter(|_| pid > 0) else { return Err(failed(Step::Fork, last_errno())) };
        drop(write);
        match read_report(&report) {
            None => Ok(pid),
            Some((step, errno)) => {
                // It may be stopped rather than dead.
                let _ = kill_process(pid, Signal::KILL);
                while matches!(waitpid(Some(pid), WaitOptions::empty()), Err(Errno::INTR)) {}
                Err(failed(step, errno))
            }
        }
    }
}

/// A descriptor that becomes readable when a child of this process changes its state. The signal is blocked in the
/// calling thread, which must be the only one.
///
/// # Errors
/// What the system answered.
pub fn child_signals() -> Result<OwnedFd, Errno> {
    // SAFETY: the set is initialised by sigemptyset before it is read, and lives during the calls.
    let fd = unsafe {
        let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), libc::SIGCHLD);
        // If it came ignored, the kernel would take the exit statuses away.
        libc::signal(libc::SIGCHLD, libc::SIG_DFL);
        if libc::sigprocmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut()) != 0 {
            return Err(last_errno());
        }
        libc::signalfd(-1, set.as_ptr(), libc::SFD_NONBLOCK | libc::SFD_CLOEXEC)
    };
    if fd < 0 {
        return Err(last_errno());
    }
    // SAFETY: the descriptor was just made and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Kills every other process of the calling process's pid namespace. Only the first process of a namespace may ask.
///
/// # Errors
/// `PERM` when the caller is not the first process, `SRCH` when there is no other.
pub fn kill_all_others() -> Result<(), Errno> {
    if std::process::id() != 1 {
        return Err(Errno::PERM);
    }
    // SAFETY: kill has no memory effect.
    if unsafe { libc::kill(-1, libc::SIGKILL) } == 0 { Ok(()) } else { Err(last_errno()) }
}

fn last_errno() -> Errno {
    // SAFETY: the location is valid in every thread.
    Errno::from_raw_os_error(unsafe { *libc::__errno_location() })
}

/// Everything that the child needs, allocated before the fork.
struct Plan {
    programs: Vec<CString>,
    cwd: CString,
    argv: Vec<*const c_char>,
    envp: Vec<*const c_char>,
    // What the two lists point into.
    _held: Vec<CString>,
}

impl Plan {
    fn new(command: &Command<'_>) -> Result<Self, SpawnError> {
        let text = |s: &str| CString::new(s).map_err(|_| SpawnError::Nul);
        let program = command.argv.first().filter(|p| !p.is_empty()).ok_or(SpawnError::Empty)?;
        let programs = if program.contains('/') {
            vec![text(program)?]
        } else {
            let path = command.env.iter().find(|(k, _)| k == "PATH").map_or(PATH_DEFAULT, |(_, v)| v.as_str());
            let dirs = path.split(':').filter(|dir| dir.starts_with('/'));
            dirs.map(|dir| text(&format!("{dir}/{program}"))).collect::<Result<_, _>>()?
        };
        let mut held = Vec::with_capacity(command.argv.len() + command.env.len());
        for arg in command.argv {
            held.push(text(arg)?);
        }
        for (key, value) in command.env {
            held.push(text(&format!("{key}={value}"))?);
        }
        let pointers = |range: &[CString]| range.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect();
        let (args, vars) = held.split_at(command.argv.len());
        Ok(Self { programs, cwd: text(command.cwd)?, argv: pointers(args), envp: pointers(vars), _held: held })
    }
}

/// The child's way from the fork to the exec.
fn child(plan: &Plan, stdio: [RawFd; 3], terminal: bool, cgroups: &[OwnedFd], report: RawFd) -> ! {
    let (step, errno) = match prepare(plan, stdio, terminal, cgroups, report) {
        Ok(()) => (Step::Exec, exec(plan)),
        Err(error) => error,
    };
    let bytes = errno.to_le_bytes();
    let message = [step as u8, bytes[0], bytes[1], bytes[2], bytes[3]];
    // SAFETY: the buffer is valid for its length; _exit does not return.
    unsafe {
        libc::write(report, message.as_ptr().cast(), message.len());
        libc::_exit(127)
    }
}

fn prepare(plan: &Plan, stdio: [RawFd; 3], terminal: bool, cgroups: &[OwnedFd], report: RawFd) -> Result<(), (Step, i32)> {
    let check = |step: Step, result: c_int| {
        if result < 0 { Err((step, last_errno().raw_os_error())) } else { Ok(()) }
    };
    for cgroup in cgroups {
        // SAFETY: the buffer is valid for its length. "0" is the writer itself.
        let written = unsafe { libc::write(cgroup.as_raw_fd(), b"0".as_ptr().cast(), 1) };
        check(Step::Cgroup, if written == 1 { 0 } else { -1 })?;
    }
    // SAFETY: each call takes numbers or pointers to memory that lives until the exec.
    unsafe {
        check(Step::Session, libc::setsid())?;
        for (fd, target) in stdio.into_iter().zip(0..) {
            check(Step::Streams, libc::dup2(fd, target))?;
        }
        if terminal {
            check(Step::Session, libc::ioctl(0, libc::TIOCSCTTY, 0))?;
        }
        for signal in SIGNALS {
            // KILL and STOP refuse, which is as good.
            let none = std::ptr::null_mut::<u64>();
            libc::syscall(libc::SYS_rt_sigaction, signal, SIGACTION_DEFAULT.as_ptr(), none, 8usize);
        }
        let mut none = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut());
        libc::umask(0o022);
        check(Step::Directory, libc::chdir(plan.cwd.as_ptr()))?;
        // Everything is close-on-exec already; this holds even for a descriptor that was not.
        let report = report.unsigned_abs();
        close_range(3, report - 1);
        close_range(report + 1, u32::MAX);
    }
    Ok(())
}

fn close_range(first: u32, last: u32) {
    if first <= last {
        // SAFETY: closing descriptors has no memory effect, and nothing of this process runs on after the exec.
        unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    }
}

/// Tries each program of the plan; returns the error number that says most.
fn exec(plan: &Plan) -> i32 {
    let mut found = libc::ENOENT;
    for program in &plan.programs {
        // SAFETY: both lists end with a null pointer and point into strings that live as long as the plan.
        unsafe { libc::execve(program.as_ptr(), plan.argv.as_ptr(), plan.envp.as_ptr()) };
        match last_errno().raw_os_error() {
            libc::ENOENT | libc::ENOTDIR => {}
            libc::EACCES => found = libc::EACCES,
            other => return other,
        }
    }
    found
}

/// Waits for the end of the report pipe (the exec happened) or for the step that failed.
fn read_report(report: &OwnedFd) -> Option<(Step, Errno)> {
    let end = std::time::Instant::now() + EXEC_WAIT;
    loop {
        let left = end.saturating_duration_since(std::time::Instant::now());
        let timeout = Timespec { tv_sec: left.as_secs().try_into().unwrap_or(1), tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(report, PollFlags::IN)], Some(&timeout)) {
            Ok(0) => return Some((Step::Exec, Errno::TIMEDOUT)),
            Err(Errno::INTR) => continue,
            Ok(_) | Err(_) => {}
        }
        let mut message = [0u8; 5];
        return match rustix::io::read(report, &mut message) {
            Err(Errno::INTR) => continue,
            Ok(5) => {
                let [_, a, b, c, d] = message;
                let steps = [Step::Fork, Step::Cgroup, Step::Session, Step::Streams, Step::Directory, Step::Exec];
                let step = steps.into_iter().find(|s| *s as u8 == message[0]).unwrap_or(Step::Exec);
                Some((step, Errno::from_raw_os_error(i32::from_le_bytes([a, b, c, d]))))
            }
            _ => None,
        };
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn run(argv: &[&str], env: &[(&str, &str)], cwd: &str) -> Result<(String, Option<i32>), SpawnError> {
        let argv: Vec<String> = argv.iter().map(ToString::to_string).collect();
        let env: Vec<(String, String)> = env.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        let null = std::fs::File::open("/dev/null").expect("exists");
        let (mut read, write) = std::io::pipe().expect("pipe");
        let stdio = [null.as_fd(), write.as_fd(), write.as_fd()];
        let pid = Command { argv: &argv, env: &env, cwd, stdio, terminal: false, cgroups: &[] }.spawn()?;
        drop(write);
        let mut text = String::new();
        read.read_to_string(&mut text).expect("text");
        let (_, status) = waitpid(Some(pid), WaitOptions::empty()).expect("ours").expect("ended");
        Ok((text, status.exit_status()))
    }

    #[test]
    fn a_command_starts_clean() {
        let script = "echo $$ $A; pwd; ls /proc/self/fd | wc -l; grep -E 'SigIgn|SigBlk' /proc/self/status; ps -o sid= -p $$; exit 7";
        let (text, status) =
            run(&["sh", "-c", script], &[("A", "b c"), ("PATH", "/nowhere:relative:/usr/bin:/bin")], "/usr").expect("starts");
        let lines: Vec<&str> = text.lines().collect();
        let pid = lines[0].split(' ').next().expect("pid");
        assert_eq!(&lines[0][pid.len()..], " b c");
        assert_eq!(lines[1], "/usr");
        assert_eq!(lines[2], "4", "three streams and the directory that ls reads: {text}");
        assert_eq!(lines[3], "SigBlk:\t0000000000000000");
        assert_eq!(lines[4], "SigIgn:\t0000000000000000");
        assert_eq!(lines[5].trim(), pid, "it leads its session");
        assert_eq!(status, Some(7));
    }

    #[test]
    fn failures_name_the_step_and_leave_no_process() {
        let step = |argv: &[&str], cwd| match run(argv, &[], cwd) {
            Err(SpawnError::Step { step, source, .. }) => (step, source),
            other => panic!("{other:?}"),
        };
        assert_eq!(step(&["no-such-program"], "/"), (Step::Exec, Errno::NOENT));
        assert_eq!(step(&["/etc/passwd"], "/"), (Step::Exec, Errno::ACCESS));
        assert_eq!(step(&["true"], "/nowhere"), (Step::Directory, Errno::NOENT));
        assert_eq!(run(&["a\0b"], &[], "/"), Err(SpawnError::Nul));
        assert_eq!(run(&[], &[], "/"), Err(SpawnError::Empty));
        assert_eq!(run(&[""], &[], "/"), Err(SpawnError::Empty));
    }

    #[test]
    fn only_a_first_process_may_kill_all_others() {
        assert_eq!(kill_all_others(), Err(Errno::PERM));
    }
}
