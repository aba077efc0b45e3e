//! `lazaret plugin`.

mod call;
mod pack;
mod remote;
mod repository;
mod scaffold;
mod show;

pub(super) use call::run as call_tool;

use std::path::Path;

use app::{PluginInstalled, PluginView};
use http::Method;
use model::{Code, Failure};
use serde::Deserialize;
use serde_json::{Value, json};

use super::sandbox::escaped;
use super::{Context, archive, lists};
use crate::args;
use crate::client::{Body, Client, collect, full, internal};
use crate::exit::Done;
use crate::out;

/// A plugin as the daemon shows it.
#[derive(Debug, Deserialize, serde::Serialize)]
struct Detail {
    plugin: PluginView,
    record: Option<app::PluginRecord>,
}

pub(super) async fn run(context: &Context, verb: args::Plugin) -> Done {
    // These two need no daemon.
    match &verb {
        args::Plugin::Check { dir } => return check(context, dir),
        args::Plugin::New { name, lang, dir } => return scaffold::make(context, name, lang, dir),
        _ => {}
    }
    let client = context.client()?;
    match verb {
        args::Plugin::Check { .. } | args::Plugin::New { .. } => {}
        args::Plugin::List => {
            let plugins: Vec<PluginView> = lists::all(&client, "/v1/plugins").await?;
            if context.json { plugins.iter().try_for_each(out::json)? } else { show::table(&plugins) }
        }
        args::Plugin::Show { name } => say(context, &detail(&client, Method::GET, &path(&name)?, None).await?)?,
        args::Plugin::Install { source, name, hash } => {
            let name = name_for(name, &source)?;
            let installed = install(&client, Order { name, source, hash, update: false }).await?;
            told(context, &installed, "installed")?;
        }
        args::Plugin::Update { name, source, hash } => {
            let source = match source {
                Some(source) => source,
                None => source_of(&client, &name).await?,
            };
            let installed = install(&client, Order { name, source, hash, update: true }).await?;
            told(context, &installed, "updated")?;
        }
        args::Plugin::Remove { name, credentials } => {
            let _: Value = client.json(Method::DELETE, &format!("{}?credentials={credentials}", path(&name)?), None).await?;
        }
        args::Plugin::Verify { name } => return verify(context, &client, &name).await,
        args::Plugin::Approve { name, hash: None } => show::waiting(context, &detail(&client, Method::GET, &path(&name)?, None).await?)?,
        args::Plugin::Approve { name, hash: Some(hash) } => {
            let body = json!({ "hash": hash });
            say(context, &detail(&client, Method::POST, &format!("{}/approve", path(&name)?), Some(&body)).await?)?;
        }
        args::Plugin::Reload { name: Some(name) } => act(context, &client, &name, "reload").await?,
        args::Plugin::Reload { name: None } => {
            let _: Value = client.json(Method::POST, "/v1/plugin-reload", None).await?;
        }
        args::Plugin::Enable { name } => act(context, &client, &name, "enable").await?,
        args::Plugin::Disable { name } => act(context, &client, &name, "disable").await?,
        args::Plugin::Call { tool, arguments, yes } => return call::run(context, &client, &tool, &arguments, yes).await,
        args::Plugin::AddRemote { name, url, token, per_agent, low } => {
            let order = remote::Remote { name: &name, url: &url, token: token.as_deref(), per_agent, low: &low };
            let installed = remote::add(&client, order).await?;
            told(context, &installed, "installed")?;
        }
    }
    Ok(0)
}

fn path(name: &str) -> Result<String, Failure> {
    app::check_plugin_name(name)?;
    Ok(format!("/v1/plugins/{name}"))
}

async fn detail(client: &Client, method: Method, path: &str, body: Option<&Value>) -> Result<Detail, Failure> {
    client.json(method, path, body).await
}

async fn act(context: &Context, client: &Client, name: &str, verb: &str) -> Result<(), Failure> {
    say(context, &detail(client, Method::POST, &format!("{}/{verb}", path(name)?), None).await?)
}

fn say(context: &Context, detail: &Detail) -> Result<(), Failure> {
    if context.json {
        return out::json(detail);
    }
    show::whole(detail);
    Ok(())
}

/// Starts a plugin: exit 1 when it does not work.
async fn verify(context: &Context, client: &Client, name: &str) -> Done {
    let detail = detail(client, Method::POST, &format!("{}/verify", path(name)?), None).await?;
    say(context, &detail)?;
    Ok(u8::from(detail.plugin.state != app::PluginState::Ready || detail.plugin.why.is_some()))
}

fn check(context: &Context, dir: &Path) -> Done {
    pack::folder(dir, std::io::sink())?;
    let checked = app::check_plugin(dir)?;
    if context.json {
        out::json(&checked)?;
        return Ok(0);
    }
    out::line(&crate::exit::clean(&format!("{} ({})", checked.description, checked.version)));
    out::line(&checked.hash);
    for (tool, risk) in &checked.tools {
        out::line(&format!("tool {tool}: {} risk", risk.as_str()));
    }
    if checked.tools.is_empty() {
        out::line("tools: what its program lists, of high risk unless `low` names them");
    }
    let rows = [("credential", &checked.credentials), ("host", &checked.hosts), ("skill", &checked.skills)];
    for (what, all) in rows {
        for one in all {
            out::line(&format!("{what} {}", crate::exit::clean(one)));
        }
    }
    Ok(0)
}

/// A plugin to put in place.
struct Order {
    name: String,
    source: String,
    hash: Option<String>,
    update: bool,
}

fn name_for(name: Option<String>, source: &str) -> Result<String, Failure> {
    let whole = std::fs::canonicalize(source).ok().and_then(|path| path.to_str().map(str::to_owned));
    let name = name.or_else(|| app::plugin_name_of(whole.as_deref().unwrap_or(source)));
    let name = name.ok_or_else(|| Failure::new(Code::Usage, "no name can be made of this source").hint("add --name NAME").field("name"))?;
    app::check_plugin_name(&name)?;
    Ok(name)
}

/// Where a plugin of the home was installed from.
async fn source_of(client: &Client, name: &str) -> Result<String, Failure> {
    let detail = detail(client, Method::GET, &path(name)?, None).await?;
    let source = detail.record.map(|record| record.source).filter(|source| source != "folder" && source != "archive");
    source.ok_or_else(|| {
        Failure::new(Code::Usage, format!("it is not known where {name} came from")).hint(format!("lazaret plugin update {name} SOURCE"))
    })
}

/// Puts a plugin in place. The daemon clones what is reached over HTTP, in a sandbox; everything else is read here, with the
/// rights of whoever runs this, and sent as an archive.
async fn install(client: &Client, order: Order) -> Result<PluginInstalled, Failure> {
    app::check_plugin_name(&order.name)?;
    match packed(&order.source).await? {
        Packed::Remote(source) => {
            let body = json!({ "source": source, "name": order.name, "hash": order.hash, "update": order.update });
            client.json(Method::POST, "/v1/plugins", Some(&body)).await
        }
        Packed::Here(label, body) => send(client, &order, &label, body).await,
    }
}

/// What a source comes to.
pub(super) enum Packed {
    /// A repository that the daemon clones, in a sandbox.
    Remote(String),
    /// An archive, and what its source is called from now on.
    Here(String, Body),
}

/// Reads a source with the rights of whoever runs this, unless it is reached over HTTP.
pub(super) async fn packed(source: &str) -> Result<Packed, Failure> {
    let source = source.strip_prefix("git+").unwrap_or(source);
    let local = Path::new(source.strip_prefix("path:").unwrap_or(source));
    if source.starts_with("https://") || source.starts_with("http://") {
        return Ok(Packed::Remote(source.to_owned()));
    }
    Ok(if repository::is_one(source) {
        Packed::Here(format!("git+{source}"), full(repository::archive(source).await?))
    } else if local.is_dir() {
        let mut packed = Vec::new();
        pack::folder(local, &mut packed)?;
        Packed::Here(label_of(local), full(packed))
    } else {
        Packed::Here(label_of(local), archive::body_of(local).await?)
    })
}

fn label_of(path: &Path) -> String {
    let whole = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    format!("path:{}", whole.display())
}

async fn send(client: &Client, order: &Order, label: &str, body: Body) -> Result<PluginInstalled, Failure> {
    let hash = order.hash.as_ref().map_or_else(String::new, |hash| format!("&hash={}", escaped(hash)));
    let uri = format!("{}?source={}&update={}{hash}", path(&order.name)?, escaped(label), order.update);
    let response = client.send(Method::PUT, &uri, "application/x-tar", body).await?;
    serde_json::from_slice(&collect(response).await?).map_err(|e| internal(&e.to_string()))
}

fn told(context: &Context, installed: &PluginInstalled, what: &str) -> Result<(), Failure> {
    if context.json {
        return out::json(installed);
    }
    show::installed(installed, what);
    Ok(())
}
