//! Programs that are known by their path or their description only.

use lazaret_engines::{Carried, Custom, Engine, Exit, Feed, Parsed, Plan, ProgramPath, Wire};
use model::{Code, EventKind, Outcome};

const GOOD: &str = r#"
name = "helper"
command = ["/usr/bin/helper", "--batch", "{workdir}"]
wires = ["openai-chat"]
model = ["--model", "{model}"]
resume = ["--session", "{session}"]
prompt = { file = "--message-file" }
output = "json-lines"
[json]
text = "/message/text"
session = "/id"
error = "/error"
[env]
HELPER_URL = "{gateway}/v1"
"#;

fn plan<'a>(program: &'a ProgramPath, prompt: &'a str) -> Plan<'a> {
    Plan {
        prompt,
        model: Some("m"),
        resume: Some("s1"),
        wire: Wire::OpenAiChat,
        gateway_port: 7,
        egress_port: None,
        workdir: "/workspace",
        home: "/home/sandbox",
        program,
        memory_bytes: 1 << 30,
        has_instructions: false,
        live: false,
        turn: 1,
        history: None,
        options: lazaret_engines::Options::default(),
    }
}

#[test]
fn a_description_says_how_a_program_is_started() {
    let custom = Custom::parse(GOOD).expect("well formed");
    let program = custom.program_path();
    let launch = custom.plan(&plan(&program, "go")).expect("a plan");
    let expect = "/usr/bin/helper --batch /workspace --model m --session s1 --message-file /home/sandbox/.lazaret/prompt";
    assert_eq!(launch.argv.join(" "), expect);
    assert_eq!(launch.files[0].bytes, b"go");
    for pair in [("HELPER_URL", "http://127.0.0.1:7/v1"), ("OPENAI_BASE_URL", "http://127.0.0.1:7/v1"), ("HOME", "/home/sandbox")] {
        assert!(launch.env.iter().any(|(k, v)| (k.as_str(), v.as_str()) == pair), "{pair:?}");
    }
}

#[test]
fn a_description_that_cannot_work_is_refused() {
    for (what, with) in [
        ("name = \"helper\"", "name = \"mini\""),
        ("name = \"helper\"", "name = \"../x\""),
        ("name = \"helper\"", ""),
        ("/usr/bin/helper", "helper"),
        ("openai-chat", "telnet"),
        ("\"/error\"", "\"error\""),
        ("[env]", "surprise = 1\n[env]"),
    ] {
        assert!(GOOD.contains(what));
        assert!(Custom::parse(&GOOD.replacen(what, with, 1)).is_err(), "{with}");
    }
}

#[test]
fn json_lines_are_read_through_pointers() {
    let custom = Custom::parse(GOOD).expect("well formed");
    let mut feed = Feed::new(custom.parser(Carried::default()));
    let parsed = feed.push(b"{\"id\":\"s9\"}\nnot json\n{\"message\":{\"text\":\"hello\"}}\n");
    let text = EventKind::Text { text: "hello".into() };
    let notice = EventKind::Notice { text: "not json".into() };
    assert_eq!(parsed, [Parsed::SessionId("s9".into()), Parsed::Event(notice), Parsed::Event(text)]);
    let (_, end) = feed.finish(Exit { code: Some(0), signal: None }, "");
    assert_eq!((end.outcome, end.text.as_str(), end.engine_session.as_deref()), (Outcome::Completed, "hello", Some("s9")));
    let mut feed = Feed::new(custom.parser(Carried::default()));
    feed.push(b"{\"error\":\"status 429\"}\n");
    let (_, end) = feed.finish(Exit { code: Some(0), signal: None }, "");
    assert_eq!(end.code, Some(Code::ProviderLimited));
}

#[test]
fn text_is_passed_on_and_the_exit_decides() {
    let custom = Custom::program("/usr/bin/x").expect("absolute");
    let play = |exit| {
        let mut feed = Feed::new(custom.parser(Carried::default()));
        feed.push(b"one\r\n\ntwo");
        feed.finish(exit, "\u{1b}[91m\u{1b}[1mit\u{1b}[0m broke\r\n").1
    };
    let good = play(Exit { code: Some(0), signal: None });
    assert_eq!((good.outcome, good.text.as_str(), good.code), (Outcome::Completed, "one\n\ntwo", None));
    let bad = play(Exit { code: Some(3), signal: None });
    assert_eq!((bad.outcome, bad.code), (Outcome::Failed, Some(Code::EngineFailed)));
    assert_eq!(bad.message.as_deref(), Some("the engine ended with status 3: it broke"));
    assert_eq!(play(Exit { code: None, signal: Some(9) }).code, Some(Code::EngineFailed));
}
