//! Codex: one native program; the prompt on standard input; JSON lines of items.

use model::{Code, EventKind, Failure, Usage};
use serde_json::{Value, json};

use crate::classify;
use crate::engine::{TOOL_WAIT_S, TOOLS, TOOLS_SERVER, TOOLS_START_S, base_launch};
use crate::parse::{Tally, clip, flatten, notice, str_at, text_event, thinking_event, tool_call, tool_result, u64_at};
use crate::{
    Carried, End, Engine, Exit, Launch, MESSAGE_BYTES_MAX, PLACEHOLDER_KEY, Parsed, Parser, Plan, Recipe, Terminal, Wire, terminal,
};

/// The longest prompt, in bytes; the program refuses more than 2^20 characters.
const PROMPT_BYTES_MAX: usize = 1 << 20;
/// How often a request, and a stream that was cut, are tried again: ends within a minute.
const RETRIES: u32 = 3;
/// The environment variable from which the program takes the key.
const KEY_VARIABLE: &str = "LAZARET_PLACEHOLDER";
/// The longest settings of MCP servers, in bytes: they are arguments.
const SERVERS_BYTES_MAX: usize = 64 << 10;
/// Its own tools, with the names that mean them elsewhere. It reads and changes files by its shell.
const OWN_TOOLS: &[(&str, &[&str])] =
    &[("goals", &["TodoWrite"]), ("multi_agent", &["Task"]), ("shell", &["Bash"]), ("view_image", &[]), ("web_search", &["WebSearch"])];
/// What takes each of them away. Given as arguments these stand above every file of a repository.
const TOOLS_OFF: &[(&str, &[&str])] = &[
    ("goals", &["features.goals=false"]),
    ("multi_agent", &["features.multi_agent=false", "features.multi_agent_v2=false"]),
    ("shell", &["features.shell_tool=false", "features.unified_exec=false"]),
    ("view_image", &["features.view_image=false"]),
    ("web_search", &["web_search=\"disabled\""]),
];
/// What is no tool of anybody's list, and goes where there is a list: nobody sits before the program.
const ALWAYS_OFF: &str = "tools.experimental_request_user_input.enabled=false";
/// What else would talk to the network or wait for it without end.
const FEATURES_OFF: &[&str] = &["plugins", "remote_plugin", "apps", "plugin_sharing", "unbounded_connection_retries"];

pub(crate) struct Codex;

impl Engine for Codex {
    fn name(&self) -> &str {
        "codex"
    }

    fn wires(&self) -> &[Wire] {
        &[Wire::OpenAiResponses]
    }

    fn plan(&self, plan: &Plan<'_>) -> Result<Launch, Failure> {
        plan.check(self, PROMPT_BYTES_MAX)?;
        let mut launch = base_launch(plan).env([(KEY_VARIABLE, PLACEHOLDER_KEY.to_owned())]);
        launch.argv = plan.program.argv(&[]);
        launch.argv.extend(["exec", "--json", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox"].map(str::to_owned));
        let mut settings = settings(plan);
        settings.extend(servers(plan)?);
        if let Some(allowed) = plan.tools(self, OWN_TOOLS)? {
            settings.push(ALWAYS_OFF.to_owned());
            let off = TOOLS_OFF.iter().filter(|(tool, _)| !allowed.iter().any(|own| own == tool));
            settings.extend(off.flat_map(|(_, off)| *off).map(|off| (*off).to_owned()));
        }
        if let Some(text) = plan.system()? {
            let path = format!("{}/.lazaret/system.md", plan.home);
            settings.push(format!("model_instructions_file={}", quoted(&path)));
            launch = launch.file(path, text);
        }
        for setting in settings {
            launch.argv.extend(["-c".to_owned(), setting]);
        }
        if let Some(model) = plan.model {
            launch.argv.extend(["-m".to_owned(), model.to_owned()]);
        }
        if let Some(thread) = plan.resume {
            launch.argv.extend(["resume".to_owned(), thread.to_owned()]);
        }
        launch.argv.push("-".to_owned());
        launch.stdin = Some(plan.prompt.as_bytes().to_vec());
        Ok(launch)
    }

    fn terminal(&self, plan: &Plan<'_>, _name: &str) -> Result<Terminal, Failure> {
        let mut launch = terminal::of_turn(self, plan, &[&["exec", "--json", "--skip-git-repo-check"]])?;
        launch.argv.pop();
        let trusted = format!("projects={{{}={{trust_level=\"trusted\"}}}}", quoted(plan.workdir));
        // Before the word that resumes, which takes no options of the program's.
        launch.argv.splice(1..1, ["-c".to_owned(), trusted]);
        launch.argv.extend(plan.first()?.map(terminal::argument));
        Ok(Terminal { launch, session: None })
    }

    fn parser(&self, carried: Carried) -> Box<dyn Parser> {
        Box::new(Items { tally: Tally::new(carried), last_error: None })
    }

    fn instructions_path(&self, home: &str) -> Option<String> {
        Some(format!("{home}/.codex/AGENTS.md"))
    }

    fn recipe(&self) -> Option<Recipe> {
        Recipe::parse(include_str!("../../../share/engines/locks/codex.toml")).ok()
    }

    fn default_model(&self, wire: Wire) -> Option<&str> {
        crate::default_model(wire)
    }
}

/// Settings as arguments, so that no file of the home can undo them.
fn settings(plan: &Plan<'_>) -> Vec<String> {
    let base = plan.gateway("/v1");
    let [program, verb] = TOOLS_SERVER;
    let mut settings = vec![
        "model_provider=\"lazaret\"".to_owned(),
        format!(
            "model_providers.lazaret={{name=\"Lazaret\",base_url=\"{base}\",env_key=\"{KEY_VARIABLE}\",wire_api=\"responses\",\
             supports_websockets=false,request_max_retries={RETRIES},stream_max_retries={RETRIES}}}"
        ),
        format!(
            "mcp_servers.{TOOLS}={{command=\"{program}\",args=[\"{verb}\"],startup_timeout_sec={TOOLS_START_S},tool_timeout_sec={TOOL_WAIT_S}}}"
        ),
        "check_for_update_on_startup=false".to_owned(),
        "analytics.enabled=false".to_owned(),
    ];
    settings.extend(FEATURES_OFF.iter().map(|feature| format!("features.{feature}=false")));
    settings
}

/// The servers of tools that a job brings, as settings.
fn servers(plan: &Plan<'_>) -> Result<Vec<String>, Failure> {
    let mut settings = Vec::new();
    for server in plan.servers()? {
        let [program, args @ ..] = server.command.as_slice() else {
            let message = format!("the engine codex starts MCP servers by a command, and `{}` has none", server.name);
            return Err(Failure::new(Code::Usage, message).field("mcp_config"));
        };
        let args: Vec<String> = args.iter().map(|arg| quoted(arg)).collect();
        let env: Vec<String> = server.env.iter().map(|(key, value)| format!("{}={}", quoted(key), quoted(value))).collect();
        let (args, env) = (args.join(","), env.join(","));
        let wait = format!("startup_timeout_sec={TOOLS_START_S},tool_timeout_sec={TOOL_WAIT_S}");
        settings.push(format!("mcp_servers.{}={{command={},args=[{args}],env={{{env}}},{wait}}}", server.name, quoted(program)));
    }
    if settings.iter().map(String::len).sum::<usize>() > SERVERS_BYTES_MAX {
        let message = format!("the MCP servers are longer than the {SERVERS_BYTES_MAX} bytes that the engine codex takes");
        return Err(Failure::new(Code::Usage, message).field("mcp_config"));
    }
    Ok(settings)
}

/// A text of TOML. What JSON writes is one too, but for a character that TOML wants escaped.
fn quoted(text: &str) -> String {
    Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

struct Items {
    tally: Tally,
    last_error: Option<String>,
}

impl Parser for Items {
    fn line(&mut self, line: &str) -> Vec<Parsed> {
        let mut out = Vec::new();
        let Ok(value) = serde_json::from_str::<Value>(line) else { return out };
        match str_at(&value, "/type") {
            "thread.started" => self.tally.session(value.get("thread_id").and_then(Value::as_str), &mut out),
            "item.started" => started(&value, &mut out),
            "item.completed" => self.completed(&value, &mut out),
            "turn.completed" => {
                self.tally.done = true;
                self.last_error = None;
                self.tally.usage = usage(&value);
            }
            "turn.failed" => self.tally.error(None, str_at(&value, "/error/message")),
            "error" => self.trouble(str_at(&value, "/message"), &mut out),
            _ => (),
        }
        out
    }

    fn finish(&mut self, exit: Exit, stderr_tail: &str) -> End {
        // An error that no later completion took back is what ended the turn.
        if let (None, false, Some(message)) = (&self.tally.error, self.tally.done, self.last_error.take()) {
            self.tally.error = Some((classify::code_of(None, &message), message));
        }
        self.tally.end(exit, stderr_tail)
    }
}

impl Items {
    fn completed(&mut self, value: &Value, out: &mut Vec<Parsed>) {
        let item = value.get("item").unwrap_or(&Value::Null);
        let id = str_at(item, "/id");
        match str_at(item, "/type") {
            "agent_message" => {
                let text = str_at(item, "/text");
                text_event(text, out);
                self.tally.set_text(text);
            }
            "reasoning" => thinking_event(str_at(item, "/text"), out),
            "command_execution" => {
                let is_error = item.get("exit_code").and_then(Value::as_i64) != Some(0);
                tool_result(id, str_at(item, "/aggregated_output"), is_error, out);
            }
            "mcp_tool_call" => {
                let failed = item.get("error").filter(|e| !e.is_null());
                let output = failed.or_else(|| item.pointer("/result/content")).unwrap_or(&Value::Null);
                tool_result(id, &flatten(output), failed.is_some(), out);
            }
            "file_change" => {
                tool_call(id, "file_change", item.get("changes").unwrap_or(&Value::Null), out);
                tool_result(id, str_at(item, "/status"), str_at(item, "/status") == "failed", out);
            }
            // Warnings come this way too, so this alone is no failure.
            "error" => notice(str_at(item, "/message"), out),
            _ => (),
        }
    }

    /// An `error` line is final only when nothing better follows: the program also tells of each retry with it.
    fn trouble(&mut self, message: &str, out: &mut Vec<Parsed>) {
        let code = classify::code_of(None, message);
        let message = clip(message, MESSAGE_BYTES_MAX);
        out.push(Parsed::Event(EventKind::Error { code, message: message.clone(), retriable: true }));
        self.last_error = Some(message);
    }
}

fn started(value: &Value, out: &mut Vec<Parsed>) {
    let item = value.get("item").unwrap_or(&Value::Null);
    let id = str_at(item, "/id");
    match str_at(item, "/type") {
        "command_execution" => tool_call(id, "shell", &json!({ "command": str_at(item, "/command") }), out),
        "mcp_tool_call" => {
            let name = format!("{}.{}", str_at(item, "/server"), str_at(item, "/tool"));
            tool_call(id, &name, item.get("arguments").unwrap_or(&Value::Null), out);
        }
        _ => (),
    }
}

fn usage(value: &Value) -> Usage {
    let cached = u64_at(value, "/usage/cached_input_tokens");
    Usage {
        // Cached tokens are counted among the input here.
        input_tokens: u64_at(value, "/usage/input_tokens").saturating_sub(cached),
        output_tokens: u64_at(value, "/usage/output_tokens"),
        cache_read_tokens: cached,
        cache_write_tokens: 0,
    }
}
