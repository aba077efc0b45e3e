//! No right over the kernel.

use std::fs::OpenOptions;

use rustix::fs::{Gid, Uid};
use rustix::io::Errno;
use rustix::mount::MountFlags;

use super::{Facts, Found, Probe, denied, denied_io, none};

pub(super) const ALL: &[Probe] = &[
    Probe { name: "hold a capability", run: capabilities },
    Probe { name: "gain rights by starting a program", run: no_new_privileges },
    Probe { name: "make system calls without a filter", run: filter },
    Probe { name: "give a file to root", run: give_away },
    Probe { name: "mount a file system", run: mount },
    Probe { name: "make a user namespace", run: user_namespace },
    Probe { name: "change the kernel's settings", run: settings },
    Probe { name: "read what the kernel tells of the machine", run: masked },
    Probe { name: "find /sys", run: sysfs },
];

fn status(field: &str) -> Result<String, String> {
    let text = std::fs::read_to_string("/proc/self/status").map_err(|e| format!("/proc/self/status: {e}"))?;
    let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    value.map(|value| value.trim().to_owned()).ok_or_else(|| format!("/proc/self/status has no {field}"))
}

fn capabilities(_: &Facts) -> Found {
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        let value = status(set)?;
        if u64::from_str_radix(&value, 16) != Ok(0) {
            return Err(format!("{set} is {value}"));
        }
    }
    Ok("all five sets are empty".to_owned())
}

fn is(field: &str, expected: &str, how: &str) -> Found {
    let value = status(field)?;
    if value == expected { Ok(how.to_owned()) } else { Err(format!("{field} is {value}")) }
}

fn no_new_privileges(_: &Facts) -> Found {
    is("NoNewPrivs", "1", "no_new_privs")
}

fn filter(_: &Facts) -> Found {
    is("Seccomp", "2", "seccomp filter")
}

fn give_away(_: &Facts) -> Found {
    let path = "/tmp/lazaret-probe-owner";
    std::fs::write(path, "").map_err(|e| format!("{path}: {e}"))?;
    let tried = rustix::fs::chown(path, Some(Uid::ROOT), Some(Gid::ROOT));
    drop(std::fs::remove_file(path));
    denied(tried, &[Errno::PERM, Errno::INVAL])
}

fn mount(_: &Facts) -> Found {
    let refused = [Errno::PERM, Errno::ACCESS];
    none([
        ("tmpfs", denied(rustix::mount::mount(c"none", c"/tmp", c"tmpfs", MountFlags::empty(), None), &refused)),
        ("proc", denied(rustix::mount::mount(c"none", c"/tmp", c"proc", MountFlags::empty(), None), &refused)),
        ("unmount", denied(rustix::mount::unmount(c"/proc", rustix::mount::UnmountFlags::DETACH), &refused)),
    ])
}

fn user_namespace(_: &Facts) -> Found {
    let most = std::fs::read_to_string("/proc/sys/user/max_user_namespaces").map_err(|e| format!("the limit cannot be read: {e}"))?;
    if most.trim() == "0" { Ok("at most 0".to_owned()) } else { Err(format!("at most {}", most.trim())) }
}

fn settings(_: &Facts) -> Found {
    let refused = [Errno::ROFS, Errno::ACCESS, Errno::PERM, Errno::NOENT, Errno::IO];
    let open = |path| (path, denied_io(OpenOptions::new().write(true).open(path), &refused));
    none(["/proc/sys/kernel/core_pattern", "/proc/sys/vm/drop_caches", "/proc/sysrq-trigger"].map(open))
}

fn masked(_: &Facts) -> Found {
    for name in ["kallsyms", "kcore", "keys", "kmsg", "modules", "interrupts"] {
        let path = format!("/proc/{name}");
        let mut first = [0u8; 32];
        let read = std::fs::File::open(&path).and_then(|mut file| std::io::Read::read(&mut file, &mut first));
        // An empty file or none at all.
        if read.is_ok_and(|n| n > 0) {
            return Err(path);
        }
    }
    Ok("empty or not there".to_owned())
}

fn sysfs(_: &Facts) -> Found {
    let has_entries = std::fs::read_dir("/sys").is_ok_and(|mut entries| entries.next().is_some());
    if has_entries { Err("it has entries".to_owned()) } else { Ok("empty or not there".to_owned()) }
}
