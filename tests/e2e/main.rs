//! The shipped binary as a user runs it.

mod http;
mod registry;
mod support;

mod budgets;
mod daemon;
mod ends;
mod engines;
mod faults;
mod first_run;
mod history;
mod homes;
mod limits;
mod models;
mod page;
mod places;
mod refusals;
mod replay;
mod restart;
mod rootless;
mod sandboxes;
mod sessions;
mod settings;
mod words;
