//! How a command ends: the one place that turns failures into words and an exit status.

use std::io::Write;
use std::process::ExitCode;

use model::{Code, Failure};

/// What a command comes to: an exit status, or a failure to print.
pub(crate) type Done = Result<u8, Failure>;

/// Prints a failure, if there is one, and gives the exit status.
pub(crate) fn finish(done: Done, json: bool) -> ExitCode {
    match done {
        Ok(status) => ExitCode::from(status),
        Err(failure) => {
            let status = failure.code.exit_status();
            print(&failure, json);
            ExitCode::from(status)
        }
    }
}

/// What is wrong with a command line, in the form of every other failure.
pub(crate) fn usage(error: &clap::Error) -> Failure {
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text).trim_end();
    let (message, hint) = text.split_once("\n\n").unwrap_or((text, ""));
    let hint = hint.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ");
    let failure = Failure::new(Code::Usage, message.trim_end());
    if hint.is_empty() { failure } else { failure.hint(hint) }
}

/// Writes `error[CODE]: message` and the hint to standard error; with `--json` one JSON line.
pub(crate) fn print(failure: &Failure, json: bool) {
    let mut err = std::io::stderr().lock();
    // A closed standard error leaves nothing that could be done.
    let _ = if json {
        writeln!(err, "{}", serde_json::json!({ "error": failure }))
    } else {
        let hint = failure.hint.as_deref().map(|h| format!("\nhint: {h}")).unwrap_or_default();
        writeln!(err, "error[{}]: {}{}", failure.code, clean(&failure.message), clean(&hint))
    };
}

/// A text with what could steer a terminal made visible: agents and files choose parts of what is printed.
pub(crate) fn clean(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\n' | '\t' => c.to_string(),
            c if c.is_control() || is_direction(c) => c.escape_unicode().to_string(),
            c => c.to_string(),
        })
        .collect()
}

/// The characters of Unicode that reorder what is read (bidirectional controls).
fn is_direction(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_never_steered() {
        assert_eq!(clean("a\x1b]52;c;eA==\x07b\u{202e}c\nd"), "a\\u{1b}]52;c;eA==\\u{7}b\\u{202e}c\nd");
    }
}
