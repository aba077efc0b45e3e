//! Programs of everyday through the egress proxy: held to their paths, with a secret that they never see.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use testkit::model_server::{ModelServer, Rule, Say, Script};

use crate::https::Https;
use crate::support::Lab;

/// The secret; long enough that no part of it stands anywhere by chance.
const SECRET: &str = "ghp_e2eCanaryOfABoundSecret0123456789";

/// What the agent runs when it is told to.
const SCRIPT: &[(&str, &str)] = &[
    ("git clone", "git clone -q https://x:$HOST_TOKEN@localhost:PORT/git/repo.git && cat repo/README"),
    (
        "git push",
        "cd repo && git config user.email a@b.test && git config user.name a && echo more >> README && git commit -qam more && \
         git push -q origin HEAD:main && echo pushed",
    ),
    (
        "pip install",
        "pip3 install -q --no-cache-dir --disable-pip-version-check --target /workspace/py \
         --index-url https://x:$HOST_TOKEN@localhost:PORT/simple/ harbour && PYTHONPATH=/workspace/py python3 -c 'import harbour; print(harbour.NAME)'",
    ),
    (
        "npm install",
        "mkdir n && cd n && printf '//localhost:PORT/npm/:_authToken=${HOST_TOKEN}\\n' > .npmrc && \
         npm install --silent --no-audit --no-fund --no-update-notifier --registry https://localhost:PORT/npm/ ebb && node -e 'console.log(require(\"ebb\"))'",
    ),
    ("api get", "curl -sS -H \"Authorization: Bearer $HOST_TOKEN\" https://localhost:PORT/repos/o/r/issues"),
    ("api post", "curl -sS -d '{}' -H \"Authorization: Bearer $HOST_TOKEN\" https://localhost:PORT/repos/o/r/issues"),
    ("api delete", "curl -sS -X DELETE -H \"Authorization: Bearer $HOST_TOKEN\" https://localhost:PORT/repos/o/r/issues"),
    ("other path", "curl -sS -H \"Authorization: Bearer $HOST_TOKEN\" https://localhost:PORT/repos/o/other/issues"),
    ("dotted path", "curl -sS --path-as-is -H \"Authorization: Bearer $HOST_TOKEN\" https://localhost:PORT/repos/o/r/../other/issues"),
    ("in the body", "curl -sS -d token=$HOST_TOKEN https://localhost:PORT/repos/o/r/issues"),
    ("in the query", "curl -sS \"https://localhost:PORT/repos/o/r/issues?token=$HOST_TOKEN\""),
    ("another's key", "curl -sS -H \"Authorization: Bearer attackers-own-key\" https://localhost:PORT/repos/o/r/issues"),
    ("without proxy", "env -u HTTPS_PROXY -u https_proxy curl -sS --noproxy '*' https://localhost:PORT/repos/o/r/issues 2>&1; echo $?"),
    (
        "show all",
        "env; cat /proc/*/environ /proc/*/cmdline 2>/dev/null | tr '\\0' '\\n'; cat ~/.npmrc n/.npmrc repo/.git/config 2>/dev/null",
    ),
    ("show token", "echo $HOST_TOKEN"),
];

struct World {
    lab: Lab,
    _model: ModelServer,
    host: Https,
}

fn world() -> World {
    let lab = Lab::new();
    let root = lab.path("served");
    publish(&root);
    let host = Https::start(&root, SECRET);
    let port = host.port.to_string();
    publish_npm(&root, &port);
    let rules = SCRIPT.iter().map(|(contains, command)| {
        // The host is on loopback, which programs do not look for behind a proxy.
        let command = format!("unset NO_PROXY no_proxy; {}", command.replace("PORT", &port));
        Rule { contains: (*contains).to_owned(), say: vec![Say::Shell(command), Say::Text("done".to_owned())] }
    });
    let model = lab.model(Script { rules: rules.collect(), ..Script::default() });
    lab.run(&["config", "set", "providers.anthropic.base_url", &model.url()]).succeeds();
    lab.run(&["config", "set", "providers.anthropic.keyless", "true"]).succeeds();
    lab.run(&["config", "set", "egress.private_ok", "[\"127.0.0.1\", \"::1\"]"]).succeeds();
    lab.run(&["config", "set", "egress.max", &format!("[\"localhost:{port}\"]")]).succeeds();
    lab.run(&["config", "set", "egress.extra_roots", host.roots.to_str().expect("utf-8")]).succeeds();
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    lab.run_with(&["secret", "set", "HOST_TOKEN", "-"], SECRET.as_bytes()).succeeds();
    World { lab, _model: model, host }
}

impl World {
    fn rules(&self) -> Vec<String> {
        let paths = ["/repos/o/r,GET", "/repos/o/r,POST", "/git/repo.git", "/simple/", "/npm/,GET"];
        paths.iter().map(|path| format!("localhost:{}{path}", self.host.port)).collect()
    }

    fn session(&self) -> String {
        self.lab.session(json!({ "egress": self.rules(), "secrets": ["HOST_TOKEN"] }))
    }

    fn bind(&self) {
        let host = format!("localhost:{}", self.host.port);
        self.lab.run(&["secret", "bind", "HOST_TOKEN", "--host", &host]).succeeds();
    }

    /// What a command printed inside. The secret is in nothing that anybody sees.
    #[track_caller]
    fn printed(&self, session: &str, text: &str) -> String {
        let turn = self.lab.send(session, text);
        assert_eq!(self.lab.result_of(session, &turn)["status"], "completed");
        let log = self.lab.log(session);
        assert!(!json!(log).to_string().contains("CanaryOfABound"), "the secret is in the log");
        let outputs = log.into_iter().filter(|e| e["turn"] == turn.as_str() && e["type"] == "tool_result");
        outputs.filter_map(|e| e["output"].as_str().map(str::to_owned)).collect()
    }
}

/// A bare repository with one commit, and a Python index with one wheel.
fn publish(root: &Path) {
    let run = |dir: &Path, args: &[&str]| {
        let ran = Command::new("git").current_dir(dir).args(["-c", "user.name=t", "-c", "user.email=t@t.test"]).args(args).output();
        let ran = ran.expect("git");
        assert!(ran.status.success(), "{args:?}: {}", String::from_utf8_lossy(&ran.stderr));
    };
    let work = root.join("work");
    std::fs::create_dir_all(&work).expect("make");
    std::fs::create_dir_all(root.join("git")).expect("make");
    run(&work, &["init", "-q", "-b", "main"]);
    std::fs::write(work.join("README"), "a harbour\n").expect("write");
    run(&work, &["add", "README"]);
    run(&work, &["commit", "-qm", "first"]);
    run(root, &["clone", "-q", "--bare", "work", "git/repo.git"]);
    let simple = root.join("files/simple/harbour");
    std::fs::create_dir_all(&simple).expect("make");
    let make = "import sys, zipfile\nz = zipfile.ZipFile(sys.argv[1], 'w')\nd = 'harbour-1.0.dist-info/'\n\
                z.writestr('harbour/__init__.py', 'NAME = \"harbour 1.0\"\\n')\n\
                z.writestr(d + 'METADATA', 'Metadata-Version: 2.1\\nName: harbour\\nVersion: 1.0\\n')\n\
                z.writestr(d + 'WHEEL', 'Wheel-Version: 1.0\\nGenerator: t\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')\n\
                z.writestr(d + 'RECORD', '')\nz.close()\n";
    let name = "harbour-1.0-py3-none-any.whl";
    let made = Command::new("/usr/bin/python3").args(["-c", make]).arg(simple.join(name)).status();
    assert!(made.is_ok_and(|s| s.success()), "python3 makes a wheel");
    std::fs::write(simple.join("index.html"), format!("<!DOCTYPE html><html><body><a href=\"{name}\">{name}</a></body></html>"))
        .expect("write");
}

/// A package of one file, in a registry at this port.
fn publish_npm(root: &Path, port: &str) {
    let (package, files) = (root.join("package"), root.join("files/npm"));
    std::fs::create_dir_all(&package).expect("make");
    std::fs::create_dir_all(&files).expect("make");
    let about = json!({ "name": "ebb", "version": "1.2.3", "main": "ebb.js" });
    std::fs::write(package.join("package.json"), about.to_string()).expect("write");
    std::fs::write(package.join("ebb.js"), "module.exports = 'ebb and flow'\n").expect("write");
    let packed = Command::new("tar").arg("-czf").arg(files.join("ebb.tgz")).arg("-C").arg(root).arg("package").status();
    assert!(packed.is_ok_and(|s| s.success()));
    let mut version = about;
    version["dist"] = json!({ "tarball": format!("https://localhost:{port}/npm/ebb.tgz") });
    let document = json!({ "name": "ebb", "dist-tags": { "latest": "1.2.3" }, "versions": { "1.2.3": version } });
    std::fs::write(files.join("ebb"), document.to_string()).expect("write");
}

#[test]
fn git_pip_npm_and_an_api_work_with_a_secret_that_the_agent_never_sees() {
    let world = world();
    world.bind();
    let session = world.session();
    assert_eq!(world.printed(&session, "git clone"), "a harbour\n");
    assert_eq!(world.printed(&session, "git push"), "pushed\n");
    assert_eq!(world.printed(&session, "pip install"), "harbour 1.0\n");
    assert_eq!(world.printed(&session, "npm install"), "ebb and flow\n");
    // The host shows the credential in its answer, and the proxy takes it out again.
    let got = world.printed(&session, "api get");
    assert!(got.contains("first") && got.contains("****"), "{got}");
    assert!(world.printed(&session, "api post").contains("\"method\":\"POST\""));
    let heard = world.host.heard();
    assert!(heard.contains(&format!("GET /repos/o/r/issues Bearer {SECRET}")), "{heard:?}");
    let all = world.printed(&session, "show all");
    assert!(all.contains("HOST_TOKEN=lzs_") && !all.contains("CanaryOfABound"), "{all}");
    let log = std::fs::read_to_string(world.lab.home().join("logs/daemon.log")).unwrap_or_default();
    assert!(!log.contains("CanaryOfABound"), "{log}");
}

#[test]
fn a_bound_secret_goes_nowhere_but_where_it_is_bound() {
    let first = world();
    first.lab.ask("POST", "/v1/sessions", json!({ "secrets": ["HOST_TOKEN"] })).refused(404, "NOT_FOUND");
    first.bind();
    let shown = first.lab.run(&["secret", "bound"]).succeeds().out;
    assert!(shown.contains(&format!("HOST_TOKEN  localhost:{}  authorization", first.host.port)), "{shown}");
    let list = first.lab.run(&["secret", "list"]).succeeds().out;
    assert!(list.starts_with("HOST_TOKEN ") && list.lines().count() == 1, "what the proxy keeps is not listed: {list}");
    let session = first.session();
    for text in ["api delete", "other path", "dotted path", "in the body", "in the query"] {
        let got = first.printed(&session, text);
        assert!(got.contains("EGRESS_DENIED"), "{text}: {got}");
    }
    let got = first.printed(&session, "another's key");
    assert_eq!(got, "wrong credential", "a key of the agent's own is left out");
    let got = first.printed(&session, "without proxy");
    assert!(!got.contains("first") && !got.trim_end().ends_with('0'), "{got}");
    assert!(first.host.heard().iter().all(|line| !line.contains(SECRET) && !line.contains("attackers")), "{:?}", first.host.heard());
    let notices: Vec<Value> = first.lab.log(&session).into_iter().filter(|e| e["type"] == "notice").collect();
    assert!(notices.iter().any(|n| n["text"].as_str().is_some_and(|t| t.contains("placeholder"))), "{notices:?}");
    // The control: the same program, in its place.
    assert!(first.printed(&session, "api get").contains("first"));
    // A placeholder is of one session: another one has another.
    let other = first.session();
    let (one, two) = (first.printed(&session, "show token"), first.printed(&other, "show token"));
    assert!(one.starts_with("lzs_") && two.starts_with("lzs_") && one != two, "{one} {two}");
    // What is not bound any more does not go, in sessions that are open either.
    first.lab.run(&["secret", "unbind", "HOST_TOKEN"]).succeeds();
    assert!(first.printed(&session, "api get").contains("EGRESS_DENIED"));
}

#[test]
fn a_rule_that_the_owner_takes_back_holds_no_longer() {
    let world = world();
    world.bind();
    let session = world.session();
    assert!(world.printed(&session, "api get").contains("first"));
    world.lab.run(&["config", "set", "egress.max", "[]"]).succeeds();
    world.lab.ask("POST", "/v1/reload", Value::Null).is(200);
    let got = world.printed(&session, "api get");
    assert!(!got.contains("first"), "{got}");
}

/// A plugin whose hosts are held to paths and methods speaks TLS with the proxy and trusts it, by itself.
#[test]
fn a_plugin_is_held_to_the_paths_of_its_manifest() {
    let world = world();
    let port = world.host.port;
    let script = format!(
        "import urllib.request, urllib.error\n\
         for name in ('NO_PROXY', 'no_proxy'): os.environ.pop(name, None)\n\
         def tool_hub_ask(a, m):\n    \
             opener = urllib.request.build_opener(urllib.request.ProxyHandler({{'https': os.environ['HTTPS_PROXY']}}))\n    \
             try: return text(opener.open(urllib.request.Request('https://localhost:{port}' + a['text'], headers={{'Authorization': 'Bearer {SECRET}'}})).read().decode())\n    \
             except urllib.error.HTTPError as e: return text(str(e.code) + e.read().decode())\n"
    );
    world.lab.plugin("hub", &format!("tools = \"all\"\nlow = [\"hub_ask\"]\nhosts = [\"localhost:{port}/repos/o/r,GET\"]\n"), &script);
    world.lab.reload_plugins();
    let ask = |path: &str| world.lab.tool("hub_ask", json!({ "text": path })).expect("an answer").to_string();
    let got = ask("/repos/o/other/issues");
    assert!(got.contains("403") && got.contains("EGRESS_DENIED"), "{got}");
    let got = ask("/repos/o/r/issues");
    assert!(got.contains("first"), "{got}");
}
