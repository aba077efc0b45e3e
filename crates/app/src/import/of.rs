//! One import, line by line.

use std::collections::HashMap;

use model::{Code, Failure, SessionId, Timestamp};
use sha2::{Digest, Sha256};
use store::{ForeignKey, TakenRow};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};

use super::lines::{CARRY_FORM, CARRY_LINE_BYTES_MAX, CarryLine, CarryReport};
use super::talks::Talk;
use crate::{App, Caller, now};

/// The most bytes of one import.
pub const CARRY_BYTES_MAX: u64 = 4 << 30;
/// Things of one import that others can name: more are not remembered.
const KNOWN_MAX: usize = 1_000_000;

/// What takes over what another install has.
pub struct ImportOf<'a> {
    pub(super) app: &'a App,
    pub(super) caller: Caller,
}

impl App {
    /// Takes over, for this caller, what another install has.
    #[must_use]
    pub fn import_of(&self, caller: &Caller) -> ImportOf<'_> {
        ImportOf { app: self, caller: caller.clone() }
    }
}

/// An import that goes on.
pub(super) struct Going<'a> {
    pub(super) app: &'a App,
    pub(super) caller: Caller,
    pub(super) source: String,
    pub(super) dry_run: bool,
    pub(super) report: CarryReport,
    /// What is called how here, by kind and identity there.
    known: HashMap<(&'static str, String), String>,
    /// The conversation whose turns come.
    pub(super) talk: Option<Talk>,
    /// The session whose sandbox takes files.
    pub(super) filed: Option<SessionId>,
}

/// What taking something over came to.
pub(super) enum Came {
    /// It was made, and is called so here.
    New(String, String),
    /// Something like it is there already, and serves.
    There(String, String),
    /// It is not taken over, and why or what does it.
    Left(String),
}

impl ImportOf<'_> {
    /// Reads lines and takes over what they say. With `dry_run` nothing changes and the report says what would.
    ///
    /// # Errors
    /// It is no export, or the store cannot be written. What came before stays and is not taken over again.
    pub async fn take(&self, lines: impl AsyncBufRead + Unpin + Send, dry_run: bool) -> Result<CarryReport, Failure> {
        let mut lines = lines.take(CARRY_BYTES_MAX);
        let first = next_line(&mut lines).await?.ok_or_else(|| broken("it is empty"))?;
        let Ok(CarryLine::Begin { form, source, .. }) = serde_json::from_slice(&first) else {
            return Err(broken("its first line does not say what it is"));
        };
        if form > CARRY_FORM {
            return Err(Failure::new(Code::Usage, "the export was made by a later version of Lazaret").hint("update Lazaret here"));
        }
        if !model::is_name(&source) {
            return Err(broken("its source has no name"));
        }
        let mut going = Going {
            app: self.app,
            caller: self.caller.clone(),
            source,
            dry_run,
            report: CarryReport { dry_run, ..CarryReport::default() },
            known: HashMap::new(),
            talk: None,
            filed: None,
        };
        while let Some(bytes) = next_line(&mut lines).await? {
            let line: CarryLine = serde_json::from_slice(&bytes).map_err(|e| broken(&format!("a line is not understood: {e}")))?;
            going.line(line, &bytes).await?;
        }
        if lines.limit() == 0 {
            return Err(broken(&format!("it has more than {CARRY_BYTES_MAX} bytes")));
        }
        going.end_talk().await?;
        going.end_files(None).await;
        Ok(going.report)
    }
}

impl Going<'_> {
    async fn line(&mut self, line: CarryLine, bytes: &[u8]) -> Result<(), Failure> {
        if let CarryLine::Turn { .. } = line {
            return self.turn(line, bytes.len());
        }
        self.end_talk().await?;
        let (what, id, name) = (line.kind(), line.id().to_owned(), line.name().to_owned());
        if what == "begin" || id.is_empty() || id.chars().count() > store::FOREIGN_ID_CHARS_MAX || id.chars().any(char::is_control) {
            self.report.add(what, &name, "wrong", "it has no identity");
            return Ok(());
        }
        let hash = hash_of(bytes);
        if let Some(taken) = self.app.store().taken(&self.key(what, &id)).await.map_err(|e| e.failure())? {
            self.remember(what, &id, &taken.made);
            // A conversation that went on there since does not grow here: its turns have been made.
            let (outcome, note) =
                if taken.hash == hash { ("same", "") } else { ("changed", "it changed there since; here it stays as it is") };
            self.report.add(what, &name, outcome, note);
            return Ok(());
        }
        if let CarryLine::Session { .. } = line {
            return self.begin_talk(line, hash);
        }
        match self.thing(&line).await {
            Ok(came) => self.came(what, &id, &name, hash, came).await,
            Err(failure) if is_its_own_fault(&failure) => {
                self.report.add(what, &name, "wrong", failure.message);
                Ok(())
            }
            Err(failure) => Err(failure),
        }
    }

    /// Notes what something became.
    pub(super) async fn came(&mut self, what: &'static str, id: &str, name: &str, hash: String, came: Came) -> Result<(), Failure> {
        let (outcome, made, note) = match came {
            Came::New(made, note) => ("new", made, note),
            Came::There(made, note) => ("there", made, note),
            Came::Left(why) => {
                self.report.add(what, name, "left out", why);
                return Ok(());
            }
        };
        if !self.dry_run {
            model::crash::point("import:thing-made");
            let row = TakenRow { made: made.clone(), hash };
            self.app.store().note_taken(self.key(what, id), row, now()).await.map_err(|e| e.failure())?;
            model::crash::point("import:thing-noted");
        }
        self.remember(what, id, &made);
        self.report.add(what, name, outcome, note);
        Ok(())
    }

    fn remember(&mut self, what: &'static str, id: &str, made: &str) {
        if self.known.len() < KNOWN_MAX {
            self.known.insert((what, id.to_owned()), made.to_owned());
        }
    }

    /// What something that was named is called here.
    pub(super) async fn named(&self, what: &'static str, id: &str) -> Result<String, Failure> {
        if let Some(made) = self.known.get(&(what, id.to_owned())) {
            return Ok(made.clone());
        }
        let taken = self.app.store().taken(&self.key(what, id)).await.map_err(|e| e.failure())?;
        taken.map(|row| row.made).ok_or_else(|| {
            let id: String = id.chars().take(80).collect();
            Failure::new(Code::Usage, format!("the {what} `{}` that it names was not taken over", id.escape_debug()))
        })
    }

    fn key(&self, what: &str, id: &str) -> ForeignKey {
        ForeignKey { tenant: self.tenant().to_owned(), source: self.source.clone(), kind: what.to_owned(), id: id.to_owned() }
    }

    pub(super) fn tenant(&self) -> &str {
        self.caller.makes_for()
    }

    /// The bits of the identity that something gets here. They come from what it is called there: what a crash cut off is found
    /// again. The time in front lets it stand among others by when it was made.
    pub(super) fn bits(&self, what: &str, id: &str, made: Timestamp) -> u128 {
        let hash = Sha256::new()
            .chain_update("lazaret import\0")
            .chain_update(self.tenant())
            .chain_update([0])
            .chain_update(&self.source)
            .chain_update([0])
            .chain_update(what)
            .chain_update([0])
            .chain_update(id)
            .finalize();
        let tail = hash.iter().take(10).fold(0u128, |bits, byte| (bits << 8) | u128::from(*byte));
        (u128::from(made.0 & 0xffff_ffff_ffff) << 80) | tail
    }
}

/// Whether a failure is that of one thing alone: the others are taken over all the same.
pub(super) fn is_its_own_fault(failure: &Failure) -> bool {
    !matches!(failure.code, Code::Internal | Code::StoreUnusable | Code::HomeUnsafe | Code::Cancelled)
}

/// The first digits of a text's SHA-256: what names something that has no other name.
#[must_use]
pub fn digest(text: &str) -> String {
    hash_of(text.as_bytes()).chars().take(32).collect()
}

fn hash_of(bytes: &[u8]) -> String {
    crate::archive::hex(&Sha256::digest(bytes))
}

/// The next line without its end; `None` after the last.
async fn next_line(lines: &mut (impl AsyncBufRead + Unpin)) -> Result<Option<Vec<u8>>, Failure> {
    let mut line = Vec::new();
    let most = CARRY_LINE_BYTES_MAX as u64 + 1;
    let n = lines.take(most).read_until(b'\n', &mut line).await;
    let n = n.map_err(|e| Failure::new(Code::Usage, format!("the export cannot be read to its end: {e}")))?;
    if n == 0 {
        return Ok(None);
    }
    if line.pop() != Some(b'\n') {
        return Err(broken(&format!("a line has more than {CARRY_LINE_BYTES_MAX} bytes, or was cut")));
    }
    Ok(Some(line))
}

pub(super) fn broken(why: &str) -> Failure {
    Failure::new(Code::Usage, format!("the export cannot be taken over: {why}")).field("file")
}
