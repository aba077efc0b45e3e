//! Host directories that are asked for by name, and the vault.

use serde_json::{Value, json};
use testkit::model_server::{ModelServer, Rule, Say, Script};

use crate::support::Lab;
use crate::web::Web;

const LOOK: &str = "cat books/page Vault/note Parachute/note 2>/dev/null; for d in books desk Vault; do touch $d/x 2>/dev/null && echo wrote $d; done; true";

fn lab(settings: &[(&str, &str)]) -> (Lab, ModelServer) {
    let lab = Lab::new();
    let rule = Rule { contains: "look".to_owned(), say: vec![Say::Shell(LOOK.to_owned()), Say::Text("done".to_owned())] };
    let server = lab.model(Script { rules: vec![rule], ..Script::default() });
    for dir in ["root/books", "root/desk", "root/.ssh", "root/u/.aws/deep", "outside", "notes"] {
        std::fs::create_dir_all(lab.path(dir)).expect("make");
    }
    std::fs::write(lab.path("root/books/page"), "page one\n").expect("write");
    std::fs::write(lab.path("notes/note"), "a note\n").expect("write");
    std::os::unix::fs::symlink(lab.path("outside"), lab.path("root/out")).expect("link");
    lab.run(&["config", "set", "providers.anthropic.base_url", &server.url()]).succeeds();
    lab.run(&["config", "set", "providers.anthropic.keyless", "true"]).succeeds();
    for (key, value) in settings {
        let value = value.replace("LAB", lab.path("").to_str().expect("utf-8").trim_end_matches('/'));
        lab.run(&["config", "set", key, &value]).succeeds();
    }
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    (lab, server)
}

fn mount(lab: &Lab, path: &str, name: &str, read_only: bool) -> Value {
    json!({ "host": lab.path(path), "name": name, "read_only": read_only })
}

#[track_caller]
fn looked(lab: &Lab, session: &str) -> String {
    let turn = lab.send(session, "look");
    let result = lab.result_of(session, &turn);
    assert_eq!(result["status"], "completed", "{result}");
    let outputs = lab.log(session).into_iter().filter(|e| e["turn"] == turn.as_str() && e["type"] == "tool_result");
    outputs.filter_map(|e| e["output"].as_str().map(str::to_owned)).collect()
}

#[test]
fn only_what_lies_below_a_root_is_mounted_and_read_only_holds() {
    let (lab, _server) = lab(&[("mounts.roots", "[{ path = \"LAB/root\", read_write = true }]")]);
    let mounts = json!([mount(&lab, "root/books", "books", true), mount(&lab, "root/desk", "desk", false)]);
    let session = lab.session(json!({ "mounts": mounts }));
    assert_eq!(looked(&lab, &session), "page one\nwrote desk\n");
    assert!(lab.path("root/desk/x").exists() && !lab.path("root/books/x").exists());
    // An env gives its mounts to each of its sessions.
    lab.ask("POST", "/v1/envs", json!({ "name": "lab", "mounts": [mount(&lab, "root/books", "books", true)] })).is(201);
    let joined = lab.session(json!({ "env": "lab" }));
    assert_eq!(looked(&lab, &joined), "page one\n");
    for (path, name, status) in [
        ("outside", "x", 403),
        ("root/out", "x", 403),
        ("root/../outside", "x", 403),
        ("root/.ssh", "x", 403),
        ("root/u/.aws/deep", "x", 403),
        ("home", "x", 403),
        ("root/books", "../x", 422),
        ("root/books", "Vault", 422),
        ("root/books", ".claude", 422),
    ] {
        let form = json!({ "name": "never", "mounts": [mount(&lab, path, name, true)] });
        let answer = lab.ask("POST", "/v1/envs", form);
        assert_eq!(answer.status, status, "{path} as {name}: {}", String::from_utf8_lossy(&answer.body));
        let answer = lab.ask("POST", "/v1/sessions", json!({ "mounts": [mount(&lab, path, name, true)] }));
        assert_eq!(answer.status, status, "{path} as {name}: {}", String::from_utf8_lossy(&answer.body));
    }
    lab.ask("GET", "/v1/envs/never", Value::Null).refused(404, "NOT_FOUND");
}

#[test]
fn without_a_root_nothing_is_mounted_and_a_read_only_root_is_not_written() {
    let (lab, _server) = lab(&[]);
    lab.ask("POST", "/v1/envs", json!({ "name": "x", "mounts": [mount(&lab, "root/books", "b", true)] })).refused(403, "FORBIDDEN");
    lab.run(&["config", "set", "mounts.roots", &format!("[{{ path = {:?} }}]", lab.path("root"))]).succeeds();
    lab.run(&["stop", "--grace", "0s"]).succeeds();
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    lab.ask("POST", "/v1/envs", json!({ "name": "x", "mounts": [mount(&lab, "root/books", "b", false)] })).refused(403, "FORBIDDEN");
    lab.ask("POST", "/v1/envs", json!({ "name": "x", "mounts": [mount(&lab, "root/books", "b", true)] })).is(201);
}

#[test]
fn the_vault_is_seen_and_never_written_and_a_missing_one_is_said() {
    let (lab, _server) = lab(&[("vault", "LAB/notes")]);
    let session = lab.session(json!({}));
    assert_eq!(looked(&lab, &session), "a note\na note\n", "by both names, and nothing could be written");
    assert_eq!(std::fs::read_dir(lab.path("notes")).expect("read").count(), 1);
    std::fs::rename(lab.path("notes"), lab.path("elsewhere")).expect("move");
    let other = lab.session(json!({}));
    let turn = lab.send(&other, "look");
    let result = lab.result_of(&other, &turn);
    assert_eq!((&result["status"], &result["code"]), (&json!("failed"), &json!("PATH_UNUSABLE")), "{result}");
}

#[test]
fn the_owner_at_the_command_line_is_bound_by_the_refused_places_alone() {
    let (lab, _server) = lab(&[]);
    let create = |path: &str, name: &str| lab.run(&["env", "create", name, "--mount", &format!("{}:books", lab.path(path).display())]);
    create("root/books", "mine").succeeds();
    let session = lab.session(json!({ "env": "mine" }));
    assert_eq!(looked(&lab, &session), "page one\n");
    create("root/.ssh", "never").fails("FORBIDDEN", 3);
    create("home", "never").fails("FORBIDDEN", 3);
    // The word of the owner is taken at the owner's socket only, whatever the token.
    lab.run(&["stop", "--grace", "0s"]).succeeds();
    let web = Web::start(&lab);
    let said = json!([{ "host": lab.path("root/books"), "name": "b", "by_owner": true }]);
    for (path, form) in [("/v1/envs", json!({ "name": "x", "mounts": said })), ("/v1/sessions", json!({ "mounts": said }))] {
        let answer = web.ask(&web.owner, "POST", path, form).is(403);
        assert_eq!(answer["error"]["field"], "by_owner", "{answer}");
    }
    web.ask(&web.owner, "PATCH", "/v1/envs/mine", json!({ "mounts": said })).is(403);
    // What leads elsewhere since is not mounted.
    std::fs::rename(lab.path("root/books"), lab.path("root/old")).expect("move");
    std::os::unix::fs::symlink(lab.path("outside"), lab.path("root/books")).expect("link");
    let joined = lab.session(json!({ "env": "mine" }));
    let turn = lab.send(&joined, "look");
    let result = lab.result_of(&joined, &turn);
    assert_eq!((&result["status"], &result["code"]), (&json!("failed"), &json!("PATH_UNUSABLE")), "{result}");
}
