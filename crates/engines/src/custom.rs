//! Any other program: known by its path alone, or described by a TOML file.

use model::{Code, Failure};
use serde::Deserialize;
use serde_json::Value;

use crate::parse::{Tally, notice, str_at, text_event};
use crate::{Carried, End, Engine, Exit, Launch, PLACEHOLDER_KEY, Parsed, Parser, Plan, ProgramPath, Wire};

/// The longest prompt that is passed as an argument, in bytes; the kernel's limit for one is twice this.
const ARGUMENT_BYTES_MAX: usize = 64 << 10;
/// The longest prompt for a program that we know nothing about, in bytes.
const PROMPT_BYTES_MAX: usize = model::PROMPT_BYTES_MAX;

/// A program that is driven by a description. What a file of `share/engines` holds:
///
/// ```toml
/// name = "helper"
/// command = ["/usr/bin/helper", "--batch"]
/// wires = ["openai-chat"]                     # which environment variables with the gateway's address it gets
/// model = ["--model", "{model}"]              # added when a model is asked for
/// resume = ["--session", "{session}"]         # added when a session goes on
/// prompt = "stdin"                            # or { file = "--message-file" } or { argument = "--message" }
/// output = "text"                             # or "json-lines", with [json] pointers
///
/// [env]
/// HELPER_URL = "{gateway}/v1"                 # also {key}, {workdir}, {home}
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Custom {
    /// The name.
    name: String,
    /// Program and fixed arguments; an empty program stands for the plan's.
    command: Vec<String>,
    /// Which forms it can speak.
    #[serde(default)]
    wires: Vec<WireName>,
    #[serde(skip)]
    wires_read: Vec<Wire>,
    #[serde(default)]
    model: Vec<String>,
    #[serde(default)]
    resume: Vec<String>,
    #[serde(default)]
    prompt: PromptBy,
    #[serde(default)]
    output: Output,
    #[serde(default)]
    json: Pointers,
    #[serde(default)]
    env: std::collections::BTreeMap<String, String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum WireName {
    Anthropic,
    OpenaiChat,
    OpenaiResponses,
    Gemini,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
enum PromptBy {
    #[default]
    Stdin,
    /// A flag that takes the name of a file.
    File(String),
    /// A flag that takes the prompt itself, for short ones.
    Argument(String),
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Output {
    #[default]
    Text,
    JsonLines,
}

/// Where in a line of JSON something stands (RFC 6901); an empty pointer means that the program does not say it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Pointers {
    text: String,
    result: String,
    session: String,
    error: String,
}

/// Why a description cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CustomError {
    /// Not TOML, an unknown key, or a value of a wrong kind.
    #[error("read the description of an engine: {0}")]
    Form(String),
    /// A value that cannot work.
    #[error("use the description of the engine {name}: {why}")]
    Value {
        /// The engine, cut to 64 characters.
        name: String,
        /// What is wrong.
        why: &'static str,
    },
}

impl Custom {
    /// A program that reads a prompt on standard input and writes text.
    ///
    /// # Errors
    /// `USAGE` when the path is not absolute.
    pub fn program(path: &str) -> Result<Self, Failure> {
        if !path.starts_with('/') || path.contains('\0') {
            return Err(Failure::new(Code::Usage, "an engine of the form program:PATH needs an absolute path").field("engine"));
        }
        Ok(Self {
            name: format!("program:{path}"),
            command: vec![path.to_owned()],
            wires: Vec::new(),
            wires_read: vec![Wire::Anthropic, Wire::OpenAiChat, Wire::OpenAiResponses, Wire::Gemini],
            model: Vec::new(),
            resume: Vec::new(),
            prompt: PromptBy::Stdin,
            output: Output::Text,
            json: Pointers::default(),
            env: std::collections::BTreeMap::new(),
        })
    }

    /// Reads a description.
    ///
    /// # Errors
    /// [`CustomError`] when it is not one, or cannot work.
    pub fn parse(text: &str) -> Result<Self, CustomError> {
        let mut custom: Custom = toml::from_str(text).map_err(|error| CustomError::Form(error.message().to_owned()))?;
        let wrong = |why| CustomError::Value { name: custom.name.escape_debug().take(64).collect(), why };
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if custom.name.is_empty() || custom.name.len() > 64 || !custom.name.bytes().all(plain) {
            return Err(wrong("the name is not of small letters, digits and hyphens"));
        }
        if crate::by_name(&custom.name).is_some() {
            return Err(wrong("an engine of this name is built in"));
        }
        if !custom.command.first().is_some_and(|program| program.starts_with('/')) {
            return Err(wrong("the command does not begin with an absolute path"));
        }
        let pointers = [&custom.json.text, &custom.json.result, &custom.json.session, &custom.json.error];
        if pointers.iter().any(|p| !p.is_empty() && !p.starts_with('/')) {
            return Err(wrong("a pointer does not begin with a slash"));
        }
        custom.wires_read = custom.wires.iter().map(|wire| wire.read()).collect();
        Ok(custom)
    }

    /// The program that the description names; it lies in the image.
    #[must_use]
    pub fn program_path(&self) -> ProgramPath {
        ProgramPath::native(self.command.first().cloned().unwrap_or_default())
    }
}

impl WireName {
    fn read(self) -> Wire {
        match self {
            WireName::Anthropic => Wire::Anthropic,
            WireName::OpenaiChat => Wire::OpenAiChat,
            WireName::OpenaiResponses => Wire::OpenAiResponses,
            WireName::Gemini => Wire::Gemini,
        }
    }
}

impl Engine for Custom {
    fn name(&self) -> &str {
        &self.name
    }

    fn wires(&self) -> &[Wire] {
        &self.wires_read
    }

    fn plan(&self, plan: &Plan<'_>) -> Result<Launch, Failure> {
        let max = if matches!(self.prompt, PromptBy::Argument(_)) { ARGUMENT_BYTES_MAX } else { PROMPT_BYTES_MAX };
        plan.check(self, max)?;
        if plan.resume.is_some() && self.resume.is_empty() {
            let message = format!("the engine {} cannot go on with a session", self.name);
            return Err(Failure::new(Code::Usage, message).field("resume"));
        }
        let fill = |text: &String| {
            text.replace("{gateway}", &plan.gateway(""))
                .replace("{key}", PLACEHOLDER_KEY)
                .replace("{workdir}", plan.workdir)
                .replace("{home}", plan.home)
                .replace("{model}", plan.model.unwrap_or(""))
                .replace("{session}", plan.resume.unwrap_or(""))
        };
        let mut launch = crate::engine::base_launch(plan);
        launch.argv = self.command.iter().map(fill).collect();
        if plan.model.is_some() {
            launch.argv.extend(self.model.iter().map(fill));
        }
        if plan.resume.is_some() {
            launch.argv.extend(self.resume.iter().map(fill));
        }
        for wire in &self.wires_read {
            launch.env.extend(wire_env(*wire, plan));
        }
        launch.env.extend(self.env.iter().map(|(key, value)| (key.clone(), fill(value))));
        match &self.prompt {
            PromptBy::Stdin => launch.stdin = Some(plan.prompt.as_bytes().to_vec()),
            PromptBy::File(flag) => {
                let path = format!("{}/.lazaret/prompt", plan.home);
                launch.argv.extend([flag.clone(), path.clone()]);
                launch.files.push(crate::File { path, bytes: plan.prompt.as_bytes().to_vec(), mode: 0o600 });
            }
            PromptBy::Argument(flag) => launch.argv.push(format!("{flag}={}", plan.prompt)),
        }
        Ok(launch)
    }

    fn parser(&self, carried: Carried) -> Box<dyn Parser> {
        match self.output {
            Output::Text => Box::new(Text { tally: Tally::new(carried), is_first: true }),
            Output::JsonLines => Box::new(JsonLines { pointers: self.json.clone(), tally: Tally::new(carried), said: false }),
        }
    }
}

/// The environment variables by which most programs find a provider of this form.
fn wire_env(wire: Wire, plan: &Plan<'_>) -> Vec<(String, String)> {
    let (base, path, key) = match wire {
        Wire::Anthropic => ("ANTHROPIC_BASE_URL", "", "ANTHROPIC_API_KEY"),
        Wire::OpenAiChat | Wire::OpenAiResponses => ("OPENAI_BASE_URL", "/v1", "OPENAI_API_KEY"),
        Wire::Gemini => ("GOOGLE_GEMINI_BASE_URL", "", "GEMINI_API_KEY"),
    };
    vec![(base.to_owned(), plan.gateway(path)), (key.to_owned(), PLACEHOLDER_KEY.to_owned())]
}

/// Output that is the answer itself.
struct Text {
    tally: Tally,
    is_first: bool,
}

impl Parser for Text {
    fn line(&mut self, line: &str) -> Vec<Parsed> {
        let mut out = Vec::new();
        let text = if self.is_first { line.to_owned() } else { format!("\n{line}") };
        self.is_first = false;
        self.tally.add_text(&text);
        text_event(&text, &mut out);
        out
    }

    fn finish(&mut self, exit: Exit, stderr_tail: &str) -> End {
        // A program that only writes text has no other way to say that it is done.
        self.tally.done = true;
        self.tally.end(exit, stderr_tail)
    }
}

/// One JSON value in a line, read through pointers.
struct JsonLines {
    pointers: Pointers,
    tally: Tally,
    said: bool,
}

impl Parser for JsonLines {
    fn line(&mut self, line: &str) -> Vec<Parsed> {
        let mut out = Vec::new();
        let Ok(value) = serde_json::from_str::<Value>(line) else {
            if !line.trim().is_empty() {
                notice(line, &mut out);
            }
            return out;
        };
        let at = |pointer: &String| if pointer.is_empty() { "" } else { str_at(&value, pointer) };
        self.tally.session(Some(at(&self.pointers.session)).filter(|id| !id.is_empty()), &mut out);
        let text = at(&self.pointers.text);
        if !text.is_empty() {
            text_event(text, &mut out);
            self.tally.add_text(text);
            self.said = true;
        }
        let result = at(&self.pointers.result);
        if !result.is_empty() {
            self.tally.set_text(result);
            self.said = true;
        }
        let error = at(&self.pointers.error);
        if !error.is_empty() {
            self.tally.error(None, error);
        }
        out
    }

    fn finish(&mut self, exit: Exit, stderr_tail: &str) -> End {
        self.tally.done = self.said;
        self.tally.end(exit, stderr_tail)
    }
}
