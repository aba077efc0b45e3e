//! What becomes of a message of a chat network: one pure function over rows, run in the transaction that notes the message.
//!
//! The gates stand in a fixed order, and the first that stops a message is kept with it, so that `why` is a lookup.

mod decide;
mod patterns;
mod prompt;

pub(crate) use decide::{is_admin, permits};
pub(crate) use patterns::{Patterns, check_pattern};
pub(crate) use prompt::Got;

use std::sync::Arc;

use model::InboundId;
use serde_json::Value;
use store::{KeptMessage, OutRow, Reply, Route, RouteView, Router};
use wire::chat::Heard;

/// Routes one message.
pub(crate) struct ChatRouter {
    pub(crate) heard: Heard,
    pub(crate) zone: jiff::tz::TimeZone,
    pub(crate) patterns: Arc<Patterns>,
    /// Whether it came before and was held: what it waited for is over.
    pub(crate) is_again: bool,
    /// Its body as it is kept, with the files that were brought.
    pub(crate) body: Value,
}

impl Router for ChatRouter {
    fn route(&self, view: &RouteView) -> Route {
        decide::route(&self.heard, view, &self.patterns, self.is_again)
    }

    fn prompt(&self, view: &RouteView, id: &InboundId, before: &[KeptMessage], dead: &[OutRow]) -> String {
        prompt::prompt(&self.zone, view, id, &self.body, before, dead)
    }

    fn element(&self, id: &InboundId, body: &Value) -> String {
        prompt::element(&self.zone, id, body)
    }

    fn reply(&self, view: &RouteView, about: Reply<'_>) -> Option<String> {
        match about {
            Reply::Paired(Some(agent)) => Some(format!("Paired: {agent} hears this chat now. /help tells what it understands.")),
            Reply::Paired(None) => Some("Paired: you are known here now.".to_owned()),
            // A group is not told whom it holds up.
            Reply::Held if self.heard.chat.group => None,
            Reply::Held => Some("Somebody has to let you in first. Your message is kept until then.".to_owned()),
            Reply::Busy => Some("Too much waits here already. Say it again in a moment, or /stop what runs.".to_owned()),
            Reply::Quota if view.person.is_some() => Some("Nothing more can be asked now: the quota is used up.".to_owned()),
            Reply::Quota => None,
        }
    }

    fn fresh_bits(&self) -> u128 {
        crate::clock::fresh_bits()
    }
}
