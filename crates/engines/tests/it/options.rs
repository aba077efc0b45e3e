//! What engines are held to besides their prompt, and what they say when they cannot be.

use lazaret_engines::{ALL, Custom, Engine, Launch, Options, Plan, ProgramPath, Wire};
use model::{Code, Failure};
use serde_json::json;

fn plan(engine: &dyn Engine, options: Options<'_>) -> Result<Launch, Failure> {
    let program = ProgramPath::native("/opt/program");
    engine.plan(&Plan {
        prompt: "do it",
        model: Some("a-model"),
        resume: None,
        wire: engine.wires().first().copied().unwrap_or(Wire::Anthropic),
        gateway_port: 4000,
        egress_port: None,
        workdir: "/workspace",
        home: "/home/sandbox",
        program: &program,
        memory_bytes: 1 << 30,
        has_instructions: false,
        live: false,
        turn: 1,
        history: None,
        options,
    })
}

fn by_name(name: &str) -> &'static dyn Engine {
    ALL.iter().copied().find(|engine| engine.name() == name).expect("built in")
}

/// Whether a text stands in a file or an argument.
fn holds(launch: &Launch, text: &str) -> bool {
    launch.argv.iter().chain(launch.env.iter().map(|(_, value)| value)).any(|word| word.contains(text))
        || launch.files.iter().any(|file| String::from_utf8_lossy(&file.bytes).contains(text))
}

#[test]
fn what_an_engine_can_be_held_to_reaches_it_and_the_rest_is_refused() {
    let tools = ["Read".to_owned(), "WebSearch".to_owned()];
    let servers = json!({ "mcpServers": { "notes": { "command": "/bin/notes-server", "args": ["--fast"], "env": { "A": "b" } } } });
    let check = |name: &str, field: &str, options: Options<'_>, text: Option<&str>| {
        let planned = plan(by_name(name), options);
        match (planned, text) {
            (Ok(launch), Some(text)) => assert!(holds(&launch, text), "{name} {field}: {launch:?}"),
            (Err(failure), None) => {
                assert_eq!((failure.code, failure.field.as_deref()), (Code::Usage, Some(field)), "{name}");
                assert!(failure.message.contains(name), "{failure}");
            }
            (planned, text) => panic!("{name} {field}: {planned:?} {text:?}"),
        }
    };
    for (name, tool, system, server) in [
        ("claude-code", Some("Read,WebSearch"), true, Some("notes-server")),
        ("codex", Some("features.shell_tool=false"), true, Some("notes-server")),
        ("opencode", Some("\"read\":\"allow\""), true, Some("notes-server")),
        ("gemini", Some("\"core\":[\"google_web_search\",\"read_file\"]"), true, Some("notes-server")),
        ("mini", Some("read"), true, None),
    ] {
        check(name, "allowed_tools", Options { allowed_tools: Some(&tools), ..Options::default() }, tool);
        let said = Options { system_prompt: Some("speak like a pilot"), ..Options::default() };
        check(name, "system_prompt", said, system.then_some("speak like a pilot"));
        check(name, "mcp_config", Options { mcp_config: Some(&servers), ..Options::default() }, server);
    }
}

#[test]
fn long_texts_are_files_and_no_argument() {
    let long = "x".repeat(500_000);
    for engine in ALL {
        let launch = plan(*engine, Options { system_prompt: Some(&long), ..Options::default() })
            .unwrap_or_else(|e| panic!("{}: {e}", engine.name()));
        assert!(launch.argv.iter().all(|word| word.len() < 100_000), "{}", engine.name());
        assert!(holds(&launch, &long), "{}", engine.name());
    }
}

#[test]
fn names_that_would_do_more_are_refused() {
    let refused = |name: &str, options: Options<'_>| plan(by_name(name), options).expect_err(name).field;
    for bad in ["Bash(git:*)", "--dangerous", "Teleport", ""] {
        let tools = [bad.to_owned()];
        for engine in ["claude-code", "codex", "mini", "opencode", "gemini"] {
            assert_eq!(
                refused(engine, Options { allowed_tools: Some(&tools), ..Options::default() }).as_deref(),
                Some("allowed_tools"),
                "{bad}"
            );
        }
    }
    for bad in [
        json!({ "lazaret": { "command": "x" } }),
        json!({ "a b": { "command": "x" } }),
        json!({ "a": {} }),
        json!({ "a": { "command": 7 } }),
        json!({ "a": { "command": "x", "env": { "K": 1 } } }),
        json!([]),
        json!("x"),
    ] {
        for engine in ["claude-code", "codex", "opencode", "gemini"] {
            assert_eq!(refused(engine, Options { mcp_config: Some(&bad), ..Options::default() }).as_deref(), Some("mcp_config"), "{bad}");
        }
    }
    // Quotes in a setting stay in it.
    let tricky = json!({ "a": { "command": "x\"},b={command=\"y", "args": [] } });
    let launch = plan(by_name("codex"), Options { mcp_config: Some(&tricky), ..Options::default() }).expect("a launch");
    let setting = launch.argv.iter().find(|word| word.starts_with("mcp_servers.a=")).expect("a setting");
    let read: toml::Table = setting.parse().expect("TOML");
    assert_eq!(read["mcp_servers"]["a"]["command"].as_str(), Some("x\"},b={command=\"y"));
}

/// A described engine gets what its description has words for.
#[test]
fn a_description_in_sections_drives_a_program() {
    let text = r#"
[engine]
id = "helper"
name = "Helper"
description = "Helps"
[command]
binary = "helper"
prompt_flag = "-p"
static_args = ["--quiet"]
[command.map]
model = "--model"
output_format = "--format"
max_turns = "--max-turns"
allowed_tools = "--tools"
[command.list_join]
allowed_tools = ";"
[output]
mode = "file"
format = "json"
path = "/output/result.json"
[env]
auth = ["OPENAI_API_KEY"]
"#;
    let engine = Custom::parse(text).expect("a description");
    assert_eq!((engine.name(), engine.wires()), ("helper", &[Wire::OpenAiChat][..]));
    let tools = ["a".to_owned(), "b".to_owned()];
    let launch = plan(&engine, Options { max_turns: Some(5), allowed_tools: Some(&tools), ..Options::default() }).expect("a launch");
    let words: Vec<&str> = launch.argv.iter().map(String::as_str).skip(4).collect();
    let expect = [
        "/output/result.json", "/usr/bin/env", "helper", "--quiet", "--format", "json", "--model", "a-model", "--max-turns", "5",
        "--tools", "a;b", "-p", "do it",
    ];
    assert_eq!(words, expect);
    assert!(launch.env.iter().any(|(key, value)| key == "OPENAI_BASE_URL" && value == "http://127.0.0.1:4000/v1"));
    assert!(launch.env.iter().all(|(_, value)| !value.starts_with("sk-")));
    let refused = plan(&engine, Options { system_prompt: Some("x"), ..Options::default() }).expect_err("no words for it");
    assert!(refused.message.contains("helper"));
    let sly = ["--model".to_owned()];
    assert!(plan(&engine, Options { allowed_tools: Some(&sly), ..Options::default() }).is_err());
    for bad in ["binary = \"rm -rf\"", "binary = \"\"", "binary = \"--x\"", "binary = \"x;y\""] {
        assert!(Custom::parse(&format!("[engine]\nid = \"helper\"\n[command]\n{bad}\n")).is_err(), "{bad}");
    }
    assert!(Custom::parse("[engine]\nid = \"mini\"\n[command]\nbinary = \"x\"\n").is_err(), "built in");
}

/// What ships is described, and what is not built in can be driven.
#[test]
fn shipped_descriptions_can_be_read() {
    for engine in ALL {
        let path = format!("{}/../../share/engines/{}.toml", env!("CARGO_MANIFEST_DIR"), engine.name());
        let text = std::fs::read_to_string(&path).expect(&path);
        assert_eq!(lazaret_engines::described_name(&text).as_deref(), Some(engine.name()));
        assert!(lazaret_engines::described(&text).is_some_and(|(title, about)| !title.is_empty() && !about.is_empty()), "{path}");
    }
    let aider = Custom::parse(include_str!("../../../../share/engines/aider.toml")).expect("a description");
    let launch = plan(&aider, Options::default()).expect("a launch");
    let model = launch.argv.iter().position(|word| word == "--model").map(|at| launch.argv[at + 1].as_str());
    assert_eq!(model, Some("openai/a-model"));
    assert!(launch.argv.iter().all(|word| word != "do it") && holds(&launch, "do it"), "the prompt is a file");
    assert!(launch.env.iter().any(|(key, value)| key == "OPENAI_API_BASE" && value == "http://127.0.0.1:4000/v1"));
}
