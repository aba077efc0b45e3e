//! Stage 4: the caller may call this tool, and not too often. A refusal costs nothing.

use std::collections::BTreeMap;

use model::Code;
use tokio::time::Instant;

use crate::rate::Buckets;
use crate::refusal::Refusal;
use crate::{Asker, Caller, Rate, Standing, Tool};

/// The stage's number.
pub(crate) const STAGE: u8 = 4;
/// All sessions of an agent together may call this many times as often as one.
const SESSIONS_OF_AGENT: u32 = 10;

/// Whether a caller may call a tool. The daemon's own three tools are there for every session.
pub(crate) fn may(caller: &Caller, tool: &Tool) -> bool {
    caller.is_owner() || (has(caller, tool) && caller.asker.as_ref().is_none_or(|asker| asker.may(tool)))
}

/// Whether the agent has a tool, whoever asks it.
fn has(caller: &Caller, tool: &Tool) -> bool {
    let is_given = tool.is_intrinsic() || caller.tools.as_ref().is_none_or(|tools| tools.contains(&tool.name));
    let is_of_group = tool.groups.as_ref().is_none_or(|groups| groups.contains(&caller.group));
    is_given && is_of_group && is_trusted(caller, tool) && !caller.denied.contains(&tool.name)
}

/// Whether the caller's tenant has what the tool uses.
fn is_trusted(caller: &Caller, tool: &Tool) -> bool {
    caller.is_trusted || !tool.is_owners
}

/// Refuses a caller that may not call a tool.
pub(crate) fn check(caller: &Caller, tool: &Tool) -> Result<(), Refusal> {
    if may(caller, tool) {
        return Ok(());
    }
    let message = match &caller.asker {
        Some(asker) if has(caller, tool) => for_asker(caller, asker, tool),
        _ if !is_trusted(caller, tool) => {
            format!("{} uses the owner's accounts, which {} has not for the tenant {}", tool.name, caller.agent, caller.tenant)
        }
        _ => format!("this agent may not call {}", tool.name),
    };
    Err(Refusal::new(STAGE, Code::Unauthorized, message))
}

/// What the agent is told when it is not the agent who may not, but whoever asked it: it can say so, and who could.
fn for_asker(caller: &Caller, asker: &Asker, tool: &Tool) -> String {
    let (agent, tool) = (&caller.agent, &tool.name);
    match asker.standing {
        Standing::Nobody => format!("nothing is done any more for whoever asked this turn: they may not ask {agent} for anything now"),
        Standing::Guest => format!(
            "a guest asked this turn, and {tool} is not called for guests of {agent}: a member may ask for it, or whoever answers for {agent} \
             can allow it if it is of low risk"
        ),
        Standing::Member | Standing::Admin if asker.kept.contains(tool) => {
            format!("{tool} is called for admins and owners of the tenant only, and none of them asked this turn")
        }
        Standing::Member | Standing::Admin => {
            format!("a member asked this turn, and {tool} is not called for members of {agent}: whoever answers for {agent} may ask for it")
        }
    }
}

/// How often each may call, and how often each did.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    pub(crate) usual: Rate,
    pub(crate) groups: BTreeMap<String, Rate>,
}

impl Rates {
    /// Takes a token of the session and one of the agent.
    pub(crate) fn take(&self, buckets: &Buckets, caller: &Caller, now: Instant) -> Result<(), Refusal> {
        if caller.is_owner() {
            return Ok(());
        }
        let rate = self.groups.get(&caller.group).copied().unwrap_or(self.usual);
        let session = caller.key();
        let limited = |wait: std::time::Duration| {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            Refusal::new(STAGE, Code::RateLimited, "too many calls in too short a time").retry_after(seconds.max(1))
        };
        buckets.take(&session, rate, now).map_err(limited)?;
        let agent = format!("agent {} {}", caller.tenant, caller.agent);
        buckets.take(&agent, rate.times(SESSIONS_OF_AGENT), now).map_err(|wait| {
            buckets.give_back(&session);
            limited(wait)
        })
    }
}
