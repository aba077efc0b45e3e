//! What an engine is told and what it wants.

use model::{Failure, PROMPT_BYTES_MAX};

use crate::{Carried, Options, Parser, Recipe, Terminal};

/// The key that engines are given, because most refuse to start without one. It opens nothing.
pub const PLACEHOLDER_KEY: &str = "lazaret-placeholder";

/// The form in which an engine speaks to its model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wire {
    /// Anthropic Messages, `/v1/messages`.
    Anthropic,
    /// OpenAI Chat Completions, `/v1/chat/completions`.
    OpenAiChat,
    /// OpenAI Responses, `/v1/responses`.
    OpenAiResponses,
    /// Gemini, `/v1beta/models/...`.
    Gemini,
}

/// Where an engine's program lies inside the sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramPath {
    /// The program, or the script that `runtime` runs; absolute.
    pub path: String,
    /// The interpreter, absolute; `None` when the program runs by itself.
    pub runtime: Option<String>,
}

impl ProgramPath {
    /// A program that runs by itself.
    #[must_use]
    pub fn native(path: impl Into<String>) -> Self {
        Self { path: path.into(), runtime: None }
    }

    /// The beginning of an argument vector. `options` go to the interpreter, where there is one.
    pub(crate) fn argv(&self, options: &[String]) -> Vec<String> {
        let mut argv = Vec::new();
        if let Some(runtime) = &self.runtime {
            argv.push(runtime.clone());
            argv.extend_from_slice(options);
        }
        argv.push(self.path.clone());
        argv
    }
}

/// One turn, as an engine is asked to do it.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    /// What the user says.
    pub prompt: &'a str,
    /// The model; `None` leaves it to the engine.
    pub model: Option<&'a str>,
    /// The engine's own identity of the session to go on with.
    pub resume: Option<&'a str>,
    /// The form to speak; one of [`Engine::wires`].
    pub wire: Wire,
    /// The loopback port inside that leads to the model gateway.
    pub gateway_port: u16,
    /// The loopback port inside that leads to the egress proxy, where there is one.
    pub egress_port: Option<u16>,
    /// The working directory inside; absolute.
    pub workdir: &'a str,
    /// The home directory inside; absolute.
    pub home: &'a str,
    /// The program.
    pub program: &'a ProgramPath,
    /// The memory limit of the sandbox, in bytes; programs that collect garbage are told of it.
    pub memory_bytes: u64,
    /// Whether the host shows standing instructions, read-only, at [`Engine::instructions_path`].
    pub has_instructions: bool,
    /// Whether the process shall stay for further turns; only where [`Engine::live`] says that it can. The output is then
    /// read until [`Parser::is_over`], and standard input stays open.
    pub live: bool,
    /// The number of the turn in its session.
    pub turn: u64,
    /// The conversation so far, for an engine that has no memory of it; see [`Engine::wants_history`].
    pub history: Option<&'a str>,
    /// What the turn is held to besides.
    pub options: Options<'a>,
}

/// A file to put into the sandbox before the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Where; absolute inside, its directories are made.
    pub path: String,
    /// What.
    pub bytes: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
}

/// What to start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Launch {
    /// Program and arguments. Never holds the prompt.
    pub argv: Vec<String>,
    /// The whole environment, HOME and PATH among it.
    pub env: Vec<(String, String)>,
    /// Files to write first.
    pub files: Vec<File>,
    /// What to write to standard input. With `None` it is closed at once.
    pub stdin: Option<Vec<u8>>,
    /// Whether standard input stays open after `stdin` was written: for further turns and answers.
    pub stdin_open: bool,
}

/// One agent program.
pub trait Engine: Send + Sync {
    /// The name in configuration, on the command line and in events.
    fn name(&self) -> &str;
    /// The forms it can speak, the one it does best first. Empty: it speaks to no model through the gateway.
    fn wires(&self) -> &[Wire];
    /// What to start for this turn.
    ///
    /// # Errors
    /// `PROMPT_INVALID` when the prompt cannot be given to this engine, `USAGE` when another value of the plan cannot.
    fn plan(&self, plan: &Plan<'_>) -> Result<Launch, Failure>;
    /// What to start on a terminal, for a person who uses it. [`Plan::prompt`] is said first and may be empty; `name` is a UUID that
    /// the engine may call a new conversation.
    ///
    /// # Errors
    /// `USAGE` when it has nothing that people use, and those of [`Engine::plan`].
    fn terminal(&self, _plan: &Plan<'_>, _name: &str) -> Result<Terminal, Failure> {
        Err(crate::terminal::none(self.name()))
    }
    /// A reader of one turn's output. `carried` is [`crate::End::carried`] of the session's turn before, whether that
    /// turn was one of the same process or not.
    fn parser(&self, carried: Carried) -> Box<dyn Parser>;
    /// A reader of the output of the turn that `plan` asks for. `is_further` says that its process took turns before, and
    /// that [`Plan::resume`] names its session.
    fn reader(&self, _plan: &Plan<'_>, _is_further: bool, carried: Carried) -> Box<dyn Parser> {
        self.parser(carried)
    }
    /// Whether one process can take several turns, one after the other.
    fn live(&self) -> bool {
        false
    }
    /// Whether it must be answered while it works, so that it has to be started [`Plan::live`] even for one turn.
    fn converses(&self) -> bool {
        false
    }
    /// What to write to the standard input of a live process to ask for a further turn.
    ///
    /// # Errors
    /// `PROMPT_INVALID` when the prompt cannot be given to this engine, `USAGE` when its process takes one turn only.
    fn input(&self, _prompt: &str) -> Result<Vec<u8>, Failure> {
        Err(one_turn_only(self.name()))
    }
    /// What to write to the standard input of a live process to ask for the further turn `plan`; [`Plan::resume`] names
    /// the session that the process has.
    ///
    /// # Errors
    /// Those of [`Engine::input`].
    fn further(&self, plan: &Plan<'_>) -> Result<Vec<u8>, Failure> {
        self.input(plan.prompt)
    }
    /// What to write to the standard input of a live process to answer [`crate::Parsed::Question`] of this identity.
    /// Empty where the engine asks no questions.
    fn answer(&self, _question: &str, _text: &str) -> Vec<u8> {
        Vec::new()
    }
    /// Where the engine reads standing instructions, absolute inside; `None` when it has no such place.
    fn instructions_path(&self, _home: &str) -> Option<String> {
        None
    }
    /// Whether it may have to be told what was said in the turns before.
    fn wants_history(&self) -> bool {
        false
    }
    /// The engine whose installed program it is: itself, but for a described one that names another.
    fn installed(&self) -> &str {
        self.name()
    }
    /// How a pinned version is installed; `None` when there is nothing to install.
    fn recipe(&self) -> Option<Recipe> {
        None
    }
    /// The model that is used when none is asked for, as far as this build decides it.
    fn default_model(&self, _wire: Wire) -> Option<&str> {
        None
    }
}

impl Plan<'_> {
    /// The address of the gateway with `path`.
    pub(crate) fn gateway(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.gateway_port)
    }

    /// Checks what every engine needs, and that the prompt is at most `prompt_max` bytes.
    pub(crate) fn check(&self, engine: &dyn Engine, prompt_max: usize) -> Result<(), Failure> {
        check_prompt(engine.name(), self.prompt, prompt_max.min(PROMPT_BYTES_MAX))?;
        check_word("model", self.model)?;
        check_word("session", self.resume)?;
        for (field, path) in [("workdir", self.workdir), ("home", self.home), ("program", &self.program.path)] {
            if !path.starts_with('/') || path.contains('\0') {
                return Err(usage(field, format!("the {field} of the engine is not an absolute path")));
            }
        }
        if self.live && !engine.live() {
            return Err(one_turn_only(engine.name()));
        }
        if !engine.wires().is_empty() && !engine.wires().contains(&self.wire) {
            return Err(usage("engine", format!("the engine {} cannot speak {:?}", engine.name(), self.wire)));
        }
        Ok(())
    }
}

fn one_turn_only(engine: &str) -> Failure {
    usage("engine", format!("a process of the engine {engine} takes one turn only"))
}

fn usage(field: &str, message: String) -> Failure {
    Failure::new(model::Code::Usage, message).field(field)
}

/// Checks that a prompt is one, and that it is at most `max` bytes.
pub(crate) fn check_prompt(engine: &str, prompt: &str, max: usize) -> Result<(), Failure> {
    let refuse = |message: String| Err(Failure::new(model::Code::PromptInvalid, message).field("prompt"));
    if prompt.trim().is_empty() {
        return refuse("the prompt is empty".to_owned());
    }
    if prompt.contains('\0') {
        return refuse("the prompt holds a NUL".to_owned());
    }
    if prompt.len() > max {
        return refuse(format!("the prompt has {} bytes, the engine {engine} takes at most {max}", prompt.len()));
    }
    Ok(())
}

/// The longest model name or engine session, in bytes. The longest seen of both is below 100.
const WORD_BYTES_MAX: usize = 256;

/// A word that goes into an argument vector must not read as an option, a path out of a directory, or a line break.
fn check_word(field: &str, word: Option<&str>) -> Result<(), Failure> {
    let Some(word) = word else { return Ok(()) };
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:/@[]+".contains(c);
    if word.is_empty() || word.len() > WORD_BYTES_MAX || word.starts_with('-') || word.contains("..") || !word.chars().all(plain) {
        return Err(usage(field, format!("the {field} is not a plain name of at most {WORD_BYTES_MAX} characters")));
    }
    Ok(())
}

/// A value as a line of its own.
pub(crate) fn json_line(value: &serde_json::Value) -> Vec<u8> {
    let mut line = value.to_string().into_bytes();
    line.push(b'\n');
    line
}

/// The name under which engines know the server of tools that the owner allows.
pub(crate) const TOOLS: &str = "lazaret";
/// The server: the guest program, speaking MCP.
pub(crate) const TOOLS_SERVER: [&str; 2] = ["/opt/lazaret/bin/ipc", "mcp"];
/// The host's socket inside, which the server and mini use.
pub(crate) const HOST_SOCKET: &str = "/run/lazaret/host.sock";
/// How long an engine waits for one tool, in seconds: above the longest time for which a call can wait for a person.
pub(crate) const TOOL_WAIT_S: u32 = 24 * 3600 + 600;
/// How long an engine waits for the server at its start, in seconds; a machine can be busy.
pub(crate) const TOOLS_START_S: u32 = 60;

/// Where programs are looked for inside: what the agent was given for itself comes first.
const PATH: &str = "/opt/lazaret-agent/bin:/opt/lazaret-tools/bin:/usr/local/bin:/usr/bin:/bin:/opt/lazaret/bin";
/// Where Python looks for libraries besides its own.
const PYTHON_PATH: &str = "/opt/lazaret-agent/python:/opt/lazaret-tools/python";

/// What every engine gets: the base environment, and nothing else yet.
pub(crate) fn base_launch(plan: &Plan<'_>) -> Launch {
    let mut env: Vec<(String, String)> = [
        ("HOME", plan.home),
        ("PATH", PATH),
        ("PYTHONPATH", PYTHON_PATH),
        ("USER", "sandbox"),
        ("LOGNAME", "sandbox"),
        ("SHELL", "/bin/bash"),
        ("LANG", "C.UTF-8"),
        ("TERM", "dumb"),
        ("NO_COLOR", "1"),
        ("TMPDIR", "/tmp"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into();
    if let Some(port) = plan.egress_port {
        let proxy = format!("http://127.0.0.1:{port}");
        for key in ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"] {
            env.push((key.to_owned(), proxy.clone()));
        }
        for key in ["NO_PROXY", "no_proxy"] {
            env.push((key.to_owned(), "127.0.0.1,localhost,::1".to_owned()));
        }
    }
    env.push(("NODE_OPTIONS".to_owned(), format!("--max-old-space-size={}", node_heap_mib(plan.memory_bytes))));
    Launch { env, ..Launch::default() }
}

/// The heap of a Node program in MiB: three quarters of the sandbox's memory, so that its tools have the rest.
fn node_heap_mib(memory_bytes: u64) -> u64 {
    ((memory_bytes / 4 * 3) >> 20).max(64)
}

impl Launch {
    /// Adds environment variables.
    pub(crate) fn env<'a>(mut self, pairs: impl IntoIterator<Item = (&'a str, String)>) -> Self {
        self.env.extend(pairs.into_iter().map(|(key, value)| (key.to_owned(), value)));
        self
    }

    /// Adds switches that are on.
    pub(crate) fn on(mut self, keys: &[&str]) -> Self {
        self.env.extend(keys.iter().map(|key| ((*key).to_owned(), "1".to_owned())));
        self
    }

    /// Adds a file.
    pub(crate) fn file(mut self, path: String, bytes: impl Into<Vec<u8>>) -> Self {
        self.files.push(File { path, bytes: bytes.into(), mode: 0o600 });
        self
    }
}
