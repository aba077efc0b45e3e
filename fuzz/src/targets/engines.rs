//! What engines print.

use std::mem::discriminant;

use engines::{
    Carried, End, Engine, Exit, Feed, MESSAGE_BYTES_MAX, OPTIONS_MAX, Parsed, QUESTION_BYTES_MAX, QUESTION_ID_BYTES_MAX, TEXT_BYTES_MAX,
    TOOL_OUTPUT_BYTES_MAX,
};
use model::{EventKind, Outcome};

use super::{Target, hash};

pub(crate) const CLAUDE_CODE: Target = Target {
    name: "engine_claude_code",
    corpus: "engine_claude_code",
    recorded: Some("crates/engines/tests/transcripts/claude-code"),
    words: WORDS,
    run: |i| output("claude-code", i),
};
pub(crate) const CODEX: Target = Target {
    name: "engine_codex",
    corpus: "engine_codex",
    recorded: Some("crates/engines/tests/transcripts/codex"),
    words: WORDS,
    run: |i| output("codex", i),
};
pub(crate) const OPENCODE: Target = Target {
    name: "engine_opencode",
    corpus: "engine_opencode",
    recorded: Some("crates/engines/tests/transcripts/opencode"),
    words: WORDS,
    run: |i| output("opencode", i),
};
pub(crate) const GEMINI: Target = Target {
    name: "engine_gemini",
    corpus: "engine_gemini",
    recorded: Some("crates/engines/tests/transcripts/gemini"),
    words: WORDS,
    run: |i| output("gemini", i),
};
pub(crate) const MINI: Target = Target {
    name: "engine_mini",
    corpus: "engine_mini",
    recorded: Some("crates/engines/tests/transcripts/mini"),
    words: WORDS,
    run: |i| output("mini", i),
};
pub(crate) const TEXT: Target =
    Target { name: "engine_text", corpus: "engine_text", recorded: None, words: WORDS, run: |i| output("program:/bin/engine", i) };

/// An agent of the Agent Client Protocol, from its first answer on.
pub(crate) const ACP: Target = Target { name: "engine_acp", corpus: "engine_acp", recorded: None, words: ACP_WORDS, run: acp };

const ACP_WORDS: &[&[u8]] = &[
    b"\n",
    b"{",
    b"}",
    b"[",
    b"]",
    b"null",
    b"true",
    b"\"id\":1",
    b"\"id\":3",
    b"\"id\":5",
    b"\"id\":1001",
    b"\"id\":\"a\"",
    b"\"result\":",
    b"\"error\":",
    b"\"method\":\"session/update\"",
    b"\"method\":\"session/request_permission\"",
    b"\"sessionId\":\"s-1\"",
    b"\"sessionUpdate\":\"tool_call\"",
    b"\"toolCallId\":\"t\"",
    b"\"status\":\"completed\"",
    b"\"stopReason\":\"end_turn\"",
    b"\"protocolVersion\":1",
    b"\"loadSession\":true",
    b"\"content\":",
    b"\"rawInput\":",
    b"\"optionId\":",
    b"\"kind\":\"allow_once\"",
];

/// The same output is the same events and the same lines to the agent however it was cut, each of them one line of JSON, and
/// none of them longer than what it answers and the prompt.
fn acp(input: &[u8]) -> u64 {
    const PROMPT: &str = "do it";
    let Some((&first, bytes)) = input.split_first() else { return 0 };
    let engine = engines::Custom::parse("name = \"a\"\ncommand = [\"/a\"]\nprotocol = \"acp\"\nauth = \"k\"\n").expect("a description");
    let program = engine.program_path();
    let plan = engines::Plan {
        prompt: PROMPT,
        model: None,
        resume: (first & 2 == 2).then_some("s-1"),
        wire: engines::Wire::Anthropic,
        gateway_port: 1,
        egress_port: None,
        workdir: "/workspace",
        home: "/home/sandbox",
        program: &program,
        memory_bytes: 1 << 30,
        has_instructions: false,
        live: true,
        turn: 1,
        history: (first & 4 == 4).then_some("it was said"),
        options: engines::Options::default(),
    };
    let exit = Exit { code: (first & 1 == 0).then_some(0), signal: (first & 1 == 1).then_some(9) };
    let is_further = first & 10 == 10;
    let run = |step: usize| {
        let mut feed = Feed::new(engine.reader(&plan, is_further, Carried::default()));
        let mut all: Vec<Parsed> = bytes.chunks(step).flat_map(|piece| feed.push(piece)).collect();
        let (is_over, must_end, interrupt) = (feed.is_over(), feed.must_end(), feed.interrupt());
        assert!(!is_over || (!must_end && interrupt.is_empty()));
        let (last, end) = feed.finish(exit, "some complaint");
        all.extend(last);
        (joined(all), end, is_over)
    };
    let (events, end, is_over) = run(bytes.len().max(1));
    assert_eq!(run(usize::from(first).max(1)), (events.clone(), end.clone(), is_over), "the cut changes what is read");
    for reply in &events {
        if let Parsed::Reply(line) = reply {
            assert!(line.iter().filter(|b| **b == b'\n').count() == 1 && line.len() < 4096 + PROMPT.len());
            serde_json::from_slice::<serde_json::Value>(line).expect("a reply is JSON");
        }
    }
    let kinds: Vec<_> = events.iter().map(check).take(6).collect();
    check_end(&end);
    hash(&(kinds, end.outcome, end.code, is_over, events.len().min(20)))
}

const WORDS: &[&[u8]] = &[
    b"\n", b"\r\n", b"{", b"}", b"[", b"]", b"null", b"true", b"-1", b"1e309", b"18446744073709551616", b"\\ud800", b"\\u001b[31m",
    b"\xff", b"\"type\":", b"\"text\":", b"\"content\":", b"\"usage\":", b"\"session_id\":\"--resume\"", b"\"session_id\":\"../../x\"",
    b"\"is_error\":true", b"\"input_tokens\":", b"\"total_cost_usd\":-1", b"\"error\":", b"\"message\":", b"\"status\":429",
];

/// A turn's output: the same events however it was cut, all within their limits, and an end that only tells what an
/// engine may tell.
fn output(engine: &str, input: &[u8]) -> u64 {
    let found = engines::find(engine).expect("the engine is known");
    // The first byte says where to cut and how the program ended.
    let Some((&first, bytes)) = input.split_first() else { return 0 };
    let exit = Exit { code: (first & 1 == 0).then_some(i32::from(first >> 4)), signal: (first & 1 == 1).then_some(9) };
    let (events, end) = turn(&*found, bytes, bytes.len().max(1), exit);
    let (cut_events, cut_end) = turn(&*found, bytes, usize::from(first).max(1), exit);
    assert_eq!((&cut_events, &cut_end), (&events, &end), "the cut changes what is read");
    let kinds: Vec<_> = events.iter().map(check).take(6).collect();
    check_end(&end);
    hash(&(kinds, end.outcome, end.code, end.text.is_empty(), end.engine_session.is_some(), end.cost_usd.is_some()))
}

fn turn(engine: &dyn Engine, bytes: &[u8], step: usize, exit: Exit) -> (Vec<Parsed>, End) {
    let mut feed = Feed::new(engine.parser(Carried { cost_usd: 0.25 }));
    let mut events: Vec<Parsed> = bytes.chunks(step).flat_map(|piece| feed.push(piece)).collect();
    let (last, end) = feed.finish(exit, "some complaint");
    events.extend(last);
    // Text may come in other pieces when it was cut elsewhere; put together it is the same.
    (joined(events), end)
}

fn joined(events: Vec<Parsed>) -> Vec<Parsed> {
    let mut all: Vec<Parsed> = Vec::new();
    for event in events {
        match (all.last_mut(), event) {
            (Some(Parsed::Event(EventKind::Text { text })), Parsed::Event(EventKind::Text { text: more })) => text.push_str(&more),
            (_, event) => all.push(event),
        }
    }
    all
}

fn check(parsed: &Parsed) -> Option<std::mem::Discriminant<EventKind>> {
    match parsed {
        Parsed::Event(kind) => {
            match kind {
                EventKind::Start { .. } | EventKind::Result(_) | EventKind::Approval { .. } => {
                    panic!("an engine made an event of the host")
                }
                EventKind::ToolResult { output, .. } => assert!(output.len() <= TOOL_OUTPUT_BYTES_MAX + 64),
                EventKind::Error { message, .. } => assert!(message.len() <= MESSAGE_BYTES_MAX + 64),
                EventKind::Usage { cost_usd, .. } => assert!(cost_usd.is_finite() && *cost_usd >= 0.0),
                _ => (),
            }
            Some(discriminant(kind))
        }
        Parsed::SessionId(id) => {
            check_session(id);
            None
        }
        Parsed::Question { id, text, options } => {
            assert!(id.len() <= QUESTION_ID_BYTES_MAX && text.len() <= QUESTION_BYTES_MAX && options.len() <= OPTIONS_MAX);
            None
        }
        Parsed::Reply(_) => None,
    }
}

fn check_end(end: &End) {
    assert!(matches!(end.outcome, Outcome::Completed | Outcome::Failed), "an engine decided {:?}", end.outcome);
    assert!(end.text.len() <= TEXT_BYTES_MAX + 64);
    assert!(end.cost_usd.is_none_or(|cost| cost.is_finite() && cost >= 0.0), "{:?}", end.cost_usd);
    assert!(end.carried.cost_usd.is_finite() && end.carried.cost_usd >= 0.0, "{:?}", end.carried);
    assert_eq!(end.outcome == Outcome::Failed, end.code.is_some(), "a failure has a code, and nothing else has one");
    if let Some(id) = &end.engine_session {
        check_session(id);
    }
}

/// It comes back in the arguments and files of a later turn.
fn check_session(id: &str) {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.:".contains(&b);
    assert!(!id.is_empty() && !id.starts_with('-') && !id.contains("..") && id.bytes().all(plain), "{id:?}");
}
