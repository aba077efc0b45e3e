//! The user's repository: found and opened with the user's own rights.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use app::{AlsoRepo, BranchAuthor};
use model::{Code, Failure};
use rustix::fs::{Mode, OFlags};

use crate::env::Env;

/// The longest name or address of an author, in characters.
const AUTHOR_CHARS_MAX: usize = 200;

/// The top of the repository around a directory, without links in its path; `None` when there is none.
pub(in crate::commands) fn top(dir: &Path) -> Result<Option<PathBuf>, Failure> {
    let real = std::fs::canonicalize(dir).map_err(|e| unusable(dir, &e.to_string()))?;
    // A working tree holds `.git`, a directory or a file; a bare repository holds what `.git` would.
    let is_bare = |at: &Path| at.join("HEAD").is_file() && at.join("objects").is_dir() && at.join("refs").is_dir();
    Ok(real.ancestors().find(|at| at.join(".git").exists() || is_bare(at)).map(Path::to_owned))
}

/// The same where there must be one.
pub(in crate::commands) fn needed(dir: Option<&Path>) -> Result<PathBuf, Failure> {
    let here = Path::new(".");
    let dir = dir.unwrap_or(here);
    top(dir)?.ok_or_else(|| unusable(dir, "there is no git repository here or above").hint("name one with --repo DIR"))
}

/// The repositories that flags name: the first one, and those beside it.
pub(in crate::commands) fn several(named: &[String]) -> Result<(PathBuf, Vec<AlsoRepo>), Failure> {
    let Some((first, others)) = named.split_first() else { return Ok((needed(None)?, Vec::new())) };
    let also = others.iter().map(|text| -> Result<AlsoRepo, Failure> {
        let (name, dir) = split(text);
        let repo = needed(Some(dir))?;
        let own = || repo.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        Ok(AlsoRepo { name: name.map_or_else(own, str::to_owned), repo })
    });
    Ok((needed(Some(split(first).1))?, also.collect::<Result<_, _>>()?))
}

/// `NAME=DIR`, or a directory.
pub(in crate::commands) fn split(text: &str) -> (Option<&str>, &Path) {
    match text.split_once('=') {
        // What is there by the whole of it is meant by it.
        Some((name, dir)) if !name.is_empty() && !name.contains('/') && !Path::new(text).exists() => (Some(name), Path::new(dir)),
        _ => (None, Path::new(text)),
    }
}

/// Opens the repository's directory.
pub(super) fn open(path: &Path) -> Result<OwnedFd, Failure> {
    let fd = rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
        .map_err(|e| unusable(path, &e.to_string()))?;
    let need = rustix::fs::Access::READ_OK | rustix::fs::Access::WRITE_OK;
    rustix::fs::access(format!("/proc/self/fd/{}", fd.as_raw_fd()), need)
        .map_err(|e| unusable(path, &format!("you may not read and write it ({e})")))?;
    Ok(fd)
}

/// The user's name as their git knows it. Reading configuration starts no program.
pub(super) fn author(repo: &Path, env: &Env) -> Option<BranchAuthor> {
    let get = |key: &str| {
        let mut git = Command::new("git");
        let asked = git.env("PATH", &env.path).args(["-C"]).arg(repo).args(["config", "--get", key]);
        let out = asked.stdin(Stdio::null()).stderr(Stdio::null()).output().ok().filter(|out| out.status.success())?;
        let text = String::from_utf8(out.stdout).ok()?;
        let text = text.trim();
        let is_plain =
            !text.is_empty() && text.chars().count() <= AUTHOR_CHARS_MAX && !text.chars().any(|c| c.is_control() || "<>".contains(c));
        is_plain.then(|| text.to_owned())
    };
    Some(BranchAuthor { name: get("user.name")?, email: get("user.email")? })
}

fn unusable(path: &Path, why: &str) -> Failure {
    Failure::new(Code::PathUnusable, format!("the repository {} cannot be used: {why}", path.display())).field("--repo")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_are_named_by_themselves_or_by_their_directory() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = std::fs::canonicalize(dir.path()).expect("there");
        for name in ["app", "lib", "a=b"] {
            std::fs::create_dir_all(at.join(name).join(".git")).expect("make");
        }
        let path = |name: &str| at.join(name).to_str().expect("utf-8").to_owned();
        let of = |named: &[String]| {
            several(named).map(|(first, also)| (first, also.into_iter().map(|one| (one.name, one.repo)).collect::<Vec<_>>()))
        };
        let (first, also) = of(&[path("app"), path("lib"), format!("more={}", path("a=b"))]).expect("three");
        assert_eq!(first, at.join("app"));
        assert_eq!(also, [("lib".to_owned(), at.join("lib")), ("more".to_owned(), at.join("a=b"))]);
        assert_eq!(of(&[format!("x={}", path("app"))]).expect("one").0, at.join("app"));
        assert_eq!(of(&[path("a=b")]).expect("one").0, at.join("a=b"));
        assert!(of(&[path("app"), path("nothing")]).is_err());
    }
}
