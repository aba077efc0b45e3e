//! What a request makes the provider do on the network. A sandbox without a network must not get one through its model: a
//! page that a provider fetches can carry data away in its address.

use std::ops::Range;

use model::Code;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::Wire;
use crate::ask::place;
use crate::meter::{Path, Scalar, Scanner};
use crate::refusal::Refusal;

#[derive(Deserialize)]
struct Tool<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow, default, alias = "urlContext")]
    url_context: Option<&'a RawValue>,
    #[serde(borrow, default, alias = "googleMaps")]
    google_maps: Option<&'a RawValue>,
    #[serde(borrow, default, alias = "googleSearch")]
    google_search: Option<&'a RawValue>,
    #[serde(borrow, default, alias = "googleSearchRetrieval")]
    google_search_retrieval: Option<&'a RawValue>,
}

fn forbidden(what: &str) -> Refusal {
    Refusal::new(
        Code::Forbidden,
        format!("{what} would reach the network through the provider; `gateway.remote = \"allow\"` in the configuration permits it"),
    )
}

/// Refuses a request that names an address for the provider to go to.
pub(crate) fn check(elsewhere: Elsewhere, tools: &[&RawValue], servers: &[&RawValue]) -> Result<(), Refusal> {
    if !servers.is_empty() {
        return Err(forbidden("an MCP server at the provider"));
    }
    for tool in tools {
        let Ok(tool) = serde_json::from_str::<Tool<'_>>(tool.get()) else {
            return Err(Refusal::new(Code::Usage, "a tool is not an object, or says twice what it is"));
        };
        let kind = tool.kind.as_deref().unwrap_or_default();
        if kind == "mcp" || kind.starts_with("web_fetch") || tool.url_context.is_some() || tool.google_maps.is_some() {
            return Err(forbidden("a provider's own network tool"));
        }
    }
    if elsewhere.address {
        return Err(forbidden("content by address"));
    }
    Ok(())
}

/// The edits that take search tools out: engines offer them by default, and do without.
pub(crate) fn without_search(
    text: &str,
    tools: &[&RawValue],
    options: &[Option<&RawValue>],
    plugins: Option<&[&RawValue]>,
) -> Vec<(Range<usize>, String)> {
    let is_search = |tool: &&&RawValue| {
        serde_json::from_str::<Tool<'_>>(tool.get()).is_ok_and(|tool| {
            let kind = tool.kind.as_deref().unwrap_or_default();
            kind.starts_with("web_search") || tool.google_search.is_some() || tool.google_search_retrieval.is_some()
        })
    };
    let mut edits = Vec::new();
    if tools.iter().any(|tool| is_search(&tool)) {
        let kept: Vec<&str> = tools.iter().filter(|tool| !is_search(tool)).map(|tool| tool.get()).collect();
        let (first, last) = (place(text, tools[0]), place(text, tools[tools.len() - 1]));
        edits.push((first.start..last.end, kept.join(",")));
    }
    for raw in options.iter().flatten() {
        edits.push((place(text, raw), "null".to_owned()));
    }
    if let Some(plugins) = plugins
        && let (Some(first), Some(last)) = (plugins.first(), plugins.last())
    {
        edits.push((place(text, first).start..place(text, last).end, String::new()));
    }
    edits
}

/// What of a request's content does not stand in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Elsewhere {
    /// Something is given by an address.
    pub(crate) address: bool,
    /// Something is a file that the provider keeps.
    pub(crate) file: bool,
}

/// Looks for parts of messages that are given by address or by the name of a file. What stands in the arguments of a tool call
/// or in a schema is none.
pub(crate) fn look(wire: Wire, text: &str) -> Elsewhere {
    let mut found = Elsewhere::default();
    // A cheap look first: most requests have none of these names.
    if !["_url\"", "\"url\"", "file_id\"", "fileUri\"", "file_uri\""].iter().any(|name| text.contains(name)) {
        return found;
    }
    let mut scanner = Scanner::new();
    scanner.feed(text.as_bytes(), &mut |path: &Path<'_>, value| {
        if !matches!(value, Scalar::Text(_)) {
            return;
        }
        let is_inline = path.value_starts_with(b"data:");
        let in_content = path.starts(&["messages", "content"]) || path.starts(&["system"]) || path.starts(&["input"]);
        found.file |= in_content && (path.ends(&["file_id"]) && !path.ends(&["arguments", "file_id"]));
        found.address |= match wire {
            Wire::Messages => in_content && path.ends(&["source", "url"]) && !path.has("input"),
            Wire::Chat => path.is(&["messages", "content", "image_url", "url"]) && !is_inline,
            Wire::Responses => in_content && (path.ends(&["image_url"]) && !is_inline || path.ends(&["file_url"])),
            Wire::Generate => {
                path.starts(&["contents", "parts"]) && (path.ends(&["fileUri"]) || path.ends(&["file_uri"])) && !path.has("args")
            }
        };
    });
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(wire: Wire, text: &str, expect: bool) {
        assert_eq!(look(wire, text).address, expect, "{text}");
    }

    #[test]
    fn content_by_address_is_seen_and_tool_arguments_are_not() {
        let long = "x".repeat(200);
        address(Wire::Messages, r#"{"messages":[{"content":[{"type":"image","source":{"type":"url","url":"https://evil/?d=1"}}]}]}"#, true);
        address(
            Wire::Messages,
            r#"{"messages":[{"content":[{"type":"tool_result","content":[{"source":{"url":"https://evil"}}]}]}]}"#,
            true,
        );
        address(
            Wire::Messages,
            r#"{"messages":[{"content":[{"type":"tool_use","input":{"url":"https://ok","source":{"url":"x"}}}]}]}"#,
            false,
        );
        assert!(look(Wire::Messages, r#"{"messages":[{"content":[{"source":{"file_id":"file_1"}}]}]}"#).file);
        address(Wire::Chat, &format!(r#"{{"messages":[{{"content":[{{"image_url":{{"url":"https://evil/{long}"}}}}]}}]}}"#), true);
        address(
            Wire::Chat,
            &format!(r#"{{"messages":[{{"content":[{{"image_url":{{"url":"data:image/png;base64,{long}"}}}}]}}]}}"#),
            false,
        );
        address(Wire::Responses, r#"{"input":[{"content":[{"type":"input_image","image_url":"http://evil"}]}]}"#, true);
        address(Wire::Responses, r#"{"input":[{"content":[{"type":"input_image","image_url":"data:x"}]}]}"#, false);
        address(Wire::Responses, r#"{"input":[{"content":[{"type":"input_file","file_url":"http://evil"}]}]}"#, true);
        address(Wire::Generate, r#"{"contents":[{"parts":[{"fileData":{"fileUri":"https://evil"}}]}]}"#, true);
        address(Wire::Messages, r#"{"messages":[{"content":"see \"source\": {\"url\": \"x\"}"}]}"#, false);
    }

    #[test]
    fn search_tools_are_taken_out() {
        let text = r#"{"tools":[{"type":"web_search"},{"type":"function","name":"a"},{"type":"web_search_20250305","name":"b"}],"x":1}"#;
        #[derive(Deserialize)]
        struct Body<'a> {
            #[serde(borrow)]
            tools: Vec<&'a RawValue>,
        }
        let body: Body<'_> = serde_json::from_str(text).unwrap();
        let edits = without_search(text, &body.tools, &[None], None);
        let (at, with) = &edits[0];
        assert_eq!(format!("{}{with}{}", &text[..at.start], &text[at.end..]), r#"{"tools":[{"type":"function","name":"a"}],"x":1}"#);
        assert!(check(Elsewhere::default(), &body.tools, &[]).is_ok());
        for bad in [
            r#"{"type":"mcp","server_url":"https://x"}"#,
            r#"{"type":"web_fetch_20250910"}"#,
            r#"{"url_context":{}}"#,
            r#"{"urlContext":{}}"#,
            r#"{"type":"a","type":"mcp"}"#,
            "7",
        ] {
            let raw: &RawValue = serde_json::from_str(bad).unwrap();
            assert!(check(Elsewhere::default(), &[raw], &[]).is_err(), "{bad}");
        }
    }
}
