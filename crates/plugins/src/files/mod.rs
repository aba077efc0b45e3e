//! The files of the owner's vault: list, read and search. The vault is mounted read-only; what is a link is named and
//! never followed, so nothing leads out of it.

mod glob;
mod search;
mod vault;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::manifest;
use crate::shipped::shipped;
use crate::surroundings::{Surroundings, SurroundingsError};
use crate::text::cut_at;
use crate::tool::{Call, Outcome, Plugin, ToolError};
use vault::Vault;

/// The most bytes of one read.
const READ_BYTES_MAX: usize = 64 << 10;

/// The plugin.
pub(crate) struct Files {
    vault: Arc<Vault>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    #[serde(default)]
    path: String,
    #[serde(default = "list_limit")]
    limit: usize,
    #[serde(default)]
    offset: usize,
}

fn list_limit() -> usize {
    200
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Read {
    path: String,
    #[serde(default)]
    offset: u64,
    #[serde(default = "read_limit")]
    limit: usize,
}

fn read_limit() -> usize {
    READ_BYTES_MAX
}

impl Files {
    pub(crate) fn open(around: Surroundings) -> Result<Self, SurroundingsError> {
        Ok(Self { vault: Arc::new(Vault::new(around.vault)) })
    }

    /// Looks at the disk on a thread where waiting is allowed.
    async fn look<T: Send + 'static>(&self, work: impl FnOnce(&Vault) -> Result<T, ToolError> + Send + 'static) -> Result<T, ToolError> {
        let vault = self.vault.clone();
        let done = tokio::task::spawn_blocking(move || work(&vault)).await;
        done.unwrap_or_else(|_| Err(ToolError::Remote("the vault could not be read".to_owned())))
    }
}

impl Plugin for Files {
    fn tools(&self) -> BoxFuture<'_, Result<Vec<Value>, ToolError>> {
        Box::pin(async { Ok(manifest::tools(shipped("files").map_or("", |p| p.manifest))) })
    }

    fn call<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<Outcome, ToolError>> {
        Box::pin(async move {
            match call.tool.as_str() {
                "files_list" => {
                    let asked: List = call.arguments()?;
                    self.look(move |vault| list(vault, &asked)).await.map(Outcome::Object)
                }
                "files_read" => {
                    let asked: Read = call.arguments()?;
                    self.look(move |vault| read(vault, &asked)).await.map(Outcome::Object)
                }
                "files_search" => {
                    let asked: search::Search = call.arguments()?;
                    self.look(move |vault| search::search(vault, &asked)).await.map(Outcome::Object)
                }
                other => Err(ToolError::Unknown(other.to_owned())),
            }
        })
    }
}

fn list(vault: &Vault, asked: &List) -> Result<Value, ToolError> {
    let path = vault::clean(&asked.path)?;
    let entries = vault.list(&path)?;
    let total = entries.len();
    let shown: Vec<Value> = entries.iter().skip(asked.offset).take(asked.limit).map(vault::Entry::json).collect();
    let end = asked.offset.saturating_add(shown.len());
    Ok(json!({"path": path, "entries": shown, "total": total, "next": (end < total).then_some(end)}))
}

fn read(vault: &Vault, asked: &Read) -> Result<Value, ToolError> {
    let path = vault::clean(&asked.path)?;
    let file = vault.open_file(&path)?;
    let limit = asked.limit.clamp(1, READ_BYTES_MAX);
    let bytes = file.read_at(asked.offset, limit)?;
    if asked.offset >= file.size && asked.offset > 0 {
        return Ok(json!({"path": path, "size": file.size, "offset": asked.offset, "text": "", "next": null}));
    }
    if file.is_binary()? {
        let note = "this file is not text, so it is not shown";
        return Ok(json!({"path": path, "size": file.size, "modified": file.modified, "binary": true, "note": note}));
    }
    let end = asked.offset + bytes.len() as u64;
    let (text, used) = if end < file.size { cut_at(&bytes) } else { (String::from_utf8_lossy(&bytes).into_owned(), bytes.len()) };
    let next = asked.offset + used as u64;
    let next = (next < file.size).then_some(next);
    Ok(json!({"path": path, "size": file.size, "modified": file.modified, "offset": asked.offset, "text": text, "next": next}))
}

#[cfg(test)]
mod tests;
