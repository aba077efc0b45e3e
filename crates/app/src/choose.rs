//! Which engine, provider and model a request means.

use std::collections::BTreeMap;

use engines::{Found, Wire};
use gateway::{Kind, REHEARSAL};
use model::{Code, Failure};

/// What is known of a provider when a choice is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Provider {
    /// What it speaks.
    pub kind: Kind,
    /// Whether it has a key, or needs none.
    pub is_usable: bool,
}

/// What a request comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// The engine.
    pub engine: String,
    /// The provider, or `rehearsal`.
    pub provider: String,
    /// The model, as the provider names it; `None` leaves it to the engine.
    pub model: Option<String>,
    /// The form in which the engine speaks to the gateway.
    pub wire: Wire,
    /// Whether nobody asked for the rehearsal: there was no key at all.
    pub is_fallback: bool,
}

/// The longest name of a model, in bytes.
const MODEL_BYTES_MAX: usize = 128;
/// The engine when nothing says which.
const ENGINE_DEFAULT: &str = "mini";

/// Chooses. `engine` and `model` are what the caller said; `usual` is the configured engine.
///
/// # Errors
/// `ENGINE_MISSING`, `KEY_MISSING`, or `USAGE` when engine, provider and model do not fit together.
pub fn choose(
    engine: Option<&str>,
    model: Option<&str>,
    usual: Option<&str>,
    providers: &BTreeMap<String, Provider>,
) -> Result<Chosen, Failure> {
    let name = engine.or(usual).unwrap_or(ENGINE_DEFAULT);
    choose_for((name, &engines::find(name)?), engine, model, providers)
}

/// The name of the engine that a request means.
pub(crate) fn engine_name<'a>(engine: Option<&'a str>, usual: Option<&'a str>) -> &'a str {
    engine.or(usual).unwrap_or(ENGINE_DEFAULT)
}

/// Chooses provider and model for an engine that was found.
pub(crate) fn choose_for(
    (name, found): (&str, &Found),
    engine: Option<&str>,
    model: Option<&str>,
    providers: &BTreeMap<String, Provider>,
) -> Result<Chosen, Failure> {
    let (asked, model_name) = split(model, providers);
    let chosen = |provider: &str, wire: Wire, is_fallback: bool| Chosen {
        engine: name.to_owned(),
        provider: provider.to_owned(),
        model: model_name.map(str::to_owned),
        wire,
        is_fallback,
    };
    let first = found.wires().first().copied().unwrap_or(Wire::Anthropic);
    if asked == Some(REHEARSAL) || found.wires().is_empty() {
        return Ok(chosen(REHEARSAL, first, false));
    }
    if let Some(asked) = asked {
        let provider = &providers[asked];
        let wire = wire_for(&**found, provider.kind).ok_or_else(|| {
            Failure::new(Code::Usage, format!("the engine {name} does not speak to providers like {asked}")).field("model")
        })?;
        return if provider.is_usable { Ok(chosen(asked, wire, false)) } else { Err(no_key(asked)) };
    }
    let kinds = kinds(found, model_name);
    for kind in &kinds {
        // A well-known name first: the map is sorted, and a second provider of a kind is asked for by name.
        let mut usable = providers.iter().filter(|(_, p)| p.kind == *kind && p.is_usable).map(|(name, _)| name.as_str());
        if let Some(provider) = usable.clone().find(|name| *name == well_known(*kind)).or_else(|| usable.next()) {
            let wire = wire_for(&**found, *kind).unwrap_or(first);
            return Ok(chosen(provider, wire, false));
        }
    }
    let nothing_asked = engine.is_none() && model.is_none();
    if nothing_asked && !providers.values().any(|p| p.is_usable) {
        return Ok(chosen(REHEARSAL, first, true));
    }
    Err(no_key(kinds.first().copied().map_or("anthropic", well_known)))
}

/// Refuses what cannot be asked when a provider does not answer.
pub(crate) fn check_fallback(texts: &[String], providers: &BTreeMap<String, Provider>) -> Result<(), Failure> {
    let wrong = |why: String| Err(Failure::new(Code::Usage, why).field("fallback"));
    // Beside the first one.
    let most = gateway::FALLBACK_TARGETS_MAX - 1;
    if texts.len() > most {
        return wrong(format!("at most {most} providers can be asked after the first"));
    }
    for text in texts {
        let (provider, model) = text.split_once('/').map_or((text.as_str(), None), |(provider, model)| (provider, Some(model)));
        let shown: String = text.escape_debug().take(80).collect();
        if !providers.contains_key(provider) {
            return Err(Failure::new(Code::Usage, format!("`{shown}` names no provider"))
                .hint("it is PROVIDER or PROVIDER/MODEL; `lazaret config show` names those that there are, under providers")
                .field("fallback"));
        }
        // In one family the model stands in the path.
        let is_plain = |model: &str| {
            let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_./:@".contains(&b);
            let in_path = providers[provider].kind != Kind::Gemini || !model.contains(['/', ':', '@']);
            !model.is_empty() && model.len() <= MODEL_BYTES_MAX && model.bytes().all(allowed) && !model.starts_with('.') && in_path
        };
        if !model.is_none_or(is_plain) {
            return wrong(format!("`{shown}` does not name a model"));
        }
    }
    Ok(())
}

/// Who is asked in turn when the chosen provider does not answer. All of them speak its API.
pub(crate) fn fallback_for(texts: &[String], chosen: &Chosen, providers: &BTreeMap<String, Provider>) -> Result<Vec<String>, Failure> {
    if chosen.provider == REHEARSAL {
        return Ok(Vec::new());
    }
    check_fallback(texts, providers)?;
    let kind = kind_of(chosen.wire);
    for text in texts {
        let provider = text.split('/').next().unwrap_or(text);
        if providers[provider].kind != kind {
            let why =
                format!("{provider} speaks another API than {}, so the engine {} cannot be answered by it", chosen.provider, chosen.engine);
            return Err(Failure::new(Code::Usage, why).hint("name providers of one family, or another engine").field("fallback"));
        }
    }
    Ok(texts.to_vec())
}

/// `PROVIDER/MODEL`, `rehearsal`, or a model alone.
fn split<'a>(model: Option<&'a str>, providers: &BTreeMap<String, Provider>) -> (Option<&'a str>, Option<&'a str>) {
    match model {
        Some(REHEARSAL) => (Some(REHEARSAL), None),
        Some(text) => match text.split_once('/') {
            Some((provider, rest)) if provider == REHEARSAL || providers.contains_key(provider) => (Some(provider), Some(rest)),
            _ => (None, Some(text)),
        },
        None => (None, None),
    }
}

/// The kinds that the engine can speak, those first whose models are called like this one.
fn kinds(found: &Found, model: Option<&str>) -> Vec<Kind> {
    let mut kinds: Vec<Kind> = Vec::new();
    for wire in found.wires() {
        let kind = kind_of(*wire);
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    let named = model.and_then(|m| {
        let starts = |prefixes: &[&str]| prefixes.iter().any(|p| m.starts_with(p));
        if starts(&["claude"]) {
            Some(Kind::Anthropic)
        } else if starts(&["gpt", "o1", "o3", "o4", "codex"]) {
            Some(Kind::OpenAi)
        } else if starts(&["gemini"]) {
            Some(Kind::Gemini)
        } else {
            None
        }
    });
    match named {
        Some(kind) if kinds.contains(&kind) => vec![kind],
        _ => kinds,
    }
}

pub(crate) fn wire_for(found: &dyn engines::Engine, kind: Kind) -> Option<Wire> {
    found.wires().iter().copied().find(|wire| kind_of(*wire) == kind)
}

fn kind_of(wire: Wire) -> Kind {
    match wire {
        Wire::Anthropic => Kind::Anthropic,
        Wire::OpenAiChat | Wire::OpenAiResponses => Kind::OpenAi,
        Wire::Gemini => Kind::Gemini,
    }
}

fn well_known(kind: Kind) -> &'static str {
    match kind {
        Kind::Anthropic => "anthropic",
        Kind::OpenAi => "openai",
        Kind::Gemini => "gemini",
    }
}

fn no_key(provider: &str) -> Failure {
    Failure::new(Code::KeyMissing, format!("there is no key for {provider}"))
        .hint(format!("store one: lazaret secret set {provider} -   (or rehearse without a model: --model {REHEARSAL})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn providers(usable: &[&str]) -> BTreeMap<String, Provider> {
        [("anthropic", Kind::Anthropic), ("gemini", Kind::Gemini), ("local", Kind::OpenAi), ("openai", Kind::OpenAi)]
            .into_iter()
            .map(|(name, kind)| (name.to_owned(), Provider { kind, is_usable: usable.contains(&name) }))
            .collect()
    }

    #[test]
    fn only_providers_of_one_family_stand_in() {
        let all = providers(&["anthropic", "openai", "local"]);
        let chosen = choose(None, Some("openai/gpt-5"), None, &all).expect("chosen");
        let texts = |texts: &[&str]| texts.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
        let stand = |names: &[&str]| fallback_for(&texts(names), &chosen, &all).map_err(|f| f.message);
        assert_eq!(
            stand(&["local/llama3.2:3b", "openai/gpt-5-mini", "local"]),
            Ok(texts(&["local/llama3.2:3b", "openai/gpt-5-mini", "local"]))
        );
        assert!(stand(&["anthropic/claude-x"]).expect_err("another family").contains("another API"));
        for bad in ["", "/x", "nobody/x", "local/", "local/a b", "local/a\"b", "rehearsal", "local/../x"] {
            assert!(stand(&[bad]).is_err(), "{bad}");
        }
        assert!(check_fallback(&texts(&["gemini/a/b"]), &all).is_err(), "its model stands in the path");
        assert!(stand(&["local"; 8]).is_err(), "too many");
        let rehearsal = choose(None, Some("rehearsal"), None, &all).expect("chosen");
        assert_eq!(fallback_for(&texts(&["local"]), &rehearsal, &all), Ok(Vec::new()));
    }

    #[test]
    fn what_a_request_means() {
        let check = |engine: Option<&str>, model: Option<&str>, keys: &[&str], expect: Result<(&str, &str, Option<&str>), Code>| {
            let got = choose(engine, model, None, &providers(keys));
            let got = got.map(|c| (c.engine, c.provider, c.model)).map_err(|f| f.code);
            let expect = expect.map(|(e, p, m)| (e.to_owned(), p.to_owned(), m.map(str::to_owned)));
            assert_eq!(got, expect, "{engine:?} {model:?} {keys:?}");
        };
        check(None, None, &[], Ok(("mini", "rehearsal", None)));
        check(None, None, &["anthropic", "openai"], Ok(("mini", "anthropic", None)));
        check(None, None, &["openai"], Ok(("mini", "openai", None)));
        check(None, Some("gpt-5"), &["anthropic", "openai"], Ok(("mini", "openai", Some("gpt-5"))));
        check(None, Some("local/llama/3"), &["local"], Ok(("mini", "local", Some("llama/3"))));
        check(Some("codex"), None, &["local", "openai"], Ok(("codex", "openai", None)));
        check(Some("claude-code"), None, &[], Err(Code::KeyMissing));
        check(None, Some("claude-x"), &["openai"], Err(Code::KeyMissing));
        check(Some("claude-code"), Some("rehearsal"), &[], Ok(("claude-code", "rehearsal", None)));
        check(Some("gemini"), Some("anthropic/claude-x"), &["anthropic"], Err(Code::Usage));
        check(Some("nothing"), None, &["anthropic"], Err(Code::EngineMissing));
    }
}
