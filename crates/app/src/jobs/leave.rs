//! What jobs leave: their text, the log in lines, and files of the working directory.

use model::{Code, Failure, SessionId};
use store::{BLOB_INLINE_BYTES, EVENTS_PAGE_MAX, JobBlob, JobBody};
use tokio::io::AsyncReadExt;

use super::desk::unkept;
use super::glob::Glob;
use super::of::WORKDIR;
use super::settings::ARTIFACTS_TIMES;
use crate::App;
use crate::files::{ENTRIES_MAX, FileEntry};
use crate::inside::{Inside, lines};

/// Artifacts of one job.
const ARTIFACTS_MAX: usize = 1000;
/// Directories that are looked through for them.
const DIRS_MAX: usize = 10_000;
/// How deep.
const DEPTH_MAX: usize = 32;
/// The most bytes of a page of entries.
const PAGE_BYTES_MAX: usize = 4 << 20;
/// A piece of a file on its way out.
const PIECE_BYTES: usize = 64 << 10;

/// All that a job leaves.
pub(super) type Left = Vec<JobBlob>;

fn too_large(what: &str, bytes: u64, most: u64) -> Failure {
    Failure::new(Code::ResultTooLarge, format!("{what} has {bytes} bytes; at most {most} are kept (jobs.result_max)"))
}

async fn put(app: &App, bytes: Vec<u8>) -> Result<JobBody, Failure> {
    if bytes.len() <= BLOB_INLINE_BYTES {
        return Ok(JobBody::Inline(bytes));
    }
    let blobs = app.desk_of_jobs().blobs.clone();
    let kept = tokio::task::spawn_blocking(move || blobs.put(&bytes)).await;
    let body = kept.map_err(|e| Failure::new(Code::Internal, e.to_string()))?.map_err(|e| unkept(&e))?;
    app.share_kept(&body).await?;
    Ok(body)
}

/// The final text.
pub(super) async fn text(app: &App, text: &str, most: u64) -> Result<Left, Failure> {
    let bytes = text.len() as u64;
    if bytes > most {
        return Err(too_large("the result", bytes, most));
    }
    let body = put(app, text.as_bytes().to_vec()).await?;
    Ok(vec![JobBlob { kind: "text".to_owned(), path: String::new(), bytes, body }])
}

/// Every event of the session, a line of JSON each.
pub(super) async fn log(app: &App, session: &SessionId, most: u64) -> Result<Left, Failure> {
    let (mut out, mut after) = (Vec::new(), 0);
    loop {
        let page = app.store().events(session, after, EVENTS_PAGE_MAX).await.map_err(|e| e.failure())?;
        let Some(last) = page.last() else { break };
        after = last.seq;
        for event in &page {
            serde_json::to_writer(&mut out, event).map_err(|e| Failure::new(Code::Internal, e.to_string()))?;
            out.push(b'\n');
            if out.len() as u64 > most {
                return Err(too_large("the output", out.len() as u64, most));
            }
        }
    }
    let bytes = out.len() as u64;
    Ok(vec![JobBlob { kind: "output".to_owned(), path: String::new(), bytes, body: put(app, out).await? }])
}

/// Files of the working directory that one of the globs names. Links are not followed and not taken.
pub(super) async fn artifacts(app: &App, session: &SessionId, globs: &[String], most: u64) -> Result<Left, Failure> {
    if globs.is_empty() {
        return Ok(Left::new());
    }
    let globs: Vec<Glob> = globs.iter().map(|g| Glob::new(g)).collect();
    let ground = app.ground(session).await?;
    let root = || async { Ok::<_, Failure>(Inside { look: app.look(&ground.tree).await?, root: WORKDIR.to_owned() }) };
    let inside = root().await?;
    let found = find(&inside, &globs).await?;
    let (mut left, mut total) = (Left::new(), 0);
    for (path, size) in found {
        total += size;
        if size > most {
            return Err(too_large(&format!("the artifact {path}"), size, most));
        }
        if total > most.saturating_mul(ARTIFACTS_TIMES) {
            return Err(too_large("all artifacts together", total, most.saturating_mul(ARTIFACTS_TIMES)));
        }
        left.push(take(app, root().await?, path, size).await?);
    }
    Ok(left)
}

/// Paths and sizes of the files that a glob names.
async fn find(inside: &Inside, globs: &[Glob]) -> Result<Vec<(String, u64)>, Failure> {
    let mut found = Vec::new();
    let mut dirs = vec![(String::new(), 0)];
    let mut looked = 0;
    while let Some((dir, depth)) = dirs.pop() {
        looked += 1;
        if looked > DIRS_MAX {
            return Err(Failure::new(Code::ResultTooLarge, format!("there are more than {DIRS_MAX} directories to look for artifacts in")));
        }
        for entry in entries(inside, &dir).await? {
            // A name that no JSON can hold is no artifact's.
            if entry.raw.is_some() {
                continue;
            }
            let path = if dir.is_empty() { entry.name } else { format!("{dir}/{}", entry.name) };
            match entry.kind.as_str() {
                "dir" if depth < DEPTH_MAX && globs.iter().any(|g| g.may_hold(&path)) => dirs.push((path, depth + 1)),
                "file" if globs.iter().any(|g| g.matches(&path)) => found.push((path, entry.size)),
                _ => {}
            }
            if found.len() > ARTIFACTS_MAX {
                return Err(Failure::new(Code::ResultTooLarge, format!("there are more than {ARTIFACTS_MAX} artifacts")));
            }
        }
    }
    found.sort();
    Ok(found)
}

async fn entries(inside: &Inside, dir: &str) -> Result<Vec<FileEntry>, Failure> {
    let mut all: Vec<FileEntry> = Vec::new();
    let path: String = format!("./{dir}").bytes().map(|b| format!("{b:02x}")).collect();
    let limit = ENTRIES_MAX.to_string();
    loop {
        let cursor = all.last().map(|last| last.raw.clone().unwrap_or_else(|| last.name.bytes().map(|b| format!("{b:02x}")).collect()));
        let mut args = vec!["list", "--hex", "--limit", &limit];
        if let Some(cursor) = &cursor {
            args.extend(["--after", cursor]);
        }
        args.push(&path);
        let page: Vec<FileEntry> = lines(&inside.run(&args, PAGE_BYTES_MAX).await?)?;
        let is_last = page.len() < ENTRIES_MAX;
        all.extend(page);
        if is_last {
            return Ok(all);
        }
        if all.len() > ENTRIES_MAX * 100 {
            return Err(Failure::new(Code::ResultTooLarge, "a directory has too many entries to look for artifacts in"));
        }
    }
}

/// Takes one file out.
async fn take(app: &App, inside: Inside, path: String, size: u64) -> Result<JobBlob, Failure> {
    let broken = |e: std::io::Error| Failure::new(Code::SandboxFailed, format!("an artifact cannot be read: {e}"));
    let mut stream = inside.stream(&["read", &format!("./{path}")], Some(size)).await?;
    let kind = "artifact".to_owned();
    if size <= BLOB_INLINE_BYTES as u64 {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.map_err(broken)?;
        return Ok(JobBlob { kind, path, bytes: bytes.len() as u64, body: JobBody::Inline(bytes) });
    }
    let mut growing = app.desk_of_jobs().blobs.grow().map_err(|e| unkept(&e))?;
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let n = stream.read(&mut piece).await.map_err(broken)?;
        if n == 0 {
            break;
        }
        growing.write(&piece[..n]).map_err(|e| unkept(&e))?;
    }
    let bytes = growing.bytes();
    let hash = tokio::task::spawn_blocking(move || growing.keep()).await;
    let hash = hash.map_err(|e| Failure::new(Code::Internal, e.to_string()))?.map_err(|e| unkept(&e))?;
    let body = JobBody::Kept(hash);
    app.share_kept(&body).await?;
    Ok(JobBlob { kind, path, bytes, body })
}
