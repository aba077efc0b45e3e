//! One tool of a plugin, as the broker calls it.

use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::supervisor::Supervisor;
use crate::{Approved, CallFailure, Handler};

/// A tool that a plugin's program carries out.
pub struct PluginTool {
    /// Who keeps the program: another one after a reload that left the tool as it was.
    supervisor: RwLock<Supervisor>,
    server_name: String,
    limit: Duration,
}

impl PluginTool {
    /// A tool by the name that its program knows. `limit` is the longest that a call may take.
    #[must_use]
    pub fn new(supervisor: Supervisor, server_name: impl Into<String>, limit: Duration) -> Self {
        Self { supervisor: RwLock::new(supervisor), server_name: server_name.into(), limit }
    }

    /// From now on calls go there, also those that wait for a person just now. Only for a tool that is the same as before.
    pub fn hand_over(&self, successor: Supervisor) {
        *self.supervisor.write().unwrap_or_else(PoisonError::into_inner) = successor;
    }
}

impl Handler for PluginTool {
    fn call<'a>(&'a self, call: &'a Approved) -> BoxFuture<'a, Result<Value, CallFailure>> {
        async move {
            let supervisor = self.supervisor.read().unwrap_or_else(PoisonError::into_inner).clone();
            let caller = call.caller();
            // What a person allowed happens once, however often it is asked for; else each call is one of its own.
            let whose = caller.session.as_ref().map_or(caller.agent.as_str(), |session| session.as_str());
            let key = call.grant().map_or_else(|| format!("{whose}.{}", call.correlation()), |grant| grant.id.to_string());
            let meta = json!({
                "lazaret/session": caller.session,
                "lazaret/agent": caller.agent,
                "lazaret/group": caller.group,
                "lazaret/correlation": call.correlation(),
                "lazaret/idempotency-key": key,
            });
            supervisor.call(&caller.agent, &self.server_name, call.arguments(), &meta, self.limit).await
        }
        .boxed()
    }
}
