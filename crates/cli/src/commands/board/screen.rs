//! The terminal while the board has it, and as it was before however the board ends.

use std::io::{Stdout, stdout};
use std::sync::atomic::{AtomicBool, Ordering};

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::event::{
    DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste, EnableMouseCapture, Event, KeyEventKind, read,
};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use ratatui::layout::{Position, Rect};
use tokio::sync::mpsc::Sender;

use super::draw;
use super::state::{Board, Input};

/// Whether the board has the terminal.
static HELD: AtomicBool = AtomicBool::new(false);

/// The terminal; given back when this is dropped, and before a panic is told.
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl Screen {
    /// Takes the terminal.
    pub(super) fn take(with_mouse: bool) -> std::io::Result<Self> {
        let told = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            give_back();
            told(info);
        }));
        HELD.store(true, Ordering::SeqCst);
        let taken = (|| {
            enable_raw_mode()?;
            execute!(stdout(), EnterAlternateScreen, EnableBracketedPaste, Hide)?;
            if with_mouse {
                execute!(stdout(), EnableMouseCapture)?;
            }
            Terminal::new(CrosstermBackend::new(stdout()))
        })();
        if taken.is_err() {
            give_back();
        }
        Ok(Self { terminal: taken? })
    }

    /// Draws what changed.
    pub(super) fn show(&mut self, board: &mut Board) -> std::io::Result<()> {
        self.terminal.draw(|frame| draw::draw(frame, board)).map(drop)
    }

    /// Draws everything anew. The terminal is not asked where its cursor is: the answer would come where keys are waited for.
    pub(super) fn refresh(&mut self) -> std::io::Result<()> {
        let size = self.terminal.size()?;
        self.terminal.resize(Rect::from((Position::ORIGIN, size)))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// Leaves the terminal as it was. What cannot be written any more is of no use to anybody.
fn give_back() {
    if HELD.swap(false, Ordering::SeqCst) {
        let _ = execute!(stdout(), DisableMouseCapture, DisableBracketedPaste, LeaveAlternateScreen, Show);
        let _ = disable_raw_mode();
    }
}

/// Hands on what is typed. Reading blocks, so it has a thread of its own, which ends with the process.
pub(super) fn listen(inputs: Sender<Input>) {
    std::thread::spawn(move || {
        loop {
            let input = match read() {
                Ok(Event::Key(key)) if key.kind != KeyEventKind::Release => Input::Key(key),
                Ok(Event::Mouse(mouse)) => Input::Mouse(mouse),
                Ok(Event::Paste(text)) => Input::Paste(text),
                Ok(Event::Resize(..)) => Input::Resized,
                Ok(_) => continue,
                Err(_) => Input::End,
            };
            let is_last = matches!(input, Input::End);
            if inputs.blocking_send(input).is_err() || is_last {
                return;
            }
        }
    });
}
