//! Puts the parts together. The only place that knows everyone.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use app::{App, Opening, RegistryFinder, Settings, ShippedPlugin};
use model::{Code, Failure};
use store::{KeySource, Secrets};
use zeroize::Zeroizing;

use crate::client::internal;
use crate::commands::config::set;
use crate::config::Config;
use crate::env::Env;
use crate::home::Home;

/// Opens everything that the daemon has. The caller holds the home's lock.
pub(crate) async fn open(home: &Home, env: &Env) -> Result<App, Failure> {
    let config = Config::load(home.path())?;
    let store = config.open_store(home.path())?;
    let source = key_source(env.passphrase_file.as_deref())?;
    let secrets = Secrets::open(&store, home.path(), source).await.map_err(|e| e.failure())?;
    let sandbox = sandbox_config(home, &config)?;
    let program = std::env::current_exe().map_err(|e| internal(&format!("this program has no path: {e}")))?;
    let (home_dir, path) = (home.path().to_owned(), env.path.clone());
    let reload = Box::new(move || settings(&Config::load(&home_dir)?, &path));
    let file = Config::path(home.path());
    let configure = Box::new(move |keys: &[(String, Option<String>)]| set(&file, keys));
    let shipped = plugins::SHIPPED.iter().map(|p| ShippedPlugin { name: p.name, manifest: p.manifest, skills: p.skills }).collect();
    App::open(Opening { home: home.path().to_owned(), program, store, secrets: Arc::new(secrets), sandbox, reload, configure, shipped })
        .await
}

/// What sandboxes of a home are made with.
pub(crate) fn sandbox_config(home: &Home, config: &Config) -> Result<sandbox::Config, Failure> {
    config.sandbox_config(home.path().to_owned(), home.guest()?, home.install.clone()).map_err(|why| Failure::new(Code::ConfigInvalid, why))
}

fn settings(config: &Config, path: &str) -> Result<Settings, Failure> {
    let wrong = |why| Failure::new(Code::ConfigInvalid, why);
    let unpriced = if config.budget.allow_unknown_price { gateway::Unpriced::Allow } else { gateway::Unpriced::Deny };
    let gateway = gateway::Config {
        providers: config.providers.clone(),
        prices: config.budget.prices.clone(),
        unpriced,
        ..gateway::Config::default()
    };
    Ok(Settings {
        engine: config.engine.clone(),
        gateway,
        egress_max: config.egress.max.clone(),
        private_ok: config.egress.private_ok.clone(),
        egress: config.egress_settings().map_err(wrong)?,
        registry: registry(config.engines.registry.clone(), path.to_owned()),
        tools_index: python_index(config.tools.index.clone(), path.to_owned()),
        sandbox_idle: config.idle_sandbox().map_err(wrong)?,
        budget: config.run_budget().map_err(wrong)?,
        limits: config.limits().map_err(wrong)?,
        sessions: config.session_settings().map_err(wrong)?,
        approvals: config.approval_settings().map_err(wrong)?,
        calls: config.call_rates(),
        mount_roots: config.mounts.roots.clone(),
        vault: config.vault.clone(),
        plugins: config.plugin_tables(),
        memory: config.memory_settings().map_err(wrong)?,
        webhooks: config.webhook_settings().map_err(wrong)?,
        tasks: config.task_settings().map_err(wrong)?,
        channels: config.channel_settings().map_err(wrong)?,
        telemetry: config.telemetry_settings().map_err(wrong)?,
        jobs: config.job_settings().map_err(wrong)?,
        branches: config.branch_settings().map_err(wrong)?,
        pool: config.pool_settings().map_err(wrong)?,
        rates: config.rate_settings().map_err(wrong)?,
        oidc: config.oidc_settings().map_err(wrong)?,
    })
}

/// The configured registry, else the machine's.
fn registry(configured: Option<String>, path: String) -> RegistryFinder {
    RegistryFinder::new(move || configured.clone().or_else(|| npm_registry(&path)))
}

/// The registry that npm on this machine uses, when there is an npm and nothing else was said.
fn npm_registry(path: &str) -> Option<String> {
    let text = answer_of(path, "npm", &["config", "get", "registry"])?;
    let url = text.trim();
    url.starts_with("http").then(|| url.to_owned())
}

/// The configured index of Python packages, else the machine's.
fn python_index(configured: Option<String>, path: String) -> RegistryFinder {
    RegistryFinder::new(move || configured.clone().or_else(|| pip_index(&path)))
}

/// The index that pip on this machine uses: one that somebody chose, else its own, with the host that its files come from.
fn pip_index(path: &str) -> Option<String> {
    let text = answer_of(path, "pip3", &["config", "list"]).or_else(|| answer_of(path, "pip", &["config", "list"]));
    let chosen =
        text.as_deref().and_then(|t| t.lines().find_map(|line| line.split_once('=').filter(|(key, _)| key.ends_with(".index-url"))));
    let text = match chosen {
        Some((_, value)) => value.trim().trim_matches(['\'', '"']).to_owned(),
        None => answer_of(path, "python3", &["-I", "-c", PIP_OWN])?,
    };
    text.starts_with("http").then(|| text.trim().to_owned())
}

/// Asks pip where it looks when nobody says.
const PIP_OWN: &str = "from pip._internal.models.index import PyPI as p; print(p.simple_url, p.file_storage_domain)";

/// What a program of this machine prints when it succeeds.
fn answer_of(path: &str, program: &str, args: &[&str]) -> Option<String> {
    let program = path.split(':').map(|dir| PathBuf::from(dir).join(program)).find(|program| program.is_file())?;
    let out = std::process::Command::new(program).args(args).current_dir("/").output().ok()?;
    out.status.success().then(|| String::from_utf8(out.stdout).ok()).flatten()
}

/// The longest passphrase.
const PASSPHRASE_BYTES_MAX: u64 = 4096;

pub(crate) fn key_source(file: Option<&Path>) -> Result<KeySource, Failure> {
    use std::io::Read;
    let Some(file) = file else { return Ok(KeySource::File) };
    let fail = |why: String| Failure::new(Code::HomeUnsafe, format!("the passphrase file {} cannot be used: {why}", file.display()));
    let mut text = Zeroizing::new(String::new());
    let open = std::fs::File::open(file).map_err(|e| fail(e.to_string()))?;
    open.take(PASSPHRASE_BYTES_MAX).read_to_string(&mut text).map_err(|e| fail(e.to_string()))?;
    let passphrase = Zeroizing::new(text.trim_end_matches(['\n', '\r']).to_owned());
    if passphrase.is_empty() { Err(fail("it is empty".to_owned())) } else { Ok(KeySource::Passphrase(passphrase)) }
}
