//! Output that no engine would write: nothing of it may panic, grow without end or pass a limit.

use lazaret_engines as engines;
use model::{Code, EventKind};
use proptest::prelude::*;

use crate::render;

const EXIT: engines::Exit = engines::Exit { code: Some(0), signal: None };

/// Checks every limit of what a parser gives.
fn check(parsed: &[engines::Parsed], end: Option<&engines::End>) {
    for parsed in parsed {
        match parsed {
            engines::Parsed::SessionId(id) => {
                assert!(!id.is_empty() && id.len() <= 256 && !id.starts_with('-') && !id.contains("..") && !id.contains('/'), "{id:?}");
            }
            engines::Parsed::Question { id, text, options } => {
                assert!(!id.is_empty() && id.len() <= engines::QUESTION_ID_BYTES_MAX);
                assert!(!text.is_empty() && text.len() <= engines::QUESTION_BYTES_MAX && options.len() <= engines::OPTIONS_MAX);
                assert!(options.iter().all(|option| option.len() <= engines::QUESTION_BYTES_MAX));
            }
            engines::Parsed::Reply(bytes) => assert!(bytes.ends_with(b"\n") && bytes.len() <= 2 * engines::LINE_BYTES_MAX),
            engines::Parsed::Event(EventKind::Text { text } | EventKind::Thinking { text }) => {
                assert!(text.len() <= engines::TEXT_BYTES_MAX)
            }
            engines::Parsed::Event(EventKind::ToolCall { id, name, input }) => {
                assert!(id.len() <= 256 && name.len() <= 256);
                // A cut input is a string, and writing it escapes it once more.
                assert!(input.is_string() || input.to_string().len() <= engines::TOOL_INPUT_BYTES_MAX);
                assert!(input.as_str().is_none_or(|text| text.len() <= engines::TOOL_INPUT_BYTES_MAX));
            }
            engines::Parsed::Event(EventKind::ToolResult { id, output, .. }) => {
                assert!(id.len() <= 256 && output.len() <= engines::TOOL_OUTPUT_BYTES_MAX);
            }
            engines::Parsed::Event(EventKind::Error { message, retriable, .. }) => {
                assert!(*retriable && message.len() <= engines::MESSAGE_BYTES_MAX);
            }
            engines::Parsed::Event(EventKind::Notice { text }) => assert!(text.len() <= engines::MESSAGE_BYTES_MAX),
            engines::Parsed::Event(other) => panic!("not for a parser to say: {other:?}"),
        }
    }
    if let Some(end) = end {
        assert!(end.text.len() <= engines::TEXT_BYTES_MAX);
        assert!(end.cost_usd.is_none_or(|c| c.is_finite() && c >= 0.0));
        assert_eq!(end.code.is_some(), end.message.is_some());
    }
}

fn play(engine: &dyn engines::Engine, bytes: &[u8], step: usize) -> (Vec<engines::Parsed>, engines::End) {
    let mut feed = engines::Feed::new(engine.parser(engines::Carried::default()));
    let mut parsed: Vec<engines::Parsed> = bytes.chunks(step.max(1)).flat_map(|piece| feed.push(piece)).collect();
    let (rest, end) = feed.finish(EXIT, "");
    parsed.extend(rest);
    check(&parsed, Some(&end));
    (parsed, end)
}

/// Lines of real transcripts with a part put out of shape.
fn bent() -> impl Strategy<Value = Vec<u8>> {
    let lines: Vec<String> = render::recorded()
        .into_iter()
        .flat_map(|(_, file)| {
            let text = std::fs::read_to_string(file).expect("readable");
            text.lines().map(str::to_owned).collect::<Vec<_>>()
        })
        .filter(|line| line.len() < 4000)
        .collect();
    let values = prop_oneof![
        Just("null".to_owned()),
        Just("-1".to_owned()),
        Just("1e999".to_owned()),
        Just("18446744073709551616".to_owned()),
        Just("[]".to_owned()),
        Just("{}".to_owned()),
        Just("[[[[[[[[]]]]]]]]".to_owned()),
        Just("\"\\ud800\"".to_owned()),
        Just("\"--help\"".to_owned()),
        "\"\\PC{0,20}\"",
    ];
    let spoil =
        (proptest::sample::select(lines), any::<proptest::sample::Index>(), values, any::<bool>()).prop_map(|(line, at, value, is_cut)| {
            let colons: Vec<usize> = line.match_indices(':').map(|(i, _)| i).collect();
            if colons.is_empty() {
                return line.into_bytes();
            }
            let colon = colons[at.index(colons.len())];
            let rest = line[colon + 1..].find([',', '}']).map_or("", |end| &line[colon + 1 + end..]);
            let mut bytes = format!("{}{value}{}\n", &line[..=colon], if is_cut { "" } else { rest }).into_bytes();
            bytes.extend_from_slice(line.as_bytes());
            bytes.push(b'\n');
            bytes
        });
    proptest::collection::vec(spoil, 1..8).prop_map(|lines| lines.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bent_transcripts_keep_every_limit(bytes in bent(), step in 1usize..5000) {
        for engine in engines::ALL {
            let whole = play(*engine, &bytes, usize::MAX);
            prop_assert_eq!(play(*engine, &bytes, step), whole);
        }
    }

    #[test]
    fn any_bytes_keep_every_limit(bytes in proptest::collection::vec(any::<u8>(), 0..2000), step in 1usize..100) {
        for engine in engines::ALL {
            play(*engine, &bytes, step);
        }
    }
}

#[test]
fn long_texts_are_cut_with_a_notice() {
    let long = "é".repeat(engines::TEXT_BYTES_MAX);
    let lines = [
        ("mini", format!("{{\"type\":\"text\",\"text\":\"{long}\"}}\n")),
        ("mini", format!("{{\"type\":\"tool_call\",\"id\":\"1\",\"name\":\"x\",\"input\":{{\"a\":\"{long}\"}}}}\n")),
        ("mini", format!("{{\"type\":\"tool_result\",\"id\":\"1\",\"output\":\"{long}\"}}\n")),
        ("claude-code", format!("{{\"type\":\"assistant\",\"message\":{{\"content\":[{{\"type\":\"text\",\"text\":\"{long}\"}}]}}}}\n")),
    ];
    for (name, line) in lines {
        let (parsed, _) = play(engines::by_name(name).expect("built in"), line.as_bytes(), 1 << 16);
        let is_told = parsed.iter().any(|p| matches!(p, engines::Parsed::Event(EventKind::Notice { text }) if text.contains("was cut")));
        assert!(is_told && parsed.len() == 2, "{name}");
    }
}

#[test]
fn a_line_over_the_limit_is_passed_over_and_the_next_one_is_read() {
    let mini = engines::by_name("mini").expect("built in");
    let mut bytes = vec![b'x'; engines::LINE_BYTES_MAX + 10];
    bytes.extend_from_slice(b"\n{\"type\":\"result\",\"text\":\"fine\"}\n");
    let (parsed, end) = play(mini, &bytes, 1 << 20);
    assert!(
        matches!(&parsed[..], [engines::Parsed::Event(EventKind::Notice { text })] if text.contains(&(engines::LINE_BYTES_MAX + 10).to_string()))
    );
    assert_eq!((end.text.as_str(), end.code), ("fine", None));
}

#[test]
fn a_flood_ends_the_turn() {
    let mini = engines::by_name("mini").expect("built in");
    let mut feed = engines::Feed::new(mini.parser(engines::Carried::default()));
    let mut piece = vec![b'x'; 4 << 20];
    piece.push(b'\n');
    let mut notices = 0;
    for _ in 0..=(engines::OUTPUT_BYTES_MAX / piece.len() as u64) + 2 {
        notices += feed.push(&piece).len();
    }
    assert!(feed.must_end() && notices == 1);
    assert_eq!(feed.finish(EXIT, "").1.code, Some(Code::OutputLimit));
}

#[test]
fn an_end_without_a_result_is_a_failure_and_a_signal_is_told() {
    for engine in engines::ALL {
        let (_, end) = play(*engine, b"{}\n", 1);
        assert_eq!(end.code, Some(Code::EngineFailed), "{}", engine.name());
        let feed = engines::Feed::new(engine.parser(engines::Carried::default()));
        let (_, end) = feed.finish(engines::Exit { code: None, signal: Some(9) }, "connect ECONNREFUSED 127.0.0.1:1");
        assert_eq!(end.code, Some(Code::ProviderDown));
        assert!(end.message.is_some_and(|m| m.contains("signal 9")));
    }
}
