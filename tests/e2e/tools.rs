//! Tools volumes: built in a sandbox, seen by every sandbox or by those of one agent, changed by none.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use testkit::model_server::{ModelServer, Rule, Say, Script};

use crate::registry::Registry;
use crate::support::Lab;
use crate::web::Web;

fn lab() -> (Lab, ModelServer) {
    let lab = Lab::new();
    let rule = |contains: &str, command: &str| Rule {
        contains: contains.to_owned(),
        say: vec![Say::Shell(command.to_owned()), Say::Text("done".to_owned())],
    };
    let rules = vec![
        rule("run own", "own-tool; byhand"),
        rule("run python", "harbour-tool; python3 -c 'import harbour; print(harbour.NAME)'; ls /opt/parachute-tools/python | head -1"),
        rule("run node", "ebb"),
        rule("run both", "own-tool 2>/dev/null || echo none; shared-tool 2>/dev/null || echo nothing"),
        rule(
            "reach out",
            "for d in /opt/lazaret-agent /opt/lazaret-agent/bin /opt/lazaret-agent/.packages /opt/lazaret-agent/.current; do \
                        touch $d/x 2>/dev/null && echo wrote $d; rm -rf $d/* 2>/dev/null; done; ls /opt/lazaret-agent/bin; echo looked",
        ),
        rule(
            "attack",
            "for d in /opt/lazaret-tools/bin /opt/lazaret-tools/python /opt/lazaret-tools/.packages /opt/parachute-tools; do \
                        touch $d/x 2>/dev/null && echo wrote $d; rm -rf $d/* 2>/dev/null; done; ls /opt/lazaret-tools/bin",
        ),
    ];
    let server = lab.model(Script { rules, ..Script::default() });
    lab.run(&["config", "set", "providers.anthropic.base_url", &server.url()]).succeeds();
    lab.run(&["config", "set", "providers.anthropic.keyless", "true"]).succeeds();
    lab.run(&["config", "set", "egress.private_ok", "[\"127.0.0.1\"]"]).succeeds();
    (lab, server)
}

/// What the tools of a turn printed.
#[track_caller]
pub(crate) fn printed(lab: &Lab, session: &str, text: &str) -> String {
    let turn = lab.send(session, text);
    assert_eq!(lab.result_of(session, &turn)["status"], "completed");
    let outputs = lab.log(session).into_iter().filter(|e| e["turn"] == turn.as_str() && e["type"] == "tool_result");
    outputs.filter_map(|e| e["output"].as_str().map(str::to_owned)).collect()
}

/// Puts a wheel of this version where the index finds it.
pub(crate) fn publish_wheel(root: &Path, version: &str) {
    let dir = root.join("simple/harbour");
    std::fs::create_dir_all(&dir).expect("make");
    let make = "import sys, zipfile\nversion, path = sys.argv[1:]\nz = zipfile.ZipFile(path, 'w')\nd = 'harbour-' + version + '.dist-info/'\n\
                z.writestr('harbour/__init__.py', 'NAME = \"harbour ' + version + '\"\\ndef main(): print(\"tool\", NAME)\\n')\n\
                z.writestr(d + 'METADATA', 'Metadata-Version: 2.1\\nName: harbour\\nVersion: ' + version + '\\n')\n\
                z.writestr(d + 'WHEEL', 'Wheel-Version: 1.0\\nGenerator: t\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')\n\
                z.writestr(d + 'entry_points.txt', '[console_scripts]\\nharbour-tool = harbour:main\\n')\nz.writestr(d + 'RECORD', '')\nz.close()\n";
    let name = format!("harbour-{version}-py3-none-any.whl");
    let made = Command::new("/usr/bin/python3").args(["-c", make, version]).arg(dir.join(&name)).status();
    assert!(made.is_ok_and(|s| s.success()), "python3 makes a wheel");
    let mut links = String::new();
    for entry in std::fs::read_dir(&dir).expect("read").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".whl") {
            links.push_str(&format!("<a href=\"{name}\">{name}</a>\n"));
        }
    }
    std::fs::write(dir.join("index.html"), format!("<!DOCTYPE html><html><body>{links}</body></html>")).expect("write");
}

#[test]
fn files_are_tools_and_no_sandbox_changes_them() {
    let (lab, _server) = lab();
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    let session = lab.session(json!({}));
    assert!(!printed(&lab, &session, "run own").contains("mine"));
    let put = |name: &str, text: &str| lab.ask_with("PUT", &format!("/v1/tools/files/{name}"), &[], text.as_bytes());
    let made = put("own-tool", "#!/bin/sh\necho mine one\n").is(201);
    assert_eq!((&made["name"], &made["programs"]), (&json!("file:own-tool"), &json!(["own-tool"])), "{made}");
    let by_hand = lab.home().join("tools/bin/byhand");
    std::fs::write(&by_hand, "#!/bin/sh\necho by hand\n").expect("write");
    std::fs::set_permissions(&by_hand, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("chmod");
    // The sandbox that runs already sees both.
    assert_eq!(printed(&lab, &session, "run own"), "mine one\nby hand\n");
    let left = printed(&lab, &session, "attack");
    assert_eq!(left, "byhand\nown-tool\n", "nothing was written or removed");
    put("own-tool", "#!/bin/sh\necho mine two\n").is(201);
    assert_eq!(printed(&lab, &session, "run own"), "mine two\nby hand\n");
    assert_eq!(lab.ask("GET", "/v1/tools", Value::Null).is(200)["items"].as_array().expect("items").len(), 1);
    lab.ask("DELETE", "/v1/tools?name=file:own-tool", Value::Null).is(200);
    assert!(!printed(&lab, &session, "run own").contains("mine"));
    lab.ask("DELETE", "/v1/tools?name=file:own-tool", Value::Null).refused(404, "NOT_FOUND");
    for bad in ["-x", ".hidden", "a%2Fb", "a%20b"] {
        put(bad, "x").refused(422, "USAGE");
    }
}

#[test]
fn a_python_package_comes_from_its_index_and_is_swapped_for_a_newer_one() {
    let (lab, _server) = lab();
    let root = lab.path("index");
    publish_wheel(&root, "1.0");
    let registry = Registry::of(root.clone());
    lab.run(&["config", "set", "tools.index", &format!("http://127.0.0.1:{}/simple", registry.port)]).succeeds();
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    let session = lab.session(json!({}));
    let install = |name: &str| lab.ask("POST", "/v1/tools", json!({ "name": name }));
    let made = install("Harbour").is(201);
    assert_eq!((&made["version"], &made["programs"]), (&json!("1.0"), &json!(["harbour-tool"])), "{made}");
    assert_eq!(printed(&lab, &session, "run python"), "tool harbour 1.0\nharbour 1.0\nharbour\n");
    publish_wheel(&root, "2.0");
    assert_eq!(install("harbour==2.0").is(201)["version"], "2.0");
    assert_eq!(printed(&lab, &session, "run python"), "tool harbour 2.0\nharbour 2.0\nharbour\n");
    // What cannot be had changes nothing.
    install("harbour==9.9").refused(404, "NOT_FOUND");
    install("nowhere-to-be-found").refused(404, "NOT_FOUND");
    install("--index-url=http://127.0.0.1").refused(422, "USAGE");
    assert_eq!(printed(&lab, &session, "run python"), "tool harbour 2.0\nharbour 2.0\nharbour\n");
    let packages = std::fs::read_dir(lab.home().join("tools/.packages")).expect("read").count();
    assert_eq!(packages, 1, "older ones and failed ones are gone");
}

#[test]
fn a_node_package_comes_from_its_registry_and_none_of_its_scripts_runs() {
    let (lab, _server) = lab();
    let root = lab.path("npm");
    let package = lab.path("package");
    std::fs::create_dir_all(&root).expect("make");
    std::fs::create_dir(&package).expect("make");
    let about =
        json!({ "name": "ebb", "version": "1.2.3", "bin": { "ebb": "ebb.js" }, "scripts": { "postinstall": "echo hacked > hacked.js" } });
    std::fs::write(package.join("package.json"), about.to_string()).expect("write");
    std::fs::write(
        package.join("ebb.js"),
        "#!/usr/bin/env node\nconsole.log('ebb and flow', require('fs').existsSync(__dirname + '/hacked.js'))\n",
    )
    .expect("write");
    let packed = Command::new("tar").args(["-czf"]).arg(root.join("ebb.tgz")).arg("-C").arg(lab.path("")).arg("package").status();
    assert!(packed.is_ok_and(|s| s.success()));
    let registry = Registry::of(root.clone());
    let url = format!("http://127.0.0.1:{}", registry.port);
    let mut version = about.clone();
    version["dist"] = json!({ "tarball": format!("{url}/ebb.tgz") });
    let document = json!({ "name": "ebb", "dist-tags": { "latest": "1.2.3" }, "versions": { "1.2.3": version } });
    std::fs::write(root.join("ebb"), document.to_string()).expect("write");
    lab.run(&["config", "set", "engines.registry", &url]).succeeds();
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    let session = lab.session(json!({}));
    let made = lab.ask("POST", "/v1/tools", json!({ "name": "npm:ebb" })).is(201);
    assert_eq!((&made["version"], &made["programs"]), (&json!("1.2.3"), &json!(["ebb"])), "{made}");
    assert_eq!(printed(&lab, &session, "run node"), "ebb and flow false\n");
    lab.ask("DELETE", "/v1/tools?name=npm:ebb", Value::Null).is(200);
    assert!(!printed(&lab, &session, "run node").contains("flow"));
}

/// Volumes of agents in the home.
fn layers(lab: &Lab) -> Vec<String> {
    let there = std::fs::read_dir(lab.home().join("agent-tools")).expect("read").flatten();
    let mut all: Vec<String> = there.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    all.sort();
    all
}

/// Seen in its sandboxes before what every sandbox sees, in no other agent's; listed and removed apart; gone with the agent, and not
/// there for one that is made again under its name.
#[test]
fn what_one_agent_has_no_other_has() {
    let (lab, _server) = lab();
    let web = Web::start(&lab);
    let [anna, bert] = ["anna", "bert"].map(|agent| {
        lab.run(&["agent", "add", agent]).succeeds();
        lab.session(json!({ "agent": agent }))
    });
    let both = |of_anna: &str, of_bert: &str| {
        assert_eq!(printed(&lab, &anna, "run both"), of_anna);
        assert_eq!(printed(&lab, &bert, "run both"), of_bert);
    };
    let put = |path: &str, says: &str| {
        let text = format!("#!/bin/sh\necho {says}\n");
        lab.ask_with("PUT", &format!("/v1/tools/files/{path}"), &[], text.as_bytes())
    };
    both("none\nnothing\n", "none\nnothing\n");
    // The control: what is installed for all is seen by both.
    put("shared-tool", "for all").is(201);
    put("own-tool?agent=anna", "hers").is(201);
    both("hers\nfor all\n", "none\nfor all\n");
    let shared = lab.path("shared-tool");
    std::fs::write(&shared, "#!/bin/sh\necho hers before all\n").expect("write");
    lab.run(&["tools", "install", "--agent", "anna", &format!("file:{}", shared.display())]).succeeds();
    both("hers\nhers before all\n", "none\nfor all\n");
    // Neither changes it, and the other does not even see that it is there.
    assert_eq!(printed(&lab, &anna, "reach out"), "own-tool\nshared-tool\nlooked\n");
    assert_eq!(printed(&lab, &bert, "reach out"), "looked\n");
    both("hers\nhers before all\n", "none\nfor all\n");

    let listed = |query: &str| {
        let all = lab.ask("GET", &format!("/v1/tools{query}"), Value::Null).is(200);
        let names = all["items"].as_array().expect("items").iter().filter_map(|tool| tool["name"].as_str().map(str::to_owned));
        names.collect::<Vec<_>>().join(" ")
    };
    assert_eq!([listed(""), listed("?agent=anna"), listed("?agent=bert")], ["file:shared-tool", "file:own-tool file:shared-tool", ""]);
    assert!(lab.run(&["tools", "list", "--agent", "anna"]).succeeds().out.contains("file:own-tool"));
    assert!(!lab.run(&["tools", "list"]).succeeds().out.contains("file:own-tool"));
    lab.ask("DELETE", "/v1/tools?name=file:own-tool&agent=bert", Value::Null).refused(404, "NOT_FOUND");
    lab.ask("DELETE", "/v1/tools?name=file:own-tool", Value::Null).refused(404, "NOT_FOUND");
    lab.run(&["tools", "remove", "file:shared-tool", "--agent", "anna"]).succeeds();
    both("hers\nfor all\n", "none\nfor all\n");

    // An agent that is not there is missed before anything else is looked at.
    put("-x?agent=nobody", "x").refused(404, "NOT_FOUND");
    lab.ask("GET", "/v1/tools?agent=nobody", Value::Null).refused(404, "NOT_FOUND");
    lab.ask("POST", "/v1/tools", json!({ "name": "-x", "agent": "../anna" })).refused(404, "NOT_FOUND");
    lab.ask("DELETE", "/v1/tools?name=-x&agent=nobody", Value::Null).refused(404, "NOT_FOUND");
    lab.ask("GET", "/v1/tools?of=anna", Value::Null).refused(422, "USAGE");
    // Another tenant neither lists nor installs; the control: it lists what was lent to it.
    let (crew, _) = web.token("write", Some("crew"));
    web.ask(&crew, "GET", "/v1/tools", Value::Null).is(200);
    let hidden = web.ask(&crew, "GET", "/v1/tools?agent=anna", Value::Null).refused(404, "NOT_FOUND");
    let missing = web.ask(&crew, "GET", "/v1/tools?agent=zoe", Value::Null).refused(404, "NOT_FOUND");
    let message = |body: &Value| body["error"]["message"].as_str().map(|message| message.replace("zoe", "anna"));
    assert_eq!(message(&hidden), message(&missing));
    web.ask(&crew, "POST", "/v1/tools", json!({ "name": "harbour", "agent": "anna" })).refused(403, "FORBIDDEN");
    web.ask_with(&crew, "PUT", "/v1/tools/files/x?agent=anna", "", b"x").refused(403, "FORBIDDEN");
    web.ask(&crew, "DELETE", "/v1/tools?name=file:own-tool&agent=anna", Value::Null).refused(403, "FORBIDDEN");
    lab.run(&["agent", "set", "anna", "--lend-to", "crew"]).succeeds();
    let lent = web.ask(&crew, "GET", "/v1/tools?agent=anna", Value::Null).is(200);
    assert_eq!(lent["items"][0]["name"], "file:own-tool", "{lent}");

    // It goes with the agent, and not before.
    lab.ask("DELETE", "/v1/agents/anna", Value::Null).refused(409, "CONFLICT");
    assert_eq!(listed("?agent=anna"), "file:own-tool");
    lab.ask("DELETE", &format!("/v1/sessions/{anna}"), Value::Null).is(200);
    let is_of = |name: &str, agent: &str| name.split_once('@').is_some_and(|(of, _)| of == agent);
    assert!(layers(&lab).iter().any(|name| is_of(name, "anna")));
    lab.ask("DELETE", "/v1/agents/anna", Value::Null).is(200);
    let left = layers(&lab);
    assert!(!left.iter().any(|name| is_of(name, "anna")) && left.iter().any(|name| is_of(name, "bert")), "{left:?}");
    lab.run(&["agent", "add", "anna"]).succeeds();
    let again = lab.session(json!({ "agent": "anna" }));
    assert_eq!(printed(&lab, &again, "run both"), "none\nfor all\n");
    assert_eq!(listed("?agent=anna"), "");
}
