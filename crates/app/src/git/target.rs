//! The files of a checked-out branch, brought along when the branch moves: as `git merge` would, but with no hook and no
//! filter, and nothing that is not committed is touched.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::time::Duration;

use super::error::{GitError, shown};
use super::repo::{Oid, Repo};

/// How long writing the files may take.
const WRITE_TIME: Duration = Duration::from_secs(600);
/// The longest list of names, in bytes.
const NAMES_BYTES_MAX: u64 = 64 << 20;

/// Whether the files can go from one commit to the other.
///
/// # Errors
/// [`GitError::InTheWay`] for files that are changed, staged or not known to git and would be touched; or files pass through
/// a filter, which only the user's own git may run.
pub(crate) async fn check(place: &Repo, before: &Oid, after: &Oid) -> Result<(), GitError> {
    let list = |args: &[&str]| place.call("list files").args(args).max(NAMES_BYTES_MAX).run();
    let differ = list(&["diff-tree", "-r", "-z", "--name-status", "--no-renames", before.as_str(), after.as_str()]).await?;
    let (mut touched, mut fresh) = (BTreeSet::new(), Vec::new());
    let mut words = differ.split(|b| *b == 0).filter(|word| !word.is_empty());
    while let (Some(status), Some(path)) = (words.next(), words.next()) {
        if status == b"A" {
            fresh.push(path.to_vec());
        }
        touched.insert(path.to_vec());
    }
    let staged = list(&["diff-index", "--cached", "-z", "--name-only", "--no-renames", before.as_str(), "--"]).await?;
    // Of an earlier try that was cut short: the index stands where it is to go.
    if !staged.is_empty() && list(&["diff-index", "--cached", "-z", "--name-only", "--no-renames", after.as_str(), "--"]).await?.is_empty()
    {
        return Ok(());
    }
    let changed = list(&["ls-files", "-z", "-m", "-d", "--full-name"]).await?;
    let dirty = staged.split(|b| *b == 0).chain(changed.split(|b| *b == 0));
    let mut in_the_way: BTreeSet<String> = dirty.filter(|path| touched.contains(*path)).map(shown).collect();
    for path in &fresh {
        let at = place.path.join(std::ffi::OsStr::from_bytes(path));
        // A link in the way of a directory counts as well: git would not follow it, and neither do we.
        if fs::symlink_metadata(&at).is_ok() {
            in_the_way.insert(shown(path));
        }
    }
    if !in_the_way.is_empty() {
        return Err(GitError::InTheWay(in_the_way.into_iter().collect()));
    }
    refuse_filtered(place, after, &touched).await
}

async fn refuse_filtered(place: &Repo, after: &Oid, touched: &BTreeSet<Vec<u8>>) -> Result<(), GitError> {
    let names: Vec<u8> = touched.iter().flat_map(|path| [path.as_slice(), b"\0"].concat()).collect();
    if names.is_empty() {
        return Ok(());
    }
    // An older git reads the attributes of what is there only: those that come are looked at as text.
    for path in touched.iter().filter(|path| path.rsplit(|b| *b == b'/').next() == Some(b".gitattributes")) {
        let name = [after.as_str().as_bytes(), b":", path].concat();
        let blob = place.call("read attributes").args(["cat-file", "blob"]).arg(std::ffi::OsStr::from_bytes(&name)).answer().await?;
        if blob.out.windows(6).any(|word| word == b"filter") {
            let why = format!("`{}` chooses filters, which only your own git may run: git merge --ff-only {after}", shown(path));
            return Err(GitError::Repo { path: place.path.clone(), why });
        }
    }
    for source in [None, Some(after.as_str())] {
        let mut call = place.call("look for filters").args(["check-attr", "-z", "--stdin"]).max(NAMES_BYTES_MAX * 2);
        if let Some(source) = source {
            call = call.env("GIT_ATTR_SOURCE", source);
        }
        let out = call.arg("filter").input(names.clone()).run().await?;
        let words: Vec<&[u8]> = out.split(|b| *b == 0).collect();
        let found = words.chunks_exact(3).find(|entry| !matches!(entry[2], b"unspecified" | b"unset"));
        if let Some(entry) = found {
            let why = format!(
                "`{}` passes through the filter `{}`, which only your own git may run: git merge --ff-only {after}",
                shown(entry[0]),
                shown(entry[2])
            );
            return Err(GitError::Repo { path: place.path.clone(), why });
        }
    }
    Ok(())
}

/// Takes index and files from one commit to the other. May be repeated.
///
/// # Errors
/// Git refuses; nothing has changed then.
pub(crate) async fn update(place: &Repo, before: &Oid, after: &Oid) -> Result<(), GitError> {
    let refresh = place.call("look at the files").args(["update-index", "-q", "--refresh"]).time(WRITE_TIME);
    // It only says which files differ.
    refresh.answer().await?;
    let args = ["read-tree", "-m", "-u", before.as_str(), after.as_str()];
    place.call("bring the files along").args(args).time(WRITE_TIME).run().await.map(drop)
}
