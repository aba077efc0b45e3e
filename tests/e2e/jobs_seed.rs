//! The server of jobs whose clients work here too: its examples as they stand in its own pages, and its forms.

use std::process::Command;

use serde_json::{Value, json};
use testkit::model_server::{ModelServer, Script};

use crate::support::{KEY, Lab, Ran, project};
use crate::web::Web;

/// Where the seed's examples expect their server.
const EXPECTED: &str = "localhost:8420";

/// The seed's own program: create and wait.
const CREATE_AND_WAIT: &str = r#"import requests
API = "http://localhost:8420"
# Create a job and wait for the result (blocking)
r = requests.post(f"{API}/jobs", json={
"agent_id": "test",
"engine": "claude-code",
"prompt": "List files in /workspace",
})
job_id = r.json()["job_id"]
# Wait for completion (blocks until done, timeout 1h by default)
result = requests.get(f"{API}/jobs/{job_id}/wait").json()
print(result["status"]) # completed / failed
print(result["result"]) # agent output
"#;

/// The seed's own program: a profile with variables.
const PROFILE: &str = r#"r = requests.post(f"{API}/jobs", json={
"agent_id": "search",
"engine": "claude-code",
"profile": "researcher",
"prompt_vars": {"query": "best CI tools"},
})
result = requests.get(f"{API}/jobs/{r.json()['job_id']}/wait").json()
"#;

/// The seed's own commands.
const SHELL: &str = r#"JOB_ID=$(curl -s -X POST http://localhost:8420/jobs \
-H "Content-Type: application/json" \
-d '{"agent_id":"test","engine":"claude-code","prompt":"Hello"}' | jq -r .job_id)
curl http://localhost:8420/jobs/$JOB_ID/wait # blocks until done
# Cancel
curl -X DELETE http://localhost:8420/jobs/$JOB_ID
"#;

/// An example for another port and another engine than the one that a network is needed for; all else is as it stands.
fn here(example: &str, web: &Web) -> String {
    assert!(example.contains(EXPECTED) || !example.contains("http"));
    example.replace(EXPECTED, &web.address).replace("claude-code", "mini")
}

/// A daemon with a provider that answers every engine that asks.
fn lab() -> (Lab, Web, ModelServer) {
    let lab = Lab::new();
    let server = lab.model(Script { key: Some(KEY.to_owned()), ..Script::default() });
    lab.connect("anthropic", &server);
    // A researcher does not begin without its tools, and they want to know where they may go.
    lab.run(&["config", "set", "plugins.web.hosts", "[\"127.0.0.1:9\"]"]).succeeds();
    let web = Web::start(&lab);
    (lab, web, server)
}

/// The interpreter of the tests' own servers, which has `requests`.
fn python() -> std::path::PathBuf {
    let python = project("target/test-servers/python/bin/python");
    assert!(python.exists(), "{} is not here: run `cargo xtask test e2e`, which installs it", python.display());
    python
}

#[test]
fn the_python_examples_run_as_they_stand() {
    let (_lab, web, _server) = lab();
    // The token is the one thing more: given to the session that `requests` makes for each call.
    let token = format!(
        "import requests\n_init = requests.Session.__init__\ndef init(self):\n    _init(self)\n    self.headers['Authorization'] = 'Bearer {}'\n\
         requests.Session.__init__ = init\n",
        web.owner
    );
    let program = format!("{token}{}{}print(result['status'])\n", here(CREATE_AND_WAIT, &web), here(PROFILE, &web));
    let mut command = Command::new(python());
    command.env_clear().args(["-c", &program]);
    let ran = Ran::of(command, None).succeeds();
    let lines: Vec<&str> = ran.out.lines().collect();
    assert_eq!((lines.first(), lines.last()), (Some(&"completed"), Some(&"completed")), "{}", ran.out);
    assert!(lines.len() > 2, "a result was printed: {}", ran.out);
}

#[test]
fn the_shell_examples_run_as_they_stand() {
    let (lab, web, _server) = lab();
    // curl reads the one thing more from its own configuration.
    std::fs::write(lab.path(".curlrc"), format!("header = \"Authorization: Bearer {}\"\n", web.owner)).expect("write");
    // A machine without jq takes the field out in another way.
    let jq = lab.path("jq");
    std::fs::write(&jq, "#!/bin/sh\nexec python3 -c 'import json,sys; print(json.load(sys.stdin)[sys.argv[1][1:]])' \"$2\"\n")
        .expect("write");
    std::fs::set_permissions(&jq, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("chmod");
    let mut command = Command::new("/bin/sh");
    let path = format!("/usr/local/bin:/usr/bin:/bin:{}", lab.path("").display());
    command.env_clear().env("PATH", path).env("HOME", lab.path("")).args(["-c", &here(SHELL, &web)]);
    let ran = Ran::of(command, None).succeeds();
    let (waited, cancelled) = ran.out.split_at(ran.out.find("}{").expect("two answers") + 1);
    let waited: Value = serde_json::from_str(waited).expect("JSON");
    assert_eq!(waited["status"], "completed", "{waited}");
    let cancelled: Value = serde_json::from_str(cancelled).expect("JSON");
    assert!(cancelled["detail"].is_string(), "a job that is over is not cancelled: {cancelled}");
}

#[test]
fn answers_have_the_seeds_codes_and_forms() {
    let (_lab, web, _server) = lab();
    let ask = |method: &str, path: &str, body: Value| web.ask(&web.owner, method, path, body);
    let form = json!({ "agent_id": "test", "engine": "mini", "prompt": "hello" });
    let held = json!({ "agent_id": "test", "engine": "mini", "prompt": "hello", "delay_s": 100_000 });

    let made = ask("POST", "/jobs", form.clone()).is(202);
    let id = made["job_id"].as_str().expect("an identity").to_owned();
    assert_eq!(made, json!({ "job_id": id, "status": "pending" }));
    let done = ask("GET", &format!("/jobs/{id}/wait"), Value::Null).is(200);
    let mut fields: Vec<&str> = done.as_object().expect("an object").keys().map(String::as_str).collect();
    fields.sort_unstable();
    let expected = ["created_at", "engine", "error", "exit_code", "finished_at", "job_id", "profile", "result", "started_at", "status"];
    assert_eq!(fields, expected);
    assert_eq!((&done["status"], &done["exit_code"], &done["engine"]), (&json!("completed"), &json!(0), &json!("mini")));
    assert!(done["result"].is_string() && done["finished_at"].as_str().is_some_and(|at| at.ends_with('Z')), "{done}");
    assert_eq!(ask("GET", &format!("/jobs/{id}"), Value::Null).is(200), done);

    let held = ask("POST", "/jobs", held).is(202)["job_id"].as_str().expect("an identity").to_owned();
    let late = ask("GET", &format!("/jobs/{held}/wait?timeout=0"), Value::Null).is(408);
    assert!(late["detail"].is_string() && late["status"] == "pending", "{late}");
    assert_eq!(ask("DELETE", &format!("/jobs/{held}"), Value::Null).is(200), json!({ "job_id": held, "status": "cancelled" }));
    assert!(ask("DELETE", &format!("/jobs/{held}"), Value::Null).is(409)["detail"].is_string());
    for (method, path) in
        [("GET", "/jobs/none-000000000000"), ("DELETE", "/jobs/none-000000000000"), ("GET", "/jobs/none-000000000000/wait")]
    {
        assert!(ask(method, path, Value::Null).is(404)["detail"].is_string(), "{method} {path}");
    }
    for body in
        [json!({}), json!({ "agent_id": "a b" }), json!({ "agent_id": "a", "max_turns": 0 }), json!({ "agent_id": "a", "nothing": 1 })]
    {
        assert!(ask("POST", "/jobs", body.clone()).is(422)["error"].is_string(), "{body}");
    }
    for query in ["status=done", "limit=0", "limit=201", "offset=-1", "limit=x"] {
        assert!(ask("GET", &format!("/jobs?{query}"), Value::Null).is(422)["error"].is_string(), "{query}");
    }
    assert!(web.ask("", "GET", "/jobs", Value::Null).is(401)["detail"].is_string());
    assert!(web.ask("", "POST", "/jobs", form).is(401)["detail"].is_string());

    let all = ask("GET", "/jobs?limit=1", Value::Null).is(200);
    assert_eq!((&all["total"], &all["limit"], &all["offset"]), (&json!(2), &json!(1), &json!(0)));
    assert_eq!((&all["jobs"][0]["job_id"], &all["jobs"][0]["result"]), (&json!(held), &Value::Null));
    let done = ask("GET", "/jobs?status=completed", Value::Null).is(200);
    assert_eq!((&done["total"], &done["jobs"][0]["job_id"]), (&json!(1), &json!(id)));
    let root = web.ask("", "GET", "/", Value::Null);
    assert!((300..400).contains(&root.status) && root.head.contains("/ui"), "{}", root.head);
}
