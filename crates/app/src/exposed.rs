//! The one exception to the rule that no agent holds a credential: a secret that the owner exposed to one agent by name. Its
//! value stands in the environment of that agent's engine. Everything that the host keeps or shows of the agent's work is
//! cleaned of it: events, tapes, archives.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use model::{Code, EXPOSED_LINE, EventKind, Failure, Level, LevelLine};
use sanitize::{Known, Sanitizer};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use store::Secrets;
use zeroize::Zeroizing;

use crate::App;
use crate::bound::check_variable;

/// The scope of exposures among the secrets: sealed like values, so that nobody who can write the database can expose one.
pub(crate) const SCOPE: &str = "exposed";
/// Secrets that are or were exposed.
const EXPOSED_MAX: usize = 64;
/// The shortest value: a shorter one could not be taken out of texts without harm to them.
const VALUE_BYTES_MIN: usize = 8;

/// A secret to expose.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExposeForm {
    /// The secret, and the variable that holds its value inside.
    pub name: String,
    /// The one agent that gets it.
    pub agent: String,
}

/// A secret that one agent holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ExposedView {
    /// The secret.
    pub name: String,
    /// The agent.
    pub agent: String,
}

/// The exposed secrets of an [`App`].
pub struct ExposedOf<'a> {
    app: &'a App,
}

/// Which secret is exposed to whom, or was: what an agent has seen it may still say.
pub(crate) type Exposed = BTreeMap<String, Holder>;

/// The agent of an exposure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Holder {
    agent: String,
    /// Whether its engines still get it.
    is_held: bool,
}

impl Holder {
    /// How it is kept: the agent's name, behind [`HIDDEN`] when it is over.
    fn text(&self) -> String {
        if self.is_held { self.agent.clone() } else { format!("{HIDDEN}{}", self.agent) }
    }

    fn read(text: &str) -> Self {
        let agent = text.strip_prefix(HIDDEN);
        Self { agent: agent.unwrap_or(text).to_owned(), is_held: agent.is_none() }
    }
}

/// Stands before the name of an agent that holds a secret no longer. No name begins with it.
const HIDDEN: &str = "!";

impl App {
    /// The secrets that agents hold.
    #[must_use]
    pub fn exposed(&self) -> ExposedOf<'_> {
        ExposedOf { app: self }
    }

    fn exposures(&self) -> Arc<Exposed> {
        Arc::clone(&self.egress_book().exposed.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What an agent's engine gets, by name. A provider's key is never among it, whatever the record says.
    pub(crate) fn exposed_env(&self, agent: &str) -> Vec<(String, Zeroizing<String>)> {
        let exposures = self.exposures();
        let mine = exposures.iter().filter(|(_, to)| to.is_held && to.agent == agent);
        let held = mine.filter_map(|(name, _)| Some((name.clone(), self.secrets().value(name)?)));
        held.filter(|(name, value)| self.check_exposable(name, value).is_ok()).collect()
    }

    /// Says in a level what an agent holds.
    pub(crate) fn tell_exposed(&self, agent: &str, level: &mut Level) {
        let names: Vec<String> = self.exposed_env(agent).into_iter().map(|(name, _)| name).collect();
        if !names.is_empty() {
            level.lines.push(LevelLine { name: EXPOSED_LINE.to_owned(), holds: false, how: names.join(", ") });
        }
    }

    /// What takes values out of whatever is kept of an agent's work; `None` where nothing is or was exposed to it.
    ///
    /// It knows every secret of the install, so that what was exposed a moment ago is taken out as well.
    pub(crate) fn exposed_cleaner(&self, agent: &str) -> Option<Arc<Sanitizer>> {
        self.exposures().values().any(|to| to.agent == agent).then(|| self.secrets().sanitizer())
    }

    /// The values that are or were exposed to an agent, for masks of the same length.
    pub(crate) fn exposed_mask(&self, agent: &str) -> Option<Arc<Known>> {
        let exposures = self.exposures();
        let seen = exposures.iter().filter(|(_, to)| to.agent == agent);
        let seen: Vec<Zeroizing<String>> = seen.filter_map(|(name, _)| self.secrets().value(name)).collect();
        (!seen.is_empty()).then(|| Arc::new(Known::new(seen.iter().map(|value| value.as_str()))))
    }

    /// Takes exposed values out of events. One that cannot be read without them is replaced.
    pub(crate) fn clean_events(&self, agent: &str, events: &mut [EventKind]) {
        let Some(cleaner) = self.exposed_cleaner(agent) else { return };
        for event in events {
            let Ok(mut value) = serde_json::to_value(&*event) else { continue };
            if cleaner.value(&mut value).is_empty() {
                continue;
            }
            *event = serde_json::from_value(value)
                .unwrap_or_else(|_| EventKind::Notice { text: "an event was left out: it held an exposed secret".to_owned() });
        }
    }

    /// Notes in the audit that an engine gets what is exposed, before it does.
    pub(crate) async fn note_exposed(&self, agent: &str, session: &model::SessionId) -> Result<(), Failure> {
        let names: Vec<String> = self.exposed_env(agent).into_iter().map(|(name, _)| name).collect();
        if names.is_empty() {
            return Ok(());
        }
        self.audit_change("daemon", "secret.given", json!({ "agent": agent, "session": session, "names": names })).await
    }

    /// Whether a value may be given to an agent at all.
    fn check_exposable(&self, name: &str, value: &str) -> Result<(), Failure> {
        let refused = |why: &str| Err(Failure::new(Code::Forbidden, why.to_owned()).field("name"));
        let providers = self.providers();
        if providers.keys().any(|provider| provider.eq_ignore_ascii_case(name)) {
            return refused("a provider's key is never exposed: the gateway puts it in outside of the sandbox");
        }
        if providers.keys().any(|provider| self.secrets().value(provider).is_some_and(|key| key.as_str() == value)) {
            return refused("this is the value of a provider's key, which is never exposed");
        }
        if value.len() < VALUE_BYTES_MIN {
            return refused("a value of fewer than 8 bytes cannot be taken out of what an agent prints");
        }
        Ok(())
    }
}

impl ExposedOf<'_> {
    /// All of them, by name.
    #[must_use]
    pub fn list(&self) -> Vec<ExposedView> {
        let exposures = self.app.exposures();
        let held = exposures.iter().filter(|(_, to)| to.is_held);
        held.map(|(name, to)| ExposedView { name: name.clone(), agent: to.agent.clone() }).collect()
    }

    /// Exposes a secret to one agent, instead of to another one that it may have been exposed to. Engines that start from now
    /// on have it.
    ///
    /// # Errors
    /// There is no such secret or agent, its name can be no variable, it is a provider's key, or the store cannot be written.
    pub async fn expose(&self, form: ExposeForm) -> Result<ExposedView, Failure> {
        let ExposeForm { name, agent } = form;
        check_variable(&name)?;
        let value = self.app.secrets().value(&name).ok_or_else(|| {
            Failure::new(Code::NotFound, format!("there is no secret {name}")).hint(format!("run: lazaret secret set {name} -"))
        })?;
        self.app.check_exposable(&name, &value)?;
        self.app.store().agent(&agent).await.map_err(|e| e.failure().field("agent"))?;
        let book = self.app.egress_book();
        let _changing = book.changing.lock().await;
        let mut all = (*self.app.exposures()).clone();
        if all.len() >= EXPOSED_MAX && !all.contains_key(&name) {
            return Err(Failure::new(Code::Usage, format!("at most {EXPOSED_MAX} secrets are or were exposed")).field("name"));
        }
        let holder = Holder { agent: agent.clone(), is_held: true };
        book.secrets.set(&name, SCOPE, Zeroizing::new(holder.text()), crate::now()).await.map_err(|e| e.failure())?;
        all.insert(name.clone(), holder);
        *book.exposed.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(all);
        Ok(ExposedView { name, agent })
    }

    /// Exposes a secret no longer. An engine that has it keeps it until its process ends, which is before its next turn.
    ///
    /// # Errors
    /// It is not exposed, or the store cannot be written.
    pub async fn hide(&self, name: &str) -> Result<(), Failure> {
        let book = self.app.egress_book();
        let _changing = book.changing.lock().await;
        let mut all = (*self.app.exposures()).clone();
        let Some(holder) = all.get_mut(name).filter(|holder| holder.is_held) else {
            return Err(Failure::new(Code::NotFound, "no such secret is exposed").hint("`lazaret secret list` names them"));
        };
        holder.is_held = false;
        book.secrets.set(name, SCOPE, Zeroizing::new(holder.text()), crate::now()).await.map_err(|e| e.failure())?;
        *book.exposed.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(all);
        Ok(())
    }
}

/// What is exposed, as it is kept.
pub(crate) async fn read_exposed(secrets: &Secrets) -> Result<Exposed, Failure> {
    let mut all = Exposed::new();
    for entry in secrets.list().await.map_err(|e| e.failure())?.into_iter().filter(|e| e.scope == SCOPE) {
        let agent = secrets.get(&entry.name, SCOPE).await.map_err(|e| e.failure())?;
        all.insert(entry.name, Holder::read(&agent));
    }
    Ok(all)
}

/// Names of secrets, each with the agent that holds it, if one does.
#[must_use]
pub fn with_holders(entries: &[store::SecretEntry], views: &[ExposedView]) -> Vec<Value> {
    let shown = |entry: &store::SecretEntry| {
        let mut value = json!(entry);
        if let Some(view) = views.iter().find(|view| view.name == entry.name) {
            value["exposed_to"] = json!(view.agent);
        }
        value
    };
    entries.iter().map(shown).collect()
}
