//! Mini, the engine of the guest program itself: it is always there and needs nothing installed.
//!
//! Its lines are JSON objects with a field `type`:
//! `session {id, model}`, `text {text}`, `thinking {text}`, `tool_call {id, name, input}`,
//! `tool_result {id, output, is_error}`, `notice {text}`, `retry {status, message, attempt, wait_ms}`,
//! `question {id, text, options}`, `error {status, message}` and at the end `result {text, turns, usage}`. An `error`
//! ends the turn. A live process takes `user {text}` and `answer {id, text}` as lines on its standard input.

use model::{EventKind, Failure, Usage};
use serde_json::{Value, json};

use crate::classify;
use crate::engine::{HOST_SOCKET, base_launch, check_prompt, json_line};
use crate::parse::{Tally, clip, notice, question, str_at, text_event, thinking_event, tool_call, tool_result, u64_at};
use crate::{Carried, End, Engine, Exit, Launch, MESSAGE_BYTES_MAX, Parsed, Parser, Plan, Terminal, Wire, terminal};

/// The longest prompt, in bytes.
const PROMPT_BYTES_MAX: usize = 32 << 20;

/// Its own tools, and what others call them.
const OWN_TOOLS: &[(&str, &[&str])] = &[
    ("ask_user", &["AskUserQuestion"]),
    ("bash", &["Bash"]),
    ("edit", &["Edit", "MultiEdit"]),
    ("read", &["Read"]),
    ("write", &["Write"]),
];

pub(crate) struct Mini;

impl Engine for Mini {
    fn name(&self) -> &str {
        "mini"
    }

    fn wires(&self) -> &[Wire] {
        &[Wire::Anthropic, Wire::OpenAiChat]
    }

    fn plan(&self, plan: &Plan<'_>) -> Result<Launch, Failure> {
        plan.check(self, PROMPT_BYTES_MAX)?;
        plan.cannot(self, &["mcp_config"])?;
        let state = format!("{}/.lazaret/mini", plan.home);
        let mut launch = base_launch(plan);
        launch.argv = plan.program.argv(&[]);
        let wire = if plan.wire == Wire::OpenAiChat { "openai" } else { "anthropic" };
        let base = plan.gateway("");
        let model = plan.model.or_else(|| self.default_model(plan.wire)).unwrap_or("default");
        for (flag, value) in [("--wire", wire), ("--base-url", &base), ("--model", model), ("--state", &state), ("--tools", HOST_SOCKET)] {
            launch.argv.extend([flag.to_owned(), value.to_owned()]);
        }
        if let Some(session) = plan.resume {
            launch.argv.extend(["--resume".to_owned(), session.to_owned()]);
        }
        if let Some(instructions) = self.instructions_path(plan.home).filter(|_| plan.has_instructions) {
            launch.argv.extend(["--instructions".to_owned(), instructions]);
        }
        if let Some(most) = plan.options.max_turns {
            launch.argv.extend(["--max-turns".to_owned(), most.to_string()]);
        }
        if let Some(tools) = plan.tools(self, OWN_TOOLS)? {
            launch.argv.extend(["--allow".to_owned(), tools.join(",")]);
        }
        if let Some(text) = plan.system()? {
            let path = format!("{}/.lazaret/mini/system.md", plan.home);
            launch.argv.extend(["--system".to_owned(), path.clone()]);
            launch = launch.file(path, text);
        }
        launch.stdin = Some(if plan.live { self.input(plan.prompt)? } else { plan.prompt.as_bytes().to_vec() });
        if plan.live {
            launch.argv.push("--stream".to_owned());
            launch.stdin_open = true;
        }
        Ok(launch)
    }

    fn terminal(&self, plan: &Plan<'_>, name: &str) -> Result<Terminal, Failure> {
        let mut launch = terminal::of_turn(self, plan, &[])?;
        launch.argv.push("--terminal".to_owned());
        // Its names have another form, with as much in them.
        let session = plan.resume.is_none().then(|| format!("mini_{}", name.replace('-', "")));
        if let Some(name) = &session {
            launch.argv.extend(["--name".to_owned(), name.clone()]);
        }
        if let Some(text) = plan.first()? {
            let path = format!("{}/.lazaret/mini/first", plan.home);
            launch.argv.extend(["--prompt-file".to_owned(), path.clone()]);
            launch = launch.file(path, text);
        }
        Ok(Terminal { launch, session })
    }

    fn live(&self) -> bool {
        true
    }

    fn input(&self, prompt: &str) -> Result<Vec<u8>, Failure> {
        check_prompt(self.name(), prompt, PROMPT_BYTES_MAX)?;
        Ok(json_line(&json!({ "type": "user", "text": prompt })))
    }

    fn answer(&self, question: &str, text: &str) -> Vec<u8> {
        json_line(&json!({ "type": "answer", "id": question, "text": text }))
    }

    fn instructions_path(&self, home: &str) -> Option<String> {
        Some(format!("{home}/.lazaret/mini/AGENTS.md"))
    }

    fn parser(&self, carried: Carried) -> Box<dyn Parser> {
        Box::new(Lines { tally: Tally::new(carried), is_over: false })
    }

    fn default_model(&self, wire: Wire) -> Option<&str> {
        crate::default_model(wire)
    }
}

struct Lines {
    tally: Tally,
    is_over: bool,
}

impl Parser for Lines {
    fn line(&mut self, line: &str) -> Vec<Parsed> {
        let mut out = Vec::new();
        let Ok(value) = serde_json::from_str::<Value>(line) else { return out };
        let status = u16::try_from(u64_at(&value, "/status")).ok().filter(|s| *s > 0);
        let id = str_at(&value, "/id");
        match str_at(&value, "/type") {
            "session" => self.tally.session(Some(id), &mut out),
            "text" => text_event(str_at(&value, "/text"), &mut out),
            "thinking" => thinking_event(str_at(&value, "/text"), &mut out),
            "tool_call" => {
                tool_call(id, str_at(&value, "/name"), value.get("input").unwrap_or(&Value::Null), &mut out);
            }
            "tool_result" => {
                let is_error = value.get("is_error").and_then(Value::as_bool).unwrap_or(false);
                tool_result(id, str_at(&value, "/output"), is_error, &mut out);
            }
            "notice" => notice(str_at(&value, "/text"), &mut out),
            "question" => {
                let options = value.get("options").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
                question(id, str_at(&value, "/text"), options, &mut out);
            }
            "retry" => {
                let message = str_at(&value, "/message");
                let code = classify::code_of(status, message);
                let message = clip(message, MESSAGE_BYTES_MAX);
                out.push(Parsed::Event(EventKind::Error { code, message, retriable: true }));
            }
            "error" => {
                self.is_over = true;
                self.tally.is_unknown_session |= str_at(&value, "/message").starts_with("there is no session ");
                self.tally.error(status, str_at(&value, "/message"));
            }
            "result" => {
                self.is_over = true;
                self.tally.done = true;
                self.tally.set_text(str_at(&value, "/text"));
                self.tally.usage = usage(&value);
            }
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

fn usage(value: &Value) -> Usage {
    Usage {
        input_tokens: u64_at(value, "/usage/input_tokens"),
        output_tokens: u64_at(value, "/usage/output_tokens"),
        cache_read_tokens: u64_at(value, "/usage/cache_read_tokens"),
        cache_write_tokens: u64_at(value, "/usage/cache_write_tokens"),
    }
}
