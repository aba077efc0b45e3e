//! The allow-list: which method and path is which call. Everything else does not exist.

use http::Method;

use crate::Kind;

/// The form of a generating call's request and reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wire {
    /// Anthropic Messages.
    Messages,
    /// OpenAI Chat Completions.
    Chat,
    /// OpenAI Responses.
    Responses,
    /// Gemini generateContent and streamGenerateContent.
    Generate,
}

impl Wire {
    /// The family that it belongs to.
    #[must_use]
    pub fn kind(self) -> Kind {
        match self {
            Wire::Messages => Kind::Anthropic,
            Wire::Chat | Wire::Responses => Kind::OpenAi,
            Wire::Generate => Kind::Gemini,
        }
    }
}

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// A model's answer: the only call that costs.
    Generate(Wire),
    /// How many tokens a request has.
    Count,
    /// The list of models, or one of it.
    Models,
}

/// One entry of the allow-list that matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    /// The family of APIs.
    pub(crate) kind: Kind,
    /// What is asked for.
    pub(crate) action: Action,
    /// The path below the version prefix, for example `/messages`.
    pub(crate) tail: String,
    /// The model, where the path names it.
    pub(crate) model: Option<String>,
    /// Whether the path asks for a stream (Gemini).
    pub(crate) streams: bool,
}

/// What a path leads to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A call.
    Route(Route),
    /// A reachability probe of an engine, answered here.
    Probe,
    /// Nothing.
    Nothing,
}

/// The longest model name in a path.
const MODEL_BYTES_MAX: usize = 128;

/// The family that a caller on an unknown path most likely speaks.
pub(crate) fn guess(path: &str) -> Kind {
    match path {
        path if path.starts_with("/v1beta") => Kind::Gemini,
        path if path.starts_with("/v1/messages") || path.starts_with("/api/") => Kind::Anthropic,
        _ => Kind::OpenAi,
    }
}

/// Looks a request up. `path` is compared byte by byte; nothing is decoded, so an encoded spelling finds nothing.
#[must_use]
pub(crate) fn find(method: &Method, path: &str) -> Found {
    if matches!(path, "/" | "/api/hello") && (method == Method::HEAD || method == Method::GET) {
        return Found::Probe;
    }
    let found = if method == Method::POST {
        post(path)
    } else if method == Method::GET {
        get(path)
    } else {
        None
    };
    found.map_or(Found::Nothing, Found::Route)
}

fn post(path: &str) -> Option<Route> {
    let plain = |kind, action, tail: &str| Some(Route { kind, action, tail: tail.to_owned(), model: None, streams: false });
    match path {
        "/v1/messages" => plain(Kind::Anthropic, Action::Generate(Wire::Messages), "/messages"),
        "/v1/messages/count_tokens" => plain(Kind::Anthropic, Action::Count, "/messages/count_tokens"),
        "/v1/chat/completions" | "/chat/completions" => plain(Kind::OpenAi, Action::Generate(Wire::Chat), "/chat/completions"),
        "/v1/responses" | "/responses" => plain(Kind::OpenAi, Action::Generate(Wire::Responses), "/responses"),
        _ => gemini(path),
    }
}

fn gemini(path: &str) -> Option<Route> {
    let rest = path.strip_prefix("/v1beta/models/").or_else(|| path.strip_prefix("/v1/models/"))?;
    let (model, verb) = rest.split_once(':')?;
    if !is_model_segment(model) {
        return None;
    }
    let (action, streams) = match verb {
        "generateContent" => (Action::Generate(Wire::Generate), false),
        "streamGenerateContent" => (Action::Generate(Wire::Generate), true),
        "countTokens" => (Action::Count, false),
        _ => return None,
    };
    let tail = format!("/models/{model}:{verb}");
    Some(Route { kind: Kind::Gemini, action, tail, model: Some(model.to_owned()), streams })
}

fn get(path: &str) -> Option<Route> {
    // Anthropic and OpenAI share `/v1/models`; the door's provider decides, see `Route::suits`.
    let (kind, rest) = if let Some(rest) = path.strip_prefix("/v1beta/models") {
        (Kind::Gemini, rest)
    } else {
        (Kind::OpenAi, path.strip_prefix("/v1/models").or_else(|| path.strip_prefix("/models"))?)
    };
    let model = match rest {
        "" => None,
        rest => Some(rest.strip_prefix('/').filter(|m| is_model_segment(m))?.to_owned()),
    };
    Some(Route { kind, action: Action::Models, tail: format!("/models{rest}"), model, streams: false })
}

fn is_model_segment(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    !text.is_empty() && text.len() <= MODEL_BYTES_MAX && text.bytes().all(plain) && !text.starts_with('.')
}

impl Route {
    /// Whether a provider of `kind` serves it.
    #[must_use]
    pub(crate) fn suits(&self, kind: Kind) -> bool {
        self.kind == kind || (self.action == Action::Models && self.kind == Kind::OpenAi && kind == Kind::Anthropic)
    }
}

/// The query parameters that pass, with their values; everything else is dropped, a key above all.
#[must_use]
pub(crate) fn query(kind: Kind, action: &Action, query: Option<&str>) -> String {
    const PLAIN_MAX: usize = 256;
    let allowed: &[&str] = match (kind, action) {
        (Kind::Gemini, Action::Generate(_)) => &["alt"],
        (_, Action::Models) => &["limit", "after_id", "before_id", "pageSize", "pageToken"],
        (Kind::Anthropic, _) => &["beta"],
        _ => &[],
    };
    let mut out = String::new();
    for pair in query.unwrap_or("").split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let plain = value.len() <= PLAIN_MAX
            && value.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'%' | b'=' | b'~'));
        if allowed.contains(&name) && plain {
            out.push(if out.is_empty() { '?' } else { '&' });
            out.push_str(name);
            out.push('=');
            out.push_str(value);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_list_exists() {
        let check = |method: &str, path: &str, expect: &str| {
            let found = match find(&method.parse().unwrap(), path) {
                Found::Route(route) => format!("{:?} {:?} {}", route.kind, route.action, route.tail),
                Found::Probe => "probe".to_owned(),
                Found::Nothing => String::new(),
            };
            assert_eq!(found, expect, "{method} {path}");
        };
        check("POST", "/v1/messages", "Anthropic Generate(Messages) /messages");
        check("POST", "/v1/messages/count_tokens", "Anthropic Count /messages/count_tokens");
        check("POST", "/v1/chat/completions", "OpenAi Generate(Chat) /chat/completions");
        check("POST", "/responses", "OpenAi Generate(Responses) /responses");
        check(
            "POST",
            "/v1beta/models/gemini-2.5-pro:streamGenerateContent",
            "Gemini Generate(Generate) /models/gemini-2.5-pro:streamGenerateContent",
        );
        check("POST", "/v1beta/models/gemini-2.5-pro:countTokens", "Gemini Count /models/gemini-2.5-pro:countTokens");
        check("GET", "/v1/models", "OpenAi Models /models");
        check("GET", "/v1/models/gpt-5", "OpenAi Models /models/gpt-5");
        check("GET", "/v1beta/models", "Gemini Models /models");
        check("HEAD", "/", "probe");
        check("HEAD", "/api/hello", "probe");
        for (method, path) in [
            ("GET", "/v1/messages"),
            ("POST", "/v1/files"),
            ("POST", "/v1/messages/"),
            ("POST", "//v1/messages"),
            ("POST", "/v1/Messages"),
            ("POST", "/v1/messages/batches"),
            ("POST", "/v1/%6dessages"),
            ("POST", "/v1/x/../messages"),
            ("POST", "/v1/embeddings"),
            ("DELETE", "/v1/models/gpt-5"),
            ("GET", "/v1/models/../files"),
            ("GET", "/v1/models/a/b"),
            ("GET", "/v1/modelsx"),
            ("POST", "/v1beta/models/x/y:generateContent"),
            ("POST", "/v1beta/models/..:generateContent"),
            ("POST", "/v1beta/models/:generateContent"),
            ("POST", "/v1beta/models/g:batchEmbedContents"),
            ("POST", "/v1beta/tunedModels/x:generateContent"),
            ("POST", "/upload/v1beta/files"),
            ("CONNECT", "/v1/messages"),
            ("OPTIONS", "/v1/messages"),
            ("POST", "/"),
            ("GET", "/v1/responses/resp_1"),
        ] {
            check(method, path, "");
        }
    }

    #[test]
    fn a_key_in_the_query_never_passes() {
        let gemini = Action::Generate(Wire::Generate);
        assert_eq!(query(Kind::Gemini, &gemini, Some("alt=sse&key=AIza")), "?alt=sse");
        assert_eq!(query(Kind::Anthropic, &Action::Generate(Wire::Messages), Some("beta=true&x=1")), "?beta=true");
        assert_eq!(query(Kind::OpenAi, &Action::Models, Some("limit=2&api_key=1&after_id=m_1")), "?limit=2&after_id=m_1");
        assert_eq!(query(Kind::Gemini, &gemini, Some("alt=a b")), "");
        assert_eq!(query(Kind::Gemini, &gemini, None), "");
    }
}
