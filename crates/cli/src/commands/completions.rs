//! `lazaret completions`.

use clap::{Command, CommandFactory};

use crate::args::Cli;
use crate::exit::Done;

pub(crate) fn run(shell: clap_complete::Shell) -> Done {
    clap_complete::generate(shell, &mut visible(&Cli::command()), "lazaret", &mut std::io::stdout());
    Ok(0)
}

/// The same command without what is hidden from people: scripts would offer it otherwise.
fn visible(command: &Command) -> Command {
    // Names live as long as the program, which ends when it has printed them.
    let name: &'static str = Box::leak(command.get_name().to_owned().into_boxed_str());
    let mut shown = Command::new(name)
        .args(command.get_arguments().filter(|arg| !arg.is_hide_set()).cloned())
        .subcommands(command.get_subcommands().filter(|sub| !sub.is_hide_set()).map(visible));
    if let Some(about) = command.get_about() {
        shown = shown.about(about.clone());
    }
    shown
}
