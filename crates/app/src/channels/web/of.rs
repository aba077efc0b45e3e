//! Conversations with the daemon itself, as whoever is logged in has them.

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use model::{ChatId, ChatPolicy, Code, Engage, Failure, Ignored, InboundId, OutboxId, Senders, SessionMode, UserId, WiringId};
use serde_json::{Value, json};
use store::{Arrival, ChannelRow, ChatRow, OutRow, StoreError, Talk, WiringRow};
use wire::chat::{Act, Attachment, CHAT_TEXT_BYTES_MAX, Chat, Heard, HeardKind, Who};

use super::forms::{WebChat, WebEditForm, WebMessageForm, WebMessageQuery, WebMessages, WebPressForm, WebSaid};
use super::hub::Holding;
use super::{Ground, desk, view};
use crate::channels::why::fix_of;
use crate::clock::fresh_bits;
use crate::router::permits;
use crate::{App, Caller, MessageFile, Role, now};

/// Messages of a page when nothing is said, and at most.
const PAGE: (usize, usize) = (100, 500);
/// The longest wait for a change, in seconds.
const WAIT_S_MAX: u64 = 50;
/// How long the host's answer to a pressed button is waited for, and how often is looked.
const HOST_WAIT: (Duration, Duration) = (Duration::from_secs(30), Duration::from_millis(20));
/// Files of one message, and bytes of all of them together.
const FILES_MAX: usize = 10;
const FILES_BYTES_MAX: usize = 48 << 20;
/// Who the owner of the home is among the people: always the same person.
const OWNER: (u128, &str, &str) = (1, "lazaret", "owner");

/// Who speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Speaker {
    /// The owner of the home.
    Owner,
    /// Somebody who logged in.
    Person(UserId),
}

/// The conversations of whoever is logged in.
pub struct WebOf<'a> {
    pub(crate) app: &'a App,
    pub(crate) caller: Caller,
    pub(crate) speaker: Speaker,
    pub(crate) ground: Ground,
    /// Which of several conversations with an agent.
    pub(crate) named: Option<String>,
}

/// Where somebody speaks.
struct Here {
    tenant: String,
    channel: String,
    user: UserId,
    name: String,
    named: Option<String>,
}

impl Here {
    /// The platform's id of the conversation with an agent. Neither names of agents nor those of conversations have a dot.
    fn chat(&self, agent: &str) -> String {
        let first = format!("{}.{agent}", self.user);
        match &self.named {
            Some(name) => format!("{first}.{name}"),
            None => first,
        }
    }

    fn talk(&self, agent: &str, before: Option<String>) -> Talk {
        let beside = Some((self.user.to_string(), agent.to_owned()));
        Talk { channel: self.channel.clone(), chat: self.chat(agent), beside, before }
    }

    fn heard(&self, kind: HeardKind, id: String, chat: &str, text: String) -> Heard {
        Heard {
            kind,
            id,
            chat: Chat { id: chat.to_owned(), name: self.name.clone(), group: false },
            thread: None,
            sender: Who { id: self.user.to_string(), name: self.name.clone(), bot: false },
            text,
            mention: true,
            quoted: None,
            about: None,
            value: None,
            files: Vec::new(),
            at_ms: i64::try_from(now().0).unwrap_or(i64::MAX),
        }
    }
}

impl App {
    /// The conversations that this person has there: those of a name, or those without.
    #[must_use]
    pub fn web_of(&self, caller: &Caller, speaker: Speaker, ground: Ground, named: Option<String>) -> WebOf<'_> {
        WebOf { app: self, caller: caller.clone(), speaker, ground, named }
    }
}

impl WebOf<'_> {
    /// The agents that may be talked to, the conversation that was heard last first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn chats(&self) -> Result<Vec<WebChat>, Failure> {
        let here = self.here().await?;
        let store = self.app.store();
        let rows = store.chats_beginning(&here.channel, &format!("{}.", here.user)).await.map_err(|e| e.failure())?;
        let mut chats = Vec::new();
        for agent in self.app.agents().list().await? {
            if !self.may_talk(&here, &agent.name).await? {
                continue;
            }
            let first = here.chat(&agent.name);
            if rows.iter().all(|row| row.chat != first) {
                chats.push(WebChat { agent: agent.name.clone(), name: None, chat: None, heard: None, is_heard: true });
            }
            for row in &rows {
                let Some(rest) = row.chat.strip_prefix(&first) else { continue };
                let name = match rest.strip_prefix('.') {
                    Some(name) => Some(name.to_owned()),
                    None if rest.is_empty() => None,
                    // Of an agent whose name goes on.
                    None => continue,
                };
                let is_heard = row.denied.is_none() && store.heard_by(&row.id).await.map_err(|e| e.failure())? > 0;
                chats.push(WebChat { agent: agent.name.clone(), name, chat: Some(row.id.clone()), heard: Some(row.heard), is_heard });
            }
        }
        // The order of names stays among those that were never heard.
        chats.sort_by_key(|chat| std::cmp::Reverse(chat.heard));
        Ok(chats)
    }

    /// The messages of a conversation, the youngest page first, each page the oldest message first.
    ///
    /// # Errors
    /// The agent is none, or may not be talked to; the cursor is none.
    pub async fn messages(&self, agent: &str, query: WebMessageQuery) -> Result<WebMessages, Failure> {
        let here = self.here().await?;
        let agent = self.agent(&here, agent).await?;
        let wrong = || Failure::new(Code::Usage, "this is no cursor of an earlier page").field("after");
        if query.after.as_ref().is_some_and(|after| after.len() != 32 || !after.bytes().all(|b| b.is_ascii_hexdigit())) {
            return Err(wrong());
        }
        let mut watch = self.app.board().web.watch(here.user.as_str());
        if let (Some(seen), Some(wait)) = (query.seen, query.wait_s) {
            let wait = Duration::from_secs(wait.min(WAIT_S_MAX));
            tokio::select! {
                _ = tokio::time::timeout(wait, watch.wait_for(|version| *version != seen)) => {}
                () = self.app.cancel().cancelled() => {}
            }
        }
        let version = *watch.borrow_and_update();
        let limit = query.limit.unwrap_or(PAGE.0).clamp(1, PAGE.1);
        let talk = here.talk(&agent, query.after);
        let told = self.app.store().heard_in(talk.clone(), limit + 1).await.map_err(|e| e.failure())?;
        let outs = self.app.store().said_in(talk, limit + 1).await.map_err(|e| e.failure())?;
        Ok(view::page(told, outs, limit, version))
    }

    /// Says something to an agent. When this returns, it is durable; the same key says it once. On the terminal, what the host itself
    /// answers is waited for.
    ///
    /// # Errors
    /// The agent may not be talked to, the text is too long, or a file cannot be read.
    pub async fn say(&self, agent: &str, form: WebMessageForm, key: Option<String>) -> Result<WebSaid, Failure> {
        check_text(&form.text, form.files.is_empty())?;
        let (here, chat) = self.open(agent).await?;
        let (files, _held) = self.hold(form.files)?;
        let id = key.map_or_else(fresh_message, |key| format!("key:{key}"));
        let heard = Heard { files, ..here.heard(HeardKind::Message, id, &chat.chat, form.text) };
        if self.ground == Ground::Page {
            return self.hear(&here, heard).await;
        }
        let id = InboundId::from_bits(fresh_bits());
        let said = self.hear_as(&here, id.clone(), heard).await?;
        if said.again || said.outcome.as_deref() == Some("turn") {
            return Ok(said);
        }
        Ok(WebSaid { said: self.answered(&id).await?, ..said })
    }

    /// Gives something that was said another text, as long as no turn took it.
    ///
    /// # Errors
    /// The agent may not be talked to, or the text is too long.
    pub async fn edit(&self, agent: &str, message: &str, form: WebEditForm) -> Result<WebSaid, Failure> {
        check_text(&form.text, true)?;
        let (here, chat) = self.open(agent).await?;
        let about = Some(bounded_id(message)?);
        self.hear(&here, Heard { about, ..here.heard(HeardKind::Edit, fresh_message(), &chat.chat, form.text) }).await
    }

    /// Presses a button of a message, and waits for what the host says to that.
    ///
    /// # Errors
    /// There is no such message, or it has no such button any more.
    pub async fn press(&self, agent: &str, message: &str, form: WebPressForm) -> Result<WebSaid, Failure> {
        let (here, _) = self.open(agent).await?;
        let row = self.out_here(&here, agent, message).await?;
        let shown = self.messages(agent, WebMessageQuery { limit: Some(PAGE.1), ..WebMessageQuery::default() }).await?;
        let now_has = shown.items.iter().find(|item| item.id == message).map(|item| item.buttons.clone());
        // An older one has the buttons that it was sent with.
        let has = now_has.unwrap_or_else(|| buttons_of(&row));
        if !has.iter().any(|button| button.value == form.value) {
            return Err(Failure::new(Code::Conflict, "the message has no such button any more").field("value"));
        }
        let about = Some(row.id.to_string());
        let heard = Heard { about, value: Some(form.value), ..here.heard(HeardKind::Button, fresh_message(), &row.chat, String::new()) };
        let id = InboundId::from_bits(fresh_bits());
        let said = self.hear_as(&here, id.clone(), heard).await?;
        Ok(WebSaid { said: self.answered(&id).await?, ..said })
    }

    /// A file of a message that was sent to this person: what it is called, and where it lies.
    ///
    /// # Errors
    /// There is no such message or file.
    pub async fn file(&self, agent: &str, message: &str, file: &str) -> Result<(String, PathBuf), Failure> {
        let here = self.here().await?;
        let agent = self.agent(&here, agent).await?;
        let row = self.out_here(&here, &agent, message).await?;
        let missing = || Failure::new(Code::NotFound, "the message has no such file, or it is no longer kept");
        let Ok(Act::Send { files, .. }) = serde_json::from_value(row.act) else { return Err(missing()) };
        let found = files.into_iter().find(|known| known.id == file).ok_or_else(missing)?;
        let path = self.app.out_file(&found.id).filter(|path| path.is_file()).ok_or_else(missing)?;
        Ok((found.name, path))
    }

    /// A delivery to this person in the conversation with an agent.
    async fn out_here(&self, here: &Here, agent: &str, message: &str) -> Result<OutRow, Failure> {
        let missing = || StoreError::NotFound { what: "message", id: message.to_owned() }.failure();
        let id: OutboxId = message.parse().map_err(|_| missing())?;
        let row = self.app.store().out(&id).await.map_err(|_| missing())?;
        let is_beside = row.chat == here.user.as_str() && row.agent.as_deref() == Some(agent);
        let is_here = row.channel == here.channel && (row.chat == here.chat(agent) || is_beside);
        if is_here { Ok(row) } else { Err(missing()) }
    }

    /// Who speaks, and through which account. Makes nothing.
    async fn here(&self) -> Result<Here, Failure> {
        if let Some(name) = &self.named {
            let wrong = |why: &str| Err(Failure::new(Code::Usage, why).field("chat"));
            if self.ground != Ground::Terminal {
                return wrong("there is one conversation with each agent here");
            }
            if !model::is_name(name) {
                return wrong("a conversation is named by small letters, digits and `-`");
            }
        }
        let tenant = self.caller.makes_for().to_owned();
        let channel = self.ground.channel(&tenant);
        let (user, name) = match &self.speaker {
            Speaker::Owner => (UserId::from_bits(OWNER.0), "Owner".to_owned()),
            Speaker::Person(user) => {
                let row = self.app.store().member(&tenant, user).await.map_err(|_| nobody())?;
                let name = [row.user.name, row.user.email].into_iter().find(|name| !name.is_empty());
                (user.clone(), name.unwrap_or_else(|| user.to_string()))
            }
        };
        Ok(Here { tenant, channel, user, name, named: self.named.clone() })
    }

    async fn may_talk(&self, here: &Here, agent: &str) -> Result<bool, Failure> {
        if self.speaker == Speaker::Owner {
            return Ok(true);
        }
        let person = self.app.store().rights_of(&here.tenant, &here.user).await.map_err(|e| e.failure())?;
        Ok(permits(&person, agent))
    }

    /// An agent that may be talked to.
    async fn agent(&self, here: &Here, agent: &str) -> Result<String, Failure> {
        let agent = self.app.agents().show(agent).await?.name;
        if self.may_talk(here, &agent).await? {
            return Ok(agent);
        }
        Err(Failure::new(Code::Forbidden, format!("only members of {agent} may talk to it"))
            .hint(format!("who looks after people lets you: lazaret role grant {} --agent {agent}", here.user)))
    }

    /// The conversation with an agent, made the first time: the account, the handle, the chat and who hears it. The chat comes last, so
    /// that what an earlier daemon did not come to is done again.
    async fn open(&self, agent: &str) -> Result<(Here, ChatRow), Failure> {
        let here = self.here().await?;
        let agent = self.agent(&here, agent).await?;
        let store = self.app.store();
        self.app.web_account(self.ground, &here.tenant).await?;
        let platform = here.chat(&agent);
        if let Some(there) = store.chat_named(&here.channel, &platform).await.map_err(|e| e.failure())? {
            return Ok((here, there));
        }
        if self.speaker == Speaker::Owner {
            let rules = vec![(here.tenant.clone(), Role::Owner.as_str().to_owned())];
            let (id, issuer, subject) = (here.user.clone(), OWNER.1.to_owned(), OWNER.2.to_owned());
            let owner = Arrival { id, issuer, subject, email: String::new(), name: here.name.clone(), rules, now: now() };
            store.arrive(owner).await.map_err(|e| e.failure())?;
        }
        let handle = here.user.as_str();
        store.link_handle(&here.channel, handle, &here.name, &here.user, now()).await.map_err(|e| e.failure())?;
        store.keep_dm(&here.channel, handle, handle).await.map_err(|e| e.failure())?;
        let chat = ChatRow {
            id: ChatId::from_bits(fresh_bits()),
            channel: here.channel.clone(),
            chat: platform,
            name: here.name.clone(),
            is_group: false,
            policy: ChatPolicy::Strict,
            denied: None,
            created: now(),
            heard: now(),
        };
        let wiring = WiringRow {
            id: WiringId::from_bits(fresh_bits()),
            chat: chat.id.clone(),
            agent,
            engage: Engage::Pattern,
            pattern: Some(".".to_owned()),
            senders: Senders::Known,
            ignored: Ignored::Drop,
            mode: SessionMode::Shared,
            priority: 0,
            bots: false,
            created: now(),
        };
        let made = store.open_chat(chat, wiring).await.map_err(|e| e.failure())?;
        Ok((here, made))
    }

    /// Holds files that come along until the message is durable.
    fn hold(&self, files: Vec<MessageFile>) -> Result<(Vec<Attachment>, Holding), Failure> {
        let wrong = |why: String| Failure::new(Code::Usage, why).field("files");
        if files.len() > FILES_MAX {
            return Err(wrong(format!("at most {FILES_MAX} files go with one message")));
        }
        let (mut named, mut held, mut total) = (Vec::new(), Vec::new(), 0);
        for file in files {
            let bytes = base64::engine::general_purpose::STANDARD
                .decode(&file.data)
                .map_err(|_| wrong(format!("the file `{}` is no base64", file.name.escape_debug())))?;
            total += bytes.len();
            if total > FILES_BYTES_MAX {
                let failure = Failure::new(Code::TooLarge, format!("the files have more than {FILES_BYTES_MAX} bytes together"));
                return Err(failure.field("files"));
            }
            let id = OutboxId::from_bits(fresh_bits()).to_string();
            named.push(Attachment { id: id.clone(), name: file.name, mime: String::new(), size: Some(bytes.len() as u64) });
            held.push((id, Bytes::from(bytes)));
        }
        Ok((named, self.app.board().web.hold(held)?))
    }

    /// Hears it as from any network, and says what became of it.
    async fn hear(&self, here: &Here, heard: Heard) -> Result<WebSaid, Failure> {
        self.hear_as(here, InboundId::from_bits(fresh_bits()), heard).await
    }

    async fn hear_as(&self, here: &Here, id: InboundId, heard: Heard) -> Result<WebSaid, Failure> {
        let said = WebSaid { id: heard.id.clone(), ..WebSaid::default() };
        self.app.hear_report(&here.channel, id.clone(), heard).await?;
        self.app.board().web.changed(here.user.as_str());
        match self.app.store().inbound(&id).await {
            Ok(row) => {
                let fix = row.gate.as_deref().and_then(|gate| fix_of(gate, &row));
                Ok(WebSaid { outcome: Some(row.outcome), gate: row.gate, reason: row.reason, fix, ..said })
            }
            Err(StoreError::NotFound { .. }) => Ok(WebSaid { again: true, ..said }),
            Err(error) => Err(error.failure()),
        }
    }

    /// Waits until the host did its part for a message, and gives what it says about it.
    async fn answered(&self, id: &InboundId) -> Result<Option<String>, Failure> {
        let store = self.app.store();
        let until = tokio::time::Instant::now() + HOST_WAIT.0;
        while store.inbound(id).await.is_ok_and(|row| row.is_open) && tokio::time::Instant::now() < until {
            tokio::time::sleep(HOST_WAIT.1).await;
        }
        let answer = store.out_of(&format!("host:{id}")).await.map_err(|e| e.failure())?;
        Ok(answer.and_then(|out| out.act["text"].as_str().map(str::to_owned)))
    }
}

impl App {
    /// The account of a tenant there, made the first time, and kept running while it is switched on.
    async fn web_account(&self, ground: Ground, tenant: &str) -> Result<(), Failure> {
        let name = ground.channel(tenant);
        let is_on = match self.store().channel(&name).await {
            Ok(row) => row.is_on,
            Err(StoreError::NotFound { .. }) => self.make_web_account(ground, &name, tenant).await?,
            Err(error) => return Err(error.failure()),
        };
        if !is_on {
            let place = match ground {
                Ground::Page => "on the page",
                Ground::Terminal => "on the terminal",
            };
            let failure = Failure::new(Code::Forbidden, format!("conversations {place} are switched off"));
            return Err(failure.hint(format!("lazaret channel on {name}")));
        }
        self.begin_channel(&name);
        Ok(())
    }

    async fn make_web_account(&self, ground: Ground, name: &str, tenant: &str) -> Result<bool, Failure> {
        let _changing = self.board().changing.lock().await;
        if let Ok(there) = self.store().channel(name).await {
            return Ok(there.is_on);
        }
        let description = match ground {
            Ground::Page => "Conversations on the page of this daemon.",
            Ground::Terminal => "Conversations on the terminal: lazaret chat --channel.",
        };
        let row = ChannelRow {
            name: name.to_owned(),
            tenant: tenant.to_owned(),
            network: ground.network().to_owned(),
            program: None,
            print: None,
            config: json!({}),
            about: json!({ "network": ground.network(), "description": description }),
            is_on: true,
            cursor: None,
            me: None,
            abilities: None,
            host: None,
            created: now(),
        };
        self.store().put_channel(row, true).await.map_err(|e| e.failure())?;
        self.store().channel_ready(name, json!(desk::me()), json!(desk::abilities())).await.map_err(|e| e.failure())?;
        Ok(true)
    }
}

fn nobody() -> Failure {
    Failure::new(Code::Forbidden, "only people have conversations here").hint("log in as a person, or use a session: POST /v1/sessions")
}

fn fresh_message() -> String {
    format!("web:{:032x}", fresh_bits())
}

fn bounded_id(id: &str) -> Result<String, Failure> {
    let is_bounded = !id.is_empty() && id.len() <= 256 && !id.chars().any(char::is_control);
    if is_bounded { Ok(id.to_owned()) } else { Err(Failure::new(Code::NotFound, "there is no such message")) }
}

fn check_text(text: &str, is_needed: bool) -> Result<(), Failure> {
    if text.len() > CHAT_TEXT_BYTES_MAX {
        return Err(Failure::new(Code::TooLarge, format!("a message has at most {CHAT_TEXT_BYTES_MAX} bytes")).field("text"));
    }
    if text.contains('\0') || (is_needed && text.trim().is_empty()) {
        return Err(Failure::new(Code::Usage, "there is nothing to say").field("text"));
    }
    Ok(())
}

fn buttons_of(row: &OutRow) -> Vec<super::forms::WebButton> {
    let buttons: Value = row.act["buttons"].clone();
    serde_json::from_value(buttons).unwrap_or_default()
}
