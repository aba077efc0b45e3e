//! What is the owner's own — the vault, secrets, accounts of plugins — is not there for other tenants' sessions of the same agent, until
//! the owner lends it to them.

use serde_json::{Value, json};
use testkit::model_server::{ModelServer, Rule, Say, Script};

use crate::support::Lab;
use crate::web::Web;

const LOOK: &str = "cat ~/Vault/note 2>/dev/null; echo \"held:$DEPLOY_TOKEN bound:${HOST_TOKEN:+yes}\"; ipc tool.invoke.own '{}' 2>&1; ipc tool.invoke.free '{}' 2>&1";

/// A daemon whose agent `andy` has a vault, a bound and an exposed secret, and a plugin with an account beside one without.
fn lab() -> (Lab, ModelServer, Web) {
    let lab = Lab::new();
    let rule = Rule { contains: "look".to_owned(), say: vec![Say::Shell(LOOK.to_owned()), Say::Text("done".to_owned())] };
    let server = lab.model(Script { rules: vec![rule], ..Script::default() });
    std::fs::create_dir(lab.path("notes")).expect("make");
    std::fs::write(lab.path("notes/note"), "the owner's note\n").expect("write");
    let vault = lab.path("notes").display().to_string();
    for (key, value) in [
        ("providers.anthropic.base_url", server.url().as_str()),
        ("providers.anthropic.keyless", "true"),
        ("vault", &vault),
        ("egress.max", "[\"host.example\"]"),
    ] {
        lab.run(&["config", "set", key, value]).succeeds();
    }
    let own = "tools = \"all\"\nlow = [\"own\"]\n[[credentials]]\nkey = \"token\"\n";
    lab.plugin("account", own, "def tool_own(a, m): return text('the account answers')");
    lab.plugin("open", "tools = \"all\"\nlow = [\"free\"]\n", "def tool_free(a, m): return text('the open one answers')");
    let web = Web::start(&lab);
    lab.run_with(&["secret", "set", "plugin.account.token", "-"], b"0123456789").succeeds();
    lab.run_with(&["secret", "set", "HOST_TOKEN", "-"], b"bound-c4n4ry-0123").succeeds();
    lab.run(&["secret", "bind", "HOST_TOKEN", "--host", "host.example"]).succeeds();
    lab.run(&["agent", "add", "andy", "--secret", "HOST_TOKEN", "--allow", "host.example"]).succeeds();
    lab.run_with(&["secret", "set", "DEPLOY_TOKEN", "-", "--expose", "andy"], b"held-c4n4ry-0123").succeeds();
    lab.reload_plugins();
    (lab, server, web)
}

/// What the agent sees in a new session of whoever has this token.
#[track_caller]
fn seen(lab: &Lab, web: &Web, token: &str) -> String {
    let made = web.ask(token, "POST", "/v1/sessions", json!({ "agent": "andy", "engine": "mini" })).is(201);
    let session = made["id"].as_str().expect("an identity").to_owned();
    let turn = lab.send(&session, "look");
    let result = lab.result_of(&session, &turn);
    assert_eq!(result["status"], "completed", "{result}");
    let outputs = lab.log(&session).into_iter().filter(|e| e["turn"] == turn.as_str() && e["type"] == "tool_result");
    outputs.filter_map(|e| e["output"].as_str().map(str::to_owned)).collect()
}

#[track_caller]
fn is_whole(seen: &str) {
    for there in ["the owner's note", "held:", "bound:yes", "the account answers", "the open one answers"] {
        assert!(seen.contains(there), "{there} is missing: {seen}");
    }
    assert!(!seen.contains("held: "), "{seen}");
}

#[test]
fn what_is_the_owners_is_used_for_no_other_tenant_until_it_is_lent() {
    let (lab, _server, web) = lab();
    let (own, _) = web.token("write", None);
    let (crew, _) = web.token("write", Some("crew"));
    let (other, _) = web.token("write", Some("other"));
    is_whole(&seen(&lab, &web, &own));

    let without = seen(&lab, &web, &crew);
    assert!(without.contains("held: bound:\n") && without.contains("the open one answers"), "{without}");
    assert!(!without.contains("the owner's note") && !without.contains("the account answers"), "{without}");
    assert!(without.contains("uses the owner's accounts, which andy has not for the tenant crew"), "{without}");
    // A tenant cannot give it to itself.
    web.ask(&crew, "PUT", "/v1/agents/andy", json!({ "name": "andy", "tenants": ["crew"] })).is(403);
    let asked = json!({ "agent": "andy", "secrets": ["HOST_TOKEN"] });
    web.ask(&crew, "POST", "/v1/sessions", asked).refused(403, "FORBIDDEN");

    lab.run(&["agent", "set", "andy", "--lend-to", "crew"]).succeeds();
    let shown = lab.run(&["agent", "show", "andy"]).succeeds().out;
    assert!(shown.contains("lent to      crew"), "{shown}");
    is_whole(&seen(&lab, &web, &crew));
    assert!(!seen(&lab, &web, &other).contains("the account answers"));

    lab.run(&["agent", "set", "andy", "--lend-to", ""]).succeeds();
    assert_eq!(lab.ask("GET", "/v1/agents/andy", Value::Null).is(200)["tenants"], Value::Null);
    assert!(!seen(&lab, &web, &crew).contains("the owner's note"));
}
