//! The README's first command: no key, no daemon, an empty home.

use crate::support::{Lab, of_type};

#[test]
fn a_fresh_machine_rehearses_and_says_so() {
    let lab = Lab::new();
    let ran = lab.run(&["run", "say hello to the harbour"]).succeeds();
    assert!(ran.err.contains("rehearsal"), "{}", ran.err);
    assert!(ran.out.contains("say hello to the harbour"), "{}", ran.out);
    assert!(ran.err.contains("completed in"), "{}", ran.err);
    lab.assert_nothing_left();
}

#[test]
fn json_is_one_event_a_line_and_ends_with_the_result() {
    let lab = Lab::new();
    let ran = lab.run(&["run", "--json", "count the boats"]).succeeds();
    let events = ran.events();
    let seqs: Vec<u64> = events.iter().filter_map(|e| e["seq"].as_u64()).collect();
    assert_eq!(seqs, (1..=events.len() as u64).collect::<Vec<_>>(), "dense from 1");
    assert_eq!(events[0]["type"], "start");
    assert_eq!(events[0]["provider"], "rehearsal");
    assert_eq!(of_type(&events, "tool_call").len(), 1);
    assert_eq!(of_type(&events, "tool_result").len(), 1);
    let result = ran.result();
    assert_eq!(result["status"], "completed");
    assert!(result["session"].as_str().is_some_and(|s| s.starts_with("ses_")), "{result}");
    for field in ["text", "usage", "cost_usd", "duration_ms", "level"] {
        assert!(!result[field].is_null(), "{field} in {result}");
    }
    let missing: Vec<&str> = result["level"]["lines"]
        .as_array()
        .expect("lines")
        .iter()
        .filter(|l| l["holds"] == false)
        .filter_map(|l| l["name"].as_str())
        .collect();
    assert_eq!(missing, [""; 0], "as root every layer holds");
}
