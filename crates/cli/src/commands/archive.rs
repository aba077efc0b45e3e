//! Sessions and files on their way out of the daemon and into it, as streams.

use std::io::{IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use app::SessionView;
use futures_util::{StreamExt, TryStreamExt};
use http::Method;
use http_body_util::{BodyExt, StreamBody};
use model::{Code, Failure};

use super::Context;
use super::session::path;
use crate::client::{Body, Client, collect, full, internal};
use crate::home::random_hex;
use crate::out;

/// Bytes read at once.
const PIECE_BYTES: usize = 64 << 10;

/// Writes a session's archive to a file, whole or not at all, or to standard output.
pub(super) async fn export(context: &Context, client: &Client, id: &str, output: Option<&Path>) -> Result<(), Failure> {
    if output.is_none() && std::io::stdout().is_terminal() {
        return Err(Failure::new(Code::Usage, "an archive is not for a terminal").hint("name a file with -o FILE, or pipe it"));
    }
    let bytes = fetch(client, &format!("{}/export", path(id)?), output).await?;
    if let Some(file) = output {
        if context.json {
            out::json(&serde_json::json!({ "file": file, "bytes": bytes }))?;
        } else {
            out::note(&format!("{}: {}", file.display(), out::bytes(bytes)));
        }
    }
    Ok(())
}

/// Makes a session of an archive.
pub(super) async fn import(client: &Client, file: &Path) -> Result<SessionView, Failure> {
    let response = client.send(Method::POST, "/v1/sessions/import", "application/x-tar", body_of(file).await?).await?;
    serde_json::from_slice(&collect(response).await?).map_err(|e| internal(&e.to_string()))
}

/// Takes the body of an answer to a file that others cannot read, or to standard output. Gives its length.
pub(super) async fn fetch(client: &Client, uri: &str, output: Option<&Path>) -> Result<u64, Failure> {
    let response = client.send(Method::GET, uri, "application/json", full(Vec::new())).await?;
    let mut stream = response.into_body().into_data_stream();
    let fail = |e: std::io::Error| match output {
        Some(file) => Failure::new(Code::PathUnusable, format!("{} cannot be written: {e}", file.display())),
        None => Failure::new(Code::PathUnusable, format!("standard output cannot be written: {e}")),
    };
    let fresh = match output {
        Some(file) => {
            Some(file.with_file_name(format!(".{}.{}", file.file_name().unwrap_or_default().to_string_lossy(), random_hex::<4>()?)))
        }
        None => None,
    };
    let copied = async {
        let mut to: Box<dyn Write> = match &fresh {
            Some(fresh) => Box::new(std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(fresh).map_err(fail)?),
            None => Box::new(std::io::stdout().lock()),
        };
        let mut bytes = 0;
        while let Some(piece) = stream.next().await {
            let piece = piece.map_err(|e| Failure::new(Code::DaemonMissing, format!("the answer was cut: {e}")))?;
            to.write_all(&piece).map_err(fail)?;
            bytes += piece.len() as u64;
        }
        to.flush().map_err(fail)?;
        Ok(bytes)
    };
    let copied = copied.await;
    if let (Some(fresh), Some(file)) = (&fresh, output) {
        match &copied {
            Ok(_) => std::fs::rename(fresh, file).map_err(fail)?,
            Err(_) => drop(std::fs::remove_file(fresh)),
        }
    }
    copied
}

/// A file, or standard input for `-`, as the body of a request.
pub(super) async fn body_of(file: &Path) -> Result<Body, Failure> {
    let fail = |e: std::io::Error| Failure::new(Code::PathUnusable, format!("{} cannot be read: {e}", file.display()));
    let read = if file == Path::new("-") {
        let stdin = std::io::stdin().as_fd().try_clone_to_owned().map_err(fail)?;
        tokio::fs::File::from_std(std::fs::File::from(stdin))
    } else {
        tokio::fs::File::open(file).await.map_err(fail)?
    };
    if read.metadata().await.map_err(fail)?.is_dir() {
        return Err(Failure::new(Code::PathUnusable, format!("{} is a directory", file.display())));
    }
    let stream = tokio_util::io::ReaderStream::with_capacity(read, PIECE_BYTES).map_ok(hyper::body::Frame::data);
    Ok(BodyExt::boxed(StreamBody::new(stream)))
}
