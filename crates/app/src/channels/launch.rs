//! Starts the program of a channel in a sandbox of its own: no door but the one to its platform's hosts, its own credentials in memory, files
//! that outlive it, and nothing of the host's.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use broker::plugin::{Input, Output, Process, Running};
use model::{Code, EgressRule, Failure, Limits, SandboxId, TreeId};
use sandbox::{Exec, HostMount, Image, Stdio, Tree};
use serde_json::Value;
use store::ChannelRow;
use tokio_util::sync::CancellationToken;
use wire::chat::About;
use zeroize::Zeroizing;

use crate::doors::Occupant;
use crate::plugins::{CREDENTIALS, PluginSandbox, Printed, STATE, Stdin, open_folder, state_tree, tar_of};
use crate::sandboxes::{EGRESS_PORT, proxy_env};
use crate::{App, ImageRef};

/// What the label of a channel's sandbox begins with.
pub(crate) const CHANNEL_LABEL: &str = "channel:";
/// The program beside this one that has the networks that ship.
const PROGRAM: &str = "lazaret-channels";
/// Where it is seen inside.
const INSIDE: &str = "/opt/lazaret/channels";
/// Where somebody else's folder is seen inside, and the program in it.
const FOLDER: &str = "/opt/lazaret/channel";
const FOLDER_PROGRAM: &str = "channel";
/// The largest memory, disk, number of processes and share of a processor of a channel.
const MEMORY_BYTES: u64 = 256 << 20;
const DISK_BYTES: u64 = 512 << 20;
const PIDS: u32 = 64;
const CPU_MILLIS: u32 = 1000;
/// How long a program may think about what it needs.
const ABOUT_WAIT: Duration = Duration::from_secs(120);
/// Bytes of what it says.
const ABOUT_BYTES_MAX: usize = 256 << 10;
/// Hosts and credentials that one network may need, each.
const NEEDS_MAX: usize = 64;

/// The secret that holds a channel's credential.
pub(crate) fn channel_secret(channel: &str, key: &str) -> String {
    format!("channel.{channel}.{key}")
}

/// The tree in which a channel keeps files: always the same one.
pub(crate) fn channel_tree(channel: &str) -> TreeId {
    state_tree(&format!("{CHANNEL_LABEL}{channel}"), None)
}

impl App {
    /// Below which folders other people's programs lie.
    pub(crate) fn channel_programs(&self) -> PathBuf {
        self.home().join("channels")
    }

    /// The hash of somebody else's folder as it is now.
    pub(crate) async fn channel_print(&self, program: &str) -> Result<String, Failure> {
        if !model::is_name(program) {
            return Err(Failure::new(Code::Usage, "a program is named by its folder: small letters, digits and `-`").field("program"));
        }
        let dir = self.channel_programs().join(program);
        let missing = Failure::new(
            Code::NotFound,
            format!("there is no folder `{program}` with a program `{FOLDER_PROGRAM}` in channels/ of the home"),
        )
        .field("program");
        tokio::task::spawn_blocking(move || if dir.join(FOLDER_PROGRAM).is_file() { crate::hash_folder(&dir) } else { Err(missing) })
            .await
            .unwrap_or_else(|e| Err(Failure::new(Code::Internal, e.to_string())))
    }

    /// What the program of a network says that it needs. It runs without any host, credential or file for that.
    pub(crate) async fn channel_about(&self, network: &str, program: Option<&str>) -> Result<About, Failure> {
        let request = self.channel_request(&format!("about {network}"), program, &[])?;
        let mut process = self.channel_process(request, network, "about", program, &[], Vec::new()).await?;
        let mut said = Vec::new();
        let read = async {
            while let Ok(Some(bytes)) = process.output.read().await {
                said.extend_from_slice(&bytes);
                if said.len() > ABOUT_BYTES_MAX {
                    break;
                }
            }
        };
        let _ = tokio::time::timeout(ABOUT_WAIT, read).await;
        process.running.end().await;
        let about: Option<About> = serde_json::from_slice(&said).ok().filter(|_| said.len() <= ABOUT_BYTES_MAX);
        let about = about.filter(|about| about.network == network).ok_or_else(|| {
            let words = process.running.last_words();
            let words: String = words.lines().last().unwrap_or_default().chars().take(200).collect();
            Failure::new(Code::Usage, format!("no program knows the network `{}`: {}", network.escape_debug(), words.escape_debug()))
                .field("network")
        })?;
        check_about(&about)?;
        Ok(about)
    }

    /// Refuses addresses in a configuration that no sandbox may reach: the owner lists this machine's own and private ones by themselves.
    pub(super) fn check_reach(&self, about: &About, config: &serde_json::Map<String, Value>) -> Result<(), Failure> {
        let private_ok = self.settings().private_ok.clone();
        for rule in hosts_of(about, &Value::Object(config.clone()))? {
            let host = if rule.host == "localhost" { "127.0.0.1" } else { rule.host.as_str() };
            let Ok(address) = host.parse::<std::net::IpAddr>() else { continue };
            if gateway::egress::refused_range(address).is_none() || private_ok.contains(&address) {
                continue;
            }
            let listed: Vec<String> = private_ok.iter().chain([&address]).map(|address| format!("\"{address}\"")).collect();
            return Err(Failure::new(
                Code::ConfigInvalid,
                format!("{} is on this machine or a private network, which sandboxes do not reach", rule.host),
            )
            .hint(format!("if that is meant: lazaret config set egress.private_ok '[{}]'", listed.join(", ")))
            .field("config"));
        }
        Ok(())
    }

    /// Starts the program of a channel.
    pub(super) async fn launch_channel(&self, row: &ChannelRow) -> Result<Process, Failure> {
        let about: About = serde_json::from_value(row.about.clone())
            .map_err(|e| Failure::new(Code::StoreUnusable, format!("what the channel needs cannot be read: {e}")))?;
        if let (Some(program), Some(print)) = (&row.program, &row.print)
            && self.channel_print(program).await? != *print
        {
            return Err(Failure::new(Code::PluginInvalid, format!("the program `{program}` changed since the channel was added"))
                .hint(format!("look at it and say yes: lazaret channel set {} --program {program}", row.name)));
        }
        let hosts = hosts_of(&about, &row.config)?;
        let mut held: Vec<(String, Zeroizing<String>)> = Vec::new();
        for credential in &about.credentials {
            match self.secrets().value(&channel_secret(&row.name, &credential.key)) {
                Some(value) => held.push((credential.key.clone(), value)),
                None if credential.required => return Err(missing_credential(&row.name, &credential.key)),
                None => {}
            }
        }
        let mut request = self.channel_request(&row.name, row.program.as_deref(), &hosts)?;
        request.tree = Tree::Kept { id: channel_tree(&row.name) };
        request.files = self.trust_files(&ImageRef::Host { usr_local: false }, &hosts, &[]).await?;
        self.channel_process(request, &row.network, "run", row.program.as_deref(), &hosts, held).await
    }

    fn channel_request(&self, name: &str, program: Option<&str>, hosts: &[EgressRule]) -> Result<sandbox::Request, Failure> {
        let id = SandboxId::from_bits(crate::clock::fresh_bits());
        let mut request = sandbox::Request::new(id, format!("{CHANNEL_LABEL}{name}"));
        let usual = self.settings().limits;
        request.limits = Limits {
            memory_bytes: MEMORY_BYTES.min(usual.memory_bytes),
            cpu_millis: CPU_MILLIS.min(usual.cpu_millis),
            pids: PIDS.min(usual.pids),
            disk_bytes: DISK_BYTES.min(usual.disk_bytes),
            ..usual
        };
        request.image = Image::Host { usr_local: false };
        request.orphan = Duration::ZERO;
        if !hosts.is_empty() {
            request.relays = vec![sandbox::Relay { port: EGRESS_PORT, door: sandbox::Door::Egress }];
        }
        match program {
            Some(program) => {
                let folder = open_folder(&self.channel_programs().join(program))?;
                request.mounts.push(HostMount { fd: folder, target: FOLDER.into(), read_only: true });
            }
            None => {
                let settings = self.settings();
                let own = settings.channels.program.clone().unwrap_or_else(|| self.program().with_file_name(PROGRAM));
                if !own.is_file() {
                    return Err(Failure::new(Code::PathUnusable, format!("there is no program {}", own.display()))
                        .hint("it comes with lazaret and lies beside it; `channels.program` in the configuration names another place"));
                }
                request.extra_ro = vec![(own, INSIDE.into())];
            }
        }
        Ok(request)
    }

    async fn channel_process(
        &self,
        request: sandbox::Request,
        network: &str,
        verb: &str,
        program: Option<&str>,
        hosts: &[EgressRule],
        credentials: Vec<(String, Zeroizing<String>)>,
    ) -> Result<Process, Failure> {
        let (id, limits) = (request.id.clone(), request.limits);
        let watch = crate::audit::EgressAudit::new(self, None, request.label.clone());
        let egress = (!hosts.is_empty()).then(|| self.policy(hosts.to_vec(), Some(Arc::new(watch))));
        self.doors().admit(&id, Occupant { identity: None, tools: None, egress, cancel: CancellationToken::new() });
        let started = self.sandboxes().start(request).await;
        let sandbox = started.map_err(|error| {
            self.doors().dismiss(&id);
            error.failure()
        })?;
        // From here on it ends with this value, whatever happens to the start.
        let running = PluginSandbox { app: self.clone(), sandbox, tail: Arc::default(), is_ended: AtomicBool::new(false) };
        if !credentials.is_empty() {
            let tar = tar_of(&credentials)?;
            running.sandbox.put(CREDENTIALS, tar.as_slice()).await.map_err(|e| e.failure())?;
        }
        let path = if program.is_some() { format!("{FOLDER}/{FOLDER_PROGRAM}") } else { INSIDE.to_owned() };
        let exec = Exec {
            argv: vec![path, verb.to_owned(), network.to_owned()],
            env: self.channel_env(&limits, hosts),
            cwd: STATE.to_owned(),
            stdio: Stdio::Pipes { stdin: true },
            lease: 0,
        };
        let command = running.sandbox.exec(exec).await.map_err(|e| e.failure())?;
        let stdin = command.stdin.ok_or_else(|| Failure::new(Code::SandboxFailed, "the channel has no input"))?;
        let output = Printed { output: command.output, control: command.control, tail: Arc::clone(&running.tail), window: None };
        Ok(Process {
            input: Box::new(Stdin(stdin)) as Box<dyn Input>,
            output: Box::new(output) as Box<dyn Output>,
            running: Box::new(running) as Box<dyn Running>,
        })
    }

    fn channel_env(&self, limits: &Limits, hosts: &[EgressRule]) -> Vec<(String, String)> {
        let mut env = sandbox::base_env(limits);
        let mut set = |name: &str, value: &str| {
            env.retain(|(known, _)| known != name);
            env.push((name.to_owned(), value.to_owned()));
        };
        set("PYTHONDONTWRITEBYTECODE", "1");
        set("PYTHONUNBUFFERED", "1");
        if !hosts.is_empty() {
            for (name, value) in proxy_env().into_iter().chain(self.trust_env(hosts, &[])) {
                set(&name, &value);
            }
        }
        set("LAZARET_CREDENTIALS", CREDENTIALS);
        set("LAZARET_STATE", STATE);
        env
    }
}

/// A credential is not set.
pub(super) fn missing_credential(channel: &str, key: &str) -> Failure {
    Failure::new(Code::KeyMissing, format!("the credential `{key}` of channel {channel} is not set"))
        .hint(format!("lazaret secret set {} -", channel_secret(channel, key)))
        .field(key)
}

/// Refuses what no program of a network needs.
fn check_about(about: &About) -> Result<(), Failure> {
    let wrong = |why: String| Failure::new(Code::PluginInvalid, format!("the program says what it needs in a way that cannot be: {why}"));
    if about.hosts.len().max(about.addresses.len()).max(about.credentials.len()) > NEEDS_MAX {
        return Err(wrong(format!("more than {NEEDS_MAX} hosts, addresses or credentials")));
    }
    for credential in &about.credentials {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
        if credential.key.is_empty() || credential.key.len() > model::NAME_CHARS_MAX || !credential.key.bytes().all(plain) {
            return Err(wrong(format!("`{}` is no name of a credential", credential.key.escape_debug())));
        }
    }
    hosts_of(about, &Value::Null).map(drop)
}

/// The hosts of an account: those of its platform, and the one of a configured base address instead of them where there is one.
fn hosts_of(about: &About, config: &Value) -> Result<Vec<EgressRule>, Failure> {
    let rule = |text: &str| {
        text.parse::<EgressRule>()
            .map_err(|e| Failure::new(Code::ConfigInvalid, format!("a host of the channel is none: {e}")).field("hosts"))
    };
    let mut rules = about.hosts.iter().map(|host| rule(host)).collect::<Result<Vec<_>, _>>()?;
    let words = |key: &str| match &config[key] {
        Value::String(one) => vec![one.clone()],
        Value::Array(many) => many.iter().filter_map(|one| one.as_str().map(str::to_owned)).collect(),
        _ => Vec::new(),
    };
    for key in std::iter::once("base_url").chain(about.addresses.iter().map(String::as_str)) {
        for url in words(key) {
            rules.push(rule(&authority_of(key, &url)?)?);
        }
    }
    for host in words("hosts") {
        rules.push(rule(&host)?);
    }
    if rules.len() > 2 * NEEDS_MAX {
        return Err(Failure::new(Code::ConfigInvalid, "the channel has too many hosts").field("hosts"));
    }
    Ok(rules)
}

/// Host and port of an address.
fn authority_of(key: &str, url: &str) -> Result<String, Failure> {
    let wrong = || Failure::new(Code::ConfigInvalid, format!("`{}` is no address: {key}", url.escape_debug())).field(key);
    let uri: http::Uri = url.parse().map_err(|_| wrong())?;
    let host = uri.host().ok_or_else(wrong)?;
    let usual = match uri.scheme_str() {
        Some("https" | "wss" | "imaps" | "smtps") | None => 443,
        _ => 80,
    };
    Ok(format!("{host}:{}", uri.port_u16().unwrap_or(usual)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_account_reaches_its_platform_and_what_the_owner_named() {
        let about = About { network: "n".into(), hosts: vec!["api.example.org".into()], ..About::default() };
        let texts = |config: Value| hosts_of(&about, &config).map(|rules| rules.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(texts(json!({})).map_err(|f| f.code), Ok(vec!["api.example.org:443".to_owned()]));
        let named = texts(json!({ "base_url": "http://127.0.0.1:8080/x", "hosts": ["files.example.org"] })).expect("rules");
        assert_eq!(named[1..], ["127.0.0.1:8080", "files.example.org:443"]);
        let mail = About { addresses: vec!["imap".into()], ..About::default() };
        let rules = hosts_of(&mail, &json!({ "imap": "mail.example.org:993", "smtp": "mail.example.org:465" })).expect("rules");
        assert_eq!(rules.iter().map(ToString::to_string).collect::<Vec<_>>(), ["mail.example.org:993"]);
        assert!(texts(json!({ "base_url": "::" })).is_err() && texts(json!({ "hosts": ["*"] })).is_err());
    }
}
