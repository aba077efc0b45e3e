//! Fetching a page: redirects one by one, within limits, as readable text.

use encoding_rs::Encoding;
use http::Method;
use http::header::{ACCEPT, CONTENT_TYPE, LOCATION};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{NOTE, html};
use crate::clock::Moment;
use crate::net::{Ask, Net, Url};
use crate::text::visible;
use crate::tool::ToolError;

/// Redirects that are followed.
const REDIRECTS_MAX: usize = 5;
/// Bytes of a page that are read.
const PAGE_BYTES_MAX: usize = 2 << 20;
/// Characters that one fetch may give.
const CHARS_MAX: usize = 200_000;
/// How far into a page its own word about its encoding is looked for.
const META_BYTES: usize = 1024;
/// What pages are asked for.
const ACCEPTED: &str = "text/html,application/xhtml+xml,text/plain,text/markdown,application/json,application/xml;q=0.9,*/*;q=0.1";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fetch {
    url: String,
    #[serde(default, rename = "as")]
    form: Form,
    #[serde(default = "max_chars")]
    max_chars: usize,
    #[serde(default)]
    offset: usize,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Form {
    #[default]
    Markdown,
    Text,
    Raw,
}

fn max_chars() -> usize {
    20_000
}

/// A page as it came.
struct Page {
    url: Url,
    status: u16,
    kind: String,
    charset: Option<String>,
    body: Vec<u8>,
    whole: bool,
}

pub(super) async fn fetch(net: &Net, asked: &Fetch) -> Result<Value, ToolError> {
    let page = follow(net, &asked.url).await?;
    if !is_text(&page.kind) {
        let kind = page.kind.escape_debug();
        return Err(ToolError::Remote(format!("{} is `{kind}`, which is not shown: only text, HTML, JSON and XML are", page.url)));
    }
    let raw = decode(&page);
    let (title, text) = match (asked.form, is_html(&page.kind)) {
        (Form::Raw, _) | (_, false) => (None, visible(&raw)),
        (form, true) => {
            let (title, text) = html::readable(&raw, &page.url, form == Form::Markdown);
            (Some(title), text)
        }
    };
    let max = asked.max_chars.clamp(1, CHARS_MAX);
    let total = text.chars().count();
    let shown: String = text.chars().skip(asked.offset).take(max).collect();
    let end = asked.offset.saturating_add(max);
    Ok(json!({
        "source": page.url.to_string(), "fetched": Moment::now().rfc3339(), "note": NOTE, "status": page.status, "content_type": page.kind,
        "title": title, "text": shown, "chars": total, "next": (end < total).then_some(end), "complete": page.whole,
    }))
}

/// Every step is a request of its own, which the proxy checks anew.
async fn follow(net: &Net, address: &str) -> Result<Page, ToolError> {
    let arguments = |e: crate::net::UrlError| ToolError::Arguments(e.to_string());
    let mut url = Url::parse(address).map_err(arguments)?;
    for _ in 0..=REDIRECTS_MAX {
        let ask = Ask::new(Method::GET, url.clone()).header(ACCEPT, ACCEPTED)?;
        let mut reply = net.send(ask).await?;
        let status = reply.status.as_u16();
        if let (301 | 302 | 303 | 307 | 308, Some(location)) = (status, reply.header(&LOCATION)) {
            let next = url.join(location).map_err(|e| ToolError::Remote(format!("{url} leads elsewhere, and {e}")))?;
            if url.secure && !next.secure {
                return Err(ToolError::Remote(format!("{url} leads to {next}, which is not encrypted: it is not followed")));
            }
            url = next;
            continue;
        }
        let declared = reply.header(&CONTENT_TYPE).unwrap_or("text/plain").to_owned();
        let mut parts = declared.split(';').map(str::trim);
        let kind = parts.next().unwrap_or("").to_ascii_lowercase();
        let charset = parts.find_map(|p| p.split_once('=').filter(|(k, _)| k.trim().eq_ignore_ascii_case("charset")));
        let charset = charset.map(|(_, value)| value.trim().trim_matches('"').to_owned());
        if !is_text(&kind) {
            return Ok(Page { url, status, kind, charset, body: Vec::new(), whole: false });
        }
        let (body, whole) = reply.prefix(PAGE_BYTES_MAX).await?;
        if !reply.status.is_success() {
            let shown: String = visible(&String::from_utf8_lossy(&body)).chars().take(300).collect();
            return Err(ToolError::Remote(format!("{url} answered {}: {shown}", reply.status)));
        }
        return Ok(Page { url, status, kind, charset, body, whole });
    }
    Err(ToolError::Remote(format!("{address} leads through more than {REDIRECTS_MAX} redirects")))
}

fn is_html(kind: &str) -> bool {
    matches!(kind, "text/html" | "application/xhtml+xml")
}

fn is_text(kind: &str) -> bool {
    kind.starts_with("text/")
        || kind.ends_with("+json")
        || kind.ends_with("+xml")
        || matches!(kind, "application/json" | "application/xml" | "application/javascript" | "application/x-yaml" | "application/toml")
}

/// The body as text: by a byte order mark, the head's word, the page's own word, or as UTF-8.
fn decode(page: &Page) -> String {
    let declared = page.charset.as_deref().and_then(|label| Encoding::for_label(label.as_bytes()));
    let encoding = declared.or_else(|| own_word(&page.body).filter(|_| is_html(&page.kind))).unwrap_or(encoding_rs::UTF_8);
    encoding.decode(&page.body).0.into_owned()
}

/// The encoding that a page names in its own head.
fn own_word(body: &[u8]) -> Option<&'static Encoding> {
    let head = String::from_utf8_lossy(&body[..body.len().min(META_BYTES)]).to_ascii_lowercase();
    let (_, rest) = head.split_once("charset=")?;
    let label: String =
        rest.trim_start_matches(['"', '\'']).chars().take_while(|c| c.is_ascii_alphanumeric() || "-_:".contains(*c)).collect();
    Encoding::for_label(label.as_bytes())
}
