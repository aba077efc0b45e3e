//! The guest's file verbs, run in a sandbox that has the files: nothing of a tree is ever opened on the host.

use std::io::Seek;
use std::os::unix::fs::OpenOptionsExt;

use bytes::Bytes;
use futures_util::stream;
use model::{Code, Failure, Limits};
use sandbox::{Command, CommandControl, CommandOutput, Exec, Exit, Piece, Stdio};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio_util::io::StreamReader;

use crate::App;
use crate::files::FileStream;
use crate::trees::Look;

/// The guest program inside.
const GUEST: &str = "/opt/lazaret/bin/lazaret-guest";
/// How much of a verb's complaint is read.
const COMPLAINT_BYTES_MAX: usize = 16 << 10;
/// How much of a complaint is shown, in characters.
const COMPLAINT_CHARS_MAX: usize = 300;
/// How long a verb that gives a short answer may take.
const VERB_TIME: std::time::Duration = std::time::Duration::from_secs(180);
/// A piece of a file on its way in.
const PIECE_BYTES: usize = 64 << 10;
/// SIGKILL.
const KILL: i32 = 9;

/// A sandbox that has the files, and the directory there that paths are relative to.
pub(crate) struct Inside {
    pub(crate) look: Look,
    pub(crate) root: String,
}

/// Ends a command whose output nobody wants any more.
struct Ender(CommandControl);

impl Drop for Ender {
    fn drop(&mut self) {
        self.0.signal(KILL);
    }
}

/// What a verb says when it fails.
#[derive(Debug, Deserialize)]
struct Complaint {
    code: String,
    message: String,
}

impl Inside {
    /// Runs a verb and gives what it prints, at most `max` bytes.
    pub(crate) async fn run(&self, args: &[&str], max: usize) -> Result<Vec<u8>, Failure> {
        let command = self.start(args, false).await?;
        let _ender = Ender(command.control.clone());
        collect(command.output, &command.control, max).await
    }

    /// Runs a verb that reads `held` on its standard input.
    pub(crate) async fn give(&self, args: &[&str], held: Held) -> Result<(), Failure> {
        let mut command = self.start(args, true).await?;
        let _ender = Ender(command.control.clone());
        let (mut file, control) = (tokio::fs::File::from_std(held.file), command.control.clone());
        let pipe = command.stdin.take();
        let give = async {
            let Some(mut pipe) = pipe else { return Ok(()) };
            let mut piece = vec![0; PIECE_BYTES];
            loop {
                let n = file.read(&mut piece).await.map_err(|e| unspooled(&e))?;
                if n == 0 {
                    return Ok(());
                }
                pipe.write(&piece[..n]).await.map_err(|e| e.failure())?;
            }
        };
        let (given, ended) = tokio::join!(give, collect(command.output, &control, ANSWER_BYTES_MAX));
        // What the verb says explains why it did not read on.
        ended?;
        given
    }

    /// Runs a verb whose output is a file: of exactly `size` bytes where that is given. A failure before the first byte
    /// is an error here, a later one breaks the stream.
    pub(crate) async fn stream(self, args: &[&str], size: Option<u64>) -> Result<FileStream, Failure> {
        let Command { output, control, .. } = self.start(args, false).await?;
        let ender = Ender(control.clone());
        let mut reading = Reading { output, control, complaint: Vec::new(), left: size, _ender: ender, _look: self.look };
        let first = reading.next().await?;
        let pieces = stream::unfold((Some(reading), first), |(reading, first)| async move {
            let mut reading = reading?;
            if let Some(bytes) = first {
                return Some((Ok(bytes), (Some(reading), None)));
            }
            match reading.next().await {
                Ok(Some(bytes)) => Some((Ok(bytes), (Some(reading), None))),
                Ok(None) => None,
                Err(failure) => Some((Err(std::io::Error::other(failure)), (None, None))),
            }
        });
        Ok(Box::new(StreamReader::new(Box::pin(pieces))))
    }

    async fn start(&self, args: &[&str], stdin: bool) -> Result<Command, Failure> {
        let (verb, rest) = args.split_first().unwrap_or((&"", &[]));
        let mut argv: Vec<String> = [GUEST, "files", verb, "--root", &self.root].map(str::to_owned).into();
        argv.extend(rest.iter().map(|a| (*a).to_owned()));
        let env = sandbox::base_env(&Limits::default());
        let exec = Exec { argv, env, cwd: "/".to_owned(), stdio: Stdio::Pipes { stdin }, lease: 0 };
        self.look.sandbox.exec(exec).await.map_err(|e| e.failure())
    }
}

/// The most bytes that a verb prints which only says that it is done.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// All that a command prints, at most `max` bytes of it.
async fn collect(mut output: CommandOutput, control: &CommandControl, max: usize) -> Result<Vec<u8>, Failure> {
    let (mut out, mut complaint) = (Vec::new(), Vec::new());
    let read = async {
        loop {
            let Some(piece) = output.next().await.map_err(|e| e.failure())? else { return Err(strange("it ended without an end")) };
            control.ack(piece.number);
            match piece.piece {
                Piece::Stdout(bytes) if out.len() + bytes.len() > max => return Err(strange("its answer is too long")),
                Piece::Stdout(bytes) => out.extend_from_slice(&bytes),
                Piece::Stderr(bytes) => keep(&mut complaint, &bytes),
                Piece::Exited(exit) => return Ok(exit),
            }
        }
    };
    let exit =
        tokio::time::timeout(VERB_TIME, read).await.map_err(|_| Failure::new(Code::Timeout, "the files were not read in time"))??;
    check(exit, &complaint)?;
    Ok(out)
}

/// A file that is read from inside.
struct Reading {
    output: CommandOutput,
    control: CommandControl,
    complaint: Vec<u8>,
    /// Bytes that are still promised.
    left: Option<u64>,
    _ender: Ender,
    _look: Look,
}

impl Reading {
    async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            let Some(piece) = self.output.next().await.map_err(|e| e.failure())? else { return Ok(None) };
            self.control.ack(piece.number);
            match (piece.piece, &mut self.left) {
                (Piece::Stdout(bytes), None) => return Ok(Some(bytes)),
                // It has grown since its size was told.
                (Piece::Stdout(_), Some(0)) => {}
                (Piece::Stdout(mut bytes), Some(left)) => {
                    bytes.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= bytes.len() as u64;
                    return Ok(Some(bytes));
                }
                (Piece::Stderr(bytes), _) => keep(&mut self.complaint, &bytes),
                (Piece::Exited(exit), left) => {
                    let is_short = left.is_some_and(|left| left > 0);
                    check(exit, &self.complaint)?;
                    return if is_short { Err(Failure::new(Code::Conflict, "the file was cut while it was read")) } else { Ok(None) };
                }
            }
        }
    }
}

fn keep(complaint: &mut Vec<u8>, bytes: &[u8]) {
    let room = COMPLAINT_BYTES_MAX.saturating_sub(complaint.len());
    complaint.extend_from_slice(&bytes[..bytes.len().min(room)]);
}

/// What a verb's end means.
fn check(exit: Exit, complaint: &[u8]) -> Result<(), Failure> {
    if exit.code == Some(0) {
        return Ok(());
    }
    let text = String::from_utf8_lossy(complaint);
    let Some(said) = text.lines().rev().find_map(|line| serde_json::from_str::<Complaint>(line).ok()) else {
        return Err(strange(&format!("it ended with {exit:?}")));
    };
    // Whoever works in the tree may have named the files, so what is said of them is not trusted either.
    let message: String = said.message.chars().filter(|c| !c.is_control()).take(COMPLAINT_CHARS_MAX).collect();
    let code = Code::ALL.iter().copied().find(|c| c.as_str() == said.code).unwrap_or(Code::Internal);
    Err(Failure::new(code, message))
}

pub(crate) fn strange(what: &str) -> Failure {
    tracing::warn!(what, "the guest's answer about files is not understood");
    Failure::new(Code::SandboxFailed, "the files could not be looked at").hint("try again")
}

/// Lines of JSON.
pub(crate) fn lines<T: DeserializeOwned>(out: &[u8]) -> Result<Vec<T>, Failure> {
    let lines = out.split(|b| *b == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).map_err(|e| strange(&e.to_string()))).collect()
}

/// Bytes of a client, held in a file without a name until all of them are here.
pub(crate) struct Held {
    pub(crate) file: std::fs::File,
    pub(crate) bytes: u64,
}

impl Held {
    /// Takes everything that `from` gives, at most `max` bytes.
    pub(crate) async fn take(app: &App, mut from: impl AsyncRead + Send + Unpin, max: u64) -> Result<Self, Failure> {
        let mut file = tokio::fs::File::from_std(nameless(app)?);
        let mut limited = (&mut from).take(max.saturating_add(1));
        let (mut bytes, mut piece) = (0u64, vec![0; PIECE_BYTES]);
        loop {
            let n = limited.read(&mut piece).await.map_err(|e| Failure::new(Code::Usage, format!("the upload broke off: {e}")))?;
            if n == 0 {
                break;
            }
            bytes += n as u64;
            if bytes > max {
                return Err(Failure::new(Code::TooLarge, format!("the upload has more than {max} bytes")));
            }
            file.write_all(&piece[..n]).await.map_err(|e| unspooled(&e))?;
        }
        file.flush().await.map_err(|e| unspooled(&e))?;
        let mut file = file.into_std().await;
        file.rewind().map_err(|e| unspooled(&e))?;
        Ok(Self { file, bytes })
    }
}

/// A file in the home that has no name, and so is gone with whoever holds it.
pub(crate) fn nameless(app: &App) -> Result<std::fs::File, Failure> {
    let path = app.home().join("run").join(format!("held-{:032x}", crate::clock::fresh_bits()));
    let open = std::fs::OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
    let file = open.map_err(|e| unspooled(&e))?;
    std::fs::remove_file(&path).map_err(|e| unspooled(&e))?;
    Ok(file)
}

fn unspooled(error: &std::io::Error) -> Failure {
    Failure::new(Code::HomeUnsafe, format!("the upload cannot be held in the home: {error}")).hint("free some space in the home")
}

/// A tar stream of an engine's files, from the root.
pub(crate) fn tar_of(files: &[engines::File]) -> Result<Vec<u8>, Failure> {
    let fail = |e: std::io::Error| Failure::new(Code::Internal, format!("the engine's files cannot be packed: {e}"));
    let mut builder = tar::Builder::new(Vec::new());
    for file in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(file.bytes.len() as u64);
        header.set_mode(file.mode);
        header.set_entry_type(tar::EntryType::Regular);
        builder.append_data(&mut header, file.path.trim_start_matches('/'), file.bytes.as_slice()).map_err(fail)?;
    }
    builder.into_inner().map_err(fail)
}
