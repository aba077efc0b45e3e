//! The model providers of this install, as its owner sees them: where each answers, whether it can be asked, and who asks it.

use gateway::{Kind, ProviderConfig, REHEARSAL, WELL_KNOWN};
use model::{Code, Failure};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::App;

/// Whether a provider has what it needs to be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProviderKey {
    /// A secret of its name is stored.
    Stored,
    /// It needs one, and there is none.
    Missing,
    /// It works without.
    NotNeeded,
}

impl ProviderKey {
    /// The word for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stored => "key stored",
            Self::Missing => "no key",
            Self::NotNeeded => "needs no key",
        }
    }
}

/// An agent that asks a provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProviderUse {
    /// The agent.
    pub agent: String,
    /// The model that it asks for there; its engine's own choice when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// 0 is asked first; the others in their order when those before do not answer.
    pub place: u32,
}

/// A provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProviderView {
    /// Its name, also that of its key among the secrets.
    pub name: String,
    /// The API that it speaks: `anthropic`, `openai` or `gemini`.
    pub kind: String,
    /// Where it answers.
    pub base_url: String,
    /// Whether it has what it needs. The key itself is never shown.
    pub key: ProviderKey,
    /// Whether it can be asked.
    pub usable: bool,
    /// Whether it is known without any configuration.
    pub built_in: bool,
    /// Whether its models cost nothing, whatever the list of prices says.
    pub free: bool,
    /// Agents that name it, first or as one that stands in.
    pub agents: Vec<ProviderUse>,
}

/// The models of a provider, as it lists them itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProviderModels {
    /// The provider.
    pub provider: String,
    /// Its models, by name: at most 1000.
    pub models: Vec<ProviderModel>,
    /// Whether it has more than are named here.
    pub more: bool,
}

/// A model of a provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProviderModel {
    /// Its name, as an agent or a session names it behind the provider's.
    pub id: String,
    /// What it is called for people, where that is something else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
}

/// A server of models that needs no key: on this machine, or near it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeylessForm {
    /// Where it answers as OpenAI does: with its scheme, its port and, as a rule, `/v1`.
    pub base_url: String,
}

/// Providers, for the owner.
pub struct ProvidersOf<'a> {
    app: &'a App,
}

impl App {
    /// The providers of this install. They are the owner's: a caller of a tenant has no business here.
    #[must_use]
    pub fn providers_of(&self) -> ProvidersOf<'_> {
        ProvidersOf { app: self }
    }
}

impl ProvidersOf<'_> {
    /// The models that a provider says it has, asked with its key from here. What it said within the last ten minutes serves again, unless
    /// it is to be `fresh`.
    ///
    /// # Errors
    /// There is no such provider, it has no key and needs one, or it gives no list within 20 s.
    pub async fn models(&self, name: &str, fresh: bool) -> Result<ProviderModels, Failure> {
        let listed = self.app.doors().gateway().models(name, fresh).await;
        let listed = listed.map_err(|failure| match failure.code {
            Code::KeyMissing => failure.hint(format!("run: lazaret secret set {name} -")),
            Code::NotFound => failure.hint("lazaret provider list"),
            _ => failure,
        })?;
        let models = listed.models.iter().map(|model| ProviderModel { id: model.id.clone(), title: model.title.clone() }).collect();
        Ok(ProviderModels { provider: name.to_owned(), models, more: listed.more })
    }

    /// Makes a server of models that needs no key a provider, or says where such a one answers by now; gives its models, which it must
    /// list for that.
    ///
    /// # Errors
    /// Its name or address is none, it does not answer, or something with a key has this name: whoever moved that would be sent the key.
    pub async fn put_keyless(&self, name: &str, form: KeylessForm) -> Result<ProviderModels, Failure> {
        let there = self.app.settings().gateway.providers.get(name).cloned();
        let has_key = gateway::Keys::key(self.app.secrets(), name).is_some() || there.as_ref().is_some_and(|there| !there.keyless);
        if has_key || WELL_KNOWN.iter().any(|known| known.name == name) {
            return Err(Failure::new(Code::Conflict, format!("{} is a provider with a key", name.escape_debug()))
                .hint("in a terminal of this machine: lazaret provider add"));
        }
        let config = ProviderConfig { base_url: Some(form.base_url.clone()), keyless: true, ..there.clone().unwrap_or_default() };
        config.check(name).map_err(|e| Failure::new(Code::Usage, e.to_string()).field("base_url"))?;
        let at = |key: &str| format!("providers.{name}.{key}");
        let mut keys = vec![(at("base_url"), Some(form.base_url))];
        if there.is_none() {
            keys.extend([("kind", "openai"), ("keyless", "true"), ("free", "true")].map(|(key, value)| (at(key), Some(value.to_owned()))));
        }
        self.app.configure(&keys)?;
        match self.models(name, true).await {
            Ok(models) => Ok(models),
            Err(failure) => {
                let before = there.and_then(|there| there.base_url);
                let key = if before.is_some() { at("base_url") } else { format!("providers.{name}") };
                self.app.configure(&[(key, before)])?;
                Err(failure.hint("is it started, and is this where the daemon of Lazaret reaches it? It was not kept"))
            }
        }
    }

    /// Every provider, by name.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn list(&self) -> Result<Vec<ProviderView>, Failure> {
        let (known, settings) = (self.app.providers(), self.app.settings());
        let mut uses: Vec<(String, ProviderUse)> = Vec::new();
        for agent in self.app.agents().list().await? {
            let named = agent.model.iter().chain(&agent.fallback).enumerate();
            // Without a model of its own the first that stands in is still not the first that is asked.
            let before = u32::from(agent.model.is_none());
            for (n, text) in named {
                let (provider, model) = text.split_once('/').map_or((text.as_str(), None), |(provider, model)| (provider, Some(model)));
                if known.contains_key(provider) {
                    let place = u32::try_from(n).unwrap_or(u32::MAX).saturating_add(before);
                    uses.push((provider.to_owned(), ProviderUse { agent: agent.name.clone(), model: model.map(str::to_owned), place }));
                }
            }
        }
        let view = |(name, provider): (String, crate::Provider)| {
            let config = settings.gateway.providers.get(&name);
            let usual = WELL_KNOWN.iter().find(|known| known.name == name);
            let base_url = config.and_then(|config| config.base_url.clone()).or_else(|| usual.map(|known| known.base_url.to_owned()));
            let keyless = config.is_some_and(|config| config.keyless);
            let has_key = gateway::Keys::key(self.app.secrets(), &name).is_some();
            ProviderView {
                kind: kind_word(provider.kind).to_owned(),
                base_url: base_url.unwrap_or_default(),
                key: match (has_key, keyless) {
                    (true, _) => ProviderKey::Stored,
                    (false, true) => ProviderKey::NotNeeded,
                    (false, false) => ProviderKey::Missing,
                },
                usable: provider.is_usable,
                built_in: usual.is_some(),
                free: config.is_some_and(|config| config.free),
                agents: uses.iter().filter(|(of, _)| *of == name).map(|(_, one)| one.clone()).collect(),
                name,
            }
        };
        Ok(known.into_iter().filter(|(name, _)| name != REHEARSAL).map(view).collect())
    }
}

fn kind_word(kind: Kind) -> &'static str {
    match kind {
        Kind::Anthropic => "anthropic",
        Kind::OpenAi => "openai",
        Kind::Gemini => "gemini",
    }
}
