//! Conversations of real engines outlive their process, their sandbox and the daemon, and what the host tells an engine
//! cannot be taken away from inside.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::model_server::{ModelServer, Rule, Say, Script};

use crate::engines::install;
use crate::http::PATIENCE;
use crate::support::{KEY, Lab, comes, of_type};

/// A home with an engine and its provider, and no daemon yet.
fn lab(engine: &str, rules: Vec<Rule>) -> (Lab, ModelServer) {
    let lab = Lab::new();
    if engine != "mini" {
        install(&lab, engine);
    }
    let server = lab.model(Script { key: Some(KEY.to_owned()), rules, ..Script::default() });
    lab.connect(if engine == "codex" { "openai" } else { "anthropic" }, &server);
    lab.run(&["config", "set", "engine", engine]).succeeds();
    lab.run(&["stop", "--grace", "0s"]).succeeds();
    (lab, server)
}

fn start(lab: &Lab) {
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
}

fn restart(lab: &Lab) {
    lab.run(&["stop", "--grace", "0s"]).succeeds();
    start(lab);
}

/// Answers with a text, whichever question of the conversation it is.
fn answers(question: &str, text: &str) -> Rule {
    Rule { contains: question.to_owned(), say: vec![Say::Text(text.to_owned()); 4] }
}

/// Runs a command, then answers.
fn runs(question: &str, command: &str) -> Rule {
    Rule { contains: question.to_owned(), say: vec![Say::Shell(command.to_owned()), Say::Text("it ran".to_owned())] }
}

/// A turn that must end well; what the model was sent for it.
#[track_caller]
fn asked(lab: &Lab, server: &ModelServer, session: &str, text: &str) -> String {
    let before = server.requests().len();
    let result = lab.turn(session, text);
    assert_eq!(result["status"], "completed", "{result}");
    sent(server, before, text)
}

/// The bodies of the requests since then that hold this text.
#[track_caller]
fn sent(server: &ModelServer, since: usize, text: &str) -> String {
    let all = server.requests();
    let bodies: Vec<String> = all[since..].iter().map(|r| String::from_utf8_lossy(&r.body).into_owned()).collect();
    let found: Vec<&str> = bodies.iter().map(String::as_str).filter(|b| b.contains(text)).collect();
    assert!(!found.is_empty(), "the model never heard {text:?}");
    found.join("\n")
}

/// The host's processes in sandboxes of this home whose command line holds `word`, with the time each was started.
fn processes(lab: &Lab, word: &str) -> Vec<(u32, String)> {
    let label = format!("lazaret-{}.", std::fs::read_to_string(lab.home().join("install-id")).expect("an install").trim());
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").expect("read /proc").flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        let read =
            |name: &str| std::fs::read(entry.path().join(name)).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default();
        if read("cgroup").contains(&label) && read("cmdline").contains(word) {
            // The field after the name that tells when it was started.
            let stat = read("stat");
            let began = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(19)).unwrap_or_default().to_owned();
            found.push((pid, began));
        }
    }
    found.sort();
    found
}

/// Waits until no sandbox of this home is left.
#[track_caller]
fn asleep(lab: &Lab) {
    let began = Instant::now();
    loop {
        let all = lab.ask("GET", "/v1/sandboxes", Value::Null).is(200);
        if all["items"].as_array().is_some_and(Vec::is_empty) {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "still awake: {all}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The daemon goes, then the sandbox for idleness: each time the next turn knows what was said.
fn resumes(engine: &str) {
    let rules =
        vec![answers("second question", "the second"), answers("third question", "the third"), answers("first question", "the first")];
    let (lab, server) = lab(engine, rules);
    lab.run(&["config", "set", "sandbox.idle", "1s"]).succeeds();
    lab.run(&["config", "set", "sessions.engine_idle", "1s"]).succeeds();
    start(&lab);
    let session = lab.session(json!({}));
    asked(&lab, &server, &session, "first question");
    restart(&lab);
    assert!(asked(&lab, &server, &session, "second question").contains("first question"), "{engine} forgot over a restart");
    asleep(&lab);
    let third = asked(&lab, &server, &session, "third question");
    for earlier in ["first question", "the first", "second question", "the second"] {
        assert!(third.contains(earlier), "{engine} forgot {earlier:?} over its sleep: {third}");
    }
    lab.kill_daemon();
    start(&lab);
    let view = lab.ask("GET", &format!("/v1/sessions/{session}"), Value::Null).is(200);
    assert_eq!((&view["turns"], &view["state"]), (&json!(3), &json!("idle")));
}

#[test]
fn claude_code_resumes_in_a_sandbox_that_was_made_again() {
    resumes("claude-code");
}

#[test]
fn codex_resumes_in_a_sandbox_that_was_made_again() {
    resumes("codex");
}

#[test]
fn mini_resumes_in_a_sandbox_that_was_made_again() {
    resumes("mini");
}

/// The second turn finds the process of the first; a daemon that is killed within it loses neither.
#[test]
fn claude_code_takes_further_turns_in_one_process_and_through_a_killed_daemon() {
    let slow = "touch /workspace/begun; sleep 2; echo slept-well";
    let rules = vec![
        runs("second question", "echo twice"),
        runs("slow question", slow),
        answers("last question", "bye"),
        answers("first question", "the first"),
    ];
    let (lab, server) = lab("claude-code", rules);
    // However long the machine takes from one turn to the next.
    for key in ["sandbox.idle", "sessions.engine_idle"] {
        lab.run(&["config", "set", key, "1h"]).succeeds();
    }
    start(&lab);
    let session = lab.session(json!({}));
    asked(&lab, &server, &session, "first question");
    // A child that it just starts is like it for a moment.
    assert!(comes(|| processes(&lab, "stream-json").len() == 1), "one process waits: {:?}", processes(&lab, "stream-json"));
    let first = processes(&lab, "stream-json").remove(0);
    let is_there = || comes(|| processes(&lab, "stream-json") == [first.clone()]);
    asked(&lab, &server, &session, "second question");
    assert!(is_there(), "the second turn has the process of the first");

    let turn = lab.send(&session, "slow question");
    lab.event_where(&session, |e| e["type"] == "tool_call" && e["turn"] == turn.as_str());
    lab.kill_daemon();
    assert!(is_there(), "it goes on without the daemon");
    start(&lab);
    assert_eq!(lab.result_of(&session, &turn)["status"], "completed");
    let last = asked(&lab, &server, &session, "last question");
    assert!(last.contains("slept-well") && last.contains("first question"), "{last}");

    let log = lab.log(&session);
    let numbers: Vec<u64> = log.iter().filter_map(|e| e["seq"].as_u64()).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>(), "no event is lost or doubled");
    assert_eq!(of_type(&log, "result").len(), 4, "one result for each turn");
    let of_turn: Vec<Value> = log.into_iter().filter(|e| e["turn"] == turn.as_str()).collect();
    assert_eq!((of_type(&of_turn, "tool_call").len(), of_type(&of_turn, "tool_result").len()), (1, 1), "{of_turn:#?}");
    let heard = server.requests().iter().filter(|r| r.method == "POST" && r.target.contains("/messages")).count();
    assert!(heard >= 6, "{heard}");
}

/// The engine's home belongs to the env: each session finds its own conversation in it.
#[test]
fn two_sessions_of_claude_code_in_one_env_keep_their_own_conversations() {
    let rules = vec![answers("and then", "go on"), answers("alpha story", "alpha it is"), answers("beta story", "beta it is")];
    let (lab, server) = lab("claude-code", rules);
    start(&lab);
    lab.ask("POST", "/v1/envs", json!({ "name": "shared" })).is(201);
    let sessions = [lab.session(json!({ "env": "shared" })), lab.session(json!({ "env": "shared" }))];
    let turns = [lab.send(&sessions[0], "alpha story"), lab.send(&sessions[1], "beta story")];
    for (session, turn) in sessions.iter().zip(&turns) {
        assert_eq!(lab.result_of(session, turn)["status"], "completed");
    }
    restart(&lab);
    for (session, own, other) in [(&sessions[0], "alpha story", "beta story"), (&sessions[1], "beta story", "alpha story")] {
        let heard = asked(&lab, &server, session, "and then");
        assert!(heard.contains(own) && !heard.contains(other), "{session} heard {heard}");
    }
}

/// What an attacker inside does to the file of standing instructions, whose place is `$F` in the directory `$D`.
const VANDALISM: &str = "unlink $F; mv $F $F.gone; true > $F; echo evil-orders > $F; ln -sfn /etc/passwd $F; chmod 666 $F; \
    mv $D ${D}2; mkdir -p $D; echo evil-orders > $F; mount --bind /etc/passwd $F; umount $F; \
    python3 -c \"import os; os.rename('$D', '${D}3')\"; truncate -s 0 $F; echo ended";

/// Instructions of the agent and memory of the env are heard in every turn, whatever the turn before did to their file.
fn instructed(engine: &str, file: &str) {
    let (dir, _) = file.rsplit_once('/').expect("a directory");
    let vandal = format!("F={file}; D={dir}; {VANDALISM}");
    let rules = vec![answers("after all", "obeyed"), runs("break it", &vandal), answers("hello there", "hello")];
    let (lab, server) = lab(engine, rules);
    start(&lab);
    lab.ask("POST", "/v1/agents", json!({ "name": "guide", "instructions": "The agent's word is heliotrope-17." })).is(201);
    lab.ask("POST", "/v1/envs", json!({ "name": "den" })).is(201);
    lab.ask("PATCH", "/v1/envs/den", json!({ "core_memory": "The env's word is obsidian-23." })).is(200);
    let session = lab.session(json!({ "env": "den", "agent": "guide" }));
    let both = |text: &str, when: &str| {
        assert!(text.contains("heliotrope-17") && text.contains("obsidian-23"), "{engine} is uninstructed {when}: {text}");
    };
    both(&asked(&lab, &server, &session, "hello there"), "at first");
    both(&asked(&lab, &server, &session, "break it"), "in the turn that breaks them");
    let log = lab.log(&session);
    let said = of_type(&log, "tool_result").last().map(|r| r["output"].as_str().unwrap_or_default().to_owned()).unwrap_or_default();
    assert!(said.contains("ended"), "the attack did not run: {said:?} {log:#?}");
    both(&asked(&lab, &server, &session, "after all"), "after an attack");
    // Also where the attacker's files stay and the sandbox is another one.
    restart(&lab);
    let before = server.requests().len();
    let again = lab.session(json!({ "env": "den", "agent": "guide" }));
    both(&asked(&lab, &server, &again, "hello there"), "in a new sandbox");
    both(&asked(&lab, &server, &session, "after all, again"), "resumed");
    // The orders of the attacker are in the transcript of that session, and nowhere that another one reads.
    let heard: String = server.requests()[before..]
        .iter()
        .map(|r| String::from_utf8_lossy(&r.body).into_owned())
        .filter(|b| !b.contains("break it"))
        .collect();
    assert!(!heard.contains("evil-orders"), "{heard}");
    // A change of memory is heard in the next turn.
    lab.ask("PATCH", "/v1/envs/den", json!({ "core_memory": "The env's word is basalt-99." })).is(200);
    let changed = asked(&lab, &server, &again, "after all, changed");
    assert!(changed.contains("basalt-99") && changed.contains("heliotrope-17"), "{changed}");
}

#[test]
fn what_claude_code_is_told_cannot_be_taken_from_it() {
    instructed("claude-code", "/home/sandbox/.claude/CLAUDE.md");
}

#[test]
fn what_codex_is_told_cannot_be_taken_from_it() {
    instructed("codex", "/home/sandbox/.codex/AGENTS.md");
}

#[test]
fn what_mini_is_told_cannot_be_taken_from_it() {
    instructed("mini", "/home/sandbox/.lazaret/mini/AGENTS.md");
}

/// A neighbour in the same env, whose sandbox has nothing mounted there, removes the place of the file: the mount of the
/// other sandbox would go with it.
#[test]
fn a_neighbour_cannot_take_instructions_away() {
    let rules = vec![answers("after all", "obeyed"), answers("hello there", "hello")];
    let (lab, server) = lab("mini", rules);
    start(&lab);
    lab.ask("POST", "/v1/agents", json!({ "name": "guide", "instructions": "The agent's word is heliotrope-17." })).is(201);
    lab.ask("POST", "/v1/envs", json!({ "name": "den" })).is(201);
    let victim = lab.session(json!({ "env": "den", "agent": "guide" }));
    assert!(asked(&lab, &server, &victim, "hello there").contains("heliotrope-17"));
    // The transcripts stay: without them the victim could not go on at all, and undo is the remedy.
    let orders = "cd; cp -a .lazaret copy && chmod -R u+w .lazaret; rm -rf .lazaret; mv copy .lazaret; rm -f .lazaret/mini/AGENTS.md; \
        echo evil-orders > .lazaret/mini/AGENTS.md; cat .lazaret/mini/AGENTS.md; echo ended";
    let program = json!({ "env": "den", "engine": "program:/bin/sh", "program": "/bin/sh", "model": "rehearsal" });
    let vandal = lab.session(program);
    let result = lab.turn(&vandal, orders);
    assert!(result["text"].as_str().is_some_and(|t| t.contains("evil-orders") && t.contains("ended")), "the attack ran: {result}");
    // The process of the first turn may have read them before; a new one must too.
    for when in ["after all", "after all, in a new sandbox"] {
        let heard = asked(&lab, &server, &victim, when);
        assert!(heard.contains("heliotrope-17") && !heard.contains("evil-orders"), "{when}: {heard}");
        restart(&lab);
    }
}

/// The same for a host directory that only the victim has mounted.
#[test]
fn a_neighbour_cannot_take_a_mount_away() {
    let lab = Lab::new();
    let books = lab.path("books");
    std::fs::create_dir(&books).expect("make");
    std::fs::write(books.join("page"), "of the host").expect("write");
    let roots = format!("[{{ path = \"{}\" }}]", lab.path(".").canonicalize().expect("there").display());
    lab.run(&["config", "set", "mounts.roots", &roots]).succeeds();
    lab.run(&["stop", "--grace", "0s"]).succeeds();
    start(&lab);
    lab.ask("POST", "/v1/envs", json!({ "name": "den" })).is(201);
    let shell = |mounts: Value| {
        let form = json!({ "env": "den", "engine": "program:/bin/sh", "program": "/bin/sh", "model": "rehearsal", "mounts": mounts });
        lab.session(form)
    };
    let victim = shell(json!([{ "host": books.canonicalize().expect("there"), "name": "books" }]));
    let vandal = shell(json!([]));
    let reads = || lab.turn(&victim, "cat ~/books/page")["text"].as_str().unwrap_or_default().to_owned();
    assert_eq!(reads(), "of the host");
    let said = lab.turn(&vandal, "cd; rmdir books; mkdir books; echo forged > books/page; cat books/page");
    assert_eq!(said["text"].as_str().map(str::trim), Some("forged"), "the attack ran: {said}");
    assert_eq!(reads(), "of the host");
}
