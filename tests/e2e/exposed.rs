//! The one credential that an agent may hold: exposed by the owner, to one agent by name, said wherever the agent is shown, and
//! left in nothing that the host keeps.

use std::fs;

use serde_json::{Value, json};
use testkit::model_server::{Rule, Say, Script};

use crate::support::{KEY, Lab, comes, of_type};
use crate::web::Web;

/// The secret, in halves so that this file and the prompts are none of the places where it is found.
const HALVES: (&str, &str) = ("c4n4ryExposed", "QWdlbnRIb2xkc1RoaXM5");

fn secret() -> String {
    format!("{}{}", HALVES.0, HALVES.1)
}

/// A daemon with two agents, and a model that lets them print what they hold, in several spellings, and keep it in a file.
fn lab() -> (Lab, testkit::model_server::ModelServer) {
    let lab = Lab::new();
    let show =
        "echo \"held: $DEPLOY_TOKEN\"; printf %s \"$DEPLOY_TOKEN\" | base64; printf %s \"$DEPLOY_TOKEN\" | tee kept.txt ~/kept.txt | wc -c";
    let server = lab.model(Script {
        rules: vec![
            Rule {
                contains: "show it".to_owned(),
                say: vec![Say::Shell(show.to_owned()), Say::Text(format!("it is {}{}", HALVES.0, HALVES.1))],
            },
            Rule { contains: "look for it".to_owned(), say: vec![Say::Shell(show.to_owned()), Say::Text("done".to_owned())] },
        ],
        ..Script::default()
    });
    lab.run(&["config", "set", "providers.anthropic.base_url", &server.url()]).succeeds();
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    lab.run_with(&["secret", "set", "anthropic", "-"], KEY.as_bytes()).succeeds();
    for agent in ["deployer", "other"] {
        lab.run(&["agent", "add", agent]).succeeds();
    }
    (lab, server)
}

/// What the command of a turn printed, and the session's log.
fn shown(lab: &Lab, agent: &str) -> (String, Vec<Value>, String) {
    asked(lab, agent, "show it")
}

fn asked(lab: &Lab, agent: &str, text: &str) -> (String, Vec<Value>, String) {
    let session = lab.session(json!({ "agent": agent, "engine": "mini" }));
    let turn = lab.send(&session, text);
    assert_eq!(lab.result_of(&session, &turn)["status"], "completed");
    let log = lab.log(&session);
    let output = of_type(&log, "tool_result")[0]["output"].as_str().expect("output").to_owned();
    (output, log, session)
}

#[test]
fn one_agent_holds_one_secret_and_nothing_that_is_kept_does() {
    let (lab, server) = lab();
    let (output, ..) = asked(&lab, "deployer", "look for it");
    assert!(output.contains("held: \n") && output.ends_with("0\n"), "nothing is held before: {output}");
    let set = lab.run_with(&["secret", "set", "DEPLOY_TOKEN", "-", "--expose", "deployer"], secret().as_bytes()).succeeds();
    assert!(set.err.contains("EXPOSED"), "{}", set.err);

    // The agent holds the whole of it; the log has none.
    let from = server.requests().len();
    let (output, log, session) = shown(&lab, "deployer");
    assert!(output.trim_end().ends_with(&secret().len().to_string()), "it was there: {output}");
    let to_model: String = server.requests()[from..].iter().map(|r| String::from_utf8_lossy(&r.body).into_owned()).collect();
    assert!(to_model.contains(&secret()), "the control: the agent told its model");
    assert!(!json!(log).to_string().contains(HALVES.1), "{log:#?}");
    let (output, ..) = asked(&lab, "other", "look for it");
    assert!(output.contains("held: \n"), "another agent holds nothing: {output}");

    // It is said wherever the agent is shown.
    let result = of_type(&log, "result")[0];
    let line = result["level"]["lines"].as_array().and_then(|lines| lines.iter().find(|l| l["name"] == "exposed")).expect("a line");
    assert_eq!((&line["holds"], &line["how"]), (&json!(false), &json!("DEPLOY_TOKEN")));
    let status = lab.run(&["status"]).succeeds().out;
    assert!(status.contains("EXPOSED: the agent deployer holds the secret DEPLOY_TOKEN"), "{status}");
    let list = lab.run(&["secret", "list"]).succeeds().out;
    assert!(list.contains("DEPLOY_TOKEN  EXPOSED to the agent deployer"), "{list}");
    let rows = lab.run(&["audit", "query", "--json", "--limit", "500"]).succeeds().events();
    let of = |topic: &str| rows.iter().filter(|row| row["topic"] == topic).count();
    assert_eq!((of("secret.expose"), of("secret.given")), (1, 1), "{rows:#?}");

    // What travels has none of it, in the files either; the sandbox's own file had.
    let archive = lab.ask("GET", &format!("/v1/sessions/{session}/export"), Value::Null).body;
    assert!(archive.windows(8).any(|w| w == b"kept.txt"), "the file is in it");
    assert!(!archive.windows(HALVES.1.len()).any(|w| w == HALVES.1.as_bytes()), "its value is not");
    // What the daemon keeps, once it has ended: the disk of the session aside, which holds what the agent wrote there.
    lab.run(&["secret", "hide", "DEPLOY_TOKEN"]).succeeds();
    let (output, ..) = shown(&lab, "deployer");
    assert!(output.contains("held: \n"), "from now on nothing is held: {output}");
    lab.run(&["stop", "--grace", "5s"]).succeeds();
    for place in ["lazaret.db", "lazaret.db-wal", "logs/daemon.log"] {
        let bytes = fs::read(lab.home().join(place)).unwrap_or_default();
        assert!(!bytes.windows(HALVES.1.len()).any(|w| w == HALVES.1.as_bytes()), "{place}");
    }
}

#[test]
fn a_tape_holds_none_of_it() {
    let (lab, _server) = lab();
    lab.run_with(&["secret", "set", "DEPLOY_TOKEN", "-", "--expose", "deployer"], secret().as_bytes()).succeeds();
    let session = lab.session(json!({ "agent": "deployer", "engine": "mini", "tape": "record" }));
    let turn = lab.send(&session, "show it");
    assert_eq!(lab.result_of(&session, &turn)["status"], "completed");
    let answer = lab.ask("GET", &format!("/v1/sessions/{session}/tape"), Value::Null);
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    assert!(text.contains("held: *") && !text.contains(HALVES.1) && !text.contains(HALVES.0), "{text}");
}

#[test]
fn only_the_owner_here_exposes_and_no_key_of_a_provider() {
    let (lab, _server) = lab();
    lab.run_with(&["secret", "set", "DEPLOY_TOKEN", "-"], secret().as_bytes()).succeeds();
    // Over TCP nobody does, with whatever token.
    lab.run(&["stop", "--grace", "0s"]).succeeds();
    let web = Web::start(&lab);
    let form = json!({ "name": "DEPLOY_TOKEN", "agent": "deployer" });
    web.ask(&web.token("admin", None).0, "POST", "/v1/exposed", form.clone()).refused(403, "FORBIDDEN");
    for (name, code, status) in
        [("anthropic", "FORBIDDEN", 3), ("nothing", "NOT_FOUND", 1), ("PATH", "USAGE", 2), ("plugin.x.token", "USAGE", 2)]
    {
        let ran = lab.run(&["secret", "expose", name, "--agent", "deployer"]);
        assert!(ran.err.contains(&format!("[{code}]")) && ran.status != 0, "{name}: {} {status}", ran.err);
    }
    // The same value under another name is the same key.
    lab.run_with(&["secret", "set", "COPY", "-"], KEY.as_bytes()).succeeds();
    let ran = lab.run(&["secret", "expose", "COPY", "--agent", "deployer"]);
    assert!(ran.status != 0 && ran.err.contains("provider's key"), "{}", ran.err);
    let ran = lab.run(&["secret", "expose", "DEPLOY_TOKEN", "--agent", "nobody"]);
    assert!(ran.status != 0 && ran.err.contains("[NOT_FOUND]"), "{}", ran.err);
    assert_eq!(lab.ask("GET", "/v1/exposed", Value::Null).is(200)["items"], json!([]));
    // The control.
    lab.run(&["secret", "expose", "DEPLOY_TOKEN", "--agent", "deployer"]).succeeds();
    // A value that becomes a provider's key is no longer given.
    lab.run_with(&["secret", "set", "anthropic", "-"], secret().as_bytes()).succeeds();
    let (output, ..) = shown(&lab, "deployer");
    assert!(output.contains("held: \n"), "{output}");
}

/// An engine that says what it holds in pieces of a line each, as programs that stream do, and then stays.
const STUTTER: &str = r#"
name = "stutter"
description = "Says a word in pieces"
command = ["/bin/sh", "-c", """
cat > /dev/null
first=$(printf %s "$DEPLOY_TOKEN" | cut -c1-9); rest=$(printf %s "$DEPLOY_TOKEN" | cut -c10-)
printf '{"text":"held: %s"}\\n{"text":"%s, and that is all of "}\\n' "$first" "$rest"
printf '{"text":"%s bytes."}\\n' "${#DEPLOY_TOKEN}"
printf %s "$DEPLOY_TOKEN" >&2
exec sleep 600
"""]
prompt = "stdin"
output = "json-lines"

[json]
text = "/text"
"#;

/// While a turn runs its output is kept for a daemon that comes after a crash; and what streams comes in pieces.
#[test]
fn neither_the_output_that_is_kept_nor_pieces_of_it_hold_the_value() {
    let (lab, _server) = lab();
    let file = lab.path("stutter.toml");
    fs::write(&file, STUTTER).expect("write");
    lab.run(&["engine", "add", file.to_str().expect("a path")]).succeeds();
    lab.run_with(&["secret", "set", "DEPLOY_TOKEN", "-", "--expose", "deployer"], secret().as_bytes()).succeeds();
    let session = lab.session(json!({ "agent": "deployer", "engine": "stutter" }));
    let turn = lab.send(&session, "say it");
    let said = |log: &[Value]| of_type(log, "text").iter().map(|e| e["text"].as_str().expect("a text")).collect::<String>();
    let all = format!("{} bytes.", secret().len());
    lab.event_where(&session, |e| e["type"] == "text" && e["text"].as_str().is_some_and(|text| text.ends_with(&all)));
    let log = lab.log(&session);
    assert_eq!(said(&log), format!("held: {}, and that is all of {all}", "*".repeat(secret().len())), "{log:#?}");

    // What the daemon keeps of it right now.
    let raw = find(&lab.home(), "output.raw").expect("the output is kept");
    let kept = fs::read(&raw).expect("read");
    assert!(kept.len() > STUTTER.len() / 4, "something is kept: {}", kept.len());
    for half in [HALVES.0, HALVES.1, &secret()[..9], &secret()[9..]] {
        assert!(!kept.windows(half.len()).any(|w| w == half.as_bytes()), "{half}");
    }
    lab.ask("POST", &format!("/v1/sessions/{session}/cancel"), json!({}));
    assert_eq!(lab.result_of(&session, &turn)["status"], "cancelled");
    assert!(comes(|| !raw.exists()), "it goes with the turn");
}

/// The first file of this name below a directory.
fn find(dir: &std::path::Path, name: &str) -> Option<std::path::PathBuf> {
    let entries: Vec<_> = fs::read_dir(dir).ok()?.flatten().collect();
    let here = entries.iter().find(|e| e.file_name() == name).map(fs::DirEntry::path);
    here.or_else(|| entries.iter().filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).find_map(|e| find(&e.path(), name)))
}

/// An agent that had a secret may have kept it: what it says is cleaned of it also when another agent has it now.
#[test]
fn a_secret_that_moved_on_is_still_taken_out_of_what_its_first_agent_says() {
    let (lab, _server) = lab();
    lab.run_with(&["secret", "set", "DEPLOY_TOKEN", "-", "--expose", "deployer"], secret().as_bytes()).succeeds();
    lab.run(&["secret", "expose", "DEPLOY_TOKEN", "--agent", "other"]).succeeds();
    // It holds it no longer, and its model says it all the same.
    let (output, log, _) = shown(&lab, "deployer");
    assert!(output.contains("held: \n"), "{output}");
    assert!(!json!(log).to_string().contains(HALVES.1), "{log:#?}");
    lab.run(&["stop", "--grace", "0s"]).succeeds();
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    let (_, log, _) = shown(&lab, "deployer");
    assert!(!json!(log).to_string().contains(HALVES.1), "after a restart: {log:#?}");
    // The control: what an agent says that never had it is its own affair.
    lab.run(&["agent", "add", "third"]).succeeds();
    let (_, log, _) = shown(&lab, "third");
    assert!(json!(log).to_string().contains(HALVES.1), "{log:#?}");
}

/// A turn keeps the value that it began with: who changes it is told which those are, and ends them where that is asked for.
#[test]
fn who_changes_a_value_is_told_which_turns_still_have_the_one_before() {
    let (lab, server) = lab();
    let show = || Say::Shell("echo \"held: $DEPLOY_TOKEN\"".to_owned());
    let rules = vec![
        Rule { contains: "show and stay".to_owned(), say: vec![show(), Say::Shell("sleep 86400".to_owned())] },
        Rule { contains: "show it".to_owned(), say: vec![show(), Say::Text("shown".to_owned())] },
    ];
    server.set_script(Script { rules, ..Script::default() });
    let [first, second, third] = ["first", "second", "third"].map(|word| format!("the-{word}-value-of-the-token"));
    let set = |value: &str, more: &[&str]| {
        lab.run_with(&[&["secret", "set", "DEPLOY_TOKEN", "-"], more].concat(), value.as_bytes()).succeeds().err
    };
    let told = |text: &str| server.requests().iter().any(|request| String::from_utf8_lossy(&request.body).contains(text));
    assert!(!set(&first, &["--expose", "deployer"]).contains("still runs"), "nothing runs");
    let session = lab.session(json!({ "agent": "deployer", "engine": "mini" }));
    let turn = lab.send(&session, "show and stay");
    lab.event_where(&session, |event| event["type"] == "tool_call" && event.to_string().contains("86400"));
    assert!(told(&format!("held: {first}")));
    let said = set(&second, &[]);
    assert!(said.contains(&format!("the turn of {session} (agent deployer) still runs with the value before")), "{said}");
    lab.state_is(&session, "running");
    let said = set(&third, &["--restart"]);
    assert!(said.contains(&format!("the turn of {session} (agent deployer) was ended")), "{said}");
    assert_eq!(lab.result_of(&session, &turn)["status"], "cancelled");
    // The first turn that follows is told what became of the tool that was cut off.
    for text in ["go on", "show it"] {
        assert_eq!(lab.turn(&session, text)["status"], "completed");
    }
    assert!(told(&format!("held: {third}")) && !told(&second), "the next one has the last");
    let all = format!("{said}{}", json!(lab.log(&session)));
    assert!([&first, &second, &third].iter().all(|value| !all.contains(value.as_str())), "none of them is shown: {all}");
}
