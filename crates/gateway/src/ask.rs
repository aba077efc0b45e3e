//! What a request's body asks for, as far as money and policy need it, and the few edits that are made to it.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use model::Code;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::prices::Tier;
use crate::refusal::Refusal;
use crate::route::Route;
use crate::{Remote, Wire};

/// Tokens that an inline picture or document can have beyond the bytes that carry it.
const PICTURE_TOKENS_MAX: u64 = 8_000;
/// Tokens that a provider adds for tools and its own framing.
const FRAME_TOKENS: u64 = 1_000;
/// Longest name of a model that is kept and shown.
const MODEL_BYTES_MAX: usize = 128;
/// Answers that one request may ask for.
const ANSWERS_MAX: u64 = 16;

/// One generating request, read.
#[derive(Debug)]
pub(crate) struct Ask {
    /// The model as it is written in the request.
    pub(crate) model: String,
    /// Further models that the provider may fall back to.
    pub(crate) fallbacks: Vec<String>,
    /// The most tokens of output, where the request says.
    pub(crate) output: Option<u64>,
    /// How many answers are asked for.
    pub(crate) answers: u64,
    /// Tokens of input, estimated high.
    pub(crate) input: u64,
    /// Whether the request names content that the provider fetches or keeps, so that its size is not known here.
    pub(crate) is_open: bool,
    /// The service level.
    pub(crate) tier: Tier,
    /// The body with the edits made.
    pub(crate) body: Bytes,
}

/// The fields of all four APIs that matter. A field that stands twice is an error, so that nobody reads the other one.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow, default)]
    model: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    models: Option<Vec<Cow<'a, str>>>,
    stream: Option<bool>,
    #[serde(borrow)]
    stream_options: Option<&'a RawValue>,
    max_tokens: Option<u64>,
    max_completion_tokens: Option<u64>,
    max_output_tokens: Option<u64>,
    n: Option<u64>,
    #[serde(borrow, default)]
    service_tier: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    speed: Option<Cow<'a, str>>,
    background: Option<bool>,
    #[serde(borrow)]
    tools: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    mcp_servers: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    web_search_options: Option<&'a RawValue>,
    #[serde(borrow)]
    plugins: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    previous_response_id: Option<&'a RawValue>,
    #[serde(borrow)]
    conversation: Option<&'a RawValue>,
    #[serde(borrow)]
    prompt: Option<&'a RawValue>,
    #[serde(borrow, alias = "cachedContent")]
    cached_content: Option<&'a RawValue>,
    #[serde(alias = "generationConfig")]
    generation_config: Option<Generation>,
}

#[derive(Deserialize)]
struct Generation {
    #[serde(alias = "maxOutputTokens")]
    max_output_tokens: Option<u64>,
    #[serde(alias = "candidateCount")]
    candidate_count: Option<u64>,
}

/// One change of the body.
struct Edit {
    at: Range<usize>,
    with: String,
}

fn bad(why: impl Into<String>) -> Refusal {
    Refusal::new(Code::Usage, why)
}

impl Ask {
    /// Reads a body. `models` are the one that stands in where none is named, and the one that is asked for whatever is named.
    pub(crate) fn read(
        wire: Wire,
        route: &Route,
        body: Bytes,
        models: (Option<&str>, Option<&str>),
        remote: Remote,
    ) -> Result<Self, Refusal> {
        let (default, forced) = models;
        let text = std::str::from_utf8(&body).map_err(|_| bad("the request is not UTF-8"))?;
        let head: Head<'_> = serde_json::from_str(text).map_err(|e| bad(format!("the request is not understood: {}", about(&e))))?;
        let mut edits = Vec::new();
        if head.background == Some(true) {
            return Err(Refusal::new(Code::Forbidden, "a background response could not be counted; ask for it in the foreground"));
        }
        let elsewhere = crate::remote::look(wire, text);
        if remote == Remote::Deny {
            crate::remote::check(elsewhere, head.tools.as_deref().unwrap_or_default(), head.mcp_servers.as_deref().unwrap_or_default())?;
            let search = head.tools.as_deref().unwrap_or_default();
            edits.extend(
                crate::remote::without_search(text, search, &[head.web_search_options], head.plugins.as_deref())
                    .into_iter()
                    .map(|(at, with)| Edit { at, with }),
            );
        }
        let named = route.model.as_deref().map(Cow::Borrowed).or(head.model).unwrap_or_default();
        let model = match (&*named, default) {
            _ if forced.is_some() && route.model.is_none() => {
                let forced = forced.unwrap_or_default();
                edits.push(set(text, "model", &serde_json::Value::from(forced).to_string())?);
                forced.to_owned()
            }
            ("" | "default", Some(default)) => {
                if route.model.is_some() {
                    return Err(bad("name a model in the path"));
                }
                edits.push(set(text, "model", &serde_json::Value::from(default).to_string())?);
                default.to_owned()
            }
            ("", None) => return Err(bad("the request names no model")),
            (named, _) => named.to_owned(),
        };
        if model.len() > MODEL_BYTES_MAX || model.chars().any(char::is_control) {
            return Err(bad("the model's name is too long or has control characters"));
        }
        if wire == Wire::Chat && head.stream == Some(true) {
            edits.extend(include_usage(text, head.stream_options)?);
        }
        let generation = head.generation_config.as_ref();
        let output = match wire {
            Wire::Messages => head.max_tokens,
            Wire::Chat => head.max_completion_tokens.max(head.max_tokens),
            Wire::Responses => head.max_output_tokens,
            Wire::Generate => generation.and_then(|g| g.max_output_tokens),
        };
        let answers = head.n.or_else(|| generation.and_then(|g| g.candidate_count)).unwrap_or(1).max(1);
        if answers > ANSWERS_MAX {
            return Err(bad("too many answers are asked for at once"));
        }
        let kept = [head.previous_response_id, head.conversation, head.prompt, head.cached_content];
        let is_open = kept.iter().flatten().any(|raw| raw.get() != "null") || elsewhere.address || elsewhere.file;
        let tier = match (head.service_tier.as_deref(), head.speed.as_deref()) {
            (_, Some(speed)) if speed != "standard" => Tier::Fast,
            (None | Some("auto" | "default" | "standard_only" | "flex" | "standard"), _) => Tier::Standard,
            (Some(_), _) => Tier::Priority,
        };
        // Those that the request names are models of another provider where this one is asked instead.
        let fallbacks = head.models.filter(|_| forced.is_none()).unwrap_or_default().into_iter().map(Cow::into_owned).collect();
        let input = estimate(&body);
        let body = apply(&body, edits);
        Ok(Self { model, fallbacks, output, answers, input, is_open, tier, body })
    }

    /// Whether the output may be lowered: a budget for thinking must stay below it.
    pub(crate) fn can_lower(&self) -> bool {
        !self.body.windows(15).any(|w| w == b"\"budget_tokens\"")
    }

    /// Lowers the most tokens of output, so that a small budget still pays for a short answer. The field is the wire's own.
    pub(crate) fn lower_output(&mut self, wire: Wire, tokens: u64) -> bool {
        let name = match wire {
            Wire::Messages => "max_tokens",
            Wire::Chat => "max_completion_tokens",
            Wire::Responses => "max_output_tokens",
            // Nested in another object, which the caller may have left out: not worth a second writer.
            Wire::Generate => return false,
        };
        let Ok(text) = std::str::from_utf8(&self.body) else { return false };
        let name = if wire == Wire::Chat && field(text, "max_tokens").is_some() { "max_tokens" } else { name };
        let Ok(edit) = set(text, name, &tokens.to_string()) else { return false };
        self.body = apply(&self.body, vec![edit]);
        self.output = Some(tokens);
        true
    }
}

/// Tokens of a body, estimated high: in text, two small letters or spaces share a token at least; every other byte may be one.
fn estimate(body: &[u8]) -> u64 {
    let light = body.iter().filter(|b| b.is_ascii_lowercase() || **b == b' ').count() as u64;
    let pictures = count(body, b"\"image") + count(body, b"\"input_image") + count(body, b"\"document\"") + count(body, b"\"inline");
    (body.len() as u64 - light) + light.div_ceil(2) + pictures.saturating_mul(PICTURE_TOKENS_MAX) + FRAME_TOKENS
}

fn count(body: &[u8], what: &[u8]) -> u64 {
    let mut rest = body;
    let mut found = 0;
    while let Some(at) = rest.iter().position(|b| *b == b'"') {
        rest = &rest[at..];
        found += u64::from(rest.starts_with(what));
        rest = &rest[1..];
    }
    found
}

/// The value of a field of the outermost object.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a RawValue> {
    let fields: std::collections::BTreeMap<Cow<'a, str>, &'a RawValue> = serde_json::from_str(text).ok()?;
    fields.get(name).copied()
}

/// Where a value that was borrowed from `text` stands in it.
pub(crate) fn place(text: &str, raw: &RawValue) -> Range<usize> {
    let start = (raw.get().as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
    start..start + raw.get().len()
}

/// The edit that gives a field of the outermost object a value.
fn set(text: &str, name: &str, value: &str) -> Result<Edit, Refusal> {
    if let Some(raw) = field(text, name) {
        return Ok(Edit { at: place(text, raw), with: value.to_owned() });
    }
    let open = text.find('{').ok_or_else(|| bad("the request is not an object"))?;
    let comma = if text[open + 1..].trim_start().starts_with('}') { "" } else { "," };
    Ok(Edit { at: open + 1..open + 1, with: format!("\"{name}\":{value}{comma}") })
}

/// Asks for the usage at the end of a chat stream, which the provider leaves out otherwise.
fn include_usage(text: &str, options: Option<&RawValue>) -> Result<Option<Edit>, Refusal> {
    let mut options: serde_json::Map<String, serde_json::Value> = match options.map(RawValue::get) {
        None | Some("null") => serde_json::Map::new(),
        Some(raw) => serde_json::from_str(raw).map_err(|_| bad("`stream_options` is not an object"))?,
    };
    if options.get("include_usage") == Some(&serde_json::Value::Bool(true)) {
        return Ok(None);
    }
    options.insert("include_usage".to_owned(), true.into());
    set(text, "stream_options", &serde_json::Value::Object(options).to_string()).map(Some)
}

fn apply(body: &Bytes, mut edits: Vec<Edit>) -> Bytes {
    if edits.is_empty() {
        return body.clone();
    }
    // Stable: insertions at one place keep their order.
    edits.sort_by_key(|edit| edit.at.start);
    let mut out = Vec::with_capacity(body.len() + edits.iter().map(|e| e.with.len()).sum::<usize>());
    let mut from = 0;
    for edit in edits {
        out.extend_from_slice(&body[from..edit.at.start.max(from)]);
        out.extend_from_slice(edit.with.as_bytes());
        from = edit.at.end.max(from);
    }
    out.extend_from_slice(&body[from..]);
    Bytes::from(out)
}

/// The kind of a JSON error without the text that it quotes, which may be long and hostile.
fn about(error: &serde_json::Error) -> String {
    let what = if error.is_eof() {
        "it ends too early"
    } else if error.is_syntax() {
        "it is not JSON"
    } else {
        "a field stands twice or has the wrong type"
    };
    format!("{what} (line {}, column {})", error.line(), error.column())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::{Found, find};

    fn ask(path: &str, body: &str) -> Result<Ask, Refusal> {
        let Found::Route(route) = find(&http::Method::POST, path) else { panic!("{path}") };
        let crate::route::Action::Generate(wire) = route.action else { panic!("{path}") };
        Ask::read(wire, &route, Bytes::from(body.to_owned()), (Some("fallback-1"), None), Remote::Deny)
    }

    #[test]
    fn every_api_is_read() {
        let a =
            ask("/v1/messages", r#"{"model":"m","max_tokens":5,"stream":true,"messages":[{"role":"user","content":"\"max_tokens\":9"}]}"#)
                .unwrap();
        assert_eq!((a.model.as_str(), a.output, a.tier), ("m", Some(5), Tier::Standard));
        let a =
            ask("/v1/responses", r#"{"model":"m","max_output_tokens":6,"service_tier":"priority","previous_response_id":"r"}"#).unwrap();
        assert_eq!((a.output, a.tier, a.is_open), (Some(6), Tier::Priority, true));
        let a = ask(
            "/v1beta/models/g-1:streamGenerateContent",
            r#"{"generationConfig":{"maxOutputTokens":7,"candidateCount":2},"contents":[]}"#,
        )
        .unwrap();
        assert_eq!((a.model.as_str(), a.output, a.answers), ("g-1", Some(7), 2));
        let a = ask("/v1/chat/completions", r#"{"messages":[],"max_tokens":3,"max_completion_tokens":4,"n":2}"#).unwrap();
        assert_eq!((a.model.as_str(), a.output, a.answers), ("fallback-1", Some(4), 2));
        assert_eq!(&a.body[..], br#"{"model":"fallback-1","messages":[],"max_tokens":3,"max_completion_tokens":4,"n":2}"#);
    }

    #[test]
    fn usage_is_asked_for_and_nothing_else_changes() {
        let body = |text: &str| String::from_utf8(ask("/v1/chat/completions", text).unwrap().body.to_vec()).unwrap();
        assert_eq!(body(r#"{"model":"m","stream":true}"#), r#"{"stream_options":{"include_usage":true},"model":"m","stream":true}"#);
        assert_eq!(
            body(r#"{"model":"m","stream":true,"stream_options":{"x":1}}"#),
            r#"{"model":"m","stream":true,"stream_options":{"include_usage":true,"x":1}}"#
        );
        for same in [
            r#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#,
            r#"{"model":"m"}"#,
            "{ \"model\" : \"m\" , \"stream\" : false }",
        ] {
            assert_eq!(body(same), same);
        }
    }

    #[test]
    fn two_readings_of_one_body_are_refused() {
        for body in [
            r#"{"model":"cheap","model":"dear"}"#,
            r#"{"model":"m","max_tokens":1,"max_tokens":9}"#,
            r#"{"model":"m","max_tokens":1.5}"#,
            r#"{"model":"m","max_tokens":-1}"#,
            r#"{"model":["m"]}"#,
            r#"{"model":"m"} {"model":"n"}"#,
            "[]",
            "",
            "{",
            r#"{"model":"m\u0000"}"#,
            r#"{"model":"m","n":1000}"#,
            r#"{"model":"m","background":true}"#,
        ] {
            assert!(ask("/v1/messages", body).is_err(), "{body}");
        }
        assert!(
            ask(
                "/v1beta/models/g:generateContent",
                r#"{"generationConfig":{"maxOutputTokens":1},"generation_config":{"maxOutputTokens":9}}"#
            )
            .is_err()
        );
    }

    #[test]
    fn the_output_can_be_lowered() {
        let lowered = |path: &str, wire, body: &str| {
            let mut ask = ask(path, body).unwrap();
            assert!(ask.lower_output(wire, 9));
            String::from_utf8(ask.body.to_vec()).unwrap()
        };
        assert_eq!(lowered("/v1/messages", Wire::Messages, r#"{"model":"m","max_tokens":32000}"#), r#"{"model":"m","max_tokens":9}"#);
        assert_eq!(lowered("/v1/responses", Wire::Responses, r#"{"model":"m"}"#), r#"{"max_output_tokens":9,"model":"m"}"#);
        assert_eq!(lowered("/v1/chat/completions", Wire::Chat, r#"{"model":"m","max_tokens":80}"#), r#"{"model":"m","max_tokens":9}"#);
    }

    #[test]
    fn the_estimate_is_high() {
        assert!(estimate(b"{\"text\":\"hello world, this is text\"}") >= FRAME_TOKENS + 20);
        assert!(estimate(br#"{"type":"image","source":{}}"#) > PICTURE_TOKENS_MAX);
        assert!(estimate("漢字漢字".as_bytes()) >= FRAME_TOKENS + 12);
    }
}
