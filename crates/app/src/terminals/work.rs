//! The turn of a terminal: its program from the start to the end.

use engines::Launch;
use model::{Code, Failure, Outcome};
use sandbox::{Command, CommandOutput, CommandStdin, Exec, Exit, Piece, Sandbox, SandboxError, Stdio};
use store::{Record, Spool};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::desk::Terminal;
use super::forms::TerminalForm;
use super::{PIECE_BYTES, pause};
use crate::now;
use crate::pump::{Ack, Ending};
use crate::stops::limit_reached;
use crate::turn::Running;

/// Bytes of output after which it is noted how far it was read, so that the guest may forget them. A daemon that takes the turn up after
/// another one's end reads this much again, and so has the screen.
const NOTED_BYTES: usize = 256 << 10;
/// How long a program waits for somebody to come before it starts.
const COME_TIME: std::time::Duration = std::time::Duration::from_secs(60);
/// Of the last page, how much becomes the turn's text.
const TEXT_BYTES_MAX: usize = 16 << 10;

/// Why a program does not go on.
enum Stop {
    Cancelled,
    Alone,
    Gone(SandboxError),
}

/// Runs the program until it ends, is stopped, or nobody came for too long.
pub(crate) async fn work(running: &mut Running<'_>, sandbox: &Sandbox, form: &TerminalForm) -> Result<Ending, Failure> {
    let (app, live) = (running.app, running.live);
    let program = form.program(&live.spec.engine);
    let (terminal, keys, closing) = app.terminals().open(app, &live.id, running.turn.id.clone(), program, form.size);
    let (command, engine_session) = match adopted(running, sandbox).await? {
        Some(command) => (command, None),
        None => {
            running.unpack_files(sandbox).await?;
            if !running.is_begun() {
                running.say_start(sandbox).await?;
            }
            let (launch, named) = running.terminal_launch(form)?;
            if form.attended && !attended(running, &terminal).await {
                return Ok(Ending { closing: Some(closing), ..Ending::cancelled() });
            }
            (start(running, sandbox, launch, &terminal).await?, named)
        }
    };
    let Command { stdin, mut output, control } = command;
    let stdin = match stdin {
        Some(stdin) => stdin,
        // Whatever the daemon before had sent and the program had not taken is lost with it, as at any terminal that was cut off.
        None => control.resume_stdin(0, &[]).await.map_err(|e| e.failure())?,
    };
    let mut work = Work {
        running,
        terminal: &terminal,
        control: &control,
        recorded: 0,
        read: 0,
        unnoted: 0,
        spoke: false,
        ending: Ending::cancelled(),
    };
    work.recorded = work.running.turn.spool;
    work.read = work.recorded;
    let over = work.go(&mut output, stdin, keys).await?;
    // A conversation in which nothing was said is none that could be gone on with.
    let engine_session = engine_session.filter(|_| work.spoke);
    let mut ending = work.end(sandbox, over, output);
    ending.engine_session = engine_session;
    ending.closing = Some(closing);
    Ok(ending)
}

/// Waits until somebody has come. `false` when the turn was cancelled meanwhile.
async fn attended(running: &Running<'_>, terminal: &Terminal) -> bool {
    let came = async {
        loop {
            let seats = terminal.seats();
            tokio::pin!(seats);
            seats.as_mut().enable();
            if terminal.alone_since().is_none() {
                return;
            }
            seats.await;
        }
    };
    tokio::select! {
        () = running.cancel.cancelled() => false,
        () = running.live.cancel.cancelled() => false,
        _ = tokio::time::timeout(COME_TIME, came) => true,
    }
}

/// The program that an earlier daemon started, if it is there.
async fn adopted(running: &Running<'_>, sandbox: &Sandbox) -> Result<Option<Command>, Failure> {
    if !running.is_begun() {
        return Ok(None);
    }
    if let Some(command) = running.running_command(sandbox).await? {
        return Ok(Some(command));
    }
    if running.is_unstarted() { Ok(None) } else { Err(running.lost("the terminal was lost together with the daemon")) }
}

/// Starts the program.
async fn start(running: &Running<'_>, sandbox: &Sandbox, launch: Launch, terminal: &Terminal) -> Result<Command, Failure> {
    if !launch.files.is_empty() {
        let tar = crate::inside::tar_of(&launch.files)?;
        sandbox.put("/", tar.as_slice()).await.map_err(|e| e.failure())?;
    }
    let mut env = running.surroundings(launch.env).await?;
    // What is right for a program that nobody looks at.
    env.retain(|(key, _)| key != "NO_COLOR");
    let size = *terminal.sizes().borrow();
    let exec = Exec { argv: launch.argv, env, cwd: running.live.spec.workdir.clone(), stdio: Stdio::Pty(size), lease: running.fence.0 };
    let command = sandbox.exec(exec).await.map_err(|e| e.failure())?;
    model::crash::point("turn:engine-started");
    Ok(command)
}

struct Work<'a, 'b> {
    running: &'a Running<'b>,
    terminal: &'a Terminal,
    control: &'a sandbox::CommandControl,
    /// The last frame that is noted in the store, and the last that was read.
    recorded: u64,
    read: u64,
    unnoted: usize,
    /// Whether a model was spoken with.
    spoke: bool,
    ending: Ending,
}

impl Work<'_, '_> {
    async fn go(
        &mut self,
        output: &mut CommandOutput,
        mut stdin: CommandStdin,
        mut keys: mpsc::Receiver<Vec<u8>>,
    ) -> Result<Result<Exit, Stop>, Failure> {
        let running = self.running;
        let (control, mut sizes) = (self.control, self.terminal.sizes());
        // Whoever came between the start and now.
        sizes.mark_changed();
        let input = async {
            while let Some(bytes) = keys.recv().await {
                if stdin.write(&bytes).await.is_err() {
                    break;
                }
            }
            // Dropping it would press the key that ends the input.
            std::future::pending::<()>().await;
        };
        tokio::pin!(input);
        let mut calls = running.live.calls_out.lock().await;
        loop {
            let seats = self.terminal.seats();
            tokio::pin!(seats);
            seats.as_mut().enable();
            let alone = self.terminal.alone_since().map(|since| since + running.live.spec.limits.time);
            tokio::select! {
                biased;
                () = running.cancel.cancelled() => return Ok(Err(Stop::Cancelled)),
                () = running.live.cancel.cancelled() => return Ok(Err(Stop::Cancelled)),
                () = tokio::time::sleep_until(alone.unwrap_or_else(Instant::now)), if alone.is_some() => return Ok(Err(Stop::Alone)),
                () = seats => {}
                changed = sizes.changed() => if changed.is_ok() {
                    control.resize(*sizes.borrow_and_update());
                },
                () = &mut input => {}
                Some(event) = calls.recv() => {
                    self.ending.call(&event);
                    self.spoke |= matches!(event, model::EventKind::Usage { .. });
                    running.say(Some(event)).await?;
                }
                next = output.next() => match next {
                    Ok(Some(piece)) => {
                        self.read = self.read.max(piece.number);
                        match piece.piece {
                            Piece::Stdout(bytes) | Piece::Stderr(bytes) => self.shown(&bytes).await?,
                            Piece::Exited(exit) => return Ok(Ok(exit)),
                        }
                    }
                    Ok(None) => return Ok(Err(Stop::Gone(SandboxError::Gone("the program's output ended without its end".to_owned())))),
                    Err(error) => return Ok(Err(Stop::Gone(error))),
                },
            }
        }
    }

    /// Shows output, without taking the processor from everybody else.
    async fn shown(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        for piece in bytes.chunks(PIECE_BYTES) {
            let began = std::time::Instant::now();
            self.terminal.shows(piece);
            pause(began.elapsed()).await;
        }
        self.unnoted += bytes.len();
        if self.unnoted >= NOTED_BYTES {
            let running = self.running;
            let mut record = Record::new(running.turn.id.clone(), running.fence, Vec::new(), now());
            record.spool = Some(Spool { first: self.recorded + 1, last: self.read });
            running.app.store().record(record).await.map_err(|e| e.failure())?;
            model::crash::point("output:recorded");
            self.control.ack(self.read);
            (self.recorded, self.unnoted) = (self.read, 0);
        }
        Ok(())
    }

    /// What came of it.
    fn end(self, sandbox: &Sandbox, over: Result<Exit, Stop>, output: CommandOutput) -> Ending {
        let limits = &self.running.live.spec.limits;
        let mut ending = self.ending;
        ending.text = clipped(self.terminal.text());
        let because = |outcome, code: Code, message: String| (outcome, Some(code), Some(message));
        (ending.outcome, ending.code, ending.message) = match over {
            Ok(exit) => {
                self.terminal.ended(exit);
                ending.spool = Some(Spool { first: self.recorded + 1, last: self.read });
                ending.ack = Some(Ack { control: self.control.clone(), number: self.read });
                ending.output = Some(output);
                match (exit.code, exit.signal) {
                    // A person ended it, and what it says at its end is between the two.
                    (Some(_), _) => (Outcome::Completed, None, None),
                    (None, signal) => {
                        let cause = limit_reached(sandbox, limits, Some(Code::EngineFailed));
                        let (code, message) = cause
                            .unwrap_or_else(|| (Code::EngineFailed, format!("the program was ended by signal {}", signal.unwrap_or(0))));
                        because(Outcome::of_failure(code), code, message)
                    }
                }
            }
            Err(Stop::Cancelled) => because(Outcome::Cancelled, Code::Cancelled, "cancelled".to_owned()),
            Err(Stop::Alone) => {
                let why = format!("nobody was before the terminal for {} s", limits.time.as_secs());
                because(Outcome::of_failure(Code::Timeout), Code::Timeout, why)
            }
            Err(Stop::Gone(error)) => {
                let failure = error.failure();
                because(Outcome::of_failure(failure.code), failure.code, failure.message)
            }
        };
        if ending.outcome == Outcome::Completed {
            // What a single call came to is no matter for a program that went on after it.
            ending.call = None;
        }
        ending
    }
}

fn clipped(mut text: String) -> String {
    if text.len() > TEXT_BYTES_MAX {
        let end = (0..=TEXT_BYTES_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
    }
    text
}
