//! `lazaret auth`: credentials of plugins.

use std::time::Duration;

use http::Method;
use model::{Code, Failure};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use zeroize::Zeroizing;

use super::Context;
use crate::args;
use crate::client::{Client, internal};
use crate::exit::Done;
use crate::out;

/// How long a person may take to log in.
const LOGIN_WAIT: Duration = Duration::from_secs(900);
/// The longest head of a request of the browser, in bytes, and how long it may take.
const HEAD_BYTES_MAX: usize = 16 << 10;
const HEAD_WAIT: Duration = Duration::from_secs(10);
/// Connections that are answered before the login is given up: a browser asks for icons too.
const VISITS_MAX: usize = 64;

pub(super) async fn run(context: &Context, verb: args::Auth) -> Done {
    let client = context.client()?;
    match verb {
        args::Auth::ApiKey { plugin, key, name, agent } => api_key(context, &client, &plugin, key, name, agent).await,
        args::Auth::Login { plugin, device, client_id, client_secret, agent } => {
            let form = form(device, agent, client_id, client_secret.as_deref())?;
            login(context, &client, &plugin, device, form).await
        }
        args::Auth::Status => status(context, &client).await,
    }
}

/// A name that can stand in a path.
fn plain(field: &str, text: &str) -> Result<(), Failure> {
    let is_plain = !text.is_empty() && text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if is_plain { Ok(()) } else { Err(Failure::new(Code::Usage, "a name has letters, digits, `-`, `_` and `.`").field(field)) }
}

async fn view(client: &Client, plugin: &str) -> Result<Value, Failure> {
    plain("--plugin", plugin)?;
    let detail: Value = client.json(Method::GET, &format!("/v1/plugins/{plugin}"), None).await?;
    Ok(if detail["plugin"].is_object() { detail["plugin"].clone() } else { detail })
}

async fn api_key(context: &Context, client: &Client, plugin: &str, key: String, name: Option<String>, agent: Option<String>) -> Done {
    let name = which(&view(client, plugin).await?, plugin, name)?;
    let value = if key == "-" {
        super::secret::read(&format!("{plugin}.{name}"))?
    } else {
        out::note(
            "warning: a value on the command line can be read by others of this machine and stays in the shell's history; use --key -",
        );
        Zeroizing::new(key)
    };
    let suffix = match &agent {
        Some(agent) => {
            plain("--agent", agent)?;
            format!("%40{agent}")
        }
        None => String::new(),
    };
    let body = json!({ "value": value.as_str() });
    let stored: Value = client.json(Method::PUT, &format!("/v1/secrets/plugin.{plugin}.{name}{suffix}"), Some(&body)).await?;
    if context.json {
        out::json(&stored)?;
    } else {
        let whose = agent.map(|agent| format!(" for the agent {agent}")).unwrap_or_default();
        out::note(&format!("{name} of {plugin} is stored{whose}"));
    }
    Ok(0)
}

/// The credential that is meant.
fn which(view: &Value, plugin: &str, name: Option<String>) -> Result<String, Failure> {
    let all: Vec<&str> = view["credentials"].as_array().into_iter().flatten().filter_map(|c| c["key"].as_str()).collect();
    let known = all.join(", ");
    match name {
        Some(name) if all.contains(&name.as_str()) => Ok(name),
        Some(name) => {
            Err(Failure::new(Code::NotFound, format!("{plugin} has no credential `{}`", name.escape_debug()))
                .hint(format!("it has {known}")))
        }
        None => {
            match all.as_slice() {
                [] => Err(Failure::new(Code::Usage, format!("{plugin} takes no credential"))),
                [one] => Ok((*one).to_owned()),
                _ => Err(Failure::new(Code::Usage, format!("{plugin} has several credentials"))
                    .hint(format!("say which: --name, one of {known}"))),
            }
        }
    }
}

async fn status(context: &Context, client: &Client) -> Done {
    let plugins: Value = client.json(Method::GET, "/v1/plugins", None).await?;
    let logins: Value = client.json(Method::GET, "/v1/plugin-logins", None).await?;
    let now = app::now().0;
    let mut rows = Vec::new();
    for plugin in plugins["items"].as_array().into_iter().flatten() {
        let name = plugin["name"].as_str().unwrap_or("");
        for credential in plugin["credentials"].as_array().into_iter().flatten() {
            let key = credential["key"].as_str().unwrap_or("");
            let is_it = |login: &&Value| login["plugin"] == name && login["key"] == key && login["agent"].is_null();
            let login = logins["items"].as_array().into_iter().flatten().find(is_it);
            let expires = login.and_then(|login| login["expires"].as_u64());
            let trouble = login.and_then(|login| login["trouble"].as_str());
            let is_set = credential["set"] == true;
            let state = match (is_set, trouble, expires) {
                (_, Some(_), _) => "expired",
                (true, _, Some(at)) if at <= now => "expired",
                (true, ..) => "set",
                (false, ..) if credential["required"] == true => "missing",
                (false, ..) => "not set",
            };
            rows.push(json!({ "plugin": name, "key": key, "state": state, "expires": expires, "trouble": trouble }));
        }
    }
    for login in logins["items"].as_array().into_iter().flatten().filter(|login| !login["agent"].is_null()) {
        let state = if login["trouble"].is_null() { "set" } else { "expired" };
        rows.push(
            json!({ "plugin": login["plugin"], "agent": login["agent"], "key": login["key"], "state": state, "expires": login["expires"],
            "trouble": login["trouble"] }),
        );
    }
    if context.json {
        rows.iter().try_for_each(out::json)?;
        return Ok(0);
    }
    let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let ends = row["expires"].as_u64().map(|at| in_words(at, now)).unwrap_or_default();
            let fix = match row["state"].as_str() {
                Some("expired") => format!("lazaret auth login --plugin {}", text(&row["plugin"])),
                Some("missing") => format!("lazaret auth api-key --plugin {} --name {}", text(&row["plugin"]), text(&row["key"])),
                _ => String::new(),
            };
            vec![text(&row["plugin"]), text(&row["agent"]), text(&row["key"]), text(&row["state"]), ends, fix]
        })
        .collect();
    out::table(&["PLUGIN", "AGENT", "KEY", "STATE", "ENDS", "TO DO"], &cells);
    Ok(0)
}

fn in_words(at: u64, now: u64) -> String {
    match at.saturating_sub(now) / 1000 {
        0 => "ended".to_owned(),
        s @ 1..3600 => format!("in {} min", s.div_ceil(60)),
        s @ 3600..172_800 => format!("in {} h", s / 3600),
        s => format!("in {} days", s / 86_400),
    }
}

/// What begins a login.
fn form(device: bool, agent: Option<String>, client_id: Option<String>, client_secret: Option<&str>) -> Result<Value, Failure> {
    let secret = match client_secret {
        None => None,
        Some("-") => Some(super::secret::read("the client's secret")?.to_string()),
        Some(_) => {
            return Err(Failure::new(Code::Usage, "a client's secret is not taken from the command line, where others can see it")
                .hint("--client-secret -   and type or pipe it")
                .field("--client-secret"));
        }
    };
    let flow = if device { "device" } else { "loopback" };
    Ok(json!({ "flow": flow, "agent": agent, "client_id": client_id, "client_secret": secret }))
}

async fn login(context: &Context, client: &Client, plugin: &str, device: bool, mut form: Value) -> Done {
    plain("--plugin", plugin)?;
    let fail = |e: std::io::Error| internal(&format!("no port for the browser: {e}"));
    // Listens for this login alone; a device login has no need of it.
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(fail)?;
    let redirect = format!("http://127.0.0.1:{}/", listener.local_addr().map_err(fail)?.port());
    if !device {
        form["redirect"] = redirect.clone().into();
    }
    let begun: Value = client.json(Method::POST, &format!("/v1/plugins/{plugin}/login"), Some(&form)).await?;
    let id = begun["id"].as_str().unwrap_or_default();
    if context.json {
        out::json(&json!({ "url": begun["url"], "user_code": begun["user_code"], "redirect": (!device).then_some(redirect) }))?;
    } else {
        out::line(&format!("open this page: {}", crate::exit::clean(begun["url"].as_str().unwrap_or("?"))));
        if let Some(code) = begun["user_code"].as_str() {
            out::line(&format!("and type this code: {}", crate::exit::clean(code)));
        }
    }
    let path = format!("/v1/plugin-logins/{id}");
    let late = |_| Failure::new(Code::Timeout, "nobody logged in in time").hint("begin again");
    let done = if device {
        tokio::time::timeout(LOGIN_WAIT, poll(client, &path, begun["interval_s"].as_u64().unwrap_or(5))).await.map_err(late)??
    } else {
        let step = tokio::time::timeout(LOGIN_WAIT, browser(listener)).await.map_err(late)??;
        client.json(Method::POST, &path, Some(&step)).await?
    };
    if context.json {
        out::json(&done)?;
    } else {
        out::line(&format!("{plugin} is logged in; its token is renewed by itself where the service allows it"));
    }
    Ok(0)
}

/// Asks again and again whether the code was typed.
async fn poll(client: &Client, path: &str, interval_s: u64) -> Result<Value, Failure> {
    let mut wait = interval_s;
    loop {
        tokio::time::sleep(Duration::from_secs(wait.clamp(1, 60))).await;
        let state: Value = client.json(Method::POST, path, Some(&json!({}))).await?;
        if state["done"] == true {
            return Ok(state);
        }
        wait = state["interval_s"].as_u64().unwrap_or(wait).max(interval_s);
    }
}

/// Waits for the browser that comes back.
async fn browser(listener: TcpListener) -> Result<Value, Failure> {
    for _ in 0..VISITS_MAX {
        let (mut stream, _) = listener.accept().await.map_err(|e| internal(&e.to_string()))?;
        let Ok(Some(head)) = tokio::time::timeout(HEAD_WAIT, head(&mut stream)).await else { continue };
        let step = returned(&head);
        let text = match &step {
            Some(Ok(_)) => "You are logged in. This page can be closed.",
            Some(Err(_)) => "The login was refused. This page can be closed.",
            None => "There is nothing here.",
        };
        let status = if step.is_some() { "200 OK" } else { "404 Not Found" };
        let answer = format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nReferrer-Policy: no-referrer\r\nConnection: close\r\n\r\n{text}",
            text.len()
        );
        // A browser that is gone has brought what it had.
        let _ = stream.write_all(answer.as_bytes()).await;
        match step {
            None => (),
            Some(step) => return step,
        }
    }
    Err(Failure::new(Code::Forbidden, "too many others came to the port of this login").hint("begin again"))
}

async fn head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut piece = [0u8; 1024];
    while !head.windows(4).any(|w| w == b"\r\n\r\n") {
        let n = stream.read(&mut piece).await.ok()?;
        if n == 0 || head.len() + n > HEAD_BYTES_MAX {
            return None;
        }
        head.extend_from_slice(&piece[..n]);
    }
    String::from_utf8(head).ok()
}

/// What a browser brings: code and state, or the reason why there is none. `None` when it wants something else.
fn returned(head: &str) -> Option<Result<Value, Failure>> {
    let target = head.strip_prefix("GET ")?.split(' ').next()?;
    let (_, query) = target.split_once('?')?;
    let field = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')).map(decoded);
    if let Some(error) = field("error") {
        let said = field("error_description").unwrap_or(error);
        let said: String = said.chars().filter(|c| !c.is_control()).take(200).collect();
        return Some(Err(Failure::new(Code::Forbidden, format!("the service refused the login: {said}"))));
    }
    Some(Ok(json!({ "code": field("code")?, "state": field("state") })))
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let hex = tail.get(..2).and_then(|two| std::str::from_utf8(two).ok()).and_then(|two| u8::from_str_radix(two, 16).ok());
        match (first, hex) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
                continue;
            }
            (b'+', _) => bytes.push(b' '),
            (byte, _) => bytes.push(*byte),
        }
        rest = tail;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_browser_brings_is_read() {
        let step = returned("GET /?code=a%2Fb+c&state=s HTTP/1.1\r\n\r\n").expect("a login").expect("a code");
        assert_eq!(step, json!({ "code": "a/b c", "state": "s" }));
        assert!(returned("GET /?error=access_denied HTTP/1.1\r\n\r\n").expect("a login").is_err());
        for other in ["GET /favicon.ico HTTP/1.1\r\n\r\n", "GET /?a=b HTTP/1.1\r\n\r\n", "POST /?code=a HTTP/1.1\r\n\r\n", ""] {
            assert!(returned(other).is_none(), "{other}");
        }
    }
}
