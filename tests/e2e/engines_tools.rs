//! Engines as their packages come call the owner's tools over MCP: one of low risk at once, one of high risk when a person
//! has confirmed it.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::model_server::{ModelServer, Rule, Say, Script};

use crate::engines::install;
use crate::http::PATIENCE;
use crate::support::{KEY, Lab, Ran, of_type};

/// Two tools; the one of high risk counts how often it was called.
const NOTES: &str = "
SENT = []
def tool_jot(a, m): return text('jotted ' + a['text'])
def tool_post(a, m):
    SENT.append(a['text']); return text('posted %s, number %d' % (a['text'], len(SENT)))
";
const MANIFEST: &str = "tools = \"all\"\nlow = [\"jot\"]\n";

/// A home with an engine, a provider that follows a script, and the plugin.
fn lab(engine: &str, provider: &str, say: Vec<Say>) -> (Lab, ModelServer) {
    let lab = Lab::new();
    if engine != "mini" {
        install(&lab, engine);
    }
    let rules = vec![Rule { contains: "the notes".to_owned(), say }];
    let server = lab.model(Script { key: Some(KEY.to_owned()), rules, ..Script::default() });
    lab.connect(provider, &server);
    lab.plugin("notes", MANIFEST, NOTES);
    lab.run(&["stop", "--grace", "0s"]).succeeds();
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    until(|| (lab.plugin_view("notes")["state"] == "ready").then_some(()));
    (lab, server)
}

pub(crate) fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "it never came to be so");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// How an engine names a tool of the server `lazaret`.
pub(crate) fn named(engine: &str, tool: &str) -> String {
    match engine {
        "claude-code" => format!("mcp__lazaret__{tool}"),
        "opencode" => format!("lazaret_{tool}"),
        "gemini" => format!("mcp_lazaret_{tool}"),
        // Codex puts them into a name space, and has tools of its own beside it: one is called `spawn_agent` too.
        "codex" => format!("lazaret::{tool}"),
        _ => tool.to_owned(),
    }
}

fn call(engine: &str, tool: &str, text: &str) -> Say {
    Say::Tool { name: named(engine, tool), input: json!({ "text": text }) }
}

/// A run in the background; its words are asked for later.
fn begin(lab: &Lab, engine: &str) -> Child {
    let mut command = lab.command(&["run", "--json", "--engine", engine, "look at the notes"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started")
}

fn end(child: Child) -> Ran {
    Ran::wait(child)
}

/// The outputs of the tools that a turn called.
fn outputs(ran: &Ran) -> String {
    let events = ran.events();
    of_type(&events, "tool_result").iter().map(|event| event["output"].to_string()).collect::<Vec<_>>().join("\n")
}

/// The end of what a skill says it is for. An agent is told less of it beside its engine, so whoever says this read the skill itself.
const TAIL: &str = "for mariners alone";

/// Gives the agent a skill.
fn give_skill(lab: &Lab) {
    let dir = lab.path("tide-tables");
    std::fs::create_dir_all(&dir).expect("make");
    let about = format!("Reads tables of tides. {}{TAIL}", "It knows the moon and the wind. ".repeat(9));
    std::fs::write(dir.join("SKILL.md"), format!("---\nname: tide-tables\ndescription: {about}\n---\nLook at the clock.\n"))
        .expect("write");
    lab.run(&["skill", "add", dir.to_str().expect("utf-8"), "--yes"]).succeeds();
    lab.run(&["agent", "set", "default", "--skills", "tide-tables"]).succeeds();
}

fn low_and_high(engine: &str, provider: &str) {
    let say = vec![call(engine, "jot", "fog"), call(engine, "post", "wind"), Say::Text("both are done".to_owned())];
    let (lab, server) = lab(engine, provider, say);
    give_skill(&lab);
    let child = begin(&lab, engine);
    let pending = until(|| {
        let listed = lab.ask("GET", "/v1/approvals?status=pending", Value::Null).is(200);
        listed["items"].as_array().and_then(|items| items.first().cloned())
    });
    assert_eq!((&pending["tool"], &pending["arguments"]), (&json!("post"), &json!({ "text": "wind" })), "{pending}");
    let session = pending["session"].as_str().expect("a session").to_owned();
    lab.state_is(&session, "waiting");
    let shown = lab.run(&["approvals", "show", pending["id"].as_str().expect("an identity")]).succeeds();
    assert!(shown.out.contains("wind"), "{}", shown.out);
    lab.run(&["approvals", "approve", pending["id"].as_str().expect("an identity")]).succeeds();
    let ran = end(child).succeeds();
    let said = outputs(&ran);
    assert!(said.contains("jotted fog") && said.contains("posted wind, number 1"), "{engine}: {said}\n{}", ran.out);
    assert!(ran.result()["text"].as_str().is_some_and(|t| t.contains("both are done")), "{}", ran.out);
    let heard = server.requests().iter().any(|r| String::from_utf8_lossy(&r.body).contains("posted wind, number 1"));
    assert!(heard, "{engine} did not tell its model what the tool gave");
    // An engine that knows skills offers it by itself; the others, here the control, say what they were told of it.
    let told: String = server.requests().iter().map(|r| String::from_utf8_lossy(&r.body).into_owned()).collect();
    assert!(told.contains("tide-tables"), "{engine} is told of the skill");
    assert_eq!(told.contains(TAIL), engine != "mini", "{engine} offers its model the skill");
}

#[test]
fn claude_code_calls_tools_and_waits_for_a_person() {
    low_and_high("claude-code", "anthropic");
}

#[test]
fn codex_calls_tools_and_waits_for_a_person() {
    low_and_high("codex", "openai");
}

#[test]
fn mini_calls_tools_and_waits_for_a_person() {
    low_and_high("mini", "anthropic");
}

#[test]
fn opencode_calls_tools_and_waits_for_a_person() {
    low_and_high("opencode", "anthropic");
}

#[test]
fn gemini_calls_tools_and_waits_for_a_person() {
    low_and_high("gemini", "gemini");
}

/// A no says so to the model, and nothing was done.
#[test]
fn a_call_that_is_denied_is_not_made() {
    let say = vec![call("mini", "post", "wind"), call("mini", "jot", "after"), Say::Text("it was refused".to_owned())];
    let (lab, _server) = lab("mini", "anthropic", say);
    let child = begin(&lab, "mini");
    let id = until(|| {
        let listed = lab.ask("GET", "/v1/approvals?status=pending", Value::Null).is(200);
        listed["items"][0]["id"].as_str().map(str::to_owned)
    });
    lab.run(&["approvals", "deny", &id, "--note", "not today"]).succeeds();
    let said = outputs(&end(child).succeeds());
    assert!(said.contains("CONFIRMATION_DENIED") && said.contains("jotted after") && !said.contains("posted"), "{said}");
}

/// The daemon is killed while a person is asked: the call is taken up again under its name, and made once.
fn waits_through_a_killed_daemon(engine: &str) {
    let say = vec![call(engine, "post", "wind"), Say::Text("it is done".to_owned())];
    let (lab, _server) = lab(engine, "anthropic", say);
    let session = lab.session(json!({ "engine": engine }));
    let turn = lab.send(&session, "look at the notes");
    let pending = || {
        let listed = lab.ask("GET", "/v1/approvals?status=pending", Value::Null).is(200);
        listed["items"][0]["id"].as_str().map(str::to_owned)
    };
    let id = until(pending);
    lab.state_is(&session, "waiting");
    lab.kill_daemon();
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    assert_eq!(pending().as_deref(), Some(id.as_str()), "nobody is asked twice");
    lab.run(&["approvals", "approve", &id]).succeeds();
    let result = lab.result_of(&session, &turn);
    assert_eq!(result["status"], "completed", "{result}");
    let log = lab.log(&session);
    let made: Vec<&Value> = of_type(&log, "tool_result").into_iter().filter(|e| e["output"].to_string().contains("posted wind")).collect();
    assert_eq!(made.len(), 1, "{log:#?}");
    assert!(made[0]["output"].to_string().contains("number 1"), "{made:?}");
}

#[test]
fn a_call_of_mini_waits_through_a_killed_daemon() {
    waits_through_a_killed_daemon("mini");
}

#[test]
fn a_call_of_claude_code_waits_through_a_killed_daemon() {
    waits_through_a_killed_daemon("claude-code");
}
