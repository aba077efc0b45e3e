//! Why a request goes no further, in the words that the agent sees.

use model::Code;
use serde_json::Value;
use wire::{Answer, ErrorBody};

/// Characters of a message that an agent sees.
const MESSAGE_CHARS_MAX: usize = 4_096;

/// A stage's no.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Refusal {
    pub(crate) code: Code,
    pub(crate) stage: Option<u8>,
    pub(crate) message: String,
    pub(crate) retriable: bool,
    pub(crate) field: Option<String>,
    pub(crate) retry_after: Option<u64>,
}

impl Refusal {
    pub(crate) fn new(stage: u8, code: Code, message: impl Into<String>) -> Self {
        let retriable = code.is_retriable();
        Self { code, stage: Some(stage), message: message.into(), retriable, field: None, retry_after: None }
    }

    pub(crate) fn field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    pub(crate) fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    pub(crate) fn for_good(mut self) -> Self {
        self.retriable = false;
        self
    }

    /// The answer that says so. `clean` takes credentials out of what came from outside.
    pub(crate) fn answer(self, correlation: String, clean: impl Fn(&str) -> Option<String>) -> Answer {
        let cleaned = |text: String| clean(&text).unwrap_or(text);
        let error = ErrorBody {
            code: self.code.to_string(),
            message: cut(cleaned(self.message), MESSAGE_CHARS_MAX),
            retriable: self.retriable,
            stage: self.stage,
            field: self.field.map(cleaned),
            retry_after: self.retry_after,
        };
        Answer { correlation, result: Value::Null, error: Some(error), origin: None }
    }
}

/// Text from outside as it may stand in a message: on one line, nothing hidden, at most `max` characters.
pub(crate) fn shown(text: &str, max: usize) -> String {
    let mut out = String::new();
    for (n, char) in text.chars().enumerate() {
        if n == max {
            out.push('…');
            break;
        }
        if char.is_control() || is_hidden(char) { out.extend(char.escape_unicode()) } else { out.push(char) }
    }
    out
}

/// Characters that are not seen, or that change how their neighbours are seen.
fn is_hidden(char: char) -> bool {
    matches!(char,
        '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

fn cut(text: String, max: usize) -> String {
    match text.char_indices().nth(max) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_hides_in_a_message() {
        assert_eq!(shown("a\u{202e}b\nc\u{200b}", 64), "a\\u{202e}b\\u{a}c\\u{200b}");
        assert_eq!(shown("abcdef", 3), "abc…");
        let answer = Refusal::new(3, Code::ValidationFailed, "x".repeat(10_000)).answer("c".to_owned(), |_| None);
        assert_eq!(answer.error.unwrap().message.chars().count(), MESSAGE_CHARS_MAX + 1);
    }
}
