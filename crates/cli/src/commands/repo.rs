//! A clone of the user's repository, on its way into a sandbox.

use std::fs::{DirBuilder, File};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use model::{Code, Failure};
use rustix::fs::{FlockOperation, flock};

use super::{Context, branches, sandbox};
use crate::client::Client;
use crate::exit::clean;
use crate::home::{Home, random_hex};
use crate::places;

/// Repositories that one sandbox is given.
const REPOS_MAX: usize = 8;
/// What the name of a clone begins with.
const PREFIX: &str = "clone-";

/// A clone that is removed when dropped; when its process is killed, by [`sweep`].
pub(super) struct Clone {
    pub(super) dir: PathBuf,
    /// Locked as long as the process lives.
    _lock: File,
}

/// Removes clones whose process is gone.
pub(crate) fn sweep(run_dir: &Path) {
    for entry in std::fs::read_dir(run_dir).into_iter().flatten().flatten() {
        let ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        let lock = File::open(entry.path()).ok().filter(|dir| ours && flock(dir, FlockOperation::NonBlockingLockExclusive).is_ok());
        if let Some(_lock) = lock
            && let Err(error) = std::fs::remove_dir_all(entry.path())
        {
            tracing::warn!(path = %entry.path().display(), %error, "a clone was not removed");
        }
    }
}

impl Clone {
    /// An empty directory that is this process's own.
    pub(super) fn make(run_dir: &Path) -> std::io::Result<Self> {
        loop {
            let name = random_hex::<8>().map_err(|failure| std::io::Error::other(failure.message))?;
            let dir = run_dir.join(format!("{PREFIX}{name}"));
            DirBuilder::new().mode(0o700).create(&dir)?;
            let lock = match File::open(&dir) {
                // Another process took it for left behind before it was locked.
                Err(e) if e.kind() == ErrorKind::NotFound => continue,
                opened => opened?,
            };
            flock(&lock, FlockOperation::LockExclusive)?;
            if dir.exists() {
                return Ok(Self { dir, _lock: lock });
            }
        }
    }

    /// Clones the current branch alone. Nothing that the repository's configuration names is run.
    pub(super) fn of(repo: &Path, home: &Home, path: &str) -> Result<Self, Failure> {
        let fail = |why: String| {
            Failure::new(Code::PathUnusable, format!("the repository {} cannot be cloned: {why}", repo.display())).field("--repo")
        };
        let repo = std::fs::canonicalize(repo).map_err(|e| fail(e.to_string()))?;
        sweep(&home.run_dir());
        let clone = Self::make(&home.run_dir()).map_err(|e| fail(e.to_string()))?;
        let out = std::process::Command::new("git")
            .env_clear()
            .env("PATH", path)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_NO_REPLACE_OBJECTS", "1")
            .env("LC_ALL", "C")
            .args([
                "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "protocol.allow=never", "-c",
                "protocol.file.allow=always",
            ])
            .args(["-c", "safe.directory=*", "-c", "core.symlinks=true", "-c", "filter.lfs.smudge=", "-c", "filter.lfs.required=false"])
            .args(["clone", "--quiet", "--no-local", "--single-branch", "--no-recurse-submodules", "--template=", "--"])
            .arg(&repo)
            .arg(&clone.dir)
            .stdin(std::process::Stdio::null())
            .output()
            .map_err(|e| fail(format!("git cannot be run: {e}")))?;
        if !out.status.success() {
            return Err(fail(clean(String::from_utf8_lossy(&out.stderr).trim())));
        }
        Ok(clone)
    }
}

/// Puts clones of the repositories that flags name where they belong inside: the first one is the workspace, the others lie beside it.
/// `files` is where the files of the session or sandbox are in the API, up to the path.
pub(super) async fn put_clones(context: &Context, client: &Client, home: &Home, named: &[String], files: &str) -> Result<(), Failure> {
    for (n, (name, dir)) in names(named)?.into_iter().enumerate() {
        let clone = Clone::of(dir, home, &context.env.path)?;
        if n == 0 {
            sandbox::upload_content(client, &format!("{files}/workspace"), &clone.dir).await?;
        } else {
            let (above, repos) = app::BESIDE_DIR.rsplit_once('/').unwrap_or(("/", app::BESIDE_DIR));
            sandbox::upload_as(client, &format!("{files}{above}"), &clone.dir, &format!("{repos}/{name}")).await?;
        }
    }
    Ok(())
}

/// What each is called, and where it is.
fn names(named: &[String]) -> Result<Vec<(String, &Path)>, Failure> {
    let wrong = |why: String| Failure::new(Code::Usage, why).field("--repo").hint("name it yourself: --repo NAME=DIR");
    let mut found: Vec<(String, &Path)> = Vec::with_capacity(named.len());
    for text in named {
        let (name, dir) = branches::repo::split(text);
        let real = std::fs::canonicalize(dir).ok();
        let own = || real.as_deref().and_then(Path::file_name).and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        let name = name.map_or_else(own, str::to_owned);
        // The first one's is not used.
        if !found.is_empty() && (!places::is_plain_name(&name) || name.starts_with('.')) {
            return Err(wrong(format!("`{}` is no name of a repository", name.escape_debug())));
        }
        if found.iter().skip(1).any(|(known, _)| known.eq_ignore_ascii_case(&name)) {
            return Err(wrong(format!("two repositories are called `{}`", name.escape_debug())));
        }
        found.push((name, dir));
    }
    if found.len() > REPOS_MAX {
        return Err(wrong(format!("at most {REPOS_MAX} repositories are named")));
    }
    Ok(found)
}

impl Drop for Clone {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}
