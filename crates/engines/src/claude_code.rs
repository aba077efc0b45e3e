//! Claude Code: one native program; the prompt on standard input; a stream of JSON lines.
//!
//! A live process takes prompts and answers as lines of JSON. It prints each prompt again when it begins to work on it, and
//! the first result after that is the end of the turn. Its transcript is on disk before the result is printed.

use model::{Code, EventKind, Failure, Usage};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::classify;
use crate::engine::{TOOL_WAIT_S, TOOLS, TOOLS_SERVER, TOOLS_START_S, base_launch, check_prompt, json_line};
use crate::parse::{NAME_BYTES_MAX, Tally, clip, flatten, question, str_at, text_event, thinking_event, tool_call, tool_result, u64_at};
use crate::{
    Carried, End, Engine, Exit, Launch, MESSAGE_BYTES_MAX, PLACEHOLDER_KEY, Parsed, Parser, Plan, Recipe, Terminal, Wire, terminal,
};

/// The longest prompt on standard input, in bytes. The program refuses more than 10 MB.
const PROMPT_BYTES_MAX: usize = 10_000_000;
/// The program's command that sums a conversation up. It calls the model for that, and goes on with what comes of it.
const COMPACT: &str = "/compact";
/// What stands for the model where the program itself answers.
const SYNTHETIC: &str = "<synthetic>";
/// How often a failed model call is tried again: with the program's back-off this ends within a minute.
const RETRIES: u32 = 4;

/// Tools that a live process does not have: those that would wake the model when no turn runs, where nobody pays for the
/// calls and nobody reads what is said, and those that only a person at a terminal can end.
const NOT_LIVE: &[&str] = &[
    "CronCreate", "CronDelete", "CronList", "ScheduleWakeup", "Monitor", "Workflow", "SendMessage", "ListAgents", "EnterPlanMode",
    "ExitPlanMode",
];
/// Its own tools that can be allowed one by one.
const OWN_TOOLS: &[(&str, &[&str])] = &[
    ("Bash", &["shell"]),
    ("Edit", &["MultiEdit"]),
    ("Glob", &["LS"]),
    ("Grep", &[]),
    ("NotebookEdit", &["NotebookRead"]),
    ("Read", &[]),
    ("Task", &["Agent"]),
    ("TodoWrite", &["TodoRead"]),
    ("WebFetch", &[]),
    ("WebSearch", &[]),
    ("Write", &[]),
];
/// The tool that asks a person.
const ASK: &str = "AskUserQuestion";

pub(crate) struct ClaudeCode;

impl Engine for ClaudeCode {
    fn name(&self) -> &str {
        "claude-code"
    }

    fn wires(&self) -> &[Wire] {
        &[Wire::Anthropic]
    }

    fn plan(&self, plan: &Plan<'_>) -> Result<Launch, Failure> {
        plan.check(self, PROMPT_BYTES_MAX)?;
        let mut launch = base_launch(plan)
            .env([
                ("ANTHROPIC_BASE_URL", plan.gateway("")),
                ("ANTHROPIC_API_KEY", PLACEHOLDER_KEY.to_owned()),
                ("CLAUDE_CODE_MAX_RETRIES", RETRIES.to_string()),
                // MCP tools are listed outright; searching for them costs a model call.
                ("ENABLE_TOOL_SEARCH", "false".to_owned()),
                ("MCP_TIMEOUT", (u64::from(TOOLS_START_S) * 1000).to_string()),
                ("MCP_TOOL_TIMEOUT", (u64::from(TOOL_WAIT_S) * 1000).to_string()),
                ("BUN_JSC_forceRAMSize", plan.memory_bytes.to_string()),
            ])
            // IS_SANDBOX: the walls are ours, and the program may be root inside.
            .on(&[
                "IS_SANDBOX",
                "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC",
                "DISABLE_AUTOUPDATER",
                "DISABLE_TELEMETRY",
                "DISABLE_ERROR_REPORTING",
            ]);
        launch.argv = plan.program.argv(&[]);
        launch.argv.extend(["-p", "--output-format", "stream-json", "--verbose", "--dangerously-skip-permissions"].map(str::to_owned));
        let servers = servers(plan)?;
        let mut given = servers.to_string();
        if plan.options.mcp_config.is_some() {
            // What a job brings can be long.
            let path = format!("{}/.lazaret/mcp.json", plan.home);
            launch = launch.file(path.clone(), std::mem::replace(&mut given, path));
        }
        launch.argv.extend(["--mcp-config".to_owned(), given, "--strict-mcp-config".to_owned()]);
        if let Some(text) = plan.system()? {
            let path = format!("{}/.lazaret/system.md", plan.home);
            launch.argv.extend(["--system-prompt-file".to_owned(), path.clone()]);
            launch = launch.file(path, text);
        }
        if let Some(tools) = plan.tools(self, OWN_TOOLS)? {
            launch.argv.extend(["--tools".to_owned(), tools.join(",")]);
        }
        if let Some(most) = plan.options.max_turns {
            launch.argv.extend(["--max-turns".to_owned(), most.to_string()]);
        }
        for (flag, value) in [("--model", plan.model), ("--resume", plan.resume)] {
            if let Some(value) = value {
                launch.argv.extend([flag.to_owned(), value.to_owned()]);
            }
        }
        if plan.live {
            launch.argv.extend(
                ["--input-format", "stream-json", "--replay-user-messages", "--permission-prompt-tool", "stdio"].map(str::to_owned),
            );
            launch.argv.extend(["--disallowedTools".to_owned(), NOT_LIVE.join(",")]);
            launch = launch.on(&["CLAUDE_CODE_DISABLE_BACKGROUND_TASKS"]);
            check_prompt(self.name(), plan.prompt, PROMPT_BYTES_MAX)?;
            launch.stdin = Some(said(&guarded(plan.prompt, plan.resume.is_some())));
            launch.stdin_open = true;
        } else {
            launch.stdin = Some(guarded(plan.prompt, plan.resume.is_some()).into_bytes());
        }
        Ok(launch)
    }

    fn terminal(&self, plan: &Plan<'_>, name: &str) -> Result<Terminal, Failure> {
        let mut launch = terminal::of_turn(self, plan, &[&["-p", "--output-format", "stream-json", "--verbose"]])?;
        // The questions of its first start are for somebody who has just installed it on a machine of their own.
        let state = json!({
            "hasCompletedOnboarding": true,
            "theme": "dark",
            "bypassPermissionsModeAccepted": true,
            "customApiKeyResponses": { "approved": [PLACEHOLDER_KEY], "rejected": [] },
            "projects": { plan.workdir: { "hasTrustDialogAccepted": true, "hasCompletedProjectOnboarding": true } },
        });
        launch = launch.file(format!("{}/.claude.json", plan.home), state.to_string());
        launch.argv.extend(["--settings".to_owned(), json!({ "skipDangerousModePermissionPrompt": true }).to_string()]);
        let session = plan.resume.is_none().then(|| name.to_owned());
        if let Some(name) = &session {
            launch.argv.extend(["--session-id".to_owned(), name.clone()]);
        }
        launch.argv.extend(plan.first()?.map(|prompt| terminal::argument(&guarded(prompt, false))));
        Ok(Terminal { launch, session })
    }

    fn live(&self) -> bool {
        true
    }

    fn input(&self, prompt: &str) -> Result<Vec<u8>, Failure> {
        check_prompt(self.name(), prompt, PROMPT_BYTES_MAX)?;
        Ok(said(&guarded(prompt, true)))
    }

    fn answer(&self, question: &str, text: &str) -> Vec<u8> {
        let Ok(asked) = serde_json::from_str::<Asked>(question) else { return Vec::new() };
        let questions = asked.input.get("questions").and_then(Value::as_array).into_iter().flatten();
        let answers = questions.map(|q| (str_at(q, "/question").to_owned(), Value::String(text.to_owned()))).collect();
        let mut input = asked.input;
        input.insert("answers".to_owned(), Value::Object(answers));
        respond(&asked.request, &json!({ "behavior": "allow", "updatedInput": input }))
    }

    fn instructions_path(&self, home: &str) -> Option<String> {
        Some(format!("{home}/.claude/CLAUDE.md"))
    }

    fn parser(&self, carried: Carried) -> Box<dyn Parser> {
        Box::new(Stream { tally: Tally::new(carried), before: carried.cost_usd, is_acknowledged: false, is_over: false })
    }

    fn recipe(&self) -> Option<Recipe> {
        Recipe::parse(include_str!("../../../share/engines/locks/claude-code.toml")).ok()
    }

    fn default_model(&self, wire: Wire) -> Option<&str> {
        crate::default_model(wire)
    }
}

/// The servers of tools: ours, and those that a job brings.
fn servers(plan: &Plan<'_>) -> Result<Value, Failure> {
    let [program, verb] = TOOLS_SERVER;
    let mut servers = Map::new();
    servers.insert(TOOLS.to_owned(), json!({ "command": program, "args": [verb] }));
    for server in plan.servers()? {
        servers.insert(server.name, server.given);
    }
    Ok(json!({ "mcpServers": servers }))
}

/// A prompt is for the model. With a slash in front it would be a command to the program instead. It is for the program only where it is
/// to sum up a conversation that there is: of one that there is not the program says so in a way of its own.
fn guarded(prompt: &str, goes_on: bool) -> String {
    let is_command = goes_on && prompt == COMPACT;
    let guard = if prompt.starts_with('/') && !is_command { " " } else { "" };
    format!("{guard}{prompt}")
}

/// What is said to a live process.
fn said(text: &str) -> Vec<u8> {
    let content = json!([{ "type": "text", "text": text }]);
    json_line(&json!({ "type": "user", "message": { "role": "user", "content": content } }))
}

/// A request of the program for an answer, as the identity of a question: the answer must repeat the input.
#[derive(Serialize, Deserialize)]
struct Asked {
    request: String,
    input: Map<String, Value>,
}

/// The line that answers a request of the program.
fn respond(request: &str, response: &Value) -> Vec<u8> {
    let response = json!({ "subtype": "success", "request_id": request, "response": response });
    json_line(&json!({ "type": "control_response", "response": response }))
}

struct Stream {
    tally: Tally,
    before: f64,
    /// A live process has said that it works on what it was told. A result before that belongs to something else, such as
    /// a turn that it began by itself.
    is_acknowledged: bool,
    is_over: bool,
}

impl Parser for Stream {
    fn line(&mut self, line: &str) -> Vec<Parsed> {
        let mut out = Vec::new();
        let Ok(value) = serde_json::from_str::<Value>(line) else { return out };
        let kind = str_at(&value, "/type");
        // What the program calls itself at its start cannot be resumed before something was said.
        if matches!(kind, "assistant" | "user") || (kind == "result" && !is_unknown_session(&value)) {
            self.tally.session(value.get("session_id").and_then(Value::as_str), &mut out);
        }
        match kind {
            "assistant" => {
                // The program answers a command by itself, and repeats nothing of what it was told then.
                self.is_acknowledged |= str_at(&value, "/message/model") == SYNTHETIC && !tells_of_error(&value);
                assistant(&value, &mut out);
            }
            "user" if value.get("isReplay").and_then(Value::as_bool) == Some(true) => self.is_acknowledged = true,
            "user" => user(&value, &mut out),
            "control_request" => control(&value, &mut out),
            "system" if str_at(&value, "/subtype") == "api_retry" => retry(&value, &mut out),
            "result" => self.result(&value),
            _ => (),
        }
        out
    }

    fn is_over(&self) -> bool {
        self.is_over
    }

    fn finish(&mut self, exit: Exit, stderr_tail: &str) -> End {
        self.tally.end(exit, stderr_tail)
    }
}

impl Stream {
    fn result(&mut self, value: &Value) {
        self.tally.done = true;
        self.is_over = self.is_acknowledged;
        self.tally.is_unknown_session |= is_unknown_session(value);
        self.tally.usage = Usage {
            input_tokens: u64_at(value, "/usage/input_tokens"),
            output_tokens: u64_at(value, "/usage/output_tokens"),
            cache_read_tokens: u64_at(value, "/usage/cache_read_input_tokens"),
            cache_write_tokens: u64_at(value, "/usage/cache_creation_input_tokens"),
        };
        if let Some(total) = value.get("total_cost_usd").and_then(Value::as_f64) {
            self.tally.set_cost_total(self.before, total);
        }
        // The total begins anew with a process that was resumed after it was killed; this never counts twice.
        if let Some(cost) = value.get("model_usage_since_last_result").and_then(Value::as_object) {
            let cost: f64 = cost.values().filter_map(|model| model.get("costUSD")).filter_map(Value::as_f64).fold(0.0, |a, b| a + b);
            self.tally.set_cost(cost);
        }
        let text = str_at(value, "/result");
        // The subtype is `success` even when the model could not be asked at all; `is_error` is what tells.
        if value.get("is_error").and_then(Value::as_bool) == Some(true) {
            let status = u64_at(value, "/api_error_status");
            let errors = value.get("errors").map(flatten_lines).unwrap_or_default();
            let message = [text, errors.as_str(), str_at(value, "/subtype")].into_iter().find(|t| !t.is_empty());
            let message = message.unwrap_or("the engine reports an error");
            self.tally.error(u16::try_from(status).ok().filter(|s| *s > 0), message);
            if str_at(value, "/subtype") == "error_max_turns" {
                self.tally.error = Some((Code::TurnLimit, "the engine asked its model as often as it may".to_owned()));
            }
        } else {
            self.tally.set_text(text);
        }
    }
}

/// A list of texts as lines.
fn flatten_lines(value: &Value) -> String {
    let lines = value.as_array().into_iter().flatten().filter_map(Value::as_str);
    lines.collect::<Vec<_>>().join("\n")
}

/// Whether the program says that it does not know the session that it shall go on with.
fn is_unknown_session(value: &Value) -> bool {
    let errors = value.get("errors").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    u64_at(value, "/num_turns") == 0 && errors.into_iter().any(|error| error.starts_with("No conversation found with session ID"))
}

/// A question to the host. Permission is always given: the walls are the sandbox's. A person is asked what only a person
/// can answer, and anything else is declined, so that nothing waits for ever.
fn control(value: &Value, out: &mut Vec<Parsed>) {
    let id = str_at(value, "/request_id");
    if id.is_empty() || id.len() > NAME_BYTES_MAX {
        return;
    }
    let request = value.get("request").unwrap_or(&Value::Null);
    let input = request.get("input").and_then(Value::as_object).cloned().unwrap_or_default();
    if str_at(request, "/subtype") != "can_use_tool" {
        let response = json!({ "subtype": "error", "request_id": id, "error": "not supported" });
        out.push(Parsed::Reply(json_line(&json!({ "type": "control_response", "response": response }))));
    } else if str_at(request, "/tool_name") == ASK {
        ask(id, input, out);
    } else {
        out.push(Parsed::Reply(respond(id, &json!({ "behavior": "allow", "updatedInput": input }))));
    }
}

fn ask(id: &str, input: Map<String, Value>, out: &mut Vec<Parsed>) {
    let questions: Vec<Value> = input.get("questions").and_then(Value::as_array).cloned().unwrap_or_default();
    let texts: Vec<&str> = questions.iter().map(|q| str_at(q, "/question")).collect();
    // Several at once have one answer, so only one of its own has answers to choose from.
    let options = match questions.as_slice() {
        [one] => one.get("options").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default(),
        _ => &[],
    };
    let options = options.iter().map(|option| str_at(option, "/label"));
    let before = out.len();
    if let Ok(identity) = serde_json::to_string(&Asked { request: id.to_owned(), input: input.clone() }) {
        question(&identity, &texts.join("\n"), options, out);
    }
    if out.len() == before {
        let message = "This question cannot be asked: it is empty or too long.";
        out.push(Parsed::Reply(respond(id, &json!({ "behavior": "deny", "message": message }))));
    }
}

/// Whether the program made a message up to tell of an error.
fn tells_of_error(value: &Value) -> bool {
    value.get("error").is_some_and(|e| !e.is_null())
}

fn assistant(value: &Value, out: &mut Vec<Parsed>) {
    // The result tells it again.
    if tells_of_error(value) {
        return;
    }
    for block in value.pointer("/message/content").and_then(Value::as_array).into_iter().flatten() {
        match str_at(block, "/type") {
            "text" => text_event(str_at(block, "/text"), out),
            "thinking" => thinking_event(str_at(block, "/thinking"), out),
            "tool_use" => {
                let input = block.get("input").unwrap_or(&Value::Null);
                tool_call(str_at(block, "/id"), str_at(block, "/name"), input, out);
            }
            _ => (),
        }
    }
}

fn user(value: &Value, out: &mut Vec<Parsed>) {
    for block in value.pointer("/message/content").and_then(Value::as_array).into_iter().flatten() {
        if str_at(block, "/type") == "tool_result" {
            let is_error = block.get("is_error").and_then(Value::as_bool).unwrap_or(false);
            let output = flatten(block.get("content").unwrap_or(&Value::Null));
            tool_result(str_at(block, "/tool_use_id"), &output, is_error, out);
        }
    }
}

fn retry(value: &Value, out: &mut Vec<Parsed>) {
    let status = u16::try_from(u64_at(value, "/error_status")).ok().filter(|s| *s > 0);
    let error = str_at(value, "/error");
    // Without a status nothing was answered at all.
    let code = match (status, classify::code_of(status, error)) {
        (None, Code::EngineFailed) => Code::ProviderDown,
        (_, code) => code,
    };
    let message = format!(
        "the model call failed ({}); attempt {} of {}",
        if error.is_empty() { "no reason given" } else { error },
        u64_at(value, "/attempt"),
        u64_at(value, "/max_retries"),
    );
    out.push(Parsed::Event(EventKind::Error { code, message: clip(&message, MESSAGE_BYTES_MAX), retriable: true }));
}
