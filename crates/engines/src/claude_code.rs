//! Claude Code: one native program; the prompt on standard input; a stream of JSON lines.

use model::{Code, EventKind, Failure, Usage};
use serde_json::{Value, json};

use crate::classify;
use crate::engine::{base_launch, check_prompt, json_line};
use crate::parse::{Tally, clip, flatten, str_at, text_event, thinking_event, tool_call, tool_result, u64_at};
use crate::{Carried, End, Engine, Exit, Launch, MESSAGE_BYTES_MAX, PLACEHOLDER_KEY, Parsed, Parser, Plan, Recipe, Wire};

/// The longest prompt on standard input, in bytes. The program refuses more than 10 MB.
const PROMPT_BYTES_MAX: usize = 10_000_000;
/// How often a failed model call is tried again: with the program's back-off this ends within a minute.
const RETRIES: u32 = 4;

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
        for (flag, value) in [("--model", plan.model), ("--resume", plan.resume)] {
            if let Some(value) = value {
                launch.argv.extend([flag.to_owned(), value.to_owned()]);
            }
        }
        if plan.live {
            launch.argv.extend(["--input-format", "stream-json"].map(str::to_owned));
            launch.stdin = Some(self.input(plan.prompt)?);
            launch.stdin_open = true;
        } else {
            launch.stdin = Some(guarded(plan.prompt).into_bytes());
        }
        Ok(launch)
    }

    fn live(&self) -> bool {
        true
    }

    fn input(&self, prompt: &str) -> Result<Vec<u8>, Failure> {
        check_prompt(self.name(), prompt, PROMPT_BYTES_MAX)?;
        let content = json!([{ "type": "text", "text": guarded(prompt) }]);
        Ok(json_line(&json!({ "type": "user", "message": { "role": "user", "content": content } })))
    }

    fn instructions_path(&self, home: &str) -> Option<String> {
        Some(format!("{home}/.claude/CLAUDE.md"))
    }

    fn parser(&self, carried: Carried) -> Box<dyn Parser> {
        Box::new(Stream { tally: Tally::new(carried), before: carried.cost_usd })
    }

    fn recipe(&self) -> Option<Recipe> {
        Recipe::parse(include_str!("../../../share/engines/locks/claude-code.toml")).ok()
    }

    fn default_model(&self, wire: Wire) -> Option<&'static str> {
        crate::default_model(wire)
    }
}

/// A prompt is for the model. With a slash in front it would be a command to the program instead.
fn guarded(prompt: &str) -> String {
    let guard = if prompt.starts_with('/') { " " } else { "" };
    format!("{guard}{prompt}")
}

struct Stream {
    tally: Tally,
    before: f64,
}

impl Parser for Stream {
    fn line(&mut self, line: &str) -> Vec<Parsed> {
        let mut out = Vec::new();
        let Ok(value) = serde_json::from_str::<Value>(line) else { return out };
        self.tally.session(value.get("session_id").and_then(Value::as_str), &mut out);
        match str_at(&value, "/type") {
            "assistant" => assistant(&value, &mut out),
            "user" => user(&value, &mut out),
            "system" if str_at(&value, "/subtype") == "api_retry" => retry(&value, &mut out),
            "result" => self.result(&value),
            _ => (),
        }
        out
    }

    fn is_over(&self) -> bool {
        self.tally.done
    }

    fn finish(&mut self, exit: Exit, stderr_tail: &str) -> End {
        self.tally.end(exit, stderr_tail)
    }
}

impl Stream {
    fn result(&mut self, value: &Value) {
        self.tally.done = true;
        self.tally.usage = Usage {
            input_tokens: u64_at(value, "/usage/input_tokens"),
            output_tokens: u64_at(value, "/usage/output_tokens"),
            cache_read_tokens: u64_at(value, "/usage/cache_read_input_tokens"),
            cache_write_tokens: u64_at(value, "/usage/cache_creation_input_tokens"),
        };
        if let Some(total) = value.get("total_cost_usd").and_then(Value::as_f64) {
            self.tally.set_cost_total(self.before, total);
        }
        let text = str_at(value, "/result");
        // The subtype is `success` even when the model could not be asked at all; `is_error` is what tells.
        if value.get("is_error").and_then(Value::as_bool) == Some(true) {
            let status = u64_at(value, "/api_error_status");
            let errors = value.get("errors").map(flatten_lines).unwrap_or_default();
            let message = [text, errors.as_str(), str_at(value, "/subtype")].into_iter().find(|t| !t.is_empty());
            let message = message.unwrap_or("the engine reports an error");
            self.tally.error(u16::try_from(status).ok().filter(|s| *s > 0), message);
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

fn assistant(value: &Value, out: &mut Vec<Parsed>) {
    // A message that the program made up to tell of an error; the result tells it again.
    if value.get("error").is_some_and(|e| !e.is_null()) {
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
