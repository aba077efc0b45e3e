//! `lazaret`: the command line and the daemon in one program.

mod args;
mod client;
mod commands;
mod compose;
mod config;
mod config_branches;
mod config_jobs;
mod config_pool;
mod config_store;
mod config_watch;
mod daemon;
mod env;
mod exit;
mod home;
mod logs;
mod out;
mod places;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Cli, Verb};
use crate::exit::Done;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // Help and version come this way too, to standard output and with success.
        Err(error) if !error.use_stderr() => {
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        Err(error) => return exit::finish(Err(exit::usage(&error)), std::env::args_os().any(|arg| arg == "--json")),
    };
    let json = cli.json;
    exit::finish(run(cli), json)
}

fn run(cli: Cli) -> Done {
    let env = env::Env::read()?;
    if let Some(point) = &env.crash_at {
        daemon::crash_at(point);
    }
    let context = commands::Context { json: cli.json, may_start: !cli.no_daemon, env };
    match cli.verb {
        // The verbs without a daemon have no use for a runtime either.
        Verb::Sandbox(args::Sandbox::Run(flags)) => commands::sandbox_run::run(&context, &flags),
        Verb::Config(verb) => commands::config::run(&context, verb),
        Verb::Completions { shell } => commands::completions::run(shell),
        Verb::Doctor(flags) => commands::doctor::run(&context, &flags),
        Verb::Fetch => on_runtime(1, commands::fetch::run()),
        Verb::ServePlugin { name } => commands::serve_plugin::run(&name),
        Verb::Up(flags) => on_runtime(2, daemon::up(context, flags)),
        verb => on_runtime(1, commands::run(context, verb)),
    }
}

/// Runs a command on a runtime. A client needs one thread, the daemon as many as this machine has processors.
fn on_runtime<T>(threads: usize, work: impl Future<Output = Result<T, model::Failure>>) -> Result<T, model::Failure> {
    // One TLS provider, chosen before anything could pick another.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder =
        if threads == 1 { tokio::runtime::Builder::new_current_thread() } else { tokio::runtime::Builder::new_multi_thread() };
    let runtime = builder.enable_all().build().map_err(|e| client::internal(&format!("no runtime can be made: {e}")))?;
    let done = runtime.block_on(work);
    // Reads of a terminal that nobody types into would hold the end up.
    runtime.shutdown_background();
    done
}
