//! Agent programs as their packages come, on the host, coordinate agents on branches through `lazaret mcp`. What they are told is a script;
//! that they start the server, list its tools, call them and hear the answers is theirs.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use testkit::model_server::{ModelServer, Rule, Say, Script};

use crate::branches::{Project, commits, status};
use crate::engines::install;
use crate::engines_tools::named;
use crate::support::{KEY, Lab, Ran, project as file};

/// How long a server may take to start, and a tool to answer, in seconds.
const WAIT_S: u64 = 120;
/// Where programs are found.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// The program of an installed engine.
fn program(lab: &Lab, engine: &str) -> PathBuf {
    let lock = std::fs::read_to_string(file("share/engines/locks").join(format!("{engine}.toml"))).expect("a lock");
    let field = |name: &str| {
        let line = lock.lines().find_map(|line| line.strip_prefix(&format!("{name} = \""))).expect("a field");
        line.trim_end_matches('"').to_owned()
    };
    lab.home().join("engines").join(engine).join(field("version")).join(field("program"))
}

/// A host of MCP servers: an engine in the user's repository, with a home of its own and the coordinator's server as its one tool.
struct Host<'a> {
    lab: &'a Lab,
    project: &'a Project,
    home: PathBuf,
    base: String,
}

impl Host<'_> {
    fn write(&self, path: &str, text: &str) -> PathBuf {
        let path = self.home.join(path);
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("make");
        std::fs::write(&path, text).expect("write");
        path
    }

    /// What starts the server, and what it finds in its environment.
    fn server(&self) -> (String, Vec<String>, Value) {
        let args = ["mcp", "--repo", self.project.repo()].map(str::to_owned).to_vec();
        let env = json!({ "LAZARET_HOME": self.lab.home(), "PATH": PATH, "HOME": self.home });
        (env!("CARGO_BIN_EXE_lazaret").to_owned(), args, env)
    }

    /// The engine's command for one prompt on its standard input.
    fn command(&self, engine: &str, program: &Path) -> Command {
        let mut command = match engine {
            "claude-code" => self.claude(program),
            "codex" => self.codex(program),
            "opencode" => self.opencode(program),
            _ => self.gemini(program),
        };
        command.env("HOME", &self.home).env("PATH", PATH).current_dir(&self.project.dir);
        command
    }

    fn claude(&self, program: &Path) -> Command {
        let (server, args, env) = self.server();
        let servers = json!({ "mcpServers": { "lazaret": { "command": server, "args": args, "env": env } } });
        let mut command = Command::new(program);
        command.args(["-p", "--output-format", "stream-json", "--verbose", "--dangerously-skip-permissions", "--strict-mcp-config"]);
        command.args(["--mcp-config", &servers.to_string()]).envs([
            ("ANTHROPIC_BASE_URL", self.base.clone()),
            ("ANTHROPIC_API_KEY", KEY.to_owned()),
            ("ENABLE_TOOL_SEARCH", "false".to_owned()),
            ("MCP_TIMEOUT", (WAIT_S * 1000).to_string()),
            ("MCP_TOOL_TIMEOUT", (WAIT_S * 1000).to_string()),
            ("IS_SANDBOX", "1".to_owned()),
            ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1".to_owned()),
            ("DISABLE_AUTOUPDATER", "1".to_owned()),
        ]);
        command
    }

    /// It asks nobody, and so calls what the server says can be taken back, and nothing else.
    fn codex(&self, program: &Path) -> Command {
        let (server, args, env) = self.server();
        let env = ["LAZARET_HOME", "PATH", "HOME"].map(|name| format!("{name} = {}", env[name])).join(", ");
        let lines = [
            "model = \"gpt-5\"".to_owned(),
            "model_provider = \"scripted\"".to_owned(),
            "check_for_update_on_startup = false".to_owned(),
            "analytics = { enabled = false }".to_owned(),
            "features = { plugins = false, remote_plugin = false, apps = false, plugin_sharing = false }".to_owned(),
            "[model_providers.scripted]".to_owned(),
            "name = \"Scripted\"".to_owned(),
            format!("base_url = \"{}/v1\"", self.base),
            "env_key = \"SCRIPTED_KEY\"".to_owned(),
            "wire_api = \"responses\"".to_owned(),
            "supports_websockets = false".to_owned(),
            "[mcp_servers.lazaret]".to_owned(),
            format!("command = {}", json!(server)),
            format!("args = {}", json!(args)),
            format!("env = {{ {env} }}"),
            format!("startup_timeout_sec = {WAIT_S}"),
            format!("tool_timeout_sec = {WAIT_S}"),
        ];
        self.write(".codex/config.toml", &lines.join("\n"));
        let mut command = Command::new(program);
        command.args(["exec", "--json", "--skip-git-repo-check", "-"]).env("SCRIPTED_KEY", KEY);
        command
    }

    fn opencode(&self, program: &Path) -> Command {
        let (server, args, env) = self.server();
        let model = "claude-sonnet-4-5";
        let line: Vec<&String> = std::iter::once(&server).chain(&args).collect();
        let config = json!({
            "mcp": { "lazaret": { "type": "local", "command": line, "environment": env, "enabled": true, "timeout": WAIT_S * 1000 } },
            "autoupdate": false,
            "share": "disabled",
            "model": format!("scripted/{model}"),
            "small_model": format!("scripted/{model}"),
            "enabled_providers": ["scripted"],
            "provider": { "scripted": {
                "npm": "@ai-sdk/anthropic",
                "name": "Scripted",
                "options": { "baseURL": format!("{}/v1", self.base), "apiKey": KEY },
                "models": { model: { "name": model, "tool_call": true } },
            } },
        });
        self.write(".config/opencode/opencode.json", &config.to_string());
        // It would fetch a package for plugins, of which there are none.
        self.write(".config/opencode/node_modules/.lazaret", "");
        let lock = json!({ "lockfileVersion": 3, "packages": { "": { "dependencies": { "@opencode-ai/plugin": "*" } } } });
        self.write(".config/opencode/package-lock.json", &lock.to_string());
        let mut command = Command::new(program);
        command.args(["run", "--format", "json", "--title", "coordinator", "-m", &format!("scripted/{model}")]);
        let off = ["AUTOUPDATE", "MODELS_FETCH", "LSP_DOWNLOAD", "DEFAULT_PLUGINS", "SHARE"];
        command.envs(off.map(|what| (format!("OPENCODE_DISABLE_{what}"), "1"))).env("OPENCODE_PURE", "1");
        command
    }

    fn gemini(&self, program: &Path) -> Command {
        let (server, args, env) = self.server();
        let servers = json!({ "lazaret": { "command": server, "args": args, "env": env, "trust": true, "timeout": WAIT_S * 1000 } });
        let settings = json!({
            "mcpServers": servers,
            "security": { "auth": { "selectedType": "gemini-api-key" }, "folderTrust": { "enabled": false } },
        });
        self.write(".gemini/settings.json", &settings.to_string());
        let mut command = Command::new("node");
        command.arg(program).args(["--approval-mode", "yolo", "-m", "gemini-2.5-pro"]).envs([
            ("GEMINI_API_KEY", KEY),
            ("GOOGLE_GEMINI_BASE_URL", self.base.as_str()),
            ("GEMINI_CLI_TRUST_WORKSPACE", "true"),
            ("GEMINI_CLI_NO_RELAUNCH", "true"),
        ]);
        command
    }
}

/// The script: an agent is spawned, waited for, and looked at; what is to be merged is for the user.
fn script(engine: &str) -> Script {
    let tool = |name: &str, input: Value| Say::Tool { name: named(engine, name), input };
    let task = commits("made.txt", "made", "made by an agent");
    let mut say = vec![tool("spawn_agent", json!({ "branch": "feat/hosted", "task": task, "type": "feature" }))];
    // A call waits for less than a minute, and on a slow machine the agent may not be over by then; one that is over is not waited for.
    // No two are the same: a program may take that for going round in circles.
    say.extend((45..=50).rev().map(|seconds| tool("wait_for_agents", json!({ "branches": ["feat/hosted"], "seconds": seconds }))));
    say.extend([
        tool("agent_summary", json!({ "branch": "feat/hosted" })),
        tool("preview_merge", json!({ "branches": ["feat/hosted"] })),
        tool("merge_agent", json!({ "branch": "feat/hosted" })),
        Say::Text("the coordinator is done".to_owned()),
    ]);
    let rules = vec![Rule { contains: "coordinate the work".to_owned(), say }];
    Script { key: Some(KEY.to_owned()), rules, ..Script::default() }
}

/// What the model was told by requests that hold this.
fn told(server: &ModelServer, text: &str) -> bool {
    server.requests().iter().any(|request| String::from_utf8_lossy(&request.body).contains(text))
}

fn coordinates(engine: &str) {
    let lab = Lab::new();
    install(&lab, engine);
    let server = lab.model(script(engine));
    let project = Project::new(&lab, "project");
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    let main = project.git(&["rev-parse", "main"]);
    let host = Host { lab: &lab, project: &project, home: lab.path("host-home"), base: server.url() };
    std::fs::create_dir(&host.home).expect("make");
    let mut command = host.command(engine, &program(&lab, engine));
    let plain: Vec<(std::ffi::OsString, std::ffi::OsString)> =
        command.get_envs().filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned()))).collect();
    command.env_clear().envs(plain);
    let ran = Ran::of(command, Some(b"coordinate the work".to_vec()));
    let about = format!("{engine}: {}\n{}", ran.out, ran.err);
    assert_eq!(ran.status, 0, "{about}");
    assert!(ran.out.contains("the coordinator is done"), "{about}");
    let agent = status(&lab, &project, "feat/hosted");
    assert_eq!((&agent["state"], &agent["commits"]), (&json!("done"), &json!(1)), "{about}");
    assert_eq!(project.git(&["show", "feat/hosted:made.txt"]), "made");
    // It heard what its calls gave, and merged nothing: that wants the user's yes.
    assert!(told(&server, agent["tip"].as_str().expect("a commit")), "{about}");
    assert_eq!(project.git(&["rev-parse", "main"]), main, "{about}");
}

#[test]
fn claude_code_coordinates_agents() {
    coordinates("claude-code");
}

#[test]
fn codex_coordinates_agents() {
    coordinates("codex");
}

#[test]
fn opencode_coordinates_agents() {
    coordinates("opencode");
}

#[test]
fn gemini_coordinates_agents() {
    coordinates("gemini");
}
