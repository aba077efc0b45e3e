//! Submodules: repositories of the user's below another one, under the same rules as that one.
//!
//! What a commit says of submodules may be an agent's word. So only those count that the user's own index has at the same
//! place: an agent cannot name another repository of the user's and be shown it.

use std::fs;

use super::error::GitError;
use super::inspect::check_path;
use super::mirror::Mirror;
use super::repo::{Oid, Repo};

/// The most submodules of one repository, with those of submodules.
pub(crate) const SUBMODULES_MAX: usize = 64;
/// How deep submodules of submodules are followed.
const DEPTH_MAX: usize = 4;
/// The longest list of files, in bytes.
const NAMES_BYTES_MAX: u64 = 256 << 20;

/// One submodule that the user has here.
#[derive(Debug, Clone)]
pub(crate) struct Submodule {
    /// Where it lies, from the top of the outermost repository.
    pub(crate) path: String,
    /// Its commit.
    pub(crate) commit: Oid,
    /// Its objects; within the mirror of the repository above.
    pub(crate) mirror: Mirror,
}

/// The submodules of a commit that the user has here, outer ones first.
///
/// # Errors
/// One of them cannot be mirrored.
pub(crate) async fn submodules(repo: &Repo, mirror: &Mirror, commit: &Oid) -> Result<Vec<Submodule>, GitError> {
    let mut found = Vec::new();
    let mut next = vec![(String::new(), repo.clone(), mirror.clone(), commit.clone(), 0)];
    while let Some((prefix, repo, mirror, commit, depth)) = next.pop() {
        for (path, commit) in links(&mirror, &commit).await? {
            if found.len() >= SUBMODULES_MAX || depth >= DEPTH_MAX {
                tracing::info!(path, "submodules beyond the limit stay empty");
                return Ok(found);
            }
            let Some(inner) = open(&repo, &path).await? else { continue };
            let inner_mirror = mirror.inner(&inner).await?;
            if !inner_mirror.has(&commit).await? {
                continue;
            }
            let full = format!("{prefix}{path}");
            found.push(Submodule { path: full.clone(), commit: commit.clone(), mirror: inner_mirror.clone() });
            next.push((format!("{full}/"), inner, inner_mirror, commit, depth + 1));
        }
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(found)
}

/// The places at which a commit has other repositories.
async fn links(mirror: &Mirror, commit: &Oid) -> Result<Vec<(String, Oid)>, GitError> {
    let what = "look for submodules";
    let modules = mirror.call(what).args(["cat-file", "-e", &format!("{commit}:.gitmodules")]).answer().await?;
    if modules.status != 0 {
        return Ok(Vec::new());
    }
    let mut left = Vec::new();
    let mut links = Vec::new();
    let list = mirror.call(what).args(["ls-tree", "-r", "-z", "--full-tree", commit.as_str()]).max(NAMES_BYTES_MAX);
    let (status, complaint) = list
        .pieces(|piece| {
            for byte in piece {
                if *byte != 0 {
                    left.push(*byte);
                    continue;
                }
                if let Some(rest) = left.strip_prefix(b"160000 commit ")
                    && let Some((oid, path)) = std::str::from_utf8(rest).ok().and_then(|rest| rest.split_once('\t'))
                    && let Some(oid) = Oid::parse(oid)
                    && check_path(path.as_bytes()).is_ok()
                    && links.len() < SUBMODULES_MAX
                {
                    links.push((path.to_owned(), oid));
                }
                left.clear();
            }
        })
        .await?;
    if status == 0 { Ok(links) } else { Err(GitError::Failed { what, complaint }) }
}

/// The user's repository at this place of another one, where the user has it as a submodule.
async fn open(repo: &Repo, path: &str) -> Result<Option<Repo>, GitError> {
    if repo.is_bare {
        return Ok(None);
    }
    let listed = repo.call("look for submodules").args(["ls-files", "-s", "-z", "--", path]).run().await?;
    if !listed.starts_with(b"160000 ") {
        return Ok(None);
    }
    let at = repo.path.join(path);
    if fs::canonicalize(&at).ok().as_deref() != Some(at.as_path()) {
        return Ok(None);
    }
    match Repo::open(repo.git_of(), &at).await {
        // One that was never fetched: what is found is the repository around it.
        Ok(inner) if inner.path == at && !inner.is_bare => Ok(Some(inner)),
        Ok(_) | Err(GitError::Repo { .. }) => Ok(None),
        Err(other) => Err(other),
    }
}
