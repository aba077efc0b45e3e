//! Using up what the host has.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::sys::{Errno, address, call, exit_now, fork, text};
use crate::{Attack, Outcome};

pub(crate) const ATTACKS: &[(&str, Attack)] = &[
    ("fork-bomb", fork_bomb),
    ("memory", memory),
    ("open-files", open_files),
    ("inotify", inotify),
    ("fill", fill),
    ("inodes", inodes),
    ("spin", spin),
    ("message-queues", message_queues),
];

/// No attack of this kind goes on longer than this, whatever the limits are.
const ENOUGH: Duration = Duration::from_millis(700);

/// Answers what stopped a loop, and how far it came.
fn stopped_at(count: u64, errno: Option<Errno>) -> Outcome {
    Ok(json!({ "count": count, "errno": errno.map(|e| e.to_string()) }))
}

/// Starts processes that stay until no more can be started, at most this many; then ends them.
fn fork_bomb(most: &str) -> Outcome {
    let most: usize = most.parse().map_err(|_| Errno(libc::EINVAL))?;
    let mut started = Vec::new();
    let mut error = None;
    while started.len() < most {
        match fork() {
            0 => loop {
                sleep(Duration::from_secs(60));
            },
            pid if pid > 0 => started.push(pid),
            _ => {
                error = Some(Errno::last());
                break;
            }
        }
    }
    for pid in &started {
        let _ = call(libc::SYS_kill, &[i64::from(*pid), libc::SIGKILL.into()]);
    }
    stopped_at(started.len() as u64, error)
}

/// Touches this many mebibytes.
fn memory(mebibytes: &str) -> Outcome {
    let mebibytes: usize = mebibytes.parse().map_err(|_| Errno(libc::EINVAL))?;
    let mut held: Vec<Vec<u8>> = Vec::new();
    for _ in 0..mebibytes {
        held.push(vec![1; 1 << 20]);
    }
    Ok(json!(held.iter().map(|piece| piece.iter().filter(|b| **b == 1).count() >> 20).sum::<usize>()))
}

fn open_files(_: &str) -> Outcome {
    let mut held = Vec::new();
    loop {
        match File::open("/dev/null") {
            Ok(file) if held.len() < 2_000_000 => held.push(file),
            Ok(_) => return stopped_at(held.len() as u64, None),
            Err(error) => return stopped_at(held.len() as u64, Some(error.into())),
        }
    }
}

/// Instances, each with a watch.
fn inotify(_: &str) -> Outcome {
    let place = text("/tmp");
    let mut count = 0;
    while count < 100_000 {
        let watched = call(libc::SYS_inotify_init1, &[0])
            .and_then(|fd| call(libc::SYS_inotify_add_watch, &[fd, address(&place), libc::IN_CREATE.into()]));
        match watched {
            Ok(_) => count += 1,
            Err(errno) => return stopped_at(count, Some(errno)),
        }
    }
    stopped_at(count, None)
}

/// The size of one file of [`fill`], below any limit on single files.
const FILE_MEBIBYTES: u64 = 16;

/// `DIR:MEBIBYTES`: writes files until it is refused, then removes them.
fn fill(argument: &str) -> Outcome {
    let (dir, most) = argument.rsplit_once(':').ok_or(Errno(libc::EINVAL))?;
    let most: u64 = most.parse().map_err(|_| Errno(libc::EINVAL))?;
    // SAFETY: asks the kernel to answer EFBIG instead of ending this process.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    let piece = vec![7_u8; 1 << 20];
    let mut count = 0;
    let mut paths = Vec::new();
    let result = loop {
        if count == most {
            break None;
        }
        let path = format!("{dir}/probe-fill-{}", count / FILE_MEBIBYTES);
        let wrote = OpenOptions::new().append(true).create(true).open(&path).and_then(|mut file| file.write_all(&piece));
        if count % FILE_MEBIBYTES == 0 {
            paths.push(path);
        }
        match wrote {
            Ok(()) => count += 1,
            Err(error) => break Some(Errno::from(error)),
        }
    };
    for path in paths {
        let _ = fs::remove_file(path);
    }
    stopped_at(count, result)
}

/// `DIR:COUNT`: empty files until it is refused.
fn inodes(argument: &str) -> Outcome {
    let (dir, most) = argument.rsplit_once(':').unwrap_or((argument, "1000000"));
    let most: u64 = most.parse().map_err(|_| Errno(libc::EINVAL))?;
    let began = Instant::now();
    for count in 0..most {
        if let Err(error) = File::create(format!("{dir}/n{count}")) {
            return stopped_at(count, Some(error.into()));
        }
        if began.elapsed() > ENOUGH {
            return stopped_at(count, None);
        }
    }
    stopped_at(most, None)
}

/// `PROCESSES:MILLISECONDS` of processor time wanted; tells how much this one got.
fn spin(argument: &str) -> Outcome {
    let (processes, length) = argument.split_once(':').unwrap_or((argument, "500"));
    let processes: u32 = processes.parse().map_err(|_| Errno(libc::EINVAL))?;
    let length = Duration::from_millis(length.parse().map_err(|_| Errno(libc::EINVAL))?);
    let began = Instant::now();
    let mut is_parent = true;
    for _ in 1..processes {
        if fork() == 0 {
            is_parent = false;
            break;
        }
    }
    while began.elapsed() < length {
        std::hint::spin_loop();
    }
    if !is_parent {
        exit_now(0);
    }
    Ok(json!("done"))
}

fn message_queues(_: &str) -> Outcome {
    for count in 0..100_000 {
        if let Err(errno) = call(libc::SYS_msgget, &[libc::IPC_PRIVATE.into(), 0o600]) {
            return stopped_at(count, Some(errno));
        }
    }
    stopped_at(100_000, None)
}
