//! How things look, with colours and without.

use model::BranchState;
use ratatui::style::{Color, Modifier, Style};

use crate::commands::board::log;
use crate::commands::board::patch;

/// With colours or without: then weight, lines and reversal say the same.
#[derive(Debug, Clone, Copy)]
pub(in crate::commands::board) struct Look {
    pub(in crate::commands::board) colours: bool,
}

impl Look {
    fn with(self, colour: Color, modifier: Modifier) -> Style {
        let style = Style::new().add_modifier(modifier);
        if self.colours { style.fg(colour) } else { style }
    }

    pub(super) fn title(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD | Modifier::REVERSED)
    }

    pub(super) fn bar(self) -> Style {
        Style::new().add_modifier(Modifier::UNDERLINED)
    }

    pub(super) fn chosen(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    pub(super) fn head(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    pub(super) fn dim(self) -> Style {
        self.with(Color::DarkGray, Modifier::empty())
    }

    pub(super) fn trouble(self) -> Style {
        self.with(Color::Red, Modifier::BOLD)
    }

    pub(super) fn ask(self) -> Style {
        self.with(Color::Yellow, Modifier::BOLD)
    }

    pub(super) fn good(self) -> Style {
        self.with(Color::Green, Modifier::empty())
    }

    pub(super) fn state(self, state: BranchState) -> Style {
        match state {
            BranchState::Waiting => self.ask(),
            BranchState::Failed => self.trouble(),
            BranchState::Working => self.with(Color::Cyan, Modifier::empty()),
            BranchState::Done => self.good(),
            BranchState::Starting | BranchState::Stopped => Style::new(),
        }
    }

    pub(super) fn log(self, kind: log::Kind) -> Style {
        match kind {
            log::Kind::Text => Style::new(),
            log::Kind::Tool => self.with(Color::Cyan, Modifier::empty()),
            log::Kind::Note => self.dim(),
            log::Kind::Trouble => self.trouble(),
            log::Kind::Ask => self.ask(),
        }
    }

    pub(super) fn diff(self, kind: patch::Kind) -> Style {
        match kind {
            patch::Kind::Head => self.with(Color::Cyan, Modifier::BOLD),
            patch::Kind::Same => Style::new(),
            patch::Kind::Added => self.with(Color::Green, Modifier::empty()),
            patch::Kind::Removed => self.with(Color::Red, Modifier::empty()),
        }
    }
}
