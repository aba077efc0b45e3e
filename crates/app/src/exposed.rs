//! The one exception to the rule that no agent holds a credential: a secret that the owner exposed to one agent by name. Its
//! value stands in the environment of that agent's engine. Everything that the host keeps or shows of the agent's work is
//! cleaned of it: events, tapes, archives.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};

use model::{Code, EXPOSED_LINE, EventKind, Failure, Level, LevelLine};
use sanitize::{Known, Sanitizer};
use serde::{Deserialize, Serialize};
use serde_json::json;
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

/// The agents of an exposure.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Holder {
    /// Whose engines get it.
    now: Option<String>,
    /// Whose engines got it: they may have kept it, and may still say it.
    before: BTreeSet<String>,
}

impl Holder {
    /// How it is kept: a line for each agent, behind [`HIDDEN`] when it is over for that one.
    fn text(&self) -> String {
        let before = self.before.iter().map(|agent| format!("{HIDDEN}{agent}"));
        self.now.iter().cloned().chain(before).collect::<Vec<_>>().join("\n")
    }

    fn read(text: &str) -> Self {
        let mut holder = Self::default();
        for line in text.lines() {
            match line.strip_prefix(HIDDEN) {
                Some(agent) => drop(holder.before.insert(agent.to_owned())),
                None => holder.now = Some(line.to_owned()),
            }
        }
        holder
    }

    /// From now on this agent has it, or none.
    fn hand(&mut self, agent: Option<String>) {
        let last = std::mem::replace(&mut self.now, agent);
        self.before.extend(last);
        if let Some(now) = &self.now {
            self.before.remove(now);
        }
    }

    fn is_held_by(&self, agent: &str) -> bool {
        self.now.as_deref() == Some(agent)
    }

    /// Whether an agent has it, or had it.
    fn was_seen_by(&self, agent: &str) -> bool {
        self.is_held_by(agent) || self.before.contains(agent)
    }
}

/// Stands before the name of an agent that holds a secret no longer. No name begins with it.
const HIDDEN: &str = "!";
/// Agents that one secret was exposed to, one after the other.
const HOLDERS_MAX: usize = 256;

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
        let mine = exposures.iter().filter(|(_, to)| to.is_held_by(agent));
        let held = mine.filter_map(|(name, _)| Some((name.clone(), self.secrets().value_of(name, agent)?)));
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
        self.exposures().values().any(|to| to.was_seen_by(agent)).then(|| self.secrets().sanitizer())
    }

    /// The values that are or were exposed to an agent, for masks of the same length.
    pub(crate) fn exposed_mask(&self, agent: &str) -> Option<Arc<Known>> {
        let exposures = self.exposures();
        let seen = exposures.iter().filter(|(_, to)| to.was_seen_by(agent));
        let seen: Vec<Zeroizing<String>> = seen.flat_map(|(name, _)| self.secrets().seen_values(name, agent)).collect();
        (!seen.is_empty()).then(|| Arc::new(Known::new(seen.iter().map(|value| value.as_str()))))
    }

    /// Takes exposed values out of what an engine of the agent says in pieces; `None` where nothing is or was exposed to it.
    pub(crate) fn exposed_pieces(&self, agent: &str) -> Option<Pieces> {
        self.exposed_cleaner(agent).map(|cleaner| Pieces { text: cleaner.texts(), thinking: cleaner.texts() })
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

/// Takes exposed values out of texts that follow each other, where a value may stand in two of them.
///
/// What is kept back, a few bytes at most, comes with the next text of its kind, or before whatever else the engine does.
#[derive(Debug)]
pub(crate) struct Pieces {
    text: sanitize::TextStream,
    thinking: sanitize::TextStream,
}

impl Pieces {
    /// Takes the next event and gives what may be logged now, in order.
    pub(crate) fn take(&mut self, event: EventKind) -> Vec<EventKind> {
        match event {
            EventKind::Text { text } => text_of(self.text.feed(&text)),
            EventKind::Thinking { text } => thinking_of(self.thinking.feed(&text)),
            // These are told by others, whenever they happen.
            EventKind::Usage { .. } | EventKind::Notice { .. } => vec![event],
            other => {
                let mut all = self.rest();
                all.push(other);
                all
            }
        }
    }

    /// What is kept back, when nothing more of it comes.
    pub(crate) fn rest(&mut self) -> Vec<EventKind> {
        let mut all = thinking_of(self.thinking.finish());
        all.extend(text_of(self.text.finish()));
        all
    }
}

fn text_of(text: String) -> Vec<EventKind> {
    if text.is_empty() { Vec::new() } else { vec![EventKind::Text { text }] }
}

fn thinking_of(text: String) -> Vec<EventKind> {
    if text.is_empty() { Vec::new() } else { vec![EventKind::Thinking { text }] }
}

impl ExposedOf<'_> {
    /// All of them, by name.
    #[must_use]
    pub fn list(&self) -> Vec<ExposedView> {
        let exposures = self.app.exposures();
        let held = exposures.iter().filter_map(|(name, to)| Some((name.clone(), to.now.clone()?)));
        held.map(|(name, agent)| ExposedView { name, agent }).collect()
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
        let mut holder = all.get(&name).cloned().unwrap_or_default();
        holder.hand(Some(agent.clone()));
        if holder.before.len() > HOLDERS_MAX {
            let why = format!("{name} was exposed to {HOLDERS_MAX} agents before; store it under another name");
            return Err(Failure::new(Code::Usage, why).field("name"));
        }
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
        let Some(holder) = all.get_mut(name).filter(|holder| holder.now.is_some()) else {
            return Err(Failure::new(Code::NotFound, "no such secret is exposed").hint("`lazaret secret list` names them"));
        };
        holder.hand(None);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_had_a_secret_is_kept_in_mind() {
        let mut holder = Holder::read("one");
        holder.hand(Some("two".to_owned()));
        assert!(holder.is_held_by("two") && !holder.is_held_by("one"));
        holder.hand(None);
        let again = Holder::read(&holder.text());
        assert_eq!(again, holder);
        assert!(again.was_seen_by("one") && again.was_seen_by("two") && !again.was_seen_by("three"));
        let mut back = again;
        back.hand(Some("one".to_owned()));
        assert_eq!(back.text(), "one\n!two");
        assert_eq!(Holder::read("!one").now, None);
    }

    #[test]
    fn a_value_that_stands_in_two_texts_is_in_neither() {
        let value = "an-exposed-value-of-some-length";
        let cleaner = Sanitizer::new([value]);
        for at in 1..value.len() {
            let mut pieces = Pieces { text: cleaner.texts(), thinking: cleaner.texts() };
            let text = |text: &str| EventKind::Text { text: text.to_owned() };
            let usage = EventKind::Notice { text: "in between".to_owned() };
            let mut all = pieces.take(text(&format!("it is {}", &value[..at])));
            all.extend(pieces.take(usage));
            all.extend(pieces.take(EventKind::Thinking { text: value[..at].to_owned() }));
            all.extend(pieces.take(text(&format!("{} and an", &value[at..]))));
            all.extend(pieces.take(EventKind::ToolResult { id: "1".to_owned(), output: String::new(), is_error: false }));
            let said = |is_text: bool| {
                all.iter()
                    .filter_map(|event| match event {
                        EventKind::Text { text } if is_text => Some(text.as_str()),
                        EventKind::Thinking { text } if !is_text => Some(text.as_str()),
                        _ => None,
                    })
                    .collect::<String>()
            };
            assert_eq!(said(true), format!("it is {} and an", "*".repeat(value.len())), "split at {at}");
            assert!(said(false) == value[..at] || said(false) == "*".repeat(at), "a part that never became whole: {}", said(false));
            assert!(matches!(all.last(), Some(EventKind::ToolResult { .. })), "what was kept back comes before");
        }
    }
}
