//! The shipped binary as a user runs it.

mod registry;
mod support;

mod daemon;
mod ends;
mod engines;
mod first_run;
mod models;
mod places;
mod refusals;
mod replay;
mod sandboxes;
mod settings;
