//! Files that go out: kept until their message is settled.

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use model::{Code, Failure, OutboxId};
use serde_json::{Value, json};
use store::OutOutcome;
use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc;
use wire::chat::{Attachment, CHAT_FILE_BYTES_MAX, CHAT_PIECE_BYTES_MAX, Piece, ToChannel};

use crate::App;
use crate::sessions::make_dir;

/// Files of one message.
const FILES_MAX: usize = 10;
/// Bytes of a name.
const NAME_BYTES_MAX: usize = 200;
/// How long files are kept whose message nobody took.
const KEEP: Duration = Duration::from_secs(30 * 86_400);

/// A file to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutFile {
    /// What it is called there.
    pub name: String,
    /// What it is; empty when that is not known.
    pub mime: String,
    /// All of it.
    pub bytes: Vec<u8>,
}

/// What files with these endings are, and what one of them begins with, where something is known of it.
const KINDS: [(&str, &str, &[u8]); 22] = [
    ("png", "image/png", b"\x89PNG\r\n\x1a\n"),
    ("jpg", "image/jpeg", b"\xff\xd8\xff"),
    ("jpeg", "image/jpeg", b"\xff\xd8\xff"),
    ("gif", "image/gif", b"GIF8"),
    ("webp", "image/webp", b"RIFF"),
    ("mp3", "audio/mpeg", b""),
    ("ogg", "audio/ogg", b"OggS"),
    ("wav", "audio/wav", b"RIFF"),
    ("amr", "audio/amr", b"#!AMR"),
    ("mp4", "video/mp4", b""),
    ("pdf", "application/pdf", b"%PDF-"),
    ("zip", "application/zip", b"PK"),
    ("gz", "application/gzip", b"\x1f\x8b"),
    ("json", "application/json", b""),
    ("txt", "text/plain", b""),
    ("md", "text/markdown", b""),
    ("csv", "text/csv", b""),
    ("ics", "text/calendar", b""),
    ("xml", "application/xml", b""),
    ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document", b"PK"),
    ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", b"PK"),
    ("pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation", b"PK"),
];

/// What a file is by its name, or nothing. One that does not begin as such files do is not called one: networks refuse a picture that is
/// none. What a browser would run (HTML, SVG) is nobody's picture.
pub(crate) fn mime_of(name: &str, bytes: &[u8]) -> &'static str {
    let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase()).unwrap_or_default();
    let known = KINDS.iter().find(|(known, _, begins)| *known == ending && bytes.starts_with(begins));
    known.map_or("", |(_, mime, _)| mime)
}

impl App {
    /// Where a file that goes out is kept.
    pub(crate) fn out_file(&self, id: &str) -> Option<PathBuf> {
        let id: OutboxId = id.parse().ok()?;
        Some(self.home().join("chats").join("out").join(id.as_str()))
    }

    /// Keeps files until their message is settled. They are on the disk before the message is owed.
    pub(super) async fn keep_out_files(&self, files: Vec<OutFile>) -> Result<Vec<Value>, Failure> {
        if files.len() > FILES_MAX {
            return Err(Failure::new(Code::Usage, format!("at most {FILES_MAX} files go with one message")).field("files"));
        }
        let mut kept = Vec::new();
        for file in files {
            if file.bytes.len() as u64 > CHAT_FILE_BYTES_MAX {
                return Err(Failure::new(Code::TooLarge, format!("a file has more than {CHAT_FILE_BYTES_MAX} bytes")).field("files"));
            }
            let id = OutboxId::from_bits(crate::clock::fresh_bits());
            let dir = self.home().join("chats").join("out");
            make_dir(&dir)?;
            let path = dir.join(id.as_str());
            let size = file.bytes.len();
            let written = tokio::task::spawn_blocking(move || {
                let mut open = std::fs::File::create(path)?;
                std::io::Write::write_all(&mut open, &file.bytes)?;
                open.sync_all()
            });
            let fail = |why: String| Failure::new(Code::DiskLimit, format!("the file cannot be kept: {why}"));
            written.await.map_err(|e| fail(e.to_string()))?.map_err(|e| fail(e.to_string()))?;
            let name: String = file.name.chars().filter(|c| !c.is_control() && *c != '/').take(NAME_BYTES_MAX).collect();
            kept.push(json!({ "id": id, "name": name, "mime": file.mime, "size": size }));
        }
        Ok(kept)
    }

    /// Gives the pieces of a file to a channel.
    pub(super) async fn feed_file(&self, file: &Attachment, max: u64, to: &mpsc::Sender<ToChannel>) -> Result<(), OutOutcome> {
        let dead = |why: String| OutOutcome::Dead(format!("the file `{}` cannot be sent: {why}", file.name.escape_debug()));
        let path = self.out_file(&file.id).ok_or_else(|| dead("it is none of ours".to_owned()))?;
        let mut open = tokio::fs::File::open(path).await.map_err(|e| dead(e.to_string()))?;
        let size = open.metadata().await.map_err(|e| dead(e.to_string()))?.len();
        if size > max {
            return Err(dead(format!("it has {size} bytes, and the network takes {max}")));
        }
        let mut left = size;
        let mut piece = vec![0; CHAT_PIECE_BYTES_MAX];
        loop {
            let part = usize::try_from(left).unwrap_or(usize::MAX).min(CHAT_PIECE_BYTES_MAX);
            open.read_exact(&mut piece[..part]).await.map_err(|e| dead(e.to_string()))?;
            left -= part as u64;
            let data = base64::engine::general_purpose::STANDARD.encode(&piece[..part]);
            if to.send(ToChannel::Piece(Piece { id: file.id.clone(), data, last: left == 0 })).await.is_err() || left == 0 {
                return Ok(());
            }
        }
    }

    /// Forgets the files of a message that was sent.
    pub(super) fn forget_out_files(&self, act: &Value) {
        for file in act["files"].as_array().into_iter().flatten() {
            if let Some(path) = file["id"].as_str().and_then(|id| self.out_file(id)) {
                let _ = std::fs::remove_file(path);
            }
        }
    }

    /// Removes files of messages that nobody took for long.
    pub(crate) async fn sweep_out_files(&self) {
        let dir = self.home().join("chats").join("out");
        let swept = tokio::task::spawn_blocking(move || {
            let Ok(entries) = std::fs::read_dir(dir) else { return };
            for entry in entries.flatten() {
                let age = entry.metadata().and_then(|meta| meta.modified()).ok().and_then(|made| made.elapsed().ok());
                if age.is_some_and(|age| age > KEEP) {
                    let _ = std::fs::remove_file(entry.path());
                }
            }
        });
        let _ = swept.await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_what_its_name_says_where_it_begins_so() {
        for (name, bytes, expect) in [
            ("boats.GIF", b"GIF89a boats".as_slice(), "image/gif"),
            ("boats.gif", b"no picture", ""),
            ("boats.gif.exe", b"GIF89a", ""),
            ("notes.txt", b"", "text/plain"),
            ("page.html", b"<p>", ""),
            ("page.svg", b"<svg>", ""),
            ("gif", b"GIF89a", ""),
            ("", b"", ""),
        ] {
            assert_eq!(mime_of(name, bytes), expect, "{name}");
        }
    }
}
