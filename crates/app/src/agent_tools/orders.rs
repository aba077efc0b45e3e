//! What an agent wants put in place: packages, and servers of tools. A person says yes to exactly that; then it is done beside the turn, once,
//! and the conversation hears how it went. Whoever dies over it begins it again.

use std::collections::BTreeMap;
use std::time::Duration;

use broker::Ask;
use futures_util::FutureExt as _;
use model::{Code, EgressRule, Failure, Risk, Timestamp, escaped};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use store::{NewOrder, OrderRow, Origin, TurnAbout};

use super::within::is_plain;
use super::{Doing, OwnTool, Set, read, wrong};
use crate::clock::fresh_bits;
use crate::shown::plain;
use crate::volume::Wanted;
use crate::{App, Caller, MessageForm, OWN_TENANT, PluginOrder, now};

/// Packages of one call.
const PACKAGES_MAX: usize = 20;
/// Words of a command, variables, and hosts of a server, each.
const WORDS_MAX: usize = 32;
/// Characters of a word, a value or a reason.
const WORD_CHARS_MAX: usize = 500;
/// How often tasks that are long over are looked for.
const TIDY_EVERY: Duration = Duration::from_secs(6 * 3600);

pub(super) const INSTALL: OwnTool = OwnTool {
    name: "install_packages",
    about: "Asks a person to have packages installed: NAME==VERSION from PyPI, or npm:NAME@VERSION. You are told when they are there; they \
            are yours alone, no other agent has them.",
    risk: Risk::High,
    set: Set::Named,
    asks: false,
    schema: || (&["packages", "reason"], json!({ "packages": packages(1), "reason": word("Why, for the person who is asked.") })),
    call: |doing| install(doing).boxed(),
};

pub(super) const CONNECT: OwnTool = OwnTool {
    name: "add_mcp_server",
    about: "Asks a person to add a server of tools (MCP over standard input and output). It runs in a sandbox of its own, reaches the hosts that are \
            named and no other, and each of its tools asks a person before it is called.",
    risk: Risk::High,
    set: Set::Named,
    asks: false,
    schema: || {
        let name = json!({ "type": "string", "pattern": "^[a-z0-9][a-z0-9_-]{0,39}$" });
        let command = json!({ "type": "array", "minItems": 1, "maxItems": WORDS_MAX, "items": word("A word of the command.") });
        let env = json!({
            "type": "array", "maxItems": WORDS_MAX, "items": {
                "type": "object", "additionalProperties": false, "required": ["name", "value"],
                "properties": { "name": { "type": "string", "pattern": "^[A-Z_][A-Z0-9_]{0,63}$" }, "value": word("No secret: those are the owner's to set.") }
            }
        });
        let hosts = json!({ "type": "array", "maxItems": WORDS_MAX, "items": word("A host that it may reach.") });
        let all = json!({ "name": name, "command": command, "env": env, "hosts": hosts, "packages": packages(0), "reason": word("Why.") });
        (&["name", "command", "reason"], all)
    },
    call: |doing| connect(doing).boxed(),
};

fn word(what: &str) -> Value {
    json!({ "type": "string", "minLength": 1, "maxLength": WORD_CHARS_MAX, "description": what })
}

fn packages(least: usize) -> Value {
    let one = json!({ "type": "string", "minLength": 1, "maxLength": 220 });
    json!({ "type": "array", "minItems": least, "maxItems": PACKAGES_MAX, "items": one })
}

/// What an order is, as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Order {
    Packages(Vec<String>),
    Server { name: String, manifest: String, packages: Vec<String> },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InstallArgs {
    packages: Vec<String>,
    #[serde(rename = "reason")]
    _reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConnectArgs {
    name: String,
    command: Vec<String>,
    #[serde(default)]
    env: Vec<Variable>,
    #[serde(default)]
    hosts: Vec<String>,
    #[serde(default)]
    packages: Vec<String>,
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Variable {
    name: String,
    value: String,
}

async fn install(doing: &Doing) -> Result<Value, Failure> {
    let args: InstallArgs = read(&doing.arguments)?;
    checked(&args.packages)?;
    order(doing, Order::Packages(args.packages)).await
}

async fn connect(doing: &Doing) -> Result<Value, Failure> {
    let args: ConnectArgs = read(&doing.arguments)?;
    checked(&args.packages)?;
    crate::plugins::check_plugin_name(&args.name)?;
    let words = args.command.iter().chain(&args.hosts).chain(args.env.iter().map(|one| &one.value));
    if let Some(bad) = words.clone().find(|word| !is_plain(word, WORD_CHARS_MAX)) {
        return Err(wrong(format!("`{}` is not one line", bad.escape_debug())));
    }
    if words.clone().any(|word| doing.cleaned(word) != *word) {
        return Err(
            wrong("it holds what looks like a secret").hint("the owner gives a server its secrets: lazaret auth api-key --plugin NAME")
        );
    }
    let group = doing.app.agents().show(&doing.caller.agent).await?.group;
    let manifest = manifest_of(&args, &group)?;
    order(doing, Order::Server { name: args.name, manifest, packages: args.packages }).await
}

fn checked(packages: &[String]) -> Result<(), Failure> {
    for name in packages {
        if name.starts_with("file:") {
            return Err(wrong("files are installed by the owner"));
        }
        Wanted::read(name)?;
    }
    Ok(())
}

/// The manifest of a server: its tools under its own name, for this group's agents only, each asked for.
fn manifest_of(args: &ConnectArgs, group: &str) -> Result<String, Failure> {
    for host in &args.hosts {
        host.parse::<EgressRule>().map_err(|e| wrong(format!("`{}` is no host: {e}", host.escape_debug())))?;
    }
    let mut table = toml::Table::new();
    let list = |words: &[String]| toml::Value::Array(words.iter().cloned().map(toml::Value::String).collect());
    table.insert("description".into(), toml::Value::String(args.reason.chars().filter(|c| !c.is_control()).collect()));
    table.insert("command".into(), list(&args.command));
    table.insert("tools".into(), toml::Value::String("all".into()));
    table.insert("prefix".into(), toml::Value::String(format!("{}_", args.name.replace('-', "_"))));
    table.insert("allowed_groups".into(), list(&[group.to_owned()]));
    if !args.hosts.is_empty() {
        table.insert("hosts".into(), list(&args.hosts));
    }
    if !args.env.is_empty() {
        let env: BTreeMap<&str, &str> = args.env.iter().map(|one| (one.name.as_str(), one.value.as_str())).collect();
        let env = env.into_iter().map(|(name, value)| (name.to_owned(), toml::Value::String(value.to_owned())));
        table.insert("env".into(), toml::Value::Table(env.collect()));
    }
    toml::to_string(&table).map_err(|e| Failure::new(Code::Internal, e.to_string()))
}

async fn order(doing: &Doing, order: Order) -> Result<Value, Failure> {
    if doing.caller.tenant != OWN_TENANT {
        return Err(Failure::new(Code::Forbidden, "nothing is installed for other tenants than the owner's"));
    }
    let new = NewOrder {
        id: format!("ord_{:032x}", fresh_bits()),
        tenant: doing.caller.tenant.clone(),
        agent: doing.caller.agent.clone(),
        session: doing.session()?.clone(),
        turn: doing.turn()?.clone(),
        cause: doing.cause(),
        body: serde_json::to_value(&order).map_err(|e| Failure::new(Code::Internal, e.to_string()))?,
        now: now(),
    };
    let row = doing.app.store().put_order(new).await.map_err(|e| e.failure())?;
    model::crash::point("tool:ordered");
    let detail = json!({ "order": row.id, "what": row.body });
    doing.app.audit_change(&doing.caller.actor(), "agent.order", detail).await?;
    let app = doing.app.clone();
    doing.app.spawn(async move { app.do_order(row).await });
    Ok(json!({ "note": "a person said yes; it is being done, and you are told in this conversation when it is there" }))
}

/// Where a server that an agent asked for comes from.
fn source_of(agent: &str, order: &str) -> String {
    format!("agent:{agent}:{order}")
}

/// The agent that asked for a server, by where that comes from.
pub(crate) fn ordered_by(source: &str) -> Option<&str> {
    source.strip_prefix("agent:")?.split_once(':').map(|(agent, _)| agent)
}

/// What a call of one of these tools comes to, for the person who is asked: for whom, what exactly and from where. Empty for other calls, and
/// for those that are refused whatever the person says.
pub(crate) async fn effect_of(app: &App, ask: &Ask<'_>) -> String {
    let agent = &ask.caller.agent;
    if !ask.tool.plugin.is_empty() || ask.caller.session.is_none() {
        return String::new();
    }
    if let Some(effect) = super::chats::effect(app, ask).await {
        return effect;
    }
    if ask.caller.tenant != OWN_TENANT {
        return String::new();
    }
    if ask.tool.name == INSTALL.name
        && let Ok(args) = read::<InstallArgs>(ask.arguments)
    {
        return packages_shown(app, agent, &args.packages).await;
    }
    if ask.tool.name == CONNECT.name
        && let Ok(args) = read::<ConnectArgs>(ask.arguments)
        && let Ok(form) = app.agents().show(agent).await
    {
        let hosts = if args.hosts.is_empty() { "no host".to_owned() } else { args.hosts.join(", ") };
        let server = format!("puts the server {} in place for agents of the group {}; it reaches {hosts}", args.name, form.group);
        return format!("{}\n{}", plain(&server), packages_shown(app, agent, &args.packages).await);
    }
    String::new()
}

async fn packages_shown(app: &App, agent: &str, packages: &[String]) -> String {
    if packages.is_empty() || checked(packages).is_err() {
        return String::new();
    }
    let mut text = format!("installs for the agent {agent} alone:\n");
    for line in app.tools_of_agent(agent).foretold(packages).await {
        text.push_str(&format!("  {}\n", plain(&line)));
    }
    text
}

impl App {
    /// Does what was ordered and not done, and forgets tasks of agents that are long over, from now on.
    pub(crate) fn keep_orders(&self) {
        let app = self.clone();
        self.spawn(async move {
            match app.store().open_orders().await {
                Ok(rows) => {
                    for row in rows {
                        app.do_order(row).await;
                    }
                }
                Err(error) => tracing::warn!(error = model::chain(&error), "what agents ordered is not looked at"),
            }
            loop {
                let keep = u64::try_from(app.settings().tasks.keep.as_millis()).unwrap_or(u64::MAX);
                let before = Timestamp(now().0.saturating_sub(keep));
                if let Err(error) = app.store().forget_over_tasks(before).await {
                    tracing::warn!(error = model::chain(&error), "tasks that are over were not looked through");
                }
                tokio::select! {
                    () = app.cancel().cancelled() => return,
                    () = tokio::time::sleep(TIDY_EVERY) => {}
                }
            }
        });
    }

    async fn do_order(&self, row: OrderRow) {
        // Whoever has the session's files does it.
        if matches!(self.store().session_elsewhere(&row.session).await, Ok(Some(_))) {
            return;
        }
        let work = Box::pin(self.carry_out(&row));
        let done = tokio::select! {
            () = self.cancel().cancelled() => return,
            done = work => done,
        };
        let (is_done, note) = match done {
            Ok(note) => (true, note),
            Err(failure) => (false, failure.message),
        };
        model::crash::point("order:done");
        while let Err(failure) = self.tell_of_order(&row, is_done, &note).await {
            tracing::warn!(order = row.id, %failure, "an agent is not told what came of what it ordered");
            if !failure.code.is_retriable() {
                break;
            }
            // Its inbox is full, or the store does not answer.
            tokio::select! {
                () = self.cancel().cancelled() => return,
                () = tokio::time::sleep(crate::due::RETRY) => {}
            }
        }
        model::crash::point("order:told");
        if let Err(error) = self.store().end_order(&row.id, is_done, note, now()).await {
            tracing::warn!(order = row.id, error = model::chain(&error), "the end of an order is not kept");
        }
    }

    async fn carry_out(&self, row: &OrderRow) -> Result<String, Failure> {
        let unreadable = |e: serde_json::Error| Failure::new(Code::StoreUnusable, format!("order {} cannot be read: {e}", row.id));
        let order: Order = serde_json::from_value(row.body.clone()).map_err(unreadable)?;
        let (packages, server) = match order {
            Order::Packages(packages) => (packages, None),
            Order::Server { name, manifest, packages } => (packages, Some((name, manifest))),
        };
        let mut done = Vec::new();
        for name in &packages {
            let view = self.tools_of_agent(&row.agent).install(name).await?;
            done.push(format!("{} {}", view.name, view.version));
        }
        if let Some((name, manifest)) = server {
            self.put_server(row, &name, &manifest).await?;
            done.push(format!("the server {name}"));
        }
        Ok(done.join(", "))
    }

    /// Puts a server in place; one that this very order put there before stays.
    async fn put_server(&self, row: &OrderRow, name: &str, manifest: &str) -> Result<(), Failure> {
        let file = engines::File { path: "manifest.toml".to_owned(), bytes: manifest.as_bytes().to_vec(), mode: 0o644 };
        let archive = crate::inside::tar_of(&[file])?;
        let order = PluginOrder { name: name.to_owned(), source: source_of(&row.agent, &row.id), hash: None, update: false };
        let source = order.source.clone();
        match self.plugin_installs().install(order, archive.as_slice()).await {
            Ok(_) => Ok(()),
            Err(failure) if failure.code == Code::Conflict => {
                let there = self.pins().row(name).await?;
                if there.is_some_and(|row| row.source == source) { Ok(()) } else { Err(failure) }
            }
            Err(failure) => Err(failure),
        }
    }

    /// Tells the conversation that wanted it what came of an order, once.
    async fn tell_of_order(&self, row: &OrderRow, is_done: bool, note: &str) -> Result<(), Failure> {
        let asker = self.store().asker(&row.turn).await.map_err(|e| e.failure())?;
        let about = TurnAbout { origin: asker.map(Origin::of), ..TurnAbout::default() };
        let how = if is_done { "installed" } else { "not_installed" };
        let more = if is_done { "What was installed is yours alone; its programs are found by their names." } else { "" };
        let text = format!("<{how}>\n{}\n</{how}>\n{more}\n", escaped(note));
        let caller = Caller { tenant: Some(row.tenant.clone()) };
        let form = MessageForm { text, ..MessageForm::default() };
        let told = self.sessions_of(&caller).message_about(row.session.as_str(), form, Some(format!("order:{}", row.id)), about).await;
        match told {
            // It was told before, by a daemon that did not come to note it.
            Err(failure) if failure.code == Code::Conflict => Ok(()),
            told => told.map(drop),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(value: Value) -> ConnectArgs {
        read(&value).expect("arguments")
    }

    #[test]
    fn a_server_reaches_what_is_named_and_serves_its_group_alone() {
        let text = manifest_of(
            &args(json!({
                "name": "my-notes", "command": ["notes\" ]", "--x=\"y\""], "hosts": ["api.example.com"], "reason": "keeps\nnotes",
                "env": [{ "name": "A_B", "value": "c = 1" }]
            })),
            "default",
        )
        .expect("a manifest");
        let read: toml::Table = toml::from_str(&text).expect("TOML");
        assert_eq!(read["command"].as_array().map(Vec::len), Some(2), "{text}");
        assert_eq!((read["allowed_groups"][0].as_str(), read["prefix"].as_str()), (Some("default"), Some("my_notes_")));
        assert_eq!((read["tools"].as_str(), read["env"]["A_B"].as_str()), (Some("all"), Some("c = 1")));
        assert!(manifest_of(&args(json!({ "name": "x", "command": ["y"], "hosts": ["http://"], "reason": "r" })), "g").is_err());
    }

    #[test]
    fn a_server_is_known_by_the_agent_that_asked_for_it() {
        assert_eq!(ordered_by(&source_of("ann-2", "ord_1")), Some("ann-2"));
        assert_eq!([ordered_by("folder"), ordered_by("agent:ann"), ordered_by("git+https://agent:x@y/z")], [None; 3]);
    }

    #[test]
    fn packages_are_names_and_nothing_else() {
        let check = |name: &str| checked(&[name.to_owned()]);
        assert!(check("requests==2.32.0").is_ok() && check("npm:@scope/name@1.2.3").is_ok());
        for bad in ["file:/etc/passwd", "--index-url=http://x", "a b", "git+https://x/y", "../x", "npm:../x", ""] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
