//! A command in a sandbox, carried to a client over any stream: both sides speak the frames of the control channel.

use model::{Code, Failure};
use sandbox::{Command, Exec, Piece, Stdio};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use wire::{Decoder, FromGuest, Size, ToGuest};

use crate::App;
use crate::live::lock;
use crate::terminals::{PIECE_BYTES, Screen, pause};

/// A command to run in a sandbox that is up.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExecForm {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Variables besides the usual ones.
    #[serde(default)]
    pub env: Vec<(String, String)>,
    /// The working directory.
    pub cwd: String,
    /// The size of its terminal; `None` for pipes.
    #[serde(default)]
    pub tty: Option<(u16, u16)>,
}

impl App {
    /// Starts a command in a sandbox that is up.
    ///
    /// # Errors
    /// There is no such sandbox, or the program cannot be run.
    pub async fn exec(&self, id: &str, form: ExecForm) -> Result<Command, Failure> {
        if form.argv.is_empty() {
            return Err(Failure::new(Code::Usage, "a command is needed").field("argv"));
        }
        let found = self.sandbox(id)?;
        let mut env = sandbox::base_env(&model::Limits::default());
        env.extend(crate::sandboxes::proxy_env());
        let (rules, secrets) = self.allowed(&found);
        env.extend(self.trust_env(&rules, &secrets));
        env.extend(form.env);
        let stdio = match form.tty {
            Some((rows, cols)) => Stdio::Pty(Size { rows, cols }),
            None => Stdio::Pipes { stdin: true },
        };
        let exec = Exec { argv: form.argv, env, cwd: form.cwd, stdio, lease: 0 };
        found.exec(exec).await.map_err(|e| e.failure())
    }
}

/// Bytes that are read from a client at once.
const READ_BYTES: usize = 64 << 10;
/// Signals that a client may send: a number of Linux.
const SIGNALS: std::ops::RangeInclusive<i32> = 1..=64;

/// Answers to questions of a program that wait to be read by it; for which there is no room, they are dropped.
const ANSWERS_MAX: usize = 16;

/// Carries a command's streams until it ends or the client leaves; a client that leaves ends the command. What goes to a terminal, of the size
/// `tty`, is what may reach a person's.
pub async fn bridge(command: Command, tty: Option<(u16, u16)>, stream: impl AsyncRead + AsyncWrite + Send) {
    let Command { stdin, mut output, control } = command;
    let (mut read, mut write) = tokio::io::split(stream);
    let screen = tty.map(|(rows, cols)| std::sync::Mutex::new(Screen::new(rows, cols)));
    let (asked, mut answers) = tokio::sync::mpsc::channel::<Vec<u8>>(ANSWERS_MAX);
    let out = async {
        let mut bytes = Vec::new();
        loop {
            let (message, number) = match output.next().await {
                Ok(Some(piece)) => {
                    let message = match piece.piece {
                        Piece::Stdout(b) => FromGuest::Stdout(match &screen {
                            Some(screen) => drawn(screen, &b, &asked).await,
                            None => b.into(),
                        }),
                        Piece::Stderr(b) => FromGuest::Stderr(b.into()),
                        Piece::Exited(exit) => FromGuest::Exited(exit),
                    };
                    (message, piece.number)
                }
                Ok(None) => return true,
                Err(error) => (FromGuest::Trouble(wire::Trouble { errno: 0, message: error.failure().message }), 0),
            };
            let ends = matches!(message, FromGuest::Trouble(_));
            bytes.clear();
            let framed = message.frame(0, number).and_then(|frame| frame.encode(&mut bytes));
            if framed.is_err() || write.write_all(&bytes).await.is_err() {
                return false;
            }
            control.ack(number);
            if ends {
                return true;
            }
        }
    };
    let input = async {
        let mut stdin = stdin;
        let mut decoder = Decoder::default();
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let n = tokio::select! {
                read = read.read(&mut buffer) => read.unwrap_or(0),
                Some(answer) = answers.recv() => {
                    if let Some(pipe) = &mut stdin {
                        let _ = pipe.write(&answer).await;
                    }
                    continue;
                }
            };
            if n == 0 {
                return;
            }
            decoder.push(&buffer[..n]);
            while let Ok(Some(frame)) = decoder.next_frame() {
                match ToGuest::read(&frame) {
                    Ok(ToGuest::Stdin(bytes)) => {
                        if let Some(pipe) = &mut stdin
                            && pipe.write(&bytes).await.is_err()
                        {
                            return;
                        }
                    }
                    Ok(ToGuest::StdinEnd) => drop(stdin.take()),
                    Ok(ToGuest::Resize(size)) => {
                        if let Some(screen) = &screen {
                            lock(screen).resize(size.rows, size.cols);
                        }
                        control.resize(size);
                    }
                    Ok(ToGuest::Signal(signal)) if SIGNALS.contains(&signal) => control.signal(signal),
                    _ => return,
                }
            }
        }
    };
    let ended = tokio::select! {
        ended = out => ended,
        () = input => false,
    };
    if !ended {
        control.signal(KILL);
    }
    let _ = write.shutdown().await;
}

/// What a person's terminal is shown of output. What it asks of the terminal is answered here.
async fn drawn(screen: &std::sync::Mutex<Screen>, bytes: &[u8], asked: &tokio::sync::mpsc::Sender<Vec<u8>>) -> Vec<u8> {
    let mut show = Vec::new();
    for piece in bytes.chunks(PIECE_BYTES) {
        let began = std::time::Instant::now();
        let taken = lock(screen).take(piece);
        show.extend(taken.show);
        if !taken.answer.is_empty() {
            let _ = asked.try_send(taken.answer);
        }
        pause(began.elapsed()).await;
    }
    show
}

/// SIGKILL.
const KILL: i32 = 9;
