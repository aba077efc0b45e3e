//! What people do with memories.

use model::{Code, Failure, MemoryId};
use serde::{Deserialize, Serialize};
use store::{
    LIST_MAX, MEMORY_RESULTS_MAX, MemoryFilter, MemoryKind, MemoryOwner, MemoryQuery, MemoryRow, MemoryScope, MemorySource, MemoryState,
    NewMemory,
};

use crate::{App, Caller, DEFAULT_AGENT, Page};

/// A memory as people see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct MemoryView {
    /// The entry.
    #[serde(flatten)]
    pub memory: MemoryRow,
    /// Whether it could change what the agent does and nobody has confirmed it: no other session sees its text.
    pub waiting: bool,
    /// How well it fits the question, from 0 to 1; null without one.
    pub relevance: Option<f64>,
}

impl From<MemoryRow> for MemoryView {
    fn from(memory: MemoryRow) -> Self {
        Self { waiting: memory.is_waiting() && memory.state == MemoryState::Live, memory, relevance: None }
    }
}

/// A memory that a person writes. It is confirmed with it.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MemoryForm {
    /// Whose memory; `default` when left out.
    #[serde(default = "default_agent")]
    pub agent: String,
    /// What it says.
    #[serde(rename = "type")]
    pub kind: MemoryKind,
    /// The text, at most 2,000 characters.
    pub content: String,
    /// At most 10 of at most 50 characters.
    #[serde(default)]
    pub tags: Vec<String>,
    /// The entry whose place it takes.
    #[serde(default)]
    pub supersedes: Option<MemoryId>,
}

/// Which memories are shown.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MemoryQueryForm {
    /// Of this agent only.
    pub agent: Option<String>,
    /// Any text: the best answers first. Asks one agent, `default` when left out, for what it finds.
    pub query: Option<String>,
    /// Of this kind only.
    #[serde(rename = "type")]
    pub kind: Option<MemoryKind>,
    /// Those with all of these tags, parted by commas.
    pub tags: Option<String>,
    /// In this state only; every state when left out, but with a query what is live.
    pub state: Option<MemoryState>,
    /// Only those that wait for a person.
    pub waiting: bool,
    /// How many.
    pub limit: Option<usize>,
    /// Goes on behind this one; not with a query.
    pub after: Option<MemoryId>,
}

/// What is to go.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MemoryPurge {
    /// Whose memory.
    pub agent: String,
    /// Everything. Otherwise only what the agent does not find any more.
    #[serde(default)]
    pub all: bool,
}

fn default_agent() -> String {
    DEFAULT_AGENT.to_owned()
}

/// Entries that are listed when no number is asked for.
const LIST_USUAL: usize = 50;

/// The memories that a caller sees.
pub struct MemoriesOf<'a> {
    app: &'a App,
    caller: Caller,
}

impl App {
    /// The memories that this caller sees.
    #[must_use]
    pub fn memories_of(&self, caller: &Caller) -> MemoriesOf<'_> {
        MemoriesOf { app: self, caller: caller.clone() }
    }
}

impl MemoriesOf<'_> {
    fn scope(&self) -> MemoryScope {
        MemoryScope { tenant: self.caller.tenant.clone() }
    }

    fn owner(&self, agent: &str) -> Result<MemoryOwner, Failure> {
        if !model::is_name(agent) {
            return Err(Failure::new(Code::Usage, "an agent's name has small letters, digits and `-`").field("agent"));
        }
        Ok(MemoryOwner { tenant: self.caller.makes_for().to_owned(), agent: agent.to_owned() })
    }

    /// Memories, the newest first; with a query the best first.
    ///
    /// # Errors
    /// The query is too long, or the store cannot be read.
    pub async fn list(&self, form: MemoryQueryForm) -> Result<Page<MemoryView>, Failure> {
        let tags: Vec<String> = form.tags.iter().flat_map(|tags| tags.split(',')).map(str::trim).map(str::to_owned).collect();
        let tags: Vec<String> = tags.into_iter().filter(|tag| !tag.is_empty()).collect();
        let limit = form.limit.unwrap_or(LIST_USUAL);
        if let Some(text) = form.query {
            let owner = self.owner(form.agent.as_deref().unwrap_or(DEFAULT_AGENT))?;
            let superseded = form.state == Some(MemoryState::Superseded);
            let query = MemoryQuery { text, tags, kind: form.kind, superseded, limit: limit.clamp(1, MEMORY_RESULTS_MAX) };
            let found = self.app.store().search_memories(&owner, query).await.map_err(|e| e.failure())?;
            let items = found.into_iter().map(|f| MemoryView { relevance: Some(f.relevance), ..f.memory.into() }).collect();
            return Ok(Page { items, next: None });
        }
        let limit = limit.clamp(1, LIST_MAX);
        let filter = MemoryFilter { agent: form.agent, kind: form.kind, tags, state: form.state, waiting: form.waiting };
        let rows = self.app.store().list_memories(&self.scope(), &filter, form.after, limit).await.map_err(|e| e.failure())?;
        let next = (rows.len() == limit).then(|| rows.last().map(|row| row.id.as_str().to_owned())).flatten();
        Ok(Page { items: rows.into_iter().map(MemoryView::from).collect(), next })
    }

    /// One memory.
    ///
    /// # Errors
    /// There is none of this identity.
    pub async fn show(&self, id: &str) -> Result<MemoryView, Failure> {
        self.app.store().memory(&self.scope(), &read(id)?).await.map(MemoryView::from).map_err(|e| e.failure())
    }

    /// Keeps what a person wrote.
    ///
    /// # Errors
    /// A field is wrong, there is no such agent, or its memory is full.
    pub async fn add(&self, form: MemoryForm) -> Result<MemoryView, Failure> {
        let owner = self.owner(&form.agent)?;
        self.app.agents().show(&form.agent).await?;
        let new = NewMemory {
            id: MemoryId::from_bits(crate::clock::fresh_bits()),
            owner,
            kind: form.kind,
            behavioural: false,
            content: super::tools::cleaned(self.app.broker(), form.content),
            tags: form.tags.into_iter().map(|tag| super::tools::cleaned(self.app.broker(), tag)).collect(),
            supersedes: form.supersedes,
            source: MemorySource::OWNER,
            now: crate::now(),
        };
        let row = self.app.store().store_memory(new).await.map_err(|e| e.failure())?;
        model::crash::point("memory:added");
        Ok(row.into())
    }

    /// Says that an entry may act.
    ///
    /// # Errors
    /// There is none of this identity, or its agent does not find it any more.
    pub async fn confirm(&self, id: &str) -> Result<MemoryView, Failure> {
        let row = self.app.store().confirm_memory(&self.scope(), &read(id)?, crate::now()).await.map_err(|e| e.failure())?;
        model::crash::point("memory:confirmed");
        Ok(row.into())
    }

    /// Removes an entry for good.
    ///
    /// # Errors
    /// There is none of this identity.
    pub async fn delete(&self, id: &str) -> Result<(), Failure> {
        self.app.store().remove_memory(&self.scope(), &read(id)?).await.map_err(|e| e.failure())?;
        model::crash::point("memory:deleted");
        Ok(())
    }

    /// Removes memories of an agent for good; says how many.
    ///
    /// # Errors
    /// The store cannot be written. What went before is gone.
    pub async fn purge(&self, form: &MemoryPurge) -> Result<u64, Failure> {
        let gone = self.app.store().purge_memories(&self.owner(&form.agent)?, form.all).await.map_err(|e| e.failure())?;
        model::crash::point("memory:purged");
        Ok(gone)
    }
}

fn read(id: &str) -> Result<MemoryId, Failure> {
    id.parse().map_err(|_| Failure::new(Code::NotFound, format!("there is no memory `{}`", id.escape_debug())))
}
