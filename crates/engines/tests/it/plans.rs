//! What each engine is started with. The expected files are written anew by the example `expect`.

use lazaret_engines as engines;
use model::Code;

use crate::render;

#[test]
fn every_plan_is_what_it_was() {
    for engine in engines::ALL {
        let path = render::tests_dir().join("plans").join(format!("{}.expect", engine.name()));
        let expect = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let got = render::plans(*engine);
        assert!(got == expect, "{}:\n{got}", engine.name());
    }
}

fn plan<'a>(prompt: &'a str, program: &'a engines::ProgramPath, wire: engines::Wire) -> engines::Plan<'a> {
    engines::Plan {
        prompt,
        model: None,
        resume: None,
        wire,
        gateway_port: 1,
        egress_port: None,
        workdir: "/workspace",
        home: "/home/sandbox",
        program,
        memory_bytes: 1 << 30,
        has_instructions: false,
        live: false,
        turn: 1,
        history: None,
        options: engines::Options::default(),
    }
}

/// Arguments are limited to 128 KiB each and seen by every process of the sandbox.
#[test]
fn no_prompt_stands_in_an_argument_or_the_environment() {
    let prompt = format!("SENTINEL {}", "x".repeat(500_000));
    for engine in engines::ALL {
        for wire in engine.wires() {
            let program = render::program(*engine);
            let launch = engine.plan(&plan(&prompt, &program, *wire)).expect("a plan");
            assert!(launch.argv.iter().chain(launch.env.iter().map(|(_, v)| v)).all(|text| !text.contains("SENTINEL")));
            let given = launch.stdin.iter().chain(launch.files.iter().map(|f| &f.bytes));
            assert_eq!(given.filter(|bytes| bytes.as_slice() == prompt.as_bytes()).count(), 1, "{}", engine.name());
        }
    }
}

/// Who writes a prompt may not be who may clear a session or change its settings.
#[test]
fn a_prompt_is_no_command_to_the_program() {
    let engine = engines::by_name("claude-code").expect("built in");
    let program = render::program(engine);
    let launch = engine.plan(&plan("/clear", &program, engines::Wire::Anthropic)).expect("a plan");
    assert_eq!(launch.stdin.as_deref(), Some(&b" /clear"[..]));
}

#[test]
fn what_cannot_be_given_to_an_engine_is_refused_with_its_field() {
    let program = engines::ProgramPath::native("/opt/x");
    for engine in engines::ALL {
        let wire = engine.wires()[0];
        let refused = |plan: engines::Plan<'_>| {
            let failure = engine.plan(&plan).expect_err("it cannot work");
            (failure.code, failure.field.unwrap_or_default())
        };
        let long = "x".repeat(40 << 20);
        for prompt in ["", " \n", "a\0b", &long] {
            assert_eq!(refused(plan(prompt, &program, wire)), (Code::PromptInvalid, "prompt".into()));
        }
        let base = plan("go", &program, wire);
        for bad in ["", "--help", "a b", "a\nb", "x;y", "../x", "é", &"m".repeat(300)] {
            assert_eq!(refused(engines::Plan { model: Some(bad), ..base }), (Code::Usage, "model".into()), "{bad}");
            assert_eq!(refused(engines::Plan { resume: Some(bad), ..base }), (Code::Usage, "session".into()), "{bad}");
        }
        assert_eq!(refused(engines::Plan { workdir: "workspace", ..base }), (Code::Usage, "workdir".into()));
        let other = [engines::Wire::Anthropic, engines::Wire::Gemini].into_iter().find(|w| !engine.wires().contains(w));
        let other = other.expect("no engine speaks both");
        assert_eq!(refused(engines::Plan { wire: other, ..base }), (Code::Usage, "engine".into()));
    }
}

#[test]
fn an_engine_is_found_by_name_or_by_path() {
    assert_eq!(engines::find("codex").map(|e| e.name().to_owned()).ok().as_deref(), Some("codex"));
    assert_eq!(engines::find("program:/bin/cat").map(|e| e.name().to_owned()).ok().as_deref(), Some("program:/bin/cat"));
    let missing = engines::find("nope\n").err().expect("there is none");
    assert_eq!(missing.code, Code::EngineMissing);
    assert!(missing.hint.is_some_and(|hint| hint.contains("mini")));
    assert_eq!(engines::find("program:bin").err().map(|f| f.code), Some(Code::Usage));
}

/// On a terminal each is the program that people know: nothing of a turn that nobody watches is left in its arguments.
#[test]
fn every_engine_has_a_terminal() {
    let name = "0190a6b4-0000-4000-8000-000000000001";
    let of_turns =
        ["-p", "exec", "run", "--json", "--output-format", "stream-json", "--verbose", "--format", "json", "-", "--stream", "--title"];
    for engine in engines::ALL {
        let program = render::program(*engine);
        let wire = engine.wires()[0];
        let started = engine.terminal(&plan("", &program, wire), name).expect("a start");
        let argv = &started.launch.argv;
        assert!(!argv.iter().any(|word| of_turns.contains(&word.as_str())), "{}: {argv:?}", engine.name());
        assert_eq!((&started.launch.stdin, started.launch.stdin_open), (&None, false));
        let value = |key: &str| started.launch.env.iter().filter(|(k, _)| k == key).map(|(_, v)| v.as_str()).collect::<Vec<_>>();
        assert_eq!((value("TERM"), value("NO_COLOR")), (vec!["xterm-256color"], vec![]), "{}", engine.name());
        let said = engine.terminal(&plan("-first words", &program, wire), name).expect("a start").launch;
        let is_said = said.argv.iter().any(|word| word == " -first words") || said.files.iter().any(|file| file.bytes == b"-first words");
        assert!(is_said, "{}: {:?}", engine.name(), said.argv);
        let resumed = engines::Plan { resume: Some("abc"), ..plan("", &program, wire) };
        let resumed = engine.terminal(&resumed, name).expect("a start");
        assert!(resumed.session.is_none() && resumed.launch.argv.iter().any(|word| word == "abc"), "{}", engine.name());
    }
    assert!(
        engines::find("program:/bin/x")
            .expect("a program")
            .terminal(&plan("", &engines::ProgramPath::native("/bin/x"), engines::Wire::Anthropic), name)
            .is_err()
    );
}
