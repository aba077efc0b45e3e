//! A call of high risk, and a daemon that dies over it: it is asked about once, never made without a yes, never made twice, and
//! what came of it is told or said to be unknown.

use std::time::Instant;

use serde_json::Value;

use crate::marks;
use crate::scene::{PATIENCE, Running, daemon, dies, lab};
use crate::support::{Lab, of_type};

/// What must be so in the end.
#[derive(Clone, Copy, PartialEq)]
enum End {
    /// The call was made, and its outcome is told.
    Made,
    /// It was made; whether it was is not told, since the daemon died before it knew.
    MadeUntold,
    /// It was begun and not made; that is not told either.
    Begun,
}

/// Where the daemon dies after the call began, nobody can know what came of it.
fn end_of(point: &str) -> End {
    match point {
        "approval:began" | "store.approval-begin.after" => End::Begun,
        "store.approval-finish.before" => End::MadeUntold,
        _ => End::Made,
    }
}

/// A run whose tool needs a yes, given as soon as somebody is asked; the daemon dies at the point.
pub(crate) fn dies_at(point: &str) {
    let (lab, _server) = lab(&marks::command("once"));
    marks::install(&lab);
    let mut first = daemon(&lab, Some(point));
    let mut client = Running::start(&lab, &["run", "--json", "count"]);
    if point == "turn:stands" {
        // A turn whose call is answered at once does not come to wait.
        dies(&mut first, point);
    }
    let began = Instant::now();
    while !client.is_over() {
        answer(&lab);
        assert!(began.elapsed() < PATIENCE, "{point}: the run does not end");
    }
    dies(&mut first, point);
    let ran = client.ends(point).succeeds();
    let events = ran.events();
    let results = of_type(&events, "tool_result");
    let said = results.first().and_then(|event| event["output"].as_str()).unwrap_or_default();
    let asked = of_type(&events, "approval").iter().filter(|event| event["status"] == "pending").count();
    assert_eq!((results.len(), asked), (1, 1), "{point}: it is asked about once: {}", ran.out);
    let made = marks::made(&lab);
    match end_of(point) {
        End::Made => {
            assert!(said.contains("marked 1") && said.contains("status 0"), "{point}: {said}");
            assert_eq!(made, ["once"], "{point}");
        }
        End::MadeUntold => {
            assert!(said.contains("unknown") && said.contains("status 1"), "{point}: {said}");
            assert_eq!(made, ["once"], "{point}");
        }
        End::Begun => {
            assert!(said.contains("unknown") && said.contains("status 1"), "{point}: {said}");
            assert!(made.is_empty(), "{point}: {made:?}");
        }
    }
    let checked = lab.run(&["audit", "verify"]).succeeds();
    assert!(checked.out.contains("the chain is whole"), "{point}: {}", checked.out);
}

/// Says yes to what waits. A daemon that is dying hears nothing; then it is said again.
fn answer(lab: &Lab) {
    let listed = lab.run(&["approvals", "list", "--json"]);
    let waiting: Vec<Value> = listed.out.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    for view in waiting {
        if let Some(id) = view["id"].as_str() {
            lab.run(&["approvals", "approve", id]);
        }
    }
    std::thread::sleep(std::time::Duration::from_millis(50));
}
