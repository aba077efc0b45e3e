//! Stage 4: the caller may call this tool, and not too often. A refusal costs nothing.

use std::collections::BTreeMap;

use model::Code;
use tokio::time::Instant;

use crate::rate::Buckets;
use crate::refusal::Refusal;
use crate::{Caller, Rate, Tool};

/// The stage's number.
pub(crate) const STAGE: u8 = 4;
/// All sessions of an agent together may call this many times as often as one.
const SESSIONS_OF_AGENT: u32 = 10;

/// Whether a caller may call a tool. The daemon's own three tools are there for every session.
pub(crate) fn may(caller: &Caller, tool: &Tool) -> bool {
    if caller.is_owner() {
        return true;
    }
    let is_given = tool.is_intrinsic() || caller.tools.as_ref().is_none_or(|tools| tools.contains(&tool.name));
    let is_of_group = tool.groups.as_ref().is_none_or(|groups| groups.contains(&caller.group));
    is_given && is_of_group && !caller.denied.contains(&tool.name)
}

/// Refuses a caller that may not call a tool.
pub(crate) fn check(caller: &Caller, tool: &Tool) -> Result<(), Refusal> {
    if may(caller, tool) {
        return Ok(());
    }
    Err(Refusal::new(STAGE, Code::Unauthorized, format!("this agent may not call {}", tool.name)))
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
