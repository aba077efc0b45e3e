//! Agents from templates: the plan, what is made, and what stays when the template changes.

use std::fs;

use serde_json::json;

use crate::support::Lab;

#[test]
fn an_agent_comes_of_a_template_and_its_owners_word_stays() {
    let lab = Lab::new();
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    assert!(lab.run(&["agent", "templates"]).succeeds().out.contains("assistant"));
    lab.run(&["agent", "new", "anna", "--template", "assistant", "--dry-run"]).fails("USAGE", 2);
    let args = ["agent", "new", "anna", "--template", "assistant", "--set", "owner=Ann", "--set", "zone=Europe/Berlin"];
    let plan = lab.run(&[&args[..], &["--dry-run"]].concat()).succeeds().out;
    assert!(plan.contains("anna-briefing") && plan.contains("Europe/Berlin") && plan.contains("daily-briefing"), "{plan}");
    lab.run(&["agent", "show", "anna"]).fails("NOT_FOUND", 2);
    lab.run(&[&args[..], &["--yes"]].concat()).succeeds();
    let agent = &lab.run(&["agent", "show", "anna", "--json"]).succeeds().events()[0];
    assert!(agent["instructions"].as_str().expect("text").contains("personal assistant of Ann"), "{agent}");
    let tasks = lab.run(&["task", "list", "--json"]).succeeds().events();
    assert_eq!((&tasks[0]["name"], &tasks[0]["status"]), (&json!("anna-briefing"), &json!("paused")), "{tasks:?}");
    lab.run(&[&args[..], &["--yes"]].concat()).fails("CONFLICT", 1);
    let same = lab.run(&["agent", "update", "anna", "--plan"]).succeeds();
    assert!(same.err.contains("nothing changes"), "{}", same.err);
    lab.run(&["stop", "--grace", "0s"]).succeeds();
}

#[test]
fn a_template_of_ones_own_is_followed_where_nobody_changed_anything() {
    let lab = Lab::new();
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    let dir = lab.path("mine");
    fs::create_dir_all(&dir).expect("make");
    let write = |model: &str, text: &str| {
        fs::write(dir.join("agent.toml"), format!("[agent]\nmodel = \"{model}\"\ntools = [\"a\"]\n")).expect("write");
        fs::write(dir.join("instructions.md"), text).expect("write");
    };
    write("one", "First.");
    let at = format!("{}/", dir.display());
    lab.run(&["agent", "new", "bob", "--template", &at, "--yes"]).succeeds();
    lab.run(&["agent", "set", "bob", "--model", "mine", "--tool", "a", "--tool", "b"]).succeeds();
    write("two", "Second.");
    let plan = lab.run(&["agent", "update", "bob", "--template", &at, "--plan"]).succeeds().out;
    assert!(plan.contains("~ instructions") && plan.contains("= model"), "{plan}");
    lab.run(&["agent", "update", "bob", "--template", &at, "--apply"]).succeeds();
    let agent = &lab.run(&["agent", "show", "bob", "--json"]).succeeds().events()[0];
    assert_eq!(
        (&agent["model"], &agent["instructions"], &agent["tools"]),
        (&json!("mine"), &json!("Second."), &json!(["a", "b"])),
        "{agent}"
    );
    // One that came of no template is not taken over.
    lab.run(&["agent", "add", "eve"]).succeeds();
    lab.run(&["agent", "update", "eve", "--template", "assistant"]).fails("CONFLICT", 1);
    lab.run(&["stop", "--grace", "0s"]).succeeds();
}
