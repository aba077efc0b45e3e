//! What a user has not committed, for an agent that is to go on from there.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Seek as _};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags};

use super::error::GitError;
use super::mirror::{blocking, tempfile_in};
use super::repo::Repo;

/// The most files that are carried in.
const FILES_MAX: usize = 100_000;
/// The most bytes that are carried in.
const BYTES_MAX: u64 = 4 << 30;
/// The longest list of names.
const NAMES_BYTES_MAX: u64 = 64 << 20;
/// What often holds credentials: carried in only where it is named.
const SECRET_NAMES: &[&str] = &[".env", ".netrc", ".npmrc", ".pypirc", ".git-credentials", "credentials.json", "id_rsa", "id_ed25519"];
/// Endings of such files.
const SECRET_ENDINGS: &[&str] = &[".pem", ".key", ".p12", ".pfx", ".kdbx"];

/// What is carried in.
#[derive(Debug)]
pub(crate) struct Carried {
    tar: File,
    /// Files that the user has removed.
    pub(crate) removed: Vec<String>,
    /// How many files come.
    pub(crate) files: usize,
    /// What was left out because it looks like a credential; it comes when it is named.
    pub(crate) left_out: Vec<String>,
}

impl Carried {
    /// The files, from the beginning.
    pub(crate) fn open(&self) -> io::Result<File> {
        let mut tar = self.tar.try_clone()?;
        tar.rewind()?;
        Ok(tar)
    }
}

/// Packs what `repo`'s working tree has beyond its last commit: changed, removed and, where `untracked`, new files, and
/// the ignored ones that `also` names. Nothing that git would run for it is run.
///
/// # Errors
/// There is no working tree, or there is more than is carried in.
pub(crate) async fn carry(repo: &Repo, hold: &Path, changes: bool, also: &[String]) -> Result<Carried, GitError> {
    if repo.is_bare {
        return Err(GitError::Repo { path: repo.path.clone(), why: "it has no working tree to carry files from".into() });
    }
    let (mut names, mut removed) = (BTreeSet::new(), Vec::new());
    let mut left_out = Vec::new();
    if changes {
        let list = |flags: &[&str]| {
            let call = repo.call("list what is not committed").args(["ls-files", "-z"]).args(flags).arg("--full-name");
            call.max(NAMES_BYTES_MAX).run()
        };
        let staged = repo.call("list what is staged").args(["diff-index", "--cached", "--name-only", "--no-renames", "-z", "HEAD", "--"]);
        let (changed, gone, fresh) = (list(&["-m"]).await?, list(&["-d"]).await?, list(&["-o", "--exclude-standard"]).await?);
        let staged = staged.max(NAMES_BYTES_MAX).run().await?;
        for name in split(&changed).chain(split(&staged)).chain(split(&fresh)) {
            match text(name) {
                Some(name) if is_secret(&name) && !also.contains(&name) => left_out.push(name),
                Some(name) => drop(names.insert(name)),
                None => {}
            }
        }
        removed.extend(split(&gone).filter_map(text));
        for name in split(&staged).filter_map(text) {
            if fs::symlink_metadata(repo.path.join(&name)).is_err() {
                removed.push(name);
            }
        }
    }
    for name in also {
        let path = Path::new(name);
        if !path.components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(GitError::Repo {
                path: repo.path.clone(),
                why: format!("`{}` lies outside of it", super::error::shown(name.as_bytes())),
            });
        }
        names.insert(name.clone());
    }
    removed.sort();
    removed.dedup();
    names.retain(|name| !removed.contains(name));
    left_out.dedup();
    let (root, hold) = (repo.path.clone(), hold.to_owned());
    let (tar, files) = blocking(move || pack(&root, &hold, &names)).await?;
    Ok(Carried { tar, removed, files, left_out })
}

fn split(out: &[u8]) -> impl Iterator<Item = &[u8]> {
    out.split(|b| *b == 0).filter(|name| !name.is_empty())
}

/// A name that is text and lies below; others cannot be spoken of.
fn text(name: &[u8]) -> Option<String> {
    let name = String::from_utf8(name.to_vec()).ok()?;
    Path::new(&name).components().all(|part| matches!(part, Component::Normal(part) if part != ".git")).then_some(name)
}

fn is_secret(name: &str) -> bool {
    let last = name.rsplit('/').next().unwrap_or(name).to_ascii_lowercase();
    SECRET_NAMES.iter().any(|secret| last == *secret) || last.starts_with(".env.") || SECRET_ENDINGS.iter().any(|end| last.ends_with(end))
}

/// Packs regular files and links below `root`; no link on the way is followed.
fn pack(root: &Path, hold: &Path, names: &BTreeSet<String>) -> io::Result<(File, usize)> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = rustix::fs::open(root, flags, Mode::empty())?;
    let mut tar = tar::Builder::new(tempfile_in(hold)?);
    let (mut files, mut bytes) = (0usize, 0u64);
    for name in names {
        let how = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_SYMLINKS;
        let opened = rustix::fs::openat2(&dir, name.as_str(), OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty(), how);
        let mut header = tar::Header::new_gnu();
        header.set_mtime(0);
        match opened {
            Ok(fd) => {
                let mut file = File::from(fd);
                let meta = file.metadata()?;
                if !meta.is_file() {
                    continue;
                }
                bytes = bytes.saturating_add(meta.len());
                header.set_size(meta.len());
                use std::os::unix::fs::PermissionsExt as _;
                header.set_mode(if meta.permissions().mode() & 0o100 == 0 { 0o644 } else { 0o755 });
                header
                    .set_mtime(meta.modified().ok().and_then(|m| m.duration_since(std::time::UNIX_EPOCH).ok()).map_or(0, |d| d.as_secs()));
                tar.append_data(&mut header, name, io::Read::take(&mut file, meta.len()))?;
            }
            Err(rustix::io::Errno::LOOP) => {
                let Some(target) = link_at(&dir, name)? else { continue };
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_mode(0o777);
                header.set_size(0);
                tar.append_link(&mut header, name, target)?;
            }
            // Gone since it was listed.
            Err(rustix::io::Errno::NOENT) => continue,
            Err(e) => return Err(e.into()),
        }
        files += 1;
        if files > FILES_MAX || bytes > BYTES_MAX {
            return Err(io::Error::other(format!("more than {FILES_MAX} files or {} GiB are not committed", BYTES_MAX >> 30)));
        }
    }
    let file = tar.into_inner()?;
    Ok((file, files))
}

/// Where the link `name` leads; `None` where it is none itself, but lies behind one.
fn link_at(dir: &rustix::fd::OwnedFd, name: &str) -> io::Result<Option<PathBuf>> {
    let how = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let (parent, last) = name.rsplit_once('/').map_or((".", name), |(parent, last)| (parent, last));
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(parent) = rustix::fs::openat2(dir, parent, flags, Mode::empty(), how | ResolveFlags::NO_SYMLINKS) else { return Ok(None) };
    match rustix::fs::readlinkat(&parent, last, Vec::new()) {
        Ok(target) => Ok(Some(PathBuf::from(OsString::from_vec(target.into_bytes())))),
        Err(_) => Ok(None),
    }
}
