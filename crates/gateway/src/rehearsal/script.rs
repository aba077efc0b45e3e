//! The script of the provider `rehearsal`.

use model::Usage;

use super::{Asked, Reply, shell_call, tokens_of};

/// What the rehearsal runs: harmless, the same everywhere, and it shows where it runs.
const COMMAND: &str = "uname -a && ls -la";
/// Characters of the prompt and of the output that are repeated.
const PROMPT_SHOWN: usize = 200;
const OUTPUT_SHOWN: usize = 2_000;

/// Answers a request: first with one call of the tool that runs commands, if there is one; then with what it printed.
#[must_use]
pub fn rehearse(asked: &Asked) -> Reply {
    let call = if asked.outputs.is_empty() { shell_call(asked, COMMAND) } else { None };
    let text = if call.is_some() { String::new() } else { answer(asked) };
    let usage = Usage { input_tokens: tokens_of(asked.bytes), output_tokens: tokens_of(text.len()).max(1), ..Usage::default() };
    Reply { text, calls: call.into_iter().collect(), usage }
}

fn answer(asked: &Asked) -> String {
    let cut = |text: &str, max| text.chars().take(max).collect::<String>();
    let line = asked.user.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let mut text = format!("This is a rehearsal: a script answers, no model was asked.\n\nYou wrote: {}", cut(line.trim(), PROMPT_SHOWN));
    if let Some(output) = asked.outputs.last() {
        text.push_str("\n\nThe command `");
        text.push_str(COMMAND);
        text.push_str("` printed in the sandbox:\n\n");
        text.push_str(cut(&output.text, OUTPUT_SHOWN).trim_end());
    }
    text
}
