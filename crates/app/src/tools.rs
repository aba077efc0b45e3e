//! Tools volumes: programs and libraries that sandboxes see read-only. The install's is at `/opt/lazaret-tools` in every sandbox,
//! an agent's own beside it in that agent's.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::{Code, EgressRule, Failure, Timestamp};
use sandbox::{Exec, Piece, Sandbox, Stdio};
use serde::{Deserialize, Serialize};

use crate::inside::Held;
use crate::sandboxes::EGRESS_PORT;
use crate::volume::{Source, Volume, Wanted, unusable};
use crate::{App, Caller, FetchOrder};

/// Where it is seen inside.
pub const TOOLS_DIR: &str = "/opt/lazaret-tools";

/// A package that was installed.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ToolView {
    /// As it was asked for: `NAME` (PyPI), `npm:NAME` or `file:NAME`.
    pub name: String,
    /// The version, where there is one.
    pub version: String,
    /// Programs in `bin/` that it brought.
    pub programs: Vec<String>,
    /// When it was installed.
    pub installed: Timestamp,
}

/// A tools volume of an [`App`].
pub struct ToolsOf<'a> {
    app: &'a App,
    /// The agent that it is of; the install's, which every sandbox sees, when `None`.
    agent: Option<String>,
}

/// The largest file that is installed as a program.
pub const TOOL_FILE_BYTES_MAX: u64 = 512 << 20;
/// How much disk an installation may use while it is made.
const INSTALL_DISK_BYTES: u64 = 8 << 30;
/// How long an installation may take.
const INSTALL_TIME: Duration = Duration::from_secs(900);
/// How much of what an installer says is shown when it fails.
const COMPLAINT_BYTES_MAX: usize = 2 << 10;
/// Where an installer puts the package, inside.
const PACKED: &str = "/workspace/package";
/// Where this program is seen inside, which leads the installer to its registry.
const FETCHER: &str = "/opt/lazaret/fetch";

impl ToolsOf<'_> {
    /// Installs `NAME[==VERSION]` from PyPI or `npm:NAME[@VERSION]`, in a sandbox of its own, and swaps it in at once. No
    /// script of a package is run.
    ///
    /// # Errors
    /// The name is none, or the package cannot be had; nothing changes then.
    pub async fn install(&self, name: &str) -> Result<ToolView, Failure> {
        let wanted = Wanted::read(name)?;
        let finder = match wanted.source {
            Source::Pypi => self.app.settings().tools_index.clone(),
            Source::Npm => self.app.settings().registry.clone(),
            Source::File => return Err(Failure::new(Code::Usage, "send the file itself").hint("lazaret tools install file:PATH")),
        };
        let index = Index::read(&finder.find().await.ok_or_else(|| no_index(wanted.source))?, wanted.source)?;
        let _one = self.app.tools_lock().lock().await;
        let volume = self.volume().await?;
        let fresh = volume.fresh()?;
        self.fetch(&wanted, &index, &fresh.dir).await?;
        volume.put(fresh, &wanted)
    }

    /// Installs a file that the caller sends, as a program of this name.
    ///
    /// # Errors
    /// The name is none, or the file is too large.
    pub async fn install_file(&self, name: &str, bytes: impl tokio::io::AsyncRead + Send + Unpin) -> Result<ToolView, Failure> {
        let name = name.strip_prefix("file:").unwrap_or(name);
        let wanted = Wanted::read(&format!("file:{name}"))?;
        let held = Held::take(self.app, bytes, TOOL_FILE_BYTES_MAX).await?;
        let _one = self.app.tools_lock().lock().await;
        let volume = self.volume().await?;
        let fresh = volume.fresh()?;
        let (dir, program) = (fresh.dir.join("bin"), wanted.name.clone());
        let written = tokio::task::spawn_blocking(move || {
            std::fs::create_dir(&dir)?;
            let mut from = held.file;
            let mut into = std::fs::File::create_new(dir.join(program))?;
            std::io::copy(&mut from, &mut into)?;
            into.set_permissions(std::fs::Permissions::from_mode(0o755))?;
            into.sync_all()
        });
        written.await.map_err(std::io::Error::other).flatten().map_err(|e| unusable("write the file", &e))?;
        volume.put(fresh, &wanted)
    }

    /// What is installed; what the owner put there by hand is not in it.
    ///
    /// # Errors
    /// The volume cannot be read.
    pub async fn list(&self) -> Result<Vec<ToolView>, Failure> {
        self.volume().await?.list()
    }

    /// Removes a package.
    ///
    /// # Errors
    /// There is none of this name.
    pub async fn remove(&self, name: &str) -> Result<(), Failure> {
        let wanted = Wanted::read(name)?;
        let _one = self.app.tools_lock().lock().await;
        self.volume().await?.remove(&wanted)
    }

    async fn volume(&self) -> Result<Volume, Failure> {
        match &self.agent {
            Some(agent) => self.app.layer_of(agent).await,
            None => self.app.volume(),
        }
    }

    /// What would be fetched, as a person is told before: each package's name, version, and the hosts that it comes from.
    pub(crate) async fn foretold(&self, names: &[String]) -> Vec<String> {
        // To find an index may take a while: once for each.
        let mut known: Vec<(Source, String)> = Vec::new();
        let mut told = Vec::new();
        for name in names {
            let Ok(wanted) = Wanted::read(name) else {
                told.push(format!("{name}, which is not the name of a package"));
                continue;
            };
            let from = match known.iter().find(|(source, _)| *source == wanted.source) {
                Some((_, from)) => from.clone(),
                None => {
                    let from = self.hosts_of(wanted.source).await.unwrap_or_else(|failure| format!("nowhere: {}", failure.message));
                    known.push((wanted.source, from.clone()));
                    from
                }
            };
            let version = wanted.version.as_deref().unwrap_or("(its newest version)");
            let world = if wanted.source == Source::Npm { "npm" } else { "PyPI" };
            told.push(format!("{} {version} of {world} from {from}", wanted.shown()));
        }
        told
    }

    /// The hosts of an index; not its address, which may hold a password.
    async fn hosts_of(&self, source: Source) -> Result<String, Failure> {
        let settings = self.app.settings();
        let finder = if source == Source::Npm { settings.registry.clone() } else { settings.tools_index.clone() };
        let text = finder.find().await.ok_or_else(|| no_index(source))?;
        let hosts: Vec<String> = Index::read(&text, source)
            .map_err(|failure| Failure::new(failure.code, "the index has no usable address"))?
            .hosts
            .iter()
            .map(ToString::to_string)
            .collect();
        Ok(hosts.join(", "))
    }

    /// Lets the installer of the package's own world fetch it, in a sandbox that reaches its registry alone, and takes what
    /// it made into `dir`.
    async fn fetch(&self, wanted: &Wanted, index: &Index, dir: &Path) -> Result<(), Failure> {
        let mut helper = self.app.helper();
        let mut request = helper.request(format!("{TOOL_LABEL}{}", wanted.key().chars().take(32).collect::<String>()));
        request.limits.disk_bytes = INSTALL_DISK_BYTES;
        request.extra_ro = vec![(self.app.program().to_owned(), PathBuf::from(FETCHER))];
        helper.writes(&mut request);
        helper.reaches(index.hosts.clone(), &mut request);
        let sandbox = helper.start(request).await?;
        let done = self.run_installer(&sandbox, wanted, index, dir).await;
        helper.close().await;
        done
    }

    async fn run_installer(&self, sandbox: &Sandbox, wanted: &Wanted, index: &Index, dir: &Path) -> Result<(), Failure> {
        let order = FetchOrder {
            registry: index.url.clone(),
            proxy_port: EGRESS_PORT,
            into: PACKED.to_owned(),
            files: Vec::new(),
            command: wanted.installer(index),
        };
        let order = serde_json::to_vec(&order).map_err(|e| Failure::new(Code::Internal, e.to_string()))?;
        let exec = Exec {
            argv: vec![FETCHER.to_owned(), "fetch".to_owned()],
            env: installer_env(),
            cwd: "/workspace".to_owned(),
            stdio: Stdio::Pipes { stdin: true },
            lease: 0,
        };
        let mut command = sandbox.exec(exec).await.map_err(|e| e.failure())?;
        if let Some(mut stdin) = command.stdin.take() {
            stdin.write(&order).await.map_err(|e| e.failure())?;
        }
        let ended = tokio::time::timeout(INSTALL_TIME, last_words(command)).await;
        let (exit, words) = ended.map_err(|_| Failure::new(Code::Timeout, "the installation took too long"))??;
        if exit.code != Some(0) {
            let what = format!("{} could not be installed: {words}", wanted.shown());
            return Err(Failure::new(Code::NotFound, what)
                .hint(format!("check the name, {} and the network; private addresses need egress.private_ok", wanted.source.key()))
                .field("name"));
        }
        let into = std::fs::File::open(dir).map_err(|e| unusable("open its directory", &e))?;
        sandbox.copy_out(PACKED, into.into()).await.map_err(|e| e.failure())?;
        // What came over lies one directory deeper.
        let packed = dir.join("package");
        for entry in std::fs::read_dir(&packed).map_err(|e| unusable("read the package", &e))? {
            let entry = entry.map_err(|e| unusable("read the package", &e))?;
            std::fs::rename(entry.path(), dir.join(entry.file_name())).map_err(|e| unusable("take the package over", &e))?;
        }
        std::fs::remove_dir(&packed).map_err(|e| unusable("take the package over", &e))
    }
}

/// What the label of an installer's sandbox begins with.
const TOOL_LABEL: &str = "tool:";

/// How an installer ended, and the end of what it said.
async fn last_words(mut command: sandbox::Command) -> Result<(sandbox::Exit, String), Failure> {
    let mut words: Vec<u8> = Vec::new();
    loop {
        let Some(piece) = command.output.next().await.map_err(|e| e.failure())? else {
            return Err(Failure::new(Code::SandboxFailed, "the installer ended without an end"));
        };
        command.control.ack(piece.number);
        match piece.piece {
            Piece::Exited(exit) => {
                let text = String::from_utf8_lossy(&words).chars().filter(|c| !c.is_control() || *c == '\n').collect::<String>();
                return Ok((exit, text.trim().to_owned()));
            }
            Piece::Stdout(bytes) | Piece::Stderr(bytes) => {
                words.extend_from_slice(&bytes);
                let over = words.len().saturating_sub(COMPLAINT_BYTES_MAX);
                words.drain(..over);
            }
        }
    }
}

fn installer_env() -> Vec<(String, String)> {
    let mut env = sandbox::base_env(&model::Limits::default());
    // The machine's own authorities, as they are seen inside.
    for (name, value) in [("PIP_CERT", CERTIFICATES), ("NODE_EXTRA_CA_CERTS", CERTIFICATES), ("PYTHONDONTWRITEBYTECODE", "1")] {
        env.push((name.to_owned(), value.to_owned()));
    }
    env
}

/// Where certificate authorities are inside.
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Where packages come from, and the hosts that an installer may reach for them.
#[derive(Debug)]
struct Index {
    url: String,
    host: String,
    hosts: Vec<EgressRule>,
}

impl Index {
    /// Reads `URL [HOST[:PORT] ...]`: the index, and hosts that files come from besides its own.
    fn read(text: &str, source: Source) -> Result<Self, Failure> {
        let key = source.key();
        let wrong = |what: &str| Failure::new(Code::ConfigInvalid, format!("{key}: `{what}` is not an http or https address")).field(key);
        let mut words = text.split_whitespace();
        let url = words.next().unwrap_or_default().trim_end_matches('/');
        let (rest, port) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
            (Some(rest), _) => (rest, 443),
            (None, Some(rest)) => (rest, 80),
            (None, None) => return Err(wrong(url)),
        };
        let authority = rest.split('/').next().unwrap_or(rest);
        let rule = |host: &str, port: u16| -> Result<EgressRule, Failure> {
            let with_port = if host.contains(':') { host.to_owned() } else { format!("{host}:{port}") };
            with_port.parse().map_err(|_| wrong(host))
        };
        let mut hosts = vec![rule(authority, port)?];
        for host in words {
            hosts.push(rule(host, 443)?);
        }
        let host = authority.split(':').next().unwrap_or(authority).to_owned();
        Ok(Self { url: url.to_owned(), host, hosts })
    }
}

fn no_index(source: Source) -> Failure {
    let key = source.key();
    Failure::new(Code::ConfigInvalid, "no package registry is configured").hint(format!("set it: lazaret config set {key} URL")).field(key)
}

impl Wanted {
    /// The installer's command line.
    fn installer(&self, index: &Index) -> Vec<String> {
        let text = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        let into = format!("{PACKED}/{}", if self.source == Source::Npm { "npm" } else { "python" });
        match self.source {
            Source::Npm => {
                let package = self.version.as_ref().map_or_else(|| self.name.clone(), |version| format!("{}@{version}", self.name));
                let mut argv = text(&["npm", "install", "--global", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier"]);
                argv.extend(text(&["--loglevel", "error", "--registry", &format!("{}/", index.url), "--prefix", &into, "--", &package]));
                argv
            }
            Source::Pypi | Source::File => {
                let package = self.version.as_ref().map_or_else(|| self.name.clone(), |version| format!("{}=={version}", self.name));
                let mut argv = text(&["python3", "-m", "pip", "--isolated", "install", "--target", &into, "--only-binary=:all:"]);
                argv.extend(text(&["--no-cache-dir", "--no-compile", "--no-input", "--disable-pip-version-check", "--quiet"]));
                argv.extend(text(&["--cert", CERTIFICATES, "--index-url", &index.url]));
                if index.url.starts_with("http://") {
                    argv.extend(text(&["--trusted-host", &index.host]));
                }
                argv.push(package);
                argv
            }
        }
    }
}

impl App {
    /// The tools that an agent has for itself; without one, those that every sandbox sees.
    ///
    /// # Errors
    /// `NOT_FOUND` when there is no such agent, or it is not lent to the caller's tenant.
    pub async fn tools_for(&self, caller: &Caller, agent: Option<String>) -> Result<ToolsOf<'_>, Failure> {
        if let Some(name) = &agent
            && !self.agents().show(name).await?.is_lent(caller.makes_for())
        {
            return Err(store::StoreError::NotFound { what: "agent", id: name.clone() }.failure());
        }
        Ok(ToolsOf { app: self, agent })
    }

    /// The tools that an agent has for itself.
    pub(crate) fn tools_of_agent(&self, agent: &str) -> ToolsOf<'_> {
        ToolsOf { app: self, agent: Some(agent.to_owned()) }
    }

    /// What every session's sandbox sees of the tools: host path and path inside. Made when it is not there.
    pub(crate) fn tools_mounts(&self) -> Result<Vec<(PathBuf, PathBuf)>, Failure> {
        Ok(vec![(self.volume()?.dir().to_owned(), PathBuf::from(TOOLS_DIR))])
    }

    /// Removes what a killed installation, or the removal of an agent, left.
    pub(crate) async fn sweep_tools(&self) {
        let _one = self.tools_lock().lock().await;
        if let Err(failure) = self.volume().and_then(|volume| volume.sweep()) {
            tracing::warn!(%failure, "the tools volume was not swept");
        }
        if let Err(failure) = self.sweep_layers().await {
            tracing::warn!(%failure, "the tools of agents were not swept");
        }
    }

    fn volume(&self) -> Result<Volume, Failure> {
        Volume::open(self.home().join("tools"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_names_the_hosts_that_may_be_reached() {
        let read = |text: &str| Index::read(text, Source::Pypi).map(|i| (i.url, i.host, i.hosts.len()));
        assert_eq!(read("https://index.example/simple/"), Ok(("https://index.example/simple".into(), "index.example".into(), 1)));
        assert_eq!(read("http://127.0.0.1:88/a files.example"), Ok(("http://127.0.0.1:88/a".into(), "127.0.0.1".into(), 2)));
        for bad in ["", "ftp://x", "https://*.example", "index.example"] {
            assert_eq!(read(bad).map_err(|f| f.code), Err(Code::ConfigInvalid), "{bad}");
        }
    }

    #[test]
    fn a_name_is_never_an_option_of_the_installer() {
        let index = Index::read("http://127.0.0.1:88/simple", Source::Pypi).expect("an address");
        let argv = Wanted::read("pytool==1.0").expect("a name").installer(&index);
        assert_eq!(argv.last().map(String::as_str), Some("pytool==1.0"));
        assert!(argv.windows(2).any(|w| w == ["--trusted-host", "127.0.0.1"]) && argv.contains(&"--only-binary=:all:".to_owned()));
        let argv = Wanted::read("npm:@scope/tool@2").expect("a name").installer(&index);
        assert_eq!(argv[argv.len() - 2..], ["--", "@scope/tool@2"]);
        assert!(argv.contains(&"--ignore-scripts".to_owned()));
    }
}
