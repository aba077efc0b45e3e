//! Files that a sandbox must not reach, change or make.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::sys::{Errno, address, call, pointer, text};
use crate::{Attack, Outcome};

/// A walk ends after this many entries.
const ENTRIES_MAX: usize = 60_000;
/// A file is searched this far.
const SEARCHED_BYTES_MAX: u64 = 4 << 20;

pub(crate) const ATTACKS: &[(&str, Attack)] = &[
    ("write", |path| OpenOptions::new().write(true).open(path).map(|_| json!("opened")).map_err(Errno::from)),
    ("create", |path| File::create_new(path).map(|_| json!("made")).map_err(Errno::from)),
    ("read", read),
    ("list", list),
    ("link-of", |path| Ok(json!(fs::read_link(path)?.to_string_lossy()))),
    ("symlink", |names| two(names, |from, to| std::os::unix::fs::symlink(from, to))),
    ("hardlink", |names| two(names, |from, to| fs::hard_link(from, to))),
    ("fifo", |path| node(path, libc::S_IFIFO | 0o644, 0)),
    ("device", |path| node(path, libc::S_IFCHR | 0o666, 0x103)),
    ("block-device", |path| node(path, libc::S_IFBLK | 0o666, 0x700)),
    ("whiteout", |path| node(path, libc::S_IFCHR, 0)),
    ("chmod-setuid", chmod_setuid),
    ("chmod-setgid", chmod_setgid),
    ("open-setuid", open_setuid),
    ("openat2-setuid", openat2_setuid),
    ("xattr", xattr),
    ("writable-under", writable_under),
    ("device-nodes", device_nodes),
    ("mounts", |_| Ok(json!(fs::read_to_string("/proc/self/mountinfo")?))),
    ("canary", canary),
];

fn read(path: &str) -> Outcome {
    let mut bytes = Vec::new();
    let len = File::open(path)?.take(4096).read_to_end(&mut bytes)?;
    // Masked files are empty: that is no find.
    if len == 0 { Err(Errno(libc::ENODATA)) } else { Ok(json!(String::from_utf8_lossy(&bytes))) }
}

fn list(path: &str) -> Outcome {
    let mut names: Vec<String> = fs::read_dir(path)?.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    Ok(json!(names))
}

/// `FROM,TO`.
fn two(names: &str, act: impl Fn(&str, &str) -> std::io::Result<()>) -> Outcome {
    let (from, to) = names.split_once(',').ok_or(Errno(libc::EINVAL))?;
    act(from, to)?;
    Ok(json!(to))
}

fn node(path: &str, mode: u32, device: i64) -> Outcome {
    call(libc::SYS_mknodat, &[libc::AT_FDCWD.into(), address(&text(path)), mode.into(), device]).map(Value::from)
}

fn chmod_setuid(path: &str) -> Outcome {
    File::create(path)?;
    call(libc::SYS_fchmodat, &[libc::AT_FDCWD.into(), address(&text(path)), 0o4755]).map(Value::from)
}

fn chmod_setgid(path: &str) -> Outcome {
    let file = File::create(path)?;
    call(libc::SYS_fchmod, &[std::os::fd::AsRawFd::as_raw_fd(&file).into(), 0o2755]).map(Value::from)
}

fn open_setuid(path: &str) -> Outcome {
    let flags = libc::O_CREAT | libc::O_WRONLY;
    call(libc::SYS_openat, &[libc::AT_FDCWD.into(), address(&text(path)), flags.into(), 0o4755]).map(Value::from)
}

/// struct open_how: flags, mode, resolve. The mode lies where no filter sees it.
fn openat2_setuid(path: &str) -> Outcome {
    let how: [u64; 3] = [u64::from((libc::O_CREAT | libc::O_WRONLY).cast_unsigned()), 0o4755, 0];
    call(libc::SYS_openat2, &[libc::AT_FDCWD.into(), address(&text(path)), pointer(&how), 24]).map(Value::from)
}

/// `PATH,NAME`: sets an extended attribute. That of file capabilities gets a well-formed value.
fn xattr(argument: &str) -> Outcome {
    let (path, name) = argument.split_once(',').ok_or(Errno(libc::EINVAL))?;
    File::create(path)?;
    let capability: [u32; 5] = [0x0200_0001, 1 << 21, 0, 0, 0];
    let (place, size) = if name == "security.capability" { (pointer(&capability), 20) } else { (pointer(b"y"), 1) };
    call(libc::SYS_setxattr, &[address(&text(path)), address(&text(name)), place, size, 0]).map(Value::from)
}

/// Every entry below, without following links.
fn walk(root: &Path, mut visit: impl FnMut(&Path, &fs::Metadata)) {
    let mut open: Vec<PathBuf> = vec![root.to_owned()];
    let mut entries = 0;
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            entries += 1;
            if entries > ENTRIES_MAX {
                return;
            }
            let path = entry.path();
            let Ok(meta) = fs::symlink_metadata(&path) else { continue };
            visit(&path, &meta);
            if meta.is_dir() {
                open.push(path);
            }
        }
    }
}

/// Regular files that can be opened for writing.
fn writable_under(root: &str) -> Outcome {
    fs::read_dir(root)?;
    let mut found = Vec::new();
    walk(Path::new(root), |path, meta| {
        if meta.is_file() && OpenOptions::new().write(true).open(path).is_ok() {
            found.push(path.to_string_lossy().into_owned());
        }
    });
    Ok(json!(found))
}

/// Every device node in /dev with its numbers.
fn device_nodes(_: &str) -> Outcome {
    let mut found = BTreeMap::new();
    walk(Path::new("/dev"), |path, meta| {
        let kind = meta.file_type();
        if kind.is_char_device() || kind.is_block_device() {
            let letter = if kind.is_block_device() { 'b' } else { 'c' };
            let device = meta.rdev();
            found.insert(path.to_string_lossy().into_owned(), format!("{letter} {}:{}", libc::major(device), libc::minor(device)));
        }
    });
    Ok(json!(found))
}

/// Where this text can be read: environments, command lines, files (but those of /usr and kernel trees).
fn canary(text: &str) -> Outcome {
    let mut found = Vec::new();
    let mut search = |path: &Path, skip_self: bool| {
        let mut bytes = Vec::new();
        let read = File::open(path).and_then(|file| file.take(SEARCHED_BYTES_MAX).read_to_end(&mut bytes));
        // The probe's own command line names the canary.
        if read.is_ok() && bytes.windows(text.len()).any(|w| w == text.as_bytes()) && !(skip_self && is_probe(&bytes)) {
            found.push(path.to_string_lossy().into_owned());
        }
    };
    for entry in fs::read_dir("/proc")?.flatten() {
        for file in ["environ", "cmdline", "task/1/environ", "mountinfo"] {
            search(&entry.path().join(file), true);
        }
    }
    let mut files = Vec::new();
    for top in fs::read_dir("/")?.flatten() {
        if !["usr", "proc", "sys", "dev"].contains(&&*top.file_name().to_string_lossy()) {
            let path = top.path();
            let Ok(meta) = fs::symlink_metadata(&path) else { continue };
            if meta.is_dir() {
                walk(&path, |path, meta| {
                    if meta.is_file()
                        && !path.ends_with("escape_probe")
                        && path.extension().is_none_or(|e| e != "d" && e != "rlib" && e != "rmeta")
                    {
                        files.push(path.to_owned());
                    }
                });
            } else if meta.is_file() {
                files.push(path);
            }
        }
    }
    for file in files {
        search(&file, false);
    }
    Ok(json!(found))
}

/// A command line or environment that holds the probe's own call.
fn is_probe(bytes: &[u8]) -> bool {
    bytes.windows(b"canary=".len()).any(|w| w == b"canary=")
}
