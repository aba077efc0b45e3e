//! A daemon that dies over the first steps, or while it takes over another install: the same said again brings the same, once.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::{Lab, Ran, project};

macro_rules! points {
    ($($test:ident: $point:literal, $scene:ident;)*) => {
        /// Every point that is tried here.
        pub(crate) const TRIED: &[&str] = &[$($point),*];
        $(#[test] fn $test() { $scene($point); })*
    };
}

points! {
    import_thing_made: "import:thing-made@3", taken_over;
    import_thing_noted: "import:thing-noted@9", taken_over;
    import_later_thing_made: "import:thing-made@16", taken_over;
    import_last_file_brought: "import:thing-made@23", taken_over;
    store_taken_note_before: "store.taken-note.before@5", taken_over;
    store_taken_note_after: "store.taken-note.after@12", taken_over;
    setup_noted: "setup:noted", passed_over;
    store_setup_step_before: "store.setup-step.before", passed_over;
    store_setup_step_after: "store.setup-step.after", passed_over;
}

/// A daemon that dies at a point.
fn start(lab: &Lab, point: &str) {
    let mut command = lab.command(&["start", "--listen", "127.0.0.1:0"]);
    command.env("LAZARET_CRASH_AT", point);
    Ran::of(command, None).succeeds();
}

fn list(lab: &Lab, args: &[&str]) -> Vec<Value> {
    let args: Vec<&str> = ["--json"].into_iter().chain(args.iter().copied()).collect();
    lab.run(&args).succeeds().events()
}

fn taken_over(point: &str) {
    let lab = Lab::new();
    let dir = lab.path("installs/v2");
    std::fs::create_dir_all(&dir).expect("a directory");
    let made = Command::new("python3").arg(project("tests/fixtures/nanoclaw.py")).arg("v2").arg(&dir).stdin(Stdio::null()).status();
    assert!(made.expect("python3").success());
    let dir = dir.to_str().expect("a path");
    start(&lab, point);
    let cut = lab.run(&["--no-daemon", "import", "nanoclaw", dir]);
    assert_ne!(cut.status, 0, "{point}: the daemon died over it: {}", cut.out);
    lab.run(&["import", "nanoclaw", dir]).succeeds();
    let wanted: [(&[&str], usize); 8] = [
        (&["agent", "list"], 3),
        (&["channel", "list"], 2),
        (&["chats", "list"], 2),
        (&["wire", "list"], 2),
        (&["task", "list"], 1),
        (&["memory", "list"], 2),
        (&["session", "list"], 1),
        (&["people", "handles"], 2),
    ];
    for (args, n) in wanted {
        let found = list(&lab, args);
        assert_eq!(found.len(), n, "{point}: {args:?}: {found:#?}");
    }
    assert_eq!(list(&lab, &["task", "list"])[0]["status"], "paused", "{point}");
    assert_eq!(list(&lab, &["skill", "list"]).iter().filter(|skill| skill["name"] == "cook").count(), 1, "{point}");
    let again = lab.run(&["--json", "import", "nanoclaw", dir]).succeeds().events()[0].clone();
    assert!(again["counts"].as_object().expect("counts").keys().all(|key| !key.ends_with(" new")), "{point}: {again:#}");
}

fn passed_over(point: &str) {
    let lab = Lab::new();
    start(&lab, point);
    let cut = lab.run(&["--no-daemon", "setup", "--yes", "--skip", "channel"]);
    assert_ne!(cut.status, 0, "{point}: the daemon died over it: {}", cut.out);
    let view = lab.run(&["--json", "setup", "--yes", "--skip", "channel"]).succeeds().events()[0].clone();
    assert_eq!(view["steps"][2]["state"], "skipped", "{point}: {view:#}");
}
