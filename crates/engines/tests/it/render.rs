//! What an engine's plan and output become, as text that a person can read and a test can compare. Used by the tests,
//! and by the example `expect`, which writes the expected files.

use std::path::{Path, PathBuf};

use lazaret_engines as engines;

/// The directory of this crate's recorded and expected files.
pub(crate) fn tests_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

/// Every recorded transcript: the engine's name and the file.
pub(crate) fn recorded() -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    for engine in engines::ALL {
        let directory = tests_dir().join("transcripts").join(engine.name());
        let files = std::fs::read_dir(&directory).unwrap_or_else(|e| panic!("{}: {e}", directory.display()));
        let files = files.map(|entry| entry.expect("readable").path());
        found.extend(files.filter(|f| f.extension().is_some_and(|e| e == "jsonl")).map(|f| (engine.name().to_owned(), f)));
    }
    found.sort();
    found
}

/// The exit status that goes with a transcript: the content of the file `CASE.exit`, 0 without one.
pub(crate) fn exit_of(transcript: &Path) -> engines::Exit {
    let code = std::fs::read_to_string(transcript.with_extension("exit")).ok();
    engines::Exit { code: Some(code.map_or(0, |text| text.trim().parse().expect("a number"))), signal: None }
}

/// What a transcript means, given in pieces of `step` bytes: one event in a line, then the end.
pub(crate) fn transcript(engine: &str, bytes: &[u8], exit: engines::Exit, step: usize) -> String {
    let engine = engines::by_name(engine).expect("an engine of this build");
    let mut feed = engines::Feed::new(engine.parser(engines::Carried::default()));
    let mut parsed = Vec::new();
    let mut must_end = false;
    for piece in bytes.chunks(step) {
        parsed.extend(feed.push(piece));
        must_end |= feed.must_end();
    }
    let (rest, end) = feed.finish(exit, "");
    parsed.extend(rest);
    let mut text = String::new();
    for parsed in parsed {
        match parsed {
            engines::Parsed::SessionId(id) => text.push_str(&format!("session {id}\n")),
            engines::Parsed::Question { id, text: asked, options } => text.push_str(&format!("question {id} {asked:?} {options:?}\n")),
            engines::Parsed::Reply(bytes) => text.push_str(&format!("reply {}\n", String::from_utf8_lossy(&bytes).trim_end())),
            engines::Parsed::Event(event) => text.push_str(&format!("{}\n", serde_json::to_string(&event).expect("plain"))),
        }
    }
    text.push_str(&format!("must end: {must_end}\n{end:#?}\n"));
    text
}

/// The programs that the plans of the expected files use.
pub(crate) fn program(engine: &dyn engines::Engine) -> engines::ProgramPath {
    match engine.recipe() {
        Some(recipe) => recipe.program_at(&format!("/opt/lazaret/engines/{}", engine.name())),
        None => engines::ProgramPath::native("/opt/lazaret/bin/mini"),
    }
}

/// A first turn with nothing chosen, a later one with everything chosen, and the same in a process that stays, for every form that the engine speaks.
pub(crate) fn plans(engine: &dyn engines::Engine) -> String {
    let program = program(engine);
    let mut text = String::new();
    for wire in engine.wires() {
        let first = engines::Plan {
            prompt: "What is the answer?",
            model: None,
            resume: None,
            wire: *wire,
            gateway_port: 8788,
            egress_port: None,
            workdir: "/workspace",
            home: "/home/sandbox",
            program: &program,
            memory_bytes: 2 << 30,
            has_instructions: false,
            live: false,
            turn: 1,
            history: None,
            options: engines::Options::default(),
        };
        let later = engines::Plan {
            model: Some("some-model"),
            resume: Some("some_session-1"),
            egress_port: Some(8789),
            has_instructions: true,
            ..first
        };
        let mut turns = vec![("first", first), ("later", later)];
        if engine.live() {
            turns.push(("live", engines::Plan { live: true, ..later }));
        }
        for (name, plan) in turns {
            let launch = engine.plan(&plan).expect("a plan");
            text.push_str(&format!("=== {wire:?}, {name} turn\n"));
            for argument in &launch.argv {
                text.push_str(&format!("arg  {argument}\n"));
            }
            for (key, value) in &launch.env {
                text.push_str(&format!("env  {key}={value}\n"));
            }
            for file in &launch.files {
                text.push_str(&format!("file {} {:o} {}\n", file.path, file.mode, String::from_utf8_lossy(&file.bytes)));
            }
            let stdin = launch.stdin.as_deref().map(String::from_utf8_lossy);
            text.push_str(&format!("stdin {stdin:?}, left open: {}\n", launch.stdin_open));
        }
    }
    text
}
