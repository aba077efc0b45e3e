//! Configuration, secrets and doctor.

use testkit::model_server::Script;

use crate::support::{KEY, Lab, Ran};

#[test]
fn a_changed_setting_takes_effect() {
    let lab = Lab::new();
    assert_eq!(lab.run(&["config", "get", "limits.pids"]).succeeds().out.trim(), "256");
    lab.run(&["config", "set", "limits.pids", "32"]).succeeds();
    assert_eq!(lab.run(&["config", "get", "limits.pids"]).succeeds().out.trim(), "32");
    let ran = lab.run(&["sandbox", "run", "--", "sh", "-c", "for i in $(seq 60); do sleep 600 & done; echo made all"]);
    assert!(!ran.out.contains("made all") || ran.err.contains("fork"), "{} {}", ran.out, ran.err);
    lab.run(&["config", "set", "no.such.key", "1"]).fails("CONFIG_INVALID", 2);
    lab.run(&["config", "set", "limits.memory", "plenty"]).fails("CONFIG_INVALID", 2);
    assert_eq!(lab.run(&["config", "get", "limits.pids"]).succeeds().out.trim(), "32", "a refused change changes nothing");
    lab.run(&["config", "get", "no.such.key"]).fails("NOT_FOUND", 2);
    assert!(lab.run(&["config", "path"]).succeeds().out.contains("config.toml"));
    let shown = lab.run(&["config", "show"]).succeeds().out;
    assert!(shown.contains("[limits]") && shown.contains("pids = 32"), "{shown}");
}

#[test]
fn a_provider_moves_while_the_daemon_runs() {
    let lab = Lab::new();
    let (one, two) = (lab.model(Script::default()), lab.model(Script::default()));
    lab.connect("anthropic", &one);
    lab.run(&["run", "first"]).succeeds();
    lab.connect("anthropic", &two);
    lab.run(&["run", "second"]).succeeds();
    assert!(!one.requests().is_empty() && !two.requests().is_empty());
}

#[test]
fn secrets_go_in_and_never_come_out() {
    let lab = Lab::new();
    lab.run_with(&["secret", "set", "anthropic", "-"], KEY.as_bytes()).succeeds();
    lab.run(&["secret", "set", "anthropic", "on-the-command-line"]).fails("USAGE", 2);
    lab.run_with(&["secret", "set", "../x", "-"], b"v").fails("USAGE", 2);
    lab.run_with(&["secret", "set", "empty", "-"], b"  \n").fails("USAGE", 2);
    let list = lab.run(&["secret", "list"]).succeeds();
    assert!(list.out.starts_with("anthropic  install  set "), "{}", list.out);
    assert!(!lab.run(&["secret", "list", "--json"]).succeeds().out.contains(KEY));
    lab.run(&["stop", "--grace", "0s"]).succeeds();
    let mut todo = vec![lab.home()];
    while let Some(dir) = todo.pop() {
        for entry in std::fs::read_dir(dir).expect("read").flatten() {
            if entry.file_type().expect("a type").is_dir() {
                todo.push(entry.path());
                continue;
            }
            if !entry.file_type().expect("a type").is_file() || entry.file_name() == "disk.img" {
                continue;
            }
            let bytes = std::fs::read(entry.path()).expect("read");
            assert!(!bytes.windows(KEY.len()).any(|w| w == KEY.as_bytes()), "the key stands in {}", entry.path().display());
        }
    }
    lab.run(&["secret", "remove", "anthropic"]).succeeds();
    lab.run(&["secret", "remove", "anthropic"]).fails("NOT_FOUND", 2);
}

#[test]
fn keys_of_the_environment_count_only_when_imported() {
    let lab = Lab::new();
    let server = lab.model(Script { key: Some("sk-from-the-environment".to_owned()), ..Script::default() });
    lab.run(&["config", "set", "providers.anthropic.base_url", &server.url()]).succeeds();
    let with = |args: &[&str]| {
        let mut command = lab.command(args);
        command.env("ANTHROPIC_API_KEY", "sk-from-the-environment");
        Ran::of(command, None).succeeds()
    };
    let err = with(&["run", "x"]).err;
    assert!(err.contains("rehearsal"), "{err}");
    assert!(server.requests().is_empty());
    with(&["secret", "import-env"]);
    lab.run(&["run", "x"]).succeeds();
    assert!(server.requests().iter().any(|r| r.credential().as_deref() == Some("sk-from-the-environment")));
}

#[test]
fn doctor_names_each_layer() {
    let lab = Lab::new();
    let ran = lab.run(&["doctor", "--json"]).succeeds();
    let checks = ran.events();
    assert!(checks.len() > 10, "{}", ran.out);
    assert!(checks.iter().all(|c| c["status"] != "fail" && c["label"].is_string() && c["detail"].is_string()), "{}", ran.out);
    assert!(checks.iter().all(|c| (c["status"] == "pass") == c["fix"].is_null()), "{}", ran.out);
    lab.run(&["doctor"]).succeeds();
}
