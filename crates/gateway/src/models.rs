//! Which models a provider says that it has, in the words of each family of APIs. Asked by the host itself, for its owner to choose from.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};
use http_body_util::{BodyExt as _, Limited};
use model::{Code, Failure};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use crate::gateway::Shared;
use crate::refusal::{Refusal, failure_of};
use crate::upstream::Provider;
use crate::{Gateway, Kind, headers};

/// How long a list is good before the provider is asked again.
const KEPT: Duration = Duration::from_secs(600);
/// How long a provider may take for it.
const WAIT: Duration = Duration::from_secs(20);
/// Bytes of a list that are read.
const BYTES_MAX: usize = 4 << 20;
/// Models that are named; what is beyond is left out.
const MODELS_MAX: usize = 1000;
/// Bytes of a model's name, and characters of what it is called for people.
const ID_BYTES_MAX: usize = 200;
const TITLE_CHARS_MAX: usize = 100;

/// What a provider has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listed {
    /// Its models, by name: at most 1000.
    pub models: Vec<ListedModel>,
    /// Whether it has more than are named here.
    pub more: bool,
}

/// A model of a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedModel {
    /// Its name, as a call names it.
    pub id: String,
    /// What it is called for people, where that is something else.
    pub title: Option<String>,
}

/// A list that was read, and for which key.
pub(crate) struct Kept {
    key: Option<[u8; 32]>,
    at: Instant,
    listed: Arc<Listed>,
}

impl Gateway {
    /// The models that a provider has. What was read within the last ten minutes with the same key serves again, unless it is to be
    /// `fresh`. One question at a time is asked of each provider.
    ///
    /// # Errors
    /// There is no such provider (`NOT_FOUND`), it has no key and needs one (`KEY_MISSING`), or it gives no list within 20 s: a code of
    /// providers says why.
    pub async fn models(&self, name: &str, fresh: bool) -> Result<Arc<Listed>, Failure> {
        let shared = self.shared();
        let missing = || Failure::new(Code::NotFound, format!("there is no provider `{}`", name.escape_debug()));
        let provider = shared.providers.get(name).ok_or_else(missing)?;
        let key = shared.keys.key(name).filter(|key| !key.is_empty());
        if key.is_none() && !provider.keyless {
            return Err(Failure::new(Code::KeyMissing, format!("no key is stored for provider `{name}`")));
        }
        let print: Option<[u8; 32]> = key.as_ref().map(|key| Sha256::digest(key.as_bytes()).into());
        let mut kept = provider.models.lock().await;
        if let Some(good) = kept.as_ref().filter(|kept| !fresh && kept.key == print && kept.at.elapsed() < KEPT) {
            return Ok(Arc::clone(&good.listed));
        }
        let asked = tokio::time::timeout(WAIT, ask(shared, provider, key.as_deref().map(String::as_str))).await;
        let listed = asked.unwrap_or_else(|_| Err(broken("did not list its models in time")));
        let listed = Arc::new(listed.map_err(|refusal| Failure::new(refusal.code, refusal.message))?);
        *kept = Some(Kept { key: print, at: Instant::now(), listed: Arc::clone(&listed) });
        Ok(listed)
    }
}

fn broken(why: &str) -> Refusal {
    Refusal::new(Code::ProviderError, format!("the provider {why}"))
}

async fn ask(shared: &Shared, provider: &Provider, key: Option<&str>) -> Result<Listed, Refusal> {
    let query = match provider.kind {
        Kind::Anthropic => "?limit=1000",
        Kind::Gemini => "?pageSize=1000",
        // It has no pages.
        Kind::OpenAi => "",
    };
    let uri = provider.uri("/models", query).ok_or_else(|| Refusal::new(Code::Internal, "the provider's address cannot be made"))?;
    let headers = headers::request(&HeaderMap::new(), provider.kind, provider.auth, key, &provider.headers)
        .map_err(|_| Refusal::new(Code::KeyMissing, format!("the key of provider `{}` has characters that no key has", provider.name)))?;
    let (parts, body) = shared.upstream.send(Method::GET, uri, headers, Bytes::new()).await?.into_parts();
    if parts.status == http::StatusCode::NOT_FOUND {
        return Err(broken("does not list its models"));
    }
    if parts.status.is_redirection() {
        return Err(broken("answered with a redirect, which is not followed"));
    }
    if !parts.status.is_success() {
        let (code, why) = failure_of(parts.status);
        return Err(Refusal::new(code, why));
    }
    let whole = Limited::new(body, BYTES_MAX).collect().await.map_err(|_| broken("gave a list that is cut off or too long"))?;
    let mut bytes = whole.to_bytes().to_vec();
    if let Some(needles) = key.and_then(|key| provider.needles(key)) {
        needles.scrub_whole(&mut bytes);
    }
    read(provider.kind, &bytes).ok_or_else(|| broken("answered with something that is no list of models"))
}

/// A list in the form of any family.
#[derive(Deserialize)]
struct Page {
    data: Option<Vec<Entry>>,
    models: Option<Vec<Entry>>,
    has_more: Option<bool>,
    #[serde(rename = "nextPageToken")]
    next: Option<String>,
}

#[derive(Deserialize)]
struct Entry {
    id: Option<String>,
    name: Option<String>,
    #[serde(alias = "displayName")]
    display_name: Option<String>,
    #[serde(rename = "supportedGenerationMethods")]
    methods: Option<Vec<String>>,
}

/// What a list says; `None` where it is none. A name that no call could have is left out, and so is what answers no conversation.
fn read(kind: Kind, bytes: &[u8]) -> Option<Listed> {
    let page: Page = serde_json::from_slice(bytes).ok()?;
    let entries = if kind == Kind::Gemini { page.models } else { page.data };
    // Some servers without any model have no list at all.
    if entries.is_none() && kind != Kind::OpenAi {
        return None;
    }
    let mut all = BTreeMap::new();
    for entry in entries.into_iter().flatten() {
        let id = match kind {
            Kind::Gemini => entry.name.as_deref().map(|name| name.strip_prefix("models/").unwrap_or(name)),
            Kind::Anthropic | Kind::OpenAi => entry.id.as_deref(),
        };
        let answers = entry.methods.is_none_or(|methods| methods.iter().any(|method| method == "generateContent"));
        let Some(id) = id.filter(|id| answers && is_name(id)) else { continue };
        let title = entry.display_name.map(|title| title.chars().filter(|c| !c.is_control()).take(TITLE_CHARS_MAX).collect::<String>());
        let title = title.filter(|title| !title.trim().is_empty() && title != id);
        all.insert(id.to_owned(), title);
    }
    let more = page.has_more == Some(true) || page.next.is_some_and(|next| !next.is_empty()) || all.len() > MODELS_MAX;
    let models = all.into_iter().take(MODELS_MAX).map(|(id, title)| ListedModel { id, title }).collect();
    Some(Listed { models, more })
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= ID_BYTES_MAX && text.bytes().all(|b| b.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(kind: Kind, text: &str) -> Option<(Vec<String>, bool)> {
        let listed = read(kind, text.as_bytes())?;
        let shown = |model: ListedModel| model.title.map_or_else(|| model.id.clone(), |title| format!("{} = {title}", model.id));
        Some((listed.models.into_iter().map(shown).collect(), listed.more))
    }

    fn is(got: Option<(Vec<String>, bool)>, names: &[&str], more: bool) {
        assert_eq!(got, Some((names.iter().map(|name| (*name).to_owned()).collect(), more)));
    }

    #[test]
    fn each_family_lists_in_its_own_words() {
        let text = r#"{"data":[{"type":"model","id":"b","display_name":"B the second"},{"id":"a","display_name":"a"}],"has_more":true}"#;
        is(named(Kind::Anthropic, text), &["a", "b = B the second"], true);
        is(
            named(Kind::OpenAi, r#"{"object":"list","data":[{"id":"llama3:8b","object":"model"},{"id":"x/y"}]}"#),
            &["llama3:8b", "x/y"],
            false,
        );
        let text = r#"{"models":[{"name":"models/g-2","displayName":"G 2","supportedGenerationMethods":["generateContent"]},
            {"name":"models/embed","supportedGenerationMethods":["embedContent"]},{"name":"g-3"}],"nextPageToken":"n"}"#;
        is(named(Kind::Gemini, text), &["g-2 = G 2", "g-3"], true);
        // A server of this machine without a model.
        is(named(Kind::OpenAi, r#"{"object":"list","data":null}"#), &[], false);
    }

    #[test]
    fn what_is_no_list_is_refused_and_what_is_no_name_left_out() {
        for (kind, text) in [
            (Kind::Anthropic, r#"{"models":[]}"#),
            (Kind::Gemini, r#"{"data":[]}"#),
            (Kind::OpenAi, "<html>"),
            (Kind::OpenAi, r#"{"data":{"id":"a"}}"#),
            (Kind::OpenAi, "[]"),
        ] {
            assert_eq!(named(kind, text), None, "{text}");
        }
        let long = "x".repeat(ID_BYTES_MAX + 1);
        let text = format!(r#"{{"data":[{{"id":"a b"}},{{"id":"\u001b[2J"}},{{"id":""}},{{"id":"{long}"}},{{}},{{"id":"ok"}}]}}"#);
        is(named(Kind::OpenAi, &text), &["ok"], false);
        let many: Vec<String> = (0..=MODELS_MAX).map(|n| format!(r#"{{"id":"m{n:05}"}}"#)).collect();
        let (names, more) = named(Kind::OpenAi, &format!(r#"{{"data":[{}]}}"#, many.join(","))).expect("a list");
        assert_eq!((names.len(), more), (MODELS_MAX, true));
    }
}
