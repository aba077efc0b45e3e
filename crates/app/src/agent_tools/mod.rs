//! The tools by which an agent acts on chats, tasks, other agents and itself: carried out by the daemon, through the broker like all others.
//!
//! A file per tool or family of tools, and one line in [`ALL`]. What a call writes is written once, however often the call comes: its cause
//! is made of the session, the call's own name and its arguments.

mod agents;
mod ask;
mod card;
mod chats;
mod gate;
mod lists;
mod mail;
mod marks;
mod orders;
mod schedule;
mod send;
mod tasks;
mod when;
mod within;

pub(crate) use agents::SET_INSTRUCTIONS;
pub(crate) use ask::wait_of;
pub(crate) use chats::FOR_WHO_LOOKS_AFTER;
pub(crate) use gate::Gated;
pub(crate) use orders::{effect_of, ordered_by};
pub(crate) use when::shown;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use broker::{Approved, CallFailure, Caller, Handler, Tool};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use model::{Code, Failure, Risk};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{AgentForm, App, WeakApp};

/// Every tool.
pub(super) const ALL: &[&OwnTool] = &[
    &send::MESSAGE,
    &send::FILE,
    &marks::EDIT,
    &marks::REACT,
    &card::SEND,
    &ask::ASK,
    &lists::DESTINATIONS,
    &chats::LIST,
    &chats::JOIN,
    &chats::LEAVE,
    &schedule::SCHEDULE,
    &tasks::LIST,
    &schedule::UPDATE,
    &tasks::PAUSE,
    &tasks::RESUME,
    &tasks::CANCEL,
    &tasks::RUN,
    &agents::CREATE,
    &agents::GET,
    &agents::SET,
    &orders::INSTALL,
    &orders::CONNECT,
];

/// How long one of them may take.
const DEADLINE: Duration = Duration::from_secs(30);

/// When an agent that names no tools has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Set {
    /// In a conversation of a chat, and wherever it has a destination.
    Chat,
    /// Only where its name stands among the agent's tools.
    Named,
}

/// What a call comes to.
pub(super) type Made<'a> = BoxFuture<'a, Result<Value, Failure>>;

/// A tool that the daemon carries out.
pub(super) struct OwnTool {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) risk: Risk,
    pub(super) set: Set,
    /// Whether a person's answer is what it gives.
    pub(super) asks: bool,
    /// Its arguments: those that must be there, and all of them.
    pub(super) schema: fn() -> (&'static [&'static str], Value),
    pub(super) call: for<'a> fn(&'a Doing) -> Made<'a>,
}

struct Own {
    app: WeakApp,
    tool: &'static OwnTool,
}

/// A call that is carried out.
pub(super) struct Doing {
    pub(super) app: App,
    pub(super) caller: Caller,
    pub(super) tool: &'static str,
    pub(super) correlation: String,
    pub(super) arguments: Value,
}

/// The tools, for the catalogue.
pub(crate) fn tools(app: &App) -> Vec<Tool> {
    ALL.iter().map(|tool| of(app, tool)).collect()
}

fn of(app: &App, tool: &'static OwnTool) -> Tool {
    let (required, properties) = (tool.schema)();
    Tool {
        name: tool.name.to_owned(),
        plugin: String::new(),
        description: tool.about.to_owned(),
        risk: tool.risk,
        schema: json!({ "type": "object", "additionalProperties": false, "required": required, "properties": properties }),
        groups: None,
        is_owners: false,
        deadline: DEADLINE,
        handler: Arc::new(Own { app: app.weak(), tool }),
    }
}

impl Handler for Own {
    fn call<'a>(&'a self, call: &'a Approved) -> BoxFuture<'a, Result<Value, CallFailure>> {
        async move {
            let app = self.app.upgrade().ok_or_else(|| CallFailure::new(Code::HandlerError, "the daemon ends"))?;
            let doing = Doing {
                app,
                caller: call.caller().clone(),
                tool: self.tool.name,
                correlation: call.correlation().to_owned(),
                arguments: call.arguments().clone(),
            };
            (self.tool.call)(&doing).await.map_err(|failure| told(&failure))
        }
        .boxed()
    }

    fn asks(&self) -> bool {
        self.tool.asks
    }
}

/// What an agent is told of a failure: what it did wrong and what it can do, and nothing of the machine.
pub(super) fn told(failure: &Failure) -> CallFailure {
    let is_own = matches!(
        failure.code,
        Code::Usage
            | Code::Forbidden
            | Code::NotFound
            | Code::Conflict
            | Code::TooLarge
            | Code::RateLimited
            | Code::Busy
            | Code::QuotaExceeded
            | Code::PromptInvalid
    );
    if !is_own {
        tracing::warn!(%failure, "a tool of the daemon's failed");
        return CallFailure { code: Code::HandlerError, message: "the host cannot do this now".to_owned(), retriable: true };
    }
    let hint = failure.hint.as_ref().map(|hint| format!(". {hint}")).unwrap_or_default();
    CallFailure::new(Code::HandlerError, format!("{}{hint}", failure.message))
}

/// A refusal of what an agent asked for.
pub(super) fn wrong(why: impl Into<String>) -> Failure {
    Failure::new(Code::Usage, why)
}

/// Reads arguments that fit the tool's schema.
pub(super) fn read<T: DeserializeOwned>(arguments: &Value) -> Result<T, Failure> {
    T::deserialize(arguments).map_err(|error| wrong(format!("the arguments are not understood: {error}")))
}

/// The tools of this list that an agent does not have in a session of this kind; none of one that names its tools itself.
pub(crate) fn withheld(agent: &AgentForm, in_chat: bool) -> BTreeSet<String> {
    if !agent.tools.is_empty() {
        return BTreeSet::new();
    }
    let is_withheld = |tool: &&&OwnTool| tool.set == Set::Named || !in_chat;
    ALL.iter().filter(is_withheld).map(|tool| tool.name.to_owned()).collect()
}

impl App {
    /// The tools of the daemon's own that a turn does not have because its agent names none and it is of no chat.
    pub(crate) async fn withheld_tools(&self, agent: &AgentForm, tenant: &str, turn: &model::TurnId) -> Result<BTreeSet<String>, Failure> {
        if !agent.tools.is_empty() {
            return Ok(BTreeSet::new());
        }
        let store = self.store();
        let asked = store.asker(turn).await.map_err(|e| e.failure())?.is_some();
        let mailed = asked || store.mail_of(turn).await.map_err(|e| e.failure())?.is_some();
        let in_chat = mailed || !store.destinations(tenant, &agent.name).await.map_err(|e| e.failure())?.is_empty();
        Ok(withheld(agent, in_chat))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemas_are_closed_and_names_are_not_shared() {
        let mut names = BTreeSet::new();
        for tool in ALL {
            assert!(names.insert(tool.name), "{}", tool.name);
            let (required, properties) = (tool.schema)();
            let schema = json!({ "type": "object", "additionalProperties": false, "required": required, "properties": properties });
            broker::check_schema(&schema).unwrap_or_else(|error| panic!("{}: {error}", tool.name));
            for name in required {
                assert!(properties.get(*name).is_some(), "{} {name}", tool.name);
            }
        }
        assert!(names.iter().all(|name| !broker::INTRINSIC.contains(name)));
        names.extend(crate::ask::NAMES);
        let free: Vec<_> = names.iter().filter(|name| !broker::manifest::RESERVED_TOOLS.contains(name)).collect();
        assert!(free.is_empty(), "a plugin could take the name of {free:?}");
    }

    #[test]
    fn who_names_no_tools_has_those_of_chats_in_chats_only() {
        let plain = AgentForm::default();
        let (there, elsewhere) = (withheld(&plain, true), withheld(&plain, false));
        assert!(!there.contains("send_message") && there.contains("install_packages") && there.contains("create_agent"));
        assert_eq!(elsewhere.len(), ALL.len());
        let named = AgentForm { tools: vec!["create_agent".to_owned()], ..AgentForm::default() };
        assert!(withheld(&named, false).is_empty());
    }
}
