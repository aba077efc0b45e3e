//! What every verb prints: JSON when asked, help, completions, and one form for errors.

use std::process::Command;

use serde_json::Value;

use crate::support::Lab;

const VERBS: &[&[&str]] = &[
    &["job"],
    &["job", "create"],
    &["job", "list"],
    &["job", "wait"],
    &["job", "logs"],
    &["job", "cancel"],
    &["job", "artifacts"],
    &["job", "retry"],
    &["profile"],
    &["profile", "set"],
    &["template"],
    &["hook"],
    &["task"],
    &["task", "add"],
    &["task", "log"],
    &["webhook"],
    &["webhook", "resend"],
    &["tenant"],
    &["user"],
    &["budget"],
    &["budget", "set"],
    &["import"],
    &["secret", "expose"],
    &["secret", "hide"],
    &["run"],
    &["shell"],
    &["attach"],
    &["sandbox"],
    &["sandbox", "run"],
    &["sandbox", "create"],
    &["sandbox", "exec"],
    &["sandbox", "cp"],
    &["sandbox", "list"],
    &["sandbox", "rm"],
    &["engine"],
    &["engine", "list"],
    &["engine", "install"],
    &["engine", "remove"],
    &["engine", "verify"],
    &["secret"],
    &["secret", "set"],
    &["secret", "list"],
    &["secret", "remove"],
    &["secret", "import-env"],
    &["config"],
    &["config", "show"],
    &["config", "get"],
    &["config", "set"],
    &["config", "path"],
    &["usage"],
    &["doctor"],
    &["replay"],
    &["up"],
    &["start"],
    &["status"],
    &["stop"],
    &["ui"],
    &["completions"],
];

#[test]
fn json_on_every_verb() {
    let lab = Lab::new();
    let check = |args: &[&str], status: i32, at_least: usize| -> Vec<Value> {
        let mut all = vec!["--json"];
        all.extend(args);
        let ran = lab.run(&all).ends_with(status);
        let events = ran.events();
        assert!(events.len() >= at_least, "{args:?} printed {}", ran.out);
        for line in ran.err.lines() {
            serde_json::from_str::<Value>(line).unwrap_or_else(|e| panic!("{args:?}: {e} in the error line {line}"));
        }
        events
    };
    check(&["status"], 1, 1);
    check(&["config", "show"], 0, 1);
    check(&["config", "get", "limits.pids"], 0, 1);
    check(&["config", "set", "limits.pids", "200"], 0, 0);
    let path = check(&["config", "path"], 0, 1);
    assert!(path[0].as_str().is_some_and(|p| p.ends_with("config.toml")), "{path:?}");
    check(&["doctor"], 0, 5);
    let ready = check(&["start", "--listen", "127.0.0.1:0"], 0, 1);
    assert_eq!(ready[0]["ready"], true);
    assert_eq!(check(&["status"], 0, 1)[0]["up"], true);
    let engines: Vec<Value> = check(&["engine", "list"], 0, 5).iter().map(|engine| engine["name"].clone()).collect();
    for name in ["mini", "claude-code", "codex", "opencode", "gemini", "aider", "gemini-acp", "opencode-acp"] {
        assert!(engines.contains(&name.into()), "{name} is not among {engines:?}");
    }
    assert_eq!(engines.len(), 8);
    check(&["engine", "verify"], 0, 0);
    assert_eq!(lab.run_with(&["--json", "secret", "set", "thing", "-"], b"value").succeeds().err, "");
    assert_eq!(check(&["secret", "list"], 0, 1)[0]["name"], "thing");
    check(&["secret", "remove", "thing"], 0, 0);
    check(&["usage"], 0, 0);
    check(&["run", "hello"], 0, 5);
    check(&["sandbox", "list"], 0, 0);
    let made = check(&["sandbox", "create"], 0, 1);
    let id = made[0]["id"].as_str().expect("an identity");
    assert_eq!(check(&["sandbox", "list"], 0, 1)[0]["id"], id);
    std::fs::write(lab.path("file"), "x").expect("write");
    check(&["sandbox", "cp", lab.path("file").to_str().expect("utf-8"), &format!("{id}:/workspace")], 0, 0);
    check(&["sandbox", "rm", id], 0, 0);
    check(&["replay", "/nonexistent"], 2, 0);
    let link = check(&["ui"], 0, 1);
    assert!(link[0]["url"].as_str().is_some_and(|url| url.starts_with("http://127.0.0.1:")), "{link:?}");
    check(&["stop", "--grace", "0s"], 0, 0);
    check(&["stop"], 0, 0);
    // Failures are JSON too, those of the command line itself as well.
    for args in [&["--json", "run"][..], &["nonsense", "--json"], &["--json", "usage", "--by", "x"]] {
        let ran = lab.run(args).ends_with(2);
        let error: Value = serde_json::from_str(ran.err.trim()).unwrap_or_else(|e| panic!("{args:?}: {e}: {}", ran.err));
        assert_eq!(error["error"]["code"], "USAGE", "{args:?}");
    }
    lab.run(&["nonsense"]).fails("USAGE", 2);
}

#[test]
fn help_for_every_verb() {
    let lab = Lab::new();
    assert!(lab.run(&["--version"]).succeeds().out.starts_with("lazaret "));
    let top = lab.run(&["--help"]).succeeds();
    assert_eq!(top.err, "");
    for verb in VERBS {
        let mut args = verb.to_vec();
        args.push("--help");
        let help = lab.run(&args).succeeds().out;
        let first = help.lines().next().unwrap_or_default();
        assert!(first.len() > 10 && first.chars().next().is_some_and(char::is_uppercase), "{verb:?} begins with: {first}");
        assert!(help.contains("Usage: lazaret"), "{verb:?}: {help}");
        assert!(help.lines().all(|line| line.chars().count() <= 100), "{verb:?} has a line over 100 characters");
        // Every option says what it is for.
        for option in help.lines().filter(|line| line.trim_start().starts_with("--")) {
            let words = option.trim_start().split_once("  ").map_or("", |(_, words)| words.trim());
            assert!(words.len() > 5, "{verb:?}: an option without words: {option}");
        }
        if let [name] = verb {
            assert!(top.out.lines().any(|line| line.trim_start().starts_with(name)), "{name} is not in the list of commands");
        }
    }
    let help = lab.run(&["help", "sandbox", "run"]).succeeds().out;
    assert!(help.contains("Usage: lazaret sandbox run"), "{help}");
    assert!(!top.out.contains("fetch"), "what only the program itself uses is not listed");
}

#[test]
fn completions_complete() {
    let lab = Lab::new();
    let script = lab.path("lazaret.bash");
    std::fs::write(&script, lab.run(&["completions", "bash"]).succeeds().out).expect("write");
    let complete = |words: &str| {
        let line = format!(
            "source {}; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}}-1)); _lazaret lazaret \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"; echo \"${{COMPREPLY[@]}}\"",
            script.display()
        );
        let done = Command::new("bash").args(["--norc", "-c", &line]).output().expect("bash");
        assert!(done.status.success(), "{done:?}");
        String::from_utf8_lossy(&done.stdout).trim().to_owned()
    };
    assert_eq!(complete("lazaret sand"), "sandbox");
    assert_eq!(complete("lazaret run --eng"), "--engine");
    assert_eq!(complete("lazaret sandbox cr"), "create");
    for shell in ["bash", "zsh", "fish"] {
        let words = lab.run(&["completions", shell]).succeeds().out;
        assert!(words.contains("import-env") && words.contains("budget-usd"), "{shell}");
        assert!(!words.contains("on-demand"), "{shell} offers what is hidden");
    }
    lab.run(&["completions", "cobol"]).ends_with(2);
}
