//! Which agent hears which chat, and how: said in a chat by who looks after that, and held to in groups of several agents and threads.

use serde_json::{Value, json};
use testkit::channel::{Effect, LabNetwork, pressed, said};
use testkit::model_server::{Say, Script};

use crate::agent_tools::{in_chat, joined, pair, rule, text, told, until, with};
use crate::chat_commands::{gate_of, tells};
use crate::http::PATIENCE;
use crate::support::KEY;

/// A call from within, which says what came of it also where it is refused.
fn call(tool: &str, arguments: &Value) -> Say {
    Say::Shell(format!("ipc tool.invoke.{tool} '{arguments}' 2>&1"))
}

/// Waits until an answer stands in a chat as often as it should.
#[track_caller]
fn sees(network: &LabNetwork, chat: &str, words: &str, count: usize) -> Vec<Effect> {
    network.wait(PATIENCE, |effects| in_chat(effects, chat).iter().filter(|text| text.contains(words)).count() == count)
}

/// The attack: a member, and an admin of the agent alone, have the agent hear a chat that is not theirs to give. The same calls go through, after
/// a yes, for who looks after the tenant.
#[test]
fn who_looks_after_the_tenant_says_in_a_chat_which_chats_an_agent_hears() {
    let (lab, server, network) = joined("mini", vec![rule("good day", vec![text("a good day to all")])]);
    pair(&lab, &network, "d-ann", "ann", "owner");
    pair(&lab, &network, "d-bob", "bob", "member");
    pair(&lab, &network, "d-cat", "cat", "admin");
    tells(&network, "f1", "g-family", "ann", "@Andy good day");
    assert_eq!(gate_of(&lab, "f1"), "wiring", "nobody hears it yet, and it is held");
    let chats = lab.ask("GET", "/v1/chats", Value::Null).is(200);
    let of = |chat: &str| chats["items"].as_array().expect("items").iter().find(|one| one["chat"] == chat).expect("a chat")["id"].clone();
    let (family, anns) = (of("g-family"), of("d-ann"));
    let rules = vec![
        rule("good day", vec![text("a good day to all")]),
        rule("which chats", vec![call("list_chats", &json!({ "named": "FAMILY" })), text("that is all")]),
        rule("join the family", vec![call("join_chat", &json!({ "chat": family })), text("we are there")]),
        rule("leave the family", vec![call("leave_chat", &json!({ "chat": family })), text("we are gone")]),
        rule("at every word", vec![call("join_chat", &json!({ "chat": anns, "engage": "mention" })), text("only where you ask")]),
    ];
    server.set_script(Script { key: Some(KEY.to_owned()), rules, ..Script::default() });
    let hears =
        |chat: &Value| lab.ask("GET", &format!("/v1/chats/{}", chat.as_str().expect("an id")), Value::Null).is(200)["agents"].clone();

    // Neither of the two is even asked about.
    for (chat, who) in [("d-bob", "bob"), ("d-cat", "cat")] {
        let all = [("which chats", "that is all"), ("join the family", "we are there"), ("leave the family", "we are gone")];
        for (n, (words, done)) in all.into_iter().enumerate() {
            network.say(said(&format!("{who}{n}"), chat, who, words));
            sees(&network, chat, done, 1);
        }
        assert!(!with(&network.effects(), "wants to call") && hears(&family) == json!([]), "{who}");
    }
    assert!(told(&server).contains("is called for admins and owners of the tenant only"), "{}", told(&server));
    assert!(!told(&server).contains("is_heard_by_you"), "none of them was told what there is");

    // The control. What is asked about is the chat itself, not what somebody called it, and the card says which that is.
    network.say(said("a1", "d-ann", "ann", "which chats"));
    sees(&network, "d-ann", "that is all", 1);
    let read = told(&server).replace(['\\', ' '], "");
    assert!(read.contains("\"is_heard_by_you\":false") && read.contains("g-family") && !read.contains("\"name\":\"d-bob\""), "{read}");
    let card = |n: usize| {
        // A card may come in parts: the last of them has the buttons. The admin of the agent is shown it too.
        let button =
            |effects: &[Effect]| effects.iter().filter(|e| e.chat == "d-ann" && e.act["do"] == "send").filter_map(|e| e.button(0)).nth(n);
        let effects = network.wait(PATIENCE, |effects| button(effects).is_some());
        (in_chat(&effects, "d-ann").join("\n"), button(&effects).expect("a button"))
    };
    network.say(said("a2", "d-ann", "ann", "join the family"));
    let (shown, yes) = card(0);
    assert!(shown.contains("default hears the group g-family (lab/g-family) from now on"), "{shown}");
    assert_eq!(hears(&family), json!([]), "nothing is done before the yes");
    network.say(pressed("p1", "d-ann", "ann", &yes));
    sees(&network, "d-ann", "we are there", 1);
    assert_eq!(hears(&family), json!(["default"]));
    // What was said there while nobody heard it is answered.
    sees(&network, "g-family", "a good day to all", 1);
    let audit = lab.run(&["--json", "audit", "query", "--limit", "500"]).succeeds().out;
    assert!(audit.contains("wiring.put"), "{audit}");

    // Where others have a word nobody is told which chats there are.
    tells(&network, "f2", "g-family", "bob", "good day");
    sees(&network, "g-family", "a good day to all", 2);
    tells(&network, "f3", "g-family", "ann", "which chats");
    sees(&network, "g-family", "that is all", 1);
    assert!(told(&server).contains("what chats there are is not told here"), "{}", told(&server));

    network.say(said("a3", "d-ann", "ann", "not at every word"));
    network.say(pressed("p2", "d-ann", "ann", &card(1).1));
    sees(&network, "d-ann", "only where you ask", 1);
    let wirings = lab.ask("GET", "/v1/wirings", Value::Null).is(200);
    let own = wirings["items"].as_array().expect("items").iter().find(|one| one["chat"] == anns).expect("the wiring").clone();
    assert_eq!((&own["engage"], &own["pattern"]), (&json!("mention"), &Value::Null), "{own:#}");
    network.say(said("a4", "d-ann", "ann", "leave the family"));
    let (shown, yes) = card(2);
    assert!(shown.contains("default hears the group g-family (lab/g-family) no more"), "{shown}");
    network.say(pressed("p3", "d-ann", "ann", &yes));
    sees(&network, "d-ann", "we are gone", 1);
    tells(&network, "f4", "g-family", "ann", "good day");
    assert_eq!((gate_of(&lab, "f4"), hears(&family)), (json!("wiring"), json!([])));

    // Nothing of it at the command line: there it is `lazaret wire`.
    let before = told(&server).len();
    lab.run(&["run", "--agent", "default", "which chats"]).succeeds();
    let after = told(&server)[before..].to_owned();
    assert!(after.contains("may not call list_chats") && !after.contains("is_heard_by_you"), "{after}");
}

/// Two agents in one group: each hears what it is meant for, all of it when both are, and what was said before with the next that it is meant for.
/// Threads of a network that has them are conversations of their own.
#[test]
fn several_agents_hear_one_group_each_in_its_own_way() {
    let rules = vec![
        rule("what was said", vec![text("kelp was spoken of")]),
        rule("look here", vec![text("I look")]),
        rule("both of you", vec![text("at your service")]),
        rule("in a thread", vec![text("in its place")]),
    ];
    let (lab, server, network) = joined("mini", rules);
    pair(&lab, &network, "d-ann", "ann", "owner");
    lab.run(&["agent", "add", "bert", "--trigger", "@Bert"]).succeeds();
    lab.run(&["chats", "add", "lab", "g-all", "--name", "All", "--group"]).succeeds();
    lab.run(&["wire", "add", "lab/g-all", "--agent", "bert", "--engage", "mention", "--ignored", "drop", "--priority", "5"]).succeeds();
    lab.run(&["wire", "add", "lab/g-all", "--agent", "default", "--engage", "mention"]).succeeds();
    let refused = lab.run(&["wire", "add", "lab/g-all", "--agent", "bert", "--pattern", "("]).fails("USAGE", 2);
    assert!(refused.err.contains("pattern"), "{}", refused.err);
    let says = |id: &str, words: &str| network.say(said(id, "g-all", "ann", words));
    says("m1", "idle talk of kelp");
    says("m2", "@Bert look here");
    sees(&network, "g-all", "I look", 1);
    assert!(!told(&server).contains("kelp"), "who drops what is not meant for it is told nothing of it");
    says("m3", "@Andy what was said?");
    sees(&network, "g-all", "kelp was spoken of", 1);
    assert!(told(&server).contains("said_before") && told(&server).contains("idle talk of kelp"), "{}", told(&server));
    tells(&network, "m4", "g-all", "ann", "both of you");
    sees(&network, "g-all", "at your service", 2);
    let why = lab.run(&["why", "m4"]).succeeds().out;
    assert!(why.contains("bert: ") && why.contains("default: "), "{why}");
    assert_eq!(in_chat(&network.effects(), "g-all").iter().filter(|said| **said == "I look").count(), 1);
    let of = |agent: &str| {
        let all = lab.ask("GET", "/v1/sessions", Value::Null).is(200);
        all["items"].as_array().expect("items").iter().filter(|one| one["agent"] == agent).count()
    };
    assert_eq!((of("bert"), of("default")), (1, 1));

    network.able("threads", json!(true));
    lab.run(&["channel", "off", "lab"]).succeeds();
    lab.run(&["channel", "on", "lab"]).succeeds();
    until(|| {
        let view = lab.ask("GET", "/v1/channels/lab", Value::Null).is(200);
        (view["health"] == "well" && view["abilities"]["threads"] == true).then_some(()).ok_or(view)
    });
    for (id, thread) in [("t1", "one"), ("t2", "two"), ("t3", "one")] {
        let mut heard = said(id, "g-all", "ann", "@Bert in a thread");
        heard["thread"] = json!(thread);
        network.say(heard);
    }
    let effects = sees(&network, "g-all", "in its place", 3);
    let threads = |name: &str| effects.iter().filter(|e| e.text() == "in its place" && e.thread.as_deref() == Some(name)).count();
    assert_eq!((threads("one"), threads("two"), of("bert"), of("default")), (2, 1, 3, 1), "{effects:#?}");
}
