//! What channels, chats and people are asked and how they are shown.

use std::collections::BTreeMap;

use model::{AdmissionId, ChatId, ChatPolicy, Engage, Ignored, OutboxId, PairingId, Senders, SessionMode, Timestamp, UserId, WiringId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// An account to add.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ChannelForm {
    /// Its name; see `model::is_name`.
    pub name: String,
    /// Its network.
    pub network: String,
    /// The folder below the home's `channels/` that holds somebody else's program; what ships when left out.
    pub program: Option<String>,
    /// What its program is told.
    pub config: Map<String, Value>,
    /// Its credentials, by their names. They are kept among the secrets.
    pub credentials: BTreeMap<String, String>,
    /// Whose it is; `default` when left out.
    pub tenant: Option<String>,
}

/// What changes of an account.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ChannelPatch {
    /// What its program is told; replaces what it was told before.
    pub config: Option<Map<String, Value>>,
    /// Credentials that it gets, by their names.
    pub credentials: BTreeMap<String, String>,
    /// Looks at somebody else's program again, and takes it as it is now.
    pub program: Option<String>,
    /// Switches it on or off.
    pub on: Option<bool>,
}

/// An account.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ChannelView {
    /// Its name.
    pub name: String,
    /// Whose it is.
    pub tenant: String,
    /// Its network.
    pub network: String,
    /// Somebody else's program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
    /// What its program is told.
    pub config: Value,
    /// Whether it is switched on.
    pub on: bool,
    /// `off`, `starting`, `connecting`, `well`, `credential` or `down`.
    pub health: String,
    /// What it says of that.
    pub message: String,
    /// How often its program began again since the daemon's start.
    pub restarts: u32,
    /// Who it is on its network, once connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub me: Option<Value>,
    /// What its network can do, once connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abilities: Option<Value>,
    /// The hosts that it may reach.
    pub hosts: Vec<String>,
    /// Its credentials and whether they are set.
    pub credentials: BTreeMap<String, bool>,
    /// Where its platform sends requests to, when it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<String>,
    /// When it was added.
    pub created: Timestamp,
}

/// A chat to make known before anything was heard in it.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChatForm {
    /// The account.
    pub channel: String,
    /// The platform's id.
    pub chat: String,
    /// What people call it.
    #[serde(default)]
    pub name: String,
    /// Whether others than one person can be in it.
    #[serde(default)]
    pub group: bool,
}

/// What changes of a chat.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ChatPatch {
    /// What becomes of who is not known.
    pub policy: Option<ChatPolicy>,
    /// Whether nothing of it is wanted.
    pub denied: Option<bool>,
}

/// Which chats are listed.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ChatQuery {
    /// Those of this account.
    pub channel: Option<String>,
    /// The cursor of an earlier page.
    pub after: Option<String>,
    /// How many; 50 when left out.
    pub limit: Option<usize>,
}

/// A chat.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ChatView {
    /// Its identity.
    pub id: ChatId,
    /// The account.
    pub channel: String,
    /// The platform's id.
    pub chat: String,
    /// What people call it.
    pub name: String,
    /// Whether others than one person can be in it.
    pub group: bool,
    /// What becomes of who is not known.
    pub policy: ChatPolicy,
    /// Whether nothing of it is wanted.
    pub denied: bool,
    /// The agents that hear it.
    pub agents: Vec<String>,
    /// When something was last heard.
    pub heard: Timestamp,
}

/// Lets an agent hear a chat.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WiringForm {
    /// The chat: its identity, or the account and the platform's id as `CHANNEL/ID`.
    pub chat: String,
    /// The agent.
    pub agent: String,
    /// When it engages; in a group `sticky`, in a direct chat every message, when left out.
    #[serde(default)]
    pub engage: Option<Engage>,
    /// What is looked for, with `pattern`; `.` is every message.
    #[serde(default)]
    pub pattern: Option<String>,
    /// Whose messages engage it; `known` when left out.
    #[serde(default)]
    pub senders: Option<Senders>,
    /// What becomes of the others; `accumulate` in a group, when left out.
    #[serde(default)]
    pub ignored: Option<Ignored>,
    /// Which messages belong together; `shared` when left out.
    #[serde(default)]
    pub mode: Option<SessionMode>,
    /// The higher is asked first.
    #[serde(default)]
    pub priority: i64,
    /// Whether what other programs say is heard.
    #[serde(default)]
    pub bots: bool,
}

/// A wiring.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
pub struct WiringView {
    /// Its identity.
    pub id: WiringId,
    /// The chat.
    pub chat: ChatId,
    /// The agent.
    pub agent: String,
    /// When it engages.
    pub engage: Engage,
    /// What is looked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// Whose messages engage it.
    pub senders: Senders,
    /// What becomes of the others.
    pub ignored: Ignored,
    /// Which messages belong together.
    pub mode: SessionMode,
    /// The higher is asked first.
    pub priority: i64,
    /// Whether what other programs say is heard.
    pub bots: bool,
}

/// Lets an agent send somewhere.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DestinationForm {
    /// The agent.
    pub agent: String,
    /// Its name for it.
    pub name: String,
    /// The chat: its identity, or `CHANNEL/ID`.
    #[serde(default)]
    pub chat: Option<String>,
    /// The platform's id of a thread in it.
    #[serde(default)]
    pub thread: Option<String>,
    /// Another agent instead.
    #[serde(default)]
    pub target: Option<String>,
}

/// Where an agent may send to.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
pub struct DestinationView {
    /// The agent.
    pub agent: String,
    /// Its name for it.
    pub name: String,
    /// The chat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat: Option<ChatId>,
    /// A thread in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread: Option<String>,
    /// Another agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

/// Links a handle to a person.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HandleForm {
    /// The account that verifies it.
    pub channel: String,
    /// The network's id of them.
    pub handle: String,
    /// Whose it is.
    pub user: UserId,
    /// For showing only.
    #[serde(default)]
    pub name: String,
}

/// A handle.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
pub struct HandleView {
    /// The account that verifies it.
    pub channel: String,
    /// The network's id of them.
    pub handle: String,
    /// For showing only.
    pub name: String,
    /// Whose it is.
    pub user: UserId,
    /// Whether a direct chat with them is known.
    pub dm: bool,
}

/// Gives somebody a role with an agent.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleForm {
    /// The agent.
    pub agent: String,
    /// Who.
    pub user: UserId,
    /// `member` or `admin`.
    pub role: String,
}

/// What somebody is to an agent.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RoleView {
    /// The agent.
    pub agent: String,
    /// Who.
    pub user: UserId,
    /// `member` or `admin`.
    pub role: String,
    /// Whose agent.
    pub tenant: String,
}

/// Makes a code by which somebody proves that a handle or a chat is theirs.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PairForm {
    /// The person whom the handle is linked to; a new one when left out.
    pub user: Option<UserId>,
    /// The agent that hears the chat from then on.
    pub agent: Option<String>,
    /// What the sender becomes: `member` or `admin` of the agent; without one `admin` of the tenant, or `owner`.
    pub role: Option<String>,
    /// The only account that it can be used with.
    pub channel: Option<String>,
    /// How long it can be used; 10 minutes when left out, an hour at most.
    pub ttl_s: Option<u64>,
}

/// A code. It is shown once.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PairingView {
    /// Its identity.
    pub id: PairingId,
    /// The code, when it was just made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The agent that hears the chat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// What the sender becomes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Until when it can be used.
    pub expires: Timestamp,
    /// Who used it: account and handle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_by: Option<String>,
}

/// Somebody who asks to be let in.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
pub struct AdmissionView {
    /// Its identity.
    pub id: AdmissionId,
    /// The account.
    pub channel: String,
    /// The chat.
    pub chat: ChatId,
    /// The agent that they want to talk to.
    pub agent: String,
    /// Their handle.
    pub handle: String,
    /// What they call themselves.
    pub name: String,
    /// `pending`, `allowed` or `denied`.
    pub state: String,
    /// When they asked.
    pub created: Timestamp,
}

/// Which deliveries are listed.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OutQuery {
    /// Those of this account.
    pub channel: Option<String>,
    /// `waiting`, `sending`, `sent` or `dead`.
    pub state: Option<String>,
    /// The cursor of an earlier page.
    pub after: Option<String>,
    /// How many; 50 when left out.
    pub limit: Option<usize>,
}

/// A delivery.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
pub struct OutView {
    /// Its identity.
    pub id: OutboxId,
    /// The account.
    pub channel: String,
    /// The platform's id of the chat.
    pub chat: String,
    /// What is to be done there.
    pub act: Value,
    /// `waiting`, `sending`, `sent` or `dead`.
    pub state: String,
    /// How often it was tried.
    pub attempts: u32,
    /// The platform's ids of what it became.
    pub messages: Vec<String>,
    /// Why the last try failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// When it became owed.
    pub created: Timestamp,
}
