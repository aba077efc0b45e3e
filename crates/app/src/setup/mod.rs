//! The first steps: a key or a model of one's own, an agent, a network, a chat that is paired, a first hello.
//!
//! How far somebody is comes from what is there, not from what a page remembers: whoever did a step by hand has done it. Noted is
//! only what cannot be seen: that a step was passed over, and that something was tried and worked.

mod networks;
mod notices;

pub use networks::{NETWORKS, NetworkField, NetworkGuide, network_guide};
pub use notices::Notice;

use model::{Code, Failure};
use serde::{Deserialize, Serialize};
use store::{ChatFilter, SessionFilter, SetupStepRow};

use crate::{App, Caller, DEFAULT_AGENT, now};

/// Characters of what is noted of a step.
const NOTE_CHARS_MAX: usize = 200;

/// A step, in the order in which they are done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SetupStep {
    /// A model answers: a key is stored, or one runs on this machine.
    Model,
    /// There is an agent to talk to.
    Agent,
    /// An account of a chat network is connected.
    Channel,
    /// A chat is paired: an agent hears it, and its sender is known.
    Pair,
    /// Something was said and answered.
    Hello,
}

impl SetupStep {
    /// Every step, in order.
    pub const ALL: [SetupStep; 5] = [SetupStep::Model, SetupStep::Agent, SetupStep::Channel, SetupStep::Pair, SetupStep::Hello];

    /// The printed form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            SetupStep::Model => "model",
            SetupStep::Agent => "agent",
            SetupStep::Channel => "channel",
            SetupStep::Pair => "pair",
            SetupStep::Hello => "hello",
        }
    }
}

/// How a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SetupState {
    /// It is to be done.
    Todo,
    /// It was passed over.
    Skipped,
    /// It is done.
    Done,
}

/// A step as it is shown.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SetupStepView {
    /// Which.
    pub step: SetupStep,
    /// How it is.
    pub state: SetupState,
    /// What is there.
    pub what: String,
    /// What does it, on the command line; empty for one that is done.
    pub fix: String,
}

/// How far the first steps came.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SetupView {
    /// The steps, in order.
    pub steps: Vec<SetupStepView>,
    /// The first that is to be done.
    pub next: Option<SetupStep>,
    /// Whether nothing is to be done.
    pub ready: bool,
}

/// What is said of a step.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetupForm {
    /// Which.
    pub step: SetupStep,
    /// Pass it over; it is noted as done when left out.
    #[serde(default)]
    pub skip: bool,
    /// What was used for it: a name, never a credential. At most 200 characters.
    #[serde(default)]
    pub note: String,
}

/// The first steps of what a caller sees.
pub struct SetupOf<'a> {
    app: &'a App,
    caller: Caller,
}

impl App {
    /// The first steps of what this caller sees.
    #[must_use]
    pub fn setup_of(&self, caller: &Caller) -> SetupOf<'_> {
        SetupOf { app: self, caller: caller.clone() }
    }
}

impl SetupOf<'_> {
    /// How far they came.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn show(&self) -> Result<SetupView, Failure> {
        let noted = self.app.store().setup_steps(self.caller.makes_for()).await.map_err(|e| e.failure())?;
        let mut steps = Vec::with_capacity(SetupStep::ALL.len());
        for step in SetupStep::ALL {
            let noted = noted.iter().find(|row| row.step == step.as_str());
            steps.push(self.step(step, noted).await?);
        }
        let next = steps.iter().find(|view| view.state == SetupState::Todo).map(|view| view.step);
        Ok(SetupView { steps, next, ready: next.is_none() })
    }

    /// Notes that a step was passed over, or was tried and worked.
    ///
    /// # Errors
    /// The note is too long, or the step cannot be done by saying so.
    pub async fn note(&self, form: SetupForm) -> Result<SetupView, Failure> {
        if form.note.chars().count() > NOTE_CHARS_MAX || form.note.chars().any(char::is_control) {
            return Err(Failure::new(Code::Usage, format!("a note is one line of at most {NOTE_CHARS_MAX} characters")).field("note"));
        }
        let by_saying = matches!(form.step, SetupStep::Model | SetupStep::Hello);
        if !form.skip && !by_saying && self.step(form.step, None).await?.state != SetupState::Done {
            return Err(Failure::new(Code::Conflict, format!("the step `{}` is done by doing it", form.step.as_str())).field("step"));
        }
        let row = SetupStepRow { step: form.step.as_str().to_owned(), is_skipped: form.skip, note: form.note, changed: now() };
        self.app.store().note_setup_step(self.caller.makes_for(), row).await.map_err(|e| e.failure())?;
        model::crash::point("setup:noted");
        self.show().await
    }

    /// Forgets what was passed over and what was tried; what is there stays.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn restart(&self) -> Result<SetupView, Failure> {
        self.app.store().forget_setup(self.caller.makes_for()).await.map_err(|e| e.failure())?;
        self.show().await
    }

    async fn step(&self, step: SetupStep, noted: Option<&SetupStepRow>) -> Result<SetupStepView, Failure> {
        let found = match step {
            SetupStep::Model => self.model(noted),
            SetupStep::Agent => self.agent().await?,
            SetupStep::Channel => self.channel().await?,
            SetupStep::Pair => self.pair().await?,
            SetupStep::Hello => self.hello(noted).await?,
        };
        let is_skipped = noted.is_some_and(|row| row.is_skipped);
        let (state, what) = match found {
            Ok(what) => (SetupState::Done, what),
            Err(what) if is_skipped => (SetupState::Skipped, what),
            Err(what) => (SetupState::Todo, what),
        };
        let fix = match (state, step) {
            (SetupState::Done, _) => "",
            (_, SetupStep::Model) => "lazaret setup --provider anthropic --key -",
            (_, SetupStep::Agent) => "lazaret setup --agent NAME",
            (_, SetupStep::Channel) => "lazaret setup --network telegram",
            (_, SetupStep::Pair) => "lazaret wire pair --agent NAME --role owner, and send the code in the chat",
            (_, SetupStep::Hello) => "lazaret chat",
        };
        Ok(SetupStepView { step, state, what, fix: fix.to_owned() })
    }

    /// `Ok` with what is there, or `Err` with what is missing.
    fn model(&self, noted: Option<&SetupStepRow>) -> Result<String, String> {
        let usable: Vec<String> = self.app.providers().into_iter().filter(|(_, p)| p.is_usable).map(|(name, _)| name).collect();
        let tried = noted.filter(|row| !row.is_skipped).map(|row| format!("; {} answered", row.note)).unwrap_or_default();
        if usable.is_empty() {
            return Err("no provider has a key, and no model of this machine is configured".to_owned());
        }
        Ok(format!("{}{tried}", usable.join(", ")))
    }

    async fn agent(&self) -> Result<Result<String, String>, Failure> {
        let agents = self.app.agents().list().await?;
        let is_made = |agent: &&crate::AgentForm| agent.name != DEFAULT_AGENT || !agent.instructions.is_empty();
        let names: Vec<String> = agents.iter().filter(is_made).take(10).map(|agent| agent.name.clone()).collect();
        Ok(if names.is_empty() {
            Err("there is only the agent `default`, which nobody instructed".to_owned())
        } else {
            Ok(names.join(", "))
        })
    }

    async fn channel(&self) -> Result<Result<String, String>, Failure> {
        let channels = self.app.channels_of(&self.caller).list().await?;
        let on: Vec<String> =
            channels.iter().filter(|c| c.on).take(10).map(|c| format!("{} ({}: {})", c.name, c.network, c.health)).collect();
        Ok(match (on.is_empty(), channels.first()) {
            (false, _) => Ok(on.join(", ")),
            (true, Some(off)) => Err(format!("{} is switched off", off.name)),
            (true, None) => Err("no chat network is connected".to_owned()),
        })
    }

    async fn pair(&self) -> Result<Result<String, String>, Failure> {
        let tenant = self.caller.tenant.clone();
        let handles = self.app.store().list_handles(tenant.clone(), None).await.map_err(|e| e.failure())?;
        let wirings = self.app.store().list_wirings(tenant.clone(), None).await.map_err(|e| e.failure())?;
        if let (Some(handle), Some(wiring)) = (handles.first(), wirings.first()) {
            return Ok(Ok(format!("{} hears a chat, and {} of {} is known", wiring.agent, handle.name, handle.channel)));
        }
        let chats = self.app.store().list_chats(ChatFilter { tenant, channel: None }, None, 1).await.map_err(|e| e.failure())?;
        Ok(Err(match (wirings.is_empty(), chats.items.first()) {
            (false, _) => "an agent hears a chat, but nobody in it is known".to_owned(),
            (true, Some(chat)) => format!("something was said on {}, and no agent hears it", chat.channel),
            (true, None) => "no agent hears a chat".to_owned(),
        }))
    }

    async fn hello(&self, noted: Option<&SetupStepRow>) -> Result<Result<String, String>, Failure> {
        if let Some(row) = noted.filter(|row| !row.is_skipped) {
            return Ok(Ok(row.note.clone()));
        }
        let filter = SessionFilter { tenant: self.caller.tenant.clone(), ..SessionFilter::default() };
        let sessions = self.app.store().list_sessions(&filter, None, 50).await.map_err(|e| e.failure())?;
        let answered = sessions.items.iter().find(|session| session.head > 0);
        Ok(answered.map(|session| format!("{} answered in {}", session.agent, session.id)).ok_or_else(|| "nothing was said yet".to_owned()))
    }
}
