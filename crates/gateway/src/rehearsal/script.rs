//! The script of the provider `rehearsal`.

use model::Usage;
use serde_json::Value;

use super::{Asked, Reply, ToolCall, shell_call, tokens_of};

/// What the rehearsal runs: harmless, the same everywhere, and it shows where it runs.
const COMMAND: &str = "uname -a && ls -la";
/// A sentence that a prompt holds whose work shall end with a commit. A rehearsal then changes a file and commits it.
pub const REHEARSAL_COMMIT: &str = "Commit your work on the branch that is checked out.";
/// What the rehearsal runs then: a line in a file of its own, kept by git.
const COMMIT: &str = "printf 'Rehearsed without a model.\\n' >> REHEARSAL.md && git add REHEARSAL.md && \
     git commit --quiet -m 'Rehearse the work of a branch agent' && git log --oneline -3";
/// Characters of the prompt and of the output that are repeated.
const PROMPT_SHOWN: usize = 200;
const OUTPUT_SHOWN: usize = 2_000;

/// Calls that one prompt can ask for.
const CALLS_MAX: usize = 64;

/// Answers a request: first with one call of the tool that runs commands, if there is one; then with what it printed.
///
/// A prompt can say which tools are called instead, one in a line: `call NAME {"argument": ...}`. They are called one after
/// the other. One that is not offered is passed over. A prompt with [`REHEARSAL_COMMIT`] gets a commit.
#[must_use]
pub fn rehearse(asked: &Asked) -> Reply {
    let told = told(asked);
    let command = if asked.user.contains(REHEARSAL_COMMIT) { COMMIT } else { COMMAND };
    let call = match told.is_empty() {
        true if asked.outputs.is_empty() => shell_call(asked, command),
        true => None,
        false => told.get(asked.outputs.len()).cloned(),
    };
    let what = match asked.outputs.len().checked_sub(1).and_then(|last| told.get(last)) {
        Some(call) => format!("The tool `{}` gave back", call.name),
        None => format!("The command `{command}` printed in the sandbox"),
    };
    let text = if call.is_some() { String::new() } else { answer(asked, &what) };
    let usage = Usage { input_tokens: tokens_of(asked.bytes), output_tokens: tokens_of(text.len()).max(1), ..Usage::default() };
    Reply { text, calls: call.into_iter().collect(), usage }
}

/// The calls that the prompt asks for.
fn told(asked: &Asked) -> Vec<ToolCall> {
    let call = |line: &str| {
        let (name, input) = line.trim().strip_prefix("call ")?.trim_start().split_once(' ')?;
        let input: Value = serde_json::from_str(input).ok().filter(Value::is_object)?;
        let tool = asked.tools.iter().find(|tool| tool.name == name)?;
        Some(ToolCall { name: tool.name.clone(), namespace: tool.namespace.clone(), input })
    };
    asked.user.lines().filter_map(call).take(CALLS_MAX).collect()
}

fn answer(asked: &Asked, what: &str) -> String {
    let cut = |text: &str, max| text.chars().take(max).collect::<String>();
    let line = asked.user.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let mut text = format!("This is a rehearsal: a script answers, no model was asked.\n\nYou wrote: {}", cut(line.trim(), PROMPT_SHOWN));
    if let Some(output) = asked.outputs.last() {
        text.push_str("\n\n");
        text.push_str(what);
        text.push_str(":\n\n");
        text.push_str(cut(&output.text, OUTPUT_SHOWN).trim_end());
    }
    text
}
