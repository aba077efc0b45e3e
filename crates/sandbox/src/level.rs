//! What holds in a sandbox, said line by line.

use std::time::Duration;

use jail::Walls;
use model::{Level, LevelLine, Limits, Want};

use crate::host::Host;
use crate::{SandboxError, Wants};

/// One line of a level.
pub(crate) fn line(name: &str, holds: bool, how: impl Into<String>) -> LevelLine {
    LevelLine { name: name.to_owned(), holds, how: how.into() }
}

fn time_line(time: Duration) -> LevelLine {
    line("time", true, format!("{} s, by the host's clock", time.as_secs()))
}

/// Says another time, where time is limited at all.
pub(crate) fn set_time(level: &mut Level, time: Duration) {
    if let Some(old) = level.lines.iter_mut().find(|line| line.name == "time" && line.holds) {
        *old = time_line(time);
    }
}

/// A limit of the host's control groups, or why there is none.
fn group_line(host: &Host, name: &'static str, want: Want, how: String) -> Result<LevelLine, SandboxError> {
    let (why, remedy) = match name {
        "cpu" => ("no cpu controller can be used", "run as root, or delegate the cpu controller to this user"),
        _ => ("no memory controller can be used", "run as root, or delegate the memory controller to this user"),
    };
    match want {
        Want::Off => Ok(line(name, false, "not asked for")),
        _ if host.groups.has(name) => Ok(line(name, true, how)),
        Want::Prefer => Ok(line(name, false, format!("{why}; {remedy}"))),
        Want::Require => {
            Err(SandboxError::Layer { layer: name.into(), why: why.into(), remedy: format!("{remedy}; or set the limit to prefer") })
        }
    }
}

/// The level of a sandbox, always in the same order. The guest refuses to start when one of the walls cannot be had, so
/// for a sandbox that stands each of them holds unless it was taken away.
pub(crate) fn level(
    host: &Host,
    walls: &Walls,
    limits: &Limits,
    wants: &Wants,
    disk: LevelLine,
    uid: Option<u32>,
) -> Result<Level, SandboxError> {
    let wall = |name: &str, stands: bool, how: &str| line(name, stands, if stands { how } else { "taken away for a test" });
    let mut lines = vec![
        wall("user", walls.privileges, "a user namespace with one user, no further ones inside"),
        wall("pid", walls.pids, "a process namespace of its own"),
        line("mount", true, "a mount namespace of its own, the host's root detached"),
        wall("network", walls.network, "a network namespace with loopback alone"),
        line("ipc", true, "an ipc namespace of its own"),
        line("uts", true, "a host name of its own"),
        line("cgroup", true, "a cgroup namespace of its own"),
        wall("read-only root", walls.read_only, "writable are /workspace, /home and /tmp"),
        wall("capabilities", walls.privileges, "all sets empty and locked"),
        wall("no_new_privs", walls.privileges, "set"),
        wall("seccomp", walls.seccomp, "list of allowed system calls"),
        wall("landlock", walls.landlock, "list of allowed places"),
    ];
    lines.push(group_line(host, "memory", wants.memory, format!("{} MiB, by control group", limits.memory_bytes >> 20))?);
    lines.push(group_line(host, "cpu", wants.cpu, format!("{} thousandths of a processor, by control group", limits.cpu_millis))?);
    lines.push(match wants.pids {
        Want::Off => line("pids", false, "not asked for"),
        _ if host.groups.has("pids") => line("pids", true, format!("{}, by control group", limits.pids)),
        _ => line("pids", true, format!("{}, by RLIMIT_NPROC in the user namespace", limits.pids)),
    });
    lines.push(if wants.disk == Want::Off { line("disk", false, "not asked for") } else { disk });
    lines.push(match wants.time {
        Want::Off => line("time", false, "not asked for"),
        _ => time_line(limits.time),
    });
    lines.push(match uid {
        Some(uid) => line("uid", true, format!("host user {uid}, of no other sandbox")),
        None => line("uid", true, "the caller's own user; another only as root"),
    });
    Ok(Level { mode: host.mode().to_owned(), lines })
}
