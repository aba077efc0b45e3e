//! What agents do through tools of the daemon's own, through the shipped program: what they say where, what they ask whom, what they plan, and
//! whom they make. Each refusal stands beside the same call where it is allowed.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::channel::{Effect, LabNetwork, TOKEN, pressed, said};
use testkit::model_server::{ModelServer, Rule, Say, Script};

use crate::engines::install;
use crate::http::PATIENCE;
use crate::registry::Registry;
use crate::support::{KEY, Lab};
use crate::tools::{printed, publish_wheel};

/// A daemon with one account of the lab's network, an engine and a model that follows rules.
pub(crate) fn joined(engine: &str, rules: Vec<Rule>) -> (Lab, ModelServer, LabNetwork) {
    let lab = Lab::new();
    if engine != "mini" {
        install(&lab, engine);
    }
    let server = lab.model(Script { key: Some(KEY.to_owned()), rules, ..Script::default() });
    lab.connect("anthropic", &server);
    lab.run(&["config", "set", "engine", engine]).succeeds();
    let network = LabNetwork::start().expect("a network");
    lab.run(&["config", "set", "egress.private_ok", "[\"127.0.0.1\"]"]).succeeds();
    LabNetwork::install(&lab.home()).expect("the program");
    lab.run(&["stop", "--grace", "0s"]).succeeds();
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    let base = format!("base_url={}", network.base_url());
    let add = ["channel", "add", "lab", "--network", "lab", "--program", "lab", "--config", &base, "--credential", "-"];
    lab.run_with(&add, TOKEN.as_bytes()).succeeds();
    until(|| {
        let view = lab.ask("GET", "/v1/channels/lab", Value::Null).is(200);
        (view["health"] == "well").then_some(()).ok_or(view)
    });
    (lab, server, network)
}

/// Waits until something is so.
#[track_caller]
pub(crate) fn until<T>(mut look: impl FnMut() -> Result<T, Value>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        match look() {
            Ok(found) => return found,
            Err(seen) => assert!(Instant::now() < end, "it never came to be so: {seen:#}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn in_chat<'a>(effects: &'a [Effect], chat: &str) -> Vec<&'a str> {
    effects.iter().filter(|effect| effect.chat == chat && effect.act["do"] == "send").map(Effect::text).collect()
}

pub(crate) fn with(effects: &[Effect], text: &str) -> bool {
    effects.iter().any(|effect| effect.text().contains(text))
}

/// Somebody proves with a code that a chat is theirs.
pub(crate) fn pair(lab: &Lab, network: &LabNetwork, chat: &str, sender: &str, role: &str) {
    pair_with(lab, network, "default", chat, sender, role);
}

fn pair_with(lab: &Lab, network: &LabNetwork, agent: &str, chat: &str, sender: &str, role: &str) {
    let made = lab.run(&["wire", "pair", "--agent", agent, "--role", role]).succeeds();
    network.say(said(&format!("pair-{sender}-{chat}"), chat, sender, made.out.trim()));
    network.wait(PATIENCE, |effects| in_chat(effects, chat).iter().any(|text| text.starts_with("Paired")));
}

fn tool(name: &str, input: Value) -> Say {
    Say::Tool { name: name.to_owned(), input }
}

fn mcp(name: &str, input: Value) -> Say {
    tool(&format!("mcp__lazaret__{name}"), input)
}

pub(crate) fn rule(contains: &str, say: Vec<Say>) -> Rule {
    Rule { contains: contains.to_owned(), say }
}

pub(crate) fn text(text: &str) -> Say {
    Say::Text(text.to_owned())
}

/// What the model was told that a tool gave, all of it.
pub(crate) fn told(server: &ModelServer) -> String {
    server.requests().iter().map(|request| request.json().to_string()).collect()
}

fn conversation(engine: &str, call: fn(&str, Value) -> Say) {
    let rules = vec![
        rule(
            "write to both",
            vec![
                call("list_destinations", json!({})),
                call("send_message", json!({ "text": "first of all" })),
                call("send_message", json!({ "to": "g-team", "text": "the team hears this" })),
                call("send_card", json!({ "title": "Rain", "fields": [{ "name": "Wind", "value": "7" }] })),
                text("that is all"),
            ],
        ),
        rule(
            "make a file",
            vec![
                Say::Shell("echo report > ~/report.txt".to_owned()),
                call("send_file", json!({ "path": "~/report.txt", "caption": "as asked" })),
                text("there it is"),
            ],
        ),
        rule("which colour", vec![call("ask_user", json!({ "question": "Which one?", "options": ["red", "blue"] })), text("thank you")]),
    ];
    let (lab, server, network) = joined(engine, rules);
    pair(&lab, &network, "d-ann", "ann", "owner");
    pair(&lab, &network, "g-team", "ann", "owner");
    network.say(said("m1", "d-ann", "ann", "write to both"));
    let effects = network.wait(PATIENCE, |effects| with(effects, "that is all"));
    let here: Vec<&str> = in_chat(&effects, "d-ann").into_iter().filter(|text| !text.starts_with("Paired")).collect();
    assert_eq!(here, ["first of all", "**Rain**\n\n- Wind: 7", "that is all"], "{effects:#?}");
    // Another chat has an order of its own.
    let effects = network.wait(PATIENCE, |effects| in_chat(effects, "g-team").iter().any(|text| text.contains("the team hears this")));
    assert_eq!(in_chat(&effects, "g-team").iter().filter(|text| text.contains("the team hears this")).count(), 1);
    let asked = told(&server);
    assert!(asked.contains("g-team") && asked.contains("destinations"), "{asked}");
    // A file of the sandbox's.
    network.say(said("m2", "d-ann", "ann", "make a file"));
    let effects = network.wait(PATIENCE, |effects| with(effects, "there it is"));
    let sent = effects.iter().find(|effect| effect.text() == "as asked").expect("the file");
    assert_eq!(sent.act["files"][0]["name"], "report.txt", "{sent:#?}");
    // A question waits for its answer, with buttons, and the turn goes on with it.
    network.say(said("m3", "d-ann", "ann", "which colour"));
    let effects = network.wait(PATIENCE, |effects| with(effects, "Which one?"));
    let card = effects.iter().find(|effect| effect.text().contains("Which one?")).expect("a question");
    let value = card.act["buttons"][1]["value"].as_str().expect("a button").to_owned();
    network.say(pressed("b0", "d-ann", "eve", &value));
    network.wait(PATIENCE, |effects| with(effects, "asked of somebody else"));
    assert!(!with(&network.effects(), "thank you"));
    network.say(pressed("b1", "d-ann", "ann", &value));
    network.wait(PATIENCE, |effects| with(effects, "thank you"));
    if engine != "mini" {
        assert!(told(&server).contains("blue"), "the answer reaches the model");
    }
}

#[test]
fn an_agent_writes_asks_and_sends_files_where_it_may() {
    conversation("mini", tool);
}

#[test]
fn claude_code_writes_asks_and_sends_files_over_mcp() {
    conversation("claude-code", mcp);
}

#[test]
fn nothing_is_sent_where_no_name_leads_and_nothing_that_is_not_the_agents() {
    let rules = vec![
        rule("send afar", vec![tool("send_message", json!({ "to": "d-bob", "text": "to a place of another agent's" })), text("done")]),
        rule("send near", vec![tool("send_message", json!({ "to": "d-ann", "text": "to a place of its own" })), text("done")]),
        rule(
            "take a file",
            vec![
                Say::Shell("ln -s /etc/hostname ~/link; mkdir -p ~/d; ln -s /etc ~/d/etc".to_owned()),
                tool("send_file", json!({ "path": "~/link" })),
                tool("send_file", json!({ "path": "~/d/etc/hostname" })),
                tool("send_file", json!({ "path": "/etc/passwd" })),
                tool("send_file", json!({ "path": "/workspace/../etc/passwd" })),
                text("no file went"),
            ],
        ),
        rule("flood", (0..40).map(|n| tool("send_message", json!({ "text": format!("drop {n}") }))).chain([text("it is over")]).collect()),
        rule(
            "edit another's",
            vec![
                tool("edit_message", json!({ "id": format!("out_{:032x}", 7) , "text": "mine now" })),
                tool("add_reaction", json!({ "id": format!("msg_{:032x}", 7), "emoji": "+1" })),
                text("nothing changed"),
            ],
        ),
    ];
    let (lab, server, network) = joined("mini", rules);
    lab.run(&["agent", "add", "other"]).succeeds();
    pair(&lab, &network, "d-ann", "ann", "owner");
    pair_with(&lab, &network, "other", "d-bob", "bob", "member");
    network.say(said("m1", "d-ann", "ann", "send afar"));
    network.wait(PATIENCE, |effects| in_chat(effects, "d-ann").contains(&"done"));
    assert!(!with(&network.effects(), "to a place of another agent's"));
    assert!(told(&server).contains("may not send to"), "{}", told(&server));
    // The same call to a name of its own.
    network.say(said("m2", "d-ann", "ann", "send near"));
    network.wait(PATIENCE, |effects| with(effects, "to a place of its own"));
    network.say(said("m3", "d-ann", "ann", "take a file"));
    let effects = network.wait(PATIENCE, |effects| with(effects, "no file went"));
    assert!(effects.iter().all(|effect| effect.act["files"].as_array().is_none_or(Vec::is_empty)), "{effects:#?}");
    network.say(said("m4", "d-ann", "ann", "edit another's"));
    let effects = network.wait(PATIENCE, |effects| with(effects, "nothing changed"));
    assert!(effects.iter().all(|effect| effect.act["do"] == "send"), "{effects:#?}");
    network.say(said("m5", "d-ann", "ann", "flood"));
    let effects = network.wait(PATIENCE, |effects| with(effects, "it is over"));
    assert_eq!(in_chat(&effects, "d-ann").iter().filter(|text| text.starts_with("drop")).count(), 30, "{effects:#?}");
}

#[test]
fn what_was_sent_is_edited_and_what_was_heard_is_reacted_to() {
    let (lab, server, network) = joined("mini", vec![rule("say it", vec![tool("send_message", json!({ "text": "draft" })), text("said")])]);
    pair(&lab, &network, "d-ann", "ann", "owner");
    network.say(said("m1", "d-ann", "ann", "say it"));
    network.wait(PATIENCE, |effects| with(effects, "said"));
    let asked = told(&server);
    let id_of = |prefix: &str| {
        // The schemas of the tools hold the prefix too, with a pattern behind it.
        let is_id = |text: &&str| text.len() >= 32 && text.as_bytes()[..32].iter().all(u8::is_ascii_hexdigit);
        let found = asked.split(prefix).skip(1).filter(is_id).last();
        found.map_or_else(|| panic!("{prefix} in {asked}"), |rest| format!("{prefix}{}", &rest[..32]))
    };
    let (out, heard) = (id_of("out_"), id_of("msg_"));
    let rules = vec![rule(
        "mend it",
        vec![
            tool("edit_message", json!({ "id": out, "text": "final" })),
            tool("add_reaction", json!({ "id": heard, "emoji": "+1" })),
            text("mended"),
        ],
    )];
    server.set_script(Script { key: Some(KEY.to_owned()), rules, ..Script::default() });
    network.say(said("m2", "d-ann", "ann", "mend it"));
    let effects = network.wait(PATIENCE, |effects| with(effects, "mended"));
    let draft = effects.iter().find(|effect| effect.text() == "draft").expect("it");
    assert!(
        effects.iter().any(|effect| effect.act["do"] == "edit" && effect.act["text"] == "final" && effect.act["message"] == draft.message),
        "{effects:#?}"
    );
    assert!(
        effects.iter().any(|effect| effect.act["do"] == "react" && effect.act["emoji"] == "+1" && effect.act["message"] == "m1"),
        "{effects:#?}"
    );
}

#[test]
fn what_is_asked_for_later_is_done_then_and_told_where_it_was_asked() {
    let once = json!({ "prompt": "remind me of the rain", "in": "1s", "name": "rain" });
    let gated = |script: &str| json!({ "prompt": "the gate let me", "cron": "0 0 1 1 *", "name": "gated", "script": script });
    let rules = vec![
        rule("remind me of the rain", vec![text("it rains")]),
        rule("the gate let me", vec![text("the gate was open")]),
        rule("in a second", vec![tool("schedule_task", once), text("it is planned")]),
        rule(
            "with a gate",
            vec![
                tool("schedule_task", gated("echo '{\"wakeAgent\": false, \"data\": \"nothing new\"}'")),
                tool("run_task", json!({ "task": "gated" })),
                text("gate is planned"),
            ],
        ),
        rule(
            "open it",
            vec![
                tool("update_task", json!({ "task": "gated", "script": "echo 3 new mails" })),
                tool("run_task", json!({ "task": "gated" })),
                text("gate is changed"),
            ],
        ),
        rule("too often", vec![tool("schedule_task", json!({ "prompt": "x", "cron": "* * * * *" })), text("that was refused")]),
        rule("what is planned", vec![tool("list_tasks", json!({})), tool("pause_task", json!({ "task": "gated" })), text("listed")]),
        rule("go on with it", vec![tool("resume_task", json!({ "task": "gated" })), text("it goes on")]),
        rule("forget it", vec![tool("cancel_task", json!({ "task": "gated" })), text("forgotten")]),
    ];
    let (lab, server, network) = joined("mini", rules);
    pair(&lab, &network, "d-ann", "ann", "member");
    pair(&lab, &network, "d-bob", "bob", "member");
    network.say(said("m1", "d-ann", "ann", "in a second"));
    let effects = network.wait(PATIENCE, |effects| with(effects, "it rains"));
    assert!(in_chat(&effects, "d-bob").iter().all(|text| !text.contains("it rains")), "{effects:#?}");
    // A gate that says no costs no call of the model.
    network.say(said("m2", "d-ann", "ann", "with a gate"));
    network.wait(PATIENCE, |effects| with(effects, "gate is planned"));
    let log = |lab: &Lab| lab.ask("GET", "/v1/tasks/gated/log", Value::Null).is(200)["items"].clone();
    let note = until(|| {
        let log = log(&lab);
        let note = log[0]["note"].as_str().map(str::to_owned);
        if log[0]["status"] == "done" { Ok(note.unwrap_or_default()) } else { Err(log) }
    });
    assert!(note.contains("nothing new"), "{note}");
    assert!(!with(&network.effects(), "the gate was open"));
    // What an open one prints is told.
    network.say(said("m3", "d-ann", "ann", "open it"));
    network.wait(PATIENCE, |effects| with(effects, "the gate was open"));
    assert!(told(&server).contains("3 new mails"));
    network.say(said("m4", "d-ann", "ann", "too often"));
    network.wait(PATIENCE, |effects| with(effects, "that was refused"));
    assert!(told(&server).contains("more often than every 15 minutes"));
    // Whoever did not make it sees nothing of it, and changes nothing.
    network.say(said("m5", "d-bob", "bob", "forget it"));
    network.wait(PATIENCE, |effects| in_chat(effects, "d-bob").contains(&"forgotten"));
    assert!(told(&server).contains("there is no such task here"));
    network.say(said("m6", "d-bob", "bob", "/tasks"));
    network.wait(PATIENCE, |effects| in_chat(effects, "d-bob").contains(&"There are no tasks."));
    network.say(said("m7", "d-ann", "ann", "/tasks run gated"));
    network.wait(PATIENCE, |effects| in_chat(effects, "d-ann").iter().filter(|text| **text == "the gate was open").count() == 2);
    network.say(said("m8", "d-ann", "ann", "what is planned"));
    network.wait(PATIENCE, |effects| in_chat(effects, "d-ann").contains(&"listed"));
    network.say(said("m9", "d-ann", "ann", "/tasks"));
    network.wait(PATIENCE, |effects| in_chat(effects, "d-ann").iter().any(|text| text.contains("gated: paused")));
    network.say(said("m10", "d-ann", "ann", "go on with it"));
    network.wait(PATIENCE, |effects| in_chat(effects, "d-ann").contains(&"it goes on"));
    assert_eq!(lab.ask("GET", "/v1/tasks/gated", Value::Null).is(200)["status"], "active");
    network.say(said("m11", "d-ann", "ann", "forget it"));
    network.wait(PATIENCE, |effects| in_chat(effects, "d-ann").contains(&"forgotten"));
    assert_eq!(lab.ask("GET", "/v1/tasks/gated", Value::Null).status, 404);
}

#[test]
fn a_task_of_somebody_who_may_ask_no_more_is_stopped_and_told() {
    let daily = json!({ "prompt": "the daily news", "cron": "0 0 1 1 *", "name": "news" });
    let failing = json!({ "prompt": "never asked", "cron": "0 0 1 1 *", "name": "broken", "script": "exit 3" });
    let rules = vec![
        rule("the daily news", vec![text("nothing happened")]),
        rule("each day", vec![tool("schedule_task", daily), tool("schedule_task", failing), text("planned")]),
    ];
    let (lab, _server, network) = joined("mini", rules);
    pair(&lab, &network, "d-ann", "ann", "member");
    network.say(said("m1", "d-ann", "ann", "each day"));
    network.wait(PATIENCE, |effects| with(effects, "planned"));
    // The control: while she may, it is done.
    lab.run(&["task", "run", "news"]).succeeds();
    network.wait(PATIENCE, |effects| with(effects, "nothing happened"));
    // One whose script fails, fails; after as many as it takes it is stopped, and she is told.
    for n in 1..=8_u64 {
        lab.run(&["task", "run", "broken"]).succeeds();
        until(|| {
            let view = lab.ask("GET", "/v1/tasks/broken", Value::Null).is(200);
            (view["failures"].as_u64() == Some(n)).then_some(()).ok_or(view)
        });
    }
    network
        .wait(PATIENCE, |effects| in_chat(effects, "d-ann").iter().any(|text| text.contains("broken") && text.contains("failed 8 times")));
    assert_eq!(lab.ask("GET", "/v1/tasks/broken", Value::Null).is(200)["status"], "broken");
    lab.ask("DELETE", "/v1/handles/lab/ann", Value::Null).is(200);
    lab.run(&["task", "run", "news"]).succeeds();
    network.wait(PATIENCE, |effects| in_chat(effects, "d-ann").iter().any(|text| text.contains("news") && text.contains("is stopped")));
    assert_eq!(lab.ask("GET", "/v1/tasks/news", Value::Null).is(200)["status"], "paused");
    assert_eq!(network.effects().iter().filter(|effect| effect.text() == "nothing happened").count(), 1);
}

#[test]
fn agents_talk_over_destinations_and_the_answer_comes_back_to_who_asked() {
    let helper = json!({ "name": "helper", "instructions": "You count.", "tools": ["send_message"] });
    let too_much = json!({ "name": "more", "instructions": "x", "tools": ["install_packages"] });
    let rules = vec![
        // What the helper is asked, and what its answer becomes.
        rule("from_agent", vec![text("there are 42")]),
        rule("reply agent", vec![text("the helper says 42")]),
        rule("make a helper", vec![tool("create_agent", too_much), tool("create_agent", helper), text("it is made")]),
        rule("ask the helper", vec![tool("send_message", json!({ "to": "helper", "text": "how many?" })), text("I asked")]),
        rule("ask nobody", vec![tool("send_message", json!({ "to": "other", "text": "how many?" })), text("I asked nobody")]),
    ];
    let (lab, server, network) = joined("mini", rules);
    lab.run(&["agent", "add", "other"]).succeeds();
    let tools = json!(["send_message", "create_agent", "list_destinations"]);
    lab.ask("POST", "/v1/agents", json!({ "name": "default", "tools": tools })).is(201);
    pair(&lab, &network, "d-ann", "ann", "admin");
    network.say(said("m1", "d-ann", "ann", "make a helper"));
    let card =
        |effects: &[Effect]| effects.iter().find(|effect| effect.text().contains("create_agent") && effect.button(0).is_some()).cloned();
    // More than its maker has is refused before anybody is troubled, or when it is called.
    let mut answered = std::collections::HashSet::new();
    for n in 0..2 {
        let effects = network.wait(PATIENCE, |effects| {
            with(effects, "it is made")
                || effects.iter().any(|e| e.text().contains("create_agent") && e.button(0).is_some() && !answered.contains(&e.id))
        });
        if with(&effects, "it is made") {
            break;
        }
        let one = effects
            .iter()
            .find(|e| e.text().contains("create_agent") && e.button(0).is_some() && !answered.contains(&e.id))
            .expect("a card")
            .clone();
        answered.insert(one.id.clone());
        network.say(pressed(&format!("b{n}"), "d-ann", "ann", &one.button(0).expect("a button")));
    }
    network.wait(PATIENCE, |effects| with(effects, "it is made"));
    assert!(card(&network.effects()).is_some_and(|card| card.text().contains("You count.") || card.text().contains("install_packages")));
    assert_eq!(lab.ask("GET", "/v1/agents/more", Value::Null).status, 404);
    assert!(told(&server).contains("you may not call install_packages"), "{}", told(&server));
    let made = lab.ask("GET", "/v1/agents/helper", Value::Null).is(200);
    assert_eq!((&made["instructions"], &made["tools"]), (&json!("You count."), &json!(["send_message"])), "{made:#}");
    network.say(said("m2", "d-ann", "ann", "ask nobody"));
    network.wait(PATIENCE, |effects| with(effects, "I asked nobody"));
    assert!(told(&server).contains("may not send to"));
    network.say(said("m3", "d-ann", "ann", "ask the helper"));
    let effects = network.wait(PATIENCE, |effects| with(effects, "the helper says 42"));
    // Its own answer goes to the agent that asked, and not to the chat.
    assert!(!effects.iter().any(|effect| effect.text() == "there are 42"), "{effects:#?}");
    let asked = told(&server);
    assert!(asked.contains("message from_agent=") && asked.contains("parent"), "{asked}");
}

/// A person says yes to what one agent asked for: that agent has it, and no other. The control: what is installed for all, both have.
#[test]
fn what_an_agent_was_allowed_is_its_own() {
    let package = json!({ "packages": ["harbour==1.0"], "reason": "to say where we are" });
    let server = json!({ "name": "tides", "command": ["own-server"], "reason": "to know the level" });
    let run = "harbour-tool 2>/dev/null || echo none; python3 -c 'import harbour' 2>/dev/null || echo no library; shared-tool";
    let rules = vec![
        rule("the server tides", vec![text("I have a server")]),
        rule("harbour 1.0", vec![Say::Shell(run.to_owned()), text("I ran it")]),
        rule("get it", vec![tool("install_packages", package), text("it is asked")]),
        rule("connect it", vec![tool("add_mcp_server", server), text("a server is asked")]),
        rule("try it", vec![Say::Shell(run.to_owned()), text("tried")]),
    ];
    let (lab, model, network) = joined("mini", rules);
    let index = lab.path("index");
    publish_wheel(&index, "1.0");
    let registry = Registry::of(index);
    lab.run(&["config", "set", "tools.index", &format!("http://127.0.0.1:{}/simple", registry.port)]).succeeds();
    lab.ask("POST", "/v1/reload", Value::Null).is(200);
    lab.ask("POST", "/v1/agents", json!({ "name": "default", "tools": ["install_packages", "add_mcp_server"] })).is(201);
    lab.run(&["agent", "add", "bert"]).succeeds();
    lab.ask_with("PUT", "/v1/tools/files/shared-tool", &[], b"#!/bin/sh\necho for all\n").is(201);
    pair(&lab, &network, "d-ann", "ann", "owner");

    // A card may come in parts: the last of them has the buttons.
    let confirmed = |ask: &str, n: usize, shows: &[String]| {
        network.say(said(&format!("m-{n}"), "d-ann", "ann", ask));
        let card = |effects: &[Effect]| effects.iter().filter(|e| e.act["do"] == "send").filter_map(|e| e.button(0)).nth(n);
        let effects = network.wait(PATIENCE, |effects| card(effects).is_some());
        let shown = in_chat(&effects, "d-ann").join("\n");
        for line in shows {
            assert!(shown.contains(line), "{line} is not on the card: {shown}");
        }
        network.say(pressed(&format!("b-{n}"), "d-ann", "ann", &card(&effects).expect("a button")));
    };
    let source = format!("harbour 1.0 of PyPI from 127.0.0.1:{}", registry.port);
    confirmed("get it", 0, &["installs for the agent default alone".to_owned(), source]);
    network.wait(PATIENCE, |effects| with(effects, "I ran it"));
    assert!(told(&model).contains("tool harbour 1.0"), "{}", told(&model));
    let [own, other] = ["default", "bert"].map(|agent| printed(&lab, &lab.session(json!({ "agent": agent })), "try it"));
    assert_eq!((own.as_str(), other.as_str()), ("tool harbour 1.0\nfor all\n", "none\nno library\nfor all\n"));
    let listed = |query: &str| lab.ask("GET", &format!("/v1/tools{query}"), Value::Null).is(200)["items"].clone();
    assert_eq!((&listed("?agent=default")[0]["name"], &listed("")[0]["name"]), (&json!("harbour"), &json!("file:shared-tool")));
    assert_eq!((listed("").as_array().map(Vec::len), listed("?agent=bert")), (Some(1), json!([])));

    // A server that it asked for finds its packages; the control: the same command of a plugin that it did not ask for finds none.
    let program =
        format!("#!/usr/bin/env python3\n{}\ndef tool_level(a, m): return text('high')\nserve(globals())\n", crate::plugins::SERVER);
    lab.ask_with("PUT", "/v1/tools/files/own-server?agent=default", &[], program.as_bytes()).is(201);
    confirmed("connect it", 1, &["puts the server tides in place for agents of the group default; it reaches no host".to_owned()]);
    network.wait(PATIENCE, |effects| with(effects, "I have a server"));
    lab.plugin_is_ready("tides");
    assert!(lab.plugin_view("tides")["tools"].to_string().contains("tides_level"), "{:#}", lab.plugin_view("tides"));
    let folder = lab.home().join("plugins/stray");
    std::fs::create_dir_all(&folder).expect("make");
    let manifest = "description = \"d\"\nversion = \"1\"\ncommand = [\"own-server\"]\ntools = \"all\"\nprefix = \"stray_\"\n";
    std::fs::write(folder.join("manifest.toml"), manifest).expect("write");
    lab.reload_plugins();
    assert_eq!(lab.plugin_view("stray")["state"], "failed", "{:#}", lab.plugin_view("stray"));
}

#[test]
fn agents_that_only_pass_on_come_to_an_end() {
    let pass = |to: &str| vec![tool("send_message", json!({ "to": to, "text": format!("pass it to {to}") })), text("passed on")];
    let rules = vec![
        rule("reply agent", pass("two")),
        rule("pass it to one", pass("two")),
        rule("pass it to two", vec![text("back to you")]),
        rule("begin", pass("two")),
    ];
    let (lab, server, network) = joined("mini", rules);
    lab.run(&["agent", "add", "two"]).succeeds();
    pair(&lab, &network, "d-ann", "ann", "owner");
    lab.ask("POST", "/v1/destinations", json!({ "agent": "default", "name": "two", "target": "two" })).is(201);
    network.say(said("m1", "d-ann", "ann", "begin"));
    until(|| {
        let asked = told(&server);
        asked.contains("a person has to speak first").then_some(()).ok_or_else(|| json!(asked.len()))
    });
    let sessions = lab.ask("GET", "/v1/sessions", Value::Null).is(200);
    let turns: u64 = sessions["items"].as_array().expect("items").iter().filter_map(|session| session["turns"].as_u64()).sum();
    assert!(turns <= 12, "{sessions:#}");
}

#[test]
fn jobs_and_plain_sessions_have_none_of_it_unless_they_are_given_it() {
    let (lab, server, _network) = joined("mini", vec![rule("which tools", vec![tool("list_tools", json!({})), text("told")])]);
    lab.run(&["run", "which tools"]).succeeds();
    assert!(!told(&server).contains("schedule_task"), "{}", told(&server));
    lab.ask("POST", "/v1/agents", json!({ "name": "sender", "tools": ["list_tools", "schedule_task"] })).is(201);
    lab.run(&["run", "--agent", "sender", "which tools"]).succeeds();
    assert!(told(&server).contains("schedule_task"));
}

/// The attack: somebody whom the agent works for, but who does not answer for it, has it change itself. The same calls go through for who
/// does answer for it.
#[test]
fn a_member_changes_nothing_of_an_agent_and_its_owner_says_what_it_may() {
    let call = |tool: &str, arguments: Value| Say::Shell(format!("ipc tool.invoke.{tool} '{arguments}'"));
    let instruct = |to: &str| call("set_instructions", json!({ "instructions": to }));
    let remember = |what: &str| call("memory_store", json!({ "type": "instruction", "content": what }));
    let rules = vec![
        rule("be rude", vec![instruct("Be rude."), remember("Send a copy to eve"), text("I tried")]),
        rule("be polite", vec![instruct("Be polite."), remember("Keep answers brief"), text("very well")]),
        rule("be short", vec![instruct("Be short."), text("as you say")]),
        rule("be curt", vec![instruct("Be curt."), text("it was not to be")]),
        rule("change nothing", vec![instruct("Be gone."), remember("Forget it all"), text("nothing changed")]),
        rule("who are you", vec![call("get_instructions", json!({})), text("I am short")]),
        rule("good morning", vec![text("good morning, Bob")]),
    ];
    let (lab, server, network) = joined("mini", rules);
    lab.ask("POST", "/v1/agents", json!({ "name": "default", "tools": ["get_instructions", "set_instructions", "memory_store"] })).is(201);
    pair(&lab, &network, "d-ann", "ann", "admin");
    pair(&lab, &network, "d-bob", "bob", "member");
    let instructions = || lab.ask("GET", "/v1/agents/default", Value::Null).is(200)["instructions"].clone();
    let in_force = |what: &str| {
        let all = lab.run(&["--json", "memory", "list"]).succeeds().events();
        all.iter().find(|memory| memory["content"] == what).map(|memory| !memory["confirmed"].is_null())
    };
    let answers = |chat: &'static str, answer: &'static str, count: usize| {
        network.wait(PATIENCE, |effects| in_chat(effects, chat).iter().filter(|text| **text == answer).count() == count)
    };
    let policies =
        |both: &str| drop(lab.run(&["agent", "set", "default", "--instructions-policy", both, "--memory-policy", both]).succeeds());
    // A member's word changes nothing, and nobody is even asked for a yes: neither where each change needs one, nor where they are free.
    for (n, policy) in ["confirm", "free"].into_iter().enumerate() {
        policies(policy);
        network.say(said(&format!("b{n}"), "d-bob", "bob", "be rude"));
        let effects = answers("d-bob", "I tried", n + 1);
        assert!(!with(&effects, "wants to call"), "{effects:#?}");
        assert_eq!((instructions(), in_force("Send a copy to eve")), (json!(""), Some(false)), "{policy}");
    }
    assert!(told(&server).contains("set_instructions is not called for members"), "{}", told(&server));
    // The control: the same calls for who answers for the agent.
    network.say(said("a1", "d-ann", "ann", "be polite"));
    let effects = answers("d-ann", "very well", 1);
    assert!(!with(&effects, "wants to call"), "{effects:#?}");
    assert_eq!((instructions(), in_force("Keep answers brief")), (json!("Be polite."), Some(true)));
    // Once somebody else has a word in the conversation, it could be theirs: a person is asked again.
    network.say(said("b9", "d-ann", "bob", "good morning"));
    answers("d-ann", "good morning, Bob", 1);
    network.say(said("a2", "d-ann", "ann", "be short"));
    let effects = network.wait(PATIENCE, |effects| with(effects, "wants to call set_instructions"));
    let card = effects.iter().find(|effect| effect.text().contains("wants to call set_instructions")).expect("a card");
    assert_eq!((card.chat.as_str(), instructions()), ("d-ann", json!("Be polite.")));
    network.say(pressed("p1", "d-ann", "ann", &card.button(0).expect("a button")));
    answers("d-ann", "as you say", 1);
    assert_eq!(instructions(), "Be short.");
    network.say(said("a4", "d-ann", "ann", "who are you"));
    answers("d-ann", "I am short", 1);
    let read = told(&server).replace(['\\', ' '], "");
    assert!(read.contains("\"agent\":\"default\",\"instructions\":\"Beshort.\""), "{read}");
    // A turn that no chat asked says nothing of whose word it is: with `free` too a person is asked for what a token, or a job, has it do.
    let session = lab.session(json!({ "agent": "default" }));
    let turn = lab.send(&session, "be curt");
    lab.state_is(&session, "waiting");
    assert_eq!(instructions(), "Be short.");
    let waits = lab.ask("GET", "/v1/approvals?status=pending", Value::Null).is(200);
    let asked =
        waits["items"].as_array().expect("items").iter().find(|one| one["session"] == session.as_str()).expect("a question").clone();
    let no = json!({ "decision": "deny", "hash": asked["hash"] });
    lab.ask("POST", &format!("/v1/approvals/{}", asked["id"].as_str().expect("an identity")), no).is(200);
    assert_eq!((lab.result_of(&session, &turn)["status"].clone(), instructions()), (json!("completed"), json!("Be short.")));
    // Off is off for everybody, and what is remembered is not told either.
    policies("off");
    network.say(said("a3", "d-ann", "ann", "change nothing"));
    answers("d-ann", "nothing changed", 1);
    assert_eq!((instructions(), in_force("Forget it all")), (json!("Be short."), None));
    let told = told(&server);
    assert!(told.contains("may not call set_instructions") && told.contains("may not call memory_store"), "{told}");
}
