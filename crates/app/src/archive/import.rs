//! Reading an archive, which anybody may have made.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};

use model::{Code, Failure, SessionId, TurnId};
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use store::{IMPORT_EVENTS_MAX, IMPORT_TURNS_MAX, Imported, ImportedEvent, ImportedTurn, NewSession};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncSeekExt};

use super::manifest::{EventLine, FORM, Form, MANIFEST, MANIFEST_BYTES_MAX, Manifest, PART_BYTES_MAX, PARTS, Portable, TurnLine};
use crate::inside::Held;
use crate::sessions::{SessionsOf, check_egress, make_dir, new_row, workdir};
use crate::trees::Growing;
use crate::{ImageRef, ProgramSource, SessionSpec, SessionView, Tape};

/// The largest archive, in bytes.
const ARCHIVE_BYTES_MAX: u64 = 64 << 30;
/// The most labels, and the longest text of one field of a manifest, in bytes.
const TEXT_BYTES_MAX: usize = 1024;

/// Where a part lies in the archive: its first byte and its size.
type Place = (u64, u64);

/// An archive that was read and is what its manifest says.
struct Checked {
    manifest: Manifest,
    places: [Place; 4],
    turns: Vec<ImportedTurn>,
    events: Vec<ImportedEvent>,
    file: File,
}

impl SessionsOf<'_> {
    /// Makes a session of an archive, with identities of its own.
    ///
    /// # Errors
    /// It is none, was changed, or was made by a later version; nothing is made then.
    pub async fn import(&self, archive: impl AsyncRead + Send + Unpin) -> Result<SessionView, Failure> {
        let held = Held::take(self.app, archive, ARCHIVE_BYTES_MAX).await?;
        let checked = tokio::task::spawn_blocking(move || check(held.file)).await;
        let checked = checked.map_err(|e| Failure::new(Code::Internal, e.to_string()))??;
        let spec = self.spec_here(&checked.manifest.session)?;
        self.app.agents().show(&checked.manifest.session.agent).await.map_err(|f| {
            Failure::new(f.code, format!("the session is with an agent that is not here: {}", f.message)).hint("add the agent first")
        })?;
        let tree = self.app.grow_tree();
        let made = self.unpack(checked, spec, &tree).await;
        if made.is_err() {
            self.app.drop_tree(tree.id()).await;
        }
        self.view(&made?, false).await
    }

    /// What the session is made of here. Nothing that an archive says goes beyond what somebody could ask for.
    fn spec_here(&self, said: &Portable) -> Result<SessionSpec, Failure> {
        let settings = self.app.settings();
        let engine = &said.engine;
        let program = match &said.program {
            Some(path) if engine.starts_with("program:") => ProgramSource::At { path: path.clone() },
            Some(_) => return Err(broken("it names a program for an engine that has its own")),
            None => self.app.installs().source_of(engine)?,
        };
        let known = said.provider == gateway::REHEARSAL || self.app.providers().contains_key(&said.provider);
        if !known {
            let why = format!("the provider {} of this session is not configured here", said.provider.escape_debug());
            return Err(Failure::new(Code::KeyMissing, why).hint("configure it under [providers]"));
        }
        check_egress(&said.egress, &settings.egress_max)?;
        let below = said.workdir.strip_prefix("/home/sandbox/");
        let workdir = workdir(below.is_none().then_some(said.workdir.as_str()), below)?;
        Ok(SessionSpec {
            engine: engine.clone(),
            program,
            model: said.model.clone(),
            provider: said.provider.clone(),
            fallback: Vec::new(),
            limits: said.limits,
            image: ImageRef::Host { usr_local: said.usr_local },
            env: Vec::new(),
            egress: said.egress.clone(),
            secrets: Vec::new(),
            budget: said.budget,
            tape: Tape::Off,
            foreground: false,
            workdir,
            exclusive: false,
            named_mounts: Vec::new(),
            job: None,
            branch: None,
            ask: false,
            engine_text: None,
            aside: None,
            mounts: Vec::new(),
        })
    }

    /// Unpacks the files, and then makes the row: before it nothing is there that anybody sees.
    async fn unpack(&self, checked: Checked, spec: SessionSpec, tree: &Growing) -> Result<SessionId, Failure> {
        self.app.sandboxes().make_tree(tree.id(), spec.limits.disk_bytes).await.map_err(|e| e.failure())?;
        let mut file = tokio::fs::File::from_std(checked.file);
        let look = self.app.look(tree.id()).await?;
        for ((at, bytes), into) in [checked.places[2], checked.places[3]].into_iter().zip(["/home", "/"]) {
            file.seek(SeekFrom::Start(at)).await.map_err(|e| unread(&e))?;
            let part = (&mut file).take(bytes);
            let left_out = look.sandbox.put(into, part).await.map_err(|e| {
                let failure = e.failure();
                Failure::new(failure.code, format!("the files of the archive cannot be unpacked: {}", failure.message))
            })?;
            if left_out > 0 {
                tracing::info!(left_out, "an archive held entries that are no file, directory or link");
            }
        }
        drop(look);
        self.app.close_look(tree.id()).await;
        model::crash::point("import:unpacked");
        let said = checked.manifest.session;
        let id = SessionId::from_bits(crate::clock::fresh_bits());
        let session = NewSession {
            agent: said.agent,
            tenant: self.caller.makes_for().to_owned(),
            tree: Some(tree.id().clone()),
            title: said.title,
            labels: said.labels,
            priority: said.priority.min(9),
            ..new_row(&id, &spec)?
        };
        let dir = self.app.session_dir(&id);
        make_dir(&dir)?;
        let new = Imported { session, engine_session: said.engine_session, head: said.head, turns: checked.turns, events: checked.events };
        if let Err(error) = self.app.store().import_session(new).await {
            let _ = std::fs::remove_dir(&dir);
            return Err(match error {
                store::StoreError::Invalid { .. } | store::StoreError::Limit { .. } => broken(&error.to_string()),
                error => error.failure(),
            });
        }
        model::crash::point("import:made");
        Ok(id)
    }
}

/// Reads the whole archive: every part is there, in order, and is what the manifest says.
fn check(file: File) -> Result<Checked, Failure> {
    let mut reader = BufReader::with_capacity(READ_BYTES, &file);
    let (_, bytes) = next_part(&mut reader, MANIFEST, MANIFEST_BYTES_MAX)?;
    let mut text = Vec::new();
    (&mut reader).take(bytes).read_to_end(&mut text).map_err(|e| unread(&e))?;
    pad(&mut reader, bytes)?;
    let manifest = read_manifest(&text)?;
    let (mut turns, mut events, mut places) = (Vec::new(), Vec::new(), [(0, 0); 4]);
    for (n, name) in PARTS.into_iter().enumerate() {
        let (at, bytes) = next_part(&mut reader, name, PART_BYTES_MAX[n])?;
        let said = manifest.parts.get(name).ok_or_else(|| broken("its manifest names too few parts"))?;
        let mut part = Hashing { from: (&mut reader).take(bytes), hash: Sha256::new() };
        match n {
            0 => turns = turns_of(&mut part)?,
            1 => events = events_of(&mut part)?,
            _ => {}
        }
        std::io::copy(&mut part, &mut std::io::sink()).map_err(|e| unread(&e))?;
        if part.from.limit() > 0 {
            return Err(broken("it was cut"));
        }
        if said.bytes != bytes || said.sha256 != super::hex(&part.hash.finalize()) {
            return Err(broken(&format!("its part {name} was changed")));
        }
        pad(&mut reader, bytes)?;
        places[n] = (at, bytes);
    }
    drop(reader);
    Ok(Checked { manifest, places, turns, events, file })
}

/// How much is read at once.
const READ_BYTES: usize = 256 << 10;
/// A block of a tar stream.
const BLOCK: usize = 512;
/// The longest line of a part: an event or a prompt, as JSON.
const LINE_BYTES_MAX: u64 = 128 << 20;

/// The header of the part that comes next: where it begins and its size.
fn next_part(reader: &mut (impl Read + Seek), name: &str, max: u64) -> Result<Place, Failure> {
    let mut block = [0; BLOCK];
    reader.read_exact(&mut block).map_err(|_| broken("it was cut, or is no archive of a session"))?;
    let header = tar::Header::from_byte_slice(&block);
    let is_it = header.path_bytes().as_ref() == name.as_bytes() && header.entry_type().is_file();
    if !is_it {
        return Err(broken(&format!("where {name} belongs stands something else")));
    }
    let bytes = header.entry_size().map_err(|_| broken("a size in it makes no sense"))?;
    if bytes > max {
        return Err(broken(&format!("its part {name} has more than {max} bytes")));
    }
    Ok((reader.stream_position().map_err(|e| unread(&e))?, bytes))
}

/// Passes over what fills the last block of a part.
fn pad(reader: &mut impl Read, bytes: u64) -> Result<(), Failure> {
    let padding = bytes.wrapping_neg() % BLOCK as u64;
    let passed = std::io::copy(&mut reader.take(padding), &mut std::io::sink()).map_err(|e| unread(&e))?;
    if passed == padding { Ok(()) } else { Err(broken("it was cut")) }
}

fn read_manifest(text: &[u8]) -> Result<Manifest, Failure> {
    let form: Form = serde_json::from_slice(text).map_err(|_| broken("its manifest is none"))?;
    if form.form > FORM {
        return Err(Failure::new(Code::Usage, "the archive was made by a later version of Lazaret").hint("update Lazaret here"));
    }
    let manifest: Manifest = serde_json::from_slice(text).map_err(|e| broken(&format!("its manifest is none: {e}")))?;
    let said = &manifest.session;
    let texts = [&said.engine, &said.provider, &said.agent, &said.workdir].into_iter();
    let texts = texts.chain(&said.program).chain(&said.model).chain(said.labels.keys()).chain(said.labels.values());
    for text in texts {
        if text.len() > TEXT_BYTES_MAX || text.chars().any(char::is_control) {
            return Err(broken("a text of its manifest is too long or holds a control character"));
        }
    }
    if manifest.parts.len() != PARTS.len() {
        return Err(broken("its manifest names other parts"));
    }
    Ok(manifest)
}

/// Hashes what is read.
struct Hashing<R> {
    from: R,
    hash: Sha256,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let n = self.from.read(into)?;
        self.hash.update(&into[..n]);
        Ok(n)
    }
}

fn turns_of(part: &mut impl Read) -> Result<Vec<ImportedTurn>, Failure> {
    let mut turns = Vec::new();
    each_line(part, |line: TurnLine| {
        if turns.len() >= IMPORT_TURNS_MAX || line.n != turns.len() as u64 + 1 {
            return Err(broken("its turns are too many, or not in order"));
        }
        let id = TurnId::from_bits(crate::clock::fresh_bits());
        let TurnLine { parent, state, outcome, code, prompt, accepted, started, ended, .. } = line;
        turns.push(ImportedTurn { id, parent, state, outcome, code, prompt, accepted, started, ended });
        Ok(())
    })?;
    Ok(turns)
}

fn events_of(part: &mut impl Read) -> Result<Vec<ImportedEvent>, Failure> {
    let mut events = Vec::new();
    each_line(part, |line: EventLine| {
        if events.len() >= IMPORT_EVENTS_MAX {
            return Err(broken("its events are too many"));
        }
        events.push(ImportedEvent { turn: line.turn, time: line.time, kind: line.event });
        Ok(())
    })?;
    Ok(events)
}

fn each_line<T: DeserializeOwned>(part: &mut impl Read, mut take: impl FnMut(T) -> Result<(), Failure>) -> Result<(), Failure> {
    let mut reader = BufReader::new(part);
    let mut line = Vec::new();
    loop {
        line.clear();
        let n = (&mut reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).map_err(|e| unread(&e))?;
        if n == 0 {
            return Ok(());
        }
        if line.last() != Some(&b'\n') {
            return Err(broken("a line of it is too long, or cut"));
        }
        take(serde_json::from_slice(&line).map_err(|e| broken(&format!("a line of it is not understood: {e}")))?)?;
    }
}

fn broken(why: &str) -> Failure {
    Failure::new(Code::Usage, format!("the archive cannot be taken over: {why}")).field("archive")
}

fn unread(error: &std::io::Error) -> Failure {
    Failure::new(Code::HomeUnsafe, format!("the archive cannot be read: {error}"))
}
