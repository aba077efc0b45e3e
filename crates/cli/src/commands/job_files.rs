//! The files that a job left, on their way home. An agent chose their names and what is in them.

use std::io::Write;
use std::path::Path;

use app::{Artifact, check_job_path};
use futures_util::StreamExt;
use http::Method;
use http_body_util::BodyExt;
use model::{Code, Failure};

use crate::client::{Client, full, internal};

/// Writes a file to standard output as it is.
pub(super) async fn print(client: &Client, uri: &str) -> Result<(), Failure> {
    copy(client, uri, &mut std::io::stdout().lock(), "standard output").await
}

/// Writes a file below a directory. Nothing that is there is written over, and no link is followed.
pub(super) async fn take(client: &Client, uri: &str, dir: &Path, file: &Artifact) -> Result<(), Failure> {
    check_job_path(&file.path)?;
    let to = dir.join(&file.path);
    let fail = |e: std::io::Error| Failure::new(Code::PathUnusable, format!("{} cannot be written: {e}", to.display())).field("--out");
    let parent = to.parent().unwrap_or(dir);
    std::fs::create_dir_all(parent).map_err(fail)?;
    let root = std::fs::canonicalize(dir).map_err(fail)?;
    if !std::fs::canonicalize(parent).map_err(fail)?.starts_with(&root) {
        return Err(fail(std::io::Error::other("a link leads out of the directory")));
    }
    let mut out = std::fs::OpenOptions::new().write(true).create_new(true).open(&to).map_err(fail)?;
    let done = copy(client, uri, &mut out, &to.display().to_string()).await;
    if done.is_err() {
        let _ = std::fs::remove_file(&to);
    }
    done
}

async fn copy(client: &Client, uri: &str, out: &mut impl Write, name: &str) -> Result<(), Failure> {
    let response = client.send(Method::GET, uri, "application/json", full(Vec::new())).await?;
    let mut pieces = response.into_body().into_data_stream();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|e| internal(&format!("the file was cut: {e}")))?;
        out.write_all(&piece).map_err(|e| Failure::new(Code::PathUnusable, format!("{name} cannot be written: {e}")))?;
    }
    out.flush().map_err(|e| Failure::new(Code::PathUnusable, format!("{name} cannot be written: {e}")))
}
