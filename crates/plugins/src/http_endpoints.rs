//! Endpoints that the owner declares: each is a tool. An argument fills a place in the path, the query or the body, and
//! never the host, a header or the method.

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;
use http::Method;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::net::{Ask, Net, Url, encode_path, encode_query};
use crate::surroundings::{Surroundings, SurroundingsError};
use crate::text::visible;
use crate::tool::{Call, Outcome, Plugin, ToolError, after_effect};

/// Endpoints that can be declared.
const ENDPOINTS_MAX: usize = 64;
/// The largest answer, in bytes.
const ANSWER_BYTES_MAX: usize = 512 << 10;
/// The longest value of an argument, in bytes.
const VALUE_BYTES_MAX: usize = 64 << 10;

/// The plugin.
pub(crate) struct Endpoints {
    around: Surroundings,
    net: Net,
    /// By the name of the tool.
    all: BTreeMap<String, Endpoint>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    #[serde(default)]
    #[expect(dead_code, reason = "read by the launcher, for the list of hosts")]
    hosts: Vec<String>,
    endpoints: Vec<Declared>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Declared {
    name: String,
    #[serde(default)]
    description: String,
    #[serde(default = "get")]
    method: String,
    url: String,
    #[serde(default)]
    headers: Vec<String>,
    credential: Option<String>,
    credential_header: Option<String>,
    credential_prefix: Option<String>,
    #[serde(default)]
    arguments: Vec<Argument>,
}

fn get() -> String {
    "GET".to_owned()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Argument {
    name: String,
    #[serde(default, rename = "type")]
    kind: Kind,
    #[serde(rename = "in")]
    place: Option<Place>,
    #[serde(default)]
    description: String,
    #[serde(default)]
    required: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    #[default]
    String,
    Integer,
    Number,
    Boolean,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Place {
    Url,
    Query,
    Body,
}

/// A declared endpoint, checked.
struct Endpoint {
    description: String,
    method: Method,
    /// Scheme and host, without anything that an argument could change.
    origin: Url,
    /// Path and query with places.
    template: String,
    headers: HeaderMap,
    credential: Option<(String, HeaderName, String)>,
    arguments: Vec<(Argument, Place)>,
}

impl Endpoints {
    pub(crate) fn open(around: Surroundings) -> Result<Self, SurroundingsError> {
        let config: Config = around.config()?;
        let mut all = BTreeMap::new();
        for declared in config.endpoints.into_iter().take(ENDPOINTS_MAX) {
            let name = declared.name.clone();
            let wrong = |why: String| SurroundingsError::ConfigWrong(format!("the endpoint `{}` {why}", name.escape_debug()));
            let endpoint = declared.check().map_err(&wrong)?;
            if all.insert(format!("http_{name}"), endpoint).is_some() {
                return Err(wrong("is declared twice".to_owned()));
            }
        }
        Ok(Self { net: Net::new(&around), around, all })
    }

    async fn fetch(&self, endpoint: &Endpoint, arguments: &Map<String, Value>) -> Result<Value, ToolError> {
        let (url, body) = endpoint.fill(arguments)?;
        let mut ask = Ask::new(endpoint.method.clone(), url);
        ask.headers = endpoint.headers.clone();
        if let Some((key, header, prefix)) = &endpoint.credential {
            let value = self.around.credential(key)?;
            ask = ask.header(header.clone(), &format!("{prefix}{value}"))?;
        }
        if !body.is_empty() {
            ask = ask.body("application/json", Value::Object(body).to_string());
        }
        let has_effect = endpoint.method != Method::GET;
        let failed = |error| if has_effect { after_effect(error) } else { ToolError::Net(error) };
        let mut reply = self.net.send(ask).await.map_err(failed)?;
        let (status, kind) = (reply.status, reply.header(&CONTENT_TYPE).unwrap_or("").to_owned());
        let (bytes, whole) = reply.prefix(ANSWER_BYTES_MAX).await.map_err(failed)?;
        let body = match serde_json::from_slice::<Value>(&bytes) {
            Ok(value) if whole => value,
            _ if bytes.contains(&0) => json!(format!("{} bytes that are not text", bytes.len())),
            _ => json!(visible(&String::from_utf8_lossy(&bytes))),
        };
        if status.is_success() {
            return Ok(json!({"status": status.as_u16(), "content_type": kind, "complete": whole, "body": body}));
        }
        let said: String = body.as_str().map_or_else(|| body.to_string(), str::to_owned).chars().take(500).collect();
        Err(ToolError::Remote(format!("the endpoint answered {status}: {said}")))
    }
}

impl Declared {
    fn check(self) -> Result<Endpoint, String> {
        let plain = |name: &str| {
            name.starts_with(|c: char| c.is_ascii_lowercase())
                && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        };
        if !plain(&self.name) || self.name.len() > 50 {
            return Err("is not named by small letters, digits and `_`".to_owned());
        }
        let method = match self.method.as_str() {
            "GET" => Method::GET,
            "POST" => Method::POST,
            "PUT" => Method::PUT,
            "PATCH" => Method::PATCH,
            "DELETE" => Method::DELETE,
            other => return Err(format!("has the method `{}`, which is not one of GET, POST, PUT, PATCH, DELETE", other.escape_debug())),
        };
        let scheme = self.url.find("://").ok_or("has no address that begins with https:// or http://")? + 3;
        let end = self.url[scheme..].find(['/', '?']).map_or(self.url.len(), |at| scheme + at);
        let (origin, template) = self.url.split_at(end);
        if origin.contains(['{', '}']) {
            return Err("lets an argument choose the host".to_owned());
        }
        let origin = Url::parse(origin).map_err(|e| e.to_string())?;
        let (headers, credential) = (headers(&self.headers)?, self.credential());
        let mut arguments = Vec::new();
        for argument in self.arguments {
            if !plain(&argument.name) {
                return Err(format!(
                    "has an argument `{}` that is not named by small letters, digits and `_`",
                    argument.name.escape_debug()
                ));
            }
            let in_url = template.contains(&format!("{{{}}}", argument.name));
            let usual = if matches!(method, Method::GET | Method::DELETE) { Place::Query } else { Place::Body };
            let place = argument.place.unwrap_or(if in_url { Place::Url } else { usual });
            if (place == Place::Url) != in_url {
                return Err(format!("has an argument `{}` whose place and address do not agree", argument.name));
            }
            arguments.push((argument, place));
        }
        let left = arguments.iter().fold(template.to_owned(), |left, (a, _)| left.replace(&format!("{{{}}}", a.name), ""));
        if left.contains(['{', '}']) {
            return Err("has a place in its address that no argument fills".to_owned());
        }
        Ok(Endpoint {
            description: self.description,
            method,
            origin,
            template: template.to_owned(),
            headers,
            credential: credential?,
            arguments,
        })
    }

    fn credential(&self) -> Result<Option<(String, HeaderName, String)>, String> {
        let Some(key) = self.credential.clone() else { return Ok(None) };
        let name = match &self.credential_header {
            None => AUTHORIZATION,
            Some(name) => HeaderName::try_from(name.as_str()).map_err(|_| "has a credential_header that is none".to_owned())?,
        };
        let usual = if name == AUTHORIZATION { "Bearer " } else { "" };
        Ok(Some((key, name, self.credential_prefix.clone().unwrap_or_else(|| usual.to_owned()))))
    }
}

fn headers(lines: &[String]) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(':').ok_or("has a header that is not `Name: value`")?;
        let name = HeaderName::try_from(name.trim()).map_err(|_| "has a header with a wrong name".to_owned())?;
        if name == HOST || name == http::header::TRANSFER_ENCODING || name == http::header::CONTENT_LENGTH {
            return Err(format!("sets the header `{name}`, which belongs to the connection"));
        }
        headers.insert(name, HeaderValue::from_str(value.trim()).map_err(|_| "has a header with a wrong value".to_owned())?);
    }
    Ok(headers)
}

impl Endpoint {
    fn tool(&self, name: &str) -> Value {
        let mut properties = Map::new();
        for (argument, _) in &self.arguments {
            let kind = match argument.kind {
                Kind::String => "string",
                Kind::Integer => "integer",
                Kind::Number => "number",
                Kind::Boolean => "boolean",
            };
            properties.insert(argument.name.clone(), json!({"type": kind, "description": argument.description}));
        }
        let needed = |(a, place): &&(Argument, Place)| a.required || *place == Place::Url;
        let required: Vec<&str> = self.arguments.iter().filter(needed).map(|(a, _)| a.name.as_str()).collect();
        let schema = json!({"type": "object", "additionalProperties": false, "properties": properties, "required": required});
        json!({"name": name, "description": self.description, "inputSchema": schema})
    }

    /// The address and the body that these arguments make.
    fn fill(&self, arguments: &Map<String, Value>) -> Result<(Url, Map<String, Value>), ToolError> {
        let (mut filled, mut query, mut body) = (self.template.clone(), Vec::new(), Map::new());
        let mut known = 0;
        for (argument, place) in &self.arguments {
            let name = &argument.name;
            let Some(value) = arguments.get(name) else {
                if argument.required || *place == Place::Url {
                    return Err(ToolError::Arguments(format!("`{name}` is missing")));
                }
                continue;
            };
            known += 1;
            let text =
                text(value, argument.kind).ok_or_else(|| ToolError::Arguments(format!("`{name}` is of the wrong kind or too long")))?;
            match place {
                Place::Url => filled = put(&filled, name, &text)?,
                Place::Query => query.push(format!("{}={}", encode_query(name), encode_query(&text))),
                Place::Body => drop(body.insert(name.clone(), value.clone())),
            }
        }
        if known != arguments.len() {
            return Err(ToolError::Arguments("there is an argument that the endpoint does not have".to_owned()));
        }
        if !query.is_empty() {
            filled = format!("{filled}{}{}", if filled.contains('?') { '&' } else { '?' }, query.join("&"));
        }
        let slash = if filled.starts_with('/') || filled.is_empty() { "" } else { "/" };
        let url = Url::parse(&format!("{}{slash}{filled}", self.origin.origin())).map_err(|e| ToolError::Arguments(e.to_string()))?;
        Ok((url, body))
    }
}

/// Puts a value into its places. In the path it stays one part that is neither empty nor `.` or `..`.
fn put(template: &str, name: &str, value: &str) -> Result<String, ToolError> {
    let place = format!("{{{name}}}");
    let (path, query) = template.split_once('?').map_or((template, None), |(path, query)| (path, Some(query)));
    let encoded = encode_path(value);
    if path.contains(&place) && encoded.is_empty() {
        return Err(ToolError::Arguments(format!("`{name}` cannot be a part of a path")));
    }
    let path = path.replace(&place, &encoded);
    Ok(match query {
        None => path,
        Some(query) => format!("{path}?{}", query.replace(&place, &encode_query(value))),
    })
}

fn text(value: &Value, kind: Kind) -> Option<String> {
    let text = match (kind, value) {
        (Kind::String, Value::String(text)) => text.clone(),
        (Kind::Integer, Value::Number(n)) if n.is_i64() || n.is_u64() => n.to_string(),
        (Kind::Number, Value::Number(n)) => n.to_string(),
        (Kind::Boolean, Value::Bool(b)) => b.to_string(),
        _ => return None,
    };
    (text.len() <= VALUE_BYTES_MAX).then_some(text)
}

impl Plugin for Endpoints {
    fn tools(&self) -> BoxFuture<'_, Result<Vec<Value>, ToolError>> {
        Box::pin(async { Ok(self.all.iter().map(|(name, endpoint)| endpoint.tool(name)).collect()) })
    }

    fn call<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<Outcome, ToolError>> {
        Box::pin(async move {
            let endpoint = self.all.get(&call.tool).ok_or_else(|| ToolError::Unknown(call.tool.clone()))?;
            let arguments: Map<String, Value> = call.arguments()?;
            self.fetch(endpoint, &arguments).await.map(Outcome::Object)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(url: &str, arguments: Value) -> Result<Endpoint, String> {
        let declared = json!({"name": "x", "url": url, "arguments": arguments});
        serde_json::from_value::<Declared>(declared).unwrap().check()
    }

    fn filled(url: &str, arguments: Value, values: Value) -> Result<String, ToolError> {
        let endpoint = endpoint(url, arguments).unwrap();
        endpoint.fill(values.as_object().unwrap()).map(|(url, _)| url.to_string())
    }

    #[test]
    fn no_argument_changes_where_a_request_goes() {
        let one = json!([{"name": "a"}]);
        for (value, expect) in [
            ("x", "https://api.test/v1/x/y?k=x"),
            ("../../admin", "https://api.test/v1/..%2F..%2Fadmin/y?k=..%2F..%2Fadmin"),
            ("@evil.test/", "https://api.test/v1/%40evil.test%2F/y?k=%40evil.test%2F"),
            ("a&b=c#d?e", "https://api.test/v1/a%26b%3Dc%23d%3Fe/y?k=a%26b%3Dc%23d%3Fe"),
            ("a\r\nHost: b", "https://api.test/v1/a%0D%0AHost%3A%20b/y?k=a%0D%0AHost%3A%20b"),
        ] {
            assert_eq!(filled("https://api.test/v1/{a}/y?k={a}", one.clone(), json!({"a": value})).unwrap(), expect);
        }
        for value in ["..", ".", ""] {
            assert!(filled("https://api.test/v1/{a}/y", one.clone(), json!({"a": value})).is_err(), "{value}");
        }
        assert_eq!(filled("https://api.test", one.clone(), json!({"a": "b"})).unwrap(), "https://api.test/?a=b");
        assert!(filled("https://api.test", one.clone(), json!({"b": "b"})).is_err());
        for url in ["https://{a}.test/", "https://{a}/", "{a}://x", "https://x:{a}/", "https://x/{b}", "ftp://x/{a}"] {
            assert!(endpoint(url, one.clone()).is_err(), "{url}");
        }
        assert!(endpoint("https://x/", json!([{"name": "a", "in": "url"}])).is_err());
        assert!(headers(&["Host: other".to_owned()]).is_err() && headers(&["A: b\r\nC: d".to_owned()]).is_err());
    }

    #[test]
    fn kinds_are_held() {
        let arguments = json!([{"name": "n", "type": "integer"}]);
        assert_eq!(filled("https://x/", arguments.clone(), json!({"n": 3})).unwrap(), "https://x/?n=3");
        assert!(filled("https://x/", arguments, json!({"n": "3"})).is_err());
    }
}
