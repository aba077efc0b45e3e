//! Each engine, as its package comes from the registry, does a whole turn against a scripted model and resumes.

use serde_json::Value;
use testkit::model_server::{Fault, ModelServer, Rule, Say, Script};

use crate::branches::Project;
use crate::registry::Registry;
use crate::support::{KEY, Lab, of_type};

/// What the tool is told to print: it appears nowhere else.
const PRINTED: &str = "tide-table-4711";

fn script() -> Script {
    let first = Rule {
        contains: "first question".to_owned(),
        say: vec![
            Say::Shell(format!("echo {PRINTED} > /workspace/tide; cat /workspace/tide; id -u")),
            Say::Text("the first answer".to_owned()),
        ],
    };
    let answer = |to: &str, text: &str| Rule { contains: to.to_owned(), say: vec![Say::Text(text.to_owned()); 3] };
    let branch = Rule {
        contains: "branch question".to_owned(),
        say: vec![
            Say::Shell(format!("echo {PRINTED} > tide.txt; git add -A; git commit -q -m tide")),
            Say::Text("it is committed".to_owned()),
        ],
    };
    let (second, third) = (answer("second question", "the second answer"), answer("third question", "the third answer"));
    Script { key: Some(KEY.to_owned()), rules: vec![branch, third, second, first], ..Script::default() }
}

/// Installs an engine from the pinned files, over the same way as from the registry.
pub(crate) fn install(lab: &Lab, engine: &str) {
    let registry = Registry::start();
    lab.run(&["config", "set", "engines.registry", &format!("http://127.0.0.1:{}", registry.port)]).succeeds();
    lab.run(&["config", "set", "egress.private_ok", "[\"127.0.0.1\"]"]).succeeds();
    let ran = lab.run(&["engine", "install", engine]).succeeds();
    assert!(ran.out.contains("installed, verified"), "{}", ran.out);
    lab.run(&["engine", "verify", engine]).succeeds();
}

fn whole_turn(engine: &str, provider: &str) {
    let lab = Lab::new();
    if engine != "mini" {
        install(&lab, engine);
    }
    let server = lab.model(script());
    lab.connect(provider, &server);

    let ran = lab.run(&["run", "--json", "--engine", engine, "--budget-usd", "5", "first question"]).succeeds();
    let events = ran.events();
    let calls = of_type(&events, "tool_call");
    assert!(!calls.is_empty(), "{engine} called no tool: {}", ran.out);
    let results: Vec<&Value> = of_type(&events, "tool_result");
    assert!(results.iter().any(|r| r["output"].as_str().is_some_and(|o| o.contains(PRINTED) && o.contains("1000"))), "{}", ran.out);
    let result = ran.result();
    assert_eq!(result["status"], "completed");
    assert!(result["text"].as_str().is_some_and(|t| t.contains("the first answer")), "{result}");
    assert!(result["usage"]["input_tokens"].as_u64() >= Some(200), "two calls at least: {result}");
    assert!(result["cost_usd"].as_f64() > Some(0.0), "{result}");
    check_requests(&server);

    let session = result["session"].as_str().expect("a session").to_owned();
    let before = server.requests().len();
    let ran = lab.run(&["run", "--json", "--resume", &session, "second question"]).succeeds();
    let result = ran.result();
    assert_eq!(result["session"], session.as_str());
    assert!(result["text"].as_str().is_some_and(|t| t.contains("the second answer")), "{result}");
    let remembers = server.requests()[before..].iter().any(|r| {
        let body = String::from_utf8_lossy(&r.body).into_owned();
        body.contains("first question") && body.contains("second question")
    });
    assert!(remembers, "{engine} forgot the first turn");
    long_prompt(&lab, &server, engine);
    failing_provider(&lab, &server, engine);
    check_requests(&server);
    lab.assert_nothing_left();
    // Last, as its sandbox waits a while for a further task.
    on_a_branch(&lab, engine);
    check_requests(&server);
}

/// As an agent on a branch of a repository: what it commits is seen, checked and merged, and nothing else of the user's changed.
fn on_a_branch(lab: &Lab, engine: &str) {
    let project = Project::new(lab, "project");
    let before = project.print(&["feat/tide"]);
    let check = format!("grep -q {PRINTED} tide.txt");
    let on = ["--repo", project.repo(), "--branch", "feat/tide"];
    let spawn = ["--engine", engine, "--task", "branch question", "--check", &check, "--wait", "--max-cost", "5"];
    lab.run(&[&["spawn"], &on[..], &spawn].concat()).succeeds();
    assert_eq!(project.print(&["feat/tide"]), before, "{engine}");
    let agents = |verb: &str, more: &[&str]| lab.run(&[&["agents", verb], &on[..], more].concat()).succeeds().out;
    assert!(agents("diff", &[]).contains(&format!("+{PRINTED}")), "{engine}");
    agents("check", &[]);
    agents("merge", &["--yes"]);
    assert_eq!(std::fs::read_to_string(project.dir.join("tide.txt")).expect("merged"), format!("{PRINTED}\n"), "{engine}");
    assert_eq!(project.git(&["log", "--format=%s", "-1", "main"]), "tide", "{engine}");
}

/// A prompt of a megabyte on standard input reaches the model whole.
fn long_prompt(lab: &Lab, server: &ModelServer, engine: &str) {
    let before = server.requests().len();
    let prompt = format!("third question {} the very end", "0123456789 ".repeat(90_900));
    assert!(prompt.len() > 999_000 && prompt.len() <= 1_000_000);
    let ran = lab.run_with(&["run", "--json", "--engine", engine, "-"], prompt.as_bytes()).succeeds();
    assert_eq!(ran.result()["status"], "completed");
    let whole = server.requests()[before..].iter().any(|r| {
        let body = String::from_utf8_lossy(&r.body).into_owned();
        body.contains("third question 0123456789 ")
            && body.contains("0123456789  the very end")
            && body.matches("0123456789 ").count() >= 90_900
    });
    assert!(whole, "{engine} did not send the prompt whole");
}

/// A provider that refuses the key, or fails again and again: the run fails with the gateway's code, in bounded time.
fn failing_provider(lab: &Lab, server: &ModelServer, engine: &str) {
    for (status, code) in [(401, "CREDENTIAL_EXPIRED"), (429, "PROVIDER_LIMITED"), (500, "PROVIDER_ERROR")] {
        server.fail(Fault::Status(status));
        // One that did not give up would be out of time.
        let ran = lab.run(&["run", "--json", "--engine", engine, "--timeout", "1h", "first question"]).ends_with(1);
        let result = ran.result();
        assert_eq!((&result["status"], &result["code"]), (&"failed".into(), &code.into()), "{engine} on {status}: {result}");
    }
    server.heal();
}

/// Every request carries the host's key and nobody else's.
fn check_requests(server: &ModelServer) {
    for request in server.requests() {
        let text = format!("{:?} {}", request.headers, String::from_utf8_lossy(&request.body));
        assert!(!text.contains("lazaret-placeholder"), "the placeholder went out: {}", request.target);
        if request.method == "POST" {
            assert_eq!(request.credential().as_deref(), Some(KEY), "{}", request.target);
        }
    }
}

#[test]
fn mini_over_messages() {
    whole_turn("mini", "anthropic");
}

#[test]
fn mini_over_chat_completions() {
    whole_turn("mini", "openai");
}

#[test]
fn claude_code() {
    whole_turn("claude-code", "anthropic");
}

#[test]
fn codex() {
    whole_turn("codex", "openai");
}

#[test]
fn opencode() {
    whole_turn("opencode", "anthropic");
}

#[test]
fn gemini() {
    whole_turn("gemini", "gemini");
}

#[test]
fn any_other_program_by_its_path() {
    let lab = Lab::new();
    let program = lab.program("parrot", "#!/bin/sh\nread -r line; echo \"parrot says: $line\"\n");
    let ran = lab.run(&["run", "--json", "--engine", &program, "--model", "rehearsal", "polly"]).succeeds();
    assert!(ran.result()["text"].as_str().is_some_and(|t| t.contains("parrot says: polly")), "{}", ran.out);
}

#[test]
fn a_file_that_is_not_the_pinned_one_is_refused() {
    let lab = Lab::new();
    let root = lab.path("registry");
    let real = crate::support::project("target/test-engines/registry/@anthropic-ai");
    assert!(real.is_dir(), "the pinned engines are not here: run `cargo xtask test e2e`, which fetches them");
    let dir = root.join("@anthropic-ai/claude-code-linux-x64/-");
    std::fs::create_dir_all(&dir).expect("make");
    std::fs::write(dir.join("claude-code-linux-x64-2.1.329.tgz"), b"not the package").expect("write");
    let registry = Registry::of(root);
    lab.run(&["config", "set", "engines.registry", &format!("http://127.0.0.1:{}", registry.port)]).succeeds();
    lab.run(&["config", "set", "egress.private_ok", "[\"127.0.0.1\"]"]).succeeds();
    let ran = lab.run(&["engine", "install", "claude-code"]).ends_with(3);
    assert!(ran.err.contains("is not the file that was pinned"), "{}", ran.err);
    assert!(!lab.home().join("engines/claude-code/2.1.329").exists());
    lab.assert_nothing_left();
}

#[test]
fn the_installer_reaches_the_registry_alone() {
    let lab = Lab::new();
    let registry = Registry::of(lab.path("nothing"));
    lab.run(&["config", "set", "engines.registry", &format!("http://127.0.0.1:{}", registry.port)]).succeeds();
    // Without the owner's word a private address is refused, whoever names it.
    let ran = lab.run(&["engine", "install", "codex"]).fails("ENGINE_MISSING", 3);
    assert!(ran.err.contains("private_ok"), "{}", ran.err);
    lab.assert_nothing_left();
}
