//! Tapes: every exchange of a run in one file, to run it again without a model.
//!
//! A tape is a file of JSON lines, each `{"hash":H,"entry":E}`. H is the SHA-256, in hexadecimal, of the hash before it (of
//! nothing for the first line) followed by the bytes of E; so a line that was changed, lost or moved is found. The entries are
//!
//! - first `{"tape":1,"lazaret":VERSION}`;
//! - for each exchange `{"n","method","path","body","status","type","pieces","whole"}`: the request in canonical form, and
//!   the reply piece by piece, each `{"t":TEXT}` or `{"b":BASE64}` with `w`, how long it was waited for (0 under 10 ms, 1 under
//!   100 ms, 2 under 1 s, 3 longer);
//! - last `{"end":COUNT}`; a tape without it was cut.
//!
//! A request is written, and compared, in **canonical form**, so that what differs from run to run by nature does not count:
//! members of objects are sorted; `metadata`, `prompt_cache_key`, `session_id`, `user`, `client_metadata` and `safety_identifier` of the
//! outermost object are left out; and in every text UUIDs, identifiers of 16 and more letters and digits that hold a digit, dates, times
//! of day and fractions of seconds are each replaced by one word. Headers are no part of it: no credential ever comes near a tape.

mod canon;
mod reader;
mod writer;

pub use canon::canonical;
pub(crate) use reader::Answer;
pub use reader::Reader;
pub use writer::Writer;
pub(crate) use writer::{Request, Tap};

use sha2::{Digest as _, Sha256};

/// The form that is described above.
const VERSION: u64 = 1;
/// Bytes of a tape. Recording beyond it fails the tape at its end.
const TAPE_BYTES_MAX: u64 = 512 << 20;

/// Why a tape cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum TapeError {
    /// The file.
    #[error("access the tape")]
    Io(#[from] std::io::Error),
    /// What stands on it. The code is `TAPE_INVALID`.
    #[error("use the tape, line {line}: {why}")]
    Invalid {
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Something could not be recorded, so the tape has no end.
    #[error("record everything: {0}")]
    Incomplete(&'static str),
}

/// One link of the chain.
fn link(before: &str, entry: &str) -> String {
    let digest = Sha256::new().chain_update(before).chain_update(entry).finalize();
    digest.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests;
