//! The host's own commands in chats, one by one: what each does, for whom, and that nobody else gives it.

use serde_json::{Value, json};
use testkit::channel::{LabNetwork, said};
use testkit::model_server::Say;

use crate::agent_tools::{in_chat, joined, pair, rule, text, told, until};
use crate::http::PATIENCE;
use crate::support::Lab;

/// Somebody says something to the account, and an answer comes that holds some words.
#[track_caller]
fn asks(network: &LabNetwork, id: &str, chat: &str, who: &str, words: &str, answer: &str) {
    let count = |effects: &[testkit::channel::Effect]| in_chat(effects, chat).iter().filter(|text| text.contains(answer)).count();
    let before = count(&network.effects());
    tells(network, id, chat, who, words);
    network.wait(PATIENCE, |effects| count(effects) > before);
}

/// The account is told something that is meant for it.
pub(crate) fn tells(network: &LabNetwork, id: &str, chat: &str, who: &str, words: &str) {
    let mut heard = said(id, chat, who, words);
    heard["mention"] = json!(true);
    network.say(heard);
}

/// The session that works just now.
#[track_caller]
fn at_work(lab: &Lab) -> String {
    until(|| {
        let all = lab.ask("GET", "/v1/sessions", Value::Null).is(200);
        let one = all["items"].as_array().into_iter().flatten().find(|one| one["state"] == "running");
        one.and_then(|one| one["id"].as_str()).map(str::to_owned).ok_or(all)
    })
}

/// Where a message stopped, once it was heard.
#[track_caller]
pub(crate) fn gate_of(lab: &Lab, message: &str) -> Value {
    until(|| {
        let answer = lab.ask("GET", &format!("/v1/why/{message}"), Value::Null);
        if answer.status == 200 { Ok(answer.is(200)["gate"].clone()) } else { Err(json!(answer.status)) }
    })
}

/// What claude-code asks its model for when it is to sum up a conversation.
const SUM_UP: &str = "summary of the conversation";

/// Claude Code sums up by a command of its own, and goes on with what came of it.
#[test]
fn a_conversation_of_claude_code_is_summed_up_when_somebody_says_so() {
    let rules = vec![
        rule("what was it", vec![text("it was that")]),
        rule(SUM_UP, vec![text("<summary>a harbour was spoken of</summary>")]),
        rule("speak of the harbour", vec![text("I heard you")]),
    ];
    let (lab, server, network) = joined("claude-code", rules);
    pair(&lab, &network, "d-ann", "ann", "owner");
    let ann = |id: &str, words: &str, answer: &str| asks(&network, id, "d-ann", "ann", words, answer);
    ann("a1", "/compact", "nothing was asked here yet");
    ann("a2", "speak of the harbour, of every boat in it", "I heard you");
    ann("a3", "/compact", "The conversation is summed up");
    ann("a4", "what was it", "it was that");
    let last = server.requests().into_iter().rfind(|request| request.json().to_string().contains("what was it")).expect("a request");
    let asked = last.json()["messages"].to_string();
    assert!(asked.contains("a harbour was spoken of") && !asked.contains("every boat in it"), "{asked}");
    // There is nothing to sum up right after it: the program says so, and the turn ends.
    ann("a5", "/compact", "The conversation is summed up");
    ann("a6", "/compact", "The conversation is summed up");
    network.wait(PATIENCE, |effects| in_chat(effects, "d-ann").iter().any(|said| said.contains("Not enough messages")));
    ann("a7", "what was it", "it was that");
}

const REFUSED: &str = "only who answers for default may do this";

#[test]
fn each_command_does_what_it_says_for_who_may() {
    let rules = vec![
        rule("good day", vec![text("well met")]),
        rule("take your time", vec![Say::Shell("sleep 86400".to_owned()), text("never said")]),
    ];
    let (lab, server, network) = joined("mini", rules);
    pair(&lab, &network, "d-ann", "ann", "owner");
    pair(&lab, &network, "d-bob", "bob", "member");
    let ann = |id: &str, words: &str, answer: &str| asks(&network, id, "d-ann", "ann", words, answer);
    let bob = |id: &str, words: &str, answer: &str| asks(&network, id, "d-bob", "bob", words, answer);
    let sessions = || lab.ask("GET", "/v1/sessions", Value::Null).is(200)["items"].as_array().expect("items").clone();

    // In a direct chat, of who answers for the agent.
    ann("a1", "/help", "/fork: ");
    ann("a2", "/status", "Nothing was asked yet");
    ann("a3", "/stop", "nothing was asked here yet");
    ann("a4", "good day", "well met");
    ann("a5", "/status", "1 turns");
    ann("a6", "/cost", "in 1 model calls.");
    ann("a7", "/agent", "default, called @Andy.");
    ann("a8", "/compact", "mini sums up by itself");
    ann("a9", "/stop", "Nothing runs.");
    ann("a10", "/why a4", "was heard: turn");
    ann("a11", "/why", "was heard: command");
    ann("a12", "/tasks", "There are no tasks.");
    ann("a13", "/fork", "Forked: lazaret chat ses_");
    assert_eq!(sessions().len(), 2, "{:#?}", sessions());
    ann("a14", "/undo", "The last turn is taken back");
    let all = sessions();
    let first = all.iter().find(|one| one["parent"].is_null()).expect("the first one");
    assert_eq!((&first["head"], &first["turns"]), (&json!(0), &json!(1)), "{all:#?}");
    ann("a15", "/undo", "nothing to take back");
    ann("a16", "/clear", "A new conversation begins");
    // Without their slash they are words like any other.
    ann("a17", "good day, and help", "well met");
    assert_eq!(sessions().len(), 3, "what follows is a conversation of its own");

    // A member: over a conversation of their own, and nothing of the agent's.
    bob("b1", "good day", "well met");
    bob("b2", "/cost", "in 1 model calls.");
    bob("b3", "/fork", REFUSED);
    bob("b4", "/why a4", REFUSED);
    bob("b5", "/undo", "The last turn is taken back");
    bob("b6", "/clear", "A new conversation begins");

    // In a group what changes the conversation is for who answers for the agent; a turn that runs is stopped by who asked it, too.
    lab.run(&["chats", "add", "lab", "g-all", "--name", "All of us", "--group"]).succeeds();
    lab.run(&["wire", "add", "lab/g-all", "--agent", "default"]).succeeds();
    let group = |id: &str, who: &str, words: &str, answer: &str| asks(&network, id, "g-all", who, words, answer);
    tells(&network, "g1", "g-all", "ann", "take your time");
    let session = at_work(&lab);
    group("g2", "bob", "/status", "running");
    for (n, command) in ["/stop", "/clear", "/undo", "/compact"].into_iter().enumerate() {
        group(&format!("g3{n}"), "bob", command, REFUSED);
    }
    lab.state_is(&session, "running");
    group("g4", "ann", "/clear", "A new conversation begins");
    lab.state_is(&session, "idle");
    assert!(told(&server).contains("take your time") && !in_chat(&network.effects(), "g-all").contains(&"never said"));
    tells(&network, "g5", "g-all", "bob", "take your time");
    let session = at_work(&lab);
    group("g6", "bob", "/stop", "Stopped.");
    lab.state_is(&session, "idle");

    // Several handles of one person are that person, until they are taken apart.
    let handles = lab.ask("GET", "/v1/handles", Value::Null).is(200);
    let of_bob = handles["items"].as_array().expect("items").iter().find(|one| one["handle"] == "bob").expect("bob")["user"].clone();
    let user = of_bob.as_str().expect("an identity");
    tells(&network, "h1", "g-all", "robert", "/status");
    assert_eq!(gate_of(&lab, "h1"), "access", "the control: nobody knows him");
    lab.run(&["people", "link", "lab", "robert", "usr_00000000000000000000000000000000"]).fails("NOT_FOUND", 2);
    lab.run(&["people", "link", "lab", "robert", user]).succeeds();
    assert!(lab.run(&["people", "handles"]).succeeds().out.contains("robert"));
    tells(&network, "h2", "g-all", "bob", "take your time");
    let session = at_work(&lab);
    group("h3", "robert", "/stop", "Stopped.");
    lab.state_is(&session, "idle");
    group("h4", "robert", "/clear", REFUSED);
    lab.run(&["people", "unlink", "lab", "robert"]).succeeds();
    tells(&network, "h5", "g-all", "robert", "/status");
    assert_eq!(gate_of(&lab, "h5"), "access");
}
