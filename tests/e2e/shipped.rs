//! The plugins that ship, as users have them: in sandboxes of their own, through the egress door, against real servers.

use serde_json::{Value, json};
use testkit::servers::{Calendar, Everything, Mail, Page, Pages};

use crate::support::Lab;

/// What the owner keeps secret here.
const TOKEN: &str = "ghp_e2e0tide0harbour0secret";

/// A daemon with these lines in its configuration, which lets plugins reach loopback where they name it.
fn lab(lines: &[(&str, String)], secrets: &[(&str, &str)]) -> Lab {
    let lab = Lab::new();
    lab.run(&["config", "set", "egress.private_ok", "[\"127.0.0.1\"]"]).succeeds();
    for (key, value) in lines {
        lab.run(&["config", "set", key, value]).succeeds();
    }
    for (name, value) in secrets {
        lab.run_with(&["secret", "set", name, "-"], value.as_bytes()).succeeds();
    }
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    lab
}

/// Calls a tool as the owner, who has confirmed it; an error is its message.
#[track_caller]
fn call(lab: &Lab, tool: &str, arguments: Value) -> Result<Value, String> {
    let body = json!({ "tool": tool, "arguments": arguments, "yes": true });
    let answer = lab.ask("POST", "/v1/plugin-calls", body).is(200);
    match &answer["error"] {
        Value::Null => Ok(answer["result"].clone()),
        error => Err(error.to_string()),
    }
}

fn list(hosts: &[String]) -> String {
    json!(hosts).to_string()
}

#[test]
fn a_mail_goes_out_and_comes_in() {
    let dir = tempfile::tempdir().expect("make");
    let path = |name: &str| dir.path().join(name);
    let made = rcgen::generate_simple_self_signed(vec!["mail.test".to_owned()]).expect("a certificate");
    std::fs::write(path("cert.pem"), made.cert.pem()).expect("write");
    std::fs::write(path("key.pem"), made.signing_key.serialize_pem()).expect("write");
    let mail = Mail::start(dir.path(), &path("cert.pem"), &path("key.pem"));
    let at = |service: &str| format!("127.0.0.1:{}", mail.port(service));
    let lines = [
        ("plugins.email.hosts", list(&[at("imap"), at("smtp")])),
        ("plugins.email.address", "owner@mail.test".to_owned()),
        ("plugins.email.user", "owner".to_owned()),
        ("plugins.email.imap", at("imap")),
        ("plugins.email.imap_tls", "none".to_owned()),
        ("plugins.email.smtp", at("smtp")),
        ("plugins.email.smtp_tls", "none".to_owned()),
    ];
    let lab = lab(&lines, &[("plugin.email.password", Mail::SECRET)]);
    lab.plugin_is_ready("email");
    let letter = json!({"to": ["owner@mail.test"], "subject": "Tide", "body": "Ebb at noon."});
    let sent = call(&lab, "email_send", letter).expect("sent");
    assert_eq!(sent["already_sent"], false, "{sent}");
    let inbox = call(&lab, "email_list", json!({"unread": true})).expect("listed");
    assert_eq!((&inbox["total"], &inbox["mails"][0]["subject"]), (&json!(1), &json!("Tide")), "{inbox}");
    let read = call(&lab, "email_read", json!({"uid": inbox["mails"][0]["uid"]})).expect("read");
    assert_eq!(read["text"], "Ebb at noon.\n");
    assert_eq!(mail.into_sent().len(), 1);
    let gone = call(&lab, "email_list", json!({})).expect_err("the server is gone");
    assert!(gone.contains("cannot be reached") && !gone.contains(Mail::SECRET), "{gone}");
}

#[test]
fn an_event_is_made_and_found() {
    let dir = tempfile::tempdir().expect("make");
    let server = Calendar::start(dir.path());
    let lines = [
        ("plugins.calendar.hosts", list(&[format!("127.0.0.1:{}", server.port)])),
        ("plugins.calendar.url", format!("http://127.0.0.1:{}/", server.port)),
        ("plugins.calendar.user", "owner@mail.test".to_owned()),
    ];
    let lab = lab(&lines, &[("plugin.calendar.password", "harbour secret")]);
    let event =
        json!({"summary": "Ebb", "start": "2026-07-01T10:00:00", "end": "2026-07-01T11:00:00", "timezone": "UTC", "calendar": "Harbour"});
    let made = call(&lab, "calendar_create", event).expect("made");
    let found = call(&lab, "calendar_events", json!({"from": "2026-07-01", "to": "2026-07-02"})).expect("found");
    assert_eq!((&found["total"], &found["events"][0]["uid"]), (&json!(1), &made["uid"]), "{found}");
}

#[test]
fn pages_are_fetched_from_listed_hosts_alone() {
    let pages = Pages::start(None, |seen| match seen.target.as_str() {
        "/" => Page::html("<title>Harbour</title><p>Ships come at ebb.</p><p hidden>obey</p>"),
        _ => Page::redirect("http://127.0.0.1:9/elsewhere"),
    });
    let closed = Pages::start(None, |_| Page::html("never"));
    let lab = lab(&[("plugins.web.hosts", list(&[format!("127.0.0.1:{}", pages.port)]))], &[]);
    let fetch = |port: u16, path: &str| call(&lab, "web_fetch", json!({"url": format!("http://127.0.0.1:{port}{path}")}));
    let page = fetch(pages.port, "/").expect("a page");
    assert_eq!((&page["title"], &page["text"]), (&json!("Harbour"), &json!("Ships come at ebb.")));
    let refused = fetch(pages.port, "/away").expect_err("it leads away");
    assert!(refused.contains("127.0.0.1:9 is not on the list"), "{refused}");
    let refused = fetch(closed.port, "/").expect_err("it is not listed");
    assert!(refused.contains("is not on the list") && closed.seen().is_empty(), "{refused}");
}

#[test]
fn an_issue_is_opened_and_the_token_stays_out_of_sight() {
    let pages = Pages::start(None, |seen| match (seen.method.as_str(), seen.header("authorization")) {
        (_, Some(header)) if header != format!("Bearer {TOKEN}") => Page::json(401, &json!({"message": "Bad credentials"})),
        ("POST", Some(header)) => {
            // A server that gives the credential back.
            Page::json(201, &json!({"number": 1, "html_url": format!("https://github.test/o/r/issues/1?{header}"), "id": 5}))
        }
        _ => Page::json(200, &json!([])),
    });
    let base = format!("http://127.0.0.1:{}", pages.port);
    let lines = [("plugins.github.base_url", base), ("plugins.github.hosts", list(&[format!("127.0.0.1:{}", pages.port)]))];
    let lab = lab(&lines, &[("plugin.github.token", TOKEN)]);
    let made = call(&lab, "github_create_issue", json!({"repo": "o/r", "title": "Leak"})).expect("opened");
    assert!(made["url"].as_str().is_some_and(|url| url.starts_with("https://github.test/") && !url.contains(TOKEN)), "{made}");
    let post = pages.seen().into_iter().find(|seen| seen.method == "POST").expect("a request");
    assert_eq!(post.header("authorization"), Some(format!("Bearer {TOKEN}").as_str()));
}

#[test]
fn a_remote_server_of_mcp_is_a_plugin() {
    let server = Everything::start();
    let lab = lab(&[], &[]);
    let url = format!("http://127.0.0.1:{}/mcp", server.port);
    lab.run(&["plugin", "add-remote", "everything", &url, "--low", "echo"]).succeeds();
    let said = call(&lab, "echo", json!({"message": "ebb"})).expect("an answer");
    assert!(said.to_string().contains("ebb"), "{said}");
    let tools = lab.plugin_view("everything")["tools"].as_array().expect("tools").clone();
    let risk = |name: &str| tools.iter().find(|tool| tool["name"] == name).map(|tool| tool["risk"].clone());
    assert_eq!(risk("echo"), Some(json!("low")));
    assert!(tools.iter().filter(|tool| tool["name"] != "echo").all(|tool| tool["risk"] == "high"), "{tools:?}");
}

#[test]
fn declared_endpoints_are_tools_of_high_risk() {
    let pages = Pages::start(None, |seen| Page::json(200, &json!({"asked": seen.target})));
    let url = format!("http://127.0.0.1:{}/tide/{{place}}", pages.port);
    let endpoints = format!("[{{name = \"tide\", description = \"The tide\", url = \"{url}\", arguments = [{{name = \"place\"}}]}}]");
    let hosts = list(&[format!("127.0.0.1:{}", pages.port)]);
    let lab = lab(&[("plugins.http.hosts", hosts), ("plugins.http.endpoints", endpoints)], &[]);
    let view = lab.plugin_view("http");
    assert_eq!((&view["tools"][0]["name"], &view["tools"][0]["risk"]), (&json!("http_tide"), &json!("high")), "{view}");
    let tide = call(&lab, "http_tide", json!({"place": "../etc"})).expect("an answer");
    assert_eq!(tide["body"]["asked"], "/tide/..%2Fetc");
    let refused = call(&lab, "http_tide", json!({"place": "x", "host": "evil.test"})).expect_err("no such argument");
    assert!(refused.contains("VALIDATION_FAILED") && pages.seen().len() == 1, "{refused}");
}

/// An MCP server that says by which token it is called, and lets nobody in without one.
fn who_calls(seen: &testkit::servers::Seen) -> Page {
    let asked = seen.json();
    let Some(token) = seen.header("authorization").and_then(|value| value.strip_prefix("Bearer ")) else {
        return Page::json(401, &json!({ "error": "no token" }));
    };
    let result = match asked["method"].as_str() {
        Some("initialize") => {
            json!({ "protocolVersion": "2025-06-18", "capabilities": { "tools": {} }, "serverInfo": { "name": "who", "version": "1" } })
        }
        Some("tools/list") => {
            json!({ "tools": [{ "name": "who_am_i", "description": "Says who calls.", "inputSchema": { "type": "object", "properties": {} } }] })
        }
        // The length: the token itself would be taken out of the answer.
        Some("tools/call") => json!({ "content": [{ "type": "text", "text": format!("a caller of {} letters", token.len()) }] }),
        _ => return Page::new(202, "text/plain", ""),
    };
    Page::json(200, &json!({ "jsonrpc": "2.0", "id": asked["id"], "result": result }))
}

/// Each agent is to a remote server who it is: with a token of its own, which can be taken back alone.
#[test]
fn each_agent_reaches_a_remote_server_with_a_token_of_its_own() {
    let server = Pages::start(None, who_calls);
    let lab = lab(&[], &[]);
    let url = format!("http://127.0.0.1:{}/mcp", server.port);
    for agent in ["ann", "bob", "carl"] {
        lab.run(&["agent", "add", agent]).succeeds();
    }
    lab.run(&["plugin", "add-remote", "who", &url, "--per-agent", "--low", "who_am_i"]).succeeds();
    assert_eq!(lab.plugin_view("who")["category"], "AUTH", "nobody has a token yet");
    for (agent, token) in [("ann", "token-of-ann"), ("bob", "the-token-of-bob")] {
        lab.run_with(&["auth", "api-key", "--plugin", "who", "--agent", agent, "--key", "-"], token.as_bytes()).succeeds();
    }
    lab.run(&["plugin", "reload", "who"]).succeeds();
    let asks = |agent: &str| {
        let session = lab.session(json!({ "agent": agent, "engine": "mini", "model": "rehearsal" }));
        let turn = lab.send(&session, "call who_am_i {}");
        lab.result_of(&session, &turn);
        let log = lab.log(&session);
        log.into_iter().find(|event| event["type"] == "tool_result").map_or_else(String::new, |event| event["output"].to_string())
    };
    assert!(asks("ann").contains("a caller of 12 letters"), "{}", asks("ann"));
    assert!(asks("bob").contains("a caller of 16 letters"), "{}", asks("bob"));
    let nobody = asks("carl");
    assert!(!nobody.contains("a caller of"), "an agent without a token reaches nothing: {nobody}");
    // One is taken back; the other stays.
    lab.run(&["secret", "remove", "plugin.who.token@ann"]).succeeds();
    let ann = asks("ann");
    assert!(!ann.contains("a caller of"), "{ann}");
    assert!(asks("bob").contains("a caller of 16 letters"));
}

/// The owner's yes under a key is for one call, however often it is asked for.
#[test]
fn a_call_under_a_key_is_made_once() {
    let lab = Lab::new();
    crate::marks::install(&lab);
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    let call = |key: &str, text: &str| {
        let body = json!({ "tool": "mark_set", "arguments": { "text": text }, "yes": true }).to_string();
        let headers = [("content-type", "application/json"), ("idempotency-key", key)];
        lab.ask_with("POST", "/v1/plugin-calls", &headers, body.as_bytes()).is(200)
    };
    let first = call("one", "tide");
    assert!(first["error"].is_null() && first["result"].to_string().contains("marked 1"), "{first}");
    assert_eq!(call("one", "tide")["result"], first["result"], "what came of it is said again");
    let other = call("one", "ebb");
    assert_eq!(other["error"]["code"], "CONFLICT", "the key stands for another call: {other}");
    lab.kill_daemon();
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    assert_eq!(call("one", "tide")["result"], first["result"], "after a restart as well");
    assert_eq!(crate::marks::made(&lab), ["tide"]);
    // The control: another key is another call.
    call("two", "tide");
    assert_eq!(crate::marks::made(&lab), ["tide", "tide"]);
}
