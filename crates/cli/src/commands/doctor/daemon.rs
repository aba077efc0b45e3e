//! What only the daemon knows: the store, plugins and their credentials, providers.

use std::time::Duration;

use http::Method;
use model::{Code, Failure};
use serde_json::{Value, json};

use super::{Check, Context};
use crate::client::Client;
use crate::config::Config;
use crate::home::Home;

/// How long a provider may take to be connected to.
const CONNECT_WAIT: Duration = Duration::from_secs(5);

const DAY_MS: u64 = 86_400_000;
/// Days before its end from which the authority of the egress proxy is warned of.
const AUTHORITY_WARN_DAYS: u64 = 30;
const AUTHORITY_FIX: &str = "check the clock of this machine; if it is right, make a new home and import its sessions";

/// Asks the daemon, if one is up or `live` says so; else looks at the store itself.
pub(super) async fn checks(context: &Context, home: &Home, config: &Config, live: bool) -> Result<Vec<Check>, Failure> {
    let client = Client::new(home, live && context.may_start);
    if !live && !client.is_up().await {
        let mut checks = vec![Check::pass("daemon", "none is up"), database(context, home).await];
        if std::fs::read_dir(home.path().join("plugins")).is_ok_and(|mut entries| entries.next().is_some()) {
            checks.push(Check::warn("plugins", "not looked at: no daemon is up", "run: lazaret start, then lazaret doctor again"));
        }
        return Ok(checks);
    }
    let status: Value = match client.json(Method::GET, "/v1/status", None).await {
        Ok(status) => status,
        Err(failure) => return Ok(vec![Check::of("daemon", &failure)]),
    };
    let detail = format!("version {}, process {}", status["version"].as_str().unwrap_or("?"), status["pid"]);
    let mut checks = vec![Check::pass("daemon", detail), Check::pass("store", "open")];
    checks.push(keys(&status));
    checks.extend(egress_authority(&status));
    checks.extend(plugins(&client, live).await);
    checks.extend(logins(&client).await);
    checks.extend(notices(&client).await);
    if live {
        checks.extend(providers(config, &status).await);
    }
    Ok(checks)
}

/// Chat networks, what they are owed, tasks that stopped and people who wait: nothing of it is wrong with the host, so each warns.
async fn notices(client: &Client) -> Vec<Check> {
    let all = crate::commands::lifecycle::notices(client).await;
    let check = |notice: app::Notice| match notice.about.as_str() {
        "login" => Check::fail(notice.about, notice.detail, notice.fix),
        _ => Check::warn(notice.about, notice.detail, notice.fix),
    };
    all.into_iter().map(check).collect()
}

/// Opens the store as the daemon would, while there is none.
async fn database(context: &Context, home: &Home) -> Check {
    let path = home.path().join("lazaret.db");
    let config = match crate::config::Config::load(home.path()) {
        Ok(config) => config,
        Err(failure) => return Check::of("store", &failure),
    };
    if !path.exists() && config.store.url.is_none() {
        return Check::pass("store", "none yet; it is made with the first start");
    }
    let Ok(Some(_lock)) = home.lock() else { return Check::warn("store", "another process has it open", "run it again in a moment") };
    let opened = async {
        let store = config.open_store(home.path())?;
        let source = crate::compose::key_source(context.env.passphrase_file.as_deref())?;
        store::Secrets::open(&store, home.path(), source).await.map_err(|e| e.failure()).map(drop)
    };
    match opened.await {
        Ok(()) => Check::pass("store", "whole, of this version, and its secrets can be read"),
        Err(failure) => Check::of("store", &failure),
    }
}

fn keys(status: &Value) -> Check {
    let names: Vec<&str> = status["providers"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if names.is_empty() {
        let fix = "run: lazaret secret set anthropic -   (or openai, gemini)";
        return Check::warn("providers", "no provider has a key, so only rehearsals run", fix);
    }
    Check::pass("providers", format!("keys for {}", names.join(", ")))
}

/// Whether sandboxes take the certificates for good with which hosts are looked into, and for how long.
fn egress_authority(status: &Value) -> Option<Check> {
    let at = |key: &str| status["authority"][key].as_u64();
    let (from, until, now) = (at("from")?, at("until")?, at("now")?);
    let label = "egress authority";
    let days = until.saturating_sub(now) / DAY_MS;
    Some(if now < from {
        Check::fail(label, "this machine's clock is before its first day", "set the clock of this machine")
    } else if now >= until {
        Check::fail(label, "it has expired: sandboxes refuse every host that is looked into", AUTHORITY_FIX)
    } else if days < AUTHORITY_WARN_DAYS {
        Check::warn(label, format!("it expires in {days} days"), AUTHORITY_FIX)
    } else {
        Check::pass(label, format!("good for {} more years", days / 365))
    })
}

async fn plugins(client: &Client, live: bool) -> Vec<Check> {
    let listed: Value = match client.json(Method::GET, "/v1/plugins", None).await {
        Ok(listed) => listed,
        Err(failure) if failure.code == Code::NotFound => return Vec::new(),
        Err(failure) => return vec![Check::of("plugins", &failure)],
    };
    let mut checks = Vec::new();
    for plugin in listed["items"].as_array().into_iter().flatten() {
        let Some(name) = plugin["name"].as_str() else { continue };
        checks.push(plugin_check(name, plugin));
        if live && plugin["state"] == "ready" {
            let path = format!("/v1/plugins/{name}/verify");
            let label = format!("live {name}");
            checks.push(match client.json::<Value>(Method::POST, &path, Some(&json!({}))).await {
                Ok(_) => Check::pass(label, "it answers"),
                Err(failure) => Check::of(&label, &failure),
            });
        }
    }
    checks
}

/// Logins that have ended.
async fn logins(client: &Client) -> Vec<Check> {
    let listed: Value = client.json(Method::GET, "/v1/plugin-logins", None).await.unwrap_or_default();
    let ended = listed["items"].as_array().into_iter().flatten().filter_map(|login| {
        let (plugin, why) = (login["plugin"].as_str()?, login["trouble"].as_str()?);
        Some(Check::fail(format!("login {plugin}"), why, format!("run: lazaret auth login --plugin {plugin}")))
    });
    ended.collect()
}

fn plugin_check(name: &str, plugin: &Value) -> Check {
    let label = format!("plugin {name}");
    let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
    let (why, hint, category) = (text(&plugin["why"]["message"]), text(&plugin["why"]["hint"]), text(&plugin["category"]));
    let fix = || match category.as_str() {
        _ if !hint.is_empty() => hint.clone(),
        "AUTH" => format!("run: lazaret auth status, then lazaret auth api-key --plugin {name} --key -"),
        _ => format!("run: lazaret plugin show {name}"),
    };
    match text(&plugin["state"]).as_str() {
        "off" if why.is_empty() => Check::pass(label, "off"),
        "off" if hint.is_empty() => Check::pass(label, format!("off: {why}")),
        "off" => Check::pass(label, format!("off: {why}; {hint}")),
        "failed" | "pending" => Check::fail(label, why, fix()),
        // What comes and goes.
        state if !category.is_empty() => Check::warn(label, format!("{state}, with trouble: {why}"), fix()),
        state => Check::pass(label, state),
    }
}

/// Whether each provider with a key can be connected to.
async fn providers(config: &Config, status: &Value) -> Vec<Check> {
    let mut checks = Vec::new();
    let Ok(in_force) = config.in_force() else { return checks };
    for name in status["providers"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        let Some(url) = in_force.providers.get(name).and_then(|provider| provider.base_url.as_deref()) else { continue };
        let label = format!("live {name}");
        let Some((host, port)) = authority(url) else { continue };
        let connect = tokio::net::TcpStream::connect((host, port));
        checks.push(match tokio::time::timeout(CONNECT_WAIT, connect).await {
            Ok(Ok(_)) => Check::pass(label, format!("{host}:{port} takes connections")),
            Ok(Err(error)) => Check::fail(label, format!("{host}:{port}: {error}"), "check the network and providers.NAME.base_url"),
            Err(_) => Check::fail(label, format!("{host}:{port} does not answer"), "check the network and providers.NAME.base_url"),
        });
    }
    checks
}

/// Host and port of a URL.
fn authority(url: &str) -> Option<(&str, u16)> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split('/').next()?;
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => Some((host.trim_matches(['[', ']']), port.parse().ok()?)),
        _ => Some((authority.trim_matches(['[', ']']), if scheme == "https" { 443 } else { 80 })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_good_warned_of_or_over() {
        let label = |now: u64| {
            let status = json!({ "authority": { "from": 10 * DAY_MS, "until": 1000 * DAY_MS, "now": now * DAY_MS } });
            serde_json::to_value(egress_authority(&status).expect("a check")).expect("JSON")["status"].as_str().expect("a word").to_owned()
        };
        assert_eq!([label(9), label(10), label(969), label(971), label(1000)], ["fail", "pass", "pass", "warn", "fail"]);
        assert!(egress_authority(&json!({})).is_none(), "none where nothing is looked into");
    }

    #[test]
    fn a_url_has_a_host_and_a_port() {
        for (url, expect) in [
            ("https://api.example/v1", Some(("api.example", 443))),
            ("http://127.0.0.1:81", Some(("127.0.0.1", 81))),
            ("http://[::1]:81/x", Some(("::1", 81))),
            ("http://[::1]/x", Some(("::1", 80))),
            ("nothing", None),
        ] {
            assert_eq!(authority(url), expect, "{url}");
        }
    }
}
