//! The lines that the other install comes to, on their way to the daemon, and what is left behind.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use app::{CARRY_FORM, CARRY_LINE_BYTES_MAX, CarryLine, CarryReport};
use model::{Code, Failure};

/// Kinds of lines, those that others name first.
const ORDER: [&str; 13] =
    ["agent", "skill", "person", "channel", "chat", "handle", "role", "wiring", "destination", "memory", "task", "session", "file"];

/// Lines of each kind in a file of their own.
pub(super) struct Sheet {
    files: Vec<BufWriter<File>>,
    paths: Vec<std::path::PathBuf>,
    /// What is left behind, and why.
    pub(super) left: CarryReport,
}

impl Sheet {
    /// Files in a directory that is this process's own.
    pub(super) fn new(dir: &Path) -> Result<Self, Failure> {
        let paths: Vec<_> = ORDER.iter().map(|kind| dir.join(format!("{kind}.jsonl"))).collect();
        let files = paths.iter().map(|path| File::create_new(path).map(BufWriter::new)).collect::<Result<Vec<_>, _>>();
        Ok(Self { files: files.map_err(|e| unwritten(&e))?, paths, left: CarryReport::default() })
    }

    /// Adds a line. Turns go where their session is.
    pub(super) fn line(&mut self, line: &CarryLine) -> Result<(), Failure> {
        let kind = if line.kind() == "turn" { "session" } else { line.kind() };
        let Some(at) = ORDER.iter().position(|name| *name == kind) else { return Ok(()) };
        let mut text = serde_json::to_vec(line).map_err(|e| Failure::new(Code::Internal, e.to_string()))?;
        if text.len() >= CARRY_LINE_BYTES_MAX {
            self.left.add(kind, line.name(), "wrong", format!("it has more than {CARRY_LINE_BYTES_MAX} bytes"));
            return Ok(());
        }
        text.push(b'\n');
        self.files[at].write_all(&text).map_err(|e| unwritten(&e))
    }

    /// Notes that something stays behind, and why or what does it.
    pub(super) fn leave(&mut self, what: &str, name: &str, why: impl Into<String>) {
        self.left.add(what, name, "left out", why);
    }

    /// Notes that something cannot be read.
    pub(super) fn wrong(&mut self, what: &str, name: &str, why: impl Into<String>) {
        self.left.add(what, name, "wrong", why);
    }

    /// All lines in one file, in order, and what is left behind.
    pub(super) fn end(mut self, into: &Path) -> Result<(File, CarryReport), Failure> {
        let mut whole = File::create_new(into).map_err(|e| unwritten(&e))?;
        let first = CarryLine::Begin { form: CARRY_FORM, source: "nanoclaw".to_owned(), lazaret: env!("CARGO_PKG_VERSION").to_owned() };
        serde_json::to_writer(&mut whole, &first).map_err(|e| Failure::new(Code::Internal, e.to_string()))?;
        whole.write_all(b"\n").map_err(|e| unwritten(&e))?;
        for (file, path) in self.files.iter_mut().zip(&self.paths) {
            file.flush().map_err(|e| unwritten(&e))?;
            let mut part = File::open(path).map_err(|e| unwritten(&e))?;
            std::io::copy(&mut part, &mut whole).map_err(|e| unwritten(&e))?;
        }
        Ok((File::open(into).map_err(|e| unwritten(&e))?, self.left))
    }
}

fn unwritten(error: &std::io::Error) -> Failure {
    Failure::new(Code::HomeUnsafe, format!("what is taken over cannot be held in the home: {error}")).hint("free some space in the home")
}
