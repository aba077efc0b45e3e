//! The first steps by flags: what a script does, and a person who comes back later.

use serde_json::{Value, json};
use testkit::model_server::{ModelServer, Rule, Say, Script};
use testkit::platforms::{Party as _, Telegram};

use crate::support::{KEY, Lab, comes};
use crate::typed::Typed;

/// A model that takes one key and says that it is ready.
fn model(lab: &Lab) -> ModelServer {
    let rules = vec![Rule { contains: String::new(), say: vec![Say::Text("ready".to_owned())] }];
    let server = lab.model(Script { key: Some(KEY.to_owned()), rules, ..Script::default() });
    lab.run(&["config", "set", "providers.anthropic.base_url", &server.url()]).succeeds();
    server
}

fn step(view: &Value, name: &str) -> String {
    let steps = view["steps"].as_array().expect("steps");
    steps.iter().find(|step| step["step"] == name).expect("the step")["state"].as_str().expect("a state").to_owned()
}

#[track_caller]
fn setup(lab: &Lab, args: &[&str], input: &str) -> Value {
    let args: Vec<&str> = ["--json", "setup", "--yes"].into_iter().chain(args.iter().copied()).collect();
    lab.run_with(&args, input.as_bytes()).succeeds().events().pop().expect("a view")
}

#[test]
fn a_script_does_the_first_steps_and_each_is_done_once() {
    let lab = Lab::new();
    let empty = setup(&lab, &[], "");
    assert_eq!((step(&empty, "model"), empty["next"].clone(), empty["ready"].clone()), ("todo".to_owned(), json!("model"), json!(false)));

    let server = model(&lab);
    let view = setup(
        &lab,
        &["--provider", "anthropic", "--key", "-", "--agent", "andy", "--instructions", "Be brief.", "--skip", "channel,pair"],
        KEY,
    );
    for (name, state) in [("model", "done"), ("agent", "done"), ("channel", "skipped"), ("pair", "skipped"), ("hello", "done")] {
        assert_eq!(step(&view, name), state, "{name}: {view:#}");
    }
    assert_eq!(view["ready"], true);
    let calls = server.requests().len();
    assert!(calls >= 2, "the key was tried, and hello was said");
    // Again: nothing is asked of anybody.
    let again = setup(&lab, &[], "");
    assert_eq!((again["ready"].clone(), server.requests().len()), (json!(true), calls));
    // Begun anew, what is there is still there.
    let anew = setup(&lab, &["--restart"], "");
    assert_eq!((step(&anew, "agent"), step(&anew, "channel")), ("done".to_owned(), "todo".to_owned()));
    let agent = lab.run(&["--json", "agent", "show", "andy"]).succeeds().events()[0].clone();
    assert_eq!(agent["instructions"], "Be brief.");
}

/// The account is connected and tried, the code for its chat is shown, and who sends it there is answered.
#[test]
fn a_network_is_connected_and_its_chat_paired_by_flags() {
    let (lab, telegram) = (Lab::new(), Telegram::start());
    let _server = model(&lab);
    lab.run(&["config", "set", "engine", "mini"]).succeeds();
    lab.run(&["config", "set", "egress.private_ok", "[\"127.0.0.1\"]"]).succeeds();
    setup(&lab, &["--provider", "anthropic", "--key", "-", "--agent", "andy"], KEY);
    let base = format!("base_url={}", telegram.web.url());
    let network = ["--network", "telegram", "--config", &base, "--config", "poll_s=5", "--credential", "token=-"];
    let args = [&["--json", "setup", "--yes"], &network[..]].concat();
    let said = lab.run_with(&args, Telegram::TOKEN.as_bytes()).succeeds().events();
    let (made, view) = (&said[0], said.last().expect("a view"));
    assert_eq!((&made["agent"], step(view, "channel"), step(view, "pair")), (&json!("andy"), "done".to_owned(), "todo".to_owned()));
    assert!(view.to_string().contains("telegram: well"), "{view:#}");
    telegram.writes(made["code"].as_str().expect("a code"));
    assert!(comes(|| setup(&lab, &[], "")["ready"] == true), "{:#}", setup(&lab, &[], ""));
    telegram.writes("good morning");
    assert!(comes(|| telegram.standing().iter().any(|stands| stands.text == "ready")), "{:#?}", telegram.standing());
}

#[test]
fn a_key_that_does_not_work_is_told_and_no_credential_is_taken_from_the_command_line() {
    let lab = Lab::new();
    let _server = model(&lab);
    let wrong = lab.run_with(&["setup", "--yes", "--provider", "anthropic", "--key", "-"], b"sk-ant-not-the-key");
    assert_ne!(wrong.status, 0, "{}", wrong.err);
    assert!(!wrong.err.contains("sk-ant-not-the-key") && !wrong.out.contains("sk-ant-not-the-key"));
    lab.run(&["setup", "--yes", "--provider", "anthropic", "--key", "sk-ant-on-the-line"]).ends_with(2);
    lab.run(&["setup", "--yes", "--network", "telegram", "--credential", "token=123:abc"]).ends_with(2);
    lab.run(&["setup", "--yes", "--network", "carrier-pigeon"]).ends_with(2);
}

#[test]
fn what_should_be_done_something_about_is_told_with_what_does_it() {
    let lab = Lab::new();
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    let quiet = lab.run(&["status"]).succeeds().out;
    assert!(!quiet.contains("ALERT"), "{quiet}");
    lab.run(&["task", "add", "plan", "--cron", "0 8 * * 1", "--message", "Plan the week"]).succeeds();
    lab.run(&["task", "pause", "plan"]).succeeds();
    let told = lab.run(&["status"]).succeeds().out;
    assert!(told.contains("ALERT: the task plan is paused") && told.contains("lazaret task resume 'plan'"), "{told}");
    let doctor = lab.run(&["--json", "doctor"]).events();
    let line = doctor.iter().find(|check| check["label"] == "task").expect("a check");
    assert_eq!((&line["status"], &line["fix"]), (&json!("warn"), &json!("lazaret task resume 'plan'")));
}

/// A model of this machine, and a network, each asked for at the terminal: the agent that is made asks that model.
#[test]
fn a_model_of_this_machine_and_a_network_are_set_up_at_a_terminal() {
    let (lab, telegram) = (Lab::new(), Telegram::start());
    let rules = vec![Rule { contains: String::new(), say: vec![Say::Text("ready".to_owned())] }];
    let ollama = lab.model(Script { rules, ..Script::default() });
    lab.run(&["config", "set", "engine", "mini"]).succeeds();
    lab.run(&["config", "set", "egress.private_ok", "[\"127.0.0.1\"]"]).succeeds();
    let which = "which (Enter passes it over): ";
    let base = format!("base_url={}", telegram.web.url());
    let mut setup = Typed::start(&lab, &["setup", "--network", "telegram", "--config", &base, "--config", "poll_s=5"]);
    setup.expect(which);
    setup.line("4");
    setup.expect("its address [http://127.0.0.1:11434/v1]: ");
    setup.line(&format!("{}/v1", ollama.url()));
    setup.expect("it has: ");
    setup.expect("the model's name: ");
    setup.line("small-model");
    setup.expect("local/small-model answered");
    setup.expect("passes it over): ");
    setup.line("andy");
    setup.expect("in a line: ");
    setup.line("");
    setup.expect("@BotFather");
    setup.expect("token");
    setup.expect("it is not shown");
    setup.line(Telegram::TOKEN);
    setup.expect("telegram: well");
    setup.expect("waiting; Ctrl-C leaves it open");
    let all = setup.all();
    let code = all.split("within ten minutes: ").nth(1).and_then(|rest| rest.get(..9)).expect("a code");
    telegram.writes(code);
    setup.expect("paired");
    setup.expect("5 of 5: hello");
    setup.expect("passes it over): ");
    setup.line("hello");
    setup.expect("andy: ready");
    assert!(!setup.all().contains(Telegram::TOKEN), "{}", setup.all());
    telegram.writes("good morning");
    assert!(comes(|| telegram.standing().iter().any(|stands| stands.text == "ready")), "{:#?}", telegram.standing());
    assert!(ollama.requests().iter().all(|request| request.credential().is_none()), "no key is sent where none belongs");
}

/// Somebody new at a terminal, who mistypes: nothing that is wrong ends the steps, and the key is never shown.
#[test]
fn a_newcomer_at_a_terminal_is_led_through_and_asked_again() {
    let lab = Lab::new();
    let _server = model(&lab);
    lab.run(&["config", "set", "engine", "mini"]).succeeds();
    let which = "which (Enter passes it over): ";
    let mut setup = Typed::start(&lab, &["setup"]);
    setup.expect("1 of 5: a model");
    setup.expect(which);
    setup.line("1");
    setup.expect("it is not shown");
    setup.line("");
    setup.expect("empty");
    setup.expect("it is not shown");
    setup.line("sk-ant-not-the-key");
    setup.expect("did not answer");
    setup.expect(which);
    setup.line("1");
    setup.expect("it is not shown");
    setup.line(KEY);
    setup.expect("answered");
    setup.expect("2 of 5: an agent");
    setup.expect("passes it over): ");
    setup.line("Andy the Great");
    setup.expect("small letters");
    setup.expect("passes it over): ");
    setup.line("andy");
    setup.expect("in a line: ");
    setup.line("Be brief.");
    setup.expect("3 of 5: a chat network");
    setup.expect(which);
    setup.line("carrier-pigeon");
    setup.expect("no network is called");
    setup.expect(which);
    setup.line("");
    setup.expect("5 of 5: hello");
    setup.expect("passes it over): ");
    setup.line("hello");
    setup.expect("andy: ready");
    setup.expect("skipped");
    let all = setup.all();
    assert!(!all.contains(KEY) && !all.contains("sk-ant-not-the-key"), "{all}");
}
