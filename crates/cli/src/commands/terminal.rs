//! A command in a sandbox, carried to this terminal or these pipes.

use std::convert::Infallible;
use std::io::{IsTerminal, Write};
use std::os::fd::AsFd;

use app::ExecForm;
use http::{Method, Request};
use hyper_util::rt::TokioIo;
use model::{Code, Failure};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::signal::unix::{Signal, SignalKind, signal};
use wire::{Decoder, Exit, FromGuest, Size, ToGuest};

use crate::client::{Body, Client, full, internal};

/// Bytes read at once.
pub(super) const READ_BYTES: usize = 64 << 10;
/// Pieces of standard input that wait to be sent.
pub(super) const INPUT_PIECES_MAX: usize = 16;

/// Runs a command in a sandbox with this process's streams and gives its exit status.
pub(super) async fn attach(client: &Client, sandbox: &str, mut form: ExecForm, wants_tty: bool) -> Result<u8, Failure> {
    let is_terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    if wants_tty && !is_terminal {
        return Err(Failure::new(Code::Usage, "a terminal is asked for, and this is none").hint("leave out --tty"));
    }
    let fail = |e: std::io::Error| internal(&format!("signals cannot be taken: {e}"));
    let listen = |kind| signal(kind).map_err(fail);
    // Before anything changes about the terminal: one that is to end this ends the command, and the terminal is as it was.
    let signals = [listen(SignalKind::window_change())?, listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?];
    let raw = if wants_tty { Some(Raw::enter()?) } else { None };
    if wants_tty {
        form.tty = Some(size());
    }
    let command = serde_json::to_string(&form).map_err(|e| internal(&e.to_string()))?;
    let request = upgrading(&format!("/v1/sandboxes/{}/exec", super::sandbox::plain(sandbox)?), "command", &command)?;
    let mut connection = client.connection().await?;
    let response = connection.send_request(request).await?;
    let stream = hyper::upgrade::on(response).await.map_err(|e| internal(&format!("the daemon does not carry the command: {e}")))?;
    let (read, write) = tokio::io::split(TokioIo::new(stream));
    let exit = tokio::select! {
        exit = output(read) => exit,
        never = input(write, wants_tty, signals) => match never {},
    };
    drop(raw);
    let exit = exit?;
    Ok(match (exit.code, exit.signal) {
        (Some(code), _) => u8::try_from(code & 0xff).unwrap_or(1),
        (None, signal) => u8::try_from(128 + signal.unwrap_or(0)).unwrap_or(1),
    })
}

/// JSON in a header: everything beyond ASCII escaped.
fn ascii(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_ascii() {
            out.push(c);
        } else {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    out
}

/// What is said over an upgraded connection, frame by frame.
pub(super) struct Frames<R> {
    read: R,
    decoder: Decoder,
    buffer: Vec<u8>,
}

impl<R: tokio::io::AsyncRead + Unpin> Frames<R> {
    pub(super) fn new(read: R) -> Self {
        Self { read, decoder: Decoder::default(), buffer: vec![0; READ_BYTES] }
    }

    /// The next frame; `None` when the daemon went away.
    pub(super) async fn next(&mut self) -> Result<Option<FromGuest>, Failure> {
        loop {
            if let Some(frame) = self.decoder.next_frame().map_err(|e| internal(&e.to_string()))? {
                return FromGuest::read(&frame).map(Some).map_err(|e| internal(&e.to_string()));
            }
            match self.read.read(&mut self.buffer).await {
                Ok(0) | Err(_) => return Ok(None),
                Ok(n) => self.decoder.push(&self.buffer[..n]),
            }
        }
    }
}

/// A request after which both sides speak frames, with what it is about in a header.
pub(super) fn upgrading(path: &str, header: &str, about: &str) -> Result<Request<Body>, Failure> {
    let request = Request::builder()
        .method(Method::POST)
        .uri(path)
        .header("host", "lazaret")
        .header("connection", "upgrade")
        .header("upgrade", "lazaret-exec")
        .header(header, ascii(about))
        .body(full(Vec::new()));
    request.map_err(|e| internal(&e.to_string()))
}

async fn output<R: tokio::io::AsyncRead + Unpin>(read: ReadHalf<R>) -> Result<Exit, Failure> {
    let gone = || Failure::new(Code::DaemonMissing, "the daemon went away while the command ran");
    let mut frames = Frames::new(read);
    loop {
        match frames.next().await?.ok_or_else(gone)? {
            FromGuest::Stdout(bytes) => write(&mut std::io::stdout().lock(), &bytes),
            FromGuest::Stderr(bytes) => write(&mut std::io::stderr().lock(), &bytes),
            FromGuest::Exited(exit) => return Ok(exit),
            FromGuest::Trouble(trouble) => return Err(Failure::new(Code::SandboxFailed, trouble.message)),
            _ => {}
        }
    }
}

/// A reader that has left is no failure: the command goes on, as in a pipeline.
pub(super) fn write(to: &mut impl Write, bytes: &[u8]) {
    let _ = to.write_all(bytes).and_then(|()| to.flush());
}

/// Carries input, signals and sizes.
async fn input<W: tokio::io::AsyncWrite + Unpin>(mut to: WriteHalf<W>, is_tty: bool, signals: [Signal; 3]) -> Infallible {
    let [mut resized, mut int, mut term] = signals;
    let (send, mut pieces) = tokio::sync::mpsc::channel::<Vec<u8>>(INPUT_PIECES_MAX);
    // Reading standard input blocks, so it has a thread of its own, which ends with the process.
    std::thread::spawn(move || {
        let mut buffer = vec![0; READ_BYTES];
        while let Ok(n @ 1..) = std::io::Read::read(&mut std::io::stdin(), &mut buffer) {
            if send.blocking_send(buffer[..n].to_vec()).is_err() {
                return;
            }
        }
    });
    let mut open = true;
    loop {
        let message = tokio::select! {
            piece = pieces.recv(), if open => match piece {
                Some(bytes) => ToGuest::Stdin(bytes),
                None => {
                    open = false;
                    ToGuest::StdinEnd
                }
            },
            _ = resized.recv(), if is_tty => {
                let (rows, cols) = size();
                ToGuest::Resize(Size { rows, cols })
            }
            _ = int.recv() => ToGuest::Signal(2),
            _ = term.recv() => ToGuest::Signal(15),
        };
        let mut bytes = Vec::new();
        let sent = message.frame(0, 0).and_then(|frame| frame.encode(&mut bytes));
        if sent.is_err() || to.write_all(&bytes).await.is_err() || to.flush().await.is_err() {
            // The other half tells how the command ended.
            std::future::pending::<()>().await;
        }
    }
}

pub(super) fn size() -> (u16, u16) {
    tcgetwinsize(std::io::stdout().as_fd()).map_or((24, 80), |w| (w.ws_row, w.ws_col))
}

/// A terminal that hands every key on, until dropped; then it is as it was.
pub(super) struct Raw {
    before: Termios,
}

impl Raw {
    pub(super) fn enter() -> Result<Self, Failure> {
        let fail = |e: rustix::io::Errno| Failure::new(Code::Usage, format!("the terminal cannot be used: {e}"));
        let before = tcgetattr(std::io::stdin()).map_err(fail)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(std::io::stdin(), OptionalActions::Now, &raw).map_err(fail)?;
        Ok(Self { before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        write(&mut std::io::stdout().lock(), app::TERMINAL_RESET);
        // What was typed for the program, or sent by the mouse, is not for whoever reads next.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Flush, &self.before);
    }
}
