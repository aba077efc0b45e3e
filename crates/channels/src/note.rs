//! The note: what the platform took, in a file that outlives the process, so that nothing is done twice.
//!
//! A delivery is made of steps, each one effect on the platform. Before a step's effect the note says that it begins, and
//! after the platform's yes it says what came of it; only then the host is told. A delivery that comes again is answered from
//! there. A step that began and has no outcome is in doubt: the network looks it up where it can.

use std::collections::{HashMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::future::Future;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use wire::chat::Failing;

use crate::network::DeliverError;

/// Deliveries that are remembered; the oldest is forgotten for a new one.
const DELIVERIES_MAX: usize = 4096;
/// Steps of one delivery.
const STEPS_MAX: usize = 128;
/// The longest id of a delivery, step or message, in bytes.
const ID_BYTES_MAX: usize = 1024;
/// The file is written anew when it is longer than this.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// The longest file that is read: one that grew beyond is not ours.
const READ_BYTES_MAX: u64 = 64 << 20;
/// The name of the file in the state directory.
const NAME: &str = "note";

/// Why the note cannot be kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoteError {
    /// It cannot be read.
    #[error("the note of what was delivered cannot be read: {0}")]
    Read(#[source] std::io::Error),
    /// It cannot be written.
    #[error("the note of what was delivered cannot be written: {0}")]
    Write(#[source] std::io::Error),
    /// Something does not fit into it.
    #[error("the note of what was delivered takes no such entry")]
    Entry,
}

/// A line of the file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    /// The delivery.
    d: String,
    /// The step.
    s: String,
    /// What is known of it.
    k: Known,
}

/// What is known of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Known {
    /// It begins.
    Begun,
    /// The platform said no: it had no effect.
    Refused,
    /// The platform took it, as this.
    Took(String),
}

/// The note of one account. A cheap handle.
#[derive(Clone)]
pub(crate) struct Note {
    /// Held while a line is written, on a thread that may block.
    book: Arc<Mutex<Book>>,
}

struct Book {
    directory: PathBuf,
    file: File,
    bytes: u64,
    deliveries: HashMap<String, Vec<(String, Known)>>,
    order: VecDeque<String>,
}

impl Note {
    /// Opens the note in a directory that outlives the process.
    ///
    /// # Errors
    /// It can be neither read nor written.
    pub(crate) fn open(directory: &Path) -> Result<Self, NoteError> {
        std::fs::create_dir_all(directory).map_err(NoteError::Write)?;
        let path = directory.join(NAME);
        let file = OpenOptions::new().read(true).append(true).create(true).open(&path).map_err(NoteError::Read)?;
        let mut bytes = Vec::new();
        (&file).take(READ_BYTES_MAX).read_to_end(&mut bytes).map_err(NoteError::Read)?;
        let mut book = Book { directory: directory.to_owned(), file, bytes: 0, deliveries: HashMap::new(), order: VecDeque::new() };
        // A last line without its end is one that a kill cut off: its effect was not begun.
        for line in bytes.split_inclusive(|b| *b == b'\n').filter_map(|line| line.strip_suffix(b"\n")) {
            if let Ok(line) = serde_json::from_slice::<Line>(line) {
                book.keep(line);
            }
        }
        book.write_anew()?;
        Ok(Self { book: Arc::new(Mutex::new(book)) })
    }

    /// The steps of a delivery.
    pub(crate) fn steps(&self, delivery: &str) -> Steps {
        let before = self.book().deliveries.get(delivery).cloned().unwrap_or_default();
        Steps { note: self.clone(), delivery: delivery.to_owned(), before, made: Mutex::new(Vec::new()) }
    }

    fn book(&self) -> std::sync::MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a line. It is on the disk when this returns, if `durable`.
    async fn add(&self, line: Line, durable: bool) -> Result<(), NoteError> {
        let note = self.clone();
        let wrote = tokio::task::spawn_blocking(move || note.book().add(line, durable)).await;
        wrote.unwrap_or_else(|e| Err(NoteError::Write(std::io::Error::other(e))))
    }
}

impl Book {
    fn add(&mut self, line: Line, durable: bool) -> Result<(), NoteError> {
        let mut text = serde_json::to_vec(&line).map_err(|e| NoteError::Write(e.into()))?;
        text.push(b'\n');
        if self.bytes + text.len() as u64 > FILE_BYTES_MAX {
            self.write_anew()?;
        }
        let wrote = self.file.write_all(&text).and_then(|()| if durable { self.file.sync_data() } else { Ok(()) });
        self.bytes += text.len() as u64;
        if let Err(error) = wrote {
            // Half a line may stand there now; the next line begins after a whole file.
            self.bytes = FILE_BYTES_MAX;
            return Err(NoteError::Write(error));
        }
        self.keep(line);
        Ok(())
    }

    /// Remembers a line, and forgets the oldest delivery where there are too many.
    fn keep(&mut self, line: Line) {
        if !self.deliveries.contains_key(&line.d) {
            if self.order.len() >= DELIVERIES_MAX
                && let Some(oldest) = self.order.pop_front()
            {
                self.deliveries.remove(&oldest);
            }
            self.order.push_back(line.d.clone());
        }
        let steps = self.deliveries.entry(line.d).or_default();
        match steps.iter().position(|(name, _)| *name == line.s) {
            Some(at) => steps[at].1 = line.k,
            None if steps.len() < STEPS_MAX => steps.push((line.s, line.k)),
            None => {}
        }
    }

    /// Writes what is remembered into a new file in the place of the old one.
    fn write_anew(&mut self) -> Result<(), NoteError> {
        let (path, beside) = (self.directory.join(NAME), self.directory.join("note.part"));
        let mut text = Vec::new();
        for (name, steps) in self.order.iter().filter_map(|name| self.deliveries.get_key_value(name)) {
            for (step, known) in steps {
                let line = Line { d: name.clone(), s: step.clone(), k: known.clone() };
                serde_json::to_writer(&mut text, &line).map_err(|e| NoteError::Write(e.into()))?;
                text.push(b'\n');
            }
        }
        let write = || {
            let mut file = File::create(&beside)?;
            file.write_all(&text)?;
            file.sync_all()?;
            std::fs::rename(&beside, &path)?;
            File::open(&self.directory)?.sync_all()?;
            OpenOptions::new().append(true).open(&path)
        };
        self.file = write().map_err(NoteError::Write)?;
        // What is remembered may be long by itself; then the file is written anew when it has grown by its limit.
        self.bytes = 0;
        Ok(())
    }
}

/// What an effect is told about itself.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    key: String,
    /// Whether an earlier try began and nobody knows what came of it.
    pub(crate) doubtful: bool,
}

impl Attempt {
    /// The same for each try of the same step, and no other's: letters and digits, at most 43 and `max`.
    pub(crate) fn key(&self, max: usize) -> String {
        self.key.chars().take(max).collect()
    }
}

/// The steps of one delivery.
pub(crate) struct Steps {
    note: Note,
    delivery: String,
    before: Vec<(String, Known)>,
    /// What the steps of this try became, and whether it was known before. Never held across an await.
    made: Mutex<Vec<(String, bool)>>,
}

impl Steps {
    /// Has an effect on the platform once: an outcome that is in the note is given back, else `effect` is run, and what it
    /// gives (the platform's id of the message, or nothing for what makes none) is noted before this returns.
    ///
    /// # Errors
    /// What `effect` fails with. With [`Failing::Unknown`] the step stays in doubt, with all others it is known to have had no effect.
    pub(crate) async fn once<F>(&self, step: &str, effect: impl FnOnce(Attempt) -> F + Send) -> Result<String, DeliverError>
    where
        F: Future<Output = Result<String, DeliverError>> + Send,
    {
        let before = self.before.iter().find(|(name, _)| name == step).map(|(_, known)| known);
        if let Some(Known::Took(message)) = before {
            self.push(message.clone(), true);
            return Ok(message.clone());
        }
        let doubtful = before == Some(&Known::Begun);
        let room = self.before.len() + self.made().len() < STEPS_MAX;
        if !room || [step.len(), self.delivery.len()].into_iter().any(|len| len == 0 || len > ID_BYTES_MAX) {
            return Err(DeliverError::never(NoteError::Entry.to_string()));
        }
        if !doubtful {
            self.add(step, Known::Begun).await.map_err(|e| DeliverError::new(Failing::Passing, e.to_string()))?;
        }
        model::crash::point("channel:begun");
        match effect(Attempt { key: key(&self.delivery, step), doubtful }).await {
            Ok(message) => {
                model::crash::point("channel:took");
                if self.add(step, Known::Took(message.clone())).await.is_err() {
                    // It was sent: the host has to know. Only a kill before it does leaves a doubt then.
                    self.note.book().keep(self.line(step, Known::Took(message.clone())));
                }
                model::crash::point("channel:noted");
                self.push(message.clone(), false);
                Ok(message)
            }
            Err(error) => {
                // Its line need not be durable: a doubt too many only costs a look.
                if error.why != Failing::Unknown && !doubtful {
                    let _ = self.note.add(self.line(step, Known::Refused), false).await;
                }
                Err(error)
            }
        }
    }

    /// The messages that the delivery became, and whether all of it was known before.
    pub(crate) fn made_of(&self) -> (Vec<String>, bool) {
        let made = self.made();
        let again = !made.is_empty() && made.iter().all(|(_, again)| *again);
        (made.iter().filter(|(message, _)| !message.is_empty()).map(|(message, _)| message.clone()).collect(), again)
    }

    fn push(&self, message: String, again: bool) {
        self.made().push((message, again));
    }

    fn made(&self) -> std::sync::MutexGuard<'_, Vec<(String, bool)>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn line(&self, step: &str, known: Known) -> Line {
        Line { d: self.delivery.clone(), s: step.to_owned(), k: known }
    }

    async fn add(&self, step: &str, known: Known) -> Result<(), NoteError> {
        self.note.add(self.line(step, known), true).await
    }
}

fn key(delivery: &str, step: &str) -> String {
    use base64::Engine as _;
    let mut text = delivery.as_bytes().to_vec();
    text.push(0);
    text.extend_from_slice(step.as_bytes());
    let hash = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(digest(&SHA256, &text));
    // A few platforms take letters and digits only.
    hash.replace(['-', '_'], "x")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fails(why: Failing) -> Result<String, DeliverError> {
        Err(DeliverError::new(why, "x"))
    }

    async fn tried(note: &Note, delivery: &str, outcome: Result<String, DeliverError>) -> (Result<String, DeliverError>, Option<bool>) {
        let steps = note.steps(delivery);
        let mut seen = None;
        let given = steps.once("s", |attempt| {
            seen = Some(attempt.doubtful);
            async { outcome }
        });
        (given.await, seen)
    }

    #[tokio::test]
    async fn what_was_taken_is_known_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let note = Note::open(dir.path()).unwrap();
        assert_eq!(tried(&note, "a", Ok("1".to_owned())).await.0.unwrap(), "1");
        assert!(tried(&note, "refused", fails(Failing::Rate)).await.0.is_err());
        assert!(tried(&note, "lost", fails(Failing::Unknown)).await.0.is_err());
        drop(note);
        // A kill in the middle of a line.
        let mut file = OpenOptions::new().append(true).open(dir.path().join(NAME)).unwrap();
        file.write_all(b"{\"d\":\"half\",\"s\":\"s\",\"k\":\"beg").unwrap();
        let note = Note::open(dir.path()).unwrap();
        let (given, seen) = tried(&note, "a", Ok("2".to_owned())).await;
        assert_eq!((given.unwrap().as_str(), seen), ("1", None));
        assert_eq!(tried(&note, "refused", Ok("3".to_owned())).await.1, Some(false));
        assert_eq!(tried(&note, "half", Ok("4".to_owned())).await.1, Some(false));
        assert_eq!(tried(&note, "lost", fails(Failing::Rate)).await.1, Some(true));
        // A later refusal takes no earlier doubt away.
        assert_eq!(tried(&note, "lost", Ok("5".to_owned())).await.1, Some(true));
        assert_eq!(tried(&note, "lost", Ok("6".to_owned())).await.1, None);
    }

    #[tokio::test]
    async fn it_is_bounded_and_the_oldest_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let note = Note::open(dir.path()).unwrap();
        {
            let mut book = note.book();
            let long = "m".repeat(900);
            for n in 0..3 * DELIVERIES_MAX {
                let line = Line { d: format!("d{n}"), s: "s".to_owned(), k: Known::Took(long.clone()) };
                book.add(line, false).unwrap();
            }
            assert_eq!((book.deliveries.len(), book.order.len()), (DELIVERIES_MAX, DELIVERIES_MAX));
        }
        let bytes = std::fs::metadata(dir.path().join(NAME)).unwrap().len();
        assert!(bytes < 3 * FILE_BYTES_MAX, "{bytes}");
        let note = Note::open(dir.path()).unwrap();
        assert_eq!(note.steps("d0").before, []);
        assert_eq!(note.steps(&format!("d{}", 3 * DELIVERIES_MAX - 1)).before.len(), 1);
        let steps = note.steps("many");
        for n in 0..STEPS_MAX {
            steps.once(&n.to_string(), |_| async { Ok(String::new()) }).await.unwrap();
        }
        assert!(steps.once("more", |_| async { Ok(String::new()) }).await.is_err_and(|e| e.why == Failing::Final));
    }

    #[test]
    fn keys_are_the_steps_own() {
        let all = [("a", "b"), ("a", "c"), ("ab", ""), ("b", "a")].map(|(d, s)| key(d, s));
        assert!(all.iter().all(|key| key.len() == 43 && key.bytes().all(|b| b.is_ascii_alphanumeric())));
        assert_eq!(all.iter().collect::<std::collections::HashSet<_>>().len(), 4);
    }
}
