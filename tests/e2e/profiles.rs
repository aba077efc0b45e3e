//! Profiles, templates, hooks and described engines, from their texts to what a model is asked.

use serde_json::{Value, json};
use testkit::model_server::{ModelServer, Rule, Say, Script};
use testkit::servers::{Page, Pages};

use crate::support::{KEY, Lab};
use crate::web::Web;

/// What a model was asked: the system prompt, all texts, and the names of the tools.
struct Asked {
    system: String,
    whole: String,
    tools: Vec<String>,
}

impl Lab {
    /// A daemon and a scripted model for mini.
    fn with_model(rules: Vec<Rule>) -> (Self, ModelServer) {
        let lab = Self::new();
        let server = lab.model(Script { key: Some(KEY.to_owned()), rules, ..Script::default() });
        lab.connect("anthropic", &server);
        lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
        (lab, server)
    }

    /// Keeps a text under a name.
    #[track_caller]
    pub(crate) fn keep(&self, verb: &str, name: &str, text: &str) {
        self.run_with(&[verb, "set", name, "-"], text.as_bytes()).succeeds();
    }

    /// Runs a job to its end.
    #[track_caller]
    pub(crate) fn job_ends(&self, form: Value) -> Value {
        let id = self.ask("POST", "/v1/jobs", form).is(202)["id"].as_str().expect("an identity").to_owned();
        self.job_over(&id)
    }

    /// What its session logged in remarks.
    #[track_caller]
    fn remarks(&self, job: &Value) -> String {
        let session = job["session"].as_str().expect("a session");
        let log = self.ask("GET", &format!("/v1/sessions/{session}/events?limit=500"), Value::Null).is(200);
        let all = log["events"].as_array().expect("events").iter().filter(|e| e["type"] == "notice");
        all.map(|e| e["text"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>().join("\n")
    }
}

fn rule(contains: &str, say: Vec<Say>) -> Rule {
    Rule { contains: contains.to_owned(), say }
}

fn text(text: &str) -> Say {
    Say::Text(text.to_owned())
}

fn shell(command: &str) -> Say {
    Say::Shell(command.to_owned())
}

/// The requests for messages, in order.
fn asked(server: &ModelServer) -> Vec<Asked> {
    let requests = server.requests();
    let messages = requests.iter().filter(|r| r.target.starts_with("/v1/messages") && !r.target.contains("count_tokens"));
    messages
        .map(|request| {
            let body = request.json();
            let tools = body["tools"].as_array().into_iter().flatten().filter_map(|t| t["name"].as_str()).map(str::to_owned).collect();
            Asked { system: body["system"].to_string(), whole: body.to_string(), tools }
        })
        .collect()
}

/// A profile gives prompt, instructions, system prompt and tools; the request beats it; its hooks run around the engine.
#[test]
fn a_profile_says_what_a_job_runs_with() {
    let (lab, server) =
        Lab::with_model(vec![rule("harbour", vec![shell("cat made-before; echo from-the-engine > left"), text("all is well")])]);
    lab.keep("template", "prompts/look.md.j2", "Look at the {{ place }}{% if twice %} twice{% endif %}, {{ timeout }} s.");
    lab.keep("template", "claude-md/look.md.j2", "You are {{ role }}.");
    lab.keep("hook", "before.sh", "#!/bin/bash\n[[ -n $BASH_VERSION ]] && echo canary-of-the-hook > made-before && echo ready in $PWD\n");
    let profile = r#"
[agent]
description = "Looks"
system_prompt = "Speak like a pilot."
max_turns = 9
[tools]
allowed = ["Bash"]
[prompt]
template = "prompts/look.md.j2"
[prompt.variables.place]
type = "string"
required = true
[prompt.variables]
twice = false
[claude_md]
template = "look"
[claude_md.variables]
role = "the harbour master"
[resources]
timeout = 77
[hooks]
pre = "before.sh"
post = """
echo "after: $JOB_STATUS $JOB_EXIT_CODE $(cat left)"
exit 3
"""
"#;
    lab.keep("profile", "look", profile);
    let done = lab.job_ends(json!({ "agent_id": "t", "profile": "look", "prompt_vars": { "place": "harbour", "twice": true } }));
    assert_eq!(
        (&done["status"], &done["result"], &done["profile"]),
        (&json!("completed"), &json!("all is well"), &json!("look")),
        "{done}"
    );
    let seen = asked(&server);
    assert!(seen[0].whole.contains("Look at the harbour twice, 77 s."), "{}", seen[0].whole);
    assert!(seen[0].system.contains("Speak like a pilot.") && !seen[0].system.contains("You are mini"), "{}", seen[0].system);
    assert!(seen[0].system.contains("You are the harbour master."), "{}", seen[0].system);
    assert!(seen[0].tools.contains(&"bash".to_owned()), "{:?}", seen[0].tools);
    for not in ["write", "read", "edit", "web_fetch"] {
        assert!(!seen[0].tools.contains(&not.to_owned()), "{:?}", seen[0].tools);
    }
    assert!(seen[1].whole.contains("canary-of-the-hook"), "the hook ran before the engine: {}", seen[1].whole);
    let remarks = lab.remarks(&done);
    assert!(remarks.contains("ready in /workspace"), "{remarks}");
    assert!(remarks.contains("after: completed 0 from-the-engine") && remarks.contains("ended with status 3"), "{remarks}");

    // What is missing or wrong is named, and nothing is made.
    let refused = |form: Value, code: &str, part: &str| {
        let answer = lab.ask("POST", "/v1/jobs", form.clone());
        let said = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(answer.status >= 400 && said.contains(code) && said.contains(part), "{form}: {said}");
    };
    refused(json!({ "agent_id": "t", "profile": "look" }), "USAGE", "place");
    refused(json!({ "agent_id": "t", "profile": "look", "prompt_vars": { "place": [1] } }), "USAGE", "`place`: it must be a string");
    refused(json!({ "agent_id": "t", "profile": "nothing", "prompt": "x" }), "NOT_FOUND", "nothing");
    refused(json!({ "agent_id": "t" }), "USAGE", "task");

    // The request beats the profile.
    let done = lab.job_ends(json!({ "agent_id": "t", "profile": "look", "prompt": "the other harbour", "system_prompt": "Speak like a fish.", "allowed_tools": ["Read"] }));
    let last = asked(&server).pop().expect("a request");
    assert_eq!(done["status"], "completed", "{done}");
    assert!(last.system.contains("like a fish") && last.tools.iter().any(|t| t == "read") && !last.tools.iter().any(|t| t == "bash"));
}

/// A hook that fails stops the job before its engine, and the hook after it sees that.
#[test]
fn a_hook_that_fails_fails_its_job() {
    let (lab, server) = Lab::with_model(vec![rule("turns", vec![shell("true"); 9])]);
    lab.keep(
        "profile",
        "broken",
        "[hooks]\npre = \"echo it is broken >&2; exit 4\"\npost = \"echo post: $JOB_STATUS $JOB_EXIT_CODE $JOB_ERROR_CODE\"\n",
    );
    let done = lab.job_ends(json!({ "agent_id": "t", "profile": "broken", "prompt": "go", "retries": 0 }));
    assert_eq!((&done["status"], &done["code"]), (&json!("failed"), &json!("HOOK_FAILED")), "{done}");
    assert!(done["error"].as_str().is_some_and(|e| e.contains("status 4") && e.contains("it is broken")), "{done}");
    assert!(lab.remarks(&done).contains("post: failed 1 HOOK_FAILED"), "{}", lab.remarks(&done));
    assert!(asked(&server).is_empty(), "the engine did not start");

    // Rounds are counted, and an engine that cannot be held to something says so before it starts.
    let done = lab.job_ends(json!({ "agent_id": "t", "prompt": "many turns", "max_turns": 3, "retries": 0 }));
    assert_eq!(done["status"], "failed", "{done}");
    assert_eq!(asked(&server).len(), 3);
    let done = lab.job_ends(json!({ "agent_id": "t", "prompt": "go", "mcp_config": { "x": { "command": "x" } }, "retries": 0 }));
    assert!(done["status"] == "failed" && done["error"].as_str().is_some_and(|e| e.contains("mini") && e.contains("mcp_config")), "{done}");
}

/// The profiles that ship run as they are, with no network at all.
#[test]
fn every_shipped_profile_works() {
    let lab = Lab::new();
    let rules = vec![
        rule(
            "tides",
            vec![Say::Tool { name: "web_search".to_owned(), input: json!({ "query": "tides" }) }, text("{\"summary\": \"high\"}")],
        ),
        rule("Review the repository", vec![shell("git log --format=%s; ls"), text("{\"score\": 90}")]),
        rule("say hello", vec![text("hello")]),
    ];
    let server = lab.model(Script { key: Some(KEY.to_owned()), rules, ..Script::default() });
    lab.connect("anthropic", &server);
    let repo = lab.path("repos").join("project");
    std::fs::create_dir_all(&repo).expect("make");
    let git = |args: &[&str]| {
        let done = std::process::Command::new("git")
            .args(["-c", "user.name=t", "-c", "user.email=t@example.com"])
            .args(args)
            .current_dir(&repo)
            .output();
        assert!(done.expect("git").status.success(), "{args:?}");
    };
    git(&["init", "-q", "-b", "main"]);
    std::fs::write(repo.join("main.txt"), "text").expect("write");
    git(&["add", "."]);
    git(&["commit", "-q", "-m", "the first of the project"]);
    lab.run(&["config", "set", "jobs.repos", &format!("[\"{}\"]", lab.path("repos").display())]).succeeds();
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();

    // Without its tools a researcher would make things up: it does not begin.
    let question = json!({ "agent_id": "t", "profile": "researcher", "prompt_vars": { "query": "When are the tides?" } });
    let refused = lab.ask("POST", "/v1/jobs", question.clone()).refused(409, "CONFLICT");
    let (message, hint) = (refused["error"]["message"].to_string(), refused["error"]["hint"].to_string());
    assert!(message.contains("`web`") && message.contains("no host is named"), "{refused}");
    assert!(hint.contains("lazaret config set plugins.web.hosts") && hint.contains("plugins.web.search_url"), "{refused}");
    assert!(lab.run(&["doctor"]).out.contains("config set plugins.web.hosts"), "the doctor does not tell");
    lab.run(&["config", "set", "plugins.web.hosts", "[\"127.0.0.1:9\"]"]).succeeds();
    lab.run(&["plugin", "reload", "web"]).succeeds();

    let done = lab.job_ends(json!({ "agent_id": "t", "prompt": "say hello" }));
    assert_eq!((&done["status"], &done["result"]), (&json!("completed"), &json!("hello")), "{done}");
    let first = asked(&server).pop().expect("a request");
    assert!(
        first.system.contains("# This job") && !first.tools.iter().any(|t| t.starts_with("web_")),
        "{}: {:?}",
        first.system,
        first.tools
    );

    let done = lab.job_ends(question);
    assert_eq!((&done["status"], &done["result"]), (&json!("completed"), &json!({ "summary": "high" })), "{done}");
    let last = asked(&server).pop().expect("a request");
    assert!(last.tools.iter().any(|t| t == "web_search") && last.tools.iter().any(|t| t == "web_fetch"), "{:?}", last.tools);
    assert!(last.whole.contains("Read at least 3 sources"), "{}", last.whole);

    let done = lab.job_ends(json!({ "agent_id": "t", "profile": "code-review", "repo": repo }));
    assert_eq!((&done["status"], &done["result"]), (&json!("completed"), &json!({ "score": 90 })), "{done}");
    assert!(asked(&server).pop().expect("a request").whole.contains("the first of the project"), "the repository lies there");
}

/// The researcher finds, reads and answers, with a search service and pages of its own.
#[test]
fn a_researcher_searches_and_reads() {
    let pages = Pages::start(None, |seen| {
        let host = seen.header("host").unwrap_or_default();
        match seen.target.as_str() {
            path if path.starts_with("/search?") => {
                let found = json!({ "title": "Tide tables", "url": format!("http://{host}/tides"), "content": "when it ebbs" });
                Page::json(200, &json!({ "results": [found] }))
            }
            "/tides" => Page::html("<title>Tides</title><p>It ebbs at eleven.</p>"),
            _ => Page::html("nothing"),
        }
    });
    let at = format!("127.0.0.1:{}", pages.port);
    let tool = |name: &str, input: Value| Say::Tool { name: name.to_owned(), input };
    let rules = vec![rule(
        "When are the tides",
        vec![
            tool("web_search", json!({ "query": "tides of the harbour" })),
            tool("web_fetch", json!({ "url": format!("http://{at}/tides") })),
            text("{\"summary\": \"at eleven\"}"),
        ],
    )];
    let lab = Lab::new();
    let server = lab.model(Script { key: Some(KEY.to_owned()), rules, ..Script::default() });
    lab.connect("anthropic", &server);
    for (key, value) in [
        ("egress.private_ok", "[\"127.0.0.1\"]".to_owned()),
        ("plugins.web.hosts", format!("[\"{at}\"]")),
        ("plugins.web.search", "searxng".to_owned()),
        ("plugins.web.search_url", format!("http://{at}")),
    ] {
        lab.run(&["config", "set", key, &value]).succeeds();
    }
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    let done = lab.job_ends(json!({ "agent_id": "t", "profile": "researcher", "prompt_vars": { "query": "When are the tides?" } }));
    assert_eq!((&done["status"], &done["result"]), (&json!("completed"), &json!({ "summary": "at eleven" })), "{done}");
    let last = asked(&server).pop().expect("a request").whole;
    assert!(last.contains("Tide tables") && last.contains("It ebbs at eleven."), "{last}");
    let targets: Vec<String> = pages.seen().into_iter().map(|seen| seen.target).collect();
    assert_eq!(targets.len(), 2, "{targets:?}");
}

/// A change is a new version; what was there before can be seen and come back; who saw another version is told.
#[test]
fn texts_have_versions() {
    let lab = Lab::new();
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    let shipped = lab.ask("GET", "/v1/profiles/default", Value::Null).is(200);
    assert_eq!((&shipped["version"], &shipped["shipped"]), (&json!(1), &json!(true)));
    let put = |content: &str, version: Value| lab.ask("PUT", "/v1/profiles/default", json!({ "content": content, "version": version }));
    assert_eq!(put("[agent]\ndescription = \"mine\"\n", json!(1)).is(200)["version"], 2);
    put("[agent]\n", json!(1)).refused(409, "CONFLICT");
    put("[agent]\nmax_turns = 1000\n", json!(2)).refused(422, "USAGE");
    let warned = put("[agent]\ncolour = \"red\"\n", json!(2)).is(200);
    assert_eq!(warned["warnings"], json!(["`agent.colour` means nothing here"]));
    let versions = lab.ask("GET", "/v1/profiles/default/versions", Value::Null).is(200);
    let numbers: Vec<u64> = versions["items"].as_array().expect("items").iter().filter_map(|v| v["version"].as_u64()).collect();
    assert_eq!(numbers, [3, 2, 1]);
    assert_eq!(lab.ask("GET", "/v1/profiles/default?version=2", Value::Null).is(200)["content"], "[agent]\ndescription = \"mine\"\n");
    lab.ask("GET", "/v1/profiles/default?version=9", Value::Null).refused(404, "NOT_FOUND");
    lab.ask("DELETE", "/v1/profiles/default", Value::Null).is(200);
    lab.ask("GET", "/v1/profiles/default", Value::Null).refused(404, "NOT_FOUND");
    lab.run(&["profile", "reset", "default"]).succeeds();
    let back = lab.ask("GET", "/v1/profiles/default", Value::Null).is(200);
    assert_eq!((&back["version"], &back["content"]), (&json!(5), &shipped["content"]));

    let checked =
        lab.ask("POST", "/v1/profiles/check", json!({ "content": "[prompt]\ntext = \"Hi {{ name }}\"", "prompt_vars": { "name": "you" } }));
    assert_eq!(checked.is(200)["prompt"], "Hi you");
    lab.ask("POST", "/v1/profiles/check", json!({ "content": "[prompt]\ntext = \"Hi {{ name }}\"", "prompt_vars": {} }))
        .refused(422, "USAGE");
    lab.ask("POST", "/v1/templates", json!({ "name": "bad", "content": "{{ \"x\" * 99999999 }}" })).refused(422, "USAGE");
    lab.ask("POST", "/v1/templates", json!({ "name": "../bad", "content": "x" })).refused(422, "USAGE");
    lab.ask("POST", "/v1/profiles", json!({ "name": "default", "content": "" })).refused(409, "CONFLICT");
}

/// The other server's clients find its paths and forms, with a token; another tenant's texts are not there.
#[test]
fn the_forms_of_the_server_of_jobs_answer_who_has_a_token() {
    let lab = Lab::new();
    let web = Web::start(&lab);
    let (one, _) = web.token("manage", Some("red"));
    let (other, _) = web.token("manage", Some("blue"));
    for path in ["/profiles", "/engines", "/configs", "/configs/profile/default", "/v1/profiles", "/v1/templates", "/v1/hooks"] {
        assert_eq!(web.ask("", "GET", path, Value::Null).status, 401, "{path}");
        assert_eq!(web.ask(&one, "GET", path, Value::Null).status, 200, "{path}");
    }
    let profiles = web.ask(&one, "GET", "/profiles", Value::Null).is(200);
    let researcher = profiles.as_array().expect("a list").iter().find(|p| p["name"] == "researcher").expect("shipped");
    assert_eq!(researcher["prompt_vars"]["query"]["required"], true);
    let engines = web.ask(&one, "GET", "/engines", Value::Null).is(200);
    assert!(engines.as_array().expect("a list").iter().any(|e| e["id"] == "mini" && e["available"] == true), "{engines}");
    let form = json!({ "name": "mine", "content": "[agent]\nid = \"mine\"\n", "description": "of red" });
    let made = web.ask(&one, "POST", "/configs/profile", form.clone()).is(201);
    assert_eq!((&made["type"], &made["description"]), (&json!("profile"), &json!("of red")));
    assert_eq!(web.ask(&one, "POST", "/configs/profile", form).status, 409);
    assert_eq!(web.ask(&one, "POST", "/configs/profile", json!({ "name": "x", "content": "[agent" })).status, 422);
    assert_eq!(web.ask(&one, "PUT", "/configs/profile/none", json!({ "content": "" })).status, 404);
    assert_eq!(web.ask(&other, "GET", "/configs/profile/mine", Value::Null).status, 404);
    assert_eq!(web.ask(&other, "DELETE", "/configs/profile/mine", Value::Null).status, 404);
    assert_eq!(web.ask(&other, "POST", "/v1/jobs", json!({ "agent_id": "t", "profile": "mine", "prompt": "x" })).status, 404);
    let name = "/configs/template/prompts/mine.md.j2";
    web.ask(&one, "POST", "/configs/template", json!({ "name": "prompts/mine.md.j2", "content": "{{ a }}" })).is(201);
    assert_eq!(web.ask(&one, "GET", name, Value::Null).is(200)["content"], "{{ a }}");
    assert_eq!(web.ask(&one, "PUT", name, json!({ "content": "{{ b }}" })).is(200)["content"], "{{ b }}");
    web.ask(&one, "DELETE", name, Value::Null).is(200);
    assert_eq!(web.ask(&one, "GET", name, Value::Null).status, 404);
}

/// An engine that prints text is one file; a job keeps the description that it was accepted with.
#[test]
fn an_engine_is_a_file() {
    let lab = Lab::new();
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    let file = lab.path("shout.toml");
    std::fs::write(&file, "name = \"shout\"\ndescription = \"Shouts\"\ncommand = [\"/usr/bin/tr\", \"a-z\", \"A-Z\"]\n").expect("write");
    lab.run(&["engine", "add", file.to_str().expect("utf-8")]).succeeds();
    let done = lab.job_ends(json!({ "agent_id": "t", "engine": "shout", "prompt": "quiet words" }));
    assert_eq!((&done["status"], &done["result"]), (&json!("completed"), &json!("QUIET WORDS")), "{done}");
    let done = lab.job_ends(json!({ "agent_id": "t", "engine": "shout", "prompt": "x", "system_prompt": "y", "retries": 0 }));
    assert!(done["error"].as_str().is_some_and(|e| e.contains("shout") && e.contains("system_prompt")), "{done}");
    // In sections, with the prompt as the last argument and the result in a file.
    std::fs::write(
        &file,
        "[engine]\nid = \"writer\"\n[command]\nbinary = \"sh\"\nprompt_flag = \"\"\nstatic_args = [\"-c\", \"echo a remark; printf '{\\\"said\\\": \\\"%s\\\"}' \\\"$0\\\" > /workspace/out.json\"]\n[output]\nmode = \"file\"\npath = \"/workspace/out.json\"\nformat = \"json\"\n",
    )
    .expect("write");
    lab.run(&["engine", "add", file.to_str().expect("utf-8")]).succeeds();
    let done = lab.job_ends(json!({ "agent_id": "t", "engine": "writer", "prompt": "--words" }));
    assert_eq!((&done["status"], &done["result"]), (&json!("completed"), &json!({ "said": " --words" })), "{done}");
    lab.ask("POST", "/v1/jobs", json!({ "agent_id": "t", "engine": "whisper", "prompt": "x" })).refused(404, "ENGINE_MISSING");
    lab.run(&["engine", "remove", "shout"]).succeeds();
    lab.ask("POST", "/v1/jobs", json!({ "agent_id": "t", "engine": "shout", "prompt": "x" })).refused(404, "ENGINE_MISSING");
}

/// A directory of the other server is taken over as it is; a look changes nothing; a second time nothing is new.
#[test]
fn a_directory_of_the_other_server_is_taken_over() {
    let (lab, server) = Lab::with_model(vec![rule("ships", vec![text("two ships")])]);
    let dir = lab.path("other");
    let write = |path: &str, text: &str| {
        let path = dir.join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("make");
        std::fs::write(path, text).expect("write");
    };
    write(
        "profiles/counter.toml",
        "[agent]\nid = \"counter\"\nmodel = \"claude-opus-4-6\"\n[prompt]\ntemplate = \"prompts/counter.md.j2\"\n[prompt.variables]\nwhat = \"ships\"\n[hooks]\npre = \"ready.sh\"\n",
    );
    write("profiles/wrong.toml", "[agent]\nmax_turns = 0\n");
    write("templates/prompts/counter.md.j2", "Count the {{ what }}{{ not_there }}.");
    write("templates/claude-md/base.md.j2", "{% if role %}{{ role }}{% endif %}");
    write("hooks/ready.sh", "#!/bin/sh\necho ready\n");
    write("engines/claude-code.toml", "[engine]\nid = \"claude-code\"\n[command]\nbinary = \"claude\"\n");
    write("engines/shout.toml", "[engine]\nid = \"shout\"\n[command]\nbinary = \"cat\"\n");
    write(".env", "POSTGRES_PASSWORD=not-for-anybody\nMAX_CONCURRENT_JOBS=5000\nJOB_TTL_HOURS=48\nOPENAI_API_KEY=sk-not-imported\n");
    let path = dir.to_str().expect("utf-8");
    let look = lab.run(&["import", "parpaing", path, "--dry-run", "--json"]).ends_with(1);
    assert!(!look.out.contains("not-for-anybody") && !look.out.contains("sk-not-imported"), "{}", look.out);
    lab.ask("GET", "/v1/profiles/counter", Value::Null).refused(404, "NOT_FOUND");
    let ran = lab.run(&["import", "parpaing", path, "--json"]).ends_with(1);
    let outcome = |out: &str, name: &str| {
        let all = out.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        all.filter(|t| t["name"] == name).map(|t| t["outcome"].as_str().unwrap_or_default().to_owned()).collect::<String>()
    };
    for (name, expect) in [
        ("counter", "new"),
        ("wrong", "wrong"),
        ("prompts/counter.md.j2", "new"),
        ("ready.sh", "new"),
        ("claude-code", "left out"),
        ("shout", "new"),
        ("MAX_CONCURRENT_JOBS", "set"),
        ("POSTGRES_PASSWORD", "left out"),
        ("OPENAI_API_KEY", "left out"),
    ] {
        assert_eq!(outcome(&ran.out, name), expect, "{name}: {}", ran.out);
        assert_eq!(outcome(&look.out, name), expect, "{name}: {}", look.out);
    }
    assert_eq!(lab.run(&["config", "get", "jobs.running_max"]).succeeds().out.trim(), "100");
    assert_eq!(lab.run(&["config", "get", "jobs.ttl"]).succeeds().out.trim(), "48h");
    let done = lab.job_ends(json!({ "agent_id": "t", "engine": "mini", "profile": "counter" }));
    assert_eq!((&done["status"], &done["result"]), (&json!("completed"), &json!("two ships")), "{done}");
    assert!(asked(&server)[0].whole.contains("Count the ships."), "{}", asked(&server)[0].whole);
    assert!(lab.remarks(&done).contains("ready"), "{}", lab.remarks(&done));
    let again = lab.run(&["import", "parpaing", path, "--json"]).ends_with(1);
    assert_eq!(outcome(&again.out, "counter"), "same", "{}", again.out);
}
