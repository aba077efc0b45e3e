//! Files of trees, looked at from inside a sandbox that has the tree mounted.

use model::{Failure, TreeId};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncRead;

use crate::{App, unbuilt};

/// One entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct FileEntry {
    /// Its name; with `raw` when that is not UTF-8.
    pub name: String,
    /// The bytes of a name that is not UTF-8, in hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<String>,
    /// `file`, `dir`, `link` or `other`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Bytes.
    pub size: u64,
    /// Permission bits.
    pub mode: u32,
    /// When it was last changed, in milliseconds since 1970.
    pub mtime_ms: i64,
}

/// One path that differs between two checkpoints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Change {
    /// The path, from the root of the sandbox, for example `/home/sandbox/notes.md`.
    pub path: String,
    /// `added`, `removed`, `changed` or `type`.
    pub change: String,
    /// Bytes before.
    pub size_before: Option<u64>,
    /// Bytes after.
    pub size_after: Option<u64>,
}

/// The longest upload through the files API.
pub const UPLOAD_BYTES_MAX: u64 = 50 << 20;
/// Entries in one page of a directory.
pub const ENTRIES_MAX: usize = 1000;

/// The files of one tree. Paths are relative to `home/sandbox` of the tree; links are shown and never followed.
pub struct FilesOf<'a> {
    pub(crate) app: &'a App,
    pub(crate) tree: TreeId,
    /// The env that it is of, for a sandbox to look from.
    pub(crate) slug: String,
}

/// A file's bytes on their way out.
pub type FileStream = Box<dyn AsyncRead + Send + Unpin>;

impl FilesOf<'_> {
    /// A page of a directory by name.
    ///
    /// # Errors
    /// There is no such directory, or a link stands in the path.
    pub async fn list(&self, _path: &str, _after: Option<&str>, _limit: usize) -> Result<store::Page<FileEntry>, Failure> {
        let _ = (self.app, &self.tree, &self.slug);
        Err(unbuilt())
    }

    /// The bytes of a regular file, with its size.
    ///
    /// # Errors
    /// There is no such file, it is a link or a device, or a link stands in the path.
    pub async fn read(&self, _path: &str) -> Result<(u64, FileStream), Failure> {
        Err(unbuilt())
    }

    /// Writes a file whole or not at all; at most [`UPLOAD_BYTES_MAX`].
    ///
    /// # Errors
    /// Too large, no directory for it, a directory or link stands there, or the disk is full.
    pub async fn write(&self, _path: &str, _bytes: impl AsyncRead + Send + Unpin) -> Result<(), Failure> {
        Err(unbuilt())
    }

    /// Makes a directory with its parents.
    ///
    /// # Errors
    /// A file or link stands in the way.
    pub async fn mkdir(&self, _path: &str) -> Result<(), Failure> {
        Err(unbuilt())
    }

    /// Removes a file, link or whole directory.
    ///
    /// # Errors
    /// There is none of this path.
    pub async fn remove(&self, _path: &str) -> Result<(), Failure> {
        Err(unbuilt())
    }
}
