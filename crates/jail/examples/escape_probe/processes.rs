//! Seeing, stopping and outliving processes.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use serde_json::{Value, json};

use crate::sys::{Errno, call, exit_now, fork, wait};
use crate::{Attack, Outcome};

pub(crate) const ATTACKS: &[(&str, Attack)] = &[
    ("status", status),
    ("status-after-exec", status_after_exec),
    ("processes", processes),
    ("signal-init", signal_init),
    ("signal", signal),
    ("hold-on", hold_on),
    ("descriptors", descriptors),
];

/// The lines of /proc/self/status that tell what holds.
fn status(_: &str) -> Outcome {
    let text = fs::read_to_string("/proc/self/status")?;
    let wanted = ["NoNewPrivs", "Seccomp", "Seccomp_filters", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "Uid", "Gid", "Groups"];
    let fields: BTreeMap<&str, &str> =
        text.lines().filter_map(|line| line.split_once(':')).map(|(k, v)| (k, v.trim())).filter(|(k, _)| wanted.contains(k)).collect();
    Ok(json!(fields))
}

/// The same of a grandchild in a session of its own that started another program.
fn status_after_exec(_: &str) -> Outcome {
    let output = Command::new("/usr/bin/setsid").args(["--fork", "--wait"]).arg(std::env::current_exe()?).arg("status").output()?;
    let line: Value = serde_json::from_slice(&output.stdout).map_err(|_| Errno(libc::EIO))?;
    Ok(line["how"].clone())
}

/// Every process that can be seen, with its command.
fn processes(_: &str) -> Outcome {
    let mut seen = BTreeMap::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.bytes().all(|b| b.is_ascii_digit()) {
            let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            seen.insert(name, String::from_utf8_lossy(&command).replace('\0', " "));
        }
    }
    Ok(json!(seen))
}

/// Kills the sandbox's first process, then looks whether it is still there.
fn signal_init(_: &str) -> Outcome {
    for signal in [libc::SIGKILL, libc::SIGSTOP, libc::SIGTERM, libc::SIGSEGV] {
        call(libc::SYS_kill, &[1, signal.into()])?;
    }
    sleep(Duration::from_millis(20));
    // It is our ancestor: when it is gone, so is the whole namespace, and nobody reads this.
    let state = fs::read_to_string("/proc/1/stat")?;
    let state = state.rsplit_once(") ").map_or("?", |(_, rest)| &rest[..1]).to_owned();
    if ["S", "R", "D", "I"].contains(&state.as_str()) { Err(Errno(libc::EPERM)) } else { Ok(json!(state)) }
}

/// Asks whether a process may be signalled.
fn signal(pid: &str) -> Outcome {
    let pid: i64 = pid.parse().map_err(|_| Errno(libc::EINVAL))?;
    call(libc::SYS_kill, &[pid, 0]).map(Value::from)
}

/// Leaves behind a daemon that ignores every signal and, in other processes, stops, spins and waits in all the ways that
/// make a process hard to end. Their argument names them for whoever looks.
fn hold_on(mark: &str) -> Outcome {
    let manners = ["sleep", "stop", "spin", "fork"];
    if let Some((manner, _)) = mark.split_once(':') {
        behave(manner);
    }
    for manner in manners {
        let pid = fork();
        if pid == 0 {
            // The second fork gives it to the first process of the namespace.
            if fork() != 0 {
                exit_now(0);
            }
            let _ = call(libc::SYS_setsid, &[]);
            let program = std::env::current_exe().unwrap_or_default();
            let _ = Command::new(program)
                .arg(format!("hold-on={manner}:{mark}"))
                .stdin(std::process::Stdio::null())
                .stdout(std::process::Stdio::null())
                .stderr(std::process::Stdio::null())
                .exec();
            exit_now(1);
        }
        wait(pid);
    }
    Ok(json!(manners.len()))
}

fn behave(manner: &str) -> ! {
    for signal in 1..64 {
        // SAFETY: asks the kernel to ignore a signal; it refuses for the two that cannot be.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    loop {
        match manner {
            "stop" => {
                let _ = call(libc::SYS_kill, &[std::process::id().into(), libc::SIGSTOP.into()]);
            }
            "spin" => std::hint::spin_loop(),
            "fork" => {
                let pid = fork();
                if pid > 0 {
                    exit_now(0);
                }
                sleep(Duration::from_millis(5));
            }
            _ => sleep(Duration::from_secs(3600)),
        }
    }
}

/// What the probe's open descriptors are, without the one that reads the list and its own pipe.
fn descriptors(_: &str) -> Outcome {
    let mut open = BTreeMap::new();
    for entry in fs::read_dir("/proc/self/fd")?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Ok(target) = fs::read_link(entry.path()) {
            let target = target.to_string_lossy().into_owned();
            if !target.ends_with("/fd") {
                open.insert(name, target);
            }
        }
    }
    Ok(json!(open))
}
