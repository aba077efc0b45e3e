//! The smallest guest: builds the sandbox of a specification, runs one command in it and ends with its status.
//!
//! `jail-probe SPEC.json COMMAND...`, with a socket as standard input over which the first process is reported. A
//! launch that fails ends with status 125 and the error as JSON on standard error.

use lazaret_jail as jail;
use std::io::Write as _;
use std::os::fd::{AsFd, OwnedFd};

/// The status when the sandbox could not be built.
const FAILED: i32 = 125;

fn main() {
    let mut args = std::env::args().skip(1);
    let spec = args.next().expect("a specification");
    let spec: jail::Spec = serde_json::from_slice(&std::fs::read(spec).expect("readable")).expect("well formed");
    let argv: Vec<String> = args.collect();
    let control = std::io::stdin();
    let mut fds: Vec<OwnedFd> = Vec::new();
    jail::scm::receive(control.as_fd(), &mut [0; 1], &mut fds).expect("descriptors");
    let null = OwnedFd::from(std::fs::File::open("/dev/null").expect("/dev/null"));
    fds.push(null);
    let tell = |error: &jail::LaunchError| {
        let _ = std::io::stderr().write_all(serde_json::to_string(error).unwrap_or_default().as_bytes());
        FAILED
    };
    let report = |pid: i32, pidfd: std::os::fd::BorrowedFd<'_>| jail::scm::send(control.as_fd(), &pid.to_le_bytes(), &[pidfd]).map(drop);
    let launched = jail::launch(control.as_fd(), &spec, fds, report, |stand| match stand {
        Ok(stand) => run(&stand, &argv),
        Err(error) => tell(&error),
    });
    if let Err(error) = launched {
        tell(&error);
        let _ = jail::scm::send(control.as_fd(), &0i32.to_le_bytes(), &[]);
    }
}

fn run(stand: &jail::Stand, argv: &[String]) -> i32 {
    if argv.first().is_some_and(|first| first == "--fds") {
        return list_descriptors();
    }
    let null = stand.fds.last().and_then(Option::as_ref).expect("/dev/null");
    let env = [("PATH", "/usr/local/bin:/usr/bin:/bin"), ("HOME", "/home/sandbox"), ("LC_ALL", "C")];
    let env: Vec<(String, String)> = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let (out, err) = (std::io::stdout(), std::io::stderr());
    let command = jail::spawn::Command {
        argv,
        env: &env,
        cwd: "/workspace",
        stdio: [null.as_fd(), out.as_fd(), err.as_fd()],
        terminal: false,
        cgroups: &stand.command_cgroups,
    };
    let pid = match command.spawn() {
        Ok(pid) => pid,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error}: {}", std::io::Error::from_raw_os_error(error.errno()));
            return 127;
        }
    };
    while let Ok(Some((ended, status))) = rustix::process::wait(rustix::process::WaitOptions::empty()) {
        if ended == pid {
            return status.exit_status().unwrap_or_else(|| 128 + status.terminating_signal().unwrap_or(0));
        }
    }
    126
}

/// Prints what the first process itself has open.
fn list_descriptors() -> i32 {
    let mut open: Vec<String> = std::fs::read_dir("/proc/self/fd")
        .expect("own descriptors")
        .flatten()
        .filter_map(|entry| std::fs::read_link(entry.path()).ok())
        .map(|to| to.to_string_lossy().split(':').next().unwrap_or_default().to_owned())
        .collect();
    open.sort();
    let _ = writeln!(std::io::stdout(), "{}", open.join(" "));
    0
}
