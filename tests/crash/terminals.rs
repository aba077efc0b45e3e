//! A daemon and a client that both die over a program on a terminal: whoever comes back finds it, and what was said is known.

use rustix::process::{Signal, kill_process};
use serde_json::Value;
use testkit::model_server::{ModelServer, Rule, Say, Script};

use crate::branches::Project;
use crate::scene::{PATIENCE, daemon, dies, is_up};
use crate::support::{Lab, of_type};
use crate::typed::Typed;
use crate::world;

fn lab() -> (Lab, ModelServer) {
    let lab = Lab::new();
    let rule = |contains: &str, text: &str| Rule { contains: contains.to_owned(), say: vec![Say::Text(text.to_owned())] };
    let rules = vec![rule("and again", "the second answer"), rule("first words", "the first answer")];
    let server = lab.model(Script { rules, ..Script::default() });
    lab.run(&["config", "set", "providers.anthropic.base_url", &server.url()]).succeeds();
    lab.run(&["config", "set", "providers.anthropic.keyless", "true"]).succeeds();
    (lab, server)
}

/// An engine on a terminal, in a clone of the user's repository.
fn sits(lab: &Lab, project: &Project) -> Typed {
    Typed::start(lab, &["run", "-it", "--repo", project.repo(), "--engine", "mini"])
}

/// The one session that there is, with its events.
#[track_caller]
fn session(lab: &Lab, about: &str) -> (Value, Vec<Value>) {
    let mut listed = lab.run(&["session", "list", "--json"]).succeeds().events();
    assert_eq!(listed.len(), 1, "{about}: {listed:?}");
    let id = listed[0]["id"].as_str().expect("an identity").to_owned();
    (listed.remove(0), lab.run(&["session", "events", &id, "--json"]).succeeds().events())
}

/// Comes back with the next daemon, goes on, and ends the program: one turn, which completed.
fn goes_on(lab: &Lab, project: &Project, refs: &str, about: &str) {
    if !is_up(lab) {
        lab.run(&["sandbox", "list"]).succeeds();
    }
    let (row, _) = session(lab, about);
    let id = row["id"].as_str().expect("an identity").to_owned();
    let mut back = Typed::start(lab, &["attach", &id]);
    // The prompt, which is no part of a sequence; a page that is drawn again has no spaces at the ends of its lines.
    let began = std::time::Instant::now();
    while !back.all().replace("\x1b>", "").contains('>') {
        assert!(began.elapsed() < PATIENCE, "{about}: no prompt in {}", back.all());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    back.line("and again");
    back.expect("the second answer");
    back.keys("\x04");
    assert_eq!(back.ends(), 0, "{about}: {}", back.all());
    let began = std::time::Instant::now();
    while session(lab, about).0["state"] != "idle" {
        assert!(began.elapsed() < PATIENCE, "{about}: the turn does not end");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let (row, events) = session(lab, about);
    assert_eq!(row["turns"], 1, "{about}: {row}");
    let results = of_type(&events, "result");
    assert!(results.len() == 1 && results[0]["status"] == "completed", "{about}: {events:?}");
    assert_eq!(project.git(&["for-each-ref"]), refs, "{about}: the user's repository is as it was");
    world::ends(lab, about);
}

fn over(point: &str) {
    let (lab, _server) = lab();
    let project = Project::new(&lab);
    let refs = project.git(&["for-each-ref"]);
    let mut first = daemon(&lab, Some(point));
    let mut typed = sits(&lab, &project);
    dies(&mut first, point);
    typed.kill();
    typed.ends();
    goes_on(&lab, &project, &refs, point);
}

#[test]
fn accepted_and_not_begun() {
    over("turn:accepted");
}

#[test]
fn begun_and_not_seen() {
    over("turn:engine-started");
}

#[test]
fn in_the_middle_of_a_conversation() {
    let (lab, server) = lab();
    let project = Project::new(&lab);
    let refs = project.git(&["for-each-ref"]);
    let mut first = daemon(&lab, None);
    let mut typed = sits(&lab, &project);
    typed.expect("> ");
    typed.line("first words");
    typed.expect("the first answer");
    let pid = rustix::process::Pid::from_child(&first);
    kill_process(pid, Signal::KILL).expect("kill");
    typed.kill();
    dies(&mut first, "middle");
    typed.ends();
    goes_on(&lab, &project, &refs, "middle");
    let last = server.requests().into_iter().next_back().expect("a request");
    assert!(String::from_utf8_lossy(&last.body).contains("first words"), "it remembers");
}
