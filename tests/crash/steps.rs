//! What is asked of sessions, envs, agents, tokens and tools beside their turns, with a daemon that dies over it: asked
//! again it comes to the same, and nothing is left that no row names.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::client::{Connection, Reply};
use testkit::model_server::{ModelServer, Rule, Say, Script};

use crate::scene::{self, PATIENCE};
use crate::support::Lab;
use crate::{load, log, world};

/// How often it is looked whether a turn is over.
const STEP: Duration = Duration::from_millis(10);
/// What a message holds over which a person is asked.
const ASKS: &str = "ask me";

/// A home with a session of two turns.
pub(crate) struct Stage {
    lab: Lab,
    server: ModelServer,
    socket: PathBuf,
    session: String,
}

/// Something that is asked, and what must be so when it was asked until it was answered.
pub(crate) struct Step {
    /// What must be there before.
    before: fn(&Stage),
    /// What is asked over which the daemon dies.
    ask: fn(&Stage) -> std::io::Result<Reply>,
    /// Codes with which a second request may be refused because the first one came through.
    done: &'static [&'static str],
    /// What is so in the end.
    after: fn(&Stage, &str),
}

fn nothing(_: &Stage) {}

/// Everything that is tried so, by name.
pub(crate) const UNDO: Step = Step {
    before: nothing,
    ask: |stage| stage.ask("POST", &format!("/v1/sessions/{}/undo", stage.session), Some(json!({ "to": 1 }))),
    done: &[],
    after: |stage, about| {
        assert_eq!(stage.session()["head"], 1, "{about}");
        // The second turn's line is gone, and a third one writes its own.
        assert_eq!(stage.turn("count"), "The tool printed: 2", "{about}");
    },
};
pub(crate) const FORK: Step = Step {
    before: nothing,
    ask: |stage| stage.ask("POST", &format!("/v1/sessions/{}/fork", stage.session), Some(json!({ "at": 1 }))),
    done: &[],
    after: |stage, about| {
        let all = stage.get("/v1/sessions");
        let forks: Vec<&Value> = all["items"].as_array().expect("items").iter().filter(|s| s["parent"]["turn"] == 1).collect();
        // A fork whose making was not acknowledged may be there: it is whole.
        assert!((1..=2).contains(&forks.len()), "{about}: {all}");
        for fork in forks {
            let id = fork["id"].as_str().expect("an id");
            assert_eq!(stage.turn_of(id, "count"), "The tool printed: 2", "{about}");
        }
        assert_eq!(stage.turn("count"), "The tool printed: 3", "{about}: the first one goes on as it was");
    },
};
pub(crate) const ENV_CREATE: Step = Step {
    before: nothing,
    ask: |stage| stage.ask("POST", "/v1/envs", Some(json!({ "name": "one" }))),
    done: &["CONFLICT"],
    after: |stage, about| {
        assert_eq!(stage.get("/v1/envs")["items"].as_array().map(Vec::len), Some(1), "{about}");
        let member = stage.make(json!({ "engine": "mini", "model": "claude-sonnet-4-5", "env": "one" }));
        assert_eq!(stage.turn_of(&member, "count"), "The tool printed: 1", "{about}");
    },
};
pub(crate) const ENV_SAVE: Step = Step {
    before: nothing,
    ask: |stage| stage.ask("POST", "/v1/envs", Some(json!({ "name": "one", "session_id": stage.session }))),
    done: &["CONFLICT"],
    after: |stage, about| {
        assert_eq!(stage.session()["env"], "one", "{about}");
        assert_eq!(stage.turn("count"), "The tool printed: 3", "{about}");
    },
};
pub(crate) const ENV_UPDATE: Step = Step {
    before: |stage| drop(stage.good("POST", "/v1/envs", json!({ "name": "one" }))),
    ask: |stage| stage.ask("PATCH", "/v1/envs/one", Some(json!({ "core_memory": "remember", "name": "other" }))),
    done: &[],
    after: |stage, about| {
        let env = stage.get("/v1/envs/one");
        assert_eq!((&env["core_memory"], &env["name"]), (&"remember".into(), &"other".into()), "{about}");
    },
};
pub(crate) const ENV_DELETE: Step = Step {
    before: |stage| {
        drop(stage.good("POST", "/v1/envs", json!({ "name": "one" })));
        let member = stage.make(json!({ "engine": "mini", "model": "claude-sonnet-4-5", "env": "one" }));
        stage.turn_of(&member, "count");
    },
    ask: |stage| stage.ask("DELETE", "/v1/envs/one?force=true", None),
    done: &["NOT_FOUND"],
    after: |stage, about| assert_eq!(stage.get("/v1/envs")["items"].as_array().map(Vec::len), Some(0), "{about}"),
};
pub(crate) const ARCHIVE: Step = Step {
    before: nothing,
    ask: |stage| stage.ask("POST", &format!("/v1/sessions/{}/archive", stage.session), None),
    done: &[],
    after: |stage, about| {
        assert_eq!(stage.session()["state"], "archived", "{about}");
        drop(stage.good("POST", &format!("/v1/sessions/{}/unarchive", stage.session), Value::Null));
        assert_eq!(stage.turn("count"), "The tool printed: 3", "{about}: with its files");
    },
};
pub(crate) const DELETE: Step = Step {
    before: nothing,
    ask: |stage| stage.ask("DELETE", &format!("/v1/sessions/{}", stage.session), None),
    done: &["NOT_FOUND"],
    after: |stage, about| assert_eq!(stage.get("/v1/sessions")["items"].as_array().map(Vec::len), Some(0), "{about}"),
};
pub(crate) const AGENT_PUT: Step = Step {
    before: nothing,
    ask: |stage| stage.ask("POST", "/v1/agents", Some(json!({ "name": "anna", "instructions": "be kind" }))),
    done: &["CONFLICT"],
    after: |stage, about| assert_eq!(stage.get("/v1/agents/anna")["instructions"], "be kind", "{about}"),
};
pub(crate) const CONFIG_PUT: Step = Step {
    before: nothing,
    ask: |stage| stage.ask("POST", "/v1/profiles", Some(json!({ "name": "mine", "content": "[agent]\nmax_turns = 3\n" }))),
    done: &["CONFLICT"],
    after: |stage, about| {
        let there = stage.get("/v1/profiles/mine");
        assert_eq!((&there["version"], &there["content"]), (&json!(1), &json!("[agent]\nmax_turns = 3\n")), "{about}");
    },
};
pub(crate) const AGENT_REMOVE: Step = Step {
    before: |stage| drop(stage.good("POST", "/v1/agents", json!({ "name": "anna" }))),
    ask: |stage| stage.ask("DELETE", "/v1/agents/anna", None),
    done: &["NOT_FOUND"],
    after: |stage, about| assert_eq!(stage.ask("GET", "/v1/agents/anna", None).map(|r| r.status).ok(), Some(404), "{about}"),
};
pub(crate) const TOKEN_CREATE: Step = Step {
    before: nothing,
    ask: |stage| stage.ask("POST", "/v1/tokens", Some(json!({ "name": "mine", "scope": "read" }))),
    done: &[],
    after: |stage, about| {
        // One that nobody was told may stand there: it opens nothing, and can be revoked.
        let there = stage.get("/v1/tokens")["items"].as_array().map_or(0, Vec::len);
        assert!((1..=2).contains(&there), "{about}: {there}");
    },
};
pub(crate) const TOKEN_REVOKE: Step = Step {
    before: |stage| drop(stage.good("POST", "/v1/tokens", json!({ "name": "mine", "scope": "read" }))),
    ask: |stage| {
        let all = stage.ask("GET", "/v1/tokens", None)?.json();
        stage.ask("DELETE", &format!("/v1/tokens/{}", all["items"][0]["id"].as_str().unwrap_or_default()), None)
    },
    done: &["NOT_FOUND", "CONFLICT"],
    after: |stage, about| assert!(stage.get("/v1/tokens")["items"][0]["revoked"].is_u64(), "{about}"),
};
pub(crate) const TENANT_CHANGE: Step = Step {
    before: nothing,
    ask: |stage| stage.ask("POST", "/v1/tenants", Some(json!({ "name": "crew", "quota": { "sessions": 3 } }))),
    done: &["CONFLICT"],
    after: |stage, about| assert_eq!(stage.get("/v1/tenants/crew")["quota"], json!({ "sessions": 3 }), "{about}"),
};
pub(crate) const BUDGET_SET: Step = Step {
    before: nothing,
    ask: |stage| stage.ask("PUT", "/v1/budgets/all@day", Some(json!({ "limit_usd": 2.5, "policy": "fail" }))),
    done: &[],
    after: |stage, about| assert_eq!(stage.get("/v1/budgets")["items"][0]["limit_usd"], 2.5, "{about}"),
};
pub(crate) const TOOL_INSTALL: Step = Step {
    before: nothing,
    ask: put_tool,
    done: &[],
    after: |stage, about| {
        assert_eq!(stage.get("/v1/tools")["items"].as_array().map(Vec::len), Some(1), "{about}");
        assert_eq!(packages(stage), 1, "{about}: nothing but the package that is in force");
    },
};
pub(crate) const TOOL_REMOVE: Step = Step {
    before: |stage| drop(put_tool(stage).expect("a reply").good().expect("installed")),
    ask: |stage| stage.ask("DELETE", "/v1/tools?name=file:hello", None),
    done: &["NOT_FOUND"],
    after: |stage, about| {
        assert_eq!(stage.get("/v1/tools")["items"].as_array().map(Vec::len), Some(0), "{about}");
        assert_eq!(packages(stage), 0, "{about}");
    },
};
pub(crate) const LAYER_INSTALL: Step = Step {
    before: |stage| drop(stage.good("POST", "/v1/agents", json!({ "name": "anna" }))),
    ask: put_own_tool,
    done: &[],
    after: |stage, about| {
        assert_eq!(stage.get("/v1/tools?agent=anna")["items"].as_array().map(Vec::len), Some(1), "{about}");
        assert_eq!((own_packages(stage), packages(stage)), (Some(1), 0), "{about}: nothing but the package that is in force");
    },
};
pub(crate) const LAYER_REMOVE: Step = Step {
    before: with_own_tool,
    ask: |stage| stage.ask("DELETE", "/v1/tools?name=file:hello&agent=anna", None),
    done: &["NOT_FOUND"],
    after: |stage, about| {
        assert_eq!(stage.get("/v1/tools?agent=anna")["items"].as_array().map(Vec::len), Some(0), "{about}");
        assert_eq!(own_packages(stage), Some(0), "{about}");
    },
};
pub(crate) const LAYER_DROP: Step = Step {
    before: with_own_tool,
    ask: |stage| stage.ask("DELETE", "/v1/agents/anna", None),
    done: &["NOT_FOUND"],
    after: |stage, about| {
        assert_eq!(own_packages(stage), None, "{about}: its tools went with it");
        drop(stage.good("POST", "/v1/agents", json!({ "name": "anna" })));
        assert_eq!(stage.get("/v1/tools?agent=anna")["items"].as_array().map(Vec::len), Some(0), "{about}: it is another one");
    },
};
pub(crate) const PLUGIN_INSTALL: Step = Step {
    before: nothing,
    ask: |stage| put_plugin(stage, "1", false),
    done: &["CONFLICT"],
    after: |stage, about| has_plugin(stage, "1", about),
};
pub(crate) const PLUGIN_UPDATE: Step = Step {
    before: |stage| drop(put_plugin(stage, "1", false).expect("a reply").good().expect("installed")),
    ask: |stage| put_plugin(stage, "2", true),
    done: &[],
    after: |stage, about| has_plugin(stage, "2", about),
};
pub(crate) const SKILL_PUT: Step = Step {
    before: nothing,
    ask: |stage| put_skill(stage, "one", ""),
    done: &["CONFLICT"],
    after: |stage, about| has_skill(stage, "one", 1, about),
};
pub(crate) const SKILL_UPDATE: Step = Step {
    before: |stage| drop(put_skill(stage, "one", "").expect("a reply").good().expect("in force")),
    ask: |stage| {
        // Said again after it came through, it is the same version: what is in force is not replaced by itself.
        if stage.ask("GET", "/v1/skills/demo", None)?.json()["version"] == 2 {
            return stage.ask("GET", "/v1/skills/demo", None);
        }
        put_skill(stage, "two", "&replaces=demo")
    },
    done: &[],
    after: |stage, about| has_skill(stage, "two", 2, about),
};
pub(crate) const SKILL_REMOVE: Step = Step {
    before: |stage| drop(put_skill(stage, "one", "").expect("a reply").good().expect("in force")),
    ask: |stage| stage.ask("DELETE", "/v1/skills/demo", None),
    done: &["NOT_FOUND"],
    after: |stage, about| {
        assert_eq!(stage.ask("GET", "/v1/skills/demo", None).map(|r| r.status).ok(), Some(404), "{about}");
        drop(put_skill(stage, "two", "").expect("a reply").good().expect("in force"));
        has_skill(stage, "two", 1, about);
    },
};
pub(crate) const AGENT_TEMPLATE: Step = Step {
    before: nothing,
    ask: |stage| {
        let order = json!({ "template": "assistant", "variables": { "owner": "Ann" } });
        let plan = stage.ask("POST", "/v1/agents/anna/plan", Some(order.clone()))?;
        if plan.status != 200 {
            return Ok(plan);
        }
        let hash = plan.json()["hash"].clone();
        stage.ask("POST", "/v1/agents/anna/apply", Some(json!({ "order": order, "hash": hash })))
    },
    // The task was made, and was not noted yet.
    done: &["CONFLICT"],
    after: |stage, about| {
        assert_eq!(stage.get("/v1/agents/anna")["skills"], json!(["daily-briefing"]), "{about}");
        let tasks = stage.get("/v1/tasks")["items"].as_array().map_or(0, Vec::len);
        assert_eq!(tasks, 1, "{about}");
    },
};
pub(crate) const SECRET_USED: Step = Step {
    before: |stage| drop(stage.good("PUT", "/v1/secrets/MINE", json!({ "value": "a-value-that-is-kept" }))),
    // What was used since the last time is kept before it is shown.
    ask: |stage| {
        stage.ask("POST", "/v1/bound", Some(json!({ "name": "MINE", "host": "h.example" })))?;
        stage.ask("GET", "/v1/secrets", None)
    },
    done: &[],
    after: |stage, about| {
        let all = stage.get("/v1/secrets")["items"].as_array().cloned().unwrap_or_default();
        assert!(all.iter().any(|secret| secret["name"] == "MINE"), "{about}: {all:?}");
    },
};
pub(crate) const PLUGIN_REMOVE: Step = Step {
    before: |stage| drop(put_plugin(stage, "1", false).expect("a reply").good().expect("installed")),
    ask: |stage| stage.ask("DELETE", "/v1/plugins/demo", None),
    done: &["NOT_FOUND"],
    after: |stage, about| {
        assert_eq!(stage.ask("GET", "/v1/plugins/demo", None).map(|r| r.status).ok(), Some(404), "{about}");
        assert_eq!(plugin_folders(stage), Vec::<String>::new(), "{about}");
        // One of the same name is new: nothing that was approved before counts.
        drop(put_plugin(stage, "1", false).expect("a reply").good().expect("installed"));
        has_plugin(stage, "1", about);
    },
};
pub(crate) const IMPORT: Step = Step {
    before: |stage| {
        let archive = stage.ask("GET", &format!("/v1/sessions/{}/export", stage.session), None).expect("an archive");
        assert_eq!(archive.status, 200, "{}", String::from_utf8_lossy(&archive.body));
        std::fs::write(stage.lab.path("archive.tar"), archive.body).expect("write");
    },
    ask: |stage| {
        let archive = std::fs::read(stage.lab.path("archive.tar"))?;
        stage.open()?.put("POST", "/v1/sessions/import", "application/x-tar", &archive)
    },
    done: &[],
    after: |stage, about| {
        let all = stage.get("/v1/sessions");
        let others: Vec<&str> =
            all["items"].as_array().expect("items").iter().filter_map(|s| s["id"].as_str()).filter(|id| *id != stage.session).collect();
        assert!((1..=2).contains(&others.len()), "{about}: {all}");
        for id in others {
            assert_eq!(stage.turn_of(id, "count"), "The tool printed: 3", "{about}");
        }
    },
};
pub(crate) const RETIRE: Step = Step {
    before: |stage| drop(stage.lab.run(&["config", "set", "sessions.checkpoints_keep", "1"]).succeeds()),
    ask: |stage| {
        let path = format!("/v1/sessions/{}/messages", stage.session);
        let said = stage.open()?.ask("POST", &path, &[("Idempotency-Key", "third")], Some(&json!({ "text": "count" })))?;
        stage.wait(&stage.session, 3)?;
        // What is retired is retired after the answer.
        let began = Instant::now();
        while stage.session_or()?["state"] != "idle" {
            assert!(began.elapsed() < PATIENCE, "its turn is not over");
            std::thread::sleep(STEP);
        }
        Ok(said)
    },
    done: &[],
    after: |stage, about| {
        assert_eq!(stage.turn("count"), "The tool printed: 4", "{about}");
        let refused = stage.ask("POST", &format!("/v1/sessions/{}/undo", stage.session), Some(json!({ "to": 1 }))).expect("a reply");
        assert_eq!(refused.code(), "CHECKPOINT_MISSING", "{about}");
    },
};
pub(crate) const QUESTION: Step = Step {
    before: nothing,
    ask: |stage| {
        let path = format!("/v1/sessions/{}", stage.session);
        stage.open()?.ask("POST", &format!("{path}/messages"), &[("Idempotency-Key", "asks")], Some(&json!({ "text": ASKS })))?.good()?;
        let began = Instant::now();
        while stage.session_or()?["state"] != "waiting" {
            // It was answered before the daemon died.
            let log = stage.ask("GET", &format!("{path}/events?limit=1000"), None)?.good()?;
            if log["events"].as_array().is_some_and(|all| all.iter().filter(|e| e["type"] == "result").count() == 3) {
                return stage.ask("GET", &path, None);
            }
            assert!(began.elapsed() < PATIENCE, "nothing is asked: {log:#}");
            std::thread::sleep(STEP);
        }
        let answered = stage.ask("POST", &format!("{path}/answer"), Some(json!({ "text": "blue" })))?;
        stage.wait(&stage.session, 3)?;
        Ok(answered)
    },
    done: &[],
    after: |stage, about| {
        let mut all = stage.events(&stage.session);
        all.iter_mut().for_each(|event| event["level"] = Value::Null);
        let of = |kind: &str| all.iter().filter(|e| e["type"] == kind).count();
        assert_eq!((of("question"), of("result")), (1, 3), "{about}: {all:#?}");
        assert!(all.last().is_some_and(|end| end["text"].as_str().is_some_and(|t| t.contains("blue"))), "{about}: {all:#?}");
    },
};

/// What the agent notes over `note it`.
const NOTE: &str = "always call the quarry granite";
/// What a person notes.
const OWN_NOTE: &str = "the owner calls it marble";

/// Asks a session something once, however often it is asked, and waits until it has so many results.
fn once(stage: &Stage, session: &str, text: &str, results: usize) -> std::io::Result<Reply> {
    let path = format!("/v1/sessions/{session}/messages");
    let asked = stage.open()?.ask("POST", &path, &[("Idempotency-Key", text)], Some(&json!({ "text": text })))?;
    stage.wait(session, results)?;
    Ok(asked)
}

fn memories(stage: &Stage) -> Vec<Value> {
    stage.get("/v1/memory?limit=100")["items"].as_array().cloned().unwrap_or_default()
}

fn own_note(stage: &Stage) -> std::io::Result<Reply> {
    stage.ask("POST", "/v1/memory", Some(json!({ "type": "fact", "content": OWN_NOTE })))
}

fn added(stage: &Stage) {
    own_note(stage).and_then(Reply::good).expect("a memory");
}

/// The first memory of the list, or one that is not there.
fn first_memory(stage: &Stage) -> std::io::Result<String> {
    let page = stage.ask("GET", "/v1/memory", None)?.good()?;
    let none = format!("mem_{}", "0".repeat(32));
    Ok(format!("/v1/memory/{}", page["items"][0]["id"].as_str().unwrap_or(&none)))
}

pub(crate) const MEMORY_STORE: Step = Step {
    before: nothing,
    ask: |stage| once(stage, &stage.session, "note it", 3),
    done: &[],
    after: |stage, about| {
        let all = memories(stage);
        assert_eq!(all.len(), 1, "{about}: once, however often the call was made: {all:#?}");
        assert_eq!((&all[0]["content"], &all[0]["waiting"]), (&NOTE.into(), &true.into()), "{about}");
    },
};
pub(crate) const MEMORY_FORGET: Step = Step {
    before: |stage| drop(once(stage, &stage.session, "note it", 3).expect("a turn")),
    ask: |stage| once(stage, &stage.session, "forget it", 4),
    done: &[],
    after: |stage, about| {
        let all = memories(stage);
        assert_eq!((all.len(), &all[0]["state"]), (1, &"deleted".into()), "{about}: {all:#?}");
        drop(stage.good("POST", &format!("/v1/sessions/{}/undo", stage.session), json!({ "to": 3 })));
        assert_eq!(memories(stage)[0]["state"], "live", "{about}: it is back without the turn");
    },
};
pub(crate) const MEMORY_ADD: Step = Step {
    before: nothing,
    ask: own_note,
    done: &[],
    // One that nobody was told of may be there.
    after: |stage, about| assert!((1..=2).contains(&memories(stage).len()), "{about}"),
};
pub(crate) const MEMORY_CONFIRM: Step = Step {
    before: |stage| drop(once(stage, &stage.session, "note it", 3).expect("a turn")),
    ask: |stage| stage.ask("POST", &format!("{}/confirm", first_memory(stage)?), None),
    done: &[],
    after: |stage, about| assert!(memories(stage)[0]["confirmed"].is_u64(), "{about}"),
};
pub(crate) const MEMORY_REMOVE: Step = Step {
    before: added,
    ask: |stage| stage.ask("DELETE", &first_memory(stage)?, None),
    done: &["NOT_FOUND"],
    after: |stage, about| {
        assert_eq!(memories(stage).len(), 0, "{about}");
        assert_eq!(stage.get("/v1/memory?query=marble")["items"].as_array().map(Vec::len), Some(0), "{about}: nor is it found");
    },
};
pub(crate) const MEMORY_PURGE: Step = Step {
    before: added,
    ask: |stage| stage.ask("POST", "/v1/memory/purge", Some(json!({ "agent": "default", "all": true }))),
    done: &[],
    after: |stage, about| assert_eq!(memories(stage).len(), 0, "{about}"),
};
pub(crate) const MEMORY_TOLD: Step = Step {
    before: |stage| {
        added(stage);
        drop(stage.make(json!({ "engine": "mini", "model": "claude-sonnet-4-5" })));
    },
    ask: |stage| {
        let youngest = stage.ask("GET", "/v1/sessions", None)?.good()?;
        once(stage, youngest["items"][0]["id"].as_str().unwrap_or_default(), "count", 1)
    },
    done: &[],
    after: |stage, about| {
        let told = stage.server.requests().iter().filter(|r| String::from_utf8_lossy(&r.body).contains(OWN_NOTE)).count();
        assert!(told >= 2, "{about}: every request of the session says so: {told}");
    },
};

fn put_tool(stage: &Stage) -> std::io::Result<Reply> {
    stage.open()?.put("PUT", "/v1/tools/files/hello", "application/octet-stream", b"#!/bin/sh\necho hello\n")
}

/// The same for one agent.
fn put_own_tool(stage: &Stage) -> std::io::Result<Reply> {
    stage.open()?.put("PUT", "/v1/tools/files/hello?agent=anna", "application/octet-stream", b"#!/bin/sh\necho hello\n")
}

fn with_own_tool(stage: &Stage) {
    drop(stage.good("POST", "/v1/agents", json!({ "name": "anna" })));
    drop(put_own_tool(stage).expect("a reply").good().expect("installed"));
}

/// Directories of packages in the home's tools.
fn packages(stage: &Stage) -> usize {
    std::fs::read_dir(stage.lab.home().join("tools/.packages")).into_iter().flatten().flatten().count()
}

/// The same of that agent; `None` where it has no volume.
fn own_packages(stage: &Stage) -> Option<usize> {
    let volumes = std::fs::read_dir(stage.lab.home().join("agent-tools")).into_iter().flatten().flatten();
    let own = volumes.map(|entry| entry.path()).find(|path| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("anna@")))?;
    Some(std::fs::read_dir(own.join(".packages")).into_iter().flatten().flatten().count())
}

impl Stage {
    fn set() -> Self {
        let lab = Lab::new();
        let ask = Say::Tool { name: "ask_user".to_owned(), input: json!({ "question": "Which colour?", "options": ["red", "blue"] }) };
        let tool = |contains: &str, command: String| Rule {
            contains: contains.to_owned(),
            say: vec![Say::Shell(command), Say::Text("done".to_owned())],
        };
        let note = format!("ipc tool.invoke.memory_store '{}'", json!({ "type": "instruction", "content": NOTE }));
        let forget = "id=$(ipc tool.invoke.memory_search '{\"query\":\"granite\"}' | grep -o 'mem_[0-9a-f]*' | head -1); \
                      ipc tool.invoke.memory_delete \"{\\\"id\\\":\\\"$id\\\"}\"";
        let rules = vec![Rule { contains: ASKS.to_owned(), say: vec![ask] }, tool("note it", note), tool("forget it", forget.to_owned())];
        let server = lab.model(Script { command: "echo run >> runs; wc -l < runs".to_owned(), rules, ..Script::default() });
        lab.run(&["config", "set", "providers.anthropic.base_url", &server.url()]).succeeds();
        lab.run(&["config", "set", "providers.anthropic.keyless", "true"]).succeeds();
        lab.run(&["sandbox", "list"]).succeeds();
        let socket = lab.home().join("run").join(api::OWNER_SOCKET);
        let mut stage = Self { lab, server, socket, session: String::new() };
        stage.session = stage.make(json!({ "engine": "mini", "model": "claude-sonnet-4-5" }));
        for expected in ["The tool printed: 1", "The tool printed: 2"] {
            assert_eq!(stage.turn("count"), expected);
        }
        stage
    }

    fn open(&self) -> std::io::Result<Connection> {
        Connection::open(&self.socket, PATIENCE)
    }

    fn ask(&self, method: &str, path: &str, body: Option<Value>) -> std::io::Result<Reply> {
        self.open()?.ask(method, path, &[], body.filter(|b| !b.is_null()).as_ref())
    }

    fn good(&self, method: &str, path: &str, body: Value) -> Value {
        self.ask(method, path, Some(body)).and_then(Reply::good).unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    fn get(&self, path: &str) -> Value {
        self.good("GET", path, Value::Null)
    }

    fn session(&self) -> Value {
        self.get(&format!("/v1/sessions/{}", self.session))
    }

    fn session_or(&self) -> std::io::Result<Value> {
        self.ask("GET", &format!("/v1/sessions/{}", self.session), None)?.good()
    }

    fn make(&self, form: Value) -> String {
        self.good("POST", "/v1/sessions", form)["id"].as_str().expect("an id").to_owned()
    }

    fn events(&self, session: &str) -> Vec<Value> {
        self.get(&format!("/v1/sessions/{session}/events?limit=1000"))["events"].as_array().cloned().unwrap_or_default()
    }

    /// Waits until a session has so many results.
    fn wait(&self, session: &str, results: usize) -> std::io::Result<()> {
        let began = Instant::now();
        loop {
            let page = self.ask("GET", &format!("/v1/sessions/{session}/events?limit=1000"), None)?.good()?;
            let there = page["events"].as_array().map_or(0, |all| all.iter().filter(|e| e["type"] == "result").count());
            if there >= results {
                return Ok(());
            }
            assert!(began.elapsed() < PATIENCE, "a turn does not end: {page}");
            std::thread::sleep(STEP);
        }
    }

    fn turn(&self, text: &str) -> String {
        self.turn_of(&self.session, text)
    }

    /// Asks a session, and gives the text of its answer.
    fn turn_of(&self, session: &str, text: &str) -> String {
        let results = self.events(session).iter().filter(|e| e["type"] == "result").count();
        drop(self.good("POST", &format!("/v1/sessions/{session}/messages"), json!({ "text": text })));
        self.wait(session, results + 1).expect("a result");
        self.events(session).last().and_then(|end| Some(end["text"].as_str()?.trim().to_owned())).unwrap_or_default()
    }
}

impl Step {
    /// The daemon dies at a point over it.
    pub(crate) fn dies_at(&self, point: &str) {
        let stage = Stage::set();
        (self.before)(&stage);
        stage.lab.run(&["stop", "--grace", "0s"]).succeeds();
        let mut daemon = scene::daemon(&stage.lab, Some(point));
        let said = (self.ask)(&stage);
        scene::dies(&mut daemon, point);
        assert!(!matches!(&said, Ok(reply) if reply.status >= 500), "{point}: {said:?}");
        let before = world::traces(&stage.lab);
        stage.lab.run(&["sandbox", "list"]).succeeds();
        world::settles(&stage.lab, &before, point);
        let again = (self.ask)(&stage).unwrap_or_else(|error| panic!("{point}: asked again: {error}"));
        let code = again.code();
        let is_done = self.done.contains(&code.as_str()) || code == "NOT_FOUND" && self.ask as usize == QUESTION.ask as usize;
        assert!((200..300).contains(&again.status) || is_done, "{point}: {} {}", again.status, String::from_utf8_lossy(&again.body));
        (self.after)(&stage, point);
        // Whoever starts next sweeps what the second attempt left as well.
        stage.lab.run(&["stop", "--grace", "0s"]).succeeds();
        stage.lab.run(&["sandbox", "list"]).succeeds();
        world::ends(&stage.lab, point);
        log::read(&stage.lab, point);
        load::trees(&stage.lab, point);
    }
}

/// Sends a plugin whose tool gives its version.
fn put_plugin(stage: &Stage, version: &str, update: bool) -> std::io::Result<Reply> {
    let manifest = format!(
        "description = \"d\"\nversion = \"{version}\"\ncommand = [\"python3\", \"./server.py\"]\n[[tools]]\nname = \"version\"\n\
         description = \"d\"\nrisk = \"low\"\n[tools.arguments_schema]\ntype = \"object\"\nadditionalProperties = false\n"
    );
    let server = format!(
        "import json, sys\nfor line in sys.stdin:\n    m = json.loads(line)\n    if 'id' not in m: continue\n    r = {{'initialize': {{\
         'protocolVersion': '2025-06-18', 'capabilities': {{'tools': {{}}}}, 'serverInfo': {{'name': 's', 'version': '1'}}}}, 'tools/list': \
         {{'tools': [{{'name': 'version', 'inputSchema': {{'type': 'object'}}}}]}}, 'tools/call': {{'content': [{{'type': 'text', \
         'text': '{version}'}}]}}}}.get(m['method'], {{}})\n    print(json.dumps({{'jsonrpc': '2.0', 'id': m['id'], 'result': r}}), flush=True)\n"
    );
    let mut builder = tar::Builder::new(Vec::new());
    for (name, text) in [("manifest.toml", &manifest), ("server.py", &server)] {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(text.len() as u64);
        builder.append_data(&mut header, name, text.as_bytes())?;
    }
    let path = format!("/v1/plugins/demo?source=test&update={update}");
    stage.open()?.put("PUT", &path, "application/x-tar", &builder.into_inner()?)
}

fn put_skill(stage: &Stage, text: &str, query: &str) -> std::io::Result<Reply> {
    let text = format!("---\nname: demo\ndescription: a demonstration\n---\n{text}\n");
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(text.len() as u64);
    builder.append_data(&mut header, "SKILL.md", text.as_bytes())?;
    stage.open()?.put("POST", &format!("/v1/skills?source=test{query}"), "application/x-tar", &builder.into_inner()?)
}

/// The skill is in force whole, in this version, and can be laid out.
fn has_skill(stage: &Stage, text: &str, version: u64, about: &str) {
    let skill = stage.get("/v1/skills/demo");
    assert_eq!((&skill["version"], &skill["state"]), (&json!(version), &json!("ready")), "{about}: {skill}");
    let bytes = format!("---\nname: demo\ndescription: a demonstration\n---\n{text}\n").len();
    assert_eq!(skill["files"][0]["bytes"], json!(bytes), "{about}");
}

/// The plugin is there whole, in this version, and nothing of another one is.
fn has_plugin(stage: &Stage, version: &str, about: &str) {
    let called = stage.good("POST", "/v1/plugin-calls", json!({ "tool": "version" }));
    assert_eq!(called["result"], version, "{about}: {called}");
    assert_eq!(stage.get("/v1/plugins/demo")["plugin"]["version"], version, "{about}");
    assert_eq!(plugin_folders(stage), ["demo"], "{about}");
}

fn plugin_folders(stage: &Stage) -> Vec<String> {
    let entries = std::fs::read_dir(stage.lab.home().join("plugins"));
    entries.into_iter().flatten().flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}
