//! Texts that a command line gives: as they stand, from standard input, or from a file.

use std::io::Read;
use std::path::Path;

use model::{Code, Failure, PROMPT_BYTES_MAX};

/// What to do: the text itself, or standard input for `-`.
pub(super) fn prompt(text: &str) -> Result<String, Failure> {
    if text != "-" {
        return Ok(text.to_owned());
    }
    let invalid = |why: String| Failure::new(Code::PromptInvalid, why).field("prompt");
    let mut bytes = Vec::new();
    let limit = PROMPT_BYTES_MAX as u64 + 1;
    std::io::stdin().lock().take(limit).read_to_end(&mut bytes).map_err(|e| invalid(format!("the prompt cannot be read: {e}")))?;
    if bytes.len() > PROMPT_BYTES_MAX {
        return Err(invalid(format!("the prompt is longer than {PROMPT_BYTES_MAX} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| invalid("the prompt is not UTF-8".to_owned()))
}

/// The text itself, standard input for `-`, or a file for `@FILE`; at most `max` bytes.
pub(super) fn given(flag: &str, text: &str, max: usize) -> Result<String, Failure> {
    let fail = |why: String| Failure::new(Code::Usage, format!("{flag}: {why}")).field(flag);
    let mut bytes = Vec::new();
    let limit = max as u64 + 1;
    let read = if text == "-" {
        std::io::stdin().lock().take(limit).read_to_end(&mut bytes)
    } else if let Some(path) = text.strip_prefix('@') {
        std::fs::File::open(Path::new(path)).and_then(|file| file.take(limit).read_to_end(&mut bytes))
    } else {
        bytes = text.as_bytes().to_vec();
        Ok(bytes.len())
    };
    read.map_err(|e| fail(format!("`{}` cannot be read: {e}", text.escape_debug())))?;
    if bytes.len() > max {
        return Err(fail(format!("it is longer than {max} bytes")));
    }
    let text = String::from_utf8(bytes).map_err(|_| fail("it is not UTF-8".to_owned()))?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}
