//! What a turn asks of its engine, how what it says is read, and how often it may ask its model.

use std::sync::Arc;

use engines::{Plan, Wire};
use model::{Code, Failure};

use crate::App;
use crate::turn::Running;

impl Running<'_> {
    /// What the engine is asked in this turn.
    pub(crate) fn asks(&self) -> Plan<'_> {
        let plan = self.ready.asks(&self.live.spec, &self.prompt, self.engine_session.as_deref());
        Plan { turn: self.turn.n, history: Some(self.history.as_str()).filter(|text| !text.is_empty()), ..plan }
    }

    /// A reader of the engine's output.
    pub(crate) fn reader(&self, carried: engines::Carried) -> Box<dyn engines::Parser> {
        self.ready.engine.reader(&self.asks(), self.is_further(), carried)
    }

    /// Whether the engine's process took turns before this one.
    pub(crate) fn is_further(&self) -> bool {
        self.turn.engine_lease != self.fence.0
    }

    /// Who counts how often the engine asks its model.
    pub(crate) fn rounds(&self) -> Result<Option<Arc<dyn gateway::Rounds>>, Failure> {
        let Some(most) = self.live.spec.job.as_ref().and_then(|job| job.max_turns) else { return Ok(None) };
        let rounds = crate::rounds::Kept::open(&self.app.session_dir(&self.live.id), &self.turn.id, most)
            .map_err(|e| Failure::new(Code::Internal, format!("the rounds of this turn cannot be counted: {e}")))?;
        Ok(Some(Arc::new(rounds)))
    }
}

/// The form in which an engine speaks to a provider.
pub(crate) fn wire_of(engine: &dyn engines::Engine, app: &App, provider: &str) -> Wire {
    let first = engine.wires().first().copied().unwrap_or(Wire::Anthropic);
    let Some(provider) = app.providers().get(provider).copied() else { return first };
    crate::choose::wire_for(engine, provider.kind).unwrap_or(first)
}
