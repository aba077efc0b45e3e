//! Any other program: known by its path alone, or described by a TOML file.

use model::{Code, Failure};
use serde::Deserialize;
use serde_json::Value;

use crate::acp::{self, Conversation, Opening};
use crate::parse::{Tally, notice, str_at, text_event};
use crate::{Carried, End, Engine, Exit, Launch, PLACEHOLDER_KEY, Parsed, Parser, Plan, ProgramPath, Terminal, Wire, terminal};

/// The longest prompt that is passed as an argument, in bytes; the kernel's limit for one is twice this.
const ARGUMENT_BYTES_MAX: usize = 64 << 10;
/// The longest prompt for a program that we know nothing about, in bytes.
const PROMPT_BYTES_MAX: usize = model::PROMPT_BYTES_MAX;

/// What stands in a command for the program of an installed engine.
const PROGRAM: &str = "{program}";

/// The longest description, in bytes.
const DESCRIPTION_BYTES_MAX: usize = 400_000;

/// A program that is driven by a description. What a file of `share/engines` holds:
///
/// ```toml
/// name = "helper"
/// command = ["/usr/bin/helper", "--batch"]
/// wires = ["openai-chat"]                     # which environment variables with the gateway's address it gets
/// model = ["--model", "{model}"]              # added when a model is asked for
/// resume = ["--session", "{session}"]         # added when a session goes on
/// max_turns = ["--rounds", "{max_turns}"]     # likewise system_prompt ({system_prompt} or {system_prompt_file}),
/// allowed_tools = ["--only", "{allowed_tools}"]  # and mcp_config ({mcp_config_file}); what is left out is refused
/// terminal = ["/usr/bin/helper"]              # what people use on a terminal; the model is added as above
/// prompt = "stdin"                            # or "last", { file = "--message-file" } or { argument = "--message" }
/// output = "text"                             # or "json-lines", with [json] pointers
/// result_file = "/workspace/result.json"      # the result, where it is not what the program prints
///
/// [env]
/// HELPER_URL = "{gateway}/v1"                 # also {key}, {workdir}, {home}, {model}, {memory_mib}
/// ```
///
/// A program that speaks the Agent Client Protocol has `protocol = "acp"` in place of `prompt`, `output`, `resume` and
/// `mcp_config`, and `auth` where it wants to be authenticated with.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Custom {
    /// The name.
    pub(crate) name: String,
    /// Program and fixed arguments; an empty program stands for the plan's.
    pub(crate) command: Vec<String>,
    /// Which forms it can speak.
    #[serde(default)]
    wires: Vec<WireName>,
    #[serde(skip)]
    pub(crate) wires_read: Vec<Wire>,
    #[serde(default)]
    pub(crate) model: Vec<String>,
    #[serde(default)]
    resume: Vec<String>,
    #[serde(default)]
    pub(crate) max_turns: Vec<String>,
    #[serde(default)]
    pub(crate) system_prompt: Vec<String>,
    #[serde(default)]
    pub(crate) allowed_tools: Vec<String>,
    #[serde(default)]
    pub(crate) mcp_config: Vec<String>,
    /// Program and arguments on a terminal.
    #[serde(default)]
    terminal: Vec<String>,
    /// What the names of allowed tools are joined with.
    #[serde(default = "comma")]
    pub(crate) joined_by: String,
    #[serde(default)]
    pub(crate) prompt: PromptBy,
    /// A file that the result is written to; standard output when left out.
    #[serde(default)]
    pub(crate) result_file: Option<String>,
    /// For people.
    #[serde(default)]
    pub(crate) title: String,
    #[serde(default)]
    pub(crate) description: String,
    #[serde(default)]
    pub(crate) output: Output,
    #[serde(default)]
    json: Pointers,
    #[serde(default)]
    pub(crate) env: std::collections::BTreeMap<String, String>,
    /// Files that it wants, by their paths inside.
    #[serde(default)]
    files: std::collections::BTreeMap<String, String>,
    /// The built-in engine whose installed program this is: `{program}` in the command.
    #[serde(default)]
    installed: Option<String>,
    #[serde(default)]
    protocol: Protocol,
    /// How it is authenticated with, by its own name for that.
    #[serde(default)]
    auth: Option<String>,
    /// Whether it goes on with a session of another process when it says that it can.
    #[serde(default = "yes")]
    load: bool,
    /// Where it reads standing instructions, inside.
    #[serde(default)]
    instructions: Option<String>,
    /// The model when none is asked for.
    #[serde(default)]
    default_model: Option<String>,
    /// Variables that are set when there is a system prompt.
    #[serde(default)]
    system_prompt_env: std::collections::BTreeMap<String, String>,
}

/// How a program is spoken with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Protocol {
    /// It gets a prompt and prints its output.
    #[default]
    Print,
    /// The Agent Client Protocol.
    Acp,
}

fn yes() -> bool {
    true
}

fn comma() -> String {
    ",".to_owned()
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
pub(crate) enum PromptBy {
    #[default]
    Stdin,
    /// A flag that takes the name of a file.
    File(String),
    /// A flag that takes the prompt itself, for short ones.
    Argument(String),
    /// The same, as an argument of its own.
    Flag(String),
    /// The last argument, for short ones.
    Last,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Output {
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
            wires_read: vec![Wire::Anthropic, Wire::OpenAiChat, Wire::OpenAiResponses, Wire::Gemini],
            ..Self::empty()
        })
    }

    /// A description of nothing.
    pub(crate) fn empty() -> Self {
        Self {
            name: String::new(),
            command: Vec::new(),
            wires: Vec::new(),
            wires_read: Vec::new(),
            model: Vec::new(),
            resume: Vec::new(),
            max_turns: Vec::new(),
            system_prompt: Vec::new(),
            allowed_tools: Vec::new(),
            mcp_config: Vec::new(),
            terminal: Vec::new(),
            joined_by: comma(),
            prompt: PromptBy::Stdin,
            result_file: None,
            title: String::new(),
            description: String::new(),
            output: Output::Text,
            json: Pointers::default(),
            env: std::collections::BTreeMap::new(),
            files: std::collections::BTreeMap::new(),
            installed: None,
            protocol: Protocol::Print,
            auth: None,
            load: true,
            instructions: None,
            default_model: None,
            system_prompt_env: std::collections::BTreeMap::new(),
        }
    }

    /// Reads a description.
    ///
    /// # Errors
    /// [`CustomError`] when it is not one, or cannot work.
    pub fn parse(text: &str) -> Result<Self, CustomError> {
        if text.len() > DESCRIPTION_BYTES_MAX {
            return Err(CustomError::Form(format!("it has more than {DESCRIPTION_BYTES_MAX} bytes")));
        }
        if crate::sections::is_one(text) {
            return crate::sections::parse(text)?.checked();
        }
        toml::from_str::<Custom>(text).map_err(|error| CustomError::Form(error.message().to_owned()))?.checked()
    }

    /// The description, if it can work.
    fn checked(self) -> Result<Self, CustomError> {
        let mut custom = self;
        let wrong = |why| CustomError::Value { name: custom.name.escape_debug().take(64).collect(), why };
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if custom.name.is_empty() || custom.name.len() > 64 || !custom.name.bytes().all(plain) {
            return Err(wrong("the name is not of letters, digits, hyphens and underscores"));
        }
        if crate::by_name(&custom.name).is_some() {
            return Err(wrong("an engine of this name is built in"));
        }
        if let Some(base) = &custom.installed {
            if crate::by_name(base).is_none_or(|engine| engine.recipe().is_none()) {
                return Err(wrong("the engine whose program it shall be is none that can be installed"));
            }
            if custom.command.first().is_none_or(|program| program != PROGRAM) {
                return Err(wrong("its program is installed, and the command does not begin with {program}"));
            }
        } else if !custom.command.first().is_some_and(|program| program.starts_with('/')) {
            return Err(wrong("the command does not begin with an absolute path"));
        }
        let inside = |path: &String| (path.starts_with('/') || path.starts_with("{home}/")) && !path.contains("..") && !path.contains('\0');
        if !custom.files.keys().chain(&custom.instructions).all(inside) {
            return Err(wrong("a path of a file is not absolute"));
        }
        if custom.protocol == Protocol::Acp {
            let printed = custom.output != Output::Text || custom.prompt != PromptBy::Stdin || custom.result_file.is_some();
            if printed || !custom.resume.is_empty() || !custom.mcp_config.is_empty() {
                return Err(wrong("prompt, output, result_file, resume and mcp_config are told by the protocol"));
            }
        } else if custom.auth.is_some() || !custom.load {
            return Err(wrong("`auth` and `load` belong to the protocol acp"));
        }
        let pointers = [&custom.json.text, &custom.json.result, &custom.json.session, &custom.json.error];
        if pointers.iter().any(|p| !p.is_empty() && !p.starts_with('/')) {
            return Err(wrong("a pointer does not begin with a slash"));
        }
        custom.wires_read.extend(custom.wires.iter().map(|wire| wire.read()));
        Ok(custom)
    }

    /// Whether its program is that of a built-in engine; see [`Engine::installed`].
    #[must_use]
    pub fn is_installed(&self) -> bool {
        self.installed.is_some()
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
        let by_argument = matches!(self.prompt, PromptBy::Argument(_) | PromptBy::Flag(_) | PromptBy::Last);
        plan.check(self, if by_argument { ARGUMENT_BYTES_MAX } else { PROMPT_BYTES_MAX })?;
        let speaks = self.protocol == Protocol::Acp;
        let unable = [
            ("system_prompt", self.system_prompt.is_empty() && self.system_prompt_env.is_empty()),
            ("allowed_tools", self.allowed_tools.is_empty()),
            ("mcp_config", self.mcp_config.is_empty() && !speaks),
        ];
        let unable: Vec<&str> = unable.into_iter().filter(|(_, is_unable)| *is_unable).map(|(name, _)| name).collect();
        plan.cannot(self, &unable)?;
        if plan.resume.is_some() && self.resume.is_empty() && !speaks {
            let message = format!("the engine {} cannot go on with a session", self.name);
            return Err(Failure::new(Code::Usage, message).field("resume"));
        }
        let fill = |text: &String| {
            text.replace("{gateway}", &plan.gateway(""))
                .replace("{key}", PLACEHOLDER_KEY)
                .replace("{workdir}", plan.workdir)
                .replace("{home}", plan.home)
                .replace("{memory_mib}", &(plan.memory_bytes >> 20).to_string())
                .replace("{model}", plan.model.unwrap_or(""))
                .replace("{session}", plan.resume.unwrap_or(""))
        };
        let mut launch = crate::engine::base_launch(plan);
        let words = self.command.iter().skip(usize::from(self.installed.is_some())).map(fill);
        launch.argv = if self.installed.is_some() { plan.program.argv(&[]) } else { Vec::new() };
        launch.argv.extend(words);
        if plan.model.is_some() {
            launch.argv.extend(self.model.iter().map(fill));
        }
        if plan.resume.is_some() {
            launch.argv.extend(self.resume.iter().map(fill));
        }
        self.held_to(plan, &mut launch)?;
        for wire in &self.wires_read {
            launch.env.extend(wire_env(*wire, plan));
        }
        launch.env.extend(self.env.iter().map(|(key, value)| (key.clone(), fill(value))));
        let files = self.files.iter().map(|(path, text)| crate::File { path: fill(path), bytes: fill(text).into_bytes(), mode: 0o600 });
        launch.files.extend(files);
        if speaks {
            // What is told of the session and the prompt is refused before the start, if it is wrong.
            self.opening(plan)?;
            launch.stdin = Some(acp::initialize());
            launch.stdin_open = true;
            return Ok(launch);
        }
        match &self.prompt {
            PromptBy::Stdin => launch.stdin = Some(plan.prompt.as_bytes().to_vec()),
            PromptBy::File(flag) => {
                let path = format!("{}/.lazaret/prompt", plan.home);
                launch.argv.extend([flag.clone(), path.clone()]);
                launch.files.push(crate::File { path, bytes: plan.prompt.as_bytes().to_vec(), mode: 0o600 });
            }
            PromptBy::Argument(flag) => launch.argv.push(format!("{flag}={}", plan.prompt)),
            PromptBy::Flag(flag) => launch.argv.extend([flag.clone(), guarded(plan.prompt)]),
            PromptBy::Last => launch.argv.push(guarded(plan.prompt)),
        }
        if let Some(path) = &self.result_file {
            let script = RESULT_SCRIPT.to_owned();
            let command = std::mem::take(&mut launch.argv);
            launch.argv = ["/bin/sh".to_owned(), "-c".to_owned(), script, "sh".to_owned(), fill(path)].into_iter().chain(command).collect();
        }
        Ok(launch)
    }

    fn terminal(&self, plan: &Plan<'_>, _name: &str) -> Result<Terminal, Failure> {
        if self.terminal.is_empty() {
            return Err(terminal::none(&self.name));
        }
        // Everything that its turns have but the command.
        let stands =
            Self { command: self.terminal.clone(), protocol: Protocol::Print, prompt: PromptBy::Stdin, result_file: None, ..self.clone() };
        let resume = plan.resume.filter(|_| !self.resume.is_empty());
        let mut launch = terminal::of_turn(&stands, &Plan { resume, ..*plan }, &[])?;
        launch.argv.extend(plan.first()?.map(terminal::argument));
        Ok(Terminal { launch, session: None })
    }

    fn live(&self) -> bool {
        self.protocol == Protocol::Acp
    }

    fn installed(&self) -> &str {
        self.installed.as_deref().unwrap_or(&self.name)
    }

    fn default_model(&self, _wire: Wire) -> Option<&str> {
        self.default_model.as_deref()
    }

    fn wants_history(&self) -> bool {
        self.protocol == Protocol::Acp
    }

    fn converses(&self) -> bool {
        self.protocol == Protocol::Acp
    }

    fn further(&self, plan: &Plan<'_>) -> Result<Vec<u8>, Failure> {
        plan.check(self, PROMPT_BYTES_MAX)?;
        if self.protocol == Protocol::Acp { acp::further(plan) } else { self.input(plan.prompt) }
    }

    fn instructions_path(&self, home: &str) -> Option<String> {
        self.instructions.as_ref().map(|path| path.replace("{home}", home))
    }

    fn reader(&self, plan: &Plan<'_>, is_further: bool, carried: Carried) -> Box<dyn Parser> {
        if self.protocol != Protocol::Acp {
            return self.parser(carried);
        }
        if is_further {
            return Box::new(Conversation::further(plan, carried));
        }
        match self.opening(plan) {
            Ok(opening) => Box::new(Conversation::open(opening, carried)),
            // It was planned before, so this does not happen; a reader that prints nothing fails the turn.
            Err(_) => self.parser(carried),
        }
    }

    fn parser(&self, carried: Carried) -> Box<dyn Parser> {
        match self.output {
            Output::Text => Box::new(Text { tally: Tally::new(carried), is_first: true }),
            Output::JsonLines => Box::new(JsonLines { pointers: self.json.clone(), tally: Tally::new(carried), said: false }),
        }
    }
}

impl Custom {
    fn opening(&self, plan: &Plan<'_>) -> Result<Opening, Failure> {
        let plan = Plan { resume: plan.resume.filter(|_| self.load), ..*plan };
        Opening::of(&plan, self.auth.as_deref())
    }

    /// Adds what holds it to more than its prompt. Lists are joined with commas; long texts are files.
    fn held_to(&self, plan: &Plan<'_>, launch: &mut Launch) -> Result<(), Failure> {
        let mut add = |words: &[String], name: &str, value: &str| {
            launch.argv.extend(words.iter().map(|word| word.replace(name, value)));
        };
        if let Some(most) = plan.options.max_turns {
            add(&self.max_turns, "{max_turns}", &most.to_string());
        }
        if let Some(tools) = plan.options.allowed_tools {
            add(&self.allowed_tools, "{allowed_tools}", &checked_words(&self.name, tools)?.join(&self.joined_by));
        }
        let mut files = Vec::new();
        if let Some(text) = plan.system()? {
            if self.system_prompt.iter().any(|word| word.contains("{system_prompt}")) && text.len() > ARGUMENT_BYTES_MAX {
                let message = format!("the engine {} takes at most {ARGUMENT_BYTES_MAX} bytes of system prompt", self.name);
                return Err(Failure::new(Code::Usage, message).field("system_prompt"));
            }
            let path = format!("{}/.lazaret/system.md", plan.home);
            let words: Vec<String> = self.system_prompt.iter().map(|word| word.replace("{system_prompt_file}", &path)).collect();
            add(&words, "{system_prompt}", text);
            let env = self.system_prompt_env.iter().map(|(key, value)| (key.clone(), value.replace("{system_prompt_file}", &path)));
            launch.env.extend(env);
            files.push((path, text.to_owned()));
        }
        if let Some(config) = plan.options.mcp_config {
            plan.servers()?;
            let path = format!("{}/.lazaret/mcp.json", plan.home);
            add(&self.mcp_config, "{mcp_config_file}", &path);
            files.push((path, config.to_string()));
        }
        launch.files.extend(files.into_iter().map(|(path, text)| crate::File { path, bytes: text.into_bytes(), mode: 0o600 }));
        Ok(())
    }
}

/// Names of tools become one argument: none may read as an option or hide another.
fn checked_words(engine: &str, words: &[String]) -> Result<Vec<String>, Failure> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:*".contains(c);
    if words.iter().any(|word| word.is_empty() || word.starts_with('-') || !word.chars().all(plain)) {
        let message = format!("the tools for the engine {engine} are not plain names");
        return Err(Failure::new(Code::Usage, message).field("allowed_tools"));
    }
    Ok(words.to_vec())
}

/// A prompt is no option, whatever it begins with.
fn guarded(prompt: &str) -> String {
    if prompt.starts_with('-') { format!(" {prompt}") } else { prompt.to_owned() }
}

/// Runs a program that writes its result to a file, and prints the file: what the program itself prints is a remark.
const RESULT_SCRIPT: &str = r#"out=$1; shift; "$@" >&2; ended=$?; if [ -f "$out" ]; then cat "$out"; fi; exit $ended"#;

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
