//! What commands print.

use std::io::Write;

use model::Failure;
use serde::Serialize;

use crate::client::internal;

/// Writes a line to standard output. A reader that has left is no failure of the command.
pub(crate) fn line(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// Writes a piece of text to standard output at once.
pub(crate) fn piece(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Writes a line for a person to standard error.
pub(crate) fn note(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Writes a value as one line of JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Failure> {
    line(&serde_json::to_string(value).map_err(|e| internal(&e.to_string()))?);
    Ok(())
}

/// Bytes as people read them.
pub(crate) fn bytes(n: u64) -> String {
    let units = [(1 << 40, "T"), (1 << 30, "G"), (1 << 20, "M"), (1 << 10, "k")];
    match units.iter().find(|(size, _)| n >= *size) {
        Some((size, unit)) => format!("{}{unit}", n / size),
        None => n.to_string(),
    }
}
