//! The broker's own tools: what happened, what there is to call, and who one is.

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use model::{Code, Risk};
use serde_json::{Value, json};

use crate::broker::Parts;
use crate::tool::Entry;
use crate::{Approved, CallFailure, Handler, Tool, Wanted};

/// Decisions that are told at once.
const LAST_MAX: usize = 100;
/// Decisions that are told when no number is asked for.
const LAST_USUAL: usize = 20;
const DEADLINE: Duration = Duration::from_secs(10);

#[derive(Clone, Copy)]
enum Which {
    Diagnostics,
    SessionInfo,
    Tools,
}

struct Intrinsic {
    which: Which,
    broker: Weak<Parts>,
}

/// All of them.
pub(crate) fn entries(broker: &Weak<Parts>) -> Vec<Arc<Entry>> {
    let none = || json!({"type": "object", "properties": {}, "additionalProperties": false});
    let diagnostics = json!({
        "type": "object",
        "properties": {
            "correlation": {"type": "string", "minLength": 1, "maxLength": 128, "description": "only what was decided about this call"},
            "last_n": {"type": "integer", "minimum": 1, "maximum": LAST_MAX, "description": "how many, the newest"},
            "filter_outcome": {"enum": ["error", "routed", "rejected", "sanitized"], "description": "only decisions of this outcome"},
        },
        "additionalProperties": false,
    });
    let tools = [
        ("get_diagnostics", "Shows what was decided about this session's own tool calls.", diagnostics, Which::Diagnostics),
        ("get_session_info", "Shows this session's group, its start, and which plugins are healthy.", none(), Which::SessionInfo),
        ("list_tools", "Lists the tools that this agent may call, with risk and schema of arguments.", none(), Which::Tools),
    ];
    let made = tools.into_iter().map(|(name, description, schema, which)| {
        let handler = Arc::new(Intrinsic { which, broker: Weak::clone(broker) });
        let (name, description, plugin) = (name.to_owned(), description.to_owned(), String::new());
        let tool = Tool { name, plugin, description, risk: Risk::Low, schema, groups: None, is_owners: false, deadline: DEADLINE, handler };
        Arc::new(Entry::new(tool).expect("the broker's own tools have closed schemas"))
    });
    made.collect()
}

impl Handler for Intrinsic {
    fn call<'a>(&'a self, call: &'a Approved) -> BoxFuture<'a, Result<Value, CallFailure>> {
        async move {
            let parts = self.broker.upgrade().ok_or_else(|| CallFailure::new(Code::HandlerError, "the host is going down"))?;
            match self.which {
                Which::Diagnostics => diagnostics(&parts, call).await,
                Which::SessionInfo => Ok(session_info(&parts, call).await),
                Which::Tools => Ok(tools(&parts, call)),
            }
        }
        .boxed()
    }
}

async fn diagnostics(parts: &Parts, call: &Approved) -> Result<Value, CallFailure> {
    let text = |name: &str| call.arguments().get(name).and_then(Value::as_str).map(str::to_owned);
    let last = call.arguments().get("last_n").and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
    let last = last.unwrap_or(LAST_USUAL).min(LAST_MAX);
    let wanted = Wanted { correlation: text("correlation"), outcome: text("filter_outcome"), last };
    let Some(book) = parts.diagnostics() else { return Ok(json!({"entries": []})) };
    let entries = book.recent(call.caller(), &wanted).await.map_err(|failure| {
        tracing::warn!(message = failure.message, "failed to read the audit for an agent");
        CallFailure::new(Code::HandlerError, "the audit cannot be read now")
    })?;
    Ok(json!({"entries": entries}))
}

async fn session_info(parts: &Parts, call: &Approved) -> Value {
    let caller = call.caller();
    let start = match parts.diagnostics() {
        Some(book) => book.began(caller).await,
        None => None,
    };
    let health = parts.health();
    let seen = health.iter().filter(|one| caller.is_owner() || one.groups.as_ref().is_none_or(|groups| groups.contains(&caller.group)));
    let (mut healthy, mut failed) = (Vec::new(), Vec::new());
    for one in seen {
        match &one.category {
            None => healthy.push(one.plugin.clone()),
            Some(category) => failed.push(json!({"name": one.plugin, "category": category})),
        }
    }
    json!({"session": caller.session, "agent": caller.agent, "group": caller.group, "start": start, "healthy": healthy, "failed": failed})
}

fn tools(parts: &Parts, call: &Approved) -> Value {
    let tools = parts.catalogue().visible(call.caller());
    let told =
        tools.iter().map(|tool| json!({"name": tool.name, "description": tool.description, "risk": tool.risk, "schema": tool.schema}));
    json!({"tools": told.collect::<Vec<_>>()})
}
