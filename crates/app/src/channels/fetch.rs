//! The files of messages: brought with a limit, kept under safe names until the turn that is told of them has begun.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use model::{InboundId, TurnId};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use wire::chat::Attachment;

use super::{Order, web};
use crate::App;
use crate::router::Got;
use crate::sessions::make_dir;

/// Bytes of one file, and of all files of one message.
const FILE_BYTES_MAX: u64 = 25 << 20;
const MESSAGE_BYTES_MAX: u64 = 48 << 20;
/// How long the files of a message are waited for.
const FETCH_WAIT: Duration = Duration::from_secs(60);
/// Pieces that wait to be written.
const PIECES_MAX: usize = 64;
/// Bytes of a name.
const NAME_BYTES_MAX: usize = 100;
/// How long files of a message are kept that no turn took.
const KEEP: Duration = Duration::from_secs(7 * 86_400);

impl App {
    fn inbox_dir(&self, id: &InboundId) -> PathBuf {
        self.home().join("chats").join("in").join(id.as_str())
    }

    /// Brings the files of a message. What cannot be brought is told instead.
    pub(super) async fn bring_files(&self, channel: &str, id: &InboundId, files: &[Attachment]) -> Value {
        let until = tokio::time::Instant::now() + FETCH_WAIT;
        let (mut got, mut total) = (Vec::new(), 0);
        for (n, file) in files.iter().enumerate() {
            let called: String = file.name.chars().filter(|c| !c.is_control()).take(NAME_BYTES_MAX).collect();
            let room = FILE_BYTES_MAX.min(MESSAGE_BYTES_MAX - total);
            let brought = match file.size {
                Some(size) if size > room => Err(format!("it has {size} bytes; at most {room} are taken")),
                _ => {
                    let name = safe_name(&file.name, n);
                    let fetch = tokio::time::timeout_at(until, self.fetch_file(channel, id, file, &name, room));
                    match fetch.await {
                        Ok(Ok(size)) => Ok((name, size)),
                        Ok(Err(why)) => Err(why),
                        Err(_) => Err("it did not come in time".to_owned()),
                    }
                }
            };
            got.push(match brought {
                Ok((name, size)) => {
                    total += size;
                    Got { name: Some(name), called, size, error: None }
                }
                Err(why) => Got { name: None, called, size: 0, error: Some(why) },
            });
        }
        model::crash::point("channel:files-brought");
        json!(got)
    }

    async fn fetch_file(&self, channel: &str, id: &InboundId, file: &Attachment, name: &str, max: u64) -> Result<u64, String> {
        let (pieces, mut come) = mpsc::channel(PIECES_MAX);
        if web::is_own(channel) {
            self.give_web_file(&file.id, pieces)?;
        } else {
            let desk = self.board().desk(channel).ok_or("the channel does not run")?;
            desk.order(Order::Fetch { id: file.id.clone(), max, pieces }).map_err(|_| "the channel has too much to do")?;
        }
        let dir = self.inbox_dir(id);
        make_dir(&dir).map_err(|failure| failure.message)?;
        let path = dir.join(name);
        let mut open = Some(std::fs::OpenOptions::new().write(true).create_new(true).open(&path).map_err(|e| e.to_string())?);
        let mut size = 0u64;
        let outcome = loop {
            let Some(piece) = come.recv().await else { break Err("it did not come whole".to_owned()) };
            let (bytes, last) = match piece {
                Ok(piece) => piece,
                Err(why) => break Err(why),
            };
            size += bytes.len() as u64;
            if size > max {
                break Err(format!("it has more than {max} bytes"));
            }
            let Some(mut held) = open.take() else { break Err("it cannot be written".to_owned()) };
            let written = tokio::task::spawn_blocking(move || {
                held.write_all(&bytes)?;
                if last {
                    held.sync_all()?;
                }
                Ok::<_, std::io::Error>(held)
            });
            match written.await {
                Ok(Ok(held)) if !last => open = Some(held),
                Ok(Ok(_)) => break Ok(size),
                Ok(Err(e)) => break Err(format!("it cannot be kept: {e}")),
                Err(e) => break Err(e.to_string()),
            }
        };
        if outcome.is_err() {
            let _ = std::fs::remove_file(&path);
        }
        outcome
    }

    /// The files of the message that a turn was asked with: their directory and where they belong below the home inside.
    pub(crate) async fn inbox_of_turn(&self, turn: &TurnId) -> Option<(PathBuf, String)> {
        let asker = self.store().asker(turn).await.ok().flatten()?;
        let id = asker.inbound?;
        let dir = self.inbox_dir(&id);
        dir.is_dir().then(|| (dir, format!("inbox/{id}")))
    }

    pub(super) fn forget_inbox_files(&self, id: &InboundId) {
        let _ = std::fs::remove_dir_all(self.inbox_dir(id));
    }

    /// Removes files that turns have taken long ago, or never will.
    pub(super) async fn sweep_inbox_files(&self) {
        let dir = self.home().join("chats").join("in");
        let swept = tokio::task::spawn_blocking(move || {
            let Ok(entries) = std::fs::read_dir(dir) else { return };
            for entry in entries.flatten() {
                let age = entry.metadata().and_then(|meta| meta.modified()).ok().and_then(|made| made.elapsed().ok());
                if age.is_some_and(|age| age > KEEP) {
                    let _ = std::fs::remove_dir_all(entry.path());
                }
            }
        });
        let _ = swept.await;
    }
}

/// A plain name for a file, whatever it is called on the network: letters, digits and a few signs, with what it was first in order before it.
fn safe_name(called: &str, n: usize) -> String {
    let base = called.rsplit(['/', '\\']).next().unwrap_or_default();
    let plain: String = base
        .chars()
        .map(|c| if c.is_alphanumeric() || matches!(c, '.' | '-' | '_') { c } else { '_' })
        .scan(0usize, |bytes, c| {
            *bytes += c.len_utf8();
            (*bytes <= NAME_BYTES_MAX).then_some(c)
        })
        .collect();
    let plain = plain.trim_start_matches('.');
    if plain.is_empty() { format!("{}-file", n + 1) } else { format!("{}-{plain}", n + 1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_elsewhere() {
        for (called, expect) in [
            ("a.txt", "1-a.txt"),
            ("../../etc/passwd", "1-passwd"),
            ("..\\..\\x.exe", "1-x.exe"),
            (".bashrc", "1-bashrc"),
            ("..", "1-file"),
            ("", "1-file"),
            ("a\0b\n\u{202e}c", "1-a_b__c"),
            ("-rf", "1--rf"),
            ("bür o.pdf", "1-bür_o.pdf"),
        ] {
            assert_eq!(safe_name(called, 0), expect, "{called:?}");
        }
        assert!(safe_name(&"é".repeat(500), 3).len() <= NAME_BYTES_MAX + 2);
    }
}
