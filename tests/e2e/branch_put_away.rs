//! Agents that nobody needs any more, put away by the policy of the configuration: with sizes, and without losing anything.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::clock::ShiftedClock;

use crate::branches::{Project, commits, spawn, status, told};
use crate::support::{Lab, PATIENCE, Ran};

const HOUR: i64 = 3_600;

/// Starts a daemon that has the clock.
fn start(lab: &Lab, clock: &ShiftedClock) {
    let mut command = lab.command(&["start", "--listen", "127.0.0.1:0"]);
    command.envs(clock.env());
    Ran::of(command, None).succeeds();
}

/// What a round of the policy says, by branch.
#[track_caller]
fn round(lab: &Lab, more: &[&str]) -> Vec<(String, Value)> {
    let seen = lab.run(&[&["agents", "clean", "--policy", "--json"], more].concat()).succeeds().events();
    let mut seen: Vec<(String, Value)> = seen.into_iter().map(|one| (one["branch"].as_str().expect("a branch").to_owned(), one)).collect();
    seen.sort_by(|a, b| a.0.cmp(&b.0));
    seen
}

#[test]
fn who_rested_long_enough_is_put_away_and_nothing_is_lost() {
    let lab = Lab::new();
    let clock = ShiftedClock::build(lab.path("").as_path());
    let project = Project::new(&lab, "project");
    lab.run(&["config", "set", "branches.keep_merged", "1h"]).succeeds();
    lab.run(&["config", "set", "branches.keep_idle", "24h"]).succeeds();
    start(&lab, &clock);
    let large = "head -c 3000000 /dev/urandom > large.bin; git add -A; git commit -q -m large";
    spawn(&lab, &project, "merged", &told(large), &[]).succeeds();
    spawn(&lab, &project, "idle", &commits("idle.txt", "1", "idle"), &[]).succeeds();
    spawn(&lab, &project, "open", &told("echo open > open.txt"), &[]).succeeds();
    lab.run(&["agents", "merge", "--repo", project.repo(), "merged", "--yes"]).succeeds();
    assert_eq!(round(&lab, &[]), [], "nobody rested long enough");

    clock.shift(2 * HOUR);
    let seen = round(&lab, &["--dry-run"]);
    assert!(matches!(&seen[..], [(branch, one)] if branch == "merged" && one["done"] == false && one["loses"] == json!([])), "{seen:?}");
    assert!(seen[0].1["bytes"].as_u64() >= Some(3_000_000), "what it would free is shown: {seen:?}");
    let said = lab.run(&["agents", "clean", "--policy", "--dry-run"]).succeeds().out;
    assert!(said.starts_with("merged: would be put away, ") && said.trim_end().ends_with('M'), "{said}");
    assert_eq!(status(&lab, &project, "merged")["state"], json!("done"), "looking puts nobody away");
    let seen = round(&lab, &[]);
    assert!(matches!(&seen[..], [(branch, one)] if branch == "merged" && one["done"] == true), "{seen:?}");
    lab.run(&["agents", "status", "--repo", project.repo(), "merged"]).fails("NOT_FOUND", 2);

    // Who is only idle goes later, and its branch stays; whose work would be lost stays, and it is said what that is.
    clock.shift(26 * HOUR);
    let seen = round(&lab, &[]);
    let told: Vec<(&str, &Value)> = seen.iter().map(|(branch, one)| (branch.as_str(), &one["done"])).collect();
    assert_eq!(told, [("idle", &json!(true)), ("open", &json!(false))], "{seen:?}");
    assert!(seen[1].1["loses"].as_array().is_some_and(|loses| !loses.is_empty()), "{seen:?}");
    assert_eq!(project.git(&["log", "--format=%s", "-1", "idle"]), "idle");
    assert_eq!(status(&lab, &project, "open")["untracked"], json!(1));

    // The daemon does it by itself.
    spawn(&lab, &project, "later", &commits("later.txt", "1", "later"), &[]).succeeds();
    lab.run(&["agents", "merge", "--repo", project.repo(), "later", "--yes"]).succeeds();
    clock.shift(28 * HOUR);
    lab.kill_daemon();
    start(&lab, &clock);
    let began = Instant::now();
    while lab.run(&["agents", "status", "--repo", project.repo(), "later"]).status == 0 {
        assert!(began.elapsed() < PATIENCE, "it was not put away");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(status(&lab, &project, "open")["untracked"], json!(1));
}
