//! Stage 2: the topic names a tool that exists.

use std::sync::Arc;

use model::Code;

use crate::refusal::{Refusal, shown};
use crate::tool::{Catalogue, Entry};

/// The stage's number.
pub(crate) const STAGE: u8 = 2;
/// What every topic of a call begins with.
pub const TOPIC_PREFIX: &str = "tool.invoke.";

/// Finds the tool of a topic.
pub(crate) fn resolve(catalogue: &Catalogue, topic: &str) -> Result<Arc<Entry>, Refusal> {
    let Some(name) = topic.strip_prefix(TOPIC_PREFIX).filter(|name| !name.is_empty()) else {
        let message = format!("the topic `{}` is not {TOPIC_PREFIX}NAME", shown(topic, 64));
        return Err(Refusal::new(STAGE, Code::UnknownTool, message));
    };
    let missing =
        || Refusal::new(STAGE, Code::UnknownTool, format!("there is no tool `{}`; list_tools names those there are", shown(name, 64)));
    catalogue.entry(name).cloned().ok_or_else(missing)
}
