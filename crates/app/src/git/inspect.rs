//! What an agent's commits bring, looked at in the quarantine: paths and modes that are refused, and those that deserve a
//! second look.

use std::collections::HashMap;
use std::time::Duration;

use super::error::{GitError, is_hidden};
use super::home::Quarantine;
use super::repo::Oid;

/// How long looking at the commits may take.
const LOOK_TIME: Duration = Duration::from_secs(300);
/// The longest list of changed files, in bytes.
const CHANGES_BYTES_MAX: u64 = 128 << 20;
/// The most files of one commit.
const FILES_MAX: u64 = 2_000_000;
/// The longest list of the files of one commit, in bytes.
const FILES_BYTES_MAX: u64 = 1 << 30;
/// The longest path, in bytes.
const PATH_BYTES_MAX: usize = 4096;
/// The deepest path.
const DEPTH_MAX: usize = 256;
/// Entries of each kind that are listed.
const LISTED_MAX: usize = 100;

/// What deserves a second look, each a list of paths that ends after a hundred.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// Links that are new or changed.
    pub(crate) links: Vec<String>,
    /// Submodules that are new or changed.
    pub(crate) submodules: Vec<String>,
    /// Files that became programs.
    pub(crate) programs: Vec<String>,
    /// Names with characters that hide or mislead.
    pub(crate) names: Vec<String>,
}

/// Looks at all that `tip` has and `base` has not.
///
/// # Errors
/// [`GitError::Refused`].
pub(crate) async fn inspect(quarantine: &Quarantine, base: &Oid, tip: &Oid) -> Result<Found, GitError> {
    connected(quarantine, base, tip).await?;
    count_files(quarantine, tip).await?;
    let call = quarantine.call("list what the branch changes");
    let args = ["diff-tree", "-r", "-z", "--raw", "--no-renames", "--no-abbrev", "--end-of-options", base.as_str(), tip.as_str()];
    let out = refuse_long(call.args(args).max(CHANGES_BYTES_MAX).time(LOOK_TIME).run().await)?;
    let mut found = Found::default();
    let mut folded: HashMap<String, String> = HashMap::new();
    let mut words = out.split(|b| *b == 0);
    while let Some(head) = words.next().filter(|head| !head.is_empty()) {
        let path = words.next().ok_or(GitError::Strange { what: "list what the branch changes" })?;
        let head = std::str::from_utf8(head).map_err(|_| GitError::Strange { what: "list what the branch changes" })?;
        let mut fields = head.trim_start_matches(':').split(' ');
        let (before, after) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
        if after == "000000" {
            continue;
        }
        let shown = check_path(path)?;
        match after {
            "100644" => {}
            "100755" if before != "100755" => list(&mut found.programs, &shown),
            "100755" => {}
            "120000" => list(&mut found.links, &shown),
            "160000" => list(&mut found.submodules, &shown),
            mode => return Err(GitError::Refused(format!("`{shown}` has the mode {mode}"))),
        }
        if before == "000000"
            && let Some(other) = folded.insert(shown.to_lowercase(), shown.clone())
            && other != shown
        {
            list(&mut found.names, &shown);
        }
        if std::str::from_utf8(path).map_or(true, |path| path.chars().any(|c| c.is_control() || is_hidden(c) || c == '\\')) {
            list(&mut found.names, &shown);
        }
    }
    Ok(found)
}

/// Everything that the tip reaches is there, and no path on the way is one that is refused.
async fn connected(quarantine: &Quarantine, base: &Oid, tip: &Oid) -> Result<(), GitError> {
    let call = quarantine.call("walk over the branch");
    let args = ["rev-list", "--objects", tip.as_str(), &format!("^{base}"), "--"].map(str::to_owned);
    let (mut line, mut bad) = (Vec::new(), None);
    let walked = call.args(args).max(FILES_BYTES_MAX).time(LOOK_TIME).pieces(|piece| {
        for byte in piece {
            if *byte != b'\n' {
                if line.len() <= 2 * PATH_BYTES_MAX {
                    line.push(*byte);
                }
                continue;
            }
            if let Some(at) = line.iter().position(|b| *b == b' ').filter(|at| at + 1 < line.len())
                && let Err(error) = check_path(&line[at + 1..])
            {
                bad.get_or_insert(error);
            }
            line.clear();
        }
    });
    let (status, complaint) = refuse_long(walked.await)?;
    match bad {
        Some(bad) => Err(bad),
        None if status != 0 => Err(GitError::Refused(format!("it is not whole: {complaint}"))),
        None => Ok(()),
    }
}

/// A tree of trees can name more files than there is room for: they are counted before anybody writes them.
async fn count_files(quarantine: &Quarantine, tip: &Oid) -> Result<(), GitError> {
    let call = quarantine.call("count the files of the branch");
    let mut files = 0u64;
    let args = ["ls-tree", "-r", "-z", "--name-only", "--end-of-options", tip.as_str()];
    let counted = call.args(args).max(FILES_BYTES_MAX).time(LOOK_TIME).pieces(|piece| {
        files += piece.iter().filter(|b| **b == 0).count() as u64;
    });
    let (status, complaint) = refuse_long(counted.await)?;
    if status != 0 {
        return Err(GitError::Refused(format!("its files cannot be listed: {complaint}")));
    }
    if files > FILES_MAX { Err(GitError::Refused(format!("it has more than {FILES_MAX} files"))) } else { Ok(()) }
}

fn refuse_long<T>(result: Result<T, GitError>) -> Result<T, GitError> {
    result.map_err(|error| match error {
        GitError::Long { .. } | GitError::Late { .. } => GitError::Refused("it has more files than are looked at".into()),
        other => other,
    })
}

fn list(into: &mut Vec<String>, path: &str) {
    if into.len() < LISTED_MAX {
        into.push(path.to_owned());
    }
}

/// Checks one path by our own rules, and gives it as it may be shown.
///
/// # Errors
/// [`GitError::Refused`] for a path that would reach into a repository's own directory somewhere, or out of the tree.
pub(crate) fn check_path(path: &[u8]) -> Result<String, GitError> {
    let text = String::from_utf8_lossy(path);
    let shown: String = text.chars().map(|c| if c.is_control() || is_hidden(c) { '\u{fffd}' } else { c }).collect();
    let refuse = |why: &str| Err(GitError::Refused(format!("the path `{shown}` {why}")));
    if path.len() > PATH_BYTES_MAX {
        return refuse("is too long");
    }
    let parts: Vec<&str> = text.split('/').collect();
    if parts.len() > DEPTH_MAX {
        return refuse("is too deep");
    }
    for part in parts {
        if part.is_empty() || part == "." || part == ".." {
            return refuse("is no path within a tree");
        }
        // Windows takes both as separators, and so do programs that come from there.
        if part.split('\\').any(is_git_dir) {
            return refuse("is the directory of a repository, here or on another system");
        }
    }
    Ok(shown)
}

/// Whether some file system takes this name for `.git`.
fn is_git_dir(name: &str) -> bool {
    // HFS+ overlooks characters that are not seen; NTFS overlooks dots and spaces at the end, and names streams after colons.
    let seen: String = name.chars().filter(|c| !is_hidden(*c)).collect();
    let plain = seen.split(':').next().unwrap_or_default().trim_end_matches(['.', ' ']).to_lowercase();
    plain == ".git" || plain == "git~1"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_spelling_of_the_repository_directory_is_taken() {
        for bad in [
            ".git/config", "a/.GIT/hooks/x", ".git", "a/.git ./x", ".git...", ".gi\u{200c}t/config", "\u{feff}.git", "git~1/config",
            "GIT~1", ".git::$INDEX_ALLOCATION/x", "a\\.git\\hooks", "../x", "a/../x", "/etc/passwd", "a//b", "./a", "",
        ] {
            assert!(check_path(bad.as_bytes()).is_err(), "{bad:?}");
        }
        let deep = "a/".repeat(DEPTH_MAX) + "x";
        assert!(check_path(deep.as_bytes()).is_err());
        for good in [".gitignore", ".gitattributes", "a/.github/x", "git", "x.git", "ümlaut", ".git-blame", "git~10", "a b", "a\nb"] {
            assert!(check_path(good.as_bytes()).is_ok(), "{good:?}");
        }
        assert_eq!(check_path("a\u{202e}b\n".as_bytes()).ok().as_deref(), Some("a\u{fffd}b\u{fffd}"));
    }
}
