//! The page in a real browser: `tests/ui` drives it, against a daemon that a scripted model makes interesting.

use std::process::{Command, Stdio};

use testkit::model_server::{ModelServer, Rule, Say, Script};
use testkit::platforms::Party as _;
use testkit::platforms::courier::{Courier, SECRET};

use crate::branches::{Project, commits, spawn, told};
use crate::marks;
use crate::oidc::{DOMAIN, Issuer, house};
use crate::support::{KEY, Lab, PATIENCE, Ran, comes, project};
use crate::web::Web;

/// Texts that may become no more than text; what looks for them reads the same file.
const CORPUS: &str = include_str!("../ui/corpus.json");
/// Colours of a terminal, and a name that is written from right to left.
const HIDDEN: &str = "\u{1b}[31mred in\u{202e}txt.exe";

fn rule(contains: &str, say: Vec<Say>) -> Rule {
    Rule { contains: contains.to_owned(), say }
}

fn shell(command: &str) -> Say {
    Say::Shell(command.to_owned())
}

fn text(text: impl Into<String>) -> Say {
    Say::Text(text.into())
}

fn rules() -> Vec<Rule> {
    let slowly: String = ["one two three", &" and on".repeat(400), " the end"].concat();
    let hostile =
        r#"printf '%s' '<script>alert(2)</script>' > '<img src=x onerror=alert(1)>.txt'; printf '<img src=x onerror=alert(3)>\n'"#;
    let words: Vec<String> = serde_json::from_str(CORPUS).expect("a list of texts");
    let hostile_text = format!("{}\n{HIDDEN}", words.join("\n"));
    let mark = |word: &str| vec![shell(&marks::command(word)), text("it is over")];
    vec![
        rule("count slowly", vec![text(slowly)]),
        rule("note the tide", vec![shell("echo ebb at noon > tide.txt"), text("the tide is noted")]),
        rule("hold on", vec![shell("sleep 600"), text("held")]),
        rule("mark one", mark("one")),
        rule("mark two", mark("two")),
        rule("mark by hand", mark("by hand")),
        rule("mark hostile", mark("<img src=x onerror=alert(1)>")),
        rule("hostile", vec![shell(hostile), text(hostile_text)]),
    ]
}

/// A home with a plugin that asks first, and a model that says what its rules say, piece by piece.
fn lab() -> (Lab, ModelServer) {
    let lab = Lab::new();
    marks::install(&lab);
    let pause = std::time::Duration::from_millis(5);
    let server = lab.model(Script { key: Some(KEY.to_owned()), rules: rules(), pause, ..Script::default() });
    lab.connect("anthropic", &server);
    // The daemon that took the key in may be looking at the plugin just now, and would not make room for another one.
    lab.run(&["stop", "--grace", "0s"]).succeeds();
    (lab, server)
}

/// Runs one part of `tests/ui`.
#[track_caller]
fn part(name: &str) {
    let (lab, _server) = lab();
    let web = Web::start(&lab);
    play(name, &lab, &web, &[]);
}

/// Runs one part of `tests/ui` against this daemon.
#[track_caller]
fn play(name: &str, lab: &Lab, web: &Web, more: &[(&str, String)]) {
    let modules = project("target/test-servers/node");
    let browser = "/usr/bin/chromium";
    for (path, what) in [(modules.join("node_modules/playwright-core"), "playwright-core"), (browser.into(), "Chromium")] {
        assert!(path.exists(), "{what} is not here: run `cargo xtask test e2e`, which installs it");
    }
    let mut command = Command::new("node");
    command
        .arg(project("tests/ui/run.mjs"))
        .arg(name)
        .env("LAZARET_UI_BASE", format!("http://{}", web.address))
        .env("LAZARET_UI_TOKEN", &web.owner)
        .env("LAZARET_UI_NODE", &modules)
        .env("LAZARET_UI_CHROMIUM", browser)
        .envs(more.iter().map(|(key, value)| (*key, value.as_str())))
        .env("HOME", lab.path(""))
        .stdin(Stdio::null());
    let output = command.output().expect("run node");
    let ran = Ran::read(output, std::time::Duration::ZERO);
    assert_eq!(ran.status, 0, "{}\n{}", ran.out, ran.err);
    assert!(ran.out.contains("ok "), "nothing was tested: {}", ran.out);
}

#[test]
fn a_link_lets_in_once_and_logging_out_lets_nobody_in() {
    part("login");
}

#[test]
fn people_come_by_their_issuer_as_what_its_rules_say() {
    let (lab, issuer) = (Lab::new(), Issuer::start());
    let web = house(&lab, &issuer, DOMAIN);
    play("issuer", &lab, &web, &[("LAZARET_UI_ISSUER", issuer.url())]);
}

#[test]
fn every_view_is_shown_in_both_themes_and_on_a_phone() {
    part("views");
}

#[test]
fn people_do_their_work_on_the_page() {
    part("work");
}

#[test]
fn jobs_are_asked_for_followed_and_cancelled_on_the_page() {
    part("jobs");
}

#[test]
fn no_text_of_an_agent_becomes_more_than_text() {
    part("hostile");
}

#[test]
fn the_page_needs_no_mouse() {
    part("keys");
}

#[test]
fn people_talk_with_agents_and_look_after_chats_on_the_page() {
    part("talk");
}

#[test]
fn somebody_new_takes_the_first_steps_on_the_page() {
    let (lab, courier) = (Lab::new(), Courier::start());
    let server =
        lab.model(Script { key: Some(KEY.to_owned()), rules: vec![rule("good day", vec![text("well met")])], ..Script::default() });
    let here = "[\"127.0.0.1\"]";
    for (key, value) in [("providers.anthropic.base_url", server.url().as_str()), ("engine", "mini"), ("egress.private_ok", here)] {
        lab.run(&["config", "set", key, value]).succeeds();
    }
    let web = Web::start(&lab);
    let answers = format!("{}/answers", courier.web.url());
    let more = [("LAZARET_UI_KEY", KEY.to_owned()), ("LAZARET_UI_PLATFORM", answers), ("LAZARET_UI_SECRET", SECRET.to_owned())];
    play("setup", &lab, &web, &more);
    assert!(comes(|| courier.standing().iter().any(|stands| stands.text.contains("well met"))), "{:#?}", courier.standing());
}

#[test]
fn somebody_without_a_key_takes_the_first_steps_on_the_page() {
    let lab = Lab::new();
    let server = lab.model(Script { rules: vec![rule("good day", vec![text("well met")])], ..Script::default() });
    lab.run(&["config", "set", "engine", "mini"]).succeeds();
    let web = Web::start(&lab);
    play("near", &lab, &web, &[("LAZARET_UI_MODEL", format!("{}/v1", server.url()))]);
    assert!(server.requests().iter().any(|request| request.target.ends_with("/chat/completions") && request.credential().is_none()));
}

#[test]
fn agents_on_branches_are_compared_judged_and_merged_on_the_page() {
    let lab = Lab::new();
    marks::install(&lab);
    let web = Web::start(&lab);
    let (app, lib) = (Project::new(&lab, "app"), Project::new(&lab, "lib"));
    let readme = |text: &str| {
        told(&format!(
            "printf 'one\\n{text}\\nthree\\n' > README.md; printf 'a\\342\\200\\256b' > sly.txt; git add -A; git commit -q -m one"
        ))
    };
    spawn(&lab, &app, "feat/one", &readme("two of one"), &["--check", "test -f sly.txt"]).succeeds();
    spawn(&lab, &app, "feat/two", &readme("two of two"), &[]).succeeds();
    spawn(&lab, &app, "moves", &commits("moves.txt", "1", "one"), &[]).succeeds();
    let both = told(
        "echo for app > of-app.txt; git add -A; git commit -q -m app; cd /home/sandbox/repos/lib; echo for lib > of-lib.txt; git add -A; \
         git commit -q -m lib",
    );
    spawn(&lab, &app, "both", &both, &["--repo", lib.repo(), "--check", "true"]).succeeds();
    let asks = told(&marks::command("one"));
    let wonders = "do it\ncall ask_user {\"question\":\"Which colour?\",\"options\":[\"red\",\"blue\"]}".to_owned();
    for (branch, task) in [("asks", asks), ("wonders", wonders)] {
        lab.run(&["spawn", "--repo", app.repo(), "--branch", branch, "--task", &task]).succeeds();
    }
    let further = commits("moves.txt", "2", "two");
    play("branches", &lab, &web, &[("LAZARET_UI_FURTHER", further)]);
    assert_eq!(marks::made(&lab), ["one"]);
    assert_eq!(app.git(&["show", "main:of-app.txt", "main:moves.txt"]), "for app\n2");
    assert_eq!(lib.git(&["show", "main:of-lib.txt"]), "for lib");
}

#[test]
fn a_server_of_an_agent_is_seen_in_the_browser_that_opened_it_and_by_no_other_page() {
    let lab = Lab::new();
    let web = Web::start(&lab);
    let project = Project::new(&lab, "project");
    project.write("server.js", include_str!("../ui/server.js"));
    project.git(&["add", "."]);
    project.git(&["commit", "-q", "-m", "server"]);
    let branches = ["feat/one", "feat/two"];
    for branch in branches {
        let task = told(&format!("node server.js {branch}"));
        lab.run(&["spawn", "--repo", project.repo(), "--branch", branch, "--task", &task]).succeeds();
    }
    let open = |branch: &str| {
        let began = std::time::Instant::now();
        loop {
            let ran = lab.run(&["agents", "open", "--repo", project.repo(), branch, "3000", "--print"]);
            if ran.status == 0 {
                return ran.out.trim().to_owned();
            }
            assert!(began.elapsed() < PATIENCE, "{branch}: {}", ran.err);
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
    };
    let links = branches.map(open).join(" ");
    play("open", &lab, &web, &[("LAZARET_UI_LINKS", links)]);
    for branch in branches {
        lab.run(&["agents", "stop", "--repo", project.repo(), branch]).succeeds();
    }
}
