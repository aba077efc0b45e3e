//! The synthetic /etc of the image `host`.
//!
//! Only what is named here comes over from the host, as copies of files that everybody can read: what programs need to
//! run, nothing that says who uses the machine or how to get anywhere from it.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use crate::image::make_dir;

/// The name of the machine inside.
pub(crate) const HOSTNAME: &str = "sandbox";

/// Files with fixed contents.
const FILES: [(&str, &str); 9] = [
    (
        "passwd",
        "root:x:0:0:root:/root:/usr/sbin/nologin\n\
         sandbox:x:1000:1000::/home/sandbox:/bin/sh\n\
         nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    ),
    ("group", "root:x:0:\ntty:x:5:\nsandbox:x:1000:\nnogroup:x:65534:\n"),
    ("hosts", "127.0.0.1 localhost sandbox\n::1 localhost ip6-localhost\n"),
    ("hostname", "sandbox\n"),
    ("nsswitch.conf", "passwd: files\ngroup: files\nshadow: files\nhosts: files\nnetworks: files\nprotocols: files\nservices: files\n"),
    ("resolv.conf", ""),
    ("profile", "export PS1='\\u@\\h:\\w\\$ '\n"),
    ("bash.bashrc", "[ -z \"$PS1\" ] || PS1='\\u@\\h:\\w\\$ '\n"),
    ("shells", "/bin/sh\n/bin/bash\n/usr/bin/sh\n/usr/bin/bash\n"),
];

/// Single files that are copied when the host has them.
const COPIED: [&str; 22] = [
    "ld.so.cache",
    "ld.so.conf",
    "localtime",
    "timezone",
    "os-release",
    "debian_version",
    "mime.types",
    "protocols",
    "services",
    "ethertypes",
    "rpc",
    "gai.conf",
    "host.conf",
    "inputrc",
    "locale.alias",
    "magic",
    "magic.mime",
    "ssl/openssl.cnf",
    "ssl/certs/ca-certificates.crt",
    "ssl/cert.pem",
    "pki/tls/certs/ca-bundle.crt",
    "pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
];

/// Directories that are copied with the files and links below them.
const TREES: [&str; 11] = [
    "alternatives", "ld.so.conf.d", "ssl/certs", "perl", "python3", "python3.11", "python3.12", "python3.13", "terminfo", "fonts",
    "java-17-openjdk",
];

/// The largest file that is copied.
const FILE_BYTES_MAX: u64 = 8 << 20;
/// How deep copied directories go.
const DEPTH_MAX: usize = 6;
/// The most entries that are copied from one directory.
const ENTRIES_MAX: usize = 20_000;

/// What the result depends on.
pub(crate) fn sources() -> impl Iterator<Item = PathBuf> {
    COPIED.iter().chain(&TREES).map(|name| Path::new("/etc").join(name))
}

/// Fills the directory `etc`, which exists and is empty.
pub(crate) fn fill(etc: &Path) -> std::io::Result<()> {
    for (name, text) in FILES {
        write(&etc.join(name), text.as_bytes(), 0o644)?;
    }
    symlink("/proc/self/mounts", etc.join("mtab"))?;
    for name in TREES {
        copy_tree(&Path::new("/etc").join(name), &etc.join(name), 0)?;
    }
    for name in COPIED {
        let to = etc.join(name);
        // A copied directory may have brought it already.
        if fs::symlink_metadata(&to).is_err() {
            copy_file(&Path::new("/etc").join(name), &to)?;
        }
    }
    Ok(())
}

fn copy_tree(from: &Path, to: &Path, depth: usize) -> std::io::Result<()> {
    let Ok(entries) = fs::read_dir(from) else { return Ok(()) };
    make_dirs(to)?;
    for entry in entries.flatten().take(ENTRIES_MAX) {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() && depth < DEPTH_MAX {
            copy_tree(&from, &to, depth + 1)?;
        } else if kind.is_symlink() {
            copy_link(&from, &to)?;
        } else if kind.is_file() {
            copy_file(&from, &to)?;
        }
    }
    Ok(())
}

/// A link comes over when it leads into /usr or to a name beside it; pages of the manual are not worth their links.
fn copy_link(from: &Path, to: &Path) -> std::io::Result<()> {
    let Ok(target) = fs::read_link(from) else { return Ok(()) };
    let beside = target.components().count() == 1 && !target.is_absolute() && target.file_name().is_some();
    let system = target.starts_with("/usr") && !target.components().any(|c| c.as_os_str() == "..");
    if target.extension().is_some_and(|e| e == "gz") || !(beside || system) {
        return Ok(());
    }
    symlink(target, to)
}

/// Copies a regular file that everybody can read, through links of the host's own.
fn copy_file(from: &Path, to: &Path) -> std::io::Result<()> {
    let Ok(meta) = fs::metadata(from) else { return Ok(()) };
    if !meta.is_file() || meta.len() > FILE_BYTES_MAX || meta.permissions().mode() & 0o004 == 0 {
        return Ok(());
    }
    let mut bytes = Vec::new();
    fs::File::open(from)?.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    if let Some(parent) = to.parent() {
        make_dirs(parent)?;
    }
    write(to, &bytes, 0o644)
}

fn make_dirs(path: &Path) -> std::io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        make_dirs(parent)?;
    }
    make_dir(path, 0o755)
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> std::io::Result<()> {
    fs::write(path, bytes)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}
