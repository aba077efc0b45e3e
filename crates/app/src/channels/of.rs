//! Channels and chats as people see and change them.

use std::collections::BTreeMap;

use model::{ChatId, ChatPolicy, Code, Engage, Failure, Ignored, OutboxId, Senders, SessionMode, WiringId};
use serde_json::{Value, json};
use store::{ChannelRow, ChatFilter, ChatRow, DestinationRow, OutFilter, OutRow, Page, StoreError, WiringRow};
use wire::chat::{About, Health};
use zeroize::Zeroizing;

use super::forms::{
    ChannelForm, ChannelPatch, ChannelView, ChatForm, ChatPatch, ChatQuery, ChatView, DestinationForm, DestinationView, OutQuery, OutView,
    WiringForm, WiringView,
};
use super::launch::channel_secret;
use super::web::{Ground, is_own};
use crate::clock::fresh_bits;
use crate::live::lock;
use crate::router::check_pattern;
use crate::{App, Caller, now};

/// Entries of a page when nothing is said, and at most.
const PAGE: (usize, usize) = (50, 200);
/// How long ago something may have been said that is routed once an agent hears its chat, in milliseconds.
const HELD_MS: u64 = 3_600_000;
/// Bytes of a credential.
const CREDENTIAL_BYTES_MAX: usize = 64 << 10;

/// The channels that a caller sees.
pub struct ChannelsOf<'a> {
    pub(crate) app: &'a App,
    pub(crate) caller: Caller,
}

/// The chats that a caller sees.
pub struct ChatsOf<'a> {
    pub(crate) app: &'a App,
    pub(crate) caller: Caller,
}

impl App {
    /// The channels that this caller sees.
    #[must_use]
    pub fn channels_of(&self, caller: &Caller) -> ChannelsOf<'_> {
        ChannelsOf { app: self, caller: caller.clone() }
    }

    /// The chats that this caller sees.
    #[must_use]
    pub fn chats_of(&self, caller: &Caller) -> ChatsOf<'_> {
        ChatsOf { app: self, caller: caller.clone() }
    }

    /// A channel that a caller sees.
    pub(super) async fn channel_seen(&self, caller: &Caller, name: &str) -> Result<ChannelRow, Failure> {
        let row = self.store().channel(name).await.map_err(|e| e.failure())?;
        if caller.sees(&row.tenant) {
            return Ok(row);
        }
        Err(StoreError::NotFound { what: "channel", id: name.to_owned() }.failure())
    }

    /// A chat that a caller sees: by its identity, or by its account and the platform's id.
    pub(super) async fn chat_seen(&self, caller: &Caller, chat: &str) -> Result<ChatRow, Failure> {
        let missing = || StoreError::NotFound { what: "chat", id: chat.to_owned() }.failure();
        let (tenant, row) = match chat.parse::<ChatId>() {
            Ok(id) => self.store().chat(&id).await.map_err(|e| e.failure())?,
            Err(_) => {
                let (channel, platform) = chat.split_once('/').ok_or_else(missing)?;
                let tenant = self.channel_seen(caller, channel).await?.tenant;
                (tenant, self.store().chat_named(channel, platform).await.map_err(|e| e.failure())?.ok_or_else(missing)?)
            }
        };
        if caller.sees(&tenant) { Ok(row) } else { Err(missing()) }
    }
}

impl ChannelsOf<'_> {
    /// Adds an account, looks at what its program needs, and begins it.
    ///
    /// # Errors
    /// The name is none or taken, no program knows the network, or a credential is missing.
    pub async fn add(&self, form: ChannelForm) -> Result<ChannelView, Failure> {
        let wrong = |field: &str, why: &str| Failure::new(Code::Usage, why).field(field);
        if !model::is_name(&form.name) {
            return Err(wrong("name", "a name has small letters, digits and `-`"));
        }
        if !model::is_name(&form.network) {
            return Err(wrong("network", "a network is named by small letters, digits and `-`"));
        }
        if let Some(ground) = Ground::of(&form.network).or_else(|| Ground::of(&form.name)) {
            let failure = wrong(
                if is_own(&form.network) { "network" } else { "name" },
                "the daemon's own conversations are made when somebody begins one",
            );
            return Err(failure.hint(match ground {
                Ground::Page => "open the page: lazaret ui",
                Ground::Terminal => "begin one: lazaret chat --channel",
            }));
        }
        let tenant = form.tenant.clone().unwrap_or_else(|| self.caller.makes_for().to_owned());
        if !self.caller.sees(&tenant) || !model::is_name(&tenant) {
            return Err(wrong("tenant", "there is no such tenant"));
        }
        let _changing = self.app.board().changing.lock().await;
        if self.app.store().channel(&form.name).await.is_ok() {
            return Err(Failure::new(Code::Conflict, format!("channel `{}` exists", form.name)).field("name"));
        }
        let print = match &form.program {
            Some(program) => Some(self.app.channel_print(program).await?),
            None => None,
        };
        let about = self.app.channel_about(&form.network, form.program.as_deref()).await?;
        let form = ChannelForm { credentials: named(&about, form.credentials)?, ..form };
        check_credentials(&about, &form.credentials)?;
        self.app.check_reach(&about, &form.config)?;
        let is_set =
            |key: &String| form.credentials.contains_key(key) || self.app.secrets().value(&channel_secret(&form.name, key)).is_some();
        if let Some(missing) = about.credentials.iter().find(|c| c.required && !is_set(&c.key)) {
            return Err(Failure::new(Code::KeyMissing, format!("the credential `{}` is needed: {}", missing.key, missing.description))
                .hint(format!("--credential {}=-", missing.key))
                .field(missing.key.clone()));
        }
        self.keep_credentials(&form.name, form.credentials).await?;
        let row = ChannelRow {
            name: form.name.clone(),
            tenant,
            network: form.network,
            program: form.program,
            print,
            config: Value::Object(form.config),
            about: json!(about),
            is_on: true,
            cursor: None,
            me: None,
            abilities: None,
            host: None,
            created: now(),
        };
        self.app.store().put_channel(row, true).await.map_err(|e| e.failure())?;
        model::crash::point("channel:added");
        self.app.begin_channel(&form.name);
        self.show(&form.name).await
    }

    /// Changes an account and begins it again.
    ///
    /// # Errors
    /// There is none of this name, or the form is wrong.
    pub async fn set(&self, name: &str, patch: ChannelPatch) -> Result<ChannelView, Failure> {
        let mut row = self.app.channel_seen(&self.caller, name).await?;
        if is_own(name) {
            return Err(
                Failure::new(Code::Usage, "the daemon's own account has nothing to set").hint("it can be switched on, off and removed")
            );
        }
        let _changing = self.app.board().changing.lock().await;
        if let Some(program) = patch.program {
            row.print = Some(self.app.channel_print(&program).await?);
            row.program = Some(program);
        }
        let about = self.app.channel_about(&row.network, row.program.as_deref()).await?;
        let credentials = named(&about, patch.credentials)?;
        check_credentials(&about, &credentials)?;
        if let Some(config) = &patch.config {
            self.app.check_reach(&about, config)?;
        }
        self.keep_credentials(name, credentials).await?;
        row.about = json!(about);
        if let Some(config) = patch.config {
            row.config = Value::Object(config);
        }
        row.is_on = patch.on.unwrap_or(row.is_on);
        let is_on = row.is_on;
        self.app.store().put_channel(row, false).await.map_err(|e| e.failure())?;
        self.app.end_channel(name).await;
        if is_on {
            self.app.begin_channel(name);
        }
        self.show(name).await
    }

    /// Switches an account on or off. What it owes waits meanwhile.
    ///
    /// # Errors
    /// There is none of this name.
    pub async fn switch(&self, name: &str, is_on: bool) -> Result<ChannelView, Failure> {
        self.app.channel_seen(&self.caller, name).await?;
        let _changing = self.app.board().changing.lock().await;
        self.app.store().switch_channel(name, is_on, now()).await.map_err(|e| e.failure())?;
        if is_on {
            self.app.begin_channel(name)
        } else {
            self.app.end_channel(name).await
        }
        self.show(name).await
    }

    /// Forgets an account: its chats, what was heard, what is owed, its files and its credentials. Sessions stay.
    ///
    /// # Errors
    /// There is none of this name.
    pub async fn remove(&self, name: &str) -> Result<ChannelView, Failure> {
        let row = self.app.channel_seen(&self.caller, name).await?;
        let view = self.show(name).await?;
        let _changing = self.app.board().changing.lock().await;
        self.app.end_channel(name).await;
        // Before the row: nobody would know afterwards whose they were, and an account of the same name would have them.
        let about: About = serde_json::from_value(row.about).unwrap_or_default();
        for credential in about.credentials {
            // One that was never set is not there.
            let _ = self.app.secrets().remove(&channel_secret(name, &credential.key)).await;
        }
        self.app.store().remove_channel(name).await.map_err(|e| e.failure())?;
        model::crash::point("channel:removed");
        let tree = super::launch::channel_tree(name);
        self.app.sandboxes().remove_trees(&[tree]).await.map_err(|e| e.failure())?;
        Ok(view)
    }

    /// The accounts, by name.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn list(&self) -> Result<Vec<ChannelView>, Failure> {
        let rows = self.app.store().list_channels(self.caller.tenant.clone()).await.map_err(|e| e.failure())?;
        Ok(rows.into_iter().map(|row| self.view(row)).collect())
    }

    /// One account.
    ///
    /// # Errors
    /// There is none of this name.
    pub async fn show(&self, name: &str) -> Result<ChannelView, Failure> {
        let row = self.app.channel_seen(&self.caller, name).await?;
        Ok(self.view(row))
    }

    async fn keep_credentials(&self, channel: &str, credentials: BTreeMap<String, String>) -> Result<(), Failure> {
        for (key, value) in credentials {
            self.app.secrets().set(&channel_secret(channel, &key), Zeroizing::new(value)).await?;
        }
        Ok(())
    }

    fn view(&self, row: ChannelRow) -> ChannelView {
        let about: About = serde_json::from_value(row.about).unwrap_or_default();
        let state = self.app.board().desk(&row.name).map(|desk| lock(&desk.state).clone());
        let (health, message, restarts) = match state {
            None => ("off", String::new(), 0),
            Some(state) => {
                let word = match state.health {
                    Some(Health::Well) => "well",
                    Some(Health::Connecting) => "connecting",
                    Some(Health::Credential) => "credential",
                    Some(Health::Configuration) => "configuration",
                    None if state.restarts == 0 => "starting",
                    None => "down",
                };
                (word, state.message, state.restarts)
            }
        };
        let is_set = |key: &str| self.app.secrets().value(&channel_secret(&row.name, key)).is_some();
        ChannelView {
            hook: about.webhooks.then(|| format!("/hooks/{}", row.name)),
            credentials: about.credentials.iter().map(|c| (c.key.clone(), is_set(&c.key))).collect(),
            hosts: about.hosts,
            name: row.name,
            tenant: row.tenant,
            network: row.network,
            program: row.program,
            config: row.config,
            on: row.is_on,
            health: health.to_owned(),
            message,
            restarts,
            me: row.me,
            abilities: row.abilities,
            created: row.created,
        }
    }

    /// A page of deliveries, the youngest first.
    ///
    /// # Errors
    /// The cursor is none.
    pub async fn deliveries(&self, query: OutQuery) -> Result<Page<OutView>, Failure> {
        let after = query.after.as_deref().map(str::parse).transpose().map_err(|_: model::IdError| no_cursor())?;
        let filter = OutFilter { tenant: self.caller.tenant.clone(), channel: query.channel, state: query.state };
        let page =
            self.app.store().list_out(filter, after, query.limit.unwrap_or(PAGE.0).clamp(1, PAGE.1)).await.map_err(|e| e.failure())?;
        Ok(Page { items: page.items.into_iter().map(out_view).collect(), next: page.next })
    }

    /// Sends once more what was given up.
    ///
    /// # Errors
    /// There is none of this identity, or it is not given up.
    pub async fn resend(&self, id: &str) -> Result<OutView, Failure> {
        let id: OutboxId = id.parse().map_err(|e: model::IdError| Failure::new(Code::NotFound, e.to_string()))?;
        let row = self.app.store().out(&id).await.map_err(|e| e.failure())?;
        if !self.caller.sees(&row.tenant) {
            return Err(StoreError::NotFound { what: "delivery", id: id.to_string() }.failure());
        }
        let row = self.app.store().resend_out(&id, now()).await.map_err(|e| e.failure())?;
        self.app.wake_channel(&row.channel);
        Ok(out_view(row))
    }
}

impl ChatsOf<'_> {
    /// A page of chats, the youngest first.
    ///
    /// # Errors
    /// The cursor is none.
    pub async fn list(&self, query: ChatQuery) -> Result<Page<ChatView>, Failure> {
        let after = query.after.as_deref().map(str::parse).transpose().map_err(|_: model::IdError| no_cursor())?;
        let filter = ChatFilter { tenant: self.caller.tenant.clone(), channel: query.channel };
        let limit = query.limit.unwrap_or(PAGE.0).clamp(1, PAGE.1);
        let page = self.app.store().list_chats(filter, after, limit).await.map_err(|e| e.failure())?;
        let mut items = Vec::with_capacity(page.items.len());
        for row in page.items {
            items.push(self.view(row).await?);
        }
        Ok(Page { items, next: page.next })
    }

    /// One chat: by its identity, or as `CHANNEL/ID`.
    ///
    /// # Errors
    /// There is none.
    pub async fn show(&self, chat: &str) -> Result<ChatView, Failure> {
        let row = self.app.chat_seen(&self.caller, chat).await?;
        self.view(row).await
    }

    /// Makes a chat known before anything was heard in it.
    ///
    /// # Errors
    /// There is no such account.
    pub async fn put(&self, form: ChatForm) -> Result<ChatView, Failure> {
        let channel = self.app.channel_seen(&self.caller, &form.channel).await?;
        let row = ChatRow {
            id: ChatId::from_bits(fresh_bits()),
            channel: channel.name,
            chat: form.chat,
            name: form.name,
            is_group: form.group,
            policy: ChatPolicy::Strict,
            denied: None,
            created: now(),
            heard: now(),
        };
        let row = self.app.store().put_chat(row).await.map_err(|e| e.failure())?;
        self.view(row).await
    }

    /// Changes what becomes of who is not known in a chat, and whether anything of it is wanted.
    ///
    /// # Errors
    /// There is none.
    pub async fn set(&self, chat: &str, patch: ChatPatch) -> Result<ChatView, Failure> {
        let id = self.app.chat_seen(&self.caller, chat).await?.id;
        let row = self.app.store().set_chat(&id, patch.policy, patch.denied, now()).await.map_err(|e| e.failure())?;
        self.view(row).await
    }

    /// Lets an agent hear a chat. What the chat said last while nobody heard it is routed then, once.
    ///
    /// # Errors
    /// The chat or agent is none, or the pattern cannot be used.
    pub async fn wire(&self, form: WiringForm) -> Result<WiringView, Failure> {
        let chat = self.app.chat_seen(&self.caller, &form.chat).await?;
        let agent = self.app.agents().show(&form.agent).await?.name;
        let engage = form.engage.unwrap_or_else(|| if form.pattern.is_some() || !chat.is_group { Engage::Pattern } else { Engage::Sticky });
        let pattern = match (engage, form.pattern) {
            (Engage::Pattern, pattern) => Some(pattern.unwrap_or_else(|| ".".to_owned())),
            (_, None) => None,
            (_, Some(_)) => return Err(Failure::new(Code::Usage, "a pattern goes with engage `pattern`").field("pattern")),
        };
        if let Some(pattern) = &pattern {
            check_pattern(pattern)?;
        }
        let row = WiringRow {
            id: WiringId::from_bits(fresh_bits()),
            chat: chat.id.clone(),
            agent,
            engage,
            pattern,
            senders: form.senders.unwrap_or(Senders::Known),
            ignored: form.ignored.unwrap_or(if chat.is_group { Ignored::Accumulate } else { Ignored::Drop }),
            mode: form.mode.unwrap_or(SessionMode::Shared),
            priority: form.priority,
            bots: form.bots,
            created: now(),
        };
        let wired = self.app.store().put_wiring(row).await.map_err(|e| e.failure())?;
        let since = model::Timestamp(now().0.saturating_sub(HELD_MS));
        if self.app.store().open_held(&chat.id, since).await.map_err(|e| e.failure())?.is_some() {
            self.app.go_on_hosting(&chat.channel);
        }
        Ok(wiring_view(wired))
    }

    /// The wirings, the youngest first: of one chat or all.
    ///
    /// # Errors
    /// There is no such chat.
    pub async fn wirings(&self, chat: Option<&str>) -> Result<Vec<WiringView>, Failure> {
        let chat = match chat {
            Some(chat) => Some(self.app.chat_seen(&self.caller, chat).await?.id),
            None => None,
        };
        let rows = self.app.store().list_wirings(self.caller.tenant.clone(), chat).await.map_err(|e| e.failure())?;
        Ok(rows.into_iter().map(wiring_view).collect())
    }

    /// Lets an agent hear a chat no more.
    ///
    /// # Errors
    /// There is no such wiring.
    pub async fn unwire(&self, id: &str) -> Result<WiringView, Failure> {
        let id: WiringId = id.parse().map_err(|e: model::IdError| Failure::new(Code::NotFound, e.to_string()))?;
        let (tenant, row) = self.app.store().wiring(&id).await.map_err(|e| e.failure())?;
        if !self.caller.sees(&tenant) {
            return Err(StoreError::NotFound { what: "wiring", id: id.to_string() }.failure());
        }
        self.app.store().remove_wiring(&id).await.map_err(|e| e.failure())?;
        Ok(wiring_view(row))
    }

    /// Lets an agent send somewhere.
    ///
    /// # Errors
    /// The agent, chat or target is none.
    pub async fn destine(&self, form: DestinationForm) -> Result<DestinationView, Failure> {
        let agent = self.app.agents().show(&form.agent).await?.name;
        let target = match &form.target {
            Some(target) => Some(self.app.agents().show(target).await?.name),
            None => None,
        };
        let (tenant, chat) = match &form.chat {
            Some(chat) => {
                let row = self.app.chat_seen(&self.caller, chat).await?;
                (self.app.channel_seen(&self.caller, &row.channel).await?.tenant, Some(row.id))
            }
            None => (self.caller.makes_for().to_owned(), None),
        };
        let row = DestinationRow { tenant, agent, name: form.name, chat, thread: form.thread, target };
        self.app.store().put_destination(row.clone(), now()).await.map_err(|e| e.failure())?;
        Ok(destination_view(row))
    }

    /// Where an agent may send to.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn destinations(&self, agent: &str) -> Result<Vec<DestinationView>, Failure> {
        let rows = self.app.store().destinations(self.caller.makes_for(), agent).await.map_err(|e| e.failure())?;
        Ok(rows.into_iter().map(destination_view).collect())
    }

    /// Lets an agent send somewhere no more.
    ///
    /// # Errors
    /// There is no such destination.
    pub async fn undestine(&self, agent: &str, name: &str) -> Result<(), Failure> {
        self.app.store().remove_destination(self.caller.makes_for(), agent, name).await.map_err(|e| e.failure())
    }

    async fn view(&self, row: ChatRow) -> Result<ChatView, Failure> {
        let wirings = self.app.store().list_wirings(None, Some(row.id.clone())).await.map_err(|e| e.failure())?;
        Ok(ChatView {
            id: row.id,
            channel: row.channel,
            chat: row.chat,
            name: row.name,
            group: row.is_group,
            policy: row.policy,
            denied: row.denied.is_some(),
            agents: wirings.into_iter().map(|wiring| wiring.agent).collect(),
            heard: row.heard,
        })
    }
}

/// One credential may come without its key, where it is plain which one is meant: the only one that is needed, or the only one.
fn named(about: &About, mut given: BTreeMap<String, String>) -> Result<BTreeMap<String, String>, Failure> {
    let Some(value) = given.remove("") else { return Ok(given) };
    let needed: Vec<&str> = about.credentials.iter().filter(|known| known.required).map(|known| known.key.as_str()).collect();
    let known: Vec<&str> = about.credentials.iter().map(|known| known.key.as_str()).collect();
    let key = match (needed.as_slice(), known.as_slice()) {
        ([one], _) | ([], [one]) => *one,
        (_, []) => return Err(Failure::new(Code::Usage, "the network has no credentials").field("credentials")),
        _ => {
            return Err(Failure::new(Code::Usage, "the network has several credentials: say which one this is")
                .hint(format!("--credential KEY=- with one of: {}", known.join(", ")))
                .field("credentials"));
        }
    };
    if given.insert(key.to_owned(), value).is_some() {
        return Err(Failure::new(Code::Usage, format!("the credential `{key}` is given twice")).field("credentials"));
    }
    Ok(given)
}

fn check_credentials(about: &About, given: &BTreeMap<String, String>) -> Result<(), Failure> {
    for (key, value) in given {
        if !about.credentials.iter().any(|known| known.key == *key) {
            let known: Vec<&str> = about.credentials.iter().map(|known| known.key.as_str()).collect();
            return Err(Failure::new(Code::Usage, format!("the network has no credential `{}`", key.escape_debug()))
                .hint(format!("it has: {}", known.join(", ")))
                .field("credentials"));
        }
        if value.len() > CREDENTIAL_BYTES_MAX {
            return Err(
                Failure::new(Code::TooLarge, format!("a credential has more than {CREDENTIAL_BYTES_MAX} bytes")).field("credentials")
            );
        }
    }
    Ok(())
}

fn no_cursor() -> Failure {
    Failure::new(Code::Usage, "this is no cursor of an earlier page").field("after")
}

fn wiring_view(row: WiringRow) -> WiringView {
    WiringView {
        id: row.id,
        chat: row.chat,
        agent: row.agent,
        engage: row.engage,
        pattern: row.pattern,
        senders: row.senders,
        ignored: row.ignored,
        mode: row.mode,
        priority: row.priority,
        bots: row.bots,
    }
}

fn destination_view(row: DestinationRow) -> DestinationView {
    DestinationView { agent: row.agent, name: row.name, chat: row.chat, thread: row.thread, target: row.target }
}

pub(super) fn out_view(row: OutRow) -> OutView {
    OutView {
        id: row.id,
        channel: row.channel,
        chat: row.chat,
        act: row.act,
        state: row.state,
        attempts: row.attempts,
        messages: row.messages,
        error: row.error,
        created: row.created,
    }
}
