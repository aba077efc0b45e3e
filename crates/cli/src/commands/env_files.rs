//! `lazaret env files`.

use std::path::Path;

use app::FileEntry;
use http::Method;
use model::{Code, Failure};

use super::sandbox::escaped;
use super::{Context, archive, lists};
use crate::args;
use crate::client::{Client, collect, full};
use crate::out;

/// Entries of a directory that are listed.
const ENTRIES_MAX: usize = 100_000;

/// `env` is where the env is in the API.
pub(super) async fn run(context: &Context, client: &Client, env: &str, verb: args::EnvFiles) -> Result<(), Failure> {
    match verb {
        args::EnvFiles::Ls { path } => list(context, client, &format!("{env}/files?path={}", escaped(&path))).await,
        args::EnvFiles::Get { path, output } => {
            archive::fetch(client, &format!("{env}/files?download=1&path={}", escaped(&path)), output.as_deref()).await.map(drop)
        }
        args::EnvFiles::Put { file, path } => {
            let path = target(&file, path)?;
            let body = archive::body_of(&file).await?;
            let uri = format!("{env}/files?path={}", escaped(&path));
            collect(client.send(Method::PUT, &uri, "application/octet-stream", body).await?).await.map(drop)
        }
        args::EnvFiles::Mkdir { path } => {
            let uri = format!("{env}/files/mkdir?path={}", escaped(&path));
            collect(client.send(Method::POST, &uri, "application/json", full(Vec::new())).await?).await.map(drop)
        }
        args::EnvFiles::Rm { path } => {
            let uri = format!("{env}/files?path={}", escaped(&path));
            collect(client.send(Method::DELETE, &uri, "application/json", full(Vec::new())).await?).await.map(drop)
        }
    }
}

async fn list(context: &Context, client: &Client, uri: &str) -> Result<(), Failure> {
    let entries: Vec<FileEntry> = lists::list(client, uri, ENTRIES_MAX).await?;
    if context.json {
        return entries.iter().try_for_each(out::json);
    }
    let row = |entry: &FileEntry| {
        let size = if entry.kind == "file" { out::bytes(entry.size) } else { String::new() };
        let changed = out::ago(model::Timestamp(u64::try_from(entry.mtime_ms).unwrap_or(0)));
        vec![entry.kind.clone(), format!("{:o}", entry.mode & 0o7777), size, changed, entry.name.clone()]
    };
    out::table(&["type", "mode", "size", "changed", "name"], &entries.iter().map(row).collect::<Vec<_>>());
    Ok(())
}

/// Where a file goes: as said, or under its own name.
fn target(file: &Path, path: Option<String>) -> Result<String, Failure> {
    let own = || file.file_name().and_then(|name| name.to_str()).filter(|_| file != Path::new("-")).map(str::to_owned);
    path.or_else(own).ok_or_else(|| Failure::new(Code::Usage, "say where standard input goes").field("PATH"))
}
