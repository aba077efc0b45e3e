//! `ipc` in a shell of an agent: what it prints, how it ends, and that a restart of the daemon loses no call.

use serde_json::{Value, json};
use testkit::model_server::{Rule, Say, Script};

use crate::support::{KEY, Lab, of_type};

/// Runs commands in one turn of mini, each in a shell of its own; what each printed.
fn shells(lab: &Lab, commands: &[&str]) -> Vec<String> {
    let mut say: Vec<Say> = commands.iter().map(|command| Say::Shell((*command).to_owned())).collect();
    say.push(Say::Text("done".to_owned()));
    let rules = vec![Rule { contains: "use the door".to_owned(), say }];
    let server = lab.model(Script { key: Some(KEY.to_owned()), rules, ..Script::default() });
    lab.connect("anthropic", &server);
    let ran = lab.run(&["run", "--json", "--engine", "mini", "use the door"]).succeeds();
    let events = ran.events();
    of_type(&events, "tool_result").iter().map(|event| event["output"].as_str().expect("text").to_owned()).collect()
}

#[test]
fn a_shell_reaches_the_tools_and_is_told_what_it_may_not() {
    let lab = Lab::new();
    let said = shells(
        &lab,
        &[
            "ipc tool.invoke.get_session_info '{}' 2>/tmp/err; echo \"status $?\"; cat /tmp/err",
            "echo '{}' | ipc tool.invoke.list_tools - | head -c 200",
            "ipc tool.invoke.nowhere '{}' 2>/tmp/err; echo \"status $?\"; cat /tmp/err",
            "ipc message.inbound '{}' 2>/tmp/err; echo \"status $?\"; cat /tmp/err",
            "ipc tool.invoke.get_session_info '{\"a\":1,\"a\":2}' 2>/tmp/err; echo \"status $?\"; cat /tmp/err",
            "ipc tool.invoke.get_session_info '[]' 2>/tmp/err; echo \"status $?\"; cat /tmp/err",
        ],
    );
    let (info, rest) = said[0].split_once('\n').expect("two lines");
    let info: Value = serde_json::from_str(info).unwrap_or_else(|e| panic!("{e}: {}", said[0]));
    assert_eq!((&info["group"], rest.trim()), (&json!("default"), "status 0"), "{}", said[0]);
    assert!(said[1].contains("\"tools\":["), "{}", said[1]);
    for (at, code) in [(2, "UNKNOWN_TOOL"), (3, "UNKNOWN_TOOL"), (4, "VALIDATION_FAILED"), (5, "CLI_ERROR")] {
        assert!(said[at].starts_with("status 1") && said[at].contains(&format!("\"{code}\"")), "{code}: {}", said[at]);
    }
}

/// A sandbox without a session has no tools: the call ends with an error of its own, and nothing hangs for ever.
#[test]
fn without_a_host_the_call_fails() {
    let lab = Lab::new();
    let ran = lab.run(&["sandbox", "run", "--", "/opt/lazaret/bin/ipc", "tool.invoke.list_tools", "{}"]).ends_with(1);
    let error: Value = serde_json::from_str(&ran.err).unwrap_or_else(|e| panic!("{e}: {}", ran.err));
    assert_eq!((&error["code"], &error["retriable"], ran.out.as_str()), (&json!("IPC_ERROR"), &json!(true), ""));
}
