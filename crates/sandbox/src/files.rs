//! Files that the host writes for one sandbox: in the sandbox's own directory on the host, bound read-only inside.

use std::fs::{self, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use jail::{Mount, Source};

use crate::config::{HOST_FILE_BYTES_MAX, HOST_FILES_MAX};
use crate::home::make_dir;
use crate::{HostFile, SandboxError};

/// Where they lie in the directory of a sandbox.
const DIR: &str = "files";

/// Checks the number, the sizes, and that no two are seen at one place.
pub(crate) fn check(files: &[HostFile]) -> Result<(), SandboxError> {
    if files.len() > HOST_FILES_MAX {
        return Err(SandboxError::Busy { what: "files of a sandbox", max: HOST_FILES_MAX });
    }
    for (at, file) in files.iter().enumerate() {
        size(&file.target, &file.bytes)?;
        if files[..at].iter().any(|other| other.target == file.target) {
            return Err(SandboxError::Path { path: file.target.display().to_string(), why: "two files would be seen there".into() });
        }
    }
    Ok(())
}

fn size(target: &Path, bytes: &[u8]) -> Result<(), SandboxError> {
    if bytes.len() > HOST_FILE_BYTES_MAX {
        let why = format!("more than {HOST_FILE_BYTES_MAX} bytes would be seen there");
        return Err(SandboxError::Path { path: target.display().to_string(), why });
    }
    Ok(())
}

/// Writes the files and gives the mounts that show them.
pub(crate) fn write(dir: &Path, files: &[HostFile]) -> Result<Vec<Mount>, SandboxError> {
    if files.is_empty() {
        return Ok(Vec::new());
    }
    make_dir(&dir.join(DIR))?;
    let one = |(at, file): (usize, &HostFile)| {
        let path = path(dir, at);
        let written = (|| {
            let mut to = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
            to.write_all(&file.bytes)?;
            // Whatever the umask: inside, another user reads it.
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644))
        })();
        written.map_err(SandboxError::io("write a file for a sandbox"))?;
        Ok(Mount { source: Source::Path(path), target: file.target.clone(), read_only: true, owner: None })
    };
    files.iter().enumerate().map(one).collect()
}

/// Replaces what the file holds that is seen at `target`; `targets` are those of all files. It stays the same file, as
/// a bind of another one would not be seen.
pub(crate) fn rewrite(dir: &Path, targets: &[PathBuf], target: &Path, bytes: &[u8]) -> Result<(), SandboxError> {
    size(target, bytes)?;
    let at = targets.iter().position(|other| other == target);
    let at = at.ok_or_else(|| SandboxError::Path { path: target.display().to_string(), why: "the host wrote no file there".into() })?;
    let written = (|| {
        let to = OpenOptions::new().write(true).open(path(dir, at))?;
        to.write_all_at(bytes, 0)?;
        to.set_len(bytes.len() as u64)
    })();
    written.map_err(SandboxError::io("write a file for a sandbox"))
}

/// The most that is read of a process's list of mounts.
const MOUNTS_BYTES_MAX: u64 = 1 << 20;

/// Whether a place lies among the files of a tree, where whoever writes to the tree could take it away.
pub(crate) fn is_in_tree(target: &Path) -> bool {
    ["/home", "/workspace"].iter().any(|root| target.starts_with(root) && target != Path::new(root))
}

/// Whether something is mounted at each of these places for the process. Inside nothing can be mounted, so it is what the
/// host put there.
pub(crate) fn are_seen<'a>(pid: i32, mut targets: impl Iterator<Item = &'a PathBuf>) -> Result<bool, SandboxError> {
    let read = || {
        let mut text = String::new();
        fs::File::open(format!("/proc/{pid}/mountinfo"))?.take(MOUNTS_BYTES_MAX).read_to_string(&mut text)?;
        Ok(text)
    };
    let mounts: String = read().map_err(SandboxError::io("look at the mounts of a sandbox"))?;
    Ok(targets.all(|target| is_mounted(&mounts, target)))
}

/// Whether a list of mounts, as the kernel shows it, has one at this place.
fn is_mounted(mounts: &str, target: &Path) -> bool {
    let plain: PathBuf = target.components().collect();
    let shown = plain.to_string_lossy().replace('\\', "\\134").replace(' ', "\\040").replace('\t', "\\011").replace('\n', "\\012");
    mounts.lines().any(|line| line.split(' ').nth(4) == Some(shown.as_str()))
}

fn path(dir: &Path, at: usize) -> PathBuf {
    dir.join(DIR).join(at.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_is_found_by_its_place_alone() {
        let mounts = "24 1 0:22 / /proc rw - proc proc rw\n25 1 0:23 /of/home /home/a\\040b rw - btrfs /dev/x rw\n\
            26 1 0:24 / /home/sandbox/.x//deleted rw - ext4 /dev/y rw\n";
        for (target, found) in [
            ("/proc", true),
            ("/home/a b", true),
            ("/home/./a b/", true),
            ("/of/home", false),
            ("/home", false),
            ("/home/sandbox/.x", false),
        ] {
            assert_eq!(is_mounted(mounts, Path::new(target)), found, "{target}");
        }
    }
}
