//! No other process, and no more of them than allowed.

use std::sync::mpsc;

use rustix::io::Errno;

use super::{Facts, Found, Probe, denied_io, none};

pub(super) const ALL: &[Probe] = &[
    Probe { name: "see processes of others", run: others },
    Probe { name: "look into the sandbox's first process", run: first_process },
    Probe { name: "start processes without end", run: flood },
];

/// The most processes that a fresh sandbox with one command has.
const OWN_MAX: usize = 4;

fn others(_: &Facts) -> Found {
    let entries = std::fs::read_dir("/proc").map_err(|e| format!("/proc: {e}"))?;
    let pids: Vec<u32> = entries.flatten().filter_map(|e| e.file_name().to_string_lossy().parse().ok()).collect();
    let first = std::fs::read_to_string("/proc/1/comm").unwrap_or_default();
    if pids.len() <= OWN_MAX && pids.contains(&std::process::id()) && !first.contains("systemd") {
        Ok(format!("only its own {}", pids.len()))
    } else {
        Err(format!("{} are seen", pids.len()))
    }
}

fn first_process(_: &Facts) -> Found {
    let open = |path| {
        (
            path,
            denied_io(std::fs::File::open(path).and_then(|mut f| std::io::Read::read(&mut f, &mut [0; 16])), &[Errno::ACCESS, Errno::PERM]),
        )
    };
    none(["/proc/1/environ", "/proc/1/mem", "/proc/1/maps"].map(open))
}

/// Starts threads, which count as processes do, until no more can be had.
fn flood(facts: &Facts) -> Found {
    let (mut waiting, mut ends) = (Vec::new(), Vec::new());
    let found = loop {
        if waiting.len() >= facts.pids {
            break Err(format!("{} were started", waiting.len()));
        }
        let (end, ended) = mpsc::sync_channel::<()>(0);
        let started = std::thread::Builder::new().stack_size(16 << 10).spawn(move || ended.recv().is_err());
        match started {
            Ok(thread) => {
                waiting.push(thread);
                ends.push(end);
            }
            Err(error) => break denied_io::<()>(Err(error), &[Errno::AGAIN]).map(|how| format!("{how} after {}", waiting.len())),
        }
    };
    drop(ends);
    for thread in waiting {
        // It only waited.
        drop(thread.join());
    }
    found
}
