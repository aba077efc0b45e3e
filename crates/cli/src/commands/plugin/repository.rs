//! Repositories that the user's own git reaches: over ssh with the user's agent, or on this machine.
//!
//! No working tree is made and no setting of anybody but these counts, so a hostile repository finds nothing that it could
//! let git run: one archive of the commit comes out, and the daemon unpacks it like any other.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use model::{Code, Failure};
use tokio::io::AsyncReadExt;
use tokio::process::Command;

use crate::home::random_hex;

/// How long a clone may take.
const CLONE_TIME: Duration = Duration::from_secs(60);
/// How much of what git says is shown.
const COMPLAINT_BYTES_MAX: u64 = 2 << 10;
/// Settings that win over every file.
const SETTINGS: &[&str] = &[
    "core.hooksPath=/dev/null", "core.symlinks=false", "core.fsmonitor=false", "core.attributesFile=/dev/null", "core.askPass=/bin/false",
    "core.alternateRefsCommand=/bin/false", "credential.helper=", "submodule.recurse=false", "fetch.fsckObjects=true",
    "transfer.fsckObjects=true", "protocol.allow=never", "protocol.ssh.allow=always", "protocol.file.allow=always",
];

/// Whether a source is such a repository.
pub(super) fn is_one(source: &str) -> bool {
    // USER@HOST:PATH, unless there is a file of that name.
    let scp = source.split_once(':').is_some_and(|(host, path)| host.contains('@') && !host.contains('/') && !path.is_empty());
    source.starts_with("ssh://") || source.starts_with("file://") || (scp && !Path::new(source).exists())
}

/// Clones `URL[#BRANCH]` and packs its last commit.
pub(super) async fn archive(source: &str) -> Result<Vec<u8>, Failure> {
    let (url, branch) = source.split_once('#').unwrap_or((source, ""));
    let plain = url.len() < 1024 && url.bytes().all(|b| b.is_ascii_graphic()) && !url.starts_with('-');
    // A host that begins with a hyphen would be an option of ssh.
    let host = url.strip_prefix("ssh://").unwrap_or(url);
    let host = host.split_once('@').map_or(host, |(_, host)| host);
    if !plain
        || host.starts_with('-')
        || branch.starts_with('-')
        || !branch.bytes().all(|b| b.is_ascii_alphanumeric() || b"._/-".contains(&b))
    {
        return Err(Failure::new(Code::Usage, "the address of the repository is not a plain one").field("source"));
    }
    let scratch = Scratch::make()?;
    let at = scratch.0.join("repository");
    let mut clone = vec!["clone", "--quiet", "--bare", "--depth", "1", "--single-branch", "--no-tags", "--no-local", "--template="];
    if !branch.is_empty() {
        clone.extend(["--branch", branch]);
    }
    let at_text = at.to_string_lossy().into_owned();
    clone.extend(["--", url, &at_text]);
    git(&scratch.0, &clone).await?;
    let packed = scratch.0.join("plugin.tar");
    let output = format!("--output={}", packed.display());
    git(&at, &["archive", "--format=tar", &output, "HEAD"]).await?;
    let unread = |e: std::io::Error| Failure::new(Code::PathUnusable, format!("the clone cannot be read: {e}"));
    let mut bytes = Vec::new();
    let file = tokio::fs::File::open(&packed).await.map_err(unread)?;
    file.take(app::PLUGIN_BYTES_MAX + 1).read_to_end(&mut bytes).await.map_err(unread)?;
    if bytes.len() as u64 > app::PLUGIN_BYTES_MAX {
        return Err(Failure::new(Code::PluginInvalid, "the repository is larger than a plugin may be"));
    }
    Ok(bytes)
}

/// Runs git with nothing but these settings. Its environment is the user's, for the way to an ssh agent, without what would
/// change what git does.
async fn git(dir: &Path, words: &[&str]) -> Result<(), Failure> {
    let mut command = Command::new("git");
    for setting in SETTINGS {
        command.args(["-c", setting]);
    }
    let home = dir.to_owned();
    command.args(words).current_dir(dir).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    for name in [
        "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_EXEC_PATH", "GIT_SSH", "GIT_SSH_COMMAND", "GIT_PROXY_COMMAND",
        "GIT_CONFIG_COUNT", "GIT_CONFIG_PARAMETERS", "GIT_EXTERNAL_DIFF", "GIT_TRACE", "GIT_TEMPLATE_DIR",
        "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_OBJECT_DIRECTORY",
    ] {
        command.env_remove(name);
    }
    command.envs([
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_ATTR_NOSYSTEM", "1"),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("GIT_ALLOW_PROTOCOL", "ssh:file"),
        ("GIT_LFS_SKIP_SMUDGE", "1"),
        ("GIT_SSH_VARIANT", "ssh"),
        ("GIT_SSH_COMMAND", "ssh -o BatchMode=yes"),
    ]);
    command.env("XDG_CONFIG_HOME", home);
    let run = async {
        let mut child =
            command.spawn().map_err(|e| Failure::new(Code::PathUnusable, format!("git cannot be run: {e}")).hint("install git"))?;
        let mut words = String::new();
        if let Some(stderr) = child.stderr.take() {
            let mut said = Vec::new();
            let _ = stderr.take(COMPLAINT_BYTES_MAX).read_to_end(&mut said).await;
            words = String::from_utf8_lossy(&said).into_owned();
        }
        let status = child.wait().await.map_err(|e| Failure::new(Code::Internal, e.to_string()))?;
        if status.success() {
            return Ok(());
        }
        Err(Failure::new(Code::NotFound, format!("the repository could not be cloned: {}", words.trim())).field("source"))
    };
    let late = || Failure::new(Code::Timeout, format!("git was not done in {} s", CLONE_TIME.as_secs()));
    tokio::time::timeout(CLONE_TIME, run).await.unwrap_or_else(|_| Err(late()))
}

/// A directory that goes with this.
struct Scratch(std::path::PathBuf);

impl Scratch {
    fn make() -> Result<Self, Failure> {
        use std::os::unix::fs::DirBuilderExt;
        let dir = std::path::PathBuf::from(format!("/tmp/lazaret-clone-{}", random_hex::<16>()?));
        let made = std::fs::DirBuilder::new().mode(0o700).create(&dir);
        made.map_err(|e| Failure::new(Code::PathUnusable, format!("{} cannot be made: {e}", dir.display())))?;
        Ok(Self(dir))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            crate::out::note(&format!("{} was not removed: {error}", self.0.display()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_is_told_from_a_path() {
        for source in ["ssh://git@host/x", "git@host:a/b.git", "file:///srv/x.git"] {
            assert!(is_one(source), "{source}");
        }
        for source in ["./x", "x.tar", "https://host/x", "/a:b", "dir/a@b:c"] {
            assert!(!is_one(source), "{source}");
        }
    }

    #[tokio::test]
    async fn options_are_no_addresses() {
        for source in ["ssh://-oProxyCommand=id/x", "git@-oProxyCommand=id:x", "file:///x#--upload-pack=id", "ssh://host/a b"] {
            assert_eq!(archive(source).await.map_err(|f| f.code), Err(Code::Usage), "{source}");
        }
    }
}
