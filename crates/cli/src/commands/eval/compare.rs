//! `lazaret eval compare`: what changed between two runs, and whether that may be chance.

use std::collections::BTreeMap;

use serde::Serialize;

use super::super::Context;
use super::keep::Kept;
use super::plan::Plan;
use super::report::{Group, GroupKey, Report, group_key};
use super::stats::{ALPHA, fisher};
use crate::exit::{Done, clean};
use crate::home::Home;
use crate::out;

/// Cells that are alike, in both runs.
#[derive(Debug, Serialize)]
struct Change {
    scenario: String,
    engine: String,
    model: String,
    skill: bool,
    change: &'static str,
    before: (u64, u64),
    after: (u64, u64),
    /// How likely such a difference is when nothing changed.
    p: f64,
    significant: bool,
    /// Whether the scenario itself is another one now.
    scenario_changed: bool,
}

pub(super) fn run(context: &Context, before: &str, after: &str, fail_on: Option<&str>) -> Done {
    let home = Home::open(&context.env.home)?;
    let (a, b) = (Kept::open(&home, before)?, Kept::open(&home, after)?);
    let (old, new) = (Report::of(&a.plan, &a.outcomes()?), Report::of(&b.plan, &b.outcomes()?));
    let (hashes_a, hashes_b) = (hashes(&a.plan), hashes(&b.plan));
    let find = |groups: &[Group], key: &GroupKey| groups.iter().find(|group| key_of(group) == *key).cloned();
    let mut keys: Vec<GroupKey> = old.groups.iter().chain(&new.groups).map(key_of).collect();
    keys.sort();
    keys.dedup();
    let mut changes = Vec::new();
    let (mut all_before, mut all_after) = ((0, 0), (0, 0));
    for key in &keys {
        let (was, is) = (find(&old.groups, key).unwrap_or_default(), find(&new.groups, key).unwrap_or_default());
        let (was, is) = ((was.passed, was.tried()), (is.passed, is.tried()));
        let (x, y) = (hashes_a.get(key), hashes_b.get(key));
        let scenario_changed = x.is_some() && y.is_some() && x != y;
        let both = was.1 > 0 && is.1 > 0;
        if both && !scenario_changed {
            all_before = (all_before.0 + was.0, all_before.1 + was.1);
            all_after = (all_after.0 + is.0, all_after.1 + is.1);
        }
        changes.push(change(key.clone(), was, is, scenario_changed));
    }
    let overall = change((String::new(), String::new(), String::new(), false), all_before, all_after, false);
    print(context, &changes, &overall)?;
    let counts = |change: &Change| change.change == "regression" && (fail_on == Some("any") || change.significant);
    // A significant loss can be spread over scenarios, none of which shows it alone.
    let is_worse = fail_on.is_some() && (changes.iter().any(counts) || counts(&overall));
    Ok(u8::from(is_worse))
}

fn key_of(group: &Group) -> GroupKey {
    (group.scenario.clone(), group.engine.clone(), group.model.clone(), group.skill)
}

fn hashes(plan: &Plan) -> BTreeMap<GroupKey, String> {
    plan.cells.iter().map(|cell| (group_key(cell), cell.hash.clone())).collect()
}

fn change((scenario, engine, model, skill): GroupKey, before: (u64, u64), after: (u64, u64), scenario_changed: bool) -> Change {
    let p = fisher(before, after);
    let (left, right) = (u128::from(before.0) * u128::from(after.1), u128::from(after.0) * u128::from(before.1));
    let change = match (before.1, after.1) {
        (0, 0) => "untried",
        (0, _) => "new",
        (_, 0) => "gone",
        _ if scenario_changed => "changed",
        _ if left > right => "regression",
        _ if left < right => "improvement",
        _ => "same",
    };
    let significant = matches!(change, "regression" | "improvement") && p < ALPHA;
    Change { scenario, engine, model, skill, change, before, after, p, significant, scenario_changed }
}

fn print(context: &Context, changes: &[Change], overall: &Change) -> Result<(), model::Failure> {
    if context.json {
        changes.iter().try_for_each(out::json)?;
        return out::json(&serde_json::json!({ "overall": overall }));
    }
    let of = |(passed, of): (u64, u64)| format!("{passed}/{of}");
    let row = |change: &Change| {
        vec![
            change.change.to_owned(),
            change.scenario.clone(),
            change.engine.clone(),
            if change.model.is_empty() { "-".to_owned() } else { change.model.clone() },
            if change.skill { "with" } else { "without" }.to_owned(),
            of(change.before),
            of(change.after),
            format!("{:.3}", change.p),
            remark(change).to_owned(),
        ]
    };
    let shown: Vec<&Change> = changes.iter().filter(|change| change.change != "same").collect();
    if !shown.is_empty() {
        let rows: Vec<Vec<String>> = shown.into_iter().map(row).collect();
        out::table(&["change", "scenario", "engine", "model", "skill", "before", "after", "p", ""], &rows);
    }
    let (was, is, p) = (of(overall.before), of(overall.after), overall.p);
    out::line(&clean(&format!("in all: {was} before, {is} after: {} (p = {p:.3}; {})", overall.change, remark(overall))));
    Ok(())
}

/// What a change is worth, for people.
fn remark(change: &Change) -> &'static str {
    match change.change {
        "regression" | "improvement" if change.significant => "significant",
        "regression" | "improvement" => "may be chance",
        "changed" => "the scenario was changed: not compared",
        "new" => "not in the first run",
        "gone" => "not in the second run",
        "same" => "no difference",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_told_apart() {
        let of = |before, after, other| {
            let change = change((String::new(), String::new(), String::new(), false), before, after, other);
            (change.change, change.significant)
        };
        assert_eq!(of((1, 1), (0, 1), false), ("regression", false));
        assert_eq!(of((10, 10), (2, 10), false), ("regression", true));
        assert_eq!(of((2, 10), (10, 10), false), ("improvement", true));
        assert_eq!(of((1, 2), (2, 4), false), ("same", false));
        assert_eq!(of((1, 1), (0, 1), true), ("changed", false));
        assert_eq!(of((0, 0), (1, 1), false), ("new", false));
        assert_eq!(of((1, 1), (0, 0), false), ("gone", false));
    }
}
