//! The Agent Client Protocol, version 1: any agent that speaks it, driven over its standard input and output.
//!
//! The conversation is JSON-RPC 2.0, one message in a line. This side asks `initialize`, `authenticate` where the description
//! names a way, `session/new` or `session/load`, and `session/prompt` for each turn; the agent tells of its work with
//! `session/update` and may ask for permission, which is always given: the walls are the sandbox's, and tools of the owner
//! ask the broker. Neither files nor terminals of a client are offered, so an agent uses its own, inside.
//!
//! What is written depends on nothing but the plan and on what was read before, so that a daemon that comes after a crash
//! can say the same again. The session's name is told with the end of a turn only, for the same reason.

use model::{Code, Failure, Usage};
use serde_json::{Map, Value, json};

use crate::acp_calls::{Calls, Chunks, Speaks};
use crate::engine::{TOOLS, TOOLS_SERVER, json_line};
use crate::parse::{NAME_BYTES_MAX, Tally, clip, notice, str_at, u64_at};
use crate::{Carried, End, Exit, MESSAGE_BYTES_MAX, Parsed, Parser, Plan};

/// The version of the protocol.
const VERSION: u64 = 1;
/// The numbers of the requests that begin a conversation.
const INITIALIZE: u64 = 1;
const AUTHENTICATE: u64 = 2;
const SESSION: u64 = 3;
/// A session that is begun anew because the agent does not know the one that it was asked for.
const SESSION_AGAIN: u64 = 4;
/// What no agent knows: its answer comes after all that it said before.
const READY: u64 = 5;
/// The number of a turn's request is this and the number of the turn, so that no late answer is taken for another's.
const PROMPT_FROM: u64 = 1000;
/// The answer to a method that is not offered.
const METHOD_NOT_FOUND: i64 = -32601;
/// How many entries of a plan are shown.
const PLAN_ENTRIES_MAX: usize = 40;

/// What one conversation with an agent begins with.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Opening {
    /// The way to authenticate, by the agent's own name for it.
    auth: Option<String>,
    cwd: String,
    resume: Option<String>,
    servers: Value,
    /// Whether a server is reached by its address, which not every agent can do.
    has_remote: bool,
    prompt: String,
    /// What was said before, for a session that knows nothing of it.
    history: String,
    id: u64,
}

impl Opening {
    pub(crate) fn of(plan: &Plan<'_>, auth: Option<&str>) -> Result<Self, Failure> {
        let servers = plan.servers()?;
        let has_remote = servers.iter().any(|server| server.command.is_empty());
        let [program, verb] = TOOLS_SERVER;
        let mut list = vec![json!({ "name": TOOLS, "command": program, "args": [verb], "env": [] })];
        list.extend(servers.into_iter().map(|server| match server.command.as_slice() {
            [program, args @ ..] => json!({ "name": server.name, "command": program, "args": args, "env": pairs(server.env) }),
            [] => {
                let headers = server.given.get("headers").and_then(Value::as_object).into_iter().flatten();
                let headers = headers.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
                json!({ "type": "http", "name": server.name, "url": server.given["url"], "headers": pairs(headers) })
            }
        }));
        Ok(Self {
            auth: auth.map(str::to_owned),
            cwd: plan.workdir.to_owned(),
            resume: plan.resume.map(str::to_owned),
            servers: list.into(),
            has_remote,
            prompt: plan.prompt.to_owned(),
            history: plan.history.unwrap_or_default().to_owned(),
            id: prompt_id(plan),
        })
    }
}

fn pairs(of: impl IntoIterator<Item = (String, String)>) -> Vec<Value> {
    of.into_iter().map(|(name, value)| json!({ "name": name, "value": value })).collect()
}

fn prompt_id(plan: &Plan<'_>) -> u64 {
    PROMPT_FROM + plan.turn
}

fn request(id: u64, method: &str, params: &Value) -> Vec<u8> {
    json_line(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }))
}

/// The first line that a new process is told.
pub(crate) fn initialize() -> Vec<u8> {
    let fs = json!({ "readTextFile": false, "writeTextFile": false });
    let client = json!({ "name": "lazaret", "title": "Lazaret", "version": VERSION.to_string() });
    let params = json!({ "protocolVersion": VERSION, "clientCapabilities": { "fs": fs, "terminal": false }, "clientInfo": client });
    request(INITIALIZE, "initialize", &params)
}

/// Asks a process that has a session for a further turn.
pub(crate) fn further(plan: &Plan<'_>) -> Result<Vec<u8>, Failure> {
    let session = plan.resume.ok_or_else(|| Failure::new(Code::EngineFailed, "the agent has no session to go on with"))?;
    Ok(prompt(prompt_id(plan), session, plan.prompt))
}

fn prompt(id: u64, session: &str, text: &str) -> Vec<u8> {
    // With a slash in front it would be a command to the agent's program instead.
    let guard = if text.starts_with('/') { " " } else { "" };
    let content = json!([{ "type": "text", "text": format!("{guard}{text}") }]);
    request(id, "session/prompt", &json!({ "sessionId": session, "prompt": content }))
}

/// How far the conversation has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// An answer to the request of this number is waited for.
    Asked(u64),
    /// The turn runs, under this number.
    Runs(u64),
    Over,
}

/// Reads what an agent says during one turn.
pub(crate) struct Conversation {
    /// What is still to be said; nothing in a process that has a session.
    opening: Option<Opening>,
    session: Option<String>,
    step: Step,
    /// The conversation cannot be had at all: the process is of no use.
    is_broken: bool,
    tally: Tally,
    chunks: Chunks,
    calls: Calls,
    last_plan: String,
    /// The answers that this agent gives servers by their address to.
    takes_http: bool,
    can_load: bool,
}

impl Conversation {
    /// A reader of the first turn of a process.
    pub(crate) fn open(opening: Opening, carried: Carried) -> Self {
        Self::at(Step::Asked(INITIALIZE), Some(opening), None, carried)
    }

    /// A reader of a further turn of a process.
    pub(crate) fn further(plan: &Plan<'_>, carried: Carried) -> Self {
        Self::at(Step::Runs(prompt_id(plan)), None, plan.resume, carried)
    }

    fn at(step: Step, opening: Option<Opening>, session: Option<&str>, carried: Carried) -> Self {
        Self {
            opening,
            session: session.map(str::to_owned),
            step,
            is_broken: false,
            tally: Tally::new(carried),
            chunks: Chunks::default(),
            calls: Calls::default(),
            last_plan: String::new(),
            takes_http: false,
            can_load: false,
        }
    }

    /// An answer to one of our requests.
    fn answered(&mut self, value: &Value, out: &mut Vec<Parsed>) {
        let Some(id) = value.get("id").and_then(Value::as_u64) else { return };
        let error = value.get("error").filter(|error| !error.is_null());
        match self.step {
            Step::Runs(waited) if waited == id => self.ended(value, error),
            Step::Asked(waited) if waited == id => match error {
                None => self.go_on(id, value.get("result").unwrap_or(&Value::Null), out),
                Some(error) if id == SESSION && self.opening.as_ref().is_some_and(|o| o.resume.is_some()) => {
                    let text = format!("the agent does not go on with the earlier conversation ({}); {}", told(error), self.instead());
                    notice(&text, out);
                    self.ask_for_session(SESSION_AGAIN, out);
                }
                Some(_) if id == READY => self.begin(out),
                Some(error) => self.broken(&told(error)),
            },
            // Nobody asked that, or it was answered before.
            Step::Runs(_) | Step::Asked(_) | Step::Over => {}
        }
    }

    /// Says what comes next.
    fn go_on(&mut self, answered: u64, result: &Value, out: &mut Vec<Parsed>) {
        match answered {
            INITIALIZE => {
                let version = u64_at(result, "/protocolVersion");
                if version != VERSION {
                    return self.broken(&format!("the agent speaks version {version} of the protocol, and not {VERSION}"));
                }
                let offers = |pointer: &str| result.pointer(pointer).and_then(Value::as_bool) == Some(true);
                self.takes_http = offers("/agentCapabilities/mcpCapabilities/http");
                self.can_load = offers("/agentCapabilities/loadSession");
                let auth = self.opening.as_ref().and_then(|opening| opening.auth.clone());
                match auth {
                    Some(method) => self.ask(AUTHENTICATE, "authenticate", &json!({ "methodId": method }), out),
                    None => self.ask_for_session(SESSION, out),
                }
            }
            AUTHENTICATE => self.ask_for_session(SESSION, out),
            _ => {
                if answered == READY {
                    return self.begin(out);
                }
                let loaded = self.opening.as_ref().and_then(|opening| opening.resume.clone()).filter(|_| self.asks_to_load(answered));
                let name = loaded.or_else(|| result.get("sessionId").and_then(Value::as_str).map(str::to_owned));
                // The tally takes plain names only; what it says of one is told with the end.
                let mut said = Vec::new();
                self.tally.session(name.as_deref(), &mut said);
                let Some(Parsed::SessionId(session)) = said.pop() else {
                    return self.broken("the agent gave no plain name to the session");
                };
                self.session = Some(session);
                if self.asks_to_load(answered) {
                    // Some agents tell of the turns before after their answer; they have when they answer again.
                    return self.ask(READY, "_lazaret/ready", &json!({}), out);
                }
                self.begin(out);
            }
        }
    }

    /// Asks for the turn.
    fn begin(&mut self, out: &mut Vec<Parsed>) {
        let (Some(opening), Some(session)) = (self.opening.take(), &self.session) else { return };
        let is_loaded = self.step == Step::Asked(READY);
        let text = match opening.history.as_str() {
            history if !history.is_empty() && !is_loaded => {
                format!("This is what was said so far:\n\n{history}\n\nNow the user says:\n\n{}", opening.prompt)
            }
            _ => opening.prompt,
        };
        out.push(Parsed::Reply(prompt(opening.id, session, &text)));
        self.step = Step::Runs(opening.id);
    }

    fn ask(&mut self, id: u64, method: &str, params: &Value, out: &mut Vec<Parsed>) {
        out.push(Parsed::Reply(request(id, method, params)));
        self.step = Step::Asked(id);
    }

    /// Whether the request of this number asks for the session of the turns before.
    fn asks_to_load(&self, id: u64) -> bool {
        id == SESSION && self.can_load && self.opening.as_ref().is_some_and(|opening| opening.resume.is_some())
    }

    /// What becomes of a conversation that the agent has forgotten.
    fn instead(&self) -> &'static str {
        let has_history = self.opening.as_ref().is_some_and(|opening| !opening.history.is_empty());
        if has_history { "it is told what was said" } else { "it begins anew" }
    }

    fn ask_for_session(&mut self, id: u64, out: &mut Vec<Parsed>) {
        let Some(opening) = &self.opening else { return };
        if opening.has_remote && !self.takes_http {
            return self.broken("the agent takes MCP servers by a command only, and one has an address");
        }
        let mut params = json!({ "cwd": opening.cwd, "mcpServers": opening.servers });
        let loads = self.asks_to_load(id);
        if loads {
            params["sessionId"] = opening.resume.clone().into();
        } else if id == SESSION && opening.resume.is_some() {
            notice(&format!("the agent cannot go on with an earlier conversation; {}", self.instead()), out);
        }
        self.ask(id, if loads { "session/load" } else { "session/new" }, &params, out);
    }

    /// The turn's end.
    fn ended(&mut self, value: &Value, error: Option<&Value>) {
        self.step = Step::Over;
        if let Some(error) = error {
            return self.tally.error(None, &told(error));
        }
        let result = value.get("result").unwrap_or(&Value::Null);
        self.tally.usage = usage(result);
        let message = std::mem::take(&mut self.chunks.message);
        self.tally.set_text(&message);
        self.tally.done = true;
        let reason = str_at(result, "/stopReason");
        if let Some((code, why)) = why_stopped(reason) {
            self.tally.error = Some((code, why.to_owned()));
        } else if reason != "end_turn" {
            let shown: String = reason.escape_debug().take(64).collect();
            self.tally.error = Some((Code::EngineFailed, format!("the agent stopped for a reason of its own: {shown}")));
        }
    }

    fn broken(&mut self, why: &str) {
        self.tally.error(None, why);
        self.is_broken = true;
        self.step = Step::Over;
    }

    /// A request of the agent: it always gets an answer.
    fn asked(&mut self, value: &Value, method: &str, out: &mut Vec<Parsed>) {
        let id = match value.get("id") {
            Some(Value::Number(id)) => Value::Number(id.clone()),
            Some(Value::String(id)) if id.len() <= NAME_BYTES_MAX => Value::String(id.clone()),
            _ => return,
        };
        let answer = if method == "session/request_permission" {
            let params = value.get("params").unwrap_or(&Value::Null);
            if self.is_ours(params) {
                self.chunks.flush(out);
                self.calls.update(params.get("toolCall").unwrap_or(&Value::Null), out);
            }
            json!({ "jsonrpc": "2.0", "id": id, "result": { "outcome": self.permission(params) } })
        } else {
            let error = json!({ "code": METHOD_NOT_FOUND, "message": "not offered" });
            json!({ "jsonrpc": "2.0", "id": id, "error": error })
        };
        out.push(Parsed::Reply(json_line(&answer)));
    }

    /// What the agent may do: all that it asks for, once each time.
    fn permission(&self, params: &Value) -> Value {
        let options = params.get("options").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let of = |kind: &str| options.iter().find(|option| str_at(option, "/kind") == kind).map(|option| str_at(option, "/optionId"));
        match of("allow_once").or_else(|| of("allow_always")).filter(|id| id.len() <= NAME_BYTES_MAX) {
            Some(option) if self.is_ours(params) && self.step != Step::Over => json!({ "outcome": "selected", "optionId": option }),
            _ => json!({ "outcome": "cancelled" }),
        }
    }

    fn is_ours(&self, params: &Value) -> bool {
        self.session.as_deref() == Some(str_at(params, "/sessionId"))
    }

    /// What the agent tells of its work.
    fn update(&mut self, params: &Value, out: &mut Vec<Parsed>) {
        // What a session that is loaded did before is in the log already.
        if !self.is_ours(params) || !matches!(self.step, Step::Runs(_)) {
            return;
        }
        let update = params.get("update").unwrap_or(&Value::Null);
        match str_at(update, "/sessionUpdate") {
            "agent_message_chunk" => self.chunks.add(Speaks::Message, update, out),
            "agent_thought_chunk" => self.chunks.add(Speaks::Thought, update, out),
            "tool_call" | "tool_call_update" => {
                self.chunks.flush(out);
                if self.calls.update(update, out) {
                    self.chunks.message.clear();
                }
            }
            "plan" => self.plan(update, out),
            _ => {}
        }
    }

    fn plan(&mut self, update: &Value, out: &mut Vec<Parsed>) {
        let entries = update.get("entries").and_then(Value::as_array).into_iter().flatten().take(PLAN_ENTRIES_MAX);
        let lines = entries.map(|entry| {
            let mark = match str_at(entry, "/status") {
                "completed" => "[x]",
                "in_progress" => "[>]",
                _ => "[ ]",
            };
            format!("\n{mark} {}", clip(str_at(entry, "/content"), NAME_BYTES_MAX))
        });
        let plan = clip(&lines.collect::<String>(), MESSAGE_BYTES_MAX - 16);
        if plan != self.last_plan && !plan.is_empty() {
            self.chunks.flush(out);
            notice(&format!("the plan:{plan}"), out);
            self.last_plan = plan;
        }
    }
}

impl Parser for Conversation {
    fn line(&mut self, line: &str) -> Vec<Parsed> {
        let mut out = Vec::new();
        let Ok(value) = serde_json::from_str::<Value>(line) else { return out };
        let method = str_at(&value, "/method");
        let params = value.get("params").unwrap_or(&Value::Null);
        if method.is_empty() {
            let before = self.step;
            self.answered(&value, &mut out);
            if before != Step::Over && self.step == Step::Over {
                self.chunks.flush(&mut out);
                self.calls.flush(&mut out);
            }
        } else if value.get("id").is_some() {
            self.asked(&value, method, &mut out);
        } else if method == "session/update" {
            self.update(params, &mut out);
        }
        out
    }

    fn is_stuck(&self) -> bool {
        self.is_broken
    }

    fn is_over(&self) -> bool {
        self.step == Step::Over && !self.is_broken
    }

    fn interrupt(&self) -> Vec<u8> {
        match (&self.session, self.step) {
            (Some(session), Step::Runs(_)) => {
                json_line(&json!({ "jsonrpc": "2.0", "method": "session/cancel", "params": { "sessionId": session } }))
            }
            _ => Vec::new(),
        }
    }

    fn finish(&mut self, exit: Exit, stderr_tail: &str) -> End {
        if let Some(session) = &self.session {
            self.tally.session(Some(session), &mut Vec::new());
        }
        if self.step != Step::Over {
            let message = std::mem::take(&mut self.chunks.message);
            self.tally.set_text(&message);
        }
        self.tally.end(exit, stderr_tail)
    }
}

/// Why a turn that did not end by itself ended; `None` for one that did, and for reasons that the protocol does not have.
fn why_stopped(reason: &str) -> Option<(Code, &'static str)> {
    match reason {
        "max_tokens" => Some((Code::EngineFailed, "the model's answer came to its longest length")),
        "max_turn_requests" => Some((Code::TurnLimit, "the agent asked its model as often as it may")),
        "refusal" => Some((Code::EngineFailed, "the agent refuses to go on")),
        // Who cancels says so; here the agent did it by itself.
        "cancelled" => Some((Code::EngineFailed, "the agent gave the turn up")),
        _ => None,
    }
}

/// An error of JSON-RPC in words.
fn told(error: &Value) -> String {
    let message = str_at(error, "/message");
    let data = error.get("data").map(|data| match data {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => ["/details", "/message", "/error"]
            .iter()
            .map(|p| str_at(other, p))
            .find(|t| !t.is_empty())
            .map_or_else(|| other.to_string(), str::to_owned),
    });
    match data.filter(|data| !data.is_empty() && data != message) {
        Some(data) => clip(&format!("{message}: {data}"), MESSAGE_BYTES_MAX),
        None if message.is_empty() => "the agent reports an error".to_owned(),
        None => clip(message, MESSAGE_BYTES_MAX),
    }
}

fn usage(result: &Value) -> Usage {
    let counted = result.get("usage").and_then(Value::as_object).cloned().unwrap_or_else(|| {
        let other = result.pointer("/_meta/quota/token_count");
        let at = |key: &str| other.and_then(|o| o.get(key)).cloned().unwrap_or(Value::Null);
        Map::from_iter([("inputTokens".to_owned(), at("input_tokens")), ("outputTokens".to_owned(), at("output_tokens"))])
    });
    let at = |key: &str| counted.get(key).and_then(Value::as_u64).unwrap_or(0);
    Usage {
        input_tokens: at("inputTokens"),
        output_tokens: at("outputTokens"),
        cache_read_tokens: at("cachedReadTokens"),
        cache_write_tokens: at("cachedWriteTokens"),
    }
}
