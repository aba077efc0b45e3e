//! What the server says.

use std::time::Duration;

use gateway::rehearsal::{Asked, Reply, ToolCall, shell_call};
use model::Usage;
use serde_json::Value;

/// The longest that mini lets a command run, in seconds.
const COMMAND_S: u32 = 3600;

/// One reply.
#[derive(Debug, Clone, PartialEq)]
pub enum Say {
    /// A text.
    Text(String),
    /// A call of whatever tool runs commands; a text when none is offered.
    Shell(String),
    /// A call of a tool by its name.
    Tool {
        /// The name, as the engine offers it; `SPACE::NAME` where it offers several of one name, in name spaces: the one whose space holds
        /// this text.
        name: String,
        /// Its arguments.
        input: Value,
    },
}

/// A reply to a certain prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// What the last message of the user holds.
    pub contains: String,
    /// What is said to it, one after the other: the first before any tool has answered, the second after one, and so on.
    pub say: Vec<Say>,
}

/// How the server answers. In this order: a rule for the last message, the replies by their number in the conversation, and
/// else the default: one call of the shell if tools are offered, then a text that repeats what it printed.
#[derive(Debug, Clone, PartialEq)]
pub struct Script {
    /// The key that is expected; `None` takes any.
    pub key: Option<String>,
    /// What the default runs.
    pub command: String,
    /// Rules, the first that fits.
    pub rules: Vec<Rule>,
    /// Replies in the order of each conversation.
    pub replies: Vec<Say>,
    /// What each reply claims to have used.
    pub usage: Usage,
    /// Time between two pieces of a stream.
    pub pause: Duration,
}

/// Gives a command as much time as the tool takes: what a test lets run until it ends it must not end by itself before, however slow the
/// machine is.
fn without_haste(asked: &Asked, mut call: ToolCall) -> ToolCall {
    let tool = asked.tools.iter().find(|tool| tool.name == call.name && tool.namespace == call.namespace);
    let properties = tool.map(|tool| &tool.schema["properties"]);
    if properties.is_some_and(|known| known["timeout_s"].is_object()) {
        call.input["timeout_s"] = COMMAND_S.into();
    }
    call
}

impl Default for Script {
    fn default() -> Self {
        let usage = Usage { input_tokens: 100, output_tokens: 20, ..Usage::default() };
        Self {
            key: None,
            command: "echo hello from the tool".to_owned(),
            rules: Vec::new(),
            replies: Vec::new(),
            usage,
            pause: Duration::ZERO,
        }
    }
}

impl Script {
    /// The reply to a request.
    pub(super) fn say(&self, asked: &Asked) -> Reply {
        let rule = self.rules.iter().find(|rule| asked.user.contains(&rule.contains));
        let said = match rule {
            Some(rule) => rule.say.get(asked.outputs.len()),
            None if asked.tools.is_empty() => None,
            None => self.replies.get(asked.replies),
        };
        let said = said.cloned().unwrap_or_else(|| self.by_default(asked));
        let mut reply = Reply { usage: self.usage, ..Reply::default() };
        match said {
            Say::Text(text) => reply.text = text,
            Say::Tool { name, input } => {
                let (space, name) = name.split_once("::").map_or((None, name.as_str()), |(space, name)| (Some(space), name));
                let is_in = |of: &Option<String>| space.is_none_or(|space| of.as_deref().is_some_and(|of| of.contains(space)));
                let tool = asked.tools.iter().find(|tool| tool.name == name && is_in(&tool.namespace));
                let namespace = tool.and_then(|tool| tool.namespace.clone());
                reply.calls.push(ToolCall { name: name.to_owned(), namespace, input });
            }
            Say::Shell(command) => match shell_call(asked, &command) {
                Some(call) => reply.calls.push(without_haste(asked, call)),
                None => reply.text = "no tool runs commands".to_owned(),
            },
        }
        reply
    }

    fn by_default(&self, asked: &Asked) -> Say {
        match asked.outputs.last() {
            Some(output) => Say::Text(format!("The tool printed: {}", output.text)),
            None if shell_call(asked, "").is_some() => Say::Shell(self.command.clone()),
            None => Say::Text(format!("You said: {}", asked.user)),
        }
    }
}
