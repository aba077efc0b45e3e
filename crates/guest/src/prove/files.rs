//! No file of the host, and nothing written where it would last.

use std::fs::OpenOptions;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::io::Errno;

use super::{Facts, Found, Probe, denied, denied_io, none};

pub(super) const ALL: &[Probe] = &[
    Probe { name: "read a file of the host's user", run: host_file },
    Probe { name: "write to the system's directories", run: system_directories },
    Probe { name: "change the guest program or the door", run: own_program },
    Probe { name: "make a device", run: device },
    Probe { name: "open a disk or the kernel's memory", run: raw_memory },
    Probe { name: "use set-id programs or devices of a mount", run: mount_flags },
    Probe { name: "find a credential in the environment", run: environment },
    Probe { name: "find a descriptor that was left open", run: descriptors },
];

const NO_WRITE: &[Errno] = &[Errno::ROFS, Errno::ACCESS, Errno::PERM];

fn write(path: &str) -> Found {
    let tried = OpenOptions::new().write(true).create_new(true).open(path);
    if tried.is_ok() {
        // A probe leaves nothing behind; whether that works changes nothing.
        drop(std::fs::remove_file(path));
    }
    denied_io(tried, NO_WRITE)
}

fn host_file(facts: &Facts) -> Found {
    denied_io(std::fs::read(&facts.file), &[Errno::NOENT, Errno::ACCESS])
}

fn system_directories(_: &Facts) -> Found {
    none(["/usr/lazaret-probe", "/etc/lazaret-probe", "/lazaret-probe", "/usr/bin/lazaret-probe"].map(|path| (path, write(path))))
}

fn own_program(_: &Facts) -> Found {
    let program = OpenOptions::new().append(true).open(jail::GUEST_PATH);
    none([
        ("the guest program", denied_io(program, &[Errno::ROFS, Errno::ACCESS, Errno::PERM, Errno::TXTBSY])),
        ("beside it", write("/opt/lazaret/bin/lazaret-probe")),
        ("the door", write("/run/lazaret/lazaret-probe")),
    ])
}

fn device(_: &Facts) -> Found {
    let made = mknodat(CWD, "/tmp/lazaret-probe", FileType::BlockDevice, Mode::RUSR, rustix::fs::makedev(8, 0));
    if made.is_ok() {
        drop(std::fs::remove_file("/tmp/lazaret-probe"));
    }
    denied(made, &[Errno::PERM])
}

fn raw_memory(_: &Facts) -> Found {
    let gone = [Errno::NOENT, Errno::ACCESS, Errno::PERM, Errno::NXIO];
    let open = |path| (path, denied_io(std::fs::File::open(path), &gone));
    none(["/dev/sda", "/dev/vda", "/dev/nvme0n1", "/dev/mem", "/dev/kmsg", "/dev/kvm", "/dev/fuse", "/dev/loop-control"].map(open))
}

fn mount_flags(_: &Facts) -> Found {
    let text = std::fs::read_to_string("/proc/self/mountinfo").map_err(|e| format!("/proc/self/mountinfo: {e}"))?;
    for line in text.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let (Some(at), Some(flags)) = (fields.get(4), fields.get(5)) else { continue };
        let has = |flag: &str| flags.split(',').any(|f| f == flag);
        if !has("nosuid") {
            return Err(format!("{at} honours set-id programs"));
        }
        // The few devices of /dev are what it is for, and an empty one masks files of /proc.
        if !has("nodev") && !["/dev", "/proc"].iter().any(|dir| Path::new(at).starts_with(dir)) {
            return Err(format!("{at} honours devices"));
        }
    }
    Ok(format!("{} mounts, all nosuid", text.lines().count()))
}

fn environment(_: &Facts) -> Found {
    let bytes = std::fs::read("/proc/self/environ").map_err(|e| format!("/proc/self/environ: {e}"))?;
    for entry in bytes.split(|b| *b == 0) {
        let name = String::from_utf8_lossy(entry.split(|b| *b == b'=').next().unwrap_or_default()).to_uppercase();
        if ["KEY", "TOKEN", "SECRET", "PASSWORD", "CREDENTIAL"].iter().any(|word| name.contains(word)) {
            return Err(name);
        }
    }
    Ok("no such name".to_owned())
}

fn descriptors(_: &Facts) -> Found {
    let entries = std::fs::read_dir("/proc/self/fd").map_err(|e| format!("/proc/self/fd: {e}"))?;
    let numbers: Vec<i32> = entries.flatten().filter_map(|e| e.file_name().to_string_lossy().parse().ok()).collect();
    // The three standard ones, and that of the list itself.
    let others = numbers.iter().filter(|number| **number > 2).count();
    if others <= 1 { Ok("only the standard three".to_owned()) } else { Err(format!("{numbers:?}")) }
}
