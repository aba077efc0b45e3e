//! `lazaret plugin add-remote`: a plugin that is the way to an MCP server over HTTP.

use app::PluginInstalled;
use http::Method;
use model::{Code, EgressRule, Failure};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{Order, pack, send};
use crate::client::{Client, full};

/// The longest address.
const URL_CHARS_MAX: usize = 512;

/// A server to attach.
pub(super) struct Remote<'a> {
    pub(super) name: &'a str,
    pub(super) url: &'a str,
    pub(super) token: Option<&'a str>,
    pub(super) per_agent: bool,
    pub(super) low: &'a [String],
}

/// Writes the manifest and puts it in place; the token first, so that the server can be asked for its tools at once.
pub(super) async fn add(client: &Client, remote: Remote<'_>) -> Result<PluginInstalled, Failure> {
    app::check_plugin_name(remote.name)?;
    let text = manifest(&remote)?;
    match remote.token {
        None => {}
        Some("-") => {
            let secret = format!("plugin.{}.token", remote.name);
            let value: Zeroizing<String> = super::super::secret::read(&secret)?;
            let body = json!({ "value": *value });
            let _: Value = client.json(Method::PUT, &format!("/v1/secrets/{secret}"), Some(&body)).await?;
        }
        Some(_) => {
            return Err(
                Failure::new(Code::Usage, "a token is not taken from the command line, where others can see it").hint("--token - reads it")
            );
        }
    }
    let order = Order { name: remote.name.to_owned(), source: String::new(), hash: None, update: false };
    let body = full(pack::files(&[("manifest.toml", text.as_bytes())])?);
    send(client, &order, &format!("remote:{}", remote.url), body).await
}

fn manifest(remote: &Remote<'_>) -> Result<String, Failure> {
    let wrong = || Failure::new(Code::Usage, "the address is not https://HOST/PATH or http://HOST/PATH").field("url");
    let (rest, port) = match (remote.url.strip_prefix("https://"), remote.url.strip_prefix("http://")) {
        (Some(rest), _) => (rest, 443),
        (None, Some(rest)) => (rest, 80),
        (None, None) => return Err(wrong()),
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if remote.url.len() > URL_CHARS_MAX || !remote.url.bytes().all(|b| b.is_ascii_graphic()) || authority.contains('@') {
        return Err(wrong());
    }
    let host: EgressRule =
        if authority.contains(':') { authority.parse() } else { format!("{authority}:{port}").parse() }.map_err(|_| wrong())?;
    let text = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let low: Vec<String> = remote.low.iter().map(|tool| text(tool)).collect();
    let mut lines = vec![
        format!("description = {}", text(&format!("Tools of the MCP server at {}", host.host))),
        "version = \"1.0.0\"".to_owned(),
        "command = [\"@lazaret\", \"remote-mcp\"]".to_owned(),
        "tools = \"all\"".to_owned(),
        format!("low = [{}]", low.join(", ")),
        format!("hosts = [{}]", text(&host.to_string())),
        format!("per_agent = {}", remote.per_agent),
        format!("config = {{ url = {} }}", text(remote.url)),
        "config_schema = { type = \"object\", additionalProperties = false, required = [\"url\"], properties = { url = { type = \"string\" } } }"
            .to_owned(),
    ];
    if remote.token.is_some() || remote.per_agent {
        // An agent without a token of its own reaches nothing.
        lines.push("[[credentials]]\nkey = \"token\"\ndescription = \"What the server knows its caller by\"".to_owned());
    }
    Ok(lines.join("\n") + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(url: &str) -> Result<String, Failure> {
        manifest(&Remote { name: "n", url, token: Some("-"), per_agent: true, low: &["a\"b".to_owned()] })
    }

    #[test]
    fn the_manifest_names_the_host_and_nothing_else() {
        let text = of("https://notes.example/mcp").expect("a manifest");
        assert!(text.contains("hosts = [\"notes.example:443\"]") && text.contains("url = \"https://notes.example/mcp\""), "{text}");
        assert!(toml::from_str::<toml::Table>(&text).is_ok_and(|t| t["low"][0].as_str() == Some("a\"b")), "{text}");
        for bad in ["notes.example", "ftp://x/y", "https://a@b/c", "https:///x", "https://x/\"\nhosts=[]", "https://*.example/x"] {
            assert_eq!(of(bad).map_err(|f| f.code), Err(Code::Usage), "{bad}");
        }
    }
}
