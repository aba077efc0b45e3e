//! Sitting before the terminal of a session: this terminal becomes it, until the program ends or the person leaves.

use std::io::IsTerminal;

use app::AttachForm;
use hyper_util::rt::TokioIo;
use model::{Code, Failure};
use serde_json::Value;
use tokio::io::{AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::signal::unix::{Signal, SignalKind, signal};
use wire::{Exit, FromGuest, Size, ToGuest};

use super::terminal::{Frames, INPUT_PIECES_MAX, READ_BYTES, Raw, size, upgrading, write};
use crate::client::{Client, internal};
use crate::out;

/// Which keys leave when nothing is said: those of other programs that are left so.
const LEAVE_DEFAULT: &str = "ctrl-p,ctrl-q";
/// Keys of one sequence.
const LEAVE_MAX: usize = 8;
/// What a terminal writes before and after a text that was pasted.
const PASTE: [&[u8]; 2] = [b"\x1b[200~", b"\x1b[201~"];

/// How somebody left a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// The program ended.
    Ended(Exit),
    /// They pressed the keys that leave, or this process is to end; the program goes on.
    Away,
}

impl Left {
    /// The exit status of a command that sat there.
    pub(super) fn status(self) -> u8 {
        match self {
            Left::Away => 0,
            Left::Ended(Exit { code: Some(code), .. }) => u8::try_from(code & 0xff).unwrap_or(1),
            Left::Ended(Exit { signal, .. }) => u8::try_from(128 + signal.unwrap_or(0)).unwrap_or(1),
        }
    }
}

/// Refuses to go on where there is no terminal on both sides.
pub(super) fn check_terminal() -> Result<(), Failure> {
    if std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
        return Ok(());
    }
    Err(Failure::new(Code::Usage, "this needs a terminal, and standard input or output is none")
        .hint("give the prompt as an argument, without -i and -t"))
}

/// Where the terminal is now.
pub(super) fn here(watch: bool, take: bool) -> AttachForm {
    AttachForm { size: size(), watch, take }
}

/// Sits down. Everything is as it was before when this returns, however it does.
pub(super) async fn sit(client: &Client, session: &str, how: &AttachForm, leave: &Leave) -> Result<Left, Failure> {
    check_terminal()?;
    let text = serde_json::to_string(how).map_err(|e| internal(&e.to_string()))?;
    let request = upgrading(&format!("/v1/sessions/{}/attach", super::sandbox::plain(session)?), "attach", &text)?;
    let mut connection = client.connection().await?;
    let response = connection.send_request(request).await?;
    let told: Value = response.headers().get("terminal").and_then(|v| serde_json::from_slice(v.as_bytes()).ok()).unwrap_or_default();
    if told["types"] != true && !how.watch {
        out::note("somebody else types here: you watch (with --take you type, and they watch)");
    }
    if told["types"] != true {
        out::note(&format!("to leave: {}", leave.name));
    }
    let stream = hyper::upgrade::on(response).await.map_err(|e| internal(&format!("the daemon does not carry the terminal: {e}")))?;
    let (read, send) = tokio::io::split(TokioIo::new(stream));
    // Before anything changes about the terminal: whoever ends this from now on leaves it as it was.
    let signals = Signals::listen()?;
    let raw = Raw::enter()?;
    let mut told = Vec::new();
    let left = tokio::select! {
        left = output(read, &mut told) => left,
        left = input(send, leave, signals) => left,
    };
    drop(raw);
    for note in told {
        out::note(&crate::exit::clean(&note));
    }
    left
}

async fn output<R: tokio::io::AsyncRead + Unpin>(read: ReadHalf<R>, told: &mut Vec<String>) -> Result<Left, Failure> {
    let gone = || Failure::new(Code::DaemonMissing, "the daemon went away; the program may go on").hint("look with: lazaret session list");
    let mut frames = Frames::new(read);
    loop {
        match frames.next().await?.ok_or_else(gone)? {
            FromGuest::Stdout(bytes) => write(&mut std::io::stdout().lock(), &bytes),
            // In the middle of a program's page there is no room for it: it rings, and is said afterwards.
            FromGuest::Stderr(text) => {
                write(&mut std::io::stdout().lock(), b"\x07");
                told.push(String::from_utf8_lossy(&text).into_owned());
            }
            FromGuest::Exited(exit) => return Ok(Left::Ended(exit)),
            _ => {}
        }
    }
}

/// What is said to this process while somebody sits here.
struct Signals {
    resized: Signal,
    /// Those that end it.
    ends: [Signal; 4],
}

impl Signals {
    fn listen() -> Result<Self, Failure> {
        let listen = |kind| signal(kind).map_err(|e| internal(&format!("signals cannot be taken: {e}")));
        let (hup, int) = (listen(SignalKind::hangup())?, listen(SignalKind::interrupt())?);
        let (term, quit) = (listen(SignalKind::terminate())?, listen(SignalKind::quit())?);
        Ok(Self { resized: listen(SignalKind::window_change())?, ends: [hup, int, term, quit] })
    }
}

async fn input<W: tokio::io::AsyncWrite + Unpin>(mut to: WriteHalf<W>, leave: &Leave, signals: Signals) -> Result<Left, Failure> {
    let Signals { mut resized, ends: [mut hup, mut int, mut term, mut quit] } = signals;
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
    let mut watch = leave.watch();
    loop {
        let message = tokio::select! {
            piece = pieces.recv() => match piece {
                Some(bytes) => {
                    let (pass, leaves) = watch.typed(&bytes);
                    if leaves {
                        return Ok(Left::Away);
                    }
                    ToGuest::Stdin(pass)
                }
                // The terminal is gone.
                None => return Ok(Left::Away),
            },
            _ = resized.recv() => {
                let (rows, cols) = size();
                ToGuest::Resize(Size { rows, cols })
            }
            // A terminal in raw mode sends none of these by a key: somebody wants this process to end.
            _ = hup.recv() => return Ok(Left::Away),
            _ = int.recv() => return Ok(Left::Away),
            _ = term.recv() => return Ok(Left::Away),
            _ = quit.recv() => return Ok(Left::Away),
        };
        let mut bytes = Vec::new();
        let sent = message.frame(0, 0).and_then(|frame| frame.encode(&mut bytes));
        if sent.is_err() || to.write_all(&bytes).await.is_err() || to.flush().await.is_err() {
            // The other half tells how it ended.
            std::future::pending::<()>().await;
        }
    }
}

/// The keys that leave a terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Leave {
    bytes: Vec<u8>,
    /// As they were named.
    pub(super) name: String,
}

impl Leave {
    /// Keys by their names, with commas between them: `ctrl-X` or one character.
    pub(super) fn of(text: Option<&str>) -> Result<Self, Failure> {
        let name = text.unwrap_or(LEAVE_DEFAULT);
        let wrong = || {
            Failure::new(Code::Usage, format!("`{}` does not name keys", name.escape_debug()))
                .hint("name them like ctrl-p,ctrl-q: `ctrl-` with a letter or one of @ [ ] \\ ^ _, or one character")
                .field("--detach-keys")
        };
        let bytes = name.split(',').map(|key| key_of(key.trim())).collect::<Option<Vec<u8>>>().ok_or_else(wrong)?;
        // A single character would leave at the first word.
        let is_safe = bytes.len() <= LEAVE_MAX && bytes.first().is_some_and(|first| *first < 0x20);
        if is_safe { Ok(Self { bytes, name: name.to_owned() }) } else { Err(wrong()) }
    }

    fn watch(&self) -> Watch<'_> {
        Watch { leave: &self.bytes, at: 0, paste: [0; 2], is_pasted: false }
    }
}

fn key_of(name: &str) -> Option<u8> {
    if let Some(key) = name.strip_prefix("ctrl-") {
        let mut chars = key.chars();
        let (key, None) = (chars.next()?, chars.next()) else { return None };
        return matches!(key, 'a'..='z' | 'A'..='Z' | '@' | '[' | ']' | '\\' | '^' | '_').then(|| key.to_ascii_uppercase() as u8 & 0x1f);
    }
    let mut bytes = name.bytes();
    let (key, None) = (bytes.next()?, bytes.next()) else { return None };
    key.is_ascii_graphic().then_some(key)
}

/// Looks for the keys among what is typed. All but the last of them go to the program too, so that none waits for the next.
struct Watch<'a> {
    leave: &'a [u8],
    at: usize,
    /// How much of the marks of a paste was seen.
    paste: [usize; 2],
    is_pasted: bool,
}

impl Watch<'_> {
    /// What goes to the program, and whether the person leaves after it.
    fn typed(&mut self, bytes: &[u8]) -> (Vec<u8>, bool) {
        for (n, byte) in bytes.iter().enumerate() {
            for (mark, seen) in PASTE.iter().zip(&mut self.paste) {
                *seen = if mark.get(*seen) == Some(byte) { *seen + 1 } else { usize::from(mark[0] == *byte) };
            }
            match self.paste.map(|seen| seen == PASTE[0].len()) {
                [true, _] => self.is_pasted = true,
                [_, true] => self.is_pasted = false,
                _ => {}
            }
            // Nobody leaves by what they paste.
            if self.is_pasted {
                self.at = 0;
                continue;
            }
            self.at = if self.leave[self.at] == *byte { self.at + 1 } else { usize::from(self.leave[0] == *byte) };
            if self.at == self.leave.len() {
                return (bytes[..n].to_vec(), true);
            }
        }
        (bytes.to_vec(), false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_named() {
        assert_eq!(Leave::of(None).expect("the usual").bytes, [0x10, 0x11]);
        assert_eq!(Leave::of(Some("ctrl-]")).expect("one").bytes, [0x1d]);
        assert_eq!(Leave::of(Some("ctrl-a,d")).expect("two").bytes, [1, b'd']);
        for wrong in ["", "d", "ctrl-", "ctrl-ab", "ctrl-1", "ctrl-a,,d", "é", "ctrl-é", &["ctrl-a"; 9].join(",")] {
            assert!(Leave::of(Some(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn nobody_leaves_by_chance() {
        let leave = Leave::of(None).expect("the usual");
        let typed = |pieces: &[&[u8]]| {
            let mut watch = leave.watch();
            let mut passed = Vec::new();
            for piece in pieces {
                let (pass, leaves) = watch.typed(piece);
                passed.extend(pass);
                if leaves {
                    return (passed, true);
                }
            }
            (passed, false)
        };
        assert_eq!(typed(&[b"ab\x10\x11cd"]), (b"ab\x10".to_vec(), true));
        assert_eq!(typed(&[b"\x10", b"\x11"]), (b"\x10".to_vec(), true), "in two pieces");
        assert_eq!(typed(&[b"\x10\x10\x11"]), (b"\x10\x10".to_vec(), true));
        assert_eq!(typed(&[b"\x10x\x11"]), (b"\x10x\x11".to_vec(), false));
        let pasted = b"\x1b[200~\x10\x11\x1b[201~";
        assert_eq!(typed(&[pasted]), (pasted.to_vec(), false), "a paste is a text");
        assert_eq!(typed(&[pasted, b"\x10\x11"]), ([&pasted[..], b"\x10"].concat(), true));
    }
}
