//! Output that the pinned versions of the engines really wrote, and what it means. `CASE.jsonl` is the output, `CASE.exit`
//! the exit status where it is not 0, `CASE.expect` the meaning. After a change that is meant, write the meaning anew
//! with `cargo run -p lazaret-engines --example expect` and read the difference.

use crate::render;

#[test]
fn every_transcript_means_what_it_meant() {
    let mut cases = 0;
    for (engine, file) in render::recorded() {
        let bytes = std::fs::read(&file).expect("readable");
        let expect = std::fs::read_to_string(file.with_extension("expect")).expect("an expected file");
        for step in [bytes.len().max(1), 4093, 17] {
            let got = render::transcript(&engine, &bytes, render::exit_of(&file), step);
            assert!(got == expect, "{} in pieces of {step}:\n{got}", file.display());
        }
        cases += 1;
    }
    assert!(cases >= 30, "only {cases} transcripts were found");
}

/// What must hold for each engine in each case, whatever the details of its output are.
#[test]
fn every_engine_tells_the_same_story() {
    for engine in lazaret_engines::ALL {
        let expect = |case: &str| {
            let path = render::tests_dir().join("transcripts").join(engine.name()).join(format!("{case}.expect"));
            std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
        };
        let ok = expect("ok");
        for part in ["session ", "\"type\":\"tool_call\"", "\"output\":\"tool-42", "outcome: Completed", "The answer is 42. turns=1\""] {
            assert!(ok.contains(part), "{}: {part}\n{ok}", engine.name());
        }
        assert!(expect("resume").contains("The answer is 42. turns=2\""), "{}", engine.name());
        for (case, code) in [
            ("401", "CredentialExpired"),
            ("402", "BudgetExceeded"),
            ("429", "ProviderLimited"),
            ("500", "ProviderError"),
            ("503", "ProviderDown"),
        ] {
            let text = expect(case);
            let holds = text.contains("outcome: Failed") && text.contains(&format!("code: Some(\n        {code},\n"));
            assert!(holds, "{} {case}:\n{text}", engine.name());
        }
    }
}

/// A total that runs over a whole session is told as this turn's part of it.
#[test]
fn the_cost_of_a_later_turn_is_the_difference() {
    let engine = lazaret_engines::by_name("claude-code").expect("built in");
    let play = |carried, total: f64| {
        let mut feed = lazaret_engines::Feed::new(engine.parser(carried));
        let line = format!("{{\"type\":\"result\",\"is_error\":false,\"result\":\"x\",\"total_cost_usd\":{total}}}\n");
        feed.push(line.as_bytes());
        feed.finish(lazaret_engines::Exit { code: Some(0), signal: None }, "").1
    };
    let first = play(lazaret_engines::Carried::default(), 0.25);
    assert_eq!(first.cost_usd, Some(0.25));
    let second = play(first.carried, 0.75);
    assert_eq!((second.cost_usd, second.carried.cost_usd), (Some(0.5), 0.75));
    assert_eq!(play(second.carried, 0.125).cost_usd, Some(0.125), "the program began to count anew");
}
