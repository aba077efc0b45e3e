//! `lazaret eval`: how well agents do what suites of scenarios ask, counted.
//!
//! A run is a folder of the home (`evals/`): its plan, a note for each cell that was begun, and what came of each that is over. All
//! of it goes through the daemon's public API: a cell is a session, a grader is a command in a sandbox of its own.

mod agents;
mod beneath;
mod boxes;
mod cell;
mod compare;
mod fail;
mod grade;
mod html;
mod judge;
mod keep;
mod list;
mod plan;
mod report;
mod run;
mod stats;
mod suite;
mod tree;
mod watch;

use super::Context;
use crate::args;
use crate::exit::Done;

pub(super) async fn run(context: &Context, verb: args::Eval) -> Done {
    match verb {
        args::Eval::Run(flags) => run::run(context, &flags).await,
        args::Eval::List => list::list(context),
        args::Eval::Show { run, html, transcript } => list::show(context, &run, html.as_deref(), transcript.as_deref()),
        args::Eval::Compare { before, after, fail_on_regression } => compare::run(context, &before, &after, fail_on_regression.as_deref()),
        args::Eval::Remove { run } => list::remove(context, &run).await,
    }
}
