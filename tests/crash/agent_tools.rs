//! A daemon that dies over what an agent does through a tool: each message is seen once, each question asked once and its answer found, each task
//! made and each time of it done once, and what another agent answers heard once.

use serde_json::{Value, json};
use testkit::client::Reply;
use testkit::model_server::{Rule, Say, Script};

use super::Place;

macro_rules! points {
    ($($test:ident: $point:literal, $scene:ident;)*) => {
        /// Every point that is tried here.
        pub(crate) const TRIED: &[&str] = &[$($point),*];
        $(#[test] fn $test() { $scene($point); })*
    };
}

points! {
    tool_said: "tool:said", wrote;
    tool_asked: "tool:asked", questioned;
    store_tool_ask_before: "store.tool-ask.before", questioned;
    store_tool_ask_after: "store.tool-ask.after", questioned;
    tool_scheduled: "tool:scheduled", planned;
    gate_said: "gate:said", gated;
    store_turn_gate_before: "store.turn-gate.before", gated;
    store_turn_gate_after: "store.turn-gate.after", gated;
    store_turn_accept_of_before: "store.turn-accept-of.before", gated;
    store_turn_accept_of_after: "store.turn-accept-of.after", gated;
    tool_mailed: "tool:mailed", mailed;
    tool_agent_made: "tool:agent-made", made;
    store_agent_make_before: "store.agent-make.before", made;
    store_agent_make_after: "store.agent-make.after", made;
    tool_instructions_set: "tool:instructions-set", instructed;
    tool_ordered: "tool:ordered", ordered;
    store_agent_order_before: "store.agent-order.before", ordered;
    store_agent_order_after: "store.agent-order.after", ordered;
    order_done: "order:done", ordered;
    order_told: "order:told", ordered;
}

fn tool(name: &str, input: Value) -> Say {
    Say::Tool { name: name.to_owned(), input }
}

fn text(text: &str) -> Say {
    Say::Text(text.to_owned())
}

/// A place whose model follows these rules.
fn place(point: &str, rules: Vec<(&str, Vec<Say>)>) -> Place {
    let place = Place::joined(point);
    let rules = rules.into_iter().map(|(contains, say)| Rule { contains: contains.to_owned(), say }).collect();
    place._server.set_script(Script { rules, ..Script::default() });
    place
}

fn wrote(point: &str) {
    let mut place = place(point, vec![("write it", vec![tool("send_message", json!({ "text": "first of all" })), text("that is all")])]);
    place.dies();
    place.say("m1", "ann", "write it");
    place.sees("ann", "that is all");
    place.once(&[("ann", "first of all"), ("ann", "that is all")]);
}

/// The engine's own way of asking is not the daemon's: this one asks through the door.
fn questioned(point: &str) {
    let ask = Say::Shell("ipc tool.invoke.ask_user '{\"question\":\"Which one?\",\"options\":[\"red\",\"blue\"]}'".to_owned());
    let mut place = place(point, vec![("ask me", vec![ask, text("thank you")])]);
    place.dies();
    place.say("m1", "ann", "ask me");
    let card = place.sees("ann", "Which one?");
    place.is_dead();
    place.press("b1", "ann", card.act["buttons"][1]["value"].as_str().expect("a button"));
    place.sees("ann", "thank you");
    place.once(&[("ann", "thank you")]);
    let told: String = place._server.requests().iter().map(|request| request.json().to_string()).collect();
    assert!(told.contains("blue"), "{point}: {told}");
}

fn planned(point: &str) {
    let task = json!({ "prompt": "later", "cron": "0 0 1 1 *", "name": "once" });
    let mut place = place(point, vec![("plan it", vec![tool("schedule_task", task), text("planned")])]);
    place.dies();
    place.say("m1", "ann", "plan it");
    place.sees("ann", "planned");
    place.once(&[("ann", "planned")]);
    assert_eq!(place.items("/v1/tasks").len(), 1, "{point}");
}

fn gated(point: &str) {
    let task = json!({ "prompt": "what is new", "cron": "0 0 1 1 *", "name": "news", "script": "echo 3 mails" });
    let rules = vec![("what is new", vec![text("3 are new")]), ("plan it", vec![tool("schedule_task", task), text("planned")])];
    let mut place = place(point, rules);
    place.say("m1", "ann", "plan it");
    place.sees("ann", "planned");
    place.dies();
    // A daemon that died before it could answer has noted the run: asked for again, it would be another one.
    place.until(|place| {
        let noted = place.ask("GET", "/v1/tasks/news/log", &Value::Null).and_then(Reply::good).map_err(|error| error.to_string())?;
        if noted["items"].as_array().is_some_and(|all| !all.is_empty()) {
            return Ok(());
        }
        let said = place.ask("POST", "/v1/tasks/news/run", &json!({})).map_err(|error| error.to_string())?;
        assert!((200..300).contains(&said.status), "{point}: {}", said.json());
        Ok(())
    });
    place.sees("ann", "3 are new");
    place.once(&[("ann", "3 are new")]);
    assert_eq!(place.items("/v1/tasks/news/log").len(), 1, "{point}");
}

fn mailed(point: &str) {
    let rules = vec![
        ("from_agent", vec![text("there are 42")]),
        ("reply agent", vec![text("it says 42")]),
        ("ask it", vec![tool("send_message", json!({ "to": "two", "text": "how many?" })), text("I asked")]),
    ];
    let mut place = place(point, rules);
    place.call("POST", "/v1/agents", &json!({ "name": "two" }), &[]);
    place.call("POST", "/v1/destinations", &json!({ "agent": "default", "name": "two", "target": "two" }), &[]);
    place.dies();
    place.say("m1", "ann", "ask it");
    place.sees("ann", "it says 42");
    place.once(&[("ann", "it says 42"), ("ann", "I asked")]);
}

/// An agent with these tools; what it does needs a yes.
fn trusted(place: &mut Place, tools: &[&str]) {
    place.call("POST", "/v1/agents", &json!({ "name": "default", "tools": tools }), &[409]);
}

fn confirmed(place: &mut Place, id: &str, what: &str) {
    place.sees("ann", &format!("wants to call {what}"));
    // The last part of the card, where it comes in several.
    let card = place.sees("ann", "Or answer: /approve");
    place.press(id, "ann", card.act["buttons"][0]["value"].as_str().expect("a button"));
}

fn made(point: &str) {
    let agent = json!({ "name": "helper", "instructions": "You count." });
    let mut place = place(point, vec![("make one", vec![tool("create_agent", agent), text("it is over")])]);
    trusted(&mut place, &["create_agent"]);
    place.dies();
    place.say("m1", "ann", "make one");
    confirmed(&mut place, "b1", "create_agent");
    place.sees("ann", "it is over");
    place.once(&[("ann", "it is over")]);
    // All of it, or nothing: what a crash left unknown is not done again.
    let agents = place.items("/v1/agents").iter().filter(|agent| agent["name"] == "helper").count();
    let ways = place.items("/v1/destinations?agent=default").iter().filter(|row| row["target"] == "helper").count();
    assert_eq!(agents, ways, "{point}");
}

fn instructed(point: &str) {
    let rules = vec![("be polite", vec![tool("set_instructions", json!({ "instructions": "Be polite." })), text("it is over")])];
    let mut place = place(point, rules);
    trusted(&mut place, &["set_instructions"]);
    place.dies();
    place.say("m1", "ann", "be polite");
    confirmed(&mut place, "b1", "set_instructions");
    place.sees("ann", "it is over");
    place.once(&[("ann", "it is over")]);
    let agent = place.call("GET", "/v1/agents/default", &Value::Null, &[]);
    assert_eq!(agent["instructions"], "Be polite.", "{point}");
}

fn ordered(point: &str) {
    let order = json!({ "packages": ["no-such-package==1"], "reason": "to count" });
    let rules = vec![("installed", vec![text("I heard of it")]), ("get it", vec![tool("install_packages", order), text("it is over")])];
    let mut place = place(point, rules);
    place.lab.run(&["config", "set", "tools.index", "http://127.0.0.1:9/simple"]).succeeds();
    trusted(&mut place, &["install_packages"]);
    place.dies();
    place.say("m1", "ann", "get it");
    confirmed(&mut place, "b1", "install_packages");
    place.sees("ann", "it is over");
    // A crash before the order was kept leaves none: it is not made again by itself.
    if point != "store.agent-order.before" {
        place.sees("ann", "I heard of it");
        place.once(&[("ann", "I heard of it")]);
    } else {
        place.once(&[("ann", "it is over")]);
    }
}
