//! Clones a repository that anybody may have made.
//!
//! git runs in a sandbox that reaches the repository's host and nothing else, without a configuration, a credential or a
//! terminal. No working tree is made, so there is nothing that a hook, a filter, a link or a submodule could act on: one
//! archive of the commit comes out, and is unpacked like any other.

use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::{Code, EgressRule, Failure};
use rustix::fs::{Mode, OFlags};
use sandbox::{Exec, Exit, Piece, Sandbox, Stdio};

use super::install::{PluginInstalled, PluginInstalls, PluginOrder};
use crate::App;
use crate::sandboxes::EGRESS_PORT;

/// How long a clone may take.
const CLONE_TIME: Duration = Duration::from_secs(60);
/// How much disk it may use.
const CLONE_DISK_BYTES: u64 = 512 << 20;
/// How much of what git says is shown when it fails.
const COMPLAINT_BYTES_MAX: usize = 2 << 10;
/// The longest address.
const ADDRESS_CHARS_MAX: usize = 400;
/// What the label of the sandbox is.
const LABEL: &str = "plugin-clone";
/// Where the archive is, inside.
const PACKED: &str = "/workspace/plugin.tar";
/// Clones the repository `$1`, at the branch or tag `$2` if there is one, and packs its last commit.
const SCRIPT: &str = "set -eu
url=$1; ref=$2
if [ -n \"$ref\" ]; then set -- --branch \"$ref\"; else set --; fi
git clone --quiet --bare --depth 1 --single-branch --no-tags \"$@\" -- \"$url\" /workspace/repository >&2
cd /workspace/repository
git archive --format=tar --output=/workspace/plugin.tar HEAD >&2
git rev-parse HEAD";
/// Settings of git that no repository changes: nothing is run, no link is made, only these protocols are spoken.
const SETTINGS: &[(&str, &str)] = &[
    ("core.hooksPath", "/dev/null"),
    ("core.symlinks", "false"),
    ("core.fsmonitor", "false"),
    ("core.attributesFile", "/dev/null"),
    ("core.sshCommand", "/bin/false"),
    ("core.askPass", "/bin/false"),
    ("credential.helper", ""),
    ("submodule.recurse", "false"),
    ("fetch.fsckObjects", "true"),
    ("transfer.fsckObjects", "true"),
    ("uploadpack.packObjectsHook", ""),
    ("protocol.allow", "never"),
    ("protocol.http.allow", "always"),
    ("protocol.https.allow", "always"),
];

/// A repository and what of it is wanted: `https://HOST/PATH[#BRANCH]`.
#[derive(Debug, PartialEq, Eq)]
struct Address {
    url: String,
    host: EgressRule,
    branch: String,
}

impl Address {
    fn read(text: &str) -> Result<Self, Failure> {
        let wrong = |why: &str| {
            let shown: String = text.chars().take(120).collect();
            Err(Failure::new(Code::Usage, format!("`{}` {why}", shown.escape_debug())).field("source"))
        };
        let plain = text.strip_prefix("git+").unwrap_or(text);
        let (url, branch) = plain.split_once('#').unwrap_or((plain, ""));
        if plain.len() > ADDRESS_CHARS_MAX || !plain.bytes().all(|b| b.is_ascii_graphic()) {
            return wrong("is not a plain address");
        }
        let named = |b: u8| b.is_ascii_alphanumeric() || b"._/-".contains(&b);
        if branch.starts_with(['-', '.', '/']) || branch.contains("..") || !branch.bytes().all(named) {
            return wrong("does not name a branch or tag after the #");
        }
        let (rest, port) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
            (Some(rest), _) => (rest, 443),
            (None, Some(rest)) => (rest, 80),
            (None, None) => return wrong("is not an https:// or http:// address of a git repository"),
        };
        let authority = rest.split(['/', '?']).next().unwrap_or(rest);
        if authority.contains('@') {
            return wrong("holds a name or a password: give the files instead, from a clone of your own");
        }
        let with_port = if authority.contains(':') { authority.to_owned() } else { format!("{authority}:{port}") };
        let Ok(host) = with_port.parse::<EgressRule>() else { return wrong("does not name a host") };
        Ok(Self { url: url.to_owned(), host, branch: branch.to_owned() })
    }
}

/// The name that a plugin gets from where it comes: the last part of the path.
#[must_use]
pub fn plugin_name_of(source: &str) -> Option<String> {
    let path = source.split('#').next().unwrap_or(source).trim_end_matches('/');
    let last = path.rsplit(['/', ':']).next()?;
    let stem = [".git", ".tar.gz", ".tgz", ".tar"].iter().find_map(|end| last.strip_suffix(end)).unwrap_or(last);
    let stem = stem.strip_prefix("lazaret-plugin-").unwrap_or(stem);
    model::name_of(stem)
}

impl PluginInstalls<'_> {
    /// Puts the plugin of a git repository in place.
    ///
    /// # Errors
    /// The repository cannot be had, or what is in it is refused. Nothing changes then.
    pub async fn install_git(&self, mut order: PluginOrder) -> Result<PluginInstalled, Failure> {
        let (archive, source) = self.app.cloned(&order.source).await?;
        order.source = source;
        self.put(order, archive).await
    }
}

impl App {
    /// Clones a repository in a sandbox. Gives an archive of its last commit, and how the source is written from now on.
    ///
    /// # Errors
    /// The address is none, or the repository cannot be had.
    pub(crate) async fn cloned(&self, source: &str) -> Result<(std::fs::File, String), Failure> {
        let address = Address::read(source)?;
        let scratch = Scratch::make(&self.home().join("run"))?;
        let commit = self.clone_into(&address, &scratch.0).await?;
        tracing::info!(url = address.url, commit, "a repository was cloned");
        let archive = scratch.open("plugin.tar")?;
        Ok((archive, format!("git+{}{}{}", address.url, if address.branch.is_empty() { "" } else { "#" }, address.branch)))
    }

    async fn clone_into(&self, address: &Address, into: &Path) -> Result<String, Failure> {
        let mut helper = self.helper();
        let mut request = helper.request(LABEL);
        request.limits.disk_bytes = CLONE_DISK_BYTES;
        helper.writes(&mut request);
        helper.reaches(vec![address.host.clone()], &mut request);
        let sandbox = helper.start(request).await?;
        let work = tokio::time::timeout(CLONE_TIME, run(&sandbox, address, into)).await;
        helper.close().await;
        work.unwrap_or_else(|_| Err(Failure::new(Code::Timeout, format!("the repository was not cloned in {} s", CLONE_TIME.as_secs()))))
    }
}

/// Runs git inside, and takes the archive out. Gives the commit.
async fn run(sandbox: &Sandbox, address: &Address, into: &Path) -> Result<String, Failure> {
    let words = ["/bin/sh", "-c", SCRIPT, "sh", &address.url, &address.branch];
    let exec = Exec {
        argv: words.map(str::to_owned).into(),
        env: environment(),
        cwd: "/workspace".to_owned(),
        stdio: Stdio::Pipes { stdin: false },
        lease: 0,
    };
    let mut command = sandbox.exec(exec).await.map_err(|e| e.failure())?;
    let (mut commit, mut words): (Vec<u8>, Vec<u8>) = (Vec::new(), Vec::new());
    let exit: Exit = loop {
        let piece = command.output.next().await.map_err(|e| e.failure())?;
        let piece = piece.ok_or_else(|| Failure::new(Code::SandboxFailed, "git ended without an end"))?;
        command.control.ack(piece.number);
        let (kept, bytes) = match piece.piece {
            Piece::Exited(exit) => break exit,
            Piece::Stdout(bytes) => (&mut commit, bytes),
            Piece::Stderr(bytes) => (&mut words, bytes),
        };
        kept.extend_from_slice(&bytes);
        let over = kept.len().saturating_sub(COMPLAINT_BYTES_MAX);
        kept.drain(..over);
    };
    if exit.code != Some(0) {
        let said: String = String::from_utf8_lossy(&words).chars().filter(|c| !c.is_control() || *c == '\n').collect();
        return Err(Failure::new(Code::NotFound, format!("the repository could not be cloned: {}", said.trim()))
            .hint("check the address and the network; private addresses need egress.private_ok; git must be installed in /usr/bin")
            .field("source"));
    }
    let dir = std::fs::File::open(into).map_err(|e| unheld(&e))?;
    sandbox.copy_out(PACKED, dir.into()).await.map_err(|e| e.failure())?;
    Ok(String::from_utf8_lossy(&commit).chars().filter(char::is_ascii_hexdigit).take(64).collect())
}

/// What git sees: nothing of the machine's configuration, and one way out.
fn environment() -> Vec<(String, String)> {
    let proxy = format!("http://127.0.0.1:{EGRESS_PORT}");
    let mut env = sandbox::base_env(&model::Limits::default());
    let fixed = [
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_ATTR_NOSYSTEM", "1"),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("GIT_ALLOW_PROTOCOL", "https:http"),
        ("GIT_LFS_SKIP_SMUDGE", "1"),
        ("https_proxy", proxy.as_str()),
        ("http_proxy", proxy.as_str()),
    ];
    env.extend(fixed.map(|(name, value)| (name.to_owned(), value.to_owned())));
    env.push(("GIT_CONFIG_COUNT".to_owned(), SETTINGS.len().to_string()));
    for (n, (key, value)) in SETTINGS.iter().enumerate() {
        env.push((format!("GIT_CONFIG_KEY_{n}"), (*key).to_owned()));
        env.push((format!("GIT_CONFIG_VALUE_{n}"), (*value).to_owned()));
    }
    env
}

fn unheld(error: &std::io::Error) -> Failure {
    Failure::new(Code::HomeUnsafe, format!("the repository cannot be held in the home: {error}")).hint("free some space in the home")
}

/// A directory that goes with this.
struct Scratch(PathBuf);

impl Scratch {
    fn make(run: &Path) -> Result<Self, Failure> {
        let dir = run.join(format!("held-{:032x}", crate::clock::fresh_bits()));
        std::fs::DirBuilder::new().mode(0o700).create(&dir).map_err(|e| unheld(&e))?;
        Ok(Self(dir))
    }

    /// Opens a plain file in it.
    fn open(&self, name: &str) -> Result<std::fs::File, Failure> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file: OwnedFd = rustix::fs::open(self.0.join(name), flags, Mode::empty()).map_err(|e| unheld(&e.into()))?;
        let file = std::fs::File::from(file);
        let meta = file.metadata().map_err(|e| unheld(&e))?;
        if meta.is_file() { Ok(file) } else { Err(Failure::new(Code::PluginInvalid, "what was cloned is no archive")) }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "a clone was not removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_one_host() {
        let read = |text: &str| Address::read(text).map(|a| (a.url, a.host.to_string(), a.branch)).ok();
        let got = |url: &str, host: &str, branch: &str| Some((url.to_owned(), host.to_owned(), branch.to_owned()));
        assert_eq!(read("https://git.example/a/b.git"), got("https://git.example/a/b.git", "git.example:443", ""));
        assert_eq!(read("git+http://127.0.0.1:8080/x#v1.2"), got("http://127.0.0.1:8080/x", "127.0.0.1:8080", "v1.2"));
        for bad in [
            "", "ssh://git@host/x", "git@host:x", "/etc", "file:///etc", "ext::sh -c id", "https://user:pass@host/x",
            "https://host/x#--upload-pack=id", "https://host/x#a..b", "https:///x", "https://ho st/x", "https://[::1]/x",
            "-https://host/x",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_plugin_is_named_by_where_it_comes_from() {
        for (source, name) in [
            ("https://host/a/Notes.git", Some("notes")),
            ("https://host/lazaret-plugin-mail/#v2", Some("mail")),
            ("./my_plugin.tar.gz", Some("my-plugin")),
            ("git@host:x/y.git", Some("y")),
            ("/", None),
        ] {
            assert_eq!(plugin_name_of(source).as_deref(), name, "{source}");
        }
    }
}
