//! Trees of files as they come out of sandboxes. An agent wrote them: they are read as streams and never laid out on the host.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

use futures_util::{StreamExt, TryStreamExt};
use http::Method;
use http_body_util::{BodyExt, StreamBody};
use model::{Code, Failure};
use sha2::{Digest, Sha256};
use tar::EntryType;

use super::suite::hex;
use super::{fail, keep::Kept};
use crate::client::{Body, Client, full, internal};

/// Bytes of a tree that is graded.
const TREE_BYTES_MAX: u64 = 512 << 20;
/// Entries of a tree that is graded.
const ENTRIES_MAX: usize = 200_000;
/// Bytes of a file that is looked into.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// Bytes of a file that are read at once.
const READ_BYTES: usize = 64 << 10;

/// A tar in a file of the run, removed when dropped.
#[derive(Debug)]
pub(super) struct Spool {
    path: PathBuf,
}

/// What is in a tree.
#[derive(Debug, Default)]
pub(super) struct Seen {
    entries: BTreeMap<String, Entry>,
}

/// One file, directory or link.
#[derive(Debug)]
pub(super) struct Entry {
    kind: char,
    is_executable: bool,
    /// Of what it holds, or of where it points.
    hash: String,
    /// What it holds, where somebody wants to know and it is not too large.
    pub(super) bytes: Option<Vec<u8>>,
}

impl Spool {
    pub(super) fn new(kept: &Kept, name: &str) -> Self {
        Self { path: kept.scratch(name) }
    }

    fn create(&self) -> Result<File, Failure> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600).open(&self.path).map_err(|e| fail::run(&self.path, e))
    }

    /// Takes what the daemon sends.
    pub(super) async fn fetch(self, client: &Client, uri: &str) -> Result<Self, Failure> {
        let mut file = tokio::fs::File::from_std(self.create()?);
        let response = client.send(Method::GET, uri, super::boxes::TAR, full(Vec::new())).await?;
        let mut stream = response.into_body().into_data_stream();
        let mut bytes = 0u64;
        while let Some(piece) = stream.next().await {
            let piece = piece.map_err(|e| Failure::new(Code::SandboxFailed, format!("the files came over only in part: {e}")))?;
            bytes += piece.len() as u64;
            if bytes > TREE_BYTES_MAX {
                return Err(Failure::new(Code::TooLarge, format!("the files are more than {TREE_BYTES_MAX} bytes and are not graded")));
            }
            tokio::io::AsyncWriteExt::write_all(&mut file, &piece).await.map_err(|e| fail::run(&self.path, e))?;
        }
        tokio::io::AsyncWriteExt::flush(&mut file).await.map_err(|e| fail::run(&self.path, e))?;
        Ok(self)
    }

    /// The same files without the first part of each name, and what they are.
    pub(super) async fn stripped(self, kept: &Kept, name: &str, wanted: BTreeSet<String>) -> Result<(Self, Seen), Failure> {
        let to = Self::new(kept, name);
        let work = tokio::task::spawn_blocking(move || {
            let from = File::open(&self.path).map_err(|e| fail::run(&self.path, e))?;
            let out = BufWriter::new(to.create()?);
            let seen = rewrite(BufReader::new(from), Some(out), 1, &wanted)?;
            Ok((to, seen))
        });
        work.await.map_err(|e| internal(&e.to_string()))?
    }

    /// It, as a body.
    pub(super) async fn body(&self) -> Result<Body, Failure> {
        let file = tokio::fs::File::open(&self.path).await.map_err(|e| fail::run(&self.path, e))?;
        let stream = tokio_util::io::ReaderStream::with_capacity(file, READ_BYTES).map_ok(hyper::body::Frame::data);
        Ok(BodyExt::boxed(StreamBody::new(stream)))
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// What is in a tar that is in memory.
pub(super) fn seen(tar: &[u8]) -> Result<Seen, Failure> {
    rewrite(tar, None::<std::io::Sink>, 0, &BTreeSet::new())
}

/// Copies a tar, `strip` parts of each name dropped, and tells what is in it. What is no file, directory or link is left out.
fn rewrite<W: Write>(from: impl Read, to: Option<W>, strip: usize, wanted: &BTreeSet<String>) -> Result<Seen, Failure> {
    let broken = |e: std::io::Error| Failure::new(Code::SandboxFailed, format!("the files cannot be read: {e}"));
    let mut archive = tar::Archive::new(from);
    let mut builder = to.map(tar::Builder::new);
    let mut seen = Seen::default();
    for entry in archive.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let Some(name) = name(&entry.path().map_err(broken)?, strip) else { continue };
        if seen.entries.len() >= ENTRIES_MAX {
            return Err(Failure::new(Code::TooLarge, format!("there are more than {ENTRIES_MAX} files, and they are not graded")));
        }
        let kind = entry.header().entry_type();
        let mut header = tar::Header::new_gnu();
        let mode = entry.header().mode().unwrap_or(0o644) & 0o777;
        header.set_mode(mode);
        header.set_mtime(entry.header().mtime().unwrap_or(0));
        header.set_entry_type(kind);
        header.set_size(0);
        let is_executable = mode & 0o100 != 0;
        let found = match kind {
            EntryType::Directory => {
                if let Some(builder) = &mut builder {
                    builder.append_data(&mut header, &name, std::io::empty()).map_err(broken)?;
                }
                Entry { kind: 'd', is_executable: false, hash: String::new(), bytes: None }
            }
            EntryType::Regular | EntryType::Continuous => {
                header.set_entry_type(EntryType::Regular);
                header.set_size(entry.size());
                let keeps = wanted.contains(&name) && entry.size() <= FILE_BYTES_MAX;
                let mut tee = Tee { from: &mut entry, digest: Sha256::new(), bytes: keeps.then(Vec::new) };
                match &mut builder {
                    Some(builder) => builder.append_data(&mut header, &name, &mut tee).map_err(broken)?,
                    None => drop(std::io::copy(&mut tee, &mut std::io::sink()).map_err(broken)?),
                }
                Entry { kind: 'f', is_executable, hash: hex(&tee.digest.finalize()), bytes: tee.bytes }
            }
            EntryType::Symlink => {
                let target = entry.link_name_bytes().unwrap_or_default().into_owned();
                let target = String::from_utf8_lossy(&target).into_owned();
                if let Some(builder) = &mut builder {
                    builder.append_link(&mut header, &name, &target).map_err(broken)?;
                }
                Entry { kind: 'l', is_executable: false, hash: target, bytes: None }
            }
            EntryType::Link => {
                let target = entry.link_name().map_err(broken)?.and_then(|target| self::name(&target, strip));
                let Some(target) = target else { continue };
                if let Some(builder) = &mut builder {
                    builder.append_link(&mut header, &name, &target).map_err(broken)?;
                }
                let same = seen.entries.get(&target);
                Entry {
                    kind: 'f',
                    is_executable: same.is_some_and(|same| same.is_executable),
                    hash: same.map_or_else(String::new, |same| same.hash.clone()),
                    bytes: same.and_then(|same| same.bytes.clone()),
                }
            }
            _ => continue,
        };
        seen.entries.insert(name, found);
    }
    if let Some(builder) = builder {
        builder.into_inner().and_then(|mut to| to.flush()).map_err(broken)?;
    }
    Ok(seen)
}

/// A name below the tree, without its first parts; `None` for the tree itself and for what would leave it.
fn name(path: &Path, strip: usize) -> Option<String> {
    let parts: Vec<&std::ffi::OsStr> = path
        .components()
        .filter(|part| !matches!(part, Component::CurDir))
        .map(|part| match part {
            Component::Normal(part) => Some(part),
            _ => None,
        })
        .collect::<Option<_>>()?;
    let kept = parts.get(strip..).filter(|kept| !kept.is_empty())?;
    Some(kept.iter().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("/"))
}

/// Reads, and notes what passes.
struct Tee<'a, R> {
    from: &'a mut R,
    digest: Sha256,
    bytes: Option<Vec<u8>>,
}

impl<R: Read> Read for Tee<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.from.read(buffer)?;
        self.digest.update(&buffer[..n]);
        if let Some(bytes) = &mut self.bytes {
            bytes.extend_from_slice(&buffer[..n]);
        }
        Ok(n)
    }
}

impl Seen {
    /// What is at a path.
    pub(super) fn at(&self, path: &str) -> Option<&Entry> {
        self.entries.get(path)
    }

    /// One value for a path and all below it: another one as soon as any of it differs. Times do not count.
    pub(super) fn digest(&self, path: &str) -> String {
        let below = format!("{path}/");
        let mut digest = Sha256::new();
        for (name, entry) in self.entries.iter().filter(|(name, _)| *name == path || name.starts_with(&below)) {
            digest.update(format!("{:?} {} {} {:?}\n", name, entry.kind, entry.is_executable, entry.hash));
        }
        hex(&digest.finalize())
    }
}

impl Entry {
    /// Why it cannot be looked into, for people.
    pub(super) fn why_closed(&self) -> &'static str {
        match self.kind {
            'f' => "it is larger than 4 MiB",
            'l' => "it is a symbolic link",
            _ => "it is a directory",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tar(entries: &[(&str, EntryType, &str)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, kind, text) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_mode(0o644);
            // Straight into the header: the builder would refuse hostile names.
            header.as_gnu_mut().expect("gnu").name[..name.len()].copy_from_slice(name.as_bytes());
            if *kind == EntryType::Regular {
                header.set_size(text.len() as u64);
            } else {
                header.set_size(0);
                header.as_gnu_mut().expect("gnu").linkname[..text.len()].copy_from_slice(text.as_bytes());
            }
            header.set_cksum();
            let bytes: &[u8] = if *kind == EntryType::Regular { text.as_bytes() } else { &[] };
            builder.append(&header, bytes).expect("append");
        }
        builder.into_inner().expect("a tar")
    }

    #[test]
    fn a_tree_is_stripped_and_looked_at() {
        let files = tar(&[
            ("workspace/", EntryType::Directory, ""),
            ("workspace/src/", EntryType::Directory, ""),
            ("workspace/src/a", EntryType::Regular, "one"),
            ("workspace/src/link", EntryType::Symlink, "/etc/passwd"),
            ("workspace/pipe", EntryType::Fifo, ""),
        ]);
        let mut out = Vec::new();
        let wanted = BTreeSet::from(["src/a".to_owned(), "src/link".to_owned()]);
        let found = rewrite(&files[..], Some(&mut out), 1, &wanted).expect("read");
        assert_eq!(found.at("src/a").and_then(|entry| entry.bytes.as_deref()), Some(&b"one"[..]));
        assert!(found.at("src/link").is_some_and(|entry| entry.bytes.is_none()), "a link is not followed");
        assert!(found.at("pipe").is_none());
        let again = seen(&out).expect("read");
        assert_eq!(found.digest("src"), again.digest("src"));
        assert_ne!(found.digest("src"), found.digest("src/a"));
        let other = tar(&[("src/a", EntryType::Regular, "two"), ("src/link", EntryType::Symlink, "/etc/passwd")]);
        assert_ne!(seen(&other).expect("read").digest("src/a"), found.digest("src/a"));
    }

    #[test]
    fn what_would_leave_the_tree_is_left_out() {
        let files = tar(&[
            ("../out", EntryType::Regular, "x"),
            ("/abs", EntryType::Regular, "x"),
            ("workspace/../../out", EntryType::Regular, "x"),
            ("workspace/fine", EntryType::Regular, "x"),
        ]);
        let mut out = Vec::new();
        let found = rewrite(&files[..], Some(&mut out), 1, &BTreeSet::new()).expect("read");
        assert_eq!(found.entries.keys().collect::<Vec<_>>(), ["fine"]);
    }
}
