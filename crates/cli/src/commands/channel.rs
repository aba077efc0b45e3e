//! `lazaret channel`, `chats`, `wire`, `people`, `role` and `why`.

use std::io::Read as _;

use app::{AdmissionView, ChannelView, ChatView, DestinationView, HandleView, OutView, PairingView, RoleView, WhyView, WiringView};
use http::Method;
use model::{Code, Failure};
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::sandbox::escaped;
use super::{Context, lists};
use crate::args;
use crate::client::Client;
use crate::exit::Done;
use crate::out;

/// Entries that are listed.
const LIST_MAX: usize = 1000;
/// Bytes of a credential that is read.
const CREDENTIAL_BYTES_MAX: u64 = 64 << 10;

pub(super) async fn channel(context: &Context, verb: args::Channel) -> Done {
    let client = context.client()?;
    match verb {
        args::Channel::Add(add) => {
            let credentials = credentials(&add.credential)?;
            let form = json!({
                "name": add.name, "network": add.network, "program": add.program, "config": config(&add.config)?, "tenant": add.tenant,
                "credentials": credentials,
            });
            told(context, &client.json(Method::POST, "/v1/channels", Some(&form)).await?)?;
        }
        args::Channel::List => {
            let views: Vec<ChannelView> = lists::list(&client, "/v1/channels", LIST_MAX).await?;
            let row = |view: &ChannelView| vec![view.name.clone(), view.network.clone(), view.health.clone(), view.message.clone()];
            table(context, &views, &["channel", "network", "health", "message"], row)?;
        }
        args::Channel::Show { name } => {
            let view: ChannelView = client.json(Method::GET, &at("/v1/channels", &name), None).await?;
            out::json(&view)?;
        }
        args::Channel::Set { name, config: pairs, credential, program } => {
            let mut form = json!({ "credentials": credentials(&credential)?, "program": program });
            if !pairs.is_empty() {
                form["config"] = Value::Object(config(&pairs)?);
            }
            told(context, &client.json(Method::PATCH, &at("/v1/channels", &name), Some(&form)).await?)?;
        }
        args::Channel::On { name } => told(context, &client.json(Method::POST, &format!("{}/on", at("/v1/channels", &name)), None).await?)?,
        args::Channel::Off { name } => {
            told(context, &client.json(Method::POST, &format!("{}/off", at("/v1/channels", &name)), None).await?)?
        }
        args::Channel::Remove { name } => told(context, &client.json(Method::DELETE, &at("/v1/channels", &name), None).await?)?,
        args::Channel::Deliveries { state, channel } => deliveries(context, &client, state, channel).await?,
        args::Channel::Resend { ids } => {
            for id in ids {
                let view: OutView = client.json(Method::POST, &format!("{}/resend", at("/v1/deliveries", &id)), None).await?;
                if context.json { out::json(&view)? } else { out::line(&format!("{}  {}", view.id, view.state)) }
            }
        }
    }
    Ok(0)
}

async fn deliveries(context: &Context, client: &Client, state: Option<String>, channel: Option<String>) -> Result<(), Failure> {
    let of = |name: &str, value: Option<String>| value.map_or_else(String::new, |value| format!("{name}={}&", escaped(&value)));
    let path = format!("/v1/deliveries?{}{}", of("state", state), of("channel", channel));
    let views: Vec<OutView> = lists::list(client, path.trim_end_matches(['&', '?']), LIST_MAX).await?;
    let row = |view: &OutView| {
        let what = view.act["text"].as_str().or_else(|| view.act["emoji"].as_str()).unwrap_or_default();
        let why = view.error.clone().unwrap_or_default();
        vec![view.id.to_string(), view.state.clone(), view.channel.clone(), view.chat.clone(), out::cut(what, 40), why]
    };
    table(context, &views, &["delivery", "state", "channel", "chat", "what", "error"], row)
}

pub(super) async fn chats(context: &Context, verb: args::Chats) -> Done {
    let client = context.client()?;
    match verb {
        args::Chats::List { channel } => {
            let path = channel.map_or_else(|| "/v1/chats".to_owned(), |name| format!("/v1/chats?channel={}", escaped(&name)));
            let views: Vec<ChatView> = lists::list(&client, &path, LIST_MAX).await?;
            let row = |view: &ChatView| {
                let policy = if view.denied { "refused" } else { view.policy.as_str() };
                vec![
                    view.id.to_string(),
                    view.channel.clone(),
                    view.chat.clone(),
                    view.name.clone(),
                    policy.to_owned(),
                    view.agents.join(", "),
                ]
            };
            table(context, &views, &["chat", "channel", "id", "name", "policy", "agents"], row)?;
        }
        args::Chats::Show { chat } => {
            let view: ChatView = client.json(Method::GET, &at("/v1/chats", &chat), None).await?;
            out::json(&view)?;
        }
        args::Chats::Add { channel, chat, name, group } => {
            let form = json!({ "channel": channel, "chat": chat, "name": name, "group": group });
            let view: ChatView = client.json(Method::POST, "/v1/chats", Some(&form)).await?;
            if context.json { out::json(&view)? } else { out::line(view.id.as_str()) }
        }
        args::Chats::Set { chat, policy, deny, hear } => {
            let denied = if deny || hear { Some(deny) } else { None };
            let view: ChatView =
                client.json(Method::PATCH, &at("/v1/chats", &chat), Some(&json!({ "policy": policy, "denied": denied }))).await?;
            if context.json { out::json(&view)? } else { out::line(&format!("{}  {}", view.id, view.policy.as_str())) }
        }
    }
    Ok(0)
}

pub(super) async fn wire(context: &Context, verb: args::Wire) -> Done {
    let client = context.client()?;
    match verb {
        args::Wire::Add(add) => {
            let form = json!({
                "chat": add.chat, "agent": add.agent, "engage": add.engage, "pattern": add.pattern, "senders": add.senders,
                "ignored": add.ignored, "mode": add.mode, "priority": add.priority, "bots": add.bots,
            });
            let view: WiringView = client.json(Method::POST, "/v1/wirings", Some(&form)).await?;
            if context.json { out::json(&view)? } else { out::line(view.id.as_str()) }
        }
        args::Wire::List { chat } => {
            let path = chat.map_or_else(|| "/v1/wirings".to_owned(), |chat| format!("/v1/wirings?chat={}", escaped(&chat)));
            let views: Vec<WiringView> = lists::all(&client, &path).await?;
            let row = |view: &WiringView| {
                let engage = view.pattern.clone().unwrap_or_else(|| view.engage.as_str().to_owned());
                let words = [view.senders.as_str(), view.ignored.as_str(), view.mode.as_str()].map(str::to_owned);
                let mut row = vec![view.id.to_string(), view.chat.to_string(), view.agent.clone(), engage];
                row.extend(words);
                row
            };
            table(context, &views, &["wiring", "chat", "agent", "engage", "senders", "ignored", "mode"], row)?;
        }
        args::Wire::Remove { id } => {
            let view: WiringView = client.json(Method::DELETE, &at("/v1/wirings", &id), None).await?;
            if context.json { out::json(&view)? } else { out::line(view.id.as_str()) }
        }
        args::Wire::Pair { agent, role, user, channel } => {
            let form = json!({ "agent": agent, "role": role, "user": user, "channel": channel });
            let view: PairingView = client.json(Method::POST, "/v1/pairings", Some(&form)).await?;
            if context.json {
                out::json(&view)?;
            } else {
                out::line(view.code.as_deref().unwrap_or_default());
                out::note("send it in the chat within ten minutes; it can be used once");
            }
        }
        args::Wire::Destination { agent, name, chat, thread } => {
            let form = json!({ "agent": agent, "name": name, "chat": chat, "thread": thread });
            let view: DestinationView = client.json(Method::POST, "/v1/destinations", Some(&form)).await?;
            if context.json { out::json(&view)? } else { out::line(&view.name) }
        }
        args::Wire::Destinations { agent } => {
            let views: Vec<DestinationView> = lists::all(&client, &format!("/v1/destinations?agent={}", escaped(&agent))).await?;
            let row = |view: &DestinationView| {
                let chat = view.chat.as_ref().map(ToString::to_string).or_else(|| view.target.clone()).unwrap_or_default();
                vec![view.name.clone(), chat, view.thread.clone().unwrap_or_default()]
            };
            table(context, &views, &["name", "to", "thread"], row)?;
        }
    }
    Ok(0)
}

pub(super) async fn people(context: &Context, verb: args::People) -> Done {
    let client = context.client()?;
    match verb {
        args::People::Handles => {
            let views: Vec<HandleView> = lists::list(&client, "/v1/handles", LIST_MAX).await?;
            let row = |view: &HandleView| vec![view.channel.clone(), view.handle.clone(), view.name.clone(), view.user.to_string()];
            table(context, &views, &["channel", "handle", "name", "user"], row)?;
        }
        args::People::Link { channel, handle, user } => {
            let form = json!({ "channel": channel, "handle": handle, "user": user });
            let _: Value = client.json(Method::PUT, "/v1/handles", Some(&form)).await?;
        }
        args::People::Unlink { channel, handle } => {
            let path = format!("/v1/handles/{}/{}", escaped(&channel), escaped(&handle));
            let _: Value = client.json(Method::DELETE, &path, None).await?;
        }
        args::People::Admissions { all } => {
            let path = if all { "/v1/admissions" } else { "/v1/admissions?state=pending" };
            let views: Vec<AdmissionView> = lists::all(&client, path).await?;
            let row = |view: &AdmissionView| {
                vec![
                    view.id.to_string(),
                    view.state.clone(),
                    view.channel.clone(),
                    view.handle.clone(),
                    view.name.clone(),
                    view.agent.clone(),
                ]
            };
            table(context, &views, &["admission", "state", "channel", "handle", "name", "agent"], row)?;
        }
        args::People::Admit { id, deny } => {
            let view: AdmissionView = client.json(Method::POST, &at("/v1/admissions", &id), Some(&json!({ "allow": !deny }))).await?;
            if context.json { out::json(&view)? } else { out::line(&format!("{}  {}", view.id, view.state)) }
        }
    }
    Ok(0)
}

pub(super) async fn role(context: &Context, verb: args::Role) -> Done {
    let client = context.client()?;
    match verb {
        args::Role::Grant { user, agent, role } => {
            let form = json!({ "user": user, "agent": agent, "role": role });
            let _: Value = client.json(Method::PUT, "/v1/roles", Some(&form)).await?;
        }
        args::Role::Revoke { user, agent } => {
            let _: Value = client.json(Method::DELETE, &format!("/v1/roles/{}/{}", escaped(&agent), escaped(&user)), None).await?;
        }
        args::Role::List => {
            let views: Vec<RoleView> = lists::list(&client, "/v1/roles", LIST_MAX).await?;
            let row = |view: &RoleView| vec![view.user.to_string(), view.agent.clone(), view.role.clone(), view.tenant.clone()];
            table(context, &views, &["user", "agent", "role", "tenant"], row)?;
        }
    }
    Ok(0)
}

pub(super) async fn why(context: &Context, what: &str) -> Done {
    let client = context.client()?;
    let view: WhyView = client.json(Method::GET, &at("/v1/why", what), None).await?;
    if context.json {
        out::json(&view)?;
        return Ok(0);
    }
    for step in &view.path {
        out::line(&format!("{:>10}  {}", out::ago(step.at), crate::exit::clean(&step.what)));
    }
    if let Some(gate) = &view.gate {
        out::line(&format!("stopped at: {gate}"));
    }
    if let Some(fix) = &view.fix {
        out::line(&format!("what helps: {}", crate::exit::clean(fix)));
    }
    Ok(0)
}

fn at(list: &str, one: &str) -> String {
    format!("{list}/{}", escaped(one))
}

fn told(context: &Context, view: &ChannelView) -> Result<(), Failure> {
    if context.json {
        return out::json(view);
    }
    out::line(&format!("{}  {}  {}", view.name, view.network, view.health));
    if let Some(hook) = &view.hook {
        out::note(&format!("its platform may send requests to {hook} of this daemon's address"));
    }
    Ok(())
}

fn table<T: serde::Serialize>(context: &Context, views: &[T], heads: &[&str], row: impl Fn(&T) -> Vec<String>) -> Result<(), Failure> {
    if context.json {
        return views.iter().try_for_each(out::json);
    }
    out::table(heads, &views.iter().map(row).collect::<Vec<_>>());
    Ok(())
}

/// `KEY=VALUE` pairs; a value that is JSON counts as that.
pub(super) fn config(pairs: &[String]) -> Result<Map<String, Value>, Failure> {
    let pair = |text: &String| {
        let (key, value) = text.split_once('=').filter(|(key, _)| !key.is_empty()).ok_or_else(|| usage("--config", "give KEY=VALUE"))?;
        Ok((key.to_owned(), serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()))))
    };
    pairs.iter().map(pair).collect()
}

/// Credentials by their keys. One may come on standard input; one without a key is the one that the network needs, which the daemon knows.
fn credentials(pairs: &[String]) -> Result<Map<String, Value>, Failure> {
    let mut read = Map::new();
    let mut is_taken = false;
    for text in pairs {
        let (key, value) = text.split_once('=').unwrap_or(("", text));
        let value = if value == "-" {
            if std::mem::replace(&mut is_taken, true) {
                return Err(usage("--credential", "one credential comes on standard input"));
            }
            let mut text = Zeroizing::new(String::new());
            let input = std::io::stdin().lock().take(CREDENTIAL_BYTES_MAX).read_to_string(&mut text);
            input.map_err(|e| usage("--credential", &format!("standard input cannot be read: {e}")))?;
            text.trim().to_owned()
        } else {
            out::note("a credential on the command line stays in the shell's history; KEY=- reads standard input");
            value.to_owned()
        };
        read.insert(key.to_owned(), Value::String(value));
    }
    Ok(read)
}

fn usage(field: &str, why: &str) -> Failure {
    Failure::new(Code::Usage, why).field(field)
}
