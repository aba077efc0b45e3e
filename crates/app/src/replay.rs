//! Running what was recorded again, without a model.

use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use gateway::{TapeMode, tape};
use model::{Code, Failure, TurnId};
use serde::{Deserialize, Serialize};
use store::NewTurn;
use tokio::io::{AsyncRead, AsyncWriteExt};

use crate::sessions::{SessionsOf, read_spec};
use crate::turn::Running;
use crate::{SessionSpec, SessionView, Tape, now};

/// What a tape says about the run that it was recorded from.
#[derive(Debug, Serialize, Deserialize)]
struct About {
    /// The version of the program.
    lazaret: String,
    /// The session, without what belongs to one machine or is nobody else's business.
    spec: SessionSpec,
    /// What was asked.
    prompt: String,
}

/// The text that a tape begins with.
pub(crate) fn about(spec: &SessionSpec, prompt: &str) -> Result<String, serde_json::Error> {
    let about = About { lazaret: env!("CARGO_PKG_VERSION").to_owned(), spec: portable(spec), prompt: prompt.to_owned() };
    serde_json::to_string(&about)
}

impl Running<'_> {
    /// The tape of this turn, made or read. One that another daemon began cannot be gone on with.
    pub(crate) fn tape(&self) -> Result<Option<TapeMode>, Failure> {
        let spec = &self.live.spec;
        let path = self.app.tape_path(&self.live.id, self.turn.n);
        let fail = |e: &dyn std::error::Error| Failure::new(Code::TapeInvalid, model::chain(e));
        match spec.tape {
            Tape::Off => Ok(None),
            Tape::Record if self.is_begun() => Ok(None),
            Tape::Record => {
                let file =
                    std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path).map_err(|e| fail(&e))?;
                let about = about(spec, &self.prompt).map_err(|e| fail(&e))?;
                let mask = self.app.exposed_mask(&self.ground.agent.name);
                let writer = tape::Writer::create_masked(file, &about, mask).map_err(|e| fail(&e))?;
                Ok(Some(TapeMode::Record(Arc::new(writer))))
            }
            Tape::Replay => {
                let file = std::fs::File::open(&path).map_err(|e| fail(&e))?;
                Ok(Some(TapeMode::Replay(Arc::new(tape::Reader::open(file).map_err(|e| fail(&e))?))))
            }
        }
    }
}

/// A session that can be run from a tape: it reaches nothing and holds no value of the caller's environment.
fn portable(spec: &SessionSpec) -> SessionSpec {
    SessionSpec {
        env: Vec::new(),
        egress: Vec::new(),
        secrets: Vec::new(),
        mounts: Vec::new(),
        budget: None,
        branch: None,
        tape: Tape::Replay,
        foreground: true,
        ..spec.clone()
    }
}

impl SessionsOf<'_> {
    /// Makes a session that runs the turns of a recorded one again; they wait in its inbox already.
    ///
    /// # Errors
    /// There is no such session, or one of its turns was not recorded.
    pub async fn replay_session(&self, id: &str) -> Result<SessionView, Failure> {
        let row = self.row(id).await?;
        let (store, id) = (self.app.store(), row.id.clone());
        let spec = portable(&self.app.whole(&id, read_spec(&row)?)?);
        let mut runs = Vec::new();
        for turn in store.turns(&id, 0, store::LIST_MAX).await.map_err(|e| e.failure())? {
            let path = self.app.tape_path(&id, turn.n);
            if !path.is_file() {
                return Err(Failure::new(Code::TapeInvalid, format!("turn {} of this session was not recorded", turn.n))
                    .hint("record with `lazaret run --record TAPE`"));
            }
            runs.push((path, store.prompt(&turn.id).await.map_err(|e| e.failure())?));
        }
        self.again(spec, runs).await
    }

    /// The same for a tape that comes as bytes.
    ///
    /// # Errors
    /// It is no tape, was changed or cut, or does not say what was run.
    pub async fn replay_tape(&self, bytes: impl AsyncRead + Send + Unpin) -> Result<SessionView, Failure> {
        let path = self.app.home().join("run").join(format!("tape-{:032x}", crate::clock::fresh_bits()));
        let made = async {
            save(&path, bytes).await?;
            let invalid = |why: String| Failure::new(Code::TapeInvalid, why);
            let file = std::fs::File::open(&path).map_err(|e| invalid(e.to_string()))?;
            let reader = tape::Reader::open(file).map_err(|e| invalid(model::chain(&e)))?;
            let about: About =
                serde_json::from_str(reader.version()).map_err(|_| invalid("the tape does not say what was run".to_owned()))?;
            self.again(portable(&about.spec), vec![(path.clone(), about.prompt)]).await
        }
        .await;
        let _ = std::fs::remove_file(&path);
        made
    }

    async fn again(&self, spec: SessionSpec, runs: Vec<(std::path::PathBuf, String)>) -> Result<SessionView, Failure> {
        if spec.program == crate::ProgramSource::Installed {
            self.app.installs().source_of(spec.found_engine()?.installed())?;
        }
        let id = self.make(spec, Vec::new()).await?;
        for (n, (path, prompt)) in (1..).zip(runs) {
            let fail = |e: std::io::Error| Failure::new(Code::TapeInvalid, format!("the tape cannot be taken over: {e}"));
            tokio::fs::copy(&path, self.app.tape_path(&id, n)).await.map_err(fail)?;
            let turn = NewTurn::new(TurnId::from_bits(crate::clock::fresh_bits()), id.clone(), prompt, now());
            self.app.store().accept_turn(turn).await.map_err(|e| e.failure())?;
        }
        self.app.bring(&id, None, None).await?.wake.notify_one();
        self.view(&id, false).await
    }
}

/// The largest tape.
pub(crate) const TAPE_BYTES_MAX: u64 = 512 << 20;

/// Writes a tape to a file of the home.
pub(crate) async fn save(path: &Path, bytes: impl AsyncRead + Send + Unpin) -> Result<(), Failure> {
    let fail = |e: std::io::Error| Failure::new(Code::TapeInvalid, format!("the tape cannot be taken over: {e}"));
    let mut file = tokio::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path).await.map_err(fail)?;
    let mut limited = tokio::io::AsyncReadExt::take(bytes, TAPE_BYTES_MAX + 1);
    let n = tokio::io::copy(&mut limited, &mut file).await.map_err(fail)?;
    if n > TAPE_BYTES_MAX {
        return Err(Failure::new(Code::TapeInvalid, format!("the tape is larger than {TAPE_BYTES_MAX} bytes")));
    }
    file.flush().await.map_err(fail)
}
