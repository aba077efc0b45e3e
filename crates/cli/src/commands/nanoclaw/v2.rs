//! The second form, and that of the fork: a central database, and two mailboxes for each session.

use std::collections::{BTreeMap, HashMap};

use app::{AgentForm, CarryLine};
use model::{ChatPolicy, Failure};
use serde_json::{Map, json};

use super::folders::{of_messages, skills};
use super::sheet::Sheet;
use super::source::{Copy, Found};
use super::talks::{Place, said, write};
use super::words::{Fields, engage, ignored, mode, name, network, number, place, senders, short, text, time};
use super::{Install, memories, script};

/// Where the sessions' folders may lie.
const SESSIONS: [&str; 2] = ["data/v2-sessions", "v2-sessions"];
/// Columns of the mailbox of what came in.
const IN: [&str; 13] = [
    "id", "seq", "kind", "timestamp", "status", "process_after", "recurrence", "series_id", "trigger", "platform_id", "channel_type",
    "thread_id", "content",
];

struct Chat {
    account: String,
    /// What lines call it.
    id: String,
    name: String,
}

/// One import of this form.
struct Going<'a> {
    install: &'a Install<'a>,
    sheet: &'a mut Sheet,
    is_fork: bool,
    /// Agents by their identity there: name and folder.
    agents: BTreeMap<String, (String, String)>,
    /// Accounts by name, with their network there.
    accounts: BTreeMap<String, String>,
    /// Chats by their identity there.
    chats: HashMap<String, Chat>,
    /// Names of destinations by agent and chat there.
    destinations: HashMap<(String, String), String>,
}

pub(super) fn read(install: &Install<'_>, central: &Copy, sheet: &mut Sheet) -> Result<(), Failure> {
    let is_fork = central.has("agent_activity") || central.has("secret_assignments");
    let mut going = Going {
        install,
        sheet,
        is_fork,
        agents: BTreeMap::new(),
        accounts: BTreeMap::new(),
        chats: HashMap::new(),
        destinations: HashMap::new(),
    };
    going.agents(central)?;
    going.chats(central)?;
    going.people(central)?;
    going.wirings(central)?;
    going.destinations(central)?;
    going.sessions(central)?;
    going.rest(central);
    Ok(())
}

impl Going<'_> {
    fn rows(&mut self, central: &Copy, table: &str, columns: &[&str], order: &str) -> Vec<Fields> {
        match central.rows(table, columns, order) {
            Ok(rows) => rows,
            Err(why) => {
                self.sheet.wrong("table", table, why);
                Vec::new()
            }
        }
    }

    fn agents(&mut self, central: &Copy) -> Result<(), Failure> {
        let columns = [
            "agent_group_id", "provider", "model", "assistant_name", "skills", "mcp_servers", "packages_apt", "packages_npm",
            "additional_mounts", "env",
        ];
        let configs: HashMap<String, Fields> =
            self.rows(central, "container_configs", &columns, "").into_iter().map(|row| (text(&row, "agent_group_id"), row)).collect();
        for row in self.rows(central, "agent_groups", &["id", "name", "folder", "agent_provider", "created_at"], "created_at") {
            let (id, called, folder) = (text(&row, "id"), text(&row, "name"), text(&row, "folder"));
            if id.is_empty() {
                self.sheet.wrong("agent", &called, "it has no identity");
                continue;
            }
            let config = configs.get(&id).cloned().unwrap_or_default();
            let made = name(if folder.is_empty() { &called } else { &folder });
            let assistant = text(&config, "assistant_name");
            let trigger = (!assistant.is_empty()).then(|| format!("@{}", short(&assistant, 40)));
            let instructions = self.instructions(&folder);
            let agent = AgentForm { name: made.clone(), instructions, trigger, ..AgentForm::default() };
            self.sheet.line(&CarryLine::Agent { id: id.clone(), agent })?;
            self.left_of(&made, &config);
            let ran_with = [text(&config, "provider"), text(&row, "agent_provider")].into_iter().find(|p| !p.is_empty());
            if let Some(provider) = ran_with {
                let ran = format!("{provider} {}", text(&config, "model"));
                self.sheet.leave(
                    "engine",
                    &made,
                    format!("it ran with {}: lazaret agent set {made} --engine NAME --model MODEL", ran.trim()),
                );
            }
            memories(self.install, self.sheet, &id, &folder)?;
            skills(self.install, self.sheet, &folder)?;
            self.agents.insert(id, (made, folder));
        }
        skills(self.install, self.sheet, "")?;
        Ok(())
    }

    /// Standing instructions that people wrote; what is composed at each start is not.
    fn instructions(&mut self, folder: &str) -> String {
        let Some(whole) = self.install.instructions(self.sheet, folder) else { return String::new() };
        let own: Vec<&str> = whole.lines().filter(|line| !line.trim_start().starts_with('@')).collect();
        own.join("\n").trim().to_owned()
    }

    /// What an agent had that is made anew here.
    fn left_of(&mut self, agent: &str, config: &Fields) {
        let tools = format!("lazaret tools install NAME --agent {agent}");
        let npm = format!("lazaret tools install npm:NAME --agent {agent}");
        for (column, what, hint) in [
            ("mcp_servers", "servers of tools", "lazaret plugin add-remote, or an MCP server as a plugin"),
            ("packages_apt", "packages", tools.as_str()),
            ("packages_npm", "packages", npm.as_str()),
            ("additional_mounts", "mounts", "name them when a session begins: --mount"),
            ("env", "variables", "secrets are bound to hosts here: lazaret secret bind"),
        ] {
            let value = text(config, column);
            if !matches!(value.as_str(), "" | "[]" | "{}" | "null") {
                self.sheet.leave(what, agent, hint);
            }
        }
    }

    fn chats(&mut self, central: &Copy) -> Result<(), Failure> {
        let columns = ["id", "channel_type", "platform_id", "instance", "name", "is_group", "unknown_sender_policy", "denied_at"];
        for row in self.rows(central, "messaging_groups", &columns, "created_at") {
            let (id, kind, platform) = (text(&row, "id"), text(&row, "channel_type"), text(&row, "platform_id"));
            let called = text(&row, "name");
            let Some(network) = network(&kind) else {
                let why = if kind == "cli" {
                    "the terminal needs no account: lazaret chat".to_owned()
                } else {
                    format!("no network here is like {}", short(&kind, 40))
                };
                self.sheet.leave("chat", if called.is_empty() { &platform } else { &called }, why);
                continue;
            };
            if id.is_empty() || platform.is_empty() {
                self.sheet.wrong("chat", &called, "it has no identity");
                continue;
            }
            let (account, own) = place(&kind, &text(&row, "instance"), &platform, self.is_fork);
            self.account(&account, &kind, network)?;
            self.sheet.line(&CarryLine::Chat {
                id: id.clone(),
                channel: account.clone(),
                chat: own,
                name: short(&called, 120),
                group: number(&row, "is_group") != 0,
                policy: match text(&row, "unknown_sender_policy").as_str() {
                    "public" => ChatPolicy::Public,
                    "request_approval" => ChatPolicy::Request,
                    _ => ChatPolicy::Strict,
                },
                denied: !text(&row, "denied_at").is_empty(),
            })?;
            self.chats.insert(id.clone(), Chat { account, id, name: called });
        }
        Ok(())
    }

    fn account(&mut self, account: &str, kind: &str, network: &str) -> Result<(), Failure> {
        if self.accounts.contains_key(account) {
            return Ok(());
        }
        self.accounts.insert(account.to_owned(), kind.to_owned());
        self.sheet.line(&CarryLine::Channel {
            id: account.to_owned(),
            name: account.to_owned(),
            network: network.to_owned(),
            config: Map::new(),
        })
    }

    fn people(&mut self, central: &Copy) -> Result<(), Failure> {
        let mut global: HashMap<String, &str> = HashMap::new();
        let mut scoped = Vec::new();
        for row in self.rows(central, "user_roles", &["user_id", "role", "agent_group_id"], "user_id") {
            let (user, role, agent) = (text(&row, "user_id"), text(&row, "role"), text(&row, "agent_group_id"));
            match (role.as_str(), agent.is_empty()) {
                ("owner", _) => {
                    global.insert(user, "owner");
                }
                ("admin", true) => {
                    global.entry(user).or_insert("admin");
                }
                ("admin", false) => scoped.push((user, agent, "admin")),
                (other, _) => self.sheet.leave("role", &user, format!("no role is called {}", short(other, 40))),
            }
        }
        for row in self.rows(central, "agent_group_members", &["user_id", "agent_group_id"], "user_id") {
            scoped.push((text(&row, "user_id"), text(&row, "agent_group_id"), "member"));
        }
        for row in self.rows(central, "users", &["id", "kind", "display_name"], "id") {
            let id = text(&row, "id");
            let Some((kind, handle)) = id.split_once(':').filter(|(_, handle)| !handle.is_empty()) else {
                self.sheet.wrong("person", &id, "it has no identity of a network");
                continue;
            };
            let called = short(&text(&row, "display_name"), 120);
            let role = global.get(id.as_str()).map(|role| (*role).to_owned());
            self.sheet.line(&CarryLine::Person { id: id.clone(), name: called.clone(), email: None, role })?;
            // Each account of the network knows them by the same id there.
            let accounts: Vec<String> = self.accounts.iter().filter(|(_, of)| of.as_str() == kind).map(|(name, _)| name.clone()).collect();
            if accounts.is_empty() {
                self.sheet.leave("handle", &id, "no account of its network is taken over: lazaret people link");
            }
            for account in accounts {
                let line = CarryLine::Handle {
                    id: format!("{account}/{id}"),
                    channel: account,
                    handle: handle.to_owned(),
                    person: id.clone(),
                    name: called.clone(),
                };
                self.sheet.line(&line)?;
            }
        }
        for (user, agent, role) in scoped {
            let id = format!("{user}/{agent}/{role}");
            self.sheet.line(&CarryLine::Role { id, person: user, agent, role: role.to_owned() })?;
        }
        Ok(())
    }

    fn wirings(&mut self, central: &Copy) -> Result<(), Failure> {
        let columns = [
            "id", "messaging_group_id", "agent_group_id", "engage_mode", "engage_pattern", "sender_scope", "ignored_message_policy",
            "session_mode", "priority",
        ];
        for row in self.rows(central, "messaging_group_agents", &columns, "created_at") {
            let (chat, agent) = (text(&row, "messaging_group_id"), text(&row, "agent_group_id"));
            if !self.chats.contains_key(&chat) {
                continue;
            }
            let (engage, pattern) = engage(&text(&row, "engage_mode"), &text(&row, "engage_pattern"));
            self.sheet.line(&CarryLine::Wiring {
                id: text(&row, "id"),
                chat,
                agent,
                engage,
                pattern,
                senders: senders(&text(&row, "sender_scope")),
                ignored: ignored(&text(&row, "ignored_message_policy")),
                mode: mode(&text(&row, "session_mode")),
                priority: number(&row, "priority"),
                bots: false,
            })?;
        }
        Ok(())
    }

    fn destinations(&mut self, central: &Copy) -> Result<(), Failure> {
        for row in self.rows(central, "agent_destinations", &["agent_group_id", "local_name", "target_type", "target_id"], "agent_group_id")
        {
            let (agent, local, target) = (text(&row, "agent_group_id"), text(&row, "local_name"), text(&row, "target_id"));
            let is_agent = text(&row, "target_type") == "agent";
            if !is_agent && !self.chats.contains_key(&target) {
                self.sheet.leave("destination", &local, "its chat is not taken over");
                continue;
            }
            let called = name(&local);
            if !is_agent {
                self.destinations.insert((agent.clone(), target.clone()), called.clone());
            }
            let (chat, target) = if is_agent { (None, Some(target)) } else { (Some(target), None) };
            self.sheet.line(&CarryLine::Destination { id: format!("{agent}/{local}"), agent, name: called, chat, thread: None, target })?;
        }
        Ok(())
    }

    fn sessions(&mut self, central: &Copy) -> Result<(), Failure> {
        let columns = ["id", "agent_group_id", "messaging_group_id", "thread_id", "created_at", "last_active"];
        for row in self.rows(central, "sessions", &columns, "created_at") {
            let (id, agent) = (text(&row, "id"), text(&row, "agent_group_id"));
            let Some((called, folder)) = self.agents.get(&agent).cloned() else {
                self.sheet.wrong("session", &id, "its agent is not there");
                continue;
            };
            let bases = SESSIONS.iter().flat_map(|base| [format!("{base}/{agent}/{id}"), format!("{base}/{folder}/{id}")]);
            let plain = |part: &str| !part.is_empty() && !part.contains('/') && !part.starts_with('.');
            let dir = bases.filter(|_| plain(&id) && plain(&agent)).find(|dir| self.install.source.has(&format!("{dir}/inbound.db")));
            let Some(dir) = dir else {
                self.sheet.leave("session", &id, "it has no mailboxes");
                continue;
            };
            let Some(inbound) = self.mailbox(&dir, "inbound.db", "messages_in", &IN, &id) else { continue };
            let out = ["id", "seq", "in_reply_to", "timestamp", "kind", "content"];
            let outbound = self.mailbox(&dir, "outbound.db", "messages_out", &out, &id).unwrap_or_default();
            let chat = self.chats.get(&text(&row, "messaging_group_id"));
            let title = chat.map_or_else(
                || called.clone(),
                |chat| if chat.name.is_empty() { format!("{called} on {}", chat.account) } else { chat.name.clone() },
            );
            let place = Place {
                id: id.clone(),
                agent: agent.clone(),
                title,
                chat: chat.map(|chat| chat.id.clone()),
                thread: Some(text(&row, "thread_id")).filter(|thread| !thread.is_empty()),
            };
            self.tasks(&agent, &called, &inbound)?;
            let talk: Vec<Fields> =
                inbound.into_iter().filter(|row| text(row, "kind") != "task" || text(row, "status") == "completed").collect();
            if write(self.sheet, &place, said(&talk, &outbound))? == 0 {
                self.sheet.leave("session", &place.title, format!("nothing was said in it; what files it has stay in {dir}"));
                continue;
            }
            of_messages(self.install, self.sheet, &dir, &id, &place.title)?;
        }
        Ok(())
    }

    fn mailbox(&mut self, dir: &str, file: &str, table: &str, columns: &[&str], session: &str) -> Option<Vec<Fields>> {
        let path = format!("{dir}/{file}");
        match self.install.source.database(&path) {
            Found::It(copy) => match copy.rows(table, columns, "seq") {
                Ok(rows) => return Some(rows),
                Err(why) => self.sheet.wrong("session", session, format!("{file}: {why}")),
            },
            Found::Nothing if file == "outbound.db" => return Some(Vec::new()),
            Found::Nothing => self.sheet.wrong("session", session, format!("{file} is not there")),
            Found::Refused(why) => self.sheet.wrong("session", session, format!("{file}: {why}")),
        }
        None
    }

    /// Tasks are rows that wait to come in: one for each that is still to be done.
    fn tasks(&mut self, agent: &str, called: &str, inbound: &[Fields]) -> Result<(), Failure> {
        let mut seen = std::collections::HashSet::new();
        for row in inbound.iter().rev() {
            let status = text(row, "status");
            if text(row, "kind") != "task" || !matches!(status.as_str(), "pending" | "paused") {
                continue;
            }
            let series = [text(row, "series_id"), text(row, "id")].into_iter().find(|id| !id.is_empty()).unwrap_or_default();
            if !seen.insert(series.clone()) {
                continue;
            }
            let content: serde_json::Value = serde_json::from_str(&text(row, "content")).unwrap_or_default();
            let prompt = content["prompt"].as_str().or_else(|| content["text"].as_str()).unwrap_or_default();
            let shown = short(prompt, 80);
            let recurrence = text(row, "recurrence");
            let cron = match (recurrence.is_empty(), time(row, "process_after")) {
                (false, _) => recurrence,
                (true, Some(at)) if at.0 > self.install.now.0 => {
                    match jiff::Timestamp::from_millisecond(i64::try_from(at.0).unwrap_or(i64::MAX)) {
                        Ok(at) => format!("@once {at}"),
                        Err(_) => continue,
                    }
                }
                (true, _) => {
                    self.sheet.leave("task", &shown, "its time has passed");
                    continue;
                }
            };
            let kind = text(row, "channel_type");
            let chat = self.install.chat_of(&self.chats_by_platform(), &kind, &text(row, "platform_id"));
            let to = chat.and_then(|chat| self.destinations.get(&(agent.to_owned(), chat)).cloned());
            let mut message = json!({ "text": prompt.replace('\0', "") });
            if let Some(gate) = content["script"].as_str().filter(|gate| !gate.is_empty()) {
                message["gate"] = json!(gate);
            }
            if let Some(to) = to {
                message["to"] = json!([to]);
            }
            self.sheet.line(&CarryLine::Task {
                id: series.clone(),
                name: short(&format!("{called} {series}"), 100),
                cron,
                zone: self.install.zone.clone(),
                misfire: app::Misfire::Once,
                overlap: app::Overlap::Skip,
                failures_max: None,
                agent: Some(agent.to_owned()),
                action: json!({ "message": message }),
            })?;
        }
        Ok(())
    }

    fn chats_by_platform(&self) -> HashMap<(String, String), String> {
        self.install.platforms.borrow().clone()
    }

    /// What stays behind whole.
    fn rest(&mut self, central: &Copy) {
        for (table, what, why) in [
            ("secrets", "secrets", "they are sealed under the other install's key: lazaret secret set NAME -"),
            ("provider_credentials", "keys of providers", "lazaret secret set anthropic -"),
            ("app_connections", "connected apps", "log in again: lazaret auth login"),
            ("pending_approvals", "questions that wait", "they are asked again when they come up"),
            ("approvals", "questions that wait", "they are asked again when they come up"),
            ("pending_sender_approvals", "people who ask to be let in", "they are asked about again when they write"),
            ("pending_channel_approvals", "chats that ask to be heard", "they are asked about again when something is said"),
            ("unregistered_senders", "senders who were turned away", "a record of the other install"),
        ] {
            let rows = self.rows(central, table, &["id", "status", "platform_id", "messaging_group_id", "name", "provider", "source"], "");
            if !rows.is_empty() {
                let n = rows.len();
                self.sheet.leave(what, &format!("{n}"), why);
            }
        }
        script(self.install, self.sheet);
    }
}
