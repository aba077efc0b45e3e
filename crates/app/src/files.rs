//! Files of trees, looked at from inside a sandbox that has the tree mounted.

use model::{Code, Failure, TreeId};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncRead;

use crate::inside::{Held, Inside, lines, strange};
use crate::{App, Caller};

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
    pub async fn list(&self, path: &str, after: Option<&str>, limit: usize) -> Result<store::Page<FileEntry>, Failure> {
        if limit == 0 || limit > ENTRIES_MAX {
            return Err(Failure::new(Code::Usage, format!("limit is not from 1 to {ENTRIES_MAX}")).field("limit"));
        }
        let path = relative(path)?;
        let inside = self.inside().await?;
        // One entry more tells whether there is another page.
        let (more, path) = ((limit + 1).to_string(), hex(&path));
        let mut args = vec!["list", "--hex", "--limit", &more];
        if let Some(after) = after {
            if !after.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(Failure::new(Code::Usage, "after is not the cursor of an earlier page").field("after"));
            }
            args.extend(["--after", after]);
        }
        args.push(&path);
        let out = inside.run(&args, PAGE_BYTES_MAX).await?;
        let mut items: Vec<FileEntry> = lines(&out)?;
        let next = if items.len() > limit { items.get(limit - 1).map(cursor) } else { None };
        items.truncate(limit);
        Ok(store::Page { items, next })
    }

    /// The bytes of a regular file, with its size.
    ///
    /// # Errors
    /// There is no such file, it is a link or a device, or a link stands in the path.
    pub async fn read(&self, path: &str) -> Result<(u64, FileStream), Failure> {
        let path = relative(path)?;
        read_in(self.inside().await?, &path).await
    }

    /// Writes a file whole or not at all; at most [`UPLOAD_BYTES_MAX`].
    ///
    /// # Errors
    /// Too large, no directory for it, a directory or link stands there, or the disk is full.
    pub async fn write(&self, path: &str, bytes: impl AsyncRead + Send + Unpin) -> Result<(), Failure> {
        let path = relative(path)?;
        // All of it is here before a byte goes in: a client that breaks off leaves nothing.
        let held = Held::take(self.app, bytes, UPLOAD_BYTES_MAX).await?;
        let inside = self.inside().await?;
        let size = held.bytes.to_string();
        inside.give(&["write", "--size", &size, &path], held).await
    }

    /// Makes a directory with its parents.
    ///
    /// # Errors
    /// A file or link stands in the way.
    pub async fn mkdir(&self, path: &str) -> Result<(), Failure> {
        let path = relative(path)?;
        self.inside().await?.run(&["mkdir", &path], ANSWER_BYTES_MAX).await.map(drop)
    }

    /// Removes a file, link or whole directory.
    ///
    /// # Errors
    /// There is none of this path.
    pub async fn remove(&self, path: &str) -> Result<(), Failure> {
        let path = relative(path)?;
        if path == "." {
            return Err(Failure::new(Code::Usage, "the root itself is not removed").field("path"));
        }
        self.inside().await?.run(&["remove", &path], ANSWER_BYTES_MAX).await.map(drop)
    }

    async fn inside(&self) -> Result<Inside, Failure> {
        tracing::trace!(env = self.slug, "files are looked at");
        Ok(Inside { look: self.app.look(&self.tree).await?, root: ROOT.to_owned() })
    }
}

/// The bytes of a regular file below the root of `inside`, with its size. The path is one that [`relative`] gave.
///
/// # Errors
/// There is no such file, it is a link or a device, or a link stands in the path.
pub(crate) async fn read_in(inside: Inside, path: &str) -> Result<(u64, FileStream), Failure> {
    let about = inside.run(&["stat", path], ANSWER_BYTES_MAX).await?;
    let about: FileEntry = lines(&about)?.pop().ok_or_else(|| strange("it says nothing of the file"))?;
    if about.kind != "file" {
        return Err(Failure::new(Code::Usage, format!("this is a {}, not a file", word_of(&about.kind))).field("path"));
    }
    let stream = inside.stream(&["read", path], Some(about.size)).await?;
    Ok((about.size, stream))
}

/// The directory that paths are relative to.
const ROOT: &str = "/home/sandbox";
/// The longest path, as the kernel's own limit.
const PATH_BYTES_MAX: usize = 4096;
/// The most bytes of a page of entries: names have at most 255 bytes, and each may take several in JSON.
const PAGE_BYTES_MAX: usize = 4 << 20;
/// The most bytes of a short answer.
const ANSWER_BYTES_MAX: usize = 64 << 10;

impl App {
    /// The files of an env that this caller sees.
    ///
    /// # Errors
    /// There is none of this slug.
    pub async fn files_of(&self, caller: &Caller, slug: &str) -> Result<FilesOf<'_>, Failure> {
        let row = self.envs_of(caller).row(slug).await?;
        Ok(FilesOf { app: self, tree: row.tree, slug: row.slug })
    }
}

/// A path as the guest takes it: relative, without `..`, and not to be taken for an option.
pub(crate) fn relative(path: &str) -> Result<String, Failure> {
    let wrong = |why: &str| Err(Failure::new(Code::Usage, format!("the path {why}")).field("path"));
    if path.len() > PATH_BYTES_MAX {
        return wrong("is too long");
    }
    if path.contains('\0') {
        return wrong("holds a NUL");
    }
    if path.starts_with('/') {
        return wrong("is absolute; it is relative to /home/sandbox");
    }
    let mut parts = vec!["."];
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => return wrong("leads upwards"),
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

/// Where a page ends: the bytes of a name, also of one that is not UTF-8.
fn cursor(last: &FileEntry) -> String {
    last.raw.clone().unwrap_or_else(|| hex(&last.name))
}

fn hex(text: &str) -> String {
    text.bytes().map(|b| format!("{b:02x}")).collect()
}

fn word_of(kind: &str) -> &'static str {
    match kind {
        "dir" => "directory",
        "link" => "link",
        _ => "device, pipe or socket",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_below_the_root() {
        for (path, taken) in [("", "."), ("a", "./a"), ("a//b/./c/", "./a/b/c"), ("--root", "./--root"), ("...", "./..."), ("a\n", "./a\n")]
        {
            assert_eq!(relative(path).as_deref(), Ok(taken), "{path}");
        }
        for bad in ["/", "/etc/passwd", "..", "a/..", "a/../b", "a\0b", &"x/".repeat(3000)] {
            assert_eq!(relative(bad).map_err(|f| f.code), Err(Code::Usage), "{bad}");
        }
    }
}
