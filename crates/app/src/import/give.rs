//! Giving away what this install has, as lines.

use std::collections::BTreeMap;
use std::io::{BufWriter, Seek, Write};

use model::{Code, Failure, SessionId};
use serde_json::{Map, Value};
use store::{ChatFilter, EVENTS_PAGE_MAX, IMPORT_EVENTS_MAX, LIST_MAX, MemoryFilter, MemoryScope, MemoryState, SessionFilter, SessionRow};

use super::lines::{CARRY_FORM, CARRY_LINE_BYTES_MAX, CarryEvent, CarryLine};
use super::of::{CARRY_BYTES_MAX, ImportOf};
use crate::files::FileStream;
use crate::inside::nameless;
use crate::{AgentForm, Misfire, Overlap, TaskQuery};

/// Tasks of a page.
const TASKS_PAGE: usize = 200;
/// What kind of install this one is.
const SOURCE: &str = "lazaret";
/// Events of one turn that travel; of what came before the last of them only the text does not.
const TURN_EVENTS_MAX: usize = 20_000;

/// Lines on their way into a file without a name.
struct Sheet {
    file: BufWriter<std::fs::File>,
    bytes: u64,
}

impl Sheet {
    fn line(&mut self, line: &CarryLine) -> Result<(), Failure> {
        let mut text = serde_json::to_vec(line).map_err(|e| Failure::new(Code::Internal, e.to_string()))?;
        if text.len() > CARRY_LINE_BYTES_MAX {
            return Err(too_large(&format!("the {} `{}` has more than {CARRY_LINE_BYTES_MAX} bytes", line.kind(), line.name())));
        }
        text.push(b'\n');
        self.bytes += text.len() as u64;
        if self.bytes > CARRY_BYTES_MAX {
            return Err(too_large(&format!("it has more than {CARRY_BYTES_MAX} bytes")));
        }
        self.file.write_all(&text).map_err(|e| unwritten(&e))
    }
}

impl ImportOf<'_> {
    /// What this install has and is its people's: agents, people, accounts, chats, wirings, tasks, memories and conversations. No secret
    /// is in it, and no file of a session; `session export` has those.
    ///
    /// # Errors
    /// The store cannot be read, or it is too much for one export.
    pub async fn give(&self) -> Result<FileStream, Failure> {
        let mut sheet = Sheet { file: BufWriter::new(nameless(self.app)?), bytes: 0 };
        sheet.line(&CarryLine::Begin { form: CARRY_FORM, source: SOURCE.to_owned(), lazaret: env!("CARGO_PKG_VERSION").to_owned() })?;
        self.give_agents(&mut sheet).await?;
        self.give_people(&mut sheet).await?;
        self.give_chats(&mut sheet).await?;
        self.give_memories(&mut sheet).await?;
        self.give_tasks(&mut sheet).await?;
        self.give_sessions(&mut sheet).await?;
        let mut file = sheet.file.into_inner().map_err(|e| unwritten(e.error()))?;
        file.rewind().map_err(|e| unwritten(&e))?;
        Ok(Box::new(tokio::fs::File::from_std(file)))
    }

    async fn agents(&self) -> Result<Vec<AgentForm>, Failure> {
        self.app.agents().list().await
    }

    async fn give_agents(&self, sheet: &mut Sheet) -> Result<(), Failure> {
        for agent in self.agents().await? {
            sheet.line(&CarryLine::Agent { id: agent.name.clone(), agent })?;
        }
        Ok(())
    }

    async fn give_people(&self, sheet: &mut Sheet) -> Result<(), Failure> {
        let store = self.app.store();
        let mut people = BTreeMap::new();
        for member in store.list_members(Some(self.caller.makes_for().to_owned())).await.map_err(|e| e.failure())? {
            let user = member.user;
            let email = (!user.email.is_empty()).then_some(user.email);
            people.insert(user.id.to_string(), (user.name, email, Some(member.role)));
        }
        // Who is known by a handle or a role alone is no member.
        for handle in store.list_handles(self.tenant(), None).await.map_err(|e| e.failure())? {
            people.entry(handle.user.to_string()).or_insert((handle.name, None, None));
        }
        let roles = store.list_agent_roles(self.tenant()).await.map_err(|e| e.failure())?;
        for role in &roles {
            people.entry(role.user.to_string()).or_insert((String::new(), None, None));
        }
        for (id, (name, email, role)) in people {
            sheet.line(&CarryLine::Person { id, name, email, role })?;
        }
        for role in roles {
            let id = format!("{}/{}", role.agent, role.user);
            sheet.line(&CarryLine::Role { id, person: role.user.to_string(), agent: role.agent, role: role.role })?;
        }
        Ok(())
    }

    async fn give_chats(&self, sheet: &mut Sheet) -> Result<(), Failure> {
        let store = self.app.store();
        for channel in store.list_channels(self.tenant()).await.map_err(|e| e.failure())? {
            let config = match channel.config {
                Value::Object(config) => config,
                _ => Map::new(),
            };
            sheet.line(&CarryLine::Channel { id: channel.name.clone(), name: channel.name, network: channel.network, config })?;
        }
        let mut after = None;
        loop {
            let filter = ChatFilter { tenant: self.tenant(), channel: None };
            let page = store.list_chats(filter, after, LIST_MAX).await.map_err(|e| e.failure())?;
            for chat in page.items {
                sheet.line(&CarryLine::Chat {
                    id: chat.id.to_string(),
                    channel: chat.channel,
                    chat: chat.chat,
                    name: chat.name,
                    group: chat.is_group,
                    policy: chat.policy,
                    denied: chat.denied.is_some(),
                })?;
            }
            after = page.next.as_deref().and_then(|next| next.parse().ok());
            if after.is_none() {
                break;
            }
        }
        for handle in store.list_handles(self.tenant(), None).await.map_err(|e| e.failure())? {
            let id = format!("{}/{}", handle.channel, handle.handle);
            let person = handle.user.to_string();
            sheet.line(&CarryLine::Handle { id, channel: handle.channel, handle: handle.handle, person, name: handle.name })?;
        }
        for row in store.list_wirings(self.tenant(), None).await.map_err(|e| e.failure())? {
            sheet.line(&CarryLine::Wiring {
                id: row.id.to_string(),
                chat: row.chat.to_string(),
                agent: row.agent,
                engage: row.engage,
                pattern: row.pattern,
                senders: row.senders,
                ignored: row.ignored,
                mode: row.mode,
                priority: row.priority,
                bots: row.bots,
            })?;
        }
        for agent in self.agents().await? {
            for row in store.destinations(self.caller.makes_for(), &agent.name).await.map_err(|e| e.failure())? {
                sheet.line(&CarryLine::Destination {
                    id: format!("{}/{}", row.agent, row.name),
                    agent: row.agent,
                    name: row.name,
                    chat: row.chat.map(|chat| chat.to_string()),
                    thread: row.thread,
                    target: row.target,
                })?;
            }
        }
        Ok(())
    }

    async fn give_memories(&self, sheet: &mut Sheet) -> Result<(), Failure> {
        let scope = MemoryScope { tenant: self.tenant() };
        let filter = MemoryFilter { state: Some(MemoryState::Live), ..MemoryFilter::default() };
        let mut after = None;
        loop {
            let rows = self.app.store().list_memories(&scope, &filter, after, LIST_MAX).await.map_err(|e| e.failure())?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = Some(last.id.clone());
            for row in rows {
                sheet.line(&CarryLine::Memory {
                    id: row.id.to_string(),
                    agent: row.agent,
                    kind: row.kind,
                    content: row.content,
                    tags: row.tags,
                    by: row.by,
                    confirmed: row.confirmed.is_some(),
                    created: row.created,
                })?;
            }
        }
    }

    async fn give_tasks(&self, sheet: &mut Sheet) -> Result<(), Failure> {
        let tasks = self.app.tasks_of(&self.caller);
        let mut after = None;
        loop {
            let page = tasks.list(TaskQuery { after, limit: Some(TASKS_PAGE) }).await?;
            for task in page.items {
                let mut action = task.action;
                // A session and an env are of this install.
                let message = action.get_mut("message").and_then(Value::as_object_mut);
                let agent = message.and_then(|message| {
                    message.retain(|key, _| key != "session" && key != "env");
                    message.get("agent")?.as_str().map(str::to_owned)
                });
                sheet.line(&CarryLine::Task {
                    id: task.id.to_string(),
                    name: task.name,
                    cron: task.cron,
                    zone: task.zone,
                    misfire: serde_json::from_value(Value::String(task.misfire)).unwrap_or(Misfire::Once),
                    overlap: serde_json::from_value(Value::String(task.overlap)).unwrap_or(Overlap::Skip),
                    failures_max: Some(task.failures_max),
                    agent,
                    action,
                })?;
            }
            after = page.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    async fn give_sessions(&self, sheet: &mut Sheet) -> Result<(), Failure> {
        for archived in [false, true] {
            let mut after = None;
            loop {
                let filter = SessionFilter { tenant: self.tenant(), archived: Some(archived), ..SessionFilter::default() };
                let page = self.app.store().list_sessions(&filter, after, LIST_MAX).await.map_err(|e| e.failure())?;
                for row in page.items {
                    self.give_session(sheet, row).await?;
                }
                after = page.next.as_deref().and_then(|next| next.parse().ok());
                if after.is_none() {
                    break;
                }
            }
        }
        Ok(())
    }

    /// One conversation, as far as it is over: a turn that runs is not in it.
    async fn give_session(&self, sheet: &mut Sheet, row: SessionRow) -> Result<(), Failure> {
        let store = self.app.store();
        let mut turns = Vec::new();
        let mut after = 0;
        loop {
            let page = store.turns(&row.id, after, LIST_MAX).await.map_err(|e| e.failure())?;
            let Some(last) = page.last() else { break };
            after = last.n;
            let is_whole = page.iter().all(|turn| turn.state.is_final());
            turns.extend(page.into_iter().take_while(|turn| turn.state.is_final()));
            if !is_whole {
                break;
            }
        }
        if turns.is_empty() {
            return Ok(());
        }
        let key = store.keys_of(&row.id).await.map_err(|e| e.failure())?.into_iter().next();
        let id = row.id.to_string();
        let count = turns.len() as u64;
        sheet.line(&CarryLine::Session {
            id: id.clone(),
            agent: row.agent.clone(),
            title: row.title.clone(),
            labels: row.labels.clone(),
            head: row.head.min(count),
            turns: count,
            chat: key.as_ref().map(|key| key.chat.clone()).filter(|chat| !chat.is_empty()),
            thread: key.map(|key| key.thread).filter(|thread| !thread.is_empty()),
            created: row.created,
        })?;
        let mut events = self.events_by_turn(&row.id).await?;
        for turn in turns {
            let prompt = store.prompt(&turn.id).await.map_err(|e| e.failure())?;
            sheet.line(&CarryLine::Turn {
                session: id.clone(),
                n: turn.n,
                parent: turn.parent,
                state: turn.state,
                outcome: turn.outcome,
                code: turn.code,
                prompt,
                accepted: turn.accepted,
                started: turn.started,
                ended: turn.ended,
                events: events.remove(turn.id.as_str()).unwrap_or_default(),
            })?;
        }
        Ok(())
    }

    async fn events_by_turn(&self, id: &SessionId) -> Result<BTreeMap<String, Vec<CarryEvent>>, Failure> {
        let mut of: BTreeMap<String, Vec<CarryEvent>> = BTreeMap::new();
        let (mut after, mut count) = (0, 0);
        loop {
            let events = self.app.store().events(id, after, EVENTS_PAGE_MAX).await.map_err(|e| e.failure())?;
            let Some(last) = events.last() else { return Ok(of) };
            after = last.seq;
            count += events.len();
            if count > IMPORT_EVENTS_MAX {
                return Err(too_large(&format!("the session {id} has more than {IMPORT_EVENTS_MAX} events")));
            }
            for event in events {
                let list = of.entry(event.turn.to_string()).or_default();
                if list.len() >= TURN_EVENTS_MAX {
                    return Err(too_large(&format!("a turn of the session {id} has more than {TURN_EVENTS_MAX} events")));
                }
                list.push(CarryEvent { time: event.time, event: event.kind });
            }
        }
    }

    fn tenant(&self) -> Option<String> {
        // Names of agents and people are the tenant's: an export is always that of one.
        Some(self.caller.makes_for().to_owned())
    }
}

fn too_large(why: &str) -> Failure {
    Failure::new(Code::TooLarge, format!("it cannot be exported: {why}"))
}

fn unwritten(error: &std::io::Error) -> Failure {
    Failure::new(Code::HomeUnsafe, format!("the export cannot be held in the home: {error}")).hint("free some space in the home")
}
