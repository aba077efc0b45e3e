//! The terminals that are open, and who sits before them.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use model::{Code, Failure, SessionId, TurnId};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, broadcast, mpsc, watch};
use tokio::time::Instant;
use wire::{Decoder, Exit, FromGuest, Size, ToGuest};

use super::forms::{AttachForm, TerminalView};
use super::screen::Screen;
use crate::live::lock;

/// People who sit before one terminal, those who only watch included.
const SEATS_MAX: usize = 16;
/// Pieces of output that wait for somebody who reads slowly. Who falls behind is shown the screen as it is then.
const PIECES_MAX: usize = 128;
/// Pieces of input and answers that wait for the program. Typing waits; an answer for which there is no room is dropped.
const KEYS_MAX: usize = 64;
/// Bytes that are read from a client at once.
const READ_BYTES: usize = 64 << 10;
/// How long a client may take for one piece; one that reads nothing holds a seat no longer.
const WRITE_TIME: Duration = Duration::from_secs(30);
/// How often a turn that may have ended without its terminal is looked at.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// The terminals that are open, by session.
#[derive(Default)]
pub(crate) struct Terminals {
    /// Held for single operations.
    open: Mutex<HashMap<SessionId, Arc<Terminal>>>,
    changed: Notify,
}

/// One terminal.
pub(crate) struct Terminal {
    turn: TurnId,
    program: String,
    /// Held for single operations that cannot wait.
    state: Mutex<State>,
    out: broadcast::Sender<Said>,
    keys: mpsc::Sender<Vec<u8>>,
    size: watch::Sender<Size>,
    /// Somebody came or left.
    seats: Notify,
}

struct State {
    screen: Screen,
    people: BTreeSet<u64>,
    /// Who types.
    keyboard: Option<u64>,
    next: u64,
    alone_since: Instant,
    end: Option<Exit>,
}

/// What those before a terminal are told.
#[derive(Debug, Clone)]
enum Said {
    Shown(Bytes),
    /// Somebody else types now.
    Taken,
    Ended,
}

/// Somebody before a terminal. They leave when it is dropped.
pub struct Attached {
    terminal: Arc<Terminal>,
    seat: u64,
    /// The screen as it was when they came.
    first: Vec<u8>,
    said: broadcast::Receiver<Said>,
    /// Whether they typed until now, as they know it.
    typed: bool,
}

/// Takes a terminal away when its turn is over, and tells those before it.
pub(crate) struct Closing {
    app: crate::App,
    session: SessionId,
    terminal: Arc<Terminal>,
}

impl Drop for Closing {
    fn drop(&mut self) {
        lock(&self.app.terminals().open).remove(&self.session);
        let _ = self.terminal.out.send(Said::Ended);
        self.app.terminals().changed.notify_waiters();
    }
}

impl Terminals {
    pub(super) fn get(&self, session: &SessionId) -> Option<Arc<Terminal>> {
        lock(&self.open).get(session).cloned()
    }

    /// Something was opened or closed. To be made before looking, and enabled.
    pub(super) fn changed(&self) -> tokio::sync::futures::Notified<'_> {
        self.changed.notified()
    }

    /// Opens a terminal; it is closed when what comes with it is dropped.
    pub(super) fn open(
        &self,
        app: &crate::App,
        session: &SessionId,
        turn: TurnId,
        program: String,
        size: (u16, u16),
    ) -> (Arc<Terminal>, mpsc::Receiver<Vec<u8>>, Closing) {
        let (keys, typed) = mpsc::channel(KEYS_MAX);
        let state = State {
            screen: Screen::new(size.0, size.1),
            people: BTreeSet::new(),
            keyboard: None,
            next: 0,
            alone_since: Instant::now(),
            end: None,
        };
        let (rows, cols) = state.screen.size();
        let terminal = Arc::new(Terminal {
            turn,
            program,
            state: Mutex::new(state),
            out: broadcast::Sender::new(PIECES_MAX),
            keys,
            size: watch::Sender::new(Size { rows, cols }),
            seats: Notify::new(),
        });
        lock(&self.open).insert(session.clone(), Arc::clone(&terminal));
        self.changed.notify_waiters();
        (Arc::clone(&terminal), typed, Closing { app: app.clone(), session: session.clone(), terminal })
    }
}

impl Terminal {
    /// Comes before it.
    pub(super) fn attach(self: &Arc<Self>, form: &AttachForm) -> Result<Attached, Failure> {
        let mut state = lock(&self.state);
        if state.people.len() >= SEATS_MAX {
            return Err(Failure::new(Code::Busy, format!("{SEATS_MAX} people sit before this terminal already")));
        }
        let seat = state.next;
        state.next += 1;
        state.people.insert(seat);
        if !form.watch && (form.take || state.keyboard.is_none()) {
            let before = state.keyboard.replace(seat);
            if before.is_some() {
                let _ = self.out.send(Said::Taken);
            }
            self.sized(&mut state, form.size);
        }
        let said = self.out.subscribe();
        let (first, typed) = (state.screen.repaint(true), state.keyboard == Some(seat));
        drop(state);
        self.seats.notify_waiters();
        Ok(Attached { terminal: Arc::clone(self), seat, first, said, typed })
    }

    /// Takes output: those before it see it, and the program gets what it asked of its terminal.
    pub(super) fn shows(&self, bytes: &[u8]) {
        let mut state = lock(&self.state);
        let taken = state.screen.take(bytes);
        if !taken.show.is_empty() {
            let _ = self.out.send(Said::Shown(taken.show.into()));
        }
        drop(state);
        if !taken.answer.is_empty() {
            let _ = self.keys.try_send(taken.answer);
        }
    }

    /// The program ended; those before it are told when its turn is over.
    pub(super) fn ended(&self, exit: Exit) {
        lock(&self.state).end = Some(exit);
    }

    /// The last page as text.
    pub(super) fn text(&self) -> String {
        lock(&self.state).screen.text()
    }

    /// Its size, and whenever that changes.
    pub(super) fn sizes(&self) -> watch::Receiver<Size> {
        self.size.subscribe()
    }

    /// Since when nobody is before it, if nobody is.
    pub(super) fn alone_since(&self) -> Option<Instant> {
        let state = lock(&self.state);
        state.people.is_empty().then_some(state.alone_since)
    }

    /// Somebody came or left. To be made before looking, and enabled.
    pub(super) fn seats(&self) -> tokio::sync::futures::Notified<'_> {
        self.seats.notified()
    }

    pub(super) fn view(&self) -> TerminalView {
        let state = lock(&self.state);
        TerminalView {
            turn: self.turn.clone(),
            program: self.program.clone(),
            attached: state.people.len(),
            has_keyboard: state.keyboard.is_some(),
        }
    }

    fn sized(&self, state: &mut State, (rows, cols): (u16, u16)) {
        state.screen.resize(rows, cols);
        let (rows, cols) = state.screen.size();
        let size = Size { rows, cols };
        self.size.send_if_modified(|before| std::mem::replace(before, size) != size);
    }
}

impl Attached {
    /// Whether they type; else they only watch.
    #[must_use]
    pub fn types(&self) -> bool {
        lock(&self.terminal.state).keyboard == Some(self.seat)
    }

    /// Rows and columns of the program's terminal.
    #[must_use]
    pub fn size(&self) -> (u16, u16) {
        lock(&self.terminal.state).screen.size()
    }

    async fn types_this(&self, bytes: Vec<u8>) {
        if self.types() {
            let _ = self.terminal.keys.send(bytes).await;
        }
    }

    fn resized(&self, size: Size) {
        let mut state = lock(&self.terminal.state);
        if state.keyboard == Some(self.seat) {
            self.terminal.sized(&mut state, (size.rows, size.cols));
        }
    }

    /// The screen as it is, and everything after that.
    fn again(&mut self) -> Vec<u8> {
        let state = lock(&self.terminal.state);
        self.said = self.terminal.out.subscribe();
        state.screen.repaint(false)
    }

    fn end(&self) -> Option<Exit> {
        lock(&self.terminal.state).end
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        let mut state = lock(&self.terminal.state);
        state.people.remove(&self.seat);
        if state.keyboard == Some(self.seat) {
            state.keyboard = None;
        }
        state.alone_since = Instant::now();
        drop(state);
        self.terminal.seats.notify_waiters();
    }
}

/// Carries a terminal to a client until it is closed or the client leaves; both sides speak the frames of the control channel. Leaving
/// does nothing to the program.
pub async fn carry(mut attached: Attached, stream: impl AsyncRead + AsyncWrite + Send) {
    let (mut read, mut write) = tokio::io::split(stream);
    let (typed, mut keys) = mpsc::channel::<ToGuest>(KEYS_MAX);
    let input = async move {
        let mut decoder = Decoder::default();
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let Ok(n @ 1..) = read.read(&mut buffer).await else { return };
            decoder.push(&buffer[..n]);
            while let Ok(Some(frame)) = decoder.next_frame() {
                match ToGuest::read(&frame) {
                    Ok(message @ (ToGuest::Stdin(_) | ToGuest::Resize(_))) => {
                        if typed.send(message).await.is_err() {
                            return;
                        }
                    }
                    _ => return,
                }
            }
        }
    };
    let output = async {
        let first = std::mem::take(&mut attached.first);
        if !first.is_empty() && !say(&mut write, FromGuest::Stdout(first)).await {
            return;
        }
        loop {
            tokio::select! {
                key = keys.recv() => match key {
                    Some(ToGuest::Stdin(bytes)) => attached.types_this(bytes).await,
                    Some(ToGuest::Resize(size)) => attached.resized(size),
                    _ => return,
                },
                said = attached.said.recv() => {
                    let message = match said {
                        Ok(Said::Shown(bytes)) => FromGuest::Stdout(bytes.into()),
                        Ok(Said::Taken) if !attached.typed || attached.types() => continue,
                        Ok(Said::Taken) => {
                            attached.typed = false;
                            FromGuest::Stderr(b"somebody else types now; you watch".to_vec())
                        }
                        Err(broadcast::error::RecvError::Lagged(_)) => FromGuest::Stdout(attached.again()),
                        Ok(Said::Ended) | Err(broadcast::error::RecvError::Closed) => {
                            let exit = attached.end().unwrap_or(Exit { code: None, signal: None });
                            say(&mut write, FromGuest::Exited(exit)).await;
                            return;
                        }
                    };
                    if !say(&mut write, message).await {
                        return;
                    }
                }
            }
        }
    };
    tokio::select! {
        () = output => {}
        () = input => {}
    }
    drop(attached);
    let _ = write.shutdown().await;
}

async fn say(write: &mut (impl AsyncWrite + Unpin), message: FromGuest) -> bool {
    let mut bytes = Vec::new();
    let framed = message.frame(0, 0).and_then(|frame| frame.encode(&mut bytes));
    framed.is_ok() && matches!(tokio::time::timeout(WRITE_TIME, write.write_all(&bytes)).await, Ok(Ok(())))
}
