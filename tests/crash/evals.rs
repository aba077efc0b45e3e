//! A run of a suite that dies: whoever takes it up goes on where it stood, and no cell is asked of the model twice.

use std::path::PathBuf;

use serde_json::Value;
use testkit::model_server::ModelServer;

use crate::scene::{self, Running, asked, dies, kill_daemon};
use crate::support::Lab;

macro_rules! points {
    ($($test:ident: $point:literal;)*) => {
        /// Every point that is tried here.
        pub(crate) const TRIED: &[&str] = &[$($point),*];
        $(#[test] fn $test() { the_run_dies_at($point); })*
    };
}

points! {
    eval_planned: "eval:planned";
    eval_box_made: "eval:box-made";
    eval_session_made: "eval:session-made";
    eval_begun: "eval:begun";
    eval_asked: "eval:asked";
    eval_answered: "eval:answered";
    eval_files_fetched: "eval:files-fetched";
    eval_graded: "eval:graded";
    eval_kept: "eval:kept";
}

/// Cells of the suite, and requests that each makes of the model.
const CELLS: usize = 2;
const ROUNDS: usize = 2;

fn suite() -> (Lab, ModelServer, PathBuf) {
    let (lab, server) = scene::lab("echo once >> runs");
    let dir = lab.path("suite");
    std::fs::create_dir_all(dir.join("scenarios")).expect("make");
    std::fs::write(dir.join("suite.toml"), "").expect("write");
    let scenario = "prompt = \"once\"\nsetup = \"echo made > made\"\n[[check]]\nrun = \"[ $(wc -l < runs) -eq 1 ]\"\n\
                    [[check]]\nfile = \"made\"\nunchanged = true\n";
    for n in 1..=CELLS {
        std::fs::write(dir.join(format!("scenarios/s{n}.toml")), scenario).expect("write");
    }
    (lab, server, dir)
}

fn the_run_dies_at(point: &str) {
    let (lab, server, dir) = suite();
    let mut child = lab
        .command(&["eval", "run", dir.to_str().expect("utf-8"), "--jobs", "1"])
        .env("LAZARET_CRASH_AT", point)
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("start");
    dies(&mut child, point);
    goes_on(&lab, &server, point);
}

/// Takes the run up: all cells are over, each turn was asked once, and nothing is left.
fn goes_on(lab: &Lab, server: &ModelServer, about: &str) {
    let listed = lab.run(&["eval", "list", "--json"]).succeeds();
    let run = listed.events()[0]["run"].as_str().expect("a run").to_owned();
    let ran = lab.run(&["eval", "run", "--resume", &run, "--json"]).succeeds();
    let report: Value = ran.events().last().expect("a report")["report"].clone();
    assert_eq!((&report["total"]["passed"], &report["over"]), (&Value::from(CELLS), &Value::from(CELLS)), "{about}: {}", ran.out);
    assert_eq!(asked(server), CELLS * ROUNDS, "{about}: each cell is asked once");
    let kept = lab.run(&["session", "list", "--json"]).succeeds();
    assert!(!kept.out.contains("eval"), "{about}: a session is left: {}", kept.out);
    assert_eq!(lab.run(&["sandbox", "list"]).succeeds().out, "", "{about}: a sandbox is left");
    // Once more: all is over, and nothing is asked again.
    lab.run(&["eval", "run", "--resume", &run]).succeeds();
    assert_eq!(asked(server), CELLS * ROUNDS, "{about}");
}

#[test]
fn the_daemon_is_killed_under_a_run() {
    let (lab, server, dir) = suite();
    let run = Running::start(&lab, &["eval", "run", dir.to_str().expect("utf-8"), "--jobs", "2", "--json"]);
    let began = std::time::Instant::now();
    while asked(&server) == 0 {
        assert!(began.elapsed() < scene::PATIENCE, "the model is not asked");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    kill_daemon(&lab);
    let ran = run.ends("the run");
    // It went on with the next daemon, or stopped and can be taken up: cells that say nothing about the agent are tried again.
    let again = lab.run(&["eval", "run", "--resume", "last", "--json"]).succeeds();
    let report: Value = again.events().last().expect("a report")["report"].clone();
    assert_eq!(report["total"]["passed"], Value::from(CELLS), "{}\n{}\n{}", ran.out, ran.err, again.out);
}
