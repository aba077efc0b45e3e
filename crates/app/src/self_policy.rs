//! What an agent may change of itself, as its owner says: its standing instructions, and what it remembers.
//!
//! Both act in conversations with others, so neither is ever changed by the word of somebody who does not answer for the agent: not by a
//! member's turn, and not without a person's yes where somebody else's words stand in the same conversation.

use broker::{Ask, Caller, Standing};
use model::{Code, Failure};
use serde::{Deserialize, Serialize};
use store::Store;

use crate::agent_tools::SET_INSTRUCTIONS;
use crate::agents::agent_in;
use crate::memory::TOOLS as MEMORY_TOOLS;
use crate::{AgentForm, App};

/// What becomes of a change that an agent makes to itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SelfPolicy {
    /// It makes none.
    Off,
    /// Each waits for the yes of whoever answers for it.
    #[default]
    Confirm,
    /// It makes them, where a chat asks, whoever asks there answers for it, and nobody else's words stand in the conversation; else as
    /// [`SelfPolicy::Confirm`].
    Free,
}

impl SelfPolicy {
    /// Whether it is what an agent has that says nothing.
    pub(crate) fn is_usual(&self) -> bool {
        *self == Self::default()
    }

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Confirm => "confirm",
            Self::Free => "free",
        }
    }
}

/// The tools that an agent does not have because it changes nothing of itself.
pub(crate) fn kept_from(agent: &AgentForm) -> impl Iterator<Item = &'static str> {
    let instructions = (agent.instructions_policy == SelfPolicy::Off).then_some(SET_INSTRUCTIONS);
    let memory: &'static [&'static str] = if agent.memory_policy == SelfPolicy::Off { &MEMORY_TOOLS } else { &[] };
    instructions.into_iter().chain(memory.iter().copied())
}

/// Whether a caller's own memory is written without a yes. It is refused where the agent remembers nothing.
pub(crate) async fn remembers_freely(store: &Store, caller: &Caller) -> Result<bool, Failure> {
    if caller.session.is_none() {
        return Ok(false);
    }
    match agent_in(store, &caller.agent).await?.memory_policy {
        SelfPolicy::Off => Err(Failure::new(Code::Forbidden, format!("{} remembers nothing: its owner said so", caller.agent))),
        SelfPolicy::Confirm => Ok(false),
        SelfPolicy::Free => is_undisputed(store, caller).await,
    }
}

/// Whether a turn is asked in a chat by who answers for its agent, in a conversation in which nobody else has a word, no other agent either. Of a turn
/// that no chat asked nobody knows who that is: a token may write to sessions and change no agent, and a job passes on what strangers wrote.
pub(crate) async fn is_undisputed(store: &Store, caller: &Caller) -> Result<bool, Failure> {
    let (Some(session), Some(turn)) = (&caller.session, &caller.turn) else { return Ok(false) };
    let Some(asker) = caller.asker.as_ref().filter(|asker| asker.standing == Standing::Admin) else { return Ok(false) };
    if store.mail_of(turn).await.map_err(|e| e.failure())?.is_some() {
        return Ok(false);
    }
    Ok(store.said_beside(session, &asker.channel, &asker.handle).await.map_err(|e| e.failure())?.others == 0)
}

impl App {
    /// Whether a call of high risk needs nobody's yes, because the owner left it to the agent.
    pub(crate) async fn is_left_to_agent(&self, ask: &Ask<'_>) -> Result<bool, Failure> {
        if !ask.tool.plugin.is_empty() || ask.tool.name != SET_INSTRUCTIONS {
            return Ok(false);
        }
        let agent = agent_in(self.store(), &ask.caller.agent).await?;
        Ok(agent.instructions_policy == SelfPolicy::Free && is_undisputed(self.store(), ask.caller).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_that_changes_nothing_of_itself_has_none_of_the_tools() {
        let agent = |instructions_policy, memory_policy| AgentForm { instructions_policy, memory_policy, ..AgentForm::default() };
        assert_eq!(kept_from(&AgentForm::default()).count(), 0);
        assert_eq!(kept_from(&agent(SelfPolicy::Free, SelfPolicy::Free)).count(), 0);
        assert_eq!(kept_from(&agent(SelfPolicy::Off, SelfPolicy::Confirm)).collect::<Vec<_>>(), ["set_instructions"]);
        let all: Vec<_> = kept_from(&agent(SelfPolicy::Off, SelfPolicy::Off)).collect();
        assert_eq!(all, ["set_instructions", "memory_store", "memory_search", "memory_brief", "memory_delete"]);
        // One that says nothing is stored as it was before there was anything to say.
        assert!(!serde_json::to_string(&AgentForm::default()).expect("JSON").contains("policy"));
    }
}
