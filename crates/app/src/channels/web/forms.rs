//! What conversations with the daemon itself are asked and how they are shown.

use model::{ChatId, SessionId, Timestamp, TurnId};
use serde::{Deserialize, Serialize};
use wire::chat::Button;

use crate::MessageFile;

/// A conversation with an agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct WebChat {
    /// The agent.
    pub agent: String,
    /// What the conversation is called, where it is one of several with the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The chat, once something was said in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat: Option<ChatId>,
    /// When something was last heard in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard: Option<Timestamp>,
    /// Whether any agent hears it; somebody who looks after chats may have taken that away.
    pub is_heard: bool,
}

/// Which messages are read.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WebMessageQuery {
    /// Only what is older: `next` of an earlier page.
    pub after: Option<String>,
    /// How many; 100 when left out.
    pub limit: Option<usize>,
    /// The `version` that is known: with `wait_s`, the answer comes when there is another one.
    pub seen: Option<u64>,
    /// How long to wait for another version, in seconds: 50 at most.
    pub wait_s: Option<u64>,
    /// Which conversation with the agent, on the terminal; the one without a name when left out.
    pub chat: Option<String>,
}

/// Which conversation with an agent.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WebPlaceQuery {
    /// Its name, on the terminal; the one without a name when left out.
    pub chat: Option<String>,
}

/// Messages, the oldest first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct WebMessages {
    /// The messages of this page.
    pub items: Vec<WebMessage>,
    /// Later texts of messages of older pages.
    pub edits: Vec<WebMessage>,
    /// What to send as `after` for what is older; null at the beginning.
    pub next: Option<String>,
    /// Changes with every change.
    pub version: u64,
}

/// One message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct WebMessage {
    /// Its identity.
    pub id: String,
    /// `you`, `agent` or `host`.
    pub by: String,
    /// The agent that said it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// When.
    pub at: Timestamp,
    /// Markdown.
    pub text: String,
    /// Whether it said something else before.
    pub edited: bool,
    /// The message that it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<String>,
    /// What can be pressed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub buttons: Vec<WebButton>,
    /// Whether it asks something that is answered by a button or the next message.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub asks: bool,
    /// What came along.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<WebFile>,
    /// What it was reacted to with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reactions: Vec<String>,
    /// What became of yours: `turn`, `kept`, `held`, `dropped`, `command`, `answer` or `paired`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// The gate that stopped it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What would let it through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
    /// The turn that it became or came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<TurnId>,
    /// The session of that turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// Where the turn of yours stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
}

impl WebMessage {
    /// One of which nothing else is known.
    pub(super) fn new(id: String, by: &str, at: Timestamp) -> Self {
        Self {
            id,
            by: by.to_owned(),
            agent: None,
            at,
            text: String::new(),
            edited: false,
            reply_to: None,
            buttons: Vec::new(),
            asks: false,
            files: Vec::new(),
            reactions: Vec::new(),
            outcome: None,
            gate: None,
            reason: None,
            fix: None,
            turn: None,
            session: None,
            state: None,
        }
    }
}

/// Something that can be pressed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct WebButton {
    /// What it says.
    pub label: String,
    /// What is sent when it is pressed.
    pub value: String,
}

impl From<Button> for WebButton {
    fn from(button: Button) -> Self {
        Self { label: button.label, value: button.value }
    }
}

/// A file of a message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct WebFile {
    /// What it is fetched by; only files that were sent to you can be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What it is called.
    pub name: String,
    /// Its bytes, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Why the agent did not get it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Something to say.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WebMessageForm {
    /// The text; a command when it begins with `/`.
    pub text: String,
    /// Files that go along.
    pub files: Vec<MessageFile>,
}

/// Another text for something that was said.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebEditForm {
    /// The text.
    pub text: String,
}

/// A button that is pressed.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebPressForm {
    /// The value of the button.
    pub value: String,
}

/// What became of something that was said.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct WebSaid {
    /// Its identity.
    pub id: String,
    /// Whether it was said before: the same key says it once.
    pub again: bool,
    /// What became of it; see the messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// The gate that stopped it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What would let it through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
    /// What the host answered, where it did so at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said: Option<String>,
}
