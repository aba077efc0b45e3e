//! `lazaret mcp`: an agent program on the host coordinates branch agents, and its user decides what is merged.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use crate::branches::{Project, commits, told};
use crate::support::{Lab, bounded};

/// A client of the server, that can ask its user or not.
struct Client {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    count: u64,
    /// What the user answers, and was asked.
    answer: Value,
    asked: Vec<String>,
}

impl Client {
    fn start(lab: &Lab, project: &Project, can_ask: bool) -> Self {
        Self::start_on(lab, &[project.repo()], can_ask)
    }

    /// One whose agents may work on several repositories.
    fn start_on(lab: &Lab, repos: &[&str], can_ask: bool) -> Self {
        let repos: Vec<&str> = repos.iter().flat_map(|repo| ["--repo", repo]).collect();
        let mut command = lab.command(&[&["mcp"], &repos[..]].concat());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("a server");
        let (input, output) = (child.stdin.take(), BufReader::new(child.stdout.take().expect("an output")));
        let mut client = Self { child, input, output, count: 0, answer: Value::Null, asked: Vec::new() };
        let capabilities = if can_ask { json!({"elicitation": {}}) } else { json!({}) };
        let about = json!({"protocolVersion": "2025-06-18", "capabilities": capabilities, "clientInfo": {"name": "test", "version": "1"}});
        assert_eq!(client.ask("initialize", about)["serverInfo"]["name"], "lazaret");
        client.say(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        client
    }

    fn say(&mut self, message: &Value) {
        let input = self.input.as_mut().expect("an input");
        input.write_all(format!("{message}\n").as_bytes()).expect("write");
    }

    /// A request's result; questions that come meanwhile are answered.
    #[track_caller]
    fn ask(&mut self, method: &str, params: Value) -> Value {
        self.count += 1;
        let id = self.count;
        let _bound = bounded(&self.child);
        self.say(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
        loop {
            let mut line = String::new();
            self.output.read_line(&mut line).expect("read");
            let message: Value = serde_json::from_str(&line).expect("JSON");
            if message["method"] == "elicitation/create" {
                self.asked.push(message["params"]["message"].as_str().expect("a question").to_owned());
                let answer = json!({"jsonrpc": "2.0", "id": message["id"], "result": self.answer});
                self.say(&answer);
            } else if message["id"] == id {
                return message["result"].clone();
            }
        }
    }

    /// What a tool gave.
    #[track_caller]
    fn tool(&mut self, name: &str, arguments: Value) -> Value {
        let result = self.ask("tools/call", json!({"name": name, "arguments": arguments}));
        assert_eq!(result["isError"], false, "{name}: {result}");
        result["structuredContent"].clone()
    }

    /// Why a tool gave nothing.
    #[track_caller]
    fn refused(&mut self, name: &str, arguments: Value) -> String {
        let result = self.ask("tools/call", json!({"name": name, "arguments": arguments}));
        assert_eq!(result["isError"], true, "{name}: {result}");
        result["content"][0]["text"].as_str().expect("a text").to_owned()
    }

    fn end(mut self) {
        drop(self.input.take());
        let _bound = bounded(&self.child);
        assert!(self.child.wait().expect("an end").success());
    }
}

/// Spawns an agent that commits a file, and waits for it.
#[track_caller]
fn spawned(client: &mut Client, branch: &str, task: &str) {
    client.tool("spawn_agent", json!({"branch": branch, "task": task, "type": "feature"}));
    over(client, branch);
}

/// Waits for an agent that does its work.
#[track_caller]
fn over(client: &mut Client, branch: &str) {
    loop {
        let waited = client.tool("wait_for_agents", json!({"branches": [branch], "seconds": 20}));
        if waited["exit"] != 4 {
            assert_eq!((&waited["exit"], &waited["items"][0]["state"]), (&json!(0), &json!("done")), "{waited}");
            return;
        }
    }
}

#[test]
fn a_coordinator_spawns_watches_and_merges_what_its_user_says_yes_to() {
    let lab = Lab::new();
    let project = Project::new(&lab, "coordinator");
    let mut client = Client::start(&lab, &project, true);
    let tools = client.ask("tools/list", json!({}))["tools"].clone();
    let names: Vec<&str> = tools.as_array().expect("tools").iter().filter_map(|tool| tool["name"].as_str()).collect();
    for name in ["spawn_agent", "list_agents", "agent_summary", "preview_merge", "merge_agent"] {
        assert!(names.contains(&name), "{names:?}");
    }
    let marker = lab.path("marker");
    let hostile = format!("\"quoted\" '$(touch {0})' `touch {0}`", marker.display());
    let task = format!("{hostile}\n{}", commits("made.txt", "made", "make it"));
    spawned(&mut client, "feat/one", &task);
    assert!(!marker.exists(), "a task is data");
    let listed = client.tool("list_agents", json!({}));
    assert_eq!(listed["items"][0]["branch"], "feat/one", "{listed}");
    let summary = client.tool("agent_summary", json!({"branch": "feat/one"}));
    assert!(summary.to_string().contains("feat/one"), "{summary}");
    let preview = client.tool("preview_merge", json!({"branches": ["feat/one"]}));
    assert_eq!(preview["items"][0]["alone"][0]["result"], "ready", "{preview}");

    // No is no, and so is everything that is not a yes.
    let before = project.git(&["rev-parse", "main"]);
    for answer in [json!({"action": "decline"}), json!({"action": "accept", "content": {"yes": false}}), json!({"action": "accept"})] {
        client.answer = answer;
        assert!(client.refused("merge_agent", json!({"branch": "feat/one"})).contains("said no"));
        assert_eq!(project.git(&["rev-parse", "main"]), before);
    }
    // A model's own yes is no argument.
    assert!(client.refused("merge_agent", json!({"branch": "feat/one", "yes": true})).contains("takes no `yes`"));
    assert_eq!(client.asked.len(), 3);
    client.answer = json!({"action": "accept", "content": {"yes": true}});
    let merged = client.tool("merge_agent", json!({"branch": "feat/one"}));
    assert_eq!(merged["items"][0]["result"], "merged", "{merged}");
    assert!(client.asked[3].contains("Merge feat/one at "), "{:?}", client.asked);
    assert_ne!(project.git(&["rev-parse", "main"]), before);
    client.end();
}

#[test]
fn a_client_that_cannot_ask_its_user_merges_nothing_and_learns_the_command() {
    let lab = Lab::new();
    let project = Project::new(&lab, "silent");
    let mut client = Client::start(&lab, &project, false);
    spawned(&mut client, "it's", &commits("made.txt", "made", "make it"));
    let before = project.git(&["rev-parse", "main"]);
    let said = client.refused("merge_agent", json!({"branch": "it's"}));
    assert_eq!((project.git(&["rev-parse", "main"]), client.asked.len()), (before.clone(), 0));
    // The control: that command, in a shell, merges.
    let command = said.split_once("run: ").expect("a command").1.to_owned();
    let ours = lab.command(&[]);
    let mut shell = Command::new("/bin/sh");
    for (name, value) in ours.get_envs() {
        shell.env(name, value.expect("a value"));
    }
    let script = format!("lazaret() {{ {:?} \"$@\"; }}; {command} --yes", ours.get_program());
    assert!(shell.current_dir(&project.dir).args(["-c", &script]).status().expect("a shell").success(), "{command}");
    assert_ne!(project.git(&["rev-parse", "main"]), before);
    client.end();
}

#[test]
fn what_was_committed_after_the_question_is_not_merged_with_its_yes() {
    let lab = Lab::new();
    let project = Project::new(&lab, "moved");
    let mut client = Client::start(&lab, &project, true);
    spawned(&mut client, "feat/moving", &commits("made.txt", "made", "make it"));
    let seen = client.tool("agent_status", json!({"branch": "feat/moving"}))["items"][0]["tip"].clone();
    let tip = seen.as_str().expect("a commit").to_owned();
    client.tool("resume_agent", json!({"branch": "feat/moving", "task": commits("more.txt", "more", "more of it")}));
    over(&mut client, "feat/moving");
    let before = project.git(&["rev-parse", "main"]);
    let merge = ["agents", "merge", "feat/moving", "--repo", project.repo(), "--yes", "--expect"];
    let ran = lab.run(&[&merge[..], &[&tip]].concat());
    assert!(ran.status == 1 && ran.err.contains("[CONFLICT]") && ran.err.contains("no longer"), "{} {}", ran.status, ran.err);
    assert_eq!(project.git(&["rev-parse", "main"]), before);
    // The control: the commit that it is at now.
    let now = client.tool("agent_status", json!({"branch": "feat/moving"}))["items"][0]["tip"].as_str().expect("a commit").to_owned();
    assert_ne!(now, tip);
    lab.run(&[&merge[..], &[&now]].concat()).succeeds();
    assert_ne!(project.git(&["rev-parse", "main"]), before);
    client.end();
}

#[test]
fn one_yes_is_to_what_an_agent_did_in_each_of_its_repositories() {
    let lab = Lab::new();
    let (app, lib) = (Project::new(&lab, "app"), Project::new(&lab, "lib"));
    let beside = format!("base={}", lib.repo());
    for repos in [[app.repo(), &beside, &beside].as_slice(), &[app.repo(), "/nowhere"]] {
        let repos: Vec<&str> = repos.iter().flat_map(|repo| ["--repo", repo]).collect();
        assert_ne!(lab.run(&[&["mcp"], &repos[..]].concat()).status, 0, "{repos:?}");
    }
    let mut client = Client::start_on(&lab, &[app.repo(), &beside], true);
    // Which repositories there are was said when the server was started, and no model names another.
    let tools = client.ask("tools/list", json!({}))["tools"].clone();
    let spawn = tools.as_array().expect("tools").iter().find(|tool| tool["name"] == "spawn_agent").expect("a tool").clone();
    assert_eq!(spawn["inputSchema"]["properties"]["repos"]["items"]["enum"], json!(["base"]), "{spawn}");
    let in_lib = |name: &str| format!("cd /home/sandbox/repos/base; echo {name} > {name}; git add -A; git commit -q -m {name}");
    let task = told(&format!("echo x > one; git add -A; git commit -q -m one; {}", in_lib("one")));
    let asks = |repos: Value| json!({"branch": "feat/two", "task": task, "repos": repos});
    for other in [json!(["/etc"]), json!([format!("base={}", app.repo())]), json!(lib.repo())] {
        assert!(client.refused("spawn_agent", asks(other)).contains("some of: base"));
    }
    client.tool("spawn_agent", asks(json!(["base"])));
    over(&mut client, "feat/two");
    let tip = |project: &Project| project.git(&["rev-parse", "feat/two"]);
    let seen = format!("{},base={}", tip(&app), tip(&lib));
    // It goes on in one of them: what was looked at is no longer what it is.
    client.tool("resume_agent", json!({"branch": "feat/two", "task": told(&in_lib("more"))}));
    over(&mut client, "feat/two");
    let mains = || [&app, &lib].map(|project| project.git(&["rev-parse", "main"]));
    let before = mains();
    let merge = ["agents", "merge", "feat/two", "--repo", app.repo(), "--yes", "--expect"];
    let ran = lab.run(&[&merge[..], &[&seen]].concat()).fails("CONFLICT", 1);
    assert!(ran.err.contains("feat/two in base is at"), "{}", ran.err);
    client.answer = json!({"action": "decline"});
    assert!(client.refused("merge_agent", json!({"branch": "feat/two"})).contains("said no"));
    assert_eq!(mains(), before);
    // The control: it is asked about both, and a yes merges both.
    client.answer = json!({"action": "accept", "content": {"yes": true}});
    let merged = client.tool("merge_agent", json!({"branch": "feat/two"}));
    assert_eq!(merged["items"][0]["result"], "merged", "{merged}");
    let asked = client.asked.last().expect("a question");
    assert!([app.repo(), lib.repo(), "2 commits"].iter().all(|part| asked.contains(part)), "{asked}");
    assert_eq!(mains(), [tip(&app), tip(&lib)]);
    client.end();
}

#[test]
fn what_install_writes_is_taken_away_again_and_nothing_else() {
    let lab = Lab::new();
    let project = Project::new(&lab, "installed");
    let repo = project.dir.clone();
    let entry = repo.join(".mcp.json");
    let dir = project.repo();
    let other = "{\n  \"mcpServers\": {\n    \"other\": {\n      \"command\": \"x\"\n    }\n  }\n}\n";
    fs::write(&entry, other).expect("write");
    fs::create_dir_all(repo.join(".claude/skills/mine")).expect("make");
    lab.run(&["mcp", "install", "--dir", dir]).succeeds();
    let written: Value = serde_json::from_slice(&fs::read(&entry).expect("read")).expect("JSON");
    assert_eq!((&written["mcpServers"]["other"]["command"], &written["mcpServers"]["lazaret"]["args"]), (&json!("x"), &json!(["mcp"])));
    assert!(Path::new(written["mcpServers"]["lazaret"]["command"].as_str().expect("a path")).is_absolute());
    let skill = repo.join(".claude/skills/spawn-agent/SKILL.md");
    assert!(fs::read_to_string(&skill).expect("a skill").starts_with("---\nname: spawn-agent\n"));
    assert!(lab.run(&["mcp", "install", "--dir", dir]).succeeds().out.contains("already"));
    lab.run(&["mcp", "install", "--dir", dir, "--remove"]).succeeds();
    assert_eq!(fs::read_to_string(&entry).expect("read"), other);
    assert!(!skill.exists() && repo.join(".claude/skills/mine").is_dir());

    // What somebody changed, or planted, is neither lost nor followed.
    lab.run(&["mcp", "install", "--dir", dir]).succeeds();
    fs::write(&skill, "mine").expect("write");
    let ran = lab.run(&["mcp", "install", "--dir", dir, "--remove"]);
    assert!(ran.status != 0 && ran.err.contains("it was changed"), "{}", ran.err);
    assert_eq!(fs::read_to_string(&skill).expect("read"), "mine");
    fs::remove_file(&skill).expect("remove");
    let outside = lab.path("outside");
    fs::create_dir_all(&outside).expect("make");
    fs::remove_dir_all(repo.join(".claude")).expect("remove");
    std::os::unix::fs::symlink(&outside, repo.join(".claude")).expect("link");
    let ran = lab.run(&["mcp", "install", "--dir", dir]);
    assert!(ran.status != 0 && ran.err.contains("link"), "{}", ran.err);
    assert!(!outside.join("skills/spawn-agent/SKILL.md").exists());
    assert_eq!(project.git(&["status", "--porcelain", "--untracked-files=no"]), "");
}
