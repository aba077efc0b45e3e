//! Prints what the filter costs on this machine: installing it, and on calls that it allows.

use std::io::Write as _;
use std::time::Instant;

use lazaret_jail::seccomp::{Profile, install, program};

const INSTALLS: usize = 300;
const CALLS: u32 = 200_000;

fn main() -> std::io::Result<()> {
    let mut installs: Vec<u64> = (0..INSTALLS).map(|_| in_child(|| nanoseconds(|| assert!(install(Profile::Enforce).is_ok())))).collect();
    installs.sort_unstable();
    let mut out = std::io::stdout();
    writeln!(out, "{} instructions", program(Profile::Enforce).instructions().len())?;
    writeln!(out, "install: min {} ns, median {} ns, p99 {} ns", installs[0], installs[INSTALLS / 2], installs[INSTALLS * 99 / 100])?;
    for (name, number, arguments) in [
        ("getppid (always allowed)", libc::SYS_getppid, [0_i64; 4]),
        ("ioctl on no descriptor (tested)", libc::SYS_ioctl, [-1, 0x5401, 0, 0]),
        ("openat of nothing (tested)", libc::SYS_openat, [-1, 0, 0, 0]),
        ("socket, refused", libc::SYS_socket, [-1, 0, 0, 0]),
    ] {
        let run = move |filter: bool| {
            let one = || {
                in_child(move || {
                    if filter {
                        assert!(install(Profile::Enforce).is_ok());
                    }
                    nanoseconds(|| {
                        for _ in 0..CALLS {
                            // SAFETY: none of these calls reads or writes memory of this process.
                            unsafe { libc::syscall(number, arguments[0], arguments[1], arguments[2], arguments[3]) };
                        }
                    })
                })
            };
            (0..7).map(|_| one()).min().unwrap_or(0) / u64::from(CALLS)
        };
        writeln!(out, "{name}: {} ns without, {} ns with", run(false), run(true))?;
    }
    Ok(())
}

fn nanoseconds(work: impl FnOnce()) -> u64 {
    let start = Instant::now();
    work();
    u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// Runs `work` in a child and gives its number back.
fn in_child(work: impl FnOnce() -> u64) -> u64 {
    let mut ends = [0; 2];
    let mut answer = 0_u64;
    // SAFETY: this program has one thread, so the child may do anything; every pointer is to a local of the right size.
    unsafe {
        assert_eq!(libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC), 0);
        let pid = libc::fork();
        assert!(pid >= 0);
        if pid == 0 {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
            let answer = work();
            libc::write(ends[1], (&raw const answer).cast(), 8);
            libc::_exit(0);
        }
        assert_eq!(libc::read(ends[0], (&raw mut answer).cast(), 8), 8);
        libc::waitpid(pid, std::ptr::null_mut(), 0);
        libc::close(ends[0]);
        libc::close(ends[1]);
    }
    answer
}
