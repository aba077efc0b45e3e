//! Installs of others and of this program, taken over by the shipped binary: whole, once, and without harm from what they hold.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Lab, project};

/// Writes an install of this form beside the home.
fn install(lab: &Lab, form: &str, more: &[&str]) -> PathBuf {
    let dir = lab.path(&format!("installs/{form}"));
    std::fs::create_dir_all(&dir).expect("a directory");
    let out = Command::new("python3").arg(project("tests/fixtures/nanoclaw.py")).arg(form).arg(&dir).args(more).output().expect("python3");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    dir
}

/// Imports it and gives the report.
#[track_caller]
fn import(lab: &Lab, dir: &Path, more: &[&str], status: i32) -> Value {
    let dir = dir.to_str().expect("a path");
    let args: Vec<&str> = ["--json", "import", "nanoclaw", dir].into_iter().chain(more.iter().copied()).collect();
    lab.run(&args).ends_with(status).events()[0].clone()
}

fn count(report: &Value, what: &str) -> u64 {
    report["counts"][what].as_u64().unwrap_or(0)
}

fn list(lab: &Lab, args: &[&str]) -> Vec<Value> {
    let args: Vec<&str> = ["--json"].into_iter().chain(args.iter().copied()).collect();
    lab.run(&args).succeeds().events()
}

/// Every file below a directory, with what is in it and when it changed.
fn state(dir: &Path) -> Vec<(PathBuf, Vec<u8>, std::time::SystemTime)> {
    let mut all = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).expect("a directory") {
            let path = entry.expect("an entry").path();
            let meta = std::fs::symlink_metadata(&path).expect("there");
            if meta.is_dir() {
                dirs.push(path);
            } else if meta.is_file() {
                all.push((path.clone(), std::fs::read(&path).expect("read"), meta.modified().expect("a time")));
            }
        }
    }
    all.sort();
    all
}

#[test]
fn an_install_of_the_second_form_comes_whole_and_once() {
    let lab = Lab::new();
    let dir = install(&lab, "v2", &[]);
    let before = state(&dir);
    let dry = import(&lab, &dir, &["--dry-run"], 0);
    assert_eq!((&dry["dry_run"], count(&dry, "agent new"), count(&dry, "session new")), (&json!(true), 2, 1), "{dry:#}");
    assert!(list(&lab, &["agent", "list"]).iter().all(|agent| agent["name"] == "default"), "a dry run makes nothing");

    let report = import(&lab, &dir, &[], 0);
    for (what, n) in [
        ("agent new", 2),
        ("person new", 2),
        ("channel new", 2),
        ("chat new", 2),
        ("chat left out", 1),
        ("wiring new", 2),
        ("handle new", 2),
        ("role new", 2),
        ("task new", 1),
        ("session new", 1),
        ("memory new", 2),
        ("skill new", 1),
        ("file new", 2),
    ] {
        assert_eq!(count(&report, what), n, "{what}: {report:#}");
    }
    assert_eq!(state(&dir), before, "nothing of the source is written");

    let agents = list(&lab, &["agent", "list"]);
    let family = agents.iter().find(|agent| agent["name"] == "family").expect("the agent");
    assert_eq!(family["trigger"], "@Mia");
    let channels = list(&lab, &["channel", "list"]);
    assert!(channels.iter().all(|channel| channel["health"] == "off"), "accounts come switched off: {channels:#?}");
    let wirings = list(&lab, &["wire", "list"]);
    let deploy = wirings.iter().find(|wiring| wiring["agent"] == "work").expect("the wiring");
    assert_eq!((&deploy["engage"], &deploy["pattern"], &deploy["mode"]), (&json!("pattern"), &json!("^deploy"), &json!("thread")));
    let task = &list(&lab, &["task", "list"])[0];
    assert_eq!((&task["cron"], &task["status"]), (&json!("0 9 * * 5"), &json!("paused")), "{task:#}");
    // What an agent had written itself acts only after a person said so.
    let memories = list(&lab, &["memory", "list"]);
    let waits = |text: &str| {
        memories.iter().find(|m| m["content"].as_str().is_some_and(|c| c.contains(text))).expect("a memory")["waiting"].clone()
    };
    assert_eq!((waits("seven"), waits("spy@")), (json!(false), json!(true)));
    let session = &list(&lab, &["session", "list"])[0];
    let log = lab.log(session["id"].as_str().expect("an identity"));
    assert!(log.iter().any(|event| event["type"] == "text" && event["text"] == "At seven."), "{log:#?}");
    assert_eq!(session["turns"], 2);
    // Files of messages lie where those of messages lie; a skill is on the shelf, and no agent has it.
    let id = session["id"].as_str().expect("an identity");
    for (path, content) in [("inbox/in-4/menu.txt", "soup and bread"), ("outbox/out-5/plan.txt", "at seven")] {
        let tar = lab.ask("GET", &format!("/v1/sessions/{id}/files?path=/home/sandbox/{path}"), Value::Null);
        assert!(tar.status == 200 && String::from_utf8_lossy(&tar.body).contains(content), "{path}: {}", tar.status);
    }
    let turns = lab.run(&["session", "turns", id]).succeeds().out;
    assert!(turns.contains("(file: m"), "{turns}");
    let skills = list(&lab, &["skill", "list"]);
    let cook = skills.iter().find(|skill| skill["name"] == "cook").expect("the skill");
    assert_eq!((&cook["agents"], &cook["source"]), (&json!([]), &json!("groups/family/skills/cook")), "{cook:#}");

    let again = import(&lab, &dir, &[], 0);
    assert!(again["counts"].as_object().expect("counts").keys().all(|key| !key.ends_with(" new") && !key.ends_with(" there")), "{again:#}");
    // What was removed here stays removed.
    lab.run(&["task", "remove", task["id"].as_str().expect("an identity")]).succeeds();
    import(&lab, &dir, &[], 0);
    assert!(list(&lab, &["task", "list"]).is_empty());
}

#[test]
fn the_first_form_and_the_fork_come_too() {
    let lab = Lab::new();
    let first = import(&lab, &install(&lab, "v1", &[]), &[], 0);
    assert_eq!((count(&first, "agent new"), count(&first, "task new"), count(&first, "session new")), (2, 2, 1), "{first:#}");
    let tasks = list(&lab, &["task", "list"]);
    assert!(tasks.iter().all(|task| task["zone"] == "Europe/Berlin"), "{tasks:#?}");
    assert!(tasks.iter().any(|task| task["cron"] == "*/15 * * * *"));
    let said: Value = lab.run(&["--json", "agent", "show", "main"]).succeeds().events()[0].clone();
    assert!(said["instructions"].as_str().is_some_and(|text| text.contains("short answers")), "{said:#}");
    let fork = import(&lab, &install(&lab, "fork", &[]), &[], 0);
    assert_eq!((count(&fork, "agent new"), count(&fork, "secrets left out")), (2, 1), "{fork:#}");
    let channels = list(&lab, &["channel", "list"]);
    assert!(channels.iter().any(|channel| channel["name"] == "telegram-8001"), "a bot is an account: {channels:#?}");
    let home = std::fs::read(lab.home().join("lazaret.db")).expect("the store");
    assert!(!home.windows(18).any(|bytes| bytes == b"sk-ant-fixture-not"), "no key is taken along");
}

/// The attack: names that are SQL or terminal codes, paths that leave, links, pipes and broken files.
#[test]
fn hostile_installs_do_no_harm() {
    let lab = Lab::new();
    let dir = install(&lab, "v2", &["hostile=1"]);
    let report = import(&lab, &dir, &[], 1);
    // The control: what is whole comes all the same.
    assert_eq!((count(&report, "session new"), count(&report, "task new")), (1, 1), "{report:#}");
    assert!(
        count(&report, "session wrong") >= 1 && count(&report, "instructions wrong") >= 1 && count(&report, "wiring wrong") >= 1,
        "{report:#}"
    );
    // A skill that hides something, or leads away, and a file behind a link or with a name that is none: the others come.
    let of = |what: &str| {
        (count(&report, &format!("{what} new")), count(&report, &format!("{what} left out")), count(&report, &format!("{what} wrong")))
    };
    assert_eq!((of("skill"), of("file")), ((1, 2, 0), (2, 1, 1)), "{report:#}");
    let agents = list(&lab, &["agent", "list"]);
    let names: Vec<&str> = agents.iter().filter_map(|agent| agent["name"].as_str()).collect();
    assert!(
        names.contains(&"family")
            && names.iter().all(|name| name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')),
        "{names:?}"
    );
    let all = [
        lab.run(&["agent", "list"]).succeeds().out,
        lab.run(&["chats", "list"]).succeeds().out,
        lab.run(&["people", "handles"]).succeeds().out,
        lab.run(&["import", "nanoclaw", dir.to_str().expect("a path")]).ends_with(1).out,
    ]
    .concat();
    assert!(!all.contains('\u{1b}') && !all.contains('\u{202e}'), "{all:?}");
    let export = lab.run(&["export", "-"]).succeeds().out;
    assert!(!export.contains("SECRET-OF-SOMEBODY-ELSE"), "no link is followed");
    let host = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    assert!(
        host.trim().is_empty() || !agents.iter().any(|agent| agent["instructions"].as_str().is_some_and(|text| text.contains(host.trim())))
    );
}

#[test]
fn what_is_no_install_is_told() {
    let lab = Lab::new();
    let dir = lab.path("empty");
    std::fs::create_dir_all(&dir).expect("a directory");
    lab.run(&["import", "nanoclaw", dir.to_str().expect("a path")]).fails("NOT_FOUND", 2);
    lab.run(&["import", "nanoclaw", "/nowhere/at/all"]).fails("PATH_UNUSABLE", 3);
    std::fs::write(dir.join("x.jsonl"), "{}\n").expect("written");
    lab.run(&["import", "lazaret", dir.join("x.jsonl").to_str().expect("a path")]).fails("USAGE", 2);
}

/// An install that another takes over says the same of itself afterwards, and holds no secret.
#[test]
fn an_export_comes_back_as_it_was() {
    let lab = Lab::new();
    import(&lab, &install(&lab, "v2", &[]), &[], 0);
    lab.run_with(&["secret", "set", "anthropic", "-"], b"sk-ant-fixture-of-this-install").succeeds();
    let file = lab.path("mine.jsonl");
    let file = file.to_str().expect("a path");
    lab.run(&["export", file]).succeeds();
    lab.run(&["export", file]).fails("PATH_UNUSABLE", 3);
    let first = std::fs::read_to_string(file).expect("an export");
    assert!(!first.contains("sk-ant-fixture") && first.contains("At seven."), "{first}");

    let other = Lab::new();
    let report = other.run(&["--json", "import", "lazaret", file]).succeeds().events()[0].clone();
    assert!(report["counts"].as_object().expect("counts").keys().all(|key| !key.ends_with("wrong")), "{report:#}");
    let second = other.run(&["export", "-"]).succeeds().out;
    let lines = |text: &str| -> Vec<Value> {
        let mut all: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        for line in &mut all {
            // Whoever had no address is somebody new here.
            if ["person", "handle", "role"].contains(&line["kind"].as_str().unwrap_or("")) {
                for key in ["id", "person"] {
                    line[key] = Value::Null;
                }
            }
        }
        all.sort_by_key(ToString::to_string);
        all
    };
    assert_eq!(lines(&first), lines(&second));
    let again = other.run(&["--json", "import", "lazaret", file]).succeeds().events()[0].clone();
    assert!(again["items"].as_array().expect("items").is_empty(), "{again:#}");
}
