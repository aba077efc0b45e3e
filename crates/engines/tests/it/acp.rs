//! The Agent Client Protocol: a whole conversation, and agents that do not keep to it.

use lazaret_engines::{self as engines, Carried, Custom, Engine, Exit, Feed, Parsed, Plan, ProgramPath, Wire};
use model::{Code, EventKind, Outcome};
use serde_json::{Value, json};

fn agent(more: &str) -> Custom {
    let text = format!("name = \"agent\"\ncommand = [\"/usr/bin/agent\"]\nprotocol = \"acp\"\n{more}");
    Custom::parse(&text).expect("a description")
}

fn plan<'a>(program: &'a ProgramPath, resume: Option<&'a str>, turn: u64) -> Plan<'a> {
    Plan {
        prompt: "do it",
        model: None,
        resume,
        wire: Wire::Anthropic,
        gateway_port: 1,
        egress_port: None,
        workdir: "/workspace",
        home: "/home/sandbox",
        program,
        memory_bytes: 1 << 30,
        has_instructions: false,
        live: true,
        turn,
        history: None,
        options: engines::Options::default(),
    }
}

/// A talk with an agent: what it says goes in, what it is told and what becomes of it comes out.
struct Talk {
    feed: Feed,
    events: Vec<EventKind>,
    told: Vec<Value>,
}

impl Talk {
    fn open(agent: &Custom, resume: Option<&str>) -> Self {
        let program = agent.program_path();
        let plan = plan(&program, resume, 1);
        let launch = agent.plan(&plan).expect("a launch");
        assert!(launch.stdin_open);
        let first = serde_json::from_slice(&launch.stdin.expect("a first line")).expect("JSON");
        Self { feed: Feed::new(agent.reader(&plan, false, Carried::default())), events: Vec::new(), told: vec![first] }
    }

    fn further(agent: &Custom, session: &str, turn: u64) -> Self {
        let program = agent.program_path();
        let plan = plan(&program, Some(session), turn);
        let line = agent.further(&plan).expect("a line");
        let told = vec![serde_json::from_slice(&line).expect("JSON")];
        Self { feed: Feed::new(agent.reader(&plan, true, Carried::default())), events: Vec::new(), told }
    }

    fn says(&mut self, value: &Value) -> &mut Self {
        for parsed in self.feed.push(format!("{value}\n").as_bytes()) {
            match parsed {
                Parsed::Event(event) => self.events.push(event),
                Parsed::Reply(bytes) => {
                    assert_eq!(bytes.iter().filter(|b| **b == b'\n').count(), 1, "one line");
                    self.told.push(serde_json::from_slice(&bytes).expect("JSON"));
                }
                other => panic!("{other:?}"),
            }
        }
        self
    }

    fn answers(&mut self, result: &Value) -> &mut Self {
        let id = self.last()["id"].clone();
        self.says(&json!({ "jsonrpc": "2.0", "id": id, "result": result }))
    }

    fn refuses(&mut self, message: &str) -> &mut Self {
        let id = self.last()["id"].clone();
        self.says(&json!({ "jsonrpc": "2.0", "id": id, "error": { "code": -32000, "message": message } }))
    }

    fn updates(&mut self, update: &Value) -> &mut Self {
        self.says(&json!({ "jsonrpc": "2.0", "method": "session/update", "params": { "sessionId": "s-1", "update": update } }))
    }

    fn last(&self) -> &Value {
        self.told.last().expect("something was said")
    }

    fn runs(agent: &Custom) -> Self {
        let mut talk = Self::open(agent, None);
        talk.answers(&json!({ "protocolVersion": 1, "agentCapabilities": { "loadSession": true } }))
            .answers(&json!({ "sessionId": "s-1" }));
        assert_eq!(talk.last()["method"], "session/prompt");
        talk
    }

    fn end(self) -> engines::End {
        self.feed.finish_live().1
    }
}

fn text(piece: &str) -> Value {
    json!({ "sessionUpdate": "agent_message_chunk", "content": { "type": "text", "text": piece } })
}

#[test]
fn a_whole_conversation() {
    let agent = agent("auth = \"by-key\"\n");
    let mut talk = Talk::open(&agent, None);
    assert_eq!(talk.last()["method"], "initialize");
    assert_eq!(
        talk.last()["params"]["clientCapabilities"],
        json!({ "fs": { "readTextFile": false, "writeTextFile": false }, "terminal": false })
    );
    talk.answers(&json!({ "protocolVersion": 1 }));
    assert_eq!((&talk.last()["method"], &talk.last()["params"]["methodId"]), (&json!("authenticate"), &json!("by-key")));
    talk.answers(&json!({}));
    assert_eq!((&talk.last()["method"], &talk.last()["params"]["cwd"]), (&json!("session/new"), &json!("/workspace")));
    assert_eq!(talk.last()["params"]["mcpServers"][0]["name"], "lazaret");
    talk.answers(&json!({ "sessionId": "s-1" }));
    let prompt = json!({ "sessionId": "s-1", "prompt": [{ "type": "text", "text": "do it" }] });
    assert_eq!((&talk.last()["method"], &talk.last()["params"]), (&json!("session/prompt"), &prompt));
    let id = talk.last()["id"].clone();

    talk.updates(&json!({ "sessionUpdate": "agent_thought_chunk", "content": { "type": "text", "text": "hm" } }));
    talk.updates(&text("I lo")).updates(&text("ok.\nA")).updates(&text("h"));
    talk.updates(&json!({ "sessionUpdate": "tool_call", "toolCallId": "t1", "title": "ls", "kind": "execute", "status": "pending" }));
    let input = json!({ "command": "ls" });
    talk.updates(&json!({ "sessionUpdate": "tool_call_update", "toolCallId": "t1", "status": "in_progress", "rawInput": input }));
    let content = json!([{ "type": "content", "content": { "type": "text", "text": "a b" } }]);
    let done = json!({ "sessionUpdate": "tool_call_update", "toolCallId": "t1", "status": "completed", "content": content });
    talk.updates(&done).updates(&done);
    talk.updates(&json!({ "sessionUpdate": "plan", "entries": [{ "content": "look", "status": "completed" }] }));
    talk.updates(&text("Two files."));
    let usage = json!({ "inputTokens": 7, "outputTokens": 3 });
    talk.says(&json!({ "jsonrpc": "2.0", "id": id, "result": { "stopReason": "end_turn", "usage": usage } }));
    let say = |text: &str| EventKind::Text { text: text.to_owned() };
    let expect = [
        EventKind::Thinking { text: "hm".to_owned() },
        say("I look.\n"),
        say("Ah"),
        EventKind::ToolCall { id: "t1".to_owned(), name: "execute".to_owned(), input },
        EventKind::ToolResult { id: "t1".to_owned(), output: "a b".to_owned(), is_error: false },
        EventKind::Notice { text: "the plan:\n[x] look".to_owned() },
        say("Two files."),
    ];
    assert_eq!(talk.events, expect);
    assert!(talk.feed.is_over() && !talk.feed.must_end() && talk.feed.interrupt().is_empty());
    let end = talk.end();
    assert_eq!((end.outcome, end.text.as_str(), end.engine_session.as_deref()), (Outcome::Completed, "Two files.", Some("s-1")));
    assert_eq!((end.usage.input_tokens, end.usage.output_tokens), (7, 3));
}

#[test]
fn a_further_turn_has_a_number_of_its_own() {
    let agent = agent("");
    let first = Talk::runs(&agent).last()["id"].clone();
    let mut talk = Talk::further(&agent, "s-1", 2);
    assert_ne!(talk.last()["id"], first);
    // A late answer to the turn before ends nothing.
    talk.says(&json!({ "jsonrpc": "2.0", "id": first, "result": { "stopReason": "end_turn" } }));
    assert!(!talk.feed.is_over());
    talk.updates(&text("yes")).answers(&json!({ "stopReason": "end_turn" }));
    assert!(talk.feed.is_over());
    assert_eq!(talk.end().text, "yes");
}

#[test]
fn a_conversation_is_gone_on_with_or_begun_anew() {
    let agent = agent("");
    let can = |load: bool| json!({ "protocolVersion": 1, "agentCapabilities": { "loadSession": load } });
    let mut talk = Talk::open(&agent, Some("s-1"));
    talk.answers(&can(true));
    assert_eq!((&talk.last()["method"], &talk.last()["params"]["sessionId"]), (&json!("session/load"), &json!("s-1")));
    // What was said before is in the log already.
    talk.updates(&text("long ago")).answers(&Value::Null);
    // Some tell it after their answer.
    assert_eq!(talk.last()["method"], "_lazaret/ready");
    talk.updates(&text("long ago, late")).refuses("what?");
    assert_eq!((&talk.last()["method"], talk.events.len()), (&json!("session/prompt"), 0));
    assert_eq!(talk.last()["params"]["sessionId"], "s-1");

    let mut talk = Talk::open(&agent, Some("s-1"));
    talk.answers(&can(true)).refuses("who?");
    assert_eq!(talk.last()["method"], "session/new");
    talk.answers(&json!({ "sessionId": "s-2" }));
    assert_eq!(talk.last()["params"]["sessionId"], "s-2");
    assert!(matches!(&talk.events[..], [EventKind::Notice { text }] if text.contains("who?")), "{:?}", talk.events);

    let mut talk = Talk::open(&agent, Some("s-1"));
    talk.answers(&can(false));
    assert_eq!((&talk.last()["method"], talk.events.len()), (&json!("session/new"), 1));
}

#[test]
fn an_agent_that_remembers_nothing_is_told_what_was_said() {
    for (more, load) in [("", false), ("load = false\n", true)] {
        let agent = agent(more);
        let program = agent.program_path();
        let plan = Plan { history: Some("User: hello"), ..plan(&program, Some("s-1"), 2) };
        let mut talk =
            Talk { feed: Feed::new(agent.reader(&plan, false, Carried::default())), events: Vec::new(), told: vec![json!({ "id": 1 })] };
        talk.answers(&json!({ "protocolVersion": 1, "agentCapabilities": { "loadSession": load } }));
        assert_eq!(talk.last()["method"], "session/new");
        talk.answers(&json!({ "sessionId": "s-2" }));
        let asked = talk.last()["params"]["prompt"][0]["text"].as_str().expect("a text").to_owned();
        assert!(asked.contains("User: hello") && asked.ends_with("do it"), "{asked}");
    }
}

#[test]
fn permission_is_given_and_nothing_of_the_host_is_offered() {
    let mut talk = Talk::runs(&agent(""));
    let prompt = talk.last()["id"].clone();
    let options = json!([{ "optionId": "no", "kind": "reject_once" }, { "optionId": "ever", "kind": "allow_always" }, { "optionId": "yes", "kind": "allow_once" }]);
    let ask = |session: &str, id: Value| {
        let params = json!({ "sessionId": session, "toolCall": { "toolCallId": "t", "title": "rm" }, "options": options });
        json!({ "jsonrpc": "2.0", "id": id, "method": "session/request_permission", "params": params })
    };
    talk.says(&ask("s-1", json!("a")));
    assert_eq!(
        (&talk.last()["id"], &talk.last()["result"]["outcome"]),
        (&json!("a"), &json!({ "outcome": "selected", "optionId": "yes" }))
    );
    talk.says(&ask("another", json!(0)));
    assert_eq!((&talk.last()["id"], &talk.last()["result"]["outcome"]), (&json!(0), &json!({ "outcome": "cancelled" })));
    for method in ["fs/read_text_file", "fs/write_text_file", "terminal/create", "elicitation/create", "_own"] {
        talk.says(&json!({ "jsonrpc": "2.0", "id": 5, "method": method, "params": { "sessionId": "s-1", "path": "/etc/shadow" } }));
        assert_eq!((&talk.last()["id"], &talk.last()["error"]["code"]), (&json!(5), &json!(-32601)), "{method}");
    }
    // No identity, no answer.
    let before = talk.told.len();
    for id in [Value::Null, json!({ "a": 1 }), json!("x".repeat(10_000))] {
        talk.says(&json!({ "jsonrpc": "2.0", "id": id, "method": "fs/read_text_file" }));
    }
    assert_eq!(talk.told.len(), before);
    talk.says(&json!({ "jsonrpc": "2.0", "id": prompt, "result": { "stopReason": "end_turn" } }));
    // A call that was announced and came to nothing is shown.
    assert!(talk.events.iter().any(|e| matches!(e, EventKind::ToolCall { name, .. } if name == "rm")), "{:?}", talk.events);
}

#[test]
fn why_a_turn_stopped_is_told() {
    let reasons = [
        ("end_turn", None),
        ("max_tokens", Some(Code::EngineFailed)),
        ("max_turn_requests", Some(Code::TurnLimit)),
        ("refusal", Some(Code::EngineFailed)),
        ("cancelled", Some(Code::EngineFailed)),
        ("boredom", Some(Code::EngineFailed)),
    ];
    for (reason, code) in reasons {
        let mut talk = Talk::runs(&agent(""));
        talk.answers(&json!({ "stopReason": reason }));
        assert_eq!(talk.end().code, code, "{reason}");
    }
    let mut talk = Talk::runs(&agent(""));
    talk.refuses("API key not valid");
    assert!(talk.feed.is_over());
    assert_eq!(talk.end().code, Some(Code::CredentialExpired));
}

#[test]
fn a_turn_is_asked_to_end() {
    let talk = Talk::runs(&agent(""));
    let word: Value = serde_json::from_slice(&talk.feed.interrupt()).expect("JSON");
    assert_eq!((&word["method"], &word["params"]["sessionId"], word.get("id")), (&json!("session/cancel"), &json!("s-1"), None));
    assert!(Talk::open(&agent(""), None).feed.interrupt().is_empty(), "there is no session yet");
}

#[test]
fn a_conversation_that_cannot_be_had_ends_the_process() {
    let broken = |say: &dyn Fn(&mut Talk)| {
        let mut talk = Talk::open(&agent(""), None);
        say(&mut talk);
        assert!(talk.feed.must_end() && !talk.feed.is_over());
        let (_, end) = talk.feed.finish(Exit { code: None, signal: Some(9) }, "");
        assert_eq!((end.outcome, end.engine_session), (Outcome::Failed, None));
        end.message.expect("a reason")
    };
    let started = json!({ "protocolVersion": 1 });
    assert!(
        broken(&|t| {
            t.answers(&json!({ "protocolVersion": 2 }));
        })
        .contains("version 2")
    );
    assert!(
        broken(&|t| {
            t.answers(&json!([]));
        })
        .contains("version 0")
    );
    assert!(
        broken(&|t| {
            t.refuses("no");
        })
        .contains("no")
    );
    assert!(
        broken(&|t| {
            t.answers(&started).refuses("Authentication required");
        })
        .contains("Authentication")
    );
    for name in [json!("../../x"), json!("--resume"), json!(""), json!(7), json!("x".repeat(300)), Value::Null] {
        assert!(
            broken(&|t| {
                t.answers(&started).answers(&json!({ "sessionId": name }));
            })
            .contains("no plain name")
        );
    }
}

/// Answers that nobody waits for, updates for others, and what is no message at all change nothing.
#[test]
fn what_nobody_asked_for_means_nothing() {
    let mut talk = Talk::runs(&agent(""));
    let told = talk.told.len();
    for id in [0, 1, 2, 3, 4, 999, 1000, 1002] {
        talk.says(&json!({ "jsonrpc": "2.0", "id": id, "result": { "stopReason": "end_turn", "sessionId": "s-9" } }));
        talk.says(&json!({ "jsonrpc": "2.0", "id": id, "error": { "message": "x" } }));
    }
    let other = json!({ "sessionId": "s-9", "update": text("not mine") });
    talk.says(&json!({ "jsonrpc": "2.0", "method": "session/update", "params": other }));
    talk.says(&json!([{ "id": 1001, "result": {} }])).says(&json!("text")).says(&Value::Null);
    talk.says(&json!({ "method": "session/update", "params": [] })).says(&json!({ "id": "1001", "result": { "stopReason": "end_turn" } }));
    talk.updates(&json!({ "sessionUpdate": "tool_call", "toolCallId": "" })).updates(&json!({ "sessionUpdate": "something_else" }));
    assert_eq!((talk.told.len(), talk.events.len(), talk.feed.is_over()), (told, 0, false));
    // After the end, nothing is heard.
    talk.answers(&json!({ "stopReason": "end_turn" }));
    let events = talk.events.len();
    talk.updates(&text("more\n")).says(&json!({ "jsonrpc": "2.0", "id": 8, "method": "session/request_permission" }));
    assert_eq!((talk.events.len(), talk.told.len()), (events, told));
}

#[test]
fn a_flood_of_calls_is_held_within_bounds() {
    let mut talk = Talk::runs(&agent(""));
    let long = "y".repeat(100_000);
    for n in 0..500 {
        talk.updates(&json!({ "sessionUpdate": "tool_call", "toolCallId": n.to_string(), "title": long, "rawInput": { "a": long }, "status": "pending" }));
    }
    talk.answers(&json!({ "stopReason": "end_turn" }));
    let calls = talk.events.iter().filter(|e| matches!(e, EventKind::ToolCall { .. })).count();
    assert_eq!(calls, 500, "each was told once");
}

#[test]
fn an_agent_that_ends_early_fails_the_turn_and_keeps_its_session() {
    let mut talk = Talk::runs(&agent(""));
    talk.updates(&text("half"));
    let (_, end) = talk.feed.finish(Exit { code: Some(0), signal: None }, "");
    assert_eq!((end.code, end.text.as_str(), end.engine_session.as_deref()), (Some(Code::EngineFailed), "half", Some("s-1")));
}

#[test]
fn a_server_by_its_address_needs_an_agent_that_takes_one() {
    let agent = agent("");
    let program = agent.program_path();
    let config =
        json!({ "far": { "url": "http://127.0.0.1:9/mcp", "headers": { "a": "b" } }, "near": { "command": "x", "env": { "k": "v" } } });
    let asks = Plan { options: engines::Options { mcp_config: Some(&config), ..engines::Options::default() }, ..plan(&program, None, 1) };
    for takes in [true, false] {
        let mut talk =
            Talk { feed: Feed::new(agent.reader(&asks, false, Carried::default())), events: Vec::new(), told: vec![json!({ "id": 1 })] };
        talk.answers(&json!({ "protocolVersion": 1, "agentCapabilities": { "mcpCapabilities": { "http": takes } } }));
        assert_eq!(talk.feed.must_end(), !takes);
        if takes {
            let servers = &talk.last()["params"]["mcpServers"];
            assert_eq!(
                servers[1],
                json!({ "type": "http", "name": "far", "url": "http://127.0.0.1:9/mcp", "headers": [{ "name": "a", "value": "b" }] })
            );
            assert_eq!(servers[2], json!({ "name": "near", "command": "x", "args": [], "env": [{ "name": "k", "value": "v" }] }));
        }
    }
}

#[test]
fn a_description_that_cannot_be_meant_is_refused() {
    let refused = |more: &str| Custom::parse(&format!("name = \"agent\"\n{more}")).expect_err(more).to_string();
    let acp = "command = [\"/bin/a\"]\nprotocol = \"acp\"\n";
    assert!(refused(&format!("{acp}prompt = \"last\"\n")).contains("told by the protocol"));
    assert!(refused(&format!("{acp}mcp_config = [\"--mcp\", \"x\"]\n")).contains("told by the protocol"));
    assert!(refused("command = [\"/bin/a\"]\nauth = \"x\"\n").contains("auth"));
    assert!(refused("command = [\"{program}\"]\n").contains("absolute"));
    assert!(refused("command = [\"/bin/a\"]\ninstalled = \"codex\"\n").contains("{program}"));
    assert!(refused("command = [\"{program}\"]\ninstalled = \"mini\"\n").contains("installed"));
    assert!(refused("command = [\"/bin/a\"]\n[files]\n\"{home}/../x\" = \"\"\n").contains("path"));
}
