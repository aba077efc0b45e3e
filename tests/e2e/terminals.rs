//! Programs of sessions on a terminal: used, left, come back to, watched, and over the end of whatever carries them.

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use testkit::model_server::{Rule, Say, Script};

use crate::branches::{Project, spawn};
use crate::support::{KEY, Lab, comes, of_type};
use crate::typed::Typed;

/// Ctrl-P Ctrl-Q.
const LEAVE: &str = "\x10\x11";

/// The one session that the lab has.
#[track_caller]
fn session(lab: &Lab) -> Value {
    let listed = lab.run(&["session", "list", "--json"]).succeeds().events();
    assert_eq!(listed.len(), 1, "{listed:?}");
    listed[0].clone()
}

#[track_caller]
fn id(lab: &Lab) -> String {
    session(lab)["id"].as_str().expect("an identity").to_owned()
}

/// Waits until nothing runs in the session.
#[track_caller]
fn idle(lab: &Lab, id: &str) -> Value {
    let mut shown = Value::Null;
    let is_idle = comes(|| {
        shown = lab.run(&["session", "show", id, "--json"]).succeeds().events().remove(0);
        shown["state"] == "idle"
    });
    assert!(is_idle, "{shown}");
    shown
}

#[test]
fn an_engine_on_a_terminal_is_a_turn_like_any_other() {
    let lab = Lab::new();
    let rule = |contains: &str, say: Vec<Say>| Rule { contains: contains.to_owned(), say };
    let script = Script {
        key: Some(KEY.to_owned()),
        rules: vec![
            rule("and again", vec![Say::Text("the second answer".to_owned())]),
            rule(
                "first words",
                vec![Say::Shell("echo kept > /workspace/kept".to_owned()), Say::Text("the first \x1b]52;c;aGk=\x07answer".to_owned())],
            ),
        ],
        ..Script::default()
    };
    let server = lab.model(script);
    lab.connect("anthropic", &server);
    let project = Project::new(&lab, "project");
    let before = project.print(&[]);
    let mut typed = Typed::start(&lab, &["run", "-it", "--repo", project.repo(), "--engine", "mini"]);
    typed.expect("> ");
    typed.line("first words");
    typed.expect("the first answer");
    typed.expect("> ");
    typed.keys("\x04");
    typed.expect("go on with: lazaret run -it --resume ");
    assert_eq!(typed.ends(), 0);
    assert!(!typed.all().contains("\x1b]52"), "the clipboard is not the model's");

    let id = id(&lab);
    let shown = idle(&lab, &id);
    assert_eq!((&shown["turns"], shown.get("terminal")), (&1.into(), None), "{shown}");
    let events = lab.run(&["session", "events", &id, "--json"]).succeeds().events();
    assert_eq!(of_type(&events, "result")[0]["status"], "completed", "{events:?}");
    assert!(of_type(&events, "result")[0]["cost_usd"].as_f64() > Some(0.0), "it is metered: {events:?}");
    assert!(!of_type(&events, "usage").is_empty());
    // What was said is known in the next turn, typed or not, and the files are as they were left.
    let ran = lab.run(&["run", "--json", "--resume", &id, "--out", lab.path("out").to_str().expect("utf-8"), "and again"]).succeeds();
    assert_eq!(ran.result()["text"], "the second answer");
    let last = server.requests().into_iter().next_back().expect("a request");
    assert!(String::from_utf8_lossy(&last.body).contains("first words"), "it remembers");
    assert_eq!(std::fs::read_to_string(lab.path("out/kept")).expect("kept"), "kept\n");
    lab.run(&["session", "undo", &id, "--to", "0"]).succeeds();
    assert_eq!(project.print(&[]), before, "the user's repository is as it was");
}

#[test]
fn leaving_watching_and_taking_over() {
    let lab = Lab::new();
    let mut first = Typed::start(&lab, &["shell", "--keep"]);
    first.expect("$ ");
    first.line("echo one-$((1+1)); stty size");
    first.expect("one-2");
    first.resize(33, 101);
    // The size comes by another way than what is typed.
    first.line("until stty size | grep -q '^33 1'; do sleep 0.1; done; echo now-$((1+1)) $(stty size)");
    first.expect("now-2 33 101");
    first.keys(LEAVE);
    first.expect("it goes on in ses_");
    assert_eq!(first.ends(), 0);
    let id = id(&lab);
    // Who leaves is gone a moment before the daemon notices.
    assert!(comes(|| session(&lab)["terminal"]["attached"] == 0), "{}", session(&lab));
    let shown = session(&lab);
    assert_eq!((&shown["state"], &shown["terminal"]["program"]), (&"running".into(), &"bash".into()), "{shown}");

    let mut back = Typed::start(&lab, &["attach", &id]);
    back.expect("now-2 33 101");
    back.line("echo two-$((2+2))");
    back.expect("two-4");
    let mut watcher = Typed::start(&lab, &["attach", &id]);
    watcher.expect("you watch");
    watcher.expect("two-4");
    watcher.line("echo never-$((9+9))");
    back.line("echo three-$((3+3))");
    for one in [&mut back, &mut watcher] {
        one.expect("three-6");
    }
    let mut third = Typed::start(&lab, &["attach", "--take", &id]);
    third.expect("three-6");
    third.line("echo four-$((4+4))");
    for one in [&mut back, &mut watcher, &mut third] {
        one.expect("four-8");
        assert!(!one.all().contains("never-18"), "who watches does not type");
    }
    third.line("exit 7");
    assert_eq!([back.ends(), watcher.ends(), third.ends()], [7, 7, 7]);
    assert!(back.all().contains("somebody else types now"), "{}", back.all());
    idle(&lab, &id);
    let refused = lab.run(&["session", "show", &id, "--json"]).succeeds().events();
    assert!(refused[0].get("terminal").is_none());
}

#[test]
fn neither_the_end_of_the_client_nor_of_the_daemon_ends_the_program() {
    let lab = Lab::new();
    let mut typed = Typed::start(&lab, &["shell", "--keep"]);
    typed.expect("$ ");
    typed.line("echo here-$((3+4))");
    typed.expect("here-7");
    typed.kill();
    typed.ends();
    let id = id(&lab);
    let mut again = Typed::start(&lab, &["attach", &id]);
    again.expect("here-7");
    let daemon =
        lab.run(&["status", "--json"]).succeeds().events()[0]["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()).expect("a pid");
    kill_process(Pid::from_raw(daemon).expect("a process"), Signal::KILL).expect("kill");
    again.expect("the daemon went away");
    assert_eq!(again.ends(), 3);
    // The next daemon takes it up; what was shown lately is shown again.
    let mut back = Typed::start(&lab, &["attach", &id]);
    back.expect("here-7");
    back.line("echo still-$((4+4))");
    back.expect("still-8");
    back.line("exit");
    assert_eq!(back.ends(), 0);
    idle(&lab, &id);
    let events = lab.run(&["session", "events", &id, "--json"]).succeeds().events();
    assert_eq!(of_type(&events, "result")[0]["status"], "completed", "{events:?}");
}

#[test]
fn a_terminal_is_left_as_it_was_found() {
    let lab = Lab::new();
    // Whatever a program set is set back, and what it asked was answered inside.
    let dir = lab.path("scripts");
    std::fs::create_dir(&dir).expect("make");
    let script = "printf '\\033[?1049h\\033[?1003h\\033[?2004h\\033]0;own\\007\\033[6n\\033P$qm\\033\\\\'\nread -t 300 -d R -s answer\necho got-${#answer}\n";
    std::fs::write(dir.join("run.sh"), script).expect("write");
    let mut typed =
        Typed::start(&lab, &["shell", "--mount", &format!("{}:/mnt/scripts", dir.display()), "--", "bash", "/mnt/scripts/run.sh"]);
    typed.expect("got-");
    assert_eq!(typed.ends(), 0);
    let all = typed.all();
    assert!(!all.contains("got-0"), "the position was told: {all}");
    for dropped in ["\x1b]0", "\x1b[6n", "\x1bP"] {
        assert!(!all.contains(dropped), "{dropped:?} in {all}");
    }
    let set = all.rfind("\x1b[?1049h").expect("the other page is a program's to use");
    for reset in ["\x1b[?1049l", "\x1b[?1003l", "\x1b[?2004l", "\x1b[?25h"] {
        assert!(all.rfind(reset) > Some(set), "{reset:?}");
    }
    // By a signal as well.
    let mut typed = Typed::start(&lab, &["shell"]);
    typed.expect("$ ");
    typed.signal(Signal::TERM);
    typed.expect("it goes on in ses_");
    typed.ends();
    let all = typed.all();
    assert!(all.contains("\x1b[?1049l"), "{all}");
    let refused = lab.run(&["run", "-it", "hello"]).ends_with(2);
    assert!(refused.err.contains("needs a terminal"), "{}", refused.err);
}

#[test]
fn a_shell_beside_an_agent_sees_its_clone() {
    let lab = Lab::new();
    let project = Project::new(&lab, "project");
    spawn(&lab, &project, "feat/look", "Say hello", &[]).succeeds();
    let mut typed = Typed::start(&lab, &["shell", "--agent", "feat/look"]);
    typed.expect("$ ");
    typed.line(
        "git rev-parse --abbrev-ref HEAD; git -c user.name=x -c user.email=x@y commit -q --allow-empty -m by-hand && echo made-$((1+1))",
    );
    typed.expect("feat/look");
    typed.expect("made-2");
    typed.line("exit");
    assert_eq!(typed.ends(), 0);
    assert_eq!(project.git(&["log", "-1", "--format=%s", "feat/look"]), "by-hand", "it comes home like any work");
}
