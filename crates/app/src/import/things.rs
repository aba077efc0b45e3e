//! Each kind of thing that another install has: how it is made here, or found when a crash or a person made it before.

use model::{ChatId, ChatPolicy, Code, Failure, MemoryId, SessionId, TaskId, Timestamp, TurnId, UserId, WiringId};
use serde_json::{Map, Value, json};
use store::{
    AgentRoleRow, ChannelRow, ChatRow, DestinationRow, MemoryAuthor, MemoryOwner, MemorySource, NewMemory, NewTask, StoreError, TaskChange,
    WiringRow,
};
use wire::chat::About;

use super::lines::CarryLine;
use super::of::{Came, Going};
use crate::tasks::TasksOf;
use crate::{AgentForm, TaskAction, now};

/// Names that are tried for something whose name is taken here.
const NAMES_TRIED_MAX: usize = 50;
/// Who gave a role, and put a skill in force.
pub(super) const BY: &str = "import";

impl Going<'_> {
    /// Makes or finds one thing.
    pub(super) async fn thing(&mut self, line: &CarryLine) -> Result<Came, Failure> {
        match line {
            CarryLine::Agent { agent, .. } => self.agent(agent).await,
            CarryLine::Person { id, name, email, role } => self.person(id, name, email.as_deref(), role.as_deref()).await,
            CarryLine::Channel { name, network, config, .. } => self.channel(name, network, config).await,
            CarryLine::Chat { id, channel, chat, name, group, policy, denied } => {
                let channel = self.named("channel", channel).await?;
                let row = ChatRow {
                    id: self.own(id, now()),
                    channel,
                    chat: chat.clone(),
                    name: name.clone(),
                    is_group: *group,
                    policy: *policy,
                    denied: denied.then(now),
                    created: now(),
                    heard: now(),
                };
                self.chat(row).await
            }
            CarryLine::Handle { channel, handle, person, name, .. } => self.handle(channel, handle, person, name).await,
            CarryLine::Role { person, agent, role, .. } => self.role(person, agent, role).await,
            CarryLine::Wiring { .. } => self.wiring(line).await,
            CarryLine::Destination { agent, name, chat, thread, target, .. } => {
                let row = DestinationRow {
                    tenant: self.tenant().to_owned(),
                    agent: self.named("agent", agent).await?,
                    name: name.clone(),
                    chat: self.chat_named(chat.as_deref()).await?,
                    thread: thread.clone(),
                    target: match target {
                        Some(target) => Some(self.named("agent", target).await?),
                        None => None,
                    },
                };
                self.destination(row).await
            }
            CarryLine::Memory { .. } => self.memory(line).await,
            CarryLine::Task { .. } => self.task(line).await,
            CarryLine::Skill { name, source, archive, .. } => self.skill(name, source, archive).await,
            CarryLine::File { session, path, data, .. } => self.file(session, path, data).await,
            CarryLine::Begin { .. } | CarryLine::Session { .. } | CarryLine::Turn { .. } => Err(wrong("it does not stand here")),
        }
    }

    /// The identity that something gets here: its own where it has one of ours, else one that comes from its own.
    pub(super) fn own<T: std::str::FromStr + FromBits>(&self, id: &str, made: Timestamp) -> T {
        id.parse().unwrap_or_else(|_| T::from_own_bits(self.bits(T::WHAT, id, made)))
    }

    async fn agent(&self, form: &AgentForm) -> Result<Came, Failure> {
        let agents = self.app.agents();
        let mut form = form.clone();
        // What the owner gives here is the owner's to give here.
        let (secrets, egress) = (std::mem::take(&mut form.secrets), std::mem::take(&mut form.egress));
        let mut notes = Vec::new();
        let ceiling = self.app.settings().egress_max.clone();
        let (fits, too_far): (Vec<_>, Vec<_>) =
            egress.into_iter().partition(|rule| crate::sessions::check_egress(std::slice::from_ref(rule), &ceiling).is_ok());
        form.egress = fits;
        if !secrets.is_empty() {
            notes.push(format!("bind its secrets again: {}", secrets.join(", ")));
        }
        if !too_far.is_empty() {
            notes.push(format!("{} hosts are not within egress.max", too_far.len()));
        }
        let usual = form.name.clone();
        for n in 1..=NAMES_TRIED_MAX {
            if n > 1 {
                form.name = format!("{usual}-{n}");
            }
            match agents.show(&form.name).await {
                Ok(there) if is_same(&there, &form) => return Ok(Came::There(form.name, notes.join("; "))),
                Ok(there) if is_blank(&there) => {
                    if !self.dry_run {
                        agents.set(&form.name.clone(), form.clone()).await?;
                    }
                    return Ok(Came::New(form.name, notes.join("; ")));
                }
                Ok(_) => {}
                Err(failure) if failure.code == Code::NotFound => {
                    if !self.dry_run {
                        form = agents.add(form).await?;
                    }
                    if form.name != usual {
                        notes.push(format!("called {} here", form.name));
                    }
                    return Ok(Came::New(form.name, notes.join("; ")));
                }
                Err(failure) => return Err(failure),
            }
        }
        Err(wrong("every name like it is taken"))
    }

    async fn person(&self, id: &str, name: &str, email: Option<&str>, role: Option<&str>) -> Result<Came, Failure> {
        if role.is_some_and(|role| crate::Role::of(role).is_none()) {
            return Err(wrong("the role is none"));
        }
        let note = role.map(|role| format!("{role} of everything")).filter(|_| matches!(role, Some("owner" | "admin"))).unwrap_or_default();
        if self.dry_run {
            return Ok(Came::New(id.to_owned(), note));
        }
        // Somebody of this very install, or one with an address: they are who they are.
        if let Ok(user) = id.parse::<UserId>()
            && self
                .app
                .store()
                .list_members(Some(self.tenant().to_owned()))
                .await
                .map_err(|e| e.failure())?
                .iter()
                .any(|m| m.user.id == user)
        {
            return Ok(Came::There(user.to_string(), note));
        }
        if let (Some(email), Some(role)) = (email, role) {
            let fresh = self.own::<UserId>(id, now());
            let row = self.app.store().put_member(fresh, self.tenant(), email, role, now()).await.map_err(|e| e.failure())?;
            self.app.rights_changed();
            return Ok(Came::New(row.user.id.to_string(), note));
        }
        let user = self.app.store().take_person(self.tenant(), id, name, role, now()).await.map_err(|e| e.failure())?;
        self.app.rights_changed();
        Ok(Came::New(user.to_string(), note))
    }

    /// An account comes switched off: it has no credential here, and where it ran before it may still run.
    async fn channel(&self, name: &str, network: &str, config: &Map<String, Value>) -> Result<Came, Failure> {
        if !model::is_name(name) || !model::is_name(network) {
            return Err(wrong("its name or network is none"));
        }
        match self.app.store().channel(name).await {
            Ok(there) if there.tenant == self.tenant() && there.network == network => {
                return Ok(Came::There(name.to_owned(), String::new()));
            }
            Ok(_) => return Err(wrong("another account has this name")),
            Err(StoreError::NotFound { .. }) => {}
            Err(error) => return Err(error.failure()),
        }
        let mut note =
            format!("give it its credentials and switch it on: lazaret channel set {name} --credential -, lazaret channel on {name}");
        if self.dry_run {
            return Ok(Came::New(name.to_owned(), note));
        }
        let about = match self.app.channel_about(network, None).await {
            Ok(about) => about,
            Err(failure) => {
                note = format!("{note} (what it needs is not known yet: {})", failure.message);
                About { network: network.to_owned(), ..About::default() }
            }
        };
        let row = ChannelRow {
            name: name.to_owned(),
            tenant: self.tenant().to_owned(),
            network: network.to_owned(),
            program: None,
            print: None,
            config: Value::Object(config.clone()),
            about: json!(about),
            is_on: false,
            cursor: None,
            me: None,
            abilities: None,
            host: None,
            created: now(),
        };
        self.app.store().put_channel(row, true).await.map_err(|e| e.failure())?;
        Ok(Came::New(name.to_owned(), note))
    }

    async fn chat(&self, row: ChatRow) -> Result<Came, Failure> {
        if self.dry_run {
            return Ok(Came::New(row.id.to_string(), String::new()));
        }
        let store = self.app.store();
        if let Some(there) = store.chat_named(&row.channel, &row.chat).await.map_err(|e| e.failure())? {
            return Ok(Came::There(there.id.to_string(), String::new()));
        }
        let (policy, denied) = (row.policy, row.denied.is_some());
        let made = store.put_chat(row).await.map_err(|e| e.failure())?;
        if policy != ChatPolicy::Strict || denied {
            store.set_chat(&made.id, Some(policy), Some(denied), now()).await.map_err(|e| e.failure())?;
        }
        Ok(Came::New(made.id.to_string(), String::new()))
    }

    async fn handle(&self, channel: &str, handle: &str, person: &str, name: &str) -> Result<Came, Failure> {
        let (channel, user) = (self.named("channel", channel).await?, self.named("person", person).await?);
        let key = format!("{channel}/{handle}");
        if self.dry_run {
            return Ok(Came::New(key, String::new()));
        }
        let user: UserId = user.parse().map_err(|_| wrong("the person is none"))?;
        // A handle that is linked here is whose it is here.
        if let Some(person) = self.app.store().person(self.tenant(), &channel, handle).await.map_err(|e| e.failure())? {
            let note = if person.user == user { "" } else { "it is somebody else's here, and stays so" };
            return Ok(Came::There(key, note.to_owned()));
        }
        self.app.store().link_handle(&channel, handle, name, &user, now()).await.map_err(|e| e.failure())?;
        Ok(Came::New(key, String::new()))
    }

    async fn role(&self, person: &str, agent: &str, role: &str) -> Result<Came, Failure> {
        let (user, agent) = (self.named("person", person).await?, self.named("agent", agent).await?);
        if !["member", "admin"].contains(&role) {
            return Err(wrong("a role with an agent is member or admin"));
        }
        let key = format!("{agent}/{user}");
        let note = if role == "admin" { format!("admin of {agent}") } else { String::new() };
        if !self.dry_run {
            let user: UserId = user.parse().map_err(|_| wrong("the person is none"))?;
            let row = AgentRoleRow { tenant: self.tenant().to_owned(), agent, user, role: role.to_owned() };
            self.app.store().grant_agent(row, BY, now()).await.map_err(|e| e.failure())?;
            self.app.rights_changed();
        }
        Ok(Came::New(key, note))
    }

    async fn wiring(&self, line: &CarryLine) -> Result<Came, Failure> {
        let CarryLine::Wiring { id, chat, agent, engage, pattern, senders, ignored, mode, priority, bots } = line else {
            return Err(wrong("it is no wiring"));
        };
        if let Some(pattern) = pattern {
            crate::router::check_pattern(pattern)?;
        }
        let agent = self.named("agent", agent).await?;
        let chat = self.chat_named(Some(chat)).await?;
        let id: WiringId = self.own(id, now());
        let (false, Some(chat)) = (self.dry_run, chat) else { return Ok(Came::New(id.to_string(), String::new())) };
        let wired = self.app.store().list_wirings(None, Some(chat.clone())).await.map_err(|e| e.failure())?;
        if let Some(there) = wired.into_iter().find(|wiring| wiring.agent == agent) {
            return Ok(Came::There(there.id.to_string(), String::new()));
        }
        let row = WiringRow {
            id,
            chat,
            agent,
            engage: *engage,
            pattern: pattern.clone(),
            senders: *senders,
            ignored: *ignored,
            mode: *mode,
            priority: *priority,
            bots: *bots,
            created: now(),
        };
        let wired = self.app.store().put_wiring(row).await.map_err(|e| e.failure())?;
        Ok(Came::New(wired.id.to_string(), String::new()))
    }

    async fn destination(&self, row: DestinationRow) -> Result<Came, Failure> {
        let key = format!("{}/{}", row.agent, row.name);
        let there = self.app.store().destinations(&row.tenant, &row.agent).await.map_err(|e| e.failure())?;
        // A wiring made one of its own for its chat.
        let same = |other: &&DestinationRow| {
            other.name == row.name || (row.chat.is_some() && other.chat == row.chat && other.thread == row.thread)
        };
        if let Some(there) = there.iter().find(same) {
            return Ok(Came::There(format!("{}/{}", there.agent, there.name), String::new()));
        }
        if !self.dry_run {
            self.app.store().put_destination(row, now()).await.map_err(|e| e.failure())?;
        }
        Ok(Came::New(key, String::new()))
    }

    async fn memory(&self, line: &CarryLine) -> Result<Came, Failure> {
        let CarryLine::Memory { id, agent, kind, content, tags, by, confirmed, created } = line else {
            return Err(wrong("it is no memory"));
        };
        let agent = self.named("agent", agent).await?;
        let content = crate::memory::cleaned(self.app.broker(), content.clone());
        let tags: Vec<String> = tags.iter().map(|tag| crate::memory::cleaned(self.app.broker(), tag.clone())).collect();
        let waits = *by == MemoryAuthor::Agent && crate::memory::is_commanding(&content);
        let new = NewMemory {
            // From its name alone: when the other install says that it was written may be another time at the next look.
            id: self.own(id, Timestamp(0)),
            owner: MemoryOwner { tenant: self.tenant().to_owned(), agent },
            kind: *kind,
            behavioural: waits,
            content,
            tags,
            supersedes: None,
            source: MemorySource { author: *by, ..MemorySource::OWNER },
            now: *created,
        };
        let id = new.id.clone();
        let is_waiting = *by == MemoryAuthor::Agent && (waits || kind.is_behavioural()) && !confirmed;
        let note = if is_waiting { "it acts once you confirm it: lazaret memory list --waiting" } else { "" };
        if self.dry_run {
            return Ok(Came::New(id.to_string(), note.to_owned()));
        }
        let scope = store::MemoryScope { tenant: Some(self.tenant().to_owned()) };
        if self.app.store().memory(&scope, &id).await.is_ok() {
            return Ok(Came::There(id.to_string(), note.to_owned()));
        }
        self.app.store().store_memory(new).await.map_err(|e| e.failure())?;
        if *confirmed && *by == MemoryAuthor::Agent {
            self.app.store().confirm_memory(&scope, &id, now()).await.map_err(|e| e.failure())?;
        }
        Ok(Came::New(id.to_string(), note.to_owned()))
    }

    /// A task comes paused: where it came from it may still be due.
    async fn task(&self, line: &CarryLine) -> Result<Came, Failure> {
        let CarryLine::Task { id, name, cron, zone, misfire, overlap, failures_max, agent, action } = line else {
            return Err(wrong("it is no task"));
        };
        let mut action = action.clone();
        if let (Some(agent), Some(message)) = (agent, action.get_mut("message").and_then(Value::as_object_mut)) {
            message.insert("agent".to_owned(), Value::String(self.named("agent", agent).await?));
        }
        let action: TaskAction = serde_json::from_value(action).map_err(|e| wrong(&format!("what it does is not understood: {e}")))?;
        crate::tasks::Schedule::parse(cron, zone)?;
        let note = format!("it is paused: lazaret task resume '{}'", name.replace('\'', ""));
        let tasks = TasksOf { app: self.app, caller: self.caller.clone() };
        let own: TaskId = self.own(id, Timestamp(0));
        if let Ok(there) = self.app.store().task(&own).await {
            return Ok(Came::There(there.id.to_string(), note));
        }
        if self.app.store().task_named(self.tenant(), name).await.is_ok() {
            return Err(wrong("another task has this name"));
        }
        if self.dry_run {
            return Ok(Came::New(own.to_string(), note));
        }
        let action = tasks.checked(action).await?;
        let new = NewTask {
            id: own.clone(),
            tenant: self.tenant().to_owned(),
            name: name.clone(),
            cron: cron.trim().to_owned(),
            zone: zone.clone(),
            misfire: misfire.as_str().to_owned(),
            overlap: overlap.as_str().to_owned(),
            action: serde_json::to_value(&action).map_err(|e| wrong(&e.to_string()))?,
            failures_max: failures_max.unwrap_or(crate::tasks::FAILURES.0).clamp(1, crate::tasks::FAILURES.1),
            is_owners: self.caller.tenant.is_none(),
            // Without a time nothing is due in the moment before it is paused.
            due: None,
            now: now(),
        };
        let row = self.app.store().create_task(new).await.map_err(|e| e.failure())?;
        self.app.store().change_task(&row.id, TaskChange::Pause, now()).await.map_err(|e| e.failure())?;
        Ok(Came::New(row.id.to_string(), note))
    }

    /// A chat that was named, where one is.
    pub(super) async fn chat_named(&self, chat: Option<&str>) -> Result<Option<ChatId>, Failure> {
        let Some(chat) = chat else { return Ok(None) };
        let made = self.named("chat", chat).await?;
        made.parse().map(Some).map_err(|_| wrong("the chat is none"))
    }
}

/// An identity that comes from bits.
pub(super) trait FromBits {
    /// What kind of thing it names.
    const WHAT: &'static str;
    /// The identity.
    fn from_own_bits(bits: u128) -> Self;
}

macro_rules! from_bits {
    ($($id:ident $what:literal),+) => {
        $(impl FromBits for $id {
            const WHAT: &'static str = $what;
            fn from_own_bits(bits: u128) -> Self {
                Self::from_bits(bits)
            }
        })+
    };
}

from_bits!(ChatId "chat", WiringId "wiring", UserId "person", MemoryId "memory", TaskId "task", SessionId "session", TurnId "turn");

/// Whether two agents are the same but for what does not travel.
fn is_same(there: &AgentForm, form: &AgentForm) -> bool {
    let bare = |agent: &AgentForm| {
        let mut agent = agent.clone();
        (agent.secrets, agent.egress) = (Vec::new(), Vec::new());
        if agent.group.is_empty() {
            agent.group = "default".to_owned();
        }
        serde_json::to_value(agent).ok()
    };
    bare(there) == bare(form)
}

/// Whether nobody made anything of an agent yet: the one that is always there.
fn is_blank(agent: &AgentForm) -> bool {
    is_same(agent, &AgentForm { name: agent.name.clone(), ..AgentForm::default() })
}

pub(super) fn wrong(why: &str) -> Failure {
    Failure::new(Code::Usage, why)
}
