//! `lazaret completions`.

use clap::CommandFactory;

use crate::args::Cli;
use crate::exit::Done;

pub(crate) fn run(shell: clap_complete::Shell) -> Done {
    clap_complete::generate(shell, &mut Cli::command(), "lazaret", &mut std::io::stdout());
    Ok(0)
}
