//! What a request says, in one form for all four APIs.

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::Wire;

/// Tools and outputs that are looked at.
const ITEMS_MAX: usize = 10_000;

/// One request to a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// The model.
    pub model: String,
    /// Whether a stream is asked for.
    pub stream: bool,
    /// Whether the stream is one of server-sent events (Gemini has another form).
    pub events: bool,
    /// Whether a chat stream shall tell its usage.
    pub usage: bool,
    /// What the user said last.
    pub user: String,
    /// How many times the user spoke: the number of the turn.
    pub turns: usize,
    /// How many replies of the model the request holds already.
    pub replies: usize,
    /// The tools that are offered.
    pub tools: Vec<Tool>,
    /// What tools printed since the user spoke last.
    pub outputs: Vec<Output>,
    /// Bytes of the request.
    pub bytes: usize,
    /// Derived from the request; what identities are made of.
    pub seed: String,
}

/// A tool that is offered.
#[derive(Debug, Clone, PartialEq)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// Its name space.
    pub namespace: Option<String>,
    /// The schema of its arguments.
    pub schema: Value,
}

/// What a tool gave back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Its text.
    pub text: String,
}

/// A request that no API knows.
#[derive(Debug, thiserror::Error)]
#[error("read the request")]
pub struct AskedError(#[from] serde_json::Error);

impl Asked {
    /// Reads a request. `path_model`, `path_stream` and `alt_sse` come from the address, which only Gemini uses.
    ///
    /// # Errors
    /// [`AskedError`] when the body is no JSON. Fields of a wrong type count as missing.
    pub fn read(wire: Wire, body: &[u8], path_model: Option<&str>, path_stream: bool, alt_sse: bool) -> Result<Self, AskedError> {
        let value: Value = serde_json::from_slice(body)?;
        let seed = Sha256::digest(body).iter().take(12).map(|b| format!("{b:02x}")).collect();
        let mut asked = Self {
            model: path_model.or_else(|| value["model"].as_str()).unwrap_or("rehearsal").to_owned(),
            stream: path_stream || value["stream"] == Value::Bool(true),
            events: wire != Wire::Generate || alt_sse,
            usage: value["stream_options"]["include_usage"] == Value::Bool(true),
            user: String::new(),
            turns: 0,
            replies: replies(wire, &value),
            tools: tools(wire, &value),
            outputs: Vec::new(),
            bytes: body.len(),
            seed,
        };
        match wire {
            Wire::Messages => asked.messages(&value),
            Wire::Chat => asked.chat(&value),
            Wire::Responses => asked.responses(&value),
            Wire::Generate => asked.generate(&value),
        }
        Ok(asked)
    }

    /// The user spoke: what tools printed before belongs to an earlier turn.
    fn says(&mut self, text: String) {
        if !text.trim().is_empty() {
            self.user = text;
            self.turns += 1;
            self.outputs.clear();
        }
    }

    fn prints(&mut self, content: &Value) {
        if self.outputs.len() < ITEMS_MAX {
            self.outputs.push(Output { text: text_of(content) });
        }
    }

    fn messages(&mut self, value: &Value) {
        for message in items(&value["messages"]).iter().filter(|m| m["role"] == "user") {
            let parts = items(&message["content"]);
            for part in parts.iter().filter(|p| p["type"] == "tool_result") {
                self.prints(&part["content"]);
            }
            // Engines put reminders of their own beside the user's words; the words come last.
            let words = parts.iter().rev().filter(|p| p["type"] == "text").filter_map(|p| p["text"].as_str()).find(|t| !is_reminder(t));
            let has_output = parts.iter().any(|p| p["type"] == "tool_result");
            if !has_output {
                self.says(message["content"].as_str().or(words).unwrap_or_default().to_owned());
            }
        }
    }

    fn chat(&mut self, value: &Value) {
        for message in items(&value["messages"]) {
            match message["role"].as_str() {
                Some("user") => self.says(text_of(&message["content"])),
                Some("tool") => self.prints(&message["content"]),
                _ => (),
            }
        }
    }

    fn responses(&mut self, value: &Value) {
        if let Some(text) = value["input"].as_str() {
            self.says(text.to_owned());
        }
        for item in items(&value["input"]) {
            let kind = item["type"].as_str().unwrap_or("message");
            if kind == "message" && item["role"] == "user" {
                let text = text_of(&item["content"]);
                if !is_reminder(&text) {
                    self.says(text);
                }
            } else if kind.ends_with("_call_output") {
                self.prints(&item["output"]);
            }
        }
    }

    fn generate(&mut self, value: &Value) {
        for content in items(&value["contents"]).iter().filter(|c| c["role"] != "model") {
            let parts = items(&content["parts"]);
            for part in parts.iter().filter(|p| p["functionResponse"].is_object()) {
                let response = &part["functionResponse"]["response"];
                self.prints(if response["output"].is_string() { &response["output"] } else { response });
            }
            if !parts.iter().any(|p| p["functionResponse"].is_object()) {
                let words: Vec<&str> = parts.iter().filter_map(|p| p["text"].as_str()).filter(|t| !is_reminder(t)).collect();
                self.says(words.join("\n"));
            }
        }
    }
}

/// Replies of the model in a conversation. Several items in a row are one reply.
fn replies(wire: Wire, value: &Value) -> usize {
    let list = match wire {
        Wire::Messages | Wire::Chat => &value["messages"],
        Wire::Responses => &value["input"],
        Wire::Generate => &value["contents"],
    };
    let is_reply = |item: &Value| match wire {
        Wire::Generate => item["role"] == "model",
        _ => item["role"] == "assistant" || item["type"].as_str().is_some_and(|t| t.ends_with("_call") || t == "reasoning"),
    };
    let flags: Vec<bool> = items(list).iter().map(is_reply).collect();
    flags.iter().enumerate().filter(|(at, flag)| **flag && (*at == 0 || !flags[at - 1])).count()
}

/// What engines add to the conversation in the user's name.
fn is_reminder(text: &str) -> bool {
    let text = text.trim_start();
    ["<system-reminder>", "<environment_context>", "<user_instructions>", "<session_context>", "# AGENTS.md", "This is the Gemini CLI"]
        .iter()
        .any(|start| text.starts_with(start))
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// The text of a content: a string, parts with a `text`, or whatever it is.
fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            let texts: Vec<&str> = parts.iter().filter_map(|p| p["text"].as_str().or(p.as_str())).collect();
            texts.join("\n")
        }
        Value::Null => String::new(),
        Value::Object(fields) => {
            fields.get("output").or_else(|| fields.get("content")).and_then(Value::as_str).map_or_else(|| value.to_string(), str::to_owned)
        }
        other => other.to_string(),
    }
}

fn tools(wire: Wire, value: &Value) -> Vec<Tool> {
    let mut found = Vec::new();
    let mut add = |namespace: Option<&str>, name: &Value, schema: &Value| {
        if let Some(name) = name.as_str()
            && found.len() < ITEMS_MAX
        {
            found.push(Tool { name: name.to_owned(), namespace: namespace.map(str::to_owned), schema: schema.clone() });
        }
    };
    for tool in items(&value["tools"]) {
        match wire {
            Wire::Messages => add(None, &tool["name"], &tool["input_schema"]),
            Wire::Chat => add(None, &tool["function"]["name"], &tool["function"]["parameters"]),
            Wire::Responses if tool["type"] == "namespace" => {
                for inner in items(&tool["tools"]) {
                    add(tool["name"].as_str(), &inner["name"], &inner["parameters"]);
                }
            }
            Wire::Responses if tool["type"] == "function" => add(None, &tool["name"], &tool["parameters"]),
            Wire::Responses => (),
            Wire::Generate => {
                let list =
                    if tool["functionDeclarations"].is_array() { &tool["functionDeclarations"] } else { &tool["function_declarations"] };
                for inner in items(list) {
                    let schema =
                        if inner["parametersJsonSchema"].is_object() { &inner["parametersJsonSchema"] } else { &inner["parameters"] };
                    add(None, &inner["name"], schema);
                }
            }
        }
    }
    found
}
