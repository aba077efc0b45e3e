//! What earlier tools for agents on branches got wrong, each with the tests that show it right here. The table is read by a test: a name
//! in it that is no test is noticed.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use serde_json::json;
use testkit::model_server::{Say, Script};

use crate::branches::{Project, commits, spawn, status, told};
use crate::support::{KEY, Lab, PATIENCE, Ran, project as file};

/// A failure, and the tests that show that it does not happen.
const SHOWN: &[(&str, &[(&str, &str)])] = &[
    ("a task runs on the host", &[("e2e/branches.rs", "a_task_is_data_wherever_it_goes")]),
    (
        "an agent writes to the user's repository, or to another agent's",
        &[
            ("escape/git_planted.rs", "nothing_that_an_agent_plants_runs_on_the_host"),
            ("escape/git_others.rs", "an_agent_changes_nothing_but_its_own_branch"),
            ("escape/git_others.rs", "an_agent_sees_no_others_files"),
            ("e2e/branch_day.rs", "a_day_of_agents_leaves_the_repository_as_it_was"),
        ],
    ),
    (
        "the user's settings and keys are in every sandbox, and the network is open",
        &[("e2e/branch_failures.rs", "neither_settings_nor_keys_nor_the_network_are_in_an_agents_sandbox")],
    ),
    (
        "an agent cannot be spawned again",
        &[
            ("e2e/branches.rs", "spawning_again_is_a_further_turn"),
            ("e2e/branch_failures.rs", "an_agent_is_spawned_again_on_what_was_left_of_the_last"),
        ],
    ),
    (
        "git does not work in the working tree on the host",
        &[("e2e/branch_trees.rs", "a_working_tree_is_made_where_nothing_is_and_goes_when_nothing_is_in_it")],
    ),
    (
        "a quote or a slash breaks the status",
        &[
            ("e2e/branches.rs", "names_and_subjects_of_any_kind_are_shown_as_they_are"),
            ("e2e/branch_failures.rs", "the_status_is_one_and_the_same_wherever_it_is_asked"),
        ],
    ),
    (
        "no limit, no budget, no end, and nobody hears of it",
        &[
            ("e2e/branches.rs", "death_is_noticed_at_once_and_a_limit_ends_the_work"),
            ("e2e/branches.rs", "what_is_left_open_is_counted_kept_and_never_lost"),
            ("e2e/branches.rs", "a_conflict_changes_nothing_and_says_where"),
            ("e2e/branch_failures.rs", "a_budget_ends_the_work_and_what_was_committed_is_home"),
            ("e2e/board.rs", "changes_are_told_to_whom_they_concern_and_no_longer_than_that"),
            ("e2e/branch_day.rs", "a_day_of_agents_leaves_the_repository_as_it_was"),
            ("e2e/branch_put_away.rs", "who_rested_long_enough_is_put_away_and_nothing_is_lost"),
            ("crash/branches.rs", "spawned"),
        ],
    ),
    (
        "names fall together, projects share a place, a file of the user's is edited",
        &[
            ("e2e/branches.rs", "names_and_subjects_of_any_kind_are_shown_as_they_are"),
            ("e2e/branch_failures.rs", "one_name_in_two_projects_is_two_agents_and_no_file_is_edited"),
        ],
    ),
    (
        "programs are not pinned",
        &[
            ("e2e/engines.rs", "a_file_that_is_not_the_pinned_one_is_refused"),
            ("e2e/engines.rs", "the_installer_reaches_the_registry_alone"),
        ],
    ),
    (
        "what one part says to another is nowhere written down",
        &[
            ("e2e/branch_failures.rs", "the_status_is_one_and_the_same_wherever_it_is_asked"),
            ("e2e/openapi.rs", "answers_are_what_the_document_says"),
        ],
    ),
];

fn agents(lab: &Lab, project: &Project, verb: &str, more: &[&str]) -> Ran {
    let mut args = vec!["agents", verb, "--repo", project.repo()];
    args.extend(more);
    lab.run(&args)
}

/// Whether there is a test of this name.
#[track_caller]
fn is_there(about: &str, path: &str, name: &str) {
    let text = std::fs::read_to_string(file("tests").join(path)).unwrap_or_else(|e| panic!("{about}: {path}: {e}"));
    assert!(text.contains(&format!("fn {name}(")), "{about}: {path} has no test {name}");
}

#[test]
fn every_failure_and_every_attack_has_its_tests() {
    for (failure, tests) in SHOWN {
        tests.iter().for_each(|(path, name)| is_there(failure, path, name));
    }
    // The other table stands in the words above its tests.
    let attacks = std::fs::read_to_string(file("tests/e2e/branch_attacks.rs")).expect("a file");
    let rows: Vec<&str> = attacks.lines().filter_map(|line| line.strip_prefix("//! | ")).skip(1).collect();
    assert!(rows.len() > 10, "{rows:?}");
    for row in rows {
        let (attack, shown) = row.split_once(" | ").unwrap_or_else(|| panic!("{row}"));
        let names: Vec<&str> = shown.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "{row}");
        for name in names {
            match name.split("::").collect::<Vec<_>>()[..] {
                [stage, path, name] => is_there(attack, &format!("{stage}/{path}.rs"), name),
                [path, name] => is_there(attack, &format!("e2e/{path}.rs"), name),
                _ => is_there(attack, "e2e/branch_attacks.rs", name),
            }
        }
    }
}

#[test]
fn neither_settings_nor_keys_nor_the_network_are_in_an_agents_sandbox() {
    let lab = Lab::new();
    lab.run_with(&["secret", "set", "anthropic", "-"], KEY.as_bytes()).succeeds();
    let project = Project::new(&lab, "project");
    // What an agent program keeps of all projects, and what a shell, git and ssh keep for their user.
    for path in [".claude/.credentials.json", ".claude/projects/other/1.jsonl", ".netrc", ".ssh/id_ed25519", ".git-credentials"] {
        let path = lab.path(path);
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("make");
        std::fs::write(path, "canary-of-the-user\n").expect("write");
    }
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    // The words stand in the task in pieces, as the task itself is inside.
    let look = format!(
        "c=canary-of; k=e2e-canary; {{ grep -rl -e \"$c-the-user\" -e \"$k-key\" /home /root /workspace /tmp /etc /opt /run /var /srv 2>/dev/null; \
         env | grep -e \"$c-the\" -e \"$k-key\"; cat /proc/*/environ 2>/dev/null | tr '\\0' '\\n' | grep -e \"$c-the\" -e \"$k-key\"; \
         if timeout 5 bash -c 'echo > /dev/tcp/127.0.0.1/{port}' 2>/dev/null; then echo reached; fi; echo looked; }} > seen; \
         git add seen; git commit -q -m seen"
    );
    spawn(&lab, &project, "look", &told(&look), &["--model", "rehearsal"]).succeeds();
    assert_eq!(project.git(&["show", "look:seen"]), "looked");
    // The control: the same search on the host finds them, and the listener listens.
    let home = lab.path("");
    let found = std::process::Command::new("grep").args(["-rl", "canary-of-the-user"]).arg(home.join(".claude")).output().expect("grep");
    assert_eq!(String::from_utf8_lossy(&found.stdout).lines().count(), 2);
    std::net::TcpStream::connect(("127.0.0.1", port)).expect("it listens");
}

#[test]
fn an_agent_is_spawned_again_on_what_was_left_of_the_last() {
    let lab = Lab::new();
    let project = Project::new(&lab, "project");
    spawn(&lab, &project, "feat/left", &commits("one.txt", "1", "one"), &[]).succeeds();
    // The agent is put away, the branch stays: the next one goes on from it.
    agents(&lab, &project, "clean", &["feat/left"]).succeeds();
    spawn(&lab, &project, "feat/left", &commits("two.txt", "2", "two"), &[]).succeeds();
    assert_eq!(project.git(&["log", "--format=%s", "main..feat/left"]), "two\none");
    // The branch goes with the agent: the next one begins anew.
    agents(&lab, &project, "clean", &["feat/left", "--delete-branch", "--force"]).succeeds();
    spawn(&lab, &project, "feat/left", &commits("three.txt", "3", "three"), &[]).succeeds();
    assert_eq!(project.git(&["log", "--format=%s", "main..feat/left"]), "three");
    // The branch is gone and the agent is not: nothing of its work is lost.
    project.git(&["branch", "-D", "feat/left"]);
    spawn(&lab, &project, "feat/left", &commits("four.txt", "4", "four"), &[]).succeeds();
    let at = status(&lab, &project, "feat/left")["ref"].as_str().expect("a ref").to_owned();
    assert_eq!(project.git(&["log", "--format=%s", &format!("main..{at}")]), "four\nthree");
}

#[test]
fn a_budget_ends_the_work_and_what_was_committed_is_home() {
    let lab = Lab::new();
    let command = "date +%N >> n; git add -A; git commit -q -m step";
    let usage = model::Usage { input_tokens: 10_000, output_tokens: 1_000, ..model::Usage::default() };
    let replies = vec![Say::Shell(command.to_owned()); 50];
    let server = lab.model(Script { key: Some(KEY.to_owned()), replies, usage, ..Script::default() });
    lab.connect("anthropic", &server);
    let project = Project::new(&lab, "project");
    // Each call is four and a half cents.
    let args = ["spawn", "--repo", project.repo(), "--branch", "dear", "--task", "do it over and over", "--max-cost", "0.2"];
    lab.run(&args).succeeds();
    // Where it may ask for more it waits for a person, and a no ends it.
    let began = Instant::now();
    let agent = loop {
        let agent = status(&lab, &project, "dear");
        if agent["state"] == "failed" && agent["is_home"] == true {
            break agent;
        }
        let asked = lab.ask("GET", "/v1/approvals?status=pending", serde_json::Value::Null).is(200);
        if let Some(id) = asked["items"][0]["id"].as_str() {
            assert_eq!(asked["items"][0]["tool"], json!("budget.raise"), "{asked}");
            lab.run(&["approvals", "deny", id]).succeeds();
        }
        assert!(began.elapsed() < PATIENCE, "{agent}");
        std::thread::sleep(Duration::from_millis(100));
    };
    assert_eq!(agent["code"], json!("BUDGET_EXCEEDED"), "{agent}");
    let subjects = project.git(&["log", "--format=%s", "main..dear"]);
    assert!(subjects.starts_with("step") && subjects.lines().count() < 50, "{subjects}");
    assert_eq!(agent["commits"], json!(subjects.lines().count()));
}

#[test]
fn the_status_is_one_and_the_same_wherever_it_is_asked() {
    let lab = Lab::new();
    let project = Project::new(&lab, "project");
    let task = format!("\"quoted\" 'it' \\ back\n{}", commits("x", "x", "a \\\"quoted\\\" \\\\ subject"));
    spawn(&lab, &project, "deep/er/est", &task, &[]).succeeds();
    let one = status(&lab, &project, "deep/er/est");
    assert_eq!(one["task"], json!(task));
    let listed = agents(&lab, &project, "list", &["--json"]).succeeds().events();
    assert_eq!(listed, std::slice::from_ref(&one));
    let asked = lab.ask("GET", &format!("/v1/branches/{}", one["id"].as_str().expect("an identity")), serde_json::Value::Null).is(200);
    assert_eq!(asked, one);
    // A person reads it as well.
    assert!(agents(&lab, &project, "list", &[]).succeeds().out.contains("deep/er/est"));
}

#[test]
fn one_name_in_two_projects_is_two_agents_and_no_file_is_edited() {
    let lab = Lab::new();
    let (one, other) = (Project::new(&lab, "one"), Project::new(&lab, "other"));
    one.write(".gitignore", "target/\n");
    let before = (one.print(&["feat/a"]), other.print(&["feat/a"]));
    spawn(&lab, &one, "feat/a", &commits("x", "one", "of one"), &[]).succeeds();
    spawn(&lab, &other, "feat/a", &commits("x", "other", "of the other"), &[]).succeeds();
    assert_eq!((one.print(&["feat/a"]), other.print(&["feat/a"])), before);
    assert_eq!((one.git(&["show", "feat/a:x"]), other.git(&["show", "feat/a:x"])), ("one".to_owned(), "other".to_owned()));
    assert_ne!(status(&lab, &one, "feat/a")["id"], status(&lab, &other, "feat/a")["id"]);
    assert_eq!(one.git(&["diff", "--name-only", "main", "feat/a"]), "x", "an agent commits its own work alone");
    agents(&lab, &one, "clean", &["feat/a"]).succeeds();
    assert_eq!(status(&lab, &other, "feat/a")["state"], json!("done"), "the other one is there");
}
