//! Writing an archive.

use std::collections::HashMap;
use std::io::{Seek, Write};
use std::path::PathBuf;
use std::sync::Arc;

use model::{Code, Failure, SessionId, TreeId, TurnId};
use sandbox::Sandbox;
use sanitize::Known;
use sha2::{Digest, Sha256};
use store::{EVENTS_PAGE_MAX, IMPORT_EVENTS_MAX, IMPORT_TURNS_MAX, LIST_MAX, SessionRow};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::manifest::{EventLine, FORM, LeftOut, MANIFEST, Manifest, PART_BYTES_MAX, PARTS, Part, Portable, TurnLine};
use crate::App;
use crate::files::FileStream;
use crate::helper::Helper;
use crate::inside::nameless;
use crate::sessions::{SessionsOf, read_spec};
use crate::trees::{LOOK_LABEL, Look};
use crate::{ImageRef, ProgramSource};

/// Where a tree that is only read is seen inside.
const AT: &str = "/mnt/tree";

impl SessionsOf<'_> {
    /// The session as one archive: its row, turns, events, files. It holds no secret value.
    ///
    /// # Errors
    /// A turn is not over, or the files cannot be read.
    pub async fn export(&self, id: &str) -> Result<FileStream, Failure> {
        let row = self.row(id).await?;
        if !self.app.store().open_turns(&row.id).await.map_err(|e| e.failure())?.is_empty() {
            return Err(Failure::new(Code::Conflict, "a turn of this session is not over").hint("wait for it, or cancel it"));
        }
        let (session, left_out) = portable(&row)?;
        let (turns, places) = self.turn_lines(&row.id).await?;
        let events = self.event_lines(&row.id, &places).await?;
        let tree = self.app.ground(&row.id).await?.tree;
        let [home, workspace] = self.app.pack_tree(&tree, self.app.exposed_mask(&row.agent).as_ref()).await?;
        let parts = [turns, events, home, workspace];
        let named = PARTS.iter().zip(&parts).map(|(name, spooled)| ((*name).to_owned(), spooled.part.clone()));
        let lazaret = env!("CARGO_PKG_VERSION").to_owned();
        let manifest = Manifest { form: FORM, lazaret, session, left_out, parts: named.collect() };
        let manifest = serde_json::to_vec(&manifest).map_err(|e| Failure::new(Code::Internal, e.to_string()))?;
        stream(manifest, parts)
    }

    async fn turn_lines(&self, id: &SessionId) -> Result<(Spooled, HashMap<TurnId, u64>), Failure> {
        let (store, mut places) = (self.app.store(), HashMap::new());
        let mut spool = Spool::new(self.app, PART_BYTES_MAX[0])?;
        let mut after = 0;
        loop {
            let rows = store.turns(id, after, LIST_MAX).await.map_err(|e| e.failure())?;
            let Some(last) = rows.last() else { return Ok((spool.end()?, places)) };
            after = last.n;
            for row in rows {
                places.insert(row.id.clone(), row.n);
                if places.len() > IMPORT_TURNS_MAX {
                    return Err(too_large(&format!("more than {IMPORT_TURNS_MAX} turns")));
                }
                let prompt = store.prompt(&row.id).await.map_err(|e| e.failure())?;
                let (accepted, started, ended) = (row.accepted, row.started, row.ended);
                let (n, parent, state, outcome, code) = (row.n, row.parent, row.state, row.outcome, row.code);
                spool.line(&TurnLine { n, parent, state, outcome, code, prompt, accepted, started, ended })?;
            }
        }
    }

    async fn event_lines(&self, id: &SessionId, places: &HashMap<TurnId, u64>) -> Result<Spooled, Failure> {
        let mut spool = Spool::new(self.app, PART_BYTES_MAX[1])?;
        let (mut after, mut count) = (0, 0);
        loop {
            let events = self.app.store().events(id, after, EVENTS_PAGE_MAX).await.map_err(|e| e.failure())?;
            let Some(last) = events.last() else { return spool.end() };
            after = last.seq;
            count += events.len();
            if count > IMPORT_EVENTS_MAX {
                return Err(too_large(&format!("more than {IMPORT_EVENTS_MAX} events")));
            }
            for event in events {
                let turn = *places.get(&event.turn).ok_or_else(|| Failure::new(Code::StoreUnusable, "an event belongs to no turn"))?;
                spool.line(&EventLine { turn, time: event.time, event: event.kind })?;
            }
        }
    }
}

/// What of a session travels, and what does not.
fn portable(row: &SessionRow) -> Result<(Portable, LeftOut), Failure> {
    let spec = read_spec(row)?;
    let program = match spec.program {
        ProgramSource::At { path } => Some(path),
        ProgramSource::Guest | ProgramSource::Installed => None,
    };
    let (usr_local, image) = match spec.image {
        ImageRef::Host { usr_local } => (usr_local, false),
        ImageRef::Tree(_) => (false, true),
    };
    let named = spec.named_mounts.iter().map(|m| format!("/home/sandbox/{}", m.name));
    let mounts = spec.mounts.iter().map(|m| m.target.display().to_string()).chain(named).collect();
    let variables = spec.env.into_iter().map(|(name, _)| name).collect();
    let session = Portable {
        title: row.title.clone(),
        agent: row.agent.clone(),
        labels: row.labels.clone(),
        priority: row.priority,
        engine: spec.engine,
        program,
        model: spec.model,
        provider: spec.provider,
        limits: spec.limits,
        usr_local,
        egress: spec.egress,
        budget: spec.budget,
        workdir: spec.workdir,
        engine_session: row.engine_session.clone(),
        head: row.head,
    };
    Ok((session, LeftOut { variables, mounts, image }))
}

impl App {
    /// The two halves of a tree as the guest packs them.
    async fn pack_tree(&self, tree: &TreeId, mask: Option<&Arc<Known>>) -> Result<[Spooled; 2], Failure> {
        let still = Still::open(self, tree).await?;
        let packed = async {
            let home = self.pack(&still.look.sandbox, &format!("{}/home/sandbox", still.at), PART_BYTES_MAX[2], mask).await?;
            let workspace = self.pack(&still.look.sandbox, &format!("{}/workspace", still.at), PART_BYTES_MAX[3], mask).await?;
            Ok([home, workspace])
        }
        .await;
        still.close().await;
        packed
    }

    /// One directory as the guest packs it. What is exposed to the agent is masked in it, byte for byte, so that all sizes stay.
    async fn pack(&self, sandbox: &Sandbox, path: &str, max: u64, mask: Option<&Arc<Known>>) -> Result<Spooled, Failure> {
        let mut spool = Spool::new(self, max)?;
        let mut stream = mask.map(|known| sanitize::Stream::new(Arc::clone(known)));
        let mut tar = sandbox.get(path).await.map_err(|e| e.failure())?;
        let mut piece = vec![0; 64 << 10];
        loop {
            let n = tar.read(&mut piece).await.map_err(|e| Failure::new(Code::SandboxFailed, format!("the files cannot be read: {e}")))?;
            match &mut stream {
                None if n == 0 => return spool.end(),
                None => spool.add(&piece[..n])?,
                Some(stream) if n == 0 => {
                    spool.add(&stream.finish())?;
                    return spool.end();
                }
                Some(stream) => spool.add(&stream.feed(bytes::Bytes::copy_from_slice(&piece[..n])))?,
            }
        }
    }
}

/// A tree that does not change while it is read: a copy of it, where that can be had while others work in it.
struct Still {
    look: Look,
    /// Where it is seen.
    at: &'static str,
    /// The sandbox that is there for a copy alone, with the copy.
    helper: Option<Helper>,
}

impl Still {
    async fn open(app: &App, tree: &TreeId) -> Result<Self, Failure> {
        if !app.sandboxes().live_checkpoints() || !app.sandboxes().has_tree(tree).await {
            return Ok(Self { look: app.look(tree).await?, at: "", helper: None });
        }
        let mut helper = app.helper();
        let copy = helper.tree();
        app.sandboxes().snapshot(tree, &copy, true).await.map_err(|e| e.failure())?;
        let mut request = helper.request(format!("{LOOK_LABEL}{tree}"));
        request.trees = vec![(copy, PathBuf::from(AT))];
        let sandbox = helper.start(request).await?;
        Ok(Self { look: Look::own(sandbox), at: AT, helper: Some(helper) })
    }

    async fn close(self) {
        if let Some(helper) = self.helper {
            helper.close().await;
        }
    }
}

/// A part on its way into a file without a name.
struct Spool {
    file: std::io::BufWriter<std::fs::File>,
    hash: Sha256,
    bytes: u64,
    max: u64,
}

/// A part that is whole.
struct Spooled {
    file: std::fs::File,
    part: Part,
}

impl Spool {
    fn new(app: &App, max: u64) -> Result<Self, Failure> {
        Ok(Self { file: std::io::BufWriter::new(nameless(app)?), hash: Sha256::new(), bytes: 0, max })
    }

    fn add(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.bytes += bytes.len() as u64;
        if self.bytes > self.max {
            return Err(too_large(&format!("a part of more than {} bytes", self.max)));
        }
        self.hash.update(bytes);
        self.file.write_all(bytes).map_err(|e| unwritten(&e))
    }

    fn line(&mut self, line: &impl serde::Serialize) -> Result<(), Failure> {
        let mut text = serde_json::to_vec(line).map_err(|e| Failure::new(Code::Internal, e.to_string()))?;
        text.push(b'\n');
        self.add(&text)
    }

    fn end(self) -> Result<Spooled, Failure> {
        let mut file = self.file.into_inner().map_err(|e| unwritten(e.error()))?;
        file.rewind().map_err(|e| unwritten(&e))?;
        let sha256 = super::hex(&self.hash.finalize());
        Ok(Spooled { file, part: Part { bytes: self.bytes, sha256 } })
    }
}

/// The archive as a stream; the files of the parts go with it.
fn stream(manifest: Vec<u8>, parts: [Spooled; 4]) -> Result<FileStream, Failure> {
    let mut whole: Box<dyn AsyncRead + Send + Unpin> = Box::new(tokio::io::empty());
    let mut add = |name: &str, bytes: u64, content: Box<dyn AsyncRead + Send + Unpin>| -> Result<(), Failure> {
        let mut header = tar::Header::new_ustar();
        header.set_path(name).map_err(|e| unwritten(&e))?;
        header.set_size(bytes);
        header.set_mode(0o600);
        header.set_entry_type(tar::EntryType::Regular);
        header.set_cksum();
        let padding = usize::try_from(bytes.wrapping_neg() % 512).unwrap_or(0);
        let head = std::io::Cursor::new(header.as_bytes().to_vec());
        let before = std::mem::replace(&mut whole, Box::new(tokio::io::empty()));
        whole = Box::new(before.chain(head).chain(content).chain(std::io::Cursor::new(vec![0; padding])));
        Ok(())
    };
    add(MANIFEST, manifest.len() as u64, Box::new(std::io::Cursor::new(manifest)))?;
    for (name, spooled) in PARTS.iter().zip(parts) {
        let bytes = spooled.part.bytes;
        add(name, bytes, Box::new(tokio::fs::File::from_std(spooled.file).take(bytes)))?;
    }
    Ok(Box::new(whole.chain(std::io::Cursor::new(vec![0; 1024]))))
}

fn too_large(what: &str) -> Failure {
    Failure::new(Code::Conflict, format!("the session cannot be taken along: it has {what}"))
}

fn unwritten(error: &std::io::Error) -> Failure {
    Failure::new(Code::HomeUnsafe, format!("the archive cannot be held in the home: {error}")).hint("free some space in the home")
}
