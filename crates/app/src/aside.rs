//! What of a session is too long for its row: the texts that a job or the description of an engine brought. They are kept in
//! a file of the session's directory, and the row holds its hash.

use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use model::{Code, Failure, SessionId};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use store::NewSession;

use crate::sessions::{make_dir, new_row};
use crate::{App, JobPart, SessionSpec};

/// What fits into the row, in bytes of JSON.
const IN_ROW_BYTES_MAX: usize = 128 << 10;
/// The longest file. A job's texts are together far below it.
const BYTES_MAX: u64 = 32 << 20;

/// The long texts of a session.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Aside {
    job: Option<JobPart>,
    engine_text: Option<String>,
}

impl App {
    /// The row of a new session. What is too long for it is on disk when this returns.
    pub(crate) fn row_of(&self, id: &SessionId, spec: &SessionSpec) -> Result<NewSession, Failure> {
        let dir = self.session_dir(id);
        make_dir(&dir)?;
        new_row(id, &put(&dir, spec)?)
    }

    /// What a session is made of, with what its row has no place for.
    pub(crate) fn whole(&self, id: &SessionId, spec: SessionSpec) -> Result<SessionSpec, Failure> {
        take(&self.session_dir(id), spec)
    }
}

fn put(dir: &Path, spec: &SessionSpec) -> Result<SessionSpec, Failure> {
    let fail = |e: &dyn std::fmt::Display| Failure::new(Code::Internal, format!("the texts of a session cannot be kept: {e}"));
    let aside = Aside { job: spec.job.clone(), engine_text: spec.engine_text.clone() };
    let text = serde_json::to_vec(&aside).map_err(|e| fail(&e))?;
    if text.len() <= IN_ROW_BYTES_MAX {
        return Ok(spec.clone());
    }
    if text.len() as u64 > BYTES_MAX {
        let message = format!("what the job brings in texts is longer than {BYTES_MAX} bytes");
        return Err(Failure::new(Code::TooLarge, message));
    }
    // Written whole or not at all: the row that names it comes after.
    let fresh = dir.join("aside.new");
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(&fresh);
    let written = file.and_then(|mut file| file.write_all(&text).and_then(|()| file.sync_all()));
    written.and_then(|()| std::fs::rename(&fresh, path(dir))).map_err(|e| fail(&e))?;
    let job = spec.job.as_ref().map(|job| JobPart { id: job.id.clone(), ..JobPart::default() });
    Ok(SessionSpec { job, engine_text: None, aside: Some(hash(&text)), ..spec.clone() })
}

fn take(dir: &Path, spec: SessionSpec) -> Result<SessionSpec, Failure> {
    let Some(wanted) = &spec.aside else { return Ok(spec) };
    let lost = |why: &dyn std::fmt::Display| Failure::new(Code::StoreUnusable, format!("the texts of the session are lost: {why}"));
    let mut text = Vec::new();
    let file = std::fs::File::open(path(dir)).map_err(|e| lost(&e))?;
    file.take(BYTES_MAX).read_to_end(&mut text).map_err(|e| lost(&e))?;
    if hash(&text) != *wanted {
        return Err(lost(&"their file was changed"));
    }
    let aside: Aside = serde_json::from_slice(&text).map_err(|e| lost(&e))?;
    Ok(SessionSpec { job: aside.job, engine_text: aside.engine_text, aside: None, ..spec })
}

fn path(dir: &Path) -> std::path::PathBuf {
    dir.join("aside.json")
}

fn hash(text: &[u8]) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}
