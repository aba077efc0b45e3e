//! Gemini CLI: a Node program; the prompt on standard input; JSON lines.

use model::{EventKind, Failure, Usage};
use serde_json::{Value, json};

use crate::classify;
use crate::engine::{TOOL_WAIT_S, TOOLS, TOOLS_SERVER, base_launch};
use crate::parse::{Tally, clip, flatten, str_at, text_event, tool_call, tool_result, u64_at};
use crate::{
    Carried, End, Engine, Exit, Launch, MESSAGE_BYTES_MAX, PLACEHOLDER_KEY, Parsed, Parser, Plan, Recipe, Terminal, Wire, terminal,
};

/// The longest prompt, in bytes; the program cuts its standard input at 8 MiB without failing.
const PROMPT_BYTES_MAX: usize = 8 << 20;
/// How often a model call is tried, the first time included: ends within a minute.
const ATTEMPTS: u32 = 4;

/// Its own tools that can be allowed one by one.
const OWN_TOOLS: &[(&str, &[&str])] = &[
    ("activate_skill", &[]),
    ("glob", &["Glob"]),
    ("google_web_search", &["WebSearch"]),
    ("grep_search", &["Grep"]),
    ("invoke_agent", &["Task"]),
    ("list_directory", &["LS"]),
    ("read_file", &["Read"]),
    ("read_many_files", &[]),
    ("replace", &["Edit", "MultiEdit"]),
    ("run_shell_command", &["Bash", "shell"]),
    ("save_memory", &[]),
    ("web_fetch", &["WebFetch"]),
    ("write_file", &["Write"]),
    ("write_todos", &["TodoWrite"]),
];
/// Further ones, which are left out when only some are allowed.
const OTHER_TOOLS: &[&str] = &[
    "ask_user", "enter_plan_mode", "exit_plan_mode", "list_background_processes", "read_background_output", "update_topic",
    "codebase_investigator", "cli_help", "generalist",
];

pub(crate) struct Gemini;

impl Engine for Gemini {
    fn name(&self) -> &str {
        "gemini"
    }

    fn wires(&self) -> &[Wire] {
        &[Wire::Gemini]
    }

    fn plan(&self, plan: &Plan<'_>) -> Result<Launch, Failure> {
        plan.check(self, PROMPT_BYTES_MAX)?;
        let settings = format!("{}/.gemini/settings.json", plan.home);
        let model = plan.model.or_else(|| self.default_model(plan.wire)).unwrap_or("default");
        let mut launch = base_launch(plan)
            .env([
                ("GEMINI_API_KEY", PLACEHOLDER_KEY.to_owned()),
                ("GOOGLE_GEMINI_BASE_URL", plan.gateway("")),
                ("GEMINI_CLI_TRUST_WORKSPACE", "true".to_owned()),
                ("GEMINI_CLI_NO_RELAUNCH", "true".to_owned()),
            ])
            .file(settings, config(self, plan, model)?.to_string());
        if let Some(text) = plan.system()? {
            let path = format!("{}/.lazaret/system.md", plan.home);
            launch = launch.env([("GEMINI_SYSTEM_MD", path.clone())]).file(path, text);
        }
        let heap = launch.env.iter().find(|(key, _)| key == "NODE_OPTIONS").map(|(_, value)| value.clone());
        launch.argv = plan.program.argv(&heap.into_iter().collect::<Vec<_>>());
        launch.argv.extend(["--output-format", "stream-json", "--approval-mode", "yolo", "-m"].map(str::to_owned));
        launch.argv.push(model.to_owned());
        if let Some(session) = plan.resume {
            launch.argv.extend(["--resume".to_owned(), session.to_owned()]);
        }
        launch.stdin = Some(plan.prompt.as_bytes().to_vec());
        Ok(launch)
    }

    fn terminal(&self, plan: &Plan<'_>, _name: &str) -> Result<Terminal, Failure> {
        let mut launch = terminal::of_turn(self, plan, &[&["--output-format", "stream-json"]])?;
        if let Some(text) = plan.first()? {
            launch.argv.extend(["--prompt-interactive".to_owned(), terminal::argument(text)]);
        }
        Ok(Terminal { launch, session: None })
    }

    fn parser(&self, carried: Carried) -> Box<dyn Parser> {
        Box::new(Lines { tally: Tally::new(carried), text: String::new(), warning: String::new() })
    }

    fn instructions_path(&self, home: &str) -> Option<String> {
        Some(format!("{home}/.gemini/GEMINI.md"))
    }

    fn recipe(&self) -> Option<Recipe> {
        Recipe::parse(include_str!("../../../share/engines/locks/gemini.toml")).ok()
    }

    fn default_model(&self, wire: Wire) -> Option<&str> {
        crate::default_model(wire)
    }
}

fn config(engine: &Gemini, plan: &Plan<'_>, model: &str) -> Result<Value, Failure> {
    let [program, verb] = TOOLS_SERVER;
    let wait_ms = u64::from(TOOL_WAIT_S) * 1000;
    let mut servers = serde_json::Map::new();
    servers.insert(TOOLS.to_owned(), json!({ "command": program, "args": [verb], "trust": true, "timeout": wait_ms }));
    for server in plan.servers()? {
        let mut given = server.given;
        given["trust"] = true.into();
        given["timeout"] = wait_ms.into();
        servers.insert(server.name, given);
    }
    let mut tools = json!({ "sandbox": false });
    if let Some(allowed) = plan.tools(engine, OWN_TOOLS)? {
        let own = OWN_TOOLS.iter().map(|(name, _)| *name).chain(OTHER_TOOLS.iter().copied());
        // A repository's own settings could name more to use, but nothing less to leave out.
        let out: Vec<&str> = own.filter(|name| !allowed.iter().any(|tool| tool == name)).collect();
        tools["exclude"] = out.into();
        tools["core"] = if allowed.is_empty() { json!(["none"]) } else { allowed.into() };
    }
    Ok(json!({
        "mcpServers": servers,
        "security": { "auth": { "selectedType": "gemini-api-key" }, "folderTrust": { "enabled": false } },
        // A pinned model; otherwise the program first asks another one which to use.
        "model": { "name": model },
        "general": { "enableAutoUpdate": false, "disableAutoUpdate": true, "disableUpdateNag": true, "maxAttempts": ATTEMPTS },
        "privacy": { "usageStatisticsEnabled": false },
        "telemetry": { "enabled": false },
        "tools": tools,
        "ide": { "enabled": false },
    }))
}

struct Lines {
    tally: Tally,
    /// The text of the model's present message, which comes in pieces.
    text: String,
    /// What the last error line said.
    warning: String,
}

impl Parser for Lines {
    fn line(&mut self, line: &str) -> Vec<Parsed> {
        let mut out = Vec::new();
        let Ok(value) = serde_json::from_str::<Value>(line) else { return out };
        match str_at(&value, "/type") {
            "init" => self.tally.session(value.get("session_id").and_then(Value::as_str), &mut out),
            "message" if str_at(&value, "/role") == "assistant" => {
                let text = str_at(&value, "/content");
                text_event(text, &mut out);
                let room = crate::TEXT_BYTES_MAX.saturating_sub(self.text.len());
                self.text.push_str(&clip(text, room));
            }
            "tool_use" => {
                self.text.clear();
                let input = value.get("parameters").unwrap_or(&Value::Null);
                tool_call(str_at(&value, "/tool_id"), str_at(&value, "/tool_name"), input, &mut out);
            }
            "tool_result" => {
                let is_error = str_at(&value, "/status") == "error";
                let output = value.get("output").or_else(|| value.pointer("/error/message")).unwrap_or(&Value::Null);
                tool_result(str_at(&value, "/tool_id"), &flatten(output), is_error, &mut out);
            }
            "error" => self.warn(&value, &mut out),
            "result" => self.result(&value),
            _ => (),
        }
        out
    }

    fn finish(&mut self, exit: Exit, stderr_tail: &str) -> End {
        self.tally.end(exit, stderr_tail)
    }
}

impl Lines {
    fn result(&mut self, value: &Value) {
        self.tally.done = true;
        let text = std::mem::take(&mut self.text);
        self.tally.set_text(&text);
        let cached = u64_at(value, "/stats/cached");
        self.tally.usage = Usage {
            input_tokens: u64_at(value, "/stats/input_tokens").saturating_sub(cached),
            output_tokens: u64_at(value, "/stats/output_tokens"),
            cache_read_tokens: cached,
            cache_write_tokens: 0,
        };
        if str_at(value, "/status") != "success" {
            let said = [str_at(value, "/error/message"), self.warning.as_str(), str_at(value, "/error/type")];
            let message = said.into_iter().find(|t| !t.is_empty()).unwrap_or("the engine reports an error");
            self.tally.error(None, message);
        }
    }

    /// An error line is a warning, or the reason of a result that gives none.
    fn warn(&mut self, value: &Value, out: &mut Vec<Parsed>) {
        let message = clip(str_at(value, "/message"), MESSAGE_BYTES_MAX);
        let code = classify::code_of(None, &message);
        self.warning.clone_from(&message);
        out.push(Parsed::Event(EventKind::Error { code, message, retriable: true }));
    }
}
