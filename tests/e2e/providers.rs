//! Who is asked for models, as the owner handles them: added with a key that is never shown, tried with one small call, named by agents,
//! and removed.

use serde_json::{Value, json};
use testkit::model_server::{Fault, Rule, Say, Script};

use crate::support::{Deaf, KEY, Lab};
use crate::web::Web;

const MODEL: &str = "claude-haiku-4-5";

#[test]
fn a_provider_is_added_tried_named_and_removed_and_its_key_is_never_shown() {
    let lab = Lab::new();
    let server = lab.model(Script { key: Some(KEY.to_owned()), replies: vec![Say::Text("ready".to_owned()); 9], ..Script::default() });
    lab.run(&["config", "set", "engine", "mini"]).succeeds();
    let web = Web::start(&lab);
    let url = server.url();
    let mut printed = String::new();
    let mut run = |args: &[&str], input: &str| {
        let ran = lab.run_with(args, input.as_bytes());
        printed.push_str(&ran.out);
        printed.push_str(&ran.err);
        ran
    };
    // What is not said, and what would be seen by others.
    run(&["provider", "add", "night", "--key", "-"], KEY).fails("USAGE", 2);
    run(&["provider", "add", "night", "--base-url", &url, "--key", "sk-in-the-open"], "").fails("USAGE", 2);
    run(&["provider", "add", "night", "--base-url", &url], "").fails("KEY_MISSING", 3);
    let add = ["provider", "add", "night", "--kind", "anthropic", "--base-url", &url, "--key", "-", "--model", MODEL];
    let said = run(&add, KEY).succeeds().out;
    assert!(said.contains("night/claude-haiku-4-5 answered") && said.contains('$') && said.contains("tokens in"), "{said}");
    let all = run(&["provider", "list", "--json"], "").succeeds().events();
    let night = all.iter().find(|one| one["name"] == "night").expect("it is listed");
    assert_eq!((&night["kind"], &night["key"], &night["usable"]), (&Value::from("anthropic"), &Value::from("stored"), &Value::from(true)));
    assert!(all.iter().any(|one| one["name"] == "openai" && one["key"] == "missing" && one["built_in"] == true), "{all:#?}");
    // The order in which an agent asks.
    run(&["provider", "add", "day", "--kind", "anthropic", "--base-url", &url, "--key", "-", "--no-test"], KEY).succeeds();
    run(&["agent", "add", "andy", "--model", "day/claude-sonnet-4-5", "--fallback", "night/claude-haiku-4-5"], "").succeeds();
    let shown = run(&["provider", "list"], "").succeeds().out;
    assert!(shown.contains("stands in, number 1: claude-haiku-4-5") && shown.contains("asked first: claude-sonnet-4-5"), "{shown}");
    assert!(run(&["provider", "remove", "night"], "").fails("CONFLICT", 1).err.contains("andy"));
    // What does not answer is said, with its code, and costs nothing.
    server.fail(Fault::Status(401));
    let failed = run(&["provider", "test", "night", "--json", "--model", MODEL], "").ends_with(1).events();
    assert_eq!((&failed[0]["status"], &failed[0]["code"]), (&Value::from("failed"), &Value::from("CREDENTIAL_EXPIRED")), "{failed:#?}");
    run(&["provider", "remove", "night", "--force"], "").succeeds();
    run(&["provider", "test", "night"], "").fails("NOT_FOUND", 2);
    let secrets = run(&["secret", "list"], "").succeeds().out;
    assert!(secrets.contains("day") && !secrets.contains("night"), "{secrets}");
    let config = std::fs::read_to_string(lab.home().join("config.toml")).expect("a configuration");
    assert!(config.contains("providers.day") && !config.contains("night"), "{config}");
    // A server that needs no key can be named over HTTP: with its models, and only where nothing with a key would be led elsewhere.
    let url = format!("{}/v1", server.url());
    let put = |token: &str, name: &str, url: &str| web.ask(token, "PUT", &format!("/v1/providers/{name}"), json!({ "base_url": url }));
    for (name, url, status) in [
        ("anthropic", url.as_str(), 409),
        ("day", &url, 409),
        ("near", "http://user@127.0.0.1/v1", 422),
        ("near", "file:///etc/passwd", 422),
        ("near.base_url", &url, 422),
        ("rehearsal", &url, 422),
        ("near", "http://127.0.0.1:1/v1", 500),
    ] {
        let answer = put(&web.owner, name, url);
        assert_eq!(answer.status, status, "{name} at {url}: {}", String::from_utf8_lossy(&answer.body));
    }
    assert_eq!(std::fs::read_to_string(lab.home().join("config.toml")).expect("a configuration"), config, "nothing of it was kept");
    let near = lab.model(Script::default());
    let made = put(&web.owner, "near", &format!("{}/v1", near.url())).is(200);
    assert!(made["models"].as_array().is_some_and(|models| !models.is_empty()), "{made}");
    assert!(near.requests()[0].credential().is_none());
    let (writer, _) = web.token("write", None);
    assert_eq!(put(&writer, "near", &url).status, 403);
    assert!(run(&["provider", "list"], "").succeeds().out.contains("near"));
    assert!(!printed.contains(KEY) && !config.contains(KEY), "a key was shown: {printed}");
    // The rooms of others have no window here.
    let (token, _) = web.token("manage", Some("default"));
    assert_eq!(web.ask(&token, "GET", "/v1/providers", Value::Null).status, 403);
    let (reader, _) = web.token("read", None);
    assert!(!String::from_utf8_lossy(&web.ask(&reader, "GET", "/v1/providers", Value::Null).body).contains(KEY));
}

/// Each family is asked in its own words with its own key, once for all who want to know, and what it answers is held to its bounds.
#[test]
fn a_provider_lists_its_models_in_every_family_and_its_key_goes_nowhere_else() {
    let lab = Lab::new();
    let server = lab.model(Script { key: Some(KEY.to_owned()), ..Script::default() });
    lab.run(&["config", "set", "engine", "mini"]).succeeds();
    let web = Web::start(&lab);
    // A server of this machine speaks as OpenAI does, and takes no key.
    for (name, kind) in [("one", "anthropic"), ("two", "openai"), ("three", "gemini")] {
        let url = if kind == "openai" { format!("{}/v1", server.url()) } else { server.url() };
        lab.run_with(&["provider", "add", name, "--kind", kind, "--base-url", &url, "--key", "-", "--no-test"], KEY.as_bytes()).succeeds();
        let from = server.requests().len();
        let listed = lab.run(&["provider", "models", name]).succeeds().out;
        assert_eq!(listed.trim(), format!("{name}/rehearsal"), "{kind}");
        let asked = server.requests();
        let target = if kind == "gemini" { "/v1beta/models" } else { "/v1/models" };
        assert!(asked.len() == from + 1 && asked[from].target.starts_with(target), "{kind}: {:?}", asked[from].target);
        assert_eq!((asked[from].method.as_str(), asked[from].credential().as_deref()), ("GET", Some(KEY)), "{kind}");
        assert!(!asked[from].target.contains(KEY), "never in an address");
        // It is not asked again so soon, unless somebody wants it to be.
        let shown = lab.run(&["--json", "provider", "show", name]).succeeds().events();
        assert_eq!((&shown[0]["models"][0]["id"], &shown[0]["provider"]["kind"]), (&json!("rehearsal"), &json!(kind)), "{shown:#?}");
        assert_eq!(server.requests().len(), from + 1, "{kind}");
        lab.run(&["provider", "models", name, "--fresh"]).succeeds();
        assert_eq!(server.requests().len(), from + 2, "{kind}");
    }
    let ollama = lab.model(Script::default());
    let url = format!("{}/v1", ollama.url());
    lab.run(&["provider", "add", "local", "--kind", "ollama", "--base-url", &url, "--no-test"]).succeeds();
    assert_eq!(lab.run(&["provider", "models", "local"]).succeeds().out.trim(), "local/rehearsal");
    assert_eq!(ollama.requests()[0].credential(), None, "no key is sent where none belongs");
    // Another key, another question; one that is refused is said, and so is a provider without any.
    lab.run_with(&["secret", "set", "one", "-"], b"sk-ant-api03-this-is-not-the-key-it-wants").succeeds();
    lab.run(&["provider", "models", "one"]).fails("CREDENTIAL_EXPIRED", 1);
    let shown = lab.run(&["provider", "show", "one"]).succeeds().out;
    assert!(shown.contains("its models are not known"), "{shown}");
    lab.run(&["secret", "remove", "one"]).succeeds();
    lab.run(&["provider", "models", "one"]).fails("KEY_MISSING", 3);
    lab.run(&["provider", "models", "nobody"]).fails("NOT_FOUND", 2);
    let deaf = Deaf::new();
    lab.run(&["provider", "add", "far", "--base-url", &deaf.url(), "--keyless", "--no-test"]).succeeds();
    let refused = lab.run(&["provider", "models", "far"]);
    assert!(refused.status != 0 && refused.err.contains("[PROVIDER_DOWN]"), "{}", refused.err);
    // The rooms of others have no window here.
    let (token, _) = web.token("manage", Some("default"));
    assert_eq!(web.ask(&token, "GET", "/v1/providers/two/models", Value::Null).status, 403);
    let (reader, _) = web.token("read", None);
    let seen = web.ask(&reader, "GET", "/v1/providers/two/models", Value::Null);
    assert!(seen.status == 200 && !String::from_utf8_lossy(&seen.body).contains(KEY), "{}", seen.status);
}

/// The order of an agent holds through an engine: the next one answers where the first does not, and where a budget does not cover the first.
#[test]
fn the_next_provider_answers_on_an_outage_and_where_a_budget_does_not_reach() {
    let lab = Lab::new();
    let says = |text: &str| vec![Rule { contains: String::new(), say: vec![Say::Text(text.to_owned())] }];
    let day = lab.model(Script { key: Some(KEY.to_owned()), rules: says("by day"), ..Script::default() });
    let night = lab.model(Script { rules: says("by night"), ..Script::default() });
    lab.run(&["config", "set", "engine", "mini"]).succeeds();
    let add = |args: &[&str], key: &str| {
        lab.run_with(&[&["provider", "add"], args, &["--kind", "anthropic", "--no-test"]].concat(), key.as_bytes()).succeeds();
    };
    add(&["day", "--base-url", &day.url(), "--key", "-"], KEY);
    add(&["night", "--base-url", &night.url(), "--keyless"], "");
    let prices = lab.path("prices.toml");
    std::fs::write(&prices, "[[price]]\nmodel = [\"night-1\"]\ninput = \"0\"\noutput = \"0\"\n").expect("write");
    lab.run(&["budget", "prices", prices.to_str().expect("utf-8")]).succeeds();
    lab.run(&["agent", "add", "andy", "--model", "day/claude-sonnet-4-5", "--fallback", "night/night-1"]).succeeds();
    lab.run(&["agent", "add", "alone", "--model", "day/claude-sonnet-4-5"]).succeeds();
    let run = |agent: &str, more: &[&str]| lab.run(&[&["run", "--json", "--agent", agent], more, &["hello"]].concat());
    let asked = || {
        let posts = |server: &testkit::model_server::ModelServer| server.requests().iter().filter(|r| r.method == "POST").count();
        (posts(&day), posts(&night))
    };
    // The controls: the first is asked as long as it answers and is paid for; an agent that names nobody else has nobody else.
    assert!(run("andy", &[]).succeeds().out.contains("by day"));
    assert_eq!(asked(), (1, 0));
    let poor = ["--budget-usd", "0.000001"];
    assert_eq!(run("alone", &poor).ends_with(1).result()["code"], "BUDGET_EXCEEDED");
    day.fail_next(1, Fault::Status(503));
    assert!(run("andy", &[]).succeeds().out.contains("by night"));
    assert_eq!(night.requests().last().map(|request| request.json()["model"].clone()), Some(json!("night-1")));
    let before = asked();
    assert!(run("andy", &poor).succeeds().out.contains("by night"));
    assert_eq!(asked(), (before.0, before.1 + 1), "what cannot be paid is not asked");
    let rows = lab.run(&["usage", "--json", "--by", "provider"]).succeeds().events();
    let names: Vec<&Value> = rows.iter().map(|row| &row["key"]).collect();
    assert!(names.contains(&&json!("day")) && names.contains(&&json!("night")), "{rows:#?}");
    // A model of this machine, which takes no key and is asked in the words of another family.
    let url = format!("{}/v1", night.url());
    lab.run(&["provider", "add", "local", "--kind", "ollama", "--base-url", &url, "--no-test"]).succeeds();
    lab.run(&["agent", "add", "homely", "--model", "local/rehearsal"]).succeeds();
    assert!(run("homely", &[]).succeeds().out.contains("by night"));
    let last = night.requests().pop().expect("a request");
    assert_eq!((last.target.as_str(), last.credential()), ("/v1/chat/completions", None));
}
