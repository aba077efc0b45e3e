//! What jobs work on: files that come with them, and repositories.

use std::path::{Path, PathBuf};
use std::time::Duration;

use model::{Code, Failure};
use sandbox::{HostMount, Sandbox};
use store::{JobBlob, JobBody};
use tokio_util::io::SyncIoBridge;

use super::desk::unkept;
use super::hooks::Ran;
use crate::turn::{HOME, Running};
use crate::{App, SessionSpec};

/// Where a repository of the host is seen inside, read-only.
const HOST_REPO: &str = "/home/sandbox/.lazaret-repo";
/// How long cloning may take; the turn's own limit may end it sooner.
const CLONE_TIME_MAX: Duration = Duration::from_secs(30 * 60);
/// Bytes of the files' archive on their way into the sandbox.
const PIPE_BYTES: usize = 256 << 10;
/// Clones beside the working directory and moves what came into it: what is cut short leaves nothing there, and it may
/// run again.
const CLONE: &str = "#!/bin/sh
set -eu
command -v git >/dev/null || { echo 'there is no git in this image'; exit 1; }
base=\"$HOME/.lazaret/clone\"
rm -rf \"$base\"
mkdir -p \"$base\"
printf '[safe]\\n\\tdirectory = *\\n' > \"$base/config\"
export GIT_CONFIG_GLOBAL=\"$base/config\" GIT_CONFIG_NOSYSTEM=1 GIT_TERMINAL_PROMPT=0
export GIT_ALLOW_PROTOCOL=file:http:https
git clone --quiet -- \"$JOB_REPO\" \"$base/tree\"
if [ -n \"$JOB_REF\" ]; then
    cd \"$base/tree\"
    if ! git checkout --quiet \"$JOB_REF\" -- 2>/dev/null; then
        git fetch --quiet origin \"$JOB_REF\"
        git checkout --quiet FETCH_HEAD
    fi
    cd - >/dev/null
fi
cp -a \"$base/tree/.\" .
rm -rf \"$base\"
";

/// Whether a repository is named by an address, not by a path of this machine.
pub(crate) fn is_address(repo: &str) -> bool {
    repo.contains("://") || (repo.contains(':') && !repo.starts_with('/'))
}

impl App {
    /// A repository of this machine, where the configuration lists it or a directory above it.
    pub(crate) fn open_repo(&self, repo: &str) -> Result<PathBuf, Failure> {
        let refuse = || {
            Failure::new(Code::Forbidden, "repo: this path lies below no directory that the configuration lists")
                .hint("add its directory to `repos` under [jobs] in the configuration, or name an address")
                .field("repo")
        };
        let path = Path::new(repo);
        if !path.is_absolute() {
            return Err(Failure::new(Code::Usage, "repo: a path on the server is absolute").field("repo"));
        }
        let settings = self.settings();
        // Where nothing is listed, nothing is said of what is there.
        if settings.jobs.repos.is_empty() {
            return Err(refuse());
        }
        let real = std::fs::canonicalize(path).map_err(|_| refuse())?;
        let is_listed = |root: &PathBuf| std::fs::canonicalize(root).is_ok_and(|root| real.starts_with(root));
        if settings.jobs.repos.iter().any(is_listed) { Ok(real) } else { Err(refuse()) }
    }

    /// The repository of the host that a session's job works on, to be seen read-only inside.
    pub(crate) fn repo_of_job(&self, spec: &SessionSpec) -> Result<Option<HostMount>, Failure> {
        let Some(repo) = spec.job.as_ref().and_then(|job| job.repo.as_ref()).filter(|repo| !is_address(&repo.from)) else {
            return Ok(None);
        };
        let real = self.open_repo(&repo.from)?;
        let fail = |why: String| Failure::new(Code::PathUnusable, format!("repo: {} cannot be opened: {why}", repo.from)).field("repo");
        if let Some(why) = crate::refused_place(&real, self.home()) {
            return Err(fail(why));
        }
        let fd = crate::mounts::open_real(&real, Path::new("/")).map_err(fail)?;
        Ok(Some(HostMount { fd, target: HOST_REPO.into(), read_only: true }))
    }
}

impl Running<'_> {
    /// Puts what a job works on into the working directory, before its first turn: its repository, then its files.
    pub(crate) async fn bring_sources(&self, sandbox: &Sandbox) -> Result<(), Failure> {
        let Some(job) = self.live.spec.job.as_ref().filter(|_| self.turn.n == 1) else { return Ok(()) };
        if let Some(repo) = &job.repo {
            let from = if is_address(&repo.from) { repo.from.clone() } else { format!("file://{HOST_REPO}") };
            let names = [("JOB_REPO", from), ("JOB_REF", repo.reference.clone().unwrap_or_default()), ("HOME", HOME.to_owned())];
            let left = self.live.spec.limits.time.saturating_sub(self.started.elapsed());
            let failed = |why: &str| Failure::new(Code::EngineFailed, format!("the repository cannot be cloned: {why}")).field("repo");
            match self.script(sandbox, "clone", CLONE, &names, CLONE_TIME_MAX.min(left)).await? {
                Ran::Exited { status: 0, .. } => {}
                Ran::Exited { output, .. } => return Err(failed(output.lines().last().unwrap_or("git says nothing"))),
                Ran::Late(_) => return Err(Failure::new(Code::Timeout, "the repository was not cloned in time")),
                Ran::Cancelled => return Err(Failure::new(Code::Cancelled, "cancelled")),
            }
        }
        let files = self.app.store().job_blobs(&job.id, "file").await.map_err(|e| e.failure())?;
        if files.is_empty() {
            return Ok(());
        }
        // What another daemon accepted is brought here.
        for file in &files {
            if let JobBody::Kept(hash) = &file.body {
                self.app.open_kept(hash).await?;
            }
        }
        let blobs = self.app.desk_of_jobs().blobs.clone();
        let (reader, writer) = tokio::io::duplex(PIPE_BYTES);
        let packing = tokio::task::spawn_blocking(move || pack(&blobs, files, SyncIoBridge::new(writer)));
        let put = sandbox.put(&self.live.spec.workdir, reader).await.map(drop).map_err(|e| e.failure());
        // An archive that breaks off is the reason, not what is said of it inside.
        match packing.await.map_err(|e| Failure::new(Code::Internal, e.to_string()))? {
            Err(failure) if put.is_ok() || failure.code != Code::Internal => Err(failure),
            _ => put,
        }
    }
}

/// Writes the files of a job as one archive.
fn pack(blobs: &store::Blobs, files: Vec<JobBlob>, into: impl std::io::Write) -> Result<(), Failure> {
    let broken = |e: std::io::Error| Failure::new(Code::Internal, format!("the files of the job cannot be packed: {e}"));
    let mut tar = tar::Builder::new(into);
    for file in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(file.bytes);
        match file.body {
            JobBody::Inline(bytes) => tar.append_data(&mut header, &file.path, bytes.as_slice()).map_err(broken)?,
            JobBody::Kept(hash) => {
                let kept = blobs.open_blob(&hash).map_err(|e| unkept(&e))?;
                tar.append_data(&mut header, &file.path, kept).map_err(broken)?;
            }
            JobBody::Unread => {}
        }
    }
    let mut into = tar.into_inner().map_err(broken)?;
    into.flush().map_err(broken)
}
