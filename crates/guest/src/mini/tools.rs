//! What the model can do by itself: run a command, read, write and edit files, ask the user. The walls are the sandbox's;
//! nothing is checked here that a command could not do anyway. What the owner allows besides is in [`super::granted`].

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::chat::Call;
use super::shell;

/// The most that a tool gives back, in bytes.
pub(super) const OUTPUT_BYTES_MAX: usize = 48 << 10;
/// The largest file that is read or edited, in bytes.
const FILE_BYTES_MAX: u64 = 32 << 20;
/// How long a command may run when nothing is said, and at most.
const COMMAND_WAIT: Duration = Duration::from_secs(120);
const COMMAND_WAIT_MAX: Duration = Duration::from_secs(3600);

/// A tool as the model is told of it.
pub(super) struct Tool {
    pub(super) name: &'static str,
    pub(super) description: &'static str,
    pub(super) schema: fn() -> Value,
    run: fn(&Map<String, Value>) -> Result<String, String>,
}

/// A tool as a request names it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Offer {
    pub(super) name: String,
    pub(super) description: String,
    /// The JSON Schema of its arguments.
    pub(super) schema: Value,
}

/// The tools of this program, as requests name them.
pub(super) fn offers() -> impl Iterator<Item = Offer> {
    ALL.iter().map(|tool| Offer { name: tool.name.to_owned(), description: tool.description.to_owned(), schema: (tool.schema)() })
}

/// Every tool, in the order in which the model is told of them.
pub(super) const ALL: &[Tool] = &[
    Tool {
        name: "bash",
        description: "Run a shell command in the working directory. Gives standard output and standard error together, \
                      cut in the middle when long, and the exit status when it is not 0. Every call is a new shell. \
                      The command and what it started in the foreground are ended at the time limit.",
        schema: || {
            object(&[
                ("command", "string", "The command for bash -c.", true),
                ("timeout_s", "integer", "The time limit in seconds; 120 when left out, 3600 at most.", false),
            ])
        },
        run: bash,
    },
    Tool {
        name: "read",
        description: "Read a text file. Long files are cut; use offset and limit to read further.",
        schema: || {
            object(&[
                ("path", "string", "The file.", true),
                ("offset", "integer", "The first line to read, from 1.", false),
                ("limit", "integer", "How many lines to read.", false),
            ])
        },
        run: read,
    },
    Tool {
        name: "write",
        description: "Write a file, in place of what it held. Directories are made.",
        schema: || object(&[("path", "string", "The file.", true), ("content", "string", "The whole new content.", true)]),
        run: write,
    },
    Tool {
        name: "edit",
        description: "Replace a text in a file. The old text must stand in the file exactly once, white space included.",
        schema: || {
            object(&[
                ("path", "string", "The file.", true),
                ("old", "string", "The text to replace.", true),
                ("new", "string", "The text to put in its place.", true),
            ])
        },
        run: edit,
    },
    Tool {
        name: ASK_USER,
        description: "Ask the user a question and wait for the answer. Use it only when you cannot find out or decide by \
                      yourself and a wrong guess would cost the user much. Offer answers where there are a few.",
        schema: || {
            let options = json!({ "type": "array", "items": { "type": "string" }, "description": "Answers to choose from." });
            let mut schema = object(&[("question", "string", "The question, with what the user must know to answer it.", true)]);
            schema["properties"]["options"] = options;
            schema
        },
        run: |input| Question::of(input).and_then(|_| Err(NOBODY.to_owned())),
    },
];

/// The tool that asks a person.
pub(super) const ASK_USER: &str = "ask_user";
/// What it gives back where there is no person.
pub(super) const NOBODY: &str = "Nobody is there to answer. Decide what is reasonable and say what you decided.";

/// What the model asks a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) text: String,
    /// Answers to choose from; empty for any.
    pub(super) options: Vec<String>,
}

impl Question {
    /// Reads the arguments of [`ASK_USER`].
    pub(super) fn of(input: &Map<String, Value>) -> Result<Self, String> {
        let text = text(input, "question")?.trim().to_owned();
        if text.is_empty() {
            return Err("The question is empty.".to_owned());
        }
        let options = match input.get("options") {
            None | Some(Value::Null) => Some(Vec::new()),
            Some(Value::Array(all)) => all.iter().map(|one| one.as_str().map(str::to_owned)).collect(),
            Some(_) => None,
        };
        Ok(Self { text, options: options.ok_or("The argument `options` is not a list of texts.")? })
    }
}

/// Runs a call: what it gave, and whether it failed.
pub(super) fn run(call: &Call) -> (String, bool) {
    let Some(tool) = ALL.iter().find(|tool| tool.name == call.name) else {
        let names: Vec<&str> = ALL.iter().map(|tool| tool.name).collect();
        return (format!("There is no tool of this name; there are {}.", names.join(", ")), true);
    };
    let Some(input) = call.input.as_object() else {
        return ("The arguments are not a JSON object.".to_owned(), true);
    };
    match (tool.run)(input) {
        Ok(output) => (output, false),
        Err(message) => (message, true),
    }
}

/// The arguments of a call from the JSON that a stream brought in pieces; a text when it is no JSON.
pub(super) fn arguments(pieces: &str, whole: &Value) -> Value {
    match (pieces.trim(), whole) {
        ("", Value::Object(_)) => whole.clone(),
        ("", _) => json!({}),
        (text, _) => serde_json::from_str(text).unwrap_or_else(|_| Value::String(pieces.to_owned())),
    }
}

/// The JSON schema of an object with these fields: name, type, description, whether it is needed.
fn object(fields: &[(&str, &str, &str, bool)]) -> Value {
    let properties: Map<String, Value> = fields
        .iter()
        .map(|(name, kind, description, _)| ((*name).to_owned(), json!({ "type": kind, "description": description })))
        .collect();
    let required: Vec<&str> = fields.iter().filter(|field| field.3).map(|field| field.0).collect();
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

fn text<'a>(input: &'a Map<String, Value>, key: &str) -> Result<&'a str, String> {
    input.get(key).and_then(Value::as_str).ok_or_else(|| format!("The argument `{key}` is missing or is not a text."))
}

fn number(input: &Map<String, Value>, key: &str) -> Result<Option<u64>, String> {
    match input.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value.as_u64().map(Some).ok_or_else(|| format!("The argument `{key}` is not a whole number.")),
    }
}

fn bash(input: &Map<String, Value>) -> Result<String, String> {
    let command = text(input, "command")?;
    let wait = number(input, "timeout_s")?.map_or(COMMAND_WAIT, Duration::from_secs).min(COMMAND_WAIT_MAX);
    let ran = shell::run(command, wait, OUTPUT_BYTES_MAX).map_err(|error| format!("Failed to start the shell: {error}"))?;
    let mut output = ran.output;
    let note = match ran.end {
        shell::End::Code(0) => return Ok(output),
        shell::End::Code(code) => format!("[exit status {code}]"),
        shell::End::Signal(signal) => format!("[ended by signal {signal}]"),
        shell::End::TimedOut => format!("[ended at the time limit of {} s]", wait.as_secs()),
    };
    if !output.is_empty() && !output.ends_with('\n') {
        output.push('\n');
    }
    output.push_str(&note);
    Err(output)
}

fn load(path: &Path) -> Result<Vec<u8>, String> {
    let failed = |error: std::io::Error| format!("Failed to read {}: {error}", path.display());
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() {
        return Err(format!("{} is not a file.", path.display()));
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("{} is larger than {FILE_BYTES_MAX} bytes.", path.display()));
    }
    Ok(bytes)
}

fn read(input: &Map<String, Value>) -> Result<String, String> {
    let path = PathBuf::from(text(input, "path")?);
    let bytes = load(&path)?;
    let content = String::from_utf8_lossy(&bytes);
    let first = number(input, "offset")?.unwrap_or(1).max(1) - 1;
    let limit = number(input, "limit")?.unwrap_or(u64::MAX);
    let total = content.lines().count();
    let mut output = String::new();
    let mut shown = 0u64;
    let skip = usize::try_from(first).unwrap_or(usize::MAX);
    for line in content.split_inclusive('\n').skip(skip) {
        if shown == limit {
            break;
        }
        let room = OUTPUT_BYTES_MAX - output.len();
        if line.len() > room {
            let cut = if shown == 0 { line.floor_char_boundary(room) } else { 0 };
            output.push_str(&line[..cut]);
            let next = first + shown + 1;
            return Ok(format!("{output}\n[cut at {OUTPUT_BYTES_MAX} bytes; the file has {total} lines, go on with offset {next}]"));
        }
        output.push_str(line);
        shown += 1;
    }
    if shown == 0 && total > 0 && limit > 0 {
        return Err(format!("The file has only {total} lines."));
    }
    Ok(output)
}

fn write(input: &Map<String, Value>) -> Result<String, String> {
    let path = PathBuf::from(text(input, "path")?);
    let content = text(input, "content")?;
    let failed = |error: std::io::Error| format!("Failed to write {}: {error}", path.display());
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent).map_err(failed)?;
    }
    std::fs::write(&path, content).map_err(failed)?;
    Ok(format!("Wrote {} bytes to {}.", content.len(), path.display()))
}

fn edit(input: &Map<String, Value>) -> Result<String, String> {
    let path = PathBuf::from(text(input, "path")?);
    let (old, new) = (text(input, "old")?, text(input, "new")?);
    if old.is_empty() {
        return Err("The old text is empty; use write to make a file.".to_owned());
    }
    let content = String::from_utf8(load(&path)?).map_err(|_| format!("{} is not a text file.", path.display()))?;
    match content.matches(old).count() {
        0 => Err(format!("The old text is not in {}. Nothing was changed.", path.display())),
        1 => {
            let changed = content.replacen(old, new, 1);
            std::fs::write(&path, changed).map_err(|error| format!("Failed to write {}: {error}", path.display()))?;
            Ok(format!("Changed {}.", path.display()))
        }
        count => Err(format!("The old text is {count} times in {}; add lines around it. Nothing was changed.", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(name: &str, input: Value) -> (String, bool) {
        run(&Call { id: "1".into(), name: name.into(), input })
    }

    #[test]
    fn files_are_written_read_and_edited() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("a/b.txt");
        let path = path.to_str().expect("plain");
        assert!(!call("write", json!({ "path": path, "content": "one\ntwo\ntwo\n" })).1);
        assert_eq!(call("read", json!({ "path": path })), ("one\ntwo\ntwo\n".into(), false));
        assert_eq!(call("read", json!({ "path": path, "offset": 2, "limit": 1 })), ("two\n".into(), false));
        assert!(call("read", json!({ "path": path, "offset": 9 })).1);
        assert!(call("edit", json!({ "path": path, "old": "two", "new": "2" })).0.contains("2 times"));
        assert!(call("edit", json!({ "path": path, "old": "ten", "new": "2" })).1);
        assert!(!call("edit", json!({ "path": path, "old": "one\ntwo", "new": "1\n2" })).1);
        assert_eq!(std::fs::read_to_string(path).expect("there"), "1\n2\ntwo\n");
    }

    #[test]
    fn long_files_are_cut_and_say_where_to_go_on() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("long");
        std::fs::write(&path, "0123456789\n".repeat(20_000)).expect("written");
        let (output, is_error) = call("read", json!({ "path": path.to_str() }));
        assert!(!is_error && output.len() < OUTPUT_BYTES_MAX + 200);
        let next = OUTPUT_BYTES_MAX / 11 + 1;
        assert!(output.ends_with(&format!("the file has 20000 lines, go on with offset {next}]")), "{}", &output[output.len() - 90..]);
    }

    #[test]
    fn wrong_calls_are_answered() {
        for (name, input) in [
            ("rm", json!({})),
            ("bash", json!("{")),
            ("bash", json!({})),
            ("bash", json!({ "command": "true", "timeout_s": "x" })),
            ("read", json!({ "path": "/" })),
            ("read", json!({ "path": "/dev/zero" })),
            ("read", json!({ "path": "/nowhere" })),
            ("edit", json!({ "path": "/nowhere", "old": "", "new": "" })),
            ("ask_user", json!({ "question": "which?" })),
            ("ask_user", json!({ "question": " " })),
            ("ask_user", json!({ "question": "which?", "options": [1] })),
        ] {
            assert!(call(name, input.clone()).1, "{name} {input}");
        }
    }

    #[test]
    fn commands_tell_how_they_ended() {
        assert_eq!(call("bash", json!({ "command": "echo a; echo b >&2" })), ("a\nb\n".into(), false));
        assert_eq!(call("bash", json!({ "command": "printf x; exit 3" })), ("x\n[exit status 3]".into(), true));
        assert_eq!(call("bash", json!({ "command": "kill -9 $$" })), ("[ended by signal 9]".into(), true));
        let directory = tempfile::tempdir().expect("a directory");
        let up = directory.path().join("up");
        let command = format!("echo a; : > '{}'; sleep 1000", up.display());
        let mut limit = 1;
        // A shell that had not come so far at the limit shows nothing: it gets more time.
        let ended = loop {
            let ended = call("bash", json!({ "command": command, "timeout_s": limit }));
            if up.exists() {
                break ended;
            }
            assert!(limit < 100, "the shell does not come up");
            limit *= 10;
        };
        assert_eq!(ended, (format!("a\n[ended at the time limit of {limit} s]"), true));
    }
}
