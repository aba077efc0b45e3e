//! Conversations over the network `terminal`: what is typed goes the way of every message of a network, and nobody else's way.

use serde_json::{Value, json};
use testkit::model_server::{ModelServer, Rule, Say, Script};

use crate::marks;
use crate::support::{KEY, Lab};
use crate::typed::Typed;
use crate::web::Web;

fn rule(contains: &str, say: Vec<Say>) -> Rule {
    Rule { contains: contains.to_owned(), say }
}

fn text(text: &str) -> Say {
    Say::Text(text.to_owned())
}

fn shell(command: &str) -> Say {
    Say::Shell(command.to_owned())
}

fn tool(name: &str, input: Value) -> Say {
    Say::Tool { name: name.to_owned(), input }
}

fn script(rules: Vec<Rule>) -> Script {
    Script { key: Some(KEY.to_owned()), rules, ..Script::default() }
}

fn lab(rules: Vec<Rule>) -> (Lab, ModelServer) {
    let lab = Lab::new();
    let server = lab.model(script(rules));
    lab.connect("anthropic", &server);
    lab.run(&["config", "set", "engine", "mini"]).succeeds();
    (lab, server)
}

/// The last identity of this kind that the model was told of.
fn last_id(server: &ModelServer, prefix: &str) -> String {
    let asked: String = server.requests().iter().map(|request| request.json().to_string()).collect();
    // The schemas of the tools hold the prefix too, with a pattern behind it.
    let is_id = |text: &&str| text.len() >= 32 && text.as_bytes()[..32].iter().all(u8::is_ascii_hexdigit);
    let found = asked.split(prefix).skip(1).filter(is_id).last();
    found.map_or_else(|| panic!("no {prefix} in {asked}"), |rest| format!("{prefix}{}", &rest[..32]))
}

/// Everything that a chat network does, line by line: answers, the host's commands, a question, a confirmation, files both ways, an edit and
/// a reaction; then who else has a part in it, and what shuts it.
#[test]
fn a_conversation_line_by_line_has_all_that_a_network_has() {
    let (lab, server) = lab(vec![
        rule("the tide", vec![text("ebb \u{1b}]0;x\u{7} at noon")]),
        rule("which colour", vec![tool("ask_user", json!({ "question": "Which one?", "options": ["red", "blue"] })), text("thank you")]),
        rule("mark one", vec![shell(&marks::command("one")), text("it is over")]),
        rule("read leaf.txt", vec![shell("cat /home/sandbox/inbox/*/*"), text("it is read")]),
        rule(
            "make a file",
            vec![
                shell("echo report > ~/report.txt"),
                tool("send_file", json!({ "path": "~/report.txt", "caption": "as asked" })),
                text("there it is"),
            ],
        ),
        rule("say it", vec![tool("send_message", json!({ "text": "a draft" })), text("said")]),
    ]);
    marks::install(&lab);
    let web = Web::start(&lab);
    let own = web.owner.clone();
    std::fs::write(lab.path("leaf.txt"), "green").expect("write");
    let lines = b"How is the tide?\n/agent\n/edit How is the ebb?\nwhich colour\nblue\nmark one\n/press approve\nread @leaf.txt\nmake a file\n/save 1 kept.txt\n\
        /keys\nsay it\n";
    let ran = lab.run_with(&["chat", "--channel"], lines).succeeds();
    let mut rest = ran.out.as_str();
    for said in
        ["at noon", "default, called", "Which one?", "thank you", "it is over", "it is read", "as asked", "there it is", "a draft", "said"]
    {
        let at = rest.find(said).unwrap_or_else(|| panic!("no `{said}` in its place: {}\n{}", ran.out, ran.err));
        rest = &rest[at + said.len()..];
    }
    for told in [
        "it was not taken: the message is already being worked on",
        "[2] blue; /press N",
        "file 1: report.txt",
        "kept as kept.txt",
        "/press N ",
    ] {
        assert!(ran.err.contains(told), "no `{told}`: {}", ran.err);
    }
    assert!(!ran.out.contains('\u{1b}'), "no model steers the terminal: {:?}", ran.out);
    assert_eq!(std::fs::read_to_string(lab.path("kept.txt")).expect("a file"), "report\n");
    let sessions = lab.run(&["session", "list", "--json"]).succeeds().events();
    assert_eq!(sessions.len(), 1, "one conversation: {sessions:#?}");
    assert_eq!(marks::made(&lab), ["one"], "confirmed once, done once");
    let log = json!(lab.log(sessions[0]["id"].as_str().expect("an identity"))).to_string();
    assert!(log.contains("green"), "the file came along: {log}");

    // Who comes back sees what changed since.
    let (out, heard) = (last_id(&server, "out_"), last_id(&server, "msg_"));
    server.set_script(script(vec![
        rule(
            "mend it",
            vec![
                tool("edit_message", json!({ "id": out, "text": "all final" })),
                tool("add_reaction", json!({ "id": heard, "emoji": "+1" })),
                text("mended"),
            ],
        ),
        rule("aside", vec![text("just us")]),
    ]));
    let ran = lab.run_with(&["chat", "--channel"], b"mend it\n").succeeds();
    assert!(ran.out.contains("all final") && ran.out.contains("mended") && !ran.out.contains("a draft"), "{}", ran.out);
    assert!(ran.err.contains("+1 on your message: say it") && ran.err.contains("something else before"), "{}", ran.err);

    // Another conversation with the same agent is another one.
    let ran = lab.run_with(&["chat", "--channel", "--chat", "side", "--json"], b"aside\n").succeeds();
    assert_eq!(ran.events().iter().filter_map(|message| message["text"].as_str()).collect::<Vec<_>>(), ["just us"]);
    let of = |chat: &str| web.ask(&own, "GET", &format!("/v1/terminal/chats/default/messages{chat}"), Value::Null).is(200).to_string();
    assert!(of("?chat=side").contains("just us") && !of("").contains("just us") && !of("?chat=side").contains("mended"));
    let chats = web.ask(&own, "GET", "/v1/terminal/chats", Value::Null).is(200);
    let names: Vec<&Value> = chats["items"].as_array().expect("chats").iter().map(|chat| &chat["name"]).collect();
    assert_eq!(names, [&json!("side"), &Value::Null], "{chats:#}");
    lab.run_with(&["chat", "--channel", "--chat", "No.Name"], b"aside\n").fails("USAGE", 2);
    lab.run_with(&["chat", "--channel", "--model", "other"], b"aside\n").fails("USAGE", 2);
    lab.run_with(&["chat", "--channel", "--agent", "nobody"], b"aside\n").fails("NOT_FOUND", 2);

    // The page has no part in it, a program is nobody, and what is whose is asked first.
    let page = "/v1/web/chats/default/messages";
    assert_eq!(web.ask(&own, "GET", page, Value::Null).is(200)["items"], json!([]));
    web.ask(&own, "GET", &format!("{page}?chat=side"), Value::Null).refused(422, "USAGE");
    web.ask(&own, "POST", &format!("{page}/{out}/press"), json!({ "value": "x" })).refused(404, "NOT_FOUND");
    web.ask(&own, "POST", &format!("/v1/terminal/chats/default/messages/{out}/press"), json!({ "value": "x" })).refused(409, "CONFLICT");
    let token = web.token("admin", None).0;
    for (verb, form) in [("GET", Value::Null), ("POST", json!({ "text": "x" }))] {
        web.ask(&token, verb, "/v1/terminal/chats/default/messages", form).refused(403, "FORBIDDEN");
    }
    for form in [json!({ "name": "terminal", "network": "telegram" }), json!({ "name": "mine", "network": "terminal" })] {
        web.ask(&own, "POST", "/v1/channels", form).refused(422, "USAGE");
    }

    // Wirings and switches hold as anywhere.
    for wiring in lab.run(&["wire", "list", "--json"]).succeeds().events() {
        lab.run(&["wire", "remove", wiring["id"].as_str().expect("an identity")]).succeeds();
    }
    let ran = lab.run_with(&["chat", "--channel"], b"mend it\naside\n").ends_with(1);
    assert!(ran.err.contains("it waits: ") && ran.err.contains("lazaret wire add") && !ran.out.contains("mended"), "{}", ran.err);
    lab.run(&["channel", "off", "terminal"]).succeeds();
    lab.run_with(&["chat", "--channel"], b"mend it\n").fails("FORBIDDEN", 3);
}

/// On a terminal: what comes is shown above the line that is typed, also what nobody here asked for, over a daemon that ends.
#[test]
fn on_a_terminal_of_its_own() {
    let (lab, _server) = lab(vec![
        rule("the tide", vec![text("ebb at noon")]),
        rule("wait for it", vec![tool("send_message", json!({ "text": "hold on" })), shell("sleep 600")]),
    ]);
    lab.run_with(&["chat", "--channel"], b"How is the tide?\n").succeeds();
    let mut chat = Typed::start(&lab, &["chat", "--channel"]);
    chat.expect("default on the terminal");
    chat.expect("you: How is the tide?");
    chat.expect("ebb at noon");
    chat.line("/keys");
    chat.expect("/press N");
    chat.line("wait for it");
    // Of two lines that are typed before the prompt is there, the terminal keeps one.
    chat.expect("hold on");
    chat.line("/stop");
    chat.expect("Stopped.");
    lab.run(&["stop", "--grace", "0s"]).succeeds();
    chat.line("/agent");
    chat.expect("default, called");
    let chat_id = lab.run(&["chats", "list", "--json"]).succeeds().events()[0]["id"].as_str().expect("a chat").to_owned();
    lab.ask("POST", &format!("/v1/chats/{chat_id}/test"), Value::Null).is(202);
    chat.expect("messages of this account arrive here");
    chat.line("/quit");
    assert_eq!(chat.ends(), 0, "{}", chat.all());
}
