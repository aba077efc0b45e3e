//! The configuration file: one TOML file in the home, every key known, every default here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use model::{Code, EgressRule, Failure, Limits, Money, parse_bytes, parse_duration};
use serde::{Deserialize, Serialize};

/// The whole file. Unknown keys are refused.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// The engine of `run` and `shell` when none is named.
    pub(crate) engine: Option<String>,
    /// Where the HTTP API listens when `up` or `start` does not say.
    pub(crate) listen: Option<String>,
    /// The directory of the user's notes, read-only at /home/sandbox/Vault in every session. Absolute.
    pub(crate) vault: Option<PathBuf>,
    /// The model providers, by name.
    pub(crate) providers: BTreeMap<String, gateway::ProviderConfig>,
    pub(crate) limits: LimitTexts,
    pub(crate) sandbox: Sandbox,
    /// Only for the alias `runtime.engine` of `sandbox.backend`.
    pub(crate) runtime: Runtime,
    pub(crate) egress: Egress,
    pub(crate) engines: Engines,
    pub(crate) budget: Budget,
    pub(crate) daemon: Daemon,
    pub(crate) sessions: Sessions,
    pub(crate) approvals: Approvals,
    pub(crate) mounts: Mounts,
    pub(crate) tools: Tools,
    pub(crate) memory: Memory,
    pub(crate) webhooks: crate::config_watch::Webhooks,
    pub(crate) tasks: crate::config_watch::Tasks,
    pub(crate) channels: crate::config_watch::Channels,
    pub(crate) telemetry: crate::config_watch::Telemetry,
    pub(crate) log: crate::config_watch::Log,
    pub(crate) jobs: crate::config_jobs::Jobs,
    pub(crate) git: crate::config_branches::Git,
    pub(crate) branches: crate::config_branches::Branches,
    pub(crate) pool: crate::config_pool::Pool,
    pub(crate) store: crate::config_store::StorePart,
    pub(crate) rate: Rates,
    /// How people log in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) oidc: Option<Oidc>,
    /// The plugins' own tables, by their names: `enabled`, `hosts`, and what each takes besides.
    pub(crate) plugins: BTreeMap<String, toml::Table>,
}

/// Limits as people write them.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LimitTexts {
    pub(crate) memory: Option<String>,
    pub(crate) cpus: Option<f64>,
    pub(crate) pids: Option<u32>,
    pub(crate) disk: Option<String>,
    pub(crate) timeout: Option<String>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Sandbox {
    /// `native`.
    pub(crate) backend: Option<String>,
    /// The first host user id of the reserved range (root only).
    pub(crate) uid_first: Option<u32>,
    /// How many host user ids are reserved (root only).
    pub(crate) uid_count: Option<u32>,
    /// How long a session's sandbox stays up after a turn.
    pub(crate) idle: Option<String>,
    /// The largest size of the disk image that holds the sessions' files (root only).
    pub(crate) disk_image: Option<String>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Runtime {
    pub(crate) engine: Option<String>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Egress {
    /// What sandboxes may be allowed at most.
    pub(crate) max: Vec<EgressRule>,
    /// Private or reserved addresses that names may resolve to all the same.
    pub(crate) private_ok: Vec<std::net::IpAddr>,
    /// Hosts that are looked into even though no rule needs it.
    pub(crate) inspect: Vec<String>,
    /// A PEM file of certificate authorities that hosts may have besides those of this machine. Absolute.
    pub(crate) extra_roots: Option<PathBuf>,
    /// Bytes that one session may move to and from hosts altogether.
    pub(crate) bytes_max: Option<String>,
    /// Requests and tunnels that one session may make altogether.
    pub(crate) requests_max: Option<u64>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Engines {
    /// The package registry that engines are installed from; without it npm's own setting is used.
    pub(crate) registry: Option<String>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Budget {
    /// US dollars that one `run` may cost when `--budget-usd` does not say.
    pub(crate) run_usd: Option<String>,
    /// A price file that replaces the built-in one.
    pub(crate) prices: Option<PathBuf>,
    /// Whether a model without a known price may be used under a budget.
    pub(crate) allow_unknown_price: bool,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Daemon {
    /// How long a daemon that a command started stays without work.
    pub(crate) idle: Option<String>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Sessions {
    /// Turns that run at once; by default 16 for each processor, and one for each 256 MiB of memory at most.
    pub(crate) running_max: Option<usize>,
    /// Turns of one agent that run at once.
    pub(crate) per_agent: Option<usize>,
    /// Turns of one tenant that run at once.
    pub(crate) per_tenant: Option<usize>,
    /// How long an engine's process waits for a further turn.
    pub(crate) engine_idle: Option<String>,
    /// `turn`: every turn can be undone; `off`: none can, and without the disk image sandboxes stay up between turns.
    pub(crate) checkpoints: Option<String>,
    /// Checkpoints that are kept of each session.
    pub(crate) checkpoints_keep: Option<usize>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Approvals {
    /// How long a call waits for a person's yes, and how long a yes can be used: 1s to 24h, by default 5 minutes.
    pub(crate) ttl: Option<String>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Mounts {
    /// Directories below which the API may mount: `[{ path = "/data", read_write = false }]`.
    pub(crate) roots: Vec<app::MountRoot>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Tools {
    /// The index that Python packages are installed from, and after it other hosts that its files come from; without it pip's
    /// own setting is used.
    pub(crate) index: Option<String>,
    /// How often a session may call tools in a minute, in the long run.
    pub(crate) calls_per_minute: Option<u32>,
    /// How many calls of a session are taken at once after a rest.
    pub(crate) calls_burst: Option<u32>,
    /// The same for sessions of agents in a group, by the group's name.
    pub(crate) groups: BTreeMap<String, CallRate>,
}

/// How often sessions of a group may call tools.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CallRate {
    /// In a minute, in the long run.
    pub(crate) calls_per_minute: u32,
    /// At once, after a rest.
    pub(crate) calls_burst: u32,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Memory {
    /// Whether agents remember; true by default.
    pub(crate) enabled: Option<bool>,
    /// The most characters that a session is told of its agent's memory when it begins, 0 to 10000.
    pub(crate) brief_chars: Option<usize>,
    /// How long memories are kept that were superseded, deleted or undone.
    pub(crate) keep: Option<String>,
}

/// Logins by OpenID Connect.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Oidc {
    /// The issuer's address, exactly as it names itself.
    pub(crate) issuer: String,
    /// What the issuer calls this daemon.
    pub(crate) client_id: String,
    /// The name of the stored secret that proves it; none for a public client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) secret: Option<String>,
    /// Where the issuer sends people back to: an address that ends with /v1/login/callback. The daemon's own when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) redirect_url: Option<String>,
    /// The claim that lists groups; `groups` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) groups_claim: Option<String>,
    /// Private addresses at which the issuer may be.
    #[serde(default)]
    pub(crate) private_ok: Vec<std::net::IpAddr>,
    /// Who gets in: `[[oidc.rules]]` with domain, email or group, tenant and role.
    #[serde(default)]
    pub(crate) rules: Vec<app::OidcRule>,
}

/// How often the API may be asked in a minute, in the long run; a tenth of it, and at least 10, at once.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Rates {
    /// With one token.
    pub(crate) token: Option<u32>,
    /// With all tokens of one tenant, where its quota does not say.
    pub(crate) tenant: Option<u32>,
    /// What one address may get wrong without a good token.
    pub(crate) unknown: Option<u32>,
}

/// Where the API listens by default.
pub(crate) const LISTEN_DEFAULT: &str = "127.0.0.1:8420";
/// How many host users are reserved when only the first is set.
const UID_COUNT_DEFAULT: u32 = 65_536;
/// The smallest host user of a sandbox: below are those of people and services.
const UID_MIN: u32 = 65_536;
/// The largest configuration file.
const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// The most turns that may run at once.
const RUNNING_MAX_MAX: usize = 10_000;
/// The most checkpoints that may be kept of a session.
const CHECKPOINTS_KEEP_MAX: usize = 10_000;
/// The longest that an engine may wait.
const ENGINE_IDLE_MAX: std::time::Duration = std::time::Duration::from_secs(86_400);
/// The most roots below which the API may mount.
const MOUNT_ROOTS_MAX: usize = 64;
/// Turns for each processor: agents mostly wait for their models.
const RUNNING_PER_CPU: usize = 16;
/// Memory for each turn: what an engine of the larger kind takes.
const RUNNING_BYTES: u64 = 256 << 20;

/// Turns that run at once on this machine when the file does not say.
fn running_max_default() -> usize {
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let info = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = info.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    let by_memory = total.map_or(usize::MAX, |kib| usize::try_from((kib << 10) / RUNNING_BYTES).unwrap_or(usize::MAX));
    (cpus * RUNNING_PER_CPU).min(by_memory).clamp(4, 256)
}

impl Config {
    /// The file of a home.
    pub(crate) fn path(home: &Path) -> PathBuf {
        home.join("config.toml")
    }

    /// Reads and checks the file; a missing file is the default configuration.
    pub(crate) fn load(home: &Path) -> Result<Self, Failure> {
        let path = Self::path(home);
        match std::fs::metadata(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(invalid(&path, &error.to_string())),
            Ok(meta) if meta.len() > CONFIG_BYTES_MAX => return Err(invalid(&path, "it is larger than 1 MiB")),
            Ok(_) => {}
        }
        let text = std::fs::read_to_string(&path).map_err(|e| invalid(&path, &e.to_string()))?;
        Self::parse(&text).map_err(|why| invalid(&path, &why))
    }

    /// Reads and checks the text of a file.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut config: Self = toml::from_str(text).map_err(|e| e.to_string().trim_end().to_owned())?;
        if let Some(engine) = config.runtime.engine.take() {
            config.sandbox.backend = Some(engine);
        }
        if let Some(backend) = config.sandbox.backend.as_deref()
            && backend != "native"
        {
            return Err(format!("sandbox.backend: `{backend}` is not a backend of this build; `native` is"));
        }
        for (name, provider) in &config.providers {
            check_provider(name, provider)?;
        }
        config.limits()?;
        config.sandbox_config(PathBuf::new(), PathBuf::new(), String::new())?;
        config.idle_daemon()?;
        config.idle_sandbox()?;
        config.run_budget()?;
        config.session_settings()?;
        config.approval_settings()?;
        config.memory_settings()?;
        config.webhook_settings()?;
        config.task_settings()?;
        config.telemetry_settings()?;
        config.job_settings()?;
        config.branch_settings()?;
        config.pool_settings()?;
        config.rate_settings()?;
        config.oidc_settings()?;
        config.check_places()?;
        config.egress_settings()?;
        Ok(config)
    }

    /// Places of the host must be absolute: they mean the same from every directory.
    fn check_places(&self) -> Result<(), String> {
        let absolute = |key: &str, path: &Path| {
            let is_plain = path.is_absolute() && !path.components().any(|c| matches!(c, std::path::Component::ParentDir));
            if is_plain { Ok(()) } else { Err(format!("{key}: `{}` is not an absolute path", path.display())) }
        };
        if let Some(vault) = &self.vault {
            absolute("vault", vault)?;
        }
        if self.mounts.roots.len() > MOUNT_ROOTS_MAX {
            return Err(format!("mounts.roots: there are more than {MOUNT_ROOTS_MAX}"));
        }
        for root in &self.mounts.roots {
            absolute("mounts.roots", &root.path)?;
            if root.path == Path::new("/") {
                return Err("mounts.roots: `/` would allow every path of this machine".to_owned());
            }
        }
        match self.tools.index.as_deref() {
            Some(url) if !url.starts_with("http://") && !url.starts_with("https://") => {
                Err(format!("tools.index: `{url}` does not begin with http:// or https://"))
            }
            _ => Ok(()),
        }
    }

    /// What the owner configured for plugins. Each plugin's manifest says what is right in it.
    pub(crate) fn plugin_tables(&self) -> BTreeMap<String, serde_json::Map<String, serde_json::Value>> {
        let object = |table: &toml::Table| match serde_json::to_value(table) {
            Ok(serde_json::Value::Object(fields)) => fields,
            _ => serde_json::Map::new(),
        };
        self.plugins.iter().map(|(name, table)| (name.clone(), object(table))).collect()
    }

    /// What agents remember.
    pub(crate) fn memory_settings(&self) -> Result<app::MemorySettings, String> {
        let (texts, usual) = (&self.memory, app::MemorySettings::default());
        let brief_chars = texts.brief_chars.unwrap_or(usual.brief_chars);
        if brief_chars > app::MEMORY_BRIEF_CHARS_MAX {
            return Err(format!("memory.brief_chars: {brief_chars} is more than {}", app::MEMORY_BRIEF_CHARS_MAX));
        }
        let keep = texts.keep.as_deref().map_or(Ok(usual.keep), |t| time("memory.keep", t))?;
        Ok(app::MemorySettings { enabled: texts.enabled.unwrap_or(usual.enabled), brief_chars, keep })
    }

    /// How people log in.
    pub(crate) fn oidc_settings(&self) -> Result<Option<app::OidcSettings>, String> {
        let Some(oidc) = &self.oidc else { return Ok(None) };
        let settings = app::OidcSettings {
            issuer: oidc.issuer.clone(),
            client_id: oidc.client_id.clone(),
            secret: oidc.secret.clone(),
            redirect_url: oidc.redirect_url.clone(),
            groups_claim: oidc.groups_claim.clone().unwrap_or_else(|| "groups".to_owned()),
            rules: oidc.rules.clone(),
            private_ok: oidc.private_ok.clone(),
        };
        settings.check()?;
        Ok(Some(settings))
    }

    /// How often the API may be asked.
    pub(crate) fn rate_settings(&self) -> Result<app::RateSettings, String> {
        let usual = app::RateSettings::default();
        let rate = |key: &str, asked: Option<u32>, usual: app::Rate| match asked {
            None => Ok(usual),
            Some(0) => Err(format!("rate.{key}: at least one request in a minute must be allowed")),
            Some(n) => Ok(app::Rate { per_minute: n, burst: (n / 10).max(10) }),
        };
        Ok(app::RateSettings {
            token: rate("token", self.rate.token, usual.token)?,
            tenant: rate("tenant", self.rate.tenant, usual.tenant)?,
            unknown: rate("unknown", self.rate.unknown, usual.unknown)?,
        })
    }

    /// What is said of the egress proxy beside the rules.
    pub(crate) fn egress_settings(&self) -> Result<app::EgressSettings, String> {
        let (texts, usual) = (&self.egress, app::EgressSettings::default());
        let host = |host: &String| model::canonical_host(host).map_err(|why| format!("egress.inspect: `{}`: {why}", host.escape_debug()));
        let bytes_max = texts.bytes_max.as_deref().map_or(Ok(usual.bytes_max), |t| size("egress.bytes_max", t))?;
        if texts.extra_roots.as_ref().is_some_and(|path| !path.is_absolute()) {
            return Err("egress.extra_roots: it is not an absolute path".to_owned());
        }
        Ok(app::EgressSettings {
            inspect: texts.inspect.iter().map(host).collect::<Result<_, _>>()?,
            extra_roots: texts.extra_roots.clone(),
            bytes_max,
            requests_max: texts.requests_max.unwrap_or(usual.requests_max),
        })
    }

    /// How many turns run, and what is kept of them.
    pub(crate) fn session_settings(&self) -> Result<app::SessionSettings, String> {
        let (texts, usual) = (&self.sessions, app::SessionSettings::default());
        let number = |key: &str, value: Option<usize>, usual: usize, max: usize| match value {
            None => Ok(usual),
            Some(n) if (1..=max).contains(&n) => Ok(n),
            Some(n) => Err(format!("sessions.{key}: {n} is not between 1 and {max}")),
        };
        let running_max = number("running_max", texts.running_max, running_max_default(), RUNNING_MAX_MAX)?;
        let engine_idle = texts.engine_idle.as_deref().map_or(Ok(usual.engine_idle), |t| time("sessions.engine_idle", t))?;
        if engine_idle > ENGINE_IDLE_MAX {
            return Err("sessions.engine_idle: it is more than a day".to_owned());
        }
        let checkpoints = match texts.checkpoints.as_deref() {
            None => usual.checkpoints,
            Some("turn") => true,
            Some("off") => false,
            Some(other) => return Err(format!("sessions.checkpoints: `{other}` is neither `turn` nor `off`")),
        };
        Ok(app::SessionSettings {
            running_max,
            agent_running_max: number("per_agent", texts.per_agent, running_max, RUNNING_MAX_MAX)?,
            tenant_running_max: number("per_tenant", texts.per_tenant, running_max, RUNNING_MAX_MAX)?,
            engine_idle,
            checkpoints,
            checkpoints_keep: number("checkpoints_keep", texts.checkpoints_keep, usual.checkpoints_keep, CHECKPOINTS_KEEP_MAX)?,
        })
    }

    /// How long people are asked.
    pub(crate) fn approval_settings(&self) -> Result<app::ApprovalSettings, String> {
        let ttl = self.approvals.ttl.as_deref().map_or(Ok(app::APPROVAL_TTL_DEFAULT), |t| time("approvals.ttl", t))?;
        if ttl < std::time::Duration::from_secs(1) || ttl > app::APPROVAL_TTL_MAX {
            return Err("approvals.ttl: it is not from 1s to 24h".to_owned());
        }
        Ok(app::ApprovalSettings { ttl })
    }

    /// How often sessions may call tools.
    pub(crate) fn call_rates(&self) -> app::CallRates {
        let usual = app::CallRate::default();
        let tools = &self.tools;
        let usual = app::CallRate {
            per_minute: tools.calls_per_minute.unwrap_or(usual.per_minute),
            burst: tools.calls_burst.unwrap_or(usual.burst),
        };
        let of = |rate: &CallRate| app::CallRate { per_minute: rate.calls_per_minute, burst: rate.calls_burst };
        app::CallRates { usual, groups: tools.groups.iter().map(|(group, rate)| (group.clone(), of(rate))).collect() }
    }

    /// The limits of a sandbox when the command does not say.
    pub(crate) fn limits(&self) -> Result<Limits, String> {
        let mut limits = Limits::default();
        let texts = &self.limits;
        if let Some(text) = &texts.memory {
            limits.memory_bytes = size("limits.memory", text)?;
        }
        if let Some(cpus) = texts.cpus {
            limits.cpu_millis = cpu_millis(cpus).ok_or_else(|| format!("limits.cpus: `{cpus}` is not between 0.01 and 1024"))?;
        }
        if let Some(pids) = texts.pids {
            limits.pids = pids;
        }
        if let Some(text) = &texts.disk {
            limits.disk_bytes = size("limits.disk", text)?;
        }
        if let Some(text) = &texts.timeout {
            limits.time = time("limits.timeout", text)?;
        }
        Ok(limits)
    }

    /// The same with every default written out.
    pub(crate) fn in_force(&self) -> Result<Self, Failure> {
        let wrong = |why| Failure::new(Code::ConfigInvalid, why);
        let limits = self.limits().map_err(wrong)?;
        let seconds = |d: std::time::Duration| format!("{}s", d.as_secs());
        let mut all = self.clone();
        all.engine.get_or_insert_with(|| "mini".to_owned());
        all.listen.get_or_insert_with(|| LISTEN_DEFAULT.to_owned());
        for known in gateway::WELL_KNOWN {
            let provider = all.providers.entry(known.name.to_owned()).or_default();
            provider.kind.get_or_insert(known.kind);
            provider.base_url.get_or_insert_with(|| known.base_url.to_owned());
        }
        all.limits = LimitTexts {
            memory: Some(limits.memory_bytes.to_string()),
            cpus: Some(f64::from(limits.cpu_millis) / 1000.0),
            pids: Some(limits.pids),
            disk: Some(limits.disk_bytes.to_string()),
            timeout: Some(seconds(limits.time)),
        };
        let sandbox = self.sandbox_config(std::path::PathBuf::new(), std::path::PathBuf::new(), String::new()).map_err(wrong)?;
        all.sandbox.backend.get_or_insert_with(|| "native".to_owned());
        all.sandbox.uid_first = Some(sandbox.uid_range.0);
        all.sandbox.uid_count = Some(sandbox.uid_range.1 - sandbox.uid_range.0 + 1);
        all.sandbox.idle = Some(seconds(self.idle_sandbox().map_err(wrong)?));
        all.sandbox.disk_image = Some(sandbox.disk_image_bytes.to_string());
        all.daemon.idle = Some(seconds(self.idle_daemon().map_err(wrong)?));
        all.approvals.ttl = Some(seconds(self.approval_settings().map_err(wrong)?.ttl));
        let calls = self.call_rates().usual;
        (all.tools.calls_per_minute, all.tools.calls_burst) = (Some(calls.per_minute), Some(calls.burst));
        let egress = self.egress_settings().map_err(wrong)?;
        all.egress.bytes_max = Some(egress.bytes_max.to_string());
        all.egress.requests_max = Some(egress.requests_max);
        let sessions = self.session_settings().map_err(wrong)?;
        all.sessions = Sessions {
            running_max: Some(sessions.running_max),
            per_agent: Some(sessions.agent_running_max),
            per_tenant: Some(sessions.tenant_running_max),
            engine_idle: Some(seconds(sessions.engine_idle)),
            checkpoints: Some(if sessions.checkpoints { "turn" } else { "off" }.to_owned()),
            checkpoints_keep: Some(sessions.checkpoints_keep),
        };
        let rates = self.rate_settings().map_err(wrong)?;
        all.rate =
            Rates { token: Some(rates.token.per_minute), tenant: Some(rates.tenant.per_minute), unknown: Some(rates.unknown.per_minute) };
        let pool = self.pool_settings().map_err(wrong)?;
        all.pool = crate::config_pool::Pool {
            size: Some(pool.size as u64),
            tenant_size: Some(pool.tenant_size as u64),
            check: Some(seconds(pool.check)),
            idle: Some(seconds(pool.idle)),
        };
        let memory = self.memory_settings().map_err(wrong)?;
        all.memory = Memory { enabled: Some(memory.enabled), brief_chars: Some(memory.brief_chars), keep: Some(seconds(memory.keep)) };
        Ok(all)
    }

    /// What sandboxes are made with.
    pub(crate) fn sandbox_config(&self, home: PathBuf, guest: PathBuf, install: String) -> Result<sandbox::Config, String> {
        let mut made = sandbox::Config::new(home, guest, install);
        if self.sandbox.uid_first.is_some() || self.sandbox.uid_count.is_some() {
            let first = self.sandbox.uid_first.unwrap_or(made.uid_range.0);
            let count = self.sandbox.uid_count.unwrap_or(UID_COUNT_DEFAULT);
            let last = first.checked_add(count.max(1) - 1).filter(|last| first >= UID_MIN && *last < u32::MAX);
            made.uid_range = (first, last.ok_or("sandbox.uid_first: the range is not between 65536 and 4294967294")?);
        }
        if let Some(text) = &self.sandbox.disk_image {
            made.disk_image_bytes = size("sandbox.disk_image", text)?;
        }
        Ok(made)
    }

    /// How long a daemon on demand lives without work: 5 minutes.
    pub(crate) fn idle_daemon(&self) -> Result<std::time::Duration, String> {
        self.daemon.idle.as_deref().map_or(Ok(std::time::Duration::from_secs(300)), |t| time("daemon.idle", t))
    }

    /// How long a session's sandbox stays up after a turn: 1 minute.
    pub(crate) fn idle_sandbox(&self) -> Result<std::time::Duration, String> {
        self.sandbox.idle.as_deref().map_or(Ok(std::time::Duration::from_secs(60)), |t| time("sandbox.idle", t))
    }

    /// The budget of one run, if the file sets one.
    pub(crate) fn run_budget(&self) -> Result<Option<Money>, String> {
        self.budget.run_usd.as_deref().map(|t| t.parse().map_err(|e| format!("budget.run_usd: {e}"))).transpose()
    }
}

fn check_provider(name: &str, provider: &gateway::ProviderConfig) -> Result<(), String> {
    let plain = !name.is_empty() && name.len() <= 64 && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !plain || name == gateway::REHEARSAL {
        return Err(format!("providers.{name}: a name has lower-case letters, digits and hyphens, and is not `rehearsal`"));
    }
    match provider.base_url.as_deref() {
        Some(url) if !url.starts_with("http://") && !url.starts_with("https://") => {
            Err(format!("providers.{name}.base_url: `{url}` does not begin with http:// or https://"))
        }
        None if !gateway::WELL_KNOWN.iter().any(|known| known.name == name) => Err(format!("providers.{name}.base_url: say where it is")),
        _ => Ok(()),
    }
}

/// Processors as people write them (`1`, `0.5`) in thousandths.
pub(crate) fn cpu_millis(cpus: f64) -> Option<u32> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to lie between 10 and 1024000")]
    (0.01..=1024.0).contains(&cpus).then(|| (cpus * 1000.0).round() as u32)
}

fn size(key: &str, text: &str) -> Result<u64, String> {
    parse_bytes(text).ok_or_else(|| format!("{key}: `{text}` is not a size like 512m or 2g"))
}

fn time(key: &str, text: &str) -> Result<std::time::Duration, String> {
    parse_duration(text).ok_or_else(|| format!("{key}: `{text}` is not a time like 90s, 15m or 1h"))
}

fn invalid(path: &Path, why: &str) -> Failure {
    Failure::new(Code::ConfigInvalid, format!("the configuration {} is wrong: {why}", path.display()))
        .hint("`lazaret config show` lists every key; `lazaret config path` names the file")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unknown_or_wrong_is_refused_with_its_key() {
        assert!(Config::parse("").is_ok());
        assert!(Config::parse("runtime.engine = \"native\"").is_ok());
        for (text, named) in [
            ("colour = 1", "colour"),
            ("[limits]\nmemory = \"lots\"", "limits.memory"),
            ("[limits]\ncpus = 0.0", "limits.cpus"),
            ("[sandbox]\nbackend = \"magic\"", "sandbox.backend"),
            ("[providers.local]\nkind = \"openai\"", "providers.local.base_url"),
            ("[providers.anthropic]\nbase_url = \"file:///etc\"", "providers.anthropic.base_url"),
            ("[egress]\nmax = [\"*.example.com\"]", "*.example.com"),
            ("[egress]\ninspect = [\"*.example.com\"]", "egress.inspect"),
            ("[egress]\nextra_roots = \"roots.pem\"", "egress.extra_roots"),
            ("[egress]\nbytes_max = \"lots\"", "egress.bytes_max"),
            ("[egress]\nrequests_max = -1", "requests_max"),
            ("[budget]\nrun_usd = \"-1\"", "budget.run_usd"),
            ("[sessions]\nrunning_max = 0", "sessions.running_max"),
            ("[sessions]\nper_agent = 10001", "sessions.per_agent"),
            ("[sessions]\nper_tenant = -1", "per_tenant"),
            ("[sessions]\nengine_idle = \"soon\"", "sessions.engine_idle"),
            ("[sessions]\nengine_idle = \"2d\"", "sessions.engine_idle"),
            ("[sessions]\ncheckpoints = \"hour\"", "sessions.checkpoints"),
            ("[sessions]\ncheckpoints_keep = 0", "sessions.checkpoints_keep"),
            ("vault = \"notes\"", "vault"),
            ("vault = \"/home/../etc\"", "vault"),
            ("[mounts]\nroots = [{ path = \"data\" }]", "mounts.roots"),
            ("[mounts]\nroots = [{ path = \"/\" }]", "mounts.roots"),
            ("[mounts]\nroots = [{ path = \"/data\", writable = true }]", "writable"),
            ("[memory]\nbrief_chars = 10001", "memory.brief_chars"),
            ("[rate]\ntoken = 0", "rate.token"),
            ("[oidc]\nissuer = \"x\"\nclient_id = \"c\"", "oidc.issuer"),
            ("[oidc]\nissuer = \"https://x.org\"\nclient_id = \"c\"\nrules = [{ tenant = \"a\", role = \"owner\" }]", "oidc.rules"),
            ("[approvals]\nttl = \"25h\"", "approvals.ttl"),
            ("[memory]\nkeep = \"long\"", "memory.keep"),
            ("[tools]\nindex = \"file:///srv\"", "tools.index"),
        ] {
            let why = Config::parse(text).expect_err(text);
            assert!(why.contains(named), "{text}: {why}");
        }
    }

    #[test]
    fn sessions_have_places_and_checkpoints() {
        let text = "vault = \"/notes\"\n[sessions]\nrunning_max = 7\nper_agent = 2\nengine_idle = \"0s\"\ncheckpoints = \"off\"\n[mounts]\nroots = [{ path = \"/data\", read_write = true }, { path = \"/books\" }]";
        let config = Config::parse(text).expect("a configuration");
        let sessions = config.session_settings().expect("settings");
        assert_eq!((sessions.running_max, sessions.agent_running_max, sessions.tenant_running_max), (7, 2, 7));
        assert!(sessions.engine_idle.is_zero() && !sessions.checkpoints && sessions.checkpoints_keep > 0);
        assert_eq!(config.mounts.roots.iter().map(|r| r.read_write).collect::<Vec<_>>(), [true, false]);
        let shown = Config::default().in_force().expect("defaults");
        assert_eq!(shown.sessions.checkpoints.as_deref(), Some("turn"));
        assert!(shown.sessions.running_max.is_some_and(|n| (4..=256).contains(&n)));
        let text =
            toml::to_string(&Config::parse(text).and_then(|c| c.in_force().map_err(|f| f.message)).expect("in force")).expect("TOML");
        assert!(Config::parse(&text).is_ok(), "what is shown can be written: {text}");
    }
}
