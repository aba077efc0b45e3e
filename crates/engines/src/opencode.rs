//! OpenCode: one native program; the prompt on standard input; JSON lines of parts.

use model::{Failure, Usage};
use serde_json::{Value, json};

use crate::engine::{TOOL_WAIT_S, TOOLS, TOOLS_SERVER, base_launch};
use crate::parse::{Tally, flatten, str_at, text_event, thinking_event, tool_call, tool_result, u64_at};
use crate::{Carried, End, Engine, Exit, Launch, PLACEHOLDER_KEY, Parsed, Parser, Plan, Recipe, Terminal, Wire, terminal};

/// The longest prompt, in bytes; tried with this much.
const PROMPT_BYTES_MAX: usize = 8 << 20;
/// The provider's name in the configuration that we write.
const PROVIDER: &str = "lazaret";
/// How many steps in a row may end for no known reason. The program takes a stream that ended early for a step and asks
/// again at once, for ever.
const AIMLESS_MAX: u32 = 5;
/// At each start the program installs a package for plugins, which are off here, unless it finds this lock beside a
/// directory `node_modules`.
const NOTHING_TO_INSTALL: &str = r#"{"lockfileVersion":3,"packages":{"":{"dependencies":{"@opencode-ai/plugin":"*"}}}}"#;
/// Its own tools that can be allowed one by one, by the permission that each of them asks for.
const OWN_TOOLS: &[(&str, &[&str])] = &[
    ("bash", &["Bash", "shell"]),
    // One permission for all that changes files.
    ("edit", &["Edit", "MultiEdit", "Write"]),
    ("glob", &["Glob"]),
    ("grep", &["Grep"]),
    ("list", &["LS"]),
    ("read", &["Read"]),
    ("skill", &[]),
    ("task", &["Task"]),
    ("todowrite", &["TodoWrite"]),
    ("webfetch", &["WebFetch"]),
    ("websearch", &["WebSearch"]),
];
/// What would talk to the network besides the model.
const QUIET: &[&str] = &[
    "OPENCODE_DISABLE_AUTOUPDATE", "OPENCODE_DISABLE_MODELS_FETCH", "OPENCODE_DISABLE_LSP_DOWNLOAD", "OPENCODE_DISABLE_DEFAULT_PLUGINS",
    "OPENCODE_DISABLE_SHARE", "OPENCODE_PURE",
];

pub(crate) struct OpenCode;

impl Engine for OpenCode {
    fn name(&self) -> &str {
        "opencode"
    }

    fn wires(&self) -> &[Wire] {
        &[Wire::Anthropic, Wire::OpenAiChat, Wire::OpenAiResponses]
    }

    fn plan(&self, plan: &Plan<'_>) -> Result<Launch, Failure> {
        plan.check(self, PROMPT_BYTES_MAX)?;
        let config = format!("{}/.lazaret/opencode.json", plan.home);
        let model = plan.model.or_else(|| self.default_model(plan.wire)).unwrap_or("default");
        let mut launch = base_launch(plan)
            .env([("OPENCODE_CONFIG", config.clone()), ("BUN_JSC_forceRAMSize", plan.memory_bytes.to_string())])
            .on(QUIET)
            .file(config, settings(plan, model)?.to_string())
            .file(format!("{}/.config/opencode/node_modules/.lazaret", plan.home), "")
            .file(format!("{}/.config/opencode/package-lock.json", plan.home), NOTHING_TO_INSTALL);
        if let Some(tools) = plan.tools(self, OWN_TOOLS)? {
            // A repository's own settings could allow more.
            launch = launch.env([("OPENCODE_PERMISSION", permission(plan, &tools)?.to_string())]).on(&["OPENCODE_DISABLE_PROJECT_CONFIG"]);
        }
        launch.argv = plan.program.argv(&[]);
        launch.argv.extend(["run", "--format", "json", "--auto", "--thinking", "-m"].map(str::to_owned));
        launch.argv.push(format!("{PROVIDER}/{model}"));
        match plan.resume {
            Some(session) => launch.argv.extend(["--session".to_owned(), session.to_owned()]),
            // A session without a title costs a model call that makes one.
            None => launch.argv.extend(["--title", "Lazaret"].map(str::to_owned)),
        }
        launch.stdin = Some(plan.prompt.as_bytes().to_vec());
        Ok(launch)
    }

    fn terminal(&self, plan: &Plan<'_>, _name: &str) -> Result<Terminal, Failure> {
        let turn: &[&[&str]] = &[&["run", "--format", "json", "--auto", "--thinking"], &["--title", "Lazaret"]];
        let mut launch = terminal::of_turn(self, plan, turn)?;
        if let Some(text) = plan.first()? {
            launch.argv.extend(["--prompt".to_owned(), terminal::argument(text)]);
        }
        Ok(Terminal { launch, session: None })
    }

    fn parser(&self, carried: Carried) -> Box<dyn Parser> {
        Box::new(Parts { tally: Tally::new(carried), aimless: 0 })
    }

    fn instructions_path(&self, home: &str) -> Option<String> {
        Some(format!("{home}/.config/opencode/AGENTS.md"))
    }

    fn recipe(&self) -> Option<Recipe> {
        Recipe::parse(include_str!("../../../share/engines/locks/opencode.toml")).ok()
    }

    fn default_model(&self, wire: Wire) -> Option<&str> {
        crate::default_model(wire)
    }
}

/// Allows these tools and those of MCP servers, and no other: what is not allowed is not even offered to the model.
fn permission(plan: &Plan<'_>, tools: &[String]) -> Result<Value, Failure> {
    let mut rules = serde_json::Map::from_iter([("*".to_owned(), Value::from("deny"))]);
    for (name, _) in OWN_TOOLS {
        let word = if tools.iter().any(|tool| tool == name) { "allow" } else { "deny" };
        rules.insert((*name).to_owned(), word.into());
    }
    let servers = plan.servers()?.into_iter().map(|server| server.name).chain([TOOLS.to_owned()]);
    rules.extend(servers.map(|server| (format!("{server}_*"), "allow".into())));
    Ok(rules.into())
}

fn settings(plan: &Plan<'_>, model: &str) -> Result<Value, Failure> {
    let package = match plan.wire {
        Wire::Anthropic => "@ai-sdk/anthropic",
        Wire::OpenAiResponses => "@ai-sdk/openai",
        Wire::OpenAiChat | Wire::Gemini => "@ai-sdk/openai-compatible",
    };
    let id = format!("{PROVIDER}/{model}");
    let wait_ms = u64::from(TOOL_WAIT_S) * 1000;
    let mut servers = serde_json::Map::new();
    servers.insert(TOOLS.to_owned(), json!({ "type": "local", "command": TOOLS_SERVER, "enabled": true, "timeout": wait_ms }));
    for server in plan.servers()? {
        let value = if server.command.is_empty() {
            json!({ "type": "remote", "url": server.given["url"], "enabled": true, "timeout": wait_ms })
        } else {
            let env: serde_json::Map<String, Value> = server.env.into_iter().map(|(key, value)| (key, value.into())).collect();
            json!({ "type": "local", "command": server.command, "environment": env, "enabled": true, "timeout": wait_ms })
        };
        servers.insert(server.name, value);
    }
    let mut settings = json!({
        "mcp": servers,
        "experimental": { "mcp_timeout": wait_ms },
        "autoupdate": false,
        "share": "disabled",
        "permission": "allow",
        "model": id,
        "small_model": id,
        "enabled_providers": [PROVIDER],
        "provider": { PROVIDER: {
            "npm": package,
            "name": "Lazaret",
            "options": { "baseURL": plan.gateway("/v1"), "apiKey": PLACEHOLDER_KEY },
            "models": { model: { "name": model, "tool_call": true } },
        }},
    });
    if let Some(text) = plan.system()? {
        settings["agent"] = json!({ "build": { "prompt": text } });
    }
    Ok(settings)
}

struct Parts {
    tally: Tally,
    /// Steps in a row that ended for no known reason.
    aimless: u32,
}

impl Parser for Parts {
    fn line(&mut self, line: &str) -> Vec<Parsed> {
        let mut out = Vec::new();
        let Ok(value) = serde_json::from_str::<Value>(line) else { return out };
        self.tally.session(value.get("sessionID").and_then(Value::as_str), &mut out);
        let part = value.get("part").unwrap_or(&Value::Null);
        match str_at(&value, "/type") {
            "text" => {
                text_event(str_at(part, "/text"), &mut out);
                self.tally.set_text(str_at(part, "/text"));
            }
            "reasoning" => thinking_event(str_at(part, "/text"), &mut out),
            "tool_use" => tool(part, &mut out),
            "step_finish" => self.step(part),
            "error" => {
                let status = u16::try_from(u64_at(&value, "/error/data/statusCode")).ok().filter(|s| *s > 0);
                let texts = ["/error/data/responseBody", "/error/data/message", "/error/message", "/error/name"];
                let said: Vec<&str> = texts.iter().map(|p| str_at(&value, p)).filter(|t| !t.is_empty()).collect();
                self.tally.error(status, &said.join(": "));
            }
            _ => (),
        }
        out
    }

    fn is_stuck(&self) -> bool {
        self.aimless >= AIMLESS_MAX
    }

    fn finish(&mut self, exit: Exit, stderr_tail: &str) -> End {
        self.tally.end(exit, stderr_tail)
    }
}

impl Parts {
    fn step(&mut self, part: &Value) {
        self.tally.usage = self.tally.usage.plus(Usage {
            input_tokens: u64_at(part, "/tokens/input"),
            output_tokens: u64_at(part, "/tokens/output").saturating_add(u64_at(part, "/tokens/reasoning")),
            cache_read_tokens: u64_at(part, "/tokens/cache/read"),
            cache_write_tokens: u64_at(part, "/tokens/cache/write"),
        });
        // The cost is left out: the program reckons it from prices that our configuration does not hold.
        let reason = str_at(part, "/reason");
        self.tally.done = !matches!(reason, "tool-calls" | "unknown");
        self.aimless = if reason == "unknown" { self.aimless + 1 } else { 0 };
        if self.aimless == AIMLESS_MAX {
            self.tally.error(None, "the model's stream was cut again and again and the engine asks without end");
        }
    }
}

fn tool(part: &Value, out: &mut Vec<Parsed>) {
    let id = str_at(part, "/callID");
    tool_call(id, str_at(part, "/tool"), part.pointer("/state/input").unwrap_or(&Value::Null), out);
    let failed = part.pointer("/state/error");
    let output = failed.or_else(|| part.pointer("/state/output")).unwrap_or(&Value::Null);
    // A command that failed is a completed tool here; its exit status tells.
    let exit = part.pointer("/state/metadata/exit").and_then(Value::as_i64).unwrap_or(0);
    tool_result(id, &flatten(output), failed.is_some() || exit != 0 || str_at(part, "/state/status") == "error", out);
}
