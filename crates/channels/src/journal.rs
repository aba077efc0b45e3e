//! What was heard and is not yet the host's for good, in a file that outlives the process: for networks that hand a message
//! over once and keep none. Those with a cursor need no journal.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use wire::chat::Heard;

/// Entries that are kept: the frame lets no more than a few hundred be outstanding, those of the process before and our own.
const ENTRIES_MAX: usize = 4_096;
/// The longest file that is read: one that grew beyond is not ours.
const READ_BYTES_MAX: u64 = 64 << 20;
/// The file is written anew when it is longer than this.
const FILE_BYTES_MAX: u64 = 8 << 20;
/// The name of the file in the state directory.
const NAME: &str = "journal";

/// A line of the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
enum Line {
    /// It was heard.
    #[serde(rename = "heard")]
    Heard(u64, Box<Heard>),
    /// The host has it.
    #[serde(rename = "done")]
    Done(u64),
}

/// The journal of one account. A cheap handle.
#[derive(Clone)]
pub(crate) struct Journal {
    /// Held while a line is written, on a thread that may block.
    book: Arc<Mutex<Book>>,
}

struct Book {
    directory: PathBuf,
    file: File,
    bytes: u64,
    held: BTreeMap<u64, Heard>,
    next: u64,
}

impl Journal {
    /// Opens the journal in a directory that outlives the process.
    ///
    /// # Errors
    /// It can be neither read nor written.
    pub(crate) fn open(directory: &Path) -> std::io::Result<Self> {
        let file = OpenOptions::new().read(true).append(true).create(true).open(directory.join(NAME))?;
        let mut bytes = Vec::new();
        (&file).take(READ_BYTES_MAX).read_to_end(&mut bytes)?;
        let mut book = Book { directory: directory.to_owned(), file, bytes: 0, held: BTreeMap::new(), next: 1 };
        // A last line without its end is one that a kill cut off: it was not reported.
        for line in bytes.split_inclusive(|b| *b == b'\n').filter_map(|line| line.strip_suffix(b"\n")) {
            match serde_json::from_slice(line) {
                Ok(Line::Heard(n, heard)) if book.held.len() < ENTRIES_MAX => {
                    book.next = book.next.max(n.saturating_add(1));
                    book.held.insert(n, *heard);
                }
                Ok(Line::Done(n)) => {
                    book.held.remove(&n);
                }
                _ => {}
            }
        }
        book.write_anew()?;
        Ok(Self { book: Arc::new(Mutex::new(book)) })
    }

    /// What the host does not have yet, in the order in which it came.
    pub(crate) fn left(&self) -> Vec<(u64, Heard)> {
        self.book().held.iter().map(|(n, heard)| (*n, heard.clone())).collect()
    }

    /// Keeps something until it is [`Self::done`]. It is on the disk when this returns.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) async fn put(&self, heard: &Heard) -> std::io::Result<u64> {
        let (journal, heard) = (self.clone(), heard.clone());
        tokio::task::spawn_blocking(move || journal.book().put(heard)).await.map_err(std::io::Error::other)?
    }

    /// The host has it. That this is lost at a kill costs no more than telling it twice.
    pub(crate) async fn done(&self, n: u64) {
        let journal = self.clone();
        let _ = tokio::task::spawn_blocking(move || journal.book().done(n)).await;
    }

    fn book(&self) -> std::sync::MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn put(&mut self, heard: Heard) -> std::io::Result<u64> {
        if self.held.len() >= ENTRIES_MAX {
            return Err(std::io::Error::other("more is outstanding than is kept"));
        }
        let n = self.next;
        self.next += 1;
        self.write(&Line::Heard(n, Box::new(heard.clone())))?;
        self.file.sync_data()?;
        self.held.insert(n, heard);
        Ok(n)
    }

    fn done(&mut self, n: u64) -> std::io::Result<()> {
        if self.held.remove(&n).is_none() {
            return Ok(());
        }
        if self.held.is_empty() || self.bytes > FILE_BYTES_MAX { self.write_anew() } else { self.write(&Line::Done(n)) }
    }

    fn write(&mut self, line: &Line) -> std::io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        self.bytes += text.len() as u64;
        self.file.write_all(&text)
    }

    /// Writes what is held into a new file in the place of the old one.
    fn write_anew(&mut self) -> std::io::Result<()> {
        self.bytes = 0;
        if self.held.is_empty() {
            return self.file.set_len(0);
        }
        let (path, beside) = (self.directory.join(NAME), self.directory.join("journal.part"));
        let mut text = Vec::new();
        for (n, heard) in &self.held {
            serde_json::to_writer(&mut text, &Line::Heard(*n, Box::new(heard.clone())))?;
            text.push(b'\n');
        }
        let mut file = File::create(&beside)?;
        file.write_all(&text)?;
        file.sync_all()?;
        std::fs::rename(&beside, &path)?;
        File::open(&self.directory)?.sync_all()?;
        self.file = OpenOptions::new().append(true).open(&path)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::chat::{Chat, HeardKind, Who};

    fn heard(id: &str) -> Heard {
        let who = Who { id: "u".to_owned(), name: String::new(), bot: false };
        let chat = Chat { id: "c".to_owned(), name: String::new(), group: false };
        crate::reading::heard(HeardKind::Message, id.to_owned(), chat, who, 0)
    }

    fn left(journal: &Journal) -> Vec<String> {
        journal.left().into_iter().map(|(_, heard)| heard.id).collect()
    }

    #[tokio::test]
    async fn what_the_host_has_not_is_known_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path()).unwrap();
        let mut numbers = Vec::new();
        for id in ["a", "b", "c"] {
            numbers.push(journal.put(&heard(id)).await.unwrap());
        }
        journal.done(numbers[1]).await;
        drop(journal);
        // A kill in the middle of a line.
        OpenOptions::new().append(true).open(dir.path().join(NAME)).unwrap().write_all(b"{\"heard\":[9,").unwrap();
        let journal = Journal::open(dir.path()).unwrap();
        assert_eq!(left(&journal), ["a", "c"]);
        numbers.push(journal.put(&heard("e")).await.unwrap());
        drop(journal);
        let journal = Journal::open(dir.path()).unwrap();
        assert_eq!(left(&journal), ["a", "c", "e"], "nothing hangs on the half line");
        for (n, _) in journal.left() {
            journal.done(n).await;
        }
        assert_eq!(std::fs::metadata(dir.path().join(NAME)).unwrap().len(), 0);
        let n = journal.put(&heard("d")).await.unwrap();
        assert!(!numbers.contains(&n));
        drop(journal);
        assert_eq!(left(&Journal::open(dir.path()).unwrap()), ["d"]);
    }
}
