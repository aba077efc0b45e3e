//! The verb of the board.

use std::path::PathBuf;

use clap::{Args, ValueHint};

/// A board of branch agents.
#[derive(Debug, Clone, Args)]
pub(crate) struct Board {
    /// Of this repository only [default: the one around the current directory, else all]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) repo: Option<PathBuf>,
    /// Of every repository
    #[arg(long, short, conflicts_with = "repo")]
    pub(crate) all: bool,
    /// Without colours; also when NO_COLOR is set
    #[arg(long)]
    pub(crate) no_color: bool,
    /// Leave the mouse to the terminal, for marking text
    #[arg(long)]
    pub(crate) no_mouse: bool,
}
