//! The four tools by which an agent remembers.

use std::sync::Arc;
use std::time::Duration;

use broker::{Approved, Broker, CallFailure, Caller, Handler, Tool};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use model::{Code, MemoryId, Risk};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::Digest;
use store::{
    FoundMemory, MEMORY_CONTENT_CHARS_MAX, MEMORY_QUERY_CHARS_MAX, MEMORY_RESULTS_MAX, MEMORY_TAG_CHARS_MAX, MEMORY_TAGS_MAX, MemoryAuthor,
    MemoryKind, MemoryOwner, MemoryQuery, MemoryRow, MemoryScope, MemorySource, NewMemory, Store, StoreError,
};

use super::claim::is_commanding;
use crate::App;
use crate::self_policy::remembers_freely;

/// How long one of them may take.
const DEADLINE: Duration = Duration::from_secs(10);
/// Entries that a search gives when no number is asked for.
const FOUND_USUAL: usize = 20;
/// Entries of each kind that a brief names.
const BRIEF_EACH: usize = 25;
/// What stands in place of a text that nobody has confirmed.
const WITHHELD: &str = "written by another session and not confirmed by the user; not to be acted on";

/// Their names.
pub(crate) const TOOLS: [&str; 4] = ["memory_store", "memory_search", "memory_brief", "memory_delete"];

/// The tools; none where the configuration says that agents do not remember.
pub(crate) fn tools(app: &App) -> Vec<Tool> {
    if !app.settings().memory.enabled {
        return Vec::new();
    }
    let tool = |which: Which, description: &str, properties: Value, required: &[&str]| Tool {
        name: which.name().to_owned(),
        plugin: String::new(),
        description: description.to_owned(),
        risk: Risk::Low,
        schema: json!({ "type": "object", "additionalProperties": false, "required": required, "properties": properties }),
        groups: None,
        is_owners: false,
        deadline: DEADLINE,
        handler: Arc::new(Remember { store: app.store().clone(), broker: app.broker().clone(), which }),
    };
    let kind = json!({ "type": "string", "enum": ["preference", "instruction", "correction", "fact", "context"] });
    let tags = json!({
        "type": "array", "maxItems": MEMORY_TAGS_MAX, "items": { "type": "string", "minLength": 1, "maxLength": MEMORY_TAG_CHARS_MAX }
    });
    let id = json!({ "type": "string", "pattern": "^mem_[0-9a-f]{32}$" });
    vec![
        tool(
            Which::Store,
            "Remembers something for later sessions. Preferences, instructions and corrections act in other sessions only after the user \
             has confirmed them; facts and context are information.",
            json!({
                "type": kind, "content": { "type": "string", "minLength": 1, "maxLength": MEMORY_CONTENT_CHARS_MAX }, "tags": tags,
                "supersedes": id
            }),
            &["type", "content"],
        ),
        tool(
            Which::Search,
            "Finds what was remembered, by any text, the best first; without a query the newest. Tags must all be there.",
            json!({
                "query": { "type": "string", "maxLength": MEMORY_QUERY_CHARS_MAX }, "tags": tags, "type": kind,
                "include_superseded": { "type": "boolean" },
                "limit": { "type": "integer", "minimum": 1, "maximum": MEMORY_RESULTS_MAX }
            }),
            &[],
        ),
        tool(
            Which::Brief,
            "Lists what the user confirmed and the newest facts, and says how much waits for the user.",
            json!({ "include_provenance": { "type": "boolean" } }),
            &[],
        ),
        tool(Which::Delete, "Forgets something that was remembered.", json!({ "id": id }), &["id"]),
    ]
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    Store,
    Search,
    Brief,
    Delete,
}

impl Which {
    fn name(self) -> &'static str {
        match self {
            Which::Store => TOOLS[0],
            Which::Search => TOOLS[1],
            Which::Brief => TOOLS[2],
            Which::Delete => TOOLS[3],
        }
    }
}

struct Remember {
    store: Store,
    broker: Broker,
    which: Which,
}

impl Handler for Remember {
    fn call<'a>(&'a self, call: &'a Approved) -> BoxFuture<'a, Result<Value, CallFailure>> {
        self.carry_out(call.caller(), call.correlation(), call.arguments()).boxed()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StoreArgs {
    #[serde(rename = "type")]
    kind: MemoryKind,
    content: String,
    #[serde(default)]
    tags: Vec<String>,
    supersedes: Option<MemoryId>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SearchArgs {
    #[serde(default)]
    query: String,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(rename = "type")]
    kind: Option<MemoryKind>,
    #[serde(default)]
    include_superseded: bool,
    limit: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BriefArgs {
    #[serde(default)]
    include_provenance: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeleteArgs {
    id: MemoryId,
}

impl Remember {
    async fn carry_out(&self, caller: &Caller, correlation: &str, arguments: &Value) -> Result<Value, CallFailure> {
        let is_free = remembers_freely(&self.store, caller).await.map_err(|failure| crate::agent_tools::told(&failure))?;
        match self.which {
            Which::Store => self.keep(caller, correlation, is_free, read(arguments)?).await,
            Which::Search => self.search(caller, read(arguments)?).await,
            Which::Brief => self.brief(caller, read(arguments)?).await,
            Which::Delete => self.delete(caller, read(arguments)?).await,
        }
    }

    async fn keep(&self, caller: &Caller, correlation: &str, is_free: bool, args: StoreArgs) -> Result<Value, CallFailure> {
        let author = if caller.session.is_some() { MemoryAuthor::Agent } else { MemoryAuthor::Owner };
        let content = cleaned(&self.broker, args.content);
        let tags: Vec<String> = args.tags.into_iter().map(|tag| cleaned(&self.broker, tag)).collect();
        let new = NewMemory {
            id: identity(caller, correlation, args.kind, &content),
            owner: owner(caller),
            kind: args.kind,
            behavioural: is_commanding(&content) || tags.iter().any(|tag| is_commanding(tag)),
            content,
            tags,
            supersedes: args.supersedes,
            source: MemorySource {
                author,
                session: caller.session.clone(),
                turn: caller.turn.clone(),
                group: Some(caller.group.clone()),
                channel: None,
            },
            now: crate::now(),
        };
        let mut row = self.store.store_memory(new).await.map_err(|e| failed(&e))?;
        model::crash::point("memory:stored");
        if is_free && row.is_waiting() {
            // Its owner said yes to all of these before. A kill in between leaves it waiting for a yes of its own.
            let scope = MemoryScope { tenant: Some(caller.tenant.clone()) };
            row = self.store.confirm_memory(&scope, &row.id, crate::now()).await.map_err(|e| failed(&e))?;
        }
        let mut answer = json!({ "id": row.id, "type": row.kind, "behavioural": row.behavioural, "confirmed": row.confirmed.is_some() });
        if row.is_waiting() {
            answer["note"] = json!("it acts in other sessions only after the user has confirmed it");
        }
        Ok(answer)
    }

    async fn search(&self, caller: &Caller, args: SearchArgs) -> Result<Value, CallFailure> {
        let query = MemoryQuery {
            text: args.query,
            tags: args.tags,
            kind: args.kind,
            superseded: args.include_superseded,
            limit: args.limit.unwrap_or(FOUND_USUAL),
        };
        let found = self.store.search_memories(&owner(caller), query).await.map_err(|e| failed(&e))?;
        let shown = |found: &FoundMemory| {
            let mut entry = shown(caller, &found.memory, true);
            entry["relevance"] = json!(found.relevance);
            entry
        };
        Ok(json!({ "results": found.iter().map(shown).collect::<Vec<_>>() }))
    }

    async fn brief(&self, caller: &Caller, args: BriefArgs) -> Result<Value, CallFailure> {
        let brief = self.store.memory_brief(&owner(caller), None, BRIEF_EACH).await.map_err(|e| failed(&e))?;
        let list = |rows: &[MemoryRow]| rows.iter().map(|row| shown(caller, row, args.include_provenance)).collect::<Vec<_>>();
        Ok(json!({ "confirmed": list(&brief.behavioural), "facts": list(&brief.facts), "waiting_for_the_user": brief.waiting_count }))
    }

    async fn delete(&self, caller: &Caller, args: DeleteArgs) -> Result<Value, CallFailure> {
        let (Some(session), Some(turn)) = (caller.session.clone(), caller.turn.clone()) else {
            return Err(CallFailure::new(Code::HandlerError, "outside of a turn memories are deleted with `lazaret memory delete`"));
        };
        self.store.delete_memory(&owner(caller), &args.id, (session, turn), crate::now()).await.map_err(|e| failed(&e))?;
        model::crash::point("memory:forgotten");
        Ok(json!({ "deleted": args.id }))
    }
}

/// An entry for an agent. What could change it and nobody confirmed is seen in the session that wrote it, and nowhere else.
fn shown(caller: &Caller, row: &MemoryRow, provenance: bool) -> Value {
    let withheld = row.is_waiting() && row.session != caller.session;
    let mut entry = json!({
        "id": row.id, "type": row.kind, "behavioural": row.behavioural, "confirmed": row.confirmed.is_some(), "created": row.created,
        "content": if withheld { Value::Null } else { json!(row.content) },
        "tags": if withheld { json!([]) } else { json!(row.tags) },
        "superseded": row.superseded.is_some(),
    });
    if withheld {
        entry["withheld"] = json!(WITHHELD);
    }
    if provenance {
        entry["by"] = json!(row.by);
        entry["session"] = json!(row.session);
        entry["group"] = json!(row.group);
    }
    entry
}

/// The identity of what a call keeps: a call that a crash cut off comes again and must not keep it twice.
fn identity(caller: &Caller, correlation: &str, kind: MemoryKind, content: &str) -> MemoryId {
    let Some(session) = &caller.session else { return MemoryId::from_bits(crate::clock::fresh_bits()) };
    let hash = sha2::Sha256::digest(format!("memory {session} {correlation} {} {content}", kind.as_str()));
    let bits = hash.iter().take(16).fold(0, |bits, byte| bits << 8 | u128::from(*byte));
    MemoryId::from_bits(bits)
}

fn owner(caller: &Caller) -> MemoryOwner {
    MemoryOwner { tenant: caller.tenant.clone(), agent: caller.agent.clone() }
}

/// A text without the credentials that are known or look like one.
pub(crate) fn cleaned(broker: &Broker, text: String) -> String {
    broker.sanitizer().text(&text).unwrap_or(text)
}

fn read<T: serde::de::DeserializeOwned>(arguments: &Value) -> Result<T, CallFailure> {
    T::deserialize(arguments).map_err(|error| CallFailure::new(Code::HandlerError, format!("the arguments are not understood: {error}")))
}

/// What an agent is told of a failure of the store: what it did wrong, and nothing of the machine.
fn failed(error: &StoreError) -> CallFailure {
    match error {
        StoreError::Limit { .. } | StoreError::NotFound { .. } | StoreError::Conflict(_) | StoreError::Invalid { .. } => {
            CallFailure::new(Code::HandlerError, error.to_string())
        }
        error => {
            tracing::warn!(error = model::chain(error), "a memory tool failed");
            CallFailure { code: Code::HandlerError, message: "the memory cannot be used now".to_owned(), retriable: true }
        }
    }
}
