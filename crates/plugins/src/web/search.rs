//! Search services: SearXNG's form, and Brave's.

use http::Method;
use http::header::{ACCEPT, HeaderName};
use serde::Deserialize;
use serde_json::{Value, json};

use super::NOTE;
use super::html::plain;
use crate::clock::Moment;
use crate::net::{Ask, Net, Url, encode_query};
use crate::text::{one_line, shorten};
use crate::tool::ToolError;

/// Where Brave's service is.
pub(super) const BRAVE: &str = "https://api.search.brave.com";
/// The largest answer of a service.
const ANSWER_BYTES_MAX: usize = 2 << 20;
/// Characters of a title, an address and a summary that are given on.
const TITLE_CHARS_MAX: usize = 300;
const ADDRESS_CHARS_MAX: usize = 2_000;
const SUMMARY_CHARS_MAX: usize = 1_000;

/// The form of a search service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Form {
    Searxng,
    Brave,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    query: String,
    #[serde(default = "limit")]
    limit: usize,
}

fn limit() -> usize {
    8
}

pub(super) async fn search(net: &Net, form: Form, base: &Url, token: Option<&str>, query: &Query) -> Result<Value, ToolError> {
    let limit = query.limit.clamp(1, 20);
    let words = encode_query(&query.query);
    let ask = match form {
        Form::Searxng => {
            let ask = Ask::new(Method::GET, base.below(&format!("search?q={words}&format=json")));
            match token {
                Some(token) => ask.header(http::header::AUTHORIZATION, &format!("Bearer {token}"))?,
                None => ask,
            }
        }
        Form::Brave => {
            let token = token.ok_or_else(|| {
                ToolError::NotFound("the search service asks for a key, and the credential `search_token` is not set".to_owned())
            })?;
            let ask = Ask::new(Method::GET, base.below(&format!("res/v1/web/search?q={words}&count={limit}")));
            ask.header(HeaderName::from_static("x-subscription-token"), token)?
        }
    };
    let reply = net.send(ask.header(ACCEPT, "application/json")?).await?;
    let status = reply.status;
    if !status.is_success() {
        return Err(ToolError::Remote(format!("the search service answered {status}")));
    }
    let found = reply.json(ANSWER_BYTES_MAX).await?;
    let (list, summary) = match form {
        Form::Searxng => (found.get("results"), "content"),
        Form::Brave => (found.pointer("/web/results"), "description"),
    };
    let list = list.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let results: Vec<Value> = list.iter().filter_map(|r| result(r, summary)).take(limit).collect();
    Ok(json!({"query": query.query, "results": results, "source": base.origin(), "fetched": Moment::now().rfc3339(), "note": NOTE}))
}

/// One result; `None` for one whose address is not of the web.
fn result(result: &Value, summary: &str) -> Option<Value> {
    let text = |key: &str, max| shorten(&one_line(&plain(result.get(key).and_then(Value::as_str).unwrap_or(""))), max);
    let address = result.get("url").and_then(Value::as_str)?;
    let url = Url::parse(address).ok()?.to_string();
    (url.len() <= ADDRESS_CHARS_MAX)
        .then(|| json!({"title": text("title", TITLE_CHARS_MAX), "url": url, "summary": text(summary, SUMMARY_CHARS_MAX)}))
}
